"""Helicone requests: `@helicone/export` (JSON, JSON lines, CSV) or the API's answer (formats/observability-exports.md).

Whether `prompt_tokens` contains cached tokens depends on how the request came in. `cost` has two units depending on the
route it came from, and is not read.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from billing.core.usage import TokenCounts
from billing.importers.base import Head, Problem
from billing.importers.reading import Reader, channel_of, is_claude, keys_of, other_vendor, records, tag_facts
from billing.importers.records import INPUT_INCLUDES_CACHE, Item, Left, RequestRow, cache_reading, uncached_input

_INPUT: Final = ("prompt_tokens",)
_READ: Final = ("prompt_cache_read_tokens",)
_WRITTEN: Final = ("prompt_cache_write_tokens",)
_MODEL: Final = ("model_override", "response_model", "model", "request_model")
_NO_REFERENCE: Final = ("", "00000000-0000-0000-0000-000000000000")


class HeliconeRequests:
    """One row per request; an answer from Helicone's own cache brings no tokens of the provider."""

    name = "helicone_requests"
    title = "Helicone requests: JSON lines, a JSON array or answer, or CSV"
    names_provider_keys = False
    switches = (INPUT_INCLUDES_CACHE,)
    caveat = ""

    def claims(self, head: Head) -> bool:
        return _is_request(keys_of(head)) or any(
            isinstance(row.get("data"), list)
            and any(isinstance(item, dict) and _is_request(item) for item in row["data"][:5])
            for row in head.rows
        )

    def rows(self, path: Path, *, file_name: str, settings: Mapping[str, str]) -> Iterator[Item]:
        reading, learned = cache_reading(_usages(path, file_name), settings)
        if learned is not None:
            yield learned
        for line, record in _requests(path, file_name):
            yield record if isinstance(record, Problem) else _item(Reader(record, line), reading)


def _is_request(record: Any) -> bool:
    return "request_created_at" in record and "request_id" in record and "prompt_tokens" in record


def _requests(path: Path, file_name: str) -> Iterator[tuple[int | None, Any | Problem]]:
    for line, record in records(path, file_name):
        if isinstance(record, dict) and "request_id" not in record and isinstance(record.get("data"), list):
            yield from ((line, item) for item in record["data"])
        else:
            yield line, record


def _usages(path: Path, file_name: str) -> Iterator[tuple[int | None, int, int]]:
    for line, record in _requests(path, file_name):
        if isinstance(record, dict):
            reader = Reader(record, line)
            tokens, cached = reader.count(*_INPUT), reader.count(*_READ) + reader.count(*_WRITTEN)
            if not reader.problems and is_claude(reader.text(*_MODEL), reader.text("provider")):
                yield line, tokens, cached


def _item(reader: Reader, reading: str) -> RequestRow | Problem | Left:
    if reader.problems:
        return reader.problems[0]
    model, vendor = reader.text(*_MODEL), reader.text("provider")
    if not reader.problems and not is_claude(model, vendor):
        return Left(other_vendor(model))
    started, own = reader.instant("request_created_at"), reader.text("request_id")
    if not own and not reader.problems:
        reader.wrong("request_id", "missing", "Export the requests with their ids", value="")
    is_failed = not _succeeded(reader)
    is_hit = reader.text("cache_reference_id") not in _NO_REFERENCE
    needed = not is_failed and not is_hit
    tokens, output = reader.count(*_INPUT, is_needed=needed), reader.count("completion_tokens", is_needed=needed)
    read, written = reader.count(*_READ), reader.count(*_WRITTEN)
    uncached = uncached_input(reader, _INPUT, tokens, read + written, reading)
    properties, path = reader.inside("request_properties"), reader.text("request_path")
    response_id, user = reader.text("response_id"), reader.text("request_user_id")
    prompt = reader.text("prompt_id")
    if reader.problems:
        return reader.problems[0]
    counts = TokenCounts(uncached, read, written, 0, output)
    return RequestRow(
        occurred_at=started,
        counts=counts if needed else TokenCounts(),
        model=model,
        # Helicone makes up ids of its own, for the answer too; only the provider's are known elsewhere.
        provider_id=own if own.startswith("req_") else "",
        response_id=response_id if response_id.startswith("msg_") and not is_hit else "",
        own_id=f"helicone:{own}",
        channel=channel_of(vendor),
        class_tag=str(properties.record.get("request_class") or ""),
        is_failed=is_failed,
        latency_ms=reader.milliseconds("delay_ms"),
        is_split_assumed=needed and written > 0,
        is_gateway_cache_hit=is_hit and not is_failed,
        facts={
            **tag_facts(properties.record),
            "endpoint": "/" + path.split("://", 1)[-1].partition("/")[2] if path else None,
            "prompt_id": prompt or None,
            "model": model,
            "meta.user": user or None,
        },
        line=reader.line,
    )


def _succeeded(reader: Reader) -> bool:
    """Helicone writes negative statuses for requests that were cancelled, threw or timed out.

    An export may leave the status out: what has tokens was answered. A guessed failure loses money.
    """
    status = reader.record.get("response_status")
    if reader.is_text and isinstance(status, str) and status.lstrip("-").isdecimal() and len(status) < 6:
        status = int(status)
    if type(status) is not int:
        if status is not None:
            reader.wrong("response_status", "not a status code", "Write it as a whole number")
        return reader.told("completion_tokens") is not None
    return 200 <= status < 400
