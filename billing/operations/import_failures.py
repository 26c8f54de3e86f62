"""What the machine, not the file, refuses: no room, no permission, no memory, a store that does not answer."""

import errno
import os
import re
from pathlib import Path
from typing import Final

import duckdb
import psycopg

from billing.importers.base import ImportRefused
from billing.queries.imports import request_store
from billing.store import StoreUnreachable, is_out_of_room

_FORBIDDEN: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
_PATH: Final = re.compile(r'file \\*"([^"\\]+)')  # as DuckDB names one
_AGAIN: Final = "Nothing of the file was imported: import it again afterwards"


def refusal_of_machine(error: BaseException, file_name: str) -> ImportRefused | None:
    """An error that is the machine's as a refusal with what, where and what to do; None for any other error."""
    if isinstance(error, StoreUnreachable):
        return ImportRefused.because(
            file_name,
            f"the request store does not answer as it should: {error.place}",
            f"Check COSTGOV_REQUEST_STORE, its credentials and the network. {_AGAIN}",
        )
    if isinstance(error, psycopg.errors.DiskFull) or isinstance(error.__cause__, psycopg.errors.DiskFull):
        return ImportRefused.because(file_name, "PostgreSQL has no room left on its disk", f"Make room there. {_AGAIN}")
    if is_out_of_room(error):
        return ImportRefused.because(
            file_name, f"no room is left on the disk of {_folder(error)}", f"Make room there. {_AGAIN}"
        )
    if isinstance(error, duckdb.OutOfMemoryException | MemoryError):
        return ImportRefused.because(
            file_name,
            "reading it takes more memory than there is",
            "Split the file and import its parts, or give the machine more memory",
        )
    if isinstance(error, OSError) and error.errno in _FORBIDDEN:
        return ImportRefused.because(
            file_name,
            f"{_folder(error)} cannot be written ({os.strerror(error.errno)})",
            f"Make the folder writable for the user that runs costgov. {_AGAIN}",
        )
    return None


def _folder(error: BaseException) -> Path:
    """The folder it happened in, as far as the error tells; else that of temporary files."""
    store = request_store()
    if isinstance(error, OSError):
        told = error.filename2 or error.filename  # of a copy the target stands second; an open file has no name
        path = Path(os.fsdecode(told)) if isinstance(told, str | bytes) else store.temp
    else:
        found = _PATH.search(str(error))
        path = Path(found[1]) if found else store.temp
    if path.is_relative_to(store.temp):
        return store.temp
    day = next((item for item in path.parents if item.name.startswith("day=")), None)
    return day.parent if day is not None else path.parent
