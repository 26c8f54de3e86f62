"""manage.py spend_change: why spend changed between two periods."""

import sys
from argparse import ArgumentParser
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand

from billing.core.money import round_usd
from billing.core.periods import PeriodError, parse_day
from billing.queries.books import BASES, LIST, UnknownPrices
from costgov.jsonout import dumps
from costgov.queries.spend import UnknownDimension
from costgov.queries.spend_change import ChangeRow, SpendChange, month_before, spend_change


class Command(BaseCommand):
    help = "The change of spend between two periods, split into price, volume and mix effects that sum exactly."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", dest="start", required=True, help="first day of the later period, YYYY-MM-DD")
        parser.add_argument("--to", dest="end", required=True, help="day after its last, YYYY-MM-DD")
        parser.add_argument("--against-from", dest="before_start", help="first day of the earlier period")
        parser.add_argument("--against-to", dest="before_end", help="day after its last (default: the month before)")
        parser.add_argument("--by", default="class", help="comma separated, e.g. class,model,cost_centre,token_kind")
        parser.add_argument("--basis", choices=BASES, default=LIST, help="list prices (default), or under contracts")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            start, end = parse_day(options["start"]), parse_day(options["end"])
            before = _before(options, start, end)
            found = spend_change(
                start=start,
                end=end,
                before_start=before[0],
                before_end=before[1],
                by=[name.strip() for name in options["by"].split(",") if name.strip()],
                basis=options["basis"],
            )
        except (PeriodError, UnknownDimension, UnknownPrices, ValueError) as error:
            self.stderr.write(str(error))
            sys.exit(2)
        if options["json"]:
            self.stdout.write(dumps(found, indent=True).decode())
        else:
            self.show(found)

    def show(self, found: SpendChange) -> None:
        self.stdout.write(
            f"Spend {found.prices}, {found.start} up to {found.end}, against {found.before_start} up to "
            f"{found.before_end} (ends not included)"
        )
        self.stdout.write(f"  {'':30}{'before':>15}{'after':>15}{'change':>15}{'volume':>15}{'mix':>15}{'price':>15}")
        for row in found.rows:
            self.line("  ".join(value or "(none)" for value in row.group.values()), row)
        self.line("total", found.total)
        self.stdout.write(f"Tokens with a price: {found.before_tok:,} before, {found.after_tok:,} after")
        if found.unpriced_before_tok or found.unpriced_after_tok:
            self.stdout.write(
                f"Beside it, without a price: {found.unpriced_before_tok:,} tokens before, "
                f"{found.unpriced_after_tok:,} after"
            )

    def line(self, name: str, row: ChangeRow) -> None:
        figures = (row.before_usd, row.after_usd, row.change_usd, row.volume_usd, row.mix_usd, row.price_usd)
        self.stdout.write(f"  {name:30}" + "".join(f"{round_usd(value):>15,}" for value in figures))


def _before(options: dict[str, Any], start: date, end: date) -> tuple[date, date]:
    first, last = month_before(start, end)
    return (
        parse_day(options["before_start"]) if options["before_start"] else first,
        parse_day(options["before_end"]) if options["before_end"] else last,
    )
