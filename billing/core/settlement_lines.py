"""Cells and invoice groups put together to the lines and gaps of a settlement, with the reasons people gave."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Final

from billing.core.billed import InvoiceGroup
from billing.core.money import ZERO, sum_usd
from billing.core.reconciliation import Cell
from billing.core.reconciling import CAUSES, Cause, LineKey, Part, minus
from billing.core.settlement import (
    KIND_WORDS,
    UNCHECKED,
    UNEXPLAINED,
    CauseSum,
    DayDifference,
    Gap,
    InvoiceDifference,
    PriceUsed,
    Reason,
    SettledLine,
    Side,
    State,
    line_name,
    line_of,
)
from billing.core.words import channel_name, parted, usd

_DAYS_SHOWN: Final = 10
_ORDER: Final[Mapping[State, int]] = {"open": 0, "accepted": 1, "unchecked": 1, "explained": 1, "matches": 2}


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
    words += [channel_name(key.channel)] if key.channel != "anthropic" else []
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
        open_usd = sum_usd(part.amount_usd for part in group.parts if part.cause in (UNEXPLAINED, UNCHECKED))
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
    words = parted(group.key)
    if words[0] != "usage":
        return group.title
    _, channel, model, kind, tier, other = words
    said = [names.get(model, (model, ""))[0]] if model else []
    said += [KIND_WORDS.get(kind, kind.replace("_", " "))] if kind else []
    said += [tier] if tier not in ("", "standard") else []
    said += ["other charges"] if other else []
    said += [channel_name(channel)] if channel != "anthropic" else []
    text = ", ".join(said) or "all usage"
    return text if model else text[0].upper() + text[1:]


def _state(parts: Sequence[Part], reason: Reason | None) -> State:
    causes = {part.cause for part in parts}
    if reason is not None:
        return "accepted"
    if UNEXPLAINED in causes:
        return "open"
    if UNCHECKED in causes:
        return "unchecked"
    return "explained" if causes - {"rounding"} else "matches"


def _with_reason(parts: Sequence[Part], reason: Reason | None) -> tuple[Part, ...]:
    """What somebody explained bears the cause they gave."""
    if reason is None:
        return tuple(parts)
    return tuple(
        replace(part, cause=reason.cause, detail=reason.reason) if part.cause in (UNEXPLAINED, UNCHECKED) else part
        for part in parts
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
    otherwise: State = "open" if cause == UNEXPLAINED else "unchecked" if cause == UNCHECKED else "explained"
    state: State = "accepted" if by_hand else otherwise
    return CauseSum(
        cause,
        "Accepted without a known cause" if by_hand and cause == UNEXPLAINED else CAUSES[cause],
        sum_usd(part.amount_usd for _, part in found),
        f"{len(found):,} line{'s' if len(found) != 1 else ''}" if cause == "rounding" else where,
        "; ".join(detail for detail in details[:2] if detail != where),
        len(found),
        state,
    )
