"""Claude Console, usage download: a row per day (or hour), model, key and workspace, by name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from billing.core.usage import NOT_GROUPED, TokenCounts, UsageKey
from billing.importers.anthropic_words import prompt_band, workspace_name
from billing.importers.base import PROBLEMS_SHOWN, Head, ImportRefused, Problem, Report
from billing.importers.buckets import HOUR, BucketRow, summed_buckets
from billing.importers.console_csv import DATE, console_period, whole_count
from billing.importers.tables import header_of, table_rows

UNCACHED: Final = "usage_input_tokens_no_cache"
OUTPUT: Final = "usage_output_tokens"
OLD_WRITES: Final = "usage_input_tokens_cache_write"
_COUNTERS: Final = {
    "uncached_input_tok": UNCACHED,
    "cache_write_5m_tok": "usage_input_tokens_cache_write_5m",
    "cache_write_1h_tok": "usage_input_tokens_cache_write_1h",
    "cache_read_tok": "usage_input_tokens_cache_read",
    "output_tok": OUTPUT,
    "web_searches": "web_search_count",
}


class ConsoleUsageCsv:
    """Keys and workspaces are names here, which people change and use twice: rows of equal names are added."""

    name = "console_usage_csv"
    title = "Claude Console usage download: CSV"
    rank = 2

    def claims(self, head: Head) -> bool:
        names = header_of(head)
        return DATE in names and UNCACHED in names

    def read(self, path: Path, *, file_name: str, canonical: Callable[[str], str]) -> Report:
        problems: list[Problem] = []
        count = 0
        rows: list[BucketRow] = []
        old_writes = 0
        for line, row in table_rows(path, file_name, required=(DATE, UNCACHED, OUTPUT)):
            before = len(problems)
            found = _row(row, line, canonical, problems)
            count += len(problems) > before
            del problems[PROBLEMS_SHOWN:]
            old_writes += int(row.get(OLD_WRITES) or 0) if found else 0
            if found is not None:
                rows.append(found)
        widths = {row.period.end - row.period.start for row in rows}
        if len(widths) > 1:
            raise ImportRefused.because(
                file_name,
                "days and hours in one file",
                "Download the day view or the hour view, each into its own file",
            )
        width = widths.pop() if widths else HOUR
        findings = []
        if old_writes:
            findings.append(
                f"{old_writes:,} tokens of cache writes stand in one column without their lifetime: counted as "
                "5-minute writes."
            )
        findings += _unknown_labels(rows)
        return Report(
            summed_buckets(rows, (), width), 1 if width == HOUR else 24, tuple(findings), tuple(problems), count
        )


def _row(
    row: Mapping[str, str], line: int, canonical: Callable[[str], str], problems: list[Problem]
) -> BucketRow | None:
    before = len(problems)
    period = console_period(row, line, problems)
    counts = {name: whole_count(row, column, line, problems) for name, column in _COUNTERS.items()}
    counts["cache_write_5m_tok"] += whole_count(row, OLD_WRITES, line, problems)
    if period is None or len(problems) > before:
        return None

    def told(column: str) -> str:
        return row[column][:255] if column in row else NOT_GROUPED

    model = row.get("model_version", "")
    key = UsageKey(
        workspace=workspace_name(row["workspace"]) if "workspace" in row else NOT_GROUPED,
        api_key=told("api_key"),
        model=canonical(model) if model else NOT_GROUPED,
        service_tier=told("usage_type"),
        prompt_length_band=prompt_band(row["context_window"]) if "context_window" in row else NOT_GROUPED,
        geo=told("inference_geo"),
        speed=told("speed"),
    )
    return BucketRow(period, key, model, TokenCounts(**counts))


_BANDS: Final = frozenset({"", "0-100k", "0-200k", "100k-1M", "200k-1M", NOT_GROUPED})


def _unknown_labels(rows: list[BucketRow]) -> list[str]:
    labels = sorted({row.key.prompt_length_band for row in rows} - _BANDS)
    return [f"Unknown prompt-length label {label!r}: kept as it stands; no price fits it." for label in labels[:5]]
