"""Not worse than the model that serves (methods.md §3.4): worked numbers, and how the two standards join."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.core.evalues import log_threshold
from routing.core.evidence import CaseResult, Evidence
from routing.core.paired import paired
from routing.core.verdicts import judge, judge_class

NOW = datetime(2026, 11, 25, tzinfo=UTC)
FIVE_PERCENT = log_threshold(0.05)


def compared(won: int, lost: int, equal: int, *, passes: int = 0, cases: int = 0) -> Evidence:
    differences = tuple((d, n) for d, n in ((-1.0, lost), (0.0, equal), (1.0, won)) if n)
    tally = tuple((score, n) for score, n in ((0.0, cases - passes), (1.0, passes)) if n)
    return Evidence("haiku", tally, differences=differences)


@pytest.mark.parametrize(("margin", "ln_e_clear"), [(0.02, -1.123260), (0.05, 0.557707), (0.08, 3.398138)])
def test_worked_numbers(margin: float, ln_e_clear: float) -> None:
    found = paired(compared(4, 8, 188), margin=margin, threshold=FIVE_PERCENT)
    assert found.ln_e_clear == pytest.approx(ln_e_clear, abs=5e-7)
    assert (found.cases, found.won, found.lost) == (200, 4, 8)
    assert found.difference == pytest.approx(-0.02)
    assert found.status == ("clears" if margin == 0.08 else "not_enough_evidence")


@pytest.mark.parametrize(
    ("standard", "passes", "won", "lost", "status"),
    [
        ("not_worse", 150, 0, 0, "clears"),  # far below the line, but no worse than what serves
        ("both", 150, 0, 0, "falls_short"),
        ("both", 199, 0, 0, "clears"),
        ("both", 199, 0, 60, "falls_short"),  # above the line, but much worse than what serves
        ("both", 199, 4, 8, "not_enough_evidence"),
        ("not_worse", 199, 4, 8, "not_enough_evidence"),
        ("absolute", 199, 0, 60, "clears"),
    ],
)
def test_which_standard_decides(standard: str, passes: int, won: int, lost: int, status: str) -> None:
    evidence = compared(won, lost, 200 - won - lost, passes=passes, cases=200)
    verdict = judge(evidence, bar=0.9, tolerance=0, standard=standard, margin=0.05)  # type: ignore[arg-type]
    assert verdict.status == status
    assert (verdict.paired is None) == (standard == "absolute")
    if verdict.status == "not_enough_evidence":
        assert verdict.paired is not None
        assert verdict.cases_needed == verdict.paired.cases_needed > 0  # type: ignore[operator]


def test_the_incumbent_is_held_to_the_line_alone_and_is_the_line_where_there_is_none() -> None:
    low = Evidence.of_counts(150, 200)
    assert judge(low, standard="both", margin=0.05, is_incumbent=True).status == "falls_short"
    assert judge(low, standard="not_worse", margin=0.05, is_incumbent=True).status == "clears"
    assert judge(Evidence("x"), standard="not_worse", margin=0.05, is_incumbent=True).status == "no_evidence"


def test_only_cases_run_on_both_are_compared() -> None:
    def rows(model: str, ids: range, failing: set[int]) -> list[CaseResult]:
        return [CaseResult("s", "1", str(n), model, NOW.replace(day=1), float(n not in failing)) for n in ids]

    results = [*rows("opus", range(200), {1, 2}), *rows("haiku", range(50, 300), {60})]
    found = judge_class(results, incumbent="opus", bar=0.9, tolerance=0, as_of=NOW, standard="not_worse", margin=0.1)[
        "haiku"
    ]
    assert found.paired is not None
    assert (found.paired.cases, found.paired.unpaired) == (150, 100)
    assert (found.paired.won, found.paired.lost) == (0, 1)
    assert "on 150 cases run on both it won 0 and lost 1: −0.7 points" in found.reason


def test_more_cases_are_asked_for_where_the_class_asks_for_them() -> None:
    verdict = judge(Evidence.of_counts(60, 60), bar=0.9, tolerance=0, min_cases=100)
    assert (verdict.status, verdict.cases_needed, verdict.text) == (
        "not_enough_evidence",
        40,
        "Not enough evidence · 40 more cases",
    )
    assert judge(Evidence.of_counts(100, 100), bar=0.9, tolerance=0, min_cases=100).status == "clears"
    assert judge(Evidence.of_counts(5, 60), bar=0.9, tolerance=0, min_cases=100).status == "falls_short"


@pytest.mark.parametrize("margin", [0, 1, -0.1])
def test_an_impossible_margin_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="above 0 and below 1"):
        paired(compared(1, 1, 1), margin=margin, threshold=FIVE_PERCENT)


def test_a_comparison_needs_a_margin() -> None:
    with pytest.raises(ValueError, match="needs a margin"):
        judge(Evidence.of_counts(1, 1), standard="both")


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 200), st.sampled_from([0.02, 0.05, 0.2]))
def test_bounds_never_contradict_the_verdict(won: int, lost: int, equal: int, margin: float) -> None:
    found = paired(compared(won, lost, equal), margin=margin, threshold=FIVE_PERCENT)
    if found.status == "clears":
        assert found.lower >= -margin - 1e-9
    if found.status == "falls_short":
        assert found.upper <= -margin + 1e-9
    assert -1 <= found.lower <= found.upper <= 1
