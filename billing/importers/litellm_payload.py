"""LiteLLM StandardLoggingPayload: one JSON object per request, or one per file (formats/litellm-logs.md).

`prompt_tokens` contains cache reads and writes; the exclusive parts are taken apart here, once.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from billing.importers.base import (
    Head,
    Problem,
    RowCheck,
    check_count,
    known_facts,
    shown,
)
from billing.importers.sql import FACTS_OF_ENTRIES, IS_FACT_KEY, as_map, packed, unpacked

_DETAILS: Final = "metadata.usage_object.prompt_tokens_details"
_RECORD: Final = "metadata.spend_logs_metadata.costgov"
_EPOCH: Final = (1_000_000_000, 4_000_000_000)

_NAMES: Final = {
    "provider": "custom_llm_provider", "key_alias": "metadata.user_api_key_alias",
    "key_hash": "metadata.user_api_key_hash", "model": "model", "service_tier": "metadata.usage_object.service_tier",
    "geo": "metadata.usage_object.inference_geo", "speed": "metadata.usage_object.speed",
}  # fmt: skip
_TRAITS: Final = {
    "tags": "request_tags", "facts": f"{_RECORD}.facts", "decided": f'{_RECORD}."class"', "rule": f"{_RECORD}.rule",
    "version": f"{_RECORD}.version", "arm": f"{_RECORD}.arm", "team_alias": "metadata.user_api_key_team_alias",
    "team_id": "metadata.user_api_key_team_id", "key_alias": "metadata.user_api_key_alias", "model": "model",
    "max_tokens": "model_parameters.max_tokens", "stream": "stream", "stream_asked": "model_parameters.stream",
}  # fmt: skip


def _tag(prefix: str) -> str:
    """SQL: what follows `prefix` in the first request tag that starts with it, else ''."""
    found = f"list_filter(tag_list, lambda t: starts_with(t, '{prefix}'))[1]"
    return f"coalesce(substr({found}, {len(prefix) + 1}), '')"


class LiteLLMPayload:
    """LiteLLM's own log of a request; keys and teams are LiteLLM's, not the provider's."""

    name = "litellm_payload"
    title = "LiteLLM StandardLoggingPayload: JSON lines, or one JSON object"
    names_provider_keys = False
    columns = """{id: 'JSON', litellm_call_id: 'JSON', status: 'JSON', custom_llm_provider: 'JSON', startTime: 'JSON',
        response_time: 'JSON', model: 'JSON', prompt_tokens: 'JSON', completion_tokens: 'JSON', cache_hit: 'JSON',
        request_tags: 'JSON', stream: 'JSON', model_parameters: 'STRUCT(max_tokens JSON, stream JSON)',
        hidden_params: 'STRUCT(additional_headers STRUCT("llm_provider-request-id" JSON))',
        metadata: 'STRUCT(user_api_key_alias JSON, user_api_key_hash JSON, user_api_key_team_alias JSON,
          user_api_key_team_id JSON,
          spend_logs_metadata STRUCT(costgov STRUCT("class" JSON, rule JSON, version JSON, arm JSON, facts JSON)),
          usage_object STRUCT(cache_creation_input_tokens JSON, cache_read_input_tokens JSON, service_tier JSON,
            inference_geo JSON, speed JSON, server_tool_use STRUCT(web_search_requests JSON),
            prompt_tokens_details STRUCT(text_tokens JSON, cached_tokens JSON, cache_creation_tokens JSON,
              cache_write_tokens JSON, web_search_requests JSON,
              cache_creation_token_details STRUCT(ephemeral_5m_input_tokens JSON,
                ephemeral_1h_input_tokens JSON))))'}"""

    rows = f"""
    SELECT make_timestamp(CAST(round(started * 1000000) AS BIGINT)) AS occurred_at,
      CASE WHEN own_cache THEN '' ELSE txt(hidden_params.additional_headers."llm_provider-request-id")
        END AS provider_id,
      CASE WHEN uncounted OR starts_with(txt(id), txt(litellm_call_id)) THEN '' ELSE txt(id) END AS response_id,
      'litellm:' || coalesce(nullif(txt(litellm_call_id), ''), txt(id)) || '@' || coalesce(startTime, '') AS own_id,
      failed AS is_failed, CASE WHEN failed OR own_cache THEN 0 ELSE 1 END AS requests,
      ms(CASE WHEN told(response_time) THEN CAST(TRY_CAST(response_time AS DOUBLE) * 1000 AS VARCHAR) END)
        AS latency_ms,
      CASE WHEN uncounted THEN 0 ELSE prompt - read_tok - written_tok END AS uncached_input_tok,
      CASE WHEN uncounted THEN 0 ELSE read_tok END AS cache_read_tok,
      CASE WHEN uncounted THEN 0 ELSE written_tok - coalesce(written_1h, 0) END AS cache_write_5m_tok,
      CASE WHEN uncounted THEN 0 ELSE coalesce(written_1h, 0) END AS cache_write_1h_tok,
      CASE WHEN uncounted THEN 0 ELSE completion END AS output_tok,
      CASE WHEN uncounted THEN 0 ELSE greatest(cnt(metadata.usage_object.server_tool_use.web_search_requests),
        cnt({_DETAILS}.web_search_requests)) END AS web_searches,
      NOT uncounted AND NOT split AND coalesce(written_tok, 0) > 0 AS is_split_assumed,
      own_cache AS is_gateway_cache_hit,
      {packed(_NAMES)} AS names, {packed(_TRAITS)} AS traits,
      (started IS NULL OR started < {_EPOCH[0]} OR started >= {_EPOCH[1]}
        OR NOT (is_text(id) AND is_text(litellm_call_id) AND is_text(status))
        OR (txt(id) = '' AND txt(litellm_call_id) = '')
        OR (NOT uncounted AND (NOT told(prompt_tokens) OR NOT told(completion_tokens) OR prompt IS NULL
          OR completion IS NULL OR read_tok IS NULL OR written_tok IS NULL OR prompt < read_tok + written_tok
          OR (told({_DETAILS}.text_tokens)
            AND coalesce(cnt({_DETAILS}.text_tokens) > prompt - read_tok - written_tok, true))
          OR (split AND coalesce(cnt({_DETAILS}.cache_creation_token_details.ephemeral_5m_input_tokens)
            + written_1h <> written_tok, true))
          OR (told(metadata.usage_object.server_tool_use.web_search_requests)
            AND cnt(metadata.usage_object.server_tool_use.web_search_requests) IS NULL)))) AS is_bad
    FROM (SELECT *, failed OR own_cache AS uncounted FROM (SELECT *,
      cnt(prompt_tokens) AS prompt, cnt(completion_tokens) AS completion,
      cnt({_DETAILS}.cache_creation_token_details.ephemeral_1h_input_tokens) AS written_1h,
      TRY_CAST(startTime AS DOUBLE) AS started, coalesce(status = '"failure"', false) AS failed,
      coalesce(cache_hit = 'true', false) AS own_cache,
      CASE WHEN told(metadata.usage_object.cache_read_input_tokens)
        THEN cnt(metadata.usage_object.cache_read_input_tokens) ELSE cnt({_DETAILS}.cached_tokens) END AS read_tok,
      CASE WHEN told(metadata.usage_object.cache_creation_input_tokens)
        THEN cnt(metadata.usage_object.cache_creation_input_tokens)
        WHEN told({_DETAILS}.cache_creation_tokens) THEN cnt({_DETAILS}.cache_creation_tokens)
        ELSE cnt({_DETAILS}.cache_write_tokens) END AS written_tok,
      (told({_DETAILS}.cache_creation_token_details.ephemeral_5m_input_tokens)
        OR told({_DETAILS}.cache_creation_token_details.ephemeral_1h_input_tokens)) AS split
      FROM {{source}}))"""  # noqa: S608 - only constants of this module; the file is a bound name
    names = f"""
    SELECT names, '' AS organisation,
      CASE txt(provider) WHEN 'vertex_ai' THEN 'vertex' ELSE txt(provider) END AS channel, '' AS workspace,
      coalesce(nullif(txt(key_alias), ''), txt(key_hash)) AS api_key, txt(model) AS model_raw,
      txt(service_tier) AS service_tier, txt(geo) AS geo, txt(speed) AS speed, NOT is_text(model) AS is_bad
    FROM {unpacked("names", _NAMES)}"""  # noqa: S608 - constants
    _entries = f"""CASE WHEN told(facts) THEN list_filter(map_entries(fact_map), lambda e: {IS_FACT_KEY})
        ELSE [{{'key': 'tags', 'value': CASE WHEN len(tag_list) > 0 THEN tags END}},
          {{'key': 'team', 'value': coalesce(nullif(team_alias, 'null'), team_id)}},
          {{'key': 'api_key', 'value': key_alias}}, {{'key': 'model', 'value': model}},
          {{'key': 'max_tokens', 'value': max_tokens}},
          {{'key': 'stream', 'value': coalesce(nullif(stream, 'null'), stream_asked)}}] END"""
    traits = f"""
    SELECT traits, {_tag("request_class:")} AS class_tag,
      coalesce(nullif(txt(decided), ''), {_tag("costgov.class:")}) AS decided_class, txt(rule) AS rule,
      CASE WHEN told(version) THEN int32(version)
        ELSE int32(regexp_extract({_tag("costgov.policy:")}, '@([0-9]+)$', 1)) END AS policy_version,
      coalesce(nullif(txt(arm), ''), {_tag("costgov.arm:")}) AS arm,
      {FACTS_OF_ENTRIES.format(entries=_entries)} AS facts,
      (told(tags) AND NOT starts_with(tags, '[')) OR (told(facts) AND fact_map IS NULL) AS is_bad
    FROM (SELECT *, CASE WHEN starts_with(tags, '[') THEN CAST(CAST(tags AS JSON) AS VARCHAR[]) END AS tag_list,
      {as_map("facts")} AS fact_map FROM {unpacked("traits", _TRAITS)})"""  # noqa: S608 - constants

    def claims(self, head: Head) -> bool:
        return any(
            "id" in row and "startTime" in row and ("litellm_call_id" in row or "call_type" in row) for row in head.rows
        )

    def check(self, record: Mapping[str, Any], line: int | None) -> RowCheck:
        clean = cleaned(record)
        problems = [problem for problem in problems_of(clean, line) if problem is not None]
        return RowCheck(tuple(problems), () if problems else (clean,))

    def started(self, record: Mapping[str, Any]) -> tuple[str, datetime]:
        return "startTime", datetime.fromtimestamp(record["startTime"], UTC)


