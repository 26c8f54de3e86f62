"""The demo's settled months, through the real importer and operations: report in, invoice entered and read, closed.

Every complete month but the last is closed; the last stays open with one difference nobody has explained. The month
before it was reported anew after it was closed: the last invoice bills that as an adjustment.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

from django.db.models import Max

from billing.core.invoice_claims import claim_key
from billing.core.reconciling import LineKey
from billing.core.settlement import line_name
from billing.models import BillingPeriod, Import, Invoice, InvoiceLine, PeriodComment, Price, ResidualReason, TaxRate
from billing.operations.invoices import check_invoice, save_invoice
from billing.operations.reconciliation import (
    close_month,
    comment_month,
    explain_difference,
    explain_differences,
    record_adjustments,
)
from billing.operations.tax_rates import state_tax_rate
from costgov.demo.cost_files import (
    ADJUSTMENT,
    ISSUER,
    PREVIEW_USD,
    TAX_RATE,
    DemoMonth,
    invoice_of,
    report_rows,
    restated_day,
    write_report,
)
from costgov.demo.organisation import UNKNOWN_MODEL
from costgov.models import User
from costgov.operations.usage import import_costs

CREDIT_REASON: Final = "Credit note for the incident of the 14th, announced by mail; no contract grants it (demo)."
TAX_NOTE: Final = "As its order form says. Invented for the demo."
PREVIEW_REASON: Final = "A preview without a list price: the cost report's amount was agreed by mail (demo)."
COMMENT: Final = (
    "The cache writes that are too high by a few dollars: asked the provider's support, answer expected this week."
)
Say = Callable[[str], None]


def settle_month(
    demo_month: DemoMonth, *, last: date, folder: Path, users: dict[str, User], as_of: datetime, say: Say
) -> None:
    """One month up to where it stands in the demo; steps already taken are left as they are."""
    month, at = demo_month.month, demo_month.report_at
    if not TaxRate.objects.exists():
        state_tax_rate(
            actor=users["paula"],
            issuer=ISSUER,
            percent=TAX_RATE * 100,
            valid_from=month,
            note=TAX_NOTE,
            as_of=min(at, as_of),
            is_demo=True,
        )
    if demo_month.is_last:
        _restate_month_before(month, last=last, folder=folder, users=users, as_of=as_of)
    name = f"cost_report_{month:%Y-%m}.json"
    rows = report_rows(demo_month, last)
    if not Import.objects.filter(kind="costs", file_name=name, state=Import.State.DONE).exists():
        path = folder / name
        write_report(rows, path)
        import_costs(actor=users["emil"], path=path, as_of=min(at, as_of), is_demo=True)
        path.unlink()
    if not Invoice.objects.filter(number=demo_month.number).exists():
        adjustment = ADJUSTMENT if demo_month.is_last else Decimal(0)
        entry = invoice_of(demo_month, rows, adjustment=adjustment)
        save_invoice(actor=users["paula"], entry=entry, as_of=min(at + timedelta(hours=3), as_of), is_demo=True)
    invoice = Invoice.objects.get(number=demo_month.number)
    if invoice.checked_at is None:
        check_invoice(
            actor=users["ada"], invoice_id=invoice.pk, as_of=min(at + timedelta(hours=5), as_of), is_demo=True
        )
    _accept_credit(demo_month, users["paula"], min(at + timedelta(hours=5, minutes=30), as_of))
    if demo_month.is_last:
        if not PeriodComment.objects.filter(month=month).exists():
            comment_month(
                actor=users["paula"], month=month, text=COMMENT, as_of=min(at + timedelta(hours=6), as_of), is_demo=True
            )
        say(f"{month:%B %Y}: reported and invoiced, one difference open")
        return
    if not BillingPeriod.objects.filter(month=month, state=BillingPeriod.State.CLOSED).exists():
        _accept_preview(month, users["paula"], min(at + timedelta(hours=7), as_of))
        # Never before the prices were approved: a database that held the price list got it only lately.
        known = Price.objects.aggregate(last=Max("approved_at"))["last"] or at
        close_month(
            actor=users["paula"], month=month, as_of=min(max(at + timedelta(hours=8), known), as_of), is_demo=True
        )
        say(f"{month:%B %Y}: reported, invoiced and closed")


def _restate_month_before(month: date, *, last: date, folder: Path, users: dict[str, User], as_of: datetime) -> None:
    """The provider reports one day of the closed month before anew; the difference is booked in this month."""
    before = (month - timedelta(days=1)).replace(day=1)
    period = BillingPeriod.objects.filter(month=before, state=BillingPeriod.State.CLOSED).first()
    if period is None or period.closed_at is None:
        return
    at = min(period.closed_at + timedelta(days=1), as_of)
    name = f"cost_report_{before:%Y-%m}_again.json"
    if not Import.objects.filter(kind="costs", file_name=name, state=Import.State.DONE).exists():
        path = folder / name
        write_report(restated_day(DemoMonth(before, at, is_last=False), last), path)
        import_costs(actor=users["emil"], path=path, as_of=at, is_demo=True)
        path.unlink()
    record_adjustments(actor=users["paula"], month=before, as_of=min(at + timedelta(hours=1), as_of), is_demo=True)


def _accept_credit(demo_month: DemoMonth, paula: User, at: datetime) -> None:
    """The credit no contract grants: accepted with what is known of it."""
    line = InvoiceLine.objects.get(invoice__number=demo_month.number, category="credit")
    key = claim_key("credit", line.invoice.channel, ISSUER, demo_month.number, line.position)
    if not ResidualReason.objects.filter(month=demo_month.month, line=key).exists():
        explain_difference(
            actor=paula,
            month=demo_month.month,
            side="invoice",
            line=key,
            cause="credit",
            reason=CREDIT_REASON,
            as_of=at,
            is_demo=True,
        )


def _accept_preview(month: date, paula: User, at: datetime) -> None:
    """Both lines of the preview model, in the words both sides state (a speed the report never does)."""
    about = LineKey(model=UNKNOWN_MODEL, service_tier="standard", prompt_length_band="0-200k", geo="global")
    explain_differences(
        actor=paula,
        month=month,
        lines=[("report", line_name(replace(about, kind=kind)), None) for kind in PREVIEW_USD],
        cause="missing_price",
        reason=PREVIEW_REASON,
        as_of=at,
        is_demo=True,
    )
