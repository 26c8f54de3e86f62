"""Cost against quality of the whole estate: the frontier, and where the policies stand."""

from collections.abc import Sequence
from dataclasses import dataclass

from costgov.charts.parts import POLICIES, Figure, Value, axis, axis_title, figure, label, layout, num, usd_text


@dataclass(frozen=True, slots=True)
class FrontierMark:
    """A policy: cost a month in USD, mean quality as a share; `policy` as in POLICIES, '' = a corner."""

    name: str
    cost_usd: Value
    quality: Value
    policy: str = ""


_SYMBOLS = {"uniform": "square-open", "current": "circle-open", "optimised": "circle"}


def frontier(
    corners: Sequence[FrontierMark], marks: Sequence[FrontierMark], if_cleared: Sequence[FrontierMark] = ()
) -> Figure:
    """Upper left is better; no policy of what may serve now lies left of the line. `if_cleared`: dashed."""
    shape = layout(hovermode="closest")
    shape["margin"].update(t=40, b=48)
    data = [
        _line(if_cleared, "If everything without evidence cleared", "--cg-mute", "dash"),
        _line(corners, "What may serve now", POLICIES["optimised"].colour, "solid"),
    ]
    placed = [mark for mark in marks if mark.cost_usd is not None and mark.quality is not None]
    for mark in placed:
        style = POLICIES[mark.policy]
        x, y = num(mark.cost_usd), (num(mark.quality) or 0.0) * 100
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": mark.name,
                "x": [x],
                "y": [y],
                "marker": {"symbol": _SYMBOLS[mark.policy], "size": 13, "color": style.colour, "line": {"width": 2}},
                "hovertemplate": f"{mark.name}: {usd_text(mark.cost_usd, 0)} a month, %{{y:.2f}}%<extra></extra>",
            }
        )
    every = [*corners, *placed, *if_cleared]
    rates = [(num(mark.quality) or 0.0) * 100 for mark in every]
    costs = [num(mark.cost_usd) or 0.0 for mark in every]
    room = max((max(rates) - min(rates)) * 0.15, 0.2) if rates else 1.0
    wide = max((max(costs) - min(costs)) * 0.12, max(costs) * 0.02) if costs else 1.0
    shape["xaxis"] = axis(
        tickprefix="$",
        tickformat="~s",
        nticks=6,
        range=[max(min(costs, default=0.0) - wide, 0.0), max(costs, default=1.0) + wide],
        title=axis_title("Cost a month, USD (estimate)"),
    )
    shape["yaxis"] = axis(
        ticksuffix="%",
        nticks=6,
        range=[min(rates, default=0.0) - room, max(rates, default=100.0) + room],
        title=axis_title("Answers that pass, mean"),
    )
    if len(placed) > 1 and not corners:
        shape["annotations"].append(label("No class is rated", x=0.5, y=0.5, xref="paper", yref="paper"))
    return figure(
        [trace for trace in data if trace["x"]], shape, {"margin.l": 44, "yaxis.title.text": "", "margin.t": 96}
    )


def _line(corners: Sequence[FrontierMark], name: str, colour: str, dash: str) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": [num(mark.cost_usd) for mark in corners],
        "y": [(num(mark.quality) or 0.0) * 100 for mark in corners],
        "text": [mark.name for mark in corners],
        "line": {"color": colour, "width": 2, "dash": dash},
        "marker": {"color": colour, "size": 6},
        "hovertemplate": "%{text}: $%{x:,.0f} a month, %{y:.2f}%<extra></extra>",
    }
