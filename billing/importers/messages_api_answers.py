"""Answers of the Messages API without our envelope around them: what its formats share.

Each answer is read as a row of the request log (messages_api_log.py) would be, so a rule about `usage` stands once.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from billing.core.periods import parse_instant
from billing.core.usage import TokenCounts
from billing.importers.base import Problem
from billing.importers.messages_api_log import MessagesApiLog
from billing.importers.records import RequestRow

_LOG = MessagesApiLog()
_SPLIT = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")


def rows_of_answer(
    message: Any, *, at: str, line: int | None, place: str, own_id: str = "", request_id: str = "", **more: Any
) -> Iterator[RequestRow | Problem]:
    """Rows of one Message: one, or one more for each other model that its iterations name.

    `at`: an instant as text. `place`: what stands before its fields in messages. `more`: further fields of RequestRow.
    """
    has_id = isinstance(message, dict) and message.get("id")
    envelope = {"timestamp": at, "request_id": request_id or (None if has_id else own_id) or None, "response": message}
    checked = _LOG.check(envelope, line)
    for problem in checked.problems:
        field = problem.field.removeprefix("response.") if problem.field.startswith("response.") else problem.field
        field = place.rstrip(".") if problem.field == "response" else place + field
        if problem.field in ("timestamp", "request_id"):
            field = problem.field
        yield Problem(problem.line, field, problem.value, problem.message, problem.remedy)
    for record in checked.records:
        yield _row(record, line, own_id=own_id, request_id=request_id, more=more)


def _row(
    record: Mapping[str, Any], line: int | None, *, own_id: str, request_id: str, more: Mapping[str, Any]
) -> RequestRow:
    response = record["response"]
    usage = response.get("usage")
    part = record.get("costgov_part")
    response_id = response.get("id") or ""
    ids: dict[str, Any] = (
        {"own_id": f"{request_id or response_id or own_id}#{part}", "requests": 0}
        if part
        else {"provider_id": request_id, "response_id": response_id, "own_id": own_id}
    )
    model = response.get("model") or ""
    told: dict[str, Any] = {"occurred_at": parse_instant(record["timestamp"]), "model": model, "line": line, **ids}
    if usage is None:
        return RequestRow(**{**told, "is_failed": True, **more})
    split = usage.get("cache_creation") or {}
    is_split = any(split.get(key) is not None for key in _SPLIT)
    written = usage.get("cache_creation_input_tokens") or 0
    told |= {
        "counts": TokenCounts(
            uncached_input_tok=usage.get("input_tokens") or 0,
            cache_read_tok=usage.get("cache_read_input_tokens") or 0,
            cache_write_5m_tok=(split.get(_SPLIT[0]) or 0) if is_split else written,
            cache_write_1h_tok=(split.get(_SPLIT[1]) or 0) if is_split else 0,
            output_tok=usage.get("output_tokens") or 0,
            web_searches=(usage.get("server_tool_use") or {}).get("web_search_requests") or 0,
        ),
        "is_split_assumed": not is_split and written > 0,
        "service_tier": usage.get("service_tier") or "",
        "geo": usage.get("inference_geo") or "",
        "speed": usage.get("speed") or "",
        "facts": {"model": model} if model else {},
    }
    return RequestRow(**{**told, **more})
