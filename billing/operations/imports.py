"""Imports of usage and of costs: queue one, carry it out, cancel it, find those that nobody works on any more.

queued → running → done | failed | cancelled. One attempt is in `import_run` (usage) or `cost_imports` (costs), what
holds it in `import_lease`. A file is of one kind; an upload finds it out.
"""

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

import psycopg
from django.contrib.auth.models import AbstractBaseUser
from django.db import InterfaceError, OperationalError, connection, transaction

from audit import operations as audit
from audit.roles import Right, may, require
from billing.importers.base import ImportRefused
from billing.importers.formats import identify_any, kind_of_format
from billing.importers.records import SWITCHES
from billing.models import Import
from billing.operations.column_mappings import expire_waiting_tables
from billing.operations.cost_deliveries import parts_of
from billing.operations.cost_imports import CostAttempt, still_stands
from billing.operations.file_states import FileState, state_of
from billing.operations.import_failures import refusal_of_machine
from billing.operations.import_lease import ImportBusy, ImportStopped, Lease, held_lease, leased_imports
from billing.operations.import_outcome import ImportOptions, ImportOutcome, outcome_of
from billing.operations.import_run import Attempt
from billing.operations.source_settings import READ_WITH, is_read_alike
from billing.queries.column_mappings import TO_MAP, is_mapped_table, is_unknown_table
from billing.queries.imports import incoming_folder, request_store
from billing.store import NO_PLAN, ClassifyPlan

__all__ = [
    "MAX_ATTEMPTS",
    "ImportBusy",
    "ImportOptions",
    "ImportOutcome",
    "cancel_import",
    "import_file",
    "run_import",
    "start_import",
    "sweep_leftovers",
    "unfinished_imports",
]
MAX_ATTEMPTS: Final = 5  # a file that ends its worker each time must not do so for ever
LEFTOVER_HOURS: Final = 6
_SAVING: Final = "3s"  # how long a cancellation waits for an import that saves its result
USAGE: Final = "usage"
COSTS: Final = "costs"
_RIGHTS: Final = {USAGE: Right.IMPORT_USAGE, COSTS: Right.IMPORT_COSTS, TO_MAP: Right.IMPORT_USAGE}
_ATTEMPTS: Final[dict[str, type[Attempt]]] = {USAGE: Attempt, COSTS: CostAttempt}
_ASK: Final = (
    "A table no known format claims: say what its columns are at /imports/{}/columns/. It waits for a day, then it is "
    "deleted."
)
_DATABASE_GONE: Final = (OperationalError, InterfaceError, psycopg.OperationalError)


def start_import(
    *,
    actor: AbstractBaseUser | None,
    upload: IO[bytes],
    file_name: str,
    as_of: datetime,
    options: ImportOptions | None = None,
    enqueue: Callable[[int], None],
) -> ImportOutcome:
    """Save an uploaded file and queue its import; `enqueue(import id)` is called after the commit.

    The same bytes imported, queued or running already give that import back and start nothing. Raises Forbidden,
    ImportRefused when the file cannot be saved.
    """
    if actor is not None and not may(actor, Right.IMPORT_COSTS):
        require(actor, Right.IMPORT_USAGE)
    path, digest, size = _save_upload(upload, file_name)
    kept = False
    try:
        chosen = options or ImportOptions()
        kind = _kind_of(path, file_name, chosen)
        require(actor, _RIGHTS[kind])
        with transaction.atomic():
            _lock_bytes(digest)
            held = _same_bytes(digest, chosen, unfinished=True)
            if held is not None:
                return _repeat(held, file_name, chosen)
            row = _create(
                actor, file_name, digest, size, as_of, chosen, kind=kind, path=path, state=Import.State.QUEUED
            )
            if kind != TO_MAP:
                transaction.on_commit(lambda: enqueue(row.pk))
        kept = True
        return outcome_of(row, message="Queued." if kind != TO_MAP else _ASK.format(row.pk))
    finally:
        if not kept:
            path.unlink(missing_ok=True)


