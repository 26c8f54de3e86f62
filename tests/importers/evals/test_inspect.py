"""Inspect logs: what their traps do, in both of their forms."""

import os
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from routing.core.evidence import cases_of_epoch
from routing.importers import ReadOptions
from routing.importers import inspect_zip as archive_module
from tests.importers.evals.reading import (
    AT,
    SAMPLES,
    document,
    eval_file,
    read,
    refusal,
    rejected,
    told,
    verdicts,
    written,
    zip_file,
)

SHARED = Path(os.environ.get("COSTGOV_SHARED", "/nonexistent")) / "formats" / "samples" / "evals"


def log(**changes):
    return document("inspect") | changes


def scored(*values, scorers=("match",), **changes):
    """A log whose samples have these values of the first scorer."""
    found = document("inspect")
    found["samples"] = [
        found["samples"][0] | {"id": f"T-{n}", "scores": {scorers[0]: {"value": value}}}
        for n, value in enumerate(values)
    ]
    found["eval"] |= {"scorers": [{"name": name} for name in scorers]}
    found["results"]["scores"] = [{"name": name, "scorer": name, "metrics": {}} for name in scorers]
    return found | changes


def value_of(folder, value, **options):
    (result,) = read(written(folder, scored(value)), ReadOptions(**options))
    return result.score


# -- scores --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "score"),
    [
        ("C", 1.0), ("I", 0.0), ("P", 0.5), ("N", 0.0),
        (True, 1.0), (False, 0.0), (1, 1.0), (0, 0.0), (0.25, 0.25), ("0.75", 0.75),
        ("yes", 1.0), ("No", 0.0), ("correct", 1.0), ("incorrect", 0.0),
        (None, None), (float("nan"), None),
        ({"only": 0.5}, 0.5), ([0.5], 0.5), ([True], 1.0),
    ],
    ids=str,
)  # fmt: skip
def test_values_of_scores(tmp_path, value, score):
    assert value_of(tmp_path, value) == score


@pytest.mark.parametrize(
    ("value", "metric", "score"),
    [
        ({"tone": 0.25, "length": "C"}, "tone", 0.25),
        ({"tone": 0.25, "length": "C"}, "length", 1.0),
        ([1, 0, 0.5], "mean", 0.5),
        ([1, 0, 0.5], "2", 0.5),
        ([1, None], "mean", None),
    ],
)
def test_values_of_several_parts(tmp_path, value, metric, score):
    assert value_of(tmp_path, value, metric=metric) == score


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3, "scores.match = 3: is outside 0 … 1"),
        (-0.1, "is outside 0 … 1"),
        ("maybe", "scores.match = 'maybe': is not a number"),
        (float("inf"), "is not finite"),
        (10**400, "is not finite"),
        ({"tone": 1, "length": 0}, "scores.match: holds several values. Name one of them (--metric): tone, length"),
        ([1, 0], "holds a list of 2 values. Say which counts (--metric): 0 to 1, or mean"),
        ([], "holds a list of 0 values"),
        ({}, "holds several values"),
    ],
    ids=str,
)
def test_values_that_are_no_score(tmp_path, value, words):
    (said,) = rejected(written(tmp_path, scored(value)))
    assert said.startswith("results.json, samples[0]: scores.match") and words in said


def test_a_metric_that_is_not_there_names_those_that_are(tmp_path):
    path = written(tmp_path, scored({"tone": 1, "length": 0}))
    assert "(--metric): tone, length" in rejected(path, ReadOptions(metric="nosuch"))[0]


def test_the_first_of_several_scorers_judges_and_another_can_be_named(tmp_path):
    found = scored("C", "I", scorers=("match", "includes"))
    for sample in found["samples"]:
        sample["scores"]["includes"] = {"value": "P"}
    path = written(tmp_path, found)
    assert [r.score for r in read(path)] == [1.0, 0.0]
    assert told(path).warnings == [
        "Samples are judged by the scorer match; the log also has includes. Name another with --scorer."
    ]
    assert [r.score for r in read(path, ReadOptions(scorer="includes"))] == [0.5, 0.5]
    assert told(path, ReadOptions(scorer="includes")).warnings == []
    (first, _) = rejected(path, ReadOptions(scorer="nosuch"))
    assert "scorer = 'nosuch': is no scorer of the sample. It has: includes, match." in first


