"""Request logs as Parquet: the same requests as JSON lines and as Parquet are the same rows, whatever its types."""

import gzip
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.importers.base import ImportRefused, Problem, compression_of, each_record, read_head
from billing.importers.messages_api_log import MessagesApiLog
from billing.importers.parquet import parquet_rows
from billing.importers.usage_formats import identify
from billing.store import RequestStore
from tests.importers.usage.envelopes import envelope, write_json, write_lines
from tests.importers.usage.test_formats import staged

FMT = MessagesApiLog()
COUNT = "UINTEGER"
USAGE = """STRUCT(input_tokens {c}, cache_creation_input_tokens {c}, cache_read_input_tokens {c},
    cache_creation STRUCT(ephemeral_5m_input_tokens {c}, ephemeral_1h_input_tokens {c}), output_tokens {c},
    server_tool_use STRUCT(web_search_requests {c}), service_tier VARCHAR, inference_geo VARCHAR, speed VARCHAR)"""
NESTED = """timestamp: 'VARCHAR', request_id: 'VARCHAR', organization_id: 'VARCHAR', workspace_id: 'VARCHAR',
    api_key_id: 'VARCHAR', path: 'VARCHAR', http_status: 'SMALLINT', latency_ms: 'DOUBLE',
    request: 'STRUCT(model VARCHAR, max_tokens BIGINT, stream BOOLEAN, messages VARCHAR)',
    tags: 'STRUCT(feature VARCHAR, team VARCHAR, request_class VARCHAR)', facts: 'JSON',
    decision: 'STRUCT("class" VARCHAR, rule VARCHAR, version INTEGER, arm VARCHAR)',
    response: 'STRUCT(id VARCHAR, type VARCHAR, model VARCHAR, content VARCHAR, usage {usage})'"""
TEXT = ", ".join(
    f"{name}: '{kind}'"
    for name, kind in {
        "timestamp": "VARCHAR", "request_id": "VARCHAR", "organization_id": "VARCHAR", "workspace_id": "VARCHAR",
        "api_key_id": "VARCHAR", "path": "VARCHAR", "http_status": "BIGINT", "latency_ms": "BIGINT", "request": "JSON",
        "tags": "JSON", "facts": "JSON", "decision": "JSON", "response": "JSON",
    }.items()
)  # fmt: skip
NESTED_INT = NESTED.format(usage=USAGE.format(c="BIGINT"))
LAYOUTS = {
    "nested": (NESTED_INT, "*"),
    "unsigned": (NESTED.format(usage=USAGE.format(c=COUNT)), "*"),
    "fractions": (NESTED.format(usage=USAGE.format(c="DOUBLE")), "*"),
    "instants": (NESTED_INT, "* REPLACE (CAST(timestamp AS TIMESTAMPTZ) AS timestamp)"),
    "text": (TEXT, "* REPLACE (CAST(request AS VARCHAR) AS request, CAST(response AS VARCHAR) AS response, "
             "CAST(tags AS VARCHAR) AS tags, CAST(decision AS VARCHAR) AS decision, CAST(facts AS VARCHAR) AS facts)"),
    "json": (TEXT, "*"),
    "usage as text": (NESTED_INT, "* REPLACE (struct_pack(id := response.id, model := response.model, "
                      "type := response.type, usage := CAST(to_json(response.usage) AS VARCHAR)) AS response)"),
}  # fmt: skip


def write_parquet(path: Path, rows: list[Any], layout: str = "nested") -> Path:
    """The rows with the types of a layout, written by DuckDB."""
    columns, select = LAYOUTS[layout]
    lines = write_lines(path.with_suffix(".src"), rows)
    duckdb.connect().execute(
        f"SET TimeZone = 'UTC'; COPY (SELECT {select} FROM read_json('{lines}', format = 'newline_delimited', "
        f"columns = {{{columns}}})) TO '{path}' (FORMAT parquet)"
    )
    return path


def write_query(path: Path, select: str) -> Path:
    duckdb.connect().execute(f"SET TimeZone = 'UTC'; COPY ({select}) TO '{path}' (FORMAT parquet)")
    return path


def careful(path: Path) -> tuple[list[Any], list[Problem]]:
    """Good records and problems of the careful path."""
    good: list[Any] = []
    problems: list[Problem] = []
    for line, record in each_record(path, path.name, is_lines=True):
        if isinstance(record, Problem):
            problems.append(record)
            continue
        checked = FMT.check(record, line)
        good += checked.records
        problems += checked.problems
    return good, problems


