"""One rounding and one spelling of the numbers people read, on pages and in sentences alike."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core.words import percent, percent_as_set, signed, usd
from costgov.charts import parts
from costgov.templatetags.costgov_format import pct, pct_set, usd0
from costgov.templatetags.costgov_format import usd as usd_filter


@pytest.mark.parametrize(
    ("share", "places", "words"),
    [
        (0.0725, 1, "7.3%"),  # its float is 0.07249999…, which format() calls 7.2%
        (Decimal("0.0725"), 1, "7.3%"),  # format() rounds a Decimal half to even: 7.2%
        (0.975, 0, "98%"),
        (Decimal("0.5"), 0, "50%"),
        (0.0, 1, "0.0%"),
        (-0.0004, 1, "0.0%"),
        (-0.118, 1, "−11.8%"),
        (12.345, 0, "1,235%"),
    ],
)
def test_shares(share: float | Decimal, places: int, words: str):
    assert percent(share, places) == pct(share, places) == words


@pytest.mark.parametrize(
    ("share", "words"), [(0.93, "93%"), (0.925, "92.5%"), (Decimal("0.050000"), "5%"), (0.0, "0%"), (0.28, "28%")]
)
def test_shares_somebody_set(share: float | Decimal, words: str):
    assert percent_as_set(share) == pct_set(share) == words


@pytest.mark.parametrize(
    ("value", "places", "words"),
    [
        (1234.5, 0, "$1,235"),
        (Decimal("2.5"), 0, "$3"),
        (0.125, 2, "$0.13"),
        (-0.004, 2, "$0.00"),
        (-1234.565, 2, "−$1,234.57"),
    ],
)
def test_money(value: float | Decimal, places: int, words: str):
    assert usd(value, places) == usd_filter(value, places) == parts.usd_text(value, places) == words


def test_chart_labels_change_unit_where_the_smaller_would_read_1000():
    shown = [parts.usd_brief(value) for value in (999.4, 999.5, 999_499, 999_500, -1_785_000, 1_785_000.5, None)]
    assert shown == ["$999", "$1.0 k", "$999.5 k", "$1.00 M", "−$1.79 M", "$1.79 M", "–"]


@given(st.decimals(-(10**9), 10**9, places=6), st.integers(0, 4))
def test_the_number_shown_is_the_number_rounded_half_up(value: Decimal, places: int):
    shown = Decimal(signed(value, places).replace(",", "").replace("−", "-"))
    assert shown == value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    assert usd0(value) == usd(value)
