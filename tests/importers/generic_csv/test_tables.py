"""Tables of somebody's own: what is seen of them, rows and buckets by a mapping, hostile files."""

import csv
import gzip
import io
import json
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.core.column_guess import propose_mapping
from billing.core.column_mapping import ColumnMapping, parse_mapping
from billing.core.usage import COUNTERS, NOT_GROUPED, TokenCounts
from billing.importers.base import ImportRefused, Problem
from billing.importers.generic_csv import (
    MappedBuckets,
    MappedRequests,
    looks_like_table,
    mapped_format,
    read_head,
    read_table_head,
)
from billing.importers.generic_csv_preview import preview
from billing.importers.records import RequestRow

AS_OF = datetime(2026, 11, 22, 8, tzinfo=UTC)
TEXT = (
    "time,id,model,in,out\n2026-11-09T14:00:00Z,a,claude-haiku-4-5,10,2\n2026-11-09T15:00:00Z,b,claude-opus-4-5,20,3\n"
)
MAPPING = ColumnMapping(
    name="Table",
    header=("time", "id", "model", "in", "out"),
    grain="request",
    columns={"time": "time", "id": "request_id", "model": "model", "in": "input_uncached", "out": "output"},
    source="Table",
)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows(path: Path, mapping: ColumnMapping = MAPPING) -> list[Any]:
    fmt = mapped_format(mapping)
    assert isinstance(fmt, MappedRequests)
    return list(fmt.rows(path, file_name="t.csv", settings={}))


@pytest.mark.parametrize(
    ("content", "header"),
    [
        ("a,b\n1,2\n", (("a", "b"), ",")),
        ("a;b\n1;2\n", (("a", "b"), ";")),
        ("a\tb\n1\t2\n", (("a", "b"), "\t")),
        ("\ufeffa,b\r\n1,2\r\n", (("a", "b"), ",")),
        ('"a, b";c\n1;2\n', (("a, b", "c"), ";")),
        ('{"a": 1, "b": "x"}\n{"a": 2, "b": null, "c": 3}\n', (("a", "b", "c"), "")),
        ('{"a": 1, "usage": {"input": 2}}\n{"a": 1, "usage": {"input": 2}}\n', None),
        ("2026-11-09,1,2\n2026-11-10,1,2\n", None),
        ("a,a\n1,2\n", None),
        ("a,,b\n1,2,3\n", None),
        ("a,b\0\n1,2\n", None),
        ('{"a": 1, "b\\ud800": 2}\n{"a": 1, "b\\ud800": 2}\n', None),
        ("a," + "b" * 256 + "\n1,2\n", None),
        ("one column\n1\n", None),
        (",".join(f"c{i}" for i in range(201)) + "\n", None),
    ],
)
def test_what_is_a_table(tmp_path: Path, content: str, header: Any) -> None:
    assert looks_like_table(read_head(write(tmp_path / "t", content), "t")) == header


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress, zstandard.ZstdCompressor().compress])
def test_compressed_tables_are_read_alike(tmp_path: Path, pack: Any) -> None:
    path = write(tmp_path / "t.bin", pack(TEXT.encode()))
    head = read_table_head(path, "t")
    assert (head.header, head.delimiter, len(head.rows)) == (MAPPING.header, ",", 2)
    assert [row.counts for row in rows(path)] == [TokenCounts(10, output_tok=2), TokenCounts(20, output_tok=3)]


def test_a_request_row_keeps_who_and_what(tmp_path: Path) -> None:
    first, second = rows(write(tmp_path / "t.csv", TEXT.replace(",b,", ",req_011,")))
    assert isinstance(first, RequestRow)
    assert (first.own_id, first.provider_id, first.channel) == ("Table:a", "", "anthropic")
    assert (second.own_id, second.provider_id) == ("", "req_011")
    assert first.occurred_at == datetime(2026, 11, 9, 14, tzinfo=UTC)


