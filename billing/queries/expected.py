"""What is on record of adjustments, credits and tax when a month's invoices are compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from billing.core.billed import BilledInvoice, BilledLine
from billing.core.expecting import Due, Granted, explained
from billing.core.issuers import issuer_key
from billing.core.reconciling import Tolerance
from billing.models import BillingPeriod, Invoice, PeriodAdjustment, TaxRate
from billing.queries.contracts import contract_terms

_OURS: Final = ("late_usage", "price_change")
_CLAIMED: Final = ("adjustment", "credit")


def billed_invoices(month: date, invoices: Sequence[Invoice]) -> tuple[BilledInvoice, ...]:
    """The month's invoices in usd, with what explains their adjustments and credits, and the tax rate of each issuer.

    Earlier invoices are read first: what they billed is not due any more, what they used up of a credit is gone.
    """
    mine = [row for row in invoices if row.currency == "USD"]
    rates = list(TaxRate.objects.filter(withdrawn_at__isnull=True).order_by("valid_from", "pk"))
    read, _ = _read(month, mine)
    return tuple(replace(one, tax_percent=_percent(rates, one)) for one in read if one.month == month)


def billed_on() -> dict[int, str]:
    """Where each booked adjustment (by its key) was billed, as far as invoices say."""
    return _read(None, [])[1]


def _read(month: date | None, mine: Sequence[Invoice]) -> tuple[tuple[BilledInvoice, ...], dict[int, str]]:
    """Every invoice that counts until `month` (None: every one there is), read in order."""
    has_claims = month is None or any(line.category in _CLAIMED for row in mine for line in row.lines.all())
    if not has_claims:
        return tuple(_billed(row) for row in mine), {}
    rows = Invoice.objects.filter(withdrawn_at__isnull=True, currency="USD", lines__category__in=_CLAIMED)
    if month is not None:
        rows = rows.filter(month__lt=month)
    earlier = list(rows.distinct().prefetch_related("lines"))
    stored = dict(BillingPeriod.objects.values_list("month", "tolerance"))
    return explained(
        [_billed(row) for row in (*earlier, *mine)],
        dues=due_amounts(),
        credits=granted_credits(),
        tolerance_of=lambda of: _tolerance(stored.get(of) or {}),
    )


def _tolerance(stored: Mapping[str, Any]) -> Tolerance:
    usual = Tolerance()
    return Tolerance(invoice_line_usd=Decimal(str(stored.get("invoice_line_usd", usual.invoice_line_usd))))


def due_amounts() -> tuple[Due, ...]:
    """Booked adjustments that an invoice may bill: of the figure the closed month's invoice was compared with.

    That is its cost report; without one, our own usage at its prices. The other figure of the same month is the same
    money seen from another side. An invoice entered later has billed its amount itself.
    """
    rows = PeriodAdjustment.objects.exclude(cause="invoice").order_by("pk")
    # two members of the frozen record, not all of its lines for every amount booked
    said = rows.values_list(
        "pk", "period__month", "cause", "amount", "booked_month", "found_at", "period__frozen__report_usd",
        "period__frozen__invoices",
    )  # fmt: skip
    return tuple(
        Due(
            number,
            month,
            cause,
            amount,
            booked_month,
            found_at.date(),
            frozenset(issuer_key(one["issuer"]) for one in invoices or ()),
            is_billable=(cause not in _OURS) == (report_usd is not None),
        )
        for number, month, cause, amount, booked_month, found_at, report_usd, invoices in said
    )


def granted_credits() -> tuple[Granted, ...]:
    """Credits of approved contracts; one that was ended early grants nothing after its end."""
    found = []
    for contract in contract_terms():
        for credit in contract.credits:
            ends = [day for day in (credit.valid_to, contract.valid_to) if day is not None]
            lasting = replace(credit, valid_to=min(ends, default=None))
            found.append(Granted(contract.name, contract.channel, lasting))
    return tuple(found)


def _percent(rates: Sequence[TaxRate], invoice: BilledInvoice) -> Decimal | None:
    """The rate of the issuer in force on the day of issue; the later stated of two from one day."""
    issuer = issuer_key(invoice.issuer)
    held = [one for one in rates if issuer_key(one.issuer) == issuer and one.valid_from <= invoice.issued_on]
    return held[-1].percent if held else None


def _billed(row: Invoice) -> BilledInvoice:
    lines = tuple(
        BilledLine(
            row.number,
            line.position,
            row.channel,
            line.category,
            line.description,
            line.amount,
            line.model,
            line.token_kind,
            line.service_tier,
            row.issuer,
        )
        for line in row.lines.all()
    )
    return BilledInvoice(row.number, row.channel, row.total_amount, lines, row.issuer, row.month, row.issued_on)


# ---- Tax rates as pages show them ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StatedTaxRate:
    """A rate in force. `percent` 19 = 19 % of everything else on the invoice."""

    id: int
    issuer: str
    percent: Decimal
    valid_from: date
    note: str
    stated_by: str
    stated_at: datetime

    @property
    def rate(self) -> str:
        return f"{self.percent.normalize():f} %"


@dataclass(frozen=True, slots=True)
class TaxRateList:
    """Of one issuer the later one counts from its day on."""

    rates: tuple[StatedTaxRate, ...]


def tax_rates() -> TaxRateList:
    rows = TaxRate.objects.filter(withdrawn_at__isnull=True).select_related("stated_by")
    return TaxRateList(tuple(stated_rate(row) for row in rows))


def stated_rate(row: TaxRate) -> StatedTaxRate:
    by = row.stated_by.get_username() if row.stated_by is not None else "system"
    return StatedTaxRate(row.pk, row.issuer, row.percent, row.valid_from, row.note, by, row.stated_at)
