"""What every endpoint shares: its scope, its checked input, and its description in the schema."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from costgov.api.shapes import ERROR_REF, shape
from costgov.models import ApiToken

F = TypeVar("F", bound=Callable[..., Any])
EMPTY_FILE = "The file is empty (0 bytes): export it again and upload the result."
_REFUSALS = {
    400: "The input cannot be used.",
    401: "No token, or one that is unknown, expired or revoked.",
    403: "The token lacks the scope or the environment, or its owner lacks the right.",
    404: "There is no such thing, or nothing is active yet.",
    409: "The step cannot be taken now; the message says why.",
}


def endpoint(
    *,
    summary: str,
    tag: str,
    scope: str = "read",
    query: type[Serializer[Any]] | None = None,
    body: type[Serializer[Any]] | None = None,
    answers: Any = None,
    status: int = 200,
    refusals: tuple[int, ...] = (),
) -> Callable[[F], F]:
    """Describe one method of an ApiView and name the scope a token needs for it (HasScope reads it here)."""

    def decorate(function: F) -> F:
        said = " ".join((function.__doc__ or "").split())
        response = OpenApiResponse(shape(answers), description=summary) if answers is not None else None
        codes = sorted({400, 401, 403, *refusals} if query or body else {401, 403, *refusals})
        described = extend_schema(
            operation_id=_operation_id(function),
            summary=summary,
            description=f"{said}\n\nScope: `{scope}`.",
            tags=[tag],
            request=body,
            parameters=[query] if query is not None else [],
            responses={
                status: response or OpenApiResponse(description="Done"),
                **{code: OpenApiResponse(ERROR_REF, description=_REFUSALS[code]) for code in codes},
            },
            extensions={"x-scope": scope},
        )(function)
        described.scope = scope  # type: ignore[attr-defined]
        return described

    return decorate


def _operation_id(function: Callable[..., Any]) -> str:
    """SpendView.get → get_spend: what generated clients call it."""
    owner, _, method = function.__qualname__.rpartition(".")
    words = re.findall("[A-Z][a-z]+", owner.removesuffix("View").removesuffix("Api"))
    return "_".join([method, *(word.lower() for word in words)])


class ApiView(APIView):
    """A view whose methods name their scope with `endpoint`."""

    @property
    def required_scope(self) -> str:
        method = "get" if self.request.method == "HEAD" else (self.request.method or "get").lower()
        return str(getattr(getattr(self, method, None), "scope", "read"))

    def asked(self, kind: type[Serializer[Any]]) -> dict[str, Any]:
        """The query parameters, checked; one nobody knows is refused, as it would silently change nothing."""
        serializer = kind(data=self.request.query_params)
        strange = sorted(set(self.request.query_params) - set(serializer.fields))
        if strange:
            known = ", ".join(serializer.fields) or "none"
            raise ValidationError({name: [f"Not a parameter here; it knows {known}."] for name in strange})
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def given(self, kind: type[Serializer[Any]]) -> dict[str, Any]:
        """The body, checked."""
        serializer = kind(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def need_environment(self, environment: str) -> None:
        """A token bound to environments acts in those only, also where the address does not name one."""
        token = self.request.auth
        if isinstance(token, ApiToken) and token.environments and environment not in token.environments:
            raise PermissionDenied(f"This token is not for environment {environment}.")


def actor_of(request: Request) -> Any:
    """Who acts: the person logged in, or the owner of the token."""
    return request.user


class TokenScheme(OpenApiAuthenticationExtension):
    """`Authorization: Bearer cg_…` in the schema."""

    target_class = "costgov.tokens.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A token made under Settings → API tokens."}
