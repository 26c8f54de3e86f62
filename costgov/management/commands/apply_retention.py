"""manage.py apply_retention: forget requests and hourly usage of old months; what counted per day is kept."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from billing.operations.upkeep import apply_retention
from costgov.jsonout import dumps
from costgov.pages import now


class Command(BaseCommand):
    help = (
        "Show what would be forgotten of months older than so many full months before this one; with --apply forget "
        "it. What counted per day stays, so spend and its history stay."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--keep-months", type=int, default=settings.COSTGOV_KEEP_REQUEST_MONTHS,
            help="of requests (default: COSTGOV_KEEP_REQUEST_MONTHS; neither: all are kept)",
        )  # fmt: skip
        parser.add_argument(
            "--keep-hour-months", type=int, default=settings.COSTGOV_KEEP_HOUR_MONTHS,
            help="of hourly usage, at least as many (default: COSTGOV_KEEP_HOUR_MONTHS; neither: all are kept)",
        )  # fmt: skip
        parser.add_argument("--apply", action="store_true", help="forget it; without this nothing is changed")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = apply_retention(
                actor=None,
                as_of=now(),
                keep_request_months=options["keep_months"],
                keep_hour_months=options["keep_hour_months"],
                dry_run=not options["apply"],
            )
        except ValueError as error:
            self.stderr.write(str(error))
            sys.exit(2)
        if options["json"]:
            self.stdout.write(dumps(found).decode())
            return
        if found.requests_from is None and found.hours_from is None:
            self.stdout.write("Everything is kept: give --keep-months, or set COSTGOV_KEEP_REQUEST_MONTHS.")
            return
        self.stdout.write(f"Requests are kept from {found.requests_from or 'the beginning'}.")
        self.stdout.write(
            f"Hourly usage is kept from {found.hours_from or 'the beginning'}. What counted per day stays."
        )
        if not found.months:
            self.stdout.write("Nothing older is stored.")
            return
        self.stdout.write(f"{'month':8} {'files of requests':>18} {'hourly rows':>14}")
        for month in found.months:
            self.stdout.write(f"{month.month:%Y-%m}  {month.request_files:>18,} {month.hourly_rows:>14,}")
        self.stdout.write("Forgotten." if found.is_done else "Nothing was changed: add --apply to forget this.")
