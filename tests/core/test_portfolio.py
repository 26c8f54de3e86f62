"""The audit of all verdicts together (e-BH) against its definition with exact fractions."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.core.evidence import Evidence
from routing.core.portfolio import Audit, audit, confirmed_together
from routing.core.verdicts import Verdict, judge


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


# -- verdicts ------------------------------------------------------------------------------------------------------


def verdict(passes: int, cases: int, line: float = 0.93, **asked: Any) -> Verdict:
    return judge(Evidence.of_counts(passes, cases), bar=line, tolerance=0, **asked)


def compared(passes: int, cases: int, won: int, lost: int, standard: str, margin: float = 0.08) -> Verdict:
    differences = ((-1.0, lost), (0.0, cases - won - lost), (1.0, won))
    evidence = replace(Evidence.of_counts(passes, cases), differences=differences)
    return judge(evidence, bar=0.5, tolerance=0, standard=standard, margin=margin)  # type: ignore[arg-type]


STRONG, JUST, OPEN = verdict(196, 200), verdict(43, 43, 0.90), verdict(146, 150)


def test_the_table_of_the_document() -> None:
    """ln E⁺ 4.230509 ≥ ln 60 holds; 3.039133 < ln 30 does not, though it clears by itself; without the third so."""
    found = audit({"strong": STRONG, "just": JUST, "open": OPEN})
    assert found.verdicts == 3
    assert found.clears == {"strong", "just"} and found.holding == {"strong"}
    needs = [round(math.log(3 / (0.05 * j)), 6) for j in (1, 2, 3)]
    assert needs == [4.094345, 3.401197, 2.995732]
    two = audit({"strong": STRONG, "just": JUST})
    assert two.holding == two.clears == {"strong", "just"}
    assert [round(math.log(2 / (0.05 * j)), 6) for j in (1, 2)] == [3.688879, 2.995732]


def test_only_what_clears_can_hold() -> None:
    """25 of 25 at a line of .5: ln E⁺ is far above any need, but nothing clears before 30 cases."""
    early = verdict(25, 25, 0.5)
    assert early.ln_e_clear > 10 and early.status == "not_enough_evidence"
    found = audit({"early": early, "strong": STRONG})
    assert found.clears == {"strong"} and found.holding == {"strong"}


def test_what_the_bar_asks_is_what_counts() -> None:
    """4 won and 8 lost of 200, margin 8 points: ln E⁺ 3.398138, whatever the rate; with a line as well the smaller."""
    alone = compared(104, 200, 4, 8, "not_worse")
    assert alone.paired is not None and round(alone.paired.ln_e_clear, 6) == 3.398138
    assert alone.ln_e_clear < 1 and alone.status == "clears"
    assert audit({"alone": alone}).holding == {"alone"}
    both = compared(196, 200, 4, 8, "both")
    assert both.ln_e_clear > 20 and both.status == "clears"
    # As the second of two: ln 20 is reached by the comparison; as the second of three, ln 30 = 3.401 is not.
    assert audit({"both": both, "strong": STRONG}).holding == {"both", "strong"}
    assert audit({"both": both, "strong": STRONG, "open": OPEN}).holding == {"strong"}


def test_a_reference_is_not_counted() -> None:
    reference = judge(Evidence.of_counts(108, 200), standard="not_worse", margin=0.08, is_incumbent=True)
    assert reference.status == "clears"
    found = audit({"reference": reference, "strong": STRONG})
    assert found.verdicts == 1
    assert found.references == {"reference"} and found.clears == {"strong"}
    untried = judge(Evidence("x"), standard="not_worse", margin=0.08, is_incumbent=True)
    assert audit({"untried": untried}).references == frozenset()


def test_nothing_is_an_audit_of_nothing() -> None:
    found: Audit[str] = audit({})
    assert (found.verdicts, found.clears, found.holding) == (0, frozenset(), frozenset())


@given(st.lists(st.tuples(st.integers(0, 200), st.sampled_from([0.5, 0.8, 0.93])), max_size=10))
def test_those_that_hold_clear_and_more_verdicts_never_help(given_counts: list[tuple[int, float]]) -> None:
    verdicts = {n: verdict(passes, 200, line) for n, (passes, line) in enumerate(given_counts)}
    found = audit(verdicts)
    assert found.holding <= found.clears == {n for n, each in verdicts.items() if each.status == "clears"}
    if verdicts:
        more = audit({**verdicts, "none": verdict(0, 200)})
        assert more.holding <= found.holding
