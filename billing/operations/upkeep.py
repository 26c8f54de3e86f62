"""Less of what was imported: delete one import, forget old requests and hours, make many small files one.

Everything here holds the lock that keeps imports from saving meanwhile, and writes files as a next generation that
counts only once the transaction commits: what is killed in the middle changes nothing and leaves files nobody reads.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial

from django.contrib.auth.models import AbstractBaseUser
from django.db import DatabaseError, connection, transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.models import BillingPeriod, Import, Organisation, UsageRollup, UsageSource
from billing.operations.import_lease import MERGE_LOCK
from billing.operations.months import drop_month, stored_months
from billing.operations.rollups import ClassOfKey, recount_days, replace_hours
from billing.queries.imports import details_kept_from, request_store, stored_imports
from billing.store import StoredImport


class DeletionRefused(ValueError):
    """An import that cannot be deleted; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class DeletedImport:
    """What went: requests or report rows, hours summed up anew, days counted anew."""

    import_id: int
    file_name: str
    rows: int
    hours: int
    days: int


@dataclass(frozen=True, slots=True)
class ForgottenMonth:
    """What retention takes of one month: files of requests, their bytes are gone; hourly rows."""

    month: date
    request_files: int
    hourly_rows: int


@dataclass(frozen=True, slots=True)
class Retention:
    """What is (or would be) forgotten. First days kept; None = everything is."""

    requests_from: date | None
    hours_from: date | None
    months: tuple[ForgottenMonth, ...]
    is_done: bool


@dataclass(frozen=True, slots=True)
class Compacted:
    """How many files became how many, on how many days."""

    days: int
    files_before: int
    files_after: int


def delete_import(
    *, actor: AbstractBaseUser | None, import_id: int, as_of: datetime, class_of_key: ClassOfKey
) -> DeletedImport:
    """Remove everything one usage import brought; its hours are summed up and its days counted anew.

    The entry stays, with the state *deleted*, and the same bytes may be imported again. Requests that other files also
    held were left out of those as duplicates and go with this one: import those files again after deleting them too.
    What it added to records that other imports hold stays with them.
    Raises Forbidden, Import.DoesNotExist, DeletionRefused (not done, a closed month, forgotten in part).
    """
    require(actor, Right.DELETE_DATA)
    with _merge_lock(), transaction.atomic():
        row = Import.objects.select_for_update(of=("self",)).select_related("source").get(pk=import_id)
        _check_deletable(row)
        state, options = row.state, dict(row.options or {})
        item = StoredImport(row.pk, int(options.get("generation", 0)))
        row.state, row.progress_note = Import.State.DELETED, "Deleted"
        row.save(update_fields=["state", "progress_note"])  # first: the counting rule asks which imports are done
        is_requests = row.source is not None and row.source.grain == UsageSource.Grain.REQUEST
        rows, hours, days = _without_requests(item) if is_requests else _without_buckets(row)
        recount_days(days=days, class_of_key=class_of_key)
        audit.record(
            actor=actor,
            action="usage.import_deleted",
            object_type="import",
            object_id=row.pk,
            object_label=row.file_name,
            as_of=as_of,
            before={"state": state, "accepted": row.accepted, "sha256": row.sha256},
            after={"state": Import.State.DELETED, "rows": rows, "hours": hours, "days": len(days)},
        )
        if is_requests:
            transaction.on_commit(partial(request_store().remove, item))
    return DeletedImport(row.pk, row.file_name, rows, hours, len(days))


def _check_deletable(row: Import) -> None:
    if row.kind != "usage" or row.state != Import.State.DONE:
        what = "costs: undo them on the month's page" if row.kind != "usage" else f"{row.get_state_display().lower()}"
        raise DeletionRefused(f"Import {row.pk} ({row.file_name}) is {what}; only a finished usage import is deleted.")
    if row.period_start is None or row.period_end is None:
        return
    first, last = (at.astimezone(UTC).date() for at in (row.period_start, row.period_end))
    closed = BillingPeriod.objects.filter(
        state=BillingPeriod.State.CLOSED, month__gte=first.replace(day=1), month__lte=last
    ).values_list("month", flat=True)
    if months := ", ".join(f"{month:%Y-%m}" for month in closed):
        raise DeletionRefused(
            f"Import {row.pk} ({row.file_name}) has usage of {months}, which is closed: its settled figures rest on it."
        )
    limit = details_kept_from()
    if limit is not None and first < limit:
        raise DeletionRefused(
            f"Import {row.pk} ({row.file_name}) reaches back to {first}, and details before {limit} were forgotten by "
            "retention: what it brought there can no longer be told from the rest."
        )


