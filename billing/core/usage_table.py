"""Counted usage in columns: three years of it priced and summed by anything in milliseconds, exactly.

Every row is a day, a key (an index into a list of keys) and its counters. Sums are 64-bit integers; a cost is a whole
number of 10^-places usd, where `places` is what the prices need, so sums of costs are exact too. Whatever could leave
64 bits raises TooLarge before anything is summed: then the same is done with whole numbers of any size (`widened`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from billing.core.money import EXACT
from billing.core.pricebook import PriceKey
from billing.core.pricing import CostLine, Pricer, UnpricedLine
from billing.core.usage import COUNTER_OF_KIND, COUNTERS, PRICED_KINDS

Ints = NDArray[np.int64]
Small = NDArray[np.int32]
Rows = slice | NDArray[np.bool_] | NDArray[np.int64]
UNKNOWN_REQUESTS: Final = -1
MAX_SUM: Final = 2**62
UNKNOWN_SHOWN: Final = 50  # models no price is known of that are named one by one
KIND_ROWS: Final = tuple(COUNTERS.index(COUNTER_OF_KIND[kind]) for kind in PRICED_KINDS)


class TooLarge(ArithmeticError):
    """Sums of this usage may not fit in 64 bits."""


@dataclass(frozen=True)
class UsageTable:
    """Rows of counted usage. `days`: ordinals (date.toordinal); `counts`: one row of numbers per counter, in the order
    of COUNTERS; `requests`: −1 where the source does not say. `keys`: the values of `names`, one tuple per key.

    `codings`: the code of each key by name, as asked for; parts share it, so a page that asks ten times sorts once.
    """

    names: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]
    days: Small
    key: Small
    counts: Ints
    requests: Ints
    codings: "dict[str, Codes]" = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.days)

    def part(self, rows: Rows) -> "UsageTable":
        """Some of the rows, with the same keys."""
        return replace(
            self,
            days=self.days[rows],
            key=self.key[rows],
            counts=self.counts[:, rows],
            requests=self.requests[rows],
        )

    def between(self, start: date, end: date) -> slice:
        """Where the rows of days [start, end) are; the rows are in order of their day."""
        first, stop = np.searchsorted(self.days, [start.toordinal(), end.toordinal()])
        return slice(int(first), int(stop))

    def column(self, name: str) -> list[str]:
        """The value of one name for every key."""
        place = self.names.index(name)
        return [values[place] for values in self.keys]


@dataclass(frozen=True)
class Bounds:
    """What unpriced units cost at least and at most per row and kind; `open` where nobody can say (then both are 0)."""

    least: Ints
    most: Ints
    open: NDArray[np.bool_]

    def part(self, rows: Rows) -> "Bounds":
        return Bounds(self.least[:, rows], self.most[:, rows], self.open[:, rows])


@dataclass(frozen=True)
class Costs:
    """Cost of every row and kind, in 10^-places usd; `unpriced` where a row has units of a kind without a price.

    `bounds` of what is unpriced; None where everything has a price.
    """

    places: int
    cost: Ints
    unpriced: NDArray[np.bool_]
    bounds: Bounds | None = None

    def usd(self, units: int) -> Decimal:
        """A sum of costs as dollars, exact."""
        return EXACT.scaleb(Decimal(units), -self.places)

    def part(self, rows: Rows) -> "Costs":
        """The costs of `table.part(rows)`."""
        bounds = self.bounds.part(rows) if self.bounds is not None else None
        return Costs(self.places, self.cost[:, rows], self.unpriced[:, rows], bounds)


def widened(table: UsageTable) -> UsageTable:
    """The same with whole numbers of any size: slow, for what does not fit in 64 bits."""
    return replace(table, counts=table.counts.astype(object), requests=table.requests.astype(object))


def costs_of(table: UsageTable, pricer: Pricer) -> Costs:
    """Every row at its own day's price. Raises TooLarge unless the table is `widened`.

    A look-up is made once per price key and stretch of days between two changes of any price, as the book gives the
    same answer all along. Of a model no price is known of none is made.
    """
    width = len(pricer.book.change_days()) + 1
    price_keys, place = _places(table, pricer)
    is_wide = table.counts.dtype == np.dtype(object)
    if not is_wide and len(table) and _float_sum(table.counts) + _float_sum(np.abs(table.requests)) >= MAX_SUM:
        raise TooLarge("the counts of this usage do not fit in 64 bits")
    size = len(price_keys) * width
    day_of = np.zeros(size, dtype=np.int64)
    known = pricer.book.priced_models
    may_cost = np.repeat(np.array([key.model in known for key in price_keys], dtype=bool), width)
    day_of[place] = table.days  # any day will do: all of a place lie between the same two changes of price
    found: _Rates = {}
    low: _Rates = {}
    high: _Rates = {}
    for line, kind in enumerate(PRICED_KINDS):
        used = np.zeros(size, dtype=bool)
        used[place[table.counts[KIND_ROWS[line]] > 0]] = True
        for spot in np.flatnonzero(used & may_cost).tolist():
            priced = pricer.line(price_keys[spot // width], kind, 1, date.fromordinal(int(day_of[spot])))
            if isinstance(priced, CostLine):
                found[line, spot] = priced.price.usd_per_each.normalize(EXACT)
            elif priced.lowest_usd is not None and priced.highest_usd is not None:
                low[line, spot] = priced.lowest_usd.normalize(EXACT)
                high[line, spot] = priced.highest_usd.normalize(EXACT)
    places = max([6, *(-_exponent(rate) for rates in (found, low, high) for rate in rates.values())])
    rates = _rates(found, places, size, table.counts.dtype)
    if not is_wide:
        _check_sums(table, rates)
    cost = np.zeros_like(table.counts)
    unpriced = np.zeros(table.counts.shape, dtype=bool)
    for line, row in enumerate(KIND_ROWS):
        rate = rates[line][place]
        unpriced[row] = (rate < 0) & (table.counts[row] > 0)
        cost[row] = table.counts[row] * np.where(rate < 0, 0, rate)
    if not unpriced.any():
        return Costs(places, cost, unpriced)
    lows, highs = (_rates(rates, places, size, table.counts.dtype) for rates in (low, high))
    if not is_wide:
        _check_sums(table, highs)
    return Costs(places, cost, unpriced, _bounds(table, place, unpriced, lows, highs))


def _bounds(
    table: UsageTable, place: Ints, unpriced: NDArray[np.bool_], lows: Sequence[Ints], highs: Sequence[Ints]
) -> Bounds:
    least, most = np.zeros_like(table.counts), np.zeros_like(table.counts)
    is_open = np.zeros(table.counts.shape, dtype=bool)
    for line, row in enumerate(KIND_ROWS):
        low, high = lows[line][place], highs[line][place]
        is_open[row] = unpriced[row] & (low < 0)
        known = unpriced[row] & (low >= 0)
        least[row] = np.where(known, table.counts[row] * np.where(known, low, 0), 0)
        most[row] = np.where(known, table.counts[row] * np.where(known, high, 0), 0)
    return Bounds(least, most, is_open)


@dataclass(frozen=True, slots=True)
class OtherUnpriced:
    """What many models that no price is known of have together, beside those named: its cost is unknown."""

    models: int
    tokens: int
    searches: int
    first_day: date
    last_day: date


@dataclass(frozen=True, slots=True)
class Missing:
    """What has no price, with the first and last day of it; `rest` is not among the lines."""

    lines: tuple[tuple[UnpricedLine, date, date], ...]
    rest: OtherUnpriced | None


def missing_lines(table: UsageTable, costs: Costs, pricer: Pricer, kinds: Sequence[str] = PRICED_KINDS) -> Missing:
    """What has no price: a line per price key, kind and stretch of days.

    Models the book knows are all there; of those it does not, the UNKNOWN_SHOWN with the most tokens, the others as one
    sum: a log with a new name on every line would else make as many lines as it has.
    """
    asked = [(row, kind) for row, kind in zip(KIND_ROWS, PRICED_KINDS, strict=True) if kind in kinds]
    rows = np.flatnonzero(costs.unpriced[[row for row, _ in asked]].any(axis=0))
    if not len(rows):
        return Missing((), None)
    some, unpriced = table.part(rows), costs.unpriced[:, rows]
    units = np.zeros_like(some.counts)
    for row, _ in asked:
        units[row] = np.where(unpriced[row], some.counts[row], 0)
    is_named, rest = _named_models(some, units, pricer.book.priced_models)
    if rest is not None:
        some, units = some.part(is_named), units[:, is_named]
    some = _used_keys(some)
    price_keys, place = _places(some, pricer)
    width = len(pricer.book.change_days()) + 1
    found = []
    for row, kind in asked:
        here = np.flatnonzero(units[row] > 0)
        if not len(here):
            continue
        here = here[np.argsort(place[here], kind="stable")]
        spots = place[here]
        starts = np.flatnonzero(np.concatenate(([True], spots[1:] != spots[:-1])))
        sums = np.add.reduceat(units[row][here], starts)
        days = some.days[here]
        firsts, lasts = np.minimum.reduceat(days, starts), np.maximum.reduceat(days, starts)
        for n, spot in enumerate(spots[starts].tolist()):
            first, last = date.fromordinal(int(firsts[n])), date.fromordinal(int(lasts[n]))
            priced = pricer.line(price_keys[spot // width], kind, int(sums[n]), first)
            if isinstance(priced, UnpricedLine):
                found.append((priced, first, last))
    return Missing(tuple(found), rest)


def _named_models(
    table: UsageTable, units: Ints, known: frozenset[str]
) -> tuple[NDArray[np.bool_], OtherUnpriced | None]:
    """Rows of models to be named, and what the others have together. `units` without a price, a line per counter."""
    models = codes_of_name(table, "model")
    tokens, searches = units[:-1].sum(axis=0), units[-1]
    is_unknown = np.array([label not in known and label != "" for label in models.labels])
    is_here = np.zeros(len(models.labels), dtype=bool)
    is_here[models.code] = True
    is_unknown &= is_here
    if int(is_unknown.sum()) <= UNKNOWN_SHOWN:
        return np.ones(len(table), dtype=bool), None
    by_model = np.zeros((2, len(models.labels)), dtype=units.dtype)
    np.add.at(by_model[0], models.code, tokens)
    np.add.at(by_model[1], models.code, searches)
    unknown = _most_first(np.flatnonzero(is_unknown), by_model)
    is_other = np.zeros(len(models.labels), dtype=bool)
    is_other[unknown[UNKNOWN_SHOWN:]] = True
    others = is_other[models.code]
    rest = OtherUnpriced(
        models=len(unknown) - UNKNOWN_SHOWN,
        tokens=int(tokens[others].sum()),
        searches=int(searches[others].sum()),
        first_day=date.fromordinal(int(table.days[others].min())),
        last_day=date.fromordinal(int(table.days[others].max())),
    )
    return ~others, rest


def _most_first(places: Ints, by_model: Ints) -> Ints:
    """Models by their tokens, then their searches, then their names."""
    if by_model.dtype == np.dtype(object):  # numpy sorts no numbers of any size by two columns
        return np.array(sorted(places.tolist(), key=lambda n: (-by_model[0, n], -by_model[1, n], n)), np.int64)
    return places[np.lexsort((places, -by_model[1, places], -by_model[0, places]))]


def _used_keys(table: UsageTable) -> UsageTable:
    """The same rows with only the keys they have."""
    used, key = np.unique(table.key, return_inverse=True)
    return replace(table, keys=tuple(table.keys[n] for n in used.tolist()), key=key.astype(np.int32), codings={})


_Rates = dict[tuple[int, int], Decimal]  # by number of the kind and place


def _places(table: UsageTable, pricer: Pricer) -> tuple[list[PriceKey], Ints]:
    """The price keys of a table, and for each row key × (changes + 1) + the stretch of days it lies in."""
    changes = np.array([day.toordinal() for day in pricer.book.change_days()], dtype=np.int32)
    price_keys, of_key = _price_keys(table, pricer.book.by_channel)
    segment = np.searchsorted(changes, table.days, side="right").astype(np.int64)
    if not len(table):
        return price_keys, segment
    return price_keys, of_key[table.key].astype(np.int64) * (len(changes) + 1) + segment


def _float_sum(values: Ints) -> float:
    return float(values.sum(dtype=np.float64))


def _price_keys(table: UsageTable, by_channel: bool) -> tuple[list[PriceKey], Small]:
    """The different price keys of a table's rows, and which one each of its used keys has.

    A part of a table has the keys of the whole, which may be very many more than its own.
    """
    names = ["model", "service_tier", "prompt_length_band", "geo", "speed", *(["channel"] if by_channel else [])]
    places = [table.names.index(name) for name in names]
    numbers: dict[tuple[str, ...], int] = {}
    of_key = np.zeros(len(table.keys), np.int32)
    for n in np.unique(table.key).tolist():
        values = table.keys[n]
        of_key[n] = numbers.setdefault(tuple([values[place] for place in places]), len(numbers))
    return [PriceKey(**dict(zip(names, values, strict=True))) for values in numbers], of_key


def _rates(found: Mapping[tuple[int, int], Decimal], places: int, size: int, dtype: Any) -> list[Ints]:
    """Usd per one of each kind and place as whole numbers of 10^-places; −1 = no price."""
    rates = [np.full(size, -1, dtype=dtype) for _ in PRICED_KINDS]
    for (line, spot), rate in found.items():
        whole = int(EXACT.scaleb(rate, places))
        if whole >= MAX_SUM and dtype is not np.dtype(object):
            raise TooLarge(f"a price of {rate} does not fit in 64 bits")
        rates[line][spot] = whole
    return rates


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)  # a price is a finite number
    return exponent


def _check_sums(table: UsageTable, rates: Sequence[Ints]) -> None:
    """No sum of any rows can leave 64 bits: all units at the highest rate of their kind do not."""
    most = 0
    for line, rate in enumerate(rates):
        units = int(table.counts[KIND_ROWS[line]].sum()) if len(table) else 0
        most += units * max(int(rate.max(initial=0)), 0)
    if most >= MAX_SUM:
        raise TooLarge("the cost of this usage does not fit in 64 bits")


@dataclass(frozen=True)
class Codes:
    """A dimension: the code of every row, and the words of every code, ascending."""

    code: Ints
    labels: tuple[str, ...]


def codes_of_name(table: UsageTable, name: str) -> Codes:
    """The dimension of one of the table's names."""
    coding = table.codings.get(name)
    if coding is None:
        coding = table.codings[name] = _coded(table.column(name))
    return Codes(coding.code[table.key] if len(coding.labels) > 1 else np.zeros(len(table), np.int64), coding.labels)


