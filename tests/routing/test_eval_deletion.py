"""Imports of evals deleted again: what goes, what stays, work items, and the order of imports that outlives it."""

import io
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from audit.models import AuditEntry
from audit.roles import Forbidden, Role
from routing.models import EvalCase, EvalImport, EvalRun, EvalRunPart, VerdictRecord, WorkItem
from routing.operations.classes import save_class
from routing.operations.eval_deletion import EvalDeletionRefused, delete_eval_import
from routing.operations.eval_moves import move_run
from routing.operations.eval_queue import cancel_eval_import, run_eval_import, start_eval_import
from routing.operations.evals import EvalImportResult, Said, import_evals
from tests.routing.test_eval_moves import HAIKU, person, verdicts

AS_OF = datetime(2026, 11, 24, tzinfo=UTC)
LATER = AS_OF + timedelta(hours=1)
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def classes() -> None:
    for slug in ("classify", "extract"):
        save_class(actor=None, slug=slug, facts={"title": slug.title()}, as_of=AS_OF)


def content(passed: int, count: int = 200, *, slug: str = "classify", day: int = 9, first: int = 0) -> str:
    lines = ["suite,request_class,sample_id,model,run_at,passed"]
    lines += [
        f"triage,{slug},T-{n},{HAIKU},2026-11-{day:02d}T10:00:00Z,{n - first < passed}"
        for n in range(first, first + count)
    ]
    return "\n".join(lines) + "\n"


def bring(folder: Path, text: str, at: datetime = AS_OF, **said: Any) -> EvalImportResult:
    path = folder / "evals.csv"
    path.write_text(text)
    return import_evals(actor=None, path=path, as_of=at, **said)


def delete(import_id: int, at: datetime = LATER) -> Any:
    return delete_eval_import(actor=None, import_id=import_id, reason="A test file", as_of=at)


def held() -> tuple[int, int, int]:
    return EvalRun.objects.count(), EvalRunPart.objects.count(), EvalCase.objects.count()


def test_what_it_brought_goes_and_the_entry_stays(tmp_path):
    kept = bring(tmp_path, content(100, 100, slug="extract"))
    before = held()
    wrong = bring(tmp_path, content(198))
    judged = VerdictRecord.objects.count()
    assert verdicts("classify") == {HAIKU: ("clears", 198, 200)}
    ada = person(Role.ADMIN)
    done = delete_eval_import(actor=ada, import_id=wrong.import_id, reason=" A test file ", as_of=LATER)
    assert (done.runs, done.results, done.classes, done.file_name) == (1, 200, ("classify",), "evals.csv")
    assert held() == before and verdicts("classify") == {}
    row = EvalImport.objects.get(pk=wrong.import_id)
    assert (row.state, row.deleted_at, row.deleted_by, row.deletion_reason) == ("deleted", LATER, ada, "A test file")
    assert row.deleted_runs == [
        {"class": "classify", "suite": "triage@1", "run_at": "2026-11-09T10:00:00+00:00", "model": HAIKU,
         "results": 200, "scored": 200, "passed": 198},
    ]  # fmt: skip
    records = list(VerdictRecord.objects.filter(request_class__slug="classify").order_by("pk"))
    assert [(each.status, each.eval_import_id) for each in records] == [
        ("clears", wrong.import_id), ("no_evidence", None),
    ]  # fmt: skip
    assert VerdictRecord.objects.count() == judged + 1, "what was concluded from it stays written down"
    entry = AuditEntry.objects.get(action="evals.import_deleted")
    assert entry.before and entry.after
    assert (entry.note, entry.before["cases"], entry.after["results"]) == ("A test file", 200, 200)
    assert EvalImport.objects.get(pk=kept.import_id).state == "done"


def test_items_it_opened_resolve_themselves(tmp_path):
    bring(tmp_path, content(196))
    drift = bring(tmp_path, content(10, 200, day=20, first=1_000))
    kinds = WorkItem.objects.filter(closed_at=None).values_list("kind", flat=True)
    assert sorted(kinds) == ["run_looks_broken", "verdict_changed"]
    delete(drift.import_id)
    assert not WorkItem.objects.filter(closed_at=None).exists()
    notes = dict(WorkItem.objects.values_list("kind", "closing_note"))
    assert notes["verdict_changed"].startswith("Resolved by itself: Clears the bar (98.0%, 196 of 200 cases)")
    assert notes["run_looks_broken"] == "Resolved by itself: every run it names is set aside, moved or deleted."
    assert set(WorkItem.objects.values_list("resolved_itself", flat=True)) == {True}


def test_a_run_that_was_moved_goes_with_its_file(tmp_path):
    wrong = bring(tmp_path, content(198))
    run = EvalRun.objects.get()
    move_run(actor=None, run_id=run.pk, slug="extract", reason="x", as_of=AS_OF)
    done = delete(wrong.import_id)
    assert done.classes == ("extract",) and held() == (0, 0, 0) and verdicts("extract") == {}


def test_the_same_bytes_come_back_at_their_old_place(tmp_path):
    """A rerun cannot become the first score by deleting what came before it and importing that again."""
    failing, passing = content(0, 40), content(40, 40, day=10)
    first = bring(tmp_path, failing)
    bring(tmp_path, passing)
    assert verdicts("classify")[HAIKU][1:] == (0, 40)
    delete(first.import_id)
    assert verdicts("classify")[HAIKU][1:] == (40, 40), "what is gone counts for nothing, as when it is set aside"
    again = bring(tmp_path, failing, LATER)
    assert not again.is_repeat and (again.import_id, again.cases) == (first.import_id, 40)
    assert verdicts("classify")[HAIKU][1:] == (0, 40)
    row = EvalImport.objects.get(pk=first.import_id)
    assert (row.state, row.imported_at, row.deleted_at, row.deletion_reason, row.deleted_runs) == (
        "done", LATER, None, "", [],
    )  # fmt: skip
    assert bring(tmp_path, failing).is_repeat


