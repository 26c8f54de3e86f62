"""Evidence of a class at any instant of the past (methods.md §3.6: all cases of its epoch dated up to then)."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from datetime import datetime
from operator import attrgetter

from routing.core.evidence import CaseResult, Evidence, cases_of_epoch


class EvidenceHistory:
    """All results of one class, and what they showed at an instant.

    Evidence changes only when a case is run, so every instant between two runs shares one value: the objects that `at`
    returns are the same ones, and callers may keep what they derive from them by identity.
    """

    def __init__(self, results: Iterable[CaseResult]) -> None:
        self._rows = sorted(results, key=attrgetter("run_at"))
        self._times = [row.run_at for row in self._rows]
        self._held: dict[int, Mapping[str, Evidence]] = {}

    def at(self, instant: datetime) -> Mapping[str, Evidence]:
        """Evidence of every candidate from the cases run before `instant`, by model."""
        count = bisect_left(self._times, instant)
        if count not in self._held:
            self._held[count] = cases_of_epoch(self._rows[:count])
        return self._held[count]
