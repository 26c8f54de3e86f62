"""The cascade stated for a class, as it is shown: cost, quality, break-even and whether it is recommended."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.core.money import round_usd
from costgov.queries.months import per_month
from routing.core.cascade_plan import (
    CascadePlan,
    JudgedCascade,
    Rival,
    check_cases,
    joint_quality,
    judge_cascade,
    measured_check,
    parse_plan,
)
from routing.core.levers import LeverSet
from routing.core.recommendation import ClassRecommendation
from routing.queries.recommendation import RecommendationReport

_PLACES = Decimal("0.000000001")


@dataclass(frozen=True, slots=True)
class CheckRow:
    """What is known of the check. Shares in 0..1: of good answers, and of bad ones, that it accepts."""

    usd: Decimal
    good_accepted: float
    bad_accepted: float
    source: str
    is_assumed: bool


@dataclass(frozen=True, slots=True)
class CascadeRow:
    """A cheap model first, a check, and the strong model where the check refuses, against the strong model alone.

    Costs are usd per request with the levers that pay; shares and rates in 0..1; None = it cannot be computed, `reason`
    says why. `outcome`: recommended, worth_an_eval, loses, below_line, not_needed or unknown. `saving_usd_per_month`,
    an estimate, is against what is recommended without it, and part of no other figure: it is None unless the cascade
    pays. `loss_usd_per_month`: what it costs more than the strong model alone, or than what is recommended where that
    is cheaper still; None unless it loses money. `cases` were run on both models. `evaluated_as`: the name its own
    evals have, with their verdict.
    """

    cheap: str
    strong: str
    outcome: str
    is_recommended: bool
    reason: str
    is_assumed: bool
    check: CheckRow | None
    cases: int
    accepted_share: float | None
    break_even_share: float | None
    unit_cost_usd: Decimal | None
    strong_cost_usd: Decimal | None
    quality: float | None
    strong_quality: float | None
    line: float
    saving_usd_per_month: Decimal | None
    evaluated_as: str
    verdict_text: str
    newest_case_at: datetime | None
    loss_usd_per_month: Decimal | None = None


def cascade_row(row: ClassRecommendation, report: RecommendationReport) -> CascadeRow | None:
    """The cascade stated for a class of a recommendation; None where none is."""
    registered = (each for each in report.facts.classes if each.slug == row.request_class)
    stated: Mapping[str, Any] = next((each.cascade for each in registered), {})
    plan = parse_plan(stated)
    return None if plan is None else cascade_shown(plan, row, report)


def cascade_shown(plan: CascadePlan, row: ClassRecommendation, report: RecommendationReport) -> CascadeRow:
    """What a cascade would do for a class, stated or only tried."""
    verdicts = report.verdicts[row.request_class]
    asked = verdicts.asked
    levers = frozenset(report.recommendation.levers)
    target_usd = row.target_costs.unit_cost_usd(levers)
    strong = plan.strong or row.target
    costs = {model: _unit_cost(row, model, levers) for model in (plan.cheap, strong)}
    is_counted = row.unit_name == "request"  # the cost of a check is one of a request
    results = report.facts.estate.results(row.request_class)
    evaluated = verdicts.of(plan.evaluated_as) if plan.evaluated_as else None
    is_shown = evaluated is not None and not evaluated.stale
    checked = check_cases(results, plan=plan, suites=asked.suites, metric=asked.metric) if plan.check_suite else None
    judged = judge_cascade(
        plan,
        rival=Rival(row.target, target_usd, verdicts.line),
        cheap_usd=costs[plan.cheap] if is_counted else None,
        strong_usd=costs[strong] if is_counted else None,
        joint=joint_quality(results, cheap=plan.cheap, strong=strong, suites=asked.suites, metric=asked.metric),
        check=measured_check(plan, checked),
        costs_are_assumed=any(_is_assumed(row, model) for model in (plan.cheap, strong)),
        status=evaluated.status if evaluated is not None and is_shown else "no_evidence",
    )
    text = "" if evaluated is None else evaluated.text
    newest = None if evaluated is None else evaluated.newest_case_at
    return _shown(judged, row, report, verdicts.line, text, newest, target_usd)


def _shown(
    judged: JudgedCascade,
    row: ClassRecommendation,
    report: RecommendationReport,
    line: float,
    verdict_text: str,
    newest_case_at: datetime | None,
    target_usd: Decimal,
) -> CascadeRow:
    found, check = judged.found, judged.check
    saving = loss = None
    if found is not None and judged.outcome in {"recommended", "worth_an_eval", "below_line"}:
        saving = _month(row.units * (target_usd - found.unit_cost_usd), report)
    elif found is not None and judged.outcome == "loses":
        alone = target_usd if found.pays else found.strong_cost_usd
        loss = _month(row.units * (found.unit_cost_usd - alone), report)
    return CascadeRow(
        cheap=judged.plan.cheap,
        strong=judged.strong,
        outcome=judged.outcome,
        is_recommended=judged.is_recommended,
        reason=judged.reason,
        is_assumed=judged.is_assumed,
        check=None
        if check is None
        else CheckRow(
            check.check_usd,
            float(check.good_accepted),
            float(check.bad_accepted),
            check.source,
            check.is_assumed,
        ),
        cases=int(judged.cases),
        accepted_share=None if found is None else float(found.accepted_share),
        break_even_share=None if found is None else float(found.break_even_share),
        unit_cost_usd=None if found is None else found.unit_cost_usd.quantize(_PLACES),
        strong_cost_usd=None if found is None else found.strong_cost_usd.quantize(_PLACES),
        quality=None if found is None else float(found.quality),
        strong_quality=None if found is None else float(found.strong_quality),
        line=line,
        saving_usd_per_month=saving,
        evaluated_as=judged.plan.evaluated_as,
        verdict_text=verdict_text,
        newest_case_at=newest_case_at,
        loss_usd_per_month=loss,
    )


def _month(usd: Decimal, report: RecommendationReport) -> Decimal:
    return round_usd(per_month(usd, report.days))


def _unit_cost(row: ClassRecommendation, model: str, levers: LeverSet) -> Decimal | None:
    """Cost of a request on a candidate of the class with the levers that pay; None = unknown."""
    found = next((each for each in row.judged.candidates if each.model == model), None)
    return None if found is None or found.costs is None else found.costs.unit_cost_usd(levers)


def _is_assumed(row: ClassRecommendation, model: str) -> bool:
    found = next((each for each in row.judged.candidates if each.model == model), None)
    return found is None or found.cost_source.startswith("assumed")
