"""Class labels again: stored requests under a named policy, report rows under the mappings now held."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial

from django.db import connection, transaction

from billing.models import PackedImport, StorePack, UsageRollup, UsageSource
from billing.operations.compaction import set_generation
from billing.operations.import_lease import MERGE_LOCK
from billing.operations.rollups import recount_days, replace_hours
from billing.queries.imports import request_store, stored_imports
from billing.store import ClassifyPlan, Engine, Pack, RequestStore, StoredImport
from billing.store.writing import Hour


def relabel_requests(*, plan: ClassifyPlan, period: tuple[datetime, datetime]) -> int:
    """Label stored requests of a period anew; roll-ups and days follow. Inside a transaction of the caller's.

    A day is looked at once, however many imports have requests on it. A pack with other labels is written as another
    pack, the files that an import has of its own as its next generation; both count only once the transaction commits.
    Returns the number of requests whose label changed.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [MERGE_LOCK])
    store = request_store()
    with store.engine("reclassify") as engine:
        touched, changed = _relabel_packs(store, engine, stored_imports(), plan=plan, period=period)
        for old in _with_other_labels(store, engine, stored_imports(), plan=plan, period=period):
            new = replace(old, generation=old.generation + 1)
            store.remove(new)
            hours, count = engine.relabel(old, new, plan=plan, period=period)
            if count:
                touched |= hours
                changed += count
                set_generation(new)
                transaction.on_commit(partial(store.remove, old))
        now = stored_imports() if touched else []
        days: set[date] = set()
        for source_id in sorted({source_id for source_id, _ in touched}):
            inside = sorted(hour for source, hour in touched if source == source_id)
            rows = engine.hourly(now, source_id, inside)
            replace_hours(
                source_id=source_id,
                bucket_hours=1,
                buckets=[_utc(hour) for hour in inside],
                rows=((_utc(hour), latest, *values) for hour, *values, latest in rows),
            )
            days |= {hour.date() for hour in inside}
    recount_days(days=days, class_of_key=plan.class_of_key)
    return changed


def _relabel_packs(
    store: RequestStore,
    engine: Engine,
    existing: Sequence[StoredImport],
    *,
    plan: ClassifyPlan,
    period: tuple[datetime, datetime],
) -> tuple[set[Hour], int]:
    """Write packs with other labels anew, without rows that no longer count. Returns changed hours and rows."""
    members: dict[Pack, list[StoredImport]] = {}
    for item in existing:
        for pack in item.packs:
            members.setdefault(pack, []).append(item)
    touched: set[Hour] = set()
    changed = 0
    for pack, imports in sorted(members.items()):
        again = engine.labelled_again(imports, date.fromisoformat(pack.day), plan=plan, period=period)
        if not again.changed:
            continue
        row = StorePack.objects.create(day=pack.day, imports=len(imports))
        engine.write_pack_of(Pack(row.pk, pack.day, row.imports), f"({again.rows})")
        PackedImport.objects.filter(pack=pack.number).update(pack=row)
        StorePack.objects.filter(pk=pack.number).delete()
        transaction.on_commit(partial(store.place.delete, [(pack.day, pack.name)]))
        touched |= again.hours
        changed += again.changed
    return touched, changed


def _with_other_labels(
    store: RequestStore,
    engine: Engine,
    existing: Sequence[StoredImport],
    *,
    plan: ClassifyPlan,
    period: tuple[datetime, datetime],
) -> list[StoredImport]:
    """Imports with files of their own whose labels may change. Where many have some on a day, one look tells which."""
    by_day: dict[str, set[StoredImport]] = {}
    for day, _, item in store.items(existing):
        by_day.setdefault(day, set()).add(item)
    found: set[StoredImport] = set()
    for day, items in by_day.items():
        if len(items) == 1:
            found |= items
            continue
        again = engine.labelled_again(sorted(items), date.fromisoformat(day), plan=plan, period=period)
        found |= {item for item in items if item.import_id in again.imports}
    return sorted(found)


def relabel_buckets(*, plan: ClassifyPlan, period: tuple[datetime, datetime]) -> int:
    """Give report rows of a period the class of the mappings and count their days again. Returns how many."""
    # By place, not row by row: all rows of one key and day have one class, and the table has no index by id.
    table = UsageRollup._meta.db_table
    place = ("channel", "workspace", "api_key", "request_class")
    changed, days = 0, set()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [MERGE_LOCK])
        cursor.execute(
            f"SELECT DISTINCT (r.bucket_start AT TIME ZONE 'UTC')::date, r.{', r.'.join(place)} FROM {table} r "  # noqa: S608 - our names
            f"JOIN {UsageSource._meta.db_table} s ON s.id = r.source_id WHERE s.grain = %s "
            "AND r.bucket_start >= %s AND r.bucket_start < %s ORDER BY 1",
            [UsageSource.Grain.BUCKET, *period],
        )
        for day, channel, workspace, api_key, request_class in cursor.fetchall():
            days.add(day)
            label = plan.class_of_key(channel, workspace, api_key, day)
            if label != request_class:
                begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
                cursor.execute(
                    f"UPDATE {table} SET request_class = %s WHERE bucket_start >= %s AND bucket_start < %s "  # noqa: S608 - our names
                    f"AND {' AND '.join(f'{name} = %s' for name in place)} AND source_id IN "
                    f"(SELECT id FROM {UsageSource._meta.db_table} WHERE grain = %s)",
                    [
                        label,
                        max(begin, period[0]),
                        min(begin + timedelta(days=1), period[1]),
                        channel,
                        workspace,
                        api_key,
                        request_class,
                        str(UsageSource.Grain.BUCKET.value),
                    ],
                )
                changed += cursor.rowcount
    recount_days(days=days, class_of_key=plan.class_of_key)
    return changed


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC)
