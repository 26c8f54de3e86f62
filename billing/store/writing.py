"""Rows become files by day, each complete before it appears under its name."""
# ruff: noqa: S608 - statements are put together from constants of this module and quoted paths, times and numbers

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Final

import duckdb

from billing.importers.sql import NAME_COLUMNS, ROW_COLUMNS, TRAIT_COLUMNS
from billing.store.coding import Coding
from billing.store.labels import Labels
from billing.store.sql import instant, quoted
from billing.store.staging import REQUEST_ID
from billing.store.values import COUNTER_COLUMNS, NEW_SOURCE, STORE_COLUMNS, ClassifyPlan, Pack, StoredImport

_BLOCK: Final = 122_880  # rows that DuckDB keeps together, with their range of times
ROWS_AT_ONCE: Final = 12 * _BLOCK
_TOTAL: Final = " + ".join(COUNTER_COLUMNS[:4])
_BAND: Final = (
    f"CASE WHEN is_failed THEN '' WHEN {_TOTAL} <= 100000 THEN '0-100k' WHEN {_TOTAL} <= 200000 THEN '100k-200k' "
    "ELSE '200k-1M' END"
)
_BAND_TYPE: Final = "ENUM ('', '0-100k', '100k-200k', '200k-1M')"
_PLAIN: Final = "COMPRESSION snappy"
# With every text an ENUM, only ids and counts are left to look for a dictionary in, mostly in vain: give up early.
_CODED: Final = f"{_PLAIN}, DICTIONARY_SIZE_LIMIT 2000"
_TRAIT_TEXTS: Final = tuple(name for name in TRAIT_COLUMNS if name != "policy_version")


Hour = tuple[int, datetime]  # of a source


@dataclass(frozen=True, slots=True)
class LabelledAgain:
    """SQL of rows with their labels anew; how many have other ones, in which hours, and in which imports."""

    rows: str
    changed: int
    hours: set[Hour]
    imports: set[int]


