"""Who carries what: the monthly statement per cost centre, and what another mapping would move."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from billing.core.money import ZERO, sum_usd
from billing.core.showback import UNALLOCATED, Rule
from billing.models import BillingPeriod, CostCentre
from billing.queries.books import book_for
from billing.queries.usage import usage_days
from billing.queries.usage_sums import usage_sums
from billing.queries.usage_table import list_book
from costgov.dimension_words import Words, words
from costgov.queries.spend import SpendRow, spend
from costgov.queries.spend_change import month_before

MONTHS_SHOWN: Final = 24


@dataclass(frozen=True, slots=True)
class StatementLine:
    """Usage of one class on one model that a cost centre carries."""

    request_class: str
    model: str
    cost_usd: Decimal
    requests: int | None
    unpriced_tok: int


@dataclass(frozen=True, slots=True)
class Statement:
    """What one cost centre carries in a month; code '' = unallocated. `before_usd` None = it carried nothing then."""

    code: str
    name: str
    team: str
    owner: str
    cost_usd: Decimal
    before_usd: Decimal | None
    share: float | None
    unpriced_tok: int
    lines: tuple[StatementLine, ...]

    @property
    def is_unallocated(self) -> bool:
        return self.code == UNALLOCATED

    @property
    def change(self) -> float | None:
        return float(self.cost_usd / self.before_usd - 1) if self.before_usd else None

    @property
    def counts_requests(self) -> bool:
        """Every line knows how many requests it is of; otherwise a column of them would be mostly dashes."""
        return all(line.requests is not None for line in self.lines)


@dataclass(frozen=True, slots=True)
class Showback:
    """The statements of days [start, end), dearest first, unallocated last; they sum to `total` exactly."""

    start: date
    end: date
    is_whole: bool
    months: tuple[date, ...]
    prices: str
    basis: str
    statements: tuple[Statement, ...]
    total: SpendRow
    before_usd: Decimal
    closed_usd: Decimal | None
    """What a closed month was closed with, at list prices; None while it is open. `total` is the usage known now."""
    words: Words

    @property
    def since_closed_usd(self) -> Decimal | None:
        """What came after the month was closed: not in it, but booked as its adjustment. None where nothing did."""
        if self.closed_usd is None or self.basis != "list":
            return None
        return self.total.cost_usd - self.closed_usd or None

    @property
    def counts_requests(self) -> bool:
        """Every statement tells requests."""
        return all(one.counts_requests for one in self.statements)

    @property
    def unallocated(self) -> Statement | None:
        return next((one for one in self.statements if one.is_unallocated), None)

    @property
    def allocated(self) -> tuple[Statement, ...]:
        return tuple(one for one in self.statements if not one.is_unallocated)


def months_with_usage() -> tuple[date, ...]:
    """First days of the months with counted usage, the latest first."""
    held = usage_days()
    if held is None:
        return ()
    found: list[date] = []
    month = held[1].replace(day=1)
    while month >= held[0].replace(day=1) and len(found) < MONTHS_SHOWN:
        found.append(month)
        month = (month - timedelta(days=1)).replace(day=1)
    return tuple(found)


def showback(*, month: date, as_of: date, basis: str = "list") -> Showback:
    """The statement of the month that begins on a day; of a month that still runs, up to the day before `as_of`."""
    after = (month + timedelta(days=32)).replace(day=1)
    end = max(min(after, as_of), month + timedelta(days=1))
    report = spend(start=month, end=end, by=("cost_centre", "class", "model"), basis=basis)
    before_start, before_end = month_before(month, after)
    if end < after:  # a month that runs is compared with as many days of the one before
        before_end = min(before_end, before_start + (end - month))
    earlier = spend(start=before_start, end=before_end, by=("cost_centre",), basis=basis)
    before = {row.group["cost_centre"]: row.cost_usd for row in earlier.rows}
    centres = {row.code: row for row in CostCentre.objects.all()}
    by: dict[str, list[SpendRow]] = {code: [] for code in before}
    for row in report.rows:
        by.setdefault(row.group["cost_centre"], []).append(row)
    found = [
        _statement(code, centres.get(code), rows, before.get(code), report.total.cost_usd) for code, rows in by.items()
    ]
    found.sort(key=lambda one: (one.is_unallocated, -one.cost_usd, one.code))
    return Showback(
        start=month,
        end=end,
        is_whole=end == after,
        months=months_with_usage(),
        prices=report.prices,
        basis=report.basis,
        statements=tuple(found),
        total=report.total,
        before_usd=earlier.total.cost_usd,
        closed_usd=_closed_usd(month),
        words=words(),
    )


def _closed_usd(month: date) -> Decimal | None:
    closed = BillingPeriod.objects.filter(month=month, state=BillingPeriod.State.CLOSED).first()
    return Decimal(str(closed.frozen["computed_usd"])) if closed is not None else None


def _statement(
    code: str, centre: CostCentre | None, rows: Sequence[SpendRow], before: Decimal | None, total: Decimal
) -> Statement:
    cost = sum_usd(row.cost_usd for row in rows)
    return Statement(
        code=code,
        name=centre.name if centre is not None else "",
        team=centre.team if centre is not None else "",
        owner=centre.owner if centre is not None else "",
        cost_usd=cost,
        before_usd=before,
        share=float(cost / total) if total else None,
        unpriced_tok=sum(row.unpriced_tok for row in rows),
        lines=tuple(
            StatementLine(row.group["class"], row.group["model"], row.cost_usd, row.requests, row.unpriced_tok)
            for row in rows
        ),
    )


@dataclass(frozen=True, slots=True)
class Moved:
    """A cost centre ('' = unallocated) before and after."""

    code: str
    before_usd: Decimal
    after_usd: Decimal

    @property
    def change_usd(self) -> Decimal:
        return self.after_usd - self.before_usd


@dataclass(frozen=True, slots=True)
class MappingPreview:
    """What other rules change on days [start, end): only cost centres whose cost changes. `moved_usd` changes hands."""

    start: date
    end: date
    rows: tuple[Moved, ...]
    moved_usd: Decimal


def mapping_preview(*, rules: Sequence[Rule], start: date, end: date) -> MappingPreview:
    """The cost of days [start, end) by cost centre, as it is and under other rules, at list prices."""
    book = book_for(book=list_book()).book
    sides = []
    for given in (None, rules):
        sums = usage_sums(start=start, end=end, by=("cost_centre",), rules=given, book=book)
        sides.append({sums.values(n)[0]: sums.cost_usd(n) for n in range(len(sums))})
    rows = [Moved(code, sides[0].get(code, ZERO), sides[1].get(code, ZERO)) for code in sorted({*sides[0], *sides[1]})]
    changed = tuple(row for row in rows if row.change_usd)
    return MappingPreview(start, end, changed, sum_usd(row.change_usd for row in changed if row.change_usd > 0))
