"""Each constructed sample beside what it must become, and what the samples say about each other."""

import csv
import json
import os
from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from billing.core.money import line_cost
from billing.importers.anthropic_admin_usage import AnthropicAdminUsage
from billing.importers.anthropic_analytics_usage import AnthropicAnalyticsUsage
from billing.importers.base import ImportRefused, read_head
from billing.importers.console_usage_csv import ConsoleUsageCsv
from billing.importers.cost_base import CostLine
from billing.importers.formats import ALL_FORMATS, identify_any
from tests.importers.costs.reading import SAMPLES, canonical, plain_report, read, sample

USAGE_SAMPLES = Path(__file__).parents[1] / "usage" / "samples"
FORMAT_OF = {
    "analytics_cost_page.json": "anthropic_analytics_cost",
    "aws_cur2_bedrock_claude_constructed.csv": "aws_cur",
    "console_cost_claude_api_cost_2026_11_09_to_2026_11_10.csv": "console_cost_csv",
    "console_cost_header_2024_12.csv": "console_cost_csv",
    "console_cost_header_2026_02.csv": "console_cost_csv",
    "cost_report_by_workspace_description.json": "anthropic_admin_cost",
    "cost_report_ungrouped.json": "anthropic_admin_cost",
    "enterprise_analytics_cost_report.json": "anthropic_enterprise_cost",
    "focus_1_2_claude_constructed.csv": "focus",
    "gcp_billing_export_vertex_claude_constructed.jsonl": "google_billing",
}
# usd per million tokens of uncached input, 5-minute write, 1-hour write, cache read, output (public list prices)
PRICES = {
    "claude-haiku-4-5": ("1", "1.25", "2", "0.10", "5"),
    "claude-sonnet-4-6": ("3", "3.75", "6", "0.30", "15"),
    "claude-opus-4-8": ("5", "6.25", "10", "0.50", "25"),
}
KINDS = ("uncached_input", "cache_write_5m", "cache_write_1h", "cache_read", "output")
BATCH_HALF = Decimal("0.5")


def by_day(lines: Iterable[CostLine]) -> dict[date, Decimal]:
    sums: dict[date, Decimal] = defaultdict(Decimal)
    for line in lines:
        sums[line.period.start.date()] += line.amount
    return dict(sums)


@pytest.mark.parametrize("name", sorted(FORMAT_OF))
def test_sample_becomes_the_lines_beside_it(name: str) -> None:
    fmt = identify_any(SAMPLES / name, file_name=name)
    assert fmt.name == FORMAT_OF[name]
    expected = json.loads((SAMPLES / f"{name}.expected.json").read_text())
    assert plain_report(sample(name)) == expected


def test_ungrouped_report_is_the_sum_of_the_grouped_one() -> None:
    grouped = sample("cost_report_by_workspace_description.json")
    ungrouped = sample("cost_report_ungrouped.json")
    assert (
        by_day(grouped.lines)
        == by_day(ungrouped.lines)
        == {
            date(2026, 11, 9): Decimal("31.633916"),
            date(2026, 11, 10): Decimal("29.310170"),
        }
    )
    assert set(ungrouped.group_by) < set(grouped.group_by) == {"workspace_id", "description"}


def test_cost_report_tokens_are_daily_usage_at_list_prices() -> None:
    usage = AnthropicAdminUsage().read(
        USAGE_SAMPLES / "usage_report_messages_1d.json", file_name="1d", canonical=canonical
    )
    expected: dict[tuple[Any, ...], Decimal] = {}
    priority = 0
    for bucket in usage.buckets:
        key = bucket.key
        if key.service_tier == "priority":
            priority += bucket.counts.total_tok
            continue
        for kind, price in zip(KINDS, PRICES[key.model], strict=True):
            tokens = getattr(bucket.counts, f"{kind}_tok")
            if not tokens:
                continue
            usd = line_cost(tokens, Decimal(price)) * (BATCH_HALF if key.service_tier == "batch" else 1)
            cents = (usd * 100).quantize(Decimal("0.0001"), rounding=ROUND_HALF_EVEN)
            place = (
                bucket.period.start.date(),
                key.workspace,
                key.model,
                key.service_tier,
                key.prompt_length_band,
                kind,
            )
            expected[place] = cents / 100
    report = sample("cost_report_by_workspace_description.json")
    stated = {
        (one.period.start.date(), one.workspace, one.model, one.service_tier, one.prompt_length_band, one.token_kind): (
            one.amount
        )
        for one in report.lines
        if one.cost_type == "tokens"
    }
    assert stated == expected
    assert len(stated) == 36
    assert priority > 0  # the usage report states it, the cost report never does
    assert "priority" not in {line.service_tier for line in report.lines}


