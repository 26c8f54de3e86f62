"""Request logs: one JSON object per line around the Messages API response (formats/messages-api-request-logs.md)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from billing.core.periods import PeriodError, parse_instant
from billing.importers.base import MAX_TOKENS, Head, Problem, RowCheck, check_count, known_facts, shown
from billing.importers.sql import FACTS_OF_ENTRIES, IS_FACT_KEY, as_map, packed, unpacked

_USAGE_COUNTS: Final = ("cache_creation_input_tokens", "cache_read_input_tokens")
_SPLIT: Final = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
_TAG_FACTS: Final = ("feature", "environment", "team", "tags")
_NOT_META: Final = (*_TAG_FACTS, "request_class")

_NAMES: Final = {
    "organization_id": "organization_id", "workspace_id": "workspace_id", "api_key_id": "api_key_id",
    "answered_model": "response.model", "asked_model": "request.model", "service_tier": "response.usage.service_tier",
    "inference_geo": "response.usage.inference_geo", "speed": "response.usage.speed",
}  # fmt: skip
_TRAITS: Final = {
    "tags": "tags", "facts": "facts", "decided": 'decision."class"', "rule": "decision.rule",
    "version": "decision.version", "arm": "decision.arm", "path": "path", "workspace_id": "workspace_id",
    "api_key_id": "api_key_id", "asked_model": "request.model", "max_tokens": "request.max_tokens",
    "stream": "request.stream",
}  # fmt: skip


class MessagesApiLog:
    """costgov's request envelope; `usage.input_tokens` is the uncached part only."""

    name = "messages_api_log"
    title = "request log: JSON lines with timestamp, request_id and the Messages API response"
    names_provider_keys = True
    columns = """{timestamp: 'JSON', request_id: 'JSON', organization_id: 'JSON', workspace_id: 'JSON',
        api_key_id: 'JSON', path: 'JSON', http_status: 'JSON', latency_ms: 'JSON',
        request: 'STRUCT(model JSON, max_tokens JSON, stream JSON)', tags: 'JSON', facts: 'JSON',
        decision: 'STRUCT("class" JSON, rule JSON, version JSON, arm JSON)', costgov_part: 'JSON',
        response: 'STRUCT(id JSON, model JSON, usage STRUCT(input_tokens JSON, cache_creation_input_tokens JSON,
            cache_read_input_tokens JSON,
            cache_creation STRUCT(ephemeral_5m_input_tokens JSON, ephemeral_1h_input_tokens JSON),
            output_tokens JSON, server_tool_use STRUCT(web_search_requests JSON), service_tier JSON,
            inference_geo JSON, speed JSON, iterations JSON))'}"""
    # What is dear is asked once a row: whether any of the counts is not a plain whole number is seen in all of them.
    rows = f"""
    SELECT occurred_at, CASE WHEN is_part THEN '' ELSE header_id END AS provider_id,
      CASE WHEN is_part THEN '' ELSE body_id END AS response_id,
      CASE WHEN is_part THEN coalesce(nullif(header_id, ''), body_id) || '#' || txt(costgov_part) ELSE '' END AS own_id,
      failed AS is_failed, CASE WHEN failed OR is_part THEN 0 ELSE 1 END AS requests, ms(latency_ms) AS latency_ms,
      CASE WHEN failed THEN 0 ELSE uncached END AS uncached_input_tok,
      CASE WHEN failed THEN 0 ELSE read END AS cache_read_tok,
      CASE WHEN failed THEN 0 WHEN split THEN written_5m ELSE written END AS cache_write_5m_tok,
      CASE WHEN failed THEN 0 ELSE written_1h END AS cache_write_1h_tok,
      CASE WHEN failed THEN 0 ELSE output END AS output_tok, CASE WHEN failed THEN 0 ELSE searches END AS web_searches,
      NOT failed AND NOT split AND coalesce(written, 0) > 0 AS is_split_assumed, false AS is_gateway_cache_hit,
      {packed(_NAMES)} AS names, {packed(_TRAITS)} AS traits,
      (response IS NULL OR NOT (is_text(request_id) AND is_text(response.id)) OR (header_id = '' AND body_id = '')
        OR (told(http_status) AND coalesce(strlen(http_status) <> 3 OR status < 100, true))
        OR (NOT failed AND (NOT told(response.usage.input_tokens) OR NOT told(response.usage.output_tokens)
          OR contains(counts, '.') OR contains(counts, 'e') OR contains(counts, 'E')
          OR greatest(uncached, read, written, written_5m, written_1h, output, searches) > {MAX_TOKENS}
          OR told(response.usage.iterations)
          OR (split AND told(response.usage.cache_creation_input_tokens)
            AND written IS DISTINCT FROM written_5m + written_1h)))) AS is_bad
    FROM (SELECT *, (response.usage IS NULL OR coalesce(status, 200) >= 400) AS failed FROM (SELECT *,
      instant(timestamp) AS occurred_at, told(costgov_part) AS is_part, txt(request_id) AS header_id,
      txt(response.id) AS body_id, TRY_CAST(CAST(http_status AS VARCHAR) AS USMALLINT) AS status,
      (told(response.usage.cache_creation.ephemeral_5m_input_tokens)
        OR told(response.usage.cache_creation.ephemeral_1h_input_tokens)) AS split,
      whole(response.usage.input_tokens) AS uncached, whole(response.usage.cache_read_input_tokens) AS read,
      whole(response.usage.cache_creation_input_tokens) AS written,
      whole(response.usage.cache_creation.ephemeral_5m_input_tokens) AS written_5m,
      whole(response.usage.cache_creation.ephemeral_1h_input_tokens) AS written_1h,
      whole(response.usage.output_tokens) AS output,
      whole(response.usage.server_tool_use.web_search_requests) AS searches,
      concat(response.usage.input_tokens, response.usage.cache_read_input_tokens,
        response.usage.cache_creation_input_tokens, response.usage.cache_creation.ephemeral_5m_input_tokens,
        response.usage.cache_creation.ephemeral_1h_input_tokens, response.usage.output_tokens,
        response.usage.server_tool_use.web_search_requests) AS counts
      FROM {{source}}))"""  # noqa: S608 - constants
    names = f"""
    SELECT names, txt(organization_id) AS organisation, '' AS channel, txt(workspace_id) AS workspace,
      txt(api_key_id) AS api_key, coalesce(nullif(txt(answered_model), ''), txt(asked_model)) AS model_raw,
      txt(service_tier) AS service_tier, txt(inference_geo) AS geo, txt(speed) AS speed,
      NOT (is_text(organization_id) AND is_text(workspace_id) AND is_text(api_key_id) AND is_text(answered_model)
        AND is_text(asked_model)) AS is_bad
    FROM {unpacked("names", _NAMES)}"""  # noqa: S608 - constants
    _entries = f"""CASE WHEN told(facts) THEN list_filter(map_entries(fact_map), lambda e: {IS_FACT_KEY})
        ELSE list_concat([{{'key': 'endpoint', 'value': path}}, {{'key': 'workspace', 'value': workspace_id}},
            {{'key': 'api_key', 'value': api_key_id}}, {{'key': 'model', 'value': asked_model}},
            {{'key': 'max_tokens', 'value': max_tokens}}, {{'key': 'stream', 'value': stream}}],
          list_filter(list_transform(map_entries(coalesce(tag_map, MAP {{}}::MAP(VARCHAR, JSON))),
            lambda e: {{'key': CASE WHEN e.key IN ('feature', 'environment', 'team', 'tags', 'request_class') THEN e.key
              ELSE 'meta.' || replace(lower(e.key), '-', '_') END, 'value': e.value}}), lambda e: {IS_FACT_KEY})) END"""
    traits = f"""
    SELECT traits, txt(tag_map['request_class']) AS class_tag, txt(decided) AS decided_class, txt(rule) AS rule,
      int32(version) AS policy_version, txt(arm) AS arm, {FACTS_OF_ENTRIES.format(entries=_entries)} AS facts,
      (told(tags) AND tag_map IS NULL) OR (told(facts) AND fact_map IS NULL) AS is_bad
    FROM (SELECT *, {as_map("tags")} AS tag_map, {as_map("facts")} AS fact_map FROM {unpacked("traits", _TRAITS)})"""  # noqa: S608 - constants

    def claims(self, head: Head) -> bool:
        return (
            head.is_parquet
            or any("response" in row and ("timestamp" in row or "http_status" in row) for row in head.rows)
            or any(
                isinstance(row.get("response"), dict) and "request_id" in row and "startTime" not in row
                for row in head.rows
            )
        )

    def check(self, record: Mapping[str, Any], line: int | None) -> RowCheck:
        problems = [problem for problem in self._problems(record, line) if problem is not None]
        return RowCheck(tuple(problems), () if problems else tuple(self._records(record)))

    def started(self, record: Mapping[str, Any]) -> tuple[str, datetime]:
        return "timestamp", parse_instant(record["timestamp"])

    def _problems(self, record: Mapping[str, Any], line: int | None) -> list[Problem | None]:
        problems: list[Problem | None] = [_check_timestamp(record, line)]
        response = record.get("response")
        if not isinstance(response, dict):
            what = "missing" if response is None else "not an object"
            problems.append(Problem(line, "response", "", what, "Log the response body of the Messages API as JSON"))
            response = {}
        ids = [record.get("request_id"), response.get("id")]
        if not any(isinstance(value, str) and value.strip() for value in ids):
            problems.append(
                Problem(
                    line, "request_id", "", "missing, and response.id too", "Log the header request-id with each row"
                )
            )
        for key, value in (
            ("request_id", ids[0]),
            ("response.id", ids[1]),
            *((key, record.get(key)) for key in ("organization_id", "workspace_id", "api_key_id")),
            ("response.model", response.get("model")),
            ("request.model", _object(record.get("request")).get("model")),
        ):
            if value is not None and not isinstance(value, str):
                problems.append(Problem(line, key, shown(value), "not text", "Write it as a JSON string"))
        for key in ("request", "tags", "facts", "decision"):
            if record.get(key) is not None and not isinstance(record[key], dict):
                problems.append(Problem(line, key, "", "not an object", "Write it as a JSON object, or leave it out"))
        status = record.get("http_status")
        if status is not None and not (type(status) is int and 100 <= status <= 999):
            problems.append(
                Problem(line, "http_status", shown(status), "not a status code", "Write it as a whole number")
            )
            status = None
        usage = response.get("usage")
        if usage is not None and not isinstance(usage, dict):
            problems.append(Problem(line, "response.usage", "", "not an object", "Log the usage object unchanged"))
        elif usage is not None and (status is None or status < 400):
            problems += _usage_problems(usage, "response.usage", line)
        return problems

    def _records(self, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        response = record["response"]
        base: dict[str, Any] = {
            key: record.get(key)
            for key in (
                "timestamp", "request_id", "organization_id", "workspace_id", "api_key_id", "path", "http_status",
                "latency_ms",
            )
        }  # fmt: skip
        request = _object(record.get("request"))
        tags = _object(record.get("tags"))
        decision = _object(record.get("decision"))
        base["decision"] = {key: decision.get(key) for key in ("class", "rule", "version", "arm")} if decision else None
        base["request"] = {"model": request.get("model")}
        base["tags"] = {"request_class": tags["request_class"]} if "request_class" in tags else {}
        base["facts"] = (
            known_facts(record["facts"]) if record.get("facts") is not None else _facts(record, request, tags)
        )
        usage = response.get("usage")
        main = {"id": response.get("id"), "model": response.get("model")}
        if usage is None:
            return [{**base, "response": main}]
        kept = {key: usage.get(key) for key in ("service_tier", "inference_geo", "speed", "server_tool_use")}
        iterations = usage.get("iterations")
        if not iterations:
            counts = {
                key: usage.get(key) for key in (*_USAGE_COUNTS, "cache_creation", "input_tokens", "output_tokens")
            }
            return [{**base, "response": {**main, "usage": {**kept, **counts}}}]
        return self._iterated(base, main, kept, iterations)

    def _iterated(
        self, base: dict[str, Any], main: dict[str, Any], kept: dict[str, Any], iterations: list[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Iterations are what is billed: the top level leaves compaction out, and an adviser may be another model."""
        by_model: dict[str, dict[str, int]] = {}
        for item in iterations:
            counts = by_model.setdefault(item.get("model") or main["model"] or "", dict.fromkeys(_ITERATION_COUNTS, 0))
            for key, value in _iteration_counts(item).items():
                counts[key] += value
        own = by_model.pop(main["model"] or "", dict.fromkeys(_ITERATION_COUNTS, 0))
        records = [{**base, "response": {**main, "usage": {**kept, **_usage_of(own)}}}]
        for model, counts in sorted(by_model.items()):
            usage = {**kept, "server_tool_use": None, **_usage_of(counts)}
            records.append({**base, "costgov_part": model, "response": {**main, "model": model, "usage": usage}})
        return records


_ITERATION_COUNTS: Final = ("input_tokens", "output_tokens", "cache_read_input_tokens", *_SPLIT)


def _iteration_counts(item: Mapping[str, Any]) -> dict[str, int]:
    split = _object(item.get("cache_creation"))
    written = {key: split.get(key) or 0 for key in _SPLIT}
    if all(split.get(key) is None for key in _SPLIT):
        written[_SPLIT[0]] = item.get("cache_creation_input_tokens") or 0
    return {
        "input_tokens": item.get("input_tokens") or 0,
        "output_tokens": item.get("output_tokens") or 0,
        "cache_read_input_tokens": item.get("cache_read_input_tokens") or 0,
        **written,
    }


def _usage_of(counts: Mapping[str, int]) -> dict[str, Any]:
    return {
        "input_tokens": counts["input_tokens"],
        "output_tokens": counts["output_tokens"],
        "cache_read_input_tokens": counts["cache_read_input_tokens"],
        "cache_creation_input_tokens": sum(counts[key] for key in _SPLIT),
        "cache_creation": {key: counts[key] for key in _SPLIT},
    }


def _facts(record: Mapping[str, Any], request: Mapping[str, Any], tags: Mapping[str, Any]) -> dict[str, Any]:
    facts = {
        "endpoint": record.get("path"),
        "workspace": record.get("workspace_id"),
        "api_key": record.get("api_key_id"),
        "model": request.get("model"),
        "max_tokens": request.get("max_tokens"),
        "stream": request.get("stream"),
    }
    for key, value in tags.items():
        if key in _TAG_FACTS:
            facts[key] = value
        elif key not in _NOT_META:
            facts[f"meta.{key.lower().replace('-', '_')}"] = value
    return known_facts(facts)


def _check_timestamp(record: Mapping[str, Any], line: int | None) -> Problem | None:
    value = record.get("timestamp")
    remedy = "Write the start of the request with its zone, like 2026-11-09T14:00:00Z"
    if value is None:
        return Problem(line, "timestamp", "", "missing", remedy)
    try:
        if isinstance(value, str):
            parse_instant(value)
            return None
    except PeriodError:
        pass
    return Problem(line, "timestamp", shown(value), "not an instant with a zone", remedy)


def _usage_problems(usage: Mapping[str, Any], path: str, line: int | None) -> list[Problem | None]:
    problems: list[Problem | None] = [
        check_count(usage, key, f"{path}.{key}", line, needed=True) for key in ("input_tokens", "output_tokens")
    ]
    problems += [check_count(usage, key, f"{path}.{key}", line, needed=False) for key in _USAGE_COUNTS]
    split = usage.get("cache_creation")
    if split is not None and not isinstance(split, dict):
        problems.append(Problem(line, f"{path}.cache_creation", "", "not an object", "Log the usage object unchanged"))
    elif split:
        parts = [check_count(split, key, f"{path}.cache_creation.{key}", line, needed=False) for key in _SPLIT]
        problems += parts
        total = usage.get("cache_creation_input_tokens")
        summed = sum(split.get(key) or 0 for key in _SPLIT) if not any(parts) else None
        told = any(split.get(key) is not None for key in _SPLIT)
        if told and summed is not None and type(total) is int and total != summed:
            problems.append(
                Problem(
                    line,
                    f"{path}.cache_creation_input_tokens",
                    str(total),
                    f"contradicts cache_creation, whose parts sum to {summed}",
                    "Log the usage object unchanged",
                )
            )
    tools = usage.get("server_tool_use")
    if isinstance(tools, dict):
        problems.append(
            check_count(tools, "web_search_requests", f"{path}.server_tool_use.web_search_requests", line, needed=False)
        )
    elif tools is not None:
        problems.append(Problem(line, f"{path}.server_tool_use", "", "not an object", "Log the usage object unchanged"))
    iterations = usage.get("iterations")
    if iterations is not None and not (isinstance(iterations, list) and all(isinstance(i, dict) for i in iterations)):
        problems.append(
            Problem(line, f"{path}.iterations", "", "not a list of objects", "Log the usage object unchanged")
        )
    else:
        for index, item in enumerate(iterations or []):
            problems += _usage_problems({**item, "iterations": None}, f"{path}.iterations[{index}]", line)
    return problems


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
