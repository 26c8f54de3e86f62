"""Prices of a model over time: a step line per kind of token, what is proposed dashed, today and the end marked."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

from billing.queries.price_timeline import PriceSteps, PriceTimeline
from costgov.charts.parts import Figure, axis, axis_title, days, figure, label, layout, num, time_axis, upright

# Kinds differ by colour and dash, so that neither alone carries the meaning.
_STYLES: Final[Mapping[str, tuple[str, str, str]]] = {
    "output": ("Output", "--cg-fro", "solid"),
    "uncached_input": ("Input", "--cg-bal", "solid"),
    "cache_write_1h": ("Cache write 1 h", "--cg-oth", "dash"),
    "cache_write_5m": ("Cache write 5 min", "--cg-cur", "dot"),
    "cache_read": ("Cache read", "--cg-fast", "solid"),
}
_ORDER: Final = tuple(_STYLES)
_ROOM: Final = timedelta(days=120)  # nearer than this two marks' names stand on both sides
_TICKS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def price_timeline_chart(view: PriceTimeline) -> Figure:
    """USD per million tokens on a logarithmic axis, where equal distances are equal percentages."""
    rows = sorted(view.steps, key=lambda row: (row.is_proposed, _ORDER.index(row.kind), row.length))
    # One entry of the legend per kind and one for all that is proposed; the hover names each line.
    first = {row.kind: n for n, row in reversed(list(enumerate(rows))) if not row.is_proposed}
    proposed = next((n for n, row in enumerate(rows) if row.is_proposed), -1)
    data = [_line(row, view.last, in_legend=n in {*first.values(), proposed}) for n, row in enumerate(rows)]
    shades: list[Figure] = [
        {
            "type": "rect", "x0": start.isoformat(), "x1": end.isoformat(), "y0": 0, "y1": 1, "yref": "paper",
            "fillcolor": "--cg-track", "line": {"width": 0}, "layer": "below",
        }
        for start, end in view.closed
    ]  # fmt: skip
    marks = [*shades, upright(view.today.isoformat())]
    retires_later = view.retires_on is not None and view.retires_on > view.today
    names = [_mark("today", view.today, to_the_left=retires_later or _is_late(view.today, view))]
    if view.retires_on is not None and view.first <= view.retires_on <= view.last:
        marks.append(upright(view.retires_on.isoformat(), colour="--cg-bad", dash="dash"))
        word = "retired" if view.retires_on <= view.today else "retires"
        late = not retires_later or (_is_late(view.retires_on, view) and view.retires_on - view.today > _ROOM)
        names.append(_mark(word, view.retires_on, to_the_left=late))
    known = [float(usd) for row in rows for usd in row.usd if usd]
    ticks = [tick for tick in _TICKS if min(known) / 2.01 <= tick <= max(known) * 2.01] if known else []
    shape = layout(
        xaxis=time_axis(view.first, view.last),
        yaxis=axis(
            type="log",
            tickvals=ticks,
            ticktext=[f"${tick:g}" for tick in ticks],
            title=axis_title("USD per million tokens"),
        ),
        shapes=marks,
        annotations=names,
    )
    shape["margin"]["t"] = 56
    shape["legend"]["y"] = 1.09
    return figure(data, shape, {"yaxis.title.text": "", "margin.l": 44, "xaxis.nticks": 4, "margin.t": 96})


def _line(row: PriceSteps, last: date, *, in_legend: bool) -> Figure:
    name, colour, dash = _STYLES[row.kind]
    said = f"{name}, {row.length}" if row.length else name
    said = f"{said}, as proposed" if row.is_proposed else said
    values = [num(usd) if usd else None for usd in row.usd]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": ("As proposed" if row.is_proposed else name) if in_legend else said,
        "showlegend": in_legend,
        "x": days([*row.days, last]),
        "y": [*values, values[-1]],
        "line": {
            "shape": "hv",
            "color": colour,
            "width": 1.5 if row.is_proposed else 2,
            "dash": "dashdot" if row.is_proposed else dash,
        },
        "connectgaps": False,
        "hovertemplate": f"{said}: $%{{y:,.9~f}}<extra></extra>",
    }


def _is_late(on: date, view: PriceTimeline) -> bool:
    return (on - view.first) * 2 > (view.last - view.first)


def _mark(text: str, on: date, *, to_the_left: bool) -> Figure:
    side: Figure = {"xanchor": "right", "xshift": -4} if to_the_left else {"xanchor": "left", "xshift": 4}
    return label(text, x=on.isoformat(), y=1, yref="paper", yanchor="bottom", **side)
