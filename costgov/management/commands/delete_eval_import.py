"""manage.py delete_eval_import N: remove every result one eval file brought."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from audit.roles import Forbidden
from costgov.jsonout import dumps
from costgov.management.acting import UnknownUser, acting_user
from costgov.pages import now
from costgov.queries.eval_changes import DeletionView, deletion_view
from routing.models import EvalImport
from routing.operations.eval_deletion import EvalDeletionRefused, delete_eval_import


class Command(BaseCommand):
    help = (
        "Remove every result one eval file brought. The verdicts of its classes are judged again; those written down "
        "stay. Without --yes it only says what would go."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("import_id", type=int, help="number of the import, as its page shows it")
        parser.add_argument("--reason", default="", help="why; kept with the import and in the audit trail")
        parser.add_argument("--yes", action="store_true", help="do it")
        parser.add_argument("--user", default="", help="who does it (default: the system)")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        number = options["import_id"]
        try:
            view = deletion_view(import_id=number)
            if view is None:
                raise EvalDeletionRefused(f"There is no import of eval results number {number}.")
            if not options["yes"]:
                self.stdout.write(dumps(view, indent=True).decode() if options["json"] else _going(view))
                return
            actor = acting_user(options["user"])
            gone = delete_eval_import(actor=actor, import_id=number, reason=options["reason"], as_of=now())
        except EvalImport.DoesNotExist:  # it went between the two
            self.stderr.write(f"There is no import of eval results number {number}.")
            sys.exit(2)
        except (EvalDeletionRefused, Forbidden, UnknownUser) as refused:
            self.stderr.write(str(refused))
            sys.exit(2)
        if options["json"]:
            self.stdout.write(dumps(gone).decode())
            return
        self.stdout.write(
            f"Import {number} ({gone.file_name}) is deleted: {gone.runs:,} runs with {gone.results:,} results went; "
            f"the verdicts of {', '.join(gone.classes) or 'no class'} were judged again."
        )


def _going(view: DeletionView) -> str:
    row = view.row
    lines = [f"Import {row.id}: {row.file_name}, {row.state}, {view.runs:,} runs with {view.results:,} results."]
    for line in view.lines:
        last = "; nothing else is held of it there" if line.is_all else ""
        what = f"{line.slug}, {line.suite}@{line.suite_version}, {line.model}"
        lines.append(f"  {what}: {line.passed:,} of {line.results:,} passed{last}")
    if view.later_count:
        lines.append(
            f"  {view.later_count:,} later files left out results as already there; those of this file go with it."
        )
    return "\n".join([*lines, "Nothing was changed: add --yes and --reason to delete what it brought."])
