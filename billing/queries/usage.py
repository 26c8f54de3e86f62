"""Counted usage with its prices: exact money, and what could not be priced with the reason and the remedy."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from django.db import connection

from billing.core.money import ZERO, sum_usd
from billing.core.pricebook import Cause, Price, PriceBook, PriceKey
from billing.core.pricing import CostLine, Pricer, UnpricedLine, cost_formula, interval
from billing.core.usage import COUNTER_OF_KIND, COUNTERS, PRICED_KINDS, TOKEN_KINDS
from billing.core.usage_table import UNKNOWN_SHOWN, OtherUnpriced
from billing.models import DailyUsage
from billing.queries.prices import price_book
from billing.queries.usage_sums import UsageSums, usage_sums

# What lines may be restricted to, as SQL.
_ONLY: Final = {"class": "request_class", "model": "model"}
_PRICE_COLUMNS: Final = ("model", "service_tier", "prompt_length_band", "geo", "speed")


@dataclass(frozen=True, slots=True)
class UnpricedUsage:
    """Tokens (or web searches) without a price: never $0, always with what to do, over the days of [first, last].

    `lowest_usd`, `highest_usd`: what it can cost where only the prompt length is missing, else None.
    """

    model: str
    token_kind: str
    service_tier: str
    prompt_length_band: str
    geo: str
    speed: str
    quantity: int
    reason: str
    remedy: str
    cause: Cause
    first_day: date
    last_day: date
    lowest_usd: Decimal | None
    highest_usd: Decimal | None


@dataclass
class PricedGroup:
    """Usage of one combination of dimension values. `requests` None = some of it does not tell.

    Beside `cost_usd` what has no price costs at least `least_usd`, and at most `most_usd` (None = nobody can say).
    """

    values: tuple[str, ...]
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    requests: int | None = 0
    cost_usd: Decimal = ZERO
    unpriced_tok: int = 0
    unpriced_searches: int = 0
    least_usd: Decimal = ZERO
    most_usd: Decimal | None = ZERO

    @property
    def is_priced(self) -> bool:
        """Everything in it has a price."""
        return self.unpriced_tok == 0 and self.unpriced_searches == 0


@dataclass(frozen=True, slots=True)
class PricedUsage:
    """Groups in order of their values, and everything unpriced in them: `unpriced_rest` is what no line names."""

    groups: tuple[PricedGroup, ...]
    unpriced: tuple[UnpricedUsage, ...]
    unpriced_rest: OtherUnpriced | None


def usage_days() -> tuple[date, date] | None:
    """First and last day with counted usage, or None."""
    first = DailyUsage.objects.order_by("date").values_list("date", flat=True).first()
    last = DailyUsage.objects.order_by("-date").values_list("date", flat=True).first()
    return (first, last) if first is not None and last is not None else None


def priced_usage(*, start: date, end: date, by: Sequence[str] = (), book: PriceBook | None = None) -> PricedUsage:
    """Counted usage of days [start, end) by some dimensions, each kind priced at its own day's price of the book.

    `by`: names of billing.queries.usage_sums.DIMENSIONS. Exact: equal to pricing every day's row alone and adding up.
    Raises KeyError for an unknown dimension.
    """
    sums = usage_sums(start=start, end=end, by=by, book=book)
    return PricedUsage(tuple(priced_groups(sums)), unpriced_usage(sums.missing.lines), sums.missing.rest)


def priced_groups(sums: UsageSums) -> Iterator[PricedGroup]:
    """Groups as values, in order of their dimensions."""
    groups, usd = sums.groups, sums.costs.usd
    for n in range(len(groups)):
        requests = int(groups.requests[n])
        yield PricedGroup(
            values=sums.values(n),
            counts=dict(zip(COUNTERS, map(int, groups.counts[:, n]), strict=True)),
            requests=None if requests < 0 else requests,
            cost_usd=usd(int(groups.cost[n])),
            unpriced_tok=int(groups.unpriced[:-1, n].sum()),
            unpriced_searches=int(groups.unpriced[-1, n]),
            least_usd=usd(int(groups.least[n])),
            most_usd=None if groups.open[n] else usd(int(groups.most[n])),
        )


def unpriced_usage(missing: Iterable[tuple[UnpricedLine, date, date]]) -> tuple[UnpricedUsage, ...]:
    """Unpriced lines with their days, put together by what they lack; most tokens first."""
    found = _Unpriced()
    for line, first, last in missing:
        found.add(line, first, last)
    return found.usage()


@dataclass(frozen=True, slots=True)
class ExplainedLine:
    """All usage of a period at one dated price: `cost_usd` = units × usd_per_unit, exact, on days of [first, last].

    service_tier, prompt_length_band, geo and speed are those of the price; where the usage does not state its own, an
    assumption says so. `terms`: how a price that is not the list's own comes about, `contract` under which contract,
    `list_usd_per_unit` what the list says instead (None = this is the list price, or the list has none).
    """

    model: str
    token_kind: str
    service_tier: str
    prompt_length_band: str
    geo: str
    speed: str
    units: int
    usd_per_unit: Decimal
    unit: str
    formula: str
    cost_usd: Decimal
    valid_from: date | None
    valid_to: date | None
    source: str
    checked_on: date
    note: str
    terms: str
    contract: str
    list_usd_per_unit: Decimal | None
    assumptions: tuple[str, ...]
    first_day: date
    last_day: date


@dataclass(frozen=True, slots=True)
class CostLines:
    """How the cost of a period comes about. `cost_usd` is the exact sum of the lines; `unpriced` is beside it.

    `unpriced_rest`: what models beyond those named in `unpriced` have; `unpriced_tok` includes it.
    """

    start: date
    end: date
    request_class: str | None
    model: str | None
    lines: tuple[ExplainedLine, ...]
    unpriced: tuple[UnpricedUsage, ...]
    cost_usd: Decimal
    unpriced_tok: int
    unpriced_rest: OtherUnpriced | None = None


def cost_lines(
    *,
    start: date,
    end: date,
    request_class: str | None = None,
    model: str | None = None,
    book: PriceBook | None = None,
) -> CostLines:
    """Explained lines of counted usage on days [start, end), dearest first; one line per price and assumption.

    `request_class` '' means unclassified usage; None means every class, as it means every model.
    """
    pricer = Pricer(book if book is not None else price_book())
    only = {name: value for name, value in (("class", request_class), ("model", model)) if value is not None}
    parts: dict[tuple[Price, tuple[str, ...]], list[tuple[CostLine, date, date]]] = defaultdict(list)
    missing = _Unpriced()
    rest = None
    named = None
    if model is None:
        named, rest = _named_models(start, end, pricer.book, only)
    for row in _sums(start, end, pricer.book, only, named if rest is not None else None):
        for kind in PRICED_KINDS:
            if not (quantity := row.counts[COUNTER_OF_KIND[kind]]):
                continue
            line = pricer.line(row.key, kind, quantity, row.first_day)
            if isinstance(line, CostLine):
                parts[line.price, line.assumptions].append((line, row.first_day, row.last_day))
            else:
                missing.add(line, row.first_day, row.last_day)
    lines = [_explained(price, assumptions, found) for (price, assumptions), found in parts.items()]
    lines.sort(key=lambda line: (-line.cost_usd, line.model, PRICED_KINDS.index(line.token_kind), line.formula))
    unpriced = missing.usage()
    return CostLines(
        start,
        end,
        request_class,
        model,
        tuple(lines),
        unpriced,
        sum_usd(line.cost_usd for line in lines),
        sum(line.quantity for line in unpriced if line.token_kind in TOKEN_KINDS) + (rest.tokens if rest else 0),
        rest,
    )


def _explained(
    price: Price, assumptions: tuple[str, ...], parts: Sequence[tuple[CostLine, date, date]]
) -> ExplainedLine:
    units = sum(line.units for line, _, _ in parts)
    return ExplainedLine(
        model=price.model,
        token_kind=price.token_kind,
        service_tier=price.service_tier,
        prompt_length_band=price.prompt_length_band,
        geo=price.geo,
        speed=price.speed,
        units=units,
        usd_per_unit=price.usd_per_unit,
        unit=parts[0][0].unit,
        formula=cost_formula(units, price),
        cost_usd=sum_usd(line.cost_usd for line, _, _ in parts),
        valid_from=price.valid_from,
        valid_to=price.valid_to,
        source=price.source,
        checked_on=price.checked_on,
        note=price.note,
        terms=price.terms,
        contract=price.contract,
        list_usd_per_unit=price.list_usd_per_unit,
        assumptions=assumptions,
        first_day=min(first for _, first, _ in parts),
        last_day=max(last for _, _, last in parts),
    )


class _Unpriced:
    """Unpriced lines put together: one per usage key, kind and reason."""

    def __init__(self) -> None:
        self._lines: dict[tuple[PriceKey, str, str, str], list[tuple[UnpricedLine, date, date]]] = defaultdict(list)

    def add(self, line: UnpricedLine, first: date, last: date) -> None:
        self._lines[line.key, line.kind, line.reason, line.remedy].append((line, first, last))

    def usage(self) -> tuple[UnpricedUsage, ...]:
        """Most tokens first."""
        found = [
            self._merged(key, kind, reason, remedy, parts) for (key, kind, reason, remedy), parts in self._lines.items()
        ]
        return tuple(sorted(found, key=lambda one: (-one.quantity, one.model, one.token_kind, one.service_tier)))

    @staticmethod
    def _merged(
        key: PriceKey, kind: str, reason: str, remedy: str, parts: Sequence[tuple[UnpricedLine, date, date]]
    ) -> UnpricedUsage:
        bounds = interval(line for line, _, _ in parts)
        return UnpricedUsage(
            model=key.model,
            token_kind=kind,
            service_tier=key.service_tier,
            prompt_length_band=key.prompt_length_band,
            geo=key.geo,
            speed=key.speed,
            quantity=sum(line.units for line, _, _ in parts),
            reason=reason,
            remedy=remedy,
            cause=parts[0][0].cause,
            first_day=min(first for _, first, _ in parts),
            last_day=max(last for _, _, last in parts),
            lowest_usd=bounds[0] if bounds else None,
            highest_usd=bounds[1] if bounds else None,
        )


@dataclass(frozen=True, slots=True)
class _Sum:
    """Counted usage of one price key, on days between which no price changes."""

    key: PriceKey
    first_day: date
    last_day: date
    counts: Mapping[str, int]


def _named_models(
    start: date, end: date, book: PriceBook, only: Mapping[str, str]
) -> tuple[list[str], OtherUnpriced | None]:
    """Models whose lines are told one by one, and what the others have: as in billing.core.usage_table."""
    known = sorted(book.priced_models | {""})
    tokens = " + ".join(f"sum({name})" for name in COUNTERS[:-1])
    filters = "".join(f" AND {_ONLY[name]} = %s" for name in only)
    query = (
        "WITH others AS (SELECT model, min(date) AS first, max(date) AS last, "  # noqa: S608
        f"({tokens})::numeric AS tokens, sum({COUNTERS[-1]})::numeric AS searches, row_number() OVER "
        f'(ORDER BY {tokens} DESC, sum({COUNTERS[-1]}) DESC, model COLLATE "C") AS place '
        f"FROM {DailyUsage._meta.db_table} WHERE date >= %s AND date < %s{filters} AND model <> ALL(%s) "
        f"GROUP BY model HAVING ({tokens}) + sum({COUNTERS[-1]}) > 0) "
        f"SELECT model, 1, first, last, tokens, searches FROM others WHERE place <= {UNKNOWN_SHOWN} "
        "UNION ALL SELECT NULL, count(*), min(first), max(last), sum(tokens), sum(searches) FROM others "
        f"WHERE place > {UNKNOWN_SHOWN} HAVING count(*) > 0"
    )
    with connection.cursor() as cursor:
        cursor.execute(query, [start, end, *only.values(), known])
        rows = cursor.fetchall()
    rest = [
        OtherUnpriced(models, int(tokens), int(searches), first, last)
        for model, models, first, last, tokens, searches in rows
        if model is None
    ]
    return [*known, *(row[0] for row in rows if row[0] is not None)], rest[0] if rest else None


def _sums(start: date, end: date, book: PriceBook, only: Mapping[str, str], models: Sequence[str] | None) -> list[_Sum]:
    """Sums by price key, apart wherever a price changes: between two changes all days cost the same.

    Only of some `models` (None = all).
    """
    change_days = book.change_days()
    key_names = (*_PRICE_COLUMNS, "channel") if book.by_channel else _PRICE_COLUMNS
    columns = ", ".join(key_names)
    sums = ", ".join(f"sum({name})::int8" for name in COUNTERS)
    segment = "width_bucket(date, %s::date[])" if change_days else "%s::int"
    filters = "".join(f" AND {_ONLY[name]} = %s" for name in only)
    filters += " AND model = ANY(%s)" if models is not None else ""
    query = (
        f"SELECT {columns}, {segment} AS segment, min(date), max(date), {sums} "  # noqa: S608
        f"FROM {DailyUsage._meta.db_table} WHERE date >= %s AND date < %s{filters} GROUP BY {columns}, segment"
    )
    keys = len(key_names)
    with connection.cursor() as cursor:
        cursor.execute(
            query,
            [list(change_days) or 0, start, end, *only.values(), *([list(models)] if models is not None else [])],
        )
        return [
            _Sum(
                key=PriceKey(**dict(zip(key_names, row[:keys], strict=True))),
                first_day=row[keys + 1],
                last_day=row[keys + 2],
                counts=dict(zip(COUNTERS, row[keys + 3 :], strict=True)),
            )
            for row in cursor.fetchall()
        ]
