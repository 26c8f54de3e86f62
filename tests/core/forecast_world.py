"""The series of the worked example (methods.md §5.7) and a slow, obviously right model of §5.2–5.3 in plain loops."""

import math
from datetime import date
from itertools import pairwise
from statistics import median

import numpy as np

from billing.core.forecasting import DriverSeries

LAST_DAY = date(2026, 3, 29)  # a Sunday: day 209
WEEKDAYS = (1.10, 1.15, 1.15, 1.10, 1.00, 0.30, 0.20)


def golden_series() -> list[DriverSeries]:
    """A, B and C; C is unknown before day 140."""

    def day(t: int) -> tuple[float, float, float]:
        w = WEEKDAYS[t % 7]
        a = 1000 * math.exp(0.004 * t + 0.08 * math.sin(1.7 * t) + 0.10 * math.sin(0.21 * t)) * w
        b = 5000 * math.exp(0.06 * math.sin(2.3 * t) - 0.15 * math.cos(0.11 * t)) * w
        c = 200 * math.exp(0.010 * (t - 140) + 0.10 * math.sin(1.1 * t)) * w if t >= 140 else math.nan
        return a, b, c

    rows = [day(t) for t in range(210)]
    return [DriverSeries(name, np.array([row[i] for row in rows])) for i, name in enumerate("ABC")]


# -- plain loops -----------------------------------------------------------------------------------------------

Weeks = list[float | None]


def weekly(days: list[float]) -> Weeks:
    """Weeks counted backwards from the last day; the oldest partial week dropped; None = unknown."""
    found: Weeks = []
    for end in range(len(days), 6, -7):
        week = days[end - 7 : end]
        found.insert(0, None if any(math.isnan(v) for v in week) else sum(week))
    return found[-156:]


def logs(weeks: Weeks) -> Weeks:
    known = [v for v in weeks[-8:] if v is not None]
    offset = 0.005 * sum(known) / len(known)
    return [None if v is None else math.log(v + offset) for v in weeks]


def known_until(z: Weeks, t: int) -> list[tuple[int, float]]:
    return [(i, v) for i, v in enumerate(z[: t + 1]) if v is not None]


def level_at(z: Weeks, t: int) -> float:
    known = known_until(z, t)
    level = known[0][1]
    for _, value in known[1:]:
        level += 0.5 * (value - level)
    return level


def sd_of(z: Weeks) -> float:
    changes = [b - a for a, b in pairwise(z) if a is not None and b is not None]
    mad = median(abs(c - median(changes)) for c in changes) if changes else 0.0
    return math.sqrt((len(changes) * (1.4826 * mad) ** 2 + 8 * 0.12**2) / (len(changes) + 8))


def slope_at(z: Weeks, t: int) -> float:
    known = known_until(z, t)[-104:]
    if len(known) < 4:
        return 0.0
    mean_x = sum(x for x, _ in known) / len(known)
    mean_y = sum(y for _, y in known) / len(known)
    return sum((x - mean_x) * (y - mean_y) for x, y in known) / sum((x - mean_x) ** 2 for x, _ in known)


def pooled_at(panel: list[Weeks], volumes: list[float], t: int) -> float:
    donors = [(v, slope_at(z, t)) for z, v in zip(panel, volumes, strict=True) if len(known_until(z, t)) >= 8]
    weight = sum(v for v, _ in donors)
    return sum(v * g for v, g in donors) / weight if weight else 0.0


def shrunk_at(panel: list[Weeks], volumes: list[float], c: int, t: int, gamma: float = 0.0) -> tuple[float, float]:
    """(ĝ, V) of class c at week t."""
    z = panel[c]
    n = max(1, len(known_until(z, t)))
    tau2 = 0.012**2 * (1 + 26 / max(n, 4))
    k = tau2 / (tau2 + 1.2 * sd_of(z) ** 2 / n)
    g, pooled = slope_at(z, t), pooled_at(panel, volumes, t)
    measured = pooled if n < 4 else g if len(panel) == 1 else 0.5 * g + 0.5 * pooled
    return k * measured + (1 - k) * gamma, tau2 * (1 - k) + 0.006**2


def damped(weeks: int, half_life: float = 52.0) -> list[float]:
    total, found = 0.0, []
    for i in range(1, weeks + 1):
        total += 0.5 ** (i / half_life)
        found.append(total)
    return found


def calibration_of(panel: list[Weeks], volumes: list[float]) -> tuple[list[float], list[float], float, float]:
    """(A_c, R_c, ρ, R) by plain loops over classes, horizons and origins."""
    classes, width = len(panel), len(panel[0])
    errors: dict[tuple[int, int, int], float] = {}
    squares, tries = [0.0] * classes, [0.0] * classes
    for h in (4, 13, 26, 52):
        steps = damped(h)
        for t in range(7, width - h):
            for c, z in enumerate(panel):
                future = z[t + 1 : t + 1 + h]
                if len(known_until(z, t)) < 8 or any(v is None for v in future):
                    continue
                slope, variance = shrunk_at(panel, volumes, c, t)
                actual = sum(math.exp(v) for v in future if v is not None)
                forecast = sum(math.exp(level_at(z, t) + slope * d) for d in steps)
                e = math.log(actual / forecast)
                v = 0.020 + 0.002 * h + variance * (sum(steps) / h) ** 2
                errors[c, h, t] = e
                squares[c] += min(e * e / v, 9) / h
                tries[c] += 1 / h
    pairs = origins = 0.0
    for h in (4, 13, 26, 52):
        rms = {}
        for c in range(classes):
            own = [e for (cc, hh, _), e in errors.items() if (cc, hh) == (c, h)]
            rms[c] = math.sqrt(sum(e * e for e in own) / len(own)) if own else 1.0
        for t in range(7, width - h):
            u = [max(-3, min(3, errors[c, h, t] / rms[c])) for c in range(classes) if (c, h, t) in errors]
            if len(u) >= 2:
                pairs += (sum(u) ** 2 - sum(x * x for x in u)) / (len(u) * (len(u) - 1)) / h
                origins += 1 / h
    rho = max(0.0, min(0.95, (pairs + 4 * 0.5) / (origins + 4)))
    effective = classes / (1 + (classes - 1) * rho)
    pooled = (effective * sum(squares) / classes + 4) / (effective * sum(tries) / classes + 4)
    return squares, [(a + 4 * pooled) / (n + 4) for a, n in zip(squares, tries, strict=True)], rho, pooled
