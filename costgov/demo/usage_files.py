"""Usage files of the demo in the real formats: usage reports for the months before, logs for the last 28 days.

Everything follows from the parameter tables, a fixed seed and the day the demo ends on: the same bytes every time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from costgov.demo import tables
from costgov.demo.organisation import (
    CLASSES,
    HAIKU_45,
    MOVED,
    ORGANISATION_ID,
    POLICY,
    RAW_NAME,
    REGION_UNTOLD,
    SANDBOX,
    SANDBOX_UNKNOWN_SHARE,
    UNKNOWN_MODEL,
    DemoClass,
    rule_of,
)
from costgov.demo.tables import Floats, Ints

DAYS: Final = 252
LOG_DAYS: Final = 28
REPORT_DAYS: Final = 28  # per file
WEEK: Final = 7
SEED: Final = 20_261
MOVED_DAYS_BEFORE: Final = 126
MOVED_HOUR: Final = 9
MAX_PROMPT_TOK: Final = 199_000
TEAM: Final = {"wrkspc_care": "Customer care", "wrkspc_knowledge": "Knowledge tools"}
ALL: Final = (*CLASSES, SANDBOX)
_STATISTICS_FROM: Final = 20_000  # requests drawn to know mean and spread of a sum


@dataclass(frozen=True, slots=True)
class UsageFile:
    """A file to write: usage of days [start, end) in one format; `ready_at` is when the organisation has it."""

    name: str
    kind: str
    start: date
    end: date
    ready_at: datetime

    def write(self, folder: Path, last: date) -> Path:
        """`last` is the day after the demo's last day."""
        path = folder / self.name
        if self.kind == "report":
            path.write_bytes(orjson.dumps(_report(self.start, self.end, last)))
            return path
        lines = _log_lines if self.kind == "log" else _litellm_lines
        with path.open("wb") as out:
            for day in _days(self.start, self.end):
                timed = [pair for row in ALL if row.via == self.kind for pair in lines(row, day, last)]
                timed.sort()
                out.write(b"".join(line for _, line in timed))
        return path


def usage_files(last: date) -> Iterator[UsageFile]:
    """All files of a demo that ends before `last`, oldest first."""
    first = last - timedelta(days=DAYS)
    logs_from = last - timedelta(days=LOG_DAYS)
    start = first
    while start < logs_from:
        end = start + timedelta(days=REPORT_DAYS)
        yield UsageFile(f"usage_report_{start}.json", "report", start, end, _at(end, 6))
        start = end
    while start < last:
        end = start + timedelta(days=WEEK)
        yield UsageFile(f"requests_{start}.jsonl", "log", start, end, _at(end, 0, 20))
        yield UsageFile(f"litellm_{start}.jsonl", "litellm", start, end, _at(end, 0, 30))
        start = end


def requests_on(row: DemoClass, day: date, last: date) -> int:
    """Requests of a class on a day: a common level, the class's growth, and its rhythm over 14 days."""
    shape = _shape(row)
    index = DAYS - (last - day).days
    return round(row.requests / LOG_DAYS * float(shape[index]))


def _shape(row: DemoClass) -> Floats:
    """Daily factors whose last 28 have mean 1."""
    rhythm = tables.day_factors(row.days)
    raw = np.array([level**row.growth * rhythm[i % 14] for i, level in enumerate(tables.levels())])
    found: Floats = raw / raw[-LOG_DAYS:].mean()
    return found


def model_at(row: DemoClass, at: datetime, last: date) -> str:
    """What serves a class at an instant."""
    moved_at = _at(last - timedelta(days=MOVED_DAYS_BEFORE), MOVED_HOUR)
    return HAIKU_45 if row.slug == MOVED and at >= moved_at else row.model


# --- usage reports ----------------------------------------------------------------------------------------------------


def _report(start: date, end: date, last: date) -> dict[str, Any]:
    """One page of GET /v1/organizations/usage_report/messages, a bucket per day, grouped by everything useful."""
    return {
        "data": [
            {
                "starting_at": f"{day}T00:00:00Z",
                "ending_at": f"{day + timedelta(days=1)}T00:00:00Z",
                "results": [result for row in ALL for result in _results(row, day, last)],
            }
            for day in _days(start, end)
        ],
        "has_more": False,
        "next_page": None,
    }


