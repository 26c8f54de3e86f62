"""Amounts in whole cents: what stands on a page adds up on paper."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing.core.cents import shown_causes, shown_difference, to_cents
from billing.core.money import CENT
from billing.core.settlement import CauseSum, Gap

AMOUNTS = st.decimals(min_value=-(10**7), max_value=10**7, places=9, allow_nan=False)


def gap(from_usd: str, *amounts: str) -> Gap:
    causes = tuple(CauseSum("unknown", "", Decimal(amount), "", "", 1, "open") for amount in amounts)
    total = sum((cause.amount_usd for cause in causes), Decimal(0))
    return Gap("report", Decimal(from_usd), Decimal(from_usd) + total, total, causes)


def test_five_causes_of_a_difference_that_ends_half_a_cent_up() -> None:
    """Rounded one by one they read 104.90 and their total 104.91."""
    found = gap(
        "25873.19976", "37.2238245", "28.21278", "24.498402818181819", "10.85", "4.1199995", "-0.000000818181819"
    )
    assert f"{found.difference_usd:.9f}" == "104.905006000"
    assert shown_difference(found.from_usd, found.to_usd) == Decimal("104.90")
    assert [f"{amount}" for amount in shown_causes(found)] == ["37.22", "28.21", "24.50", "10.85", "4.12", "0.00"]


def test_a_cent_goes_to_the_amount_that_is_nearest_to_it() -> None:
    found = gap("0.004", "1.004", "2.0049", "3")  # 0.00 → 6.01
    assert [f"{amount}" for amount in shown_causes(found)] == ["1.00", "2.01", "3.00"]


@given(AMOUNTS, st.lists(AMOUNTS, min_size=1, max_size=9))
def test_causes_sum_to_the_difference_of_the_figures_shown(first: Decimal, amounts: list[Decimal]) -> None:
    found = gap(f"{first:f}", *(f"{amount:f}" for amount in amounts))
    shown = shown_causes(found)
    assert sum(shown) == shown_difference(found.from_usd, found.to_usd)
    for exact, cents in zip(amounts, shown, strict=True):
        assert abs(cents - exact) < CENT and cents == cents.quantize(CENT)


@given(st.lists(AMOUNTS, min_size=1, max_size=9))
def test_to_cents_keeps_whole_cents(amounts: list[Decimal]) -> None:
    whole = [amount.quantize(CENT) for amount in amounts]
    assert to_cents(whole, sum(whole, Decimal(0))) == whole
