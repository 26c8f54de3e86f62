"""Months of the hourly roll-up: a partition each, made when a month is first written, dropped when it is forgotten."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any, Final

from django.db import connection

from billing.models import UsageRollup

_LOCK: Final = 0x6D6F6E74  # one transaction at a time makes months


def ensure_months(cursor: Any, instants: Iterable[datetime]) -> None:
    """Make the partitions these instants fall in, inside the caller's transaction.

    A month is made as a table of its own and then attached: that disturbs no reader and no writer of other months,
    while CREATE TABLE … PARTITION OF would lock everybody out until the import ends.
    """
    wanted = {_first(at) for at in instants}
    if not wanted - set(stored_months(cursor)):
        return
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    for month in sorted(wanted - set(stored_months(cursor))):
        parent, name = UsageRollup._meta.db_table, partition_name(month)
        cursor.execute(f'CREATE TABLE "{name}" (LIKE {parent} INCLUDING ALL)')
        cursor.execute(
            f'ALTER TABLE {parent} ATTACH PARTITION "{name}" '
            f"FOR VALUES FROM ('{month} 00:00+00') TO ('{_next(month)} 00:00+00')"
        )


def stored_months(cursor: Any = None) -> list[date]:
    """First days of the months that have a partition, ascending."""
    if cursor is None:
        with connection.cursor() as own:
            return stored_months(own)
    cursor.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass(%s)",
        [UsageRollup._meta.db_table],
    )
    return sorted(_month_of(name) for (name,) in cursor.fetchall())


def drop_month(cursor: Any, month: date) -> None:
    """Forget a month's hourly rows. Waits for those who read the table; nobody else can until the commit."""
    cursor.execute(f'DROP TABLE "{partition_name(month)}"')


def partition_name(month: date) -> str:
    return f"{UsageRollup._meta.db_table}_y{month.year:04}m{month.month:02}"


def _month_of(name: str) -> date:
    year, month = name.rpartition("_y")[2].split("m")
    return date(int(year), int(month), 1)


def _first(at: datetime) -> date:
    day = at.astimezone(UTC).date()
    return day.replace(day=1)


def _next(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)
