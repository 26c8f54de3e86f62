"""Which model serves which class, for the estate as a whole (methods.md §4.2–4.4), on arrays.

Without coupling and with one kind of constraint the answer is exact without a solver; several constraints are a linear
programme (`routing.core.programme`).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from routing.core.estate import (
    EPSILON,
    UNRATED,
    Choice,
    Constraints,
    Estate,
    Floats,
    Infeasible,
    Integers,
    one_hot,
)
from routing.core.programme import best_programme

__all__ = ["Choice", "Constraints", "Estate", "Infeasible", "cheapest", "choose", "frontier"]

FREE = Constraints()


def choose(estate: Estate, constraints: Constraints = FREE) -> Choice:
    """The policy of least expected cost that keeps the constraints. Raises Infeasible.

    One kind of constraint alone has an exact answer without a solver; several are a linear programme.
    """
    if constraints.is_empty:
        return cheapest(estate)
    if not constraints.is_whole:
        if constraints.quality_floor is None and not constraints.model_caps:
            return move_at_most(estate, constraints.move_share or 0.0)
        if constraints.move_share is None and not constraints.model_caps:
            return with_quality_floor(estate, constraints.quality_floor or 0.0)
    return best_programme(estate, constraints)


# -- without coupling --------------------------------------------------------------------------------------------


def cheapest(estate: Estate) -> Choice:
    """Per class the admissible model of least cost; ties to the incumbent, then to the first column (§4.2)."""
    return Choice(one_hot(_cheapest(estate), estate))


def _cheapest(estate: Estate) -> Integers:
    cost = estate.allowed_cost_usd
    first: Integers = cost.argmin(axis=1)
    rows = np.arange(estate.classes)
    is_tied = cost[rows, estate.incumbent] <= cost[rows, first]
    return np.where(is_tied, estate.incumbent, first)


# -- one constraint ----------------------------------------------------------------------------------------------


def move_at_most(estate: Estate, share: float) -> Choice:
    """At most a share of all requests changes its model now: largest saving per request first, the last one split.

    Exact: what a class may move to costs the same share of the budget, so its cheapest model is its only target. Moves
    away from a model that may not serve come first; Infeasible when they alone take more.
    """
    target = _cheapest(estate)
    rows = np.arange(estate.classes)
    moving = target != estate.incumbent
    forced = moving & ~estate.admissible[rows, estate.incumbent]
    weight = estate.requests / estate.requests.sum()
    left = share - float(weight[forced].sum())
    if left < -EPSILON:
        raise Infeasible(
            f"{weight[forced].sum():.1%} of requests are served by a model that may not serve them; at most "
            f"{share:.1%} may move"
        )
    shares = one_hot(np.where(forced, target, estate.incumbent), estate)
    free = np.flatnonzero(moving & ~forced)
    saving = estate.cost_usd[free, estate.incumbent[free]] - estate.cost_usd[free, target[free]]
    order = free[np.argsort(-saving / estate.requests[free], kind="stable")]
    before = np.concatenate([[0.0], np.cumsum(weight[order])[:-1]])
    part = np.clip((left - before) / weight[order], 0.0, 1.0)
    shares[order, estate.incumbent[order]] -= part
    shares[order, target[order]] += part
    waiting = order[part < 1]
    if not len(waiting):
        return Choice(shares)
    first = waiting[0]
    price = (estate.cost_usd[first, estate.incumbent[first]] - estate.cost_usd[first, target[first]]) / weight[first]
    return Choice(shares, {"move_share": float(price)})


def with_quality_floor(estate: Estate, floor: float) -> Choice:
    """Least cost at a volume-weighted quality of at least `floor`; at most one class is split.

    Exact: walks the frontier from the cheapest policy upwards, dearest improvement last. Raises Infeasible.
    """
    start = cheapest(estate)
    reached = start.quality(estate)
    if reached is None:
        raise Infeasible(UNRATED)
    steps = _improvements(estate)
    rated_requests = float(estate.requests[estate.is_rated].sum())
    needed = (floor - reached) * rated_requests
    gains = np.cumsum([step.quality for step in steps])
    if needed > EPSILON * rated_requests and (not steps or gains[-1] < needed - EPSILON * rated_requests):
        best = reached + (float(gains[-1]) / rated_requests if steps else 0.0)
        raise Infeasible(f"a quality of {floor:.2%} cannot be reached: the best admissible models give {best:.2%}")
    shares = start.shares
    so_far, price = 0.0, 0.0
    for step in steps:
        part = min(max((needed - so_far) / step.quality, 0.0), 1.0)
        if part == 0.0:
            break
        shares[step.row, step.before] -= part
        shares[step.row, step.after] += part
        so_far, price = so_far + step.quality * part, step.slope * rated_requests
    return Choice(shares, {"quality_floor": price} if so_far > 0 else {})


@dataclass(frozen=True, slots=True)
class _Improvement:
    """One edge of a class's convex frontier: more quality (requests that pass) for more money."""

    row: int
    before: int
    after: int
    quality: float
    cost_usd: float

    @property
    def slope(self) -> float:
        return self.cost_usd / self.quality


