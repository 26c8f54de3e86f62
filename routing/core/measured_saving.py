"""The saving measured by a held-back arm: policy against baseline, served at the same time (methods.md §8.3)."""

import math
from dataclasses import dataclass

NORMAL_95 = 1.959963984540054  # the 97.5% point of the standard normal


@dataclass(frozen=True, slots=True)
class Arm:
    """Cost per conversation in one arm: mean and standard deviation in usd, and how many conversations."""

    mean_usd: float
    sd_usd: float
    conversations: int


@dataclass(frozen=True, slots=True)
class MeasuredSaving:
    """Share saved by the policy, with its 95% interval. Shown beside a re-priced saving, never added to it."""

    share: float
    low: float
    high: float


def measured_saving(policy: Arm, baseline: Arm) -> MeasuredSaving:
    """1 − mean(policy) / mean(baseline) with the interval of the ratio on a log scale.

    Raises ValueError for an arm without conversations or without cost: nothing is measured then.

    >>> found = measured_saving(Arm(0.0182, 0.0364, 98_000), Arm(0.0310, 0.0682, 2_000))
    >>> f"{found.share:.6f} {found.low:.6f} {found.high:.6f}"
    '0.412903 0.352954 0.467298'
    """
    for name, arm in (("policy", policy), ("baseline", baseline)):
        if arm.conversations < 1 or arm.mean_usd <= 0:
            raise ValueError(f"the {name} arm has no cost to compare: {arm.conversations} conversations")
    spread = NORMAL_95 * math.sqrt(sum((a.sd_usd / a.mean_usd) ** 2 / a.conversations for a in (policy, baseline)))
    ratio = policy.mean_usd / baseline.mean_usd
    return MeasuredSaving(1 - ratio, 1 - ratio * math.exp(spread), 1 - ratio * math.exp(-spread))


def conversations_needed(arm: Arm, *, within: float = 0.1) -> int:
    """Conversations the baseline arm needs for an interval of ± `within` of its mean.

    >>> conversations_needed(Arm(0.03, 0.06, 1))
    1537
    """
    return math.ceil((NORMAL_95 * arm.sd_usd / arm.mean_usd / within) ** 2)
