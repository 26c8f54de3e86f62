"""Charts: what the figures hold, and that plotly accepts them. Pixels are not tested here."""

import json
import math
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plotly.graph_objects import Figure

from costgov import charts, patterns
from costgov.charts.parts import trailing_mean, usd_brief, usd_text

FIRST = date(2026, 6, 1)
CONTEXT = patterns.context()
FIGURES = {name: value for name, value in CONTEXT.items() if name.startswith("chart_")}


def days(count: int) -> list[date]:
    return [FIRST + timedelta(days=n) for n in range(count)]


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for part in value.values() for text in strings(part)]
    return [text for part in value for text in strings(part)] if isinstance(value, list | tuple) else []


def painted(value: Any) -> Any:
    """As static/app.js does: every colour name becomes a colour."""
    if isinstance(value, str):
        return "#123456" if value.startswith("--cg-") else value
    if isinstance(value, dict):
        return {key: painted(part) for key, part in value.items()}
    return [painted(part) for part in value] if isinstance(value, list | tuple) else value


def narrowed(figure: dict[str, Any]) -> dict[str, Any]:
    """The layout on phones: dotted keys applied as static/app.js does."""
    layout = json.loads(json.dumps(figure["layout"]))
    for path, value in figure["narrow"].items():
        *way, last = path.split(".")
        at = layout
        for key in way:
            at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
        at[int(last) if isinstance(at, list) else last] = value
    return layout


@pytest.mark.parametrize("name", FIGURES)
def test_plotly_accepts_every_figure_wide_and_narrow(name: str) -> None:
    figure = FIGURES[name]
    Figure(painted({"data": figure["data"], "layout": figure["layout"]}))
    layout = narrowed(figure)
    Figure(painted({"data": figure["data"], "layout": layout}))


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_json_without_markup_that_sets_styles(name: str) -> None:
    text = json.dumps(FIGURES[name], allow_nan=False)
    assert json.loads(text) == FIGURES[name]
    for part in strings(FIGURES[name]):
        left = part.replace("<br>", "").replace("<extra></extra>", "")
        assert "<" not in left, part


@pytest.mark.parametrize("name", FIGURES)
def test_every_colour_is_a_variable_of_the_style_sheet(name: str) -> None:
    from pathlib import Path

    css = (Path(__file__).parents[2] / "static" / "app.css").read_text()
    light, dark = css.split("[data-bs-theme=dark] {", 1)
    dark = dark.split("}", 1)[0]
    used = {part for part in strings(FIGURES[name]) if part.startswith("--")}
    assert used
    for variable in used:
        assert f"{variable}:" in light and f"{variable}:" in dark, variable


@pytest.mark.parametrize("name", FIGURES)
def test_value_axes_carry_a_title_or_their_panel_does(name: str) -> None:
    layout = FIGURES[name]["layout"]
    titles = [axis.get("title", {}).get("text", "") for key, axis in layout.items() if key[1:5] == "axis"]
    named = [note["text"] for note in layout["annotations"]]
    assert any(titles) or any("USD" in text for text in named)


def test_spend_draws_the_mean_of_seven_days_and_says_the_day_itself() -> None:
    daily = [Decimal(n) for n in (7, 14, 21, 28, 35, 42, 49, 56)]
    figure = charts.spend_by_tier(days(8), {"fast": daily}, [(date(2026, 6, 3), "Policy v2")])
    (trace,) = figure["data"]
    assert trace["y"] == [7, 10.5, 14, 17.5, 21, 24.5, 28, 35]
    assert trace["customdata"][7] == "$56.00"
    assert [shape["x0"] for shape in figure["layout"]["shapes"]] == ["2026-06-03"]
    assert figure["layout"]["annotations"][0]["text"] == "Policy v2"


def test_tiers_stack_in_one_order_and_a_tier_without_spend_is_left_out() -> None:
    figure = charts.spend_by_tier(days(2), {"fast": [1, 1], "frontier": [3, 3], "other": [0, 0], "balanced": [2, 2]})
    assert [trace["name"] for trace in figure["data"]] == ["Fast", "Balanced", "Frontier"]


