"""The data health of now, computed once for the same data: for its page, the Imports page, the API and the menu."""

from typing import Any

from django.db.models import Count, Max

from billing.models import Import
from costgov.pages import cached, known, now
from costgov.queries.health import DataHealth, data_health


def current_health() -> DataHealth:
    """Kept until any change, any file that comes or ends, or the day is over."""
    at = now()
    return cached("data-health", lambda: data_health(as_of=at), **_key())


def known_errors() -> int | None:
    """Number of errors where the health is known already; None where it is not: no page waits for it."""
    found: DataHealth | None = known("data-health", **_key())
    return None if found is None else found.errors


def _key() -> dict[str, Any]:
    # A refused or waiting file is no audited change, and still a finding.
    files = Import.objects.aggregate(count=Count("pk"), newest=Max("pk"), ended=Max("finished_at"))
    return {"day": now().date().isoformat(), "files": [str(value) for value in files.values()]}
