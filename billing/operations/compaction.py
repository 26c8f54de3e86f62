"""Many small files of the request store become one a day, and what nobody reads is deleted.

A *pack* holds what several imports have on one day. Which rows of it count is a matter of the database: an import's day
is in files of its own or in a pack, never both (`PackedImport`), and only a commit changes which. So a pack is written
first and counts with the commit; the files it stands for are deleted after it. What is killed in between leaves files
nobody reads, which `sweep_store` deletes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Final

from django.db import DatabaseError, connection, transaction
from django.db.models import Count, F

from billing.models import Import, Organisation, PackedImport, StorePack
from billing.operations.import_lease import MERGE_LOCK
from billing.queries.imports import request_store, stored_imports
from billing.store import Engine, Pack, RequestStore, StoredImport

SETTLED_DAYS: Final = 2  # what is younger still gets files: it would be written again every day
PACK_ROWS: Final = 4_000_000
SMALL_ROWS: Final = PACK_ROWS // 2  # what has more rows of a day stays: a late row must not have it written again


@dataclass(frozen=True, slots=True)
class Compacted:
    """How many files became how many, on how many days."""

    days: int
    files_before: int
    files_after: int


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is joined as a whole: the files an import has on a day, or a pack with the imports that count in it."""

    names: tuple[str, ...]
    imports: tuple[StoredImport, ...]
    rows: int
    pack: Pack | None = None

    @property
    def has_gone(self) -> bool:
        """Rows are in it that no longer count."""
        return self.pack is not None and self.pack.imports > len(self.imports)


def compact_store(*, as_of: datetime, dry_run: bool = False) -> Compacted:
    """Write small files of a day as one, recompressed, whatever imports they are of.

    Days that are at least SETTLED_DAYS old, a day at a time, so that imports wait for one day at most. Safe while
    imports run, and when killed.
    """
    last = as_of.astimezone(UTC).date() - timedelta(days=SETTLED_DAYS)
    days = before = after = 0
    store = request_store()
    wanted = [day for day in _days_to_join(store) if day <= last]
    if not wanted:
        return Compacted(0, 0, 0)
    with store.engine("compact") as engine:
        for day in wanted:
            with merge_lock(), transaction.atomic():
                groups = _groups(store, engine, day)
                for group in () if dry_run else groups:
                    _join(store, engine, day, group)
            if groups:
                days, after = days + 1, after + len(groups)
                before += sum(len(unit.names) for group in groups for unit in group)
    return Compacted(days, before, after)


def _days_to_join(store: RequestStore) -> list[date]:
    """Days with several files, or with a pack of rows that no longer count. Without a lock: each is asked again."""
    counts: dict[str, int] = {}
    imports = stored_imports()
    for day, _, _ in store.items(imports):
        counts[day] = counts.get(day, 0) + 1
    for pack in {pack for item in imports for pack in item.packs}:
        counts[pack.day] = counts.get(pack.day, 0) + 1
    gone = StorePack.objects.alias(held=Count("members")).exclude(held=F("imports")).values_list("day", flat=True)
    kept_from = Organisation.objects.values_list("requests_kept_from", flat=True).first()
    found = {date.fromisoformat(day) for day, count in counts.items() if count > 1} | set(gone)
    return sorted(day for day in found if kept_from is None or day >= kept_from)


def _groups(store: RequestStore, engine: Engine, day: date) -> list[list[_Unit]]:
    """What is written as one file each."""
    groups: list[list[_Unit]] = []
    for unit in sorted(_units(store, engine, day), key=lambda unit: unit.rows):
        if unit.rows < SMALL_ROWS and groups and sum(one.rows for one in groups[-1]) + unit.rows <= PACK_ROWS:
            groups[-1].append(unit)
        else:
            groups.append([unit])
    return [group for group in groups if _is_worth_it(group)]


def _is_worth_it(group: Sequence[_Unit]) -> bool:
    if any(unit.has_gone for unit in group):
        return True
    return sum(len(unit.names) for unit in group) > 1 and group[-1].rows < SMALL_ROWS


