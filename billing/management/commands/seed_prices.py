"""manage.py seed_prices: the shipped models and list prices, as often as one likes."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from billing.operations.prices import seed_list_prices


class Command(BaseCommand):
    help = "Load the shipped models and list prices. Adds what is missing and changes nothing that is there."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        outcome = seed_list_prices(as_of=timezone.now())
        if options["json"]:
            self.stdout.write(json.dumps(asdict(outcome), indent=2))
            return
        self.stdout.write(
            f"Prices: {outcome.prices_added:,} added, {outcome.prices_held:,} held already, {outcome.prices_kept:,} "
            f"left out where this organisation has its own. Models: {outcome.models_added:,} added, "
            f"{outcome.models_filled:,} completed; {outcome.aliases_added:,} aliases added."
        )
