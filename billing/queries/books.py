"""Which prices a figure is at: the list (the default everywhere), contracts, a what-if scenario, or both."""

from dataclasses import dataclass
from typing import Final

from billing.core.price_scenarios import PriceScenario, ScenarioBook, parse_price_scenario
from billing.core.pricebook import PriceBook
from billing.models import PriceScenario as StoredScenario
from billing.queries.contracts import contracted_book
from billing.queries.prices import price_book

LIST: Final = "list"
CONTRACTED: Final = "contracted"
BASES: Final = (LIST, CONTRACTED)


class UnknownPrices(ValueError):
    """Prices nobody keeps under that name; the message lists what there is."""


@dataclass(frozen=True, slots=True)
class Books:
    """A book and what it stands for. `words` fit behind "spend": "at list prices"."""

    book: PriceBook
    basis: str
    scenario: str
    words: str


def book_for(*, basis: str = LIST, scenario: str = "", book: PriceBook | None = None) -> Books:
    """The book of a basis, under a scenario by name ('' = none). Raises UnknownPrices.

    A scenario changes the list, and contracts are laid over what it makes of it. `book`: the list, where it is read
    already.
    """
    if basis not in BASES:
        raise UnknownPrices(f"unknown basis {basis!r}: use {' or '.join(BASES)}")
    listed = book if book is not None else price_book()
    words = "at list prices" if basis == LIST else "under the approved contracts"
    if scenario:
        listed = ScenarioBook(listed, scenario_named(scenario))
        words += f" of scenario {scenario}" if basis == LIST else f", list prices of scenario {scenario}"
    return Books(contracted_book(book=listed) if basis == CONTRACTED else listed, basis, scenario, words)


def scenario_named(name: str) -> PriceScenario:
    """A kept scenario. Raises UnknownPrices, listing the kept ones."""
    row = StoredScenario.objects.filter(name=name).first()
    if row is None:
        known = ", ".join(StoredScenario.objects.order_by("name").values_list("name", flat=True)[:20])
        raise UnknownPrices(f"there is no price scenario {name!r}; kept are: {known or 'none'}")
    return parse_price_scenario(row.document)


def price_scenarios() -> tuple[str, ...]:
    """Names of the kept what-if price books."""
    return tuple(StoredScenario.objects.order_by("name").values_list("name", flat=True))
