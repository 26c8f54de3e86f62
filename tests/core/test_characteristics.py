"""How often the verdict errs, how many cases it takes: the tables of docs/algorithms/quality.md, computed exactly."""

import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from bench import characteristics as ch
from routing.core import evalues as ev
from tests.core.test_evalues import boundaries as slow_boundaries
from tests.core.test_evalues import chance_to_clear

TEXT = (Path(__file__).parents[2] / "docs" / "algorithms" / "quality.md").read_text(encoding="utf-8")


def table(first_head: str) -> list[list[str]]:
    lines = TEXT.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {first_head} |")) + 2
    end = next(n for n in range(start, len(lines)) if not lines[n].startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:end]]


# --- the tables of the page -------------------------------------------------------------------------------------------


def test_the_page_shows_every_setting():
    assert len(table("standard")) == len(ch.WRONG) + 1  # the last is continuous: simulated only
    assert len(table("bar line")) == len(ch.NEEDED)


@pytest.mark.parametrize("number", range(len(ch.WRONG)))
def test_wrong_approvals(number):
    setting, candidates, most = ch.WRONG[number]
    cells = table("standard")[number]
    line = "–" if setting.standard.startswith("not worse") else f"{setting.line:g}".removeprefix("0")
    assert cells[:5] == [setting.standard, line, setting.truth, str(candidates), f"{most:,}"]
    exact = ch.exact_wrong(setting, candidates, most)
    assert cells[5] == f"{exact:.4f}"
    assert setting.mean <= setting.line + 1e-12 and exact <= 0.05


def test_the_simulated_intervals_hold_the_exact_rates():
    """24 intervals of 99 %: with this seed all but at most one."""
    missed = 0
    for cells in table("standard")[:-1]:
        low, high = (float(word) for word in cells[6].split("(")[1].rstrip(")").split(" to "))
        missed += not low <= float(cells[5]) <= high
        assert low <= 0.05
    assert missed <= 1


@pytest.mark.parametrize(("line", "rate", "candidates"), ch.NEEDED)
def test_cases_to_clear(line, rate, candidates):
    number = ch.NEEDED.index((line, rate, candidates))
    cells = table("bar line")[number]
    assert [float(cells[0]), float(cells[1]), int(cells[2])] == [line, rate, candidates]
    cleared = chance_to_clear(rate, line, 0.05 / candidates, 2_400, may_recover=False)
    exact = [int(np.argmax(cleared >= share)) for share in (0.5, 0.9)]
    assert [cells[3], cells[4]] == [f"{cases:,}" for cases in exact]
    assert cells[6] == f"{ch.least_on_average(line, rate, candidates):,.0f}"
    fixed = [ch.fixed_cases(line, rate, candidates, power) for power in (0.5, 0.9)]
    assert cells[7] == " / ".join(f"{cases:,}" for cases in fixed)
    median, most = (int(word.replace(",", "")) for word in cells[5].split(" / "))
    assert median == pytest.approx(exact[0], rel=0.1) and most == pytest.approx(exact[1], rel=0.15)


# --- the exact computation --------------------------------------------------------------------------------------------


def test_golden_chances():
    cleared = ch.chances_to_clear(ch.pass_fail(0.93, 0.97), 1, 500)
    assert (cleared[200], cleared[500]) == pytest.approx((0.552294, 0.936708), abs=5e-7)
    wrongly = ch.chances_to_clear(ch.pass_fail(0.93, 0.93), 1, 1_000, may_recover=True)
    assert wrongly[1_000] == pytest.approx(0.036261, abs=5e-7)


@pytest.mark.parametrize("candidates", [1, 2, 5])
def test_pass_or_fail_equals_the_plain_computation(candidates):
    ours = ch.chances_to_clear(ch.pass_fail(0.9, 0.9), candidates, 400)
    assert ours == pytest.approx(chance_to_clear(0.9, 0.9, 0.05 / candidates, 400, may_recover=False), abs=1e-12)


def test_counts_that_decide_are_those_of_a_plain_search():
    clears, short = ch.boundaries(ch.pass_fail(0.93, 0.93), 1, 300, 0)
    slow_clears, slow_short = slow_boundaries(0.93, 0.05, 300)
    n = np.arange(301)
    assert (n - clears[:, 0])[1:].tolist() == slow_clears[1:].tolist()
    assert (n - short[:, 0])[1:].tolist() == slow_short[1:].tolist()


@pytest.mark.parametrize("setting", [ch.graded(0.6, 0.9, 0.1), ch.compared(0.1, 0.0, 0.1)], ids=["graded", "compared"])
def test_three_scores_equal_the_code_asked_at_every_state(setting):
    """Every state of 45 cases is judged by the code's own e-values for scores."""
    goal = ev.log_threshold(0.05)
    alive, cleared = {(0, 0): 1.0}, 0.0
    for n in range(1, 46):
        moved: dict[tuple[int, int], float] = defaultdict(float)
        for (middle, worst), chance in alive.items():
            for step, part in zip(((0, 0), (1, 0), (0, 1)), setting.chances, strict=True):
                moved[middle + step[0], worst + step[1]] += chance * part
        alive = {}
        for (middle, worst), chance in moved.items():
            counts = (n - middle - worst, middle, worst)
            clear, short = ev.log_e_values_scores(setting.values, setting.line, counts=counts)
            if short >= goal:
                continue
            if clear >= goal and n >= ev.MIN_CASES:
                cleared += chance
            else:
                alive[middle, worst] = chance
    assert 0.01 < cleared == pytest.approx(ch.chances_to_clear(setting, 1, 45)[45], abs=1e-9)


def test_a_test_looked_at_once_is_the_smallest_exact_one():
    """Line .9, true rate .97, K = 1: sums of binomial terms."""

    def at_least(c: int, n: int, rate: float) -> float:
        return math.fsum(math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(c, n + 1))

    def power(n: int) -> float:
        least = next(c for c in range(n + 2) if at_least(c, n, 0.9) <= 0.05)
        return at_least(least, n, 0.97)

    found = ch.fixed_cases(0.9, 0.97, 1, 0.9)
    assert power(found) >= 0.9 and all(power(n) < 0.9 for n in range(30, found))


# --- the simulation ---------------------------------------------------------------------------------------------------


def test_the_simulation_of_wealth_agrees_with_the_exact_rate():
    """No counts, no boundaries: bets' wealth, case by case, against the exact chance (4.5 standard errors)."""
    setting, paths = ch.graded(0.6, 0.9, 0.1), 1_000
    cases = ch.simulated_cases(setting, 1, 45, paths, np.random.default_rng(5))
    exact = ch.chances_to_clear(setting, 1, 45)[45]
    assert (cases >= 0).mean() == pytest.approx(exact, abs=4.5 * math.sqrt(exact * (1 - exact) / paths))


def test_an_interval_is_that_of_clopper_and_pearson():
    found = ch.rate_of(5, 20, level=0.95)
    assert (found.low, found.high) == pytest.approx((0.0866, 0.4910), abs=5e-5)
    assert ch.rate_of(0, 20).low == 0 and ch.rate_of(20, 20).high == 1
