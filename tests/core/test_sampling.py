"""Sample paths: the sampled table of methods.md §5.7, its date fractions, and what must hold for every path."""

import csv
import os
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from billing.core.backtesting import backtest, calibrate
from billing.core.forecasting import DriverSeries, Floats, PlannedVolume, damping, point_model, weekly_panel
from billing.core.sampling import (
    WEEK,
    KnownEvent,
    PeriodBeforeForecast,
    SampleSettings,
    VolumeModel,
    sample_volumes,
    volume_model,
    week_fractions,
)
from billing.core.spending import contract_months
from tests.core import forecast_world as world

MONDAY = date(2026, 3, 30)


def fitted(series: list[DriverSeries], last_day: date = world.LAST_DAY) -> VolumeModel:
    model = point_model(weekly_panel(series, last_day))
    return volume_model(model, calibrate(backtest(model), model.panel.known_weeks > 0))


@pytest.fixture(scope="module")
def golden() -> VolumeModel:
    return fitted(world.golden_series())


def without_variance(model: VolumeModel) -> VolumeModel:
    zero = np.zeros(len(model.names))
    return replace(model, scale=zero, drift_variance=zero, sd=zero)


def weeks_from(model: VolumeModel, *counts: int) -> list[tuple[date, date]]:
    return [(model.first_day, model.first_day + count * WEEK) for count in counts]


SAMPLED = {
    13: ((139_600, 173_500, 216_400), (351_500, 441_300, 556_500), (24_000, 31_000, 40_400),
         (541_200, 649_200, 784_800)),
    26: ((264_900, 358_200, 493_800), (657_100, 896_400, 1_241_800), (46_700, 67_500, 100_100),
         (1_043_200, 1_336_800, 1_751_700)),
    52: ((480_400, 755_700, 1_251_800), (1_169_300, 1_838_100, 3_026_200), (88_500, 155_300, 300_400),
         (1_969_900, 2_824_600, 4_304_500)),
}  # fmt: skip


@pytest.fixture(scope="module")
def sampled(golden: VolumeModel) -> Floats:
    periods = weeks_from(golden, *SAMPLED)
    return sample_volumes(golden, periods, SampleSettings(seed=20260329, paths=60_000)).astype(np.float64)


@pytest.mark.parametrize(("index", "weeks"), list(enumerate(SAMPLED)))
def test_the_sampled_table(sampled: Floats, index: int, weeks: int) -> None:
    rows = [*sampled[index], sampled[index].sum(axis=0)]
    for values, expected in zip(rows, SAMPLED[weeks], strict=True):
        assert np.quantile(values, (0.1, 0.5, 0.9)) == pytest.approx(expected, rel=0.015)


def test_with_every_variance_zero_a_path_is_the_point_model(golden: VolumeModel) -> None:
    settings = SampleSettings(seed=1, paths=3, half_life_weeks=52)
    found = sample_volumes(without_variance(golden), weeks_from(golden, 52), settings)
    assert found[0, :, 0] == pytest.approx([753_870, 1_820_400, 157_299], rel=1e-5)
    for path in range(3):
        for c in range(3):
            steps = golden.level[c] + golden.slope[c] * damping(52, 52)
            assert found[0, c, path] == pytest.approx(float((np.exp(steps) - golden.offset[c]).sum()), rel=1e-5)


def test_date_fractions_of_the_worked_example(golden: VolumeModel) -> None:
    april = date(2026, 4, 1)
    first = week_fractions(MONDAY, golden.shares, date(2026, 3, 1), april)
    assert first[0] == pytest.approx(0.371424, abs=1e-6)
    assert week_fractions(MONDAY, golden.shares, april, date(2026, 5, 1))[0] == pytest.approx(0.628576, abs=1e-6)
    fifth = MONDAY + 4 * WEEK
    assert week_fractions(fifth, golden.shares, april, date(2026, 5, 1))[0] == pytest.approx(0.745968, abs=1e-6)
    may = week_fractions(fifth, golden.shares, date(2026, 5, 1), date(2026, 6, 1))
    assert may[0] == pytest.approx(0.254032, abs=1e-6)


def test_periods_that_tile_add_up_to_the_whole(golden: VolumeModel) -> None:
    months = contract_months(date(2026, 4, 12), 11)
    whole = [(months[0][0], months[-1][1])]
    settings = SampleSettings(seed=3, paths=50)
    parts, total = (sample_volumes(golden, periods, settings) for periods in (months, whole))
    assert parts.sum(axis=0) == pytest.approx(total[0], rel=1e-5)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(golden: VolumeModel) -> None:
    periods = contract_months(date(2026, 4, 1), 6)
    one, again, other = (sample_volumes(golden, periods, SampleSettings(seed, 200)) for seed in (5, 5, 6))
    assert one.tobytes() == again.tobytes()
    assert one.tobytes() != other.tobytes()