def _results(row: DemoClass, day: date, last: date) -> Iterator[dict[str, Any]]:
    for model, share in _models_on(row, day, last):
        count = round(requests_on(row, day, last) * share)
        if not count:
            continue
        totals = _day_totals(row, day, last, model, count)
        yield {
            "uncached_input_tokens": totals["uncached_input"],
            "cache_read_input_tokens": totals.get("cache_read", 0),
            "cache_creation": {
                "ephemeral_5m_input_tokens": totals.get("cache_write_5m", 0),
                "ephemeral_1h_input_tokens": 0,
            },
            "output_tokens": totals["output"],
            "server_tool_use": {"web_search_requests": 0},
            "account_id": None,
            "api_key_id": row.report_api_key,
            "context_window": "0-200k",
            "inference_geo": _geo(row),
            "model": RAW_NAME.get(model, model),
            "service_account_id": None,
            "service_tier": "standard",
            "workspace_id": row.workspace,
        }


def _geo(row: DemoClass) -> str:
    return "not_available" if row.slug == REGION_UNTOLD else "global"


def _models_on(row: DemoClass, day: date, last: date) -> list[tuple[str, float]]:
    if row is SANDBOX:
        return [(row.model, 1 - SANDBOX_UNKNOWN_SHARE), (UNKNOWN_MODEL, SANDBOX_UNKNOWN_SHARE)]
    if row.slug == MOVED and (last - day).days == MOVED_DAYS_BEFORE:
        before = float(tables.hour_shares(row.hours)[:MOVED_HOUR].sum())
        return [(row.model, before), (HAIKU_45, 1 - before)]
    return [(model_at(row, _at(day, 12), last), 1.0)]


def _day_totals(row: DemoClass, day: date, last: date, model: str, count: int) -> dict[str, int]:
    """Sums over `count` requests, drawn from the normal distribution such a sum has."""
    mean, root = _statistics(row)
    variables = tables.sizes(row.size_set).variables
    rng = np.random.default_rng([SEED, 1, ALL.index(row), (last - day).days, len(model)])
    sums = count * mean + np.sqrt(count) * (root @ rng.standard_normal(len(variables)))
    return {name: max(round(float(total)), count) for name, total in zip(variables, sums, strict=True)}


_cache: dict[str, tuple[Floats, Floats]] = {}


def _statistics(row: DemoClass) -> tuple[Floats, Floats]:
    """Mean and root of the covariance of one request's token kinds."""
    if row.size_set not in _cache:
        drawn = _draw(row, np.random.default_rng([SEED, 2, ALL.index(row)]), _STATISTICS_FROM)
        values = np.array([drawn[name] for name in tables.sizes(row.size_set).variables], float)
        covariance = np.cov(values) + np.eye(len(values)) * 1e-6
        _cache[row.size_set] = (values.mean(axis=1), np.linalg.cholesky(covariance).astype(np.float64))
    return _cache[row.size_set]


# --- logs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Requests:
    """A day's requests of one class. `at_ms`: milliseconds since 1970."""

    at_ms: Ints
    counts: dict[str, Ints]
    ids: list[str]
    models: list[str]


def _draw(row: DemoClass, rng: np.random.Generator, count: int) -> dict[str, Ints]:
    drawn = tables.sizes(row.size_set).draw(rng, count)
    if "cache_read" in drawn:  # the starting models take 200,000 tokens
        room = MAX_PROMPT_TOK - drawn["uncached_input"]
        drawn["cache_write_5m"] = np.minimum(drawn["cache_write_5m"], room)
        drawn["cache_read"] = np.minimum(drawn["cache_read"], room - drawn["cache_write_5m"])
    return drawn


def _requests(row: DemoClass, day: date, last: date) -> _Requests:
    count = requests_on(row, day, last)
    number = ALL.index(row)
    back = (last - day).days
    rng = np.random.default_rng([SEED, 3, number, back])
    per_hour = rng.multinomial(count, tables.hour_shares(row.hours))
    hours = np.repeat(np.arange(24), per_hour)
    within = rng.integers(0, 3_600_000, count)
    midnight = int(_at(day, 0).timestamp()) * 1000
    at_ms = np.sort(midnight + hours * 3_600_000 + within)
    models = [row.model] * count
    if row is SANDBOX:
        unknown = rng.random(count) < SANDBOX_UNKNOWN_SHARE
        models = [UNKNOWN_MODEL if flag else row.model for flag in unknown.tolist()]
    elif row.slug == MOVED:
        models = [HAIKU_45] * count  # moved long before the first log
    stem = f"{midnight // 86_400_000:05d}{number:02d}"
    return _Requests(at_ms, _draw(row, rng, count), [f"{stem}{i:06d}" for i in range(count)], models)


