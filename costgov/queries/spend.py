"""Spend as people and machines read it: cost by any dimensions, with unpriced and unclassified quantities beside it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

from billing.core.money import ZERO
from billing.core.periods import next_month
from billing.core.pricebook import PriceBook
from billing.core.usage import COUNTERS
from billing.core.usage_table import OtherUnpriced
from billing.models import BillingPeriod
from billing.queries.books import book_for
from billing.queries.drivers import BlockCost, costs_on, usage_blocks
from billing.queries.prices import price_book
from billing.queries.usage import UnpricedUsage, unpriced_usage, usage_days
from billing.queries.usage_sums import DIMENSIONS, NAMED_MODEL, TIME_DIMENSIONS, UsageSums, usage_sums
from billing.queries.usage_table import list_book
from routing.queries.recommendation import CurrentCost

SPEND_DIMENSIONS: Final = DIMENSIONS
NO_USAGE: Final = "There is no usage yet: import request logs or usage reports."
_BATCH: Final = 5_000


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
    def is_unknown(self) -> bool:
        """Nothing of it has a price: what it costs is not known, and no 0."""
        return not self.cost_usd and bool(self.unpriced_tok or self.unpriced_searches)

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
    used instead of the list ('' = none); `prices` says in words what it was priced with. `where`: only usage with these
    values. `row_count` groups there are; those beyond the rows are summed in `rest`. `start` and `end` are None where
    no days were asked for and there is no usage of any: `note` says so.
    """

    start: date | None
    end: date | None
    by: tuple[str, ...]
    rows: tuple[SpendRow, ...]
    total: SpendRow
    unpriced: tuple[UnpricedUsage, ...]
    unclassified: Unclassified
    basis: str
    scenario: str
    prices: str
    where: Mapping[str, str]
    row_count: int
    rest: SpendRow | None
    closed_usd: Decimal | None = None
    """What the month was closed with, where all usage of one closed month is asked for, at list prices."""
    unpriced_rest: OtherUnpriced | None = None
    """What models beyond those named in `unpriced` have together: in the total as well."""
    since_closed_usd: Decimal | None = None
    """What came after its closing: in the total, but booked as the month's adjustment. None where nothing did."""
    note: str = ""
    """Why there is nothing to see, in a sentence."""


def spend(
    *,
    start: date | None = None,
    end: date | None = None,
    by: Sequence[str] = ("class",),
    where: Mapping[str, str] | None = None,
    limit: int | None = None,
    book: PriceBook | None = None,
    basis: str = "list",
    scenario: str = "",
    is_folded: bool = False,
) -> SpendReport:
    """Spend by dimensions, dearest first (time in order). Raises UnknownDimension, UnknownPrices, ValueError.

    `where`: only usage with these values ('' = none: no class, no cost centre). `limit`: at most so many rows; the
    others are summed in `rest`. `basis` `contracted`: under the approved contracts. `scenario`: at what-if prices, by
    their name. `book`: the list prices, for a caller that asks several times; otherwise they are read. `is_folded`: by
    model, most of very many unknown ones are one (`billing.queries.named_models`).
    """
    _check_names(by, where or {})
    first, last = spend_period(start, end)
    priced = book_for(basis=basis, scenario=scenario, book=book if book is not None else list_book())
    only = dict(where or {})
    told = [NAMED_MODEL if is_folded and name == "model" else name for name in by]
    sums = replace(usage_sums(start=first, end=last, by=told, where=only, book=priced.book), by=tuple(by))
    order = _order(sums)
    shown = order if limit is None else order[:limit]
    total = _sum_row(sums, order)
    closed = _closed_usd(first, last) if not only and priced.basis == "list" and not priced.scenario else None
    is_empty = start is None and usage_days() is None
    return SpendReport(
        start=None if is_empty else first,
        end=end if is_empty else last,
        by=tuple(by),
        rows=tuple(_rows(sums, shown)),
        total=total,
        unpriced=unpriced_usage(sums.missing.lines),
        unpriced_rest=sums.missing.rest,
        unclassified=_unclassified(first, last, only, priced.book, total),
        basis=priced.basis,
        scenario=priced.scenario,
        prices=priced.words,
        where=only,
        row_count=len(sums),
        rest=_sum_row(sums, order[len(shown) :]) if len(shown) < len(order) else None,
        closed_usd=closed,
        since_closed_usd=None if closed is None else total.cost_usd - closed or None,
        note=NO_USAGE if is_empty else "",
    )


