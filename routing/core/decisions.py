"""One decision by betting e-values: status, bounds, and how many more cases would decide (methods.md §3.3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from routing.core.evalues import (
    CasesNeeded,
    cases_needed,
    cases_needed_scores,
    log_e_values,
    log_e_values_scores,
    lower_bound,
    lower_bound_scores,
    upper_bound,
    upper_bound_scores,
)
from routing.core.evidence import Evidence, Tally

Status = Literal["clears", "falls_short", "not_enough_evidence", "no_evidence"]


@dataclass(frozen=True, slots=True)
class Measured:
    """What one e-value pair says: its status, bounds and how far it is from a decision."""

    status: Status
    ln_e_clear: float
    ln_e_short: float
    lower: float
    upper: float
    needed: CasesNeeded


def measure(evidence: Evidence, line: float, threshold: float, min_cases: int, *, paired: bool = False) -> Measured:
    if evidence.is_pass_fail and not paired:
        clear, short, lower, upper, needed = _measured(evidence.passes, evidence.cases, line, threshold, min_cases)
    else:
        clear, short, lower, upper, needed = _measured_tally(evidence.tally, line, threshold, min_cases)
    status = _status(evidence, clear, short, threshold, min_cases)
    if status == "clears":
        lower = max(lower, line)  # bisection ends up to 1e-12 below the highest line that clears
    elif status == "falls_short":
        upper = min(upper, line)
    if evidence.too_many_left_out:
        needed = CasesNeeded(None, None, "what fails to finish is rarely random: run these cases again")
    return Measured(status, clear, short, lower, upper, needed)


_Numbers = tuple[float, float, float, float, CasesNeeded]
Counts = tuple[float, int, float, float, int]
_MOST_KNOWN = 50_000
_known: dict[Counts, _Numbers] = {}


def numbers_of(passes: float, cases: int, line: float, threshold: float, min_cases: int) -> list[Any]:
    """What `measure` finds for counts, as JSON keeps it: hand it to `remember` in another process."""
    clear, short, lower, upper, needed = _measured(passes, cases, line, threshold, min_cases)
    return [clear, short, lower, upper, needed.cases, needed.side, needed.reason]


def remember(counts: Counts, numbers: Sequence[Any]) -> None:
    """Take what `numbers_of` found for these counts; it is not computed again."""
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    clear, short, lower, upper, cases, side, reason = numbers
    _known[counts] = (clear, short, lower, upper, CasesNeeded(cases, side, reason))


@lru_cache(maxsize=8192)
def _measured(passes: float, cases: int, line: float, threshold: float, min_cases: int) -> _Numbers:
    """Kept: counts change only with new cases, while pages, commands and proposals judge them again and again."""
    known = _known.get((passes, cases, line, threshold, min_cases))
    if known is not None:
        return known
    clear, short = log_e_values(passes, cases, line)
    lower, upper = lower_bound(passes, cases, threshold), upper_bound(passes, cases, threshold)
    needed = cases_needed(passes, cases, line, threshold, min_cases=min_cases)
    return float(clear), float(short), float(lower), float(upper), needed


@lru_cache(maxsize=4096)
def _measured_tally(tally: Tally, line: float, threshold: float, min_cases: int) -> _Numbers:
    scores, counts = zip(*tally, strict=True) if tally else ((), ())
    if not tally:
        return 0.0, 0.0, 0.0, 1.0, CasesNeeded(None, None, "no case has been run on both")
    clear, short = log_e_values_scores(scores, line, counts=counts)
    lower = lower_bound_scores(scores, threshold, counts=counts)
    upper = upper_bound_scores(scores, threshold, counts=counts)
    needed = cases_needed_scores(scores, line, threshold, counts=counts, min_cases=min_cases)
    return clear, short, lower, upper, needed


def _status(evidence: Evidence, ln_e_clear: float, ln_e_short: float, threshold: float, min_cases: int) -> Status:
    if not evidence.cases:
        return "no_evidence"
    if evidence.too_many_left_out:
        return "not_enough_evidence"
    if ln_e_short >= threshold:
        return "falls_short"
    if ln_e_clear >= threshold and evidence.cases >= min_cases:
        return "clears"
    return "not_enough_evidence"
