"""OpenAI evals record files."""

import json

import pytest

from routing.importers import ReadOptions
from tests.importers.evals.reading import read, refusal, rejected, sample, told, verdicts, written

SPEC, _, _, _, _, REPORT = (json.loads(line) for line in sample("openai-evals").read_text().splitlines())
NAME = "run.jsonl"


def event(kind, sample_id="s", **data):
    return {"sample_id": sample_id, "type": kind, "data": data, "created_at": "2026-11-09 10:00:01.5+00:00"}


def record(folder, *events, spec=SPEC["spec"], report=True):
    rows = [{"spec": spec}, *events, *([REPORT] if report else [])]
    return written(folder, "".join(json.dumps(row) + "\n" for row in rows), NAME)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([event("match", correct=True)], 1.0),
        ([event("match", correct=False)], 0.0),
        ([event("metrics", score=0.25)], 0.25),
        ([event("metrics", accuracy=True)], 1.0),
        ([event("metrics", choice="B", score=1)], 1.0),
        ([event("metrics", sampled="secret", correct=False)], 0.0),
        ([event("sampling", sampled=["x"])], "no verdict"),
        ([event("sampling"), event("error", type="RateLimitError", message="secret")], "ratelimiterror"),
        ([event("error", message="boom"), event("match", correct=True)], 1.0),
    ],
)
def test_verdicts(tmp_path, events, expected):
    path = record(tmp_path, *events)
    assert verdicts(read(path)) == {"s": expected} and "secret" not in repr(read(path))


def test_several_matches_of_a_case_are_repeats(tmp_path):
    found = read(record(tmp_path, event("match", correct=True), event("match", correct=False)))
    assert [(r.repeat, r.score) for r in found] == [("1", 1.0), ("2", 0.0)]


def test_one_of_several_metrics_must_be_named(tmp_path):
    path = record(tmp_path, event("metrics", bleu=0.5, rouge=0.25))
    (said,) = rejected(path)
    assert (
        "run.jsonl, line 2, case s: data: several metrics could be the score. Name one of them (--metric): bleu, rouge"
        in said
    )
    assert verdicts(read(path, ReadOptions(metric="rouge"))) == {"s": 0.25}
    assert "metric = 'nosuch': is no metric of the case" in rejected(path, ReadOptions(metric="nosuch"))[0]


# -- tokens --------------------------------------------------------------------------------------------------------

OWN = {"prompt_tokens": 120, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 100}}
GRADER = {"prompt_tokens": 700, "completion_tokens": 70}
BY_CANDIDATE = event("sampling", model="claude-haiku-4-5", usage=OWN)
TOO_MUCH = event("sampling", usage={"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 5}})


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([BY_CANDIDATE], (20, 100, 0, 9)),
        ([event("sampling", usage=OWN)], (20, 100, 0, 9)),
        ([BY_CANDIDATE, event("sampling", model="gpt", usage=GRADER)], (20, 100, 0, 9)),
        ([event("sampling", usage=OWN), event("sampling", usage=GRADER)], (None, None, None, None)),
        ([event("sampling", model="gpt", usage=GRADER)], (None, None, None, None)),
        ([BY_CANDIDATE, BY_CANDIDATE], (40, 200, 0, 18)),
        ([event("sampling", model="claude-haiku-4-5", usage={"completion_tokens": 9})], (None, None, None, 9)),
        ([event("sampling")], (None, None, None, None)),
    ],
)  # fmt: skip
def test_tokens_are_the_candidates(tmp_path, events, expected):
    (r,) = read(record(tmp_path, *events, event("match", correct=True)))
    assert (r.uncached_input_tok, r.cache_read_tok, r.cache_write_5m_tok, r.output_tok) == expected


# -- the spec ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"base_eval": "triage", "eval_name": "triage.dev.v3"}, ("triage", "3")),
        ({"base_eval": "triage@2", "eval_name": "triage"}, ("triage", "2")),
        ({"base_eval": None, "eval_name": "triage.dev.v0"}, ("triage.dev.v0", "0")),
    ],
)
def test_suite_and_version(tmp_path, spec, expected):
    (r,) = read(record(tmp_path, event("match", correct=True), spec=SPEC["spec"] | spec))
    assert (r.suite, r.suite_version) == expected


def test_the_first_of_several_models_is_judged(tmp_path):
    path = record(
        tmp_path, event("match", correct=True), spec=SPEC["spec"] | {"completion_fns": ["claude-a", "gpt-judge"]}
    )
    assert read(path)[0].candidate == "claude-a"
    assert told(path).warnings == ["The run names 2 models: claude-a is judged, the last one usually grades."]


def test_a_run_without_its_report_did_not_finish(tmp_path):
    path = record(tmp_path, event("match", correct=True), report=False)
    assert verdicts(read(path)) == {"s": 1.0}
    assert told(path).warnings[0].startswith("The file has no final report: the run did not finish")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"completion_fns": []}, "spec.completion_fns: no model"),
        ({"base_eval": "", "eval_name": ""}, "spec.base_eval: no suite"),
    ],
)
def test_specs_that_say_too_little(tmp_path, spec, words):
    said = refusal(record(tmp_path, event("match", correct=True), spec=SPEC["spec"] | spec))
    assert said.startswith("run.jsonl, line 1: ") and words in said


def test_files_without_cases(tmp_path):
    assert "holds no case" in refusal(record(tmp_path))
    assert "spec = 3: is not a JSON object" in refusal(written(tmp_path, '{"spec": 3, "completion_fns": 0}\n', NAME))


def test_two_runs_in_one_file_are_refused(tmp_path):
    path = record(tmp_path, event("match", correct=True), {"spec": SPEC["spec"]}, event("match", correct=False))
    assert refusal(path).startswith("run.jsonl, line 3: spec: begins a second run. Import the record file of each run")


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([event("match", correct="yes")], "data.correct = 'yes': is neither true nor false"),
        ([event("metrics", score=7)], "data.score = 7: is outside 0 … 1"),
        ([event("match", correct=True) | {"created_at": "yesterday"}], "created_at = 'yesterday': is not a time"),
        ([TOO_MUCH, event("match", correct=True)], "is below the cached tokens"),
        ([event("match", "x" * 600, correct=True), event("match", correct=True)], "600 characters"),
        ([["list"], event("match", correct=True)], "the event = ['list']: is not a JSON object"),
    ],
)  # fmt: skip
def test_events_that_cannot_be_read(tmp_path, events, words):
    (said,) = rejected(record(tmp_path, *events))
    assert words in said and said.startswith("run.jsonl, line 2")
