"""What classes had shown at several instants, by the bar in force at each (methods.md §3.6): no result is read.

Runs that count are those that count today: one that was set aside since is no evidence of any day. Evidence of an
instant that no result is younger than is what is kept; that of others is gathered, once for all classes, and for all
instants between which nothing was run.
"""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from routing.core.bars import BarHistory
from routing.core.evidence import Evidence, suite_filter
from routing.core.evidence_parts import RunPart
from routing.queries.evidence import names_held
from routing.queries.gathering import Asked, gathered, parts_of_runs, runs_of_classes
from routing.queries.kept_evidence import asked_of, class_summaries


@dataclass(frozen=True, slots=True)
class PastEvidence:
    """Evidence of every candidate of one class, of the instants it was asked for.

    Instants between which nothing changed share one value: callers may keep what they derive from it by identity.
    """

    found: Mapping[datetime, Mapping[str, Evidence]]

    def at(self, instant: datetime) -> Mapping[str, Evidence]:
        return self.found[instant]


@dataclass(frozen=True, slots=True)
class _Question:
    """Evidence of a class to find once: by these suites and metric, of results run before `until` (None = of all).

    `state`: equal where nothing was run in between; None where nothing was run by then.
    """

    slug: str
    asked: Asked
    state: Hashable
    until: datetime | None = field(compare=False)


def past_evidence(
    *, bars: Mapping[str, BarHistory], instants: Collection[datetime], as_of: datetime
) -> dict[str, PastEvidence]:
    """Of every class in `bars`, from results run before each instant (and before `as_of`); compared with no other."""
    runs = runs_of_classes(bars, as_of)
    parts = parts_of_runs([run for slug in bars for run in runs[slug]], names_held())
    questions: dict[tuple[str, datetime], _Question] = {}
    for slug, history in bars.items():
        own = [part for run in runs[slug] for part in parts.get(run.pk, ()) if part.first_at < as_of]
        for instant in sorted(set(instants)):
            questions[slug, instant] = _question(slug, asked_of(history.at(instant)), own, min(instant, as_of), as_of)
    answers = _answers(list(dict.fromkeys(questions.values())), as_of)
    nothing: Mapping[str, Evidence] = {}
    return {slug: PastEvidence({at: answers.get(questions[slug, at], nothing) for at in instants}) for slug in bars}


def _question(slug: str, asked: Asked, parts: Iterable[RunPart], until: datetime, as_of: datetime) -> _Question:
    counts = suite_filter(asked.suites)
    own = [part for part in parts if counts(part.suite, part.suite_version)]
    whole = sum(part.last_at < until for part in own)
    across = any(part.first_at < until <= part.last_at for part in own)
    if not whole and not across:
        return _Question(slug, asked, None, until)
    if whole == len(own) or until == as_of:
        return _Question(slug, asked, len(own), None)
    return _Question(slug, asked, (whole, until if across else None), until)


def _answers(questions: Iterable[_Question], as_of: datetime) -> dict[_Question, Mapping[str, Evidence]]:
    """Evidence of the questions that have any; those of many classes at one instant are found together."""
    rounds: dict[datetime | None, list[dict[str, _Question]]] = defaultdict(list)
    for question in questions:
        if question.state is None:
            continue
        free = next((each for each in rounds[question.until] if question.slug not in each), None)
        if free is None:
            rounds[question.until].append(free := {})
        free[question.slug] = question
    found: dict[_Question, Mapping[str, Evidence]] = {}
    for until, asked in ((until, each) for until, some in rounds.items() for each in some):
        wanted = {slug: question.asked for slug, question in asked.items()}
        if until is None:
            summaries = class_summaries(asked=wanted, as_of=as_of)
        else:
            every = gathered(asked=wanted, as_of=until, set_aside_by=as_of, named=names_held())
            summaries = {slug: each.summary for slug, each in every.items()}
        found |= {question: summaries[slug].evidence(None) for slug, question in asked.items()}
    return found
