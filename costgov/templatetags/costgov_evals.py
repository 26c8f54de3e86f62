"""A cell of the eval matrix: written here because hundreds of them in a template take ten times as long."""

from django import template
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from costgov.queries.evals import Judged, JudgedClass, MatrixModel
from costgov.templatetags.costgov_format import integer, pct
from costgov.templatetags.costgov_ui import status, verdict, whisker

register = template.Library()
_WIDTH = 120
VERDICT_WORDS = {
    "clears": "Clears the bar",
    "falls_short": "Below the bar",
    "not_enough_evidence": "Not enough evidence",
    "no_evidence": "No evidence",
    "stale": "Stale evidence",
}


def matrix_cell(row: JudgedClass, column: MatrixModel, cell: Judged | None, axis: tuple[float, float]) -> SafeString:
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
        _figures(cell, axis) if cell.cases else "",
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


def _figures(cell: Judged, axis: tuple[float, float]) -> SafeString:
    drawn = SafeString("")
    if cell.lower is not None:
        low, high = axis
        drawn = whisker(cell.lower, cell.pass_rate, cell.upper, cell.line, low, high, _WIDTH, cell.tier)
    more = f" · {integer(cell.cases_needed)} more" if cell.cases_needed else ""
    return format_html(
        '<span class="cell-w">{}</span><span class="sub tnum">{} · n {}{}</span>',
        drawn,
        pct(cell.pass_rate),
        integer(cell.cases),
        more,
    )


@register.simple_tag
def verdict_words(value: str) -> str:
    """The words of a verdict, without icon: for the options of a list."""
    return VERDICT_WORDS.get(value, value)
