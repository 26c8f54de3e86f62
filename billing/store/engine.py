"""The request store and its engine: DuckDB for the time of one import or query."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Final

import duckdb

from billing.importers.sql import MACROS
from billing.store.batch import Batch
from billing.store.compaction import Compaction
from billing.store.places import Place, place_of
from billing.store.reading import Reading
from billing.store.session import MEMORY_LIMIT, THREADS
from billing.store.sql import listed
from billing.store.values import STORE_COLUMNS, Pack, StoredImport
from billing.store.writing import prefix

_INTERRUPTED: Final = "Query interrupted"  # what DuckDB makes of a Ctrl-C while a query runs


class RequestStore:
    """Files below `root` (a directory, or an object store's URL); temporary ones below `temp`, a directory."""

    def __init__(self, root: Path | str, temp: Path) -> None:
        self.place: Place = place_of(root)
        self.temp = temp

    @contextmanager
    def engine(self, name: str) -> Iterator["Engine"]:
        """A DuckDB of one's own with a folder for its temporary files; both are gone afterwards."""
        self.temp.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.temp))  # two readers at once share nothing
        connection = duckdb.connect(
            config={
                "threads": THREADS,
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
            self.place.connect(connection)
            yield Engine(self, connection, folder)
        except RuntimeError as error:
            if str(error) == _INTERRUPTED:
                raise KeyboardInterrupt from error
            raise
        finally:
            connection.close()
            shutil.rmtree(folder, ignore_errors=True)

    def items(
        self, imports: Sequence[StoredImport], days: Sequence[date] | None = None
    ) -> list[tuple[str, str, StoredImport]]:
        """(day, name, import) of the files these imports have of their own, on these days (all when None), in order."""
        packed = {(item.import_id, pack.day) for item in imports for pack in item.packs}
        found = self._named_for(imports, None if days is None else sorted({str(day) for day in days}))
        return [(day, name, item) for day, name, item in found if (item.import_id, day) not in packed]

    def _named_for(
        self, imports: Sequence[StoredImport], days: Sequence[str] | None
    ) -> list[tuple[str, str, StoredImport]]:
        known = {prefix(item): item for item in imports}
        found = self.place.listed(days) if known else []
        return [(day, name, known[start]) for day, name in found if (start := name.rpartition("-")[0] + "-") in known]

    def files(self, imports: Sequence[StoredImport], days: Sequence[date] | None = None) -> list[str]:
        """Files with rows of these imports, on these days (all when None). A pack has other rows too: see `rows`."""
        own = [self.place.address(day, name) for day, name, _ in self.items(imports, days)]
        return own + [self.place.address(pack.day, pack.name) for pack in sorted(_packs_of(imports, days))]

    def rows(self, imports: Sequence[StoredImport], days: Sequence[date] | None = None) -> str:
        """SQL of a relation with the rows of these imports, on these days (all when None); '' where there are none."""
        files = [self.place.address(day, name) for day, name, _ in self.items(imports, days)]
        parts: dict[frozenset[int], list[str]] = {}
        for pack, wanted in sorted(_packs_of(imports, days).items()):
            address = self.place.address(pack.day, pack.name)
            if len(wanted) == pack.imports:
                files.append(address)
            else:
                parts.setdefault(frozenset(wanted), []).append(address)
        tables = [("", files)] if files else []
        for chosen, packs in parts.items():
            tables.append((f" WHERE import_id IN ({', '.join(map(str, sorted(chosen)))})", packs))
        columns = ", ".join(STORE_COLUMNS)
        selects = [
            f"SELECT {columns} FROM read_parquet({listed(names)}, hive_partitioning = false){where}"  # noqa: S608 - ours
            for where, names in tables
        ]
        return f"({' UNION ALL '.join(selects)})" if selects else ""

    def import_ids(self, day: date) -> set[int]:
        """Imports, of any state and generation, with files of their own on a day."""
        return {item.import_id for _, name in self.place.listed([str(day)]) if (item := named(name)) is not None}

    def remove(self, item: StoredImport) -> None:
        """Delete an import's own files of one generation (a failed attempt, or one that was replaced)."""
        self.place.delete([(day, name) for day, name, _ in self._named_for([item], None)])

    def remove_import(self, import_id: int) -> None:
        """Delete every file of an import, of any generation, and what its attempts left in temporary folders."""
        found = [(day, name, named(name)) for day, name in self.place.listed()]
        self.place.delete(
            [(day, name) for day, name, item in found if item is not None and item.import_id == import_id]
        )
        for folder in self.temp.glob(f"import-{import_id}-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def remove_others(self, keep: Callable[[str, StoredImport | int], bool]) -> int:
        """Delete every file of ours that is not to be kept. Returns how many.

        `keep` is asked with the file's day and its import and generation, or the number of the pack that it is.
        """
        gone = []
        for day, name in self.place.listed():
            owner = packed_in if (packed_in := pack_number(name)) is not None else named(name)
            if owner is not None and not keep(day, owner):
                gone.append((day, name))
        self.place.delete(gone)
        return len(gone)

    def remove_temporary(self, *, before: float) -> None:
        """Delete what killed processes left, last written `before` (Unix time): folders of engines, half uploads."""
        for folder in self.temp.glob("*-*"):
            if folder.is_dir() and max(item.stat().st_mtime for item in (folder, *folder.iterdir())) < before:
                shutil.rmtree(folder, ignore_errors=True)
        for path in self.temp.glob("*.upload*"):
            if path.is_file() and path.stat().st_mtime < before:
                path.unlink(missing_ok=True)


def named(name: str) -> StoredImport | None:
    """The import of a file's name; None for a name that is not ours."""
    start, _, _ = name.rpartition("-")
    number, _, generation = start.removeprefix("import-").partition(".g")
    return StoredImport(int(number), int(generation)) if number.isdigit() and generation.isdigit() else None


def pack_number(name: str) -> int | None:
    """The number of the pack of that name; None for any other file."""
    number = name.removeprefix("pack-").removesuffix(".parquet")
    return int(number) if number.isdigit() and name == f"pack-{number}.parquet" else None


def _packs_of(imports: Sequence[StoredImport], days: Sequence[date] | None) -> dict[Pack, set[int]]:
    """Packs of these days (all when None), each with those of the imports that it has rows of."""
    wanted = None if days is None else {str(day) for day in days}
    found: dict[Pack, set[int]] = {}
    for item in imports:
        for pack in item.packs:
            if wanted is None or pack.day in wanted:
                found.setdefault(pack, set()).add(item.import_id)
    return found


class Engine(Batch, Compaction, Reading):
    """DuckDB on the store for the time of one import or query."""

    def __init__(self, store: RequestStore, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self.store = store
        self.connection = connection
        self.folder = folder

    def progress_share(self) -> float:
        """Share of what runs, 0..1; may be asked from another thread."""
        if (done := self.share_done) is not None:
            return done
        return min(max(self.connection.query_progress(), 0.0), 100.0) / 100

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a read-only query of ours (tests and back-tests)."""
        return self.connection.execute(sql).fetchall()
