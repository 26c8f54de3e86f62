"""Formats read row by row: each sample beside its expected rows, and the figures of the format documents by hand."""

import gzip
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import zstandard

from billing.core.usage import COUNTERS
from billing.importers.base import read_head
from billing.importers.formats import ALL_FORMATS
from billing.importers.helicone_requests import HeliconeRequests
from billing.importers.langfuse_observations import LangfuseObservations
from billing.importers.litellm_spend_logs import LiteLLMSpendLogs
from billing.importers.messages_api_stream import MessagesApiStream
from billing.importers.messages_batch_results import MessagesBatchResults
from billing.importers.otel_genai_spans import OtelGenAiSpans
from billing.importers.records import Learned, Left, RecordFormat, RequestRow, Unanswered, staged_row
from billing.importers.usage_formats import FORMATS, RECORD_FORMATS, identify
from tests.importers.usage.envelopes import write_json, write_lines
from tests.importers.usage.expected import SAMPLES, expectation, expected_of

AT = {"at": "2026-11-09T10:00:00Z"}
YES, NO = {"input_includes_cache": "yes"}, {"input_includes_cache": "no"}

# format, sample, what is told beside it. To add a format, add a line here and its expected output (expected.py).
SAMPLED: list[tuple[str, str, dict[str, str]]] = [
    ("messages_batch_results", "messages_batch_results.jsonl", AT),
    ("messages_api_objects", "messages_api_objects.jsonl", {}),
    ("messages_api_stream", "messages_api_stream.sse", {"at": "2026-11-09T09:13:10Z"}),
    ("litellm_spend_logs", "litellm_spend_logs.jsonl", {}),
    ("litellm_daily", "litellm_daily.jsonl", {}),
    ("claude_code_events", "claude_code_events.jsonl", {}),
    ("otel_genai_spans", "otel_genai_spans.json", YES),
    ("langfuse_observations", "langfuse_observations.jsonl", {}),
    ("helicone_requests", "helicone_requests.jsonl", {}),
]
IDS = [case[0] for case in SAMPLED]


def rows(fmt: RecordFormat, path: Path, **settings: str) -> list[RequestRow]:
    found = [item for item in fmt.rows(path, file_name=path.name, settings=settings) if not isinstance(item, Learned)]
    assert all(isinstance(item, RequestRow) for item in found), found
    return [item for item in found if isinstance(item, RequestRow)]


def items(fmt: RecordFormat, path: Path, **settings: str) -> list[Any]:
    return list(fmt.rows(path, file_name=path.name, settings=settings))


@pytest.mark.parametrize(("name", "file", "told"), SAMPLED, ids=IDS)
def test_sample_becomes_the_output_beside_it(name: str, file: str, told: dict[str, str]) -> None:
    found, _ = identify(SAMPLES / file, file_name=file)
    assert found.name == name
    assert expected_of(SAMPLES / file, told) == expectation(SAMPLES / file)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
@pytest.mark.parametrize(("name", "file", "told"), SAMPLED, ids=IDS)
def test_a_compressed_sample_is_the_same(
    tmp_path: Path, name: str, file: str, told: dict[str, str], compress: Any
) -> None:
    packed = tmp_path / file
    packed.write_bytes(compress((SAMPLES / file).read_bytes()))
    assert expected_of(packed, told) == expectation(SAMPLES / file)


def test_every_format_has_a_sample() -> None:
    held = {identify(path, file_name=path.name)[0].name for path in SAMPLES.iterdir() if _is_usage_sample(path)}
    unsampled = {item.name for item in RECORD_FORMATS} - {case[0] for case in SAMPLED}
    assert not unsampled, f"add a sample of {unsampled} to SAMPLED"
    assert {case[0] for case in SAMPLED} <= held


def _is_usage_sample(path: Path) -> bool:
    return ".expected." not in path.name and any(item.claims(read_head(path, path.name)) for item in FORMATS)


# --- whose a file is -----------------------------------------------------------------------------------------------

