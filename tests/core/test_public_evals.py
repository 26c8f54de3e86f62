"""The public eval sets: our verdicts and choices equal those of a slow script that shares no code with ours."""

import json
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from routing.core.evidence import CaseResult, cases_of_epoch
from routing.core.levers import LEVERS, ModelRates, Rates
from routing.core.options import Candidate, ClassProblem
from routing.core.profiles import EvalFactors
from routing.core.recommendation import recommend
from routing.core.traffic import class_traffic, model_costs, model_factors
from routing.core.verdicts import judge
from tests.core.public_evals import BY_LIST_PRICE, LINES, collected, figures
from tests.slow_factors import case_price, factors_measured_in_evals

EXPECTED: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "public_evals.json").read_text())
DOC = (Path(__file__).parents[2] / "docs" / "algorithms" / "recommendation.md").read_text(encoding="utf-8")
DATA = Path(os.environ.get("COSTGOV_SHARED", "/nonexistent")) / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="set COSTGOV_SHARED to the folder with the public data sets")
AT = datetime(2026, 3, 1, tzinfo=UTC)
D = Decimal


def named(name: str, kind: str) -> dict[str, Any]:
    return next(row for row in EXPECTED if (row["set"], row["class"]) == (name, kind))


@needs_data
def test_the_script_gives_the_committed_figures() -> None:
    assert json.loads(json.dumps(figures(DATA))) == EXPECTED


@pytest.fixture(scope="module")
def cases() -> dict[tuple[str, str], list[CaseResult]]:
    """Every public case as our value; a repeat of a case is one."""
    found: dict[tuple[str, str], list[CaseResult]] = {}
    for key, models in collected(DATA).items():
        found[key] = [
            CaseResult(
                "set", "1", case, model, AT, score, repeat=str(number),
                cost_usd=D(str(costs[number])) if number < len(costs) else None,
            )
            for model, by_case in models.items()
            for case, (scores, costs) in by_case.items()
            for number, score in enumerate(scores)
        ]  # fmt: skip
    return found


@needs_data
@pytest.mark.parametrize("row", EXPECTED, ids=lambda row: f"{row['set']}-{row['class']}".replace(" ", "-"))
def test_our_code_gives_the_same(row: dict[str, Any], cases: dict[tuple[str, str], list[CaseResult]]) -> None:
    evidence = cases_of_epoch(cases[row["set"], row["class"]])
    rivals = max(len(row["models"]) - 1, 1)
    clearing: dict[str, list[bool]] = {}
    for known in row["models"]:
        found = evidence[known["model"]]
        verdicts = [judge(found, bar=line, tolerance=0, candidates=rivals) for line in LINES]
        first = verdicts[0]
        assert (first.cases, first.left_out, round(first.passes, 4)) == (known["n"], known["left_out"], known["passes"])
        assert first.upper == pytest.approx(known["upper"], abs=2e-6)
        if known["lower"] is None:
            assert all(verdict.lower is None for verdict in verdicts)
        else:
            assert first.lower == pytest.approx(known["lower"], abs=2e-6)
        clearing[known["model"]] = [verdict.status == "clears" for verdict in verdicts]
    order = sorted(row["models"], key=lambda known: (known["usd_per_case"] or 0.0, BY_LIST_PRICE.index(known["model"])))
    for number in range(len(LINES)):
        best = next((known["model"] for known in order if clearing[known["model"]][number]), None)
        assert best == row["cheapest"]["ours"][number]


def test_repeated_runs_are_not_more_cases() -> None:
    """SvelteBench runs nine components ten times: nine cases, far from the thirty a verdict needs."""
    row = named("sveltebench", "components")
    assert {model["n"] for model in row["models"]} == {9}
    assert row["cheapest"]["ours"] == [None] * 4
    assert row["cheapest"]["point"][0] is not None


# -- cheaper per token, dearer per task ----------------------------------------------------------------------------

PRICES = {"claude-opus-4-6": (5, 25), "claude-sonnet-4-5": (3, 15)}


def rates(model: str) -> ModelRates:
    into, out = map(D, PRICES[model])
    return ModelRates(model, Rates(into, into / 10, into * D("1.25"), into * 2, out), None)


