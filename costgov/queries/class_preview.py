"""What another bar would do to the verdicts of a class, before it is saved."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.queries.series import model_name
from costgov.queries.class_lines import quality_facts
from routing.core.evalues import cases_without_failure, log_threshold
from routing.core.evidence import Evidence
from routing.core.verdicts import Verdict, judge, judge_class, line_of


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """The verdict on one model under the saved bar and under the proposed one."""

    model: str
    name: str
    tier: str
    serves: bool
    cases: int
    pass_rate: float | None
    lower: float | None
    upper: float
    status_before: str
    needed_before: int | None
    status_after: str
    needed_after: int | None
    stale_after: bool

    @property
    def changes(self) -> bool:
        return self.status_before != self.status_after


@dataclass(frozen=True, slots=True)
class BarPreview:
    """`flawless_cases`: cases needed to clear if none fails, for a class with that many competing models."""

    line_before: float | None
    line: float
    candidates: int
    flawless_cases: int | None
    rows: tuple[VerdictChange, ...]

    @property
    def changed(self) -> tuple[VerdictChange, ...]:
        return tuple(row for row in self.rows if row.changes)

    @property
    def clearing(self) -> int:
        return sum(row.status_after == "clears" and not row.stale_after for row in self.rows)


def bar_preview(
    *,
    slug: str | None,
    bar: Decimal,
    tolerance: Decimal,
    alpha: Decimal,
    max_age_days: int,
    plan: Sequence[str],
    as_of: datetime,
) -> BarPreview:
    """Judge the evidence of a class by a bar that is not saved. Raises ValueError for a bar no sample can show."""
    line = line_of(bar, tolerance)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}: it must be above 0 and below 1")
    facts = quality_facts(as_of=as_of, slug=slug) if slug is not None else None
    saved = facts.verdicts.get(slug) if facts is not None and slug is not None else None
    if facts is None or saved is None or slug is None:
        candidates = max(len(set(plan)), 1)
        return BarPreview(None, line, candidates, _flawless(line, alpha, candidates), ())
    after = judge_class(
        facts.results.get(slug, []),
        incumbent=saved.incumbent,
        plan=plan,
        bar=bar,
        tolerance=tolerance,
        alpha=alpha,
        as_of=as_of,
        max_age_days=max_age_days,
    )
    rows = []
    for model in sorted({*saved.verdicts, *after}):
        named = model_name(facts.names, model)
        new: Verdict = after.get(model) or judge(Evidence(model, ()), bar=bar, tolerance=tolerance, alpha=alpha)
        old = saved.of(model)
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
                status_before=old.status,
                needed_before=old.cases_needed,
                status_after=new.status,
                needed_after=new.cases_needed,
                stale_after=new.stale,
            )
        )
    candidates = max((verdict.candidates for verdict in after.values()), default=1)
    rows.sort(key=lambda row: (not row.serves, row.name))
    return BarPreview(saved.line, line, candidates, _flawless(line, alpha, candidates), tuple(rows))


def _flawless(line: float, alpha: Decimal, candidates: int) -> int | None:
    return cases_without_failure(line, log_threshold(float(alpha), candidates))
