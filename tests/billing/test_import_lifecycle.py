"""An import whose world changes while it runs: cancelled, taken over, without its database, without its file."""

import io
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection

from audit.models import AuditEntry, DataVersion
from billing.importers.base import ImportRefused
from billing.models import DailyUsage, Import, UsageRollup, UsageSource
from billing.operations import imports
from billing.operations.import_lease import held_lease, progress_watched_by
from billing.operations.import_run import Attempt
from billing.operations.imports import (
    MAX_ATTEMPTS,
    ImportBusy,
    cancel_import,
    import_file,
    run_import,
    start_import,
    sweep_leftovers,
    unfinished_imports,
)
from billing.store import ClassifyPeriod, ClassifyPlan, Engine, RequestStore
from costgov.tasks import requeue_unfinished_imports
from tests.billing.conftest import AS_OF
from tests.importers.usage.envelopes import envelope, write_lines

WRITTEN = (DailyUsage, UsageRollup, Import, UsageSource, AuditEntry, DataVersion)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def queued(count: int = 3) -> Import:
    """An upload that waits for a worker."""
    text = "".join(json.dumps(envelope(number)) + "\n" for number in range(count))
    outcome = start_import(
        actor=None, upload=io.BytesIO(text.encode()), file_name="log.jsonl", as_of=AS_OF, enqueue=lambda _: None
    )
    return Import.objects.get(pk=outcome.import_id)


def once_classifying(act: Callable[[], None]) -> ClassifyPlan:
    """A plan whose policy does something to the world when it is first asked: in the middle of an import."""
    asked: list[bool] = []

    def classify(facts: Mapping[str, Any]) -> tuple[str | None, str]:
        if not asked:
            asked.append(True)
            act()
        return "r1", "chat"

    return ClassifyPlan(frozenset({"chat"}), (ClassifyPeriod(EPOCH, None, ("model",), classify, 1),))


def elsewhere(act: Callable[[], object]) -> None:
    """In another thread, so on another database connection, to its end."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


@pytest.fixture
def committed(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """A database in which commits are real. Only what imports write is taken away: a flush would take the roles too."""
    with django_db_blocker.unblock():
        try:
            yield
        finally:
            connection.close()
            with connection.cursor() as cursor:
                cursor.execute(f"TRUNCATE {', '.join(model._meta.db_table for model in WRITTEN)} CASCADE")
            connection.close()


@pytest.fixture
def nothing_left(var: Path) -> Iterator[None]:
    """After the test: no row of usage, no file of requests, no temporary folder."""
    yield
    assert not DailyUsage.objects.exists()
    assert not UsageRollup.objects.exists()
    assert not UsageSource.objects.exists()
    assert not list(var.glob("requests/*/*.parquet"))
    assert not list((var / "tmp").glob("import-*"))


@pytest.mark.usefixtures("committed")
def test_a_running_import_can_be_cancelled(var: Path, nothing_left: None) -> None:
    row = queued()
    plan = once_classifying(
        lambda: elsewhere(lambda: cancel_import(actor=None, import_id=row.pk, as_of=AS_OF)),
    )
    outcome = run_import(import_id=row.pk, as_of=AS_OF, plan=plan)
    assert (outcome.state, outcome.message) == ("cancelled", "Not finished here: cancelled.")
    assert not Path(row.file_path).exists()
    assert cancel_import(actor=None, import_id=row.pk, as_of=AS_OF) is False


@pytest.mark.usefixtures("committed")
def test_an_import_that_saves_its_result_is_not_waited_for(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is locked for as long as a large bill takes to save: the page that cancels must not hang on it."""
    monkeypatch.setattr(imports, "_SAVING", "100ms")
    row = queued()
    cancelled: list[bool] = []

    real = Attempt.finish

    def finish(self: Attempt, *args: Any, **values: Any) -> Any:
        elsewhere(lambda: cancelled.append(cancel_import(actor=None, import_id=row.pk, as_of=AS_OF)))
        return real(self, *args, **values)

    monkeypatch.setattr(Attempt, "finish", finish)
    assert run_import(import_id=row.pk, as_of=AS_OF).state == "done"
    assert cancelled == [False]


