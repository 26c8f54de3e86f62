"""LiteLLM's model_prices_and_context_window.json: usd per single token, today's prices only, no dates.

Only the entries of the first-party API are read (`litellm_provider: anthropic`): Bedrock and Vertex prices differ, and
usage of those channels is not priced from them.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from billing.core.pricebook import Price
from billing.core.usage import PricedKind
from billing.importers.base import Head, ImportRefused, Problem
from billing.importers.price_json import exact_price, load_exact

_BASES: Final[Mapping[str, PricedKind]] = {
    "input_cost_per_token": "uncached_input",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write_5m",
    "output_cost_per_token": "output",
}
_NAME: Final = re.compile("(" + "|".join(_BASES) + ")(_above_1hr)?(?:_above_(100|200)k_tokens)?(_batches)?", re.ASCII)
_MULTIPLIER_KEYS: Final = {"us": ("geo", "us"), "fast": ("speed", "fast")}


class LiteLLMPrices:
    name = "litellm"
    title = "LiteLLM model_prices_and_context_window.json"
    is_suggestion = True

    def claims(self, head: Head) -> bool:
        return head.text.lstrip().startswith("{") and '"litellm_provider"' in head.text

    def read(
        self, path: Path, *, file_name: str, canonical: Callable[[str], str], checked_on: date
    ) -> tuple[Price, ...]:
        """Prices that hold on `checked_on`. US and fast prices are the stated multiples, written out."""
        data = load_exact(path, file_name)
        if not isinstance(data, dict):
            raise ImportRefused.because(file_name, "not one object of models", "Take the file of LiteLLM unchanged")
        found: dict[Price, None] = {}
        problems: list[Problem] = []
        for name, entry in data.items():
            if not isinstance(entry, dict) or entry.get("litellm_provider") != "anthropic":
                continue
            base = Price(canonical(name), "output", Decimal(0), f"LiteLLM price file {file_name}", checked_on)
            for item in _entry(name, entry, base):
                if isinstance(item, Price):
                    found[item] = None
                else:
                    problems.append(item)
        if problems:
            raise ImportRefused(file_name, problems)
        if not found:
            raise ImportRefused.because(
                file_name,
                "no entry with litellm_provider = anthropic and a price",
                "Take the file of LiteLLM unchanged",
            )
        return tuple(found)


def _entry(name: str, entry: Mapping[str, Any], base: Price) -> Iterator[Price | Problem]:
    edges = {match[3] for key in entry if (match := _NAME.fullmatch(key)) and match[3]}
    edge = next(iter(edges), "")
    multipliers = entry.get("provider_specific_entry")
    for key, value in entry.items():
        match = _NAME.fullmatch(key)
        if match is None or value is None:
            continue
        kind: PricedKind = "cache_write_1h" if match[2] else _BASES[match[1]]
        band = (f"{edge}k-1M" if match[3] else f"0-{edge}k") if edge else "all"
        row = replace(base, token_kind=kind, prompt_length_band=band, service_tier="batch" if match[4] else "standard")
        price = exact_price(lambda usd, row=row: replace(row, usd_per_unit=usd), value, f"{name}.{key}", exponent=6)  # type: ignore[misc]
        yield price
        if isinstance(price, Price) and isinstance(multipliers, Mapping):
            yield from _multiplied(price, multipliers, name)
    searches = entry.get("search_context_cost_per_query")
    if isinstance(searches, Mapping) and len(set(searches.values())) == 1:
        value = next(iter(searches.values()))
        row = replace(base, token_kind="web_search")  # noqa: S106 - a kind of usage
        yield exact_price(
            lambda usd: replace(row, usd_per_unit=usd), value, f"{name}.search_context_cost_per_query", exponent=3
        )


def _multiplied(price: Price, multipliers: Mapping[str, Any], name: str) -> Iterator[Price | Problem]:
    for key, (dimension, value) in _MULTIPLIER_KEYS.items():
        factor = multipliers.get(key)
        if factor is None or (key == "fast" and price.service_tier == "batch"):
            continue
        if not isinstance(factor, Decimal):
            yield Problem(None, f"{name}.provider_specific_entry.{key}", str(factor), "not a number", "Correct it")
            continue
        note = f"{key} is {factor} of every token kind"
        row = replace(price, **{dimension: value}, note=note)  # type: ignore[arg-type]
        yield exact_price(
            lambda usd, row=row: replace(row, usd_per_unit=usd),  # type: ignore[misc]
            price.usd_per_unit * factor,
            f"{name}.provider_specific_entry.{key}",
        )