class Writing(Labels, Coding):
    options: str = _PLAIN

    def write(self, item: StoredImport, *, source_id: int, plan: ClassifyPlan, canonical: Callable[[str], str]) -> None:
        """Label the kept rows and write their files."""
        self.in_little_memory(partial(self._write, item, source_id, plan, canonical))

    def _write(self, item: StoredImport, source_id: int, plan: ClassifyPlan, canonical: Callable[[str], str]) -> None:
        rows, keep = self.kept_rows(str(item.import_id), source_id=source_id, plan=plan, canonical=canonical)
        found = self.connection.execute(
            f"SELECT part, day, count(*) FROM (SELECT DISTINCT rowid // {ROWS_AT_ONCE} AS part, "
            f"rowid // {_BLOCK} AS block, CAST(occurred_at AS DATE) AS day FROM staged WHERE {keep}) "
            "GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        number, jobs = 0, []
        for part, group in groupby(found, itemgetter(0)):
            days = [(day, blocks) for _, day, blocks in group]
            begin = part * ROWS_AT_ONCE
            where = f"rowid >= {begin} AND rowid < {begin + ROWS_AT_ONCE} AND {keep}"
            # In the order of time a pass a day reads each block about once; else one pass that splits is cheaper.
            if sum(blocks for _, blocks in days) > 2 * len(days) + 2 * ROWS_AT_ONCE // _BLOCK:
                number = self._write_split(item, rows.format(where=where), number, self.options)
                continue
            for day, _ in days:
                inside = f"{where} AND occurred_at >= DATE '{day}' AND occurred_at < DATE '{day}' + INTERVAL 1 DAY"
                query = rows.format(where=inside)
                jobs.append(partial(self._write_day, item, query, str(day), number, options=self.options))
                number += 1
        self.side_by_side(jobs)
        self._write_merged(item, "owner IS NULL", number, source_id=source_id, plan=plan, canonical=canonical)

    def kept_rows(
        self, import_id: str, *, source_id: int, plan: ClassifyPlan, canonical: Callable[[str], str]
    ) -> tuple[str, str]:
        """SQL of the staged rows as they are stored, with a place {where}, and the condition of those that are kept.

        `import_id`: SQL of it, of a row `s` of `staged`. Fills what names and labels the rows.
        """
        self._name_models(canonical)
        period = self.label_traits(plan)
        is_coded = self.code_columns("named_combos", (*NAME_COLUMNS, "model"))
        is_coded &= self.code_columns("labelled_traits", (*_TRAIT_TEXTS, "request_class", "class_origin"))
        self.options = _CODED if is_coded else _PLAIN
        parts = ", ".join(
            [f"s.{name}" for name in ROW_COLUMNS]
            + [f"n.{name}" for name in (*NAME_COLUMNS, "model")]
            + [f"t.{name}" for name in (*TRAIT_COLUMNS, "request_class", "class_origin", "label_version")]
        )
        rows = (
            f"SELECT {REQUEST_ID} AS request_id, {parts}, {import_id} AS import_id, {source_id} AS source_id, "
            f"{_TOTAL} AS total_input_tok, CAST({_BAND} AS {_BAND_TYPE}) AS prompt_length_band "
            f"FROM (SELECT *, {period} AS period FROM staged WHERE {{where}}) s "
            "JOIN named_combos n USING (names) JOIN labelled_traits t USING (traits, period)"
        )
        keep = "NOT is_bad"
        if self.one("SELECT count(*) FROM dropped")[0]:
            keep += " AND rowid NOT IN (SELECT row_no FROM dropped)"
        return rows, keep

    def without_superseded(
        self,
        old: StoredImport,
        new: StoredImport,
        *,
        source_id: int,
        plan: ClassifyPlan,
        canonical: Callable[[str], str],
    ) -> StoredImport:
        """Write an import's rows anew without the superseded ones, and with the records that stand for them.

        Days that nothing changes on keep their bytes. Returns `new` with the packs that it stays in.
        """
        where = f"owner = {old.import_id}"
        gone = f"SELECT request_id FROM superseded WHERE import_id = {old.import_id}"
        # Records that stand for several are written to files of its own: of those days nothing may stay in a pack.
        merged = self.connection.execute(f"SELECT DISTINCT CAST(occurred_at AS DATE) FROM merged WHERE {where}")
        again = {day for (day,) in merged.fetchall()}
        number, kept = 0, []
        for day in self._days_of(old):
            rows = self.store.rows([old], [day])
            (hits,) = self.one(f"SELECT count(*) FROM {rows} WHERE request_id IN ({gone})")
            if hits or day in again:
                self._write_day(new, f"SELECT * FROM {rows} WHERE request_id NOT IN ({gone})", str(day), number)
                number += 1
                continue
            number, packs = self._keep_day(old, new, day, number)
            kept += packs
        self._write_merged(new, where, number, source_id=source_id, plan=plan, canonical=canonical)
        return replace(new, packs=tuple(kept))

    def _days_of(self, item: StoredImport) -> list[date]:
        days = {day for day, _, _ in self.store.items([item])} | {pack.day for pack in item.packs}
        return sorted(date.fromisoformat(day) for day in days)

    def _keep_day(self, old: StoredImport, new: StoredImport, day: date, number: int) -> tuple[int, list[Pack]]:
        """Let a day be as it is: in its pack, or in copies of its files. Returns the next free number, and the pack."""
        packs = [pack for pack in old.packs if pack.day == str(day)]
        for _, name, _ in self.store.items([old], [day]):
            self.store.place.copy(str(day), name, f"{prefix(new)}{number}.parquet")
            number += 1
        return number, packs

    def _write_merged(
        self,
        item: StoredImport,
        where: str,
        number: int,
        *,
        source_id: int,
        plan: ClassifyPlan,
        canonical: Callable[[str], str],
    ) -> None:
        """Write the records that stand for several. A class stays where nothing it rests on was added."""
        if not self.one(f"SELECT count(*) FROM merged WHERE {where}")[0]:
            return
        run = self.connection.execute
        raws = [raw for (raw,) in run(f"SELECT DISTINCT model_raw FROM merged WHERE {where}").fetchall()]
        run("CREATE OR REPLACE TEMP TABLE merged_models (model_raw VARCHAR, model VARCHAR)")
        run(
            "INSERT INTO merged_models SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[])",
            [raws, [canonical(raw) for raw in raws]],
        )
        # `reclassify` named a class where the policies in force then name none: it stays too.
        held = (
            "CASE WHEN is_alike OR (request_class = '' AND held_request_class <> '') THEN held_{0} ELSE {1} END AS {1}"
        )
        labels = ", ".join(
            held.format("labelled_rule" if name == "rule" else name, name)
            for name in ("rule", "request_class", "class_origin", "label_version")
        )
        labelled = self.labelled(f"SELECT * FROM merged WHERE {where}", plan)
        run(
            "CREATE OR REPLACE TEMP TABLE merged_rows AS SELECT l.* REPLACE ("
            f"{labels}, CAST(CASE WHEN source_id = {NEW_SOURCE} THEN {source_id} ELSE source_id END AS INTEGER) "
            "AS source_id), "
            f"{REQUEST_ID} AS request_id, m.model, {item.import_id} AS import_id, {_TOTAL} AS total_input_tok, "
            f"{_BAND} AS prompt_length_band FROM ({labelled}) l JOIN merged_models m USING (model_raw)"
        )
        days = run("SELECT DISTINCT CAST(occurred_at AS DATE) FROM merged_rows ORDER BY 1").fetchall()
        for (day,) in days:
            rows = f"SELECT * FROM merged_rows WHERE CAST(occurred_at AS DATE) = DATE '{day}'"
            self._write_day(item, rows, str(day), number)
            number += 1

    def _write_day(
        self,
        item: StoredImport,
        query: str,
        day: str,
        number: int,
        connection: duckdb.DuckDBPyConnection | None = None,
        *,
        options: str = _PLAIN,
    ) -> None:
        target = self.folder / f"day-{number}.parquet"
        columns = ", ".join(STORE_COLUMNS)
        (connection or self.connection).execute(
            f"COPY (SELECT {columns} FROM ({query})) TO {quoted(target)} (FORMAT parquet, {options})"
        )
        self.store.place.put(target, day, f"{prefix(item)}{number}.parquet")

    def _write_split(self, item: StoredImport, query: str, number: int, options: str) -> int:
        """Write rows of many days in one pass. Returns the next free number."""
        target = self.folder / "parts"
        shutil.rmtree(target, ignore_errors=True)
        columns = ", ".join(STORE_COLUMNS)
        self.connection.execute(
            f"COPY (SELECT {columns}, strftime(occurred_at, '%Y-%m-%d') AS day FROM ({query})) TO {quoted(target)} "
            f"(FORMAT parquet, PARTITION_BY (day), {options})"
        )
        for folder in sorted(target.glob("day=*")):
            for path in sorted(folder.glob("*.parquet")):
                self.store.place.put(path, folder.name[4:], f"{prefix(item)}{number}.parquet")
                number += 1
        shutil.rmtree(target, ignore_errors=True)
        return number

    def _name_models(self, canonical: Callable[[str], str]) -> None:
        names = self.connection.execute("SELECT DISTINCT model_raw FROM name_combos").fetchall()
        self.connection.execute("CREATE OR REPLACE TEMP TABLE models (model_raw VARCHAR, model VARCHAR)")
        raws = [raw for (raw,) in names]
        if raws:
            self.connection.execute(
                "INSERT INTO models SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[])",
                [raws, [canonical(raw) for raw in raws]],
            )
        self.connection.execute(
            "CREATE OR REPLACE TABLE named_combos AS SELECT c.* EXCLUDE (is_bad), m.model "
            "FROM name_combos c JOIN models m USING (model_raw)"
        )

    # --- again -------------------------------------------------------------------------------------------------------

    def relabel(
        self, old: StoredImport, new: StoredImport, *, plan: ClassifyPlan, period: tuple[datetime, datetime]
    ) -> tuple[set[Hour], int]:
        """Write the files an import has of its own anew with classes from `plan` within `period`.

        Its packs, and days that nothing changes on, keep their bytes; where nothing at all changes nothing is written.
        Returns the hours with another class, and how many rows have one.
        """
        packed = {pack.day for pack in old.packs}
        hours: set[Hour] = set()
        changed, number, same = 0, 0, []
        for day in (day for day in self._days_of(old) if str(day) not in packed):
            again = self.labelled_again([old], day, plan=plan, period=period)
            if again.changed:
                self._write_day(new, again.rows, str(day), number)
                number, changed, hours = number + 1, changed + again.changed, hours | again.hours
            else:
                same.append(day)
        for day in same if changed else ():
            number, _ = self._keep_day(old, new, day, number)
        return hours, changed

    def labelled_again(
        self, imports: Sequence[StoredImport], day: date, *, plan: ClassifyPlan, period: tuple[datetime, datetime]
    ) -> LabelledAgain:
        """What these imports have on a day, with classes from `plan` within `period`. One look, however many they are.

        Its rows may be read until the next call.
        """
        rows = self.store.rows(imports, [day])
        if not rows or not _touches(day, period):
            return LabelledAgain(rows, 0, set(), set())
        within = f"occurred_at >= {instant(period[0])} AND occurred_at < {instant(period[1])}"
        labels = ("request_class", "class_origin", "label_version")
        # A policy's rule replaces that of an earlier evaluation, never that of a recorded decision.
        raw = (
            f"SELECT * EXCLUDE ({', '.join(labels)}, rule), "
            f"CASE WHEN decided_class <> '' THEN rule ELSE '' END AS rule FROM {rows} WHERE {within}"
        )
        columns = ", ".join(STORE_COLUMNS)
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE relabelled AS SELECT {columns} FROM ({self.labelled(raw, plan)})"
        )
        found = self.connection.execute(
            "SELECT n.source_id, date_trunc('hour', n.occurred_at), n.import_id, count(*) "
            f"FROM relabelled n JOIN {rows} o USING (import_id, request_id) "
            "WHERE n.request_class <> o.request_class OR n.label_version <> o.label_version GROUP BY ALL"
        ).fetchall()
        return LabelledAgain(
            f"SELECT {columns} FROM relabelled UNION ALL SELECT {columns} FROM {rows} WHERE NOT ({within})",
            sum(count for *_, count in found),
            {(source_id, hour) for source_id, hour, *_ in found},
            {import_id for _, _, import_id, _ in found},
        )


def prefix(item: StoredImport) -> str:
    """What the names of an import's files begin with."""
    return f"import-{item.import_id}.g{item.generation}-"


def _touches(day: date, period: tuple[datetime, datetime]) -> bool:
    return period[0].date() <= day and datetime(day.year, day.month, day.day, tzinfo=period[1].tzinfo) < period[1]
