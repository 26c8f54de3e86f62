"""Quality of model tiers week by week (methods.md §3.6), against plain loops over every case."""

import math
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from billing.queries.series import DayOfUsage
from routing.core.bars import Bar, BarHistory
from routing.core.evidence import CaseResult, cases_of_epoch
from routing.queries.tiers import class_weeks, tier_series, week_ends
from tests.slow_evidence import EvidenceHistory

END = date(2026, 11, 23)
START = END - timedelta(days=60)  # eight whole weeks and four days
MODELS = {"opus": "frontier", "sonnet": "balanced", "haiku": "fast", "haiku-2": "fast"}
GENERATIONS = {"opus": 1, "sonnet": 1, "haiku": 1, "haiku-2": 2}
MIDDLE = datetime(2026, 10, 25, tzinfo=UTC)


def asked(line: str, **facts: object) -> Bar:
    return Bar(bar=Decimal(line), tolerance=Decimal(0), **facts)  # type: ignore[arg-type]


# In the middle `triage` lowers its line and leaves a suite out, `drafting` asks for a comparison alone.
BARS = {
    "triage": BarHistory(
        (
            (datetime(2026, 1, 1, tzinfo=UTC), asked("0.93")),
            (MIDDLE, asked("0.9", suites=("suite*",), version=2)),
        ),
        asked("0.9", suites=("suite*",), version=2),
    ),
    "drafting": BarHistory(
        ((MIDDLE, asked("0.7")), (MIDDLE, asked("0.7", standard="not_worse", margin=Decimal("0.05"), version=2))),
        asked("0.7", standard="not_worse", margin=Decimal("0.05"), version=2),
    ),
    "coding": BarHistory((), asked("0.9")),
}


def at(day: date, hour: int = 12) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def case(
    model: str, sample: int, on: datetime, score: float | None, version: str = "1", suite: str = "suite"
) -> CaseResult:
    return CaseResult(suite, version, str(sample), model, on, score)


def estate(seed: int) -> tuple[list[DayOfUsage], dict[str, list[CaseResult]]]:
    """Usage of three classes on four models (not every pair every day), and evals that arrive in between."""
    draw = random.Random(seed)
    usage = [
        DayOfUsage(START + timedelta(days=n), slug, model, draw.randrange(1, 400), draw.randrange(10**4, 10**6), 10)
        for n in range(60)
        for slug in ("triage", "drafting", "coding", "")
        for model in MODELS
        if draw.random() < 0.4
    ]
    results: dict[str, list[CaseResult]] = {"triage": [], "drafting": []}
    for slug, rows in results.items():
        for model in ("opus", "haiku", "haiku-2"):
            first = START + timedelta(days=draw.randrange(-5, 30))
            rows += [case(model, n, at(first), float(draw.random() < 0.95)) for n in range(draw.randrange(20, 90))]
        if slug == "triage":  # a new version of the suite begins the evaluation anew, for opus only
            later = START + timedelta(days=40)
            rows += [case("opus", n, at(later), 1.0 if n % 5 else 0.5, "2") for n in range(40)]
            rows += [case("haiku", n, at(START), float(n % 2), suite="hard") for n in range(30)]
    return usage, results


def ln_e(scores: tuple[float, ...], line: float, clears: bool) -> float:
    """methods.md §3.2 by hand."""
    logs = []
    for j in range(200):
        q = line + (1 - line) * (j + 0.5) / 200 if clears else line * (j + 0.5) / 200
        bet = (q - line) / (line * (1 - line))
        logs.append(sum(math.log1p(bet * (x - line)) for x in scores))
    return max(logs) + math.log(sum(math.exp(each - max(logs)) for each in logs) / 200)


def bound(scores: tuple[float, ...], threshold: float, clears: bool) -> float:
    """The highest line that clears, or the lowest that falls short, by bisection."""
    low, high = 1e-9, 1 - 1e-9
    if not clears and ln_e(scores, high, clears) < threshold:
        return 1.0
    if clears and ln_e(scores, low, clears) < threshold:
        return 0.0
    for _ in range(30):
        middle = (low + high) / 2
        reached = ln_e(scores, middle, clears) >= threshold
        if clears:
            low, high = (middle, high) if reached else (low, middle)
        else:
            low, high = (low, middle) if reached else (middle, high)
    return (low + high) / 2