def test_ten_times_the_volume_gives_ten_times_the_paths() -> None:
    series = world.golden_series()
    tenfold = [DriverSeries(row.name, row.days * 10) for row in series]
    periods = contract_months(date(2026, 4, 1), 12)
    one, ten = (sample_volumes(fitted(rows), periods, SampleSettings(5, 200)) for rows in (series, tenfold))
    assert ten == pytest.approx(10 * one, rel=1e-4)


@pytest.mark.parametrize("weeks", [20, 60, 104])
def test_a_constant_series_stays_where_it_is(weeks: int) -> None:
    model = fitted([DriverSeries("flat", np.full(weeks * 7, 100.0))])
    found = sample_volumes(model, weeks_from(model, 52), SampleSettings(seed=2, paths=20_000))
    assert float(np.median(found[0, 0])) == pytest.approx(52 * 700, rel=0.03)


def test_half_life_thirteen_stops_growth() -> None:
    t = np.arange(364)
    model = without_variance(fitted([DriverSeries("up", 100 * np.exp(0.004 * t))]))
    usual, stopped = (
        sample_volumes(model, weeks_from(model, 52), SampleSettings(1, 1, half_life_weeks=half_life))
        for half_life in (52.0, 13.0)
    )
    assert stopped[0, 0, 0] == pytest.approx(
        float((np.exp(model.level[0] + model.slope[0] * damping(13, 52)) - model.offset[0]).sum()), rel=1e-5
    )
    assert stopped < 0.9 * usual


def test_an_inactive_class_is_forecast_zero_and_a_switched_off_class_from_its_day() -> None:
    gone = DriverSeries("gone", np.concatenate([np.full(154, 9.0), np.zeros(56)]))
    model = fitted([*world.golden_series(), gone])
    off = date(2026, 4, 15)
    months = contract_months(date(2026, 4, 1), 3)
    events = (KnownEvent("A", off, 0.0),)
    usual = sample_volumes(model, months, SampleSettings(4, 100))
    found = sample_volumes(model, months, SampleSettings(4, 100, events=events))
    half = sample_volumes(model, ((months[0][0], off),), SampleSettings(4, 100))
    assert not usual[:, 3].any()
    assert found[0, 0] == pytest.approx(half[0, 0], rel=1e-5)
    assert not found[1:, 0].any()
    assert found[:, 1:].tobytes() == usual[:, 1:].tobytes()


def test_an_event_of_uncertain_size_has_the_stated_spread() -> None:
    model = without_variance(fitted(world.golden_series()))
    months = contract_months(date(2026, 5, 1), 1)
    event = KnownEvent("B", date(2026, 4, 1), 2.0, p90_over_p10=3.0)
    usual = sample_volumes(model, months, SampleSettings(4, 40_000, half_life_weeks=52.0))
    found = sample_volumes(model, months, SampleSettings(4, 40_000, events=(event,), half_life_weeks=52.0))
    low, middle, high = np.quantile(found[0, 1] / usual[0, 1], (0.1, 0.5, 0.9))
    assert middle == pytest.approx(2.0, rel=0.02)
    assert high / low == pytest.approx(3.0, rel=0.03)


def test_a_planned_class_has_its_stated_spread_in_the_first_week() -> None:
    plan = DriverSeries("new", np.full(210, np.nan), planned=PlannedVolume(5000, 2))
    model = fitted([*world.golden_series(), plan])
    settings = SampleSettings(seed=8, paths=60_000, half_life_weeks=1e-3)
    calm = replace(model, sd=np.zeros(4), scale=np.full(4, 1e-12), drift_variance=np.full(4, 1e-12))
    found = sample_volumes(calm, weeks_from(calm, 1), settings)[0, 3]
    assert np.median(found) == pytest.approx(5000, rel=0.02)
    assert np.quantile(found, 0.9) / np.median(found) == pytest.approx(2.0, rel=0.02)


def test_classes_move_together_as_much_as_rho_says(golden: VolumeModel) -> None:
    for rho in (0.0, 0.9):
        model = replace(golden, rho=rho)
        found = sample_volumes(model, weeks_from(model, 13), SampleSettings(seed=9, paths=20_000))
        correlation = float(np.corrcoef(np.log(found[0, :2]))[0, 1])
        assert (correlation > 0.8) if rho else (correlation < 0.4)  # heavy and half-life are common to all anyway


