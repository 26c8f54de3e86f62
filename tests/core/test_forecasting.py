"""Volume forecast: the worked example of methods.md §5.7, a plain-loop oracle, and the promised properties."""

import math
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.core.backtesting import BAND_HALF_WIDTHS, accuracy, backtest, calibrate
from billing.core.forecasting import (
    DriverSeries,
    Floats,
    ForecastInputError,
    PlannedVolume,
    PointModel,
    damping,
    grade,
    point_model,
    weekly_panel,
)
from tests.core import forecast_world as slow

A, B, C = 0, 1, 2


@pytest.fixture(scope="module")
def model() -> PointModel:
    return point_model(weekly_panel(slow.golden_series(), slow.LAST_DAY))


def test_weeks_of_the_worked_example(model: PointModel) -> None:
    volume = model.panel.volume
    assert volume.shape == (3, 30)
    assert volume[[A, B], 0] == pytest.approx([6363.542831, 26151.170656], abs=1e-6)
    assert volume[:, -1] == pytest.approx([12702.428953, 34015.931409, 2286.898488], abs=1e-6)
    assert np.isnan(volume[C, 0])
    assert model.weeks[:, -1].tolist() == [30, 30, 10]


def test_offset_level_sd_slope_and_variance_of_the_worked_example(model: PointModel) -> None:
    assert model.panel.offset == pytest.approx([62.098272, 150.763760, 9.151872], abs=1e-6)
    assert model.level[:, -1] == pytest.approx([9.460227499, 10.415615314, 7.674363081], abs=1e-9)
    assert model.sd == pytest.approx([0.123835430, 0.104289731, 0.082869112], abs=1e-9)
    assert model.slope[:, -1] == pytest.approx([0.005862934, 0.002446020, 0.015610403], abs=1e-9)
    assert model.drift_variance[:, -1] == pytest.approx([0.000222899, 0.000202146, 0.000354219], abs=1e-9)


def test_weekday_shares_of_the_worked_example(model: PointModel) -> None:
    expected = [
        [0.186423, 0.185001, 0.186200, 0.188344, 0.170895, 0.048724, 0.034412],
        [0.185057, 0.186510, 0.194960, 0.183388, 0.166156, 0.050809, 0.033119],
        [0.182233, 0.192194, 0.188740, 0.182181, 0.167173, 0.052297, 0.035181],
    ]
    assert model.panel.shares == pytest.approx(np.array(expected), abs=1e-6)
    assert model.panel.shares.sum(axis=1) == pytest.approx([1, 1, 1])


def test_calibration_of_the_worked_example(model: PointModel) -> None:
    found = calibrate(backtest(model), np.ones(3, dtype=bool))
    assert found.rho == pytest.approx(0.257440100, abs=1e-9)
    assert found.scale == pytest.approx([0.495963123, 0.580960324, 0.649893023], abs=1e-9)
    assert found.pooled_scale == pytest.approx(0.649893023, abs=1e-9)
    assert found.tries[C] == 0  # ten weeks: no origin has eight before and four after


def test_damping_sums_to_the_stated_figure() -> None:
    assert damping(52, 52)[-1] == pytest.approx(37.260626, abs=1e-6)
    assert damping(52, 52).tolist() == pytest.approx(slow.damped(52))


# -- against plain loops -------------------------------------------------------------------------------------------


