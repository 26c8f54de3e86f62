"""The recommendation as people and machines read it: one value behind page, command, API and frozen evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from billing.core.money import CENT, round_usd
from billing.models import Organisation
from billing.queries.prices import release_facts
from costgov.queries.cascades import CascadeRow, cascade_row
from costgov.queries.months import MONTH_DAYS, per_month
from costgov.queries.spend import current_costs
from routing.core.attribution import scaled_exactly, shapley, split_exactly, waterfall
from routing.core.coupling import Coupled
from routing.core.drafts import (
    AssignmentChange,
    RegisteredClass,
    UsageMapping,
    changed_assignments,
    draft_document,
    recommended_assignment,
)
from routing.core.levers import LEVERS, Lever, LeverSet, cold_cache_usd
from routing.core.recommendation import ClassRecommendation, lever_sets, window_cost_usd
from routing.core.verdicts import Verdict
from routing.models import ClassMapping, RequestClass
from routing.queries.recommendation import WINDOW_DAYS, RecommendationReport, recommendation_report


class NoBaseline(LookupError):
    """There is no model to count savings against; the message says what to set."""


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """A verdict with what is shown beside it. Rates are shares in 0..1. `asked`: the bar of `bar_version` in words.

    Evidence frozen before bars had versions has 0 and ''.
    """

    model: str
    status: str
    text: str
    stale: bool
    passes: float
    cases: int
    left_out: int
    pass_rate: float | None
    lower: float | None
    upper: float
    line: float | None
    bar: float
    cases_needed: int | None
    reason: str
    newest_case_at: datetime | None
    suites: tuple[str, ...]
    standard: str = "absolute"
    bar_version: int = 0
    asked: str = ""
    stale_text: str = ""


@dataclass(frozen=True, slots=True)
class OptionRow:
    """One model for a class as the recommendation judged it.

    `low_usd`, `high_usd`: its unit cost at the ends of assumed tokens; None = measured, or no cost.
    """

    model: str
    tier: str
    unit_cost_usd: Decimal | None
    is_admissible: bool
    reason: str
    cost_source: str
    verdict: VerdictRow
    low_usd: Decimal | None = None
    high_usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class MissingRow:
    """Evidence that would unlock a cheaper model, and what it is worth."""

    request_class: str
    model: str
    saving_usd: Decimal
    saving_usd_per_month: Decimal
    cases_needed: int | None
    verdict_text: str


@dataclass(frozen=True, slots=True)
class LeverPart:
    """Saving of a lever in the window: in the order shown, and order-free (Shapley)."""

    lever: str
    saving_usd: Decimal
    shapley_usd: Decimal


@dataclass(frozen=True, slots=True)
class CostSteps:
    """Cost of the window in usd for every set of levers ('none', 'routing', 'routing+caching', …) and its parts."""

    costs: Mapping[str, Decimal]
    uniform_cost_usd: Decimal
    recommended_cost_usd: Decimal
    parts: tuple[LeverPart, ...]


@dataclass(frozen=True, slots=True)
class CachingRow:
    """One way to cache the prefix on the recommended model. Shares in 0..1; `factor` × the uncached price of it.

    `loss_usd_per_month`: what it would cost more than no caching, an estimate; None where it does not lose money.
    """

    ttl: str
    hit_share: Decimal
    break_even_hit_share: Decimal | None
    factor: Decimal
    pays: bool
    reason: str
    loss_usd_per_month: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ClassRow:
    """What is recommended for one class, why, and what it saves. Savings per month are cents that sum to the total.

    `is_in_force`: the active policy does just this already. What the window would have cost less is then not to be won
    any more: it shows in the spend of requests from the activation on. `target_share` of the class goes to `target`,
    the rest to `split_with` ('' = all of it moves). `cold_cache_usd`: the most the switch costs once, where the target
    caches. `low_usd`, `high_usd`: the recommended cost of the window at the ends of assumed tokens (None = measured).
    `batch_loss_usd_per_month`: what sending in batch what can wait would cost more; None where that loses nothing.
    `cascade`: the one stated for the class (None = none is); recommended or not, it is in no other figure.
    """

    request_class: str
    title: str
    note: str
    units: Decimal
    unit_name: str
    incumbent: str
    target: str
    move: str
    reason: str
    is_assumed: bool
    current_cost_usd: Decimal
    saving_usd: Decimal
    saving_usd_per_month: Decimal
    steps: CostSteps
    caching: str
    caching_reasons: tuple[str, ...]
    batch_share: Decimal
    batch_reason: str
    options: tuple[OptionRow, ...]
    runner_up: str
    incumbent_verdict: VerdictRow
    target_verdict: VerdictRow
    caching_options: tuple[CachingRow, ...] = ()
    reuse_is_assumed: bool = False
    is_in_force: bool = False
    target_share: Decimal = Decimal(1)
    split_with: str = ""
    cold_cache_usd: Decimal | None = None
    low_usd: Decimal | None = None
    high_usd: Decimal | None = None
    batch_loss_usd_per_month: Decimal | None = None
    cascade: CascadeRow | None = None

    @property
    def is_proven(self) -> bool:
        """Whether quality and cost of what is recommended are shown: no exception, no assumed tokens or reuse."""
        verdict = self.target_verdict
        is_shown = verdict.status == "clears" and not verdict.stale and not self.is_assumed
        return (self.target == self.incumbent or is_shown) and not self.reuse_is_assumed


@dataclass(frozen=True, slots=True)
class UnsolvedRow:
    request_class: str
    reason: str
    current_cost_usd: Decimal | None
    title: str = ""


@dataclass(frozen=True, slots=True)
class BindingLimit:
    """A limit of the whole estate that changes the choice, in words.

    What one more point of it would save a month, and what the estate would save without it, the other limits kept.
    """

    name: str
    text: str
    usd_per_point_and_month: Decimal
    usd_per_month: Decimal


@dataclass(frozen=True, slots=True)
class LimitsRow:
    """What the limits of the whole estate do to the choice. `problem`: why no policy keeps them ('' = one does).

    `cost_usd_per_month`: what they cost against the choice without them, an estimate. Pass rates are volume-weighted
    over the classes where they are known, None without any.
    """

    binding: tuple[BindingLimit, ...]
    cost_usd_per_month: Decimal
    quality: float | None
    unlimited_quality: float | None
    moved_share: float
    problem: str


@dataclass(frozen=True, slots=True)
class RecommendationView:
    """The whole recommendation, with the window and versions it rests on."""

    baseline_model: str
    start: date
    end: date
    days: int
    levers: tuple[str, ...]
    price_version: str
    policy: str
    policy_sequence: int | None
    classes: tuple[ClassRow, ...]
    total: CostSteps
    current_cost_usd: Decimal
    saving_usd: Decimal
    saving_usd_per_month: Decimal
    unsolved: tuple[UnsolvedRow, ...]
    missing_evidence: tuple[MissingRow, ...]
    limits: LimitsRow | None = None

    @property
    def moves(self) -> tuple[ClassRow, ...]:
        return tuple(row for row in self.classes if row.target != row.incumbent)

    def row(self, request_class: str) -> ClassRow | None:
        return next((row for row in self.classes if row.request_class == request_class), None)


@dataclass(frozen=True, slots=True)
class DraftView:
    """The recommended policy as a draft: its document, and what it changes against the active one."""

    recommendation: RecommendationView
    document: Mapping[str, Any]
    changes: tuple[AssignmentChange, ...]


def per_month_in_cents(usd: Mapping[str, Decimal], days: int = WINDOW_DAYS) -> dict[str, Decimal]:
    """The same for rows that are shown below each other: cents, and their sum is the (rounded) sum of the rows."""
    factor = Fraction(MONTH_DAYS) / days
    return split_exactly({name: Fraction(value) * factor for name, value in usd.items()}, CENT)


def recommendation_view(
    *, as_of: datetime, baseline_model: str = "", levers: Sequence[Lever] = LEVERS
) -> RecommendationView:
    """Recommend for the 28 whole days before `as_of`. Raises NoBaseline when no baseline model is set or given."""
    return view_of(_report(as_of, baseline_model, levers))


def draft_view(*, as_of: datetime, baseline_model: str = "", levers: Sequence[Lever] = LEVERS) -> DraftView:
    """The recommendation as a draft policy. Raises NoBaseline."""
    report = _report(as_of, baseline_model, levers)
    active = report.policy.document if report.policy is not None else None
    document = recommended_document(report, as_of=as_of)
    return DraftView(view_of(report), document, changed_assignments(active, document))


def recommended_report(*, as_of: datetime) -> RecommendationReport:
    """The recommendation with everything it rests on, for whoever costs it further (forecasts). Raises NoBaseline."""
    return _report(as_of, "", LEVERS)


def recommended_document(report: RecommendationReport, *, as_of: datetime) -> dict[str, Any]:
    """The policy document a recommendation amounts to."""
    return draft_document(
        active=report.policy.document if report.policy is not None else None,
        classes=[
            RegisteredClass(row.slug, row.title, row.quality_owner, row.spend_owner)
            for row in RequestClass.objects.all()
        ],
        mappings=_mappings(as_of.date()),
        recommendation=report.recommendation,
        max_input_tok={name: facts.max_input_tok for name, facts in release_facts().items()},
    )


def suggested_baseline(*, as_of: datetime) -> str:
    """The organisation's baseline model, '' when none is set."""
    row = Organisation.objects.filter(pk=1).values_list("baseline_model", flat=True).first()
    return row or ""


