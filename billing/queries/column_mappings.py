"""Column mappings kept for tables of somebody's own, and the tables that wait to be described."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from billing.core.column_guess import names_no_zone, propose_mapping
from billing.core.column_mapping import (
    FIELDS,
    GRAINS,
    ColumnMapping,
    Contradiction,
    contradictions,
    header_hash,
    parse_mapping,
    replaces,
)
from billing.importers.base import Head, ImportRefused, read_head
from billing.importers.formats import ALL_FORMATS
from billing.importers.generic_csv import (
    NAMES,
    MappedFormat,
    TableHead,
    looks_like_table,
    mapped_format,
    read_table_head,
)
from billing.importers.generic_csv_preview import Preview, preview
from billing.importers.identify import known_but_not_imported, refuse_parquet
from billing.importers.usage_formats import UsageFormat, identify
from billing.models import ColumnMapping as KeptRow
from billing.models import Import

TO_MAP: Final = "to_map"  # Import.kind of a table that waits for somebody to say what its columns are


@dataclass(frozen=True, slots=True)
class KeptMapping:
    """A mapping as lists show it. `imports`: files read with it, `latest`: the day of the last."""

    id: int
    name: str
    source: str
    grain: str
    columns: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]
    header: tuple[str, ...]
    who: str
    updated_at: datetime
    imports: int
    latest: datetime | None
    document: Mapping[str, Any]

    @property
    def version(self) -> str:
        return version_of(self.document)

    @property
    def grain_words(self) -> str:
        return GRAINS.get(self.grain, self.grain)

    @property
    def described(self) -> tuple[tuple[str, str], ...]:
        """Columns with what they hold, in words."""
        return tuple((column, FIELDS.get(name, name)) for column, name in self.columns)

    @property
    def key(self) -> str:
        return str(self.id)


@dataclass(frozen=True, slots=True)
class WaitingTable:
    """An uploaded table whose columns nobody has described yet. `asks_zone`: some times name none."""

    import_id: int
    file_name: str
    size_bytes: int
    head: TableHead
    proposed: ColumnMapping
    asks_zone: bool
    options: Mapping[str, Any]
    kept: KeptMapping | None = None
    """A mapping that somebody kept for these columns while the table waited; then it is what is proposed."""


@dataclass(frozen=True, slots=True)
class MappingCheck:
    """What a mapping does: contradictions, or the first rows as they would be read."""

    contradictions: tuple[Contradiction, ...]
    preview: Preview | None
    refusal: str = ""

    @property
    def can_import(self) -> bool:
        return not self.contradictions and not self.refusal and self.preview is not None and self.preview.good > 0


def kept_mappings() -> tuple[KeptMapping, ...]:
    """Every kept mapping, by name."""
    used: dict[str, list[datetime]] = {}
    done = Import.objects.filter(format__in=NAMES, state=Import.State.DONE)
    for digest, at in done.values_list("options__mapping_hash", "created_at"):
        used.setdefault(str(digest), []).append(at)
    return tuple(
        _kept(row, used.get(row.header_hash, []))
        for row in KeptRow.objects.select_related("created_by").order_by("name")
    )


def kept_mapping(*, mapping_id: int) -> KeptMapping | None:
    return next((item for item in kept_mappings() if item.id == mapping_id), None)


def version_of(document: Mapping[str, Any] | None) -> str:
    """What tells one state of a mapping from another; '' of none."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16] if document else ""


def mapping_of_header(header: tuple[str, ...]) -> ColumnMapping | None:
    """The mapping kept for a table with these columns."""
    row = KeptRow.objects.filter(header_hash=header_hash(header)).first()
    return parse_mapping(row.document) if row is not None else None


def is_read_with_today(options: Mapping[str, Any]) -> bool:
    """Whether an import's mapping is what its table would be read with today; True where it has none.

    A changed one counts only where it may replace what the import made (core.column_mapping.replaces).
    """
    if not options.get("mapping"):
        return True
    held = parse_mapping(options["mapping"])
    kept = mapping_of_header(held.header)
    return kept is None or not replaces(kept, held)


def mapping_by_name(name: str) -> ColumnMapping | None:
    """A kept mapping by its name, where one has it alone."""
    rows = list(KeptRow.objects.filter(name=name)[:2])
    return parse_mapping(rows[0].document) if len(rows) == 1 else None


def identify_usage(
    path: Path, *, file_name: str, format_name: str = "", mapping: Mapping[str, Any] | None = None
) -> tuple[UsageFormat | MappedFormat, Head]:
    """The format of a usage file: the mapping given, else the one that claims it, else the mapping kept for its header.

    Raises ImportRefused.
    """
    if mapping:
        mapped, head = mapped_format(parse_mapping(mapping)), read_head(path, file_name)
        refuse_parquet(head, mapped.name, file_name=file_name)
        return mapped, head
    if not format_name:
        head = read_head(path, file_name)
        if not any(item.claims(head) for item in ALL_FORMATS) and (found := looks_like_table(head)):
            kept = mapping_of_header(found[0])
            if kept is not None:
                return mapped_format(kept), head
    return identify(path, file_name=file_name, format_name=format_name)


