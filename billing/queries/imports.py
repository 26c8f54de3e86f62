"""Imports as pages and other operations read them."""

from collections.abc import Callable, Collection
from datetime import date
from pathlib import Path
from typing import Final, TypeVar

import duckdb
from django.conf import settings
from django.db.models import QuerySet

from billing.models import Import, ModelAlias, ModelRelease, Organisation
from billing.store import Pack, RequestStore, StoredImport

KINDS: Final = ("usage", "costs")
_TRIES: Final = 20
Found = TypeVar("Found")


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


def stored_imports(*, exclude: int | None = None, only: Collection[int] | None = None) -> list[StoredImport]:
    """Imports whose requests in the store count, with generation and packs; of these ids where `only` is given."""
    rows = Import.objects.filter(kind="usage", state=Import.State.DONE, source__grain="request")
    if only is not None:
        rows = rows.filter(pk__in=only)
    found: dict[int, tuple[int, list[Pack]]] = {}
    # One statement, so that it sees a compaction whole or not at all.
    packed = ("packed__pack", "packed__pack__day", "packed__pack__imports")
    for pk, options, number, day, imports in rows.order_by("pk", "packed__day").values_list("pk", "options", *packed):
        _, packs = found.setdefault(pk, (int((options or {}).get("generation", 0)), []))
        if number is not None:
            packs.append(Pack(number, str(day), imports))
    return [StoredImport(pk, generation, tuple(packs)) for pk, (generation, packs) in found.items() if pk != exclude]


def read_steadily(read: Callable[[list[StoredImport]], Found], *, only: Collection[int] | None = None) -> Found:
    """What `read` finds in the requests that count, for those who hold no lock.

    Files go only after a commit has changed what counts: where it is the same before and after, all were there.
    """
    for last in range(_TRIES):
        before = stored_imports(only=only)
        try:
            found = read(before)
        except duckdb.IOException:
            if last == _TRIES - 1 or _exactly(stored_imports(only=only)) == _exactly(before):
                raise
            continue
        if _exactly(stored_imports(only=only)) == _exactly(before):
            return found
    raise RuntimeError("the request store changed each time it was read")


def _exactly(imports: list[StoredImport]) -> list[tuple[StoredImport, tuple[Pack, ...]]]:
    return [(item, item.packs) for item in imports]


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
