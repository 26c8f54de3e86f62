"""What may serve a class, and why (methods.md §4.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from routing.core.coupling import ClassToChoose
from routing.core.levers import Lever, LeverCosts, LeverSet


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model for one class. `refusal` says why policy, region or retirement forbid it ('' = allowed).

    `counts_as_cheaper` is the one-sided 95 % test of methods.md §2; None = its factors are assumed, the point decides.
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
    `is_protected`: its owner wants no move recommended.
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

    def candidate(self, model: str) -> Candidate:
        return next(candidate for candidate in self.candidates if candidate.model == model)


@dataclass(frozen=True, slots=True)
class Option:
    """A candidate as judged: may it serve the class, at what unit cost, and in which words."""

    model: str
    unit_cost_usd: Decimal | None
    is_admissible: bool
    reason: str
    cost_source: str
    verdict: str
    verdict_text: str
    is_stale: bool


@dataclass(frozen=True, slots=True)
class _Choosable:
    model: str
    cost_usd: Decimal
    quality: float | None


@dataclass(frozen=True, slots=True)
class Judged:
    """A class with its options judged; `ranked` are the admissible ones, cheapest first."""

    problem: ClassProblem
    options: tuple[Option, ...]
    incumbent: Option
    ranked: tuple[Option, ...]

    def to_choose(self) -> ClassToChoose:
        """What may serve the class when all are chosen together: a move for money must count as cheaper."""
        problem, now = self.problem, self.incumbent.unit_cost_usd
        assert now is not None
        choosable = [
            _Choosable(option.model, problem.units * option.unit_cost_usd, problem.candidate(option.model).quality)
            for option in self.ranked
            if option.unit_cost_usd is not None
            and (
                option.model == problem.incumbent
                or option.unit_cost_usd >= now
                or problem.candidate(option.model).counts_as_cheaper is not False
            )
        ]
        if not choosable:  # an incumbent below its bar and nothing that clears: it stays, and is listed so
            choosable = [
                _Choosable(problem.incumbent, problem.units * now, problem.candidate(problem.incumbent).quality)
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
    ranked = sorted(
        (option for option in options if option.is_admissible and option.unit_cost_usd is not None),
        key=lambda option: (option.unit_cost_usd, option.model != problem.incumbent, option.model),
    )
    return Judged(problem, options, incumbent, tuple(ranked))


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
