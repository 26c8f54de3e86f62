"""Import of eval cases end to end: seconds and peak memory, beside what it stands on, measured in the same run.

    python bench/eval_import.py [--cases 1000000] [--classes 20] [--json]

Target: one million cases in 30 s. Works in a throw-away database. The floor, in the same run: every line through
`json.loads` (the cases as JSON lines), and a bare COPY of the same columns into a table with the same keys, indexes,
checks and foreign key. Then the verdict of every class and model is asked for, from the evidence the import kept.
"""

import argparse
import json
import os
import random
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.services import own_services, run  # noqa: E402 - found through the path above

MODELS = [f"claude-model-{number}" for number in range(10)]
COLUMNS = (
    "suite", "request_class", "sample_id", "model", "run_at", "passed", "input_tokens", "cache_read_tokens",
    "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens", "cost_usd", "latency_ms", "error",
)  # fmt: skip
AS_OF = datetime(2026, 11, 24, tzinfo=UTC)
_KEPT = (
    "sample_id, repeat, prompt_version, mode, model, model_raw, run_at, score, graded_score, attempts, error, "
    "uncached_input_tok, cache_read_tok, cache_write_5m_tok, cache_write_1h_tok, output_tok, cost_usd, latency_ms"
)


def write_cases(path: Path, cases: int, classes: int, *, day: int = 9) -> None:
    """A CSV of `cases` results: classes × cases of each × ten models; 95 % pass, 0.5 % end in an error."""
    draw = random.Random(day)
    with path.open("w") as file:
        file.write(",".join(COLUMNS) + "\n")
        for number in range(classes):
            for sample in range(cases // (classes * len(MODELS))):
                for model in MODELS:
                    error = draw.random() < 0.005
                    passed = "" if error else "true" if draw.random() < 0.95 else "false"
                    file.write(
                        f"suite-{number},class-{number},S-{day}-{sample},{model},"
                        f"2026-11-{day:02}T10:{sample % 60:02}:00Z,"
                        f"{passed},{draw.randint(500, 3000)},{draw.randint(0, 1500)},0,0,{draw.randint(20, 800)},"
                        f"{draw.randint(1, 9999) / 1e6:.6f},{draw.randint(200, 9000)},{'timeout' if error else ''}\n"
                    )


def child_import(path: Path) -> None:
    import django

    django.setup()
    from routing.operations.evals import import_evals

    begun, used = time.perf_counter(), _cpu()
    outcome = import_evals(actor=None, path=path, as_of=AS_OF, create_classes=True)
    _report(outcome.cases, begun, used)


def child_verdicts(path: Path) -> None:
    import django

    django.setup()
    from routing.queries.kept_evidence import kept_verdicts

    begun, used = time.perf_counter(), _cpu()
    found = kept_verdicts(incumbents={}, as_of=AS_OF)
    _report(sum(len(each.verdicts) for each in found.values()), begun, used)


def child_loads(path: Path) -> None:
    begun, used, rows = time.perf_counter(), _cpu(), 0
    with path.with_suffix(".jsonl").open() as file:
        for line in file:
            rows += bool(json.loads(line))
    _report(rows, begun, used)


def child_copy(path: Path) -> None:
    """The rows the import wrote, as COPY's text, into a table like theirs."""
    import django

    django.setup()
    from django.db import connection, transaction

    text = path.with_suffix(".copy")
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_cases (LIKE routing_evalcase INCLUDING ALL)")
        cursor.execute(
            "ALTER TABLE bench_cases ADD FOREIGN KEY (run_id) REFERENCES routing_evalrun DEFERRABLE INITIALLY DEFERRED"
        )
        with text.open("wb") as out, cursor.copy(f"COPY routing_evalcase (run_id, {_KEPT}) TO STDOUT") as rows:
            for data in rows:
                out.write(data)
    begun, used = time.perf_counter(), _cpu()
    with transaction.atomic(), connection.cursor() as cursor:
        with text.open("rb") as file, cursor.copy(f"COPY bench_cases (run_id, {_KEPT}) FROM STDIN") as into:
            while chunk := file.read(1 << 20):
                into.write(chunk)
        cursor.execute("SELECT count(*) FROM bench_cases")
        rows_there = cursor.fetchone()[0]
    _report(rows_there, begun, used)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE bench_cases")


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _report(rows: int, begun: float, used: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_mb = peak / 1024 if sys.platform != "darwin" else peak / 1024**2
    print(json.dumps({"rows": rows, "seconds": time.perf_counter() - begun, "cpu": _cpu() - used, "peak_mb": peak_mb}))


def child(kind: str, path: Path, environment: dict[str, str]) -> dict[str, Any]:
    """What one child measured."""
    told = run([str(ROOT / "bench" / "eval_import.py"), "--child", kind, "--file", str(path)], environment)
    shown: dict[str, Any] = json.loads(told.strip().splitlines()[-1])
    return shown


def measured(cases: int, classes: int) -> dict[str, Any]:
    """Floor, import, floor again (the better counts), and the verdicts afterwards."""
    with tempfile.TemporaryDirectory(prefix="costgov-bench-") as folder, own_services() as environment:
        path = Path(folder) / "evals.csv"
        write_cases(path, cases, classes)
        with path.open() as file, path.with_suffix(".jsonl").open("w") as out:
            next(file)
            for line in file:
                out.write(json.dumps(dict(zip(COLUMNS, line.rstrip("\n").split(","), strict=True))) + "\n")
        loads = [child("loads", path, environment)]
        imported = child("import", path, environment)
        loads.append(child("loads", path, environment))
        copied = child("copy", path, environment)
        verdicts = child("verdicts", path, environment)
    return {
        "import": imported,
        "loads": min(loads, key=lambda one: one["seconds"]),
        "copy": copied,
        "verdicts": verdicts,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--child", choices=["import", "loads", "copy", "verdicts"], help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        children = {"import": child_import, "loads": child_loads, "copy": child_copy, "verdicts": child_verdicts}
        children[options.child](options.file)
        return
    figures = measured(options.cases, options.classes)
    if options.json:
        print(json.dumps({"cores": os.cpu_count(), "load": os.getloadavg(), **figures}))
        return
    print(f"{options.cases:,} cases, {options.classes} classes, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    titles = {
        "import": "import, end to end",
        "loads": "floor: json.loads of every line",
        "copy": "floor: bare COPY, same keys",
        "verdicts": "verdicts from what was kept",
    }
    for name, title in titles.items():
        each = figures[name]
        print(
            f"  {title:32} {each['seconds']:7.2f} s  {each['cpu']:7.2f} s CPU of ours  {each['rows']:>10,} rows"
            f"  peak {each['peak_mb']:5.0f} MB"
        )
    floor = figures["loads"]["seconds"] + figures["copy"]["seconds"]
    print(f"  import / (json.loads + COPY) = {figures['import']['seconds'] / floor:.2f}×; target 30 s a million")


if __name__ == "__main__":
    main()
