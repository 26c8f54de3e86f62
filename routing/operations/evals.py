"""Import eval results: a whole file or nothing (or its good rows, on request). No prompt and no answer is kept.

Results are written while they are read, so that a file of a million cases needs no more memory than a small one; the
transaction makes it whole or nothing. What waits for a worker is in `eval_queue`.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.core.periods import EARLIEST
from routing.core.evidence import CaseResult
from routing.importers import NO_OPTIONS, About, EvalImportError, ReadOptions, RejectedRow, importer_for
from routing.importers.bad_rows import BadRow, BadRows, EvalRowsRefused
from routing.models import EvalImport, EvalRunPart
from routing.operations.eval_classes import ClassesOfFile, Registering
from routing.operations.eval_findings import flag_runs
from routing.operations.eval_writing import BATCH, CaseWriter
from routing.operations.evidence_changed import evidence_changed
from routing.operations.judging_lock import lock_judging
from routing.queries.evidence import names_held

_EVALS_LOCK = 0x6576616C
_MOST_IDS_REMEMBERED = 100_000
_CLOCK_SKEW = timedelta(days=1)  # the machine that ran the evals may be in another zone and write no offset
_COUNTED_ID = re.compile(r"(.+)#\d+")
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class EvalImportResult:
    """What one file brought. `is_repeat`: the same bytes were imported before, nothing changed.

    `cases` were saved; `duplicates` were identical to results already saved from another file; `rejected` could not be
    read (only where the good rows were asked for; the first 200 are in `rejected_rows`). `warnings` are for the person
    who imports. `findings`: what looks broken about its runs. `state` "queued" or "running": a worker reads the file,
    and the figures are not known yet; "failed": `problem` says why.
    """

    import_id: int
    file_name: str
    format: str
    cases: int
    left_out: int
    duplicates: int
    rejected: int
    rejected_rows: tuple[BadRow, ...]
    classes: tuple[str, ...]
    models: tuple[str, ...]
    warnings: tuple[str, ...]
    is_repeat: bool
    earlier_at: datetime | None = None
    findings: tuple[str, ...] = ()
    state: str = "done"
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What whoever imports a file says of it."""

    format_name: str | None = None
    options: ReadOptions = NO_OPTIONS
    suite_classes: Mapping[str, str] | None = None
    create_classes: bool = False
    good_rows: bool = False


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
    EvalImportError (file, line or result, field, value, remedy; EvalRowsRefused for several bad rows) and
    audit.roles.Forbidden.
    """
    require(actor, Right.IMPORT_EVALS)
    name = file_name or path.name
    digest = sha256_of(path)
    lock_imports()
    earlier = same_bytes(digest)
    if earlier is not None and earlier.state != EvalImport.State.DELETED:
        return result_of(earlier, file_name=name, is_repeat=True)
    row = entry_of(earlier, digest, file_name=name, path=path, actor=actor, as_of=as_of)
    row.state, row.started_at, row.finished_at = EvalImport.State.DONE, as_of, as_of
    for field, empty in NOT_DELETED.items():
        setattr(row, field, empty)
    row.save()
    said = Said(format_name, options or ReadOptions(), suite_classes, create_classes, good_rows)
    return save_file(row, actor=actor, path=path, said=said, as_of=as_of, is_demo=is_demo)


def save_file(
    row: EvalImport,
    *,
    actor: AbstractBaseUser | None,
    path: Path,
    said: Said,
    as_of: datetime,
    is_demo: bool = False,
    progress: Progress | None = None,
) -> EvalImportResult:
    """Everything one file brings, in the transaction the caller holds. `progress` is told the results read so far."""
    if said.create_classes:  # the audit entry of a new class holds the data version until the commit
        lock_judging()
    name = row.file_name
    about = About()
    classes = ClassesOfFile(said.suite_classes or {}, Registering(said.create_classes, actor, as_of, is_demo))
    writer = CaseWriter(row, classes.is_live)
    try:
        importer = importer_for(path, said.format_name, replace(said.options, file_name=name))
        reading = _Reading(writer, classes, name, as_of, good_rows=said.good_rows, progress=progress)
        reading.read(importer.read(path, replace(said.options, file_name=name), about))
    except EvalRowsRefused:
        raise
    except EvalImportError as error:  # an upload lies under a name of ours: say the user's
        raise error.at(file=name, line=error.line, where=error.where) from error
    writer.tool = about.tool
    runs = writer.finish()
    findings = flag_runs(runs, as_of=as_of)
    if progress is not None:
        progress(writer.read)
    brought = [run.pk for run in runs]
    results, left_out = sum(run.results for run in runs), sum(run.left_out for run in runs)
    evidence_changed(slugs=sorted({run.request_class.slug for run in runs}), as_of=as_of, eval_import=row)
    row.format, row.cases, row.left_out = importer.name, results, left_out
    row.duplicates, row.rejected = writer.read - results, reading.bad.count
    row.rejected_rows = [bad.as_document() for bad in reading.bad.rows]
    row.warnings = [*about.warnings, *reading.warnings]
    # Not its state: a waiting import may have been cancelled while this was read.
    row.save(
        update_fields=["format", "cases", "left_out", "duplicates", "rejected", "rejected_rows", "warnings"]
    )  # fmt: skip
    outcome = replace(
        result_of(row, file_name=name),
        classes=tuple(sorted(classes.slugs)),
        models=tuple(sorted(reading.models)),
        findings=findings,
    )
    audit.record(
        actor=actor,
        action="evals.imported",
        object_type="eval_import",
        object_id=row.pk,
        object_label=name,
        after={
            "sha256": row.sha256,
            "format": row.format,
            "cases": row.cases,
            "left_out": row.left_out,
            "duplicates": row.duplicates,
            "rejected": row.rejected,
            "classes": outcome.classes,
            "models": outcome.models,
            "runs": brought[:100],
            "findings": list(findings),
        },
        as_of=as_of,
        is_demo=is_demo,
    )
    return outcome


class _Reading:
    """Takes a reader's rows: good ones are written, bad ones are listed, and refuse the file unless that is wanted."""

    def __init__(
        self,
        writer: CaseWriter,
        classes: ClassesOfFile,
        file: str,
        as_of: datetime,
        *,
        good_rows: bool,
        progress: Progress | None,
    ) -> None:
        self.writer = writer
        self.classes = classes
        self.latest = as_of + _CLOCK_SKEW
        self.good_rows = good_rows
        self.progress = progress
        self.bad = BadRows(file)
        self.models: set[str] = set()
        self._counted: set[tuple[str, str]] = set()
        self._stems: set[tuple[str, str]] = set()

    def read(self, rows: Iterable[CaseResult | RejectedRow]) -> None:
        """Raises EvalImportError for bad rows (unless the good ones are asked for), an empty file, unknown classes.

        A file with a bad row is read to its end, so that whoever mends it learns of every one.
        """
        try:
            self._read(rows)
            self.classes.check()
        except EvalImportError as error:
            if self.good_rows or not self.bad.count:
                raise
            self.bad.add(error)  # the rows before were bad already: say both
        if self.bad.count and not self.good_rows:
            raise self.bad.refusal

    def _read(self, rows: Iterable[CaseResult | RejectedRow]) -> None:
        named, found = names_held(), 0
        for row in rows:
            error = row.error if isinstance(row, RejectedRow) else _implausible(row, self.latest)
            if error is not None:
                self.bad.add(error)
                continue
            assert isinstance(row, CaseResult)
            found += 1
            request_class = self.classes.of(row)
            model = named(row.candidate_raw, row.candidate)
            self.models.add(model)
            if "#" in row.sample_id:
                self._remember(row)
            if request_class is not None and (self.good_rows or not self.bad.count):
                self.writer.add(row, model, request_class)
            if self.progress is not None and not found % BATCH:
                self.progress(found)
        if not found and (self.good_rows or not self.bad.count):
            bad = self.bad.count
            problem = "holds no result" if not bad else f"holds no good row ({bad:,} bad ones)"
            raise EvalImportError(problem, remedy="Export the run again after it has finished")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Ids that count runs make one case look like many. They are never cut: the person is told instead."""
        if not self._stems or len(self._counted) < 2 * len(self._stems):
            return ()
        return (
            f"{len(self._counted):,} sample ids end in a number after '#' and share {len(self._stems):,} beginnings. "
            "Each id counts as a case of its own. If the numbers count repeats of one test, write them into the column "
            "'repeat' and import again: a repeat is no new evidence.",
        )

    def _remember(self, row: CaseResult) -> None:
        counted = _COUNTED_ID.fullmatch(row.sample_id)
        if counted is not None and len(self._counted) < _MOST_IDS_REMEMBERED:
            self._counted.add((row.suite, row.sample_id))
            self._stems.add((row.suite, counted[1]))


def result_of(row: EvalImport, *, file_name: str, is_repeat: bool = False) -> EvalImportResult:
    """What an import brought, as it is kept."""
    classes = row.runs.values_list("request_class__slug", flat=True).distinct() if is_repeat else ()
    models = EvalRunPart.objects.filter(run__eval_import=row).values_list("model", flat=True).distinct()
    return EvalImportResult(
        import_id=row.pk,
        file_name=file_name,
        format=row.format,
        cases=row.cases,
        left_out=row.left_out,
        duplicates=row.duplicates,
        rejected=row.rejected,
        rejected_rows=tuple(BadRow.kept(bad) for bad in row.rejected_rows),
        classes=tuple(sorted(classes)),
        models=tuple(sorted(models)) if is_repeat else (),
        warnings=() if is_repeat else tuple(row.warnings),
        is_repeat=is_repeat,
        earlier_at=row.imported_at if is_repeat else None,
        state=row.state,
        problem=row.problem,
    )


NOT_DELETED: Mapping[str, Any] = {
    "deleted_at": None, "deleted_by_id": None, "deletion_reason": "", "deleted_runs": [],
}  # fmt: skip


def entry_of(
    earlier: EvalImport | None,
    digest: str,
    *,
    file_name: str,
    path: Path,
    actor: AbstractBaseUser | None,
    as_of: datetime,
) -> EvalImport:
    """The entry of a file that is imported now, not saved yet: a new one, or that of the same bytes whose results were
    deleted. The order of imports decides which score of a case counts, and a file keeps its place in it."""
    row = (
        EvalImport(sha256=digest)
        if earlier is None
        else EvalImport.objects.select_for_update(no_key=True).get(pk=earlier.pk)
    )
    row.file_name = file_name[:255]
    row.size_bytes = path.stat().st_size
    row.imported_by_id = actor.pk if actor is not None else None
    row.imported_at = as_of
    row.problem, row.attempts = "", 0
    return row


def lock_imports() -> None:
    """One import at a time: a double click's second waits here and then finds the first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_EVALS_LOCK])


def same_bytes(digest: str) -> EvalImport | None:
    """The import of the same bytes that stands, or waits or runs, or whose results were deleted."""
    over = [EvalImport.State.FAILED, EvalImport.State.CANCELLED]
    return EvalImport.objects.filter(sha256=digest).exclude(state__in=over).first()


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _implausible(result: CaseResult, latest: datetime) -> EvalImportError | None:
    """A case from the future, or from before there was Claude, would be saved and count nowhere: refused instead."""
    if EARLIEST <= result.run_at <= latest:
        return None
    is_old = result.run_at < EARLIEST
    return EvalImportError(
        f"is before {EARLIEST.year}, when there was no Claude to ask" if is_old else "is in the future",
        remedy="Correct the time of the run (UTC) or the clock of the machine that ran it",
        field="run_at",
        value=result.run_at.isoformat(),
    ).at(file="", where=f"case {result.sample_id} on {result.candidate_raw or result.candidate}")
