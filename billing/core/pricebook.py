"""Dated list prices and their look-up (methods.md §1.4, formats/price-data.md). Unknown never becomes zero.

A price holds for one model, kind, service tier, prompt-length band, geo and speed over `[valid_from, valid_to)`. Of two
rows for the same thing the one that starts later replaces the earlier from that day on, even after the later has ended.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

from billing.core.money import usd_per_each
from billing.core.usage import NOT_GROUPED, PRICED_KINDS, UNTOLD, PricedKind

if TYPE_CHECKING:
    from billing.core.closed_books import ClosedMonth

ALL_BANDS: Final = "all"
UNLIMITED_TOK: Final = 2**63
# Prompt-length bands as intervals of total input tokens, lower end exclusive, upper inclusive. The largest window sold
# is 1M, so "…-1M" has no upper end of its own.
BANDS_TOK: Final[Mapping[str, tuple[int, int]]] = {
    ALL_BANDS: (-1, UNLIMITED_TOK),
    "0-100k": (-1, 100_000),
    "100k-200k": (100_000, 200_000),
    "0-200k": (-1, 200_000),
    "100k-1M": (100_000, UNLIMITED_TOK),
    "200k-1M": (200_000, UNLIMITED_TOK),
}
UNTOLD_GEOS: Final = UNTOLD | {"not_available", "(none)"}
PRICE_PLACES: Final = 9  # numeric(18,9)
DERIVED_PLACES: Final = 26  # a contract's percentage, or a scenario's and a contract's, of such a price
MAX_PRICE: Final = Decimal(10) ** 9


def unit_exponent(kind: str) -> int:
    """A price is per 10^this of its kind: tokens per million, web searches per thousand."""
    return 3 if kind == "web_search" else 6


class PriceError(ValueError):
    """A price row, or a set of them, that contradicts itself."""


@dataclass(frozen=True, slots=True)
class PriceKey:
    """The dimensions of usage that decide its price, as the usage row states them (`''` = unknown)."""

    model: str
    service_tier: str = "standard"
    prompt_length_band: str = ""
    geo: str = ""
    speed: str = ""
    channel: str = ""  # list prices are the same in all; a contract may hold for one only


# Why there is no price, as the remedy it calls for: data that names or separates more, an alias or prices for a model
# nobody knows, a price for what is known, a look at data that contradicts itself, or none: its month was closed so.
Cause = Literal["data", "model", "price", "contradiction", "closed"]


class PriceNotFound(LookupError):
    """No price for usage on a day. `reason` says why, `remedy` what to do about it, `prices` what it could cost."""

    def __init__(
        self,
        key: PriceKey,
        kind: PricedKind,
        on: date,
        cause: Cause,
        reason: str,
        remedy: str,
        prices: tuple[Decimal, ...] = (),
    ) -> None:
        self.key, self.kind, self.on, self.cause = key, kind, on, cause
        self.reason, self.remedy, self.prices = reason, remedy, prices
        super().__init__(
            f"no price for model {key.model or '(no model)'}, kind {kind}, "
            f"service tier {key.service_tier or 'unknown'}, "
            f"prompt-length band {key.prompt_length_band or 'unknown'}, geo {key.geo or 'unknown'}, "
            f"speed {key.speed or 'unknown'} on {on.isoformat()}: {reason}. {remedy}"
        )


@dataclass(frozen=True, slots=True)
class Price:
    """A dated list price. `usd_per_unit` is usd per million tokens, or per 1,000 web searches.

    `terms` says how it was derived where it is not the list's own ("10 % off the list price 5.00 under contract …"),
    `contract` and `list_usd_per_unit` under which contract and from which list price (None = the list has none).
    """

    model: str
    token_kind: PricedKind
    usd_per_unit: Decimal
    source: str
    checked_on: date
    service_tier: str = "standard"
    prompt_length_band: str = ALL_BANDS
    geo: str = "global"
    speed: str = "standard"
    valid_from: date | None = None
    valid_to: date | None = None
    note: str = ""
    terms: str = ""
    contract: str = ""
    list_usd_per_unit: Decimal | None = None

    def __post_init__(self) -> None:
        if self.token_kind not in PRICED_KINDS:
            raise PriceError(f"unknown token kind {self.token_kind!r}; known are {', '.join(PRICED_KINDS)}")
        if self.prompt_length_band not in BANDS_TOK:
            raise PriceError(f"unknown band {self.prompt_length_band!r}; known are {', '.join(BANDS_TOK)}")
        for name in ("model", "service_tier", "geo", "speed", "source"):
            if not getattr(self, name):
                raise PriceError(f"a price needs its {name}: {self.model or '(no model)'} {self.token_kind}")
        exponent = self.usd_per_unit.as_tuple().exponent
        places = DERIVED_PLACES if self.terms else PRICE_PLACES
        if not isinstance(exponent, int) or not 0 <= self.usd_per_unit < MAX_PRICE or exponent < -places:
            raise PriceError(
                f"{self.model} {self.token_kind}: {self.usd_per_unit} is not a price; "
                f"use at least 0, below {MAX_PRICE:,}, at most {places} places"
            )
        if self.valid_from and self.valid_to and self.valid_from >= self.valid_to:
            raise PriceError(f"{self.model} {self.token_kind}: starts {self.valid_from}, but ends {self.valid_to}")

    @property
    def unit_exponent(self) -> int:
        """The price is per 10^unit_exponent: tokens per million, web searches per thousand."""
        return unit_exponent(self.token_kind)

    @property
    def usd_per_mtok(self) -> Decimal:
        """The price of tokens per million. Raises PriceError for web searches, which have another unit."""
        if self.unit_exponent != unit_exponent("output"):
            raise PriceError(f"{self.model}: web searches are priced per 1,000 searches, not per million tokens")
        return self.usd_per_unit

    @property
    def usd_per_each(self) -> Decimal:
        """Price of one token or search, exact: count × usd_per_each is the line's cost."""
        return usd_per_each(self.usd_per_unit, unit_exponent=self.unit_exponent)

    def holds_on(self, day: date) -> bool:
        return (self.valid_from is None or self.valid_from <= day) and (self.valid_to is None or day < self.valid_to)


