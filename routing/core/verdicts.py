"""The verdict of a candidate against the line of its class (methods.md §3.3, §3.5)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Literal

from billing.core.words import percent, percent_as_set
from routing.core.evalues import (
    METHOD,
    MIN_CASES,
    CasesNeeded,
    Side,
    cases_needed,
    cases_needed_scores,
    log_e_values,
    log_e_values_scores,
    log_threshold,
    lower_bound,
    lower_bound_scores,
    upper_bound,
    upper_bound_scores,
)
from routing.core.evidence import CaseResult, Evidence, Tally, cases_of_epoch, too_many_left_out

Status = Literal["clears", "falls_short", "not_enough_evidence", "no_evidence"]

STATUS_TEXT: dict[Status, str] = {
    "clears": "Clears the bar",
    "falls_short": "Below the bar",
    "not_enough_evidence": "Not enough evidence",
    "no_evidence": "No evidence",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the cases of one candidate show, and everything the decision rests on.

    `passes` is the sum of case scores; `pass_rate` None without cases; `lower` None before 30 cases (shown as "–").
    `ln_e_clear` and `ln_e_short` are compared with ln(candidates / alpha). `cases_needed` is 0 once decided and None
    where no figure can be given (`reason` says why); `side` tells which decision it would be (+ clears, − falls short).
    """

    candidate: str
    status: Status
    stale: bool
    passes: float
    cases: int
    left_out: int
    excluded: int
    pass_rate: float | None
    lower: float | None
    upper: float
    line: float
    bar: float
    tolerance: float
    alpha: float
    candidates: int
    ln_e_clear: float
    ln_e_short: float
    cases_needed: int | None
    side: Side | None
    reason: str
    method: str
    newest_case_at: datetime | None
    epoch: str
    suites: tuple[str, ...]

    @property
    def text(self) -> str:
        """Status in the words of every page (design/README.md, principle 3), e.g. 'Clears the bar · Stale'."""
        words = [STATUS_TEXT[self.status]]
        if self.status == "not_enough_evidence":
            words.append(self._missing_text)
        if self.stale:
            words.append("Stale")
        return " · ".join(words)

    @property
    def line_text(self) -> str:
        """The line beside the bar it comes from: '93% (bar 95%, tolerance 2 points)'."""
        tolerance = percent_as_set(self.tolerance).removesuffix("%")
        points = "1 point" if tolerance == "1" else f"{tolerance} points"
        return f"{percent_as_set(self.line)} (bar {percent_as_set(self.bar)}, tolerance {points})"

    @property
    def _missing_text(self) -> str:
        if self.cases_needed is not None:
            return f"{self.cases_needed:,} more case{'' if self.cases_needed == 1 else 's'}"
        if too_many_left_out(self.left_out, self.cases):
            return f"{self.left_out:,} of {self.cases + self.left_out:,} cases without a verdict"
        return "no realistic number of cases"


def line_of(bar: float | Decimal, tolerance: float | Decimal) -> float:
    """bar − tolerance, without the noise of binary subtraction. Raises ValueError for a bar of 1 or a line of 0.

    >>> line_of(0.95, 0.02)
    0.93
    """
    exact_bar, exact_tolerance = Decimal(str(bar)), Decimal(str(tolerance))
    if not 0 < exact_bar < 1:
        raise ValueError(f"the bar is {bar}: it must be above 0 and below 1; no sample can show a bar of 1")
    line = exact_bar - exact_tolerance
    if exact_tolerance < 0 or line <= 0:
        raise ValueError(f"the tolerance is {tolerance}: it must be at least 0 and below the bar {bar}")
    return float(line)


def judge(
    evidence: Evidence,
    *,
    bar: float | Decimal = 0.95,
    tolerance: float | Decimal = 0.02,
    alpha: float | Decimal = 0.05,
    candidates: int = 1,
    as_of: datetime | None = None,
    max_age_days: int = 90,
) -> Verdict:
    """The verdict on one candidate (methods.md §3.3): falls short, else clears (n ≥ 30), else not enough evidence.

    `candidates` is K, 1 for the incumbent. Without `as_of` nothing is stale. Raises ValueError for a line outside
    (0, 1), alpha outside (0, 1) or K < 1.

    >>> verdict = judge(Evidence.of_counts(146, 150))
    >>> verdict.text, verdict.line_text
    ('Not enough evidence · 74 more cases', '93% (bar 95%, tolerance 2 points)')
    """
    line = line_of(bar, tolerance)
    threshold = log_threshold(float(alpha), candidates)
    measure = _measure_counts if evidence.is_pass_fail else _measure_scores
    ln_e_clear, ln_e_short, lower, upper, needed = measure(evidence, line, threshold)
    status = _status(evidence, ln_e_clear, ln_e_short, threshold)
    if status == "clears":
        lower = max(lower, line)  # bisection ends up to 1e-12 below the highest line that clears
    elif status == "falls_short":
        upper = min(upper, line)
    if evidence.too_many_left_out:
        needed = CasesNeeded(None, None, "what fails to finish is rarely random: run these cases again")
    newest = evidence.newest_case_at
    cases = evidence.cases
    return Verdict(
        candidate=evidence.candidate,
        status=status,
        stale=as_of is not None and newest is not None and as_of - newest > timedelta(days=max_age_days),
        passes=evidence.passes,
        cases=cases,
        left_out=evidence.left_out,
        excluded=evidence.excluded,
        pass_rate=evidence.passes / cases if cases else None,
        lower=lower if cases >= MIN_CASES else None,
        upper=upper,
        line=line,
        bar=float(bar),
        tolerance=float(tolerance),
        alpha=float(alpha),
        candidates=candidates,
        ln_e_clear=ln_e_clear,
        ln_e_short=ln_e_short,
        cases_needed=needed.cases,
        side=needed.side,
        reason=_reason(evidence, status, line, needed),
        method=METHOD,
        newest_case_at=newest,
        epoch=evidence.epoch,
        suites=evidence.suites,
    )


