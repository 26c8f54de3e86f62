"""manage.py compact_store: the files an import has on one day become one; what nobody reads is deleted."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from billing.operations.compaction import compact_store, sweep_store
from costgov.jsonout import dumps
from costgov.pages import now


class Command(BaseCommand):
    help = "Make many small files of the request store one, and delete what killed processes left. Safe at any time."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        done = compact_store(as_of=now(), dry_run=options["dry_run"])
        deleted = 0 if options["dry_run"] else sweep_store()
        if options["json"]:
            told = {
                "days": done.days, "files_before": done.files_before, "files_after": done.files_after,
                "deleted": deleted, "dry_run": options["dry_run"],
            }  # fmt: skip
            self.stdout.write(dumps(told).decode())
            return
        would = "would become" if options["dry_run"] else "became"
        self.stdout.write(f"{done.files_before:,} files of {done.days:,} days {would} {done.files_after:,}.")
        if deleted:
            self.stdout.write(f"{deleted:,} files that nobody reads were deleted.")