def is_mapped_table(path: Path, file_name: str, *, format_name: str, mapping: Mapping[str, Any] | None) -> bool:
    """The file is read with a mapping: the one given, or the one kept for its header where no format claims it."""
    if mapping:
        return True
    if format_name:
        return False
    head = read_head(path, file_name)
    found = None if any(item.claims(head) for item in ALL_FORMATS) else looks_like_table(head)
    return found is not None and KeptRow.objects.filter(header_hash=header_hash(found[0])).exists()


def is_unknown_table(path: Path, file_name: str) -> bool:
    """A table no format claims and no kept mapping describes: somebody can say what its columns are."""
    try:
        head = read_head(path, file_name)
    except ImportRefused:
        return False
    if any(item.claims(head) for item in ALL_FORMATS):
        return False
    found = looks_like_table(head)
    if found is None or (found[1] != ";" and known_but_not_imported(head) is not None):
        return False
    if mapping_of_header(found[0]) is not None:
        return False
    try:
        read_table_head(path, file_name)
    except ImportRefused:
        return False
    return True


def waiting_tables() -> tuple[tuple[int, str], ...]:
    """Number and file name of every table that waits for its columns, newest first."""
    rows = Import.objects.filter(kind=TO_MAP, state=Import.State.QUEUED).order_by("-created_at")
    return tuple(rows.values_list("pk", "file_name"))


def waiting_import(*, import_id: int) -> Import | None:
    return Import.objects.filter(kind=TO_MAP, state=Import.State.QUEUED, pk=import_id).first()


def waiting_table(*, import_id: int) -> WaitingTable | None:
    """A waiting table with a first proposal; None where there is none (described, discarded or expired)."""
    row = waiting_import(import_id=import_id)
    if row is None:
        return None
    try:
        head = read_table_head(Path(row.file_path), row.file_name)
    except FileNotFoundError:  # imported, discarded or expired since the row was read
        return None
    held = KeptRow.objects.filter(header_hash=header_hash(head.header)).select_related("created_by").first()
    kept = _kept(held, []) if held is not None else None
    proposed = parse_mapping(kept.document) if kept is not None else proposal(row.file_name, head)
    options = dict(row.options or {})
    if options.get("source"):
        proposed = replace(proposed, source=str(options["source"]))
    times = [row_of.get(proposed.column_of("time"), "") for _, row_of in head.rows]
    return WaitingTable(
        import_id=row.pk,
        file_name=row.file_name,
        size_bytes=row.size_bytes,
        head=head,
        proposed=proposed,
        asks_zone=names_no_zone(times, time_format=proposed.time_format),
        options=options,
        kept=kept,
    )


def proposal(file_name: str, head: TableHead) -> ColumnMapping:
    """A first mapping of a table, named after its file without digits of dates."""
    stem = Path(file_name).name.split(".")[0].rstrip("0123456789-_ ") or "Table"
    name = stem.replace("_", " ").replace("-", " ").strip().capitalize()
    return propose_mapping(name, head.header, [row for _, row in head.rows], delimiter=head.delimiter or ",")


def check_table(*, import_id: int, mapping: ColumnMapping, as_of: datetime) -> MappingCheck:
    """A waiting table under a mapping."""
    row = waiting_import(import_id=import_id)
    if row is not None:
        # It may be imported or discarded, and its file deleted, at any moment.
        with contextlib.suppress(FileNotFoundError):
            return check_file(Path(row.file_path), row.file_name, mapping, as_of=as_of)
    return MappingCheck((), None, "the table does not wait any more: upload it again")


def check_file(path: Path, file_name: str, mapping: ColumnMapping, *, as_of: datetime) -> MappingCheck:
    """A table under a mapping: what contradicts itself, else its first rows."""
    wrong = (*contradictions(mapping), *_masked(path, file_name, mapping))
    if wrong:
        return MappingCheck(wrong, None)
    try:
        return MappingCheck((), preview(path, file_name, mapping, as_of=as_of))
    except ImportRefused as refusal:
        return MappingCheck((), None, str(refusal))


def _masked(path: Path, file_name: str, mapping: ColumnMapping) -> tuple[Contradiction, ...]:
    """Mapped columns whose values look like prompt text, whatever their name."""
    try:
        head = read_table_head(path, file_name)
    except ImportRefused:
        return ()  # the preview says what is wrong
    return tuple(
        Contradiction(column, "its values look like prompt or answer text", "Ignore it: no text is read")
        for column in sorted(head.masked & set(mapping.columns))
    )


def _kept(row: KeptRow, used: list[datetime]) -> KeptMapping:
    mapping = parse_mapping(row.document)
    return KeptMapping(
        id=row.pk,
        name=row.name,
        source=mapping.source,
        grain=mapping.grain,
        columns=tuple((column, mapping.columns[column]) for column in mapping.header if column in mapping.columns),
        ignored=tuple(column for column in mapping.header if column not in mapping.columns),
        header=mapping.header,
        who=row.created_by.get_username() if row.created_by else "",
        updated_at=row.updated_at.astimezone(UTC),
        imports=len(used),
        latest=max(used).astimezone(UTC) if used else None,
        document=row.document,
    )
