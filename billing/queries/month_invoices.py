"""A month's invoices, and what they are compared with: the cost report, or our own figures."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billing.core.billed import BaseAmount, InvoiceGroup
from billing.core.invoicing import reconcile_invoices
from billing.core.money import ZERO, sum_usd
from billing.core.pricing import CostLine, UnpricedLine
from billing.core.reconciliation import Cell
from billing.core.reconciling import LineKey, Part, Tolerance
from billing.core.settlement import InvoiceUsed
from billing.core.words import parted
from billing.models import Invoice
from billing.queries.cost_reports import MonthReport
from billing.queries.expected import billed_invoices


@dataclass(frozen=True, slots=True)
class PricedDay:
    """One kind of one day's usage, priced."""

    day: date
    key: LineKey
    line: CostLine | UnpricedLine
    contract_usd: Decimal | None
    is_classified: bool


def month_invoices(month: date) -> list[Invoice]:
    rows = Invoice.objects.filter(month=month, withdrawn_at__isnull=True).select_related("entered_by", "checked_by")
    return list(rows.prefetch_related("lines").order_by("issuer", "number"))


def invoice_used(row: Invoice) -> InvoiceUsed:
    lines = [line.amount for line in row.lines.all()]
    return InvoiceUsed(
        row.pk,
        row.issuer,
        row.number,
        row.channel,
        row.issued_on,
        row.due_on,
        row.total_amount,
        len(lines),
        sum_usd(lines),
        row.entered_by.get_username() if row.entered_by is not None else "",
        row.checked_by.get_username() if row.checked_by is not None else "",
        row.checked_at,
    )


def other_currencies(invoices: Sequence[Invoice]) -> tuple[str, ...]:
    return tuple(
        f"Invoice {row.number} is in {row.currency}: it is not compared, only US dollars are"
        for row in invoices
        if row.currency != "USD"
    )


def invoice_groups(
    month: date,
    invoices: Sequence[Invoice],
    cells: Sequence[Cell],
    report: MonthReport | None,
    mine: Sequence[PricedDay],
    tolerance: Tolerance,
) -> tuple[InvoiceGroup, ...]:
    billed = billed_invoices(month, invoices)
    if not billed:
        return ()
    reported = {source.channel for source in report.sources} if report is not None else set()
    base = [_base_of_cells(key, found) for key, found in _by_amount(cells).items() if key[0] in reported]
    own = _own_base(mine, reported)
    groups = reconcile_invoices([*base, *own], billed, tolerance=tolerance)
    if report is None:
        return groups
    # A channel no cost report covers is compared with our own figures, which are not in the report's total.
    alone = {amount.channel for amount in own}
    return tuple(_beyond_report(group) if _channel(group) in alone else group for group in groups)


def _channel(group: InvoiceGroup) -> str:
    words = parted(group.key)
    return words[1] if words[0] == "usage" else ""


def _beyond_report(group: InvoiceGroup) -> InvoiceGroup:
    if not group.base_usd:
        return group
    part = Part("day_not_in_report", group.base_usd, "no cost report covers this channel: compared with our figures")
    return InvoiceGroup(group.key, group.title, ZERO, group.billed_usd, group.lines, (part, *group.parts))


_AmountKey = tuple[str, str, str, str, str]


def _by_amount(cells: Sequence[Cell]) -> dict[_AmountKey, list[Cell]]:
    found: dict[_AmountKey, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.reported_usd:
            key = cell.key
            found[key.channel, key.model, key.kind, key.service_tier, _nature_of(cell)].append(cell)
    return found


def _nature_of(cell: Cell) -> str:
    named = {"tax", "credit", "adjustment", "commitment", "non_token"}
    return next((part.cause for part in cell.parts if part.cause in named), "usage")


def _base_of_cells(key: _AmountKey, cells: Sequence[Cell]) -> BaseAmount:
    channel, model, kind, tier, nature = key
    return BaseAmount(
        channel,
        model,
        kind,
        tier,
        sum_usd(cell.reported_usd for cell in cells),
        nature,  # type: ignore[arg-type]
    )


def _own_base(mine: Sequence[PricedDay], reported: set[str]) -> list[BaseAmount]:
    """Our own figures, for channels without a cost report."""
    groups: dict[tuple[str, str, str, str], list[PricedDay]] = defaultdict(list)
    for one in mine:
        if one.key.channel not in reported:
            groups[one.key.channel, one.key.model, one.key.kind, one.key.service_tier].append(one)
    found = []
    for (channel, model, kind, tier), lines in groups.items():
        costs = [one.line.cost_usd for one in lines if isinstance(one.line, CostLine)]
        agreed = [one.contract_usd for one in lines if one.contract_usd is not None]
        has_gap = any(isinstance(one.line, UnpricedLine) for one in lines)
        found.append(
            BaseAmount(
                channel,
                model,
                kind,
                tier,
                sum_usd(costs),
                "usage",
                has_gap,
                sum_usd(agreed) if len(agreed) == len(costs) and agreed else None,
            )
        )
    return found
