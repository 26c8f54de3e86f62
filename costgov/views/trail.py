"""The audit trail: filtered by object, action and person; the address is the state."""

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.http import require_safe

from costgov.pages import BadQuery, page
from costgov.queries.trail import trail_page
from costgov.timespan import only


@require_safe
def audit(request: HttpRequest) -> HttpResponse:
    only(request, ("object", "id", "action", "person", "page"))
    asked = request.GET
    number = asked.get("page", "1")
    if not number.isdecimal():
        raise BadQuery(f"?page={number} is not a page number; use 1, 2, …")
    shown = trail_page(
        object_type=asked.get("object", ""),
        object_id=asked.get("id", ""),
        action=asked.get("action", ""),
        person=asked.get("person", ""),
        number=int(number),
    )
    return page(request, "costgov/audit.html", shown, nav="audit")


urlpatterns = [path("audit/", audit, name="audit")]
