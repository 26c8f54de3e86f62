"""The period of a page, from its address: `?days=182`, or `?from=2026-06-01&to=2026-11-22` (both days shown)."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

from django.http import HttpRequest

from costgov.pages import BadQuery, day

CHOICES = (("28", "28 days"), ("90", "90 days"), ("182", "6 months"), ("365", "1 year"))
LONGEST_DAYS = 3 * 366
PARAMETERS = ("days", "from", "to")


@dataclass(frozen=True, slots=True)
class Timespan:
    """Days [start, end). `chosen` is the number of days named in the address, '' for two dates of one's own."""

    start: date
    end: date
    chosen: str


def timespan(request: HttpRequest, *, today: date, default: str = "182") -> Timespan:
    """The period asked for; whole days only, so it ends before `today`. Raises BadQuery naming what cannot be read."""
    if not (request.GET.get("from") or request.GET.get("to")):
        chosen = request.GET.get("days", default)
        known = [value for value, _ in CHOICES]
        if chosen not in known:
            raise BadQuery(
                f"?days={chosen} is not known here; use one of {', '.join(known)}, or from and to as 2026-11-22."
            )
        return Timespan(today - timedelta(days=int(chosen)), today, chosen)
    last = day(request, "to", today - timedelta(days=1))
    first = day(request, "from", last - timedelta(days=int(default) - 1))
    if last >= today:
        raise BadQuery(f"?to={last} is not over yet: the last whole UTC day is {today - timedelta(days=1)}.")
    if first > last:
        raise BadQuery(f"?from={first} lies after ?to={last}: swap them.")
    if (last - first).days >= LONGEST_DAYS:
        raise BadQuery(f"?from={first}&to={last} is longer than {LONGEST_DAYS} days: choose a shorter period.")
    return Timespan(first, last + timedelta(days=1), "")


def only(request: HttpRequest, accepted: Collection[str]) -> None:
    """Refuse parameters the page does not know: a misspelt one would otherwise show something else than asked for."""
    strange = sorted(set(request.GET) - set(accepted))
    if strange:
        known = ", ".join(accepted) or "none"
        raise BadQuery(f"?{strange[0]} is not a parameter of this page; it knows {known}.")
