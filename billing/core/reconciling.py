"""Values of reconciliation: lines of both sides on the dimensions both state, and the names differences get.

Computed usage and a cost report rarely state the same dimensions. Per channel, model and kind a dimension is compared
only where every line of both sides states it; elsewhere both sides are summed over it, so that nothing differs for want
of a word. Prompt-length bands are compared in the coarser of the two divisions.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Final, Literal

from billing.core.money import EXACT, ZERO
from billing.core.usage import NOT_APPLICABLE, UNTOLD

Cause = Literal[
    "tax",
    "unchecked_tax",
    "credit",
    "adjustment",
    "commitment",
    "non_token",
    "other_charge",
    "day_not_imported",
    "day_not_in_report",
    "priority_tier",
    "regional_price",
    "contract_discount",
    "prompt_length",
    "missing_price",
    "time_zone",
    "late_usage",
    "rounding",
    "unknown",
]
# In the order in which they are looked for (docs/algorithms/reconciliation.md), as pages name them.
CAUSES: Final[Mapping[Cause, str]] = {
    "tax": "Tax",
    "unchecked_tax": "Tax, not checked",
    "credit": "Credit",
    "adjustment": "Adjustment of an earlier month",
    "commitment": "Commitment or prepaid purchase",
    "non_token": "Charges that are not tokens",
    "other_charge": "Other charge on the invoice",
    "day_not_imported": "Days whose usage is not imported",
    "day_not_in_report": "Days the cost report does not cover",
    "priority_tier": "Priority tier, never in the cost report",
    "regional_price": "Regional price our usage does not tell",
    "contract_discount": "Contract discount",
    "prompt_length": "Prompt length our usage does not tell",
    "missing_price": "Models without a price here",
    "time_zone": "Days cut in another time zone",
    "late_usage": "Usage that arrived late",
    "rounding": "Rounding",
    "unknown": "Not explained",
}
Nature = Literal["usage", "non_token", "tax", "credit", "adjustment", "commitment"]
NOT_STATED: Final = UNTOLD | {NOT_APPLICABLE}
_DIMENSIONS: Final = ("service_tier", "prompt_length_band", "geo", "speed", "workspace")
_COARSE_BAND: Final = {
    "0-100k": "0-200k",
    "100k-200k": "0-200k",
    "0-200k": "0-200k",
    "200k-1M": "200k-1M",
}


@dataclass(frozen=True, slots=True, order=True)
class LineKey:
    """What a line is about. `''` = not told apart, as one of the sides does not state it (or no side)."""

    channel: str = "anthropic"
    model: str = ""
    kind: str = ""
    service_tier: str = ""
    prompt_length_band: str = ""
    geo: str = ""
    speed: str = ""
    workspace: str = ""


@dataclass(frozen=True, slots=True)
class Used:
    """Our usage of one key on one UTC day. `cost_usd` is the exact cost of what has a price.

    `unpriced` units have none; `lowest_usd`, `highest_usd`: what they can cost where only the prompt length is missing.
    `contract_usd`: the cost under the contract in force, None without one.
    """

    day: date
    key: LineKey
    units: int
    cost_usd: Decimal
    unpriced: int = 0
    lowest_usd: Decimal | None = None
    highest_usd: Decimal | None = None
    contract_usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Reported:
    """What the cost report says of one key. `day` None: it states a longer period only.

    `regional_usd`: the part of the amount that is there only because the stated region has its own price.
    `discount_usd`, `prepaid_usd`: billed less list where the report states both; prepaid = drawn on a commitment.
    """

    day: date | None
    key: LineKey
    amount_usd: Decimal
    nature: Nature = "usage"
    regional_usd: Decimal = ZERO
    discount_usd: Decimal = ZERO
    prepaid_usd: Decimal = ZERO
    description: str = ""


@dataclass(frozen=True, slots=True)
class DayFacts:
    """What is held of one UTC day of one channel; the instants at which each side was last imported."""

    has_usage: bool
    has_report: bool
    usage_at: datetime | None = None
    report_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Tolerance:
    """When two amounts count as equal (methods.md §1.7): max(usd, share × amount) per line, usd per invoice line."""

    line_usd: Decimal = Decimal("0.01")
    line_share: Decimal = Decimal("0.000001")
    invoice_line_usd: Decimal = Decimal("0.01")

    def __post_init__(self) -> None:
        for name in ("line_usd", "line_share", "invoice_line_usd"):
            value = getattr(self, name)
            if not isinstance(value, Decimal) or not value.is_finite() or value < 0:
                raise ValueError(f"{name} must be an amount of at least 0, got {value!r}")
        if self.line_share > 1:
            raise ValueError(f"line_share is a share of the amount, at most 1, got {self.line_share}")

    def of_line(self, *amounts: Decimal) -> Decimal:
        """How far two amounts may differ and still match."""
        return max(self.line_usd, EXACT.multiply(self.line_share, max(abs(amount) for amount in amounts)))

    def of_invoice(self, lines: int) -> Decimal:
        return EXACT.multiply(self.invoice_line_usd, Decimal(lines))


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a difference with its cause, and in words what is known of it."""

    cause: Cause
    amount_usd: Decimal
    detail: str = ""


