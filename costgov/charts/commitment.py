"""Sizing a commitment: the curve of expected cost, and what would change the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from costgov.charts.parts import (
    POLICIES,
    Figure,
    Value,
    axis,
    figure,
    label,
    layout,
    money_axis,
    num,
    nums,
    upright,
    usd_text,
)


@dataclass(frozen=True, slots=True)
class Curve:
    """Expected payable against the amount committed, USD a year; low and high bound 8 years of 10."""

    policy: str
    title: str
    amounts: Sequence[Value]
    expected: Sequence[Value]
    low: Sequence[Value]
    high: Sequence[Value]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An amount worth naming. kind: "optimal" (diamond) or "conservative" (open circle)."""

    policy: str
    amount_usd: Value
    expected_usd: Value
    text: str
    kind: str = "optimal"


@dataclass(frozen=True, slots=True)
class TornadoRow:
    label: str
    low_usd: Value
    high_usd: Value
    low_text: str
    high_text: str


def commitment_curve(
    curves: Sequence[Curve], bands: Sequence[tuple[Value, str]], candidates: Sequence[Candidate] = ()
) -> Figure:
    """Expected payable against the amount committed, one line per policy, shaded 8 years of 10.

    `bands`: where a discount begins, (USD a year, its name). The payable jumps there, so lines are cut, not joined.
    """
    starts = sorted(float(amount) for amount, _ in bands if amount is not None)
    shades, lines = list[Figure](), list[Figure]()
    for curve in curves:
        style = POLICIES[curve.policy]
        for part, (first, stop) in enumerate(_cuts(nums(curve.amounts), starts)):
            x, low, high, middle = (
                _held(values, first, stop, at_edge=name == "amounts")
                for name, values in (
                    ("amounts", curve.amounts),
                    ("low", curve.low),
                    ("high", curve.high),
                    ("expected", curve.expected),
                )
            )
            around: Figure = {"x": x + x[::-1], "y": high + low[::-1], "fill": "toself", "fillcolor": style.fill}
            shades.append(
                {"type": "scatter", "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
                | around
            )
            lines.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": curve.title,
                    "legendgroup": curve.policy,
                    "showlegend": part == 0,
                    "x": x,
                    "y": middle,
                    "line": {"color": style.colour, "width": 2.5, "dash": style.dash},
                    "hovertemplate": "%{y:$,.0f}",
                }
            )
    highest = max((float(amount) for curve in curves for amount in curve.amounts if amount is not None), default=1.0)
    shape = layout()
    shape["margin"].update(t=64, b=58)
    shape["legend"]["y"] = 1.08
    for index, (amount, text) in enumerate(bands):
        at = num(amount)
        late = (at or 0.0) > highest * 0.8
        side: Figure = {"xanchor": "right", "xshift": -5} if late else {"xanchor": "left", "xshift": 5}
        shape["shapes"].append(upright(at, colour="--cg-mute", layer="below"))
        # Two rows in turn, so that near bands do not print over each other.
        lift: Figure = {"yanchor": "bottom", "yshift": 2 + 13 * (index % 2)}
        shape["annotations"].append(label(text, x=at, y=1, yref="paper", **lift, **side))
    points = [_candidate(candidate) for candidate in candidates]
    for index, candidate in enumerate(candidates):
        late = float(candidate.amount_usd or 0) > highest * 0.6
        arrow: Figure = {"showarrow": True, "arrowhead": 0, "arrowwidth": 1, "arrowcolor": "--cg-mute"}
        place: Figure = {"ax": -36 if late else 36, "ay": 34 + 22 * index, "xanchor": "right" if late else "left"}
        boxed: Figure = {
            "bgcolor": "--cg-card",
            "borderpad": 2,
            "x": num(candidate.amount_usd),
            "y": num(candidate.expected_usd),
        }
        tone = POLICIES[candidate.policy].text
        named = label(candidate.text, size=12, weight=600, colour=tone) | arrow | place | boxed
        shape["annotations"].append(named)
    shape["xaxis"] = money_axis("Amount committed per year, USD", showgrid=False, hoverformat="$,.0f")
    shape["xaxis"]["range"] = [0, highest * 1.02]
    shape["yaxis"] = money_axis("Expected payable per year, USD")
    return figure(shades + lines + points, shape, {"yaxis.title.text": "", "margin.l": 44, "xaxis.nticks": 4})


