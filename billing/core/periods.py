"""Half-open UTC periods `[start, end)`: two comparisons test an overlap, months tile (architecture.md §4)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

DAY: Final = timedelta(days=1)
# No Claude request is older: an earlier time is a mistake of its writer.
EARLIEST: Final = datetime(2020, 1, 1, tzinfo=UTC)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_MONTH: Final = re.compile(r"[0-9]{4}-[0-9]{2}", re.ASCII)
_INSTANT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ](?:[01][0-9]|2[0-3]):[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])",
    re.ASCII,
)


class PeriodError(ValueError):
    """A time or period that cannot be used: no zone, end before start, or not written as expected."""


def utc(at: datetime) -> datetime:
    """The same instant in UTC. Raises PeriodError for a naive datetime: its instant is unknown."""
    if at.tzinfo is None or at.utcoffset() is None:
        raise PeriodError(f"{at.isoformat()} has no time zone; give an offset, e.g. {at.isoformat()}Z")
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise PeriodError(f"{at.isoformat()} is outside the calendar") from error


def utc_date(at: datetime | date) -> date:
    """The UTC day of an instant; a plain date is that day. Converting first gives one instant one day, so one price."""
    return utc(at).date() if isinstance(at, datetime) else at


def day_start(day: date) -> datetime:
    """Midnight UTC at which the day begins."""
    return datetime.combine(day, time(0), tzinfo=UTC)


def parse_instant(text: str) -> datetime:
    """An RFC 3339 instant in UTC. Raises PeriodError when malformed or without a zone.

    >>> parse_instant("2026-11-09T01:30:00+02:00")
    datetime.datetime(2026, 11, 8, 23, 30, tzinfo=datetime.timezone.utc)
    """
    cleaned = text.strip()
    if not _INSTANT.fullmatch(cleaned):
        raise PeriodError(f"{text[:40]!r} is not an instant with a zone; write it like 2026-11-09T14:00:00Z")
    try:
        return utc(datetime.fromisoformat(cleaned.upper()))
    except ValueError as error:
        raise PeriodError(f"{text[:40]!r} is not an instant: {error}") from error


def parse_day(text: str) -> date:
    """A date written YYYY-MM-DD. Raises PeriodError otherwise."""
    cleaned = text.strip()
    if not _DATE.fullmatch(cleaned):
        raise PeriodError(f"{text[:40]!r} is not a date; write it like 2026-11-09")
    try:
        return date.fromisoformat(cleaned)
    except ValueError as error:
        raise PeriodError(f"{text[:40]!r} is not a date: {error}") from error


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """`start` belongs to it, `end` does not. Both are instants and kept in UTC; start < end.

    >>> Period.month(2026, 2).day_count
    28
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", utc(self.start))
        object.__setattr__(self, "end", utc(self.end))
        if not self.start < self.end:
            raise PeriodError(f"a period must start before it ends: {self.start.isoformat()} … {self.end.isoformat()}")

    @classmethod
    def days(cls, first: date, end: date) -> "Period":
        """Whole UTC days from `first` up to, not including, `end`."""
        return cls(day_start(first), day_start(end))

    @classmethod
    def day(cls, day: date) -> "Period":
        return cls(day_start(day), day_start(day) + DAY)

    @classmethod
    def month(cls, year: int, month: int) -> "Period":
        first = date(year, month, 1)
        return cls(day_start(first), day_start(next_month(first)))

    @classmethod
    def parse(cls, text: str) -> "Period":
        """`2026-11` (month), `2026-11-09` (day), or `2026-11-01..2026-11-15` (days, the second not included)."""
        cleaned = text.strip()
        if ".." in cleaned:
            first, _, end = cleaned.partition("..")
            return cls.days(parse_day(first), parse_day(end))
        if _MONTH.fullmatch(cleaned):
            year, month = int(cleaned[:4]), int(cleaned[5:])
            if year < 1 or not 1 <= month <= 12:
                raise PeriodError(f"{text[:40]!r} is not a month; write it like 2026-11")
            return cls.month(year, month)
        return cls.day(parse_day(cleaned))

    @property
    def day_count(self) -> int:
        """Number of UTC days touched."""
        return len(list(self.each_day()))

    def contains(self, at: datetime) -> bool:
        return self.start <= utc(at) < self.end

    def overlaps(self, other: "Period") -> bool:
        return self.start < other.end and other.start < self.end

    def encloses(self, other: "Period") -> bool:
        return self.start <= other.start and other.end <= self.end

    def intersection(self, other: "Period") -> "Period | None":
        """The common part, or None where they only touch or lie apart."""
        return Period(max(self.start, other.start), min(self.end, other.end)) if self.overlaps(other) else None

    def each_day(self) -> Iterator[date]:
        """UTC days of which at least a part belongs to the period, in order."""
        day = self.start.date()
        while day_start(day) < self.end:
            yield day
            day += DAY

    def each_month(self) -> Iterator["Period"]:
        """Whole months of which at least a part belongs to the period, in order; they tile."""
        first = self.start.date().replace(day=1)
        while day_start(first) < self.end:
            yield Period.month(first.year, first.month)
            first = next_month(first)


def next_month(day: date) -> date:
    """First day of the month after the one `day` lies in."""
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


def months_between(first: date, end: date) -> tuple[Period, ...]:
    """Months touched by the days [first, end). Empty when end ≤ first."""
    return tuple(Period.days(first, end).each_month()) if first < end else ()
