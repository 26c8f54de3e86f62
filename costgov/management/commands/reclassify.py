"""manage.py reclassify: class labels of stored usage, again, under a named policy and today's mappings."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from billing.core.periods import PeriodError, parse_day
from costgov.jsonout import dumps
from costgov.operations.usage import NoSuchPolicy, reclassify
from costgov.pages import now


class Command(BaseCommand):
    help = "Give stored requests the class of a named policy; recorded decisions and class tags stay."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", dest="start", help="first day, YYYY-MM-DD (default: all)")
        parser.add_argument("--to", dest="end", help="day after the last, YYYY-MM-DD (default: all)")
        parser.add_argument(
            "--policy", type=int, help="policy version (default: the active one; none: class tags and mappings alone)"
        )
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            start = parse_day(options["start"]) if options["start"] else None
            end = parse_day(options["end"]) if options["end"] else None
            if start and end and start >= end:
                raise PeriodError(f"--from {start} must be before --to {end}, which is not included")
            changed = reclassify(actor=None, as_of=now(), start=start, end=end, policy_version=options["policy"])
        except (PeriodError, NoSuchPolicy) as error:
            self.stderr.write(str(error))
            sys.exit(2)
        if options["json"]:
            self.stdout.write(
                dumps({"requests_changed": changed.requests, "report_rows_changed": changed.report_rows}).decode()
            )
        else:
            self.stdout.write(
                f"{changed.requests:,} requests and {changed.report_rows:,} rows of reports have another class now."
            )
