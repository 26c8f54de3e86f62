"""Quality of a model tier as one weighted figure (methods.md §3.6)."""

from fractions import Fraction as F

import pytest

from routing.core.evalues import log_threshold, lower_bound, upper_bound
from routing.core.evidence import Evidence
from routing.core.tiers import TierPair, tier_pairs, tier_quality


def test_weighted_means_of_rate_whisker_and_line():
    found = tier_quality([TierPair(300, 0.98, 0.95, 0.99, 0.93), TierPair(100, 0.90, 0.86, 0.94, 0.88)])
    weights, rows = (F(3, 4), F(1, 4)), ((0.98, 0.90), (0.95, 0.86), (0.99, 0.94), (0.93, 0.88))
    expected = [float(sum(w * F(str(x)) for w, x in zip(weights, row, strict=True))) for row in rows]
    assert [found.value, found.low, found.high, found.line] == pytest.approx(expected)
    assert (found.covered_share, found.pairs) == (1, 2)


def test_pairs_without_evidence_are_left_out_and_the_covered_share_says_so():
    found = tier_quality([TierPair(300, 0.98, 0.95, 0.99, 0.93), TierPair(100, None, None, None, 0.88)])
    assert (found.value, found.covered_share, found.pairs) == (0.98, 0.75, 1)


def test_a_tier_without_any_evidence_has_no_figure():
    assert tier_quality([TierPair(5, None, None, None, 0.9)]) == tier_quality([])
    assert tier_quality([]).value is None and tier_quality([]).covered_share == 0


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="negative weight"):
        tier_quality([TierPair(-1, 0.9, 0.8, 1, 0.9)])


def test_every_bound_shares_alpha_with_the_pairs_that_have_evidence():
    rows = [
        (10.0, Evidence.of_counts(196, 200), 0.93),
        (20.0, Evidence.of_counts(46, 50), 0.88),
        (5.0, Evidence("none", ()), 0.9),
        (5.0, Evidence("graded", ((0.5, 1), (0.75, 1), (1.0, 58))), 0.9),
    ]
    first, second, none, graded = tier_pairs(rows)
    goal = log_threshold(0.05, 3)
    assert (first.lower, first.upper) == (float(lower_bound(196, 200, goal)), float(upper_bound(196, 200, goal)))
    assert (second.lower, second.upper) == (float(lower_bound(46, 50, goal)), float(upper_bound(46, 50, goal)))
    assert none.pass_rate is None and graded.pass_rate == pytest.approx(59.25 / 60)
    assert graded.lower is not None and graded.pass_rate is not None and graded.upper is not None
    assert graded.lower < graded.pass_rate < graded.upper


def test_a_whisker_has_its_end_also_before_30_cases():
    (pair,) = tier_pairs([(1.0, Evidence.of_counts(9, 9), 0.9)])
    assert pair.lower is not None and 0 < pair.lower < 0.9
