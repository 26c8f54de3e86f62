"""manage.py import_cost_centres: cost centres and what they carry, from a CSV or a list of workspaces."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from billing.importers.cost_centre_files import COLUMNS, CostCentreFileError, read_cost_centres
from billing.operations.cost_centres import CostCentreRefused, import_cost_centres


class Command(BaseCommand):
    help = f"Cost centres and what they carry. CSV with {', '.join(COLUMNS)}, or the Admin API's list of workspaces."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="CSV, or JSON of GET /v1/organizations/workspaces")
        parser.add_argument("--tag", default="", help="the workspace tag that holds the code (default: cost_centre …)")

    def handle(self, *args: Any, **options: Any) -> None:
        path = Path(options["file"])
        try:
            lines = read_cost_centres(path.read_bytes(), tag=options["tag"])
            found = import_cost_centres(actor=None, lines=lines, as_of=timezone.now())
        except OSError as error:
            self._refuse(f"{path}: {error.strerror}")
        except CostCentreFileError as error:
            self._refuse("\n".join(f"{path.name}: {problem}" for problem in error.problems))
        except CostCentreRefused as error:
            self._refuse(f"{path.name}: {error}")
        else:
            self.stdout.write(
                f"{path.name}: {found.centres_new} cost centres new, {found.centres_changed} changed; "
                f"{found.mappings_new} mappings new, {found.mappings_changed} changed; "
                f"{found.unchanged} lines unchanged"
            )

    def _refuse(self, message: str) -> None:
        self.stderr.write(f"{message}\nNothing was changed.")
        sys.exit(2)