def import_file(
    *,
    actor: AbstractBaseUser | None,
    path: Path,
    as_of: datetime,
    options: ImportOptions | None = None,
    plan: ClassifyPlan = NO_PLAN,
    file_name: str = "",
    is_demo: bool = False,
    kind: str = USAGE,
) -> ImportOutcome:
    """Import a file now; the file stays where it is. Raises ImportRefused (only the refusal is saved), Forbidden.

    Of costs, a directory is one delivery: the parts of one bill.
    """
    require(actor, _RIGHTS[kind])
    name = file_name or path.name
    if not path.is_file() and not (kind == COSTS and path.is_dir()):
        raise ImportRefused.because(name, "there is no such file", "Check the path")
    read_from = state_of(path)
    digest, size = digest_of(path)
    with ExitStack() as stack:
        with transaction.atomic():
            _lock_bytes(digest)
            held = _same_bytes(digest, options or ImportOptions(), unfinished=False)
            if held is not None:
                return _repeat(held, name, options or ImportOptions())
            row = _create(
                actor,
                name,
                digest,
                size,
                as_of,
                options or ImportOptions(),
                kind=kind,
                path=None,
                state=Import.State.RUNNING,
            )
            # Before others see the row: a worker that looks for abandoned imports must find this one held.
            lease = stack.enter_context(held_lease(row.pk))
        return _run(lease, as_of=as_of, plan=plan, path=path, is_demo=is_demo, read_from=read_from)


def run_import(*, import_id: int, as_of: datetime, plan: ClassifyPlan = NO_PLAN) -> ImportOutcome:
    """Carry out a queued import; safe to call again. Raises ImportBusy (it is running), ImportRefused.

    When the database goes away in the middle nothing is written down and the file stays: the import is queued again.
    """
    with held_lease(import_id) as lease:
        return _run(lease, as_of=as_of, plan=plan)


def _run(
    lease: Lease,
    *,
    as_of: datetime,
    plan: ClassifyPlan,
    path: Path | None = None,
    is_demo: bool = False,
    read_from: FileState | None = None,
) -> ImportOutcome:
    row = Import.objects.select_related("source", "created_by").get(pk=lease.import_id)
    if row.is_finished:
        return outcome_of(row, message="Finished before; nothing was done.")
    waiting = row.file_path
    # Only while nobody has cancelled it since it was read.
    lease.attempt = row.attempts = row.attempts + 1
    row.started_at = as_of
    Import.objects.filter(pk=row.pk, state=row.state).update(
        state=Import.State.RUNNING, started_at=as_of, attempts=row.attempts, progress_share=0.01, error=""
    )
    options = ImportOptions.of(row.options)
    # No path at all: the command line began it, and its process was ended. An empty Path would be the folder we run in.
    where = path or (Path(row.file_path) if row.file_path else incoming_folder() / "nowhere")
    attempt = _ATTEMPTS[row.kind](row, options, where, as_of, plan, lease, is_demo)
    attempt.read_from = read_from
    try:
        lease.progress(0.01, "Starting")
        _check_startable(attempt)
        _check_kind(attempt)
        outcome = attempt.carry_out()
    except ImportStopped as stopped:
        if not stopped.is_lost:
            _forget(waiting)
        row.refresh_from_db()
        return outcome_of(row, message=f"Not finished here: {stopped}.")
    except ImportRefused as refusal:
        attempt.refuse(refusal)
        _forget(waiting)
        raise
    except KeyboardInterrupt:
        attempt.refuse(ImportRefused.because(row.file_name, "stopped by Ctrl-C", "Import the file again"))
        raise
    except Exception as error:
        found = refusal_of_machine(error, row.file_name)
        if found is None and isinstance(error, _DATABASE_GONE):
            raise
        # The page must show an end; the task's own error, with its trace, goes to the log.
        attempt.refuse(
            found
            or ImportRefused.because(
                row.file_name,
                f"stopped by an internal error ({type(error).__name__})",
                "See the worker's log, then try again",
            )
        )
        _forget(waiting)
        if found is not None:
            raise found from error
        raise
    _forget(waiting)
    return outcome


