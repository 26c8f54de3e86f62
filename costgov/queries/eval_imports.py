"""Imported eval files: the history, and what each brought."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Avg, Count, Max, Min, Q

from billing.queries.series import model_name, model_names
from routing.importers.bad_rows import BadRow, BadRowGroup, grouped
from routing.models import EvalImport, EvalRun
from routing.queries.eval_runs import RunLine, run_lines
from routing.queries.work_items import VerdictChange, verdict_changes


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One eval file: imported, being imported (`progress_percent`, `progress_note`), or failed (`problem` says why)."""

    id: int
    file_name: str
    format: str
    imported_at: datetime
    who: str
    cases: int
    left_out: int
    duplicates: int
    rejected: int
    classes: tuple[str, ...]
    models: tuple[str, ...]
    state: str
    problem: str
    progress_percent: int
    progress_note: str

    @property
    def is_running(self) -> bool:
        return self.state in ("queued", "running")


@dataclass(frozen=True, slots=True)
class ImportRunRow:
    """What a file brought for one class and suite, per model."""

    slug: str
    class_title: str
    suite: str
    suite_version: str
    model: str
    name: str
    tier: str
    first_run_at: datetime
    latest_run_at: datetime
    results: int
    cases: int
    without_verdict: int
    mean_score: float | None


@dataclass(frozen=True, slots=True)
class GoneLine:
    """One line of what an import held before it was deleted."""

    slug: str
    suite: str
    name: str
    tier: str
    results: int
    scored: int
    passed: int


@dataclass(frozen=True, slots=True)
class Deletion:
    """That what an import brought was deleted: when, by whom ('' = a command), why, and what it was."""

    at: datetime
    who: str
    reason: str
    lines: tuple[GoneLine, ...]


@dataclass(frozen=True, slots=True)
class ImportDetail:
    """One eval file with what it brought and what it could not read.

    `runs`: what it brought per suite and class, with what looks broken. `verdicts`: those it changed. Of its distinct
    cases with a verdict, `new_cases` had none before on that model under the same versions, prompt and mode, and
    `repeated_cases` had: those are shown and add nothing to the evidence. `deletion`: that what it brought is gone.
    """

    row: ImportRow
    sha256: str
    brought: tuple[ImportRunRow, ...]
    rejected_rows: tuple[BadRow, ...]
    warnings: tuple[str, ...]
    runs: tuple[RunLine, ...]
    verdicts: tuple[VerdictChange, ...]
    new_cases: int
    repeated_cases: int
    deletion: Deletion | None = None

    @property
    def flagged(self) -> int:
        return sum(bool(run.findings) for run in self.runs)

    @property
    def bad(self) -> tuple[BadRowGroup, ...]:
        """The rows that were not understood, equal faults together."""
        return grouped(self.rejected_rows)


def eval_imports(*, most: int = 50) -> tuple[ImportRow, ...]:
    """The latest imports of eval files, newest first."""
    rows = list(EvalImport.objects.select_related("imported_by")[:most])
    slugs: dict[int, set[str]] = defaultdict(set)
    models: dict[int, set[str]] = defaultdict(set)
    for import_id, slug, model in (
        EvalRun.objects.filter(eval_import__in=[row.pk for row in rows])
        .values_list("eval_import_id", "request_class__slug", "cases__model")
        .distinct()
    ):
        slugs[import_id].add(slug)
        models[import_id].add(model)
    return tuple(_import_row(row, slugs[row.pk], models[row.pk]) for row in rows)