TEXTS = st.one_of(st.none(), st.sampled_from(["chat", 'quo"ted', "back\\slash", "naïve ☕", "", " x ", "a\nb", "null"]))
COUNTS = st.integers(0, 2**32 - 1)


@st.composite
def envelopes(draw: st.DrawFn) -> list[dict[str, Any]]:
    rows = []
    for number in range(draw(st.integers(1, 6))):
        five, hour = draw(COUNTS) // 2, draw(COUNTS) // 2
        usage = {
            "input_tokens": draw(COUNTS),
            "output_tokens": draw(COUNTS),
            "cache_read_input_tokens": draw(st.one_of(st.none(), COUNTS)),
            "cache_creation_input_tokens": five + hour,
            "cache_creation": draw(
                st.sampled_from([None, {"ephemeral_5m_input_tokens": five, "ephemeral_1h_input_tokens": hour}])
            ),
            "server_tool_use": draw(st.sampled_from([None, {"web_search_requests": 3}])),
            "service_tier": draw(TEXTS),
        }
        row = envelope(
            number,
            at=draw(st.sampled_from(["2026-11-09T09:00:00Z", "2026-11-09T09:00:00.123Z", "2026-11-09T23:30:00Z"])),
            usage=usage,
            workspace_id=draw(TEXTS),
            latency_ms=draw(st.one_of(st.none(), st.integers(0, 10**6))),
            tags={key: text for key in ("feature", "team", "request_class") if (text := draw(TEXTS)) is not None},
            decision=draw(st.sampled_from([None, {"class": "chat", "rule": "r1", "version": 3, "arm": "b"}])),
            facts=draw(st.sampled_from([None, {"team": "x", "meta.a": [1, 2.5, "é"]}])),
        )
        if draw(st.integers(0, 4)) == 0:
            row |= {"http_status": 529, "response": {"type": "error"}}
        rows.append(row)
    return rows


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=envelopes())
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_requests_are_the_same_rows(tmp_path: Path, layout: str, rows: list[dict[str, Any]]) -> None:
    if layout == "usage as text":  # to_json of a null would be JSON's null: a failed request, too
        rows = [row for row in rows if "usage" in row["response"]] or [envelope(1)]
    expected = staged(tmp_path, FMT, write_lines(tmp_path / "log.jsonl", rows))
    assert not any(row["is_bad"] for row in expected)
    path = write_parquet(tmp_path / "log.parquet", rows, layout)
    assert staged(tmp_path, FMT, path) == expected
    good, problems = careful(path)
    assert problems == []
    assert staged(tmp_path, FMT, write_lines(tmp_path / "good.jsonl", good)) == expected


def test_it_is_told_by_its_bytes_and_columns(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "log.csv.gz", [envelope(1)])
    assert compression_of(path) == "parquet"
    found, head = identify(path, file_name=path.name)
    assert found.name == "messages_api_log" and head.is_lines


@pytest.mark.parametrize(
    ("select", "said"),
    [
        ("SELECT 1 AS day, 2 AS tokens", 'no column timestamp or response; its columns are "day, tokens"'),
        ("SELECT now() AS timestamp, {'usage': 1} AS response", "no column request_id"),
        ("SELECT now()::TIMESTAMP AS timestamp, 'r' AS request_id, '{}' AS response", "the times name no zone"),
        ("SELECT 5 AS timestamp, 'r' AS request_id, '{}' AS response", "timestamp = INTEGER"),
        ("SELECT now() AS timestamp, 'r' AS request_id, 5 AS response", "response = INTEGER"),
    ],
)
def test_other_columns_are_refused_with_those_needed(tmp_path: Path, select: str, said: str) -> None:
    path = write_query(tmp_path / "other.parquet", select)
    with pytest.raises(ImportRefused) as refused:
        identify(path, file_name=path.name)
    assert said in str(refused.value).replace('"INTEGER"', "INTEGER").replace('\\"', '"')


def test_a_parquet_file_is_no_other_format(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "log.parquet", [envelope(1)])
    with pytest.raises(ImportRefused, match="cannot be read as litellm_payload"):
        identify(path, file_name=path.name, format_name="litellm_payload")


def test_missing_optional_columns(tmp_path: Path) -> None:
    path = write_query(
        tmp_path / "few.parquet",
        "SELECT TIMESTAMPTZ '2026-11-09 09:00:00+02:00' AS timestamp, {'id': 'msg_1', 'model': 'claude-haiku-4-5', "
        "'usage': {'input_tokens': 7::UTINYINT, 'output_tokens': 3::HUGEINT}} AS response",
    )
    (row,) = staged(tmp_path, FMT, path)
    assert not row["is_bad"]
    assert (row["request_id"], row["model_raw"], row["uncached_input_tok"], row["output_tok"]) == (
        "msg_1", "claude-haiku-4-5", 7, 3,
    )  # fmt: skip
    assert str(row["occurred_at"]) == "2026-11-09 07:00:00"
    assert careful(path)[1] == []


