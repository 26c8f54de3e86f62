"""The spend explorer: where the money goes, by any two groupings; the address is the state."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django.views.decorators.http import require_safe

from billing.core.money import round_usd
from billing.exports.tables import Table
from billing.queries.books import CONTRACTED, LIST
from billing.queries.focus_lines import left_out
from billing.queries.usage_sums import TIME_DIMENSIONS
from costgov import charts
from costgov.charts.spend import Part
from costgov.charts.spend_series import spend_series
from costgov.dimension_words import NAMES
from costgov.downloads import download
from costgov.focus_file import focus_answer
from costgov.pages import BadQuery, cached, choice, page, today
from costgov.queries.spend import SPEND_DIMENSIONS, SpendReport, SpendRow, spend_rows
from costgov.queries.spend_page import SpendPage, spend_page
from costgov.queries.spend_tables import spend_rows_table
from costgov.templatetags.costgov_format import datefmt, pct_signed, usd, usd_signed
from costgov.timespan import CHOICES, PARAMETERS, Timespan, only, timespan

NONE: Final = "(none)"
FILTERS: Final = tuple(name for name in NAMES if name not in TIME_DIMENSIONS)
GROUPINGS: Final = [(name, NAMES[name]) for name in NAMES if name in SPEND_DIMENSIONS]
BASES: Final = [(LIST, "List prices"), (CONTRACTED, "Under contracts")]
ACCEPTED: Final = ("by", "and", "basis", *FILTERS, *PARAMETERS)
# Where a click on a value leads: the next question about it.
_NEXT: Final = {"cost_centre": "class", "team": "cost_centre", "class": "model", "tier": "model", "model": "token_kind",
                "workspace": "class", "api_key": "class", "channel": "workspace"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for."""

    span: Timespan
    by: tuple[str, ...]
    where: dict[str, str]
    basis: str


@dataclass(frozen=True, slots=True)
class Named:
    """A value in words, with the tier to mark it by and the address that shows only it."""

    text: str
    tier: str
    href: str


@dataclass(frozen=True, slots=True)
class Line:
    names: tuple[Named, ...]
    row: SpendRow
    share: float | None
    tokens: int
    change: float | None
    before_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Chip:
    text: str
    href: str


@dataclass(frozen=True, slots=True)
class ChangeLine:
    text: str
    figures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    view: SpendPage
    lines: tuple[Line, ...]
    chart: charts.Figure | None
    chart_summary: str
    chart_columns: list[str]
    chart_rows: list[list[str]]
    bridge: charts.Figure | None
    bridge_summary: str
    change_lines: tuple[ChangeLine, ...]
    change: float | None


def asked(request: HttpRequest) -> Asked:
    """The address as a question. Raises BadQuery."""
    only(request, ACCEPTED)
    names = [value for value, _ in GROUPINGS]
    first, second = choice(request, "by", names, "class"), request.GET.get("and", "")
    if second and second not in names:
        raise BadQuery(f"?and={second} is not known here; use one of {', '.join(names)}.")
    by = (first,) if not second or second == first else (first, second)
    where = {name: "" if value == NONE else value for name in FILTERS if (value := request.GET.get(name, ""))}
    basis = choice(request, "basis", [value for value, _ in BASES], LIST)
    return Asked(timespan(request, today=today(), default="28"), by, where, basis)


@require_safe
def explorer(request: HttpRequest) -> HttpResponse:
    """?by=class&and=month, any filter by the name of its dimension, and a period."""
    wanted = asked(request)
    view = cached(
        "spend-page",
        lambda: _built(wanted),
        start=wanted.span.start,
        end=wanted.span.end,
        by=wanted.by,
        where=sorted(wanted.where.items()),
        basis=wanted.basis,
    )
    named = view.words
    shown = _shown(request, view)
    query = urlencode({"from": wanted.span.start, "to": wanted.span.end - timedelta(days=1)})
    return page(
        request,
        "costgov/spend.html",
        shown,
        nav="spend",
        report=view.report,
        periods=CHOICES,
        chosen=wanted.span.chosen,
        groupings=GROUPINGS,
        bases=BASES,
        basis=wanted.basis,
        by=wanted.by[0],
        second=wanted.by[1] if len(wanted.by) > 1 else "",
        names=[NAMES[name] for name in wanted.by],
        is_timed=any(name in TIME_DIMENSIONS for name in wanted.by),
        last_day=wanted.span.end - timedelta(days=1),
        kept=[(name, value) for name, value in request.GET.items() if name not in ("by", "and", "from", "to", "days")],
        chips=[
            Chip(f"{NAMES[name]}: {named.of(name, value)}", _address(request, **{name: None}))
            for name, value in wanted.where.items()
        ],
        # The file holds a whole period: beside filtered figures it would be taken for theirs.
        focus_href="" if wanted.where else f"/spend/focus.csv?{query}",
        left_out=None if wanted.where else left_out(view.report.unpriced, view.report.unpriced_rest),
        more=view.report.row_count - len(view.report.rows),
    )


