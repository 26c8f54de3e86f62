"""Amounts per month that are shown below each other add up to the total below them."""

from decimal import ROUND_HALF_UP, Decimal

from hypothesis import given
from hypothesis import strategies as st

from costgov.queries.recommendation import CENT, per_month, per_month_in_cents

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
