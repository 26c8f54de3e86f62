"""Half-open UTC periods: edges, months, parsing, tiling."""

import itertools
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core.periods import (
    Period,
    PeriodError,
    day_start,
    months_between,
    next_month,
    parse_day,
    parse_instant,
    utc,
    utc_date,
)

DAYS = st.dates(date(2000, 1, 1), date(2100, 1, 1))
AUCKLAND = timezone(timedelta(hours=13))


def at(year, month, day, hour=0):
    return datetime(year, month, day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-11", at(2026, 11, 1), at(2026, 12, 1)),
        ("2026-12", at(2026, 12, 1), at(2027, 1, 1)),
        ("2026-11-09", at(2026, 11, 9), at(2026, 11, 10)),
        ("2026-02-28..2026-03-02", at(2026, 2, 28), at(2026, 3, 2)),
    ],
)
def test_periods_are_read(text, start, end):
    assert Period.parse(text) == Period(start, end)


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-13", "2026-02-30", "9.11.2026", "2026-11-09..2026-11-09", "..", "soon"]
)
def test_what_is_no_period_is_refused(text):
    with pytest.raises(PeriodError):
        Period.parse(text)


def test_the_start_belongs_to_a_period_and_the_end_does_not():
    day = Period.day(date(2026, 11, 9))
    assert day.contains(at(2026, 11, 9)) and not day.contains(at(2026, 11, 10))
    assert day.contains(datetime(2026, 11, 10, 12, 59, tzinfo=AUCKLAND))
    assert not day.contains(datetime(2026, 11, 10, 13, 0, tzinfo=AUCKLAND))


def test_touching_periods_have_nothing_in_common():
    first, second = Period.month(2026, 10), Period.month(2026, 11)
    assert not first.overlaps(second) and first.intersection(second) is None
    both = Period.days(date(2026, 10, 30), date(2026, 11, 2))
    assert both.intersection(second) == Period.days(date(2026, 11, 1), date(2026, 11, 2))
    assert second.encloses(second) and not second.encloses(both)


@pytest.mark.parametrize(("year", "month", "days"), [(2026, 2, 28), (2028, 2, 29), (2026, 12, 31), (2100, 2, 28)])
def test_months_have_their_days(year, month, days):
    assert Period.month(year, month).day_count == days


def test_an_empty_or_zoneless_period_is_refused():
    with pytest.raises(PeriodError, match="before it ends"):
        Period(at(2026, 11, 9), at(2026, 11, 9))
    with pytest.raises(PeriodError, match="time zone"):
        utc(datetime(2026, 11, 9))  # noqa: DTZ001 - what is refused


@pytest.mark.parametrize(
    ("text", "instant"),
    [("2026-11-09T14:00:00Z", at(2026, 11, 9, 14)), ("2026-11-09T14:00:00+13:00", at(2026, 11, 9, 1))],
)
def test_instants_are_utc(text, instant):
    assert parse_instant(text) == instant and parse_instant(text).tzinfo is UTC


@pytest.mark.parametrize("text", ["2026-11-09T14:00:00", "2026-11-09", "14:00", "2026-11-31T00:00:00Z", ""])
def test_an_instant_without_zone_or_sense_is_refused(text):
    with pytest.raises(PeriodError):
        parse_instant(text)


def test_a_day_is_a_utc_day():
    assert utc_date(datetime(2026, 11, 10, 12, 0, tzinfo=AUCKLAND)) == date(2026, 11, 9)
    assert parse_day(" 2026-11-09 ") == date(2026, 11, 9)
    assert day_start(date(2026, 11, 9)) == at(2026, 11, 9)


@given(DAYS, st.integers(1, 900))
def test_days_tile_a_period(first, count):
    period = Period.days(first, first + timedelta(days=count))
    days = list(period.each_day())
    assert len(days) == count == period.day_count
    assert days == [first + timedelta(days=n) for n in range(count)]


@given(DAYS, st.integers(1, 900))
def test_months_tile_and_hold_every_day(first, count):
    end = first + timedelta(days=count)
    months = months_between(first, end)
    assert all(left.end == right.start for left, right in itertools.pairwise(months))
    assert months[0].contains(day_start(first)) and months[-1].contains(day_start(end - timedelta(days=1)))
    assert len({month.start for month in months}) == (end - timedelta(days=1)).month - first.month + 1 + 12 * (
        (end - timedelta(days=1)).year - first.year
    )
    assert months_between(end, first) == ()


def test_the_year_turns():
    assert [next_month(date(2026, month, 15)) for month in (1, 11, 12)] == [
        date(2026, 2, 1), date(2026, 12, 1), date(2027, 1, 1),
    ]  # fmt: skip
