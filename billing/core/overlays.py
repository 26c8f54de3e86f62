"""Changes laid over a price book: a contract's rates, or the assumptions of a what-if scenario. Exact Decimal.

A change is a percentage on the list price or a fixed price, for one model, kind and service tier or for any, over dated
days. Of the changes that hold for a look-up the most specific wins, and it says in words where its price comes from.
"""

import decimal
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from billing.core.closed_books import ClosedMonth
from billing.core.money import EXACT
from billing.core.pricebook import (
    ALL_BANDS,
    MAX_PRICE,
    PRICE_PLACES,
    FoundPrice,
    Price,
    PriceBook,
    PriceError,
    PriceKey,
    PriceNotFound,
    taken_as,
)
from billing.core.pricing import plain_number, plain_price
from billing.core.usage import PRICED_KINDS, PricedKind

ANY: Final = ""
TOKENS: Final = "tokens"  # every kind but web searches
KINDS: Final = (ANY, TOKENS, *PRICED_KINDS)
PERCENT_PLACES: Final = 6
DEFAULT_CHANNEL: Final = "anthropic"  # what usage without a named channel is
HUNDRED: Final = Decimal(100)


@dataclass(frozen=True, slots=True)
class Change:
    """`percent` on the list price (−10 = 10 % off), or the fixed `usd_per_unit`, on days [valid_from, valid_to).

    '' of model, token kind and service tier = any; token kind `tokens` = every kind but web searches. Raises PriceError
    for both or neither, a percentage below −100 or with more than six places, or a price no price can be.
    """

    percent: Decimal | None = None
    usd_per_unit: Decimal | None = None
    model: str = ANY
    token_kind: str = ANY
    service_tier: str = ANY
    valid_from: date | None = None
    valid_to: date | None = None

    def __post_init__(self) -> None:
        if (self.percent is None) == (self.usd_per_unit is None):
            raise PriceError("give either a percentage or a fixed price, not both")
        if self.token_kind not in KINDS:
            raise PriceError(f"unknown token kind {self.token_kind!r}; known are {', '.join(KINDS[1:])}")
        if self.percent is not None and (
            not self.percent.is_finite()
            or not -HUNDRED <= self.percent <= 1000
            or _places(self.percent) > PERCENT_PLACES
        ):
            raise PriceError(f"{self.percent:f} is not a percentage: use −100 to 1000 with at most six places")
        if self.usd_per_unit is not None and (
            not self.usd_per_unit.is_finite()
            or not 0 <= self.usd_per_unit < MAX_PRICE
            or _places(self.usd_per_unit) > PRICE_PLACES
        ):
            raise PriceError(f"{self.usd_per_unit:f} is not a price: use at least 0 with at most {PRICE_PLACES} places")
        if self.usd_per_unit is not None and self.token_kind in (ANY, TOKENS):
            raise PriceError("a fixed price is one of a token kind: name the kind")
        if self.valid_from and self.valid_to and self.valid_from >= self.valid_to:
            raise PriceError(f"starts {self.valid_from}, but ends {self.valid_to}")

    @property
    def specificity(self) -> int:
        """How much it names: the model weighs most, then the service tier, then the kind."""
        kind = 2 if self.token_kind not in (ANY, TOKENS) else int(self.token_kind == TOKENS)
        return 8 * bool(self.model) + 4 * bool(self.service_tier) + kind

    @property
    def scope(self) -> str:
        """claude-opus-5-5, output, batch: what it holds for, in words."""
        kind = {ANY: "tokens and web searches", TOKENS: "tokens"}.get(self.token_kind, self.token_kind)
        return ", ".join(
            word for word in (self.model or "every model", kind, self.service_tier or "every tier") if word
        )

    def covers(self, model: str, tier: str, kind: PricedKind, *, is_usual: bool) -> bool:
        """It holds for such usage. A fixed price says nothing of other geos and speeds than the usual ones."""
        return (
            self.model in (ANY, model)
            and self.service_tier in (ANY, tier)
            and (self.token_kind in (ANY, kind) or (self.token_kind == TOKENS and kind != "web_search"))
            and (is_usual or self.usd_per_unit is None)
        )

    def holds_on(self, day: date) -> bool:
        return (self.valid_from is None or self.valid_from <= day) and (self.valid_to is None or day < self.valid_to)