FOLDERS = ("anthropic", "cloud", "focus", "litellm", "messages-api", "observability")
# What no format may claim: no usage and no cost.
NOBODYS = {
    "api_keys_list_legacy.json", "workspaces_list_legacy.json", "error_401.json", "error_429.json",
    "claude_code_report_2026-11-09.json",
}  # fmt: skip
CLAIMED_BY = {
    "requests.jsonl": "messages_api_log",
    "batch_results.jsonl": "messages_batch_results",
    "stream_usage_events.sse": "messages_api_stream",
    "spend_logs.jsonl": "litellm_spend_logs",
    "standard_logging_payload.jsonl": "litellm_payload",
    "claude_code_otel_events.jsonl": "claude_code_events",
    "otlp_genai_spans.json": "otel_genai_spans",
    "langfuse_observations.jsonl": "langfuse_observations",
    "helicone_requests.jsonl": "helicone_requests",
    "usage_report_messages_1d.json": "anthropic_admin_usage",
}


def _shared_samples() -> list[Path]:
    root = Path(os.environ.get("COSTGOV_SHARED", "")) / "formats" / "samples"
    return sorted(path for folder in FOLDERS for path in (root / folder).glob("*")) if root.is_dir() else []


def _claiming(path: Path) -> list[str]:
    head = read_head(path, path.name)
    return [item.name for item in ALL_FORMATS if item.claims(head)]


@pytest.mark.skipif(not _shared_samples(), reason="needs the shared samples: set COSTGOV_SHARED")
@pytest.mark.parametrize("path", _shared_samples(), ids=lambda path: path.name)
def test_one_format_claims_each_shared_sample(path: Path) -> None:
    found = _claiming(path)
    assert len(found) <= 1
    if path.name in NOBODYS:
        assert found == []
    if path.name in CLAIMED_BY:
        assert found == [CLAIMED_BY[path.name]]


@pytest.mark.parametrize(
    "path", sorted(path for path in SAMPLES.iterdir() if ".expected." not in path.name), ids=lambda path: path.name
)
def test_one_format_claims_each_sample_here(path: Path) -> None:
    assert len(_claiming(path)) == 1


def test_a_file_that_begins_with_a_poorer_row_is_recognised(tmp_path: Path) -> None:
    failed = {key: value for key, value in helicone(1, response_status=500).items() if "tokens" not in key}
    path = write_lines(tmp_path / "h.jsonl", [failed, helicone(2)])
    assert _claiming(path) == ["helicone_requests"]
    assert [row.is_failed for row in rows(HeliconeRequests(), path)] == [True, False]


# --- figures by hand -----------------------------------------------------------------------------------------------

# Sums of the samples, added up from the documents: uncached, read, written for 5 minutes, for an hour, out, searches;
# requests, failed requests.
TOTALS: list[tuple[str, str, dict[str, str], tuple[int, ...], int, int]] = [
    ("messages_batch_results", "messages_batch_results.jsonl", AT, (3_000, 0, 0, 0, 500, 0), 1, 3),
    ("messages_api_stream", "messages_api_stream.sse", AT, (131, 5_200, 0, 0, 288, 0), 1, 0),
    (
        "litellm_spend_logs",
        "litellm_spend_logs.jsonl",
        {},
        (412 + 120 + 131 + 85, 5_200 + 41_000, 5_200 + 2_000, 12_000, 9 + 310 + 295 + 2_210, 0),
        4,
        0,
    ),
    ("claude_code_events", "claude_code_events.jsonl", {}, (812, 52_100, 3_300, 0, 1_430, 0), 1, 0),
    ("otel_genai_spans", "otel_genai_spans.json", YES, (5_320 - 5_200 + 2_100, 0, 5_200, 0, 310 + 1_850, 0), 2, 0),
    ("otel_genai_spans", "otel_genai_spans.json", NO, (5_320 + 2_100, 0, 5_200, 0, 310 + 1_850, 0), 2, 0),
    ("langfuse_observations", "langfuse_observations.jsonl", {}, (120 + 412, 0, 5_200, 0, 310 + 9, 0), 2, 1),
    ("helicone_requests", "helicone_requests.jsonl", {}, (120 + 412, 0, 5_200, 0, 310 + 9, 0), 2, 0),
    (
        "messages_api_objects",
        "messages_api_objects.jsonl",
        {},
        (412 + 2_100 + 120 + 7, 41_000, 2_000 + 5_200, 12_000, 9 + 1_850 + 310 + 3, 2),
        3,
        0,
    ),
]


