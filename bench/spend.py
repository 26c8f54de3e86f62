"""`GET /api/v1/spend` over three years by every pair of groupings, beside the bare SQL aggregate of the same rows.

    python bench/spend.py [--days 1096] [--classes 50] [--repeats 3] [--hourly] [--json]

The table pages read holds one row per UTC day and key: 50 classes on 5 models for three years are 274,000 rows, the
counted form of 6.6 million hourly rows. They are written by COPY and asked through the whole of Django with a token.
"first": nothing is in memory, as after a start. "new": a pair nobody asked for since the data changed. "again": the
same question once more. The floor is PostgreSQL summing the same columns by the same two columns, its answer not even
fetched; with --hourly also over the 6.6 million hourly rows (some minutes, 2 GB).
Budget: p95 of new 200 ms, of again 30 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

NEW_MS, AGAIN_MS = 200.0, 30.0
FIRST_DAY = date(2023, 11, 1)
MODELS = ("claude-opus-4-5", "claude-opus-4-6", "claude-sonnet-4-5", "claude-sonnet-4-6", "claude-haiku-4-5")
SEED = 20261101
FLOOR_COLUMN = {  # what the floor groups by: plain columns only
    "day": "date", "week": "date_trunc('week', date)", "month": "date_trunc('month', date)", "class": "request_class",
    "tier": "model", "source": "source_id", "token_kind": "model", "cost_centre": "workspace", "team": "workspace",
}  # fmt: skip


def keys(classes: int) -> list[tuple[str, str, str, str]]:
    """(class, model, workspace, api key) of every series: a class has its key, a key its workspace."""
    return [
        (f"class-{n:02d}", model, f"wrkspc_{n % 12:02d}", f"apikey_{n:02d}") for n in range(classes) for model in MODELS
    ]


def rows(days: int, classes: int) -> Iterator[tuple[Any, ...]]:
    draw = random.Random(SEED)
    for n in range(days):
        for name, model, workspace, key in keys(classes):
            requests = draw.randrange(50, 5_000)
            counts = [requests * draw.randrange(low, high) for low, high in ((50, 900), (0, 9_000), (0, 400), (0, 90))]
            yield (
                FIRST_DAY + timedelta(days=n), "report", 1, "org", "anthropic", workspace, key, model, "standard",
                "0-100k", "global", "standard", name, 0, "", *counts, requests * draw.randrange(20, 700), 0, requests,
            )  # fmt: skip


def each_day(days: int) -> Iterator[date]:
    return (FIRST_DAY + timedelta(days=n) for n in range(days))


def fill(days: int, classes: int, *, hourly: bool) -> None:
    """The daily table by COPY; with `hourly` a row per hour too, made of it by the server."""
    from django.db import connection, transaction

    from billing.models import DailyUsage, Import, UsageRollup, UsageSource
    from billing.operations.months import ensure_months
    from billing.operations.prices import seed_list_prices
    from billing.operations.rollups import _DAILY_COLUMNS, _DAILY_TYPES

    at = datetime(2026, 11, 1, tzinfo=UTC)
    seed_list_prices(as_of=at)
    UsageSource.objects.create(pk=1, name="bench report", grain=UsageSource.Grain.BUCKET)
    with transaction.atomic(), connection.cursor() as cursor:
        table = DailyUsage._meta.db_table
        with cursor.copy(f"COPY {table} ({', '.join(_DAILY_COLUMNS)}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(_DAILY_TYPES)
            for row in rows(days, classes):
                copy.write_row(row)
    with connection.cursor() as cursor:
        if hourly:
            run = Import.objects.create(file_name="bench", sha256="0" * 64, created_at=at, source_id=1)
            names = [name for name in _DAILY_COLUMNS if name not in ("date", "origin", "source_id")]
            hours = UsageRollup._meta.db_table
            ensure_months(cursor, (datetime(*day.timetuple()[:3], tzinfo=UTC) for day in each_day(days)))
            cursor.execute(
                f"INSERT INTO {hours} (bucket_start, bucket_hours, source_id, latest_import_id, failed_requests, "
                f"{', '.join(names)}) SELECT (date + h * interval '1 hour') AT TIME ZONE 'UTC', 1, source_id, "
                f"{run.pk}, 0, {', '.join(names)} FROM {table}, generate_series(0, 23) h"
            )
            cursor.execute(f"ANALYZE {hours}")
        cursor.execute(f"ANALYZE {table}")


def floor(pair: tuple[str, ...], *, hourly: bool = False) -> float:
    """Milliseconds of PostgreSQL's own aggregate; its rows are counted, not fetched."""
    from django.db import connection

    from billing.models import DailyUsage, UsageRollup

    table = UsageRollup._meta.db_table if hourly else DailyUsage._meta.db_table
    columns = [FLOOR_COLUMN.get(name, name) for name in pair]
    if hourly:
        columns = [
            column.replace("date", "bucket_start") if column.startswith("date") else column for column in columns
        ]
        columns = [c.replace("bucket_start_trunc", "date_trunc") for c in columns]
        columns = ["date_trunc('day', bucket_start)" if column == "bucket_start" else column for column in columns]
    by = ", ".join(str(n + 1) for n in range(len(columns)))
    sums = ", ".join(
        f"sum({name})"
        for name in ("uncached_input_tok", "cache_read_tok", "cache_write_5m_tok", "cache_write_1h_tok", "output_tok",
                     "web_searches", "requests")
    )  # fmt: skip
    with connection.cursor() as cursor:
        begun = time.perf_counter()
        cursor.execute(f"SELECT count(*) FROM (SELECT {', '.join(columns)}, {sums} FROM {table} GROUP BY {by}) g")
        cursor.fetchone()
        return (time.perf_counter() - begun) * 1000