def _built(wanted: Asked) -> SpendPage:
    try:
        return spend_page(
            start=wanted.span.start, end=wanted.span.end, by=wanted.by, where=wanted.where, basis=wanted.basis
        )
    except ValueError as error:
        raise BadQuery(str(error)) from error


def _address(request: HttpRequest, **changes: str | None) -> str:
    params = {name: value for name, value in request.GET.items() if name not in changes}
    params |= {name: value for name, value in changes.items() if value is not None}
    return f"?{urlencode(params)}" if params else "?"


def _shown(request: HttpRequest, view: SpendPage) -> Shown:
    report = view.report
    per = view.step
    chart = None
    if view.series and any(any(series.usd) for series in view.series):
        tiers = [series.value for series in view.series] if "tier" in report.by else []
        chart = spend_series(view.points, [(series.label, series.usd) for series in view.series], per=per, tiers=tiers)
    bridge, summary = _bridge(view)
    unknown = _without_any_price(report)
    change = None
    if view.has_before and view.before.cost_usd and report.total.cost_usd:
        change = float(report.total.cost_usd / view.before.cost_usd - 1)
    return Shown(
        view=view,
        lines=tuple(_line(request, view, row) for row in report.rows),
        chart=chart,
        chart_summary=_chart_summary(view) if chart else "",
        chart_columns=[per.capitalize(), *(series.label for series in view.series), "Together"],
        chart_rows=[
            [
                datefmt(point),
                *("–" if series.value in unknown else usd(series.usd[n]) for series in view.series),
                usd(sum((series.usd[n] for series in view.series), Decimal(0))),
            ]
            for n, point in reversed(list(enumerate(view.points)))
        ],
        bridge=bridge,
        bridge_summary=summary,
        change_lines=_change_lines(view),
        change=change,
    )


def _without_any_price(report: SpendReport) -> frozenset[str]:
    """Values of the first grouping all of whose usage has no price: what it costs is not known, and no 0."""
    name = report.by[0]
    known = {row.group[name] for row in report.rows if not row.is_unknown}
    return frozenset(row.group[name] for row in report.rows) - known


def _line(request: HttpRequest, view: SpendPage, row: SpendRow) -> Line:
    total = view.report.total.cost_usd
    values = tuple(row.group.values())
    before = view.before_rows.get(values, Decimal(0)) if view.before_rows else None
    return Line(
        names=tuple(
            Named(view.words.of(name, value), view.words.tier(name, value), _drill(request, view, name, value))
            for name, value in row.group.items()
        ),
        row=row,
        share=float(row.cost_usd / total) if total else None,
        tokens=_tokens(row),
        change=float(row.cost_usd / before - 1) if before else None,
        before_usd=before,
    )


def _drill(request: HttpRequest, view: SpendPage, name: str, value: str) -> str:
    """Only this value; what it was grouped by makes room for the next question. Time becomes the period."""
    if name in TIME_DIMENSIONS:
        first, last = _days_of(name, value, view.start, view.end)
        others = [one for one in view.report.by if one != name]
        shown = {"by": others[0] if others else "class", "and": None}
        return _address(request, **{"days": None, "from": f"{first}", "to": f"{last}", **shown})
    changes: dict[str, str | None] = {name: value or NONE}
    if view.report.by[0] == name:
        free = _NEXT.get(name, "model" if "model" not in view.report.where else "month")
        other = view.report.by[1] if len(view.report.by) > 1 else ""
        changes["by"] = other or free
        changes["and"] = None
    elif len(view.report.by) > 1:
        changes["and"] = None
    return _address(request, **changes)


