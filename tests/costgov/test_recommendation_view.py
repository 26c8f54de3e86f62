"""What counts as a saving, on figures a reader can add up; amounts a month that add up to the total below them."""

from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from django.core.cache import cache
from hypothesis import given
from hypothesis import strategies as st

from audit.operations import bump_data_version
from billing.core.money import CENT
from billing.models import DailyUsage, Price
from costgov.queries.forecast import prepare_forecast, run_forecast
from costgov.queries.recommendation import ClassRow, per_month, per_month_in_cents, recommendation_view
from routing.models import RequestClass
from tests.costgov import small_world as world

WINDOW = st.decimals(-(10**7), 10**7, places=6)


def test_rows_that_would_not_add_up_when_rounded_one_by_one() -> None:
    saved = [
        "9202.337479",
        "2282.98661",
        "1753.602937",
        "1258.8058",
        "610.08303",
        "410.390848",
        "49.62628",
        "-24.896211",
    ]
    one_by_one = [per_month(Decimal(usd)).quantize(CENT, ROUND_HALF_UP) for usd in saved]
    assert sum(one_by_one) == Decimal("16896.01")
    assert per_month(sum(map(Decimal, saved), Decimal(0))).quantize(CENT, ROUND_HALF_UP) == Decimal("16896.00")
    rows = per_month_in_cents({str(n): Decimal(usd) for n, usd in enumerate(saved)})
    assert sum(rows.values()) == Decimal("16896.00")
    assert sum(row != alone for row, alone in zip(rows.values(), one_by_one, strict=True)) == 1


@given(st.dictionaries(st.text(max_size=3), WINDOW, max_size=8))
def test_rows_in_cents_sum_to_the_rounded_sum_and_move_by_less_than_a_cent(saved: dict[str, Decimal]) -> None:
    rows = per_month_in_cents(saved)
    exact = sum(saved.values(), Decimal(0)) * Decimal("30.4375") / 28
    assert abs(sum(rows.values(), Decimal(0)) - exact) <= Decimal("0.005")
    assert all(usd == usd.quantize(Decimal("0.01")) for usd in rows.values())
    assert all(abs(rows[name] - saved[name] * Decimal("30.4375") / 28) < Decimal("0.0100001") for name in saved)


# -- what no move changes is no saving ------------------------------------------------------------------------------


@pytest.fixture
def triage_on_opus(db: Any) -> None:
    """2,800 requests in 28 days at 0.0175 on opus; haiku clears, takes the same tokens and costs 0.0035."""
    cache.clear()
    world.organisation()
    world.models()
    world.prices()
    world.classes()
    for back in range(28, 0, -1):
        world.use(world.TODAY - timedelta(days=back), world.OPUS, "triage", 100, (200_000, 30_000))
    for model in (world.OPUS, world.HAIKU):
        world.evals("triage", model, 199, 200, world.AS_OF - timedelta(days=30))


def price(model: str, kind: str, usd: str, **changes: Any) -> None:
    Price.objects.create(
        model=model, token_kind=kind, usd_per_unit=Decimal(usd), source="by hand", checked_on=world.TODAY,
        proposed_at=world.AS_OF, approved_at=world.AS_OF, **changes,
    )  # fmt: skip


def triage() -> ClassRow:
    bump_data_version()
    row = recommendation_view(as_of=world.AS_OF).row("triage")
    assert row is not None and row.target == world.HAIKU
    return row


@pytest.mark.usefixtures("triage_on_opus")
def test_the_saving_of_a_move() -> None:
    row = triage()
    assert (row.current_cost_usd, row.steps.recommended_cost_usd, row.saving_usd) == (
        Decimal(49),
        Decimal("9.8"),
        Decimal("39.2"),
    )


@pytest.mark.usefixtures("triage_on_opus")
def test_web_searches_cost_the_same_on_every_model() -> None:
    DailyUsage.objects.update(web_searches=50)  # 1,400 at 10 per 1,000: 14.00
    for model in world.PRICES:
        price(model, "web_search", "10")
    row = triage()
    assert (row.steps.uniform_cost_usd, row.current_cost_usd) == (Decimal(63), Decimal(63))
    assert (row.steps.recommended_cost_usd, row.saving_usd) == (Decimal("23.8"), Decimal("39.2"))
    forecast, _ = run_forecast(prepare_forecast(as_of=world.AS_OF, paths=20))
    december, january = (month.optimised_usd / month.current_usd for month in forecast.rows[:2])
    assert float(january) == pytest.approx(0.02 + 0.98 * 23.8 / 63) and december > january


@pytest.mark.usefixtures("triage_on_opus")
def test_searches_without_a_price_leave_the_class_unsolved() -> None:
    DailyUsage.objects.update(web_searches=50)
    bump_data_version()
    view = recommendation_view(as_of=world.AS_OF)
    assert view.row("triage") is None
    assert "part of its usage is unpriced" in {row.request_class: row.reason for row in view.unsolved}["triage"]


@pytest.mark.usefixtures("triage_on_opus")
def test_the_premium_of_an_inference_geo_stays_on_the_recommended_model() -> None:
    DailyUsage.objects.update(geo="us")
    for model, (into, out) in world.PRICES.items():
        price(model, "uncached_input", str(Decimal(into) * Decimal("1.1")), geo="us")
        price(model, "output", str(Decimal(out) * Decimal("1.1")), geo="us")
    row = triage()
    assert (row.steps.uniform_cost_usd, row.current_cost_usd) == (Decimal("53.9"), Decimal("53.9"))
    assert (row.steps.recommended_cost_usd, row.saving_usd) == (Decimal("10.78"), Decimal("43.12"))


@pytest.mark.usefixtures("triage_on_opus")
def test_a_price_that_fell_within_the_window_is_no_saving() -> None:
    fell = world.TODAY - timedelta(days=14)
    held = Price.objects.filter(model=world.OPUS, service_tier="standard")
    before = dict(held.values_list("token_kind", "usd_per_unit"))
    held.update(valid_from=fell)
    for kind, usd in before.items():
        price(world.OPUS, kind, str(usd * 2), service_tier="standard", valid_to=fell)
    row = triage()
    # 14 of the days cost twice as much when they happened (73.50 in all); today they would cost what they cost now.
    assert (row.current_cost_usd, row.saving_usd) == (Decimal(49), Decimal("39.2"))


@pytest.mark.usefixtures("triage_on_opus")
def test_a_saving_on_assumed_reuse_is_not_proven() -> None:
    assert triage().is_proven  # quality shown, tokens measured in evals
    reuse = {"prefix_share": 0.9, "hit_share_5m": 0.6, "source": "a guess"}
    RequestClass.objects.filter(slug="triage").update(reuse=reuse)
    row = triage()
    assert (row.caching, row.reuse_is_assumed, row.is_proven) == ("5m", True, False)
    DailyUsage.objects.update(cache_read_tok=180_000, cache_write_5m_tok=20_000)
    row = triage()
    assert (row.caching, row.reuse_is_assumed, row.is_proven) == ("5m", False, True)
