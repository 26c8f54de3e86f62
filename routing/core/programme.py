"""The choice for an estate under several constraints at once: a linear programme (methods.md §4.4).

Of very many pairs of class and model only a few are near a tie at the prices the constraints end up with. Those prices
are found first on whole policies; then the programme is solved over the near ties alone, and its prices are tried on
every pair: where no pair is better, the answer is that of the whole programme.
"""

from dataclasses import replace
from typing import Literal

import numpy as np

from routing.core.estate import (
    EPSILON,
    UNRATED,
    Choice,
    Constraints,
    Estate,
    Flags,
    Floats,
    Infeasible,
    Integers,
    one_hot,
)
from routing.core.sifting import Solved, solve

Row = tuple[Literal["<=", ">="], Floats, float, str]

# The integer solver's own tolerance: right-hand sides are tightened by it, so that what it returns keeps them exactly.
_TIGHTENED = 1e-6
_KEPT_FREE = 200  # classes besides the split ones that the integer programme may move


def best_programme(estate: Estate, constraints: Constraints) -> Choice:
    """Linear programme over the admissible (class, model) pairs; whole classes by a small integer programme (§4.4)."""
    rows, columns = np.nonzero(estate.admissible)
    limits = _limits(estate, constraints, rows, columns)
    found = _solve(estate, rows, columns, limits)
    if found is None:
        raise Infeasible(_why_infeasible(estate, constraints, rows, columns))
    if constraints.is_whole:
        return _whole(estate, constraints, rows, columns, limits, found)
    return Choice(_shares(estate, rows, columns, found.x), _prices(estate, rows, columns, limits, found))


def _prices(estate: Estate, rows: Integers, columns: Integers, limits: list[Row], found: Solved) -> dict[str, float]:
    scale = _scale(estate.cost_usd[rows, columns])
    priced = zip(limits, found.prices, strict=True)
    return {name: float(price * scale) for (*_, name), price in priced if price > EPSILON}


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
            raise Infeasible(UNRATED)
        good = np.where(rated[rows], np.nan_to_num(estate.quality[rows, columns]) * weight[rows], 0.0)
        limits.append((">=", good, constraints.quality_floor * rated_weight, "quality_floor"))
    for column, cap in sorted(constraints.model_caps.items()):
        served = np.where(columns == column, weight[rows], 0.0)
        limits.append(("<=", served, cap, f"model_cap:{column}"))
    return limits


def _solve(
    estate: Estate, rows: Integers, columns: Integers, limits: list[Row], objective: Floats | None = None
) -> Solved | None:
    """None where no shares keep the limits."""
    cost = estate.cost_usd[rows, columns] if objective is None else objective
    lines, most = _as_at_most(limits, len(rows))
    return solve(cost / _scale(cost), rows, lines, most)


def _as_at_most(limits: list[Row], pairs: int) -> tuple[Floats, Floats]:
    """The limits with every sense turned to "at most"."""
    signs = np.array([1.0 if sense == "<=" else -1.0 for sense, *_ in limits])
    lines = np.array([line for _, line, _, _ in limits]).reshape(len(limits), pairs)
    return lines * signs[:, None], np.array([value for _, _, value, _ in limits]) * signs


def _shares(estate: Estate, rows: Integers, columns: Integers, x: Floats) -> Floats:
    shares = np.zeros_like(estate.cost_usd)
    shares[rows, columns] = np.where(x < EPSILON, 0.0, x)
    scaled: Floats = shares / shares.sum(axis=1, keepdims=True)
    return scaled


def _whole(
    estate: Estate,
    constraints: Constraints,
    rows: Integers,
    columns: Integers,
    limits: list[Row],
    relaxed: Solved,
) -> Choice:
    """No class split: split classes and those nearest to a tie are chosen anew, whole; the rest stay as they are."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array, vstack

    shares = _shares(estate, rows, columns, relaxed.x)
    choice = Choice(shares)
    free = _near_ties(estate, rows, columns, limits, relaxed, choice)
    keep = free[rows]
    few_rows, few_columns = rows[keep], columns[keep]
    settled = one_hot(choice.target, estate)[rows, columns]
    place = np.cumsum(free) - 1
    one_of = csr_array(
        (np.ones(len(few_rows)), (place[few_rows], np.arange(len(few_rows)))), shape=(int(free.sum()), len(few_rows))
    )
    lines, most = _as_at_most(limits, len(rows))
    most = most - (lines[:, ~keep] * settled[~keep]).sum(axis=1) - _TIGHTENED
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
    whole = one_hot(choice.target, estate)
    whole[few_rows, few_columns] = np.round(found.x)
    return Choice(whole, _prices(estate, rows, columns, limits, relaxed))


def _near_ties(
    estate: Estate, rows: Integers, columns: Integers, limits: list[Row], relaxed: Solved, choice: Choice
) -> Flags:
    """[C] split classes, and those whose second-best model is nearest to the best at the constraints' prices."""
    scale = _scale(estate.cost_usd[rows, columns])
    lines, _ = _as_at_most(limits, len(rows))
    priced = np.full_like(estate.cost_usd, np.inf)
    priced[rows, columns] = estate.cost_usd[rows, columns] / scale + relaxed.prices @ lines
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
        return None if found is None else float(objective @ found.x)

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
