"""Each sample of an eval format beside its expected results, and what the formats' traps do."""

import copy
import json
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.core.evidence import CaseResult, cases_of_epoch
from routing.importers import About, EvalImportError, ReadOptions, RejectedRow, all_or_nothing, detect, importer_named

SAMPLES = Path(__file__).parent / "samples"
AT = datetime(2026, 11, 9, 10, tzinfo=UTC)
HEADER = "suite,request_class,sample_id,model,run_at,passed,score,input_tokens,output_tokens,cost_usd,latency_ms,error"


def read(path: Path, options: ReadOptions | None = None) -> list[CaseResult]:
    return list(all_or_nothing(detect(path).read(path, options or ReadOptions())))


def csv_file(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "evals.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def row(sample="T-1", model="claude-haiku-4-5", **fields: str) -> str:
    values = {"suite": "triage", "request_class": "classify", "sample_id": sample, "model": model}
    values |= {"run_at": "2026-11-09T10:00:00Z", "passed": "true"} | fields
    return ",".join(values.get(name, "") for name in HEADER.split(","))


def document() -> dict:
    return json.loads((SAMPLES / "promptfoo_results.json").read_text())


def promptfoo_file(folder: Path, content: object) -> Path:
    path = folder / "results.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("sample", "format_name", "tool"),
    [
        ("pass_fail.csv", "csv", ""),
        ("promptfoo_results.json", "promptfoo", "promptfoo 0.121.20"),
        ("inspect_log.json", "inspect", "Inspect AI 0.3.285"),
        ("inspect_log.eval", "inspect", "Inspect AI 0.3.285"),
        ("deepeval_test_run_20261123_175839.json", "deepeval", "DeepEval"),
        ("lm_eval_samples_ticket_triage_2026-11-09T10-00-00.000000.jsonl", "lm-eval", "lm-evaluation-harness"),
        ("openai_evals_run.jsonl", "openai-evals", "OpenAI evals"),
        ("junit_pytest.xml", "junit", "pytest"),
    ],
    ids=lambda value: value,
)
def test_sample_becomes_the_results_beside_it(sample, format_name, tool):
    path = SAMPLES / sample
    assert detect(path).name == format_name
    about = About()
    assert list(all_or_nothing(importer_named(format_name).read(path, ReadOptions(), about))) == read(path)
    assert about.tool == tool
    expected = json.loads(path.with_name(f"{path.name}.expected.json").read_text())
    assert json.loads(json.dumps([asdict(result) for result in read(path)], default=str)) == expected


def test_json_lines_hold_the_same_results_as_the_document():
    lines = read(SAMPLES / "promptfoo_results.jsonl", ReadOptions(run_at=AT))
    expected = json.loads((SAMPLES / "promptfoo_results.json.expected.json").read_text())
    got = json.loads(json.dumps([asdict(result) for result in lines], default=str))
    assert [item | {"run_at": ""} for item in got] == [item | {"run_at": ""} for item in expected]
    assert {result.run_at for result in lines} == {AT}


# -- traps of the formats ------------------------------------------------------------------------------------------


def test_an_error_is_no_failure():
    by_case = {(r.sample_id, r.candidate): r for r in read(SAMPLES / "promptfoo_results.json")}
    failed, broken = by_case["T-002", "claude-haiku-4-5"], by_case["T-004", "claude-haiku-4-5"]
    assert (failed.score, failed.error) == (0.0, "")
    assert (broken.score, broken.error) == (None, "overloaded_error")
    assert broken.cost_usd is None and broken.output_tok is None, "unknown, not free"


def test_promptfoo_prompt_tokens_include_the_cache_and_are_made_exclusive():
    result = next(r for r in read(SAMPLES / "promptfoo_results.json") if r.sample_id == "T-003")
    assert (result.uncached_input_tok, result.cache_write_5m_tok, result.input_tok) == (120, 5200, 5320)


def test_a_result_of_promptfoos_own_cache_keeps_its_verdict_only(tmp_path):
    content = document()
    content["results"]["results"][0]["response"]["cached"] = True
    first = read(promptfoo_file(tmp_path, content))[0]
    assert first.score == 1.0
    assert (first.cost_usd, first.latency_ms, first.output_tok) == (None, None, None)


def test_promptfoo_repeats_of_a_test_are_one_case(tmp_path):
    content = document()
    results = content["results"]["results"]
    for result in results:
        for place in (result["testCase"], result):
            place["metadata"].pop("sample_id")
    again = copy.deepcopy(results[0])
    again["testIdx"] = 99
    content["results"]["results"] = [results[0], again]
    found = read(promptfoo_file(tmp_path, content))
    assert len(found) == 2 and len({result.sample_id for result in found}) == 1
    assert cases_of_epoch(found)["claude-haiku-4-5"].cases == 1