@pytest.mark.parametrize(("name", "file", "told", "counts", "requests", "failed"), TOTALS)
def test_totals_by_hand(
    name: str, file: str, told: dict[str, str], counts: tuple[int, ...], requests: int, failed: int
) -> None:
    fmt = next(item for item in RECORD_FORMATS if item.name == name)
    found = items(fmt, SAMPLES / file, **told)
    staged = [json.loads(staged_row(item)) for item in found if isinstance(item, RequestRow)]
    assert tuple(sum(row[counter] for row in staged) for counter in COUNTERS) == counts
    assert (sum(row["requests"] for row in staged), sum(row["is_failed"] for row in staged)) == (requests, failed)


# List prices per million tokens: uncached, read, written for 5 minutes, for an hour, out.
LIST_USD: dict[str, tuple[int | str, ...]] = {
    "claude-haiku-4-5-20251001": (1, "0.10", "1.25", 2, 5),
    "claude-sonnet-4-6": (3, "0.30", "3.75", 6, 15),
    "claude-opus-4-8": (5, "0.50", "6.25", 10, 25),
}


def _priced(row: RequestRow) -> Decimal:
    counts = (getattr(row.counts, name) for name in COUNTERS[:5])
    prices = (Decimal(price) for price in LIST_USD[row.model])
    return sum((Decimal(count) * price for count, price in zip(counts, prices, strict=True)), Decimal()) / 10**6


@pytest.mark.parametrize(
    ("name", "file", "stated"),
    [
        ("litellm_spend_logs", "litellm_spend_logs.jsonl", lambda record: record["spend"]),
        ("claude_code_events", "claude_code_events.jsonl", lambda record: record["attributes"]["cost_usd"]),
        ("langfuse_observations", "langfuse_observations.jsonl", lambda record: record["totalCost"] or 0),
        ("helicone_requests", "helicone_requests.jsonl", lambda record: record["costUSD"]),
    ],
)
def test_counts_at_list_prices_are_what_the_tool_states(name: str, file: str, stated: Any) -> None:
    fmt = next(item for item in RECORD_FORMATS if item.name == name)
    wanted = [Decimal(str(stated(json.loads(line)))) for line in (SAMPLES / file).read_text().splitlines()]
    assert [_priced(row) if not row.is_failed else Decimal() for row in rows(fmt, SAMPLES / file)] == wanted


# --- batches and streams -------------------------------------------------------------------------------------------

BATCH = {"id": "msgbatch_01", "type": "message_batch", "created_at": "2026-11-09T08:00:00Z"}


def batch_result(custom_id: str, **usage: Any) -> dict[str, Any]:
    counts = {"input_tokens": 10, "output_tokens": 1, "service_tier": "standard", **usage}
    message = {"id": f"msg_{custom_id}", "type": "message", "model": "claude-haiku-4-5", "usage": counts}
    return {"custom_id": custom_id, "result": {"type": "succeeded", "message": message}}


def test_a_batch_object_in_the_file_gives_the_time_and_the_ids(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "b.jsonl", [BATCH, batch_result("a"), {"custom_id": "b", "result": {"type": "expired"}}]
    )
    done, expired = rows(MessagesBatchResults(), path)
    assert done.occurred_at.isoformat() == "2026-11-09T08:00:00+00:00"
    assert (done.service_tier, done.response_id, done.own_id) == ("batch", "msg_a", "batch:msgbatch_01:a")
    assert (expired.is_failed, expired.own_id) == (True, "batch:msgbatch_01:b")
    (told, _) = rows(MessagesBatchResults(), path, **AT)
    assert told.occurred_at.hour == 10


def test_a_batch_without_a_time_asks_for_it() -> None:
    with pytest.raises(Unanswered) as asked:
        items(MessagesBatchResults(), SAMPLES / "messages_batch_results.jsonl")
    problem = asked.value.problem("Batches")
    assert (problem.field, problem.line) == ("at", 1)
    assert "--at TIME" in problem.remedy


