"""API tokens: 256 random bits shown once; we keep their SHA-256, scopes, environments, expiry and latest use."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Q
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from audit import operations as audit
from costgov.models import ApiToken
from costgov.pages import now

SCOPES = {
    "read": "read every figure",
    "bundle:read": "poll the policy in force (gateways)",
    "decide": "ask for decisions",
    "usage:write": "upload usage files",
    "evals:write": "upload eval results",
    "policy:write": "propose, approve and activate policies",
    "prices:write": "propose and approve contracts, keep what-if prices",
    "forecast:write": "make forecasts, keep terms, size commitments",
    "months:write": "enter invoices, explain, comment and close months",
}
PREFIX = "cg_"
_USE_RESOLUTION = timedelta(minutes=1)  # latest_used_at is for people: no write per request


class TokenRefused(ValueError):
    """A token that cannot be made; the message says why."""


@transaction.atomic
def create_token(
    *,
    actor: AbstractBaseUser,
    name: str,
    scopes: Sequence[str],
    as_of: datetime,
    environments: Sequence[str] = (),
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """A new token of the actor and its secret, which is not kept and cannot be shown again."""
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise TokenRefused(f"Unknown scopes {', '.join(unknown) or '(none given)'}: choose from {', '.join(SCOPES)}.")
    secret = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        name=name,
        user_id=actor.pk,
        prefix=secret[: len(PREFIX) + 6],
        sha256=_digest(secret),
        scopes=list(scopes),
        environments=list(environments),
        created_at=as_of,
        expires_at=expires_at,
    )
    audit.record(
        actor=actor,
        action="token.created",
        object_type="api_token",
        object_id=token.pk,
        object_label=f"{name} ({token.prefix}…)",
        after={"scopes": list(scopes), "environments": list(environments)},
        as_of=as_of,
    )
    return token, secret


@transaction.atomic
def revoke_token(*, actor: AbstractBaseUser, token_id: int, as_of: datetime) -> ApiToken:
    """Make one of the actor's tokens useless from now on."""
    token = ApiToken.objects.select_for_update().get(pk=token_id, user_id=actor.pk)
    if token.revoked_at is None:
        token.revoked_at = as_of
        token.save(update_fields=["revoked_at"])
        audit.record(
            actor=actor,
            action="token.revoked",
            object_type="api_token",
            object_id=token.pk,
            object_label=f"{token.name} ({token.prefix}…)",
            as_of=as_of,
        )
    return token


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer cg_…`."""

    def authenticate(self, request: Request) -> tuple[Any, ApiToken] | None:
        parts = get_authorization_header(request).split()
        if not parts or parts[0].lower() != b"bearer":
            return None
        if len(parts) != 2:
            raise AuthenticationFailed("Send 'Authorization: Bearer <token>' with one token.")
        moment = now()
        live = Q(expires_at__isnull=True) | Q(expires_at__gt=moment)
        token = (
            ApiToken.objects.select_related("user")
            .filter(live, sha256=_digest(parts[1].decode("latin-1")), revoked_at__isnull=True, user__is_active=True)
            .first()
        )
        if token is None:
            raise AuthenticationFailed("Unknown, expired or revoked token. Make a new one under Settings → API tokens.")
        if token.latest_used_at is None or moment - token.latest_used_at > _USE_RESOLUTION:
            ApiToken.objects.filter(pk=token.pk).update(latest_used_at=moment)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="costgov"'


class HasScope(BasePermission):
    """A token needs the view's `required_scope` (default: read); a person logged in needs none, roles decide."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not (request.user and request.user.is_authenticated):
            return False
        token = request.auth
        if not isinstance(token, ApiToken):
            return True
        scope = getattr(view, "required_scope", "read")
        if scope not in token.scopes:
            self.message = f"This token lacks the scope {scope}; it has {', '.join(token.scopes)}."
            return False
        environment = view.kwargs.get("environment") or _named_in_body(request)
        if environment and token.environments and environment not in token.environments:
            self.message = f"This token is not for environment {environment}."
            return False
        return True


def _named_in_body(request: Request) -> object:
    """The environment a body names; a body that is no object is refused later, by its serializer."""
    return request.data.get("environment") if isinstance(request.data, Mapping) else None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
