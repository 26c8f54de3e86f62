"""Cascades: a cheap model first, a check of its answer, and the strong model where the check refuses (methods.md §2).

A cascade is a candidate like any other: its quality counts as shown only when the cascade itself was evaluated. What is
computed here says whether that is worth trying.
"""

from dataclasses import dataclass
from decimal import Decimal

from billing.core.words import percent, signed


@dataclass(frozen=True, slots=True)
class Check:
    """What is known of the check that decides. Shares in 0 … 1; `check_usd` per request.

    `good_accepted` = P(accepted | the cheap answer is good), `bad_accepted` = P(accepted | it is bad). `is_assumed`:
    somebody's entry, not measured.
    """

    check_usd: Decimal
    good_accepted: Decimal
    bad_accepted: Decimal
    source: str = ""
    is_assumed: bool = True

    def __post_init__(self) -> None:
        for name in ("good_accepted", "bad_accepted"):
            if not 0 <= (share := getattr(self, name)) <= 1:
                raise ValueError(f"{name} is {share}: it is a share, from 0 to 1")
        if self.check_usd < 0:
            raise ValueError(f"check_usd is {self.check_usd}: a check costs 0 or more")


@dataclass(frozen=True, slots=True)
class JointQuality:
    """How often both, one or neither model is good, on cases run on both: counts (or sums of scores)."""

    both: Decimal
    only_cheap: Decimal
    only_strong: Decimal
    neither: Decimal

    @property
    def cases(self) -> Decimal:
        return self.both + self.only_cheap + self.only_strong + self.neither


@dataclass(frozen=True, slots=True)
class Cascade:
    """Expected cost and quality of one cascade, usd per request, and whether it pays.

    `accepted_share` A; it is cheaper than the strong model alone iff A > `break_even_share` = (c₁ + c_check)/c₂.
    """

    cheap: str
    strong: str
    accepted_share: Decimal
    break_even_share: Decimal
    unit_cost_usd: Decimal
    strong_cost_usd: Decimal
    quality: Decimal
    strong_quality: Decimal
    reason: str

    @property
    def pays(self) -> bool:
        return self.unit_cost_usd < self.strong_cost_usd


def cascade(
    cheap: str,
    strong: str,
    *,
    cheap_usd: Decimal,
    strong_usd: Decimal,
    check: Check,
    joint: JointQuality,
) -> Cascade:
    """Cost and quality of asking `cheap` first.

    p₂, the good rate of the strong model on what is escalated, follows from the cases run on both: escalated are the
    good answers the check refuses and the bad ones it sees. Raises ValueError without a case run on both, or where the
    strong model costs nothing.

    >>> check = Check(Decimal("0.0005"), Decimal("0.95"), Decimal("0.10"))
    >>> joint = JointQuality(Decimal("0.828"), Decimal("0.072"), Decimal("0.092"), Decimal("0.008"))
    >>> usd = {"cheap_usd": Decimal("0.004"), "strong_usd": Decimal("0.02")}
    >>> found = cascade("haiku", "opus", check=check, joint=joint, **usd)
    >>> [float(each) for each in (found.accepted_share, found.unit_cost_usd, found.quality, found.break_even_share)]
    [0.865, 0.0072, 0.9792, 0.225]
    """
    if joint.cases <= 0:
        raise ValueError(f"no case was run on both {cheap} and {strong}: the escalated ones cannot be judged")
    if strong_usd <= 0:
        raise ValueError(f"{strong} costs {strong_usd} a request: nothing can be saved on it")
    good, bad = check.good_accepted, check.bad_accepted
    both, only_cheap, only_strong = (part / joint.cases for part in (joint.both, joint.only_cheap, joint.only_strong))
    p1 = both + only_cheap
    accepted = p1 * good + (1 - p1) * bad
    # Good in the end: accepted good answers of the cheap model, and escalated ones the strong model gets right.
    quality = p1 * good + both * (1 - good) + only_strong * (1 - bad)
    cost = cheap_usd + check.check_usd + (1 - accepted) * strong_usd
    needed = (cheap_usd + check.check_usd) / strong_usd
    word = "pays" if cost < strong_usd else "loses money"
    reason = (
        f"{cheap} first {word}: its answers are accepted {percent(accepted)} of the time, break-even is "
        f"{percent(needed)}; it costs {signed(cost / strong_usd, 2)}× {strong} alone"
    )
    return Cascade(cheap, strong, accepted, needed, cost, strong_usd, quality, both + only_strong, reason)
