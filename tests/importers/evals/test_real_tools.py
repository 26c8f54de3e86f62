"""promptfoo, Inspect AI and pytest are run, and what they write today is imported."""

import os
import sys
import textwrap
from pathlib import Path

import pytest

from routing.core.evidence import CaseResult, cases_of_epoch
from routing.importers import About, EvalImportError, ReadOptions, all_or_nothing, detect
from routing.importers.base import PROMPTS_UNKNOWN, TELL_ALL_THREE
from tests.importers.evals.tools.install import Promptfoo, inspect_python, or_skip, promptfoo, run

pytestmark = [pytest.mark.tools, pytest.mark.xdist_group("eval-tools")]
SECRET = "a sentence nobody may find in what is kept"


def read(path: Path, options: ReadOptions | None = None) -> tuple[list[CaseResult], About]:
    about = About()
    importer = detect(path)
    return list(all_or_nothing(importer.read(path, options or ReadOptions(), about))), about


# -- promptfoo -----------------------------------------------------------------------------------------------------

PROVIDER = """
module.exports = class {
  constructor(options) { this.config = options.config; }
  id() { return this.config.model; }
  async callApi(prompt) {
    if (prompt.includes('outage')) return { error: '529 {"type":"overloaded_error"} %SECRET%' };
    const usage = { prompt: 5320, completion: 9, total: 5329, completionDetails: { cacheCreationInputTokens: 5200 } };
    const answer = { output: prompt.includes('hate') ? 'Negative' : 'Positive', tokenUsage: usage, cost: 0.0125 };
    return prompt.includes('again') ? { ...answer, cached: true, cost: 0 } : answer;
  }
};
"""
GRADER = """
module.exports = class {
  id() { return 'grader'; }
  async callApi() {
    const usage = { prompt: 700, completion: 70, total: 770 };
    return { output: JSON.stringify({ pass: true, score: 0.75, reason: '%SECRET%' }), tokenUsage: usage, cost: 9 };
  }
};
"""
CONFIG = """
description: triage@2
prompts: ['[{{cls}}] {{ticket}}']
providers:
  - {id: 'file://provider.js', label: plain, config: {model: 'anthropic:messages:claude-haiku-4-5-20251001'}}
  - id: file://provider.js
    label: thinking
    config:
      {model: 'anthropic:messages:claude-opus-4-8', temperature: 1, thinking: {type: enabled, budget_tokens: 1024}}
defaultTest: {options: {provider: 'file://grader.js'}, metadata: {request_class: classify}}
tests:
  - {vars: {ticket: I love it}, metadata: {sample_id: T-1}, assert: [{type: equals, value: Positive}]}
  - vars: {ticket: I like it}
    metadata: {sample_id: T-2}
    assert: [{type: equals, value: Negative}, {type: icontains, value: POS}]
  - {vars: {ticket: outage}, metadata: {sample_id: T-3}, assert: [{type: equals, value: Positive}]}
  - {vars: {ticket: once again}, metadata: {sample_id: T-4}, assert: [{type: equals, value: Positive}]}
  - {vars: {ticket: graded}, metadata: {sample_id: T-5}, assert: [{type: llm-rubric, value: is polite}]}
  - {vars: {ticket: I hate it}, assert: [{type: equals, value: Negative}]}
"""


@pytest.fixture(scope="module")
def promptfoo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tool: Promptfoo = or_skip(promptfoo)
    folder = tmp_path_factory.mktemp("promptfoo")
    (folder / "provider.js").write_text(PROVIDER.replace("%SECRET%", SECRET))
    (folder / "grader.js").write_text(GRADER.replace("%SECRET%", SECRET))
    (folder / "promptfooconfig.yaml").write_text(CONFIG)
    words = ("-o", "results.json", "-o", "results.jsonl", "-o", "results.csv", "--no-cache", "--no-progress-bar")
    tool.run("eval", "-c", "promptfooconfig.yaml", *words, "--repeat", "2", "--no-share", cwd=folder)
    tool.run("export", "eval", "latest", "-o", "exported.json", cwd=folder)
    return folder


