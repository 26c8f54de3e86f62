"""Forecast: fit, full backtest and calibration of 200 classes × 730 days; joint sample paths; three policies.

    python bench/forecast.py [--classes 200] [--days 730] [--paths 2000] [--json]

Beside it, measured in the same run, a *floor*: drawing as many normals as the paths need and nothing else. Budgets:
methods.md §9, for one core. Each stage runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before NumPy: the budgets are for one core
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np  # noqa: E402

from billing.core.backtesting import backtest, calibrate  # noqa: E402
from billing.core.forecasting import DriverSeries, point_model, weekly_panel  # noqa: E402
from billing.core.sampling import SampleSettings, VolumeModel, sample_volumes, volume_model  # noqa: E402
from billing.core.spending import contract_months, mix_factors, spend_paths  # noqa: E402

LAST_DAY = date(2026, 11, 22)
BUDGETS_S = {"fit": 0.2, "sample_365": 2.0, "sample_1095": 5.0, "policies_365": 0.1, "policies_1095": 0.1}
BUDGET_MB = 250
REPEATS = {"fit": 9, "sample_365": 3, "sample_1095": 3}


def series(classes: int, days: int) -> list[DriverSeries]:
    """Random walks with trends, a weekday shape and noise; a tenth of the classes are young."""
    draw = np.random.default_rng(20261122)
    weekday = np.resize([1.1, 1.15, 1.15, 1.1, 1.0, 0.3, 0.2], days)
    found = []
    for i in range(classes):
        level = np.repeat(np.cumsum(draw.normal(0.002, 0.06, days // 7 + 1)), 7)[:days]
        values = np.exp(draw.normal(6, 1.5) + level + 0.15 * draw.standard_normal(days)) * weekday
        if i % 10 == 0:
            values[: days - int(draw.integers(20, 200))] = np.nan
        found.append(DriverSeries(f"class-{i:03}", values))
    return found


def fitted(rows: list[DriverSeries]) -> VolumeModel:
    model = point_model(weekly_panel(rows, LAST_DAY))
    return volume_model(model, calibrate(backtest(model), model.panel.known_weeks > 0))


def seconds(call: Callable[[], Any], repeats: int) -> float:
    """Median CPU seconds of several runs: everything runs on one thread, and what else the machine does stays out."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def measure(stage: str, options: argparse.Namespace) -> dict[str, float]:
    rows = series(options.classes, options.days)
    if stage == "fit":
        return {"seconds": seconds(lambda: fitted(rows), REPEATS[stage]), "peak_mb": peak_mb()}
    months = 12 if stage == "sample_365" else 36
    model = fitted(rows)
    periods = contract_months(date(2026, 11, 23), months)
    settings = SampleSettings(seed=1, paths=options.paths)
    before = peak_mb()
    taken = seconds(lambda: sample_volumes(model, periods, settings), REPEATS[stage])
    volumes = sample_volumes(model, periods, settings)
    mix = mix_factors(np.full(options.classes, 0.05), paths=options.paths, seed=1)
    costs = np.random.default_rng(2).gamma(2, 0.01, (3, options.classes, months))
    policies = seconds(lambda: spend_paths(volumes, mix, costs), 5)
    peak = peak_mb()
    weeks = -(-(periods[-1][1] - periods[0][0]).days // 7)
    return {
        "seconds": taken,
        "policies_seconds": policies,
        "floor_seconds": seconds(lambda: draw_only(options, weeks), 3),
        "normals": 2.0 * (weeks + 1) * (options.classes + 1) * options.paths,
        "peak_mb": peak,
        "before_mb": before,
    }


def draw_only(options: argparse.Namespace, weeks: int) -> None:
    """Two shocks a week and two for level and drift, own and common, drawn and thrown away."""
    generator = np.random.Generator(np.random.PCG64(1))
    for _ in range(2 * (weeks + 1)):
        generator.standard_normal(options.paths, dtype=np.float32)
        generator.standard_normal((options.classes, options.paths), dtype=np.float32)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(found: dict[str, dict[str, float]], options: argparse.Namespace) -> None:
    print(f"{options.classes} classes × {options.days} days, {options.paths} paths, one core")
    print(f"{'stage':34} {'CPU s':>8} {'budget':>7} {'floor':>7} {'× floor':>8} {'peak MB':>8}")

    def line(name: str, taken: float, budget: float, floor: float | None, peak: float) -> None:
        beside = f"{floor:7.3f} {taken / floor:8.1f}" if floor else f"{'':7} {'':8}"
        over = "" if taken <= budget else "  over budget"
        print(f"{name:34} {taken:8.3f} {budget:7.1f} {beside} {peak:8.0f}{over}")

    line("fit, backtest, calibration", found["fit"]["seconds"], BUDGETS_S["fit"], None, found["fit"]["peak_mb"])
    for days in (365, 1095):
        row = found[f"sample_{days}"]
        line(f"paths × {days} days to months", row["seconds"], BUDGETS_S[f"sample_{days}"], row["floor_seconds"],
             row["peak_mb"])  # fmt: skip
        line("  three policies on them", row["policies_seconds"], BUDGETS_S[f"policies_{days}"], None, row["peak_mb"])
    print(
        f"floor: drawing {found['sample_365']['normals'] / 1e6:.0f} M and {found['sample_1095']['normals'] / 1e6:.0f} M"
    )
    print(f"normals and nothing else; memory budget {BUDGET_MB} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--paths", type=int, default=2_000)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--stage", choices=sorted(REPEATS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(measure(options.stage, options)))
        return
    sizes = [f"--{name}={getattr(options, name)}" for name in ("classes", "days", "paths")]
    found = {}
    for stage in REPEATS:
        command = [sys.executable, __file__, *sizes, f"--stage={stage}"]
        found[stage] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if options.json:
        print(json.dumps(found))
    else:
        report(found, options)


if __name__ == "__main__":
    main()
