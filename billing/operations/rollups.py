"""Hourly and daily roll-ups: written with binary COPY, in the transaction of the import that changes them."""
# ruff: noqa: S608 - table and column names are constants of this module

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from django.db import connection

from billing.core.counting import CountedRow, Excess, LogScope, chosen_reports, count_day
from billing.core.usage import COUNTERS, TokenCounts, UsageKey
from billing.models import USAGE_KEY_FIELDS, DailyUsage, Organisation, UsageRollup
from billing.operations.months import ensure_months
from billing.queries.counting import days_to_count, log_scopes

ClassOfKey = Callable[[str, str, str, date], str]
_ROLLUP_TYPES: Final = (
    ["timestamptz", "int2", "int8", "int8"]
    + ["int4" if name == "policy_version" else "text" for name in USAGE_KEY_FIELDS]
    + ["int8"] * (len(COUNTERS) + 2)
)
_ROLLUP_COLUMNS: Final = (
    "bucket_start", "bucket_hours", "source_id", "latest_import_id", *USAGE_KEY_FIELDS, *COUNTERS, "requests",
    "failed_requests",
)  # fmt: skip
_DAILY_COLUMNS: Final = ("date", "origin", "source_id", *USAGE_KEY_FIELDS, *COUNTERS, "requests")
_DAILY_TYPES: Final = (
    ["date", "text", "int8"]
    + ["int4" if name == "policy_version" else "text" for name in USAGE_KEY_FIELDS]
    + ["int8"] * (len(COUNTERS) + 1)
)
_DAYS_AT_ONCE: Final = 7  # a year of days counted again must not be in memory together
_MANY: Final = 10_000
_VALUES: Final = (*COUNTERS, "requests", "failed_requests")


def replace_hours(
    *, source_id: int, bucket_hours: int, buckets: Sequence[datetime], rows: Iterable[Sequence[Any]]
) -> int:
    """Make `rows` the whole of a source's buckets: new keys inserted, known ones overwritten, the others deleted.

    A row is (bucket start, latest import, *USAGE_KEY_FIELDS, *COUNTERS, requests, failed requests). Returns how many.
    """
    if not buckets:
        return 0
    table = UsageRollup._meta.db_table
    with connection.cursor() as cursor:
        ensure_months(cursor, buckets)
        place = "source_id = %s AND bucket_hours = %s AND bucket_start = ANY(%s)"
        cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {table} WHERE {place})", [source_id, bucket_hours, list(buckets)])
        if not cursor.fetchone()[0]:  # nothing to compare with: the merge lock keeps everybody else out
            return _copy(cursor, table, source_id, bucket_hours, rows)
        return _merge(cursor, table, source_id, bucket_hours, buckets, rows)


