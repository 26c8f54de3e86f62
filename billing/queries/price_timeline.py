"""How a model's prices moved: steps per kind of token, as the look-up would charge them, and what is proposed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from billing.core.pricebook import Price as ListPrice
from billing.core.pricebook import PriceBook, PriceError, PriceKey, PriceNotFound
from billing.core.usage import REQUEST_BANDS, TOKEN_KINDS, PricedKind
from billing.models import BillingPeriod, ModelRelease
from billing.queries.price_list import slot_words
from billing.queries.usage import usage_days

MARGIN: Final = timedelta(days=60)
LEAST: Final = timedelta(days=240)
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class PriceSteps:
    """Prices of one kind, standard tier, over days: from each day on `usd` (None = no price). `length`: of the prompt.

    `is_proposed`: as it would be with what is proposed.
    """

    kind: PricedKind
    length: str
    is_proposed: bool
    days: tuple[date, ...]
    usd: tuple[Decimal | None, ...]


@dataclass(frozen=True, slots=True)
class PriceTimeline:
    """Steps over the days [first, last] of the drawing, with what is marked on it."""

    first: date
    last: date
    today: date
    retires_on: date | None
    closed: tuple[tuple[date, date], ...]
    steps: tuple[PriceSteps, ...]


def price_timeline(
    *, book: PriceBook, model: str, today: date, proposed: Sequence[ListPrice] = ()
) -> PriceTimeline | None:
    """Standard prices of a model over its days; with `proposed` ones as dashed steps. None where it has none."""
    release = ModelRelease.objects.filter(canonical_id=model).first()
    retires_on = release.retires_on if release is not None else None
    own = [price for price in (*book.prices, *proposed) if price.model == model]
    changes = sorted({day for price in own for day in (price.valid_from, price.valid_to) if day})
    first = _first(release.released_on if release is not None else None, changes, today)
    ends = [today, *changes, *([retires_on] if retires_on else [])]
    last = max(ends) + MARGIN
    days = (first, *(day for day in changes if first < day <= last))
    steps = list(_steps(book, model, days, is_proposed=False))
    if proposed:
        try:
            ahead = list(_steps(book.with_prices(proposed), model, days, is_proposed=True))
        except PriceError:  # it contradicts what is held: approving says so
            ahead = []
        held = {(row.kind, row.length): row for row in steps}
        steps += [moved for row in ahead if (moved := _moved(row, held.get((row.kind, row.length)))) is not None]
    if not steps:
        return None
    steps = [_shortest(row) for row in steps]
    closed = BillingPeriod.objects.filter(state=BillingPeriod.State.CLOSED, month__gte=first.replace(day=1))
    months = [(month, (month + timedelta(days=32)).replace(day=1)) for month in closed.values_list("month", flat=True)]
    return PriceTimeline(first, last, today, retires_on, _joined(months), tuple(steps))


def _first(released_on: date | None, changes: Sequence[date], today: date) -> date:
    """Where the drawing begins: the release where it is known, else a while before all that is dated."""
    known = usage_days()
    earliest = min([*changes[:1], today, *([known[0]] if known else [])])
    if released_on is not None and released_on < today:
        return released_on
    return min(earliest - MARGIN, today - LEAST)


def _steps(book: PriceBook, model: str, days: Sequence[date], *, is_proposed: bool) -> Iterable[PriceSteps]:
    """A line per kind; one per prompt length where any day's price depends on it."""
    for kind in TOKEN_KINDS:
        by_band = {band: tuple(_usd(book, model, kind, band, day) for day in days) for band in REQUEST_BANDS}
        lines: dict[tuple[Decimal | None, ...], list[str]] = {}
        for band, usd in by_band.items():
            lines.setdefault(usd, []).append(band)
        for usd, bands in lines.items():
            if any(value is not None for value in usd):
                length = "" if len(lines) == 1 else _length(bands)
                yield PriceSteps(kind, length, is_proposed, tuple(days), usd)


def _moved(row: PriceSteps, held: PriceSteps | None) -> PriceSteps | None:
    """Proposed steps from the day on which they leave what is held; None where they never do."""
    same = held.usd if held is not None else (None,) * len(row.usd)
    first = next((n for n, usd in enumerate(row.usd) if usd != same[n]), None)
    return None if first is None else replace(row, days=row.days[first:], usd=row.usd[first:])


def _shortest(row: PriceSteps) -> PriceSteps:
    """Only the days on which the price becomes another."""
    stay = [n for n in range(len(row.days)) if n == 0 or row.usd[n] != row.usd[n - 1]]
    return replace(row, days=tuple(row.days[n] for n in stay), usd=tuple(row.usd[n] for n in stay))


def _length(bands: Sequence[str]) -> str:
    """up to 100k, above 100k: of consecutive bands."""
    low, high = bands[0].split("-")[0], bands[-1].split("-")[-1]
    if low == "0":
        return slot_words("", f"0-{high}", "global", "standard")
    return f"above {low}" if high == "1M" else f"{low} to {high}"


def _usd(book: PriceBook, model: str, kind: PricedKind, band: str, on: date) -> Decimal | None:
    try:
        return book.lookup(PriceKey(model, "standard", band, "global", "standard"), kind, on).price.usd_per_unit
    except PriceNotFound:
        return None


def _joined(months: Sequence[tuple[date, date]]) -> tuple[tuple[date, date], ...]:
    """Neighbouring months as one stretch."""
    found: list[tuple[date, date]] = []
    for start, end in sorted(months):
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return tuple(found)
