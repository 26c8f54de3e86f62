"""What imports of costs brought, as their pages show it: by billing month and currency, and the invoices they state."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date
from decimal import Decimal
from typing import Final

from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import TruncDate

from billing.core.money import ZERO
from billing.models import CostReportLine, Import, Invoice

_ORDINARY: Final = Q(category="usage", is_correction=False)


@dataclass(frozen=True, slots=True)
class MonthBrought:
    """One billing month of a file in one currency. `list_usage`: its usage at list prices, None = not stated.

    `effective_usage`: what its usage cost with prepaid commitments spread over it, None = not stated. Commitments and
    the usage they pay for are never added: `total` is what is billed.
    """

    month: date
    currency: str
    lines: int
    usage: Decimal
    list_usage: Decimal | None
    effective_usage: Decimal | None
    commitments: Decimal
    credits: Decimal
    tax: Decimal
    corrections: Decimal
    total: Decimal


@dataclass(frozen=True, slots=True)
class InvoiceBrought:
    """An invoice whose lines a bill states."""

    issuer: str
    number: str
    month: date
    currency: str
    total: Decimal


@dataclass(frozen=True, slots=True)
class CostsBrought:
    """What a file of costs brought that still stands. `groups`: the dimensions the report separates."""

    months: tuple[MonthBrought, ...]
    invoices: tuple[InvoiceBrought, ...]
    groups: tuple[str, ...]


def costs_brought(item: Import) -> CostsBrought | None:
    """None for an import of usage, or one that is not done."""
    if item.kind != "costs" or item.state != Import.State.DONE:
        return None
    invoices = Invoice.objects.filter(latest_import=item, withdrawn_at__isnull=True).order_by("issuer", "number")
    return CostsBrought(
        months=_months(CostReportLine.objects.filter(latest_import=item)),
        invoices=tuple(
            InvoiceBrought(one.issuer, one.number, one.month, one.currency, one.total_amount) for one in invoices
        ),
        groups=tuple(str(name) for name in (item.options or {}).get("group_by", [])),
    )


def cost_days() -> dict[int, list[date]]:
    """UTC days on which each source's lines begin, ascending."""
    found: dict[int, list[date]] = defaultdict(list)
    rows = CostReportLine.objects.annotate(day=TruncDate("period_start", tzinfo=UTC)).values_list("source_id", "day")
    for source_id, day in rows.distinct().order_by("source_id", "day"):
        found[source_id].append(day)
    return found


def _months(lines: QuerySet[CostReportLine]) -> tuple[MonthBrought, ...]:
    sums = (
        lines.values("billing_month", "currency")
        .annotate(
            lines=Count("pk"),
            usage=Sum("amount", filter=_ORDINARY),
            list_usage=Sum("list_amount", filter=_ORDINARY),
            effective_usage=Sum("effective_amount", filter=_ORDINARY),
            commitments=Sum("amount", filter=Q(category="purchase", is_correction=False)),
            credits=Sum("amount", filter=Q(category="credit", is_correction=False)),
            tax=Sum("amount", filter=Q(category="tax", is_correction=False)),
            corrections=Sum("amount", filter=Q(category="adjustment") | Q(is_correction=True)),
            total=Sum("amount"),
        )
        .order_by("billing_month", "currency")
    )
    return tuple(
        MonthBrought(
            row["billing_month"],
            row["currency"],
            row["lines"],
            row["usage"] or ZERO,
            row["list_usage"],
            row["effective_usage"],
            row["commitments"] or ZERO,
            row["credits"] or ZERO,
            row["tax"] or ZERO,
            row["corrections"] or ZERO,
            row["total"] or ZERO,
        )
        for row in sums
    )
