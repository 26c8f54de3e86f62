"""Import eval results: a whole file or nothing, audited, no prompt and no answer kept."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction

from audit import operations as audit
from audit.roles import Right, require
from routing.core.evidence import CaseResult
from routing.importers import importer_for
from routing.importers.base import EvalImportError
from routing.models import EvalCase, EvalImport, EvalRun, RequestClass
from routing.operations.classes import save_class

_EVALS_LOCK = 0x6576616C
_BATCH = 5_000


@dataclass(frozen=True, slots=True)
class EvalImportResult:
    """What one file brought. `is_repeat`: the same bytes were imported before, nothing changed."""

    import_id: int
    file_name: str
    format: str
    cases: int
    left_out: int
    classes: tuple[str, ...]
    models: tuple[str, ...]
    is_repeat: bool
    earlier_at: datetime | None = None


@transaction.atomic
def import_evals(
    *,
    actor: AbstractBaseUser | None,
    path: Path,
    as_of: datetime,
    file_name: str = "",
    format_name: str | None = None,
    default_class: str = "",
    suite_classes: Mapping[str, str] | None = None,
    create_classes: bool = False,
    is_demo: bool = False,
) -> EvalImportResult:
    """Read one file and save every case, or raise and save none.

    The class of a case is its own, else `default_class`, else what `suite_classes` says of its suite. Raises
    EvalImportError (file, line or result, field, value, remedy) and audit.roles.Forbidden.
    """
    require(actor, Right.IMPORT_EVALS)
    name = file_name or path.name
    digest = _sha256(path)
    with connection.cursor() as cursor:  # a double click: the second waits here and then finds the first
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_EVALS_LOCK])
    earlier = EvalImport.objects.filter(sha256=digest).first()
    if earlier is not None:
        return _repeat(earlier, name)
    importer = importer_for(path, file_name=name, format_name=format_name)
    results = list(importer.read(path, file_name=name))
    if not results:
        raise EvalImportError(
            file=name, message="holds no results", remedy="Export the run again after it has finished."
        )
    by_class = _by_class(results, name, default_class, suite_classes or {})
    classes = _registered(by_class, name, create=create_classes, actor=actor, as_of=as_of)
    row = EvalImport.objects.create(
        file_name=name,
        sha256=digest,
        format=importer.name,
        imported_by_id=actor.pk if actor is not None else None,
        imported_at=as_of,
        cases=len(results),
        left_out=sum(result.score is None for result in results),
    )
    for slug, members in by_class.items():
        _save_runs(row, classes[slug], members)
    outcome = EvalImportResult(
        import_id=row.pk,
        file_name=name,
        format=row.format,
        cases=row.cases,
        left_out=row.left_out,
        classes=tuple(sorted(by_class)),
        models=tuple(sorted({result.candidate for result in results})),
        is_repeat=False,
    )
    audit.record(
        actor=actor,
        action="evals.imported",
        object_type="eval_import",
        object_id=row.pk,
        object_label=name,
        after={"cases": row.cases, "left_out": row.left_out, "classes": outcome.classes, "models": outcome.models},
        as_of=as_of,
        is_demo=is_demo,
    )
    return outcome


def _repeat(earlier: EvalImport, name: str) -> EvalImportResult:
    classes = earlier.runs.values_list("request_class__slug", flat=True).distinct()
    models = EvalCase.objects.filter(run__eval_import=earlier).values_list("model", flat=True).distinct()
    return EvalImportResult(
        import_id=earlier.pk,
        file_name=name,
        format=earlier.format,
        cases=earlier.cases,
        left_out=earlier.left_out,
        classes=tuple(sorted(classes)),
        models=tuple(sorted(models)),
        is_repeat=True,
        earlier_at=earlier.imported_at,
    )


def _by_class(
    results: list[CaseResult], file: str, default_class: str, suite_classes: Mapping[str, str]
) -> dict[str, list[CaseResult]]:
    grouped: dict[str, list[CaseResult]] = defaultdict(list)
    homeless: set[str] = set()
    for result in results:
        slug = result.request_class or default_class or suite_classes.get(result.suite, "")
        if slug:
            grouped[slug].append(result)
        else:
            homeless.add(result.suite)
    if homeless:
        suites = ", ".join(sorted(homeless))
        raise EvalImportError(
            file=file,
            field="request_class",
            message=f"no class is named for the cases of suite {suites}",
            remedy="Add request_class to the cases' metadata, choose a class for the whole file (--class), or map the "
            "suite to a class (--map).",
        )
    return dict(grouped)


def _registered(
    slugs: Mapping[str, object], file: str, *, create: bool, actor: AbstractBaseUser | None, as_of: datetime
) -> dict[str, RequestClass]:
    known = {row.slug: row for row in RequestClass.objects.filter(slug__in=list(slugs))}
    missing = sorted(set(slugs) - set(known))
    if missing and not create:
        raise EvalImportError(
            file=file,
            field="request_class",
            value=", ".join(missing),
            message="no such class is registered",
            remedy="Register it on the Classes page, or let the import do so with the default bar (--create-classes).",
        )
    for slug in missing:
        known[slug] = save_class(actor=actor, slug=slug, facts={"title": slug}, as_of=as_of)
    return known


def _save_runs(row: EvalImport, request_class: RequestClass, results: list[CaseResult]) -> None:
    runs: dict[tuple[str, str], list[CaseResult]] = defaultdict(list)
    for result in results:
        runs[result.suite, result.suite_version].append(result)
    for (suite, suite_version), members in runs.items():
        run = EvalRun.objects.create(
            eval_import=row,
            request_class=request_class,
            suite=suite,
            suite_version=suite_version,
            run_at=max(result.run_at for result in members),
        )
        EvalCase.objects.bulk_create((_case(run, result) for result in members), batch_size=_BATCH)


def _case(run: EvalRun, result: CaseResult) -> EvalCase:
    return EvalCase(
        run=run,
        sample_id=result.sample_id,
        repeat=result.repeat,
        prompt_version=result.prompt_version,
        model=result.candidate,
        model_raw=result.candidate_raw,
        run_at=result.run_at,
        score=result.score,
        error=result.error,
        uncached_input_tok=result.uncached_input_tok,
        cache_read_tok=result.cache_read_tok,
        cache_write_5m_tok=result.cache_write_5m_tok,
        cache_write_1h_tok=result.cache_write_1h_tok,
        output_tok=result.output_tok,
        cost_usd=result.cost_usd,
        latency_ms=result.latency_ms,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