@pytest.mark.usefixtures("committed")
def test_long_work_is_broken_off_when_cancelled(var: Path, nothing_left: None, monkeypatch: pytest.MonkeyPatch) -> None:
    row = queued()

    broken_off = threading.Event()
    real = Engine.interrupt

    def interrupt(self: Engine) -> None:
        real(self)
        broken_off.set()

    def cancel_and_go_on() -> None:
        elsewhere(lambda: cancel_import(actor=None, import_id=row.pk, as_of=AS_OF))
        assert broken_off.wait(60)  # the watcher looks twice a second; the work would go on for as long as it likes

    monkeypatch.setattr(Engine, "interrupt", interrupt)
    outcome = run_import(import_id=row.pk, as_of=AS_OF, plan=once_classifying(cancel_and_go_on))
    assert (outcome.state, broken_off.is_set()) == ("cancelled", True)


@pytest.mark.usefixtures("committed")
def test_an_attempt_that_was_taken_over_saves_nothing(var: Path, nothing_left: None) -> None:
    row = queued()
    later = {"attempts": 2, "state": "running"}
    plan = once_classifying(lambda: elsewhere(lambda: Import.objects.filter(pk=row.pk).update(**later)))
    outcome = run_import(import_id=row.pk, as_of=AS_OF, plan=plan)
    assert (outcome.state, outcome.message) == ("running", "Not finished here: taken over by a later attempt.")
    assert Path(row.file_path).exists()  # the later attempt reads it


@pytest.mark.usefixtures("committed")
def test_a_lost_database_keeps_the_file_for_the_next_attempt(var: Path) -> None:
    row = queued()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()

    def end_our_connection() -> None:
        def end() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s)", [pid])

        elsewhere(end)

    with pytest.raises((OperationalError, psycopg.OperationalError)):
        run_import(import_id=row.pk, as_of=AS_OF, plan=once_classifying(end_our_connection))
    connection.close()
    row.refresh_from_db()
    assert (row.state, row.attempts, Path(row.file_path).exists()) == ("running", 1, True)
    assert not DailyUsage.objects.exists()
    assert unfinished_imports() == [row.pk]

    outcome = run_import(import_id=row.pk, as_of=AS_OF)
    assert (outcome.state, outcome.accepted, Path(row.file_path).exists()) == ("done", 3, False)
    assert len(list(var.glob("requests/*/*.parquet"))) == 1


@pytest.mark.usefixtures("committed")
def test_an_internal_error_ends_the_import_with_a_word(var: Path, nothing_left: None) -> None:
    row = queued()

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(Exception, match="ZeroDivisionError"):
        run_import(import_id=row.pk, as_of=AS_OF, plan=once_classifying(fail))
    row.refresh_from_db()
    assert row.state == "failed"
    assert "stopped by an internal error" in row.error
    assert "then try again" in row.error


@pytest.mark.usefixtures("committed")
def test_a_command_that_is_stopped_with_ctrl_c_says_so(var: Path, nothing_left: None, tmp_path: Path) -> None:
    def stop(share: float, note: str) -> None:
        if note.startswith("Summing up"):
            signal.raise_signal(signal.SIGINT)

    path = write_lines(tmp_path / "log.jsonl", [envelope(1)])
    held = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests run in the background may ignore it
    try:
        with progress_watched_by(stop), pytest.raises(KeyboardInterrupt):
            import_file(actor=None, path=path, as_of=AS_OF)
    finally:
        signal.signal(signal.SIGINT, held)
    row = Import.objects.get()
    assert (row.state, row.error) == ("failed", "log.jsonl: stopped by Ctrl-C. Import the file again.")
    assert unfinished_imports() == [] and path.exists()


def test_ctrl_c_in_the_middle_of_a_query_is_ctrl_c(tmp_path: Path) -> None:
    """DuckDB makes a RuntimeError of it, which reads like a fault of ours."""
    held = signal.signal(signal.SIGINT, signal.default_int_handler)
    soon = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    try:
        with pytest.raises(KeyboardInterrupt), RequestStore(tmp_path, tmp_path).engine("test") as engine:
            engine.query("CREATE TABLE many AS SELECT range AS n FROM range(5_000_000)")
            soon.start()
            for _ in range(1_000):
                engine.query("SELECT max(md5(CAST(n AS VARCHAR))) FROM many")
    finally:
        soon.join()
        signal.signal(signal.SIGINT, held)