def test_promptfoo_is_run_and_its_json_imported(promptfoo_run: Path) -> None:
    results, about = read(promptfoo_run / "results.json")
    assert about.tool == "promptfoo 0.121.20"
    assert len(results) == 24, "6 tests, 2 providers, 2 repeats"
    assert {(r.suite, r.suite_version, r.request_class) for r in results} == {("triage", "2", "classify")}
    assert {(r.candidate, r.mode) for r in results} == {
        ("claude-haiku-4-5", ""),
        ("claude-opus-4-8", "thinking=1024 temperature=1"),
    }
    haiku = {r.sample_id: r for r in results if r.candidate == "claude-haiku-4-5"}
    scores = {sample: (r.score, r.graded_score, r.error) for sample, r in haiku.items() if sample.startswith("T-")}
    assert scores == {
        "T-1": (1.0, 1.0, ""),
        "T-2": (0.0, 0.5, ""),
        "T-3": (None, None, "overloaded_error"),
        "T-4": (1.0, 1.0, ""),
        "T-5": (1.0, 0.75, ""),
    }
    for sample in ("T-1", "T-5"):
        r = haiku[sample]
        assert (r.uncached_input_tok, r.cache_write_5m_tok, r.output_tok) == (120, 5_200, 9), "no token of the grader"
        assert r.cost_usd is not None and str(r.cost_usd) == "0.0125"
    assert (haiku["T-4"].cost_usd, haiku["T-4"].latency_ms, haiku["T-4"].output_tok) == (None, None, None)


def test_promptfoo_repeats_are_one_case(promptfoo_run: Path) -> None:
    results, _ = read(promptfoo_run / "results.json")
    evidence = cases_of_epoch(results)
    for model in ("claude-haiku-4-5", "claude-opus-4-8"):
        found = evidence[model]
        assert (found.cases, found.passes, found.excluded) == (5, 4.0, 1), "the outage hit both models"


def test_promptfoo_lines_hold_the_same(promptfoo_run: Path) -> None:
    at = read(promptfoo_run / "results.json")[0][0].run_at
    lines, _ = read(promptfoo_run / "results.jsonl", ReadOptions(run_at=at, suite="triage@2"))
    document, _ = read(promptfoo_run / "results.json")

    def facts(results: list[CaseResult]) -> list[tuple[object, ...]]:
        return sorted((r.candidate, r.score is None, r.score or 0, r.cost_usd or 0, r.error) for r in results)

    assert facts(lines) == facts(document)


def test_promptfoo_exports_the_same(promptfoo_run: Path) -> None:
    assert sorted(map(repr, read(promptfoo_run / "exported.json")[0])) == sorted(
        map(repr, read(promptfoo_run / "results.json")[0])
    )


def test_promptfoo_csv_is_refused(promptfoo_run: Path) -> None:
    with pytest.raises(EvalImportError, match="is promptfoo's CSV, which names no model"):
        read(promptfoo_run / "results.csv")


# -- Inspect AI ----------------------------------------------------------------------------------------------------

