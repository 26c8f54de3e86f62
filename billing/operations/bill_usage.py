"""Usage that a bill states: token rows of a cloud or FOCUS bill as hourly or daily rows of its source.

The lines are the fact and the roll-ups follow from them, in the same transaction, so both are always of one delivery.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from billing.core.periods import day_start
from billing.core.usage import COUNTER_OF_KIND, COUNTERS, MAX_COUNT, NOT_GROUPED
from billing.models import USAGE_KEY_FIELDS, CostReportLine, UsageSource
from billing.operations.rollups import replace_hours

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_COUNTER: Final = {str(kind): counter for kind, counter in COUNTER_OF_KIND.items()}
_PLACES: Final = ("workspace", "api_key")
ClassOfKey = Callable[[str, str, str, date], str]
_Place = tuple[Any, ...]


def save_bill_usage(
    *, source: UsageSource, days: Iterable[date], class_of_key: ClassOfKey
) -> tuple[set[date], list[str]]:
    """Write the usage of some days of a bill's source anew from its lines. Returns the days to count, and remarks."""
    wanted = sorted(set(days))
    if not wanted:
        return set(), []
    hours: dict[_Place, list[int]] = {}
    whole_days: dict[_Place, list[int]] = {}
    latest: dict[_Place, int] = defaultdict(int)
    is_daily: set[date] = set()
    lines = [line for line in _usage_lines(source, wanted) if line.period_start.astimezone(UTC).date() in set(wanted)]
    too_long = fractional = 0
    kept: list[tuple[CostReportLine, datetime, bool]] = []
    for line in lines:
        start, end = line.period_start.astimezone(UTC), line.period_end.astimezone(UTC)
        if end > day_start(start.date()) + _DAY:
            too_long += 1
            continue
        if line.quantity is None or line.quantity != int(line.quantity) or not 0 <= line.quantity <= MAX_COUNT:
            fractional += 1
            continue
        hour = start.replace(minute=0, second=0, microsecond=0)
        is_hour = end <= hour + _HOUR
        kept.append((line, hour, is_hour))
        if not is_hour:
            is_daily.add(start.date())
    told = {(hour.date(), name) for line, hour, _ in kept for name in _PLACES if getattr(line, name)}
    for line, hour, _ in kept:
        # One width per day: of two grains of one source the counting rule would take one and drop the other.
        daily = hour.date() in is_daily
        begin = day_start(hour.date()) if daily else hour
        key = {name: getattr(line, name, "") for name in USAGE_KEY_FIELDS}
        # A bill without keys says nothing of keys: read as "no key" it would be money beside the logs' keys.
        key |= {name: NOT_GROUPED for name in _PLACES if (hour.date(), name) not in told}
        key["policy_version"] = 0
        key["request_class"] = class_of_key(line.channel, line.workspace, line.api_key, hour.date())
        place = (begin, *(key[name] for name in USAGE_KEY_FIELDS))
        counts = (whole_days if daily else hours).setdefault(place, [0] * len(COUNTERS))
        counts[COUNTERS.index(_COUNTER[line.token_kind])] += int(line.quantity or 0)
        latest[place] = max(latest[place], line.latest_import_id)
    for bucket_hours, sums, starts in (
        (1, hours, [day_start(day) + timedelta(hours=hour) for day in wanted for hour in range(24)]),
        (24, whole_days, [day_start(day) for day in wanted]),
    ):
        replace_hours(
            source_id=source.pk,
            bucket_hours=bucket_hours,
            buckets=starts,
            rows=((place[0], latest[place], *place[1:], *counts, None, 0) for place, counts in sums.items()),
        )
    remarks = []
    if too_long:
        remarks.append(f"{too_long:,} token rows span more than a UTC day: cost only, no usage of a day.")
    if fractional:
        remarks.append(f"{fractional:,} token rows state no whole number of tokens: cost only, not counted as usage.")
    return set(wanted), remarks


def _usage_lines(source: UsageSource, days: list[date]) -> Iterable[CostReportLine]:
    return (
        CostReportLine.objects.filter(
            source=source,
            category=CostReportLine.Category.USAGE,
            is_correction=False,
            token_kind__in=list(_COUNTER),
            quantity__isnull=False,
            period_start__gte=day_start(days[0]),
            period_start__lt=day_start(days[-1]) + _DAY,
        )
        .only(*_FIELDS)
        .iterator(chunk_size=2_000)
    )


_FIELDS: Final = (
    "period_start", "period_end", "quantity", "token_kind", "latest_import_id", "organisation", "channel", "workspace",
    "api_key", "model", "service_tier", "prompt_length_band", "geo", "speed",
)  # fmt: skip
