"""The demo organisation for tests: loaded once per test run by the real commands, in a database of its own.

`from tests.demo import demo` in a module (and `pytestmark = pytest.mark.xdist_group("demo")`, so that one worker runs
all of its tests); a test that asks for `demo` then works on the loaded organisation, in a transaction that is rolled
back at the end, with COSTGOV_VAR pointing at its request store. Tests that must commit ask for `own_demo`: a copy.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.core.cache import cache
from django.db import connection, transaction
from django.test import override_settings
from pytest_django.plugin import DjangoDbBlocker

from costgov.processes import LockFile

PROJECT = Path(__file__).resolve().parent.parent
AS_OF = datetime(2026, 11, 22, 8, tzinfo=UTC)
LAST = date(2026, 11, 22)  # the day after the demo's last day
TEMPLATE = "test_costgov_demo_template"


@dataclass(frozen=True)
class Demo:
    """Where a loaded demo is. `var` holds its request store."""

    database: str
    var: Path
    as_of: datetime = AS_OF
    last: date = LAST

    def manage(self, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """A management command on it, as a user runs it, frozen at `as_of`."""
        return subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=PROJECT,
            env={**environment(self.database, self.var), **changes},
            capture_output=True,
            text=True,
            check=False,
        )


def environment(database: str, var: Path) -> dict[str, str]:
    """The environment of commands on a database of the test server."""
    address = urlsplit(os.environ["DATABASE_URL"])
    return {
        **os.environ,
        "DATABASE_URL": urlunsplit(address._replace(path=f"/{database}")),
        "COSTGOV_VAR": str(var),
        "COSTGOV_AS_OF": f"{AS_OF:%Y-%m-%dT%H:%M:%SZ}",
    }


@contextmanager
def administering() -> Iterator[psycopg.Connection]:
    """A connection that may create and drop databases."""
    with closing(psycopg.connect(os.environ["DATABASE_URL"], dbname="postgres", autocommit=True)) as administrator:
        yield administrator


def create_database(name: str, *, template: str = "template1") -> None:
    with administering() as administrator:
        administrator.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        administrator.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')


def drop_database(name: str) -> None:
    with administering() as administrator:
        administrator.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextmanager
def inside(demo: Demo) -> Iterator[None]:
    """Django's connection and COSTGOV_VAR point at the demo; both go back afterwards."""
    connection.close()
    earlier = connection.settings_dict["NAME"]
    connection.settings_dict["NAME"] = demo.database
    cache.clear()  # its figures are kept by the number of the data version, which every database counts from 1
    try:
        with override_settings(COSTGOV_VAR=demo.var, COSTGOV_AS_OF=demo.as_of):
            yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = earlier
        cache.clear()


def _template() -> Path:
    """Load the demo into the template database unless another worker did; the folder with its request store."""
    base = Path(os.environ["COSTGOV_VAR"]) / "demo"
    lock = LockFile(base / "lock")
    lock.acquire()
    try:
        var = base / "var"
        if not (base / "done").exists():
            create_database(TEMPLATE)
            here = Demo(TEMPLATE, var)
            var.mkdir(parents=True, exist_ok=True)
            for words in (("migrate", "-v0"), ("demo",)):
                done = here.manage(*words)
                assert done.returncode == 0, done.stderr
            (base / "load.log").write_text(done.stdout)
            (base / "done").touch()
        return var
    finally:
        lock.release()


@contextmanager
def _copy(name: str, folder: Path) -> Iterator[Demo]:
    var = _template()
    shutil.copytree(var / "requests", folder / "requests", copy_function=os.link)
    create_database(name, template=TEMPLATE)
    try:
        yield Demo(name, folder)
    finally:
        drop_database(name)


@pytest.fixture(scope="session")
def demo_copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """This worker's copy of the demo; nothing is committed to it."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    with _copy(f"test_costgov_demo_{worker}", tmp_path_factory.mktemp("demo")) as copy:
        yield copy


@pytest.fixture
def demo(demo_copy: Demo, django_db_blocker: DjangoDbBlocker) -> Iterator[Demo]:
    """The loaded demo; what the test changes is rolled back."""
    with django_db_blocker.unblock(), inside(demo_copy), transaction.atomic():
        yield demo_copy
        transaction.set_rollback(True)


@pytest.fixture
def own_demo(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[Demo]:
    """A copy of the demo for one test, which may commit."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    with (
        _copy(f"test_costgov_own_demo_{worker}", tmp_path / "var") as copy,
        django_db_blocker.unblock(),
        inside(copy),
    ):
        yield copy
