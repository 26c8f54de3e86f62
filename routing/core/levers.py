"""Cost of a request under the three levers: routing (which model), caching (which writes) and batch.

Everything here is exact decimal arithmetic on measured or stated facts (methods.md §2). Tokens are per *unit*: a
request, or a million input-equivalent tokens where the source does not count requests. Prices are usd per million
tokens and are absolute for every kind and service tier: no multiplier is ever assumed.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

from billing.core.words import percent, signed

ONE = Decimal(1)
ZERO = Decimal(0)
MTOK = Decimal(1_000_000)

Ttl = Literal["none", "5m", "1h", "own"]
Lever = Literal["routing", "caching", "batch"]
LEVERS: tuple[Lever, ...] = ("routing", "caching", "batch")
LeverSet = frozenset[Lever]


class NoBatchPrice(LookupError):
    """A batch share was asked for a model without batch prices."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices of one model in one service tier, usd per million tokens."""

    uncached_input: Decimal
    cache_read: Decimal
    cache_write_5m: Decimal
    cache_write_1h: Decimal
    output: Decimal

    @property
    def by_kind(self) -> tuple[Decimal, ...]:
        """In the order in which tokens are counted everywhere."""
        return (self.uncached_input, self.cache_read, self.cache_write_5m, self.cache_write_1h, self.output)

    def cost_usd(self, counts: Sequence[int]) -> Decimal:
        """Of so many tokens of each kind, in the order of `by_kind`; unrounded within the decimal context."""
        return sum((price * count for price, count in zip(self.by_kind, counts, strict=True)), ZERO) / MTOK


@dataclass(frozen=True, slots=True)
class ModelRates:
    """What a model costs now. `batch` is None where no batch price is known; `min_cacheable_tok` None = unknown."""

    model: str
    standard: Rates
    batch: Rates | None
    min_cacheable_tok: int | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """Tokens per unit: uncached input outside the cacheable prefix, the prefix, and output."""

    input_tok: Decimal
    prefix_tok: Decimal
    output_tok: Decimal

    def scaled(self, *, input_factor: Decimal, output_factor: Decimal) -> "Profile":
        """The same work on a model that needs that many times the tokens."""
        return Profile(self.input_tok * input_factor, self.prefix_tok * input_factor, self.output_tok * output_factor)


@dataclass(frozen=True, slots=True)
class CacheUse:
    """How the prefix is sent. `hit_share` = cache_read / (cache_read + cache_write) tokens.

    `write_1h_share` is the part of written tokens that go to the 1-hour cache (1 for ttl "1h", 0 for "5m").
    """

    ttl: Ttl
    hit_share: Decimal = ZERO
    write_1h_share: Decimal = ZERO


NO_CACHE = CacheUse("none")


@dataclass(frozen=True, slots=True)
class ReuseFacts:
    """How much of the prompt repeats, and how often it is found again within the time to live.

    None = not known for that time to live. `is_assumed` where it is an owner's entry or a trace of other traffic.
    """

    prefix_tok: Decimal
    hit_share_5m: Decimal | None
    hit_share_1h: Decimal | None
    source: str
    is_assumed: bool


@dataclass(frozen=True, slots=True)
class CachingOption:
    """One way to cache the prefix: its factor F on the input price and whether it pays (F < 1).

    `extra_usd`: what a unit costs more with it than with the prefix sent uncached; below 0 where it pays.
    """

    cache: CacheUse
    factor: Decimal
    break_even_hit_share: Decimal | None
    reason: str
    extra_usd: Decimal = ZERO

    @property
    def pays(self) -> bool:
        return self.factor < 1


