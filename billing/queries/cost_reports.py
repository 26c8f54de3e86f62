"""Which cost report counts for a month, and its lines as reconciliation wants them.

Several sources may state the same day of one channel (the API's report, a CSV, a bill). One counts per channel and
UTC day: finer grouped before coarser, unrounded reports before CSV files and bills, then the later import.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db.models import Q

from billing.core.money import ZERO
from billing.core.periods import DAY, day_start, next_month
from billing.core.pricebook import PriceBook, PriceKey, PriceNotFound
from billing.core.reconciling import NOT_STATED, LineKey, Nature, Reported
from billing.core.settlement import ReportUsed
from billing.core.usage import PRICED_KINDS, PricedKind
from billing.models import CostReportLine, Import, UsageSource
from billing.queries.imports import model_aliases

_NATURE: Final[Mapping[str, Nature]] = {
    "tax": "tax",
    "credit": "credit",
    "adjustment": "adjustment",
    "purchase": "commitment",
}
_USAGE_TYPES: Final = {"tokens", "web_search", "(not grouped)", ""}
_PLACES: Final = Decimal(1).scaleb(-15)
Place = tuple[str, date]  # channel, UTC day


@dataclass(frozen=True, slots=True)
class MonthReport:
    """The lines that count for one month, and usage of the day before and after it. `at`: newest import by day."""

    reported: tuple[Reported, ...]
    sources: tuple[ReportUsed, ...]
    at: Mapping[Place, datetime | None]
    left_out: tuple[str, ...]


def month_report(month: date, *, book: PriceBook) -> MonthReport | None:
    """What the cost reports say of a month; None where none says anything."""
    start, end = month, next_month(month)
    about = Q(billing_month=month) | Q(
        period_start__gte=day_start(start) - DAY, period_start__lt=day_start(end) + DAY, category="usage"
    )
    aliases = model_aliases()
    rows = list(CostReportLine.objects.filter(about).order_by("pk"))
    _attach(rows)
    chosen = _chosen(rows)
    counted = [row for row in rows if chosen[_place(row)] == row.source_id]
    left_out = [row for row in counted if row.currency != "USD" and row.billing_month == month]
    usable = [row for row in counted if row.currency == "USD"]
    if not any(row.billing_month == month for row in usable):
        return None
    reported = tuple(line for row in usable if (line := _reported(row, month, start, end, aliases, book)) is not None)
    mine = [row for row in usable if row.billing_month == month]
    at: dict[Place, datetime | None] = dict.fromkeys(_covered_days(rows, start, end))
    for row in usable:
        place = _place(row)
        finished = row.latest_import.finished_at
        at[place] = max((one for one in (at.get(place), finished) if one is not None), default=None)
    return MonthReport(reported, _sources(mine), at, _currencies(left_out))


def _attach(rows: Sequence[CostReportLine]) -> None:
    """Sources and imports once each: joined to thousands of lines they would be made anew for every line."""
    sources = UsageSource.objects.in_bulk({row.source_id for row in rows})
    imports = Import.objects.defer("problems", "findings").in_bulk({row.latest_import_id for row in rows})
    for row in rows:
        row.source, row.latest_import = sources[row.source_id], imports[row.latest_import_id]


def months_with_reports() -> list[date]:
    return list(CostReportLine.objects.order_by("billing_month").values_list("billing_month", flat=True).distinct())


def _place(row: CostReportLine) -> Place:
    return row.channel, row.period_start.astimezone(UTC).date()


def _chosen(rows: Sequence[CostReportLine]) -> dict[Place, int]:
    """The source that counts, per channel and day."""
    by_place: dict[Place, dict[int, list[CostReportLine]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        by_place[_place(row)][row.source_id].append(row)
    return {
        place: max(candidates, key=lambda source: _rank(candidates[source])) for place, candidates in by_place.items()
    }


def _rank(rows: Sequence[CostReportLine]) -> tuple[bool, bool, int, bool, int, int]:
    usage = [row for row in rows if row.category == "usage"] or list(rows)
    stated = sum(
        any(getattr(row, name) not in NOT_STATED for row in usage)
        for name in ("model", "token_kind", "service_tier", "prompt_length_band", "geo", "speed", "workspace")
    )
    return (
        all(row.basis != "estimated" for row in usage),
        any(row.model not in NOT_STATED and row.token_kind not in NOT_STATED for row in usage),
        stated,
        "csv" not in rows[0].latest_import.format,
        max(row.latest_import_id for row in rows),
        rows[0].source_id,
    )


def _covered_days(rows: Sequence[CostReportLine], start: date, end: date) -> set[Place]:
    """Days a counted report states in full, also those on which nothing was spent."""
    found: set[Place] = set()
    imports = {row.latest_import_id: (row.channel, row.latest_import) for row in rows}
    for channel, row in imports.values():
        if row.period_start is None or row.period_end is None:
            continue
        day = max(row.period_start.astimezone(UTC).date(), start - timedelta(days=1))
        while day_start(day) < row.period_end and day <= end:
            found.add((channel, day))
            day += timedelta(days=1)
    return found


def _reported(
    row: CostReportLine, month: date, start: date, end: date, aliases: Mapping[str, str], book: PriceBook
) -> Reported | None:
    first, last = row.period_start.astimezone(UTC), row.period_end.astimezone(UTC)
    day = first.date() if last - first <= DAY else None
    nature = _nature(row, start)
    if row.billing_month != month and (nature != "usage" or day is None):
        return None  # beyond the month, only days of usage help
    key = LineKey(
        channel=row.channel,
        model=aliases.get(row.model, row.model) if nature == "usage" else "",
        kind=row.token_kind if nature == "usage" else row.cost_type if nature == "non_token" else nature,
        service_tier=row.service_tier if nature == "usage" else "",
        prompt_length_band=row.prompt_length_band if nature == "usage" else "",
        geo=row.geo if nature == "usage" else "",
        speed=row.speed if nature == "usage" else "",
        workspace=row.workspace if nature == "usage" else "",
    )
    if nature != "usage":
        return Reported(day, key, row.amount, nature, description=row.description)
    discount, prepaid = _below_list(row)
    regional = _regional(key, row.amount, day or first.date(), book)
    return Reported(day, key, row.amount, nature, regional, discount, prepaid)


def _below_list(row: CostReportLine) -> tuple[Decimal, Decimal]:
    """Billed less list where the line states both, as a discount and as what a prepaid commitment covers."""
    if row.list_amount is None or row.basis == CostReportLine.Basis.LIST:
        return ZERO, ZERO
    if not row.commitment:
        return row.amount - row.list_amount, ZERO
    agreed = row.contracted_amount if row.contracted_amount is not None else row.list_amount
    return agreed - row.list_amount, row.amount - agreed


def _nature(row: CostReportLine, start: date) -> Nature:
    if row.is_correction or (row.period_end.astimezone(UTC) <= day_start(start) and row.billing_month == start):
        return "adjustment"
    if row.category in _NATURE:
        return _NATURE[row.category]
    if row.cost_type in _USAGE_TYPES or row.model not in NOT_STATED:
        return "usage"
    return "non_token"


def _regional(key: LineKey, amount: Decimal, on: date, book: PriceBook) -> Decimal:
    """What an amount at a regional price has more than the same usage at the global one; 0 where that is not known."""
    if key.geo in NOT_STATED | {"global", "not_available"} or key.kind not in PRICED_KINDS:
        return ZERO
    kind: PricedKind = key.kind
    told = PriceKey(key.model, key.service_tier, key.prompt_length_band, key.geo, key.speed)
    try:
        here = book.lookup(told, kind, on).price.usd_per_unit
        everywhere = book.lookup(
            PriceKey(key.model, key.service_tier, key.prompt_length_band, "global", key.speed), kind, on
        ).price.usd_per_unit
    except PriceNotFound:
        return ZERO
    return ZERO if not here else (amount * (here - everywhere) / here).quantize(_PLACES)


def _sources(rows: Sequence[CostReportLine]) -> tuple[ReportUsed, ...]:
    groups: dict[tuple[str, int], list[CostReportLine]] = defaultdict(list)
    for row in rows:
        groups[row.channel, row.source_id].append(row)
    return tuple(
        ReportUsed(
            channel,
            found[0].source.name,
            found[0].latest_import.format,
            max((one.finished_at for one in _imports(found) if one.finished_at is not None), default=None),
            len(found),
            len({row.period_start for row in found}),
        )
        for (channel, _), found in sorted(groups.items())
    )


def _imports(rows: Sequence[CostReportLine]) -> list[Import]:
    return list({row.latest_import_id: row.latest_import for row in rows}.values())


def _currencies(rows: Sequence[CostReportLine]) -> tuple[str, ...]:
    sums: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
    for row in rows:
        sums[row.source.name, row.currency] += row.amount
    return tuple(
        f"{amount:,.2f} {currency} of {source} are not compared: only US dollars are"
        for (source, currency), amount in sorted(sums.items())
    )
