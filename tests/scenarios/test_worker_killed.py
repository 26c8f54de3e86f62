"""A worker killed in the middle of a large import, twice: after a restart the import is whole, and counted once."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from costgov.env import PROJECT
from costgov.services import Services, database_url, redis_url

pytestmark = pytest.mark.fault
ROWS = 240_000
RESUME_SECONDS = 60  # from the restart of the worker until its import goes on
DONE_SECONDS = 240  # until it has ended, on a machine that does much else
MODELS = ("claude-opus-4-5-20251101", "claude-sonnet-4-6", "claude-haiku-4-5-20251001")
UPLOAD = """
import sys, django
django.setup()
from django.utils import timezone
from costgov.operations.usage import start_usage_import
with open(sys.argv[1], "rb") as upload:
    print(start_usage_import(actor=None, upload=upload, file_name="big.jsonl", as_of=timezone.now()).import_id)
"""
LINE = (
    '{{"timestamp": "2026-10-{day:02}T{hour:02}:{minute:02}:00Z", "request_id": "req_{number:09}", '
    '"organization_id": "org", "workspace_id": "w{workspace}", "api_key_id": "k{key}", "http_status": 200, '
    '"request": {{"model": "{model}"}}, "response": {{"id": "msg_{number:09}", "model": "{model}", '
    '"usage": {{"input_tokens": {fresh}, "cache_read_input_tokens": {read}, "output_tokens": {out}, '
    '"service_tier": "standard"}}}}}}\n'
)


def write_log(path: Path) -> dict[str, int]:
    """A log of ROWS requests over 28 days; returns what must be counted."""
    draw = random.Random(20261124)
    sums = {"uncached_input_tok": 0, "cache_read_tok": 0, "output_tok": 0, "requests": ROWS}
    with path.open("w") as out:
        for number in range(ROWS):
            fresh, read, written = draw.randrange(8_000), draw.randrange(60_000), draw.randrange(2_000)
            sums["uncached_input_tok"] += fresh
            sums["cache_read_tok"] += read
            sums["output_tok"] += written
            out.write(
                LINE.format(
                    day=1 + number % 28, hour=draw.randrange(24), minute=draw.randrange(60), number=number,
                    workspace=draw.randrange(4), key=draw.randrange(12), model=draw.choice(MODELS), fresh=fresh,
                    read=read, out=written,
                )
            )  # fmt: skip
    return sums


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """PostgreSQL and Valkey of this test alone, with their safe settings, and an empty migrated database."""
    var = tmp_path_factory.mktemp("fault")
    for folder in (var, *var.parents):  # as root PostgreSQL runs as another user, who must pass through
        if folder.stat().st_uid == os.geteuid() and folder.name.startswith(("pytest-", "fault")):
            folder.chmod(0o755)
    services = Services(var)
    try:
        services.start_redis()
        services.start_postgres()
        settings = {
            **os.environ,
            "COSTGOV_VAR": str(services.var),
            "DATABASE_URL": database_url(services.var),
            "REDIS_URL": redis_url(services.var),
            "DJANGO_SETTINGS_MODULE": "costgov.settings",
        }
        python(settings, "manage.py", "migrate", "-v", "0")
        yield settings
    finally:
        services.stop()
        services.discard()


def python(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def worker(environment: dict[str, str], log: Path) -> Iterator[Callable[[], None]]:
    """A real Celery worker with child processes; gives the way to kill all of it with -9."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "costgov", "worker", "--pool", "prefork", "--concurrency", "2"],
            env=environment, cwd=PROJECT, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip

    def kill() -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    try:
        yield kill
    finally:
        kill()


def wait_for(condition: Callable[[], bool], seconds: float, what: str, log: Path) -> float:
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            pytest.fail(f"{what} took more than {seconds} s; the worker said:\n{log.read_text()[-3000:]}")
        time.sleep(0.01)
    return time.monotonic() - begun


def test_a_killed_import_resumes_and_is_exact(
    environment: dict[str, str], tmp_path: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    wanted = write_log(tmp_path / "big.jsonl")
    log = tmp_path / "worker.log"
    log.touch()
    var = Path(environment["COSTGOV_VAR"])
    import_id = int(python(environment, "-c", UPLOAD, str(tmp_path / "big.jsonl")))
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as database:

        def row() -> dict[str, Any]:
            query = "SELECT state, progress_share, attempts, accepted, duplicates, rejected, error FROM billing_import"
            cursor = database.execute(f"{query} WHERE id = %s", [import_id])
            names = [column.name for column in cursor.description or ()]
            return dict(zip(names, cursor.fetchone() or (), strict=True))

        def has_reached(share: float, attempt: int) -> Callable[[], bool]:
            def reached() -> bool:
                now = row()
                assert now["state"] in ("queued", "running"), f"ended before it could be killed: {now}"
                return bool(now["attempts"] == attempt and now["progress_share"] >= share)

            return reached

        # Killed once while it reads the file, once while it writes requests: then the store holds some of its files.
        for attempt, share in ((1, 0.05), (2, 0.65)):
            with worker(environment, log) as kill:
                wait_for(has_reached(share, attempt), DONE_SECONDS, f"reaching {share} in attempt {attempt}", log)
                kill()
            assert row()["state"] == "running"
            assert database.execute("SELECT count(*) FROM billing_dailyusage").fetchone() == (0,)
        with worker(environment, log):
            resumed = wait_for(lambda: row()["attempts"] == 3, RESUME_SECONDS, "resuming after the restart", log)
            ended = wait_for(lambda: row()["state"] not in ("queued", "running"), DONE_SECONDS, "the import", log)
            # The upload may hold prompts: gone as soon as its import has ended, and so is all that attempts left.
            wait_for(lambda: not list((var / "incoming").iterdir()), 10, "deleting the upload", log)
            wait_for(lambda: not list((var / "tmp").glob("import-*")), 10, "deleting temporary files", log)
        record_testsuite_property("resumed_s", round(resumed, 1))
        record_testsuite_property("done_s", round(ended, 1))
        found = row()
        assert (found["state"], found["error"]) == ("done", "")
        assert (found["accepted"], found["duplicates"], found["rejected"], found["attempts"]) == (ROWS, 0, 0, 3)
        for table in ("billing_dailyusage", "billing_usagerollup"):
            sums = ", ".join(f"sum({name})::int8" for name in wanted)
            assert database.execute(f"SELECT {sums} FROM {table}").fetchone() == tuple(wanted.values())
    with duckdb.connect() as store:
        query = f"SELECT count(*), count(DISTINCT request_id) FROM '{var}/requests/*/*.parquet'"
        assert store.execute(query).fetchall() == [(ROWS, ROWS)]