@dataclass(frozen=True, slots=True)
class Overlay:
    """A contract or a scenario: its changes, clipped to its own days. `known_at`: when it was approved (None = always).

    `words` name it in an explanation ("under contract Acme 2026"). `contract` is its name where it is one; a contract
    holds for the usage of one `channel` ('' = of any).
    """

    words: str
    changes: tuple[Change, ...]
    contract: str = ""
    channel: str = ""
    valid_from: date | None = None
    valid_to: date | None = None
    known_at: datetime | None = None

    def dated_changes(self) -> tuple[Change, ...]:
        """Its changes with the days on which both they and it hold."""
        clipped = []
        for change in self.changes:
            starts = [day for day in (change.valid_from, self.valid_from) if day]
            ends = [day for day in (change.valid_to, self.valid_to) if day]
            start, end = max(starts, default=None), min(ends, default=None)
            if start is None or end is None or start < end:
                clipped.append(replace(change, valid_from=start, valid_to=end))
        return tuple(clipped)


@dataclass(frozen=True, slots=True)
class _Dated:
    change: Change
    overlay: Overlay
    order: int


class OverlayBook(PriceBook):
    """A price book with changes laid over it. Every look-up says where its price comes from.

    Several overlays hold beside each other: of all changes that cover a look-up the most specific wins, of equals the
    one that starts later, then the overlay named later. Closed months know only overlays approved before their closing.
    """

    base: PriceBook
    overlays: tuple[Overlay, ...]
    _dated: tuple[_Dated, ...]

    def __init__(self, base: PriceBook, overlays: Iterable[Overlay]) -> None:
        super().__init__(base.prices)
        object.__setattr__(self, "base", base)
        object.__setattr__(self, "overlays", tuple(overlays))
        dated = [
            _Dated(change, overlay, order)
            for order, overlay in enumerate(self.overlays)
            for change in overlay.dated_changes()
        ]
        object.__setattr__(self, "_dated", tuple(dated))

    @property
    def models(self) -> frozenset[str]:
        return self.base.models | {row.change.model for row in self._dated if row.change.usd_per_unit is not None}

    @property
    def by_channel(self) -> bool:
        return self.base.by_channel or any(overlay.channel for overlay in self.overlays)

    def with_prices(self, new: Iterable[Price]) -> "OverlayBook":
        return OverlayBook(self.base.with_prices(new), self.overlays)

    def change_days(self) -> tuple[date, ...]:
        days = set(self.base.change_days())
        for row in self._dated:
            days |= {day for day in (row.change.valid_from, row.change.valid_to) if day}
        for month in self.closed:
            if any(not _is_known(overlay, month) for overlay in self.overlays):
                days |= {month.start, month.end}
        return tuple(sorted(days))

    def lookup(self, key: PriceKey, kind: PricedKind, on: date) -> FoundPrice:
        """The changed price, or the list's where nothing covers it. Raises PriceNotFound as the list does."""
        month = next((month for month in self.closed if month.start <= on < month.end), None)
        chosen = self._chosen(key, kind, on, month)
        later = self._chosen(key, kind, on, None) if month is not None else chosen
        found = self._changed(chosen, key, kind, on)
        if month is not None and later is not chosen and later is not None:
            said = f"{month.words}; what holds {later.overlay.words} was approved later"
            return replace(found, assumptions=(*found.assumptions, said))
        return found

    @property
    def closed(self) -> tuple[ClosedMonth, ...]:
        return self.base.closed

    def _chosen(self, key: PriceKey, kind: PricedKind, on: date, month: ClosedMonth | None) -> _Dated | None:
        tier, geo, speed, _ = taken_as(key)
        if kind == "web_search":
            tier, geo, speed = "standard", "global", "standard"
        is_usual = geo == "global" and speed == "standard"
        candidates = [
            row
            for row in self._dated
            if row.change.holds_on(on)
            and row.change.covers(key.model, tier, kind, is_usual=is_usual)
            and row.overlay.channel in ("", key.channel or DEFAULT_CHANNEL)
            and (month is None or _is_known(row.overlay, month))
        ]
        return max(
            candidates,
            key=lambda row: (row.change.specificity, row.change.valid_from or date.min, row.order),
            default=None,
        )

    def _changed(self, chosen: _Dated | None, key: PriceKey, kind: PricedKind, on: date) -> FoundPrice:
        if chosen is None:
            return self.base.lookup(key, kind, on)
        if chosen.change.usd_per_unit is not None:
            return self._fixed(chosen, key, kind, on)
        percent = chosen.change.percent
        assert percent is not None  # a change has one or the other
        try:
            found = self.base.lookup(key, kind, on)
        except PriceNotFound as error:
            possible = tuple(_scaled(usd, percent) for usd in error.prices)
            if not possible:
                raise
            raise PriceNotFound(key, kind, on, error.cause, error.reason, error.remedy, possible) from error
        usd = found.price.usd_per_unit
        terms = f"{_percent_words(percent)} the list price {plain_price(usd)} {chosen.overlay.words}"
        return FoundPrice(_derived(found.price, chosen, _scaled(usd, percent), usd, terms), found.assumptions)

    def _fixed(self, chosen: _Dated, key: PriceKey, kind: PricedKind, on: date) -> FoundPrice:
        usd = chosen.change.usd_per_unit
        assert usd is not None
        try:
            found = self.base.lookup(key, kind, on)
        except PriceNotFound as error:
            if error.cause in ("contradiction", "closed"):
                raise
            tier, _, _, assumptions = taken_as(key)
            terms = f"fixed at {plain_price(usd)} {chosen.overlay.words}; the list has no price of its own"
            price = Price(
                key.model,
                kind,
                usd,
                source=f"contract {chosen.overlay.contract}" if chosen.overlay.contract else chosen.overlay.words,
                checked_on=chosen.change.valid_from or date.min,
                service_tier="standard" if kind == "web_search" else tier,
                prompt_length_band=ALL_BANDS,
                valid_from=chosen.change.valid_from,
                valid_to=chosen.change.valid_to,
                terms=terms,
                contract=chosen.overlay.contract,
            )
            return FoundPrice(price, assumptions)
        listed = found.price.usd_per_unit
        terms = f"fixed at {plain_price(usd)} {chosen.overlay.words}; the list price is {plain_price(listed)}"
        return FoundPrice(_derived(found.price, chosen, usd, listed, terms), found.assumptions)


