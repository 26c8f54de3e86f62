"""When a lever loses money, page, command and API say so, by how much and why, and it is not recommended.

Every estate comes in through the importers, and every figure is computed by hand beside it.
"""

from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache

from tests.scenarios.levers_estate import AS_OF, HAIKU, MANY, OPUS, SONNET, Estate, capital, command

pytestmark = pytest.mark.django_db
MONTH = D("30.4375") / 28
CENT = D("0.01")


@pytest.fixture
def estate(settings: Any, tmp_path: Path) -> Estate:
    cache.clear()
    settings.COSTGOV_AS_OF = AS_OF
    settings.COSTGOV_VAR = tmp_path / "var"
    return Estate(tmp_path)


def a_month(usd: D | str) -> str:
    """An amount of the window as it is told: a month, in cents."""
    return str((D(usd) * MONTH).quantize(CENT))


# -- caching -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "write", "ttl", "factor", "words", "loss"),
    [
        # 1.25 − 1.15 × 0.10 = 1.135: 5,000 × 5 × 0.135 a million tokens, 1,400 times
        (140, "w5", "5m", "1.135", "5-minute caching loses money: 10.0% of prefix tokens are found in the cache, "
         "break-even is 21.7%; the prefix costs 1.14× its uncached price", "4.725"),
        # 2 − 1.9 × 0.40 = 1.24: 5,000 × 5 × 0.24
        (560, "w1", "1h", "1.24", "1-hour caching loses money: 40.0% of prefix tokens are found in the cache, "
         "break-even is 52.6%; the prefix costs 1.24× its uncached price", "8.4"),
    ],
    ids=["5 minutes", "1 hour"],
)  # fmt: skip
def test_caching_that_loses(
    estate: Estate, found: int, write: str, ttl: str, factor: str, words: str, loss: str
) -> None:
    """1,400 requests of 500 + 5,000 cached tokens and 100 out: 0.03 uncached, so 42.00."""
    estate.register("faq")
    common = {"input_tokens": 500, "output_tokens": 100}
    estate.requests("faq", OPUS, found, **common, cache_read_input_tokens=5_000)
    estate.requests("faq", OPUS, MANY - found, **common, **{write: 5_000})
    told = estate.told("faq")
    row = told.row
    (option,) = row["caching_options"]
    assert (option["ttl"], D(option["factor"]), option["pays"], option["reason"]) == (ttl, D(factor), False, words)
    assert option["loss_usd_per_month"] == a_month(loss)
    # It is not recommended: the plan is the uncached prefix, and what the window saves is the loss.
    assert row["caching"] == "none"
    assert D(row["current_cost_usd"]) == 42 + D(loss)
    assert D(row["steps"]["recommended_cost_usd"]) == D(row["steps"]["costs"]["routing"]) == 42
    assert D(row["saving_usd"]) == D(loss)
    assert f"faq: {words}: {a_month(loss)} usd a month more" in told.lines
    assert f"Loses money ${a_month(loss)} a month, not recommended" in told.page
    assert f"{capital(words)}." in told.page


def test_of_two_times_to_live_one_pays_and_the_other_loses(estate: Estate) -> None:
    """Stated reuse: 1.25 − 1.15 × 0.3 = 0.905 saves 5,000 × 5 × 0.095; 2 − 1.9 × 0.4 = 1.24 loses 5,000 × 5 × 0.24."""
    estate.register(
        "faq", reuse={"prefix_tok": 5_000, "hit_share_5m": "0.3", "hit_share_1h": "0.4", "source": "a trace"}
    )
    estate.requests("faq", OPUS, input_tokens=5_500, output_tokens=100)
    told = estate.told("faq")
    five, hour = told.row["caching_options"]
    assert (told.row["caching"], told.row["reuse_is_assumed"]) == ("5m", True)
    assert (five["pays"], five["loss_usd_per_month"]) == (True, None)
    assert (hour["pays"], hour["loss_usd_per_month"]) == (False, a_month("8.4"))
    assert D(told.row["steps"]["costs"]["routing"]) - D(told.row["steps"]["recommended_cost_usd"]) == D("3.325")
    assert f"Loses money ${a_month('8.4')} a month, not recommended" in told.page
    assert f"{capital(hour['reason'])}. Assumed: a trace." in told.page
    assert f"faq: {hour['reason']}: {a_month('8.4')} usd a month more" in told.lines
    assert not any(five["reason"] in line for line in told.lines)


