"""Computed cost against the provider's cost report: every difference gets causes that sum to it exactly.

Causes are looked for in one fixed order, the best evidence first (docs/algorithms/reconciliation.md): what the report
itself names, whole days one side does not hold, prices the usage could not tell, amounts that cancel between
neighbouring days, days imported before they had settled. What is left is rounding within the tolerance, else unknown.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from billing.core.money import ZERO, sum_usd
from billing.core.periods import day_start
from billing.core.reconciling import (
    CAUSES,
    Cause,
    DayFacts,
    LineKey,
    Part,
    Reported,
    Tolerance,
    Used,
    aligned,
    minus,
    spanning,
)

SETTLING: Final = timedelta(days=3)  # a day may still grow for that long (formats: re-import a trailing window)
LARGEST_CUT: Final = Decimal(14) / Decimal(24)  # no time zone is further than 14 hours from UTC
_DAY: Final = timedelta(days=1)
_NO_FACTS: Final = DayFacts(has_usage=False, has_report=False)
_CAUSE_ORDER: Final = {cause: number for number, cause in enumerate(CAUSES)}


@dataclass(frozen=True, slots=True)
class Cell:
    """One line on one day (None = compared by month). `parts` sum exactly to `difference_usd` = reported − computed."""

    day: date | None
    key: LineKey
    units: int
    unpriced: int
    computed_usd: Decimal
    reported_usd: Decimal
    parts: tuple[Part, ...]
    description: str = ""

    @property
    def difference_usd(self) -> Decimal:
        return minus(self.reported_usd, self.computed_usd)


def reconcile(
    used: Sequence[Used],
    reported: Sequence[Reported],
    *,
    days: Mapping[tuple[str, date], DayFacts],
    tolerance: Tolerance,
    start: date,
    end: date,
) -> tuple[Cell, ...]:
    """Cells of days [start, end), by key and day. Lines outside it only help to recognise amounts cut at its edges.

    `days`: facts by channel and UTC day. A usage line outside [start, end) is left out of the result; a reported one
    that is no usage (tax, a correction) counts wherever its day lies, as it is billed in this month.
    """
    ours, theirs = aligned(used, reported)
    return compared(ours, theirs, days=days, tolerance=tolerance, start=start, end=end)


def compared(
    ours: Sequence[Used],
    theirs: Sequence[Reported],
    *,
    days: Mapping[tuple[str, date], DayFacts],
    tolerance: Tolerance,
    start: date,
    end: date,
) -> tuple[Cell, ...]:
    """`reconcile` for lines that are aligned already."""
    cells = _stated_cells(theirs)
    open_cells = _cells(ours, theirs, days)
    for cell in open_cells:
        for step in _STEPS:
            if cell.is_settled(tolerance):
                break
            step(cell, tolerance)
    _time_zone(open_cells, tolerance)
    for cell in open_cells:
        _late(cell, tolerance)
        cell.close(tolerance)
        if cell.day is None or start <= cell.day < end:
            cells.append(cell.closed())
    return tuple(sorted(cells, key=_place))


def _place(cell: Cell) -> tuple[LineKey, date, str, str]:
    return cell.key, cell.day or date.min, cell.parts[0].cause if cell.parts else "", cell.description


def sums_by_cause(parts: Iterable[Part]) -> tuple[Part, ...]:
    """One part per cause, in the order they are looked for; zero sums stay: they say that something cancelled."""
    found: dict[Cause, list[Part]] = defaultdict(list)
    for part in parts:
        found[part.cause].append(part)
    return tuple(
        Part(cause, sum_usd(part.amount_usd for part in found[cause]), _joined(part.detail for part in found[cause]))
        for cause in sorted(found, key=_CAUSE_ORDER.__getitem__)
    )


def _joined(details: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(detail for detail in details if detail))


@dataclass
class _Open:
    """A cell whose difference is being explained; `rest` is what no part explains yet."""

    day: date | None
    key: LineKey
    facts: DayFacts
    units: int = 0
    unpriced: int = 0
    computed: Decimal = ZERO
    reported: Decimal = ZERO
    regional: Decimal = ZERO
    lowest: Decimal | None = ZERO
    highest: Decimal | None = ZERO
    discount: Decimal = ZERO
    stated_discount: Decimal = ZERO
    prepaid: Decimal = ZERO
    parts: list[Part] = field(default_factory=list)
    rest: Decimal = ZERO

    def take(self, cause: Cause, amount: Decimal, detail: str) -> None:
        if amount:
            self.parts.append(Part(cause, amount, detail))
            self.rest = minus(self.rest, amount)

    def is_settled(self, tolerance: Tolerance) -> bool:
        return abs(self.rest) <= tolerance.of_line(self.computed, self.reported)

    def close(self, tolerance: Tolerance) -> None:
        if self.is_settled(tolerance):
            self.take("rounding", self.rest, "")
        else:
            may_be = "some of its units have no price here and may be part of it"
            self.take("unknown", self.rest, may_be if self.unpriced and self.rest > 0 else "")

    def closed(self) -> Cell:
        return Cell(self.day, self.key, self.units, self.unpriced, self.computed, self.reported, tuple(self.parts))


def _stated_cells(reported: Sequence[Reported]) -> list[Cell]:
    """What the report itself calls tax, credit, correction, purchase or a charge that is not tokens: one cell each."""
    sums: dict[tuple[date | None, LineKey, Cause, str], list[Decimal]] = defaultdict(list)
    for line in reported:
        if line.nature != "usage":
            sums[line.day, line.key, line.nature, line.description].append(line.amount_usd)
    cells = []
    for (day, key, cause, description), amounts in sums.items():
        total = sum_usd(amounts)
        parts = (Part(cause, total, description),) if total else ()
        cells.append(Cell(day, key, 0, 0, ZERO, total, parts, description))
    return cells


def _cells(ours: Sequence[Used], theirs: Sequence[Reported], days: Mapping[tuple[str, date], DayFacts]) -> list[_Open]:
    by_month = spanning(theirs)
    cells: dict[tuple[date | None, LineKey], _Open] = {}

    def cell_of(day: date | None, key: LineKey) -> _Open:
        at = None if (key.channel, key.model, key.kind) in by_month else day
        facts = days.get((key.channel, at), _NO_FACTS) if at is not None else DayFacts(True, True)
        return cells.setdefault((at, key), _Open(at, key, facts))

    for line in ours:
        cell = cell_of(line.day, line.key)
        cell.units += line.units
        cell.unpriced += line.unpriced
        cell.computed = sum_usd((cell.computed, line.cost_usd))
        if line.contract_usd is not None:
            cell.discount = sum_usd((cell.discount, line.contract_usd, line.cost_usd.copy_negate()))
        if line.unpriced:
            cell.lowest = _added(cell.lowest, line.lowest_usd)
            cell.highest = _added(cell.highest, line.highest_usd)
    for told in theirs:
        if told.nature == "usage":
            cell = cell_of(told.day, told.key)
            cell.reported = sum_usd((cell.reported, told.amount_usd))
            cell.regional = sum_usd((cell.regional, told.regional_usd))
            cell.stated_discount = sum_usd((cell.stated_discount, told.discount_usd))
            cell.prepaid = sum_usd((cell.prepaid, told.prepaid_usd))
    for cell in cells.values():
        cell.rest = minus(cell.reported, cell.computed)
    return [cells[place] for place in sorted(cells, key=lambda place: (place[1], place[0] or date.min))]


def _added(total: Decimal | None, amount: Decimal | None) -> Decimal | None:
    """A bound that is unknown for one part is unknown for the sum."""
    return None if total is None or amount is None else sum_usd((total, amount))


# ---- The steps, each looking at one cell ------------------------------------------------------------------------


def _whole_day(cell: _Open, tolerance: Tolerance) -> None:
    """The whole day is missing on one side, for every model: nothing of it can be compared."""
    if cell.day is None:
        return
    if cell.facts.has_report and not cell.facts.has_usage:
        cell.take("day_not_imported", cell.rest, "the cost report has this day, no usage of it is imported")
    elif cell.facts.has_usage and not cell.facts.has_report:
        cell.take("day_not_in_report", cell.rest, "usage of this day is imported, the cost report does not have it")


def _priority(cell: _Open, tolerance: Tolerance) -> None:
    """Priority usage is in usage reports and never in cost reports (formats: trap 5)."""
    if cell.key.service_tier.startswith("priority") and not cell.reported:
        cell.take("priority_tier", cell.rest, "cost reports know only the standard and batch tiers")


def _prepaid(cell: _Open, tolerance: Tolerance) -> None:
    """Usage that draws on a commitment is billed at nothing, or at less: it was paid with the purchase."""
    if _explains(cell.rest, cell.prepaid):
        cell.take("commitment", cell.prepaid, "drawn on a prepaid commitment, as the report states")


def _regional(cell: _Open, tolerance: Tolerance) -> None:
    """Usage that does not tell its region is priced globally; the report's own region says what it costs more."""
    if not cell.key.geo and _explains(cell.rest, cell.regional):
        cell.take("regional_price", cell.regional, "priced globally here, at a regional price in the cost report")


