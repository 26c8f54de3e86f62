"""Tables of one's own: read by a mapping of their columns, as Braintrust and LangSmith export them and as people do."""

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from routing.core.eval_columns import EvalColumns, parse_eval_columns
from routing.importers import EvalImportError, ReadOptions, importer_for
from routing.importers.mapped_csv import preview, table_start
from tests.importers.evals.reading import AT, read, refusal, rejected, written

COLUMNS = {"case": "sample_id", "llm": "model", "ok": "passed", "grade": "score"}


def table(folder, *rows, header="case,llm,ok,grade", name="t.csv"):
    return written(folder, "\n".join([header, *rows]) + "\n", name)


def by(columns=COLUMNS, *, suite="triage@2", run_at=AT, **settings):
    return ReadOptions(suite=suite, run_at=run_at, columns=EvalColumns(columns=columns, **settings))


def test_a_table_is_read_as_its_mapping_says(tmp_path):
    (r,) = read(table(tmp_path, "T-1,anthropic/claude-haiku-4-5,yes,0.75"), by())
    assert (r.suite, r.suite_version, r.sample_id, r.candidate) == ("triage", "2", "T-1", "claude-haiku-4-5")
    assert (r.score, r.graded_score, r.run_at) == (1.0, 0.75, AT)


def test_a_mapping_chooses_the_reader_and_none_is_claimed_without(tmp_path):
    path = table(tmp_path, "T-1,m,1,1")
    assert importer_for(path, None, by()).name == "table"
    assert "is no known format of eval results" in refusal(path)
    with pytest.raises(EvalImportError, match=r"t\.csv: needs a mapping of its columns\. Say which column"):
        list(importer_for(path, "table", ReadOptions()).read(path))


# -- exports -------------------------------------------------------------------------------------------------------

METRICS = {
    "prompt_tokens": 5320, "prompt_cached_tokens": 5200, "completion_tokens": 9, "duration": 0.612,
    "estimated_cost": 0.000457,
}  # fmt: skip
BRAINTRUST = {
    "dataset_record_id": "T-1", "id": "a1", "span_id": "s", "created": "2026-11-09T10:00:00Z", "input": "secret",
    "output": "secret", "error": "", "scores": json.dumps({"Factuality": 0.6, "Style": 1}),
    "metadata": json.dumps({"model": "claude-haiku-4-5", "request_class": "classify"}),
    "metrics": json.dumps(METRICS),
}  # fmt: skip
LANGSMITH = {
    "example_id": "T-1", "inputs": "secret", "outputs": "secret", "reference_outputs": "secret", "error": "",
    "latency": "0.612", "status": "success", "model": "claude-haiku-4-5", "prompt_tokens": "412",
    "completion_tokens": "9", "total_cost": "0.000457", "feedback.correctness": "1",
    "start_time": "2026-11-09T10:00:00Z",
}  # fmt: skip


