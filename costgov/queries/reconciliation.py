"""A month's page: the settlement (live, or as it was closed), what people said of it, the answer in one sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from billing.core.cents import shown_causes, shown_difference
from billing.core.periods import next_month
from billing.core.reconciling import CAUSES
from billing.core.settlement import UNCHECKED, MonthSettlement
from billing.core.words import usd
from billing.models import BillingPeriod, PeriodComment
from billing.queries.adjustments import Adjustment, booked_adjustments, due_adjustments
from billing.queries.reconciliation import month_settlement, months_known
from costgov.jsonin import read

_NUMBERS: Final = {2: "Two", 3: "Three", 4: "Four", 5: "Five", 6: "Six", 7: "Seven", 8: "Eight", 9: "Nine"}


class NoSuchMonth(LookupError):
    """Nothing is known of that month; the message says what would make it known."""


@dataclass(frozen=True, slots=True)
class Comment:
    line: str
    text: str
    author: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Closing:
    by: str
    at: datetime
    prices_known_at: datetime
    hash: str


@dataclass(frozen=True, slots=True)
class MonthView:
    """One month, as page, API and command show it. `answer` is the sentence its reader came for.

    A closed month's `settlement` is what was frozen; what came later is in `booked` and `due`. `carried`: adjustments
    of earlier months booked in this one.
    """

    month: date
    state: str
    answer: str
    detail: str
    settlement: MonthSettlement
    closing: Closing | None
    comments: tuple[Comment, ...]
    booked: tuple[Adjustment, ...]
    due: tuple[Adjustment, ...]
    carried: tuple[Adjustment, ...]


@dataclass(frozen=True, slots=True)
class MonthRow:
    """One month in the list. `missing`: what stands before closing, in words; empty when it is closed or ready."""

    month: date
    state: str
    computed_usd: Decimal
    report_usd: Decimal | None
    invoice_usd: Decimal | None
    residual_usd: Decimal | None
    open_usd: Decimal
    open_lines: int
    missing: tuple[str, ...]
    closed_at: datetime | None

    @property
    def stated_usd(self) -> Decimal | None:
        """What the residual compares our own figures with."""
        return self.invoice_usd if self.invoice_usd is not None else self.report_usd


@dataclass(frozen=True, slots=True)
class MonthList:
    """Newest first."""

    months: tuple[MonthRow, ...]

    @property
    def closed(self) -> int:
        return sum(row.state == "closed" for row in self.months)

    @property
    def open_usd(self) -> Decimal:
        return sum((row.open_usd for row in self.months), Decimal(0))


def month_list(*, as_of: datetime) -> MonthList:
    """Every month anything is known of."""
    periods = {row.month: row for row in BillingPeriod.objects.filter(state=BillingPeriod.State.CLOSED)}
    return MonthList(tuple(_row(month, periods.get(month), as_of) for month in months_known(as_of=as_of)))


def month_view(*, month: date, as_of: datetime) -> MonthView:
    """Raises NoSuchMonth where no usage, report, invoice or settlement is known from then on or before."""
    known = months_known(as_of=as_of)
    if month not in known:
        said = f"known are {known[-1]:%B %Y} to {known[0]:%B %Y}" if known else "nothing is imported yet"
        raise NoSuchMonth(f"There is nothing about {month:%B %Y}: {said}. Import its usage or enter its invoice.")
    period = BillingPeriod.objects.filter(month=month).select_related("closed_by").first()
    closing = _closing(period)
    value = _settlement(month, period if closing else None, as_of)
    due = due_adjustments(month=month, as_of=as_of)
    answer, detail = _closed_words(value, due) if closing else _open_words(value)
    comments = PeriodComment.objects.filter(month=month).select_related("author")
    return MonthView(
        month=month,
        state="closed" if closing else "open",
        answer=answer,
        detail=detail,
        settlement=value,
        closing=closing,
        comments=tuple(
            Comment(row.line, row.text, row.author.get_username() if row.author else "system", row.created_at)
            for row in comments
        ),
        booked=booked_adjustments(month=month),
        due=due,
        carried=booked_adjustments(booked_month=month),
    )


def _settlement(month: date, closed: BillingPeriod | None, as_of: datetime) -> MonthSettlement:
    return read(MonthSettlement, closed.frozen) if closed is not None else month_settlement(month=month, as_of=as_of)


def _row(month: date, closed: BillingPeriod | None, as_of: datetime) -> MonthRow:
    value = _settlement(month, closed, as_of)
    return MonthRow(
        month,
        "closed" if closed is not None else "open",
        value.computed_usd,
        value.report_usd,
        value.invoice_usd,
        value.residual_usd,
        value.open_usd,
        value.open_lines,
        () if closed is not None else tuple(check.title for check in value.open_checks),
        closed.closed_at if closed is not None else None,
    )


def _closing(period: BillingPeriod | None) -> Closing | None:
    if period is None or period.closed_at is None or period.prices_known_at is None:
        return None
    by = period.closed_by.get_username() if period.closed_by is not None else "system"
    return Closing(by, period.closed_at, period.prices_known_at, period.frozen_hash)


def _closed_words(value: MonthSettlement, due: Sequence[Adjustment]) -> tuple[str, str]:
    figure = value.invoice_usd if value.invoice_usd is not None else value.computed_usd
    answer = f"{value.month:%B} is closed at {usd(figure, 2)}; {_all_explained(value)}."
    frozen = "Its usage, prices and causes are frozen"
    if not due:
        return answer, f"{frozen}: what came later is booked in open months."
    waits = "One adjustment that came later waits" if len(due) == 1 else f"{len(due)} adjustments that came later wait"
    return answer, f"{frozen}. {waits} to be booked in {due[0].booked_month:%B %Y}."


def _open_words(value: MonthSettlement) -> tuple[str, str]:
    month = f"{value.month:%B}"
    if value.invoice_usd is None and value.report_usd is None:
        so_far = "" if value.checks[0].is_done else " so far"
        return (
            f"{month} cost {usd(value.computed_usd, 2)}{so_far} by our own figures; nothing confirms them yet.",
            "Import the provider's cost report, or enter the invoice: then every difference gets its cause.",
        )
    what = f"{month}’s invoice of {usd(value.invoice_usd, 2)}" if value.invoice_usd is not None else (
        f"The cost report of {month}, {usd(value.report_usd or Decimal(0), 2)},"
    )  # fmt: skip
    than = _than(value.computed_usd, value.invoice_usd if value.invoice_usd is not None else value.report_usd)
    if value.contracted_usd is not None:
        than += " at list prices"
    if not value.open_lines:
        answer = f"{what} {than}, and {_all_explained(value)}."
    else:
        lines = "one line" if value.open_lines == 1 else f"{value.open_lines} lines"
        has = "has" if value.open_lines == 1 else "have"
        answer = f"{what} {than}; {usd(value.open_usd, 2)} on {lines} {has} no cause yet."
    return answer, _left(value)


def _all_explained(value: MonthSettlement) -> str:
    """What was accepted without a known cause is not told as one that was found."""
    # In the cents of the table below it: rounded by itself the same amount could read a cent higher.
    shown = [(one.cause, cents) for gap in value.gaps for one, cents in zip(gap.causes, shown_causes(gap), strict=True)]
    accepted = [cents for cause, cents in shown if cause == "unknown"]
    unchecked = sum((abs(cents) for cause, cents in shown if cause == UNCHECKED), Decimal(0))
    lines = sum(any(part.cause == "unknown" for part in line.parts) for line in value.lines)
    but = []
    if lines > 1:  # they may cancel each other: the sum alone would make them look smaller
        but.append(f"{lines} lines, accepted without one: {usd(sum(accepted, Decimal(0)), 2)} together")
    elif accepted:
        but.append(f"{usd(abs(accepted[0]), 2)}, which was accepted without one")
    but += [f"{usd(unchecked, 2)} of tax, which nobody checked"] if unchecked else []
    return " ".join(["every difference has a cause", *([f"but {' and '.join(but)}"] if but else [])])


def _than(computed: Decimal, stated: Decimal | None) -> str:
    """How a figure stands to ours: no sentence calls a higher invoice one that agrees."""
    more = shown_difference(computed, stated if stated is not None else computed)
    if not more:
        return "equals our own figures"
    return f"is {usd(abs(more), 2)} {'more' if more > 0 else 'less'} than our own figures"


def _left(value: MonthSettlement) -> str:
    titles = [check.title[0].lower() + check.title[1:] for check in value.open_checks]
    if not titles:
        return "Nothing stands before closing the month."
    if len(titles) == 1:
        return f"One thing stands before closing the month: {titles[0]}."
    number = _NUMBERS.get(len(titles), str(len(titles)))
    return f"{number} things stand before closing the month: {'; '.join(titles)}."


def parse_month(text: str) -> date:
    """The first day of 2026-10. Raises ValueError with what to write."""
    try:
        year, _, number = text.partition("-")
        if len(year) != 4 or len(number) != 2:
            raise ValueError
        return date(int(year), int(number), 1)
    except ValueError as error:
        raise ValueError(f"{text[:20]!r} is not a month; write it like 2026-10") from error


def neighbours(month: date, *, as_of: datetime) -> tuple[date | None, date | None]:
    """The months before and after, where something is known of them."""
    known = set(months_known(as_of=as_of))
    before = date(month.year - (month.month == 1), (month.month - 2) % 12 + 1, 1)
    after = next_month(month)
    return (before if before in known else None), (after if after in known else None)


def cause_choices() -> list[tuple[str, str]]:
    """Causes somebody may give; the last accepts a difference without a known one."""
    named = [(cause, title) for cause, title in CAUSES.items() if cause not in ("rounding", "unknown", "unchecked_tax")]
    return [*named, ("unknown", "No known cause: accept it as it is")]
