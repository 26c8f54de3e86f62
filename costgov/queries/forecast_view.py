"""The values of a forecast: what page, command, API and the saved result show. All money is an estimate, in usd."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

_STANDING: Final = {  # words, icon, colour
    "in force": ("In force", "circle-check", "good"),
    "approved": ("Approved", "circle-check", "good"),
    "proven": ("Proven, not approved", "flask", "info"),
    "stays": ("Stays", "minus", "none"),
    "none": ("No recommendation", "circle-dashed", "none"),
}


@dataclass(frozen=True, slots=True)
class SpreadUsd:
    """A sum of months over the paths, usd, an estimate. `standard_error_usd` is that of the mean."""

    p10_usd: Decimal
    p50_usd: Decimal
    p90_usd: Decimal
    mean_usd: Decimal
    standard_error_usd: Decimal


@dataclass(frozen=True, slots=True)
class PolicyForecast:
    """One policy. `quantiles_usd[p]` has one figure a month (p as "0.1"); `years` are sums of twelve months."""

    policy: str
    total: SpreadUsd
    p025_usd: Decimal
    p975_usd: Decimal
    years: tuple[SpreadUsd, ...]
    quantiles_usd: Mapping[str, tuple[Decimal, ...]]
    mean_usd: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class MonthRow:
    """A month [start, end): mean spend per policy, the optimised 80 % band, the mean saving on the current policy."""

    start: date
    end: date
    baseline_usd: Decimal
    current_usd: Decimal
    optimised_usd: Decimal
    low_usd: Decimal
    high_usd: Decimal
    saving_usd: Decimal


@dataclass(frozen=True, slots=True)
class ClassForecast:
    """One class over the whole horizon: mean spend per policy, how long its history is, where its move stands.

    `growth_per_year` is the measured course now (it slows down), `scale` R_c: 1 = as uncertain as usual.
    """

    request_class: str
    title: str
    grade: str
    known_weeks: int
    unit_name: str
    units_per_week: float
    growth_per_year: float
    scale: float
    baseline_usd: Decimal
    current_usd: Decimal
    optimised_usd: Decimal
    standing: str
    move: str
    remark: str

    @property
    def places(self) -> int:
        return 0 if self.units_per_week >= 100 else 1

    @property
    def unit_text(self) -> str:
        """What the volume counts, in the plural."""
        return "requests" if self.unit_name == "request" else "M input tokens"

    @property
    def history_text(self) -> str:
        return f"{self.grade.capitalize()} · {self.known_weeks} {'week' if self.known_weeks == 1 else 'weeks'}"

    @property
    def history_icon(self) -> str:
        return "circle-check" if self.grade in {"medium", "long"} else "hourglass"

    @property
    def history_tone(self) -> str:
        return {"long": "good", "medium": "info", "short": "warn", "very short": "warn"}.get(self.grade, "none")

    @property
    def standing_text(self) -> str:
        if self.standing == "proven" and self.move == "keep":
            return "Same model, not approved"  # caching or batch only: no proof of quality is needed
        return _STANDING[self.standing][0]

    @property
    def standing_icon(self) -> str:
        return _STANDING[self.standing][1]

    @property
    def standing_tone(self) -> str:
        return _STANDING[self.standing][2]


@dataclass(frozen=True, slots=True)
class AccuracyRow:
    """Backtest of one horizon over classes and origins; shares in 0..1, None without a try."""

    weeks: int
    tries: int
    median_error: float | None
    coverage_50: float | None
    coverage_80: float | None
    coverage_95: float | None


@dataclass(frozen=True, slots=True)
class HindsightRow:
    """A past month: the 80 % band as it would have been given the day before it began, and what happened. Both at
    today's cost per unit, so that only the volume is judged."""

    month: date
    low_usd: Decimal
    high_usd: Decimal
    actual_usd: Decimal

    @property
    def is_inside(self) -> bool:
        return self.low_usd <= self.actual_usd <= self.high_usd


@dataclass(frozen=True, slots=True)
class PastMonth:
    """A whole month before the forecast: what was spent, and the same requests on the baseline model, re-priced."""

    month: date
    spent_usd: Decimal
    baseline_usd: Decimal


@dataclass(frozen=True, slots=True)
class Difference:
    """Current less optimised, mean of the horizon: what is approved, what is proven but not approved.

    `low_usd` and `high_usd`: P10 and P90 of the difference in each future. Part of the other two: `quality_cost_usd`,
    what moves that restore quality cost, and `assumed_usd`, where tokens or the reuse of prompts are assumed.
    """

    total_usd: Decimal
    low_usd: Decimal
    high_usd: Decimal
    approved_usd: Decimal
    proven_usd: Decimal
    quality_cost_usd: Decimal
    assumed_usd: Decimal


@dataclass(frozen=True, slots=True)
class LeftOutRow:
    request_class: str
    title: str
    reason: str


@dataclass(frozen=True, slots=True)
class ForecastView:
    """A forecast with everything it rests on. All money is an estimate at list prices."""

    cutoff: date
    history_from: date
    start: date
    end: date
    months: int
    paths: int
    scenario: str
    scenario_text: str
    baseline_model: str
    baseline_name: str
    policy: str
    rollout_start: date
    grade: str
    policies: tuple[PolicyForecast, ...]
    rows: tuple[MonthRow, ...]
    difference: Difference
    classes: tuple[ClassForecast, ...]
    left_out: tuple[LeftOutRow, ...]
    unclassified_usd: Decimal
    unpriced_tok: int
    accuracy: tuple[AccuracyRow, ...]
    hindsight: tuple[HindsightRow, ...]
    history: tuple[PastMonth, ...]
    price_changes: tuple[date, ...]
    correlation: float
    inputs_hash: str

    def of(self, policy: str) -> PolicyForecast:
        return next(row for row in self.policies if row.policy == policy)

    @property
    def optimised(self) -> PolicyForecast:
        return self.of("optimised")

    @property
    def baseline(self) -> PolicyForecast:
        return self.of("baseline")

    @property
    def current(self) -> PolicyForecast:
        return self.of("current")
