"""Column mappings: the document, what contradicts itself, times and zones, rows as counters, first guesses."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core import column_guess, column_mapping
from billing.core.column_guess import guess_field, guess_time_format, masked_columns, propose_mapping
from billing.core.column_mapping import (
    SCHEMA,
    ColumnMapping,
    MappingError,
    contradictions,
    header_hash,
    names_text,
    parse_mapping,
)
from billing.core.column_rows import RowRead, read_row
from billing.core.column_times import TIME_FORMATS, TimeError, has_zone, read_time
from billing.core.usage import TokenCounts

HEADER = ("when", "id", "model", "in", "cached", "write", "out")
PLAIN = ColumnMapping(
    name="Gateway table",
    header=HEADER,
    grain="request",
    columns={
        "when": "time",
        "id": "request_id",
        "model": "model",
        "in": "input_with_cache",
        "cached": "cache_read",
        "write": "cache_write",
        "out": "output",
    },
    zone="UTC",
    source="Gateway table",
)
ROW = {
    "when": "2026-11-09 14:00:00", "id": "r1", "model": "claude-haiku-4-5", "in": "1000", "cached": "700",
    "write": "100", "out": "50",
}  # fmt: skip


def columns(**changes: str) -> ColumnMapping:
    """The plain mapping with other fields; '' takes a column out."""
    found = {**PLAIN.columns, **changes}
    return replace(PLAIN, columns={column: name for column, name in found.items() if name})


def said(mapping: ColumnMapping) -> str:
    return " | ".join(str(item) for item in contradictions(mapping))


# ---- The document ---------------------------------------------------------------------------------------------------


def test_a_document_comes_back_as_it_was() -> None:
    assert parse_mapping(PLAIN.as_document()) == PLAIN
    assert PLAIN.as_document()["schema"] == SCHEMA == "costgov.column_mapping/1"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema": "costgov.column_mapping/2"}, "this version reads"),
        ({"name": "  "}, "give the mapping a name"),
        ({"header": ["only"]}, "names 1 columns"),
        ({"header": ["a", "b", "a"]}, "'a' twice"),
        ({"header": ["a", 1]}, "text only"),
        ({"header": ["a", "b\0"]}, "without control characters"),
        ({"header": ["a", "b\ud800"]}, "without control characters"),
        ({"name": "a\0b"}, "leave out control characters"),
        ({"source": "a\0b"}, "leave out control characters"),
        ({"constants": {"model": "m\0"}}, "plain text"),
        ({"columns": {"when": "moment"}}, "a field is one of time, request_id"),
        ({"columns": {"nowhere": "time"}}, "not in the header"),
        ({"columns": ["when"]}, "an object from column to field"),
        ({"grain": "week"}, "use one of request, hour, day"),
        ({"time_format": "%Y"}, "use one of iso"),
        ({"zone": "Berlin"}, "e.g. Europe/Berlin"),
        ({"zone": "../../etc/passwd"}, "e.g. Europe/Berlin"),
        ({"delimiter": "|"}, "comma, a semicolon or a tab"),
        ({"constants": {"channel": "elsewhere"}}, "use one of anthropic"),
        ({"constants": {"channel": "anthropic", "service_tier": "gold"}}, "use one of standard"),
        ({"constants": {"workspace": "x"}}, "not one of channel"),
        ({"empty_is_zero": 1}, "true or false"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_a_document_that_is_none_is_refused_in_words(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(MappingError, match=words.replace("(", r"\(")):
        parse_mapping({**PLAIN.as_document(), **changes})


@pytest.mark.parametrize("document", [None, [], "x", 3])
def test_what_is_no_object_is_refused(document: object) -> None:
    with pytest.raises(MappingError, match="one JSON object"):
        parse_mapping(document)


def test_a_header_is_known_whatever_its_order() -> None:
    assert header_hash(["a", "b"]) == header_hash(["b", "a"]) != header_hash(["a", "b", "c"])
    assert header_hash(["a,b", "c"]) != header_hash(["a", "b,c"])


# ---- Contradictions -------------------------------------------------------------------------------------------------


def test_a_whole_mapping_has_none() -> None:
    assert contradictions(PLAIN) == ()


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        (columns(write="cache_read"), "cached and write both say cache reads"),
        (columns(write="input_uncached"), "write and in both say the input tokens"),
        (columns(cached="", write=""), "the input includes cached tokens, and no column says how many"),
        (columns(cached=""), "looks like cached tokens and is ignored, while the input includes them"),
        (columns(cached="cache_write_5m"), "told with their lifetime (cached) and again without it (write)"),
        (columns(when=""), "no column holds the time"),
        (columns(id=""), "no column holds its id"),
        (columns(model=""), "no column names the model"),
        (columns(**{"in": "", "cached": "", "write": "", "out": ""}), "no column holds tokens"),
        (columns(write="requests"), "a number of requests, while one row is one request"),
        (replace(PLAIN, grain="hour"), "a request id belongs to one request, and a row here is a whole hour"),
        (replace(columns(id=""), grain="day", zone="Europe/Berlin"), "a day in Europe/Berlin is not a day in UTC"),
        (
            replace(PLAIN, constants={"channel": "anthropic", "model": "claude-haiku-4-5"}),
            "the model is read from the column and also set to claude-haiku-4-5",
        ),
        (
            replace(PLAIN, header=(*HEADER, "prompt"), columns={**PLAIN.columns, "prompt": "class"}),
            "holds prompt or answer text",
        ),
    ],
)
def test_a_contradiction_is_named(mapping: ColumnMapping, words: str) -> None:
    assert words in said(mapping)


# ---- Times ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "time_format", "zone", "instant"),
    [
        ("2026-11-09", "iso", "UTC", "2026-11-09T00:00:00"),
        ("2026-11-09T14:00:00Z", "iso", "", "2026-11-09T14:00:00"),
        ("2026-11-09 14:00:00.250+02:00", "iso", "America/New_York", "2026-11-09T12:00:00.250000"),
        ("2026-11-09 14:00 UTC", "iso", "", "2026-11-09T14:00:00"),
        ("2026-11-09T23:30:00-0530", "iso", "", "2026-11-10T05:00:00"),
        ("2026-11-09T14:00:00+05", "iso", "", "2026-11-09T09:00:00"),
        ("09.11.2026 14:00", "dmy", "Europe/Berlin", "2026-11-09T13:00:00"),
        ("9/11/2026", "dmy", "UTC", "2026-11-09T00:00:00"),
        ("11/09/2026 2:05 PM", "mdy", "UTC", "2026-11-09T14:05:00"),
        ("11/09/2026 12:00 AM", "mdy", "UTC", "2026-11-09T00:00:00"),
        ("1794232800", "unix_s", "", "2026-11-09T14:00:00"),
        ("1794232800.5", "unix_s", "", "2026-11-09T14:00:00.500000"),
        ("1794232800123", "unix_ms", "", "2026-11-09T14:00:00.123000"),
        ("2026-10-25 00:59:59", "iso", "Europe/Berlin", "2026-10-24T22:59:59"),
        ("2026-10-25 03:00:00", "iso", "Europe/Berlin", "2026-10-25T02:00:00"),
    ],
)
def test_times_are_read(text: str, time_format: str, zone: str, instant: str) -> None:
    assert read_time(text, time_format=time_format, zone=zone) == datetime.fromisoformat(instant).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "time_format", "zone", "words"),
    [
        ("2026-11-09 14:00", "iso", "", "names no zone"),
        ("2026-10-25 02:30", "iso", "Europe/Berlin", "the hour came twice"),
        ("2026-03-29 02:30", "iso", "Europe/Berlin", "there was no such time"),
        ("2026-11-01 01:15", "iso", "America/New_York", "the hour came twice"),
        ("2026-02-30", "iso", "UTC", "no such time"),
        ("2026-11-09 24:00", "iso", "UTC", "no such time"),
        ("2026-11-09 13:00 PM", "iso", "UTC", "AM or PM"),
        ("13/13/2026", "mdy", "UTC", "no such time"),
        ("yesterday", "iso", "UTC", "not a time written like"),
        ("2026-11-09T14:00:00+25:00", "iso", "", "no offset"),
        ("0001-01-01T00:00:00+14:00", "iso", "", "outside the calendar"),
        ("17942328", "unix_s", "", "seconds since 1970"),
        ("NaN", "unix_s", "", "seconds since 1970"),
        ("1e400", "unix_ms", "", "milliseconds since 1970"),
        ("٢٠٢٦-١١-٠٩", "iso", "UTC", "not a time"),
    ],
)
def test_a_time_that_is_not_certain_is_refused(text: str, time_format: str, zone: str, words: str) -> None:
    with pytest.raises(TimeError, match=words):
        read_time(text, time_format=time_format, zone=zone)


@given(
    second=st.integers(0, 15 * 366 * 86_400),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]),
)
def test_local_times_agree_with_the_zone_or_are_refused(second: int, zone: str) -> None:
    """A local time is read where exactly one instant shows it on that zone's clocks."""
    info = ZoneInfo(zone)
    at = datetime(2020, 1, 1, tzinfo=UTC).replace(tzinfo=None) + timedelta(seconds=second)
    candidates = {
        instant
        for fold in (0, 1)
        for instant in [at.replace(tzinfo=info, fold=fold).astimezone(UTC)]
        if instant.astimezone(info).replace(tzinfo=None) == at
    }
    try:
        read = read_time(at.isoformat(sep=" "), time_format="iso", zone=zone)
    except TimeError:
        assert len(candidates) != 1
    else:
        assert candidates == {read}


