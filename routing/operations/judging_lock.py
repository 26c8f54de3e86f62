"""One transaction at a time judges classes."""

from typing import Final

from django.db import connection

_LOCK: Final = 0x76657264


def lock_judging() -> None:
    """Wait for whoever judges, and hold on until the commit. May be asked for again.

    Two at once would both find the same verdict new. Taken before kept evidence, verdict records, work items and the
    data version are written: in any other order an import and the daily judging could wait for each other.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
