"""Reading records: JSON lines, arrays or single values, CSV; and their fields, each checked as it is read."""

import itertools
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from billing.core.periods import PeriodError, parse_instant
from billing.importers.base import (
    EARLIEST,
    Head,
    Problem,
    check_count,
    each_record,
    read_head,
    shown,
)
from billing.importers.tables import header_of, table_rows

_MAX_MS: Final = 10**12
_TAG_FACTS: Final = ("feature", "environment", "team", "tags", "agent", "prompt_id")


def records(path: Path, file_name: str) -> Iterator[tuple[int | None, Any | Problem]]:
    """Records with their line, from JSON lines, a JSON array, one JSON value, or CSV (all values text, '' absent)."""
    head = read_head(path, file_name)
    if header_of(head):
        for line, row in table_rows(path, file_name):
            yield line, TableRow({name: value for name, value in row.items() if value})
        return
    yield from each_record(path, file_name, is_lines=head.is_lines)


def keys_of(head: Head) -> frozenset[str]:
    """Names of the columns of a CSV, or of all keys of the first records: a failed request may lack some."""
    return frozenset(header_of(head)) or frozenset().union(*head.rows)


class TableRow(dict[str, str]):
    """A row of a CSV: its numbers are written as text."""


class Reader:
    """One record, or an object inside it. Each field is checked as it is read; what is wrong collects in `problems`.

    `place` stands before the names of fields in messages. `is_text`: numbers may be text (OTLP, CSV).
    """

    def __init__(
        self,
        record: Any,
        line: int | None,
        *,
        place: str = "",
        is_text: bool = False,
        problems: list[Problem] | None = None,
    ) -> None:
        self.problems: list[Problem] = problems if problems is not None else []
        self.line = line
        self.place = place
        self.is_text = is_text or isinstance(record, TableRow)
        self.record: Mapping[str, Any] = {}
        if isinstance(record, dict):
            self.record = record
        else:
            self.wrong(None, "not a JSON object", "Write one record per line", value="")

    def wrong(self, key: str | None, message: str, remedy: str, *, value: str | None = None) -> None:
        """Note a problem of a field (None: of the whole object)."""
        name = f"{self.place}{key}" if key is not None else self.place.rstrip(".")
        held = self.record.get(key) if key is not None else None
        self.problems.append(
            Problem(
                self.line, name, (shown(held) if held is not None else "") if value is None else value, message, remedy
            )
        )

    def told(self, *keys: str) -> str | None:
        """The first of these keys that has a value."""
        for key in keys:
            if self.record.get(key) is not None:
                return key
        return None

    def inside(self, key: str, *, is_text: bool = False) -> "Reader":
        """An object inside, also one written as JSON text; empty where there is none."""
        value = self.record.get(key)
        if isinstance(value, str):
            value = opened(value) if value.strip() else None
            if value is None and self.record[key].strip() not in ("", "null"):
                self.wrong(key, "not JSON", "Export the field as it was written", value="")
        if value is not None and not isinstance(value, dict):
            self.wrong(key, "not an object", "Export the field as it was written", value="")
            value = None
        inner = value if value is not None else {}
        return Reader(inner, self.line, place=f"{self.place}{key}.", is_text=is_text, problems=self.problems)

    def text(self, *keys: str) -> str:
        """The first told of these fields; '' where none is."""
        key = self.told(*keys)
        if key is None:
            return ""
        value = self.record[key]
        if not isinstance(value, str):
            self.wrong(key, "not text", "Write it as a JSON string")
            return ""
        return value.replace("\0", "").strip()

    def count(self, *keys: str, is_needed: bool = False) -> int:
        """A whole number of at least 0 under the first told key; 0 where none is told."""
        key = self.told(*keys)
        if key is None:
            if is_needed:
                self.wrong(keys[0], "missing", "Export the token counts of each request")
            return 0
        value = self.record[key]
        if self.is_text and isinstance(value, str):
            digits = value.strip().removesuffix(".0")
            value = int(digits) if digits.removeprefix("-").isdecimal() and len(digits) < 30 else value
        problem = check_count({key: value}, key, f"{self.place}{key}", self.line, needed=False)
        if problem is not None:
            self.problems.append(problem)
            return 0
        return int(value)

    def instant(self, *keys: str, is_utc: bool = False) -> datetime:
        """An instant; EARLIEST and a problem where there is none. `is_utc`: the source writes UTC without a zone."""
        key = self.told(*keys)
        if key is None:
            self.wrong(keys[0], "missing", "Export the start of each request, like 2026-11-09T14:00:00Z")
            return EARLIEST
        value = self.record[key]
        try:
            return read_instant(value, is_utc=is_utc)
        except PeriodError as error:
            what = "not an instant with a zone" if isinstance(value, str) else "not a time written as text"
            hint = "outside the calendar" if "calendar" in str(error) else what
            self.wrong(key, hint, "Write it like 2026-11-09T14:00:00Z: without a zone the hour is anybody's guess")
            return EARLIEST

    def milliseconds(self, *keys: str, factor: float = 1.0) -> int | None:
        """A duration; None where it is not told or makes no sense: nothing is counted by it."""
        key = self.told(*keys)
        value: Any = self.record[key] if key is not None else None
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value * factor < _MAX_MS:
            return None
        return round(value * factor)


