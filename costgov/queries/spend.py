"""Spend as people and machines read it: cost by any dimensions, with unpriced and unclassified quantities beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from billing.core.money import ZERO, sum_usd
from billing.core.pricebook import PriceBook
from billing.core.usage import COUNTERS
from billing.queries.books import book_for
from billing.queries.drivers import costs_on, usage_blocks
from billing.queries.prices import price_book, release_facts
from billing.queries.usage import DIMENSIONS, PricedGroup, UnpricedUsage, priced_usage, usage_days
from routing.queries.recommendation import CurrentCost

TIER: Final = "tier"
SPEND_DIMENSIONS: Final = (*DIMENSIONS, TIER)


class UnknownDimension(ValueError):
    """Spend cannot be told apart by this; the message lists what it can."""


@dataclass(frozen=True, slots=True)
class SpendRow:
    """One combination of dimension values. `cost_usd` covers the priced part; `unpriced_tok` has no price yet.

    With what is unpriced it costs from `lowest_usd` to `highest_usd`: both are `cost_usd` where everything has a price;
    `highest_usd` None = some of it may cost anything, for `unpriced` says why.
    """

    group: Mapping[str, str]
    cost_usd: Decimal
    uncached_input_tok: int
    cache_read_tok: int
    cache_write_5m_tok: int
    cache_write_1h_tok: int
    output_tok: int
    web_searches: int
    requests: int | None
    unpriced_tok: int
    unpriced_searches: int
    lowest_usd: Decimal
    highest_usd: Decimal | None

    @property
    def is_interval(self) -> bool:
        """The data leaves the cost open, but between two bounds."""
        return self.highest_usd is not None and self.highest_usd != self.lowest_usd


@dataclass(frozen=True, slots=True)
class Unclassified:
    """Usage without a class: part of the total."""

    tokens: int
    cost_usd: Decimal
    share_of_tokens: float


@dataclass(frozen=True, slots=True)
class SpendReport:
    """Cost of days [start, end). The rows sum exactly to the total.

    `basis`: at list prices (`list`) or under the approved contracts (`contracted`). `scenario` names the what-if prices
    used instead of the list ('' = none); `prices` says in words what it was priced with.
    """

    start: date
    end: date
    by: tuple[str, ...]
    rows: tuple[SpendRow, ...]
    total: SpendRow
    unpriced: tuple[UnpricedUsage, ...]
    unclassified: Unclassified
    basis: str
    scenario: str
    prices: str


def spend(
    *,
    start: date | None = None,
    end: date | None = None,
    by: Sequence[str] = ("class",),
    book: PriceBook | None = None,
    basis: str = "list",
    scenario: str = "",
) -> SpendReport:
    """Spend by dimensions, dearest first (days, months in order). Raises UnknownDimension, UnknownPrices, ValueError.

    `basis` `contracted`: under the approved contracts. `scenario`: at what-if prices, by their name. `book`: the list
    prices, for a caller that asks several times; otherwise they are read.
    """
    unknown = [name for name in by if name not in SPEND_DIMENSIONS]
    if unknown:
        raise UnknownDimension(f"unknown --by {', '.join(unknown)}; choose from {', '.join(sorted(SPEND_DIMENSIONS))}")
    held = usage_days()
    first = start or (held[0] if held else date(1970, 1, 1))
    last = end or (held[1] + timedelta(days=1) if held else first + timedelta(days=1))
    if first >= last:
        raise ValueError(f"the period is empty: it starts {first} and ends before {last}; give an earlier start")
    wanted = list(dict.fromkeys([*("model" if name == TIER else name for name in by), "class"]))
    priced = book_for(basis=basis, scenario=scenario, book=book)
    usage = priced_usage(start=first, end=last, by=wanted, book=priced.book)
    tiers = {name: facts.tier for name, facts in release_facts().items()} if TIER in by else {}
    merged: dict[tuple[str, ...], list[PricedGroup]] = {}
    for group in usage.groups:
        values = dict(zip(wanted, group.values, strict=True))
        if TIER in by:
            values[TIER] = tiers.get(values["model"], "other")
        merged.setdefault(tuple(values[name] for name in by), []).append(group)
    rows = [_row(dict(zip(by, values, strict=True)), groups) for values, groups in merged.items()]
    dated = [name for name in by if name in ("day", "month")]
    rows.sort(key=lambda row: ([row.group[name] for name in dated], -row.cost_usd, list(row.group.values())))
    total = _row({}, list(usage.groups))
    return SpendReport(
        start=first,
        end=last,
        by=tuple(by),
        rows=tuple(rows),
        total=total,
        unpriced=usage.unpriced,
        unclassified=_unclassified([group for group in usage.groups if not group.values[wanted.index("class")]], total),
        basis=priced.basis,
        scenario=priced.scenario,
        prices=priced.words,
    )


def current_costs(*, start: date, end: date, on: date) -> dict[str, CurrentCost]:
    """What each class's usage of days [start, end) costs at the list prices of one day."""
    usage = [row for row in usage_blocks(start=start, end=end, block_days=(end - start).days) if row.request_class]
    book = price_book()
    plain = [replace(row, key=replace(row.key, geo="global", speed="standard")) for row in usage]
    own, global_standard = costs_on(usage, book, on), costs_on(plain, book, on)
    found = {}
    for (request_class, block), cost in own.items():
        if not cost.is_priced:
            found[request_class] = CurrentCost(None)
            continue
        usual = global_standard[request_class, block]
        tokens_usd, usual_usd = cost.cost_usd - cost.searches_usd, usual.cost_usd - usual.searches_usd
        premium = tokens_usd / usual_usd if usual.is_priced and usual_usd else Decimal(1)
        found[request_class] = CurrentCost(cost.cost_usd, premium, cost.searches_usd)
    return found


def _row(values: Mapping[str, str], groups: Sequence[PricedGroup]) -> SpendRow:
    counts = {name: sum(group.counts[name] for group in groups) for name in COUNTERS}
    unknown = any(group.requests is None for group in groups)
    cost = sum_usd(group.cost_usd for group in groups)
    most = [group.most_usd for group in groups]
    return SpendRow(
        group=values,
        cost_usd=cost,
        lowest_usd=cost + sum_usd(group.least_usd for group in groups),
        highest_usd=None if None in most else cost + sum_usd(usd for usd in most if usd is not None),
        requests=None if unknown else sum(group.requests or 0 for group in groups),
        unpriced_tok=sum(group.unpriced_tok for group in groups),
        unpriced_searches=sum(group.unpriced_searches for group in groups),
        **counts,
    )


def _unclassified(groups: Sequence[PricedGroup], total: SpendRow) -> Unclassified:
    row = _row({}, groups)
    tokens, whole = _tokens(row), _tokens(total)
    return Unclassified(tokens, row.cost_usd if groups else ZERO, tokens / whole if whole else 0.0)


def _tokens(row: SpendRow) -> int:
    written = row.cache_write_5m_tok + row.cache_write_1h_tok
    return row.uncached_input_tok + row.cache_read_tok + written + row.output_tok