def _random_panel(seed: int, classes: int, days: int, gaps: bool = True) -> list[DriverSeries]:
    draw = np.random.default_rng(seed)
    series = []
    for i in range(classes):
        t = np.arange(days)
        values = np.exp(draw.normal(5, 1) + draw.normal(0, 0.003) * t + 0.3 * draw.standard_normal(days))
        values[draw.random(days) < 0.03] = 0.0
        if gaps and i % 2:
            values[: draw.integers(0, days // 2)] = np.nan
            values[draw.random(days) < 0.01] = np.nan
        series.append(DriverSeries(f"class-{i}", values))
    return series


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("classes", "days"), [(1, 200), (4, 500), (3, 1200)])
def test_the_model_equals_plain_loops_at_every_origin(seed: int, classes: int, days: int) -> None:
    series = _random_panel(seed, classes, days)
    model = point_model(weekly_panel(series, date(2026, 1, 4)))
    panel = [slow.logs(slow.weekly(row.days.tolist())) for row in series]
    volumes = model.panel.recent_volume.tolist()
    width = len(panel[0])
    for c, z in enumerate(panel):
        assert model.sd[c] == pytest.approx(slow.sd_of(z))
        for t in {*range(0, width, 7), width - 1}:
            if slow.known_until(z, t):
                assert model.level[c, t] == pytest.approx(slow.level_at(z, t))
                slope, variance = slow.shrunk_at(panel, volumes, c, t)
                assert model.slope[c, t] == pytest.approx(slope, abs=1e-11)
                assert model.drift_variance[c, t] == pytest.approx(variance)


@pytest.mark.parametrize(("classes", "days"), [(1, 300), (3, 450), (5, 600)])
def test_the_backtest_equals_plain_loops(classes: int, days: int) -> None:
    series = _random_panel(11, classes, days)
    model = point_model(weekly_panel(series, date(2026, 1, 4)))
    found = calibrate(backtest(model), model.panel.known_weeks > 0)
    panel = [slow.logs(slow.weekly(row.days.tolist())) for row in series]
    squares, scale, rho, pooled = slow.calibration_of(panel, model.panel.recent_volume.tolist())
    assert found.squares == pytest.approx(squares)
    assert found.scale == pytest.approx(scale)
    assert found.rho == pytest.approx(rho)
    assert found.pooled_scale == pytest.approx(pooled)


def test_the_past_of_an_origin_does_not_know_its_future() -> None:
    series = _random_panel(5, 3, 400, gaps=False)
    changed = [DriverSeries(row.name, row.days.copy()) for row in series]
    for row in changed:
        row.days[301:] *= 3
    before, after = (point_model(weekly_panel(rows, date(2026, 1, 4))) for rows in (series, changed))
    # κ comes from the last 8 weeks and moves z by at most a share of 1.5 %: levels stay but for that.
    assert after.level[:, 10] == pytest.approx(before.level[:, 10], abs=0.02)


# -- properties ---------------------------------------------------------------------------------------------------


def test_adding_a_class_does_not_change_another_class_level() -> None:
    series = _random_panel(7, 4, 300)
    few, many = (point_model(weekly_panel(rows, date(2026, 1, 4))) for rows in (series[:3], series))
    assert few.level[:, -1].tolist() == many.level[:3, -1].tolist()
    assert few.sd.tolist() == many.sd[:3].tolist()


@given(level=st.floats(1, 1e9), weeks=st.integers(4, 120))
@settings(max_examples=40, deadline=None)
def test_a_constant_series_has_slope_zero(level: float, weeks: int) -> None:
    model = point_model(weekly_panel([DriverSeries("flat", np.full(weeks * 7, level))], date(2026, 1, 4)))
    assert model.slope[0, -1] == pytest.approx(0, abs=1e-9)
    assert model.level[0, -1] == pytest.approx(math.log(7 * level * 1.005))


@given(factor=st.floats(0.001, 1000))
@settings(max_examples=20, deadline=None)
def test_units_do_not_matter_to_slopes(factor: float) -> None:
    series = _random_panel(9, 2, 200)
    scaled = [DriverSeries(row.name, row.days * factor) for row in series]
    one, other = (point_model(weekly_panel(rows, date(2026, 1, 4))) for rows in (series, scaled))
    assert other.slope[:, -1] == pytest.approx(one.slope[:, -1], abs=1e-9)
    assert other.level[:, -1] - one.level[:, -1] == pytest.approx(np.full(2, math.log(factor)), abs=1e-9)


# -- short histories ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weeks", "words"),
    [(0, "planned"), (1, "very short"), (3, "very short"), (4, "short"), (11, "short"), (12, "medium"),
     (51, "medium"), (52, "long"), (156, "long")],
)  # fmt: skip
def test_the_ladder(weeks: int, words: str) -> None:
    assert grade(known_weeks=weeks, known_days=weeks * 7, is_active=True) == words


def test_less_than_four_weeks_take_the_pooled_slope_only() -> None:
    long = _random_panel(3, 2, 300, gaps=False)
    young = DriverSeries("young", np.concatenate([np.full(279, np.nan), np.linspace(10, 900, 21)]))
    model = point_model(weekly_panel([*long, young], date(2026, 1, 4)))
    n, s2 = 3, float(model.sd[2]) ** 2
    tau2 = 0.012**2 * (1 + 26 / 4)
    k = tau2 / (tau2 + 1.2 * s2 / n)
    assert model.own_slope[2, -1] == 0
    assert model.slope[2, -1] == pytest.approx(k * float(model.pooled_slope[-1]))


