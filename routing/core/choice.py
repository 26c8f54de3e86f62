"""Which model serves which class, for the estate as a whole (methods.md §4.2–4.4), on arrays.

Costs are estimates here (floats): they decide shares, never an amount of money. Every function takes an `Estate` of C
classes and M models and returns a `Choice` of shares; money is computed exactly from the shares elsewhere. Models are
in the order of their names, so that "the lexicographically first" is the first column.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Integers = NDArray[np.intp]
Row = tuple[Literal["<=", ">="], Floats, float, str]

# The integer solver's own tolerance: right-hand sides are tightened by it, so that what it returns keeps them exactly.
_TIGHTENED = 1e-6
_KEPT_FREE = 200  # classes besides the split ones that the integer programme may move
_EPSILON = 1e-9
_UNRATED = "no class has a known pass rate for all its admissible models: the floor cannot be checked"


class Infeasible(ValueError):
    """No policy keeps every constraint; the message names the constraint and the best that can be reached."""


@dataclass(frozen=True, slots=True)
class Estate:
    """C classes × M models.

    `cost_usd` [C, M]: cost of the window if the model served the whole class; `quality` [C, M]: pass rate, NaN =
    unknown; `admissible` [C, M]; `requests` [C]: volume, > 0; `incumbent` [C]: column of what serves now.
    A class where an admissible model has no known quality takes no part in a quality floor (`is_rated`).
    """

    cost_usd: Floats
    quality: Floats
    admissible: Flags
    requests: Floats
    incumbent: Integers

    def __post_init__(self) -> None:
        classes, models = self.cost_usd.shape
        if self.quality.shape != (classes, models) or self.admissible.shape != (classes, models):
            raise ValueError(f"costs are {classes} × {models}: quality and admissible must be too")
        if self.requests.shape != (classes,) or self.incumbent.shape != (classes,):
            raise ValueError(f"there are {classes} classes: give one volume and one incumbent for each")
        if not self.admissible.any(axis=1).all():
            raise ValueError("a class has no admissible model: leave it out of the estate and list it")
        if np.isnan(self.cost_usd[self.admissible]).any():
            raise ValueError("an admissible model has no cost: it cannot be chosen")

    @property
    def classes(self) -> int:
        return int(self.cost_usd.shape[0])

    @property
    def is_rated(self) -> Flags:
        """[C] whether every admissible model of the class has a known quality."""
        known: Flags = np.logical_not((np.isnan(self.quality) & self.admissible).any(axis=1))
        return known

    @property
    def allowed_cost_usd(self) -> Floats:
        """[C, M] costs, infinite where a model may not serve."""
        return np.where(self.admissible, self.cost_usd, np.inf)


@dataclass(frozen=True, slots=True)
class Constraints:
    """What couples the classes. None, or an empty mapping, = no such constraint.

    `move_share`: at most this share of all requests changes its model now. `quality_floor`: least volume-weighted
    quality over the rated classes. `model_caps`: column → most share of all requests. `is_whole`: no class is split.
    """

    move_share: float | None = None
    quality_floor: float | None = None
    model_caps: Mapping[int, float] = field(default_factory=dict)
    is_whole: bool = False

    @property
    def is_empty(self) -> bool:
        return self.move_share is None and self.quality_floor is None and not self.model_caps


@dataclass(frozen=True, slots=True)
class Choice:
    """`shares` [C, M] of each class's requests, rows sum to 1.

    `prices_usd`: what the constraints that bind cost, by name: usd of the window per whole unit of the constraint (1 =
    all requests, or a quality of 1), at the margin. For whole classes they are those of the policy with splits.
    """

    shares: Floats
    prices_usd: Mapping[str, float] = field(default_factory=dict)

    @property
    def binding(self) -> tuple[str, ...]:
        """Names of the constraints that cost money."""
        return tuple(self.prices_usd)

    @property
    def target(self) -> Integers:
        """[C] the model with the largest share of each class."""
        found: Integers = self.shares.argmax(axis=1)
        return found

    @property
    def split_classes(self) -> Integers:
        """Rows served by more than one model."""
        found: Integers = np.flatnonzero((self.shares > _EPSILON).sum(axis=1) > 1)
        return found

    def cost_usd(self, estate: Estate) -> float:
        """Cost of the window."""
        return float(np.where(self.shares > 0, self.shares * np.nan_to_num(estate.cost_usd), 0.0).sum())

    def quality(self, estate: Estate) -> float | None:
        """Volume-weighted quality over the rated classes; None where there is none."""
        rated = estate.is_rated
        weight = estate.requests[rated].sum()
        if weight <= 0:
            return None
        per_class = (self.shares * np.nan_to_num(estate.quality)).sum(axis=1)
        return float((per_class * estate.requests)[rated].sum() / weight)

    def moved_share(self, estate: Estate) -> float:
        """Share of all requests that would be served by another model than now."""
        stays = self.shares[np.arange(estate.classes), estate.incumbent]
        return float(((1 - stays) * estate.requests).sum() / estate.requests.sum())


def choose(estate: Estate, constraints: Constraints = Constraints()) -> Choice:
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
    return _programme(estate, constraints)


# -- without coupling --------------------------------------------------------------------------------------------


def cheapest(estate: Estate) -> Choice:
    """Per class the admissible model of least cost; ties to the incumbent, then to the first column (§4.2)."""
    return Choice(_one_hot(_cheapest(estate), estate))


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
    if left < -_EPSILON:
        raise Infeasible(
            f"{weight[forced].sum():.1%} of requests are served by a model that may not serve them; at most "
            f"{share:.1%} may move"
        )
    shares = _one_hot(np.where(forced, target, estate.incumbent), estate)
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
        raise Infeasible(_UNRATED)
    steps = _improvements(estate)
    rated_requests = float(estate.requests[estate.is_rated].sum())
    needed = (floor - reached) * rated_requests
    gains = np.cumsum([step.quality for step in steps])
    if needed > _EPSILON * rated_requests and (not steps or gains[-1] < needed - _EPSILON * rated_requests):
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


# -- several constraints -----------------------------------------------------------------------------------------


def _programme(estate: Estate, constraints: Constraints) -> Choice:
    """Linear programme over the admissible (class, model) pairs; whole classes by a small integer programme (§4.4)."""
    rows, columns = np.nonzero(estate.admissible)
    limits = _limits(estate, constraints, rows, columns)
    found = _solve(estate, rows, columns, limits)
    if found.status != 0 or found.x is None:
        raise Infeasible(_why_infeasible(estate, constraints, rows, columns))
    if constraints.is_whole:
        return _whole(estate, constraints, rows, columns, limits, found)
    return Choice(_shares(estate, rows, columns, found.x), _prices(estate, rows, columns, limits, found))


def _prices(
    estate: Estate, rows: Integers, columns: Integers, limits: list[Row], found: "OptimizeResult"
) -> dict[str, float]:
    scale = _scale(estate.cost_usd[rows, columns])
    marginals = np.abs(np.asarray(found.ineqlin.marginals))
    return {name: float(price * scale) for (*_, name), price in zip(limits, marginals, strict=True) if price > _EPSILON}


def _scale(cost: Floats) -> float:
    """Keeps the solver's absolute tolerances meaningful at any size of a bill."""
    return float(np.abs(cost).max()) or 1.0


