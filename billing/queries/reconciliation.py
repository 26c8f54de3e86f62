"""A month settled: usage at its prices, the cost report that counts, and the invoices, compared by `billing.core`."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db.models import Max, Min, Sum

from billing.core.money import ZERO, sum_usd
from billing.core.periods import DAY, day_start, next_month
from billing.core.pricebook import Price, PriceBook, PriceKey
from billing.core.pricing import CostLine, Pricer, UnpricedLine, cost_formula
from billing.core.reconciliation import Cell, compared
from billing.core.reconciling import DayFacts, LineKey, Tolerance, Used, aligned
from billing.core.settlement import (
    MonthSettlement,
    PriceUsed,
    Reason,
    Settings,
    UnpricedModel,
    line_of,
)
from billing.core.settlement_lines import gap_of, invoice_differences, settled_lines
from billing.core.usage import COUNTER_OF_KIND, COUNTERS, PRICED_KINDS
from billing.models import BillingPeriod, DailyUsage, Import, Invoice, ModelRelease, ResidualReason, UsageSource
from billing.queries.closing import checks_of
from billing.queries.contracts import contracted_book
from billing.queries.cost_reports import MonthReport, Place, month_report, months_with_reports
from billing.queries.month_invoices import PricedDay, invoice_groups, invoice_used, month_invoices, other_currencies
from billing.queries.named_models import model_expression, named_models
from billing.queries.prices import price_book

_PRICE_COLUMNS: Final = ("model", "service_tier", "prompt_length_band", "geo", "speed")
MAX_HOLE: Final = 24  # months
DEFAULTS: Final = Settings(Decimal("0.01"), Decimal("0.000001"), Decimal("0.01"), Decimal("0.05"))


def month_settlement(*, month: date, as_of: datetime, known_at: datetime | None = None) -> MonthSettlement:
    """The month whose first day is `month`, as it is now. `known_at`: with the prices approved until then.

    Live: what a closed month was when it was closed is in its `frozen`.
    """
    start, end = month, next_month(month)
    settings = month_settings(month)
    tolerance = Tolerance(settings.line_usd, settings.line_share, settings.invoice_line_usd)
    book = price_book(known_at=known_at)
    priced = _priced_days(start - DAY, end + DAY, book, contracted_book(book=book, known_at=known_at))
    used = [_used(one) for one in priced]
    report = month_report(month, book=book)
    reported = report.reported if report is not None else ()
    days = _day_facts(used, report, start - DAY, end + DAY)
    ours, theirs = aligned(used, reported)
    cells = compared(ours, theirs, days=days, tolerance=tolerance, start=start, end=end)
    mine = [one for one in priced if start <= one.day < end]
    names = model_names()
    reasons = active_reasons(month)
    lines = settled_lines(
        cells,
        has_report=report is not None,
        prices=_prices_by_line(priced, ours, start, end),
        names=names,
        reasons=reasons,
    )
    invoices = month_invoices(month)
    groups = invoice_groups(month, invoices, cells, report, mine, tolerance)
    differences = invoice_differences(groups, names=names, reasons=reasons)
    computed = sum_usd(one.line.cost_usd for one in mine if isinstance(one.line, CostLine))
    report_usd = sum_usd(cell.reported_usd for cell in cells) if report is not None else None
    invoice_usd = sum_usd(one.total_amount for one in invoices if one.currency == "USD") if invoices else None
    gaps = []
    if report_usd is not None:
        gaps.append(gap_of("report", computed, report_usd, lines))
    if invoice_usd is not None:
        gaps.append(gap_of("invoice", computed if report_usd is None else report_usd, invoice_usd, differences))
    contracts = [one.contract_usd for one in mine if one.contract_usd is not None]
    expected, missing = _days(start, end, as_of, used, report)
    unclassified = sum_usd(
        one.line.cost_usd for one in mine if isinstance(one.line, CostLine) and not one.is_classified
    )
    value = MonthSettlement(
        month=month,
        start=start,
        end=end,
        computed_usd=computed,
        report_usd=report_usd,
        invoice_usd=invoice_usd,
        contracted_usd=sum_usd(contracts) if contracts else None,
        prices_known_at=known_at or as_of,
        sources=_source_count(start, end),
        days=expected,
        days_imported=expected - len(missing),
        missing_days=missing,
        reports=report.sources if report is not None else (),
        invoices=tuple(invoice_used(one) for one in invoices),
        gaps=tuple(gaps),
        lines=lines,
        invoice_lines=differences,
        checks=(),
        unpriced=_unpriced(mine, cells),
        unpriced_units=sum(one.line.units for one in mine if isinstance(one.line, UnpricedLine)),
        unclassified_usd=unclassified,
        unclassified_share=float(unclassified / computed) if computed else None,
        left_out=(*(report.left_out if report is not None else ()), *other_currencies(invoices)),
        settings=settings,
    )
    return checks_of(value, as_of=as_of)


def month_settings(month: date) -> Settings:
    """The tolerance set for a month, else the usual one."""
    stored = BillingPeriod.objects.filter(month=month).values_list("tolerance", flat=True).first() or {}
    return settings_of(stored)


def settings_of(stored: Mapping[str, Any]) -> Settings:
    return Settings(
        **{name: Decimal(str(stored.get(name, getattr(DEFAULTS, name)))) for name in Settings.__dataclass_fields__}
    )


def model_names() -> dict[str, tuple[str, str]]:
    """Display name and tier of every placed model."""
    rows = ModelRelease.objects.values_list("canonical_id", "display_name", "tier")
    return {model: (name.removeprefix("Claude "), tier) for model, name, tier in rows}


def active_reasons(month: date) -> dict[tuple[str, str], Reason]:
    rows = ResidualReason.objects.filter(month=month, withdrawn_at__isnull=True).select_related("given_by")
    return {
        (row.side, row.line): Reason(
            row.pk,
            row.side,  # type: ignore[arg-type]  # the operation lets only the two sides in
            row.line,
            row.cause,  # type: ignore[arg-type]
            row.amount,
            row.reason,
            row.given_by.get_username() if row.given_by is not None else "system",
            row.given_at,
        )
        for row in rows
    }


# ---- Our side --------------------------------------------------------------------------------------------------------


def _priced_days(start: date, end: date, book: PriceBook, contract: PriceBook) -> list[PricedDay]:
    """Counted usage of days [start, end) by day, channel, workspace, class and price key, each kind priced.

    Of very many unknown models most are one (`billing.queries.named_models`).
    """
    rows = (
        DailyUsage.objects.filter(date__gte=start, date__lt=end)
        .annotate(told=model_expression(named_models(start=start, end=end)))
        .values("date", "channel", "workspace", "request_class", "told", *_PRICE_COLUMNS[1:])
        .annotate(**{f"sum_{name}": Sum(name) for name in COUNTERS})
        .order_by("date", "channel", "workspace", "request_class", "told", *_PRICE_COLUMNS[1:])
    )
    pricer, under = Pricer(book), Pricer(contract) if contract is not book else None
    found = []
    for row in rows:
        dimensions = {"model": row["told"], **{name: row[name] for name in _PRICE_COLUMNS[1:]}}
        key = PriceKey(**dimensions, channel=row["channel"])
        for kind in PRICED_KINDS:
            if units := int(row[f"sum_{COUNTER_OF_KIND[kind]}"]):
                line = pricer.line(key, kind, units, row["date"])
                other = under.line(key, kind, units, row["date"]) if under is not None else None
                found.append(
                    PricedDay(
                        row["date"],
                        LineKey(row["channel"], kind=kind, workspace=row["workspace"], **dimensions),
                        line,
                        other.cost_usd if isinstance(other, CostLine) and isinstance(line, CostLine) else None,
                        bool(row["request_class"]),
                    )
                )
    return found


def _used(one: PricedDay) -> Used:
    if isinstance(one.line, CostLine):
        return Used(one.day, one.key, one.line.units, one.line.cost_usd, contract_usd=one.contract_usd)
    units = one.line.units
    return Used(one.day, one.key, units, ZERO, units, one.line.lowest_usd, one.line.highest_usd)


def _prices_by_line(
    priced: Sequence[PricedDay], ours: Sequence[Used], start: date, end: date
) -> dict[LineKey, list[PriceUsed]]:
    """Per line, the prices its computed cost on days [start, end) was made with. `ours`: `priced`, aligned."""
    sums: dict[tuple[LineKey, Price, tuple[str, ...]], list[CostLine]] = defaultdict(list)
    for one, aligned_line in zip(priced, ours, strict=True):
        if start <= one.day < end and isinstance(one.line, CostLine):
            sums[line_of(aligned_line.key), one.line.price, one.line.assumptions].append(one.line)
    found: dict[LineKey, list[PriceUsed]] = defaultdict(list)
    for (key, price, assumptions), lines in sums.items():
        units = sum(line.units for line in lines)
        found[key].append(
            PriceUsed(
                units,
                price.usd_per_unit,
                lines[0].unit,
                sum_usd(line.cost_usd for line in lines),
                cost_formula(units, price),
                price.source,
                price.valid_from,
                price.checked_on,
                assumptions,
            )
        )
    for prices in found.values():
        prices.sort(key=lambda one: (-one.cost_usd, one.formula))
    return found


def _unpriced(mine: Sequence[PricedDay], cells: Sequence[Cell]) -> tuple[UnpricedModel, ...]:
    """Usage without a price by model, with what the cost report says of it."""
    groups: dict[str, list[tuple[date, UnpricedLine]]] = defaultdict(list)
    for one in mine:
        if isinstance(one.line, UnpricedLine):
            groups[one.key.model].append((one.day, one.line))
    said: dict[str, list[Decimal]] = defaultdict(list)
    for cell in cells:
        said[cell.key.model] += [part.amount_usd for part in cell.parts if part.cause == "missing_price"]
    found = []
    for model, lines in groups.items():
        low = [line.lowest_usd for _, line in lines]
        high = [line.highest_usd for _, line in lines]
        found.append(
            UnpricedModel(
                model or "(no model)",
                sum(line.units for _, line in lines),
                min(day for day, _ in lines),
                None if None in low else sum_usd(one for one in low if one is not None),
                None if None in high else sum_usd(one for one in high if one is not None),
                sum_usd(said[model]) if said[model] else None,
            )
        )
    return tuple(sorted(found, key=lambda one: (-one.units, one.model)))


# ---- Days ------------------------------------------------------------------------------------------------------------


def _day_facts(used: Sequence[Used], report: MonthReport | None, start: date, end: date) -> dict[Place, DayFacts]:
    has_usage = {(line.key.channel, line.day) for line in used}
    has_report = set(report.at) if report is not None else set()
    usage_at: dict[Place, datetime] = {}
    imports = Import.objects.filter(
        kind="usage", state=Import.State.DONE, period_start__lt=day_start(end), period_end__gt=day_start(start)
    ).values_list("source__channel", "period_start", "period_end", "finished_at")
    for channel, first, last, finished in imports:
        if first is None or last is None:
            continue
        day = max(first.astimezone(UTC).date(), start)
        while day_start(day) < last and day < end:
            if finished is not None:
                usage_at[channel, day] = max(usage_at.get((channel, day), finished), finished)
            day += DAY
    return {
        place: DayFacts(
            place in has_usage,
            place in has_report,
            usage_at.get(place),
            report.at.get(place) if report is not None else None,
        )
        for place in has_usage | has_report
    }


def _days(
    start: date, end: date, as_of: datetime, used: Sequence[Used], report: MonthReport | None
) -> tuple[int, tuple[date, ...]]:
    """Number of days to be imported so far, and those of them on which no usage is held though some was to be.

    A day that a cost report covers without any amount needs no usage; days before anything is known do not count.
    """
    held = {line.day for line in used}
    spent = {line.day for line in report.reported if line.nature == "usage" and line.amount_usd} if report else set()
    covered = {day for _, day in report.at} if report is not None else set()
    known = DailyUsage.objects.aggregate(first=Min("date"))["first"]
    first = min((day for day in (known, *covered) if day is not None), default=None)
    if first is None:
        return 0, ()
    day, expected, missing = max(start, first), 0, []
    while day < min(end, as_of.date()):
        expected += 1
        if day not in held and (day in spent or day not in covered):
            missing.append(day)
        day += timedelta(days=1)
    return expected, tuple(missing)


def _source_count(start: date, end: date) -> int:
    return UsageSource.objects.filter(
        pk__in=DailyUsage.objects.filter(date__gte=start, date__lt=end).values("source_id")
    ).count()


def months_known(*, as_of: datetime) -> list[date]:
    """Every month with usage, a cost report, an invoice or a settlement, newest first.

    Months between two of them are there too, to be asked about; only a hole of over MAX_HOLE months stays one: then a
    file or an invoice has a wrong year, and a thousand empty months would hide the real ones.
    """
    days = DailyUsage.objects.aggregate(first=Min("date"), last=Max("date"))
    known = [day.replace(day=1) for day in days.values() if day is not None]
    known += months_with_reports()
    known += Invoice.objects.filter(withdrawn_at__isnull=True).values_list("month", flat=True)
    known += BillingPeriod.objects.values_list("month", flat=True)
    found: list[date] = []
    for month in sorted(set(known)):
        if found and _months_between(found[-1], month) <= MAX_HOLE:
            while (between := next_month(found[-1])) < month:
                found.append(between)
        found.append(month)
    return found[::-1]


def _months_between(first: date, second: date) -> int:
    return (second.year - first.year) * 12 + second.month - first.month - 1
