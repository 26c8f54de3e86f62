"""manage.py column_mapping: a proposed column mapping of a table, as JSON to edit; or the kept ones."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from billing.core.column_mapping import contradictions
from billing.importers.base import ImportRefused
from billing.importers.generic_csv import read_table_head
from billing.queries.column_mappings import kept_mappings, mapping_of_header, proposal
from costgov.jsonout import dumps


class Command(BaseCommand):
    help = "Write a column mapping of FILE to edit: the kept one, else a first guess by its names. Without FILE: list."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", type=Path, metavar="FILE")
        parser.add_argument("--json", action="store_true", help="the list as one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path | None = options["file"]
        if path is None:
            self._list(as_json=options["json"])
            return
        try:
            if not path.is_file():
                raise ImportRefused.because(path.name, "there is no such file", "Check the path")
            head = read_table_head(path, path.name)
        except ImportRefused as refusal:
            self.stderr.write(str(refusal))
            sys.exit(2)
        mapping = mapping_of_header(head.header) or proposal(path.name, head)
        self.stdout.write(dumps(mapping.as_document(), indent=True).decode())
        for item in contradictions(mapping):
            self.stderr.write(f"To settle: {item}")
        for column in sorted(head.masked):
            self.stderr.write(f"Not to be mapped, it may hold prompts or answers: {column}")

    def _list(self, *, as_json: bool) -> None:
        found = kept_mappings()
        if as_json:
            self.stdout.write(dumps(found, indent=True).decode())
            return
        for item in found:
            self.stdout.write(f"{item.name}: one row is {item.grain_words}, source {item.source}, {item.imports} files")
        if not found:
            self.stdout.write("No column mapping is kept.")
