"""Many small files at once: what is the same for each (engine, search, sums, counting days) is done once for all.

Each file still is an import of its own. Only files that need no look of their own are taken: of one format and source,
every row good, no id told twice or stored before, bytes that are new. What this leaves is carried out one by one by
`imports.import_file`, which says what is wrong or merges records, so that both ways bring the same.
"""

import contextlib
import io
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import duckdb
from django.contrib.auth.models import AbstractBaseUser
from django.db import InterfaceError, OperationalError, transaction

from audit.roles import Right, require
from billing.core.models import canonical_model
from billing.importers.base import (
    CLOCK_SKEW,
    EARLIEST,
    ImportRefused,
    Problem,
    RequestFormat,
    compression_of,
    implausible_time,
)
from billing.importers.formats import identify_any, kind_of_format
from billing.importers.records import RecordFormat, RequestRow, StagedRows, Unanswered
from billing.importers.usage_formats import RECORD_FORMATS, REQUEST_FORMATS
from billing.models import Import, PackedImport, StorePack, UsageSource
from billing.operations.compaction import merge_lock
from billing.operations.file_states import FileState, is_another, state_of
from billing.operations.import_findings import excess_findings, known_models, model_findings, request_findings
from billing.operations.import_outcome import ImportOptions, ImportOutcome, outcome_of
from billing.operations.import_run import (
    DEFAULT_SOURCE,
    Attempt,
    audit_import,
    save_hours,
    saved_source,
    source_of,
)
from billing.operations.imports import USAGE, digest_of
from billing.operations.record_rows import write_rows
from billing.operations.rollups import recount_days
from billing.operations.source_settings import READ_WITH, remember, settings_for
from billing.queries.column_mappings import identify_usage
from billing.queries.imports import details_kept_from, model_aliases, request_store, stored_imports
from billing.store import ClassifyPlan, Engine, Pack, RequestStore, StageFailed, StoredImport
from billing.store.batch import FILE_NO

MOST_FILES: Final = 200  # of one pass: what a kill or Ctrl-C takes away
MOST_BYTES: Final = 64 << 20
LARGEST: Final = 4 << 20  # a file beyond is worth a pass of its own
_STANDING: Final = (Import.State.DONE, Import.State.QUEUED, Import.State.RUNNING)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Small:
    """One file that may be taken. `place`: its position among those that were given."""

    place: int
    path: Path
    name: str
    read_from: FileState | None
    digest: str
    size: int
    format: RequestFormat | RecordFormat
    compression: str
    source: str


@dataclass
class _Pass:
    """One pass over files of one format and source."""

    actor: AbstractBaseUser | None
    files: Sequence[_Small]
    as_of: datetime
    options: ImportOptions
    plan: ClassifyPlan
    is_demo: bool
    begun: float = field(default_factory=time.monotonic)
    kept_from: date | None = field(default_factory=details_kept_from)
    findings: dict[int, list[str]] = field(default_factory=dict)
    read_with: Mapping[str, str] = field(default_factory=dict)


def import_files(
    *,
    actor: AbstractBaseUser | None,
    files: Sequence[tuple[Path, str]],
    as_of: datetime,
    options: ImportOptions,
    plan: ClassifyPlan,
    is_demo: bool = False,
) -> dict[int, ImportOutcome]:
    """Import those of some usage files (path, name to show) that need no look of their own, in as few passes as may be.

    Returns what came of each that is in, by its position. Of the others nothing is kept or said: import them one by
    one. Raises Forbidden.
    """
    require(actor, Right.IMPORT_USAGE)
    found: dict[int, ImportOutcome] = {}
    if options.mapping is not None:
        return found
    groups: dict[tuple[str, str, str], list[_Small]] = {}
    for item in _small(files, options):
        groups.setdefault((item.format.name, item.compression, item.source), []).append(item)
    for group in groups.values():
        found |= _taken(_Pass(actor, group, as_of, options, plan, is_demo))
    return found


def passes(files: Sequence[tuple[Path, str]]) -> Iterator[Sequence[tuple[Path, str]]]:
    """Files in their order, in runs that one call of `import_files` takes."""
    begin, size = 0, 0
    for at, (path, _) in enumerate(files):
        this = path.stat().st_size if path.is_file() else 0
        if at > begin and (at - begin == MOST_FILES or size + this > MOST_BYTES):
            yield files[begin:at]
            begin, size = at, 0
        size += this
    if begin < len(files):
        yield files[begin:]


