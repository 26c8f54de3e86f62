"""What may serve a class, and why (methods.md §4.1).

An estate has as many pairs of class and model as it has of both, and only a few of them are ever read: a pair is judged
as a place in lists, and becomes an `Option` with its words when somebody asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from routing.core.coupling import ClassToChoose
from routing.core.levers import Lever, LeverCosts, LeverSet


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model for one class. `refusal` says why policy, region or retirement forbid it ('' = allowed).

    `counts_as_cheaper` is the one-sided 95 % test of methods.md §2; None = its factors are assumed, the point decides.
    `quality`: pass rate on its cases, None = unknown. `switch_usd`: the most a move to it costs once, as its cache is
    cold at first; a move that does not save that much in the window is none for money. `same_tokens`: what the tokens
    of a request cost on it over what they cost on the incumbent; None = not asked.
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
    switch_usd: Decimal = Decimal(0)
    same_tokens: Decimal | None = None


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
    failure decides. `low_usd`, `high_usd`: the cost at the ends of assumed tokens; None = measured, or no cost.
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
    low_usd: Decimal | None = None
    high_usd: Decimal | None = None

    @property
    def compared_usd(self) -> Decimal:
        """What models are compared by. Raises ValueError without a cost."""
        if self.unit_cost_usd is None:
            raise ValueError(f"{self.model} has no cost to compare")
        return self.unit_cost_usd + self.failures_usd


class _Choosable(NamedTuple):
    model: str
    cost_usd: Decimal
    quality: float | None
    failures_usd: Decimal


@dataclass(frozen=True, slots=True)
class Judged:
    """A class with its candidates judged, in the order of their names.

    `unit_costs_usd` (None = unknown), `may_serve` and `reasons` go with `candidates`; so does `failures_usd`, empty
    where no price of a failure decides. `own`: place of the incumbent. `ranked`: places of what may serve, cheapest
    first, ties to the incumbent and then by name. `levers`: those the costs are with.
    """

    problem: ClassProblem
    candidates: Sequence[Candidate]
    unit_costs_usd: Sequence[Decimal | None]
    may_serve: Sequence[bool]
    reasons: Sequence[str]
    failures_usd: Sequence[Decimal]
    own: int
    ranked: Sequence[int]
    levers: LeverSet = frozenset()

    def option(self, place: int) -> Option:
        """The candidate at a place, in words."""
        candidate = self.candidates[place]
        ends = candidate.costs.unit_cost_range_usd(self.levers) if candidate.costs is not None else None
        return Option(
            model=candidate.model,
            unit_cost_usd=self.unit_costs_usd[place],
            is_admissible=self.may_serve[place],
            reason=self.reasons[place],
            cost_source=candidate.cost_source,
            verdict=candidate.verdict,
            verdict_text=candidate.verdict_text,
            is_stale=candidate.is_stale,
            failures_usd=self.failures_usd[place] if self.failures_usd else Decimal(0),
            low_usd=ends[0] if ends is not None else None,
            high_usd=ends[1] if ends is not None else None,
        )

    def place(self, model: str) -> int:
        """Where a model is among the candidates. Raises StopIteration where it is none of them."""
        return next(place for place, candidate in enumerate(self.candidates) if candidate.model == model)

    def known_cost_usd(self, place: int) -> Decimal:
        """Cost of a unit at a place that has one, as every ranked place and the incumbent's do."""
        cost = self.unit_costs_usd[place]
        assert cost is not None
        return cost

    def is_eaten_by_its_switch(self, place: int) -> bool:
        """Whether a cheaper model saves less in the window than the cold cache after the move costs at most."""
        once = self.candidates[place].switch_usd
        if not once:
            return False
        saving = self.problem.units * (self.known_cost_usd(self.own) - self.known_cost_usd(place))
        return 0 < saving <= once

    def to_choose(self) -> ClassToChoose:
        """What may serve the class when all are chosen together.

        A move for money must count as cheaper and earn its switch; one away from a model that may not serve is not
        for money.
        """
        problem, own, now = self.problem, self.own, self.known_cost_usd(self.own)
        known, costs = self.candidates, self.unit_costs_usd
        allowed: Sequence[int] = self.ranked
        if self.may_serve[own]:
            allowed = [
                place
                for place in self.ranked
                if place == own
                or (known[place].counts_as_cheaper is not False and not self.is_eaten_by_its_switch(place))
                or self.known_cost_usd(place) >= now
            ]
        units, failures = problem.units, self.failures_usd
        # An incumbent below its bar and nothing that clears: it stays, and is listed so.
        choosable = [
            _Choosable(
                known[place].model,
                units * (costs[place] or 0),
                known[place].quality,
                units * failures[place] if failures else Decimal(0),
            )
            for place in allowed or [own]
        ]
        volume = units if problem.volume is None else problem.volume
        return ClassToChoose(problem.request_class, volume, problem.incumbent, choosable)


