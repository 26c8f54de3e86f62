"""Drawings of the class page: the axis above a column of whiskers, and a lever's measured share on its scale."""

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from billing.core.words import signed
from costgov.templatetags.costgov_format import pct

register = template.Library()
_PAD = 7  # as the whisker's, so that the marks line up


@register.simple_tag
def whisker_axis(low: float, high: float, width: int = 250, unit: str = "%") -> SafeString:
    """Ticks of the axis that the whiskers below share: per cent, or points of a difference ("points")."""
    span = high - low
    step = next((step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if span / step <= width / 50), 0.25)
    first = -(-low // step) * step
    ticks = [first + step * n for n in range(int((high - first) / step + 1e-9) + 1)]
    marks = format_html_join(
        "",
        '<text x="{}" y="11" text-anchor="{}">{}</text>',
        (
            (
                f"{_PAD + (tick - low) / (span or 1) * (width - 2 * _PAD):.1f}",
                _anchor(tick, low, high),
                _tick(tick, unit),
            )
            for tick in ticks
        ),
    )
    return format_html(
        '<svg class="whisk" width="{0}" height="14" viewBox="0 0 {0} 14" aria-hidden="true">{1}</svg>', width, marks
    )


def _tick(share: float, unit: str) -> str:
    return pct(share, 0) if unit == "%" else signed(100 * share, 0, plus=round(100 * share) > 0)


def _anchor(tick: float, low: float, high: float) -> str:
    if tick - low < (high - low) * 0.04:
        return "start"
    return "end" if high - tick < (high - low) * 0.04 else "middle"


@register.simple_tag
def lever_scale(name: str, measured: float | None, break_even: float | None, word: str = "measured") -> SafeString:
    """A share from 0 to 100 %: green where the lever pays, a dot where the class is."""
    width, top, pad = 222, 24, 8
    if measured is None:
        return format_html('<span class="mute">{}</span>', "Not used")

    def x(share: float) -> float:
        return round(pad + min(max(share, 0.0), 1.0) * (width - 2 * pad), 1)

    parts = [format_html('<path class="lv-t" d="M{} {}H{}"/>', pad, top, width - pad)]
    start = x(break_even) if break_even is not None else pad
    if break_even is None or break_even < 1:
        parts.append(format_html('<path class="lv-g" d="M{} {}H{}"/>', start, top, width - pad))
    said = f"{name}: {word} {pct(measured)}"
    if break_even is not None:
        parts.append(format_html('<path class="wg" d="M{0} 14V34"/>', start))
        side = "end" if start > width / 2 else "start"
        words = f"pays above {pct(break_even, 0)}" if break_even < 1 else "never pays"
        parts.append(format_html('<text class="lv-b" x="{}" y="45" text-anchor="{}">{}</text>', start, side, words))
        said = f"{said}, {words}"
    at = x(measured)
    parts.append(format_html('<circle class="wp" cx="{}" cy="{}" r="5.5"/>', at, top))
    label_at = min(max(at, pad + 36), width - pad - 36)
    parts.append(format_html('<text x="{}" y="11" text-anchor="middle">{} {}</text>', label_at, word, pct(measured, 0)))
    return format_html(
        '<svg class="whisk" width="{0}" height="48" viewBox="0 0 {0} 48" role="img" aria-label="{1}">{2}</svg>',
        width,
        said,
        SafeString("".join(parts)),
    )
