"""Time covered, missing and covered twice; rhythm and staleness; the order of findings."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core.health import (
    Finding,
    covered,
    day_count,
    days_behind,
    doubled,
    gaps,
    is_stale,
    is_steady,
    sorted_findings,
    unusual_gaps,
    usual_days,
)
from billing.core.periods import Period

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
PERIODS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 12)).map(
        lambda pair: Period(START + timedelta(hours=pair[0]), START + timedelta(hours=pair[0] + pair[1]))
    ),
    max_size=12,
)


def hours_of(periods: tuple[Period, ...] | list[Period]) -> list[datetime]:
    """Every hour of every period: the slow, obvious way."""
    found = []
    for one in periods:
        at = one.start
        while at < one.end:
            found.append(at)
            at += timedelta(hours=1)
    return found


@given(PERIODS)
def test_gaps_and_covered_time_are_the_whole_and_never_both(periods: list[Period]) -> None:
    inside, missing = hours_of(covered(periods)), hours_of(gaps(periods))
    assert len(set(inside)) == len(inside) and len(set(missing)) == len(missing)
    assert set(inside) == set(hours_of(periods))
    assert not set(inside) & set(missing)
    if periods:
        whole = Period(min(one.start for one in periods), max(one.end for one in periods))
        assert sorted(inside + missing) == hours_of([whole])
    else:
        assert (inside, missing) == ([], [])


@given(PERIODS)
def test_time_covered_twice_is_what_counting_says(periods: list[Period]) -> None:
    every = hours_of(periods)
    assert set(hours_of(doubled(periods))) == {at for at in every if every.count(at) > 1}


@given(PERIODS)
def test_covered_periods_do_not_touch(periods: list[Period]) -> None:
    found = covered(periods)
    assert all(before.end < after.start for before, after in pairwise(found))
    assert covered(found) == found and gaps(found) == gaps(periods)


def days(*offsets: int) -> list[Period]:
    return [Period.day(START.date() + timedelta(days=offset)) for offset in offsets]


def test_weekends_off_are_usual_and_a_missing_wednesday_is_not() -> None:
    working = [week * 7 + day for week in range(6) for day in range(5)]
    assert len(gaps(days(*working))) == 5
    assert unusual_gaps(days(*working)) == ()
    working.remove(3 * 7 + 2)
    (missing,) = unusual_gaps(days(*working))
    assert (missing.start.date(), day_count(missing)) == (date(2026, 1, 28), 1)
    # One Sunday missing of six weeks is no habit.
    assert len(unusual_gaps(days(*[day for day in range(42) if day != 13]))) == 1


def test_only_a_steady_source_misses_an_hour() -> None:
    hours = [Period(START + timedelta(hours=hour), START + timedelta(hours=hour + 1)) for hour in range(100)]
    assert is_steady(hours[:50] + hours[51:]) and not is_steady(hours[::2]) and not is_steady([])


@pytest.mark.parametrize(
    ("delivered", "usual"),
    [((1, 2, 3, 4), 1), ((2, 9, 16), 7), ((1, 1, 1, 8), None), ((), None), ((1, 2, 3, 20), 1)],
)
def test_the_usual_interval_is_the_median_of_days(delivered: tuple[int, ...], usual: int | None) -> None:
    assert usual_days(date(2026, 11, day) for day in delivered) == usual


@pytest.mark.parametrize(
    ("last", "delivered", "stale"),
    [
        (21, (19, 20, 21, 22), False),
        (18, (17, 18, 19), False),  # three days without data
        (17, (16, 17, 18), True),  # four
        (8, (1, 8, 15), False),  # weekly: thirteen days behind of fourteen
        (6, (1, 8, 15), True),
        (14, (15,), False),  # no rhythm known: seven days
        (13, (15,), True),
    ],
)
def test_stale_means_later_than_usual(last: int, delivered: tuple[int, ...], stale: bool) -> None:
    today = date(2026, 11, 22)
    assert is_stale(date(2026, 11, last), [date(2026, 11, day) for day in delivered], today=today) is stale
    assert days_behind(date(2026, 11, last), today=today) == 21 - last


def test_findings_come_errors_first_then_by_money() -> None:
    def finding(level: str, title: str, usd: str | None = None, tokens: int | None = None) -> Finding:
        return Finding(level, "prices", title, title, "", "", Decimal(usd) if usd else None, tokens=tokens)  # type: ignore[arg-type]

    found = [
        finding("note", "n", "900"), finding("warning", "small", "1"), finding("warning", "large", "20"),
        finding("error", "unknown", None, 5), finding("warning", "none"), finding("error", "known", "0.5"),
        finding("error", "more", None, 50),
    ]  # fmt: skip
    assert [one.title for one in sorted_findings(found)] == ["known", "more", "unknown", "large", "small", "none", "n"]
