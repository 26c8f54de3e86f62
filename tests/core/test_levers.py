"""Levers against the worked numbers of methods.md §2."""

from decimal import Decimal as D

import pytest

from routing.core import levers as lv
from routing.core.traffic import tokenizer_factor, tokenizer_range

FS = frozenset
OPUS = lv.Rates(D(5), D("0.5"), D("6.25"), D(10), D(25))
OPUS_BATCH = lv.Rates(D("2.5"), D("0.25"), D("3.125"), D(5), D("12.5"))
RATES = lv.ModelRates("opus", OPUS, OPUS_BATCH)
PROFILE = lv.Profile(D(500), D(1500), D(300))


@pytest.mark.parametrize(
    ("w", "r", "ttl_hours", "hit_share", "reads", "rate", "factors"),
    [
        (1.25, 0.1, 1 / 12, 0.217391, 0.277778, 2.941469, [1.158051, 0.995621, 0.797510, 0.523061, 0.107749]),
        (2, 0.1, 1, 0.526316, 1.111111, 0.747214, [0.798971, 0.194595, 0.104710, 0.100012, 0.100000]),
    ],
)
def test_break_even_table(w, r, ttl_hours, hit_share, reads, rate, factors):
    assert lv.break_even_hit_share(w, r) == pytest.approx(hit_share, abs=5e-7)
    assert lv.break_even_reads_per_write(w, r) == pytest.approx(reads, abs=5e-7)
    assert lv.break_even_requests_per_hour(w, r, ttl_hours) == pytest.approx(rate, abs=5e-7)
    got = [lv.caching_factor(w, r, lv.poisson_hit_share(x, ttl_hours)) for x in (1, 3, 6, 12, 60)]
    assert got == pytest.approx(factors, abs=5e-7)


@pytest.mark.parametrize(("w", "r", "hit_share"), [(1.2, 0.12, 0.185185), (1.25, 0.05, 0.208333)])
def test_break_even_of_other_price_lists(w, r, hit_share):
    assert lv.break_even_hit_share(w, r) == pytest.approx(hit_share, abs=5e-7)


def test_one_hour_writes_win_from_0_547737_requests_an_hour():
    assert not lv.one_hour_beats_five_minutes(0.547736, 1.25, 2, 0.1)
    assert lv.one_hour_beats_five_minutes(0.547738, 1.25, 2, 0.1)
    assert lv.one_hour_beats_five_minutes(450, 1.25, 2, 0.1), "a difference of two F shows a false tie here"


@pytest.mark.parametrize(
    ("cache", "batch_share", "batch_cache", "expected"),
    [
        (lv.NO_CACHE, D(0), lv.NO_CACHE, D("0.0175")),
        (lv.CacheUse("5m", D("0.9")), D(0), lv.NO_CACHE, D("0.0116125")),
        (lv.NO_CACHE, D("0.5"), lv.NO_CACHE, D("0.013125")),
        (lv.CacheUse("5m", D("0.9")), D("0.5"), lv.CacheUse("5m", D("0.9")), D("0.008709375")),
        # batch requests lose the cache: 0.5·0.0116125 + 0.5·0.00875
        (lv.CacheUse("5m", D("0.9")), D("0.5"), lv.NO_CACHE, D("0.01018125")),
    ],
)
def test_unit_cost_of_triage_on_opus(cache, batch_share, batch_cache, expected):
    got = lv.unit_cost_usd(PROFILE, RATES, cache=cache, batch_share=batch_share, batch_cache=batch_cache)
    assert got == expected


def test_batch_without_a_batch_price_is_refused():
    with pytest.raises(lv.NoBatchPrice, match="opus has no batch price"):
        lv.unit_cost_usd(PROFILE, lv.ModelRates("opus", OPUS, None), batch_share=D("0.1"))


def test_caching_that_loses_money_is_not_recommended():
    reuse = lv.ReuseFacts(D(1500), D("0.30"), D("0.40"), "trace", is_assumed=True)
    five, hour = lv.caching_options(PROFILE, RATES, reuse)
    assert five.pays and not hour.pays
    assert "pays" in five.reason and "1-hour caching loses money" in hour.reason
    assert lv.best_caching((five, hour)).ttl == "5m"
    assert lv.best_caching((hour,)) == lv.NO_CACHE


