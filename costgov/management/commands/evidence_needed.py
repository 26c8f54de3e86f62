"""manage.py evidence_needed: which evals are worth running, or what one model could save and where to evaluate it."""

import sys
from argparse import ArgumentParser
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand

from billing.core.words import signed
from costgov.jsonout import dumps
from costgov.pages import now
from costgov.queries.evidence_needed import (
    EvidenceNeeded,
    ModelOutlook,
    UnknownModel,
    evidence_needed,
    model_outlook,
)
from costgov.queries.recommendation import NoBaseline


class Command(BaseCommand):
    help = "Evals worth running, by the saving a month they would unlock; --model: what one model could save."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--model", default="", help="a placed model, as claude-haiku-4-5")
        parser.add_argument("--as-of", type=date.fromisoformat, help="a UTC day, as 2026-11-22 (default: today)")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        day, model = options["as_of"], options["model"]
        as_of = datetime(day.year, day.month, day.day, tzinfo=UTC) if day else now()
        try:
            found = model_outlook(model=model, as_of=as_of) if model else evidence_needed(as_of=as_of)
        except (NoBaseline, UnknownModel) as error:
            self.stderr.write(str(error))
            sys.exit(2)
        if options["json"]:
            self.stdout.write(dumps(found, indent=True).decode())
        else:
            self.stdout.write(_outlook(found) if isinstance(found, ModelOutlook) else _list(found))


def _list(found: EvidenceNeeded) -> str:
    lines = [
        f"{'class':<24} {'model':<20} {'cases':>8} {'a month':>12} {'per case':>10} {'to run':>10} {'net':>12}  verdict"
    ]
    lines += [
        f"{row.request_class:<24} {row.model:<20} {_count(row.to_run.cases):>8} {_usd(row.saving_usd):>12} "
        f"{_usd(row.usd_per_case):>10} {_usd(row.to_run.run_usd):>10} {_usd(row.net_usd):>12}  {row.verdict_text}"
        for row in found.rows
    ]
    lines += [f"{row.request_class} on {row.model}: {row.to_run.shortage}" for row in found.rows if row.to_run.shortage]
    lines.append(f"Up to {_usd(found.total_usd)} usd a month in {found.classes} classes (one model each), estimates.")
    lines += [
        f"Not considered, as nobody has used or evaluated it: {row.model}, up to {_usd(row.total_usd)} usd a month in "
        f"{row.classes} classes if it cleared; see --model {row.model}"
        for row in found.untried
    ]
    return "\n".join(lines)


def _outlook(found: ModelOutlook) -> str:
    lines = [f"What could {found.model} save? {found.refusal and 'Not allowed now: ' + found.refusal}".rstrip()]
    lines += [
        f"{row.request_class:<24} {row.standing_text:<24} {_usd(row.saving_usd):>12} a month "
        f"{_range(row.low_usd, row.high_usd)}cases {_count(row.to_run.cases if row.to_run else 0)}, "
        f"to run {_usd(row.to_run.run_usd if row.to_run else None)}  {row.tokens}"
        for row in found.rows
    ]
    for row in found.rows:
        if row.to_run is not None and row.to_run.shortage:
            lines.append(f"{row.request_class}: {row.to_run.shortage}")
        if row.to_run is not None and row.suites:
            lines.append(f"to evaluate {row.request_class}:")
            lines += [f"  {line}" for suite in row.suites for line in (suite.run_line, suite.import_line)]
        elif row.to_run is not None:
            lines.append(f"to evaluate {row.request_class}: no suite has been run for it yet")
    lines.append(
        f"Up to {_usd(found.total_usd)} usd a month in {found.to_evaluate} classes to evaluate, "
        f"{_usd(found.run_usd)} usd to run; estimates."
    )
    return "\n".join(lines)


def _usd(amount: Decimal | None) -> str:
    return "not known" if amount is None else signed(amount, 2)


def _count(cases: int | None) -> str:
    return "–" if cases is None else f"{cases:,}"


def _range(low: Decimal | None, high: Decimal | None) -> str:
    return "" if low is None or high is None else f"({_usd(low)} to {_usd(high)}) "
