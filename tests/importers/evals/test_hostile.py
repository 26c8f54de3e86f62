"""Every format against files that are cut, packed wrong, nested, or full of values no tool writes.

Whatever a file holds, the reader gives results and errors with a place and a remedy; it never raises anything else.
"""

import copy
import doctest
import gzip
import importlib
import json
import math
import pkgutil
import zipfile
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import routing.importers
from routing.core.evidence import CaseResult
from routing.importers import IMPORTERS, EvalImportError, ReadOptions, RejectedRow, detect, files, importer_named
from tests.importers.evals.reading import AT, NAMES, SAMPLES, document, eval_file, read, refusal, sample, written

OPTIONS = ReadOptions(run_at=AT, model="claude-haiku-4-5", suite="triage")
EVERYTHING = {**NAMES, "promptfoo-lines": "promptfoo_results.jsonl", "inspect-eval": "inspect_log.eval"}


def reader_of(key: str):
    return importer_named({"promptfoo-lines": "promptfoo", "inspect-eval": "inspect"}.get(key, key))


def attempt(path: Path, key: str) -> tuple[list[CaseResult], list[EvalImportError]]:
    """Results and errors; any other exception fails the test."""
    good: list[CaseResult] = []
    bad: list[EvalImportError] = []
    try:
        for row in reader_of(key).read(path, OPTIONS):
            if isinstance(row, RejectedRow):
                bad.append(row.error)
            else:
                good.append(row)
    except EvalImportError as error:
        bad.append(error)
    for found in bad:
        assert str(found).startswith(path.name), f"no place: {found}"
        assert found.problem and found.remedy and str(found).isprintable() and len(str(found)) <= 1_000
    for result in good:
        assert_sound(result)
    return good, bad


def assert_sound(result: CaseResult) -> None:
    """What the database and the verdicts rely on."""
    assert result.suite and result.sample_id and result.candidate and result.run_at.tzinfo is not None
    assert (result.score is None) == bool(result.error)
    for share in (result.score, result.graded_score):
        assert share is None or (math.isfinite(share) and 0 <= share <= 1)
    for count in (result.uncached_input_tok, result.cache_read_tok, result.cache_write_5m_tok, result.output_tok):
        assert count is None or 0 <= count <= 10**15
    assert result.cost_usd is None or (result.cost_usd.is_finite() and result.cost_usd >= 0)
    assert result.latency_ms is None or (math.isfinite(result.latency_ms) and result.latency_ms >= 0)
    lengths = {"suite": 255, "suite_version": 64, "sample_id": 512, "candidate_raw": 255, "mode": 64, "repeat": 64}
    lengths |= {"prompt_version": 128, "request_class": 64, "error": 255}
    for name, most in lengths.items():
        assert len(getattr(result, name)) <= most and getattr(result, name).isprintable()


# -- which format a file is of -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", EVERYTHING)
def test_a_sample_is_claimed_by_its_format_alone(key):
    path = SAMPLES / EVERYTHING[key]
    head = files.read_head(path)
    assert [importer.name for importer in IMPORTERS if importer.detects(head, path.name)] == [reader_of(key).name]
    assert [importer.name for importer in IMPORTERS if importer.detects(head, "upload")] == [reader_of(key).name]


@pytest.mark.parametrize("key", [key for key in EVERYTHING if key != "inspect-eval"])
def test_a_packed_sample_reads_the_same(tmp_path, key):
    path = SAMPLES / EVERYTHING[key]
    packed = written(tmp_path, gzip.compress(path.read_bytes()), f"{path.name}.gz")
    assert detect(packed).name == reader_of(key).name
    assert attempt(packed, key) == attempt(path, key) or key == "lm-eval"  # its results file lies elsewhere
    assert attempt(packed, key)[0]


def test_words_inside_prompts_claim_nothing(tmp_path):
    content = document("promptfoo")
    content["results"]["prompts"][0]["raw"] = '{"testCases": 1, "doc_id": 2, "spec": 3, "eval": 4, "testRunData": 5}'
    content["results"]["prompts"][1]["raw"] = {"testRunData": 1, "version": 2, "eval": 3, "status": 4}
    assert detect(written(tmp_path, content)).name == "promptfoo"


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ('{"evalId": 1, "results": {}, "testRunData": {}}', "promptfoo, deepeval"),
        ('{"version": 2, "status": "x", "eval": {}, "doc_id": 1, "resps": []}', "inspect, lm-eval"),
    ],
)
def test_a_file_two_formats_claim_asks_which(tmp_path, content, names):
    assert refusal(written(tmp_path, content)) == f"results.json: is claimed by {names}. Say which with --format."


