"""Ratios of two models from their eval results, case by case: the slow oracle of `routing.core.case_sums`."""

import math
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from routing.core.evidence import CaseResult
from routing.core.profiles import MIN_PAIRED_CASES, Z_95_ONE_SIDED, EvalFactors, RatesOf, factors_reason

CostOf = Callable[[CaseResult], Decimal | None]


def factors_measured_in_evals(
    candidate: Iterable[CaseResult],
    incumbent: Iterable[CaseResult],
    *,
    cost_of: CostOf | None = None,
    min_cases: int = MIN_PAIRED_CASES,
) -> EvalFactors:
    """Input factor, output factor and cost ratio of two models over the cases (suite, version, sample id) run on both.

    A repeated case counts once, with its mean. A case with unknown tokens (or cost) on either side is not used for that
    figure. `cost_of` prices a result from its tokens; default: the cost the eval tool states.

    >>> factors_measured_in_evals([], []).reason
    'only 0 cases have tokens on both models and 0 have costs; 30 are needed'
    """
    ours, theirs = _by_case(candidate), _by_case(incumbent)
    both = sorted(ours.keys() & theirs.keys())
    price = cost_of or (lambda result: result.cost_usd)

    inputs = _pairs(both, ours, theirs, lambda row: row.input_tok if row.output_tok is not None else None)
    outputs = _pairs(both, ours, theirs, lambda row: row.output_tok if row.input_tok is not None else None)
    costs = _pairs(both, ours, theirs, price)
    enough_tokens, enough_costs = len(inputs) >= min_cases, len(costs) >= min_cases
    upper = ratio_upper_bound([m for m, _ in costs], [i for _, i in costs]) if enough_costs else None
    return EvalFactors(
        input_factor=_ratio(inputs) if enough_tokens else None,
        output_factor=_ratio(outputs) if enough_tokens else None,
        token_cases=len(inputs),
        cost_ratio=_ratio(costs) if enough_costs else None,
        cost_cases=len(costs),
        cost_ratio_upper=upper,
        counts_as_cheaper=None if upper is None else upper < 1,
        reason=factors_reason(len(inputs), len(costs), min_cases),
    )


def ratio_upper_bound(candidate: Sequence[Decimal | float], incumbent: Sequence[Decimal | float]) -> float | None:
    """One-sided 95 % upper bound of μ_m/μ_0: exp(ln(μ_m/μ_0) + 1.645·√(s_m²/(n_m μ_m²) + s_0²/(n_0 μ_0²))).

    s is the sample standard deviation (n − 1). The lists need not pair up. None where a list has fewer than two values
    or a mean is not above 0: an absent estimate.
    """
    if min(len(candidate), len(incumbent)) < 2:
        return None
    mean_m, spread_m = _mean_and_relative_variance(candidate)
    mean_0, spread_0 = _mean_and_relative_variance(incumbent)
    if mean_m <= 0 or mean_0 <= 0:
        return None
    return math.exp(math.log(mean_m / mean_0) + Z_95_ONE_SIDED * math.sqrt(spread_m + spread_0))


def _mean_and_relative_variance(values: Sequence[Decimal | float]) -> tuple[float, float]:
    """Mean, and the squared standard error of the mean as a share of the mean squared (0 where the mean is not > 0)."""
    floats = [float(value) for value in values]
    n = len(floats)
    mean = math.fsum(floats) / n
    if mean <= 0:
        return mean, 0.0
    variance = math.fsum((value - mean) ** 2 for value in floats) / (n - 1)
    return mean, variance / (n * mean * mean)


def case_price(rates_of: RatesOf) -> CostOf:
    """Price a case from its tokens at today's standard prices, else the cost its tool states."""

    def price(result: CaseResult) -> Decimal | None:
        counts = (
            result.uncached_input_tok,
            result.cache_read_tok,
            result.cache_write_5m_tok,
            result.cache_write_1h_tok,
            result.output_tok,
        )
        rates = rates_of(result.candidate)
        if isinstance(rates, str) or any(count is None for count in counts):
            return result.cost_usd
        return rates.standard.cost_usd([count or 0 for count in counts])

    return price


_Case = tuple[str, str, str]


def _by_case(results: Iterable[CaseResult]) -> dict[_Case, list[CaseResult]]:
    cases: dict[_Case, list[CaseResult]] = {}
    for row in results:
        cases.setdefault((row.suite, row.suite_version, row.sample_id), []).append(row)
    return cases


def _pairs(
    both: Sequence[_Case],
    ours: dict[_Case, list[CaseResult]],
    theirs: dict[_Case, list[CaseResult]],
    value_of: Callable[[CaseResult], Decimal | int | None],
) -> list[tuple[Decimal, Decimal]]:
    """(candidate, incumbent) mean values of every case where both are known."""
    pairs = []
    for case in both:
        mine, other = _case_mean(ours[case], value_of), _case_mean(theirs[case], value_of)
        if mine is not None and other is not None:
            pairs.append((mine, other))
    return pairs


def _case_mean(rows: Sequence[CaseResult], value_of: Callable[[CaseResult], Decimal | int | None]) -> Decimal | None:
    known = [Decimal(value) for value in map(value_of, rows) if value is not None]
    return sum(known, Decimal(0)) / len(known) if known else None


def _ratio(pairs: Sequence[tuple[Decimal, Decimal]]) -> Decimal | None:
    below = sum((other for _, other in pairs), Decimal(0))
    return sum((mine for mine, _ in pairs), Decimal(0)) / below if below else None
