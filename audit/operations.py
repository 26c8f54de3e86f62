"""The one way to write an audit entry. Call it inside the transaction of the change, as its last step."""

from datetime import datetime
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection

from audit.models import AuditEntry, DataVersion

SYSTEM = "system"


def record(
    *,
    actor: AbstractBaseUser | None,
    action: str,
    object_type: str,
    object_id: object,
    as_of: datetime,
    object_label: str = "",
    before: Any = None,
    after: Any = None,
    note: str = "",
    is_demo: bool = False,
) -> AuditEntry:
    """Append one entry and bump the data version. Raises RuntimeError outside a transaction.

    The version row stays locked until commit, so call this last: what follows makes other writers wait.
    """
    if not connection.in_atomic_block:
        raise RuntimeError(f"audit entry {action} for {object_type} {object_id} outside a transaction")
    entry = AuditEntry.objects.create(
        at=as_of,
        actor_id=actor.pk if actor is not None else None,
        actor_name=actor.get_username() if actor is not None else SYSTEM,
        action=action,
        object_type=object_type,
        object_id=str(object_id),
        object_label=object_label[:255],
        before=before,
        after=after,
        note=note,
        is_demo=is_demo,
    )
    bump_data_version()
    return entry


def bump_data_version() -> None:
    """Tell caches that figures may have changed."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {DataVersion._meta.db_table} (id, version) VALUES (1, 1) "  # noqa: S608 - a table name of ours
            f"ON CONFLICT (id) DO UPDATE SET version = {DataVersion._meta.db_table}.version + 1"
        )


__all__ = ["SYSTEM", "bump_data_version", "record"]