INSPECT = """
import sys
from inspect_ai import Task, eval, task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Score, match, mean, model_graded_qa, scorer
from inspect_ai.solver import generate, solver

def answer(input, tools, tool_choice, config):
    text = str(input[-1].text)
    if "[BEGIN DATA]" in text:
        made = ModelOutput.from_content("mockllm/model", "GRADE: C")
        made.usage = ModelUsage(input_tokens=700, output_tokens=70, total_tokens=770)
        return made
    made = ModelOutput.from_content("mockllm/model", "Negative" if "hate" in text else "Positive")
    made.usage = ModelUsage(
        input_tokens=120, output_tokens=9, total_tokens=5329, input_tokens_cache_write=5200, input_tokens_cache_read=0
    )
    return made

@solver
def breaks():
    async def solve(state, generate):
        if "outage" in state.input_text:
            raise RuntimeError("overloaded_error: %SECRET%")
        return state
    return solve

@scorer(metrics={"tone": [mean()], "length": [mean()]})
def parts():
    async def score(state, target):
        return Score(value={"tone": 0.25, "length": 1.0})
    return score

@scorer(metrics=[mean()])
def unscored():
    async def score(state, target):
        return Score(value=float("nan")) if "like" in state.input_text else Score(value=0.5)
    return score

def samples():
    facts = {"request_class": "classify"}
    return [
        Sample(id="T-1", input="I love it", target="Positive", metadata=facts),
        Sample(id="T-2", input="I like it", target="Negative", metadata=facts),
        Sample(id=3, input="outage %SECRET%", target="Positive", metadata=facts),
    ]

@task
def triage(scorers, epochs=1, fail_on_error=False):
    return Task(
        dataset=samples(), solver=[breaks(), generate()], scorer=scorers, epochs=epochs, version=2,
        fail_on_error=fail_on_error, config=GenerateConfig(temperature=0.0, reasoning_effort="low"),
    )

def run(name, task, form):
    eval(task, model=get_model("mockllm/model", custom_outputs=answer, memoize=False), log_dir=name, log_format=form,
         display="none", max_samples=1)

run("letters", triage([match()], epochs=2), "eval")
run("graded", triage([model_graded_qa()]), "json")
run("parts", triage([parts(), match()]), "eval")
run("unscored", triage([unscored()]), "json")
run("failed", triage([match()], fail_on_error=True), "eval")
"""


@pytest.fixture(scope="module")
def inspect_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    python = or_skip(inspect_python)
    folder = tmp_path_factory.mktemp("inspect")
    (folder / "run.py").write_text(INSPECT.replace("%SECRET%", SECRET))
    run([str(python), "run.py"], cwd=folder)
    return folder


def log(folder: Path, name: str) -> Path:
    (path,) = (folder / name).iterdir()
    return path


def verdicts(results: list[CaseResult]) -> dict[tuple[str, str], float | str | None]:
    return {(r.sample_id, r.repeat): r.error if r.score is None else r.score for r in results}


def test_inspect_is_run_and_its_eval_file_imported(inspect_run: Path) -> None:
    results, about = read(log(inspect_run, "letters"))
    assert about.tool == "Inspect AI 0.3.285" and about.warnings == []
    assert verdicts(results) == {
        ("T-1", "1"): 1.0, ("T-2", "1"): 0.0, ("3", "1"): "overloaded_error",
        ("T-1", "2"): 1.0, ("T-2", "2"): 0.0, ("3", "2"): "overloaded_error",
    }  # fmt: skip
    assert {(r.suite, r.suite_version, r.request_class, r.mode) for r in results} == {
        ("triage", "2", "classify", "effort=low temperature=0")
    }
    first = next(r for r in results if r.sample_id == "T-1")
    assert (first.uncached_input_tok, first.cache_read_tok, first.cache_write_5m_tok, first.output_tok) == (
        120, 0, 5_200, 9,
    )  # fmt: skip
    evidence = cases_of_epoch(results)["model"]
    assert (evidence.cases, evidence.passes, evidence.left_out) == (2, 1.0, 1), "epochs are repeats, not cases"


def test_tokens_of_an_inspect_grader_are_not_the_candidates(inspect_run: Path) -> None:
    """The grader is the same model here, so that the log adds both up."""
    results, _ = read(log(inspect_run, "graded"))
    first = next(r for r in results if r.sample_id == "T-1")
    assert '"input_tokens": 820' in log(inspect_run, "graded").read_text()
    assert (first.score, first.uncached_input_tok, first.cache_write_5m_tok, first.output_tok) == (1.0, 120, 5_200, 9)


def test_inspect_scores_of_several_parts(inspect_run: Path) -> None:
    path = log(inspect_run, "parts")
    for metric, score in (("tone", 0.25), ("length", 1.0)):
        results, about = read(path, ReadOptions(metric=metric))
        assert {r.score for r in results if r.sample_id != "3"} == {score}
        assert about.warnings == [
            "Samples are judged by the scorer parts; the log also has match. Name another with --scorer."
        ]
    results, about = read(path, ReadOptions(scorer="match"))
    assert verdicts(results) == {("T-1", ""): 1.0, ("T-2", ""): 0.0, ("3", ""): "overloaded_error"}
    assert about.warnings == []


