"""Days from which another list price of a model holds: what evidence about its cost may be older than."""

from collections import defaultdict
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise

from billing.core.pricebook import PriceBook, PriceKey, PriceNotFound
from billing.core.usage import REQUEST_BANDS, TOKEN_KINDS
from billing.models import Price
from billing.queries.prices import list_price


def price_change_days(*, as_of: datetime) -> dict[str, tuple[date, ...]]:
    """By model, the days up to `as_of` from which another amount holds by what was approved by then; rising.

    Standard and batch prices per token of every prompt length count, global and at standard speed: what most usage
    pays. The first price of something, and the end of one that nothing follows, are no change of amount.
    """
    rows = list(Price.objects.filter(approved_at__lte=as_of, geo="global", speed="standard").order_by("pk"))
    days: dict[str, set[date]] = defaultdict(set)
    for row in rows:
        days[row.model].update(day for day in (row.valid_from, row.valid_to) if day and day <= as_of.date())
    moved = {model: found for model, found in days.items() if found}
    if not moved:
        return {}
    book = PriceBook(list_price(row) for row in rows if row.model in moved)
    found = {model: _changes(book, model, sorted(on)) for model, on in moved.items()}
    return {model: on for model, on in found.items() if on}


def _changes(book: PriceBook, model: str, days: list[date]) -> tuple[date, ...]:
    """Those of the days on which some amount differs from the day's before it."""
    before = date.fromordinal(days[0].toordinal() - 1)
    amounts = [(day, _amounts(book, model, day)) for day in (before, *days)]
    return tuple(
        day
        for (_, earlier), (day, later) in pairwise(amounts)
        if any(earlier[slot] != usd for slot, usd in later.items() if slot in earlier)
    )


def _amounts(book: PriceBook, model: str, day: date) -> dict[tuple[str, str, str], Decimal]:
    found: dict[tuple[str, str, str], Decimal] = {}
    for tier in ("standard", "batch"):
        for band in REQUEST_BANDS:
            for kind in TOKEN_KINDS:
                try:
                    price = book.lookup(PriceKey(model, tier, band, "global", "standard"), kind, day).price
                except PriceNotFound:
                    continue
                found[tier, band, kind] = price.usd_per_unit
    return found
