"""Class labels again: stored requests under a named policy, report rows under the mappings now held."""

from datetime import UTC, date, datetime, timedelta
from functools import partial

from django.db import connection, transaction

from billing.models import Import, UsageRollup, UsageSource
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
            count = engine.relabel(old, new, plan=plan, period=period)
            if not count:
                store.remove(new)
                now.append(old)
                continue
            changed += count
            now.append(new)
            touched.append(new)
            row = Import.objects.select_for_update().get(pk=old.import_id)
            row.options = {**row.options, "generation": new.generation}
            row.save(update_fields=["options"])
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
    rows = UsageRollup.objects.filter(
        source__grain=UsageSource.Grain.BUCKET, bucket_start__gte=period[0], bucket_start__lt=period[1]
    )
    changed, days = [], set()
    for row in rows.iterator(chunk_size=5_000):
        day = row.bucket_start.astimezone(UTC).date()
        days.add(day)
        label = plan.class_of_key(row.channel, row.workspace, row.api_key, day)
        if label != row.request_class:
            row.request_class = label
            changed.append(row)
    UsageRollup.objects.bulk_update(changed, ["request_class"], batch_size=1_000)
    recount_days(days=days, class_of_key=plan.class_of_key)
    return len(changed)


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC)
