"""What counts as evidence: distinct cases of the latest epoch (methods.md §3.1)."""

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import Any, Literal

from routing.core.freshness import NO_RECOUNT, Recount
from routing.core.models import model_snapshot

PartAndValue = Callable[["CaseResult"], tuple[str, str]]
_SUITE_VERSION: PartAndValue = attrgetter("suite", "suite_version")
_PROMPT_VERSION: PartAndValue = attrgetter("suite", "prompt_version")


def _MODE(row: "CaseResult") -> tuple[str, str]:
    return "", row.mode


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One result of one case on one candidate. Never holds prompt or answer text.

    `candidate` is the canonical model name, `candidate_raw` the name as the file spells it. `score` is 0 … 1 (1 and 0
    for pass and fail), None = no verdict; then `error` is the kind of error. Tokens are of exclusive kinds, None =
    unknown. `cost_usd` is what the eval tool states, None = unknown or answered from the tool's own cache.
    `mode`: settings of the candidate (thinking, effort), '' = default. `graded_score`: the grade beside a pass or fail,
    0 … 1. `attempts`: calls it took, retries included, None = unknown. `batch`: number of the import that brought it,
    in the order the imports were made.
    """

    suite: str
    suite_version: str
    sample_id: str
    candidate: str
    run_at: datetime
    score: float | None
    prompt_version: str = ""
    request_class: str = ""
    repeat: str = ""
    candidate_raw: str = ""
    error: str = ""
    uncached_input_tok: int | None = None
    cache_read_tok: int | None = None
    cache_write_5m_tok: int | None = None
    cache_write_1h_tok: int | None = None
    output_tok: int | None = None
    cost_usd: Decimal | None = None
    latency_ms: float | None = None
    mode: str = ""
    graded_score: float | None = None
    attempts: int | None = None
    batch: int = 0

    @property
    def case(self) -> tuple[str, str]:
        """What makes two results the same case: suite and sample id."""
        return (self.suite, self.sample_id)

    @property
    def input_tok(self) -> int | None:
        """The whole prompt, cached or not; None when any kind is unknown."""
        kinds = (self.uncached_input_tok, self.cache_read_tok, self.cache_write_5m_tok, self.cache_write_1h_tok)
        known = [kind for kind in kinds if kind is not None]
        return sum(known) if len(known) == len(kinds) else None


Tally = tuple[tuple[float, int], ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The distinct cases of one candidate in the latest epoch of a class.

    `tally`: scores of the cases with a verdict and how many have each, rising. `left_out`: cases without one.
    `excluded`: cases no candidate has a verdict for. `history_results`: results of older epochs, which no longer count.
    `epoch` names the suite versions, prompt version, model snapshot and mode. `newest_case_at` is the time of the
    newest result with a verdict, repeats included: running a case again shows that the verdict still holds, though it
    adds nothing to it. `repeats`: how the cases did that were run again in a later import; shown, never counted.
    `differences`: candidate − incumbent on the cases both have a verdict for, −1 … 1, like `tally`; `unpaired`: cases
    with a verdict that the incumbent has none for. `snapshots`: dated model snapshots the results name, rising.
    `recount`: input tokens of the cases run again, then and now.
    """

    candidate: str
    tally: Tally = ()
    left_out: int = 0
    excluded: int = 0
    history_results: int = 0
    newest_case_at: datetime | None = None
    epoch: str = ""
    suites: tuple[str, ...] = ()
    repeats: Tally = ()
    differences: Tally = ()
    unpaired: int = 0
    snapshots: tuple[str, ...] = ()
    recount: Recount = NO_RECOUNT

    @classmethod
    def of_counts(
        cls,
        passes: int,
        cases: int,
        *,
        candidate: str = "",
        left_out: int = 0,
        newest_case_at: datetime | None = None,
    ) -> "Evidence":
        """Evidence from counts of distinct pass/fail cases. Raises ValueError unless 0 ≤ passes ≤ cases."""
        if not 0 <= passes <= cases:
            raise ValueError(f"{passes} of {cases} passed: passes must be between 0 and the number of cases")
        tally = tuple((score, count) for score, count in ((0.0, cases - passes), (1.0, passes)) if count)
        return cls(candidate, tally, left_out=left_out, newest_case_at=newest_case_at)

    @property
    def scores(self) -> tuple[float, ...]:
        """One score per case with a verdict, rising."""
        return tuple(score for score, count in self.tally for _ in range(count))

    @property
    def cases(self) -> int:
        return sum(count for _, count in self.tally)

    @property
    def passes(self) -> float:
        """Sum of the case scores: the number of passes where every case is pass or fail."""
        return math.fsum(score * count for score, count in self.tally)

    @property
    def is_pass_fail(self) -> bool:
        return all(score in {0.0, 1.0} for score, _ in self.tally)

    @property
    def too_many_left_out(self) -> bool:
        """More than 2 % of the cases and more than one ended without a verdict."""
        return too_many_left_out(self.left_out, self.cases)


