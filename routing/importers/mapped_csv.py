"""A table of eval results of somebody's own (Braintrust, LangSmith, a spreadsheet), read with a mapping of its columns.

It never claims a file by itself: which column means what is said by a person (`ReadOptions.columns`).
"""

import csv
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from routing.core.eval_columns import EvalColumns, contradictions, guess, inside, split_path
from routing.core.evidence import CaseResult
from routing.importers.base import (
    NO_OPTIONS,
    PROMPTS_UNKNOWN,
    TELL_ALL_THREE,
    About,
    EvalImportError,
    ReadOptions,
    RejectedRow,
    attempts,
    candidate,
    cost_usd,
    error_kind,
    instant,
    latency_ms,
    number,
    seconds_as_ms,
    split_suite,
    text,
    tokens,
    verdict_of_word,
)
from routing.importers.files import lines_of, opened

_AGAIN = "Save the table as CSV in UTF-8"
_OR_WHOLE = "A column of whole prompts is input_with_cache."
_CACHED = frozenset({"cache_read", "cache_write_5m", "cache_write_1h"})


@dataclass(frozen=True, slots=True)
class MappedCsv:
    """Any CSV with one row per case and model, read as `ReadOptions.columns` says."""

    name: str = "table"
    description: str = "a CSV of your own, with a mapping of its columns"

    def detects(self, head: bytes, filename: str) -> bool:
        return False

    def read(
        self, path: Path, options: ReadOptions = NO_OPTIONS, about: About | None = None
    ) -> Iterator[CaseResult | RejectedRow]:
        columns = options.columns
        if columns is None:
            remedy = "Say which column means what (--columns FILE)"
            raise EvalImportError("needs a mapping of its columns", remedy=remedy, file=path.name)
        with opened(path, again=_AGAIN, newline="") as file:
            rows = csv.reader(lines_of(file, path.name), strict=True, delimiter=columns.delimiter)
            names = _header(rows, path.name)
            wrong = contradictions(columns, names)
            if wrong:
                remedy = wrong[0].remedy
                raise EvalImportError(wrong[0].message, remedy=remedy, file=path.name, line=1, field=wrong[0].place)
            fields = set(columns.columns.values())
            if about is not None and "input_uncached" in fields and not _CACHED.issubset(fields):
                about.warn(f"The columns tell {PROMPTS_UNKNOWN} {TELL_ALL_THREE} {_OR_WHOLE}")
            reader = _RowReader(columns, names, options)
            found = 0
            for line, cells in _rows(rows, path.name):
                found += 1
                try:
                    yield reader.read(cells)
                except EvalImportError as error:
                    yield RejectedRow(error.at(file=path.name, line=line))
            if not found:
                raise EvalImportError("has a header and no row", remedy="Export it again", file=path.name)


