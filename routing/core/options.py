"""What may serve a class, and why (methods.md §4.1)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from routing.core.coupling import ClassToChoose
from routing.core.levers import Lever, LeverCosts, LeverSet


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model for one class. `refusal` says why policy, region or retirement forbid it ('' = allowed).

    `counts_as_cheaper` is the one-sided 95 % test of methods.md §2; None = its factors are assumed, the point decides.
    `quality`: pass rate on its cases, None = unknown.
    """

    model: str
    costs: LeverCosts | None
    cost_source: str
    verdict: str
    is_stale: bool
    is_excepted: bool
    refusal: str
    counts_as_cheaper: bool | None
    cases_needed: int | None
    verdict_text: str
    quality: float | None = None


@dataclass(frozen=True, slots=True)
class ClassProblem:
    """One class: how much of it there is in the window, what serves it, and what could.

    `volume`: its weight among the classes, in one unit for all (requests where all are known); default `units`.
    `is_protected`: its owner wants no move recommended. `failure_usd`: what a failed answer costs (methods.md §2, φ);
    it decides between models, and is in no cost or saving.
    """

    request_class: str
    units: Decimal
    unit_name: str
    incumbent: str
    baseline: LeverCosts
    current_cost_usd: Decimal
    candidates: tuple[Candidate, ...]
    volume: Decimal | None = None
    is_protected: bool = False
    failure_usd: Decimal | None = None

    def candidate(self, model: str) -> Candidate:
        return next(candidate for candidate in self.candidates if candidate.model == model)


@dataclass(frozen=True, slots=True)
class Option:
    """A candidate as judged: may it serve the class, at what unit cost, and in which words.

    `failures_usd`: what its failed answers are expected to cost per unit, (1 − pass rate)·φ; 0 where no price of a
    failure decides.
    """

    model: str
    unit_cost_usd: Decimal | None
    is_admissible: bool
    reason: str
    cost_source: str
    verdict: str
    verdict_text: str
    is_stale: bool
    failures_usd: Decimal = Decimal(0)

    @property
    def compared_usd(self) -> Decimal:
        """What models are compared by. Raises ValueError without a cost."""
        if self.unit_cost_usd is None:
            raise ValueError(f"{self.model} has no cost to compare")
        return self.unit_cost_usd + self.failures_usd


@dataclass(frozen=True, slots=True)
class _Choosable:
    model: str
    cost_usd: Decimal
    quality: float | None
    failures_usd: Decimal


@dataclass(frozen=True, slots=True)
class Judged:
    """A class with its options judged; `ranked` are the admissible ones, cheapest first."""

    problem: ClassProblem
    options: tuple[Option, ...]
    incumbent: Option
    ranked: tuple[Option, ...]

    def to_choose(self) -> ClassToChoose:
        """What may serve the class when all are chosen together.

        A move for money must count as cheaper; one away from a model that may not serve is not for money.
        """
        problem, now = self.problem, self.incumbent.unit_cost_usd
        assert now is not None
        known = {candidate.model: candidate for candidate in problem.candidates}
        allowed = [
            option
            for option in self.ranked
            if option.unit_cost_usd is not None
            and (
                not self.incumbent.is_admissible
                or option.model == problem.incumbent
                or option.unit_cost_usd >= now
                or known[option.model].counts_as_cheaper is not False
            )
        ]
        # An incumbent below its bar and nothing that clears: it stays, and is listed so.
        choosable = [
            _Choosable(
                option.model,
                problem.units * (option.unit_cost_usd or Decimal(0)),
                known[option.model].quality,
                problem.units * option.failures_usd,
            )
            for option in allowed or [self.incumbent]
        ]
        volume = problem.units if problem.volume is None else problem.volume
        return ClassToChoose(problem.request_class, volume, problem.incumbent, choosable)


def judged(problem: ClassProblem, levers: Sequence[Lever]) -> Judged:
    """Every candidate of a class judged. Raises ValueError where its incumbent has no cost."""
    every = frozenset(levers)
    some_candidate_clears = not problem.is_protected and any(
        candidate.model != problem.incumbent and _clears(candidate) for candidate in problem.candidates
    )
    options = tuple(
        _judge(candidate, problem, every, some_candidate_clears=some_candidate_clears)
        for candidate in sorted(problem.candidates, key=lambda candidate: candidate.model)
    )
    incumbent = next(option for option in options if option.model == problem.incumbent)
    if incumbent.unit_cost_usd is None:
        raise ValueError(f"{problem.request_class}: no cost for its incumbent {problem.incumbent}")
    if problem.failure_usd:
        options = _with_failures(options, problem, problem.failure_usd)
        incumbent = next(option for option in options if option.model == problem.incumbent)
    ranked = sorted(
        (option for option in options if option.is_admissible and option.unit_cost_usd is not None),
        key=lambda option: (option.compared_usd, option.model != problem.incumbent, option.model),
    )
    return Judged(problem, options, incumbent, tuple(ranked))


def _with_failures(options: tuple[Option, ...], problem: ClassProblem, failure_usd: Decimal) -> tuple[Option, ...]:
    """The options with what their failures cost; unchanged where one that may serve has no known pass rate.

    A failure is one of a request: units that are tokens cannot be compared by it.
    """
    quality = {candidate.model: candidate.quality for candidate in problem.candidates}
    rivals = [option for option in options if option.is_admissible or option.model == problem.incumbent]
    if problem.unit_name != "request" or any(quality[option.model] is None for option in rivals):
        return options
    return tuple(
        option
        if (rate := quality[option.model]) is None
        else replace(option, failures_usd=(1 - Decimal(str(rate))) * failure_usd)
        for option in options
    )


def _clears(candidate: Candidate) -> bool:
    return (
        candidate.verdict == "clears"
        and not candidate.is_stale
        and not candidate.refusal
        and candidate.costs is not None
    )


def _judge(candidate: Candidate, problem: ClassProblem, levers: LeverSet, *, some_candidate_clears: bool) -> Option:
    """Admissible or not, and why, in words (methods.md §4.1)."""
    is_incumbent = candidate.model == problem.incumbent
    cost = candidate.costs.unit_cost_usd(levers) if candidate.costs is not None else None
    if candidate.refusal:
        admissible, reason = False, candidate.refusal
    elif cost is None:
        admissible, reason = False, candidate.cost_source
    elif is_incumbent and candidate.verdict == "falls_short" and some_candidate_clears:
        admissible, reason = False, "serves the class now and is below its bar"
    elif is_incumbent:
        admissible, reason = True, "serves the class now"
    elif problem.is_protected:
        admissible, reason = False, "the class is protected: its owner moves it"
    elif candidate.is_excepted:
        admissible, reason = True, "an owner's dated exception allows it"
    elif candidate.verdict != "clears":
        admissible, reason = False, candidate.verdict_text
    elif candidate.is_stale:
        admissible, reason = False, f"{candidate.verdict_text}: no new move may start on stale evidence"
    else:
        admissible, reason = True, candidate.verdict_text
    return Option(
        model=candidate.model,
        unit_cost_usd=cost,
        is_admissible=admissible,
        reason=reason,
        cost_source=candidate.cost_source,
        verdict=candidate.verdict,
        verdict_text=candidate.verdict_text,
        is_stale=candidate.is_stale,
    )
