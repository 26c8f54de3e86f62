"""Spend by tier, quality by tier, and what a saving is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from textwrap import wrap

from billing.core import words
from costgov.charts.parts import (
    POLICIES,
    TIER_ORDER,
    TIERS,
    Figure,
    Value,
    activation_marks,
    axis,
    axis_title,
    days,
    error_bars,
    figure,
    label,
    layout,
    level,
    money_axis,
    num,
    percent,
    rate_range,
    stacked_top,
    tier_style,
    time_axis,
    trailing_mean,
    usd_brief,
    usd_step,
    usd_text,
)

Activation = tuple[date, str]


@dataclass(frozen=True, slots=True)
class RatePoint:
    """A pass rate with its interval at a day; shares. None = not measured. `line`: where it differs from day to day."""

    on: date
    value: Value
    low: Value
    high: Value
    cases: int | None = None
    line: Value = None


@dataclass(frozen=True, slots=True)
class TierQuality:
    """A panel. `note` stands beside its name, e.g. how much of the tier's requests the evidence covers."""

    tier: str
    line: Value
    points: Sequence[RatePoint]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A step of a sum in USD; a total stands on the axis and restarts the sum."""

    label: str
    usd: Value
    total: bool = False


def spend_by_tier(
    dates: Sequence[date],
    series: Mapping[str, Sequence[Value]],
    activations: Sequence[Activation] = (),
    *,
    window: int = 7,
) -> Figure:
    """Stacked spend a day by model tier: `window`-day trailing mean drawn, the day's own figure on hover."""
    data: list[Figure] = []
    for tier in reversed([tier for tier in TIER_ORDER if any(series.get(tier, ()))]):
        style = TIERS[tier]
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": style.label,
                "x": days(dates),
                "y": trailing_mean(series[tier], window),
                "customdata": [usd_text(value) for value in series[tier]],
                "stackgroup": "spend",
                "line": {"width": 1.25, "color": style.colour},
                "fillcolor": style.fill,
                "hovertemplate": "%{customdata}" if window <= 1 else "%{customdata} (mean %{y:$,.0f})",
            }
        )
    lines, names = activation_marks(activations, dates[0], dates[-1]) if dates else ([], [])
    shape = layout(
        xaxis=time_axis(dates[0], dates[-1]) if dates else axis(),
        yaxis=money_axis("USD per day", stacked_top(series.values()), rangemode="tozero"),
        shapes=lines,
        annotations=names,
    )
    lowered = {f"annotations.{i}.yshift": -13 for i, _ in enumerate(names) if i % 2}
    return figure(data, shape, {"yaxis.title.text": "", "margin.l": 44, "xaxis.nticks": 5, **lowered})


def quality_panels(
    tiers: Sequence[TierQuality], first: date, last: date, activations: Sequence[Activation] = ()
) -> Figure:
    """Pass rate by week, one panel per tier with its own line; `first`–`last` as the spend chart beside it."""
    panels = sorted(tiers, key=lambda panel: TIER_ORDER.index(panel.tier) if panel.tier in TIER_ORDER else 9)
    lines, names = activation_marks(activations, first, last)
    shape = layout(showlegend=False, hovermode="x unified", shapes=lines)
    shape["margin"]["t"] = 22
    gap = 0.09
    height = (1 - gap * (len(panels) - 1)) / max(len(panels), 1)
    data: list[Figure] = []
    for index, panel in enumerate(panels):
        style, key = tier_style(panel.tier), str(index + 1) if index else ""
        top = 1 - index * (height + gap)
        values = [p.value for p in panel.points]
        lows, highs = [p.low for p in panel.points], [p.high for p in panel.points]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": style.label,
                "x": days([p.on for p in panel.points]),
                "y": [percent(value) for value in values],
                "yaxis": f"y{key}",
                "customdata": [
                    ""
                    if p.low is None or p.high is None
                    else f"{words.percent(p.low)}–{words.percent(p.high)}, n {p.cases or '–'}"
                    for p in panel.points
                ],
                "line": {"width": 1.25, "color": style.colour},
                "marker": {"symbol": style.symbol, "size": 7, "color": style.colour},
                "error_y": {**error_bars(values, lows, highs), "width": 2.5, "thickness": 1.2, "color": style.colour},
                "hovertemplate": "%{y:.1f}% (%{customdata})",
            }
        )
        marks = [p.line for p in panel.points]
        bounds = rate_range([*values, *lows, *marks, panel.line])
        title = axis_title("Answers that passed") if index == len(panels) // 2 else axis_title("")
        shape[f"yaxis{key}"] = axis(
            domain=[max(0.0, top - height), top], ticksuffix="%", range=bounds, nticks=4, title=title
        )
        if any(mark is not None for mark in marks):
            data.append(moving_line(panel.points, f"y{key}"))
        elif panel.line is not None:
            shape["shapes"].append(level(float(panel.line) * 100, f"y{key}"))
        at: Figure = {
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "xshift": 4,
            "y": top,
            "yref": "paper",
            "yanchor": "bottom",
        }
        said = style.label if panel.line is None else f"{style.label}, line {words.percent(panel.line)}"
        said = f"{said} · {panel.note}" if panel.note else said
        shape["annotations"].append(
            label(said, size=12, weight=600, colour=style.text, yshift=-2, bgcolor="--cg-card", **at)
        )
    shape["xaxis"] = time_axis(first, last, anchor=f"y{len(panels)}" if len(panels) > 1 else "y")
    shape["annotations"] += [{**name, "yanchor": "bottom", "yshift": 1} for name in names]
    # On phones the spend chart above names the activations; here only their lines fit.
    narrow: Figure = {"margin.l": 44, "xaxis.nticks": 5}
    narrow |= {f"annotations.{len(panels) + i}.text": "" for i, _ in enumerate(names)}
    narrow |= {f"yaxis{i + 1 if i else ''}.title.text": "" for i, _ in enumerate(panels)}
    for index, panel in enumerate(panels):
        if panel.note:  # no room for the line's figure, which is drawn
            narrow[f"annotations.{index}.text"] = f"{tier_style(panel.tier).label} · {panel.note}"
            narrow[f"annotations.{index}.font.size"] = 11
    return figure(data, shape, narrow)


