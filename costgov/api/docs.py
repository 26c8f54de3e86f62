"""The schema, for programs as OpenAPI and for people as a list they can read."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer
from drf_spectacular.views import SpectacularAPIView
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.views import APIView

from costgov.pages import page
from costgov.tokens import SCOPES


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One line of the list."""

    method: str
    path: str
    summary: str
    description: str
    scope: str


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class ApiPage:
    topics: tuple[Topic, ...]
    scopes: tuple[str, ...]
    base_url: str


class SchemaView(SpectacularAPIView):
    """OpenAPI 3.0 as JSON (`?format=yaml`: YAML)."""

    renderer_classes = [OpenApiJsonRenderer, OpenApiYamlRenderer]
    permission_classes = [IsAuthenticated]


_schema = SchemaView.as_view()


def schema(request: HttpRequest) -> HttpResponseBase:
    """A browser gets a page; everything else, or `?format=json|yaml`, the OpenAPI document."""
    wanted = request.GET.get("format", "")
    if not wanted and "text/html" in request.headers.get("Accept", ""):
        return _page(request)
    if wanted in {"json", "yaml"}:
        request.META["HTTP_ACCEPT"] = {
            "json": OpenApiJsonRenderer.media_type,
            "yaml": OpenApiYamlRenderer.media_type,
        }[wanted]
    return _schema(request)


schema.login_required = False  # type: ignore[attr-defined]  # it sends people to the log-in itself, programs get 401


def _page(request: HttpRequest) -> HttpResponse:
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    value = ApiPage(topics(), tuple(SCOPES), request.build_absolute_uri("/api/v1/"))
    return page(request, "costgov/api.html", value, nav="api")


def topics() -> tuple[Topic, ...]:
    """Every endpoint by topic, from the schema."""
    document = SchemaGenerator().get_schema(request=None, public=True)
    found: dict[str, list[Endpoint]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            said = str(operation.get("description", "")).partition("\n\nScope:")[0].replace("`", "")
            found.setdefault(operation["tags"][0], []).append(
                Endpoint(method.upper(), path, operation.get("summary", ""), said, operation.get("x-scope", ""))
            )
    return tuple(Topic(name, tuple(rows)) for name, rows in sorted(found.items()))


class NoSuchAddress(APIView):
    """Every other address under /api/: the refusal has the same form as all others."""

    permission_classes = [AllowAny]
    authentication_classes: list[Any] = []
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise NotFound(f"There is nothing at {request.path}: see /api/v1/schema/ for what there is.")
