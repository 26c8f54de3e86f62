"""An estate on arrays: C classes × M models, what couples them, and a choice of shares.

Costs are estimates here (floats): they decide shares, never an amount of money; money is computed exactly from the
shares elsewhere. Models are in the order of their names, so that "the lexicographically first" is the first column.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Integers = NDArray[np.intp]

EPSILON = 1e-9  # of a share: what the solver leaves
UNRATED = "no class has a known pass rate for all its admissible models: the floor cannot be checked"


class Infeasible(ValueError):
    """No policy keeps every constraint; the message names the constraint and the best that can be reached."""


@dataclass(frozen=True, slots=True)
class Estate:
    """C classes × M models.

    `cost_usd` [C, M]: cost of the window if the model served the whole class; `quality` [C, M]: pass rate, NaN =
    unknown; `admissible` [C, M]; `requests` [C]: volume, > 0; `incumbent` [C]: column of what serves now.
    A class where an admissible model has no known quality takes no part in a quality floor (`is_rated`).
    """

    cost_usd: Floats
    quality: Floats
    admissible: Flags
    requests: Floats
    incumbent: Integers

    def __post_init__(self) -> None:
        classes, models = self.cost_usd.shape
        if self.quality.shape != (classes, models) or self.admissible.shape != (classes, models):
            raise ValueError(f"costs are {classes} × {models}: quality and admissible must be too")
        if self.requests.shape != (classes,) or self.incumbent.shape != (classes,):
            raise ValueError(f"there are {classes} classes: give one volume and one incumbent for each")
        if not self.admissible.any(axis=1).all():
            raise ValueError("a class has no admissible model: leave it out of the estate and list it")
        if np.isnan(self.cost_usd[self.admissible]).any():
            raise ValueError("an admissible model has no cost: it cannot be chosen")

    @property
    def classes(self) -> int:
        return int(self.cost_usd.shape[0])

    @property
    def is_rated(self) -> Flags:
        """[C] whether every admissible model of the class has a known quality."""
        known: Flags = np.logical_not((np.isnan(self.quality) & self.admissible).any(axis=1))
        return known

    @property
    def allowed_cost_usd(self) -> Floats:
        """[C, M] costs, infinite where a model may not serve."""
        return np.where(self.admissible, self.cost_usd, np.inf)


@dataclass(frozen=True, slots=True)
class Constraints:
    """What couples the classes. None, or an empty mapping, = no such constraint.

    `move_share`: at most this share of all requests changes its model now. `quality_floor`: least volume-weighted
    quality over the rated classes. `model_caps`: column → most share of all requests. `is_whole`: no class is split.
    """

    move_share: float | None = None
    quality_floor: float | None = None
    model_caps: Mapping[int, float] = field(default_factory=dict)
    is_whole: bool = False

    @property
    def is_empty(self) -> bool:
        return self.move_share is None and self.quality_floor is None and not self.model_caps


@dataclass(frozen=True, slots=True)
class Choice:
    """`shares` [C, M] of each class's requests, rows sum to 1.

    `prices_usd`: what the constraints that bind cost, by name: usd of the window per whole unit of the constraint (1 =
    all requests, or a quality of 1), at the margin. For whole classes they are those of the policy with splits.
    """

    shares: Floats
    prices_usd: Mapping[str, float] = field(default_factory=dict)

    @property
    def binding(self) -> tuple[str, ...]:
        """Names of the constraints that cost money."""
        return tuple(self.prices_usd)

    @property
    def target(self) -> Integers:
        """[C] the model with the largest share of each class."""
        found: Integers = self.shares.argmax(axis=1)
        return found

    @property
    def split_classes(self) -> Integers:
        """Rows served by more than one model."""
        found: Integers = np.flatnonzero((self.shares > EPSILON).sum(axis=1) > 1)
        return found

    def cost_usd(self, estate: Estate) -> float:
        """Cost of the window."""
        return float(np.where(self.shares > 0, self.shares * np.nan_to_num(estate.cost_usd), 0.0).sum())

    def quality(self, estate: Estate) -> float | None:
        """Volume-weighted quality over the rated classes; None where there is none."""
        rated = estate.is_rated
        weight = estate.requests[rated].sum()
        if weight <= 0:
            return None
        per_class = (self.shares * np.nan_to_num(estate.quality)).sum(axis=1)
        return float((per_class * estate.requests)[rated].sum() / weight)

    def moved_share(self, estate: Estate) -> float:
        """Share of all requests that would be served by another model than now."""
        stays = self.shares[np.arange(estate.classes), estate.incumbent]
        return float(((1 - stays) * estate.requests).sum() / estate.requests.sum())


def one_hot(target: Integers, estate: Estate) -> Floats:
    """Shares that give each class the one model of its column."""
    shares = np.zeros_like(estate.cost_usd, dtype=np.float64)
    shares[np.arange(estate.classes), target] = 1.0
    return shares
