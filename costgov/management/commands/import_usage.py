"""manage.py import_usage: request logs and usage reports, each file whole or not at all."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from billing.importers.base import ImportRefused
from billing.importers.usage_formats import format_names
from billing.operations.imports import ImportOptions
from costgov.jsonout import dumps
from costgov.operations.usage import import_usage
from costgov.pages import now


class Command(BaseCommand):
    help = "Import usage: request logs, LiteLLM payloads, Anthropic Admin usage reports. A bad row refuses its file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
        parser.add_argument(
            "--format", default="", help=f"found out by itself when left out: {', '.join(format_names())}"
        )
        parser.add_argument("--source", default="", help="name of the source (organisation, channel, scope)")
        parser.add_argument(
            "--replace", action="store_true", help="where a request is known with other counts, this file wins"
        )
        parser.add_argument("--good-rows", action="store_true", help="import the good rows and list the others")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = ImportOptions(options["format"], options["source"], options["replace"], options["good_rows"])
        outcomes, refused = [], False
        for path in options["files"]:
            try:
                outcome = import_usage(actor=None, path=path, as_of=now(), options=chosen)
            except ImportRefused as refusal:
                self.stderr.write(str(refusal))
                refused = True
                continue
            outcomes.append(outcome)
            if not options["json"]:
                self.stdout.write(
                    outcome.message
                    if outcome.is_repeat
                    else f"{outcome.file_name}: {outcome.accepted:,} accepted, {outcome.duplicates:,} duplicates, "
                    f"{outcome.rejected:,} rejected, {outcome.failed_requests:,} failed requests "
                    f"({outcome.format}, source {outcome.source})"
                )
                for finding in () if outcome.is_repeat else outcome.findings:
                    self.stdout.write(f"  {finding}")
        if options["json"]:
            self.stdout.write(dumps(outcomes, indent=True).decode())
        if refused:
            sys.exit(2)