def _discount(cell: _Open, tolerance: Tolerance) -> None:
    """A discount the report states, else the contract's rates where it bills them; or it is a line of the invoice."""
    if _explains(cell.rest, cell.stated_discount):
        cell.take("contract_discount", cell.stated_discount, "the report states list and billed amount")
    elif _explains(cell.rest, cell.discount):
        cell.take("contract_discount", cell.discount, "rates of the contract")


def _prompt_length(cell: _Open, tolerance: Tolerance) -> None:
    """Unpriced for want of the prompt length: it costs something between two known amounts."""
    if cell.unpriced and cell.lowest is not None and cell.highest is not None:
        amount = min(max(cell.rest, cell.lowest), cell.highest)
        cell.take("prompt_length", amount, f"between {cell.lowest:f} and {cell.highest:f} usd by prompt length")


def _missing_price(cell: _Open, tolerance: Tolerance) -> None:
    """Usage without any price costs what the report says; it cannot cost less than nothing.

    Only where nothing else is in the cell: beside priced usage the amount may be of any of it, and naming it would
    explain every error of the whole sum away.
    """
    if 0 < cell.units == cell.unpriced and (cell.lowest is None or cell.highest is None) and cell.rest > 0:
        cell.take("missing_price", cell.rest, "without a price here, at the cost report's amount")


