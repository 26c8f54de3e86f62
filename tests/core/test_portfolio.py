"""The audit of all verdicts together (e-BH) against its definition with exact fractions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.core.portfolio import confirmed_together


@pytest.mark.parametrize(
    ("e_values", "expected"),
    [
        ({}, set()),
        ({"a": 19.9}, set()),
        ({"a": 20.1}, {"a"}),
        ({"a": 30.0, "b": 30.0}, {"a", "b"}),  # neither reaches 40 alone; both reach 20
        ({"a": 30.0, "b": 19.0}, set()),
        ({"a": 41.0, "b": 19.0}, {"a"}),
        ({"a": 61.0, "b": 25.0, "c": 21.0}, {"a", "b", "c"}),
    ],
)
def test_table(e_values: dict[str, float], expected: set[str]) -> None:
    assert confirmed_together({key: math.log(value) for key, value in e_values.items()}) == expected


@given(st.lists(st.integers(1, 400), max_size=12, unique=True))
def test_equals_the_definition(e_values: list[int]) -> None:
    found = confirmed_together({value: math.log(value + 0.5) for value in e_values})
    falling, slow = sorted(e_values, reverse=True), 0
    for j in range(1, len(falling) + 1):
        if (falling[j - 1] + 0.5) * 0.05 * j >= len(falling):
            slow = j
    assert found == set(falling[:slow])


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1])
def test_alpha_is_a_probability(alpha: float) -> None:
    with pytest.raises(ValueError, match="above 0 and below 1"):
        confirmed_together({"a": 1.0}, alpha=alpha)
