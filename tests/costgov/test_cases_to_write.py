"""Where a model needs more cases than its class's suites hold, page, command and API say how many must be written."""

from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from audit.operations import bump_data_version
from costgov.queries.evals_to_run import EvalToRun, cases_held, cases_to_write, shortage_text
from costgov.queries.evidence_needed import evidence_needed, model_outlook
from routing.models import ClassEvidence, EvalCase, EvalRun, EvalRunPart
from routing.operations.bars import set_bar
from routing.operations.eval_parts import write_parts
from routing.queries.evidence import case_results
from routing.queries.kept_evidence import kept_verdicts
from tests.costgov import small_world as world

THEN = world.AS_OF - timedelta(days=20)
HOLDS = "must be written: the suites hold"


@pytest.fixture
def viewer(db: Any, settings: Any) -> Client:
    """`drafting` (line 0.90) on sonnet, which no case shows to clear; 43 cases without a failure would show haiku."""
    cache.clear()
    settings.COSTGOV_AS_OF = world.AS_OF
    world.organisation()
    world.models()
    world.prices()
    world.classes()
    world.usage()
    client = Client()
    client.force_login(world.people()["vic"])
    return client


def needed() -> EvalToRun:
    row = next(row for row in evidence_needed(as_of=world.AS_OF).rows if row.request_class == "drafting")
    outlook = next(row for row in model_outlook(model=world.HAIKU, as_of=world.AS_OF).rows if row.to_run)
    assert (row.model, outlook.request_class, outlook.to_run) == (world.HAIKU, "drafting", row.to_run)
    return row.to_run


def told(*words: str) -> str:
    out = StringIO()
    call_command("evidence_needed", *words, stdout=out)
    return out.getvalue()


def holds_everywhere(viewer: Client, shortage: str, new_cases: int, held: int) -> None:
    """The same in both pages, both commands and both answers of the API."""
    said = shortage[0].upper() + shortage[1:]
    for address in ("/evidence-needed/", f"/evidence-needed/{world.HAIKU}/"):
        assert said in viewer.get(address).content.decode()
        told_by_api = viewer.get(f"/api/v1{address.rstrip('/')}").json()
        (row,) = [each for each in told_by_api["rows"] if each["request_class"] == "drafting"]
        run = row["to_run"]
        assert (run["shortage"], run["new_cases"], run["cases_held"]) == (shortage, new_cases, held)
    assert f"drafting on {world.HAIKU}: {shortage}" in told().splitlines()
    assert f"drafting: {shortage}" in told("--model", world.HAIKU).splitlines()
    for words, address in (((), ""), (("--model", world.HAIKU), f"/{world.HAIKU}")):
        assert orjson.loads(told("--json", *words)) == viewer.get(f"/api/v1/evidence-needed{address}").json()


def test_a_class_without_a_case_has_all_of_them_to_write(viewer: Client) -> None:
    found = needed()
    assert (found.cases, found.cases_held, found.new_cases) == (43, 0, 43)
    assert found.shortage == "43 must be written: the class has no case yet"
    assert f"drafting: {found.shortage}" in told("--model", world.HAIKU).splitlines()
    assert "43 must be written: the class has no case yet" in (viewer.get("/evidence-needed/").content.decode())


def test_a_suite_that_is_too_small_says_how_many_are_missing(viewer: Client) -> None:
    world.evals("drafting", world.SONNET, 27, 31, THEN)  # 87.1% is below the line: the fewest count
    found = needed()
    assert (found.cases, found.cases_held, found.new_cases) == (43, 31, 12)
    shortage = f"12 {HOLDS} 31 cases, none judged on this model"
    assert found.shortage == shortage
    holds_everywhere(viewer, shortage, 12, 31)


def test_a_suite_that_is_run_through_without_a_verdict_says_so(viewer: Client) -> None:
    world.evals("drafting", world.SONNET, 58, 60, THEN)
    world.evals("drafting", world.HAIKU, 57, 60, THEN)
    found = needed()
    assert found.cases is not None and found.cases > 0
    shortage = f"{found.cases:,} {HOLDS} 60 cases, all judged on this model"
    assert (found.shortage, found.new_cases, found.cases_held) == (shortage, found.cases, 60)
    holds_everywhere(viewer, shortage, found.cases, 60)


