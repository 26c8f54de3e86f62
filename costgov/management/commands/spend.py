"""manage.py spend: cost by any dimensions, with unpriced and unclassified quantities beside it."""

import sys
from argparse import ArgumentParser
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand

from billing.core.money import round_usd
from billing.core.periods import PeriodError, parse_day
from billing.core.usage_table import OtherUnpriced
from billing.core.words import percent
from billing.queries.books import BASES, LIST, UnknownPrices
from costgov.jsonout import dumps
from costgov.queries.spend import SPEND_DIMENSIONS, SpendReport, SpendRow, UnknownDimension, spend


class Command(BaseCommand):
    help = "Spend at list or contracted prices, exact; what has no price or no class is beside it, never as 0."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--by", default="class", help=f"comma separated, of {', '.join(sorted(SPEND_DIMENSIONS))}")
        parser.add_argument("--from", dest="start", help="first day, YYYY-MM-DD (default: the first with usage)")
        parser.add_argument("--to", dest="end", help="day after the last, YYYY-MM-DD (default: all)")
        parser.add_argument("--basis", choices=BASES, default=LIST, help="list prices (default), or under contracts")
        parser.add_argument("--prices", default="", metavar="SCENARIO", help="at the what-if prices of this name")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = spend(
                start=parse_day(options["start"]) if options["start"] else None,
                end=parse_day(options["end"]) if options["end"] else None,
                by=[name.strip() for name in options["by"].split(",") if name.strip()],
                basis=options["basis"],
                scenario=options["prices"],
            )
        except (PeriodError, UnknownDimension, UnknownPrices, ValueError) as error:
            self.stderr.write(str(error))
            sys.exit(2)
        if options["json"]:
            self.stdout.write(dumps(report, indent=True).decode())
        else:
            self.show(report)

    def show(self, report: SpendReport) -> None:
        if report.start is None:
            self.stdout.write(report.note)
            return
        self.stdout.write(f"Spend {report.prices}, {report.start} up to {report.end} (not included)")
        for row in report.rows:
            names = "  ".join(f"{value or '(unknown)':28}" for value in row.group.values())
            self.stdout.write(f"  {names} {_cost(row)}{_beside(row)}")
        self.stdout.write(f"  {'total':28} {_cost(report.total)}{_beside(report.total)}")
        if report.since_closed_usd and report.closed_usd is not None:
            self.stdout.write(
                f"{report.start:%B %Y} was closed with {round_usd(report.closed_usd):,} usd; "
                f"{round_usd(report.since_closed_usd):+,} usd came later and is its adjustment."
            )
        gap = report.unclassified
        self.stdout.write(
            f"Unclassified: {gap.tokens:,} tokens ({percent(gap.share_of_tokens)}), "
            f"{round_usd(gap.cost_usd):,} usd of the total"
        )
        for line in report.unpriced:
            self.stdout.write(
                f"Unpriced: {line.quantity:,} {line.token_kind} of {line.model or '(no model)'}: "
                f"{line.reason}. {_between(line.lowest_usd, line.highest_usd)}{line.remedy}."
            )
        if report.unpriced_rest is not None:
            self.stdout.write(f"Unpriced: {others_words(report.unpriced_rest)}")


def others_words(rest: OtherUnpriced) -> str:
    """What models beyond those named have together."""
    searches = f" and {rest.searches:,} web searches" if rest.searches else ""
    return f"{rest.tokens:,} tokens{searches} of {rest.models:,} more models without prices."


def _cost(row: SpendRow) -> str:
    return f"{'unknown':>20}" if row.is_unknown else f"{round_usd(row.cost_usd):>16,} usd"


def _beside(row: SpendRow) -> str:
    """What has no price, and between what the whole lies where that is known."""
    if not row.unpriced_tok and not row.unpriced_searches:
        return ""
    searches = f" and {row.unpriced_searches:,} web searches" if row.unpriced_searches else ""
    if row.highest_usd is None:
        return f"  + {row.unpriced_tok:,} tokens{searches} unpriced"
    bounds = f"between {round_usd(row.lowest_usd):,} and {round_usd(row.highest_usd):,} usd"
    return f"  {bounds} with {row.unpriced_tok:,} tokens{searches} whose price the data does not tell"


def _between(lowest: Decimal | None, highest: Decimal | None) -> str:
    if lowest is None or highest is None:
        return ""
    return f"It costs between {round_usd(lowest):,} and {round_usd(highest):,} usd. "
