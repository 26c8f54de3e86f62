"""Import usage: a file becomes request-level rows, hourly and daily roll-ups, whole or not at all.

queued → running → done | failed | cancelled. A running import holds a PostgreSQL advisory lock on a connection of its
own: when the worker dies the lock goes with it, and the import may be queued again.
"""

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import psycopg
from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.core.models import canonical_model
from billing.core.usage import COUNTERS
from billing.importers.base import (
    PROBLEMS_SHOWN,
    ImportRefused,
    Problem,
    Report,
    RequestFormat,
    compression_of,
    each_record,
)
from billing.importers.usage_formats import BUCKET_FORMATS, REQUEST_FORMATS, identify
from billing.models import USAGE_KEY_FIELDS, Import, ModelRelease, Price, UsageSource
from billing.operations.rollups import recount_days, replace_hours
from billing.queries.imports import incoming_folder, model_aliases, request_store, stored_imports
from billing.store import (
    NO_PLAN,
    ClassifyPlan,
    Conflict,
    Engine,
    RequestStore,
    StageFailed,
    StoredImport,
)

RUN_LOCK: Final = 0x636F7374  # advisory lock space of running imports; the second number is the import's id
MERGE_LOCK: Final = 0x75736167  # one import at a time compares itself with what is stored
_DEFAULT_SOURCE: Final = {
    "messages_api_log": "Request logs",
    "litellm_payload": "LiteLLM",
    "anthropic_admin_usage": "Anthropic usage report",
}
FINDINGS_SHOWN: Final = 20


class ImportBusy(Exception):
    """Another process is running this import."""


@dataclass(frozen=True, slots=True)
class ImportOutcome:
    """What an import brought. `is_repeat`: the same bytes were imported before, nothing changed."""

    import_id: int
    file_name: str
    state: str
    format: str = ""
    source: str = ""
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    failed_requests: int = 0
    period_start: datetime | None = None
    period_end: datetime | None = None
    findings: tuple[str, ...] = ()
    problems: tuple[Mapping[str, Any], ...] = ()
    error: str = ""
    is_repeat: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the user chose. An empty format is found out, an empty source is the format's usual one."""

    format: str = ""
    source: str = ""
    replace: bool = False
    good_rows: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {"format": self.format, "source": self.source, "replace": self.replace, "good_rows": self.good_rows}

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "ImportOptions":
        return cls(
            str(options.get("format") or ""),
            str(options.get("source") or ""),
            bool(options.get("replace")),
            bool(options.get("good_rows")),
        )


def start_import(
    *,
    actor: AbstractBaseUser | None,
    upload: IO[bytes],
    file_name: str,
    as_of: datetime,
    options: ImportOptions | None = None,
    enqueue: Callable[[int], None],
) -> ImportOutcome:
    """Save an uploaded file and queue its import; `enqueue(import id)` is called after the commit.

    The same bytes imported, queued or running already give that import back and start nothing. Raises Forbidden.
    """
    require(actor, Right.IMPORT_USAGE)
    path, digest, size = _save_upload(upload)
    kept = False
    try:
        with transaction.atomic():
            _lock_bytes(digest)
            held = _same_bytes(digest, unfinished=True)
            if held is not None:
                return _repeat(held, file_name)
            row = _create(
                actor, file_name, digest, size, as_of, options or ImportOptions(), path=path, state=Import.State.QUEUED
            )
            transaction.on_commit(lambda: enqueue(row.pk))
        kept = True
        return _outcome(row, message="Queued.")
    finally:
        if not kept:
            path.unlink(missing_ok=True)