def _coded(values: Sequence[str]) -> Codes:
    labels = tuple(sorted(set(values)))
    places = {label: n for n, label in enumerate(labels)}
    return Codes(np.array([places[value] for value in values], dtype=np.int64), labels)


def codes_in_words(codes: Codes, words: Sequence[str]) -> Codes:
    """The same rows by other words, one for each label; labels with the same word become one."""
    coding = _coded(words)
    return Codes(coding.code[codes.code], coding.labels)


def codes_of_days(table: UsageTable, word: Callable[[date], str]) -> Codes:
    """A dimension every day has one value of."""
    if not len(table):
        return Codes(np.zeros(0, np.int64), ())
    low = int(table.days.min())
    words = [word(date.fromordinal(day)) for day in range(low, int(table.days.max()) + 1)]
    labels = tuple(sorted(set(words)))
    places = {label: n for n, label in enumerate(labels)}
    return Codes(np.array([places[one] for one in words], dtype=np.int64)[table.days - low], labels)


def codes_of_places(table: UsageTable, starts: Sequence[date], values: Sequence[Sequence[str]]) -> Codes:
    """A dimension of key and time: `values[key][n]` holds from starts[n − 1] (the first: always) up to starts[n]."""
    labels = tuple(sorted({value for line in values for value in line})) or ("",)
    places = {label: n for n, label in enumerate(labels)}
    held = np.array([[places[value] for value in line] for line in values], dtype=np.int64)
    held = held.reshape(len(values), len(starts) + 1)
    edges = np.array([day.toordinal() for day in starts], dtype=np.int32)
    return Codes(held[table.key, np.searchsorted(edges, table.days, side="right")], labels)