@pytest.mark.parametrize("layout", ["nested", "text", "fractions"])
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"timestamp": None}, "timestamp"),
        ({"timestamp": "2026-11-09T09:00:00"}, "timestamp"),
        ({"response": None}, "response"),
        ({"request_id": None, "response": {"type": "message"}}, "request_id"),
        ({"usage": {"input_tokens": None}}, "response.usage.input_tokens"),
        ({"usage": {"output_tokens": -1}}, "response.usage.output_tokens"),
        ({"usage": {"cache_creation_input_tokens": 9}}, "response.usage.cache_creation_input_tokens"),
        ({"http_status": 7}, "http_status"),
    ],
)
def test_bad_rows_are_seen_by_both_paths(tmp_path: Path, change: dict[str, Any], field: str, layout: str) -> None:
    path = write_parquet(tmp_path / "bad.parquet", [envelope(1), envelope(2, **change), envelope(3)], layout)
    assert [row["is_bad"] for row in staged(tmp_path, FMT, path)].count(True) == 1
    good, problems = careful(path)
    assert len(good) == 2
    assert [problem.field for problem in problems] == [field]
    assert str(problems[0]).startswith(f"row 2: {field}")


@pytest.mark.parametrize(
    ("response", "said"),
    [
        ('{"id": "msg_2", "usage": 5}', "response.usage"),
        ('{"id": "msg_2", "id": "msg_3"}', "occurs twice"),
        ('{"id": "msg_2", "usage": {"input_tokens": 1, "input_tokens": 2, "output_tokens": 1}}', "occurs twice"),
        ("5", "response: not an object"),
        ('{"id": "msg_2"', "response: not valid JSON"),
        ("", "response: not valid JSON"),
        ('{"id": "msg_2", "usage": {"input_tokens": 1.5, "output_tokens": 1}}', "= 1.5: not a whole number"),
    ],
)
def test_json_text_that_is_no_answer(tmp_path: Path, response: str, said: str) -> None:
    good = json.dumps(envelope(1)["response"])
    at = "TIMESTAMPTZ '2026-11-09 09:00:00Z' AS timestamp"
    path = write_query(
        tmp_path / "text.parquet",
        f"SELECT {at}, 'req_' || n AS request_id, CASE WHEN n = 2 THEN '{response}' ELSE '{good}' END AS response "
        "FROM range(1, 4) r(n)",
    )
    try:
        assert [row["is_bad"] for row in staged(tmp_path, FMT, path)].count(True) == 1
    except Exception as error:
        assert type(error).__name__ == "StageFailed"
    records, problems = careful(path)
    assert len(records) == 2
    assert len(problems) == 1 and said in str(problems[0]) and str(problems[0]).startswith("row 2: ")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "log.parquet", [envelope(number) for number in range(500)])
    data = path.read_bytes()
    for cut in (4, 8, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(ImportRefused, match="ends early, is damaged or encrypted"):
            read_head(path, path.name)
    path.write_bytes(b"PARE" + data[4:-4] + b"PARE")
    with pytest.raises(ImportRefused, match="encrypted"):
        read_head(path, path.name)
    for place in range(4, len(data), max(1, len(data) // 15)):
        path.write_bytes(data[:place] + bytes(reversed(data[place : place + 60])) + data[place + 60 :])
        try:
            read_head(path, path.name)
            careful(path)
        except ImportRefused:
            continue


def test_parquet_inside_gzip_is_said(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "log.parquet", [envelope(1)])
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(ImportRefused, match="Unpack it"):
        read_head(path, path.name)


def test_prompts_of_nested_columns_are_not_read(tmp_path: Path) -> None:
    rows = [envelope(1, request={"model": "m", "messages": "SECRET"})]
    rows[0]["response"]["content"] = "SECRET"
    path = write_parquet(tmp_path / "log.parquet", rows)
    with RequestStore(tmp_path / "requests", tmp_path / "tmp").engine("test") as engine:
        sql = parquet_rows(engine.connection, path, FMT.rows)
        plan = engine.connection.execute("EXPLAIN (FORMAT json) " + sql).fetchall()[0][1]
    assert "response.usage" in plan
    assert "content" not in plan and "messages" not in plan
    assert write_json(tmp_path / "x.json", careful(path)[0]).read_text().count("SECRET") == 0