def _log_lines(row: DemoClass, day: date, last: date) -> Iterator[tuple[int, bytes]]:
    """costgov's request envelope around the Messages API response (formats: messages_api_log)."""
    drawn = _requests(row, day, last)
    tags = {"feature": row.feature, "environment": "prod"} if row.feature else {"environment": "dev"}
    if row.agent_kind:
        tags["agent-kind"] = row.agent_kind
    template = (
        '{"timestamp":"%sZ","request_id":"req_01%s","organization_id":"'
        + ORGANISATION_ID
        + f'","workspace_id":"{row.workspace}","api_key_id":"{row.api_key}","method":"POST","path":"/v1/messages",'
        + '"http_status":200,"request":{"model":"%s","max_tokens":'
        + f'{row.max_tokens},"stream":true}},"tags":{orjson.dumps(tags).decode()},'
        + '"response":{"id":"msg_01%s","type":"message","role":"assistant","model":"%s","usage":{"input_tokens":%d,'
        '"cache_creation_input_tokens":%d,"cache_read_input_tokens":%d,"cache_creation":{"ephemeral_5m_input_tokens":%d,'
        '"ephemeral_1h_input_tokens":0},"output_tokens":%d,"service_tier":"standard",'
        + f'"inference_geo":"{_geo(row)}"}}}}}}\n'
    )
    zero = np.zeros(len(drawn.ids), np.int64)
    written = drawn.counts.get("cache_write_5m", zero).tolist()
    for at, stamp, own, model, uncached, write, read, output in zip(
        drawn.at_ms.tolist(),
        np.datetime_as_string(drawn.at_ms.astype("datetime64[ms]")).tolist(),
        drawn.ids,
        drawn.models,
        drawn.counts["uncached_input"].tolist(),
        written,
        drawn.counts.get("cache_read", zero).tolist(),
        drawn.counts["output"].tolist(),
        strict=True,
    ):
        raw = RAW_NAME.get(model, model)
        yield at, (template % (stamp, own, model, own, raw, uncached, write, read, write, output)).encode()


def _litellm_lines(row: DemoClass, day: date, last: date) -> Iterator[tuple[int, bytes]]:
    """LiteLLM StandardLoggingPayload with message logging off and the gateway's decision in its metadata."""
    drawn = _requests(row, day, last)
    raw = RAW_NAME.get(row.model, row.model)
    facts = {"feature": row.feature, "api_key": row.api_key, "model": row.model, "max_tokens": row.max_tokens}
    decision = {
        "policy": POLICY,
        "version": 2,
        "environment": "prod",
        "sequence": 2,
        "rule": rule_of(row),
        "class": row.slug,
        "arm": "policy",
        "bucket": None,
        "requested": row.model,
        "target": row.model,
        "applied": False,
        "reason": "already",
        "facts": facts,
        "adapter": "litellm",
    }
    tags = [
        f"feature:{row.feature}",
        f"costgov.class:{row.slug}",
        f"costgov.policy:{POLICY}@2",
        "costgov.arm:policy",
    ]
    metadata = {
        "user_api_key_alias": row.api_key,
        "user_api_key_team_alias": TEAM[row.workspace],
        "spend_logs_metadata": {"costgov": decision},
    }
    head = (
        f'"call_type":"acompletion","cache_hit":null,"stream":true,"status":"success","custom_llm_provider":"anthropic",'
        f'"model":"{raw}","request_tags":{orjson.dumps(tags).decode()},"model_parameters":{{"max_tokens":{row.max_tokens}}},'
        f'"metadata":{orjson.dumps(metadata).decode()[:-1]}'
    ).replace("%", "%%")
    template = (
        '{"id":"chatcmpl-%s","litellm_call_id":"%s",'
        + head
        + ',"usage_object":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
        '"prompt_tokens_details":{"cached_tokens":0,"text_tokens":%d,"cache_creation_tokens":0},'
        '"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"service_tier":"standard","inference_geo":"global"}},'
        '"startTime":%d.%03d,"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
        '"hidden_params":{"additional_headers":{"llm_provider-request-id":"req_01%s"}}}\n'
    )
    for at, own, prompt, output in zip(
        drawn.at_ms.tolist(),
        drawn.ids,
        drawn.counts["uncached_input"].tolist(),
        drawn.counts["output"].tolist(),
        strict=True,
    ):
        total = prompt + output
        yield (
            at,
            (
                template % (own, own, prompt, output, total, prompt, at // 1000, at % 1000, prompt, output, total, own)
            ).encode(),
        )


# --- parts ------------------------------------------------------------------------------------------------------------


def _days(start: date, end: date) -> Iterator[date]:
    for offset in range((end - start).days):
        yield start + timedelta(days=offset)


def _at(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
