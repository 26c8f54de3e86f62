"""A cascade stated for a class: read, measured on the class's evals, and judged against the strong model alone.

The check's shares are measured where its verdicts on the cheap model's answers were imported as a suite of its own (the
cheap model as model, the case's own id, 1 = accepted); else they are somebody's entry and marked assumed.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any, Literal

from billing.core.words import percent, signed
from routing.core.cascades import Cascade, Check, JointQuality, cascade
from routing.core.evidence import CaseResult, Metric, results_of_epoch, scores_by_case, suite_filter

MIN_CASES = 30  # run on both, before a share of them says something
PLACES = 9
_TEXTS = {"cheap": 128, "strong": 128, "check_suite": 255, "evaluated_as": 128, "source": 200}

Outcome = Literal["recommended", "worth_an_eval", "loses", "below_line", "not_needed", "unknown"]


class CascadeError(ValueError):
    """A cascade that cannot be; the message names every field that is wrong, its value and the remedy."""


@dataclass(frozen=True, slots=True)
class CascadePlan:
    """What somebody states: ask `cheap` first, check its answer, and ask `strong` where the check refuses.

    `strong` '' = the model that is recommended for the class. `check_usd` per request. `good_accepted` and
    `bad_accepted`: P(accepted | good), P(accepted | bad), None = only as measured in `check_suite`. `evaluated_as`: the
    name under which evals of the whole cascade are imported. `source`: where stated shares come from.
    """

    cheap: str
    check_usd: Decimal
    strong: str = ""
    good_accepted: Decimal | None = None
    bad_accepted: Decimal | None = None
    check_suite: str = ""
    evaluated_as: str = ""
    source: str = ""

    def as_document(self) -> dict[str, Any]:
        """As it is stored: amounts and shares as text without trailing zeros, nothing that is empty."""
        told = {
            name: f"{value.normalize():f}" if isinstance(value, Decimal) else value
            for name, value in asdict(self).items()
        }
        return {name: value for name, value in told.items() if value not in ("", None)}


def parse_plan(document: Mapping[str, Any]) -> CascadePlan | None:
    """A stored or given document; None where it is empty. Raises CascadeError with everything that is wrong.

    >>> parse_plan({"cheap": "haiku", "check_usd": "0.0005", "good_accepted": "0.95", "bad_accepted": "0.1"}).check_usd
    Decimal('0.0005')
    """
    if not document:
        return None
    known = {*_TEXTS, "check_usd", "good_accepted", "bad_accepted"}
    wrong = [f"{name} is not known; use {', '.join(sorted(known))}" for name in sorted(set(document) - known)]
    texts: dict[str, str] = {}
    for name, most in _TEXTS.items():
        value = document.get(name)
        texts[name] = "" if value is None else str(value).strip()
        if len(texts[name]) > most:
            wrong.append(f"{name} has {len(texts[name])} characters: {most} at most")
    if not texts["cheap"]:
        wrong.append("cheap is empty: name the model that is asked first")
    elif texts["cheap"] == texts["strong"]:
        wrong.append(f"cheap and strong are both {texts['cheap']}: name two models")
    numbers = {
        name: _number(document.get(name), name, wrong) for name in ("check_usd", "good_accepted", "bad_accepted")
    }
    check_usd, good, bad = numbers.values()
    if check_usd is None and not any(each.startswith("check_usd") for each in wrong):
        wrong.append("check_usd is missing: say what checking one answer costs, 0 if nothing")
    if check_usd is not None and check_usd < 0:
        wrong.append(f"check_usd is {check_usd}: a check costs 0 or more")
    for name, share in (("good_accepted", good), ("bad_accepted", bad)):
        if share is not None and not 0 <= share <= 1:
            wrong.append(f"{name} is {share}: it is a share, from 0 to 1")
    if not texts["check_suite"] and None in (document.get("good_accepted"), document.get("bad_accepted")):
        wrong.append("state good_accepted and bad_accepted, or the check_suite they are measured in")
    if wrong:
        raise CascadeError("; ".join(wrong))
    assert check_usd is not None
    return CascadePlan(check_usd=check_usd, good_accepted=good, bad_accepted=bad, **texts)


def _number(value: Any, name: str, wrong: list[str]) -> Decimal | None:
    if value is None or value == "":
        return None
    try:
        found = Decimal(str(value))
    except ArithmeticError:
        wrong.append(f"{name} is {value!r}: give a number")
        return None
    if not found.is_finite():
        wrong.append(f"{name} is {value!r}: give a finite number")
        return None
    exponent = found.normalize().as_tuple().exponent
    if isinstance(exponent, int) and (-exponent > PLACES or found.adjusted() > 9):
        wrong.append(f"{name} is {value}: give at most {PLACES} places, below 10,000,000,000")
        return None
    return found


# -- what evals show ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CheckCases:
    """The check's verdicts on cheap answers of known quality: sums of scores, and what of them it accepted."""

    good: Decimal
    good_accepted: Decimal
    bad: Decimal
    bad_accepted: Decimal

    @property
    def cases(self) -> Decimal:
        return self.good + self.bad