@dataclass(frozen=True, slots=True)
class TableStart:
    """The beginning of a table, for the page on which its columns are named. `rows`: cells of the first rows."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    delimiter: str
    proposal: EvalColumns


def table_start(path: Path, *, most: int = 10) -> TableStart:
    """Header, first rows and a proposal of the mapping. Raises EvalImportError where the file is no table."""
    with opened(path, again=_AGAIN, newline="") as file:
        first = file.readline(1 << 20)
        delimiter = max(",;\t", key=first.count)
        lines = itertools.chain((first,) if first else (), lines_of(file, path.name))
        rows = csv.reader(lines, strict=True, delimiter=delimiter)
        names = _header(rows, path.name)
        if len(names) < 2:
            raise EvalImportError("has one column only", remedy="Is it a CSV?", file=path.name, line=1)
        shown = tuple(tuple(fields) for _, fields in itertools.islice(_rows(rows, path.name), most))
    found = guess(names, shown[0] if shown else ())
    proposal = EvalColumns(columns=found.columns, delimiter=delimiter)
    return TableStart(tuple(names), shown, delimiter, proposal)


def preview(path: Path, options: ReadOptions, *, most: int = 10) -> tuple[CaseResult | RejectedRow, ...]:
    """The first rows as the mapping reads them. Raises EvalImportError for a mapping that contradicts itself."""
    return tuple(itertools.islice(MappedCsv().read(path, options), most))


def _header(rows: Iterator[list[str]], file: str) -> list[str]:
    try:
        header = next(rows, None)
    except csv.Error as error:
        raise EvalImportError(f"is not CSV: {error}", remedy=_AGAIN, file=file, line=1) from error
    if not header:
        raise EvalImportError("is empty", remedy="Export it again", file=file)
    return [name.strip() for name in header]


def _rows(rows: Iterator[list[str]], file: str) -> Iterator[tuple[int, list[str]]]:
    while True:
        line = rows.line_num + 1  # type: ignore[attr-defined]  # csv.reader, which typeshed hides
        try:
            fields = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            remedy = "Look for an unclosed quote or a truncated file, and export it again"
            raise EvalImportError(f"is not CSV: {error}", remedy=remedy, file=file, line=line) from error
        if fields:
            yield line, fields


class _RowReader:
    """Turns a row into a result by the mapping."""

    def __init__(self, columns: EvalColumns, names: list[str], options: ReadOptions) -> None:
        self.columns = columns
        self.width = len(names)
        self.options = options
        self.sources: dict[str, tuple[int, tuple[str, ...], str]] = {}
        for column, name in columns.columns.items():
            base, path = split_path(column, names)
            self.sources[name] = (names.index(base), path, column)

    def read(self, fields: list[str]) -> CaseResult:
        if len(fields) != self.width:
            remedy = "Quote fields that hold commas; a short last row means the file is truncated"
            raise EvalImportError(f"has {len(fields)} fields, the header {self.width}", remedy=remedy)
        suite, version = self._suite(fields)
        raw = self._word(fields, "model", 255) or self.options.model
        if not raw:
            raise EvalImportError("no model", remedy="Choose its column, or name the model", field="model")
        verdict, graded, error = self._verdict(fields)
        usage = self._tokens(fields)
        return CaseResult(
            suite=suite,
            suite_version=version,
            sample_id=self._needed(fields, "sample_id", 512),
            candidate=candidate(raw, "model"),
            run_at=self._time(fields),
            score=verdict,
            prompt_version=self._word(fields, "prompt_version", 128),
            request_class=self._word(fields, "request_class", 64) or self.options.request_class,
            repeat=self._word(fields, "repeat", 64),
            candidate_raw=raw,
            error=error,
            cost_usd=self._at(cost_usd, fields, "cost_usd"),
            latency_ms=self._latency(fields),
            mode=self._word(fields, "mode", 64) or self.options.mode,
            graded_score=graded,
            attempts=self._at(attempts, fields, "attempts"),
            **usage,
        )

    def _cell(self, fields: list[str], name: str) -> str:
        source = self.sources.get(name)
        if source is None:
            return self.columns.constants.get(name, "")
        index, path, column = source
        try:
            return inside(fields[index], path).strip()
        except (ValueError, RecursionError) as error:
            remedy = f"{column} names a key inside it: every row needs a JSON object there, or nothing"
            raise EvalImportError("is not JSON", remedy=remedy, field=column) from error

    def _at(self, reading: Callable[[str, str], Any], fields: list[str], name: str) -> Any:
        source = self.sources.get(name)
        return None if source is None else reading(self._cell(fields, name), source[2])

    def _word(self, fields: list[str], name: str, most: int) -> str:
        cell = self._cell(fields, name)
        return text(cell, self.sources[name][2] if name in self.sources else name, most=most) if cell else ""

    def _needed(self, fields: list[str], name: str, most: int) -> str:
        found = self._word(fields, name, most)
        if not found:
            raise EvalImportError("is empty", remedy="Every row needs one", field=self.sources[name][2])
        return found

    def _suite(self, fields: list[str]) -> tuple[str, str]:
        name, version = split_suite(self._word(fields, "suite", 255) or self.options.suite)
        if not name:
            remedy = "Choose its column, or name the suite of the whole file"
            raise EvalImportError("no suite", remedy=remedy, field="suite")
        return name, text(version, "suite", most=64)

    def _verdict(self, fields: list[str]) -> tuple[float | None, float | None, str]:
        """Verdict, grade beside it, kind of error."""
        word = self._cell(fields, "passed")
        passed = verdict_of_word(word, self.sources["passed"][2]) if word else None
        scored = self._score(fields)
        error = self._cell(fields, "error")
        if passed is None and scored is not None and self.columns.pass_at is not None:
            passed = 1.0 if scored >= self.columns.pass_at else 0.0
        verdict = scored if passed is None else passed
        if error:  # tools write a score of 0 beside an error: an error is no failure
            if verdict:
                remedy = "A case with an error has no verdict: correct the row"
                field = self.sources["error"][2] if "error" in self.sources else "error"
                raise EvalImportError("contradicts the verdict", remedy=remedy, field=field, value=error_kind(error))
            return None, None, error_kind(error)
        if verdict is None:
            return None, None, "no verdict"
        return verdict, scored if passed is not None else None, ""

    def _score(self, fields: list[str]) -> float | None:
        cell = self._cell(fields, "score")
        if not cell:
            return None
        column = self.sources["score"][2]
        if cell.lower() in {"true", "false"}:
            return 1.0 if cell.lower() == "true" else 0.0
        share = number(cell, column) / self.columns.score_max
        if not 0 <= share <= 1:
            remedy = f"Say the best score there is (score_max, now {self.columns.score_max:g})"
            raise EvalImportError("is outside the scale", remedy=remedy, field=column, value=cell)
        return share

    def _tokens(self, fields: list[str]) -> dict[str, Any]:
        read = self._at(tokens, fields, "cache_read")
        short = self._at(tokens, fields, "cache_write_5m")
        long = self._at(tokens, fields, "cache_write_1h")
        uncached = self._at(tokens, fields, "input_uncached")
        whole = self._at(tokens, fields, "input_with_cache")
        if whole is not None:
            # How long the prompt was is known: what no column tells of the cache is taken as uncached.
            read, short, long = read or 0, short or 0, long or 0
            uncached = whole - read - short - long
            if uncached < 0:
                remedy = "The column is said to include cached tokens; correct the mapping or the row"
                field = self.sources["input_with_cache"][2]
                raise EvalImportError("is below the cached tokens", remedy=remedy, field=field, value=whole)
        return {
            "uncached_input_tok": uncached,
            "cache_read_tok": read,
            "cache_write_5m_tok": short,
            "cache_write_1h_tok": long,
            "output_tok": self._at(tokens, fields, "output"),
        }

    def _latency(self, fields: list[str]) -> float | None:
        found: float | None = self._at(latency_ms, fields, "latency_ms")
        return self._at(seconds_as_ms, fields, "latency_s") if found is None else found

    def _time(self, fields: list[str]) -> datetime:
        cell = self._cell(fields, "time")
        if not cell:
            if self.options.run_at is None:
                remedy = "Choose the column with the time, or say when the evals were run"
                raise EvalImportError("no time of the run", remedy=remedy, field="time")
            return self.options.run_at
        column = self.sources["time"][2]
        if self.columns.time_format == "iso":
            return instant(cell, column)
        seconds = number(cell, column) / (1_000 if self.columns.time_format == "epoch_ms" else 1)
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (OverflowError, OSError, ValueError) as error:
            raise EvalImportError(
                "is no time", remedy="Check the unit of the time", field=column, value=cell
            ) from error