# -- errors and unfinished runs ------------------------------------------------------------------------------------


def test_a_sample_with_an_error_is_left_out_even_with_a_score(tmp_path):
    found = log()
    found["samples"][0]["error"] = {"message": "RateLimitError('rate_limit_error: secret')", "traceback": "secret"}
    first = read(written(tmp_path, found))[0]
    assert (first.score, first.error, first.cost_usd, first.latency_ms) == (None, "rate_limit_error", None, None)


@pytest.mark.parametrize(("status", "form"), [("error", "json"), ("cancelled", "eval"), ("started", "eval")])
def test_an_unfinished_run_keeps_its_samples_and_says_so(tmp_path, status, form):
    found = log(status=status)
    del found["results"]  # absent when the status is error
    del found["samples"][2]
    found["samples"][1]["scores"] = None
    path = written(tmp_path, found) if form == "json" else eval_file(tmp_path, found)
    assert verdicts(read(path)) == {"T-001": 1.0, "T-002": "no verdict"}
    assert told(path).warnings == [
        f"The run ended as {status}: 2 of 3 samples are in the log, 1 of them without a verdict. Those are left out; "
        "samples that never ran count neither way."
    ]


def test_a_crashed_run_has_no_header(tmp_path):
    path = eval_file(tmp_path, log(), header=False)
    assert verdicts(read(path)) == {"T-001": 1.0, "T-002": 0.0, "T-003": 1.0}
    assert told(path).warnings[0].startswith("The run ended as started: 3 of 3 samples")


def test_an_invalidated_sample_is_left_out(tmp_path):
    found = log()
    found["samples"][0]["invalidation"] = {"author": "x"}
    path = written(tmp_path, found)
    assert verdicts(read(path))["T-001"] == "invalidated"
    assert told(path).warnings == ["1 sample was invalidated in the log and left out."]


def test_a_log_without_samples_is_refused(tmp_path):
    assert refusal(written(tmp_path, log(samples=[], status="error"))).startswith(
        "results.json: holds no sample (status error). Run with samples logged"
    )


# -- epochs, ids, times --------------------------------------------------------------------------------------------


def test_epochs_repeat_cases(tmp_path):
    found = scored("C", "I")
    found["eval"]["config"]["epochs"] = 2
    found["samples"] = [s | {"epoch": epoch} for s in found["samples"] for epoch in (1, 2)]
    found["samples"][1]["scores"]["match"]["value"] = "C"
    found["samples"][1] = found["samples"][1] | {"scores": {"match": {"value": "I"}}}
    results = read(written(tmp_path, found))
    assert [(r.sample_id, r.repeat) for r in results] == [("T-0", "1"), ("T-0", "2"), ("T-1", "1"), ("T-1", "2")]
    evidence = cases_of_epoch(results)["claude-haiku-4-5"]
    assert (evidence.cases, evidence.tally) == (2, ((0.0, 1), (0.5, 1)))


@pytest.mark.parametrize(("given", "kept"), [(1, "1"), ("T-1", "T-1"), (2**63, str(2**63)), ("é" * 512, "é" * 512)])
def test_ids_are_text_or_numbers(tmp_path, given, kept):
    found = scored("C")
    found["samples"][0]["id"] = given
    assert read(written(tmp_path, found))[0].sample_id == kept


@pytest.mark.parametrize(
    ("given", "words"),
    [("x" * 513, "513 characters"), (10**600, "601 characters"), (None, "no id"), ([1], "is not text")],
    ids=["text", "number", "none", "list"],
)
def test_ids_that_cannot_be_kept(tmp_path, given, words):
    found = scored("C")
    found["samples"][0]["id"] = given
    assert words in rejected(written(tmp_path, found))[0]


