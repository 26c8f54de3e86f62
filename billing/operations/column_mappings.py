"""Column mappings: kept for the next table with the same header, changed, deleted; tables that wait for one."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.core.column_mapping import ColumnMapping, Contradiction, MappingError, contradictions, parse_mapping
from billing.models import ColumnMapping as KeptRow
from billing.models import Import
from billing.queries.column_mappings import TO_MAP, check_table, mapping_by_name, version_of

WAIT: Final = timedelta(hours=24)


class MappingRefused(MappingError):
    """A mapping that contradicts itself or its table; `reasons` name each place."""

    def __init__(self, reasons: tuple[Contradiction, ...]) -> None:
        self.reasons = reasons
        super().__init__(" ".join(str(item) for item in reasons))


class NotWaiting(LookupError):
    """The table was described, discarded or deleted meanwhile."""


class MappingChanged(MappingRefused):
    """Somebody else kept another mapping for these columns, or deleted it, since it was looked at."""


def save_mapping(
    *, actor: AbstractBaseUser | None, mapping: ColumnMapping, as_of: datetime, seen: str | None = None
) -> KeptRow:
    """Keep a mapping for its header, in place of an earlier one. The same again changes nothing.

    `seen`: version of what was kept when the change was begun ('' = nothing), None to replace whatever is kept.
    Raises MappingRefused, MappingChanged, Forbidden.
    """
    require(actor, Right.IMPORT_USAGE)
    wrong = contradictions(mapping)
    if wrong:
        raise MappingRefused(wrong)
    with transaction.atomic():
        return _save(actor, mapping, as_of, seen)


def named_mapping(name: str, *, as_of: datetime) -> ColumnMapping | None:
    """The mapping a command names: a JSON document, which is kept, or a kept one's name; None for ''.

    Raises MappingError.
    """
    if not name:
        return None
    if not name.endswith(".json"):
        found = mapping_by_name(name)
        if found is None:
            raise MappingError(
                f"no column mapping is called {name!r}, or several are; manage.py column_mapping lists them"
            )
        return found
    try:
        document = json.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise MappingError(f"{name} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise MappingError(f"{name} is not JSON ({error})") from error
    mapping = parse_mapping(document)
    save_mapping(actor=None, mapping=mapping, as_of=as_of)
    return mapping


def describe_table(
    *,
    actor: AbstractBaseUser | None,
    import_id: int,
    mapping: ColumnMapping,
    as_of: datetime,
    enqueue: Callable[[int], None],
    seen: str | None = None,
) -> KeptRow:
    """Keep the mapping and queue the waiting table's import with it; `seen` as for `save_mapping`.

    Raises MappingRefused, MappingChanged, NotWaiting, Forbidden.
    """
    require(actor, Right.IMPORT_USAGE)
    checked = check_table(import_id=import_id, mapping=mapping, as_of=as_of)
    if checked.contradictions:
        raise MappingRefused(checked.contradictions)
    with transaction.atomic():
        row = _waiting_locked(import_id)
        if row is None:
            raise NotWaiting("The table does not wait any more: upload it again.")
        row.kind = "usage"
        row.options = {**(row.options or {}), "mapping": mapping.as_document(), "mapping_hash": mapping.header_hash}
        row.progress_note = "Waiting for a worker"
        row.save(update_fields=["kind", "options", "progress_note"])
        kept = _save(actor, mapping, as_of, seen)
        transaction.on_commit(lambda: enqueue(import_id))
    return kept


def delete_mapping(*, actor: AbstractBaseUser | None, mapping_id: int, as_of: datetime) -> str:
    """Forget a mapping; what was imported with it stays as it is. Returns its name.

    Raises ColumnMapping.DoesNotExist, Forbidden.
    """
    require(actor, Right.IMPORT_USAGE)
    with transaction.atomic():
        row = KeptRow.objects.select_for_update().get(pk=mapping_id)
        name, document = row.name, row.document
        row.delete()
        audit.record(
            actor=actor,
            action="column_mapping.deleted",
            object_type="column_mapping",
            object_id=mapping_id,
            object_label=name,
            as_of=as_of,
            before=document,
        )
    return name


def discard_table(*, actor: AbstractBaseUser | None, import_id: int, as_of: datetime) -> None:
    """Delete a waiting table, never imported. Raises NotWaiting, Forbidden."""
    require(actor, Right.IMPORT_USAGE)
    with transaction.atomic():
        row = _waiting_locked(import_id)
        if row is None:
            raise NotWaiting("The table does not wait any more.")
        path = _end(row, as_of, "Discarded")
        audit.record(
            actor=actor,
            action="usage.import_cancelled",
            object_type="import",
            object_id=import_id,
            object_label=row.file_name,
            as_of=as_of,
        )
    path.unlink(missing_ok=True)


def expire_waiting_tables(*, as_of: datetime) -> int:
    """Delete tables that nobody described within a day: they may hold prompts. Returns how many.

    The time of the file counts, which no frozen clock moves: in a demo of last week its tables are not a week old.
    """
    rows = Import.objects.filter(kind=TO_MAP, state=Import.State.QUEUED).values_list("pk", "file_path")
    limit = (as_of - WAIT).timestamp()
    ended = 0
    for import_id in [pk for pk, path in rows if _written(Path(path)) < limit]:
        with transaction.atomic():
            row = _waiting_locked(import_id)  # described in this moment: it waits no more
            path = _end(row, as_of, "Nobody said what the columns are") if row is not None else None
        if path is not None:
            path.unlink(missing_ok=True)
            ended += 1
    return ended


def _written(path: Path) -> float:
    """When a file was written (Unix time); 0 where it is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _waiting_locked(import_id: int) -> Import | None:
    """A waiting table, until the transaction ends nobody else's to describe, discard or expire."""
    waiting = Import.objects.select_for_update().filter(kind=TO_MAP, state=Import.State.QUEUED, pk=import_id)
    return waiting.first()


def _end(row: Import, as_of: datetime, note: str) -> Path:
    path = Path(row.file_path)
    row.state, row.finished_at, row.file_path, row.progress_note = Import.State.CANCELLED, as_of, "", note
    row.save(update_fields=["state", "finished_at", "file_path", "progress_note"])
    return path


def _save(actor: AbstractBaseUser | None, mapping: ColumnMapping, as_of: datetime, seen: str | None) -> KeptRow:
    document: dict[str, Any] = mapping.as_document()
    with connection.cursor() as cursor:  # two first mappings of one header: the second waits and then sees the first
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [int(mapping.header_hash[:15], 16)])
    held = KeptRow.objects.select_for_update().filter(header_hash=mapping.header_hash).first()
    if held is not None and held.document == document:
        return held
    before = held.document if held is not None else None
    if seen is not None and seen != version_of(before):
        what = (
            f"Meanwhile another mapping was kept for these columns, “{held.name}”, and this one would replace it"
            if held is not None
            else "Meanwhile the mapping was deleted"
        )
        raise MappingChanged((Contradiction("", what, "Compare the two; press the button again to have this one"),))
    row = held or KeptRow(header_hash=mapping.header_hash, created_by_id=actor.pk if actor is not None else None)
    row.name, row.header, row.document, row.updated_at = mapping.name, list(mapping.header), document, as_of
    row.save()
    audit.record(
        actor=actor,
        action="column_mapping.saved",
        object_type="column_mapping",
        object_id=row.pk,
        object_label=row.name,
        as_of=as_of,
        before=before,
        after=document,
    )
    return row
