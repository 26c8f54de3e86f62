"""What a forecast is made of: daily volumes per class, and what usage would cost at the prices of one day."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from django.db import connection
from django.db.models import Max, Min

from billing.core.money import ZERO, line_cost
from billing.core.pricebook import PriceBook, PriceKey, PriceNotFound
from billing.core.usage import COUNTER_OF_KIND, COUNTERS, PRICED_KINDS
from billing.models import DailyUsage, Import
from billing.queries.named_models import model_sql, named_models

DAY: Final = timedelta(days=1)
_PRICE_COLUMNS: Final = ("model", "service_tier", "prompt_length_band", "geo", "speed")


@dataclass(frozen=True, slots=True)
class BlockUsage:
    """Counted usage of a class ('' = unclassified) with one price key in one block of days; block 0 is the newest."""

    request_class: str
    block: int
    key: PriceKey
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class BlockCost:
    """Cost in usd at the prices of one day; `unpriced_tok` tokens have no price and are not in it.

    `searches_usd` is the part of it for web searches, `unpriced_searches` those without a price.
    """

    cost_usd: Decimal
    unpriced_tok: int
    searches_usd: Decimal = ZERO
    unpriced_searches: int = 0

    @property
    def is_priced(self) -> bool:
        return not self.unpriced_tok and not self.unpriced_searches


def counted_span() -> tuple[date, date] | None:
    """First and last day with counted usage; None before the first import."""
    span = DailyUsage.objects.aggregate(first=Min("date"), last=Max("date"))
    return None if span["first"] is None else (span["first"], span["last"])


def covered_days(*, start: date, end: date) -> dict[str, frozenset[date]]:
    """Per class, the days in [start, end) of which its sources tell something: no usage on them is 0, not unknown.

    A source covers the days of its finished imports and every day it has usage on.
    """
    of_source: dict[int, set[date]] = defaultdict(set)
    used = DailyUsage.objects.filter(date__gte=start, date__lt=end)
    for source, day in used.values_list("source_id", "date").distinct():
        of_source[source].add(day)
    spans = Import.objects.filter(kind="usage", state=Import.State.DONE, period_start__isnull=False)
    for source, first, last in spans.values_list("source_id", "period_start", "period_end"):
        if source in of_source and first is not None and last is not None:
            inclusive = (last - timedelta(microseconds=1)).date()
            day = max(first.date(), start)
            while day <= inclusive and day < end:
                of_source[source].add(day)
                day += DAY
    found: dict[str, set[date]] = defaultdict(set)
    for name, source in used.values_list("request_class", "source_id").distinct():
        found[name] |= of_source[source]
    return {name: frozenset(days) for name, days in found.items()}


def usage_blocks(*, start: date, end: date, block_days: int, keep: Iterable[str] = ()) -> list[BlockUsage]:
    """Counted usage of days [start, end) in blocks counted backwards from `end`.

    Of very many unknown models most are one (`billing.queries.named_models`), but none of `keep`.
    """
    model, named = model_sql(named_models(start=start, end=end, keep=keep))
    sums = ", ".join(f"sum({name})::int8" for name in COUNTERS)
    keys = ", ".join((model, *_PRICE_COLUMNS[1:]))
    places = ", ".join(str(n + 1) for n in range(2 + len(_PRICE_COLUMNS)))
    query = (
        f"SELECT request_class, (%s::date - 1 - date) / %s AS block, {keys}, {sums} "  # noqa: S608 - names of ours
        f"FROM {DailyUsage._meta.db_table} WHERE date >= %s AND date < %s GROUP BY {places} ORDER BY {places}"
    )
    width = 2 + len(_PRICE_COLUMNS)
    with connection.cursor() as cursor:
        cursor.execute(query, [end, block_days, *named, start, end])
        return [
            BlockUsage(
                request_class=row[0],
                block=int(row[1]),
                key=PriceKey(**dict(zip(_PRICE_COLUMNS, row[2:width], strict=True))),
                counts=dict(zip(COUNTERS, row[width:], strict=True)),
            )
            for row in cursor.fetchall()
        ]


def costs_on(usage: Iterable[BlockUsage], book: PriceBook, on: date) -> dict[tuple[str, int], BlockCost]:
    """Cost of each (class, block) at the list prices of one day: what it would cost then, exact."""
    found: dict[tuple[str, int], BlockCost] = {}
    for row in usage:
        held = found.get((row.request_class, row.block), BlockCost(ZERO, 0))
        cost, unpriced = held.cost_usd, held.unpriced_tok
        searches_usd, unpriced_searches = held.searches_usd, held.unpriced_searches
        for kind in PRICED_KINDS:
            quantity = row.counts[COUNTER_OF_KIND[kind]]
            if not quantity:
                continue
            try:
                price = book.lookup(row.key, kind, on).price
            except PriceNotFound:
                if kind == "web_search":
                    unpriced_searches += quantity
                else:
                    unpriced += quantity
            else:
                part = line_cost(quantity, price.usd_per_unit, unit_exponent=price.unit_exponent)
                cost += part
                searches_usd += part if kind == "web_search" else ZERO
        found[row.request_class, row.block] = BlockCost(cost, unpriced, searches_usd, unpriced_searches)
    return found
