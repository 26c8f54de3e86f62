"""Words of exports for people: labels, names, headers of every generation, and the Enterprise report of usage."""

import json
from pathlib import Path
from typing import Any

import pytest

from billing.importers.anthropic_admin_usage import AnthropicAdminUsage
from billing.importers.anthropic_words import model_id, prompt_band, workspace_name
from billing.importers.bill_words import kind_in, model_in, tier_in, unit_size
from billing.importers.console_usage_csv import ConsoleUsageCsv
from billing.importers.formats import identify_any
from tests.importers.costs.reading import canonical, read


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("Claude Opus 4.5", "claude-opus-4-5"),
        ("Claude Haiku 4.5", "claude-haiku-4-5"),
        ("Claude Sonnet 4", "claude-sonnet-4"),
        ("Claude Sonnet 3.7", "claude-3-7-sonnet"),
        ("Claude Haiku 3", "claude-3-haiku"),
        ("  claude  OPUS 5.5 ", "claude-opus-5-5"),
        ("claude-opus-4-8", "claude-opus-4-8"),
        ("Something New", "something-new"),
    ],
)
def test_display_names_become_ids(name: str, model: str) -> None:
    assert model_id(name) == model


@pytest.mark.parametrize(
    ("label", "band"),
    [
        ("≤ 200k", "0-200k"),
        ("<= 200K", "0-200k"),
        ("> 200k", "200k-1M"),
        ("≤ 100k", "0-100k"),
        ("0-200k", "0-200k"),
        ("200k-1M", "200k-1M"),
        ("", ""),
        ("up to the moon", "up to the moon"),
    ],
)
def test_prompt_length_labels(label: str, band: str) -> None:
    assert prompt_band(label) == band


def test_the_default_workspace_by_name() -> None:
    assert [workspace_name(name) for name in ("Default", "default", "Default team", "")] == [
        "(default)",
        "(default)",
        "Default team",
        "",
    ]


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("Claude Opus 5.5 (Amazon Bedrock Edition)", "claude-opus-5-5"),
        ("Claude 3.5 Sonnet v2 (Amazon Bedrock Edition)", "claude-3-5-sonnet"),
        ("Claude 4.6 Sonnet", "claude-sonnet-4-6"),
        ("USE1-Claude4.6Sonnet-mantle-input-tokens", "claude-sonnet-4-6"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "claude-3-haiku"),
        ("claude-opus-4-8@20261001", "claude-opus-4-8"),
        ("Claude Opus 5 5-minute Cache Write", "claude-opus-5"),
        ("arn:aws:bedrock:us-east-1:444455556666:inference-profile/global.anthropic.claude", ""),
        ("Claude Consumption Units", ""),
    ],
)
def test_models_in_texts_of_bills(text: str, model: str) -> None:
    assert model_in(text, canonical=canonical) == model


@pytest.mark.parametrize(
    ("text", "kind", "tier"),
    [
        ("Claude Opus 5 Input", "uncached_input", "standard"),
        ("Claude Opus 5 Batch Output", "output", "batch"),
        ("Claude Opus 5 1-hour Cache Write", "cache_write_1h", "standard"),
        ("Claude Opus 5 5-minute Cache Write", "cache_write_5m", "standard"),
        ("USW2_cache_write_tokens_5m_standard", "cache_write_5m", "standard"),
        ("USE1_CacheReadInputTokenCount_Batch", "cache_read", "batch"),
        ("Web Search Requests", "web_search", "standard"),
        ("Provisioned throughput", None, "standard"),
    ],
)
def test_kinds_and_tiers_in_texts_of_bills(text: str, kind: str | None, tier: str) -> None:
    assert (kind_in(text)[0], tier_in(text)) == (kind, tier)


@pytest.mark.parametrize(
    ("unit", "size"),
    [("Tokens", 1), ("1000 Tokens", 1000), ("1M tokens", 1_000_000), ("1,000,000 Tokens", 1_000_000), ("GB", None)],
)
def test_units(unit: str, size: int | None) -> None:
    assert unit_size(unit, counted="token") == size


def test_the_oldest_usage_header_has_one_column_of_writes(tmp_path: Path) -> None:
    path = tmp_path / "old.csv"
    path.write_text(
        "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,"
        "usage_input_tokens_cache_write,usage_input_tokens_cache_read,usage_output_tokens,new_column\n"
        '2025-12-03,claude-opus-4-5-20251101,"research, EU",Default,standard,> 200k,10,20,30,40,x\n'
        '2025-12-03,claude-opus-4-5-20251101,"research, EU",Default,standard,> 200k,1,2,3,4,x\n'
    )
    assert identify_any(path, file_name="old.csv").name == "console_usage_csv"
    report = ConsoleUsageCsv().read(path, file_name="old.csv", canonical=canonical)
    (bucket,) = report.buckets  # two keys of one name are one row
    counts = bucket.counts
    assert (counts.uncached_input_tok, counts.cache_write_5m_tok, counts.cache_write_1h_tok) == (11, 22, 0)
    assert (counts.cache_read_tok, counts.output_tok, counts.web_searches) == (33, 44, 0)
    assert (bucket.key.api_key, bucket.key.prompt_length_band) == ("research, EU", "200k-1M")
    assert report.findings == (
        "22 tokens of cache writes stand in one column without their lifetime: counted as 5-minute writes.",
    )


def test_unknown_words_of_the_cost_download_are_kept_and_said(tmp_path: Path) -> None:
    path = tmp_path / "cost.csv"
    path.write_text(
        "usage_date_utc,model,workspace,usage_type,context_window,token_type,cost_usd,cost_type\n"
        "2026-11-09,Claude Haiku 5.5,Default,batch_message,≤ 100k,input_no_cache,1.50,token\n"
        "2026-11-09,,Default,message,,,0.40,web_search\n"
    )
    report = read(path)
    assert [(one.service_tier, one.prompt_length_band, one.cost_type, one.token_kind) for one in report.lines] == [
        ("batch_message", "0-100k", "tokens", "uncached_input"),
        ("", "", "web_search", ""),
    ]
    assert report.findings[1:] == (
        "Unknown cost_type 'web_search' (0.40 USD): kept as it stands.",
        "Unknown usage_type 'batch_message' (1.50 USD): kept as it stands.",
    )


def enterprise(results: int, **more: Any) -> dict[str, Any]:
    counts = {"uncached_input_tokens": 1, "cache_read_input_tokens": 2, "output_tokens": 3, "requests": 4}
    rows = [{**counts, "product": "chat", "model": f"claude-m-{number}", **more} for number in range(results)]
    bucket = {"starting_at": "2026-11-09T00:00:00Z", "ending_at": "2026-11-10T00:00:00Z", "results": rows}
    return {"data": [bucket], "organization_id": "org_1", "data_refreshed_at": "2026-11-10T00:00:00Z"}


def test_the_enterprise_usage_report_is_read_like_the_admin_one(tmp_path: Path) -> None:
    path = tmp_path / "enterprise.json"
    path.write_text(json.dumps(enterprise(100)))
    assert identify_any(path, file_name="enterprise.json").name == "anthropic_admin_usage"
    report = AnthropicAdminUsage().read(path, file_name="enterprise.json", canonical=canonical)
    assert (len(report.buckets), sum(one.counts.total_tok for one in report.buckets)) == (100, 600)
    assert {one.requests for one in report.buckets} == {4}
    assert report.findings == (
        "1 bucket holds 100 groups, the most the report gives: what lies beyond is missing. Fetch it with fewer "
        "group_by[] dimensions.",
    )
