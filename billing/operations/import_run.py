"""One attempt at one import: a file becomes request-level rows, hourly and daily roll-ups, whole or not at all."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Final

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import QuerySet

from audit import operations as audit
from billing.core.models import canonical_model
from billing.core.usage import COUNTERS
from billing.importers.base import (
    CLOCK_SKEW,
    EARLIEST,
    PROBLEMS_SHOWN,
    ImportRefused,
    Problem,
    Report,
    RequestFormat,
    compression_of,
    each_record,
    implausible_time,
    sound,
)
from billing.importers.format_guide import GUIDE
from billing.importers.generic_csv import MappedBuckets, MappedFormat, MappedRequests
from billing.importers.records import Learned, RecordFormat, RequestRow, StagedRows, Unanswered
from billing.importers.usage_formats import BUCKET_FORMATS, RECORD_FORMATS, REQUEST_FORMATS
from billing.models import USAGE_KEY_FIELDS, Import, UsageSource
from billing.operations.compaction import set_generation
from billing.operations.file_states import FileState, is_another
from billing.operations.import_findings import excess_findings, known_models, model_findings, request_findings
from billing.operations.import_lease import Lease
from billing.operations.import_outcome import ImportOptions, ImportOutcome, outcome_of
from billing.operations.record_rows import write_rows
from billing.operations.rollups import recount_days, replace_hours
from billing.operations.source_settings import READ_WITH, is_read_alike, refusal_of, remember, settings_for
from billing.queries.column_mappings import identify_usage
from billing.queries.counting import has_own_keys
from billing.queries.imports import details_kept_from, model_aliases, request_store, stored_imports
from billing.store import (
    NEW_SOURCE,
    ClassifyPlan,
    Conflict,
    Engine,
    RequestStore,
    SourceOfRows,
    Sources,
    StageFailed,
    StoredImport,
)

DEFAULT_SOURCE: Final = {item.name: item.what for item in GUIDE} | {
    "messages_api_log": "Request logs",
    "litellm_payload": "LiteLLM",
    "anthropic_admin_usage": "Anthropic usage report",
    "messages_batch_results": "Message batches",
    "messages_api_objects": "Messages API answers",
    "messages_api_stream": "Messages API streams",
    "litellm_spend_logs": "LiteLLM",
    "litellm_daily": "LiteLLM daily tables",
    "claude_code_events": "Claude Code",
    "otel_genai_spans": "OpenTelemetry",
    "langfuse_observations": "Langfuse",
    "helicone_requests": "Helicone",
}
_ROWS_PER_TICK: Final = 20_000
_CLOCK_REMEDY: Final = "Correct the time, or the clock of the machine that wrote it"


@dataclass
class Attempt:
    """One attempt at one import. `carry_out` raises ImportRefused, ImportStopped."""

    row: Import
    options: ImportOptions
    path: Path
    as_of: datetime
    plan: ClassifyPlan
    lease: Lease
    is_demo: bool
    action: ClassVar[str] = "usage.imported"
    begun: float = field(default_factory=time.monotonic)
    problems: list[Problem] = field(default_factory=list)
    rejected: int = 0
    read_with: Mapping[str, str] = field(default_factory=dict)
    learned: Sequence[Learned] = ()
    findings: Sequence[str] = ()
    mapped: MappedFormat | None = None
    read_from: FileState | None = None
    """The file when its digest was taken, where somebody else may write it meanwhile."""

    def carry_out(self) -> ImportOutcome:
        fmt, head = identify_usage(
            self.path,
            file_name=self.row.file_name,
            format_name=self.options.format,
            mapping=self.options.mapping,
        )
        bucketed = fmt if isinstance(fmt, MappedBuckets) else next((one for one in BUCKET_FORMATS if one is fmt), None)
        source = source_of(
            self.options.source or DEFAULT_SOURCE.get(fmt.name, fmt.title), bucketed is None, self.row.file_name
        )
        if isinstance(fmt, MappedBuckets | MappedRequests):
            source = self.mapped_source(fmt)
        self.row.format = fmt.name
        aliases = model_aliases()

        def canonical(raw: str) -> str:
            return canonical_model(raw, aliases).model

        if bucketed is not None:
            self.lease.progress(0.1, "Reading the report")
            report = bucketed.read(self.path, file_name=self.row.file_name, canonical=canonical)
            if isinstance(fmt, MappedBuckets):
                self.problems, self.rejected = fmt.problems, fmt.rejected
            elif report.rejected:
                self.problems, self.rejected = list(report.problems), report.rejected
                if not self.options.good_rows or not report.buckets:
                    raise ImportRefused(self.row.file_name, self.problems, self.rejected)
            starts = sorted({bucket.period.start for bucket in report.buckets})
            wrong = [each for start in starts for each in self.time_problems("starting_at", start, None)]
            if wrong:
                raise ImportRefused(self.row.file_name, wrong[:PROBLEMS_SHOWN], len(wrong))
            self.lock_merge(0.5)
            return self.save_report(source, report)
        store = request_store()
        if self.row.attempts > 1:
            store.remove_import(self.row.pk)  # what an earlier, killed attempt left
        with store.engine(f"import-{self.row.pk}-{self.row.attempts}") as engine:
            recorded = fmt if isinstance(fmt, MappedRequests) else next((x for x in RECORD_FORMATS if x is fmt), None)
            if recorded is not None:
                self.read_records(engine, recorded, source)
            else:
                logged = next(item for item in REQUEST_FORMATS if item is fmt)
                self.read_requests(engine, logged, source, head.is_lines)
            self.lock_merge(0.55)
            return self.save_requests(engine, store, source, canonical)

    def mapped_source(self, fmt: MappedFormat) -> UsageSource:
        """The source of a mapped table; the mapping is written down with the import. Raises ImportRefused."""
        mapping, self.mapped = fmt.mapping, fmt
        if isinstance(fmt, MappedBuckets):
            fmt.is_partial_allowed = self.options.good_rows
        kept = {"mapping": mapping.as_document(), "mapping_hash": mapping.header_hash}
        self.row.options = {**(self.row.options or {}), **kept}
        source = source_of(self.options.source or mapping.source, isinstance(fmt, MappedRequests), self.row.file_name)
        if source.pk is None:
            source.channel = mapping.channel
            source.settings = {} if mapping.names_provider_keys else {"own_keys": "yes"}
        elif source.channel != mapping.channel:
            raise ImportRefused.because(
                self.row.file_name,
                f"source {source.name!r} holds usage through {source.channel}, the mapping says {mapping.channel}",
                "Give the table a source of its own, or correct the channel of the mapping",
            )
        return source

    def lock_merge(self, share: float) -> None:
        """From here on nobody else saves. The same bytes may have been imported while this attempt read or waited."""
        self.lease.progress(share, "Looking for what is stored already")
        self.lease.lock_merge(share)
        if self.read_from is not None and is_another(self.path, self.read_from, self.row.sha256, self.row.size_bytes):
            raise ImportRefused.because(
                self.row.file_name, "another file took its place while it was read", "Import it when its writer is done"
            )
        if details_kept_from() != self.kept_from:
            raise ImportRefused.because(
                self.row.file_name, "old details were forgotten while it was read", "Import the file again"
            )
        held = next((item for item in self.same_bytes().select_related("source") if self.stands_for(item)), None)
        if held is not None:
            raise ImportRefused.because(
                self.row.file_name,
                f"the same bytes were imported in the meantime as {held.file_name} (import {held.pk})",
                "Nothing is left to do",
            )

    def stands_for(self, held: Import) -> bool:
        """Whether an import of the same bytes makes this one needless."""
        return is_read_alike(held)

    def same_bytes(self) -> QuerySet[Import]:
        """Earlier imports of the same bytes that still stand for them."""
        done = Import.objects.filter(kind=self.row.kind, state=Import.State.DONE, superseded_by=None)
        return done.filter(sha256=self.row.sha256).exclude(pk=self.row.pk)

    # --- request-level ---

    def read_requests(self, engine: Engine, fmt: RequestFormat, source: UsageSource, is_lines: bool) -> None:
        self.lease.progress(0.05, "Reading the file")
        if is_lines:
            with contextlib.suppress(StageFailed), self.lease.watched(engine, 0.05, 0.5, "Reading the file"):
                staged = engine.stage(
                    fmt, self.path, compression_of(self.path), channel=source.channel, within=self.within()
                )
                if staged.bad == 0 and staged.rows:
                    return
        clean = engine.folder / "good.jsonl"
        self.write_good_rows(fmt, clean, is_lines)
        self.stage_good_rows(engine, fmt, clean, source)

    def read_records(self, engine: Engine, fmt: RecordFormat, source: UsageSource) -> None:
        """A format read in Python: its rows are written down as they come and staged as one typed file."""
        name = self.row.file_name
        settings = settings_for(fmt.switches, source, self.options.answers, file_name=name)
        clean = engine.folder / "good.jsonl"

        def tick(count: int) -> None:
            if count % _ROWS_PER_TICK == 0:
                self.lease.progress(0.1, f"Reading the file row by row: {count:,} so far")

        def time_problems(row: RequestRow) -> tuple[Problem, ...]:
            return self.time_problems("time", row.occurred_at, row.line)

        with clean.open("w", encoding="utf-8") as out:
            os.chmod(clean, 0o600)
            try:
                read = write_rows(
                    fmt, self.path, file_name=name, settings=settings, out=out, time_problems=time_problems, tick=tick
                )
            except Unanswered as unanswered:
                raise refusal_of(unanswered, source, file_name=name) from unanswered
        self.rejected, self.problems = read.rejected, read.problems
        self.read_with = settings | {item.name: item.value for item in read.learned}
        self.learned, self.findings = read.learned, read.findings(fmt.caveat)
        if not read.written and not read.rejected:
            left = f": {'; '.join(read.left)}" if read.left else ""
            raise ImportRefused.because(name, f"the file holds no requests of Claude{left}", "Check what was exported")
        self.stage_good_rows(engine, StagedRows(), clean, source)

    def stage_good_rows(
        self, engine: Engine, fmt: RequestFormat | StagedRows, clean: Path, source: UsageSource
    ) -> None:
        if self.rejected and not self.options.good_rows:
            raise ImportRefused(self.row.file_name, self.problems, self.rejected)
        try:
            with self.lease.watched(engine, 0.3, 0.5, "Reading the good rows"):
                staged = engine.stage(fmt, clean, "none", channel=source.channel, within=self.within())
        except StageFailed as error:
            raise self.unreadable() from error
        if staged.bad:
            raise self.unreadable()
        if not staged.rows:
            if self.problems:
                raise ImportRefused(self.row.file_name, self.problems, self.rejected)
            raise ImportRefused.because(self.row.file_name, "the file holds no requests", "Check what was exported")

    def within(self) -> tuple[datetime, datetime]:
        """Usage can only be of [then, then)."""
        kept_from = self.kept_from
        return max(EARLIEST, _midnight(kept_from)) if kept_from else EARLIEST, self.as_of + CLOCK_SKEW

    @cached_property
    def kept_from(self) -> date | None:
        """First day that retention left comparable with what is imported."""
        return details_kept_from()

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
            for count, (line, record) in enumerate(each_record(self.path, self.row.file_name, is_lines=is_lines)):
                if count % _ROWS_PER_TICK == 0:
                    self.lease.progress(0.1, f"Checking the file row by row: {count:,} so far")
                if isinstance(record, Problem):
                    found: tuple[Problem, ...] = (record,)
                elif not isinstance(record, dict):
                    found = (Problem(line, "", "", "not a JSON object", "Write one request per line"),)
                else:
                    checked = fmt.check(record, line)
                    found = checked.problems or self.time_problems(*fmt.started(record), line)
                    for item in () if found else checked.records:
                        out.write(json.dumps(item) + "\n")
                if found:
                    self.rejected += 1
                    if len(self.problems) < PROBLEMS_SHOWN:
                        self.problems += found

    def time_problems(self, name: str, at: datetime, line: int | None) -> tuple[Problem, ...]:
        reason, remedy = implausible_time(at, as_of=self.as_of), _CLOCK_REMEDY
        if not reason and self.kept_from and at < _midnight(self.kept_from):
            reason = f"before {self.kept_from}, up to which details were forgotten by retention"
            remedy = "Leave out rows of those days: what counted then is kept per day and cannot be added to"
        return (Problem(line, name, at.isoformat().replace("+00:00", "Z"), reason, remedy),) if reason else ()

    def save_requests(
        self, engine: Engine, store: RequestStore, source: UsageSource, canonical: Callable[[str], str]
    ) -> ImportOutcome:
        existing = stored_imports(exclude=self.row.pk)
        with self.lease.watched(engine, 0.55, 0.65, "Looking for requests stored before"):
            duplicates, conflicts, count = engine.merge_duplicates(
                existing, replace=self.options.replace, sources=self.sources(source)
            )
        if conflicts and not self.options.replace:
            raise ImportRefused(self.row.file_name, [_conflict_problem(item) for item in conflicts], count)
        # Each attempt has a generation of its own: one that lost its lease can neither mix with nor delete ours.
        item = StoredImport(self.row.pk, self.row.attempts - 1)
        written = [item]
        try:
            with transaction.atomic():
                transaction.on_commit(written.clear)  # first: what follows a commit may fail
                source = saved_source(source, self.row.file_name)
                told = remember(source, self.read_with, learned=self.learned)
                label = "Classifying and storing the requests"
                with self.lease.watched(engine, 0.65, 0.85, label):
                    engine.write(item, source_id=source.pk, plan=self.plan, canonical=canonical)
                replaced = self.without_superseded(engine, store, existing, written, source, canonical)
                self.lease.progress(0.88, "Summing up hours and days")
                self.take_row()
                after = [replaced.get(one, one) for one in existing]
                days = save_hours(engine, [item, *replaced, *replaced.values()], [*after, item])
                for old, new in replaced.items():
                    set_generation(new)
                    transaction.on_commit(partial(store.remove, old))
                summary = engine.summary(item)
                if item.generation:
                    self.row.options = {**self.row.options, "generation": item.generation}
                if self.read_with:
                    self.row.options = {**self.row.options, READ_WITH: dict(self.read_with)}
                return self.finish(
                    source,
                    days,
                    [*told, *self.findings_of(summary.models), *request_findings(summary), *self.findings],
                    accepted=summary.rows,
                    duplicates=duplicates,
                    failed_requests=summary.failed,
                    period_start=_utc(summary.first) if summary.first else None,
                    period_end=_utc(summary.last) if summary.last else None,
                )
        except (InterfaceError, OperationalError):
            raise  # a lost connection does not say whether it was committed: `sweep_store` sees what nobody reads
        except BaseException:
            for each_written in written:
                store.remove(each_written)
            raise

    def sources(self, source: UsageSource) -> Sources:
        """Whose keys the rows of this file carry, and those of every log that is stored."""
        new = SourceOfRows(
            NEW_SOURCE if source.pk is None else source.pk,
            source.name,
            has_own_keys(source, format_name=self.row.format),
        )
        others = UsageSource.objects.filter(grain=UsageSource.Grain.REQUEST)
        return Sources(new, tuple(SourceOfRows(each.pk, each.name, has_own_keys(each)) for each in others))

    def without_superseded(
        self,
        engine: Engine,
        store: RequestStore,
        existing: list[StoredImport],
        written: list[StoredImport],
        source: UsageSource,
        canonical: Callable[[str], str],
    ) -> dict[StoredImport, StoredImport]:
        """Earlier imports whose requests this file completes or takes, each with its next generation.

        `written` grows.
        """
        losing, replaced = set(engine.superseded_imports()), {}
        for old in existing:
            if old.import_id in losing:
                new = StoredImport(old.import_id, old.generation + 1)
                store.remove(new)
                written.append(new)
                replaced[old] = engine.without_superseded(
                    old, new, source_id=source.pk, plan=self.plan, canonical=canonical
                )
        return replaced

    # --- bucketed ---

    def save_report(self, source: UsageSource, report: Report) -> ImportOutcome:
        self.lease.progress(0.6, "Saving the report")
        starts = sorted({bucket.period.start for bucket in report.buckets})
        sums: dict[tuple[Any, ...], list[int]] = {}
        numbers: dict[tuple[Any, ...], int | None] = {}
        for bucket in report.buckets:
            if bucket.counts.is_zero:
                continue
            key = {name: getattr(bucket.key, name) for name in USAGE_KEY_FIELDS}
            key |= {name: sound(value) for name, value in key.items() if isinstance(value, str)}
            key["channel"] = source.channel
            key["request_class"] = self.plan.class_of_key(
                source.channel, bucket.key.workspace, bucket.key.api_key, bucket.period.start.date()
            )
            place = (bucket.period.start, *(key[name] for name in USAGE_KEY_FIELDS))
            held = sums.setdefault(place, [0] * len(COUNTERS))
            for i, name in enumerate(COUNTERS):
                held[i] += getattr(bucket.counts, name)
            before = numbers.get(place, 0)
            numbers[place] = None if before is None or bucket.requests is None else before + bucket.requests
        index = 1 + USAGE_KEY_FIELDS.index("model")
        tokens: dict[str, int] = {}
        for place, counts in sums.items():
            tokens[place[index]] = tokens.get(place[index], 0) + sum(counts)
        with transaction.atomic():
            self.take_row()
            source = saved_source(source, self.row.file_name)
            replace_hours(
                source_id=source.pk,
                bucket_hours=report.bucket_hours,
                buckets=starts,
                rows=(
                    (place[0], self.row.pk, *place[1:], *counts, numbers[place], 0) for place, counts in sums.items()
                ),
            )
            return self.finish(
                source,
                {start.date() for start in starts},
                [*report.findings, *self.findings_of(tuple((name, 0, n) for name, n in sorted(tokens.items())))],
                accepted=len(sums),
                duplicates=0,
                failed_requests=0,
                period_start=starts[0],
                period_end=starts[-1] + timedelta(hours=report.bucket_hours),
            )

    # --- the end ---

    def take_row(self) -> None:
        """Lock the import's row for the rest of the transaction, if it is still ours. Raises ImportStopped."""
        held = Import.objects.select_for_update().only("state", "attempts").get(pk=self.row.pk)
        self.lease.compare(held.state, held.attempts)

    def findings_of(self, models: tuple[tuple[str, int, int], ...]) -> list[str]:
        return model_findings(models, known_models())

    def finish(self, source: UsageSource, days: set[date], findings: list[str], **values: Any) -> ImportOutcome:
        row = self.row
        row.source = source
        self.same_bytes().update(superseded_by=row)
        # The state goes first: the counting rule asks which formats a source's done imports have.
        row.state, row.progress_share, row.progress_note = Import.State.DONE, 1.0, "Done"
        row.file_path, row.rejected = "", self.rejected
        row.problems = [problem.as_dict() for problem in self.problems]
        row.finished_at = self.as_of + timedelta(seconds=time.monotonic() - self.begun)
        findings = [*(self.mapped.findings() if self.mapped is not None else ()), *findings]
        for name, value in values.items():
            setattr(row, name, value)
        row.save()
        excess = recount_days(days=days, class_of_key=self.plan.class_of_key)
        findings += excess_findings(excess)
        row.findings = findings
        row.save(update_fields=["findings"])
        audit_import(row, self.options, action=self.action, as_of=self.as_of, is_demo=self.is_demo)
        return outcome_of(row)

    def refuse(self, refusal: ImportRefused) -> None:
        """Write down why, unless the import was stopped meanwhile. Nothing else of the attempt is left."""
        done = Import.objects.filter(pk=self.row.pk, state=Import.State.RUNNING, attempts=self.row.attempts).update(
            state=Import.State.FAILED,
            error=str(refusal),
            problems=[problem.as_dict() for problem in refusal.problems[:PROBLEMS_SHOWN]],
            rejected=self.rejected,
            progress_note="Refused",
            format=self.row.format,
            file_path="",
            finished_at=self.as_of + timedelta(seconds=time.monotonic() - self.begun),
        )
        if done:
            self.row.state = Import.State.FAILED


