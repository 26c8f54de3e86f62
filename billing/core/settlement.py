"""A month as people settle it: three figures, the gaps between them by cause, lines to open, and what stands before
closing. One value: the page, the API, the command and the frozen record of a closed month are this.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Literal

from billing.core.invoicing import InvoiceGroup
from billing.core.money import ZERO, sum_usd
from billing.core.reconciliation import Cell
from billing.core.reconciling import CAUSES, Cause, LineKey, Part, minus
from billing.core.words import usd

Side = Literal["report", "invoice"]
State = Literal["matches", "explained", "accepted", "open"]
UNEXPLAINED: Final = "unknown"
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
_DAYS_SHOWN: Final = 10
_ORDER: Final[Mapping[State, int]] = {"open": 0, "accepted": 1, "explained": 1, "matches": 2}


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
    """Cost report against the invoice, of one set of words the invoice states."""

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
    return "|".join((key.channel, key.model, key.kind, key.service_tier, key.prompt_length_band, key.geo, key.speed))


def line_of(key: LineKey) -> LineKey:
    """The line a cell belongs to: workspaces are told apart in its days."""
    return replace(key, workspace="")


def settled_lines(
    cells: Sequence[Cell],
    *,
    has_report: bool,
    prices: Mapping[LineKey, Sequence[PriceUsed]],
    names: Mapping[str, tuple[str, str]],
    reasons: Mapping[tuple[str, str], Reason],
) -> tuple[SettledLine, ...]:
    """Cells put together to lines: differences first, then by amount. `names`: model → (display name, tier)."""
    groups: dict[LineKey, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[line_of(cell.key)].append(cell)
    lines = [
        _line(key, found, has_report, prices.get(key, ()), names, reasons.get(("report", line_name(key))))
        for key, found in groups.items()
    ]
    return tuple(sorted(lines, key=_line_order))


def _line_order(line: SettledLine) -> tuple[int, Decimal, Decimal, str]:
    size = line.reported_usd if line.reported_usd is not None else line.computed_usd or ZERO
    differs = abs(line.difference_usd or ZERO) if line.state != "matches" else ZERO
    return _ORDER[line.state], -differs, -size, line.key


def _line(
    key: LineKey,
    cells: Sequence[Cell],
    has_report: bool,
    prices: Sequence[PriceUsed],
    names: Mapping[str, tuple[str, str]],
    reason: Reason | None,
) -> SettledLine:
    units, unpriced = sum(cell.units for cell in cells), sum(cell.unpriced for cell in cells)
    computed = sum_usd(cell.computed_usd for cell in cells)
    reported = sum_usd(cell.reported_usd for cell in cells)
    parts = merged(part for cell in cells for part in cell.parts) if has_report else ()
    open_usd = sum_usd(part.amount_usd for part in parts if part.cause in (UNEXPLAINED, "missing_price"))
    is_known = not unpriced or any(part.cause == "prompt_length" for part in parts)
    kept = reason if reason is not None and reason.amount_usd == open_usd else None
    differing = [cell for cell in cells if any(part.cause != "rounding" for part in cell.parts)] if has_report else []
    differing.sort(key=lambda cell: (-abs(cell.difference_usd), cell.day or date.min, cell.key))
    name, tier = names.get(key.model, (key.model, "other"))
    shown = [_day(cell) for cell in differing[:_DAYS_SHOWN]]
    return SettledLine(
        key=line_name(key),
        about=key,
        name=name or _charge(cells),
        tier=tier if key.model else "",
        kind=kind_words(key),
        units=units,
        unpriced=unpriced,
        computed_usd=None if unpriced and unpriced == units else computed,
        reported_usd=reported if has_report else None,
        difference_usd=minus(reported, computed) if has_report else None,
        parts=_with_reason(parts, kept),
        state=_state(parts, kept),
        open_usd=open_usd,
        needs_price=not is_known and kept is None,
        reason=kept,
        days=tuple(sorted(shown, key=lambda one: (one.day or date.min, one.workspace))),
        other_days=len({cell.day for cell in cells} - {one.day for one in shown}),
        prices=tuple(prices),
    )


def _charge(cells: Sequence[Cell]) -> str:
    """What the report calls a charge without a model."""
    said = next((cell.description for cell in cells if cell.description), "")
    causes = {part.cause for cell in cells for part in cell.parts}
    return said or (
        CAUSES[next(iter(causes))] if len(causes) == 1 and not causes & {"rounding", "unknown"} else "All models"
    )


def kind_words(key: LineKey) -> str:
    """output, batch, US only: the kind and whatever is not the usual."""
    words = [KIND_WORDS.get(key.kind, key.kind.replace("_", " "))]
    words += [key.service_tier] if key.service_tier not in ("", "standard") else []
    words += ["US only" if key.geo == "us" else key.geo] if key.geo not in ("", "global", "not_available") else []
    words += [f"{key.speed} mode"] if key.speed not in ("", "standard") else []
    words += (
        [f"prompts {key.prompt_length_band}"] if key.prompt_length_band in ("200k-1M", "100k-1M", "100k-200k") else []
    )
    words += [key.channel] if key.channel != "anthropic" else []
    return ", ".join(words)


def _day(cell: Cell) -> DayDifference:
    return DayDifference(
        cell.day,
        cell.key.workspace,
        cell.units,
        cell.computed_usd,
        cell.reported_usd,
        cell.difference_usd,
        known_of(cell),
    )


def known_of(cell: Cell) -> str:
    """What is known of a day's difference, in words; of an unexplained one how many tokens it would be."""
    said = []
    for part in cell.parts:
        if part.cause == UNEXPLAINED:
            said.append(_tokens_of(cell, part))
        elif part.cause != "rounding":
            said.append(f"{CAUSES[part.cause]}: {part.detail}" if part.detail else CAUSES[part.cause])
    return "; ".join(dict.fromkeys(said))