def test_a_prefix_below_the_minimum_length_is_not_cached():
    reuse = lv.ReuseFacts(D(1500), D("0.9"), None, "trace", is_assumed=True)
    (option,) = lv.caching_options(PROFILE, lv.ModelRates("opus", OPUS, None, min_cacheable_tok=1501), reuse)
    assert option.factor == 1 and not option.pays and "shorter than the 1,501 tokens" in option.reason
    (at_limit,) = lv.caching_options(PROFILE, lv.ModelRates("opus", OPUS, None, min_cacheable_tok=1500), reuse)
    assert at_limit.pays


def test_own_caching_stays_in_every_lever_set():
    own = lv.CacheUse("own", D("0.9"))
    costs = lv.lever_costs(PROFILE, RATES, reuse=None, own_cache=own, batch_share=D(0))
    assert set(costs.by_levers.values()) == {D("0.0116125")}


def test_batch_that_loses_its_cache_hits_is_not_taken():
    profile = lv.Profile(D(0), D(100_000), D(10))
    reuse = lv.ReuseFacts(D(100_000), D("0.99"), None, "trace", is_assumed=False)
    costs = lv.lever_costs(profile, RATES, reuse=reuse, own_cache=None, batch_share=D(1))
    assert costs.batch_share == 0 and "batch loses money" in costs.batch_reason


def test_write_mix_of_both_times_to_live():
    cache = lv.CacheUse("own", D("0.5"), write_1h_share=D("0.25"))
    assert lv.prefix_usd_per_mtok(OPUS, cache) == (D("6.25") * D("0.75") + 10 * D("0.25")) / 2 + D("0.25")


# -- a switch of models, and assumed tokens ----------------------------------------------------------------------------


def test_a_switch_starts_with_a_cold_cache_and_costs_at_most_one_life_of_it():
    """legal of methods.md §8: 8,000 prefix tokens at a hit share of 0.6, 600 requests an hour on Opus."""
    reuse = lv.ReuseFacts(D(8000), D("0.6"), None, "trace", is_assumed=False)
    costs = lv.lever_costs(lv.Profile(D(4000), D(8000), D(2000)), RATES, reuse=reuse, own_cache=None, batch_share=D(0))
    assert costs.rewrite_usd == D("0.0276")  # 4,800 tokens at 6.25 instead of 0.50
    assert lv.cold_cache_usd(costs, units_per_hour=D(600)) == D("1.38")
    uncached = lv.lever_costs(PROFILE, RATES, reuse=None, own_cache=None, batch_share=D(0))
    assert lv.cold_cache_usd(uncached, units_per_hour=D(600)) == 0


def test_a_one_hour_cache_is_cold_for_an_hour():
    own = lv.CacheUse("own", D("0.6"), write_1h_share=D(1))
    costs = lv.lever_costs(lv.Profile(D(4000), D(8000), D(2000)), RATES, reuse=None, own_cache=own, batch_share=D(0))
    assert lv.cold_cache_usd(costs, units_per_hour=D(600)) == 600 * D("0.0048") * D("9.5")


def test_assumed_tokens_have_both_ends_in_every_lever_set():
    costs = lv.lever_costs(PROFILE, RATES, reuse=None, own_cache=None, batch_share=D("0.5"))
    assert costs.unit_cost_range_usd(FS()) is None
    ends = costs.between(D("0.8"), D("1.1")).surcharged(premium=D("1.1"), extra_usd=D("0.002"))
    for levers, cost in costs.by_levers.items():
        assert ends.unit_cost_range_usd(levers) == (
            cost * D("0.8") * D("1.1") + D("0.002"),
            cost * D("1.1") * D("1.1") + D("0.002"),
        )
    assert costs.between(D(1), D(2)).times(D("0.5"), model="m").unit_cost_range_usd(FS()) == (
        costs.by_levers[FS()] * D("0.5"),
        costs.by_levers[FS()],
    )


@pytest.mark.parametrize(
    ("base", "model", "factor", "ends"),
    [
        (1, 2, D("1.3"), (D("1.0"), D("1.35"))),
        (2, 1, 1 / D("1.3"), (1 / D("1.35"), D(1))),
        (1, 1, D(1), (D(1), D(1))),
        (None, 2, D(1), (D(1), D(1))),
    ],
)
def test_between_tokenizer_generations_the_factor_has_a_range(base, model, factor, ends):
    found = tokenizer_factor({"a": base, "b": model}, "a", "b")
    assert found == factor
    assert tokenizer_range(found) == ends


