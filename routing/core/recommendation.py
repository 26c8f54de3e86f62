"""Which model should serve each class: the cheapest that is shown to clear its bar (methods.md §4.1–4.2, §8.1–8.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import combinations
from typing import Literal

from routing.core.attribution import MICRO_USD, shapley, waterfall
from routing.core.levers import LEVERS, Lever, LeverCosts, LeverSet

Move = Literal["keep", "save", "restore_quality", "below_bar_nothing_to_move_to"]


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


@dataclass(frozen=True, slots=True)
class ClassProblem:
    """One class: how much of it there is in the window, what serves it, and what could."""

    request_class: str
    units: Decimal
    unit_name: str
    incumbent: str
    baseline: LeverCosts
    current_cost_usd: Decimal
    candidates: tuple[Candidate, ...]

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
class MissingEvidence:
    """What would be saved in the window if this model cleared the bar, and how many more cases that takes."""

    model: str
    saving_usd: Decimal
    cases_needed: int | None
    verdict_text: str


@dataclass(frozen=True, slots=True)
class ClassRecommendation:
    """The choice for one class. Costs are usd in the window; `costs[levers]` against the uniform baseline."""

    request_class: str
    units: Decimal
    unit_name: str
    incumbent: str
    target: str
    move: Move
    reason: str
    is_assumed: bool
    options: tuple[Option, ...]
    runner_up: Option | None
    costs: Mapping[LeverSet, Decimal]
    current_cost_usd: Decimal
    target_costs: LeverCosts
    missing_evidence: tuple[MissingEvidence, ...]

    @property
    def uniform_cost_usd(self) -> Decimal:
        return self.costs[frozenset()]

    @property
    def recommended_cost_usd(self) -> Decimal:
        return self.costs[max(self.costs, key=len)]

    @property
    def saving_usd(self) -> Decimal:
        """Against what the class costs now; negative where restoring quality costs money."""
        return self.current_cost_usd - self.recommended_cost_usd


@dataclass(frozen=True, slots=True)
class Unsolved:
    """A class nothing can be recommended for, with the reason (an absent estimate, never 0)."""

    request_class: str
    reason: str
    current_cost_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """All classes, and totals that are the exact sums of their rows."""

    levers: tuple[Lever, ...]
    classes: tuple[ClassRecommendation, ...]
    unsolved: tuple[Unsolved, ...] = field(default=())

    @property
    def costs(self) -> dict[LeverSet, Decimal]:
        """Total cost in usd for every lever set."""
        return {
            levers: sum((row.costs[levers] for row in self.classes), Decimal(0)) for levers in lever_sets(self.levers)
        }

    def waterfall(self) -> tuple[tuple[Lever, Decimal], ...]:
        return waterfall(self.costs, self.levers)

    def shapley(self) -> dict[Lever, Fraction]:
        """Sum over classes of the per-class split (equal to the split of the sums: the value is linear)."""
        total = dict.fromkeys(self.levers, Fraction(0))
        for row in self.classes:
            for lever, share in shapley(row.costs, self.levers).items():
                total[lever] += share
        return total


def lever_sets(levers: Sequence[Lever]) -> tuple[LeverSet, ...]:
    """Every subset of the levers, smallest first."""
    return tuple(frozenset(chosen) for size in range(len(levers) + 1) for chosen in combinations(levers, size))


def recommend(
    problems: Sequence[ClassProblem], *, levers: Sequence[Lever] = LEVERS, unsolved: Sequence[Unsolved] = ()
) -> Recommendation:
    """The policy of least expected cost such that every class is served by an admissible model.

    Without coupling between classes the choice is made class by class. Without the routing lever every class stays
    on its incumbent. Raises ValueError for a class whose incumbent has no cost.
    """
    chosen = tuple(lever for lever in LEVERS if lever in levers)
    return Recommendation(chosen, tuple(_recommend_class(problem, chosen) for problem in problems), tuple(unsolved))


def window_cost_usd(units: Decimal, unit_cost_usd: Decimal) -> Decimal:
    """Cost of the window, rounded to a micro-dollar once, before any difference is taken (methods.md §8.2)."""
    return (units * unit_cost_usd).quantize(MICRO_USD, rounding=ROUND_HALF_UP)


def _recommend_class(problem: ClassProblem, levers: tuple[Lever, ...]) -> ClassRecommendation:
    every = frozenset(levers)
    some_candidate_clears = any(
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
    target: Option = incumbent
    move: Move = "keep"
    reason = ""
    if "routing" in levers:
        target, move, reason = _choose(problem, incumbent, ranked)
    elif incumbent.verdict == "falls_short":
        reason = f"{incumbent.model} is below the bar; routing was not asked for"
    candidate = problem.candidate(target.model)
    assert candidate.costs is not None
    runner_up = next((option for option in ranked if option.model != target.model), None)
    return ClassRecommendation(
        request_class=problem.request_class,
        units=problem.units,
        unit_name=problem.unit_name,
        incumbent=problem.incumbent,
        target=target.model,
        move=move,
        reason=reason or f"{target.model} stays: no admissible model is cheaper",
        is_assumed=candidate.counts_as_cheaper is None and move != "keep",
        options=options,
        runner_up=runner_up,
        costs=_window_costs(problem, candidate.costs, levers),
        current_cost_usd=problem.current_cost_usd,
        target_costs=candidate.costs,
        missing_evidence=_missing_evidence(problem, options, target, every),
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


def _choose(problem: ClassProblem, incumbent: Option, ranked: Sequence[Option]) -> tuple[Option, Move, str]:
    """Cheapest admissible model; a move for money also needs to count as cheaper."""
    if not incumbent.is_admissible:
        if not ranked:
            return incumbent, "below_bar_nothing_to_move_to", f"{incumbent.reason}; no model clears the bar"
        best = ranked[0]
        return (
            best,
            "restore_quality",
            f"{incumbent.model} {incumbent.reason}; {best.model} is the cheapest that clears",
        )
    for option in ranked:
        if option.model == incumbent.model:
            break
        if problem.candidate(option.model).counts_as_cheaper is not False:
            return option, "save", f"{option.model} clears the bar and costs least per {problem.unit_name}"
    if incumbent.verdict == "falls_short":
        return incumbent, "below_bar_nothing_to_move_to", f"{incumbent.model} is below the bar; no model clears it"
    not_shown = [option.model for option in ranked if option.unit_cost_usd < incumbent.unit_cost_usd]  # type: ignore[operator]
    if not_shown:
        return incumbent, "keep", f"{', '.join(not_shown)} is not shown to be cheaper with 95% confidence"
    return incumbent, "keep", ""


def _window_costs(problem: ClassProblem, target: LeverCosts, levers: tuple[Lever, ...]) -> dict[LeverSet, Decimal]:
    costs = {}
    for chosen in lever_sets(levers):
        model_costs = target if "routing" in chosen else problem.baseline
        costs[chosen] = window_cost_usd(problem.units, model_costs.unit_cost_usd(chosen))
    return costs


def _missing_evidence(
    problem: ClassProblem, options: Sequence[Option], target: Option, levers: LeverSet
) -> tuple[MissingEvidence, ...]:
    """Cheaper models that only lack evidence, dearest gap first: what the next eval is worth.

    A model whose cost is measured and not shown to be lower would not be moved to even if it cleared: no case of it is
    worth anything.
    """
    rows = []
    for option in options:
        waits = option.verdict in {"not_enough_evidence", "no_evidence"} or option.is_stale
        candidate = problem.candidate(option.model)
        refused = bool(candidate.refusal) or candidate.counts_as_cheaper is False
        if option.is_admissible or refused or not waits or option.unit_cost_usd is None or target.unit_cost_usd is None:
            continue
        if option.unit_cost_usd < target.unit_cost_usd:
            saving = window_cost_usd(problem.units, target.unit_cost_usd - option.unit_cost_usd)
            rows.append(MissingEvidence(option.model, saving, candidate.cases_needed, option.verdict_text))
    return tuple(sorted(rows, key=lambda row: (-row.saving_usd, row.model)))
