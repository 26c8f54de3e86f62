"""manage.py import_prices: price files, all of them or none. What they bring is proposed until somebody approves it."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from billing.core.price_difference import STATES, PriceDifference, PriceRow, percent_words
from billing.core.pricing import plain_number, plain_price
from billing.importers.base import ImportRefused
from billing.importers.price_formats import PRICE_FORMATS
from billing.operations.price_changes import import_prices
from billing.operations.price_files import PriceFile, difference_of, read_price_file
from billing.operations.prices import KEY


class Command(BaseCommand):
    help = (
        "Import prices: CSV of the shipped form, genai-prices data, LiteLLM's price file. New prices are proposals for "
        "the Prices page, or count at once with --approve. A price that is held is never overwritten."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        names = ", ".join(item.name for item in PRICE_FORMATS)
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
        parser.add_argument("--format", default="", help=f"found out by itself when left out: {names}")
        parser.add_argument("--approve", action="store_true", help="new prices count at once")
        parser.add_argument(
            "--difference", action="store_true", help="only say what the files say beside what is held; keep nothing"
        )
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        as_of = timezone.now()
        try:
            found = [
                (path.name, difference_of(_read(path, as_of, options["format"]), today=as_of.date()))
                for path in options["files"]
            ]
            if options["difference"]:
                self.show(found, as_json=options["json"])
                return
            outcomes = import_prices(
                actor=None,
                paths=options["files"],
                as_of=as_of,
                format_name=options["format"],
                approve=options["approve"],
            )
        except ImportRefused as refusal:
            self.stderr.write(str(refusal))
            sys.exit(2)
        if options["json"]:
            self.stdout.write(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))
            return
        self.show(found, as_json=False)
        for outcome in outcomes:
            verb = "added" if outcome.approved else "proposed"
            self.stdout.write(
                f"{outcome.file_name} ({outcome.format}): {outcome.added:,} prices {verb}, "
                f"{outcome.held:,} held already"
            )
            for text in outcome.disagreements:
                self.stdout.write(f"  not taken: {text}")

    def show(self, found: Sequence[tuple[str, PriceDifference]], *, as_json: bool) -> None:
        """What each file says beside what is held, row by row; rows that are the same only counted."""
        if as_json:
            self.stdout.write(json.dumps([_document(name, difference) for name, difference in found], indent=2))
            return
        for name, difference in found:
            counts = ", ".join(f"{difference.count(state):,} {state}" for state in STATES)
            self.stdout.write(f"{name}: {counts}")
            if difference.unknown_models:
                self.stdout.write(f"  models nobody placed yet: {', '.join(difference.unknown_models)}")
            for row in difference.rows:
                if row.state != "same":
                    self.stdout.write(f"  {_line(row)}")


def _read(path: Path, as_of: datetime, format_name: str) -> PriceFile:
    return read_price_file(path=path, file_name=path.name, as_of=as_of, format_name=format_name)


def _line(row: PriceRow) -> str:
    price = row.price
    what = f"{price.model} {price.token_kind} [{price.service_tier}, {price.prompt_length_band}, {price.geo}, "
    start = f"from {price.valid_from}" if price.valid_from else "from release"
    held = f"{plain_price(row.held.usd_per_unit)} ({row.held.source})" if row.held else "nothing"
    filed = plain_price(row.filed.usd_per_unit) if row.filed else "not in the file"
    percent = f", {percent_words(row.change)}" if row.state in ("changed", "contradicts") else ""
    waiting = ", proposed already" if row.is_proposed else ""
    return f"{row.state:11} {what}{price.speed}] {start}: held {held} → {filed}{percent}{waiting}"


def _document(name: str, difference: PriceDifference) -> dict[str, Any]:
    return {
        "file": name,
        "counts": {state: difference.count(state) for state in STATES},
        "unknown_models": list(difference.unknown_models),
        "rows": [
            {
                "state": row.state,
                **{key: getattr(row.price, key) for key in KEY[:-1]},
                "valid_from": row.price.valid_from.isoformat() if row.price.valid_from else None,
                "held_usd": plain_number(row.held.usd_per_unit) if row.held else None,
                "held_source": row.held.source if row.held else None,
                "file_usd": plain_number(row.filed.usd_per_unit) if row.filed else None,
                "proposed": row.is_proposed,
            }
            for row in difference.rows
            if row.state != "same"
        ],
    }
