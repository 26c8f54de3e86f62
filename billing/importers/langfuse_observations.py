"""Langfuse observations: the public API's JSON, or an export (formats/observability-exports.md).

The keys of `usageDetails` are the integration's own, and so is whether `input` contains cached tokens. Langfuse's costs
are computed from its own prices and are not read.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from billing.core.usage import TokenCounts
from billing.importers.base import Head, ImportRefused, Problem
from billing.importers.nesting import MAX_SPANS, Nesting
from billing.importers.reading import Reader, is_claude, keys_of, other_vendor, records, tag_facts
from billing.importers.records import (
    INPUT_INCLUDES_CACHE,
    SAMPLED,
    Item,
    Left,
    RequestRow,
    cache_reading,
    uncached_input,
)

_INPUT: Final = ("input", "input_tokens", "prompt_tokens", "promptTokens")
_OUTPUT: Final = ("output", "output_tokens", "completion_tokens", "completionTokens")
_READ: Final = ("cache_read_input_tokens", "input_cached_tokens", "input_cache_read", "cache_read")
_WRITTEN: Final = ("cache_creation_input_tokens", "input_cache_creation", "cache_creation", "cache_write")
_WRITTEN_5M: Final = ("input_cache_creation_5m", "ephemeral_5m_input_tokens", "cache_creation_5m")
_WRITTEN_1H: Final = ("input_cache_creation_1h", "ephemeral_1h_input_tokens", "cache_creation_1h")
_SEARCHES: Final = ("web_search_requests", "server_tool_use_web_search_requests")
# Sums, and parts of what is counted already.
_NOT_COUNTED: Final = ("total", "total_tokens", "totalTokens", "unit", "output_reasoning", "output_reasoning_tokens",
    "reasoning", "reasoning_tokens", "thinking_tokens")  # fmt: skip
_KNOWN: Final = frozenset((*_INPUT, *_OUTPUT, *_READ, *_WRITTEN, *_WRITTEN_5M, *_WRITTEN_1H, *_SEARCHES, *_NOT_COUNTED))


class LangfuseObservations:
    """Generations; spans, events and generations that wrap others are left out."""

    name = "langfuse_observations"
    title = "Langfuse observations: JSON lines, a JSON array or page, or CSV"
    names_provider_keys = False
    switches = (INPUT_INCLUDES_CACHE,)
    caveat = SAMPLED

    def claims(self, head: Head) -> bool:
        return _is_observation(keys_of(head)) or any(
            isinstance(row.get("data"), list)
            and any(isinstance(item, dict) and _is_observation(item) for item in row["data"][:5])
            for row in head.rows
        )

    def rows(self, path: Path, *, file_name: str, settings: Mapping[str, str]) -> Iterator[Item]:
        nesting = Nesting()
        try:
            for _, record in _observations(path, file_name):
                if isinstance(record, dict):
                    trace, own, parent = (
                        str(record.get(key) or "") for key in ("traceId", "id", "parentObservationId")
                    )
                    nesting.add(trace, own, parent, is_call=_is_call(record))
        except OverflowError as error:
            raise ImportRefused.because(
                file_name, f"more than {MAX_SPANS:,} observations in one file", "Split it by time and import the parts"
            ) from error
        nesting.seal()
        reading, learned = cache_reading(_usages(path, file_name), settings)
        if learned is not None:
            yield learned
        for line, record in _observations(path, file_name):
            yield record if isinstance(record, Problem) else _item(Reader(record, line), nesting, reading)


def _observations(path: Path, file_name: str) -> Iterator[tuple[int | None, Any | Problem]]:
    """Observations one by one, also those of the API's pages."""
    for line, record in records(path, file_name):
        if isinstance(record, dict) and "traceId" not in record and isinstance(record.get("data"), list):
            yield from ((line, item) for item in record["data"])
        else:
            yield line, record


def _is_observation(record: Any) -> bool:
    return "traceId" in record and "startTime" in record and ("usageDetails" in record or "type" in record)


def _is_call(record: Mapping[str, Any]) -> bool:
    return str(record.get("type")).upper() == "GENERATION"


def _usages(path: Path, file_name: str) -> Iterator[tuple[int | None, int, int]]:
    for line, record in _observations(path, file_name):
        if isinstance(record, dict) and _is_call(record):
            reader = Reader(record, line)
            usage = _usage(reader)
            tokens, read, (short, hour, _) = usage.count(*_INPUT), usage.count(*_READ), _written(usage)
            if not reader.problems and is_claude(reader.text("model")):
                yield line, tokens, read + short + hour


def _usage(reader: Reader) -> Reader:
    return reader.inside("usageDetails" if reader.told("usageDetails") else "usage")


def _written(usage: Reader) -> tuple[int, int, bool]:
    """Writes for five minutes and for an hour, and whether the file tells them apart."""
    if usage.told(*_WRITTEN_5M, *_WRITTEN_1H) is not None:
        return usage.count(*_WRITTEN_5M), usage.count(*_WRITTEN_1H), True
    return usage.count(*_WRITTEN), 0, False


def _item(reader: Reader, nesting: Nesting, reading: str) -> RequestRow | Problem | Left:
    record = reader.record
    if reader.problems:
        return reader.problems[0]
    if not _is_call(record):
        return Left("an observation that is no model call")
    model, own, trace = reader.text("model"), reader.text("id"), reader.text("traceId")
    if not reader.problems and not is_claude(model):
        return Left(other_vendor(model))
    if nesting.is_outer(trace, own):
        return Left("a generation that wraps another one, which is counted")
    started = reader.instant("startTime")
    if not own and not reader.problems:
        reader.wrong("id", "missing", "Export observations with their ids", value="")
    usage, metadata = _usage(reader), reader.inside("metadata")
    is_error = reader.text("level") == "ERROR"
    has_usage = usage.told(*_INPUT, *_OUTPUT) is not None
    if not has_usage and not is_error and not reader.problems:
        return Left("a generation that tells no tokens")
    tokens, read, (short, hour, is_split) = usage.count(*_INPUT), usage.count(*_READ), _written(usage)
    uncached = uncached_input(usage, _INPUT, tokens, read + short + hour, reading)
    output, searches = usage.count(*_OUTPUT), usage.count(*_SEARCHES)
    environment, name = reader.text("environment"), reader.text("name")
    tags, parameters = record.get("tags"), reader.inside("modelParameters").record
    prompt, request_id = reader.text("promptName"), metadata.record.get("request_id")
    if reader.problems:
        return reader.problems[0]
    unknown = sorted(key for key, value in usage.record.items() if value and key not in _KNOWN)
    return RequestRow(
        occurred_at=started,
        counts=TokenCounts(uncached, read, short, hour, output, searches),
        model=model,
        provider_id=request_id if isinstance(request_id, str) and request_id.startswith("req_") else "",
        response_id=own if own.startswith("msg_") else "",
        own_id=f"langfuse:{trace}:{own}",
        class_tag=str(metadata.record.get("request_class") or ""),
        is_failed=not has_usage,
        latency_ms=reader.milliseconds("latency", factor=1000),
        is_split_assumed=not is_split and short > 0,
        facts={
            **tag_facts(metadata.record),
            "meta.name": name or None,
            "environment": environment or metadata.record.get("environment"),
            "tags": tags if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags) and tags else None,
            "prompt_id": prompt or None,
            "model": model,
            "max_tokens": parameters.get("max_tokens"),
        },
        line=reader.line,
        remark=f"usageDetails holds {', '.join(unknown)[:120]}, which we do not know and do not count"
        if unknown
        else "",
    )
