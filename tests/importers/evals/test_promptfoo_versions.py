"""promptfoo beside its usual JSON: version 2 with a table, the file around the results, modes and grades."""

import copy
import gzip
from typing import Any

import pytest

from routing.importers import ReadOptions
from tests.importers.evals.reading import AT, SAMPLES, document, read, refusal, rejected, sample, told, written


def changed(change):
    content = document("promptfoo")
    for result in content["results"]["results"]:
        change(result)
    return content


def table_of(content, *, with_results=True):
    """The document as promptfoo wrote it before version 3: a table, and results that do not number their tests."""
    summary = content["results"]
    rows: dict[int, Any] = {}
    for result in summary["results"]:
        cell = {key: result.get(key) for key in ("score", "namedScores", "latencyMs", "cost", "tokenUsage", "error")}
        cell |= {"pass": result["success"], "gradingResult": result["gradingResult"], "text": "secret"}
        cell |= {"provider": result["provider"]["label"], "response": result["response"], "prompt": "secret"}
        row = rows.setdefault(result["testIdx"], {"test": result["testCase"], "vars": ["secret"], "outputs": {}})
        row["outputs"][result["promptIdx"]] = cell
    body = [row | {"outputs": [row["outputs"][n] for n in sorted(row["outputs"])]} for _, row in sorted(rows.items())]
    plain = [
        {
            key: value
            for key, value in result.items()
            if key not in {"testIdx", "promptIdx", "failureReason", "testCase"}
        }
        for result in summary["results"]
    ]
    table = {"head": {"prompts": summary["prompts"], "vars": ["cls"]}, "body": body}
    summary = summary | {"version": 2, "table": table, "results": plain if with_results else []}
    return content | {"results": summary}


def facts(results):
    return sorted(repr(result) for result in results)


def test_version_2_reads_its_table_as_version_3_reads_its_results(tmp_path):
    path = written(tmp_path, table_of(document("promptfoo")))
    assert facts(read(path)) == facts(read(sample("promptfoo")))


def test_version_2_without_a_list_of_results_knows_labels_only(tmp_path):
    path = written(tmp_path, table_of(document("promptfoo"), with_results=False))
    assert {r.candidate_raw for r in read(path)} == {"haiku-4.5", "opus-4.8"}


def test_version_2_whose_results_number_their_tests_needs_no_table(tmp_path):
    content = document("promptfoo")
    content["results"] |= {"version": 2, "table": {"head": {"prompts": []}, "body": []}}
    assert facts(read(written(tmp_path, content))) == facts(read(sample("promptfoo")))


@pytest.mark.parametrize("table", [{"head": {}}, {"body": []}, {"head": {"prompts": 1}, "body": []}])
def test_a_table_that_is_none(tmp_path, table):
    content = document("promptfoo")
    content["results"] = {"version": 2, "results": [{}], "table": table}
    assert "results.table: has no head.prompts or no body" in refusal(written(tmp_path, content))


@pytest.mark.parametrize("version", [3, 4])
def test_the_file_around_the_results_may_count_its_own_versions(tmp_path, version):
    """What promptfoo serves and shares: `version` 4 (results apart from the evaluation) or 3 (inside it)."""
    results = document("promptfoo")
    content = {
        "version": version,
        "createdAt": "2026-11-23T17:55:11.746Z",
        "author": None,
        "results": results["results"],
    }
    content |= {"config": results["config"], "datasetId": "x"}
    assert facts(read(written(tmp_path, content))) == facts(read(sample("promptfoo")))
    del content["results"]["timestamp"]
    assert facts(read(written(tmp_path, content))) == facts(read(sample("promptfoo"))), "createdAt serves then"


@pytest.mark.parametrize("version", [1, 4, None])
def test_results_of_another_version_are_refused_clearly(tmp_path, version):
    content = document("promptfoo")
    content["results"]["version"] = version
    said = refusal(written(tmp_path, content))
    assert f"results.version{'' if version is None else f' = {version}'}: is another version. Versions 2 and 3" in said


def test_its_csv_is_refused_with_what_to_do():
    assert refusal(SAMPLES / "promptfoo_results.csv") == (
        "promptfoo_results.csv: is promptfoo's CSV, which names no model and no cost. Export promptfoo eval --output "
        "results.json."
    )


def test_packed_files_read_the_same(tmp_path):
    for name in ("promptfoo_results.json", "promptfoo_results.jsonl"):
        packed = written(tmp_path, gzip.compress((SAMPLES / name).read_bytes()), f"{name}.gz")
        options = ReadOptions(run_at=AT)
        assert read(packed, options) == read(SAMPLES / name, options)


# -- mode ----------------------------------------------------------------------------------------------------------


def of_providers(*configs):
    content = document("promptfoo")
    content["config"]["providers"] = list(configs)
    return content


HAIKU = "anthropic:messages:claude-haiku-4-5-20251001"
THINKING = {"type": "enabled", "budget_tokens": 2048}


