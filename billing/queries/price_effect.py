"""What new prices would change: the cost of usage that has none yet, and of usage that has another."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from billing.core.money import ZERO, sum_usd
from billing.core.pricebook import Price, PriceBook
from billing.core.pricing import CostLine, Pricer
from billing.core.usage import COUNTER_OF_KIND, PRICED_KINDS
from billing.queries.drivers import usage_blocks
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


@dataclass(frozen=True, slots=True)
class EffectRow:
    """Usage of one class on one model at both prices; usd, exact, over what both books price."""

    request_class: str
    model: str
    before_usd: Decimal
    after_usd: Decimal

    @property
    def change_usd(self) -> Decimal:
        return self.after_usd - self.before_usd


@dataclass(frozen=True, slots=True)
class MonthEffect:
    """Counted usage of days [start, end) as it would cost at two books' prices of the day `on`.

    `newly_usd` is what usage costs that only the second book prices, and `lost_tok` the tokens only the first does;
    neither is in the rows.
    """

    start: date
    end: date
    on: date
    rows: tuple[EffectRow, ...]
    newly_tok: int
    newly_usd: Decimal
    lost_tok: int

    @property
    def before_usd(self) -> Decimal:
        return sum_usd(row.before_usd for row in self.rows)

    @property
    def after_usd(self) -> Decimal:
        return sum_usd(row.after_usd for row in self.rows)

    @property
    def change_usd(self) -> Decimal:
        return self.after_usd - self.before_usd

    @property
    def changed(self) -> tuple[EffectRow, ...]:
        """Rows the new prices move, largest change first."""
        moved = [row for row in self.rows if row.change_usd]
        return tuple(sorted(moved, key=lambda row: (-abs(row.change_usd), row.request_class, row.model)))


def last_month(*, as_of: datetime) -> tuple[date, date] | None:
    """The last whole calendar month with counted usage before an instant; None before there is any."""
    days = usage_days()
    if days is None:
        return None
    end = min(as_of.date(), days[1] + timedelta(days=1)).replace(day=1)
    start = (end - timedelta(days=1)).replace(day=1)
    return (start, end) if end > days[0] else None


def month_effect(*, start: date, end: date, on: date, before: PriceBook, after: PriceBook) -> MonthEffect:
    """What other prices would have done to days [start, end): all of their usage at the prices of one day, twice.

    It answers "what if last month had these prices", also where they begin later; the month itself changes nothing.
    """
    costs: dict[tuple[str, str], list[Decimal]] = defaultdict(lambda: [ZERO, ZERO])
    newly_tok = lost_tok = 0
    newly_usd = ZERO
    old, new = Pricer(before), Pricer(after)
    for row in usage_blocks(start=start, end=end, block_days=(end - start).days, keep=before.models | after.models):
        for kind in PRICED_KINDS:
            if not (units := row.counts[COUNTER_OF_KIND[kind]]):
                continue
            was, will = old.line(row.key, kind, units, on), new.line(row.key, kind, units, on)
            if isinstance(was, CostLine) and isinstance(will, CostLine):
                sums = costs[row.request_class, row.key.model]
                sums[0] += was.cost_usd
                sums[1] += will.cost_usd
            elif isinstance(will, CostLine):
                newly_usd += will.cost_usd
                newly_tok += units if kind != "web_search" else 0
            elif isinstance(was, CostLine):
                lost_tok += units if kind != "web_search" else 0
    rows = [EffectRow(name, model, was, will) for (name, model), (was, will) in sorted(costs.items())]
    return MonthEffect(start, end, on, tuple(rows), newly_tok, newly_usd, lost_tok)
