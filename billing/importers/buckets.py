"""Rows of a report as usage buckets: minutes become hours, equal keys are added, a bucket without traffic stays."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from billing.core.periods import Period
from billing.core.usage import TokenCounts, UsageBucket, UsageKey, sum_counts

HOUR: Final = timedelta(hours=1)
_ZERO_KEY: Final = UsageKey(model="")


@dataclass(frozen=True, slots=True)
class BucketRow:
    """What one row of a report says; `requests` None = it does not say."""

    period: Period
    key: UsageKey
    model_raw: str
    counts: TokenCounts
    requests: int | None = None


def summed_buckets(rows: Iterable[BucketRow], periods: Iterable[Period], width: timedelta) -> tuple[UsageBucket, ...]:
    """One bucket per hour (or day) and key; each of `periods` without a row is a zero bucket, so that it replaces."""
    sums: dict[tuple[datetime, UsageKey, str], tuple[list[TokenCounts], int | None]] = {}
    for row in rows:
        place = (bucket_start(row.period.start, width), row.key, row.model_raw)
        counts, requests = sums.get(place, ([], 0))
        counts.append(row.counts)
        known = requests is not None and row.requests is not None
        sums[place] = (counts, (requests or 0) + (row.requests or 0) if known else None)
    with_rows = {start for start, _, _ in sums}
    for period in periods:
        start = bucket_start(period.start, width)
        if start not in with_rows:
            sums.setdefault((start, _ZERO_KEY, ""), ([], None))
    length = max(width, HOUR)
    return tuple(
        UsageBucket(Period(start, start + length), key, sum_counts(counts), raw, requests)
        for (start, key, raw), (counts, requests) in sorted(
            sums.items(), key=lambda item: (item[0][0], str(item[0][1]), item[0][2])
        )
    )


def bucket_start(at: datetime, width: timedelta) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0) if width < HOUR else at


def filled(periods: Sequence[Period]) -> list[Period]:
    """All buckets from the first to the last: a report that leaves out empty ones states them all the same."""
    if not periods:
        return []
    width = periods[0].end - periods[0].start
    start, end = min(period.start for period in periods), max(period.end for period in periods)
    found = []
    while start < end:
        found.append(Period(start, start + width))
        start += width
    return found