def test_no_prompt_and_no_answer_is_kept():
    kept = json.dumps([asdict(result) for result in read(SAMPLES / "promptfoo_results.json")], default=str)
    assert "I love it" in (SAMPLES / "promptfoo_results.json").read_text()
    assert "love" not in kept and "Positive" not in kept


def test_model_spellings_meet(tmp_path):
    raws = [
        "anthropic:messages:claude-haiku-4-5-20251001",
        "anthropic/claude-haiku-4-5",
        "bedrock:us.anthropic.claude-haiku-4-5-20251001-v1:0",
        "claude-haiku-4-5@20251001",
    ]
    found = read(csv_file(tmp_path, *[row(f"T-{n}", model=raw) for n, raw in enumerate(raws)]))
    assert {result.candidate for result in found} == {"claude-haiku-4-5"}
    assert [result.candidate_raw for result in found] == raws


def test_options_serve_where_the_file_says_nothing_and_the_file_wins(tmp_path):
    path = csv_file(
        tmp_path, "a,claude-haiku-4-5,1,own", "b,claude-haiku-4-5,0,", header="sample_id,model,passed,request_class"
    )
    own, given = read(path, ReadOptions(run_at=AT, request_class="given", suite="nightly@3"))
    assert (own.request_class, given.request_class) == ("own", "given")
    assert (own.suite, own.suite_version, own.run_at) == ("nightly", "3", AT)


def test_csv_values(tmp_path):
    path = csv_file(tmp_path, row(passed="", score="0.25", cost_usd="0.000457", latency_ms="612.5", input_tokens="412"))
    (result,) = read(path)
    assert (result.score, result.cost_usd, result.latency_ms) == (0.25, Decimal("0.000457"), 612.5)
    assert (result.uncached_input_tok, result.output_tok) == (412, None), "empty = unknown, never 0"


GRADED = "suite,sample_id,model,run_at,passed,score,graded_score,mode,attempts"


@pytest.mark.parametrize(
    ("passed", "score", "graded", "expected"),
    [
        ("true", "", "", (1.0, None)),
        ("true", "0.8", "", (1.0, 0.8)),
        ("false", "0.8", "0.6", (0.0, 0.6)),
        ("", "0.8", "", (0.8, None)),
        ("", "0.8", "0.6", (0.8, 0.6)),
        ("", "", "0.6", (None, None)),
    ],
)
def test_csv_grade_beside_the_verdict(tmp_path, passed, score, graded, expected):
    line = f"a,1,m,2026-11-09T10:00:00Z,{passed},{score},{graded},effort=low,3"
    (result,) = read(csv_file(tmp_path, line, header=GRADED))
    assert (result.score, result.graded_score) == expected
    assert (result.mode, result.attempts) == ("effort=low", 3)


def test_csv_mode_and_model_of_the_person_importing(tmp_path):
    lines = ("a,1,2026-11-09T10:00:00Z,1,own", "a,2,2026-11-09T10:00:00Z,1,")
    path = csv_file(tmp_path, *lines, header="suite,sample_id,run_at,passed,mode")
    found = read(path, ReadOptions(model="claude-opus-4-8", mode="effort=high"))
    assert {result.candidate for result in found} == {"claude-opus-4-8"}
    assert [result.mode for result in found] == ["own", "effort=high"]
    assert "missing column: model" in refusal(path)


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        (",,0", "attempts = '0': is no number of attempts"),
        (",,40000", "attempts = '40000': is no number of attempts. Give the calls it took, 1 to 32,767"),
        (",,1.5", "attempts = '1.5': is not a whole number"),
        ("2,,", "graded_score = '2': is outside 0 … 1"),
        (f",{'x' * 65},", "mode"),
    ],
)
def test_csv_new_columns_that_are_wrong(tmp_path, tail, words):
    path = csv_file(tmp_path, f"a,1,m,2026-11-09T10:00:00Z,true,,{tail}", header=GRADED)
    assert words in refusal(path)


@given(
    prompt=st.integers(0, 10**9),
    read_tok=st.integers(0, 10**9),
    written=st.integers(0, 10**9),
    output=st.integers(0, 10**6),
)
def test_kinds_of_promptfoo_tokens_add_up_or_the_row_is_refused(prompt, read_tok, written, output):
    content = document()
    result = content["results"]["results"][0]
    details = {"cacheReadInputTokens": read_tok, "cacheCreationInputTokens": written}
    result["tokenUsage"] = {"prompt": prompt, "completion": output, "completionDetails": details}
    content["results"]["results"] = [result]
    with tempfile.TemporaryDirectory() as folder:
        (row_read,) = importer_named("promptfoo").read(promptfoo_file(Path(folder), content))
    if read_tok + written > prompt:
        assert isinstance(row_read, RejectedRow)
    elif prompt or output:
        assert isinstance(row_read, CaseResult)
        assert (row_read.input_tok, row_read.cache_read_tok, row_read.cache_write_5m_tok) == (prompt, read_tok, written)


