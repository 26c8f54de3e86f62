"""What a price file says beside what is held: the difference a person looks at before anything is proposed.

Nothing is overwritten: a price that differs can only be followed by another one from a later day.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Final, Literal

from billing.core.pricebook import Price, PriceBook, PriceKey, PriceNotFound
from billing.core.usage import TOKEN_KINDS

# added: nothing is held for it · changed: the file says it from a later day than what is held · contradicts: the same
# day (or none), another number, so one of the two sources is wrong · same · absent: held today, not in the file.
State = Literal["added", "changed", "contradicts", "same", "absent"]
STATES: Final[tuple[State, ...]] = ("added", "changed", "contradicts", "same", "absent")
Key = tuple[str, str, str, str, str, str, date | None]


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One price of the file beside what is held. `filed` None = not in the file; `held` None = not held."""

    state: State
    filed: Price | None
    held: Price | None
    is_proposed: bool = False

    @property
    def price(self) -> Price:
        price = self.filed or self.held
        assert price is not None  # a row has one of the two
        return price

    @property
    def change(self) -> float | None:
        """New / old − 1; None where there is no old price above 0."""
        if self.filed is None or self.held is None or not self.held.usd_per_unit:
            return None
        return float(self.filed.usd_per_unit / self.held.usd_per_unit) - 1

    @property
    def is_open(self) -> bool:
        """Somebody may propose it: it brings something, and is not proposed already."""
        return self.state in ("added", "changed", "contradicts") and not self.is_proposed


@dataclass(frozen=True, slots=True)
class PriceDifference:
    """Every row, by model; `unknown_models` are in the file and neither placed nor priced here."""

    rows: tuple[PriceRow, ...]
    unknown_models: tuple[str, ...]

    def count(self, state: State) -> int:
        return sum(row.state == state for row in self.rows)

    @property
    def open_rows(self) -> tuple[PriceRow, ...]:
        return tuple(row for row in self.rows if row.is_open)


def price_key(price: Price) -> Key:
    """What no two prices share: everything but the amount, the end and where it comes from."""
    return (
        price.model,
        price.token_kind,
        price.service_tier,
        price.prompt_length_band,
        price.geo,
        price.speed,
        price.valid_from,
    )


def price_difference(
    filed: Sequence[Price],
    *,
    held: Sequence[Price],
    proposed: Iterable[Price] = (),
    known_models: Iterable[str] = (),
    today: date,
    by_look_up: bool = True,
) -> PriceDifference:
    """The file beside the approved prices `held`, and what is `proposed` already.

    `by_look_up`: what a file without dates says is compared with what holds on its day (today where it names none);
    otherwise (the shipped form, which is dated) only with a price of the same key. Two prices of one key in the file:
    the second contradicts the first.
    """
    book = PriceBook(held)
    by_key = {price_key(price): price for price in held}
    waiting = {(price_key(price), price.usd_per_unit) for price in proposed}
    first: dict[Key, Price] = {}
    rows = []
    for price in filed:
        key = price_key(price)
        twin = by_key.get(key) or first.get(key)
        holds = in_force(book, price, today) if by_look_up else None
        other = (holds or twin) if price.valid_from is None else (twin or holds)
        first.setdefault(key, price)
        rows.append(PriceRow(_state(price, twin, other), price, other, (key, price.usd_per_unit) in waiting))
    known = set(book.models) | set(known_models)
    unknown = tuple(dict.fromkeys(price.model for price in filed if price.model not in known))
    rows += _absent(book, filed, today)
    return PriceDifference(tuple(sorted(rows, key=_place)), unknown)


def _state(price: Price, twin: Price | None, other: Price | None) -> State:
    if other is None:
        return "added"
    if other.usd_per_unit == price.usd_per_unit:
        return "same"
    is_later = price.valid_from is not None and (other.valid_from is None or other.valid_from < price.valid_from)
    return "changed" if twin is None and is_later else "contradicts"


def in_force(book: PriceBook, price: Price, today: date) -> Price | None:
    """What is held for the same thing on the day a price begins (today where it names none)."""
    key = PriceKey(price.model, price.service_tier, price.prompt_length_band, price.geo, price.speed)
    try:
        return book.lookup(key, price.token_kind, price.valid_from or today).price
    except PriceNotFound:
        return None


def _absent(book: PriceBook, filed: Sequence[Price], today: date) -> list[PriceRow]:
    """What holds today for models of the file, and the file says nothing of it."""
    models = {price.model for price in filed}
    said = {(price.model, price.token_kind, price.service_tier, price.geo, price.speed) for price in filed}
    return [
        PriceRow("absent", None, price)
        for price in book.prices
        if price.model in models
        and price.holds_on(today)
        and (price.model, price.token_kind, price.service_tier, price.geo, price.speed) not in said
    ]


_PLACE: Final = {state: place for place, state in enumerate(("contradicts", "changed", "added", "absent", "same"))}


def _place(row: PriceRow) -> tuple[object, ...]:
    price = row.price
    kinds = (*TOKEN_KINDS, "web_search")
    return (
        _PLACE[row.state],
        price.model,
        price.service_tier,
        price.speed,
        price.geo,
        price.prompt_length_band,
        price.valid_from or date.min,
        kinds.index(price.token_kind),
    )


def from_day(price: Price, day: date | None) -> Price:
    """The price, holding from a day on where one is given."""
    return price if day is None else replace(price, valid_from=day, valid_to=None)


def percent_words(change: float | None) -> str:
    """+25%, −12.5%; '' where it cannot be said."""
    if change is None:
        return ""
    number = Decimal(repr(round(change * 100, 2)))
    text = f"{abs(number):f}".rstrip("0").rstrip(".") if "." in f"{number:f}" else f"{abs(number):f}"
    return f"{'+' if change >= 0 else '−'}{text}%"