def test_a_planned_class_starts_at_its_plan() -> None:
    long = _random_panel(3, 2, 300, gaps=False)
    plan = DriverSeries("new", np.full(300, np.nan), planned=PlannedVolume(5000, 3))
    model = point_model(weekly_panel([*long, plan], date(2026, 1, 4)))
    assert model.level[2, -1] == pytest.approx(math.log(5000))
    assert calibrate(backtest(model), model.panel.known_weeks > 0).tries[2] == 0


def test_a_few_days_stand_for_a_week() -> None:
    days = np.concatenate([np.full(297, np.nan), [10.0, 20.0, 30.0]])
    panel = weekly_panel([*_random_panel(3, 1, 300), DriverSeries("young", days)], date(2026, 1, 4))
    assert panel.planned[1] == PlannedVolume(140.0, 2.0)


def test_a_class_without_volume_for_eight_weeks_is_inactive() -> None:
    days = np.concatenate([np.full(200, 50.0), np.zeros(56)])
    model = point_model(weekly_panel([DriverSeries("gone", days)], date(2026, 1, 4)))
    assert np.isnan(model.level[0, -1])
    assert grade(known_weeks=0, known_days=256, is_active=False) == "inactive"


def test_inactive_and_planned_classes_do_not_dilute_the_calibration() -> None:
    series = _random_panel(4, 3, 300, gaps=False)
    gone = DriverSeries("gone", np.concatenate([np.full(200, 50.0), np.zeros(100)]))
    alone = point_model(weekly_panel(series, date(2026, 1, 4)))
    beside = point_model(weekly_panel([*series, gone], date(2026, 1, 4)))
    one = calibrate(backtest(alone), alone.panel.known_weeks > 0)
    other = calibrate(backtest(beside), beside.panel.known_weeks > 0)
    assert other.scale[:3] == pytest.approx(one.scale)
    assert other.rho == pytest.approx(one.rho)


def test_planned_growth_fills_what_the_data_do_not_say() -> None:
    flat = np.full(28, 100.0)
    stated = DriverSeries("flat", flat, planned_growth=0.5)
    model = point_model(weekly_panel([stated], date(2026, 1, 4)))
    k = 1 - (float(model.drift_variance[0, -1]) - 0.006**2) / (0.012**2 * (1 + 26 / 4))
    assert model.slope[0, -1] == pytest.approx((1 - k) * math.log(1.5) / 52)


@pytest.mark.parametrize("bad", [-1.0, math.inf])
def test_a_volume_that_cannot_be_is_refused(bad: float) -> None:
    days = np.full(70, 5.0)
    days[3] = bad
    with pytest.raises(ForecastInputError, match="class odd"):
        weekly_panel([DriverSeries("odd", days)], date(2026, 1, 4))


def test_weeks_end_on_the_last_day_and_an_unknown_day_makes_its_week_unknown() -> None:
    days = np.arange(17, dtype=float)
    days[9] = np.nan
    panel = weekly_panel([DriverSeries("a", days)], date(2026, 1, 4))
    assert panel.volume.shape == (1, 2)
    assert np.isnan(panel.volume[0, 0])  # days 3-9
    assert panel.volume[0, 1] == sum(range(10, 17))


# -- bands --------------------------------------------------------------------------------------------------------


def test_band_half_widths_hold_their_share() -> None:
    x = np.linspace(1e-9, 300, 400_001)
    density = x**2 * np.exp(-x / 2) / 16  # χ² with 6 degrees of freedom
    heavy = np.minimum(np.sqrt(4 / x), 2.5)
    step = x[1] - x[0]
    for probability, width in BAND_HALF_WIDTHS.items():
        inside = [math.erf(width / h / math.sqrt(2)) for h in heavy]
        assert float((density * inside).sum() * step) == pytest.approx(probability, abs=2e-6)


def test_accuracy_counts_what_lies_inside(model: PointModel) -> None:
    calibration = calibrate(backtest(model), np.ones(3, dtype=bool))
    rows = accuracy(calibration, model.sd)
    assert [row.weeks for row in rows] == [4, 13, 26, 52]
    four = rows[0]
    errors: Floats = calibration.horizons[0].error
    known = errors[~np.isnan(errors)]
    assert four.tries == len(known) == 2 * (30 - 4 - 7)
    assert four.median_error == pytest.approx(float(np.median(np.abs(np.exp(known) - 1))))
    assert four.coverage[0.5] is not None and four.coverage[0.95] is not None
    assert four.coverage[0.5] <= four.coverage[0.95] <= 1
    assert rows[3].tries == 0 and rows[3].median_error is None
