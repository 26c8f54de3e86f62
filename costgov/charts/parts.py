"""What all charts share: styles of tiers and policies, axes, lines, labels.

Colours are names of CSS variables ("--cg-fast"); static/app.js puts in the theme's value when it draws, so that one
figure serves light and dark. Texts hold no markup but <br>: anything else would set a style attribute, which the
content policy refuses.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from billing.core import words

Figure = dict[str, Any]
Value = float | int | Decimal | None

TIER_ORDER = ("frontier", "balanced", "fast", "other")
FONT = "Inter, system-ui, sans-serif"


@dataclass(frozen=True, slots=True)
class TierStyle:
    """How a model tier is drawn: colour and shape, so that neither carries the meaning alone."""

    label: str
    colour: str
    fill: str
    text: str
    symbol: str


@dataclass(frozen=True, slots=True)
class PolicyStyle:
    """How a policy is drawn: grey, ink or accent, and a line style; never a tier's colour."""

    label: str
    colour: str
    fill: str
    text: str
    dash: str


TIERS: dict[str, TierStyle] = {
    "frontier": TierStyle("Frontier", "--cg-fro", "--cg-fro-f", "--cg-fro-t", "diamond"),
    "balanced": TierStyle("Balanced", "--cg-bal", "--cg-bal-f", "--cg-bal-t", "square"),
    "fast": TierStyle("Fast", "--cg-fast", "--cg-fast-f", "--cg-fast-t", "circle"),
    "other": TierStyle("Other", "--cg-oth", "--cg-oth-f", "--cg-oth-t", "triangle-up"),
}
POLICIES: dict[str, PolicyStyle] = {
    "uniform": PolicyStyle("Uniform", "--cg-base", "--cg-base-f", "--cg-base-t", "dot"),
    "current": PolicyStyle("Current policy", "--cg-cur", "--cg-cur-f", "--cg-cur-t", "dash"),
    "optimised": PolicyStyle("Optimised", "--cg-opt", "--cg-opt-f", "--cg-opt-t", "solid"),
}


def tier_style(tier: str | None) -> TierStyle:
    """A model nobody has placed is "other"."""
    return TIERS.get(tier or "other", TIERS["other"])


def num(value: Value) -> float | None:
    """A figure as JSON wants it; None stays None (a gap in the line, never 0)."""
    return None if value is None else float(value)


def nums(values: Sequence[Value]) -> list[float | None]:
    return [num(value) for value in values]


def percent(value: Value) -> float | None:
    """A share as per cent."""
    return None if value is None else float(value) * 100


def days(values: Sequence[date]) -> list[str]:
    return [value.isoformat() for value in values]


def axis(**changes: Any) -> dict[str, Any]:
    return {
        "gridcolor": "--cg-line",
        "linecolor": "--cg-line",
        "zeroline": False,
        "ticks": "",
        "tickfont": {"color": "--cg-mute", "size": 12},
        "automargin": True,
        "ticklabelstandoff": 3,  # the lowest figure of one axis and the first of the other meet in the corner
        **changes,
    }


def axis_title(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 12, "color": "--cg-mute"}, "standoff": 8}


def time_axis(first: date, last: date, **changes: Any) -> dict[str, Any]:
    """Dates between two days, both shown: pages give stacked charts the same two, so that they line up.

    A sliver of room on the right keeps the mark of the last day whole.
    """
    short = (last - first).days <= 62
    end = datetime.combine(last, time.min) + (last - first) * 0.012
    return axis(
        type="date",
        showgrid=False,
        range=[first.isoformat(), end.isoformat(timespec="minutes")],
        tickformat="%-d %b" if short else "%b\n%Y",
        nticks=8,
        hoverformat="%-d %b %Y",
        **changes,
    )


def money_axis(title: str, top: float | None = None, **changes: Any) -> dict[str, Any]:
    """USD. `top`: the largest amount drawn; a few dollars are written with cents, where SI would say $500m for half."""
    cents = top is not None and top < 10
    return axis(tickformat="$,.2f" if cents else "$~s", title=axis_title(title), nticks=6, **changes)


def stacked_top(series: Iterable[Sequence[Value]]) -> float:
    """The highest point of stacked series."""
    return max((sum(float(value or 0) for value in values) for values in zip(*series, strict=True)), default=0.0)