def _copy(cursor: Any, table: str, source_id: int, bucket_hours: int, rows: Iterable[Sequence[Any]]) -> int:
    count = 0
    with cursor.copy(f"COPY {table} ({', '.join(_ROLLUP_COLUMNS)}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(_ROLLUP_TYPES)
        for start, latest_import, *rest in rows:
            copy.write_row([start, bucket_hours, source_id, latest_import, *rest])
            count += 1
    return count


def _merge(
    cursor: Any,
    table: str,
    source_id: int,
    bucket_hours: int,
    buckets: Sequence[datetime],
    rows: Iterable[Sequence[Any]],
) -> int:
    """Only what differs is written: the usual repeated import finds every row as it is."""
    columns = ", ".join(_ROLLUP_COLUMNS)
    cursor.execute("DROP TABLE IF EXISTS import_rollup")
    cursor.execute(f"CREATE TEMP TABLE import_rollup ON COMMIT DROP AS SELECT {columns} FROM {table} WITH NO DATA")
    count = _copy(cursor, "import_rollup", source_id, bucket_hours, rows)
    cursor.execute("ANALYZE import_rollup")
    if count > _MANY:
        cursor.execute("SET LOCAL enable_nestloop = off")  # a probe a row is what the planner takes for a new table
    same = " AND ".join(f"t.{name} = r.{name}" for name in ["bucket_start", *USAGE_KEY_FIELDS])
    here = "r.source_id = %s AND r.bucket_hours = %s AND r.bucket_start BETWEEN %s AND %s"
    given = [source_id, bucket_hours, min(buckets), max(buckets)]
    cursor.execute(
        f"DELETE FROM {table} r WHERE {here} AND r.bucket_start = ANY(%s) "
        f"AND NOT EXISTS (SELECT 1 FROM import_rollup t WHERE {same})",
        [*given, list(buckets)],
    )
    written = ("latest_import_id", *_VALUES)
    old, new = (", ".join(f"{side}.{name}" for name in written) for side in "rt")
    cursor.execute(
        f"MERGE INTO {table} r USING import_rollup t ON {same} AND {here} "
        f"WHEN MATCHED AND ({old}) IS DISTINCT FROM ({new}) "
        f"THEN UPDATE SET {', '.join(f'{name} = t.{name}' for name in written)} "
        f"WHEN NOT MATCHED THEN INSERT ({columns}) VALUES ({', '.join(f't.{name}' for name in _ROLLUP_COLUMNS)})",
        given,
    )
    if count > _MANY:
        cursor.execute("SET LOCAL enable_nestloop = on")
    cursor.execute("DROP TABLE import_rollup")
    return count


def recount_days(*, days: Iterable[date], class_of_key: ClassOfKey) -> list[tuple[date, Excess]]:
    """Compute what counts on some days anew from the hourly rows of every source. Returns logs above a report."""
    # What counted on days whose hours were forgotten stays as it was.
    kept_from = Organisation.objects.values_list("hours_kept_from", flat=True).first()
    wanted = sorted(day for day in set(days) if kept_from is None or day >= kept_from)
    if not wanted:
        return []
    scopes = log_scopes()
    excess: list[tuple[date, Excess]] = []
    for begin in range(0, len(wanted), _DAYS_AT_ONCE):
        excess += _recount(wanted[begin : begin + _DAYS_AT_ONCE], scopes, class_of_key)
    return excess


def _recount(
    wanted: Sequence[date], scopes: Mapping[int, LogScope], class_of_key: ClassOfKey
) -> list[tuple[date, Excess]]:
    counted: list[tuple[date, CountedRow]] = []
    excess: list[tuple[date, Excess]] = []
    for item in days_to_count(wanted):

        def class_of(key: UsageKey, day: date = item.day, channel: str = item.channel) -> str:
            return class_of_key(channel, key.workspace, key.api_key, day)

        rows, above = count_day(item.logs, chosen_reports(item.reports), scopes, class_of)
        counted += [(item.day, row) for row in rows]
        excess += [(item.day, one) for one in above]
    _write_days(wanted, counted)
    return excess


def _write_days(days: Sequence[date], counted: Sequence[tuple[date, CountedRow]]) -> None:
    table = DailyUsage._meta.db_table
    sums: dict[tuple[date, str, int, UsageKey], tuple[TokenCounts, int | None]] = {}
    for day, row in counted:
        place = (day, row.origin, row.source, row.key)
        counts, requests = sums.get(place, (TokenCounts(), 0))
        known = requests is not None and row.requests is not None
        sums[place] = (counts + row.counts, (requests or 0) + (row.requests or 0) if known else None)
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table} WHERE date = ANY(%s)", [list(days)])
        with cursor.copy(f"COPY {table} ({', '.join(_DAILY_COLUMNS)}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(_DAILY_TYPES)
            for (day, origin, source_id, key), (counts, requests) in sums.items():
                if counts.is_zero and not requests:
                    continue
                values = [getattr(key, name) for name in USAGE_KEY_FIELDS]
                copy.write_row(
                    [day, origin, source_id, *values, *(getattr(counts, name) for name in COUNTERS), requests]
                )
