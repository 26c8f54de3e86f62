"""One model on the Prices page: its facts, every dated price ever held, and what of its usage has none."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from billing.core.pricebook import PriceBook, PriceKey, PriceNotFound
from billing.core.usage import PRICED_KINDS, REQUEST_BANDS, PricedKind
from billing.models import ModelRelease, Price
from billing.queries.price_list import PriceLine, Rates, UnpricedGroup, price_lines, slot_words, unpriced_groups
from billing.queries.price_timeline import PriceTimeline, price_timeline
from billing.queries.prices import list_price, price_book
from billing.queries.usage import UnpricedUsage, unpriced_usage, usage_days
from billing.queries.usage_sums import usage_sums


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """Prices entered together: what they are for, from when until when, and who says so.

    `is_in_force`: some of them hold on the day; `replaced` names the kinds that do not.
    """

    what: str
    valid_from: date | None
    valid_to: date | None
    rates: Rates
    source: str
    checked_on: date
    note: str
    approved_by: str
    is_in_force: bool
    replaced: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelPage:
    """One model: facts, its standard prices on a day, and every dated price ever held, newest first."""

    model: str
    name: str
    tier: str
    family: str
    is_placed: bool
    is_allowed: bool
    retires_on: date | None
    released_on: date | None
    max_input_tok: int | None
    min_cacheable_tok: int | None
    tokenizer_generation: int | None
    source: str
    checked_on: date | None
    aliases: tuple[str, ...]
    standard: tuple[PriceLine, ...]
    history: tuple[HistoryRow, ...]
    unpriced: tuple[UnpricedGroup, ...]
    on: date
    timeline: PriceTimeline | None
    proposals: tuple[int, ...]


def model_page(*, model: str, on: date) -> ModelPage | None:
    """None where neither a release, a price nor usage bears the name."""
    release = ModelRelease.objects.filter(canonical_id=model).first()
    rows = Price.objects.filter(model=model, approved_at__isnull=False).select_related("approved_by").order_by("pk")
    book = price_book()
    days = usage_days()
    unpriced: tuple[UnpricedUsage, ...] = ()
    if days is not None:
        sums = usage_sums(start=days[0], end=days[1] + timedelta(days=1), where={"model": model}, book=book)
        unpriced = unpriced_usage(sums.missing.lines)
    waiting = list(Price.objects.filter(model=model, approved_at=None).order_by("pk"))
    if release is None and not rows and not unpriced and not waiting:
        return None
    return ModelPage(
        model=model,
        name=release.display_name if release is not None else model,
        tier=release.tier if release is not None else "other",
        family=release.family if release is not None else "",
        is_placed=release is not None,
        is_allowed=release is None or release.is_allowed,
        retires_on=release.retires_on if release is not None else None,
        released_on=release.released_on if release is not None else None,
        max_input_tok=release.max_input_tok if release is not None else None,
        min_cacheable_tok=release.min_cacheable_tok if release is not None else None,
        tokenizer_generation=release.tokenizer_generation if release is not None else None,
        source=release.source if release is not None else "",
        checked_on=release.checked_on if release is not None else None,
        aliases=tuple(release.aliases.order_by("alias").values_list("alias", flat=True)) if release else (),
        standard=price_lines(book, model, release, PriceKey(model, "standard", "", "global", "standard"), on),
        history=_history(rows, book, on),
        unpriced=unpriced_groups(unpriced),
        on=on,
        timeline=price_timeline(book=book, model=model, today=on, proposed=[list_price(row) for row in waiting]),
        proposals=tuple(row.pk for row in waiting),
    )


def _history(rows: Iterable[Price], book: PriceBook, on: date) -> tuple[HistoryRow, ...]:
    groups: dict[tuple[object, ...], list[Price]] = defaultdict(list)
    for row in rows:
        who = row.approved_by.get_username() if row.approved_by is not None else ""
        what = (row.service_tier, row.prompt_length_band, row.geo, row.speed)
        if row.token_kind == "web_search":  # noqa: S105 - a kind of usage
            what = ("web search", "all", "global", "standard")
        groups[what, row.valid_from, row.valid_to, row.source, row.checked_on, row.note, who].append(row)
    found = [_history_row(parts, who=str(key[-1]), book=book, on=on) for key, parts in groups.items()]
    return tuple(sorted(found, key=lambda row: (-(row.valid_from or date.min).toordinal(), not row.is_in_force)))


def _history_row(parts: Sequence[Price], *, who: str, book: PriceBook, on: date) -> HistoryRow:
    one = parts[0]
    by_kind = {row.token_kind: row.usd_per_unit for row in parts}
    holding = {row.token_kind for row in parts if _wins(row, book, on)}
    is_search = set(by_kind) == {"web_search"}
    return HistoryRow(
        what="every tier" if is_search else slot_words(one.service_tier, one.prompt_length_band, one.geo, one.speed),
        valid_from=one.valid_from,
        valid_to=one.valid_to,
        rates=tuple(by_kind.get(kind) for kind in PRICED_KINDS),
        source=one.source,
        checked_on=one.checked_on,
        note=one.note,
        approved_by=who,
        is_in_force=bool(holding),
        replaced=tuple(kind for kind in PRICED_KINDS if kind in by_kind and kind not in holding),
    )


def _wins(row: Price, book: PriceBook, on: date) -> bool:
    """The look-up takes this row for some prompt of its band on the day."""
    kind: PricedKind = row.token_kind  # type: ignore[assignment]  # a stored kind is a known one
    for band in REQUEST_BANDS:
        try:
            won = book.lookup(PriceKey(row.model, row.service_tier, band, row.geo, row.speed), kind, on).price
        except PriceNotFound:
            continue
        if (won.prompt_length_band, won.valid_from) == (row.prompt_length_band, row.valid_from):
            return True
    return False