@dataclass(frozen=True, slots=True)
class LeverCosts:
    """Unit cost in usd of one model for every combination of caching and batch, and what was decided about each.

    `rewrite_usd`: what a unit costs more when the cache is cold, as after a switch of models: hits become writes.
    `batch_loss_usd`: what a unit would cost more if what can wait were sent in batch; 0 where that does not lose money.
    `low`, `high`: the same costs at the ends of an assumed number of tokens; None where they are measured.
    """

    model: str
    by_levers: dict[LeverSet, Decimal]
    caching: CacheUse
    caching_options: tuple[CachingOption, ...]
    batch_share: Decimal
    batch_reason: str
    rewrite_usd: Decimal = ZERO
    batch_loss_usd: Decimal = ZERO
    low: dict[LeverSet, Decimal] | None = None
    high: dict[LeverSet, Decimal] | None = None

    def unit_cost_usd(self, levers: LeverSet) -> Decimal:
        """Cost of a unit with these levers; the routing lever chose the model and is ignored here."""
        return self.by_levers[levers - {"routing"}]

    def unit_cost_range_usd(self, levers: LeverSet) -> tuple[Decimal, Decimal] | None:
        """The cost at both ends of an assumed number of tokens; None where it is measured."""
        if self.low is None or self.high is None:
            return None
        return self.low[levers - {"routing"}], self.high[levers - {"routing"}]

    def between(self, low: Decimal, high: Decimal) -> "LeverCosts":
        """With the ends of an assumed number of tokens, as multiples of the one these costs are for."""
        return replace(
            self,
            low={levers: cost * low for levers, cost in self.by_levers.items()},
            high={levers: cost * high for levers, cost in self.by_levers.items()},
        )

    def times(self, ratio: Decimal, *, model: str) -> "LeverCosts":
        """Costs of another model known only by a cost ratio measured on the same cases (methods.md §2)."""
        return replace(self._scaled(ratio, ZERO), model=model)

    def surcharged(self, *, premium: Decimal, extra_usd: Decimal) -> "LeverCosts":
        """With what a unit costs on any model alike: a premium on tokens (inference geo, speed), web searches."""
        return self._scaled(premium, extra_usd)

    def _scaled(self, factor: Decimal, extra_usd: Decimal) -> "LeverCosts":
        """Every cost times a factor, plus what no lever changes: differences between costs are scaled alone."""
        if factor == 1 and not extra_usd:
            return self

        def changed(costs: dict[LeverSet, Decimal]) -> dict[LeverSet, Decimal]:
            return {levers: cost * factor + extra_usd for levers, cost in costs.items()}

        return replace(
            self,
            by_levers=changed(self.by_levers),
            caching_options=tuple(
                replace(option, extra_usd=option.extra_usd * factor) for option in self.caching_options
            ),
            rewrite_usd=self.rewrite_usd * factor,
            batch_loss_usd=self.batch_loss_usd * factor,
            low=None if self.low is None else changed(self.low),
            high=None if self.high is None else changed(self.high),
        )


def prefix_usd_per_mtok(rates: Rates, cache: CacheUse) -> Decimal:
    """Price of a prefix token: P_in without caching, else write on a miss and read on a hit (= P_in · F)."""
    if cache.ttl == "none":
        return rates.uncached_input
    write = rates.cache_write_1h * cache.write_1h_share + rates.cache_write_5m * (ONE - cache.write_1h_share)
    return write * (ONE - cache.hit_share) + rates.cache_read * cache.hit_share


def unit_cost_usd(
    profile: Profile,
    rates: ModelRates,
    *,
    cache: CacheUse = NO_CACHE,
    batch_share: Decimal = ZERO,
    batch_cache: CacheUse = NO_CACHE,
) -> Decimal:
    """Expected cost of one unit in usd, exact (methods.md §2, each kind at its own batch price).

    Raises NoBatchPrice when `batch_share` > 0 and the model has no batch prices.

    >>> opus = Rates(Decimal(5), Decimal("0.5"), Decimal("6.25"), Decimal(10), Decimal(25))
    >>> unit_cost_usd(Profile(Decimal(500), Decimal(1500), Decimal(300)), ModelRates("opus", opus, None))
    Decimal('0.0175')
    """

    def part(tier: Rates, use: CacheUse) -> Decimal:
        prefix = profile.prefix_tok * prefix_usd_per_mtok(tier, use)
        return profile.input_tok * tier.uncached_input + prefix + profile.output_tok * tier.output

    cost = (ONE - batch_share) * part(rates.standard, cache)
    if batch_share > 0:
        if rates.batch is None:
            raise NoBatchPrice(f"{rates.model} has no batch price: add one, or set the class's batchable share to 0")
        cost += batch_share * part(rates.batch, batch_cache)
    return cost / MTOK


def same_tokens_ratio(profile: Profile, rates: ModelRates | str, own: ModelRates | str) -> Decimal | None:
    """What the tokens of a unit cost at one model's prices over another's, without levers; None without prices."""
    if isinstance(rates, str) or isinstance(own, str):
        return None
    cost = unit_cost_usd(profile, own)
    return unit_cost_usd(profile, rates) / cost if cost else None


# -- caching -------------------------------------------------------------------------------------------------


def break_even_hit_share(write_ratio: float, read_ratio: float) -> float:
    """Hit share above which caching pays: (w − 1)/(w − r)."""
    return (write_ratio - 1) / (write_ratio - read_ratio)


