"""Import of request logs end to end: rows/s and peak memory, beside what it stands on, measured in the same run.

    python bench/import_usage.py [--rows 100000 1000000 3000000] [--json]

Works in a throw-away database and folder. Floors: DuckDB merely reading and aggregating the same file, and a bare
binary COPY of the roll-up rows.
"""

import argparse
import gzip
import json
import os
import random
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.services import own_services, run  # noqa: E402 - found through the path above

SEED = 20261101
MODELS = ("claude-opus-4-5-20251101", "claude-sonnet-4-6", "claude-haiku-4-5-20251001")


def write_log(path: Path, rows: int) -> None:
    """Request log of 28 days in our envelope: 9 features, 3 models, 12 keys; the same bytes for the same number."""
    draw = random.Random(SEED)
    begin, step = datetime(2026, 10, 1, tzinfo=UTC), timedelta(days=28) / rows
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=4, mtime=0) as out:
        for i in range(rows):
            at, model = begin + step * i, draw.choice(MODELS)
            feature, key = draw.randrange(9), draw.randrange(12)
            read = draw.choice((0, 0, draw.randrange(60_000)))
            out.write(
                json.dumps(
                    {
                        "timestamp": at.isoformat().replace("+00:00", "Z"),
                        "request_id": f"req_{i:024d}",
                        "organization_id": "org-bench",
                        "workspace_id": f"wrkspc_{key % 4}",
                        "api_key_id": f"apikey_{key}",
                        "method": "POST",
                        "path": "/v1/messages",
                        "http_status": 200,
                        "latency_ms": draw.randrange(200, 20_000),
                        "request": {"model": model, "max_tokens": 1024, "stream": bool(i % 2)},
                        "tags": {"feature": f"feature-{feature}", "environment": "prod"},
                        "response": {
                            "id": f"msg_{i:024d}",
                            "type": "message",
                            "role": "assistant",
                            "model": model,
                            "content": [],
                            "stop_reason": "end_turn",
                            "usage": {
                                "input_tokens": draw.randrange(20, 8_000),
                                "cache_creation_input_tokens": 0,
                                "cache_read_input_tokens": read,
                                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                                "output_tokens": draw.randrange(1, 2_000),
                                "server_tool_use": None,
                                "service_tier": "standard",
                                "inference_geo": "global",
                                "speed": "standard",
                            },
                        },
                    }
                ).encode()
                + b"\n"
            )


def child_import(path: Path) -> None:
    """In a process of its own, so that its peak memory is the import's."""
    import django

    django.setup()
    from costgov.operations.usage import import_usage

    begun = time.perf_counter()
    outcome = import_usage(actor=None, path=path, as_of=datetime(2026, 11, 1, tzinfo=UTC))
    seconds = time.perf_counter() - begun
    print(json.dumps({"rows": outcome.accepted, "seconds": seconds, "peak_mb": _peak_mb()}))


def child_read(path: Path) -> None:
    """Floor 1: DuckDB reads the same fields and groups by hour and model, and keeps nothing."""
    import duckdb

    begun = time.perf_counter()
    connection = duckdb.connect(config={"threads": 2, "memory_limit": "480MB", "preserve_insertion_order": False})
    groups = connection.execute(
        "SELECT timestamp[:13], response.model, sum(response.usage.input_tokens), "
        "sum(response.usage.cache_read_input_tokens), sum(response.usage.output_tokens), count(*) "
        "FROM read_json(?, format = 'newline_delimited', columns = {timestamp: 'VARCHAR', request_id: 'VARCHAR', "
        "response: 'STRUCT(id VARCHAR, model VARCHAR, usage STRUCT(input_tokens BIGINT, "
        "cache_read_input_tokens BIGINT, output_tokens BIGINT))'}) GROUP BY ALL",
        [str(path)],
    ).fetchall()
    seconds = time.perf_counter() - begun
    print(json.dumps({"rows": sum(row[-1] for row in groups), "seconds": seconds, "peak_mb": _peak_mb()}))


def child_copy(path: Path) -> None:
    """Floor 2: a bare binary COPY of the roll-up rows the import wrote, into a table without indexes."""
    import django

    django.setup()
    from django.db import connection, transaction

    from billing.models import UsageRollup
    from billing.operations.rollups import _ROLLUP_COLUMNS, _ROLLUP_TYPES

    rows = list(UsageRollup.objects.values_list(*_ROLLUP_COLUMNS))
    columns = ", ".join(_ROLLUP_COLUMNS)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TEMP TABLE bench_copy ON COMMIT DROP AS SELECT {columns} FROM billing_usagerollup WITH NO DATA"
        )
        begun = time.perf_counter()
        with cursor.copy(f"COPY bench_copy ({columns}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(_ROLLUP_TYPES)
            for row in rows:
                copy.write_row(row)
        seconds = time.perf_counter() - begun
    print(json.dumps({"rows": len(rows), "seconds": seconds, "peak_mb": _peak_mb(), "from": path.name}))


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 1024**2


def _child(kind: str, path: Path, environment: dict[str, str]) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(
        run([__file__, "--child", kind, "--file", str(path)], environment).strip().splitlines()[-1]
    )
    return shown


def kept_log(rows: int) -> Path:
    """The log of so many rows, written once and kept for the next run."""
    path = Path(tempfile.gettempdir()) / f"costgov-bench-log-{SEED}-{rows}.jsonl.gz"
    if not path.exists():
        print(f"writing {rows:,} rows …", file=sys.stderr)
        write_log(path.with_suffix(".part"), rows)
        path.with_suffix(".part").rename(path)
    return path


def measured(rows: int) -> dict[str, Any]:
    """Figures of one size, each in a process of its own, on services of their own."""
    path = kept_log(rows)
    with own_services() as environment:
        figures: dict[str, Any] = {kind: _child(kind, path, environment) for kind in ("read", "import", "copy")}
    return {"rows": rows, "file_mb": path.stat().st_size / 1e6, **figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", choices=["import", "read", "copy"], help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        {"import": child_import, "read": child_read, "copy": child_copy}[options.child](options.file)
        return
    runs = [measured(rows) for rows in options.rows]
    if options.json:
        print(json.dumps({"cores": os.cpu_count(), "runs": runs}))
        return
    for figures in runs:
        print(f"{figures['rows']:,} rows, {figures['file_mb']:.0f} MB JSONL.gz, {os.cpu_count()} cores")
        for kind, title in (
            ("import", "import, end to end"),
            ("read", "DuckDB reading and aggregating the file"),
            ("copy", "bare binary COPY of the roll-up rows"),
        ):
            each = figures[kind]
            print(
                f"  {title:42} {each['rows']:>10,} rows  {each['seconds']:7.2f} s"
                f"  {each['rows'] / each['seconds']:>10,.0f} rows/s  peak {each['peak_mb']:5.0f} MB"
            )
        print(f"  import / reading = {figures['import']['seconds'] / figures['read']['seconds']:.1f}×")


if __name__ == "__main__":
    main()
