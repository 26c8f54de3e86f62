"""Forecasts: the fan of each policy, how good earlier ones were, and why one moved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from costgov.charts.parts import (
    POLICIES,
    Figure,
    Value,
    axis,
    axis_title,
    days,
    figure,
    label,
    layout,
    money_axis,
    num,
    nums,
    time_axis,
    upright,
    usd_text,
)


@dataclass(frozen=True, slots=True)
class FanPanel:
    """One policy's months: history, then quantiles by probability (0.025, 0.1, 0.25, 0.5, …), USD a month."""

    policy: str
    title: str
    detail: str
    history_months: Sequence[date]
    history_usd: Sequence[Value]
    months: Sequence[date]
    quantiles: Mapping[float, Sequence[Value]]
    repriced: bool = False


@dataclass(frozen=True, slots=True)
class Hindsight:
    """A past month: the 80 % band given before it began, and what happened. USD."""

    month: date
    low: Value
    high: Value
    actual: Value


def fan(panels: Sequence[FanPanel], cutoff: date, *, unit: str = "USD per month") -> Figure:
    """Spend a month per policy, one panel each on the same axes: history, median, 50/80/95 % bands, the cutoff."""
    gap, count = 0.035, max(len(panels), 1)
    width = (1 - gap * (count - 1)) / count
    shape, data = layout(showlegend=False), list[Figure]()
    narrow: Figure = {"margin.l": 44, "yaxis.title.text": "", "height": 120 + 205 * count}
    shape["margin"].update(t=58, r=10, b=40)
    highest = 0.0
    for index, panel in enumerate(panels):
        style, key = POLICIES[panel.policy], str(index + 1) if index else ""
        left, at = index * (width + gap), {"xaxis": f"x{key}", "yaxis": f"y{key}"}
        months = days(panel.months)
        for low in sorted(p for p in panel.quantiles if p < 0.5):
            high = min(panel.quantiles, key=lambda p, low=low: abs(p - (1 - low)))  # type: ignore[misc]
            upper = nums(panel.quantiles[high])
            edge = upper + list(reversed(nums(panel.quantiles[low])))
            highest = max([highest, *(v for v in upper if v is not None)])
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": months + months[::-1],
                    "y": edge,
                    "fill": "toself",
                    "fillcolor": style.fill,
                    "line": {"width": 0},
                    "hoverinfo": "skip",
                    **at,
                }
            )
        past = nums(panel.history_usd)
        highest = max([highest, *(v for v in past if v is not None)])
        line: Figure = {"color": style.colour, "width": 2, "dash": "dot" if panel.repriced else "solid"}
        said = "Same requests, re-priced" if panel.repriced else "Spent"
        data.append(
            {"type": "scatter", "mode": "lines", "name": said, "x": days(panel.history_months), "y": past, "line": line}
            | {"hovertemplate": "%{y:$,.0f}"}
            | at
        )
        middle: Figure = {"color": style.colour, "width": 2.5}
        data.append(
            {"type": "scatter", "mode": "lines", "name": "Median", "x": months, "y": nums(panel.quantiles[0.5])}
            | {"line": middle, "hovertemplate": "%{y:$,.0f}"}
            | at
        )
        first = min([*panel.history_months[:1], *panel.months[:1]], default=cutoff)
        last = max([*panel.history_months[-1:], *panel.months[-1:]], default=cutoff)
        shape[f"xaxis{key}"] = time_axis(first, last, domain=[left, min(1.0, left + width)], anchor=f"y{key}")
        shape[f"xaxis{key}"].update(nticks=5, hoverformat="%b %Y")
        same: Figure = {"matches": "y", "showticklabels": False} if index else {"title": axis_title(unit)}
        shape[f"yaxis{key}"] = {**money_axis("", anchor=f"x{key}"), "title": axis_title(""), **same}
        shape["shapes"].append(upright(cutoff.isoformat(), xref=f"x{key}"))
        corner: Figure = {"x": left, "xref": "paper", "xanchor": "left", "y": 1, "yref": "paper", "yanchor": "bottom"}
        shape["annotations"] += [
            label(panel.title, size=13.5, weight=600, colour=style.text, yshift=22, **corner),
            label(panel.detail, size=12, yshift=4, **corner),
        ]
        # On phones the panels stand on each other.
        tall = (1 - 0.14 * (count - 1)) / count
        top = 1 - index * (tall + 0.14)
        narrow |= {f"xaxis{key}.domain": [0, 1], f"yaxis{key}.domain": [max(0.0, top - tall), top]}
        narrow |= {f"yaxis{key}.showticklabels": True, f"shapes.{index}.y0": max(0.0, top - tall)}
        narrow |= {f"shapes.{index}.y1": top, f"annotations.{2 * index}.x": 0, f"annotations.{2 * index + 1}.x": 0}
        narrow |= {f"annotations.{2 * index}.y": top, f"annotations.{2 * index + 1}.y": top}
    if panels:
        shape["yaxis"]["range"] = [0, highest * 1.08 or 1]
        known = label(
            f"Known to {cutoff.day} {cutoff:%b}", size=11, x=cutoff.isoformat(), xref="x", y=0.99, yref="paper"
        )
        # Left of the line, over the history, unless that is too narrow to hold the words.
        starts, ends = min([cutoff, *panels[0].history_months]), max([cutoff, *panels[0].months])
        side: Figure = {"xanchor": "right", "xshift": -5}
        if (cutoff - starts) * 3 < (ends - starts):
            side = {"xanchor": "left", "xshift": 5}
        shape["annotations"].append(known | {"yanchor": "top"} | side)
    return figure(data, shape, narrow)


