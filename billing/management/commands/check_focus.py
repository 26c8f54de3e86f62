"""manage.py check_focus: does a CSV conform to FOCUS 1.2?"""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from billing.exports.focus_check import FINDINGS_SHOWN, check_focus


class Command(BaseCommand):
    help = "Check a CSV against the columns, values and rules of FOCUS 1.2 (columns of 1.3 are known); exit 1 if not."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="the CSV to check")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = check_focus(Path(options["file"]))
        except (OSError, UnicodeDecodeError) as error:
            self.stderr.write(f"{options['file']}: {error}")
            sys.exit(2)
        for one in found.findings[:FINDINGS_SHOWN]:
            where = f"line {one.line}" + (f" and {one.count - 1:,} more" if one.count > 1 else "")
            value = f" ({one.value!r})" if one.value else ""
            self.stdout.write(f"{where}, {one.column or 'file'}{value}: {one.rule}")
        self.stdout.write(
            f"{found.rows:,} rows, billed {found.billed:,f}, effective {found.effective:,f}: "
            + ("conforms to FOCUS 1.2" if found.conforms else f"{len(found.findings)} kinds of breaches")
        )
        if not found.conforms:
            sys.exit(1)
