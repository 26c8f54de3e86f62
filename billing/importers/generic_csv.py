"""Tables of somebody's own: CSV (comma, semicolon, tab) or flat JSON lines, read by their column mapping.

Two formats of one mapping: `MappedRequests` (one row = one request) and `MappedBuckets` (one row = an hour or a day).
They are made per file and stand in no list: a table is never claimed, somebody has said what its columns are.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Final

from billing.core.column_guess import masked_columns
from billing.core.column_mapping import DELIMITERS, MAX_COLUMNS, ColumnMapping, contradictions
from billing.core.column_rows import Fault, RowRead, read_row
from billing.core.periods import Period
from billing.core.usage import NOT_GROUPED, UNKNOWN, TokenCounts, UsageBucket, UsageError, UsageKey
from billing.importers.base import (
    MAX_TEXT,
    PROBLEMS_SHOWN,
    Head,
    ImportRefused,
    Problem,
    Report,
    each_record,
    read_head,
)
from billing.importers.records import RequestRow
from billing.importers.tables import header_of, table_rows

NAME: Final = "generic_csv"
SUMS_NAME: Final = "generic_csv_sums"
NAMES: Final = (NAME, SUMS_NAME)
TITLE: Final = "Own table with a column mapping"
SAMPLE_ROWS: Final = 20
MAX_BUCKET_KEYS: Final = 2_000_000
_SPAN_HOURS: Final = {"hour": 1, "day": 24}
_HOUR: Final = timedelta(hours=1)
Row = Mapping[str, str]


# ---- What a table looks like ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TableHead:
    """Header and first rows of a table, each with its line. `delimiter` '' = JSON lines."""

    header: tuple[str, ...]
    delimiter: str
    rows: tuple[tuple[int, Row], ...]
    masked: frozenset[str]


def looks_like_table(head: Head) -> tuple[tuple[str, ...], str] | None:
    """Header and delimiter of something with named columns ('' = flat JSON lines); None where it has none."""
    if head.is_lines:
        return _flat_header(head)
    for delimiter in DELIMITERS:
        header = header_of(head, delimiter=delimiter)
        if 1 < len(header) <= MAX_COLUMNS and _are_clean(header) and len(set(header)) == len(header):
            return (header, delimiter) if _are_names(header) else None
    return None


def _are_clean(header: tuple[str, ...]) -> bool:
    """Every column has a name that can be shown and kept: no control characters, no halves of a character."""
    return all(name and name.isprintable() and len(name) <= MAX_TEXT for name in header)


def _are_names(header: tuple[str, ...]) -> bool:
    """A first line of numbers is data without a header."""
    return not any(name.replace(".", "").replace("-", "").isdigit() for name in header)


def _flat_header(head: Head) -> tuple[tuple[str, ...], str] | None:
    """Columns of objects that all hold plain values only; a nested one is a log of its own format."""
    if not head.rows or any(isinstance(value, dict | list) for row in head.rows for value in row.values()):
        return None
    header = tuple(dict.fromkeys(key.strip() for row in head.rows for key in row))
    return (header, "") if 1 < len(header) <= MAX_COLUMNS and _are_clean(header) else None


def read_table_head(path: Path, file_name: str, *, rows: int = SAMPLE_ROWS) -> TableHead:
    """Raises ImportRefused for a file that is no table, or breaks within these rows."""
    found = looks_like_table(read_head(path, file_name))
    if found is None:
        raise ImportRefused.because(
            file_name,
            "not a table with named columns",
            f"Give it a header line of 2 to {MAX_COLUMNS} different names, or one flat JSON object per line",
        )
    header, delimiter = found
    first: list[tuple[int, Row]] = []
    for line, row in rows_of(path, file_name, header=header, delimiter=delimiter):
        if isinstance(row, Problem):
            raise ImportRefused(file_name, [row])
        first.append((line, row))
        if len(first) == rows:
            break
    return TableHead(header, delimiter, tuple(first), masked_columns(header, [row for _, row in first]))


def rows_of(
    path: Path, file_name: str, *, header: tuple[str, ...], delimiter: str
) -> Iterator[tuple[int, Row | Problem]]:
    """Rows with their line. Raises ImportRefused where the table breaks."""
    if delimiter:
        yield from table_rows(path, file_name, required=header, delimiter=delimiter)
        return
    for number, record in each_record(path, file_name, is_lines=True):
        line = number or 0
        if isinstance(record, Problem):
            yield line, record
        elif not isinstance(record, dict):
            yield line, Problem(line, "", "", "not a JSON object", "Write one flat object per line")
        else:
            yield line, {str(name).strip(): _plain(value) for name, value in record.items()}


def _plain(value: Any) -> str:
    """A JSON value as a cell. A float in exponent form stays one, so no count can be made of it."""
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value)


# ---- The formats ------------------------------------------------------------------------------------------------


@dataclass
class Remarks:
    """What a mapped file says beside its rows, gathered while it is read."""

    split_assumed: int = 0
    stated: Decimal = Decimal(0)
    stated_rows: int = 0

    def add(self, read: RowRead) -> None:
        self.split_assumed += read.is_split_assumed
        if read.cost_stated is not None:
            self.stated += read.cost_stated
            self.stated_rows += 1

    def findings(self, mapping: ColumnMapping) -> tuple[str, ...]:
        found = [f"Read with the column mapping “{mapping.name}”."]
        if self.stated_rows:
            found.append(
                f"The table states costs of {self.stated:f} in {self.stated_rows:,} "
                f"row{'' if self.stated_rows == 1 else 's'}: kept as this remark only, "
                "costs are computed from tokens and prices."
            )
        if self.split_assumed and mapping.grain != "request":
            found.append(
                f"{self.split_assumed:,} row{'s tell' if self.split_assumed != 1 else ' tells'} cache writes "
                "without their lifetime: counted as 5-minute writes."
            )
        return tuple(found)


@dataclass
class MappedRequests:
    """One row = one request. Implements records.RecordFormat."""

    mapping: ColumnMapping
    remarks: Remarks = field(default_factory=Remarks)
    name: str = NAME
    title: str = TITLE
    switches: tuple[Any, ...] = ()
    caveat: str = ""
    names_provider_keys: bool = True

    def __post_init__(self) -> None:
        self.names_provider_keys = self.mapping.names_provider_keys

    def claims(self, head: Head) -> bool:
        """Never by itself."""
        return False

    def rows(self, path: Path, *, file_name: str, settings: Mapping[str, str]) -> Iterator[RequestRow | Problem]:
        for line, row in self._read(path, file_name):
            if isinstance(row, Problem):
                yield row
                continue
            read = read_row(self.mapping, row)
            if not isinstance(read, RowRead):
                yield problem_of(read, line)
                continue
            self.remarks.add(read)
            yield _request(self.mapping, read)

    def findings(self) -> tuple[str, ...]:
        return self.remarks.findings(self.mapping)

    def _read(self, path: Path, file_name: str) -> Iterator[tuple[int, Row | Problem]]:
        check_mapping(self.mapping, file_name)
        delimiter = delimiter_of(self.mapping, path)
        check_texts(self.mapping, path, file_name, delimiter=delimiter)
        return rows_of(path, file_name, header=needed_columns(self.mapping), delimiter=delimiter)


@dataclass
class MappedBuckets:
    """One row = the usage of an hour or a day; rows of one bucket and key are added. Implements base.BucketFormat."""

    mapping: ColumnMapping
    remarks: Remarks = field(default_factory=Remarks)
    name: str = SUMS_NAME
    title: str = TITLE
    is_partial_allowed: bool = False
    """Set by the import: bad rows are gathered in `problems` instead of refusing the file."""
    problems: list[Problem] = field(default_factory=list)
    rejected: int = 0

    def claims(self, head: Head) -> bool:
        """Never by itself."""
        return False

    def read(self, path: Path, *, file_name: str, canonical: Callable[[str], str]) -> Report:
        check_mapping(self.mapping, file_name)
        hours = _SPAN_HOURS[self.mapping.grain]
        sums: dict[tuple[Any, ...], tuple[TokenCounts, int | None]] = {}
        delimiter = delimiter_of(self.mapping, path)
        check_texts(self.mapping, path, file_name, delimiter=delimiter)
        for line, row in rows_of(path, file_name, header=needed_columns(self.mapping), delimiter=delimiter):
            read = row if isinstance(row, Problem) else read_row(self.mapping, row)
            if not isinstance(read, RowRead):
                self._reject(read if isinstance(read, Problem) else problem_of(read, line))
                continue
            self.remarks.add(read)
            key = (read.at, _key(self.mapping, read), read.text("model"))
            held, requests = sums.get(key, (None, 0))
            try:
                counts = read.counts if held is None else held + read.counts
            except UsageError as error:
                raise ImportRefused.because(
                    file_name, f"the sum of a bucket is too large ({error})", "Check the counts", line=line
                ) from error
            known = requests is not None and read.requests is not None
            sums[key] = (counts, (requests or 0) + (read.requests or 0) if known else None)
            if len(sums) > MAX_BUCKET_KEYS:
                raise ImportRefused.because(
                    file_name,
                    f"more than {MAX_BUCKET_KEYS:,} different buckets",
                    "Split the file by month, or ignore a column that has a value of its own in every row",
                    line=line,
                )
        if self.rejected and (not self.is_partial_allowed or not sums):
            raise ImportRefused(file_name, self.problems, self.rejected)
        return Report(
            tuple(
                UsageBucket(
                    Period(at, at + hours * _HOUR),
                    replace(key, model=canonical(raw)),
                    counts,
                    model_raw=raw,
                    requests=number,
                )
                for (at, key, raw), (counts, number) in sums.items()
            ),
            hours,
            (),
        )

    def findings(self) -> tuple[str, ...]:
        return self.remarks.findings(self.mapping)

    def _reject(self, problem: Problem) -> None:
        self.rejected += 1
        if len(self.problems) < PROBLEMS_SHOWN:
            self.problems.append(problem)


MappedFormat = MappedRequests | MappedBuckets


def mapped_format(mapping: ColumnMapping) -> MappedFormat:
    """The format that reads a table by this mapping."""
    return MappedRequests(mapping) if mapping.grain == "request" else MappedBuckets(mapping)


def check_mapping(mapping: ColumnMapping, file_name: str) -> None:
    """Raises ImportRefused for a mapping that contradicts itself."""
    wrong = contradictions(mapping)
    if wrong:
        raise ImportRefused(
            file_name,
            [Problem(None, item.place, "", f"the column mapping: {item.message}", item.remedy) for item in wrong],
        )


def check_texts(mapping: ColumnMapping, path: Path, file_name: str, *, delimiter: str) -> None:
    """Raises ImportRefused where a mapped column's first values look like prompts, whatever the mapping says."""
    read = rows_of(path, file_name, header=needed_columns(mapping), delimiter=delimiter)
    first = [row for _, row in islice(read, SAMPLE_ROWS) if not isinstance(row, Problem)]
    for column in sorted(masked_columns(tuple(mapping.columns), first)):
        raise ImportRefused.because(
            file_name,
            "its values look like prompt or answer text",
            "Take the column out of the mapping: no text is read",
            field=column,
        )


