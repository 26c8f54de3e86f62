"""Months that are over and not settled: no cost report, no invoice, differences nobody has explained."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from billing.core.health import Finding
from billing.core.periods import next_month
from billing.core.settlement import MonthSettlement
from billing.models import BillingPeriod
from billing.queries.reconciliation import month_settlement, months_known
from costgov.queries.health.words import link, some
from costgov.templatetags.costgov_format import month as month_words
from costgov.templatetags.costgov_format import usd

INVOICE_AFTER: Final = timedelta(days=10)
MONTHS_LOOKED_AT: Final = 12


def month_findings(*, as_of: datetime) -> list[Finding]:
    """Of the latest twelve months that are over and open, newest first."""
    closed = set(BillingPeriod.objects.filter(state=BillingPeriod.State.CLOSED).values_list("month", flat=True))
    today = as_of.date()
    over = [one for one in months_known(as_of=as_of) if next_month(one) <= today and one not in closed]
    settled = [month_settlement(month=one, as_of=as_of) for one in over[:MONTHS_LOOKED_AT]]
    settled = [one for one in settled if one.computed_usd or one.report_usd is not None or one.invoice_usd is not None]
    return [*_without_report(settled), *_without_invoice(settled, today), *_differences(settled)]


def _without_report(months: list[MonthSettlement]) -> list[Finding]:
    bare = [one for one in months if one.report_usd is None]
    if not bare:
        return []
    return [
        Finding(
            level="warning",
            topic="months",
            key="no-report",
            title=f"{_counted(bare)} no cost report",
            text=f"{_names(bare)}: computed cost stands alone there, nothing of the provider's confirms it.",
            remedy="Import the provider's cost report or bill of these months.",
            usd=sum((one.computed_usd for one in bare[1:]), bare[0].computed_usd),
            first=bare[-1].start,
            last=bare[0].end - timedelta(days=1),
            link=link("imports"),
            action="Open Imports",
        )
    ]


def _without_invoice(months: list[MonthSettlement], today: date) -> list[Finding]:
    bare = [one for one in months if one.invoice_usd is None]
    if not bare:
        return []
    late = [one for one in bare if today - one.end > INVOICE_AFTER]
    return [
        Finding(
            level="warning" if late else "note",
            topic="months",
            key="no-invoice",
            title=f"{_counted(bare)} no invoice",
            text=f"{_names(bare)}: what was paid is not known."
            + ("" if late else " Invoices usually come some days after the month."),
            remedy="Enter or import the invoice.",
            usd=sum((_stated(one) for one in bare[1:]), _stated(bare[0])),
            first=bare[-1].start,
            last=bare[0].end - timedelta(days=1),
            link=_month_link(bare[0].month),
            action="Open the month",
        )
    ]


def _differences(months: list[MonthSettlement]) -> list[Finding]:
    found = []
    for one in months:
        if not one.open_lines or not one.open_usd:
            continue
        lines = [line.name for line in one.lines if line.state == "open"]
        lines += [line.title for line in one.invoice_lines if line.state == "open"]
        found.append(
            Finding(
                level="warning",
                topic="months",
                key=f"difference:{one.month:%Y-%m}",
                title=f"{month_words(one.month)} has {usd(one.open_usd)} nobody has explained",
                text=f"{one.open_lines} {'lines differ' if one.open_lines > 1 else 'line differs'}: {some(lines)}.",
                remedy="Look at the lines, give a reason or mend the cause.",
                usd=one.open_usd,
                first=one.start,
                last=one.end - timedelta(days=1),
                link=_month_link(one.month),
                action="Open the month",
            )
        )
    return found


def _counted(months: list[MonthSettlement]) -> str:
    return f"{month_words(months[0].month)} has" if len(months) == 1 else f"{len(months)} months have"


def _names(months: list[MonthSettlement]) -> str:
    return some([month_words(one.month) for one in months], shown=6)


def _stated(one: MonthSettlement) -> Decimal:
    return one.report_usd if one.report_usd is not None else one.computed_usd


def _month_link(month: date) -> str:
    return link("month", f"{month:%Y-%m}")
