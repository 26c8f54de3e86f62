"""What another bar would do to the verdicts of a class, before it is saved: judged exactly as it would be."""

from dataclasses import dataclass
from datetime import datetime

from billing.queries.series import model_name
from costgov.queries.class_lines import QualityFacts, quality_facts
from routing.core.bars import Bar, BarChange, bar_changes, judge_evidence_by
from routing.core.evalues import MIN_CASES, cases_without_failure, log_threshold
from routing.core.evidence import suite_filter
from routing.core.verdicts import Verdict
from routing.queries.evidence import ClassVerdicts
from routing.queries.freshness import model_changes
from routing.queries.gathering import results_by_suite
from routing.queries.kept_evidence import asked_of, class_summaries


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """The verdict on one model under the saved bar and under the proposed one.

    `measured_before` is its pass rate or mean score by the saved bar; the others are by the proposed one. `compared`:
    what the comparison with the model that serves shows, '' where none is asked for.
    """

    model: str
    name: str
    tier: str
    serves: bool
    cases: int
    pass_rate: float | None
    lower: float | None
    upper: float
    measured_before: float | None
    cases_before: int
    status_before: str
    needed_before: int | None
    stale_before: bool
    status_after: str
    needed_after: int | None
    stale_after: bool
    stale_text: str
    compared: str
    reason: str

    @property
    def changes(self) -> bool:
        return self.status_before != self.status_after or self.stale_before != self.stale_after


@dataclass(frozen=True, slots=True)
class SuiteCount:
    """A suite of the class and whether it counts by the proposed bar."""

    suite: str
    version: str
    results: int
    counts: bool


@dataclass(frozen=True, slots=True)
class BarPreview:
    """`line` None where the bar asks for a comparison alone. `flawless_cases`: fewest cases that clear without a
    failure for a class with that many competing models; None where no realistic number does, or there is no line.
    `changes`: what differs from the saved bar. `idle_patterns`: patterns of suites that match none with results.
    """

    asked_before: str
    asked: str
    line_before: float | None
    line: float | None
    candidates: int
    flawless_cases: int | None
    rows: tuple[VerdictChange, ...]
    changes: tuple[BarChange, ...] = ()
    suites: tuple[SuiteCount, ...] = ()
    idle_patterns: tuple[str, ...] = ()

    @property
    def changed(self) -> tuple[VerdictChange, ...]:
        return tuple(row for row in self.rows if row.changes)

    @property
    def clearing(self) -> int:
        return sum(row.status_after == "clears" and not row.stale_after for row in self.rows)

    @property
    def counting(self) -> int:
        return sum(row.counts for row in self.suites)


def bar_preview(*, slug: str | None, bar: Bar, as_of: datetime) -> BarPreview:
    """Judge the evidence of a class by a bar that is not saved. Raises ValueError for a bar that cannot be."""
    if bar.problems:
        raise ValueError("; ".join(bar.problems))
    facts = quality_facts(as_of=as_of, slug=slug) if slug is not None else None
    saved = facts.verdicts.get(slug) if facts is not None and slug is not None else None
    if facts is None or saved is None or slug is None:
        candidates = max(len(bar.plan), 1)
        return BarPreview("", bar.asked, None, _line(bar), candidates, _flawless(bar, candidates), ())
    evidence = class_summaries(asked={slug: asked_of(bar)}, as_of=as_of)[slug].evidence(saved.incumbent)
    changes = model_changes(as_of=as_of)
    after = judge_evidence_by(bar, evidence, incumbent=saved.incumbent, as_of=as_of, changes=changes)
    rows = _rows(saved, after, bar, facts)
    candidates = max((verdict.candidates for verdict in after.values()), default=1)
    suites = _suites(slug, bar, as_of)
    return BarPreview(
        asked_before=saved.asked.asked,
        asked=bar.asked,
        line_before=_line(saved.asked),
        line=_line(bar),
        candidates=candidates,
        flawless_cases=_flawless(bar, candidates),
        rows=rows,
        changes=bar_changes(saved.asked, bar),
        suites=suites,
        idle_patterns=tuple(
            pattern
            for pattern in bar.suites
            if not any(suite_filter([pattern])(row.suite, row.version) for row in suites)
        ),
    )


def _rows(saved: ClassVerdicts, after: dict[str, Verdict], bar: Bar, facts: QualityFacts) -> tuple[VerdictChange, ...]:
    rows = []
    for model in {*saved.verdicts, *after}:
        named = model_name(facts.names, model)
        new, old = after.get(model) or saved.without_a_case(model, bar), saved.of(model)
        rows.append(
            VerdictChange(
                model=model,
                name=named.name,
                tier=named.tier,
                serves=model == saved.incumbent,
                cases=new.cases,
                pass_rate=new.pass_rate,
                lower=new.lower,
                upper=new.upper,
                measured_before=old.pass_rate,
                cases_before=old.cases,
                status_before=old.status,
                needed_before=old.cases_needed,
                stale_before=old.stale,
                status_after=new.status,
                needed_after=new.cases_needed,
                stale_after=new.stale,
                stale_text=new.stale_text,
                compared=new.paired.text if new.paired is not None else "",
                reason=new.reason,
            )
        )
    return tuple(sorted(rows, key=lambda row: (not row.serves, row.name, row.model)))


def _suites(slug: str, bar: Bar, as_of: datetime) -> tuple[SuiteCount, ...]:
    counts = suite_filter(bar.suites)
    found = results_by_suite(slug=slug, as_of=as_of)
    return tuple(SuiteCount(*suite, count, counts(*suite)) for suite, count in sorted(found.items()))


def _line(bar: Bar) -> float | None:
    return bar.line if bar.asks_for_line else None


def _flawless(bar: Bar, candidates: int) -> int | None:
    if not bar.asks_for_line:
        return None
    least = cases_without_failure(bar.line, log_threshold(float(bar.alpha), candidates))
    return None if least is None else max(least, bar.min_cases, MIN_CASES)