def test_a_path_never_leaves_the_ceiling_and_never_falls_below_zero(golden: VolumeModel) -> None:
    wild = replace(golden, scale=np.full(3, 400.0))
    found = sample_volumes(
        wild, [(MONDAY + i * WEEK, MONDAY + (i + 1) * WEEK) for i in range(52)], SampleSettings(1, 500)
    )
    assert found.min() >= 0
    assert np.log(found.max(axis=(0, 2)) + golden.offset) == pytest.approx(golden.ceiling + 3, abs=1e-4)


def test_a_period_before_the_forecast_is_refused(golden: VolumeModel) -> None:
    with pytest.raises(PeriodBeforeForecast, match=r"2026-03-29.*2026-03-30"):
        sample_volumes(golden, [(date(2026, 3, 29), date(2026, 4, 1))], SampleSettings(1, 2))


# -- measured coverage: forecast from the past, look at what came -------------------------------------------------


def measured_coverage(panel: list[Floats], horizon: int, every: int, first: int = 30) -> float:
    """Share of horizon-week sums inside the 80 % band of a forecast made without them."""
    days = len(panel[0])
    inside: list[bool] = []
    for cut in range(first * 7, days - horizon * 7 + 1, every * 7):
        last = date(2020, 1, 5) + timedelta(days=cut - 1)
        model = fitted([DriverSeries(f"s{i}", row[:cut]) for i, row in enumerate(panel)], last)
        found = sample_volumes(model, weeks_from(model, horizon), SampleSettings(seed=cut, paths=1_000))
        low, high = np.quantile(found[0], (0.1, 0.9), axis=1)
        actual = np.array([row[cut : cut + horizon * 7].sum() for row in panel])
        inside += ((low <= actual) & (actual <= high)).tolist()
    return float(np.mean(inside))


def generated_panel(classes: int, weeks: int, seed: int) -> list[Floats]:
    """A world as methods.md §5.3 supposes it: walks of variance 0.006 a week, half of it common to all classes, and
    slopes of sd 0.8 % a week that forget half of themselves in a year; weekday shape and daily noise on top."""
    draw = np.random.default_rng(seed)
    weekday = np.tile(world.WEEKDAYS, weeks)
    walk_sd, slope_sd, keep = np.sqrt(0.006 / 2), 0.008, 0.5 ** (1 / 52)
    common = walk_sd * draw.standard_normal(weeks)
    found = []
    for _ in range(classes):
        slopes = [slope_sd * draw.standard_normal()]
        while len(slopes) < weeks:
            slopes.append(slopes[-1] * keep + slope_sd * np.sqrt(1 - keep**2) * draw.standard_normal())
        steps = np.array(slopes) + common + walk_sd * draw.standard_normal(weeks)
        level = np.repeat(np.cumsum(steps), 7)
        found.append(1000 * np.exp(level + 0.1 * draw.standard_normal(weeks * 7)) * weekday)
    return found


@pytest.mark.parametrize("horizon", [4, 13, 26, 52])
def test_the_eighty_percent_band_holds_on_stored_panels(horizon: int) -> None:
    # Classes of a panel rise and fall together: one panel alone is few independent trials.
    measured = [measured_coverage(generated_panel(12, 156, seed), horizon, every=13) for seed in range(1, 6)]
    assert 0.70 <= float(np.mean(measured)) <= 0.95


SHARED = Path(os.environ.get("COSTGOV_SHARED", "/nonexistent")) / "data" / "series" / "daily_series.csv"


@pytest.mark.skipif(not SHARED.is_file(), reason="COSTGOV_SHARED does not name the folder of public data")
@pytest.mark.parametrize(
    ("name", "horizon", "every", "first", "least"),
    [
        ("bicimad_trips", 4, 5, 52, 0.70),
        ("bicimad_trips", 13, 5, 52, 0.65),  # measured .68: a strong yearly season, which the model does not have
        ("bicimad_trips", 26, 5, 52, 0.70),
        ("bicimad_trips", 52, 5, 52, 0.70),
        ("website_visits", 4, 2, 12, 0.70),
        ("website_visits", 13, 2, 12, 0.70),
        ("website_visits", 26, 2, 12, 0.70),
    ],
)
def test_the_eighty_percent_band_holds_on_public_series(
    name: str, horizon: int, every: int, first: int, least: float
) -> None:
    with SHARED.open() as file:
        rows = [float(row["value"]) for row in csv.DictReader(file) if row["series"] == name]
    assert least <= measured_coverage([np.array(rows)], horizon, every, first) <= 0.95
