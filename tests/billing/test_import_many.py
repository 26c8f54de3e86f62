"""Small files that are imported together bring what they bring one by one, and each stays an import of its own."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.models import AuditEntry
from billing.importers.base import ImportRefused
from billing.models import Import, PackedImport, StorePack, UsageSource
from billing.operations import import_many, imports
from billing.operations.compaction import sweep_store
from billing.operations.import_many import import_files, passes
from billing.operations.imports import ImportOptions, ImportOutcome
from billing.operations.upkeep import delete_import
from billing.queries.imports import request_store, stored_imports
from billing.store import ClassifyPlan, Engine
from costgov.operations.usage import import_usage, import_usage_files
from tests.billing.conftest import AS_OF
from tests.billing.worlds import state, throw_away_installation
from tests.importers.usage.envelopes import envelope, payload, write_json, write_lines
from tests.importers.usage.test_record_formats import batch_result, export, span, spend_row

PLAN = ClassifyPlan(frozenset({"c"}))
AT = {"at": "2026-11-09T10:00:00Z"}
SHOWN = (
    "state", "kind", "source__name", "format", "sha256", "size_bytes", "accepted", "duplicates", "rejected",
    "failed_requests", "error", "problems", "findings", "period_start", "period_end", "attempts", "progress_share",
    "progress_note", "options",
)  # fmt: skip


def together(files: Sequence[Path], **options: Any) -> dict[int, ImportOutcome]:
    named = [(path, path.name) for path in files]
    return import_files(actor=None, files=named, as_of=AS_OF, options=ImportOptions(**options), plan=PLAN)


def one_by_one(files: Sequence[Path], **options: Any) -> None:
    from billing.operations.imports import import_file

    for path in files:
        try:
            import_file(actor=None, path=path, as_of=AS_OF, options=ImportOptions(**options), plan=PLAN)
        except ImportRefused:
            continue


def held() -> list[Any]:
    """Sums, rows of the store by their file, and what is said of each file, whatever order they came in."""
    names = dict(Import.objects.values_list("pk", "file_name"))
    store, rows = request_store(), []
    if stored := store.rows(stored_imports()):
        with store.engine("test") as engine:
            found = engine.query(f"SELECT * EXCLUDE (import_id, source_id), import_id FROM {stored} ORDER BY ALL")
            rows = sorted((names[row[-1]], *map(repr, row[:-1])) for row in found)
    entries = AuditEntry.objects.filter(action="usage.imported").values_list("object_label", "after")
    imports = Import.objects.values_list("file_name", *SHOWN)
    return [state(), rows, sorted(imports, key=repr), sorted(entries, key=repr)]


FORMATS: dict[str, tuple[Callable[[Path, int], Path], dict[str, Any]]] = {
    "log": (lambda folder, n: write_lines(folder / f"log{n}.jsonl", [envelope(n), envelope(n + 100)]), {}),
    "packed log": (
        lambda folder, n: write_lines(folder / f"log{n}.jsonl.gz", [envelope(n, tags={"request_class": "c"})]), {},
    ),
    "litellm": (lambda folder, n: write_lines(folder / f"p{n}.jsonl", [payload(n)]), {}),
    "spend logs": (lambda folder, n: write_lines(folder / f"s{n}.jsonl", [spend_row(n), spend_row(n + 100)]), {}),
    "spans": (lambda folder, n: write_json(folder / f"o{n}.json", export(span(n))), {}),
    "batches": (lambda folder, n: write_lines(folder / f"b{n}.jsonl", [batch_result(str(n))]), {"answers": AT}),
    "answers": (
        lambda folder, n: write_json(
            folder / f"m{n}.json",
            {"id": f"msg_{n}", "type": "message", "role": "assistant", "model": "claude-haiku-4-5", "content": [],
             "usage": {"input_tokens": 10, "output_tokens": n + 1}},
        ),
        {"answers": AT},
    ),
}  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_clean_files_of_a_format_are_taken_together(name: str) -> None:
    make, options = FORMATS[name]
    found = []
    for way in (together, one_by_one):
        with throw_away_installation() as folder:
            files = [make(folder, n) for n in range(1, 5)]
            told = way(files, **options)
            assert told is None or sorted(told) == [0, 1, 2, 3]
            found.append(held())
            assert Import.objects.filter(state="done").count() == 4
    assert found[0] == found[1]


FILES = st.lists(
    st.fixed_dictionaries(
        {
            "rows": st.lists(st.integers(0, 14), min_size=1, max_size=4),
            "kind": st.sampled_from(["log", "log", "log", "bad", "broken", "litellm", "report", "late"]),
        }
    ),
    min_size=2,
    max_size=6,
)


def written(folder: Path, specs: Sequence[dict[str, Any]]) -> list[Path]:
    """Logs that share ids now and then, some with a bad row, a broken line, of another format, or of the future."""
    files = []
    for at, spec in enumerate(specs):
        rows, path = spec["rows"], folder / f"{at}.jsonl"
        match spec["kind"]:
            case "litellm":
                write_lines(path, [payload(n + 50) for n in rows])
            case "report":
                write_json(path, {"data": [], "has_more": False})
            case "bad":
                write_lines(path, [*map(envelope, rows), envelope(90, usage={"output_tokens": -1})])
            case "broken":
                path.write_text('{"timestamp": "2026-11-09T09:00:00Z", "request_id": "req_x", "response": {\n')
            case "late":
                write_lines(path, [envelope(n + 200 + 20 * at, "2027-11-09T09:00:00Z") for n in rows])
            case _:
                write_lines(path, [envelope(n, f"2026-11-0{1 + n % 5}T09:00:00Z") for n in rows])
        files.append(path)
    return files


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(specs=FILES)
@pytest.mark.django_db
def test_any_files_together_bring_what_they_bring_one_by_one(specs: list[dict[str, Any]]) -> None:
    found = []
    for is_together in (True, False):
        with throw_away_installation() as folder:
            files = written(folder, specs)
            if is_together:
                list(import_usage_files(actor=None, files=[(path, path.name) for path in files], as_of=AS_OF))
            else:
                for path in files:
                    try:
                        import_usage(actor=None, path=path, as_of=AS_OF)
                    except ImportRefused:
                        continue
            found.append(held())
    assert found[0] == found[1]


def test_a_bad_file_does_not_lose_the_good(db: None, var: Path, tmp_path: Path) -> None:
    """Set aside are: a bad row, a broken line, ids of another file and of the store, known bytes, the same bytes."""
    known = write_lines(tmp_path / "known.jsonl", [envelope(1)])
    one_by_one([known])
    files = [
        known,
        write_lines(tmp_path / "good.jsonl", [envelope(2)]),
        write_lines(tmp_path / "stored.jsonl", [envelope(1, latency_ms=700)]),
        write_lines(tmp_path / "bad.jsonl", [envelope(3), envelope(4, usage={"input_tokens": 1.5})]),
        write_lines(tmp_path / "shares.jsonl", [envelope(5)]),
        write_lines(tmp_path / "with.jsonl", [envelope(5, latency_ms=900)]),
        write_lines(tmp_path / "better.jsonl", [envelope(6), envelope(7)]),
        tmp_path / "copy.jsonl",
        tmp_path / "nowhere.jsonl",
    ]
    files[7].write_bytes(files[6].read_bytes())
    assert sorted(together(files)) == [1, 6]
    named = [(path, path.name) for path in files]
    told = list(import_usage_files(actor=None, files=named, as_of=AS_OF))
    assert [name for name, _ in told] == [path.name for path in files]
    refused = {name for name, outcome in told if isinstance(outcome, ImportRefused)}
    assert refused == {"bad.jsonl", "nowhere.jsonl"}
    assert [outcome.is_repeat for _, outcome in told if isinstance(outcome, ImportOutcome)] == [
        True, True, False, False, False, True, True,
    ]  # fmt: skip


def test_each_is_an_import_that_can_go_alone(
    db: None, var: Path, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    files = [write_lines(tmp_path / f"{n}.jsonl", [envelope(n, f"2026-11-09T0{n}:00:00Z")]) for n in range(5)]
    told = together(files)
    assert (StorePack.objects.count(), PackedImport.objects.count()) == (1, 5)
    assert len(list((var / "requests").rglob("*.parquet"))) == 1
    with django_capture_on_commit_callbacks(execute=True):
        delete_import(actor=None, import_id=told[2].import_id, as_of=AS_OF, class_of_key=lambda *_: "")
    before = state()
    assert len(before[0]) == 4
    assert not together(files[2:3])  # one file is no reason for a pass
    one_by_one(files[2:3])
    assert len(state()[0]) == 5


def test_files_that_are_too_large_are_left(
    db: None, var: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [
        write_lines(tmp_path / f"{n}.jsonl", [envelope(n)] if n else [envelope(n) for n in range(50, 90)])
        for n in range(4)
    ]
    monkeypatch.setattr(import_many, "LARGEST", 2_000)
    assert sorted(together(files)) == [1, 2, 3]


def test_runs_of_files_have_a_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = []
    for n, size in enumerate([3, 3, 9, 1, 1, 1]):
        (tmp_path / str(n)).write_bytes(b"x" * size)
        files.append((tmp_path / str(n), str(n)))
    monkeypatch.setattr(import_many, "MOST_BYTES", 6)
    monkeypatch.setattr(import_many, "MOST_FILES", 2)
    assert [[name for _, name in part] for part in passes([*files, (tmp_path / "no", "no")])] == [
        ["0", "1"], ["2"], ["3", "4"], ["5", "no"],
    ]  # fmt: skip
    assert list(passes([])) == []


def test_a_pass_that_fails_leaves_nothing(db: None, var: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room on the disk in the middle: the files are then imported one by one, and say so themselves."""
    files = [write_lines(tmp_path / f"{n}.jsonl", [envelope(n, f"2026-11-0{n + 1}T09:00:00Z")]) for n in range(3)]
    real = Engine.write_many

    def fail(self: Engine, *args: Any, **options: Any) -> None:
        real(self, *args, **options)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Engine, "write_many", fail)
        assert together(files) == {}
    assert (Import.objects.count(), StorePack.objects.count(), UsageSource.objects.count()) == (0, 0, 0)
    assert list((var / "requests").rglob("*.parquet")) == []
    assert len(together(files)) == 3


