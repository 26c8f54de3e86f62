"""A compacted store answers as one that never was: whatever comes, goes, is replaced or labelled again after it."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import Import, Organisation, PackedImport, StorePack
from billing.operations.compaction import SETTLED_DAYS, compact_store, sweep_store
from billing.operations.imports import ImportOptions, import_file
from billing.operations.relabelling import relabel_requests
from billing.operations.upkeep import apply_retention, delete_import
from billing.queries.imports import read_steadily, request_store, stored_imports
from billing.store import ClassifyPlan, Engine, StoredImport
from billing.store.writing import LabelledAgain
from tests.billing.conftest import AS_OF
from tests.billing.worlds import rollup_rows, state, throw_away_installation
from tests.importers.usage.envelopes import envelope, payload, write_lines

ALWAYS = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
CLASSES = frozenset({"c0", "c1"})


def bring(path: Path, **options: Any) -> int:
    return import_file(actor=None, path=path, as_of=AS_OF, options=ImportOptions(**options)).import_id


def remove(import_id: int) -> None:
    delete_import(actor=None, import_id=import_id, as_of=AS_OF, class_of_key=lambda *_: "")


def stored() -> list[tuple[Any, ...]]:
    """Every row that counts."""
    store = request_store()
    rows = store.rows(stored_imports())
    if not rows:
        return []
    with store.engine("test") as engine:
        return engine.query(f"SELECT * FROM {rows} ORDER BY request_id, import_id, occurred_at")


def files(var: Path) -> list[str]:
    return sorted(path.name for path in (var / "requests").rglob("*.parquet"))


@pytest.fixture
def hourly(db: None, var: Path, tmp_path: Path) -> list[int]:
    """Six imports of an hour each on 9 November, one on the 10th, one of yesterday."""
    times = [f"2026-11-09T{hour:02}:00:00Z" for hour in range(6)] + ["2026-11-10T01:00:00Z", "2026-11-22T01:00:00Z"]
    return [
        bring(write_lines(tmp_path / f"{n}.jsonl", [envelope(2 * n, at), envelope(2 * n + 1, at)]), source="log")
        for n, at in enumerate(times)
    ]


def test_files_of_several_imports_become_one_a_day(
    hourly: list[int], var: Path, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    rows, before = stored(), state()
    assert len(files(var)) == 8
    told = compact_store(as_of=AS_OF, dry_run=True)
    assert (told.days, told.files_before, told.files_after) == (1, 6, 1)
    assert (len(files(var)), StorePack.objects.count()) == (8, 0)
    with django_capture_on_commit_callbacks(execute=True):
        assert compact_store(as_of=AS_OF) == told
    pack = StorePack.objects.get()
    assert (pack.day, pack.imports) == (date(2026, 11, 9), 6)
    assert files(var) == [
        f"import-{hourly[6]}.g0-0.parquet",
        f"import-{hourly[7]}.g0-0.parquet",
        f"pack-{pack.pk}.parquet",
    ]
    assert (stored(), state()) == (rows, before)
    assert compact_store(as_of=AS_OF).days == 0
    assert sweep_store() == 0
    # A repetition is found in it, and the summary of one import is of its own rows.
    again = bring(write_lines(tmp_path / "again.jsonl", [envelope(4, "2026-11-09T02:00:00Z")]))
    assert Import.objects.get(pk=again).duplicates == 1
    store = request_store()
    with store.engine("test") as engine:
        assert [engine.summary(item).rows for item in stored_imports()][:8] == [2] * 8


def test_one_import_leaves_a_pack_alone(hourly: list[int], var: Path, django_capture_on_commit_callbacks: Any) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        compact_store(as_of=AS_OF)
    rows = stored()
    with django_capture_on_commit_callbacks(execute=True):
        remove(hourly[2])
    assert stored() == [row for row in rows if row[0] not in {"req_000004", "req_000005"}]
    assert len(rows) == len(stored()) + 2
    # Its bytes are gone too: the pack was written again without it.
    pack = StorePack.objects.get()
    assert (pack.imports, pack.members.count()) == (5, 5)
    with request_store().engine("test") as engine:
        address = request_store().place.address("2026-11-09", f"pack-{pack.pk}.parquet")
        assert engine.query(f"SELECT count(DISTINCT import_id), count(*) FROM read_parquet('{address}')") == [(5, 10)]
    for import_id in (hourly[0], hourly[1], hourly[3], hourly[4], hourly[5]):
        with django_capture_on_commit_callbacks(execute=True):
            remove(import_id)
    assert (StorePack.objects.count(), len(files(var))) == (0, 2)


def test_an_import_that_is_replaced_leaves_its_pack(
    hourly: list[int], var: Path, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        compact_store(as_of=AS_OF)
        better = envelope(4, "2026-11-09T02:00:00Z", usage={"output_tokens": 99})
        bring(write_lines(tmp_path / "better.jsonl", [better]), source="log", replace=True)
    rows = stored()
    assert len(rows) == 16
    pack = StorePack.objects.get()
    assert (pack.imports, pack.members.count()) == (6, 5)
    with django_capture_on_commit_callbacks(execute=True):
        done = compact_store(as_of=AS_OF)
    assert (done.days, done.files_before, done.files_after) == (1, 3, 1)
    assert stored() == rows
    assert len(files(var)) == 3


def test_labels_again_leave_what_they_do_not_change(
    db: None, var: Path, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    """Of two packs one gets other labels and is written anew; the other keeps its bytes."""
    for n in range(2):
        rows = [
            envelope(10 * n + day, f"2026-11-{day:02}T0{n}:00:00Z", tags={"request_class": "c0"} if day == 9 else {})
            for day in (8, 9)
        ]
        bring(write_lines(tmp_path / f"{n}.jsonl", rows))
    with django_capture_on_commit_callbacks(execute=True):
        assert compact_store(as_of=AS_OF).files_after == 2
        assert relabel_requests(plan=ClassifyPlan(CLASSES), period=ALWAYS) == 2
    assert [(row.day.day, row.imports, row.members.count()) for row in StorePack.objects.order_by("day")] == [
        (8, 2, 2), (9, 2, 2),
    ]  # fmt: skip
    assert [row[-3] for row in stored()] == ["", "c0", "", "c0"]
    assert set(files(var)) == {str(row).split()[0] for row in StorePack.objects.all()}


@pytest.mark.parametrize("joined", [True, False])
def test_labels_again_look_at_a_day_once(
    hourly: list[int],
    var: Path,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
    joined: bool,
) -> None:
    """Thousands of small logs must not hold all other imports up for minutes."""
    looks: list[int] = []
    real = Engine.labelled_again

    def count(self: Engine, imports: Sequence[StoredImport], *args: Any, **options: Any) -> LabelledAgain:
        looks.append(len(imports))
        return real(self, imports, *args, **options)

    with django_capture_on_commit_callbacks(execute=True):
        if joined:
            compact_store(as_of=AS_OF)
        monkeypatch.setattr(Engine, "labelled_again", count)
        assert relabel_requests(plan=ClassifyPlan(CLASSES), period=ALWAYS) == 0
    assert sorted(looks) == [1, 1, 6]
    assert len(files(var)) == (3 if joined else 8)


def test_a_merged_record_is_not_hidden_by_a_pack(
    db: None, var: Path, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    """One request told with two starts on two days stands on the earlier day, which the import has in a pack."""
    first = [envelope(1, "2026-11-08T23:00:00Z"), envelope(2, "2026-11-09T00:00:10Z")]
    with django_capture_on_commit_callbacks(execute=True):
        bring(write_lines(tmp_path / "a.jsonl", first), source="log")
        bring(
            write_lines(
                tmp_path / "b.jsonl", [envelope(3, "2026-11-08T20:00:00Z"), envelope(4, "2026-11-09T20:00:00Z")]
            )
        )
        compact_store(as_of=AS_OF)
        assert StorePack.objects.count() == 2
        bring(write_lines(tmp_path / "c.jsonl", [envelope(2, "2026-11-08T23:59:50Z")]), source="log")
    found = {row[0]: row[1] for row in stored()}
    assert len(stored()) == 4
    assert found["req_000002"] == datetime.fromisoformat("2026-11-08 23:59:50")
    assert found["req_000001"] == datetime.fromisoformat("2026-11-08 23:00")


@pytest.mark.parametrize("age", [SETTLED_DAYS - 1, SETTLED_DAYS])
def test_a_day_is_left_alone_until_it_is_settled(db: None, var: Path, tmp_path: Path, age: int) -> None:
    day = AS_OF - timedelta(days=age)
    for n in range(2):
        bring(write_lines(tmp_path / f"{n}.jsonl", [envelope(n, day.isoformat())]))
    assert compact_store(as_of=AS_OF).days == (1 if age == SETTLED_DAYS else 0)


def test_large_files_of_a_day_stay(
    hourly: list[int], monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    """What is large is not written again for every late row; small ones are joined up to a size."""
    monkeypatch.setattr("billing.operations.compaction.PACK_ROWS", 5)
    monkeypatch.setattr("billing.operations.compaction.SMALL_ROWS", 3)
    rows = stored()
    with django_capture_on_commit_callbacks(execute=True):
        done = compact_store(as_of=AS_OF)
    assert (done.files_before, done.files_after) == (6, 3)
    assert stored() == rows
    assert compact_store(as_of=AS_OF).days == 0  # packs of 4 rows are large now


def test_many_files_of_one_import_become_one(
    db: None, var: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    """Rows of a huge log in no order are in several files a day."""
    monkeypatch.setattr("billing.store.writing.ROWS_AT_ONCE", 3)
    times = [datetime(2026, 11, 8 + n % 2, n, tzinfo=UTC).isoformat() for n in range(12)]
    import_id = bring(write_lines(tmp_path / "many.jsonl", [envelope(n, at) for n, at in enumerate(times)]))
    rows, before = stored(), state()
    assert len(files(var)) == 8
    with django_capture_on_commit_callbacks(execute=True):
        done = compact_store(as_of=AS_OF)
    assert (done.days, done.files_before, done.files_after) == (2, 8, 2)
    assert (len(files(var)), stored(), state()) == (2, rows, before)
    remove(import_id)
    assert rollup_rows() == []


def test_retention_forgets_packs(
    hourly: list[int], var: Path, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    old = [bring(write_lines(tmp_path / f"o{n}.jsonl", [envelope(90 + n, "2026-09-05T01:00:00Z")])) for n in range(2)]
    with django_capture_on_commit_callbacks(execute=True):
        assert compact_store(as_of=AS_OF).days == 2
        told = apply_retention(actor=None, as_of=AS_OF, keep_request_months=1, keep_hour_months=None, dry_run=False)
    assert [(month.month.month, month.request_files) for month in told.months] == [(9, 1)]
    assert [row.day for row in StorePack.objects.all()] == [date(2026, 11, 9)]
    assert len(files(var)) == 3
    assert not PackedImport.objects.filter(of_import__in=old).exists()
    Organisation.objects.update(requests_kept_from=date(2026, 11, 10))
    assert compact_store(as_of=AS_OF).days == 0  # forgotten days are not touched


# --- any order of anything -------------------------------------------------------------------------------------------

LOGS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "a": lambda: [envelope(n, f"2026-11-{8 + n % 2:02}T0{n}:00:00Z", tags={"request_class": "c0"}) for n in range(4)],
    "b": lambda: [envelope(n, f"2026-11-{8 + n % 2:02}T0{n}:30:00Z") for n in range(3, 6)],
    "c": lambda: [envelope(n, f"2026-11-09T1{n}:00:00Z", tags={"request_class": "c1"}) for n in range(6, 9)],
    "gateway": lambda: [payload(n, datetime(2026, 11, 8, n, tzinfo=UTC).timestamp()) for n in range(2, 7)],
    "better": lambda: [
        envelope(1, "2026-11-09T01:00:00Z", usage={"output_tokens": 99}), envelope(7, "2026-11-09T17:00:00Z")
    ],
}  # fmt: skip
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("bring"), st.sampled_from(sorted(LOGS))),
        st.tuples(st.just("delete"), st.sampled_from(sorted(LOGS))),
        st.tuples(st.just("label"), st.sampled_from(["none", "tags"])),
    ),
    min_size=3,
    max_size=7,
)


def played(steps: Sequence[tuple[str, str]], *, compacts: Sequence[bool]) -> list[Any]:
    """What an installation answers after each step, with a compaction after some of them."""
    found: list[Any] = []
    with throw_away_installation() as folder:
        paths = {name: write_lines(folder / f"{name}.jsonl", rows()) for name, rows in LOGS.items()}
        held: dict[str, int] = {}
        is_labelled = False  # from then on the transaction around all of it keeps imports waiting
        for (what, name), compact in zip(steps, compacts, strict=True):
            if what == "bring" and name not in held and not is_labelled:
                held[name] = bring(paths[name], source="gateway" if name == "gateway" else "log", replace=True)
            elif what == "delete" and name in held:
                remove(held.pop(name))
            elif what == "label":
                is_labelled = True
                relabel_requests(plan=ClassifyPlan(CLASSES if name == "tags" else frozenset()), period=ALWAYS)
            if compact:
                compact_store(as_of=AS_OF)
            order = {import_id: n for n, import_id in enumerate(sorted(Import.objects.values_list("pk", flat=True)))}
            where = -STORE_TAIL
            rows = [(*row[:where], order[row[where]], *row[where + 2 :]) for row in stored()]
            found.append((rows, state(), [(i.accepted, i.duplicates) for i in Import.objects.order_by("pk")]))
    return found


STORE_TAIL = 8  # import_id is the eighth column from the end; source_id, after it, differs between installations


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), steps=STEPS)
@pytest.mark.django_db
def test_a_compacted_store_answers_as_one_that_never_was(data: st.DataObject, steps: list[tuple[str, str]]) -> None:
    compacts = data.draw(st.lists(st.booleans(), min_size=len(steps), max_size=len(steps)))
    compacts[data.draw(st.integers(0, len(steps) - 2))] = True
    assert played(steps, compacts=compacts) == played(steps, compacts=[False] * len(steps))


# --- killed, and read meanwhile --------------------------------------------------------------------------------------

_KILLED = """
import os, signal, sys
import django

