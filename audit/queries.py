"""Reading the audit trail and the data version."""

from django.db.models import QuerySet

from audit.models import AuditEntry, DataVersion


def data_version() -> int:
    """Number of the last committed audited change; 0 on an empty database."""
    return DataVersion.objects.filter(id=1).values_list("version", flat=True).first() or 0


def entries(*, object_type: str | None = None, object_id: str | None = None) -> QuerySet[AuditEntry]:
    """Entries, newest first, optionally of one kind of object or of one object."""
    rows = AuditEntry.objects.select_related("actor")
    if object_type is not None:
        rows = rows.filter(object_type=object_type)
    if object_id is not None:
        rows = rows.filter(object_id=object_id)
    return rows
