"""The spend explorer: two groupings, filters, what it was before, and why it changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from billing.core.money import ZERO
from billing.queries.books import book_for
from billing.queries.usage import usage_days
from billing.queries.usage_sums import TIME_DIMENSIONS, usage_sums
from billing.queries.usage_table import list_book
from costgov.dimension_words import Words, words
from costgov.queries.spend import SpendReport, SpendRow, spend
from costgov.queries.spend_change import SpendChange, month_before, spend_change

ROWS: Final = 200
SERIES: Final = 5
LONG_DAYS: Final = 200  # beyond, the picture is drawn by week


@dataclass(frozen=True, slots=True)
class Series:
    """One line of the picture: a value of the first grouping, or all others ('' label in `rest`)."""

    value: str
    label: str
    is_rest: bool
    usd: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class SpendPage:
    """`before`: the whole of the same filters in the period before; `before_rows`: its rows by their values.

    `usage_from`: the first day usage is held of, where that lies after the period before began: then nothing is
    compared.
    """

    report: SpendReport
    words: Words
    before: SpendRow
    before_rows: Mapping[tuple[str, ...], Decimal]
    before_start: date
    before_end: date
    change: SpendChange | None
    points: tuple[date, ...]
    series: tuple[Series, ...]
    step: str
    usage_from: date | None
    start: date
    end: date

    @property
    def has_before(self) -> bool:
        return self.usage_from is None and bool(self.before.cost_usd or self.before.unpriced_tok)


def spend_page(*, start: date, end: date, by: tuple[str, ...], where: Mapping[str, str], basis: str) -> SpendPage:
    """Everything the page shows of days [start, end). Raises UnknownDimension, ValueError."""
    report = spend(start=start, end=end, by=by, where=where, basis=basis, limit=ROWS)
    before_start, before_end = month_before(start, end)
    timeless = [name for name in by if name not in TIME_DIMENSIONS]
    compared = spend(start=before_start, end=before_end, by=timeless, where=where, basis=basis, limit=0)
    days = usage_days()
    is_whole = days is not None and days[0] <= before_start
    is_alike = is_whole and timeless == list(by)
    held: Mapping[tuple[str, ...], Decimal] = {}
    if is_alike and compared.row_count:
        shown = [tuple(row.group.values()) for row in report.rows]
        held = _costs_of(shown, before_start, before_end, by, where, basis)
    change = None
    if is_whole and compared.total.cost_usd and report.total.cost_usd:
        change = spend_change(
            start=start,
            end=end,
            before_start=before_start,
            before_end=before_end,
            by=timeless[:1],
            where=where,
            basis=basis,
        )
    step = "day" if (end - start).days <= LONG_DAYS else "week"
    points, series = _series(start, end, step, timeless[0] if timeless else "", where, basis)
    return SpendPage(
        report,
        words(),
        compared.total,
        held,
        before_start,
        before_end,
        change,
        points,
        series,
        step,
        None if is_whole or days is None else days[0],
        start,
        end,
    )


def _costs_of(
    shown: Sequence[tuple[str, ...]],
    start: date,
    end: date,
    by: Sequence[str],
    where: Mapping[str, str],
    basis: str,
) -> dict[tuple[str, ...], Decimal]:
    """What the groups that are shown cost on days [start, end): there may be very many others."""
    sums = usage_sums(start=start, end=end, by=by, where=where, book=book_for(basis=basis, book=list_book()).book)
    found = dict.fromkeys(shown, ZERO)
    for n in range(len(sums)):
        if (values := sums.values(n)) in found:
            found[values] = sums.cost_usd(n)
    return found


def _series(
    start: date, end: date, step: str, dimension: str, where: Mapping[str, str], basis: str
) -> tuple[tuple[date, ...], tuple[Series, ...]]:
    """Cost by step of time of the dearest values, and of all others; nothing where one step holds all usage."""
    by = (step, dimension) if dimension else (step,)
    sums = usage_sums(start=start, end=end, by=by, where=where, book=book_for(basis=basis, book=list_book()).book)
    steps = sorted({sums.codes[0].labels[code] for code in sums.groups.values[0].tolist()})
    if len(steps) < 2:
        return (), ()
    points = _points(start, end, step) if step == "day" else tuple(_monday(one) for one in steps)
    place = {(_key(point, step)): n for n, point in enumerate(points)}
    totals: dict[str, int] = {}
    rows = []
    costs = sums.groups.cost.tolist()
    for n, cost in enumerate(costs):
        on, value = (*sums.values(n), "")[:2]
        totals[value] = totals.get(value, 0) + cost
        rows.append((on, value, cost))
    dearest = sorted(totals, key=lambda value: (-totals[value], value))
    shown = dearest if len(dearest) <= SERIES + 1 else dearest[:SERIES]
    lines: dict[str | None, list[int]] = {value: [0] * len(points) for value in shown}
    if len(shown) < len(dearest):
        lines[None] = [0] * len(points)
    for on, value, cost in rows:
        lines[value if value in lines else None][place[on]] += cost
    named = words()
    return points, tuple(
        Series(
            value or "",
            "All others" if value is None else named.of(dimension, value) if dimension else "Spend",
            value is None,
            tuple(sums.costs.usd(cost) for cost in costs_of_step),
        )
        for value, costs_of_step in lines.items()
    )


def _points(start: date, end: date, step: str) -> tuple[date, ...]:
    return tuple(start + timedelta(days=n) for n in range((end - start).days))


def _monday(week: str) -> date:
    return date.fromisocalendar(int(week[:4]), int(week[-2:]), 1)


def _key(point: date, step: str) -> str:
    if step == "day":
        return point.isoformat()
    year, week, _ = point.isocalendar()
    return f"{year}-W{week:02d}"
