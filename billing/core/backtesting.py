"""How wrong earlier forecasts would have been, and the scale of uncertainty that follows (methods.md §5.3).

Every origin week T is forecast again with what was known then, over 4, 13, 26 and 52 weeks; the errors of h-week sums
calibrate each class's scale R_c and the correlation ρ between classes. Estimates: float64.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from billing.core.forecasting import HALF_LIFE_WEEKS, Floats, PointModel, damping

HORIZONS: Final = (4, 13, 26, 52)
MIN_WEEKS: Final = 8
LEVEL_VARIANCE: Final = 0.020
WALK_VARIANCE: Final = 0.002  # of an h-week mean, per week of h
MAX_SQUARE: Final = 9.0
MAX_SCORE: Final = 3.0
PRIOR_WEIGHT: Final = 4.0
PRIOR_RHO: Final = 0.5
MAX_RHO: Final = 0.95
ROUNDING: Final = 1e-9
# Quantiles of |heavy × normal| with heavy = min(√(4/χ²₆), 2.5): half-widths of the model's central bands in units of
# its standard deviation. By numerical integration; the tests repeat it.
BAND_HALF_WIDTHS: Final[Mapping[float, float]] = {0.5: 0.585715, 0.8: 1.174883, 0.95: 1.994016}


@dataclass(frozen=True, slots=True)
class HorizonErrors:
    """Errors of h-week sums: e = ln(actual / forecast), [class, origin week], NaN where there is none; their prior
    variance v of the same shape."""

    weeks: int
    error: Floats
    variance: Floats


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the backtest teaches. `scale` R_c, `squares` A_c, `tries` N_c: [class]; `pooled_scale` R; `rho` ρ."""

    horizons: tuple[HorizonErrors, ...]
    squares: Floats
    tries: Floats
    rho: float
    pooled_scale: float
    scale: Floats


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How a horizon went, over classes and origins. Shares in 0..1; None without a try.

    `median_error` is the median of |actual / forecast − 1|; `coverage` the share of sums inside the band of that
    probability. Origins of one class overlap: `tries` counts them, it is not a number of independent trials.
    """

    weeks: int
    tries: int
    median_error: float | None
    coverage: Mapping[float, float | None]


def backtest(model: PointModel) -> tuple[HorizonErrors, ...]:
    """Errors at every origin for every horizon. A class needs 8 known weeks at the origin and a known future."""
    z = model.panel.z
    return tuple(_horizon_errors(model, z, weeks) for weeks in HORIZONS)


def calibrate(horizons: tuple[HorizonErrors, ...], included: NDArray[np.bool_]) -> Calibration:
    """A_c, N_c, ρ, R and R_c from the errors (methods.md §5.3). Overlapping origins of a horizon count 1/h.

    `included` [class]: classes with a known week. The others (planned, inactive) get R and do not count.
    """
    squares, tries = np.zeros(len(included)), np.zeros(len(included))
    classes = int(np.count_nonzero(included))
    pair_sum = origin_sum = 0.0
    for row in horizons:
        seen = ~np.isnan(row.error)
        capped = np.minimum(np.where(seen, row.error, 0.0) ** 2 / row.variance, MAX_SQUARE)
        squares += np.where(seen, capped, 0.0).sum(axis=1) / row.weeks
        tries += seen.sum(axis=1) / row.weeks
        pairs, origins = _pairs(row.error, seen)
        pair_sum += pairs / row.weeks
        origin_sum += origins / row.weeks
    rho = (pair_sum + PRIOR_WEIGHT * PRIOR_RHO) / (origin_sum + PRIOR_WEIGHT)
    rho = float(np.clip(rho, 0.0, MAX_RHO))
    pooled = 1.0
    if classes:
        effective = classes / (1 + (classes - 1) * rho)
        mean_squares, mean_tries = float(squares[included].mean()), float(tries[included].mean())
        pooled = (effective * mean_squares + PRIOR_WEIGHT) / (effective * mean_tries + PRIOR_WEIGHT)
    scale = (squares + PRIOR_WEIGHT * pooled) / (tries + PRIOR_WEIGHT)
    return Calibration(horizons, squares, tries, rho, pooled, np.asarray(scale, dtype=np.float64))


def accuracy(calibration: Calibration, sd: Floats) -> tuple[Accuracy, ...]:
    """Median error and measured coverage per horizon, of the bands the calibrated model draws.

    `sd`: [class], the model's s: half its variance is the noise of a single week, 1/h of it that of an h-week mean.
    """
    return tuple(_accuracy(row, calibration.scale, sd) for row in calibration.horizons)


# -- parts -----------------------------------------------------------------------------------------------------


def _horizon_errors(model: PointModel, z: Floats, weeks: int) -> HorizonErrors:
    """Origin T is a column; sums run over T+1 … T+weeks."""
    classes, width = z.shape
    error = np.full((classes, width), np.nan)
    steps = damping(HALF_LIFE_WEEKS, weeks)
    variance = LEVEL_VARIANCE + WALK_VARIANCE * weeks + model.drift_variance * float(steps.mean()) ** 2
    origins = slice(MIN_WEEKS - 1, width - weeks)
    if width - weeks > MIN_WEEKS - 1:
        actual = _forward_sums(np.exp(z), weeks)
        growth = np.zeros_like(error[:, origins])
        slope = model.slope[:, origins]
        for step in steps:
            growth += np.exp(slope * step)
        usable = (model.weeks[:, origins] >= MIN_WEEKS) & ~np.isnan(actual[:, origins])
        found = np.log(actual[:, origins]) - model.level[:, origins] - np.log(growth)
        error[:, origins] = np.where(usable, found, np.nan)
    return HorizonErrors(weeks, error, variance)


def _forward_sums(values: Floats, weeks: int) -> Floats:
    """Sum of the `weeks` columns after each column; NaN where one of them is unknown or beyond the end."""
    classes, width = values.shape
    known = ~np.isnan(values)
    zero = np.zeros((classes, 1))
    sums = np.concatenate([zero, np.cumsum(np.where(known, values, 0.0), axis=1)], axis=1)
    counts = np.concatenate([zero, np.cumsum(known, axis=1)], axis=1)
    found = np.full((classes, width), np.nan)
    last = width - weeks
    total, count = sums[:, weeks + 1 :] - sums[:, 1 : last + 1], counts[:, weeks + 1 :] - counts[:, 1 : last + 1]
    found[:, :last] = np.where(count == weeks, total, np.nan)
    return found


def _pairs(error: Floats, seen: NDArray[np.bool_]) -> tuple[float, int]:
    """Sum over origins of the mean product of two classes' scores, and the number of origins with two or more."""
    filled = np.where(seen, error, 0.0)
    rms = np.sqrt((filled**2).sum(axis=1) / np.maximum(seen.sum(axis=1), 1))
    # Constant series: what is left is rounding, and its direction says nothing about classes moving together.
    score = np.clip(filled / np.where(rms > ROUNDING, rms, 1.0)[:, None], -MAX_SCORE, MAX_SCORE)
    count = seen.sum(axis=0)
    both = count >= 2
    total, squares = score.sum(axis=0), (score**2).sum(axis=0)
    pair = (total**2 - squares) / np.maximum(count * (count - 1), 1)
    return float(pair[both].sum()), int(both.sum())


def _accuracy(row: HorizonErrors, scale: Floats, sd: Floats) -> Accuracy:
    seen = ~np.isnan(row.error)
    error = row.error[seen]
    if not len(error):
        return Accuracy(row.weeks, 0, None, dict.fromkeys(BAND_HALF_WIDTHS))
    drift = row.variance - LEVEL_VARIANCE - WALK_VARIANCE * row.weeks
    near = scale[:, None] * (row.variance - drift) + np.maximum(scale, 1.0)[:, None] * drift
    heavy_sd, week_variance = np.sqrt(near)[seen], np.broadcast_to((sd**2)[:, None] / 2 / row.weeks, near.shape)[seen]
    coverage: dict[float, float | None] = {}
    for probability, width in BAND_HALF_WIDTHS.items():
        half = np.sqrt((width * heavy_sd) ** 2 + week_variance)
        coverage[probability] = float(np.mean(np.abs(error) <= half))
    return Accuracy(row.weeks, len(error), float(np.median(np.abs(np.expm1(error)))), coverage)
