"""Counted usage as columns in memory, kept until an audited change, then only the months that changed read again.

The copy is one per process and database. Inside a transaction it is neither used nor kept: what a transaction sees may
be its own and never be committed. Rows of the daily table are replaced, never changed in place
(`billing.operations.rollups`), so a month is the same as before where its number of rows and its highest id are.
"""
# ruff: noqa: S608 - table and column names are constants of this module

import threading
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
from django.db import connection

from audit.queries import data_version
from billing.core.closed_books import HistoryBook
from billing.core.pricebook import PriceBook
from billing.core.pricing import Pricer
from billing.core.usage import COUNTERS
from billing.core.usage_table import Costs, TooLarge, UsageTable, costs_of, widened
from billing.models import USAGE_KEY_FIELDS, DailyUsage, UsageSource
from billing.queries.prices import price_book

MOST_ROWS: Final = 2_000_000  # some 200 bytes each with their costs: beyond, a question reads its own period
_KEY_COLUMNS: Final = (*USAGE_KEY_FIELDS, "origin", "source_id")
NAMES: Final = (*USAGE_KEY_FIELDS, "origin", "source")
_COPY_HEADER, _COPY_TRAILER = 19, 2
_ORDINAL_OF_2000: Final = date(2000, 1, 1).toordinal()
_FIELDS: Final = [("day", ">i4"), ("key", ">i4"), *((name, ">i8") for name in (*COUNTERS, "requests"))]
# A row of a binary COPY without nulls has one length: number of fields, then each with its length before it.
_ROW: Final = np.dtype(
    [("fields", ">i2"), *(part for field in _FIELDS for part in ((f"{field[0]}_len", ">i4"), field))]
)
_Month = tuple[int, int, int]  # months since year 0, rows, highest id


@dataclass(frozen=True)
class Facts:
    """All counted usage in order of its day, the prices in force, and the cost of every row."""

    table: UsageTable
    book: PriceBook
    costs: Costs


@dataclass(frozen=True)
class _Kept:
    version: int
    months: tuple[_Month, ...]
    facts: Facts


_kept: dict[str, _Kept] = {}
_latest: list[tuple[PriceBook, UsageTable, tuple[date, date], Facts]] = []  # of other prices than the kept ones
_lock = threading.Lock()


def usage_facts(*, start: date, end: date, book: PriceBook | None = None) -> Facts:
    """Counted usage of at least days [start, end) with its costs, by `book` or the prices in force."""
    held = _held()
    if held is not None and (book is None or _same(book, held.facts.book)):
        return held.facts
    table = held.facts.table if held is not None else _sorted(_read(start, end))
    prices = book if book is not None else price_book()
    if held is None:
        return priced_facts(table.part(table.between(start, end)), prices)
    # One page asks several times at the same what-if or contracted prices.
    for priced, of, days, facts in list(_latest):
        if priced is prices and of is table and days == (start, end):
            return facts
    found = priced_facts(table.part(table.between(start, end)), prices)
    _latest[:] = [(prices, table, (start, end), found)]
    return found


def list_book() -> PriceBook:
    """The prices in force, without reading them where they are kept: costs by them are kept too."""
    held = _held()
    return held.facts.book if held is not None else price_book()


def forget() -> None:
    """Drop what is kept (benchmarks, tests)."""
    _kept.clear()
    _latest.clear()


def priced_facts(table: UsageTable, book: PriceBook) -> Facts:
    """A table with its costs, in whole numbers of any size where 64 bits could be too few."""
    try:
        return Facts(table, book, costs_of(table, Pricer(book)))
    except TooLarge:
        wide = widened(table)
        return Facts(wide, book, costs_of(wide, Pricer(book)))


def _held() -> _Kept | None:
    """The copy of the current data version; None in a transaction, and where there is more than memory should hold."""
    if connection.in_atomic_block:
        return None
    where = connection.settings_dict
    name = f"{where.get('HOST')}:{where.get('PORT')}:{where['NAME']}"
    version = data_version()  # read first: a change committed meanwhile has a higher one, and is read again
    held = _kept.get(name)
    if held is not None and held.version == version:
        return held
    with _lock:  # one thread reads, the others wait for what it read
        held = _kept.get(name)
        if held is None or held.version != version:
            held = _renewed(held, version)
            if held is None:
                _kept.pop(name, None)
            else:
                _kept[name] = held
        return held


def _renewed(held: _Kept | None, version: int) -> _Kept | None:
    months = _months()
    if sum(rows for _, rows, _ in months) > MOST_ROWS:
        return None
    book = price_book()
    if held is None:
        return _Kept(version, months, priced_facts(_sorted(_read()), book))
    changed = sorted({month[0] for month in set(months) ^ set(held.months)})
    if not changed:
        return _Kept(
            version, months, held.facts if _same(book, held.facts.book) else priced_facts(held.facts.table, book)
        )
    table = held.facts.table
    stay = table.part(~np.isin(_month_numbers(table.days), np.array(changed)))
    for month in changed:
        stay = _together(stay, _read(*_month_days(month)))
    return _Kept(version, months, priced_facts(_sorted(stay), book))


