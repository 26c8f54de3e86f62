"""E-values, bounds and cases still needed against methods.md §3.2–3.4 and §3.7, and against slow obvious oracles."""

import math
from fractions import Fraction as F
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.core import evalues as ev
from routing.core.evidence import Evidence
from routing.core.verdicts import judge

# k, n, line, alpha, ln E+, ln E-, status, cases needed, side, L, U
GOLDEN = [
    (196, 200, 0.95, 0.05, 1.717895, -4.882963, "not_enough_evidence", 154, "+", 0.93925, 0.99849),
    (196, 200, 0.93, 0.05, 4.230509, -5.020204, "clears", 0, "+", 0.93925, 0.99849),
    (200, 200, 0.95, 0.05, 7.950948, -5.344858, "clears", 0, "+", 0.97772, 1),
    (146, 150, 0.93, 0.05, 2.032878, -4.612353, "not_enough_evidence", 74, "+", 0.91958, 0.99782),
    (180, 200, 0.95, 0.05, -2.505096, 1.245992, "not_enough_evidence", 87, "-", 0.82789, 0.95722),
    (42, 42, 0.90, 0.05, 2.955674, -3.763081, "not_enough_evidence", 1, "+", 0.89892, 1),
    (43, 43, 0.90, 0.05, 3.039133, -3.786160, "clears", 0, "+", 0.90114, 1),
    (970, 1000, 0.95, 0.025, 3.577112, -6.227672, "not_enough_evidence", 27, "+", 0.94972, 0.98680),
    (860, 1000, 0.90, 0.05, -3.863805, 4.520013, "falls_short", 0, "-", 0.82352, 0.89634),
    (0, 1000, 0.95, 0.05, -7.794856, 2988.064623, "falls_short", 0, "-", 0, 0.00450),
    (0, 0, 0.90, 0.05, 0, 0, "no_evidence", None, None, 0, 1),
]
GRADED = [1, 1, 1, 0.5, 0.8, 1, 0.9, 1, 0.7, 1] * 20
PAIRED = [1.0] * 4 + [0.0] * 8 + [0.5] * 188  # y of §3.4: candidate won 4, lost 8 of 200


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: f"{row[0]} of {row[1]} at {row[2]}")
def test_golden_table(row):
    k, n, line, alpha, clear, short, status, needed, side, lower, upper = row
    threshold = ev.log_threshold(alpha)
    got = ev.log_e_values(k, n, line)
    assert float(got[0]) == pytest.approx(clear, rel=1e-6, abs=5e-7)
    assert float(got[1]) == pytest.approx(short, rel=1e-6, abs=5e-7)
    assert float(ev.lower_bound(k, n, threshold)) == pytest.approx(lower, abs=5.1e-6)
    assert float(ev.upper_bound(k, n, threshold)) == pytest.approx(upper, abs=5.1e-6)
    found = ev.cases_needed(k, n, line, threshold)
    assert (found.cases, found.side) == (needed, side)
    assert judge(Evidence.of_counts(k, n), bar=line, tolerance=0, alpha=alpha).status == status


@pytest.mark.parametrize(("line", "expected"), [(0.80, 14.552564), (0.85, 4.024066)])
def test_golden_graded_scores(line, expected):
    assert ev.log_e_values_scores(GRADED, line)[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("margin", "expected"), [(0.02, -1.123260), (0.05, 0.557707), (0.08, 3.398138)])
def test_golden_paired(margin, expected):
    assert ev.log_e_values_scores(PAIRED, (1 - margin) / 2)[0] == pytest.approx(expected, rel=1e-6)


def test_golden_most_failures_that_clear():
    goal = ev.log_threshold(0.05)
    most = {
        n: max(f for f in range(n + 1) if f == 0 or ev.log_e_values(n - f, n, 0.93)[0] >= goal)
        for n in (62, 100, 200, 300, 500, 1000)
    }
    assert most == {62: 0, 100: 1, 200: 5, 300: 9, 500: 19, 1000: 47}
    never = [n for n in range(1, 62) if float(ev.log_e_values(n, n, 0.93)[0]) >= goal]
    assert never == [] and float(ev.log_e_values(62, 62, 0.93)[0]) >= goal


