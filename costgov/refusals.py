"""Expected refusals become pages (or JSON) in words instead of server errors."""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponse, JsonResponse

from audit.roles import Forbidden
from billing.store import StoreUnreachable
from costgov.pages import BadQuery, Refusal, page


class NoRoomForUpload(SuspiciousOperation):
    """The disk is full. Of a kind that Django hands to `handler400` where no view has been reached yet."""

    def __init__(self) -> None:
        super().__init__(
            "The upload could not be saved: no room is left on the server's disk. Nothing of it was kept. "
            "Make room on the server's disk and upload it again."
        )


class RefusalMiddleware:
    """403 for a missing right, 400 for an unreadable address or query parameter, 503 without the request store."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # PostgreSQL stores no NUL, and Django lets one pass in addresses: any query with it would be a server error.
        if "\0" in request.path or any("\0" in text for pair in request.GET.lists() for text in (pair[0], *pair[1])):
            message = "It holds a NUL character (%00). Take it out, or start from the overview."
            return _answer(request, 400, "bad_address", "This address cannot be read", message)
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        # After log-in and CSRF were checked: only then is a form read. The API reads its bodies itself.
        if request.method == "POST" and not request.path.startswith("/api/"):
            named = next((name for name, values in request.POST.lists() if any("\0" in text for text in values)), None)
            if named is not None or any("\0" in name for name in request.POST):
                message = (
                    f"Its field {(named or 'name').replace(chr(0), '')[:40]} holds a NUL character, which no database "
                    "stores. Go back, take it out, and send the form again; nothing was changed."
                )
                return _answer(request, 400, "bad_form", "This form cannot be read", message)
        return None

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, Forbidden):
            return _answer(request, 403, "forbidden", "You may not do this", str(exception))
        if isinstance(exception, BadQuery):
            return _answer(request, 400, "bad_query", "This address cannot be read", str(exception))
        if isinstance(exception, NoRoomForUpload):
            return no_room(request, exception)
        if isinstance(exception, StoreUnreachable):
            return _answer(request, 503, "store_unreachable", "The requests cannot be reached", str(exception))
        return None


def no_room(request: HttpRequest, exception: NoRoomForUpload) -> HttpResponse:
    return _answer(request, 507, "no_room", "No room for this upload", str(exception))


def _answer(request: HttpRequest, status: int, code: str, title: str, message: str) -> HttpResponse:
    if request.path.startswith("/api/"):
        return JsonResponse({"error": {"code": code, "message": message}}, status=status)
    return page(request, "refused.html", Refusal(title, message), nav="", status=status)