def test_names_of_formats_are_unique():
    assert all(one.name != other.name for one, other in combinations(IMPORTERS, 2))


# -- cut, packed, encoded ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("key", EVERYTHING)
def test_a_cut_file(tmp_path, key, share):
    content = (SAMPLES / EVERYTHING[key]).read_bytes()
    _, bad = attempt(written(tmp_path, content[: int(len(content) * share)], EVERYTHING[key]), key)
    is_whole_lines = content[: int(len(content) * share)].endswith(b"\n")
    assert bad or is_whole_lines


@pytest.mark.parametrize("share", [0.2, 0.9])
@pytest.mark.parametrize("key", NAMES)
def test_a_cut_packed_file(tmp_path, key, share):
    packed = gzip.compress(sample(key).read_bytes())
    _, bad = attempt(written(tmp_path, packed[: int(len(packed) * share)], f"{NAMES[key]}.gz"), key)
    assert any("is a damaged gzip file" in str(error) for error in bad)


@pytest.mark.parametrize("key", [key for key in NAMES if key != "junit"])
def test_latin_1_is_said(tmp_path, key):
    content = sample(key).read_bytes().replace(b"T-001", b"T-\xe9").replace(b'"doc_id": 0', b'"doc_id": "\xe9"')
    content = content.replace(b"ticket-triage.dev.0", b"ticket-\xe9")
    _, bad = attempt(written(tmp_path, content, NAMES[key]), key)
    assert any("is not UTF-8 (byte" in str(error) for error in bad)


@pytest.mark.parametrize("key", [key for key in NAMES if key != "junit"])
def test_utf_16_is_said(tmp_path, key):
    path = written(tmp_path, sample(key).read_text().encode("utf-16"), NAMES[key])
    assert attempt(path, key)[1]
    with pytest.raises(EvalImportError, match=r"is text in UTF-16\. Save it as UTF-8"):
        detect(path)


def test_a_gzip_bomb_stops_at_the_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_UNPACKED", 1 << 20)
    header = sample("csv").read_bytes().splitlines(keepends=True)[0]
    path = written(tmp_path, gzip.compress(header + b"\n" * (8 << 20)), "bomb.csv.gz")
    assert path.stat().st_size < 20_000
    assert "bomb.csv.gz: unfolds to more than" in refusal(path)


def test_a_line_without_an_end_stops_at_the_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_LINE", 1 << 16)
    content = sample("openai-evals").read_text() + '{"sample_id": "' + "x" * (1 << 17)
    said = refusal(written(tmp_path, content, "run.jsonl"))
    assert said.startswith("run.jsonl, line 7: is longer than") and "missing line end" in said


def test_a_document_larger_than_the_bound_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_DOCUMENT", 1 << 12)
    assert "results.json: is larger than" in refusal(written(tmp_path, document("promptfoo")))


# -- values --------------------------------------------------------------------------------------------------------

ODD: list[object] = [
    None, True, "", "x", "\x00", "\ud800", "é" * 300, -1, 0, 0.5, 1e308, 10**30, 10**400, math.nan, math.inf, [], [1],
    {}, {"value": {}}, [[[]]], "2026-13-45T99:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
]  # fmt: skip


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*path, key))


def put(root, path, value):
    root = copy.deepcopy(root)
    if not path:
        return value
    at = root
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return root


def small(key):
    """The sample with one or two results and without the events, whose places are many and alike."""
    root = document(key)
    if key == "promptfoo":
        root["results"]["results"] = root["results"]["results"][:1]
        root["results"]["prompts"], root["config"]["tests"] = [], []
    elif key == "inspect":
        root["samples"] = root["samples"][:1]
        root["samples"][0]["messages"], root["reductions"] = [], []
    return root


