"""manage.py cascades: what a cheap model, a check and a strong one would do for a class; state it or take it back."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from audit.roles import Forbidden
from billing.core.words import percent, signed
from costgov.jsonout import dumps
from costgov.management.acting import UnknownUser, acting_user
from costgov.pages import now
from costgov.queries.cascades import CascadeRow
from costgov.queries.class_cascade import ClassCascade, class_cascade, stated_cascades
from costgov.queries.class_page import UnknownClass
from routing.operations.bars import ClassRefused
from routing.operations.cascades import checked_cascade, set_cascade

OUTCOMES = {
    "recommended": "recommended",
    "worth_an_eval": "worth an eval",
    "loses": "loses money, not recommended",
    "below_line": "below the bar, not recommended",
    "not_needed": "not needed",
    "unknown": "nothing can be said yet",
}
_FACTS = ("cheap", "strong", "check_usd", "good_accepted", "bad_accepted", "check_suite", "evaluated_as", "source")


class Command(BaseCommand):
    help = "Show stated cascades, try one for a class (--try), state it (--set) or take it back (--remove)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", nargs="?", default="", metavar="CLASS", help="default: all that have one")
        parser.add_argument("--cheap", metavar="MODEL", help="asked first")
        parser.add_argument(
            "--strong", metavar="MODEL", help="asked where the check refuses (default: recommended one)"
        )
        parser.add_argument("--check-usd", metavar="USD", help="cost of checking one answer, 0 if nothing")
        parser.add_argument("--good-accepted", metavar="SHARE", help="share of good answers the check accepts, 0 to 1")
        parser.add_argument("--bad-accepted", metavar="SHARE", help="share of bad answers it accepts, 0 to 1")
        parser.add_argument("--check-suite", metavar="SUITE", help="eval suite the check's verdicts are imported as")
        parser.add_argument("--evaluated-as", metavar="NAME", help="model name of evals of the whole cascade")
        parser.add_argument("--source", metavar="TEXT", help="where stated shares come from; shown as assumed")
        step = parser.add_mutually_exclusive_group()
        step.add_argument("--try", action="store_true", dest="is_trial", help="say what it would do; state nothing")
        step.add_argument("--set", action="store_true", dest="is_set", help="state it in place of the one before")
        step.add_argument("--remove", action="store_true", dest="is_removal", help="take it back")
        parser.add_argument("--reason", default="", help="why; kept in the audit trail")
        parser.add_argument("--user", default="", help="who does it (default: the system)")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        slug, as_of = options["slug"], now()
        facts = {name: options[name] for name in _FACTS if options[name] is not None}
        try:
            _check_words(slug, facts, options)
            tried = checked_cascade(slug=slug, document=facts) if options["is_trial"] else None
            if options["is_set"] or options["is_removal"]:
                actor = acting_user(options["user"])
                set_cascade(actor=actor, slug=slug, document=facts, reason=options["reason"], as_of=as_of)
            found = class_cascade(slug=slug, as_of=as_of, tried=tried) if slug else stated_cascades(as_of=as_of)
        except (ClassRefused, UnknownClass, Forbidden, UnknownUser) as error:
            self.stderr.write(str(error))
            sys.exit(2)
        if options["json"]:
            self.stdout.write(dumps(found, indent=True).decode())
            return
        rows = (found,) if isinstance(found, ClassCascade) else found
        told = "\n\n".join(_told(row) for row in rows)
        self.stdout.write(told or "No cascade is stated: try one with manage.py cascades CLASS --try --cheap MODEL …")


def _check_words(slug: str, facts: dict[str, str], options: dict[str, Any]) -> None:
    """Raises ClassRefused where the words given do not go together."""
    is_step = options["is_trial"] or options["is_set"] or options["is_removal"]
    if (facts or is_step) and not slug:
        raise ClassRefused("Name the class first, e.g. manage.py cascades triage --try --cheap claude-haiku-4-5.")
    if facts and not is_step:
        raise ClassRefused("Say --try to see what this cascade does, or --set to state it.")
    if facts and options["is_removal"]:
        raise ClassRefused(f"--remove takes the cascade back: leave out {_flags(facts)}.")
    if not facts and (options["is_trial"] or options["is_set"]):
        raise ClassRefused("Name the cascade: --cheap and --check-usd, with --good-accepted and --bad-accepted.")


def _flags(facts: dict[str, str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in facts)


def _told(view: ClassCascade) -> str:
    head = f"{view.title} ({view.slug})"
    if not view.document:
        return f"{head}: no cascade is stated."
    head += ", tried, not stated" if view.tried else ""
    row = view.row
    if row is None:
        stated = ", ".join(f"{name} {value}" for name, value in view.document.items())
        return f"{head}: {stated}\n  nothing can be said: {view.why}"
    lines = [f"{head}: {OUTCOMES[row.outcome]}", f"  {row.reason}", *_figures(row)]
    if row.saving_usd_per_month is not None:
        lines.append(f"  saves {signed(row.saving_usd_per_month, 2)} usd a month (estimate, in no other figure)")
    if row.loss_usd_per_month is not None:
        lines.append(f"  loses {signed(row.loss_usd_per_month, 2)} usd a month (estimate)")
    return "\n".join(lines)


def _figures(row: CascadeRow) -> list[str]:
    """What it was judged by; nothing where it cannot be computed."""
    if row.check is None or row.unit_cost_usd is None or row.strong_cost_usd is None:
        return []
    accepted, needed, quality, strong = (
        percent(share or 0) for share in (row.accepted_share, row.break_even_share, row.quality, row.strong_quality)
    )
    lines = [
        f"  a request       {row.unit_cost_usd.normalize():f} usd, on {row.strong} alone "
        f"{row.strong_cost_usd.normalize():f} usd",
        f"  first answers   {accepted} accepted, pays above {needed}",
        f"  the check       {row.check.usd.normalize():f} usd; accepts {percent(row.check.good_accepted)} of good and "
        f"{percent(row.check.bad_accepted)} of bad answers "
        f"({row.check.source}{', assumed' if row.check.is_assumed else ''})",
        f"  quality         {quality} expected on {row.cases:,} cases run on both, {row.strong} alone {strong}, line "
        f"{percent(row.line)}",
    ]
    if row.evaluated_as:
        lines.append(f"  its own evals   {row.evaluated_as}: {row.verdict_text}")
    return lines
