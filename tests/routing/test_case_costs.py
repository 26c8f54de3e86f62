"""Sums of what cases took, priced afterwards, equal the factors found from every result one by one."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routing.core.case_sums import ClassCosts, PricedCases, as_document, of_document
from routing.core.evidence import CaseResult, suite_filter
from routing.core.levers import ModelRates, Rates
from routing.core.profiles import EvalFactors
from routing.models import ClassEvidence, EvalCase, EvalImport, EvalRun, RequestClass
from routing.operations.classes import save_class
from routing.operations.eval_parts import write_parts
from routing.operations.kept_evidence import keep_evidence
from routing.queries.case_costs import gathered_costs, models_in_evals
from routing.queries.evidence import case_results, names_held
from routing.queries.gathering import Asked
from routing.queries.kept_evidence import kept_costs
from tests.slow_factors import case_price, factors_measured_in_evals

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=2)
RAW = ("claude-haiku-4-5", "claude-haiku-4-5-20251001", "claude-opus-4-8", "claude-sonnet-5")
MODELS = ("claude-haiku-4-5", "claude-opus-4-8", "claude-sonnet-5")
KINDS = ("uncached_input_tok", "cache_read_tok", "cache_write_5m_tok", "cache_write_1h_tok", "output_tok")
PRICES = {
    "claude-haiku-4-5": ("1", "0.1", "1.25", "2", "5"),
    "claude-opus-4-8": ("5.37", "0.537", "6.7125", "10.74", "26.85"),
    "claude-sonnet-5": ("3", "0.3", "3.75", "6", "15"),
}


def rates(unpriced: frozenset[str]) -> Callable[[str], ModelRates | str]:
    def rates_of(model: str) -> ModelRates | str:
        if model in unpriced:
            return f"{model} has no price"
        return ModelRates(model, Rates(*map(Decimal, PRICES[model])), None)

    return rates_of


counts = st.one_of(st.none(), st.integers(0, 5_000), st.just(0))
full = st.tuples(*(st.integers(0, 3_000) for _ in KINDS))
tokens = st.one_of(full, full, full, st.just((None,) * 5), st.tuples(*(counts for _ in KINDS)))
stated = st.one_of(st.none(), st.sampled_from(["0", "0.0012", "0.000000000000007", "12.5"]))


def rows_of(sizes: tuple[int, int], suites: list[str], samples: int) -> Any:
    return st.lists(
        st.fixed_dictionaries(
            {
                "suite": st.sampled_from(suites),
                "version": st.sampled_from(["1", "1", "2"]) if len(suites) > 1 else st.just("1"),
                "sample": st.sampled_from([f"s{n}" for n in range(samples)] + ["É"]),
                "raw": st.sampled_from(RAW),
                "hours": st.integers(0, 6),
                "prompt": st.sampled_from(["", "p1"]),
                "tokens": tokens,
                "usd": stated,
            }
        ),
        min_size=sizes[0],
        max_size=sizes[1],
    )


files = st.lists(
    st.one_of(rows_of((1, 15), ["triage", "faq"], 3), rows_of((5, 40), ["triage"], 6)), min_size=1, max_size=3
)


def bring(number: int, rows: list[dict[str, Any]], slug: str = "class-0") -> list[EvalRun]:
    """Save a file's results as an import does: a run of each suite version, with its sums."""
    file = EvalImport.objects.create(
        file_name=f"{number}.csv", sha256=f"{number:064x}", format="csv", imported_at=NOON, cases=len(rows)
    )
    runs = []
    for suite, version in sorted({(row["suite"], row["version"]) for row in rows}):
        own = [row for row in rows if (row["suite"], row["version"]) == (suite, version)]
        run = EvalRun.objects.create(
            eval_import=file, request_class=RequestClass.objects.get(slug=slug), suite=suite, suite_version=version,
            run_at=NOON, results=len(own),
        )  # fmt: skip
        EvalCase.objects.bulk_create(
            EvalCase(
                run=run, sample_id=row["sample"], model=row["raw"].removesuffix("-20251001"), model_raw=row["raw"],
                run_at=NOON + timedelta(hours=row["hours"]), score=1.0, prompt_version=row["prompt"],
                cost_usd=None if row["usd"] is None else Decimal(row["usd"]),
                **dict(zip(KINDS, row["tokens"], strict=True)),
            )
            for row in own
        )  # fmt: skip
        write_parts([run.pk])
        runs.append(run)
    return runs


