"""Anthropic Admin API usage report: pages of buckets (formats/anthropic-admin-usage-cost-api.md)."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from billing.core.periods import Period
from billing.core.usage import (
    DEFAULT_WORKSPACE,
    NOT_APPLICABLE,
    NOT_GROUPED,
    TokenCounts,
    UsageBucket,
    UsageKey,
    sum_counts,
)
from billing.importers.anthropic_pages import HOUR, WIDTHS, bucketed_results, check_texts, kind_of, pages_of
from billing.importers.base import Head, ImportRefused, Problem, Report, check_count, shown

_GROUPED: Final = {
    "workspace_id": DEFAULT_WORKSPACE,
    "api_key_id": NOT_APPLICABLE,
    "model": NOT_GROUPED,
    "service_tier": NOT_GROUPED,
    "context_window": NOT_GROUPED,
    "inference_geo": NOT_GROUPED,
    "speed": NOT_GROUPED,
}
_COUNTS: Final = ("uncached_input_tokens", "cache_read_input_tokens", "output_tokens")
_SPLIT: Final = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")


class AnthropicAdminUsage:
    """Usage report of GET /v1/organizations/usage_report/messages: hours stay hours, minutes become hours."""

    name = "anthropic_admin_usage"
    title = "Anthropic Admin API usage report: JSON pages"

    def claims(self, head: Head) -> bool:
        return kind_of(head) == "usage_report"

    def read(self, path: Path, *, file_name: str, canonical: Callable[[str], str]) -> Report:
        pages = list(pages_of(path, file_name, "a usage report"))
        problems: list[Problem] = []
        rows, empty = bucketed_results(pages, problems)
        for _, result, place in rows:
            _check_result(result, place, problems, file_name)
        widths = {period.end - period.start for period in empty}
        if len(widths) > 1 and not problems:
            problems.append(
                Problem(
                    None, "ending_at", "", "buckets of different widths in one file", "Import one bucket_width per file"
                )
            )
        if problems:
            raise ImportRefused(file_name, problems[:100], len(problems))
        if not empty:
            raise ImportRefused.because(
                file_name, "the report has no buckets", "Ask the API for a period, with starting_at and ending_at"
            )
        width = widths.pop()
        findings = []
        if pages[-1].get("has_more"):
            findings.append("The last page says has_more: further pages exist and should be imported as well.")
        grouped = {key for key in _GROUPED if any(result.get(key) is not None for _, result, _ in rows)}
        buckets = _summed(rows, empty, grouped, width, canonical)
        return Report(buckets, WIDTHS[width], tuple(findings))


def _check_result(result: Any, place: str, problems: list[Problem], file_name: str) -> None:
    if not isinstance(result, dict):
        problems.append(Problem(None, place, shown(result), "not an object", "Take the page as the API returns it"))
        return
    if "amount" in result and "uncached_input_tokens" not in result:
        raise ImportRefused.because(
            file_name,
            "this is a cost report (amounts in cents), not a usage report",
            "Import it with manage.py import_costs; here give the answer of usage_report/messages",
        )
    found = [check_count(result, key, f"{place}.{key}", None, needed=True) for key in _COUNTS]
    written = result.get("cache_creation")
    if written is not None and not isinstance(written, dict):
        found.append(
            Problem(None, f"{place}.cache_creation", shown(written), "not an object", "Take it as the API returns it")
        )
    else:
        found += [
            check_count(written or {}, key, f"{place}.cache_creation.{key}", None, needed=False) for key in _SPLIT
        ]
    tools = result.get("server_tool_use")
    found.append(
        check_count(
            tools if isinstance(tools, dict) else {},
            "web_search_requests",
            f"{place}.server_tool_use.web_search_requests",
            None,
            needed=False,
        )
    )
    found += check_texts(result, tuple(_GROUPED), place)
    problems += [problem for problem in found if problem is not None]


def _summed(
    rows: list[tuple[Period, Mapping[str, Any], str]],
    empty: list[Period],
    grouped: set[str],
    width: timedelta,
    canonical: Callable[[str], str],
) -> tuple[UsageBucket, ...]:
    """One bucket per hour (or day) and key; a bucket without traffic stays, as one zero row, so that it replaces."""
    sums: dict[tuple[datetime, UsageKey, str], list[TokenCounts]] = {}
    with_rows = set()
    for period, result, _ in rows:
        start = _hour(period.start) if width < HOUR else period.start
        with_rows.add(start)
        sums.setdefault((start, _key(result, grouped, canonical), result.get("model") or ""), []).append(
            _counts(result)
        )
    length = max(width, HOUR)
    zero = UsageKey(model="")
    for period in empty:
        start = _hour(period.start) if width < HOUR else period.start
        if start not in with_rows:
            sums.setdefault((start, zero, ""), [])
    return tuple(
        UsageBucket(Period(start, start + length), key, sum_counts(counts), raw)
        for (start, key, raw), counts in sorted(
            sums.items(), key=lambda item: (item[0][0], str(item[0][1]), item[0][2])
        )
    )


def _key(result: Mapping[str, Any], grouped: set[str], canonical: Callable[[str], str]) -> UsageKey:
    def told(key: str) -> str:
        value = result.get(key)
        if value:
            return str(value)[:255]
        return _GROUPED[key] if key in grouped else NOT_GROUPED

    model = result.get("model")
    return UsageKey(
        workspace=told("workspace_id"),
        api_key=told("api_key_id"),
        model=canonical(model) if model else told("model"),
        service_tier=told("service_tier"),
        prompt_length_band=told("context_window"),
        geo=told("inference_geo"),
        speed=told("speed"),
    )


def _counts(result: Mapping[str, Any]) -> TokenCounts:
    written = result.get("cache_creation") or {}
    tools = result.get("server_tool_use") or {}
    return TokenCounts(
        uncached_input_tok=result["uncached_input_tokens"],
        cache_read_tok=result["cache_read_input_tokens"],
        cache_write_5m_tok=written.get(_SPLIT[0]) or 0,
        cache_write_1h_tok=written.get(_SPLIT[1]) or 0,
        output_tok=result["output_tokens"],
        web_searches=tools.get("web_search_requests") or 0,
    )


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
