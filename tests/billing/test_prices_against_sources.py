"""Shipped prices against what others state: a provider's cost report, the observations, two open collections."""

import csv
import json
import os
import re
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from billing.core.pricebook import PriceBook, PriceKey, PriceNotFound
from billing.models import Price
from billing.operations.price_changes import import_prices
from billing.operations.prices import seed_list_prices, shipped_prices
from billing.queries.usage import cost_lines, priced_usage

AS_OF = datetime(2026, 11, 24, 12, tzinfo=UTC)
SAMPLES = Path(__file__).resolve().parent.parent / "importers" / "usage" / "samples"
OBSERVATIONS = Path(__file__).with_name("price_observations.csv")
KIND_OF_TOKEN_TYPE = {
    "uncached_input_tokens": "uncached_input",
    "cache_read_input_tokens": "cache_read",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write_5m",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write_1h",
    "output_tokens": "output",
}
COLUMN_OF_KIND = {
    "uncached_input": "input",
    "cache_read": "cache_read",
    "cache_write_5m": "cache_write_5m",
    "cache_write_1h": "cache_write_1h",
    "output": "output",
}
BANDS = {"all": ("0-100k", "200k-1M"), "<=100k": ("0-100k",), ">100k": ("100k-200k", "200k-1M"),
         "<=200k": ("0-100k", "100k-200k"), ">200k": ("200k-1M",)}  # fmt: skip


def reported_cents():
    """Cost of the report by day, model and token type (web searches: by day), in cents as stated."""
    report = json.loads((SAMPLES / "cost_report_by_workspace_description.json").read_text())
    cents: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for bucket in report["data"]:
        for row in bucket["results"]:
            if row["cost_type"] == "tokens":
                model = re.sub(r"-20\d{6}$", "", row["model"])
                key = (bucket["starting_at"][:10], model, KIND_OF_TOKEN_TYPE[row["token_type"]])
                cents[key] += Decimal(row["amount"])
            elif row["cost_type"] == "web_search":
                cents[bucket["starting_at"][:10], "", "web_search"] += Decimal(row["amount"])
    return cents


@pytest.mark.django_db
def test_a_usage_report_costs_what_the_providers_cost_report_says(import_it):
    """The two samples tell of the same two days; priority usage has no list price and no row in the cost report."""
    seed_list_prices(as_of=AS_OF)
    import_it(SAMPLES / "usage_report_messages_1d.json")
    ours: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for day in (date(2026, 11, 9), date(2026, 11, 10)):
        for line in cost_lines(start=day, end=day + timedelta(days=1)).lines:
            model = "" if line.token_kind == "web_search" else line.model
            ours[day.isoformat(), model, line.token_kind] += line.cost_usd * 100
    assert ours == reported_cents()
    usage = priced_usage(start=date(2026, 11, 9), end=date(2026, 11, 11))
    assert sum(group.cost_usd for group in usage.groups) == Decimal("60.409086")
    assert {(line.model, line.service_tier, line.cause) for line in usage.unpriced} == {
        ("claude-sonnet-5-5", "priority", "price")
    }


def test_shipped_prices_are_the_observed_ones():
    """Every observation, at the first and last day it holds, in every prompt length it covers, global and US."""
    book = PriceBook(shipped_prices())
    checked = 0
    with OBSERVATIONS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            model = re.sub(r"-20\d{6}$", "", row["model_id"])
            start = date.fromisoformat(row["effective_from"] or "2026-01-05")
            last = date.fromisoformat(row["effective_to"] or "2026-12-31") - timedelta(days=1)
            bands = BANDS[row["context_tier"]]
            if model == "claude-sonnet-4":
                bands = ("0-100k", "100k-200k")  # above 200k another price held that no source states
            geos = {"global": Decimal(1)}
            if row["us_geo_multiplier"] != "1":
                geos["us"] = Decimal(row["us_geo_multiplier"])
            for kind, column in COLUMN_OF_KIND.items():
                for band in bands:
                    for geo, factor in geos.items():
                        key = PriceKey(model, row["processing"], band, geo, row["speed"])
                        for day in (start, last):
                            found = book.lookup(key, kind, day).price  # type: ignore[arg-type]  # a literal above
                            assert found.usd_per_unit == Decimal(row[column]) * factor, (row, kind, band, geo, day)
                            checked += 1
    assert checked > 2_000


