"""The saving a held-back arm measures, on the golden numbers of the methods."""

import pytest

from routing.core.measured_saving import Arm, conversations_needed, measured_saving


def test_golden() -> None:
    found = measured_saving(Arm(0.0182, 0.0364, 98_000), Arm(0.0310, 0.0682, 2_000))
    assert (found.share, found.low, found.high) == pytest.approx((0.412903, 0.352954, 0.467298), abs=5e-7)


def test_equal_arms_save_nothing_and_the_interval_holds_zero() -> None:
    arm = Arm(0.02, 0.04, 1_000)
    found = measured_saving(arm, arm)
    assert found.share == 0 and found.low < 0 < found.high


def test_an_empty_arm_measures_nothing() -> None:
    with pytest.raises(ValueError, match="the baseline arm has no cost to compare: 0 conversations"):
        measured_saving(Arm(0.02, 0.04, 10), Arm(0.0, 0.0, 0))


def test_about_1500_conversations_measure_to_a_tenth_when_costs_spread_twice_their_mean() -> None:
    assert conversations_needed(Arm(1.0, 2.0, 0)) == 1_537
