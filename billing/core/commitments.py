"""What a commitment costs over many possible years of spend (methods.md §7.1–7.3), for one annual true-up.

Spend is list spend of the year in usd, one float per simulated path: estimates, so `float64`. Offers come from
`billing.core.terms`; every offer is measured on the same paths, so differences between offers are exact per path.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from billing.core.terms import Overage, Terms
from billing.core.words import percent, usd

Paths = NDArray[np.float64]

SHORTFALL_LIMIT: Final = 0.20
CVAR_LEVEL: Final = 0.95
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class Offer:
    """A commitment of `commitment_usd` payable usd a year, `discount` on covered use, `overage_discount` beyond it.

    `until_usd` is the payable amount at which the next band begins, at this band's discount (infinite for the last).
    """

    name: str
    commitment_usd: float
    discount: float
    overage_discount: float
    until_usd: float = math.inf

    @property
    def covers_usd(self) -> float:
        """List spend that the commitment covers, A/(1 − d)."""
        return self.commitment_usd / (1 - self.discount)


def offers_of(terms: Terms) -> tuple[Offer, ...]:
    """The offers of terms, ascending, "no commitment" first.

    Without a commitment nothing lies beyond it: all use has the discount of that row, whatever the overage rule.
    """
    rows = terms.offers
    offers = []
    for n, row in enumerate(rows):
        payable = float(row.payable_usd(terms.stated_in))
        discount = float(row.discount)
        until = math.inf
        if n + 1 < len(rows):
            after = rows[n + 1].commitment_usd
            until = float(after if terms.stated_in == "payable" else (1 - row.discount) * after)
        offers.append(Offer(row.name, payable, discount, overage_discount(terms.overage, payable, discount), until))
    return tuple(offers)


def overage_discount(overage: Overage, commitment_usd: float, discount: float) -> float:
    """o of §7.1: the covered use's discount, or 0 where use beyond the commitment is billed at list prices."""
    return discount if overage == "discounted" or commitment_usd == 0 else 0.0


def payable(spend_usd: Paths, offer: Offer, commitment_usd: float | None = None) -> Paths:
    """pay(S) = A + (1 − o)·max(0, S − A/(1 − d)), per path; `commitment_usd` replaces the offer's own amount.

    >>> payable(np.array([400_000.0, 1_000_000.0]), Offer("T1", 500_000, 0.06, 0.0))
    array([500000.        , 968085.10638298])
    """
    amount = offer.commitment_usd if commitment_usd is None else commitment_usd
    over = np.maximum(0.0, spend_usd - amount / (1 - offer.discount))
    return np.asarray(amount + (1 - offer.overage_discount) * over, dtype=np.float64)


def unused(spend_usd: Paths, offer: Offer) -> Paths:
    """What was paid for nothing: max(0, A − (1 − d)S), per path."""
    return np.maximum(0.0, offer.commitment_usd - (1 - offer.discount) * spend_usd)


def is_short(spend_usd: Paths, offer: Offer) -> NDArray[np.bool_]:
    """True where the year's use does not reach the commitment: (1 − d)S < A."""
    return np.asarray((1 - offer.discount) * spend_usd < offer.commitment_usd)


def cvar(values: Paths, level: float = CVAR_LEVEL) -> float:
    """Mean of the worst 1 − level of cases: q + mean(max(0, v − q))/(1 − level), q the quantile at `level`.

    Right also when many paths pay exactly the same, where "the mean of paths at or above q" is not.
    """
    q = float(np.quantile(values, level, method="inverted_cdf"))
    return q + float(np.mean(np.maximum(0.0, values - q))) / (1 - level)


@dataclass(frozen=True, slots=True)
class OfferMeasures:
    """An offer over the paths of one policy; usd a year, shares in 0..1. `se`: standard error of the mean before it."""

    name: str
    commitment_usd: float
    discount: float
    expected_payable_usd: float
    expected_payable_se_usd: float
    shortfall_probability: float
    shortfall_probability_se: float
    expected_unused_usd: float
    cvar95_usd: float
    mean_regret_usd: float
    max_regret_usd: float
    best_amount_usd: float
    best_amount_expected_usd: float


