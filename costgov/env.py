"""Reading the environment: every value is checked here, and a bad one is refused with its name, value and remedy."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

PROJECT = Path(__file__).resolve().parent.parent
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}


class BadSetting(SystemExit):
    """A setting that cannot be used. Ends the program with its message instead of a traceback."""


def flag(name: str, default: bool, env: Mapping[str, str] = os.environ) -> bool:
    """A yes/no setting."""
    value = env.get(name)
    if value is None:
        return default
    if value.strip().lower() in _TRUE:
        return True
    if value.strip().lower() in _FALSE:
        return False
    raise BadSetting(f"{name}={value} is neither yes nor no: use 1 or 0.")


def number(name: str, default: int, low: int, high: int, env: Mapping[str, str] = os.environ) -> int:
    """A whole number between two bounds, both included."""
    value = env.get(name, "").strip()
    if not value:
        return default
    if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
        raise BadSetting(f"{name}={value} is not a whole number from {low} to {high}.")
    return int(value)


def optional_number(name: str, low: int, high: int, env: Mapping[str, str] = os.environ) -> int | None:
    """A whole number between two bounds, both included; None where it is not set."""
    return number(name, low, low, high, env) if env.get(name, "").strip() else None


def words(name: str, default: list[str], env: Mapping[str, str] = os.environ) -> list[str]:
    """A list separated by commas."""
    value = env.get(name)
    return default if value is None else [word.strip() for word in value.split(",") if word.strip()]


def origins(name: str, default: list[str], env: Mapping[str, str] = os.environ) -> list[str]:
    """A list of origins, each with its scheme."""
    found = words(name, default, env)
    for origin in found:
        if not origin.startswith(("http://", "https://")):
            raise BadSetting(f"{name}: {origin} lacks its scheme: write https://{origin}.")
    return found


def instant(name: str, env: Mapping[str, str] = os.environ) -> datetime | None:
    """An instant or a day (its first moment), in UTC unless it says otherwise; None when not set."""
    value = env.get(name, "").strip()
    if not value:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError as error:
        raise BadSetting(f"{name}={value} is not a time: write it as 2026-11-22 or 2026-11-22T08:00:00Z.") from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def var_folder(env: Mapping[str, str] = os.environ) -> Path:
    """Where everything that changes lives: COSTGOV_VAR, else var/ in the project."""
    value = env.get("COSTGOV_VAR", "").strip()
    folder = Path(value).expanduser().absolute() if value else PROJECT / "var"
    if folder.exists() and not folder.is_dir():
        raise BadSetting(f"COSTGOV_VAR={folder} is a file: name a folder, it is made when it does not exist.")
    return folder.resolve()


def request_store(env: Mapping[str, str] = os.environ) -> str:
    """COSTGOV_REQUEST_STORE: a folder, or a URL of an object store like s3://bucket/folder; '' = under COSTGOV_VAR."""
    value = env.get("COSTGOV_REQUEST_STORE", "").strip().rstrip("/")
    if not value:
        return ""
    if "://" not in value:
        folder = Path(value).expanduser().absolute()
        if folder.exists() and not folder.is_dir():
            raise BadSetting(
                f"COSTGOV_REQUEST_STORE={value} is a file: name a folder or a URL like s3://bucket/folder."
            )
        return str(folder)
    protocol = value.partition("://")[0]
    try:
        import fsspec  # only a URL needs it

        fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        raise BadSetting(f"COSTGOV_REQUEST_STORE={value} cannot be reached: {error}.") from error
    return value


def port(env: Mapping[str, str] = os.environ) -> int:
    """The port of the web server."""
    return number("PORT", 8000, 1, 65535, env)


def database(url: str) -> dict[str, Any]:
    """Django's connection settings for a DATABASE_URL, as libpq reads it: ?host= names a socket folder."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql"):
        raise BadSetting(
            f"DATABASE_URL begins with {parts.scheme or 'no scheme'}: only PostgreSQL is supported, "
            "as postgresql://user:password@host:5432/name."
        )
    name = unquote(parts.path.lstrip("/"))
    if not name or "/" in name:
        raise BadSetting("DATABASE_URL names no database: end its path with one, as in postgresql://user@host/costgov.")
    try:
        port_number = parts.port
    except ValueError as error:
        raise BadSetting("DATABASE_URL has a port that is not a number from 0 to 65535.") from error
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    host = options.pop("host", None) or unquote(parts.hostname or "")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(port_number or options.pop("port", "")),
        "OPTIONS": options,
    }


def redis_addresses(url: str) -> tuple[str, str, str]:
    """Addresses of cache, broker and results, in three databases of one server.

    The number in the URL (redis://host:6379/3, unix:///path?db=3; 0 when absent) is the first of the three.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    if parts.scheme in ("redis", "rediss"):
        if not parts.hostname:
            raise BadSetting("REDIS_URL names no host: write it as redis://host:6379.")
        first = _database_number(query.pop("db", "") or parts.path.strip("/"))
        rest = f"?{parts.query}" if query else ""
        server = f"{parts.scheme}://{parts.netloc}"
        cache, broker, results = (f"{server}/{first + i}{rest}" for i in range(3))
        return cache, broker, results
    if parts.scheme in ("unix", "redis+socket"):
        if not parts.path.startswith("/") or parts.netloc.rpartition("@")[2]:
            raise BadSetting("REDIS_URL names no absolute socket path: write it as unix:///run/redis.sock.")
        first = _database_number(query.get("db") or query.get("virtual_host", ""))
        socket = f"redis+socket://{parts.netloc}{parts.path}"
        return (
            f"unix://{parts.netloc}{parts.path}?db={first}",
            f"{socket}?virtual_host={first + 1}",
            f"{socket}?virtual_host={first + 2}",
        )
    raise BadSetting(
        f"REDIS_URL begins with {parts.scheme or 'no scheme'}: use redis://host:6379, rediss://… or unix:///path."
    )


def _database_number(text: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise BadSetting(f"REDIS_URL: database {text} is not a whole number.")
    return int(text or 0)
