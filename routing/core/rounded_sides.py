"""The sides of a saving in cents: before, after each step, after the last; one rounding for every page."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import TypeVar

from billing.core.money import CENT
from routing.core.attribution import MICRO_USD, split_exactly

L = TypeVar("L", bound=str)


def rounded_sides(sides: Sequence[Mapping[L, Decimal]], unit: Decimal = CENT) -> tuple[dict[L, Decimal], ...]:
    """Amounts by name before and after each step, rounded so that every sum and every difference a reader can form
    is exact: the total of a side is its rounded total, and a name's difference between two neighbours is its true
    difference rounded down or up. What does not change (to a micro-dollar) differs by 0, never by a cent of rounding.

    The first side depends on nothing but itself, so two lists that begin with the same amounts show the same; the
    others may be off by less than two units a name. Raises KeyError for a name that a side does not have.

    >>> before = {"a": Decimal("1.006"), "b": Decimal("2.006"), "c": Decimal("3.006")}
    >>> rounded_sides([before, {**before, "a": Decimal("0.502")}])
    ({'a': Decimal('1.01'), 'b': Decimal('2.01'), 'c': Decimal('3.00')}, {'a': Decimal('0.50'), 'b': Decimal('2.01'), \
'c': Decimal('3.00')})
    """
    if not sides:
        return ()
    # Micro-dollars, so that the noise of a division is no change; the sides follow from the first and the changes.
    exact = {name: Fraction(usd.quantize(MICRO_USD)) for name, usd in sides[0].items()}
    rounded = [split_exactly(exact, unit)]
    for before, after in pairwise(sides):
        changes = {name: Fraction((after[name] - usd).quantize(MICRO_USD)) for name, usd in before.items()}
        exact = {name: usd + changes[name] for name, usd in exact.items()}
        rounded.append(_next_side(rounded[-1], changes, exact, unit))
    return tuple(rounded)


def _next_side(
    before: Mapping[L, Decimal], changes: Mapping[L, Fraction], exact: Mapping[L, Fraction], unit: Decimal
) -> dict[L, Decimal]:
    """`before` with every change rounded down or up; up where that brings the side closest to what it is."""
    size = Fraction(unit)
    after = {name: Fraction(before[name]) / size + (change / size).__floor__() for name, change in changes.items()}
    left = round(sum(exact.values(), Fraction(0)) / size) - sum(after.values(), Fraction(0))
    moved = [name for name, change in changes.items() if change % size]
    moved.sort(key=lambda name: after[name] - exact[name] / size)  # furthest below first; stable: ties to the earlier
    for name in moved[: int(left)]:  # never below 0: rounded totals differ by at least their change rounded down
        after[name] += 1
    return {name: int(count) * unit for name, count in after.items()}
