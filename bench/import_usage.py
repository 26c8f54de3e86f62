"""Import of request logs end to end: rows/s and peak memory, beside what it stands on, measured in the same run.

    python bench/import_usage.py [--rows 1000000 10000000] [--kinds one parts parquet] [--json]

Works in a throw-away database and folder. The floor is DuckDB reading the same files and summing them up by the key of
the roll-up, with every field decoded that the import needs, and keeping nothing. Floor and import take turns, each in a
process of its own, so that its peak memory is its own; CPU time is shown beside wall time because other work on the
machine changes the second more than the first. The second comparison is
DuckDB's plain way to a store by day: copying the same rows into Parquet files by day in one statement, with nothing
checked, matched or classified. It is no lower bound: over ten million rows the import is faster.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.request_log import COLUMNS, FLOOR, kept_log  # noqa: E402 - found through the path above
from bench.services import own_services, run  # noqa: E402

SETTINGS: Final[dict[str, Any]] = {"threads": 2, "memory_limit": "900MB", "preserve_insertion_order": False}


def child_import(path: Path) -> None:
    """Every file of a folder, one after the other; or one file."""
    import django

    django.setup()
    from costgov.operations.usage import import_usage

    as_of = datetime(2026, 11, 1, tzinfo=UTC)
    begun, used, rows = time.perf_counter(), _cpu(), 0
    for each in sorted(path.iterdir()) if path.is_dir() else [path]:
        rows += import_usage(actor=None, path=each, as_of=as_of).accepted
    _report(rows, begun, used)


def child_read(path: Path) -> None:
    import duckdb

    begun, used = time.perf_counter(), _cpu()
    connection = duckdb.connect(config=SETTINGS)
    groups = connection.execute(FLOOR.replace("{source}", _source(path))).fetchall()
    _report(sum(row[-1] for row in groups), begun, used)


def child_copy(path: Path) -> None:
    import duckdb

    with tempfile.TemporaryDirectory(prefix="costgov-bench-") as folder:
        begun, used = time.perf_counter(), _cpu()
        connection = duckdb.connect(config=SETTINGS | {"temp_directory": f"{folder}/spill"})
        connection.execute(
            f"COPY (SELECT * EXCLUDE (timestamp), CAST(timestamp AS TIMESTAMP) AS occurred_at, "
            f"left(timestamp, 10) AS day FROM {_source(path)}) TO '{folder}/days' "
            "(FORMAT parquet, PARTITION_BY (day), COMPRESSION snappy)"
        )
        found = connection.execute(f"SELECT count(*) FROM read_parquet('{folder}/days/*/*.parquet')").fetchall()
        _report(found[0][0], begun, used)


def _source(path: Path) -> str:
    if path.suffix == ".parquet":
        return f"read_parquet('{path}')"
    name = f"{path}/*.jsonl.gz" if path.is_dir() else str(path)
    return f"read_json('{name}', format = 'newline_delimited', columns = {COLUMNS})"


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _report(rows: int, begun: float, used: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_mb = peak / 1024 if sys.platform != "darwin" else peak / 1024**2
    seconds = time.perf_counter() - begun
    print(json.dumps({"rows": rows, "seconds": seconds, "cpu": _cpu() - used, "peak_mb": peak_mb}))


def _child(kind: str, path: Path, environment: dict[str, str]) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(
        run([__file__, "--child", kind, "--file", str(path)], environment).strip().splitlines()[-1]
    )
    return shown


def measured(rows: int, kind: str) -> dict[str, Any]:
    """Figures of one size: floor, import, floor again (the better counts)."""
    path = kept_log(rows, kind)
    with own_services() as environment:
        floors = [_child("read", path, environment)]
        imported = _child("import", path, environment)
        floors.append(_child("read", path, environment))
        copied = _child("copy", path, environment)
    counts = [each["rows"] for each in (imported, copied, *floors)]
    if any(count != rows for count in counts):
        raise SystemExit(f"not all rows were read: {counts}")
    read = min(floors, key=lambda one: one["seconds"])
    return {"rows": rows, "kind": kind, "import": imported, "read": read, "copy": copied}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--kinds", choices=["one", "parts", "parquet"], nargs="+", default=["one", "parts"])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", choices=["import", "read", "copy"], help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        {"import": child_import, "read": child_read, "copy": child_copy}[options.child](options.file)
        return
    runs = [measured(rows, kind) for kind in options.kinds for rows in options.rows]
    if options.json:
        print(json.dumps({"cores": os.cpu_count(), "load": os.getloadavg(), "runs": runs}))
        return
    for figures in runs:
        print(f"{figures['rows']:,} rows, {figures['kind']}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        titles = {
            "import": "import, end to end",
            "read": "DuckDB reading and summing up",
            "copy": "DuckDB copying to Parquet by day",
        }
        for name, title in titles.items():
            each = figures[name]
            print(
                f"  {title:32} {each['seconds']:7.2f} s  {each['cpu']:7.2f} s CPU"
                f"  {each['rows'] / each['seconds']:>10,.0f} rows/s  peak {each['peak_mb']:5.0f} MB"
            )
        for name, title in (("read", "reading"), ("copy", "copying by day")):
            wall, cpu = (figures["import"][unit] / figures[name][unit] for unit in ("seconds", "cpu"))
            print(f"  import / {title} = {wall:.2f}× wall, {cpu:.2f}× CPU")


if __name__ == "__main__":
    main()
