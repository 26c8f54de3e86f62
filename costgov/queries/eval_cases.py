"""Single results of eval cases, page by page, and one case on every model. Ids and figures; no text is kept at all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db.models import F, Q, QuerySet

from billing.queries.series import ModelName, model_name, model_names
from costgov.queries.eval_run_pages import raw_names_filter
from routing.models import EvalCase, EvalRunPart, RequestClass
from routing.queries.evidence import names_held

CASES_A_PAGE: Final = 50
MOST_COUNTED: Final = (
    100_000  # beyond it a page says "more than": counting millions would take longer than showing them
)
OUTCOMES: Final = (
    ("failed", "Did not pass"),
    ("no-verdict", "No verdict"),
    ("passed", "Passed"),
    ("all", "All"),
)
SORTS: Final = (
    ("score", "Lowest score first"),
    ("case", "Case, A to Z"),
    ("cost", "Dearest first"),
    ("latency", "Slowest first"),
    ("newest", "Newest first"),
)
MOST_OF_A_CASE: Final = 500
_OUTCOME: Final = {"failed": Q(score__lt=1), "no-verdict": Q(score__isnull=True), "passed": Q(score=1), "all": Q()}
_ORDER: Final = {
    "score": (F("score").asc(nulls_last=True), "sample_id", "model", "id"),
    "case": ("sample_id", "model", "id"),
    "cost": (F("cost_usd").desc(nulls_last=True), "id"),
    "latency": (F("latency_ms").desc(nulls_last=True), "id"),
    "newest": ("-run_at", "-id"),
}


class UnknownCase(LookupError):
    """No class, run or case is known under what was asked for; the message names it."""


@dataclass(frozen=True, slots=True)
class CaseQuestion:
    """Which results: of a class, or of one run; of one model as it is named now; with an outcome; ids with `words`."""

    slug: str = ""
    run_id: int | None = None
    model: str = ""
    suite: str = ""
    outcome: str = "failed"
    words: str = ""
    sort: str = "score"


@dataclass(frozen=True, slots=True)
class CaseLine:
    """One result. None = the file does not tell. `score` None = no verdict; `error` is its kind, never its text.

    `is_set_aside`: its run was set aside and is no evidence.
    """

    id: int
    run_id: int
    run_at: datetime
    suite: str
    suite_version: str
    sample_id: str
    repeat: str
    model: str
    name: str
    tier: str
    mode: str
    prompt_version: str
    score: float | None
    graded_score: float | None
    attempts: int | None
    input_tok: int | None
    output_tok: int | None
    cost_usd: Decimal | None
    latency_ms: float | None
    error: str
    is_set_aside: bool


@dataclass(frozen=True, slots=True)
class CasePage:
    """A page of results. `count` of all that match, capped at MOST_COUNTED (`is_more`: there are still more).

    `models`: (name, title) of every model with a result in this class or run, for the filter.
    """

    title: str
    lines: tuple[CaseLine, ...]
    number: int
    first: int
    count: int
    is_more: bool
    has_next: bool
    models: tuple[tuple[str, str], ...]

    @property
    def last(self) -> int:
        return self.first + len(self.lines) - 1


@dataclass(frozen=True, slots=True)
class OneCase:
    """Every result of one case of a class, newest first within each model."""

    slug: str
    class_title: str
    suite: str
    sample_id: str
    lines: tuple[CaseLine, ...]
    hidden: int


def case_page(*, question: CaseQuestion, number: int, as_of: datetime) -> CasePage:
    """Fifty results. Raises UnknownCase for a class nobody registered."""
    registered = _class(question.slug) if question.slug else None
    rows = _asked(question, registered, as_of)
    count = rows.order_by()[: MOST_COUNTED + 1].count()
    pages = max(-(-min(count, MOST_COUNTED) // CASES_A_PAGE), 1)
    at = (min(number, pages) - 1) * CASES_A_PAGE
    shown = list(_read(rows).order_by(*_ORDER[question.sort])[at : at + CASES_A_PAGE])
    return CasePage(
        title=registered.title if registered is not None else "",
        lines=_lines(shown),
        number=min(number, pages),
        first=at + 1,
        count=min(count, MOST_COUNTED),
        is_more=count > MOST_COUNTED,
        has_next=number < pages,
        models=_models(question),
    )


def case_lines(*, question: CaseQuestion, as_of: datetime) -> Iterator[CaseLine]:
    """Every result that a question asks for, read as it is handed out. Raises UnknownCase before the first."""
    registered = _class(question.slug) if question.slug else None
    rows = _read(_asked(question, registered, as_of)).order_by(*_ORDER[question.sort])

    def lines() -> Iterator[CaseLine]:
        names, named = model_names(), names_held()
        for row in rows.iterator(chunk_size=2_000):
            yield _line(row, named(row.model_raw, row.model), names)

    return lines()


def _asked(question: CaseQuestion, registered: RequestClass | None, as_of: datetime) -> QuerySet[EvalCase]:
    rows = EvalCase.objects.filter(_OUTCOME[question.outcome], run_at__lt=as_of)
    if registered is not None:
        rows = rows.filter(run__request_class=registered)
    if question.run_id is not None:
        rows = rows.filter(run_id=question.run_id)
    if question.suite:
        rows = rows.filter(run__suite=question.suite)
    if question.model:
        rows = rows.filter(raw_names_filter(question.model))
    for word in question.words.split():
        rows = rows.filter(sample_id__icontains=word)
    return rows


def _models(question: CaseQuestion) -> tuple[tuple[str, str], ...]:
    parts = EvalRunPart.objects.order_by()
    if question.slug:
        parts = parts.filter(run__request_class__slug=question.slug)
    if question.run_id is not None:
        parts = parts.filter(run_id=question.run_id)
    names, named = model_names(), names_held()
    found = {named(raw, held) for raw, held in parts.values_list("model_raw", "model").distinct()}
    return tuple(sorted(((model, model_name(names, model).name) for model in found), key=lambda pair: pair[1].lower()))


def one_case(*, slug: str, suite: str, sample_id: str, as_of: datetime) -> OneCase:
    """A case on every model that ran it. Raises UnknownCase."""
    registered = _class(slug)
    rows = EvalCase.objects.filter(
        run__request_class=registered, run__suite=suite, sample_id=sample_id, run_at__lt=as_of
    )
    found = list(_read(rows).order_by("-run_at", "-id")[: MOST_OF_A_CASE + 1])
    if not found:
        raise UnknownCase(f"No result of case {sample_id[:200]!r} of suite {suite[:200]!r} is kept for {slug}.")
    lines = sorted(_lines(found[:MOST_OF_A_CASE]), key=lambda line: line.name.lower())
    return OneCase(slug, registered.title, suite, sample_id, tuple(lines), max(len(found) - MOST_OF_A_CASE, 0))


def _class(slug: str) -> RequestClass:
    found = RequestClass.objects.filter(slug=slug).first()
    if found is None:
        raise UnknownCase(f"There is no class {slug[:80]!r}. It may have been renamed; see the list of classes.")
    return found


def _read(rows: QuerySet[EvalCase]) -> QuerySet[EvalCase]:
    return rows.select_related("run")


def _lines(rows: Sequence[EvalCase]) -> tuple[CaseLine, ...]:
    names, named = model_names(), names_held()
    return tuple(_line(row, named(row.model_raw, row.model), names) for row in rows)


def _line(row: EvalCase, model: str, names: dict[str, ModelName]) -> CaseLine:
    known = model_name(names, model)
    kinds = (row.uncached_input_tok, row.cache_read_tok, row.cache_write_5m_tok, row.cache_write_1h_tok)
    told = [kind for kind in kinds if kind is not None]
    return CaseLine(
        id=row.pk,
        run_id=row.run_id,
        run_at=row.run_at,
        suite=row.run.suite,
        suite_version=row.run.suite_version,
        sample_id=row.sample_id,
        repeat=row.repeat,
        model=model,
        name=known.name,
        tier=known.tier,
        mode=row.mode,
        prompt_version=row.prompt_version,
        score=row.score,
        graded_score=row.graded_score,
        attempts=row.attempts,
        input_tok=sum(told) if len(told) == len(kinds) else None,
        output_tok=row.output_tok,
        cost_usd=row.cost_usd,
        latency_ms=row.latency_ms,
        error=row.error,
        is_set_aside=row.run.set_aside_at is not None,
    )
