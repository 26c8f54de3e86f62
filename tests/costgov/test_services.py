"""The embedded services: every bad setting is refused by name; leftovers are stopped; locks go with their holder."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import ProgrammingError, connection, transaction
from django.db.migrations.recorder import MigrationRecorder

import manage
from costgov import env
from costgov.processes import Children, LockFile, command_line, stop_leftover
from costgov.services import database_url, redis_url, run_folder


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: env.flag("X", False, {"X": "maybe"}), "X=maybe is neither yes nor no: use 1 or 0."),
        (lambda: env.port({"PORT": "eighty"}), "PORT=eighty is not a whole number from 1 to 65535."),
        (lambda: env.port({"PORT": "70000"}), "PORT=70000 is not a whole number from 1 to 65535."),
        (lambda: env.origins("O", [], {"O": "costgov.example"}), "write https://costgov.example"),
        (lambda: env.instant("T", {"T": "yesterday"}), "T=yesterday is not a time: write it as 2026-11-22"),
        (lambda: env.var_folder({"COSTGOV_VAR": __file__}), "is a file: name a folder"),
        (lambda: env.database("mysql://u@h/d"), "DATABASE_URL begins with mysql: only PostgreSQL is supported"),
        (lambda: env.database("postgresql://u@h"), "DATABASE_URL names no database"),
        (lambda: env.database("postgresql://u@h:port/d"), "DATABASE_URL has a port that is not a number"),
        (lambda: env.redis_addresses("http://h"), "REDIS_URL begins with http"),
        (lambda: env.redis_addresses("redis://"), "REDIS_URL names no host"),
        (lambda: env.redis_addresses("unix://run/x.sock"), "REDIS_URL names no absolute socket path"),
        (lambda: env.redis_addresses("redis://h/one"), "REDIS_URL: database one is not a whole number."),
    ],
)
def test_a_bad_setting_is_refused_with_its_name_value_and_remedy(call, says):
    with pytest.raises(env.BadSetting) as refused:
        call()
    assert says in str(refused.value)


def test_good_settings_are_read():
    assert env.flag("X", False, {"X": "Yes"}) is True
    assert env.flag("X", True, {}) is True
    assert env.port({}) == 8000
    assert env.port({"PORT": "8001"}) == 8001
    assert env.instant("T", {"T": "2026-11-22"}) == datetime(2026, 11, 22, tzinfo=UTC)
    assert env.instant("T", {"T": "2026-11-22T10:00:00+02:00"}) == datetime(2026, 11, 22, 8, tzinfo=UTC)
    assert env.redis_addresses("redis://h:6379/3") == ("redis://h:6379/3", "redis://h:6379/4", "redis://h:6379/5")
    assert env.redis_addresses("unix:///run/x.sock?db=0") == (
        "unix:///run/x.sock?db=0",
        "redis+socket:///run/x.sock?virtual_host=1",
        "redis+socket:///run/x.sock?virtual_host=2",
    )
    found = env.database("postgresql://u%40x:p%3A@db.example:5433/bill?sslmode=require")
    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"], found["NAME"]) == (
        "u@x",
        "p:",
        "db.example",
        "5433",
        "bill",
    )
    assert found["OPTIONS"] == {"sslmode": "require"}


def test_two_instances_never_share_an_address_and_sockets_are_short():
    here, there = Path("/srv/a" * 40), Path("/srv/b" * 40)
    assert database_url(here) != database_url(there)
    assert redis_url(here) != redis_url(there)
    assert len(str(run_folder(here) / "pg" / ".s.PGSQL.5432")) < 104


def test_a_stopped_child_leaves_nothing_of_its_session(tmp_path):
    children = Children(tmp_path)
    script = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    child = children.spawn("parent", [sys.executable, "-c", script + "time.sleep(600)"], marker="time.sleep")
    grandchild = _wait_for(lambda: _children_of(child.popen.pid))[0]
    children.stop()
    assert child.popen.poll() is not None
    _wait_for(lambda: not command_line(grandchild))


def test_a_leftover_of_a_killed_supervisor_is_stopped_but_nobody_else(tmp_path):
    mine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)  # leftover-mark"])
    try:
        pid_file = tmp_path / "pid"
        pid_file.write_text(f"{mine.pid}\n")
        _wait_for(lambda: "leftover-mark" in command_line(mine.pid))  # a moment after exec it has no words yet
        stop_leftover(pid_file, "another-mark", signal.SIGTERM, 2)
        assert mine.poll() is None
        stop_leftover(pid_file, "leftover-mark", signal.SIGTERM, 0.1)
        assert mine.wait(5) != 0
    finally:
        mine.kill()
        mine.wait()


def test_a_lock_goes_with_its_holder_however_it_ends(tmp_path):
    path = tmp_path / "lock" / "owner"
    code = (
        "import sys, time; from pathlib import Path; from costgov.processes import LockFile; "
        "lock = LockFile(Path(sys.argv[1])); assert lock.acquire(wait=False); lock.write('http://here'); "
        "print('held', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline().strip() == "held"
        lock = LockFile(path)
        assert lock.acquire(wait=False) is False
        assert lock.read() == "http://here"
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        assert lock.acquire(wait=False) is True
        lock.release()
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def _children_of(pid: int) -> list[int]:
    if Path("/proc/self").exists():  # a small machine may have no ps
        found = [(int(path.parent.name), path) for path in Path("/proc").glob("[0-9]*/stat")]
        return [number for number, path in found if _parent_of(path) == pid]
    shown = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in shown.stdout.split()]


def _parent_of(stat: Path) -> int | None:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):  # it ended meanwhile
        return None


def _wait_for(ready, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := ready():
            return found
        time.sleep(0.02)
    raise AssertionError("did not happen in time")


@pytest.mark.django_db
def test_a_command_on_an_unprepared_database_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(argv: list[str]) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM no_such_table")

    monkeypatch.setattr("django.core.management.execute_from_command_line", failing)
    with pytest.raises(ProgrammingError):  # all migrations are applied: a bug of ours, shown whole
        manage._execute()
    MigrationRecorder.Migration.objects.filter(app="routing").delete()
    with pytest.raises(SystemExit, match=r"manage\.py prepare"):
        manage._execute()


def test_a_reader_that_has_seen_enough_gets_no_traceback() -> None:
    """`manage.py … | head` closes the pipe."""
    root = Path(__file__).parents[2]
    command = subprocess.Popen(
        [sys.executable, "manage.py", "help"], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert command.stdout is not None
    command.stdout.close()
    assert command.stderr is not None
    said = command.stderr.read().decode()
    command.stderr.close()
    assert (command.wait(timeout=60), said) == (141, "")
