"""Statements that run beside each other: all of them, or none that still writes when the error arrives."""

import threading
import time
from pathlib import Path

import duckdb
import pytest

from billing.store import RequestStore

SLOW = "SELECT count(*) FROM range(3000000000) a(x) WHERE hash(x) % 7 = 1 AND hash(x + 1) % 11 = 2"


def test_every_job_runs_once_and_sees_the_tables(tmp_path: Path) -> None:
    with RequestStore(tmp_path / "store", tmp_path / "temp").engine("test") as engine:
        engine.connection.execute("CREATE TABLE numbers AS SELECT unnest([3, 5, 8]) AS n")
        found: list[tuple[int, int]] = []

        def job(i: int, connection: duckdb.DuckDBPyConnection) -> None:
            row = connection.execute(f"SELECT sum(n) + {i} FROM numbers").fetchone()
            assert row is not None
            found.append((i, row[0]))

        engine.side_by_side([lambda connection, i=i: job(i, connection) for i in range(20)])  # type: ignore[misc]
        assert sorted(found) == [(i, 16 + i) for i in range(20)]
        assert engine.beside == ()
        assert engine.share_done is None


def test_after_a_failure_nothing_begins_and_what_runs_is_broken_off(tmp_path: Path) -> None:
    ran: list[str] = []

    def slow(connection: duckdb.DuckDBPyConnection) -> None:
        try:
            connection.execute(SLOW)
        finally:
            ran.append("slow ended")

    def failing(connection: duckdb.DuckDBPyConnection) -> None:
        time.sleep(0.2)
        raise OSError("disk full")

    def later(connection: duckdb.DuckDBPyConnection) -> None:
        ran.append("later")

    with RequestStore(tmp_path / "store", tmp_path / "temp").engine("test") as engine:
        with pytest.raises(OSError, match="disk full"):
            engine.side_by_side([slow, failing, *([later] * 10)])
        # The thread of the failed job may take one more before the rest is called off, never all of them.
        assert ran == ["slow ended"]
        assert engine.query("SELECT 1") == [(1,)]


def test_an_interrupt_reaches_every_job(tmp_path: Path) -> None:
    with RequestStore(tmp_path / "store", tmp_path / "temp").engine("test") as engine:

        def slow(connection: duckdb.DuckDBPyConnection) -> None:
            connection.execute(SLOW)

        timer = threading.Timer(0.3, engine.interrupt)
        timer.start()
        begun = time.monotonic()
        with pytest.raises(duckdb.InterruptException):
            engine.side_by_side([slow] * 4)
        assert time.monotonic() - begun < 10
        timer.join()
