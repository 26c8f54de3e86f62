"""Hostile input for every format read row by row: refused with line, field, value and remedy, or read exactly."""

import gzip
import io
import json
import tracemalloc
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.importers.base import MAX_LINE_BYTES, ImportRefused, Problem, implausible_time
from billing.importers.records import RecordFormat, RequestRow
from billing.importers.usage_formats import BUCKET_FORMATS, RECORD_FORMATS
from billing.operations.record_rows import RowsRead, write_rows
from tests.importers.usage.expected import canonical
from tests.importers.usage.test_record_formats import (
    batch_result,
    export,
    helicone,
    observation,
    span,
    spend_row,
    started,
)

AS_OF = datetime(2026, 11, 23, 12, tzinfo=UTC)
RAW = "@@raw@@"  # stands for JSON text that Python would not write
ANSWERS = {"at": "2026-11-09T10:00:00Z", "input_includes_cache": "yes"}


def event(**over: Any) -> dict[str, Any]:
    attributes = {
        "event.name": "api_request", "session.id": "s1", "model": "claude-opus-4-8", "input_tokens": 100,
        "output_tokens": 10, "request_id": "req_1", "event.timestamp": "2026-11-09T09:00:00Z",
    }  # fmt: skip
    return {"body": "claude_code.api_request", "attributes": attributes | over}


def answer(**over: Any) -> dict[str, Any]:
    usage = {"input_tokens": 100, "output_tokens": 10}
    row = {"id": "msg_1", "type": "message", "model": "claude-opus-4-8", "created_at": "2026-11-09T09:00:00Z"}
    return {**row, "usage": usage, **over}


