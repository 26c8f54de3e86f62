"""Everything on one machine under one process: services, migrations, demo data, worker, beat, web server.

Ctrl-C, SIGTERM or the end of any child stops all of them, in reverse order. A supervisor killed with -9 leaves
nothing behind on Linux (its children ask the kernel for their stop signal); elsewhere the next start clears it away.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from costgov.env import PROJECT, port, var_folder
from costgov.processes import Child
from costgov.services import Ownership, Services, database_url, redis_url, start_missing

FIRST_PAGE_SECONDS = 60
_OWNER_WAIT_SECONDS = 600  # a command that started the services for itself, e.g. a long import
_POLL_SECONDS = 0.3


class CannotStart(Exception):
    """Why the site does not start or does not go on, and what to do."""


class AlreadyRunning(Exception):
    """The site of this COSTGOV_VAR runs; the message is its address."""


def run(*, demo: bool, say: Callable[[str], None], started_at: float | None = None) -> None:
    """Start everything, say where the page is, and stay until told to stop. Raises CannotStart, AlreadyRunning.

    `started_at` (Unix time) is when the user's command began, so that the time said includes the installation.
    """
    begun = started_at or time.time()
    var, number = var_folder(), port()
    # Before anything slow: the remedy is a word on the command line.
    _refuse_taken_port(number)
    with _interruptible(), _owning(var, say) as locks:
        services = Services(var)
        try:
            start_missing(services)
            environment = _environment(var)
            say(_since(begun, "PostgreSQL and Valkey are up"))
            locks.door.release()
            _prepare(environment, demo=demo)
            say(_since(begun, "database, price list and demo data are ready" if demo else "database is ready"))
            _start_site(services, environment, var, number)
            address = f"http://127.0.0.1:{number}"
            _wait_for_page(services, address)
            locks.owner.write(address)
            say(_since(begun, f"ready: {address}/"))
            for line in _log_ins() if demo else ("The first visit creates the first administrator.",):
                say(line)
            say("Ctrl-C stops everything; the data stays.")
            _watch(services)
        except KeyboardInterrupt:
            say("Stopping …")
        finally:
            services.stop()
            say("Stopped.")


def _environment(var: Path) -> dict[str, str]:
    environment = dict(os.environ)
    environment.setdefault("DATABASE_URL", database_url(var))
    environment.setdefault("REDIS_URL", redis_url(var))
    environment["COSTGOV_VAR"] = str(var)
    # Output goes to files: without this, what a child said before it was killed is lost.
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def _prepare(environment: dict[str, str], *, demo: bool) -> None:
    """Migrations, static files, price list, demo data, in one process of its own: settings read the addresses once."""
    words = [sys.executable, str(PROJECT / "manage.py"), "prepare", *(["--demo"] if demo else [])]
    # In its own session like every child: Ctrl-C reaches us alone, and we end it.
    child = subprocess.Popen(words, env=environment, cwd=PROJECT, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        status = child.wait()
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        raise
    if status:
        raise CannotStart(f"Preparing the database ended with status {status}; what went wrong is written above.")


def _start_site(services: Services, environment: dict[str, str], var: Path, number: int) -> None:
    programs = Path(sys.executable).parent
    celery: list[str | Path] = [programs / "celery", "-A", "costgov"]
    worker: list[str | Path] = ["worker", "--pool", "prefork", "--concurrency", "2", "--loglevel", "info"]
    web: list[str | Path] = [programs / "granian", "--interface", "wsgi", "--no-ws", "--log-level", "warning"]
    name = f"costgov-{number}"
    services.children.spawn(
        "worker",
        [*celery, *worker, "--hostname", f"{name}@%h"],
        marker=name,
        grace_seconds=20,
        env=environment,
        cwd=PROJECT,
    )
    schedule = var / "beat-schedule"
    services.children.spawn(
        "beat",
        [*celery, "beat", "--loglevel", "info", "--schedule", schedule, "--pidfile", ""],
        marker=str(schedule),
        env=environment,
        cwd=PROJECT,
    )
    address = ["--host", os.environ.get("HOST", "127.0.0.1"), "--port", str(number)]
    services.children.spawn(
        "web",
        [*web, *address, "--workers", "1", "--blocking-threads", "4", "costgov.wsgi:application"],
        marker="costgov.wsgi:application",
        env={**environment, "COSTGOV_DB_POOL": "1"},
        cwd=PROJECT,
    )


def _wait_for_page(services: Services, address: str) -> None:
    end = time.monotonic() + FIRST_PAGE_SECONDS
    while time.monotonic() < end:
        _refuse_ended(services.children.ended())
        try:
            with urllib.request.urlopen(f"{address}/healthz", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise CannotStart(f"No page within {FIRST_PAGE_SECONDS} s, see {services.children.log_folder / 'web.log'}.")


def _watch(services: Services) -> None:
    while True:
        _refuse_ended(services.children.ended())
        time.sleep(_POLL_SECONDS)


def _refuse_ended(child: Child | None) -> None:
    if child is not None:
        raise CannotStart(f"{child.name} ended with status {child.popen.returncode}, see {child.log}.")


def _refuse_taken_port(number: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((os.environ.get("HOST", "127.0.0.1"), number))
        except PermissionError as error:
            raise CannotStart(f"Port {number} may not be used by this user: set PORT to one above 1023.") from error
        except OSError as error:
            running = Ownership(var_folder()).owner
            if not running.acquire(wait=False) and (address := running.read()):
                raise AlreadyRunning(address) from error
            running.release()
            raise CannotStart(f"Port {number} is taken by another program: set PORT, as in PORT=8001.") from error


@contextmanager
def _owning(var: Path, say: Callable[[str], None]) -> Iterator[Ownership]:
    """Be the one who runs the services here; wait for a command that has started them for itself."""
    locks = Ownership(var)
    locks.door.acquire()
    end, told = time.monotonic() + _OWNER_WAIT_SECONDS, False
    while not locks.owner.acquire(wait=False):
        if address := locks.owner.read():
            locks.door.release()
            raise AlreadyRunning(address)
        if time.monotonic() > end:
            raise CannotStart(f"Another costgov command has used {var} for {_OWNER_WAIT_SECONDS // 60} minutes.")
        if not told:
            say("Waiting for another costgov command in this folder to finish …")
            told = True
        locks.door.release()  # it needs the door to leave
        time.sleep(_POLL_SECONDS)
        locks.door.acquire()
    locks.owner.write("")  # an address left by a killed supervisor is nobody's
    try:
        yield locks
    finally:
        locks.owner.write("")
        for lock in (locks.owner, locks.door):
            lock.release()


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM stops as Ctrl-C does; a second one does not interrupt the stopping. So does a closed terminal."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, signal.SIG_IGN)
        raise KeyboardInterrupt

    earlier = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGHUP, interrupt)
    try:
        yield
    finally:
        for name, handler in earlier.items():
            signal.signal(name, handler)


def _since(begun: float, text: str) -> str:
    return f"{time.time() - begun:6.1f} s  {text}"


def _log_ins() -> tuple[str, ...]:
    from costgov.demo.people import PEOPLE

    lines = [f"  {person.username:<12} {person.password:<24} {person.role}" for person in PEOPLE]
    return ("Log in as one of (name, password, role):", *lines)