def test_the_time_is_the_samples_else_the_runs(tmp_path):
    found = scored("C", "C", "C")
    for sample, keys in zip(found["samples"], ((), ("completed_at",), ("completed_at", "started_at")), strict=True):
        for key in keys:
            del sample[key]
    del found["stats"]["completed_at"]
    times = [r.run_at for r in read(written(tmp_path, found))]
    assert times == [
        datetime(2026, 11, 23, 17, 58, 5, 2254, UTC),
        datetime(2026, 11, 23, 17, 58, 4, 771721, UTC),
        datetime(2026, 11, 23, 17, 58, 4, tzinfo=UTC),
    ]


# -- the header ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "version", "metadata", "expected"),
    [
        ("triage", 0, {}, ("triage", "1")),
        ("triage", 3, {}, ("triage", "3")),
        ("triage", "2-B", {}, ("triage", "2-B")),
        ("triage@5", 3, {}, ("triage", "5")),
        ("task", 0, {"suite": "tickets@4"}, ("tickets", "4")),
    ],
)
def test_suite_and_version(tmp_path, task, version, metadata, expected):
    found = log(metadata=metadata)
    found["eval"] |= {"task": task, "task_version": version, "metadata": metadata}
    first = read(written(tmp_path, found))[0]
    assert (first.suite, first.suite_version) == expected


@pytest.mark.parametrize(
    ("base", "plan", "mode"),
    [
        ({}, {}, ""),
        ({"max_tokens": 256}, {"max_tokens": 256}, ""),
        ({"temperature": 0.0}, {}, "temperature=0"),
        ({"temperature": 0.5}, {"temperature": 1.0}, "temperature=1"),
        ({"reasoning_effort": "high", "reasoning_tokens": 4096}, {"temperature": None}, "thinking=4096 effort=high"),
        ({"effort": "low"}, {}, "effort=low"),
    ],
)
def test_mode(tmp_path, base, plan, mode):
    found = log(plan={"config": plan})
    found["eval"]["model_generate_config"] = base
    assert {r.mode for r in read(written(tmp_path, found), ReadOptions(mode=""))} == {mode}
    assert {r.mode for r in read(written(tmp_path, found), ReadOptions(mode="given"))} == {mode or "given"}


def test_a_run_of_roles_only_needs_the_model(tmp_path):
    found = log()
    found["eval"]["model"] = "none/none"
    path = written(tmp_path, found)
    assert "eval.model: no model" in refusal(path)
    assert {r.candidate for r in read(path, ReadOptions(model="claude-opus-4-8"))} == {"claude-opus-4-8"}


@pytest.mark.parametrize("version", [1, 3, None, "2"])
def test_other_versions_are_refused(tmp_path, version):
    assert "is another version. Only version 2 is read" in refusal(written(tmp_path, log(version=version)))


# -- tokens --------------------------------------------------------------------------------------------------------

USAGE = {"input_tokens": 131, "output_tokens": 295, "total_tokens": 5626, "input_tokens_cache_read": 5200}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (USAGE | {"input_tokens_cache_write": 0}, (131, 5200, 0, 0, 295)),
        (USAGE, (131, 5200, 0, 0, 295)),  # the total leaves nothing for cache writes
        ({"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}, (10, 0, 0, 0, 5)),
        ({"input_tokens": 10, "output_tokens": 5}, (10, None, None, None, 5)),  # no total: the cache is unknown
        ({"input_tokens": 10, "output_tokens": 5, "total_tokens": 99}, (10, None, None, None, 5)),
        ({}, (None, None, None, None, None)),
    ],
)
def test_input_leaves_the_cache_out(tmp_path, usage, expected):
    found = scored("C")
    found["samples"][0]["model_usage"] = {"anthropic/claude-haiku-4-5": usage, "openai/grader": {"input_tokens": 9}}
    (r,) = read(written(tmp_path, found))
    assert (
        r.uncached_input_tok, r.cache_read_tok, r.cache_write_5m_tok, r.cache_write_1h_tok, r.output_tok,
    ) == expected  # fmt: skip


