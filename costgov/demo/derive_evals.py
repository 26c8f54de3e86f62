"""Eval tables of the demo: joint outcomes, measured cost or tokens, and repeats, as published."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np

from costgov.demo.derive_parts import Source, origin_of, quantile_cells, read_rows

OPENHANDS: Final = (
    "evals/openhands_index_swe_swt.csv.gz", "OpenHands/openhands-index-results@3015ac6", "MIT",
)  # fmt: skip
BASHKIT: Final = ("evals/bashkit_runs_2026-02_2026-03.csv.gz", "everruns/bashkit@b7097ab", "MIT")
SVELTE: Final = ("evals/sveltebench.csv.gz", "khromov/svelte-bench@a783b5a", "MIT")
# Bench name -> (class, models in the order of the patterns).
OPENHANDS_CLASSES: Final = {"swe-bench": "agentic-coding", "swt-bench": "reasoning-analytics"}
OPENHANDS_MODELS: Final = ("claude-opus-4-5", "claude-opus-4-6", "claude-sonnet-4-5")
BASHKIT_MODELS: Final = ("claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5")
SVELTE_RUNS: Final = {
    "anthropic/claude-opus-4.5": "claude-opus-4-5",
    "claude-opus-4-6": "claude-opus-4-6",
    "claude-sonnet-4-6": "claude-sonnet-4-6",
    "claude-haiku-4-5-20251001": "claude-haiku-4-5",
}


def openhands(data: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Joint outcomes ('1' pass, '0' fail, '-' not run) of three models per task, and each model's measured cost."""
    outcomes: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    cost: dict[tuple[str, str], list[Decimal]] = defaultdict(list)
    for row in read_rows(data, OPENHANDS):
        if row["model"] in OPENHANDS_MODELS and row["passed"]:
            outcomes[row["class"]][row["item_id"]][row["model"]] = row["passed"]
            cost[row["class"], row["model"]].append(Decimal(row["cost_usd"]))
    patterns, costs = [], []
    for bench, request_class in OPENHANDS_CLASSES.items():
        counted = Counter(
            "".join(found.get(model, "-") for model in OPENHANDS_MODELS) for found in outcomes[bench].values()
        )
        patterns += _patterns(request_class, bench, OPENHANDS_MODELS, counted, OPENHANDS)
        for model in OPENHANDS_MODELS:
            values = cost[bench, model]
            costs.append(_measure(request_class, model, "cost_usd", values, OPENHANDS))
    return patterns, costs


def bashkit(data: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Joint outcomes and tokens of the run of 2026-02-28, all task classes pooled."""
    outcomes: dict[str, dict[str, str]] = defaultdict(dict)
    tokens: dict[tuple[str, str], list[Decimal]] = defaultdict(list)
    for row in read_rows(data, BASHKIT):
        model = row["model"].removesuffix("-20251001")
        if row["run_date"] == "2026-02-28" and model in BASHKIT_MODELS:
            outcomes[f"{row['class']}/{row['item_id']}"][model] = row["passed"]
            for kind in ("input_tokens", "output_tokens"):
                tokens[model, kind].append(Decimal(row[kind]))
    counted = Counter("".join(found.get(model, "-") for model in BASHKIT_MODELS) for found in outcomes.values())
    measures = [
        _measure("coding-subagent", model, kind, tokens[model, kind], BASHKIT)
        for model in BASHKIT_MODELS
        for kind in ("input_tokens", "output_tokens")
    ]
    return _patterns("coding-subagent", "bashkit", BASHKIT_MODELS, counted, BASHKIT), measures


def svelte(data: Path) -> list[dict[str, Any]]:
    """Passes of ten runs of each of nine components: nine distinct cases (`counter#3` is a run of `counter`)."""
    passes: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in read_rows(data, SVELTE):
        model = SVELTE_RUNS.get(row["model"])
        if model and row["passed"] and not row["run_id"].startswith("v1-"):
            passes[row["item_id"].partition("#")[0], model].append(int(row["passed"]))
    return [
        {
            "class": "ide-completion",
            "suite": "sveltebench",
            "case": case,
            "model": model,
            "repeats": len(found),
            "passes": sum(found),
            **origin_of(SVELTE),
        }
        for (case, model), found in sorted(passes.items())
    ]


def _patterns(
    request_class: str, suite: str, models: Sequence[str], counted: Mapping[str, int], source: Source
) -> list[dict[str, Any]]:
    return [
        {
            "class": request_class,
            "suite": suite,
            "models": " ".join(models),
            "pattern": pattern,
            "cases": cases,
            **origin_of(source),
        }
        for pattern, cases in sorted(counted.items())
    ]


def _measure(request_class: str, model: str, measure: str, values: Sequence[Decimal], source: Source) -> dict[str, Any]:
    floats = np.array([float(value) for value in values])
    return {
        "class": request_class,
        "model": model,
        "measure": measure,
        "cases": len(values),
        "total": str(sum(values, Decimal(0)).normalize() + 0),
        **quantile_cells(floats, places=6 if measure == "cost_usd" else 0),
        **origin_of(source),
    }
