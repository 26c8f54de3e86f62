"""manage.py suite_rules: which class the cases of a suite belong to where a file names none."""

import sys
from argparse import ArgumentParser, BooleanOptionalAction
from typing import Any

from django.core.management.base import BaseCommand

from audit.roles import Forbidden
from costgov.jsonout import dumps
from costgov.management.acting import UnknownUser, acting_user
from costgov.pages import now
from routing.operations.suite_rules import RuleRefused, remove_suite_rule, set_suite_rule
from routing.queries.eval_runs import suite_rules


class Command(BaseCommand):
    help = "List the rules that map suites to classes, set one (--set PATTERN CLASS), or take one away (--remove)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        step = parser.add_mutually_exclusive_group()
        step.add_argument("--set", nargs=2, metavar=("PATTERN", "CLASS"), help="* and ? stand for any text")
        step.add_argument("--remove", type=int, metavar="RULE")
        parser.add_argument("--position", type=int, help="the first rule that matches counts (default: last)")
        parser.add_argument(
            "--live",
            action=BooleanOptionalAction,
            help="with --set: its cases are live samples, for the monitor and no verdict (default: as it was)",
        )
        parser.add_argument("--user", default="", help="who does it (default: the system)")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            actor = acting_user(options["user"])
            if options["set"]:
                pattern, slug = options["set"]
                set_suite_rule(
                    actor=actor,
                    pattern=pattern,
                    slug=slug,
                    position=options["position"],
                    is_live=options["live"],
                    as_of=now(),
                )
            elif options["remove"] is not None:
                remove_suite_rule(actor=actor, rule_id=options["remove"], as_of=now())
        except (RuleRefused, Forbidden, UnknownUser) as error:
            self.stderr.write(str(error))
            sys.exit(2)
        found = suite_rules()
        if options["json"]:
            self.stdout.write(dumps(found, indent=True).decode())
            return
        lines = [
            f"{row.id:>6}  {row.position:>4}  {row.pattern} → {row.slug}{', live samples' if row.is_live else ''}"
            for row in found
        ]
        self.stdout.write("\n".join(lines) or "No rule: cases go to the class their file or --class names.")
