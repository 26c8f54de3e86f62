"""manage.py savings: what is proven, what is not yet, and what the requests of a period have saved."""

import sys
from argparse import ArgumentParser
from datetime import UTC, date, datetime
from typing import Any

from django.core.management.base import BaseCommand

from billing.core.words import percent, signed
from costgov.jsonout import dumps
from costgov.pages import now
from costgov.queries.recommendation import NoBaseline
from costgov.queries.savings import NoSuchPeriod, Realised, SavingKinds, Savings, savings


class Command(BaseCommand):
    help = "Proven, unproven and realised savings, kept apart."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--period", default="", help="28d (default) or a closed month, as 2026-09")
        parser.add_argument("--as-of", type=date.fromisoformat, help="a UTC day, as 2026-11-22 (default: today)")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        day = options["as_of"]
        as_of = datetime(day.year, day.month, day.day, tzinfo=UTC) if day else now()
        try:
            found = savings(as_of=as_of, period=options["period"])
        except (NoBaseline, NoSuchPeriod) as error:
            self.stderr.write(str(error))
            sys.exit(2)
        self.stdout.write(dumps(found, indent=True).decode() if options["json"] else _table(found))


def _table(found: Savings) -> str:
    shown = found.shown
    lines = [*_kinds(found.kinds), *([found.scope.note] if found.scope.note else []), ""]
    if shown.rows or shown.unknown:
        lines += _realised(shown)
    else:
        lines.append(f"Realised {shown.start} to {shown.end}: not known, no class served a priced request")
    lines += [
        f"{each.key}: saved {signed(each.saving_usd, 2)} usd ({percent(each.share) if each.share is not None else '–'})"
        if each.rows
        else f"{each.key}: not known"
        for each in found.periods
    ]
    lines.append(found.measured_note)
    return "\n".join(lines)


def _kinds(kinds: SavingKinds | None) -> list[str]:
    if kinds is None:
        return []
    return [
        "A month, estimates:",
        f"  proven       {signed(kinds.proven_usd, 2):>12} usd",
        f"  unproven     {signed(kinds.unproven_usd, 2):>12} usd",
        f"  in force     {signed(kinds.decided_usd, 2):>12} usd  the active policy does it already",
        *([f"  for quality  {signed(-kinds.quality_usd, 2):>12} usd  moves that cost money"] if kinds.quality else []),
        f"  = recommended{signed(kinds.total_usd, 2):>12} usd",
        f"  not in it: up to {signed(kinds.waiting_usd, 2)} usd with evidence for {kinds.waiting_classes} classes",
        *(f"  unproven: {row.request_class} on {row.model}: {row.why}" for row in kinds.unproven),
        *(
            f"  for quality: {row.request_class} to {row.model}: costs {signed(row.cost_usd_per_month, 2)} usd; "
            f"{row.reason}{'; ' + row.why if row.why else ''}"
            for row in kinds.quality
        ),
    ]


def _realised(shown: Realised) -> list[str]:
    lines = [
        f"Realised {shown.start} to {shown.end}, all on {shown.baseline_model} at prices of {shown.prices_on}:",
        f"{'class':<24} {'on baseline':>14} {'as served':>14} {'saved':>14} {'price change':>14}  tokens on baseline",
    ]
    lines += [
        f"{row.request_class:<24} {signed(row.baseline_usd, 2):>14} {signed(row.served_usd, 2):>14} "
        f"{signed(row.saving_usd, 2):>14} {signed(row.price_change_usd, 2):>14}  {row.source}"
        for row in shown.rows
    ]
    lines.append(
        f"{'all':<24} {signed(shown.baseline_usd, 2):>14} {signed(shown.served_usd, 2):>14} "
        f"{signed(shown.saving_usd, 2):>14} {signed(shown.price_change_usd, 2):>14}  "
        f"{signed(shown.measured_usd, 2)} measured, {signed(shown.assumed_usd, 2)} on assumed tokens"
    )
    return [*lines, *(f"not known: {row.request_class}: {row.reason}" for row in shown.unknown)]
