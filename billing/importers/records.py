"""Request-level formats that are read row by row in Python: each record becomes a `RequestRow`, or says why not.

The way to add a format (CONTRIBUTING.md, "Adding a usage format"). Only the two busiest log formats describe
themselves to the engine in SQL as well (base.py, `RequestFormat`), because of their size; a format of this kind reads
some ten thousand rows a second and needs no SQL. `reading.py` holds what reads single fields.
"""
# ruff: noqa: S608 - statements are put together from constants

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from billing.core.periods import PeriodError, parse_instant
from billing.core.usage import COUNTERS, NO_TOKENS, TokenCounts
from billing.importers.base import MAX_TEXT, Head, Problem, known_facts, sound
from billing.importers.reading import Reader
from billing.importers.sql import ID_COLUMNS, NAME_COLUMNS, ROW_COLUMNS, STAGE_COLUMNS, TRAIT_COLUMNS, packed, unpacked


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One request as a log tells it. At least one of the three ids is needed: it is what a duplicate is known by.

    `occurred_at`: start of the request, with a zone. `counts`: exclusive kinds (no cached token is in uncached input).
    `requests` 0 for a part of a request that another row counts. A failed request has no counts.
    `class_tag`: the log's own class; `decided_class`, `rule`, `policy_version`, `arm`: the gateway's decision, if it is
    in the log. `facts`: what a policy may look at, under its names; others are left out. `remark`: something to tell
    about rows like this one, counted and shown once.
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
    line: int | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Left:
    """A record that is no request of Claude, and why: left out and counted, never silently."""

    reason: str


@dataclass(frozen=True, slots=True)
class Learned:
    """An answer the file itself gives to a switch: remembered on its source like one that a person gave."""

    name: str
    value: str
    because: str


Item = RequestRow | Problem | Left | Learned


@dataclass(frozen=True, slots=True)
class Switch:
    """Something a format has to know and its files do not tell. `choices` empty: an instant with a zone.

    `is_of_file`: true of one file only; else it is remembered on the source.
    """

    name: str
    title: str
    question: str
    how: str
    choices: tuple[str, ...] = ()
    is_of_file: bool = False

    @property
    def flag(self) -> str:
        """As the commands call it."""
        return "--" + self.name.replace("_", "-")

    def read(self, value: str) -> str:
        """A given answer in its usual form. Raises ValueError saying what is accepted.

        >>> INPUT_INCLUDES_CACHE.read(" YES")
        'yes'
        """
        cleaned = value.strip().lower() if self.choices else value.strip()
        if not self.choices:
            try:
                return parse_instant(cleaned).isoformat().replace("+00:00", "Z")
            except PeriodError as error:
                raise ValueError(f"{self.title}: {error}") from error
        if cleaned not in self.choices:
            raise ValueError(f"{self.title}: {value[:40]!r} is none of {', '.join(self.choices)}")
        return cleaned


INPUT_INCLUDES_CACHE: Final = Switch(
    "input_includes_cache",
    "Input includes cached tokens",
    "does the number of input tokens contain the cached ones?",
    "Compare one request that read from the cache with Anthropic's Console: if the file's input is the Console's input "
    "plus its cache tokens, the answer is yes; if it is the Console's input alone, no",
    ("yes", "no"),
)
REQUEST_TIME: Final = Switch(
    "at",
    "Time of the requests",
    "when were these requests made? The file holds no times.",
    "Take the time the batch was created or the log was written, with its zone, like 2026-11-09T14:00:00Z",
    is_of_file=True,
)
SWITCHES: Final = (INPUT_INCLUDES_CACHE, REQUEST_TIME)


class Unanswered(Exception):
    """The file needs an answer that neither it, nor its source, nor the person importing it gives."""

    def __init__(self, switch: Switch, seen: str = "", line: int | None = None) -> None:
        self.switch = switch
        self.seen = seen
        self.line = line
        super().__init__(switch.name)

    def problem(self, source: str) -> Problem:
        """The question and how to answer it."""
        switch = self.switch
        values = " or ".join(switch.choices) or "TIME"
        kept = "for this file" if switch.is_of_file else f"once for source {source!r}; it is remembered"
        answer = f"answer {switch.flag} {values} (in the form: {switch.title}), {kept}"
        seen = f" {self.seen}." if self.seen else ""
        return Problem(
            self.line, switch.name, "", f"{switch.question}{seen} {switch.how}", answer[0].upper() + answer[1:]
        )


class RecordFormat(Protocol):
    """A request-level format read in Python.

    `names_provider_keys`: its rows carry the provider's workspace and key. `switches`: what it may have to be told;
    `settings` holds the answers by name. `rows` yields an `Item` for each record, in the file's order, and raises
    ImportRefused for a file that cannot be read as a whole, `Unanswered` for a missing answer. `caveat`: said beside
    every import, '' = nothing to say.
    """

    name: str
    title: str
    names_provider_keys: bool
    caveat: str

    @property
    def switches(self) -> tuple[Switch, ...]: ...

    def claims(self, head: Head) -> bool: ...

    def rows(self, path: Path, *, file_name: str, settings: Mapping[str, str]) -> Iterator[Item]: ...


def cache_reading(
    usages: Iterable[tuple[int | None, int, int]], settings: Mapping[str, str]
) -> tuple[str, Learned | None]:
    """Whether input contains the cached tokens: 'yes', 'no', or '' where nothing is cached and both mean the same.

    `usages`: line, input and cached tokens of each record. More cached than input proves that they are apart; nothing
    proves the contrary, so everything else has to be answered. Raises Unanswered.

    >>> cache_reading([(1, 120, 5_200)], {})[0]
    'no'
    """
    told = settings.get(INPUT_INCLUDES_CACHE.name, "")
    if told:
        return told, None
    first: Unanswered | None = None
    for line, tokens, cached in usages:
        if cached > tokens:
            because = f"line {line}" if line is not None else "a record"
            because += f" has {cached:,} cached tokens and only {tokens:,} of input"
            return "no", Learned(INPUT_INCLUDES_CACHE.name, "no", because)
        if cached and first is None:
            seen = f"Here input is {tokens:,} and cached are {cached:,}"
            first = Unanswered(INPUT_INCLUDES_CACHE, seen, line)
    if first is not None:
        raise first
    return "", None


SAMPLED: Final = (
    "Traces are often a sample: their sums are at least what was used. Import the provider's usage report for totals."
)


def uncached_input(reader: Reader, keys: tuple[str, ...], tokens: int, cached: int, reading: str) -> int:
    """Input without its cached tokens, as `reading` says; 0 and a problem where the answer contradicts the record."""
    if reading != "yes":
        return tokens
    if cached > tokens:
        reader.wrong(
            reader.told(*keys) or keys[0],
            f"smaller than the {cached:,} cached tokens that it should contain",
            f"Correct the row, or answer {INPUT_INCLUDES_CACHE.flag} no for the source",
        )
        return 0
    return tokens - cached


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
        "requests": 0 if row.is_failed or row.is_gateway_cache_hit else row.requests,
        "latency_ms": row.latency_ms,
        "is_split_assumed": row.is_split_assumed,
        "is_gateway_cache_hit": row.is_gateway_cache_hit,
        "facts": sound(json.dumps(known_facts(row.facts), ensure_ascii=False, sort_keys=True)),
    }
    return json.dumps(told, ensure_ascii=False)


def _text(value: str) -> str:
    return sound(value).strip()[:MAX_TEXT]


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
