"""A file becomes rows in a table of a temporary database file, so that memory does not grow with the rows.

`staged`: one row per request, with its few-valued parts as the numbers of two raw texts (`coding.py`). `name_combos`,
`trait_combos`: each such text once, read. The row number of `staged` is what later steps name a row by.
"""
# ruff: noqa: S608 - statements are put together from constants of this module and quoted paths and times

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from billing.importers.base import RequestFormat
from billing.importers.parquet import parquet_rows
from billing.importers.records import StagedRows
from billing.importers.sql import NAME_COLUMNS, ROW_COLUMNS, STAGE_COLUMNS, TRAIT_COLUMNS, literal
from billing.store.coding import Coding
from billing.store.session import is_out_of_room
from billing.store.sql import instant, quoted, text
from billing.store.values import COUNTER_COLUMNS, Staged, StageFailed

REQUEST_ID = (
    "coalesce(nullif(provider_id, ''), CASE WHEN starts_with(response_id, 'msg_') THEN response_id END, "
    "nullif(own_id, ''), response_id, '')"
)
_UNREADABLE = (duckdb.InvalidInputException, duckdb.IOException, duckdb.ConversionException)


@contextmanager
def readable() -> Iterator[None]:
    """Raises StageFailed where DuckDB cannot read a file."""
    try:
        yield
    except _UNREADABLE as error:
        if is_out_of_room(error):
            raise
        raise StageFailed from error


class Staging(Coding):
    def stage(
        self,
        fmt: RequestFormat | StagedRows,
        path: Path,
        compression: str,
        *,
        channel: str,
        within: tuple[datetime, datetime],
    ) -> Staged:
        """Read a file into `staged`. Raises StageFailed when it cannot be read. A time outside `within` is bad."""
        return self.in_little_memory(partial(self._stage, fmt, path, compression, channel, within))

    def _stage(
        self,
        fmt: RequestFormat | StagedRows,
        path: Path,
        compression: str,
        channel: str,
        within: tuple[datetime, datetime],
    ) -> Staged:
        source = (
            f"read_json({quoted(literal(path))}, format = 'newline_delimited', compression = '{compression}', "
            f"maximum_object_size = 16777216, columns = {fmt.columns})"
        )
        with readable():
            if compression == "parquet":
                rows = parquet_rows(self.connection, path, fmt.rows)
            else:
                rows = fmt.rows.replace("{source}", source)
            self.stage_relation(fmt, rows, ROW_COLUMNS, channel=channel, within=within)
            count, bad = self.one("SELECT count(*), count(*) FILTER (is_bad) FROM staged")
            for part in ("name", "trait"):
                if self.one(f"SELECT bool_or(is_bad) FROM {part}_combos")[0]:
                    more = f"SELECT {part}s FROM {part}_combos WHERE coalesce(is_bad, true)"
                    bad += self.one(f"SELECT count(*) FROM staged WHERE NOT is_bad AND {part}s IN ({more})")[0]
        return Staged(count, bad)

    def stage_relation(
        self,
        fmt: RequestFormat | StagedRows,
        rows: str,
        columns: Sequence[str],
        *,
        channel: str,
        within: tuple[datetime, datetime],
    ) -> None:
        """Fill `staged`, `name_combos` and `trait_combos` from the SQL `rows`."""
        needed = " OR ".join(f"{name} IS NULL" for name in ("occurred_at", *COUNTER_COLUMNS))
        needed += f" OR occurred_at < {instant(within[0])} OR occurred_at >= {instant(within[1])}"
        run = self.connection.execute
        self.stage_coded(columns, rows, f"(coalesce(is_bad, true) OR {needed})")
        run(
            "CREATE OR REPLACE TEMP TABLE name_combos AS SELECT c.no AS names, "
            f"n.* EXCLUDE (names) REPLACE (coalesce(nullif(channel, ''), {text(channel)}) AS channel) FROM ("
            + fmt.names.replace("{combos}", "(SELECT written AS names FROM name_texts)")
            + ") n JOIN name_texts c ON c.written = n.names"
        )
        run(
            "CREATE OR REPLACE TEMP TABLE trait_combos AS SELECT c.no AS traits, t.* EXCLUDE (traits) FROM ("
            + fmt.traits.replace("{combos}", "(SELECT written AS traits FROM trait_texts)")
            + ") t JOIN trait_texts c ON c.written = t.traits"
        )

    def staged_rows(self) -> list[dict[str, Any]]:
        """Every staged row, read, in order of time: for tests and small files."""
        parts = ", ".join(
            f"{'n' if name in NAME_COLUMNS else 't' if name in TRAIT_COLUMNS else 's'}.{name}" for name in STAGE_COLUMNS
        )
        columns = ("request_id", *STAGE_COLUMNS, "is_bad")
        rows = self.connection.execute(
            f"SELECT {REQUEST_ID} AS request_id, {parts}, s.is_bad OR n.is_bad OR t.is_bad FROM staged s "
            "JOIN name_combos n USING (names) JOIN trait_combos t USING (traits) "
            "ORDER BY occurred_at, request_id, own_id"
        ).fetchall()
        return [dict(zip(columns, row, strict=True)) for row in rows]