def plain(sample: str, raw: str, took: tuple[int | None, ...], usd: str | None = None) -> dict[str, Any]:
    return {
        "suite": "triage", "version": "1", "sample": sample, "raw": raw, "hours": 0, "prompt": "", "tokens": took,
        "usd": usd,
    }  # fmt: skip


def by_model(results: list[CaseResult]) -> Mapping[str, list[CaseResult]]:
    found: dict[str, list[CaseResult]] = defaultdict(list)
    for result in results:
        found[result.candidate].append(result)
    return found


def alike(found: EvalFactors, expected: EvalFactors, *, is_exact: bool) -> None:
    """Equal in every figure; the oracle rounds the mean of three repeats, and its bound is of floats."""
    assert (found.token_cases, found.cost_cases, found.reason) == (
        expected.token_cases,
        expected.cost_cases,
        expected.reason,
    )
    for name in ("input_factor", "output_factor", "cost_ratio"):
        own, other = getattr(found, name), getattr(expected, name)
        if is_exact or other is None:
            assert own == other, name
        else:
            assert own == pytest.approx(other, rel=Decimal("1e-24"), abs=Decimal(0)), name
    upper, bound = found.cost_ratio_upper, expected.cost_ratio_upper
    assert (upper is None) == (bound is None)
    if upper is not None and bound is not None:
        assert upper == pytest.approx(bound, rel=1e-9)
        assert found.counts_as_cheaper == expected.counts_as_cheaper or abs(bound - 1) < 1e-9
    else:
        assert found.counts_as_cheaper is expected.counts_as_cheaper is None


def check(costs: ClassCosts, results: list[CaseResult], unpriced: frozenset[str], min_cases: int) -> None:
    own, price = by_model(results), case_price(rates(unpriced))
    priced = costs.priced(rates(unpriced))
    repeats: dict[Any, int] = defaultdict(int)
    for row in results:
        repeats[row.candidate, row.suite, row.suite_version, row.sample_id] += 1
    is_exact = set(repeats.values()) <= {1, 2}
    for one in MODELS:
        for other in MODELS:
            expected = factors_measured_in_evals(own[one], own[other], cost_of=price, min_cases=min_cases)
            alike(priced.factors(one, other, min_cases=min_cases), expected, is_exact=is_exact)
            check_means(priced, own, one, other, unpriced)


def check_means(
    priced: PricedCases, own: Mapping[str, list[CaseResult]], one: str, other: str, unpriced: frozenset[str]
) -> None:
    price = case_price(rates(unpriced))
    known = [usd for row in own[one] if (usd := price(row)) is not None]
    assert priced.mean_usd(one) == ((sum(known, Decimal(0)) / len(known), len(known)) if known else None)
    whole = [row for row in own[other] if row.input_tok is not None and row.output_tok is not None]
    there = [usd for row in whole if (usd := price(replace(row, candidate=one))) is not None]
    expected = (sum(there, Decimal(0)) / len(there), len(there)) if there and one not in unpriced else None
    assert priced.mean_usd_at(one, tokens_of=other) == expected


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    brought=files,
    aside=st.sets(st.integers(0, 8), max_size=2),
    hours=st.integers(0, 8),
    suites=st.sampled_from([(), (), ("triage",), ("*@2",)]),
    unpriced=st.frozensets(st.sampled_from(MODELS), max_size=2),
    min_cases=st.sampled_from([1, 2, 4]),
)
def test_sums_tell_what_the_results_tell(brought, aside, hours, suites, unpriced, min_cases):
    with transaction.atomic():
        save_class(actor=None, slug="class-0", facts={"title": "c", "suites": list(suites)}, as_of=NOON)
        runs = [run for number, rows in enumerate(brought) for run in bring(number, rows)]
        for place in aside:
            EvalRun.objects.filter(pk=runs[place % len(runs)].pk).update(
                set_aside_at=NOON + timedelta(hours=place), set_aside_reason="broken"
            )
        keep_evidence(as_of=NOON)
        asked, counted = {"class-0": Asked(suites)}, suite_filter(suites)
        for as_of in (LATER, NOON + timedelta(hours=hours)):
            every = case_results(as_of=as_of).get("class-0", [])
            assert models_in_evals(as_of=as_of, named=names_held()) == {row.candidate for row in every}
            results = [row for row in every if counted(row.suite, row.suite_version)]
            kept = kept_costs(asked=asked, as_of=as_of)["class-0"]
            assert kept == gathered_costs(asked=asked, as_of=as_of, named=names_held())["class-0"]
            assert of_document(as_document(kept)) == kept
            check(kept, results, unpriced, min_cases)
        transaction.set_rollback(True)