_STEPS: Final = (_whole_day, _priority, _prepaid, _regional, _discount, _prompt_length, _missing_price)


def _explains(rest: Decimal, amount: Decimal) -> bool:
    """Taking the amount away leaves less to explain: otherwise the report does not contain it."""
    return bool(amount) and abs(minus(rest, amount)) < abs(rest)


def _time_zone(cells: Sequence[_Open], tolerance: Tolerance) -> None:
    """Neighbouring days whose differences cancel: what one day lacks the next has, no more than a zone can move."""
    lines: dict[LineKey, list[_Open]] = defaultdict(list)
    for cell in cells:
        if cell.day is not None and not cell.is_settled(tolerance):
            lines[cell.key].append(cell)
    for line in lines.values():
        at = 0
        while at < len(line):
            run = _cancelling(line[at:], tolerance)
            if run:
                _shift(line[at : at + run])
            at += run or 1


def _cancelling(cells: Sequence[_Open], tolerance: Tolerance) -> int:
    """Length of the shortest run of consecutive days from the first on that cancels; 0 for none."""
    moved = ZERO
    for number, cell in enumerate(cells):
        if number and cell.day != _next(cells[number - 1]):
            return 0
        before = moved
        moved = sum_usd((moved, cell.rest))
        if number and abs(moved) <= tolerance.of_line(cell.computed, cell.reported):
            return number + 1
        if before and (moved > 0) != (before > 0):
            return 0
        if abs(moved) > LARGEST_CUT * max(abs(cell.computed), abs(cell.reported)):
            return 0
    return 0


def _next(cell: _Open) -> date:
    assert cell.day is not None  # only cells with a day get here
    return cell.day + _DAY


def _shift(run: Sequence[_Open]) -> None:
    """Exact amounts that cancel: the last day takes what the others gave, its own rest stays for the steps after."""
    moved = sum_usd(cell.rest for cell in run[:-1])
    for cell in run[:-1]:
        cell.take("time_zone", cell.rest, "counted on a neighbouring day: the amounts cancel")
    run[-1].take("time_zone", moved.copy_negate(), "counted on a neighbouring day: the amounts cancel")


def _late(cell: _Open, tolerance: Tolerance) -> None:
    """A day that was imported before it had settled may have grown since (formats: trap 8)."""
    if cell.day is None or cell.is_settled(tolerance):
        return
    settled = day_start(cell.day) + _DAY + SETTLING
    at = cell.facts.usage_at if cell.rest > 0 else cell.facts.report_at
    if at is not None and at < settled:
        side = "its usage" if cell.rest > 0 else "the cost report"
        cell.take(
            "late_usage",
            cell.rest,
            f"{side} was last imported {at.day} {at:%b %Y, %H:%M} UTC, before the day had settled",
        )
