"""The list of classes, and the page of one class."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.urls import path, re_path

from costgov import charts
from costgov.charts.parts import Value
from costgov.model_words import in_words
from costgov.pages import BadQuery, cached, now, page
from costgov.queries.class_lines import ClassLine
from costgov.queries.class_page import CandidateRow, ClassPage, UnknownClass, class_page
from costgov.shown import classes_shown
from costgov.templatetags.costgov_format import datefmt, integer, pct, rate_range, usd
from costgov.templatetags.costgov_ui import difference_scale, whisker_scale
from costgov.timespan import CHOICES, PARAMETERS, only, timespan

# Column of the list: (key in the address, its head, numbers on the right, what it is sorted by).
_STATUS_ORDER = {"falls_short": 0, "not_enough_evidence": 1, "no_evidence": 2, "clears": 3}
COLUMNS: tuple[tuple[str, str, bool], ...] = (
    ("title", "Class", False),
    ("model", "Model", False),
    ("spend", "Spend", True),
    ("requests", "Requests", True),
    ("rate", "Pass rate and line", False),
    ("status", "Status", False),
    ("saving", "Saving a month", True),
)
_LARGEST_FIRST = {"spend", "requests", "rate", "saving"}


@dataclass(frozen=True, slots=True)
class Head:
    """A column's head, which sorts. `aria`: ascending, descending or '' where another column sorts."""

    label: str
    href: str
    numeric: bool
    aria: str


@dataclass(frozen=True, slots=True)
class ClassesPage:
    """The classes that match the words, in the order asked for."""

    lines: tuple[ClassLine, ...]
    all_classes: int
    start: Any
    end: Any
    words: str
    sort: str
    heads: tuple[Head, ...]
    axis: tuple[float, float]
    notes: list[tuple[str, list[str]]]


@dataclass(frozen=True, slots=True)
class ClassDetail:
    """A class with its drawings, and the tables that say the same."""

    view: ClassPage
    axis: tuple[float, float]
    differences_axis: tuple[float, float]
    scatter: charts.Figure | None
    scatter_summary: str
    without_place: list[str]
    target: CandidateRow | None
    runner_up: str
    why: str
    waits: bool
    missing: list[CandidateRow]
    cost_is_assumed: bool
    levers_text: str
    how_cost: list[tuple[str, str]]
    history: charts.Figure | None
    history_summary: str
    history_columns: list[str]
    history_rows: list[list[str]]
    quality_columns: list[str]
    quality_rows: list[list[str]]


@dataclass(frozen=True, slots=True)
class UnknownClassPage:
    message: str


def classes_page(request: HttpRequest) -> HttpResponse:
    as_of = now()
    only(request, ("q", "sort"))
    value = classes_shown()
    words, sort = request.GET.get("q", "").strip(), request.GET.get("sort", "-spend")
    keys = [key for key, *_ in COLUMNS]
    if sort.removeprefix("-") not in keys:
        raise BadQuery(f"?sort={sort} is not a column; use one of {', '.join(keys)}, - in front for largest first.")
    found = [line for line in value.lines if _matches(line, words)]
    context = ClassesPage(
        lines=tuple(sorted_lines(found, sort)),
        all_classes=len(value.lines),
        start=value.start,
        end=value.end,
        words=words,
        sort=sort,
        heads=_heads(sort, words),
        axis=whisker_scale([bound for line in value.lines for bound in (line.lower, line.value, line.line)]),
        notes=notes_of(found),
    )
    return page(request, "costgov/classes.html", context, nav="classes", as_of=as_of)


def class_detail(request: HttpRequest, slug: str) -> HttpResponse:
    as_of = now()
    only(request, PARAMETERS)
    span = timespan(request, today=as_of.date())
    try:
        value = cached(
            "class",
            lambda: build_detail(
                class_page(slug=slug, as_of=as_of, start=span.start, end=span.end, lines=classes_shown())
            ),
            slug=slug,
            today=as_of.date(),
            start=span.start,
            end=span.end,
        )
    except UnknownClass as error:
        return page(request, "costgov/class_unknown.html", UnknownClassPage(str(error)), nav="classes", status=404)
    return page(
        request,
        "costgov/class_detail.html",
        value,
        nav="classes",
        as_of=value.view.as_of,
        periods=CHOICES,
        chosen=span.chosen,
    )


# -- the list ----------------------------------------------------------------------------------------------------