def stream(*events: dict[str, Any]) -> str:
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


def started(number: int, **usage: Any) -> dict[str, Any]:
    told = {"input_tokens": 100, "cache_read_input_tokens": 7, "output_tokens": 1, "service_tier": "standard", **usage}
    message = {"id": f"msg_{number}", "type": "message", "model": "claude-haiku-4-5", "usage": told}
    return {"type": "message_start", "message": message}


def test_the_last_cumulative_count_of_a_stream_stands(tmp_path: Path) -> None:
    path = tmp_path / "s.sse"
    deltas = [{"type": "message_delta", "usage": {"output_tokens": n, "input_tokens": None}} for n in (5, 90)]
    path.write_text(
        stream(started(1), {"type": "ping"}, *deltas, {"type": "message_stop"}, started(2), deltas[0], started(3))
    )
    found = rows(MessagesApiStream(), path, **AT)
    assert [(row.response_id, row.counts.uncached_input_tok, row.counts.output_tok) for row in found] == [
        ("msg_1", 100, 90),
        ("msg_2", 100, 5),
        ("msg_3", 100, 1),
    ]
    assert [bool(row.remark) for row in found] == [False, True, True]


# --- LiteLLM -------------------------------------------------------------------------------------------------------


def spend_row(number: int, **over: Any) -> dict[str, Any]:
    """A good row: 100 uncached, 20 read, 30 written for 5 minutes, 10 out."""
    details = {"text_tokens": 100, "cached_tokens": 20, "cache_creation_tokens": 30}
    usage = {"cache_creation_input_tokens": 30, "cache_read_input_tokens": 20, "prompt_tokens_details": details}
    return {
        "request_id": f"chatcmpl-{number}",
        "call_type": "acompletion",
        "startTime": "2026-11-09 09:00:00.5",
        "model": "claude-haiku-4-5",
        "custom_llm_provider": "anthropic",
        "prompt_tokens": 150,
        "completion_tokens": 10,
        "spend": 0.1,
        "cache_hit": "None",
        "status": "success",
        "request_tags": "[]",
        "litellm_call_id": f"call-{number}",
        "metadata": json.dumps({"usage_object": usage}),
        **over,
    }


def test_litellm_input_contains_its_cached_tokens_and_times_are_utc(tmp_path: Path) -> None:
    (row,) = rows(LiteLLMSpendLogs(), write_lines(tmp_path / "s.jsonl", [spend_row(1)]))
    assert [getattr(row.counts, name) for name in COUNTERS] == [100, 20, 30, 0, 10, 0]
    assert row.occurred_at.isoformat() == "2026-11-09T09:00:00.500000+00:00"
    assert row.is_split_assumed


def test_litellm_own_cache_failures_and_other_calls(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "s.jsonl",
        [
            spend_row(1, cache_hit="True", request_id="chatcmpl-0_cache_hit1795456486.9"),
            spend_row(2, status="failure", prompt_tokens=0, completion_tokens=0, metadata="{}"),
            spend_row(3, model="gpt-5", custom_llm_provider="openai"),
            spend_row(4, call_type="acreate_batch", prompt_tokens=0, completion_tokens=0),
            spend_row(5, call_type="aretrieve_batch"),
        ],
    )
    hit, failure, *left = items(LiteLLMSpendLogs(), path)
    assert (hit.is_gateway_cache_hit, hit.counts.is_zero, hit.response_id) == (True, True, "")
    assert json.loads(staged_row(hit))["requests"] == 0
    assert (failure.is_failed, failure.counts.is_zero) == (True, True)
    assert left == [
        Left("a model that is not Claude (gpt-5)"),
        Left("a call that reaches no model"),
        Left("the sum of a whole batch: import the results of the batch, which tell each request"),
    ]


def test_attempts_of_one_litellm_call_are_rows_of_their_own(tmp_path: Path) -> None:
    times = ("2026-11-09T09:00:00Z", "2026-11-09T09:00:01Z")
    attempts = [spend_row(1, startTime=at, status="failure", request_id="call-1", metadata=None) for at in times]
    found = rows(LiteLLMSpendLogs(), write_lines(tmp_path / "s.jsonl", attempts))
    assert len({row.own_id for row in found}) == 2