@needs_data
@pytest.mark.parametrize("kind", ["swe-bench", "swt-bench"])
def test_a_model_cheaper_per_token_and_dearer_per_task_is_not_recommended(
    kind: str, cases: dict[tuple[str, str], list[CaseResult]]
) -> None:
    """Both clear 0.6; Sonnet 4.5 costs three fifths of Opus 4.6 a token, and more a task on the same tasks."""
    opus, sonnet = PRICES
    results: dict[str, list[CaseResult]] = {opus: [], sonnet: []}
    for result in cases["openhands", kind]:
        if result.candidate in results:
            results[result.candidate].append(result)
    served = SimpleNamespace(
        model=opus, requests=10_000, uncached_input_tok=200_000_000, cache_read_tok=0, cache_write_5m_tok=0,
        cache_write_1h_tok=0, output_tok=20_000_000, batch_cache_read_tok=0, batch_cache_write_5m_tok=0,
        batch_cache_write_1h_tok=0,
    )  # fmt: skip
    traffic = class_traffic(
        [served], generations={}, incumbent=opus, keeps_own_caching=False, reuse={}, batch_share=D(0)
    )
    evidence = cases_of_epoch(results[opus] + results[sonnet])

    def measured(one: str, other: str) -> EvalFactors:
        return factors_measured_in_evals(results[one], results[other], cost_of=case_price(rates))

    candidates = []
    for model in results:
        factors = model_factors(model, incumbent=opus, traffic=traffic, measured=measured, generations={})
        costs, _ = model_costs(model, traffic=traffic, factors=factors, rates_of=rates)
        verdict = judge(evidence[model], bar=0.6, tolerance=0)
        assert verdict.status == "clears"
        candidates.append(
            Candidate(
                model,
                costs,
                factors.source,
                verdict.status,
                False,
                False,
                "",
                factors.counts_as_cheaper,
                0,
                verdict.text,
                verdict.pass_rate,
            )
        )
    now = candidates[0].costs
    assert now is not None
    problem = ClassProblem(
        "coding", D(10_000), "request", opus, now, D(10_000) * now.unit_cost_usd(frozenset()), tuple(candidates)
    )
    (row,) = recommend([problem], levers=LEVERS).classes
    assert (row.target, row.move) == (opus, "keep")
    sonnet_costs = candidates[1].costs
    assert sonnet_costs is not None
    ratio = float(sonnet_costs.unit_cost_usd(frozenset()) / now.unit_cost_usd(frozenset()))
    known = {model["model"]: model["usd_per_case"] for model in named("openhands", kind)["models"]}
    assert ratio == pytest.approx(known[sonnet] / known[opus], rel=0.01) and ratio > 1.4


# -- the document --------------------------------------------------------------------------------------------------


def table(first_head: str) -> list[list[str]]:
    lines = DOC.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {first_head} |")) + 2
    cells = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        cells.append([cell.strip() for cell in line.strip("|").split("|")])
    return cells


def test_the_document_prints_these_figures() -> None:
    printed = table("set and class")
    assert len(printed) == 16
    for where, model, n, passes, low, high, usd in printed:
        name, _, kind = where.partition(", ")
        known = next(row for row in named(name, kind)["models"] if row["model"] == model)
        assert (int(n.replace(",", "")), float(passes.replace(",", ""))) == (known["n"], known["passes"])
        assert low == ("–" if known["lower"] is None else f"{known['lower']:.3f}") and high == f"{known['upper']:.3f}"
        assert usd == ("–" if known["usd_per_case"] is None else f"{known['usd_per_case']:.4f}")


def test_the_document_prints_the_cheapest_that_clears() -> None:
    printed = table("cheapest that clears")
    assert len(printed) == 15
    for where, rule, *models in printed:
        name, _, kind = where.partition(", ")
        key = {"point estimate": "point", "Wilson lower end": "wilson", "our rule": "ours"}[rule]
        assert [None if model == "none" else model for model in models] == named(name, kind)["cheapest"][key]


@pytest.mark.parametrize(
    ("kind", "said"), [("swe-bench", "1.49 times (SWE-bench)"), ("swt-bench", "2.18 times (SWT-bench)")]
)
def test_the_document_says_how_much_dearer_a_task_is(kind: str, said: str) -> None:
    known = {model["model"]: model["usd_per_case"] for model in named("openhands", kind)["models"]}
    assert f"{known['claude-sonnet-4-5'] / known['claude-opus-4-6']:.2f} times" == said.partition(" (")[0]
    assert said in " ".join(DOC.split())


def test_the_document_counts_the_classes_of_mmlu() -> None:
    rows = [row for row in EXPECTED if row["set"] == "routellm-mmlu"]
    assert len(rows) == 29
    for rule, *counts in table("Mixtral is the cheapest that clears by"):
        key = {"point estimate": "point", "Wilson lower end": "wilson", "our rule": "ours"}[rule]
        assert [int(count) for count in counts] == [
            sum(row["cheapest"][key][number] == "mixtral-8x7b" for row in rows) for number in range(4)
        ]
