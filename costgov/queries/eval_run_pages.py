"""Eval runs as a list, and one of them per model: what it holds, who brought it, what looks broken about it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.core.paginator import Page, Paginator
from django.db.models import Avg, Count, F, Q, QuerySet, Sum

from billing.queries.series import ModelName, model_name, model_names
from routing.models import EvalCase, EvalImport, EvalRun, EvalRunPart, RequestClass
from routing.queries.eval_runs import RUN_RELATED, RunLine, run_line
from routing.queries.evidence import names_held

RUNS_A_PAGE: Final = 50
STATES: Final = (
    ("counts", "Counts as evidence"),
    ("flagged", "Looks broken"),
    ("set-aside", "Set aside"),
    ("live", "Live samples"),
)


class UnknownRun(LookupError):
    """There is no such run; the message names it."""


@dataclass(frozen=True, slots=True)
class RunQuestion:
    """What a list of runs is asked for; '' = any. `model` is a canonical name, `words` stand in suite, file or tool."""

    words: str = ""
    slug: str = ""
    model: str = ""
    who: str = ""
    state: str = ""

    @property
    def is_narrowed(self) -> bool:
        return bool(self.words or self.slug or self.model or self.who or self.state)


@dataclass(frozen=True, slots=True)
class RunModel:
    """What a run holds of one model: results, those without a verdict, those with a score of 1, and the mean score."""

    model: str
    name: str
    tier: str
    results: int
    without_verdict: int
    passed: int
    mean_score: float | None


@dataclass(frozen=True, slots=True)
class RunListRow:
    """A run of the list. `who` imported it, '' = a command."""

    run: RunLine
    who: str
    imported_at: datetime
    models: tuple[RunModel, ...]


@dataclass(frozen=True, slots=True)
class RunList:
    """A page of runs, newest first, with what the filters can be set to. Counts are over all runs."""

    rows: tuple[RunListRow, ...]
    page_obj: Page
    found: int
    in_all: int
    flagged: int
    set_aside: int
    classes: tuple[tuple[str, str], ...]
    models: tuple[tuple[str, str], ...]
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunPart:
    """One model, mode and prompt version of a run. Means are over the results that tell the figure; None = none does.

    `mean_grade`: of the grades beside pass or fail, by which a class is judged that asks for a mean score.
    `errors`: kinds of error with how many results have each, most first. `cases`: distinct sample ids.
    """

    model: str
    name: str
    tier: str
    raw: str
    mode: str
    prompt_version: str
    cases: int
    results: int
    without_verdict: int
    passed: int
    mean_score: float | None
    mean_grade: float | None
    errors: tuple[tuple[str, int], ...]
    cost_usd: Decimal | None
    costed: int
    input_tok: float | None
    output_tok: float | None
    latency_ms: float | None


@dataclass(frozen=True, slots=True)
class RunPage:
    """One run. `others`: runs of the same file."""

    run: RunLine
    who: str
    imported_at: datetime
    parts: tuple[RunPart, ...]
    cases: int
    others: tuple[RunLine, ...]


def run_list(*, question: RunQuestion, number: int = 1) -> RunList:
    """Runs under the filters, fifty a page; a page beyond the last is the last."""
    rows = _asked(question)
    found = Paginator(rows.select_related(*RUN_RELATED, "eval_import__imported_by"), RUNS_A_PAGE)
    shown = found.get_page(number)
    names, parts = model_names(), _parts([row.pk for row in shown])
    counts = EvalRun.objects.aggregate(
        all=Count("id"), flagged=Count("id", filter=~Q(findings=[])), aside=Count("id", filter=_SET_ASIDE)
    )
    return RunList(
        rows=tuple(
            RunListRow(run_line(row), _who(row.eval_import), row.eval_import.imported_at, _models(parts[row.pk], names))
            for row in shown
        ),
        page_obj=shown,
        found=found.count,
        in_all=counts["all"],
        flagged=counts["flagged"],
        set_aside=counts["aside"],
        classes=tuple(
            RequestClass.objects.filter(eval_runs__isnull=False)
            .distinct()
            .order_by("title", "slug")
            .values_list("slug", "title")
        ),
        models=_models_seen(names),
        people=tuple(
            sorted(
                name
                for name in EvalImport.objects.order_by().values_list("imported_by__username", flat=True).distinct()
                if name
            )
        ),
    )


_SET_ASIDE = Q(set_aside_at__isnull=False)


def _asked(question: RunQuestion) -> QuerySet[EvalRun]:
    rows = EvalRun.objects.all()
    if question.slug:
        rows = rows.filter(request_class__slug=question.slug)
    if question.who:
        rows = rows.filter(eval_import__imported_by__username=question.who)
    if question.state == "set-aside":
        rows = rows.filter(_SET_ASIDE)
    elif question.state == "flagged":
        rows = rows.exclude(findings=[])
    elif question.state == "counts":
        rows = rows.exclude(_SET_ASIDE).filter(is_live=False)
    elif question.state == "live":
        rows = rows.filter(is_live=True)
    if question.model:
        held = EvalRunPart.objects.filter(raw_names_filter(question.model)).values("run_id")
        rows = rows.filter(pk__in=held)
    for word in question.words.split():
        rows = rows.filter(
            Q(suite__icontains=word) | Q(tool__icontains=word) | Q(eval_import__file_name__icontains=word)
        )
    return rows


def raw_names_filter(model: str) -> Q:
    """Parts (or cases) of a model under the name it has now: by every raw spelling that means it."""
    named = names_held()
    seen = EvalRunPart.objects.order_by().values_list("model_raw", "model").distinct()
    return Q(model_raw__in=[raw for raw, held in seen if named(raw, held) == model])


def _models_seen(names: dict[str, ModelName]) -> tuple[tuple[str, str], ...]:
    named = names_held()
    seen = EvalRunPart.objects.order_by().values_list("model_raw", "model").distinct()
    found = {named(raw, held) for raw, held in seen}
    return tuple(sorted(((model, model_name(names, model).name) for model in found), key=lambda pair: pair[1].lower()))


def _parts(run_ids: Sequence[int]) -> Mapping[int, list[EvalRunPart]]:
    found: dict[int, list[EvalRunPart]] = defaultdict(list)
    for part in EvalRunPart.objects.filter(run__in=run_ids):
        found[part.run_id].append(part)
    return found


def _models(parts: Iterable[EvalRunPart], names: dict[str, ModelName]) -> tuple[RunModel, ...]:
    """Parts of one run, added up per model as it is named now."""
    named = names_held()
    grouped: dict[str, list[EvalRunPart]] = defaultdict(list)
    for part in parts:
        grouped[named(part.model_raw, part.model)].append(part)
    rows = []
    for model, members in grouped.items():
        scored = sum(part.scored for part in members)
        known = model_name(names, model)
        rows.append(
            RunModel(
                model=model,
                name=known.name,
                tier=known.tier,
                results=sum(part.results for part in members),
                without_verdict=sum(part.results - part.scored for part in members),
                passed=sum(part.passed for part in members),
                mean_score=sum(part.score_sum for part in members) / scored if scored else None,
            )
        )
    return tuple(sorted(rows, key=lambda row: row.name.lower()))


def run_page(*, run_id: int) -> RunPage:
    """One run with what it holds per model, mode and prompt version. Raises UnknownRun."""
    row = EvalRun.objects.select_related(*RUN_RELATED, "eval_import__imported_by").filter(pk=run_id).first()
    if row is None:
        raise UnknownRun(f"There is no eval run number {run_id}. It may have been deleted; see the list of runs.")
    others = (
        EvalRun.objects.filter(eval_import=row.eval_import_id)
        .exclude(pk=row.pk)
        .select_related(*RUN_RELATED)[:RUNS_A_PAGE]
    )
    cases = EvalCase.objects.filter(run=row).aggregate(cases=Count("sample_id", distinct=True))["cases"]
    return RunPage(
        run=run_line(row),
        who=_who(row.eval_import),
        imported_at=row.eval_import.imported_at,
        parts=_run_parts(row),
        cases=cases,
        others=tuple(run_line(other) for other in others),
    )


def _run_parts(row: EvalRun) -> tuple[RunPart, ...]:
    by = ("model_raw", "model", "mode", "prompt_version")
    cases = EvalCase.objects.filter(run=row).order_by()
    errors: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for *key, error, count in (
        cases.exclude(error="").values_list(*by, "error").annotate(count=Count("id")).values_list(*by, "error", "count")
    ):
        errors[tuple(key)][error] += count
    names, named = model_names(), names_held()
    found = []
    for each in cases.values(*by).annotate(
        cases=Count("sample_id", distinct=True),
        results=Count("id"),
        scored=Count("score"),
        passed=Count("id", filter=Q(score=1)),
        mean=Avg("score"),
        grade=Avg("graded_score"),
        cost=Sum("cost_usd"),
        costed=Count("cost_usd"),
        asked=Avg(F("uncached_input_tok") + F("cache_read_tok") + F("cache_write_5m_tok") + F("cache_write_1h_tok")),
        answered=Avg("output_tok"),
        latency=Avg("latency_ms"),
    ):
        found.append(_run_part(each, errors[tuple(each[name] for name in by)], names, named))
    return tuple(sorted(found, key=lambda part: (part.name.lower(), part.mode, part.prompt_version, part.raw)))


def _run_part(each: Mapping[str, Any], errors: Counter[str], names: dict[str, ModelName], named: Any) -> RunPart:
    model = named(each["model_raw"], each["model"])
    known = model_name(names, model)
    return RunPart(
        model=model,
        name=known.name,
        tier=known.tier,
        raw=each["model_raw"],
        mode=each["mode"],
        prompt_version=each["prompt_version"],
        cases=each["cases"],
        results=each["results"],
        without_verdict=each["results"] - each["scored"],
        passed=each["passed"],
        mean_score=each["mean"],
        mean_grade=each["grade"],
        errors=tuple(errors.most_common(5)),
        cost_usd=each["cost"],
        costed=each["costed"],
        input_tok=_float(each["asked"]),
        output_tok=_float(each["answered"]),
        latency_ms=_float(each["latency"]),
    )


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _who(row: EvalImport) -> str:
    return row.imported_by.get_username() if row.imported_by is not None else ""
