"""manage.py import_prices: price files, all of them or none. What they bring is proposed until somebody approves it."""

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from billing.importers.base import ImportRefused
from billing.importers.price_formats import PRICE_FORMATS
from billing.operations.price_changes import import_prices


class Command(BaseCommand):
    help = (
        "Import prices: CSV of the shipped form, genai-prices data, LiteLLM's price file. New prices are proposals for "
        "the Prices page, or count at once with --approve. A price that is held is never overwritten."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        names = ", ".join(item.name for item in PRICE_FORMATS)
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
        parser.add_argument("--format", default="", help=f"found out by itself when left out: {names}")
        parser.add_argument("--approve", action="store_true", help="new prices count at once")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            outcomes = import_prices(
                actor=None,
                paths=options["files"],
                as_of=timezone.now(),
                format_name=options["format"],
                approve=options["approve"],
            )
        except ImportRefused as refusal:
            self.stderr.write(str(refusal))
            sys.exit(2)
        if options["json"]:
            self.stdout.write(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))
            return
        for outcome in outcomes:
            verb = "added" if outcome.approved else "proposed"
            self.stdout.write(
                f"{outcome.file_name} ({outcome.format}): {outcome.added:,} prices {verb}, "
                f"{outcome.held:,} held already"
            )
            for text in outcome.disagreements:
                self.stdout.write(f"  not taken: {text}")