@pytest.mark.parametrize("way", [together, one_by_one])
@pytest.mark.parametrize("change", ["rotated", "grown"])
def test_a_file_that_changes_while_it_is_read(
    db: None, var: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Callable[..., Any], change: str
) -> None:
    """A rotated log must not stand under the digest of the one before it, which would then be taken for known."""
    files = [write_lines(tmp_path / f"{n}.jsonl", [envelope(n)]) for n in range(2)]
    first = files[0].read_bytes()
    real = imports.digest_of

    def then_change(path: Path) -> tuple[str, int]:
        found = real(path)
        if path.name == "0.jsonl" and path.read_bytes() == first:
            new = write_lines(tmp_path / "new", [envelope(7)])
            new.write_bytes((first if change == "grown" else b"") + new.read_bytes())
            new.rename(path)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(imports, "digest_of", then_change)
        patched.setattr(import_many, "digest_of", then_change)
        way(files)
    is_in = {row.file_name: row.accepted for row in Import.objects.filter(state="done")}
    if change == "grown":
        assert is_in == {"0.jsonl": 2, "1.jsonl": 1}
        return
    assert is_in == {"1.jsonl": 1}
    old = tmp_path / "0.jsonl.1"
    old.write_bytes(first)
    one_by_one([old, files[0]])
    assert Import.objects.filter(state="done").count() == 3
    assert sum(Import.objects.filter(state="done").values_list("accepted", flat=True)) == 3