def problem_of(faults: tuple[Fault, ...], line: int) -> Problem:
    """The first fault of a row, and how many more it has."""
    first = faults[0]
    more = f" (and {len(faults) - 1} more in this row)" if len(faults) > 1 else ""
    return Problem(line, first.column, first.value, first.message + more, first.remedy)


def needed_columns(mapping: ColumnMapping) -> tuple[str, ...]:
    return tuple(mapping.columns)


def delimiter_of(mapping: ColumnMapping, path: Path) -> str:
    """The mapping's, or '' where this file has the same columns as JSON lines."""
    return "" if read_head(path, path.name).is_lines else mapping.delimiter


def _request(mapping: ColumnMapping, read: RowRead) -> RequestRow:
    own = read.text("request_id")
    provider, response = own.startswith("req_"), own.startswith("msg_")
    return RequestRow(
        occurred_at=read.at,
        counts=read.counts,
        model=read.text("model"),
        provider_id=own if provider else "",
        response_id=own if response else "",
        own_id="" if provider or response else f"{mapping.source}:{own}",
        channel=mapping.channel,
        workspace=read.text("workspace"),
        api_key=read.text("api_key"),
        service_tier=read.text("service_tier"),
        geo=read.text("geo"),
        speed=read.text("speed"),
        class_tag=read.text("class"),
        latency_ms=read.latency_ms,
        is_split_assumed=read.is_split_assumed,
    )


def _key(mapping: ColumnMapping, read: RowRead) -> UsageKey:
    def told(name: str) -> str:
        """What no column tells was not separated; an empty value of a column is unknown."""
        return read.text(name) if mapping.column_of(name) or mapping.constants.get(name) else NOT_GROUPED

    return UsageKey(
        channel=mapping.channel,
        workspace=told("workspace"),
        api_key=told("api_key"),
        model=UNKNOWN,
        service_tier=told("service_tier"),
        prompt_length_band=NOT_GROUPED,
        geo=told("geo"),
        speed=told("speed"),
    )