@dataclass(frozen=True, slots=True)
class FoundPrice:
    """A price and what had to be taken as given to choose it (sentences for the line's explanation)."""

    price: Price
    assumptions: tuple[str, ...] = ()


_Slot = tuple[str, str, str, str, str]  # model, kind, service tier, geo, speed


@dataclass(frozen=True)
class PriceBook:
    """Prices with one look-up. Raises PriceError for two rows with the same key, band and start."""

    prices: tuple[Price, ...]
    _models: frozenset[str] = field(init=False, repr=False, compare=False)
    _slots: dict[_Slot, list[Price]] = field(init=False, repr=False, compare=False)

    def __init__(self, prices: Iterable[Price]) -> None:
        object.__setattr__(self, "prices", tuple(prices))
        object.__setattr__(self, "_models", frozenset(price.model for price in self.prices))
        slots: dict[_Slot, list[Price]] = {}
        seen: dict[tuple[_Slot, str, date | None], Price] = {}
        for price in self.prices:
            slot = (price.model, price.token_kind, price.service_tier, price.geo, price.speed)
            other = seen.setdefault((slot, price.prompt_length_band, price.valid_from), price)
            if other is not price:
                raise PriceError(
                    f"two prices for {' / '.join(slot)} / {price.prompt_length_band} from "
                    f"{price.valid_from or 'release'}: {other.usd_per_unit} ({other.source}) and "
                    f"{price.usd_per_unit} ({price.source}); keep one"
                )
            slots.setdefault(slot, []).append(price)
        object.__setattr__(self, "_slots", slots)

    @property
    def models(self) -> frozenset[str]:
        return self._models

    @property
    def closed(self) -> tuple["ClosedMonth", ...]:
        """Closed months, which may have prices of their own: none in a plain book."""
        return ()

    @property
    def priced_models(self) -> frozenset[str]:
        """Models of which some look-up may find a price, today or in a closed month: of any other none does."""
        return self.models.union(*(month.book.models for month in self.closed if month.book is not None))

    @property
    def by_channel(self) -> bool:
        """The channel matters to some look-up: usage of several must be priced apart."""
        return False

    def with_prices(self, new: Iterable[Price]) -> "PriceBook":
        """A book with more prices. Raises PriceError for a second price of one key, band and start."""
        return PriceBook([*self.prices, *new])

    def change_days(self) -> tuple[date, ...]:
        """Days on which some price begins or ends, ascending. Between two of them every look-up gives the same."""
        days = {day for price in self.prices for day in (price.valid_from, price.valid_to) if day}
        return tuple(sorted(days))

    def lookup(self, key: PriceKey, kind: PricedKind, on: date) -> FoundPrice:
        """The price of one kind of usage on a UTC day.

        * geo unknown, not grouped or `not_available`: the global list price, stated as an assumption.
        * service tier or speed unknown: standard, stated.
        * band unknown (or one that straddles prices): priced only where every possible price is equal, else refused
          with all of them, so that the caller can show the interval. Lengths whose price has ended are none that were
          sold; where no price was ever said for some length the interval has no end, and none is shown.
        * web searches have one price per model, whatever the tier, band, geo and speed.

        Raises PriceNotFound naming everything, with the reason and the remedy.
        """
        if kind == "web_search":
            return FoundPrice(
                self._winner(key, kind, on, (key.model, kind, "standard", "global", "standard"), ALL_BANDS)
            )
        tier, geo, speed, assumptions = taken_as(key)
        slot = (key.model, kind, tier, geo, speed)
        price = self._winner(key, kind, on, slot, key.prompt_length_band)
        if key.prompt_length_band in UNTOLD and price.prompt_length_band != ALL_BANDS:
            same = f"prompt-length band {_told(key.prompt_length_band)}: every price known on that day is the same"
            assumptions = (*assumptions, same)
        return FoundPrice(price, assumptions)

    def _winner(self, key: PriceKey, kind: PricedKind, on: date, slot: _Slot, band: str) -> Price:
        rows = self._slots.get(slot, [])
        band_known = band not in UNTOLD
        if band_known and band not in BANDS_TOK:
            raise PriceNotFound(
                key,
                kind,
                on,
                "contradiction",
                f"prompt-length band {band!r} is none of {', '.join(BANDS_TOK)}",
                "Correct the import",
            )
        segments = [
            _row_for(rows, segment, on) for segment in _segments(rows, BANDS_TOK[band if band_known else ALL_BANDS])
        ]
        current = [row for row in segments if row is not None]
        if current and not band_known and (silent := _never_priced(rows, on)):
            raise PriceNotFound(
                key,
                kind,
                on,
                "price",
                f"the data does not tell the prompt length, and nobody has said a price for {' and '.join(silent)}",
                f"Add the price of {' and '.join(silent)} for {key.model} on the Prices page, "
                "or import request logs for this usage",
            )
        if not current or (band_known and len(current) < len(segments)):
            raise self._missing(key, kind, on, slot, rows)
        if len({row.usd_per_unit for row in current}) > 1:
            bands = ", ".join(f"{row.usd_per_unit} for {row.prompt_length_band}" for row in dict.fromkeys(current))
            raise PriceNotFound(
                key,
                kind,
                on,
                "data",
                f"the price depends on the prompt length ({bands}), which the data does not tell",
                "Import request logs, or a report grouped by context window, for this usage",
                tuple(row.usd_per_unit for row in current),
            )
        return current[0]

    def _missing(self, key: PriceKey, kind: PricedKind, on: date, slot: _Slot, rows: list[Price]) -> PriceNotFound:
        model, _, tier, geo, speed = slot
        add = f"Add a dated price for {model} ({kind}, {tier}, {geo}, {speed}) on the Prices page"
        if not model:
            return PriceNotFound(key, kind, on, "data", "the usage names no model", "Import a report grouped by model")
        if model not in self.models:
            return PriceNotFound(
                key, kind, on, "model", f"model {model} has no prices", "Add its prices, or an alias to a priced model"
            )
        if rows and not any(_row_for(rows, segment, on) for segment in _segments(rows, BANDS_TOK[ALL_BANDS])):
            return PriceNotFound(key, kind, on, "price", "its prices do not hold on that day", add)
        if rows:
            return PriceNotFound(
                key, kind, on, "price", f"no price covers prompt-length band {key.prompt_length_band}", add
            )
        if speed == "fast" and tier == "batch":
            return PriceNotFound(
                key,
                kind,
                on,
                "contradiction",
                "fast mode cannot be combined with batch",
                "Check tier and speed in the data",
            )
        if tier not in ("standard", "batch"):
            return PriceNotFound(
                key, kind, on, "price", f"service tier {tier} has no list price", f"{add}, or enter the contract's"
            )
        return PriceNotFound(key, kind, on, "price", "no price for this tier, geo and speed", add)


