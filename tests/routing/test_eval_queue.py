"""Large eval files wait for a worker: progress, refusals, cancelling, a killed worker, and no file left behind."""

import io
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection

from audit.models import AuditEntry
from routing.importers import ReadOptions
from routing.models import EvalCase, EvalImport, EvalRun
from routing.operations import eval_queue
from routing.operations.classes import save_class
from routing.operations.eval_queue import (
    MAX_ATTEMPTS,
    EvalImportBusy,
    cancel_eval_import,
    run_eval_import,
    start_eval_import,
    sweep_eval_uploads,
    unfinished_eval_imports,
)
from routing.operations.evals import EvalImportResult, Said

pytestmark = pytest.mark.django_db(transaction=True)
AS_OF = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture(autouse=True)
def var(settings, tmp_path) -> Path:
    settings.COSTGOV_VAR = str(tmp_path)
    save_class(actor=None, slug="classify", facts={"title": "Classify"}, as_of=AS_OF)
    return tmp_path


def content(count: int = 60, passed: str = "true") -> bytes:
    rows = [f"triage,classify,T-{n},claude-haiku-4-5,2026-11-09T10:00:00Z,{passed}" for n in range(count)]
    return "\n".join(["suite,request_class,sample_id,model,run_at,passed", *rows, ""]).encode()


def start(data: bytes, queued: list[int] | None = None, said: Said | None = None) -> EvalImportResult:
    return start_eval_import(
        actor=None,
        upload=io.BytesIO(data),
        file_name="evals.csv",
        as_of=AS_OF,
        said=said or Said(),
        enqueue=(queued if queued is not None else []).append,
    )


def waiting(var: Path) -> list[Path]:
    return list((var / "incoming-evals").iterdir())


def test_a_queued_file_is_read_once_and_deleted(var):
    queued: list[int] = []
    told = start(content(), queued)
    assert (told.state, told.cases, queued) == ("queued", 0, [told.import_id])
    assert waiting(var)[0].stat().st_mode & 0o777 == 0o600
    again = start(content(), queued)
    assert again.is_repeat and again.state == "queued" and len(queued) == 1 and len(waiting(var)) == 1
    assert unfinished_eval_imports() == [told.import_id]
    assert run_eval_import(import_id=told.import_id, as_of=AS_OF) == "done"
    row = EvalImport.objects.get()
    assert (row.cases, row.progress_share, row.file_path, row.attempts) == (60, 1.0, "", 1)
    assert waiting(var) == [] and unfinished_eval_imports() == []
    assert run_eval_import(import_id=told.import_id, as_of=AS_OF) == "done", "safe to call again"
    assert EvalCase.objects.count() == 60 and AuditEntry.objects.filter(action="evals.imported").count() == 1


def test_what_was_said_is_kept_for_the_worker():
    data = b"sample_id,model,passed\nT-1,claude-haiku-4-5,true\n"
    options = ReadOptions(run_at=AS_OF - timedelta(days=1), suite="nightly@2", mode="thinking")
    told = start(data, said=Said(format_name="csv", options=options, suite_classes={"nightly": "classify"}))
    assert run_eval_import(import_id=told.import_id, as_of=AS_OF) == "done"
    case = EvalCase.objects.get()
    assert (case.run.suite, case.run.suite_version, case.mode) == ("nightly", "2", "thinking")
    assert case.run_at == AS_OF - timedelta(days=1)


def test_a_bad_file_fails_in_words_and_may_come_again(var):
    told = start(content(passed="perhaps"))
    assert run_eval_import(import_id=told.import_id, as_of=AS_OF) == "failed"
    row = EvalImport.objects.get()
    assert row.problem.startswith("evals.csv, line 2: passed = 'perhaps'") and waiting(var) == []
    assert EvalRun.objects.count() == EvalCase.objects.count() == 0
    assert not start(content(passed="perhaps")).is_repeat


def test_a_file_cancelled_while_it_waits_is_gone(var):
    told = start(content())
    assert cancel_eval_import(actor=None, import_id=told.import_id, as_of=AS_OF)
    assert not cancel_eval_import(actor=None, import_id=told.import_id, as_of=AS_OF)
    assert waiting(var) == [] and run_eval_import(import_id=told.import_id, as_of=AS_OF) == "cancelled"
    assert EvalCase.objects.count() == 0 and AuditEntry.objects.filter(action="evals.import_cancelled").count() == 1


def test_a_file_cancelled_while_it_is_read_leaves_nothing(var: Path) -> None:
    told = start(content(60_000))
    seen: list[tuple[float, str]] = []

    def cancel() -> None:
        try:
            for _ in range(2_000):
                row = EvalImport.objects.get(pk=told.import_id)
                if "results read" in row.progress_note:
                    seen.append((row.progress_share, row.progress_note))
                    cancel_eval_import(actor=None, import_id=told.import_id, as_of=AS_OF)
                    return
        finally:
            connection.close()

    thread = threading.Thread(target=cancel)
    thread.start()
    state = run_eval_import(import_id=told.import_id, as_of=AS_OF)
    thread.join()
    assert state == "cancelled" and EvalCase.objects.count() == 0 and EvalRun.objects.count() == 0
    assert waiting(var) == []
    assert 0.2 < seen[0][0] < 0.9 and seen[0][1].endswith("results read")


def test_a_killed_worker_leaves_its_import_to_the_next(var):
    """What a kill leaves: the state says running, the lease is free, nothing was saved, the file is there."""
    told = start(content())
    with eval_queue._lease(told.import_id):
        assert unfinished_eval_imports() == []
        with pytest.raises(EvalImportBusy):
            run_eval_import(import_id=told.import_id, as_of=AS_OF)
    EvalImport.objects.filter(pk=told.import_id).update(state="running", attempts=1)
    assert unfinished_eval_imports() == [told.import_id]
    assert run_eval_import(import_id=told.import_id, as_of=AS_OF) == "done"
    assert EvalImport.objects.get().attempts == 2


def test_a_file_that_kills_its_worker_each_time_is_given_up(var):
    told = start(content())
    EvalImport.objects.filter(pk=told.import_id).update(state="running", attempts=MAX_ATTEMPTS)
    assert run_eval_import(import_id=told.import_id, as_of=AS_OF) == "failed"
    assert "broke off 5 times" in EvalImport.objects.get().problem and waiting(var) == []


def test_files_nobody_waits_for_are_swept(var):
    start(content())
    (var / "incoming-evals" / "left").write_bytes(b"x")
    now = datetime.now(UTC)
    assert sweep_eval_uploads(as_of=now) == 0
    assert sweep_eval_uploads(as_of=now + timedelta(hours=7)) == 1 and len(waiting(var)) == 1


def test_a_refused_file_of_a_worker_lists_its_bad_rows(var):
    lines = content(30_000).decode().splitlines()
    for number in (10, 29_000):
        lines[number] = lines[number].replace("true", "perhaps")
    told = start("\n".join(lines).encode())
    assert run_eval_import(import_id=told.import_id, as_of=AS_OF) == "failed"
    row = EvalImport.objects.get()
    assert (row.rejected, [each["line"] for each in row.rejected_rows]) == (2, [11, 29_001])
    assert row.problem.splitlines()[1].startswith("evals.csv, line 29001: passed = 'perhaps'")
    assert EvalCase.objects.count() == 0 and waiting(var) == []
