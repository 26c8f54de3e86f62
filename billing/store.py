"""The request store: request-level facts and counters as Parquet, by UTC day, read and written with DuckDB.

Files are `day=YYYY-MM-DD/import-<id>.g<generation>-<n>.parquet`. A file counts only if the caller names its import and
generation: a stray one, left by a worker that was killed, is never read and is overwritten by the next attempt.
"""

# ruff: noqa: S608 - statements are put together from constants of this module and quoted paths, times and numbers
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import duckdb

from billing.importers.base import MACROS, STAGE_COLUMNS, RequestFormat
from billing.importers.records import StagedRows

MEMORY_LIMIT: Final = "480MB"
COUNTER_COLUMNS: Final = (
    "uncached_input_tok", "cache_read_tok", "cache_write_5m_tok", "cache_write_1h_tok", "output_tok", "web_searches",
)  # fmt: skip
KEY_COLUMNS: Final = (
    "organisation", "channel", "workspace", "api_key", "model", "service_tier", "prompt_length_band", "geo", "speed",
    "request_class", "policy_version", "arm",
)  # fmt: skip
STORE_COLUMNS: Final = (
    "request_id", *STAGE_COLUMNS, "import_id", "source_id", "model", "prompt_length_band", "total_input_tok",
    "request_class", "class_origin", "label_version",
)  # fmt: skip
_WRITES: Final = ("cache_write_5m_tok", "cache_write_1h_tok")
_FETCHED_AT_ONCE: Final = 10_000
_SEPARATOR: Final = chr(31)
_IS_TWICE: Final = (
    "(provider_id <> '' AND provider_id IN (SELECT id FROM twice WHERE kind = 'p')) "
    "OR (response_id <> '' AND response_id IN (SELECT id FROM twice WHERE kind = 'r')) "
    "OR (provider_id = '' AND response_id = '' AND request_id IN (SELECT id FROM twice WHERE kind = 'o'))"
)
Classify = Callable[[Mapping[str, Any]], tuple[str | None, str]]


@dataclass(frozen=True, slots=True)
class ClassifyPeriod:
    """A policy in force over `[valid_from, valid_to)`: `classify` takes raw facts of `used_fields` only."""

    valid_from: datetime
    valid_to: datetime | None
    used_fields: tuple[str, ...]
    classify: Classify
    policy_version: int


@dataclass(frozen=True, slots=True)
class ClassifyPlan:
    """How rows get their class, as plain values (architecture.md §4, "Class of a row")."""

    registered: frozenset[str] = frozenset()
    periods: tuple[ClassifyPeriod, ...] = ()
    class_of_key: Callable[[str, str, str, date], str] = lambda channel, workspace, api_key, day: ""
    """Class of bucketed usage from channel, workspace, API key and day; '' = unclassified."""


NO_PLAN: Final = ClassifyPlan()


