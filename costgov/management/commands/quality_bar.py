"""manage.py quality_bar: what a class asks of its models, what another bar would do, or set it."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from audit.roles import Forbidden
from billing.core.words import percent, percent_as_set
from costgov.jsonout import dumps
from costgov.management.acting import UnknownUser, acting_user
from costgov.pages import now
from costgov.queries.class_bar import ClassBar, class_bar
from costgov.queries.class_page import UnknownClass
from costgov.queries.class_preview import VerdictChange
from routing.core.bars import METRIC_WORDS, METRICS, STANDARDS
from routing.core.verdicts import STATUS_TEXT
from routing.operations.bars import BAR_FACTS, ClassRefused, set_bar


class Command(BaseCommand):
    help = "Show the quality bar of a class, try another (--try), or set it (--set; needs --reason)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", metavar="CLASS")
        parser.add_argument("--bar", help="share of cases that should pass, above 0 and below 1")
        parser.add_argument("--tolerance", help="line = bar - tolerance")
        parser.add_argument("--alpha", help="chance of a wrong verdict, shared by the models that compete")
        parser.add_argument("--metric", choices=METRICS)
        parser.add_argument("--standard", choices=STANDARDS, help="against the line, the model that serves, or both")
        parser.add_argument("--margin", help="by how much a model may be worse than the one that serves")
        parser.add_argument("--min-cases", type=int, help="least cases before a model clears, 30 or more")
        parser.add_argument("--max-age-days", type=int, help="evidence is stale after so many days")
        parser.add_argument("--suite", action="append", dest="suites", help="suite that counts; * is any text")
        parser.add_argument("--all-suites", action="store_true", help="every suite of the class counts again")
        parser.add_argument("--plan", action="append", metavar="MODEL", help="model of the evaluation plan")
        parser.add_argument("--no-plan", action="store_true", help="every model that ever had a case competes again")
        step = parser.add_mutually_exclusive_group()
        step.add_argument("--try", action="store_true", dest="is_trial", help="say what it would do; set nothing")
        step.add_argument("--set", action="store_true", dest="is_set", help="set it; what is not named stays")
        parser.add_argument("--reason", default="", help="why; kept with the version")
        parser.add_argument("--expect-version", type=int, help="refuse where another version is in force")
        parser.add_argument("--user", default="", help="who sets it (default: the system)")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        slug, facts = options["slug"], _facts(options)
        try:
            if facts and not (options["is_trial"] or options["is_set"]):
                raise ClassRefused("Say --try to see what this bar does, or --set to set it.")
            if not facts and (options["is_trial"] or options["is_set"]):
                raise ClassRefused("Name what changes, e.g. --bar 0.97.")
            view = class_bar(slug=slug, as_of=now(), tried=facts if options["is_trial"] else None)
            if options["is_set"]:
                set_bar(
                    actor=acting_user(options["user"]),
                    slug=slug,
                    facts=facts,
                    reason=options["reason"],
                    version=options["expect_version"],
                    as_of=now(),
                )
                view = class_bar(slug=slug, as_of=now())
        except (ClassRefused, UnknownClass, Forbidden, UnknownUser) as error:
            self.stderr.write(str(error))
            sys.exit(2)
        self.stdout.write(dumps(view, indent=True).decode() if options["json"] else _table(view))


def _facts(options: dict[str, Any]) -> dict[str, Any]:
    found = {name: options[name] for name in BAR_FACTS if options[name] is not None}
    for name, none in (("suites", "all_suites"), ("plan", "no_plan")):
        if options[none]:
            found[name] = []
    return found


def _table(view: ClassBar) -> str:
    bar = view.tried or view.bar
    lines = [
        f"{view.title} ({view.slug}), {'tried, not set' if view.tried else f'version {bar.version}'}",
        f"  a model must be shown     {bar.asked if view.tried else view.asked}",
        f"  measured by               {METRIC_WORDS[bar.metric]}, chance of a wrong verdict "
        f"{percent_as_set(bar.alpha)} shared by those that compete",
        f"  evidence                  at least {bar.min_cases:,} cases, stale after {bar.max_age_days:,} days",
        f"  suites that count         {', '.join(bar.suites) or 'all of the class'}",
        f"  evaluation plan           {', '.join(bar.plan) or 'every model that ever had a case'}",
    ]
    if view.effect is not None:
        lines += [f"  {change.text}" for change in view.effect.changes]
        lines += [f"  no suite with results matches {pattern}" for pattern in view.effect.idle_patterns]
        return "\n".join([*lines, *(_effect(row) for row in view.effect.rows)])
    for row in view.versions:
        who, why = row.set_by or "the system", f": {row.reason}" if row.reason else ""
        lines.append(f"  version {row.version}, {row.set_at:%d %b %Y, %H:%M} UTC, {who}{why}")
        lines += [f"    {change.text}" for change in row.changes]
    return "\n".join(lines)


def _effect(row: VerdictChange) -> str:
    model = row.model + (" *" if row.serves else "")
    rate = "–" if row.pass_rate is None else percent(row.pass_rate)
    after = STATUS_TEXT[row.status_after] + (" · Stale" if row.stale_after else "")  # type: ignore[index]
    moved = f"{STATUS_TEXT[row.status_before]} → {after}" if row.changes else after  # type: ignore[index]
    return f"  {model:<24} {rate:>7} of {row.cases:>5,}  {moved}"
