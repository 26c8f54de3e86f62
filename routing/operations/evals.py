"""Import eval results: a whole file or nothing (or its good rows, on request). No prompt and no answer is kept."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction

from audit import operations as audit
from audit.roles import Right, require
from routing.core.evidence import CaseResult
from routing.importers import About, EvalImportError, ReadOptions, RejectedRow, importer_for
from routing.models import EvalCase, EvalImport, EvalRun, EvalSuiteRule, RequestClass
from routing.operations.classes import ClassRefused, save_class
from routing.operations.eval_parts import write_parts
from routing.operations.evidence_changed import evidence_changed
from routing.queries.evidence import names_held

_EVALS_LOCK = 0x6576616C
_BATCH = 5_000
_MOST_REJECTED_KEPT = 200
_CLOCK_SKEW = timedelta(days=1)  # the machine that ran the evals may be in another zone and write no offset
_COUNTED_ID = re.compile(r"(.+)#\d+")
_CASE_FIELDS = (
    "sample_id",
    "repeat",
    "prompt_version",
    "model",
    "model_raw",
    "run_at",
    "score",
    "error",
    "uncached_input_tok",
    "cache_read_tok",
    "cache_write_5m_tok",
    "cache_write_1h_tok",
    "output_tok",
    "cost_usd",
    "latency_ms",
    "mode",
    "graded_score",
    "attempts",
)


@dataclass(frozen=True, slots=True)
class EvalImportResult:
    """What one file brought. `is_repeat`: the same bytes were imported before, nothing changed.

    `cases` were saved; `duplicates` were identical to results already saved from another file; `rejected` could not be
    read (only where the good rows were asked for). `warnings` are for the person who imports.
    """

    import_id: int
    file_name: str
    format: str
    cases: int
    left_out: int
    duplicates: int
    rejected: int
    rejected_rows: tuple[str, ...]
    classes: tuple[str, ...]
    models: tuple[str, ...]
    warnings: tuple[str, ...]
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
    options: ReadOptions | None = None,
    suite_classes: Mapping[str, str] | None = None,
    create_classes: bool = False,
    good_rows: bool = False,
    is_demo: bool = False,
) -> EvalImportResult:
    """Read one file and save every result, or raise and save none; with `good_rows` bad rows are listed, not saved.

    The class of a result is its own, else that of `options` (the file wins), else what `suite_classes` says of its
    suite, else the first rule of `EvalSuiteRule` that matches it. The same bytes twice change nothing. Raises
    EvalImportError (file, line or result, field, value, remedy) and audit.roles.Forbidden.
    """
    require(actor, Right.IMPORT_EVALS)
    name = file_name or path.name
    digest = _sha256(path)
    with connection.cursor() as cursor:  # a double click: the second waits here and then finds the first
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_EVALS_LOCK])
    earlier = EvalImport.objects.filter(sha256=digest).exclude(state=EvalImport.State.FAILED).first()
    if earlier is not None:
        return _repeat(earlier, name)
    about = About()
    try:
        said = replace(options or ReadOptions(), file_name=name)
        format_read, results, rejected = _read(path, format_name, said, about, as_of, good_rows=good_rows)
        by_class = _by_class(results, suite_classes or {})
        classes = _registered(by_class, create=create_classes, actor=actor, as_of=as_of, is_demo=is_demo)
    except EvalImportError as error:  # an upload lies under a name of ours: say the user's
        raise error.at(file=name, line=error.line, where=error.where) from error
    row = EvalImport.objects.create(
        file_name=name[:255],
        sha256=digest,
        format=format_read,
        imported_by_id=actor.pk if actor is not None else None,
        imported_at=as_of,
        rejected=len(rejected),
        rejected_rows=[str(error.at(file=name, line=error.line, where=error.where)) for error in rejected][
            :_MOST_REJECTED_KEPT
        ],
    )
    saved: list[CaseResult] = []
    for slug, members in by_class.items():
        new = _new_of(classes[slug], members)
        _save_runs(row, classes[slug], new, tool=about.tool)
        saved += new
    row.cases, row.left_out = len(saved), sum(result.score is None for result in saved)
    row.duplicates = len(results) - len(saved)
    row.save()
    outcome = EvalImportResult(
        import_id=row.pk,
        file_name=name,
        format=row.format,
        cases=row.cases,
        left_out=row.left_out,
        duplicates=row.duplicates,
        rejected=row.rejected,
        rejected_rows=tuple(row.rejected_rows),
        classes=tuple(sorted(by_class)),
        models=tuple(sorted({result.candidate for result in results})),
        warnings=(*about.warnings, *_warnings(results)),
        is_repeat=False,
    )
    evidence_changed(slugs=outcome.classes, as_of=as_of, eval_import=row)
    audit.record(
        actor=actor,
        action="evals.imported",
        object_type="eval_import",
        object_id=row.pk,
        object_label=name,
        after={
            "sha256": digest,
            "format": row.format,
            "cases": row.cases,
            "left_out": row.left_out,
            "duplicates": row.duplicates,
            "rejected": row.rejected,
            "classes": outcome.classes,
            "models": outcome.models,
        },
        as_of=as_of,
        is_demo=is_demo,
    )
    return outcome


def _read(
    path: Path, format_name: str | None, options: ReadOptions, about: About, as_of: datetime, *, good_rows: bool
) -> tuple[str, list[CaseResult], list[EvalImportError]]:
    """Name of the format, the results, and the errors of bad rows. Raises the first of them unless `good_rows`."""
    importer = importer_for(path, format_name, options)
    results: list[CaseResult] = []
    rejected: list[EvalImportError] = []
    latest = as_of + _CLOCK_SKEW
    named = names_held()
    for row in importer.read(path, options, about):
        error = row.error if isinstance(row, RejectedRow) else _too_late(row, latest)
        if error is None:
            assert isinstance(row, CaseResult)
            model = named(row.candidate_raw, row.candidate)
            results.append(row if model == row.candidate else replace(row, candidate=model))
        elif good_rows:
            rejected.append(error)
        else:
            raise error
    if not results:
        problem = "holds no result" if not rejected else f"holds no good row ({len(rejected):,} bad ones)"
        raise EvalImportError(problem, remedy="Export the run again after it has finished")
    return importer.name, results, rejected


def _too_late(result: CaseResult, latest: datetime) -> EvalImportError | None:
    """A case from the future would be saved and then count nowhere: refused instead."""
    if result.run_at <= latest:
        return None
    return EvalImportError(
        "is in the future",
        remedy="Correct the time of the run (UTC) or the clock of the machine that ran it",
        field="run_at",
        value=result.run_at.isoformat(),
    ).at(file="", where=f"case {result.sample_id} on {result.candidate_raw or result.candidate}")


def _repeat(earlier: EvalImport, name: str) -> EvalImportResult:
    classes = earlier.runs.values_list("request_class__slug", flat=True).distinct()
    models = EvalCase.objects.filter(run__eval_import=earlier).values_list("model", flat=True).distinct()
    return EvalImportResult(
        import_id=earlier.pk,
        file_name=name,
        format=earlier.format,
        cases=earlier.cases,
        left_out=earlier.left_out,
        duplicates=earlier.duplicates,
        rejected=earlier.rejected,
        rejected_rows=tuple(earlier.rejected_rows),
        classes=tuple(sorted(classes)),
        models=tuple(sorted(models)),
        warnings=(),
        is_repeat=True,
        earlier_at=earlier.imported_at,
    )


def _by_class(results: Iterable[CaseResult], suite_classes: Mapping[str, str]) -> dict[str, list[CaseResult]]:
    grouped: dict[str, list[CaseResult]] = defaultdict(list)
    homeless: set[str] = set()
    by_suite = _ClassOfSuite(suite_classes)
    for result in results:
        slug = result.request_class or by_suite(result.suite)
        if slug:
            grouped[slug].append(replace(result, request_class=slug) if not result.request_class else result)
        else:
            homeless.add(result.suite)
    if homeless:
        suites = ", ".join(sorted(homeless))
        raise EvalImportError(
            f"no class is named for the cases of suite {suites}",
            remedy="Add request_class to the cases, choose a class for the whole file (--class), or map the suite to "
            "a class (--map)",
            field="request_class",
        )
    return dict(grouped)


class _ClassOfSuite:
    """The class of a suite: what the person says, else the first rule whose pattern matches; '' = none."""

    def __init__(self, said: Mapping[str, str]) -> None:
        rules = EvalSuiteRule.objects.select_related("request_class")
        # Only * and ? are special in a rule: names of suites may hold brackets.
        self._rules = [(row.pattern.replace("[", "[[]"), row.request_class.slug) for row in rules]
        self._known = dict(said)

    def __call__(self, suite: str) -> str:
        if suite not in self._known:
            matching = (slug for pattern, slug in self._rules if fnmatchcase(suite, pattern))
            self._known[suite] = next(matching, "")
        return self._known[suite]


def _registered(
    slugs: Iterable[str], *, create: bool, actor: AbstractBaseUser | None, as_of: datetime, is_demo: bool
) -> dict[str, RequestClass]:
    wanted = set(slugs)
    known = {row.slug: row for row in RequestClass.objects.filter(slug__in=wanted)}
    missing = sorted(wanted - set(known))
    if missing and not create:
        raise EvalImportError(
            "no class of this id is registered",
            remedy="Register it on the Classes page, or let the import do so with the default bar (--create-classes)",
            field="request_class",
            value=", ".join(missing),
        )
    for slug in missing:
        try:
            known[slug] = save_class(actor=actor, slug=slug, facts={"title": slug}, as_of=as_of, is_demo=is_demo)
        except ClassRefused as refused:
            raise EvalImportError(
                f"cannot be registered ({str(refused).rstrip('.')})",
                remedy="Correct the id in the source, or map the suite to a class (--map)",
                field="request_class",
                value=slug,
            ) from refused
    return known


def _new_of(request_class: RequestClass, results: list[CaseResult]) -> list[CaseResult]:
    """Results that are not saved yet: a growing export repeats old rows, which are no repeats of the runs themselves.

    Only rows equal in every value are the same; as many are skipped as are saved, so true repeats in one file stay.
    """
    times = [result.run_at for result in results]
    saved = Counter(
        EvalCase.objects.filter(run__request_class=request_class, run_at__gte=min(times), run_at__lte=max(times))
        .values_list("run__suite", "run__suite_version", *_CASE_FIELDS)
        .iterator(chunk_size=_BATCH)
    )
    if not saved:
        return results
    new = []
    for result in results:
        key = (result.suite, result.suite_version, *_values(result).values())
        if saved[key] > 0:
            saved[key] -= 1
        else:
            new.append(result)
    return new


def _save_runs(row: EvalImport, request_class: RequestClass, results: list[CaseResult], *, tool: str) -> None:
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
            tool=tool[:128],
            results=len(members),
            left_out=sum(result.score is None for result in members),
        )
        EvalCase.objects.bulk_create((EvalCase(run=run, **_values(result)) for result in members), batch_size=_BATCH)
        write_parts([run.pk])


def _values(result: CaseResult) -> dict[str, Any]:
    """Columns of EvalCase, in the order of `_CASE_FIELDS`."""
    return {
        field: getattr(result, {"model": "candidate", "model_raw": "candidate_raw"}.get(field, field))
        for field in _CASE_FIELDS
    }


def _warnings(results: list[CaseResult]) -> tuple[str, ...]:
    """Ids that count runs make one case look like many. They are never cut here: the person is told instead."""
    ids = {(result.suite, result.sample_id) for result in results}
    stems = {
        (suite, counted[1]) for suite, sample_id in ids if (counted := _COUNTED_ID.fullmatch(sample_id)) is not None
    }
    counted_ids = sum(_COUNTED_ID.fullmatch(sample_id) is not None for _, sample_id in ids)
    if not stems or counted_ids < 2 * len(stems):
        return ()
    return (
        f"{counted_ids:,} sample ids end in a number after '#' and share {len(stems):,} beginnings. Each id counts as "
        "a case of its own. If the numbers count repeats of one test, write them into the column 'repeat' and import "
        "again: a repeat is no new evidence.",
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