def _report(as_of: datetime, baseline_model: str, levers: Sequence[Lever]) -> RecommendationReport:
    model = baseline_model or suggested_baseline(as_of=as_of)
    if not model:
        raise NoBaseline("No baseline model is set: choose one in Settings (savings are counted against it).")
    if model not in release_facts():
        raise NoBaseline(f"Baseline model {model!r} is not known: choose one listed on the Prices page.")
    end = as_of.date()
    start = end - timedelta(days=WINDOW_DAYS)
    return recommendation_report(
        baseline_model=model,
        as_of=as_of,
        current_costs=current_costs(start=start, end=end, on=end),
        levers=levers,
    )


def _mappings(on: date) -> list[UsageMapping]:
    rows = ClassMapping.objects.select_related("request_class").order_by("request_class__slug", "workspace", "api_key")
    return [
        UsageMapping(row.request_class.slug, row.workspace, row.api_key)
        for row in rows
        if (row.valid_from is None or row.valid_from <= on) and (row.valid_to is None or row.valid_to > on)
    ]


def view_of(report: RecommendationReport) -> RecommendationView:
    """A recommendation as it is shown."""
    recommendation = report.recommendation
    tiers = {name: facts.tier for name, facts in release_facts().items()}
    monthly = per_month_in_cents({row.request_class: row.saving_usd for row in recommendation.classes}, report.days)
    rows = tuple(_class_row(row, report, tiers, monthly[row.request_class]) for row in recommendation.classes)
    current = sum((row.current_cost_usd for row in rows), Decimal(0))
    total = _steps(recommendation.costs, recommendation.levers)
    saving = current - total.recommended_cost_usd
    missing = [
        MissingRow(
            request_class=row.request_class,
            model=gap.model,
            saving_usd=gap.saving_usd,
            saving_usd_per_month=per_month(gap.saving_usd),
            cases_needed=gap.cases_needed,
            verdict_text=gap.verdict_text,
        )
        for row in recommendation.classes
        for gap in row.missing_evidence
    ]
    return RecommendationView(
        baseline_model=report.baseline_model,
        start=report.start,
        end=report.end,
        days=report.days,
        levers=recommendation.levers,
        price_version=report.price_version,
        policy=f"{report.policy.name}@{report.policy.version}" if report.policy is not None else "",
        policy_sequence=report.policy.sequence if report.policy is not None else None,
        classes=tuple(sorted(rows, key=lambda row: (-row.saving_usd, row.request_class))),
        total=total,
        current_cost_usd=current,
        saving_usd=saving,
        saving_usd_per_month=sum(monthly.values(), Decimal(0)),
        unsolved=tuple(
            UnsolvedRow(row.request_class, row.reason, row.current_cost_usd, _title(report, row.request_class))
            for row in recommendation.unsolved
        ),
        missing_evidence=tuple(sorted(missing, key=lambda row: (-row.saving_usd, row.request_class, row.model))),
        limits=limits_row(recommendation.coupled, report.days),
    )


