"""Packs: one file for the rows that several imports have on a day."""
# ruff: noqa: S608 - statements are put together from constants of this module and quoted paths

from collections.abc import Sequence
from datetime import date

from billing.store.session import Session
from billing.store.sql import listed, quoted
from billing.store.values import STORE_COLUMNS, Pack, StoredImport


class Compaction(Session):
    def write_pack(self, pack: Pack, imports: Sequence[StoredImport]) -> None:
        """Write what these imports have on the pack's day as one file, well compressed and in the order of time."""
        self.write_pack_of(pack, self.store.rows(imports, [date.fromisoformat(pack.day)]))

    def write_pack_of(self, pack: Pack, rows: str) -> None:
        """Write a pack with the rows of this SQL."""
        target = self.folder / "pack.parquet"
        self.connection.execute(
            f"COPY (SELECT {', '.join(STORE_COLUMNS)} FROM {rows} ORDER BY occurred_at, request_id) "
            f"TO {quoted(target)} (FORMAT parquet, COMPRESSION zstd)"
        )
        self.store.place.put(target, pack.day, pack.name)

    def rows_of_files(self, day: str, names: Sequence[str]) -> dict[str, int]:
        """Number of rows of each file of a day, by its name; only the ends of the files are read."""
        if not names:
            return {}
        files = listed(self.store.place.address(day, name) for name in names)
        found = self.connection.execute(f"SELECT file_name, num_rows FROM parquet_file_metadata({files})").fetchall()
        return {str(path).rpartition("/")[2]: int(rows) for path, rows in found}