def _limits(estate: Estate, constraints: Constraints, rows: Integers, columns: Integers) -> list[Row]:
    """Each constraint as a row over the pairs, in shares of all requests."""
    weight = estate.requests / estate.requests.sum()
    limits: list[Row] = []
    if constraints.move_share is not None:
        moved = np.where(columns != estate.incumbent[rows], weight[rows], 0.0)
        limits.append(("<=", moved, constraints.move_share, "move_share"))
    if constraints.quality_floor is not None:
        rated = estate.is_rated
        rated_weight = float(weight[rated].sum())
        if rated_weight <= 0:
            raise Infeasible(
                "no class has a known pass rate for all its admissible models: the floor cannot be checked"
            )
        good = np.where(rated[rows], np.nan_to_num(estate.quality[rows, columns]) * weight[rows], 0.0)
        limits.append((">=", good, constraints.quality_floor * rated_weight, "quality_floor"))
    for column, cap in sorted(constraints.model_caps.items()):
        served = np.where(columns == column, weight[rows], 0.0)
        limits.append(("<=", served, cap, f"model_cap:{column}"))
    return limits


def _solve(
    estate: Estate, rows: Integers, columns: Integers, limits: list[Row], objective: Floats | None = None
) -> "OptimizeResult":
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    cost = estate.cost_usd[rows, columns] if objective is None else objective
    scale = _scale(cost)
    one_of = csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=(estate.classes, len(rows)))
    upper = np.array([line if sense == "<=" else -line for sense, line, _, _ in limits]) if limits else None
    bounds = [value if sense == "<=" else -value for sense, _, value, _ in limits]
    return linprog(
        cost / scale,
        A_ub=None if upper is None else csr_array(upper),
        b_ub=bounds or None,
        A_eq=one_of,
        b_eq=np.ones(estate.classes),
        bounds=(0, 1),
        method="highs",
    )


def _shares(estate: Estate, rows: Integers, columns: Integers, x: Floats) -> Floats:
    shares = np.zeros_like(estate.cost_usd)
    shares[rows, columns] = np.where(x < _EPSILON, 0.0, x)
    scaled: Floats = shares / shares.sum(axis=1, keepdims=True)
    return scaled


