"""Broken runs are flagged as they are imported, told to whoever imports, and settled when they are set aside."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from routing.models import EvalRun
from routing.operations.classes import save_class
from routing.operations.eval_runs import count_again, set_aside
from routing.operations.evals import EvalImportResult, import_evals
from routing.queries.eval_runs import run_lines
from routing.queries.work_items import work_items

pytestmark = pytest.mark.django_db
AS_OF = datetime(2026, 11, 24, tzinfo=UTC)
HEADER = "suite,request_class,sample_id,model,run_at,passed,error,mode"


@pytest.fixture(autouse=True)
def classify() -> None:
    save_class(actor=None, slug="classify", facts={"title": "Classify"}, as_of=AS_OF)


def load(folder: Path, day: int, *groups: tuple[str, int, int, int, str]) -> EvalImportResult:
    """A file of groups: model, first case, cases, how many pass, mode; a case beyond `cases` passed has failed."""
    rows = [
        f"triage,classify,T-{first + n},{model},2026-11-{day:02}T10:00:00Z,{'true' if n < passed else 'false'},,{mode}"
        for model, first, cases, passed, mode in groups
        for n in range(cases)
    ]
    path = folder / f"{day}.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return import_evals(actor=None, path=path, as_of=AS_OF)


def test_a_sound_run_has_no_finding(tmp_path):
    assert load(tmp_path, 9, ("claude-haiku-4-5", 0, 100, 95, ""), ("claude-opus-4-8", 0, 100, 99, "")).findings == ()
    assert load(tmp_path, 10, ("claude-haiku-4-5", 0, 100, 92, ""), ("claude-opus-4-8", 0, 100, 100, "")).findings == ()
    assert run_lines(only_flagged=True) == () and work_items().items == ()


def test_a_rate_out_of_line_with_the_largest_sound_run_is_flagged(tmp_path):
    load(tmp_path, 9, ("claude-haiku-4-5", 0, 100, 95, ""))
    outcome = load(tmp_path, 10, ("claude-haiku-4-5", 0, 100, 40, ""))
    (line,) = run_lines(only_flagged=True)
    (finding,) = line.findings
    assert (finding.kind, finding.model) == ("rate", "claude-haiku-4-5")
    assert "scored 40.0% on 100 cases" in finding.text and "of 9 Nov 2026 scored 95.0% on 100" in finding.text
    assert len(outcome.findings) == 1 and outcome.findings[0].startswith("classify, triage@1: claude-haiku-4-5 scored")
    assert load(tmp_path, 11, ("claude-haiku-4-5", 0, 100, 96, "")).findings == (), "the broken one is no yardstick"


def test_another_mode_or_version_is_not_compared(tmp_path):
    load(tmp_path, 9, ("claude-haiku-4-5", 0, 100, 95, ""))
    assert load(tmp_path, 10, ("claude-haiku-4-5", 0, 100, 40, "thinking=1024")).findings == ()


@pytest.mark.parametrize(("first", "cases"), [(0, 80), (50, 100)], ids=["fewer", "others"])
def test_models_that_ran_different_cases_are_seen(tmp_path, first, cases):
    load(tmp_path, 9, ("claude-haiku-4-5", 0, 100, 95, ""), ("claude-opus-4-8", first, cases, cases - 1, ""))
    (finding,) = run_lines()[0].findings
    assert finding.kind == "items"


def test_mixed_modes_are_seen(tmp_path):
    load(tmp_path, 9, ("claude-haiku-4-5", 0, 50, 48, ""), ("claude-haiku-4-5", 50, 50, 49, "thinking=1024"))
    assert [finding.kind for finding in run_lines()[0].findings] == ["modes"]


def test_errors_are_seen(tmp_path):
    rows = [f"triage,classify,T-{n},claude-haiku-4-5,2026-11-09T10:00:00Z,,timeout," for n in range(10)]
    rows += [f"triage,classify,T-{n},claude-haiku-4-5,2026-11-09T10:00:00Z,true,," for n in range(10, 100)]
    path = tmp_path / "errors.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    outcome = import_evals(actor=None, path=path, as_of=AS_OF)
    assert "10 of 100 cases (10.0%) on claude-haiku-4-5 ended without a verdict" in outcome.findings[0]


def test_the_item_names_every_run_and_resolves_when_all_are_set_aside(tmp_path):
    load(tmp_path, 9, ("claude-haiku-4-5", 0, 100, 95, ""))
    load(tmp_path, 10, ("claude-haiku-4-5", 0, 100, 40, ""))
    load(tmp_path, 11, ("claude-haiku-4-5", 0, 100, 41, ""))
    broken = list(EvalRun.objects.exclude(findings=[]).order_by("pk").values_list("pk", flat=True))
    (item,) = work_items(kind="run_looks_broken").items
    assert item.run_ids == tuple(broken) and item.text.startswith("2 runs look broken")
    set_aside(actor=None, run_id=broken[0], reason="Grader down", as_of=AS_OF)
    assert work_items(kind="run_looks_broken").open_count == 1
    set_aside(actor=None, run_id=broken[1], reason="Grader down", as_of=AS_OF)
    (closed,) = work_items(kind="run_looks_broken", with_closed=True).items
    assert closed.resolved_itself
    count_again(actor=None, run_id=broken[1], as_of=AS_OF)
    assert run_lines(only_set_aside=True)[0].id == broken[0]