def save_hours(engine: Engine, changed: Sequence[StoredImport], now: Sequence[StoredImport]) -> set[date]:
    """Sum up the hours that `changed` imports touch, from everything stored `now`. Returns their days."""
    days: set[date] = set()
    for source_id, hours in engine.hours_of(changed).items():
        rows = engine.hourly(now, source_id, hours)
        replace_hours(
            source_id=source_id,
            bucket_hours=1,
            buckets=[_utc(hour) for hour in hours],
            rows=((_utc(hour), latest, *values) for hour, *values, latest in rows),
        )
        days |= {hour.date() for hour in hours}
    return days


def audit_import(row: Import, options: ImportOptions, *, action: str, as_of: datetime, is_demo: bool) -> None:
    """Write down that a file is in, as the last step of its transaction."""
    audit.record(
        actor=row.created_by,
        action=action,
        object_type="import",
        object_id=row.pk,
        object_label=row.file_name,
        as_of=as_of,
        after={
            "sha256": row.sha256,
            "format": row.format,
            "source": row.source.name if row.source is not None else "",
            "accepted": row.accepted,
            "duplicates": row.duplicates,
            "rejected": row.rejected,
            "options": options.as_dict(),
        },
        is_demo=is_demo,
    )


def source_of(name: str, is_request_level: bool, file_name: str) -> UsageSource:
    """The source of that name, or a new one, not saved. Raises ImportRefused where its grain is another."""
    grain = UsageSource.Grain.REQUEST if is_request_level else UsageSource.Grain.BUCKET
    source = UsageSource.objects.filter(name=name).first() or UsageSource(name=name, grain=grain)
    if source.grain != grain:
        raise ImportRefused.because(
            file_name,
            f"source {name!r} holds {source.get_grain_display().lower()} usage, this file does not",
            "Give logs and reports sources of their own",
        )
    return source


def saved_source(source: UsageSource, file_name: str) -> UsageSource:
    """A new source is saved with its first rows: a refused file leaves none behind."""
    held = source_of(source.name, source.grain == UsageSource.Grain.REQUEST, file_name)
    if held.pk is None:
        held.save()
    return held


def _conflict_problem(item: Conflict) -> Problem:
    where = "earlier in this file" if item.earlier_import is None else f"in import {item.earlier_import}"
    return Problem(
        None,
        item.counter,
        str(item.now),
        f"request {item.request_id} has {item.earlier} {where} and {item.now} now",
        "Find out which is right; import with --replace (or its tick in the form) to let this file win",
    )


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC)