def _whole(
    estate: Estate,
    constraints: Constraints,
    rows: Integers,
    columns: Integers,
    limits: list[Row],
    relaxed: "OptimizeResult",
) -> Choice:
    """No class split: split classes and those nearest to a tie are chosen anew, whole; the rest stay as they are."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array, vstack

    shares = _shares(estate, rows, columns, relaxed.x)
    choice = Choice(shares)
    free = _near_ties(estate, rows, columns, limits, relaxed, choice)
    keep = free[rows]
    few_rows, few_columns = rows[keep], columns[keep]
    settled = _one_hot(choice.target, estate)[rows, columns]
    place = np.cumsum(free) - 1
    one_of = csr_array(
        (np.ones(len(few_rows)), (place[few_rows], np.arange(len(few_rows)))), shape=(int(free.sum()), len(few_rows))
    )
    signs = np.array([1.0 if sense == "<=" else -1.0 for sense, *_ in limits])
    lines = np.array([line for _, line, _, _ in limits]) * signs[:, None]
    used = (lines[:, ~keep] * settled[~keep]).sum(axis=1)
    most = np.array([value for _, _, value, _ in limits]) * signs - used - _TIGHTENED
    scale = _scale(estate.cost_usd[few_rows, few_columns])
    found = milp(
        estate.cost_usd[few_rows, few_columns] / scale,
        constraints=LinearConstraint(
            vstack([one_of, csr_array(lines[:, keep])]),
            np.concatenate([np.ones(int(free.sum())), np.full(len(limits), -np.inf)]),
            np.concatenate([np.ones(int(free.sum())), most]),
        ),
        integrality=np.ones(len(few_rows)),
        bounds=Bounds(0, 1),
    )
    if found.x is None:
        raise Infeasible("no policy of whole classes keeps every constraint: allow a class to be split")
    whole = _one_hot(choice.target, estate)
    whole[few_rows, few_columns] = np.round(found.x)
    return Choice(whole, _prices(estate, rows, columns, limits, relaxed))


def _near_ties(
    estate: Estate, rows: Integers, columns: Integers, limits: list[Row], relaxed: "OptimizeResult", choice: Choice
) -> Flags:
    """[C] split classes, and those whose second-best model is nearest to the best at the constraints' prices."""
    scale = _scale(estate.cost_usd[rows, columns])
    signs = np.array([1.0 if sense == "<=" else -1.0 for sense, *_ in limits])
    lines = np.array([line for _, line, _, _ in limits]) * signs[:, None]
    priced = np.full_like(estate.cost_usd, np.inf)
    marginals = np.asarray(relaxed.ineqlin.marginals)
    priced[rows, columns] = estate.cost_usd[rows, columns] / scale - marginals @ lines
    two = np.sort(priced, axis=1)[:, :2]
    gap = two[:, 1] - two[:, 0] if two.shape[1] > 1 else np.full(estate.classes, np.inf)
    free = np.zeros(estate.classes, dtype=np.bool_)
    free[np.argsort(gap, kind="stable")[:_KEPT_FREE]] = True
    free[choice.split_classes] = True
    return free


def _why_infeasible(estate: Estate, constraints: Constraints, rows: Integers, columns: Integers) -> str:
    """What can be reached of each constraint when the others are kept, in words for the person who set them."""

    def best(without: Constraints, objective: Floats) -> float | None:
        found = _solve(estate, rows, columns, _limits(estate, without, rows, columns), objective)
        return None if found.status != 0 else float(objective @ found.x)

    weight = estate.requests / estate.requests.sum()
    told = []
    if constraints.quality_floor is not None:
        rated = estate.is_rated
        good = np.where(rated[rows], np.nan_to_num(estate.quality[rows, columns]) * weight[rows], 0.0)
        most = best(replace(constraints, quality_floor=None), -good)
        if most is not None:
            reached = -most / float(weight[rated].sum())
            told.append(f"a quality of {constraints.quality_floor:.2%} cannot be reached, {reached:.2%} can")
    if constraints.move_share is not None:
        moved = np.where(columns != estate.incumbent[rows], weight[rows], 0.0)
        least = best(replace(constraints, move_share=None), moved)
        if least is not None:
            told.append(f"{least:.1%} of requests have to move, {constraints.move_share:.1%} may")
    for column, cap in sorted(constraints.model_caps.items()):
        caps = {other: share for other, share in constraints.model_caps.items() if other != column}
        served = np.where(columns == column, weight[rows], 0.0)
        least = best(replace(constraints, model_caps=caps), served)
        if least is not None and least > cap:
            told.append(f"model {column} has to serve {least:.1%} of requests, {cap:.1%} is its cap")
    return "; or ".join(told) or "the constraints contradict each other: relax two of them"


def _one_hot(target: Integers, estate: Estate) -> Floats:
    shares = np.zeros_like(estate.cost_usd, dtype=np.float64)
    shares[np.arange(estate.classes), target] = 1.0
    return shares
