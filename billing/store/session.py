"""What the parts of the engine share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

if TYPE_CHECKING:
    from billing.store.engine import RequestStore


class Session:
    """A DuckDB connection on a store, with a folder for temporary files."""

    store: RequestStore
    connection: duckdb.DuckDBPyConnection
    folder: Path

    def one(self, sql: str) -> tuple[Any, ...]:
        row = self.connection.execute(sql).fetchone()
        if row is None:
            raise RuntimeError("a query for totals gave no row")
        return tuple(row)
