"""manage.py spend: cost by any dimensions, with unpriced and unclassified quantities beside it."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from billing.core.money import round_usd
from billing.core.periods import PeriodError, parse_day
from billing.core.words import percent
from costgov.jsonout import dumps
from costgov.queries.spend import SPEND_DIMENSIONS, SpendReport, UnknownDimension, spend


class Command(BaseCommand):
    help = "Spend at list prices, exact; what has no price or no class is shown beside it, never as 0."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--by", default="class", help=f"comma separated, of {', '.join(sorted(SPEND_DIMENSIONS))}")
        parser.add_argument("--from", dest="start", help="first day, YYYY-MM-DD (default: the first with usage)")
        parser.add_argument("--to", dest="end", help="day after the last, YYYY-MM-DD (default: all)")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = spend(
                start=parse_day(options["start"]) if options["start"] else None,
                end=parse_day(options["end"]) if options["end"] else None,
                by=[name.strip() for name in options["by"].split(",") if name.strip()],
            )
        except (PeriodError, UnknownDimension, ValueError) as error:
            self.stderr.write(str(error))
            sys.exit(2)
        if options["json"]:
            self.stdout.write(dumps(report, indent=True).decode())
        else:
            self.show(report)

    def show(self, report: SpendReport) -> None:
        self.stdout.write(f"Spend at list prices, {report.start} up to {report.end} (not included)")
        for row in report.rows:
            names = "  ".join(f"{value or '(unknown)':28}" for value in row.group.values())
            extra = f"  + {row.unpriced_tok:,} tokens unpriced" if row.unpriced_tok else ""
            self.stdout.write(f"  {names} {round_usd(row.cost_usd):>16,} usd{extra}")
        self.stdout.write(f"  {'total':28} {round_usd(report.total.cost_usd):>16,} usd")
        gap = report.unclassified
        self.stdout.write(
            f"Unclassified: {gap.tokens:,} tokens ({percent(gap.share_of_tokens)}), "
            f"{round_usd(gap.cost_usd):,} usd of the total"
        )
        for line in report.unpriced:
            self.stdout.write(
                f"Unpriced: {line.quantity:,} {line.token_kind} of {line.model or '(no model)'}: "
                f"{line.reason}. {line.remedy}."
            )