def layout(**changes: Any) -> dict[str, Any]:
    return {
        "font": {"family": FONT, "size": 12, "color": "--cg-ink"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 56, "r": 16, "t": 34, "b": 32},
        "hovermode": "x unified",
        "hoverlabel": {"bgcolor": "--cg-card", "bordercolor": "--cg-line", "font": {"color": "--cg-ink"}},
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.02,
            "yanchor": "bottom",
            "traceorder": "normal",
            "font": {"size": 12, "color": "--cg-ink"},
            "itemwidth": 30,
        },
        "shapes": [],
        "annotations": [],
        **changes,
    }


def figure(data: list[dict[str, Any]], shape: dict[str, Any], narrow: dict[str, Any] | None = None) -> Figure:
    """data, layout, and the layout changes for phones with dotted keys ("margin.l")."""
    return {"data": data, "layout": shape, "narrow": narrow or {}}


def label(text: str, *, size: float = 11.5, colour: str = "--cg-mute", weight: int = 400, **changes: Any) -> Figure:
    return {"text": text, "showarrow": False, "font": {"size": size, "color": colour, "weight": weight}, **changes}


def upright(x: Any, *, colour: str = "--cg-ink", dash: str = "dot", width: float = 1, **changes: Any) -> Figure:
    """A line across the whole height: an activation, a cutoff, a base value."""
    line: Figure = {"color": colour, "width": width, "dash": dash}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line, **changes}


def level(y: float, yref: str = "y", **changes: Any) -> Figure:
    """The line (bar less tolerance) a pass rate is held against."""
    line: Figure = {"color": "--cg-gate", "width": 1.25, "dash": "dash"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": yref, "y0": y, "y1": y, "line": line, **changes}


def activation_marks(
    activations: Sequence[tuple[date, str]], first: date, last: date
) -> tuple[list[Figure], list[Figure]]:
    """Dotted lines where a policy became active, named once at the top; a label past the middle turns left."""
    shown = [(on, text) for on, text in activations if first <= on <= last]
    lines = [upright(on.isoformat()) for on, _ in shown]
    names = []
    for on, text in shown:
        late = (on - first) * 2 > (last - first)
        side: Figure = {"xanchor": "right", "xshift": -5} if late else {"xanchor": "left", "xshift": 5}
        names.append(label(text, x=on.isoformat(), y=1, yref="paper", yanchor="top", **side))
    return lines, names


def trailing_mean(values: Sequence[Value], window: int = 7) -> list[float | None]:
    """Mean of the known values of the last `window` days; None where none is known."""
    out: list[float | None] = []
    for end in range(1, len(values) + 1):
        known = [float(v) for v in values[max(0, end - window) : end] if v is not None]
        out.append(sum(known) / len(known) if known else None)
    return out


def error_bars(values: Sequence[Value], lows: Sequence[Value], highs: Sequence[Value]) -> dict[str, Any]:
    """An interval as plotly's distances from the value, in per cent; 0 where there is no interval."""
    up = [0.0 if v is None or h is None else (float(h) - float(v)) * 100 for v, h in zip(values, highs, strict=True)]
    down = [0.0 if v is None or w is None else (float(v) - float(w)) * 100 for v, w in zip(values, lows, strict=True)]
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down}


def rate_range(values: Sequence[Value], top: float = 101.0) -> list[float]:
    """A per-cent axis that holds all values, from the next 5 % below; never cut at the lowest whisker."""
    known = [float(value) * 100 for value in values if value is not None]
    low = min(known, default=80.0) - 1
    return [max(-1.0, low // 5 * 5), top]


def usd_text(value: Value, places: int = 2) -> str:
    """−$1,234.56 inside a chart."""
    if value is None:
        return "–"
    return words.usd(value, places)


def usd_step(value: Value) -> str:
    """+$1,234.56, −$1,234.56, $0.00: a step of a sum inside a chart."""
    return f"+{usd_text(value)}" if (num(value) or 0.0) > 0 else usd_text(value)


def usd_brief(value: Value) -> str:
    """$1.78 M, $12.4 k, $640."""
    if value is None:
        return "–"
    exact = words.exactly(value)
    if abs(exact) >= 999_500:
        return words.signed(exact / 10**6, 2, "$", " M")
    return words.signed(exact / 10**3, 1, "$", " k") if abs(exact) >= Decimal("999.5") else words.usd(exact)
