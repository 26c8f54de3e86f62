"""The first rows of a table as its column mapping would read them: what somebody sees before it counts."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from billing.core.column_mapping import ColumnMapping
from billing.core.column_rows import RowRead, read_row
from billing.core.usage import COUNTERS
from billing.importers.base import PROBLEMS_SHOWN, Problem, implausible_time
from billing.importers.generic_csv import SAMPLE_ROWS, delimiter_of, needed_columns, problem_of, rows_of

PREVIEW_ROWS: Final = 1_000
_NUMBERS: Final = re.compile(r"[0-9][0-9,:TZ-]*", re.ASCII)
_KINDS_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """One row as it would count, or what is wrong with it."""

    line: int
    read: RowRead | None
    problem: str


@dataclass(frozen=True, slots=True)
class SameProblem:
    """What is wrong with some rows alike; `problem` is the first of them."""

    problem: Problem
    rows: int


@dataclass(frozen=True, slots=True)
class Preview:
    """The first rows of a table under a mapping. `is_whole`: the table has no further ones."""

    rows: tuple[PreviewRow, ...]
    looked_at: int
    is_whole: bool
    good: int
    counts: Mapping[str, int]
    requests: int | None
    stated: Decimal | None
    first: datetime | None
    last: datetime | None
    models: tuple[str, ...]
    problems: tuple[Problem, ...]
    alike: tuple[SameProblem, ...]
    rejected: int


def preview(path: Path, file_name: str, mapping: ColumnMapping, *, as_of: datetime) -> Preview:
    """Read the first PREVIEW_ROWS rows as the import would. Raises ImportRefused for a table that breaks in them."""
    rows: list[PreviewRow] = []
    problems: list[Problem] = []
    counts = dict.fromkeys(COUNTERS, 0)
    good: list[RowRead] = []
    looked_at, is_whole = 0, True
    delimiter = delimiter_of(mapping, path)
    for line, row in rows_of(path, file_name, header=needed_columns(mapping), delimiter=delimiter):
        if looked_at == PREVIEW_ROWS:
            is_whole = False
            break
        looked_at += 1
        problem: Problem | None = None
        read = row if isinstance(row, Problem) else read_row(mapping, row)
        if isinstance(read, RowRead):
            why = implausible_time(read.at, as_of=as_of)
            column = mapping.column_of("time")
            problem = Problem(line, column, f"{read.at:%Y-%m-%dT%H:%MZ}", why, "Check the time format") if why else None
        else:
            problem = read if isinstance(read, Problem) else problem_of(read, line)
        if problem is not None:
            problems.append(problem)
        elif isinstance(read, RowRead):
            good.append(read)
            for name in COUNTERS:
                counts[name] += getattr(read.counts, name)
        if len(rows) < SAMPLE_ROWS:
            rows.append(PreviewRow(line, None if problem else _read_or_none(read), str(problem or "")))
    stated = [read.cost_stated for read in good if read.cost_stated is not None]
    numbers = [read.requests for read in good]
    return Preview(
        rows=tuple(rows),
        looked_at=looked_at,
        is_whole=is_whole,
        good=len(good),
        counts=counts,
        requests=None if None in numbers else sum(number or 0 for number in numbers),
        stated=sum(stated, Decimal(0)) if stated else None,
        first=min((read.at for read in good), default=None),
        last=max((read.at for read in good), default=None),
        models=tuple(sorted({read.text("model") for read in good})),
        problems=tuple(problems[:PROBLEMS_SHOWN]),
        alike=_alike(problems),
        rejected=len(problems),
    )


def _alike(problems: Sequence[Problem]) -> tuple[SameProblem, ...]:
    """Problems of one column and kind together, most rows first: a wrong choice spoils every row alike."""
    found: dict[tuple[str, str], list[Problem]] = defaultdict(list)
    for problem in problems:
        found[problem.field, _NUMBERS.sub("#", problem.message)].append(problem)
    groups = sorted(found.values(), key=lambda group: -len(group))
    return tuple(SameProblem(group[0], len(group)) for group in groups[:_KINDS_SHOWN])


def _read_or_none(read: object) -> RowRead | None:
    return read if isinstance(read, RowRead) else None
