"""manage.py quality: what the evals show, per class and model."""

import sys
from argparse import ArgumentParser
from datetime import UTC, date, datetime
from typing import Any

from django.core.management.base import BaseCommand

from billing.core.words import percent, percent_as_set
from costgov.jsonout import dumps
from costgov.pages import now
from costgov.queries.class_page import UnknownClass
from costgov.queries.evals import Judged, Quality, quality


class Command(BaseCommand):
    help = "Verdict of every model against the quality bar of every class."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--class", dest="slug", help="one class only")
        parser.add_argument("--as-of", type=date.fromisoformat, help="cases before this UTC day count (default: now)")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        day = options["as_of"]
        as_of = datetime(day.year, day.month, day.day, tzinfo=UTC) if day else now()
        try:
            found = quality(as_of=as_of, slug=options["slug"])
        except UnknownClass as error:
            self.stderr.write(str(error))
            sys.exit(2)
        self.stdout.write(dumps(found, indent=True).decode() if options["json"] else _table(found))


def _table(found: Quality) -> str:
    if not found.classes:
        return "No class is registered: register one on the Classes page, or import evals with --create-classes."
    lines = [
        f"As of {found.as_of:%d %b %Y, %H:%M} UTC. * serves the class now. Interval valid at every look.",
        f"{'class':<22} {'model':<22} {'pass rate':>9} {'interval':>15} {'n':>6} {'left out':>8}  {'line':>6}  verdict",
    ]
    for row in found.classes:
        lines += [_line(row.slug, judged) for judged in row.models] or [f"{row.slug:<22} no model has a case"]
    return "\n".join(lines)


def _line(slug: str, judged: Judged) -> str:
    rate = percent(judged.pass_rate) if judged.pass_rate is not None else "–"
    low = percent(judged.lower).removesuffix("%") if judged.lower is not None else "–"
    interval = f"{low} … {percent(judged.upper)}" if judged.cases else "–"
    model = judged.model + (" *" if judged.serves else "")
    return (
        f"{slug:<22} {model:<22} {rate:>9} {interval:>15} {judged.cases:>6,} {judged.left_out:>8,}  "
        f"{percent_as_set(judged.line):>6}  {judged.text}"
    )
