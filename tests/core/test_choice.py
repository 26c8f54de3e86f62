"""The choice for the estate: worked numbers of methods.md §4, and agreement with slow, obvious searches."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from routing.core.choice import Choice, Constraints, Estate, Infeasible, choose, frontier

GOLDEN = Estate(
    cost_usd=np.array([[100.0, 60, 20], [200, 120, 40], [50, 30, 10], [80, 48, 16]]),
    quality=np.array([[0.99, 0.985, 0.95], [0.97, 0.96, 0.90], [0.995, 0.99, 0.985], [0.96, 0.93, 0.80]]),
    admissible=np.array([[1, 1, 0], [1, 1, 0], [1, 1, 1], [1, 0, 0]], dtype=np.bool_),
    requests=np.array([10.0, 20, 50, 20]),
    incumbent=np.zeros(4, dtype=np.intp),
)
SOME = 150  # random estates per kind of constraint; four kinds make 600


def drawn(seed: int, *, classes: int = 4, models: int = 3) -> Estate:
    """A small estate with ties, inadmissible incumbents and models as good as each other."""
    draw = np.random.default_rng(seed)
    cost = draw.integers(1, 40, (classes, models)).astype(float)
    quality = draw.integers(80, 100, (classes, models)) / 100
    admissible = draw.random((classes, models)) < 0.7
    admissible[np.arange(classes), draw.integers(0, models, classes)] = True
    requests = draw.integers(1, 30, classes).astype(float)
    return Estate(cost, quality, admissible, requests, draw.integers(0, models, classes))


def whole_choices(estate: Estate) -> list[Choice]:
    """Every way to give each class one admissible model."""
    ways = itertools.product(*(np.flatnonzero(row) for row in estate.admissible))
    found = []
    for way in ways:
        shares = np.zeros_like(estate.cost_usd)
        shares[np.arange(estate.classes), list(way)] = 1
        found.append(Choice(shares))
    return found


def keeps(choice: Choice, estate: Estate, limits: Constraints, slack: float = 1e-7) -> bool:
    served = (choice.shares * estate.requests[:, None]).sum(axis=0) / estate.requests.sum()
    quality = choice.quality(estate)
    return (
        (limits.move_share is None or choice.moved_share(estate) <= limits.move_share + slack)
        and (limits.quality_floor is None or (quality is not None and quality >= limits.quality_floor - slack))
        and all(served[column] <= cap + slack for column, cap in limits.model_caps.items())
    )


def least_cost_with_one_split(estate: Estate, limits: Constraints) -> float | None:
    """With one coupling constraint some best policy splits at most one class between two models: try all of them.

    Along a split every measure is linear in the share, so the best share is an end or where the constraint is met.
    """
    best: float | None = None
    wholes = whole_choices(estate)
    for one in wholes:
        for other in wholes:
            differing = np.flatnonzero((one.shares != other.shares).any(axis=1))
            if len(differing) > 1:
                continue
            for part in (0.0, *_meeting_points(one, other, estate, limits)):
                mixed = Choice(one.shares * (1 - part) + other.shares * part)
                if keeps(mixed, estate, limits):
                    cost = mixed.cost_usd(estate)
                    best = cost if best is None else min(best, cost)
    return best


def _meeting_points(one: Choice, other: Choice, estate: Estate, limits: Constraints) -> list[float]:
    if limits.move_share is not None:
        ends, wanted = (one.moved_share(estate), other.moved_share(estate)), limits.move_share
    else:
        assert limits.quality_floor is not None
        ends, wanted = (one.quality(estate) or 0.0, other.quality(estate) or 0.0), limits.quality_floor
    if ends[0] == ends[1]:
        return []
    part = (wanted - ends[0]) / (ends[1] - ends[0])
    return [part] if 0 < part < 1 else []


def answer(estate: Estate, limits: Constraints) -> float | None:
    try:
        found = choose(estate, limits)
    except Infeasible:
        return None
    assert found.shares.sum(axis=1) == pytest.approx(np.ones(estate.classes))
    assert (found.shares[~estate.admissible] == 0).all()
    assert (found.shares >= 0).all()
    assert keeps(found, estate, limits)
    return found.cost_usd(estate)


def test_worked_numbers() -> None:
    free = choose(GOLDEN)
    assert free.target.tolist() == [1, 1, 2, 0]
    assert free.cost_usd(GOLDEN) == 270
    assert free.quality(GOLDEN) == pytest.approx(0.975, abs=1e-12)

    moved = choose(GOLDEN, Constraints(move_share=0.40))
    stays = moved.shares[:, 0]
    assert (1 - stays).tolist() == pytest.approx([1, 1, 0.2, 0])
    assert moved.cost_usd(GOLDEN) == pytest.approx(302)
    assert moved.binding == ("move_share",)

    floor = choose(GOLDEN, Constraints(quality_floor=0.978))
    assert floor.shares[2].tolist() == pytest.approx([0.6, 0, 0.4])
    assert floor.cost_usd(GOLDEN) == pytest.approx(294)
    assert floor.quality(GOLDEN) == pytest.approx(0.978)


def test_frontier_corners_of_the_worked_estate() -> None:
    corners = [(point.cost_usd, round(point.quality, 6)) for point in frontier(GOLDEN)]
    assert corners == [(270, 0.975), (310, 0.98), (390, 0.982), (430, 0.9825)]


@pytest.mark.parametrize("seed", range(SOME))
def test_free_choice_is_the_cheapest_of_all(seed: int) -> None:
    estate = drawn(seed, classes=5, models=4)
    assert answer(estate, Constraints()) == min(choice.cost_usd(estate) for choice in whole_choices(estate))


@pytest.mark.parametrize("seed", range(SOME))
def test_a_move_cap_costs_no_more_than_the_best_split(seed: int) -> None:
    estate = drawn(1_000 + seed)
    limits = Constraints(move_share=float(np.random.default_rng(seed).integers(0, 11)) / 10)
    _agree(answer(estate, limits), least_cost_with_one_split(estate, limits))


@pytest.mark.parametrize("seed", range(SOME))
def test_a_quality_floor_costs_no_more_than_the_best_split(seed: int) -> None:
    estate = drawn(2_000 + seed)
    limits = Constraints(quality_floor=float(np.random.default_rng(seed).integers(84, 99)) / 100)
    _agree(answer(estate, limits), least_cost_with_one_split(estate, limits))


@pytest.mark.parametrize("seed", range(SOME))
def test_whole_classes_under_three_constraints_equal_brute_force(seed: int) -> None:
    estate = drawn(3_000 + seed, classes=5)
    draw = np.random.default_rng(seed)
    limits = Constraints(
        move_share=float(draw.integers(3, 11)) / 10,
        quality_floor=float(draw.integers(84, 94)) / 100,
        model_caps={0: float(draw.integers(3, 10)) / 10},
        is_whole=True,
    )
    # A policy that meets a limit exactly is left out by the tightened right-hand side, so it decides nothing here.
    strict = [choice for choice in whole_choices(estate) if keeps(choice, estate, limits, slack=-2e-6)]
    loose = [choice for choice in whole_choices(estate) if keeps(choice, estate, limits, slack=1e-7)]
    found = answer(estate, limits)
    if len(strict) == len(loose):
        _agree(found, min((choice.cost_usd(estate) for choice in strict), default=None))
    elif found is not None:
        assert found >= min(choice.cost_usd(estate) for choice in loose) - 1e-6


@pytest.mark.parametrize("seed", range(SOME))
def test_splits_under_three_constraints_meet_their_lower_bound(seed: int) -> None:
    """Weak duality: at any prices ≥ 0 of the constraints no policy costs less than a bound, which is met here."""
    estate = drawn(4_000 + seed, classes=6)
    draw = np.random.default_rng(seed)
    limits = Constraints(
        move_share=float(draw.integers(3, 11)) / 10,
        quality_floor=float(draw.integers(84, 94)) / 100,
        model_caps={1: float(draw.integers(2, 10)) / 10},
    )
    found = answer(estate, limits)
    feasible = [choice.cost_usd(estate) for choice in whole_choices(estate) if keeps(choice, estate, limits)]
    if found is None:
        assert not feasible
        return
    choice = choose(estate, limits)
    assert len(choice.split_classes) <= 3
    assert not feasible or found <= min(feasible) + 1e-6
    assert min(choice.prices_usd.values(), default=0) >= 0
    assert found == pytest.approx(_bound_at(choice.prices_usd, estate, limits), rel=1e-6)


def _bound_at(prices_usd: Mapping[str, float], estate: Estate, limits: Constraints) -> float:
    """At these prices of the constraints no policy costs less than this: each class on its own, in plain arithmetic."""
    weight = estate.requests / estate.requests.sum()
    move, floor, cap = (prices_usd.get(name, 0.0) for name in ("move_share", "quality_floor", "model_cap:1"))
    assert limits.move_share is not None
    assert limits.quality_floor is not None
    total = -move * limits.move_share + floor * limits.quality_floor - cap * limits.model_caps[1]
    for row in range(estate.classes):
        total += min(
            estate.cost_usd[row, column]
            + move * weight[row] * (column != estate.incumbent[row])
            - floor * weight[row] * estate.quality[row, column]
            + cap * weight[row] * (column == 1)
            for column in np.flatnonzero(estate.admissible[row])
        )
    return float(total)


def _agree(found: float | None, expected: float | None) -> None:
    assert (found is None) == (expected is None)
    if found is not None:
        assert found == pytest.approx(expected, rel=1e-6)


def test_ties_go_to_the_incumbent_then_to_the_first() -> None:
    estate = Estate(
        np.array([[5.0, 5.0, 9.0], [7.0, 5.0, 5.0]]),
        np.full((2, 3), 0.9),
        np.ones((2, 3), dtype=np.bool_),
        np.ones(2),
        np.array([1, 0]),
    )
    assert choose(estate).target.tolist() == [1, 1]


def test_a_model_that_may_not_serve_moves_before_savings_do() -> None:
    estate = Estate(
        np.array([[10.0, 20.0], [100.0, 1.0]]),
        np.full((2, 2), 0.9),
        np.array([[False, True], [True, True]]),
        np.array([40.0, 60.0]),
        np.array([0, 0]),
    )
    found = choose(estate, Constraints(move_share=0.4))
    assert found.shares.tolist() == [[0, 1], [1, 0]]
    with pytest.raises(
        Infeasible, match=r"40\.0% of requests are served by a model that may not serve them; at most 30"
    ):
        choose(estate, Constraints(move_share=0.3))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Constraints(quality_floor=0.99), "99.00% cannot be reached: the best admissible models give 98.25%"),
        (Constraints(quality_floor=0.99, move_share=0.5), "99.00% cannot be reached, 98.25% can"),
        (Constraints(model_caps={0: 0.1}), "model 0 has to serve 20.0% of requests, 10.0% is its cap"),
    ],
)
def test_what_cannot_be_kept_says_what_can(limits: Constraints, message: str) -> None:
    with pytest.raises(Infeasible) as refused:
        choose(GOLDEN, limits)
    assert message in str(refused.value)


def test_classes_without_known_quality_take_no_part_in_the_floor() -> None:
    quality = GOLDEN.quality.copy()
    quality[3, 0] = np.nan
    estate = Estate(GOLDEN.cost_usd, quality, GOLDEN.admissible, GOLDEN.requests, GOLDEN.incumbent)
    assert estate.is_rated.tolist() == [True, True, True, False]
    found = choose(estate, Constraints(quality_floor=0.98))
    assert found.quality(estate) == pytest.approx(0.98)
    assert found.split_classes.tolist() == [2]
    assert found.shares[3].tolist() == [1, 0, 0]


def test_the_floor_lies_on_the_frontier_and_never_below_it() -> None:
    for seed in range(40):
        estate = drawn(5_000 + seed, classes=6, models=4)
        points = frontier(estate)
        for (left, right), part in itertools.product(itertools.pairwise(points), (0.25, 1.0)):
            floor = left.quality + part * (right.quality - left.quality)
            cost = left.cost_usd + part * (right.cost_usd - left.cost_usd)
            assert choose(estate, Constraints(quality_floor=floor)).cost_usd(estate) == pytest.approx(cost)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quality": np.zeros((2, 2))}, "quality and admissible must be too"),
        ({"requests": np.ones(3)}, "one volume and one incumbent"),
        ({"admissible": np.zeros((4, 3), dtype=np.bool_)}, "a class has no admissible model"),
        ({"cost_usd": np.full((4, 3), np.nan)}, "an admissible model has no cost"),
    ],
)
def test_what_is_no_estate_is_refused(change: dict[str, Any], message: str) -> None:
    parts = {name: getattr(GOLDEN, name) for name in ("cost_usd", "quality", "admissible", "requests", "incumbent")}
    with pytest.raises(ValueError, match=message):
        Estate(**(parts | change))