def read_instant(value: Any, *, is_utc: bool = False) -> datetime:
    """Raises PeriodError."""
    if not isinstance(value, str):
        raise PeriodError("not text")
    try:
        return parse_instant(value)
    except PeriodError as error:
        if not is_utc:
            raise
        try:
            return parse_instant(value.strip() + "Z")
        except PeriodError:
            raise error from None


def opened(text: str) -> Any:
    """JSON written as text; None where it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def tag_facts(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Facts from a log's own labels: feature, environment, team, tags under their names, the rest as meta.<key>.

    >>> tag_facts({"feature": "faq", "Ticket-Kind": "billing", "nested": {"a": 1}})
    {'feature': 'faq', 'meta.ticket_kind': 'billing'}
    """
    facts: dict[str, Any] = {}
    for key, value in itertools.islice(tags.items(), 200):
        is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
        if key == "request_class" or not (isinstance(value, str | int | bool) or is_list):
            continue
        facts[key if key in _TAG_FACTS else "meta." + key.lower().replace("-", "_")] = value
    return facts


def is_claude(model: str, vendor: str = "") -> bool:
    """Whether a request is part of a Claude bill. A deployment named otherwise counts where its vendor is Anthropic.

    >>> [is_claude("gpt-5", "openai"), is_claude("eu.anthropic.claude-opus-4-8"), is_claude("x", "anthropic")]
    [False, True, True]
    """
    name = model.lower()
    if "claude" in name or "anthropic" in name:
        return True
    # An inference profile of one's own hides the model behind a resource name.
    return "anthropic" in vendor.lower() or not name or name.startswith("arn:")


def other_vendor(model: str) -> str:
    """The reason why such a request is left out."""
    return f"a model that is not Claude ({model[:60]})"


CHANNELS: Final[Mapping[str, str]] = {
    "anthropic": "anthropic",
    "bedrock": "bedrock",
    "bedrock_converse": "bedrock",
    "aws": "bedrock",
    "aws.bedrock": "bedrock",
    "aws_bedrock": "bedrock",
    "vertex": "vertex",
    "vertex_ai": "vertex",
    "vertex_ai-anthropic_models": "vertex",
    "gcp": "vertex",
    "gcp.vertex_ai": "vertex",
    "gcp.gen_ai": "vertex",
    "azure_ai": "foundry",
    "azure.ai.inference": "foundry",
}


def channel_of(vendor: str) -> str:
    """The channel a vendor's name stands for; '' = the source's own."""
    return CHANNELS.get(vendor.strip().lower(), "")


def nanoseconds(value: Any) -> datetime | None:
    """An instant from OTLP's nanoseconds since 1970, which are written as text; None where it is none."""
    if isinstance(value, str) and value.isdecimal() and len(value) <= 20:
        value = int(value)
    if type(value) is not int or not 0 < value < 10**20:
        return None
    try:
        return datetime.fromtimestamp(value // 10**9, UTC).replace(microsecond=value // 1000 % 10**6)
    except (ValueError, OverflowError, OSError):
        return None
