"""Counted usage with its prices: exact money, and what could not be priced with the reason and the remedy."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from django.db import connection

from billing.core.money import ZERO, line_cost
from billing.core.pricebook import PriceBook, PriceKey, PriceNotFound
from billing.core.usage import COUNTER_OF_KIND, COUNTERS, PRICED_KINDS, PricedKind
from billing.models import DailyUsage, UsageSource
from billing.queries.prices import price_book

# What usage may be told apart by, as SQL. All are constants: a name from outside only chooses among them.
DIMENSIONS: Final = {
    "day": "to_char(u.date, 'YYYY-MM-DD')",
    "month": "to_char(u.date, 'YYYY-MM')",
    "class": "u.request_class",
    "model": "u.model",
    "workspace": "u.workspace",
    "api_key": "u.api_key",
    "source": "s.name",
    "origin": "u.origin",
    "channel": "u.channel",
    "organisation": "u.organisation",
    "service_tier": "u.service_tier",
    "prompt_length_band": "u.prompt_length_band",
    "geo": "u.geo",
    "speed": "u.speed",
    "policy_version": "u.policy_version::text",
    "arm": "u.arm",
}
_PRICE_COLUMNS: Final = ("model", "service_tier", "prompt_length_band", "geo", "speed")


@dataclass(frozen=True, slots=True)
class UnpricedUsage:
    """Tokens (or web searches) without a price: never $0, always with what to do."""

    model: str
    token_kind: str
    service_tier: str
    prompt_length_band: str
    geo: str
    speed: str
    quantity: int
    reason: str
    remedy: str


@dataclass
class PricedGroup:
    """Usage of one combination of dimension values. `requests` None = some of it does not tell."""

    values: tuple[str, ...]
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    requests: int | None = 0
    cost_usd: Decimal = ZERO
    unpriced_tok: int = 0
    unpriced_searches: int = 0

    @property
    def is_priced(self) -> bool:
        """Everything in it has a price."""
        return self.unpriced_tok == 0 and self.unpriced_searches == 0


@dataclass(frozen=True, slots=True)
class PricedUsage:
    """Groups in order of their values, and everything unpriced in them."""

    groups: tuple[PricedGroup, ...]
    unpriced: tuple[UnpricedUsage, ...]


def usage_days() -> tuple[date, date] | None:
    """First and last day with counted usage, or None."""
    first = DailyUsage.objects.order_by("date").values_list("date", flat=True).first()
    last = DailyUsage.objects.order_by("-date").values_list("date", flat=True).first()
    return (first, last) if first is not None and last is not None else None


def priced_usage(*, start: date, end: date, by: Sequence[str] = (), book: PriceBook | None = None) -> PricedUsage:
    """Counted usage of days [start, end) by some of DIMENSIONS, each kind priced at its own day's list price.

    Exact: equal to pricing every day's row alone and adding up. Raises KeyError for an unknown dimension.
    """
    prices = book if book is not None else price_book()
    found: dict[tuple[str, ...], PricedGroup] = {}
    missing: dict[tuple[PriceKey, PricedKind, str, str], int] = {}
    for values, key, day, counts, requests in _sums(start, end, by, prices.change_days()):
        group = found.setdefault(values, PricedGroup(values))
        group.requests = None if group.requests is None or requests is None else group.requests + requests
        for kind in PRICED_KINDS:
            quantity = counts[COUNTER_OF_KIND[kind]]
            if not quantity:
                continue
            group.counts[COUNTER_OF_KIND[kind]] += quantity
            try:
                price = prices.lookup(key, kind, day).price
            except PriceNotFound as error:
                place = (key, kind, error.reason, error.remedy)
                missing[place] = missing.get(place, 0) + quantity
                if kind == "web_search":
                    group.unpriced_searches += quantity
                else:
                    group.unpriced_tok += quantity
            else:
                group.cost_usd += line_cost(quantity, price.usd_per_unit, unit_exponent=price.unit_exponent)
    unpriced = [
        UnpricedUsage(
            key.model, kind, key.service_tier, key.prompt_length_band, key.geo, key.speed, quantity, reason, remedy
        )
        for (key, kind, reason, remedy), quantity in missing.items()
    ]
    return PricedUsage(
        tuple(found[values] for values in sorted(found)),
        tuple(sorted(unpriced, key=lambda line: (-line.quantity, line.model, line.token_kind, line.service_tier))),
    )


_Sum = tuple[tuple[str, ...], PriceKey, date, dict[str, int], int | None]


def _sums(start: date, end: date, by: Sequence[str], change_days: Sequence[date]) -> list[_Sum]:
    """Sums by dimensions and price key, apart wherever a price changes: between two changes all days cost the same."""
    dimensions = [DIMENSIONS[name] for name in by]
    price_columns = [f"u.{name}" for name in _PRICE_COLUMNS]
    sums = ", ".join(f"sum(u.{name})::int8" for name in COUNTERS)
    columns = ", ".join([*dimensions, *price_columns])
    numbers = ", ".join(str(i + 1) for i in range(len(dimensions) + len(price_columns) + 1))
    query = (
        f"SELECT {columns}, width_bucket(u.date, %s::date[]) AS segment, min(u.date), {sums}, "  # noqa: S608
        "CASE WHEN bool_or(u.requests IS NULL) THEN NULL ELSE sum(u.requests)::int8 END "
        f"FROM {DailyUsage._meta.db_table} u JOIN {UsageSource._meta.db_table} s ON s.id = u.source_id "
        f"WHERE u.date >= %s AND u.date < %s GROUP BY {numbers}"
    )
    if not change_days:
        query = query.replace("width_bucket(u.date, %s::date[])", "%s::int")
    width, keys = len(dimensions), len(price_columns)
    with connection.cursor() as cursor:
        cursor.execute(query, [list(change_days) or 0, start, end])
        return [
            (
                tuple(row[:width]),
                PriceKey(**dict(zip(_PRICE_COLUMNS, row[width : width + keys], strict=True))),
                row[width + keys + 1],
                dict(zip(COUNTERS, row[width + keys + 2 : -1], strict=True)),
                row[-1],
            )
            for row in cursor.fetchall()
        ]
