"""The golden numbers of methods.md §7.4, the closed form against the paths, and what must hold for any offer."""

import math
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from billing.core.commitments import (
    LognormalSpend,
    Offer,
    OfferMeasures,
    best_amount,
    break_even_usd,
    choose,
    cvar,
    is_short,
    measure,
    offers_of,
    payable,
    unused,
    value_of_routing,
)
from billing.core.terms import Band, Overage, StatedIn, Terms

BANDS = (
    Band("T1", Decimal(500_000), Decimal("0.06")),
    Band("T2", Decimal(1_000_000), Decimal("0.12")),
    Band("T3", Decimal(2_000_000), Decimal("0.18")),
)
NONE = "No commitment"
BASELINE = np.array([1.4e6, 2.0e6, 2.4e6, 2.9e6, 3.8e6])
OPTIMISED = np.array([0.6e6, 0.8e6, 1.0e6, 1.25e6, 1.7e6])
SPENDS = {"baseline": BASELINE, "optimised": OPTIMISED}
FUTURES = {"baseline": LognormalSpend(2_400_000, 0.25), "optimised": LognormalSpend(1_000_000, 0.30)}


def terms(overage: Overage = "list", stated_in: StatedIn = "payable", bands: tuple[Band, ...] = BANDS) -> Terms:
    return Terms(date(2027, 1, 1), overage, stated_in, bands)


def offers(overage: Overage) -> tuple[Offer, ...]:
    return offers_of(terms(overage))


def cents(value: float) -> float:
    return round(value, 2)


# Mean payable, P(shortfall), mean unused, CVaR80, mean regret, maximal regret.
FIVE_SPENDS: dict[tuple[Overage, str, str], tuple[float, float, float, float, float, float]] = {
    ("discounted", "baseline", NONE): (2_500_000, 0, 0, 3_800_000, 402_800, 684_000),
    ("discounted", "baseline", "T1"): (2_350_000, 0, 0, 3_572_000, 252_800, 456_000),
    ("discounted", "baseline", "T2"): (2_200_000, 0, 0, 3_344_000, 102_800, 228_000),
    ("discounted", "baseline", "T3"): (2_298_800, 0.6, 248_800, 3_116_000, 201_600, 768_000),
    ("discounted", "optimised", NONE): (1_070_000, 0, 0, 1_700_000, 99_600, 204_000),
    ("discounted", "optimised", "T1"): (1_005_800, 0, 0, 1_598_000, 35_400, 102_000),
    ("discounted", "optimised", "T2"): (1_119_200, 0.6, 177_600, 1_496_000, 148_800, 436_000),
    ("discounted", "optimised", "T3"): (2_000_000, 1, 1_122_600, 2_000_000, 1_029_600, 1_436_000),
    ("list", "baseline", "T1"): (2_468_085.11, 0, 0, 3_768_085.11, 278_240.32, 407_109.50),
    ("list", "baseline", "T2"): (2_363_636.36, 0, 0, 3_663_636.36, 173_791.57, 302_660.75),
    ("list", "baseline", "T3"): (2_364_390.24, 0.6, 248_800, 3_360_975.61, 174_545.45, 736_363.64),
    ("list", "optimised", "T1"): (1_038_085.11, 0, 0, 1_668_085.11, 41_779.50, 104_448.74),
    ("list", "optimised", "T2"): (1_135_454.55, 0.6, 177_600, 1_563_636.36, 139_148.94, 431_914.89),
    ("list", "optimised", "T3"): (2_000_000, 1, 1_122_600, 2_000_000, 1_003_694.39, 1_431_914.89),
}


@pytest.mark.parametrize(("overage", "policy", "tier"), FIVE_SPENDS)
def test_five_equally_likely_spends(overage: Overage, policy: str, tier: str):
    rows = {row.name: row for row in measure(SPENDS[policy], offers(overage), level=0.8)}
    row = rows[tier]
    found = (
        cents(row.expected_payable_usd),
        row.shortfall_probability,
        cents(row.expected_unused_usd),
        cents(row.cvar95_usd),
        cents(row.mean_regret_usd),
        cents(row.max_regret_usd),
    )
    assert found == FIVE_SPENDS[overage, policy, tier]


