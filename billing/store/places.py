"""Where the store's files are: a directory, or an object store reached through fsspec.

A file is known by its day and name, `day=YYYY-MM-DD/import-<id>.g<generation>-<n>.parquet`. It is written elsewhere,
complete, and only then appears under its name: by a rename in a directory, by one upload in an object store.
"""

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final, Protocol

from billing.importers.sql import literal

HALF: Final = ".part"  # ends the name of a file that is still being copied


class StoreUnreachable(OSError):
    """An object store that does not answer, or refuses us. `place`: where, and why."""

    def __init__(self, place: str) -> None:
        self.place = place
        super().__init__(
            f"The request store does not answer as it should: {place}. "
            "Check COSTGOV_REQUEST_STORE, its credentials and the network."
        )


class Place(Protocol):
    """A flat set of files by day. `address` is what DuckDB reads."""

    def listed(self, days: Sequence[str] | None = None) -> list[tuple[str, str]]:
        """(day, name) of the finished files of these days (all when None), in order."""

    def address(self, day: str, name: str) -> str: ...

    def put(self, local: Path, day: str, name: str) -> None:
        """Move a finished file of ours to its name, whole or not at all."""

    def copy(self, day: str, name: str, new_name: str) -> None: ...

    def delete(self, items: Iterable[tuple[str, str]]) -> None:
        """Missing files are no error."""

    def remove_halves(self) -> int:
        """Delete what killed processes left half copied; call it while nobody writes. Returns how many."""

    def connect(self, connection: Any) -> None:
        """Make `address` readable for a DuckDB connection."""


def folder_of(day: date | str) -> str:
    return f"day={day}"


class Directory:
    """A folder of this machine (or one that every worker mounts)."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def listed(self, days: Sequence[str] | None = None) -> list[tuple[str, str]]:
        found = days if days is not None else [path.name[4:] for path in self.root.glob("day=*")]
        return [(day, name) for day in sorted(found) for name in self._names(day)]

    def _names(self, day: str) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self.root / folder_of(day)) if name.endswith(".parquet"))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def address(self, day: str, name: str) -> str:
        return literal(self.root / folder_of(day) / name)

    def put(self, local: Path, day: str, name: str) -> None:
        folder = self.root / folder_of(day)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            os.replace(local, folder / name)
        except OSError:  # another file system than that of the temporary files: copy beside it, then rename
            _copied(local, folder / name)
            local.unlink()

    def copy(self, day: str, name: str, new_name: str) -> None:
        folder = self.root / folder_of(day)
        target = folder / new_name
        target.unlink(missing_ok=True)
        try:
            os.link(folder / name, target)
        except OSError:
            _copied(folder / name, target)

    def delete(self, items: Iterable[tuple[str, str]]) -> None:
        for day, name in items:
            (self.root / folder_of(day) / name).unlink(missing_ok=True)

    def remove_halves(self) -> int:
        halves = list(self.root.glob(f"day=*/*{HALF}"))
        for path in halves:
            path.unlink(missing_ok=True)
        return len(halves)

    def connect(self, connection: Any) -> None:
        pass


def _copied(source: Path, target: Path) -> None:
    """Copy beside the target, then rename: whole or not at all."""
    half = target.with_name(f"{target.name}{HALF}")
    try:
        shutil.copyfile(source, half)
        os.replace(half, target)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


class ObjectStore:
    """A bucket or folder that fsspec reaches: s3://bucket/path, gs://…, abfs://…, memory://…

    DuckDB reads through the same file system object; nothing is cached, so a file deleted by another worker is gone.
    """

    def __init__(self, url: str) -> None:
        import fsspec  # only an object store needs it

        self.files, root = fsspec.core.url_to_fs(url, **_quiet(url))
        self.root = root.rstrip("/")
        protocol = self.files.protocol
        self.protocol = protocol if isinstance(protocol, str) else protocol[0]

    def listed(self, days: Sequence[str] | None = None) -> list[tuple[str, str]]:
        with self._told():
            return self._listed(days)

    def _listed(self, days: Sequence[str] | None) -> list[tuple[str, str]]:
        self.files.invalidate_cache()
        folders = [self.root] if days is None else [f"{self.root}/{folder_of(day)}" for day in sorted(days)]
        found = []
        for folder in folders:
            try:
                paths = self.files.find(folder)
            except FileNotFoundError:
                continue
            for path in paths:
                parent, _, name = str(path).rpartition("/")
                day = parent.rpartition("/")[2]
                if name.endswith(".parquet") and day.startswith("day="):
                    found.append((day[4:], name))
        return sorted(found)

    def address(self, day: str, name: str) -> str:
        path = literal(f"{self.root}/{folder_of(day)}/{name}")
        return f"{self.protocol}://{path.lstrip('/') if self.protocol != 'file' else path}"

    def put(self, local: Path, day: str, name: str) -> None:
        folder = f"{self.root}/{folder_of(day)}"
        with self._told():
            self.files.makedirs(folder, exist_ok=True)
            self.files.put_file(str(local), f"{folder}/{name}")
        local.unlink()

    def copy(self, day: str, name: str, new_name: str) -> None:
        folder = f"{self.root}/{folder_of(day)}"
        with self._told():
            self.files.cp_file(f"{folder}/{name}", f"{folder}/{new_name}")

    def delete(self, items: Iterable[tuple[str, str]]) -> None:
        for day, name in items:
            with self._told(), contextlib.suppress(FileNotFoundError):
                self.files.rm_file(f"{self.root}/{folder_of(day)}/{name}")

    def remove_halves(self) -> int:
        return 0  # an upload is whole or not there

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Whatever goes wrong over there, each store with exceptions of its own: say where. Raises StoreUnreachable."""
        try:
            yield
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise StoreUnreachable(f"{self.protocol}://{self.root} ({reason[:200]})") from error

    def connect(self, connection: Any) -> None:
        self.files.invalidate_cache()
        connection.register_filesystem(self.files)


def _quiet(url: str) -> dict[str, Any]:
    # A listing kept from before would hide what another worker wrote since.
    return {"use_listings_cache": False} if url.startswith("s3://") else {}


def place_of(location: str | Path) -> Place:
    """A directory, or an object store where the location is a URL."""
    return ObjectStore(location) if isinstance(location, str) and "://" in location else Directory(Path(location))
