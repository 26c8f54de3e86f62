"""Imports as pages and other operations read them."""

from datetime import date
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db.models import QuerySet

from billing.models import Import, ModelAlias, ModelRelease, Organisation
from billing.store import RequestStore, StoredImport

KINDS: Final = ("usage", "costs")


def request_store() -> RequestStore:
    """The store of this instance: COSTGOV_REQUEST_STORE, a folder or an object store's URL, else under COSTGOV_VAR."""
    var = Path(settings.COSTGOV_VAR)
    return RequestStore(settings.COSTGOV_REQUEST_STORE or var / "requests", var / "tmp")


def details_kept_from() -> date | None:
    """First day that retention left whole: earlier requests, or hours, were forgotten. None = nothing was."""
    found = Organisation.objects.values_list("requests_kept_from", "hours_kept_from").first() or ()
    return max((day for day in found if day is not None), default=None)


def incoming_folder() -> Path:
    """Where uploaded files wait; only we may look inside."""
    folder = Path(settings.COSTGOV_VAR) / "incoming"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def stored_imports(*, exclude: int | None = None) -> list[StoredImport]:
    """Imports whose files in the request store count, with their generation."""
    rows = Import.objects.filter(kind="usage", state=Import.State.DONE, source__grain="request").order_by("pk")
    return [
        StoredImport(pk, int((options or {}).get("generation", 0)))
        for pk, options in rows.values_list("pk", "options")
        if pk != exclude
    ]


def recent_imports(*, limit: int = 50) -> QuerySet[Import]:
    """Newest first, with their source."""
    return Import.objects.filter(kind__in=KINDS).select_related("source", "created_by")[:limit]


def model_aliases() -> dict[str, str]:
    """Every known name of a model → canonical id."""
    names = {name: name for name in ModelRelease.objects.values_list("canonical_id", flat=True)}
    names |= {
        alias.strip().lower(): model
        for alias, model in ModelAlias.objects.values_list("alias", "release__canonical_id")
    }
    return names