@pytest.mark.parametrize("key", ["promptfoo", "inspect", "deepeval"])
def test_any_value_anywhere_in_a_document(tmp_path, key):
    root = small(key)
    where = list(places(root))
    assert len(where) > 50
    for path in where:
        for value in ODD:
            attempt(written(tmp_path, put(root, path, value), NAMES[key]), key)


@pytest.mark.parametrize("key", ["lm-eval", "openai-evals"])
def test_any_value_anywhere_in_a_line(tmp_path, key):
    rows = [json.loads(line) for line in sample(key).read_text().splitlines()]
    for n, row in enumerate(rows):
        for path in places(row):
            for value in ODD:
                changed = [*rows[:n], put(row, path, value), *rows[n + 1 :]]
                attempt(written(tmp_path, "".join(json.dumps(item) + "\n" for item in changed), NAMES[key]), key)


@pytest.mark.parametrize("key", ["csv", "junit"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(data=st.data())
def test_any_change_of_a_text(tmp_path, key, data):
    content = sample(key).read_text()
    at = data.draw(st.integers(0, len(content)))
    length = data.draw(st.integers(0, 20))
    other = data.draw(st.text(max_size=20) | st.sampled_from(['"', "<", "&", ",", "\r", "\x00", "9" * 5_000, "NaN"]))
    changed = content[:at] + other + content[at + length :]
    attempt(written(tmp_path, changed.encode("utf-8", errors="surrogatepass"), NAMES[key]), key)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(data=st.data())
@pytest.mark.parametrize("key", ["inspect-eval", "inspect-deflated", "csv-packed"])
def test_any_change_of_packed_bytes(tmp_path, key, data):
    if key == "inspect-deflated":
        content = eval_file(tmp_path, document("inspect"), method=zipfile.ZIP_DEFLATED).read_bytes()
    else:
        content = (SAMPLES / EVERYTHING["inspect-eval"]).read_bytes()
        content = gzip.compress(sample("csv").read_bytes(), mtime=0) if key == "csv-packed" else content
    at = data.draw(st.integers(0, len(content) - 1) | st.integers(-700, -1))  # the directory stands at the end
    other = data.draw(st.binary(max_size=8))
    at %= len(content)
    changed = content[:at] + other + content[at + data.draw(st.sampled_from([0, len(other), 16])) :]
    attempt(written(tmp_path, changed, "log.eval"), "csv" if key == "csv-packed" else "inspect")


@pytest.mark.parametrize("key", ["promptfoo", "inspect", "deepeval"])
@pytest.mark.parametrize("filler", ["[" * 200_000, '{"a":' * 100_000], ids=["lists", "objects"])
def test_deep_nesting(tmp_path, key, filler):
    _, bad = attempt(written(tmp_path, '{"a": ' + filler, NAMES[key]), key)
    assert any("nested too deeply" in str(error) for error in bad)


@pytest.mark.parametrize("key", ["promptfoo-lines", "lm-eval", "openai-evals"])
def test_deep_nesting_in_a_line(tmp_path, key):
    content = (SAMPLES / EVERYTHING[key]).read_text() + "[" * 200_000 + "\n"
    good, bad = attempt(written(tmp_path, content, EVERYTHING[key]), key)
    assert good and any("nested too deeply" in str(error) for error in bad)


def test_reading_the_keys_of_a_head_is_linear():
    for head in (b'{"' + b"\\" * 250_000, b'{"' + b'\\"' * 125_000, b"{" * 250_000, b'{"a":' * 50_000, b'"' * 250_000):
        files.top_keys(head)  # a pattern that backtracks would take minutes here


@pytest.mark.parametrize("name", [name for _, name, _ in pkgutil.iter_modules(routing.importers.__path__)])
def test_examples_in_the_importers(name):
    assert doctest.testmod(importlib.import_module(f"routing.importers.{name}")).failed == 0


def test_examples_in_the_mapping():
    assert doctest.testmod(importlib.import_module("routing.core.eval_columns")).failed == 0


def test_no_format_keeps_a_text():
    """The samples' prompts and answers, which no result may hold."""
    for key, name in EVERYTHING.items():
        kept = repr(attempt(SAMPLES / name, key)[0])
        for text in ("I love it", "I hate it", "capital of France", "Paris", "expected Negative"):
            assert text not in kept
    assert read(sample("csv"))
