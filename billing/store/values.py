"""What the request store speaks of: its columns, imports, classes, conflicts, totals; no SQL."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

from billing.importers.sql import STAGE_COLUMNS

COUNTER_COLUMNS: Final = (
    "uncached_input_tok", "cache_read_tok", "cache_write_5m_tok", "cache_write_1h_tok", "output_tok", "web_searches",
)  # fmt: skip
KEY_COLUMNS: Final = (
    "organisation", "channel", "workspace", "api_key", "model", "service_tier", "prompt_length_band", "geo", "speed",
    "request_class", "policy_version", "arm",
)  # fmt: skip
STORE_COLUMNS: Final = (
    "request_id", *STAGE_COLUMNS, "import_id", "source_id", "model", "prompt_length_band", "total_input_tok",
    "request_class", "class_origin", "label_version",
)  # fmt: skip
Classify = Callable[[Mapping[str, Any]], tuple[str | None, str]]


@dataclass(frozen=True, slots=True)
class ClassifyPeriod:
    """A policy in force over `[valid_from, valid_to)`: `classify` takes raw facts of `used_fields` only.

    `policy_version` 0 = the mappings of workspaces and keys, where no policy was in force.
    """

    valid_from: datetime
    valid_to: datetime | None
    used_fields: tuple[str, ...]
    classify: Classify
    policy_version: int


@dataclass(frozen=True, slots=True)
class ClassifyPlan:
    """How rows get their class, as plain values (architecture.md §4, "Class of a row")."""

    registered: frozenset[str] = frozenset()
    periods: tuple[ClassifyPeriod, ...] = ()
    class_of_key: Callable[[str, str, str, date], str] = lambda channel, workspace, api_key, day: ""
    """Class of bucketed usage from channel, workspace, API key and day; '' = unclassified."""


NO_PLAN: Final = ClassifyPlan()


@dataclass(frozen=True, slots=True, order=True)
class Pack:
    """A file with rows of several imports on one day. `imports`: of how many there are rows, counting or not."""

    number: int
    day: str
    imports: int

    @property
    def name(self) -> str:
        return f"pack-{self.number}.parquet"


@dataclass(frozen=True, slots=True, order=True)
class StoredImport:
    """One done import's files: of a day either its own of this generation, or its rows in a pack, never both."""

    import_id: int
    generation: int = 0
    packs: tuple[Pack, ...] = field(default=(), compare=False)


NEW_SOURCE: Final = -1  # a source that is saved with its first rows


@dataclass(frozen=True, slots=True)
class SourceOfRows:
    """Where records come from. `has_own_keys`: their workspace and key are a gateway's, not the provider's."""

    source_id: int = NEW_SOURCE
    name: str = ""
    has_own_keys: bool = False


@dataclass(frozen=True, slots=True)
class Sources:
    """The source of a file, and those of what is stored."""

    new: SourceOfRows = SourceOfRows()
    stored: tuple[SourceOfRows, ...] = ()


NO_SOURCES: Final = Sources()


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two records of one request with different counts. `earlier_import` None = both in this file."""

    request_id: str
    counter: str
    earlier: int
    now: int
    earlier_import: int | None


@dataclass(frozen=True, slots=True)
class Staged:
    """What the fast path read: all rows, and how many of them are bad."""

    rows: int
    bad: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What one import brought. `models`: (model, requests, tokens)."""

    rows: int
    failed: int
    split_assumed: int
    gateway_cache_hits: int
    first: datetime | None
    last: datetime | None
    models: tuple[tuple[str, int, int], ...]
    unclassified: int


class StageFailed(Exception):
    """DuckDB could not read the file. Its own message may quote the file, so it is not passed on."""