def export(folder, *rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return written(folder, out.getvalue(), "export.csv")


def test_a_braintrust_export_is_guessed_but_for_its_several_scores(tmp_path):
    path = export(tmp_path, BRAINTRUST)
    start = table_start(path)
    assert start.proposal.columns == {
        "dataset_record_id": "sample_id", "metadata.model": "model", "metadata.request_class": "request_class",
        "created": "time", "error": "error", "metrics.prompt_tokens": "input_with_cache",
        "metrics.prompt_cached_tokens": "cache_read", "metrics.completion_tokens": "output",
        "metrics.estimated_cost": "cost_usd", "metrics.duration": "latency_s",
    }  # fmt: skip
    assert "no column says how a case did" in refusal(path, by(start.proposal.columns))
    (r,) = read(path, by({**start.proposal.columns, "scores.Factuality": "score"}))
    assert (r.score, r.graded_score, r.uncached_input_tok, r.cache_read_tok, r.output_tok) == (0.6, None, 120, 5_200, 9)
    assert (r.latency_ms, r.cost_usd, r.request_class, r.input_tok) == (612.0, Decimal("0.000457"), "classify", 5_320)
    assert r.run_at == datetime(2026, 11, 9, 10, tzinfo=UTC) and "secret" not in repr(r)


def test_a_langsmith_export_is_guessed_whole(tmp_path):
    path = export(tmp_path, LANGSMITH)
    start = table_start(path)
    assert start.rows == (tuple(LANGSMITH.values()),)
    assert start.proposal.columns == {
        "example_id": "sample_id", "model": "model", "start_time": "time", "error": "error",
        "prompt_tokens": "input_with_cache", "completion_tokens": "output", "total_cost": "cost_usd",
        "latency": "latency_s", "feedback.correctness": "score",
    }  # fmt: skip
    (r,) = read(path, by(start.proposal.columns))
    assert (r.score, r.uncached_input_tok, r.cache_read_tok, r.latency_ms) == (1.0, 412, 0, 612.0)
    assert r.input_tok == 412  # the whole prompt: comparable, though nothing tells what of it was cached


# -- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ok", "grade", "settings", "expected"),
    [
        ("true", "0.4", {}, (1.0, 0.4, "")),
        ("no", "", {}, (0.0, None, "")),
        ("", "0.4", {}, (0.4, None, "")),
        ("", "", {}, (None, None, "no verdict")),
        ("", "80", {"score_max": 100.0}, (0.8, None, "")),
        ("PASS", "4", {"score_max": 5.0}, (1.0, 0.8, "")),
    ],
)
def test_verdict_and_grade(tmp_path, ok, grade, settings, expected):
    (r,) = read(table(tmp_path, f"T-1,m,{ok},{grade}"), by(**settings))
    assert (r.score, r.graded_score, r.error) == expected


@pytest.mark.parametrize(("grade", "expected"), [("0.8", (1.0, 0.8)), ("0.79", (0.0, 0.79)), ("true", (1.0, 1.0))])
def test_a_score_from_pass_at_on_is_a_pass(tmp_path, grade, expected):
    columns = {"case": "sample_id", "llm": "model", "grade": "score"}
    (r,) = read(table(tmp_path, f"T-1,m,,{grade}"), by(columns, pass_at=0.8))
    assert (r.score, r.graded_score) == expected


@pytest.mark.parametrize("verdict", ["", "false,0", ",0"])
def test_an_error_is_no_failure_even_beside_a_score_of_0(tmp_path, verdict):
    ok, _, grade = verdict.partition(",")
    path = table(tmp_path, f"T-1,m,{ok},{grade},529 overloaded_error secret", header="case,llm,ok,grade,err")
    (r,) = read(path, by({**COLUMNS, "err": "error"}))
    assert (r.score, r.graded_score, r.error) == (None, None, "overloaded_error")


def test_an_error_beside_a_pass_is_a_contradiction(tmp_path):
    path = table(tmp_path, "T-1,m,true,,timeout", header="case,llm,ok,grade,err")
    (said,) = rejected(path, by({**COLUMNS, "err": "error"}))
    assert said == (
        "t.csv, line 2: err = 'timeout': contradicts the verdict. A case with an error has no verdict: correct the row."
    )


@pytest.mark.parametrize(
    ("cell", "kind", "expected"),
    [
        ("2026-11-09T11:00:00+01:00", "iso", AT),
        ("1794218400", "epoch_s", AT),
        ("1794218400000", "epoch_ms", AT),
        ("", "iso", AT),
    ],
)
def test_times(tmp_path, cell, kind, expected):
    path = table(tmp_path, f"T-1,m,1,,{cell}", header="case,llm,ok,grade,at")
    assert read(path, by({**COLUMNS, "at": "time"}, time_format=kind))[0].run_at == expected


@pytest.mark.parametrize(
    ("column", "cell", "settings", "words"),
    [
        ("passed", "maybe", {}, "c = 'maybe': is neither true nor false"),
        ("score", "1.2", {}, "c = '1.2': is outside the scale. Say the best score there is (score_max, now 1)"),
        ("score", "NaN", {}, "c = 'NaN': is not finite"),
        ("score", "1e400", {}, "is not finite"),
        ("time", "yesterday", {}, "c = 'yesterday': is not a time"),
        ("time", "1e300", {"time_format": "epoch_s"}, "is no time. Check the unit of the time"),
        ("input_uncached", "-1", {}, "is negative"),
        ("cost_usd", "$1", {}, "is not a number"),
        ("attempts", "0", {}, "is no number of attempts"),
        ("mode", "x" * 80, {}, "80 characters"),
    ],
)
def test_rows_that_cannot_be_read(tmp_path, column, cell, settings, words):
    columns = {"case": "sample_id", "llm": "model", "c": column}
    columns |= {} if column in {"passed", "score"} else {"ok": "passed"}
    path = table(tmp_path, f"T-1,m,1,{cell}", header="case,llm,ok,c")
    (said,) = rejected(path, by(columns, **settings))
    assert said.startswith("t.csv, line 2: ") and words in said


