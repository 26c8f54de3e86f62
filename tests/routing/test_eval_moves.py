"""Runs filed under the wrong class: moved, moved back, refused; both classes are judged again."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import connection, transaction

from audit.models import AuditEntry
from audit.roles import Forbidden, Role
from routing.models import ClassEvidence, EvalCase, EvalImport, EvalRun, RequestClass, VerdictRecord, WorkItem
from routing.operations.classes import save_class
from routing.operations.eval_moves import move_run
from routing.operations.eval_runs import RunRefused, set_aside
from routing.operations.evals import import_evals
from routing.operations.judging_lock import lock_judging
from routing.queries.evidence import case_results
from routing.queries.kept_evidence import kept_verdicts
from tests.slow_evidence import class_verdicts

AS_OF = datetime(2026, 11, 24, tzinfo=UTC)
HAIKU = "claude-haiku-4-5"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def classes() -> None:
    for slug in ("classify", "extract"):
        save_class(actor=None, slug=slug, facts={"title": slug.title()}, as_of=AS_OF)


def person(role: str) -> Any:
    found = get_user_model().objects.create_user(f"{role}-1")
    found.groups.add(Group.objects.get_or_create(name=role)[0])
    return found


def bring(
    folder: Path,
    passed: int,
    count: int = 200,
    *,
    slug: str = "classify",
    day: int = 9,
    suite: str = "triage",
    more: str = "",
) -> EvalRun:
    lines = ["suite,request_class,sample_id,model,run_at,passed"]
    lines += [f"{suite},{slug},T-{n},{HAIKU},2026-11-{day:02d}T10:00:00Z,{n < passed}" for n in range(count)]
    path = folder / "evals.csv"
    path.write_text("\n".join([*lines, more]).strip() + "\n")
    done = import_evals(actor=None, path=path, as_of=AS_OF)
    return EvalRun.objects.filter(eval_import_id=done.import_id).order_by("pk")[0]


def verdicts(slug: str) -> dict[str, tuple[str, float, int]]:
    """Of what is kept, held against reading every result."""
    kept = kept_verdicts(incumbents={}, as_of=AS_OF, slugs=[slug])[slug].verdicts
    read = class_verdicts(results=case_results(as_of=AS_OF), incumbents={}, as_of=AS_OF, slugs=[slug])[slug].verdicts
    told: dict[str, tuple[str, float, int]] = {
        model: (found.status, found.passes, found.cases) for model, found in kept.items()
    }
    assert told == {model: (found.status, found.passes, found.cases) for model, found in read.items()}
    return told


def move(run: EvalRun, slug: str, **said: Any) -> EvalRun:
    return move_run(actor=None, run_id=run.pk, slug=slug, reason="The rule was wrong", as_of=AS_OF, **said)


def test_verdicts_of_both_classes_follow_and_moving_back_undoes_it(tmp_path):
    run = bring(tmp_path, 198)
    assert (verdicts("classify"), verdicts("extract")) == ({HAIKU: ("clears", 198, 200)}, {})
    prints = dict(ClassEvidence.objects.values_list("request_class__slug", "fingerprint"))
    erin = person(Role.ENGINEER)
    move_run(actor=erin, run_id=run.pk, slug="extract", reason=" The rule was wrong ", as_of=AS_OF, seen="classify")
    assert (verdicts("classify"), verdicts("extract")) == ({}, {HAIKU: ("clears", 198, 200)})
    run.refresh_from_db()
    assert (run.request_class.slug, getattr(run.filed_under, "slug", "")) == ("extract", "classify")
    assert (run.moved_by, run.moved_at, run.move_reason) == (erin, AS_OF, "The rule was wrong")
    latest = {row.request_class.slug: row.status for row in VerdictRecord.objects.order_by("pk")}
    assert latest == {"classify": "no_evidence", "extract": "clears"}
    entry = AuditEntry.objects.get(action="evals.run_moved")
    assert entry.before and entry.after
    assert (entry.before["class"], entry.after["class"], entry.note) == ("classify", "extract", "The rule was wrong")
    move(run, "classify")
    run.refresh_from_db()
    assert (run.filed_under, run.moved_at, run.moved_by, run.move_reason) == (None, None, None, "")
    assert (verdicts("classify"), verdicts("extract")) == ({HAIKU: ("clears", 198, 200)}, {})
    now = dict(ClassEvidence.objects.values_list("request_class__slug", "fingerprint"))
    assert now["classify"] == prints["classify"], "kept evidence is what it was"


def test_the_class_of_the_file_is_remembered_through_a_second_move(tmp_path):
    save_class(actor=None, slug="third", facts={"title": "Third"}, as_of=AS_OF)
    run = bring(tmp_path, 10, 10)
    move(run, "extract")
    move(run, "third")
    run.refresh_from_db()
    assert (run.request_class.slug, getattr(run.filed_under, "slug", "")) == ("third", "classify")


def test_a_case_both_classes_have_keeps_the_score_of_the_earlier_file(tmp_path):
    wrong = bring(tmp_path, 0, 40)  # every case fails; filed under the wrong class first
    bring(tmp_path, 40, 40, slug="extract", day=10)
    assert verdicts("extract")[HAIKU][1:] == (40, 40)
    move(wrong, "extract")
    assert verdicts("extract")[HAIKU][1:] == (0, 40), "the first file that was imported counts, the second is a repeat"
    move(wrong, "classify")
    assert verdicts("extract")[HAIKU][1:] == (40, 40)


def test_a_growing_export_does_not_bring_moved_results_again(tmp_path):
    run = bring(tmp_path, 50, 50)
    move(run, "extract")
    extra = f"triage,classify,T-new,{HAIKU},2026-11-09T10:00:00Z,true"
    again = bring(tmp_path, 50, 50, more=extra)
    assert (again.request_class.slug, again.results) == ("classify", 1)
    assert EvalCase.objects.filter(run__request_class__slug="extract").count() == 50
    mended = bring(tmp_path, 50, 50, slug="extract", more=extra.replace("classify", "extract"))
    assert (mended.request_class.slug, mended.results) == ("extract", 1), "under the right class it is known too"


def test_what_looks_broken_is_looked_at_again_and_its_item_follows(tmp_path):
    bring(tmp_path, 196)
    other = bring(tmp_path, 3, day=10)  # 1.5% after 98%: flagged
    item = WorkItem.objects.get(kind="run_looks_broken")
    assert item.request_class.slug == "classify" and item.details["runs"] == [other.pk]
    move(other, "extract")
    item.refresh_from_db()
    other.refresh_from_db()
    assert item.resolved_itself and item.closing_note == (
        "Resolved by itself: every run it names is set aside, moved or deleted."
    )
    assert other.findings == [], "nothing to compare it with there"
    move(other, "classify")
    other.refresh_from_db()
    assert [found["kind"] for found in other.findings] == ["rate"]
    assert WorkItem.objects.filter(kind="run_looks_broken", closed_at=None).get().details["runs"] == [other.pk]


def test_an_item_of_several_runs_drops_the_one_that_went(tmp_path):
    bring(tmp_path, 196)
    first, second = bring(tmp_path, 3, day=10), bring(tmp_path, 4, day=11)
    item = WorkItem.objects.get(kind="run_looks_broken")
    assert item.text.startswith("2 runs look broken")
    move(first, "extract")
    item.refresh_from_db()
    assert item.closed_at is None and item.details["runs"] == [second.pk]
    assert item.text.startswith(f"Run {second.pk} looks broken")


def test_a_run_set_aside_can_be_moved_and_stays_set_aside(tmp_path):
    run = bring(tmp_path, 198)
    set_aside(actor=None, run_id=run.pk, reason="The grader was down", as_of=AS_OF)
    move(run, "extract")
    run.refresh_from_db()
    assert run.set_aside_reason == "The grader was down" and verdicts("extract") == {}
    assert not WorkItem.objects.filter(kind="run_looks_broken", closed_at=None).exists()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"slug": "classify"}, "is filed under Classify already: nothing to move"),
        ({"slug": "nosuch"}, "There is no class 'nosuch': register it first"),
        ({"slug": "extract", "reason": "  "}, "Say why this run is moved"),
        ({"slug": "extract", "reason": "x" * 2_001}, "The reason has 2,001 characters; at most 2,000"),
        ({"slug": "extract", "run_id": 0}, "There is no eval run number 0"),
        ({"slug": "extract", "seen": "extract"}, "is filed under Classify by now, not under the class you saw it in"),
    ],
)
def test_refusals_say_why_and_change_nothing(tmp_path, said, words):
    run = bring(tmp_path, 10, 10)
    before = AuditEntry.objects.count()
    with pytest.raises(RunRefused, match=words):
        move_run(actor=None, **{"run_id": run.pk, "reason": "wrong rule", "as_of": AS_OF, **said})
    run.refresh_from_db()
    assert run.request_class.slug == "classify" and AuditEntry.objects.count() == before


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_run_of_an_import_that_has_not_ended_is_refused(tmp_path, state):
    run = bring(tmp_path, 10, 10)
    EvalImport.objects.update(state=state)
    with pytest.raises(RunRefused, match="is still being imported: wait until it has ended"):
        move(run, "extract")


@pytest.mark.parametrize("role", [Role.VIEWER, Role.PROCUREMENT])
def test_only_engineering_moves_runs(tmp_path, role):
    run = bring(tmp_path, 10, 10)
    with pytest.raises(Forbidden, match="Ask somebody with one of these roles: engineer, admin"):
        move_run(actor=person(role), run_id=run.pk, slug="extract", reason="x", as_of=AS_OF)


def test_the_past_is_told_as_if_the_file_had_been_right(tmp_path):
    run = bring(tmp_path, 198)
    move_run(actor=None, run_id=run.pk, slug="extract", reason="wrong", as_of=AS_OF + timedelta(days=3))
    assert verdicts("extract") == {HAIKU: ("clears", 198, 200)}, "as of three days before it was moved"


@pytest.mark.django_db(transaction=True)
def test_two_tabs_move_once(tmp_path):
    save_class(actor=None, slug="third", facts={"title": "Third"}, as_of=AS_OF)
    run = bring(tmp_path, 198)
    told: list[str] = []
    ready = threading.Barrier(2)

    def click(slug: str) -> None:
        try:
            ready.wait()
            move(run, slug, seen="classify")
            told.append("moved")
        except RunRefused as error:
            told.append(str(error))
        finally:
            connection.close()

    tabs = [threading.Thread(target=click, args=(slug,)) for slug in ("extract", "third")]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    assert sorted(text.startswith("moved") for text in told) == [False, True]
    assert AuditEntry.objects.filter(action="evals.run_moved").count() == 1
    assert any("by now, not under the class you saw it in" in text for text in told)


@pytest.mark.django_db(transaction=True)
def test_moving_waits_for_whoever_judges_and_for_nobody_else(tmp_path):
    """No deadlock: the mover holds its run when it waits for the lock of judging, and judging takes no run."""
    first, second = bring(tmp_path, 196), bring(tmp_path, 3, day=10)
    errors: list[BaseException] = []

    def go(step: Any) -> None:
        try:
            step()
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    steps = [
        lambda: set_aside(actor=None, run_id=first.pk, reason="x", as_of=AS_OF),
        lambda: move(second, "extract"),
        lambda: bring(tmp_path, 2, day=12),
    ]
    with transaction.atomic():
        lock_judging()
        threads = [threading.Thread(target=go, args=(step,)) for step in steps]
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == [] and not any(thread.is_alive() for thread in threads)
    assert RequestClass.objects.get(slug="extract").eval_runs.count() == 1