def test_an_activation_outside_the_dates_is_not_drawn() -> None:
    figure = charts.spend_by_tier(days(3), {"fast": [1, 1, 1]}, [(date(2026, 5, 31), "v1"), (date(2026, 6, 4), "v2")])
    assert figure["layout"]["shapes"] == [] and figure["layout"]["annotations"] == []


def test_unknown_days_are_gaps_and_not_zero() -> None:
    assert trailing_mean([None, None, 6.0, None], window=2) == [None, None, 6.0, 6.0]


@given(st.lists(st.one_of(st.none(), st.integers(0, 10**6)), max_size=40), st.integers(1, 9))
def test_trailing_mean_equals_the_slow_way(values: list[int | None], window: int) -> None:
    for end, found in enumerate(trailing_mean(values, window)):
        known = [value for at, value in enumerate(values) if value is not None and end - window < at <= end]
        assert found == (None if not known else pytest.approx(math.fsum(known) / len(known)))


def test_spend_and_quality_share_their_time_axis() -> None:
    on = days(60)
    point = charts.RatePoint(on[3], 0.97, 0.94, 0.99, 200)
    spend = charts.spend_by_tier(on, {"fast": [1] * 60})
    quality = charts.quality_panels([charts.TierQuality("fast", 0.93, [point])], on[0], on[-1])
    both = ["2026-06-01", "2026-07-30T16:59"]  # from the first day to 1.2 % of the period beyond the last
    assert spend["layout"]["xaxis"]["range"] == quality["layout"]["xaxis"]["range"] == both


def test_the_line_of_a_tier_may_move_with_its_classes() -> None:
    on = days(15)
    points = [charts.RatePoint(on[0], 0.97, 0.94, 0.99, 200, line=0.93), charts.RatePoint(on[7], None, None, None)]
    figure = charts.quality_panels([charts.TierQuality("fast", None, points, "evidence for 62%")], on[0], on[-1])
    moving = figure["data"][1]
    assert (moving["y"], moving["yaxis"], moving["line"]["dash"]) == ([93.0, None], "y", "dash")
    assert figure["layout"]["shapes"] == []
    assert figure["layout"]["annotations"][0]["text"] == "Fast · evidence for 62%"


def test_a_few_dollars_are_written_with_cents() -> None:
    on = days(3)
    assert charts.spend_by_tier(on, {"fast": [4, 4, 4], "balanced": [5, None, 5]})["layout"]["yaxis"]["tickformat"] == (
        "$,.2f"
    )
    assert charts.spend_by_tier(on, {"fast": [40, 4, 4]})["layout"]["yaxis"]["tickformat"] == "$~s"


def test_quality_has_a_panel_with_its_own_line_for_each_tier() -> None:
    on = days(30)
    tiers = [
        charts.TierQuality("fast", 0.92, [charts.RatePoint(on[0], 0.95, 0.93, 0.97, 100)]),
        charts.TierQuality("frontier", None, [charts.RatePoint(on[0], None, None, None)]),
    ]
    figure = charts.quality_panels(tiers, on[0], on[-1])
    frontier, fast = figure["data"]
    assert (frontier["marker"]["symbol"], fast["marker"]["symbol"]) == ("diamond", "circle")
    assert frontier["y"] == [None]
    assert fast["error_y"]["array"] == [pytest.approx(2)] and fast["error_y"]["arrayminus"] == [pytest.approx(2)]
    (line,) = figure["layout"]["shapes"]
    assert (line["yref"], line["y0"]) == ("y2", pytest.approx(92))
    assert [note["text"] for note in figure["layout"]["annotations"]] == ["Frontier", "Fast, line 92.0%"]
    low, top = figure["layout"]["yaxis2"]["range"]
    assert low < 92 and top > 97


def test_waterfall_hangs_each_step_on_the_one_before() -> None:
    part = charts.Part
    figure = charts.waterfall(
        [part("Today", Decimal("100"), True), part("Routing", Decimal("-60")), part("Growth", Decimal("5")),
         part("After", Decimal("45"), True)]
    )  # fmt: skip
    (bars,) = figure["data"]
    assert bars["base"] == [0, 40, 40, 0] and bars["y"] == [100, 60, 5, 45]
    assert bars["customdata"] == ["$100.00", "−$60.00", "+$5.00", "$45.00"]
    assert [note["text"] for note in figure["layout"]["annotations"]] == bars["customdata"]
    assert [shape["y0"] for shape in figure["layout"]["shapes"]] == [100, 40, 45]