def taken_as(key: PriceKey) -> tuple[str, str, str, tuple[str, ...]]:
    """Service tier, geo and speed a look-up goes by, and a sentence for each that the usage does not tell."""
    tier, geo, speed = key.service_tier, key.geo, key.speed
    assumptions = []
    if tier in UNTOLD:
        tier = "standard"
        assumptions.append(f"service tier {_told(key.service_tier)}: taken as standard")
    if geo in UNTOLD_GEOS:
        geo = "global"
        assumptions.append(f"inference geo {_told(key.geo)}: global list price")
    if speed in UNTOLD:
        speed = "standard"
        assumptions.append(f"speed {_told(key.speed)}: taken as standard")
    return tier, geo, speed, tuple(assumptions)


def _row_for(rows: Iterable[Price], segment: tuple[int, int], on: date) -> Price | None:
    """The row that prices prompts in `segment` on a day: of those begun the latest start, of one start the narrowest.

    A row that has ended still hides the older rows of its own band or wider, or a withdrawn price would bring back the
    one it replaced.
    """
    low, high = segment
    begun = [
        row
        for row in rows
        if (row.valid_from is None or row.valid_from <= on)
        and BANDS_TOK[row.prompt_length_band][0] <= low
        and high <= BANDS_TOK[row.prompt_length_band][1]
    ]
    if not begun:
        return None
    latest = max(begun, key=lambda row: (row.valid_from or date.min, -_width(row)))
    return latest if latest.holds_on(on) else None


