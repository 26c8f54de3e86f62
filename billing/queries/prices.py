"""Approved, dated list prices as values: the book that prices usage, and the rates routing compares models by."""

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.db.models import Q

from billing.core.pricebook import Price as ListPrice
from billing.core.pricebook import PriceBook
from billing.models import ModelAlias, ModelRelease, Price

KINDS = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")


@dataclass(frozen=True, slots=True)
class TierPrices:
    """usd per million tokens of one model in one service tier, global, standard speed."""

    uncached_input: Decimal
    cache_read: Decimal
    cache_write_5m: Decimal
    cache_write_1h: Decimal
    output: Decimal


@dataclass(frozen=True, slots=True)
class ModelPrices:
    """What a model costs on a day. `standard` None = not determined, for `reason`."""

    model: str
    standard: TierPrices | None
    batch: TierPrices | None
    min_cacheable_tok: int | None
    reason: str


def price_book() -> PriceBook:
    """Every approved list price, as the one look-up that prices usage."""
    rows = Price.objects.filter(approved_at__isnull=False).order_by("pk")
    return PriceBook(
        ListPrice(
            model=row.model,
            token_kind=row.token_kind,  # type: ignore[arg-type]  # checked by the value itself
            usd_per_unit=row.usd_per_unit,
            source=row.source,
            checked_on=row.checked_on,
            service_tier=row.service_tier,
            prompt_length_band=row.prompt_length_band,
            geo=row.geo,
            speed=row.speed,
            valid_from=row.valid_from,
            valid_to=row.valid_to,
            note=row.note,
        )
        for row in rows
    )


def model_prices(*, on: date) -> dict[str, ModelPrices]:
    """Rates of every priced model on a day. A model priced by prompt length has none without the length."""
    rows = (
        Price.objects.filter(approved_at__isnull=False, geo="global", speed="standard", token_kind__in=KINDS)
        .filter(Q(valid_from__isnull=True) | Q(valid_from__lte=on), Q(valid_to__isnull=True) | Q(valid_to__gt=on))
        .order_by("valid_from")
    )
    # NULLS LAST in PostgreSQL: an open start is the oldest, so it must not override a dated row.
    chosen: dict[tuple[str, str, str, str], Price] = {}
    for row in rows:
        key = (row.model, row.service_tier, row.prompt_length_band, row.token_kind)
        held = chosen.get(key)
        if held is None or (row.valid_from or date.min) > (held.valid_from or date.min):
            chosen[key] = row
    by_model: dict[str, dict[tuple[str, str], dict[str, Decimal]]] = defaultdict(lambda: defaultdict(dict))
    for (model, tier, band, kind), row in chosen.items():
        by_model[model][tier, band][kind] = row.usd_per_unit
    limits = dict(ModelRelease.objects.values_list("canonical_id", "min_cacheable_tok"))
    return {model: _model_prices(model, rates, limits.get(model)) for model, rates in sorted(by_model.items())}


def _model_prices(
    model: str, rates: dict[tuple[str, str], dict[str, Decimal]], min_cacheable_tok: int | None
) -> ModelPrices:
    standard, reason = _tier(rates, "standard")
    batch, _ = _tier(rates, "batch")
    return ModelPrices(model, standard, batch, min_cacheable_tok, f"{model}: {reason}" if standard is None else "")


def _tier(rates: dict[tuple[str, str], dict[str, Decimal]], tier: str) -> tuple[TierPrices | None, str]:
    flat = rates.get((tier, "all"))
    if flat is None:
        banded = any(name == tier for name, _ in rates)
        return None, "priced by prompt length, which this comparison does not know" if banded else f"no {tier} price"
    missing = [kind for kind in KINDS if kind not in flat]
    if missing:
        return None, f"no {tier} price for {', '.join(missing)}"
    return TierPrices(**{kind: flat[kind] for kind in KINDS}), ""


def routable_models(*, on: date) -> frozenset[str]:
    """Models a policy may send requests to: allowed by the organisation and not retired on that day."""
    alive = Q(retires_on__isnull=True) | Q(retires_on__gt=on)
    return frozenset(ModelRelease.objects.filter(alive, is_allowed=True).values_list("canonical_id", flat=True))


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    """What routing needs to know of a model release."""

    tokenizer_generation: int | None
    max_input_tok: int | None
    retires_on: date | None
    tier: str


def release_facts() -> dict[str, ReleaseFacts]:
    """Facts of every placed model, by canonical id."""
    rows = ModelRelease.objects.values_list(
        "canonical_id", "tokenizer_generation", "max_input_tok", "retires_on", "tier"
    )
    return {name: ReleaseFacts(*facts) for name, *facts in rows}


def price_version() -> str:
    """Hash of all approved prices and aliases: what a forecast or recommendation says it was priced with."""
    fields = (
        "model",
        "token_kind",
        "service_tier",
        "prompt_length_band",
        "geo",
        "speed",
        "usd_per_unit",
        "valid_from",
        "valid_to",
    )
    prices = list(Price.objects.filter(approved_at__isnull=False).order_by("pk").values_list(*fields))
    aliases = list(ModelAlias.objects.order_by("alias").values_list("alias", "release__canonical_id"))
    text = json.dumps([prices, aliases], default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
