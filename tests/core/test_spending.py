"""Spend of three policies on one set of paths: exact differences, rollout, prices that change inside a month."""

import itertools
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core.forecasting import Floats
from billing.core.spending import (
    PriceSegment,
    class_means,
    contract_months,
    mix_factors,
    mix_sd,
    period_unit_costs,
    quantile_table,
    rolled_out,
    rollout_share,
    spend_paths,
    spread,
    yearly_sums,
)


def world(seed: int = 1, classes: int = 4, periods: int = 3, paths: int = 60) -> tuple[Floats, Floats, Floats]:
    draw = np.random.default_rng(seed)
    volumes = draw.gamma(5, 1000, (periods, classes, paths)).astype(np.float32)
    mix = mix_factors(np.full(classes, 0.1), paths=paths, seed=seed)
    costs = draw.gamma(2, 0.01, (3, classes, periods))
    return volumes, mix, costs  # type: ignore[return-value]


def test_spend_equals_plain_loops() -> None:
    volumes, mix, costs = world()
    found = spend_paths(volumes, mix, costs)  # type: ignore[arg-type]
    assert found.shape == (3, 60, 3)
    for policy in range(3):
        for path in (0, 17, 59):
            for period in range(3):
                expected = sum(
                    float(volumes[period, c, path]) * mix[c, path] * costs[policy, c, period] for c in range(4)
                )
                assert found[policy, path, period] == pytest.approx(expected, rel=1e-12)


def test_differences_between_policies_are_exact_per_path() -> None:
    volumes, mix, costs = world()
    costs[2] = costs[1]
    costs[2, 0] *= 0.4  # only the first class moves
    found = spend_paths(volumes, mix, costs)  # type: ignore[arg-type]
    moved = costs[1, 0][:, None] * 0.6 * volumes[:, 0, :] * mix[0]
    assert found[1] - found[2] == pytest.approx(moved.T, rel=1e-9)


def test_the_same_unit_costs_give_the_same_spend_to_the_last_bit() -> None:
    volumes, mix, costs = world()
    costs[2] = costs[1]
    found = spend_paths(volumes, mix, costs)  # type: ignore[arg-type]
    assert found[1].tobytes() == found[2].tobytes()


def test_classes_sum_to_the_total() -> None:
    volumes, mix, costs = world()
    total = spend_paths(volumes, mix, costs).sum(axis=2).mean(axis=1)  # type: ignore[arg-type]
    assert class_means(volumes, mix, costs).sum(axis=1) == pytest.approx(total, rel=1e-12)  # type: ignore[arg-type]


# -- periods and rollout ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "months", "expected"),
    [
        (date(2026, 12, 1), 2, [date(2026, 12, 1), date(2027, 1, 1), date(2027, 2, 1)]),
        (date(2027, 1, 15), 2, [date(2027, 1, 15), date(2027, 2, 15), date(2027, 3, 15)]),
        (date(2027, 1, 31), 3, [date(2027, 1, 31), date(2027, 2, 28), date(2027, 3, 31), date(2027, 4, 30)]),
        (date(2028, 1, 30), 1, [date(2028, 1, 30), date(2028, 2, 29)]),
    ],
)
def test_contract_months(start: date, months: int, expected: list[date]) -> None:
    found = contract_months(start, months)
    assert [first for first, _ in found] + [found[-1][1]] == expected


@given(st.dates(date(2020, 1, 1), date(2030, 1, 1)), st.integers(1, 60))
def test_contract_months_tile(start: date, months: int) -> None:
    found = contract_months(start, months)
    assert len(found) == months and found[0][0] == start
    assert all(one[1] == other[0] and one[0] < one[1] for one, other in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        ((date(2026, 12, 1), date(2026, 12, 8)), 0.05),
        ((date(2026, 12, 1), date(2026, 12, 15)), 0.15),
        ((date(2026, 12, 1), date(2027, 1, 1)), (7 * 0.05 + 7 * 0.25 + 7 * 0.50 + 10 * 0.98) / 31),
        ((date(2027, 1, 1), date(2027, 2, 1)), 0.98),
        ((date(2026, 11, 1), date(2026, 12, 1)), 0.0),
        ((date(2026, 11, 24), date(2026, 12, 8)), 0.025),
    ],
)
def test_rollout_by_stages(period: tuple[date, date], expected: float) -> None:
    assert rollout_share(date(2026, 12, 1), period) == pytest.approx(expected)


