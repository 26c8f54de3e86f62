"""LiteLLM's table LiteLLM_SpendLogs, exported as JSON or CSV (formats/litellm-logs.md).

A row says what a StandardLoggingPayload says, under other names; it is read as one, so that a rule about LiteLLM's
counts stands once, in litellm_payload.py. `prompt_tokens` contains cache reads and writes.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from billing.core.usage import TokenCounts
from billing.importers.base import Head, Problem
from billing.importers.litellm_payload import cached_of, cleaned, problems_of
from billing.importers.reading import Reader, channel_of, is_claude, keys_of, opened, other_vendor, records
from billing.importers.records import Item, Left, RequestRow, Switch

_COLUMNS: Final = frozenset({"request_id", "call_type", "startTime", "prompt_tokens", "completion_tokens"})
# Calls that reach no model, or whose tokens other rows tell.
_NO_MODEL_CALL: Final = (
    "health",
    "list",
    "create_batch",
    "cancel",
    "file",
    "moderation",
    "rerank",
    "vector_store",
    "mcp",
)
_WHOLE_BATCH: Final = ("aretrieve_batch", "retrieve_batch")
_CACHE_COUNTS: Final = (
    "cache_read_input_tokens", "cache_creation_input_tokens", "cached_tokens", "cache_creation_tokens",
    "cache_write_tokens",
)  # fmt: skip
_UNTOLD_CACHE: Final = (
    "cached tokens are not told (no usage_object in metadata): all input counts as uncached, which is dearer"
)
_CHECKED_TIME: Final = 1.5e9  # the row's own time is read and checked before
_SPLIT: Final = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")


class LiteLLMSpendLogs:
    """One row per attempt of a request; keys and teams are LiteLLM's, times are UTC with or without a zone."""

    name = "litellm_spend_logs"
    title = "LiteLLM spend logs: rows of LiteLLM_SpendLogs as JSON lines, a JSON array or CSV"
    names_provider_keys = False
    switches: tuple[Switch, ...] = ()
    caveat = ""

    def claims(self, head: Head) -> bool:
        return keys_of(head) >= _COLUMNS

    def rows(self, path: Path, *, file_name: str, settings: Mapping[str, str]) -> Iterator[Item]:
        for line, record in records(path, file_name):
            if isinstance(record, Problem):
                yield record
            else:
                yield from _items(Reader(record, line))


def _items(reader: Reader) -> Iterator[Item]:
    if reader.problems:
        yield from reader.problems
        return
    call, model = reader.text("call_type"), reader.text("model")
    vendor = reader.text("custom_llm_provider")
    # The column is a timestamp without a zone that LiteLLM fills with UTC.
    started = reader.instant("startTime", is_utc=True)
    prompt = reader.count("prompt_tokens", is_needed=True)
    output = reader.count("completion_tokens", is_needed=True)
    if reader.problems:
        yield from reader.problems
        return
    is_failed = reader.text("status") == "failure"
    if prompt + output == 0 and (any(word in call for word in _NO_MODEL_CALL) or not (model or is_failed)):
        yield Left("a call that reaches no model")
        return
    if not is_claude(model, vendor):
        yield Left(other_vendor(model))
        return
    if call in _WHOLE_BATCH:
        # Its tokens are those of all requests of the batch: neither their prompt lengths nor their number is known.
        yield Left("the sum of a whole batch: import the results of the batch, which tell each request")
        return
    payload = _payload(reader, prompt, output)
    problems = [problem for problem in problems_of(payload, reader.line) if problem is not None] + reader.problems
    if problems:
        yield from problems
        return
    yield _row(reader, payload, started, channel_of(vendor) or vendor)


def _payload(reader: Reader, prompt: int, output: int) -> dict[str, Any]:
    """The row as a payload's fields, cleaned."""
    record = reader.record
    metadata = dict(reader.inside("metadata").record)
    usage = metadata.get("usage_object") or metadata.get("additional_usage_values") or {}
    if isinstance(usage, dict) and "input_tokens" in usage and "prompt_tokens" not in usage:
        # The usage object of a /v1/messages call, passed through as Anthropic wrote it: input is uncached only.
        usage = _as_litellm(usage)
        prompt = sum(usage[key] for key in ("text", "cache_read_input_tokens", "cache_creation_input_tokens"))
    call_id = record.get("litellm_call_id") or metadata.get("litellm_call_id")
    return cleaned(
        {
            **{key: record.get(key) for key in ("model", "status", "custom_llm_provider")},
            "id": record.get("request_id"),
            "litellm_call_id": call_id,
            "startTime": _CHECKED_TIME,
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "cache_hit": str(record.get("cache_hit")).lower() == "true",
            "request_tags": record.get("request_tags"),
            "metadata": {**metadata, "usage_object": usage},
        }
    )


