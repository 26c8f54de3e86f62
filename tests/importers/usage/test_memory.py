"""Hostile logs in a process of their own: what is read exactly, what is refused, and how much memory it took."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.importers.usage.envelopes import envelope

PEAK_MB = 1_500
ROOT = Path(__file__).resolve().parents[3]
# Reads a file as an import does: the fast path, else row by row. Prints what it found and its peak memory.
CHILD = """
import json, resource, sys
from datetime import UTC, datetime
from pathlib import Path
from billing.importers.base import ImportRefused, Problem, compression_of, each_record
from billing.importers.messages_api_log import MessagesApiLog
from billing.store import NO_PLAN, RequestStore, StageFailed, StoredImport
path, folder = Path(sys.argv[1]), Path(sys.argv[2])
fmt, told = MessagesApiLog(), {}
with RequestStore(folder / "requests", folder / "tmp").engine("test") as engine:
    within = datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
    try:
        staged = engine.stage(fmt, path, compression_of(path), channel="anthropic", within=within)
        told["rows"], told["bad"] = staged.rows, staged.bad
        if not staged.bad:
            told["duplicates"] = engine.merge_duplicates([], replace=False)[0]
            item = StoredImport(1)
            engine.write(item, source_id=1, plan=NO_PLAN, canonical=lambda raw: raw)
            summary = engine.summary(item)
            told["models"], told["tokens"] = len(summary.models), sum(row[2] for row in summary.models)
            told["hourly"] = sum(1 for _ in engine.hourly([item], 1, engine.hours_of([item])[1]))
    except StageFailed:
        told["failed"] = True
    if "models" not in told:
        try:
            found = [r for _, r in each_record(path, path.name, is_lines=True) if isinstance(r, Problem)]
            told["problems"] = [str(found[0]), len(found)] if found else []
        except ImportRefused as refused:
            told["problems"] = [str(refused), 1]
if sys.platform == "linux":  # what getrusage says there begins with the size of the process that started this one
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    told["peak_mb"] = int(status["VmHWM"].split()[0]) / 1024
else:
    told["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
print(json.dumps(told))
"""


def good(number: int, **over: Any) -> bytes:
    return json.dumps(envelope(number, **over)).encode() + b"\n"


def endless_line() -> Iterator[bytes]:
    yield good(1)
    for _ in range(400):
        yield b"a" * 1_000_000


def endless_text() -> Iterator[bytes]:
    yield good(1)
    yield b'{"timestamp": "'
    for _ in range(400):
        yield b"9" * 1_000_000
    yield b'"}\n' + good(2)


def nested() -> Iterator[bytes]:
    yield good(1)
    yield b'{"tags": ' + b"[" * 8_000_000 + b"]" * 7_000_000 + b"}\n"


def many_models() -> Iterator[bytes]:
    for n in range(100_000):
        yield good(n, model=f"claude-made-up-{n}")


def no_two_alike() -> Iterator[bytes]:
    """Every request with tags of its own: nothing is shared, and nothing is gained by reading it once."""
    for n in range(150_000):
        yield good(n, tags={"feature": f"f{n}", "note": "x" * 400})


def large_fields() -> Iterator[bytes]:
    """Fields near the limit of a line, in each of which a prompt could be."""
    for n in range(12):
        yield good(n, tags={"note": "p" * 10_000_000})


@pytest.mark.parametrize(
    ("lines", "expected", "problem"),
    [
        pytest.param(endless_line, {}, "line 2: longer than 16 MiB", id="400 MB in one line"),
        pytest.param(endless_text, {}, "line 2: longer than 16 MiB", id="400 MB in one field"),
        pytest.param(nested, {}, "line 2: ", id="8 million nested arrays"),
        pytest.param(
            many_models,
            {"rows": 100_000, "bad": 0, "duplicates": 0, "models": 100_000, "tokens": 11_000_000, "hourly": 100_000},
            "",
            id="100,000 models",
        ),
        pytest.param(
            no_two_alike,
            {"rows": 150_000, "bad": 0, "duplicates": 0, "models": 1, "tokens": 16_500_000, "hourly": 1},
            "",
            id="150,000 facts",
        ),
        pytest.param(
            large_fields,
            {"rows": 12, "bad": 0, "duplicates": 0, "models": 1, "tokens": 1_320, "hourly": 1},
            "",
            id="120 MB of tags",
        ),
    ],
)
def test_memory_is_bounded(
    tmp_path: Path, lines: Callable[[], Iterator[bytes]], expected: dict[str, int], problem: str
) -> None:
    path = tmp_path / "log.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as out:
        for line in lines():
            out.write(line)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path), str(tmp_path / "store")],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    told = json.loads(done.stdout)
    assert told.pop("peak_mb") < PEAK_MB
    if problem:
        assert told["problems"][0].startswith(problem)
        assert told["problems"][1] == 1
    else:
        assert told == expected
    held = b"".join(each.read_bytes() for each in (tmp_path / "store").rglob("*.parquet"))
    assert b"pppppppp" not in held
