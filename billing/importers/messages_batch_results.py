"""Results of a Message Batch (formats/messages-api-request-logs.md, "Batch results"): all of it at batch prices.

A result has no time. The batch itself has: `GET /v1/messages/batches/{id}` answers with an object whose line may stand
in the file too, before the results; else whoever imports says the time.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from billing.importers.base import Head, Problem, shown
from billing.importers.messages_api_answers import rows_of_answer
from billing.importers.reading import Reader, records
from billing.importers.records import REQUEST_TIME, Item, Unanswered

_KINDS = ("succeeded", "errored", "canceled", "expired")


class MessagesBatchResults:
    """`custom_id` and `result` on each line; only what succeeded is billed, the rest are failed requests."""

    name = "messages_batch_results"
    title = "Messages API batch results: JSON lines of custom_id and result"
    names_provider_keys = True
    switches = (REQUEST_TIME,)
    caveat = ""

    def claims(self, head: Head) -> bool:
        return any(_is_result(row) or row.get("type") == "message_batch" for row in head.rows)

    def rows(self, path: Path, *, file_name: str, settings: Mapping[str, str]) -> Iterator[Item]:
        at, batch = settings.get(REQUEST_TIME.name, ""), ""
        for line, record in records(path, file_name):
            if isinstance(record, Problem):
                yield record
                continue
            reader = Reader(record, line)
            if isinstance(record, dict) and record.get("type") == "message_batch":
                batch = reader.text("id")
                # A time that was said stands: the person importing knows better when its requests were made.
                at = settings.get(REQUEST_TIME.name, "") or reader.instant("created_at").isoformat()
                yield from reader.problems
                continue
            if not at:
                raise Unanswered(REQUEST_TIME, line=line)
            yield from _result(reader, at, batch)


def _result(reader: Reader, at: str, batch: str) -> Iterator[Item]:
    custom_id = reader.text("custom_id")
    if not custom_id and not reader.problems:
        reader.wrong("custom_id", "missing", "Take the results as the API returns them", value="")
    result = reader.inside("result")
    kind = result.text("type")
    if kind not in _KINDS and not reader.problems:
        what = "missing" if not kind else "not a kind of result we know"
        result.wrong("type", what, f"It should be one of {', '.join(_KINDS)}; export the results again")
    if reader.problems:
        yield from reader.problems
        return
    # A custom id is unique within its batch only.
    own_id = f"batch:{batch or at}:{custom_id}"
    if kind == "succeeded":
        message = result.record.get("message")
        usage = message.get("usage") if isinstance(message, dict) else None
        if not isinstance(usage, dict):
            what = "missing in a result that succeeded" if usage is None else "not an object"
            seen = "" if usage is None else shown(usage)
            remedy = "Take the results as the API returns them"
            yield Problem(reader.line, "result.message.usage", seen, what, remedy)
            return
        yield from rows_of_answer(
            message, at=at, line=reader.line, place="result.message.", own_id=own_id, service_tier="batch"
        )
        return
    request_id = result.inside("error").record.get("request_id")
    provider_id = request_id if isinstance(request_id, str) else ""
    yield from rows_of_answer(
        {}, at=at, line=reader.line, place="result.", own_id=own_id, request_id=provider_id, service_tier="batch"
    )


def _is_result(row: Mapping[str, Any]) -> bool:
    result = row.get("result")
    return "custom_id" in row and isinstance(result, dict) and result.get("type") in _KINDS