def spread(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return {"p50_ms": cuts[9], "p95_ms": cuts[18], "max_ms": max(values), "requests": len(values)}


def child(options: argparse.Namespace) -> None:
    import django

    django.setup()
    from django.test import Client, override_settings

    from audit.operations import bump_data_version
    from billing.models import DailyUsage
    from billing.queries import usage_table
    from costgov.models import User
    from costgov.queries.spend import SPEND_DIMENSIONS
    from costgov.tokens import create_token

    at = datetime(2026, 11, 1, tzinfo=UTC)
    user = User.objects.create_user(username="bench", password=None, is_superuser=True)
    _, secret = create_token(actor=user, name="bench", scopes=["read"], as_of=at)
    begun = time.perf_counter()
    fill(options.days, options.classes, hourly=options.hourly)
    filled = time.perf_counter() - begun
    pairs = [tuple(pair.split(",")) for pair in options.pairs] or list(combinations(SPEND_DIMENSIONS, 2))
    with override_settings(ALLOWED_HOSTS=["testserver"]):
        client = Client(headers={"Authorization": f"Bearer {secret}"})

        def ask(pair: tuple[str, ...]) -> tuple[float, int]:
            begun = time.perf_counter()
            answer = client.get(f"/api/v1/spend?by={','.join(pair)}")
            took = (time.perf_counter() - begun) * 1000
            if answer.status_code != 200:
                raise SystemExit(f"{pair} answered {answer.status_code}: {answer.content[:300]!r}")
            return took, len(answer.content)

        client.get("/api/v1/prices")  # code loaded, connections open
        usage_table.forget()
        first = ask(("class", "model"))[0]
        new: dict[str, list[float]] = {}
        sizes: dict[str, int] = {}
        for turn in range(options.repeats):
            if turn:
                bump_data_version()
                ask(("source", "origin"))  # the first to look after a change finds out that no usage changed
            for pair in pairs:
                took, size = ask(pair)
                new.setdefault(",".join(pair), []).append(took)
                sizes[",".join(pair)] = size
        again = [ask(pair)[0] for _ in range(options.repeats) for pair in pairs]
    floors = {",".join(pair): min(floor(pair) for _ in range(2)) for pair in pairs}
    hourly = {}
    if options.hourly:
        hourly = {name: floor(tuple(name.split(",")), hourly=True) for name in ("class,model", "day,class")}
    slowest = sorted(new, key=lambda name: -max(new[name]))[:8]
    print(
        json.dumps(
            {
                "cpus": os.cpu_count(),
                "rows": DailyUsage.objects.count(),
                "fill_seconds": filled,
                "pairs": len(pairs),
                "first_ms": first,
                "new": spread([took for found in new.values() for took in found]),
                "again": spread(again),
                "floor": spread(list(floors.values())),
                "hourly_floor_ms": hourly,
                "slowest": [
                    {"by": name, "ms": max(new[name]), "floor_ms": floors[name], "kb": sizes[name] / 1000}
                    for name in slowest
                ],
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=1096, help="days of usage (three years)")
    parser.add_argument("--classes", type=int, default=50, help="classes, each on five models")
    parser.add_argument("--repeats", type=int, default=3, help="times each pair is asked, new and again")
    parser.add_argument("--hourly", action="store_true", help="fill the hourly table too and measure its floor")
    parser.add_argument("--pairs", nargs="*", default=[], help="only these, e.g. day,class (default: every pair)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    from bench.services import own_services, run

    words = [f"--{name}={getattr(options, name)}" for name in ("days", "classes", "repeats")]
    with own_services() as environment:
        print("filling and asking …", file=sys.stderr)
        flags = [*(["--hourly"] if options.hourly else []), *(["--pairs", *options.pairs] if options.pairs else [])]
        output = run(["bench/spend.py", "--child", *words, *flags], environment)
    figures = json.loads(output.strip().splitlines()[-1])
    if options.json:
        print(json.dumps(figures))
        return
    print(
        f"{figures['rows']:,} daily rows, all {figures['pairs']} pairs of groupings, through the API with a token; "
        f"{figures['cpus']} cores"
    )
    print(f"first question after a start   {figures['first_ms']:8.1f} ms")
    for name, budget in (("new", NEW_MS), ("again", AGAIN_MS), ("floor", 0.0)):
        row = figures[name]
        word = "" if not budget else "within" if row["p95_ms"] <= budget else "ABOVE"
        said = f"  {word} the budget of {budget:.0f} ms" if budget else "  bare SQL aggregate"
        print(
            f"{name:6} p50 {row['p50_ms']:7.1f} ms  p95 {row['p95_ms']:7.1f} ms  max {row['max_ms']:7.1f} ms"
            f"  ({row['requests']} requests){said}"
        )
    for row in figures["slowest"]:
        print(f"  {row['by']:28} {row['ms']:7.1f} ms  floor {row['floor_ms']:7.1f} ms  {row['kb']:8,.0f} kB")
    for name, took in figures["hourly_floor_ms"].items():
        print(f"  {name:28} bare SQL over the hourly rows {took:9.0f} ms")


if __name__ == "__main__":
    main()
