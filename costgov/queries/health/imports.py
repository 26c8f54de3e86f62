"""Files that were refused, wait for an answer, lost rows, or held nothing new."""

from datetime import datetime, timedelta
from typing import Final

from billing.core.health import Finding
from billing.importers.records import SWITCHES
from billing.models import Import
from billing.queries.column_mappings import TO_MAP
from costgov.queries.health.words import link, sentence, some
from costgov.templatetags.costgov_format import integer

RECENT: Final = timedelta(days=30)
_SHOWN: Final = 8
_SWITCHES: Final = {switch.name: switch for switch in SWITCHES}


def import_findings(*, as_of: datetime) -> list[Finding]:
    return [*_refused(as_of), *_waiting(), *_rejected(), *_duplicates()]


def _refused(as_of: datetime) -> list[Finding]:
    """Refused lately, and no later file of that name went in."""
    ended = Import.objects.filter(state=Import.State.DONE).order_by("created_at")
    done = dict(ended.values_list("file_name", "created_at"))
    rows = Import.objects.filter(state=Import.State.FAILED, created_at__gte=as_of - RECENT).order_by("-created_at")
    found: list[Finding] = []
    seen: set[str] = set()
    for row in rows:
        if row.file_name in seen or (row.file_name in done and done[row.file_name] >= row.created_at):
            continue
        seen.add(row.file_name)
        asked = next((str(one.get("field")) for one in row.problems if one.get("field") in _SWITCHES), "")
        first = row.problems[0] if row.problems else {}
        found.append(
            Finding(
                level="error" if asked else "warning",
                topic="imports",
                key=f"refused:{row.pk}",
                title=f"{row.file_name} waits for an answer: {_SWITCHES[asked].question}"
                if asked
                else f"{row.file_name} was refused: nothing of it was imported",
                text=sentence(str(first.get("message") or row.error or "no reason was kept")),
                remedy=sentence(str(first.get("remedy") or "Mend it and upload it again")),
                first=row.created_at.date(),
                last=row.created_at.date(),
                link=link("import-detail", row.pk),
                action="Open the import",
            )
        )
    return found[:_SHOWN]


def _waiting() -> list[Finding]:
    rows = Import.objects.filter(kind=TO_MAP, state=Import.State.QUEUED).order_by("-created_at")
    return [
        Finding(
            level="warning",
            topic="imports",
            key=f"waiting:{row.pk}",
            title=f"{row.file_name} waits until somebody says what its columns are",
            text="No known format claims the table. It is deleted a day after its upload.",
            remedy="Say what its columns are; the next one like it is read by itself.",
            first=row.created_at.date(),
            last=row.created_at.date(),
            link=link("describe-table", row.pk),
            action="Say what the columns are",
        )
        for row in rows
    ]


def _rejected() -> list[Finding]:
    rows = Import.objects.filter(state=Import.State.DONE, rejected__gt=0).order_by("-created_at")
    return [
        Finding(
            level="warning",
            topic="imports",
            key=f"rejected:{row.pk}",
            title=f"{integer(row.rejected)} rows of {row.file_name} were left out",
            text=f"Its {integer(row.accepted)} good rows were imported alone, as somebody chose.",
            remedy="Mend the rows at their source and import the file again.",
            first=row.period_start.date() if row.period_start else None,
            last=row.period_end.date() if row.period_end else None,
            link=link("import-detail", row.pk),
            action="Open the import",
        )
        for row in rows[:_SHOWN]
    ]


def _duplicates() -> list[Finding]:
    """One finding for all: a duplicate is counted once, which is as it should be."""
    rows = list(Import.objects.filter(state=Import.State.DONE, duplicates__gt=0).order_by("-duplicates"))
    if not rows:
        return []
    total = sum(row.duplicates for row in rows)
    files = some([f"{row.file_name} {integer(row.duplicates)}" for row in rows])
    return [
        Finding(
            level="note",
            topic="imports",
            key="duplicates",
            title=f"{integer(total)} requests came again and were counted once",
            text=f"In {len(rows)} {'files' if len(rows) > 1 else 'file'}: {files}.",
            remedy="Nothing, unless a file should have held new requests only.",
            link=link("import-detail", rows[0].pk) if len(rows) == 1 else link("imports"),
            action="Open the import" if len(rows) == 1 else "Open Imports",
        )
    ]
