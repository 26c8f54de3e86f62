"""Exact money: the golden numbers of methods.md §1, rounding, splitting, and the one crossing from estimates."""

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core.money import (
    MoneyError,
    estimate_usd,
    line_cost,
    parse_cents,
    parse_usd,
    round_usd,
    split_cents,
    sum_usd,
    usd_per_each,
)

D = Decimal
PRICES = st.decimals(min_value=0, max_value=10**6, places=9, allow_nan=False, allow_infinity=False)
TOKENS = st.integers(min_value=0, max_value=2**63 - 1)


@pytest.mark.parametrize(
    ("tokens", "price", "cost"),
    [
        (1_234_567, "0.30", "0.3703701"),
        (987_654_321, "18.75", "18518.51851875"),
        (0, "25", "0"),
        (1, "0.000000001", "0.000000000000001"),
        (2**63 - 1, "999999.999999999", None),
    ],
)
def test_a_line_is_tokens_times_price_exactly(tokens, price, cost):
    exact = Fraction(tokens) * Fraction(price) / 10**6
    assert Fraction(line_cost(tokens, D(price))) == exact
    if cost is not None:
        assert line_cost(tokens, D(price)) == D(cost)


def test_web_searches_are_priced_by_the_thousand():
    assert line_cost(1_234, D("10"), unit_exponent=3) == D("12.34")


@given(TOKENS, PRICES)
def test_a_line_equals_the_fraction(tokens, price):
    assert Fraction(line_cost(tokens, price)) == Fraction(tokens) * Fraction(price) / 10**6
    assert Fraction(tokens) * Fraction(usd_per_each(price)) == Fraction(line_cost(tokens, price))


@pytest.mark.parametrize("tokens", [-1, 1.5, True, "5"])
def test_a_count_that_is_none_is_refused(tokens):
    with pytest.raises(MoneyError, match="whole number"):
        line_cost(tokens, D("1"))


@pytest.mark.parametrize("price", [D("-0.01"), D("NaN"), D("Infinity"), 0.3])
def test_a_price_that_is_none_is_refused(price):
    with pytest.raises(MoneyError, match="price"):
        line_cost(1, price)


@pytest.mark.parametrize(
    ("amount", "mode", "cents"),
    [
        ("0.125", None, "0.13"),
        ("0.135", None, "0.14"),
        ("0.124999999999999", None, "0.12"),
        ("-0.125", None, "-0.13"),
        ("0.125", ROUND_HALF_EVEN, "0.12"),
        ("0.135", ROUND_HALF_EVEN, "0.14"),
        ("0.129", ROUND_DOWN, "0.12"),
        ("0.121", ROUND_UP, "0.13"),
    ],
)
def test_one_rounding_to_cents(amount, mode, cents):
    assert (round_usd(D(amount)) if mode is None else round_usd(D(amount), mode)) == D(cents)


def test_an_unknown_rounding_mode_is_refused():
    with pytest.raises(MoneyError, match="ROUND_HALF_UP"):
        round_usd(D("1"), "nearest")


def test_rounding_each_line_drifts_and_rounding_once_does_not():
    lines = [line_cost(units, D("5")) for units in range(700, 20_700)]
    once = round_usd(sum_usd(lines))
    each = sum_usd(round_usd(line) for line in lines)
    assert once == D("1069.95")
    assert each != once


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (10_000, [1, 1, 1], [3334, 3333, 3333]),
        (1_001_812, [D("1854.375"), D("3543.75"), D("4620")], [185437, 354375, 462000]),
        (-10_000, [1, 1, 1], [-3334, -3333, -3333]),
        (2, [1, 0, 1], [1, 0, 1]),
        (0, [3, 4], [0, 0]),
        (1, [Fraction(1, 3), Fraction(2, 3)], [0, 1]),
    ],
)
def test_splitting_by_largest_remainder(total, weights, parts):
    assert split_cents(total, weights) == parts


@given(
    st.integers(min_value=-(10**12), max_value=10**12),
    st.lists(st.integers(min_value=0, max_value=10**9), min_size=1, max_size=30).filter(any),
)
def test_parts_sum_to_the_total_and_are_within_a_cent_of_their_share(total, weights):
    parts = split_cents(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Fraction(total * weight, sum(weights))) < 1
        assert weight or part == 0


@pytest.mark.parametrize(("weights", "words"), [([], "above 0"), ([0, 0], "above 0"), ([1, -1], "negative"),
                                                ([D("NaN")], "finite")])  # fmt: skip
def test_impossible_weights_are_refused(weights, words):
    with pytest.raises(MoneyError, match=words):
        split_cents(100, weights)


@given(st.lists(st.decimals(min_value=-(10**12), max_value=10**12, places=15), max_size=40))
def test_sums_are_exact_in_any_order(amounts):
    assert Fraction(sum_usd(amounts)) == sum((Fraction(amount) for amount in amounts), Fraction(0))
    assert sum_usd(amounts) == sum_usd(reversed(amounts))


def test_a_sum_that_would_lose_a_digit_is_refused():
    with pytest.raises(MoneyError, match="50 digits"):
        sum_usd([D("1e40"), D("1e-15")])


@pytest.mark.parametrize(("value", "usd"), [(0.1, "0.100000"), (1e-7, "0.000000"), (2.5, "2.500000")])
def test_estimates_become_money_with_six_places(value, usd):
    assert str(estimate_usd(value)) == usd


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_failed_estimate_is_no_amount(value):
    with pytest.raises(MoneyError, match="absent"):
        estimate_usd(value)


@pytest.mark.parametrize(("text", "usd"), [("1234.56", "1234.56"), (" 0.30 ", "0.30"), ("1e-07", "1E-7"), ("-5", "-5")])
def test_amounts_are_read_as_written(text, usd):
    assert parse_usd(text) == D(usd)


@pytest.mark.parametrize("text", ["", "1,234.56", "$5", "NaN", "Infinity", "1e400", "0x10", "1_000", "١٢", "5 usd"])
def test_what_is_no_plain_amount_is_refused(text):
    with pytest.raises(MoneyError):
        parse_usd(text)


def test_cost_reports_speak_in_cents():
    assert parse_cents("123.45") == D("1.2345")
