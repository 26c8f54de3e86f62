"""The rows of a record format, written down one by one as the engine reads them."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from billing.importers.base import PROBLEMS_SHOWN, Problem
from billing.importers.records import Item, Learned, Left, RecordFormat, RequestRow, staged_row

KINDS_SHOWN = 10
_NAMELESS = "no id of the provider is told: the same requests in another tool's log would count a second time"


@dataclass
class RowsRead:
    """What came of a file: how many rows were written, refused and left out, and what there is to tell."""

    written: int = 0
    rejected: int = 0
    problems: list[Problem] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    learned: list[Learned] = field(default_factory=list)
    last_bad_line: int | None = None

    def findings(self, caveat: str) -> list[str]:
        """Sentences about rows that were left out or need a word, the most frequent first."""
        found = [f"{_rows(number)} left out: {reason}." for reason, number in self.left.most_common(KINDS_SHOWN)]
        rest = sum(number for _, number in self.left.most_common()[KINDS_SHOWN:])
        found += [f"{_rows(rest)} left out for other reasons."] if rest else []
        found += [f"In {_rows(number)} {remark}." for remark, number in self.remarks.most_common(KINDS_SHOWN)]
        return found + ([caveat] if caveat else [])


def write_rows(
    fmt: RecordFormat,
    path: Path,
    *,
    file_name: str,
    settings: Mapping[str, str],
    out: TextIO,
    time_problems: Callable[[RequestRow], tuple[Problem, ...]],
    tick: Callable[[int], None],
) -> RowsRead:
    """Write the good rows of a file to `out`. `tick` is called with the number of items so far.

    Raises ImportRefused, Unanswered.
    """
    read = RowsRead()
    for count, item in enumerate(fmt.rows(path, file_name=file_name, settings=settings)):
        tick(count)
        _take(item, read, out, time_problems)
    return read


def _take(item: Item, read: RowsRead, out: TextIO, time_problems: Callable[[RequestRow], tuple[Problem, ...]]) -> None:
    match item:
        case RequestRow():
            found = time_problems(item)
            if not found:
                out.write(staged_row(item) + "\n")
                read.written += 1
                for remark in filter(None, (item.remark, _NAMELESS if _is_nameless(item) else "")):
                    read.remarks[remark] += 1
                return
        case Problem():
            found = (item,)
        case Left(reason=reason):
            if reason in read.left or len(read.left) < PROBLEMS_SHOWN:
                read.left[reason] += 1
            else:
                read.left["other reasons"] += 1
            return
        case Learned():
            read.learned.append(item)
            return
    line = found[0].line
    if line is None or line != read.last_bad_line:  # a row with several problems is one bad row
        read.rejected += 1
    read.last_bad_line = line
    if len(read.problems) < PROBLEMS_SHOWN:
        read.problems += found


def _is_nameless(row: RequestRow) -> bool:
    """Whether another log of the same traffic could not be seen to hold the same request."""
    is_known = row.provider_id or row.response_id.startswith("msg_")
    return not (is_known or row.is_failed or row.is_gateway_cache_hit or row.requests == 0)


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"
