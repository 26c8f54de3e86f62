"""manage.py up: what `make run` and `make demo` call."""

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from costgov import supervisor


class Command(BaseCommand):
    help = "Run the whole site on this machine: PostgreSQL, Valkey, migrations, worker, beat, web server."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--demo", action="store_true", help="load the demo organisation first (once)")

    def handle(self, *args: Any, **options: Any) -> None:
        started = os.environ.get("COSTGOV_STARTED_AT", "")  # when make began, installation included
        try:
            supervisor.run(
                demo=options["demo"],
                say=self._say,
                started_at=float(started) if started.isdigit() else None,
            )
        except supervisor.AlreadyRunning as running:
            self._say(f"costgov already runs here: {running}/")
        except supervisor.CannotStart as error:
            self.stderr.write(str(error))
            sys.exit(1)

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
