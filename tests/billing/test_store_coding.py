"""Few-valued texts as numbers: what is stored is what each row said, whenever its names and tags first turn up."""

import gzip
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from billing.importers.messages_api_log import MessagesApiLog
from billing.store import NO_PLAN, STORE_COLUMNS, RequestStore, StoredImport, coding

BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
WITHIN = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
ITEM = StoredImport(1, 0)


def record(i: int) -> dict[str, Any]:
    """Row `i`: a few keys at first, others late in the file, and one tag in a hundred its own."""
    late = i >= 23_000
    return {
        "timestamp": (BEGIN + timedelta(seconds=5 * i)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "request_id": f"req_{i:06}",
        "workspace_id": f"wrkspc_{i % 3 + 3 * late}",
        "api_key_id": f"apikey_{i % 5}" if i % 7 else None,
        "tags": {"feature": f"one-of-a-kind-{i}" if i % 100 == 0 else f"feature-{i % 4 + 4 * late}"},
        "response": {
            "id": f"msg_{i:06}",
            "model": "claude-sonnet-4-6" if i % 2 else "claude-haiku-4-5",
            "usage": {"input_tokens": i, "output_tokens": 1},
        },
    }


def written(folder: Path, rows: int) -> Path:
    path = folder / "log.jsonl.gz"
    with gzip.open(path, "wt", compresslevel=1) as out:
        out.writelines(json.dumps(record(i)) + "\n" for i in range(rows))
    return path


def stored(folder: Path, path: Path) -> list[tuple[Any, ...]]:
    """Every column of every stored row, by request id."""
    store = RequestStore(folder / "store", folder / "temp")
    with store.engine("test") as engine:
        staged = engine.stage(MessagesApiLog(), path, "gzip", channel="anthropic", within=WITHIN)
        assert staged.bad == 0
        engine.merge_duplicates([], replace=False)
        engine.write(ITEM, source_id=1, plan=NO_PLAN, canonical=lambda raw: raw)
        files = store.files([ITEM])
        columns = ", ".join(STORE_COLUMNS)
        return engine.query(
            f"SELECT {columns} FROM read_parquet({files}, hive_partitioning = false) ORDER BY request_id"
        )


def test_names_and_tags_that_turn_up_late_are_each_rows_own(tmp_path: Path) -> None:
    rows = stored(tmp_path, written(tmp_path, 26_000))
    assert len(rows) == 26_000
    at = {name: i for i, name in enumerate(STORE_COLUMNS)}
    for i, row in enumerate(rows):
        said = record(i)
        assert row[at["request_id"]] == said["request_id"]
        assert row[at["workspace"]] == said["workspace_id"]
        assert row[at["api_key"]] == (said["api_key_id"] or "")
        assert row[at["model_raw"]] == row[at["model"]] == said["response"]["model"]
        assert row[at["uncached_input_tok"]] == i
        assert row[at["channel"]] == "anthropic"
        assert row[at["prompt_length_band"]] == "0-100k"
        facts = json.loads(row[at["facts"]])
        assert facts["feature"] == said["tags"]["feature"]
        assert facts["workspace"] == said["workspace_id"]


def test_coded_columns_are_stored_as_the_texts_they_stand_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, 26_000)
    coded = stored(tmp_path / "coded", path)
    monkeypatch.setattr(coding, "MIN_ROWS", 10**9)
    plain = stored(tmp_path / "plain", path)
    assert coded == plain
    assert Counter(type(value) for value in coded[0]) == Counter(type(value) for value in plain[0])


def test_a_dictionary_larger_than_its_rows_is_not_written(tmp_path: Path) -> None:
    """Of 26,000 rows on two days a dictionary may have 52,000 bytes: two models do, some hundred long facts do not."""
    store = RequestStore(tmp_path / "store", tmp_path / "temp")
    with store.engine("test") as engine:
        engine.stage(MessagesApiLog(), written(tmp_path, 26_000), "gzip", channel="anthropic", within=WITHIN)
        engine.connection.execute("CREATE TABLE few AS SELECT DISTINCT model_raw FROM name_combos")
        engine.connection.execute(
            "CREATE TABLE many AS SELECT facts || repeat(' ', 400) AS facts, '' AS empty FROM trait_combos"
        )
        engine.code_columns("few", ["model_raw"])
        engine.code_columns("many", ["facts", "empty"])
        types = dict(
            engine.query("SELECT column_name, data_type FROM duckdb_columns() WHERE table_name IN ('few', 'many')")
        )
    assert types["model_raw"] == "ENUM('claude-haiku-4-5', 'claude-sonnet-4-6')"
    assert types["empty"] == "ENUM('')"
    assert types["facts"] == "VARCHAR"
