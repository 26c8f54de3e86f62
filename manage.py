#!/usr/bin/env python3
"""Entry point for every management command: it joins the running services, or starts them for its own duration."""

import os
import sys

_WITHOUT_SERVICES = {"up", "help", "version", "--help", "-h", "--version", "collectstatic", "check"}


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - said in words to whoever starts it with an older one
        sys.exit(f"costgov needs Python 3.11 or newer; this is {sys.version.split()[0]}. Use .venv/bin/python.")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "costgov.settings")
    from costgov.services import joined_services

    command = sys.argv[1] if len(sys.argv) > 1 else "help"
    if command in _WITHOUT_SERVICES or "--help" in sys.argv or "-h" in sys.argv:
        _execute()
        return
    with joined_services():
        _execute()


def _execute() -> None:
    from django.core.management import execute_from_command_line
    from django.db import ProgrammingError

    try:
        execute_from_command_line(sys.argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has seen enough (… | head): nothing is left to flush into. A shell calls that 141.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        if type(error).__name__ != "StoreUnreachable":  # by name: only some commands need what it is of
            raise
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    except ProgrammingError as error:
        if type(error.__cause__).__name__ in ("UndefinedTable", "UndefinedColumn") and _is_behind():
            sys.exit(
                "The database is empty or older than this code. Prepare it with: .venv/bin/python manage.py prepare"
            )
        raise


def _is_behind() -> bool:
    """Whether migrations wait."""
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        sys.exit(130)  # as a shell calls it
