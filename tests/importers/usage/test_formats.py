"""Each sample beside its expected rows; the fast path (SQL) and the slow path (Python) must agree about every row."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.core.models import canonical_model
from billing.importers.anthropic_admin_usage import AnthropicAdminUsage
from billing.importers.base import EARLIEST, ImportRefused, RequestFormat, compression_of
from billing.importers.litellm_payload import LiteLLMPayload
from billing.importers.messages_api_log import MessagesApiLog
from billing.importers.usage_formats import identify
from billing.store import RequestStore, StageFailed
from tests.importers.usage.envelopes import envelope, payload, report, result, write_json, write_lines

SAMPLES = Path(__file__).parent / "samples"
ANY_TIME = (EARLIEST, datetime(2100, 1, 1, tzinfo=UTC))


def canonical(raw: str) -> str:
    return canonical_model(raw, {}).model


def staged(tmp_path: Path, fmt: RequestFormat, path: Path) -> list[dict[str, Any]]:
    """Rows as the fast path stages them, is_bad included. Raises StageFailed."""
    store = RequestStore(tmp_path / "requests", tmp_path / "tmp")
    with store.engine("test") as engine:
        engine.stage(fmt, path, compression_of(path), channel="anthropic", within=ANY_TIME)
        return engine.staged_rows()


def slow(tmp_path: Path, fmt: RequestFormat, records: list[dict[str, Any]]) -> Path:
    good = [item for record in records for item in fmt.check(record, 1).records]
    return write_lines(tmp_path / "good.jsonl", good)


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return json.loads(json.dumps(rows, default=str))


@pytest.mark.parametrize("fmt", [MessagesApiLog(), LiteLLMPayload()], ids=lambda fmt: fmt.name)
def test_sample_becomes_the_rows_beside_it(tmp_path: Path, fmt: RequestFormat) -> None:
    sample = SAMPLES / f"{fmt.name}.jsonl"
    found, _ = identify(sample, file_name=sample.name)
    assert found.name == fmt.name
    records = [json.loads(line) for line in sample.read_text().splitlines()]
    rows = plain(staged(tmp_path, fmt, slow(tmp_path, fmt, records)))
    assert rows == json.loads((SAMPLES / f"{fmt.name}.expected.json").read_text())
    direct = plain(staged(tmp_path, fmt, sample))
    assert [row for row in direct if not row["is_bad"]] == [
        row for row in rows if row["request_id"] != "req_011SAMPLE000000000000006"
    ]


@pytest.mark.parametrize("name", ["1h_page1", "1h_page2", "1d"])
def test_usage_report_becomes_the_buckets_beside_it(name: str) -> None:
    sample = SAMPLES / f"usage_report_messages_{name}.json"
    found, _ = identify(sample, file_name=sample.name)
    assert isinstance(found, AnthropicAdminUsage)
    read = found.read(sample, file_name=sample.name, canonical=canonical)
    expected = json.loads((SAMPLES / f"usage_report_messages_{name}.expected.json").read_text())
    assert json.loads(json.dumps(asdict(read), default=str)) == expected


def test_day_report_is_the_sum_of_its_hours() -> None:
    fmt = AnthropicAdminUsage()
    sums: dict[str, dict[Any, list[int]]] = {"1h": {}, "1d": {}}
    for name in ("1h_page1", "1h_page2", "1d"):
        read = fmt.read(SAMPLES / f"usage_report_messages_{name}.json", file_name=name, canonical=canonical)
        for bucket in read.buckets:
            if bucket.period.start.day == 9 and not bucket.counts.is_zero:
                held = sums[name[:2]].setdefault(bucket.key, [0] * 6)
                held[:] = [a + b for a, b in zip(held, asdict(bucket.counts).values(), strict=True)]
    assert sums["1h"] == sums["1d"]
    assert len(sums["1d"]) == 6


def test_minutes_are_summed_to_hours(tmp_path: Path) -> None:
    path = write_json(
        tmp_path / "minutes.json",
        report(
            ("2026-11-09T10:58:00Z", "2026-11-09T10:59:00Z", [result(output_tokens=3)]),
            ("2026-11-09T10:59:00Z", "2026-11-09T11:00:00Z", [result(output_tokens=4, web=1)]),
            ("2026-11-09T11:00:00Z", "2026-11-09T11:01:00Z", [result(output_tokens=5)]),
        ),
    )
    read = AnthropicAdminUsage().read(path, file_name=path.name, canonical=canonical)
    assert read.bucket_hours == 1
    assert [(b.period.start.hour, b.counts.output_tok, b.counts.web_searches) for b in read.buckets] == [
        (10, 7, 1),
        (11, 5, 0),
    ]


def test_null_means_not_grouped_or_the_default(tmp_path: Path) -> None:
    grouped = [result(output_tokens=1, workspace_id="w"), result(output_tokens=2)]
    path = write_json(tmp_path / "r.json", report(("2026-11-09T00:00:00Z", "2026-11-10T00:00:00Z", grouped)))
    read = AnthropicAdminUsage().read(path, file_name=path.name, canonical=canonical)
    assert {(b.key.workspace, b.key.api_key, b.counts.output_tok) for b in read.buckets} == {
        ("w", "(not grouped)", 1),
        ("(default)", "(not grouped)", 2),
    }


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress, bytes])
def test_compression_is_seen_from_the_bytes_not_the_name(tmp_path: Path, compress: Any) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(compress("".join(json.dumps(envelope(n)) + "\n" for n in range(3)).encode()))
    found, head = identify(path, file_name=path.name)
    assert (found.name, head.is_lines) == ("messages_api_log", True)
    assert [row["request_id"] for row in staged(tmp_path, MessagesApiLog(), path)] == [
        "req_000000",
        "req_000001",
        "req_000002",
    ]


def test_two_formats_claiming_a_file_is_an_error(tmp_path: Path) -> None:
    both = {**payload(1), "timestamp": "2026-11-09T09:00:00Z", "response": {"id": "msg_1"}}
    path = write_lines(tmp_path / "both.jsonl", [both])
    with pytest.raises(ImportRefused, match="two formats claim the file: messages_api_log and litellm_payload"):
        identify(path, file_name=path.name)
    assert identify(path, file_name=path.name, format_name="litellm_payload")[0].name == "litellm_payload"


def zipped(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name in names:
            file.writestr(name, "x")
    return out.getvalue()


def tarred() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        file.addfile(tarfile.TarInfo("log.jsonl"))
    return out.getvalue()


LINE = json.dumps({"ts": "2026-11-09T09:00:00Z", "tokens": {"in": 5}})
NO_FORMAT: list[tuple[str, bytes, str, str]] = [
    ("UTF-16", f"{LINE}\n".encode("utf-16"), "it is text in UTF-16", "Save it as UTF-8"),
    ("UTF-16 without its mark", f"{LINE}\n".encode("utf-16-be"), "it is text in UTF-16", "iconv"),
    ("zip", zipped("log.jsonl"), "it is a zip archive", "Unpack it and import the files inside"),
    ("xlsx", zipped("[Content_Types].xml", "xl/workbook.xml"), "it is an Excel workbook", "as CSV"),
    ("tar", tarred(), "it is a tar archive", "Unpack it"),
    ("tar.gz", gzip.compress(tarred()), "it is a tar archive", "Unpack it"),
    ("bzip2", bz2.compress(LINE.encode()), "it is compressed with bzip2", "gzip or zstd"),
    ("xz", lzma.compress(LINE.encode()), "it is compressed with xz", "gzip or zstd"),
    ("PDF", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "it is a PDF", "month's page"),
    (
        "promptfoo",
        b'{\n  "evalId": "eval-1",\n  "results": {"prompts": [{"id": 1}]}\n}',
        "results of evals",
        "import_evals",
    ),
    ("Inspect", zipped("_journal/start.json"), "results of evals", "Evals page"),
    ("OpenAI evals", b'{"spec": {"eval_name": "triage"}}\n', "results of evals", "Evals page"),
    (
        "JUnit",
        b"<?xml version='1.0'?><testsuites><testsuite name='a;b;c;d'/></testsuites>",
        "results of evals",
        "Evals",
    ),
    ("genai-prices", b'[{"id": "anthropic", "models": [{"prices": {"input_mtok": 1}}]}]', "a list of prices", "Prices"),
    (
        "LiteLLM prices",
        b'{"claude": {"litellm_provider": "anthropic", "input_cost_per_token": 1e-6}}',
        "a list of prices",
        "manage.py import_prices",
    ),
    ("web page", b"<!DOCTYPE html><html><title>Sign in</title>", "it is a web page", "Sign in"),
    ("XML", b"<?xml version='1.0'?><rows a='1;2;3;4'/>", "it is XML", "JSON or CSV"),
    ("bytes", bytes(range(256)), "it is no text", "Parquet"),
    (
        "an envelope",
        json.dumps({"meta": {}, "result": {"items": [{"a": 1}]}}, indent=1).encode(),
        "its records are nested, in .result.items",
        "jq -c '.result.items[]'",
    ),
    ("other objects", f"{LINE}\n{LINE}\n".encode(), 'its objects have the keys "ts", "tokens", as none', "--format"),
    ("cut JSON", b'{"data": [{"a": 1,\n "b": tru', "its JSON breaks off or is broken at line 2", "Export it again"),
    ("deep JSON", b"[" * 100_000, "nested too deeply", "as its writer wrote it"),
    ("numbers", b"[1, 2, 3]", "its JSON holds no objects", "one per line"),
    ("a table", b"when,who,how much\n1,2,3\n", 'it is a table with the columns "when", "who", "how much"', "mapping"),
    (
        "no header",
        b"why is the sky blue, and where does all of the water go,5\n",
        "does not name its columns",
        "header",
    ),
    ("words", b"why is the sky blue\n", "it is plain text", "--format"),
]


@pytest.mark.parametrize(("data", "reason", "remedy"), [case[1:] for case in NO_FORMAT], ids=[c[0] for c in NO_FORMAT])
def test_a_file_of_no_format_says_what_it_is(tmp_path: Path, data: bytes, reason: str, remedy: str) -> None:
    path = tmp_path / "upload"
    path.write_bytes(data)
    with pytest.raises(ImportRefused) as refused:
        identify(path, file_name=path.name)
    said = str(refused.value)
    assert said.startswith("upload: none of the known formats recognises the file: ")
    assert reason in said and remedy in said
    assert len(said) < 400 and "sky" not in said


# name, change of a good row, field named in the message
BAD_ENVELOPES = [
    ("no timestamp", {"timestamp": None}, "timestamp"),
    ("no zone", {"timestamp": "2026-11-09T09:00:00"}, "timestamp"),
    ("no such day", {"timestamp": "2026-02-30T09:00:00Z"}, "timestamp"),
    ("number as time", {"timestamp": 1762678800}, "timestamp"),
    ("no response", {"response": None}, "response"),
    ("no id", {"request_id": "", "response": {"usage": None}}, "request_id"),
    ("negative", {"usage": {"input_tokens": -1}}, "response.usage.input_tokens"),
    ("fraction", {"usage": {"output_tokens": 1.5}}, "response.usage.output_tokens"),
    ("whole float", {"usage": {"output_tokens": 1.0}}, "response.usage.output_tokens"),
    ("exponent", {"usage": {"output_tokens": 1e3}}, "response.usage.output_tokens"),
    ("huge", {"usage": {"output_tokens": 10**12}}, "response.usage.output_tokens"),
    ("far too huge", {"usage": {"output_tokens": 10**30}}, "response.usage.output_tokens"),
    ("text", {"usage": {"input_tokens": "12"}}, "response.usage.input_tokens"),
    ("boolean", {"usage": {"input_tokens": True}}, "response.usage.input_tokens"),
    ("missing", {"usage": {"input_tokens": None}}, "response.usage.input_tokens"),
    ("bad read", {"usage": {"cache_read_input_tokens": -5}}, "response.usage.cache_read_input_tokens"),
    ("contradiction", {"usage": {"cache_creation_input_tokens": 7}}, "response.usage.cache_creation_input_tokens"),
    ("model", {"model": 7}, "response.model"),
    ("status", {"http_status": "ok"}, "http_status"),
    ("tags", {"tags": ["a"]}, "tags"),
]


@pytest.mark.parametrize(("change", "field"), [case[1:] for case in BAD_ENVELOPES], ids=[c[0] for c in BAD_ENVELOPES])
def test_bad_rows_are_seen_by_both_paths(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    fmt, row = MessagesApiLog(), envelope(1, **change)
    problems = fmt.check(row, 7).problems
    assert field in [problem.field for problem in problems]
    assert all(problem.line == 7 and problem.remedy for problem in problems)
    try:
        (fast,) = staged(tmp_path, fmt, write_lines(tmp_path / "bad.jsonl", [row]))
    except StageFailed:
        return
    assert fast["is_bad"] or fast["occurred_at"] is None


BAD_PAYLOADS = [
    ("time as text", {"startTime": "2026-11-09"}, "startTime"),
    ("time in ms", {"startTime": 1762678800000}, "startTime"),
    ("negative", {"prompt_tokens": -1}, "prompt_tokens"),
    ("missing", {"completion_tokens": None}, "completion_tokens"),
    ("smaller than its parts", {"prompt_tokens": 149}, "prompt_tokens"),
    ("no id", {"id": None, "litellm_call_id": None}, "id"),
]


@pytest.mark.parametrize(("change", "field"), [case[1:] for case in BAD_PAYLOADS], ids=[c[0] for c in BAD_PAYLOADS])
def test_bad_payloads_are_seen_by_both_paths(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    fmt, row = LiteLLMPayload(), payload(1, **change)
    assert [problem.field for problem in fmt.check(row, 1).problems] == [field]
    (fast,) = staged(tmp_path, fmt, write_lines(tmp_path / "bad.jsonl", [row]))
    assert fast["is_bad"]


def test_litellm_prompt_contains_its_cache_tokens(tmp_path: Path) -> None:
    (row,) = staged(tmp_path, LiteLLMPayload(), write_lines(tmp_path / "p.jsonl", [payload(1)]))
    names = ("uncached_input_tok", "cache_read_tok", "cache_write_5m_tok", "cache_write_1h_tok", "output_tok")
    assert [row[name] for name in names] == [100, 20, 30, 0, 10]


def test_litellm_objects_as_text_and_its_own_cache(tmp_path: Path) -> None:
    fmt = LiteLLMPayload()
    as_text = payload(1, request_tags='["a"]')
    as_text["metadata"] = json.dumps(as_text["metadata"])
    rows = staged(tmp_path, fmt, slow(tmp_path, fmt, [as_text, payload(2, cache_hit=True)]))
    assert [(row["output_tok"], row["requests"], row["is_gateway_cache_hit"]) for row in rows] == [
        (0, 0, True),
        (10, 1, False),
    ]
    assert json.loads(rows[1]["facts"])["tags"] == ["a"]
    # The answer it repeats was another request's: with its ids it would contradict that one's counts.
    assert (rows[0]["provider_id"], rows[0]["response_id"]) == ("", "")


def test_litellm_decision_from_the_record_or_from_tags(tmp_path: Path) -> None:
    tagged = payload(1, request_tags=["costgov.class:faq", "costgov.policy:claude-prod@12", "costgov.arm:policy"])
    recorded = payload(2)
    recorded["metadata"]["spend_logs_metadata"] = {
        "costgov": {"class": "coding", "rule": "r5", "version": 13, "arm": "baseline", "facts": {"feature": "x"}}
    }
    rows = staged(tmp_path, LiteLLMPayload(), write_lines(tmp_path / "p.jsonl", [tagged, recorded]))
    names = ("decided_class", "policy_version", "arm", "rule")
    assert [[row[name] for name in names] for row in rows] == [
        ["faq", 12, "policy", ""],
        ["coding", 13, "baseline", "r5"],
    ]
    assert json.loads(rows[1]["facts"]) == {"feature": "x"}


def test_facts_from_tags_never_from_texts(tmp_path: Path) -> None:
    row = envelope(
        1,
        tags={
            "feature": "faq",
            "request_class": "c",
            "Ticket-Kind": "billing",
            "prompt": "x" * 5_000,
            "tags": ["a", "b"],
        },
    )
    row["request"]["messages"] = [{"role": "user", "content": "secret prompt"}]
    fast = staged(tmp_path, MessagesApiLog(), write_lines(tmp_path / "f.jsonl", [row]))[0]
    fmt = MessagesApiLog()
    again = staged(tmp_path, fmt, slow(tmp_path, fmt, [row]))[0]
    for found in (fast, again):
        assert json.loads(found["facts"]) == {
            "endpoint": "/v1/messages",
            "workspace": "wrkspc_a",
            "api_key": "apikey_a",
            "model": "claude-haiku-4-5",
            "max_tokens": 1024,
            "stream": False,
            "feature": "faq",
            "meta.ticket_kind": "billing",
            "tags": ["a", "b"],
        }
        assert found["class_tag"] == "c"


def test_iterations_are_what_is_billed(tmp_path: Path) -> None:
    iterations = [
        {"type": "compaction", "input_tokens": 1_000, "output_tokens": 50},
        {"type": "message", "input_tokens": 100, "output_tokens": 10},
        {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 7, "output_tokens": 3},
    ]
    fmt = MessagesApiLog()
    rows = staged(tmp_path, fmt, slow(tmp_path, fmt, [envelope(1, usage={"iterations": iterations})]))
    assert [
        (row["request_id"], row["model_raw"], row["uncached_input_tok"], row["output_tok"], row["requests"])
        for row in rows
    ] == [
        ("req_000001", "claude-haiku-4-5", 1_100, 60, 1),
        ("req_000001#claude-opus-4-8", "claude-opus-4-8", 7, 3, 0),
    ]


ODD = st.one_of(
    st.integers(-3, 10**13),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none(),
    st.booleans(),
    st.text(max_size=3),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.tuples(st.sampled_from(["input_tokens", "output_tokens", "cache_read_input_tokens"]), ODD),
        min_size=1,
        max_size=20,
    )
)
def test_fast_and_slow_path_agree_about_every_count(tmp_path: Path, values: list[tuple[str, Any]]) -> None:
    fmt = MessagesApiLog()
    rows = [envelope(number, usage={key: value}) for number, (key, value) in enumerate(values)]
    fast = staged(tmp_path, fmt, write_lines(tmp_path / "odd.jsonl", rows))
    bad = {row["request_id"] for row in fast if row["is_bad"]}
    assert bad == {row["request_id"] for row in rows if fmt.check(row, 1).problems}
    good = staged(tmp_path, fmt, slow(tmp_path, fmt, rows)) if len(bad) < len(rows) else []
    assert [row for row in fast if not row["is_bad"]] == good
