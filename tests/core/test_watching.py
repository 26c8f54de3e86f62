"""What an item says of a verdict that changed: its cause, and what to do."""

from dataclasses import replace

import pytest

from routing.core.watching import Seen, drift_item

CLEARS = Seen("clears", False, False, "@1", 1, 203.5, 208, 0.93, 0.935, 0.998)
UNDECIDED = replace(CLEARS, status="not_enough_evidence", lower=0.929)
FAILING = (
    "Look at the failing cases of the newest run. Set the run aside if it is broken; else do not move traffic to it."
)


def test_a_verdict_lost_to_more_models_that_compete_says_so():
    item = drift_item("Haiku 4.5", CLEARS, UNDECIDED)
    assert item.text == (
        "Haiku 4.5: Clears the bar (97.8%, 203.5 of 208 cases) became Not enough evidence (97.8%, 203.5 of 208 cases). "
        "Its cases are as they were: more models compete now, and share the chance of a wrong verdict."
    )
    assert "failing" not in item.remedy and "evaluation plan" in item.remedy


@pytest.mark.parametrize(
    "now",
    [
        replace(UNDECIDED, passes=200.0),
        replace(UNDECIDED, cases=210),
        replace(UNDECIDED, line=0.95),
        replace(UNDECIDED, difference=-0.01),
        replace(UNDECIDED, serves=True),
    ],
)
def test_other_causes_are_not_called_competition(now):
    item = drift_item("Haiku 4.5", CLEARS, now)
    assert "compete" not in item.text + item.remedy and item.remedy.startswith("Look at the failing cases")


def test_without_a_case_left_nobody_competes():
    none = replace(CLEARS, status="no_evidence", passes=0.0, cases=0, lower=None)
    assert "None of its cases counts here any more" in drift_item("Haiku 4.5", CLEARS, none).remedy


def test_a_verdict_that_falls_short_points_at_the_failing_cases():
    assert drift_item("Haiku 4.5", CLEARS, replace(CLEARS, status="falls_short", passes=150.0)).remedy == FAILING
