"""Component tags: icon, tier mark, status, whisker, chart, note. Everything is escaped; nothing writes a style."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import template
from django.forms import BoundField, CheckboxInput, CheckboxSelectMultiple, RadioSelect, Select
from django.http import QueryDict
from django.templatetags.static import static
from django.utils.html import conditional_escape, format_html, format_html_join, json_script
from django.utils.safestring import SafeString

from costgov.templatetags.costgov_format import UNKNOWN, integer, pct, pct_signed, points, points_signed

register = template.Library()

SPRITE = "vendor/tabler-icons-3.52.0/sprite.svg"
TIERS = ("frontier", "balanced", "fast", "other")
_TIER_SHAPE = {
    "frontier": '<path d="M6 0.4 11.6 6 6 11.6 0.4 6Z"/>',
    "balanced": '<path d="M1.2 1.2h9.6v9.6H1.2Z"/>',
    "fast": '<path d="M6 .8a5.2 5.2 0 1 1 0 10.4A5.2 5.2 0 0 1 6 .8Z"/>',
    "other": '<path d="M6 .8 11.6 11H.4Z"/>',
}


@dataclass(frozen=True, slots=True)
class NavEntry:
    """An entry of the menu. `begins` opens a group: a line is drawn above it."""

    key: str
    label: str
    href: str
    icon: str
    begins: bool = False


NAVIGATION = (
    NavEntry("overview", "Overview", "/", "layout-dashboard"),
    NavEntry("spend", "Spend", "/spend/", "coins"),
    NavEntry("classes", "Classes", "/classes/", "category"),
    NavEntry("evals", "Evals", "/evals/", "clipboard-check"),
    NavEntry("policies", "Policies", "/policies/", "route"),
    NavEntry("savings", "Savings", "/savings/", "trending-down"),
    NavEntry("invoices", "Invoices", "/invoices/", "file-invoice", begins=True),
    NavEntry("prices", "Prices", "/prices/", "tags"),
    NavEntry("forecast", "Forecast", "/forecast/", "chart-line"),
    NavEntry("commitments", "Commitments", "/commitments/", "contract"),
    NavEntry("imports", "Imports", "/imports/", "database-import", begins=True),
    NavEntry("data-health", "Data health", "/data-health/", "shield-check"),
    NavEntry("audit", "Audit", "/audit/", "history"),
    NavEntry("api", "API", "/api/v1/schema/", "code"),
)


@register.simple_tag
def nav_entries() -> tuple[NavEntry, ...]:
    return NAVIGATION


@register.filter
def initials(name: str) -> str:
    """priya.nair → PN."""
    parts = [part for part in str(name).replace(".", " ").replace("_", " ").replace("-", " ").split() if part]
    return "".join(part[0] for part in parts[:2]).upper() or "?"


@register.simple_tag
def icon(name: str, label: str = "", small: bool = False) -> SafeString:
    """An icon of the sprite. Decorative unless `label` is given."""
    size = "i i-s" if small else "i"
    if label:
        return format_html(
            '<svg class="{}" role="img" aria-label="{}"><use href="{}#{}"/></svg>', size, label, static(SPRITE), name
        )
    return format_html('<svg class="{}" aria-hidden="true"><use href="{}#{}"/></svg>', size, static(SPRITE), name)


@register.simple_tag
def tier_mark(tier: str | None, label: str = "") -> SafeString:
    """Shape and colour of a model tier, then `label` (a model's name) or the tier's own name."""
    known = tier if tier in _TIER_SHAPE else "other"
    shape = SafeString(_TIER_SHAPE[known])
    return format_html(
        '<span class="tier" title="{} tier"><svg class="t-{}" viewBox="0 0 12 12" aria-hidden="true">{}</svg>'
        "<span>{}{}</span></span>",
        known.capitalize(),
        known,
        shape,
        label or known.capitalize(),
        format_html('<span class="visually-hidden"> ({} tier)</span>', known) if label else "",
    )


# ---- Status ------------------------------------------------------------------------------------------------------

_STATUS: dict[str, tuple[str, str, str]] = {  # value: (words, icon, colour)
    "clears": ("Clears the bar", "circle-check", "good"),
    "falls_short": ("Below the bar", "alert-triangle", "bad"),
    "not_enough_evidence": ("Not enough evidence", "circle-dashed", "warn"),
    "no_evidence": ("No evidence", "circle-dashed", "none"),
    "draft": ("Draft", "edit", "none"),
    "in_review": ("Waiting for approval", "clock", "warn"),
    "approved": ("Approved", "circle-check", "good"),
    "scheduled": ("Scheduled", "calendar-event", "info"),
    "active": ("Active", "circle-check", "good"),
    "rejected": ("Rejected", "circle-x", "bad"),
    "cancelled": ("Cancelled", "ban", "none"),
    "deleted": ("Deleted", "trash", "none"),
    "suspended": ("Suspended", "player-pause", "warn"),
    "superseded": ("Superseded", "history", "none"),
    "queued": ("Queued", "clock", "none"),
    "running": ("Running", "loader-2", "info"),
    "done": ("Done", "circle-check", "good"),
    "succeeded": ("Done", "circle-check", "good"),
    "failed": ("Failed", "alert-triangle", "bad"),
    "unchanged": ("Nothing new", "circle-check", "none"),
    "waiting": ("Waiting", "clock", "warn"),
}


@register.simple_tag
def status(value: str, text: str = "", icon_name: str = "", tone: str = "") -> SafeString:
    """A pill: icon + word + colour. Known values have their words; `text`, `icon_name`, `tone` say otherwise."""
    words, name, colour = _STATUS.get(value, (str(value).replace("_", " ").capitalize(), "circle-dashed", "none"))
    return format_html(
        '<span class="status status-{}">{}{}</span>', tone or colour, icon(icon_name or name), text or words
    )


@register.simple_tag
def verdict(value: str | None, more_cases: int | None = None, stale: bool = False) -> SafeString:
    """Where a class stands against its bar; "Not enough evidence · 154 more cases"; Stale is added, not instead."""
    known = value or "no_evidence"
    words = _STATUS[known][0] if known in _STATUS else ""
    if known == "not_enough_evidence" and more_cases is not None:
        words = f"{words} · {integer(more_cases)} more {'case' if more_cases == 1 else 'cases'}"
    pill = status(known, words)
    if not stale:
        return pill
    return format_html('<span class="statuses">{}{}</span>', pill, status("stale", "Stale", "hourglass", "warn"))


# ---- Whisker -----------------------------------------------------------------------------------------------------


def whisker_scale(values: Sequence[float | None], step: float = 0.05) -> tuple[float, float]:
    """An axis (low, high) that holds all values, on round steps: give it to every row of one table."""
    known = [float(value) for value in values if value is not None]
    low = min(known, default=0.8) - step / 5
    return max(0.0, int(low / step) * step), 1.0


@register.simple_tag
def whisker(
    lower: Any,
    value: Any,
    upper: Any,
    line: Any = None,
    low: Any = 0.5,
    high: Any = 1.0,
    width: int = 150,
    tier: str = "",
) -> SafeString:
    """Interval, estimate and line as inline SVG on the axis [low, high]; all are shares. Empty without evidence."""
    if lower is None or upper is None:
        return format_html('<span class="mute">{}</span>', UNKNOWN)
    said = f"{pct(value)}, interval {pct(lower)} to {pct(upper)}"
    if line is not None:
        said = f"{said}, must reach {pct(line)}"
    return _whisker((lower, value, upper), line, (float(low), float(high)), width, tier, said)


def difference_scale(values: Sequence[float | None], step: float = 0.05) -> tuple[float, float]:
    """An axis (low, high) around 0 that holds all differences, on round steps."""
    known = [float(value) for value in values if value is not None]
    low, high = min([*known, -step]), max([*known, step])
    return max(-1.0, -step * math.ceil(-low / step)), min(1.0, step * math.ceil(high / step))


@register.simple_tag
def difference_whisker(
    lower: float, value: float | None, upper: float, margin: float, low: float, high: float, width: int = 150,
    tier: str = "",
) -> SafeString:  # fmt: skip
    """Interval and estimate of a difference to what serves; the line is the most it may be worse. Shares on an axis."""
    said = (
        f"{points_signed(value)} to what serves, interval {points_signed(lower)} to {points_signed(upper)}, "
        f"may be {points(margin)} below it at most"
    )
    return _whisker((lower, value, upper), -margin, (low, high), width, tier, said, middle=0.0)


def _whisker(
    bounds: tuple[Any, Any, Any], line: Any, axis: tuple[float, float], width: int, tier: str, said: str,
    *, middle: float | None = None,
) -> SafeString:  # fmt: skip
    lower, value, upper = bounds
    height, centre, pad = 22, 11, 7
    axis_low, axis_high = axis

    def x(share: Any) -> str:
        inside = min(max((float(share) - axis_low) / ((axis_high - axis_low) or 1.0), 0.0), 1.0)
        return f"{pad + inside * (width - 2 * pad):.1f}"

    parts = [format_html('<path class="wa" d="M{} {}H{}"/>', pad, centre, width - pad)]
    if middle is not None:  # where both are alike
        parts.append(format_html('<path class="wa" d="M{0} 5V17"/>', x(middle)))
    if line is not None:
        shown = float(x(line))
        parts.append(
            format_html(
                '<rect class="wb" x="{0}" y="3" width="{1}" height="16"/><path class="wg" d="M{0} 2V20"/>',
                x(line),
                f"{max(width - pad - shown, 0.0):.1f}",
            )
        )
    parts.append(
        format_html('<path class="wl" d="M{0} {2}H{1}M{0} 7V15M{1} 7V15" fill="none"/>', x(lower), x(upper), centre)
    )
    if value is not None:
        parts.append(_mark(tier, float(x(value)), centre))
    return format_html(
        '<svg class="whisk" width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="img" aria-label="{2}">'
        "<title>{2}</title>{3}</svg>",
        width,
        height,
        said,
        SafeString("".join(parts)),
    )


def _mark(tier: str, x: float, y: float) -> SafeString:
    """The estimate: a dot in ink, or the tier's shape and colour."""
    if tier not in _TIER_SHAPE:
        return format_html('<circle class="wp" cx="{}" cy="{}" r="4"/>', f"{x:.1f}", y)
    return format_html(
        '<g class="t-{}" transform="translate({} {}) scale(.85)">{}</g>',
        tier,
        f"{x - 5.1:.1f}",
        f"{y - 5.1:.1f}",
        SafeString(_TIER_SHAPE[tier]),
    )


# ---- Small parts -------------------------------------------------------------------------------------------------

_NOTE = {
    "info": ("info-circle", "Note"),
    "success": ("circle-check", "Done"),
    "good": ("circle-check", "Good"),
    "warning": ("alert-triangle", "Careful"),
    "warn": ("alert-triangle", "Careful"),
    "error": ("circle-x", "Not done"),
    "bad": ("circle-x", "Not done"),
    "debug": ("info-circle", "Note"),
}
_TONE = {"success": "good", "warning": "warn", "error": "bad", "debug": "info"}


@register.simple_tag
def note(text: Any, level: str = "info", word: bool = False) -> SafeString:
    """One remark: icon (+ word) + text. Levels as Django's messages."""
    name, said = _NOTE.get(level, _NOTE["info"])
    lead = format_html('<span class="n-word">{}.</span> ', said) if word else ""
    return format_html('<div class="note note-{}">{}<p>{}{}</p></div>', _TONE.get(level, level), icon(name), lead, text)


@register.simple_tag
def figure_json(figure: dict[str, Any], element_id: str) -> SafeString:
    """The data element a chart reads."""
    return json_script(figure, element_id)


@register.inclusion_tag("components/_chart.html")
def chart(figure: dict[str, Any] | None, name: str, summary: str, size: str = "", empty: str = "") -> dict[str, Any]:
    """A chart: drawing, a sentence that says the same, and its data. No figure → a sentence why (`empty`)."""
    return {
        "figure": figure,
        "name": name,
        "data_id": f"figure-{name}",
        "summary": summary,
        "size": f"chart-{size}" if size else "",
        "empty": empty,
    }


@register.simple_tag
def data_body(rows: Sequence[Sequence[Any]]) -> SafeString:
    """Rows of the table of a chart. Written here because a template takes ten times as long for hundreds of cells."""
    lines = []
    for row in rows:
        cells = [conditional_escape(UNKNOWN if cell is None or cell == "" else cell) for cell in row]
        values = "".join(f'<td class="num">{cell}</td>' for cell in cells[1:])
        lines.append(f'<tr><th scope="row">{cells[0]}</th>{values}</tr>' if cells else "<tr></tr>")
    return SafeString("".join(lines))


@register.simple_tag
def spark(values: Sequence[float | None]) -> SafeString:
    """A line without axes, for a KPI card whose text says what it shows."""
    known = [(i, float(v)) for i, v in enumerate(values) if v is not None]
    if len(known) < 2:
        return SafeString("")
    low, high = min(v for _, v in known), max(v for _, v in known)
    span, last = (high - low) or 1.0, max(len(values) - 1, 1)
    xy = format_html_join(
        " ", "{},{}", ((f"{100 * i / last:.2f}", f"{28 - 26 * (v - low) / span:.2f}") for i, v in known)
    )
    return format_html(
        '<svg class="spark" viewBox="0 0 100 30" preserveAspectRatio="none" aria-hidden="true">'
        '<polyline points="{}"/></svg>',
        xy,
    )


@register.simple_tag
def rows_sum(rows: Sequence[Any], name: str) -> Any:
    """Sum of one field over rows; None if any is unknown (a sum with a hole is not a sum)."""
    values = [getattr(row, name, None) for row in rows]
    return None if any(value is None for value in values) else sum(values)


@register.simple_tag(takes_context=True)
def query(context: dict[str, Any], **changes: Any) -> str:
    """The address's query string with some parameters changed (None removes): the URL is the state."""
    request = context.get("request")
    params = request.GET.copy() if request is not None else QueryDict(mutable=True)
    for key, value in changes.items():
        if value is None:
            params.pop(key, None)
        else:
            params[key] = str(value)
    return f"?{params.urlencode()}" if params else "?"


@register.simple_tag(takes_context=True)
def query_param(context: dict[str, Any], name: str, value: Any) -> str:
    """`query` for a parameter whose name is a variable."""
    return query(context, **{name: value})


@register.simple_tag(takes_context=True)
def query_param_only(context: dict[str, Any], name: str, value: Any, *removed: str) -> str:
    """`query_param` that also drops parameters the new one replaces."""
    return query(context, **{**dict.fromkeys(removed), name: value})


@register.simple_tag
def trend(change: float | None) -> SafeString:
    """A relative change of cost: arrow and signed per cent, so that colour does not carry it alone."""
    if change is None:
        return SafeString(UNKNOWN)
    if not change:
        return format_html("{}", pct_signed(change))
    css, name = ("up", "arrow-up-right") if change > 0 else ("down", "arrow-down-right")
    return format_html('<span class="nowrap {}">{}{}</span>', css, icon(name, small=True), pct_signed(change))


@register.simple_tag
def change_text(change: float | None, against: str) -> SafeString:
    """ "↘ 11.8% less than October"; nothing where the change is unknown."""
    if change is None:
        return SafeString("")
    if not change:
        return format_html("The same as {}", against)
    css, name, word = ("up", "arrow-up-right", "more") if change > 0 else ("down", "arrow-down-right", "less")
    said = pct(abs(change))
    return format_html('<span class="{}">{}{} {}</span> than {}', css, icon(name, small=True), said, word, against)


@register.filter
def unlocalized(value: Any) -> str:
    """A number as HTML attributes want it: no grouping, a point."""
    return str(value)


@register.simple_tag
def control(field: BoundField) -> SafeString:
    """The field's control with our classes, and its hint and errors tied to it for screen readers."""
    widget = field.field.widget
    attrs: dict[str, str | bool] = {}
    if not isinstance(widget, CheckboxInput | CheckboxSelectMultiple | RadioSelect):
        css = "form-select" if isinstance(widget, Select) else "form-control"
        attrs["class"] = f"{widget.attrs.get('class', '')} {css}{' is-invalid' if field.errors else ''}".strip()
    described = [f"{field.auto_id}-hint"] if field.help_text else []
    described += [f"{field.auto_id}-error-{n}" for n, _ in enumerate(field.errors, 1)]
    if described:
        attrs["aria-describedby"] = " ".join(described)
    if field.errors:
        attrs["aria-invalid"] = "true"
    return field.as_widget(attrs=attrs)
