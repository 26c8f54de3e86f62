"""Cascades: the worked example of methods.md §2, the break-even, and a simulation as oracle."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.core.cascades import Check, JointQuality, cascade

CHECK = Check(Decimal("0.0005"), Decimal("0.95"), Decimal("0.10"))
# p₁ = 0.90 and, as the strong model is right as often on good as on bad cheap answers, p₂ = 0.92.
JOINT = JointQuality(Decimal("0.828"), Decimal("0.072"), Decimal("0.092"), Decimal("0.008"))
share = st.decimals(0, 1, places=3)


def test_worked_example() -> None:
    found = cascade("haiku", "opus", cheap_usd=Decimal("0.004"), strong_usd=Decimal("0.02"), check=CHECK, joint=JOINT)
    assert found.accepted_share == Decimal("0.865")
    assert found.unit_cost_usd == Decimal("0.0072")
    assert found.quality == Decimal("0.9792")
    assert found.break_even_share == Decimal("0.225")
    assert found.pays
    assert found.reason == (
        "haiku first pays: its answers are accepted 86.5% of the time, break-even is 22.5%; it costs 0.36× opus alone"
    )


def test_a_check_that_refuses_nearly_all_loses_money() -> None:
    check = Check(Decimal("0.0005"), Decimal("0.20"), Decimal("0.01"))
    found = cascade("haiku", "opus", cheap_usd=Decimal("0.004"), strong_usd=Decimal("0.02"), check=check, joint=JOINT)
    assert not found.pays
    assert found.accepted_share < found.break_even_share
    assert "loses money" in found.reason


@given(share, share, st.lists(st.integers(1, 50), min_size=4, max_size=4), st.integers(1, 40))
def test_cheaper_exactly_above_the_break_even(good: Decimal, bad: Decimal, counts: list[int], price: int) -> None:
    joint = JointQuality(*(Decimal(count) for count in counts))
    check = Check(Decimal("0.0003"), good, bad)
    found = cascade("a", "b", cheap_usd=Decimal(price) / 1000, strong_usd=Decimal("0.02"), check=check, joint=joint)
    assert found.pays == (found.accepted_share > found.break_even_share)
    assert 0 <= found.quality <= 1


def test_quality_and_cost_agree_with_a_simulation() -> None:
    draw = np.random.default_rng(7)
    cells = draw.choice(4, 400_000, p=[0.6, 0.15, 0.2, 0.05])  # both, only cheap, only strong, neither
    cheap_good, strong_good = np.isin(cells, [0, 1]), np.isin(cells, [0, 2])
    accepted = draw.random(cells.size) < np.where(cheap_good, 0.9, 0.3)
    joint = JointQuality(Decimal("0.6"), Decimal("0.15"), Decimal("0.2"), Decimal("0.05"))
    found = cascade(
        "a",
        "b",
        cheap_usd=Decimal(1),
        strong_usd=Decimal(5),
        check=Check(Decimal("0.1"), Decimal("0.9"), Decimal("0.3")),
        joint=joint,
    )
    assert float(found.accepted_share) == pytest.approx(accepted.mean(), abs=0.003)
    assert float(found.quality) == pytest.approx(np.where(accepted, cheap_good, strong_good).mean(), abs=0.003)
    assert float(found.unit_cost_usd) == pytest.approx((1.1 + 5 * ~accepted).mean(), abs=0.02)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ({"good_accepted": Decimal("1.1")}, "good_accepted is 1.1: it is a share"),
        ({"bad_accepted": Decimal("-0.1")}, "bad_accepted is -0.1: it is a share"),
        ({"check_usd": Decimal(-1)}, "check_usd is -1: a check costs 0 or more"),
    ],
)
def test_what_cannot_be_is_refused(check: dict[str, Decimal], message: str) -> None:
    parts = {"check_usd": Decimal(0), "good_accepted": Decimal(1), "bad_accepted": Decimal(0)}
    with pytest.raises(ValueError, match=message):
        Check(**(parts | check))  # type: ignore[arg-type]


def test_without_cases_run_on_both_there_is_no_answer() -> None:
    with pytest.raises(ValueError, match="no case was run on both a and b"):
        cascade(
            "a", "b", cheap_usd=Decimal(1), strong_usd=Decimal(2), check=CHECK, joint=JointQuality(*[Decimal(0)] * 4)
        )