@dataclass(frozen=True, slots=True)
class SpendRows:
    """Rows for a file, made as they are read: `row_count` of them, which may be a million."""

    by: tuple[str, ...]
    rows: Iterator[SpendRow]
    row_count: int


def spend_rows(
    *,
    start: date | None,
    end: date | None,
    by: Sequence[str],
    where: Mapping[str, str] | None = None,
    basis: str = "list",
    scenario: str = "",
) -> SpendRows:
    """All rows `spend` would have, in its order. Raises as it does."""
    _check_names(by, where or {})
    first, last = spend_period(start, end)
    priced = book_for(basis=basis, scenario=scenario, book=list_book())
    sums = usage_sums(start=first, end=last, by=by, where=where, book=priced.book)
    return SpendRows(tuple(by), _rows(sums, _order(sums)), len(sums))


def _check_names(by: Sequence[str], where: Mapping[str, str]) -> None:
    unknown = [name for name in (*by, *where) if name not in SPEND_DIMENSIONS]
    if unknown:
        known = ", ".join(sorted(SPEND_DIMENSIONS))
        raise UnknownDimension(f"unknown grouping {', '.join(unknown)}; choose from {known}")
    if len(set(by)) < len(by):
        raise ValueError(f"a grouping is named twice: {', '.join(by)}")


def _closed_usd(start: date, end: date) -> Decimal | None:
    """What usage of days [start, end) cost when it was closed: None unless they are one closed month."""
    if start.day != 1 or end != next_month(start):
        return None
    closed = BillingPeriod.objects.filter(month=start, state=BillingPeriod.State.CLOSED).first()
    return Decimal(str(closed.frozen["computed_usd"])) if closed is not None else None


def spend_period(start: date | None, end: date | None) -> tuple[date, date]:
    """Days [start, end), by default all with usage; without any some day. Raises ValueError for none."""
    held = usage_days()
    first = start or (held[0] if held else date(1970, 1, 1))
    last = end or (held[1] + timedelta(days=1) if held else first + timedelta(days=1))
    if first >= last:
        raise ValueError(f"the period is empty: it starts {first} and ends before {last}; give an earlier start")
    return first, last


def current_costs(*, start: date, end: date, on: date) -> dict[str, CurrentCost]:
    """What each class's usage of days [start, end) costs at the list prices of one day."""
    usage = [row for row in usage_blocks(start=start, end=end, block_days=(end - start).days) if row.request_class]
    book = price_book()
    plain = [replace(row, key=replace(row.key, geo="global", speed="standard")) for row in usage]
    own, global_standard = costs_on(usage, book, on), costs_on(plain, book, on)
    at_own_speed = global_standard
    if any(row.key.speed not in ("", "standard") for row in usage):
        at_own_speed = costs_on([replace(row, key=replace(row.key, geo="global")) for row in usage], book, on)
    found = {}
    for (request_class, block), cost in own.items():
        if not cost.is_priced:
            found[request_class] = CurrentCost(None)
            continue
        usual, fast = global_standard[request_class, block], at_own_speed[request_class, block]
        found[request_class] = CurrentCost(
            cost.cost_usd, _premium(cost, usual), cost.searches_usd, speed_premium=_premium(fast, usual)
        )
    return found


def _premium(cost: BlockCost, usual: BlockCost) -> Decimal:
    """What tokens cost over what the same cost globally at standard speed; 1 where either has no price."""
    tokens_usd, usual_usd = cost.cost_usd - cost.searches_usd, usual.cost_usd - usual.searches_usd
    return tokens_usd / usual_usd if cost.is_priced and usual.is_priced and usual_usd else Decimal(1)