def hindsight(rows: Sequence[Hindsight], *, months_before: int = 1) -> Figure:
    """Bands given before against what happened; a month outside is a cross in red, not only another colour."""
    names = [f"{row.month:%b %Y}" for row in rows]
    ahead = "the day" if not months_before else f"{months_before} month{'s' if months_before != 1 else ''}"
    lows, highs = nums([row.low for row in rows]), nums([row.high for row in rows])
    bars: Figure = {
        "type": "bar",
        "name": f"80% band, {ahead} before",
        "x": names,
        "base": lows,
        "y": [None if low is None or high is None else high - low for low, high in zip(lows, highs, strict=True)],
        "marker": {"color": "--cg-opt-f", "cornerradius": 3},
        "hoverinfo": "skip",
    }
    data = [bars]
    for said, inside, symbol, colour in (("Inside", True, "circle", "--cg-cur"), ("Outside", False, "x", "--cg-bad")):
        kept = [row for row in rows if row.actual is not None and _is_inside(row) == inside]
        dots: Figure = {"symbol": symbol, "size": 9, "color": colour}
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": said,
                "x": [f"{row.month:%b %Y}" for row in kept],
                "y": nums([row.actual for row in kept]),
                "marker": dots,
                "hovertemplate": "%{y:$,.0f}",
            }
        )
    shape = layout(bargap=0.45)
    # The order is that of the rows: months without an outcome would otherwise go first.
    shape["xaxis"] = axis(type="category", showgrid=False, categoryorder="array", categoryarray=names, tickangle=0)
    ticks = [_month_tick(row.month, i) for i, row in enumerate(rows)]
    shape["xaxis"].update(tickvals=names, ticktext=ticks)
    shape["yaxis"] = money_axis("USD per month")
    narrow: Figure = {"yaxis.title.text": "", "margin.l": 44}
    if len(rows) > 7:  # every second month fits a phone, among them the January that names the year
        parity = next((i for i, row in enumerate(rows) if row.month.month == 1), 0) % 2
        narrow["xaxis.ticktext"] = [tick if i % 2 == parity else "" for i, tick in enumerate(ticks)]
    return figure(data, shape, narrow)


def _month_tick(month: date, index: int) -> str:
    """The year under each January, and under the first month where no January follows closely."""
    return f"{month:%b}<br>{month.year}" if month.month == 1 or (index == 0 and month.month < 11) else f"{month:%b}"


def _is_inside(row: Hindsight) -> bool:
    if row.low is None or row.high is None or row.actual is None:
        return False
    return float(row.low) <= float(row.actual) <= float(row.high)


def change_parts(rows: Sequence[tuple[str, Value]]) -> Figure:
    """Why a figure moved: signed parts in USD that sum to the change, largest first."""
    ranked = sorted(rows, key=lambda row: abs(float(row[1] or 0)))
    names, values = [name for name, _ in ranked], [num(value) or 0.0 for _, value in ranked]
    widest = max((abs(value) for value in values), default=1.0) or 1.0
    bars: Figure = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": values,
        "customdata": [usd_text(value, 0) for value in values],
        "marker": {"color": ["--cg-good-f" if v < 0 else "--cg-fro-f" for v in values], "cornerradius": 2},
        "hovertemplate": "%{y}: %{customdata}<extra></extra>",
    }
    shape = layout(showlegend=False, hovermode="closest", bargap=0.42)
    shape["margin"].update(t=8, b=40)
    shape["shapes"] = [upright(0, colour="--cg-mute", dash="solid")]
    for name, value in zip(names, values, strict=True):
        side: Figure = {"xanchor": "left", "xshift": 5} if value > 0 else {"xanchor": "right", "xshift": -5}
        text = f"{'+' if value > 0 else ''}{usd_text(value, 0)}"
        shape["annotations"].append(label(text, size=12, colour="--cg-ink", x=value, y=name, **side))
    shape["xaxis"] = money_axis(
        "Change, USD",
        range=[-widest * 1.45, widest * 1.85],
    )
    shape["yaxis"] = axis(showgrid=False, tickfont={"size": 12, "color": "--cg-ink"})
    return figure([bars], shape)