def test_duplicate_samples_with_conflicting_scores_stay_two_results_of_one_case(tmp_path):
    found = read(csv_file(tmp_path, row(), row(passed="false")))
    evidence = cases_of_epoch(found)["claude-haiku-4-5"]
    assert (len(found), evidence.cases, evidence.passes) == (2, 1, 0.5)


# -- hostile files: the message names file, line or field, value and remedy ----------------------------------------


def refusal(path: Path, options: ReadOptions | None = None) -> str:
    with pytest.raises(EvalImportError) as caught:
        read(path, options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        ([row(), row("T-2", passed="maybe")], ["line 3", "passed = 'maybe'", "true or false"]),
        ([row(passed="", score="1.2")], ["line 2", "score = '1.2'", "outside 0 … 1", "Scale"]),
        ([row(passed="", score="-0.1")], ["line 2", "score = '-0.1'", "outside 0 … 1"]),
        ([row(passed="", score="NaN")], ["line 2", "score = 'NaN'", "not finite"]),
        ([row(passed="", score="1e400")], ["line 2", "score = '1e400'", "not finite"]),
        ([row(input_tokens="-5")], ["line 2", "input_tokens = '-5'", "negative", "0 or more"]),
        ([row(input_tokens="1.5")], ["line 2", "input_tokens = '1.5'", "not a whole number"]),
        ([row(output_tokens="10000000000000000")], ["line 2", "output_tokens", "too large"]),
        ([row(cost_usd="-1")], ["line 2", "cost_usd = '-1'", "negative"]),
        ([row(cost_usd="$3")], ["line 2", "cost_usd = '$3'", "not a number"]),
        ([row(latency_ms="-1")], ["line 2", "latency_ms", "negative"]),
        ([row(run_at="yesterday")], ["line 2", "run_at = 'yesterday'", "ISO 8601"]),
        ([row(sample="")], ["line 2", "sample_id", "is empty"]),
        ([row(model="")], ["line 2", "model", "is empty"]),
        ([row(error="timeout")], ["line 2", "error = 'timeout'", "contradicts passed = true"]),
        ([row(sample="x" * 513)], ["line 2", "sample_id", "513 characters", "never cut"]),
        ([row(), "triage,classify,T-2"], ["line 3", "3 fields", "truncated"]),
        ([row(sample='"open')], ["not CSV", "unclosed quote"]),
    ],
    ids=lambda value: value[1] if isinstance(value, list) and len(value) > 1 else None,
)
def test_bad_csv_rows(tmp_path, rows, parts):
    said = refusal(csv_file(tmp_path, *rows))
    assert said.startswith("evals.csv, line "), said
    for part in parts:
        assert part in said


def test_a_bad_row_in_the_middle_is_named_and_the_others_can_be_had(tmp_path):
    path = csv_file(tmp_path, row("T-1"), row("T-2", passed="perhaps"), row("T-3"))
    rows = list(importer_named("csv").read(path))
    assert [type(item).__name__ for item in rows] == ["CaseResult", "RejectedRow", "CaseResult"]
    assert "line 3" in refusal(path)


def test_missing_columns_are_all_named(tmp_path):
    said = refusal(csv_file(tmp_path, "a,x,2026-11-09", header="suite,request_class,run_at"))
    assert said == (
        "evals.csv, line 1: missing columns: sample_id, model, passed or score. Add them, or say which column means "
        "what (--columns); the file has: suite, request_class, run_at."
    )


def test_a_column_twice_is_refused(tmp_path):
    said = refusal(csv_file(tmp_path, "a,b,m,1,0", header="suite,sample_id,model,passed,passed"))
    assert "line 1" in said and "a column stands twice: passed" in said


@pytest.mark.parametrize(("content", "words"), [(b"", "is empty (0 bytes)"), (b" \n\n", "holds only blanks")])
def test_empty_files(tmp_path, content, words):
    path = tmp_path / "evals.json"
    path.write_bytes(content)
    assert refusal(path) == f"evals.json: {words}. Export it again."


@pytest.mark.parametrize("content", [b'{"rows": []}', b"hello", b"<html/>", b"PK\x03\x04", b"a,b\n1,2\n"])
def test_files_of_other_formats_name_those_that_are_read(tmp_path, content):
    path = tmp_path / "other.bin"
    path.write_bytes(content)
    said = refusal(path)
    assert said.startswith("other.bin: is no known format of eval results. Formats: promptfoo (")
    assert "csv (" in said


