"""Spend under several policies on the same volume paths (methods.md §6), with the staged rollout of §4.5.

spend[policy, path, period] = Σ_c volume[period, c, path] × mix[c, path] × unit_cost[policy, c, period]. Because every
policy sees the same volumes and the same mix, differences between policies are exact per path. Estimates: float64, usd.
"""

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray

from billing.core.forecasting import Floats, robust_sd
from billing.core.sampling import Volumes

MIX_PRIOR_SD: Final = 0.05
MIX_PRIOR_CHANGES: Final = 8
ROLLOUT_STAGES: Final[tuple[tuple[int, float], ...]] = ((0, 0.05), (7, 0.25), (14, 0.50), (21, 0.98))
QUANTILES: Final = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)

Periods = tuple[tuple[date, date], ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """What paths say of one sum, usd. `standard_error` is that of the mean, from the number of paths alone."""

    p10: float
    p50: float
    p90: float
    mean: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class PriceSegment:
    """Days [start, end) on which every price stays the same, with each class's unit cost in usd: [class]."""

    start: date
    end: date
    unit_cost_usd: Floats


def contract_months(start: date, months: int) -> Periods:
    """`months` half-open periods of a month from any day: calendar months when it is a first.

    A start after the 28th keeps its day where the month has it, else ends on the month's last day.

    >>> contract_months(date(2027, 1, 31), 2)[1]
    (datetime.date(2027, 2, 28), datetime.date(2027, 3, 31))
    """
    starts = [_months_after(start, i) for i in range(months + 1)]
    return tuple(pairwise(starts))


def rollout_share(
    rollout_start: date, period: tuple[date, date], stages: Sequence[tuple[int, float]] = ROLLOUT_STAGES
) -> float:
    """Share of a class that has moved, averaged over the days of a half-open period (methods.md §4.5).

    >>> rollout_share(date(2027, 1, 1), (date(2027, 1, 1), date(2027, 1, 15)))
    0.15
    """
    days = (period[1] - period[0]).days
    total = 0.0
    for i, (after, share) in enumerate(stages):
        begin = rollout_start + timedelta(days=after)
        end = rollout_start + timedelta(days=stages[i + 1][0]) if i + 1 < len(stages) else period[1]
        total += share * max(0, (min(end, period[1]) - max(begin, period[0])).days)
    return total / days


def period_unit_costs(segments: Sequence[PriceSegment], periods: Periods) -> Floats:
    """Unit cost of each class in each period, averaged over its days where a price changes inside: [class, period].

    Raises ValueError when a day of a period lies in no segment, or in two.
    """
    columns = []
    for start, end in periods:
        days = [max(0, (min(row.end, end) - max(row.start, start)).days) for row in segments]
        if sum(days) != (end - start).days:
            raise ValueError(f"the price segments cover {sum(days)} of {(end - start).days} days from {start} to {end}")
        parts = [row.unit_cost_usd * (n / sum(days)) for row, n in zip(segments, days, strict=True) if n]
        columns.append(np.sum(parts, axis=0))
    return np.stack(columns, axis=1)


def rolled_out(current: Floats, target: Floats, shares: Floats) -> Floats:
    """(1 − share) × current + share × target, all [class, period]: spend while a move is rolled out."""
    return np.asarray((1 - shares) * current + shares * target, dtype=np.float64)


def mix_sd(unit_costs_usd: Floats) -> float:
    """σ of the mix factor from unit costs at constant prices of consecutive 4-week blocks, oldest first.

    σ² = (n·s_m² + 8·0.05²)/(n + 8), s_m the robust sd of the changes in ln unit cost, n their number. Unknown (NaN) or
    free blocks are skipped, and with them the changes on both sides.
    """
    logs = np.log(np.where(unit_costs_usd > 0, unit_costs_usd, np.nan))
    changes = np.diff(logs)
    changes = changes[~np.isnan(changes)]
    spread = robust_sd(changes)
    variance = (len(changes) * spread**2 + MIX_PRIOR_CHANGES * MIX_PRIOR_SD**2) / (len(changes) + MIX_PRIOR_CHANGES)
    return float(np.sqrt(variance))


def mix_factors(sds: Floats, *, paths: int, seed: int) -> Floats:
    """exp(σx − σ²/2), mean 1, x standard normal per class and path: [class, path]. A seed of its own stream."""
    generator = Generator(PCG64([seed, 2]))
    normal = generator.standard_normal((len(sds), paths))
    column = sds[:, None]
    return np.asarray(np.exp(column * normal - column**2 / 2), dtype=np.float64)


def spend_paths(volumes: Volumes, mix: Floats, unit_costs: Floats) -> Floats:
    """Spend in usd, [policy, path, period].

    `volumes` [period, class, path], `mix` [class, path], `unit_costs` [policy, class, period].
    """
    periods, _, paths = volumes.shape
    found = np.empty((len(unit_costs), paths, periods))
    for period in range(periods):
        units = volumes[period] * mix  # float64: only volumes are kept in float32
        found[:, :, period] = unit_costs[:, :, period] @ units
    return found


def class_means(volumes: Volumes, mix: Floats, unit_costs: Floats) -> Floats:
    """Mean spend of each class over all periods, usd: [policy, class]. Sums to the mean of the total."""
    mean_units = np.stack([(volumes[period] * mix).mean(axis=1) for period in range(len(volumes))], axis=1)
    return np.asarray((unit_costs * mean_units[None]).sum(axis=2), dtype=np.float64)


def spread(values: Floats) -> Spread:
    """P10, P50, P90 and mean of per-path sums [path]; sum first, then take percentiles."""
    p10, p50, p90 = (float(value) for value in np.quantile(values, (0.1, 0.5, 0.9)))
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return Spread(p10, p50, p90, float(values.mean()), error)


def yearly_sums(spend: Floats) -> Floats:
    """Sums of each twelve periods per path: [path, period] → [path, year]; a last incomplete year counts as one."""
    starts = list(range(0, spend.shape[1], 12))
    return np.asarray(np.add.reduceat(spend, starts, axis=1), dtype=np.float64)


def quantile_table(spend: Floats, probabilities: Sequence[float] = QUANTILES) -> NDArray[np.float64]:
    """Quantiles of every period over the paths: [path, period] → [probability, period]."""
    return np.asarray(np.quantile(spend, probabilities, axis=0), dtype=np.float64)


def _months_after(start: date, months: int) -> date:
    index = start.year * 12 + start.month - 1 + months
    year, month = divmod(index, 12)
    return date(year, month + 1, min(start.day, calendar.monthrange(year, month + 1)[1]))
