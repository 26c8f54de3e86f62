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


PROSE = " ".join((Path(__file__).parents[2] / "docs/algorithms/levers.md").read_text(encoding="utf-8").split())


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
    assert f"faq: {words}; {a_month(loss)} usd a month more" in told.lines
    assert f"Loses money ${a_month(loss)} a month, not recommended" in told.page
    assert f"{capital(words)}." in told.page
    assert f" {a_month(loss)} " in PROSE


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
    assert f"faq: {hour['reason']}; {a_month('8.4')} usd a month more" in told.lines
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
    assert [(D(option["factor"]), option["pays"]) for option in told.row["caching_options"]] == [(D(1), False)] * 2
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
    assert (D(told.row["batch_share"]), told.row["batch_reason"]) == (D(0), "nothing in this class can wait")
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
    assert (D(told.row["batch_share"]), told.row["batch_reason"]) == (D(0), reason)
    assert told.row["batch_loss_usd_per_month"] == a_month("16.45")
    assert D(told.row["steps"]["recommended_cost_usd"]) == D("44.1")
    assert f"documents: {reason}; {a_month('16.45')} usd a month more" in told.lines
    assert f"{capital(reason)}." in told.page
    assert f"Loses money ${a_month('16.45')} a month, not recommended" in told.page
    assert f"1,400 requests of the second row lose {a_month('16.45')} usd a month." in PROSE


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
    assert (D(told.row["batch_share"]), told.row["batch_reason"]) == (D(0), reason)
    assert told.row["batch_loss_usd_per_month"] == a_month("1.47")
    assert D(told.row["steps"]["recommended_cost_usd"]) == D("14.7")
    assert f"nightly: {reason}; {a_month('1.47')} usd a month more" in told.lines
    assert f"{capital(reason)}." in told.page
    assert f"Loses money ${a_month('1.47')} a month, not recommended" in told.page


def test_batch_that_pays_is_recommended_and_loses_nothing(estate: Estate) -> None:
    """So that the tests above cannot pass where batch is never recommended."""
    estate.register("nightly", latency="batchable")
    estate.requests("nightly", OPUS, input_tokens=1_000, output_tokens=100)
    told = estate.told("nightly")
    assert (D(told.row["batch_share"]), told.row["batch_loss_usd_per_month"]) == (D(1), None)
    assert D(told.row["steps"]["recommended_cost_usd"]) == D("5.25")
    assert "100% of requests can wait; batch costs 0.50× per unit." in told.page and "Loses money" not in told.page


# -- routing -----------------------------------------------------------------------------------------------------------


def test_a_model_cheaper_per_token_and_dearer_per_task(estate: Estate) -> None:
    """Sonnet costs three fifths of Opus a token and takes 2.5 times as many: 1.5 times as much a request, 0.02625."""
    estate.register("coding", bar="0.90", tolerance="0")
    estate.requests("coding", OPUS, input_tokens=2_000, output_tokens=300)
    estate.evals("coding", OPUS, 200, 200, (1_000, 100))
    estate.evals("coding", SONNET, 200, 200, (2_500, 250))
    told = estate.told("coding")
    assert (told.row["target"], told.row["move"], D(told.row["saving_usd"])) == (OPUS, "keep", D(0))
    sonnet = next(option for option in told.row["options"] if option["model"] == SONNET)
    assert (D(sonnet["unit_cost_usd"]), sonnet["is_admissible"]) == (D("0.02625"), True)
    assert sonnet["cost_source"] == "measured in evals: 200 cases run on both models"
    reason = (
        f"{SONNET} clears the bar and the same tokens cost 0.60× on it, but a request costs 1.50× as much with the "
        "tokens and levers it takes"
    )
    assert told.row["reason"] == reason
    assert f"{reason}." in told.page
    assert any(line.startswith("coding") and line.endswith(reason) for line in told.lines)
    assert told.row["runner_up"] == SONNET and f"Runner-up: {SONNET}." in told.page
    assert not estate.client.get("/api/v1/evidence-needed").json()["rows"], "no case of it is worth anything"


def test_a_model_that_takes_as_many_tokens_is_recommended(estate: Estate) -> None:
    """The same estate with equal tokens: what kept Sonnet back above is what it takes, not its name."""
    estate.register("coding", bar="0.90", tolerance="0")
    estate.requests("coding", OPUS, input_tokens=2_000, output_tokens=300)
    estate.evals("coding", OPUS, 200, 200, (1_000, 100))
    estate.evals("coding", SONNET, 200, 200, (1_000, 100))
    told = estate.told("coding")
    assert (told.row["target"], D(told.row["saving_usd"])) == (SONNET, D("9.8"))  # 24.50 × two fifths
    assert told.row["reason"] == f"{SONNET} clears the bar and costs least per request"


def test_one_whose_lower_cost_may_be_chance_is_not_recommended(estate: Estate) -> None:
    """Three cheap cases in four and one very dear one: 1% less on the mean of 200 cases shows nothing."""
    estate.register("coding", bar="0.90", tolerance="0")
    estate.requests("coding", OPUS, input_tokens=2_000, output_tokens=300)
    estate.evals("coding", OPUS, 200, 200, (1_000, 100))
    # × 0.6 a token: 0.75 · 500 + 0.25 · 5,100 = 1,650 = 1.65 times the tokens, 0.99 times the cost
    estate.evals("coding", SONNET, 200, 200, (500, 50), every_fourth=(5_100, 510))
    told = estate.told("coding")
    sonnet = next(option for option in told.row["options"] if option["model"] == SONNET)
    assert D(sonnet["unit_cost_usd"]) == D("0.017325")
    assert (told.row["target"], told.row["move"]) == (OPUS, "keep")
    reason = f"{SONNET} is not shown to be cheaper with 95% confidence"
    assert told.row["reason"] == reason and f"{reason}." in told.page
    assert any(line.startswith("coding") and line.endswith(reason) for line in told.lines)


