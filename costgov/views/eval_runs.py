"""Runs of evals: the list, one run per model, its cases, one case on every model, and setting a broken run aside."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.views.decorators.http import require_http_methods, require_safe

from audit.roles import Right
from billing.exports.cells import Cell
from billing.exports.tables import Table
from costgov.downloads import download
from costgov.pages import BadQuery, cached, choice, now, page, right_required
from costgov.queries.eval_cases import (
    CASES_A_PAGE,
    OUTCOMES,
    SORTS,
    CaseLine,
    CasePage,
    CaseQuestion,
    OneCase,
    UnknownCase,
    case_lines,
    case_page,
    one_case,
)
from costgov.queries.eval_changes import MoveView, changes_at, move_view
from costgov.queries.eval_run_pages import STATES, RunList, RunPage, RunQuestion, UnknownRun, run_list, run_page
from costgov.queries.set_aside_preview import SetAsidePreview, set_aside_preview
from costgov.timespan import only
from costgov.views.evals import MissingPage, page_number
from routing.core.verdicts import STATUS_TEXT
from routing.models import EvalRun
from routing.operations.eval_moves import move_run
from routing.operations.eval_runs import RunRefused, count_again, set_aside
from routing.queries.work_items import VerdictChange

_MOST_CHANGES = 6
_CASE_PARAMETERS = ("class", "run", "model", "suite", "outcome", "q", "sort", "page")


@dataclass(frozen=True, slots=True)
class RunsPage:
    view: RunList
    question: RunQuestion


@dataclass(frozen=True, slots=True)
class OneRunPage:
    view: RunPage


@dataclass(frozen=True, slots=True)
class StepPage:
    """A step that needs a second look. `problem`: why it was refused; `reason`: what was typed.

    `preview`: what it would change, None where there is nothing to ask.
    """

    view: RunPage
    sets_aside: bool
    problem: str
    reason: str
    preview: SetAsidePreview | None


@dataclass(frozen=True, slots=True)
class MovePage:
    """`problem`: why a move was refused; `to`, `reason`: what was chosen and typed."""

    view: MoveView
    problem: str
    to: str
    reason: str


@dataclass(frozen=True, slots=True)
class CasesPage:
    view: CasePage
    question: CaseQuestion
    pages: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Names of the models whose newest result with a verdict passed, and of those whose did not."""

    passed: tuple[str, ...]
    failed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OneCasePage:
    view: OneCase
    verdict: Outcome


# -- runs ----------------------------------------------------------------------------------------------------------


def run_question(request: HttpRequest) -> RunQuestion:
    """?q= words of suite, tool or file; ?class=, ?model=, ?by= a person, ?state=. Raises BadQuery."""
    only(request, ("q", "class", "model", "by", "state", "page"))
    state = choice(request, "state", ["", *(value for value, _ in STATES)], "")
    said = {name: request.GET.get(name, "")[:255].strip() for name in ("q", "class", "model", "by")}
    return RunQuestion(said["q"], said["class"], said["model"], said["by"], state)


@require_safe
def runs(request: HttpRequest) -> HttpResponse:
    question = run_question(request)
    value = RunsPage(run_list(question=question, number=page_number(request)), question)
    return page(request, "routing/run_list.html", value, nav="evals", states=STATES)


@download("eval-runs")
def runs_table(request: HttpRequest) -> Table:
    """Every run under the filters of the page, one line per run and model."""
    question = run_question(request)

    def lines() -> Iterator[list[Cell]]:
        number, more = 1, True
        while more:
            found = run_list(question=question, number=number)
            for row in found.rows:
                for model in row.models:
                    yield [
                        row.run.id, row.run.run_at, row.run.slug, f"{row.run.suite}@{row.run.suite_version}",
                        model.model, model.results, model.without_verdict, model.passed, model.mean_score,
                        row.run.tool, row.run.file_name, row.who, len(row.run.findings), row.run.set_aside_at,
                        row.run.set_aside_reason, row.run.filed_under, row.run.moved_at, row.run.move_reason,
                    ]  # fmt: skip
            number, more = number + 1, found.page_obj.has_next()

    columns = ["run", "run_at", "class", "suite", "model", "results", "without_verdict", "passed", "mean_score", "tool",
               "file", "who", "findings", "set_aside_at", "set_aside_reason", "filed_under", "moved_at",
               "move_reason"]  # fmt: skip
    return Table(
        "eval-runs", "Runs", columns, lines(), ["moment" if name.endswith("_at") else "text" for name in columns]
    )


