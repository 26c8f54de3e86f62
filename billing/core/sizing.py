"""One sizing: an offer measured on the spend of three policies, side by side, with everything the pages show of it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from billing.core.commitments import (
    SHORTFALL_LIMIT,
    Choice,
    LognormalSpend,
    Offer,
    Paths,
    break_even_usd,
    choose,
    measure,
    offers_of,
    payable,
    standard_error,
    value_of_routing,
)
from billing.core.money import estimate_usd
from billing.core.spending import QUANTILES, contract_months
from billing.core.terms import Terms

BASELINE: Final = "baseline"
CURRENT: Final = "current"
OPTIMISED: Final = "optimised"
POLICIES: Final = (BASELINE, CURRENT, OPTIMISED)
CURVE_POINTS: Final = 120
VOLUME_FACTORS: Final = (0.8, 1.2)
LIST_PRICE_FACTORS: Final = (0.67, 1.1)
LATE_MONTHS: Final = 3

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OfferFigures:
    """OfferMeasures as money: estimates, usd a year. `closed_form_usd` is the expected payable if the policy's spend
    were lognormal with the paths' mean and spread of its logarithm: a check, None where there is no such fit."""

    name: str
    commitment_usd: Decimal
    discount: float
    expected_payable_usd: Decimal
    expected_payable_se_usd: Decimal
    shortfall_probability: float
    shortfall_probability_se: float
    expected_unused_usd: Decimal
    cvar95_usd: Decimal
    mean_regret_usd: Decimal
    max_regret_usd: Decimal
    best_amount_usd: Decimal
    best_amount_expected_usd: Decimal
    closed_form_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Distribution:
    """List spend of a period over the paths, usd; `quantiles_usd` at QUANTILES."""

    label: str
    mean_usd: Decimal
    se_usd: Decimal
    quantiles_usd: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class PolicySizing:
    """One policy's spend under every offer. The curve's arrays belong to Sizing.amounts_usd (chart figures, usd)."""

    policy: str
    offers: tuple[OfferFigures, ...]
    choice: Choice
    year: Distribution
    months: tuple[Distribution, ...]
    curve_expected_usd: tuple[float, ...]
    curve_low_usd: tuple[float, ...]
    curve_high_usd: tuple[float, ...]

    def offer(self, name: str) -> OfferFigures:
        return next(row for row in self.offers if row.name == name)

    @property
    def best(self) -> OfferFigures:
        return self.offer(self.choice.name)


@dataclass(frozen=True, slots=True)
class RoutingFigures:
    """RoutingValue as money."""

    signed_first: str
    routed_first: str
    signed_first_payable_usd: Decimal
    routed_first_payable_usd: Decimal
    value_usd: Decimal
    value_se_usd: Decimal


@dataclass(frozen=True, slots=True)
class BreakEven:
    """List spend a year from which `higher` costs less than `lower`; None: it never does."""

    lower: str
    higher: str
    spend_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class SensitivityRow:
    """One input changed, the rest as it is: expected payable of the offer that is then best."""

    label: str
    low_text: str
    low_usd: Decimal
    low_best: str
    high_text: str
    high_usd: Decimal
    high_best: str


@dataclass(frozen=True, slots=True)
class Sizing:
    """What was found. Estimates over `path_count` paths, the same for every policy and offer."""

    path_count: int
    shortfall_limit: float
    policies: tuple[PolicySizing, ...]
    routing: RoutingFigures
    routing_lowest: RoutingFigures
    break_evens: tuple[BreakEven, ...]
    sensitivity: tuple[SensitivityRow, ...]
    amounts_usd: tuple[float, ...]

    def policy(self, name: str) -> PolicySizing:
        return next(row for row in self.policies if row.policy == name)


@dataclass(frozen=True, slots=True)
class SpendPaths:
    """List spend per policy, path and month, usd; `months` are the first days."""

    months: tuple[date, ...]
    policies: tuple[str, ...]
    spend_usd: NDArray[np.float64]

    def of(self, policy: str) -> NDArray[np.float64]:
        """[path, month] of one policy."""
        paths: NDArray[np.float64] = self.spend_usd[self.policies.index(policy)]
        return paths


def size(spend: SpendPaths, terms: Terms, *, limit: float = SHORTFALL_LIMIT) -> Sizing:
    """Measure terms on a year's spend under three policies. Raises ValueError where the paths are not of that year."""
    _check(spend, terms)
    offers = offers_of(terms)
    years = {name: spend.of(name).sum(axis=1, dtype=np.float64) for name in POLICIES}
    amounts = _amounts(offers, years, terms)
    policies = tuple(_policy(name, spend, years[name], offers, amounts, terms, limit) for name in POLICIES)
    best = {row.policy: row.choice for row in policies}

    def routing(unrouted: str, routed: str) -> RoutingFigures:
        return _money(
            RoutingFigures,
            value_of_routing(years[OPTIMISED], offers, best_unrouted=unrouted, best_routed=routed),
        )

    return Sizing(
        path_count=int(spend.spend_usd.shape[1]),
        shortfall_limit=limit,
        policies=policies,
        routing=routing(best[BASELINE].name, best[OPTIMISED].name),
        routing_lowest=routing(best[BASELINE].lowest, best[OPTIMISED].lowest),
        break_evens=tuple(_break_even(lower, higher) for lower, higher in pairwise(offers)),
        sensitivity=_sensitivity(spend, years[OPTIMISED], offers, limit),
        amounts_usd=tuple(amounts),
    )


