"""manage.py work_items: what somebody has to look at; close an item with a note; judge every class again."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from audit.roles import Forbidden
from costgov.jsonout import dumps
from costgov.management.acting import UnknownUser, acting_user
from costgov.pages import now
from routing.operations.evidence_changed import judge_again
from routing.operations.work_items import ItemRefused, close_work_item
from routing.queries.work_items import WorkItems, work_items


class Command(BaseCommand):
    help = "List work items: changed verdicts, alarms, stale evidence, broken runs. Close one with --close and --note."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--class", dest="slug", default="", help="items of one class only")
        parser.add_argument("--closed", action="store_true", help="also those that are closed")
        parser.add_argument("--close", type=int, metavar="ITEM")
        parser.add_argument("--note", default="", help="what came of it")
        parser.add_argument("--judge", action="store_true", help="judge every class first, as is done each day")
        parser.add_argument("--user", default="", help="who closes it (default: the system)")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            actor = acting_user(options["user"])
            if options["judge"]:
                judge_again(as_of=now())
            if options["close"] is not None:
                close_work_item(actor=actor, item_id=options["close"], note=options["note"], as_of=now())
        except (ItemRefused, Forbidden, UnknownUser) as error:
            self.stderr.write(str(error))
            sys.exit(2)
        found = work_items(slug=options["slug"], with_closed=options["closed"])
        self.stdout.write(dumps(found, indent=True).decode() if options["json"] else _table(found))


def _table(found: WorkItems) -> str:
    lines = [f"{found.open_count:,} open, {found.closed_count:,} closed."]
    for row in found.items:
        lines.append(
            f"{row.id:>6}  {row.slug}: {row.kind_text}, {row.opened_at:%d %b %Y}, for {row.concerns or 'engineers'}"
        )
        lines.append(f"        {row.text} {row.remedy}")
        if row.closed_at is not None:
            who = row.closed_by or "the system"
            lines.append(f"        closed {row.closed_at:%d %b %Y} by {who}: {row.closing_note}")
    return "\n".join([*lines, f"{found.hidden:,} more." if found.hidden else ""]).rstrip()