@dataclass(frozen=True)
class Groups:
    """Sums by the values of some dimensions, ascending by their codes. `cost` in 10^-places usd of the prices.

    Beside it what has no price costs from `least` to `most`, or anything where `open` is not 0.
    """

    values: tuple[Ints, ...]
    counts: Ints
    requests: Ints
    cost: Ints
    unpriced: Ints
    least: Ints
    most: Ints
    open: Ints

    def __len__(self) -> int:
        return len(self.cost)


def grouped(table: UsageTable, costs: Costs, by: Sequence[Codes]) -> Groups:
    """Sums of counters, requests (−1: some row does not say), costs and unpriced units per counter. Exact."""
    runs = _Runs.of(table, by)
    bounds = costs.bounds
    nothing = np.zeros(len(runs.starts), np.int64)
    return Groups(
        values=runs.values,
        counts=runs.each(table.counts),
        requests=_requests(table, runs),
        cost=runs.sums(_over_kinds(costs.cost)),
        unpriced=_unpriced(table, costs, runs),
        least=runs.sums(_over_kinds(bounds.least)) if bounds is not None else nothing,
        most=runs.sums(_over_kinds(bounds.most)) if bounds is not None else nothing,
        open=runs.sums(_over_kinds(bounds.open.astype(np.int64))) if bounds is not None else nothing,
    )


