"""Volume forecast: weeks from days, and the point model at every origin (methods.md §5.1, §5.2, §5.5).

One driver series per class (requests a day, or millions of input-equivalent tokens) goes in; level, slope and their
variances come out, for the last week and for every week before it as if nothing later were known. Arrays are
`[class, week]`; a week is named by its position, oldest first; NaN = unknown. Estimates: float64 throughout.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Grade = Literal["planned", "very short", "short", "medium", "long", "inactive"]

MAX_WEEKS: Final = 156
SLOPE_WEEKS: Final = 104
RECENT_WEEKS: Final = 8
OFFSET_SHARE: Final = 0.005  # of a mean week: keeps the logarithm of an empty week finite
LEVEL_GAIN: Final = 0.5
PRIOR_SD: Final = 0.12
PRIOR_CHANGES: Final = 8
PRIOR_SLOPE_SD: Final = 0.012
DRIFT_FLOOR_SD: Final = 0.006
HALF_LIFE_WEEKS: Final = 52.0
MAD_TO_SD: Final = 1.4826
DEFAULT_PLAN_FACTOR: Final = 2.0  # P90/P50 of a volume somebody only plans


class ForecastInputError(ValueError):
    """Series that cannot be forecast: a negative volume, or shapes that do not fit; the message names the class."""


@dataclass(frozen=True, slots=True)
class PlannedVolume:
    """What an owner expects of a class without history: units a week (median), and P90 / P50."""

    weekly_units: float
    p90_over_p50: float = DEFAULT_PLAN_FACTOR


@dataclass(frozen=True, slots=True)
class DriverSeries:
    """One class's daily volume in its unit, oldest first, ending on the panel's last day; NaN = unknown.

    `planned_growth` is a stated yearly growth (0.2 = +20 %), None = none stated.
    """

    name: str
    days: Floats
    planned: PlannedVolume | None = None
    planned_growth: float | None = None


@dataclass(frozen=True, slots=True)
class WeeklyPanel:
    """Weeks of all classes, counted backwards from `last_day` (methods.md §5.1).

    `volume`, `z`: [class, week], z = ln(volume + offset). `offset`, `recent_volume`: [class], the latter the sum of the
    last 8 weeks. `shares`: [class, 7], the part of a week on each of its days; a week begins on the weekday after
    `last_day`. `known_days`: [class]. A class without a known week has its z all NaN and, where one is known, a plan.
    """

    names: tuple[str, ...]
    last_day: date
    volume: Floats
    z: Floats
    offset: Floats
    recent_volume: Floats
    shares: Floats
    known_days: Ints
    planned: tuple[PlannedVolume | None, ...]
    planned_growth: Floats

    @property
    def known_weeks(self) -> Ints:
        return np.asarray(np.count_nonzero(~np.isnan(self.z), axis=1), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class PointModel:
    """The model of methods.md §5.2 at every origin. All [class, week] unless said otherwise; NaN before the first week.

    `weeks` n known weeks so far · `level` ln units a week · `own_slope` g, `slope` ĝ, ln a week · `drift_variance` V ·
    `sd` s, [class] · `pooled_slope` ḡ, [week].
    """

    panel: WeeklyPanel
    weeks: Ints
    level: Floats
    own_slope: Floats
    pooled_slope: Floats
    slope: Floats
    drift_variance: Floats
    sd: Floats


def weekly_panel(series: Sequence[DriverSeries], last_day: date) -> WeeklyPanel:
    """Weeks of every class (methods.md §5.1). Raises ForecastInputError for a negative or infinite volume.

    A week with an unknown day is unknown; the oldest partial week is dropped; the last 156 weeks are used. A class
    whose last 8 weeks hold no volume at all has offset 0 and no z: it is inactive.
    """
    weeks = min(MAX_WEEKS, max([1, *(len(row.days) // 7 for row in series)]))
    days = np.full((len(series), weeks * 7), np.nan)
    known_days = np.zeros(len(series), dtype=np.int64)
    for i, row in enumerate(series):
        _refuse_bad_days(row)
        kept = row.days[max(0, len(row.days) - weeks * 7) :]
        days[i, weeks * 7 - len(kept) :] = kept
        known_days[i] = np.count_nonzero(~np.isnan(row.days))
    by_day = days.reshape(len(series), weeks, 7)
    volume = by_day.sum(axis=2)
    recent = volume[:, -RECENT_WEEKS:]
    known = ~np.isnan(recent)
    recent_volume = np.where(known, recent, 0.0).sum(axis=1)
    offset = OFFSET_SHARE * recent_volume / np.maximum(np.count_nonzero(known, axis=1), 1)
    with np.errstate(divide="ignore"):
        z = np.where(offset[:, None] > 0, np.log(volume + offset[:, None]), np.nan)
    growth = np.array([np.log1p(row.planned_growth or 0.0) / 52 for row in series])
    return WeeklyPanel(
        names=tuple(row.name for row in series),
        last_day=last_day,
        volume=volume,
        z=z,
        offset=offset,
        recent_volume=recent_volume,
        shares=np.array([_shares(rows) for rows in by_day]).reshape(len(series), 7),
        known_days=known_days,
        planned=tuple(
            None if has_week else _plan(row) for row, has_week in zip(series, np.any(~np.isnan(z), axis=1), strict=True)
        ),
        planned_growth=growth,
    )


def point_model(panel: WeeklyPanel) -> PointModel:
    """Fit every class at every origin at once (methods.md §5.2): only what is known at the origin, but s and v_c.

    A class without a known week is planned: level ln m, pooled slope, shrunk as with one week (§5.5).
    """
    z = panel.z
    known = ~np.isnan(z)
    weeks = np.cumsum(known, axis=1).astype(np.int64)
    level = _levels(z, known)
    own = _own_slopes(z, known, weeks)
    sd = np.array([_robust_sd(np.diff(row)) for row in z]).reshape(len(panel.names))
    donors = np.where(weeks >= RECENT_WEEKS, panel.recent_volume[:, None], 0.0)
    weight = donors.sum(axis=0)
    pooled = np.where(weight > 0, (donors * own).sum(axis=0) / np.where(weight > 0, weight, 1.0), 0.0)
    is_single = int(np.count_nonzero(panel.known_weeks)) == 1
    slope, variance = _shrunk(weeks, own, pooled, sd, panel.planned_growth, is_single)
    for i, plan in enumerate(panel.planned):
        if plan is not None:
            level[i, -1] = np.log(plan.weekly_units)
    return PointModel(panel, weeks, level, own, pooled, slope, variance, sd)


def damping(half_life_weeks: float, weeks: int) -> Floats:
    """D(1) … D(weeks): growth halves every `half_life_weeks`, so D(h) = Σ φ^i. D(52) = 37.260626 at 52.

    >>> round(float(damping(52, 52)[-1]), 6)
    37.260626
    """
    steps = np.arange(1, weeks + 1, dtype=np.float64)
    return np.cumsum(np.power(0.5, steps / half_life_weeks))


def grade(*, known_weeks: int, known_days: int, is_active: bool) -> Grade:
    """How far the history carries (methods.md §5.5): words for the page, boundaries at 1, 4, 12 and 52 weeks."""
    if known_days >= 7 and not is_active:
        return "inactive"
    if known_weeks < 1:
        return "planned"
    if known_weeks < 4:
        return "very short"
    if known_weeks < 12:
        return "short"
    return "medium" if known_weeks < 52 else "long"


# -- parts -----------------------------------------------------------------------------------------------------


def _refuse_bad_days(row: DriverSeries) -> None:
    bad = np.flatnonzero((row.days < 0) | np.isinf(row.days))
    if bad.size:
        raise ForecastInputError(
            f"class {row.name or '(unclassified)'}: volume of day {len(row.days) - bad[0]} before the end is "
            f"{row.days[bad[0]]}; a volume is finite and not negative"
        )


def _plan(row: DriverSeries) -> PlannedVolume | None:
    """Without a known week: the stated plan, else 7 × the mean of the known days; None = nothing to go by."""
    if row.planned is not None and row.planned.weekly_units > 0:
        return row.planned
    known = row.days[~np.isnan(row.days)]
    return PlannedVolume(7 * float(known.mean())) if 0 < len(known) < 7 and known.any() else None


def _shares(weeks: Floats) -> Floats:
    """Median part of each day over the last 8 known weeks with volume, renormalised; a seventh each without any."""
    recent = weeks[-RECENT_WEEKS:]
    sums = recent.sum(axis=1)
    used = recent[np.nan_to_num(sums) > 0]
    if not len(used):
        return np.full(7, 1 / 7)
    median = np.median(used / used.sum(axis=1, keepdims=True), axis=0)
    total = float(median.sum())
    # Volume on one weekday per week, each time another: every median is 0, and the mean still says something.
    return median / total if total > 0 else np.asarray(used.sum(axis=0) / used.sum(), dtype=np.float64)


def _levels(z: Floats, known: NDArray[np.bool_]) -> Floats:
    level = np.full_like(z, np.nan)
    current = np.full(z.shape[0], np.nan)
    for week in range(z.shape[1]):
        now, seen = z[:, week], known[:, week]
        started = ~np.isnan(current)
        moved = np.where(started, current + LEVEL_GAIN * (now - current), now)
        current = np.where(seen, moved, current)
        level[:, week] = current
    return level


def _own_slopes(z: Floats, known: NDArray[np.bool_], weeks: Ints) -> Floats:
    """Least squares over the last min(n, 104) known weeks at each origin, from running sums; 0 where n < 4."""
    count, width = z.shape
    x = np.broadcast_to(np.arange(width, dtype=np.float64) - width / 2, z.shape)
    filled = np.where(known, z, 0.0)
    # Sums about the class mean: the level of z is far larger than its movement.
    centre = filled.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    y = np.where(known, z - centre[:, None], 0.0)
    first = np.zeros((count, width), dtype=np.int64)
    for i, row in enumerate(weeks):
        first[i] = np.searchsorted(row, np.maximum(row - SLOPE_WEEKS, 0) + 1, side="left")

    def windowed(values: Floats) -> Floats:
        total = np.concatenate([np.zeros((count, 1)), np.cumsum(np.where(known, values, 0.0), axis=1)], axis=1)
        return np.asarray(total[:, 1:] - np.take_along_axis(total, first, axis=1), dtype=np.float64)

    n = np.minimum(weeks, SLOPE_WEEKS)
    sx, sy = windowed(np.asarray(x)), windowed(y)
    spread = n * windowed(np.asarray(x * x)) - sx * sx
    slope = (n * windowed(x * y) - sx * sy) / np.where(spread > 0, spread, 1.0)
    return np.asarray(np.where((weeks >= 4) & (spread > 0), slope, 0.0), dtype=np.float64)


def _robust_sd(changes: Floats) -> float:
    """s: robust sd of weekly changes, shrunk to 0.12 as if by 8 changes."""
    known = changes[~np.isnan(changes)]
    spread = robust_sd(known)
    return float(np.sqrt((len(known) * spread**2 + PRIOR_CHANGES * PRIOR_SD**2) / (len(known) + PRIOR_CHANGES)))


def robust_sd(values: Floats) -> float:
    """1.4826 × median absolute deviation about the median; 0 without values."""
    return float(MAD_TO_SD * np.median(np.abs(values - np.median(values)))) if len(values) else 0.0


def _shrunk(
    weeks: Ints, own: Floats, pooled: Floats, sd: Floats, planned_growth: Floats, is_single: bool
) -> tuple[Floats, Floats]:
    n = np.maximum(weeks, 1)
    tau2 = PRIOR_SLOPE_SD**2 * (1 + 26 / np.maximum(n, 4))
    k = tau2 / (tau2 + 1.2 * (sd**2)[:, None] / n)
    both = own if is_single else 0.5 * own + 0.5 * pooled
    measured = np.where(n < 4, pooled, both)
    slope = k * measured + (1 - k) * planned_growth[:, None]
    return np.asarray(slope, dtype=np.float64), np.asarray(tau2 * (1 - k) + DRIFT_FLOOR_SD**2, dtype=np.float64)