def import_file(
    *,
    actor: AbstractBaseUser | None,
    path: Path,
    as_of: datetime,
    options: ImportOptions | None = None,
    plan: ClassifyPlan = NO_PLAN,
    file_name: str = "",
    is_demo: bool = False,
) -> ImportOutcome:
    """Import a file now; the file stays where it is. Raises ImportRefused (only the refusal is saved), Forbidden."""
    require(actor, Right.IMPORT_USAGE)
    name = file_name or path.name
    if not path.is_file():
        raise ImportRefused.because(name, "there is no such file", "Check the path")
    digest, size = _digest(path)
    with transaction.atomic():
        _lock_bytes(digest)
        held = _same_bytes(digest, unfinished=False)
        if held is not None:
            return _repeat(held, name)
        row = _create(
            actor, name, digest, size, as_of, options or ImportOptions(), path=None, state=Import.State.RUNNING
        )
    return run_import(import_id=row.pk, as_of=as_of, plan=plan, path=path, is_demo=is_demo)


def run_import(
    *, import_id: int, as_of: datetime, plan: ClassifyPlan = NO_PLAN, path: Path | None = None, is_demo: bool = False
) -> ImportOutcome:
    """Carry out a queued import; safe to call again. Raises ImportBusy (it is running), ImportRefused."""
    with _held_lock(import_id) as side:
        row = Import.objects.select_related("source", "created_by").get(pk=import_id)
        if row.is_finished:
            return _outcome(row, message="Finished before; nothing was done.")
        source_path = path or Path(row.file_path)
        Import.objects.filter(pk=import_id).update(
            state=Import.State.RUNNING, started_at=as_of, attempts=row.attempts + 1, progress_share=0.01, error=""
        )
        run = _Run(row, ImportOptions.of(row.options), source_path, as_of, plan, side, is_demo)
        try:
            if not source_path.is_file():
                raise ImportRefused.because(
                    row.file_name, "the waiting file is gone (the import was interrupted)", "Import the file again"
                )
            return run.carry_out()
        except ImportRefused as refusal:
            run.refuse(refusal)
            raise
        except Exception as error:
            # The page must show an end; the task's own error, with its trace, goes to the log.
            run.refuse(
                ImportRefused.because(
                    row.file_name,
                    f"stopped by an internal error ({type(error).__name__})",
                    "See the worker's log, then try again",
                )
            )
            raise
        finally:
            if row.file_path:
                Path(row.file_path).unlink(missing_ok=True)


def unfinished_imports() -> list[int]:
    """Queued or running imports that nobody works on: their advisory lock is free."""
    ids = list(
        Import.objects.filter(kind="usage", state__in=[Import.State.QUEUED, Import.State.RUNNING])
        .order_by("pk")
        .values_list("pk", flat=True)
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT objid::int8 FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2 "
            "AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [RUN_LOCK],
        )
        held = {row[0] for row in cursor.fetchall()}
    return [pk for pk in ids if pk not in held]


def cancel_import(*, actor: AbstractBaseUser | None, import_id: int, as_of: datetime) -> bool:
    """Cancel an import that waits. False when it runs or has ended. Raises Forbidden."""
    require(actor, Right.IMPORT_USAGE)
    with transaction.atomic():
        row = Import.objects.select_for_update().get(pk=import_id)
        if row.state != Import.State.QUEUED:
            return False
        if row.file_path:
            Path(row.file_path).unlink(missing_ok=True)
        row.state, row.finished_at, row.file_path, row.progress_note = Import.State.CANCELLED, as_of, "", "Cancelled"
        row.save(update_fields=["state", "finished_at", "file_path", "progress_note"])
        audit.record(
            actor=actor,
            action="usage.import_cancelled",
            object_type="import",
            object_id=row.pk,
            object_label=row.file_name,
            as_of=as_of,
        )
    return True


