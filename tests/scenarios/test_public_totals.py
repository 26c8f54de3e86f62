"""Public data, converted to the formats and imported: the totals printed in its README come out again.

The sets are read in place (COSTGOV_SHARED names the folder that holds data/README.md, where origin and licence of each
set are stated) and are no part of the project.
"""

import csv
import gzip
import io
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from billing.models import Price
from tests.billing.worlds import throw_away_installation
from tests.importers.usage.envelopes import payload, report, result, write_json

SHARED = Path(os.environ.get("COSTGOV_SHARED", "")) / "data"
pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(
        not (SHARED / "README.md").is_file(), reason="COSTGOV_SHARED does not name the folder of public data"
    ),
]
BEGIN = datetime(2026, 6, 1, tzinfo=UTC)
CENT = Decimal("0.01")
KINDS = {"uncached_input": "1", "cache_read": "0.1", "cache_write_5m": "1.25", "cache_write_1h": "2"}
# Flat list prices, USD per million tokens of input and output (data/prices/claude_list_prices.csv, without its tiers).
FLAT = {
    "claude-opus-4-1": ("15", "75"),
    "claude-opus-4-5": ("5", "25"),
    "claude-opus-4-6": ("5", "25"),
    "claude-sonnet-4": ("3", "15"),
    "claude-sonnet-4-5": ("3", "15"),
    "claude-haiku-4-5": ("1", "5"),
}


def rows_of(name: str) -> Iterator[dict[str, str]]:
    with gzip.open(SHARED / name, "rt", newline="") as file:
        yield from csv.DictReader(file)


def flat_prices() -> None:
    for model, (of_input, of_output) in FLAT.items():
        rates = {kind: Decimal(of_input) * Decimal(factor) for kind, factor in KINDS.items()}
        for kind, rate in {**rates, "output": Decimal(of_output)}.items():
            Price.objects.create(
                model=model, token_kind=kind, usd_per_unit=rate, source="flat list price", checked_on=date(2026, 11, 1),
                proposed_at=BEGIN, approved_at=BEGIN,
            )  # fmt: skip


LINE = (
    '{"timestamp": "%s", "request_id": "req_%s", "http_status": 200, "workspace_id": "w", "api_key_id": "k", '
    '"request": {"model": "%s"}, "response": {"id": "msg_%s", "model": "%s", "usage": {"input_tokens": %d, '
    '"cache_read_input_tokens": %d, "cache_creation_input_tokens": %d, "cache_creation": '
    '{"ephemeral_5m_input_tokens": %d, "ephemeral_1h_input_tokens": %d}, "output_tokens": %d, '
    '"service_tier": "standard", "inference_geo": "global", "speed": "standard"}}}\n'
)


def log_line(
    number: str, at: datetime, model: str, fresh: int, out: int, read: int = 0, w5: int = 0, w1: int = 0
) -> str:
    moment = at.isoformat().replace("+00:00", "Z")
    return LINE % (moment, number, model, number, model, fresh, read, w5 + w1, w5, w1, out)


def write_log(path: Path, lines: Iterable[str]) -> Path:
    with path.open("w") as out:
        out.writelines(lines)
    return path


def spend_after(*paths: Path) -> dict[str, Any]:
    """Import with the command, then ask the spend command."""
    call_command("import_usage", *map(str, paths), stdout=io.StringIO())
    shown = io.StringIO()
    call_command("spend", "--by", "model", "--json", stdout=shown)
    found: dict[str, Any] = json.loads(shown.getvalue())
    return found


