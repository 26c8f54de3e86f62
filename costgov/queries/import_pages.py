"""The Imports page: recent files, sources, and the worst of what is odd about the data."""

from dataclasses import dataclass
from datetime import date

from billing.core.health import Finding
from billing.queries.column_mappings import waiting_tables
from billing.queries.import_pages import ImportRow, SourceRow, import_rows, imported_period, source_rows
from costgov.queries.health import DataHealth

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ImportsPage:
    """What was imported, from where, and what to look at. `days`: first and last day with usage.

    `remarks`: the worst findings of the data health; `findings`: how many there are in all.
    """

    imports: tuple[ImportRow, ...]
    sources: tuple[SourceRow, ...]
    remarks: tuple[Finding, ...]
    findings: int
    days: tuple[date, date] | None
    accepted: int
    running: int
    waiting: tuple[tuple[int, str], ...] = ()
    """Tables nobody has described yet: number and file name."""


def imports_page(*, health: DataHealth) -> ImportsPage:
    rows = import_rows()
    return ImportsPage(
        imports=rows,
        sources=source_rows(),
        remarks=health.findings[:_SHOWN],
        findings=len(health.findings),
        days=imported_period(),
        accepted=sum(row.accepted or 0 for row in rows),
        running=sum(row.is_running for row in rows),
        waiting=waiting_tables(),
    )
