"""The idempotent upsert of hourly rows beside a bare binary COPY into a table with the same key index, in one run.

    python bench/rollup_upsert.py [--rows 1000000] [--json]

Measured: a first import, the same import again, one in which every tenth row differs. Throw-away database.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.services import own_services, run  # noqa: E402 - found through the path above

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PER_HOUR = 150  # 50 classes × 3 models


def rows_of(count: int, import_id: int, *, odd: int = 0) -> Iterator[tuple[Any, ...]]:
    """Hourly rows; every tenth has `odd` tokens more."""
    for i in range(count):
        hour, place = divmod(i, PER_HOUR)
        key: tuple[Any, ...] = (
            "org-bench",
            "anthropic",
            f"wrkspc_{place % 4}",
            f"apikey_{place % 12}",
            f"claude-{place % 3}",
        )
        key += ("standard", "0-100k", "global", "standard", f"class-{place // 3}", 0, "")
        more = odd if i % 10 == 0 else 0
        yield (BEGIN + timedelta(hours=hour), import_id, *key, 1000 + more, 200, 30, 4, 500, 0, 12, 0)


def child(count: int) -> None:
    import django

    django.setup()
    from django.db import connection, transaction

    from billing.models import Import, UsageRollup, UsageSource
    from billing.operations.rollups import _ROLLUP_COLUMNS, _ROLLUP_TYPES, replace_hours

    source = UsageSource.objects.create(name="bench", grain="request")
    item = Import.objects.create(file_name="bench", sha256="0" * 64, source=source, created_at=BEGIN)
    buckets = [BEGIN + timedelta(hours=hour) for hour in range((count - 1) // PER_HOUR + 1)]
    figures: dict[str, Any] = {"rows": count}

    def floor() -> float:
        columns, table = ", ".join(_ROLLUP_COLUMNS), UsageRollup._meta.db_table
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS bench_copy")
            cursor.execute(f"CREATE TABLE bench_copy AS SELECT {columns} FROM {table} WITH NO DATA")
            key = ", ".join(name for name in _ROLLUP_COLUMNS[:16] if name != "latest_import_id")
            cursor.execute(f"CREATE UNIQUE INDEX ON bench_copy ({key})")
        begun = time.perf_counter()
        statement = f"COPY bench_copy ({columns}) FROM STDIN (FORMAT BINARY)"
        with transaction.atomic(), connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(_ROLLUP_TYPES)
            for start, latest, *rest in rows_of(count, item.pk):
                copy.write_row([start, 1, source.pk, latest, *rest])
        return time.perf_counter() - begun

    def ours(odd: int = 0) -> float:
        begun = time.perf_counter()
        with transaction.atomic():
            replace_hours(source_id=source.pk, bucket_hours=1, buckets=buckets, rows=rows_of(count, item.pk, odd=odd))
        return time.perf_counter() - begun

    figures["floor"] = floor()
    figures["first"] = ours()
    figures["again"] = ours()
    figures["tenth"] = ours(odd=7)
    figures["floor"] = min(figures["floor"], floor())
    held = UsageRollup.objects.filter(uncached_input_tok=1007).count(), UsageRollup.objects.count()
    if held != (-(-count // 10), count):
        raise SystemExit(f"the table does not hold what was written: {held}")
    print(json.dumps(figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.rows)
        return
    with own_services() as environment:
        figures = json.loads(run([__file__, "--child", "--rows", str(options.rows)], environment).splitlines()[-1])
    if options.json:
        print(json.dumps({"cores": os.cpu_count(), "load": os.getloadavg(), **figures}))
        return
    print(f"{figures['rows']:,} rows, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for name, title in (
        ("floor", "bare binary COPY, same key index"),
        ("first", "first import"),
        ("again", "the same again"),
        ("tenth", "every tenth row differs"),
    ):
        seconds = figures[name]
        rate = figures["rows"] / seconds
        print(f"  {title:34} {seconds:6.2f} s  {rate:>9,.0f} rows/s  {figures['floor'] / seconds:.2f} of the floor")


if __name__ == "__main__":
    main()
