"""One class of request: its models against the bar, what each costs, what was decided and on which evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from billing.core.money import sum_usd
from billing.queries.profiles import ServedUsage, served_usage
from billing.queries.series import DayOfUsage, ModelName, daily_usage, model_name
from billing.queries.usage import priced_groups, usage_days
from billing.queries.usage_sums import NAMED_MODEL, usage_sums
from costgov.queries.class_basis import (
    ExceptionRow,
    MappingRow,
    SuiteRow,
    exceptions_of,
    mappings_of,
    suites_of,
)
from costgov.queries.class_levers import LeverRow, lever_rows
from costgov.queries.class_lines import ClassLine, ClassLines, QualityFacts, class_lines, quality_facts, window
from costgov.queries.class_live import LiveSamples, live_samples
from costgov.queries.overview import ActivationMark, WaitingChange, activation_marks, last_drawn
from costgov.queries.recommendation import ClassRow, MissingRow, OptionRow, VerdictRow, per_month, verdict_row
from routing.core.paired import Paired
from routing.models import Activation, ChangeRequest, RequestClass
from routing.queries.bars import BarVersion, bar_versions
from routing.queries.evidence import ClassVerdicts
from routing.queries.past_evidence import past_evidence
from routing.queries.tiers import ClassWeek, class_weeks, week_instants
from routing.queries.work_items import VerdictChange, WorkItemRow, verdict_changes, work_items

_NO_CHANGE = 1e-6  # of a cost: what divisions may leave


class UnknownClass(LookupError):
    """No class is registered under this name; the message says so."""


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """A model of the class. `unit_cost_usd` is per unit with the levers that pay on it, whether or not they are in use;
    `low_usd`, `high_usd` are its ends where tokens are assumed. `now_usd`, of the incumbent alone, is what a unit costs
    now, and `relative_cost` is against that. None where a cost is missing.

    `role`: incumbent, target, runner_up or ''. `saving_usd`: an estimate per month, of the recommended model;
    `saving_if_shown_usd`: what a cheaper one would add if it cleared the bar. `paired`: the comparison with the
    incumbent case by case, None where none is asked for.
    """

    model: str
    name: str
    tier: str
    role: str
    unit_cost_usd: Decimal | None
    now_usd: Decimal | None
    low_usd: Decimal | None
    high_usd: Decimal | None
    relative_cost: float | None
    cost_source: str
    measured: str
    is_admissible: bool | None
    reason: str
    saving_usd: Decimal | None
    saving_if_shown_usd: Decimal | None
    verdict: VerdictRow
    paired: Paired | None = None


@dataclass(frozen=True, slots=True)
class ModelShare:
    """Counted usage of the class on one model in the window. Tokens per request are None where requests are unknown."""

    model: str
    name: str
    tier: str
    requests: int | None
    input_tok: int
    output_tok: int
    cost_usd: Decimal
    unpriced_tok: int
    share_of_spend: float | None
    input_tok_each: float | None
    output_tok_each: float | None


@dataclass(frozen=True, slots=True)
class ClassDay:
    """One UTC day of the class: requests, and spend by model in usd. None = not known."""

    on: date
    requests: int | None
    by_model: Mapping[str, Decimal | None]
    total_usd: Decimal


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """What an activation said about the class: the model it sends it to, '' = whatever the request names."""

    mark: ActivationMark
    target: str
    rollout_share: float | None


@dataclass(frozen=True, slots=True)
class ClassFacts:
    """The class as registered, with the bar in force, `bar_version`; `asked` is that in words.

    `line` None where a comparison with the model that serves is all that is asked for.
    """

    slug: str
    title: str
    note: str
    quality_owner: str
    spend_owner: str
    bar: float
    tolerance: float
    line: float | None
    alpha: float
    max_age_days: int
    latency: str
    batchable_share: float
    keeps_own_caching: bool
    reuse: Mapping[str, Any]
    plan: tuple[str, ...]
    asked: str
    standard: str
    margin: float | None
    metric: str
    min_cases: int
    suites: tuple[str, ...]
    bar_version: int


@dataclass(frozen=True, slots=True)
class ClassPage:
    """Figures are of the 28 whole days [window_start, window_end); days [start, end) are drawn.

    `items`: open work items. `verdicts`, `bars`: as they were written down, newest first.
    """

    as_of: datetime
    start: date
    end: date
    window_start: date
    window_end: date
    facts: ClassFacts
    line: ClassLine
    advice: ClassRow | None
    no_advice: str
    cost_usd_per_month: Decimal | None
    recommended_usd_per_month: Decimal | None
    candidates: tuple[CandidateRow, ...]
    levers: tuple[LeverRow, ...]
    models: tuple[ModelShare, ...]
    days: tuple[ClassDay, ...]
    weeks: tuple[ClassWeek, ...]
    policies: tuple[PolicyRow, ...]
    suites: tuple[SuiteRow, ...]
    mappings: tuple[MappingRow, ...]
    exceptions: tuple[ExceptionRow, ...]
    waiting: tuple[WaitingChange, ...]
    items: tuple[WorkItemRow, ...]
    verdicts: tuple[VerdictChange, ...]
    bars: tuple[BarVersion, ...]
    names: Mapping[str, ModelName]
    live: LiveSamples | None


def class_page(*, slug: str, as_of: datetime, start: date, end: date, lines: ClassLines | None = None) -> ClassPage:
    """Everything the page of a class shows. Raises UnknownClass.

    `lines`: the table of classes as of the same instant, from a caller that holds it.
    """
    registered = RequestClass.objects.filter(slug=slug).first()
    if registered is None:
        raise UnknownClass(f"There is no class {slug!r}. It may have been renamed; search the list of classes.")
    facts = quality_facts(as_of=as_of, slug=slug)
    lines = lines or class_lines(as_of=as_of)
    line = lines.of(slug)
    assert line is not None
    _, window_start, window_end = window(as_of)
    view = lines.recommendation
    advice = view.row(slug) if view is not None else None
    unsolved = next((row.reason for row in view.unsolved if row.request_class == slug), "") if view is not None else ""
    missing = {row.model: row for row in view.missing_evidence if row.request_class == slug} if view is not None else {}
    served = [row for row in served_usage(start=window_start, end=window_end) if row.request_class == slug]
    usage = daily_usage(start=start, end=end, request_class=slug)
    bars, drawn = facts.verdicts[slug].bars, last_drawn(end, usage_days())
    return ClassPage(
        as_of=as_of,
        start=start,
        end=end,
        window_start=window_start,
        window_end=window_end,
        facts=_facts(registered, facts.verdicts[slug]),
        line=line,
        advice=advice,
        no_advice=lines.no_recommendation or unsolved,
        cost_usd_per_month=per_month(advice.current_cost_usd) if advice is not None else None,
        recommended_usd_per_month=per_month(advice.steps.recommended_cost_usd) if advice is not None else None,
        candidates=_candidates(advice, missing, facts, slug),
        levers=()
        if advice is None
        else lever_rows(advice, served, keeps_own_caching=registered.keeps_own_caching, reuse=registered.reuse),
        models=_models(slug, served, window_start, window_end, facts.names),
        days=_days(slug, usage, start, end),
        weeks=class_weeks(
            usage=usage,
            history=past_evidence(bars={slug: bars}, instants=week_instants(start=start, end=drawn), as_of=as_of)[slug],
            bars=bars,
            start=start,
            end=drawn,
        ),
        policies=_policies(slug, start, end, as_of),
        suites=suites_of(registered, facts.verdicts[slug], as_of),
        mappings=mappings_of(registered, as_of.date()),
        exceptions=exceptions_of(registered, as_of.date()),
        waiting=_waiting(slug, facts),
        items=work_items(slug=slug).items,
        verdicts=tuple(change for change in verdict_changes(slug=slug) if change.at <= as_of),
        bars=tuple(version for version in bar_versions(registered) if version.set_at <= as_of),
        names=facts.names,
        live=live_samples(slug=slug, names=facts.names, as_of=as_of),
    )


def _facts(row: RequestClass, verdicts: ClassVerdicts) -> ClassFacts:
    return ClassFacts(
        slug=row.slug,
        title=row.title,
        note=row.note,
        quality_owner=row.quality_owner,
        spend_owner=row.spend_owner,
        bar=verdicts.bar,
        tolerance=verdicts.tolerance,
        line=verdicts.shown_line,
        alpha=verdicts.alpha,
        max_age_days=verdicts.asked.max_age_days,
        latency=row.get_latency_display(),
        batchable_share=row.planned_batch_share,
        keeps_own_caching=row.keeps_own_caching,
        reuse=row.reuse,
        plan=verdicts.asked.plan,
        asked=verdicts.asked.asked,
        standard=verdicts.asked.standard,
        margin=None if verdicts.asked.margin is None else float(verdicts.asked.margin),
        metric=verdicts.asked.metric,
        min_cases=verdicts.asked.min_cases,
        suites=verdicts.asked.suites,
        bar_version=verdicts.asked.version,
    )


def _candidates(
    advice: ClassRow | None, missing: Mapping[str, MissingRow], facts: QualityFacts, slug: str
) -> tuple[CandidateRow, ...]:
    """The models that serve or could serve the class, incumbent first, then by cost; without costs only verdicts."""
    verdicts = facts.verdicts[slug]
    if advice is None:
        models = sorted({*verdicts.verdicts, *([verdicts.incumbent] if verdicts.incumbent else [])})
        rows = [_unpriced_candidate(model, verdicts, facts) for model in models]
    else:
        tested = set(verdicts.verdicts) | {advice.incumbent, advice.target}
        rows = [
            _candidate(option, advice, missing.get(option.model), facts, verdicts)
            for option in advice.options
            if option.model in tested or option.model in missing or option.cost_source.startswith("measured")
        ]
    return tuple(sorted(rows, key=_candidate_order))


def _candidate_order(row: CandidateRow) -> tuple[int, bool, Decimal, str]:
    first = {"incumbent": 0, "target": 1}.get(row.role, 2)
    return (first, row.unit_cost_usd is None, row.unit_cost_usd or Decimal(0), row.model)


def _candidate(
    option: OptionRow,
    advice: ClassRow,
    missing: MissingRow | None,
    facts: QualityFacts,
    verdicts: ClassVerdicts,
) -> CandidateRow:
    named = model_name(facts.names, option.model)
    role = "incumbent" if option.model == advice.incumbent else "target" if option.model == advice.target else ""
    now_usd = advice.current_cost_usd / advice.units if advice.units else None
    relative = float(option.unit_cost_usd / now_usd - 1) if option.unit_cost_usd is not None and now_usd else None
    if option.model == advice.incumbent and relative is not None and abs(relative) < _NO_CHANGE:
        relative = None  # every lever that pays on it is in use already
    return CandidateRow(
        model=option.model,
        name=named.name,
        tier=named.tier,
        role=role or ("runner_up" if option.model == advice.runner_up else ""),
        unit_cost_usd=option.unit_cost_usd,
        # What is in force may be younger than the window: then its requests tell another model's cost.
        now_usd=now_usd if option.model == advice.incumbent and not (advice.is_in_force and relative) else None,
        low_usd=option.low_usd,
        high_usd=option.high_usd,
        relative_cost=relative,
        cost_source=option.cost_source,
        measured=_how_measured(option.cost_source),
        is_admissible=option.is_admissible,
        reason=option.reason,
        saving_usd=advice.saving_usd_per_month if option.model == advice.target and not advice.is_in_force else None,
        saving_if_shown_usd=missing.saving_usd_per_month if missing is not None else None,
        verdict=option.verdict,
        paired=verdicts.of(option.model).paired,
    )


def _unpriced_candidate(model: str, verdicts: ClassVerdicts, facts: QualityFacts) -> CandidateRow:
    named = model_name(facts.names, model)
    return CandidateRow(
        model=model,
        name=named.name,
        tier=named.tier,
        role="incumbent" if model == verdicts.incumbent else "",
        unit_cost_usd=None,
        now_usd=None,
        low_usd=None,
        high_usd=None,
        relative_cost=None,
        cost_source="",
        measured="",
        is_admissible=None,
        reason="",
        saving_usd=None,
        saving_if_shown_usd=None,
        verdict=verdict_row(verdicts.of(model)),
        paired=verdicts.of(model).paired,
    )


def _how_measured(source: str) -> str:
    """The first words of a cost's source: measured, measured in evals or assumed; '' where there is no cost."""
    return next((words for words in ("measured in evals", "measured", "assumed") if source.startswith(words)), "")