@dataclass
class _Run:
    """One attempt at one import."""

    row: Import
    options: ImportOptions
    path: Path
    as_of: datetime
    plan: ClassifyPlan
    side: psycopg.Connection[Any]
    is_demo: bool
    begun: float = field(default_factory=time.monotonic)
    problems: list[Problem] = field(default_factory=list)
    rejected: int = 0

    def carry_out(self) -> ImportOutcome:
        fmt, head = identify(self.path, file_name=self.row.file_name, format_name=self.options.format)
        bucketed = next((item for item in BUCKET_FORMATS if item is fmt), None)
        source = _source(self.options.source or _DEFAULT_SOURCE[fmt.name], bucketed is None, self.row.file_name)
        self.row.source, self.row.format = source, fmt.name
        aliases = model_aliases()

        def canonical(raw: str) -> str:
            return canonical_model(raw, aliases).model

        if bucketed is not None:
            self.progress(0.1, "Reading the report")
            report = bucketed.read(self.path, file_name=self.row.file_name, canonical=canonical)
            self.lock_merge()
            return self.save_report(source, report)
        store = request_store()
        with store.engine(f"import-{self.row.pk}") as engine:
            self.read_requests(engine, next(item for item in REQUEST_FORMATS if item is fmt), source, head.is_lines)
            self.progress(0.55, "Looking for requests stored before")
            self.lock_merge()
            return self.save_requests(engine, store, source, canonical)

    # --- request-level ---

    def read_requests(self, engine: Engine, fmt: RequestFormat, source: UsageSource, is_lines: bool) -> None:
        self.progress(0.05, "Reading the file")
        if is_lines:
            with contextlib.suppress(StageFailed), self.watched(engine, 0.05, 0.5, "Reading the file"):
                staged = engine.stage(fmt, self.path, compression_of(self.path), channel=source.channel)
                if staged.bad == 0 and staged.rows:
                    return
        self.progress(0.1, "Reading the file row by row")
        clean = engine.folder / "good.jsonl"
        self.write_good_rows(fmt, clean, is_lines)
        if self.rejected and not self.options.good_rows:
            raise ImportRefused(self.row.file_name, self.problems, self.rejected)
        try:
            staged = engine.stage(fmt, clean, "none", channel=source.channel)
        except StageFailed as error:
            raise self.unreadable() from error
        if staged.bad:
            raise self.unreadable()
        if not staged.rows:
            if self.problems:
                raise ImportRefused(self.row.file_name, self.problems, self.rejected)
            raise ImportRefused.because(self.row.file_name, "the file holds no requests", "Check what was exported")

    def unreadable(self) -> ImportRefused:
        return ImportRefused.because(
            self.row.file_name,
            "some rows could not be read, for a reason not foreseen",
            "Report this with the row's shape",
        )

    def write_good_rows(self, fmt: RequestFormat, target: Path, is_lines: bool) -> None:
        """The slow path: name what is wrong in each bad row; write the good ones with nothing but the needed fields."""
        with target.open("w", encoding="utf-8") as out:
            os.chmod(target, 0o600)
            for line, record in each_record(self.path, self.row.file_name, is_lines=is_lines):
                if isinstance(record, Problem):
                    found: tuple[Problem, ...] = (record,)
                elif not isinstance(record, dict):
                    found = (Problem(line, "", "", "not a JSON object", "Write one request per line"),)
                else:
                    checked = fmt.check(record, line)
                    found = checked.problems
                    for item in checked.records:
                        out.write(json.dumps(item) + "\n")
                if found:
                    self.rejected += 1
                    if len(self.problems) < PROBLEMS_SHOWN:
                        self.problems += found

    def save_requests(
        self, engine: Engine, store: RequestStore, source: UsageSource, canonical: Callable[[str], str]
    ) -> ImportOutcome:
        existing = stored_imports(exclude=self.row.pk)
        duplicates, conflicts, count = engine.merge_duplicates(existing, replace=self.options.replace)
        if conflicts and not self.options.replace:
            raise ImportRefused(self.row.file_name, [_conflict_problem(item) for item in conflicts], count)
        self.progress(0.65, "Classifying and storing the requests")
        item = StoredImport(self.row.pk, 0)
        store.remove(item)
        written = [item]
        replaced: dict[StoredImport, StoredImport] = {}
        try:
            with self.watched(engine, 0.65, 0.85, "Classifying and storing the requests"):
                engine.write(item, source_id=source.pk, plan=self.plan, canonical=canonical)
            for old in existing:
                if old.import_id in engine.superseded_imports():
                    new = StoredImport(old.import_id, old.generation + 1)
                    store.remove(new)
                    engine.relabel(old, new, plan=self.plan, period=None, superseded=True)
                    replaced[old] = new
                    written.append(new)
            self.progress(0.88, "Summing up hours and days")
            summary = engine.summary(item)
            after = [replaced.get(one, one) for one in existing]
            hours = engine.hours_of([item, *replaced])
            with transaction.atomic():
                days: set[date] = set()
                for source_id, each in hours.items():
                    rows = engine.hourly([*after, item], source_id, each)
                    replace_hours(
                        source_id=source_id,
                        bucket_hours=1,
                        buckets=[_utc(hour) for hour in each],
                        rows=((_utc(hour), latest, *values) for hour, *values, latest in rows),
                    )
                    days |= {hour.date() for hour in each}
                for old, new in replaced.items():
                    _set_generation(old.import_id, new.generation)
                    transaction.on_commit(partial(store.remove, old))
                findings = self.findings_of(summary.models)
                if summary.split_assumed:
                    findings.append(
                        f"{summary.split_assumed} requests tell cache writes without their lifetime: "
                        "counted as 5-minute writes."
                    )
                if summary.gateway_cache_hits:
                    findings.append(
                        f"{summary.gateway_cache_hits} answers came from LiteLLM's own cache: "
                        "no tokens of the provider."
                    )
                if summary.unclassified:
                    findings.append(f"{summary.unclassified} requests have no class.")
                return self.finish(
                    days,
                    findings,
                    accepted=summary.rows,
                    duplicates=duplicates,
                    failed_requests=summary.failed,
                    period_start=_utc(summary.first) if summary.first else None,
                    period_end=_utc(summary.last) if summary.last else None,
                )
        except BaseException:
            for each_written in written:
                store.remove(each_written)
            raise

    # --- bucketed ---

    def save_report(self, source: UsageSource, report: Report) -> ImportOutcome:
        self.progress(0.5, "Saving the report")
        starts = sorted({bucket.period.start for bucket in report.buckets})
        sums: dict[tuple[Any, ...], list[int]] = {}
        for bucket in report.buckets:
            if bucket.counts.is_zero:
                continue
            key = {name: getattr(bucket.key, name) for name in USAGE_KEY_FIELDS}
            key["channel"] = source.channel
            key["request_class"] = self.plan.class_of_key(
                source.channel, bucket.key.workspace, bucket.key.api_key, bucket.period.start.date()
            )
            place = (bucket.period.start, *(key[name] for name in USAGE_KEY_FIELDS))
            held = sums.setdefault(place, [0] * len(COUNTERS))
            for i, name in enumerate(COUNTERS):
                held[i] += getattr(bucket.counts, name)
        with transaction.atomic():
            replace_hours(
                source_id=source.pk,
                bucket_hours=report.bucket_hours,
                buckets=starts,
                rows=((start, self.row.pk, *key, *counts, None, 0) for (start, *key), counts in sums.items()),
            )
            index = 1 + USAGE_KEY_FIELDS.index("model")
            tokens: dict[str, int] = {}
            for place, counts in sums.items():
                tokens[place[index]] = tokens.get(place[index], 0) + sum(counts)
            findings = [*report.findings, *self.findings_of(tuple((name, 0, n) for name, n in sorted(tokens.items())))]
            return self.finish(
                {start.date() for start in starts},
                findings,
                accepted=len(sums),
                duplicates=0,
                failed_requests=0,
                period_start=starts[0],
                period_end=starts[-1] + timedelta(hours=report.bucket_hours),
            )

    # --- the end ---

    def findings_of(self, models: tuple[tuple[str, int, int], ...]) -> list[str]:
        known = set(ModelRelease.objects.values_list("canonical_id", flat=True))
        priced = set(Price.objects.filter(approved_at__isnull=False).values_list("model", flat=True))
        findings = []
        for model, _, tokens in models:
            if not model or model.startswith("("):
                findings.append(f"{tokens:,} tokens name no model: import a report grouped by model, or logs with it.")
            elif model not in known and model not in priced:
                findings.append(
                    f"Unknown model {model} ({tokens:,} tokens): listed as unpriced. "
                    "Add its prices on the Prices page, or an alias to a known model."
                )
        return findings

    def finish(self, days: set[date], findings: list[str], **values: Any) -> ImportOutcome:
        row = self.row
        # The state goes first: the counting rule asks which formats a source's done imports have.
        row.state, row.progress_share, row.progress_note = Import.State.DONE, 1.0, "Done"
        row.file_path, row.rejected = "", self.rejected
        row.problems = [problem.as_dict() for problem in self.problems]
        row.finished_at = self.as_of + timedelta(seconds=time.monotonic() - self.begun)
        for name, value in values.items():
            setattr(row, name, value)
        row.save()
        excess = recount_days(days=days, class_of_key=self.plan.class_of_key)
        findings += [
            f"{day}: logs above the report for {item.model or 'all models'}, {item.counter}: {item.logged:,} logged, "
            f"{item.reported:,} reported (workspace {item.workspace or 'any'}, API key {item.api_key or 'any'})."
            for day, item in excess[:FINDINGS_SHOWN]
        ]
        if len(excess) > FINDINGS_SHOWN:
            findings.append(f"… and {len(excess) - FINDINGS_SHOWN} more places where logs are above the report.")
        row.findings = findings
        row.save(update_fields=["findings"])
        audit.record(
            actor=row.created_by,
            action="usage.imported",
            object_type="import",
            object_id=row.pk,
            object_label=row.file_name,
            as_of=self.as_of,
            after={
                "sha256": row.sha256,
                "format": row.format,
                "source": row.source.name if row.source else "",
                "accepted": row.accepted,
                "duplicates": row.duplicates,
                "rejected": row.rejected,
                "options": self.options.as_dict(),
            },
            is_demo=self.is_demo,
        )
        return _outcome(row)

    def refuse(self, refusal: ImportRefused) -> None:
        """Write down why; the file goes. Nothing else of the attempt is left."""
        Import.objects.filter(pk=self.row.pk).update(
            state=Import.State.FAILED,
            error=str(refusal),
            problems=[problem.as_dict() for problem in refusal.problems[:PROBLEMS_SHOWN]],
            rejected=self.rejected,
            progress_note="Refused",
            format=self.row.format,
            file_path="",
            finished_at=self.as_of + timedelta(seconds=time.monotonic() - self.begun),
        )
        self.row.state = Import.State.FAILED

    def lock_merge(self) -> None:
        self.side.execute("SELECT pg_advisory_lock(%s)", [MERGE_LOCK])

    def progress(self, share: float, note: str) -> None:
        """Visible at once: written on the side connection, outside the import's transaction."""
        with contextlib.suppress(psycopg.errors.LockNotAvailable):
            self.side.execute(
                f"UPDATE {Import._meta.db_table} SET progress_share = %s, progress_note = %s WHERE id = %s",  # noqa: S608
                [share, note, self.row.pk],
            )

    @contextlib.contextmanager
    def watched(self, engine: Engine, low: float, high: float, note: str) -> Iterator[None]:
        """Move the progress between two shares while DuckDB works."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.5):
                self.progress(low + (high - low) * engine.progress_share(), note)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


@contextlib.contextmanager
def _held_lock(import_id: int) -> Iterator[psycopg.Connection[Any]]:
    """A connection of its own that holds the import's lock. Raises ImportBusy when another one does."""
    parameters = connection.get_connection_params()
    wanted = {key: parameters[key] for key in ("dbname", "host", "port", "user", "password") if parameters.get(key)}
    with psycopg.connect(**wanted, autocommit=True, application_name="costgov-import") as side:
        side.execute("SET lock_timeout = 0")
        held = side.execute("SELECT pg_try_advisory_lock(%s, %s)", [RUN_LOCK, import_id]).fetchone()
        if held is None or not held[0]:
            raise ImportBusy(f"import {import_id} is running in another process")
        yield side