def test_hours_of_the_day_sum_to_the_daily_report() -> None:
    sums: dict[str, dict[Any, list[int]]] = {"1h": {}, "1d": {}}
    for name in ("1h_page1", "1h_page2", "1d"):
        read = AnthropicAdminUsage().read(
            USAGE_SAMPLES / f"usage_report_messages_{name}.json", file_name=name, canonical=canonical
        )
        for bucket in read.buckets:
            if bucket.period.start.day == 9 and not bucket.counts.is_zero:
                held = sums[name[:2]].setdefault(bucket.key, [0] * len(KINDS))
                for index, kind in enumerate(KINDS):
                    held[index] += getattr(bucket.counts, f"{kind}_tok")
    assert sums["1h"] == sums["1d"]


def test_console_cost_is_the_standard_short_prompt_rows_in_cents() -> None:
    stated = {
        (line.period.start.date(), line.model, line.token_kind): line.amount
        for line in sample("console_cost_claude_api_cost_2026_11_09_to_2026_11_10.csv").lines
    }
    expected = {
        (line.period.start.date(), line.model, line.token_kind): line.amount.quantize(
            Decimal("0.01"), rounding=ROUND_HALF_UP
        )
        for line in sample("cost_report_by_workspace_description.json").lines
        if line.service_tier == "standard" and line.prompt_length_band == "0-200k"
    }
    assert stated == expected
    assert (len(stated), sum(stated.values())) == (24, Decimal("12.39"))


def test_console_usage_is_the_short_prompt_rows_of_the_report() -> None:
    name = "console_usage_claude_api_tokens_2026_11_09_to_2026_11_10.csv"
    download = ConsoleUsageCsv().read(SAMPLES / name, file_name=name, canonical=canonical)
    report = AnthropicAdminUsage().read(
        USAGE_SAMPLES / "usage_report_messages_1d.json", file_name="1d", canonical=canonical
    )
    told = {(one.period.start, one.key.model, one.key.service_tier): one.counts for one in download.buckets}
    assert download.bucket_hours == 24
    assert told == {
        (one.period.start, one.key.model, one.key.service_tier): one.counts
        for one in report.buckets
        if one.key.prompt_length_band == "0-200k" and one.key.service_tier != "priority"
    }
    assert {one.key.workspace for one in download.buckets} == {"Support Production", "Document Pipeline", "(default)"}


def test_console_hour_view() -> None:
    name = "console_usage_hour_view_2026_02.csv"
    read = ConsoleUsageCsv().read(SAMPLES / name, file_name=name, canonical=canonical)
    (bucket,) = read.buckets
    assert read.bucket_hours == 1
    assert bucket.period.start.isoformat() == "2026-02-11T14:00:00+00:00"
    assert (bucket.counts.uncached_input_tok, bucket.counts.cache_read_tok, bucket.counts.output_tok) == (
        1210,
        18400,
        930,
    )
    assert (bucket.key.geo, bucket.key.speed, bucket.key.prompt_length_band) == (
        "(not grouped)",
        "(not grouped)",
        "0-200k",
    )


def test_analytics_usage_needs_all_pages_in_one_file(tmp_path: Path) -> None:
    first, second = (SAMPLES / f"analytics_usage_page{number}.json" for number in (1, 2))
    fmt = AnthropicAnalyticsUsage()
    with pytest.raises(ImportRefused, match="the last page says has_more"):
        fmt.read(first, file_name=first.name, canonical=canonical)
    both = tmp_path / "both.json"
    both.write_text(first.read_text() + second.read_text())
    read = fmt.read(both, file_name=both.name, canonical=canonical)
    assert read.bucket_hours == 24
    assert {
        (one.key.model, one.key.service_tier, one.key.speed): (one.counts.total_tok, one.requests)
        for one in read.buckets
        if not one.counts.is_zero
    } == {
        ("claude-sonnet-4-6", "batch", "standard"): (5_580_000, 1600),
        ("claude-opus-5-5", "standard", "fast"): (354_000, 140),
        ("claude-sonnet-4-6", "standard", "standard"): (2_076_000, 5200),
    }
    assert read.findings == ("75 requests state no tokens (code execution, for one): they count as no usage.",)
    alone = fmt.read(second, file_name=second.name, canonical=canonical)
    assert alone.findings[0].startswith("One page of a query, and nothing in it tells whether pages came before")
    twice = tmp_path / "twice.json"
    twice.write_text(
        first.read_text().replace('"has_more": true', '"has_more": false')
        + first.read_text()
        + "\n"
        + second.read_text()
    )
    with pytest.raises(ImportRefused, match="state the same bucket and group"):
        fmt.read(twice, file_name=twice.name, canonical=canonical)