def test_results_a_later_file_also_held_come_back_with_that_file(tmp_path):
    first = bring(tmp_path, content(50, 50))
    grown = bring(tmp_path, content(60, 60))
    assert (grown.cases, grown.duplicates) == (10, 50)
    delete(first.import_id)
    assert EvalCase.objects.count() == 10
    delete(grown.import_id)
    assert bring(tmp_path, content(60, 60)).cases == 60


def test_a_refused_second_import_leaves_it_deleted(tmp_path):
    first = bring(tmp_path, content(50, 50))
    delete(first.import_id)
    path = tmp_path / "evals.csv"
    with pytest.raises(ValueError, match="is not a format"):
        import_evals(actor=None, path=path, as_of=LATER, format_name="nosuch")
    row = EvalImport.objects.get()
    assert (row.state, row.deletion_reason, held()) == ("deleted", "A test file", (0, 0, 0))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("queued", "is still being imported: cancel it, or wait"),
        ("running", "is still being imported: cancel it, or wait"),
        ("failed", "was failed: nothing of it was kept"),
        ("cancelled", "was cancelled: nothing of it was kept"),
    ],
)
def test_an_import_that_has_not_ended_or_brought_nothing_is_refused(tmp_path, state, words):
    done = bring(tmp_path, content(10, 10))
    EvalImport.objects.update(state=state)
    with pytest.raises(EvalDeletionRefused, match=words):
        delete(done.import_id)
    assert held() == (1, 1, 10)


def test_other_refusals(tmp_path):
    done = bring(tmp_path, content(10, 10))
    with pytest.raises(EvalDeletionRefused, match="Say why this import is deleted"):
        delete_eval_import(actor=None, import_id=done.import_id, reason=" ", as_of=AS_OF)
    with pytest.raises(EvalDeletionRefused, match="has 2,001 characters"):
        delete_eval_import(actor=None, import_id=done.import_id, reason="x" * 2_001, as_of=AS_OF)
    with pytest.raises(EvalImport.DoesNotExist):
        delete(0)
    for role in (Role.ENGINEER, Role.VIEWER, Role.PROCUREMENT):
        with pytest.raises(Forbidden, match="Ask somebody with one of these roles: admin"):
            delete_eval_import(actor=person(role), import_id=done.import_id, reason="x", as_of=AS_OF)
    delete(done.import_id)
    with pytest.raises(EvalDeletionRefused, match=r"was deleted on 24 Nov 2026 by a command already: A test file"):
        delete(done.import_id)


# -- with others at the same time ----------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_worker_brings_it_back_or_leaves_it_deleted(settings, tmp_path):
    settings.COSTGOV_VAR = str(tmp_path)
    done = bring(tmp_path, content(50, 50))
    delete(done.import_id)

    def queue(said: Said | None = None) -> EvalImportResult:
        return start_eval_import(
            actor=None, upload=io.BytesIO(content(50, 50).encode()), file_name="again.csv", as_of=LATER,
            said=said or Said(), enqueue=lambda import_id: None,
        )  # fmt: skip

    told = queue()
    assert (told.import_id, told.state) == (done.import_id, "queued")
    assert queue().is_repeat
    assert cancel_eval_import(actor=None, import_id=told.import_id, as_of=LATER)
    row = EvalImport.objects.get()
    assert (row.state, row.deletion_reason, row.file_path) == ("deleted", "A test file", "")
    queue(Said(format_name="nosuch"))
    assert run_eval_import(import_id=told.import_id, as_of=LATER) == "deleted"
    row = EvalImport.objects.get()
    assert "is not a format of eval results" in row.problem and held() == (0, 0, 0)
    queue()
    assert run_eval_import(import_id=told.import_id, as_of=LATER) == "done"
    row = EvalImport.objects.get()
    assert (row.deleted_at, row.problem, row.file_name, held()) == (None, "", "again.csv", (1, 1, 50))
    assert list((tmp_path / "incoming-evals").iterdir()) == []


@pytest.mark.django_db(transaction=True)
def test_two_tabs_delete_once_and_a_move_beside_it_leaves_nothing(tmp_path):
    done = bring(tmp_path, content(198))
    run = EvalRun.objects.get()
    told: list[str] = []
    ready = threading.Barrier(3)

    def go(step: Any) -> None:
        try:
            ready.wait()
            step()
            told.append("done")
        except Exception as error:
            told.append(str(error))
        finally:
            connection.close()

    steps = [
        lambda: delete(done.import_id),
        lambda: delete(done.import_id),
        lambda: move_run(actor=None, run_id=run.pk, slug="extract", reason="x", as_of=AS_OF),
    ]
    threads = [threading.Thread(target=go, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert held() == (0, 0, 0), told
    refused = [text for text in told if text != "done"]
    assert sum("was deleted on 24 Nov 2026" in text for text in refused) == 1
    assert all("was deleted on" in text or "There is no eval run number" in text for text in refused), told
    assert AuditEntry.objects.filter(action="evals.import_deleted").count() == 1
    assert verdicts("classify") == verdicts("extract") == {}
