"""LiteLLM's daily tables, LiteLLM_DailyUserSpend and its sisters (formats/litellm-logs.md): sums by UTC day.

They sum up the rows of the spend logs: a source of their own, of which a provider's report of the day goes first.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Final

from billing.core.periods import Period, PeriodError, parse_day
from billing.core.usage import MAX_COUNT, NOT_GROUPED, TokenCounts, UsageBucket, UsageKey, sum_counts
from billing.importers.base import EARLIEST, PROBLEMS_SHOWN, Head, ImportRefused, Problem, Report
from billing.importers.reading import Reader, channel_of, is_claude, keys_of, other_vendor, records

_COLUMNS: Final = frozenset({"date", "api_key", "model", "prompt_tokens", "completion_tokens", "api_requests"})
# A request is in several rows of such a table, or in none: its sums are not the day's usage.
_OVERLAPPING: Final = {"tag": "a request with two tags", "mcp_namespaced_tool_name": "a request of two tools"}
_PARTIAL: Final = {"team_id": "a team", "organization_id": "an organisation", "end_user_id": "an end user"}


class LiteLLMDaily:
    """`prompt_tokens` contains cache reads and writes; how long writes live is not told."""

    name = "litellm_daily"
    rank = 0  # a gateway's own sums: the provider's report of a day goes first
    title = "LiteLLM daily tables: rows of LiteLLM_DailyUserSpend (or …TeamSpend) as JSON or CSV"

    def claims(self, head: Head) -> bool:
        return keys_of(head) >= _COLUMNS

    def read(self, path: Path, *, file_name: str, canonical: Callable[[str], str]) -> Report:
        problems: list[Problem] = []
        sums: dict[tuple[date, UsageKey, str], list[TokenCounts]] = defaultdict(list)
        requests: dict[tuple[date, UsageKey, str], int] = defaultdict(int)
        left: dict[str, int] = defaultdict(int)
        partial: set[str] = set()
        channels: dict[str, int] = {}
        has_writes, count = False, 0
        for line, record in records(path, file_name):
            if isinstance(record, Problem):
                problems.append(record)
                count += 1
                continue
            reader = Reader(record, line)
            _refuse_overlapping(reader, file_name)
            partial |= {words for key, words in _PARTIAL.items() if key in reader.record}
            day, counts, number = _day(reader), _counts(reader), reader.count("successful_requests", "api_requests")
            model, vendor = reader.text("model"), reader.text("custom_llm_provider")
            api_key = reader.text("api_key")
            if reader.problems:
                count += 1
                problems += reader.problems[: max(0, PROBLEMS_SHOWN - len(problems))]
                continue
            if not is_claude(model, vendor):
                left[other_vendor(model)] += 1
                continue
            channels.setdefault(channel_of(vendor) or vendor or "anthropic", line or 1)
            key = UsageKey(
                api_key=api_key or NOT_GROUPED,
                workspace=NOT_GROUPED,
                model=canonical(model) if model else NOT_GROUPED,
                service_tier=NOT_GROUPED,
                prompt_length_band=NOT_GROUPED,
                geo=NOT_GROUPED,
                speed=NOT_GROUPED,
            )
            sums[day, key, model].append(counts)
            requests[day, key, model] += number
            has_writes = has_writes or counts.cache_write_5m_tok > 0
        if len(channels) > 1:
            raise ImportRefused.because(
                file_name,
                f"usage of several providers in one file: {', '.join(sorted(channels))}",
                "Export one custom_llm_provider per file, and give each a source of its own",
                field="custom_llm_provider",
            )
        if not sums and not count:
            raise ImportRefused.because(file_name, "the file holds no usage of Claude", "Check what was exported")
        buckets = tuple(
            UsageBucket(Period.day(day), key, sum_counts(parts), model, requests[day, key, model])
            for (day, key, model), parts in sorted(sums.items(), key=lambda item: (item[0][0], repr(item[0])))
        )
        findings = tuple(_findings(left, partial, has_writes=has_writes))
        return Report(buckets, 24, findings, tuple(problems[:PROBLEMS_SHOWN]), count)


def _refuse_overlapping(reader: Reader, file_name: str) -> None:
    for key, words in _OVERLAPPING.items():
        if reader.record.get(key) not in (None, ""):
            raise ImportRefused.because(
                file_name,
                f"{words} stands twice in this table, so its sums are more than was used",
                "Export LiteLLM_DailyUserSpend, or the spend logs",
                field=key,
                line=reader.line,
            )


def _day(reader: Reader) -> date:
    text = reader.text("date")
    if not text and not reader.problems:
        reader.wrong("date", "missing", "Export the table with its column date")
    try:
        return parse_day(text[:10] if len(text) > 10 and text[10] in "T " else text)
    except PeriodError:
        if text:
            reader.wrong("date", "not a date", "Write it like 2026-11-09")
        return EARLIEST.date()


def _counts(reader: Reader) -> TokenCounts:
    prompt = reader.count("prompt_tokens", is_needed=True)
    output = reader.count("completion_tokens", is_needed=True)
    read = reader.count("cache_read_input_tokens")
    written = reader.count("cache_creation_input_tokens")
    if not reader.problems and read + written > prompt:
        reader.wrong(
            "prompt_tokens",
            f"smaller than its parts ({read:,} read + {written:,} written)",
            "prompt_tokens must contain cache reads and writes, as LiteLLM sums it",
        )
        return TokenCounts()
    return TokenCounts(
        uncached_input_tok=max(0, min(prompt - read - written, MAX_COUNT)),
        cache_read_tok=read,
        cache_write_5m_tok=written,
        output_tok=output,
    )


def _findings(left: Mapping[str, int], partial: set[str], *, has_writes: bool) -> list[str]:
    found = [
        f"{number:,} row{' is' if number == 1 else 's are'} left out: {reason}."
        for reason, number in sorted(left.items())
    ]
    found += [f"Requests without {words} are not in this table." for words in sorted(partial)]
    if has_writes:
        found.append("The table tells cache writes without their lifetime: counted as 5-minute writes.")
    return found