def measure(spend_usd: Paths, offers: Sequence[Offer], *, level: float = CVAR_LEVEL) -> tuple[OfferMeasures, ...]:
    """Every offer on the same paths. Raises ValueError without paths, for a negative or a non-finite spend."""
    spend = np.asarray(spend_usd, dtype=np.float64)
    if spend.ndim != 1 or spend.size == 0:
        raise ValueError("give one spend per path, at least one path")
    if not np.isfinite(spend).all() or (spend < 0).any():
        raise ValueError("spend of a path must be a finite amount of at least 0")
    paid = np.stack([payable(spend, offer) for offer in offers])
    regret = paid - paid.min(axis=0)
    return tuple(_measures(spend, offer, paid[n], regret[n], level) for n, offer in enumerate(offers))


def _measures(spend: Paths, offer: Offer, paid: Paths, regret: Paths, level: float) -> OfferMeasures:
    short = float(is_short(spend, offer).mean())
    best = best_amount(spend, offer)
    return OfferMeasures(
        name=offer.name,
        commitment_usd=offer.commitment_usd,
        discount=offer.discount,
        expected_payable_usd=float(paid.mean()),
        expected_payable_se_usd=standard_error(paid),
        shortfall_probability=short,
        shortfall_probability_se=math.sqrt(short * (1 - short) / spend.size),
        expected_unused_usd=float(unused(spend, offer).mean()),
        cvar95_usd=cvar(paid, level),
        mean_regret_usd=float(regret.mean()),
        max_regret_usd=float(regret.max()),
        best_amount_usd=best,
        best_amount_expected_usd=float(payable(spend, offer, best).mean()),
    )


def standard_error(values: Paths) -> float:
    """Of a mean over paths; 0 for a single path, which says nothing about its spread."""
    return float(values.std(ddof=1)) / math.sqrt(values.size) if values.size > 1 else 0.0


def best_amount(spend_usd: Paths, offer: Offer) -> float:
    """The payable amount inside the offer's band with the lowest expected payable (§7.3).

    Where overage is dearer than covered use, A* = (1 − d)·F⁻¹((d − o)/(1 − o)) clamped into the band; else the least
    amount of the band, because cost then never falls in A.
    """
    if offer.overage_discount >= offer.discount:
        return offer.commitment_usd
    level = (offer.discount - offer.overage_discount) / (1 - offer.overage_discount)
    optimum = (1 - offer.discount) * float(np.quantile(spend_usd, level, method="inverted_cdf"))
    return min(max(optimum, offer.commitment_usd), offer.until_usd)


def break_even_usd(lower: Offer, higher: Offer) -> float | None:
    """List spend from which the higher offer costs less than the lower; None where it never starts to.

    With discounted overage this is A_k/(1 − d_j). Below it the higher commitment is partly unused.
    """
    start = lower.covers_usd + (higher.commitment_usd - lower.commitment_usd) / (1 - lower.overage_discount)
    return start if start <= higher.covers_usd and higher.discount > lower.overage_discount else None


@dataclass(frozen=True, slots=True)
class Choice:
    """The recommended offer, the next best, the cheapest whatever its risk, and the reason in words."""

    name: str
    runner_up: str | None
    lowest: str
    reason: str


def choose(measures: Sequence[OfferMeasures], *, limit: float = SHORTFALL_LIMIT) -> Choice:
    """Lowest expected payable among offers with P(shortfall) at most `limit`; ties go to the smaller commitment.

    One annual true-up without cost of capital: the expected present value is the expected payable.
    """
    ranked = sorted(measures, key=lambda row: (row.expected_payable_usd, row.commitment_usd))
    within = [row for row in ranked if row.shortfall_probability <= limit]
    if not within:
        raise ValueError("no offer keeps the limit; 'no commitment' always does, so it must be among them")
    best, lowest = within[0], ranked[0]
    others = [row for row in within if row is not best]
    runner_up = others[0] if others else None
    if runner_up is None and len(measures) > 1:
        reason = f"{best.name} is the only offer with a risk of shortfall of at most {percent(limit, 0)}; "
        reason += f"its expected payable is {usd(best.expected_payable_usd)}"
    else:
        reason = f"{best.name} has the lowest expected payable, {usd(best.expected_payable_usd)}, of "
        reason += f"{_count(len(within))} with a risk of shortfall of at most {percent(limit, 0)}"
    if runner_up is not None:
        more = runner_up.expected_payable_usd - best.expected_payable_usd
        reason += f"; {runner_up.name} is next, {usd(more)} dearer"
    if lowest is not best:
        less = best.expected_payable_usd - lowest.expected_payable_usd
        reason += (
            f". {lowest.name} would cost {usd(less)} less on average, but falls short in "
            f"{percent(lowest.shortfall_probability)} of the futures"
        )
    return Choice(best.name, runner_up.name if runner_up else None, lowest.name, f"{reason}.")


