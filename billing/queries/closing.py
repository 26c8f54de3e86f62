"""What must be done before a month can be closed: the list that refuses, and the page's checklist."""

from dataclasses import replace
from datetime import datetime

from billing.core.money import sum_usd
from billing.core.periods import day_start
from billing.core.reconciling import Tolerance, minus
from billing.core.settlement import Check, InvoiceDifference, MonthSettlement, SettledLine
from billing.core.words import percent, percent_as_set, usd


def checks_of(value: MonthSettlement, *, as_of: datetime) -> MonthSettlement:
    """The settlement with its checks, in the order in which they are worked through."""
    checks = (
        _over(value, as_of),
        _differences(value),
        _prices(value),
        _days(value),
        _classified(value),
        _invoiced(value),
        *((_adds_up(value), _read(value)) if value.invoices else ()),
    )
    return replace(value, checks=checks)


def _over(value: MonthSettlement, as_of: datetime) -> Check:
    is_over = as_of >= day_start(value.end)
    title = "The month is over" if is_over else "The month is not over yet"
    return Check("over", is_over, title, f"Its last day is {_last(value)}")


def _last(value: MonthSettlement) -> str:
    last = value.end.toordinal() - 1
    day = value.end.fromordinal(last)
    return f"{day.day} {day:%b %Y}"


def _differences(value: MonthSettlement) -> Check:
    open_lines: list[tuple[str, SettledLine | InvoiceDifference]] = [
        *(("report", line) for line in value.lines if line.state == "open"),
        *(("invoice", line) for line in value.invoice_lines if line.state == "open"),
    ]
    if not open_lines:
        has_two = len(value.gaps) > 0
        return Check(
            "differences",
            has_two,
            "Every difference has a cause" if has_two else "There is nothing to compare with",
            "" if has_two else "Import the provider's cost report, or enter the invoice",
        )
    side, first = open_lines[0]
    amount = sum_usd(part.amount_usd for part in first.parts if part.cause == "unknown")
    name = first.title if isinstance(first, InvoiceDifference) else f"{first.name} {first.kind}"
    count = len(open_lines)
    title = "One difference has no cause" if count == 1 else f"{count} differences have no cause"
    return Check("differences", False, title, f"{usd(amount, 2)}, {name}", side, first.key)


def _prices(value: MonthSettlement) -> Check:
    lines = [line for line in value.lines if line.needs_price]
    if not lines:
        return Check("prices", True, "Every model has a price", "or its amount is accepted")
    models = list(dict.fromkeys(line.about.model or "(no model)" for line in lines))
    count = "One model has" if len(models) == 1 else f"{len(models)} models have"
    return Check("prices", False, f"{count} no price", ", ".join(models[:3]), "report", lines[0].key)


def _days(value: MonthSettlement) -> Check:
    missing = value.missing_days
    sources = f"{value.sources} source{'' if value.sources == 1 else 's'}"
    if not missing:
        return Check("days", value.days > 0, "Every day is imported", f"{value.days} of {value.days}, {sources}")
    said = ", ".join(f"{day.day} {day:%b}" for day in missing[:3]) + (" …" if len(missing) > 3 else "")
    days = "One day is" if len(missing) == 1 else f"{len(missing)} days are"
    return Check("days", False, f"{days} not imported", said)


def _invoiced(value: MonthSettlement) -> Check:
    numbers = ", ".join(invoice.number for invoice in value.invoices)
    title = "The invoice is entered" if value.invoices else "No invoice is entered"
    return Check("invoice", bool(value.invoices), title, numbers)


def _adds_up(value: MonthSettlement) -> Check:
    tolerance = Tolerance(invoice_line_usd=value.settings.invoice_line_usd)
    for invoice in value.invoices:
        off = minus(invoice.total_usd, invoice.lines_usd)
        if abs(off) > tolerance.of_invoice(invoice.lines):
            return Check("adds_up", False, "An invoice does not add up", f"{invoice.number} by {usd(off, 2)}")
    lines = sum(invoice.lines for invoice in value.invoices)
    allowed = usd(tolerance.of_invoice(lines), 2)
    return Check("adds_up", True, "The invoice adds up", f"{lines} lines within {allowed}")


def _classified(value: MonthSettlement) -> Check:
    limit = value.settings.unclassified_share
    share = value.unclassified_share or 0.0
    is_below = share <= float(limit)
    title = f"Unclassified {'below' if is_below else 'is above'} {percent_as_set(limit)}"
    return Check("classified", is_below, title, f"{percent(share)} of cost")


def _read(value: MonthSettlement) -> Check:
    unread = [invoice.number for invoice in value.invoices if invoice.checked_at is None]
    title = "Invoice read by a second person"
    if unread:
        return Check("read", False, "No second person has read the invoice", ", ".join(unread))
    readers = list(dict.fromkeys(f"{one.checked_by}, {one.checked_at:%-d %b}" for one in value.invoices))
    return Check("read", True, title, "; ".join(readers))