def tally_of(scores: Iterable[float]) -> Tally:
    """Distinct scores, rising, with how many there are of each.

    >>> tally_of([1.0, 0.0, 1.0])
    ((0.0, 1), (1.0, 2))
    """
    return tuple(sorted(Counter(scores).items()))


def too_many_left_out(left_out: int, cases_with_verdict: int) -> bool:
    """More than 2 % of all cases, and more than one, have no verdict: what fails to finish is rarely random."""
    return left_out > 1 and 50 * left_out > cases_with_verdict + left_out


Metric = Literal["pass_rate", "mean_score"]


def cases_of_epoch(
    results: Iterable[CaseResult],
    *,
    as_of: datetime | None = None,
    incumbent: str | None = None,
    suites: Collection[str] = (),
    metric: Metric = "pass_rate",
) -> dict[str, Evidence]:
    """Evidence of every candidate of one class, from all its results run before `as_of` (methods.md §3.1).

    All suites mapped to a class (or those of `suites`, where it names some) are one evaluation. Its epoch is defined in
    steps, each keeping only results with the newest value and run since the last change of any suite's value:

    1. suite versions, over all candidates (a new version of one suite begins the whole evaluation anew, for everyone;
       a suite seen for the first time is added, not a change);
    2. prompt version, per candidate and suite;
    3. dated model snapshot, per candidate (a name without a date is no change);
    4. mode (thinking, effort), per candidate.

    Newest is by time of run, ties by version number. A candidate with results of older epochs only is returned with no
    case. The order of `results` does not matter. A case is left out when none of its repeats has a verdict, and
    excluded instead when that holds for every candidate of the epoch and there are at least two.

    The score of a case is the mean over its results in the *first* import that brought it a verdict: whoever looked
    then has used it, and running it again until it passes must not help. Later ones are `repeats`. `metric`
    "mean_score" takes the graded score where a result has one beside its pass or fail.
    """
    counts = suite_filter(suites)
    rows = [row for row in results if (as_of is None or row.run_at < as_of) and counts(row.suite, row.suite_version)]
    totals = Counter(row.candidate for row in rows)
    by_candidate = results_of_epoch(rows)
    judged = {candidate: scores_by_case(own, metric) for candidate, own in by_candidate.items()}
    cases = {candidate: scores for candidate, (scores, _) in judged.items()}
    excluded = _excluded_for_all([scores for scores in cases.values() if scores])
    reference = cases.get(incumbent, {}) if incumbent is not None else {}
    return {
        candidate: _evidence(
            candidate,
            own,
            cases[candidate],
            judged[candidate][1],
            excluded,
            totals[candidate],
            reference if candidate != incumbent else {},
        )
        for candidate, own in by_candidate.items()
    }


def suite_filter(patterns: Collection[str]) -> Callable[[str, str], bool]:
    """Whether a suite (name, version) counts: one pattern matches its name or name@version; without patterns all do.

    In a pattern `*` stands for any text and `?` for one character, as in the rules that map suites to classes.

    >>> [suite_filter(["triage*", "faq@2"])(*each) for each in (("triage-hard", "1"), ("faq", "1"), ("faq", "2"))]
    [True, False, True]
    """
    if not patterns:
        return lambda suite, version: True
    held: dict[tuple[str, str], bool] = {}

    def counts(suite: str, version: str) -> bool:
        key = (suite, version)
        if key not in held:
            names = (suite, f"{suite}@{version}")
            held[key] = any(fnmatchcase(name, pattern) for pattern in patterns for name in names)
        return held[key]

    return counts


