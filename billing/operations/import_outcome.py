"""What an import was asked to do, and what it says it brought."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from billing.models import Import
from billing.queries.column_mappings import TO_MAP


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
    needs_mapping: bool = False
    """A table that waits until somebody says what its columns are."""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the user chose. An empty format is found out, an empty source is the format's usual one."""

    format: str = ""
    source: str = ""
    replace: bool = False
    good_rows: bool = False
    all_rows: bool = False
    """Of a bill: also the rows of other services than Claude."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """To what the file does not tell (billing/importers/records.py, `Switch`), by name."""
    mapping: Mapping[str, Any] | None = None
    """What the columns of a table of somebody's own are: a document of costgov.column_mapping/1."""

    def as_dict(self) -> dict[str, Any]:
        told = {"format": self.format, "source": self.source, "replace": self.replace, "good_rows": self.good_rows}
        told |= {"all_rows": True} if self.all_rows else {}
        told |= {"answers": dict(self.answers)} if self.answers else {}
        return told | ({"mapping": dict(self.mapping)} if self.mapping else {})

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "ImportOptions":
        return cls(
            str(options.get("format") or ""),
            str(options.get("source") or ""),
            bool(options.get("replace")),
            bool(options.get("good_rows")),
            bool(options.get("all_rows")),
            {str(name): str(value) for name, value in (options.get("answers") or {}).items()},
            options.get("mapping") or None,
        )


def outcome_of(row: Import, *, file_name: str = "", is_repeat: bool = False, message: str = "") -> ImportOutcome:
    """What an import's row says."""
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
        needs_mapping=row.kind == TO_MAP and not row.is_finished,
    )
