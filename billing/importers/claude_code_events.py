"""Claude Code's telemetry events (formats/messages-api-request-logs.md): one `claude_code.api_request` per request.

As OTLP JSON (resourceLogs) or as flat lines with `attributes`. `input_tokens` is the uncached part; its cost is an
estimate of the client and is not read. There is no split of cache writes by lifetime.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from billing.core.usage import TokenCounts
from billing.importers.base import EARLIEST, Head, ImportRefused, Problem
from billing.importers.otlp import entries, holds
from billing.importers.reading import Reader, nanoseconds, records
from billing.importers.records import Item, Left, RequestRow, Switch

_PREFIX: Final = "claude_code."
_REQUEST, _ERROR = "api_request", "api_error"
_FACTS: Final = ("query_source", "effort", "terminal.type")


class ClaudeCodeEvents:
    """Requests and failed requests; prompts, tools and other events are left out."""

    name = "claude_code_events"
    title = "Claude Code telemetry: OpenTelemetry events (api_request), as OTLP JSON or flat JSON lines"
    names_provider_keys = False
    switches: tuple[Switch, ...] = ()
    caveat = ""

    def claims(self, head: Head) -> bool:
        if any(_is_event(row) for row in head.rows):
            return True
        is_otlp = holds(head, "resourceLogs") or holds(head, "resourceMetrics")
        return is_otlp and _PREFIX in head.text

    def rows(self, path: Path, *, file_name: str, settings: Mapping[str, str]) -> Iterator[Item]:
        for line, record in records(path, file_name):
            if isinstance(record, Problem):
                yield record
            elif isinstance(record, dict) and "resourceMetrics" in record:
                raise ImportRefused.because(
                    file_name,
                    "metrics of Claude Code: sums over time, not requests",
                    "Export the events: set OTEL_LOGS_EXPORTER=otlp, and give the collector's file of logs",
                    field="resourceMetrics",
                    line=line,
                )
            elif isinstance(record, dict) and "resourceLogs" in record:
                break
            else:
                yield from _flat(record, line)
        else:
            return
        for entry in entries(path, file_name, "resourceLogs", "scopeLogs", "logRecords"):
            if isinstance(entry, Problem):
                yield entry
                continue
            body = entry.value.get("body")
            text = body.get("stringValue") if isinstance(body, dict) else ""
            at = nanoseconds(entry.value.get("timeUnixNano")) or nanoseconds(entry.value.get("observedTimeUnixNano"))
            attributes = {**entry.resource, **entry.attributes}
            yield from _event(Reader(attributes, entry.line, place="attributes.", is_text=True), text, at)


def _flat(record: Any, line: int | None) -> Iterator[Item]:
    whole = Reader(record, line)
    attributes = whole.inside("attributes", is_text=True)
    at = None
    if attributes.told("event.timestamp") is None and not whole.problems:
        at = whole.instant("timestamp")
    if whole.problems:
        yield from whole.problems
        return
    yield from _event(attributes, whole.record.get("body"), at)


def _event(reader: Reader, body: Any, at: datetime | None) -> Iterator[Item]:
    name = reader.record.get("event.name") or body
    kind = name.removeprefix(_PREFIX) if isinstance(name, str) else ""
    if kind not in (_REQUEST, _ERROR):
        yield Left("another event than a request")
        return
    if reader.told("event.timestamp") is not None:
        at = reader.instant("event.timestamp")
    elif at is None:
        reader.wrong("event.timestamp", "missing", "Export the events with their times")
    is_failed = kind == _ERROR
    needed = not is_failed
    written = reader.count("cache_creation_tokens")
    counts = TokenCounts(
        uncached_input_tok=reader.count("input_tokens", is_needed=needed),
        cache_read_tok=reader.count("cache_read_tokens"),
        cache_write_5m_tok=written,
        output_tok=reader.count("output_tokens", is_needed=needed),
    )
    provider_id = reader.text("request_id")
    session, sequence = reader.text("session.id"), reader.record.get("event.sequence")
    own = reader.text("client_request_id") or f"{session}:{at}:{sequence if sequence is not None else ''}"
    if not (provider_id or session or reader.told("client_request_id")):
        reader.wrong("request_id", "missing, and session.id too", "Export the events with their standard attributes")
    model, organisation, speed = reader.text("model"), reader.text("organization.id"), reader.text("speed")
    if reader.problems:
        yield from reader.problems
        return
    facts = {f"meta.{key.replace('.', '_')}": reader.record.get(key) for key in _FACTS}
    yield RequestRow(
        occurred_at=at or EARLIEST,
        counts=TokenCounts() if is_failed else counts,
        model=model,
        provider_id=provider_id,
        own_id=f"claude-code:{own}",
        organisation=organisation,
        speed="standard" if speed == "normal" else speed,
        is_failed=is_failed,
        latency_ms=reader.milliseconds("duration_ms"),
        is_split_assumed=not is_failed and written > 0,
        facts={**facts, "model": model, "feature": "claude-code"},
        line=reader.line,
    )


def _is_event(row: Mapping[str, Any]) -> bool:
    attributes = row.get("attributes")
    if not isinstance(attributes, dict):
        return False
    names = (row.get("body"), attributes.get("event.name"))
    return any(isinstance(name, str) and name.startswith(_PREFIX) for name in names) or (
        "event.name" in attributes and "session.id" in attributes
    )