def results_of_epoch(results: Iterable[CaseResult]) -> dict[str, Sequence[CaseResult]]:
    """The results of one class that count, by candidate: those of its latest epoch (see `cases_of_epoch`)."""
    rows = list(results)
    found: dict[str, list[CaseResult]] = {candidate: [] for candidate in sorted({row.candidate for row in rows})}
    for row in _since_last_change(rows, _SUITE_VERSION):
        found[row.candidate].append(row)
    return {candidate: _of_candidate_epoch(own) for candidate, own in found.items()}


def _of_candidate_epoch(own: Sequence[CaseResult]) -> Sequence[CaseResult]:
    return _since_last_change(_of_newest_snapshot(_since_last_change(own, _PROMPT_VERSION)), _MODE)


def first_scored_batch(rows: Iterable[CaseResult]) -> int | None:
    """The import whose results of a case count: the first with a verdict; None = no result has one."""
    return min((row.batch for row in rows if row.score is not None), default=None)


def _since_last_change(rows: Sequence[CaseResult], part_and_value: PartAndValue) -> Sequence[CaseResult]:
    """Rows with the newest value of their part, run since the newest value of any changed part was first seen."""
    seen = set(map(part_and_value, rows))
    if len({part for part, _ in seen}) == len(seen):
        return rows
    first_seen: dict[tuple[str, str], datetime] = {}
    last_seen: dict[tuple[str, str], datetime] = {}
    for row in rows:
        key, at = part_and_value(row), row.run_at
        first_seen[key] = min(first_seen.get(key, at), at)
        last_seen[key] = max(last_seen.get(key, at), at)
    newest: dict[str, str] = {}
    changed: set[str] = set()
    for part, value in sorted(seen, key=lambda key: (last_seen[key], natural_order(key[1]))):
        if part in newest:
            changed.add(part)
        newest[part] = value
    start = max(first_seen[(part, newest[part])] for part in changed)
    current = set(newest.items())
    return [row for row in rows if row.run_at >= start and part_and_value(row) in current]


def _of_newest_snapshot(rows: Sequence[CaseResult]) -> Sequence[CaseResult]:
    """Rows of the newest dated snapshot; undated rows belong to the snapshot that was current when they ran."""
    snapshot = {raw: model_snapshot(raw) for raw in {row.candidate_raw for row in rows}}
    if len(set(snapshot.values()) - {""}) < 2:
        return rows
    newest = max((row.run_at, snapshot[row.candidate_raw]) for row in rows if snapshot[row.candidate_raw])[1]
    start = min(row.run_at for row in rows if snapshot[row.candidate_raw] == newest)
    return [row for row in rows if row.run_at >= start and snapshot[row.candidate_raw] in {"", newest}]


def natural_order(version: str) -> list[tuple[int, int, str]]:
    """Sort key in which version 10 follows version 9."""
    return [
        (1, int(chunk), "") if chunk.isdecimal() else (0, 0, chunk)
        for chunk in re.findall(r"\d+|\D+", version)
        if chunk
    ]


_Case = tuple[str, str]
_Scores = dict[_Case, float | None]


def scores_by_case(rows: Iterable[CaseResult], metric: Metric) -> tuple[_Scores, dict[_Case, float]]:
    """Score of each case (None = no result has a verdict), and mean score of what later imports repeated of it."""
    cases: dict[_Case, list[CaseResult]] = {}
    for row in rows:
        cases.setdefault(row.case, []).append(row)
    scores: _Scores = {}
    repeated: dict[_Case, float] = {}
    for case, members in cases.items():
        if len(members) == 1:  # nearly all: kept short
            scores[case] = _value(members[0], metric)
            continue
        first = first_scored_batch(members)
        scores[case] = _mean([_value(row, metric) for row in members if row.batch == first])
        later = _mean([_value(row, metric) for row in members if first is not None and row.batch > first])
        if later is not None:
            repeated[case] = later
    return scores, repeated