def test_a_prefix_too_short_to_be_cached(estate: Estate) -> None:
    """Opus caches from 4,096 tokens on: however often 3,000 are found again, nothing is saved."""
    estate.register(
        "faq", reuse={"prefix_tok": 3_000, "hit_share_5m": "0.9", "hit_share_1h": "0.9", "source": "a trace"}
    )
    estate.requests("faq", OPUS, input_tokens=3_500, output_tokens=100)
    told = estate.told("faq")
    words = [
        f"{ttl} caching has no effect: the prefix of 3,000 tokens is shorter than the 4,096 tokens {OPUS} can cache"
        for ttl in ("5-minute", "1-hour")
    ]
    assert [option["reason"] for option in told.row["caching_options"]] == words
    assert [(D(option["factor"]), option["pays"]) for option in told.row["caching_options"]] == [(1, False)] * 2
    assert {option["loss_usd_per_month"] for option in told.row["caching_options"]} == {None}
    assert told.row["caching"] == "none"
    # 3,500 × 5 + 100 × 25 = 0.02, 1,400 times, with and without the lever
    assert {D(usd) for usd in told.row["steps"]["costs"].values()} == {D(28)}
    assert all(f"{capital(reason)}. Assumed: a trace." in told.page for reason in words)
    assert "No effect" in told.page and "Loses money" not in told.page
    assert not any("caching" in line and line.startswith("faq:") for line in told.lines)


def cached_for_an_hour(estate: Estate, tokens: tuple[int, int]) -> None:
    """Opus serves 1,400 requests of 1,000 + 100,000 tokens, 90% found within the hour; Haiku clears as well.

    Its cases take 10,000 + 1,000 tokens on Opus and `tokens` on Haiku.
    """
    reuse = {"prefix_tok": 100_000, "hit_share_1h": "0.9", "source": "a trace"}
    estate.register("agents", bar="0.90", tolerance="0", reuse=reuse)
    estate.requests("agents", OPUS, input_tokens=101_000, output_tokens=100)
    estate.evals("agents", OPUS, 200, 200, (10_000, 1_000))
    estate.evals("agents", HAIKU, 200, 200, tokens)


def test_a_switch_of_models_counts_the_cold_cache(estate: Estate) -> None:
    """1,400 requests are 2.083333 an hour; each rewrites 90,000 tokens at 2 − 0.1: 0.171, together 0.36 once."""
    cached_for_an_hour(estate, (10_000, 1_000))
    told = estate.told("agents")
    assert (told.row["incumbent"], told.row["target"], told.row["move"]) == (OPUS, HAIKU, "save")
    assert told.row["cold_cache_usd"] == "0.36"
    assert "agents: the switch starts with a cold cache: at most 0.36 usd once" in told.lines
    assert "The switch starts with a cold cache: at most $0.36 once." in told.page
    assert "The switch starts with a cold cache: at most $0.36 once" in estate.page("/savings/")
    # Opus uncached 0.5075, Haiku with F = 2 − 1.9 × 0.9 = 0.29: 0.029 + 0.001 + 0.0005
    assert D(told.row["current_cost_usd"]) == D("710.5")
    assert D(told.row["steps"]["recommended_cost_usd"]) == D("42.7")


def test_a_move_that_its_cold_cache_eats_is_not_recommended(estate: Estate) -> None:
    """Haiku takes 4.999 and 4.998 times the tokens: 0.152469 a request against 0.1525 saves 0.0434 in the window."""
    cached_for_an_hour(estate, (49_990, 4_998))
    told = estate.told("agents")
    assert (told.row["target"], told.row["move"], told.row["cold_cache_usd"]) == (OPUS, "keep", None)
    costs = {option["model"]: D(option["unit_cost_usd"]) for option in told.row["options"] if option["unit_cost_usd"]}
    assert (costs[OPUS], costs[HAIKU]) == (D("0.1525"), D("0.152469"))
    # 2.083333 an hour × 100,000 × 4.999 × 0.9 × 1.9 a million tokens
    reason = (
        f"a move to {HAIKU} loses money: its cache is cold at first, which costs up to 1.78 usd once, more than the "
        "move saves in the window"
    )
    assert told.row["reason"] == reason
    assert f"{capital(reason)}." in told.page
    assert any(line.startswith("agents") and line.endswith(reason) for line in told.lines)


# -- batch -------------------------------------------------------------------------------------------------------------


def test_a_class_of_which_nothing_can_wait(estate: Estate) -> None:
    estate.register("chat")
    estate.requests("chat", OPUS, input_tokens=1_000, output_tokens=100)
    told = estate.told("chat")
    assert (D(told.row["batch_share"]), told.row["batch_reason"]) == (0, "nothing in this class can wait")
    assert told.row["batch_loss_usd_per_month"] is None
    costs = told.row["steps"]["costs"]
    assert D(costs["routing+caching+batch"]) == D(costs["routing"]) == D("10.5")  # 0.0075 each
    assert "Nothing in this class can wait." in told.page and "Loses money" not in told.page


