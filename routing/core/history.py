"""Evidence of a class at any instant of the past (methods.md §3.6: all cases of its epoch dated up to then)."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from datetime import datetime
from operator import attrgetter

from routing.core.bars import Bar, BarHistory
from routing.core.evidence import CaseResult, Evidence, Metric, cases_of_epoch

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