@pytest.mark.parametrize(("policy", "regret"), [("baseline", 310_155.21), ("optimised", 73_694.39)])
def test_without_commitment_the_regret_under_list_overage(policy: str, regret: float):
    assert cents(measure(SPENDS[policy], offers("list"))[0].mean_regret_usd) == regret


@pytest.mark.parametrize(
    ("overage", "policy", "best"),
    [
        ("discounted", "baseline", "T2"), ("discounted", "optimised", "T1"),
        ("list", "baseline", "T2"), ("list", "optimised", "T1"),
    ],
)  # fmt: skip
def test_the_bold_offers_are_recommended(overage: Overage, policy: str, best: str):
    assert choose(measure(SPENDS[policy], offers(overage))).name == best


def test_break_even_of_t3_against_t2():
    _, _, second, third = offers("discounted")
    assert break_even_usd(second, third) == pytest.approx(2_272_727.27, abs=0.005)
    assert payable(np.array([2_272_727.2727]), second) == pytest.approx(payable(np.array([2_272_727.2727]), third))


def test_an_offer_that_never_overtakes_has_no_break_even():
    same = Offer("X", 600_000, 0.06, 0.06)
    assert break_even_usd(offers("discounted")[1], same) is None
    worse = Offer("Y", 600_000, 0.01, 0.0)
    assert break_even_usd(offers("list")[1], worse) is None


# E discounted, E list, P(short), E unused, CVaR95 discounted, CVaR95 list, A* under list overage.
LOGNORMAL = {
    ("baseline", NONE): (2_476_184.18, 2_476_184.18, 0, 0, 4_037_665.51, 4_037_665.51, 0),
    ("baseline", "T1"): (2_327_613.13, 2_444_269.28, 0.0, 0.0, 3_795_405.58, 4_005_750.62, 1_529_437.37),
    ("baseline", "T2"): (2_179_134.66, 2_339_925.75, 0.001392, 92.59, 3_553_145.65, 3_901_301.88, 1_574_422.70),
    ("baseline", "T3"): (2_216_068.63, 2_263_498.33, 0.525721, 185_597.61, 3_310_885.72, 3_598_641.12, 1_565_455.02),
    ("optimised", NONE): (1_046_027.86, 1_046_027.86, 0, 0, 1_868_964.21, 1_868_964.21, 0),
    ("optimised", "T1"): (984_138.10, 1_015_040.53, 0.017679, 871.91, 1_756_826.36, 1_837_049.32, 589_602.04),
    ("optimised", "T2"): (1_079_049.73, 1_089_829.24, 0.664987, 158_545.21, 1_644_688.51, 1_732_600.58, 618_579.59),
    ("optimised", "T3"): (2_000_275.05, 2_000_335.43, 0.998521, 1_142_532.21, 2_005_501.03, 2_006_708.57, 623_092.39),
}


@pytest.mark.parametrize(("policy", "tier"), LOGNORMAL)
def test_the_closed_form_of_a_lognormal_spend(policy: str, tier: str):
    future = FUTURES[policy]
    disc, listed = ({offer.name: offer for offer in offers(overage)}[tier] for overage in ("discounted", "list"))
    found = (
        cents(future.expected_payable(disc)),
        cents(future.expected_payable(listed)),
        round(future.shortfall_probability(listed), 6),
        cents(future.expected_unused(listed)),
        cents(future.cvar(disc)),
        cents(future.cvar(listed)),
        cents(future.optimum(listed)),
    )
    assert found == pytest.approx(LOGNORMAL[policy, tier], abs=0.0051)


@pytest.fixture(scope="module")
def drawn() -> dict[str, np.ndarray]:
    """200,000 futures of each policy."""
    normal = np.random.Generator(np.random.PCG64(20261124)).standard_normal(200_000)
    return {name: future.median_usd * np.exp(future.sigma * normal) for name, future in FUTURES.items()}