def _source(name: str, is_request_level: bool, file_name: str) -> UsageSource:
    grain = UsageSource.Grain.REQUEST if is_request_level else UsageSource.Grain.BUCKET
    source, _ = UsageSource.objects.get_or_create(name=name, defaults={"grain": grain})
    if source.grain != grain:
        raise ImportRefused.because(
            file_name,
            f"source {name!r} holds {source.get_grain_display().lower()} usage, this file does not",
            "Give logs and reports sources of their own",
        )
    return source


def _conflict_problem(item: Conflict) -> Problem:
    where = "earlier in this file" if item.earlier_import is None else f"in import {item.earlier_import}"
    return Problem(
        None,
        item.counter,
        str(item.now),
        f"request {item.request_id} has {item.earlier} {where} and {item.now} now",
        "Find out which is right; import with --replace to let this file win",
    )


def _set_generation(import_id: int, generation: int) -> None:
    row = Import.objects.select_for_update().get(pk=import_id)
    row.options = {**row.options, "generation": generation}
    row.save(update_fields=["options"])


def _create(
    actor: AbstractBaseUser | None,
    file_name: str,
    digest: str,
    size: int,
    as_of: datetime,
    options: ImportOptions,
    *,
    path: Path | None,
    state: str,
) -> Import:
    return Import.objects.create(
        file_name=file_name[:255],
        file_path=str(path) if path is not None else "",
        size_bytes=size,
        sha256=digest,
        options=options.as_dict(),
        state=state,
        progress_note="Waiting for a worker" if state == Import.State.QUEUED else "",
        created_by_id=actor.pk if actor is not None else None,
        created_at=as_of,
    )


