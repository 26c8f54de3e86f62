"""manage.py import_costs: cost reports and bills, each file (or directory of parts) whole or not at all."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from billing.importers.base import ImportRefused
from billing.importers.cost_formats import cost_format_names
from billing.operations.cost_deliveries import deliveries
from billing.operations.imports import ImportOptions
from costgov.jsonout import dumps
from costgov.operations.usage import import_costs
from costgov.pages import now


class Command(BaseCommand):
    help = (
        "Import what usage cost: Anthropic cost reports and Console cost CSV, FOCUS, AWS and Google bills. "
        "A file replaces what its source said about the same days or billing months."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "files",
            nargs="+",
            type=Path,
            metavar="FILE",
            help="a file, or a directory: of reports, or of the parts of one bill",
        )
        parser.add_argument(
            "--format", default="", help=f"found out by itself when left out: {', '.join(cost_format_names())}"
        )
        parser.add_argument("--source", default="", help="name of the source (one organisation's reports or bills)")
        parser.add_argument(
            "--replace", action="store_true", help="let a coarser report, or a bill written anew, win over what is held"
        )
        parser.add_argument("--good-rows", action="store_true", help="import the good rows and list the others")
        parser.add_argument("--all-rows", action="store_true", help="of a bill: also rows that are not about Claude")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = ImportOptions(
            options["format"], options["source"], options["replace"], options["good_rows"], options["all_rows"]
        )
        outcomes, refused = [], False
        for path in [one for named in options["files"] for one in deliveries(named)]:
            try:
                outcome = import_costs(actor=None, path=path, as_of=now(), options=chosen)
            except ImportRefused as refusal:
                self.stderr.write(str(refusal))
                refused = True
                continue
            outcomes.append(outcome)
            if not options["json"]:
                self.stdout.write(
                    outcome.message
                    if outcome.is_repeat
                    else f"{outcome.file_name}: {outcome.accepted:,} lines, {outcome.duplicates:,} known in finer "
                    f"groups, {outcome.rejected:,} rejected ({outcome.format}, source {outcome.source})"
                )
                for finding in () if outcome.is_repeat else outcome.findings:
                    self.stdout.write(f"  {finding}")
        if options["json"]:
            self.stdout.write(dumps(outcomes, indent=True).decode())
        if refused:
            sys.exit(2)
