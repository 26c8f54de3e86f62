"""Which evals are worth running: what each would unlock a month, what it costs to run, and for a new model where."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from billing.core.money import round_usd
from billing.queries.prices import release_facts
from billing.queries.series import model_name, model_names
from costgov.queries.eval_commands import SuiteToRun, suites_to_run
from costgov.queries.evals_to_run import EvalToRun, cases_held, eval_to_run
from costgov.queries.recommendation import per_month, recommended_report
from routing.core.levers import LeverCosts
from routing.core.recommendation import ClassRecommendation, window_cost_usd
from routing.core.traffic import tokenizer_factor
from routing.core.verdicts import Verdict
from routing.queries.recommendation import PlanCosts, RecommendationReport, _refusal, plan_costs

Standing = Literal["evaluate", "refresh", "serves", "recommended", "falls_short", "not_cheaper", "not_shown", "no_cost"]
STANDING_TEXT: Mapping[Standing, str] = {
    "evaluate": "Evaluate it",
    "refresh": "Run its evals again",
    "serves": "Serves this class now",
    "recommended": "Recommended already",
    "falls_short": "Shown to fall short",
    "not_cheaper": "Would not be cheaper",
    "not_shown": "Clears, but is not shown to be cheaper",
    "no_cost": "Cost not known",
}


class UnknownModel(LookupError):
    """A model nobody has placed; the message says where to add it."""


@dataclass(frozen=True, slots=True)
class NeededRow:
    """Evidence that would unlock a cheaper model. Savings a month are estimates.

    `usd_per_case`: the saving a month over the cases it takes, the value of the next eval. `net_usd`: the first month's
    saving less the cost of running the cases. `low_usd`, `high_usd`: the saving at the ends of assumed tokens.
    """

    request_class: str
    title: str
    model: str
    name: str
    tier: str
    now_on: str
    status: str
    verdict_text: str
    is_stale: bool
    cases_so_far: int
    saving_usd: Decimal
    low_usd: Decimal | None
    high_usd: Decimal | None
    tokens: str
    to_run: EvalToRun
    usd_per_case: Decimal | None
    net_usd: Decimal | None
    is_best_of_class: bool


@dataclass(frozen=True, slots=True)
class Untried:
    """A model that may serve, that nobody has used or evaluated. `total_usd`: a month, if it cleared every bar."""

    model: str
    name: str
    tier: str
    total_usd: Decimal
    classes: int


@dataclass(frozen=True, slots=True)
class EvidenceNeeded:
    """Every eval worth running, the best first. `total_usd` counts one model per class: only one can serve it.

    `untried`: placed models that are no candidate of any recommendation yet, by what they could save; in no sum.
    """

    start: date
    end: date
    baseline_model: str
    rows: tuple[NeededRow, ...]
    total_usd: Decimal
    classes: int
    untried: tuple[Untried, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One class and what a model could do for it. Costs are of a month (estimate); None where they are not known.

    `saving_usd` is against what is recommended without it; negative where it would be dearer. `suites`: what the class
    is evaluated with, where it should be evaluated; empty = nothing yet.
    """

    request_class: str
    title: str
    now_on: str
    recommended: str
    standing: Standing
    standing_text: str
    verdict_text: str
    cases_so_far: int
    tokens: str
    is_assumed: bool
    recommended_usd: Decimal
    model_usd: Decimal | None
    saving_usd: Decimal | None
    low_usd: Decimal | None
    high_usd: Decimal | None
    to_run: EvalToRun | None
    net_usd: Decimal | None
    suites: tuple[SuiteToRun, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelOutlook:
    """What one model could save if it cleared every bar, and where it would have to be evaluated first.

    `refusal`: why policy does not allow it now ('' = it may serve). `total_usd` sums the rows to evaluate.
    `no_cost`: why its cost is not known in some class, '' where it is in all.
    """

    model: str
    name: str
    tier: str
    refusal: str
    start: date
    end: date
    rows: tuple[ModelRow, ...]
    to_evaluate: int
    total_usd: Decimal
    run_usd: Decimal | None
    no_cost: str = ""


def evidence_needed(*, as_of: datetime) -> EvidenceNeeded:
    """Cheaper models that lack evidence or whose evidence is stale, by what they would save. Raises NoBaseline."""
    report = recommended_report(as_of=as_of)
    gaps = {row.request_class: {gap.model for gap in row.missing_evidence} for row in report.recommendation.classes}
    untried = _untried_models(report)
    costs = plan_costs(report, models={slug: models | untried for slug, models in gaps.items()}, on=report.end)
    held = cases_held({slug: report.verdicts[slug] for slug, models in gaps.items() if models}, as_of=as_of)
    names, rows = model_names(), []
    for row in report.recommendation.classes:
        verdicts = report.verdicts[row.request_class]
        for place, gap in enumerate(row.missing_evidence):
            verdict, name = verdicts.of(gap.model), model_name(names, gap.model)
            option = next(each for each in row.options if each.model == gap.model)
            to_run = eval_to_run(report, row, verdict, costs[row.request_class], held[row.request_class])
            saving = _month(gap.saving_usd, report)
            low, high = _saving_range(row, costs[row.request_class].by_model.get(gap.model), report)
            rows.append(
                NeededRow(
                    request_class=row.request_class,
                    title=verdicts.title,
                    model=gap.model,
                    name=name.name,
                    tier=name.tier,
                    now_on=row.incumbent,
                    status=verdict.status,
                    verdict_text=verdict.text,
                    is_stale=verdict.stale,
                    cases_so_far=verdict.cases,
                    saving_usd=saving,
                    low_usd=low,
                    high_usd=high,
                    tokens=option.cost_source,
                    to_run=to_run,
                    usd_per_case=round_usd(saving / to_run.cases) if to_run.cases else None,
                    net_usd=None if to_run.run_usd is None else saving - to_run.run_usd,
                    is_best_of_class=place == 0,
                )
            )
    rows.sort(key=lambda row: (row.to_run.cases is None, -row.saving_usd, row.request_class, row.model))
    best = [row for row in rows if row.is_best_of_class]
    total = sum((row.saving_usd for row in best), Decimal(0))
    return EvidenceNeeded(
        start=report.start,
        end=report.end,
        baseline_model=report.baseline_model,
        rows=tuple(rows),
        total_usd=total,
        classes=len(best),
        untried=_untried(report, untried, costs),
    )


def _untried_models(report: RecommendationReport) -> set[str]:
    """Models that policy allows now, but that are no candidate: not used, planned for a class, or in any eval."""
    estate = report.facts.estate
    return {model for model in release_facts().keys() - set(estate.models) if not _refusal(model, "", estate)}


def _untried(report: RecommendationReport, models: set[str], costs: Mapping[str, PlanCosts]) -> tuple[Untried, ...]:
    """Those that would be cheaper somewhere, the largest saving first: the sums their own outlook shows."""
    levers, names, found = frozenset(report.recommendation.levers), model_names(), []
    for model in models:
        savings = [
            row.recommended_cost_usd - window_cost_usd(row.units, cost.unit_cost_usd(levers))
            for row in report.recommendation.classes
            if model != row.target and (cost := costs[row.request_class].by_model.get(model)) is not None
        ]
        monthly = [_month(saving, report) for saving in savings if saving > 0]
        if monthly:
            name = model_name(names, model)
            found.append(Untried(model, name.name, name.tier, sum(monthly, Decimal(0)), len(monthly)))
    return tuple(sorted(found, key=lambda row: (-row.total_usd, row.model)))


def model_outlook(*, model: str, as_of: datetime) -> ModelOutlook:
    """Per class what evaluating a model takes and could save. Raises NoBaseline, UnknownModel."""
    if model not in release_facts():
        raise UnknownModel(f"Nobody has placed {model!r}: add the model on the Prices page, with its prices.")
    report = recommended_report(as_of=as_of)
    classes = report.recommendation.classes
    costs = plan_costs(report, models={row.request_class: {model} for row in classes}, on=report.end)
    held = cases_held({row.request_class: report.verdicts[row.request_class] for row in classes}, as_of=as_of)
    rows = sorted(
        (_model_row(report, row, model, costs[row.request_class], held[row.request_class]) for row in classes),
        key=lambda row: (row.standing not in {"evaluate", "refresh"}, -(row.saving_usd or 0), row.request_class),
    )
    suites = suites_to_run([row.request_class for row in rows if row.to_run is not None], model=model, as_of=as_of)
    rows = [replace(row, suites=suites.get(row.request_class, ())) for row in rows]
    open_rows = [row for row in rows if row.to_run is not None]
    runs = [row.to_run.run_usd for row in open_rows if row.to_run is not None]
    known = [usd for usd in runs if usd is not None]
    name = model_name(model_names(), model)
    return ModelOutlook(
        model=model,
        name=name.name,
        tier=name.tier,
        refusal=_refusal(model, "", report.facts.estate),
        start=report.start,
        end=report.end,
        rows=tuple(rows),
        to_evaluate=len(open_rows),
        total_usd=sum((row.saving_usd for row in open_rows if row.saving_usd is not None), Decimal(0)),
        run_usd=sum(known, Decimal(0)) if len(known) == len(runs) else None,
        no_cost=next((row.tokens for row in rows if row.standing == "no_cost"), ""),
    )


def _model_row(
    report: RecommendationReport, row: ClassRecommendation, model: str, plan: PlanCosts, held: int
) -> ModelRow:
    verdicts, costs = report.verdicts[row.request_class], plan.by_model.get(model)
    verdict = verdicts.of(model)
    saving = cost = None
    if costs is not None:
        cost = window_cost_usd(row.units, costs.unit_cost_usd(frozenset(report.recommendation.levers)))
        saving = row.recommended_cost_usd - cost
    standing = _standing(row, model, verdict, saving)
    option = next((each for each in row.options if each.model == model), None)
    tokens = option.cost_source if option is not None else _assumed_tokens(report, row, model, plan)
    to_run = eval_to_run(report, row, verdict, plan, held) if standing in {"evaluate", "refresh"} else None
    low, high = _saving_range(row, costs, report)
    monthly = None if saving is None else _month(saving, report)
    return ModelRow(
        request_class=row.request_class,
        title=verdicts.title,
        now_on=row.incumbent,
        recommended=row.target,
        standing=standing,
        standing_text=STANDING_TEXT[standing],
        verdict_text=verdict.text,
        cases_so_far=verdict.cases,
        tokens=tokens,
        is_assumed=tokens.startswith("assumed"),
        recommended_usd=_month(row.recommended_cost_usd, report),
        model_usd=None if cost is None else _month(cost, report),
        saving_usd=monthly,
        low_usd=low,
        high_usd=high,
        to_run=to_run,
        net_usd=monthly - to_run.run_usd if to_run and to_run.run_usd is not None and monthly is not None else None,
    )


def _standing(row: ClassRecommendation, model: str, verdict: Verdict, saving: Decimal | None) -> Standing:
    if model == row.incumbent:
        return "serves"
    if model == row.target:
        return "recommended"
    if saving is None:
        return "no_cost"
    if saving <= 0:
        return "not_cheaper"
    if verdict.status == "clears" and not verdict.stale:
        return "not_shown"
    if verdict.stale:
        return "refresh"
    return "falls_short" if verdict.status == "falls_short" else "evaluate"


def _assumed_tokens(report: RecommendationReport, row: ClassRecommendation, model: str, plan: PlanCosts) -> str:
    """Where the tokens of a model come from that was not a candidate: nothing measured it in this class."""
    if model not in plan.by_model:
        rates = report.facts.estate.rates(model)
        return rates if isinstance(rates, str) else "not known"
    factor = tokenizer_factor(report.facts.estate.generations, plan.reference_model, model)
    if factor == 1:
        return f"assumed: the same tokens as on {plan.reference_model}"
    return f"assumed: {factor:.2f}× the tokens as on {plan.reference_model}"


def _saving_range(
    row: ClassRecommendation, costs: LeverCosts | None, report: RecommendationReport
) -> tuple[Decimal | None, Decimal | None]:
    """The saving a month at the ends of assumed tokens, the smaller first; None where they are measured."""
    ends = costs.unit_cost_range_usd(frozenset(report.recommendation.levers)) if costs is not None else None
    if ends is None or ends[0] == ends[1]:
        return None, None
    savings = sorted(_month(row.recommended_cost_usd - window_cost_usd(row.units, end), report) for end in ends)
    return savings[0], savings[1]


def _month(usd: Decimal, report: RecommendationReport) -> Decimal:
    return round_usd(per_month(usd, report.days))
