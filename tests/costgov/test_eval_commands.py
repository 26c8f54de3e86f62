"""How to run a class's own suites on a model: tool, line and the newest version of each suite."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from costgov.queries.eval_commands import suites_to_run
from routing.models import EvalImport, EvalRun, RequestClass

AS_OF = datetime(2026, 11, 22, 8, tzinfo=UTC)
MODEL = "claude-haiku-4-5"


def run(slug: str, suite: str, version: str, format_name: str, tool: str, days: int, **changes: Any) -> None:
    row, _ = RequestClass.objects.get_or_create(slug=slug, defaults={"title": slug})
    number = EvalImport.objects.count()
    file = EvalImport.objects.create(
        file_name=f"{number}.json", sha256=f"{number:064}", format=format_name, imported_at=AS_OF, cases=10
    )
    EvalRun.objects.create(
        eval_import=file, request_class=row, suite=suite, suite_version=version, tool=tool, results=10,
        run_at=AS_OF - timedelta(days=days), **changes,
    )  # fmt: skip


LINES = [
    ("promptfoo", "npx promptfoo eval --providers anthropic:messages:claude-haiku-4-5 --output results.json",
     "results.json"),
    ("inspect", "inspect eval triage.py --model anthropic/claude-haiku-4-5 --log-dir logs", "logs/*.eval"),
    ("deepeval", "deepeval test run test_triage.py  # with hyperparameter model=claude-haiku-4-5",
     ".deepeval/.latest_test_run.json"),
    ("lm-eval", "lm_eval --model anthropic-chat-completions --model_args model=claude-haiku-4-5 --tasks triage "
     "--apply_chat_template --log_samples --output_path results", "results/*/samples_*.jsonl"),
    ("openai-evals", "oaieval claude-haiku-4-5 triage --record_path results.jsonl", "results.jsonl"),
    ("junit", "pytest --junitxml=results.xml -o junit_suite_name=triage@2  # calling claude-haiku-4-5", "results.xml"),
    ("csv", "# write results.csv: suite=triage@2, sample_id, model=claude-haiku-4-5, passed (true or false)",
     "results.csv"),
]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize(("format_name", "line", "file"), LINES, ids=[each[0] for each in LINES])
def test_the_line_is_that_of_the_tool_the_suite_came_from(format_name: str, line: str, file: str) -> None:
    run("triage", "triage", "2", format_name, "", 3)
    (found,) = suites_to_run(["triage"], model=MODEL, as_of=AS_OF)["triage"]
    assert (found.suite, found.tool, found.run_line, found.file) == ("triage@2", format_name, line, file)
    assert found.import_line == f"manage.py import_evals {file} --class triage"


@pytest.mark.django_db
def test_each_suite_counts_once_in_the_version_that_ran_last() -> None:
    run("triage", "tickets", "1", "csv", "", 30)
    run("triage", "tickets", "2", "promptfoo", "promptfoo 0.121.20", 10)
    run("triage", "calls", "1", "junit", "", 20)
    run("triage", "tickets", "3", "csv", "", 5, set_aside_at=AS_OF, set_aside_reason="a broken grader")
    run("other", "o", "1", "csv", "", 1)
    run("triage", "later", "1", "csv", "", -1)
    found = suites_to_run(["triage", "nothing"], model=MODEL, as_of=AS_OF)
    assert set(found) == {"triage"}
    assert [(suite.suite, suite.tool) for suite in found["triage"]] == [
        ("tickets@2", "promptfoo 0.121.20"),
        ("calls", "junit"),
    ]


@pytest.mark.django_db
def test_a_name_with_a_quote_stays_one_word_of_the_shell() -> None:
    run("triage", "it's; rm -rf", "1", "inspect", "", 3)
    (found,) = suites_to_run(["triage"], model=MODEL, as_of=AS_OF)["triage"]
    assert found.run_line.startswith("inspect eval 'it'\"'\"'s; rm -rf'.py --model")


@pytest.mark.parametrize(("format_name", "line", "file"), LINES, ids=[each[0] for each in LINES])
def test_the_guide_starts_each_tool_with_the_same_line(format_name: str, line: str, file: str) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guide" / "evals.md").read_text(encoding="utf-8")
    start = guide.split("## Your evals in five minutes")[1].split("\n## ")[0].replace("\\\n    ", "")
    said = {
        "openai-evals": "--record_path results.jsonl",
        "junit": "pytest --junitxml=results.xml -o junit_suite_name=triage\n",
        "csv": "suite,sample_id,model,passed\n",
    }.get(format_name, line.split("  #")[0])
    assert said in start
    assert format_name == "csv" or f"manage.py import_evals {file}" in start