def judge_class(
    results: Iterable[CaseResult],
    *,
    incumbent: str | None,
    plan: Sequence[str] = (),
    bar: float | Decimal = 0.95,
    tolerance: float | Decimal = 0.02,
    alpha: float | Decimal = 0.05,
    as_of: datetime,
    max_age_days: int = 90,
) -> dict[str, Verdict]:
    """The verdict on every model of one class, as of a time: only cases run before it count.

    α is shared by the candidates of the evaluation plan, the incumbent not counted and itself judged with K = 1;
    without a plan by the models other than the incumbent that ever had a case (methods.md §3.1). A model outside the
    plan is judged with every such model counted in, so it never gets a larger share than a planned one. Models of the
    plan and the incumbent are in the answer even when they have no case.
    """
    rows = [row for row in results if row.run_at < as_of]
    evidence = cases_of_epoch(rows)
    for model in {*plan, *([incumbent] if incumbent else [])} - evidence.keys():
        evidence[model] = Evidence(model, ())
    others = evidence.keys() - {incumbent}
    planned = set(plan) - {incumbent}
    return {
        model: judge(
            found,
            bar=bar,
            tolerance=tolerance,
            alpha=alpha,
            candidates=1 if model == incumbent else len(planned) if model in planned else max(len(others), 1),
            as_of=as_of,
            max_age_days=max_age_days,
        )
        for model, found in sorted(evidence.items())
    }


_Measured = tuple[float, float, float, float, CasesNeeded]


def _measure_counts(evidence: Evidence, line: float, threshold: float) -> _Measured:
    return _measured(evidence.passes, evidence.cases, line, threshold)


@lru_cache(maxsize=8192)
def _measured(passes: float, cases: int, line: float, threshold: float) -> _Measured:
    """Kept: counts change only with new cases, while pages, commands and proposals judge them again and again."""
    clear, short = log_e_values(passes, cases, line)
    lower, upper = lower_bound(passes, cases, threshold), upper_bound(passes, cases, threshold)
    return float(clear), float(short), float(lower), float(upper), cases_needed(passes, cases, line, threshold)


def _measure_scores(evidence: Evidence, line: float, threshold: float) -> _Measured:
    return _measured_tally(evidence.tally, line, threshold)


@lru_cache(maxsize=2048)
def _measured_tally(tally: Tally, line: float, threshold: float) -> _Measured:
    scores, counts = zip(*tally, strict=True)
    clear, short = log_e_values_scores(scores, line, counts=counts)
    lower = lower_bound_scores(scores, threshold, counts=counts)
    upper = upper_bound_scores(scores, threshold, counts=counts)
    return clear, short, lower, upper, cases_needed_scores(scores, line, threshold, counts=counts)


def _status(evidence: Evidence, ln_e_clear: float, ln_e_short: float, threshold: float) -> Status:
    if not evidence.cases:
        return "no_evidence"
    if evidence.too_many_left_out:
        return "not_enough_evidence"
    if ln_e_short >= threshold:
        return "falls_short"
    if ln_e_clear >= threshold and evidence.cases >= MIN_CASES:
        return "clears"
    return "not_enough_evidence"


def _reason(evidence: Evidence, status: Status, line: float, needed: CasesNeeded) -> str:
    """Why, in a plain sentence for both audiences."""
    cases, all_cases = evidence.cases, evidence.cases + evidence.left_out
    if not cases:
        if evidence.left_out:
            return f"none of {evidence.left_out:,} cases ended with a verdict"
        if evidence.history_results:
            return f"no case in the latest epoch; {evidence.history_results:,} older results are history"
        return "no case has been run"
    rate = percent(evidence.passes / cases)
    result = (
        f"{evidence.passes:,.0f} of {cases:,} cases passed ({rate})"
        if evidence.is_pass_fail
        else f"mean score {rate} over {cases:,} cases"
    )
    if evidence.too_many_left_out:
        share = percent(evidence.left_out / all_cases)
        return f"{evidence.left_out:,} of {all_cases:,} cases ({share}) have no verdict; {needed.reason}"
    line_words = f"the line of {percent_as_set(line)}"
    if status == "falls_short":
        return f"{result}: shown to be below {line_words}"
    if status == "clears":
        return f"{result}: shown to be above {line_words}"
    ahead = "" if needed.side is None or needed.cases is None else f", to {_SIDE_TEXT[needed.side]}"
    return f"{result}: not shown to be above or below {line_words}; {needed.reason}{ahead}"


_SIDE_TEXT: dict[Side, str] = {"+": "show that it clears", "-": "show that it falls short"}
