"""manage.py delete_import N: remove everything one usage import brought."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from billing.models import Import
from billing.operations.upkeep import DeletionRefused
from costgov.jsonout import dumps
from costgov.operations.usage import delete_import
from costgov.pages import now


class Command(BaseCommand):
    help = (
        "Remove what one usage import brought; its hours are summed up and its days counted anew. Requests that later "
        "files also held were left out of those as duplicates and go too."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("import_id", type=int, help="number of the import, as the Imports page shows it")
        parser.add_argument("--yes", action="store_true", help="do it; without this only the import is named")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        number = options["import_id"]
        try:
            row = Import.objects.get(pk=number)
            if not options["yes"]:
                self.stdout.write(
                    f"Import {number}: {row.file_name}, {row.accepted:,} rows. Nothing was changed: add --yes to "
                    "delete what it brought."
                )
                return
            gone = delete_import(actor=None, import_id=number, as_of=now())
        except Import.DoesNotExist:
            self.stderr.write(f"There is no import {number}: see the Imports page for those that exist.")
            sys.exit(2)
        except DeletionRefused as refused:
            self.stderr.write(str(refused))
            sys.exit(2)
        if options["json"]:
            self.stdout.write(dumps(gone).decode())
            return
        self.stdout.write(
            f"Import {number} ({gone.file_name}) is deleted: {gone.rows:,} rows went, {gone.hours:,} hours were summed "
            f"up and {gone.days:,} days counted anew."
        )