def _small(files: Sequence[tuple[Path, str]], options: ImportOptions) -> list[_Small]:
    found: dict[str, _Small] = {}
    for place, (path, name) in enumerate(files):
        with contextlib.suppress(ImportRefused, OSError, Unanswered, ValueError):
            if not path.is_file() or path.stat().st_size > LARGEST:
                continue
            fmt, head = identify_usage(path, file_name=name, format_name=options.format)
            logged = next((one for one in REQUEST_FORMATS if one is fmt and head.is_lines), None)
            known = logged or next((one for one in RECORD_FORMATS if one is fmt), None)
            compression = compression_of(path) if logged is not None else ""
            if known is None or compression == "parquet":
                continue
            if kind_of_format(identify_any(path, file_name=name, format_name=options.format)) != USAGE:
                continue
            read_from = state_of(path)
            digest, size = digest_of(path)
            source = options.source or DEFAULT_SOURCE.get(known.name, known.title)
            found.setdefault(
                digest, _Small(place, path.resolve(), name, read_from, digest, size, known, compression, source)
            )
    held = set(Import.objects.filter(sha256__in=found, state__in=_STANDING).values_list("sha256", flat=True))
    return [item for digest, item in found.items() if digest not in held]


def _taken(one: _Pass) -> dict[int, ImportOutcome]:
    """Halved where a file cannot be read at all: which one, the engine does not say."""
    if len(one.files) < 2:
        return {}
    store = request_store()
    try:
        with store.engine("import-many") as engine:
            return _carried_out(one, store, engine)
    except StageFailed:
        half = len(one.files) // 2
        parts = (one.files[:half], one.files[half:])
        return {place: said for part in parts for place, said in _taken(replace(one, files=part, findings={})).items()}
    except ImportRefused:
        return {}
    except (OSError, duckdb.Error):
        # One by one each file says what it met: no room, no store, too little memory.
        _log.warning("a pass over %s files was given up", len(one.files), exc_info=True)
        return {}


def _carried_out(one: _Pass, store: RequestStore, engine: Engine) -> dict[int, ImportOutcome]:
    source = source_of(one.files[0].source, True, one.files[0].name)
    within = (max(EARLIEST, _midnight(one.kept_from)) if one.kept_from else EARLIEST, one.as_of + CLOCK_SKEW)
    fmt = one.files[0].format
    logged = next((item for item in REQUEST_FORMATS if item is fmt), None)
    if logged is not None:
        paths = [item.path for item in one.files]
        engine.stage_many(logged, paths, one.files[0].compression, channel=source.channel, within=within)
    else:
        recorded = next(item for item in RECORD_FORMATS if item is fmt)
        clean = engine.folder / "good.jsonl"
        if not _write_records(one, recorded, source, clean):
            return {}
        engine.stage_numbered(StagedRows(), clean, channel=source.channel, within=within)
    written: list[tuple[str, str]] = []
    try:
        with merge_lock(), transaction.atomic():
            transaction.on_commit(written.clear)
            return _saved(one, store, engine, source, written)
    except (InterfaceError, OperationalError):
        raise  # a lost connection does not say whether it was committed: `sweep_store` sees what nobody reads
    except BaseException:
        with contextlib.suppress(OSError):
            store.place.delete(written)
        raise


def _write_records(one: _Pass, fmt: RecordFormat, source: UsageSource, clean: Path) -> bool:
    """Write the rows of files without anything to ask or refuse, each with its file's number. False where none are."""
    one.read_with = settings_for(fmt.switches, source, one.options.answers, file_name=one.files[0].name)
    some = False
    with clean.open("w", encoding="utf-8") as out:
        os.chmod(clean, 0o600)
        for number, item in enumerate(one.files, start=1):
            rows = io.StringIO()
            try:
                read = write_rows(
                    fmt, item.path, file_name=item.name, settings=one.read_with, out=rows,
                    time_problems=_time_problems(one), tick=lambda count: None,
                )  # fmt: skip
            except (ImportRefused, Unanswered):
                continue
            if read.written and not read.rejected and not read.learned:
                lines = rows.getvalue().split("\n")[:-1]
                out.writelines(f'{{"{FILE_NO}": {number}, {line[1:]}\n' for line in lines)
                one.findings[item.place] = read.findings(fmt.caveat)
                some = True
    return some