def _forget(file_path: str) -> None:
    """Delete an uploaded file: it may hold prompts. A file named on the command line is nobody's to delete."""
    if file_path:
        Path(file_path).unlink(missing_ok=True)


def _check_startable(attempt: Attempt) -> None:
    row = attempt.row
    if row.attempts > MAX_ATTEMPTS:
        raise ImportRefused.because(
            row.file_name,
            f"broke off {MAX_ATTEMPTS} times without an answer, as when its worker runs out of memory",
            "See the worker's log, or split the file and import its parts",
        )
    if not attempt.path.exists():
        gone = "the waiting file is gone" if row.file_path else "the command that imported it was ended in the middle"
        raise ImportRefused.because(row.file_name, f"{gone}; nothing of it was imported", "Import the file again")


def _kind_of(path: Path, file_name: str, options: ImportOptions) -> str:
    """Usage, costs, or a table somebody has to describe. What else nobody recognises is refused by its import."""
    if not options.format and not options.mapping and is_unknown_table(path, file_name):
        return TO_MAP
    try:
        return kind_of_format(identify_any(path, file_name=file_name, format_name=options.format))
    except ImportRefused:
        return USAGE


def _check_kind(attempt: Attempt) -> None:
    """Raise ImportRefused for a file of the other kind, or one no format of either kind claims."""
    row = attempt.row
    parts = parts_of(attempt.path)
    if not parts:
        raise ImportRefused.because(row.file_name, "the directory holds no files", "Check the path")
    if row.kind == COSTS and len(parts) > 1:
        return  # each part is looked at by the attempt
    if row.kind == USAGE and is_mapped_table(
        parts[0], row.file_name, format_name=attempt.options.format, mapping=attempt.options.mapping
    ):
        return
    fmt = identify_any(parts[0], file_name=row.file_name, format_name=attempt.options.format)
    kind = kind_of_format(fmt)
    if kind != row.kind:
        command = "import_costs" if kind == COSTS else "import_usage"
        held = "costs, not usage" if kind == COSTS else "usage, not costs"
        raise ImportRefused.because(
            row.file_name, f"this holds {held}: {fmt.title}", f"Import it with manage.py {command}, or on the page"
        )


def unfinished_imports() -> list[int]:
    """Queued or running imports that nobody works on: their lease is free."""
    ids = (
        Import.objects.filter(state__in=[Import.State.QUEUED, Import.State.RUNNING])
        .exclude(kind=TO_MAP)
        .order_by("pk")
        .values_list("pk", flat=True)
    )
    waiting = list(ids)
    held = leased_imports()
    return [pk for pk in waiting if pk not in held]


def sweep_leftovers(*, as_of: datetime) -> int:
    """Delete uploaded files that no import waits for: their process was killed at a bad moment. Returns how many.

    Tables whose columns nobody described within a day go too.
    """
    expire_waiting_tables(as_of=as_of)
    wanted = set(
        Import.objects.filter(state__in=[Import.State.QUEUED, Import.State.RUNNING]).values_list("file_path", flat=True)
    )
    old = as_of.timestamp() - LEFTOVER_HOURS * 3600  # an upload is on disk before its import is in the database
    leftovers = [path for path in incoming_folder().iterdir() if str(path) not in wanted and path.stat().st_mtime < old]
    for path in leftovers:
        path.unlink(missing_ok=True)
    request_store().remove_temporary(before=old)
    return len(leftovers)


