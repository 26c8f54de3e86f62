"""manage.py usage_formats: the formats of usage that can be imported."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from billing.importers.format_guide import guide_table
from billing.importers.format_list import usage_format_list
from costgov.jsonout import dumps


class Command(BaseCommand):
    help = "List the formats of usage files; docs/guide/usage-formats.md says how to export each."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--markdown", action="store_true", help="the table of docs/guide/usage-formats.md")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["markdown"]:
            self.stdout.write(guide_table(), ending="")
            return
        formats = usage_format_list()
        if options["json"]:
            self.stdout.write(dumps(formats, indent=True).decode())
            return
        width = max(len(item.name) for item in formats)
        for item in formats:
            grain = "each request" if item.is_request_level else "hours or days"
            self.stdout.write(f"{item.name:<{width}}  {grain:<13}  {item.title}")
            for question in item.questions:
                self.stdout.write(f"{'':<{width}}  {'may ask':<13}  {question}")