@dataclass(frozen=True, slots=True)
class RoutingValue:
    """What it is worth to route before signing: the routed spend under the offer that suits the unrouted spend, less
    the routed spend under the offer that suits it. usd a year; the difference is taken per path."""

    signed_first: str
    routed_first: str
    signed_first_payable_usd: float
    routed_first_payable_usd: float
    value_usd: float
    value_se_usd: float


def value_of_routing(
    routed_usd: Paths, offers: Sequence[Offer], *, best_unrouted: str, best_routed: str
) -> RoutingValue:
    """E[pay of the routed spend under `best_unrouted`] − E[the same under `best_routed`], offers by name."""
    by_name = {offer.name: offer for offer in offers}
    before, after = (payable(routed_usd, by_name[name]) for name in (best_unrouted, best_routed))
    difference = before - after
    return RoutingValue(
        signed_first=best_unrouted,
        routed_first=best_routed,
        signed_first_payable_usd=float(before.mean()),
        routed_first_payable_usd=float(after.mean()),
        value_usd=float(difference.mean()),
        value_se_usd=standard_error(difference),
    )


@dataclass(frozen=True, slots=True)
class LognormalSpend:
    """ln S ~ N(ln median, sigma²): the closed form that checks the simulation (§7.3)."""

    median_usd: float
    sigma: float

    @classmethod
    def fitted(cls, spend_usd: Paths) -> "LognormalSpend | None":
        """The lognormal with the paths' mean and spread of ln; None where a path spends nothing or all are equal."""
        if spend_usd.size < 2 or (spend_usd <= 0).any():
            return None
        logs = np.log(spend_usd)
        sigma = float(logs.std(ddof=1))
        return cls(float(math.exp(logs.mean())), sigma) if sigma > 0 else None

    @property
    def mean_usd(self) -> float:
        return self.median_usd * math.exp(self.sigma**2 / 2)

    def quantile(self, share: float) -> float:
        return self.median_usd * math.exp(self.sigma * _NORMAL.inv_cdf(share)) if share > 0 else 0.0

    def expected_excess(self, over_usd: float) -> float:
        """E max(0, S − K)."""
        if over_usd <= 0:
            return self.mean_usd - over_usd
        z = math.log(self.median_usd / over_usd) / self.sigma
        return self.mean_usd * _NORMAL.cdf(z + self.sigma) - over_usd * _NORMAL.cdf(z)

    def expected_payable(self, offer: Offer, commitment_usd: float | None = None) -> float:
        amount = offer.commitment_usd if commitment_usd is None else commitment_usd
        return amount + (1 - offer.overage_discount) * self.expected_excess(amount / (1 - offer.discount))

    def shortfall_probability(self, offer: Offer) -> float:
        if offer.commitment_usd <= 0:
            return 0.0
        return _NORMAL.cdf(math.log(offer.covers_usd / self.median_usd) / self.sigma)

    def expected_unused(self, offer: Offer) -> float:
        covers = offer.covers_usd
        return (1 - offer.discount) * (self.expected_excess(covers) - self.mean_usd + covers)

    def cvar(self, offer: Offer, level: float = CVAR_LEVEL) -> float:
        """Payable grows with spend, so its quantile is the payable of the spend's quantile."""
        covers, q = offer.covers_usd, self.quantile(level)
        over = max(0.0, q - covers) + self.expected_excess(max(q, covers)) / (1 - level)
        return offer.commitment_usd + (1 - offer.overage_discount) * over

    def optimum(self, offer: Offer) -> float:
        """A* before it is clamped into the band; 0 where overage costs no more than covered use."""
        level = (offer.discount - offer.overage_discount) / (1 - offer.overage_discount)
        return (1 - offer.discount) * self.quantile(level)


def _count(number: int) -> str:
    return "the one offer" if number == 1 else f"the {number} offers"
