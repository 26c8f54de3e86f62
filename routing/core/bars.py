"""The quality bar of a class: everything a verdict is asked by, in versions (methods.md §3.1, §3.4, §3.5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.core.words import percent_as_set
from routing.core.evalues import MIN_CASES
from routing.core.evidence import Evidence, Metric
from routing.core.freshness import ModelChanges
from routing.core.verdicts import Standard, Verdict, asked_text, judge_evidence, line_of, points

METRICS: tuple[Metric, ...] = ("pass_rate", "mean_score")
STANDARDS: tuple[Standard, ...] = ("absolute", "not_worse", "both")
PLACES = 6


@dataclass(frozen=True, slots=True)
class Bar:
    """What a class asks of a model. Shares in 0..1.

    `line` = bar − tolerance. `standard` "not_worse" and "both" compare with the model that serves and need `margin`.
    `suites`: patterns of the eval suites that count, () = all of the class. `plan`: models that share α, () = every
    model that ever had a case. `version` counts the changes of a class's bar from 1.
    """

    bar: Decimal = Decimal("0.95")
    tolerance: Decimal = Decimal("0.02")
    alpha: Decimal = Decimal("0.05")
    max_age_days: int = 90
    metric: Metric = "pass_rate"
    standard: Standard = "absolute"
    margin: Decimal | None = None
    min_cases: int = MIN_CASES
    suites: tuple[str, ...] = ()
    plan: tuple[str, ...] = ()
    version: int = 1

    @property
    def line(self) -> float:
        """What a model must be shown to reach. Raises ValueError for a bar no sample can show."""
        return line_of(self.bar, self.tolerance)

    @property
    def asks_for_line(self) -> bool:
        """Whether a model is held against the line; a comparison alone has none."""
        return self.standard != "not_worse"

    @property
    def asked(self) -> str:
        """What it asks of a model, in words."""
        return asked_text(self.standard, self.line, self.bar, self.tolerance, self.margin)

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that keeps it from being set, as sentences without a full stop."""
        found = []
        try:
            line_of(self.bar, self.tolerance)
        except ValueError as error:
            found.append(str(error))
        if not 0 < self.alpha < 1:
            found.append(f"alpha is {self.alpha}: the chance of a wrong verdict is above 0 and below 1, e.g. 0.05")
        if self.standard != "absolute" and self.margin is None:
            found.append("a comparison with the model that serves needs a margin: by how much a model may be worse")
        if self.margin is not None and not 0 < self.margin < 1:
            found.append(f"the margin is {self.margin}: it must be above 0 and below 1, e.g. 0.03")
        if self.min_cases < MIN_CASES:
            found.append(f"the least number of cases is {self.min_cases}: nothing clears before {MIN_CASES}")
        if self.max_age_days < 1:
            found.append(f"evidence is stale after {self.max_age_days} days: give 1 or more")
        for name in ("bar", "tolerance", "alpha", "margin"):
            share = getattr(self, name)
            if share is not None and _places(share) > PLACES:
                found.append(f"{name} is {share}: at most {PLACES} places are kept")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class BarChange:
    """One thing that differs between two bars, in words: "Bar: 95% → 97%"."""

    name: str
    before: str
    after: str

    @property
    def text(self) -> str:
        return f"{self.name}: {self.before} → {self.after}"


@dataclass(frozen=True, slots=True)
class BarHistory:
    """Every version of a class's bar, rising, with when it was set (UTC)."""

    versions: tuple[tuple[datetime, Bar], ...]
    newest: Bar

    def at(self, instant: datetime) -> Bar:
        """The bar in force at an instant; before the first version was set, the first: what ran earlier meets it."""
        held = [bar for set_at, bar in self.versions if set_at <= instant]
        if held:
            return max(held, key=lambda bar: bar.version)
        return self.versions[0][1] if self.versions else self.newest


def judge_evidence_by(
    bar: Bar,
    evidence: Mapping[str, Evidence],
    *,
    incumbent: str | None,
    as_of: datetime,
    changes: Mapping[str, ModelChanges] | None = None,
) -> dict[str, Verdict]:
    """The verdict on every model of one class by a bar, from evidence gathered with the bar's own suites and metric."""
    return judge_evidence(
        evidence,
        incumbent=incumbent,
        plan=bar.plan,
        bar=bar.bar,
        tolerance=bar.tolerance,
        alpha=bar.alpha,
        as_of=as_of,
        max_age_days=bar.max_age_days,
        min_cases=bar.min_cases,
        standard=bar.standard,
        margin=bar.margin,
        metric=bar.metric,
        bar_version=bar.version,
        changes=changes,
    )


def bar_changes(before: Bar, after: Bar) -> tuple[BarChange, ...]:
    """What differs between two bars but their version, in the order people think of them.

    >>> [change.text for change in bar_changes(Bar(), Bar(bar=Decimal("0.97"), suites=("triage*",)))]
    ['Bar: 95% → 97%', 'Suites that count: all of the class → triage*']
    """
    return tuple(
        BarChange(words, _said(name, getattr(before, name)), _said(name, getattr(after, name)))
        for name, words in FACT_WORDS.items()
        if getattr(before, name) != getattr(after, name)
    )


FACT_WORDS = {
    "metric": "Measured by",
    "bar": "Bar",
    "tolerance": "Tolerance",
    "standard": "Standard",
    "margin": "May be worse by",
    "alpha": "Chance of a wrong verdict",
    "min_cases": "Least cases",
    "max_age_days": "Stale after",
    "suites": "Suites that count",
    "plan": "Evaluation plan",
}
assert set(FACT_WORDS) | {"version"} == {field.name for field in fields(Bar)}
METRIC_WORDS: dict[Metric, str] = {"pass_rate": "pass rate", "mean_score": "mean score"}
STANDARD_WORDS: dict[Standard, str] = {
    "absolute": "at or above the line",
    "not_worse": "not worse than the model that serves",
    "both": "above the line and not worse than the model that serves",
}


def _said(name: str, value: Any) -> str:
    if name == "metric":
        return METRIC_WORDS[value]
    if name == "standard":
        return STANDARD_WORDS[value]
    if name in {"tolerance", "margin"}:
        return "none" if value is None else points(value)
    if name in {"bar", "alpha"}:
        return percent_as_set(value)
    if name in {"suites", "plan"}:
        return _listed(value, "all of the class" if name == "suites" else "every model that had a case")
    return f"{value:,} days" if name == "max_age_days" else f"{value:,}"


def _listed(values: Sequence[str], empty: str) -> str:
    return ", ".join(values) or empty


def _places(share: Decimal) -> int:
    exponent = share.normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0
