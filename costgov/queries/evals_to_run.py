"""What deciding about a model takes: how many cases, whether the suites hold so many, and what running them costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from billing.core.money import round_usd
from billing.core.words import percent
from routing.core.class_summary import ClassSummary
from routing.core.evalues import MIN_CASES, MOST_CASES_NEEDED, cases_without_failure, log_e_values, log_threshold
from routing.core.recommendation import ClassRecommendation
from routing.core.traffic import tokenizer_factor
from routing.core.verdicts import Verdict
from routing.queries.evidence import ClassVerdicts
from routing.queries.kept_evidence import asked_of, class_summaries
from routing.queries.recommendation import PlanCosts, RecommendationReport

Kind = Literal["run", "refresh"]


@dataclass(frozen=True, slots=True)
class EvalToRun:
    """What deciding about one model takes: `cases` to run (None = no realistic number), and what they cost, usd.

    `kind`: new cases, or the same cases again because the evidence is stale. `fewest`: how many clear if not one fails,
    for a model without any case. `cost_source` says where the cost of a case comes from; both costs are None where
    nothing says it. `cases_held`: distinct cases the suites of the class hold; where the model needs more than it was
    not judged on yet, `new_cases` of them have to be written first, and `shortage` says so ('' = they are enough).
    """

    kind: Kind
    cases: int | None
    fewest: int | None
    cases_text: str
    usd_per_case: Decimal | None
    run_usd: Decimal | None
    cost_source: str
    cases_held: int
    new_cases: int
    shortage: str


def cases_held(verdicts: Mapping[str, ClassVerdicts], *, as_of: datetime) -> dict[str, int]:
    """Per class the distinct cases of the latest epoch of the suites that count, on whatever model they were run.

    A case without a verdict on every model it was run on shows nothing and is not one of them.
    """
    asked = {slug: asked_of(row.asked) for slug, row in verdicts.items()}
    return {slug: _held(summary) for slug, summary in class_summaries(asked=asked, as_of=as_of).items()}


def _held(summary: ClassSummary) -> int:
    return sum(count for pattern, count in summary.patterns if any(place >= 0 for place in pattern))


def cases_to_write(needed: int, *, held: int, so_far: int) -> int:
    """How many of the cases a model needs beside the `so_far` it has no suite holds yet.

    >>> cases_to_write(74, held=200, so_far=150), cases_to_write(50, held=200, so_far=150)
    (24, 0)
    """
    return max(0, needed - max(0, held - so_far))


def shortage_text(new: int, *, held: int, so_far: int) -> str:
    """How many of the cases a model needs must be written as the suites do not hold them; '' = none.

    >>> shortage_text(24, held=200, so_far=150)
    '24 must be written: the suites hold 200 cases, 50 not judged on this model'
    """
    if not new:
        return ""
    if not held:
        return f"{new:,} must be written: the class has no case yet"
    cases = f"{held:,} case{'' if held == 1 else 's'}"
    left = "all judged" if so_far >= held else f"{held - so_far:,} not judged" if so_far else "none judged"
    return f"{new:,} must be written: the suites hold {cases}, {left} on this model"


def eval_to_run(
    report: RecommendationReport, row: ClassRecommendation, verdict: Verdict, plan: PlanCosts, held: int
) -> EvalToRun:
    model, slug = verdict.candidate, row.request_class
    cases: int | None
    fewest = None
    kind: Kind = "refresh" if verdict.stale else "run"
    if kind == "refresh":
        cases, words = verdict.cases, "the same cases again: a newer result shows that the verdict still holds"
    elif verdict.status == "no_evidence":
        cases, fewest, words = _first_cases(report.verdicts[slug], model)
    else:
        cases, words = verdict.cases_needed, "if the pass rate stays"
        if cases is None:
            words = verdict.reason
    per_case, source = _case_cost(report, row, model, plan)
    run = None if per_case is None or cases is None else round_usd(per_case * cases)
    new = cases_to_write(cases if kind == "run" and cases is not None else 0, held=held, so_far=verdict.cases)
    return EvalToRun(
        kind=kind,
        cases=cases,
        fewest=fewest,
        cases_text=words,
        usd_per_case=per_case,
        run_usd=run,
        cost_source=source,
        cases_held=held,
        new_cases=new,
        shortage=shortage_text(new, held=held, so_far=verdict.cases),
    )


def _first_cases(verdicts: ClassVerdicts, model: str) -> tuple[int | None, int | None, str]:
    """Cases a model without any takes: if it does as well as what serves, the fewest there can be, and in words.

    α is shared with every other model that was evaluated.
    """
    asked = verdicts.asked
    if not asked.asks_for_line:
        return None, None, "how many depends on how the models differ"
    others = verdicts.verdicts.keys() - {verdicts.incumbent} | {model}
    held = verdicts.verdicts.get(model)
    threshold = log_threshold(verdicts.alpha, held.candidates if held is not None else len(others))
    without_failure = cases_without_failure(verdicts.line, threshold)
    if without_failure is None:
        return None, None, "no realistic number of cases shows a rate so high"
    fewest = max(without_failure, asked.min_cases, MIN_CASES)
    serving = verdicts.verdicts.get(verdicts.incumbent) if verdicts.incumbent else None
    rate = serving.pass_rate if serving is not None and serving.cases >= MIN_CASES else None
    if rate is None or rate <= verdicts.line:
        return fewest, fewest, "if not one fails"
    likely = _cases_at_rate(rate, verdicts.line, threshold, fewest)
    if likely is None:
        return fewest, fewest, "if not one fails"
    return likely, fewest, f"if it does as well as {verdicts.incumbent} ({percent(rate)}); {fewest:,} if not one fails"


def _cases_at_rate(rate: float, line: float, threshold: float, fewest: int) -> int | None:
    """Smallest number of cases, at least `fewest`, that clears at exactly this rate; None if that is not realistic."""

    def clears(cases: int) -> bool:
        return float(log_e_values(rate * cases, cases, line)[0]) >= threshold

    low, high = fewest - 1, fewest
    while not clears(high):
        low, high = high, 2 * high
        if low > MOST_CASES_NEEDED:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if clears(middle) else (middle, high)
    return high


def _case_cost(
    report: RecommendationReport, row: ClassRecommendation, model: str, plan: PlanCosts
) -> tuple[Decimal | None, str]:
    """Mean cost of an eval case on a model and where it comes from: its own cases, the incumbent's, or a request."""
    estate = report.facts.estate
    measured = estate.measured(row.request_class)
    own = measured.mean_usd(model)
    if own is not None:
        return own[0], f"measured on {own[1]:,} results of its own"
    there = measured.mean_usd_at(model, tokens_of=row.incumbent)
    if there is not None:
        factor = tokenizer_factor(estate.generations, row.incumbent, model)
        return there[0] * factor, f"assumed: the tokens of {there[1]:,} results of {row.incumbent}"
    costs = plan.by_model.get(model)
    if costs is not None and row.unit_name == "request":
        return costs.unit_cost_usd(frozenset()), "assumed: a case takes the tokens of a request"
    return None, "not known: no case of this class has tokens"