def test_golden_fewest_failures_that_fall_short():
    goal = ev.log_threshold(0.05)
    fewest = {
        n: next(f for f in range(n + 1) if ev.log_e_values(n - f, n, 0.93)[1] >= goal)
        for n in (20, 50, 100, 200, 500, 1000)
    }
    assert fewest == {20: 6, 50: 11, 100: 17, 200: 28, 500: 57, 1000: 102}


# -- slow oracles: the formula of methods.md §3.2 as it stands there -------------------------------------------------


def slow_e(k: int, n: int, line: F, side: str) -> F:
    """E as an exact fraction: the mean over j of the likelihood ratios of q_j against the line."""
    total = F(0)
    for j in range(200):
        step = F(2 * j + 1, 400)
        q = line + (1 - line) * step if side == "+" else line * step
        total += (q / line) ** k * ((1 - q) / (1 - line)) ** (n - k)
    return total / 200


def slow_ln(value: F) -> float:
    return math.log(value.numerator) - math.log(value.denominator)


def slow_ln_e_scores(scores, line: float, side: str) -> float:
    logs = []
    for j in range(200):
        step = (j + 0.5) / 200
        q = line + (1 - line) * step if side == "+" else line * step
        bet = (q - line) / (line * (1 - line))
        logs.append(math.fsum(math.log(1 + bet * (x - line)) for x in scores))
    most = max(logs)
    return most + math.log(math.fsum(math.exp(log - most) for log in logs) / 200)


counts = st.integers(0, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
lines = st.integers(1, 99).map(lambda percent: F(percent, 100))


@settings(max_examples=60, deadline=None)
@given(counts, lines)
def test_counts_equal_exact_fractions(count, line):
    k, n = count
    clear, short = ev.log_e_values(k, n, float(line))
    assert float(clear) == pytest.approx(slow_ln(slow_e(k, n, line, "+")), rel=1e-9, abs=1e-9)
    assert float(short) == pytest.approx(slow_ln(slow_e(k, n, line, "-")), rel=1e-9, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=25), st.floats(0.02, 0.98), st.randoms(use_true_random=False))
def test_scores_equal_plain_loops_in_any_order(scores, line, random):
    clear, short = ev.log_e_values_scores(scores, line)
    assert clear == pytest.approx(slow_ln_e_scores(scores, line, "+"), rel=1e-9, abs=1e-9)
    assert short == pytest.approx(slow_ln_e_scores(scores, line, "-"), rel=1e-9, abs=1e-9)
    shuffled = list(scores)
    random.shuffle(shuffled)
    assert ev.log_e_values_scores(shuffled, line) == (clear, short)


@settings(max_examples=100, deadline=None)
@given(counts, lines)
def test_scores_of_zero_and_one_are_counts(count, line):
    k, n = count
    both = [float(value) for value in ev.log_e_values(k, n, float(line))]
    assert list(ev.log_e_values_scores([1] * k + [0] * (n - k), float(line))) == pytest.approx(both, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 98), st.integers(0, 98))
def test_the_null_expects_at_most_one(n, percent, below):
    """E⁺ at a true rate up to the line, and E⁻ from the line on, have expectation at most 1: exact, over all k."""
    line = F(percent, 100)
    low, high = line * F(below, 99), line + (1 - line) * F(below, 99)

    def expected(rate: F, side: str) -> F:
        return sum(
            (math.comb(n, k) * rate**k * (1 - rate) ** (n - k) * slow_e(k, n, line, side) for k in range(n + 1)), F(0)
        )

    if n > 8:  # exact fractions grow quickly: the float e-values serve above
        k = np.arange(n + 1)
        clear, short = ev.log_e_values(k, n, float(line))
        for rate, log_e in ((float(low), clear), (float(high), short)):
            weights = np.array([math.comb(n, i) * rate**i * (1 - rate) ** (n - i) for i in range(n + 1)])
            assert float(np.sum(weights * np.exp(log_e))) <= 1 + 1e-9
        return
    assert expected(low, "+") <= 1
    assert expected(high, "-") <= 1


@pytest.mark.parametrize("bad", [(3, 2, 0.9), (-1, 2, 0.9), (1, 2, 0.0), (1, 2, 1.0), (1, 2, float("nan"))])
def test_impossible_counts_and_lines_are_refused(bad):
    with pytest.raises(ValueError, match="must be"):
        ev.log_e_values(*bad)


