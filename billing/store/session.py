"""What the parts of the engine share."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Any, Final, TypeVar

import duckdb

from billing.store.sql import quoted

if TYPE_CHECKING:
    from billing.store.engine import RequestStore

THREADS: Final = 2
MEMORY_LIMIT: Final = "900MB"
# What DuckDB may hold of an import. More was no faster (docs/decisions/request-store-at-scale.md).
IMPORT_MEMORY: Final = "256MB"
_T = TypeVar("_T")


def is_out_of_room(error: BaseException) -> bool:
    """A disk is full, ours or one DuckDB wrote to."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, duckdb.IOException):
        return any(os.strerror(code) in str(error) for code in (errno.ENOSPC, errno.EDQUOT))
    return isinstance(error, duckdb.OutOfMemoryException) and "max_temp_directory_size" in str(error)


class Session:
    """A DuckDB connection on a store, with a folder for temporary files.

    Temporary tables are seen by this connection alone; what `side_by_side` reads must be tables of the database,
    which is gone with the connection too, or of the file that `open_spool` makes.
    """

    store: RequestStore
    connection: duckdb.DuckDBPyConnection
    folder: Path
    beside: tuple[duckdb.DuckDBPyConnection, ...] = ()
    share_done: float | None = None
    search_path: str = ""

    def side_by_side(self, jobs: Sequence[Callable[[duckdb.DuckDBPyConnection], None]]) -> None:
        """Run independent statements two at a time, each on a connection of its own to the same database.

        When one fails no other begins, and those that run have ended before its error is raised: afterwards nothing is
        written any more.
        """
        if not jobs:
            return
        free: SimpleQueue[duckdb.DuckDBPyConnection] = SimpleQueue()
        self.beside = tuple(self.connection.cursor() for _ in range(min(THREADS, len(jobs))))
        for each in self.beside:
            if self.search_path:
                each.execute(f"SET search_path = '{self.search_path}'")
            free.put(each)
        ended_jobs, failed = count(1), Event()
        self.share_done = 0.0

        def work(job: Callable[[duckdb.DuckDBPyConnection], None]) -> None:
            if failed.is_set():
                return
            connection = free.get()
            try:
                job(connection)
            except BaseException:
                failed.set()
                raise
            finally:
                free.put(connection)
            self.share_done = next(ended_jobs) / len(jobs)

        pool = ThreadPoolExecutor(len(self.beside), thread_name_prefix="store")
        started: list[Future[None]] = []
        try:
            started += [pool.submit(work, job) for job in jobs]
            ended, _ = wait(started, return_when=FIRST_EXCEPTION)
            for future in ended:
                future.result()
        except BaseException:
            failed.set()
            pool.shutdown(wait=False, cancel_futures=True)
            while any(not future.done() for future in started):
                self.interrupt()  # again each time: between two statements it has no effect
                wait(started, timeout=0.05)
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            beside, self.beside, self.share_done = self.beside, (), None
            for each in beside:
                each.close()

    def open_spool(self) -> None:
        """Make `spool`, an empty database in a file of our folder, which is looked into after our own.

        It need neither outlive a crash nor be small on disk.
        """
        run = self.connection.execute
        run("RESET search_path")
        run("DETACH DATABASE IF EXISTS spool")
        path = self.folder / "spool.duckdb"
        path.unlink(missing_ok=True)
        run("SET fsync_mode = 'NONE'")
        run("SET force_compression = 'uncompressed'")
        run("SET checkpoint_on_detach = 'DISABLED'")
        run(f"ATTACH {quoted(path)} AS spool (RECOVERY_MODE no_wal_writes)")
        self.search_path = "memory,spool"
        run(f"SET search_path = '{self.search_path}'")

    def in_little_memory(self, step: Callable[[], _T]) -> _T:
        """Take a step of an import, which may be taken again from its beginning, within IMPORT_MEMORY.

        Only a line of many megabytes, or a table of as many different texts, needs more: the step is then taken again
        within MEMORY_LIMIT.
        """
        self.connection.execute(f"SET memory_limit = '{IMPORT_MEMORY}'")
        try:
            return step()
        except duckdb.OutOfMemoryException as error:
            if is_out_of_room(error):
                raise
        self.connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
        return step()

    def interrupt(self) -> None:
        """Break off what runs; may be called from another thread."""
        for each in (self.connection, *self.beside):
            each.interrupt()

    def one(self, sql: str) -> tuple[Any, ...]:
        row = self.connection.execute(sql).fetchone()
        if row is None:
            raise RuntimeError("a query for totals gave no row")
        return tuple(row)
