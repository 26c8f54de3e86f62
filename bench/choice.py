"""The choice for an estate: 10,000 classes x 20 models, without coupling and with three constraints.

    python bench/choice.py [--classes N] [--models N] [--json]

Budgets: without coupling 0.5 s, a move cap or a floor 1 s, three constraints 5 s; on arrays and, in the last rows, for
the whole recommendation on values. Beside them: the floor, NumPy's argmin over the same costs. What explains a class
(every option in words, its cost under every set of levers, what evidence would be worth) is made when it is read; the
row "and all of it read" reads it for every class, which no page does and which has no budget.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from routing.core.choice import Constraints, Estate, cheapest, choose, frontier
from routing.core.coupling import Limits
from routing.core.levers import NO_CACHE, LeverCosts
from routing.core.options import Candidate, ClassProblem
from routing.core.recommendation import lever_sets, recommend

SEED = 20261125


def drawn(classes: int, models: int) -> Estate:
    """Lognormal costs and volumes, pass rates of 80 to 100 %, 60 % of the pairs admissible."""
    draw = np.random.default_rng(SEED)
    cost = draw.lognormal(3, 1, (classes, models))
    admissible = draw.random((classes, models)) < 0.6
    incumbent = draw.integers(0, models, classes)
    admissible[np.arange(classes), incumbent] = True
    quality = draw.uniform(0.8, 1, (classes, models))
    return Estate(cost, quality, admissible, draw.lognormal(5, 1, classes), incumbent)


def measure(classes: int, models: int) -> list[dict[str, object]]:
    estate = drawn(classes, models)
    free = cheapest(estate).quality(estate) or 0.0
    floor = free + 0.3 * (frontier(estate)[-1].quality - free)
    ways = {
        "free": Constraints(),
        "at most 30 % move": Constraints(move_share=0.3),
        "quality floor": Constraints(quality_floor=floor),
        "floor, move cap and model cap": Constraints(quality_floor=floor, move_share=0.6, model_caps={3: 0.02}),
        "the same, whole classes": Constraints(
            quality_floor=floor, move_share=0.6, model_caps={3: 0.02}, is_whole=True
        ),
    }
    start = time.perf_counter()
    estate.allowed_cost_usd.argmin(axis=1)
    rows: list[dict[str, object]] = [{"what": "argmin (floor)", "seconds": round(time.perf_counter() - start, 4)}]
    for name, limits in ways.items():
        choose(estate, limits) if name == "free" else None  # NumPy's first call is not what is measured
        start = time.perf_counter()
        found = choose(estate, limits)
        rows.append(
            {
                "what": name,
                "seconds": round(time.perf_counter() - start, 4),
                "cost_usd": round(found.cost_usd(estate), 2),
                "quality": round(found.quality(estate) or 0.0, 6),
                "moved_share": round(found.moved_share(estate), 6),
                "split_classes": len(found.split_classes),
            }
        )
    start = time.perf_counter()
    corners = len(frontier(estate))
    rows.append({"what": f"frontier, {corners} corners", "seconds": round(time.perf_counter() - start, 4)})
    return rows + on_values(estate, floor)


def on_values(estate: Estate, floor: float) -> list[dict[str, object]]:
    """The recommendation as it is asked for; three runs each, the middle one told."""
    problems = posed(estate)
    limits = Limits(Decimal(str(round(floor, 6))), Decimal("0.6"), {"m03": Decimal("0.02")})

    def read() -> None:
        for row in recommend(problems).classes:
            assert row.options and row.costs and row.missing_evidence is not None

    ways: dict[str, Callable[[], object]] = {
        "recommend(), free": lambda: recommend(problems),
        "recommend(), three constraints": lambda: recommend(problems, limits=limits),
        "recommend(), free, and all of it read": read,
    }
    rows: list[dict[str, object]] = []
    for name, run in ways.items():
        seconds, cpu = [], []
        for _ in range(3):
            start, start_cpu = time.perf_counter(), time.process_time()
            run()
            seconds.append(time.perf_counter() - start)
            cpu.append(time.process_time() - start_cpu)
        rows.append({"what": name, "seconds": round(sorted(seconds)[1], 4), "cpu_s": round(sorted(cpu)[1], 4)})
    return rows


def posed(estate: Estate) -> list[ClassProblem]:
    """The same estate as the recommender is given it; costs are of one request of the class."""
    sets = lever_sets(("caching", "batch"))
    found = []
    for row in range(estate.classes):
        units = Decimal(str(round(float(estate.requests[row]), 3)))
        candidates = []
        for column in range(estate.cost_usd.shape[1]):
            usd = Decimal(str(round(float(estate.cost_usd[row, column]), 6))) / units
            model = f"m{column:02}"
            costs = LeverCosts(model, dict.fromkeys(sets, usd), NO_CACHE, (), Decimal(0), "")
            clears = bool(estate.admissible[row, column])
            verdict = "clears" if clears else "not_enough_evidence"
            quality = float(estate.quality[row, column])
            candidates.append(Candidate(model, costs, "measured", verdict, False, False, "", True, 9, verdict, quality))
        now = candidates[int(estate.incumbent[row])]
        assert now.costs is not None
        found.append(ClassProblem(f"c{row}", units, "request", now.model, now.costs, Decimal(1), tuple(candidates)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=10_000)
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = measure(asked.classes, asked.models)
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print("  ".join(f"{value:>32}" if key == "what" else f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