def _as_litellm(usage: Mapping[str, Any]) -> dict[str, Any]:
    def count(holder: Mapping[str, Any], key: str) -> int:
        value = holder.get(key)
        return value if type(value) is int else 0

    split = usage.get("cache_creation")
    return {
        **usage,
        "text": count(usage, "input_tokens"),
        "cache_read_input_tokens": count(usage, "cache_read_input_tokens"),
        "cache_creation_input_tokens": count(usage, "cache_creation_input_tokens"),
        "prompt_tokens_details": {"cache_creation_token_details": split if isinstance(split, dict) else None},
    }


def _row(reader: Reader, payload: Mapping[str, Any], started: datetime, channel: str) -> RequestRow:
    metadata = payload["metadata"]
    usage = metadata["usage_object"]
    details = usage["prompt_tokens_details"]
    split = details["cache_creation_token_details"]
    read, written = cached_of(usage)
    hour = split[_SPLIT[1]] or 0
    is_hit, is_failed = payload["cache_hit"], payload["status"] == "failure"
    call_id, request_id = payload["litellm_call_id"] or "", payload["id"] or ""
    counted = not (is_hit or is_failed)
    tools = usage["server_tool_use"]["web_search_requests"]
    is_told = any(usage.get(key) is not None or details.get(key) is not None for key in _CACHE_COUNTS)
    decision = metadata["spend_logs_metadata"]["costgov"]
    tags = payload["request_tags"] or []
    api_key = metadata["user_api_key_alias"] or reader.text("api_key")
    return RequestRow(
        occurred_at=started,
        counts=TokenCounts(
            uncached_input_tok=payload["prompt_tokens"] - read - written,
            cache_read_tok=read,
            cache_write_5m_tok=written - hour,
            cache_write_1h_tok=hour,
            output_tok=payload["completion_tokens"],
            web_searches=max(tools or 0, details["web_search_requests"] or 0),
        )
        if counted
        else TokenCounts(),
        model=payload["model"] or "",
        # A made-up id that merely repeats LiteLLM's own says nothing about the answer.
        response_id=request_id if counted and not (call_id and request_id.startswith(call_id)) else "",
        # As a payload of the same attempt has it: the attempts of one call differ in their start.
        own_id=f"litellm:{call_id or request_id}@{started.timestamp()!r}",
        channel=channel,
        api_key=str(api_key),
        service_tier=_word(usage["service_tier"]),
        geo=_word(usage["inference_geo"]),
        speed=_word(usage["speed"]),
        class_tag=_tag(tags, "request_class:"),
        decided_class=_word(decision["class"]) or _tag(tags, "costgov.class:"),
        rule=_word(decision["rule"]),
        policy_version=_version(decision["version"], _tag(tags, "costgov.policy:")),
        arm=_word(decision["arm"]) or _tag(tags, "costgov.arm:"),
        is_failed=is_failed,
        latency_ms=reader.milliseconds("request_duration_ms"),
        is_split_assumed=counted and written > 0 and all(value is None for value in split.values()),
        is_gateway_cache_hit=is_hit,
        facts=decision["facts"] or _facts(reader, payload, str(api_key), tags),
        line=reader.line,
        remark=_UNTOLD_CACHE if counted and not is_told else "",
    )


def _facts(reader: Reader, payload: Mapping[str, Any], api_key: str, tags: list[str]) -> dict[str, Any]:
    metadata = payload["metadata"]
    sent = reader.record.get("proxy_server_request")
    body = opened(sent) if isinstance(sent, str) else sent
    body = body.get("body", body) if isinstance(body, dict) else {}
    body = body if isinstance(body, dict) else {}
    return {
        "tags": tags or None,
        "team": metadata["user_api_key_team_alias"] or metadata["user_api_key_team_id"] or reader.record.get("team_id"),
        "api_key": api_key,
        "model": payload["model"],
        **{key: body.get(key) for key in ("max_tokens", "stream")},
    }


def _tag(tags: list[str], prefix: str) -> str:
    return next((tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix)), "")


def _version(told: Any, tag: str) -> int:
    text = str(told) if told is not None else tag.rpartition("@")[2]
    return int(text) if text.isdecimal() and len(text) <= 9 else 0


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""