def limits_row(coupled: Coupled | None, days: int) -> LimitsRow | None:
    if coupled is None:
        return None
    cost = Decimal(0) if coupled.problem else Decimal(str(coupled.cost_usd - coupled.unlimited_cost_usd))
    return LimitsRow(
        binding=tuple(
            BindingLimit(
                each.name,
                each.text,
                round_usd(per_month(Decimal(str(each.usd_per_point)), days)),
                round_usd(per_month(Decimal(str(each.usd)), days)),
            )
            for each in coupled.binding
        ),
        cost_usd_per_month=round_usd(per_month(cost, days)),
        quality=coupled.quality,
        unlimited_quality=coupled.unlimited_quality,
        moved_share=coupled.moved_share,
        problem=coupled.problem,
    )


def _title(report: RecommendationReport, request_class: str) -> str:
    verdicts = report.verdicts.get(request_class)
    return request_class if verdicts is None else verdicts.title


def _class_row(
    row: ClassRecommendation, report: RecommendationReport, tiers: Mapping[str, str], saving_usd_per_month: Decimal
) -> ClassRow:
    verdicts = report.verdicts[row.request_class]
    costs = row.target_costs
    ends = costs.unit_cost_range_usd(frozenset(report.recommendation.levers)) if not row.split_with else None
    hours = Decimal(report.days * 24)
    cold = cold_cache_usd(costs, units_per_hour=row.units * row.target_share / hours)
    return ClassRow(
        request_class=row.request_class,
        title=verdicts.title,
        note=verdicts.note,
        units=row.units,
        unit_name=row.unit_name,
        incumbent=row.incumbent,
        target=row.target,
        move=row.move,
        reason=row.reason,
        is_assumed=row.is_assumed,
        current_cost_usd=row.current_cost_usd,
        saving_usd=row.saving_usd,
        saving_usd_per_month=saving_usd_per_month,
        steps=_steps(row.costs, report.recommendation.levers),
        caching=costs.caching.ttl,
        caching_reasons=tuple(option.reason for option in costs.caching_options),
        batch_share=costs.batch_share,
        batch_reason=costs.batch_reason,
        options=tuple(
            OptionRow(
                model=option.model,
                tier=tiers.get(option.model, "other"),
                unit_cost_usd=option.unit_cost_usd,
                is_admissible=option.is_admissible,
                reason=option.reason,
                cost_source=option.cost_source,
                verdict=verdict_row(verdicts.of(option.model)),
                low_usd=option.low_usd,
                high_usd=option.high_usd,
            )
            for option in row.options
        ),
        runner_up=row.runner_up.model if row.runner_up is not None else "",
        incumbent_verdict=verdict_row(verdicts.of(row.incumbent)),
        target_verdict=verdict_row(verdicts.of(row.target)),
        caching_options=tuple(
            CachingRow(
                ttl=option.cache.ttl,
                hit_share=option.cache.hit_share,
                break_even_hit_share=option.break_even_hit_share,
                factor=option.factor,
                pays=option.pays,
                reason=option.reason,
                loss_usd_per_month=_loss(row, option.extra_usd, report.days),
            )
            for option in costs.caching_options
        ),
        reuse_is_assumed=reuse_is_assumed(row, report),
        is_in_force=_is_in_force(row, report),
        target_share=row.target_share,
        split_with=row.split_with,
        cold_cache_usd=round_usd(cold) if row.target != row.incumbent and cold else None,
        low_usd=window_cost_usd(row.units, ends[0]) if ends is not None else None,
        high_usd=window_cost_usd(row.units, ends[1]) if ends is not None else None,
        batch_loss_usd_per_month=_loss(row, costs.batch_loss_usd, report.days),
        cascade=cascade_row(row, report),
    )


