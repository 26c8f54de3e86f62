"""genai-prices data (prices/new_data/v2/data.json or one provider of it): usd per million tokens, dated where known."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from billing.core.pricebook import BANDS_TOK, Price
from billing.core.usage import PricedKind
from billing.importers.base import Head, ImportRefused, Problem, shown
from billing.importers.price_json import exact_price, load_exact

_KINDS: Final[Mapping[str, PricedKind]] = {
    "input_mtok": "uncached_input",
    "cache_write_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "cache_read_mtok": "cache_read",
    "output_mtok": "output",
    "web_searches_kcount": "web_search",
}
_PROVIDER: Final = "anthropic"
_REMEDY: Final = "Take the file of genai-prices unchanged; if it is, its form has changed"


class GenaiPrices:
    name = "genai-prices"
    title = "genai-prices data.json"
    is_suggestion = True

    def claims(self, head: Head) -> bool:
        return head.text.lstrip().startswith(("[", "{")) and '"input_mtok"' in head.text

    def read(
        self, path: Path, *, file_name: str, canonical: Callable[[str], str], checked_on: date
    ) -> tuple[Price, ...]:
        """Every dated price of the provider's models; a price by time of day is refused, because none can be kept."""
        data = load_exact(path, file_name)
        providers = data if isinstance(data, list) else [data]
        provider = next((item for item in providers if isinstance(item, dict) and item.get("id") == _PROVIDER), None)
        if provider is None or not isinstance(provider.get("models"), list):
            raise ImportRefused.because(file_name, "no provider 'anthropic' with a list of models", _REMEDY)
        found: dict[Price, None] = {}
        problems: list[Problem] = []
        for model in provider["models"]:
            if not isinstance(model, dict) or not isinstance(model.get("id"), str):
                problems.append(Problem(None, "models", shown(str(model)), "a model without id", _REMEDY))
                continue
            base = Price(canonical(model["id"]), "output", Decimal(0), f"genai-prices file {file_name}", checked_on)
            for item in _model(model, base):
                if isinstance(item, Price):
                    found[item] = None
                else:
                    problems.append(item)
        if problems:
            raise ImportRefused(file_name, problems)
        return tuple(found)


def _model(model: Mapping[str, Any], base: Price) -> Iterator[Price | Problem]:
    yield from _dated(model.get("prices"), base, f"{model['id']}.prices")
    for variant in model.get("price_variants") or []:
        when = variant.get("when") if isinstance(variant, dict) else None
        if when == {"processing": "batch"}:
            row = replace(base, service_tier="batch")
        elif when == {"speed": "fast"}:
            row = replace(base, speed="fast")
        else:
            yield Problem(None, f"{model['id']}.price_variants", shown(str(when)), "unknown variant", _REMEDY)
            continue
        yield from _dated([variant], row, f"{model['id']}.price_variants")


def _dated(prices: Any, base: Price, field: str) -> Iterator[Price | Problem]:
    for entry in prices if isinstance(prices, list) else [{"prices": prices}]:
        constraint = entry.get("constraint") if isinstance(entry, dict) else None
        start = None
        if constraint:
            try:
                start = date.fromisoformat(str(constraint["start_date"]))
            except (KeyError, TypeError, ValueError):
                yield Problem(
                    None, f"{field}.constraint", shown(str(constraint)), "a price that holds by something else "
                    "than a start date", "Enter this model's prices by hand",
                )  # fmt: skip
                continue
        rates = entry.get("prices") if isinstance(entry, dict) else None
        if not isinstance(rates, dict):
            yield Problem(None, field, shown(str(rates)), "not an object of prices", _REMEDY)
            continue
        for key, value in rates.items():
            if (kind := _KINDS.get(key)) is not None:
                yield from _banded(value, replace(base, token_kind=kind, valid_from=start), f"{field}.{key}")


def _banded(value: Any, base: Price, field: str) -> Iterator[Price | Problem]:
    if not isinstance(value, dict):
        yield exact_price(lambda usd: replace(base, usd_per_unit=usd), value, field)
        return
    tiers = value.get("tiers") or []
    if not tiers:
        yield exact_price(lambda usd: replace(base, usd_per_unit=usd), value.get("base"), field)
        return
    edge = f"{int(tiers[0].get('start', 0)) // 1000}k" if isinstance(tiers[0], dict) else ""
    low, high = f"0-{edge}", f"{edge}-1M"
    if len(tiers) != 1 or low not in BANDS_TOK or high not in BANDS_TOK:
        yield Problem(None, field, shown(str(tiers)), "a tier at a length no band begins at", "Enter it by hand")
        return
    for band, usd in ((low, value.get("base")), (high, tiers[0].get("price"))):
        row = replace(base, prompt_length_band=band)
        yield exact_price(lambda usd, row=row: replace(row, usd_per_unit=usd), usd, field)  # type: ignore[misc]
