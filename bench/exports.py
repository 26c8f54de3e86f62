"""Downloads of a million rows (CSV, a workbook, FOCUS): time and memory, beside the same rows from a bare COPY.

    python bench/exports.py [--classes 192] [--days 1096] [--json]

The daily table holds a row per UTC day and key: 192 classes on 5 models for three years, 1,052,160 rows. Each file is
asked for through the whole of Django, in a process of its own that has shown spend before, and thrown away piece by
piece as a browser would take it. "more": the peak of memory above what the process had before the file was asked for.
The floor is PostgreSQL's COPY of rows that many columns wide through `csv.writer`, or through `xlsxwriter` for the
workbook, in the same process. A workbook cannot hold 1,048,576 rows and more: asked for them, it refuses, at once.
Budgets: 256 MB more, a refusal within 10 s.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.spend import FIRST_DAY, fill

MORE_MB, REFUSAL_SECONDS = 256.0, 10.0
BY = "day,class,model,workspace,api_key"
KINDS = ("uncached_input_tok", "cache_read_tok", "cache_write_5m_tok", "cache_write_1h_tok", "output_tok")
EXPORTS = ("csv", "xlsx", "focus", "refused")


def memory_mb(name: str) -> float:
    """VmRSS or VmHWM of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"the kernel tells no {name}")


def copied(query: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, by COPY."""
    from django.db import connection

    with connection.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT") as copy:
        yield from copy.rows()


def floor(name: str, end: date) -> float:
    """Seconds of the same number of rows as wide as the file's, from a bare COPY to a file."""
    from billing.exports.focus import COLUMNS
    from billing.models import DailyUsage

    table = DailyUsage._meta.db_table
    keys = "date, request_class, model, workspace, api_key"
    sums = ", ".join((*KINDS, "web_searches", "requests"))
    if name == "focus":
        units = f"unnest(ARRAY[{', '.join(KINDS)}])"
        rest = ", ".join("'Anthropic'" for _ in range(len(COLUMNS) - 12))
        query = (
            f"SELECT {keys}, units, units * 0.000003, units * 0.000003, units * 0.000003, 3, 3, units / 1e6, {rest} "
            f"FROM (SELECT *, {units} AS units FROM {table} WHERE date < '{end}') u WHERE units > 0"
        )
    else:
        query = f"SELECT {keys}, model, request_class, 1.5, 1.5, 1.5, {sums}, 0, 0 FROM {table} WHERE date < '{end}'"
    begun = time.perf_counter()
    with tempfile.TemporaryFile("w+", newline="") as file:
        if name == "xlsx":
            import xlsxwriter

            book = xlsxwriter.Workbook(file.buffer, {"constant_memory": True})
            sheet = book.add_worksheet()
            for number, row in enumerate(copied(query)):
                for column, value in enumerate(row):
                    if column < 7:
                        sheet.write_string(number, column, value)
                    else:
                        sheet.write_number(number, column, float(value))
            book.close()
        else:
            csv.writer(file).writerows(copied(query))
    return time.perf_counter() - begun


def child(options: argparse.Namespace) -> None:
    import django

    django.setup()
    from django.test import Client, override_settings

    from costgov.models import User

    if options.child == "fill":
        fill(options.days, options.classes, hourly=False)
        User.objects.create_user(username="bench", password=None, is_superuser=True)
        return
    name = options.child
    of_day = options.classes * 5
    most = 1_040_000 // of_day  # days whose rows a workbook holds
    days = {"focus": most // len(KINDS), "refused": options.days}.get(name, min(most, options.days))
    end = FIRST_DAY + timedelta(days=days)
    kind = {"refused": "xlsx"}.get(name, name)
    with override_settings(ALLOWED_HOSTS=["testserver"]):
        client = Client()
        client.force_login(User.objects.get(username="bench"))
        # Code loaded, usage in memory: a limit nobody asked for before, else the answer comes from the cache.
        client.get(f"/api/v1/spend?by=class&from={FIRST_DAY}&to={end}&limit={100 + EXPORTS.index(name)}")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = memory_mb("VmRSS")
        begun, worked = time.perf_counter(), time.process_time()
        answer = client.get(f"/api/v1/spend?by={BY}&from={FIRST_DAY}&to={end}&format={kind}")
        figures: dict[str, Any] = {"status": answer.status_code, "rows": days * of_day}
        if name == "refused":
            figures["seconds"] = time.perf_counter() - begun
            figures["said"] = json.loads(answer.content)["error"]["message"]
            print(json.dumps(figures))
            return
        if answer.status_code != 200:
            raise SystemExit(f"{name} answered {answer.status_code}")
        size = lines = 0
        first = 0.0
        for piece in answer.streaming_content:  # type: ignore[attr-defined]
            first = first or time.perf_counter() - begun
            size += len(piece)
            lines += piece.count(b"\n") if kind != "xlsx" else 0
        figures |= {
            "seconds": time.perf_counter() - begun,
            "cpu_seconds": time.process_time() - worked,
            "first_seconds": first,
            "mb": size / 1e6,
            "before_mb": before,
            "more_mb": memory_mb("VmHWM") - before,
        }
        if kind != "xlsx":
            figures["rows"] = lines - 1
    figures["floor_seconds"] = floor(name, end)
    print(json.dumps(figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=1096, help="days of usage (three years)")
    parser.add_argument("--classes", type=int, default=192, help="classes, each on five models")
    parser.add_argument("--only", nargs="*", choices=EXPORTS, default=EXPORTS, help="only these files")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    from bench.services import own_services, run

    found: dict[str, Any] = {"cpus": os.cpu_count()}
    with own_services() as environment:
        ask: Callable[[str], str] = lambda name: run(  # noqa: E731
            ["bench/exports.py", f"--child={name}", f"--days={options.days}", f"--classes={options.classes}"],
            environment,
        )
        print("filling …", file=sys.stderr)
        ask("fill")
        for name in options.only:
            print(f"{name} …", file=sys.stderr)
            found[name] = json.loads(ask(name).strip().splitlines()[-1])
    if options.json:
        print(json.dumps(found))
        return
    for name in options.only:
        row = found[name]
        if name == "refused":
            word = "within" if row["seconds"] <= REFUSAL_SECONDS else "ABOVE"
            print(f"workbook of {row['rows']:,} rows: {row['status']} after {row['seconds']:.1f} s, {word} the budget")
            print(f"       {row['said']}")
            continue
        word = "within" if row["more_mb"] <= MORE_MB else "ABOVE"
        ratio = row["seconds"] / row["floor_seconds"]
        print(
            f"{name:6} {row['rows']:,} rows, {row['mb']:4.0f} MB: {row['seconds']:6.1f} s, "
            f"{row['cpu_seconds']:.1f} s of CPU, the first piece after {row['first_seconds']:.1f} s; "
            f"floor {row['floor_seconds']:.1f} s, {ratio:.1f}x"
        )
        print(f"       {row['more_mb']:.0f} MB above {row['before_mb']:.0f} MB, {word} the budget of {MORE_MB:.0f} MB")


if __name__ == "__main__":
    main()
