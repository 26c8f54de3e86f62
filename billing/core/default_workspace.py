"""Is a workspace that only logs name the provider's default one, which reports call by no name?

Two names of one workspace never meet: what a log and a report both tell of it then counts twice. Nothing in the files
says that they are one, but much can say that they are not: a report that names the workspace, or a day on which the log
has more of a model than the report has for the default workspace.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Final

from billing.core.counting import TOLERANCE
from billing.core.usage import NOT_GROUPED, UNTOLD

FITS: Final = Fraction(99, 100)  # of the tokens that are compared: a day the report was fetched too early is no proof
Cell = tuple[date, str]  # day, model


@dataclass(frozen=True, slots=True)
class LoggedWorkspace:
    """Tokens that logs tell of a workspace no report names, by day and model."""

    channel: str
    organisation: str
    workspace: str
    tokens: Mapping[Cell, int]


@dataclass(frozen=True, slots=True)
class ReportedDefault:
    """Tokens that a report tells of the default workspace, by day and model."""

    channel: str
    organisation: str
    tokens: Mapping[Cell, int]


@dataclass(frozen=True, slots=True)
class LikelyDefault:
    """A workspace that may be the default one. `cells`: where a report tells at least as much of it."""

    channel: str
    organisation: str
    workspace: str
    cells: frozenset[Cell]
    tokens: int


def likely_defaults(
    logged: Sequence[LoggedWorkspace], reported: Sequence[ReportedDefault]
) -> tuple[LikelyDefault, ...]:
    """Workspaces of logs that fit the default workspace of reports of the same organisation; most tokens first."""
    found = []
    for log in logged:
        fits = [fit for report in reported if _may_be_of(log, report) and (fit := _fit(log, report)) is not None]
        if fits:
            found.append(max(fits, key=lambda one: one.tokens))
    return tuple(sorted(found, key=lambda one: (-one.tokens, one.channel, one.organisation, one.workspace)))


def _may_be_of(log: LoggedWorkspace, report: ReportedDefault) -> bool:
    told = {log.organisation, report.organisation} - UNTOLD
    return log.channel == report.channel and len(told) < 2


def _fit(log: LoggedWorkspace, report: ReportedDefault) -> LikelyDefault | None:
    """The cells that the report tells enough of. None where it tells too little, or nothing of those days."""
    days = {day for day, _ in report.tokens}
    unmodelled = {day for day, model in report.tokens if model == NOT_GROUPED}
    by_day: dict[date, int] = {}
    for (day, _), tokens in log.tokens.items():
        by_day[day] = by_day.get(day, 0) + tokens
    compared = enough = 0
    cells = set()
    for (day, model), tokens in log.tokens.items():
        if day not in days or not tokens:
            continue
        compared += tokens
        whole = day in unmodelled
        told = report.tokens.get((day, NOT_GROUPED if whole else model), 0)
        if (by_day[day] if whole else tokens) <= told * (1 + TOLERANCE):
            enough += tokens
            cells.add((day, model))
    if not compared or Fraction(enough, compared) < FITS:
        return None
    return LikelyDefault(log.channel, log.organisation, log.workspace, frozenset(cells), enough)
