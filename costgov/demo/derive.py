"""Derive the demo's parameter tables from the public data sets: `python -m costgov.demo.derive`.

Reads the data sets in place (COSTGOV_SHARED names the folder that holds `data/`) and writes compact tables to
`costgov/demo/parameters/`: quantiles with their correlation, day and hour factors, reuse shares, and counts of eval
outcomes. Each row names its source, its licence and this script. A test derives them again and compares.
"""

import gzip
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from costgov.demo.derive_evals import bashkit, openhands, svelte
from costgov.demo.derive_parts import Floats, Source, copula_correlation, csv_text, origin_of, quantile_cells, read_rows

TABLES: Final = Path(__file__).with_name("parameters")
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
DAYS: Final = 252
LEVELS_FROM: Final = date(2015, 2, 2)
# Clients of ServeGen with traffic on all 14 days, one per class ("" = all clients of the file).
DAY_SETS: Final = (
    ("m-small", ""), ("m-mid", ""), ("m-small", "5"), ("m-small", "8"), ("m-small", "12"), ("m-mid", "15"),
    ("m-mid", "40"), ("m-mid", "66"), ("m-mid", "101"),
)  # fmt: skip


def derive(data: Path) -> dict[str, str]:
    """Every table as the text of its CSV file."""
    sizes, correlations, reuse = _token_tables(data)
    patterns, costs = openhands(data)
    more_patterns, tokens = bashkit(data)
    return {
        "token_sizes.csv": csv_text(sizes),
        "token_correlations.csv": csv_text(correlations),
        "reuse.csv": csv_text(reuse),
        "day_factors.csv": csv_text(_day_factors(data)),
        "hour_factors.csv": csv_text(_hour_factors(data)),
        "levels.csv": csv_text(_levels(data)),
        "eval_patterns.csv": csv_text([*patterns, *more_patterns]),
        "eval_measures.csv": csv_text([*costs, *tokens]),
        "eval_repeats.csv": csv_text(svelte(data)),
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
                    **quantile_cells(variables[name]),
                    **origin_of(source),
                }
            )
        matrix = copula_correlation([variables[name] for name in names])
        correlations += [
            {"class": request_class, "a": a, "b": b, "correlation": f"{matrix[i, j]:.4f}", **origin_of(source)}
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
    claude_code = [row for row in read_rows(data, CLAUDE_CODE) if int(row["input_tokens"]) <= OLD_WINDOW_TOK]
    mooncake = _mooncake_blocks(data)
    return {
        "agentic-coding": (_cached([row for row in claude_code if row["agent"] == "main"]), CLAUDE_CODE),
        "coding-subagent": (_cached([row for row in claude_code if row["agent"] != "main"]), CLAUDE_CODE),
        "ide-completion": (_uncached(read_rows(data, AZURE_CODE)), AZURE_CODE),
        "chat-assistant": (_uncached(read_rows(data, AZURE_CONV)), AZURE_CONV),
        "long-document-chat": (_uncached(mooncake), MOONCAKE),
        "summarisation-jobs": (_uncached(read_rows(data, ARXIV)), ARXIV),
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
    for row in read_rows(data, (f"traces/servegen_{file}_rate_10min.csv.gz", *SERVEGEN)):
        weight[row["client"], int(float(row["window_start_s"]) // 21_600)] += float(row["rate_rps"]) * 600
    rows = [
        (weight.get((row["client"], int(float(row["window_start_s"]) // 21_600)), 0.0), row)
        for row in read_rows(data, source)
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
                **quantile_cells(values, shares),
                **origin_of(source, note),
            }
        )
        medians.append(p50)
    correlation = float(copula_correlation(medians)[0, 1])
    return found, {
        "class": request_class,
        "a": "uncached_input",
        "b": "output",
        "correlation": f"{correlation:.4f}",
        **origin_of(source, "of the clients' medians"),
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
        **origin_of(MOONCAKE, "whole 512-token blocks are the prefix; shared across users"),
    }


# --- time -------------------------------------------------------------------------------------------------------------


def _day_factors(data: Path) -> list[dict[str, Any]]:
    """Requests of each of the 14 days over their mean."""
    rows = []
    for file, client in DAY_SETS:
        source = (f"traces/servegen_{file}_rate_10min.csv.gz", *SERVEGEN)
        sums = np.zeros(14)
        for row in read_rows(data, source):
            if client in ("", row["client"]):
                sums[int(float(row["window_start_s"]) // 86_400)] += float(row["rate_rps"]) * 600
        factors = sums / sums.mean()
        name = f"{file}/{client or 'all'}"
        rows.append({"set": name, **{f"d{i}": f"{value:.4f}" for i, value in enumerate(factors)}, **origin_of(source)})
    return rows


def _hour_factors(data: Path) -> list[dict[str, Any]]:
    """Requests (or sessions) of each hour of the day over their mean."""
    rows = []
    for file in ("m-small", "m-mid", "deepseek-r1"):
        source = (f"traces/servegen_{file}_rate_10min.csv.gz", *SERVEGEN)
        sums = np.zeros(24)
        for row in read_rows(data, source):
            sums[int(float(row["window_start_s"]) % 86_400 // 3_600)] += float(row["rate_rps"]) * 600
        rows.append({"set": file, **_hours(sums), **origin_of(source)})
    sums = np.zeros(24)
    for row in read_rows(data, HOURS):
        sums[int(row["hour_of_day"])] += float(row["sessions"])
    rows.append({"set": "claude-code", **_hours(sums), **origin_of(HOURS, "sessions, hours as published")})
    return rows


def _hours(sums: Floats) -> dict[str, str]:
    return {f"h{i}": f"{value:.4f}" for i, value in enumerate(sums / sums.mean())}


def _levels(data: Path) -> list[dict[str, Any]]:
    """Level of each day: 7-day centred means over the mean of the last 28 days of the slice."""
    values = {
        date.fromisoformat(row["date"]): float(row["value"])
        for row in read_rows(data, SERIES)
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
            **origin_of(SERIES, f"bicimad_trips from {LEVELS_FROM}, weekly rhythm taken out"),
        }
        for i, mean in enumerate(means)
    ]


def main() -> None:
    shared = os.environ.get("COSTGOV_SHARED")
    if not shared:
        sys.exit("Set COSTGOV_SHARED to the folder that holds data/ (the public data sets).")
    TABLES.mkdir(exist_ok=True)
    for name, text in derive(Path(shared) / "data").items():
        (TABLES / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