def grader_call(model="anthropic/claude-haiku-4-5", **place):
    usage = {"input_tokens": 100, "output_tokens": 95, "total_tokens": 195}
    return {"event": "model", "model": model, "output": {"usage": usage}} | place


SPAN = [
    {"event": "span_begin", "id": "s", "type": "scorers"},
    {"event": "span_begin", "id": "t", "parent_id": "s", "type": "scorer"},
    {"event": "span_begin", "id": "u", "parent_id": "t", "type": "tool"},
]
STEP = [{"event": "step", "action": "begin", "type": "scorer"}]
STEP_END = [{"event": "step", "action": "end", "type": "scorer"}]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([*SPAN, grader_call(span_id="t")], (31, 200)),
        ([*SPAN, grader_call(span_id="u")], (31, 200)),
        ([*STEP, grader_call(), *STEP_END], (31, 200)),
        ([*STEP, *STEP_END, grader_call()], (131, 295)),  # the candidate itself, after a scorer
        ([*SPAN, grader_call(span_id="v")], (131, 295)),
        ([*SPAN, grader_call("openai/grader", span_id="t")], (131, 295)),
        ([*SPAN, grader_call(span_id="t"), grader_call(span_id="t")], (None, 105)),  # more than there is: unknown
    ],
)
def test_a_grader_of_the_same_model_is_taken_off(tmp_path, events, expected):
    found = scored("C")
    usage = USAGE | {"total_cost": 0.5}
    found["samples"][0] |= {"model_usage": {"anthropic/claude-haiku-4-5": usage}, "events": events}
    (r,) = read(written(tmp_path, found))
    assert (r.uncached_input_tok, r.output_tok) == expected
    assert r.cost_usd == (Decimal("0.5") if expected == (131, 295) else None), "the cost cannot be split"


def test_without_events_a_graders_tokens_cannot_be_told(tmp_path):
    found = scored("C", scorers=("model_graded_qa",))
    found["samples"][0] |= {"events": []}
    path = written(tmp_path, found)
    assert read(path)[0].output_tok is None
    assert told(path).warnings[0].startswith("1 sample has no tokens here: a model graded")


def test_attempts_are_the_retries_and_one(tmp_path):
    found = scored("C", "C")
    found["samples"][0]["error_retries"] = [{"message": "x"}, {"message": "y"}]
    del found["samples"][1]["error_retries"]
    assert [r.attempts for r in read(written(tmp_path, found))] == [3, None]


def test_latency_is_the_working_time_else_the_whole(tmp_path):
    found = scored("C", "C")
    del found["samples"][1]["working_time"]
    assert [r.latency_ms for r in read(written(tmp_path, found))] == [67.0, 231.0]


# -- the .eval file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, 93])
def test_every_packing_gives_what_the_json_gives(tmp_path, method):
    assert read(eval_file(tmp_path, log(), method=method)) == read(SAMPLES / "inspect_log.json")


def test_another_packing_is_refused(tmp_path):
    said = refusal(eval_file(tmp_path, log(), method=zipfile.ZIP_LZMA))
    assert "header.json: is packed by method 14; stored, deflate and Zstandard are read" in said


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, 93])
def test_a_bomb_is_refused_before_it_unfolds(tmp_path, method, monkeypatch):
    monkeypatch.setattr(archive_module, "MAX_MEMBER", 1 << 20)
    path = zip_file(tmp_path / "log.eval", {"header.json": b" " * (2 << 20)}, method)
    assert path.stat().st_size < 10_000
    assert "header.json: is larger than 1 MiB" in refusal(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, 93])
def test_a_bomb_that_lies_about_its_size_is_refused(tmp_path, method, monkeypatch):
    monkeypatch.setattr(archive_module, "MAX_MEMBER", 1 << 20)
    path = zip_file(tmp_path / "log.eval", {"header.json": b" " * (2 << 20)}, method)
    content = path.read_bytes().replace((2 << 20).to_bytes(4, "little"), (5).to_bytes(4, "little"))
    path.write_bytes(content)
    said = refusal(path)
    assert "header.json: is larger than 1 MiB" in said or "header.json: is damaged" in said