@pytest.mark.parametrize("scores", [[1.1], [-0.1], [float("nan")]])
def test_impossible_scores_are_refused(scores):
    with pytest.raises(ValueError, match="between 0 and 1"):
        ev.log_e_values_scores(scores, 0.9)


@pytest.mark.parametrize(("alpha", "candidates"), [(0, 1), (1, 1), (0.05, 0)])
def test_impossible_budgets_are_refused(alpha, candidates):
    with pytest.raises(ValueError, match="must be"):
        ev.log_threshold(alpha, candidates)


# -- bounds and cases needed ---------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), lines, st.integers(1, 6))
def test_bounds_never_contradict_the_verdict(count, line, candidates):
    k, n = count
    verdict = judge(Evidence.of_counts(k, n), bar=float(line), tolerance=0, candidates=candidates)
    lower, upper = verdict.lower, verdict.upper
    assert (lower is None) == (n < ev.MIN_CASES)
    assert verdict.pass_rate is None or (lower or 0) <= verdict.pass_rate <= upper
    if verdict.status == "clears":
        assert lower is not None and lower >= verdict.line and n >= ev.MIN_CASES
    elif verdict.status == "falls_short":
        assert upper <= verdict.line
    else:
        assert (lower is None or lower < verdict.line) and upper > verdict.line
    assert (verdict.cases_needed == 0) == (verdict.status in {"clears", "falls_short"})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0, 0.25, 0.5, 0.9, 1]), min_size=1, max_size=120), lines)
def test_bounds_of_scores_never_contradict_the_verdict(scores, line):
    threshold = ev.log_threshold(0.05)
    clear, short = ev.log_e_values_scores(scores, float(line))
    lower, upper = ev.lower_bound_scores(scores, threshold), ev.upper_bound_scores(scores, threshold)
    assert lower <= sum(scores) / len(scores) + 1e-9 and upper >= sum(scores) / len(scores) - 1e-9
    near = 1e-9
    assert (clear >= threshold) == (lower >= float(line)) or abs(lower - float(line)) < near
    assert (short >= threshold) == (upper <= float(line)) or abs(upper - float(line)) < near


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), lines)
def test_cases_needed_is_the_smallest_number_that_decides(count, line):
    k, n = count
    ell, threshold = float(line), ev.log_threshold(0.05)
    needed = ev.cases_needed(k, n, ell, threshold)
    if not needed.cases:
        return
    rate = (k + 0.5) / (n + 1)
    assert needed.side == ("+" if rate > ell else "-")

    def decides(more: int) -> bool:
        at = 0 if needed.side == "+" else 1
        return float(ev.log_e_values(k + rate * more, n + more, ell)[at]) >= threshold

    assert decides(needed.cases)
    smallest = max(0, ev.MIN_CASES - n)
    assert needed.cases == smallest or not decides(needed.cases - 1)


def test_a_rate_on_the_line_has_no_realistic_number():
    found = ev.cases_needed(899.9995, 999, 0.9, ev.log_threshold(0.05))
    assert (found.cases, found.reason) == (None, ev.NO_REALISTIC_NUMBER)


# -- what to expect before running evals: exact, no simulation -----------------------------------------------------


