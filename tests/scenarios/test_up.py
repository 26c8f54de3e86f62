"""`manage.py up`, as `make run` calls it: starts from nothing, stops cleanly, survives kill -9, says what is wrong."""

import json
import os
import shutil
import signal
import socket
import time

import pytest

from costgov.services import ServiceFailed, Services
from tests.site import Site, alive, environment, free_port, manage, open_folder, running

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("site")]


def _title(page):
    return page.partition("<title>")[2].partition("</title>")[0]


@pytest.fixture
def folder():
    with open_folder() as found:
        yield found


def _until_gone(pids, seconds=15.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not (left := [pid for pid in pids if alive(pid)]):
            return
        time.sleep(0.1)
    raise AssertionError(f"still running: {left}")


def test_a_life_of_starts_and_stops(folder):
    """One folder through: first start, a command beside it, Ctrl-C, kill -9 of everything, start again."""
    var = folder / "var"
    with running(var) as site:
        assert _title(site.get("/")) == "First set-up · costgov"  # the first visit leads there
        pids = site.pids()
        assert set(pids) == {"valkey", "postgres", "worker", "beat", "web"}

        spent = site.manage("spend", "--json")
        assert spent.returncode == 0, spent.stderr
        assert json.loads(spent.stdout)["total"]["cost_usd"] in ("0", "0.000000")
        assert site.process.poll() is None, "a command beside the site must not stop its services"

        again = site.manage("up")
        assert again.returncode == 0
        assert f"costgov already runs here: {site.url}/" in again.stdout

        made = site.manage("shell", "-v0", "-c", _MAKE_ADMINISTRATOR)
        assert made.returncode == 0, made.stderr

        assert site.stop(signal.SIGINT) == 0
        assert "Stopped." in site.output
        _until_gone(pids.values())

    second = Site(var, free_port())
    try:
        second.wait_ready()
        assert _title(second.get("/")) == "Log in · costgov"  # the administrator is still there
        pids = second.pids()
        second.kill_everything()
        _until_gone(pids.values())
    finally:
        second.kill_everything()

    with running(var) as third:
        assert _title(third.get("/")) == "Log in · costgov"
        supervisor_killed = third.pids()
        os.kill(third.process.pid, signal.SIGKILL)  # the supervisor alone: its children must not outlive it
        third.process.wait()
        _until_gone(supervisor_killed.values())


def test_a_command_starts_the_services_for_its_own_duration(folder):
    var = folder / "alone"
    around = environment(var, free_port())
    assert manage(around, "migrate", "-v0").returncode == 0
    spent = manage(around, "spend", "--json")
    assert json.loads(spent.stdout)["rows"] == []
    left = list((var / "pid").glob("*"))
    assert left == []


def test_a_taken_port_is_an_error_that_names_the_remedy(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        site = Site(folder / "var", number)
        assert site.process.wait(30) == 1
        assert f"Port {number} is taken by another program: set PORT, as in PORT=8001." in site.output
    assert not (folder / "var" / "pid").exists()


def test_the_end_of_a_child_is_told_and_stops_the_rest(folder):
    with running(folder / "var") as site:
        pids = site.pids()
        os.kill(pids["worker"], signal.SIGKILL)
        assert site.process.wait(60) == 1
        assert "worker ended with status -9, see " in site.output
        _until_gone(pids.values())


def test_stop_while_starting_leaves_nothing(folder):
    site = Site(folder / "var", free_port())
    end = time.monotonic() + 60
    while "PostgreSQL and Valkey are up" not in site.output and time.monotonic() < end:
        time.sleep(0.05)
    pids = site.pids()
    assert site.stop(signal.SIGTERM) == 0
    _until_gone(pids.values())


@pytest.mark.skipif(os.geteuid() != 0, reason="only as root does PostgreSQL run as another user")
def test_a_database_is_never_lost_by_a_folder_closed_or_opened(folder):
    """As root the database lies elsewhere when nobody may enter the folder; what begins somewhere stays there."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    elsewhere = Services(closed / "var")
    assert not elsewhere.state.is_relative_to(closed)
    closed.chmod(0o755)
    assert Services(closed / "var").state == elsewhere.state
    shutil.move(elsewhere.state, folder / "moved")
    with pytest.raises(ServiceFailed, match="which is gone: put it back"):
        Services(closed / "var")
    shutil.move(folder / "moved", elsewhere.state)
    elsewhere.discard()

    inside = Services(folder / "open" / "var")
    assert inside.state == inside.var
    inside.postgres_data.mkdir()
    (folder / "open").chmod(0o700)
    with pytest.raises(ServiceFailed, match="allow it with chmod o\\+x"):
        Services(folder / "open" / "var")


_MAKE_ADMINISTRATOR = """
from costgov.operations.setup import create_first_administrator
from django.utils import timezone
create_first_administrator(
    username="ada", password="a-long-password", email="", organisation_name="Acme", as_of=timezone.now()
)
"""