def test_a_suite_that_is_large_enough_says_nothing(viewer: Client) -> None:
    world.evals("drafting", world.SONNET, 197, 200, THEN)
    found = needed()
    assert (found.cases, found.cases_held, found.new_cases, found.shortage) == (65, 200, 0, "")
    assert HOLDS not in viewer.get("/evidence-needed/").content.decode().lower()
    assert HOLDS not in told() + told("--model", world.HAIKU)


def test_stale_evidence_takes_the_same_cases_again_and_no_new_one(viewer: Client) -> None:
    for model in (world.SONNET, world.HAIKU):
        world.evals("drafting", model, 199, 200, world.AS_OF - timedelta(days=120))
    found = needed()
    assert (found.kind, found.cases, found.new_cases, found.shortage) == ("refresh", 200, 0, "")
    assert HOLDS not in viewer.get("/evidence-needed/").content.decode().lower()


def test_what_does_not_count_is_no_case_of_the_suites(viewer: Client) -> None:
    """Suites the bar leaves out, an older version, cases without any verdict, and a run that was set aside."""
    world.evals("drafting", world.SONNET, 27, 31, THEN, suite="core", version="2")
    world.evals("drafting", world.SONNET, 90, 90, THEN, suite="smoke")
    world.evals("drafting", world.SONNET, 90, 90, THEN - timedelta(days=9), suite="core", version="1")
    set_bar(actor=None, slug="drafting", facts={"suites": ["core"]}, reason="smoke tests show little", as_of=THEN)
    bump_data_version()
    assert (needed().cases_held, needed().new_cases) == (31, 12)
    EvalCase.objects.filter(run__suite="core", run__suite_version="2", sample_id="case-30").update(
        score=None, error="timeout"
    )
    run = EvalRun.objects.get(suite="core", suite_version="2")
    _rewrite(run)
    assert (needed().cases_held, needed().new_cases) == (30, 13)
    EvalRun.objects.filter(pk=run.pk).update(set_aside_at=world.AS_OF - timedelta(days=1), set_aside_reason="broken")
    bump_data_version()
    assert needed().cases_held == 90, "what is left of the suites that count is the version before"


def _rewrite(run: EvalRun) -> None:
    """What is kept of a run after its cases were changed by hand."""
    EvalRunPart.objects.filter(run=run).delete()
    ClassEvidence.objects.all().delete()
    write_parts([run.pk])
    bump_data_version()


def test_the_cases_held_are_those_a_reader_would_count(viewer: Client) -> None:
    world.evals("drafting", world.SONNET, 28, 31, THEN)
    world.evals("drafting", world.HAIKU, 20, 40, THEN)
    world.evals("drafting", world.OPUS, 9, 9, THEN, suite="other")
    results = case_results(as_of=world.AS_OF)["drafting"]
    verdicts = kept_verdicts(incumbents={"drafting": world.SONNET}, as_of=world.AS_OF, slugs=["drafting"])
    assert (
        cases_held(verdicts, as_of=world.AS_OF) == {"drafting": len({row.case for row in results})} == {"drafting": 49}
    )


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_what_is_held_and_what_is_written_are_enough(more: int, held: int, so_far: int) -> None:
    so_far = min(so_far, held)
    new = cases_to_write(more, held=held, so_far=so_far)
    assert held + new >= so_far + more  # enough …
    assert new == 0 or held + new == so_far + more  # … and not one too many
    assert bool(shortage_text(new, held=held, so_far=so_far)) == (new > 0)


def test_the_example_of_the_documentation() -> None:
    text = " ".join((Path(__file__).parents[2] / "docs/algorithms/recommendation.md").read_text("utf-8").split())
    assert f"74 of a suite of 60 not run yet, {cases_to_write(74, held=60, so_far=0)}." in text


@pytest.mark.parametrize(
    ("new", "held", "so_far", "words"),
    [
        (0, 9, 9, ""),
        (62, 0, 0, "62 must be written: the class has no case yet"),
        (51, 500, 0, "51 must be written: the suites hold 500 cases, none judged on this model"),
        (1_024, 1_200, 150, "1,024 must be written: the suites hold 1,200 cases, 1,050 not judged on this model"),
        (29, 1, 1, "29 must be written: the suites hold 1 case, all judged on this model"),
    ],
)
def test_in_words(new: int, held: int, so_far: int, words: str) -> None:
    assert shortage_text(new, held=held, so_far=so_far) == words