@dataclass(frozen=True, slots=True, order=True)
class StoredImport:
    """One done import's files."""

    import_id: int
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two records of one request with different counts. `earlier_import` None = both in this file."""

    request_id: str
    counter: str
    earlier: int
    now: int
    earlier_import: int | None


class StageFailed(Exception):
    """DuckDB could not read the file. Its own message may quote the file, so it is not passed on."""


class RequestStore:
    """Files below `root`; temporary ones below `temp`."""

    def __init__(self, root: Path, temp: Path) -> None:
        self.root = root
        self.temp = temp

    @contextmanager
    def engine(self, name: str) -> Iterator["Engine"]:
        """A DuckDB of one's own with a folder for its temporary files; both are gone afterwards."""
        self.temp.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.temp))  # two readers at once share nothing
        connection = duckdb.connect(
            config={
                "threads": 2,
                "memory_limit": MEMORY_LIMIT,
                "preserve_insertion_order": False,
                "temp_directory": str(folder / "spill"),
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )
        try:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET enable_progress_bar = true")
            connection.execute("SET enable_progress_bar_print = false")
            for macro in MACROS:
                connection.execute(macro)
            yield Engine(self, connection, folder)
        finally:
            connection.close()
            shutil.rmtree(folder, ignore_errors=True)

    def files(self, imports: Sequence[StoredImport], days: Sequence[date] | None = None) -> list[str]:
        """Files of these imports, on these days (all when None), in order."""
        patterns = {f"import-{item.import_id}.g{item.generation}-" for item in imports}
        folders = (
            sorted(self.root.glob("day=*")) if days is None else [self.root / f"day={day}" for day in sorted(set(days))]
        )
        return [
            str(path)
            for folder in folders
            if folder.is_dir()
            for path in sorted(folder.iterdir())
            if path.suffix == ".parquet" and path.name.rpartition("-")[0] + "-" in patterns
        ]

    def days(self, item: StoredImport) -> list[date]:
        return sorted({date.fromisoformat(Path(name).parent.name[4:]) for name in self.files([item])})

    def remove(self, item: StoredImport) -> None:
        """Delete an import's files of one generation (a failed attempt, or one that was replaced)."""
        for name in self.files([item]):
            Path(name).unlink(missing_ok=True)

    def remove_import(self, import_id: int) -> None:
        """Delete every file of an import, of any generation, and what its attempts left in temporary folders."""
        for path in self.root.glob(f"day=*/import-{import_id}.g*.parquet"):
            path.unlink(missing_ok=True)
        for folder in self.temp.glob(f"import-{import_id}-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def remove_temporary(self, *, before: float) -> None:
        """Delete what killed processes left, last written `before` (Unix time): folders of engines, half uploads."""
        for folder in self.temp.glob("import-*"):
            if folder.is_dir() and max(item.stat().st_mtime for item in (folder, *folder.iterdir())) < before:
                shutil.rmtree(folder, ignore_errors=True)
        for path in self.temp.glob("*.upload*"):
            if path.is_file() and path.stat().st_mtime < before:
                path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Staged:
    """What the fast path read: all rows, and how many of them are bad."""

    rows: int
    bad: int


class Engine:
    """DuckDB on the store for the time of one import or query."""

    def __init__(self, store: RequestStore, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self.store = store
        self.connection = connection
        self.folder = folder
        self.stage_path = folder / "stage.parquet"

    def progress_share(self) -> float:
        """Share of the running query, 0..1; may be asked from another thread."""
        return min(max(self.connection.query_progress(), 0.0), 100.0) / 100

    def interrupt(self) -> None:
        """Break off the running query; may be called from another thread."""
        self.connection.interrupt()

    def stage(
        self,
        fmt: RequestFormat | StagedRows,
        path: Path,
        compression: str,
        *,
        channel: str,
        within: tuple[datetime, datetime],
    ) -> Staged:
        """Read a file into one Parquet file of STAGE_COLUMNS and is_bad. Raises StageFailed when it cannot be read.

        A row of a time outside `within` is bad.
        """
        source = (
            f"read_json({_quoted(path)}, format = 'newline_delimited', compression = '{compression}', "
            f"maximum_object_size = 16777216, columns = {fmt.columns})"
        )
        needed = " OR ".join(f"{name} IS NULL" for name in ("occurred_at", *COUNTER_COLUMNS))
        needed += f" OR occurred_at < {_instant(within[0])} OR occurred_at >= {_instant(within[1])}"
        columns = ", ".join(name for name in STAGE_COLUMNS if name != "channel")
        query = (
            f"COPY (SELECT {columns}, coalesce(nullif(channel, ''), {_text(channel)}) AS channel, "
            "coalesce(nullif(provider_id, ''), CASE WHEN starts_with(response_id, 'msg_') THEN response_id END, "
            "nullif(own_id, ''), response_id, '') AS request_id, "
            f"(coalesce(is_bad, true) OR {needed}) AS is_bad FROM ({fmt.select.replace('{source}', source)})) "
            f"TO {_quoted(self.stage_path)} (FORMAT parquet)"
        )
        try:
            self.connection.execute(query)
        except (duckdb.InvalidInputException, duckdb.IOException, duckdb.ConversionException) as error:
            raise StageFailed from error
        rows, bad = self._one(f"SELECT count(*), count(*) FILTER (is_bad) FROM {self._stage()}")
        return Staged(rows, bad)

    # --- one row per request -----------------------------------------------------------------------------------------

    def merge_duplicates(self, existing: Sequence[StoredImport], *, replace: bool) -> tuple[int, list[Conflict], int]:
        """Find requests that occur twice in the file or are stored already. Returns (duplicates, conflicts, how many).

        Afterwards `fresh` holds the rows to keep. With `replace` conflicts are settled for the file's (later) row and
        `superseded` names the stored rows that must go.
        """
        self.connection.execute("CREATE OR REPLACE TEMP TABLE dropped (row_no BIGINT)")
        self.connection.execute("CREATE OR REPLACE TEMP TABLE superseded (import_id BIGINT, request_id VARCHAR)")
        conflicts, count = self._merge_within_file(replace=replace)
        files = self.store.files(existing)
        if files:
            more, more_count = self._merge_with_store(files, replace=replace)
            conflicts, count = (conflicts + more)[:100], count + more_count
        (duplicates,) = self._one("SELECT count(*) FROM dropped")
        return duplicates, conflicts, count

    def _merge_within_file(self, *, replace: bool) -> tuple[list[Conflict], int]:
        if not self._find_twice():
            return [], 0
        # Exact copies go first and by SQL: a file that holds every row twice must not fill the memory of Python. Of
        # copies the first stays; with `replace`, where later rows win, the last.
        order = "DESC" if replace else "ASC"
        self.connection.execute(
            f"INSERT INTO dropped SELECT row_no FROM (SELECT file_row_number AS row_no, row_number() OVER ("
            f"PARTITION BY provider_id, response_id, request_id, {', '.join(COUNTER_COLUMNS)} "
            f"ORDER BY occurred_at {order}, file_row_number {order}) AS copy FROM {self._stage()} "
            f"WHERE {_IS_TWICE}) WHERE copy > 1"
        )
        if not self._find_twice():
            return [], 0
        names = ", ".join((*COUNTER_COLUMNS, "is_split_assumed"))
        rows = self.connection.execute(
            f"SELECT file_row_number, provider_id, response_id, request_id, {names} FROM {self._stage()} "
            f"WHERE file_row_number NOT IN (SELECT row_no FROM dropped) AND ({_IS_TWICE}) "
            "ORDER BY occurred_at, file_row_number"
        ).fetchall()
        drop, conflicts, count = _settle(rows, replace=replace)
        listing = self.folder / "dropped.csv"
        listing.write_text("row_no\n" + "".join(f"{number}\n" for number in drop))
        self.connection.execute(
            f"INSERT INTO dropped SELECT row_no FROM read_csv({_quoted(listing)}, header = true, "
            "columns = {'row_no': 'BIGINT'})"
        )
        return conflicts, count

    def _find_twice(self) -> bool:
        """Fill `twice` with the ids that more than one row not yet dropped has; whether there are any."""
        rows = f"{self._stage()} WHERE file_row_number NOT IN (SELECT row_no FROM dropped)"
        self.connection.execute(
            "CREATE OR REPLACE TEMP TABLE twice AS "
            f"SELECT 'p' AS kind, provider_id AS id FROM {rows} AND provider_id <> '' "
            "GROUP BY ALL HAVING count(*) > 1 UNION ALL "
            f"SELECT 'r', response_id FROM {rows} AND response_id <> '' GROUP BY ALL HAVING count(*) > 1 "
            f"UNION ALL SELECT 'o', request_id FROM {rows} AND provider_id = '' AND response_id = '' "
            "GROUP BY ALL HAVING count(*) > 1"
        )
        return bool(self._one("SELECT count(*) FROM twice")[0])

    def _merge_with_store(self, files: Sequence[str], *, replace: bool) -> tuple[list[Conflict], int]:
        stored = f"read_parquet({_listed(files)})"
        counts = ", ".join((*COUNTER_COLUMNS, "is_split_assumed"))
        unequal = " OR ".join(f"n.{name} <> e.{name}" for name in COUNTER_COLUMNS)
        # A log that does not tell the lifetime of cache writes says the same as one that does; the latter is kept.
        alike = " AND ".join(f"n.{name} = e.{name}" for name in COUNTER_COLUMNS if name not in _WRITES)
        alike += f" AND {' + '.join(f'n.{name}' for name in _WRITES)} = {' + '.join(f'e.{name}' for name in _WRITES)}"
        alike = f"(({alike}) AND (n.is_split_assumed OR e.is_split_assumed))"
        fresh = (
            f"(SELECT file_row_number AS row_no, provider_id, response_id, request_id, {counts} FROM {self._stage()} "
            "WHERE file_row_number NOT IN (SELECT row_no FROM dropped))"
        )
        old = f"(SELECT import_id, provider_id, response_id, request_id, {counts} FROM {stored})"
        links = (
            "n.provider_id = e.provider_id AND n.provider_id <> ''",
            "n.response_id = e.response_id AND n.response_id <> ''",
            "n.request_id = e.request_id AND n.provider_id = '' AND n.response_id = '' AND e.provider_id = '' "
            "AND e.response_id = ''",
        )
        matches = " UNION ".join(
            f"SELECT n.row_no, e.import_id, e.request_id, (({unequal}) AND NOT {alike}) AS differs, "
            f"(({unequal}) AND (NOT {alike} OR NOT n.is_split_assumed)) AS wins FROM {fresh} n JOIN {old} e ON {link}"
            for link in links
        )
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE matches AS {matches}")
        (count,) = self._one("SELECT count(DISTINCT row_no) FROM matches WHERE differs")
        conflicts: list[Conflict] = []
        if count and not replace:
            pairs = self.connection.execute(
                "SELECT m.import_id, m.request_id, "
                + ", ".join(f"e.{name}, n.{name}" for name in COUNTER_COLUMNS)
                + " FROM (SELECT * FROM matches WHERE differs ORDER BY row_no LIMIT 100) m "
                f"JOIN {fresh} n USING (row_no)"
                f" JOIN {old} e ON e.import_id = m.import_id AND e.request_id = m.request_id"
            ).fetchall()
            for import_id, request_id, *values in pairs:
                name, earlier, now = next(
                    (name, values[2 * i], values[2 * i + 1])
                    for i, name in enumerate(COUNTER_COLUMNS)
                    if values[2 * i] != values[2 * i + 1]
                )
                conflicts.append(Conflict(request_id, name, earlier, now, import_id))
        self.connection.execute(
            "INSERT INTO superseded SELECT DISTINCT import_id, request_id FROM matches WHERE wins"
        )
        self.connection.execute(
            "INSERT INTO dropped SELECT DISTINCT row_no FROM matches WHERE NOT wins "
            "AND row_no NOT IN (SELECT row_no FROM matches WHERE wins)"
        )
        # A row that equals one stored record but not another: the unequal one goes, the equal one stays and is enough.
        self.connection.execute(
            "INSERT INTO dropped SELECT DISTINCT a.row_no FROM matches a JOIN matches b USING (row_no) "
            "WHERE NOT a.wins AND b.wins"
        )
        return conflicts, count

    # --- writing -----------------------------------------------------------------------------------------------------

    def write(self, item: StoredImport, *, source_id: int, plan: ClassifyPlan, canonical: Callable[[str], str]) -> None:
        """Label the kept rows and write their files, each complete before it appears under its name."""
        self.connection.execute(
            "CREATE OR REPLACE TEMP VIEW kept AS SELECT * EXCLUDE (is_bad, file_row_number) "
            f"FROM {self._stage()} WHERE NOT is_bad AND file_row_number NOT IN (SELECT row_no FROM dropped)"
        )
        self._name_models("kept", canonical)
        total = " + ".join(COUNTER_COLUMNS[:4])
        rows = (
            f"SELECT k.*, {item.import_id} AS import_id, {source_id} AS source_id, m.model, "
            f"{total} AS total_input_tok, "
            f"CASE WHEN is_failed THEN '' WHEN {total} <= 100000 THEN '0-100k' WHEN {total} <= 200000 "
            "THEN '100k-200k' ELSE '200k-1M' END AS prompt_length_band FROM kept k JOIN models m USING (model_raw)"
        )
        self._write_files(item, self._labelled(rows, plan), "new")

    def relabel(
        self,
        old: StoredImport,
        new: StoredImport,
        *,
        plan: ClassifyPlan,
        period: tuple[datetime, datetime] | None,
        superseded: bool = False,
    ) -> int:
        """Write an import's rows anew: with classes from `plan` within `period`, or without the superseded rows.

        Days that nothing changes on keep their bytes (hard links). Returns the number of rows with another class.
        """
        changed = 0
        for day in self.store.days(old):
            files = self.store.files([old], [day])
            rows = f"SELECT * FROM read_parquet({_listed(files)}, hive_partitioning = false)"
            if superseded:
                gone = f"SELECT request_id FROM superseded WHERE import_id = {old.import_id}"
                (hits,) = self._one(f"SELECT count(*) FROM ({rows}) WHERE request_id IN ({gone})")
                if hits:
                    self._write_files(new, f"{rows} WHERE request_id NOT IN ({gone})", f"again-{old.import_id}")
                    continue
            elif period is not None and _touches(day, period):
                within = f"occurred_at >= {_instant(period[0])} AND occurred_at < {_instant(period[1])}"
                labels = ("request_class", "class_origin", "label_version")
                # A policy's rule replaces that of an earlier evaluation, never that of a recorded decision.
                raw = (
                    f"SELECT * EXCLUDE ({', '.join(labels)}, rule), "
                    f"CASE WHEN decided_class <> '' THEN rule ELSE '' END AS rule FROM ({rows}) WHERE {within}"
                )
                again = self._labelled(raw, plan)
                columns = ", ".join(STORE_COLUMNS)
                self.connection.execute(f"CREATE OR REPLACE TEMP TABLE relabelled AS SELECT {columns} FROM ({again})")
                (count,) = self._one(
                    f"SELECT count(*) FROM relabelled n JOIN ({rows}) o USING (request_id) "
                    "WHERE n.request_class <> o.request_class OR n.label_version <> o.label_version"
                )
                if count:
                    changed += count
                    rest = f"SELECT {columns} FROM ({rows}) WHERE NOT ({within})"
                    query = f"SELECT {columns} FROM relabelled UNION ALL {rest}"
                    self._write_files(new, query, f"again-{old.import_id}")
                    continue
            self._link(files, old, new)
        return changed

    def superseded_imports(self) -> list[int]:
        return [row[0] for row in self.connection.execute("SELECT DISTINCT import_id FROM superseded").fetchall()]

    def _labelled(self, rows: str, plan: ClassifyPlan) -> str:
        """SQL of `rows` with class, its origin, rule and label version: one evaluation per combination of facts."""
        self.connection.execute("CREATE OR REPLACE TEMP TABLE registered (slug VARCHAR)")
        if plan.registered:
            self.connection.executemany(
                "INSERT INTO registered VALUES (?)", [[slug] for slug in sorted(plan.registered)]
            )
        self.connection.execute(
            "CREATE OR REPLACE TEMP TABLE verdicts (segment INTEGER, combo VARCHAR, verdict VARCHAR)"
        )
        segments, combos = ["CASE"], ["CASE segment"]
        for index, period in enumerate(plan.periods):
            until = f" AND occurred_at < {_instant(period.valid_to)}" if period.valid_to is not None else ""
            segments.append(f"WHEN occurred_at >= {_instant(period.valid_from)}{until} THEN {index}")
            fields = ", ".join(
                f"{_text(name)}, json_extract(facts, {_text(_path(name))})" for name in period.used_fields
            )
            combos.append(f"WHEN {index} THEN CAST(json_object({fields}) AS VARCHAR)")
        segment = " ".join([*segments, "END"]) if plan.periods else "NULL::INTEGER"
        combo = " ".join([*combos, "END"]) if plan.periods else "NULL::VARCHAR"
        known = (
            "SELECT *, CASE WHEN decided_class <> '' THEN decided_class WHEN class_tag <> '' "
            f"AND class_tag IN (SELECT slug FROM registered) THEN class_tag END AS known_class FROM ({rows})"
        )
        cut = f"SELECT *, CASE WHEN known_class IS NULL THEN {segment} END AS segment FROM ({known})"
        cut = f"SELECT *, {combo} AS combo FROM ({cut})"
        for index, period in enumerate(plan.periods):
            name = f"classify_{index}_{id(period)}"
            self.connection.create_function(name, _evaluator(period.classify), ["VARCHAR"], "VARCHAR")
            try:
                self.connection.execute(
                    f"INSERT INTO verdicts SELECT {index}, combo, {name}(combo) "
                    f"FROM (SELECT DISTINCT combo FROM ({cut}) WHERE segment = {index})"
                )
            finally:
                self.connection.remove_function(name)
        versions = " ".join(f"WHEN {index} THEN {period.policy_version}" for index, period in enumerate(plan.periods))
        version = f"CASE l.segment {versions} ELSE 0 END" if versions else "0"
        parts = f"string_split(v.verdict, '{_SEPARATOR}')"
        return (
            "SELECT l.* EXCLUDE (known_class, segment, combo, rule), "
            f"coalesce(l.known_class, {parts}[2], '') AS request_class, "
            "CASE WHEN l.decided_class <> '' THEN 'decision' WHEN l.known_class IS NOT NULL THEN 'tag' "
            "WHEN v.verdict IS NOT NULL THEN 'policy' ELSE 'none' END AS class_origin, "
            f"CASE WHEN v.verdict IS NOT NULL THEN {parts}[1] ELSE l.rule END AS rule, {version} AS label_version "
            f"FROM ({cut}) l LEFT JOIN verdicts v ON v.segment = l.segment AND v.combo = l.combo"
        )

    def _name_models(self, table: str, canonical: Callable[[str], str]) -> None:
        names = self.connection.execute(f"SELECT DISTINCT model_raw FROM {table}").fetchall()
        self.connection.execute("CREATE OR REPLACE TEMP TABLE models (model_raw VARCHAR, model VARCHAR)")
        if names:
            self.connection.executemany("INSERT INTO models VALUES (?, ?)", [[raw, canonical(raw)] for (raw,) in names])

    def _write_files(self, item: StoredImport, query: str, label: str) -> None:
        target = self.folder / f"parts-{label}"
        shutil.rmtree(target, ignore_errors=True)
        columns = ", ".join(STORE_COLUMNS)
        self.connection.execute(
            f"COPY (SELECT {columns}, strftime(occurred_at, '%Y-%m-%d') AS day FROM ({query})) TO {_quoted(target)} "
            "(FORMAT parquet, PARTITION_BY (day), COMPRESSION zstd)"
        )
        prefix = f"import-{item.import_id}.g{item.generation}-"
        for folder in sorted(target.glob("day=*")):
            final = self.store.root / folder.name
            final.mkdir(parents=True, exist_ok=True, mode=0o700)
            for number, path in enumerate(sorted(folder.glob("*.parquet"))):
                os.replace(path, final / f"{prefix}{number}.parquet")
        shutil.rmtree(target, ignore_errors=True)

    def _link(self, files: Sequence[str], old: StoredImport, new: StoredImport) -> None:
        before, after = f"import-{old.import_id}.g{old.generation}-", f"import-{new.import_id}.g{new.generation}-"
        for name in files:
            path = Path(name)
            target = path.with_name(path.name.replace(before, after, 1))
            target.unlink(missing_ok=True)
            os.link(path, target)

    # --- reading -----------------------------------------------------------------------------------------------------

    def hourly(
        self, imports: Sequence[StoredImport], source_id: int, hours: Sequence[datetime]
    ) -> Iterator[tuple[Any, ...]]:
        """Rows (hour, *KEY_COLUMNS, *counters, requests, failed, latest import) of a source in some hours.

        Read them all before the next query.
        """
        files = self.store.files(imports, [hour.date() for hour in hours])
        if not files or not hours:
            return
        self.connection.execute("CREATE OR REPLACE TEMP TABLE hours (hour TIMESTAMP)")
        self.connection.executemany("INSERT INTO hours VALUES (?)", [[hour.replace(tzinfo=None)] for hour in hours])
        keys = ", ".join(
            f"CASE WHEN class_origin = 'decision' THEN {name} ELSE {empty} END AS {name}"
            if (empty := {"policy_version": "0", "arm": "''"}.get(name))
            else name
            for name in KEY_COLUMNS
        )
        sums = ", ".join(f"CAST(sum({name}) AS BIGINT)" for name in (*COUNTER_COLUMNS, "requests"))
        found = self.connection.execute(
            f"SELECT hour, {', '.join(KEY_COLUMNS)}, {sums}, count(*) FILTER (is_failed), "
            "max(import_id) FROM ("
            f"SELECT date_trunc('hour', occurred_at) AS hour, {keys}, {', '.join(COUNTER_COLUMNS)}, requests, "
            f"is_failed, import_id FROM read_parquet({_listed(files)}, hive_partitioning = false) "
            f"WHERE source_id = {source_id}) WHERE hour IN (SELECT hour FROM hours) GROUP BY ALL"
        )
        while rows := found.fetchmany(_FETCHED_AT_ONCE):
            yield from rows

    def hours_of(self, imports: Sequence[StoredImport]) -> dict[int, list[datetime]]:
        """Hours with rows of these imports, by source."""
        files = self.store.files(imports)
        found: dict[int, list[datetime]] = {}
        if files:
            rows = self.connection.execute(
                "SELECT DISTINCT source_id, date_trunc('hour', occurred_at) AS hour FROM "
                f"read_parquet({_listed(files)}, hive_partitioning = false) ORDER BY ALL"
            ).fetchall()
            for source_id, hour in rows:
                found.setdefault(source_id, []).append(hour)
        return found

    def summary(self, item: StoredImport) -> "Summary":
        """Counts of one import's own files, for its row and findings."""
        files = self.store.files([item])
        if not files:
            return Summary(0, 0, 0, 0, None, None, (), 0)
        table = f"read_parquet({_listed(files)}, hive_partitioning = false)"
        rows, failed, split, cached, first, last, unlabelled = self._one(
            "SELECT count(*), count(*) FILTER (is_failed), count(*) FILTER (is_split_assumed), "
            "count(*) FILTER (is_gateway_cache_hit), min(occurred_at), max(occurred_at), "
            f"count(*) FILTER (request_class = '') FROM {table}"
        )
        models = self.connection.execute(
            f"SELECT model, sum(requests), sum(total_input_tok + output_tok) FROM {table} "
            "WHERE NOT is_failed GROUP BY model ORDER BY model"
        ).fetchall()
        return Summary(rows, failed, split, cached, first, last, tuple(models), unlabelled)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a read-only query of ours (tests and back-tests)."""
        return self.connection.execute(sql).fetchall()

    def _stage(self) -> str:
        return f"read_parquet({_quoted(self.stage_path)}, file_row_number = true)"

    def _one(self, sql: str) -> tuple[Any, ...]:
        row = self.connection.execute(sql).fetchone()
        if row is None:
            raise RuntimeError("a query for totals gave no row")
        return tuple(row)


@dataclass(frozen=True, slots=True)
class Summary:
    """What one import brought. `models`: (model, requests, tokens)."""

    rows: int
    failed: int
    split_assumed: int
    gateway_cache_hits: int
    first: datetime | None
    last: datetime | None
    models: tuple[tuple[str, int, int], ...]
    unclassified: int


def _settle(rows: Sequence[tuple[Any, ...]], *, replace: bool) -> tuple[list[int], list[Conflict], int]:
    """Of records that share an id keep one: the first where counts agree, the latest where they do not and may not."""
    parent = list(range(len(rows)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first_with: dict[tuple[str, str], int] = {}
    for i, (_, provider_id, response_id, request_id, *_rest) in enumerate(rows):
        keys = [("p", provider_id), ("r", response_id)] if provider_id or response_id else [("o", request_id)]
        for key in keys:
            if key[1]:
                parent[root(i)] = root(first_with.setdefault(key, i))
    groups: dict[int, list[tuple[Any, ...]]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(root(i), []).append(row)
    drop: list[int] = []
    conflicts: list[Conflict] = []
    count = 0
    for members in groups.values():
        different = next((row for row in members if row[4:10] != members[0][4:10]), None)
        if different is None:
            drop += [row[0] for row in members[1:]]
            continue
        kept = _told_best(members)
        if kept is not None:
            drop += [row[0] for row in members if row is not kept]
            continue
        drop += [row[0] for row in members[:-1]]
        if not replace:
            count += 1
            index = next(i for i in range(4, 10) if different[i] != members[0][i])
            name = COUNTER_COLUMNS[index - 4]
            conflicts.append(Conflict(members[0][3], name, members[0][index], different[index], None))
    return drop, conflicts[:100], count


def _told_best(members: Sequence[tuple[Any, ...]]) -> tuple[Any, ...] | None:
    """Of records that differ only in how cache writes are split: the one that tells it. None where they contradict."""
    exact = [row for row in members if not row[10]]
    sums = {(*row[4:6], row[6] + row[7], *row[8:10]) for row in members}
    if len(sums) > 1 or len({row[4:10] for row in exact}) > 1:
        return None
    return exact[0] if exact else None


def _evaluator(classify: Classify) -> Callable[[str], str]:
    def evaluate(combo: str) -> str:
        rule, request_class = classify(json.loads(combo))
        return f"{rule or ''}{_SEPARATOR}{request_class}"

    return evaluate


def _path(field: str) -> str:
    return f'$."{field}"'


def _touches(day: date, period: tuple[datetime, datetime]) -> bool:
    return period[0].date() <= day and datetime(day.year, day.month, day.day, tzinfo=period[1].tzinfo) < period[1]


def _instant(at: datetime) -> str:
    return f"TIMESTAMP '{at.replace(tzinfo=None).isoformat(sep=' ')}'"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _quoted(path: Path) -> str:
    return _text(str(path))


def _listed(files: Sequence[str]) -> str:
    return "[" + ", ".join(_text(name) for name in files) + "]"
