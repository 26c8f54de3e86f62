"""Levers against the worked numbers of methods.md §2."""

from decimal import Decimal as D

import pytest

from routing.core import levers as lv

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
