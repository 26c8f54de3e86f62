"""Forecasts of spend under three policies: read the inputs, draw the paths, and say how far to trust them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import numpy as np

from billing.core.backtesting import Calibration, accuracy, backtest, calibrate
from billing.core.forecasting import DriverSeries, Floats, PointModel, grade, point_model, weekly_panel
from billing.core.money import ZERO, estimate_usd
from billing.core.sampling import SampleSettings, VolumeModel, sample_volumes, volume_model
from billing.core.scenarios import BASE, Scenario
from billing.core.spending import (
    QUANTILES,
    Periods,
    class_means,
    mix_factors,
    quantile_table,
    spend_paths,
    spread,
    yearly_sums,
)
from billing.models import Organisation
from billing.queries.forecasts import POLICIES, ForecastPaths
from billing.queries.series import model_name, model_names
from billing.queries.usage import priced_usage
from costgov.jsonout import dumps
from costgov.queries.forecast_inputs import ClassInputs, ForecastInputs, ForecastRefused, describe_inputs, read_inputs
from costgov.queries.forecast_view import (
    AccuracyRow,
    ClassForecast,
    Difference,
    ForecastView,
    HindsightRow,
    LeftOutRow,
    MonthRow,
    PastMonth,
    PolicyForecast,
    SpreadUsd,
)
from costgov.queries.recommendation import reuse_is_assumed

SETTINGS_VERSION: Final = 1  # raise when the same inputs would give other figures
PAGE_PATHS: Final = 2_000
MAX_PATHS: Final = 100_000
HISTORY_MONTHS: Final = 9
HINDSIGHT_MONTHS: Final = 11
HINDSIGHT_PATHS: Final = 1_000
MIN_HINDSIGHT_DAYS: Final = 56
HEADLINE_SHARE: Final = 0.8  # the grade in the headline holds for at least this share of the spend
_GRADES: Final = ("planned", "very short", "short", "medium", "long")


@dataclass(frozen=True, slots=True)
class PreparedForecast:
    """Inputs read and named, nothing drawn yet: `inputs_hash` tells whether the same forecast was made before."""

    inputs: ForecastInputs
    seed: int
    paths: int
    described: dict[str, Any]
    inputs_hash: str


def prepare_forecast(
    *,
    as_of: datetime,
    start: date | None = None,
    months: int = 12,
    paths: int = PAGE_PATHS,
    scenario: Scenario = BASE,
    rollout_start: date | None = None,
) -> PreparedForecast:
    """Read what a forecast rests on. Raises ForecastRefused, NoBaseline."""
    if not 2 <= paths <= MAX_PATHS:
        raise ForecastRefused(f"{paths} simulated futures cannot be drawn: use 2 to {MAX_PATHS:,}.")
    inputs = read_inputs(as_of=as_of, start=start, months=months, scenario=scenario, rollout_start=rollout_start)
    organisation = Organisation.objects.filter(pk=1).values_list("name", flat=True).first() or ""
    text = f"{organisation}|{inputs.cutoff}|{SETTINGS_VERSION}"
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    described = {
        **describe_inputs(inputs),
        "seed": str(seed),
        "paths": paths,
        "settings_version": SETTINGS_VERSION,
    }
    digest = hashlib.sha256(dumps(described))
    for row in inputs.classes:
        digest.update(row.series.days.tobytes())
        digest.update(f"{row.mix_sd!r}{row.plan.standing}".encode())
    digest.update(inputs.scenario_unit_costs[:, :, :months].tobytes())
    return PreparedForecast(inputs, seed, paths, described, digest.hexdigest())


def run_forecast(prepared: PreparedForecast) -> tuple[ForecastView, ForecastPaths]:
    """Draw the paths and sum them up: the figures of a page, and what a sizing needs."""
    inputs = prepared.inputs
    fitted = _fit(inputs.classes, inputs.cutoff, inputs.scenario)
    scenario = inputs.scenario
    settings = SampleSettings(
        seed=prepared.seed,
        paths=prepared.paths,
        half_life_weeks=scenario.half_life_weeks,
        events=scenario.events(fitted.volumes.first_day),
    )
    volumes = sample_volumes(fitted.volumes, inputs.periods, settings)
    mix = mix_factors(np.array([row.mix_sd for row in inputs.classes]), paths=prepared.paths, seed=prepared.seed)
    costs = inputs.scenario_unit_costs[:, :, : inputs.months]
    spend = spend_paths(volumes, mix, costs)
    by_class = class_means(volumes, mix, costs)
    stored = ForecastPaths(tuple(start for start, _ in inputs.periods), inputs.periods[-1][1], POLICIES, spend[:3])
    return _view(prepared, fitted, spend, by_class), stored


# -- the model -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Fitted:
    point: PointModel
    calibration: Calibration
    volumes: VolumeModel


def _fit(classes: Sequence[ClassInputs], last_day: date, scenario: Scenario) -> _Fitted:
    point = point_model(weekly_panel([_planned(row.series, scenario) for row in classes], last_day))
    calibration = calibrate(backtest(point), point.panel.known_weeks > 0)
    return _Fitted(point, calibration, volume_model(point, calibration))


def fit_volumes(classes: Sequence[ClassInputs], last_day: date, scenario: Scenario) -> VolumeModel:
    """The calibrated volume model of these classes under a scenario's growth."""
    return _fit(classes, last_day, scenario).volumes


