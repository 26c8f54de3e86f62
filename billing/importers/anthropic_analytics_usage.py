"""Anthropic Usage and Cost Analytics API, usage (GET /v1/organizations/analytics/usage): all pages of one query."""

from collections.abc import Callable
from pathlib import Path

from billing.core.usage import UsageKey
from billing.importers.analytics_rows import AnalyticsFile, AnalyticsRow, analytics_file
from billing.importers.anthropic_pages import WIDTHS, check_counters, counters_of, kind_of
from billing.importers.base import PROBLEMS_SHOWN, Head, ImportRefused, Problem, Report, shown
from billing.importers.buckets import BucketRow, filled, summed_buckets


class AnthropicAnalyticsUsage:
    """Hours stay hours, minutes become hours. An hour or day without a row between the first and the last had none."""

    name = "anthropic_analytics_usage"
    rank = 3
    title = "Anthropic Analytics API usage: JSON pages of one query"

    def claims(self, head: Head) -> bool:
        return kind_of(head) == "analytics_usage"

    def read(self, path: Path, *, file_name: str, canonical: Callable[[str], str]) -> Report:
        file = analytics_file(path, file_name, "usage", "an Analytics usage report")
        problems: list[Problem] = []
        for row in file.rows:
            check_counters(row.measures, f"{row.place}.usage", problems)
        if not problems:
            _check_totals(file, problems)
        if problems:
            raise ImportRefused(file_name, problems[:PROBLEMS_SHOWN], len(problems))
        rows = [
            BucketRow(
                row.period,
                _key(file, row, canonical),
                str(row.group.get("model") or ""),
                counters_of(row.measures),
                row.measures.get("requests"),
            )
            for row in file.rows
        ]
        findings = list(file.findings)
        idle = sum(row.requests or 0 for row in rows if row.counts.is_zero)
        if idle:
            findings.append(f"{idle:,} requests state no tokens (code execution, for one): they count as no usage.")
        buckets = summed_buckets(rows, filled([row.period for row in rows]), file.width)
        return Report(buckets, WIDTHS[file.width], tuple(findings))


def _key(file: AnalyticsFile, row: AnalyticsRow, canonical: Callable[[str], str]) -> UsageKey:
    model = row.group.get("model")
    return UsageKey(
        workspace=file.told(row, "workspace_id"),
        api_key=file.told(row, "api_key_id"),
        model=canonical(str(model)) if model else file.told(row, "model"),
        service_tier=file.told(row, "service_tier"),
        prompt_length_band=file.told(row, "context_window"),
        geo=file.told(row, "inference_geo"),
        speed=file.told(row, "speed"),
    )


def _check_totals(file: AnalyticsFile, problems: list[Problem]) -> None:
    """The API states each row's total: counters that do not sum to it mean that one of them is not understood."""
    for row in file.rows:
        total = row.measures.get("total_tokens")
        ours = counters_of(row.measures).total_tok
        if type(total) is int and total != ours:
            problems.append(
                Problem(
                    None,
                    f"{row.place}.usage.total_tokens",
                    shown(total),
                    f"the row's counters sum to {ours}",
                    "Save the API's answer unchanged",
                )
            )