def eval_import(*, import_id: int) -> ImportDetail | None:
    """One import of an eval file; None where there is none of that number."""
    row = EvalImport.objects.select_related("imported_by", "deleted_by").filter(pk=import_id).first()
    if row is None:
        return None
    names = model_names()
    brought = []
    for each in (
        EvalRun.objects.filter(eval_import=row)
        .values("request_class__slug", "request_class__title", "suite", "suite_version", "cases__model")
        .annotate(
            first=Min("cases__run_at"),
            latest=Max("cases__run_at"),
            results=Count("cases"),
            samples=Count("cases__sample_id", distinct=True),
            without=Count("cases", filter=Q(cases__score__isnull=True)),
            score=Avg("cases__score"),
        )
        .order_by("request_class__slug", "suite", "cases__model")
    ):
        named = model_name(names, each["cases__model"])
        brought.append(
            ImportRunRow(
                slug=each["request_class__slug"],
                class_title=each["request_class__title"],
                suite=each["suite"],
                suite_version=each["suite_version"],
                model=each["cases__model"],
                name=named.name,
                tier=named.tier,
                first_run_at=each["first"],
                latest_run_at=each["latest"],
                results=each["results"],
                cases=each["samples"],
                without_verdict=each["without"],
                mean_score=each["score"],
            )
        )
    summary = _import_row(row, {each.slug for each in brought}, {each.model for each in brought})
    new, repeated = _new_and_repeated(row.pk)
    return ImportDetail(
        row=summary,
        sha256=row.sha256,
        brought=tuple(brought),
        rejected_rows=tuple(BadRow.kept(bad) for bad in row.rejected_rows),
        warnings=tuple(row.warnings),
        runs=run_lines(import_id=row.pk),
        verdicts=verdict_changes(import_id=row.pk),
        new_cases=new,
        repeated_cases=repeated,
        deletion=_deletion_of(row),
    )


def _deletion_of(row: EvalImport) -> Deletion | None:
    if row.deleted_at is None:
        return None
    names = model_names()
    lines = tuple(
        GoneLine(
            slug=line["class"],
            suite=line["suite"],
            name=model_name(names, line["model"]).name,
            tier=model_name(names, line["model"]).tier,
            results=line["results"],
            scored=line["scored"],
            passed=line["passed"],
        )
        for line in row.deleted_runs
    )
    who = row.deleted_by.get_username() if row.deleted_by is not None else ""
    return Deletion(row.deleted_at, who, row.deletion_reason, lines)


_NEW_AND_REPEATED = """
WITH brought AS (
    SELECT DISTINCT r.request_class_id, r.suite, r.suite_version, c.sample_id, c.model, c.mode, c.prompt_version
    FROM routing_evalrun r JOIN routing_evalcase c ON c.run_id = r.id
    WHERE r.eval_import_id = %(id)s AND c.score IS NOT NULL AND NOT r.is_live
), known AS (
    SELECT DISTINCT r.request_class_id, r.suite, r.suite_version, c.sample_id, c.model, c.mode, c.prompt_version
    FROM routing_evalrun r JOIN routing_evalcase c ON c.run_id = r.id
    WHERE r.eval_import_id < %(id)s AND c.score IS NOT NULL AND r.set_aside_at IS NULL AND NOT r.is_live
      AND (r.request_class_id, r.suite, r.suite_version) IN (
          SELECT request_class_id, suite, suite_version FROM routing_evalrun WHERE eval_import_id = %(id)s)
)
SELECT count(*) FILTER (WHERE k.sample_id IS NULL), count(k.sample_id)
FROM brought b LEFT JOIN known k USING (request_class_id, suite, suite_version, sample_id, model, mode, prompt_version)
"""


def _new_and_repeated(import_id: int) -> tuple[int, int]:
    """Distinct cases with a verdict, per model: those no earlier file had one for, and those one had."""
    with connection.cursor() as cursor:
        cursor.execute(_NEW_AND_REPEATED, {"id": import_id})
        new, repeated = cursor.fetchone()
    return int(new), int(repeated)


def import_state(*, import_id: int) -> ImportRow | None:
    """Where an import is, without what it brought; None where there is none of that number."""
    row = EvalImport.objects.select_related("imported_by").filter(pk=import_id).first()
    return None if row is None else _import_row(row, (), ())


def _import_row(row: EvalImport, slugs: Iterable[str], models: Iterable[str]) -> ImportRow:
    return ImportRow(
        id=row.pk,
        file_name=row.file_name,
        format=row.format,
        imported_at=row.imported_at,
        who=row.imported_by.get_username() if row.imported_by is not None else "",
        cases=row.cases,
        left_out=row.left_out,
        duplicates=row.duplicates,
        rejected=row.rejected,
        classes=tuple(sorted(slugs)),
        models=tuple(sorted(models)),
        state=row.state,
        problem=row.problem,
        progress_percent=round(100 * row.progress_share),
        progress_note=row.progress_note,
    )
