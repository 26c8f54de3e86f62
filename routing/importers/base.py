"""What every eval-result format gives: *is this mine?* and *yield the values*. Saving and deduplicating happen outside.

A reader yields a `CaseResult` for a good row and a `RejectedRow` for a bad one, so that the caller can refuse the file
whole or import the good rows and list the others. What concerns the whole file is raised.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Protocol

from routing.core.evidence import CaseResult

MAX_TOKENS = 10**15  # a whole provider does not serve that many in one case: a wrong column or unit
MAX_USD = Decimal(10**9)
_COST_PLACES = Decimal("1E-15")  # the places a stored cost has; floats in JSON carry noise behind them
_SHOWN = 80


class EvalImportError(ValueError):
    """A file or row that cannot be read: says where, which field and value, and what to do."""

    def __init__(
        self,
        problem: str,
        *,
        remedy: str,
        file: str = "",
        line: int | None = None,
        where: str = "",
        field: str = "",
        value: object = None,
    ) -> None:
        self.problem = problem
        self.remedy = remedy
        self.file = file
        self.line = line
        self.where = where
        self.field = field
        self.value = None if value is None else _shown(value)
        super().__init__(problem)

    def at(self, *, file: str, line: int | None = None, where: str = "") -> "EvalImportError":
        """The same error with its place, for the reader that knows it."""
        self.file, self.line, self.where = file, line, where
        return self

    def __str__(self) -> str:
        place = ", ".join(
            part for part in (self.file, f"line {self.line}" if self.line is not None else "", self.where) if part
        )
        named = f"{self.field} = {self.value}: " if self.field and self.value is not None else ""
        named = named or (f"{self.field}: " if self.field else "")
        return f"{place}{': ' if place else ''}{named}{self.problem}. {self.remedy}."


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that was not understood, with the reason; the rest of the file may still be good."""

    error: EvalImportError


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What the person importing knows and the file may not say. The file wins where it says it.

    `run_at` must be aware; it dates results of files without a time (promptfoo JSONL, CSV without `run_at`).
    """

    run_at: datetime | None = None
    request_class: str = ""
    suite: str = ""


NO_OPTIONS = ReadOptions()


class EvalImporter(Protocol):
    """One eval-result format."""

    @property
    def name(self) -> str:
        """Short name, as in `--format promptfoo`."""
        ...

    @property
    def description(self) -> str:
        """What the file is, for the message that lists the formats."""
        ...

    def detects(self, head: bytes, filename: str) -> bool:
        """Whether a file beginning with `head` is of this format."""
        ...

    def read(self, path: Path, options: ReadOptions = NO_OPTIONS) -> Iterator[CaseResult | RejectedRow]:
        """Results in the order of the file. Raises EvalImportError for what concerns the whole file."""
        ...


def all_or_nothing(rows: Iterable[CaseResult | RejectedRow]) -> Iterator[CaseResult]:
    """The results of a file that must be good throughout: raises the error of the first bad row."""
    for row in rows:
        if isinstance(row, RejectedRow):
            raise row.error
        yield row


# -- values --------------------------------------------------------------------------------------------------


def split_suite(suite: str) -> tuple[str, str]:
    """Name and version of a suite: `triage@2` → ('triage', '2'), `triage` → ('triage', '1') (methods.md §3.1)."""
    name, _, version = suite.partition("@")
    return name.strip(), version.strip() or "1"


def text(value: object, field: str, *, most: int = 255) -> str:
    """A trimmed string (numbers are written out). Never cut: two long ids must not become one."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise EvalImportError("is not text", remedy="Write a string", field=field, value=value)
    found = str(value).strip()
    if len(found) > most:
        problem = f"is {len(found)} characters long, at most {most} are kept"
        raise EvalImportError(problem, remedy="Shorten it in the source; ids are never cut", field=field, value=found)
    if not found.isprintable():
        raise EvalImportError("holds control characters", remedy="Remove them", field=field, value=found)
    return found


