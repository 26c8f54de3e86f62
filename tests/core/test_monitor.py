"""The monitor of live samples: golden numbers, exact false alarms, and that only the samples decide."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.core.bars import Bar
from routing.core.evalues import log_e_short_path, log_e_values_scores
from routing.core.monitor import (
    ALARM_AT,
    InForce,
    LiveSample,
    MonitoredMonth,
    Stretch,
    alarm_item,
    monitored_months,
    month_after,
    month_before,
    month_of,
    passed_text,
    standing_alarm,
)

TEXT = (Path(__file__).parents[2] / "docs" / "algorithms" / "quality.md").read_text(encoding="utf-8")
OCTOBER, NOVEMBER, DECEMBER = (datetime(2026, month, 1, tzinfo=UTC) for month in (10, 11, 12))
HAIKU, OPUS = "claude-haiku-4-5", "claude-opus-4-8"
BAR = Bar()  # line .93
MINUTE = timedelta(minutes=1)


def slow_ln_e(scores: Sequence[float], line: float) -> float:
    """methods.md §3.2 as it is written, with exact sums: 200 means below the line, one product each."""
    logs = []
    for j in range(200):
        bet = (line * (j + 0.5) / 200 - line) / (line * (1 - line))
        logs.append(math.fsum(math.log(1 + bet * (score - line)) for score in scores))
    most = max(logs)
    return most + math.log(math.fsum(math.exp(value - most) for value in logs) / 200)


def sample(number: int, score: float | None, at: datetime, model: str = HAIKU, **facts: object) -> LiveSample:
    return LiveSample("live", f"req-{number:05}", model, at, score, **facts)  # type: ignore[arg-type]


def row_of(scores: Sequence[float | None], begins: datetime, model: str = HAIKU, first: int = 0) -> list[LiveSample]:
    """One sample a minute."""
    return [sample(first + n, score, begins + n * MINUTE, model) for n, score in enumerate(scores)]


def serves(model: str | None = HAIKU, bar: Bar = BAR, begins: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> InForce:
    return InForce(begins, model, bar)


def only(months: Sequence[MonitoredMonth]) -> Stretch:
    (month,) = months
    (stretch,) = month.stretches
    return stretch


# --- golden numbers ---------------------------------------------------------------------------------------------------

# name → scores, line, ln E⁻ at the end, its maximum, sample that raises the alarm (from 1; None = none)
GOLDEN: dict[str, tuple[Sequence[float], float, float, float, int | None]] = {
    "two failures at once": ([0, 0], 0.93, 4.29213, 4.29213, 2),
    "every tenth fails": ([0 if n % 10 == 9 else 1 for n in range(200)], 0.93, -1.67532, -0.693147, None),
    "every fifth fails": ([0 if n % 5 == 4 else 1 for n in range(200)], 0.93, 15.324487, 15.324487, 60),
    "good, then bad": ([1] * 100 + [0, 1] * 30, 0.93, 9.509362, 9.650662, 143),
    "grades": ([0.9, 0.7, 1, 0.6, 0.8] * 30, 0.9, 39.289338, 39.289338, 15),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_numbers(name):
    scores, line, at_end, highest, alarm = GOLDEN[name]
    slow = [slow_ln_e(scores[: n + 1], line) for n in range(len(scores))]
    assert round(slow[-1], 6) == at_end and round(max(slow), 6) == highest
    assert next((n + 1 for n, value in enumerate(slow) if value >= math.log(20)), None) == alarm
    found = only(
        monitored_months(row_of(scores, NOVEMBER), [serves(bar=Bar(bar=Decimal(str(line)), tolerance=Decimal(0)))])
    )
    assert (round(found.log_e, 6), round(found.highest, 6)) == (at_end, highest)
    assert (found.alarm.samples if found.alarm else None) == alarm
    assert found.needed == ALARM_AT == pytest.approx(2.995732, abs=5e-7)
    if alarm:
        assert found.alarm is not None
        assert found.alarm.at == NOVEMBER + (alarm - 1) * MINUTE
        assert found.alarm.sample_id == f"req-{alarm - 1:05}"
        assert found.alarm.passes == pytest.approx(math.fsum(scores[:alarm]))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.05, 0.97))
@settings(max_examples=60, deadline=None)
def test_a_path_ends_where_all_scores_at_once_do(scores, line):
    path = log_e_short_path(scores, line)
    assert path[-1] == pytest.approx(log_e_values_scores(scores, line)[1], rel=1e-9, abs=1e-9)
    assert path[len(scores) // 2] == pytest.approx(slow_ln_e(scores[: len(scores) // 2 + 1], line), rel=1e-9, abs=1e-9)


def test_a_long_path_is_taken_in_parts():
    scores = [0.0 if n % 13 == 0 else 1.0 for n in range(9_000)]
    path = log_e_short_path(scores, 0.93)
    for n in (4_095, 4_096, 8_192, 8_999):
        assert path[n] == pytest.approx(log_e_values_scores(scores[: n + 1], 0.93)[1], rel=1e-9)


@pytest.mark.parametrize(("scores", "line"), [([1.2], 0.9), ([float("nan")], 0.9), ([1.0], 1.0)])
def test_a_path_of_what_is_no_score_is_refused(scores, line):
    with pytest.raises(ValueError):
        log_e_short_path(scores, line)


# --- exactly how often it errs ----------------------------------------------------------------------------------------


@cache
def slow_boundaries(line: float, most: int, needed: float) -> tuple[int, ...]:
    """The fewest failures of n samples, n = 0 … most, that raise an alarm."""
    fewest = 0  # one more sample never lowers it
    found = [most + 1]
    for n in range(1, most + 1):
        while fewest <= n and counts_ln_e(n - fewest, fewest, line) < needed:
            fewest += 1
        found.append(fewest)
    return tuple(found)


def counts_ln_e(passed: int, failed: int, line: float) -> float:
    steps = (np.arange(200) + 0.5) / 200
    logs = passed * np.log(steps) + failed * np.log((1 - line * steps) / (1 - line))
    return float(logs.max() + math.log(np.exp(logs - logs.max()).mean()))


def alarmed_by(line: float, rate: float, most: int, needed: float = math.log(20)) -> tuple[np.ndarray, np.ndarray]:
    """P(an alarm by sample n) for n = 0 … most, and the mass by failures that is left without one: every path of
    passes and failures with its probability."""
    limits = slow_boundaries(line, most, needed)
    mass = np.zeros(most + 1)
    mass[0] = 1.0
    done = np.zeros(most + 1)
    for n in range(1, most + 1):
        moved = mass * rate
        moved[1:] += mass[:-1] * (1 - rate)
        done[n] = done[n - 1] + moved[limits[n] :].sum()
        moved[limits[n] :] = 0.0
        mass = moved
    return done, mass


def table(first_head: str) -> list[list[str]]:
    lines = TEXT.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {first_head} |")) + 2
    end = next(n for n in range(start, len(lines)) if not lines[n].startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:end]]


LINES = (0.8, 0.9, 0.93, 0.95, 0.97)


@pytest.mark.parametrize("line", LINES)
def test_false_alarms_of_a_month_are_those_of_the_page(line):
    done, _ = alarmed_by(line, line, 3_000)
    assert done[3_000] <= 0.05
    cells = next(row for row in table("line of the class") if float(row[0]) == line)
    assert cells[1:] == [f"{done[n]:.4f}" for n in (100, 300, 1_000, 3_000)]


@pytest.mark.parametrize(("line", "rate"), [(0.93, 0.94), (0.9, 0.93)])
def test_above_the_line_alarms_are_rarer_still(line, rate):
    assert alarmed_by(line, rate, 1_000)[0][-1] < alarmed_by(line, line, 1_000)[0][-1]


@pytest.mark.parametrize("number", range(6))
def test_samples_until_an_alarm_are_those_of_the_page(number):
    cells = table("line held")[number]
    done, _ = alarmed_by(float(cells[0]), float(cells[1]), 3_000)
    assert cells[2:] == [f"{int(np.argmax(done >= share)):,}" for share in (0.5, 0.8, 0.95)]


@pytest.mark.parametrize(("first", "then"), [(20, 300), (100, 300), (100, 100)])
def test_a_model_that_begins_within_a_month_keeps_the_promise(first, then):
    """Both exactly at the line: the second begins with what the first left, so one month errs in at most 5%."""
    line = 0.93
    done, mass = alarmed_by(line, line, first)
    total = done[-1]
    for failures in np.flatnonzero(mass > 1e-9):
        left = min(0.0, counts_ln_e(first - int(failures), int(failures), line))
        total += mass[failures] * alarmed_by(line, line, then, math.log(20) - left)[0][-1]
    assert done[-1] < total <= 0.05


# --- months, models and bars ------------------------------------------------------------------------------------------

BAD = [0 if n % 3 == 0 else 1 for n in range(60)]
GOOD = [1] * 60


def test_a_month_begins_anew():
    """Samples that raise an alarm within a month raise none where the month ends between them."""
    scores = [1, 1, 1, 0] * 8
    together = only(monitored_months(row_of(scores, NOVEMBER), [serves()]))
    november, december = monitored_months(row_of(scores, DECEMBER - 16 * MINUTE), [serves()])
    assert together.alarm is not None
    assert [each.stretches[0].samples for each in (november, december)] == [16, 16]
    assert november.stretches[0].alarm is None and december.stretches[0].alarm is None
    assert december.stretches[0].needed == ALARM_AT


def test_the_second_model_of_a_month_begins_with_what_is_left():
    moved = NOVEMBER + timedelta(days=10)
    samples = [*row_of(GOOD, NOVEMBER), *row_of(BAD, moved, OPUS)]
    (month,) = monitored_months(samples, [serves(), serves(OPUS, begins=moved)])
    first, second = month.stretches
    assert first.log_e < -1 and second.needed == pytest.approx(ALARM_AT - first.log_e)
    assert second.alarm is not None and second.alarm.samples > 3
    # What the first one won by being bad is not the second's: it needs as much as if it had come first.
    (month,) = monitored_months(
        [*row_of(BAD, NOVEMBER), *row_of(GOOD, moved, OPUS)], [serves(), serves(OPUS, begins=moved)]
    )
    assert month.stretches[0].alarm is not None
    assert month.stretches[1].needed == ALARM_AT and month.stretches[1].alarm is None


def test_a_bar_with_another_line_begins_anew_and_other_changes_do_not():
    changed = NOVEMBER + 30 * MINUTE
    stricter = replace(BAR, bar=Decimal("0.97"), version=2)
    (month,) = monitored_months(row_of(GOOD, NOVEMBER), [serves(), serves(bar=stricter, begins=changed)])
    assert [(each.line, each.bar_version, each.samples) for each in month.stretches] == [(0.93, 1, 30), (0.95, 2, 30)]
    older = replace(BAR, max_age_days=30, version=2)
    (month,) = monitored_months(row_of(GOOD, NOVEMBER), [serves(), serves(bar=older, begins=changed)])
    assert [each.samples for each in month.stretches] == [60]


def test_what_is_not_watched_is_counted():
    compared = Bar(standard="not_worse", margin=Decimal("0.03"))
    rows = [
        *row_of([1, 1, None], NOVEMBER),
        sample(0, 0, NOVEMBER + 5 * MINUTE),  # a sample again
        sample(7, 1, NOVEMBER + 6 * MINUTE, OPUS),  # did not serve
        sample(8, None, NOVEMBER + 7 * MINUTE),  # no verdict at first
        sample(8, 0, NOVEMBER + 8 * MINUTE),
        sample(9, 1, NOVEMBER + timedelta(days=1)),
    ]
    (month,) = monitored_months(rows, [serves(), serves(bar=compared, begins=NOVEMBER + timedelta(hours=1))])
    assert (month.left_out, month.repeats, month.others, month.without_line) == (1, 1, 1, 1)
    assert [(each.samples, each.passes) for each in month.stretches] == [(3, 2.0)]
    assert monitored_months(rows[:1], [])[0].others == 1, "nobody knows what served"


def test_a_sample_counts_once_for_ever():
    """A failing sample graded again until it passes, and one sent again next month, add nothing."""
    rows = [sample(1, 0, NOVEMBER), sample(1, 1, NOVEMBER + MINUTE), sample(1, 0, DECEMBER), sample(2, 1, DECEMBER)]
    november, december = monitored_months(rows, [serves()])
    assert (november.stretches[0].passes, november.repeats) == (0.0, 1)
    assert (december.stretches[0].samples, december.repeats) == (1, 1)


def test_errors_are_no_failures():
    (month,) = monitored_months(row_of([None] * 40, NOVEMBER), [serves()])
    assert (month.stretches, month.left_out) == ((), 40)


def test_grades_count_where_the_class_is_measured_by_them():
    rows = [sample(n, 1.0, NOVEMBER + n * MINUTE, graded_score=0.5) for n in range(40)]
    assert only(monitored_months(rows, [serves()])).alarm is None
    graded = only(monitored_months(rows, [serves(bar=replace(BAR, metric="mean_score"))]))
    assert graded.alarm is not None and graded.passes == 20.0


SAMPLES = st.lists(
    st.builds(
        lambda number, score, minute, model, repeat: LiveSample(
            "live", f"r{number}", model, NOVEMBER - timedelta(hours=1) + minute * MINUTE, score, repeat=repeat
        ),
        st.integers(0, 25),
        st.sampled_from([0.0, 1.0, 1.0, None]),
        st.integers(0, 120),
        st.sampled_from([HAIKU, OPUS]),
        st.sampled_from(["", "1"]),
    ),
    max_size=60,
)
STATES = [
    serves(),
    serves(OPUS, begins=NOVEMBER + 20 * MINUTE),
    serves(bar=replace(BAR, bar=Decimal("0.9"), version=2), begins=NOVEMBER + 40 * MINUTE),
]


@given(SAMPLES, st.randoms(use_true_random=False), st.integers(1, 5))
@settings(max_examples=80, deadline=None)
def test_neither_order_nor_splitting_of_files_matters(rows, chance, files):
    shuffled = list(rows)
    chance.shuffle(shuffled)
    split = [row for place in range(files) for row in shuffled[place::files]]
    assert monitored_months(split, STATES) == monitored_months(rows, STATES)


@given(SAMPLES)
@settings(max_examples=60, deadline=None)
def test_every_sample_is_somewhere_once(rows):
    months = monitored_months(rows, STATES)
    seen = sum(each.samples for month in months for each in month.stretches)
    others = sum(month.others + month.without_line + month.left_out for month in months)
    assert seen + others == len({(row.model, row.sample_id) for row in rows})


@given(SAMPLES, st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_what_comes_later_takes_no_alarm_back(rows, minute):
    """A longer past raises the same alarms and perhaps more."""
    end = NOVEMBER - timedelta(hours=1) + minute * MINUTE
    before = monitored_months([row for row in rows if row.run_at < end], STATES)
    after = {month.begins: month for month in monitored_months(rows, STATES)}
    for month in before:
        for earlier, later in zip(month.stretches, after[month.begins].stretches, strict=False):
            assert earlier.alarm is None or earlier.alarm == later.alarm


# --- what stands, and what is said ------------------------------------------------------------------------------------

JANUARY = datetime(2027, 1, 1, tzinfo=UTC)


def standing(rows, at, *, model=HAIKU, bar=BAR, states=None):
    return standing_alarm(monitored_months(rows, states or [serves()]), model=model, bar=bar, as_of=at)


def test_an_alarm_stands_until_something_answers_it():
    rows = row_of(BAD, NOVEMBER)
    found = standing(rows, NOVEMBER + timedelta(days=3))
    assert found is not None and found.month.key == "2026-11"
    assert standing(rows, JANUARY), "months without samples answer nothing"
    good = [*rows, *row_of(GOOD, DECEMBER, first=100)]
    assert standing(good, DECEMBER + timedelta(days=20)), "the month is not over"
    assert standing(good, JANUARY) is None
    assert standing([*rows, *row_of(GOOD[:29], DECEMBER, first=100)], JANUARY), "too few to answer"
    again = standing([*rows, *row_of(BAD, DECEMBER, first=100)], JANUARY)
    assert again is not None and again.month.key == "2026-12"


@pytest.mark.parametrize(
    ("bar", "stands"),
    [
        (replace(BAR, bar=Decimal("0.97")), True),
        (replace(BAR, bar=Decimal("0.80")), False),
        (replace(BAR, metric="mean_score"), False),
        (Bar(standard="not_worse", margin=Decimal("0.03")), False),
    ],
)
def test_the_owner_of_the_bar_may_answer_by_asking_for_less(bar, stands):
    assert (standing(row_of(BAD, NOVEMBER), DECEMBER, bar=bar) is not None) is stands


def test_an_alarm_on_what_no_longer_serves_is_over():
    assert standing(row_of(BAD, NOVEMBER), DECEMBER, model=OPUS) is None
    assert standing(row_of(BAD, NOVEMBER), DECEMBER, model=None) is None


def test_the_item_says_what_happened_and_what_to_do():
    found = standing(row_of(BAD, NOVEMBER), DECEMBER)
    assert found is not None
    item = alarm_item("Haiku", found, before="Opus", policy_version=1)
    assert item.kind == "monitor_alarm"
    assert item.text == (
        "Haiku serves this class and its live samples of November 2026 are below the line: 6 of 10 passed (60.0%) when "
        "the alarm was raised on 1 Nov 2026, line 93%. A model at the line raises one in at most 5% of months."
    )
    assert item.remedy.startswith("Propose a rollback to Opus, which policy version 1 sent this class to. Look at")
    assert alarm_item("Haiku", found, before="Opus", policy_version=None).remedy.startswith(
        "Propose a rollback to Opus,"
    )
    assert "no model is known" in alarm_item("Haiku", found, before="", policy_version=None).remedy


def test_months():
    assert month_of(datetime(2026, 12, 31, 23, 30, tzinfo=UTC)) == DECEMBER
    assert (
        month_of(datetime(2026, 12, 1, 0, 30, tzinfo=datetime.fromisoformat("2026-01-01T00:00+02:00").tzinfo))
        == NOVEMBER
    )
    assert (month_after(DECEMBER), month_before(JANUARY), month_before(NOVEMBER)) == (JANUARY, DECEMBER, OCTOBER)


@pytest.mark.parametrize(
    ("passes", "samples", "text"),
    [(61, 80, "61 of 80 passed (76.3%)"), (30.3, 40, "30.3 of 40 (75.8%)"), (0, 0, "no sample")],
)
def test_how_many_passed(passes, samples, text):
    assert passed_text(passes, samples) == text
