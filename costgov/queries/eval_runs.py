"""The runs behind one verdict: epochs, runs, failing cases, and what a case costs. Never a prompt or an answer."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Avg, Count, Max, Q, Sum

from billing.queries.series import model_name
from costgov.queries.class_lines import quality_facts
from costgov.queries.class_page import UnknownClass
from costgov.queries.evals import Judged, JudgedClass, judged_class
from routing.core.evidence import CaseResult, first_scored_batch
from routing.core.models import model_snapshot
from routing.models import EvalRun, EvalRunPart, RequestClass
from routing.queries.evidence import ClassVerdicts, case_results, names_held
from routing.queries.gathering import parts_that_count
from routing.queries.kept_evidence import asked_of
from routing.queries.monitors import open_alarms

MOST_CASES_SHOWN = 500


@dataclass(frozen=True, slots=True)
class EpochRow:
    """Results of one suite version, prompt version and model snapshot. `is_current`: the verdict counts them."""

    suite: str
    suite_version: str
    prompt_version: str
    snapshot: str
    is_current: bool
    results: int
    cases: int
    without_verdict: int
    mean_score: float | None
    first_run_at: datetime
    latest_run_at: datetime


@dataclass(frozen=True, slots=True)
class RunRow:
    """Results of this model in one suite of one file. `is_set_aside`: none of them is evidence."""

    run_id: int
    is_set_aside: bool
    run_at: datetime
    suite: str
    suite_version: str
    file_name: str
    import_id: int
    results: int
    cases: int
    without_verdict: int
    mean_score: float | None
    cost_usd: Decimal | None
    priced: int


@dataclass(frozen=True, slots=True)
class CaseRow:
    """A case of the latest epoch that did not pass fully. `score` None = no verdict, `errors` the kinds of error."""

    suite: str
    sample_id: str
    score: float | None
    repeats: int
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Means:
    """Means per case run in the latest epoch, with the number of results each rests on; None = no result tells it."""

    cost_usd: Decimal | None
    costed: int
    input_tok: float | None
    output_tok: float | None
    counted: int
    latency_ms: float | None
    timed: int


@dataclass(frozen=True, slots=True)
class Pairing:
    """This model and the one that serves, on the cases both ran: cost ratio and how often only one passed."""

    other: str
    other_name: str
    cases: int
    only_this_passed: int
    only_other_passed: int
    cost_ratio: float | None
    costed: int


@dataclass(frozen=True, slots=True)
class ModelRuns:
    """Everything the page of a class and model shows. `hidden_cases`: not fully passed, beyond those listed."""

    as_of: datetime
    row: JudgedClass
    judged: Judged
    max_age_days: int
    epochs: tuple[EpochRow, ...]
    runs: tuple[RunRow, ...]
    failing: tuple[CaseRow, ...]
    unverdicted: tuple[CaseRow, ...]
    hidden_cases: int
    full_passes: int
    is_pass_fail: bool
    means: Means
    pairing: Pairing | None


def model_runs(*, slug: str, model: str, as_of: datetime) -> ModelRuns:
    """The evidence of a model for a class. Raises UnknownClass for a class or a model nobody has seen there."""
    registered = RequestClass.objects.filter(slug=slug).first()
    if registered is None:
        raise UnknownClass(f"There is no class {slug!r}. It may have been renamed; see the list of classes.")
    facts = quality_facts(as_of=as_of, slug=slug)
    row = judged_class(
        facts.verdicts[slug],
        facts.names,
        quality_owner=registered.quality_owner,
        alarms=open_alarms(as_of=as_of, slug=slug),
    )
    judged = row.of(model)
    if judged is None:
        known = ", ".join(each.model for each in row.models) or "none yet"
        raise UnknownClass(f"Model {model!r} never ran a case of {slug}. Models with cases: {known}.")
    other = row.of(row.incumbent or "")
    results = _results(facts.verdicts[slug], model, other.model if other is not None else None, as_of)
    own = results.current[model]
    cases = _cases(own, row.metric)
    failing = [case for case in cases if case.score is not None and case.score < 1]
    unverdicted = [case for case in cases if case.score is None]
    return ModelRuns(
        as_of=as_of,
        row=row,
        judged=judged,
        max_age_days=row.max_age_days,
        epochs=_epochs(results.every[model], own),
        runs=_runs(registered, {result.candidate_raw for result in results.every[model]}, as_of),
        failing=tuple(failing[:MOST_CASES_SHOWN]),
        unverdicted=tuple(unverdicted[:MOST_CASES_SHOWN]),
        hidden_cases=max(len(failing) - MOST_CASES_SHOWN, 0) + max(len(unverdicted) - MOST_CASES_SHOWN, 0),
        full_passes=sum(case.score == 1 for case in cases),
        is_pass_fail=all(case.score in {None, 0.0, 1.0} for case in cases),
        means=_means(own),
        pairing=_pairing(
            cases,
            _cases(results.current[other.model], row.metric),
            own,
            results.current[other.model],
            other.model,
            model_name(facts.names, other.model).name,
        )
        if other is not None and other.model != model
        else None,
    )


@dataclass(frozen=True, slots=True)
class _Results:
    """Results by candidate: all that were read, and those of the epoch that counts."""

    every: dict[str, list[CaseResult]]
    current: dict[str, list[CaseResult]]


def _results(verdicts: ClassVerdicts, model: str, other: str | None, as_of: datetime) -> _Results:
    """Every result of the model, and those of the other on samples that the model was run on too.

    No more is read: a class may hold a million results of the model that serves, hardly any on shared cases.
    """
    named, models = names_held(), {model, *([other] if other is not None else [])}
    seen = EvalRunPart.objects.filter(run__request_class__slug=verdicts.slug).order_by()
    spelt: dict[str, list[str]] = {each: [] for each in models}
    for raw, held in seen.values_list("model_raw", "model").distinct():
        if (candidate := named(raw, held)) in models:
            spelt[candidate].append(raw)
    parts = parts_that_count(slug=verdicts.slug, asked=asked_of(verdicts.asked), as_of=as_of, named=named)
    since = {
        (part.batch, part.suite, part.suite_version, part.candidate_raw, part.prompt_version, part.mode): part.since
        for each in models
        for part in parts.get(each, ())
    }
    found = _Results({each: [] for each in models}, {each: [] for each in models})
    for each in models:
        shared_with = None if each == model else spelt[model]
        read = case_results(slugs=[verdicts.slug], as_of=as_of, raw_names=spelt[each], shared_with=shared_with)
        for row in read.get(verdicts.slug, []):
            if row.candidate != each:  # one spelling may stand for both
                continue
            found.every[each].append(row)
            part = (row.batch, row.suite, row.suite_version, row.candidate_raw, row.prompt_version, row.mode)
            if part in since and ((start := since[part]) is None or row.run_at >= start):
                found.current[each].append(row)
    return found


def _cases(rows: Iterable[CaseResult], metric: str) -> list[CaseRow]:
    """Distinct cases with the score their verdict counts, lowest first."""
    found: dict[tuple[str, str], list[CaseResult]] = defaultdict(list)
    for row in rows:
        found[row.case].append(row)
    cases = []
    for (suite, sample_id), repeats in found.items():
        first = first_scored_batch(repeats)
        scores = [value for row in repeats if row.batch == first and (value := _value(row, metric)) is not None]
        score = math.fsum(scores) / len(scores) if scores else None
        errors = tuple(sorted({row.error for row in repeats if row.error}))
        cases.append(CaseRow(suite, sample_id, score, len(repeats), errors))
    return sorted(cases, key=lambda case: (-1 if case.score is None else case.score, case.suite, case.sample_id))


def _value(row: CaseResult, metric: str) -> float | None:
    return row.graded_score if metric == "mean_score" and row.graded_score is not None else row.score


def _epochs(rows: Sequence[CaseResult], current: Iterable[CaseResult]) -> tuple[EpochRow, ...]:
    counted = {id(row) for row in current}
    groups: dict[tuple[str, str, str, str, bool], list[CaseResult]] = defaultdict(list)
    for row in rows:
        snapshot = model_snapshot(row.candidate_raw)
        groups[row.suite, row.suite_version, row.prompt_version, snapshot, id(row) in counted].append(row)
    found = [
        EpochRow(
            suite=suite,
            suite_version=suite_version,
            prompt_version=prompt_version,
            snapshot=snapshot,
            is_current=is_current,
            results=len(members),
            cases=len({member.case for member in members}),
            without_verdict=sum(member.score is None for member in members),
            mean_score=_mean([member.score for member in members if member.score is not None]),
            first_run_at=min(member.run_at for member in members),
            latest_run_at=max(member.run_at for member in members),
        )
        for (suite, suite_version, prompt_version, snapshot, is_current), members in groups.items()
    ]
    return tuple(sorted(found, key=lambda row: (row.is_current, row.latest_run_at), reverse=True))


def _runs(registered: RequestClass, raw_names: Collection[str], as_of: datetime) -> tuple[RunRow, ...]:
    of_model = Q(cases__model_raw__in=list(raw_names), cases__run_at__lt=as_of)
    found = (
        EvalRun.objects.filter(of_model, request_class=registered, is_live=False)
        .values("id", "suite", "suite_version", "set_aside_at", "eval_import_id", "eval_import__file_name")
        .annotate(
            at=Max("cases__run_at"),
            results=Count("cases"),
            samples=Count("cases__sample_id", distinct=True),
            without=Count("cases", filter=Q(cases__score__isnull=True)),
            score=Avg("cases__score"),
            cost=Sum("cases__cost_usd"),
            priced=Count("cases__cost_usd"),
        )
        .order_by("-at", "-id")
    )
    return tuple(
        RunRow(
            run_id=each["id"],
            is_set_aside=each["set_aside_at"] is not None,
            run_at=each["at"],
            suite=each["suite"],
            suite_version=each["suite_version"],
            file_name=each["eval_import__file_name"],
            import_id=each["eval_import_id"],
            results=each["results"],
            cases=each["samples"],
            without_verdict=each["without"],
            mean_score=each["score"],
            cost_usd=each["cost"],
            priced=each["priced"],
        )
        for each in found
    )


def _means(rows: Sequence[CaseResult]) -> Means:
    costs = [row.cost_usd for row in rows if row.cost_usd is not None]
    inputs = [row.input_tok for row in rows]
    counted = [
        (asked, row.output_tok)
        for asked, row in zip(inputs, rows, strict=True)
        if asked is not None and row.output_tok is not None
    ]
    latencies = [row.latency_ms for row in rows if row.latency_ms is not None]
    return Means(
        cost_usd=sum(costs, Decimal(0)) / len(costs) if costs else None,
        costed=len(costs),
        input_tok=_mean([asked for asked, _ in counted]),
        output_tok=_mean([answered for _, answered in counted]),
        counted=len(counted),
        latency_ms=_mean(latencies),
        timed=len(latencies),
    )


def _pairing(
    cases: Sequence[CaseRow],
    other_cases: Sequence[CaseRow],
    own: Sequence[CaseResult],
    others: Sequence[CaseResult],
    other: str,
    other_name: str,
) -> Pairing | None:
    """Both models on the same cases; None where they share none."""
    mine, theirs = ({(case.suite, case.sample_id): case for case in each} for each in (cases, other_cases))
    shared = [
        key for key in mine.keys() & theirs.keys() if mine[key].score is not None and theirs[key].score is not None
    ]
    if not shared:
        return None
    cost, other_cost = _case_costs(own), _case_costs(others)
    costed = [key for key in shared if key in cost and key in other_cost]
    whole = sum((other_cost[key] for key in costed), Decimal(0))
    return Pairing(
        other=other,
        other_name=other_name,
        cases=len(shared),
        only_this_passed=sum(mine[key].score == 1 and theirs[key].score != 1 for key in shared),
        only_other_passed=sum(mine[key].score != 1 and theirs[key].score == 1 for key in shared),
        cost_ratio=float(sum((cost[key] for key in costed), Decimal(0)) / whole) if whole else None,
        costed=len(costed),
    )


def _case_costs(rows: Iterable[CaseResult]) -> dict[tuple[str, str], Decimal]:
    """Mean stated cost of every case that has one."""
    found: dict[tuple[str, str], list[Decimal]] = defaultdict(list)
    for row in rows:
        if row.cost_usd is not None:
            found[row.case].append(row.cost_usd)
    return {case: sum(costs, Decimal(0)) / len(costs) for case, costs in found.items()}


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
