"""Values on every page: the organisation, the user's roles and rights, and the data version shown."""

from collections.abc import Collection
from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from audit.roles import RIGHTS, Right, roles_of
from billing.models import Organisation
from costgov.health import known_errors
from costgov.queries.overview import waiting_count
from routing.queries.work_items import open_item_count


def shared(request: HttpRequest) -> dict[str, Any]:
    """Lazy: a page that shows none of it asks the database nothing."""
    roles: Any = SimpleLazyObject(lambda: _roles(request))  # asked once for both
    return {
        "organisation": SimpleLazyObject(lambda: Organisation.objects.filter(pk=1).first()),
        "roles": roles,
        "may": SimpleLazyObject(lambda: _rights(roles)),
        "waiting": SimpleLazyObject(lambda: _waiting(request)),
        "health": SimpleLazyObject(lambda: _health(request)),
        "open_items": SimpleLazyObject(lambda: _open_items(request)),
    }


def _waiting(request: HttpRequest) -> int:
    """Changes in review, for the badge beside Policies; 0 for whoever is not logged in."""
    user = getattr(request, "user", None)
    return waiting_count() if user is not None and user.is_authenticated else 0


def _open_items(request: HttpRequest) -> int:
    """Open work items of all classes, for the badge beside Evals; 0 for whoever is not logged in."""
    user = getattr(request, "user", None)
    return open_item_count() if user is not None and user.is_authenticated else 0


def _health(request: HttpRequest) -> dict[str, int | None]:
    """Errors in the data, for the badge beside Data health; `errors` None = not known yet, the page asks for it."""
    user = getattr(request, "user", None)
    return {"errors": known_errors() if user is not None and user.is_authenticated else 0}


def _roles(request: HttpRequest) -> list[str]:
    user = getattr(request, "user", None)
    return sorted(roles_of(user)) if user is not None and user.is_authenticated else []


def _rights(roles: Collection[str]) -> dict[str, bool]:
    """Rights by lower-case name, for templates: {% if may.edit_prices %}."""
    allowed = {right for role, rights in RIGHTS.items() if role in roles for right in rights}
    return {right.name.lower(): right in allowed for right in Right}