def _matches(line: ClassLine, words: str) -> bool:
    text = f"{line.title} {line.slug} {line.owner} {line.model} {line.verdict_text}".lower()
    return all(word in text for word in words.lower().split())


def sorted_lines(lines: Sequence[ClassLine], sort: str) -> list[ClassLine]:
    """By a column, '-' in front for descending; what is unknown comes last either way, ties by title."""
    key, backwards = sort.removeprefix("-"), sort.startswith("-")
    by_title = sorted(lines, key=lambda line: (line.title.lower(), line.slug))
    known = [line for line in by_title if _sort_value(line, key) is not None]
    unknown = [line for line in by_title if _sort_value(line, key) is None]
    known.sort(key=lambda line: _sort_value(line, key), reverse=backwards)
    return known + unknown


def _sort_value(line: ClassLine, key: str) -> Any:
    values: dict[str, str | int | float | Decimal | None] = {
        "title": line.title.lower(),
        "model": line.model.lower() or None,
        "spend": line.spend_usd,
        "requests": line.requests,
        "rate": line.value,
        "status": _STATUS_ORDER[line.verdict],
        "saving": line.saving_usd,
    }
    return values[key]


def _heads(sort: str, words: str) -> tuple[Head, ...]:
    heads = []
    for key, label, numeric in COLUMNS:
        chosen = sort.removeprefix("-") == key
        turned = sort.removeprefix("-") if sort.startswith("-") else f"-{sort}"
        target = turned if chosen else f"-{key}" if key in _LARGEST_FIRST else key
        query = QueryDict(mutable=True)
        if words:
            query["q"] = words
        query["sort"] = target
        aria = ("descending" if sort.startswith("-") else "ascending") if chosen else ""
        heads.append(Head(label, f"?{query.urlencode()}", numeric, aria))
    return tuple(heads)


def notes_of(lines: Sequence[ClassLine]) -> list[tuple[str, list[str]]]:
    """What has to be said of classes, each remark once with the classes it is about."""
    grouped: dict[str, list[str]] = {}
    for line in lines:
        if line.note:
            grouped.setdefault(line.note, []).append(line.title)
    return list(grouped.items())


# -- one class ---------------------------------------------------------------------------------------------------


def build_detail(view: ClassPage) -> ClassDetail:
    """Figures and tables from the values; no clock, no database."""
    bounds = [bound for row in view.candidates for bound in (row.verdict.lower, row.verdict.pass_rate)]
    compared = [row.paired for row in view.candidates if row.paired is not None and row.paired.difference is not None]
    placed = [row for row in view.candidates if row.unit_cost_usd is not None and row.verdict.pass_rate is not None]
    models = list(dict.fromkeys(model for day in view.days for model in day.by_model))
    return ClassDetail(
        view=view,
        axis=whisker_scale([*bounds, view.facts.line]),
        differences_axis=difference_scale(
            [bound for each in compared for bound in (each.lower, each.upper, -each.margin, 0.0)]
        ),
        scatter=_scatter(view) if placed else None,
        scatter_summary=scatter_summary(view),
        without_place=[row.name for row in view.candidates if row not in placed],
        target=next((row for row in view.candidates if row.role == "target"), None),
        runner_up=_name(view, view.advice.runner_up) if view.advice is not None and view.advice.runner_up else "",
        why=in_words(view.advice.reason, view.names) if view.advice is not None else "",
        waits=any(row.saving_if_shown_usd for row in view.candidates),
        missing=sorted(
            (row for row in view.candidates if row.saving_if_shown_usd),
            key=lambda row: row.saving_if_shown_usd or 0,
            reverse=True,
        ),
        cost_is_assumed=any(row.low_usd is not None for row in placed),
        levers_text=levers_text(view),
        how_cost=[
            (row.name, f"{usd(row.unit_cost_usd, 6)}: {in_words(row.cost_source, view.names)}")
            for row in view.candidates
            if row.cost_source
        ],
        history=_history(view),
        history_summary=history_summary(view),
        history_columns=["Day", "Requests", *(_name(view, model) for model in models), "Spend"],
        history_rows=[
            [
                datefmt(day.on),
                integer(day.requests),
                *(usd(day.by_model.get(model)) for model in models),
                usd(day.total_usd),
            ]
            for day in reversed(view.days)
        ],
        quality_columns=["Week to", "Model that served most", "Pass rate", "Interval", "Cases"],
        quality_rows=[
            [
                datefmt(week.end - timedelta(days=1)),
                _name(view, week.model) if week.model else "–",
                pct(week.pass_rate),
                rate_range(week.lower, week.upper),
                integer(week.cases),
            ]
            for week in reversed(view.weeks)
        ],
    )


