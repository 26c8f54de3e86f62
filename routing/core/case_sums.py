"""What the eval cases of a class took and cost, in sums that prices are put to afterwards (methods.md §2).

The factors between two models need of the cases run on both no more than how many they are, the sums of what they took
and, for the bound on the mean costs, the sums of squares. A case's cost is linear in what it took, so sums of the five
token counts, of stated costs and of their products two by two say what any prices make of it, exactly. The tests hold
it against the same factors from the results one by one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal, localcontext
from itertools import combinations_with_replacement
from operator import add
from typing import Any

from routing.core.profiles import MIN_PAIRED_CASES, Z_95_ONE_SIDED, EvalFactors, RatesOf, factors_reason

TOKEN_KINDS = 5  # uncached input, cache read, cache write of 5 minutes and of 1 hour, output
TOKEN_PAIRS = tuple(combinations_with_replacement(range(TOKEN_KINDS), 2))
_EXACT = Context(prec=400)  # sums and products of prices, tokens and costs with all their digits
_PER_TOKEN = -6  # prices are per million tokens


Numbers = tuple[int | Decimal, ...]
_TOKENS = slice(1, 1 + TOKEN_KINDS)
_PRODUCTS = slice(_TOKENS.stop, _TOKENS.stop + len(TOKEN_PAIRS))
_COSTS = slice(_PRODUCTS.stop, _PRODUCTS.stop + 4)
_MIXED = slice(_COSTS.stop, _COSTS.stop + TOKEN_KINDS)
WHOLE_NUMBERS = _PRODUCTS.stop


@dataclass(frozen=True, slots=True)
class CaseSums:
    """Sums over cases of one model that have as many results of each sort.

    Of each case, `full` results have all five token counts, `rest` have only the cost the eval tool states, and
    `stated` have that cost, tokens or not. `numbers` begin with how many cases there are; the others are sums over the
    cases of what a case's own results come to: the five token counts of its full results, the products of these in the
    order of TOKEN_PAIRS, the stated cost of the rest, of all, the squares of both, and the products of the former with
    the five token counts.
    """

    full: int
    rest: int
    stated: int
    numbers: Numbers

    @property
    def cases(self) -> int:
        return int(self.numbers[0])

    @property
    def tokens(self) -> tuple[int, ...]:
        return tuple(map(int, self.numbers[_TOKENS]))

    @property
    def token_products(self) -> Numbers:
        return self.numbers[_PRODUCTS]

    @property
    def costs(self) -> Numbers:
        """Stated cost of the rest, of all results, and the squares of both."""
        return self.numbers[_COSTS]

    @property
    def rest_tokens(self) -> Numbers:
        return self.numbers[_MIXED]


@dataclass(frozen=True, slots=True)
class Told:
    """What the results of a case on a model tell: all tokens on some, the stated cost on some. One at least is True."""

    tokens: bool
    stated: bool

    def has_cost(self, *, is_priced: bool) -> bool:
        """Whether the case has a cost: with prices from its tokens or else as stated, without them as stated."""
        return is_priced or self.stated


Cell = tuple[Told, CaseSums]  # what the case tells on the other model, and the sums on this one


@dataclass(frozen=True, slots=True)
class ClassCosts:
    """Of every pair of models of a class, sums over the cases both told something of. `over[a, b]`: of `a` on those
    with `b`, apart by what the cases tell on `b`; `over[a, a]` is of all its cases."""

    over: Mapping[tuple[str, str], tuple[Cell, ...]] = field(default_factory=dict)

    def priced(self, rates_of: RatesOf) -> "PricedCases":
        return PricedCases(self, rates_of)


@dataclass(frozen=True, slots=True)
class _Side:
    """Sums over cases of their means times `scale`, and of the squares of those."""

    cases: int
    total: Decimal
    squares: Decimal

    def relative_variance(self) -> Decimal:
        """The squared standard error of the mean as a share of the mean squared."""
        spread = (self.squares - self.total * self.total / self.cases) / (self.cases - 1)
        return max(spread, Decimal(0)) * self.cases / (self.total * self.total)


@dataclass(frozen=True, slots=True)
class PricedCases:
    """The cases of a class at prices: `rates_of` gives a model's, or in words why there are none."""

    costs: ClassCosts
    rates_of: RatesOf

    def factors(self, candidate: str, incumbent: str, *, min_cases: int = MIN_PAIRED_CASES) -> EvalFactors:
        """Input factor, output factor and cost ratio of two models over the cases (suite, version, sample) run on both.

        A repeated case counts once, with its mean. A case with unknown tokens (or cost) on either side is not used for
        that figure. Cases are priced from their tokens, else as the eval tool states.
        """
        ours, theirs = self._over(candidate, incumbent), self._over(incumbent, candidate)
        mine, other = self._is_priced(candidate), self._is_priced(incumbent)
        with localcontext(_EXACT):
            token_scale = math.lcm(*(sums.full for _, sums in (*ours, *theirs) if sums.full))
            tokens = [_tokens(cells, token_scale) for cells in (ours, theirs)]
            counted = [_with_cost(ours, mine, other), _with_cost(theirs, other, mine)]
            divisors = [_divisor(sums, mine) for sums in counted[0]] + [_divisor(sums, other) for sums in counted[1]]
            sides = zip((candidate, incumbent), counted, strict=True)
            costs = [self._side(model, cells, math.lcm(*divisors)) for model, cells in sides]
        token_cases, cost_cases = tokens[0][0], costs[0].cases
        enough_tokens, enough_costs = token_cases >= min_cases, cost_cases >= min_cases
        upper = _upper_bound(*costs) if enough_costs else None
        return EvalFactors(
            input_factor=_ratio(tokens[0][1], tokens[1][1]) if enough_tokens else None,
            output_factor=_ratio(tokens[0][2], tokens[1][2]) if enough_tokens else None,
            token_cases=token_cases,
            cost_ratio=_ratio(costs[0].total, costs[1].total) if enough_costs else None,
            cost_cases=cost_cases,
            cost_ratio_upper=upper,
            counts_as_cheaper=None if upper is None else upper < 1,
            reason=factors_reason(token_cases, cost_cases, min_cases),
        )

    def mean_usd(self, model: str) -> tuple[Decimal, int] | None:
        """Mean cost of a result of a model, and of how many results; None where none has a cost."""
        is_priced = self._is_priced(model)
        counted = [sums for _, sums in self._over(model, model) if _divisor(sums, is_priced)]
        results = sum(sums.cases * _divisor(sums, is_priced) for sums in counted)
        with localcontext(_EXACT):
            total = sum((self._cost(model, sums)[0] for sums in counted), Decimal(0))
        return (total / results, results) if results else None

    def mean_usd_at(self, model: str, tokens_of: str) -> tuple[Decimal, int] | None:
        """Mean cost of the results of `tokens_of` with all tokens, had `model` taken the same, and of how many results.

        None where there is none or the model has no price.
        """
        rates = self.rates_of(model)
        results = sum(sums.cases * sums.full for _, sums in self._over(tokens_of, tokens_of))
        if isinstance(rates, str) or not results:
            return None
        with localcontext(_EXACT):
            costs = (rates.standard.cost_usd(sums.tokens) for _, sums in self._over(tokens_of, tokens_of))
            total = sum(costs, Decimal(0))
        return total / results, results

    def _over(self, model: str, other: str) -> tuple[Cell, ...]:
        return self.costs.over.get((model, other), ())

    def _is_priced(self, model: str) -> bool:
        return not isinstance(self.rates_of(model), str)

    def _side(self, model: str, counted: Sequence[CaseSums], scale: int) -> _Side:
        is_priced = self._is_priced(model)
        total = squares = Decimal(0)
        for sums in counted:
            times = scale // _divisor(sums, is_priced)
            first, second = self._cost(model, sums)
            total += first * times
            squares += second * times * times
        return _Side(sum(sums.cases for sums in counted), total, squares)

    def _cost(self, model: str, sums: CaseSums) -> tuple[Decimal, Decimal]:
        """What all results of the cases with a cost came to, and the sum over the cases of its square."""
        rest_usd, stated_usd, rest_square, stated_square = sums.costs
        rates = self.rates_of(model)
        if isinstance(rates, str):
            return Decimal(stated_usd), Decimal(stated_square)
        prices = rates.standard.by_kind
        squares = (
            (1 if one == two else 2) * prices[one] * prices[two] * product
            for (one, two), product in zip(TOKEN_PAIRS, sums.token_products, strict=True)
            if product
        )
        mixed = sum((price * product for price, product in zip(prices, sums.rest_tokens, strict=True)), Decimal(0))
        square = sum(squares, Decimal(0)).scaleb(2 * _PER_TOKEN) + 2 * mixed.scaleb(_PER_TOKEN) + rest_square
        return rates.standard.cost_usd(sums.tokens) + rest_usd, square


