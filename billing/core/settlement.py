"""A month as people settle it: three figures, the gaps between them by cause, lines to open, and what stands before
closing. One value: the page, the API, the command and the frozen record of a closed month are this.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Literal

from billing.core.money import sum_usd
from billing.core.reconciling import Cause, LineKey, Part, minus
from billing.core.words import joined

Side = Literal["report", "invoice"]
State = Literal["matches", "explained", "accepted", "unchecked", "open"]
UNEXPLAINED: Final = "unknown"
UNCHECKED: Final = "unchecked_tax"  # has a name and needs no reason; nobody knows whether it is right
KIND_WORDS: Final[Mapping[str, str]] = {
    "uncached_input": "input",
    "cache_read": "cache read",
    "cache_write_5m": "cache write, 5 min",
    "cache_write_1h": "cache write, 1 h",
    "output": "output",
    "web_search": "web search",
    "code_execution": "code execution",
    "session_usage": "session hours",
    "": "all kinds",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Somebody's word for a difference of exactly `amount_usd`."""

    id: int
    side: Side
    line: str
    cause: Cause
    amount_usd: Decimal
    reason: str
    given_by: str
    given_at: datetime


@dataclass(frozen=True, slots=True)
class PriceUsed:
    """How a part of a line's computed cost comes about; exact."""

    units: int
    usd_per_unit: Decimal
    unit: str
    cost_usd: Decimal
    formula: str
    source: str
    valid_from: date | None
    checked_on: date
    assumptions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DayDifference:
    """One day of a line (None: compared by month), or of one of its workspaces, that differs."""

    day: date | None
    workspace: str
    units: int
    computed_usd: Decimal
    reported_usd: Decimal
    difference_usd: Decimal
    known: str


@dataclass(frozen=True, slots=True)
class SettledLine:
    """Computed against the cost report. `computed_usd` None: nothing of it has a price; `reported_usd` None: no report.

    `parts` sum to `difference_usd`. `open_usd`: what no cause but a missing price explains; a reason holds for exactly
    that amount. `other_days` equal days are not listed.
    """

    key: str
    about: LineKey
    name: str
    tier: str
    kind: str
    units: int
    unpriced: int
    computed_usd: Decimal | None
    reported_usd: Decimal | None
    difference_usd: Decimal | None
    parts: tuple[Part, ...]
    state: State
    open_usd: Decimal
    needs_price: bool
    reason: Reason | None
    days: tuple[DayDifference, ...]
    other_days: int
    prices: tuple[PriceUsed, ...]


@dataclass(frozen=True, slots=True)
class InvoiceDifference:
    """Cost report against the invoice, of one set of words the invoice states.

    `open_usd`: what has no cause, or is not checked; a reason holds for exactly that amount.
    """

    key: str
    title: str
    base_usd: Decimal
    billed_usd: Decimal
    difference_usd: Decimal
    lines: tuple[str, ...]
    parts: tuple[Part, ...]
    state: State
    open_usd: Decimal
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class CauseSum:
    """Everything one cause explains on one side. `where` names the lines, `detail` what is known."""

    cause: Cause
    title: str
    amount_usd: Decimal
    where: str
    detail: str
    lines: int
    state: State


@dataclass(frozen=True, slots=True)
class Gap:
    """From one figure to the next: causes, largest first, rounding last; they sum exactly to `difference_usd`."""

    side: Side
    from_usd: Decimal
    to_usd: Decimal
    difference_usd: Decimal
    causes: tuple[CauseSum, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to be done before closing. `line`: the key of a line to look at."""

    key: str
    is_done: bool
    title: str
    detail: str
    side: str = ""
    line: str = ""


@dataclass(frozen=True, slots=True)
class ReportUsed:
    """The cost report that counts for a channel; `days` of the month for which it is the one."""

    channel: str
    source: str
    format: str
    imported_at: datetime | None
    lines: int
    days: int


@dataclass(frozen=True, slots=True)
class InvoiceUsed:
    id: int
    issuer: str
    number: str
    channel: str
    issued_on: date
    due_on: date | None
    total_usd: Decimal
    lines: int
    lines_usd: Decimal
    entered_by: str
    checked_by: str
    checked_at: datetime | None


@dataclass(frozen=True, slots=True)
class UnpricedModel:
    model: str
    units: int
    first_day: date
    lowest_usd: Decimal | None
    highest_usd: Decimal | None
    reported_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Settings:
    """What counts as equal, and how much may be unclassified: as set for the month."""

    line_usd: Decimal
    line_share: Decimal
    invoice_line_usd: Decimal
    unclassified_share: Decimal


@dataclass(frozen=True, slots=True)
class MonthSettlement:
    """Days [start, end). `report_usd`, `invoice_usd` None = there is none. `computed_usd` covers what has a price."""

    month: date
    start: date
    end: date
    computed_usd: Decimal
    report_usd: Decimal | None
    invoice_usd: Decimal | None
    contracted_usd: Decimal | None
    prices_known_at: datetime
    sources: int
    days: int
    days_imported: int
    missing_days: tuple[date, ...]
    reports: tuple[ReportUsed, ...]
    invoices: tuple[InvoiceUsed, ...]
    gaps: tuple[Gap, ...]
    lines: tuple[SettledLine, ...]
    invoice_lines: tuple[InvoiceDifference, ...]
    checks: tuple[Check, ...]
    unpriced: tuple[UnpricedModel, ...]
    unpriced_units: int
    unclassified_usd: Decimal
    unclassified_share: float | None
    left_out: tuple[str, ...]
    settings: Settings

    @property
    def residual_usd(self) -> Decimal | None:
        """Invoice minus computed, or report minus computed where there is no invoice; None with neither."""
        last = self.invoice_usd if self.invoice_usd is not None else self.report_usd
        return None if last is None else minus(last, self.computed_usd)

    @property
    def open_checks(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.is_done)

    @property
    def done_checks(self) -> int:
        return len(self.checks) - len(self.open_checks)

    @property
    def open_usd(self) -> Decimal:
        """What nobody has explained, on both sides, without its sign."""
        return sum_usd(abs(part.amount_usd) for part in self._open_parts())

    @property
    def open_lines(self) -> int:
        return sum(line.state == "open" for line in self.lines) + sum(
            line.state == "open" for line in self.invoice_lines
        )

    def _open_parts(self) -> list[Part]:
        parts = [line.parts for line in self.lines if line.state == "open"]
        parts += [line.parts for line in self.invoice_lines if line.state == "open"]
        return [part for found in parts for part in found if part.cause == UNEXPLAINED]


def line_name(key: LineKey) -> str:
    """The stable name of a line: what reasons and comments point at."""
    return joined((key.channel, key.model, key.kind, key.service_tier, key.prompt_length_band, key.geo, key.speed))


def line_of(key: LineKey) -> LineKey:
    """The line a cell belongs to: workspaces are told apart in its days."""
    return replace(key, workspace="")
