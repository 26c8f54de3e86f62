"""Exact amounts as people add them up: whole cents whose sums and differences hold on paper.

Figures are kept to a fraction of a cent. Rounded one by one, five causes of 104.905006 sum to 104.90 and the
total reads 104.91: whoever checks the page with a pencil finds a cent nobody explains. So a difference
is shown as that of the two figures as they are shown, and parts are rounded together.
"""

from collections.abc import Sequence
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal

from billing.core.money import CENT, ZERO
from billing.core.settlement import Gap


def to_cents(exact: Sequence[Decimal], total: Decimal) -> list[Decimal]:
    """Amounts in whole cents that sum to `total`: largest remainder, ties to the earlier one.

    >>> to_cents([Decimal("0.005"), Decimal("0.005"), Decimal("-1.00")], Decimal("-0.99"))
    [Decimal('0.01'), Decimal('0.00'), Decimal('-1.00')]
    """
    floors = [amount.quantize(CENT, rounding=ROUND_FLOOR) for amount in exact]
    left = int((total - sum(floors, ZERO)) / CENT)
    order = sorted(range(len(exact)), key=lambda i: (floors[i] - exact[i], i))
    for i in order[:left]:
        floors[i] += CENT
    return floors


def shown_difference(from_usd: Decimal, to_usd: Decimal) -> Decimal:
    """What somebody finds who subtracts the two figures as they are shown.

    >>> shown_difference(Decimal("25873.19976"), Decimal("25978.104766"))
    Decimal('104.90')
    """
    return to_usd.quantize(CENT, ROUND_HALF_UP) - from_usd.quantize(CENT, ROUND_HALF_UP)


def shown_causes(gap: Gap) -> list[Decimal]:
    """The amounts of the gap's causes in whole cents: each within a cent of the exact one, summing to what is shown."""
    return to_cents([cause.amount_usd for cause in gap.causes], shown_difference(gap.from_usd, gap.to_usd))
