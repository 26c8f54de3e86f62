"""manage.py data_health: everything odd about the data; exit 1 where something is as bad as asked for."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from billing.core.health import LEVELS, TOPICS, Finding
from costgov.jsonout import dumps
from costgov.pages import now
from costgov.queries.health import LEVEL_WORDS, data_health
from costgov.templatetags.costgov_format import tok, usd


class Command(BaseCommand):
    help = "Say what would make figures wrong or incomplete. Exit 0: nothing as bad as --fail-on; 1: something is."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--level", choices=LEVELS, default="", help="only findings of this level")
        parser.add_argument("--topic", choices=TOPICS, default="", help="only findings of this topic")
        parser.add_argument(
            "--fail-on", choices=[*LEVELS, "never"], default="error", help="exit 1 from this level on (default: error)"
        )
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        health = data_health(as_of=now())
        if options["json"]:
            self.stdout.write(dumps(health, indent=True).decode())
        else:
            groups = health.only(level=options["level"], topic=options["topic"])
            for group in groups:
                self.stdout.write(f"\n{group.title}")
                for one in group.findings:
                    self._say(one)
            if not groups:
                self.stdout.write("Nothing to mend.")
            counts = [f"{health.count(one)} {one}{'' if health.count(one) == 1 else 's'}" for one in LEVELS]
            self.stdout.write(f"\n{', '.join(counts)}.")
        worst = options["fail_on"]
        if worst != "never" and any(health.count(level) for level in LEVELS[: LEVELS.index(worst) + 1]):
            sys.exit(1)

    def _say(self, one: Finding) -> None:
        money = ""
        if one.usd is not None:
            money = f"  [{'about ' if one.is_estimate else ''}{usd(one.usd)}]"
        elif one.tokens:
            money = f"  [{tok(one.tokens)}{', cost unknown' if one.is_cost_unknown else ''}]"
        self.stdout.write(f"  {LEVEL_WORDS[one.level][0]}: {one.title}{money}")
        self.stdout.write(f"    {one.text} {one.remedy}")