def problems_of(record: Mapping[str, Any], line: int | None) -> list[Problem | None]:
    """What is wrong with a record that `cleaned` gave."""
    problems: list[Problem | None] = []
    started = record["startTime"]
    remedy = "Take the payload as LiteLLM writes it: startTime is in seconds since 1970"
    if started is None:
        problems.append(Problem(line, "startTime", "", "missing", remedy))
    elif type(started) not in (int, float) or not _EPOCH[0] <= started < _EPOCH[1]:
        problems.append(Problem(line, "startTime", shown(started), "not a time in epoch seconds", remedy))
    if not record["id"] and not record["litellm_call_id"]:
        problems.append(Problem(line, "id", "", "missing, and litellm_call_id too", "Log the whole payload"))
    for key in ("id", "litellm_call_id", "model", "status"):
        if record[key] is not None and not isinstance(record[key], str):
            problems.append(Problem(line, key, shown(record[key]), "not text", "Write it as a JSON string"))
    if record["status"] == "failure" or record["cache_hit"] is True:
        return problems
    counts = [check_count(record, key, key, line, needed=True) for key in ("prompt_tokens", "completion_tokens")]
    usage = record["metadata"]["usage_object"]
    details = usage["prompt_tokens_details"]
    split = details["cache_creation_token_details"]
    path = "metadata.usage_object"
    for holder, prefix in (
        (usage, path),
        (details, f"{path}.prompt_tokens_details"),
        (split, "cache_creation_token_details"),
    ):
        counts += [check_count(holder, key, f"{prefix}.{key}", line, needed=False) for key in holder if _is_count(key)]
    counts.append(
        check_count(
            usage["server_tool_use"],
            "web_search_requests",
            f"{path}.server_tool_use.web_search_requests",
            line,
            needed=False,
        )
    )
    if any(counts):
        return problems + counts
    read, written = cached_of(usage)
    prompt, text = record["prompt_tokens"], details["text_tokens"]
    if prompt < read + written + (text or 0):
        parts = f"{text or 0} uncached + {read} read + {written} written = {read + written + (text or 0)}"
        problems.append(
            Problem(
                line,
                "prompt_tokens",
                str(prompt),
                f"smaller than its parts ({parts})",
                "prompt_tokens must contain cache reads and writes, as LiteLLM writes it",
            )
        )
    parts_written = [value for value in split.values() if value is not None]
    if parts_written and sum(parts_written) != written:
        problems.append(
            Problem(
                line,
                f"{path}.cache_creation_input_tokens",
                str(written),
                f"contradicts cache_creation_token_details, whose parts sum to {sum(parts_written)}",
                "Log the payload unchanged",
            )
        )
    return problems


