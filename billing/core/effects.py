"""Why spend changed between two periods: a price, a volume and a mix effect that sum to the change, to the last digit.

The price–volume–mix split of cost accounting (Horngren, Datar, Rajan, *Cost Accounting*, chapter on sales-mix and
sales-quantity variances; docs/algorithms/spend-change.md), for each item i (a class on a model at one price, one kind):

    volume_i = c0_i × (Q1/Q0 − 1)          everything grows alike, at the unit cost and mix of before
    mix_i    = q1_i × p0_i − c0_i × Q1/Q0  the item grew more or less than the whole
    price_i  = c1_i − q1_i × p0_i          today's units cost something else than before

q units, c cost, p0 = c0/q0, Q the sum of q; 0 before, 1 after. Tokens and web searches are different units: each has
its own Q. A new item has no p0 of its own: it is the list price of the period before, else today's (no price effect).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from billing.core.money import EXACT, ZERO, sum_usd

_PLACES: Final = 15


@dataclass(frozen=True, slots=True)
class Item:
    """What cost something before, after, or both. `group`: the row of the answer it belongs to. Only priced units.

    `unit` keeps apart what cannot be added (token, search). `earlier_usd_each`: price of one unit in the period before,
    for an item that had none then; None = unknown.
    """

    group: tuple[str, ...]
    unit: str
    before_units: int
    before_usd: Decimal
    after_units: int
    after_usd: Decimal
    earlier_usd_each: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Effects:
    """`after_usd` − `before_usd` = `volume_usd` + `mix_usd` + `price_usd`, exactly."""

    group: tuple[str, ...]
    before_usd: Decimal
    after_usd: Decimal
    volume_usd: Decimal
    mix_usd: Decimal
    price_usd: Decimal

    @property
    def change_usd(self) -> Decimal:
        return EXACT.subtract(self.after_usd, self.before_usd)


def effects(items: Sequence[Item]) -> list[Effects]:
    """One row per group, in the order they come; the rows add up to the whole, effect by effect."""
    growth = {unit: _growth([item for item in items if item.unit == unit]) for unit in {item.unit for item in items}}
    by: dict[tuple[str, ...], list[Effects]] = {}
    for item in items:
        by.setdefault(item.group, []).append(_of_item(item, growth[item.unit]))
    return [total(found, group) for group, found in by.items()]


def total(rows: Iterable[Effects], group: tuple[str, ...] = ()) -> Effects:
    """Several rows as one."""
    found = list(rows)
    return Effects(
        group,
        sum_usd(row.before_usd for row in found),
        sum_usd(row.after_usd for row in found),
        sum_usd(row.volume_usd for row in found),
        sum_usd(row.mix_usd for row in found),
        sum_usd(row.price_usd for row in found),
    )


def _growth(items: Sequence[Item]) -> Fraction | None:
    """Q1/Q0; None where there was nothing before, so that everything new is volume."""
    before = sum(item.before_units for item in items)
    return Fraction(sum(item.after_units for item in items), before) if before else None


def _of_item(item: Item, growth: Fraction | None) -> Effects:
    at_old_price = _at_old_price(item)
    # The two amounts in the middle are rounded once; the effects are their exact differences, so they always sum.
    grown = at_old_price if growth is None else _rounded(Fraction(item.before_usd) * growth)
    return Effects(
        item.group,
        item.before_usd,
        item.after_usd,
        volume_usd=EXACT.subtract(grown, item.before_usd),
        mix_usd=EXACT.subtract(at_old_price, grown),
        price_usd=EXACT.subtract(item.after_usd, at_old_price),
    )


def _at_old_price(item: Item) -> Decimal:
    """Today's units at the price of before."""
    if item.before_units:
        return _rounded(Fraction(item.before_usd) * item.after_units / item.before_units)
    if item.earlier_usd_each is not None:
        return EXACT.multiply(item.earlier_usd_each, Decimal(item.after_units))
    return item.after_usd


def _rounded(amount: Fraction) -> Decimal:
    """To 15 places, half even; exact where it has no more."""
    if amount == 0:
        return ZERO
    return EXACT.scaleb(Decimal(round(amount * 10**_PLACES)), -_PLACES)
