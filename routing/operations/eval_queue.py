"""Large eval files: kept until a worker reads them, with progress; cancelled, or taken up again after a kill.

queued → running → done | failed | cancelled. A running import holds an advisory lock on a connection of its own, which
goes with its process; whoever looks for abandoned ones finds the lock free. The file is deleted when its import ends.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

import psycopg
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import InterfaceError, OperationalError, connection, transaction

from audit import operations as audit
from audit.roles import Right, require
from routing.core.eval_columns import parse_eval_columns
from routing.importers import EvalImportError, ReadOptions
from routing.importers.bad_rows import EvalRowsRefused
from routing.models import EvalImport
from routing.operations.evals import (
    NOT_DELETED,
    EvalImportResult,
    Said,
    entry_of,
    lock_imports,
    result_of,
    same_bytes,
    save_file,
    sha256_of,
)

IMMEDIATE_BYTES: Final = 8 << 20  # about 80,000 results of a CSV: two seconds of a request
MAX_ATTEMPTS: Final = 5  # a file that ends its worker each time must not do so for ever
LEFTOVER_SECONDS: Final = 6 * 3600
_RUN_LOCK: Final = 0x6576616D
_NOT_LIBPQ: Final = frozenset({"pool", "context", "cursor_factory", "prepare_threshold", "server_side_binding"})
_CALLED_OFF: Final = (EvalImport.State.CANCELLED, EvalImport.State.DELETED)
_GONE: Final = (OperationalError, InterfaceError, psycopg.OperationalError)


class EvalImportBusy(Exception):
    """Another process is reading this file."""


class _Stopped(Exception):
    """Cancelled, or taken over by a later attempt."""


def start_eval_import(
    *,
    actor: AbstractBaseUser | None,
    upload: IO[bytes],
    file_name: str,
    as_of: datetime,
    said: Said,
    enqueue: Callable[[int], None],
) -> EvalImportResult:
    """Keep an upload and queue its import; `enqueue(import id)` is called after the commit.

    The same bytes imported, queued or running give that import back. Raises Forbidden, EvalImportError when the file
    cannot be kept.
    """
    require(actor, Right.IMPORT_EVALS)
    path = _keep(upload, file_name)
    kept = False
    try:
        digest = sha256_of(path)
        with transaction.atomic():
            lock_imports()
            earlier = same_bytes(digest)
            if earlier is not None and earlier.state != EvalImport.State.DELETED:
                return result_of(earlier, file_name=file_name, is_repeat=True)
            row = entry_of(earlier, digest, file_name=file_name, path=path, actor=actor, as_of=as_of)
            row.file_path, row.state, row.options = str(path), EvalImport.State.QUEUED, _document(said)
            row.progress_share, row.progress_note = 0.0, "Waiting for a worker"
            row.started_at = row.finished_at = None
            row.save()
            transaction.on_commit(lambda: enqueue(row.pk))
        kept = True
        return result_of(row, file_name=file_name)
    finally:
        if not kept:
            path.unlink(missing_ok=True)


def run_eval_import(*, import_id: int, as_of: datetime) -> str:
    """Carry out a queued import; safe to call again. Returns its state. Raises EvalImportBusy.

    When the database goes away nothing is written down and the file stays: the import is queued again.
    """
    with _lease(import_id) as side:
        row = EvalImport.objects.select_related("imported_by").filter(pk=import_id).first()
        if row is None or row.is_finished:
            return row.state if row is not None else "gone"
        row.attempts += 1
        started = EvalImport.objects.filter(pk=row.pk, state=row.state).update(
            state=EvalImport.State.RUNNING, attempts=row.attempts, started_at=as_of, progress_share=0.01
        )
        if not started:
            return "cancelled"
        path = Path(row.file_path)
        try:
            if row.attempts > MAX_ATTEMPTS:
                raise EvalImportError(
                    f"broke off {MAX_ATTEMPTS} times without an answer, as when its worker runs out of memory",
                    remedy="See the worker's log, or split the file",
                    file=row.file_name,
                )
            if not row.file_path or not path.is_file():
                raise EvalImportError(
                    "the waiting file is gone; nothing of it was imported", remedy="Import it again", file=row.file_name
                )
            progress = _Progress(side, row, path)
            with transaction.atomic():
                lock_imports()
                said = _said(row.options)
                save_file(row, actor=row.imported_by, path=path, said=said, as_of=as_of, progress=progress)
                _end(row, EvalImport.State.DONE, as_of)
        except _Stopped:
            state: str = EvalImport.objects.values_list("state", flat=True).get(pk=row.pk)
            if state in _CALLED_OFF:  # else a later attempt reads it
                path.unlink(missing_ok=True)
            return state
        except EvalImportError as refusal:
            _end(row, EvalImport.State.FAILED, as_of, problem=str(refusal), bad=refusal)
        except _GONE:
            raise
        except Exception as error:
            problem = f"Stopped by an internal error ({type(error).__name__}). See the worker's log, then try again."
            _end(row, EvalImport.State.FAILED, as_of, problem=problem)
            path.unlink(missing_ok=True)
            raise
        path.unlink(missing_ok=True)
        return EvalImport.objects.values_list("state", flat=True).get(pk=row.pk)


def cancel_eval_import(*, actor: AbstractBaseUser | None, import_id: int, as_of: datetime) -> bool:
    """Cancel an import that waits or runs; nothing of it is kept. False when it has ended. Raises Forbidden."""
    require(actor, Right.IMPORT_EVALS)
    with transaction.atomic():
        row = EvalImport.objects.select_for_update().filter(pk=import_id).first()
        if row is None or row.is_finished:
            return False
        waiting = row.file_path
        _end(row, EvalImport.State.CANCELLED, as_of)
        audit.record(
            actor=actor,
            action="evals.import_cancelled",
            object_type="eval_import",
            object_id=row.pk,
            object_label=row.file_name,
            as_of=as_of,
        )
    if import_id not in _leased():  # a worker that reads it finds out with its next batch, and the file may go
        Path(waiting).unlink(missing_ok=True)
    return True


def unfinished_eval_imports() -> list[int]:
    """Queued or running imports nobody works on: their lease is free."""
    waiting = EvalImport.objects.filter(state__in=[EvalImport.State.QUEUED, EvalImport.State.RUNNING])
    ids = list(waiting.order_by("pk").values_list("pk", flat=True))
    held = _leased() if ids else set()
    return [pk for pk in ids if pk not in held]


def sweep_eval_uploads(*, as_of: datetime) -> int:
    """Delete kept files no import waits for: their process was killed at a bad moment. Returns how many."""
    waiting = EvalImport.objects.filter(state__in=[EvalImport.State.QUEUED, EvalImport.State.RUNNING])
    wanted = set(waiting.values_list("file_path", flat=True))
    found = 0
    for path in _folder().iterdir():
        if str(path) not in wanted and as_of.timestamp() - path.stat().st_mtime > LEFTOVER_SECONDS:
            path.unlink(missing_ok=True)
            found += 1
    return found


class _Progress:
    """Tells how far a file is, where others see it at once. Raises _Stopped once it is no longer ours to read."""

    def __init__(self, side: psycopg.Connection[Any], row: EvalImport, path: Path) -> None:
        self.side, self.row = side, row
        self.expected = _lines(path)

    def __call__(self, results: int) -> None:
        share = min(0.9, 0.9 * results / self.expected) if self.expected else 0.5
        done = self.side.execute(
            "UPDATE routing_evalimport SET progress_share = %s, progress_note = %s "
            "WHERE id = %s AND state = 'running' AND attempts = %s",
            [share, f"{results:,} results read", self.row.pk, self.row.attempts],
        )
        if not done.rowcount:
            raise _Stopped


def _lines(path: Path) -> int:
    """How many lines a file of text has, 0 where it is packed or one document: then nobody knows how far it is."""
    with path.open("rb") as file:
        if file.read(2) in {b"\x1f\x8b", b"PK"}:
            return 0
        count = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    return count if count > 1_000 else 0


def _end(
    row: EvalImport, state: str, as_of: datetime, *, problem: str = "", bad: EvalImportError | None = None
) -> None:
    if row.deleted_at is not None and state != EvalImport.State.DONE:
        state = EvalImport.State.DELETED  # importing it anew came to nothing: it is deleted as before
    still = EvalImport.objects.filter(pk=row.pk).exclude(state__in=_CALLED_OFF)
    changed = still.update(
        state=state,
        finished_at=as_of,
        file_path="",
        problem=problem,
        progress_share=1.0 if state == EvalImport.State.DONE else 0.0,
        progress_note="",
        **(NOT_DELETED if state == EvalImport.State.DONE else {}),
    )
    if changed and isinstance(bad, EvalRowsRefused):
        kept = [each.as_document() for each in bad.rows]
        EvalImport.objects.filter(pk=row.pk).update(rejected=bad.count, rejected_rows=kept)
    if not changed and state == EvalImport.State.DONE:
        raise _Stopped  # cancelled while it saved: the transaction takes it all back


@contextmanager
def _lease(import_id: int) -> Iterator[psycopg.Connection[Any]]:
    parameters = {key: value for key, value in connection.get_connection_params().items() if key not in _NOT_LIBPQ}
    with psycopg.connect(**parameters | {"autocommit": True, "application_name": "costgov-evals"}) as side:
        row = side.execute("SELECT pg_try_advisory_lock(%s, %s)", [_RUN_LOCK, import_id]).fetchone()
        if row is None or not row[0]:
            raise EvalImportBusy(f"import {import_id} is running in another process")
        yield side


def _leased() -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT objid::int8 FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2 "
            "AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [_RUN_LOCK],
        )
        return {row[0] for row in cursor.fetchall()}


def _folder() -> Path:
    """Where files wait; only we may look inside: they may hold prompts and answers."""
    folder = Path(settings.COSTGOV_VAR) / "incoming-evals"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _keep(upload: IO[bytes], file_name: str) -> Path:
    path = _folder() / f"{time.time_ns():x}-{os.urandom(4).hex()}"
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            while chunk := upload.read(1 << 20):
                out.write(chunk)
    except OSError as error:
        path.unlink(missing_ok=True)
        remedy = "Make room on the server's disk and upload it again"
        raise EvalImportError(f"could not be kept ({error.strerror})", remedy=remedy, file=file_name) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _document(said: Said) -> dict[str, Any]:
    options = asdict(replace(said.options, columns=None))
    options["run_at"] = said.options.run_at.isoformat() if said.options.run_at is not None else None
    options["columns"] = said.options.columns.as_document() if said.options.columns is not None else None
    return {
        "format_name": said.format_name,
        "options": options,
        "suite_classes": dict(said.suite_classes or {}),
        "create_classes": said.create_classes,
        "good_rows": said.good_rows,
    }


def _said(document: dict[str, Any]) -> Said:
    options = dict(document["options"])
    options["run_at"] = datetime.fromisoformat(options["run_at"]) if options["run_at"] else None
    options["columns"] = parse_eval_columns(options["columns"]) if options["columns"] else None
    return Said(**{**document, "options": ReadOptions(**options)})