@pytest.fixture
def second_list():
    shared = os.environ.get("COSTGOV_SHARED")
    path = Path(shared or "") / "data" / "prices" / "claude_list_prices.csv"
    if not shared or not path.is_file():
        pytest.skip("COSTGOV_SHARED does not lead to data/prices/claude_list_prices.csv: nothing to compare with")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


ALIASES = {
    "claude-3-5-haiku-latest": "claude-3-5-haiku",
    "claude-3-7-sonnet-latest": "claude-3-7-sonnet",
    "claude-3-opus-latest": "claude-3-opus",
    "claude-opus-4-0": "claude-opus-4",
    "claude-sonnet-4-0": "claude-sonnet-4",
}


def test_a_second_list_agrees_but_for_the_documented_point(second_list):
    """The one difference: Sonnet 4.5 above 200k after 30 April 2026 (docs/algorithms/pricing.md, "Known gaps")."""
    book = PriceBook(shipped_prices())
    dated = {row["model"] for row in second_list if row["valid_from"]}
    differences = set()
    for row in second_list:
        model = ALIASES.get(row["model"], row["model"])
        # An undated row of a model that also has a dated one held before that day.
        day = date(2026, 3, 1) if row["model"] in dated and not row["valid_from"] else date(2026, 11, 23)
        for kind in COLUMN_OF_KIND:
            name = "input" if kind == "uncached_input" else kind
            if not row[f"{name}_usd_per_mtok"]:
                continue
            prices = {"0-100k": row[f"{name}_usd_per_mtok"]}
            if tier := row[f"{name}_tiers"]:
                edge, _, above = tier.removeprefix(">").partition(":")
                prices["200k-1M" if edge == "200000" else "100k-200k"] = above
            for band, usd in prices.items():
                try:
                    found = book.lookup(PriceKey(model, "standard", band, "global", "standard"), kind, day)  # type: ignore[arg-type]
                except PriceNotFound:
                    differences.add((model, band))
                else:
                    assert found.price.usd_per_unit == Decimal(usd), (row, kind, band)
    assert len(second_list) == 29
    assert differences == {("claude-sonnet-4-5", "200k-1M")}


@pytest.fixture
def collections():
    shared = os.environ.get("COSTGOV_SHARED")
    folder = Path(shared or "") / "formats" / "samples" / "prices"
    if not shared or not folder.is_dir():
        pytest.skip("COSTGOV_SHARED does not lead to formats/samples/prices: nothing to import")
    return [folder / "litellm_model_prices_claude_extract.json", folder / "genai_prices_v2_anthropic_extract.json"]


@pytest.mark.django_db
def test_the_open_collections_import_as_suggestions(collections):
    """LiteLLM's 320 first-party prices and genai-prices' 64 of August: what agrees is held, what does not is listed."""
    seed_list_prices(as_of=AS_OF)
    litellm, genai = import_prices(actor=None, paths=collections, as_of=AS_OF)
    assert (litellm.added, litellm.held, litellm.disagreements) == (9, 311, ())
    # The documented point: LiteLLM has one price for every length of Sonnet 4.5 where only up to 200k is held.
    proposed = Price.objects.filter(approved_at=None).values_list("model", "prompt_length_band")
    assert set(proposed) == {("claude-sonnet-4-5", "all")}
    assert (genai.added, genai.held, len(genai.disagreements)) == (0, 59, 5)
    assert all("claude-sonnet-5 " in text and "from 2026-09-01" in text for text in genai.disagreements)