# -- retries and escalations -------------------------------------------------------------------------------------------


def costs_of(told: Any) -> dict[str, D]:
    return {row["model"]: D(row["unit_cost_usd"]) for row in told.row["options"] if row["unit_cost_usd"] is not None}


@pytest.mark.parametrize("is_retried", [False, True], ids=["asked once", "one in ten asked again"])
def test_requests_asked_again_by_the_client_cost_the_class_again(estate: Estate, is_retried: bool) -> None:
    """Both answers are billed: 1,400 requests of 0.0175 cost 24.50, and 140 of them asked again 26.95."""
    estate.register("triage")
    estate.requests("triage", OPUS, input_tokens=2_000, output_tokens=300)
    if is_retried:
        estate.requests("triage", OPUS, 140, input_tokens=2_000, output_tokens=300)
    told = estate.told("triage")
    assert D(told.row["current_cost_usd"]) == D("26.95" if is_retried else "24.5")
    assert D(told.row["steps"]["recommended_cost_usd"]) == D("26.95" if is_retried else "24.5")
    assert D(told.row["units"]) == (1_540 if is_retried else 1_400)


def test_what_is_tried_again_within_a_request_makes_it_dearer(estate: Estate) -> None:
    """One request in ten is compacted and asked again by the server: 500 of 5,000 + 300 tokens more, each 0.0325."""
    estate.register("triage")
    common = {"input_tokens": 2_000, "output_tokens": 300}
    estate.requests("triage", OPUS, 1_260, **common)
    again = [
        {"type": "compaction", "input_tokens": 5_000, "output_tokens": 300},
        {"type": "message", "input_tokens": 2_000, "output_tokens": 300},
    ]
    estate.requests("triage", OPUS, 140, **common, iterations=again)
    told = estate.told("triage")
    assert D(told.row["units"]) == 1_400
    assert D(told.row["current_cost_usd"]) == D("29.05")  # 24.50 + 140 × 0.0325
    assert costs_of(told)[OPUS] == D("0.02075")
    assert D(told.row["saving_usd"]) == 0


def test_what_is_passed_on_to_another_model_is_in_the_cost_of_a_request(estate: Estate) -> None:
    """Haiku serves 1,400 requests at 0.0035, of which 140 ask Opus for advice at 0.0175: 4.90 + 2.45, 0.00525 each.

    Advice goes on whichever model serves, except on Opus itself: 0.0175, and Sonnet 0.0105 + 0.00175.
    """
    estate.register("triage", bar="0.90", tolerance="0")
    common = {"input_tokens": 2_000, "output_tokens": 300}
    estate.requests("triage", HAIKU, 1_260, **common)
    advised = [
        {"type": "message", "input_tokens": 2_000, "output_tokens": 300},
        {"type": "advisor_message", "model": OPUS, "input_tokens": 2_000, "output_tokens": 300},
    ]
    estate.requests("triage", HAIKU, 140, **common, iterations=advised)
    for model in (HAIKU, SONNET, OPUS):
        estate.evals("triage", model, 200, 200)
    told = estate.told("triage")
    assert (told.row["incumbent"], told.row["target"], D(told.row["units"])) == (HAIKU, HAIKU, D(1_400))
    assert D(told.row["current_cost_usd"]) == D(told.row["steps"]["recommended_cost_usd"]) == D("7.35")
    assert D(told.row["saving_usd"]) == 0, "nothing moves, so nothing is saved"
    assert costs_of(told) == {HAIKU: D("0.00525"), SONNET: D("0.01225"), OPUS: D("0.0175")}
    assert "cost 0.00525 each; they would cost 0.01225 on Sonnet and 0.0175 on Opus." in PROSE
    source = f"measured: 1,400 requests of this class; 0.001750 usd of it is passed on to {OPUS}"
    assert {row["cost_source"] for row in told.row["options"] if row["model"] == HAIKU} == {source}
    assert source in told.page
    assert D(told.row["steps"]["uniform_cost_usd"]) == D("24.5")
    # The same for what happened and for what is planned: 24.50 on Opus less 7.35 as served.
    (period,) = [each for each in estate.client.get("/api/v1/savings").json()["periods"] if each["key"] == "28d"]
    assert D(period["saving_usd"]) == D("17.15")


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
    assert f"triage: cascade not recommended: {reason}; {a_month('0.5075')} usd a month more" in told.lines
    assert reason in told.page
    assert f"Loses money ${a_month('0.5075')} a month, not recommended" in told.page
    own = estate.page("/classes/triage/cascade/")
    assert f"Loses money, ${a_month('0.5075')} a month: not recommended." in own and reason in own
    assert estate.client.get("/api/v1/cascades").json()[0]["row"] == cascade
    assert f"  loses {a_month('0.5075')} usd a month (estimate)" in command("cascades", "triage").splitlines()