def test_what_is_kept_is_used_and_reads_no_case():
    save_class(actor=None, slug="class-0", facts={"title": "c"}, as_of=NOON)
    rows = [plain(f"s{n}", raw, (100 + n, 0, 0, 0, 20), "0.01") for n in range(40) for raw in (RAW[0], RAW[2])]
    bring(1, rows)
    assert keep_evidence(as_of=NOON) == 1
    with CaptureQueriesContext(
        connection,
    ) as asked:
        found = kept_costs(asked={"class-0": Asked()}, as_of=LATER)["class-0"].priced(rates(frozenset()))
    assert not any("routing_evalcase" in query["sql"] for query in asked.captured_queries)
    factors = found.factors(MODELS[0], MODELS[1])
    assert factors.input_factor == factors.output_factor == 1
    assert factors.token_cases == factors.cost_cases == 40
    # Haiku at 1 and 5 usd per million, Opus at 5.37 and 26.85: a case of n tokens and 20 answered each.
    assert factors.cost_ratio == 1 / Decimal("5.37")
    assert found.mean_usd(MODELS[0]) == (Decimal("0.0002195"), 40)  # 119.5 + 20 · 5 millionths
    document = ClassEvidence.objects.get().costs
    assert document is not None and len(document["sums"]) == 1, "both models took the same on the same cases"


def test_evidence_kept_before_there_were_sums_is_kept_again():
    save_class(actor=None, slug="class-0", facts={"title": "c"}, as_of=NOON)
    bring(1, [plain("s", RAW[0], (1, 2, 3, 4, 5))])
    keep_evidence(as_of=NOON)
    kept = ClassEvidence.objects.get().costs
    assert kept is not None
    ClassEvidence.objects.update(costs=None)
    asked = {"class-0": Asked()}
    assert kept_costs(asked=asked, as_of=LATER)["class-0"] == of_document(kept), "summed when asked"
    assert keep_evidence(as_of=NOON) == 1
    assert ClassEvidence.objects.get().costs == kept
    assert keep_evidence(as_of=NOON) == 0


def test_token_counts_whose_products_are_beyond_64_bits():
    save_class(actor=None, slug="class-0", facts={"title": "c"}, as_of=NOON)
    huge = 2**62
    bring(1, [plain("s", RAW[0], (huge, 0, 0, 0, huge)), plain("s", RAW[2], (huge, 1, 0, 0, 1))])
    keep_evidence(as_of=NOON)
    costs = kept_costs(asked={"class-0": Asked()}, as_of=LATER)["class-0"]
    assert costs == of_document(as_document(costs))
    check(costs, case_results(as_of=LATER)["class-0"], frozenset(), 1)


def test_a_class_without_results_has_no_sums():
    save_class(actor=None, slug="class-0", facts={"title": "c"}, as_of=NOON)
    keep_evidence(as_of=NOON)
    found = kept_costs(asked={"class-0": Asked()}, as_of=LATER)["class-0"]
    assert found == ClassCosts()
    assert found.priced(rates(frozenset())).factors(MODELS[0], MODELS[1]) == factors_measured_in_evals([], [])
    assert found.priced(rates(frozenset())).mean_usd(MODELS[0]) is None