def _without_requests(item: StoredImport) -> tuple[int, int, set[date]]:
    days: set[date] = set()
    count = 0
    with request_store().engine(f"delete-{item.import_id}") as engine:
        rows = engine.summary(item).rows
        others = stored_imports(exclude=item.import_id)
        for source_id, hours in engine.hours_of([item]).items():
            replace_hours(
                source_id=source_id,
                bucket_hours=1,
                buckets=[_utc(hour) for hour in hours],
                rows=(
                    (_utc(hour), latest, *values) for hour, *values, latest in engine.hourly(others, source_id, hours)
                ),
            )
            count += len(hours)
            days |= {hour.date() for hour in hours}
    return rows, count, days


def _without_buckets(row: Import) -> tuple[int, int, set[date]]:
    """Buckets of a report that a later import restated belong to that one and stay."""
    starts = set(UsageRollup.objects.filter(latest_import=row).values_list("bucket_start", flat=True))
    rows, _ = UsageRollup.objects.filter(latest_import=row, bucket_start__in=starts).delete()
    return rows, len(starts), {start.astimezone(UTC).date() for start in starts}


def apply_retention(
    *,
    actor: AbstractBaseUser | None,
    as_of: datetime,
    keep_request_months: int | None,
    keep_hour_months: int | None,
    dry_run: bool,
) -> Retention:
    """Forget requests, and hourly rows, of months older than so many full months before this one; None keeps all.

    What counted per day (DailyUsage) stays, so that spend and its history stay. Later files with usage of forgotten
    days are refused: they cannot be compared with what was there. Raises Forbidden, ValueError.
    """
    require(actor, Right.DELETE_DATA)
    for months in (keep_request_months, keep_hour_months):
        if months is not None and months < 1:
            raise ValueError("Keep at least 1 month: the current month is still being counted.")
    if keep_hour_months is not None and (keep_request_months is None or keep_request_months > keep_hour_months):
        raise ValueError("Hours are summed up from requests: keep them at least as long as the requests.")
    with _merge_lock(), transaction.atomic():
        row, _ = Organisation.objects.select_for_update().get_or_create(pk=1, defaults={"name": "Organisation"})
        requests_from = _later(row.requests_kept_from, _months_before(as_of, keep_request_months))
        hours_from = _later(row.hours_kept_from, _months_before(as_of, keep_hour_months))
        found = _to_forget(requests_from, hours_from)
        if not dry_run:
            before = {"requests": str(row.requests_kept_from), "hours": str(row.hours_kept_from)}
            row.requests_kept_from, row.hours_kept_from = requests_from, hours_from
            row.save(update_fields=["requests_kept_from", "hours_kept_from"])
            _forget(requests_from, hours_from)
            audit.record(
                actor=actor,
                action="usage.retention_applied",
                object_type="request_store",
                object_id="",
                as_of=as_of,
                before=before,
                after={
                    "requests": str(requests_from),
                    "hours": str(hours_from),
                    "months": [str(each.month)[:7] for each in found],
                    "request_files": sum(each.request_files for each in found),
                    "hourly_rows": sum(each.hourly_rows for each in found),
                },
            )
    return Retention(requests_from, hours_from, found, not dry_run)


def _to_forget(requests_from: date | None, hours_from: date | None) -> tuple[ForgottenMonth, ...]:
    files: dict[date, int] = {}
    if requests_from is not None:
        for day, _, _ in request_store().items(stored_imports()):
            on = date.fromisoformat(day)
            if on < requests_from:
                files[on.replace(day=1)] = files.get(on.replace(day=1), 0) + 1
    hours: dict[date, int] = {}
    for month in stored_months():
        if hours_from is not None and month < hours_from:
            begin = datetime(month.year, month.month, 1, tzinfo=UTC)
            end = (begin + timedelta(days=32)).replace(day=1)
            count = UsageRollup.objects.filter(bucket_start__gte=begin, bucket_start__lt=end).count()
            if count:
                hours[month] = count
    return tuple(ForgottenMonth(month, files.get(month, 0), hours.get(month, 0)) for month in sorted({*files, *hours}))


