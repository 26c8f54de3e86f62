"""Which model should serve each class: the cheapest that is shown to clear its bar (methods.md §4.1–4.2, §8.1–8.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import cache, cached_property
from itertools import combinations
from typing import Literal

from billing.core.words import percent, signed
from routing.core.attribution import MICRO_USD, shapley, waterfall
from routing.core.choice import frontier
from routing.core.coupling import Coupled, Limits, Part, couple, estate_of
from routing.core.levers import LEVERS, Lever, LeverCosts, LeverSet
from routing.core.options import ClassProblem, Judged, Option, judged

Move = Literal["keep", "save", "avoid_failures", "restore_quality", "limit", "below_bar_nothing_to_move_to"]
ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class MissingEvidence:
    """What would be saved in the window if this model cleared the bar, and how many more cases that takes."""

    model: str
    saving_usd: Decimal
    cases_needed: int | None
    verdict_text: str


@dataclass(frozen=True)
class ClassRecommendation:
    """The choice for one class. Costs are usd in the window; `costs[levers]` against the uniform baseline.

    Where a limit of the whole estate splits the class, `target` serves `target_share` of it and `split_with` the rest
    (at `split_costs`), and the costs are those of both. What explains the choice is made when it is first read.
    """

    request_class: str
    units: Decimal
    unit_name: str
    incumbent: str
    target: str
    move: Move
    reason: str
    is_assumed: bool
    current_cost_usd: Decimal
    target_costs: LeverCosts
    judged: Judged = field(repr=False)
    levers: tuple[Lever, ...]
    target_share: Decimal = Decimal(1)
    split_with: str = ""
    split_costs: LeverCosts | None = None

    @cached_property
    def options(self) -> tuple[Option, ...]:
        """Every candidate in words, by name."""
        return tuple(self.judged.option(place) for place in range(len(self.judged.candidates)))

    @cached_property
    def runner_up(self) -> Option | None:
        """The cheapest model that may serve besides the target."""
        row = self.judged
        return next((row.option(place) for place in row.ranked if row.candidates[place].model != self.target), None)

    @cached_property
    def costs(self) -> Mapping[LeverSet, Decimal]:
        """Cost of the window for every set of levers."""
        problem, share, rest = self.judged.problem, self.target_share, self.split_costs
        costs = {}
        for chosen in lever_sets(self.levers):
            unit = (self.target_costs if "routing" in chosen else problem.baseline).unit_cost_usd(chosen)
            if rest is not None and "routing" in chosen:
                unit = share * unit + (ONE - share) * rest.unit_cost_usd(chosen)
            costs[chosen] = window_cost_usd(problem.units, unit)
        return costs

    @cached_property
    def missing_evidence(self) -> tuple[MissingEvidence, ...]:
        """Cheaper models that only lack evidence, dearest gap first: what the next eval is worth.

        A model whose cost is measured and not shown to be lower would not be moved to even if it cleared: no case of it
        is worth anything.
        """
        row, problem = self.judged, self.judged.problem
        if problem.is_protected:
            return ()
        target_usd = row.known_cost_usd(row.place(self.target))
        rows = []
        for place, candidate in enumerate(row.candidates):
            waits = candidate.verdict in {"not_enough_evidence", "no_evidence"} or candidate.is_stale
            if row.may_serve[place] or not waits or candidate.refusal or candidate.counts_as_cheaper is False:
                continue
            cost = row.unit_costs_usd[place]
            if cost is not None and cost < target_usd:
                saving = window_cost_usd(problem.units, target_usd - cost)
                rows.append(MissingEvidence(candidate.model, saving, candidate.cases_needed, candidate.verdict_text))
        return tuple(sorted(rows, key=lambda row: (-row.saving_usd, row.model)))

    @property
    def uniform_cost_usd(self) -> Decimal:
        return self.costs[frozenset()]

    @property
    def recommended_cost_usd(self) -> Decimal:
        return self.costs[frozenset(self.levers)]

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
    coupled: Coupled | None = None

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
    return _lever_sets(tuple(levers))


@cache
def _lever_sets(levers: tuple[Lever, ...]) -> tuple[LeverSet, ...]:
    return tuple(frozenset(chosen) for size in range(len(levers) + 1) for chosen in combinations(levers, size))


def recommend(
    problems: Sequence[ClassProblem],
    *,
    levers: Sequence[Lever] = LEVERS,
    unsolved: Sequence[Unsolved] = (),
    limits: Limits | None = None,
) -> Recommendation:
    """The policy of least expected cost such that every class is served by an admissible model.

    Without limits of the whole estate the choice is made class by class. Without the routing lever every class stays
    on its incumbent. Limits that no policy keeps are named in `coupled.problem`, beside the choice without them. Raises
    ValueError for a class whose incumbent has no cost.
    """
    chosen = tuple(lever for lever in LEVERS if lever in levers)
    rows = [judged(problem, chosen) for problem in problems]
    coupled = None
    if limits is not None and not limits.is_empty and "routing" in chosen and rows:
        coupled = couple([row.to_choose() for row in rows], limits)
    parts = coupled.parts if coupled is not None and not coupled.problem else {}
    classes = tuple(_recommended(row, chosen, parts.get(row.problem.request_class, ())) for row in rows)
    return Recommendation(chosen, classes, tuple(unsolved), coupled)


def estate_frontier(problems: Sequence[ClassProblem], *, levers: Sequence[Lever] = LEVERS) -> "EstateFrontier":
    """The cost–quality frontier over what may serve each class now; empty without a class of known quality."""
    rows = [judged(problem, tuple(lever for lever in LEVERS if lever in levers)) for problem in problems]
    if not rows:
        return EstateFrontier((), (), 0.0)
    estate, models = estate_of([row.to_choose() for row in rows])
    rated = estate.is_rated
    corners = []
    for point in frontier(estate):
        moved = "" if point.moved is None else rows[point.moved].problem.request_class
        before, after = ("" if at is None else models[at] for at in (point.before, point.after))
        corners.append(FrontierCorner(point.cost_usd, point.quality, moved, before, after))
    unrated = tuple(row.problem.request_class for row, is_rated in zip(rows, rated, strict=True) if not is_rated)
    share = float(estate.requests[rated].sum() / estate.requests.sum())
    return EstateFrontier(tuple(corners), unrated, share)


@dataclass(frozen=True, slots=True)
class FrontierCorner:
    """A policy on the frontier: cost of the window (usd, an estimate), mean quality, and the move that leads to it."""

    cost_usd: float
    quality: float
    request_class: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class EstateFrontier:
    """Corners from the cheapest policy to the best. `unrated`: classes with a model of unknown quality, left out of the
    mean but not of the cost; the others are `rated_share` of the volume."""

    corners: tuple[FrontierCorner, ...]
    unrated: tuple[str, ...]
    rated_share: float


def window_cost_usd(units: Decimal, unit_cost_usd: Decimal) -> Decimal:
    """Cost of the window, rounded to a micro-dollar once, before any difference is taken (methods.md §8.2)."""
    return (units * unit_cost_usd).quantize(MICRO_USD, rounding=ROUND_HALF_UP)


def _recommended(row: Judged, levers: tuple[Lever, ...], parts: Sequence[Part]) -> ClassRecommendation:
    problem, target = row.problem, row.own
    move: Move = "keep"
    reason = ""
    if "routing" in levers:
        target, move, reason = _choose(row)
    elif row.candidates[row.own].verdict == "falls_short":
        reason = f"{problem.incumbent} is below the bar; routing was not asked for"
    share, rest = ONE, None
    if parts and (parts[0].model != row.candidates[target].model or len(parts) > 1):
        target, move, reason, share, rest = _coupled_choice(row, target, move, parts)
    chosen, other = row.candidates[target], None if rest is None else row.candidates[rest]
    assert chosen.costs is not None
    return ClassRecommendation(
        request_class=problem.request_class,
        units=problem.units,
        unit_name=problem.unit_name,
        incumbent=problem.incumbent,
        target=chosen.model,
        move=move,
        reason=reason or f"{chosen.model} stays: no admissible model is cheaper",
        is_assumed=chosen.counts_as_cheaper is None and move != "keep",
        current_cost_usd=problem.current_cost_usd,
        target_costs=chosen.costs,
        judged=row,
        levers=levers,
        target_share=share,
        split_with="" if other is None else other.model,
        split_costs=None if other is None else other.costs,
    )


Choice = tuple[int, Move, str]  # place of the target, what the move is for, why


def _coupled_choice(
    row: Judged, alone: int, move: Move, parts: Sequence[Part]
) -> tuple[int, Move, str, Decimal, int | None]:
    """The choice where a limit of the whole estate asks for another than the class's own best, and why.

    The target is the model that is moved to: where the incumbent keeps a part, it is the other one.
    """
    incumbent, own_best = row.problem.incumbent, row.candidates[alone].model
    kept = next((part for part in parts if part.model == incumbent), None)
    moved = [part for part in parts if part.model != incumbent]
    if not moved:
        return row.own, "keep", f"{own_best} would cost less, but a limit of the whole estate binds", ONE, None
    first, other = moved[0], kept or (moved[1] if len(moved) > 1 else None)
    move = move if move != "keep" else "limit"
    if other is None:
        reason = f"a limit of the whole estate asks for {first.model} instead of {own_best}"
        return row.place(first.model), move, reason, ONE, None
    reason = f"a limit of the whole estate splits the class: {percent(first.share)} on {first.model}"
    return row.place(first.model), move, reason, first.share, row.place(other.model)


def _choose(row: Judged) -> Choice:
    """Cheapest admissible model; a move for money also needs to count as cheaper."""
    problem, own, known = row.problem, row.own, row.candidates
    if not row.may_serve[own]:
        if not row.ranked:
            return own, "below_bar_nothing_to_move_to", f"{row.reasons[own]}; no model clears the bar"
        best = row.ranked[0]
        reason = f"{problem.incumbent} {row.reasons[own]}; {known[best].model} is the cheapest that clears"
        return best, "restore_quality", reason
    now = row.known_cost_usd(own)
    for place in row.ranked:
        if place == own:
            break
        if row.known_cost_usd(place) >= now:  # ranked first only by what its failures cost less
            return place, "avoid_failures", _fewer_failures(row, place)
        if known[place].counts_as_cheaper is not False and not row.is_eaten_by_its_switch(place):
            return place, "save", f"{known[place].model} clears the bar and costs least per {problem.unit_name}"
    if known[own].verdict == "falls_short":
        reason = f"{problem.incumbent} is below the bar; no model clears it"
        return own, "below_bar_nothing_to_move_to", reason
    return own, "keep", _why_not_cheaper(row, now)


def _why_not_cheaper(row: Judged, now: Decimal) -> str:
    """Why no model that may serve and has a lower unit cost, or a lower price, is moved to; '' where there is none."""
    cheaper = [place for place in row.ranked if row.known_cost_usd(place) < now]
    unshown = [row.candidates[place].model for place in cheaper if row.candidates[place].counts_as_cheaper is False]
    eaten = [
        row.candidates[place]
        for place in cheaper
        if row.candidates[place].counts_as_cheaper is not False and row.is_eaten_by_its_switch(place)
    ]
    reasons = [f"{', '.join(unshown)} is not shown to be cheaper with 95% confidence"] if unshown else []
    reasons += [
        f"a move to {each.model} loses money: its cache is cold at first, which costs up to "
        f"{signed(each.switch_usd, 2)} usd once, more than the move saves in the window"
        for each in eaten
    ]
    return "; ".join([*reasons, *_dearer_per_unit(row, now)])


def _dearer_per_unit(row: Judged, now: Decimal) -> list[str]:
    """Models that clear and whose tokens cost less, but that take so many more that a unit costs more."""
    found = []
    for place in row.ranked:
        model, cost = row.candidates[place], row.known_cost_usd(place)
        if place != row.own and model.same_tokens is not None and model.same_tokens < 1 and cost >= now > 0:
            found.append(
                f"{model.model} clears the bar and the same tokens cost {signed(model.same_tokens, 2)}× on it, but a "
                f"{row.problem.unit_name} costs {signed(cost / now, 2)}× as much with the tokens and levers it takes"
            )
    return found


def _fewer_failures(row: Judged, place: int) -> str:
    """Why a model that costs more money is the better choice where a failure has a price."""
    more = row.known_cost_usd(place) - row.known_cost_usd(row.own)
    fewer = row.failures_usd[row.own] - row.failures_usd[place]
    return (
        f"{row.candidates[place].model} costs {signed(more, 5)} usd more a request, and its failures "
        f"{signed(fewer, 5)} usd less at the price the class puts on one"
    )