def cleaned(record: Mapping[str, Any]) -> dict[str, Any]:
    """Only the fields needed, all of them present; objects that were written as JSON text are opened."""
    metadata = _object(record.get("metadata"))
    usage = _object(metadata.get("usage_object"))
    details = _object(usage.get("prompt_tokens_details"))
    split = _object(details.get("cache_creation_token_details"))
    parameters = _object(record.get("model_parameters"))
    headers = _object(_object(record.get("hidden_params")).get("additional_headers"))
    decision = _object(_object(metadata.get("spend_logs_metadata")).get("costgov"))
    tags = record.get("request_tags")
    if isinstance(tags, str):
        tags = _opened(tags)
    kept = ("id", "litellm_call_id", "status", "custom_llm_provider", "startTime", "response_time", "model")
    return {
        **{key: record.get(key) for key in (*kept, "prompt_tokens", "completion_tokens", "cache_hit", "stream")},
        "request_tags": [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else None,
        "model_parameters": {key: parameters.get(key) for key in ("max_tokens", "stream")},
        "hidden_params": {"additional_headers": {"llm_provider-request-id": headers.get("llm_provider-request-id")}},
        "metadata": {
            **{
                key: metadata.get(key)
                for key in (
                    "user_api_key_alias", "user_api_key_hash", "user_api_key_team_alias", "user_api_key_team_id",
                )
            },
            "spend_logs_metadata": {
                "costgov": {
                    **{key: decision.get(key) for key in ("class", "rule", "version", "arm")},
                    "facts": known_facts(decision["facts"]) if isinstance(decision.get("facts"), dict) else None,
                }
            },
            "usage_object": {
                **{
                    key: usage.get(key)
                    for key in (
                        "cache_creation_input_tokens", "cache_read_input_tokens", "service_tier", "inference_geo",
                        "speed",
                    )
                },
                "server_tool_use": {
                    "web_search_requests": _object(usage.get("server_tool_use")).get("web_search_requests")
                },
                "prompt_tokens_details": {
                    **{
                        key: details.get(key)
                        for key in (
                            "text_tokens", "cached_tokens", "cache_creation_tokens", "cache_write_tokens",
                            "web_search_requests",
                        )
                    },
                    "cache_creation_token_details": {
                        key: split.get(key) for key in ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
                    },
                },
            },
        },
    }  # fmt: skip


def cached_of(usage: Mapping[str, Any]) -> tuple[int, int]:
    """Cache reads and writes of a cleaned usage object, whichever of LiteLLM's names tell them."""
    details = usage["prompt_tokens_details"]
    return (
        _first(usage["cache_read_input_tokens"], details["cached_tokens"]),
        _first(usage["cache_creation_input_tokens"], details["cache_creation_tokens"], details["cache_write_tokens"]),
    )


def _is_count(key: str) -> bool:
    return key.endswith(("_tokens", "_requests"))


def _first(*values: int | None) -> int:
    return next((value for value in values if value is not None), 0)


def _object(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        value = _opened(value)
    return value if isinstance(value, dict) else {}


def _opened(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
