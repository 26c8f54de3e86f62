"""manage.py reconcile: a month's three figures, every difference by cause, and what stands before closing."""

import sys
from argparse import ArgumentParser
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand

from billing.core.cents import shown_causes, shown_difference
from billing.core.money import MoneyError, parse_usd
from billing.core.settlement import Reason
from billing.core.words import signed
from billing.operations.reconciliation import PeriodRefused, close_month, record_adjustments, set_tolerance
from costgov.jsonout import dumps
from costgov.pages import now
from costgov.queries.reconciliation import MonthView, NoSuchMonth, month_view, parse_month


class Command(BaseCommand):
    help = (
        "Computed cost, the provider's cost report and the invoice of a month, and the causes of every difference. "
        "Ends with status 1 while something stands before closing the month."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("month", help="like 2026-10")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
        parser.add_argument("--tolerance", metavar="USD", help="set how far a line may differ and still match, in usd")
        step = parser.add_mutually_exclusive_group()
        step.add_argument("--close", action="store_true", help="close the month; refused while something is open")
        step.add_argument("--adjust", action="store_true", help="book what came after the month was closed")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            month = parse_month(options["month"])
            if options["tolerance"] is not None:
                changes = {"line_usd": parse_usd(options["tolerance"])}
                set_tolerance(actor=None, month=month, changes=changes, as_of=now())
            if options["close"]:
                close_month(actor=None, month=month, as_of=now())
            if options["adjust"]:
                record_adjustments(actor=None, month=month, as_of=now())
            view = month_view(month=month, as_of=now())
        except (PeriodRefused, NoSuchMonth, MoneyError, ValueError) as error:
            self.stderr.write(str(error))
            sys.exit(2)
        if options["json"]:
            self.stdout.write(dumps(view, indent=True).decode())
        else:
            self.show(view)
        if view.state == "open" and view.settlement.open_checks:
            sys.exit(1)

    def show(self, view: MonthView) -> None:
        value = view.settlement
        self.stdout.write(f"{view.month:%B %Y} ({view.state}). {view.answer}")
        for name, amount in (
            ("computed from usage", value.computed_usd),
            ("provider's cost report", value.report_usd),
            ("invoices", value.invoice_usd),
        ):
            said = "none" if amount is None else _usd(amount)
            self.stdout.write(f"  {name:38} {said:>16}")
        for gap in value.gaps:
            title = "computed → cost report" if gap.side == "report" else "cost report → invoice"
            if value.report_usd is None:
                title = "computed → invoice"
            difference = shown_difference(gap.from_usd, gap.to_usd)
            self.stdout.write(f"{title}: {_usd(difference, plus=True)}")
            for cause, cents in zip(gap.causes, shown_causes(gap), strict=True):
                where = f"  {cause.where}" if cause.where else ""
                self.stdout.write(f"  {cause.title:38} {_usd(cents, plus=True):>16}  {cause.state}{where}")
                if gap.side == "invoice" and cause.detail and cause.state != "accepted":
                    self.stdout.write(f"      {cause.detail}")
        for reason in (*(line.reason for line in value.lines), *(line.reason for line in value.invoice_lines)):
            if reason is not None:
                self.stdout.write(_accepted(reason))
        self.stdout.write("Before closing" if view.state == "open" else "As it was closed")
        for check in value.checks:
            mark = "done" if check.is_done else "open"
            self.stdout.write(f"  {mark}  {check.title}{f': {check.detail}' if check.detail else ''}")
        for said, found in (("booked since", view.booked), ("due", view.due), ("carried from", view.carried)):
            for one in found:
                self.stdout.write(
                    f"Adjustment {said} {one.month:%Y-%m}: {_usd(one.amount_usd, plus=True)}, {one.words} "
                    f"(in {one.booked_month:%Y-%m}{f', billed on {one.billed_on}' if one.billed_on else ''})"
                )


def _accepted(reason: Reason) -> str:
    day = f"{reason.given_at.day} {reason.given_at:%b %Y}"
    return f"Accepted by {reason.given_by} on {day}: {_usd(reason.amount_usd, plus=True)}, {reason.reason}"


def _usd(amount: Decimal, *, plus: bool = False) -> str:
    return signed(amount, 2, "$", plus=plus)