def _value(row: CaseResult, metric: Metric) -> float | None:
    return row.graded_score if metric == "mean_score" and row.graded_score is not None else row.score


def _differences(scores: _Scores, reference: Mapping[_Case, float | None]) -> list[float]:
    return [
        score - other
        for case, score in scores.items()
        if score is not None and (other := reference.get(case)) is not None
    ]


def _mean(scores: Iterable[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    if len(known) == 1:
        return known[0]
    return math.fsum(known) / len(known) if known else None


def epoch_text(
    suites: Iterable[tuple[str, str]], prompts: Collection[str], snapshots: Collection[str], modes: Collection[str]
) -> str:
    """What an epoch is of, in words: its suites with versions, and what else its results name."""
    parts = [", ".join(f"{suite}@{version}" for suite, version in suites)]
    parts += [f"prompt {', '.join(prompts)}"] if prompts else []
    parts += [f"snapshot {', '.join(snapshots)}"] if snapshots else []
    parts += [f"mode {', '.join(modes)}"] if modes else []
    return " · ".join(parts)


def rule_matches(pattern: str, suite: str) -> bool:
    """Whether a suite rule is about a suite: * and ? stand for any text, everything else for itself.

    >>> rule_matches("core[1]*", "core[1]-nightly"), rule_matches("core[1]", "core1")
    (True, False)
    """
    return fnmatchcase(suite, pattern.replace("[", "[[]"))


def recount_of(rows: Sequence[CaseResult]) -> Recount:
    """Input tokens of the cases run again in a later import: those of the results that count, and of the latest."""
    cases: dict[_Case, list[CaseResult]] = {}
    if len({row.batch for row in rows}) < 2:  # nearly all
        return NO_RECOUNT
    for row in rows:
        cases.setdefault(row.case, []).append(row)
    found = []
    for members in cases.values():
        first, latest = first_scored_batch(members), max(row.batch for row in members)
        if first is None or first == latest:
            continue
        then = _mean_tok(row for row in members if row.batch == first)
        now = _mean_tok(row for row in members if row.batch == latest)
        if then is not None and now is not None:
            found.append((then, now))
    return Recount(len(found), round(sum(then for then, _ in found)), round(sum(now for _, now in found)))


def _mean_tok(rows: Iterable[CaseResult]) -> float | None:
    known = [row.input_tok for row in rows]
    told = [tok for tok in known if tok is not None]
    return sum(told) / len(told) if told and len(told) == len(known) else None


def _excluded_for_all(candidates: Sequence[Mapping[tuple[str, str], Any]]) -> frozenset[tuple[str, str]]:
    if len(candidates) < 2:
        return frozenset()
    left_out = [{case for case, score in found.items() if score is None} for found in candidates]
    return frozenset(set.intersection(*left_out))


def _evidence(
    candidate: str,
    rows: Sequence[CaseResult],
    cases: _Scores,
    repeated: Mapping[_Case, float],
    excluded: frozenset[_Case],
    total: int,
    reference: Mapping[_Case, float | None],
) -> Evidence:
    suites = sorted({(row.suite, row.suite_version) for row in rows})
    prompts = sorted({row.prompt_version for row in rows} - {""})
    snapshots = sorted({model_snapshot(raw) for raw in {row.candidate_raw for row in rows}} - {""})
    modes = sorted({row.mode for row in rows} - {""})
    scores = [score for score in cases.values() if score is not None]
    differences = _differences(cases, reference)
    return Evidence(
        candidate=candidate,
        tally=tally_of(scores),
        left_out=sum(score is None and case not in excluded for case, score in cases.items()),
        excluded=len(excluded & cases.keys()),
        history_results=total - len(rows),
        newest_case_at=max((row.run_at for row in rows if row.score is not None), default=None),
        epoch=epoch_text(suites, prompts, snapshots, modes),
        suites=tuple(suite for suite, _ in suites),
        repeats=tally_of(repeated.values()),
        differences=tally_of(differences),
        snapshots=tuple(snapshots),
        recount=recount_of(rows),
        unpaired=len(scores) - len(differences) if reference else 0,
    )
