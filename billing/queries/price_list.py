"""The Prices page as values: what a model costs on a day, how that changed, what has no price, what lies ahead."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from billing.core.money import sum_usd
from billing.core.pricebook import Cause, PriceBook, PriceKey, PriceNotFound
from billing.core.pricebook import Price as ListPrice
from billing.core.usage import BAND_EDGES_TOK, PRICED_KINDS, REQUEST_BANDS, TOKEN_KINDS
from billing.core.usage_table import OtherUnpriced
from billing.models import ModelRelease, Price
from billing.queries.prices import price_book
from billing.queries.usage import UnpricedUsage, priced_usage, usage_days

SOON_DAYS: Final = 90
Rates = tuple[Decimal | None, ...]  # one per PRICED_KINDS; None = no price


@dataclass(frozen=True, slots=True)
class PriceLine:
    """Prices of one model for prompts of some length, in the order of PRICED_KINDS (None = no price)."""

    model: str
    name: str
    tier: str
    length: str
    rates: Rates
    valid_from: date | None
    sources: tuple[str, ...]
    checked_on: date
    retires_on: date | None
    is_retired: bool
    is_first: bool


@dataclass(frozen=True, slots=True)
class UnpricedGroup:
    """Usage without a price that one step would price. `lowest_usd`: where only the prompt length is missing."""

    model: str
    cause: Cause
    reason: str
    remedy: str
    service_tier: str
    prompt_length_band: str
    geo: str
    speed: str
    kinds: tuple[str, ...]
    tokens: int
    searches: int
    first_day: date
    last_day: date
    lowest_usd: Decimal | None
    highest_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Ahead:
    """Something dated that will happen to prices or models: in `days` days."""

    on: date
    days: int
    model: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """Proposed prices of one model and source, not used yet."""

    ids: tuple[int, ...]
    model: str
    source: str
    note: str
    valid_from: date | None
    what: str
    proposed_by: str
    rates: Rates


@dataclass(frozen=True, slots=True)
class PriceList:
    """Prices in force on a day for one service tier, geo and speed, and what is unpriced in all counted usage."""

    on: date
    service_tier: str
    geo: str
    speed: str
    lines: tuple[PriceLine, ...]
    hidden_models: int
    models: int
    checked_from: date | None
    checked_to: date | None
    unpriced: tuple[UnpricedGroup, ...]
    unpriced_rest: OtherUnpriced | None
    unpriced_tok: int
    unpriced_share: float
    unpriced_models: int
    usage_start: date | None
    usage_end: date | None
    ahead: tuple[Ahead, ...]
    proposals: tuple[Proposal, ...]


def price_list(
    *, on: date, service_tier: str = "standard", geo: str = "global", speed: str = "standard", everything: bool = False
) -> PriceList:
    """Prices on a UTC day. `everything` includes models that are retired or not offered any more."""
    book = price_book()
    releases = {row.canonical_id: row for row in ModelRelease.objects.all()}
    lines: list[PriceLine] = []
    hidden = shown = 0
    for model in sorted(book.models, key=lambda name: _place(name, releases.get(name))):
        found = price_lines(book, model, releases.get(model), PriceKey(model, service_tier, "", geo, speed), on)
        if not found:
            continue
        if not everything and not _is_offered(releases.get(model), on):
            hidden += 1
            continue
        shown += 1
        lines += found
    days = usage_days()
    start, end = (days[0], days[1] + timedelta(days=1)) if days else (None, None)
    unpriced: tuple[UnpricedUsage, ...] = ()
    rest = None
    tokens = 0
    if start is not None and end is not None:
        usage = priced_usage(start=start, end=end, book=book)
        unpriced, rest = usage.unpriced, usage.unpriced_rest
        tokens = sum(sum(group.counts[f"{kind}_tok"] for kind in TOKEN_KINDS) for group in usage.groups)
    missing = sum(line.quantity for line in unpriced if line.token_kind in TOKEN_KINDS) + (rest.tokens if rest else 0)
    return PriceList(
        on=on,
        service_tier=service_tier,
        geo=geo,
        speed=speed,
        lines=tuple(lines),
        hidden_models=hidden,
        models=shown,
        checked_from=min((line.checked_on for line in lines), default=None),
        checked_to=max((line.checked_on for line in lines), default=None),
        unpriced=unpriced_groups(unpriced),
        unpriced_rest=rest,
        unpriced_tok=missing,
        unpriced_share=missing / tokens if tokens else 0.0,
        unpriced_models=len({line.model for line in unpriced}) + (rest.models if rest else 0),
        usage_start=start,
        usage_end=end,
        ahead=_ahead(book, releases, on),
        proposals=proposals_of(),
    )


_ORDER: Final = {"frontier": 0, "balanced": 1, "fast": 2, "other": 3}


def _place(model: str, release: ModelRelease | None) -> tuple[object, ...]:
    """By tier and family, then the newer number first: 5.2, 5.1, 5, 4.8."""
    tier = release.tier if release is not None else "other"
    numbers = [-int(part) for part in re.findall(r"[0-9]+", model)]
    return (_ORDER.get(tier, 3), release.family if release else "", [*numbers, 1], model)


def _is_offered(release: ModelRelease | None, on: date) -> bool:
    return release is None or (release.is_allowed and (release.retires_on is None or release.retires_on > on))


def price_lines(
    book: PriceBook, model: str, release: ModelRelease | None, key: PriceKey, on: date
) -> tuple[PriceLine, ...]:
    """One line, or one per prompt length where the price depends on it: exactly what the look-up would charge."""
    by_band = [_rates(book, key, band, on) for band in REQUEST_BANDS]
    found: list[PriceLine] = []
    first = 0
    for i in range(1, len(REQUEST_BANDS) + 1):
        if i < len(REQUEST_BANDS) and _amounts(by_band[i]) == _amounts(by_band[first]):
            continue
        prices = [price for price in by_band[first] if price is not None]
        if any(price.token_kind in TOKEN_KINDS for price in prices):
            found.append(_line(model, release, _length(first, i), by_band[first], prices, on, not found))
        first = i
    return tuple(found)


def _rates(book: PriceBook, key: PriceKey, band: str, on: date) -> list[ListPrice | None]:
    prices: list[ListPrice | None] = []
    for kind in PRICED_KINDS:
        try:
            exact = PriceKey(key.model, key.service_tier, band, key.geo, key.speed)
            prices.append(book.lookup(exact, kind, on).price)
        except PriceNotFound:
            prices.append(None)
    return prices


def _amounts(prices: Iterable[ListPrice | None]) -> Rates:
    return tuple(price.usd_per_unit if price is not None else None for price in prices)


def _length(first: int, end: int) -> str:
    edges = [f"{edge // 1000}k" for edge in BAND_EDGES_TOK]
    if first == 0:
        return "" if end == len(REQUEST_BANDS) else f"up to {edges[end - 1]}"
    return f"above {edges[first - 1]}" + (f" to {edges[end - 1]}" if end < len(REQUEST_BANDS) else "")


def _line(
    model: str,
    release: ModelRelease | None,
    length: str,
    rates: Sequence[ListPrice | None],
    prices: Sequence[ListPrice],
    on: date,
    is_first: bool,
) -> PriceLine:
    tokens = [price for price in prices if price.token_kind in TOKEN_KINDS]
    return PriceLine(
        model=model,
        name=release.display_name if release is not None else model,
        tier=release.tier if release is not None else "other",
        length=length,
        rates=_amounts(rates),
        valid_from=max((price.valid_from for price in tokens if price.valid_from), default=None),
        sources=tuple(dict.fromkeys(price.source for price in tokens)),
        checked_on=min(price.checked_on for price in tokens),
        retires_on=release.retires_on if release is not None else None,
        is_retired=bool(release is not None and release.retires_on and release.retires_on <= on),
        is_first=is_first,
    )


def unpriced_groups(lines: Sequence[UnpricedUsage]) -> tuple[UnpricedGroup, ...]:
    """Unpriced usage by what would price it, most tokens first."""
    groups: dict[tuple[str, ...], list[UnpricedUsage]] = defaultdict(list)
    for line in lines:
        # A price is added for one tier, band, geo and speed; an alias or an import helps all of them.
        own = (line.service_tier, line.prompt_length_band, line.geo, line.speed) if line.cause == "price" else ()
        groups[line.model, line.cause, _short(line.reason), *own].append(line)
    found = [_group(parts) for parts in groups.values()]
    return tuple(sorted(found, key=lambda group: (-group.tokens, -group.searches, group.model, group.reason)))


def _group(parts: Sequence[UnpricedUsage]) -> UnpricedGroup:
    one = parts[0]
    exact = one.cause == "price"
    low = [part.lowest_usd for part in parts if part.lowest_usd is not None]
    high = [part.highest_usd for part in parts if part.highest_usd is not None]
    is_bounded = len(low) == len(parts)
    kinds = {part.token_kind for part in parts}
    return UnpricedGroup(
        model=one.model,
        cause=one.cause,
        reason=_short(one.reason),
        remedy=one.remedy,
        service_tier=one.service_tier if exact else "",
        prompt_length_band=one.prompt_length_band if exact else "",
        geo=one.geo if exact else "",
        speed=one.speed if exact else "",
        kinds=tuple(kind for kind in PRICED_KINDS if kind in kinds),
        tokens=sum(part.quantity for part in parts if part.token_kind in TOKEN_KINDS),
        searches=sum(part.quantity for part in parts if part.token_kind not in TOKEN_KINDS),
        first_day=min(part.first_day for part in parts),
        last_day=max(part.last_day for part in parts),
        lowest_usd=sum_usd(low) if is_bounded else None,
        highest_usd=sum_usd(high) if is_bounded else None,
    )


def _short(reason: str) -> str:
    """Without the figures in brackets, which differ by kind."""
    return re.sub(r" \([^)]*\)", "", reason)


def _ahead(book: PriceBook, releases: dict[str, ModelRelease], on: date) -> tuple[Ahead, ...]:
    until = on + timedelta(days=SOON_DAYS)

    def name(model: str) -> str:
        return releases[model].display_name if model in releases else model

    events = [
        (release.retires_on, model, "is retired: usage must move to another model before")
        for model, release in releases.items()
        if release.retires_on and on < release.retires_on <= until
    ]
    for price in book.prices:
        what = "fast mode" if price.speed == "fast" else f"{price.service_tier} price"
        if price.valid_to and on < price.valid_to <= until:
            events.append((price.valid_to, price.model, f"{what} ends"))
        if price.valid_from and on < price.valid_from <= until:
            events.append((price.valid_from, price.model, f"new {what}"))
    return tuple(
        Ahead(day, (day - on).days, model, name(model), text) for day, model, text in sorted(dict.fromkeys(events))
    )


def proposals_of(ids: Sequence[int] | None = None) -> tuple[Proposal, ...]:
    """Proposed prices put together as they were entered: all that wait, or those of some ids."""
    rows = Price.objects.filter(approved_at=None).select_related("proposed_by").order_by("model", "pk")
    if ids is not None:
        rows = rows.filter(pk__in=ids)
    groups: dict[tuple[object, ...], list[Price]] = defaultdict(list)
    for row in rows:
        what = (row.service_tier, row.prompt_length_band, row.geo, row.speed)
        groups[row.model, row.source, row.note, row.valid_from, *what].append(row)
    return tuple(_proposal(parts) for parts in groups.values())


def _proposal(parts: Sequence[Price]) -> Proposal:
    one = parts[0]
    by_kind = {row.token_kind: row.usd_per_unit for row in parts}
    return Proposal(
        ids=tuple(row.pk for row in parts),
        model=one.model,
        source=one.source,
        note=one.note,
        valid_from=one.valid_from,
        what=slot_words(one.service_tier, one.prompt_length_band, one.geo, one.speed),
        proposed_by=one.proposed_by.get_username() if one.proposed_by is not None else "an import",
        rates=tuple(by_kind.get(kind) for kind in PRICED_KINDS),
    )


def slot_words(service_tier: str, band: str, geo: str, speed: str) -> str:
    """standard · up to 100k · US: the dimensions that differ from the usual ones, in words."""
    length = {"all": "", "0-100k": "up to 100k", "0-200k": "up to 200k", "100k-200k": "100k to 200k",
              "100k-1M": "above 100k", "200k-1M": "above 200k"}.get(band, band)  # fmt: skip
    region = {"global": "", "us": "US inference"}.get(geo, geo)
    return " · ".join(word for word in (service_tier, length, region, "" if speed == "standard" else speed) if word)