def _tokens_of(cell: Cell, part: Part) -> str:
    more = "more" if part.amount_usd > 0 else "less"
    if cell.units and cell.computed_usd > 0 and not cell.unpriced:
        units = abs(part.amount_usd) * cell.units / cell.computed_usd
        return f"The report has {usd(abs(part.amount_usd), 2)} {more}: about {units:,.0f} tokens at our price"
    if not cell.units:
        return "In the report, and not in our usage of that day"
    return f"The report has {usd(abs(part.amount_usd), 2)} {more}"


def invoice_differences(
    groups: Sequence[InvoiceGroup], *, names: Mapping[str, tuple[str, str]], reasons: Mapping[tuple[str, str], Reason]
) -> tuple[InvoiceDifference, ...]:
    """Groups of the invoice with their states: differences first."""
    found = []
    for group in groups:
        open_usd = sum_usd(part.amount_usd for part in group.parts if part.cause == UNEXPLAINED)
        reason = reasons.get(("invoice", group.key))
        kept = reason if reason is not None and open_usd and reason.amount_usd == open_usd else None
        found.append(
            InvoiceDifference(
                group.key,
                _invoice_title(group, names),
                group.base_usd,
                group.billed_usd,
                group.difference_usd,
                group.lines,
                _with_reason(group.parts, kept),
                _state(group.parts, kept),
                open_usd,
                kept,
            )
        )
    return tuple(sorted(found, key=lambda one: (_ORDER[one.state], _differs(one), -one.billed_usd, one.key)))


def _differs(one: InvoiceDifference) -> Decimal:
    return ZERO if one.state == "matches" else -abs(one.difference_usd)


def _invoice_title(group: InvoiceGroup, names: Mapping[str, tuple[str, str]]) -> str:
    words = group.key.split("|")
    if words[0] != "usage":
        return group.title
    _, channel, model, kind, tier, other = words
    said = [names.get(model, (model, ""))[0]] if model else []
    said += [KIND_WORDS.get(kind, kind.replace("_", " "))] if kind else []
    said += [tier] if tier not in ("", "standard") else []
    said += ["other charges"] if other else []
    said += [channel] if channel != "anthropic" else []
    text = ", ".join(said) or "all usage"
    return text if model else text[0].upper() + text[1:]


def _state(parts: Sequence[Part], reason: Reason | None) -> State:
    causes = {part.cause for part in parts}
    if reason is not None:
        return "accepted"
    if UNEXPLAINED in causes:
        return "open"
    return "explained" if causes - {"rounding"} else "matches"


def _with_reason(parts: Sequence[Part], reason: Reason | None) -> tuple[Part, ...]:
    """What somebody explained bears the cause they gave."""
    if reason is None:
        return tuple(parts)
    return tuple(
        replace(part, cause=reason.cause, detail=reason.reason) if part.cause == UNEXPLAINED else part for part in parts
    )


def merged(parts: Iterable[Part]) -> tuple[Part, ...]:
    """One part per cause, its details said once."""
    sums: dict[Cause, list[Part]] = defaultdict(list)
    for part in parts:
        sums[part.cause].append(part)
    return tuple(
        Part(
            cause,
            sum_usd(part.amount_usd for part in sums[cause]),
            "; ".join(list(dict.fromkeys(part.detail for part in sums[cause] if part.detail))[:3]),
        )
        for cause in CAUSES
        if cause in sums
    )


def gap_of(
    side: Side, from_usd: Decimal, to_usd: Decimal, lines: Sequence[SettledLine] | Sequence[InvoiceDifference]
) -> Gap:
    """The causes of one gap; what somebody accepted stands beside what was found."""
    sums: dict[tuple[Cause, bool], list[tuple[str, Part]]] = defaultdict(list)
    for line in lines:
        title = _where(line)
        for part in line.parts:
            by_hand = line.reason is not None and part.cause in (line.reason.cause, "missing_price")
            sums[part.cause, by_hand].append((title, part))
    causes = [_cause_sum(cause, by_hand, found) for (cause, by_hand), found in sums.items()]
    causes.sort(key=lambda one: (one.cause == "rounding", -abs(one.amount_usd), one.cause, one.state))
    return Gap(side, from_usd, to_usd, minus(to_usd, from_usd), tuple(causes))


def _where(line: SettledLine | InvoiceDifference) -> str:
    if isinstance(line, InvoiceDifference):
        return line.title if line.key.startswith("usage|") else ", ".join(line.lines)
    return f"{line.name} {line.kind}" if line.about.model else line.name


def _cause_sum(cause: Cause, by_hand: bool, found: Sequence[tuple[str, Part]]) -> CauseSum:
    titles = list(dict.fromkeys(title for title, _ in found))
    where = ", ".join(titles[:2]) + (f" and {len(titles) - 2} more" if len(titles) > 2 else "")
    details = list(dict.fromkeys(part.detail for _, part in found if part.detail))
    state: State = "accepted" if by_hand else "open" if cause == UNEXPLAINED else "explained"
    return CauseSum(
        cause,
        "Accepted without a known cause" if by_hand and cause == UNEXPLAINED else CAUSES[cause],
        sum_usd(part.amount_usd for _, part in found),
        f"{len(found):,} line{'s' if len(found) != 1 else ''}" if cause == "rounding" else where,
        "; ".join(detail for detail in details[:2] if detail != where),
        len(found),
        state,
    )