def _planned(series: DriverSeries, scenario: Scenario) -> DriverSeries:
    return series if scenario.planned_growth is None else replace(series, planned_growth=scenario.planned_growth)


# -- the view --------------------------------------------------------------------------------------------------


def _view(prepared: PreparedForecast, fitted: _Fitted, spend: Floats, by_class: Floats) -> ForecastView:
    inputs = prepared.inputs
    rows = _class_rows(inputs, fitted, by_class)
    totals = spend.sum(axis=2).mean(axis=1)
    policies = tuple(_policy(name, spend[i]) for i, name in enumerate(POLICIES))
    low, high = np.quantile((spend[1] - spend[2]).sum(axis=1), (0.1, 0.9))
    assumed = {
        row.request_class
        for row in inputs.report.recommendation.classes
        if row.is_assumed or reuse_is_assumed(row, inputs.report)
    }
    quality = sum((row.optimised_usd - row.current_usd for row in rows if row.move == "restore_quality"), Decimal(0))
    return ForecastView(
        cutoff=inputs.cutoff,
        history_from=inputs.first_day,
        start=inputs.periods[0][0],
        end=inputs.periods[-1][1],
        months=len(inputs.periods),
        paths=prepared.paths,
        scenario=inputs.scenario.name,
        scenario_text=inputs.scenario.text,
        baseline_model=inputs.report.baseline_model,
        baseline_name=model_name(model_names(), inputs.report.baseline_model).name,
        policy=prepared.described["policy"],
        rollout_start=inputs.rollout_start,
        grade=_headline_grade(rows),
        policies=policies,
        rows=_month_rows(inputs.periods, policies),
        difference=Difference(
            total_usd=estimate_usd(totals[1] - totals[2]),
            low_usd=estimate_usd(low),
            high_usd=estimate_usd(high),
            approved_usd=estimate_usd(totals[1] - totals[3]),
            proven_usd=estimate_usd(totals[3] - totals[2]),
            quality_cost_usd=max(quality, Decimal(0)),
            assumed_usd=sum(
                (row.current_usd - row.optimised_usd for row in rows if row.request_class in assumed), ZERO
            ),
        ),
        classes=rows,
        left_out=tuple(LeftOutRow(row.name, row.title, row.reason) for row in inputs.left_out),
        unclassified_usd=sum((row.current_usd for row in rows if row.standing == "none"), Decimal(0)),
        unpriced_tok=sum(row.unpriced_tok for row in inputs.classes),
        accuracy=tuple(
            AccuracyRow(row.weeks, row.tries, row.median_error, *(row.coverage[p] for p in (0.5, 0.8, 0.95)))
            for row in accuracy(fitted.calibration, fitted.point.sd)
        ),
        hindsight=_hindsight(prepared),
        history=_history(inputs),
        price_changes=inputs.price_changes,
        correlation=fitted.calibration.rho,
        inputs_hash=prepared.inputs_hash,
    )


def _policy(name: str, spend: Floats) -> PolicyForecast:
    table = quantile_table(spend)
    total = spend.sum(axis=1)
    low, high = np.quantile(total, (0.025, 0.975))
    return PolicyForecast(
        policy=name,
        total=_spread(total),
        p025_usd=estimate_usd(low),
        p975_usd=estimate_usd(high),
        years=tuple(_spread(year) for year in yearly_sums(spend).T),
        quantiles_usd={
            f"{p:g}": tuple(estimate_usd(value) for value in row) for p, row in zip(QUANTILES, table, strict=True)
        },
        mean_usd=tuple(estimate_usd(value) for value in spend.mean(axis=0)),
    )


def _spread(values: Floats) -> SpreadUsd:
    found = spread(values)
    return SpreadUsd(
        estimate_usd(found.p10),
        estimate_usd(found.p50),
        estimate_usd(found.p90),
        estimate_usd(found.mean),
        estimate_usd(found.standard_error),
    )