def test_a_text_says_whether_it_names_its_zone() -> None:
    assert has_zone("2026-11-09T14:00Z", time_format="iso") and has_zone("1", time_format="unix_s")
    assert not has_zone("2026-11-09", time_format="iso")


# ---- Rows -----------------------------------------------------------------------------------------------------------


def faults(mapping: ColumnMapping, **changes: str) -> str:
    read = read_row(mapping, {**ROW, **changes})
    assert not isinstance(read, RowRead)
    return " | ".join(f"{item.column}: {item.message}" for item in read)


def test_cached_tokens_are_taken_out_of_the_input_once() -> None:
    read = read_row(PLAIN, ROW)
    assert isinstance(read, RowRead)
    assert read.counts == TokenCounts(200, 700, 100, 0, 50)
    assert read.at == datetime(2026, 11, 9, 14, tzinfo=UTC)
    assert (read.text("model"), read.requests, read.is_split_assumed) == ("claude-haiku-4-5", 1, True)
    apart = read_row(columns(**{"in": "input_uncached"}), ROW)
    assert isinstance(apart, RowRead)
    assert apart.counts == TokenCounts(1000, 700, 100, 0, 50)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"in": "799"}, "in: 799 input tokens with the cached ones in them, but 800 cached"),
        ({"out": "-1"}, "out: a count cannot be negative"),
        ({"out": "1.5"}, "out: not a whole number"),
        ({"out": "1,234"}, "out: may be thousands or a fraction"),
        ({"out": "1.234"}, "out: may be thousands or a fraction"),
        ({"out": "1e3"}, "out: not a whole number"),
        ({"out": "NaN"}, "out: not a whole number"),
        ({"out": "٣"}, "out: not a whole number"),
        ({"out": "9" * 13}, "out: a count above 999,999,999,999 in one row"),
        ({"out": ""}, "out: empty, which may mean none or unknown"),
        ({"id": ""}, "id: empty"),
        ({"when": ""}, "when: empty"),
        ({"model": "x" * 256}, "model: 256 characters: too long"),
    ],
)
def test_a_row_is_refused_column_by_column(changes: dict[str, str], words: str) -> None:
    assert words in faults(PLAIN, **changes)