def test_inspect_samples_without_a_score_are_left_out(inspect_run: Path) -> None:
    results, _ = read(log(inspect_run, "unscored"))
    assert verdicts(results) == {("T-1", ""): 0.5, ("T-2", ""): "no verdict", ("3", ""): "overloaded_error"}


def test_a_failed_inspect_run_keeps_what_it_has(inspect_run: Path) -> None:
    results, about = read(log(inspect_run, "failed"))
    found = verdicts(results)
    assert found["T-1", ""] == 1.0 and found.get(("3", ""), "overloaded_error") == "overloaded_error"
    (warning,) = about.warnings
    assert warning.startswith("The run ended as error: ") and "of 3 samples are in the log" in warning


# -- pytest --------------------------------------------------------------------------------------------------------

TESTS = """
import pytest

@pytest.fixture
def facts(record_property):
    for name, value in {"model": "claude-haiku-4-5", "request_class": "classify", "input_tokens": 412,
                        "output_tokens": 9, "cost_usd": "0.000457", "score": "0.5", "effort": "low"}.items():
        record_property(name, value)

@pytest.fixture
def broken():
    raise RuntimeError("no provider")

@pytest.mark.parametrize("ticket", ["T-1", "T-2"])
def test_ticket(facts, ticket):
    assert ticket == "T-1", "%SECRET%"

def test_bare(facts):
    assert 1 == 2

def test_pytest_fail(facts):
    pytest.fail("wrong label")

def test_outage(facts):
    raise RuntimeError("overloaded_error: %SECRET%")

def test_left(facts):
    pytest.skip("provider outage")

def test_setup(facts, broken):
    pass
"""


def test_pytest_is_run_and_its_xml_imported(tmp_path: Path) -> None:
    (tmp_path / "test_triage.py").write_text(textwrap.dedent(TESTS).replace("%SECRET%", SECRET))
    (tmp_path / "pytest.ini").write_text("[pytest]\njunit_suite_name = triage@3\n")
    words = ["-q", "-p", "no:cacheprovider", "--junitxml=results.xml"]
    bare = {"PATH": os.environ["PATH"], "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # none of this run's plugins
    run([sys.executable, "-m", "pytest", *words], cwd=tmp_path, environment=bare, allowed=(1,))
    results, about = read(tmp_path / "results.xml")
    assert {r.sample_id.removeprefix("test_triage::"): r.error if r.score is None else r.score for r in results} == {
        "test_ticket[T-1]": 1.0,
        "test_ticket[T-2]": 0.0,
        "test_bare": 0.0,
        "test_pytest_fail": 0.0,
        "test_outage": "overloaded_error",
        "test_left": "skipped",
        "test_setup": "runtimeerror",
    }
    assert {(r.suite, r.suite_version, r.candidate, r.request_class, r.mode) for r in results} == {
        ("triage", "3", "claude-haiku-4-5", "classify", "effort=low")
    }
    assert {(r.uncached_input_tok, r.output_tok, str(r.cost_usd)) for r in results} == {(412, 9, "0.000457")}
    assert {r.graded_score for r in results if r.score is not None} == {0.5}
    assert about.tool == "pytest"
    assert about.warnings == [
        f"7 tests tell {PROMPTS_UNKNOWN} {TELL_ALL_THREE}",
        "1 test ended in an exception that is no assertion (RuntimeError): left out, not failed. Assert on the answer "
        "where such a case should count as failed.",
    ]


# -- all of them ---------------------------------------------------------------------------------------------------


def test_nothing_of_the_texts_is_kept(promptfoo_run: Path, inspect_run: Path) -> None:
    paths = [promptfoo_run / "results.json", log(inspect_run, "graded")]
    assert all(SECRET in path.read_text() for path in paths)
    for path in [*paths, log(inspect_run, "letters")]:
        results, about = read(path)
        assert SECRET not in repr(results) and "love" not in repr(results) and SECRET not in repr(about)
