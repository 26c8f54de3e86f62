"""µs per decision at 50 and 200 rules: facts given, hash of the sticky key and record included.

    python bench/decide.py [--decisions 20000] [--json]

Beside it, measured in the same run: a *floor* (SHA-256 of the sticky key and a dict of the record's fields, nothing
else), and the time to validate and compile the document. Budgets: policy-spec.md §6 (5 µs, 10 µs, compile 5 ms).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gateway.engine import CompiledPolicy, compile_policy
from gateway.facts import normalise_facts

MODELS: dict[str, Any] = {
    "claude-haiku-4-5": {"max_input_tokens": 200_000, "adaptive_thinking": False, "sampling_params": True,
                         "prefill": True, "vision": True, "efforts": []},
    "claude-sonnet-5": {"max_input_tokens": 1_000_000, "adaptive_thinking": True, "sampling_params": False,
                        "prefill": False, "vision": True, "efforts": ["low", "medium", "high"]},
}  # fmt: skip
CLASSES = 12


def policy_document(rules: int, draw: random.Random) -> dict[str, Any]:
    """A policy as a platform team writes it: most rules by feature, some by team, tag, prompt, size or body shape."""
    listed = []
    for number in range(rules):
        condition = [
            {"field": "feature", "op": "in", "value": [f"feature-{number}", f"feature-{number}-batch"]},
            {"field": "feature", "op": "starts_with", "value": [f"app{number}-"]},
            {"field": "team", "op": "in", "value": [f"team-{number % 40}"]},
            {"field": "tags", "op": "has_any", "value": [f"tag-{number}", f"tag-{number}-eu"]},
            {"field": "prompt_id", "op": "in", "value": [f"p:{number:08x}"]},
            {"field": "meta.app", "op": "not_in", "value": [f"app-{number}"]},
        ][draw.choices(range(6), weights=(35, 20, 20, 10, 10, 5))[0]]
        more = draw.sample(
            [
                {"field": "input_chars", "op": "lte", "value": draw.randrange(1000, 64_000, 1000)},
                {"field": "max_tokens", "op": "between", "value": [1, draw.choice((256, 1024, 4096))]},
                {"field": "environment", "op": "not_in", "value": ["dev", "staging"]},
                {"field": "json_output", "op": "is", "value": draw.random() < 0.5},
                {"field": "tools", "op": "gte", "value": draw.randrange(1, 4)},
                {"field": "agent", "op": "not_starts_with", "value": ["curl/", "python-requests/"]},
            ],
            draw.choices((0, 1, 2, 3), weights=(25, 40, 25, 10))[0],
        )
        if condition["op"] == "not_in" and not more:
            more = [{"field": "tools", "op": "gte", "value": 3}]
        listed.append({"id": f"r{number}", "class": f"class-{number % CLASSES}", "when": [condition, *more]})
    names = [f"class-{number}" for number in range(CLASSES)] + ["general"]
    assignment = {
        "target": {"model": "claude-haiku-4-5", "max_tokens_cap": 4096, "cache": {"mode": "auto", "ttl": "5m"}},
        "baseline": {"model": "claude-sonnet-5"},
    }
    return {
        "schema": "costgov.policy/1", "policy": "bench", "version": 1, "mode": "enforce", "default_class": "general",
        "classes": {name: {"title": name} for name in names},
        "rules": listed,
        "assignments": {name: {**assignment, "rollout": {"basis_points": 5000, "salt": f"{name}.1"}} for name in names},
        "sticky_keys": ["conversation", "user", "api_key"], "allow_bypass": True, "models": MODELS,
    }  # fmt: skip


def requests(rules: int, count: int, draw: random.Random) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """Requests with every fact the policy uses; about half are named by a rule's feature."""
    made = []
    for _ in range(count):
        number = draw.randrange(rules)
        raw = {
            "feature": draw.choice((f"feature-{number}", f"app{number}-chat", f"other-{number}", "unlisted")),
            "team": f"team-{draw.randrange(60)}",
            "tags": draw.choice(([], [], [f"tag-{number}"], ["unlisted"])),
            "prompt_id": f"p:{draw.getrandbits(32):08x}",
            "meta.app": f"app-{draw.randrange(400)}",
            "environment": draw.choice(("prod", "prod", "dev")),
            "agent": "anthropic-sdk/1.2",
            "input_chars": draw.randrange(100_000),
            "max_tokens": draw.choice((256, 1024, 4096, 8192)),
            "tools": draw.randrange(4),
            "json_output": draw.random() < 0.2,
        }
        made.append((normalise_facts(raw), {"conversation": f"s-{draw.randrange(10**6)}"}))
    return made


def microseconds(call: Callable[[dict[str, Any], dict[str, str]], Any], made: list[Any]) -> tuple[float, float]:
    """(p50, p95) of single calls, with the clock's own cost (median of empty intervals) taken off."""
    clock = time.perf_counter_ns
    empty = []
    for _ in range(2000):
        start = clock()
        empty.append(clock() - start)
    overhead = statistics.median(empty)
    taken = []
    for facts, sticky in made:
        start = clock()
        call(facts, sticky)
        taken.append(clock() - start - overhead)
    taken.sort()
    return taken[len(taken) // 2] / 1000, taken[len(taken) * 95 // 100] / 1000


def floor(facts: dict[str, Any], sticky: dict[str, str]) -> dict[str, Any]:
    hash8 = hashlib.sha256(("class-1.1:" + sticky["conversation"]).encode()).hexdigest()[:8]
    return {
        "policy": "bench", "version": 1, "environment": "prod", "sequence": 1, "rule": None, "class": "general",
        "arm": "policy", "bucket": hash8, "requested": "claude-opus-4-8", "target": "claude-haiku-4-5",
        "applied": True, "reason": None, "facts": dict(facts), "adapter": "bench",
    }  # fmt: skip


def measure(rules: int, decisions: int) -> dict[str, Any]:
    draw = random.Random(20260101)
    document = policy_document(rules, draw)
    compiling = []
    for _ in range(15):
        start = time.perf_counter()
        policy = compile_policy(document)
        compiling.append((time.perf_counter() - start) * 1000)
    made = requests(rules, decisions, draw)

    def decide(facts: dict[str, Any], sticky: dict[str, str], policy: CompiledPolicy = policy) -> Any:
        return policy.decide(
            facts, requested="claude-opus-4-8", sticky=sticky, environment="prod", sequence=1, adapter="bench"
        )

    matched = sum(decide(facts, sticky).rule is not None for facts, sticky in made)
    p50, p95 = microseconds(decide, made)
    floor_p50, _ = microseconds(floor, made)
    return {
        "rules": rules,
        "decision_p50_us": round(p50, 2),
        "decision_p95_us": round(p95, 2),
        "floor_p50_us": round(floor_p50, 2),
        "compile_median_ms": round(statistics.median(compiling), 2),
        "used_fields": len(policy.used_fields),
        "matched_share": round(matched / decisions, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", type=int, default=20_000)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    options = parser.parse_args()
    rows = [measure(rules, options.decisions) for rules in (50, 200)]
    if options.json:
        print(json.dumps(rows))
        return
    print("rules  p50 µs  p95 µs  floor p50 µs  compile ms  used fields  matched by a rule")
    for row in rows:
        print(
            f"{row['rules']:5}  {row['decision_p50_us']:6.2f}  {row['decision_p95_us']:6.2f}"
            f"  {row['floor_p50_us']:12.2f}  {row['compile_median_ms']:10.2f}  {row['used_fields']:11}"
            f"  {row['matched_share']:.0%}"
        )


if __name__ == "__main__":
    main()
