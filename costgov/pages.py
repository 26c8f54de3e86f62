"""What every page shares: its clock, its rights, its cache, its navigation."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, date, datetime
from functools import cache as cache_once
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from audit.queries import data_version
from audit.roles import Right, require
from billing.core.periods import EARLIEST

T = TypeVar("T")
P = ParamSpec("P")
CACHE_SECONDS = 24 * 3600


@cache_once
def _code_version() -> str:
    """A fingerprint of the installed code: a value cached by another version may have another shape."""
    facts = [
        (str(path), stat.st_size, stat.st_mtime_ns)
        for package in ("costgov", "routing", "billing", "audit", "gateway")
        for path in sorted((settings.BASE_DIR / package).rglob("*.py"))
        for stat in (path.stat(),)
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


class BadQuery(ValueError):
    """A query parameter that cannot be read; the message names it, its value and what is accepted."""


def now() -> datetime:
    """The clock of the edges: UTC, or COSTGOV_AS_OF where an installation is frozen at an instant (demos, tests)."""
    frozen: datetime | None = getattr(settings, "COSTGOV_AS_OF", None)
    return frozen or timezone.now().astimezone(UTC)


def today() -> date:
    """The current UTC day: data ends the day before."""
    return now().date()


def cached(name: str, build: Callable[[], T], **key: Any) -> T:
    """A finished figure, kept until any audited change (audit.queries.data_version) or another key.

    `build` must not return None: that is how the cache says that it has nothing.
    """
    cache_key = _cache_key(name, key)
    found: T | None = cache.get(cache_key)
    if found is not None:
        return found
    value = build()
    cache.set(cache_key, value, CACHE_SECONDS)
    return value


def known(name: str, **key: Any) -> Any:
    """The figure `cached` would give without computing it; None where it is not known yet."""
    return cache.get(_cache_key(name, key))


def _cache_key(name: str, key: dict[str, Any]) -> str:
    parts = f"{_code_version()}:{name}:{data_version()}:{sorted(key.items())}"
    return f"costgov:{name}:{hashlib.sha256(parts.encode()).hexdigest()[:32]}"


def page(
    request: HttpRequest, template: str, context: Any, *, nav: str, status: int = 200, **extra: Any
) -> HttpResponse:
    """Render a page from its context dataclass: its fields are the template's names."""
    values = (
        {field.name: getattr(context, field.name) for field in fields(context)} if is_dataclass(context) else context
    )
    return render(request, template, {**values, "page": context, "nav": nav, **extra}, status=status)


def right_required(
    right: Right,
) -> Callable[
    [Callable[Concatenate[HttpRequest, P], HttpResponse]], Callable[Concatenate[HttpRequest, P], HttpResponse]
]:
    """Refuse with 403 (a page in words) unless the user may do it. Operations check again."""

    def decorate(
        view: Callable[Concatenate[HttpRequest, P], HttpResponse],
    ) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            require(request.user, right)  # type: ignore[arg-type]
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def choice(request: HttpRequest, name: str, accepted: list[str], default: str) -> str:
    """A query parameter with a closed list of values."""
    value = request.GET.get(name, default)
    if value not in accepted:
        raise BadQuery(f"?{name}={value} is not known here; use one of {', '.join(accepted)}.")
    return value


def day(request: HttpRequest, name: str, default: date) -> date:
    """A query parameter that is a date, as 2026-11-22."""
    value = request.GET.get(name)
    if not value:
        return default
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise BadQuery(f"?{name}={value} is not a date; write it as 2026-11-22.") from error


def looked_back_to(as_of: datetime) -> datetime:
    """The moment a verdict is asked for. Raises ValueError for one to come: nobody knows what runs till then."""
    if as_of > now():
        raise ValueError(f"{as_of:%Y-%m-%d %H:%M} UTC is in the future: ask for a moment up to now.")
    if as_of < EARLIEST:
        raise ValueError(f"{as_of.isoformat()} is before {EARLIEST.year}: nothing is held of that time.")
    return as_of


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a refused request shows: which right is missing and who may do it."""

    title: str
    message: str