def test_fan_draws_three_bands_and_the_cutoff_in_every_panel() -> None:
    months = [date(2026, 12, 1), date(2027, 1, 1)]
    quantiles = {p: [100 * p, 200 * p] for p in (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)}
    panel = charts.FanPanel("current", "Current policy", "$1", [date(2026, 11, 1)], [50], months, quantiles)
    figure = charts.fan([panel, panel], date(2026, 11, 22))
    bands = [trace for trace in figure["data"] if trace.get("fill")]
    assert len(bands) == 6
    assert bands[0]["y"] == [97.5, 195, 5, 2.5]
    assert bands[2]["y"] == [75, 150, 50, 25]
    assert [shape["x0"] for shape in figure["layout"]["shapes"]] == ["2026-11-22"] * 2
    assert figure["layout"]["yaxis2"]["matches"] == "y"


def test_policies_differ_by_line_and_never_wear_a_tiers_colour() -> None:
    assert {style.dash for style in charts.POLICIES.values()} == {"dot", "dash", "solid"}
    tier_colours = {colour for style in charts.TIERS.values() for colour in (style.colour, style.fill, style.text)}
    assert not tier_colours & {style.colour for style in charts.POLICIES.values()}
    assert len({style.symbol for style in charts.TIERS.values()}) == 4


def test_commitment_curve_is_cut_where_a_band_begins() -> None:
    amounts = [0, 50, 100, 150]
    curve = charts.Curve("optimised", "Optimised", amounts, [90, 91, 80, 150], [80, 81, 70, 150], [99, 99, 95, 150])
    chosen = charts.Candidate("optimised", 100, 80, "Conservative $100", "conservative")
    figure = charts.commitment_curve([curve], [(100, "T1 −10%")], [chosen])
    lines = [trace for trace in figure["data"] if trace.get("legendgroup")]
    assert [line["x"] for line in lines] == [[0, 50, 100], [100, 150]]
    assert [line["y"] for line in lines] == [[90, 91, 91], [80, 150]]
    assert [line["showlegend"] for line in lines] == [True, False]
    (marker,) = [trace for trace in figure["data"] if trace["mode"] == "markers"]
    assert (marker["x"], marker["y"], marker["marker"]["symbol"]) == ([100], [80], "circle-open")


def test_tornado_puts_the_widest_on_top_and_colours_by_result() -> None:
    rows = [charts.TornadoRow("narrow", 99, 101, "a", "b"), charts.TornadoRow("wide", 130, 80, "c", "d")]
    low, high = charts.tornado(rows, Decimal("100"))["data"]
    assert low["y"] == ["narrow", "wide"]  # plotly draws the last one on top
    assert low["x"] == [-1, 30] and high["x"] == [1, -20]
    assert low["marker"]["color"] == ["--cg-good-f", "--cg-fro-f"]


def test_scatter_leaves_out_what_has_no_place_and_opens_what_does_not_serve() -> None:
    point = charts.CostQuality
    figure = charts.scatter_cost_quality(
        [point("A", "fast", 0.01, 0.9, 0.8, 0.95, filled=True), point("B", "frontier", 0.02, 0.95, 0.9, 0.99),
         point("C", "other", None, 0.9, 0.8, 0.95), point("D", "other", 0.01, None, None, None)], 0.93
    )  # fmt: skip
    assert [trace["name"] for trace in figure["data"]] == ["A", "B"]
    assert [trace["marker"]["symbol"] for trace in figure["data"]] == ["circle", "diamond-open"]


def test_dots_keep_a_row_for_what_has_no_evidence() -> None:
    row = charts.VerdictRow
    figure = charts.verdict_dots([row("A", "fast", 0.95, 0.93, 0.97, 0.92), row("B", "other", None, None, None, 0.9)])
    assert figure["layout"]["yaxis"]["categoryarray"] == ["B", "A"]
    *dots, line = figure["data"]
    assert [dot["name"] for dot in dots] == ["A"]
    assert line["x"] == [pytest.approx(90), pytest.approx(92)]