def histories(results: Mapping[str, Sequence[CaseResult]]) -> dict[str, EvidenceHistory]:
    return {slug: EvidenceHistory(rows, BARS[slug]) for slug, rows in results.items() if slug in BARS}


@pytest.mark.parametrize("seed", [1, 2])
def test_every_week_equals_plain_loops(seed: int) -> None:
    usage, results = estate(seed)
    found = tier_series(
        usage=usage,
        histories=histories(results),
        bars=BARS,
        tiers=MODELS,
        generations=GENERATIONS,
        start=START,
        end=END,
    )
    assert {series.tier for series in found} == {"frontier", "balanced", "fast"}
    for series in found:
        assert [week.end for week in series.weeks] == [END - timedelta(days=7 * n) for n in range(7, -1, -1)]
        for week in series.weeks:
            pairs: dict[tuple[str, str], float] = {}
            for row in usage:
                if week.end - timedelta(days=7) <= row.on < week.end and MODELS[row.model] == series.tier:
                    key = (row.request_class, row.model)
                    pairs[key] = pairs.get(key, 0) + (row.requests or 0)
            known = {}
            for slug, model in pairs:
                seen = [row for row in results.get(slug, []) if row.run_at < at(week.end, 0)]
                bar = BARS[slug].at(at(week.end, 0)) if slug in BARS else Bar()
                seen = [row for row in seen if not bar.suites or row.suite.startswith("suite")]
                evidence = cases_of_epoch(seen).get(model)
                if evidence is not None and evidence.cases:
                    known[slug, model] = evidence
            quality = week.quality
            assert quality.pairs == len(known)
            assert week.cases == sum(evidence.cases for evidence in known.values())
            covered = sum(pairs[pair] for pair in known)
            if not known:
                assert (quality.value, quality.low, quality.high, quality.covered_share) == (None, None, None, 0.0)
                continue
            threshold = math.log(len(known) / 0.05)
            weighed = [
                (pairs[pair], evidence.passes / evidence.cases, bound(evidence.scores, threshold, True),
                 bound(evidence.scores, threshold, False))
                for pair, evidence in known.items()
            ]  # fmt: skip
            lines = []
            for pair in known:
                bar = BARS[pair[0]].at(at(week.end, 0))
                if bar.standard == "absolute":
                    lines.append((pairs[pair], float(bar.bar)))
            if lines:
                mark = sum(weight * line for weight, line in lines) / sum(weight for weight, _ in lines)
                assert quality.line == pytest.approx(mark)
            else:
                assert quality.line is None
            for name, column in (("value", 1), ("low", 2), ("high", 3)):
                mean = sum(row[0] * row[column] for row in weighed) / covered
                assert getattr(quality, name) == pytest.approx(mean, abs=1e-6), (series.tier, week.end, name)
            assert quality.covered_share == pytest.approx(covered / sum(pairs.values()))


def test_a_case_counts_from_the_week_of_its_day_on() -> None:
    usage = [DayOfUsage(START + timedelta(days=n), "triage", "haiku", 10, 100, 10) for n in range(60)]
    last_day_of_week = END - timedelta(days=8)
    rows = {"triage": [case("haiku", n, at(last_day_of_week, 23), 1.0) for n in range(40)]}
    (series,) = tier_series(
        usage=usage, histories=histories(rows), bars=BARS, tiers=MODELS, generations=GENERATIONS, start=START, end=END
    )
    assert [week.quality.value for week in series.weeks] == [None] * 6 + [1.0, 1.0]


