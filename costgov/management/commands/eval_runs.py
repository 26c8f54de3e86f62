"""manage.py eval_runs: runs behind the evidence; set one aside, count it again, or move it to another class."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from audit.roles import Forbidden
from billing.core.words import signed
from costgov.jsonout import dumps
from costgov.management.acting import UnknownUser, acting_user
from costgov.pages import now
from costgov.queries.set_aside_preview import set_aside_preview
from routing.operations.eval_moves import move_run
from routing.operations.eval_runs import RunRefused, count_again, set_aside
from routing.queries.eval_runs import RunLine, run_lines


class Command(BaseCommand):
    help = "List eval runs with what looks broken; set one aside, count it again, or move it to another class."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--class", dest="slug", default="", help="runs of one class only")
        parser.add_argument("--flagged", action="store_true", help="only those that look broken")
        parser.add_argument("--aside", action="store_true", help="only those set aside")
        step = parser.add_mutually_exclusive_group()
        step.add_argument("--set-aside", type=int, metavar="RUN", help="it stops counting as evidence")
        step.add_argument("--count-again", type=int, metavar="RUN", help="take that back")
        step.add_argument("--move", type=int, metavar="RUN", help="file it under another class (--to)")
        parser.add_argument("--to", default="", metavar="CLASS", help="the class it belongs to, for --move")
        parser.add_argument("--try", dest="try_it", action="store_true", help="only say what that would change")
        parser.add_argument("--reason", default="", help="why it is set aside or moved")
        parser.add_argument("--user", default="", help="who does it (default: the system)")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            actor = acting_user(options["user"])
            if options["to"] and options["move"] is None:
                raise RunRefused("--to names the class a run is moved to: say which run with --move.")
            if options["try_it"]:
                self.stdout.write(_tried(options))
                return
            if options["set_aside"] is not None:
                set_aside(actor=actor, run_id=options["set_aside"], reason=options["reason"], as_of=now())
            elif options["move"] is not None:
                move_run(actor=actor, run_id=options["move"], slug=options["to"], reason=options["reason"], as_of=now())
            elif options["count_again"] is not None:
                count_again(actor=actor, run_id=options["count_again"], as_of=now())
        except (RunRefused, Forbidden, UnknownUser) as error:
            self.stderr.write(str(error))
            sys.exit(2)
        found = run_lines(slug=options["slug"], only_flagged=options["flagged"], only_set_aside=options["aside"])
        self.stdout.write(dumps(found, indent=True).decode() if options["json"] else _table(found))


def _tried(options: dict[str, Any]) -> str:
    """What setting a run aside, or counting it again, would change."""
    aside, again = options["set_aside"], options["count_again"]
    if aside is None and again is None:
        raise RunRefused("--try needs --set-aside RUN or --count-again RUN.")
    run_id = aside if aside is not None else again
    found = set_aside_preview(run_id=run_id, sets_aside=aside is not None, as_of=now())
    if found is None:
        raise RunRefused(f"Nothing to try: run {run_id} does not exist, is so already, or holds live samples.")
    if options["json"]:
        return dumps(found, indent=True).decode()
    lines = [f"{len(found.changed)} of {len(found.verdicts)} verdicts would change; nothing is done."]
    for row in found.verdicts:
        step = f"{row.status_before} → {row.status_after}" if row.changes else row.status_after
        stale = ", stale" if row.stale_after else ""
        lines.append(f"  {row.model:<24} {step}{stale} ({row.cases_before:,} → {row.cases_after:,} cases)")
    lines += [
        f"  {row.slug}: {row.before or 'nothing'} → {row.after or 'nothing'} recommended" for row in found.targets
    ]
    lines += [
        f"  {row.kind.lower()} saving a month: {signed(row.before_usd, 2)} → {signed(row.after_usd, 2)} usd"
        for row in found.savings
    ]
    return "\n".join([*lines, *([f"  savings not known: {found.no_money}"] if found.no_money else [])])


def _table(found: tuple[RunLine, ...]) -> str:
    if not found:
        return "No such run."
    lines = [f"{'run':>6}  {'class':<22} {'suite':<28} {'run on':<11} {'results':>8} {'left out':>8}  state"]
    for row in found:
        state = "set aside" if row.set_aside_at else "looks broken" if row.findings else "counts"
        suite = f"{row.suite}@{row.suite_version}"
        lines.append(
            f"{row.id:>6}  {row.slug:<22} {suite:<28} {row.run_at:%d %b %Y} {row.results:>8,} {row.left_out:>8,}  "
            f"{state}"
        )
        if row.set_aside_at:
            lines.append(
                f"        {row.set_aside_by or 'the system'}, {row.set_aside_at:%d %b %Y}: {row.set_aside_reason}"
            )
        if row.moved_at:
            lines.append(
                f"        {row.moved_by or 'the system'} moved it here from {row.filed_under}, "
                f"{row.moved_at:%d %b %Y}: {row.move_reason}"
            )
        lines += [f"        {finding.text}. {finding.remedy}." for finding in row.findings]
    return "\n".join(lines)