def _month_rows(periods: Periods, policies: Sequence[PolicyForecast]) -> tuple[MonthRow, ...]:
    baseline, current, optimised = policies
    return tuple(
        MonthRow(
            start=start,
            end=end,
            baseline_usd=baseline.mean_usd[i],
            current_usd=current.mean_usd[i],
            optimised_usd=optimised.mean_usd[i],
            low_usd=optimised.quantiles_usd["0.1"][i],
            high_usd=optimised.quantiles_usd["0.9"][i],
            saving_usd=current.mean_usd[i] - optimised.mean_usd[i],
        )
        for i, (start, end) in enumerate(periods)
    )


def _class_rows(inputs: ForecastInputs, fitted: _Fitted, by_class: Floats) -> tuple[ClassForecast, ...]:
    panel, model = fitted.point.panel, fitted.volumes
    known, slope = panel.known_weeks, model.slope
    rows = []
    for i, row in enumerate(inputs.classes):
        weeks = int(known[i])
        rows.append(
            ClassForecast(
                request_class=row.name,
                title=row.title,
                grade=grade(known_weeks=weeks, known_days=int(panel.known_days[i]), is_active=bool(model.is_active[i])),
                known_weeks=weeks,
                unit_name=row.unit_name,
                units_per_week=float(panel.recent_volume[i] / max(1, min(weeks, 8))),
                growth_per_year=float(np.expm1(52 * slope[i])),
                scale=float(model.scale[i]),
                baseline_usd=estimate_usd(by_class[0, i]),
                current_usd=estimate_usd(by_class[1, i]),
                optimised_usd=estimate_usd(by_class[2, i]),
                standing=row.plan.standing,
                move=row.plan.move,
                remark=row.remark,
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.current_usd, row.request_class)))


def _headline_grade(rows: Sequence[ClassForecast]) -> str:
    """The shortest history among the classes that make up most of the spend."""
    total = sum((row.current_usd for row in rows), Decimal(0))
    reached, worst = Decimal(0), "long"
    for row in rows:
        if row.grade in _GRADES and _GRADES.index(row.grade) < _GRADES.index(worst):
            worst = row.grade
        reached += row.current_usd
        if reached >= total * Decimal(str(HEADLINE_SHARE)):
            break
    return worst


# -- looking back ----------------------------------------------------------------------------------------------


def _whole_months(inputs: ForecastInputs, count: int) -> Periods:
    """The last whole calendar months of the history, oldest first."""
    end = (inputs.cutoff + timedelta(days=1)).replace(day=1)
    found: list[tuple[date, date]] = []
    while len(found) < count:
        start = (end - timedelta(days=1)).replace(day=1)
        if start < inputs.first_day:
            break
        found.append((start, end))
        end = start
    return tuple(reversed(found))


def _history(inputs: ForecastInputs) -> tuple[PastMonth, ...]:
    months = _whole_months(inputs, HISTORY_MONTHS)
    if not months:
        return ()
    spent = {
        group.values[0]: group.cost_usd
        for group in priced_usage(start=months[0][0], end=months[-1][1], by=("month",)).groups
    }
    baseline = inputs.unit_costs[0, :, 0]
    return tuple(
        PastMonth(
            start,
            spent.get(f"{start:%Y-%m}", Decimal(0)),
            estimate_usd(sum(_units(row, inputs, start, end) * baseline[i] for i, row in enumerate(inputs.classes))),
        )
        for start, end in months
    )


def _units(row: ClassInputs, inputs: ForecastInputs, start: date, end: date) -> float:
    """Driver units of known days in [start, end)."""
    first = (start - inputs.first_day).days
    return float(np.nansum(row.series.days[max(first, 0) : first + (end - start).days]))


def _hindsight(prepared: PreparedForecast) -> tuple[HindsightRow, ...]:
    """Each past month forecast again from the days before it, at today's current cost per unit."""
    inputs = prepared.inputs
    current = inputs.unit_costs[1, :, 0]
    found = []
    for start, end in _whole_months(inputs, HINDSIGHT_MONTHS):
        known = (start - inputs.first_day).days
        if known < MIN_HINDSIGHT_DAYS:
            continue
        cut = [replace(row, series=replace(row.series, days=row.series.days[:known])) for row in inputs.classes]
        model = fit_volumes(cut, start - timedelta(days=1), BASE)
        settings = SampleSettings(seed=prepared.seed, paths=HINDSIGHT_PATHS)
        volumes = sample_volumes(model, ((start, end),), settings)
        low, high = np.quantile((current[:, None] * volumes[0]).sum(axis=0), (0.1, 0.9))
        actual = sum(_units(row, inputs, start, end) * current[i] for i, row in enumerate(inputs.classes))
        found.append(HindsightRow(start, estimate_usd(low), estimate_usd(high), estimate_usd(actual)))
    return tuple(found)