KIND_CODES: Final = Codes(np.zeros(0, np.int64), tuple(sorted(PRICED_KINDS)))


def grouped_by_kind(
    table: UsageTable, costs: Costs, by: Sequence[Codes], place: int, kinds: Sequence[str] = PRICED_KINDS
) -> Groups:
    """As `grouped`, and apart by kind: kinds stand at `place` of the values, coded as KIND_CODES. Only some `kinds`.

    A request is of no one kind: requests are unknown (−1).
    """
    runs = _Runs.of(table, by)
    counts, cost, unpriced = runs.each(table.counts), runs.each(costs.cost), _unpriced(table, costs, runs)
    bounds = costs.bounds
    none = np.zeros_like(unpriced)
    least, most, is_open = (
        (runs.each(bounds.least), runs.each(bounds.most), runs.each(bounds.open.astype(np.int64)))
        if bounds is not None
        else (none, none, none)
    )
    parts = []
    for row, kind in zip(KIND_ROWS, PRICED_KINDS, strict=True):
        if kind in kinds:
            held = np.flatnonzero(counts[row] > 0)
            code = np.full(len(held), KIND_CODES.labels.index(kind), np.int64)
            values = [found[held] for found in runs.values]
            columns = (counts[row], cost[row], unpriced[row], least[row], most[row], is_open[row])
            parts.append((row, (*values[:place], code, *values[place:]), [column[held] for column in columns]))
    joined = [np.concatenate([part[1][n] for part in parts]) for n in range(len(by) + 1)]
    order = np.lexsort(joined[::-1])
    figures = [np.concatenate([part[2][n] for part in parts])[order] for n in range(6)]
    line = np.concatenate([np.full(len(part[2][0]), part[0], np.int64) for part in parts])[order]
    one_of = line[None, :] == np.arange(len(COUNTERS))[:, None]
    return Groups(
        values=tuple(column[order] for column in joined),
        counts=np.where(one_of, figures[0][None, :], 0),
        requests=np.full(len(order), UNKNOWN_REQUESTS, np.int64),
        cost=figures[1],
        unpriced=np.where(one_of, figures[2][None, :], 0),
        least=figures[3],
        most=figures[4],
        open=figures[5],
    )


