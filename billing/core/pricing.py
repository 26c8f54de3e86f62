"""The one price arithmetic (methods.md §1): what usage costs, line by line, each line explaining itself.

A line is `units × price`, exact and unrounded. Usage without a price becomes an unpriced line with the reason and the
remedy, never a cost of zero; where only the prompt length is missing it keeps the interval of its possible costs.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Final

from billing.core.money import line_cost, sum_usd
from billing.core.pricebook import Cause, FoundPrice, Price, PriceBook, PriceKey, PriceNotFound, unit_exponent
from billing.core.usage import PRICED_KINDS, PricedKind, TokenCounts

UNIT_OF_EXPONENT: Final[Mapping[int, str]] = {3: "usd per 1,000 searches", 6: "usd per million tokens"}


@dataclass(frozen=True, slots=True)
class CostLine:
    """Units of one kind at one dated price. `cost_usd` = units × price.usd_per_unit / 10^exponent, exact."""

    key: PriceKey
    kind: PricedKind
    units: int
    price: Price
    assumptions: tuple[str, ...]
    cost_usd: Decimal

    @property
    def unit(self) -> str:
        return UNIT_OF_EXPONENT[self.price.unit_exponent]

    @property
    def formula(self) -> str:
        return cost_formula(self.units, self.price)


def cost_formula(units: int, price: Price) -> str:
    """A line's cost in figures, exact: `1,234,567 × 0.30 / 1,000,000 = 0.3703701`."""
    cost = line_cost(units, price.usd_per_unit, unit_exponent=price.unit_exponent)
    return f"{units:,} × {plain_price(price.usd_per_unit)} / {10**price.unit_exponent:,} = {plain_number(cost)}"


def plain_number(number: Decimal) -> str:
    """Every digit that counts and no trailing zero: 0.37037010 → 0.3703701."""
    text = f"{number:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def plain_price(price: Decimal) -> str:
    """A price with two places or as many as it has: 3 → 3.00, 0.125 → 0.125, 18.750000000 → 18.75."""
    whole, _, places = plain_number(price).partition(".")
    return f"{whole}.{places:0<2}"


@dataclass(frozen=True, slots=True)
class UnpricedLine:
    """Units of one kind without a price. `lowest_usd` and `highest_usd` where the possible prices are known."""

    key: PriceKey
    kind: PricedKind
    units: int
    cause: Cause
    reason: str
    remedy: str
    lowest_usd: Decimal | None = None
    highest_usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class PricedRow:
    """Everything a usage row costs, and everything in it that has no price."""

    lines: tuple[CostLine, ...]
    unpriced: tuple[UnpricedLine, ...]

    @property
    def cost_usd(self) -> Decimal:
        """Exact sum of the priced lines: the whole cost only where nothing is unpriced."""
        return sum_usd(line.cost_usd for line in self.lines)

    @property
    def unpriced_tok(self) -> int:
        return sum(line.units for line in self.unpriced if line.kind != "web_search")


class Pricer:
    """A price book with its look-ups remembered: between two days of change every look-up gives the same."""

    def __init__(self, book: PriceBook) -> None:
        self.book = book
        self._days = book.change_days()
        self._found: dict[tuple[PriceKey, PricedKind, int], FoundPrice | PriceNotFound] = {}

    def line(self, key: PriceKey, kind: PricedKind, units: int, on: date) -> CostLine | UnpricedLine:
        """One kind of one row on a UTC day. Raises MoneyError for a negative or fractional count."""
        found = self._lookup(key, kind, on)
        if isinstance(found, FoundPrice):
            cost = line_cost(units, found.price.usd_per_unit, unit_exponent=found.price.unit_exponent)
            return CostLine(key, kind, units, found.price, found.assumptions, cost)
        low = high = None
        if found.prices:
            exponent = unit_exponent(kind)
            low, high = (
                line_cost(units, price, unit_exponent=exponent) for price in (min(found.prices), max(found.prices))
            )
        # Without a price it is one line of every channel: only a contract tells them apart.
        one = replace(key, channel="") if key.channel else key
        return UnpricedLine(one, kind, units, found.cause, found.reason, found.remedy, low, high)

    def row(self, key: PriceKey, counts: TokenCounts, on: date) -> PricedRow:
        """Every kind of a usage row that has units, in the order of PRICED_KINDS."""
        lines = [self.line(key, kind, units, on) for kind in PRICED_KINDS if (units := counts.count(kind))]
        return PricedRow(
            tuple(line for line in lines if isinstance(line, CostLine)),
            tuple(line for line in lines if isinstance(line, UnpricedLine)),
        )

    def _lookup(self, key: PriceKey, kind: PricedKind, on: date) -> FoundPrice | PriceNotFound:
        place = (key, kind, bisect_right(self._days, on))
        known = self._found.get(place)
        if known is None:
            try:
                known = self.book.lookup(key, kind, on)
            except PriceNotFound as error:
                # Kept for later answers: with its traceback it would hold every frame it passed.
                known = error.with_traceback(None)
            self._found[place] = known
        return known


def interval(lines: Iterable[UnpricedLine]) -> tuple[Decimal, Decimal] | None:
    """Lowest and highest cost of unpriced lines together; None where any of them has no known bounds."""
    low, high = [], []
    for line in lines:
        if line.lowest_usd is None or line.highest_usd is None:
            return None
        low.append(line.lowest_usd)
        high.append(line.highest_usd)
    return sum_usd(low), sum_usd(high)
