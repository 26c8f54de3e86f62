"""manage.py demo: the demo organisation, loaded through the importers and operations."""

import sys
import time
from argparse import ArgumentParser
from datetime import UTC, date, datetime
from typing import Any

from django.core.management.base import BaseCommand

from costgov import demo
from costgov.demo.loading import DemoRefused
from costgov.demo.people import PEOPLE
from costgov.jsonout import dumps
from costgov.pages import now


class Command(BaseCommand):
    help = "Load the demo organisation; its last day is the day before --as-of. A second call changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--as-of", type=date.fromisoformat, help="a UTC day, as 2026-11-22 (default: today)")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        day = options["as_of"]
        as_of = datetime(day.year, day.month, day.day, tzinfo=UTC) if day else now()
        lines: list[str] = []
        begun = time.monotonic()
        try:
            demo.load(as_of=as_of, say=lines.append if options["json"] else self._say)
        except DemoRefused as refusal:
            self.stderr.write(str(refusal))
            sys.exit(2)
        if options["json"]:
            people = [{"username": person.username, "role": person.role} for person in PEOPLE]
            seconds = round(time.monotonic() - begun, 1)
            self.stdout.write(dumps({"steps": lines, "people": people, "seconds": seconds}, indent=True).decode())

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
