"""The lease of a running import: an advisory lock on its own connection, progress that others see, an end by others.

When the worker dies the lock goes with its connection, and the import may be queued again. The attempt number is the
fence: an attempt that lost its lease (its connection broke while it went on) finds a later number and saves nothing.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import psycopg
from django.db import connection

from billing.models import Import

RUN_LOCK: Final = 0x636F7374  # advisory lock space of running imports; the second number is the import's id
MERGE_LOCK: Final = 0x75736167  # one import at a time compares itself with what is stored
_TICK_SECONDS: Final = 0.5
_NOT_LIBPQ: Final = frozenset({"pool", "context", "cursor_factory", "prepare_threshold", "server_side_binding"})

ProgressWatcher = Callable[[float, str], None]
_watchers: list[ProgressWatcher] = []


class ImportBusy(Exception):
    """Another process is running this import."""


class ImportStopped(Exception):
    """The import is no longer ours to go on with: cancelled, or taken over by a later attempt (`is_lost`)."""

    def __init__(self, is_lost: bool) -> None:
        self.is_lost = is_lost
        super().__init__("taken over by a later attempt" if is_lost else "cancelled")


class Interruptible(Protocol):
    """Long work in another thread that tells its share and can be broken off."""

    def progress_share(self) -> float: ...

    def interrupt(self) -> None: ...


class Lease:
    """Held while an import runs; see `held_lease`."""

    def __init__(self, side: psycopg.Connection[Any], import_id: int) -> None:
        self.side = side
        self.import_id = import_id
        self.attempt = 0

    def progress(self, share: float, note: str) -> None:
        """Visible at once: written outside the import's transaction. Raises ImportStopped."""
        for watcher in _watchers:
            watcher(share, note)
        done = self.side.execute(
            f"UPDATE {Import._meta.db_table} SET progress_share = %s, progress_note = %s "  # noqa: S608 - our table
            "WHERE id = %s AND state = 'running' AND attempts = %s",
            [share, note, self.import_id, self.attempt],
        )
        if done.rowcount == 0:
            row = self.side.execute(
                f"SELECT state, attempts FROM {Import._meta.db_table} WHERE id = %s",  # noqa: S608 - our table
                [self.import_id],
            ).fetchone()
            # No row: an import that is part of a larger transaction (a demo load, a test) is not visible from here.
            if row is not None:
                self.compare(*row)

    def compare(self, state: str, attempts: int) -> None:
        """Raise ImportStopped unless the row still says that this attempt runs."""
        if attempts != self.attempt:
            raise ImportStopped(is_lost=True)
        if state != Import.State.RUNNING:
            raise ImportStopped(is_lost=False)

    def lock_merge(self, share: float) -> None:
        """Wait until no other import or relabelling saves; held until the lease ends."""
        while not self._try_lock(MERGE_LOCK):
            self.progress(share, "Waiting until another import has saved")
            time.sleep(_TICK_SECONDS)

    @contextlib.contextmanager
    def watched(self, work: Interruptible, low: float, high: float, note: str) -> Iterator[None]:
        """Move the progress between two shares while `work` goes on, and break it off when the import is stopped."""
        ended = threading.Event()
        reasons: list[Exception] = []

        def watch() -> None:
            reached = 0.0  # several statements follow each other, each counting from 0: never go back
            while not ended.wait(_TICK_SECONDS):
                try:
                    if not reasons:
                        reached = max(reached, work.progress_share())
                        self.progress(low + (high - low) * reached, note)
                except (ImportStopped, psycopg.Error) as reason:
                    reasons.append(reason)
                if reasons:
                    work.interrupt()  # again each time: between two statements it has no effect

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        except Exception:
            _end(ended, thread)
            if reasons:
                raise reasons[0] from None
            raise
        _end(ended, thread)
        if reasons:
            raise reasons[0]

    def _try_lock(self, *key: int) -> bool:
        places = ", ".join("%s" for _ in key)
        row = self.side.execute(f"SELECT pg_try_advisory_lock({places})", key).fetchone()
        return row is not None and bool(row[0])


@contextlib.contextmanager
def progress_watched_by(watcher: ProgressWatcher) -> Iterator[None]:
    """Also tell `watcher` how far imports of this process are; it may be called from another thread."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def _end(ended: threading.Event, thread: threading.Thread) -> None:
    ended.set()
    thread.join()


@contextlib.contextmanager
def held_lease(import_id: int) -> Iterator[Lease]:
    """The lease of one import, on a connection of its own. Raises ImportBusy when another process holds it."""
    # All that libpq needs to reach the server (its certificate too), without what only Django understands.
    parameters = {key: value for key, value in connection.get_connection_params().items() if key not in _NOT_LIBPQ}
    with psycopg.connect(**parameters | {"autocommit": True, "application_name": "costgov-import"}) as side:
        lease = Lease(side, import_id)
        if not lease._try_lock(RUN_LOCK, import_id):
            raise ImportBusy(f"import {import_id} is running in another process")
        yield lease


def leased_imports() -> set[int]:
    """Imports whose lease somebody holds."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT objid::int8 FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2 "
            "AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [RUN_LOCK],
        )
        return {row[0] for row in cursor.fetchall()}
