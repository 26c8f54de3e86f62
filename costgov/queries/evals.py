"""Every class against every model: what the evals show, and which missing evidence is worth money."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType

from django.db.models import Sum

from billing.queries.series import ModelName, model_name
from costgov.queries.class_lines import QualityFacts, quality_facts
from costgov.queries.class_page import UnknownClass
from costgov.queries.recommendation import NoBaseline, RecommendationView, recommendation_view
from routing.core.freshness import StaleReason
from routing.core.paired import Paired
from routing.core.portfolio import audit
from routing.core.verdicts import Verdict
from routing.models import EvalImport, EvalRun, RequestClass
from routing.queries.evidence import ClassVerdicts
from routing.queries.monitors import ClassMonitor, OpenAlarm, monitors, open_alarms

_TIER_ORDER = {"frontier": 0, "balanced": 1, "fast": 2}


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on one model for one class, with everything it rests on. Rates are shares in 0..1.

    `serves`: the model is the class's incumbent. `decides_at` = ln(candidates / alpha): what ln E must reach. `asked`:
    the bar of `bar_version` in words. `paired`: the comparison with what serves, None where none is asked for.
    `repeated_cases` were run again and count once; the mean of their later scores is `repeated_rate`. `stale_reasons`:
    what makes the evidence old; some only say that something moved since and let a move start (`blocks` false).
    `alarm`: of its live samples while its work item is open; the verdict stays, and pages say *Below the bar*.
    """

    model: str
    name: str
    tier: str
    serves: bool
    status: str
    text: str
    stale: bool
    passes: float
    cases: int
    left_out: int
    excluded: int
    pass_rate: float | None
    lower: float | None
    upper: float
    line: float | None
    bar: float
    tolerance: float
    alpha: float
    candidates: int
    ln_e_clear: float
    ln_e_short: float
    decides_at: float
    cases_needed: int | None
    side: str | None
    reason: str
    newest_case_at: datetime | None
    epoch: str
    suites: tuple[str, ...]
    method: str
    metric: str
    standard: str
    margin: float | None
    min_cases: int
    bar_version: int
    asked: str
    paired: Paired | None
    repeated_cases: int
    repeated_rate: float | None
    stale_reasons: tuple[StaleReason, ...]
    stale_text: str
    alarm: OpenAlarm | None = None

    @property
    def shown_status(self) -> str:
        """What pages say: the verdict, unless an alarm is open."""
        return "falls_short" if self.alarm is not None else self.status


@dataclass(frozen=True, slots=True)
class JudgedClass:
    """One class with the verdict on every model that ever had a case, was planned, or serves it.

    All of it is the bar in force at the as-of instant, `bar_version`; `line` None where `standard` asks for a
    comparison alone, `line_text` is what is asked in words. `suites` and `plan`: () = all of the class, every model
    that ever had a case. `monitor`: what live samples show, None where there are none or nobody asked.
    """

    slug: str
    title: str
    note: str
    quality_owner: str
    bar: float
    tolerance: float
    line: float | None
    line_text: str
    alpha: float
    incumbent: str | None
    models: tuple[Judged, ...]
    metric: str
    standard: str
    margin: float | None
    min_cases: int
    max_age_days: int
    suites: tuple[str, ...]
    plan: tuple[str, ...]
    bar_version: int
    monitor: ClassMonitor | None = None

    def of(self, model: str) -> Judged | None:
        return next((row for row in self.models if row.model == model), None)


@dataclass(frozen=True, slots=True)
class ClearedPair:
    """A model shown to clear the bar of a class."""

    slug: str
    title: str
    model: str
    name: str


@dataclass(frozen=True, slots=True)
class Together:
    """The verdicts "clears" of the whole estate, looked at together (methods.md §3.5).

    Of the `clears` shown, `holding` hold together: at most the share `alpha` of those is expected to be false. `apart`:
    the others, which stand each for itself. `verdicts`: all that were tested; `references`: models that clear because
    the others of their class are compared with them, in none of these.
    """

    alpha: float
    verdicts: int
    clears: int
    holding: int
    apart: tuple[ClearedPair, ...]
    references: int


@dataclass(frozen=True, slots=True)
class Quality:
    """What the evals show as of an instant; the value of the command, the API and the page.

    `together`: None where one class was asked for.
    """

    as_of: datetime
    classes: tuple[JudgedClass, ...]
    together: Together | None = None


@dataclass(frozen=True, slots=True)
class EvidenceNeeded:
    """A model that would be cheaper than what serves a class, if it were shown to clear. Savings are estimates."""

    slug: str
    title: str
    model: str
    name: str
    tier: str
    saving_usd_per_month: Decimal
    cases_needed: int | None
    status: str
    verdict_text: str
    stale: bool
    cases: int


@dataclass(frozen=True, slots=True)
class MatrixModel:
    model: str
    name: str
    tier: str