def _models(
    slug: str, served: Sequence[ServedUsage], start: date, end: date, names: dict[str, ModelName]
) -> tuple[ModelShare, ...]:
    by_model = {row.model: row for row in served}
    priced = priced_groups(usage_sums(start=start, end=end, by=(NAMED_MODEL,), where={"class": slug}))
    own = {group.values[0]: group for group in priced}
    whole = sum_usd(group.cost_usd for group in own.values())
    rows = []
    for model, group in own.items():
        named = model_name(names, model)
        row = by_model[model]
        requests = row.requests or None
        rows.append(
            ModelShare(
                model=model,
                name=named.name,
                tier=named.tier,
                requests=row.requests,
                input_tok=row.input_tok,
                output_tok=row.output_tok,
                cost_usd=group.cost_usd,
                unpriced_tok=group.unpriced_tok,
                share_of_spend=float(group.cost_usd / whole) if whole else None,
                input_tok_each=row.input_tok / requests if requests else None,
                output_tok_each=row.output_tok / requests if requests else None,
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.cost_usd, row.model)))


def _days(slug: str, usage: Sequence[DayOfUsage], start: date, end: date) -> tuple[ClassDay, ...]:
    """Every day between the first and the last with usage of the class; a day without any is 0 there."""
    if not usage:
        return ()
    costs: dict[tuple[str, str], Decimal | None] = {}
    for group in priced_groups(usage_sums(start=start, end=end, by=("day", NAMED_MODEL), where={"class": slug})):
        day, model = group.values
        costs[day, model] = None if group.unpriced_tok and not group.cost_usd else group.cost_usd
    models = sorted({model for _, model in costs})
    requests: dict[date, int | None] = {}
    for row in usage:
        held = requests.get(row.on, 0)
        requests[row.on] = None if held is None or row.requests is None else held + row.requests
    first, last = usage[0].on, usage[-1].on
    days = []
    for offset in range((last - first).days + 1):
        on = first + timedelta(days=offset)
        by_model = {model: costs.get((on.isoformat(), model), Decimal(0)) for model in models}
        total = sum_usd(usd for usd in by_model.values() if usd is not None)
        days.append(ClassDay(on, requests.get(on, 0), by_model, total))
    return tuple(days)