@pytest.mark.django_db
def test_what_killed_attempts_left_is_cleared_away(var: Path) -> None:
    row = queued()
    Import.objects.filter(pk=row.pk).update(state="running", attempts=1)
    stray = var / "requests" / "day=2026-11-09" / f"import-{row.pk}.g0-0.parquet"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"half a file")
    folder = var / "tmp" / f"import-{row.pk}-1"
    folder.mkdir(parents=True)
    (folder / "good.jsonl").write_text("{}")
    outcome = run_import(import_id=row.pk, as_of=AS_OF)
    assert (outcome.state, outcome.accepted) == ("done", 3)
    assert not stray.exists()
    assert not folder.exists()
    assert [row.requests for row in DailyUsage.objects.all()] == [3]
    again = queued(4)
    assert run_import(import_id=again.pk, as_of=AS_OF).duplicates == 3


@pytest.mark.django_db
def test_one_process_runs_an_import(var: Path) -> None:
    row = queued()
    assert unfinished_imports() == [row.pk]
    with held_lease(row.pk):
        with pytest.raises(ImportBusy):
            run_import(import_id=row.pk, as_of=AS_OF)
        assert unfinished_imports() == []
    assert run_import(import_id=row.pk, as_of=AS_OF).state == "done"
    assert run_import(import_id=row.pk, as_of=AS_OF).message == "Finished before; nothing was done."
    assert unfinished_imports() == []


@pytest.mark.django_db
def test_a_waiting_file_that_is_gone(var: Path, nothing_left: None) -> None:
    row = queued()
    Path(row.file_path).unlink()
    with pytest.raises(ImportRefused, match=r"log\.jsonl: the waiting file is gone; .* Import the file again"):
        run_import(import_id=row.pk, as_of=AS_OF)


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["usage", "costs"])
def test_a_command_that_was_killed_is_not_taken_up(
    var: Path, nothing_left: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Its file is nobody's to find again; least of all in the folder a worker happens to run in."""
    samples = Path(__file__).parents[1] / "importers" / "costs" / "samples"
    (tmp_path / "a.csv").write_bytes((samples / "focus_1_2_claude_constructed.csv").read_bytes())
    monkeypatch.chdir(tmp_path)
    row = Import.objects.create(
        kind=kind, file_name="log.jsonl", sha256="0" * 64, state="running", attempts=1, created_at=AS_OF
    )
    assert unfinished_imports() == [row.pk]
    with pytest.raises(ImportRefused, match="the command that imported it was ended in the middle"):
        run_import(import_id=row.pk, as_of=AS_OF)
    assert (unfinished_imports(), Import.objects.get().state) == ([], "failed")
    assert (tmp_path / "a.csv").exists()


@pytest.mark.django_db
def test_a_file_that_ends_its_worker_is_given_up(var: Path, nothing_left: None) -> None:
    row = queued()
    Import.objects.filter(pk=row.pk).update(state="running", attempts=MAX_ATTEMPTS)
    with pytest.raises(ImportRefused, match="broke off 5 times without an answer"):
        run_import(import_id=row.pk, as_of=AS_OF)
    assert not Path(row.file_path).exists()


@pytest.mark.django_db
def test_the_same_bytes_imported_meanwhile(var: Path, tmp_path: Path) -> None:
    row = queued()
    Import.objects.filter(pk=row.pk).update(state="done", file_path="")
    twin = Import.objects.create(
        file_name="twin.jsonl", file_path=row.file_path, sha256=row.sha256, state="queued", created_at=AS_OF
    )
    with pytest.raises(ImportRefused, match=rf"imported in the meantime as log\.jsonl \(import {row.pk}\)"):
        run_import(import_id=twin.pk, as_of=AS_OF)


@pytest.mark.django_db
def test_waiting_imports_are_queued_again_but_not_each_minute(var: Path) -> None:
    row = queued()
    assert requeue_unfinished_imports() == [row.pk]
    assert requeue_unfinished_imports() == []
    assert requeue_unfinished_imports(at_start=True) == [row.pk]


@pytest.mark.django_db
def test_uploads_nobody_waits_for_are_swept_away(var: Path) -> None:
    row = queued()
    incoming = var / "incoming"
    old, fresh = incoming / "old", incoming / "fresh"
    for path in (old, fresh):
        path.write_text("perhaps a prompt")
    half = var / "tmp" / "abc.upload.jsonl"
    killed = var / "tmp" / "import-77-1"
    killed.mkdir(parents=True)
    half.write_text("perhaps a prompt")
    day_ago = time.time() - 86_400
    for path in (old, half, killed, Path(row.file_path)):
        os.utime(path, (day_ago, day_ago))
    assert sweep_leftovers(as_of=datetime.now(UTC)) == 1
    assert sorted(incoming.iterdir()) == sorted([fresh, Path(row.file_path)])
    assert not half.exists()
    assert not killed.exists()