@dataclass(frozen=True)
class _Runs:
    """Rows in an order in which those of one group are neighbours (None: they are), and where each group starts."""

    order: NDArray[np.int64] | None
    starts: NDArray[np.int64]
    values: tuple[Ints, ...]

    @classmethod
    def of(cls, table: UsageTable, by: Sequence[Codes]) -> "_Runs":
        if not len(table):
            empty = np.zeros(0, np.int64)
            return cls(None, empty, tuple(empty for _ in by))
        code = np.zeros(len(table), dtype=np.int64)
        radix = 1
        for one in by:
            radix *= len(one.labels)
            if radix >= MAX_SUM:
                raise TooLarge("there are too many combinations to number")
            code = code * len(one.labels) + one.code
        order = None
        if not (np.diff(code) >= 0).all():
            # numpy sorts 16 bits by radix, several times faster than 64 bits by comparison
            order = np.argsort(code.astype(np.uint16) if radix <= 1 << 16 else code, kind="stable").astype(np.int64)
            code = code[order]
        starts = np.flatnonzero(np.concatenate(([True], code[1:] != code[:-1]))).astype(np.int64)
        left = code[starts]
        values = []
        for one in reversed(by):
            values.append(left % len(one.labels))
            left = left // len(one.labels)
        return cls(order, starts, tuple(reversed(values)))

    def sums(self, values: Ints) -> Ints:
        if not len(self.starts):
            return np.zeros(0, values.dtype)
        return np.asarray(np.add.reduceat(values if self.order is None else values[self.order], self.starts))

    def each(self, values: Ints) -> Ints:
        """Sums of every line of a table of numbers; a line of zeros costs nothing."""
        nothing = np.zeros(len(self.starts), np.int64)
        return np.stack([self.sums(np.asarray(row)) if row.any() else nothing for row in values])


def _requests(table: UsageTable, runs: _Runs) -> Ints:
    untold = table.requests < 0
    if not untold.any():
        return runs.sums(table.requests)
    known = runs.sums(np.asarray(np.where(untold, 0, table.requests)))
    return np.asarray(np.where(runs.sums(untold.astype(np.int64)) > 0, UNKNOWN_REQUESTS, known))


def _unpriced(table: UsageTable, costs: Costs, runs: _Runs) -> Ints:
    if not costs.unpriced.any():
        return np.zeros((len(COUNTERS), len(runs.starts)), np.int64)
    return runs.each(np.asarray(np.where(costs.unpriced, table.counts, 0)))


def _over_kinds(values: Ints) -> Ints:
    return np.asarray(values.sum(axis=0))
