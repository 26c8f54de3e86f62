"""From counted usage to what a class takes per unit, on models that serve it and on those that could (methods §2)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Protocol

from billing.core.words import signed
from routing.core.levers import (
    MTOK,
    NO_CACHE,
    CacheUse,
    LeverCosts,
    Profile,
    ReuseFacts,
    lever_costs,
)
from routing.core.profiles import EvalFactors, RatesOf

MEASURED_REQUESTS = 1_000
ASSUMED_NEWER_TOKENIZER = Decimal("1.3")  # formats: the same text is 1.0-1.35 times the tokens, about +30 %
ASSUMED_RANGE = (Decimal("1.0"), Decimal("1.35"))

Measured = Callable[[str, str], EvalFactors]  # what evals say of two models, the first over the second


class Served(Protocol):
    """Counted usage of a class on one model in the window (billing.queries.profiles.ServedUsage)."""

    @property
    def model(self) -> str: ...
    @property
    def requests(self) -> int | None: ...
    @property
    def uncached_input_tok(self) -> int: ...
    @property
    def cache_read_tok(self) -> int: ...
    @property
    def cache_write_5m_tok(self) -> int: ...
    @property
    def cache_write_1h_tok(self) -> int: ...
    @property
    def output_tok(self) -> int: ...
    @property
    def batch_cache_read_tok(self) -> int: ...
    @property
    def batch_cache_write_5m_tok(self) -> int: ...
    @property
    def batch_cache_write_1h_tok(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ClassTraffic:
    """What a class took in the window. `units` are requests, or millions of input-equivalent tokens on the reference
    model's tokenizer where a counted source has no request counts. `measured` holds profiles of models with enough
    traffic of this class; the reference model's profile stands for the others, times factors.
    `batch_cache`: how requests sent in batch found their prefix; "none" where that was not measured."""

    units: Decimal
    unit_name: str
    reference_model: str
    reference: Profile
    measured: Mapping[str, Profile]
    measured_units: Mapping[str, Decimal]
    own_cache: CacheUse | None
    reuse: ReuseFacts | None
    batch_share: Decimal
    batch_cache: CacheUse = NO_CACHE


@dataclass(frozen=True, slots=True)
class ModelFactors:
    """Where a model's profile comes from: measured, measured in evals (tokens, or only cost), or assumed.

    `counts_as_cheaper`: the 95 % test against the incumbent; None = assumed factors, the point value decides.
    `token_range`: the ends of an assumed factor as multiples of the factor used; None = measured, or no factor.
    """

    source: str
    profile: Profile | None
    cost_ratio: Decimal | None
    counts_as_cheaper: bool | None
    token_range: tuple[Decimal, Decimal] | None = None


def class_traffic(
    served: Sequence[Served],
    *,
    generations: Mapping[str, int | None],
    incumbent: str,
    keeps_own_caching: bool,
    reuse: Mapping[str, Any],
    batch_share: Decimal,
) -> ClassTraffic:
    """Profile of a class from its counted rows. `served` must not be empty.

    `reuse` (an owner's entry or a trace, used where the class does not cache): `prefix_share` of all input or
    `prefix_tok` per request, `hit_share_5m`, `hit_share_1h`, `source`.
    """
    by_requests = all(row.requests is not None for row in served)
    weights = {row.model: _units(row, by_requests, Decimal(1)) for row in served}
    settled = weights.get(incumbent, Decimal(0)) * (1 if by_requests else 10**6) >= MEASURED_REQUESTS
    largest = min(weights, key=lambda model: (-weights[model], model))
    reference_model = incumbent if settled else largest
    units = {
        row.model: _units(row, by_requests, tokenizer_factor(generations, reference_model, row.model)) for row in served
    }
    cached_tok = sum(row.cache_read_tok + row.cache_write_5m_tok + row.cache_write_1h_tok for row in served)
    is_cached = keeps_own_caching or cached_tok > 0
    prefix_of = _measured_prefix if is_cached else _stated_prefix(reuse, by_requests)
    profiles = {row.model: _profile(row, units[row.model], prefix_of(row, units[row.model])) for row in served}
    enough = {
        model: profile
        for model, profile in profiles.items()
        if model == reference_model or (by_requests and units[model] >= MEASURED_REQUESTS)
    }
    cache, batch_cache = _cache_use(served), _batch_cache_use(served)
    if cache.ttl == "none":  # only batch requests cache: what they find is all that is known
        cache = batch_cache
    return ClassTraffic(
        units=sum(units.values(), Decimal(0)),
        unit_name="request" if by_requests else "million input tokens",
        reference_model=reference_model,
        reference=profiles[reference_model],
        measured=enough,
        measured_units={model: units[model] for model in enough},
        own_cache=cache if keeps_own_caching else None,
        reuse=_reuse_facts(reuse, profiles[reference_model], cache, is_measured=is_cached and not keeps_own_caching),
        batch_share=batch_share,
        batch_cache=batch_cache,
    )


def tokenizer_factor(generations: Mapping[str, int | None], base: str, model: str) -> Decimal:
    """Assumed tokens on `model` per token on `base`: 1 within a generation, 1.3 to the newer, its inverse back."""
    own, other = generations.get(base), generations.get(model)
    if own is None or other is None or own == other:
        return Decimal(1)
    return ASSUMED_NEWER_TOKENIZER if other > own else 1 / ASSUMED_NEWER_TOKENIZER


def model_factors(
    model: str,
    *,
    incumbent: str,
    traffic: ClassTraffic,
    measured: Measured,
    generations: Mapping[str, int | None],
) -> ModelFactors:
    """Profile of a model, from the first source that exists (methods.md §2), and whether it counts as cheaper."""
    if model in traffic.measured:
        source = f"measured: {signed(traffic.measured_units[model], 0)} {traffic.unit_name.rstrip('s')}s of this class"
        return ModelFactors(source, traffic.measured[model], None, counts_as_cheaper=True)
    factors = against_incumbent = measured(model, incumbent)
    if traffic.reference_model != incumbent:
        factors = measured(model, traffic.reference_model)
    if factors.input_factor is not None and factors.output_factor is not None:
        profile = traffic.reference.scaled(input_factor=factors.input_factor, output_factor=factors.output_factor)
        return ModelFactors(factors.reason, profile, None, against_incumbent.counts_as_cheaper)
    if factors.cost_ratio is not None:
        return ModelFactors(factors.reason, None, factors.cost_ratio, against_incumbent.counts_as_cheaper)
    factor = tokenizer_factor(generations, traffic.reference_model, model)
    profile = traffic.reference.scaled(input_factor=factor, output_factor=factor)
    source = f"assumed: {{}} as on {traffic.reference_model}"
    if factor == 1:
        return ModelFactors(source.format("the same tokens"), profile, None, None)
    low, high = tokenizer_range(factor)
    words = f"{signed(factor, 2)}× the tokens (range {signed(low, 2)}–{signed(high, 2)})"
    return ModelFactors(source.format(words), profile, None, None, (low / factor, high / factor))


def tokenizer_range(factor: Decimal) -> tuple[Decimal, Decimal]:
    """Between which factors an assumed one may lie: 1.0 to 1.35 towards the newer tokenizer, the inverses back.

    >>> tokenizer_range(Decimal("1.3"))
    (Decimal('1.0'), Decimal('1.35'))
    """
    if factor == 1:
        return factor, factor
    low, high = ASSUMED_RANGE
    return (low, high) if factor > 1 else (1 / high, 1 / low)


def model_costs(
    model: str, *, traffic: ClassTraffic, factors: ModelFactors, rates_of: RatesOf
) -> tuple[LeverCosts | None, ModelFactors]:
    """Unit costs of a model for every lever set, or None with the reason in place of the source."""
    priced = model if factors.cost_ratio is None else traffic.reference_model
    rates = rates_of(priced)
    if isinstance(rates, str):
        return None, replace(factors, source=rates)
    costs = lever_costs(
        factors.profile or traffic.reference,
        rates,
        reuse=traffic.reuse,
        own_cache=traffic.own_cache,
        batch_share=traffic.batch_share,
        batch_cache=traffic.batch_cache,
    )
    if factors.cost_ratio is not None:
        costs = costs.times(factors.cost_ratio, model=model)
    if factors.token_range is not None:
        costs = costs.between(*factors.token_range)
    return costs, factors


# -- parts -----------------------------------------------------------------------------------------------------


def _units(row: Served, by_requests: bool, factor: Decimal) -> Decimal:
    if by_requests:
        return Decimal(row.requests or 0)
    return Decimal(_input_tok(row)) / factor / MTOK


def _input_tok(row: Served) -> int:
    return row.uncached_input_tok + row.cache_read_tok + row.cache_write_5m_tok + row.cache_write_1h_tok


def _profile(row: Served, units: Decimal, prefix_tok: Decimal) -> Profile:
    if units == 0:
        return Profile(Decimal(0), Decimal(0), Decimal(0))
    return Profile(_input_tok(row) / units - prefix_tok, prefix_tok, row.output_tok / units)


def _measured_prefix(row: Served, units: Decimal) -> Decimal:
    return (_input_tok(row) - row.uncached_input_tok) / units if units else Decimal(0)


def _stated_prefix(reuse: Mapping[str, Any], by_requests: bool) -> Callable[[Served, Decimal], Decimal]:
    """Prefix tokens per unit by the class's reuse facts; never more than the input there is."""

    def prefix(row: Served, units: Decimal) -> Decimal:
        if not units:
            return Decimal(0)
        whole = _input_tok(row) / units
        if reuse.get("prefix_share") is not None:
            return whole * Decimal(str(reuse["prefix_share"]))
        if reuse.get("prefix_tok") is not None and by_requests:
            return min(whole, Decimal(str(reuse["prefix_tok"])))
        return Decimal(0)

    return prefix


def _cache_use(served: Sequence[Served]) -> CacheUse:
    """How requests that were not sent in batch found their prefix: batch ones have a hit share of their own."""
    return _use_of(
        read=sum(row.cache_read_tok - row.batch_cache_read_tok for row in served),
        write_5m=sum(row.cache_write_5m_tok - row.batch_cache_write_5m_tok for row in served),
        write_1h=sum(row.cache_write_1h_tok - row.batch_cache_write_1h_tok for row in served),
    )


def _batch_cache_use(served: Sequence[Served]) -> CacheUse:
    return _use_of(
        read=sum(row.batch_cache_read_tok for row in served),
        write_5m=sum(row.batch_cache_write_5m_tok for row in served),
        write_1h=sum(row.batch_cache_write_1h_tok for row in served),
    )


def _use_of(*, read: int, write_5m: int, write_1h: int) -> CacheUse:
    write = write_5m + write_1h
    if read + write == 0:
        return NO_CACHE
    return CacheUse("own", Decimal(read) / (read + write), Decimal(write_1h) / write if write else Decimal(0))


def _reuse_facts(
    reuse: Mapping[str, Any], profile: Profile, cache: CacheUse, *, is_measured: bool
) -> ReuseFacts | None:
    if is_measured:
        hour = cache.write_1h_share > Decimal("0.5")
        return ReuseFacts(
            prefix_tok=profile.prefix_tok,
            hit_share_5m=None if hour else cache.hit_share,
            hit_share_1h=cache.hit_share if hour else None,
            source="measured in this class's traffic",
            is_assumed=False,
        )
    if not reuse:
        return None

    def share(name: str) -> Decimal | None:
        return None if reuse.get(name) is None else Decimal(str(reuse[name]))

    return ReuseFacts(
        prefix_tok=profile.prefix_tok,
        hit_share_5m=share("hit_share_5m"),
        hit_share_1h=share("hit_share_1h"),
        source=str(reuse.get("source", "an owner's entry")),
        is_assumed=True,
    )
