"""Plain CSV of eval results, one row per case and model (formats/eval-results.md, "Plain CSV (ours)")."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TextIO

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
    present,
    score,
    split_suite,
    text,
    tokens,
    verdict_of_word,
)
from routing.importers.files import lines_of, opened

REQUIRED = ("suite", "sample_id", "model")
COLUMNS = (
    *REQUIRED,
    "request_class",
    "run_at",
    "passed",
    "score",
    "input_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "cache_read_tokens",
    "output_tokens",
    "cost_usd",
    "latency_ms",
    "error",
    "prompt_version",
    "repeat",
    "mode",
    "attempts",
    "graded_score",
)
_CACHED = frozenset({"cache_write_5m_tokens", "cache_write_1h_tokens", "cache_read_tokens"})
_ENOUGH_TO_CLAIM = 3
_WORDS_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class PlainCsv:
    """`suite, request_class, sample_id, model, run_at, passed, score, input_tokens, …`; `input_tokens` is uncached."""

    name: str = "csv"
    description: str = f"CSV with the columns {', '.join(REQUIRED)} and passed or score"

    def detects(self, head: bytes, filename: str) -> bool:
        """A header line with at least three of our columns: enough to name the missing ones instead of "unknown"."""
        first = head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].decode("utf-8", errors="replace")
        if first.lstrip().startswith(("{", "[", "<")):
            return False
        columns = {column.strip().strip('"') for column in first.split(",")}
        return len(columns & set(COLUMNS)) >= _ENOUGH_TO_CLAIM

    def read(
        self, path: Path, options: ReadOptions = NO_OPTIONS, about: About | None = None
    ) -> Iterator[CaseResult | RejectedRow]:
        with opened(path, again="Save the file as UTF-8", newline="") as file:
            yield from _read(file, path.name, options, about if about is not None else About())


def _read(lines: TextIO, file: str, options: ReadOptions, about: About) -> Iterator[CaseResult | RejectedRow]:
    reader = csv.reader(lines_of(lines, file), strict=True)
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise EvalImportError(f"is not CSV: {error}", remedy="Export it again", file=file, line=1) from error
    if not header:
        raise EvalImportError("is empty", remedy="Export it again", file=file)
    names = [name.strip() for name in header]
    _check_header(names, file, options)
    if "input_tokens" in names and not _CACHED.issubset(names):
        about.warn(f"The columns tell {PROMPTS_UNKNOWN} {TELL_ALL_THREE}")
    row_reader = _RowReader(names, options)
    found = 0
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            remedy = "Look for an unclosed quote or a truncated file, and export it again"
            raise EvalImportError(f"is not CSV: {error}", remedy=remedy, file=file, line=line) from error
        if not fields:
            continue
        found += 1
        try:
            yield row_reader.read(fields)
        except EvalImportError as error:
            yield RejectedRow(error.at(file=file, line=line))
    if not found:
        raise EvalImportError("has a header and no row", remedy="Export it again", file=file)


def _check_header(names: Sequence[str], file: str, options: ReadOptions) -> None:
    given = {"suite": options.suite, "model": options.model}
    required = [name for name in REQUIRED if not given.get(name)]
    missing = [name for name in required if name not in names]
    if "passed" not in names and "score" not in names:
        missing.append("passed or score")
    if missing:
        columns = "column" if len(missing) == 1 else "columns"
        them = "it" if len(missing) == 1 else "them"
        shown = ", ".join(name[:40] for name in names[:30])
        remedy = f"Add {them}, or say which column means what (--columns); the file has: {shown}"
        raise EvalImportError(f"missing {columns}: {', '.join(missing)}", remedy=remedy, file=file, line=1)
    twice = sorted({name for name in names if names.count(name) > 1 and name in COLUMNS})
    if twice:
        raise EvalImportError(
            f"a column stands twice: {', '.join(twice)}", remedy="Keep one of each", file=file, line=1
        )


class _RowReader:
    """Turns one row into a result. Remembers what repeats from row to row: files of a million rows are usual."""

    def __init__(self, names: Sequence[str], options: ReadOptions) -> None:
        self.width = len(names)
        self.options = options
        # A column the file does not have reads the empty string put behind the row.
        self.at = {name: names.index(name) if name in names else self.width for name in COLUMNS}
        self.models: dict[str, str] = {}
        self.suites: dict[str, tuple[str, str]] = {}
        self.words: dict[tuple[str, str], str] = {}
        self.times: tuple[str, datetime | None] = ("", options.run_at)

    def read(self, fields: list[str]) -> CaseResult:
        if len(fields) != self.width:
            remedy = "Quote fields that hold commas; a short last row means the file is truncated"
            raise EvalImportError(f"has {len(fields)} fields, the header {self.width}", remedy=remedy)
        fields.append("")
        at = self.at
        verdict, graded, error = self._verdict(fields)
        suite, suite_version = self._suite(fields[at["suite"]])
        raw = fields[at["model"]] or self.options.model
        model = self.models.get(raw)
        if model is None:
            model = self.models[raw] = candidate(_present(raw, "model", 255), "model")
        return CaseResult(
            suite,
            suite_version,
            _present(fields[at["sample_id"]], "sample_id", 512),
            model,
            self._run_at(fields[at["run_at"]]),
            verdict,
            self._word(fields, "prompt_version", 128),
            self._word(fields, "request_class", 64) or self.options.request_class,
            self._word(fields, "repeat", 64),
            raw.strip(),
            error,
            tokens(fields[at["input_tokens"]], "input_tokens"),
            tokens(fields[at["cache_read_tokens"]], "cache_read_tokens"),
            tokens(fields[at["cache_write_5m_tokens"]], "cache_write_5m_tokens"),
            tokens(fields[at["cache_write_1h_tokens"]], "cache_write_1h_tokens"),
            tokens(fields[at["output_tokens"]], "output_tokens"),
            cost_usd(fields[at["cost_usd"]], "cost_usd"),
            latency_ms(fields[at["latency_ms"]], "latency_ms"),
            self._word(fields, "mode", 64) or self.options.mode,
            graded,
            attempts(fields[at["attempts"]], "attempts"),
        )

    def _word(self, fields: list[str], field: str, most: int) -> str:
        """An optional text; the few there are repeat from row to row."""
        raw = fields[self.at[field]]
        if not raw:
            return ""
        found = self.words.get((field, raw))
        if found is None:
            found = text(raw, field, most=most)
            if len(self.words) < _WORDS_REMEMBERED:
                self.words[field, raw] = found
        return found

    def _verdict(self, fields: list[str]) -> tuple[float | None, float | None, str]:
        """`passed` decides and `score` is the grade beside it; alone, `score` is the verdict; neither = left out, with
        the kind of error. `graded_score` is the grade where `score` is not."""
        passed = fields[self.at["passed"]].strip()
        scored = score(fields[self.at["score"]], "score")
        graded = score(fields[self.at["graded_score"]], "graded_score")
        verdict = verdict_of_word(passed, "passed") if passed else scored
        if passed and graded is None:
            graded = scored
        error = fields[self.at["error"]].strip()
        if verdict is None:
            return None, None, error_kind(error) if error else "no verdict"
        if error:
            given = f"passed = {passed.lower()}" if passed else f"score = {scored}"
            remedy = "A case with an error has no verdict: empty passed and score, or empty error"
            raise EvalImportError(f"contradicts {given}", remedy=remedy, field="error", value=error_kind(error))
        return verdict, graded, ""

    def _suite(self, raw: str) -> tuple[str, str]:
        found = self.suites.get(raw)
        if found is None:
            name, version = split_suite(_present(raw.strip() or self.options.suite, "suite", 255))
            found = self.suites[raw] = (_present(name, "suite", 255), text(version, "suite", most=64))
        return found

    def _run_at(self, raw: str) -> datetime:
        latest, at = self.times
        if raw != latest:
            at = instant(raw, "run_at") if raw.strip() else self.options.run_at
            self.times = (raw, at)
        if at is None:
            remedy = "Add a run_at column, or say when the evals were run"
            raise EvalImportError("no time of the run", remedy=remedy, field="run_at")
        return at


def _present(raw: str, field: str, most: int) -> str:
    return present(raw, field, most=most, remedy="Every row needs one")
