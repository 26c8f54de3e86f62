"""Class labels again: stored requests under a named policy, report rows under the mappings now held."""

from datetime import UTC, date, datetime, timedelta
from functools import partial

from django.db import connection, transaction

from billing.models import UsageRollup, UsageSource
from billing.operations.compaction import set_generation
from billing.operations.import_lease import MERGE_LOCK
from billing.operations.rollups import recount_days, replace_hours
from billing.queries.imports import request_store, stored_imports
from billing.store import ClassifyPlan, StoredImport


def relabel_requests(*, plan: ClassifyPlan, period: tuple[datetime, datetime]) -> int:
    """Label stored requests of a period anew; roll-ups and days follow. Inside a transaction of the caller's.

    Files of changed imports are written as their next generation, which counts only once the transaction commits.
    Returns the number of requests whose label changed.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [MERGE_LOCK])
    store, changed = request_store(), 0
    existing = stored_imports()
    now: list[StoredImport] = []
    touched: list[StoredImport] = []
    with store.engine("reclassify") as engine:
        for old in existing:
            new = StoredImport(old.import_id, old.generation + 1)
            store.remove(new)
            count, new = engine.relabel(old, new, plan=plan, period=period)
            if not count:
                store.remove(new)
                now.append(old)
                continue
            changed += count
            now.append(new)
            touched.append(new)
            set_generation(new)
            transaction.on_commit(partial(store.remove, old))
        days: set[date] = set()
        for source_id, hours in engine.hours_of(touched).items():
            inside = [hour for hour in hours if period[0] <= _utc(hour) + timedelta(hours=1) and _utc(hour) < period[1]]
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