def test_tokens_that_do_not_fit_into_each_other(tmp_path):
    columns = {**COLUMNS, "whole": "input_with_cache", "read": "cache_read"}
    path = table(tmp_path, "T-1,m,1,,100,200", header="case,llm,ok,grade,whole,read")
    assert "whole = 100: is below the cached tokens" in rejected(path, by(columns))[0]


def test_constants_and_options_serve_where_there_is_no_column(tmp_path):
    columns = {"case": "sample_id", "ok": "passed"}
    constants = {"suite": "own@3", "model": "claude-opus-4-8", "mode": "effort=low", "request_class": "classify"}
    (r,) = read(table(tmp_path, "T-1,m,1,"), by(columns, constants=constants, suite=""))
    assert (r.suite, r.suite_version, r.candidate, r.mode, r.request_class) == (
        "own", "3", "claude-opus-4-8", "effort=low", "classify",
    )  # fmt: skip
    said = rejected(table(tmp_path, "T-1,m,1,"), by(columns, suite="s"))
    assert "model: no model. Choose its column, or name the model" in said[0]
    assert "suite: no suite" in rejected(table(tmp_path, "T-1,m,1,"), by(COLUMNS, suite=""))[0]
    assert "time: no time of the run" in rejected(table(tmp_path, "T-1,m,1,"), by(run_at=None))[0]


def test_other_delimiters(tmp_path):
    path = written(tmp_path, "case;llm;ok;grade\nT-1;m;1;0.5\n", "t.csv")
    assert table_start(path).delimiter == ";"
    assert read(path, by(delimiter=";"))[0].graded_score == 0.5


def test_a_json_column_that_is_none(tmp_path):
    columns = {"case": "sample_id", "llm": "model", "ok": "passed", "grade.x": "score"}
    assert "grade.x: is not JSON" in rejected(table(tmp_path, "T-1,m,1,abc"), by(columns))[0]
    assert rejected(table(tmp_path, 'T-1,m,1,"{""y"": 1}"'), by(columns)) == [], "no such key: nothing is stated"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("case,llm,ok,grade\n", "has a header and no row"),
        ("\n", "is empty"),
        ('case,llm,ok,grade\nT-1,m,1,"open', "is not CSV"),
        ('"case,llm', "is not CSV"),
    ],
)
def test_tables_that_are_none(tmp_path, content, words):
    assert words in refusal(written(tmp_path, content, "t.csv"), by())


def test_a_short_row_is_said_and_the_others_can_be_had(tmp_path):
    path = table(tmp_path, "T-1,m,1,", "T-2,m", "T-3,m,0,")
    assert rejected(path, by()) == [
        "t.csv, line 3: has 2 fields, the header 4. Quote fields that hold commas; a short last row means the file is "
        "truncated."
    ]
    shown = preview(path, by(), most=2)
    assert [type(row).__name__ for row in shown] == ["CaseResult", "RejectedRow"]


def test_a_mapping_that_contradicts_itself_refuses_the_file(tmp_path):
    said = refusal(table(tmp_path, "T-1,m,1,"), by({**COLUMNS, "nosuch": "output"}))
    assert said == "t.csv, line 1: nosuch: the table has no such column. It has: case, llm, ok, grade."


@pytest.mark.parametrize("content", ["", "one\nx\n"])
def test_the_start_of_what_is_no_table(tmp_path, content):
    with pytest.raises(EvalImportError, match=r"is empty|has one column only"):
        table_start(written(tmp_path, content, "t.csv"))


def test_the_document_of_a_mapping_reads_back():
    columns = EvalColumns(COLUMNS, {"suite": "a"}, 5.0, None, "epoch_s", ";")
    assert parse_eval_columns(json.loads(json.dumps(columns.as_document()))) == columns