def daily(**over: Any) -> dict[str, Any]:
    return {
        "date": "2026-11-09", "api_key": "k", "model": "claude-opus-4-8", "custom_llm_provider": "anthropic",
        "prompt_tokens": 100, "completion_tokens": 10, "api_requests": 1, **over,
    }  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A good record of a format, and where its count, time, id and model stand, as paths of keys."""

    name: str
    good: Mapping[str, Any]
    count: tuple[str, ...]
    shown_as: str
    time: tuple[str, ...] = ()
    id: tuple[tuple[str, ...], ...] = ()
    model: tuple[str, ...] = ()
    text_counts: bool = field(default=False)


SHAPES = [
    Shape(
        "messages_batch_results",
        batch_result("a"),
        ("result", "message", "usage", "output_tokens"),
        "result.message.usage.output_tokens",
        id=(("custom_id",),),
        model=("result", "message", "model"),
    ),
    Shape(
        "messages_api_objects",
        answer(),
        ("usage", "output_tokens"),
        "usage.output_tokens",
        time=("created_at",),
        id=(("id",),),
        model=("model",),
    ),
    Shape(
        "litellm_spend_logs",
        spend_row(1),
        ("completion_tokens",),
        "completion_tokens",
        time=("startTime",),
        id=(("request_id",), ("litellm_call_id",)),
        model=("model",),
    ),
    Shape(
        "claude_code_events",
        event(),
        ("attributes", "output_tokens"),
        "attributes.output_tokens",
        time=("attributes", "event.timestamp"),
        id=(("attributes", "request_id"), ("attributes", "session.id")),
        model=("attributes", "model"),
        text_counts=True,
    ),
    Shape(
        "langfuse_observations",
        observation(1),
        ("usageDetails", "output"),
        "usageDetails.output",
        time=("startTime",),
        id=(("id",),),
        model=("model",),
    ),
    Shape(
        "helicone_requests",
        helicone(1),
        ("completion_tokens",),
        "completion_tokens",
        time=("request_created_at",),
        id=(("request_id",),),
        model=("model",),
    ),
]
# what it is, the JSON text, what the message must say
BAD_COUNTS = [
    ("negative", "-1", "a count cannot be negative"),
    ("fraction", "1.5", "not a whole number"),
    ("whole float", "1.0", "not a whole number"),
    ("exponent", "1e3", "not a whole number"),
    ("beyond floats", "1e400", "not a whole number"),
    ("huge", "1000000000000", "a count above 999,999,999,999"),
    ("far too huge", "1" + "0" * 40, "a count above 999,999,999,999"),
    ("text", '"many"', "not a whole number"),
    ("digits as text", '"12"', "not a whole number"),
    ("boolean", "true", "not a whole number"),
    ("list", "[1]", "not a whole number"),
    ("object", '{"a": 1}', "not a whole number"),
]
BAD_JSON = [
    ("NaN", "NaN", "NaN is not a JSON number"),
    ("infinity", "-Infinity", "-Infinity is not a JSON number"),
    ("key twice", '{"a": 1, "a": 2}', "key 'a' occurs twice"),
    ("not JSON", "{,}", "not valid JSON"),
    ("deeper than any stack", "[" * 100_000 + "]" * 100_000, "not valid JSON"),
]
NO_ZONE = '"2026-10-25T02:30:00"'
BAD_TIMES = [
    ("no zone, on the night the clocks go back", NO_ZONE, "not an instant with a zone"),
    ("no such day", '"2026-02-30T09:00:00Z"', "not an instant with a zone"),
    ("1900", '"1900-01-01T00:00:00Z"', "before 2020"),
    ("2100", '"2100-01-01T00:00:00Z"', "in the future"),
    ("year 1 west of Greenwich", '"0001-01-01T00:00:00+14:00"', "outside the calendar"),
    ("seconds", "1794215525", "not a time written as text"),
    ("a word", '"yesterday"', "not an instant with a zone"),
]
IDS = [shape.name for shape in SHAPES]
# No file of one record per line; their hostile files are tests of their own below.
SHAPED_OTHERWISE = {"messages_api_stream", "otel_genai_spans"}


def changed(good: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    key, *rest = path
    return {**good, key: changed(good[key], tuple(rest), value) if rest else value}


def line_of(record: Mapping[str, Any], raw: str = "") -> str:
    return json.dumps(record).replace(f'"{RAW}"', raw)


def format_of(name: str) -> RecordFormat:
    return next(item for item in RECORD_FORMATS if item.name == name)


def read(path: Path, name: str, answers: Mapping[str, str] = ANSWERS) -> RowsRead:
    def time_problems(row: RequestRow) -> tuple[Problem, ...]:
        reason = implausible_time(row.occurred_at, as_of=AS_OF)
        return (Problem(row.line, "time", row.occurred_at.isoformat(), reason, "Correct it"),) if reason else ()

    return write_rows(
        format_of(name),
        path,
        file_name=path.name,
        settings=answers,
        out=io.StringIO(),
        time_problems=time_problems,
        tick=lambda count: None,
    )


def refused(tmp_path: Path, shape: Shape, text: str) -> Problem:
    """The problem of a file whose second line is `text`; the good rows around it are read."""
    path = tmp_path / "rows.jsonl"
    good = line_of(shape.good)
    path.write_text(f"{good}\n{text}\n{good}\n")
    found = read(path, shape.name)
    assert (found.written, found.rejected) == (2, 1), found
    problem = found.problems[0]
    assert problem.line == 2
    assert problem.remedy
    assert len(problem.value) <= 61
    return problem


def test_every_format_of_records_has_a_shape() -> None:
    missing = {item.name for item in RECORD_FORMATS} - set(IDS) - SHAPED_OTHERWISE
    assert not missing, f"add a good record of {missing} to SHAPES, for the hostile rows to be made of"


@pytest.mark.parametrize(("raw", "message"), [case[1:] for case in BAD_COUNTS], ids=[case[0] for case in BAD_COUNTS])
@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_bad_counts(tmp_path: Path, shape: Shape, raw: str, message: str) -> None:
    if shape.text_counts and raw == '"12"':
        pytest.skip("OTLP writes whole numbers as text")
    problem = refused(tmp_path, shape, line_of(changed(shape.good, shape.count, RAW), raw))
    assert (problem.field, message in problem.message) == (shape.shown_as, True), problem


@pytest.mark.parametrize(("raw", "message"), [case[1:] for case in BAD_JSON], ids=[case[0] for case in BAD_JSON])
@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_bad_json(tmp_path: Path, shape: Shape, raw: str, message: str) -> None:
    problem = refused(tmp_path, shape, line_of(changed(shape.good, shape.count, RAW), raw))
    assert message in problem.message, problem


@pytest.mark.parametrize(("raw", "message"), [case[1:] for case in BAD_TIMES], ids=[case[0] for case in BAD_TIMES])
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape.time], ids=lambda shape: shape.name)
def test_bad_times(tmp_path: Path, shape: Shape, raw: str, message: str) -> None:
    text = line_of(changed(shape.good, shape.time, RAW), raw)
    if shape.name == "litellm_spend_logs" and raw == NO_ZONE:
        # The column has no zone and LiteLLM fills it with UTC, where no clock goes back.
        path = tmp_path / "utc.jsonl"
        path.write_text(text + "\n")
        assert read(path, shape.name).written == 1
        return
    problem = refused(tmp_path, shape, text)
    assert message in problem.message, problem
    assert problem.field in (".".join(shape.time), "time")


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_no_id(tmp_path: Path, shape: Shape) -> None:
    record = dict(shape.good)
    for path in shape.id:
        record = changed(record, path, None)
    problem = refused(tmp_path, shape, line_of(record))
    assert "missing" in problem.message, problem


def paths_of(record: Mapping[str, Any], at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in record.items():
        found.append((*at, key))
        found += paths_of(value, (*at, key)) if isinstance(value, Mapping) else []
    return found


def without(record: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    key, *rest = path
    if not rest:
        return {name: value for name, value in record.items() if name != key}
    return {**record, key: without(record[key], tuple(rest))}


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_a_field_that_is_missing_never_makes_a_failed_request_of_a_good_one(tmp_path: Path, shape: Shape) -> None:
    """A failure may come without counts: a state that is not told, or by a new word, must not read as one."""
    fmt, path = format_of(shape.name), tmp_path / "row.jsonl"
    for missing in paths_of(shape.good):
        path.write_text(line_of(without(shape.good, missing)) + "\n")
        for item in fmt.rows(path, file_name=path.name, settings=ANSWERS):
            assert not (isinstance(item, RequestRow) and item.is_failed), missing


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_a_model_that_is_a_number(tmp_path: Path, shape: Shape) -> None:
    problem = refused(tmp_path, shape, line_of(changed(shape.good, shape.model, 7)))
    assert (problem.message, problem.value) == ("not text", "7")


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
@pytest.mark.parametrize("text", ["7", '"text"', "[1, 2]", "null"])
def test_a_line_that_is_no_object(tmp_path: Path, shape: Shape, text: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{line_of(shape.good)}\n{text}\n{line_of(shape.good)}\n")
    found = read(path, shape.name)
    assert (found.written, found.rejected + sum(found.left.values())) == (2, 1)


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_a_file_cut_in_the_middle_of_a_row(tmp_path: Path, shape: Shape) -> None:
    path = tmp_path / "rows.jsonl"
    good = line_of(shape.good)
    path.write_text(f"{good}\n{good[:-20]}")
    found = read(path, shape.name)
    assert (found.written, found.rejected) == (1, 1)
    assert (found.problems[0].line, "cut off" in found.problems[0].remedy) == (2, True)


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_a_huge_field_is_no_fact_and_a_huge_line_is_refused(tmp_path: Path, shape: Shape) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(line_of({**shape.good, "messages": "x" * 2_000_000}) + "\n")
    out = io.StringIO()
    write_rows(
        format_of(shape.name), path, file_name="rows", settings=ANSWERS, out=out, time_problems=lambda row: (),
        tick=lambda count: None,
    )  # fmt: skip
    assert 0 < len(out.getvalue()) < 5_000
    problem = refused(tmp_path, shape, line_of({**shape.good, "messages": "x" * MAX_LINE_BYTES}))
    assert "longer than 16 MiB" in problem.message


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_half_characters_and_zero_bytes_do_no_harm(tmp_path: Path, shape: Shape) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(line_of(changed(shape.good, shape.model, RAW), '"claude-\\ud800\\u0000x"') + "\n")
    assert read(path, shape.name).written == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"prompt_tokens": 49, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 20},
            "smaller than its parts",
        ),
        ({"prompt_tokens": -1}, "a count cannot be negative"),
        ({"prompt_tokens": 1.5}, "not a whole number"),
        ({"prompt_tokens": None}, "missing"),
        ({"date": "2026-02-30"}, "not a date"),
        ({"date": None}, "missing"),
        ({"date": 20261109}, "not text"),
        ({"tag": "prod"}, "a request with two tags stands twice"),
        ({"model": 5}, "not text"),
    ],
)
def test_bad_daily_rows(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    fmt = next(item for item in BUCKET_FORMATS if item.name == "litellm_daily")
    path = tmp_path / "daily.jsonl"
    path.write_text(json.dumps(daily()) + "\n" + json.dumps(daily(**change)) + "\n")
    try:
        report = fmt.read(path, file_name=path.name, canonical=canonical)
    except ImportRefused as refused:  # of the whole table
        said = str(refused)
    else:
        assert (len(report.buckets), report.rejected) == (1, 1)
        said = str(report.problems[0])
    assert message in said
    assert "line 2" in said


def test_daily_rows_of_several_providers_are_refused(tmp_path: Path) -> None:
    fmt = next(item for item in BUCKET_FORMATS if item.name == "litellm_daily")
    path = tmp_path / "daily.jsonl"
    path.write_text(json.dumps(daily()) + "\n" + json.dumps(daily(custom_llm_provider="bedrock")) + "\n")
    with pytest.raises(ImportRefused, match="usage of several providers in one file: anthropic, bedrock"):
        fmt.read(path, file_name=path.name, canonical=canonical)


BAD_SPANS = [
    ("time", {"startTimeUnixNano": "soon"}, {}, "startTimeUnixNano", "not a time in nanoseconds"),
    ("time beyond any year", {"startTimeUnixNano": "9" * 25}, {}, "startTimeUnixNano", "not a time in nanoseconds"),
    ("negative", {}, {"gen_ai.usage.output_tokens": -4}, "attributes.gen_ai.usage.output_tokens", "negative"),
    ("text", {}, {"gen_ai.usage.input_tokens": "lots"}, "attributes.gen_ai.usage.input_tokens", "not a whole number"),
    ("1900", {"startTimeUnixNano": 1}, {}, "time", "before 2020"),
]


@pytest.mark.parametrize(
    ("change", "attributes", "name", "message"), [case[1:] for case in BAD_SPANS], ids=[case[0] for case in BAD_SPANS]
)
def test_bad_spans(tmp_path: Path, change: dict[str, Any], attributes: dict[str, Any], name: str, message: str) -> None:
    path = tmp_path / "spans.jsonl"
    bad = {**span(2, **attributes), **change}
    path.write_text(json.dumps(export(span(1))) + "\n" + json.dumps(export(bad)) + "\n")
    found = read(path, "otel_genai_spans", {})
    assert (found.written, found.rejected) == (1, 1)
    assert (found.problems[0].line, found.problems[0].field) == (2, name)
    assert message in found.problems[0].message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"resourceSpans": 7}', "not a list"),
        ('{"resourceSpans": [7]}', "not an object"),
        ('{"resourceSpans": [{"scopeSpans": [{"spans": [7]}]}]}', "not an object"),
    ],
)
def test_exports_of_another_shape(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "spans.json"
    path.write_text(text + "\n" + json.dumps(export(span(1))) + "\n")
    found = read(path, "otel_genai_spans", {})
    assert (found.written, found.rejected) == (1, 1)
    assert message in found.problems[0].message


def test_claude_code_metrics_are_not_requests(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "claude_code.x"}]}]}]}))
    with pytest.raises(ImportRefused, match="OTEL_LOGS_EXPORTER=otlp"):
        read(path, "claude_code_events", {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {not json}\n\n", "not valid JSON"),
        ('data: {"type": "message_start", "message": 7}\n\n', "not an object"),
        ('data: {"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": -1, '
         '"output_tokens": 1}}}\n\n', "a count cannot be negative"),
    ],
)  # fmt: skip
def test_bad_streams(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "s.sse"
    path.write_text(f"data: {json.dumps(started(1))}\n\n{text}")
    found = read(path, "messages_api_stream")
    assert (found.written, found.rejected) == (1, 1)
    assert (found.problems[0].line, message in found.problems[0].message) == (3, True)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_any_value_in_any_field_is_a_row_a_problem_or_left(tmp_path: Path, shape: Shape, data: st.DataObject) -> None:
    keys = data.draw(st.lists(st.sampled_from(sorted(shape.good)), min_size=1, max_size=3))
    record = {**shape.good, **{key: data.draw(VALUES) for key in keys}}
    path = tmp_path / "any.jsonl"
    path.write_text(json.dumps(record) + "\n")
    found = read(path, shape.name)
    assert found.written + found.rejected + sum(found.left.values()) >= 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_a_file_cut_anywhere_never_ends_in_an_error_of_ours(tmp_path: Path, shape: Shape, data: st.DataObject) -> None:
    text = (line_of(shape.good) + "\n") * 2
    path = tmp_path / "cut.jsonl"
    path.write_text(text[: data.draw(st.integers(1, len(text)))])
    found = read(path, shape.name)
    assert found.written + found.rejected + sum(found.left.values()) >= 1


@pytest.mark.parametrize("name", ["litellm_spend_logs", "helicone_requests"])
def test_a_table_that_is_one_endless_line_is_refused_before_it_fills_the_memory(tmp_path: Path, name: str) -> None:
    good = next(shape.good for shape in SHAPES if shape.name == name)
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(",".join(good).encode() + b"\n" + b"a" * (4 * MAX_LINE_BYTES)))
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(ImportRefused, match="a line of more than 16,777,216 characters"):
            read(path, name)
        assert tracemalloc.get_traced_memory()[1] < 3 * MAX_LINE_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_lines_that_expand_to_much_are_refused_before_they_fill_the_memory(tmp_path: Path, shape: Shape) -> None:
    path = tmp_path / "bomb.jsonl.gz"
    line = line_of({**shape.good, "messages": "x" * (MAX_LINE_BYTES + 1)}).encode() + b"\n"
    path.write_bytes(gzip.compress(line_of(shape.good).encode() + b"\n" + line * 3, compresslevel=1))
    tracemalloc.start()
    try:
        found = read(path, shape.name)
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_LINE_BYTES
    finally:
        tracemalloc.stop()
    assert (found.written, found.rejected) == (1, 3)