# -- batch: its own hit share, and when it loses money ----------------------------------------------------------------

LONG = lv.Profile(D(500), D(20_000), D(300))  # nearly all prompt: 0.11 usd uncached on Opus
REUSED = lv.ReuseFacts(D(20_000), D("0.9"), None, "traffic", is_assumed=False)
BOTH: frozenset[lv.Lever] = FS({"caching", "batch"})


def batch_costs(profile, reuse, *, batch=OPUS_BATCH, share=D("0.5"), measured=lv.NO_CACHE):
    rates = lv.ModelRates("opus", OPUS, batch)
    return lv.lever_costs(profile, rates, reuse=reuse, own_cache=None, batch_share=share, batch_cache=measured)


def test_measured_hits_of_batch_requests_are_used():
    """Cached online 0.0315; in batch with a hit share of 0.8 the prefix costs 0.8125 a Mtok, else 2.50."""
    costs = batch_costs(LONG, REUSED, measured=lv.CacheUse("own", D("0.8")))
    assert costs.by_levers[FS({"caching"})] == D("0.0315")
    assert costs.by_levers[BOTH] == (D("0.0315") + D("0.00125") + D("0.0165") + D("0.00375")) / 2
    assert costs.batch_share == D("0.5") and "80.0% of their prefix tokens are found in the cache also in batch" in (
        costs.batch_reason
    )
    # Without caching nothing is marked in batch either.
    assert costs.by_levers[FS({"batch"})] == (D("0.11") + D("0.055")) / 2


def test_without_measured_hits_batch_requests_are_sent_without_marks_and_may_lose():
    costs = batch_costs(LONG, REUSED)
    assert costs.batch_share == 0
    assert costs.batch_reason == ("batch loses money: cache hits lost cost more than the batch discount saves on 50%")
    assert costs.by_levers[BOTH] == costs.by_levers[FS({"caching"})]
    paying = batch_costs(PROFILE, lv.ReuseFacts(D(1500), D("0.9"), None, "traffic", is_assumed=False))
    assert paying.batch_share == D("0.5") and "no hits of batch requests are measured" in paying.batch_reason


def test_caching_inside_batch_that_loses_money_is_left_out():
    """Found 10% of the time, a prefix in batch costs 1.135 of its uncached price: batch pays only without marks."""
    reuse = lv.ReuseFacts(D(1500), D("0.9"), None, "traffic", is_assumed=False)
    costs = batch_costs(PROFILE, reuse, measured=lv.CacheUse("own", D("0.1")))
    assert costs.by_levers == batch_costs(PROFILE, reuse).by_levers
    assert "caching inside batch loses money (1.14×)" in costs.batch_reason  # 1.25 − 1.15·0.1 = 1.135
    assert "sent without cache marks: 10.0% of their prefix tokens" in costs.batch_reason


@pytest.mark.parametrize(
    ("batch", "share", "reason"),
    [
        (OPUS_BATCH, D(0), "nothing in this class can wait"),
        (None, D("0.5"), "opus has no batch price"),
        (OPUS, D("0.5"), "batch loses money: the batch price of opus is not below its standard price"),
        (
            lv.Rates(*(usd * 2 for usd in (D(5), D("0.5"), D("6.25"), D(10), D(25)))),
            D("0.5"),
            "batch loses money: the batch price of opus is not below its standard price",
        ),
    ],
    ids=["no share", "no price", "B = 1", "B = 2"],
)
def test_batch_that_saves_nothing_is_not_planned(batch, share, reason):
    costs = batch_costs(PROFILE, None, batch=batch, share=share)
    assert (costs.batch_share, costs.batch_reason) == (0, reason)
    assert costs.by_levers[FS({"batch"})] == costs.by_levers[FS()]


def test_a_client_that_caches_by_itself_does_so_in_batch_too():
    rates = lv.ModelRates("opus", OPUS, OPUS_BATCH)
    own, measured = lv.CacheUse("own", D("0.9")), lv.CacheUse("own", D("0.1"))
    costs = lv.lever_costs(PROFILE, rates, reuse=None, own_cache=own, batch_share=D(1), batch_cache=measured)
    in_batch = (500 * D("2.5") + 1500 * D("2.5") * D("1.135") + 300 * D("12.5")) / 10**6
    assert costs.by_levers[FS({"batch"})] == costs.by_levers[BOTH] == in_batch
