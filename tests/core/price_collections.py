"""Our prices, genai-prices' and LiteLLM's of one unit of usage, in dollars: the cells that are compared.

A cell is a model, kind of unit, processing (service tier), speed, geo, prompt length and day. Each collection is asked
through its own calculator with usage of just this kind, so that what is compared is what a bill would say.
"""

import itertools
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from genai_prices import Usage, calc_price

from tests.core import price_oracle as oracle
from tests.core.litellm_costs import Asked

UNITS = 1_000  # of output or searches in a cell; of the input kinds the whole prompt


class Cell(NamedTuple):
    model: str
    kind: str
    tier: str
    speed: str
    geo: str
    prompt_tok: int
    day: date


LENGTHS = (1_000, 100_000, 100_001, 200_000, 200_001)
# Around every day on which our prices or those of genai-prices change, and today.
DAYS = tuple(
    date.fromisoformat(day)
    for day in (
        "2026-03-12", "2026-03-13", "2026-04-29", "2026-04-30", "2026-10-06", "2026-10-07", "2026-10-13", "2026-10-14",
        "2026-11-24", "2026-11-29", "2026-11-30",
    )
)  # fmt: skip


# Ways to send a request: service tier, speed, inference geo.
USES = {
    "standard": ("standard", "standard", "global"),
    "batch": ("batch", "standard", "global"),
    "fast": ("standard", "fast", "global"),
    "us": ("standard", "standard", "us"),
    "batch, us": ("batch", "standard", "us"),
    "fast, us": ("standard", "fast", "us"),
    "batch, fast": ("batch", "fast", "global"),
}


def cells() -> list[Cell]:
    places = itertools.product(oracle.MODELS, oracle.KINDS, USES.values(), LENGTHS, DAYS)
    return [Cell(model, kind, *use, length, day) for model, kind, use, length, day in places]


def ours(cell: Cell) -> Fraction | None:
    """Dollars of one unit on our list; None where we say that there is no price."""
    prices = oracle.unit_prices(
        cell.model, cell.kind, cell.tier, "", cell.geo, cell.speed, cell.day.isoformat(), cell.prompt_tok
    )
    return Fraction(prices[0], oracle.FEMTO) if prices else None


def counts_of(cell: Cell) -> dict[str, int]:
    """Usage of this kind alone; output and searches come with a prompt of the cell's length."""
    if cell.kind in ("output", "web_search"):
        return {"uncached_input": cell.prompt_tok, cell.kind: UNITS}
    return {cell.kind: cell.prompt_tok}


def genai_usage(counts: dict[str, int]) -> Usage:
    prompt = sum(count for kind, count in counts.items() if kind not in ("output", "web_search"))
    return Usage(
        input_tokens=prompt,
        cache_read_tokens=counts.get("cache_read", 0),
        cache_write_tokens=counts.get("cache_write_5m", 0) + counts.get("cache_write_1h", 0),
        cache_write_5m_tokens=counts.get("cache_write_5m", 0),
        cache_write_1h_tokens=counts.get("cache_write_1h", 0),
        output_tokens=counts.get("output", 0),
        web_searches=counts.get("web_search", 0),
    )


def genai_cost(cell: Cell, counts: dict[str, int]) -> tuple[Decimal, Decimal, Decimal] | None:
    """Input, output and whole cost in dollars; None: no such model."""
    context = {}
    if cell.tier == "batch":
        context["processing"] = "batch"
    if cell.speed == "fast":
        context["speed"] = "fast"
    at = datetime.combine(cell.day, time(12), UTC)
    try:
        found = calc_price(
            genai_usage(counts), cell.model, provider_id="anthropic", genai_request_timestamp=at,
            price_context=context or None,
        )  # fmt: skip
    except LookupError:
        return None
    return found.input_price, found.output_price, found.total_price


def genai(cell: Cell) -> Fraction | None:
    """Dollars of one unit by genai-prices; None: it does not know the model."""
    counts = counts_of(cell)
    found = genai_cost(cell, counts)
    if found is None:
        return None
    input_usd, output_usd, total_usd = found
    if cell.kind == "web_search":
        return Fraction(total_usd - input_usd - output_usd) / UNITS
    if cell.kind == "output":
        return Fraction(output_usd) / UNITS
    return Fraction(input_usd) / cell.prompt_tok


def provider_usage(cell: Cell, counts: dict[str, int]) -> dict[str, Any]:
    """The usage object of a response of the Messages API."""
    return {
        "input_tokens": counts.get("uncached_input", 0),
        "cache_creation_input_tokens": counts.get("cache_write_5m", 0) + counts.get("cache_write_1h", 0),
        "cache_read_input_tokens": counts.get("cache_read", 0),
        "cache_creation": {
            "ephemeral_5m_input_tokens": counts.get("cache_write_5m", 0),
            "ephemeral_1h_input_tokens": counts.get("cache_write_1h", 0),
        },
        "output_tokens": counts.get("output", 0),
        "server_tool_use": {"web_search_requests": counts.get("web_search", 0)},
        "service_tier": cell.tier,
        "inference_geo": cell.geo,
        "speed": cell.speed,
    }


def litellm_question(cell: Cell) -> Asked:
    return cell.model, cell.tier == "batch", provider_usage(cell, counts_of(cell))


def litellm_unit(cell: Cell, found: tuple[float, float, float] | None) -> float | None:
    """Dollars of one unit by LiteLLM, from the answer to `litellm_question`."""
    if found is None:
        return None
    prompt_usd, output_usd, total_usd = found
    if cell.kind == "web_search":
        return (total_usd - prompt_usd - output_usd) / UNITS
    if cell.kind == "output":
        return output_usd / UNITS
    return prompt_usd / cell.prompt_tok
