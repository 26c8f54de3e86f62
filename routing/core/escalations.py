"""What requests of a class passed on to other models: tokens that were billed to it without requests of their own.

An adviser, a fallback or a cascade in the client asks a second model within one request. Its tokens belong to the class
and to what a request costs (methods.md §2), and no move of the class changes them, except one to that very model: who
is asked first then has nobody else to ask.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import TypeVar

from billing.core.words import signed
from routing.core.profiles import RatesOf
from routing.core.traffic import Served

_Row = TypeVar("_Row", bound=Served)


def passed_on(served: Sequence[_Row], *, incumbent: str) -> list[_Row]:
    """Rows of models that only answered parts of requests others served; none where requests are not counted."""
    if any(row.requests is None for row in served) or not any(row.requests for row in served):
        return []
    return [row for row in served if not row.requests and row.model != incumbent]


def passed_usd(passed: Sequence[_Row], model: str, rates_of: RatesOf) -> Decimal:
    """What these rows cost the class on a model, each kind of token at its own standard price; rows of it are left out.

    One without a price is none, too: a class of which part has no price is not solved.
    """
    priced = ((row, rates_of(row.model)) for row in passed if row.model != model)
    return sum((each.standard.cost_usd(_tokens(row)) for row, each in priced if not isinstance(each, str)), Decimal(0))


def passed_text(passed: Sequence[_Row], model: str, usd_per_unit: Decimal) -> str:
    """What is added to where a cost comes from; '' where nothing is passed on to another model."""
    others = ", ".join(row.model for row in passed if row.model != model)
    return f"; {signed(usd_per_unit, 6)} usd of it is passed on to {others}" if others else ""


def _tokens(row: Served) -> tuple[int, ...]:
    return (
        row.uncached_input_tok,
        row.cache_read_tok,
        row.cache_write_5m_tok,
        row.cache_write_1h_tok,
        row.output_tok,
    )