def _same(book: PriceBook, held: PriceBook) -> bool:
    """Whether both give the same answers: prices read twice are equal, though not one object."""
    if book is held:
        return True
    plain = (PriceBook, HistoryBook)  # any other book lays something of its own over the prices
    return type(book) in plain and type(held) in plain and (book.prices, book.closed) == (held.prices, held.closed)


def _months() -> tuple[_Month, ...]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (extract(year FROM date) * 12 + extract(month FROM date))::int AS month, sum(rows)::int8, max(id) "
            f"FROM (SELECT date, count(*) AS rows, max(id) AS id FROM {DailyUsage._meta.db_table} GROUP BY date) d "
            "GROUP BY month ORDER BY month"
        )
        return tuple(cursor.fetchall())


def _month_numbers(days: "np.ndarray[tuple[int], np.dtype[np.int32]]") -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    if not len(days):
        return np.zeros(0, np.int64)
    low = int(days.min())
    of_day = [date.fromordinal(day) for day in range(low, int(days.max()) + 1)]
    return np.array([day.year * 12 + day.month for day in of_day], np.int64)[days - low]


def _read(start: date | None = None, end: date | None = None) -> UsageTable:
    """The rows of days [start, end) (default: all), by one binary COPY that is read without parsing."""
    table = DailyUsage._meta.db_table
    columns = ", ".join(_KEY_COLUMNS)
    where = "" if start is None or end is None else f" WHERE date >= '{start}' AND date < '{end}'"
    same = " AND ".join(f"u.{name} = k.{name}" for name in _KEY_COLUMNS)
    counters = ", ".join(f"u.{name}" for name in COUNTERS)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY TABLE usage_key AS SELECT (row_number() OVER ())::int - 1 AS number, k.* "
            f"FROM (SELECT DISTINCT {columns} FROM {table}{where}) k"
        )
        try:
            names = dict(UsageSource.objects.values_list("pk", "name"))
            cursor.execute(f"SELECT {columns} FROM usage_key ORDER BY number")
            keys = tuple((*(str(value) for value in row[:-1]), names[row[-1]]) for row in cursor.fetchall())
            parts = bytearray()
            query = (
                f"COPY (SELECT u.date - date '2000-01-01', k.number, {counters}, coalesce(u.requests, -1) "
                f"FROM (SELECT * FROM {table}{where}) u JOIN usage_key k ON {same}) TO STDOUT (FORMAT BINARY)"
            )
            with cursor.copy(query) as copy:
                for block in copy:
                    parts += block
        finally:
            cursor.execute("DROP TABLE usage_key")
    rows = np.frombuffer(
        parts, dtype=_ROW, offset=_COPY_HEADER, count=(len(parts) - _COPY_HEADER - _COPY_TRAILER) // _ROW.itemsize
    )
    return UsageTable(
        names=NAMES,
        keys=keys,
        days=(rows["day"].astype(np.int32) + _ORDINAL_OF_2000).astype(np.int32),
        key=rows["key"].astype(np.int32),
        counts=np.stack([rows[name].astype(np.int64) for name in COUNTERS]),
        requests=rows["requests"].astype(np.int64),
    )


def _month_days(month: int) -> tuple[date, date]:
    """First day of a month and of the next; the natural key begins with the date, so its rows are found by index."""
    year, number = divmod(month - 1, 12)
    return date(year, number + 1, 1), date(year + (number == 11), (number + 1) % 12 + 1, 1)


def _together(first: UsageTable, second: UsageTable) -> UsageTable:
    """Two tables as one: keys both know are one key."""
    numbers: dict[tuple[str, ...], int] = {}
    used = [first.keys[n] for n in np.unique(first.key).tolist()]
    for key in (*used, *second.keys):
        numbers.setdefault(key, len(numbers))
    moved = []
    for table in (first, second):
        new = np.array([numbers.get(key, 0) for key in table.keys], np.int32)
        moved.append(new[table.key] if len(table.keys) else table.key)
    return UsageTable(
        NAMES,
        tuple(numbers),
        np.concatenate([first.days, second.days]),
        np.concatenate(moved),
        np.concatenate([first.counts, second.counts], axis=1),
        np.concatenate([first.requests, second.requests]),
    )


def _sorted(table: UsageTable) -> UsageTable:
    order = np.argsort(table.days, kind="stable")
    return UsageTable(
        table.names, table.keys, table.days[order], table.key[order], table.counts[:, order], table.requests[order]
    )
