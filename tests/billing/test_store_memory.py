"""An import in little memory: what is found and stored does not depend on how much of a file is looked at together."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from billing.importers.messages_api_log import MessagesApiLog
from billing.store import NO_PLAN, RequestStore, StoredImport, identity, session

BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
WITHIN = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
ITEM = StoredImport(1, 0)
ROWS = 4_000


def log_with_repetitions(path: Path) -> Path:
    """Every tenth row again at the end, and 5 rows that name no id of the provider, each twice."""
    lines = [json.dumps(record(i)) + "\n" for i in range(ROWS)]
    lines += lines[::10]
    lines += [json.dumps(record(i) | {"request_id": None, "response": answer(f"own-{i}")}) + "\n" for i in range(5)] * 2
    path.write_text("".join(lines), encoding="utf-8")
    return path


def record(i: int) -> dict[str, Any]:
    return {
        "timestamp": (BEGIN + timedelta(minutes=i)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "request_id": f"req_{i:06}",
        "workspace_id": f"wrkspc_{i % 3}",
        "response": answer(f"msg_{i:06}"),
    }


def answer(name: str) -> dict[str, Any]:
    return {"id": name, "model": "claude-sonnet-4-6", "usage": {"input_tokens": 7, "output_tokens": 1}}


def imported(folder: Path, path: Path) -> tuple[int, list[tuple[Any, ...]]]:
    """How many rows were left out as duplicates, and what is stored, by id."""
    store = RequestStore(folder / "store", folder / "temp")
    with store.engine("test") as engine:
        assert engine.stage(MessagesApiLog(), path, "none", channel="anthropic", within=WITHIN).bad == 0
        duplicates, conflicts, _ = engine.merge_duplicates([], replace=False)
        assert not conflicts
        engine.write(ITEM, source_id=1, plan=NO_PLAN, canonical=lambda raw: raw)
        rows = engine.query(f"SELECT * FROM {store.rows([ITEM])} ORDER BY request_id")
    assert not list((folder / "temp").iterdir())
    return duplicates, rows


@pytest.mark.parametrize("at_once", [450, 1_999, 3_000_000])
def test_repetitions_are_found_in_parts_as_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(identity, "HASHES_AT_ONCE", at_once)
    duplicates, rows = imported(tmp_path, log_with_repetitions(tmp_path / "log.jsonl"))
    assert duplicates == ROWS // 10 + 5
    names = sorted([f"req_{i:06}" for i in range(ROWS)] + [f"own-{i}" for i in range(5)])
    assert [row[0] for row in rows] == names


def test_a_step_that_little_memory_is_not_enough_for_is_taken_again_with_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = log_with_repetitions(tmp_path / "log.jsonl")
    usual = imported(tmp_path / "usual", path)
    monkeypatch.setattr(session, "IMPORT_MEMORY", "5MB")  # less than the reader's buffers
    assert imported(tmp_path / "little", path) == usual
    monkeypatch.setattr(session, "MEMORY_LIMIT", "5MB")
    with pytest.raises(duckdb.OutOfMemoryException):
        imported(tmp_path / "too little", path)


def test_the_rows_of_a_file_are_in_a_database_file_that_nobody_else_reads(tmp_path: Path) -> None:
    store = RequestStore(tmp_path / "store", tmp_path / "temp")
    with store.engine("test") as engine:
        path = log_with_repetitions(tmp_path / "log.jsonl")
        engine.stage(MessagesApiLog(), path, "none", channel="anthropic", within=WITHIN)
        (folder,) = (tmp_path / "temp").iterdir()
        assert (folder / "spool.duckdb").is_file()
        assert folder.stat().st_mode & 0o077 == 0
        assert engine.query("SELECT DISTINCT database_name FROM duckdb_tables() WHERE table_name = 'staged'") == [
            ("spool",)
        ]
        before = engine.query("SELECT count(*) FROM staged")
        engine.stage(MessagesApiLog(), path, "none", channel="anthropic", within=WITHIN)  # again: nothing is left
        assert engine.query("SELECT count(*) FROM staged") == before == [(ROWS + ROWS // 10 + 10,)]