def _time_problems(one: _Pass) -> Callable[[RequestRow], tuple[Problem, ...]]:
    def found(row: RequestRow) -> tuple[Problem, ...]:
        reason = implausible_time(row.occurred_at, as_of=one.as_of)
        forgotten = one.kept_from is not None and row.occurred_at < _midnight(one.kept_from)
        return (Problem(row.line, "time", "", reason, ""),) if reason or forgotten else ()

    return found


def _saved(
    one: _Pass, store: RequestStore, engine: Engine, source: UsageSource, written: list[tuple[str, str]]
) -> dict[int, ImportOutcome]:
    """Inside the transaction, while nobody else saves. `written` grows by the files that are gone if it fails."""
    if details_kept_from() != one.kept_from:
        return {}
    digests = [item.digest for item in one.files]
    held = set(Import.objects.filter(sha256__in=digests, state__in=_STANDING).values_list("sha256", flat=True))
    existing = stored_imports()
    known = [number for number, item in enumerate(one.files, start=1) if item.digest in held or _is_another(item)]
    engine.set_aside(existing, also=known)
    days_of = engine.days_of_files()
    if not days_of:
        return {}
    source = saved_source(source, one.files[0].name)
    told = remember(source, one.read_with, learned=())
    files = {number: one.files[number - 1] for number in sorted(days_of)}
    rows = dict(zip(files, Import.objects.bulk_create(_row(one, item, source) for item in files.values()), strict=True))
    packs = _packs(days_of)
    written += [(pack.day, pack.name) for pack in packs.values()]
    engine.write_many(
        list(packs.values()),
        {number: row.pk for number, row in rows.items()},
        source_id=source.pk,
        plan=one.plan,
        canonical=_canonical(),
    )
    PackedImport.objects.bulk_create(
        PackedImport(pack_id=packs[day].number, of_import=rows[number], day=day)
        for number, days in days_of.items()
        for day in days
    )
    items = {
        number: StoredImport(row.pk, 0, tuple(packs[day] for day in days_of[number])) for number, row in rows.items()
    }
    days = save_hours(engine, list(items.values()), [*existing, *items.values()])
    summaries = engine.summaries(list(items.values()))
    models = known_models()
    excess = recount_days(days=days, class_of_key=one.plan.class_of_key)
    took = timedelta(seconds=time.monotonic() - one.begun)
    for number, row in rows.items():
        summary = summaries[row.pk]
        row.accepted, row.failed_requests = summary.rows, summary.failed
        row.period_start, row.period_end = _utc(summary.first), _utc(summary.last)
        row.finished_at = one.as_of + took
        row.findings = [
            *told,
            *model_findings(summary.models, models),
            *request_findings(summary),
            *one.findings.get(files[number].place, ()),
            *excess_findings([(day, above) for day, above in excess if day in days_of[number]]),
        ]
        told = []
    Import.objects.bulk_update(
        rows.values(), ["accepted", "failed_requests", "period_start", "period_end", "finished_at", "findings"]
    )
    for row in rows.values():
        audit_import(row, one.options, action=Attempt.action, as_of=one.as_of, is_demo=one.is_demo)
    return {files[number].place: outcome_of(row) for number, row in rows.items()}


def _is_another(item: _Small) -> bool:
    return item.read_from is not None and is_another(item.path, item.read_from, item.digest, item.size)


def _row(one: _Pass, item: _Small, source: UsageSource) -> Import:
    """Done from its beginning: nobody sees it before the commit."""
    options = one.options.as_dict() | ({READ_WITH: dict(one.read_with)} if one.read_with else {})
    return Import(
        kind=USAGE, source=source, file_name=item.name[:255], size_bytes=item.size, sha256=item.digest,
        format=item.format.name, options=options, state=Import.State.DONE, progress_share=1.0, progress_note="Done",
        created_by_id=one.actor.pk if one.actor is not None else None, created_at=one.as_of, started_at=one.as_of,
        attempts=1,
    )  # fmt: skip


def _packs(days_of: Mapping[int, Iterable[date]]) -> dict[date, Pack]:
    counts: dict[date, int] = {}
    for days in days_of.values():
        for day in days:
            counts[day] = counts.get(day, 0) + 1
    made = StorePack.objects.bulk_create(StorePack(day=day, imports=count) for day, count in sorted(counts.items()))
    return {row.day: Pack(row.pk, str(row.day), row.imports) for row in made}


def _canonical() -> Callable[[str], str]:
    aliases = model_aliases()
    return lambda raw: canonical_model(raw, aliases).model


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _utc(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at is not None else None
