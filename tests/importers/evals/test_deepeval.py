"""DeepEval test runs."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from routing.importers import ReadOptions
from tests.importers.evals.reading import AT, document, read, refusal, rejected, told, verdicts, written

NAME = "test_run_20261123_175839.json"
METRIC = {"name": "Exact Match", "threshold": 1.0, "success": True, "score": 1.0}
BROKEN = METRIC | {"name": "Judged", "error": "TimeoutError: no answer", "score": None}


def case(**changes):
    return document("deepeval")["testCases"][0] | changes


def run(*cases, **changes):
    return document("deepeval") | {"testCases": list(cases)} | changes


def one(folder, options=None, **changes):
    (result,) = read(written(folder, run(case(**changes)), NAME), options)
    return result


# -- time ----------------------------------------------------------------------------------------------------------


def test_the_time_is_in_the_name_only_and_that_is_said(tmp_path):
    path = written(tmp_path, run(case()), NAME)
    assert {r.run_at for r in read(path)} == {datetime(2026, 11, 23, 17, 58, 39, tzinfo=UTC)}
    (warning,) = told(path).warnings
    assert "2026-11-23 17:58:39" in warning and "taken as UTC" in warning and "local time" in warning


def test_a_stated_time_is_surer_than_the_name(tmp_path):
    path = written(tmp_path, run(case()), NAME)
    assert {r.run_at for r in read(path, ReadOptions(run_at=AT))} == {AT}
    assert told(path, ReadOptions(run_at=AT)).warnings == []


def test_an_upload_lies_under_another_name(tmp_path):
    path = written(tmp_path, run(case()), "upload.bin")
    assert read(path, ReadOptions(file_name=NAME))[0].run_at == datetime(2026, 11, 23, 17, 58, 39, tzinfo=UTC)
    said = refusal(path)
    assert (
        said.startswith("upload.bin: no time of the run: DeepEval writes it into the name only") and "--run-at" in said
    )


def test_a_name_with_an_impossible_time(tmp_path):
    said = refusal(written(tmp_path, run(case()), "test_run_20261341_000000.json"))
    assert "the name holds no time. Say when the evals were run (--run-at)" in said


def test_the_latest_run_is_wrapped(tmp_path):
    path = written(tmp_path, {"testRunData": document("deepeval"), "testRunLink": None}, ".latest_test_run.json")
    assert verdicts(read(path, ReadOptions(run_at=AT))) == {"T-001": 1.0, "T-002": 0.0}


# -- verdicts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"success": True, "metricsData": [METRIC]}, (1.0, 1.0, "")),
        ({"success": False, "metricsData": [METRIC | {"success": False, "score": 0.4}]}, (0.0, 0.4, "")),
        ({"success": False, "metricsData": [BROKEN]}, (None, None, "timeouterror")),
        ({"success": True, "metricsData": []}, (None, None, "no verdict")),
        ({"success": None, "metricsData": [METRIC]}, (None, None, "no verdict")),
        ({"success": True, "metricsData": [METRIC, METRIC | {"name": "b", "score": 0.2}]}, (1.0, None, "")),
        ({"success": False, "metricsData": [METRIC, BROKEN]}, (None, None, "timeouterror")),
    ],
)  # fmt: skip
def test_verdicts(tmp_path, changes, expected):
    found = one(tmp_path, **changes)
    assert (found.score, found.graded_score, found.error) == expected
    assert (found.cost_usd, found.latency_ms) == ((None, None) if found.score is None else (Decimal("0.000457"), 420.0))


def test_several_metrics_are_said_and_one_can_be_named(tmp_path):
    metrics = [METRIC, METRIC | {"name": "Tone", "success": False, "score": 0.25}]
    path = written(tmp_path, run(case(success=False, metricsData=metrics)), NAME)
    assert told(path).warnings[1].startswith("Cases are judged by several metrics: a case passes when all of them do")
    for metric, expected in (("Exact Match", (1.0, 1.0)), ("Tone", (0.0, 0.25))):
        (found,) = read(path, ReadOptions(metric=metric))
        assert (found.score, found.graded_score) == expected
    (said,) = rejected(path, ReadOptions(metric="nosuch"))
    assert "metric = 'nosuch': is no metric of the case. It has: Exact Match, Tone." in said


def test_conversations_are_cases_too(tmp_path):
    talk = {"name": "talk", "success": True, "metricsData": [METRIC], "turns": [{"content": "secret"}], "order": 0}
    path = written(tmp_path, run(conversationalTestCases=[talk]), NAME)
    assert verdicts(read(path)) == {"talk": 1.0} and "secret" not in repr(read(path))


# -- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "parameters", "option", "expected"),
    [
        ({"model": "claude-opus-4-8"}, {"model": "x"}, "y", "claude-opus-4-8"),
        ({}, {"model": "anthropic/claude-opus-4-8"}, "y", "claude-opus-4-8"),
        ({}, {}, "claude-opus-4-8", "claude-opus-4-8"),
    ],
)
def test_the_model(tmp_path, metadata, parameters, option, expected):
    path = written(tmp_path, run(case(metadata=metadata), hyperparameters=parameters), NAME)
    assert read(path, ReadOptions(model=option))[0].candidate == expected


def test_no_model_says_where_it_could_come_from(tmp_path):
    (said,) = rejected(written(tmp_path, run(case(metadata={}), hyperparameters=None), NAME))
    assert "hyperparameters.model: no model. Log hyperparameters with the model, or name it (--model)" in said


def test_a_name_of_two_inputs_names_no_case(tmp_path):
    path = written(tmp_path, run(case(), case(input="another")), NAME)
    (said,) = rejected(path)
    assert "testCases[1]: name = 'T-001': names two cases with different inputs" in said
    metadata = case()["metadata"]
    own = run(case(metadata=metadata | {"sample_id": 1}), case(input="b", metadata=metadata | {"sample_id": 2}))
    assert list(verdicts(read(written(tmp_path, own, NAME)))) == ["1", "2"]


def test_the_same_input_again_is_a_repeat(tmp_path):
    assert [r.sample_id for r in read(written(tmp_path, run(case(), case()), NAME))] == ["T-001", "T-001"]


@pytest.mark.parametrize(
    ("metadata", "tags", "expected"),
    [
        ({"request_class": "a"}, ["class:b"], "a"),
        ({}, ["x", "class: b"], "b"),
        ({}, ["x"], "given"),
        ({}, None, "given"),
    ],
)
def test_the_class(tmp_path, metadata, tags, expected):
    assert one(tmp_path, ReadOptions(request_class="given"), metadata=metadata, tags=tags).request_class == expected


def test_prompts_are_kept_by_name_only(tmp_path):
    for prompt, kept in (("triage-v1", "triage-v1"), ("You are a helpful clerk.", ""), ({"alias": "x"}, "")):
        path = written(tmp_path, run(case(), hyperparameters={"model": "m", "prompt": prompt}), NAME)
        assert read(path)[0].prompt_version == kept


def test_mode_of_the_hyperparameters(tmp_path):
    parameters = {"model": "m", "temperature": 0, "effort": "low"}
    assert read(written(tmp_path, run(case(), hyperparameters=parameters), NAME))[0].mode == "effort=low temperature=0"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (run(), "testCases: holds no test case"),
        (run(testCases={"a": 1}), "testCases: is not a list"),
        ({"testRunData": 3, "testRunLink": ""}, "testRunData = 3: is not a JSON object"),
    ],
)
def test_documents_without_cases(tmp_path, content, words):
    assert words in refusal(written(tmp_path, content, NAME))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"success": "yes"}, "success = 'yes': is neither true nor false"),
        ({"name": ""}, "name: no name"),
        ({"tokenCost": -1}, "tokenCost = -1: is negative"),
        ({"completionTime": float("nan")}, "completionTime = nan: is not finite"),
        ({"inputTokenCount": 1.5}, "inputTokenCount = 1.5: is not a whole number"),
        ({"metricsData": [METRIC | {"score": 3}]}, "metricsData.score = 3: is outside 0 … 1"),
        ({"metricsData": {"a": 1}}, "metricsData: is not a list"),
    ],
)
def test_cases_that_cannot_be_read(tmp_path, changes, words):
    (said,) = rejected(written(tmp_path, run(case(**changes)), NAME))
    assert words in said and said.startswith(f"{NAME}, testCases[0]: ")
