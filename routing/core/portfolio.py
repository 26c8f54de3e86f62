"""How many of the verdicts "clears" of a whole estate may be false (methods.md §3.5, e-BH)."""

import math
from collections.abc import Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


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