def _order(sums: UsageSums) -> NDArray[np.int64]:
    """Groups as people read them: time in order, then the dearest, then by name."""
    dated = [held for name, held in zip(sums.by, sums.groups.values, strict=True) if name in TIME_DIMENSIONS]
    keys = [*reversed(sums.groups.values), -sums.groups.cost, *reversed(dated)]
    if sums.groups.cost.dtype == np.dtype(object):  # too large for 64 bits: sorted one by one
        lines = list(zip(*(key.tolist() for key in reversed(keys)), strict=True))
        return np.array(sorted(range(len(sums)), key=lambda n: lines[n]), dtype=np.int64)
    return np.lexsort(keys).astype(np.int64) if keys else np.arange(len(sums), dtype=np.int64)


def _rows(sums: UsageSums, places: NDArray[np.int64]) -> Iterator[SpendRow]:
    """Some groups as rows, in the order given; a part at a time, as numbers of Python need many times the memory."""
    for first in range(0, len(places), _BATCH):
        yield from _batch(sums, places[first : first + _BATCH])


def _batch(sums: UsageSums, where: NDArray[np.int64]) -> Iterator[SpendRow]:
    groups, usd = sums.groups, sums.costs.usd
    labels = [codes.labels for codes in sums.codes]
    values = [held[where].tolist() for held in groups.values]
    counts = [row[where].tolist() for row in groups.counts]
    unpriced = groups.unpriced[:, where]
    columns = (groups.requests, groups.cost, groups.least, groups.most, groups.open)
    requests, cost, least, most, is_open = (column[where].tolist() for column in columns)
    tokens, searches = unpriced[:-1].sum(axis=0).tolist(), unpriced[-1].tolist()
    for n in range(len(where)):
        cost_usd = usd(cost[n])
        is_bounded = least[n] or most[n] or is_open[n]
        yield SpendRow(
            group={name: labels[i][values[i][n]] for i, name in enumerate(sums.by)},
            cost_usd=cost_usd,
            uncached_input_tok=counts[0][n],
            cache_read_tok=counts[1][n],
            cache_write_5m_tok=counts[2][n],
            cache_write_1h_tok=counts[3][n],
            output_tok=counts[4][n],
            web_searches=counts[5][n],
            requests=None if requests[n] < 0 else requests[n],
            unpriced_tok=tokens[n],
            unpriced_searches=searches[n],
            lowest_usd=usd(cost[n] + least[n]) if is_bounded else cost_usd,
            highest_usd=None if is_open[n] else usd(cost[n] + most[n]) if is_bounded else cost_usd,
        )


def _sum_row(sums: UsageSums, where: NDArray[np.int64]) -> SpendRow:
    """Several groups as one row."""
    groups, usd = sums.groups, sums.costs.usd
    requests = groups.requests[where]
    cost, least, most = (int(column[where].sum()) for column in (groups.cost, groups.least, groups.most))
    counts = {name: int(row[where].sum()) for name, row in zip(COUNTERS, groups.counts, strict=True)}
    unpriced = [int(row[where].sum()) for row in groups.unpriced]
    return SpendRow(
        group={},
        cost_usd=usd(cost),
        requests=None if (requests < 0).any() else int(requests.sum()),
        unpriced_tok=sum(unpriced[:-1]),
        unpriced_searches=unpriced[-1],
        lowest_usd=usd(cost + least),
        highest_usd=None if groups.open[where].any() else usd(cost + most),
        **counts,
    )


def _unclassified(start: date, end: date, where: Mapping[str, str], book: PriceBook, total: SpendRow) -> Unclassified:
    if where.get("class"):
        return Unclassified(0, ZERO, 0.0)
    sums = usage_sums(start=start, end=end, where={**where, "class": ""}, book=book)
    row = _sum_row(sums, np.arange(len(sums), dtype=np.int64))
    tokens, whole = _tokens(row), _tokens(total)
    return Unclassified(tokens, row.cost_usd, tokens / whole if whole else 0.0)


def _tokens(row: SpendRow) -> int:
    written = row.cache_write_5m_tok + row.cache_write_1h_tok
    return row.uncached_input_tok + row.cache_read_tok + written + row.output_tok
