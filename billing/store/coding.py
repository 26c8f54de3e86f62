"""Few-valued texts as numbers: what a million rows share is written, compared and hashed once.

While a file is read its *names* and *traits* become numbers of `name_texts` and `trait_texts`, which are learned from
its beginning; what turns up later is kept as text until the end and then numbered too. When rows are written their
few-valued columns are ENUMs, which Parquet takes as a dictionary without hashing each row's text again.
"""
# ruff: noqa: S608 - statements are put together from constants of this module and numbers

from collections.abc import Sequence
from typing import Final

from billing.store.session import Session

_SAMPLE_ROWS: Final = 20_000
_PARTS: Final = ("name", "trait")
_BLOCK: Final = 122_880  # rows of a Parquet row group, each of which has the whole dictionary
MIN_ROWS: Final = 20_000  # less is written fast anyway, and the dictionary would be most of the file
_BYTES_PER_ROW: Final = 4  # what dictionaries may add to a row, by column


class Coding(Session):
    def stage_coded(self, columns: Sequence[str], rows: str, is_bad: str) -> None:
        """Fill `staged` from the SQL `rows`, whose texts `names` and `traits` become numbers."""
        run = self.connection.execute
        self.open_spool()
        for part in _PARTS:
            run(f"CREATE OR REPLACE TEMP TABLE {part}_texts (no INTEGER, written VARCHAR)")
        run(f"CREATE OR REPLACE TEMP TABLE sample AS SELECT names, traits FROM ({rows}) LIMIT {_SAMPLE_ROWS}")
        for part in _PARTS:
            self._number(part, f"SELECT {part}s FROM sample")
        # How much a file holds the optimizer guesses: if too little, it would keep the file in memory, not the texts.
        run("SET disabled_optimizers = 'join_order,build_side_probe_side'")
        try:
            run(
                f"CREATE OR REPLACE TABLE spool.staged AS SELECT {', '.join(columns)}, n.no AS names, t.no AS traits, "
                f"{_hash_of('provider_id')} AS provider_hash, {_hash_of('response_id')} AS response_hash, "
                "CASE WHEN n.no IS NULL THEN r.names END AS name_text, "
                f"CASE WHEN t.no IS NULL THEN r.traits END AS trait_text, {is_bad} AS is_bad FROM ({rows}) r "
                "LEFT JOIN name_texts n ON n.written = r.names LEFT JOIN trait_texts t ON t.written = r.traits"
            )
        finally:
            run("RESET disabled_optimizers")
        for part in _PARTS:
            rest = f"SELECT {part}_text FROM staged WHERE {part}_text IS NOT NULL"
            if self._number(part, rest):
                run(
                    f"UPDATE staged SET {part}s = x.no FROM {part}_texts x "
                    f"WHERE {part}_text IS NOT NULL AND x.written = {part}_text"
                )

    def _number(self, part: str, texts: str) -> bool:
        """Give new texts (SQL of one column) the next numbers; whether there were any."""
        (before,) = self.one(f"SELECT count(*) FROM {part}_texts")
        self.connection.execute(
            f"INSERT INTO {part}_texts SELECT {before} + row_number() OVER (), x.written "
            f"FROM (SELECT DISTINCT * FROM ({texts}) AS q(written)) x"
        )
        return bool(self.one(f"SELECT count(*) FROM {part}_texts")[0] > before)

    def code_columns(self, table: str, columns: Sequence[str]) -> bool:
        """Make few-valued text columns of a table ENUMs, where their dictionary is small beside the rows.

        Returns whether all of them are.
        """
        rows, days = self.one(
            "SELECT count(*), date_diff('day', min(occurred_at), max(occurred_at)) + 1 FROM staged WHERE NOT is_bad"
        )
        if rows < MIN_ROWS:
            return False
        most = _BYTES_PER_ROW * rows // (days + rows // _BLOCK)
        sizes = self.one(
            "SELECT "
            + ", ".join(f"(SELECT sum(strlen(v)) FROM (SELECT DISTINCT {name} AS v FROM {table}))" for name in columns)
        )
        coded = [name for name, size in zip(columns, sizes, strict=True) if size <= most]
        for name in coded:
            self.connection.execute(
                f"CREATE OR REPLACE TYPE {name}_code AS ENUM (SELECT DISTINCT {name} FROM {table} ORDER BY 1)"
            )
        if coded:
            casts = ", ".join(f"CAST({name} AS {name}_code) AS {name}" for name in coded)
            self.connection.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * REPLACE ({casts}) FROM {table}")
        return len(coded) == len(columns)


def _hash_of(column: str) -> str:
    """SQL of what an id is compared by first (identity.py); null where there is none."""
    return f"CASE WHEN {column} <> '' THEN hash({column}) END"