def test_an_unknown_format_name_lists_the_formats():
    with pytest.raises(
        EvalImportError, match=r"format = 'nosuch': is not a format of eval results\. Formats: promptfoo"
    ):
        importer_named("nosuch")


def test_a_csv_that_is_not_utf8(tmp_path):
    path = tmp_path / "evals.csv"
    path.write_bytes((HEADER + "\n" + row("T-é")).encode("latin-1"))
    said = refusal(path)
    assert "evals.csv: is not UTF-8 (byte " in said and "Save the file as UTF-8" in said


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_document(tmp_path, share):
    content = json.dumps(document(), indent=1)
    said = refusal(promptfoo_file(tmp_path, content[: int(len(content) * share)]))
    assert said.startswith("results.json, line ") and "is not complete JSON at column" in said
    assert "Export it again with promptfoo eval --output results.json" in said


def test_a_truncated_line(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text((SAMPLES / "promptfoo_results.jsonl").read_text()[:-200])
    said = refusal(path, ReadOptions(run_at=AT))
    assert said.startswith("results.jsonl, line 8: is not JSON at column")


def test_json_lines_without_a_time_ask_for_it():
    said = refusal(SAMPLES / "promptfoo_results.jsonl")
    assert "line 1" in said and "no time of the run" in said and "say when the evals were run" in said


def changed(change) -> dict:
    content = document()
    change(content["results"]["results"][2])
    return content


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda r: r.update(success="yes"), ["success = 'yes'", "neither true nor false", "failureReason 2"]),
        (lambda r: r.update(failureReason=2, success=True), ["success = True", "contradicts failureReason = 2"]),
        (lambda r: r.update(cost=-1), ["cost = -1", "is negative"]),
        (lambda r: r["tokenUsage"].update(prompt=-3), ["tokenUsage.prompt = -3", "is negative"]),
        (
            lambda r: r["tokenUsage"].update(prompt=10, completionDetails={"cacheReadInputTokens": 50}),
            ["tokenUsage.prompt = 10", "below the cached tokens"],
        ),
        (lambda r: r.update(provider={}), ["provider.id", "no model"]),
        (lambda r: r.update(tokenUsage=[1]), ["tokenUsage", "is not a JSON object"]),
    ],
)
def test_bad_promptfoo_results(tmp_path, change, parts):
    said = refusal(promptfoo_file(tmp_path, changed(change)))
    assert said.startswith("results.json, results.results[2]: "), said
    for part in parts:
        assert part in said


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constants_that_are_no_numbers(tmp_path, constant):
    content = json.dumps(document()).replace('"cost": 0.000457', f'"cost": {constant}', 1)
    said = refusal(promptfoo_file(tmp_path, content))
    assert said == f"results.json: holds {constant}, which is not a number. Replace it by null or a number."


def test_a_number_beyond_a_float(tmp_path):
    content = json.dumps(document()).replace('"latencyMs": 146', '"latencyMs": 1e400', 1)
    assert "latencyMs = inf: is not finite" in refusal(promptfoo_file(tmp_path, content))


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ({"version": 1, "results": []}, "results.version = 1: is another version"),
        ({"version": 2, "results": []}, "results.results: holds no result"),
        ({"version": 3, "results": []}, "results.results: holds no result"),
        ({"version": 3, "results": None}, "results.results: is not a list"),
        ("text", "results = 'text': is not a JSON object"),
    ],
)
def test_documents_without_results(tmp_path, results, words):
    said = refusal(promptfoo_file(tmp_path, {"evalId": "x", "results": results}))
    assert said.startswith(f"results.json: {words}")


@pytest.mark.parametrize(
    ("filler", "words"),
    [("[" * 100_000, "is nested too deeply"), ("9" * 5_000, "holds a number of thousands of digits")],
)
def test_json_that_would_break_the_reader(tmp_path, filler, words):
    said = refusal(promptfoo_file(tmp_path, f'{{"evalId": 1, "results": {filler}'))
    assert said.startswith(f"results.json: {words}")


@pytest.mark.parametrize("digits", [19, 21, 5_000])
def test_token_counts_of_many_digits(tmp_path, digits):
    said = refusal(csv_file(tmp_path, row(input_tokens="9" * digits)))
    assert "line 2" in said and ("too large" in said or "not finite" in said)


def test_a_lone_surrogate_in_a_prompt_is_no_crash(tmp_path):
    content = document()
    result = content["results"]["results"][0]
    result["vars"] = result["testCase"]["vars"] = {"ticket": "\ud800"}
    for place in (result["testCase"], result):
        place["metadata"].pop("sample_id")
    assert read(promptfoo_file(tmp_path, content))[0].sample_id == "0"