@dataclass(frozen=True, slots=True)
class EvalMatrix:
    """Classes × models. `cheaper`, `needing`, `below`: titles of classes with a cheaper model that clears, of those
    whose saving or verdict waits for evidence, and of those served by a model shown to fall short, by evals or by an
    open alarm of live samples. `has_money`: the
    recommendation was asked; without it nothing is `cheaper` or `missing`, and `needing` is by verdicts alone."""

    as_of: datetime
    models: tuple[MatrixModel, ...]
    rows: tuple[JudgedClass, ...]
    cells: tuple[tuple[Judged | None, ...], ...]
    cheaper: tuple[str, ...]
    needing: tuple[str, ...]
    below: tuple[str, ...]
    stale: int
    missing: tuple[EvidenceNeeded, ...]
    no_recommendation: str
    has_money: bool
    results: int
    left_out: int
    imports: int
    together: Together | None = None


def quality(*, as_of: datetime, slug: str | None = None) -> Quality:
    """Verdict per class × model (methods.md §3.3). Raises UnknownClass."""
    slugs = list(RequestClass.objects.values_list("slug", flat=True))
    if slug is not None and slug not in slugs:
        known = ", ".join(slugs) or "none yet"
        raise UnknownClass(f"There is no class {slug!r}. Registered classes: {known}.")
    facts = quality_facts(as_of=as_of, slug=slug)
    found = _quality(as_of, facts)
    if slug is None:
        found = replace(found, together=_together(found.classes, facts))
    live = monitors(as_of=as_of, slugs=None if slug is None else [slug])
    return replace(found, classes=tuple(replace(row, monitor=live.get(row.slug)) for row in found.classes))


Recommend = Callable[[], RecommendationView]


def eval_matrix(*, as_of: datetime, recommend: Recommend | None = None, with_money: bool = True) -> EvalMatrix:
    """Everything the Evals page shows. `recommend` gives the recommendation of the same instant, from a caller's cache.

    Without money only the verdicts are found: a recommendation for many classes and models takes longer than they do.
    """
    facts = quality_facts(as_of=as_of)
    found = _quality(as_of, facts)
    view: RecommendationView | None = None
    reason = ""
    if with_money:
        try:
            view = recommend() if recommend is not None else recommendation_view(as_of=as_of)
        except NoBaseline as error:
            reason = str(error)
    models = _columns(found.classes)
    missing = _missing(view, found, facts) if view is not None else ()
    cheaper = {row.slug for row in found.classes if view is not None and _has_cheaper(view, row)}
    waiting = {row.slug for row in missing} | {row.slug for row in found.classes if _is_undecided(row)}
    results, left_out = results_counted(as_of=as_of)
    return EvalMatrix(
        as_of=as_of,
        models=models,
        rows=found.classes,
        cells=tuple(tuple(row.of(column.model) for column in models) for row in found.classes),
        cheaper=_titles(found.classes, cheaper),
        needing=_titles(found.classes, waiting - cheaper),
        below=_titles(found.classes, {row.slug for row in found.classes if _falls_short(row)}),
        stale=sum(judged.stale for row in found.classes for judged in row.models),
        missing=missing,
        no_recommendation=reason,
        has_money=with_money,
        results=results,
        left_out=left_out,
        imports=EvalImport.objects.filter(state=EvalImport.State.DONE).count(),
        together=_together(found.classes, facts),
    )


def judged_class(
    verdicts: ClassVerdicts,
    names: dict[str, ModelName],
    *,
    quality_owner: str = "",
    models: Sequence[str] = (),
    alarms: Mapping[tuple[str, str], OpenAlarm] = MappingProxyType({}),
) -> JudgedClass:
    """The verdicts of one class as rows: what serves it first, then by tier and name. `models` adds others."""
    known = {*verdicts.verdicts, *models} | ({verdicts.incumbent} if verdicts.incumbent else set())
    rows = [
        replace(_judged(verdicts.of(model), model, verdicts.incumbent, names), alarm=alarms.get((verdicts.slug, model)))
        for model in known
    ]
    rows.sort(key=lambda row: (not row.serves, _TIER_ORDER.get(row.tier, 3), row.name))
    return JudgedClass(
        slug=verdicts.slug,
        title=verdicts.title,
        note=verdicts.note,
        quality_owner=quality_owner,
        bar=verdicts.bar,
        tolerance=verdicts.tolerance,
        line=verdicts.shown_line,
        line_text=verdicts.asked.asked,
        alpha=verdicts.alpha,
        incumbent=verdicts.incumbent,
        models=tuple(rows),
        metric=verdicts.asked.metric,
        standard=verdicts.asked.standard,
        margin=None if verdicts.asked.margin is None else float(verdicts.asked.margin),
        min_cases=verdicts.asked.min_cases,
        max_age_days=verdicts.asked.max_age_days,
        suites=verdicts.asked.suites,
        plan=verdicts.asked.plan,
        bar_version=verdicts.asked.version,
    )


def _quality(as_of: datetime, facts: QualityFacts) -> Quality:
    owners = dict(RequestClass.objects.values_list("slug", "quality_owner"))
    alarms = open_alarms(as_of=as_of)
    rows = [
        judged_class(found, facts.names, quality_owner=owners[slug], alarms=alarms)
        for slug, found in facts.verdicts.items()
    ]
    return Quality(as_of, tuple(sorted(rows, key=lambda row: row.title.lower())))