@pytest.mark.parametrize(
    ("provider", "mode"),
    [
        ({"id": HAIKU, "label": "haiku-4.5", "config": {"thinking": THINKING, "apiKey": "k"}}, "thinking=2048"),
        ({"id": HAIKU, "label": "haiku-4.5", "config": {"output_config": {"effort": "low"}}}, "effort=low"),
        (
            {"id": HAIKU, "label": "haiku-4.5", "config": {"effort": "max", "temperature": 0.2}},
            "effort=max temperature=0.2",
        ),
        ({"id": HAIKU, "label": "haiku-4.5", "config": {"thinking": {"type": "disabled"}}}, ""),
        ({"id": HAIKU, "label": "haiku-4.5", "config": {"thinking": {"type": "adaptive"}}}, "thinking=adaptive"),
        ({"id": HAIKU, "label": "another", "config": {"thinking": THINKING}}, ""),
        (HAIKU, ""),
    ],
)
def test_mode_is_that_of_the_provider(tmp_path, provider, mode):
    results = read(written(tmp_path, of_providers(provider, {"id": "x", "config": {"effort": "low"}})))
    assert {r.mode for r in results if r.candidate == "claude-haiku-4-5"} == {mode}
    assert {r.mode for r in results if r.candidate == "claude-opus-4-8"} == {""}


@pytest.mark.parametrize(
    "provider", [{"id": HAIKU, "config": {"effort": "low"}}, {HAIKU: {"config": {"effort": "low"}}}]
)
def test_a_provider_without_a_label_is_known_by_its_id(tmp_path, provider):
    content = of_providers(provider)
    for result in content["results"]["results"]:
        result["provider"] = {"id": result["provider"]["id"]}
    assert {r.mode for r in read(written(tmp_path, content)) if r.candidate == "claude-haiku-4-5"} == {"effort=low"}


def test_providers_that_cannot_be_told_apart_are_said(tmp_path):
    content = of_providers({"id": HAIKU}, {"id": HAIKU, "config": {"effort": "low"}})
    for result in content["results"]["results"]:
        result["provider"] = {"id": result["provider"]["id"]}
    path = written(tmp_path, content)
    assert {r.mode for r in read(path)} == {""}
    (warning,) = told(path).warnings
    assert HAIKU in warning and "Give each a label" in warning


def test_what_a_test_or_the_person_says_of_the_mode(tmp_path):
    content = changed(lambda result: result["metadata"].update({"mode": "own"} if result["testIdx"] == 0 else {}))
    modes = {r.sample_id: r.mode for r in read(written(tmp_path, content), ReadOptions(mode="given"))}
    assert modes == {"T-001": "own", "T-002": "given", "T-003": "given", "T-004": "given"}


# -- verdicts and grades -------------------------------------------------------------------------------------------


def test_the_grade_stands_beside_the_verdict():
    grades = {(r.sample_id, r.candidate): (r.score, r.graded_score) for r in read(sample("promptfoo"))}
    assert grades["T-002", "claude-haiku-4-5"] == (0.0, 0.5)
    assert grades["T-004", "claude-haiku-4-5"] == (None, None), "an error has no grade: 0 is what promptfoo writes"


def test_a_named_score_can_be_the_grade():
    grades = {r.sample_id: r.graded_score for r in read(sample("promptfoo"), ReadOptions(metric="has-label"))}
    assert grades == {"T-001": None, "T-002": 1.0, "T-003": None, "T-004": None}


def test_a_grade_outside_the_scale_is_not_kept_and_said(tmp_path):
    path = written(tmp_path, changed(lambda result: result.update(score=7) if result["testIdx"] == 0 else None))
    assert {r.graded_score for r in read(path) if r.sample_id == "T-001"} == {None}
    assert told(path).warnings == ["2 results have a score outside 0 … 1: pass or fail counts, the grade is not kept."]


@pytest.mark.parametrize(("score", "words"), [("high", "is not a number"), (True, "is not a number")])
def test_a_grade_that_is_no_number(tmp_path, score, words):
    said = rejected(written(tmp_path, changed(lambda result: result.update(score=score))))
    assert len(said) == 6 and all(words in text for text in said), "the two errors have no grade"


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"success": False, "failureReason": 1}, (0.0, "")),
        ({"success": False, "failureReason": 2, "error": "timeout"}, (None, "timeout")),
        ({"success": False, "failureReason": 2, "error": None}, (None, "error")),
        ({"success": False, "gradingResult": {"pass": False}}, (0.0, "")),  # before failureReason
        ({"success": False, "gradingResult": None, "error": "http 529"}, (None, "http_529")),
        ({"success": False, "gradingResult": None}, (None, "error")),
        ({"success": True, "gradingResult": None}, (1.0, "")),
    ],
)
def test_what_is_an_error_and_what_a_failure(tmp_path, result, expected):
    content = document("promptfoo")
    first = content["results"]["results"][0]
    for key in ("failureReason", "error"):
        first.pop(key, None)
    first.update(copy.deepcopy(result))
    content["results"]["results"] = [first]
    (found,) = read(written(tmp_path, content))
    assert (found.score, found.error) == expected