def test_hindsight_parts_inside_from_outside_and_shows_no_future() -> None:
    row = charts.Hindsight
    figure = charts.hindsight(
        [row(date(2026, 1, 1), 10, 20, 20), row(date(2026, 2, 1), 10, 20, 21), row(date(2026, 3, 1), 10, 20, None)]
    )
    bars, inside, outside = figure["data"]
    assert (bars["base"], bars["y"]) == ([10, 10, 10], [10, 10, 10])
    assert (inside["x"], outside["x"]) == (["Jan 2026"], ["Feb 2026"])
    assert outside["marker"]["symbol"] == "x"


def test_change_parts_are_ranked_by_size() -> None:
    (bars,) = charts.change_parts([("Cache", -40), ("Volume", 64), ("Batch", -9)])["data"]
    assert bars["y"] == ["Batch", "Cache", "Volume"] and bars["x"] == [-9, -40, 64]


def test_class_history_dashes_the_second_model_of_a_tier() -> None:
    on = days(3)
    spend = [("Opus 4.5", "frontier", [1, 1, 1]), ("Opus 4.6", "frontier", [1, 1, 1])]
    figure = charts.class_history(on, [10, None, 30], spend, [], 0.93)
    assert [trace["line"].get("dash") for trace in figure["data"][1:3]] == ["solid", "dash"]
    assert figure["data"][0]["y"] == [10, 10, 20]
    assert figure["layout"]["shapes"][0]["y0"] == pytest.approx(93)


@pytest.mark.parametrize(
    ("value", "exact", "brief"),
    [
        (Decimal("1234.565"), "$1,234.57", "$1.2 k"),
        (-1_500_000, "−$1,500,000.00", "−$1.50 M"),
        (999_500, "$999,500.00", "$1.00 M"),
        (640, "$640.00", "$640"),
        (None, "–", "–"),
    ],
)
def test_money_in_charts(value: Any, exact: str, brief: str) -> None:
    assert usd_text(value) == exact and usd_brief(value) == brief


def test_charts_of_nothing_still_draw() -> None:
    empty = [
        charts.spend_by_tier([], {}), charts.quality_panels([], FIRST, FIRST), charts.waterfall([]),
        charts.fan([], FIRST), charts.commitment_curve([], []), charts.tornado([], None),
        charts.scatter_cost_quality([]), charts.class_history([], [], [], []), charts.verdict_dots([]),
        charts.hindsight([]), charts.change_parts([]),
    ]  # fmt: skip
    for figure in empty:
        Figure(painted({"data": figure["data"], "layout": narrowed(figure)}))


def test_an_assumed_cost_has_a_lying_whisker() -> None:
    low, high = Decimal("0.003"), Decimal("0.006")
    opus = Decimal("0.02")
    points = [
        charts.CostQuality("Sonnet", "balanced", Decimal("0.01"), 0.95, 0.9, 0.98),
        charts.CostQuality("Haiku", "fast", Decimal("0.004"), 0.95, 0.9, 0.98, cost_low=low, cost_high=high),
        charts.CostQuality("Opus", "frontier", opus, 0.97, 0.9, 0.98, cost_low=opus, cost_high=opus),
    ]
    measured, assumed, exact = charts.scatter_cost_quality(points, 0.93)["data"]
    assert "error_x" not in measured and "error_x" not in exact
    assert assumed["error_x"]["array"] == pytest.approx([0.002])
    assert assumed["error_x"]["arrayminus"] == pytest.approx([0.001])


def test_names_of_steps_stay_level_on_a_phone() -> None:
    """A turned row of names leaves the last one out; wide names break instead."""
    steps = [
        charts.Part("Baseline", 100, total=True),
        charts.Part("Routed", -40),
        charts.Part("Recommended", 60, total=True),
    ]
    figure = charts.waterfall(steps)
    assert figure["layout"]["xaxis"]["ticktext"] == ["Baseline", "Routed", "Recommended"]
    assert figure["narrow"]["xaxis.ticktext"] == ["Baseline", "Routed", "Recom-<br>mended"]
    assert figure["narrow"]["xaxis.tickangle"] == 0