def _with_cost(cells: Sequence[Cell], is_priced: bool, other_is_priced: bool) -> list[CaseSums]:
    """Sums of the cases with a cost on both models."""
    return [sums for told, sums in cells if _divisor(sums, is_priced) and told.has_cost(is_priced=other_is_priced)]


def _divisor(sums: CaseSums, is_priced: bool) -> int:
    """How many results of each case have a cost."""
    return sums.full + sums.rest if is_priced else sums.stated


def _tokens(cells: Sequence[Cell], scale: int) -> tuple[int, Decimal, Decimal]:
    """Cases with tokens on both models, and the sums of their mean input and output times `scale`."""
    cases = asked = answered = 0
    for told, sums in cells:
        if told.tokens and sums.full:
            cases += sums.cases
            asked += sum(sums.tokens[:-1]) * (scale // sums.full)
            answered += sums.tokens[-1] * (scale // sums.full)
    return cases, Decimal(asked), Decimal(answered)


def _ratio(mine: Decimal, other: Decimal) -> Decimal | None:
    return mine / other if other else None


def _upper_bound(mine: _Side, other: _Side) -> float | None:
    """One-sided 95 % upper bound of μ_m/μ_0: exp(ln(μ_m/μ_0) + 1.645·√(s_m²/(n μ_m²) + s_0²/(n μ_0²))), the same cases.

    s is the sample standard deviation (n − 1). None with fewer than two cases or a mean not above 0.
    """
    if mine.cases < 2 or mine.total <= 0 or other.total <= 0:
        return None
    with localcontext(_EXACT):
        spread = mine.relative_variance() + other.relative_variance()
    return math.exp(math.log(mine.total / other.total) + Z_95_ONE_SIDED * math.sqrt(spread))


# -- gathering and keeping ----------------------------------------------------------------------------------------


class PairSums:
    """The sums of every pair of models, added up from groups of cases: never more than pairs of models ask for."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], dict[tuple[Told, int, int, int], Numbers]] = {}

    def add(self, tells: Mapping[str, Told], model: str, sums: CaseSums) -> None:
        """`tells`: what the cases of a group tell, of every model they tell something of; `sums`: on one of these."""
        with localcontext(_EXACT):
            for other, told in tells.items():
                cells = self._held.setdefault((model, other), {})
                key = (told, sums.full, sums.rest, sums.stated)
                held = cells.get(key)
                cells[key] = sums.numbers if held is None else tuple(map(add, held, sums.numbers))

    def costs(self) -> ClassCosts:
        return ClassCosts({pair: _in_order(cells) for pair, cells in sorted(self._held.items())})


def _in_order(cells: Mapping[tuple[Told, int, int, int], Numbers]) -> tuple[Cell, ...]:
    ordered = sorted(cells, key=lambda key: (key[0].tokens, key[0].stated, *key[1:]))
    return tuple((key[0], CaseSums(*key[1:], numbers=cells[key])) for key in ordered)


def as_document(costs: ClassCosts) -> dict[str, Any]:
    """As JSON, exactly. Sums that several pairs share, as where all models ran the same cases, are written once."""
    models = sorted({model for pair in costs.over for model in pair})
    places: dict[CaseSums, int] = {}
    over = [
        [
            models.index(model),
            models.index(other),
            [[told.tokens, told.stated, places.setdefault(sums, len(places))] for told, sums in cells],
        ]
        for (model, other), cells in costs.over.items()
    ]
    return {"models": models, "sums": [_as_list(sums) for sums in places], "over": over}


def of_document(document: Mapping[str, Any]) -> ClassCosts:
    models = document["models"]
    sums = [_of_list(row) for row in document["sums"]]
    return ClassCosts(
        {
            (models[model], models[other]): tuple(
                (_TOLD[tokens, stated], sums[place]) for tokens, stated, place in cells
            )
            for model, other, cells in document["over"]
        }
    )


_TOLD = {(tokens, stated): Told(tokens, stated) for tokens in (False, True) for stated in (False, True)}


def _as_list(sums: CaseSums) -> list[Any]:
    numbers = [*sums.numbers[:WHOLE_NUMBERS], *map(str, sums.numbers[WHOLE_NUMBERS:])]
    return [sums.full, sums.rest, sums.stated, *numbers]


def _of_list(row: Sequence[Any]) -> CaseSums:
    full, rest, stated, *numbers = row
    return CaseSums(full, rest, stated, (*numbers[:WHOLE_NUMBERS], *map(Decimal, numbers[WHOLE_NUMBERS:])))
