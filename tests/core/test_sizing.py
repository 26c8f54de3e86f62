"""A whole sizing: three policies side by side, its curve, its sensitivity; and the record it is kept as."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
import pytest

from billing.core.commitments import measure, offers_of, payable
from billing.core.records import RecordError, decode
from billing.core.sizing import POLICIES, Sizing, SpendPaths, size
from billing.core.spending import QUANTILES
from billing.core.terms import Terms
from tests.core.sizings import START, TERMS, paths


@pytest.fixture(scope="module")
def sizing() -> Sizing:
    return size(paths(), TERMS)


def test_each_policy_has_its_own_recommendation(sizing: Sizing):
    assert [row.policy for row in sizing.policies] == list(POLICIES)
    assert {row.policy: row.choice.name for row in sizing.policies} == {
        "baseline": "T2", "current": "T2", "optimised": "T1",
    }  # fmt: skip
    assert sizing.path_count == 10_000
    assert all(row.best.shortfall_probability <= 0.20 for row in sizing.policies)


def test_routing_first_is_worth_the_golden_value(sizing: Sizing):
    assert (sizing.routing.signed_first, sizing.routing.routed_first) == ("T2", "T1")
    assert abs(float(sizing.routing.value_usd) - 74_788.71) < 4.5 * float(sizing.routing.value_se_usd)
    assert (sizing.routing_lowest.signed_first, sizing.routing_lowest.routed_first) == ("T3", "T1")
    assert abs(float(sizing.routing_lowest.value_usd) - 985_294.90) < 4.5 * float(sizing.routing_lowest.value_se_usd)


def test_a_policy_has_the_same_offers_in_the_same_order(sizing: Sizing):
    for row in sizing.policies:
        assert [offer.name for offer in row.offers] == ["No commitment", "T1", "T2", "T3"]
        assert all(
            o.closed_form_usd is not None and abs(o.closed_form_usd / o.expected_payable_usd - 1) < Decimal("0.02")
            for o in row.offers
        )


def test_the_distribution_is_of_sums_not_a_sum_of_percentiles(sizing: Sizing):
    spend = paths()
    year = spend.of("optimised").sum(axis=1)
    found = sizing.policy("optimised")
    assert [float(q) for q in found.year.quantiles_usd] == pytest.approx(np.quantile(year, QUANTILES), abs=1e-5)
    assert float(found.year.mean_usd) == pytest.approx(year.mean(), abs=1e-5)
    assert [month.label for month in found.months][:2] == ["Jan 2027", "Feb 2027"]
    assert sum(month.mean_usd for month in found.months) == pytest.approx(found.year.mean_usd, abs=Decimal("0.0001"))


@pytest.mark.parametrize("stated_in", ["payable", "list"])
def test_the_curve_is_the_expected_payable_of_each_amount(stated_in: str):
    terms = Terms(START, "list", stated_in, TERMS.bands)  # type: ignore[arg-type]
    found = size(paths(2_000), terms)
    year = paths(2_000).of("optimised").sum(axis=1)
    assert list(found.amounts_usd) == sorted(set(found.amounts_usd))
    assert {0.0, 500_000.0, 1_000_000.0, 2_000_000.0} <= set(found.amounts_usd)
    offers = offers_of(terms)
    curve = found.policy("optimised")
    for amount, expected, low, high in zip(
        found.amounts_usd, curve.curve_expected_usd, curve.curve_low_usd, curve.curve_high_usd, strict=True
    ):
        band = 3 if amount >= 2e6 else 2 if amount >= 1e6 else 1 if amount >= 5e5 else 0
        owed = amount if stated_in == "payable" else amount * (1 - offers[band].discount)
        paid = payable(year, offers[band], owed)
        assert expected == pytest.approx(paid.mean(), abs=0.006)
        assert low <= high
        assert float(np.mean(paid < low - 0.01)) <= 0.101
        assert float(np.mean(paid > high + 0.01)) <= 0.101
    by_amount = dict(zip(found.amounts_usd, curve.curve_expected_usd, strict=True))
    for offer, band_ in zip(curve.offers, terms.offers, strict=True):
        assert by_amount[float(band_.commitment_usd)] == pytest.approx(float(offer.expected_payable_usd), abs=0.006)


def test_sensitivity_follows_from_scaled_paths(sizing: Sizing):
    spend = paths()
    rows = {row.label: row for row in sizing.sensitivity}
    offers = offers_of(TERMS)
    base = sizing.policy("optimised").best.expected_payable_usd
    assert rows["Share of moves that land"].low_usd == rows["Start of routing"].low_usd == base
    by_name = {row.name: row for row in measure(spend.of("optimised").sum(axis=1) * 1.2, offers)}
    dearer = rows["Volume"]
    assert float(dearer.high_usd) == pytest.approx(by_name[dearer.high_best].expected_payable_usd, abs=1e-5)
    assert dearer.low_usd < base < dearer.high_usd
    late = spend.of("optimised").copy()
    late[:, :3] = spend.of("current")[:, :3]
    expected = {row.name: row for row in measure(late.sum(axis=1), offers)}
    found = rows["Start of routing"]
    assert float(found.high_usd) == pytest.approx(expected[found.high_best].expected_payable_usd, abs=1e-5)


def test_paths_of_another_year_are_refused():
    with pytest.raises(ValueError, match="not the 12 from 2027-01-01"):
        size(paths(10, date(2027, 2, 1)), TERMS)
    two = paths(10)
    with pytest.raises(ValueError, match="lacks the policies optimised"):
        size(SpendPaths(two.months, two.policies[:2], two.spend_usd[:2]), TERMS)


def test_a_contract_may_begin_inside_a_month():
    start = date(2027, 3, 15)
    found = size(paths(50, start), Terms(start, "list", "payable", TERMS.bands))
    assert [month.label for month in found.policies[0].months][:2] == ["from 15 Mar 2027", "from 15 Apr 2027"]


# ---- The record ----------------------------------------------------------------------------------------------------


def kept(value: Any) -> Any:
    """As operations keep it: money as plain decimal strings."""
    return orjson.loads(orjson.dumps(value, default=lambda money: format(money, "f")))


def test_a_sizing_survives_being_kept_as_json(sizing: Sizing):
    assert decode(Sizing, kept(sizing)) == sizing


def test_money_is_kept_as_decimal_strings_and_shares_as_numbers(sizing: Sizing):
    row = kept(sizing)["policies"][2]["offers"][1]
    assert isinstance(row["expected_payable_usd"], str)
    assert isinstance(row["shortfall_probability"], float)


@dataclass(frozen=True)
class Inner:
    at: datetime
    on: date | None = None


@dataclass(frozen=True)
class Outer:
    rows: tuple[Inner, ...]
    share: float
    amount_usd: Decimal
    is_on: bool


GOOD = {"rows": [{"at": "2026-11-24T00:00:00+00:00"}], "share": 1, "amount_usd": "1.50", "is_on": True}


def test_a_record_is_read_back():
    assert decode(Outer, GOOD) == Outer((Inner(datetime(2026, 11, 24, tzinfo=UTC)),), 1.0, Decimal("1.50"), True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"amount_usd": 1.5}, "Outer.amount_usd: expected Decimal, found float"),
        ({"is_on": 1}, "Outer.is_on: expected bool, found int"),
        ({"share": True}, "Outer.share: expected float, found bool"),
        ({"rows": {}}, "Outer.rows: expected a list, found dict"),
        ({"rows": [{}]}, r"Outer.rows\[0\]: .* 'at'"),
        ({"rows": [3]}, r"Outer.rows\[0\]: expected an object, found int"),
        ({"extra": 1}, "Outer: unknown extra"),
    ],
)
def test_a_damaged_record_is_refused_with_its_field(change: dict[str, object], message: str):
    with pytest.raises(RecordError, match=message):
        decode(Outer, {**GOOD, **change})
