"""Anthropic Admin API usage report: pages of buckets (formats/anthropic-admin-usage-cost-api.md)."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import zstandard

from billing.core.periods import Period, PeriodError, parse_instant
from billing.core.usage import (
    DEFAULT_WORKSPACE,
    NOT_APPLICABLE,
    NOT_GROUPED,
    TokenCounts,
    UsageBucket,
    UsageKey,
    sum_counts,
)
from billing.importers.base import (
    Head,
    ImportRefused,
    Problem,
    Report,
    broken_compression,
    check_count,
    loads_strict,
    open_bytes,
    read_whole,
    shown,
)

_HOUR: Final = timedelta(hours=1)
_WIDTHS: Final = {timedelta(minutes=1): 1, _HOUR: 1, timedelta(days=1): 24}
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
        if head.rows:
            return any(
                isinstance(row.get("data"), list) and all(_is_bucket(item) for item in row["data"][:5])
                for row in head.rows
            )
        # A long or cut page does not parse as a whole; its beginning still tells.
        return head.text.lstrip()[:1] in "{[" and '"data"' in head.text and '"starting_at"' in head.text

    def read(self, path: Path, *, file_name: str, canonical: Callable[[str], str]) -> Report:
        pages = list(_pages(path, file_name))
        problems: list[Problem] = []
        rows: list[tuple[Period, Mapping[str, Any], str]] = []
        empty: list[Period] = []
        for number, page in enumerate(pages, start=1):
            for bucket, place in _buckets(page, number, len(pages), problems):
                period = _period(bucket, place, problems)
                results = bucket.get("results")
                if not isinstance(results, list):
                    problems.append(
                        Problem(None, f"{place}.results", "", "missing", "Take the page as the API returns it")
                    )
                elif period is not None:
                    empty.append(period)
                    rows += [(period, result, f"{place}.results[{i}]") for i, result in enumerate(results)]
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
        return Report(buckets, _WIDTHS[width], tuple(findings))


def _pages(path: Path, file_name: str) -> Iterator[Mapping[str, Any]]:
    """One page, a list of pages, or pages one after another."""
    try:
        with open_bytes(path) as file:
            text = read_whole(file, file_name).decode("utf-8-sig").strip()
    except (OSError, EOFError, zstandard.ZstdError) as error:
        raise broken_compression(file_name) from error
    except UnicodeDecodeError as error:
        raise ImportRefused.because(file_name, "not text in UTF-8", "Save the API's answer unchanged") from error
    decoder, position = json.JSONDecoder(), 0
    while position < len(text):
        try:
            value, end = decoder.raw_decode(text, position)
            value = loads_strict(text[position:end])
        except (ValueError, RecursionError) as error:
            line = text.count("\n", 0, getattr(error, "pos", position)) + 1
            reason = getattr(error, "msg", str(error))
            raise ImportRefused.because(
                file_name, f"not valid JSON ({reason})", "The file may be cut off; fetch the page again", line=line
            ) from error
        for page in value if isinstance(value, list) else [value]:
            if not isinstance(page, dict) or not isinstance(page.get("data"), list):
                raise ImportRefused.because(
                    file_name, "not a page of a usage report: no list called data", "Save the API's answer unchanged"
                )
            yield page
        position = end
        while position < len(text) and text[position] in " \r\n\t,":
            position += 1


def _buckets(
    page: Mapping[str, Any], number: int, pages: int, problems: list[Problem]
) -> Iterator[tuple[Mapping[str, Any], str]]:
    for index, bucket in enumerate(page["data"]):
        place = f"data[{index}]" if pages == 1 else f"page {number}, data[{index}]"
        if isinstance(bucket, dict):
            yield bucket, place
        else:
            problems.append(Problem(None, place, shown(bucket), "not a bucket", "Take the page as the API returns it"))


def _period(bucket: Mapping[str, Any], place: str, problems: list[Problem]) -> Period | None:
    instants: list[datetime] = []
    for key in ("starting_at", "ending_at"):
        value = bucket.get(key)
        try:
            instants.append(parse_instant(value if isinstance(value, str) else ""))
        except PeriodError:
            what = "missing" if value is None else "not an instant with a zone"
            problems.append(
                Problem(
                    None, f"{place}.{key}", "" if value is None else shown(value), what, "Take it as the API returns it"
                )
            )
    if len(instants) < 2:
        return None
    start, end = instants
    width = end - start
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    if width not in _WIDTHS or (start - midnight) % width:
        problems.append(
            Problem(
                None,
                f"{place}.ending_at",
                shown(bucket["ending_at"]),
                f"the bucket is {width}, not a whole minute, hour or UTC day",
                "Ask for bucket_width 1m, 1h or 1d",
            )
        )
        return None
    return Period(start, end)


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
    for key in _GROUPED:
        value = result.get(key)
        if value is not None and not isinstance(value, str):
            found.append(Problem(None, f"{place}.{key}", shown(value), "not text", "Take it as the API returns it"))
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
        start = _hour(period.start) if width < _HOUR else period.start
        with_rows.add(start)
        sums.setdefault((start, _key(result, grouped, canonical), result.get("model") or ""), []).append(
            _counts(result)
        )
    length = max(width, _HOUR)
    zero = UsageKey(model="")
    for period in empty:
        start = _hour(period.start) if width < _HOUR else period.start
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


def _is_bucket(item: Any) -> bool:
    return isinstance(item, dict) and "starting_at" in item