def test_every_fault_of_a_row_is_named() -> None:
    assert faults(PLAIN, when="", out="x", cached="-2").count("|") == 2


def test_a_sentence_in_a_column_of_numbers_is_not_shown() -> None:
    for value, shown in (("12 apples", "12 apples"), ("why is the sky so blue", ""), ("x" * 41, "")):
        read = read_row(PLAIN, {**ROW, "out": value})
        assert not isinstance(read, RowRead) and read[0].value == shown


def test_seven_thousand_of_a_german_spreadsheet_is_not_seven() -> None:
    assert "may be thousands" in faults(PLAIN, out="7.000")


@pytest.mark.parametrize(("text", "count"), [("7", 7), ("7.0", 7), ("7.00", 7), ("007", 7)])
def test_whole_numbers_are_exact(text: str, count: int) -> None:
    read = read_row(PLAIN, {**ROW, "out": text})
    assert isinstance(read, RowRead) and read.counts.output_tok == count


def test_empty_means_none_where_somebody_said_so() -> None:
    read = read_row(replace(PLAIN, empty_is_zero=True), {**ROW, "out": ""})
    assert isinstance(read, RowRead) and read.counts.output_tok == 0


def test_a_bucket_begins_with_its_hour_or_day() -> None:
    hour = replace(columns(id=""), grain="hour", zone="Asia/Kolkata")
    assert "not the start of an hour in UTC" in faults(hour, when="2026-11-09 14:00:00")
    fine = read_row(hour, {**ROW, "when": "2026-11-09 14:30:00"})
    assert isinstance(fine, RowRead) and fine.at == datetime(2026, 11, 9, 9, tzinfo=UTC)
    day = replace(columns(id=""), grain="day")
    assert "not the start of a day in UTC" in faults(day)


