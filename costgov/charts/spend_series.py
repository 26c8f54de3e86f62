"""Spend over time by whatever it is grouped by: stacked, in shades of one colour, so that they mean no tier."""

from collections.abc import Sequence
from datetime import date, datetime, time

from costgov.charts.parts import (
    Figure,
    Value,
    axis,
    days,
    figure,
    layout,
    money_axis,
    nums,
    stacked_top,
    tier_style,
    time_axis,
    usd_text,
)

SHADES = ("--cg-s1", "--cg-s2", "--cg-s3", "--cg-s4", "--cg-s5", "--cg-s6")


def spend_series(
    points: Sequence[date], series: Sequence[tuple[str, Sequence[Value]]], *, per: str, tiers: Sequence[str] = ()
) -> Figure:
    """Bars stacked a day (or a week); the first series lies at the bottom. `per`: day or week.

    `tiers`: where the series are model tiers, which: they keep their colours.
    """
    colours = [tier_style(tier).colour for tier in tiers] or list(SHADES)
    data: list[Figure] = [
        {
            "type": "bar",
            "name": name,
            "x": days(points),
            "y": nums(values),
            "customdata": [usd_text(value) for value in values],
            "marker": {"color": colours[min(n, len(colours) - 1)]},
            "hovertemplate": "%{customdata}",
        }
        for n, (name, values) in enumerate(series)
    ]
    shape = layout(
        barmode="stack",
        bargap=0.12 if len(points) <= 62 else 0,
        xaxis=_whole_bars(points),
        yaxis=money_axis(f"USD per {per}", stacked_top([values for _, values in series])),
    )
    if len(series) == 1:
        shape["showlegend"] = False
    return figure(data, shape, {"yaxis.title.text": "", "margin.l": 44, "xaxis.nticks": 5})


def _whole_bars(points: Sequence[date]) -> Figure:
    """An axis of days with room for the halves of the first and the last bar."""
    if len(points) < 2:
        return axis()
    half = (points[1] - points[0]) / 2
    ends = [datetime.combine(day, time.min) + shift for day, shift in ((points[0], -half), (points[-1], half))]
    return {**time_axis(points[0], points[-1]), "range": [end.isoformat(timespec="minutes") for end in ends]}