@pytest.mark.parametrize("overage", ["discounted", "list"])
@pytest.mark.parametrize("policy", ["baseline", "optimised"])
def test_the_paths_agree_with_the_closed_form(drawn: dict[str, np.ndarray], policy: str, overage: Overage):
    future = FUTURES[policy]
    for offer, row in zip(offers(overage), measure(drawn[policy], offers(overage)), strict=True):
        # 4.5 standard errors: this seed would have to be one in 100,000.
        room = 4.5 * row.expected_payable_se_usd
        assert row.expected_payable_usd == pytest.approx(future.expected_payable(offer), abs=room)
        share_room = 4.5 * row.shortfall_probability_se + 1e-5
        assert row.shortfall_probability == pytest.approx(future.shortfall_probability(offer), abs=share_room)
        assert row.expected_unused_usd == pytest.approx(future.expected_unused(offer), rel=0.01, abs=60)
        assert row.cvar95_usd == pytest.approx(future.cvar(offer), rel=0.005)
        least, until = offer.commitment_usd, offer.until_usd
        optimum = min(max(future.optimum(offer), least), until) if overage == "list" else least
        assert row.best_amount_usd == pytest.approx(optimum, rel=0.005)


def test_the_fitted_lognormal_is_the_one_drawn_from(drawn: dict[str, np.ndarray]):
    fitted = LognormalSpend.fitted(drawn["optimised"])
    assert fitted is not None
    assert fitted.median_usd == pytest.approx(1e6, rel=0.003)
    assert fitted.sigma == pytest.approx(0.30, rel=0.01)
    assert LognormalSpend.fitted(np.array([0.0, 1.0])) is None
    assert LognormalSpend.fitted(np.array([5.0, 5.0])) is None


def closed_form(future: LognormalSpend, overage: Overage) -> list[OfferMeasures]:
    """The table of offers by closed form, for `choose`."""
    return [
        OfferMeasures(
            offer.name, offer.commitment_usd, offer.discount, future.expected_payable(offer), 0.0,
            future.shortfall_probability(offer), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
        )
        for offer in offers(overage)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("overage", "limit", "unrouted", "routed", "value"),
    [
        ("discounted", 1.0, "T2", "T1", 94_911.63),
        ("discounted", 0.2, "T2", "T1", 94_911.63),
        ("list", 1.0, "T3", "T1", 985_294.90),
        ("list", 0.2, "T2", "T1", 74_788.71),
    ],
)
def test_value_of_routing_before_committing(
    drawn: dict[str, np.ndarray], overage: Overage, limit: float, unrouted: str, routed: str, value: float
):
    best = {policy: choose(closed_form(future, overage), limit=limit).name for policy, future in FUTURES.items()}
    assert best == {"baseline": unrouted, "optimised": routed}
    by_name = {offer.name: offer for offer in offers(overage)}
    exact = [FUTURES["optimised"].expected_payable(by_name[name]) for name in (unrouted, routed)]
    assert cents(exact[0] - exact[1]) == value
    paths = value_of_routing(drawn["optimised"], offers(overage), best_unrouted=unrouted, best_routed=routed)
    assert (paths.signed_first, paths.routed_first) == (unrouted, routed)
    assert paths.value_usd == pytest.approx(value, abs=4.5 * paths.value_se_usd)
    assert paths.value_usd == pytest.approx(paths.signed_first_payable_usd - paths.routed_first_payable_usd)


@pytest.mark.parametrize(
    ("median", "sigma", "tier", "expected"),
    [
        (1_000_000, 0.30, "T1", 984_138.10),
        (800_000, 0.30, "T1", 791_953.35),  # volume −20 %
        (1_200_000, 0.30, "T1", 1_180_060.25),  # volume +20 %
        (1_000_000, 0.20, "T1", 959_009.95),
        (1_000_000, 0.45, "T1", 1_047_090.32),
        (670_000, 0.30, "T1", 675_361.39),  # list price −33 %
        (1_700_000, 0.30, "T2", 1_575_951.17),  # half of the routing lands
    ],
)
def test_sensitivity_by_closed_form(median: float, sigma: float, tier: str, expected: float):
    rows = closed_form(LognormalSpend(median, sigma), "discounted")
    # The table looks at the expectation alone; list −33 % has a higher risk of shortfall under T1 than .20 already.
    best = choose(rows, limit=1.0)
    assert best.name == tier
    assert cents(min(row.expected_payable_usd for row in rows)) == expected


