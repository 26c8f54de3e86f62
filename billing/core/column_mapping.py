"""How a table of somebody's own is read as usage: the document, and everything in it that contradicts itself.

Schema `costgov.column_mapping/1` (docs/guide/column-mapping.md). A mapping names for each column the field it holds;
columns it does not name are not read. Nothing is assumed: a mapping that leaves a question open is refused with it.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from billing.core.column_times import TIME_FORMATS, is_zone
from billing.core.words import CHANNELS as CHANNEL_NAMES

SCHEMA: Final = "costgov.column_mapping/1"
GRAINS: Final[Mapping[str, str]] = {
    "request": "one request",
    "hour": "the usage of one hour (UTC)",
    "day": "the usage of one day (UTC)",
}
DELIMITERS: Final[Mapping[str, str]] = {",": "comma", ";": "semicolon", "\t": "tab"}
CHANNELS: Final = tuple(CHANNEL_NAMES)
SERVICE_TIERS: Final = ("standard", "batch", "priority", "flex")
MAX_COLUMNS: Final = 200
MAX_NAME: Final = 120
MAX_TEXT: Final = 255

# Field → what a person calls it. The order is the order of the selects.
FIELDS: Final[Mapping[str, str]] = {
    "time": "time",
    "request_id": "request id",
    "model": "model",
    "workspace": "workspace",
    "api_key": "API key",
    "class": "class of request",
    "input_uncached": "input without cached tokens",
    "input_with_cache": "input with cached tokens",
    "cache_read": "cache reads",
    "cache_write_5m": "cache writes, 5 minutes",
    "cache_write_1h": "cache writes, 1 hour",
    "cache_write": "cache writes, not split",
    "output": "output tokens",
    "requests": "number of requests",
    "web_searches": "web searches",
    "service_tier": "service tier",
    "geo": "inference geo",
    "speed": "speed",
    "latency_ms": "latency, milliseconds",
    "latency_s": "latency, seconds",
    "cost_stated": "cost as stated",
}
INPUT_FIELDS: Final = ("input_uncached", "input_with_cache")
CACHE_FIELDS: Final = ("cache_read", "cache_write_5m", "cache_write_1h", "cache_write")
TOKEN_FIELDS: Final = (*INPUT_FIELDS, *CACHE_FIELDS, "output")
CONSTANT_FIELDS: Final = ("channel", "model", "service_tier")
_REQUEST_ONLY: Final = {
    "request_id": "a request id belongs to one request, and a row here is a whole {grain}",
    "class": "usage by the {grain} takes its class from the mapping of its workspace and API key",
    "latency_ms": "a latency belongs to one request, and a row here is a whole {grain}",
    "latency_s": "a latency belongs to one request, and a row here is a whole {grain}",
}


class MappingError(ValueError):
    """A document that is no mapping: what is wrong, where, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Why a mapping cannot be used. `place`: the column or setting it is about ('' = the whole)."""

    place: str
    message: str
    remedy: str

    def __str__(self) -> str:
        named = f"{self.place}: " if self.place else ""
        return f"{named}{self.message}. {self.remedy}."


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """`columns`: column → field. `zone`: IANA name for times without one, '' = every time names its own.

    `constants`: what holds for every row (channel always; model and service tier where there is no column).
    `empty_is_zero`: an empty count of input or output tokens means none, not that it is unknown.
    `names_provider_keys`: workspace and API key are the provider's own names, so rows explain a report key by key.
    `source`: the source its rows belong to, and whose own ids its request ids are; it stays when the name changes.
    """

    name: str
    header: tuple[str, ...]
    grain: str
    columns: Mapping[str, str]
    time_format: str = "iso"
    zone: str = ""
    constants: Mapping[str, str] = field(default_factory=lambda: {"channel": "anthropic"})
    delimiter: str = ","
    empty_is_zero: bool = False
    names_provider_keys: bool = True
    source: str = ""

    @property
    def header_hash(self) -> str:
        return header_hash(self.header)

    @property
    def channel(self) -> str:
        return self.constants.get("channel", "anthropic")

    def column_of(self, wanted: str) -> str:
        """The column that holds a field; '' = none."""
        return next((column for column, name in self.columns.items() if name == wanted), "")

    def as_document(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "name": self.name,
            "header": list(self.header),
            "delimiter": self.delimiter,
            "grain": self.grain,
            "columns": dict(self.columns),
            "time_format": self.time_format,
            "zone": self.zone,
            "constants": dict(self.constants),
            "empty_is_zero": self.empty_is_zero,
            "names_provider_keys": self.names_provider_keys,
            "source": self.source,
        }


def header_hash(header: Sequence[str]) -> str:
    """Key of a header: the set of its column names. Their order does not matter, as columns are read by name."""
    return hashlib.sha256(json.dumps(sorted(header), ensure_ascii=False).encode()).hexdigest()


_KINDS: Final[Mapping[str, tuple[type, str]]] = {
    "schema": (str, "text"),
    "name": (str, "text"),
    "header": (list, "a list of column names"),
    "delimiter": (str, "text"),
    "grain": (str, "text"),
    "columns": (dict, "an object from column to field"),
    "time_format": (str, "text"),
    "zone": (str, "text"),
    "constants": (dict, "an object"),
    "empty_is_zero": (bool, "true or false"),
    "names_provider_keys": (bool, "true or false"),
    "source": (str, "text"),
}
_NEEDED: Final = ("schema", "name", "header", "grain", "columns")


def parse_mapping(document: object) -> ColumnMapping:
    """A checked mapping. Raises MappingError for another shape or unknown words; contradictions are asked for apart."""
    if not isinstance(document, Mapping):
        raise MappingError(f"a column mapping is one JSON object ({SCHEMA})")
    _check_shape(document)
    if document["schema"] != SCHEMA:
        raise MappingError(f"schema is {str(document['schema'])[:60]!r}: this version reads {SCHEMA!r}")
    header = _texts(document["header"], "header")
    columns = {str(column): value for column, value in document["columns"].items() if value not in ("", None)}
    for column, value in columns.items():
        if not isinstance(value, str) or value not in FIELDS:
            raise MappingError(
                f"columns: {column[:60]!r} is {str(value)[:60]!r}; a field is one of {', '.join(FIELDS)}"
            )
        if column not in header:
            raise MappingError(f"columns: {column[:60]!r} is not in the header; remove it or correct its name")
    constants = dict(document.get("constants", {"channel": "anthropic"}))
    constants = {"channel": "anthropic", **{key: value for key, value in constants.items() if value != ""}}
    for key, value in constants.items():
        if key not in CONSTANT_FIELDS:
            raise MappingError(f"constants: {str(key)[:60]!r} is not one of {', '.join(CONSTANT_FIELDS)}")
        if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
            raise MappingError(f"constants: {key} must be plain text of at most {MAX_TEXT} characters")
    name = " ".join(document["name"].split())
    if not (name + document.get("source", "")).isprintable():
        raise MappingError("name and source: leave out control characters")
    if not name or len(name) > MAX_NAME:
        raise MappingError(f"name: give the mapping a name of 1 to {MAX_NAME} characters")
    found = ColumnMapping(
        name=name,
        header=header,
        grain=document["grain"],
        columns=columns,
        time_format=document.get("time_format", "iso"),
        zone=document.get("zone", "").strip(),
        constants=constants,
        delimiter=document.get("delimiter", ","),
        empty_is_zero=document.get("empty_is_zero", False),
        names_provider_keys=document.get("names_provider_keys", True),
        source=" ".join(document.get("source", "").split())[:MAX_NAME] or name,
    )
    _check_words(found)
    return found


def _check_shape(document: Mapping[Any, Any]) -> None:
    unknown = sorted(str(key) for key in document if key not in _KINDS)
    if unknown:
        raise MappingError(f"unknown key {unknown[0][:60]!r}; known are {', '.join(_KINDS)}")
    for name in _NEEDED:
        if name not in document:
            raise MappingError(f"{name} is missing: `manage.py column_mapping FILE` writes a whole document to edit")
    for name, (kind, words) in _KINDS.items():
        if name in document and not isinstance(document[name], kind):
            raise MappingError(f"{name} must be {words}")


def _texts(values: Sequence[Any], name: str) -> tuple[str, ...]:
    if not all(isinstance(value, str) and value.isprintable() and len(value) <= MAX_TEXT for value in values):
        raise MappingError(f"{name} must hold text only, without control characters, of at most {MAX_TEXT} characters")
    header = tuple(value.strip() for value in values)
    if not 1 < len(header) <= MAX_COLUMNS:
        raise MappingError(f"{name} names {len(header)} columns; a table to map has 2 to {MAX_COLUMNS}")
    twice = next((value for value in header if header.count(value) > 1), None)
    if twice is not None:
        raise MappingError(f"{name} names {twice[:60]!r} twice; a column must be known by its name")
    return header


def _check_words(mapping: ColumnMapping) -> None:
    if mapping.grain not in GRAINS:
        raise MappingError(f"grain is {mapping.grain[:60]!r}; use one of {', '.join(GRAINS)}")
    if mapping.time_format not in TIME_FORMATS:
        raise MappingError(f"time_format is {mapping.time_format[:60]!r}; use one of {', '.join(TIME_FORMATS)}")
    if mapping.delimiter not in DELIMITERS:
        raise MappingError("delimiter must be a comma, a semicolon or a tab")
    if mapping.zone and not is_zone(mapping.zone):
        raise MappingError(
            f"zone is {mapping.zone[:60]!r}; write a name of the time zone list, e.g. Europe/Berlin or UTC"
        )
    if mapping.channel not in CHANNELS:
        raise MappingError(f"constants: channel is {mapping.channel[:60]!r}; use one of {', '.join(CHANNELS)}")
    tier = mapping.constants.get("service_tier", "")
    if tier and tier not in SERVICE_TIERS:
        raise MappingError(f"constants: service_tier is {tier[:60]!r}; use one of {', '.join(SERVICE_TIERS)}")


def replaces(new: ColumnMapping, old: ColumnMapping) -> bool:
    """A file read with `old` may be read again with `new`: its hours or days stay where they are and are replaced.

    Not so where rows would land elsewhere (another time, zone or source): what `old` made would stay beside them. Nor
    for requests, which are known by their id and counted once.
    """
    if new == old or "request" in (new.grain, old.grain):
        return False
    return (new.grain, new.source, new.channel, new.column_of("time"), new.time_format, new.zone) == (
        old.grain, old.source, old.channel, old.column_of("time"), old.time_format, old.zone,
    )  # fmt: skip


# ---- What contradicts itself ------------------------------------------------------------------------------------


def contradictions(mapping: ColumnMapping) -> tuple[Contradiction, ...]:
    """Everything in a mapping that leaves a question open or answers one twice; () = it can be used."""
    return (*_doubled(mapping), *_hidden_text(mapping), *_of_tokens(mapping), *_of_grain(mapping))


def _doubled(mapping: ColumnMapping) -> list[Contradiction]:
    found = []
    for name, words in FIELDS.items():
        columns = [column for column, value in mapping.columns.items() if value == name]
        if len(columns) > 1:
            found.append(
                Contradiction(
                    columns[1],
                    f"{' and '.join(columns)} both say {words}",
                    "Keep the one that counts and ignore the other",
                )
            )
    for name in ("model", "service_tier"):
        if mapping.constants.get(name) and (column := mapping.column_of(name)):
            found.append(
                Contradiction(
                    column,
                    f"the {FIELDS[name]} is read from the column and also set to {mapping.constants[name]}",
                    "Keep one of the two",
                )
            )
    if mapping.column_of("latency_ms") and mapping.column_of("latency_s"):
        found.append(
            Contradiction(
                mapping.column_of("latency_s"), "two columns say the latency", "Keep one and ignore the other"
            )
        )
    return found


def _hidden_text(mapping: ColumnMapping) -> list[Contradiction]:
    return [
        Contradiction(
            column, "the column's name says that it holds prompt or answer text", "Ignore it: no text is read"
        )
        for column in mapping.columns
        if names_text(column)
    ]


def _of_tokens(mapping: ColumnMapping) -> list[Contradiction]:
    found = []
    of = mapping.column_of
    if of("input_uncached") and of("input_with_cache"):
        found.append(
            Contradiction(
                of("input_with_cache"),
                f"{of('input_uncached')} and {of('input_with_cache')} both say the input tokens",
                "Keep one: the cached ones must be counted once",
            )
        )
    if of("cache_write") and (split := of("cache_write_5m") or of("cache_write_1h")):
        found.append(
            Contradiction(
                of("cache_write"),
                f"cache writes are told with their lifetime ({split}) and again without it ({of('cache_write')})",
                "Ignore the sum where the parts are told, or the parts where they are not whole",
            )
        )
    mapped_cache = [of(name) for name in CACHE_FIELDS if of(name)]
    ignored = [column for column in mapping.header if column not in mapping.columns and names_cache(column)]
    if of("input_with_cache") and not mapped_cache:
        remedy = (
            f"Say what {' and '.join(ignored)} hold, so that they can be taken out of the input"
            if ignored
            else "Without them every cached token would be priced as new input. If nothing was cached, choose the "
            "other meaning of the input"
        )
        found.append(
            Contradiction(
                of("input_with_cache"), "the input includes cached tokens, and no column says how many", remedy
            )
        )
    elif of("input_with_cache") and ignored:
        found.append(
            Contradiction(
                ignored[0],
                "it looks like cached tokens and is ignored, while the input includes them",
                "Say which kind it is; what is not taken out of the input is priced as new input",
            )
        )
    if not any(of(name) for name in TOKEN_FIELDS) and not of("web_searches"):
        found.append(
            Contradiction(
                "",
                "no column holds tokens",
                "Say which column is input and which is output. A table of amounts of money is a cost file, not usage",
            )
        )
    if not of("model") and not mapping.constants.get("model"):
        found.append(
            Contradiction(
                "model", "no column names the model", "Choose the column, or name the one model all rows are of"
            )
        )
    return found


def _of_grain(mapping: ColumnMapping) -> list[Contradiction]:
    found = []
    if not (time := mapping.column_of("time")):
        found.append(Contradiction("time", "no column holds the time", "Choose it: usage is priced by its day"))
    if mapping.grain == "request":
        if not mapping.column_of("request_id"):
            found.append(
                Contradiction(
                    "request_id",
                    "one row is one request, and no column holds its id",
                    "Choose it: without an id a row sent twice cannot be told from two requests. If there is none, "
                    "sum the table up by hour and say that a row is the usage of an hour",
                )
            )
        if column := mapping.column_of("requests"):
            found.append(
                Contradiction(
                    column,
                    "a number of requests, while one row is one request",
                    "Ignore it, or choose an hour or a day",
                )
            )
    else:
        for name, why in _REQUEST_ONLY.items():
            if column := mapping.column_of(name):
                found.append(
                    Contradiction(
                        column, why.format(grain=mapping.grain), "Ignore the column, or say that a row is one request"
                    )
                )
        if mapping.zone not in ("", "UTC", "Etc/UTC") and mapping.grain == "day":
            found.append(
                Contradiction(
                    time or "time",
                    f"a day in {mapping.zone} is not a day in UTC, by which providers report and prices change",
                    "Export the table by UTC days, or by hours with their zone",
                )
            )
    return found


# ---- What a column's name says ----------------------------------------------------------------------------------

_WORDS: Final = re.compile(r"[a-z]+|[0-9]+[a-z]*")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TEXT_WORDS: Final = frozenset(
    {
        "prompt", "prompts", "completion", "completions", "answer", "answers", "content", "contents", "message",
        "messages", "text", "texts", "body", "bodies", "conversation", "transcript", "query", "question", "questions",
        "instruction", "instructions", "response", "responses", "reply", "system",
    }
)  # fmt: skip
_NOT_TEXT: Final = frozenset(
    {
        "token", "tokens", "tok", "toks", "count", "counts", "num", "number", "n", "id", "ids", "cost", "usd",
        "price", "chars", "characters", "length", "len", "size", "bytes", "ms", "latency", "seconds", "time", "at",
        "date", "tier", "model", "status", "code", "hash", "type", "cached", "cache", "name",
    }
)  # fmt: skip


def words_of(column: str) -> tuple[str, ...]:
    """Lower-case words of a column name.

    >>> words_of("cacheCreation_1h.tokens")
    ('cache', 'creation', '1h', 'tokens')
    """
    return tuple(_WORDS.findall(_CAMEL.sub(" ", column).lower()))


def names_text(column: str) -> bool:
    """The name says that the column holds what was asked or answered.

    >>> [names_text(name) for name in ("prompt", "prompt_tokens", "responseText", "response_id")]
    [True, False, True, False]
    """
    words = set(words_of(column))
    return bool(words & _TEXT_WORDS) and not words & _NOT_TEXT


def names_cache(column: str) -> bool:
    """The name says that the column counts cached tokens."""
    words = set(words_of(column))
    return bool(words & {"cache", "cached", "caching"}) and not words & {"cost", "usd", "price", "hit", "rate", "id"}