def joint_quality(
    results: Iterable[CaseResult],
    *,
    cheap: str,
    strong: str,
    suites: Collection[str] = (),
    metric: Metric = "pass_rate",
) -> JointQuality:
    """How often both, one or neither is good, on the cases of the latest epoch that both have a verdict for.

    A score between 0 and 1 counts as a chance, apart for each model.
    """
    scores = _scores(results, (cheap, strong), suites, metric)
    both = only_cheap = only_strong = neither = Decimal(0)
    for case, value in scores[cheap].items():
        if case in scores[strong]:
            one, other = value, scores[strong][case]
            both += one * other
            only_cheap += one * (1 - other)
            only_strong += (1 - one) * other
            neither += (1 - one) * (1 - other)
    return JointQuality(both, only_cheap, only_strong, neither)


def check_cases(
    results: Sequence[CaseResult], *, plan: CascadePlan, suites: Collection[str] = (), metric: Metric = "pass_rate"
) -> CheckCases:
    """What the check accepted of the cheap model's answers, paired by sample id with what those answers were worth."""
    checked = suite_filter([plan.check_suite])
    verdicts = [row for row in results if row.candidate == plan.cheap and checked(row.suite, row.suite_version)]
    answers = [row for row in results if not checked(row.suite, row.suite_version)]
    worth: dict[str, Decimal] = {}
    for (_, sample_id), value in _scores(answers, (plan.cheap,), suites, metric)[plan.cheap].items():
        worth.setdefault(sample_id, value)
    good = good_accepted = bad = bad_accepted = Decimal(0)
    for (_, sample_id), accepted in _scores(verdicts, (plan.cheap,), (), "pass_rate")[plan.cheap].items():
        if sample_id in worth:
            value = worth[sample_id]
            good, bad = good + value, bad + 1 - value
            good_accepted, bad_accepted = good_accepted + accepted * value, bad_accepted + accepted * (1 - value)
    return CheckCases(good, good_accepted, bad, bad_accepted)


def _scores(
    results: Iterable[CaseResult], candidates: Sequence[str], suites: Collection[str], metric: Metric
) -> dict[str, dict[tuple[str, str], Decimal]]:
    counts = suite_filter(suites)
    epoch = results_of_epoch([row for row in results if counts(row.suite, row.suite_version)])
    found: dict[str, dict[tuple[str, str], Decimal]] = {}
    for candidate in candidates:
        scores, _ = scores_by_case(epoch.get(candidate, ()), metric)
        found[candidate] = {case: Decimal(str(score)) for case, score in scores.items() if score is not None}
    return found


def measured_check(plan: CascadePlan, cases: CheckCases | None) -> Check | None:
    """The check by its cases where there are 30, else as stated; None where neither is known.

    A share of no bad answer cannot be measured: then what is stated holds, else that the check accepts them all.
    """
    if cases is not None and cases.cases >= MIN_CASES and cases.good:
        bad = cases.bad_accepted / cases.bad if cases.bad else plan.bad_accepted
        source = f"measured on {signed(cases.cases, 0)} checked answers"
        return Check(
            plan.check_usd, cases.good_accepted / cases.good, Decimal(1) if bad is None else bad, source, False
        )
    if plan.good_accepted is None or plan.bad_accepted is None:
        return None
    return Check(plan.check_usd, plan.good_accepted, plan.bad_accepted, plan.source or "an engineer's entry")