def test_dropped_cache_tokens_are_said(tmp_path: Path) -> None:
    (row,) = rows(LiteLLMSpendLogs(), write_lines(tmp_path / "s.jsonl", [spend_row(1, metadata="{}")]))
    assert (row.counts.uncached_input_tok, row.counts.cache_read_tok) == (150, 0)
    assert "cached tokens are not told" in row.remark


def test_the_usage_of_a_messages_call_passed_through_is_exclusive(tmp_path: Path) -> None:
    usage = {
        "input_tokens": 100,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        "output_tokens": 10,
    }
    one = spend_row(1, call_type="anthropic_messages", request_id="msg_01", metadata={"usage_object": usage})
    (row,) = rows(LiteLLMSpendLogs(), write_lines(tmp_path / "s.jsonl", [{**one, "prompt_tokens": 100}]))
    assert [getattr(row.counts, name) for name in COUNTERS] == [100, 20, 10, 20, 10, 0]
    assert row.response_id == "msg_01"


def test_spend_logs_as_csv(tmp_path: Path) -> None:
    record = spend_row(1, cache_hit="False")
    path = tmp_path / "LiteLLM_SpendLogs.csv"
    quoted = ['"' + str(value).replace('"', '""') + '"' for value in record.values()]
    path.write_text(f"{','.join(record)}\n{','.join(quoted)}\n")
    found, _ = identify(path, file_name=path.name)
    assert found.name == "litellm_spend_logs"
    (row,) = rows(LiteLLMSpendLogs(), path)
    assert [getattr(row.counts, name) for name in COUNTERS] == [100, 20, 30, 0, 10, 0]


# --- traces --------------------------------------------------------------------------------------------------------


def span(number: int, parent: int = 0, tokens: int = 100, **over: Any) -> dict[str, Any]:
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.response.model": "claude-haiku-4-5",
        "gen_ai.usage.input_tokens": tokens,
        "gen_ai.usage.output_tokens": 10,
        **over,
    }
    plain = [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in attributes.items()
        if value is not None
    ]
    return {
        "traceId": "t1",
        "spanId": f"s{number}",
        "parentSpanId": f"s{parent}" if parent else "",
        "startTimeUnixNano": "1794215525120000000",
        "endTimeUnixNano": "1794215526120000000",
        "attributes": plain,
    }


def export(*spans: dict[str, Any]) -> dict[str, Any]:
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"spans": list(spans)}]}]}


def test_only_the_innermost_call_counts_wherever_it_stands(tmp_path: Path) -> None:
    tool: dict[str, Any] = {"gen_ai.operation.name": "execute_tool"}
    inner, between = span(3, parent=2), span(2, parent=1, **tool)
    path = write_lines(tmp_path / "spans.jsonl", [export(inner), export(between, span(1)), export(span(4))])
    found = items(OtelGenAiSpans(), path)
    assert [type(item).__name__ for item in found] == ["RequestRow", "Left", "Left", "RequestRow"]
    assert found[2] == Left("a call that wraps another one, which is counted")


def test_more_cached_than_input_proves_that_they_are_apart(tmp_path: Path) -> None:
    cached = {"gen_ai.usage.cache_read.input_tokens": 500}
    path = write_json(tmp_path / "spans.json", export(span(1, **cached), span(2, tokens=900, **cached)))
    learned, first, second = items(OtelGenAiSpans(), path)
    assert (learned.name, learned.value) == ("input_includes_cache", "no")
    assert [row.counts.uncached_input_tok for row in (first, second)] == [100, 900]
    (contradiction, row) = items(OtelGenAiSpans(), path, **YES)
    assert contradiction.field == "attributes.gen_ai.usage.input_tokens"
    assert "smaller than the 500 cached tokens" in contradiction.message
    assert "--input-includes-cache no" in contradiction.remedy
    assert row.counts.uncached_input_tok == 400


