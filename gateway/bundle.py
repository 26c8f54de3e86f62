"""The bundle: what a gateway fetches for its environment (policy-spec.md §8)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from gateway.document import canonical_json

SCHEMA: Final = "costgov.bundle/1"
_KEYS: Final = (
    "schema",
    "environment",
    "sequence",
    "issued_at",
    "stale_after_s",
    "kill_switch",
    "approved_by",
    "policy",
)


class BundleError(ValueError):
    """A bundle body that cannot be used; the adapter keeps the one it has."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A parsed body. ``policy`` is the raw document: compile it (``gateway.engine``) before swapping it in."""

    environment: str
    sequence: int
    issued_at: datetime
    stale_after_s: int
    kill_switch: bool
    approved_by: tuple[str, ...]
    policy: dict[str, Any]


def bundle_body(
    *,
    environment: str,
    sequence: int,
    issued_at: datetime,
    stale_after_s: int,
    kill_switch: bool,
    approved_by: Sequence[str],
    policy: Mapping[str, Any],
) -> bytes:
    """Canonical JSON of a bundle: equal arguments give equal bytes, hence an equal ETag.

    ``issued_at``: when the sequence was activated (not the time of the request, else every answer would differ); must
    be aware, is written in UTC. Raises ValueError for a naive time.
    """
    if issued_at.tzinfo is None:
        raise ValueError(f"issued_at {issued_at.isoformat()} has no time zone; pass an aware datetime")
    return canonical_json(
        {
            "schema": SCHEMA,
            "environment": environment,
            "sequence": sequence,
            "issued_at": issued_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "stale_after_s": stale_after_s,
            "kill_switch": kill_switch,
            "approved_by": list(approved_by),
            "policy": policy,
        }
    )


def etag(environment: str, sequence: int, body: bytes) -> str:
    """``"<environment>.<sequence>.<first 16 hex of SHA-256 of the body>"``, with the quotes HTTP wants."""
    return f'"{environment}.{sequence}.{hashlib.sha256(body).hexdigest()[:16]}"'


def parse_bundle(body: bytes) -> Bundle:
    """Bundle from a response body. Raises BundleError naming the field: not JSON, a key missing, a wrong type."""
    try:
        value = json.loads(body.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BundleError(f"the bundle is not JSON in UTF-8: {error}; fetch it again") from error
    if not isinstance(value, dict):
        raise BundleError("the bundle is not a JSON object; check the URL")
    missing = [key for key in _KEYS if key not in value]
    if missing:
        raise BundleError(f"the bundle lacks {', '.join(missing)}; check the URL and the server's version")
    if value["schema"] != SCHEMA:
        raise BundleError(
            f"the bundle has schema {value['schema']!r}, this adapter reads {SCHEMA!r}; update the adapter"
        )
    kinds: dict[str, type] = {
        "environment": str,
        "sequence": int,
        "issued_at": str,
        "stale_after_s": int,
        "kill_switch": bool,
        "approved_by": list,
        "policy": dict,
    }
    wrong = [key for key, kind in kinds.items() if type(value[key]) is not kind]
    if wrong:
        raise BundleError("wrong type in the bundle: " + ", ".join(f"{key} = {value[key]!r:.80}" for key in wrong))
    try:
        issued_at = datetime.fromisoformat(value["issued_at"])
    except ValueError as error:
        raise BundleError(f"issued_at {value['issued_at']!r} is not a time in ISO 8601") from error
    if issued_at.tzinfo is None:
        raise BundleError(f"issued_at {value['issued_at']!r} has no time zone")
    return Bundle(
        environment=value["environment"],
        sequence=value["sequence"],
        issued_at=issued_at.astimezone(UTC),
        stale_after_s=value["stale_after_s"],
        kill_switch=value["kill_switch"],
        approved_by=tuple(str(name) for name in value["approved_by"]),
        policy=value["policy"],
    )
