"""Closed months keep their prices: a later approval never re-prices history (docs/algorithms/pricing.md).

A month that was closed is priced by the book known when it was closed, for ever; every other day by today's book. Where
the two differ, the line says so.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Self

from billing.core.pricebook import FoundPrice, Price, PriceBook, PriceKey, PriceNotFound
from billing.core.pricing import plain_price
from billing.core.usage import PricedKind


@dataclass(frozen=True, slots=True)
class ClosedMonth:
    """Days [start, end) of a closed month. `book`: prices approved until `known_at`; None = today's book prices it so.

    Only a month that something approved afterwards reaches into needs a book of its own.
    """

    start: date
    end: date
    known_at: datetime
    book: PriceBook | None = None

    @property
    def words(self) -> str:
        """November 2026 is closed: priced as approved until 2026-12-03 09:00 UTC."""
        return f"{self.start:%B %Y} is closed: priced as approved until {self.known_at:%Y-%m-%d %H:%M} UTC"


class HistoryBook(PriceBook):
    """Today's prices, and beside them the closed months, which keep theirs. One look-up for both."""

    _months: tuple[ClosedMonth, ...]

    def __init__(self, prices: Iterable[Price], closed: Iterable[ClosedMonth]) -> None:
        super().__init__(prices)
        object.__setattr__(self, "_months", tuple(sorted(closed, key=lambda month: month.start)))

    @property
    def closed(self) -> tuple[ClosedMonth, ...]:
        return self._months

    def with_prices(self, new: Iterable[Price]) -> Self:
        """More prices for the open months; closed ones stay as they were closed."""
        added = list(new)
        first = min((price.valid_from or date.min for price in added), default=date.max)
        held = PriceBook(self.prices)
        closed = [
            replace(month, book=held) if month.book is None and first < month.end else month for month in self.closed
        ]
        return type(self)([*self.prices, *added], closed)

    def month_of(self, on: date) -> ClosedMonth | None:
        """The closed month a day lies in."""
        return next((month for month in self.closed if month.start <= on < month.end), None)

    def change_days(self) -> tuple[date, ...]:
        """As in every book, and where a closed month begins, changes and ends."""
        days = set(super().change_days())
        for month in self.closed:
            if month.book is None:
                continue
            days |= {month.start, month.end}
            days |= {day for day in month.book.change_days() if month.start <= day < month.end}
        return tuple(sorted(days))

    def lookup(self, key: PriceKey, kind: PricedKind, on: date) -> FoundPrice:
        """The price known when the day's month was closed, or today's in an open month. Raises PriceNotFound."""
        month = self.month_of(on)
        if month is None or month.book is None:
            return super().lookup(key, kind, on)
        try:
            now: Price | None = super().lookup(key, kind, on).price
        except PriceNotFound:
            now = None
        try:
            found = month.book.lookup(key, kind, on)
        except PriceNotFound as error:
            if now is None:
                raise
            raise PriceNotFound(
                key,
                kind,
                on,
                "closed",
                f"{error.reason} when {month.start:%B %Y} was closed; "
                f"{plain_price(now.usd_per_unit)} was approved later",
                "The month stays as closed: the difference is booked as an adjustment of an open month",
                error.prices,
            ) from error
        if now is not None and now.usd_per_unit == found.price.usd_per_unit:
            return found
        later = f"{plain_price(now.usd_per_unit)} was approved later" if now else "that price does not hold any more"
        return FoundPrice(found.price, (*found.assumptions, f"{month.words}; {later}"))
