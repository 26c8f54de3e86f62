"""Many small logs, as one pushed every hour leaves them: import of a directory, the next file, compaction.

    python bench/small_files.py [--files 300 2000] [--one-by-one 100] [--rows 50] [--json]

Works in a throw-away database and folder. A directory is imported as `manage.py import_usage` does it; beside it the
first of the same files one by one, in a store of their own. Then the store is made as single imports leave it (a file
an import), the next small import is timed, the store compacted, and the next timed again. CPU time stands beside wall
time because other work on the machine changes the second more than the first.
"""

import argparse
import json
import os
import random
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.request_log import SEED, _line  # noqa: E402 - found through the path above
from bench.services import own_services, run  # noqa: E402

BEGIN: Final = datetime(2026, 9, 1, tzinfo=UTC)
AS_OF: Final = datetime(2026, 12, 24, tzinfo=UTC)


def write_files(folder: Path, count: int, rows: int, *, first: int = 0) -> list[Path]:
    """Logs of an hour each."""
    found = []
    for number in range(first, first + count):
        draw, hour = random.Random(SEED + number), BEGIN + timedelta(hours=number)
        path = folder / f"{number:06}.jsonl"
        path.write_text("".join(_line(draw, hour + timedelta(seconds=3_600 / rows * i), i) for i in range(rows)))
        found.append(path)
    return found


def child_together(count: int, rows: int) -> dict[str, Any]:
    from costgov.operations.usage import import_usage_files

    with tempfile.TemporaryDirectory(prefix="costgov-bench-") as name:
        files = [(path, path.name) for path in write_files(Path(name), count, rows)]
        _warm(Path(name), rows)
        begun, used = time.perf_counter(), _cpu()
        accepted = sum(
            getattr(told, "accepted", 0) for _, told in import_usage_files(actor=None, files=files, as_of=AS_OF)
        )
        return {"files": count, "accepted": accepted, **_since(begun, used)}


def child_one_by_one(count: int, rows: int) -> dict[str, Any]:
    from costgov.operations.usage import import_usage

    with tempfile.TemporaryDirectory(prefix="costgov-bench-") as name:
        files = write_files(Path(name), count, rows)
        _warm(Path(name), rows)
        begun, used = time.perf_counter(), _cpu()
        accepted = sum(import_usage(actor=None, path=path, as_of=AS_OF).accepted for path in files)
        return {"files": count, "accepted": accepted, **_since(begun, used)}


def child_compaction(count: int, rows: int) -> dict[str, Any]:
    """A store with a file of its own for each import, then the next imports before and after compaction."""
    from billing.models import StorePack
    from billing.operations.compaction import compact_store, sweep_store
    from billing.queries.imports import request_store, stored_imports
    from billing.store.writing import prefix
    from costgov.operations.usage import import_usage, import_usage_files

    with tempfile.TemporaryDirectory(prefix="costgov-bench-") as name:
        folder = Path(name)
        files = [(path, path.name) for path in write_files(folder, count, rows)]
        list(import_usage_files(actor=None, files=files, as_of=AS_OF))
        store = request_store()
        with store.engine("apart") as engine:  # as one import after the other would have left them
            for item in stored_imports():
                for pack in item.packs:
                    target = engine.folder / "part.parquet"
                    one = store.rows([item], [datetime.fromisoformat(pack.day).date()])
                    engine.connection.execute(f"COPY (FROM {one}) TO '{target}' (FORMAT parquet, COMPRESSION snappy)")
                    store.place.put(target, pack.day, f"{prefix(item)}0.parquet")
        StorePack.objects.all().delete()
        sweep_store()
        before = len(store.place.listed())

        def next_imports(first: int) -> list[dict[str, float]]:
            found = []
            for path in write_files(folder, 5, rows, first=first):
                begun, used = time.perf_counter(), _cpu()
                import_usage(actor=None, path=path, as_of=AS_OF)
                found.append(_since(begun, used))
            return found

        slow = next_imports(count)
        begun, used = time.perf_counter(), _cpu()
        done = compact_store(as_of=AS_OF + timedelta(days=400))
        took = _since(begun, used)
        after = len(store.place.listed())
        fast = next_imports(count + 5)
        return {
            "files": count, "store_files_before": before, "store_files_after": after, "days": done.days,
            "compaction": took, "next_before": _middle(slow), "next_after": _middle(fast),
        }  # fmt: skip


def _warm(folder: Path, rows: int) -> None:
    """The first import of a process loads what later ones have."""
    from costgov.operations.usage import import_usage

    (path,) = write_files(folder, 1, rows, first=100_000)
    import_usage(actor=None, path=path, as_of=datetime(2038, 6, 1, tzinfo=UTC))


def _middle(times: list[dict[str, float]]) -> dict[str, float]:
    return {unit: sorted(one[unit] for one in times)[len(times) // 2] for unit in ("seconds", "cpu")}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _since(begun: float, used: float) -> dict[str, float]:
    return {"seconds": time.perf_counter() - begun, "cpu": _cpu() - used}


CHILDREN: Final = {"together": child_together, "one-by-one": child_one_by_one, "compaction": child_compaction}


def measured(kind: str, count: int, rows: int) -> dict[str, Any]:
    with own_services() as environment:
        said = run([__file__, "--child", kind, "--files", str(count), "--rows", str(rows)], environment)
    shown: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, nargs="+", default=[300, 2_000])
    parser.add_argument("--one-by-one", type=int, default=100, help="how many of them one by one, for comparison")
    parser.add_argument("--rows", type=int, default=50, help="of a file")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", choices=list(CHILDREN), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        import django

        django.setup()
        print(json.dumps(CHILDREN[options.child](options.files[0], options.rows)))
        return
    single = measured("one-by-one", options.one_by_one, options.rows)
    runs = [
        measured("together", count, options.rows) | measured("compaction", count, options.rows)
        for count in options.files
    ]
    if options.json:
        print(json.dumps({"cores": os.cpu_count(), "load": os.getloadavg(), "one_by_one": single, "runs": runs}))
        return
    print(f"files of {options.rows} rows, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for title, each in [("one by one", single), *(("together", each) for each in runs)]:
        a_file = {unit: each[unit] / each["files"] * 1_000 for unit in ("seconds", "cpu")}
        print(
            f"  {each['files']:>6,} {title:10} {each['seconds']:7.1f} s  {each['cpu']:7.1f} s CPU"
            f"  {a_file['seconds']:6.0f} ms a file  {a_file['cpu']:6.0f} ms CPU"
        )
    for each in runs:
        before, after, took = each["next_before"], each["next_after"], each["compaction"]
        print(
            f"  {each['store_files_before']:,} files of the store become {each['store_files_after']:,} in "
            f"{took['seconds']:.1f} s ({took['cpu']:.1f} s CPU); the next import {before['seconds']:.2f} s "
            f"({before['cpu']:.2f} s CPU) before, {after['seconds']:.2f} s ({after['cpu']:.2f} s CPU) after"
        )


if __name__ == "__main__":
    main()
