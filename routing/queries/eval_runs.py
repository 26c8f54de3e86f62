"""Eval runs with what looks broken about them, and the rules that map suites to classes."""

from dataclasses import dataclass
from datetime import datetime

from routing.models import EvalRun, EvalSuiteRule


@dataclass(frozen=True, slots=True)
class RunFinding:
    """What looks broken about a run, with what to do. `model` is '' where it concerns the whole run.

    `kind`: "errors", "rate", "items" or "modes".
    """

    kind: str
    model: str
    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run: results of one suite for one class in one file. `set_aside_at` None = it counts: as evidence, or, where
    `is_live`, as samples of live traffic for the monitor alone.

    `filed_under`: the class its file put it under, where somebody moved it here from there; '' = nobody did.
    """

    id: int
    slug: str
    class_title: str
    suite: str
    suite_version: str
    run_at: datetime
    tool: str
    results: int
    left_out: int
    import_id: int
    file_name: str
    findings: tuple[RunFinding, ...]
    set_aside_at: datetime | None
    set_aside_by: str
    set_aside_reason: str
    is_live: bool
    filed_under: str
    filed_under_title: str
    moved_at: datetime | None
    moved_by: str
    move_reason: str


@dataclass(frozen=True, slots=True)
class SuiteRuleRow:
    """Suites that match `pattern` belong to the class; the first rule that matches counts. `is_live`: their cases are
    samples of live traffic."""

    id: int
    pattern: str
    slug: str
    class_title: str
    position: int
    is_live: bool


def run_lines(
    *,
    slug: str = "",
    import_id: int | None = None,
    only_flagged: bool = False,
    only_set_aside: bool = False,
    most: int = 500,
) -> tuple[RunLine, ...]:
    """Runs, newest first: of a class, of a file, those that look broken, those set aside."""
    rows = EvalRun.objects.select_related(*RUN_RELATED)
    if slug:
        rows = rows.filter(request_class__slug=slug)
    if import_id is not None:
        rows = rows.filter(eval_import_id=import_id)
    if only_flagged:
        rows = rows.exclude(findings=[])
    if only_set_aside:
        rows = rows.filter(set_aside_at__isnull=False)
    return tuple(run_line(row) for row in rows[:most])


def run_line(row: EvalRun) -> RunLine:
    return RunLine(
        id=row.pk,
        slug=row.request_class.slug,
        class_title=row.request_class.title,
        suite=row.suite,
        suite_version=row.suite_version,
        run_at=row.run_at,
        tool=row.tool,
        results=row.results,
        left_out=row.left_out,
        import_id=row.eval_import_id,
        file_name=row.eval_import.file_name,
        findings=findings_of(row),
        set_aside_at=row.set_aside_at,
        set_aside_by=row.set_aside_by.get_username() if row.set_aside_by is not None else "",
        set_aside_reason=row.set_aside_reason,
        is_live=row.is_live,
        filed_under=row.filed_under.slug if row.filed_under is not None else "",
        filed_under_title=row.filed_under.title if row.filed_under is not None else "",
        moved_at=row.moved_at,
        moved_by=row.moved_by.get_username() if row.moved_by is not None else "",
        move_reason=row.move_reason,
    )


RUN_RELATED = ("request_class", "eval_import", "set_aside_by", "filed_under", "moved_by")


def findings_of(row: EvalRun) -> tuple[RunFinding, ...]:
    """What looks broken about a run, as it was kept."""
    return tuple(RunFinding(**{name: each.get(name, "") for name in _FIELDS}) for each in row.findings)


_FIELDS = ("kind", "model", "text", "remedy")


def suite_rules() -> tuple[SuiteRuleRow, ...]:
    """Every rule, in the order they are asked."""
    rows = EvalSuiteRule.objects.select_related("request_class")
    return tuple(
        SuiteRuleRow(row.pk, row.pattern, row.request_class.slug, row.request_class.title, row.position, row.is_live)
        for row in rows
    )
