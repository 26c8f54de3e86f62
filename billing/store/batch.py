"""Many small files in one pass: each row keeps the number of its file, and what is odd about a file sets it aside.

Only files of which every row is good, and shares no id with another row here or in the store, are written; whoever
calls carries the others out one by one. So what is written needs neither a merged record nor an earlier import.
"""
# ruff: noqa: S608 - statements are put together from constants of this module, numbers and quoted paths

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Final

from billing.importers.base import RequestFormat
from billing.importers.records import StagedRows
from billing.importers.sql import ROW_COLUMNS, literal
from billing.store.identity import Identity
from billing.store.sql import listed, quoted, text
from billing.store.staging import Staging, readable
from billing.store.values import STORE_COLUMNS, ClassifyPlan, Pack, StoredImport, Summary
from billing.store.writing import Writing

FILE_NO: Final = "file_no"


class Batch(Staging, Identity, Writing):
    def stage_many(
        self,
        fmt: RequestFormat,
        paths: Sequence[Path],
        compression: str,
        *,
        channel: str,
        within: tuple[datetime, datetime],
    ) -> None:
        """Read files into `staged`, numbered from 1. Raises StageFailed where one of them cannot be read."""
        run = self.connection.execute
        run("CREATE OR REPLACE TEMP TABLE batch_files (filename VARCHAR, file_no INTEGER)")
        numbers = ", ".join(f"({text(str(path))}, {number})" for number, path in enumerate(paths, start=1))
        run(f"INSERT INTO batch_files VALUES {numbers}")
        source = (
            f"read_json({listed(literal(path) for path in paths)}, format = 'newline_delimited', "
            f"compression = '{compression}', maximum_object_size = 16777216, columns = {fmt.columns}, filename = true)"
        )
        rows = with_column(fmt.rows, "filename").replace("{source}", source)
        rows = f"SELECT b.file_no, q.* EXCLUDE (filename) FROM ({rows}) q LEFT JOIN batch_files b USING (filename)"
        with readable():
            self.stage_relation(fmt, rows, (FILE_NO, *ROW_COLUMNS), channel=channel, within=within)

    def stage_numbered(self, fmt: StagedRows, path: Path, *, channel: str, within: tuple[datetime, datetime]) -> None:
        """Read rows that name their file's number themselves. Raises StageFailed."""
        columns = f"{fmt.columns[:-1]}, {FILE_NO}: 'INTEGER'}}"
        source = f"read_json({quoted(literal(path))}, format = 'newline_delimited', columns = {columns})"
        rows = with_column(fmt.rows, FILE_NO).replace("{source}", source)
        with readable():
            self.stage_relation(fmt, rows, (FILE_NO, *ROW_COLUMNS), channel=channel, within=within)

    def set_aside(self, existing: Sequence[StoredImport], *, also: Iterable[int] = ()) -> None:
        """Drop every row of files with a bad row or an id that is told twice or stored, and of those in `also`."""
        self.drop_none()
        self._drop_files(f"SELECT unnest({sorted(also)}::INTEGER[])")
        bad = [
            f"{part}s IN (SELECT {part}s FROM {part}_combos WHERE coalesce(is_bad, true))" for part in ("name", "trait")
        ]
        self._drop_files(f"SELECT DISTINCT file_no FROM staged WHERE is_bad OR {' OR '.join(bad)}")
        told = self.ids_told_before(self.store.rows(existing))
        if told:
            ids = f"SELECT row_no FROM fresh WHERE {' OR '.join(told)}"
            self._drop_files(f"SELECT DISTINCT file_no FROM staged WHERE rowid IN ({ids})")

    def _drop_files(self, numbers: str) -> None:
        self.connection.execute(f"INSERT INTO dropped SELECT rowid FROM staged WHERE file_no IN ({numbers})")

    def days_of_files(self) -> dict[int, list[date]]:
        """Days of the rows that are kept, by the number of their file."""
        kept = "NOT is_bad AND rowid NOT IN (SELECT row_no FROM dropped)"
        found: dict[int, list[date]] = {}
        rows = f"SELECT DISTINCT file_no, CAST(occurred_at AS DATE) AS day FROM staged WHERE {kept} ORDER BY ALL"
        for number, day in self.connection.execute(rows).fetchall():
            found.setdefault(int(number), []).append(day)
        return found

    def write_many(
        self,
        packs: Sequence[Pack],
        imports: Mapping[int, int],
        *,
        source_id: int,
        plan: ClassifyPlan,
        canonical: Callable[[str], str],
    ) -> None:
        """Label the kept rows and write a pack a day. `imports`: the import of each file, by its number."""
        ids = [imports.get(number, 0) for number in range(1, max(imports) + 1)]
        rows, keep = self.kept_rows(
            f"CAST({ids}[s.file_no] AS INTEGER)", source_id=source_id, plan=plan, canonical=canonical
        )
        for pack in packs:
            where = f"{keep} AND occurred_at >= DATE '{pack.day}' AND occurred_at < DATE '{pack.day}' + INTERVAL 1 DAY"
            target = self.folder / "pack.parquet"
            self.connection.execute(
                f"COPY (SELECT {', '.join(STORE_COLUMNS)} FROM ({rows.format(where=where)})) TO {quoted(target)} "
                "(FORMAT parquet, COMPRESSION snappy)"
            )
            self.store.place.put(target, pack.day, pack.name)

    def summaries(self, imports: Sequence[StoredImport]) -> dict[int, Summary]:
        """Counts of each import's own rows, by its id."""
        table = self.store.rows(imports)
        if not table:
            return {}
        models: dict[int, list[tuple[str, int, int]]] = {}
        for import_id, *told in self.connection.execute(
            f"SELECT import_id, model, sum(requests), sum(total_input_tok + output_tok) FROM {table} "
            "WHERE NOT is_failed GROUP BY ALL ORDER BY ALL"
        ).fetchall():
            models.setdefault(import_id, []).append((told[0], told[1], told[2]))
        found: dict[int, Summary] = {}
        counts = self.connection.execute(
            "SELECT import_id, count(*), count(*) FILTER (is_failed), count(*) FILTER (is_split_assumed), "
            "count(*) FILTER (is_gateway_cache_hit), min(occurred_at), max(occurred_at), "
            f"count(*) FILTER (request_class = '') FROM {table} GROUP BY import_id"
        ).fetchall()
        for import_id, rows, failed, split, cached, first, last, unlabelled in counts:
            brought = tuple(models.get(import_id, ()))
            found[import_id] = Summary(rows, failed, split, cached, first, last, brought, unlabelled)
        return found


def with_column(rows: str, name: str) -> str:
    """The SQL of a format's rows with one more column of its source in front: what it selects from passes all on.

    >>> with_column("SELECT a FROM (SELECT * FROM {source})", "filename")
    'SELECT filename, a FROM (SELECT * FROM {source})'
    """
    return rows.replace("SELECT ", f"SELECT {name}, ", 1)
