"""manage.py export_focus: usage cost as FOCUS 1.2 rows."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from billing.core.periods import PeriodError, parse_day
from billing.exports.cells import csv_bytes
from billing.exports.focus import COLUMNS, focus_rows
from billing.queries.focus_lines import account_name, focus_lines, left_out_of


class Command(BaseCommand):
    help = "Usage cost as FOCUS 1.2 (and the provider columns of 1.3), one row per day and price; CSV."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", dest="start", required=True, help="first day, YYYY-MM-DD")
        parser.add_argument("--to", dest="end", required=True, help="day after the last, YYYY-MM-DD")
        parser.add_argument("--out", required=True, help="the file to write; - for standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            start, end = parse_day(options["start"]), parse_day(options["end"])
            if start >= end:
                raise PeriodError(f"--from {start} must be before --to {end}")
            rows = focus_rows(focus_lines(start=start, end=end), account=account_name())
            pieces = csv_bytes(COLUMNS, rows)
            if options["out"] == "-":
                for piece in pieces:
                    self.stdout.write(piece.decode(), ending="")
            else:
                written = Path(options["out"])
                part = written.with_name(f"{written.name}.part")
                with part.open("wb") as file:
                    file.writelines(pieces)
                part.replace(written)
            missing = left_out_of(start=start, end=end)
        except (PeriodError, OSError) as error:
            self.stderr.write(str(error))
            sys.exit(2)
        if missing is not None:
            self.stderr.write(
                f"Not in the file, because they have no price: {missing.words} (manage.py spend lists them)."
            )
