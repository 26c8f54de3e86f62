"""Not worse than the model that serves, on the same cases (methods.md §3.4)."""

import math
from dataclasses import dataclass, replace
from decimal import Decimal

from billing.core.words import percent_as_set, signed
from routing.core.decisions import Status, measure
from routing.core.evalues import MIN_CASES, Side
from routing.core.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Paired:
    """Not worse than the incumbent by `margin`, on the cases both have a verdict for (methods.md §3.4).

    `won`, `lost`: cases the candidate scored higher, lower. `difference` = mean of candidate − incumbent, None without
    cases; `lower` and `upper` its bounds, valid at every look. `unpaired`: cases the incumbent has no verdict for.
    """

    status: Status
    cases: int
    won: int
    lost: int
    unpaired: int
    margin: float
    difference: float | None
    lower: float
    upper: float
    ln_e_clear: float
    ln_e_short: float
    cases_needed: int | None
    side: Side | None
    reason: str

    @property
    def text(self) -> str:
        """What the comparison shows, in a sentence."""
        if self.difference is None:
            return "no case was run on both it and the model that serves"
        result = (
            f"on {self.cases:,} cases run on both it won {self.won:,} and lost {self.lost:,}: "
            f"{_points(self.difference)} against the model that serves"
        )
        allowed = f"{percent_as_set(self.margin).removesuffix('%')} points"
        if self.status == "clears":
            return f"{result}, shown to be worse by less than {allowed}"
        if self.status == "falls_short":
            return f"{result}, shown to be worse by more than {allowed}"
        return f"{result}, not shown to be worse by less than {allowed}; {self.reason}"


def paired(evidence: Evidence, *, margin: float | Decimal, threshold: float, min_cases: int = MIN_CASES) -> Paired:
    """Whether the candidate is worse than the incumbent by less than `margin`: y = (d + 1)/2 against (1 − margin)/2.

    `threshold` is ln(K/α). Raises ValueError for a margin outside (0, 1).

    >>> evidence = Evidence("haiku", differences=((-1.0, 8), (0.0, 188), (1.0, 4)))
    >>> found = paired(evidence, margin=0.08, threshold=2.995732)
    >>> found.status, round(found.ln_e_clear, 6)
    ('clears', 3.398138)
    """
    if not 0 < margin < 1:
        raise ValueError(f"the margin is {margin}: it must be above 0 and below 1")
    differences = evidence.differences
    halved = replace(evidence, tally=tuple(((d + 1) / 2, count) for d, count in differences), differences=())
    measured = measure(halved, float((1 - Decimal(str(margin))) / 2), threshold, max(min_cases, MIN_CASES), paired=True)
    cases = halved.cases
    difference = math.fsum(d * count for d, count in differences) / cases if cases else None
    needed = measured.needed.cases
    reason = measured.needed.reason
    if needed and difference is not None:
        plural = "case" if needed == 1 else "cases"
        reason = f"about {needed:,} more {plural} if the difference stays at {_points(difference)}"
    return Paired(
        status=measured.status,
        cases=cases,
        won=sum(count for d, count in differences if d > 0),
        lost=sum(count for d, count in differences if d < 0),
        unpaired=evidence.unpaired,
        margin=float(margin),
        difference=difference,
        lower=2 * measured.lower - 1,
        upper=2 * measured.upper - 1,
        ln_e_clear=measured.ln_e_clear,
        ln_e_short=measured.ln_e_short,
        cases_needed=measured.needed.cases,
        side=measured.needed.side,
        reason=reason,
    )


def _points(difference: float) -> str:
    """−0.013 as "−1.3 points"."""
    return signed(100 * difference, 1, suffix=" points", plus=True)