def _improvements(estate: Estate) -> list[_Improvement]:
    """Every edge of every rated class's lower convex hull of (requests that pass, cost), cheapest improvement first."""
    steps = []
    start = _cheapest(estate)
    good = np.where(estate.admissible, estate.quality, np.nan) * estate.requests[:, None]
    for row in np.flatnonzero(estate.is_rated & (estate.admissible.sum(axis=1) > 1)):
        hull = _lower_hull(good[row], estate.cost_usd[row], int(start[row]))
        for before, after in pairwise(hull):
            gain = float(good[row, after] - good[row, before])
            paid = float(estate.cost_usd[row, after] - estate.cost_usd[row, before])
            steps.append(_Improvement(int(row), before, after, gain, paid))
    # Within a class the edges of a convex hull already rise, so a stable sort keeps their order.
    return sorted(steps, key=lambda step: step.slope)


def _lower_hull(good: Floats, cost: Floats, start: int) -> list[int]:
    """Columns on the convex frontier from the cheapest model upwards, in rising quality and rising slope."""
    better = [int(column) for column in np.argsort(good, kind="stable") if good[column] > good[start]]
    hull = [start]
    for column in better:
        while len(hull) > 1 and _slope(good, cost, hull[-2], column) <= _slope(good, cost, hull[-2], hull[-1]):
            hull.pop()
        if good[column] > good[hull[-1]]:
            hull.append(column)
        elif cost[column] < cost[hull[-1]]:  # as good and cheaper: the dearer one is never chosen
            hull[-1] = column
    return hull


def _slope(good: Floats, cost: Floats, before: int, after: int) -> float:
    gain = float(good[after] - good[before])
    return float("inf") if gain <= 0 else float(cost[after] - cost[before]) / gain


# -- the frontier ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """One corner of the cost–quality frontier of the estate, and the one move that leads to it (None at the start)."""

    cost_usd: float
    quality: float
    moved: int | None = None
    before: int | None = None
    after: int | None = None


def frontier(estate: Estate) -> tuple[FrontierPoint, ...]:
    """Corners of the frontier from the cheapest policy to the best one; no policy lies below the line through them.

    Empty when no class is rated. The frontier of a sum of classes is the sum of their frontiers, edge by edge in the
    order of what an improvement costs.
    """
    start = cheapest(estate)
    quality = start.quality(estate)
    if quality is None:
        return ()
    requests = float(estate.requests[estate.is_rated].sum())
    points = [FrontierPoint(start.cost_usd(estate), quality)]
    for step in _improvements(estate):
        latest = points[-1]
        points.append(
            FrontierPoint(
                latest.cost_usd + step.cost_usd,
                latest.quality + step.quality / requests,
                step.row,
                step.before,
                step.after,
            )
        )
    return tuple(points)
