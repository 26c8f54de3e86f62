"""Imported eval files: the history, and what each brought."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Avg, Count, Max, Min, Q

from billing.queries.series import model_name, model_names
from routing.models import EvalImport, EvalRun


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One eval file as it was imported."""

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
class ImportDetail:
    """One eval file with what it brought and what it could not read."""

    row: ImportRow
    sha256: str
    brought: tuple[ImportRunRow, ...]
    rejected_rows: tuple[str, ...]


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
    row = EvalImport.objects.select_related("imported_by").filter(pk=import_id).first()
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
    return ImportDetail(summary, row.sha256, tuple(brought), tuple(row.rejected_rows))


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
    )
