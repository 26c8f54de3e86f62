"""Recorded streams of the Messages API: server-sent events, one stream after another (messages-api-request-logs.md).

`message_start` brings the counts so far, each `message_delta` counts that are cumulative: the last of each stands.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from billing.importers.base import (
    BROKEN_COMPRESSION,
    MAX_LINE_BYTES,
    Head,
    ImportRefused,
    Problem,
    broken_compression,
    loads_strict,
    open_bytes,
    shown,
)
from billing.importers.messages_api_answers import rows_of_answer
from billing.importers.records import REQUEST_TIME, Item, Left, RequestRow, Unanswered

_CUT = "the stream broke off before message_stop: its output tokens may be too few"


@dataclass
class _Stream:
    """What one stream has said so far."""

    line: int
    message: dict[str, Any]
    usage: dict[str, Any] = field(default_factory=dict)


class MessagesApiStream:
    """`event:` and `data:` lines as the API sends them."""

    name = "messages_api_stream"
    title = "Messages API streams: recorded server-sent events"
    names_provider_keys = False
    switches = (REQUEST_TIME,)
    caveat = ""

    def claims(self, head: Head) -> bool:
        text = head.text.lstrip()
        return text.startswith(("event:", "data:")) and '"message_start"' in text

    def rows(self, path: Path, *, file_name: str, settings: Mapping[str, str]) -> Iterator[Item]:
        at = settings.get(REQUEST_TIME.name, "")
        if not at:
            raise Unanswered(REQUEST_TIME)
        stream: _Stream | None = None
        for line, event in _events(path, file_name):
            if isinstance(event, Problem):
                yield event
                continue
            match event.get("type"):
                case "message_start":
                    if stream is not None:
                        yield from _ended(stream, at, is_cut=True)
                    message = event.get("message")
                    if not isinstance(message, dict):
                        yield Problem(line, "message", shown(message), "not an object", "Record the stream unchanged")
                        stream = None
                        continue
                    usage = message.get("usage")
                    stream = _Stream(line, message, dict(usage) if isinstance(usage, dict) else {})
                case "message_delta" if stream is not None and isinstance(event.get("usage"), dict):
                    stream.usage |= {key: value for key, value in event["usage"].items() if value is not None}
                case "message_stop" if stream is not None:
                    yield from _ended(stream, at, is_cut=False)
                    stream = None
                case "message_delta" | "message_stop" if stream is None:
                    yield Left("the end of a stream whose beginning is not in the file")
        if stream is not None:
            yield from _ended(stream, at, is_cut=True)


def _ended(stream: _Stream, at: str, *, is_cut: bool) -> Iterator[RequestRow | Problem]:
    usage = stream.usage or None
    for row in rows_of_answer({**stream.message, "usage": usage}, at=at, line=stream.line, place="message."):
        yield replace(row, remark=_CUT) if is_cut and isinstance(row, RequestRow) else row


def _events(path: Path, file_name: str) -> Iterator[tuple[int, Mapping[str, Any] | Problem]]:
    """The JSON of each `data:` line."""
    number = 0
    try:
        with open_bytes(path) as file:
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise ImportRefused.because(
                        file_name, f"longer than {MAX_LINE_BYTES // 1024**2} MiB", "Split the recording", line=number
                    )
                if not line.startswith(b"data:"):
                    continue
                try:
                    event = loads_strict(line[5:].strip())
                except (ValueError, RecursionError):
                    yield (
                        number,
                        Problem(number, "data", "", "not valid JSON", "The recording may be cut off; record it again"),
                    )
                    continue
                if isinstance(event, dict):
                    yield number, event
    except BROKEN_COMPRESSION as error:
        raise broken_compression(file_name) from error
