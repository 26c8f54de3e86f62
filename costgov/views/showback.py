"""Showback: what each cost centre carries in a month, to read, print and send."""

from collections.abc import Iterator
from datetime import date

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.http import require_safe

from billing.exports.cells import Cell
from billing.exports.tables import Table
from billing.queries.books import LIST
from costgov.downloads import download
from costgov.pages import BadQuery, cached, choice, page, today
from costgov.queries.showback import Showback, months_with_usage, showback
from costgov.timespan import only
from costgov.views.spend import BASES

LINES = 8


def _asked(request: HttpRequest) -> Showback:
    """?month=2026-10 (default: the last whole month with usage) and ?basis=. Raises BadQuery."""
    only(request, ("month", "basis"))
    basis = choice(request, "basis", [value for value, _ in BASES], LIST)
    text = request.GET.get("month", "")
    try:
        month = date.fromisoformat(f"{text}-01") if text else _usual()
    except ValueError as error:
        raise BadQuery(f"?month={text} is not a month; write it as 2026-11.") from error
    if month >= today():
        raise BadQuery(f"?month={text} has not begun yet.")
    return cached(
        "showback",
        lambda: showback(month=month, as_of=today(), basis=basis),
        month=month,
        today=today(),
        basis=basis,
    )


def _usual() -> date:
    held = months_with_usage()
    this = today().replace(day=1)
    return next((month for month in held if month < this), held[0] if held else this.replace(day=1))


@require_safe
def statements(request: HttpRequest) -> HttpResponse:
    """The statement of one month."""
    value = _asked(request)
    return page(
        request,
        "costgov/showback.html",
        {"view": value},
        nav="spend",
        bases=BASES,
        months=[(f"{month:%Y-%m}", f"{month:%b %Y}") for month in value.months],
        month=f"{value.start:%Y-%m}",
        lines_shown=LINES,
    )


@download("showback")
def showback_table(request: HttpRequest) -> Table:
    """Every line of every statement, exact."""
    value = _asked(request)
    named = value.words

    def rows() -> Iterator[list[Cell]]:
        for one in value.statements:
            for line in one.lines:
                yield [
                    f"{value.start:%Y-%m}", one.code or "(unallocated)", one.name, one.team, one.owner,
                    line.request_class, named.of("class", line.request_class), line.model, line.cost_usd,
                    line.requests, line.unpriced_tok,
                ]  # fmt: skip

    return Table(
        f"showback-{value.start:%Y-%m}",
        f"Showback {value.start:%Y-%m}",
        ["month", "cost_centre", "name", "team", "owner", "class", "class_name", "model", "cost_usd", "requests",
         "unpriced_tok"],
        rows(),
        [*["text"] * 8, "usd", "count", "count"],
    )  # fmt: skip


urlpatterns = [path("spend/showback/", statements, name="showback")]