@cache
def boundaries(line: float, alpha: float, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Per n the smallest k that clears and the largest k that falls short (n + 1 and −1 where none does)."""
    steps = (np.arange(200) + 0.5) / 200
    above, below = line + (1 - line) * steps, line * steps
    pairs = [
        (np.log(q / line), np.log((1 - q) / (1 - line)))
        for q in (above, below)
    ]  # fmt: skip
    goal = math.log(1 / alpha)

    def ln_e(k: int, n: int, side: int) -> float:
        logs = k * pairs[side][0] + (n - k) * pairs[side][1]
        top = logs.max()
        return float(top + math.log(np.exp(logs - top).mean()))

    clears, short = np.ones(most + 1, dtype=int), -np.ones(most + 1, dtype=int)
    k_clear, k_short = 0, -1
    for n in range(1, most + 1):
        while k_clear <= n and ln_e(k_clear, n, 0) < goal:
            k_clear += 1
        while k_short + 1 <= n and ln_e(k_short + 1, n, 1) >= goal:
            k_short += 1
        clears[n], short[n] = k_clear, k_short
    return clears, short


def chance_to_clear(rate: float, line: float, alpha: float, most: int, *, may_recover: bool) -> np.ndarray:
    """P(cleared by n) for n = 0 … most, looking at every case from 30 on, step by step."""
    clears, short = boundaries(line, alpha, most)
    alive = np.zeros(most + 2)
    alive[0] = 1.0
    done = np.zeros(most + 1)
    for n in range(1, most + 1):
        alive[1 : n + 1] = alive[1 : n + 1] * (1 - rate) + alive[:n] * rate
        alive[0] *= 1 - rate
        done[n] = done[n - 1]
        if not may_recover and short[n] >= 0:
            alive[: short[n] + 1] = 0.0
        if n >= ev.MIN_CASES and clears[n] <= n:
            done[n] += alive[clears[n] : n + 1].sum()
            alive[clears[n] : n + 1] = 0.0
    return done


def test_boundaries_of_the_test_are_those_of_the_code():
    clears, short = boundaries(0.93, 0.05, 300)
    goal = ev.log_threshold(0.05)
    for n in (1, 20, 61, 62, 150, 300):
        k = np.arange(n + 1)
        clear, falls = ev.log_e_values(k, n, 0.93)
        assert int((clear >= goal).sum()) == max(0, n + 1 - clears[n])
        assert int((falls >= goal).sum()) == short[n] + 1


@pytest.mark.parametrize(("may_recover", "by_200", "by_500"), [(False, 0.552294, 0.936708), (True, 0.552491, 0.937842)])
def test_golden_chance_to_clear_at_97(may_recover, by_200, by_500):
    chance = chance_to_clear(0.97, 0.93, 0.05, 500, may_recover=may_recover)
    assert (chance[200], chance[500]) == pytest.approx((by_200, by_500), abs=5e-7)


@pytest.mark.parametrize(("may_recover", "expected"), [(True, 0.036261), (False, 0.036213)])
def test_golden_chance_to_clear_wrongly_at_the_line(may_recover, expected):
    chance = chance_to_clear(0.93, 0.93, 0.05, 1000, may_recover=may_recover)
    assert chance[1000] == pytest.approx(expected, abs=5e-7)
    assert chance[1000] <= 0.05


NO_FAILURE = {0.88: 42, 0.90: 51, 0.93: 74, 0.95: 105, 0.97: 177, 0.98: 266}
PLANNING = [  # line, true rate, cases at 50 %, at 80 %
    (0.88, 0.92, 456, 815), (0.88, 0.95, 122, 211), (0.88, 0.97, 78, 108),
    (0.90, 0.92, 1787, 3180), (0.90, 0.95, 225, 379), (0.90, 0.97, 95, 164), (0.90, 0.99, 51, 75),
    (0.93, 0.95, 1165, 2083), (0.93, 0.97, 236, 407), (0.93, 0.98, 137, 236), (0.93, 0.99, 108, 137),
    (0.95, 0.97, 767, 1363), (0.95, 0.98, 300, 516), (0.95, 0.99, 153, 231),
    (0.97, 0.98, 1984, 3544), (0.97, 0.99, 388, 664), (0.97, 0.995, 257, 325),
    (0.98, 0.99, 1151, 2066), (0.98, 0.995, 490, 758),
]  # fmt: skip


@pytest.mark.parametrize(("line", "cases"), NO_FAILURE.items())
def test_golden_planning_without_a_failure(line, cases):
    assert ev.cases_without_failure(line, ev.log_threshold(0.05, 2)) == cases
    goal = ev.log_threshold(0.05, 2)
    n = np.arange(ev.MIN_CASES, cases + 1)
    assert ev.MIN_CASES + int(np.argmax(ev.log_e_values(n, n, line)[0] >= goal)) == cases


def test_planning_without_a_failure_starts_at_30_and_ends():
    assert ev.cases_without_failure(0.5, ev.log_threshold(0.05)) == 30
    assert ev.cases_without_failure(1 - 1e-9, ev.log_threshold(0.05)) is None


@pytest.mark.parametrize(("line", "rate", "half", "most"), PLANNING)
def test_golden_planning_table(line, rate, half, most):
    chance = chance_to_clear(rate, line, 0.025, 3600, may_recover=False)
    assert (int(np.argmax(chance >= 0.5)), int(np.argmax(chance >= 0.8))) == (half, most)