_KILLED = """
import os, signal, sys
import django

django.setup()
from datetime import datetime
from pathlib import Path
from billing.operations import import_many, imports
from billing.operations.imports import ImportOptions
from billing.store import NO_PLAN

real = import_many.audit_import

def die(*args, **options):
    real(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)

import_many.audit_import = die
files = [(path, path.name) for path in sorted(Path(sys.argv[1]).iterdir())]
import_many.import_files(
    actor=None, files=files, as_of=datetime.fromisoformat(sys.argv[2]), options=ImportOptions(), plan=NO_PLAN
)
"""


def test_a_kill_in_the_middle_leaves_nothing_that_counts(transactional_db: None, var: Path, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for n in range(4):
        write_lines(folder / f"{n}.jsonl", [envelope(n)])
    name = connection.settings_dict
    url = f"postgresql://{name['USER']}:{name['PASSWORD']}@/{name['NAME']}?host={name['HOST']}&port={name['PORT']}"
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_KILLED), str(folder), AS_OF.isoformat()],
        env={**os.environ, "COSTGOV_VAR": str(var), "DATABASE_URL": url, "COSTGOV_REQUEST_STORE": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert (Import.objects.count(), state()) == (0, ([], []))
    assert sweep_store() == 1
    assert len(together(sorted(folder.iterdir()))) == 4
