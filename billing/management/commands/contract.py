"""manage.py contract: propose, approve, end or list what was agreed beside the list prices."""

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from billing.core.contract_documents import read_contract
from billing.core.documents import DocumentRefused
from billing.core.money import round_usd
from billing.core.periods import PeriodError, parse_day
from billing.core.pricing import plain_number, plain_price
from billing.models import Contract
from billing.operations.contracts import (
    approve_contract,
    discard_contract,
    document_of,
    end_contract,
    propose_contract,
)
from billing.queries.contract_pages import ContractPage, RateRow, contracts_page


class Command(BaseCommand):
    help = "Contracts: percentages off the list, fixed prices, credits. A proposed one prices nothing until approved."

    def add_arguments(self, parser: ArgumentParser) -> None:
        steps = parser.add_subparsers(dest="step", required=True)
        listing = steps.add_parser("list", help="every contract, and what they took off last month")
        listing.add_argument("--json", action="store_true", help="their documents on standard output")
        propose = steps.add_parser("propose", help="keep a costgov.contract/1 document as a proposal")
        propose.add_argument("file", type=Path, metavar="FILE")
        for step, words in (("approve", "let it price usage"), ("discard", "drop a proposal")):
            steps.add_parser(step, help=words).add_argument("name", metavar="NAME")
        ending = steps.add_parser("end", help="let it hold no longer from a day on")
        ending.add_argument("name", metavar="NAME")
        ending.add_argument("--on", required=True, metavar="DAY", help="first day without it, YYYY-MM-DD")

    def handle(self, *args: Any, **options: Any) -> None:
        as_of, step = timezone.now(), options["step"]
        try:
            if step == "list":
                self.show(as_json=options["json"])
            elif step == "propose":
                row = propose_contract(actor=None, new=read_contract(options["file"].read_bytes()), as_of=as_of)
                self.stdout.write(f"{row.name}: proposed. It prices nothing until it is approved.")
            elif step == "approve":
                row = approve_contract(actor=None, contract_id=_id(options["name"]), as_of=as_of)
                self.stdout.write(f"{row.name}: approved; figures under contract use it.")
            elif step == "discard":
                self.stdout.write(
                    f"{discard_contract(actor=None, contract_id=_id(options['name']), as_of=as_of)}: gone"
                )
            else:
                day = parse_day(options["on"])
                row = end_contract(actor=None, contract_id=_id(options["name"]), ends_on=day, as_of=as_of)
                self.stdout.write(f"{row.name}: holds no longer from {row.valid_to} on.")
        except (DocumentRefused, PeriodError, OSError) as refusal:
            self.stderr.write(str(refusal))
            sys.exit(2)

    def show(self, *, as_json: bool) -> None:
        if as_json:
            rows = Contract.objects.prefetch_related("rates", "credits").order_by("valid_from", "name")
            self.stdout.write(json.dumps([document_of(row) for row in rows], indent=2))
            return
        view = contracts_page(as_of=timezone.now())
        for row in view.contracts:
            until = f" until before {row.valid_to}" if row.valid_to else ""
            self.stdout.write(f"{row.name} ({row.state.replace('_', ' ')}, {row.channel}) from {row.valid_from}{until}")
            for rate in row.rates:
                self.stdout.write(f"  {_rate(rate)}: {rate.scope}")
            for line in _credits(row):
                self.stdout.write(f"  {line}")
        if view.month is not None and view.contracts:
            self.stdout.write(
                f"{view.month[0]:%B %Y}: list {round_usd(view.list_usd):,} usd, contracted "
                f"{round_usd(view.contracted_usd):,} usd, off {round_usd(view.discount_usd):,} usd"
            )
        if not view.contracts:
            self.stdout.write("No contract is entered: everything is priced at list.")


def _id(name: str) -> int:
    row = Contract.objects.filter(name=name).first()
    if row is None:
        known = ", ".join(Contract.objects.order_by("name").values_list("name", flat=True)) or "none"
        raise DocumentRefused([f"there is no contract {name!r}; there are: {known}"])
    return row.pk


def _rate(rate: RateRow) -> str:
    if rate.percent_off is not None:
        return f"{plain_number(rate.percent_off)} % off"
    return f"{plain_price(rate.usd_per_unit)} usd" if rate.usd_per_unit is not None else ""


def _credits(row: ContractPage) -> list[str]:
    return [
        f"credit {credit.name}: {round_usd(credit.left_usd):,} of {round_usd(credit.amount_usd):,} usd left"
        for credit in row.credits
    ]
