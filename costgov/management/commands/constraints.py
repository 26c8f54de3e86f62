"""manage.py constraints: what the estate as a whole has to keep, and what that costs."""

import sys
from argparse import ArgumentParser
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand

from audit.roles import Forbidden
from billing.core.words import percent, percent_as_set, signed
from costgov.jsonout import dumps
from costgov.management.acting import UnknownUser, acting_user
from costgov.pages import now
from costgov.queries.estate import ConstraintsView, constraints_view
from routing.core.coupling import Limits
from routing.operations.constraints import ConstraintsRefused, checked_limits, set_constraints


class Command(BaseCommand):
    help = "Show the constraints of the estate, try others (--try), or set them (--set; needs --reason)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--floor", type=_share, help="least mean pass rate, 0 to 1")
        parser.add_argument("--move", type=_share, help="most of all requests that may move at once, 0 to 1")
        parser.add_argument("--cap", action="append", default=[], metavar="MODEL=SHARE", help="most share of a model")
        step = parser.add_mutually_exclusive_group()
        step.add_argument("--try", action="store_true", dest="is_trial", help="say what these would do; set nothing")
        step.add_argument("--set", action="store_true", dest="is_set", help="set these and no others")
        parser.add_argument("--reason", default="", help="why; kept with the version")
        parser.add_argument("--user", default="", help="who sets them (default: the system)")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            limits = Limits(options["floor"], options["move"], dict(_cap(text) for text in options["cap"]))
            if not limits.is_empty and not (options["is_trial"] or options["is_set"]):
                raise ConstraintsRefused("Say --try to see what these constraints do, or --set to set them.")
            if options["is_set"]:
                actor = acting_user(options["user"])
                set_constraints(actor=actor, limits=limits, reason=options["reason"], as_of=now())
            tried = checked_limits(limits) if options["is_trial"] else None
        except (ConstraintsRefused, Forbidden, UnknownUser) as error:
            self.stderr.write(str(error))
            sys.exit(2)
        view = constraints_view(as_of=now(), tried=tried)
        self.stdout.write(dumps(view, indent=True).decode() if options["json"] else _table(view, tried))


def _share(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is not a number") from error


def _cap(text: str) -> tuple[str, Decimal]:
    model, _, share = text.partition("=")
    try:
        return model, _share(share)
    except ValueError as error:
        raise ConstraintsRefused(f"--cap {text}: write MODEL=SHARE, e.g. claude-opus-4-8=0.5.") from error


def _table(view: ConstraintsView, tried: Limits | None) -> str:
    held = view.versions[0] if view.versions else None
    limits = tried if tried is not None else held.limits if held is not None else Limits()
    lines = ["Tried, not set:" if tried is not None else "In force:" if held is not None else "None was ever set."]
    if limits.quality_floor is not None:
        lines.append(f"  mean quality at least {percent_as_set(limits.quality_floor)}")
    if limits.move_share is not None:
        lines.append(f"  at most {percent_as_set(limits.move_share)} of all requests may move now")
    lines += [f"  {model} at most {percent_as_set(cap)} of all requests" for model, cap in limits.model_caps.items()]
    if held is not None and tried is None:
        lines.append(f"  version {held.version}, {held.set_by or 'the system'}, {held.set_at:%d %b %Y}: {held.reason}")
    if view.no_recommendation:
        return "\n".join([*lines, f"Nothing is recommended: {view.no_recommendation}"])
    effect = view.effect
    if effect is not None and effect.problem:
        lines.append(f"No policy keeps them: {effect.problem}. The choice without them stands.")
    elif effect is not None:
        lines.append(f"They cost {signed(effect.cost_usd_per_month, 2)} usd a month (estimate).")
        lines += [f"  {row.text}: {signed(row.usd_per_month, 2)} usd a month" for row in effect.binding]
    rate = "unknown" if view.quality is None else percent(view.quality, 2)
    moved = "–" if view.moved_share is None else percent(view.moved_share)
    lines.append(
        f"Recommended: {signed(view.cost_usd_per_month or 0, 2)} usd a month, mean quality {rate}; {moved} of the "
        "volume moves"
    )
    return "\n".join(lines)
