"""manage.py prepare: everything between an empty database and the first page; each part is done once."""

import os
from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

from billing.operations.prices import seed_list_prices
from costgov.pages import now


class Command(BaseCommand):
    help = "Migrate, collect static files, load the shipped price list; with --demo also the demo organisation."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--demo", action="store_true", help="load the demo organisation")

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        _collect_static_files()
        if options["demo"]:  # first: its prices were approved in its past, before its months were closed
            call_command("demo", stdout=self.stdout)
        seed_list_prices(as_of=now())


def _collect_static_files() -> None:
    """In a process of its own: whether files are served by hashed names is settled when the settings are read."""
    import subprocess
    import sys

    from costgov.env import PROJECT

    words = [sys.executable, str(PROJECT / "manage.py"), "collectstatic", "--noinput", "--verbosity", "0"]
    subprocess.run(words, check=True, env={**os.environ, "COSTGOV_COLLECTING": "1"}, cwd=PROJECT)
