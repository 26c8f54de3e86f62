"""What the parts of the engine share."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

if TYPE_CHECKING:
    from billing.store.engine import RequestStore


def is_out_of_room(error: BaseException) -> bool:
    """A disk is full, ours or one DuckDB wrote to."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, duckdb.IOException):
        return any(os.strerror(code) in str(error) for code in (errno.ENOSPC, errno.EDQUOT))
    return isinstance(error, duckdb.OutOfMemoryException) and "max_temp_directory_size" in str(error)


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
