"""A stated cascade: what is read and refused, what evals measure of it, and when it is recommended."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.core.cascade_plan import (
    CascadeError,
    CascadePlan,
    JudgedCascade,
    Rival,
    check_cases,
    joint_quality,
    judge_cascade,
    measured_check,
    parse_plan,
)
from routing.core.cascades import Check, JointQuality
from routing.core.evidence import CaseResult

AT = datetime(2026, 11, 1, tzinfo=UTC)
STATED: dict[str, Any] = {
    "cheap": "haiku", "strong": "opus", "check_usd": "0.0005", "good_accepted": "0.95", "bad_accepted": "0.1",
    "source": "a pilot of two weeks",
}  # fmt: skip


def plan(**changes: Any) -> CascadePlan:
    found = parse_plan(STATED | changes)
    assert found is not None
    return found


def results(model: str, scores: Sequence[float | None], *, suite: str = "triage", first: int = 0) -> list[CaseResult]:
    return [CaseResult(suite, "1", f"case-{first + number}", model, AT, score) for number, score in enumerate(scores)]


# -- what is stated ----------------------------------------------------------------------------------------------------


def test_what_is_stated_is_kept_as_text_and_read_back() -> None:
    found = plan(check_usd=D("0.000500"), good_accepted=0.95)
    assert found.as_document() == STATED
    assert parse_plan(found.as_document()) == found
    assert parse_plan({}) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cheap": ""}, "cheap is empty: name the model that is asked first"),
        ({"strong": "haiku"}, "cheap and strong are both haiku: name two models"),
        ({"check_usd": None}, "check_usd is missing: say what checking one answer costs, 0 if nothing"),
        ({"check_usd": "-0.1"}, "check_usd is -0.1: a check costs 0 or more"),
        ({"check_usd": "a cent"}, "check_usd is 'a cent': give a number"),
        ({"check_usd": "NaN"}, "check_usd is 'NaN': give a finite number"),
        ({"check_usd": "1e12"}, "give at most 9 places, below 10,000,000,000"),
        ({"good_accepted": "95"}, "good_accepted is 95: it is a share, from 0 to 1"),
        ({"bad_accepted": None}, "state good_accepted and bad_accepted, or the check_suite they are measured in"),
        ({"judge": "gpt"}, "judge is not known; use bad_accepted, cheap, check_suite"),
        ({"source": "x" * 201}, "source has 201 characters: 200 at most"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CascadeError) as refused:
        plan(**changes)
    assert message in str(refused.value)


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(CascadeError) as refused:
        parse_plan({"check_usd": "-1", "bad_accepted": 2})
    assert str(refused.value).count(";") == 3


# -- what evals measure ------------------------------------------------------------------------------------------------


def test_joint_quality_counts_the_cases_run_on_both() -> None:
    rows = results("haiku", [1, 1, 0, 0, 1, None]) + results("opus", [1, 0, 1, 0], first=0)
    assert joint_quality(rows, cheap="haiku", strong="opus") == JointQuality(D(1), D(1), D(1), D(1))


def test_graded_scores_are_chances() -> None:
    rows = results("haiku", [0.8]) + results("opus", [0.5])
    found = joint_quality(rows, cheap="haiku", strong="opus", metric="mean_score")
    assert found == JointQuality(D("0.40"), D("0.40"), D("0.10"), D("0.10"))


def test_only_suites_that_count_are_evidence() -> None:
    rows = [*results("haiku", [1, 1]), *results("opus", [1, 1]), *results("haiku", [0, 0], suite="other", first=5),
            *results("opus", [1, 1], suite="other", first=5)]  # fmt: skip
    assert joint_quality(rows, cheap="haiku", strong="opus", suites=["triage"]).cases == 2
    assert joint_quality(rows, cheap="haiku", strong="opus").cases == 4


def checked_answers() -> list[CaseResult]:
    """40 answers, 30 good; the check accepts 27 of the good and 2 of the bad, and 5 answers nobody scored."""
    answers = results("haiku", [1.0] * 30 + [0.0] * 10)
    accepted = [1.0] * 27 + [0.0] * 3 + [1.0] * 2 + [0.0] * 8
    return answers + results("haiku", [*accepted, 1, 1, 1, 1, 1], suite="triage-check")


def test_the_check_is_measured_on_its_own_suite() -> None:
    measured = plan(check_suite="triage-check")
    cases = check_cases(checked_answers(), plan=measured)
    assert (cases.good, cases.good_accepted, cases.bad, cases.bad_accepted) == (D(30), D(27), D(10), D(2))
    check = measured_check(measured, cases)
    assert check == Check(D("0.0005"), D("0.9"), D("0.2"), "measured on 40 checked answers", is_assumed=False)


def test_too_few_checked_answers_leave_what_is_stated() -> None:
    few = [row for row in checked_answers() if row.sample_id in {f"case-{n}" for n in range(20)}]
    stated = plan(check_suite="triage-check")
    found = measured_check(stated, check_cases(few, plan=stated))
    assert found == Check(D("0.0005"), D("0.95"), D("0.1"), "a pilot of two weeks", is_assumed=True)
    unstated = plan(check_suite="triage-check", good_accepted=None, bad_accepted=None)
    assert measured_check(unstated, check_cases(few, plan=unstated)) is None


def test_a_check_that_saw_no_bad_answer_is_taken_to_accept_them_all() -> None:
    rows = results("haiku", [1.0] * 40) + results("haiku", [1.0] * 40, suite="triage-check")
    unstated = plan(check_suite="triage-check", good_accepted=None, bad_accepted=None)
    found = measured_check(unstated, check_cases(rows, plan=unstated))
    assert found is not None and (found.good_accepted, found.bad_accepted) == (D(1), D(1))


# -- the judgement -----------------------------------------------------------------------------------------------------

JOINT = JointQuality(D("165.6"), D("14.4"), D("18.4"), D("1.6"))  # 200 cases: the shares of the worked example
RIVAL = Rival("opus", D("0.02"), 0.93)


def judged(changes: dict[str, Any] | None = None, **known: Any) -> JudgedCascade:
    asked = plan(**(changes or {}))
    facts: dict[str, Any] = {
        "rival": RIVAL, "cheap_usd": D("0.004"), "strong_usd": D("0.02"), "joint": JOINT,
        "check": measured_check(asked, None),
    }  # fmt: skip
    return judge_cascade(asked, **(facts | known))


def test_the_worked_example_is_worth_an_eval_and_recommended_once_shown() -> None:
    found = judged()
    assert found.found is not None
    assert (found.found.accepted_share, found.found.unit_cost_usd, found.found.quality) == (
        D("0.865"), D("0.0072"), D("0.9792"),
    )  # fmt: skip
    assert (found.outcome, found.is_recommended, found.is_assumed) == ("worth_an_eval", False, True)
    assert found.reason == (
        "haiku first pays: its answers are accepted 86.5% of the time, break-even is 22.5%; it costs 0.36× opus alone; "
        "its expected quality of 97.9% is above the line of 93.0%, but only evals of the cascade itself can show that"
    )
    shown = judged(status="clears")
    assert shown.is_recommended and "its own evals show that it clears the line of 93.0%" in shown.reason


@pytest.mark.parametrize(
    ("changes", "known", "outcome", "said"),
    [
        ({"good_accepted": "0.2", "bad_accepted": "0"}, {}, "loses", "first loses money: its answers are accepted"),
        ({"check_usd": "0.0133"}, {}, "loses", "accepted 86.5% of the time, break-even is 86.5%"),
        (
            {}, {"rival": Rival("sonnet", D("0.006"), 0.93)}, "loses",
            "sonnet alone is recommended and costs 0.83× the cascade",
        ),
        ({}, {"rival": Rival("opus", D("0.02"), 0.98)}, "below_line", "expected quality of 97.9% is below the line"),
        ({}, {"status": "falls_short"}, "below_line", "its own evals show it below the line of 93.0%"),
        ({"strong": ""}, {"rival": Rival("haiku", D("0.004"), 0.93)}, "not_needed", "haiku is recommended alone"),
        ({}, {"cheap_usd": None}, "unknown", "no cost of a request is known for haiku"),
        ({}, {"joint": JointQuality(D(20), D(4), D(4), D(1))}, "unknown", "29 cases were run on both haiku and opus"),
        ({"check_suite": "x"}, {"check": None}, "unknown", "fewer than 30 checked answers in suite x"),
    ],
)  # fmt: skip
def test_when_it_is_not_recommended_it_says_why(
    changes: dict[str, Any], known: dict[str, Any], outcome: str, said: str
) -> None:
    found = judged(changes, **known)
    assert (found.outcome, found.is_recommended) == (outcome, False)
    assert said in found.reason


def test_losing_money_is_said_even_where_its_quality_is_shown() -> None:
    assert judged({"good_accepted": "0", "bad_accepted": "0"}, status="clears").outcome == "loses"


@given(
    st.decimals(0, 1, places=3), st.decimals(0, 1, places=3), st.decimals("0.001", "0.03", places=4),
    st.sampled_from(["clears", "falls_short", "not_enough_evidence"]),
)  # fmt: skip
def test_what_is_recommended_costs_less_than_both_and_clears(good: D, bad: D, cheap: D, status: str) -> None:
    found = judged({"good_accepted": good, "bad_accepted": bad}, cheap_usd=cheap, status=status)
    assert found.found is not None
    pays = found.found.accepted_share > (cheap + D("0.0005")) / D("0.02")
    assert found.is_recommended == (pays and status == "clears")
