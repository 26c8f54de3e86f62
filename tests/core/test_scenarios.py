"""Scenarios by name: every spelling comes back as it was read, unknown ones say what there is."""

from datetime import date

import pytest

from billing.core.scenarios import BASE, Scenario, UnknownScenario, parse_scenario


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("base", BASE),
        ("", BASE),
        ("growth-stops", Scenario(growth_stops=True)),
        ("growth:0.2", Scenario(planned_growth=0.2)),
        ("list-33@7", Scenario(price_factor=0.67, price_from_month=7)),
        ("list-33", Scenario(price_factor=0.67, price_from_month=7)),
        ("list+10@1", Scenario(price_factor=1.1, price_from_month=1)),
        ("rollout+3", Scenario(rollout_delay_months=3)),
        ("off:b,off:a", Scenario(switched_off=("a", "b"))),
        (
            "growth-stops,list-33@2,rollout+1,off:a",
            Scenario(None, True, 0.67, 2, 1, ("a",)),
        ),
    ],
)
def test_a_scenario_is_read_from_its_name_and_written_back(text: str, expected: Scenario) -> None:
    found = parse_scenario(text, months=12)
    assert found == expected
    assert parse_scenario(found.name, months=12) == found


def test_a_price_cut_starts_in_month_thirteen_where_the_horizon_has_one() -> None:
    assert parse_scenario("list-33", months=24).price_from_month == 13


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("boom", "unknown scenario 'boom'"),
        ("growth:lots", "growth:lots is not a number"),
        ("growth:40", "out of range"),
        ("list-120", "more than 100%"),
        ("list-33@13", "month 13 is outside the 12 months"),
        ("rollout+99", "unknown scenario"),
        ("off:nobody", "off:nobody: no such class; there are triage"),
    ],
)
def test_what_is_not_a_scenario_is_refused(text: str, says: str) -> None:
    with pytest.raises(UnknownScenario, match=says):
        parse_scenario(text, months=12, classes=["triage"])


def test_words_and_events() -> None:
    scenario = parse_scenario("list-33@7,rollout+1,off:triage", months=12)
    assert scenario.text == "list prices −33% from month 7; moves start 1 month later; without triage"
    (event,) = scenario.events(date(2027, 1, 1))
    assert (event.class_name, event.multiplier) == ("triage", 0.0)
    assert BASE.text == "as measured, list prices unchanged"
    assert parse_scenario("growth-stops").half_life_weeks == 13
    assert BASE.is_base and not scenario.is_base