@given(st.dates(date(2026, 1, 1), date(2027, 12, 1)), st.integers(1, 90), st.integers(-60, 60))
def test_rollout_share_is_the_mean_over_days(start: date, days: int, offset: int) -> None:
    period = (start + timedelta(days=offset), start + timedelta(days=offset + days))

    def on(day: date) -> float:
        since = (day - start).days
        return 0.0 if since < 0 else 0.05 if since < 7 else 0.25 if since < 14 else 0.50 if since < 21 else 0.98

    mean = sum(on(period[0] + timedelta(days=i)) for i in range(days)) / days
    assert rollout_share(start, period) == pytest.approx(mean)


def test_a_price_change_inside_a_month_counts_by_days() -> None:
    months = contract_months(date(2027, 1, 1), 2)
    segments = [
        PriceSegment(date(2027, 1, 1), date(2027, 1, 11), np.array([3.1, 6.2])),
        PriceSegment(date(2027, 1, 11), date(2027, 3, 1), np.array([1.0, 2.0])),
    ]
    expected = [(10 * 3.1 + 21 * 1.0) / 31, 1.0]
    found = period_unit_costs(segments, months)
    assert found[0] == pytest.approx(expected)
    assert found[1] == pytest.approx([2 * value for value in expected])


def test_days_without_a_price_segment_are_refused() -> None:
    with pytest.raises(ValueError, match="cover 10 of 31 days"):
        period_unit_costs(
            [PriceSegment(date(2027, 1, 1), date(2027, 1, 11), np.ones(1))], contract_months(date(2027, 1, 1), 1)
        )


def test_rolling_out_moves_from_one_cost_to_the_other() -> None:
    current, target = np.array([[10.0, 10.0]]), np.array([[4.0, 4.0]])
    assert rolled_out(current, target, np.array([[0.25, 0.98]])) == pytest.approx(np.array([[8.5, 4.12]]))


# -- mix ----------------------------------------------------------------------------------------------------------


def test_mix_sd_is_shrunk_to_five_percent() -> None:
    assert mix_sd(np.array([])) == pytest.approx(0.05)
    assert mix_sd(np.array([2.0, 2.0, 2.0])) == pytest.approx(np.sqrt(8 * 0.05**2 / 10))
    logs = np.array([0.0, 0.10, 0.05, 0.20, 0.15])
    changes = np.diff(logs)
    s = 1.4826 * np.median(np.abs(changes - np.median(changes)))
    assert mix_sd(np.exp(logs)) == pytest.approx(np.sqrt((4 * s**2 + 8 * 0.05**2) / 12))


def test_unknown_blocks_are_skipped_with_the_changes_beside_them() -> None:
    assert mix_sd(np.array([1.0, np.nan, 9.0, 9.0])) == pytest.approx(np.sqrt(8 * 0.05**2 / 9))


def test_mix_factors_have_mean_one() -> None:
    factors = mix_factors(np.array([0.05, 0.3]), paths=200_000, seed=4)
    assert factors.mean(axis=1) == pytest.approx([1, 1], abs=0.003)
    assert np.log(factors).std(axis=1) == pytest.approx([0.05, 0.3], rel=0.01)


# -- sums ---------------------------------------------------------------------------------------------------------


def test_years_are_summed_per_path() -> None:
    spend = np.arange(30, dtype=float).reshape(1, 30)
    assert yearly_sums(spend).tolist() == [[sum(range(12)), sum(range(12, 24)), sum(range(24, 30))]]


def test_percentiles_are_taken_of_sums_never_summed() -> None:
    spend = np.array([[0.0, 10.0], [10.0, 0.0], [5.0, 5.0]])
    found = spread(spend.sum(axis=1))
    assert (found.p10, found.p50, found.p90, found.mean) == (10, 10, 10, 10)
    table = quantile_table(spend, (0.1, 0.9))
    assert table[1].sum() > 10


def test_the_standard_error_is_that_of_the_mean() -> None:
    values = np.array([1.0, 2.0, 3.0, 6.0])
    assert spread(values).standard_error == pytest.approx(np.std(values, ddof=1) / 2)