def levers_text(view: ClassPage) -> str:
    """ " with caching and batch": the levers that are part of the recommendation; "" for none."""
    used = [] if view.advice is None or view.advice.caching not in ("5m", "1h") else ["caching"]
    if view.advice is not None and view.advice.batch_share:
        used.append("batch")
    return f" with {' and '.join(used)}" if used else ""


def _name(view: ClassPage, model: str) -> str:
    named = view.names.get(model)
    return named.name if named is not None else model


def _scatter(view: ClassPage) -> charts.Figure:
    points = [
        charts.CostQuality(
            model=row.name,
            tier=row.tier,
            cost_usd=row.now_usd if row.now_usd is not None else row.unit_cost_usd,
            value=row.verdict.pass_rate,
            low=row.verdict.lower,
            high=row.verdict.upper,
            note={"incumbent": "serves now", "target": "recommended"}.get(row.role, ""),
            filled=row.role in ("incumbent", "target"),
            cost_low=row.low_usd if row.now_usd is None else None,
            cost_high=row.high_usd if row.now_usd is None else None,
        )
        for row in view.candidates
    ]
    return charts.scatter_cost_quality(points, view.facts.line)


def scatter_summary(view: ClassPage) -> str:
    """The scatter in a sentence: the recommended model against the one that serves now."""
    target = next((row for row in view.candidates if row.role == "target"), None)
    serves = next((row for row in view.candidates if row.role == "incumbent"), None)
    if target is not None and serves is not None and target.relative_cost is not None:
        word = "less" if target.relative_cost < 0 else "more"
        asked = f"the line is {pct(view.facts.line)}" if view.facts.line is not None else f"asked: {view.facts.asked}"
        return (
            f"{target.name} costs {pct(abs(target.relative_cost), 0)} {word} than {serves.name} does now "
            f"and passes {pct(target.verdict.pass_rate)} of cases; {asked}."
        )
    if serves is not None and serves.now_usd is not None:
        levers = ""
        if serves.relative_cost is not None:
            levers = f", with caching and batch where they pay at {usd(serves.unit_cost_usd, 5)}"
        return f"{serves.name} serves the class at {usd(serves.now_usd, 5)} each and stays{levers}."
    return ""


def _history(view: ClassPage) -> charts.Figure | None:
    if len(view.days) < 2:
        return None
    models = list(dict.fromkeys(model for day in view.days for model in day.by_model))
    spend: list[tuple[str, str, list[Value]]] = [
        (
            _name(view, model),
            view.names[model].tier if model in view.names else "other",
            [day.by_model.get(model) for day in view.days],
        )
        for model in models
    ]
    lines = {week.line for week in view.weeks}
    level = view.facts.line if lines <= {view.facts.line} else None
    points = [
        charts.RatePoint(
            on=week.end - timedelta(days=1),
            value=week.pass_rate,
            low=week.lower,
            high=week.upper,
            cases=week.cases,
            line=None if level is not None else week.line,
        )
        for week in view.weeks
    ]
    marks = [(row.mark.on, f"Policy v{row.mark.version}") for row in view.policies]
    requests: list[Value] = [day.requests for day in view.days]
    return charts.class_history([day.on for day in view.days], requests, spend, points, level, marks)


def history_summary(view: ClassPage) -> str:
    """The history in words: where spend began and where it is."""
    if len(view.days) < 14:
        return f"{len(view.days)} days of usage in this period."
    first = sum((day.total_usd for day in view.days[:7]), Decimal(0)) / 7
    last = sum((day.total_usd for day in view.days[-7:]), Decimal(0)) / 7
    untold = sum(day.requests is None for day in view.days)
    said = (
        f"Spend went from {usd(first)} to {usd(last)} a day "
        f"(means of the first and the last week, {datefmt(view.days[0].on)} to {datefmt(view.days[-1].on)})."
    )
    if not any(week.cases for week in view.weeks):
        said = f"{said} No eval results yet, so no pass rate."
    if untold:
        return f"{said} Requests are not told for {untold} of {len(view.days)} days: a usage report has tokens only."
    return said


urlpatterns = [
    path("classes/", classes_page, name="classes"),
    # "new" is the address of the form that registers a class.
    re_path(r"^classes/(?!new/)(?P<slug>[^/]+)/$", class_detail, name="class-detail"),
]
