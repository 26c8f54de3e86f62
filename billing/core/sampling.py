"""Joint sample paths of all classes' volumes, summed to periods (methods.md §5.4).

Weeks are drawn one after another and added to the periods they touch, so memory holds periods, never days. One path
means one future for all classes: their sums are summed per path, percentiles are never added.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray

from billing.core.backtesting import LEVEL_VARIANCE, WALK_VARIANCE, Calibration
from billing.core.forecasting import Floats, PointModel

Volumes = NDArray[np.float32]

HEAVY_MAX: Final = 2.5
HEAVY_DEGREES: Final = 6
HALF_LIFE_RANGE_WEEKS: Final = (13.0, 208.0)
MAX_LOG_RISE: Final = 3.0  # a path may exceed the largest week known by e³
Z_90: Final = 1.2816
WEEK: Final = timedelta(days=7)


class PeriodBeforeForecast(ValueError):
    """A period begins before the first day that is forecast; the message names both days."""


@dataclass(frozen=True, slots=True)
class KnownEvent:
    """From `from_date` on the class's volume is multiplied; P90/P10 is the spread of the multiplier (1 = certain).

    A switch-off is multiplier 0. Launches of something new are a plan (`PlannedVolume`), not an event.
    """

    class_name: str
    from_date: date
    multiplier: float
    p90_over_p10: float = 1.0


@dataclass(frozen=True, slots=True)
class VolumeModel:
    """What paths are drawn from. All arrays [class]; ln units a week unless said otherwise.

    `level_sd` replaces √(0.020·R_c)·heavy for planned classes (NaN elsewhere); `ceiling` is max z; `shares` [class, 7];
    `is_active` False: the class is forecast 0. `first_day` is the first forecast day.
    """

    names: tuple[str, ...]
    first_day: date
    level: Floats
    slope: Floats
    drift_variance: Floats
    scale: Floats
    sd: Floats
    level_sd: Floats
    offset: Floats
    ceiling: Floats
    shares: Floats
    is_active: NDArray[np.bool_]
    rho: float


@dataclass(frozen=True, slots=True)
class SampleSettings:
    """How many paths, from which seed, and what a scenario changes: a fixed half-life of growth, known events."""

    seed: int
    paths: int = 2_000
    half_life_weeks: float | None = None
    events: Sequence[KnownEvent] = field(default=())


def volume_model(model: PointModel, calibration: Calibration) -> VolumeModel:
    """The last origin of the point model with its calibrated scales. Classes without any history are not active."""
    panel = model.panel
    level_sd = np.full(len(panel.names), np.nan)
    for i, plan in enumerate(panel.planned):
        if plan is not None:
            level_sd[i] = np.log(plan.p90_over_p50) / Z_90
    level = model.level[:, -1]
    is_active = ~np.isnan(level)
    peak = np.where(np.isnan(panel.z), -np.inf, panel.z).max(axis=1)
    return VolumeModel(
        names=panel.names,
        first_day=panel.last_day + timedelta(days=1),
        level=np.where(is_active, level, 0.0),
        slope=model.slope[:, -1],
        drift_variance=model.drift_variance[:, -1],
        scale=calibration.scale,
        sd=model.sd,
        level_sd=level_sd,
        offset=np.where(np.isnan(level_sd), panel.offset, 0.0),
        ceiling=np.where(np.isfinite(peak), peak, np.where(is_active, level, 0.0)),
        shares=panel.shares,
        is_active=is_active,
        rho=calibration.rho,
    )


def sample_volumes(model: VolumeModel, periods: Sequence[tuple[date, date]], settings: SampleSettings) -> Volumes:
    """Volume of half-open `periods` [start, end): float32 [period, class, path], in each class's units.

    Raises PeriodBeforeForecast for a period that begins before the first forecast day. The same settings and model
    give the same bytes.
    """
    early = [start for start, _ in periods if start < model.first_day]
    if early:
        raise PeriodBeforeForecast(
            f"a period starts on {min(early)}, but the forecast begins on {model.first_day}: the days before are known"
        )
    classes, paths = len(model.names), settings.paths
    found = np.zeros((len(periods), classes, paths), dtype=np.float32)
    last = max((end for _, end in periods), default=model.first_day)
    weeks = -(-(last - model.first_day).days // 7)
    if not weeks or not classes:
        return found
    draw = _Draws(model, settings)
    multipliers = draw.event_multipliers()
    for week in range(weeks):
        volume = draw.next_week()
        for period, days in _days_touched(model.first_day + week * WEEK, periods):
            weight = _weights(model, days, multipliers, model.first_day + week * WEEK)
            found[period] += weight * volume
    return found


def week_fractions(first_week: date, shares: Floats, start: date, end: date) -> Floats:
    """Part of the week beginning `first_week` that falls on days [start, end), by day shares [class, 7] → [class]."""
    inside = np.array([start <= first_week + timedelta(days=day) < end for day in range(7)])
    return np.asarray(shares[:, inside].sum(axis=1), dtype=np.float64)


# -- drawing -----------------------------------------------------------------------------------------------------


class _Draws:
    """One generator, drawn in a fixed order: what is common to all weeks first, then week by week."""

    def __init__(self, model: VolumeModel, settings: SampleSettings) -> None:
        self.model, self.settings = model, settings
        self.generator = Generator(PCG64(settings.seed))
        self.shape = (len(model.names), settings.paths)
        paths = settings.paths
        heavy = np.minimum(np.sqrt(4 / self.generator.chisquare(HEAVY_DEGREES, paths)), HEAVY_MAX)
        low, high = np.log(HALF_LIFE_RANGE_WEEKS)
        half_life = np.exp(low + (high - low) * self.generator.random(paths))
        if settings.half_life_weeks is not None:
            half_life = np.full(paths, settings.half_life_weeks)
        self.phi = np.power(0.5, 1 / half_life)
        self.phi_power, self.damped = np.ones(paths), np.zeros(paths)
        root = np.sqrt(model.scale)
        self.heavy = heavy.astype(np.float32)
        level_sd = np.where(np.isnan(model.level_sd), np.sqrt(LEVEL_VARIANCE) * root, model.level_sd)
        shock = _column(level_sd) * self._shock()
        known = np.isnan(model.level_sd)
        shock[known] *= self.heavy
        self.base = _column(model.level) + shock
        drift_sd = np.sqrt(np.maximum(model.scale, 1.0) * model.drift_variance)
        self.drift = _column(model.slope) + _column(drift_sd) * self.heavy * self._shock()
        self.walk = np.zeros(self.shape, dtype=np.float32)
        self.walk_step = _column(root * np.sqrt(3 * WALK_VARIANCE))
        self.week_sd = _column(model.sd / np.sqrt(2))
        self.offset, self.ceiling = _column(model.offset), _column(model.ceiling + MAX_LOG_RISE)
        self.active = model.is_active[:, None].astype(np.float32)

    def next_week(self) -> Volumes:
        """Weekly volume [class, path] of the next week."""
        self.phi_power *= self.phi
        self.damped += self.phi_power
        step = self._shock()
        step *= self.walk_step
        self.walk += step
        z = self.walk * self.heavy
        z += self.base
        z += self.drift * self.damped.astype(np.float32)
        noise = self._shock()
        noise *= self.week_sd
        z += noise
        np.minimum(z, self.ceiling, out=z)
        np.exp(z, out=z)
        z -= self.offset
        np.maximum(z, 0, out=z)
        z *= self.active
        return z

    def event_multipliers(self) -> list[tuple[int, KnownEvent, Volumes]]:
        """(class, event, multiplier per path); drawn from a generator of its own so that volumes stay the same."""
        names = {name: i for i, name in enumerate(self.model.names)}
        generator = Generator(PCG64([self.settings.seed, 1]))
        rows = []
        for event in self.settings.events:
            normal = generator.standard_normal(self.settings.paths)
            spread = np.exp(np.log(event.p90_over_p10) / (2 * Z_90) * normal)
            if event.class_name in names:
                rows.append((names[event.class_name], event, (event.multiplier * spread).astype(np.float32)))
        return rows

    def _shock(self) -> Volumes:
        """√ρ·common + √(1 − ρ)·own, standard normal, [class, path]."""
        rho = self.model.rho
        common = self.generator.standard_normal(self.settings.paths, dtype=np.float32)
        own = self.generator.standard_normal(self.shape, dtype=np.float32)
        own *= np.float32(np.sqrt(1 - rho))
        own += common * np.float32(np.sqrt(rho))
        return own


def _days_touched(first: date, periods: Sequence[tuple[date, date]]) -> list[tuple[int, NDArray[np.bool_]]]:
    """Periods that share days with the week beginning `first`, with which of its seven days those are."""
    days = [first + timedelta(days=day) for day in range(7)]
    rows = [(i, np.array([start <= day < end for day in days])) for i, (start, end) in enumerate(periods)]
    return [(i, inside) for i, inside in rows if inside.any()]


def _weights(
    model: VolumeModel,
    days: NDArray[np.bool_],
    multipliers: list[tuple[int, KnownEvent, Volumes]],
    first: date,
) -> Volumes:
    """Part of the week on these days, [class, 1], or [class, path] where an event of uncertain size is near."""
    weight: Volumes = model.shares[:, days].sum(axis=1)[:, None].astype(np.float32)
    if not multipliers:
        return weight
    by_path = np.repeat(weight, len(multipliers[0][2]), axis=1)
    by_day: dict[int, list[Volumes]] = {}
    for index, event, multiplier in multipliers:
        row = by_day.setdefault(index, [np.ones_like(multiplier) for _ in range(7)])
        for day in range(7):
            if first + timedelta(days=day) >= event.from_date:
                row[day] = row[day] * multiplier
    for index, row in by_day.items():
        by_path[index] = sum(
            (np.float32(model.shares[index, day]) * row[day] for day in np.flatnonzero(days)),
            np.zeros_like(row[0]),
        )
    return by_path


def _column(values: Floats) -> Volumes:
    column: Volumes = values.astype(np.float32)[:, None]
    return column
