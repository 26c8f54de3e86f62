"""Derive the demo's parameter tables from the public data sets: `python -m costgov.demo.derive`.

Reads the data sets in place (COSTGOV_SHARED names the folder that holds `data/`) and writes compact tables to
`costgov/demo/parameters/`: quantiles with their correlation, day and hour factors, reuse shares, and counts of eval
outcomes. Each row names its source, its licence and this script. A test derives them again and compares.
"""

import csv
import gzip
import io
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SCRIPT: Final = "costgov/demo/derive.py"
TABLES: Final = Path(__file__).with_name("parameters")
PROBABILITIES: Final = (
    0.0, 0.005, 0.01, 0.02, 0.05, *(round(0.1 + 0.05 * i, 2) for i in range(17)), 0.95, 0.98, 0.99, 0.995, 0.999, 1.0,
)  # fmt: skip
QUANTILE_COLUMNS: Final = tuple(f"q{probability:g}" for probability in PROBABILITIES)
OLD_WINDOW_TOK: Final = 200_000  # the models the demo starts on take no longer prompts

CLAUDE_CODE: Final = ("traces/claude_code_requests_a.csv.gz", "callanjfox/kv-cache-tester@94f6046", "Apache-2.0")
AZURE_CODE: Final = (
    "traces/azure_llm_2023_code_until1850.csv.gz", "Azure/AzurePublicDataset@b469a11, Splitwise (ISCA 2024)",
    "CC BY 4.0",
)  # fmt: skip
AZURE_CONV: Final = ("traces/azure_llm_2023_conv_until1850.csv.gz", *AZURE_CODE[1:])
MOONCAKE: Final = (
    "traces/mooncake_conversation_min00-30.jsonl.gz", "kvcache-ai/Mooncake@3b5a594", "Apache-2.0",
)  # fmt: skip
ARXIV: Final = ("traces/arxiv_summarization_tokens_first14000.csv.gz", "microsoft/vidur@7d47513", "MIT")
SERVEGEN: Final = ("alibaba/ServeGen@f891d11", "Apache-2.0")
HOURS: Final = ("usage/claude_code_one_account_sessions_by_hour.csv", "nazt/claude-usage-report@a90d429", "MIT")
SERIES: Final = (
    "series/daily_series.csv", "JoaquinAmatRodrigo/skforecast-datasets@9eb5470 (City of Madrid)", "BSD-3-Clause",
)  # fmt: skip
OPENHANDS: Final = (
    "evals/openhands_index_swe_swt.csv.gz", "OpenHands/openhands-index-results@3015ac6", "MIT",
)  # fmt: skip
BASHKIT: Final = ("evals/bashkit_runs_2026-02_2026-03.csv.gz", "everruns/bashkit@b7097ab", "MIT")
SVELTE: Final = ("evals/sveltebench.csv.gz", "khromov/svelte-bench@a783b5a", "MIT")

Source = tuple[str, str, str]
Floats = NDArray[np.float64]
DAYS: Final = 252
LEVELS_FROM: Final = date(2015, 2, 2)
# Clients of ServeGen with traffic on all 14 days, one per class ("" = all clients of the file).
DAY_SETS: Final = (
    ("m-small", ""), ("m-mid", ""), ("m-small", "5"), ("m-small", "8"), ("m-small", "12"), ("m-mid", "15"),
    ("m-mid", "40"), ("m-mid", "66"), ("m-mid", "101"),
)  # fmt: skip
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


def derive(data: Path) -> dict[str, str]:
    """Every table as the text of its CSV file."""
    sizes, correlations, reuse = _token_tables(data)
    patterns, costs = _openhands(data)
    more_patterns, tokens = _bashkit(data)
    return {
        "token_sizes.csv": _table(sizes),
        "token_correlations.csv": _table(correlations),
        "reuse.csv": _table(reuse),
        "day_factors.csv": _table(_day_factors(data)),
        "hour_factors.csv": _table(_hour_factors(data)),
        "levels.csv": _table(_levels(data)),
        "eval_patterns.csv": _table([*patterns, *more_patterns]),
        "eval_measures.csv": _table([*costs, *tokens]),
        "eval_repeats.csv": _table(_svelte(data)),
    }


# --- token sizes ------------------------------------------------------------------------------------------------------