def break_even_reads_per_write(write_ratio: float, read_ratio: float) -> float:
    """Reads of a written prefix above which caching pays: (w − 1)/(1 − r)."""
    return (write_ratio - 1) / (1 - read_ratio)


def poisson_hit_share(requests_per_hour: float, ttl_hours: float) -> float:
    """Hit share of one prefix asked for at random at that rate, when every use restarts its time to live."""
    return -math.expm1(-requests_per_hour * ttl_hours)


def break_even_requests_per_hour(write_ratio: float, read_ratio: float, ttl_hours: float) -> float:
    """Rate of one prefix above which caching pays: −ln(1 − h*)/T."""
    return -math.log1p(-break_even_hit_share(write_ratio, read_ratio)) / ttl_hours


def caching_factor(write_ratio: float, read_ratio: float, hit_share: float) -> float:
    """F = w − (w − r)·h: what the prefix costs against sending it uncached."""
    return write_ratio - (write_ratio - read_ratio) * hit_share


def one_hour_beats_five_minutes(requests_per_hour: float, w5: float, w1: float, r: float) -> bool:
    """Whether 1-hour writes are cheaper for one Poisson prefix; as a difference of exponentials, not of two F."""
    return (w5 - r) * math.exp(-requests_per_hour / 12) - (w1 - r) * math.exp(-requests_per_hour) > 0


def caching_options(profile: Profile, rates: ModelRates, reuse: ReuseFacts) -> tuple[CachingOption, ...]:
    """Every way to cache this prefix on this model, each saying when it loses money and is then not recommended."""
    tier = rates.standard
    ways: Iterable[tuple[Ttl, Decimal | None, Decimal, Decimal]] = (
        ("5m", reuse.hit_share_5m, tier.cache_write_5m, ZERO),
        ("1h", reuse.hit_share_1h, tier.cache_write_1h, ONE),
    )
    options = []
    for ttl, hit_share, write, write_1h_share in ways:
        if hit_share is None or profile.prefix_tok == 0:
            continue
        needed = (write - tier.uncached_input) / (write - tier.cache_read)
        too_short = rates.min_cacheable_tok is not None and profile.prefix_tok < rates.min_cacheable_tok
        cache = NO_CACHE if too_short else CacheUse(ttl, hit_share, write_1h_share)
        factor = prefix_usd_per_mtok(tier, cache) / tier.uncached_input
        name = {"5m": "5-minute", "1h": "1-hour"}[ttl]
        if too_short:
            reason = (
                f"{name} caching has no effect: the prefix of {signed(profile.prefix_tok, 0)} tokens is shorter than "
                f"the {rates.min_cacheable_tok:,} tokens {rates.model} can cache"
            )
        else:
            word = "pays" if factor < 1 else "loses money"
            reason = (
                f"{name} caching {word}: {percent(hit_share)} of prefix tokens are found in the cache, "
                f"break-even is {percent(needed)}; the prefix costs {signed(factor, 2)}× its uncached price"
            )
        extra = profile.prefix_tok * tier.uncached_input * (factor - 1) / MTOK
        options.append(CachingOption(CacheUse(ttl, hit_share, write_1h_share), factor, needed, reason, extra))
    return tuple(options)


def best_caching(options: tuple[CachingOption, ...]) -> CacheUse:
    """The option of least factor if one pays, else no caching; ties to the shorter time to live."""
    paying = [option for option in options if option.pays]
    return min(paying, key=lambda option: option.factor).cache if paying else NO_CACHE


def lever_costs(
    profile: Profile,
    rates: ModelRates,
    *,
    reuse: ReuseFacts | None,
    own_cache: CacheUse | None,
    batch_share: Decimal,
    batch_cache: CacheUse = NO_CACHE,
) -> LeverCosts:
    """Unit costs of one model for {}, {caching}, {batch} and {caching, batch}.

    `own_cache` is set where the class's client caches by itself: then it caches in every combination and the
    caching lever adds nothing. `batch_cache`: how requests in batch found their prefix, where that was measured; else
    they are sent without cache marks, as they are where their own hits do not pay.
    """
    options = caching_options(profile, rates, reuse) if reuse is not None and own_cache is None else ()
    without = own_cache if own_cache is not None else NO_CACHE
    with_caching = own_cache if own_cache is not None else best_caching(options)
    in_batch = _cache_in_batch(rates, with_caching, batch_cache, is_own=own_cache is not None)
    share, reason, batch_loss = _batch_decision(profile, rates, with_caching, batch_share, in_batch, batch_cache)
    by_levers: dict[LeverSet, Decimal] = {}
    for cached, cache in ((False, without), (True, with_caching)):
        for batched in (False, True):
            levers: set[Lever] = set()
            if cached:
                levers.add("caching")
            if batched:
                levers.add("batch")
            by_levers[frozenset(levers)] = unit_cost_usd(
                profile,
                rates,
                cache=cache,
                batch_share=share if batched else ZERO,
                batch_cache=in_batch if cache.ttl != "none" else NO_CACHE,
            )
    rewrite = rewrite_usd(profile, rates.standard, with_caching)
    return LeverCosts(rates.model, by_levers, with_caching, options, share, reason, rewrite, batch_loss)


