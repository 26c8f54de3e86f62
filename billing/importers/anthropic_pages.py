"""Answers of Anthropic's organisation APIs as saved files: what kind they are, their pages, their buckets."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from billing.core.periods import Period, PeriodError, parse_instant
from billing.core.usage import TokenCounts
from billing.importers.base import (
    BROKEN_COMPRESSION,
    Head,
    ImportRefused,
    Problem,
    broken_compression,
    check_count,
    loads_strict,
    open_bytes,
    read_whole,
    shown,
)

AnswerKind = Literal[
    "",
    "usage_report",
    "cost_report",
    "enterprise_cost",
    "analytics_usage",
    "analytics_cost",
    "claude_code",
    "api_keys",
    "workspaces",
    "error",
]
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
WIDTHS: Final = {timedelta(minutes=1): 1, HOUR: 1, DAY: 24}
_REMEDY: Final = "Take the page as the API returns it"
# An answer too long to be parsed as a whole is told by the words in its beginning.
_SIGNS: Final[tuple[tuple[AnswerKind, tuple[str, ...]], ...]] = (
    ("claude_code", ('"core_metrics":', '"model_breakdown":')),
    ("api_keys", ('"partial_key_hint":',)),
    ("workspaces", ('"display_color":',)),
    ("analytics_usage", ('"group":', '"usage":', '"starting_at":')),
    ("analytics_cost", ('"group":', '"cost":', '"starting_at":')),
    ("usage_report", ('"results":', '"uncached_input_tokens":', '"starting_at":')),
    ("enterprise_cost", ('"results":', '"list_amount":', '"starting_at":')),
    ("cost_report", ('"results":', '"amount":', '"starting_at":')),
    ("usage_report", ('"data":', '"starting_at":')),
)


def kind_of(head: Head) -> AnswerKind:
    """Which answer a file holds, '' for none of them. One file is one kind, so no two formats can claim it."""
    for row in head.rows:
        if row.get("type") == "error" and isinstance(row.get("error"), dict):
            return "error"
        if isinstance(row.get("data"), list):
            return _kind_of_page(row)
    if not head.rows and head.text.lstrip()[:1] in "{[" and '"data"' in head.text:
        return next((kind for kind, words in _SIGNS if all(word in head.text for word in words)), "")
    return ""


def _kind_of_page(page: Mapping[str, Any]) -> AnswerKind:
    items = [item for item in page["data"] if isinstance(item, dict)]
    if len(items) < len(page["data"]):
        return ""
    first = items[0] if items else {}
    if "core_metrics" in first or "model_breakdown" in first:
        return "claude_code"
    if first.get("type") == "api_key":
        return "api_keys"
    if first.get("type") == "workspace":
        return "workspaces"
    if isinstance(first.get("group"), dict):
        return "analytics_cost" if "cost" in first else "analytics_usage"
    if items and "starting_at" not in first:
        return ""
    results = [
        one
        for item in items
        if isinstance(item.get("results"), list)
        for one in item["results"]
        if isinstance(one, dict)
    ]
    if results and "uncached_input_tokens" not in results[0] and "amount" in results[0]:
        return "enterprise_cost" if "list_amount" in results[0] or "organization_id" in page else "cost_report"
    if not results and "data_refreshed_at" in page:
        return "enterprise_cost" if "organization_id" in page else "analytics_usage"
    # Empty buckets alone look the same in both; a report without traffic is worth importing as usage.
    return "usage_report"


def pages_of(path: Path, file_name: str, what: str) -> Iterator[Mapping[str, Any]]:
    """One page, a list of pages, or pages one after another. Raises ImportRefused; `what` names the report."""
    try:
        with open_bytes(path) as file:
            text = read_whole(file, file_name).decode("utf-8-sig").strip()
    except BROKEN_COMPRESSION as error:
        raise broken_compression(file_name) from error
    except UnicodeDecodeError as error:
        raise ImportRefused.because(file_name, "not text in UTF-8", "Save the API's answer unchanged") from error
    decoder, position = json.JSONDecoder(), 0
    while position < len(text):
        try:
            _, end = decoder.raw_decode(text, position)
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
                    file_name, f"not a page of {what}: no list called data", "Save the API's answer unchanged"
                )
            yield page
        position = end
        while position < len(text) and text[position] in " \r\n\t,":
            position += 1


def items_of(
    page: Mapping[str, Any], number: int, pages: int, problems: list[Problem]
) -> Iterator[tuple[Mapping[str, Any], str]]:
    """The objects of a page with their place in words."""
    for index, item in enumerate(page["data"]):
        place = f"data[{index}]" if pages == 1 else f"page {number}, data[{index}]"
        if isinstance(item, dict):
            yield item, place
        else:
            problems.append(Problem(None, place, shown(item), "not a bucket", _REMEDY))


def period_of(item: Mapping[str, Any], place: str, problems: list[Problem]) -> Period | None:
    """A whole minute, hour or UTC day; None with a problem otherwise."""
    instants: list[datetime] = []
    for key in ("starting_at", "ending_at"):
        value = item.get(key)
        try:
            instants.append(parse_instant(value if isinstance(value, str) else ""))
        except PeriodError:
            what = "missing" if value is None else "not an instant with a zone"
            told = "" if value is None else shown(value)
            problems.append(Problem(None, f"{place}.{key}", told, what, "Take it as the API returns it"))
    if len(instants) < 2:
        return None
    start, end = instants
    width = end - start
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    if width not in WIDTHS or (start - midnight) % width:
        problems.append(
            Problem(
                None,
                f"{place}.ending_at",
                shown(item["ending_at"]),
                f"the bucket from {shown(item['starting_at'])} on is no whole minute, hour or UTC day",
                "Ask for bucket_width 1m, 1h or 1d; days are UTC days",
            )
        )
        return None
    return Period(start, end)


def bucketed_results(
    pages: list[Mapping[str, Any]], problems: list[Problem]
) -> tuple[list[tuple[Period, Any, str]], list[Period]]:
    """Every result with its bucket and place, and every bucket, those without traffic too."""
    rows: list[tuple[Period, Any, str]] = []
    buckets: list[Period] = []
    groups: dict[tuple[Period, str], str] = {}
    for number, page in enumerate(pages, start=1):
        for bucket, place in items_of(page, number, len(pages), problems):
            period = period_of(bucket, place, problems)
            results = bucket.get("results")
            if not isinstance(results, list):
                problems.append(Problem(None, f"{place}.results", "", "missing", _REMEDY))
            elif period is not None:
                buckets.append(period)
                found = [(period, result, f"{place}.results[{i}]") for i, result in enumerate(results)]
                problems += _stated_before(found, place, groups)
                rows += found
    return rows, buckets


def _stated_before(
    rows: list[tuple[Period, Any, str]], place: str, groups: dict[tuple[Period, str], str]
) -> list[Problem]:
    """A page that stands twice in a file would count twice. `groups` learns which bucket states what."""
    for period, result, where in rows:
        if not isinstance(result, dict):
            continue
        named = {key: value for key, value in result.items() if isinstance(value, str) and key not in _AMOUNTS}
        earlier = groups.setdefault((period, repr(sorted(named.items()))), place)
        if earlier != place:
            return [
                Problem(
                    None,
                    where,
                    "",
                    f"{earlier} states the same bucket and group",
                    "One of the pages stands twice in the file: keep it once",
                )
            ]
    return []


def check_texts(holder: Mapping[str, Any], names: tuple[str, ...], place: str) -> list[Problem]:
    """Fields that must be text or null."""
    return [
        Problem(None, f"{place}.{name}", shown(holder[name]), "not text", "Take it as the API returns it")
        for name in names
        if holder.get(name) is not None and not isinstance(holder[name], str)
    ]


COUNTERS_NEEDED: Final = ("uncached_input_tokens", "cache_read_input_tokens", "output_tokens")
_AMOUNTS: Final = ("amount", "list_amount")
_SPLIT: Final = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
# Membership in these overlaps: rows of one group repeat usage of another, and their sum is above the total.
_OVERLAPPING: Final = ("rbac_group_id",)
_TOP_GROUPS: Final = 100


def check_counters(usage: Mapping[str, Any], place: str, problems: list[Problem]) -> None:
    """The token counters of a usage result: whole numbers of at least 0."""
    found = [check_count(usage, key, f"{place}.{key}", None, needed=True) for key in COUNTERS_NEEDED]
    written = usage.get("cache_creation")
    if written is not None and not isinstance(written, dict):
        place_of = f"{place}.cache_creation"
        found.append(Problem(None, place_of, shown(written), "not an object", "Take it as the API returns it"))
    else:
        found += [
            check_count(written or {}, key, f"{place}.cache_creation.{key}", None, needed=False) for key in _SPLIT
        ]
    tools = usage.get("server_tool_use")
    searches = f"{place}.server_tool_use.web_search_requests"
    found.append(
        check_count(tools if isinstance(tools, dict) else {}, "web_search_requests", searches, None, needed=False)
    )
    found.append(check_count(usage, "requests", f"{place}.requests", None, needed=False))
    problems += [problem for problem in found if problem is not None]


def counters_of(usage: Mapping[str, Any]) -> TokenCounts:
    """Counters that `check_counters` finds nothing wrong with."""
    written = usage.get("cache_creation") or {}
    tools = usage.get("server_tool_use") or {}
    return TokenCounts(
        uncached_input_tok=usage["uncached_input_tokens"],
        cache_read_tok=usage["cache_read_input_tokens"],
        cache_write_5m_tok=written.get(_SPLIT[0]) or 0,
        cache_write_1h_tok=written.get(_SPLIT[1]) or 0,
        output_tok=usage["output_tokens"],
        web_searches=tools.get("web_search_requests") or 0,
    )


def check_not_overlapping(dimensions: Mapping[str, Any], place: str) -> list[Problem]:
    """Rows of overlapping groups must not be added up, so they are not imported."""
    return [
        Problem(
            None,
            f"{place}.{name}",
            shown(dimensions[name]),
            "groups of this kind overlap: their rows sum to more than the total",
            f"Fetch the report without group_by[]={name}",
        )
        for name in _OVERLAPPING
        if dimensions.get(name) is not None
    ]


def top_groups_finding(pages: list[Mapping[str, Any]]) -> list[str]:
    """Enterprise reports keep the first 100 groups of a bucket and say nothing about the others."""
    cut = sum(
        len(bucket["results"]) >= _TOP_GROUPS
        for page in pages
        if "organization_id" in page
        for bucket in page["data"]
        if isinstance(bucket, dict) and isinstance(bucket.get("results"), list)
    )
    if not cut:
        return []
    return [
        f"{cut} bucket{'s hold' if cut != 1 else ' holds'} {_TOP_GROUPS} groups, the most the report gives: what lies "
        "beyond is missing. Fetch it with fewer group_by[] dimensions."
    ]
