"""Savings that add up: a waterfall to read, a Shapley split that does not depend on the order (methods.md §8.2)."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import combinations
from math import factorial
from typing import TypeVar

L = TypeVar("L", bound=str)
MICRO_USD = Decimal("0.000001")


def waterfall(costs: Mapping[frozenset[L], Decimal], order: Sequence[L]) -> tuple[tuple[L, Decimal], ...]:
    """Saving of each lever when applied in this order: parts sum to the whole difference exactly.

    `costs[levers]` is the cost in usd with that set of levers. Raises KeyError for a set without a cost.
    """
    parts: list[tuple[L, Decimal]] = []
    applied: frozenset[L] = frozenset()
    for lever in order:
        parts.append((lever, costs[applied] - costs[applied | {lever}]))
        applied |= {lever}
    return tuple(parts)


def shapley(costs: Mapping[frozenset[L], Decimal], levers: Sequence[L]) -> dict[L, Fraction]:
    """Mean marginal saving of each lever over all orders, as exact fractions that sum to the whole difference."""
    count = len(levers)
    shares: dict[L, Fraction] = {}
    for lever in levers:
        others = [other for other in levers if other != lever]
        total = Fraction(0)
        for size in range(count):
            weight = Fraction(factorial(size) * factorial(count - size - 1), factorial(count))
            for subset in combinations(others, size):
                before = frozenset(subset)
                total += weight * Fraction(costs[before] - costs[before | {lever}])
        shares[lever] = total
    return shares


def scaled_exactly(parts: Mapping[L, Decimal], total: Decimal, unit: Decimal = MICRO_USD) -> dict[L, Decimal]:
    """Parts in the same proportions that sum to another total, in its unit; all 0 where the parts sum to 0.

    >>> scaled_exactly({"a": Decimal(1), "b": Decimal(2)}, Decimal("0.10"), Decimal("0.01"))
    {'a': Decimal('0.03'), 'b': Decimal('0.07')}
    """
    whole = sum(map(Fraction, parts.values()), Fraction(0))
    if not whole:
        return dict.fromkeys(parts, Decimal(0))
    return split_exactly({name: Fraction(part) * Fraction(total) / whole for name, part in parts.items()}, unit)


def split_exactly(shares: Mapping[L, Fraction], unit: Decimal = MICRO_USD) -> dict[L, Decimal]:
    """Shares rounded to a unit so that they still sum to their (rounded) whole: largest remainder, ties to the earlier.

    >>> split_exactly({"a": Fraction(1, 3), "b": Fraction(1, 3), "c": Fraction(1, 3)}, Decimal("0.01"))
    {'a': Decimal('0.34'), 'b': Decimal('0.33'), 'c': Decimal('0.33')}
    """
    units = {name: share / Fraction(unit) for name, share in shares.items()}
    floors = {name: value.__floor__() for name, value in units.items()}
    left = round(sum(units.values(), Fraction(0))) - sum(floors.values())
    by_remainder = sorted(units, key=lambda name: floors[name] - units[name])  # stable: ties to the earlier
    for name in by_remainder[:left]:
        floors[name] += 1
    return {name: count * unit for name, count in floors.items()}
