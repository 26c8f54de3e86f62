"""Request-level formats that are read row by row in Python: each row becomes one `RequestRow`, or a named problem.

The way to add a format. Only the two busiest log formats describe themselves to the engine in SQL as well (base.py,
`RequestFormat`), because of their size; a format of this kind reads about 50,000 rows a second and needs no SQL.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from billing.core.usage import COUNTERS, NO_TOKENS, TokenCounts
from billing.importers.base import MAX_TEXT, Head, Problem, known_facts
from billing.importers.sql import ID_COLUMNS, NAME_COLUMNS, ROW_COLUMNS, STAGE_COLUMNS, TRAIT_COLUMNS, packed, unpacked


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One request as a log tells it. At least one of the three ids is needed: it is what a duplicate is known by.

    `occurred_at`: start of the request, with a zone. `counts`: exclusive kinds (formats/README.md, "Is cached input
    inside input?"). `requests` 0 for a part of a request that another row counts. A failed request has no counts.
    `class_tag`: the log's own class; `decided_class`, `rule`, `policy_version`, `arm`: the gateway's decision, if it is
    in the log. `facts`: what a policy may look at, under its names; others are left out.
    """

    occurred_at: datetime
    counts: TokenCounts = NO_TOKENS
    model: str = ""
    provider_id: str = ""
    response_id: str = ""
    own_id: str = ""
    organisation: str = ""
    channel: str = ""
    workspace: str = ""
    api_key: str = ""
    service_tier: str = ""
    geo: str = ""
    speed: str = ""
    class_tag: str = ""
    decided_class: str = ""
    rule: str = ""
    policy_version: int = 0
    arm: str = ""
    is_failed: bool = False
    requests: int = 1
    latency_ms: int | None = None
    is_split_assumed: bool = False
    is_gateway_cache_hit: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


class RecordFormat(Protocol):
    """A request-level format read in Python. `names_provider_keys`: its rows carry the provider's workspace and key.

    `switches`: settings of a source that the format needs and cannot find out, with their question; a file whose source
    does not answer one is refused with the question. `rows` yields a RequestRow or the Problem of each record, in the
    file's order, and raises ImportRefused for a file that cannot be read as a whole.
    """

    name: str
    title: str
    names_provider_keys: bool
    switches: Mapping[str, str]

    def claims(self, head: Head) -> bool: ...

    def rows(self, path: Path, *, file_name: str, settings: Mapping[str, Any]) -> Iterator[RequestRow | Problem]: ...


_TEXTS: Final = (
    "provider_id", "response_id", "own_id", "organisation", "channel", "workspace", "api_key", "service_tier", "geo",
    "speed", "class_tag", "decided_class", "rule", "arm",
)  # fmt: skip


def staged_row(row: RequestRow) -> str:
    """A row as one line of what `StagedRows` reads. Raises ValueError for a time without a zone or a row without id."""
    if row.occurred_at.tzinfo is None:
        raise ValueError("a request needs the start with its zone")
    if not (row.provider_id or row.response_id or row.own_id):
        raise ValueError("a request needs an id")
    told: dict[str, Any] = {name: _text(getattr(row, name)) for name in _TEXTS}
    told |= {name: 0 if row.is_failed else getattr(row.counts, name) for name in COUNTERS}
    told |= {
        "occurred_at": row.occurred_at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" "),
        "model_raw": _text(row.model),
        "policy_version": row.policy_version,
        "is_failed": row.is_failed,
        "requests": 0 if row.is_failed else row.requests,
        "latency_ms": row.latency_ms,
        "is_split_assumed": row.is_split_assumed,
        "is_gateway_cache_hit": row.is_gateway_cache_hit,
        "facts": json.dumps(known_facts(row.facts), ensure_ascii=False, sort_keys=True),
    }
    return json.dumps(told, ensure_ascii=False)


def _text(value: str) -> str:
    return value.replace("\0", "").strip()[:MAX_TEXT]


_TYPES: Final = {
    "occurred_at": "TIMESTAMP", "is_failed": "BOOLEAN", "requests": "BIGINT", "latency_ms": "BIGINT",
    "is_split_assumed": "BOOLEAN", "is_gateway_cache_hit": "BOOLEAN", **dict.fromkeys(ID_COLUMNS, "VARCHAR"),
    **dict.fromkeys(COUNTERS, "BIGINT"),
}  # fmt: skip
_NAMES: Final = {name: name for name in NAME_COLUMNS}
_TRAITS: Final = {name: name for name in TRAIT_COLUMNS}


class StagedRows:
    """What `staged_row` writes, as the engine reads it: typed, nothing left to check."""

    name = "staged_rows"
    columns = "{" + ", ".join(f"{name}: '{_TYPES.get(name, 'JSON')}'" for name in STAGE_COLUMNS) + "}"
    rows = (
        f"SELECT {', '.join(ROW_COLUMNS)}, {packed(_NAMES)} AS names, {packed(_TRAITS)} AS traits, false AS is_bad "
        "FROM {source}"
    )
    names = (
        f"SELECT names, {', '.join(f'txt({name}) AS {name}' for name in NAME_COLUMNS)}, false AS is_bad "
        f"FROM {unpacked('names', _NAMES)}"
    )
    traits = (
        "SELECT traits, txt(class_tag) AS class_tag, txt(decided_class) AS decided_class, txt(rule) AS rule, "
        "int32(policy_version) AS policy_version, txt(arm) AS arm, facts ->> '$' AS facts, false AS is_bad "
        f"FROM {unpacked('traits', _TRAITS)}"
    )