def tokens(value: object, field: str) -> int | None:
    """A token count: a whole number from 0, None where the file says nothing."""
    if value is None or value == "":
        return None
    number: object = value
    if isinstance(value, str):
        # Python refuses to convert thousands of digits: such a number is too large in any case.
        number = int(value) if value.isdecimal() and len(value) <= 20 else _number(value, field)
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int):
        raise EvalImportError("is not a whole number", remedy="Give the token count", field=field, value=value)
    if number < 0:
        remedy = "A token count is 0 or more; correct the row or leave the field empty"
        raise EvalImportError("is negative", remedy=remedy, field=field, value=value)
    if number > MAX_TOKENS:
        raise EvalImportError("is too large for one case", remedy="Check the column", field=field, value=value)
    return number


def score(value: object, field: str) -> float | None:
    """A score from 0 to 1, None where the file says nothing."""
    if value is None or value == "":
        return None
    number = float(_number(value, field))
    if not 0 <= number <= 1:
        remedy = "Scale scores to 0 … 1 in the source"
        raise EvalImportError("is outside 0 … 1", remedy=remedy, field=field, value=value)
    return number


def cost_usd(value: object, field: str) -> Decimal | None:
    """A cost in usd from 0, to 15 places, None where the file says nothing."""
    if value is None or value == "":
        return None
    number = _number(value, field)
    try:
        cost = Decimal(value.strip() if isinstance(value, str) else repr(number))
    except InvalidOperation as error:
        raise EvalImportError("is not a number", remedy="Give usd", field=field, value=value) from error
    if number < 0 or cost > MAX_USD:
        problem = "is negative" if number < 0 else "is too large for one case"
        raise EvalImportError(problem, remedy="Give usd, 0 or more, or leave it empty", field=field, value=value)
    return cost.quantize(_COST_PLACES).normalize() + 0


def latency_ms(value: object, field: str) -> float | None:
    """A latency in milliseconds from 0, None where the file says nothing."""
    if value is None or value == "":
        return None
    number = float(_number(value, field))
    if number < 0:
        raise EvalImportError("is negative", remedy="Give milliseconds, 0 or more", field=field, value=value)
    return number


def instant(value: object, field: str) -> datetime:
    """An ISO 8601 time in UTC; a time without a zone is taken as UTC."""
    try:
        found = datetime.fromisoformat(value.strip() if isinstance(value, str) else "")
    except ValueError as error:
        remedy = "Write ISO 8601, for example 2026-11-09T10:00:00Z"
        raise EvalImportError("is not a time", remedy=remedy, field=field, value=value) from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def error_kind(message: str) -> str:
    """The kind of an error, never its text, which may repeat the prompt: `overloaded_error`, `http_529`, `timeout`.

    >>> error_kind("API call error: Overloaded, status 529, type overloaded_error")
    'overloaded_error'
    """
    words = message.replace(",", " ").replace(":", " ").replace('"', " ").split()
    for word in words:
        name = word.strip(".()[]{}'").lower()
        if name.endswith(("_error", "error")) and name not in {"error", "errors"} and _is_identifier(name):
            return name[:64]
    lowered = message.lower()
    if "timeout" in lowered or "timed out" in lowered:
        return "timeout"
    for word in words:
        if len(code := word.strip(".()[]")) == 3 and code.isdecimal() and code[0] in "45":
            return f"http_{code}"
    return words[0].lower()[:64] if len(words) == 1 and _is_identifier(words[0]) else "error"


def _is_identifier(word: str) -> bool:
    return len(word) <= 64 and word.isascii() and word.replace("-", "_").isidentifier()


def _number(value: object, field: str) -> int | float:
    """A finite number. NaN and infinity are refused: a comparison with them is silently false."""
    number: object = value
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            number = None
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise EvalImportError("is not a number", remedy="Give a number or nothing", field=field, value=value)
    try:
        is_finite = math.isfinite(number)
    except OverflowError:  # an integer beyond a float
        is_finite = False
    if not is_finite:
        raise EvalImportError("is not finite", remedy="Give a number or nothing", field=field, value=value)
    return number


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"