def claude_code(variant: str) -> tuple[list[str], Decimal]:
    """The requests as a log under one way of caching, and what they cost, computed here by hand.

    Reuse is read, the rest of the whole blocks is written, the tail is plain input.
    """
    lines, cost = [], Decimal(0)
    starts: dict[str, datetime] = {}
    for row in rows_of("traces/claude_code_requests_a.csv.gz"):
        start = starts.setdefault(row["session"], BEGIN + timedelta(hours=2 * len(starts)))
        prompt, out = int(row["input_tokens"]), int(row["output_tokens"])
        reuse = int(row[f"reuse_tokens_{variant}"]) if variant else 0
        written = 64 * int(row["prefix_blocks"]) - reuse if variant else 0
        fresh = prompt - reuse - written
        w5, w1 = (written, 0) if variant == "5m" else (0, written)
        number = f"{row['session']}_{row['seq']}"
        at = start + timedelta(seconds=float(row["t_s"]))
        lines.append(log_line(number, at, row["model"], fresh, out, reuse, w5, w1))
        of_input, of_output = (Decimal(rate) for rate in FLAT[_undated(row["model"])])
        weighted = fresh + reuse * Decimal("0.1") + w5 * Decimal("1.25") + w1 * 2
        cost += (weighted * of_input + out * of_output) / 1_000_000
    return lines, cost


def _undated(model: str) -> str:
    name, _, last = model.rpartition("-")
    return name if len(last) == 8 and last.isdigit() else model


@pytest.mark.parametrize(
    ("variant", "read", "usd"),
    [
        ("", 0, "12916.28"),
        ("5m", 2_710_721_280, "2685.67"),
        ("1h", 2_837_064_192, "2458.91"),
    ],
    ids=["without caching", "5-minute caching", "1-hour caching"],
)
def test_claude_code_requests_cost_what_their_readme_says(variant: str, read: int, usd: str) -> None:
    lines, by_hand = claude_code(variant)
    with throw_away_installation() as folder:
        flat_prices()
        total = spend_after(write_log(folder / "claude_code.jsonl", lines))["total"]
    assert total["requests"] == len(lines) == 25_226
    read_tok, written = total["cache_read_tok"], total["cache_write_5m_tok"] + total["cache_write_1h_tok"]
    assert total["uncached_input_tok"] + read_tok + written == 2_957_358_181
    assert (read_tok, total["output_tok"], total["unpriced_tok"]) == (read, 11_179_688, 0)
    assert Decimal(total["cost_usd"]) == by_hand
    assert by_hand.quantize(CENT, ROUND_HALF_UP) == Decimal(usd)


def mooncake(minutes: int) -> list[str]:
    """The conversation trace as a log; a block was seen when an earlier request of the last minutes had it."""
    lines, seen = [], {}
    pending: list[tuple[int, list[int]]] = []
    with gzip.open(SHARED / "traces/mooncake_conversation_min00-30.jsonl.gz", "rt") as file:
        for number, text in enumerate(file):
            row = json.loads(text)
            at, ids = int(row["timestamp"]), row["hash_ids"]
            while pending and pending[0][0] < at:
                earlier, its = pending.pop(0)
                seen.update(dict.fromkeys(its, earlier))
            pending.append((at, ids))
            blocks = max(
                (i + 1 for i, one in enumerate(ids) if seen.get(one, -(10**9)) >= at - minutes * 60_000), default=0
            )
            read = min(512 * blocks, row["input_length"])
            when = BEGIN + timedelta(milliseconds=at)
            lines.append(
                log_line(f"m{number}", when, "mooncake-chat", row["input_length"] - read, row["output_length"], read)
            )
    return lines


@pytest.mark.parametrize(("minutes", "read"), [(5, 20_693_275), (60, 25_550_618)])
def test_mooncake_conversation(minutes: int, read: int) -> None:
    with throw_away_installation() as folder:
        shown = spend_after(write_log(folder / "mooncake.jsonl", mooncake(minutes)))
    total = shown["total"]
    assert (total["requests"], total["output_tok"], total["cache_read_tok"]) == (5_719, 1_977_204, read)
    assert total["uncached_input_tok"] + read == 73_604_194
    # Not a Claude model: nothing of it has a price, and nothing of it is counted as 0 dollars.
    assert total["unpriced_tok"] == 73_604_194 + 1_977_204
    assert {line["model"] for line in shown["unpriced"]} == {"mooncake-chat"}
    assert all(line["remedy"] for line in shown["unpriced"])


