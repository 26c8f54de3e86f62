"""System checks of what settings alone cannot refuse: each has an id and a hint (`manage.py check [--deploy]`)."""

import os
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

_LOCAL = {"localhost", "127.0.0.1", "[::1]"}


@register(Tags.files)
def var_is_ours(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Uploads, the request store and the embedded services live there."""
    folder = settings.COSTGOV_VAR
    if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
        return [
            Error(
                f"COSTGOV_VAR={folder} cannot be written by this user.",
                hint="Give the folder to the user that runs costgov, or name another one with COSTGOV_VAR.",
                id="costgov.E001",
            )
        ]
    return []


@register(Tags.security, deploy=True)
def reached_from_elsewhere_over_https(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Session cookies and API tokens cross the network as they are."""
    elsewhere = sorted(set(settings.ALLOWED_HOSTS) - _LOCAL)
    if elsewhere and not settings.HTTPS:
        return [
            Warning(
                f"COSTGOV_HOSTS names {', '.join(elsewhere)}, but COSTGOV_HTTPS is off.",
                hint="Put a TLS proxy in front that sets X-Forwarded-Proto, and set COSTGOV_HTTPS=1.",
                id="costgov.W001",
            )
        ]
    return []


@register(Tags.security, deploy=True)
def clock_runs(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A frozen instant is for demos and tests: nothing becomes stale, nothing new is seen."""
    if settings.COSTGOV_AS_OF is not None:
        return [
            Warning(
                f"COSTGOV_AS_OF freezes every page at {settings.COSTGOV_AS_OF.isoformat()}.",
                hint="Unset COSTGOV_AS_OF on an installation people rely on.",
                id="costgov.W002",
            )
        ]
    return []