def test_more_true_ups_cost_more_for_the_same_total():
    months = np.array([60, 62, 65, 70, 72, 82, 80, 84, 90, 95, 97, 100]) * 1000.0

    def year(parts: int, overage: float) -> float:
        sums = months.reshape(parts, -1).sum(axis=1)
        return cents(float(payable(sums, Offer("A", 840_000 / parts, 0.10, overage)).sum()))

    assert [year(parts, 0.10) for parts in (1, 4, 12)] == [861_300.00, 911_400.00, 915_200.00]
    assert [year(1, 0.0), year(12, 0.0)] == [863_666.67, 923_555.56]


# ---- The choice and its words ------------------------------------------------------------------------------------


def test_the_reason_names_the_runner_up_and_what_the_limit_excludes():
    choice = choose(closed_form(FUTURES["baseline"], "list"))
    assert (choice.name, choice.runner_up, choice.lowest) == ("T2", "T1", "T3")
    assert choice.reason == (
        "T2 has the lowest expected payable, $2,339,926, of the 3 offers with a risk of shortfall of at most 20%; "
        "T1 is next, $104,344 dearer. T3 would cost $76,427 less on average, but falls short in 52.6% of the futures."
    )


def test_a_tie_goes_to_the_smaller_commitment():
    spend = np.array([1_000_000.0])
    same = [Offer(NONE, 0, 0.0, 0.0), Offer("A", 100_000, 0.0, 0.0)]
    assert choose(measure(spend, same)).name == NONE


def test_no_commitment_is_recommended_where_every_other_offer_is_too_risky():
    choice = choose(measure(np.linspace(1_000.0, 90_000.0, 100), offers("list")))
    assert (choice.name, choice.runner_up) == (NONE, None)
    assert choice.reason.startswith("No commitment is the only offer with a risk of shortfall of at most 20%; its exp")


@pytest.mark.parametrize("spend", [[], [math.nan], [math.inf], [-1.0], [[1.0]]])
def test_spend_that_is_no_spend_is_refused(spend: list[float]):
    with pytest.raises(ValueError, match="spend"):
        measure(np.array(spend), offers("list"))


def test_an_offer_stated_at_list_prices():
    found = offers_of(terms("list", "list"))
    assert [cents(offer.commitment_usd) for offer in found] == [0, 470_000, 880_000, 1_640_000]
    assert [cents(offer.covers_usd) for offer in found] == [0, 500_000, 1_000_000, 2_000_000]
    assert [cents(offer.until_usd) for offer in found[1:3]] == [940_000, 1_760_000]
    assert found[3].until_usd == math.inf


def test_a_discount_without_commitment_holds_for_all_use():
    free = (Band("Pay as you go", Decimal(0), Decimal("0.02")), *BANDS)
    for overage in ("list", "discounted"):
        first = offers_of(terms(overage, bands=free))[0]
        assert payable(np.array([1_000_000.0]), first)[0] == pytest.approx(980_000)


# ---- What must hold for any offer --------------------------------------------------------------------------------

SPEND = st.floats(0, 1e8, allow_nan=False)
PATHS = st.lists(SPEND, min_size=1, max_size=60).map(lambda values: np.array(values, dtype=np.float64))


@st.composite
def any_offer(draw: st.DrawFn) -> Offer:
    discount = draw(st.floats(0, 0.9))
    overage = draw(st.sampled_from([0.0, discount]))
    return Offer("X", draw(st.floats(0, 1e8)), discount, overage)


@given(any_offer(), PATHS)
def test_payable_is_at_least_the_commitment_and_grows_with_spend(offer: Offer, spend: np.ndarray):
    paid = payable(np.sort(spend), offer)
    assert (paid >= offer.commitment_usd).all()
    assert (np.diff(paid) >= 0).all()


@given(any_offer(), PATHS)
def test_unused_money_and_shortfall_are_the_same_event(offer: Offer, spend: np.ndarray):
    left, short = unused(spend, offer), is_short(spend, offer)
    assert ((left > 0) == short).all()
    over = spend > offer.covers_usd * (1 + 1e-12)
    assert not (over & short).any()  # nobody pays for overage and unused funds in one year