def order_free_usd(view: RecommendationView, total_usd: Decimal) -> dict[str, Decimal]:
    """The order-free parts of the estate's saving in cents, scaled to what the steps show that save together."""
    return scaled_exactly({part.lever: part.shapley_usd for part in view.total.parts}, total_usd, CENT)


def _loss(row: ClassRecommendation, extra_usd: Decimal, days: int) -> Decimal | None:
    """What a lever that costs that much more a unit of the target loses a month; None where it loses nothing."""
    if extra_usd <= 0:
        return None
    return round_usd(per_month(row.units * row.target_share * extra_usd, days))


def _is_in_force(row: ClassRecommendation, report: RecommendationReport) -> bool:
    policy = report.policy
    if policy is None or policy.settled_target(row.request_class) != row.target:
        return False
    active: object = policy.document["assignments"][row.request_class]["target"]
    return active == recommended_assignment(row, report.recommendation)["target"]


def reuse_is_assumed(row: ClassRecommendation, report: RecommendationReport) -> bool:
    """Whether caching is recommended on an owner's entry or a trace: the class itself has never cached."""
    served = report.facts.by_class[row.request_class]
    return row.target_costs.caching.ttl in {"5m", "1h"} and not any(
        each.cache_read_tok or each.cache_write_tok for each in served
    )


def _steps(costs: Mapping[LeverSet, Decimal], levers: tuple[Lever, ...]) -> CostSteps:
    in_order = dict(waterfall(costs, levers))
    order_free = split_exactly(shapley(costs, levers))
    return CostSteps(
        costs={
            "+".join(lever for lever in LEVERS if lever in chosen) or "none": costs[chosen]
            for chosen in lever_sets(levers)
        },
        uniform_cost_usd=costs[frozenset()],
        recommended_cost_usd=costs[frozenset(levers)],
        parts=tuple(LeverPart(lever, in_order[lever], order_free[lever]) for lever in levers),
    )


def verdict_row(verdict: Verdict) -> VerdictRow:
    """A core verdict as the flat value of pages and JSON."""
    return VerdictRow(
        model=verdict.candidate,
        status=verdict.status,
        text=verdict.text,
        stale=verdict.stale,
        passes=verdict.passes,
        cases=verdict.cases,
        left_out=verdict.left_out,
        pass_rate=verdict.pass_rate,
        lower=verdict.lower,
        upper=verdict.upper,
        line=verdict.shown_line,
        bar=verdict.bar,
        cases_needed=verdict.cases_needed,
        reason=verdict.reason,
        newest_case_at=verdict.newest_case_at,
        suites=verdict.suites,
        standard=verdict.standard,
        bar_version=verdict.bar_version,
        asked=verdict.line_text,
        stale_text=verdict.stale_text,
    )
