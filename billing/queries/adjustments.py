"""What a closed month would be now against what it was closed with: computed at any time, booked in an open month."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from django.db.models import Sum

from billing.core.money import ZERO
from billing.core.periods import next_month
from billing.core.reconciling import minus
from billing.models import BillingPeriod, PeriodAdjustment
from billing.queries.expected import billed_on
from billing.queries.reconciliation import month_settlement

WORDS: Final = {
    "late_usage": "usage that was imported, restated or renamed after the month was closed, at its closing prices",
    "price_change": "prices approved after the month was closed",
    "cost_report": "cost reports imported after the month was closed",
    "invoice": "invoices entered or withdrawn after the month was closed",
}


@dataclass(frozen=True, slots=True)
class Adjustment:
    """`amount_usd` adds to the closed figure (computed for usage and prices). `found_at` None: due, not booked yet.

    `billed_on`: the invoice lines that bill it, '' = none so far.
    """

    month: date
    cause: str
    words: str
    amount_usd: Decimal
    booked_month: date
    found_at: datetime | None
    recorded_by: str
    billed_on: str = ""


def booked_adjustments(*, month: date | None = None, booked_month: date | None = None) -> tuple[Adjustment, ...]:
    """Adjustments already booked, of a closed month or carried by an open one, oldest first."""
    rows = PeriodAdjustment.objects.select_related("period", "recorded_by").order_by("found_at", "pk")
    if month is not None:
        rows = rows.filter(period__month=month)
    if booked_month is not None:
        rows = rows.filter(booked_month=booked_month)
    billed = billed_on() if rows else {}
    return tuple(
        Adjustment(
            row.period.month,
            row.cause,
            row.description,
            row.amount,
            row.booked_month,
            row.found_at,
            row.recorded_by.get_username() if row.recorded_by is not None else "system",
            billed.get(row.pk, ""),
        )
        for row in rows
    )


def due_adjustments(*, month: date, as_of: datetime) -> tuple[Adjustment, ...]:
    """What is not booked yet of a closed month: now − closed − booked, per cause. Empty for an open month."""
    period = BillingPeriod.objects.filter(month=month, state=BillingPeriod.State.CLOSED).first()
    if period is None:
        return ()
    booked = dict(period.adjustments.values_list("cause").annotate(total=Sum("amount")).order_by())
    carrier = first_open_month(after=month)
    return tuple(
        Adjustment(month, cause, WORDS[cause], amount, carrier, None, "")
        for cause, now_less_closed in _differences(period, as_of).items()
        if (amount := minus(now_less_closed, booked.get(cause, ZERO)))
    )


def first_open_month(*, after: date) -> date:
    """The first month after one that is not closed."""
    closed = set(BillingPeriod.objects.filter(state=BillingPeriod.State.CLOSED).values_list("month", flat=True))
    month = next_month(after)
    while month in closed:
        month = next_month(month)
    return month


def _differences(period: BillingPeriod, as_of: datetime) -> dict[str, Decimal]:
    closed: dict[str, Any] = period.frozen
    at_closing_prices = month_settlement(month=period.month, as_of=as_of, known_at=period.prices_known_at)
    now = month_settlement(month=period.month, as_of=as_of, known_at=as_of)
    return {
        "late_usage": minus(at_closing_prices.computed_usd, _amount(closed["computed_usd"])),
        "price_change": minus(now.computed_usd, at_closing_prices.computed_usd),
        "cost_report": minus(now.report_usd or ZERO, _amount(closed["report_usd"])),
        "invoice": minus(now.invoice_usd or ZERO, _amount(closed["invoice_usd"])),
    }


def _amount(stored: str | None) -> Decimal:
    return ZERO if stored is None else Decimal(stored)