@require_safe
def run(request: HttpRequest, run_id: int) -> HttpResponse:
    only(request, ())
    try:
        value: OneRunPage = cached("eval-run", lambda: OneRunPage(run_page(run_id=run_id)), run_id=run_id)
    except UnknownRun as error:
        return _missing(request, str(error))
    return page(request, "routing/run.html", value, nav="evals")


@require_http_methods(["GET", "HEAD", "POST"])
@right_required(Right.JUDGE_EVIDENCE)
def set_aside_step(request: HttpRequest, run_id: int) -> HttpResponse:
    return _step(request, run_id, sets_aside=True)


@require_http_methods(["GET", "HEAD", "POST"])
@right_required(Right.JUDGE_EVIDENCE)
def count_again_step(request: HttpRequest, run_id: int) -> HttpResponse:
    return _step(request, run_id, sets_aside=False)


def _step(request: HttpRequest, run_id: int, *, sets_aside: bool) -> HttpResponse:
    """Ask first; then do it, and say which verdicts changed by it."""
    problem, reason = "", request.POST.get("reason", "")
    if request.method == "POST":
        as_of = now()
        try:
            if sets_aside:
                done = set_aside(actor=request.user, run_id=run_id, reason=reason, as_of=as_of)  # type: ignore[arg-type]
            else:
                done = count_again(actor=request.user, run_id=run_id, as_of=as_of)  # type: ignore[arg-type]
        except RunRefused as error:
            problem = str(error)
        else:
            _say(request, done, sets_aside)
            return redirect("eval-run", run_id)
    try:
        view = run_page(run_id=run_id)
    except UnknownRun as error:
        return _missing(request, str(error))
    preview = set_aside_preview(run_id=run_id, sets_aside=sets_aside, as_of=now())
    value = StepPage(view, sets_aside, problem, reason, preview)
    return page(request, "routing/run_step.html", value, nav="evals", status=400 if problem else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@right_required(Right.JUDGE_EVIDENCE)
def move_step(request: HttpRequest, run_id: int) -> HttpResponse:
    """?to= the class it is to be moved to: choose it, say why, move it, and see which verdicts changed by it."""
    only(request, ("to",))
    said = request.POST if request.method == "POST" else request.GET
    to, reason, problem = said.get("to", "")[:64], request.POST.get("reason", ""), ""
    if request.method == "POST":
        seen, as_of = request.POST.get("seen", "")[:64], now()
        try:
            done = move_run(
                actor=request.user,  # type: ignore[arg-type]
                run_id=run_id,
                slug=to,
                reason=reason,
                as_of=as_of,
                seen=seen,
            )
        except RunRefused as error:
            problem = str(error)
        else:
            messages.success(request, f"Run {done.pk} of {done.suite} is filed under {done.request_class.title} now.")
            changes = changes_at(slugs=tuple({seen: 1, to: 1}), at=as_of)
            if changes:
                rest = f" And {len(changes) - _MOST_CHANGES} more." if len(changes) > _MOST_CHANGES else ""
                messages.info(request, " ".join(map(change_text, changes[:_MOST_CHANGES])) + rest)
            return redirect("eval-run", run_id)
    try:
        view = move_view(run_id=run_id)
    except UnknownRun as error:
        return _missing(request, str(error))
    value = MovePage(view, problem, to, reason)
    return page(request, "routing/run_move.html", value, nav="evals", status=400 if problem else 200)


def change_text(change: VerdictChange) -> str:
    """'Ticket triage, Haiku 4.5: No evidence, before Clears the bar.'"""
    words: Mapping[str, str] = STATUS_TEXT  # type: ignore[assignment]
    before = f", before {words.get(change.previous_status, change.previous_status)}" if change.previous_status else ""
    return f"{change.class_title}, {change.name}: {words.get(change.status, change.status)}{before}."


def _say(request: HttpRequest, done: EvalRun, sets_aside: bool) -> None:
    what = "is set aside: it is no evidence any more" if sets_aside else "counts as evidence again"
    messages.success(request, f"Run {done.pk} of {done.suite} {what}.")


def _missing(request: HttpRequest, message: str) -> HttpResponse:
    return page(request, "routing/evals_missing.html", MissingPage(message), nav="evals", status=404)


# -- cases ---------------------------------------------------------------------------------------------------------


def case_question(request: HttpRequest) -> CaseQuestion:
    """?class= or ?run=, ?model=, ?suite=, ?outcome=, ?q= in the id, ?sort=. Raises BadQuery."""
    only(request, _CASE_PARAMETERS)
    said = {name: request.GET.get(name, "")[:512] for name in ("class", "model", "suite", "q")}
    run_id = request.GET.get("run", "")
    if run_id and not (run_id.isdecimal() and run_id.isascii() and len(run_id) < 16):
        raise BadQuery(f"?run={run_id[:40]} is not the number of a run.")
    if not said["class"] and not run_id:
        raise BadQuery("Say whose cases: ?class= the name of a class, or ?run= the number of a run.")
    return CaseQuestion(
        slug=said["class"],
        run_id=int(run_id) if run_id else None,
        model=said["model"],
        suite=said["suite"],
        outcome=choice(request, "outcome", [value for value, _ in OUTCOMES], "failed"),
        words=said["q"].strip(),
        sort=choice(request, "sort", [value for value, _ in SORTS], "score"),
    )


@require_safe
def cases(request: HttpRequest) -> HttpResponse:
    question, number = case_question(request), page_number(request)
    try:
        view = case_page(question=question, number=number, as_of=now())
    except UnknownCase as error:
        return _missing(request, str(error))
    pages = max(-(-view.count // CASES_A_PAGE), 1)
    value = CasesPage(view, question, pages)
    return page(request, "routing/cases.html", value, nav="evals", outcomes=OUTCOMES, sorts=SORTS)


_CASE_COLUMNS = ("run_id", "run_at", "suite", "suite_version", "sample_id", "repeat", "model", "mode",
                 "prompt_version", "score", "graded_score", "attempts", "input_tok", "output_tok", "cost_usd",
                 "latency_ms", "error", "is_set_aside")  # fmt: skip


@download("eval-cases")
def cases_table(request: HttpRequest) -> Table:
    """Every result under the filters of the page."""
    try:
        found: Iterator[CaseLine] = case_lines(question=case_question(request), as_of=now())
    except UnknownCase as error:
        raise BadQuery(str(error)) from error
    rows = ([getattr(line, name) for name in _CASE_COLUMNS] for line in found)
    kinds = {"run_at": "moment", "cost_usd": "usd"}
    return Table("eval-cases", "Cases", _CASE_COLUMNS, rows, [kinds.get(name, "text") for name in _CASE_COLUMNS])


@require_safe
def case(request: HttpRequest) -> HttpResponse:
    """?class=, ?suite= and ?id=: one case on every model that ran it."""
    only(request, ("class", "suite", "id"))
    said = {name: request.GET.get(name, "") for name in ("class", "suite", "id")}
    try:
        view = one_case(slug=said["class"], suite=said["suite"], sample_id=said["id"], as_of=now())
    except UnknownCase as error:
        return _missing(request, str(error))
    return page(request, "routing/case.html", OneCasePage(view, outcome_of(view)), nav="evals")


def outcome_of(view: OneCase) -> Outcome:
    newest: dict[str, CaseLine] = {}
    for line in view.lines:
        if line.score is not None and not line.is_set_aside:
            newest.setdefault(line.name, line)
    return Outcome(
        passed=tuple(name for name, line in newest.items() if line.score == 1),
        failed=tuple(name for name, line in newest.items() if line.score != 1),
    )


urlpatterns = [
    path("evals/runs/", runs, name="eval-run-list"),
    path("evals/runs/<int:run_id>/", run, name="eval-run"),
    path("evals/runs/<int:run_id>/set-aside/", set_aside_step, name="eval-run-set-aside"),
    path("evals/runs/<int:run_id>/count-again/", count_again_step, name="eval-run-count-again"),
    path("evals/runs/<int:run_id>/move/", move_step, name="eval-run-move"),
    path("evals/cases/", cases, name="eval-cases"),
    path("evals/case/", case, name="eval-case"),
]
