"""What the demo's files add up to, by a slow and separate reading of them: no code of the project, plain loops.

Money is Fractions of the list prices below; classes follow the keys and features the files name.
"""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

KINDS = ("input", "read", "write_5m", "write_1h", "output")
PRICES = {  # usd per million tokens: input, cache read, 5-minute write, 1-hour write, output
    "claude-opus-4-5": ("5", "0.5", "6.25", "10", "25"),
    "claude-opus-4-6": ("5", "0.5", "6.25", "10", "25"),
    "claude-sonnet-4-6": ("3", "0.3", "3.75", "6", "15"),
    "claude-haiku-4-5": ("1", "0.1", "1.25", "2", "5"),
}
RATES = {model: dict(zip(KINDS, map(Fraction, row), strict=True)) for model, row in PRICES.items()}
DATED = {"claude-opus-4-5-20251101": "claude-opus-4-5", "claude-haiku-4-5-20251001": "claude-haiku-4-5"}
CLASS_OF_KEY = {
    "apikey_agentic_coding": "agentic-coding",
    "apikey_coding_subagent": "coding-subagent",
    "apikey_ide_completion": "ide-completion",
    "apikey_chat_assistant": "chat-assistant",
    "apikey_long_document_chat": "long-document-chat",
    "apikey_summarisation_jobs": "summarisation-jobs",
    "apikey_record_extraction": "record-extraction",
    "apikey_ticket_classification": "ticket-classification",
    "apikey_reasoning_analytics": "reasoning-analytics",
}
CLASS_OF_FEATURE = {
    ("code-agent", "main"): "agentic-coding",
    ("code-agent", "sub"): "coding-subagent",
    ("ide-completion", ""): "ide-completion",
    ("support-chat", ""): "chat-assistant",
    ("document-chat", ""): "long-document-chat",
    ("summary-job", ""): "summarisation-jobs",
    ("record-extraction", ""): "record-extraction",
    ("ticket-routing", ""): "ticket-classification",
    ("analytics-reasoning", ""): "reasoning-analytics",
}


class Usage:
    """Tokens and requests by (day, class, model)."""

    def __init__(self) -> None:
        self.tokens: dict[tuple[str, str, str], dict[str, int]] = defaultdict(lambda: dict.fromkeys(KINDS, 0))
        self.requests: dict[tuple[str, str, str], int] = defaultdict(int)
        self.rows = 0

    def add(self, day: str, request_class: str, raw_model: str, counts: dict[str, int], requests: int) -> None:
        key = (day, request_class, DATED.get(raw_model, raw_model))
        for kind, count in counts.items():
            self.tokens[key][kind] += count
        self.requests[key] += requests

    def cost(self, days: tuple[str, str] | None = None, **wanted: str) -> Fraction:
        """Exact cost of what has a price, of days in [from, to), of one class or model."""
        total = Fraction(0)
        for (day, request_class, model), counts in self.tokens.items():
            if days and not days[0] <= day < days[1]:
                continue
            if wanted.get("request_class", request_class) != request_class or wanted.get("model", model) != model:
                continue
            if model in RATES:
                total += sum((count * RATES[model][kind] for kind, count in counts.items()), Fraction(0)) / 1_000_000
        return total

    def window(self, request_class: str, start: str) -> tuple[int, dict[str, int]]:
        """Requests and tokens of a class from a day on."""
        counts, requests = dict.fromkeys(KINDS, 0), 0
        for key, found in self.tokens.items():
            if key[1] == request_class and key[0] >= start:
                requests += self.requests[key]
                for kind in KINDS:
                    counts[kind] += found[kind]
        return requests, counts


def read(path: Path, into: Usage) -> None:
    if path.name.startswith("usage_report"):
        _report(path, into)
    else:
        line_of = _request_log if path.name.startswith("requests") else _litellm
        with path.open() as lines:
            for line in lines:
                line_of(json.loads(line), into)
                into.rows += 1


def _report(path: Path, into: Usage) -> None:
    for bucket in json.loads(path.read_text())["data"]:
        for row in bucket["results"]:
            counts = {
                "input": row["uncached_input_tokens"],
                "read": row["cache_read_input_tokens"],
                "write_5m": row["cache_creation"]["ephemeral_5m_input_tokens"],
                "write_1h": row["cache_creation"]["ephemeral_1h_input_tokens"],
                "output": row["output_tokens"],
            }
            into.add(bucket["starting_at"][:10], CLASS_OF_KEY.get(row["api_key_id"], ""), row["model"], counts, 0)


def _request_log(row: dict, into: Usage) -> None:
    usage, tags = row["response"]["usage"], row["tags"]
    counts = {
        "input": usage["input_tokens"],
        "read": usage["cache_read_input_tokens"],
        "write_5m": usage["cache_creation"]["ephemeral_5m_input_tokens"],
        "write_1h": usage["cache_creation"]["ephemeral_1h_input_tokens"],
        "output": usage["output_tokens"],
    }
    request_class = CLASS_OF_FEATURE.get((tags.get("feature", ""), tags.get("agent-kind", "")), "general")
    into.add(row["timestamp"][:10], request_class, row["response"]["model"], counts, 1)


def _litellm(row: dict, into: Usage) -> None:
    from datetime import UTC, datetime

    day = datetime.fromtimestamp(row["startTime"], UTC).strftime("%Y-%m-%d")
    feature = next(tag.removeprefix("feature:") for tag in row["request_tags"] if tag.startswith("feature:"))
    counts = {"input": row["prompt_tokens"], "output": row["completion_tokens"]}  # nothing is cached in these
    into.add(day, CLASS_OF_FEATURE[feature, ""], row["model"], counts, 1)


def eval_sums(texts: Iterable[tuple[str, str]]) -> dict[tuple[str, str], dict[str, Fraction]]:
    """Per (suite, model): sums of cost, input and output over the last file of each suite."""
    found: dict[tuple[str, str], dict[str, Fraction]] = {}
    for name, text in texts:
        rows = _csv_rows(text) if name.endswith(".csv") else _promptfoo_rows(text)
        fresh: dict[tuple[str, str], dict[str, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
        for suite, model, sums in rows:
            for kind, value in sums.items():
                fresh[suite, model][kind] += value
        found |= fresh
    return found


def _csv_rows(text: str) -> Iterable[tuple[str, str, dict[str, Fraction]]]:
    for row in csv.DictReader(io.StringIO(text)):
        yield (
            row["suite"],
            row["model"],
            {"cost": Fraction(row["cost_usd"] or 0), "passed": Fraction(row["passed"] == "true")},
        )


def _promptfoo_rows(text: str) -> Iterable[tuple[str, str, dict[str, Fraction]]]:
    document = json.loads(text)
    for row in document["results"]["results"]:
        usage = row.get("tokenUsage") or {}
        sums = {
            "input": Fraction(usage.get("prompt", 0)),
            "output": Fraction(usage.get("completion", 0)),
            "passed": Fraction(row["success"]),
        }
        yield document["config"]["description"], row["provider"]["id"].rpartition(":")[2], sums
