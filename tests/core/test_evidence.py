"""What counts as evidence (methods.md §3.1): distinct cases, epochs, repeats, cases left out, K, age."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.core.evidence import CaseResult, Evidence, cases_of_epoch, too_many_left_out
from routing.core.verdicts import judge, judge_class, line_of

START = datetime(2026, 11, 1, tzinfo=UTC)
HAIKU, OPUS = "claude-haiku-4-5", "claude-opus-4-5"


def result(
    sample,
    score=1.0,
    *,
    day=0,
    model=HAIKU,
    suite="triage",
    version="1",
    prompt="",
    raw="",
    repeat="",
    batch=0,
    mode="",
    graded=None,
):
    return CaseResult(
        suite=suite,
        suite_version=version,
        sample_id=str(sample),
        candidate=model,
        candidate_raw=raw or model,
        run_at=START + timedelta(days=day),
        score=score,
        prompt_version=prompt,
        repeat=repeat,
        batch=batch,
        mode=mode,
        graded_score=graded,
    )


def passed(count, **where):
    return [result(n, **where) for n in range(count)]


# -- cases and repeats ------------------------------------------------------------------------------------------------


def test_repeats_of_a_case_are_averaged_to_one_score():
    rows = [result("a", 1), result("a", 0), result("a", 1), result("b", 1)]
    found = cases_of_epoch(rows)[HAIKU]
    assert found.scores == (2 / 3, 1.0)
    assert found.cases == 2 and not found.is_pass_fail


def test_repeating_a_case_is_no_new_evidence():
    once = cases_of_epoch([result(n, n % 10 > 0) for n in range(40)])[HAIKU]
    tenfold = cases_of_epoch([result(n, n % 10 > 0, repeat=str(r)) for n in range(40) for r in range(10)])[HAIKU]
    assert once.scores == tenfold.scores


def test_conflicting_results_of_one_sample_are_one_case_of_a_half():
    found = cases_of_epoch([result("a", 1), result("a", 0)])[HAIKU]
    assert (found.cases, found.passes) == (1, 0.5)


def test_a_case_keeps_the_score_it_had_when_it_was_first_counted():
    first = [result(n, n % 4 > 0, batch=1) for n in range(40)]
    again = [result(n, 1, batch=2, day=1) for n in range(40)]
    found = cases_of_epoch([*again, *first])[HAIKU]
    assert (found.cases, found.passes) == (40, 30), "running failing cases until they pass must not help"
    assert found.repeats == ((1.0, 40),), "but it is shown"
    assert found.newest_case_at == START + timedelta(days=1), "and shows that the verdict still holds"


def test_a_case_without_a_verdict_is_counted_when_it_first_has_one():
    rows = [result("a", None, batch=1), result("a", 0, batch=2), result("a", 1, batch=3)]
    found = cases_of_epoch(rows)[HAIKU]
    assert (found.tally, found.left_out, found.repeats) == (((0.0, 1),), 0, ((1.0, 1),))


def test_repeats_within_one_import_are_averaged_and_later_imports_are_not():
    rows = [result("a", 1, batch=1), result("a", 0, batch=1), result("a", 0, batch=2)]
    assert cases_of_epoch(rows)[HAIKU].scores == (0.5,)


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.5, 1.0, None]), st.integers(0, 4)), min_size=1, max_size=40
    ),
    st.integers(1, 4),
)
def test_later_imports_never_change_a_counted_score(rows, seen):
    results = [result(sample, score, batch=batch) for sample, score, batch in rows]
    by_sample: dict[int, tuple[float, ...]] = {}
    for upto in range(seen + 1):
        for sample in range(6):
            own = [row for row in results if row.batch <= upto and row.sample_id == str(sample)]
            evidence = cases_of_epoch(own).get(HAIKU)
            if evidence is not None and evidence.cases:
                assert by_sample.setdefault(sample, evidence.scores) == evidence.scores


def test_a_new_mode_begins_anew_for_the_model_that_changed():
    rows = [
        *passed(40),
        *passed(10, day=1, mode="thinking", batch=1),
        *passed(40, model=OPUS),
    ]
    found = cases_of_epoch(rows)
    assert (found[HAIKU].cases, found[HAIKU].history_results, found[OPUS].cases) == (10, 40, 40)
    assert found[HAIKU].epoch.endswith("mode thinking")


def test_only_the_suites_of_the_bar_count():
    rows = [*passed(40), *passed(5, suite="smoke", version="9", day=3)]
    assert cases_of_epoch(rows, suites=("triage",))[HAIKU].cases == 40
    assert cases_of_epoch(rows)[HAIKU].cases == 45


def test_a_mean_score_takes_the_grade_beside_a_pass():
    rows = [result("a", 1, graded=0.8), result("b", 0, graded=0.4), result("c", 1)]
    assert cases_of_epoch(rows)[HAIKU].scores == (0.0, 1.0, 1.0)
    assert cases_of_epoch(rows, metric="mean_score")[HAIKU].scores == (0.4, 0.8, 1.0)


def test_differences_are_of_the_cases_both_have_a_verdict_for():
    rows = [
        *(result(n, n != 0, model=OPUS) for n in range(10)),
        *(result(n, n not in {0, 1, 2}) for n in range(8)),
        result("only-here", 1),
        result("9", None),
    ]
    found = cases_of_epoch(rows, incumbent=OPUS)
    assert found[HAIKU].differences == ((-1.0, 2), (0.0, 6))
    assert found[HAIKU].unpaired == 1
    assert found[OPUS].differences == ()


def test_ids_are_never_cut_and_a_set_that_counts_runs_is_converted_first():
    raw = [result(f"{test}#{n}", 1) for test in "abcdefghi" for n in range(10)]
    assert cases_of_epoch(raw)[HAIKU].cases == 90, "the reader never guesses that '#3' is a repeat"
    converted = [result(test, 1, repeat=str(n)) for test in "abcdefghi" for n in range(10)]
    nine = cases_of_epoch(converted)[HAIKU]
    assert nine.cases == 9
    verdict = judge(nine, bar=0.80, tolerance=0.02)
    assert verdict.status == "not_enough_evidence", "9 cases can never clear"
    assert verdict.lower is None and verdict.cases_needed is not None and verdict.cases_needed >= 21


def test_several_suites_of_a_class_are_one_evaluation():
    rows = [result("1", suite="intent"), result("1", suite="urgency"), result("2", suite="urgency")]
    found = cases_of_epoch(rows)[HAIKU]
    assert (found.cases, found.suites) == (3, ("intent", "urgency"))


# -- epochs -----------------------------------------------------------------------------------------------------------


def test_a_new_suite_version_begins_without_evidence_for_everyone():
    rows = [*passed(50, model=OPUS), *passed(50), *[result(n, day=5, version="2") for n in range(3)]]
    found = cases_of_epoch(rows)
    assert (found[HAIKU].cases, found[HAIKU].history_results) == (3, 50)
    assert (found[OPUS].cases, found[OPUS].history_results) == (0, 50)
    assert found[HAIKU].epoch == "triage@2"


def test_version_10_follows_version_9_when_run_at_the_same_time():
    rows = [result("a", 0, version="9"), result("a", 1, version="10")]
    assert cases_of_epoch(rows)[HAIKU].epoch == "triage@10"


def test_a_new_prompt_version_restarts_that_candidate_only():
    rows = [*passed(40, model=OPUS), *passed(40, prompt="v1"), *[result(n, day=2, prompt="v2") for n in range(5)]]
    found = cases_of_epoch(rows)
    assert (found[HAIKU].cases, found[OPUS].cases) == (5, 40)
    assert "prompt v2" in found[HAIKU].epoch


def test_a_new_snapshot_of_the_model_restarts_it():
    old = passed(40, raw="claude-haiku-4-5-20251001")
    new = [result(n, day=3, raw="claude-haiku-4-5-20260301") for n in range(4)]
    undated = [result(100, day=4)]
    found = cases_of_epoch([*old, *new, *undated])[HAIKU]
    assert found.cases == 5 and "snapshot 20260301" in found.epoch


def test_a_suite_seen_for_the_first_time_is_added():
    rows = [*passed(10), *[result(n, day=3, suite="urgency") for n in range(4)]]
    assert cases_of_epoch(rows)[HAIKU].cases == 14


def test_only_cases_run_before_the_instant_count():
    rows = [result(n, day=n) for n in range(10)]
    assert cases_of_epoch(rows, as_of=START + timedelta(days=4))[HAIKU].cases == 4


@given(st.randoms(use_true_random=False))
def test_the_order_of_results_does_not_matter(random):
    rows = [
        result(n % 7, float(n % 3 > 0) if n % 5 else None, day=n % 4, version=str(1 + n % 2), prompt=f"p{n % 3}")
        for n in range(60)
    ]
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert cases_of_epoch(shuffled) == cases_of_epoch(rows)


# -- left out ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left_out", "with_verdict", "too_many"),
    [(0, 10, False), (1, 1, False), (2, 98, False), (2, 97, True), (4, 196, False), (5, 195, True), (3, 0, True)],
)
def test_more_than_two_per_cent_and_more_than_one(left_out, with_verdict, too_many):
    assert too_many_left_out(left_out, with_verdict) is too_many
    verdict = judge(Evidence.of_counts(with_verdict, with_verdict, left_out=left_out), bar=0.5, tolerance=0.02)
    assert ("have no verdict" in verdict.reason) is (too_many and with_verdict > 0)


def test_too_many_left_out_beats_a_clearing_rate():
    good = judge(Evidence.of_counts(400, 400, left_out=8))
    assert good.status == "clears"
    bad = judge(Evidence.of_counts(400, 400, left_out=9))
    assert bad.status == "not_enough_evidence" and bad.cases_needed is None
    assert "9 of 409 cases (2.2%) have no verdict" in bad.reason
    assert bad.text == "Not enough evidence · 9 of 409 cases without a verdict"


def test_a_case_is_left_out_only_if_no_repeat_has_a_verdict():
    found = cases_of_epoch([result("a", None), result("a", 1), result("b", None)])[HAIKU]
    assert (found.cases, found.left_out) == (1, 1)


def test_cases_excluded_for_all_candidates_do_not_count():
    rows = [result("x", None, model=m) for m in (HAIKU, OPUS)] + [result("y", None)] + passed(3, model=OPUS)
    found = cases_of_epoch(rows)
    assert (found[HAIKU].left_out, found[HAIKU].excluded) == (1, 1)
    assert (found[OPUS].left_out, found[OPUS].excluded) == (0, 1)


# -- line, budget, age ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bar", "tolerance"), [("1", "0"), ("0", "0"), ("0.9", "0.9"), ("0.9", "-0.1"), ("1.2", "0.1")]
)
def test_a_line_no_sample_can_show_is_refused(bar, tolerance):
    with pytest.raises(ValueError, match="must be"):
        line_of(Decimal(bar), Decimal(tolerance))


def test_the_line_is_said_with_its_bar():
    assert judge(Evidence.of_counts(3, 4)).line_text == "93% (bar 95%, tolerance 2 points)"


def test_no_clears_before_30_cases():
    assert judge(Evidence.of_counts(29, 29), bar=0.5, tolerance=0).status == "not_enough_evidence"
    assert judge(Evidence.of_counts(29, 29), bar=0.5, tolerance=0).cases_needed == 1
    assert judge(Evidence.of_counts(30, 30), bar=0.5, tolerance=0).status == "clears"


def test_falls_short_needs_no_30_cases():
    assert judge(Evidence.of_counts(0, 8)).status == "falls_short"


AS_OF = START + timedelta(days=30)


def judged(models, *, plan=(), incumbent=OPUS):
    rows = [row for model in models for row in passed(5, model=model)]
    return judge_class(rows, incumbent=incumbent, plan=plan, as_of=AS_OF)


def test_k_is_the_number_of_other_models_that_ever_had_a_case():
    found = judged([OPUS, HAIKU, "a", "b"])
    assert {model: verdict.candidates for model, verdict in found.items()} == {OPUS: 1, HAIKU: 3, "a": 3, "b": 3}


def test_k_counts_models_whose_cases_are_history():
    rows = [*passed(5, model="old"), *[result(n, day=3, version="2") for n in range(5)]]
    assert judge_class(rows, incumbent=OPUS, as_of=AS_OF)[HAIKU].candidates == 2


def test_k_of_the_incumbent_is_one_even_alone():
    assert judged([OPUS])[OPUS].candidates == 1
    assert judged([HAIKU], incumbent=None)[HAIKU].candidates == 1


def test_k_of_a_plan_is_its_length_without_the_incumbent():
    found = judged([OPUS, HAIKU, "stray"], plan=[OPUS, HAIKU, "b", "c"])
    assert found[HAIKU].candidates == 3
    assert found["b"].status == "no_evidence"
    assert found["stray"].candidates == 4, "a model outside the plan never gets a larger share than a planned one"


def test_the_budget_moves_the_threshold():
    alone = judge(Evidence.of_counts(43, 43), bar=0.90, tolerance=0)
    shared = judge(Evidence.of_counts(43, 43), bar=0.90, tolerance=0, candidates=2)
    assert (alone.status, shared.status) == ("clears", "not_enough_evidence")


@pytest.mark.parametrize(("age_days", "stale"), [(90, False), (90.001, True)])
def test_stale_when_the_newest_case_is_older_than_90_days(age_days, stale):
    newest = datetime(2026, 6, 1, tzinfo=UTC)
    evidence = Evidence.of_counts(100, 100, newest_case_at=newest)
    verdict = judge(evidence, as_of=newest + timedelta(days=age_days))
    assert verdict.stale is stale
    assert verdict.text == ("Clears the bar · Stale" if stale else "Clears the bar"), "stale is added, not instead"


def test_no_evidence_has_no_figure():
    verdict = judge(Evidence(HAIKU, ()))
    assert (verdict.status, verdict.cases_needed, verdict.lower, verdict.upper) == ("no_evidence", None, None, 1.0)
    assert verdict.text == "No evidence"