django.setup()
from datetime import datetime
from billing.operations import compaction
from billing.store import Engine
from billing.store.places import Directory

step = sys.argv[1]

def then_die(real):
    def run(*args, **kwargs):
        real(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
    return run

if step == "pack written":
    Engine.write_pack = then_die(Engine.write_pack)
elif step == "registered":
    compaction._join = then_die(compaction._join)
elif step == "committed":
    Directory.delete = lambda self, items: os.kill(os.getpid(), signal.SIGKILL)
elif step == "one old file gone":
    def delete(self, items, real=Directory.delete):
        real(self, list(items)[:1])
        os.kill(os.getpid(), signal.SIGKILL)
    Directory.delete = delete
compaction.compact_store(as_of=datetime.fromisoformat(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("step", "is_joined", "left"),
    [("pack written", False, 1), ("registered", False, 1), ("committed", True, 6), ("one old file gone", True, 5)],
)
def test_a_kill_between_any_two_steps_loses_nothing(
    transactional_db: None, var: Path, tmp_path: Path, step: str, is_joined: bool, left: int
) -> None:
    for n in range(6):
        bring(write_lines(tmp_path / f"{n}.jsonl", [envelope(n, f"2026-11-09T{n:02}:00:00Z")]), source="log")
    rows, before = stored(), state()
    name = connection.settings_dict
    url = f"postgresql://{name['USER']}:{name['PASSWORD']}@/{name['NAME']}?host={name['HOST']}&port={name['PORT']}"
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_KILLED), step, AS_OF.isoformat()],
        env={**os.environ, "COSTGOV_VAR": str(var), "DATABASE_URL": url, "COSTGOV_REQUEST_STORE": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert (stored(), state()) == (rows, before)
    assert StorePack.objects.exists() is is_joined
    assert sweep_store() == left
    assert (stored(), state()) == (rows, before)
    compact_store(as_of=AS_OF)
    assert (stored(), state()) == (rows, before)
    assert len(files(var)) == 1


def _counted(engine: Engine, imports: list[StoredImport]) -> tuple[Any, ...]:
    rows = request_store().rows(imports)
    return engine.query(f"SELECT count(*), count(DISTINCT request_id) FROM {rows}")[0]


def test_a_reader_meanwhile_sees_each_row_once(transactional_db: None, var: Path, tmp_path: Path) -> None:
    """Pages read without a lock, while days are joined, joined again and taken apart."""
    for n in range(12):
        at = f"2026-11-{8 + n % 3:02}T{n:02}:00:00Z"
        bring(write_lines(tmp_path / f"{n}.jsonl", [envelope(n, at)]), source="log")
    ended, seen, wrong = threading.Event(), [], []

    def read() -> None:
        try:
            while not ended.is_set():
                with request_store().engine("reader") as engine:
                    seen.append(read_steadily(partial(_counted, engine)))
        except BaseException as error:
            wrong.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for n in range(12, 24):
            bring(
                write_lines(tmp_path / f"{n}.jsonl", [envelope(n % 12, f"2026-11-{8 + n % 3:02}T{n % 12:02}:00:00Z")])
            )
            compact_store(as_of=AS_OF)
            with transaction.atomic():
                relabel_requests(plan=ClassifyPlan(CLASSES), period=ALWAYS)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert set(seen) == {(12, 12)}
    assert len(seen) > 3