def cancel_import(*, actor: AbstractBaseUser | None, import_id: int, as_of: datetime) -> bool:
    """Cancel an import that waits or runs; a running one stops within a second, and nothing of it is kept.

    False when it has ended, or is saving its result, which is then as good as there.
    Raises Forbidden, Import.DoesNotExist.
    """
    if actor is not None and not may(actor, Right.IMPORT_COSTS):
        require(actor, Right.IMPORT_USAGE)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [_SAVING])
        try:
            # Its row is locked while an import saves its result. A large bill takes a minute: nobody waits that long.
            row = Import.objects.select_for_update().get(pk=import_id)
        except OperationalError as error:
            if not isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
                raise
            transaction.set_rollback(True)
            return False
        require(actor, _RIGHTS[row.kind])
        if row.is_finished:
            return False
        waiting = row.file_path if import_id not in leased_imports() else ""  # a worker deletes what it is reading
        row.state, row.finished_at, row.file_path, row.progress_note = Import.State.CANCELLED, as_of, "", "Cancelled"
        row.save(update_fields=["state", "finished_at", "file_path", "progress_note"])
        audit.record(
            actor=actor,
            action=f"{row.kind}.import_cancelled",
            object_type="import",
            object_id=row.pk,
            object_label=row.file_name,
            as_of=as_of,
        )
    _forget(waiting)
    return True


def _create(
    actor: AbstractBaseUser | None,
    file_name: str,
    digest: str,
    size: int,
    as_of: datetime,
    options: ImportOptions,
    *,
    kind: str,
    path: Path | None,
    state: str,
) -> Import:
    return Import.objects.create(
        kind=kind,
        file_name=file_name[:255],
        file_path=str(path) if path is not None else "",
        size_bytes=size,
        sha256=digest,
        options=options.as_dict(),
        state=state,
        progress_note="Waiting for a worker" if state == Import.State.QUEUED else "",
        created_by_id=actor.pk if actor is not None else None,
        created_at=as_of,
    )


def _same_bytes(digest: str, options: ImportOptions, *, unfinished: bool) -> Import | None:
    states = [Import.State.DONE, *([Import.State.QUEUED, Import.State.RUNNING] if unfinished else [])]
    found = (
        Import.objects.filter(sha256=digest, state__in=states, superseded_by=None)
        .select_related("source")
        .order_by("pk")
    )
    # Bytes that were read another way than their source says today may be imported again.
    alike = (row for row in found if not row.is_finished or (is_read_alike(row) and still_stands(row, options)))
    return next(alike, None)


def _lock_bytes(digest: str) -> None:
    """A double click: the second waits here and then finds the first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [int(digest[:15], 16)])


def _repeat(row: Import, file_name: str, options: ImportOptions) -> ImportOutcome:
    """The same bytes again. Raises ImportRefused where another answer about the file is given than it was read with."""
    read_with = (row.options or {}).get(READ_WITH) or {}
    for switch in SWITCHES:
        said, held = options.answers.get(switch.name, ""), str(read_with.get(switch.name, ""))
        if switch.is_of_file and said and held and said != held:
            raise ImportRefused.because(
                file_name,
                f"the same bytes are import {row.pk}, read with {held}; requests that are known keep their time",
                f"Delete import {row.pk} (on its page, or manage.py delete_import {row.pk} --yes), "
                "then import the file with the right answer",
                field=switch.name,
                value=said,
            )
    when = f"{row.created_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    done = f"The same bytes were imported before as {row.file_name} (import {row.pk}, {when}); nothing changed."
    waits = f"The same bytes are being imported already as {row.file_name} (import {row.pk})."
    return outcome_of(row, file_name=file_name, is_repeat=True, message=done if row.is_finished else waits)


def _save_upload(upload: IO[bytes], file_name: str) -> tuple[Path, str, int]:
    """Copy an upload piece by piece into a file only we can read. Raises ImportRefused when the disk is full."""
    path = incoming_folder() / f"{time.time_ns():x}-{os.urandom(4).hex()}"
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as out:
            while chunk := upload.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
                out.write(chunk)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ImportRefused.because(
            file_name, f"could not be saved ({error.strerror})", "Make room on the server's disk and upload it again"
        ) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path, digest.hexdigest(), size


def digest_of(path: Path) -> tuple[str, int]:
    if path.is_dir():
        digests = sorted(digest_of(part) for part in parts_of(path))
        joined = "".join(digest for digest, _ in digests)
        return hashlib.sha256(joined.encode()).hexdigest(), sum(size for _, size in digests)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