def test_json_lines_with_the_same_names_are_read_alike(tmp_path: Path) -> None:
    lines = [
        {"id": "a", "time": "2026-11-09T14:00:00Z", "model": "claude-haiku-4-5", "in": 10, "out": 2},
        {"id": "b", "time": "2026-11-09T15:00:00Z", "model": "claude-opus-4-5", "in": 20, "out": "3"},
    ]
    path = write(tmp_path / "t.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    assert rows(path) == rows(write(tmp_path / "t.csv", TEXT))


@pytest.mark.parametrize("number", ["1.5", "-1", "true", "1e400"])
def test_no_count_is_made_of_another_json_value(tmp_path: Path, number: str) -> None:
    line = f'{{"id": "a", "time": "2026-11-09T14:00:00Z", "model": "m", "in": {number}, "out": 2}}\n'
    (row,) = rows(write(tmp_path / "t.jsonl", line))
    assert isinstance(row, Problem)


def test_rows_of_one_bucket_and_key_are_added(tmp_path: Path) -> None:
    lines = ["day,model,ws,in,out,n", "2026-11-09,m,a,1,2,3", "2026-11-09,m,a,10,20,", "2026-11-09,m,b,5,5,1"]
    text = "\n".join([*lines, "2026-11-10,m,a,7,7,2", ""])
    mapping = ColumnMapping(
        "Daily",
        ("day", "model", "ws", "in", "out", "n"),
        "day",
        {"day": "time", "model": "model", "ws": "workspace", "in": "input_uncached", "out": "output", "n": "requests"},
        zone="UTC",
    )
    fmt = mapped_format(mapping)
    assert isinstance(fmt, MappedBuckets)
    report = fmt.read(write(tmp_path / "t.csv", text), file_name="t.csv", canonical=lambda raw: f"canonical {raw}")
    assert report.bucket_hours == 24
    found = {
        (item.period.start.day, item.key.workspace): (item.counts.uncached_input_tok, item.requests)
        for item in report.buckets
    }
    # An unknown number of requests in one row makes the bucket's unknown.
    assert found == {(9, "a"): (11, None), (9, "b"): (5, 1), (10, "a"): (7, 2)}
    key = report.buckets[0].key
    assert (key.model, key.api_key, key.service_tier, key.geo) == ("canonical m", NOT_GROUPED, NOT_GROUPED, NOT_GROUPED)


def test_bad_rows_refuse_a_report_unless_only_good_ones_are_wanted(tmp_path: Path) -> None:
    mapping = replace(
        MAPPING, grain="hour", columns={key: name for key, name in MAPPING.columns.items() if name != "request_id"}
    )
    path = write(tmp_path / "t.csv", TEXT + "2026-11-09T15:30:00Z,c,m,1,1\n2026-11-09T16:00:00Z,c,m,x,1\n")
    with pytest.raises(ImportRefused) as refused:
        MappedBuckets(mapping).read(path, file_name="t.csv", canonical=str)
    assert refused.value.count == 2
    assert [problem.line for problem in refused.value.problems] == [4, 5]
    partial = MappedBuckets(mapping, is_partial_allowed=True)
    assert len(partial.read(path, file_name="t.csv", canonical=str).buckets) == 2
    assert (partial.rejected, len(partial.problems)) == (2, 2)


def test_stated_costs_are_only_remarked(tmp_path: Path) -> None:
    mapping = replace(MAPPING, header=(*MAPPING.header, "usd"), columns={**MAPPING.columns, "usd": "cost_stated"})
    text = "".join(
        line + end
        for line, end in zip(TEXT.splitlines(), (",usd\n", ",0.1\n", ",$0.2\n"), strict=True)
    )  # fmt: skip
    fmt = MappedRequests(mapping)
    assert len(list(fmt.rows(write(tmp_path / "t.csv", text), file_name="t.csv", settings={}))) == 2
    assert any("costs of 0.3 in 2 rows" in finding for finding in fmt.findings())


def test_the_preview_is_what_the_import_reads(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", TEXT + "soon,c,m,1,1\n2031-01-01T00:00:00Z,d,m,1,1\n")
    seen = preview(path, "t.csv", MAPPING, as_of=AS_OF)
    assert (seen.looked_at, seen.good, seen.rejected, seen.is_whole) == (4, 2, 2, True)
    assert [problem.line for problem in seen.problems] == [4, 5]
    assert "in the future" in seen.problems[1].message
    assert seen.counts["uncached_input_tok"] == 30
    assert seen.models == ("claude-haiku-4-5", "claude-opus-4-5")


# ---- Any mapping of a generated table counts the same as its parts ---------------------------------------------

LINE = st.fixed_dictionaries(
    {
        "hour": st.integers(0, 400),
        "model": st.sampled_from(["claude-haiku-4-5", "claude-opus-4-5", 'ünïcode, "quoted"']),
        "uncached": st.integers(0, 10**9),
        "read": st.integers(0, 10**9),
        "w5": st.integers(0, 10**6),
        "w1": st.integers(0, 10**6),
        "output": st.integers(0, 10**8),
    }
)
FIRST = datetime(2026, 10, 1, tzinfo=UTC)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(LINE, min_size=1, max_size=30),
    order=st.permutations(["time", "id", "model", "i", "r", "w5", "w1", "o", "noise"]),
    delimiter=st.sampled_from([",", ";", "\t"]),
    includes=st.booleans(),
    grain=st.sampled_from(["request", "hour"]),
    time_format=st.sampled_from(["iso", "dmy", "unix_s", "unix_ms"]),
)
def test_any_mapping_of_a_table_gives_its_counts(
    tmp_path: Path, lines: list[Any], order: list[str], delimiter: str, includes: bool, grain: str, time_format: str
) -> None:
    names = {name: f"column {name}" for name in order}
    out = io.StringIO()
    writer = csv.DictWriter(out, [names[name] for name in order], delimiter=delimiter)
    writer.writeheader()
    expected: dict[tuple[datetime, str], list[int]] = defaultdict(lambda: [0] * len(COUNTERS))
    for number, line in enumerate(lines):
        at = FIRST + timedelta(hours=line["hour"])
        shown = {
            "iso": at.isoformat(), "dmy": f"{at:%d.%m.%Y %H:%M}", "unix_s": str(int(at.timestamp())),
            "unix_ms": str(int(at.timestamp() * 1000)),
        }[time_format]  # fmt: skip
        cached = line["read"] + line["w5"] + line["w1"]
        cells = {
            "time": shown, "id": f"r{number}", "model": line["model"], "r": line["read"], "w5": line["w5"],
            "w1": line["w1"], "o": line["output"], "noise": "x",
            "i": line["uncached"] + (cached if includes else 0),
        }  # fmt: skip
        writer.writerow({names[name]: value for name, value in cells.items()})
        sums = expected[at, line["model"]]
        for i, name in enumerate(("uncached", "read", "w5", "w1", "output")):
            sums[i] += line[name]
    fields = {
        "time": "time", "model": "model", "i": "input_with_cache" if includes else "input_uncached",
        "r": "cache_read", "w5": "cache_write_5m", "w1": "cache_write_1h", "o": "output",
    }  # fmt: skip
    if grain == "request":
        fields["id"] = "request_id"
    mapping = ColumnMapping(
        "Any",
        tuple(names[name] for name in order),
        grain,
        {names[name]: field for name, field in fields.items()},
        time_format=time_format,
        zone="UTC" if time_format == "dmy" else "",
        delimiter=delimiter,
        source="Any",
    )
    path = write(tmp_path / "t.csv", out.getvalue())
    found: dict[tuple[datetime, str], list[int]] = defaultdict(lambda: [0] * len(COUNTERS))
    fmt = mapped_format(mapping)
    if isinstance(fmt, MappedRequests):
        read = [(row.occurred_at, row.model, row.counts) for row in rows(path, mapping) if isinstance(row, RequestRow)]
        assert len(read) == len(lines)
    else:
        report = fmt.read(path, file_name="t.csv", canonical=str)
        read = [(item.period.start, item.key.model, item.counts) for item in report.buckets]
        assert len({(at, model) for at, model, _ in read}) == len(read)
    for at, model, counts in read:
        for i, name in enumerate(COUNTERS):
            found[at, model][i] += getattr(counts, name)
    assert found == expected


# ---- Hostile files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"time,id,model,in,out\n2026-11-09T14:00:00Z,\xff\xfe,m,1,1\n", "not text in UTF-8"),
        (b'time,id,model,in,out\n2026-11-09T14:00:00Z,"a,m,1,1\n', "not CSV"),
        (b"time,id,model,in,out\n2026-11-09T14:00:00Z,a,m,1\n", "4 fields where the header names 5"),
        (b"time,id,model,in\n2026-11-09T14:00:00Z,a,m,1\n", "column missing: out"),
        (b"time,id,model,in,out\n", "a header and no rows"),
        (b"time,id,model,in,out\n2026-11-09T14:00:00Z," + b"a" * 1_100_000 + b",m,1,1\n", "not CSV: field larger"),
        (gzip.compress(TEXT.encode(), mtime=0)[:-9], "ends early or is damaged"),
        (TEXT.encode("utf-16"), "not text in UTF-8"),
    ],
)
def test_a_broken_table_is_refused_with_its_line(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(ImportRefused, match=words):
        rows(write(tmp_path / "t.csv", content))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(
        st.tuples(
            st.integers(0, 2_000),
            st.integers(0, 20),
            st.sampled_from(
                [b"", b'"', b",", b"\n", b"\r", b"\0", b"NaN", b"1e400", b"-5", b"9" * 30, b"\xff", b";", b"{}"]
            ),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_mutilated_table_is_read_or_refused(tmp_path: Path, edits: list[tuple[int, int, bytes]]) -> None:
    data = bytearray(
        b"time,id,model,input_tokens,cache_read,output_tokens\n"
        + b"".join(b"2026-11-09T14:00:00Z,r%d,claude-haiku-4-5,%d,%d,7\n" % (n, 1_000 + n, n) for n in range(30))
    )
    for at, cut, text in edits:
        data[at % len(data) : at % len(data) + cut] = text
        data = data or bytearray(b"x")
    path = write(tmp_path / "t.csv", bytes(data))
    try:
        head = read_table_head(path, "t.csv")
        proposed = propose_mapping("t", head.header, [row for _, row in head.rows], delimiter=head.delimiter or ",")
        assert parse_mapping(proposed.as_document()) == proposed
        fmt = mapped_format(proposed)
        if isinstance(fmt, MappedRequests):
            found = list(fmt.rows(path, file_name="t.csv", settings={}))
            assert len(found) <= 31 + sum(text == b"\n" or text == b"\r" for _, _, text in edits)
        else:
            fmt.read(path, file_name="t.csv", canonical=str)
    except ImportRefused as refused:
        assert str(refused)


def test_a_bomb_is_read_piece_by_piece(tmp_path: Path) -> None:
    """Forty megabytes of zeros in some kilobytes: the reader stops at the first field that is too large."""
    path = tmp_path / "bomb.csv.gz"
    with gzip.open(path, "wb", compresslevel=9) as out:
        out.write(TEXT.splitlines(keepends=True)[0].encode())
        for _ in range(40):
            out.write(b"0" * 1_000_000)
    with pytest.raises(ImportRefused, match=r"not CSV: (field larger|a line of more)"):
        rows(path)


def test_prompts_are_neither_shown_nor_read(tmp_path: Path) -> None:
    secret = "the board meets on friday and nobody outside may know what it decides about the merger"
    path = write(
        tmp_path / "t.csv",
        TEXT.replace("out\n", "out,prompt,note\n").replace(",2\n", f",2,hi,{secret}\n").replace(",3\n", ",3,ho,x\n"),
    )
    head = read_table_head(path, "t.csv")
    assert head.masked == {"prompt", "note"}
    mapping = replace(MAPPING, header=head.header, columns={**MAPPING.columns, "prompt": "class"})
    with pytest.raises(ImportRefused, match="prompt or answer text"):
        rows(path, mapping)


def test_a_mapping_cannot_open_what_looks_like_text(tmp_path: Path) -> None:
    """A kept mapping may name a harmless column that holds prompts in the next file."""
    secret = "the board meets on friday and nobody outside may know what it decides about the merger"
    path = write(tmp_path / "t.csv", TEXT.replace("claude-haiku-4-5", secret))
    for mapping in (
        MAPPING,
        replace(MAPPING, grain="hour", columns={"time": "time", "model": "model", "in": "input_uncached"}),
    ):
        fmt = mapped_format(mapping)
        with pytest.raises(ImportRefused, match="look like prompt or answer text") as refused:
            if isinstance(fmt, MappedRequests):
                list(fmt.rows(path, file_name="t.csv", settings={}))
            else:
                fmt.read(path, file_name="t.csv", canonical=str)
        assert "board" not in str(refused.value)


def test_a_hundred_thousand_models_are_that_many_keys(tmp_path: Path) -> None:
    lines = "".join(f"2026-11-09T14:00:00Z,x,m{number},1,1\n" for number in range(100_000))
    columns = {key: name for key, name in MAPPING.columns.items() if name != "request_id"}
    fmt = MappedBuckets(replace(MAPPING, grain="hour", columns=columns))
    path = write(tmp_path / "t.csv", TEXT.splitlines(keepends=True)[0] + lines)
    assert len(fmt.read(path, file_name="t.csv", canonical=str).buckets) == 100_000
