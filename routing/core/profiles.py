"""What a candidate needs for the same work, measured in evals (methods.md §2, "candidate's profile").

Eval tasks are not traffic: only ratios between two models over the same cases carry over.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from routing.core.levers import ModelRates

MIN_PAIRED_CASES = 30
Z_95_ONE_SIDED = 1.645

RatesOf = Callable[[str], ModelRates | str]


@dataclass(frozen=True, slots=True)
class EvalFactors:
    """Ratios candidate / incumbent over the cases run on both; None = fewer than 30 such cases, `reason` says so.

    `input_factor` serves u and p, `output_factor` o; `cost_ratio` is for evals with cost but no tokens.
    `counts_as_cheaper` is the one-sided 95 % bound on the mean costs of those cases, None without costs.
    """

    input_factor: Decimal | None
    output_factor: Decimal | None
    token_cases: int
    cost_ratio: Decimal | None
    cost_cases: int
    cost_ratio_upper: float | None
    counts_as_cheaper: bool | None
    reason: str


def factors_reason(token_cases: int, cost_cases: int, min_cases: int) -> str:
    """In words, which of tokens and cost the cases measure."""
    if token_cases >= min_cases:
        return f"measured in evals: {token_cases:,} cases run on both models"
    if cost_cases >= min_cases:
        return f"measured in evals: cost of {cost_cases:,} cases run on both models, no tokens"
    return f"only {token_cases} cases have tokens on both models and {cost_cases} have costs; {min_cases} are needed"
