"""A linear programme over very many pairs of class and model, by solving it over the few that are near a tie.

min cost·x, Σ x = 1 within every class, lines·x ≤ most, 0 ≤ x ≤ 1. At given prices of the constraints every class has a
cheapest pair of its own; a pair that is far from it there is in no optimum. So the prices are found first (each step
lets every class choose freely, and mixes the choices so far), then the programme is solved over the near ties, and its
prices are tried on every pair: where no pair is better, the answer is that of the whole programme (column generation).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

WHOLE = 20_000  # pairs up to which the programme is solved as it is
_NEAR = 4_000  # pairs besides each class's cheapest that are tried first
_STEPS = 80  # of the search for prices; most estates need about 20
_ROUNDS = 10  # of adding pairs that turned out better
_TOLERANCE = 1e-9  # of the largest cost, which is 1 here


@dataclass(frozen=True, slots=True)
class Solved:
    """Shares of the pairs, and what a unit of each constraint is worth (≥ 0, in units of cost)."""

    x: Floats
    prices: Floats


def solve(
    cost: Floats, rows: Integers, lines: Floats, most: Floats, *, whole: int = WHOLE, near: int = _NEAR
) -> Solved | None:
    """The optimum, None where no shares keep the constraints.

    `cost` [N], its largest about 1; `rows` [N] ascending: the class of each pair, every class with at least one;
    `lines` [K, N]; `most` [K]. Up to `whole` pairs the programme is solved as it is.
    """
    if len(cost) > whole and len(most):
        found = _sifted(_Programme(cost, rows, lines, most), near)
        if found is not None:
            return found
    return _solved(cost, rows, lines, most)


@dataclass(frozen=True, slots=True)
class _Programme:
    cost: Floats
    rows: Integers
    lines: Floats
    most: Floats

    @property
    def starts(self) -> Integers:
        """Where each class begins among the pairs."""
        return np.flatnonzero(np.r_[True, self.rows[1:] != self.rows[:-1]])

    def priced(self, prices: Floats) -> Floats:
        """Cost of every pair with what it takes of the constraints."""
        found: Floats = self.cost + prices @ self.lines
        return found


def _sifted(asked: _Programme, near: int) -> Solved | None:
    """None where the prices are not found: then the whole programme has to tell why."""
    starts = asked.starts
    prices = _prices(asked, starts)
    if prices is None:
        return None
    sizes = np.diff(np.r_[starts, len(asked.cost)])
    priced = asked.priced(prices)
    gap = priced - np.repeat(np.minimum.reduceat(priced, starts), sizes)
    few = len(starts) + near
    kept = gap <= (np.partition(gap, few)[few] if few < len(gap) else np.inf)
    for _ in range(_ROUNDS):
        found = _over(asked, kept, starts, sizes)
        if found is None:
            return None
        priced = asked.priced(found.prices)
        best_kept = np.minimum.reduceat(np.where(kept, priced, np.inf), starts)
        better = priced < np.repeat(best_kept, sizes) - _TOLERANCE
        if not better.any():
            return found
        kept |= better
    return None


def _over(asked: _Programme, kept: NDArray[np.bool_], starts: Integers, sizes: Integers) -> Solved | None:
    """The programme over the kept pairs alone; a class with one kept pair is settled."""
    settled = kept & np.repeat(np.add.reduceat(kept, starts) == 1, sizes)
    open_ = np.flatnonzero(kept & ~settled)
    used = asked.lines[:, settled].sum(axis=1)
    _, rows = np.unique(asked.rows[open_], return_inverse=True)
    found = _solved(asked.cost[open_], rows.astype(np.intp), asked.lines[:, open_], asked.most - used)
    if found is None:
        return None
    x = settled.astype(np.float64)
    x[open_] = found.x
    return Solved(x, found.prices)


def _prices(asked: _Programme, starts: Integers) -> Floats | None:
    """Prices of the constraints at the optimum, from mixes of whole policies (Dantzig and Wolfe's decomposition).

    Each step mixes the policies so far at least cost, and adds the policy every class would choose at the prices of
    that mix, until none is better. None where no mix keeps the constraints within the steps.
    """
    policies = [_chosen(asked, asked.cost, starts)]
    policies += [_chosen(asked, line, starts) for line in asked.lines]
    dear = 10.0 * sum(abs(cost) for cost, _ in policies) + 1.0  # of breaking a constraint by a whole unit
    for _ in range(_STEPS):
        costs = np.array([cost for cost, _ in policies])
        taken = np.array([line for _, line in policies]).T
        mixed = _mix(costs, taken, asked.most, dear)
        prices, worth, broken = mixed
        cost, line = _chosen(asked, asked.priced(prices), starts)
        if cost + prices @ line >= worth - 1e-9 * (1.0 + abs(worth)):
            return None if broken > 1e-9 else prices
        policies.append((cost, line))
    return None if broken > 1e-9 else prices


def _chosen(asked: _Programme, priced: Floats, starts: Integers) -> tuple[float, Floats]:
    """Cost and lines of the policy that gives every class its cheapest pair at these prices."""
    best = np.minimum.reduceat(priced, starts)
    sizes = np.diff(np.r_[starts, len(priced)])
    ties = np.flatnonzero(priced == np.repeat(best, sizes))
    _, first = np.unique(asked.rows[ties], return_index=True)
    chosen = ties[first]
    return float(asked.cost[chosen].sum()), asked.lines[:, chosen].sum(axis=1)


def _mix(costs: Floats, taken: Floats, most: Floats, dear: float) -> tuple[Floats, float, float]:
    """Prices, the worth a policy must beat, and by how much the best mix of policies breaks the constraints."""
    count, limits = len(costs), len(most)
    found = _linprog(
        np.r_[costs, np.full(limits, dear)],
        np.c_[taken, -np.eye(limits)],
        most,
        np.r_[np.ones(count), np.zeros(limits)][None, :],
        np.ones(1),
        bounds=[(0, None)] * (count + limits),
    )
    return -np.asarray(found.ineqlin.marginals), float(found.eqlin.marginals[0]), float(found.x[count:].sum())


def _solved(cost: Floats, rows: Integers, lines: Floats, most: Floats) -> Solved | None:
    from scipy.sparse import csr_array

    if not len(cost):
        return Solved(cost, np.zeros(len(most))) if (most >= -_TOLERANCE).all() else None
    classes = int(rows[-1]) + 1
    one_of = csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=(classes, len(rows)))
    limits = csr_array(lines) if len(most) else None
    found = _linprog(cost, limits, most if len(most) else None, one_of, np.ones(classes), bounds=(0, 1))
    if found.status != 0 or found.x is None:
        return None
    return Solved(np.asarray(found.x), np.abs(np.asarray(found.ineqlin.marginals)))


def _linprog(cost: Floats, lines: Any, most: Floats | None, equal: Any, to: Floats, *, bounds: Any) -> Any:
    from scipy.optimize import linprog

    return linprog(cost, A_ub=lines, b_ub=most, A_eq=equal, b_eq=to, bounds=bounds, method="highs")