@pytest.mark.parametrize(
    ("name", "requests", "fresh", "out"),
    [("conv", 11_997, 15_050_169, 2_457_675), ("code", 6_118, 12_460_506, 166_437)],
)
def test_azure_as_litellm_payloads(name: str, requests: int, fresh: int, out: int) -> None:
    def payloads() -> Iterator[str]:
        for number, row in enumerate(rows_of(f"traces/azure_llm_2023_{name}_until1850.csv.gz")):
            moment = datetime.fromisoformat(row["timestamp_utc"][:26]).replace(tzinfo=UTC)
            one = payload(number, moment.timestamp(), prompt_tokens=int(row["input_tokens"]))
            one["completion_tokens"] = int(row["output_tokens"])
            one["metadata"] = {"user_api_key_alias": "azure", "usage_object": {}}
            yield json.dumps(one) + "\n"

    with throw_away_installation() as folder:
        total = spend_after(write_log(folder / f"{name}.jsonl", payloads()))["total"]
    assert (total["requests"], total["uncached_input_tok"], total["output_tok"]) == (requests, fresh, out)


def test_arxiv_sizes_as_a_log() -> None:
    rows = rows_of("traces/arxiv_summarization_tokens_first14000.csv.gz")
    lines = (
        log_line(
            f"a{i}", BEGIN + timedelta(seconds=i), "arxiv-job", int(row["input_tokens"]), int(row["output_tokens"])
        )
        for i, row in enumerate(rows)
    )
    with throw_away_installation() as folder:
        total = spend_after(write_log(folder / "arxiv.jsonl", lines))["total"]
    assert (total["requests"], total["uncached_input_tok"], total["output_tok"]) == (14_000, 36_099_625, 4_148_898)


@pytest.mark.parametrize(
    ("name", "hours", "expected"),
    [("m-small", 24, 1_420_558_786), ("m-mid", 24, 2_165_253_970), ("deepseek-r1", 1, 1_383_669)],
)
def test_servegen_rates_as_a_usage_report(name: str, hours: int, expected: int) -> None:
    """One output token per expected request of a client, so that the tokens of the report are the published total."""
    counts: dict[tuple[int, str], int] = defaultdict(int)
    exact, given = 0.0, 0
    for row in rows_of(f"traces/servegen_{name}_rate_10min.csv.gz"):
        exact += float(row["rate_rps"]) * 600
        whole = int(exact + 0.5) - given
        given += whole
        counts[int(row["window_start_s"]) // (hours * 3600), row["client"]] += whole
    by_bucket: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for (bucket, client), count in sorted(counts.items()):
        by_bucket[bucket].append(result(output_tokens=count, api_key_id=f"client-{client}", workspace_id="servegen"))
    width = timedelta(hours=hours)
    buckets = [
        ((BEGIN + width * bucket).isoformat(), (BEGIN + width * (bucket + 1)).isoformat(), rows)
        for bucket, rows in sorted(by_bucket.items())
    ]
    with throw_away_installation() as folder:
        total = spend_after(write_json(folder / "report.json", report(*buckets)))["total"]
    assert (total["output_tok"], total["requests"]) == (expected, None)


def test_one_account_by_model() -> None:
    with (SHARED / "usage/claude_code_one_account_model_totals.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    said = [
        result(
            model=row["model"], uncached_input_tokens=int(row["input_tokens"]), output_tokens=int(row["output_tokens"]),
            read=int(row["cache_read_tokens"]), w5=int(row["cache_write_tokens"]),
        )
        for row in rows
    ]  # fmt: skip
    with throw_away_installation() as folder:
        flat_prices()
        day = ("2026-02-05T00:00:00Z", "2026-02-06T00:00:00Z", said)
        shown = spend_after(write_json(folder / "account.json", report(day)))
    names = {"input_tokens": "uncached_input_tok", "output_tokens": "output_tok", "cache_read_tokens": "cache_read_tok"}
    for theirs, ours in {**names, "cache_write_tokens": "cache_write_5m_tok"}.items():
        assert shown["total"][ours] == sum(int(row[theirs]) for row in rows)
    assert len(shown["rows"]) == len(rows) == 5
    strange = {_undated(row["model"]) for row in rows} - set(FLAT)
    assert {line["model"] for line in shown["unpriced"]} == strange
    assert len(strange) == 1
