"""Invoices that a bill states: one per issuer and number, its lines summed by what they are for."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from billing.core.cents import to_cents
from billing.core.money import ZERO, round_usd, sum_usd
from billing.importers.cost_base import CostLine
from billing.models import CostReportLine, Import, Invoice, InvoiceLine, UsageSource
from billing.operations.invoices import similar_invoice

_CATEGORY: Final = {
    "usage": InvoiceLine.Category.USAGE,
    "purchase": InvoiceLine.Category.COMMITMENT,
    "tax": InvoiceLine.Category.TAX,
    "credit": InvoiceLine.Category.CREDIT,
    "adjustment": InvoiceLine.Category.ADJUSTMENT,
}
_LineKey = tuple[str, str, str, str, str]


def save_stated_invoices(*, source: UsageSource, row: Import, lines: Sequence[CostLine], as_of: datetime) -> list[str]:
    """Make, or replace, the invoices that lines name. One that somebody typed in or checked stays; returns remarks."""
    by_invoice: dict[tuple[str, str, str], list[CostLine]] = defaultdict(list)
    for line in lines:
        if line.invoice_number and line.issuer:
            by_invoice[line.issuer[:120], line.invoice_number[:120], line.currency].append(line)
    findings: list[str] = []
    for (issuer, number, currency), stated in sorted(by_invoice.items()):
        if len(currency) != 3:
            findings.append(f"Invoice {number} is in {currency}, no currency of an invoice: not kept as one.")
            continue
        findings += _save(source, row, issuer, number, currency, stated, as_of)
    return findings + _withdraw_unstated(source, as_of)


def _withdraw_unstated(source: UsageSource, as_of: datetime) -> list[str]:
    """An invoice that only a replaced delivery named is withdrawn, with its reason; one that was checked stays."""
    stated = CostReportLine.objects.filter(source=source).values("invoice_number")
    gone = Invoice.objects.filter(
        latest_import__source=source, withdrawn_at__isnull=True, checked_at__isnull=True
    ).exclude(number__in=stated)
    numbers = list(gone.values_list("number", flat=True))
    gone.update(withdrawn_at=as_of, withdrawn_reason="The bill was delivered anew without it.")
    return [f"Invoice {number} stands in this bill no more: withdrawn." for number in numbers]


def _save(
    source: UsageSource,
    row: Import,
    issuer: str,
    number: str,
    currency: str,
    stated: Sequence[CostLine],
    as_of: datetime,
) -> list[str]:
    total = round_usd(sum_usd(line.amount for line in stated))
    month = max(line.billing_month for line in stated)
    held = Invoice.objects.filter(issuer=issuer, number=number, withdrawn_at__isnull=True).first()
    held = held or similar_invoice(issuer, number)
    if held is not None and (held.latest_import is None or held.checked_at is not None or held.currency != currency):
        if held.total_amount == total and held.currency == currency:
            return []
        return [
            f"Invoice {number} is held as {held.total_amount} {held.currency}, entered or checked by a person"
            f"{'' if held.issuer == issuer else f' as one of {held.issuer}'}; this "
            f"bill's lines of it sum to {total} {currency}. The held one stays."
        ]
    invoice = held or Invoice(issuer=issuer, number=number)
    invoice.channel = next((line.channel for line in stated if line.channel), source.channel)
    invoice.month, invoice.currency, invoice.total_amount = month, currency, total
    invoice.issued_on = _issued(stated)
    invoice.latest_import, invoice.entered_at = row, as_of
    invoice.entered_by = row.created_by
    invoice.note = "Sum of the lines that name it in an imported bill."
    invoice.save()
    invoice.lines.all().delete()
    InvoiceLine.objects.bulk_create(_lines(invoice, stated, total))
    return [f"Invoice {number} of {issuer}: {total} {currency}."]


def _issued(stated: Sequence[CostLine]) -> date:
    """A bill does not say when its invoice was issued: the end of the latest charge it bills is the best it tells."""
    return max(line.period.end for line in stated).date()


def _lines(invoice: Invoice, stated: Sequence[CostLine], total: Decimal) -> list[InvoiceLine]:
    sums: dict[_LineKey, list[CostLine]] = defaultdict(list)
    for line in stated:
        category = "adjustment" if line.is_correction else line.category
        words = line.model or line.description or line.cost_type
        sums[category, words[:255], line.model, line.token_kind, line.service_tier].append(line)
    keys = sorted(sums)
    exact = [sum_usd(line.amount for line in sums[key]) for key in keys]
    found = []
    for position, (key, amount) in enumerate(zip(keys, to_cents(exact, total), strict=True), start=1):
        category, words, model, kind, tier = key
        quantities = [line.quantity for line in sums[key]]
        known = None not in quantities
        found.append(
            InvoiceLine(
                invoice=invoice,
                position=position,
                category=_CATEGORY[category],
                description=words,
                model=model[:255],
                token_kind=kind[:32],
                service_tier=tier[:255],
                quantity=sum((item for item in quantities if item is not None), ZERO) if known else None,
                amount=amount,
            )
        )
    return found