def _derived(price: Price, chosen: _Dated, usd: Decimal, listed: Decimal, terms: str) -> Price:
    """The list's price as changed. A scenario's change stays told when a contract is laid over it."""
    return replace(
        price,
        usd_per_unit=usd,
        terms="; ".join(text for text in (terms, price.terms) if text),
        contract=chosen.overlay.contract or price.contract,
        list_usd_per_unit=listed,
    )


def _is_known(overlay: Overlay, month: ClosedMonth) -> bool:
    return overlay.known_at is None or overlay.known_at <= month.known_at


def _scaled(usd: Decimal, percent: Decimal) -> Decimal:
    """usd × (100 + percent) / 100, exact, without zeros at its end.

    >>> _scaled(Decimal("5.000000000"), Decimal("-10"))
    Decimal('4.5')
    """
    try:
        product = EXACT.scaleb(EXACT.multiply(usd, EXACT.add(HUNDRED, percent)), -2)
    except decimal.DecimalException as error:
        raise PriceError(f"{usd} changed by {percent} % does not fit in 50 digits") from error
    short = product.normalize(EXACT)
    return short.quantize(Decimal(1), context=EXACT) if short.as_tuple().exponent > 0 else short  # type: ignore[operator]


def _percent_words(percent: Decimal) -> str:
    size = plain_number(abs(percent))
    return f"{size} % off" if percent <= 0 else f"{size} % on top of"


def _places(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