def moving_line(points: Sequence[RatePoint], yaxis: str) -> Figure:
    """A line that moves: a bar was changed, or classes with other bars take more of a tier's requests."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "Line",
        "x": days([p.on for p in points]),
        "y": [percent(p.line) for p in points],
        "yaxis": yaxis,
        "line": {"width": 1.25, "color": "--cg-gate", "dash": "dash", "shape": "hvh"},
        "hovertemplate": "%{y:.1f}%",
    }


def _narrow_name(label: str) -> str:
    """A step's name in lines of nine letters: wider ones are turned on a phone, and the last is then left out."""
    lines = "<br>".join(wrap(label, 9, break_long_words=False))
    return lines.replace("Recommended", "Recom-<br>mended")


def waterfall(parts: Sequence[Part], *, unit: str = "USD per month", after: str = "optimised") -> Figure:
    """Steps that sum: totals stand on the axis (grey, then the policy's colour), savings hang green."""
    running, base, size, colour, joints, names = 0.0, [], [], [], [], []
    for index, part in enumerate(parts):
        value = num(part.usd) or 0.0
        if part.total:
            running = value
            base.append(min(value, 0.0))
            colour.append(POLICIES[after].colour if index else "--cg-base")
        else:
            base.append(running + min(value, 0.0))
            colour.append("--cg-good-f" if value < 0 else "--cg-fro-f")
            running += value
        size.append(abs(value))
        if index < len(parts) - 1:
            ends = {"x0": index + 0.31, "x1": index + 0.69, "y0": running, "y1": running}
            joints.append({"type": "line", "line": {"color": "--cg-mute", "width": 1}, **ends})
        below = value < 0
        tone = "--cg-ink" if part.total or not value else "--cg-good" if below else "--cg-fro-t"
        names.append(
            label(
                usd_text(part.usd) if part.total else usd_step(part.usd),
                size=12.5,
                weight=600,
                colour=tone,
                x=index,
                y=base[-1] if below else base[-1] + size[-1],
                yanchor="top" if below else "bottom",
                yshift=-2 if below else 2,
            )
        )
    ticks = list(range(len(parts)))
    bars: Figure = {
        "type": "bar",
        "x": ticks,
        "base": base,
        "y": size,
        "marker": {"color": colour, "cornerradius": 3},
        "customdata": [usd_text(part.usd) if part.total else usd_step(part.usd) for part in parts],
        "text": [part.label for part in parts],
        "textposition": "none",
        "hovertemplate": "%{text}: %{customdata}<extra></extra>",
    }
    top = max((low + high for low, high in zip(base, size, strict=True)), default=1.0)
    bottom = min(base, default=0.0)
    shape = layout(showlegend=False, hovermode="closest", bargap=0.38, shapes=joints, annotations=names)
    shape["margin"]["t"] = 14
    names_font = {"size": 12, "color": "--cg-ink"}
    shape["xaxis"] = axis(
        showgrid=False,
        tickvals=ticks,
        ticktext=[part.label for part in parts],
        tickfont=names_font,
        range=[-0.5, len(parts) - 0.5],
    )
    shape["yaxis"] = money_axis(unit, range=[bottom * 1.1, top * 1.13])
    brief = {f"annotations.{i}.text": usd_brief(part.usd) for i, part in enumerate(parts)}
    small = {f"annotations.{i}.font.size": 11 for i, _ in enumerate(parts)}
    broken = {"xaxis.ticktext": [_narrow_name(part.label) for part in parts], "xaxis.tickangle": 0}
    narrow = {"yaxis.title.text": "", "margin.l": 44, "xaxis.tickfont.size": 10.5, **broken, **brief, **small}
    return figure([bars], shape, narrow)
