"""The lines behind a cost, with the class in words: billing prices usage, routing knows what a class is called."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from billing.core.money import ZERO, line_cost, sum_usd
from billing.core.pricebook import unit_exponent
from billing.queries.books import LIST, book_for
from billing.queries.price_list import UnpricedGroup, unpriced_groups
from billing.queries.usage import CostLines, ExplainedLine, cost_lines
from routing.models import RequestClass

UNCLASSIFIED: Final = "(none)"


@dataclass(frozen=True, slots=True)
class SpendLines:
    """`scope`: what the figures are of, in words that begin a sentence."""

    lines: CostLines
    unpriced: tuple[UnpricedGroup, ...]
    scope: str
    basis: str
    scenario: str
    prices: str
    lowest_usd: Decimal
    highest_usd: Decimal | None
    list_usd: Decimal | None


def spend_lines(
    *, start: date, end: date, slug: str = "", model: str = "", basis: str = LIST, scenario: str = ""
) -> SpendLines:
    """Lines of days [start, end). `slug` '' = every class, `(none)` = unclassified usage; `model` '' = every model.

    `basis`, `scenario`: which prices. With what has no price the whole costs from `lowest_usd` to `highest_usd` (None =
    nobody can say). `list_usd`: what the same lines cost at the list price, None where the list has none for some.
    Raises UnknownPrices.
    """
    priced = book_for(basis=basis, scenario=scenario)
    request_class = "" if slug == UNCLASSIFIED else (slug or None)
    found = cost_lines(start=start, end=end, request_class=request_class, model=model or None, book=priced.book)
    most = [gap.highest_usd for gap in found.unpriced]
    return SpendLines(
        lines=found,
        unpriced=unpriced_groups(found.unpriced),
        scope=_scope(slug, model),
        basis=priced.basis,
        scenario=priced.scenario,
        prices=priced.words,
        lowest_usd=found.cost_usd + sum_usd(gap.lowest_usd or ZERO for gap in found.unpriced),
        highest_usd=None
        if None in most or found.unpriced_rest is not None
        else found.cost_usd + sum_usd(usd for usd in most if usd is not None),
        list_usd=_at_list(found.lines),
    )


def _at_list(lines: Sequence[ExplainedLine]) -> Decimal | None:
    costs = []
    for line in lines:
        price = line.list_usd_per_unit if line.contract else line.usd_per_unit
        if price is None:
            return None
        costs.append(line_cost(line.units, price, unit_exponent=unit_exponent(line.token_kind)))
    return sum_usd(costs)


def _scope(slug: str, model: str) -> str:
    if slug == UNCLASSIFIED:
        who = "Unclassified usage"
    elif slug:
        who = RequestClass.objects.filter(slug=slug).values_list("title", flat=True).first() or f"Class {slug}"
    else:
        who = "All usage"
    return f"{who} on {model}" if model else who
