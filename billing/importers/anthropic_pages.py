"""Answers of Anthropic's organisation APIs as saved files: what kind they are, their pages, their buckets."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import zstandard

from billing.core.periods import Period, PeriodError, parse_instant
from billing.importers.base import (
    Head,
    ImportRefused,
    Problem,
    broken_compression,
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
    ("claude_code", ('"core_metrics"', '"model_breakdown"')),
    ("api_keys", ('"partial_key_hint"',)),
    ("workspaces", ('"display_color"',)),
    ("analytics_usage", ('"group"', '"usage"', '"starting_at"')),
    ("analytics_cost", ('"group"', '"cost"', '"starting_at"')),
    ("usage_report", ('"results"', '"uncached_input_tokens"', '"starting_at"')),
    ("enterprise_cost", ('"results"', '"list_amount"', '"starting_at"')),
    ("cost_report", ('"results"', '"amount"', '"starting_at"')),
    ("usage_report", ('"data"', '"starting_at"')),
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
    except (OSError, EOFError, zstandard.ZstdError) as error:
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
                f"the bucket is {width}, not a whole minute, hour or UTC day",
                "Ask for bucket_width 1m, 1h or 1d",
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
    for number, page in enumerate(pages, start=1):
        for bucket, place in items_of(page, number, len(pages), problems):
            period = period_of(bucket, place, problems)
            results = bucket.get("results")
            if not isinstance(results, list):
                problems.append(Problem(None, f"{place}.results", "", "missing", _REMEDY))
            elif period is not None:
                buckets.append(period)
                rows += [(period, result, f"{place}.results[{i}]") for i, result in enumerate(results)]
    return rows, buckets


def check_texts(holder: Mapping[str, Any], names: tuple[str, ...], place: str) -> list[Problem]:
    """Fields that must be text or null."""
    return [
        Problem(None, f"{place}.{name}", shown(holder[name]), "not text", "Take it as the API returns it")
        for name in names
        if holder.get(name) is not None and not isinstance(holder[name], str)
    ]
