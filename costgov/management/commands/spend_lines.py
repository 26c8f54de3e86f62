"""manage.py spend_lines: how a cost is computed, one line per dated price."""

import sys
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand

from billing.core.money import round_usd
from billing.core.periods import PeriodError, parse_day
from billing.queries.books import BASES, LIST, UnknownPrices, book_for
from billing.queries.usage import CostLines, UnpricedUsage, cost_lines, usage_days
from costgov.jsonout import dumps
from costgov.management.commands.spend import others_words


class Command(BaseCommand):
    help = "The lines behind a cost: units × dated price, exact, with its source; and what has no price."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--class", dest="request_class", help="slug of a class; '' = unclassified (default: all)")
        parser.add_argument("--model", help="canonical model id (default: all)")
        parser.add_argument("--from", dest="start", help="first day, YYYY-MM-DD (default: the first with usage)")
        parser.add_argument("--to", dest="end", help="day after the last, YYYY-MM-DD (default: all)")
        parser.add_argument("--basis", choices=BASES, default=LIST, help="list prices (default), or under contracts")
        parser.add_argument("--prices", default="", metavar="SCENARIO", help="at the what-if prices of this name")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        held = usage_days()
        try:
            start = parse_day(options["start"]) if options["start"] else held and held[0]
            end = parse_day(options["end"]) if options["end"] else held and held[1] + timedelta(days=1)
        except PeriodError as error:
            self.stderr.write(str(error))
            sys.exit(2)
        if start is None or end is None:
            self.stderr.write("There is no counted usage: import some, or name --from and --to.")
            sys.exit(2)
        if start >= end:
            self.stderr.write(f"The period is empty: it starts {start} and ends before {end}; give an earlier start.")
            sys.exit(2)
        try:
            priced = book_for(basis=options["basis"], scenario=options["prices"])
        except UnknownPrices as error:
            self.stderr.write(str(error))
            sys.exit(2)
        found = cost_lines(
            start=start,
            end=end,
            request_class=options["request_class"],
            model=options["model"],
            book=priced.book,
        )
        if options["json"]:
            self.stdout.write(dumps(found, indent=True).decode())
        else:
            self.show(found, priced.words)

    def show(self, found: CostLines, prices: str) -> None:
        self.stdout.write(f"Cost {prices}, {found.start} up to {found.end} (not included)")
        for line in found.lines:
            since = f"since {line.valid_from}" if line.valid_from else "since release"
            self.stdout.write(
                f"  {line.model:24} {line.token_kind:15} {line.formula} usd  "
                f"[{line.service_tier}, {line.prompt_length_band}, {line.geo}, {line.speed}; {since}; {line.source}]"
            )
            if line.terms:
                self.stdout.write(f"      {line.terms}")
            for text in line.assumptions:
                self.stdout.write(f"      assumed: {text}")
        self.stdout.write(f"  total {round_usd(found.cost_usd):,} usd (exactly {found.cost_usd:f})")
        for gap in found.unpriced:
            self.stdout.write(
                f"Unpriced: {gap.quantity:,} {gap.token_kind} of {gap.model or '(no model)'}: "
                f"{gap.reason}. {_between(gap)}{gap.remedy}."
            )
        if found.unpriced_rest is not None:
            self.stdout.write(f"Unpriced: {others_words(found.unpriced_rest)}")


def _between(gap: UnpricedUsage) -> str:
    if gap.lowest_usd is None or gap.highest_usd is None:
        return ""
    return f"It costs between {round_usd(gap.lowest_usd):,} and {round_usd(gap.highest_usd):,} usd. "