def test_many_samples_that_unfold_too_far_together_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_module, "MAX_TOTAL", 20_000)
    found = log()
    found["samples"] = [found["samples"][0] | {"id": f"T-{n}"} for n in range(10)]
    assert any("unfolds to more than" in said for said in rejected(eval_file(tmp_path, found)))


@pytest.mark.parametrize("place", [200, 1_000, 3_000])
def test_a_damaged_member_is_named(tmp_path, place):
    content = bytearray((SAMPLES / "inspect_log.eval").read_bytes())
    content[place : place + 8] = b"\x00" * 8
    path = written(tmp_path, bytes(content), "log.eval")
    found = rejected(path)
    assert all("is damaged" in said and said.startswith("log.eval, samples/T-00") for said in found)
    assert len(found) == (0 if place == 200 else 1), "the journal is not read"


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95, 0.999])
def test_a_truncated_file(tmp_path, share):
    content = (SAMPLES / "inspect_log.eval").read_bytes()
    said = refusal(written(tmp_path, content[: int(len(content) * share)], "log.eval"))
    assert said.startswith("log.eval: is no whole ZIP file (truncated?). Copy the log again")


def test_a_zip_of_something_else(tmp_path):
    path = zip_file(tmp_path / "log.eval", {"readme.txt": b"hello"}, zipfile.ZIP_DEFLATED)
    assert "is no Inspect log: it has no header.json" in refusal(path)


def test_an_encrypted_member_is_said(tmp_path):
    path = eval_file(tmp_path, log(), method=zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\x01\x02")
    while at >= 0:
        content[at + 8] |= 1
        at = content.find(b"PK\x01\x02", at + 1)
    path.write_bytes(content)
    assert "header.json: is encrypted" in refusal(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "samples/T.json: is not JSON"),
        (b'{"id": "\xff"}', "samples/T.json: is not UTF-8"),
        (b"[" * 100_000, "is nested too deeply"),
        (b"[1]", "the sample = [1]: is not a JSON object"),
    ],
    ids=["broken", "latin", "deep", "list"],
)
def test_samples_that_cannot_be_read(tmp_path, content, words):
    with zipfile.ZipFile(eval_file(tmp_path, log(), method=zipfile.ZIP_DEFLATED), "a") as archive:
        archive.writestr("samples/T.json", content)
    (said,) = rejected(tmp_path / "log.eval")
    assert words in said and said.startswith("log.eval, samples/T.json: ")


# -- logs others published -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED.is_dir(), reason="COSTGOV_SHARED does not name the folder of public samples")
def test_public_logs():
    """UKGovernmentBEIS/inspect_ai @499e6152 (MIT): a cancelled run, and one that is graded by its own model."""
    path = SHARED / "public_inspect_2025-05-12_popularity_cancelled.json"
    results = read(path)
    facts = [
        (r.sample_id, r.score, r.uncached_input_tok, r.cache_read_tok, r.output_tok, r.latency_ms) for r in results
    ]
    assert facts == [("1", 1.0, 64, 0, 2, 546.0), ("2", 1.0, 58, 0, 2, 1659.0), ("3", 0.0, 70, 0, 2, 528.0)]
    assert told(path).warnings[0].startswith("The run ended as cancelled: 3 of 3 samples")
    (graded,) = read(SHARED / "public_inspect_2024-11-05_input-task.json")
    # The log adds 274 + 189 up; the candidate's own call says 53 + 46.
    assert (graded.score, graded.uncached_input_tok, graded.output_tok) == (1.0, 53, 46)
    assert graded.run_at == datetime(2024, 11, 5, 18, 32, 19, tzinfo=UTC)


def test_nothing_of_the_texts_is_kept():
    text = (SAMPLES / "inspect_log.json").read_text()
    kept = repr(read(SAMPLES / "inspect_log.json", ReadOptions(run_at=AT)))
    assert "I love it" in text and "love" not in kept and "Positive" not in kept
