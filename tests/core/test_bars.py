"""Bars as values: what cannot be asked, what differs, what was in force; and everything that makes evidence old."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.core.bars import Bar, BarHistory, bar_changes
from routing.core.evalues import log_e_values
from routing.core.evidence import CaseResult, Evidence, suite_filter
from routing.core.freshness import ModelChanges, Recount, stale_reasons
from routing.core.verdicts import Standard, Verdict, judge
from tests.slow_evidence import EvidenceHistory, judge_by

TEXT = (Path(__file__).parents[2] / "docs" / "algorithms" / "quality.md").read_text(encoding="utf-8").replace("\n", " ")
AT = datetime(2026, 11, 23, tzinfo=UTC)
DAY = timedelta(days=1)
GRADED = [1, 1, 1, 0.5, 0.8, 1, 0.9, 1, 0.7, 1] * 20


def results(model: str, scores: list[float], suite: str = "core", at: datetime = AT - DAY) -> list[CaseResult]:
    return [CaseResult(suite, "1", f"case-{n}", model, at, score) for n, score in enumerate(scores)]


@pytest.mark.parametrize(
    ("bar", "words"),
    [
        (Bar(bar=Decimal(1)), "no sample can show a bar of 1"),
        (Bar(bar=Decimal("0.02")), "the tolerance is 0.02"),
        (Bar(alpha=Decimal(0)), "alpha is 0"),
        (Bar(standard="both"), "needs a margin"),
        (Bar(margin=Decimal(1)), "the margin is 1"),
        (Bar(min_cases=29), "nothing clears before 30"),
        (Bar(max_age_days=0), "give 1 or more"),
        (Bar(bar=Decimal("0.1234567")), "at most 6 places"),
    ],
)
def test_what_cannot_be_asked(bar: Bar, words: str) -> None:
    assert any(words in problem for problem in bar.problems)
    assert Bar().problems == ()


@pytest.mark.parametrize(
    ("standard", "asked"),
    [
        ("absolute", "93% (bar 95%, tolerance 2 points)"),
        ("not_worse", "at most 1 point below the model that serves"),
        ("both", "93% (bar 95%, tolerance 2 points), and at most 1 point below the model that serves"),
    ],
)
def test_what_is_asked_in_words(standard: Standard, asked: str) -> None:
    bar = Bar(standard=standard, margin=Decimal("0.01"))
    assert (bar.asked, bar.asks_for_line) == (asked, standard != "not_worse")


def test_nothing_differs_between_equal_bars() -> None:
    assert bar_changes(Bar(), Bar(bar=Decimal("0.9500"), version=7)) == ()


def test_the_version_in_force_is_the_newest_set_by_then() -> None:
    first, second, third = (Bar(version=n) for n in (1, 2, 3))
    history = BarHistory(((AT, first), (AT + DAY, second), (AT + DAY, third)), third)
    assert [history.at(AT + n * DAY).version for n in (-9, 0, 1, 9)] == [1, 1, 3, 3]
    assert BarHistory((), second).at(AT) is second


@pytest.mark.parametrize(
    ("patterns", "counts"),
    [
        ((), ["core@1", "core@2", "core-hard@1", "smoke@1"]),
        (("core",), ["core@1", "core@2"]),
        (("core*",), ["core@1", "core@2", "core-hard@1"]),
        (("core@2",), ["core@2"]),
        (("*@1",), ["core@1", "core-hard@1", "smoke@1"]),
        (("smoke", "core?hard"), ["core-hard@1", "smoke@1"]),
        (("Core",), []),
    ],
)
def test_patterns_of_suites(patterns: tuple[str, ...], counts: list[str]) -> None:
    every = [("core", "1"), ("core", "2"), ("core-hard", "1"), ("smoke", "1")]
    assert [f"{suite}@{version}" for suite, version in every if suite_filter(patterns)(suite, version)] == counts


def test_history_follows_suites_metric_and_incumbent_of_the_bar_of_its_time() -> None:
    graded = [CaseResult("core", "1", f"case-{n}", "haiku", AT - 9 * DAY, 1.0, graded_score=0.5) for n in range(40)]
    rows = [*graded, *results("haiku", [0.0] * 40, "smoke", AT - 9 * DAY), *results("opus", [1.0] * 40)]
    later = Bar(suites=("core",), metric="mean_score", version=2)
    history = EvidenceHistory(rows, BarHistory(((AT - 99 * DAY, Bar()), (AT - 4 * DAY, later)), later))
    before, after = history.at(AT - 5 * DAY), history.at(AT - 3 * DAY)
    assert (before["haiku"].cases, before["haiku"].passes) == (80, 40)
    assert (after["haiku"].cases, after["haiku"].passes) == (40, 20)
    assert history.at(AT - 3 * DAY) is after and history.at(AT - 2 * DAY) is after, "one value between two changes"
    assert history.at(AT, incumbent="opus")["haiku"].differences == ((-0.5, 40),)
    assert history.at(AT)["haiku"].differences == ()


def test_one_bar_judges_a_class_by_every_fact() -> None:
    rows = [
        *results("opus", [1.0] * 120),
        *results("haiku", [1.0] * 119 + [0.0]),
        *results("haiku", [0.0] * 50, "x"),
    ]

    def verdict(**facts: object) -> Verdict:
        bar = Bar(**({"suites": ("core",)} | facts))  # type: ignore[arg-type]
        return judge_by(bar, rows, incumbent="opus", as_of=AT)["haiku"]

    assert (verdict().status, verdict().cases, verdict().bar_version) == ("clears", 120, 1)
    assert verdict(suites=()).status == "falls_short"
    assert (verdict(min_cases=121).status, verdict(min_cases=121).cases_needed) == ("not_enough_evidence", 1)
    assert "so far, but nothing clears here before 121 cases; about 1 more case" in verdict(min_cases=121).reason
    assert verdict(alpha=Decimal("0.001")).status == "not_enough_evidence"
    assert verdict(standard="both", margin=Decimal("0.02")).status == "not_enough_evidence"
    assert verdict(standard="not_worse", margin=Decimal("0.2")).status == "clears"
    assert not verdict().stale and verdict(max_age_days=1, version=4).bar_version == 4


@settings(max_examples=60, deadline=None)
@given(cases=st.integers(1, 400), share=st.floats(0, 1), low=st.floats(0.05, 0.9), step=st.floats(0.001, 0.09))
def test_a_lower_line_never_makes_clearing_harder(cases: int, share: float, low: float, step: float) -> None:
    """Why the line may be chosen after looking: what clears a line clears every lower one."""
    passes = round(share * cases)
    assert log_e_values(passes, cases, low)[0] >= log_e_values(passes, cases, low + step)[0] - 1e-9


def test_figures_of_the_document() -> None:
    lower = judge(Evidence.of_counts(196, 200), bar=0.93, tolerance=0).lower
    assert lower is not None and f"any line up to {100 * lower:.3f}% clears" in TEXT
    assert sum(grade >= 0.9 for grade in GRADED) == 140 and "would call 70% of them passed" in TEXT
    rows = results("haiku", [float(grade) for grade in GRADED])
    for line, figure in (("0.80", "14.552564"), ("0.85", "4.024066")):
        bar = Bar(bar=Decimal(line), tolerance=Decimal(0), metric="mean_score")
        verdict = judge_by(bar, rows, incumbent=None, as_of=AT)["haiku"]
        assert f"{verdict.ln_e_clear:.6f}" == figure and verdict.status == "clears"
        assert f"| .89 | {line[1:]} | {figure} | clears |" in TEXT
    pair = Evidence("haiku", ((0.0, 96), (1.0, 104)), differences=((-1.0, 8), (0.0, 188), (1.0, 4)), newest_case_at=AT)
    assert judge(pair, standard="not_worse", margin=0.08).status == "clears"
    assert "passed 104 and the incumbent 108, 52% and 54%" in TEXT


# -- what makes evidence old ---------------------------------------------------------------------------------------


def reasons(
    newest: datetime | None = AT - 10 * DAY,
    *,
    snapshots: tuple[str, ...] = (),
    changes: ModelChanges = ModelChanges(),  # noqa: B008 - a frozen value
    recount: Recount = Recount(),  # noqa: B008 - a frozen value
    days: int = 90,
) -> list[tuple[str, bool]]:
    found = stale_reasons(
        newest_case_at=newest, snapshots=snapshots, as_of=AT, max_age_days=days, changes=changes, recount=recount
    )
    assert list(found) == sorted(found, key=lambda reason: not reason.blocks), "what blocks comes first"
    return [(reason.kind, reason.blocks) for reason in found]


EVERYTHING = ModelChanges(
    retires_on=AT.date(), snapshots=("20251001", "20261101"), price_days=(date(2026, 11, 14), date(2026, 11, 20))
)


def test_every_reason_at_once_and_none_without_a_case() -> None:
    old = reasons(snapshots=("20251001",), changes=EVERYTHING, recount=Recount(10, 1_000, 1_100), days=9)
    assert old == [("age", True), ("snapshot", True), ("retired", True), ("price", False), ("tokenizer", False)]
    assert reasons(None, snapshots=("20251001",), changes=EVERYTHING, recount=Recount(10, 1_000, 1_100), days=9) == []


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        ({"newest": AT - 90 * DAY}, []),
        ({"newest": AT - 90 * DAY - timedelta(seconds=1)}, ["age"]),
        ({"snapshots": ("20261101",), "changes": ModelChanges(snapshots=("20251001", "20261101"))}, []),
        ({"snapshots": ("20251001", "20261101"), "changes": ModelChanges(snapshots=("20261101",))}, []),
        ({"snapshots": (), "changes": ModelChanges(snapshots=("20261101",))}, []),
        ({"snapshots": ("20251001",), "changes": ModelChanges(snapshots=("20261101",))}, ["snapshot"]),
        ({"changes": ModelChanges(retires_on=AT.date() + DAY)}, []),
        ({"changes": ModelChanges(retires_on=AT.date())}, ["retired"]),
        ({"changes": ModelChanges(price_days=(date(2026, 11, 13),))}, []),  # the day of the newest case
        ({"changes": ModelChanges(price_days=(date(2026, 11, 14),))}, ["price"]),
        ({"changes": ModelChanges(price_days=(date(2026, 11, 24),))}, []),
        ({"recount": Recount(10, 1_000, 1_050)}, []),
        ({"recount": Recount(10, 1_000, 1_051)}, ["tokenizer"]),
        ({"recount": Recount(10, 1_000, 700)}, ["tokenizer"]),
        ({"recount": Recount(9, 1_000, 9_000)}, []),
        ({"recount": Recount(10, 0, 9_000)}, []),
    ],
)
def test_each_reason_begins_where_it_should(given: dict[str, object], kinds: list[str]) -> None:
    assert [kind for kind, _ in reasons(**given)] == kinds  # type: ignore[arg-type]


def test_reasons_are_sentences() -> None:
    found = stale_reasons(
        newest_case_at=AT - 10 * DAY, snapshots=("20251001",), as_of=AT, max_age_days=9, changes=EVERYTHING,
        recount=Recount(200, 200_000, 260_000),
    )  # fmt: skip
    assert [reason.text for reason in found] == [
        "its newest case ran on 13 Nov 2026; the class allows 9 days",
        "the cases ran on snapshot 2025-10-01; snapshot 2026-11-01 is newer",
        "the model retired on 23 Nov 2026",
        "its list price changed on 14 Nov 2026, last on 20 Nov 2026, after the newest case; costs here use today's",
        "the same 200 cases take 30% more input tokens than when they first ran: it counts tokens otherwise now, so "
        "its cost per case has moved",
    ]
    assert "Of 200 cases run again with 1,300 instead of 1,000 input tokens each" in TEXT


def test_a_verdict_is_stale_only_by_what_blocks() -> None:
    evidence = Evidence("haiku", ((1.0, 200),), newest_case_at=AT - 10 * DAY)
    priced = judge(evidence, as_of=AT, changes=ModelChanges(price_days=(AT.date(),)))
    assert (priced.stale, priced.text) == (False, "Clears the bar") and priced.stale_text
    retired = judge(evidence, as_of=AT, changes=ModelChanges(retires_on=AT.date()))
    assert (retired.stale, retired.text) == (True, "Clears the bar · Stale")
    assert judge(evidence).stale_reasons == ()
