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
from billing.store.identity import Identity
from billing.store.places import Place, place_of
from billing.store.reading import Reading
from billing.store.session import THREADS
from billing.store.staging import Staging
from billing.store.values import StoredImport
from billing.store.writing import Writing, prefix

MEMORY_LIMIT: Final = "900MB"


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
        finally:
            connection.close()
            shutil.rmtree(folder, ignore_errors=True)

    def items(
        self, imports: Sequence[StoredImport], days: Sequence[date] | None = None
    ) -> list[tuple[str, str, StoredImport]]:
        """(day, name, import) of the files of these imports, on these days (all when None), in order."""
        known = {prefix(item): item for item in imports}
        listed = self.place.listed(None if days is None else sorted({str(day) for day in days}))
        return [(day, name, known[start]) for day, name in listed if (start := name.rpartition("-")[0] + "-") in known]

    def files(self, imports: Sequence[StoredImport], days: Sequence[date] | None = None) -> list[str]:
        """What DuckDB reads of these imports, on these days (all when None), in order."""
        return [self.place.address(day, name) for day, name, _ in self.items(imports, days)] if imports else []

    def days(self, item: StoredImport) -> list[date]:
        return sorted({date.fromisoformat(day) for day, _, _ in self.items([item])})

    def remove(self, item: StoredImport) -> None:
        """Delete an import's files of one generation (a failed attempt, or one that was replaced)."""
        self.place.delete([(day, name) for day, name, _ in self.items([item])])

    def remove_import(self, import_id: int) -> None:
        """Delete every file of an import, of any generation, and what its attempts left in temporary folders."""
        self.remove_others(lambda item: item.import_id != import_id)
        for folder in self.temp.glob(f"import-{import_id}-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def remove_others(self, keep: Callable[[StoredImport], bool]) -> int:
        """Delete the files of every import and generation that is not to be kept. Returns how many files."""
        gone = [
            (day, name) for day, name in self.place.listed() if (item := named(name)) is not None and not keep(item)
        ]
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


class Engine(Staging, Identity, Writing, Reading):
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
