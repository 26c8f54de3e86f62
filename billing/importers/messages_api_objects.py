"""Bare Messages of the Messages API, one per line, or inside another's envelope (formats/messages-api-request-logs.md).

A Message has no time: `timestamp` or `created_at` beside its fields is taken, else whoever imports says it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from billing.importers.base import Head, Problem
from billing.importers.messages_api_answers import rows_of_answer
from billing.importers.reading import Reader, records
from billing.importers.records import REQUEST_TIME, Item, Unanswered

_TIMES = ("timestamp", "created_at")
_BODIES = ("message", "body", "response_body", "output")  # where loggers put the answer


class MessagesApiObjects:
    """The answer itself, as `client.messages.create()` returns it; failed requests are not in such a file."""

    name = "messages_api_objects"
    title = "Messages API answers: one bare Message object per line"
    names_provider_keys = False
    switches = (REQUEST_TIME,)
    caveat = ""

    def claims(self, head: Head) -> bool:
        return any(_message(row) is not None for row in head.rows)

    def rows(self, path: Path, *, file_name: str, settings: Mapping[str, str]) -> Iterator[Item]:
        said = settings.get(REQUEST_TIME.name, "")
        for line, record in records(path, file_name):
            if isinstance(record, Problem):
                yield record
                continue
            reader = Reader(record, line)
            found = _message(reader.record)
            if found is None:
                if not reader.problems:
                    reader.wrong("type", "no Message of the Messages API", "Log the answer as the API returned it")
                yield from reader.problems
                continue
            place, message = found
            key = reader.told(*_TIMES)
            if key is None and not said:
                raise Unanswered(REQUEST_TIME, line=line)
            at = reader.instant(key).isoformat() if key is not None else said
            request_id = reader.text("request_id", "_request_id")
            if reader.problems:
                yield from reader.problems
                continue
            yield from rows_of_answer(message, at=at, line=line, place=place, request_id=request_id)


def _message(row: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """Where the Message is, and the Message; our own envelope (`response`) and batch results are other formats."""
    if "response" in row or "custom_id" in row:
        return None
    for key in ("", *_BODIES):
        value = row if not key else row.get(key)
        if isinstance(value, dict) and value.get("type") == "message" and isinstance(value.get("usage"), dict):
            return (f"{key}." if key else ""), value
    return None
