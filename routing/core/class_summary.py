"""The evidence of a class in a few hundred numbers: how many cases ended how on which models (methods.md §3.1).

A *pattern* is one score per candidate. All cases of the same pattern are one row with a count, so what every candidate
scored, what is left out or excluded, and how any candidate compares with any other on the same cases follow from the
patterns alone. Equal to `evidence.cases_of_epoch` on the cases themselves; the tests hold one against the other.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routing.core.evidence import CaseResult, Evidence, Metric, Tally, epoch_text, recount_of, scores_by_case, tally_of
from routing.core.evidence_parts import RunPart
from routing.core.freshness import Recount
from routing.core.models import model_snapshot

NO_VERDICT, ABSENT = -1, -2
Pattern = tuple[int, ...]
Scores = tuple[float | str | None, ...]
MISSING = "missing"


@dataclass(frozen=True, slots=True)
class CandidateFacts:
    """What the results of one candidate amount to, beside its scores; the fields are those of `Evidence`."""

    candidate: str
    history_results: int
    newest_case_at: datetime | None
    epoch: str
    suites: tuple[str, ...]
    snapshots: tuple[str, ...]
    repeats: Tally
    recount: Recount


@dataclass(frozen=True, slots=True)
class ClassSummary:
    """Evidence of all candidates of one class. `patterns`: per candidate the place of its score in `scores`, −1 for a
    case without a verdict, −2 for one it was not run on; then how many cases are like that."""

    candidates: tuple[CandidateFacts, ...]
    scores: tuple[float, ...]
    patterns: tuple[tuple[Pattern, int], ...]

    def evidence(self, incumbent: str | None) -> dict[str, Evidence]:
        """Evidence of every candidate, compared with the incumbent."""
        if not self.candidates:
            return {}
        places = np.array([pattern for pattern, _ in self.patterns], dtype=np.int64).reshape(-1, len(self.candidates))
        counts = np.array([count for _, count in self.patterns], dtype=np.int64)
        excluded = _excluded(places)
        names = [facts.candidate for facts in self.candidates]
        reference = places[:, names.index(incumbent)] if incumbent in names else None
        if reference is not None and not bool(np.any(reference != ABSENT)):
            reference = None
        return {
            facts.candidate: self._evidence(
                facts, places[:, at], counts, excluded, reference if facts.candidate != incumbent else None
            )
            for at, facts in enumerate(self.candidates)
        }

    def _evidence(
        self,
        facts: CandidateFacts,
        own: NDArray[np.int64],
        counts: NDArray[np.int64],
        excluded: NDArray[np.bool_],
        reference: NDArray[np.int64] | None,
    ) -> Evidence:
        told = np.bincount(own[own >= 0], weights=counts[own >= 0], minlength=len(self.scores))
        tally = tuple((score, int(count)) for score, count in zip(self.scores, told, strict=True) if count)
        differences: Tally = ()
        unpaired = 0
        if reference is not None:
            both = (own >= 0) & (reference >= 0)
            differences = self._differences(own[both], reference[both], counts[both])
            unpaired = int(counts[own >= 0].sum()) - int(counts[both].sum())
        return Evidence(
            candidate=facts.candidate,
            tally=tally,
            left_out=int(counts[(own == NO_VERDICT) & ~excluded].sum()),
            excluded=int(counts[(own != ABSENT) & excluded].sum()),
            history_results=facts.history_results,
            newest_case_at=facts.newest_case_at,
            epoch=facts.epoch,
            suites=facts.suites,
            repeats=facts.repeats,
            differences=differences,
            unpaired=unpaired,
            snapshots=facts.snapshots,
            recount=facts.recount,
        )

    def _differences(self, own: NDArray[np.int64], other: NDArray[np.int64], counts: NDArray[np.int64]) -> Tally:
        width = len(self.scores)
        pairs, at = np.unique(own * width + other, return_inverse=True)
        sums = np.bincount(at, weights=counts, minlength=len(pairs))
        found: Counter[float] = Counter()
        for pair, count in zip(pairs.tolist(), sums.tolist(), strict=True):
            found[self.scores[pair // width] - self.scores[pair % width]] += int(count)
        return tuple(sorted(found.items()))


def _excluded(places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which patterns are of cases no candidate with cases has a verdict for; none with fewer than two such."""
    with_cases = np.any(places != ABSENT, axis=0)
    if int(with_cases.sum()) < 2:
        return np.zeros(len(places), dtype=np.bool_)
    found: NDArray[np.bool_] = np.all(places[:, with_cases] == NO_VERDICT, axis=1)
    return found


