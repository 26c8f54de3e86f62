"""What is odd about data: findings, and what time it covers, misses and covers twice (docs/guide/data-health.md)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from statistics import median
from typing import Final, Literal

from billing.core.money import ZERO
from billing.core.periods import DAY, Period

Level = Literal["error", "warning", "note"]
LEVELS: Final[tuple[Level, ...]] = ("error", "warning", "note")
Topic = Literal["prices", "classes", "sources", "imports", "months", "mappings"]
TOPICS: Final[tuple[Topic, ...]] = ("prices", "classes", "sources", "imports", "months", "mappings")
STALE_DAYS_AT_LEAST: Final = 3
STALE_DAYS_UNKNOWN: Final = 7
STEADY_SHARE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Finding:
    """Something odd about the data, and what to do about it.

    `error`: figures are wrong or incomplete until it is mended; `warning`: they may be; `note`: worth knowing.
    `usd`: money it touches (None = unknown or none), `is_estimate`: not exact; `tokens`: tokens it touches.
    `first`, `last`: days it is about, both included. `link`: the page that mends it.
    """

    level: Level
    topic: Topic
    key: str
    title: str
    text: str
    remedy: str
    usd: Decimal | None = None
    is_estimate: bool = False
    tokens: int | None = None
    first: date | None = None
    last: date | None = None
    link: str = ""
    action: str = ""

    @property
    def is_cost_unknown(self) -> bool:
        """Its tokens have no price."""
        return self.usd is None and self.key.startswith("unpriced")


def sorted_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first; of one level the most money first, then the most tokens, then by title."""
    return tuple(
        sorted(
            findings,
            key=lambda one: (LEVELS.index(one.level), -(one.usd or ZERO), -(one.tokens or 0), one.topic, one.title),
        )
    )


# ---- Time covered -----------------------------------------------------------------------------------------------


def covered(periods: Iterable[Period]) -> tuple[Period, ...]:
    """The same time as disjoint periods that do not touch, in order."""
    found: list[Period] = []
    for period in sorted(periods):
        if found and period.start <= found[-1].end:
            if period.end > found[-1].end:
                found[-1] = Period(found[-1].start, period.end)
        else:
            found.append(period)
    return tuple(found)


def gaps(periods: Iterable[Period]) -> tuple[Period, ...]:
    """Time between the first start and the last end that no period covers: with `covered` it is the whole."""
    return tuple(Period(before.end, after.start) for before, after in pairwise(covered(periods)))


def doubled(periods: Iterable[Period]) -> tuple[Period, ...]:
    """Time that two or more periods cover."""
    found: list[Period] = []
    reached: Period | None = None
    for period in sorted(periods):
        if reached is not None and period.start < reached.end:
            found.append(Period(period.start, min(period.end, reached.end)))
        if reached is None or period.end > reached.end:
            reached = period
    return covered(found)


def unusual_gaps(periods: Sequence[Period]) -> tuple[Period, ...]:
    """Gaps that do not come back with the week: an office that rests each weekend misses nothing on Sunday.

    A gap is usual where one of the same length, begun at the same hour of the week, is there in at least half of the
    weeks, and in two of them at least.
    """
    found = gaps(periods)
    if not found:
        return ()
    whole = covered(periods)
    weeks = max(1, (whole[-1].end - whole[0].start) // timedelta(days=7))

    def place(gap: Period) -> tuple[int, int, timedelta]:
        return gap.start.weekday(), gap.start.hour, gap.end - gap.start

    counts = Counter(place(gap) for gap in found)
    return tuple(gap for gap in found if counts[place(gap)] < max(2, weeks / 2))


def is_steady(periods: Sequence[Period]) -> bool:
    """It covers nearly all of the time between its ends: then a missing hour says something."""
    whole = covered(periods)
    if not whole:
        return False
    length = whole[-1].end - whole[0].start
    return sum((one.end - one.start for one in whole), timedelta(0)) >= length * STEADY_SHARE


# ---- Rhythm -----------------------------------------------------------------------------------------------------


def usual_days(import_days: Iterable[date]) -> int | None:
    """Usual number of days between two deliveries: the median; None with fewer than three days of delivery.

    >>> usual_days([date(2026, 11, day) for day in (2, 9, 16, 24)])
    7
    """
    days = sorted(set(import_days))
    if len(days) < 3:
        return None
    return round(median((after - before).days for before, after in pairwise(days)))


def days_behind(last: date, *, today: date) -> int:
    """Whole days without data between the last one and today, which is not over.

    >>> days_behind(date(2026, 11, 21), today=date(2026, 11, 22))
    0
    """
    return max(0, (today - last).days - 1)


def is_stale(last: date, import_days: Iterable[date], *, today: date) -> bool:
    """Data is later than usual: twice the usual interval, three days at least, seven where there is no usual."""
    usual = usual_days(import_days)
    allowed = STALE_DAYS_UNKNOWN if usual is None else max(STALE_DAYS_AT_LEAST, 2 * usual)
    return days_behind(last, today=today) > allowed


def day_count(period: Period) -> int:
    """Days touched; of an hour's gap 1."""
    return -(-(period.end - period.start) // DAY)