def test_analytics_cost_is_ten_percent_below_list() -> None:
    lines = sample("analytics_cost_page.json").lines
    assert {line.basis for line in lines} == {"contracted"}
    assert sum(line.amount for line in lines) == Decimal("17.15625")
    listed = [line.list_amount for line in lines if line.list_amount is not None]
    assert sum(listed) == Decimal("19.0625")
    assert all(line.amount == Decimal("0.9") * (line.list_amount or 0) for line in lines)


def test_enterprise_amounts() -> None:
    lines = sample("enterprise_analytics_cost_report.json").lines
    assert [(line.description, line.amount) for line in lines] == [
        ("claude_code", Decimal("412.80")),
        ("chat", Decimal("12.905")),
    ]


def test_focus_commitment_usage_is_what_was_bought() -> None:
    lines = [one for one in sample("focus_1_2_claude_constructed.csv").lines if one.commitment == "commit-2026-11"]
    effective = [line.effective_amount or Decimal(0) for line in lines if line.category == "usage"]
    billed = [line.amount for line in lines if line.category == "purchase"]
    assert sum(effective) == sum(billed) == 1000
    assert [line.effective_amount for line in lines if line.category == "purchase"] == [0]
    assert {line.commitment_status: line.effective_amount for line in lines if line.category == "usage"} == {
        "Used": 900,
        "Unused": 100,
    }


def test_google_net_cost_is_cost_plus_credits() -> None:
    lines = sample("gcp_billing_export_vertex_claude_constructed.jsonl").lines
    assert sum(line.amount for line in lines) == Decimal("3.575")
    assert [(one.position, one.part, one.category, one.amount) for one in lines if one.part] == [
        (4, 1, "credit", Decimal("-0.05"))
    ]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["gcp_billing_export_vertex_claude_constructed.jsonl", "focus"])
def test_rows_of_a_bill_as_one_json_array(tmp_path: Path, name: str, indent: int | None) -> None:
    if name == "focus":
        text = (SAMPLES / "focus_1_2_claude_constructed.csv").read_text()
        rows: list[Any] = [{key: value or None for key, value in row.items()} for row in csv.DictReader(StringIO(text))]
    else:
        rows = [json.loads(line) for line in (SAMPLES / name).read_text().splitlines() if line.strip()]
    lines, array = tmp_path / "rows.jsonl", tmp_path / "rows.json"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    array.write_text(json.dumps(rows, indent=indent))
    assert plain_report(read(array)) == plain_report(read(lines))
    assert read(array).lines

    array.write_text(json.dumps([*rows, 5]))
    assert str(read(array).problems[0]).startswith(f"row {len(rows) + 1}: not a JSON object")
    array.write_text(json.dumps(rows)[:-9])
    with pytest.raises(ImportRefused, match="line 1: not valid JSON"):
        read(array)


REFUSED = {
    "error_401.json": "this is an error the API answered with, not a report",
    "error_429.json": "this is an error the API answered with, not a report",
    "claude_code_report_2026-11-09.json": "this is the Claude Code report: it explains spend",
    "api_keys_list_legacy.json": "this is the list of API keys: names, no usage and no cost",
    "workspaces_list_legacy.json": "this is the list of workspaces: names, no usage and no cost",
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_no_report_is_named(name: str) -> None:
    with pytest.raises(ImportRefused) as refused:
        identify_any(SAMPLES / name, file_name=name)
    assert f"{name}: {REFUSED[name]}" in str(refused.value)


def test_exactly_one_format_claims_each_sample() -> None:
    shared = os.environ.get("COSTGOV_SHARED")
    if not shared:
        pytest.skip("COSTGOV_SHARED names no folder with the shared samples")
    none = {*REFUSED, "README.md"}
    wrong = {}
    for path in sorted((Path(shared) / "formats" / "samples").rglob("*")):
        if not path.is_file() or path.parent.name in ("evals", "prices"):
            continue
        claiming = [fmt.name for fmt in ALL_FORMATS if fmt.claims(read_head(path, path.name))]
        if len(claiming) != (0 if path.name in none else 1):
            wrong[path.name] = claiming
    assert wrong == {}


@pytest.mark.parametrize("folder", ["evals", "prices"])
def test_no_format_claims_eval_results_or_price_lists(folder: str) -> None:
    shared = os.environ.get("COSTGOV_SHARED")
    if not shared:
        pytest.skip("COSTGOV_SHARED names no folder with the shared samples")
    for path in sorted((Path(shared) / "formats" / "samples" / folder).iterdir()):
        head = read_head(path, path.name)
        assert [fmt.name for fmt in ALL_FORMATS if fmt.claims(head)] == [], path.name