def test_one_unit_for_a_tier_in_every_week() -> None:
    """haiku has no counts in its first week: the whole tier is weighed by tokens, haiku-2's on haiku's tokenizer."""
    on = [END - timedelta(days=n) for n in (14, 7)]
    usage = [
        DayOfUsage(on[0], "triage", "haiku", None, 1_000, 10),
        DayOfUsage(on[1], "triage", "haiku", 1, 1_000, 10),
        DayOfUsage(on[1], "drafting", "haiku-2", 1_000_000, 1_300, 10),
        DayOfUsage(on[1], "drafting", "opus", 5, 1_000, 10),
    ]
    rows = {
        "triage": [case("haiku", n, at(START), 1.0) for n in range(40)],
        "drafting": [case("haiku-2", n, at(START), float(n % 2)) for n in range(40)],
    }
    found = tier_series(
        usage=usage, histories=histories(rows), bars=BARS, tiers=MODELS, generations=GENERATIONS, start=START, end=END
    )
    fast, frontier = found
    assert [series.tier for series in found] == ["fast", "frontier"]
    assert {week.weighed_by for week in fast.weeks} == {"input tokens"}
    assert fast.weeks[-1].quality.value == pytest.approx(0.75)  # 1,000 and 1,300 ÷ 1.3: equal weights of 1 and 0.5
    assert {week.weighed_by for week in frontier.weeks} == {"requests"}
    by_history = tier_series(
        usage=usage[2:], histories=histories(rows), bars=BARS, tiers=MODELS, generations=GENERATIONS, start=START,
        end=END, untold={"opus"},
    )  # fmt: skip
    assert {series.tier: series.weeks[-1].weighed_by for series in by_history} == {
        "fast": "requests",
        "frontier": "input tokens",
    }


def test_a_model_nobody_has_placed_is_in_tier_other_and_unclassified_usage_is_not_covered() -> None:
    usage = [
        DayOfUsage(END - timedelta(days=1), "triage", "lab", 30, 1, 1),
        DayOfUsage(END - timedelta(days=1), "", "lab", 10, 1, 1),
    ]
    rows = {"triage": [case("lab", n, at(START), 1.0) for n in range(40)]}
    (series,) = tier_series(
        usage=usage, histories=histories(rows), bars=BARS, tiers=MODELS, generations={}, start=START, end=END
    )
    assert series.tier == "other"
    assert series.weeks[-1].quality.covered_share == pytest.approx(0.75)


def test_weeks_are_counted_back_from_the_end() -> None:
    assert week_ends(start=END - timedelta(days=6), end=END) == []
    assert week_ends(start=END - timedelta(days=15), end=END) == [END - timedelta(days=7), END]


def test_a_class_shows_what_served_it_most() -> None:
    first, last = END - timedelta(days=14), END - timedelta(days=1)
    usage = [
        DayOfUsage(first, "triage", "opus", 10, 1, 1), DayOfUsage(first, "triage", "haiku", 3, 9, 1),
        DayOfUsage(last, "triage", "haiku", 10, 1, 1),
    ]  # fmt: skip
    rows = [case("opus", n, at(START), 1.0) for n in range(40)]
    weeks = class_weeks(
        usage=usage,
        history=EvidenceHistory(rows, BARS["triage"]),
        bars=BARS["triage"],
        start=END - timedelta(days=21),
        end=END,
    )
    assert [(week.model, week.pass_rate, week.cases) for week in weeks] == [
        ("", None, 0), ("opus", 1.0, 40), ("haiku", None, 0),
    ]  # fmt: skip
    assert weeks[1].lower == pytest.approx(bound((1.0,) * 40, math.log(1 / 0.05), True), abs=1e-6)


def test_a_class_week_is_held_to_the_bar_of_its_time() -> None:
    usage = [DayOfUsage(START + timedelta(days=n), "triage", "haiku", 10, 1, 1) for n in range(60)]
    rows = [case("haiku", n, at(START), 1.0) for n in range(40)]
    rows += [case("haiku", n, at(START), 0.0, suite="hard") for n in range(40)]
    weeks = class_weeks(
        usage=usage, history=EvidenceHistory(rows, BARS["triage"]), bars=BARS["triage"], start=START, end=END
    )
    before = [week for week in weeks if at(week.end, 0) < MIDDLE]
    after = [week for week in weeks if at(week.end, 0) >= MIDDLE]
    assert before and {(week.line, week.cases, week.pass_rate) for week in before} == {(0.93, 80, 0.5)}
    assert after and {(week.line, week.cases, week.pass_rate) for week in after} == {(0.9, 40, 1.0)}
    compared = class_weeks(
        usage=[], history=EvidenceHistory([], BARS["drafting"]), bars=BARS["drafting"], start=START, end=END
    )
    assert {week.line for week in compared if at(week.end, 0) >= MIDDLE} == {None}
