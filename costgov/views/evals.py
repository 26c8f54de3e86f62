"""Evals: every class against every model, and the runs behind one verdict."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from uuid import uuid4

from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from billing.exports.cells import Cell
from billing.exports.tables import Table
from costgov.downloads import download
from costgov.pages import BadQuery, cached, choice, known, now, page
from costgov.queries.class_page import UnknownClass
from costgov.queries.eval_runs import ModelRuns, model_runs
from costgov.queries.evals import EvalMatrix, JudgedClass, MatrixModel, eval_matrix, results_counted
from costgov.queries.matrix_selection import (
    SERVES,
    SORTS,
    STALE,
    VERDICTS,
    MatrixQuestion,
    MatrixRow,
    MatrixSelection,
    select,
    shortened,
    verdict_counts,
)
from costgov.shown import recommendation_shown
from costgov.templatetags.costgov_evals import matrix_axes, matrix_cell
from costgov.timespan import only

CLASSES_A_PAGE = 40
MOST_MISSING_SHOWN = 10
MOST_RESULTS_AT_ONCE = 100_000  # beyond it the recommendation is asked after the page is shown
PARAMETERS = ("q", "model", "verdict", "sort", "page")


@dataclass(frozen=True, slots=True)
class MatrixShown:
    """The matrix with its cells drawn once, each in the place of its value: drawing them anew takes most of a page."""

    view: EvalMatrix
    drawn: tuple[tuple[str, ...], ...]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DrawnRow:
    row: JudgedClass
    cells: SafeString


@dataclass(frozen=True, slots=True)
class MatrixPage:
    """The part of the matrix an address asks for."""

    view: EvalMatrix
    question: MatrixQuestion
    columns: tuple[MatrixModel, ...]
    rows: Page[MatrixRow]
    drawn: tuple[DrawnRow, ...]
    found: int
    counts: Mapping[str, int]
    needing: str
    below: str
    notes: list[tuple[str, str]]
    more_missing: int
    compares: bool
    apart: str


@dataclass(frozen=True, slots=True)
class RunsPage:
    view: ModelRuns
    axis: tuple[float, float]
    differences_axis: tuple[float, float]


@dataclass(frozen=True, slots=True)
class MissingPage:
    message: str


_HELD: dict[str, tuple[str, MatrixShown]] = {}  # of this process, by name: the token it was read under, and itself


def matrix_shown(*, may_wait: bool = False) -> MatrixShown:
    """The matrix of today; with very many results without money, unless that is known by now or the caller waits."""
    as_of = now()
    day = as_of.date()
    if may_wait or _is_known("evals", day) or results_counted(as_of=as_of)[0] <= MOST_RESULTS_AT_ONCE:
        return _held("evals", lambda: draw(eval_matrix(as_of=as_of, recommend=recommendation_shown)), day)
    return _held("evals-verdicts", lambda: draw(eval_matrix(as_of=as_of, with_money=False)), day)


def _held(name: str, build: Callable[[], MatrixShown], day: date) -> MatrixShown:
    """`cached`, and kept in this process too: reading thousands of cells from the cache takes longer than showing them.

    The cache holds a token beside the value; another token, as after a change, and the value is read again.
    """
    token: str = cached(f"{name}-token", lambda: uuid4().hex, today=day)
    found = _HELD.get(name)
    if found is None or found[0] != token:
        found = _HELD[name] = (token, cached(name, build, today=day, token=token))
    return found[1]


def _is_known(name: str, day: date) -> bool:
    token = known(f"{name}-token", today=day)
    if token is None:
        return False
    found = _HELD.get(name)
    return (found is not None and found[0] == token) or known(name, today=day, token=token) is not None


def draw(view: EvalMatrix) -> MatrixShown:
    """Every cell as it is written into the page, on one axis for every whisker. No clock, no database.

    Cells of the same verdicts are not drawn again where this process drew them for the look before the money.
    """
    _, before = _HELD.get("evals-verdicts", ("", None))
    if before is not None and (before.view.rows, before.view.models) == (view.rows, view.models):
        return MatrixShown(view, before.drawn, verdict_counts(view))
    axes = matrix_axes(view.rows)
    drawn = tuple(
        tuple(str(matrix_cell(row, column, cell, axes)) for column, cell in zip(view.models, cells, strict=True))
        for row, cells in zip(view.rows, view.cells, strict=True)
    )
    return MatrixShown(view, drawn, verdict_counts(view))


@require_safe
def matrix_page(request: HttpRequest) -> HttpResponse:
    """?q= words of a class, ?model= one of them or `serves`, ?verdict=, ?sort=, ?page=."""
    shown = matrix_shown()
    question = asked(request, shown.view)
    value = build_matrix(shown, question, page_number(request))
    return page(
        request,
        "routing/evals.html",
        value,
        nav="evals",
        as_of=shown.view.as_of,
        sorts=SORTS,
        verdicts=(*VERDICTS, STALE),
        serves=SERVES,
    )


@require_safe
def money_part(request: HttpRequest) -> HttpResponse:
    """What the page asks for once it is shown: which evidence is worth having, and the sentence above."""
    only(request, ())
    value = build_matrix(matrix_shown(may_wait=True), MatrixQuestion(), 1)
    return page(request, "routing/_matrix_money.html", value, nav="evals", swaps=True)


def asked(request: HttpRequest, view: EvalMatrix) -> MatrixQuestion:
    """The address as a question. Raises BadQuery."""
    only(request, PARAMETERS)
    model = choice(request, "model", ["", SERVES, *(column.model for column in view.models)], "")
    verdict = choice(request, "verdict", ["", *VERDICTS, STALE], "")
    sort = choice(request, "sort", [key for key, _ in SORTS], "class")
    return MatrixQuestion(request.GET.get("q", "").strip(), model, verdict, sort)


def page_number(request: HttpRequest) -> int:
    """?page= as a number from 1. Raises BadQuery."""
    said = request.GET.get("page", "1")
    if not (said.isdecimal() and said.isascii() and 0 < len(said) < 7 and int(said)):
        raise BadQuery(f"?page={said[:40]} is not the number of a page: use 1, 2, 3 …")
    return int(said)


def build_matrix(shown: MatrixShown, question: MatrixQuestion, number: int) -> MatrixPage:
    """The rows of one page; a page beyond the last is the last. No clock, no database."""
    view = shown.view
    found: MatrixSelection = select(view, question)
    rows = Paginator(found.rows, CLASSES_A_PAGE).get_page(number)
    notes: dict[str, list[str]] = {}
    for each in rows:
        if each.row.note:
            notes.setdefault(each.row.note, []).append(each.row.title)
    return MatrixPage(
        view=view,
        question=question,
        columns=found.columns,
        rows=rows,
        drawn=tuple(
            DrawnRow(each.row, SafeString("".join(shown.drawn[each.place][place] for place in found.places)))
            for each in rows
        ),
        found=len(found.rows),
        counts=shown.counts,
        needing=shortened(view.needing),
        below=shortened(view.below),
        notes=[(note, shortened(titles)) for note, titles in notes.items()],
        more_missing=max(len(view.missing) - MOST_MISSING_SHOWN, 0),
        apart=shortened([f"{pair.name} on {pair.title}" for pair in view.together.apart] if view.together else []),
        compares=any(each.row.standard == "not_worse" for each in rows),
    )


_COLUMNS = ("class", "title", "model", "serves", "verdict", "stale", "pass_rate", "lower", "upper", "line", "bar",
            "cases", "left_out", "cases_needed", "newest_case_at", "epoch", "live_alarm_month")  # fmt: skip


@download("evals")
def matrix_table(request: HttpRequest) -> Table:
    """What the filters of the page show, on all its pages: one line per class and model."""
    view = matrix_shown().view
    found = select(view, asked(request, view))

    def lines() -> Iterator[list[Cell]]:
        for each in found.rows:
            for column, cell in zip(found.columns, each.cells, strict=True):
                if cell is None:
                    continue
                yield [
                    each.row.slug, each.row.title, column.model, cell.serves, cell.status, cell.stale, cell.pass_rate,
                    cell.lower, cell.upper if cell.cases else None, cell.line, cell.bar, cell.cases, cell.left_out,
                    cell.cases_needed, cell.newest_case_at, cell.epoch, cell.alarm.month if cell.alarm else "",
                ]  # fmt: skip

    kinds = ["moment" if name.endswith("_at") else "text" for name in _COLUMNS]
    return Table(f"evals-{view.as_of:%Y-%m-%d}", "Verdicts", _COLUMNS, lines(), kinds)


@require_safe
def runs_page(request: HttpRequest, slug: str, model: str) -> HttpResponse:
    only(request, ())
    as_of = now()
    try:
        value: RunsPage = cached(
            "eval-runs",
            lambda: _runs(model_runs(slug=slug, model=model, as_of=as_of)),
            today=as_of.date(),
            slug=slug,
            model=model,
        )
    except UnknownClass as error:
        return page(request, "routing/evals_missing.html", MissingPage(str(error)), nav="evals", status=404)
    return page(request, "routing/eval_runs.html", value, nav="evals", as_of=value.view.as_of)


def _runs(view: ModelRuns) -> RunsPage:
    axes = matrix_axes([view.row])
    return RunsPage(view, axes.rates, axes.differences)


urlpatterns = [
    path("evals/", matrix_page, name="evals"),
    path("evals/money/", money_part, name="evals-money"),
    # Last of the addresses below evals/: any two names are a class and a model.
    path("evals/<str:slug>/<path:model>/", runs_page, name="eval-runs"),
]