def _days_of(name: str, value: str, start: date, end: date) -> tuple[date, date]:
    """First and last day of a day, week or month, within the period."""
    if name == "day":
        first = date.fromisoformat(value)
        last = first
    elif name == "week":
        first = date.fromisocalendar(int(value[:4]), int(value[-2:]), 1)
        last = first + timedelta(days=6)
    else:
        first = date.fromisoformat(f"{value}-01")
        last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return max(first, start), min(last, end - timedelta(days=1))


def _tokens(row: SpendRow) -> int:
    written = row.cache_write_5m_tok + row.cache_write_1h_tok
    return row.uncached_input_tok + row.cache_read_tok + written + row.output_tok


def _chart_summary(view: SpendPage) -> str:
    whole = [sum((series.usd[n] for series in view.series), Decimal(0)) for n in range(len(view.points))]
    most = max(range(len(whole)), key=lambda n: whole[n])
    named = [series for series in view.series if not series.is_rest]
    said = f"The dearest {view.step} was {datefmt(view.points[most])} with {usd(whole[most])}."
    if len(named) > 1:
        top = max(named, key=lambda series: sum(series.usd))
        said = f"{top.label} cost most. {said}"
    return said


def _bridge(view: SpendPage) -> tuple[charts.Figure | None, str]:
    if view.change is None:
        return None, ""
    found = view.change.total
    parts = [
        Part("Before", round_usd(found.before_usd), total=True),
        Part("Volume", round_usd(found.volume_usd)),
        Part("Mix", round_usd(found.mix_usd)),
        Part("Price", round_usd(found.price_usd)),
        Part("Now", round_usd(found.after_usd), total=True),
    ]
    reasons = [
        ("more tokens" if found.volume_usd > 0 else "fewer tokens", found.volume_usd),
        ("a dearer mix" if found.mix_usd > 0 else "a cheaper mix", found.mix_usd),
        ("higher prices" if found.price_usd > 0 else "lower prices", found.price_usd),
    ]
    said = ", ".join(f"{usd_signed(value)} from {name}" for name, value in reasons if round_usd(value))
    return (
        charts.waterfall(parts, unit="USD", after="current"),
        f"Spend changed by {usd_signed(found.change_usd)}: {said}." if said else "Spend did not change.",
    )


def _change_lines(view: SpendPage) -> tuple[ChangeLine, ...]:
    if view.change is None:
        return ()
    found = []
    for row in (*view.change.rows[:12], view.change.total):
        name = " · ".join(view.words.of(key, value) for key, value in row.group.items()) or "Everything"
        relative = float(row.change_usd / row.before_usd) if row.before_usd else None
        found.append(
            ChangeLine(
                "All" if row is view.change.total else name,
                (
                    usd(row.before_usd),
                    usd(row.after_usd),
                    pct_signed(relative) if relative is not None else "new",
                    usd_signed(row.change_usd),
                    usd_signed(row.volume_usd),
                    usd_signed(row.mix_usd),
                    usd_signed(row.price_usd),
                ),
            )
        )
    return tuple(found)


# ---- Files -------------------------------------------------------------------------------------------------------


@download("spend")
def spend_table(request: HttpRequest) -> Table:
    """All rows of the explorer's question, not only those shown."""
    wanted = asked(request)
    try:
        report = spend_rows(
            start=wanted.span.start, end=wanted.span.end, by=wanted.by, where=wanted.where, basis=wanted.basis
        )
    except ValueError as error:
        raise BadQuery(str(error)) from error
    return spend_rows_table(report, f"spend-{wanted.span.start}-{wanted.span.end - timedelta(days=1)}")


@download("spend-change")
def change_table(request: HttpRequest) -> Table:
    """Why spend changed, exact."""
    wanted = asked(request)
    change = _built(wanted).change
    by = list(change.by) if change is not None else []
    figures = ("before_usd", "after_usd", "change_usd", "volume_usd", "mix_usd", "price_usd")
    rows = [[*row.group.values(), *(getattr(row, name) for name in figures)] for row in (change.rows if change else ())]
    return Table(f"spend-change-{wanted.span.start}", "Why spend changed", [*by, *figures], rows,
                 [*["text"] * len(by), *["usd"] * len(figures)])  # fmt: skip


@require_safe
def focus_file(request: HttpRequest) -> HttpResponseBase:
    """The period as FOCUS 1.2 rows, streamed month by month."""
    only(request, PARAMETERS)
    span = timespan(request, today=today(), default="28")
    return focus_answer(span.start, span.end)


urlpatterns = [
    path("spend/", explorer, name="spend"),
    path("spend/focus.csv", focus_file, name="spend-focus"),
]
