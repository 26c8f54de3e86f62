"""Imports of request logs as Parquet: what JSON lines do, whole or in part, again and against each other."""

import json
from pathlib import Path
from typing import Any

import pytest

from billing.importers.base import ImportRefused
from tests.billing.conftest import ImportIt
from tests.billing.worlds import state
from tests.importers.usage.envelopes import envelope, write_lines
from tests.importers.usage.test_parquet import LAYOUTS, write_parquet

ROWS = [
    envelope(1, "2026-11-09T09:00:00Z", tags={"feature": "chat", "team": "support"}),
    envelope(2, "2026-11-09T23:59:59.999Z", usage={"output_tokens": 70, "server_tool_use": {"web_search_requests": 2}}),
    envelope(3, "2026-11-10T00:00:00Z", model="claude-opus-4-5-20251101", workspace_id=None),
    envelope(5, "2026-11-11T05:00:00Z", http_status=529, response={"type": "error"}),
]
BAD = envelope(4, "2026-11-10T01:00:00Z", usage={"input_tokens": None})


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "usage as text"])
def test_the_same_requests_as_lines_are_duplicates(import_it: ImportIt, tmp_path: Path, layout: str) -> None:
    outcome = import_it(write_parquet(tmp_path / "log.parquet", ROWS, layout))
    assert (outcome.accepted, outcome.duplicates) == (4, 0)
    before = state()
    again = import_it(write_lines(tmp_path / "log.jsonl", ROWS))
    assert (again.accepted, again.duplicates) == (0, 4)
    assert state() == before


def test_a_bad_row_is_named_by_its_number(import_it: ImportIt, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "log.parquet", [ROWS[0], BAD, *ROWS[1:]])
    with pytest.raises(ImportRefused) as refused:
        import_it(path)
    assert "row 2: response.usage.input_tokens: missing" in str(refused.value)
    outcome = import_it(path, good_rows=True)
    assert (outcome.accepted, outcome.rejected) == (4, 1)


def test_other_counts_conflict_unless_they_replace(import_it: ImportIt, tmp_path: Path) -> None:
    import_it(write_lines(tmp_path / "log.jsonl", ROWS))
    rows = json.loads(json.dumps(ROWS))
    rows[0]["response"]["usage"]["output_tokens"] = 11
    path = write_parquet(tmp_path / "log.parquet", rows)
    with pytest.raises(ImportRefused, match="has 10 in import"):
        import_it(path)
    before = state()
    import_it(path, replace=True)
    assert state() != before


@pytest.mark.parametrize("name", ["log[1]", "log*", "log?", "[a-z]*", "it's {a,b}[!x]"])
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_name_that_reads_as_a_pattern_is_one_file(
    import_it: ImportIt, tmp_path: Path, settings: Any, name: str, kind: str
) -> None:
    """DuckDB takes `log[1]` for `log1`: another file must neither be read instead nor beside it."""
    settings.COSTGOV_VAR = tmp_path / "var [1]*"
    write = write_lines if kind == "jsonl" else write_parquet

    def put(folder: str, stem: str, rows: list[Any]) -> Path:
        (tmp_path / folder).mkdir(exist_ok=True)
        return write(tmp_path / f"written.{kind}", rows).rename(tmp_path / folder / f"{stem}.{kind}")

    for folder in ("in [1]*", "in 1x"):
        for other in ("log1", "logs", "log", "a", "it's a!", "it's b!"):
            put(folder, other, [envelope(9)])
    outcome = import_it(put("in [1]*", name, ROWS[:2]))
    assert outcome.accepted == 2
    again = import_it(put("in 1x", "again", ROWS[:3]))
    assert (again.accepted, again.duplicates) == (1, 2)
