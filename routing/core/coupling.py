"""What couples the classes of an estate, laid over the choice of each class (methods.md §4.3–4.4).

`routing.core.choice` finds the shares on arrays; here the classes and models get their names back, and the shares
become exact decimals that a policy can state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, Decimal
from itertools import combinations
from typing import Protocol

import numpy as np

from billing.core.words import percent
from routing.core.choice import Choice, Constraints, Estate, Infeasible, choose

BASIS_POINT = Decimal("0.0001")  # the unit a policy states a share in


@dataclass(frozen=True, slots=True)
class Limits:
    """What the estate as a whole has to keep. Shares and pass rates in 0 … 1; None or empty = no such limit."""

    quality_floor: Decimal | None = None
    move_share: Decimal | None = None
    model_caps: Mapping[str, Decimal] = field(default_factory=dict)
    is_whole: bool = False

    @property
    def is_empty(self) -> bool:
        return self.quality_floor is None and self.move_share is None and not self.model_caps

    def without(self, name: str) -> "Limits":
        """The other limits: `name` as in `LimitCost` ("quality_floor", "move_share", "model_cap:<model>")."""
        kind, _, model = name.partition(":")
        return replace(
            self,
            quality_floor=None if kind == "quality_floor" else self.quality_floor,
            move_share=None if kind == "move_share" else self.move_share,
            model_caps={other: cap for other, cap in self.model_caps.items() if other != model},
        )


class Choosable(Protocol):
    """One model a class may be served by: its cost in the window (usd), its pass rate (None = unknown).

    `failures_usd`: what its failures are priced at in the window (φ); it decides, and is in no cost that is shown.
    """

    @property
    def model(self) -> str: ...
    @property
    def cost_usd(self) -> Decimal: ...
    @property
    def quality(self) -> float | None: ...
    @property
    def failures_usd(self) -> Decimal: ...


@dataclass(frozen=True, slots=True)
class ClassToChoose:
    """One class: its volume (> 0, the same unit for all classes), what serves it, and what may serve it."""

    request_class: str
    volume: Decimal
    incumbent: str
    choosable: Sequence[Choosable]


@dataclass(frozen=True, slots=True)
class Part:
    """A model and the share of the class's requests it serves."""

    model: str
    share: Decimal


@dataclass(frozen=True, slots=True)
class LimitCost:
    """A limit that binds, in words, and what it costs in the window, in usd of money and priced failures.

    `usd_per_point`: what one more point of it would save, at the margin. `usd`: what the estate would save without it,
    the other limits kept; limits that bind together may each cost less than both.
    """

    name: str
    text: str
    usd_per_point: float
    usd: float


@dataclass(frozen=True, slots=True)
class Coupled:
    """The shares per class, the largest first, and what the limits do to the estate.

    `quality`: volume-weighted pass rate over the classes where it is known (`rated_share` of the volume), None without
    any. `unlimited_cost_usd`: an estimate of the same without limits. `problem`: why no policy keeps the limits; then
    the shares are those without limits.
    """

    parts: Mapping[str, tuple[Part, ...]]
    limits: Limits
    binding: tuple[LimitCost, ...]
    quality: float | None
    unlimited_quality: float | None
    rated_share: float
    moved_share: float
    cost_usd: float
    unlimited_cost_usd: float
    problem: str = ""


def couple(classes: Sequence[ClassToChoose], limits: Limits) -> Coupled:
    """The policy of least expected cost that keeps the limits, as named shares.

    A class is served by at most two models, as a policy states a target and a baseline. Shares are whole basis
    points, rounded towards the model with the larger share, so a limit may be missed by less than one basis point of
    one class. Raises ValueError for an empty estate.
    """
    if not classes:
        raise ValueError("there is no class to choose for")
    models = sorted({each.model for row in classes for each in row.choosable} | {row.incumbent for row in classes})
    paid = _estate(classes, models, with_failures=False)
    has_failures = any(each.failures_usd for row in classes for each in row.choosable)
    estate = _estate(classes, models, with_failures=True) if has_failures else paid
    free = choose(estate)
    problem = ""
    try:
        found = _at_most_two(estate, _constraints(limits, models))
    except Infeasible as error:
        found, problem = free, _named(str(error), models)
    rated = estate.requests[estate.is_rated].sum() / estate.requests.sum()
    return Coupled(
        parts=_parts(found, classes, models),
        limits=limits,
        binding=() if problem else _binding(found, estate, limits, models),
        quality=found.quality(estate),
        unlimited_quality=free.quality(estate),
        rated_share=float(rated),
        moved_share=found.moved_share(estate),
        cost_usd=found.cost_usd(paid),
        unlimited_cost_usd=free.cost_usd(paid),
        problem=problem,
    )


def estate_of(classes: Sequence[ClassToChoose]) -> tuple[Estate, tuple[str, ...]]:
    """The classes as arrays in money alone, and the models their columns stand for."""
    models = sorted({each.model for row in classes for each in row.choosable} | {row.incumbent for row in classes})
    return _estate(classes, models, with_failures=False), tuple(models)


