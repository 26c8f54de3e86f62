"""Slow and obvious: what the public eval sets show, and the cheapest model that clears a line, by three rules.

    python -m tests.core.public_evals FOLDER_OF_PUBLIC_DATA > tests/core/data/public_evals.json

Uses the standard library only and nothing of this project: the figures it prints are what our code is held against.
Sources, as described in the data's README: OpenHands/openhands-index-results@3015ac6 (MIT), everruns/bashkit@b7097ab
(MIT), khromov/svelte-bench@a783b5a (MIT), lm-sys/RouteLLM@0b64fda (Apache-2.0), prices: genai-prices 0.2.3 (MIT).
The Aider leaderboards hold totals per run and no case, so nothing can be judged on them.
"""

import csv
import gzip
import json
import math
import sys
from pathlib import Path

LINES = (0.6, 0.7, 0.8, 0.9)
ALPHA = 0.05
Z_TWO_SIDED = 1.959964
# Where no cost is published, models in the order of their list prices, cheapest first.
BY_LIST_PRICE = ("mixtral-8x7b", "claude-haiku-4-5", "claude-sonnet-4-5", "claude-sonnet-4-6", "claude-opus-4-5",
                 "claude-opus-4-6", "gpt-4-1106-preview")  # fmt: skip
NAMES = {
    "claude-haiku-4-5-20251001": "claude-haiku-4-5",
    "anthropic/claude-opus-4.5": "claude-opus-4-5",
    "mistralai/Mixtral-8x7B-Instruct-v0.1": "mixtral-8x7b",
}


def rows_of(data, name):
    with gzip.open(data / "evals" / name, "rt", newline="") as file:
        return list(csv.DictReader(file))


def collected(data):
    """(set, class) → model → case → (scores, costs); a score None has no verdict."""
    found: dict = {}

    def add(name, kind, model, case, score, cost):
        if model not in BY_LIST_PRICE:
            return
        scores, costs = found.setdefault((name, kind), {}).setdefault(model, {}).setdefault(case, ([], []))
        scores.append(score)
        if cost is not None:
            costs.append(cost)

    prices = {}
    with (data / "prices" / "claude_list_prices.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if not row["valid_from"]:
                prices[row["model"]] = float(row["input_usd_per_mtok"]), float(row["output_usd_per_mtok"])

    def score_of(row):
        return float(row["passed"]) if row["passed"] else None

    for row in rows_of(data, "openhands_index_swe_swt.csv.gz"):
        cost = float(row["cost_usd"]) if row["cost_usd"] else None
        add("openhands", row["class"], row["model"], row["item_id"], score_of(row), cost)
    for row in rows_of(data, "bashkit_runs_2026-02_2026-03.csv.gz"):
        if row["run_date"] != "2026-02-28":  # the harness changed between dates: only one is compared
            continue
        model = NAMES.get(row["model"], row["model"])
        cost = None
        if model in prices:
            into, out = prices[model]
            cost = (int(row["input_tokens"]) * into + int(row["output_tokens"]) * out) / 1e6
        for kind in (row["class"], "all 15 classes"):
            add("bashkit", kind, model, f"{row['class']}/{row['item_id']}", score_of(row), cost)
    for row in rows_of(data, "sveltebench.csv.gz"):
        if row["run_id"].startswith("v1-"):  # an earlier version of the tests
            continue
        case = row["item_id"].split("#")[0]  # counter#3 is the third run of counter
        add("sveltebench", "components", NAMES.get(row["model"], row["model"]), case, score_of(row), None)
    for name, file in (
        ("routellm-mmlu", "routellm_mmlu_even_subjects.csv.gz"),
        ("routellm-gsm8k", "routellm_gsm8k.csv.gz"),
    ):
        for row in rows_of(data, file):
            add(name, row["class"], NAMES.get(row["model"], row["model"]), row["item_id"], score_of(row), None)
    return found


def log_e(scores, line, *, above):
    """ln of the mean over 200 bets of the product of 1 + bet·(score − line)."""
    logs = []
    for j in range(200):
        mean = line + (1 - line) * (j + 0.5) / 200 if above else line * (j + 0.5) / 200
        bet = (mean - line) / (line * (1 - line))
        logs.append(math.fsum(math.log(1 + bet * (score - line)) for score in scores))
    top = max(logs)
    return top + math.log(math.fsum(math.exp(value - top) for value in logs) / 200)


def clears(scores, left_out, line, candidates):
    threshold = math.log(candidates / ALPHA)
    if not scores or (left_out > 1 and left_out > 0.02 * (len(scores) + left_out)):
        return False
    if log_e(scores, line, above=False) >= threshold:
        return False
    return len(scores) >= 30 and log_e(scores, line, above=True) >= threshold


def wilson_lower(passes, cases, z=Z_TWO_SIDED):
    rate = passes / cases
    middle = rate + z * z / (2 * cases)
    spread = z * math.sqrt(rate * (1 - rate) / cases + z * z / (4 * cases * cases))
    return max((middle - spread) / (1 + z * z / cases), 0.0)


def interval(scores, left_out, candidates):
    """Lowest and highest line that the cases do not contradict; the lower end needs 30 cases."""
    threshold = math.log(candidates / ALPHA)
    low, high = 0.0, sum(scores) / len(scores)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if 0 < middle < 1 and log_e(scores, middle, above=True) >= threshold else (low, middle)
        )
    lower = low
    low, high = sum(scores) / len(scores), 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (
            (low, middle) if 0 < middle < 1 and log_e(scores, middle, above=False) >= threshold else (middle, high)
        )
    return (round(lower, 6) if len(scores) >= 30 else None), round(high, 6)


def figures(data):
    report = []
    for (name, kind), models in sorted(collected(data).items()):
        rivals = max(len(models) - 1, 1)  # one of them serves
        shown, kept = [], {}
        for model, cases in sorted(models.items()):
            means, left_out, costs = [], 0, []
            for scores, paid in cases.values():
                known = [score for score in scores if score is not None]
                left_out += not known
                if known:
                    means.append(sum(known) / len(known))
                if paid:
                    costs.append(sum(paid) / len(paid))
            kept[model] = means, left_out
            cost = sum(costs) / len(costs) if costs else None
            lower, upper = interval(means, left_out, rivals)
            shown.append({
                "model": model, "n": len(means), "left_out": left_out, "passes": round(sum(means), 4),
                "lower": lower, "upper": upper, "wilson_lower": round(wilson_lower(sum(means), len(means)), 6),
                "usd_per_case": None if cost is None else round(cost, 6),
            })  # fmt: skip
        order = sorted(shown, key=lambda row: (row["usd_per_case"] or 0.0, BY_LIST_PRICE.index(row["model"])))
        rules = {
            "point": lambda row, line: row["passes"] / row["n"] >= line,
            "wilson": lambda row, line: row["wilson_lower"] >= line,
            "ours": lambda row, line: clears(*kept[row["model"]], line, rivals),  # noqa: B023 - used in this round only
        }
        cheapest = {
            rule: [next((row["model"] for row in order if holds(row, line)), None) for line in LINES]
            for rule, holds in rules.items()
        }
        report.append({"set": name, "class": kind, "models": shown, "cheapest": cheapest})
    return report


if __name__ == "__main__":
    sys.stdout.write("[\n" + ",\n".join(json.dumps(row) for row in figures(Path(sys.argv[1]))) + "\n]\n")