def _token_tables(data: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    sizes: list[dict[str, Any]] = []
    correlations: list[dict[str, Any]] = []
    for request_class, (variables, source) in _samples(data).items():
        names = list(variables)
        for name in names:
            sizes.append(
                {
                    "class": request_class,
                    "variable": name,
                    "requests": len(variables[name]),
                    "mean": f"{float(np.mean(variables[name])):.3f}",
                    **_quantiles(variables[name]),
                    **_origin(source),
                }
            )
        matrix = _correlation([variables[name] for name in names])
        correlations += [
            {"class": request_class, "a": a, "b": b, "correlation": f"{matrix[i, j]:.4f}", **_origin(source)}
            for i, a in enumerate(names)
            for j, b in enumerate(names)
            if i < j
        ]
    for request_class, file, note in (
        ("record-extraction", "m-mid", "request-weighted lognormals through each client's median and 95th percentile"),
        ("ticket-classification", "m-small", "as m-mid"),
        ("reasoning-analytics", "deepseek-r1", "as m-mid"),
    ):
        more, correlation = _servegen_sizes(data, request_class, file, note)
        sizes += more
        correlations.append(correlation)
    return sizes, correlations, [_mooncake_reuse(data)]


def _samples(data: Path) -> dict[str, tuple[dict[str, Floats], Source]]:
    """Token sizes of single requests, by class and variable."""
    claude_code = [row for row in _rows(data, CLAUDE_CODE) if int(row["input_tokens"]) <= OLD_WINDOW_TOK]
    mooncake = _mooncake_blocks(data)
    return {
        "agentic-coding": (_cached([row for row in claude_code if row["agent"] == "main"]), CLAUDE_CODE),
        "coding-subagent": (_cached([row for row in claude_code if row["agent"] != "main"]), CLAUDE_CODE),
        "ide-completion": (_uncached(_rows(data, AZURE_CODE)), AZURE_CODE),
        "chat-assistant": (_uncached(_rows(data, AZURE_CONV)), AZURE_CONV),
        "long-document-chat": (_uncached(mooncake), MOONCAKE),
        "summarisation-jobs": (_uncached(_rows(data, ARXIV)), ARXIV),
    }


def _cached(rows: Sequence[Mapping[str, str]]) -> dict[str, Floats]:
    """Exclusive kinds under the provider's 5-minute cache: reuse is read, the rest of the whole blocks is written."""
    total = np.array([int(row["input_tokens"]) for row in rows], float)
    blocks = np.array([64 * int(row["prefix_blocks"]) for row in rows], float)
    reuse = np.array([int(row["reuse_tokens_5m"]) for row in rows], float)
    whole = np.maximum(np.minimum(blocks, total), reuse)
    return {
        "uncached_input": total - whole,
        "cache_write_5m": whole - reuse,
        "cache_read": reuse,
        "output": np.array([int(row["output_tokens"]) for row in rows], float),
    }


def _uncached(rows: Iterable[Mapping[str, Any]]) -> dict[str, Floats]:
    pairs = [(int(row["input_tokens"]), int(row["output_tokens"])) for row in rows]
    return {
        "uncached_input": np.array([one for one, _ in pairs], float),
        "output": np.array([other for _, other in pairs], float),
    }


def _servegen_sizes(
    data: Path, request_class: str, file: str, note: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Quantiles of the mixture of clients, each window weighted by its requests.

    The origin publishes mean, median and 95th percentile per client and 6 hours, not requests: a lognormal through the
    last two stands for each. The correlation is that of the medians across clients and windows.
    """
    source = (f"traces/servegen_{file}_tokens_6h.csv.gz", *SERVEGEN)
    weight: dict[tuple[str, int], float] = defaultdict(float)
    for row in _rows(data, (f"traces/servegen_{file}_rate_10min.csv.gz", *SERVEGEN)):
        weight[row["client"], int(float(row["window_start_s"]) // 21_600)] += float(row["rate_rps"]) * 600
    rows = [
        (weight.get((row["client"], int(float(row["window_start_s"]) // 21_600)), 0.0), row)
        for row in _rows(data, source)
    ]
    rows = [(count, row) for count, row in rows if count > 0]
    weights = np.array([count for count, _ in rows])
    weights /= weights.sum()
    grid = np.array([NormalDist().inv_cdf((i + 0.5) / 200) for i in range(200)])
    found, medians = [], []
    for variable, column in (("uncached_input", "input_tokens"), ("output", "output_tokens")):
        p50 = np.array([max(float(row[f"{column}_p50"]), 1.0) for _, row in rows])
        p95 = np.maximum(np.array([float(row[f"{column}_p95"]) for _, row in rows]), p50)
        sigma = np.log(p95 / p50) / NormalDist().inv_cdf(0.95)
        values = np.exp(np.log(p50)[:, None] + sigma[:, None] * grid[None, :]).ravel()
        values = np.maximum(np.round(values), 1)
        shares = np.repeat(weights / len(grid), len(grid))
        found.append(
            {
                "class": request_class,
                "variable": variable,
                "requests": len(rows),
                "mean": f"{float(values @ shares):.3f}",
                **_quantiles(values, shares),
                **_origin(source, note),
            }
        )
        medians.append(p50)
    correlation = float(_correlation(medians)[0, 1])
    return found, {
        "class": request_class,
        "a": "uncached_input",
        "b": "output",
        "correlation": f"{correlation:.4f}",
        **_origin(source, "of the clients' medians"),
    }


def _mooncake_blocks(data: Path) -> list[dict[str, Any]]:
    """Requests with the tokens of the longest block prefix seen at most 5 minutes and 1 hour before."""
    import json

    with gzip.open(data / MOONCAKE[0], "rt", encoding="utf-8") as lines:
        trace = [json.loads(line) for line in lines]
    latest: dict[int, int] = {}
    rows = []
    position = 0
    trace.sort(key=lambda item: item["timestamp"])
    while position < len(trace):
        same = [item for item in trace[position:] if item["timestamp"] == trace[position]["timestamp"]]
        at = trace[position]["timestamp"]
        for item in same:
            reuse = {}
            for name, span in (("5m", 300_000), ("1h", 3_600_000)):
                shared = 0
                for block in item["hash_ids"]:
                    if block not in latest or at - latest[block] > span:
                        break
                    shared += 1
                reuse[name] = min(512 * shared, item["input_length"])
            rows.append(
                {
                    "input_tokens": item["input_length"],
                    "output_tokens": item["output_length"],
                    "whole_tok": item["input_length"] // 512 * 512,
                    "reuse_5m": reuse["5m"],
                    "reuse_1h": reuse["1h"],
                }
            )
        for item in same:
            for block in item["hash_ids"]:
                latest[block] = at
        position += len(same)
    return rows


def _mooncake_reuse(data: Path) -> dict[str, Any]:
    rows = _mooncake_blocks(data)
    total = sum(row["input_tokens"] for row in rows)
    whole = sum(max(row["whole_tok"], row["reuse_1h"]) for row in rows)
    found = {name: sum(row[f"reuse_{name}"] for row in rows) for name in ("5m", "1h")}
    return {
        "class": "long-document-chat",
        "requests": len(rows),
        "input_tok": total,
        "prefix_tok": whole,
        "reuse_5m_tok": found["5m"],
        "reuse_1h_tok": found["1h"],
        "prefix_share": f"{whole / total:.6f}",
        "hit_share_5m": f"{found['5m'] / whole:.6f}",
        "hit_share_1h": f"{found['1h'] / whole:.6f}",
        **_origin(MOONCAKE, "whole 512-token blocks are the prefix; shared across users"),
    }


# --- time -------------------------------------------------------------------------------------------------------------


def _day_factors(data: Path) -> list[dict[str, Any]]:
    """Requests of each of the 14 days over their mean."""
    rows = []
    for file, client in DAY_SETS:
        source = (f"traces/servegen_{file}_rate_10min.csv.gz", *SERVEGEN)
        sums = np.zeros(14)
        for row in _rows(data, source):
            if client in ("", row["client"]):
                sums[int(float(row["window_start_s"]) // 86_400)] += float(row["rate_rps"]) * 600
        factors = sums / sums.mean()
        name = f"{file}/{client or 'all'}"
        rows.append({"set": name, **{f"d{i}": f"{value:.4f}" for i, value in enumerate(factors)}, **_origin(source)})
    return rows


def _hour_factors(data: Path) -> list[dict[str, Any]]:
    """Requests (or sessions) of each hour of the day over their mean."""
    rows = []
    for file in ("m-small", "m-mid", "deepseek-r1"):
        source = (f"traces/servegen_{file}_rate_10min.csv.gz", *SERVEGEN)
        sums = np.zeros(24)
        for row in _rows(data, source):
            sums[int(float(row["window_start_s"]) % 86_400 // 3_600)] += float(row["rate_rps"]) * 600
        rows.append({"set": file, **_hours(sums), **_origin(source)})
    sums = np.zeros(24)
    for row in _rows(data, HOURS):
        sums[int(row["hour_of_day"])] += float(row["sessions"])
    rows.append({"set": "claude-code", **_hours(sums), **_origin(HOURS, "sessions, hours as published")})
    return rows


def _hours(sums: Floats) -> dict[str, str]:
    return {f"h{i}": f"{value:.4f}" for i, value in enumerate(sums / sums.mean())}


def _levels(data: Path) -> list[dict[str, Any]]:
    """Level of each day: 7-day centred means over the mean of the last 28 days of the slice."""
    values = {
        date.fromisoformat(row["date"]): float(row["value"])
        for row in _rows(data, SERIES)
        if row["series"] == "bicimad_trips"
    }
    days = sorted(day for day in values if day >= LEVELS_FROM)
    first = days[0].toordinal()
    means = [
        float(np.mean([values[date.fromordinal(first + i + shift)] for shift in range(-3, 4)])) for i in range(DAYS)
    ]
    last = float(np.mean(means[-28:]))
    return [
        {
            "day": i,
            "level": f"{mean / last:.4f}",
            **_origin(SERIES, f"bicimad_trips from {LEVELS_FROM}, weekly rhythm taken out"),
        }
        for i, mean in enumerate(means)
    ]


# --- evals ------------------------------------------------------------------------------------------------------------


def _openhands(data: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Joint outcomes ('1' pass, '0' fail, '-' not run) of three models per task, and each model's measured cost."""
    outcomes: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    cost: dict[tuple[str, str], list[Decimal]] = defaultdict(list)
    for row in _rows(data, OPENHANDS):
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


def _bashkit(data: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Joint outcomes and tokens of the run of 2026-02-28, all task classes pooled."""
    outcomes: dict[str, dict[str, str]] = defaultdict(dict)
    tokens: dict[tuple[str, str], list[Decimal]] = defaultdict(list)
    for row in _rows(data, BASHKIT):
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


def _svelte(data: Path) -> list[dict[str, Any]]:
    """Passes of ten runs of each of nine components: nine distinct cases (`counter#3` is a run of `counter`)."""
    passes: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in _rows(data, SVELTE):
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
            **_origin(SVELTE),
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
            **_origin(source),
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
        **_quantiles(floats, places=6 if measure == "cost_usd" else 0),
        **_origin(source),
    }


# --- parts ------------------------------------------------------------------------------------------------------------


def _quantiles(values: Floats, shares: Floats | None = None, *, places: int = 0) -> dict[str, str]:
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    if shares is None:
        found = np.quantile(ordered, PROBABILITIES)
    else:
        # The tail of the mixture was not published: the greatest value is the one at 99.95 %.
        found = np.interp(np.minimum(PROBABILITIES, 0.9995), np.cumsum(shares[order]), ordered)
    return {name: f"{value:.{places}f}" for name, value in zip(QUANTILE_COLUMNS, found, strict=True)}


def _correlation(columns: Sequence[Floats]) -> Floats:
    """Correlations of a normal copula that gives the columns' rank correlations (ties averaged): 2·sin(π·ρ/6)."""
    ranks = []
    for values in columns:
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - counts / 2)[inverse])
    found: Floats = 2 * np.sin(np.pi / 6 * np.corrcoef(np.array(ranks)))
    return found


def _rows(data: Path, source: Source) -> list[dict[str, str]]:
    path = data / source[0]
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def _origin(source: Source, note: str = "") -> dict[str, str]:
    return {"file": source[0], "source": source[1], "licence": source[2], "script": SCRIPT, "note": note}


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def main() -> None:
    shared = os.environ.get("COSTGOV_SHARED")
    if not shared:
        sys.exit("Set COSTGOV_SHARED to the folder that holds data/ (the public data sets).")
    TABLES.mkdir(exist_ok=True)
    for name, text in derive(Path(shared) / "data").items():
        (TABLES / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
