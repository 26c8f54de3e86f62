"""Rows of request logs for tests, in the three formats."""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def envelope(number: int, at: str = "2026-11-09T09:00:00Z", **over: Any) -> dict[str, Any]:
    """One good row of our request envelope; keys of `usage` and top-level keys may be given."""
    usage = {
        "input_tokens": 100,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 10,
        "server_tool_use": None,
        "service_tier": "standard",
        "inference_geo": "global",
        "speed": "standard",
    }
    usage.update(over.pop("usage", {}))
    model = over.pop("model", "claude-haiku-4-5")
    row: dict[str, Any] = {
        "timestamp": at,
        "request_id": f"req_{number:06d}",
        "organization_id": "org-1",
        "workspace_id": "wrkspc_a",
        "api_key_id": "apikey_a",
        "path": "/v1/messages",
        "http_status": 200,
        "latency_ms": 500,
        "request": {"model": model, "max_tokens": 1024, "stream": False},
        "tags": {},
        "response": {"id": f"msg_{number:06d}", "type": "message", "model": model, "usage": usage},
    }
    row.update(over)
    return row


def payload(number: int, started: float = 1_762_678_800.0, **over: Any) -> dict[str, Any]:
    """One good LiteLLM payload: 100 uncached, 20 read, 30 written for 5 minutes, 10 out."""
    row: dict[str, Any] = {
        "id": f"chatcmpl-{number}",
        "litellm_call_id": f"call-{number}",
        "call_type": "acompletion",
        "status": "success",
        "custom_llm_provider": "anthropic",
        "startTime": started,
        "response_time": 0.5,
        "model": "claude-haiku-4-5",
        "prompt_tokens": 150,
        "completion_tokens": 10,
        "cache_hit": None,
        "request_tags": [],
        "model_parameters": {"max_tokens": 64},
        "hidden_params": {"additional_headers": {"llm_provider-request-id": f"req_{number:06d}"}},
        "metadata": {
            "user_api_key_alias": "support-bot",
            "spend_logs_metadata": None,
            "usage_object": {
                "cache_creation_input_tokens": 30,
                "cache_read_input_tokens": 20,
                "prompt_tokens_details": {
                    "text_tokens": 100,
                    "cached_tokens": 20,
                    "cache_creation_tokens": 30,
                    "cache_creation_token_details": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 0},
                },
            },
        },
    }
    row.update(over)
    return row


def report(*buckets: tuple[str, str, list[dict[str, Any]]], has_more: bool = False) -> dict[str, Any]:
    """A page of a usage report: (starting_at, ending_at, results)."""
    data = [{"starting_at": start, "ending_at": end, "results": results} for start, end, results in buckets]
    return {"data": data, "has_more": has_more, "next_page": None}


def result(**over: Any) -> dict[str, Any]:
    """One result row, all keys present as the API gives them; `read`, `w5`, `w1h`, `web` are the nested counts."""
    row: dict[str, Any] = {
        "uncached_input_tokens": 0,
        "cache_read_input_tokens": over.pop("read", 0),
        "cache_creation": {
            "ephemeral_5m_input_tokens": over.pop("w5", 0),
            "ephemeral_1h_input_tokens": over.pop("w1h", 0),
        },
        "output_tokens": 0,
        "server_tool_use": {"web_search_requests": over.pop("web", 0)},
        "account_id": None,
        "api_key_id": None,
        "context_window": None,
        "inference_geo": None,
        "model": "claude-haiku-4-5",
        "service_account_id": None,
        "service_tier": None,
        "workspace_id": None,
    }
    row.update(over)
    return row


def write_lines(path: Path, rows: Iterable[Any]) -> Path:
    """JSON lines; text items are written as they are. gzip by the name's end."""
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text.encode())
    return path


def write_json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path
