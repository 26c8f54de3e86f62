"""How far the files of one upload are, together: what a page asks for every other second."""

from dataclasses import dataclass
from typing import Final

from django.db.models import Sum

from billing.models import Import
from billing.queries.imports import KINDS

REFUSED_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """A file of an upload that was refused, and why in a clause."""

    id: int
    file_name: str
    why: str


@dataclass(frozen=True, slots=True)
class UploadProgress:
    """Files of one upload by what became of them. `accepted`: new rows so far; `refused` names the first few."""

    first: int
    last: int
    files: int
    imported: int
    unchanged: int
    failed: int
    cancelled: int
    accepted: int
    current: str
    """Name of the file that is being read; '' where none is."""
    refused: tuple[RefusedFile, ...]

    @property
    def ended(self) -> int:
        return self.imported + self.unchanged + self.failed + self.cancelled

    @property
    def is_running(self) -> bool:
        return self.ended < self.files


def upload_progress(*, user_id: int | None, first: int, last: int) -> UploadProgress | None:
    """Imports of a person with numbers first..last, which one upload made in a row. None where there are none."""
    rows = Import.objects.filter(kind__in=KINDS, created_by_id=user_id, pk__gte=first, pk__lte=last).order_by("pk")
    states = list(rows.values_list("state", "accepted"))
    if not states:
        return None
    done = [accepted for state, accepted in states if state == Import.State.DONE]
    failed = rows.filter(state=Import.State.FAILED)
    return UploadProgress(
        first=first,
        last=last,
        files=len(states),
        imported=sum(accepted > 0 for accepted in done),
        unchanged=sum(accepted == 0 for accepted in done),
        failed=sum(state == Import.State.FAILED for state, _ in states),
        cancelled=sum(state in (Import.State.CANCELLED, Import.State.DELETED) for state, _ in states),
        accepted=rows.filter(state=Import.State.DONE).aggregate(sum=Sum("accepted"))["sum"] or 0,
        current=rows.filter(state=Import.State.RUNNING).values_list("file_name", flat=True).first() or "",
        refused=tuple(RefusedFile(row.pk, row.file_name, why_refused(row)) for row in failed[:REFUSED_SHOWN]),
    )


def why_refused(row: Import) -> str:
    """The first thing that was wrong, in a clause; '' where nothing was."""
    if row.state != Import.State.FAILED:
        return ""
    if row.problems:
        field, message = str(row.problems[0].get("field") or ""), str(row.problems[0]["message"])
        return f"{field}: {message}" if field else message
    return row.error.removeprefix(f"{row.file_name}: ")
