"""Less of what was imported: delete one import, forget old requests and hours.

Everything here holds the lock that keeps imports from saving meanwhile, and writes files as a next generation that
counts only once the transaction commits: what is killed in the middle changes nothing and leaves files nobody reads.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.models import BillingPeriod, Import, Organisation, UsageRollup, UsageSource
from billing.operations.compaction import forget_files, forget_packs, merge_lock, take_out
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
    with merge_lock(), transaction.atomic():
        row = Import.objects.select_for_update(of=("self",)).select_related("source").get(pk=import_id)
        _check_deletable(row)
        state = row.state
        item = next(iter(stored_imports(only=[row.pk])), StoredImport(row.pk))
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
        name = f"Import {row.pk} ({row.file_name})"
        if row.kind != "usage":
            raise DeletionRefused(f"{name} states costs: these are not deleted, the right file replaces their days.")
        raise DeletionRefused(f"{name} is {row.get_state_display().lower()}; only a finished usage import is deleted.")
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
    store = request_store()
    with store.engine(f"delete-{item.import_id}") as engine:
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
        take_out(item, store, engine)
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
    with merge_lock(), transaction.atomic():
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
        imports = stored_imports()
        days = [day for day, _, _ in request_store().items(imports)]
        days += [pack.day for pack in {pack for item in imports for pack in item.packs}]
        for on in map(date.fromisoformat, days):
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
        forget_packs(requests_from)
        # After the commit: files of days that no longer count are not read, and a rollback must find them all.
        transaction.on_commit(partial(forget_files, requests_from))
    if hours_from is not None:
        with connection.cursor() as cursor:
            for month in stored_months(cursor):
                if month < hours_from:
                    drop_month(cursor, month)


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


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC)