def _never_priced(rows: Sequence[Price], on: date) -> list[str]:
    """Prompt lengths for which no row has begun by a day, in words; those of an ended row are not among them."""
    found = []
    for low, high in _segments(rows, BANDS_TOK[ALL_BANDS]):
        if not any(
            (row.valid_from is None or row.valid_from <= on)
            and BANDS_TOK[row.prompt_length_band][0] <= low
            and high <= BANDS_TOK[row.prompt_length_band][1]
            for row in rows
        ):
            upper = "" if high == UNLIMITED_TOK else f" up to {high:,}"
            found.append(f"prompts above {max(low, 0):,}{upper} tokens")
    return found


def _segments(rows: Iterable[Price], within: tuple[int, int]) -> list[tuple[int, int]]:
    """`within` cut at every end of a band that occurs in `rows`, so that each piece has one price or none."""
    low, high = within
    ends = {end for row in rows for end in BANDS_TOK[row.prompt_length_band] if low < end < high}
    cuts = [low, *sorted(ends), high]
    return list(pairwise(cuts))


def _width(row: Price) -> int:
    low, high = BANDS_TOK[row.prompt_length_band]
    return high - low


def _told(text: str) -> str:
    return {"": "unknown", NOT_GROUPED: "not grouped in the report", "(none)": "not applicable"}.get(text, text)
