"""One row of somebody's own table as disjoint counters, by its column mapping. Exact, or refused column by column."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from billing.core.column_mapping import CACHE_FIELDS, FIELDS, ColumnMapping
from billing.core.column_times import TimeError, read_time
from billing.core.usage import NO_TOKENS, TokenCounts

MAX_PER_REQUEST: Final = 10**12 - 1
MAX_PER_BUCKET: Final = 10**15 - 1
MAX_TEXT: Final = 255
_SHOWN: Final = 40
_SPACES_SHOWN: Final = 3
_WHOLE: Final = re.compile(r"([0-9]{1,18})(?:\.0{1,2})?", re.ASCII)  # 7.000 may be seven thousand
_SEPARATED: Final = re.compile(r"[0-9]{1,3}([.,' ][0-9]{3})+", re.ASCII)
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?", re.ASCII)
_TEXT_FIELDS: Final = ("model", "workspace", "api_key", "class", "service_tier", "geo", "speed", "request_id")
_SPANS: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1)}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one value of a row. `value` is empty where it may be text."""

    column: str
    value: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class RowRead:
    """A row as it counts. `requests` None = not told. `cost_stated`: as the table states it, in its own currency."""

    at: datetime
    counts: TokenCounts
    texts: Mapping[str, str]
    requests: int | None
    latency_ms: int | None
    cost_stated: Decimal | None
    is_split_assumed: bool

    def text(self, name: str) -> str:
        return self.texts.get(name, "")


def read_row(mapping: ColumnMapping, row: Mapping[str, str]) -> RowRead | tuple[Fault, ...]:
    """The row's usage, or every fault in it."""
    reader = _Reader(mapping, row)
    at = reader.time()
    counts, is_split_assumed = reader.counts()
    read = RowRead(
        at=at or datetime.min,  # noqa: DTZ901 - never returned: a fault says why there is no time
        counts=counts,
        texts=reader.texts(),
        requests=reader.requests(),
        latency_ms=reader.latency(),
        cost_stated=reader.cost(),
        is_split_assumed=is_split_assumed,
    )
    return tuple(reader.faults) if reader.faults else read


class _Reader:
    def __init__(self, mapping: ColumnMapping, row: Mapping[str, str]) -> None:
        self.mapping = mapping
        self.row = row
        self.faults: list[Fault] = []

    def value(self, name: str) -> tuple[str, str]:
        """Column and value of a field; ('', '') where no column holds it."""
        column = self.mapping.column_of(name)
        return column, self.row.get(column, "") if column else ""

    def fault(self, column: str, value: str, message: str, remedy: str) -> None:
        # A sentence in a column of numbers may be somebody's prompt: problems are kept, so it is not shown.
        is_plain = len(value) <= _SHOWN and value.count(" ") <= _SPACES_SHOWN
        self.faults.append(Fault(column, value if is_plain else "", message, remedy))

    def time(self) -> datetime | None:
        column, text = self.value("time")
        if not text:
            self.fault(column or "time", "", "empty", "Every row needs its time")
            return None
        try:
            at = read_time(text, time_format=self.mapping.time_format, zone=self.mapping.zone)
        except TimeError as error:
            self.fault(column, text, str(error), error.remedy)
            return None
        if self.mapping.grain != "request" and _floor(at, self.mapping.grain) != at:
            self.fault(
                column,
                text,
                f"{at:%Y-%m-%dT%H:%M:%SZ} is not the start of {'an hour' if self.mapping.grain == 'hour' else 'a day'} "
                "in UTC",
                "Check the time zone and what one row is; export the table by whole hours or days of UTC",
            )
            return None
        return at

    def counts(self) -> tuple[TokenCounts, bool]:
        known = len(self.faults)
        cached = {name: self.count(name, may_be_empty=True) for name in CACHE_FIELDS}
        output = self.count("output", may_be_empty=self.mapping.empty_is_zero)
        searches = self.count("web_searches", may_be_empty=True)
        uncached = self.count("input_uncached", may_be_empty=self.mapping.empty_is_zero)
        column, text = self.value("input_with_cache")
        if column:
            whole = self.count("input_with_cache", may_be_empty=self.mapping.empty_is_zero)
            uncached = whole - sum(cached.values())
            if uncached < 0 and len(self.faults) == known:
                self.fault(
                    column,
                    text,
                    f"{whole:,} input tokens with the cached ones in them, but {sum(cached.values()):,} cached",
                    "Choose 'input without cached tokens' if that is what the column says, or correct the row",
                )
        if len(self.faults) > known:
            return NO_TOKENS, False
        counts = TokenCounts.of(
            uncached_input=uncached,
            cache_read=cached["cache_read"],
            cache_write_5m=cached["cache_write_5m"] + cached["cache_write"],
            cache_write_1h=cached["cache_write_1h"],
            output=output,
            web_search=searches,
        )
        return counts, cached["cache_write"] > 0

    def count(self, name: str, *, may_be_empty: bool) -> int:
        column, text = self.value(name)
        if not column:
            return 0
        if not text:
            if not may_be_empty:
                self.fault(
                    column, "", f"empty, which may mean none or unknown {FIELDS[name]}", "Say that empty means 0"
                )
            return 0
        match = _WHOLE.fullmatch(text)
        limit = MAX_PER_REQUEST if self.mapping.grain == "request" else MAX_PER_BUCKET
        if match and int(match[1]) <= limit:
            return int(match[1])
        if match:
            self.fault(column, text, f"a count above {limit:,} in one row", "Correct the row")
        elif text.startswith("-"):
            self.fault(column, text, "a count cannot be negative", "Correct the row at its source")
        elif _SEPARATED.fullmatch(text):
            self.fault(
                column,
                text,
                "may be thousands or a fraction: the separator tells not which",
                "Export counts as plain whole numbers, without separators",
            )
        else:
            self.fault(column, text, "not a whole number", "Export counts as plain whole numbers, or ignore the column")
        return 0

    def texts(self) -> dict[str, str]:
        found = {name: value for name, value in self.mapping.constants.items() if name != "channel"}
        for name in _TEXT_FIELDS:
            column, text = self.value(name)
            if not column:
                continue
            if len(text) > MAX_TEXT:
                self.fault(
                    column,
                    "",
                    f"{len(text):,} characters: too long for a {FIELDS[name]}",
                    "Ignore the column: it may hold text of prompts",
                )
            elif name == "request_id" and not text:
                self.fault(column, "", "empty", "Every request needs its id")
            else:
                found[name] = text
        return found

    def requests(self) -> int | None:
        if self.mapping.grain == "request":
            return 1
        column, text = self.value("requests")
        return self.count("requests", may_be_empty=True) if column and text else None

    def latency(self) -> int | None:
        for name, factor in (("latency_ms", 1), ("latency_s", 1000)):
            column, text = self.value(name)
            if not text:
                continue
            if not _NUMBER.fullmatch(text) or text.startswith("-"):
                self.fault(column, text, "not a duration", "Export it as a plain number, or ignore the column")
                continue
            return round(Decimal(text) * factor)
        return None

    def cost(self) -> Decimal | None:
        column, text = self.value("cost_stated")
        if not text:
            return None
        plain = text.removeprefix("$").strip()
        if not _NUMBER.fullmatch(plain):
            self.fault(column, text, "not an amount", "Export it as a plain number, or ignore the column")
            return None
        return Decimal(plain)


def _floor(at: datetime, grain: str) -> datetime:
    floored = at.replace(minute=0, second=0, microsecond=0)
    return floored.replace(hour=0) if grain == "day" else floored
