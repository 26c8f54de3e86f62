"""Verdicts: time of 1,000 verdicts and 1,000 lower bounds, beside the bare arithmetic they stand on; and how they err.

    python bench/verdicts.py [--only times|characteristics] [--json]

Budgets (one core): 1,000 verdicts ≤ 0.1 s, 1,000 lower bounds ≤ 3 s. A verdict here is the decision for counts: ln E⁺
and ln E⁻ against the threshold. Beside it: `judge` with everything a page shows (bounds, cases still needed, reason),
and the floor: NumPy exponentials of 1,000 × 200 numbers twice.

Characteristics (half a minute): how often a class approves a model that is at or below its line when the verdict is
looked at after every case, promised at most 5 %; and how many cases a better model takes, beside what no such test can
go below and what a test that is looked at once takes. Exact, and by simulation with its interval.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.characteristics import ALPHA as PROMISED
from bench.characteristics import cases_to_clear, needed_table, wrong_approvals, wrong_table
from routing.core.evalues import log_e_values, log_threshold, lower_bound
from routing.core.evidence import Evidence
from routing.core.verdicts import judge

PAIRS = 1_000
SEED = 20261124
LINE, ALPHA = 0.93, 0.05


def timed(work: Callable[[], object], rounds: int) -> float:
    """Median seconds of some rounds, after one to warm up."""
    work()
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def _first(work: Callable[[], object]) -> float:
    """Seconds of the first round: figures of counts seen before are remembered."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure() -> dict[str, float]:
    """Seconds for 1,000 pairs of a class and a model with 30 to 1,000 cases each."""
    draw = random.Random(SEED)
    cases = [draw.randint(30, 1_000) for _ in range(PAIRS)]
    passes = [sum(draw.random() < rate for _ in range(n)) for n in cases for rate in (draw.uniform(0.8, 1),)]
    threshold = log_threshold(ALPHA)
    numbers = np.random.default_rng(SEED).normal(size=(PAIRS, 200))
    evidence = [Evidence.of_counts(k, n) for k, n in zip(passes, cases, strict=True)]

    def verdicts() -> list[bool]:
        clear, short = log_e_values(passes, cases, LINE)
        return [bool(up >= threshold or down >= threshold) for up, down in zip(clear, short, strict=True)]

    return {
        "verdicts_s": timed(verdicts, 9),
        "lower_bounds_s": timed(lambda: lower_bound(passes, cases, threshold), 5),
        "judged_whole_s": _first(lambda: [judge(found, bar=LINE, tolerance=0) for found in evidence]),
        "floor_exponentials_s": timed(lambda: (np.exp(numbers), np.exp(numbers)), 9),
    }


def print_times(found: dict[str, float]) -> None:
    rows = (
        ("1,000 verdicts of counts", "verdicts_s", "budget 0.1 s"),
        ("1,000 lower bounds", "lower_bounds_s", "budget 3 s"),
        ("1,000 verdicts as a page shows them", "judged_whole_s", "both bounds and cases needed included"),
        ("floor: exponentials of 2 × 1,000 × 200", "floor_exponentials_s", ""),
    )
    for label, key, note in rows:
        print(f"{label:<40} {found[key]:>9.4f} s   {note}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("times", "characteristics"), help="one of the two parts")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args()
    times = None if options.only == "characteristics" else measure()
    wrong = needed = None
    if options.only != "times":
        wrong, needed = wrong_approvals(), cases_to_clear()
    if options.json:
        document = {
            "pairs": PAIRS,
            **(times or {}),
            "wrong_approvals": [asdict(row) for row in wrong or ()],
            "cases_to_clear": [asdict(row) for row in needed or ()],
        }
        print(json.dumps(document))
    else:
        if times is not None:
            print_times(times)
        if wrong is not None and needed is not None:
            print("", *wrong_table(wrong), "", *needed_table(needed), sep="\n")
    too_often = [row for row in wrong or () if row.simulated.low > PROMISED or (row.exact or 0) > PROMISED]
    if too_often:
        sys.exit(f"approves wrongly more often than promised: {too_often}")


if __name__ == "__main__":
    main()