def minus(one: Decimal, other: Decimal) -> Decimal:
    """Exact difference; raises rather than lose a digit."""
    return EXACT.subtract(one, other)


def aligned(used: Sequence[Used], reported: Sequence[Reported]) -> tuple[list[Used], list[Reported]]:
    """Both sides on the dimensions both state. Lines that are not usage (tax, credits, …) keep their keys."""
    told = [line for line in reported if line.nature == "usage"]
    ungrouped = _ungrouped_channels(told)
    searches = {line.key.channel for line in told if line.key.kind == "web_search" and _untold(line.key.model)}
    mixed = {
        (line.key.channel, line.key.model)
        for line in told
        if not _untold(line.key.model) and _untold(line.key.kind) and line.key.channel not in ungrouped
    }

    @cache
    def named(key: LineKey) -> LineKey:
        if key.channel in ungrouped:
            return LineKey(channel=key.channel)
        if key.kind == "web_search" and key.channel in searches:
            return LineKey(channel=key.channel, kind="web_search")
        clean = replace(key, model=_blank(key.model), kind=_blank(key.kind))
        if (key.channel, key.model) in mixed:
            return replace(clean, kind="")
        return clean

    stated = _stated({named(line.key) for line in used}, {named(line.key) for line in told})
    spans = {_group(named(line.key)) for line in told if line.day is None}

    @cache
    def shown(raw: LineKey) -> LineKey:
        key = named(raw)
        kept = stated[_group(key)]
        return replace(key, **{name: kept[name](getattr(key, name)) for name in _DIMENSIONS})

    ours = [replace(line, key=shown(line.key)) for line in used]
    theirs = [
        line
        if line.nature != "usage"
        else replace(line, key=shown(line.key), day=None if _group(shown(line.key)) in spans else line.day)
        for line in reported
    ]
    return ours, theirs


def spanning(reported: Iterable[Reported]) -> frozenset[tuple[str, str, str]]:
    """Channel, model and kind of usage the (aligned) report states for longer periods only: compared by month."""
    return frozenset(_group(line.key) for line in reported if line.nature == "usage" and line.day is None)


def _ungrouped_channels(told: Sequence[Reported]) -> frozenset[str]:
    """Channels whose report names no model at all: only whole days compare."""
    named: dict[str, bool] = defaultdict(bool)
    for line in told:
        if line.key.kind != "web_search":
            named[line.key.channel] |= not _untold(line.key.model)
    return frozenset(channel for channel, any_model in named.items() if not any_model)


def _stated(ours: Iterable[LineKey], theirs: Iterable[LineKey]) -> dict[tuple[str, str, str], dict[str, "_Dimension"]]:
    """Per channel, model and kind, how each dimension is shown: as it is, coarser, or not at all."""
    values: dict[tuple[str, str, str], tuple[list[LineKey], list[LineKey]]] = defaultdict(lambda: ([], []))
    for side, keys in enumerate((ours, theirs)):
        for key in keys:
            values[_group(key)][side].append(key)
    found = {}
    for group, (left, right) in values.items():
        found[group] = {
            name: _dimension(name, {getattr(key, name) for key in left}, {getattr(key, name) for key in right})
            for name in _DIMENSIONS
        }
    return found


@dataclass(frozen=True, slots=True)
class _Dimension:
    """How the values of one dimension are shown on both sides."""

    names: Mapping[str, str]

    def __call__(self, value: str) -> str:
        return self.names.get(value, "")


def _dimension(name: str, left: set[str], right: set[str]) -> _Dimension:
    values = left | right
    if any(_untold(value, name) for value in values):
        # One side alone cannot disagree about a word: what it states stays, what it does not is ''.
        if left and right:
            return _Dimension({})
        return _Dimension({value: value for value in values if not _untold(value, name)})
    if name != "prompt_length_band" or not left or not right or left == right:
        return _Dimension({value: value for value in values})
    if all(value in _COARSE_BAND for value in values):
        return _Dimension({value: _COARSE_BAND[value] for value in values})
    return _Dimension({})


def _group(key: LineKey) -> tuple[str, str, str]:
    return key.channel, key.model, key.kind


def _untold(value: str, dimension: str = "") -> bool:
    return value in NOT_STATED or (dimension == "geo" and value == "not_available")


def _blank(value: str) -> str:
    return "" if value in NOT_STATED else value
