"""Loading the demo again: twice, over another organisation, and after it was killed half-way."""

import json
import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from django.db import connection

from audit.queries import data_version
from costgov import demo as demo_package
from costgov.operations.setup import create_first_administrator
from tests.demo import AS_OF, PROJECT, Demo, create_database, demo_copy, drop_database, environment, inside, own_demo

__all__ = ["demo_copy", "own_demo"]
pytestmark = pytest.mark.xdist_group("demo")


def _counts() -> dict[str, int]:
    found = {}
    with connection.cursor() as cursor:
        for name in connection.introspection.table_names():
            cursor.execute(f'SELECT count(*) FROM "{name}"')
            found[name] = cursor.fetchone()[0]
    return found


def test_a_second_load_changes_nothing(own_demo):
    before, version, files = _counts(), data_version(), sorted(own_demo.var.rglob("*.parquet"))
    lines: list[str] = []
    demo_package.load(as_of=AS_OF + timedelta(days=3), say=lines.append)
    assert lines == ["The demo organisation is loaded; its last day is 2026-11-21. Nothing was changed."]
    assert (_counts(), data_version(), sorted(own_demo.var.rglob("*.parquet"))) == (before, version, files)


def test_the_command_tells_people_and_machines(demo_copy):
    done = demo_copy.manage("demo", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["username"] for row in found["people"]] == ["erin", "emil", "paula", "victor", "ada"]
    assert "Nothing was changed" in found["steps"][0]
    wrong = demo_copy.manage("demo", "--as-of", "yesterday")
    assert wrong.returncode == 2 and "yesterday" in wrong.stderr


def test_it_is_not_loaded_over_another_organisation(demo_copy, tmp_path, django_db_blocker):
    """A database with users and no demo is left alone."""
    other = Demo(f"{demo_copy.database}_other", tmp_path)
    create_database(other.database)
    try:
        assert other.manage("migrate", "-v0").returncode == 0
        with django_db_blocker.unblock(), inside(other):
            create_first_administrator(
                username="real", password="a-real-password", email="", organisation_name="Real", as_of=AS_OF
            )
            before = _counts()
        done = other.manage("demo")
        assert done.returncode == 2
        assert "nothing was loaded" in done.stderr and "COSTGOV_VAR" in done.stderr
        with django_db_blocker.unblock(), inside(other):
            assert _counts() == before
    finally:
        drop_database(other.database)


@pytest.mark.fault
def test_a_load_killed_half_way_is_completed_by_the_next(demo_copy, tmp_path):
    """kill -9 in the middle of an import of logs; the next call, days later, gives the same organisation."""
    name = f"{demo_copy.database}_killed"
    create_database(name)
    killed = Demo(name, tmp_path)
    try:
        assert killed.manage("migrate", "-v0").returncode == 0
        process = subprocess.Popen(
            [sys.executable, "manage.py", "demo"],
            cwd=PROJECT,
            env=environment(name, tmp_path),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            if "requests_" in line:  # the first logs are in: the next import is under way in a moment
                break
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        done = killed.manage("demo", COSTGOV_AS_OF="2026-11-25T08:00:00Z")
        assert done.returncode == 0, done.stderr
        wanted, found = (
            [Demo(database, var).manage("spend", "--by", "day,class,model", "--json").stdout]
            for database, var in ((demo_copy.database, demo_copy.var), (name, tmp_path))
        )
        assert found == wanted
    finally:
        drop_database(name)