def _policies(slug: str, start: date, end: date, as_of: datetime) -> tuple[PolicyRow, ...]:
    marks = activation_marks(start=start, end=end, as_of=as_of)
    documents = dict(
        Activation.objects.filter(environment="prod", sequence__in=[mark.sequence for mark in marks]).values_list(
            "sequence", "policy_version__document"
        )
    )
    rows = []
    for mark in marks:
        assignment = documents[mark.sequence]["assignments"].get(slug, {})
        points = assignment.get("rollout", {}).get("basis_points")
        target = (assignment.get("target") or {}).get("model") or ""
        rows.append(PolicyRow(mark, target, points / 10_000 if points is not None else None))
    return tuple(rows)


def _waiting(slug: str, facts: QualityFacts) -> tuple[WaitingChange, ...]:
    """Changes in review whose document sends this class somewhere else than the active policy does."""
    active = facts.policy.document["assignments"].get(slug) if facts.policy is not None else None
    rows = ChangeRequest.objects.filter(state=ChangeRequest.State.IN_REVIEW).select_related("policy_version", "author")
    return tuple(
        WaitingChange(row.pk, row.title, row.author.get_username(), row.proposed_at)
        for row in rows.order_by("proposed_at", "pk")
        if row.policy_version.document["assignments"].get(slug) != active
    )