@pytest.mark.parametrize(
    "fmt", [OtelGenAiSpans(), LangfuseObservations(), HeliconeRequests()], ids=lambda fmt: fmt.name
)
def test_nothing_cached_asks_nothing_and_something_cached_asks(tmp_path: Path, fmt: RecordFormat) -> None:
    def file(cached: int) -> Path:
        path = tmp_path / f"{cached}.jsonl"
        match fmt.name:
            case "otel_genai_spans":
                return write_lines(path, [export(span(1, **{"gen_ai.usage.cache_read.input_tokens": cached}))])
            case "langfuse_observations":
                return write_lines(
                    path, [observation(1, usageDetails={"input": 100, "output": 1, "cache_read": cached})]
                )
            case _:
                return write_lines(path, [helicone(1, prompt_cache_read_tokens=cached)])

    assert len(rows(fmt, file(0))) == 1
    with pytest.raises(Unanswered) as asked:
        items(fmt, file(50))
    problem = asked.value.problem("Traces")
    assert "Here input is 100 and cached are 50" in problem.message
    assert "--input-includes-cache yes or no" in problem.remedy
    assert "source 'Traces'" in problem.remedy
    assert [row.counts.uncached_input_tok for row in rows(fmt, file(50), **YES)] == [50]
    assert [row.counts.uncached_input_tok for row in rows(fmt, file(50), **NO)] == [100]


def observation(number: int, **over: Any) -> dict[str, Any]:
    return {
        "id": f"obs-{number}",
        "traceId": "t1",
        "startTime": "2026-11-09T09:00:00Z",
        "parentObservationId": None,
        "type": "GENERATION",
        "level": "DEFAULT",
        "model": "claude-haiku-4-5",
        "usageDetails": {"input": 100, "output": 10},
        **over,
    }


def helicone(number: int, **over: Any) -> dict[str, Any]:
    return {
        "request_id": f"hr-{number}",
        "request_created_at": "2026-11-09T09:00:00Z",
        "response_status": 200,
        "model": "claude-haiku-4-5",
        "provider": "ANTHROPIC",
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "prompt_cache_read_tokens": 0,
        "prompt_cache_write_tokens": 0,
        **over,
    }


def test_langfuse_wrappers_splits_and_unknown_keys(tmp_path: Path) -> None:
    usage = {"input": 100, "output": 10, "input_cache_creation_5m": 200, "input_cache_creation_1h": 300, "audio": 4}
    path = write_lines(
        tmp_path / "l.jsonl",
        [
            observation(1),
            observation(2, parentObservationId="obs-1", usageDetails=usage),
            observation(3, type="SPAN"),
            observation(4, usageDetails={}),
        ],
    )
    learned, outer, row, no_call, untold = items(LangfuseObservations(), path)
    assert isinstance(learned, Learned)
    assert outer == Left("a generation that wraps another one, which is counted")
    assert (row.counts.cache_write_5m_tok, row.counts.cache_write_1h_tok, row.is_split_assumed) == (200, 300, False)
    assert "holds audio" in row.remark
    assert no_call == Left("an observation that is no model call")
    assert untold == Left("a generation that tells no tokens")


def test_a_page_of_the_langfuse_api(tmp_path: Path) -> None:
    path = write_json(tmp_path / "page.json", {"data": [observation(1), observation(2)], "meta": {"page": 1}})
    assert identify(path, file_name=path.name)[0].name == "langfuse_observations"
    assert len(rows(LangfuseObservations(), path)) == 2


def test_helicone_cache_failures_and_other_vendors(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "h.jsonl",
        [
            helicone(1, cache_reference_id="7c1b0000-0000-4000-8000-000000000009"),
            helicone(2, response_status=-3, prompt_tokens=None, completion_tokens=None),
            helicone(3, model="gpt-5", provider="OPENAI"),
            helicone(4, provider="AWS", model="anthropic.claude-haiku-4-5-20251001-v1:0"),
        ],
    )
    hit, failed, other, bedrock = items(HeliconeRequests(), path)
    assert (hit.is_gateway_cache_hit, hit.counts.is_zero) == (True, True)
    assert failed.is_failed
    assert other == Left("a model that is not Claude (gpt-5)")
    assert bedrock.channel == "bedrock"
