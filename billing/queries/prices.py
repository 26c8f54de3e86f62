"""Approved, dated list prices as values: the book that prices usage, and the rates routing compares models by."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.db.models import Q

from billing.core.closed_books import ClosedMonth, HistoryBook
from billing.core.pricebook import Price as ListPrice
from billing.core.pricebook import PriceBook, PriceKey, PriceNotFound
from billing.core.spending import contract_months
from billing.core.usage import TOKEN_KINDS
from billing.models import BillingPeriod, ModelAlias, ModelRelease, Price


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


def price_book(*, known_at: datetime | None = None) -> PriceBook:
    """Every approved list price, as the one look-up that prices usage: closed months keep the prices of their closing.

    `known_at`: only what was approved until that instant, the same for every day, whatever months are closed.
    """
    rows = list(Price.objects.filter(approved_at__isnull=False).order_by("pk"))
    if known_at is not None:
        return _known_book(rows, known_at)
    closed = _closed_months(rows)
    prices = [list_price(row) for row in rows]
    return HistoryBook(prices, closed) if closed else PriceBook(prices)


def _closed_months(rows: Sequence[Price]) -> list[ClosedMonth]:
    """The closed months; with a book of its own each that something approved afterwards reaches into."""
    found = []
    periods = BillingPeriod.objects.filter(state=BillingPeriod.State.CLOSED).order_by("month")
    for month, known_at in periods.values_list("month", "prices_known_at"):
        assert known_at is not None  # the database lets no month be closed without it
        start, end = contract_months(month, 1)[0]
        late = any(_approved_after(row, known_at) and _begins_before(row, end) for row in rows)
        found.append(ClosedMonth(start, end, known_at, _known_book(rows, known_at) if late else None))
    return found


def _known_book(rows: Sequence[Price], known_at: datetime) -> PriceBook:
    return PriceBook(list_price(row) for row in rows if not _approved_after(row, known_at))


def _approved_after(row: Price, known_at: datetime) -> bool:
    return row.approved_at is None or row.approved_at > known_at


def _begins_before(row: Price, day: date) -> bool:
    return row.valid_from is None or row.valid_from < day


def list_price(row: Price) -> ListPrice:
    """The value of a stored price. Raises PriceError for a row that contradicts itself."""
    return ListPrice(
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


def model_prices(*, on: date, book: PriceBook | None = None, geo: str = "global") -> dict[str, ModelPrices]:
    """Rates of every priced model on a day in an inference geo. One priced by prompt length has none without it."""
    prices = book if book is not None else price_book()
    limits = dict(ModelRelease.objects.values_list("canonical_id", "min_cacheable_tok"))
    found = {}
    for model in sorted(prices.models):
        standard, reason = _tier(prices, model, "standard", on, geo)
        batch, _ = _tier(prices, model, "batch", on, geo)
        found[model] = ModelPrices(
            model, standard, batch, limits.get(model), f"{model}: {reason}" if standard is None else ""
        )
    return found


def _tier(book: PriceBook, model: str, tier: str, on: date, geo: str) -> tuple[TierPrices | None, str]:
    """The one look-up, for a prompt of unknown length; or why it gives no price for one of the kinds."""
    key = PriceKey(model, tier, geo=geo, speed="standard")
    rates: dict[str, Decimal] = {}
    for kind in TOKEN_KINDS:
        try:
            rates[kind] = book.lookup(key, kind, on).price.usd_per_unit
        except PriceNotFound as error:
            return None, f"no {tier} price for {kind}: {error.reason}"
    return TierPrices(**rates), ""


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
    return {
        row.canonical_id: ReleaseFacts(row.tokenizer_generation, row.max_input_tok, row.retires_on, row.tier)
        for row in ModelRelease.objects.all()
    }


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
