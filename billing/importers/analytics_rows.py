"""Flat rows of Anthropic's Usage and Cost Analytics API: every dimension of a row stands in its `group`.

Rows of one bucket may stand on several pages, largest first, so all pages of a query belong in one file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from billing.core.periods import Period
from billing.core.usage import NOT_APPLICABLE, NOT_GROUPED, UNKNOWN
from billing.importers.anthropic_pages import (
    check_not_overlapping,
    check_texts,
    items_of,
    pages_of,
    period_of,
)
from billing.importers.base import PROBLEMS_SHOWN, ImportRefused, Problem, shown


@dataclass(frozen=True, slots=True)
class AnalyticsRow:
    """One row: its bucket, its dimensions, its measures (`usage` or `cost`), and its place in words."""

    period: Period
    group: Mapping[str, Any]
    measures: Mapping[str, Any]
    place: str


@dataclass(frozen=True, slots=True)
class AnalyticsFile:
    """All rows of a query. `grouped`: dimensions that any row names."""

    rows: tuple[AnalyticsRow, ...]
    width: timedelta
    grouped: frozenset[str]
    findings: tuple[str, ...]

    def told(self, row: AnalyticsRow, name: str) -> str:
        """A dimension of a row: null means not grouped, or, where other rows name it, not applicable or unset."""
        value = row.group.get(name)
        if value is not None:
            return str(value)[:255]
        if name not in self.grouped:
            return NOT_GROUPED
        return UNKNOWN if name in ("inference_geo", "speed") else NOT_APPLICABLE


def analytics_file(path: Path, file_name: str, measures: str, what: str) -> AnalyticsFile:
    """Read every page of a query. Raises ImportRefused with all problems found."""
    pages = list(pages_of(path, file_name, what))
    problems: list[Problem] = []
    rows = [
        row
        for number, page in enumerate(pages, start=1)
        for item, place in items_of(page, number, len(pages), problems)
        if (row := _row(item, place, measures, problems)) is not None
    ]
    if problems:
        raise ImportRefused(file_name, problems[:PROBLEMS_SHOWN], len(problems))
    if not rows:
        raise ImportRefused.because(
            file_name, "the report has no rows", "Ask for a period with traffic, with starting_at and ending_at"
        )
    _check_whole(pages, rows, file_name)
    widths = {row.period.end - row.period.start for row in rows}
    if len(widths) > 1:
        raise ImportRefused.because(
            file_name, "rows of different widths in one file", "Import one time_bucket_width per file"
        )
    grouped = frozenset(name for row in rows for name, value in row.group.items() if value is not None)
    findings = []
    if len(pages) == 1:
        findings.append(
            "One page of a query, and nothing in it tells whether pages came before: "
            "if the query had several, import all of them as one file."
        )
    if "claude_tag_user_id" in grouped:
        findings.append("Grouped by claude_tag_user_id: such rows may sum to less than the total.")
    return AnalyticsFile(tuple(rows), widths.pop(), grouped, tuple(findings))


def _row(item: Mapping[str, Any], place: str, measures: str, problems: list[Problem]) -> AnalyticsRow | None:
    period = period_of(item, place, problems)
    group, found = item.get("group"), item.get(measures)
    for name, value in (("group", group), (measures, found)):
        if not isinstance(value, dict):
            problems.append(
                Problem(
                    None,
                    f"{place}.{name}",
                    "" if value is None else shown(value),
                    "missing" if value is None else "not an object",
                    "Save the API's answer unchanged",
                )
            )
    if period is None or not isinstance(group, dict) or not isinstance(found, dict):
        return None
    texts = tuple(name for name in group if name != "actor")
    wrong = [*check_texts(group, texts, f"{place}.group"), *check_not_overlapping(group, f"{place}.group")]
    problems += wrong
    return None if wrong else AnalyticsRow(period, group, found, place)


def _check_whole(pages: Sequence[Mapping[str, Any]], rows: Sequence[AnalyticsRow], file_name: str) -> None:
    if pages[-1].get("has_more"):
        raise ImportRefused.because(
            file_name,
            "the last page says has_more: rows of the same days stand on further pages",
            "Fetch all pages (limit=1000, page=next_page) and put them one after another into one file",
        )
    seen: dict[tuple[Period, str], str] = {}
    for row in rows:
        key = (row.period, repr(sorted(row.group.items(), key=lambda item: item[0])))
        earlier = seen.setdefault(key, row.place)
        if earlier != row.place:
            raise ImportRefused.because(
                file_name,
                f"{earlier} and {row.place} state the same bucket and group",
                "One of the pages stands twice in the file: keep it once",
            )
