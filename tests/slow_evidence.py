"""Evidence and verdicts from the results themselves, one by one: the slow oracle of what is kept and gathered."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from datetime import datetime
from operator import attrgetter

from routing.core.bars import Bar, BarHistory, judge_evidence_by
from routing.core.evidence import CaseResult, Evidence, Metric, cases_of_epoch
from routing.core.freshness import ModelChanges
from routing.core.verdicts import Verdict
from routing.models import RequestClass
from routing.queries.bars import bar_histories
from routing.queries.evidence import ClassVerdicts
from routing.queries.freshness import model_changes

_ASKED = BarHistory((), Bar())


class EvidenceHistory:
    """All results of one class, and what they showed at an instant by the bar that was in force then.

    Evidence changes only when a case is run or the bar asks for other suites or another metric, so every instant
    between two such shares one value: the objects that `at` returns are the same ones, and callers may keep what they
    derive from them by identity.
    """

    def __init__(self, results: Iterable[CaseResult], bars: BarHistory = _ASKED) -> None:
        self._rows = sorted(results, key=attrgetter("run_at"))
        self._times = [row.run_at for row in self._rows]
        self._bars = bars
        self._held: dict[tuple[int, tuple[str, ...], Metric, str | None], Mapping[str, Evidence]] = {}

    def bar_at(self, instant: datetime) -> Bar:
        return self._bars.at(instant)

    def at(self, instant: datetime, *, incumbent: str | None = None) -> Mapping[str, Evidence]:
        """Evidence of every candidate from the cases run before `instant`; differences are against `incumbent`."""
        bar = self._bars.at(instant)
        key = (bisect_left(self._times, instant), bar.suites, bar.metric, incumbent)
        if key not in self._held:
            self._held[key] = cases_of_epoch(
                self._rows[: key[0]], incumbent=incumbent, suites=bar.suites, metric=bar.metric
            )
        return self._held[key]


def judge_by(
    bar: Bar,
    results: Iterable[CaseResult],
    *,
    incumbent: str | None,
    as_of: datetime,
    changes: Mapping[str, ModelChanges] | None = None,
) -> dict[str, Verdict]:
    """The verdict on every model of one class by a bar, from all its results run before `as_of`."""
    evidence = cases_of_epoch(results, as_of=as_of, incumbent=incumbent, suites=bar.suites, metric=bar.metric)
    return judge_evidence_by(bar, evidence, incumbent=incumbent, as_of=as_of, changes=changes)


def class_verdicts(
    *,
    results: Mapping[str, list[CaseResult]],
    incumbents: Mapping[str, str],
    as_of: datetime,
    slugs: Iterable[str] | None = None,
) -> dict[str, ClassVerdicts]:
    """Verdicts of every registered class (or of `slugs`), from `case_results` and each class's incumbent.

    Each is judged by the bar in force at `as_of`: its suites, its metric, its comparison, its age.
    """
    rows = RequestClass.objects.all()
    if slugs is not None:
        rows = rows.filter(slug__in=list(slugs))
    classes = list(rows)
    bars, changes = bar_histories(classes), model_changes(as_of=as_of)
    return {
        row.slug: _judged(row, bars[row.slug], results.get(row.slug, []), incumbents.get(row.slug), as_of, changes)
        for row in classes
    }


def _judged(
    row: RequestClass,
    bars: BarHistory,
    results: list[CaseResult],
    incumbent: str | None,
    as_of: datetime,
    changes: Mapping[str, ModelChanges],
) -> ClassVerdicts:
    asked = bars.at(as_of)
    return ClassVerdicts(
        slug=row.slug,
        title=row.title,
        bar=float(asked.bar),
        tolerance=float(asked.tolerance),
        line=asked.line,
        alpha=float(asked.alpha),
        note=row.note,
        incumbent=incumbent,
        verdicts=judge_by(asked, results, incumbent=incumbent, as_of=as_of, changes=changes),
        asked=asked,
        bars=bars,
    )