def _together(rows: Sequence[JudgedClass], facts: QualityFacts) -> Together:
    """All verdicts shown, in the order of the rows."""
    pairs = {
        (row.slug, judged.model): ClearedPair(row.slug, row.title, judged.model, judged.name)
        for row in rows
        for judged in row.models
    }
    found = audit({(slug, model): facts.verdicts[slug].of(model) for slug, model in pairs})
    apart = found.clears - found.holding
    return Together(
        alpha=found.alpha,
        verdicts=found.verdicts,
        clears=len(found.clears),
        holding=len(found.holding),
        apart=tuple(pair for key, pair in pairs.items() if key in apart),
        references=len(found.references),
    )


def _judged(verdict: Verdict, model: str, incumbent: str | None, names: dict[str, ModelName]) -> Judged:
    named = model_name(names, model)
    return Judged(
        model=model,
        name=named.name,
        tier=named.tier,
        serves=model == incumbent,
        status=verdict.status,
        text=verdict.text,
        stale=verdict.stale,
        passes=verdict.passes,
        cases=verdict.cases,
        left_out=verdict.left_out,
        excluded=verdict.excluded,
        pass_rate=verdict.pass_rate,
        lower=verdict.lower,
        upper=verdict.upper,
        line=verdict.shown_line,
        bar=verdict.bar,
        tolerance=verdict.tolerance,
        alpha=verdict.alpha,
        candidates=verdict.candidates,
        ln_e_clear=verdict.ln_e_clear,
        ln_e_short=verdict.ln_e_short,
        decides_at=math.log(verdict.candidates / verdict.alpha),
        cases_needed=verdict.cases_needed,
        side=verdict.side,
        reason=verdict.reason,
        newest_case_at=verdict.newest_case_at,
        epoch=verdict.epoch,
        suites=verdict.suites,
        method=verdict.method,
        metric=verdict.metric,
        standard=verdict.standard,
        margin=verdict.margin,
        min_cases=verdict.min_cases,
        bar_version=verdict.bar_version,
        asked=verdict.line_text,
        paired=verdict.paired,
        repeated_cases=verdict.repeated_cases,
        repeated_rate=verdict.repeated_rate,
        stale_reasons=verdict.stale_reasons,
        stale_text=verdict.stale_text,
    )


def results_counted(*, as_of: datetime) -> tuple[int, int]:
    """Results of the runs that were not set aside, and those of them without a verdict; counted when imported."""
    counted = EvalRun.objects.filter(run_at__lt=as_of, is_live=False).exclude(set_aside_at__lt=as_of)
    sums = counted.aggregate(results=Sum("results"), left_out=Sum("left_out"))
    return sums["results"] or 0, sums["left_out"] or 0


def _columns(rows: Sequence[JudgedClass]) -> tuple[MatrixModel, ...]:
    """Models that have a verdict somewhere, dearest tier first."""
    found = {judged.model: judged for row in rows for judged in row.models}
    ordered = sorted(found.values(), key=lambda judged: (_TIER_ORDER.get(judged.tier, 3), judged.name))
    return tuple(MatrixModel(judged.model, judged.name, judged.tier) for judged in ordered)


def _has_cheaper(view: RecommendationView, row: JudgedClass) -> bool:
    """Whether a model that clears, evidence not stale, costs less than what serves the class."""
    advised = view.row(row.slug)
    if advised is None:
        return False
    costs = {option.model: option.unit_cost_usd for option in advised.options}
    now = costs.get(advised.incumbent)
    return now is not None and any(
        option.is_admissible
        and option.verdict.status == "clears"
        and not option.verdict.stale
        and option.unit_cost_usd is not None
        and option.unit_cost_usd < now
        for option in advised.options
        if option.model != advised.incumbent
    )


def _falls_short(row: JudgedClass) -> bool:
    serving = row.of(row.incumbent or "")
    return serving is not None and serving.shown_status == "falls_short"


def _is_undecided(row: JudgedClass) -> bool:
    """No model of the class is shown to clear, and none that serves it is shown to fall short."""
    return not any(judged.status == "clears" for judged in row.models) and not _falls_short(row)


def _titles(rows: Sequence[JudgedClass], slugs: Collection[str]) -> tuple[str, ...]:
    return tuple(row.title for row in rows if row.slug in slugs)


def _missing(view: RecommendationView, found: Quality, facts: QualityFacts) -> tuple[EvidenceNeeded, ...]:
    titles = {row.slug: row for row in found.classes}
    rows = []
    for gap in view.missing_evidence:
        verdict = facts.verdicts[gap.request_class].of(gap.model)
        named = model_name(facts.names, gap.model)
        rows.append(
            EvidenceNeeded(
                slug=gap.request_class,
                title=titles[gap.request_class].title,
                model=gap.model,
                name=named.name,
                tier=named.tier,
                saving_usd_per_month=gap.saving_usd_per_month,
                cases_needed=gap.cases_needed,
                status=verdict.status,
                verdict_text=gap.verdict_text,
                stale=verdict.stale,
                cases=verdict.cases,
            )
        )
    return tuple(rows)
