"""The verdict of a candidate against the line of its class (methods.md §3.3, §3.5)."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal

from billing.core.words import percent, percent_as_set
from routing.core.decisions import Measured, Status, measure
from routing.core.evalues import METHOD, MIN_CASES, Side, log_threshold
from routing.core.evidence import CaseResult, Evidence, Metric, Tally, cases_of_epoch, too_many_left_out
from routing.core.freshness import NO_CHANGES, ModelChanges, StaleReason, stale_reasons
from routing.core.paired import Paired, paired

STATUS_TEXT: dict[Status, str] = {
    "clears": "Clears the bar",
    "falls_short": "Below the bar",
    "not_enough_evidence": "Not enough evidence",
    "no_evidence": "No evidence",
}


Standard = Literal["absolute", "not_worse", "both"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the cases of one candidate show, and everything the decision rests on.

    `passes` is the sum of case scores; `pass_rate` None without cases; `lower` None before 30 cases (shown as "–").
    `ln_e_clear` and `ln_e_short` are compared with ln(candidates / alpha). `cases_needed` is 0 once decided and None
    where no figure can be given (`reason` says why); `side` tells which decision it would be (+ clears, − falls short).
    `standard` "absolute" judges against the line, "not_worse" by `paired` alone, "both" by both. `repeats`: scores of
    cases that were run again in a later import, which add no evidence. `bar_version`: of the bar it was judged by, 0
    where that has none. `stale`: some of the `stale_reasons` lets no new move start on it.
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
    standard: Standard = "absolute"
    paired: Paired | None = None
    repeats: Tally = ()
    margin: float | None = None
    metric: Metric = "pass_rate"
    min_cases: int = MIN_CASES
    bar_version: int = 0
    stale_reasons: tuple[StaleReason, ...] = ()

    @property
    def shown_line(self) -> float | None:
        """The line to draw; None where a comparison alone is asked for."""
        return None if self.standard == "not_worse" else self.line

    @property
    def stale_text(self) -> str:
        """Why it is stale, or what else moved since the evidence; '' where nothing did."""
        return "; ".join(reason.text for reason in self.stale_reasons)

    @property
    def repeated_cases(self) -> int:
        """Cases that were run again; only their first scores count."""
        return sum(count for _, count in self.repeats)

    @property
    def repeated_rate(self) -> float | None:
        """Mean score of the later runs of those cases; None where none was run again."""
        cases = self.repeated_cases
        return math.fsum(score * count for score, count in self.repeats) / cases if cases else None

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
        """What must be shown: '93% (bar 95%, tolerance 2 points)', and how it must compare with what serves."""
        return asked_text(self.standard, self.line, self.bar, self.tolerance, self.margin)

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


def points(share: float | Decimal) -> str:
    """A difference of shares in words: 0.03 as "3 points".

    >>> points(Decimal("0.01")), points(0.025)
    ('1 point', '2.5 points')
    """
    number = percent_as_set(share).removesuffix("%")
    return "1 point" if number == "1" else f"{number} points"


def asked_text(
    standard: Standard,
    line: float,
    bar: float | Decimal,
    tolerance: float | Decimal,
    margin: float | Decimal | None,
) -> str:
    """What a bar asks of a model, in words.

    >>> asked_text("both", 0.93, 0.95, 0.02, 0.03)
    '93% (bar 95%, tolerance 2 points), and at most 3 points below the model that serves'
    """
    own = f"{percent_as_set(line)} (bar {percent_as_set(bar)}, tolerance {points(tolerance)})"
    if standard == "absolute" or margin is None:
        return own
    compared = f"at most {points(margin)} below the model that serves"
    return compared if standard == "not_worse" else f"{own}, and {compared}"


def judge(
    evidence: Evidence,
    *,
    bar: float | Decimal = 0.95,
    tolerance: float | Decimal = 0.02,
    alpha: float | Decimal = 0.05,
    candidates: int = 1,
    as_of: datetime | None = None,
    max_age_days: int = 90,
    min_cases: int = MIN_CASES,
    standard: Standard = "absolute",
    margin: float | Decimal | None = None,
    is_incumbent: bool = False,
    metric: Metric = "pass_rate",
    bar_version: int = 0,
    changes: ModelChanges = NO_CHANGES,
) -> Verdict:
    """The verdict on one candidate (methods.md §3.3): falls short, else clears (n ≥ 30), else not enough evidence.

    `candidates` is K, 1 for the incumbent. Without `as_of` nothing is stale. A `standard` other than "absolute" needs a
    `margin` (methods.md §3.4); the incumbent, with which the others are compared, is held to the line alone, and where
    there is no line ("not_worse") it clears. Raises ValueError for a line outside (0, 1), alpha or a margin outside
    (0, 1), K < 1, or a standard without its margin.

    >>> verdict = judge(Evidence.of_counts(146, 150))
    >>> verdict.text, verdict.line_text
    ('Not enough evidence · 74 more cases', '93% (bar 95%, tolerance 2 points)')
    """
    line = line_of(bar, tolerance)
    threshold = log_threshold(float(alpha), candidates)
    measured = measure(evidence, line, threshold, max(min_cases, MIN_CASES))
    newest, cases = evidence.newest_case_at, evidence.cases
    reasons = () if as_of is None else _stale_reasons(evidence, as_of, max_age_days, changes)
    verdict = Verdict(
        candidate=evidence.candidate,
        status=measured.status,
        stale=any(reason.blocks for reason in reasons),
        passes=evidence.passes,
        cases=cases,
        left_out=evidence.left_out,
        excluded=evidence.excluded,
        pass_rate=evidence.passes / cases if cases else None,
        lower=measured.lower if cases >= MIN_CASES else None,
        upper=measured.upper,
        line=line,
        bar=float(bar),
        tolerance=float(tolerance),
        alpha=float(alpha),
        candidates=candidates,
        ln_e_clear=measured.ln_e_clear,
        ln_e_short=measured.ln_e_short,
        cases_needed=measured.needed.cases,
        side=measured.needed.side,
        reason=_reason(evidence, measured, line, threshold, max(min_cases, MIN_CASES)),
        method=METHOD,
        newest_case_at=newest,
        epoch=evidence.epoch,
        suites=evidence.suites,
        standard=standard,
        repeats=evidence.repeats,
        margin=None if margin is None else float(margin),
        metric=metric,
        min_cases=max(min_cases, MIN_CASES),
        bar_version=bar_version,
        stale_reasons=reasons,
    )
    if standard == "absolute":
        return verdict
    if margin is None:
        raise ValueError(f"the standard {standard!r} needs a margin: by how much a model may be worse")
    if is_incumbent:
        return _as_reference(verdict) if standard == "not_worse" else verdict
    return _joined(verdict, paired(evidence, margin=margin, threshold=threshold, min_cases=min_cases))


def _stale_reasons(
    evidence: Evidence, as_of: datetime, max_age_days: int, changes: ModelChanges
) -> tuple[StaleReason, ...]:
    return stale_reasons(
        newest_case_at=evidence.newest_case_at,
        snapshots=evidence.snapshots,
        as_of=as_of,
        max_age_days=max_age_days,
        changes=changes,
        recount=evidence.recount,
    )


def _as_reference(verdict: Verdict) -> Verdict:
    """The incumbent where only the comparison with it counts: there is no line it could miss."""
    if not verdict.cases:
        return verdict
    reason = "serves the class now: the others are compared with it on the same cases"
    return replace(verdict, status="clears", cases_needed=0, side=None, reason=reason)


def _joined(verdict: Verdict, found: Paired) -> Verdict:
    """The verdict with the comparison: clears only if all that is asked for clears, falls short if one does."""
    if verdict.standard == "not_worse":
        statuses: tuple[Status, ...] = (found.status,)
    else:
        statuses = (verdict.status, found.status)
    worst: tuple[Status, ...] = ("falls_short", "not_enough_evidence", "no_evidence")
    status: Status = next((each for each in worst if each in statuses), "clears")
    if status == "no_evidence" and verdict.cases:
        status = "not_enough_evidence"
    needed = _needed_of_both(verdict, found)
    reason = found.text
    return replace(
        verdict,
        status=status,
        paired=found,
        cases_needed=0 if status in {"clears", "falls_short"} else needed,
        side=found.side if verdict.standard == "not_worse" else verdict.side,
        reason=reason if verdict.standard == "not_worse" else f"{verdict.reason}. {reason}",
    )


def _needed_of_both(verdict: Verdict, found: Paired) -> int | None:
    """Cases that would decide both; None where one cannot be given."""
    asked = [found.cases_needed] if verdict.standard == "not_worse" else [verdict.cases_needed, found.cases_needed]
    known = [each for each in asked if each is not None]
    return max(known) if len(known) == len(asked) else None


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
    min_cases: int = MIN_CASES,
    standard: Standard = "absolute",
    margin: float | Decimal | None = None,
    suites: Collection[str] = (),
    metric: Metric = "pass_rate",
) -> dict[str, Verdict]:
    """The verdict on every model of one class, as of a time: only cases run before it count.

    α is shared by the candidates of the evaluation plan, the incumbent not counted and itself judged with K = 1;
    without a plan by the models other than the incumbent that ever had a case (methods.md §3.1). A model outside the
    plan is judged with every such model counted in, so it never gets a larger share than a planned one. Models of the
    plan and the incumbent are in the answer even when they have no case.
    """
    evidence = cases_of_epoch(results, as_of=as_of, incumbent=incumbent, suites=suites, metric=metric)
    return judge_evidence(
        evidence,
        incumbent=incumbent,
        plan=plan,
        bar=bar,
        tolerance=tolerance,
        alpha=alpha,
        as_of=as_of,
        max_age_days=max_age_days,
        min_cases=min_cases,
        standard=standard,
        margin=margin,
        metric=metric,
    )


def judge_evidence(
    evidence: Mapping[str, Evidence],
    *,
    incumbent: str | None,
    plan: Sequence[str] = (),
    bar: float | Decimal = 0.95,
    tolerance: float | Decimal = 0.02,
    alpha: float | Decimal = 0.05,
    as_of: datetime,
    max_age_days: int = 90,
    min_cases: int = MIN_CASES,
    standard: Standard = "absolute",
    margin: float | Decimal | None = None,
    metric: Metric = "pass_rate",
    bar_version: int = 0,
    changes: Mapping[str, ModelChanges] | None = None,
) -> dict[str, Verdict]:
    """The same from evidence already gathered (differences against this incumbent)."""
    missing = {*plan, *([incumbent] if incumbent else [])} - evidence.keys()
    found = {**evidence, **{model: Evidence(model) for model in missing}}
    others = found.keys() - {incumbent}
    planned = set(plan) - {incumbent}
    return {
        model: judge(
            one,
            bar=bar,
            tolerance=tolerance,
            alpha=alpha,
            candidates=1 if model == incumbent else len(planned) if model in planned else max(len(others), 1),
            as_of=as_of,
            max_age_days=max_age_days,
            min_cases=min_cases,
            standard=standard,
            margin=margin,
            is_incumbent=model == incumbent,
            metric=metric,
            bar_version=bar_version,
            changes=(changes or {}).get(model, NO_CHANGES),
        )
        for model, one in sorted(found.items())
    }


def _reason(evidence: Evidence, measured: Measured, line: float, threshold: float, min_cases: int) -> str:
    """Why, in a plain sentence for both audiences."""
    status, needed = measured.status, measured.needed
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
    if measured.ln_e_clear >= threshold and cases < min_cases:
        return (
            f"{result}: above {line_words} so far, but nothing clears here before {min_cases:,} cases; {needed.reason}"
        )
    ahead = "" if needed.side is None or needed.cases is None else f", to {_SIDE_TEXT[needed.side]}"
    return f"{result}: not shown to be above or below {line_words}; {needed.reason}{ahead}"


_SIDE_TEXT: dict[Side, str] = {"+": "show that it clears", "-": "show that it falls short"}
