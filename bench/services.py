"""Throw-away PostgreSQL and Valkey for a benchmark: real settings of the product, an empty migrated database.

    with own_services() as environment:
        subprocess.run([...], env=environment)      # a child that imports Django and measures

A DATABASE_URL in the environment is used as it is: it must name an empty database.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from costgov.services import Services, database_url, redis_url, start_missing  # noqa: E402 - found through the path above


@contextmanager
def own_services(*, migrated: bool = True) -> Iterator[dict[str, str]]:
    """The environment of child processes, with services and a COSTGOV_VAR of its own; all of it is gone afterwards."""
    var = Path(tempfile.mkdtemp(prefix="costgov-bench-"))
    var.chmod(0o755)  # as root PostgreSQL runs as another user, who must pass through
    services = Services(var)
    environment = {**os.environ, "COSTGOV_VAR": str(services.var), "DJANGO_SETTINGS_MODULE": "costgov.settings"}
    try:
        start_missing(services)
        environment.setdefault("REDIS_URL", redis_url(services.var))
        environment.setdefault("DATABASE_URL", database_url(services.var))
        if migrated:
            run(["manage.py", "migrate", "-v", "0"], environment)
        yield environment
    finally:
        services.stop()
        services.discard()
        shutil.rmtree(var, ignore_errors=True)


def run(arguments: list[str], environment: dict[str, str]) -> str:
    """A Python child in the project's folder; its standard output. SystemExit with its error output when it fails."""
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr or done.stdout}")
    return done.stdout