def _same_bytes(digest: str, *, unfinished: bool) -> Import | None:
    states = [Import.State.DONE, *([Import.State.QUEUED, Import.State.RUNNING] if unfinished else [])]
    return Import.objects.filter(kind="usage", sha256=digest, state__in=states).order_by("pk").first()


def _lock_bytes(digest: str) -> None:
    """A double click: the second waits here and then finds the first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [int(digest[:15], 16)])


def _repeat(row: Import, file_name: str) -> ImportOutcome:
    when = f"{row.created_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    done = f"The same bytes were imported before as {row.file_name} (import {row.pk}, {when}); nothing changed."
    waits = f"The same bytes are being imported already as {row.file_name} (import {row.pk})."
    return _outcome(row, file_name=file_name, is_repeat=True, message=done if row.is_finished else waits)


def _outcome(row: Import, *, file_name: str = "", is_repeat: bool = False, message: str = "") -> ImportOutcome:
    return ImportOutcome(
        import_id=row.pk,
        file_name=file_name or row.file_name,
        state=str(row.state),
        format=row.format,
        source=row.source.name if row.source else "",
        accepted=row.accepted,
        duplicates=row.duplicates,
        rejected=row.rejected,
        failed_requests=row.failed_requests,
        period_start=row.period_start,
        period_end=row.period_end,
        findings=tuple(row.findings),
        problems=tuple(row.problems),
        error=row.error,
        is_repeat=is_repeat,
        message=message,
    )


def _save_upload(upload: IO[bytes]) -> tuple[Path, str, int]:
    folder = incoming_folder()
    path = folder / f"{time.time_ns():x}-{os.urandom(4).hex()}"
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as out:
            while chunk := upload.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
                out.write(chunk)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path, digest.hexdigest(), size


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC)
