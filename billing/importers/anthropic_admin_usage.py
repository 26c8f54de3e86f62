"""Anthropic Admin API usage report: pages of buckets (formats/anthropic-admin-usage-cost-api.md)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from billing.core.periods import Period
from billing.core.usage import (
    DEFAULT_WORKSPACE,
    NOT_APPLICABLE,
    NOT_GROUPED,
    UsageKey,
)
from billing.importers.anthropic_pages import (
    WIDTHS,
    bucketed_results,
    check_counters,
    check_not_overlapping,
    check_texts,
    counters_of,
    kind_of,
    pages_of,
    top_groups_finding,
)
from billing.importers.base import Head, ImportRefused, Problem, Report, shown
from billing.importers.buckets import BucketRow, summed_buckets

_GROUPED: Final = {
    "workspace_id": DEFAULT_WORKSPACE,
    "api_key_id": NOT_APPLICABLE,
    "model": NOT_GROUPED,
    "service_tier": NOT_GROUPED,
    "context_window": NOT_GROUPED,
    "inference_geo": NOT_GROUPED,
    "speed": NOT_GROUPED,
}


class AnthropicAdminUsage:
    """Usage report of GET /v1/organizations/usage_report/messages: hours stay hours, minutes become hours.

    The Enterprise usage report has the same buckets and counters, with fewer dimensions, and is read here too.
    """

    name = "anthropic_admin_usage"
    rank = 3
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
        findings += top_groups_finding(pages)
        grouped = {key for key in _GROUPED if any(result.get(key) is not None for _, result, _ in rows)}
        buckets = summed_buckets((_row(period, result, grouped, canonical) for period, result, _ in rows), empty, width)
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
    check_counters(result, place, problems)
    problems += check_texts(result, tuple(_GROUPED), place)
    problems += check_not_overlapping(result, place)


def _row(period: Period, result: Mapping[str, Any], grouped: set[str], canonical: Callable[[str], str]) -> BucketRow:
    key = _key(result, grouped, canonical)
    return BucketRow(period, key, result.get("model") or "", counters_of(result), result.get("requests"))


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