def _cuts(amounts: Sequence[float | None], starts: Sequence[float]) -> list[tuple[int, int]]:
    """Half-open index ranges between the starts of bands; an amount equal to a start opens its band."""
    edges = [0, *(i for i, x in enumerate(amounts) if i and _opens(amounts[i - 1], x, starts)), len(amounts)]
    return [(first, stop) for first, stop in pairwise(edges) if stop > first]


def _held(values: Sequence[Value], first: int, stop: int, *, at_edge: bool) -> list[float | None]:
    """A part of a curve, held at its last value up to the amount that opens the next band: the step is upright."""
    part = nums(values[first:stop])
    if stop == len(values):
        return part
    return [*part, num(values[stop]) if at_edge else part[-1]]


def _opens(before: float | None, x: float | None, starts: Sequence[float]) -> bool:
    return before is not None and x is not None and any(before < start <= x for start in starts)


def _candidate(candidate: Candidate) -> Figure:
    colour, is_open = POLICIES[candidate.policy].colour, candidate.kind == "conservative"
    edge: Figure = {"width": 3 if is_open else 1.5, "color": colour if is_open else "--cg-card"}
    return {
        "type": "scatter",
        "mode": "markers",
        "showlegend": False,
        "x": [num(candidate.amount_usd)],
        "y": [num(candidate.expected_usd)],
        "text": [candidate.text],
        "marker": {"symbol": "circle-open" if is_open else "diamond", "size": 12, "color": colour, "line": edge},
        "hovertemplate": "%{text}: %{y:$,.0f}<extra></extra>",
    }


def tornado(rows: Sequence[TornadoRow], base_usd: Value, *, unit: str = "Expected payable per year, USD") -> Figure:
    """One input at a time, widest first: what its low and its high value make of the result."""
    base = num(base_usd) or 0.0
    ranked = sorted(rows, key=lambda row: abs((num(row.high_usd) or base) - (num(row.low_usd) or base)))
    names = [row.label for row in ranked]
    data, ends = list[Figure](), [base]
    shape = layout(showlegend=False, hovermode="closest", barmode="overlay", bargap=0.42)
    for side in ("low", "high"):
        values = [num(row.low_usd if side == "low" else row.high_usd) for row in ranked]
        texts = [row.low_text if side == "low" else row.high_text for row in ranked]
        ends += [value for value in values if value is not None]
        # Colour says cheaper or dearer than the base, whichever input value caused it.
        colours = ["--cg-good-f" if value is not None and value < base else "--cg-fro-f" for value in values]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "y": names,
                "base": base,
                "x": [None if value is None else value - base for value in values],
                "customdata": [[usd_text(v, 0), text] for v, text in zip(values, texts, strict=True)],
                "marker": {"color": colours, "cornerradius": 2},
                "hovertemplate": "%{y}, %{customdata[1]}: %{customdata[0]}<extra></extra>",
            }
        )
        for name, value, text in zip(names, values, texts, strict=True):
            if value is not None and text and value != base:
                where: Figure = {"xanchor": "left", "xshift": 5} if value > base else {"xanchor": "right", "xshift": -5}
                shape["annotations"].append(label(text, x=value, y=name, **where))
    spread = (max(ends) - min(ends)) or abs(base) or 1.0
    shape["margin"].update(t=26, b=46)
    shape["shapes"] = [upright(base, dash="solid")]
    top: Figure = {"x": base, "y": 1, "yref": "paper", "yanchor": "bottom"}
    shape["annotations"].append(label(f"Base {usd_text(base, 0)}", size=12, weight=600, colour="--cg-ink", **top))
    shape["xaxis"] = money_axis(unit, range=[min(ends) - spread * 0.5, max(ends) + spread * 0.5])
    shape["yaxis"] = axis(showgrid=False, tickfont={"size": 12, "color": "--cg-ink"})
    # On phones names stand above their bars: beside them no room is left for the bars.
    narrow: Figure = {"xaxis.nticks": 4, "yaxis.showticklabels": False, "margin.l": 12, "bargap": 0.64}
    for name in names:
        narrow[f"annotations.{len(shape['annotations'])}.text"] = name
        above: Figure = {"x": 0, "xref": "paper", "xanchor": "left", "y": name, "yshift": 22}
        shape["annotations"].append(label("", size=12, colour="--cg-ink", **above))
    return figure(data, shape, narrow)