def test_batch_of_cached_prompts_that_is_dearer(estate: Estate) -> None:
    """Online 500 × 5 + 20,000 × 5 × 0.215 + 300 × 25 = 0.0315; half of it in batch without hits 0.04325: 16.45 more."""
    estate.register("documents", batchable_share="0.5")
    common = {"input_tokens": 500, "output_tokens": 300}
    estate.requests("documents", OPUS, 1_260, **common, cache_read_input_tokens=20_000)
    estate.requests("documents", OPUS, 140, **common, w5=20_000)
    told = estate.told("documents")
    reason = "batch loses money: cache hits lost cost more than the batch discount saves on 50%"
    assert (D(told.row["batch_share"]), told.row["batch_reason"]) == (0, reason)
    assert told.row["batch_loss_usd_per_month"] == a_month("16.45")
    assert D(told.row["steps"]["recommended_cost_usd"]) == D("44.1")
    assert f"documents: {reason}: {a_month('16.45')} usd a month more" in told.lines
    assert f"{capital(reason)}." in told.page
    assert f"Loses money ${a_month('16.45')} a month, not recommended" in told.page


def test_a_batch_price_that_is_not_below_the_standard_price(estate: Estate) -> None:
    """1,000 × 3 + 500 × 15 = 0.0105 a request, in batch a tenth more: 1.47 in the window."""
    estate.prices(
        "model,service_tier,prompt_length_band,geo,speed,valid_from,valid_to,uncached_input,cache_read,cache_write_5m,"
        "cache_write_1h,output,web_search,source,checked_on,note\n"
        f"{SONNET},batch,all,global,standard,2026-10-01,,3.3,0.33,4.125,6.6,16.5,,a reseller's list,2026-11-01,\n"
    )
    estate.register("nightly", latency="batchable")
    estate.requests("nightly", SONNET, input_tokens=1_000, output_tokens=500)
    told = estate.told("nightly")
    reason = f"batch loses money: the batch price of {SONNET} is not below its standard price"
    assert (D(told.row["batch_share"]), told.row["batch_reason"]) == (0, reason)
    assert told.row["batch_loss_usd_per_month"] == a_month("1.47")
    assert D(told.row["steps"]["recommended_cost_usd"]) == D("14.7")
    assert f"nightly: {reason}: {a_month('1.47')} usd a month more" in told.lines
    assert f"{capital(reason)}." in told.page
    assert f"Loses money ${a_month('1.47')} a month, not recommended" in told.page


def test_batch_that_pays_is_recommended_and_loses_nothing(estate: Estate) -> None:
    """So that the tests above cannot pass where batch is never recommended."""
    estate.register("nightly", latency="batchable")
    estate.requests("nightly", OPUS, input_tokens=1_000, output_tokens=100)
    told = estate.told("nightly")
    assert (D(told.row["batch_share"]), told.row["batch_loss_usd_per_month"]) == (1, None)
    assert D(told.row["steps"]["recommended_cost_usd"]) == D("5.25")
    assert "100% of requests can wait; batch costs 0.50× per unit." in told.page and "Loses money" not in told.page


# -- cascades ----------------------------------------------------------------------------------------------------------


def test_a_cascade_that_loses(estate: Estate) -> None:
    """Opus 0.0175 a request, Haiku 0.0035; the check costs 0.012 and accepts 0.9 × 0.95 + 0.1 × 0.10 = 86.5%.

    A request costs 0.0035 + 0.012 + 0.135 × 0.0175 = 0.0178625, 0.0003625 more than Opus alone: 0.5075 in the window.
    """
    estate.register("triage", bar="0.95", tolerance="0.02")
    estate.requests("triage", OPUS, input_tokens=2_000, output_tokens=300)
    estate.evals("triage", OPUS, 200, 200)
    estate.evals("triage", HAIKU, 180, 200)
    command(
        "cascades", "triage", "--set", "--cheap", HAIKU, "--check-usd", "0.012", "--good-accepted", "0.95",
        "--bad-accepted", "0.1", "--source", "a pilot", "--reason", "is it worth building?",
    )  # fmt: skip
    told = estate.told("triage")
    cascade = told.row["cascade"]
    reason = (
        f"{HAIKU} first loses money: its answers are accepted 86.5% of the time, break-even is 88.6%; it costs 1.02× "
        f"{OPUS} alone"
    )
    assert (cascade["outcome"], cascade["is_recommended"], cascade["reason"]) == ("loses", False, reason)
    assert (D(cascade["unit_cost_usd"]), cascade["saving_usd_per_month"]) == (D("0.0178625"), None)
    assert cascade["loss_usd_per_month"] == a_month("0.5075")
    assert D(told.row["steps"]["recommended_cost_usd"]) == D("24.5"), "a cascade is in no other figure"
    assert f"triage: cascade not recommended: {reason}: {a_month('0.5075')} usd a month more" in told.lines
    assert capital(reason) in told.page
    assert f"Loses money ${a_month('0.5075')} a month, not recommended" in told.page
    own = estate.page("/classes/triage/cascade/")
    assert f"Loses money, ${a_month('0.5075')} a month: not recommended." in own and capital(reason) in own
    assert estate.client.get("/api/v1/cascades").json()[0]["row"] == cascade
    assert f"  loses {a_month('0.5075')} usd a month (estimate)" in command("cascades", "triage").splitlines()
