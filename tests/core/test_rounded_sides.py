"""Sides of a saving in cents: every sum and difference a buyer can form agrees, whatever the amounts."""

from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from routing.core.attribution import split_exactly
from routing.core.rounded_sides import rounded_sides

D = Decimal
CENT = D("0.01")
USD = st.decimals(min_value=0, max_value=20_000, places=6)


@st.composite
def _sides(draw):
    """Baseline and up to four later sides; often a class does not change in a step, or by less than a cent."""
    names = [f"c{n}" for n in range(draw(st.integers(1, 12)))]
    sides = [{name: draw(USD) for name in names}]
    for _ in range(draw(st.integers(1, 4))):
        change = st.one_of(st.just(D(0)), st.decimals(min_value=-1, max_value=1, places=6).map(lambda d: d / 50), USD)
        sides.append({name: usd - draw(change).quantize(D("0.000001")) for name, usd in sides[-1].items()})
    return sides


@given(_sides())
def test_sums_and_differences_are_exact_and_near(sides):
    shown = rounded_sides(sides)
    for exact, cents in zip(sides, shown, strict=True):
        assert sum(cents.values()) == sum(exact.values()).quantize(CENT, ROUND_HALF_EVEN)
        assert all(usd == usd.quantize(CENT) for usd in cents.values())
    for name in sides[0]:
        for (before, after), (first, second) in zip(pairwise(sides), pairwise(shown), strict=True):
            assert abs((second[name] - first[name]) - (after[name] - before[name])) < CENT
            if before[name] == after[name]:
                assert second[name] == first[name]
            if after[name] < before[name]:
                assert second[name] <= first[name], "a saving is never shown as a loss"


@given(_sides(), st.lists(USD, min_size=12, max_size=12))
def test_the_first_side_is_the_same_whatever_follows(sides, others):
    """The baseline of what was realised and of what is recommended: one quantity, one figure."""
    other = dict(zip(sides[0], others, strict=False))
    assert rounded_sides(sides)[0] == rounded_sides([sides[0], other])[0] == rounded_sides(sides[:1])[0]


def test_the_noise_of_a_division_is_no_change():
    noisy = D(1) / D(3) * D(3)
    before, after = rounded_sides([{"a": D(1), "b": D("0.005")}, {"a": noisy, "b": D("0.005")}])
    assert before == after


def test_a_baseline_of_two_classes_is_one_figure():
    """Served 1.0032 + 2.0032, saved 0.0032 each: rounded apart, 3.01 + 0.01 make 3.02 of a baseline of 3.0128."""
    baseline, served = {"a": D("1.0064"), "b": D("2.0064")}, {"a": D("1.0032"), "b": D("2.0032")}
    before, after = rounded_sides([baseline, served])
    assert (sum(before.values()), sum(after.values())) == (D("3.01"), D("3.01"))
    assert [before[name] - after[name] for name in before] == [D("0.00"), D("0.00")]


def test_nothing_has_no_sides_and_no_names():
    assert rounded_sides([]) == ()
    assert rounded_sides([{}, {}]) == ({}, {})
    assert split_exactly({}) == {}