def summarised(
    *,
    totals: Mapping[str, int],
    parts: Mapping[str, Sequence[RunPart]],
    patterns: Iterable[tuple[Mapping[int, float | None], int]],
    repeated: Iterable[CaseResult],
    metric: Metric,
) -> ClassSummary:
    """The summary of a class.

    `totals`: results of every candidate in any epoch. `parts`: those that count. `patterns`: scores by place of the
    candidate among the sorted names, and how many cases have them. `repeated`: all results of the cases that hold
    several results on some candidate; those cases are in no pattern.
    """
    names = sorted(parts)
    counted: Counter[Scores] = Counter()
    for scores, count in patterns:
        counted[tuple(scores.get(at, MISSING) for at in range(len(names)))] += count
    again: dict[str, list[CaseResult]] = {name: [] for name in names}
    for row in repeated:
        again[row.candidate].append(row)
    judged = {name: scores_by_case(rows, metric) for name, rows in again.items()}
    for case in sorted({case for scores, _ in judged.values() for case in scores}):
        counted[tuple(judged[name][0].get(case, MISSING) for name in names)] += 1
    known = sorted({score for scores in counted for score in scores if isinstance(score, float)})
    place: dict[float | str | None, int] = {score: at for at, score in enumerate(known)}
    place |= {None: NO_VERDICT, MISSING: ABSENT}
    return ClassSummary(
        candidates=tuple(
            _facts(name, parts[name], totals[name], judged[name][1].values(), recount_of(again[name])) for name in names
        ),
        scores=tuple(known),
        patterns=tuple(sorted((tuple(place[score] for score in scores), count) for scores, count in counted.items())),
    )


def _facts(
    name: str, parts: Sequence[RunPart], total: int, repeats: Iterable[float], recount: Recount
) -> CandidateFacts:
    suites = sorted({(part.suite, part.suite_version) for part in parts})
    snapshots = sorted({model_snapshot(raw) for raw in {part.candidate_raw for part in parts}} - {""})
    return CandidateFacts(
        candidate=name,
        history_results=total - sum(part.results for part in parts),
        newest_case_at=max((part.last_scored_at for part in parts if part.last_scored_at is not None), default=None),
        epoch=epoch_text(
            suites,
            sorted({part.prompt_version for part in parts} - {""}),
            snapshots,
            sorted({part.mode for part in parts} - {""}),
        ),
        suites=tuple(suite for suite, _ in suites),
        snapshots=tuple(snapshots),
        repeats=tally_of(repeats),
        recount=recount,
    )


def as_document(summary: ClassSummary) -> dict[str, Any]:
    """A summary as JSON."""
    return {
        "candidates": [
            {
                "candidate": facts.candidate,
                "history_results": facts.history_results,
                "newest_case_at": facts.newest_case_at.isoformat() if facts.newest_case_at is not None else None,
                "epoch": facts.epoch,
                "suites": list(facts.suites),
                "snapshots": list(facts.snapshots),
                "repeats": [list(each) for each in facts.repeats],
                "recount": [facts.recount.cases, facts.recount.first_tok, facts.recount.latest_tok],
            }
            for facts in summary.candidates
        ],
        "scores": list(summary.scores),
        "patterns": [[*pattern, count] for pattern, count in summary.patterns],
    }


def of_document(document: Mapping[str, Any]) -> ClassSummary:
    """The summary `as_document` wrote."""
    return ClassSummary(
        candidates=tuple(
            CandidateFacts(
                candidate=facts["candidate"],
                history_results=facts["history_results"],
                newest_case_at=datetime.fromisoformat(facts["newest_case_at"]) if facts["newest_case_at"] else None,
                epoch=facts["epoch"],
                suites=tuple(facts["suites"]),
                snapshots=tuple(facts["snapshots"]),
                repeats=tuple((float(score), count) for score, count in facts["repeats"]),
                recount=Recount(*facts["recount"]),
            )
            for facts in document["candidates"]
        ),
        scores=tuple(float(score) for score in document["scores"]),
        patterns=tuple((tuple(row[:-1]), row[-1]) for row in document["patterns"]),
    )