# -- the judgement -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rival:
    """The class as it is recommended without the cascade: what a request costs, and the line to reach."""

    model: str
    unit_cost_usd: Decimal
    line: float


@dataclass(frozen=True, slots=True)
class JudgedCascade:
    """A cascade against the strong model alone, in words. `found` None = it cannot be computed (`reason`).

    `is_assumed`: the check's shares, or a cost, are not measured. `cases`: run on both models.
    """

    plan: CascadePlan
    strong: str
    found: Cascade | None
    outcome: Outcome
    reason: str
    check: Check | None = None
    cases: Decimal = Decimal(0)
    is_assumed: bool = True

    @property
    def is_recommended(self) -> bool:
        return self.outcome == "recommended"


def judge_cascade(
    plan: CascadePlan,
    *,
    rival: Rival,
    cheap_usd: Decimal | None,
    strong_usd: Decimal | None,
    joint: JointQuality,
    check: Check | None,
    costs_are_assumed: bool = False,
    status: str = "no_evidence",
) -> JudgedCascade:
    """Whether the cascade pays against the strong model alone, and whether its quality is shown.

    `status`: the verdict of the evals of the cascade itself. Losing money is said first; quality decides only then.
    """
    strong = plan.strong or rival.model
    told = JudgedCascade(plan, strong, None, "unknown", "", check, joint.cases)
    if plan.cheap == strong:
        reason = f"{plan.cheap} is recommended alone: a check and a second model would only add cost"
        return replace(told, outcome="not_needed", reason=reason)
    missing = _missing(plan, strong, cheap_usd, strong_usd, joint, check)
    if missing or cheap_usd is None or strong_usd is None or check is None:
        return replace(told, reason=missing)
    found = cascade(plan.cheap, strong, cheap_usd=cheap_usd, strong_usd=strong_usd, check=check, joint=joint)
    outcome, reason = _outcome(found, rival, status)
    is_assumed = check.is_assumed or costs_are_assumed
    return replace(told, found=found, outcome=outcome, reason=reason, is_assumed=is_assumed)


def _missing(
    plan: CascadePlan,
    strong: str,
    cheap_usd: Decimal | None,
    strong_usd: Decimal | None,
    joint: JointQuality,
    check: Check | None,
) -> str:
    """What is not known, in words; '' where all is."""
    unpriced = [model for model, usd in ((plan.cheap, cheap_usd), (strong, strong_usd)) if not usd]
    if unpriced:
        return f"no cost of a request is known for {' and '.join(unpriced)}: the class needs its usage and a price"
    if joint.cases < MIN_CASES:
        return (
            f"{signed(joint.cases, 0)} cases were run on both {plan.cheap} and {strong}: {MIN_CASES} are needed to say "
            "what escalated requests are worth"
        )
    if check is None:
        return f"fewer than {MIN_CASES} checked answers in suite {plan.check_suite}: import more, or state the shares"
    return ""


def _outcome(found: Cascade, rival: Rival, status: str) -> tuple[Outcome, str]:
    if not found.pays:
        return "loses", found.reason  # says so
    if found.unit_cost_usd >= rival.unit_cost_usd:
        return "loses", (
            f"loses money: {rival.model} alone is recommended and costs "
            f"{signed(rival.unit_cost_usd / found.unit_cost_usd, 2)}× the cascade"
        )
    quality, line = percent(float(found.quality)), percent(rival.line)
    if status == "falls_short":
        return "below_line", f"{found.reason}; its own evals show it below the line of {line}"
    if status == "clears":
        return "recommended", f"{found.reason}; its own evals show that it clears the line of {line}"
    if float(found.quality) < rival.line:
        return "below_line", f"{found.reason}; its expected quality of {quality} is below the line of {line}"
    return "worth_an_eval", (
        f"{found.reason}; its expected quality of {quality} is above the line of {line}, but only evals of the cascade "
        "itself can show that"
    )
