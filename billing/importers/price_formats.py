"""The price formats, and which of them a file is."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Final, Protocol

from billing.core.pricebook import Price
from billing.importers.base import Head, ImportRefused, read_head
from billing.importers.genai_prices import GenaiPrices
from billing.importers.litellm_prices import LiteLLMPrices
from billing.importers.price_csv import PriceCsv


class PriceFormat(Protocol):
    """A file of prices. `read` gives all of them or raises ImportRefused.

    `is_suggestion`: somebody else's collection, which may disagree with what is held here; what it says beside is
    listed, not refused.
    """

    name: str
    title: str
    is_suggestion: bool

    def claims(self, head: Head) -> bool: ...

    def read(
        self, path: Path, *, file_name: str, canonical: Callable[[str], str], checked_on: date
    ) -> tuple[Price, ...]: ...


PRICE_FORMATS: Final[tuple[PriceFormat, ...]] = (PriceCsv(), GenaiPrices(), LiteLLMPrices())


def price_format(path: Path, *, file_name: str, format_name: str = "") -> PriceFormat:
    """The format that claims a file, or the one asked for. Raises ImportRefused when there is none."""
    listing = "; ".join(f"{item.name} ({item.title})" for item in PRICE_FORMATS)
    named = next((item for item in PRICE_FORMATS if item.name == format_name), None)
    if format_name and named is None:
        raise ImportRefused.because(file_name, f"there is no price format {format_name!r}", f"Choose one of: {listing}")
    head = read_head(path, file_name)
    found = named or next((item for item in PRICE_FORMATS if item.claims(head)), None)
    if found is None:
        raise ImportRefused.because(
            file_name, "none of the known price formats recognises the file", f"Known are: {listing}"
        )
    return found