def test_an_unknown_number_of_requests_stays_unknown() -> None:
    hour = replace(PLAIN, grain="hour", columns={**columns(id="requests").columns})
    read = read_row(hour, {**ROW, "id": ""})
    assert isinstance(read, RowRead) and read.requests is None
    read = read_row(hour, {**ROW, "id": "12"})
    assert isinstance(read, RowRead) and read.requests == 12


# ---- Guesses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("timestamp", "time"), ("Date", "time"), ("usage_date_utc", "time"), ("requestId", "request_id"),
        ("model_name", "model"), ("project", "workspace"), ("API Key Name", "api_key"),
        ("input_tokens", "input_uncached"), ("usage_input_tokens_no_cache", "input_uncached"),
        ("prompt_tokens", "input_with_cache"), ("completion_tokens", "output"), ("Output tokens", "output"),
        ("cache_read_input_tokens", "cache_read"), ("cached_tokens", "cache_read"),
        ("cache_creation_input_tokens", "cache_write"), ("usage_input_tokens_cache_write_5m", "cache_write_5m"),
        ("usage_input_tokens_cache_write_1h", "cache_write_1h"), ("latency_ms", "latency_ms"),
        ("cost_usd", "cost_stated"), ("web_search_count", "web_searches"), ("favourite colour", ""), ("prompt", ""),
    ],
)  # fmt: skip
def test_names_say_what_a_column_is(column: str, name: str) -> None:
    assert guess_field(column) == name


def test_text_of_prompts_is_masked_by_name_and_by_look() -> None:
    rows = [{"prompt": "hi", "note": "word " * 40, "prompt_tokens": "12", "team": "search"}]
    assert masked_columns(("prompt", "note", "prompt_tokens", "team"), rows) == {"prompt", "note"}
    assert names_text("system_prompt") and not names_text("prompt_cache_read_tokens")


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (["2026-11-09", "2026-11-10T00:00:00Z"], "iso"),
        (["31.12.2026"], "dmy"),
        (["09/11/2026", "12/31/2026"], "mdy"),
        (["1794232800"], "unix_s"),
        (["1794232800123"], "unix_ms"),
        (["soon"], "iso"),
        ([], "iso"),
    ],
)
def test_the_time_format_is_guessed_from_all_values(values: list[str], name: str) -> None:
    assert guess_time_format(values) == name


def test_a_proposal_contradicts_nothing_but_open_questions() -> None:
    proposed = propose_mapping("t.csv", HEADER, [ROW])
    assert "cached" not in proposed.columns  # a bare "cached" may be a flag: somebody says so
    rows = [{"day": "2026-11-09", "model": "m", "input_tokens": "1", "output_tokens": "2", "calls": "3"}]
    proposed = propose_mapping("daily", tuple(rows[0]), rows)
    assert (proposed.grain, proposed.zone) == ("day", "")
    assert contradictions(proposed) == ()
    assert proposed.column_of("requests") == "calls"


def test_every_field_and_format_has_words() -> None:
    assert set(column_mapping.TOKEN_FIELDS) < set(column_mapping.FIELDS)
    assert {name for _, name in column_guess._NAMES} <= set(column_mapping.FIELDS)
    assert set(TIME_FORMATS) == {"iso", "dmy", "mdy", "unix_s", "unix_ms"}


@given(
    counts=st.lists(st.integers(0, 10**9), min_size=6, max_size=6),
    shift=st.integers(0, 10**6),
)
def test_including_and_excluding_tables_of_the_same_requests_count_the_same(counts: list[int], shift: int) -> None:
    uncached, read, five, hour, output, searches = counts
    header = ("t", "id", "m", "i", "r", "w5", "w1", "o", "s")
    at = datetime(2026, 11, 9, tzinfo=UTC) + timedelta(seconds=shift)
    cells = {
        "t": at.isoformat(), "id": "x", "m": "m", "r": str(read), "w5": str(five), "w1": str(hour), "o": str(output),
        "s": str(searches),
    }  # fmt: skip
    fields = {
        "t": "time", "id": "request_id", "m": "model", "r": "cache_read", "w5": "cache_write_5m",
        "w1": "cache_write_1h", "o": "output", "s": "web_searches",
    }  # fmt: skip
    without = ColumnMapping("a", header, "request", {**fields, "i": "input_uncached"})
    within = ColumnMapping("b", header, "request", {**fields, "i": "input_with_cache"})
    one = read_row(without, {**cells, "i": str(uncached)})
    two = read_row(within, {**cells, "i": str(uncached + read + five + hour)})
    assert isinstance(one, RowRead) and isinstance(two, RowRead)
    assert one.counts == two.counts == TokenCounts(uncached, read, five, hour, output, searches)
    assert one.at == two.at == at