def judged(problem: ClassProblem, levers: Sequence[Lever]) -> Judged:
    """Every candidate of a class judged. Raises ValueError where its incumbent has no cost."""
    priced = frozenset(levers) - {"routing"}  # which chose the model: once here, not for every candidate
    candidates: Sequence[Candidate] = problem.candidates
    names = [candidate.model for candidate in candidates]
    if names != sorted(names):
        candidates = sorted(candidates, key=lambda candidate: candidate.model)
        names.sort()
    own = names.index(problem.incumbent)
    costs = [None if each.costs is None else each.costs.by_levers[priced] for each in candidates]
    if costs[own] is None:
        raise ValueError(f"{problem.request_class}: no cost for its incumbent {problem.incumbent}")
    some_clears = not problem.is_protected and any(
        each.verdict == "clears" and not each.is_stale and not each.refusal and cost is not None
        for each, cost, model in zip(candidates, costs, names, strict=True)
        if model != problem.incumbent
    )
    found = [_judge(each, cost, problem, some_clears) for each, cost in zip(candidates, costs, strict=True)]
    may_serve = [allowed for allowed, _ in found]
    failures = _failures(candidates, may_serve, own, problem)
    compared = [
        (cost + failures[place] if failures else cost, place != own, place)
        for place, cost in enumerate(costs)
        if cost is not None and may_serve[place]
    ]
    compared.sort()
    return Judged(
        problem=problem,
        candidates=candidates,
        unit_costs_usd=costs,
        may_serve=may_serve,
        reasons=[reason for _, reason in found],
        failures_usd=failures,
        own=own,
        ranked=[place for *_, place in compared],
        levers=priced,
    )


def _failures(
    candidates: Sequence[Candidate], may_serve: Sequence[bool], own: int, problem: ClassProblem
) -> Sequence[Decimal]:
    """What failures cost per unit on each candidate; empty where one that may serve has no known pass rate.

    A failure is one of a request: units that are tokens cannot be compared by it.
    """
    priced = problem.failure_usd
    if not priced or problem.unit_name != "request":
        return ()
    if any(each.quality is None and (may_serve[place] or place == own) for place, each in enumerate(candidates)):
        return ()
    return [Decimal(0) if each.quality is None else (1 - Decimal(str(each.quality))) * priced for each in candidates]


def _judge(
    candidate: Candidate, cost: Decimal | None, problem: ClassProblem, some_candidate_clears: bool
) -> tuple[bool, str]:
    """Admissible or not, and why, in words (methods.md §4.1)."""
    if candidate.refusal:
        return False, candidate.refusal
    if cost is None:
        return False, candidate.cost_source
    if candidate.model == problem.incumbent:
        if candidate.verdict == "falls_short" and some_candidate_clears:
            return False, "serves the class now and is below its bar"
        return True, "serves the class now"
    if problem.is_protected:
        return False, "the class is protected: its owner moves it"
    if candidate.is_excepted:
        return True, "an owner's dated exception allows it"
    if candidate.verdict == "clears" and candidate.is_stale:
        return False, f"{candidate.verdict_text}: no new move may start on stale evidence"
    return candidate.verdict == "clears", candidate.verdict_text
