"""Why spend changed between two periods: price, volume and mix, by any dimension, with what has no price beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from billing.core.effects import Effects, Item, effects, total
from billing.core.pricebook import PriceBook, PriceKey, PriceNotFound
from billing.core.usage import PRICED_KINDS, PricedKind
from billing.queries.books import book_for
from billing.queries.usage_sums import TIME_DIMENSIONS, TOKEN_KIND, UsageSums, usage_sums
from billing.queries.usage_table import list_book
from costgov.queries.spend import SPEND_DIMENSIONS, UnknownDimension

# What tells items apart besides the rows asked for: within an item there is one price and one class of work.
_ITEM: Final = ("class", "model", "service_tier", "prompt_length_band", "geo", "speed", "channel", TOKEN_KIND)


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One combination of values: `change_usd` = `volume_usd` + `mix_usd` + `price_usd`, exactly."""

    group: Mapping[str, str]
    before_usd: Decimal
    after_usd: Decimal
    change_usd: Decimal
    volume_usd: Decimal
    mix_usd: Decimal
    price_usd: Decimal


@dataclass(frozen=True, slots=True)
class SpendChange:
    """Spend of days [start, end) against days [before_start, before_end). The rows add up to the total.

    `before_tok`, `after_tok`: priced tokens. Units without a price are in no effect: `unpriced_before_tok` and
    `unpriced_after_tok` stand beside them.
    """

    start: date
    end: date
    before_start: date
    before_end: date
    by: tuple[str, ...]
    where: Mapping[str, str]
    prices: str
    rows: tuple[ChangeRow, ...]
    total: ChangeRow
    before_tok: int
    after_tok: int
    unpriced_before_tok: int
    unpriced_after_tok: int


def spend_change(
    *,
    start: date,
    end: date,
    before_start: date,
    before_end: date,
    by: Sequence[str] = ("class",),
    where: Mapping[str, str] | None = None,
    basis: str = "list",
) -> SpendChange:
    """The change split, rows with the largest change first. Raises UnknownDimension, UnknownPrices, ValueError."""
    allowed = [name for name in SPEND_DIMENSIONS if name not in TIME_DIMENSIONS]
    unknown = [name for name in (*by, *(where or {})) if name not in allowed]
    if unknown:
        raise UnknownDimension(f"a change is not told apart by {', '.join(unknown)}; choose from {', '.join(allowed)}")
    for first, last in ((start, end), (before_start, before_end)):
        if first >= last:
            raise ValueError(f"the period is empty: it starts {first} and ends before {last}")
    priced = book_for(basis=basis, book=list_book())
    names = tuple(dict.fromkeys([*by, *_ITEM]))
    before = usage_sums(start=before_start, end=before_end, by=names, where=where, book=priced.book)
    after = usage_sums(start=start, end=end, by=names, where=where, book=priced.book)
    items = _items(before, after, len(by), priced.book, before_end - timedelta(days=1))
    rows = sorted(effects(items), key=lambda row: (-abs(row.change_usd), row.group))
    return SpendChange(
        start=start,
        end=end,
        before_start=before_start,
        before_end=before_end,
        by=tuple(by),
        where=dict(where or {}),
        prices=priced.words,
        rows=tuple(_row(row, by) for row in rows),
        total=_row(total(rows), ()),
        before_tok=sum(item.before_units for item in items if item.unit == "token"),
        after_tok=sum(item.after_units for item in items if item.unit == "token"),
        unpriced_before_tok=int(before.groups.unpriced[:-1].sum()),
        unpriced_after_tok=int(after.groups.unpriced[:-1].sum()),
    )


def month_before(start: date, end: date) -> tuple[date, date]:
    """The period to compare days [start, end) with: the calendar month before a whole month, else as many days."""
    after = date(start.year + start.month // 12, start.month % 12 + 1, 1)
    if start.day == 1 and end == after:
        earlier = start - timedelta(days=1)
        return earlier.replace(day=1), start
    return start - (end - start), start


def _items(before: UsageSums, after: UsageSums, width: int, book: PriceBook, on: date) -> list[Item]:
    """Priced units of both periods by everything that tells prices apart; `on`: the last day of the period before."""
    held = [_by_values(sums) for sums in (before, after)]
    found = []
    for values in sorted({*held[0], *held[1]}):
        (q0, c0), (q1, c1) = (side.get(values, (0, Decimal(0))) for side in held)
        kind = _kind(values[before.by.index(TOKEN_KIND)])
        each = _price_then(dict(zip(before.by, values, strict=True)), kind, book, on) if not q0 else None
        found.append(Item(values[:width], "search" if kind == "web_search" else "token", q0, c0, q1, c1, each))
    return found


def _by_values(sums: UsageSums) -> dict[tuple[str, ...], tuple[int, Decimal]]:
    counts, unpriced = sums.groups.counts.sum(axis=0).tolist(), sums.groups.unpriced.sum(axis=0).tolist()
    return {
        sums.values(n): (counts[n] - unpriced[n], sums.cost_usd(n)) for n in range(len(sums)) if counts[n] > unpriced[n]
    }


def _price_then(values: Mapping[str, str], kind: PricedKind, book: PriceBook, on: date) -> Decimal | None:
    names = ("model", "service_tier", "prompt_length_band", "geo", "speed", *(["channel"] if book.by_channel else []))
    try:
        return book.lookup(PriceKey(**{name: values[name] for name in names}), kind, on).price.usd_per_each
    except PriceNotFound:
        return None


def _kind(text: str) -> PricedKind:
    return next(kind for kind in PRICED_KINDS if kind == text)


def _row(row: Effects, by: Sequence[str]) -> ChangeRow:
    return ChangeRow(
        group=dict(zip(by, row.group, strict=True)) if by else {},
        before_usd=row.before_usd,
        after_usd=row.after_usd,
        change_usd=row.change_usd,
        volume_usd=row.volume_usd,
        mix_usd=row.mix_usd,
        price_usd=row.price_usd,
    )
