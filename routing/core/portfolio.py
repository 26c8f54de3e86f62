"""How many of the verdicts "clears" of a whole estate may be false (methods.md §3.5, e-BH)."""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from routing.core.verdicts import Verdict

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Audit(Generic[Key]):
    """How many verdicts "clears" hold together. `verdicts`: all M of them, those that do not clear as well.

    `clears`: the pairs shown to clear; `holding`: those of which at most the share `alpha` is expected to be false;
    `references`: pairs that clear because the others are compared with them, which nothing was tested of.
    """

    alpha: float
    verdicts: int
    clears: frozenset[Key]
    holding: frozenset[Key]
    references: frozenset[Key]


def audit(verdicts: Mapping[Key, Verdict], *, alpha: float = 0.05) -> Audit[Key]:
    """The verdicts "clears" of a whole estate, looked at together.

    What was tested of a pair is what its bar asks: the line, the comparison, or both, where the weaker of the two
    counts. A pair that is not shown to clear has 0 in place of its E⁺, which only makes it smaller: those that hold
    are then among those that clear, and the bound is of them.
    """
    tested = {key: ln_e for key, verdict in verdicts.items() if (ln_e := _ln_e(verdict)) is not None}
    clears = frozenset(key for key in tested if verdicts[key].status == "clears")
    shown = {key: ln_e if key in clears else -math.inf for key, ln_e in tested.items()}
    return Audit(
        alpha=alpha,
        verdicts=len(tested),
        clears=clears,
        holding=confirmed_together(shown, alpha=alpha),
        references=frozenset(key for key in verdicts.keys() - tested.keys() if verdicts[key].status == "clears"),
    )


def _ln_e(verdict: Verdict) -> float | None:
    """ln E⁺ of all that was asked; None where nothing is: what serves, under a comparison alone."""
    line = None if verdict.standard == "not_worse" else verdict.ln_e_clear
    compared = None if verdict.paired is None else verdict.paired.ln_e_clear
    asked = [ln_e for ln_e in (line, compared) if ln_e is not None]
    return min(asked) if asked else None


def confirmed_together(ln_e_clear: Mapping[Key, float], *, alpha: float = 0.05) -> frozenset[Key]:
    """The pairs of which at most the share `alpha` is expected to be false, however they depend on each other.

    `ln_e_clear` holds ln E⁺ of all M pairs of a class and a model, also of those that do not clear. Sorted falling,
    the answer is the first j of them, with j the largest for which E₍ⱼ₎ ≥ M/(alpha·j). Raises ValueError outside
    0 < alpha < 1.

    >>> sorted(confirmed_together({"a": 5.0, "b": 3.5, "c": 0.0}))
    ['a', 'b']
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}: it must be above 0 and below 1")
    ordered = sorted(ln_e_clear.items(), key=lambda item: -item[1])
    pairs = len(ordered)
    last = max((j for j, (_, ln_e) in enumerate(ordered, 1) if ln_e >= math.log(pairs / (alpha * j))), default=0)
    return frozenset(key for key, _ in ordered[:last])