def _check(spend: SpendPaths, terms: Terms) -> None:
    if missing := [name for name in POLICIES if name not in spend.policies]:
        raise ValueError(f"the forecast lacks the policies {', '.join(missing)}")
    if list(spend.months) != [start for start, _ in contract_months(terms.start, terms.months)]:
        raise ValueError(f"the forecast's months are not the {terms.months} from {terms.start} on")


def _policy(
    name: str,
    spend: SpendPaths,
    year: Paths,
    offers: Sequence[Offer],
    amounts: Sequence[float],
    terms: Terms,
    limit: float,
) -> PolicySizing:
    rows = measure(year, offers)
    fitted = LognormalSpend.fitted(year)
    checks = [None if fitted is None else estimate_usd(fitted.expected_payable(offer)) for offer in offers]
    curve = [_payable_at(year, amount, offers, terms) for amount in amounts]
    tails = [np.quantile(paid, (0.1, 0.9)) for paid in curve]
    months = spend.of(name)
    return PolicySizing(
        policy=name,
        offers=tuple(_money(OfferFigures, row, closed_form_usd=check) for row, check in zip(rows, checks, strict=True)),
        choice=choose(rows, limit=limit),
        year=_distribution("Year", year),
        months=tuple(_distribution(_month_label(day), months[:, n]) for n, day in enumerate(spend.months)),
        curve_expected_usd=tuple(round(float(paid.mean()), 2) for paid in curve),
        curve_low_usd=tuple(round(float(low), 2) for low, _ in tails),
        curve_high_usd=tuple(round(float(high), 2) for _, high in tails),
    )


def _month_label(first: date) -> str:
    """Jan 2027, or where a contract month begins inside one: from 15 Jan 2027."""
    return f"{first:%b %Y}" if first.day == 1 else f"from {first.day} {first:%b %Y}"


def _distribution(label: str, spend: Paths) -> Distribution:
    return Distribution(
        label=label,
        mean_usd=estimate_usd(float(spend.mean(dtype=np.float64))),
        se_usd=estimate_usd(standard_error(spend.astype(np.float64))),
        quantiles_usd=tuple(estimate_usd(float(q)) for q in np.quantile(spend, QUANTILES)),
    )


def _amounts(offers: Sequence[Offer], years: dict[str, Paths], terms: Terms) -> list[float]:
    """Amounts to draw, as the offer states them: from nothing to past the largest band and the typical spend.

    Beyond both every line is the amount itself, which needs no drawing.
    """
    starts = [float(row.commitment_usd) for row in terms.offers]
    typical = max(float(np.median(year)) for year in years.values())
    top = max(starts[-1] * 1.1, min(typical, starts[-1] * 4))
    return sorted({*(float(x) for x in np.linspace(0, top, CURVE_POINTS)), *starts})


def _payable_at(year: Paths, stated: float, offers: Sequence[Offer], terms: Terms) -> Paths:
    """Payable for any amount, at the discount of the band it falls in."""
    rows = terms.offers
    at = max(n for n, row in enumerate(rows) if float(row.commitment_usd) <= stated)
    offer = offers[at]
    return payable(year, offer, stated if terms.stated_in == "payable" else (1 - offer.discount) * stated)


def _break_even(lower: Offer, higher: Offer) -> BreakEven:
    spend = break_even_usd(lower, higher)
    return BreakEven(lower.name, higher.name, None if spend is None else estimate_usd(spend))


def _sensitivity(spend: SpendPaths, year: Paths, offers: Sequence[Offer], limit: float) -> tuple[SensitivityRow, ...]:
    """One input at a time on the optimised spend. All follow from the same paths: no new draws, so no new noise."""
    current, routed = spend.of(CURRENT), spend.of(OPTIMISED)
    late = current[:, :LATE_MONTHS].sum(axis=1) + routed[:, LATE_MONTHS:].sum(axis=1)
    half = (current.sum(axis=1) + year) / 2

    def row(label: str, low_text: str, low: Paths, high_text: str, high: Paths) -> SensitivityRow:
        (low_best, low_usd), (high_best, high_usd) = (_best(paths, offers, limit) for paths in (low, high))
        return SensitivityRow(label, low_text, low_usd, low_best, high_text, high_usd, high_best)

    (volume_low, volume_high), (price_low, price_high) = VOLUME_FACTORS, LIST_PRICE_FACTORS
    return (
        row("Share of moves that land", "all land", year, "half land", half),
        row("Start of routing", "on time", year, f"{LATE_MONTHS} months late", late),
        row("Volume", "−20%", year * volume_low, "+20%", year * volume_high),
        row("List price", "−33%", year * price_low, "+10%", year * price_high),
    )


def _best(year: Paths, offers: Sequence[Offer], limit: float) -> tuple[str, Decimal]:
    rows = measure(year, offers)
    name = choose(rows, limit=limit).name
    return name, estimate_usd(next(row.expected_payable_usd for row in rows if row.name == name))


def _money(kind: type[T], estimate: Any, **more: Any) -> T:
    """The same fields, those in usd crossed into money (methods.md §1.9)."""
    values = {field.name: getattr(estimate, field.name) for field in fields(estimate)}
    money = {name: estimate_usd(value) if name.endswith("_usd") else value for name, value in values.items()}
    return kind(**money, **more)
