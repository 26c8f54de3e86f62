"""A cell of the eval matrix: written here because hundreds of them in a template take ten times as long."""

from collections.abc import Iterable
from dataclasses import dataclass

from django import template
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from costgov.queries.evals import Judged, JudgedClass, MatrixModel
from costgov.templatetags.costgov_format import integer, pct, points_signed
from costgov.templatetags.costgov_ui import (
    difference_scale,
    difference_whisker,
    status,
    verdict,
    whisker,
    whisker_scale,
)

register = template.Library()
_WIDTH = 120
VERDICT_WORDS = {
    "clears": "Clears the bar",
    "falls_short": "Below the bar",
    "not_enough_evidence": "Not enough evidence",
    "no_evidence": "No evidence",
    "stale": "Stale evidence",
}


@dataclass(frozen=True, slots=True)
class MatrixAxes:
    """The axes (low, high) all whiskers of a matrix share: of pass rates, and of differences to what serves."""

    rates: tuple[float, float]
    differences: tuple[float, float]


def matrix_axes(rows: Iterable[JudgedClass]) -> MatrixAxes:
    """Axes that hold the interval and the line of every verdict."""
    judged = [cell for row in rows for cell in row.models if cell.cases]
    pairs = [cell.paired for cell in judged if cell.paired is not None and cell.paired.difference is not None]
    return MatrixAxes(
        whisker_scale([bound for cell in judged for bound in (cell.lower, cell.pass_rate, cell.line)]),
        difference_scale([bound for found in pairs for bound in (found.lower, found.upper, -found.margin, 0.0)]),
    )


def matrix_cell(row: JudgedClass, column: MatrixModel, cell: Judged | None, axes: MatrixAxes) -> SafeString:
    """Verdict as icon and word, interval with the line, pass rate, cases, what is missing; a link to what is behind."""
    if cell is None:
        return SafeString('<td class="no-case"><span aria-hidden="true">–</span>'
                          '<span class="visually-hidden">no case run</span></td>')  # fmt: skip
    inner = format_html(
        '<span class="visually-hidden">{} on {}: </span>{}{}{}{}{}',
        cell.name,
        row.title,
        status("not_enough_evidence", "Not enough evidence")
        if cell.shown_status == "not_enough_evidence"
        else verdict(cell.shown_status),
        SafeString('<span class="sub">by live samples; evals stay as shown</span>') if cell.alarm else "",
        status("stale", "Stale", "hourglass", "warn") if cell.stale else "",
        _figures(cell, axes) if cell.cases else "",
        SafeString('<span class="sub">serves now</span>') if cell.serves else "",
    )
    href = runs_href(row.slug, column.model)
    link = format_html('<a class="cell" href="{}">{}</a>', href, inner) if href else inner
    return format_html(
        '<td data-l="{}"{}>{}</td>', column.name, SafeString(' class="now"' if cell.serves else ""), link
    )


@register.simple_tag
def runs_href(slug: str, model: str) -> str:
    """Where the evidence on a model for a class is shown; '' for a model without a name."""
    try:
        return reverse("eval-runs", args=[slug, model])
    except NoReverseMatch:
        return ""


def _figures(cell: Judged, axes: MatrixAxes) -> SafeString:
    """What the verdict rests on: the rate against the line, or the difference to what serves against the margin."""
    more = f" · {integer(cell.cases_needed)} more" if cell.cases_needed else ""
    found = cell.paired if cell.paired is not None and cell.paired.difference is not None else None
    if cell.standard == "not_worse" and found is not None:
        drawn = difference_whisker(
            found.lower, found.difference, found.upper, found.margin, *axes.differences, _WIDTH, cell.tier
        )
        said = f"{points_signed(found.difference)} · n {integer(found.cases)}{more}"
        return format_html(
            '<span class="cell-w">{}</span><span class="sub tnum">{}</span><span class="sub tnum">{} passed</span>',
            drawn, said, pct(cell.pass_rate),
        )  # fmt: skip
    drawn = SafeString("")
    if cell.lower is not None:
        drawn = whisker(cell.lower, cell.pass_rate, cell.upper, cell.line, *axes.rates, _WIDTH, cell.tier)
    compared = SafeString("")
    if found is not None:
        compared = format_html('<span class="sub tnum">{} to what serves</span>', points_signed(found.difference))
    return format_html(
        '<span class="cell-w">{}</span><span class="sub tnum">{} · n {}{}</span>{}',
        drawn, pct(cell.pass_rate), integer(cell.cases), more, compared,
    )  # fmt: skip


@register.simple_tag
def verdict_words(value: str) -> str:
    """The words of a verdict, without icon: for the options of a list."""
    return VERDICT_WORDS.get(value, value)
