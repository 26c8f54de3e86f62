"""What new prices would change: the cost of usage that has none yet, and of usage that has another."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from billing.core.pricebook import Price, PriceBook
from billing.queries.prices import price_book
from billing.queries.usage import cost_lines, usage_days


@dataclass(frozen=True, slots=True)
class PriceEffect:
    """Counted usage of one model on days [start, end) before and after. Costs are exact and cover what is priced."""

    model: str
    start: date
    end: date
    cost_before_usd: Decimal
    cost_after_usd: Decimal
    unpriced_tok_before: int
    unpriced_tok_after: int

    @property
    def change_usd(self) -> Decimal:
        return self.cost_after_usd - self.cost_before_usd

    @property
    def newly_priced_tok(self) -> int:
        return self.unpriced_tok_before - self.unpriced_tok_after


def price_effect(*, new: Sequence[Price], book: PriceBook | None = None) -> PriceEffect | None:
    """The effect on all counted usage of the model; None without any usage. Raises PriceError for a clash."""
    held = book if book is not None else price_book()
    days = usage_days()
    if days is None or not new:
        return None
    start, end = days[0], days[1] + timedelta(days=1)
    model = new[0].model
    before = cost_lines(start=start, end=end, model=model, book=held)
    after = cost_lines(start=start, end=end, model=model, book=held.with_prices(new))
    return PriceEffect(model, start, end, before.cost_usd, after.cost_usd, before.unpriced_tok, after.unpriced_tok)