@given(any_offer(), SPEND)
def test_payable_as_money_in_and_money_out(offer: Offer, spend: float):
    """A slower way: covered use at the discount, the rest at the overage price, and what is unused on top."""
    used_list = min(spend, offer.covers_usd)
    owed = used_list * (1 - offer.discount) + (spend - used_list) * (1 - offer.overage_discount)
    owed += float(unused(np.array([spend]), offer)[0])
    assert float(payable(np.array([spend]), offer)[0]) == pytest.approx(owed, rel=1e-9, abs=1e-3)


@given(PATHS)
def test_regret_is_measured_against_the_best_offer_of_each_path(spend: np.ndarray):
    rows = measure(spend, offers("list"))
    assert min(row.mean_regret_usd for row in rows) >= 0
    assert all(row.max_regret_usd >= row.mean_regret_usd - 1e-6 for row in rows)
    cheapest = np.min([payable(spend, offer) for offer in offers("list")], axis=0).mean()
    for row in rows:
        assert row.expected_payable_usd - row.mean_regret_usd == pytest.approx(cheapest, rel=1e-9, abs=1e-6)


@given(st.lists(SPEND, min_size=20, max_size=60).filter(lambda rows: len(rows) % 20 == 0))
def test_cvar_is_the_mean_of_the_worst_cases(values: list[float]):
    worst = sorted(values)[-(len(values) // 20) :]
    assert cvar(np.array(values)) == pytest.approx(sum(worst) / len(worst), rel=1e-9, abs=1e-6)


@given(st.lists(st.floats(1e4, 1e8), min_size=2, max_size=80), st.floats(0.01, 0.6), st.sampled_from([0.0, 0.5]))
def test_the_best_amount_minimises_the_mean_over_a_grid(values: list[float], discount: float, share: float):
    spend = np.array(values)
    offer = Offer("X", 0.0, discount, discount * share)
    best = best_amount(spend, offer)
    lowest = payable(spend, offer, best).mean()
    for amount in np.linspace(0, (1 - discount) * spend.max() * 1.1, 200):
        assert lowest <= payable(spend, offer, float(amount)).mean() * (1 + 1e-9)


@given(PATHS, st.floats(0.01, 0.5), st.floats(0, 1e7), st.floats(1, 1e7))
def test_the_best_amount_stays_inside_its_band(spend: np.ndarray, discount: float, least: float, width: float):
    offer = Offer("X", least, discount, 0.0, least + width)
    assert least <= best_amount(spend, offer) <= least + width
    assert best_amount(spend, Offer("X", least, discount, discount, least + width)) == least


@given(st.floats(1e5, 1e7), st.floats(0.05, 0.8), any_offer())
def test_the_closed_form_keeps_its_own_accounts(median: float, sigma: float, offer: Offer):
    future = LognormalSpend(median, sigma)
    paid = future.expected_payable(offer)
    assert paid >= offer.commitment_usd - 1e-6
    left = future.expected_unused(offer)
    assert left >= -1e-6 * max(1.0, offer.commitment_usd)
    covered = future.mean_usd - future.expected_excess(offer.covers_usd)
    owed = (1 - offer.discount) * covered + left + (1 - offer.overage_discount) * (future.mean_usd - covered)
    assert paid == pytest.approx(owed, rel=1e-7, abs=1e-3)
    assert future.cvar(offer) >= paid * (1 - 1e-9)


@given(st.floats(0, 1e7), st.floats(0, 1e7), st.floats(0, 0.4), st.floats(0.01, 0.4), st.booleans())
def test_from_the_break_even_on_the_higher_offer_is_cheaper(
    least: float, more: float, discount: float, extra: float, is_list: bool
):
    lower = Offer("L", least, discount, 0.0 if is_list else discount)
    higher = Offer("H", least + more, discount + extra, 0.0 if is_list else discount + extra)
    assume(more > 1)
    start = break_even_usd(lower, higher)
    assert start is not None
    around = np.array([start * 0.99 - 1, start, start * 1.01 + 1])
    below, at, above = payable(around, higher) - payable(around, lower)
    assert below >= -1e-6
    assert at == pytest.approx(0, abs=1e-3)
    assert above <= 1e-3


def test_pay_under_list_overage_is_never_below_discounted_overage():
    for disc, listed in zip(offers("discounted"), offers("list"), strict=True):
        assert (payable(BASELINE, disc) <= payable(BASELINE, listed)).all()
