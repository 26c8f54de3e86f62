"""A class of request: its models by cost and quality, its history, its verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from billing.core import words
from costgov.charts.parts import (
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
    percent,
    rate_range,
    stacked_top,
    tier_style,
    time_axis,
    trailing_mean,
    usd_text,
)
from costgov.charts.spend import Activation, RatePoint, moving_line


@dataclass(frozen=True, slots=True)
class CostQuality:
    """A model of a class: cost of a request and pass rate, each with its interval where it is an estimate.

    `filled`: serves now or is recommended. `cost_low`, `cost_high` None = the cost is measured.
    """

    model: str
    tier: str
    cost_usd: Value
    value: Value
    low: Value
    high: Value
    note: str = ""
    filled: bool = False
    cost_low: Value = None
    cost_high: Value = None


@dataclass(frozen=True, slots=True)
class VerdictRow:
    name: str
    tier: str
    value: Value
    low: Value
    high: Value
    line: Value
    verdict: str = ""


def scatter_cost_quality(points: Sequence[CostQuality], line: Value = None) -> Figure:
    """Cost of a request against its pass rate with interval: upper left is better. Filled: serves, or recommended."""
    shape = layout(showlegend=False, hovermode="closest")
    shape["margin"].update(t=12, b=46)
    data: list[Figure] = []
    bounds = rate_range([*(p.low for p in points), *(p.value for p in points), line], top=102.0)
    # A model without cost or rate has no place here: the page names it beside the chart.
    placed = [p for p in points if p.cost_usd is not None and p.value is not None]
    dearest = max((float(cost or 0) for p in placed for cost in (p.cost_usd, p.cost_high)), default=0.0) or 0.001
    sides = _label_sides([_within(p, dearest * _ROOM, bounds) for p in placed])
    for point, side in zip(placed, sides, strict=True):
        style = tier_style(point.tier)
        bars = error_bars([point.value], [point.low], [point.high])
        x, y = float(point.cost_usd or 0), float(point.value or 0) * 100
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": point.model,
                "x": [x],
                "y": [y],
                "marker": {
                    "symbol": style.symbol if point.filled else f"{style.symbol}-open",
                    "size": 13,
                    "color": style.colour,
                    "line": {"width": 2, "color": style.colour},
                },
                "error_y": {**bars, "width": 5, "thickness": 1.4, "color": style.colour},
                **_cost_bars(point, style.colour),
                "hovertemplate": f"{point.model}: %{{y:.1f}}%, $%{{x:.5f}} a request<extra></extra>",
            }
        )
        text = f"{point.model}<br>{point.note}" if point.note else point.model
        shape["annotations"].append(
            label(text, size=12, weight=600, colour="--cg-ink", x=x, y=y, yanchor="middle", **_SIDES[side])
        )
    if line is not None:
        bar = float(line) * 100
        good: Figure = {
            "type": "rect",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": bar,
            "y1": bounds[1],
            "line": {"width": 0},
        }
        shape["shapes"] = [level(bar), good | {"fillcolor": "--cg-good-f", "opacity": 0.14, "layer": "below"}]
        said = f"Must be shown to reach {words.percent(line)}"
        place: Figure = {"x": 1, "xref": "paper", "xanchor": "right", "y": bar, "yanchor": "top", "yshift": -2}
        shape["annotations"].append(label(said, colour="--cg-gate", **place))
    shape["xaxis"] = axis(
        tickprefix="$", range=[0, dearest * _ROOM], nticks=6, title=axis_title("Cost of a request, USD")
    )
    shape["yaxis"] = axis(ticksuffix="%", range=bounds, nticks=6, title=axis_title("Answers that passed"))
    narrow: Figure = {"margin.l": 44, "yaxis.title.text": "", "xaxis.nticks": 4}
    for index, trace in enumerate(data):  # names only, on two heights: the notes are in the table
        narrow |= {f"annotations.{index}.text": trace["name"], f"annotations.{index}.font.size": 11}
        narrow |= {f"annotations.{index}.yshift": -14 if index % 2 else 0}
    return figure(data, shape, narrow)


def _cost_bars(point: CostQuality, colour: str) -> Figure:
    """The whisker of an assumed cost, lying; none where it is measured."""
    if point.cost_usd is None or point.cost_low is None or point.cost_high is None:
        return {}
    cost, low, high = float(point.cost_usd), float(point.cost_low), float(point.cost_high)
    if low == high:
        return {}
    bars: Figure = {"type": "data", "symmetric": False, "array": [high - cost], "arrayminus": [cost - low]}
    return {"error_x": {**bars, "width": 5, "thickness": 1.4, "color": colour}}


_ROOM = 1.4  # of the dearest model's cost: its label stands to the right of it
_LABEL_WIDTH, _LABEL_HEIGHT = 0.26, 0.1  # of the drawing, for two lines of text
_SIDES: dict[str, Figure] = {
    "right": {"xanchor": "left", "xshift": 12, "align": "left"},
    "left": {"xanchor": "right", "xshift": -12, "align": "right"},
    "above": {"xanchor": "left", "xshift": 12, "yshift": 32, "align": "left"},
    "below": {"xanchor": "left", "xshift": 12, "yshift": -32, "align": "left"},
}
Place = tuple[float, float]


def _within(point: CostQuality, widest: float, bounds: Sequence[float]) -> Place:
    """Where a point is in the drawing, as shares of its width and height."""
    height = float(point.value or 0) * 100 - bounds[0]
    return float(point.cost_usd or 0) / widest, height / (bounds[1] - bounds[0])


def _label_sides(places: Sequence[Place]) -> list[str]:
    """A side for each label on which it covers no other mark and no label before it; right where none is free."""
    taken: list[tuple[float, float, float]] = []  # left and right end, middle height
    chosen = []
    for index, (x, y) in enumerate(places):
        others = [place for at, place in enumerate(places) if at != index]
        for side in _SIDES:
            start = x - _LABEL_WIDTH - 0.03 if side == "left" else x + 0.02
            middle = y + {"above": 0.13, "below": -0.13}.get(side, 0.0)
            box = (start, start + _LABEL_WIDTH, middle)
            if (
                start >= 0
                and not any(_covers(box, other) for other in others)
                and not any(_overlap(box, other) for other in taken)
            ):
                break
        else:
            side, box = "right", (x, x + _LABEL_WIDTH, y)
        taken.append(box)
        chosen.append(side)
    return chosen


def _covers(box: tuple[float, float, float], place: Place) -> bool:
    return box[0] <= place[0] <= box[1] and abs(box[2] - place[1]) < _LABEL_HEIGHT


def _overlap(one: tuple[float, float, float], other: tuple[float, float, float]) -> bool:
    return one[0] < other[1] and other[0] < one[1] and abs(one[2] - other[2]) < _LABEL_HEIGHT


def class_history(
    dates: Sequence[date],
    requests: Sequence[Value],
    spend: Sequence[tuple[str, str, Sequence[Value]]],
    quality: Sequence[RatePoint],
    line: Value = None,
    activations: Sequence[Activation] = (),
) -> Figure:
    """Requests, spend by model (name, tier, USD a day) and pass rate on one time axis; 7-day means of daily figures."""
    data: list[Figure] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "Requests",
            "showlegend": False,
            "x": days(dates),
            "y": trailing_mean(requests),
            "line": {"width": 1.75, "color": "--cg-cur"},
            "hovertemplate": "%{y:,.0f}",
        }
    ]
    seen: dict[str, int] = {}
    for name, tier, values in spend:
        if not any(values):
            continue  # usage without a price: named beside the chart
        style = tier_style(tier)
        # Two models of one tier share its colour; the second is dashed and lighter.
        order = seen.get(tier, 0)
        seen[tier] = order + 1
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": days(dates),
                "y": trailing_mean(values),
                "customdata": [usd_text(value) for value in values],
                "yaxis": "y2",
                "stackgroup": "spend",
                "line": {"width": 1.25, "color": style.colour, "dash": ("solid", "dash", "dot")[order % 3]},
                "fillcolor": style.fill,
                "hovertemplate": "%{customdata} (mean %{y:$,.0f})",
            }
        )
    values, lows, highs = ([getattr(p, name) for p in quality] for name in ("value", "low", "high"))
    data.append(
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "Pass rate",
            "showlegend": False,
            "x": days([p.on for p in quality]),
            "y": [percent(value) for value in values],
            "yaxis": "y3",
            "line": {"width": 1.25, "color": "--cg-cur"},
            "marker": {"size": 6, "color": "--cg-cur"},
            "error_y": {**error_bars(values, lows, highs), "width": 2.5, "thickness": 1.1, "color": "--cg-base"},
            "hovertemplate": "%{y:.1f}%",
        }
    )
    lines, names = activation_marks(activations, dates[0], dates[-1]) if dates else ([], [])
    shape = layout(shapes=lines, annotations=[{**name, "yanchor": "bottom", "yshift": 3} for name in names])
    shape["margin"]["t"] = 28
    shape["legend"].update(x=1, xanchor="right", y=0.635)
    shape["xaxis"] = time_axis(dates[0], dates[-1], anchor="y3") if dates else axis(anchor="y3")
    shape["yaxis"] = axis(domain=[0.72, 0.97], tickformat="~s", rangemode="tozero", nticks=4)
    top = stacked_top(values for _, _, values in spend)
    shape["yaxis2"] = money_axis("", top, domain=[0.36, 0.62], rangemode="tozero") | {"nticks": 4}
    marks = [p.line for p in quality]
    bounds = rate_range([*values, *lows, *marks, line])
    shape["yaxis3"] = axis(domain=[0, 0.26], ticksuffix="%", range=bounds, nticks=4)
    if any(mark is not None for mark in marks):
        data.append(moving_line(quality, "y3") | {"showlegend": False})
    elif line is not None:
        shape["shapes"].append(level(float(line) * 100, "y3"))
    for text, y in (
        ("Requests per day", 0.97),
        ("Spend per day by model, USD", 0.62),
        ("Answers that passed, with interval", 0.26),
    ):
        corner: Figure = {
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "xshift": 2,
            "y": y,
            "yref": "paper",
            "yanchor": "bottom",
        }
        corner |= {"yshift": 3, "bgcolor": "--cg-card"}  # an activation's line passes behind the name
        shape["annotations"].append(label(text, size=12, weight=600, colour="--cg-ink", **corner))
    narrow: Figure = {"margin.l": 44, "xaxis.nticks": 5, "legend.y": -0.08, "legend.yanchor": "top"}
    # Above the first panel's title, in two rows in turn.
    narrow |= {f"annotations.{i}.yshift": 17 + 13 * (i % 2) for i, _ in enumerate(names)} | {"margin.t": 54}
    return figure(data, shape, narrow)


def verdict_dots(rows: Sequence[VerdictRow]) -> Figure:
    """Rows of class or model on one axis: dot with interval in the tier's shape, and the row's own line."""
    ordered = list(reversed(rows))
    data: list[Figure] = []
    for row in ordered:
        if row.value is None:
            continue
        style = tier_style(row.tier)
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": row.name,
                "x": [percent(row.value)],
                "y": [row.name],
                "text": [row.verdict],
                "marker": {"symbol": style.symbol, "size": 10, "color": style.colour},
                "error_x": {
                    **error_bars([row.value], [row.low], [row.high]),
                    "width": 4,
                    "thickness": 1.5,
                    "color": "--cg-mute",
                },
                "hovertemplate": "%{y}: %{x:.1f}% · %{text}<extra></extra>",
            }
        )
    lined = [row for row in ordered if row.line is not None]
    mark: Figure = {
        "symbol": "line-ns-open",
        "size": 18,
        "color": "--cg-gate",
        "line": {"width": 2, "color": "--cg-gate"},
    }
    said = "%{y}: must be shown to reach %{x:.1f}%<extra></extra>"
    data.append(
        {"type": "scatter", "mode": "markers", "name": "Line", "marker": mark, "hovertemplate": said}
        | {"x": [percent(row.line) for row in lined], "y": [row.name for row in lined]}
    )
    shape = layout(showlegend=False, hovermode="closest")
    shape["margin"].update(t=8, b=46)
    known = [bound for row in rows for bound in (row.low, row.value, row.line)]
    shape["xaxis"] = axis(ticksuffix="%", range=rate_range(known), nticks=6, title=axis_title("Answers that passed"))
    names = [row.name for row in ordered]
    # Rows without evidence keep their place: an empty row says that nothing is known.
    shape["yaxis"] = axis(
        type="category",
        showgrid=False,
        categoryorder="array",
        categoryarray=names,
        range=[-0.6, len(names) - 0.4],
        tickfont={"size": 12, "color": "--cg-ink"},
    )
    return figure(data, shape, {"yaxis.tickfont.size": 11})