def _cache_in_batch(rates: ModelRates, cache: CacheUse, measured: CacheUse, *, is_own: bool) -> CacheUse:
    """How batch requests are sent: as their client does by itself, else with cache marks only where those pay."""
    if cache.ttl == "none" or measured.ttl == "none" or rates.batch is None:
        return NO_CACHE
    pays = prefix_usd_per_mtok(rates.batch, measured) < rates.batch.uncached_input
    return measured if is_own or pays else NO_CACHE


def rewrite_usd(profile: Profile, rates: Rates, cache: CacheUse) -> Decimal:
    """What a unit costs more than planned when nothing of its prefix is in the cache: hits become writes."""
    if cache.ttl == "none":
        return ZERO
    write = rates.cache_write_1h * cache.write_1h_share + rates.cache_write_5m * (ONE - cache.write_1h_share)
    return profile.prefix_tok * cache.hit_share * (write - rates.cache_read) / MTOK


def cold_cache_usd(costs: LeverCosts, *, units_per_hour: Decimal) -> Decimal:
    """The most a switch of models costs once: every unit of one time to live finds a cold cache.

    Who asks again within that time finds what it wrote, so this is a bound from above.

    >>> opus = Rates(Decimal(5), Decimal("0.5"), Decimal("6.25"), Decimal(10), Decimal(25))
    >>> reuse = ReuseFacts(Decimal(8000), Decimal("0.6"), None, "trace", False)
    >>> profile = Profile(Decimal(4000), Decimal(8000), Decimal(2000))
    >>> costs = lever_costs(profile, ModelRates("opus", opus, None), reuse=reuse, own_cache=None, batch_share=ZERO)
    >>> cold_cache_usd(costs, units_per_hour=Decimal(600))
    Decimal('1.38')
    """
    lives_an_hour = costs.caching.ttl == "1h" or costs.caching.write_1h_share > Decimal("0.5")
    in_one_life = units_per_hour if lives_an_hour else units_per_hour / 12
    return (in_one_life * costs.rewrite_usd).normalize()


def _batch_decision(
    profile: Profile,
    rates: ModelRates,
    cache: CacheUse,
    share: Decimal,
    in_batch: CacheUse,
    measured: CacheUse,
) -> tuple[Decimal, str, Decimal]:
    """Batch only where it lowers the cost with the cache hits that batch requests lose; else what it would lose."""
    if share == 0:
        return ZERO, "nothing in this class can wait", ZERO
    if rates.batch is None:
        return ZERO, f"{rates.model} has no batch price", ZERO
    can_wait = percent(share, 0)
    online = unit_cost_usd(profile, rates, cache=cache)
    batched = unit_cost_usd(profile, rates, cache=cache, batch_share=share, batch_cache=in_batch)
    if batched < online:
        times = f"batch costs {signed(batched / online, 2)}× per unit"
        return (
            share,
            f"{can_wait} of requests can wait; {times}{_told_of_batch_cache(rates, cache, in_batch, measured)}",
            ZERO,
        )
    plain = unit_cost_usd(profile, rates)
    if unit_cost_usd(profile, rates, batch_share=ONE) >= plain:
        reason = f"batch loses money: the batch price of {rates.model} is not below its standard price"
    else:
        reason = f"batch loses money: cache hits lost cost more than the batch discount saves on {can_wait}"
    return ZERO, reason, batched - online


def _told_of_batch_cache(rates: ModelRates, cache: CacheUse, in_batch: CacheUse, measured: CacheUse) -> str:
    if cache.ttl == "none":
        return ""
    if measured.ttl == "none":
        return ", sent without cache marks (no hits of batch requests are measured)"
    assert rates.batch is not None
    hits = f"{percent(measured.hit_share)} of their prefix tokens are found in the cache"
    if in_batch.ttl == "none":
        factor = prefix_usd_per_mtok(rates.batch, measured) / rates.batch.uncached_input
        return f", sent without cache marks: {hits}, so caching inside batch loses money ({signed(factor, 2)}×)"
    return f"; {hits} also in batch"
