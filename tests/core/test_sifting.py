"""The programme over near ties gives the optimum of the whole programme, at prices no pair can beat."""

import numpy as np
import pytest

from routing.core.sifting import Floats, Integers, solve


def drawn(seed: int, classes: int = 400) -> tuple[Floats, Integers, Floats, Floats]:
    """Costs, classes, three constraints as of an estate: a share that moves, a floor of quality, a cap on a model."""
    draw = np.random.default_rng(seed)
    models = draw.integers(1, 8, classes)
    rows = np.repeat(np.arange(classes), models)
    column = np.concatenate([np.arange(count) for count in models])
    weight = draw.lognormal(0, 1, classes)
    weight /= weight.sum()
    quality = draw.integers(80, 100, len(rows)) / 100  # ties in quality, and in cost:
    cost = draw.integers(1, 200, len(rows)) / 200
    lines = np.array([(column != 0) * weight[rows], -quality * weight[rows], (column == 1) * weight[rows]])
    firsts = np.flatnonzero(column == 0)
    best = np.maximum.reduceat(quality * weight[rows], firsts).sum()
    kept = (quality * weight[rows])[firsts].sum()
    most = np.array([draw.uniform(0.2, 0.7), -(kept + draw.uniform(0.0, 0.6) * (best - kept)), draw.uniform(0.05, 0.3)])
    return cost, rows.astype(np.intp), lines, most


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("near", [1, 300])
def test_it_is_the_optimum_of_the_whole_programme(seed: int, near: int) -> None:
    """`near` = 1 leaves nearly everything to the rounds that add pairs."""
    asked = drawn(seed)
    cost, rows, lines, most = asked
    plain = solve(*asked, whole=len(cost))
    few = solve(*asked, whole=0, near=near)
    assert (plain is None) == (few is None)
    if plain is None or few is None:
        return
    assert few.x.min() >= -1e-9
    assert np.bincount(rows, few.x) == pytest.approx(1)
    assert (lines @ few.x <= most + 1e-7).all()
    assert cost @ few.x == pytest.approx(cost @ plain.x, rel=1e-7)
    bound = np.minimum.reduceat(cost + few.prices @ lines, np.searchsorted(rows, np.arange(rows[-1] + 1))).sum()
    assert bound - few.prices @ most == pytest.approx(cost @ few.x, rel=1e-7)  # weak duality: nothing costs less
    assert ((few.x > 1e-9) & (few.x < 1 - 1e-9)).sum() <= 2 * len(most)


def test_what_cannot_be_kept_is_told_by_the_whole_programme() -> None:
    cost, rows, lines, most = drawn(3)
    assert solve(cost, rows, lines, np.array([most[0], -1.01, most[2]]), whole=0) is None


def test_without_constraints_every_class_has_its_cheapest() -> None:
    cost, rows, lines, most = drawn(5)
    found = solve(cost, rows, lines[:0], most[:0], whole=0)
    assert found is not None
    assert cost @ found.x == pytest.approx(np.minimum.reduceat(cost, np.searchsorted(rows, np.arange(400))).sum())
