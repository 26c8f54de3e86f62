"""What looks broken about a run: each check by literal tables, the exact test against counting every split."""

from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.core.run_checks import IMPLAUSIBLE, ModelOfRun, chance_of_counts, chance_of_means, findings_of_run


def counted(passes: int, cases: int, passes_before: int, cases_before: int) -> float:
    """The same chance by whole numbers: splits of all cases into two runs, one by one."""
    total, good = cases + cases_before, passes + passes_before
    ways = [
        comb(good, k) * comb(total - good, cases - k) if 0 <= cases - k <= total - good else 0 for k in range(good + 1)
    ]
    whole = comb(total, cases)
    return min(1.0, 2 * min(sum(ways[: passes + 1]), sum(ways[passes:])) / whole)


@given(st.integers(0, 25), st.integers(0, 25), st.integers(1, 25), st.integers(1, 25))
def test_the_exact_test_counts_splits(passes, passes_before, cases, cases_before):
    passes, passes_before = min(passes, cases), min(passes_before, cases_before)
    found = chance_of_counts(passes, cases, passes_before, cases_before)
    assert found == pytest.approx(counted(passes, cases, passes_before, cases_before), rel=1e-9)


def test_false_alarms_are_as_rare_as_said():
    """Of all ways to split 12 cases with 7 passes in two halves, the share with a chance ≤ x is at most x."""
    scores = [1] * 7 + [0] * 5
    chances = [
        chance_of_counts(sum(scores[i] for i in half), 6, 7 - sum(scores[i] for i in half), 6)
        for half in combinations(range(12), 6)
    ]
    for level in (0.01, 0.05, 0.2, 0.5):
        assert sum(chance <= level + 1e-12 for chance in chances) / len(chances) <= level


def test_the_bound_of_means_is_no_smaller_than_the_exact_test():
    for passes in range(0, 101, 5):
        assert chance_of_means(passes / 100, 100, 0.9, 100) >= chance_of_counts(passes, 100, 90, 100)


@pytest.mark.parametrize(
    ("own", "before", "is_flagged"),
    [
        ((100, 60), (200, 200), True),
        ((100, 0), (100, 95), True),
        ((100, 100), (100, 60), True),
        ((100, 93), (200, 196), False),
        ((5, 0), (200, 190), True),
        ((3, 1), (200, 190), False),
    ],
)
def test_rates_are_compared_with_the_run_before(own, before, is_flagged):
    models = {"haiku": ModelOfRun(own[0], own[0], own[1], True)}
    earlier = {"haiku": ("run 7 of 9 Nov 2026", ModelOfRun(before[0], before[0], before[1], True))}
    found = findings_of_run(models, items=own[0], earlier=earlier)
    assert [finding.kind for finding in found] == (["rate"] if is_flagged else [])
    if is_flagged:
        assert "run 7 of 9 Nov 2026" in found[0].text and "10,000" in found[0].text and found[0].remedy
    assert IMPLAUSIBLE == 1e-4


@pytest.mark.parametrize(
    ("models", "items", "kinds"),
    [
        ({"a": ModelOfRun(100, 98, 90, True)}, 100, []),  # 2 % left out is what is allowed
        ({"a": ModelOfRun(100, 97, 90, True)}, 100, ["errors"]),
        ({"a": ModelOfRun(10, 9, 9, True)}, 10, []),  # one of ten is one
        ({"a": ModelOfRun(100, 100, 90, True), "b": ModelOfRun(90, 90, 80, True)}, 100, ["items"]),
        ({"a": ModelOfRun(100, 100, 90, True), "b": ModelOfRun(99, 99, 80, True)}, 100, []),
        ({"a": ModelOfRun(60, 60, 50, True), "b": ModelOfRun(60, 60, 50, True)}, 120, ["items"]),  # not one in common
        ({"a": ModelOfRun(50, 50, 50, True, ("", "thinking=1024"))}, 50, ["modes"]),
    ],
)
def test_broken_runs_are_seen(models, items, kinds):
    found = findings_of_run(models, items=items, earlier={})
    assert [finding.kind for finding in found] == kinds
    assert all(finding.remedy for finding in found)