def _estate(classes: Sequence[ClassToChoose], models: Sequence[str], *, with_failures: bool) -> Estate:
    column = {model: number for number, model in enumerate(models)}
    places = np.array([number for number, row in enumerate(classes) for _ in row.choosable], dtype=np.intp)
    pairs = [each for row in classes for each in row.choosable]
    columns = np.array([column[each.model] for each in pairs], dtype=np.intp)
    shape = (len(classes), len(models))
    cost, quality = np.full(shape, np.nan), np.full(shape, np.nan)
    cost[places, columns] = [float(each.cost_usd) for each in pairs]
    if with_failures:
        cost[places, columns] = [float(each.cost_usd + each.failures_usd) for each in pairs]
    quality[places, columns] = [np.nan if each.quality is None else each.quality for each in pairs]
    return Estate(
        cost_usd=cost,
        quality=quality,
        admissible=~np.isnan(cost),
        requests=np.array([float(row.volume) for row in classes]),
        incumbent=np.array([column[row.incumbent] for row in classes], dtype=np.intp),
    )


def _constraints(limits: Limits, models: Sequence[str]) -> Constraints:
    return Constraints(
        move_share=None if limits.move_share is None else float(limits.move_share),
        quality_floor=None if limits.quality_floor is None else float(limits.quality_floor),
        model_caps={models.index(name): float(cap) for name, cap in limits.model_caps.items() if name in models},
        is_whole=limits.is_whole,
    )


def _at_most_two(estate: Estate, constraints: Constraints) -> Choice:
    """The choice with at most two models for a class. Raises Infeasible.

    Several limits may split one class in three. Such a class is then tried with each two of its models, the cheapest
    kept; where no two will do, every class stays whole.
    """
    found = choose(estate, constraints)
    many = np.flatnonzero((found.shares > 0).sum(axis=1) > 2)
    if not len(many):
        return found
    best: Choice | None = None
    row = int(many[0])
    for pair in combinations(np.flatnonzero(found.shares[row] > 0).tolist(), 2):
        allowed = estate.admissible.copy()
        allowed[row] = False
        allowed[row, list(pair)] = True
        # A class with an unrated model less must not become rated: the floor is over the same classes.
        tried = replace(estate, admissible=allowed, quality=np.where(estate.is_rated[:, None], estate.quality, np.nan))
        try:
            other = _at_most_two(tried, constraints)
        except Infeasible:
            continue
        if best is None or other.cost_usd(estate) < best.cost_usd(estate):
            best = other
    return best or choose(estate, replace(constraints, is_whole=True))


def _parts(found: Choice, classes: Sequence[ClassToChoose], models: Sequence[str]) -> dict[str, tuple[Part, ...]]:
    whole = [(Part(model, Decimal(1)),) for model in models]
    parts = {row.request_class: whole[column] for row, column in zip(classes, found.target.tolist(), strict=True)}
    for number in np.flatnonzero((found.shares > 0).sum(axis=1) > 1).tolist():
        parts[classes[number].request_class] = _split(found.shares[number], models)
    return parts


def _split(shares: "np.ndarray[tuple[int], np.dtype[np.float64]]", models: Sequence[str]) -> tuple[Part, ...]:
    """Two parts at most, in whole basis points that sum to 1; a part of less than one is none."""
    first, second = (int(column) for column in np.argsort(-shares, kind="stable")[:2])
    # Nine places take away what floats add to a share like 0.2, which rounding down would lose a basis point to.
    share = Decimal(str(round(float(shares[second]), 9))).quantize(BASIS_POINT, ROUND_DOWN)
    if share == 0:
        return (Part(models[first], Decimal(1)),)
    return Part(models[first], 1 - share), Part(models[second], share)


def _binding(found: Choice, estate: Estate, limits: Limits, models: Sequence[str]) -> tuple[LimitCost, ...]:
    rows = []
    for name, price in found.prices_usd.items():
        kind, _, column = name.partition(":")
        if kind == "move_share":
            text = f"at most {percent(limits.move_share or 0)} of all requests may move now"
        elif kind == "quality_floor":
            text = f"the estate keeps a mean quality of {percent(limits.quality_floor or 0)}"
        else:
            model = models[int(column)]
            text = f"{model} serves at most {percent(limits.model_caps[model])} of all requests"
        named = f"{kind}:{models[int(column)]}" if column else kind
        without = _at_most_two(estate, _constraints(limits.without(named), models))
        saved = max(found.cost_usd(estate) - without.cost_usd(estate), 0.0)
        rows.append(LimitCost(named, text, price / 100, saved))
    return tuple(rows)


def _named(message: str, models: Sequence[str]) -> str:
    """The message of the arrays with models by name."""
    for number in reversed(range(len(models))):
        message = message.replace(f"model {number} has", f"{models[number]} has")
    return message
