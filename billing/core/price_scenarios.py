"""What-if price books as documents: `costgov.price_scenario/1`. Strict: nothing is guessed.

    {"schema": "costgov.price_scenario/1", "title": "Opus a fifth cheaper", "note": "",
     "changes": [{"model": "claude-opus-5-5", "percent": "-20", "from": "2027-01-01"}],
     "prices": [{"model": "claude-next", "token_kind": "output", "usd_per_unit": "12", "from": "2027-03-01"}]}

A change is a percentage on the list price, or a fixed price of one kind. `prices` are absolute and go before the list
where they hold: a model nobody sells yet, or somebody's price file. A scenario never prices anything real.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any, Final

from billing.core.closed_books import ClosedMonth
from billing.core.documents import DocumentRefused, decoded, plain, rows_of, shown, values_of
from billing.core.overlays import Change, Overlay, OverlayBook
from billing.core.pricebook import ALL_BANDS, FoundPrice, Price, PriceBook, PriceError, PriceKey, PriceNotFound
from billing.core.usage import REQUEST_BANDS, UNTOLD, PricedKind

SCHEMA: Final = "costgov.price_scenario/1"
MAX_TITLE: Final = 120
MAX_NOTE: Final = 2000
KEYS: Final = ("schema", "title", "note", "changes", "prices")
CHANGE_KEYS: Final = ("model", "token_kind", "service_tier", "percent", "usd_per_unit", "from", "to")
PRICE_KEYS: Final = (
    "model", "token_kind", "service_tier", "prompt_length_band", "geo", "speed", "usd_per_unit", "from", "to", "source",
)  # fmt: skip
_USUAL: Final = {"service_tier": "standard", "prompt_length_band": ALL_BANDS, "geo": "global", "speed": "standard"}


class ScenarioRefused(DocumentRefused):
    """A scenario that cannot be used; `problems` lists everything wrong with it."""


@dataclass(frozen=True, slots=True)
class PriceScenario:
    """Changes laid over the list, and prices that go before it."""

    title: str
    changes: tuple[Change, ...] = ()
    prices: tuple[Price, ...] = ()
    note: str = ""

    @property
    def words(self) -> str:
        return f"in scenario {self.title}"

    @property
    def starts(self) -> tuple[date, ...]:
        """Days on which something of it begins, ascending."""
        days = {change.valid_from for change in self.changes} | {price.valid_from for price in self.prices}
        return tuple(sorted(day for day in days if day is not None))


class ScenarioBook(PriceBook):
    """A price book under a scenario: its own prices first, else the list with its changes."""

    _own: PriceBook
    _changed: OverlayBook

    def __init__(self, base: PriceBook, scenario: PriceScenario) -> None:
        super().__init__(base.prices)
        own = [replace(price, terms=f"assumed {scenario.words}") for price in scenario.prices]
        object.__setattr__(self, "_own", PriceBook(own))
        object.__setattr__(self, "_changed", OverlayBook(base, [Overlay(scenario.words, scenario.changes)]))
        object.__setattr__(self, "_scenario", scenario)

    @property
    def models(self) -> frozenset[str]:
        return self._changed.models | self._own.models

    @property
    def by_channel(self) -> bool:
        return self._changed.by_channel

    @property
    def closed(self) -> tuple[ClosedMonth, ...]:
        return self._changed.closed

    def with_prices(self, new: Iterable[Price]) -> "ScenarioBook":
        return ScenarioBook(self._changed.base.with_prices(new), self._scenario)  # type: ignore[attr-defined]

    def change_days(self) -> tuple[date, ...]:
        return tuple(sorted({*self._changed.change_days(), *self._own.change_days()}))

    def lookup(self, key: PriceKey, kind: PricedKind, on: date) -> FoundPrice:
        """The scenario's own price, else the list's as changed; an untold prompt length must not matter to either."""
        if key.prompt_length_band in UNTOLD and key.model in self._own.models and kind != "web_search":
            return self._of_any_length(key, kind, on)
        return self._of_length(key, kind, on)

    def _of_length(self, key: PriceKey, kind: PricedKind, on: date) -> FoundPrice:
        try:
            return self._own.lookup(key, kind, on)
        except PriceNotFound:
            return self._changed.lookup(key, kind, on)

    def _of_any_length(self, key: PriceKey, kind: PricedKind, on: date) -> FoundPrice:
        found = []
        for band in REQUEST_BANDS:
            try:
                found.append(self._of_length(replace(key, prompt_length_band=band), kind, on))
            except PriceNotFound:
                continue
        if len({one.price.usd_per_unit for one in found}) == 1:
            return found[0]
        return self._refused(key, kind, on, tuple(one.price.usd_per_unit for one in found))

    def _refused(self, key: PriceKey, kind: PricedKind, on: date, prices: tuple[Decimal, ...]) -> FoundPrice:
        """Says why as the list would; with the bounds where several prices are possible."""
        if not prices:
            return self._changed.lookup(key, kind, on)
        raise PriceNotFound(
            key,
            kind,
            on,
            "data",
            "the price depends on the prompt length, which the data does not tell",
            "Import request logs, or a report grouped by context window, for this usage",
            prices,
        )


def held_from(prices: Iterable[Price], start: date | None) -> tuple[Price, ...]:
    """The prices of a file as they hold from a day on: what began before it begins then, what begins later stays.

    Of several for the same thing that began before, the latest. Without a day they are as the file dates them.
    """
    if start is None:
        return tuple(prices)
    begun: dict[object, Price] = {}
    later = []
    for price in prices:
        key = tuple(getattr(price, name) for name in ("model", "token_kind", *_USUAL))
        if price.valid_from is not None and price.valid_from > start:
            later.append(price)
        elif price.valid_to is None or price.valid_to > start:
            other = begun.get(key)
            if other is None or (price.valid_from or date.min) >= (other.valid_from or date.min):
                begun[key] = price
    return (*(replace(price, valid_from=start) for price in begun.values()), *later)


def scenario_document(scenario: PriceScenario) -> dict[str, Any]:
    """The document again, in one form: what is usual or empty is left out."""
    return {
        "schema": SCHEMA,
        "title": scenario.title,
        "note": scenario.note,
        "changes": [_change_document(change) for change in scenario.changes],
        "prices": [_price_document(price) for price in scenario.prices],
    }


def read_price_scenario(text: str | bytes) -> PriceScenario:
    """A scenario from JSON text. Raises DocumentRefused, naming line and column where it is not JSON."""
    return parse_price_scenario(decoded(text, schema=SCHEMA))


def parse_price_scenario(document: Any) -> PriceScenario:
    """A scenario from a decoded document. Raises ScenarioRefused with every problem, not only the first."""
    if not isinstance(document, Mapping):
        raise ScenarioRefused(["document: not a JSON object; give one of costgov.price_scenario/1."])
    problems = [f"{key}: unknown key; known are {', '.join(KEYS)}." for key in document if key not in KEYS]
    if document.get("schema") != SCHEMA:
        problems.append(f'schema: {shown(document.get("schema"))}; give "{SCHEMA}".')
    title = document.get("title")
    if not isinstance(title, str) or not title.strip() or len(title) > MAX_TITLE or not title.isprintable():
        problems.append(f"title: {shown(title)}; give a name of 1 to {MAX_TITLE} letters.")
    elif "," in title:  # names stand in lists with commas between them, as in the scenarios of a forecast
        problems.append(f"title: {shown(title)}; write it without commas.")
    note = document.get("note", "")
    if not isinstance(note, str) or len(note) > MAX_NOTE:
        problems.append(f"note: {shown(note)}; give text of at most {MAX_NOTE:,} letters.")
    changes = [_change(row, f"changes[{n}]", problems) for n, row in enumerate(rows_of(document, "changes", problems))]
    prices = [_price(row, f"prices[{n}]", problems) for n, row in enumerate(rows_of(document, "prices", problems))]
    if not changes and not prices and not problems:
        problems.append("changes: nothing is assumed; give at least one change or price.")
    found = tuple(change for change in changes if change is not None)
    priced = tuple(price for price in prices if price is not None)
    _check_twice(found, problems)
    try:
        PriceBook(priced)
    except PriceError as error:
        problems.append(f"prices: {error}.")
    if problems:
        raise ScenarioRefused(problems)
    return PriceScenario(str(title).strip(), found, priced, note.strip())


def _change(row: Any, where: str, problems: list[str]) -> Change | None:
    values = values_of(row, where, CHANGE_KEYS, problems)
    if values is None:
        return None
    try:
        return Change(
            percent=values["percent"],
            usd_per_unit=values["usd_per_unit"],
            model=values["model"],
            token_kind=values["token_kind"],
            service_tier=values["service_tier"],
            valid_from=values["from"],
            valid_to=values["to"],
        )
    except PriceError as error:
        problems.append(f"{where}: {error}.")
        return None


def _price(row: Any, where: str, problems: list[str]) -> Price | None:
    values = values_of(row, where, PRICE_KEYS, problems)
    if values is None:
        return None
    if values["usd_per_unit"] is None:
        problems.append(f'{where}.usd_per_unit: missing; give usd as a decimal string, e.g. "12.50".')
        return None
    try:
        return Price(
            model=values["model"],
            token_kind=values["token_kind"],
            usd_per_unit=values["usd_per_unit"],
            source=values["source"] or "price scenario",
            checked_on=values["from"] or date.min,
            service_tier=values["service_tier"] or _USUAL["service_tier"],
            prompt_length_band=values["prompt_length_band"] or _USUAL["prompt_length_band"],
            geo=values["geo"] or _USUAL["geo"],
            speed=values["speed"] or _USUAL["speed"],
            valid_from=values["from"],
            valid_to=values["to"],
        )
    except PriceError as error:
        problems.append(f"{where}: {error}.")
        return None


def _check_twice(changes: Iterable[Change], problems: list[str]) -> None:
    seen: set[tuple[object, ...]] = set()
    for change in changes:
        key = (change.model, change.token_kind, change.service_tier, change.valid_from)
        if key in seen:
            problems.append(f"changes: two for {change.scope} from the same day; keep one.")
        seen.add(key)


def _change_document(change: Change) -> dict[str, str]:
    values = {
        "model": change.model,
        "token_kind": change.token_kind,
        "service_tier": change.service_tier,
        "percent": plain(change.percent),
        "usd_per_unit": plain(change.usd_per_unit),
        "from": change.valid_from.isoformat() if change.valid_from else "",
        "to": change.valid_to.isoformat() if change.valid_to else "",
    }
    return {key: value for key, value in values.items() if value}


def _price_document(price: Price) -> dict[str, str]:
    values = {
        "model": price.model,
        "token_kind": price.token_kind,
        **{name: value for name in _USUAL if (value := getattr(price, name)) != _USUAL[name]},
        "usd_per_unit": plain(price.usd_per_unit),
        "from": price.valid_from.isoformat() if price.valid_from else "",
        "to": price.valid_to.isoformat() if price.valid_to else "",
        "source": price.source,
    }
    return {key: value for key, value in values.items() if value}