def _forget(requests_from: date | None, hours_from: date | None) -> None:
    if requests_from is not None:
        # After the commit: files of days that no longer count are not read, and a rollback must find them all.
        transaction.on_commit(partial(forget_files, requests_from))
    if hours_from is not None:
        with connection.cursor() as cursor:
            for month in stored_months(cursor):
                if month < hours_from:
                    drop_month(cursor, month)


def forget_files(before: date) -> int:
    """Delete every file of requests of days before; safe to call again, as the beat task does after a kill."""
    place = request_store().place
    gone = [(day, name) for day, name in place.listed() if date.fromisoformat(day) < before]
    place.delete(gone)
    return len(gone)


def compact_store(*, as_of: datetime, dry_run: bool = False) -> Compacted:
    """Write the files that one import has on one day as one, recompressed. Safe while imports run, and when killed."""
    days = before = after = 0
    store = request_store()
    for import_id in [item.import_id for item in stored_imports()]:
        with _merge_lock(), transaction.atomic():
            row = Import.objects.select_for_update().get(pk=import_id)
            if row.state != Import.State.DONE:
                continue
            old = StoredImport(import_id, int((row.options or {}).get("generation", 0)))
            new = StoredImport(import_id, old.generation + 1)
            items = store.items([old])
            many = [day for day in dict.fromkeys(day for day, _, _ in items) if _count(items, day) > 1]
            if not many:
                continue
            days, before = days + len(many), before + sum(_count(items, day) for day in many)
            after += len(many)
            if dry_run:
                continue
            store.remove(new)  # what a killed attempt left
            with store.engine(f"compact-{import_id}") as engine:
                engine.compact(old, new)
            row.options = {**(row.options or {}), "generation": new.generation}
            row.save(update_fields=["options"])
            transaction.on_commit(partial(store.remove, old))
    return Compacted(days, before, after)


def sweep_store() -> int:
    """Delete files that no finished or running import owns, and those of forgotten days: what a kill left behind."""
    with _merge_lock(), transaction.atomic():
        keep = set(stored_imports())
        unfinished = set(
            Import.objects.filter(state__in=[Import.State.QUEUED, Import.State.RUNNING]).values_list("pk", flat=True)
        )
        store = request_store()
        gone = store.place.remove_halves()
        gone += store.remove_others(lambda item: item in keep or item.import_id in unfinished)
        requests_from = Organisation.objects.values_list("requests_kept_from", flat=True).first()
        return gone + (forget_files(requests_from) if requests_from is not None else 0)


def _count(items: Sequence[tuple[str, str, StoredImport]], day: str) -> int:
    return sum(each == day for each, _, _ in items)


def _months_before(as_of: datetime, months: int | None) -> date | None:
    """First day of the month `months` full months before the one of `as_of`.

    >>> _months_before(datetime(2026, 11, 25, tzinfo=UTC), 13)
    datetime.date(2025, 10, 1)
    """
    if months is None:
        return None
    today = as_of.astimezone(UTC).date()
    index = today.year * 12 + today.month - 1 - months
    return date(index // 12, index % 12 + 1, 1)


def _later(held: date | None, wanted: date | None) -> date | None:
    """What was forgotten stays forgotten."""
    return max((day for day in (held, wanted) if day is not None), default=None)


@contextmanager
def _merge_lock() -> Iterator[None]:
    """No import saves meanwhile. Held by the session, so that it outlasts the commit and ends with the operation."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [MERGE_LOCK])
    try:
        yield
    finally:
        with suppress(DatabaseError), connection.cursor() as cursor:  # a lost connection has lost its locks too
            cursor.execute("SELECT pg_advisory_unlock(%s)", [MERGE_LOCK])


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC)