def _units(store: RequestStore, engine: Engine, day: date) -> list[_Unit]:
    packs = {
        pk: Pack(pk, str(day), count) for pk, count in StorePack.objects.filter(day=day).values_list("pk", "imports")
    }
    present = store.import_ids(day)
    members = set(PackedImport.objects.filter(day=day).values_list("of_import_id", flat=True))
    imports = stored_imports(only=present | members)
    own: dict[StoredImport, list[str]] = {}
    for _, name, item in store.items(imports, [day]):
        own.setdefault(item, []).append(name)
    inside: dict[Pack, list[StoredImport]] = {pack: [] for pack in packs.values()}
    for item in imports:
        for pack in item.packs:
            if pack.day == str(day):
                inside[pack].append(item)
    rows = engine.rows_of_files(
        str(day), [*(name for names in own.values() for name in names), *(p.name for p in inside)]
    )
    units = [_Unit(tuple(names), (item,), sum(rows[name] for name in names)) for item, names in own.items()]
    return units + [_Unit((pack.name,), tuple(held), rows[pack.name], pack) for pack, held in inside.items()]


def _join(store: RequestStore, engine: Engine, day: date, units: Sequence[_Unit]) -> None:
    """Write units as one pack that stands for them; inside a transaction, under the merge lock."""
    imports = [item for unit in units for item in unit.imports]
    old = [unit.pack.number for unit in units if unit.pack is not None]
    if imports:
        row = StorePack.objects.create(day=day, imports=len(imports))  # its number is nobody's before or after
        engine.write_pack(Pack(row.pk, str(day), row.imports), imports)
        PackedImport.objects.filter(pack__in=old).update(pack=row)
        own = [item for unit in units if unit.pack is None for item in unit.imports]
        PackedImport.objects.bulk_create([PackedImport(pack=row, of_import_id=item.import_id, day=day) for item in own])
    StorePack.objects.filter(pk__in=old).delete()
    names = [(str(day), name) for unit in units for name in unit.names]
    transaction.on_commit(partial(store.place.delete, names))


def take_out(item: StoredImport, store: RequestStore, engine: Engine) -> None:
    """Write the packs of an import that counts no more without its rows; inside a transaction, under the merge lock."""
    for pack in item.packs:
        PackedImport.objects.filter(pack=pack.number, of_import=item.import_id).delete()
        others = PackedImport.objects.filter(pack=pack.number).values_list("of_import_id", flat=True)
        unit = _Unit((pack.name,), tuple(stored_imports(only=set(others))), 0, pack)
        _join(store, engine, date.fromisoformat(pack.day), [unit])


def set_generation(item: StoredImport) -> None:
    """From the commit on an import's files are those of this generation, and its rows in the packs it stays in."""
    row = Import.objects.select_for_update().get(pk=item.import_id)
    row.options = {**(row.options or {}), "generation": item.generation}
    row.save(update_fields=["options"])
    kept = [pack.number for pack in item.packs]
    PackedImport.objects.filter(of_import=row).exclude(pack__in=kept).delete()


def sweep_store() -> int:
    """Delete files that no finished or running import owns, and those of forgotten days: what a kill left behind."""
    with merge_lock(), transaction.atomic():
        current = {item: {pack.day for pack in item.packs} for item in stored_imports()}
        packs = set(StorePack.objects.values_list("pk", flat=True))
        unfinished = set(
            Import.objects.filter(state__in=[Import.State.QUEUED, Import.State.RUNNING]).values_list("pk", flat=True)
        )

        def keep(day: str, owner: StoredImport | int) -> bool:
            if isinstance(owner, int):
                return owner in packs
            return owner.import_id in unfinished or (owner in current and day not in current[owner])

        store = request_store()
        gone = store.place.remove_halves() + store.remove_others(keep)
        requests_from = Organisation.objects.values_list("requests_kept_from", flat=True).first()
        return gone + (forget_files(requests_from) if requests_from is not None else 0)


def forget_packs(before: date) -> None:
    """Packs of days before count no more; their files go with `forget_files`, after the commit."""
    StorePack.objects.filter(day__lt=before).delete()


def forget_files(before: date) -> int:
    """Delete every file of requests of days before; safe to call again, as the beat task does after a kill."""
    place = request_store().place
    gone = [(day, name) for day, name in place.listed() if date.fromisoformat(day) < before]
    place.delete(gone)
    return len(gone)


@contextmanager
def merge_lock() -> Iterator[None]:
    """No import saves meanwhile. Held by the session, so that it outlasts the commit and ends with the operation."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [MERGE_LOCK])
    try:
        yield
    finally:
        with suppress(DatabaseError), connection.cursor() as cursor:  # a lost connection has lost its locks too
            cursor.execute("SELECT pg_advisory_unlock(%s)", [MERGE_LOCK])
