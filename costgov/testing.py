"""pytest plugin: throw-away PostgreSQL and Valkey for the test run, started before the settings load.

Named in pyproject.toml (`-p costgov.testing`). A DATABASE_URL or REDIS_URL in the environment is used as it is. The
workers of pytest-xdist inherit the addresses; each gets Redis databases of its own, as each gets a test database.
"""

import atexit
import os
import tempfile
from pathlib import Path

from costgov.services import Services, database_url, redis_url

_REDIS_DATABASES_EACH = 3
_FAST_AND_UNSAFE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def _start() -> None:
    folder = tempfile.TemporaryDirectory(prefix="costgov-test-", ignore_cleanup_errors=True)
    Path(folder.name).chmod(0o755)  # as root PostgreSQL runs as another user, who must pass through
    services = Services(Path(folder.name))
    atexit.register(folder.cleanup)
    atexit.register(services.discard)
    atexit.register(services.stop)  # the first to run: in reverse order
    os.environ["COSTGOV_VAR"] = folder.name
    # Playwright keeps an event loop on the main thread from its first browser test on; later tests of the same process
    # use the database all the same, one at a time.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    if not os.environ.get("REDIS_URL"):
        services.start_redis(databases=64)
        os.environ["REDIS_URL"] = redis_url(services.var)
    if not os.environ.get("DATABASE_URL"):
        services.start_postgres([word for option in _FAST_AND_UNSAFE for word in ("-c", option)])
        os.environ["DATABASE_URL"] = database_url(services.var)


def _own_redis_databases(worker: str) -> None:
    number = int(worker.removeprefix("gw")) + 1
    base, found, _ = os.environ["REDIS_URL"].partition("?db=")
    if found:
        os.environ["REDIS_URL"] = f"{base}?db={number * _REDIS_DATABASES_EACH}"


if _worker := os.environ.get("PYTEST_XDIST_WORKER"):
    _own_redis_databases(_worker)
else:
    _start()
