"""What every eval-result format gives: *is this mine?* and *yield the values*. Saving and deduplicating happen outside.

A reader yields a `CaseResult` for a good row and a `RejectedRow` for a bad one, so that the caller can refuse the file
whole or import the good rows and list the others. What concerns the whole file is raised.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, Protocol

from routing.core.eval_columns import EvalColumns
from routing.core.evidence import CaseResult
from routing.core.models import canonical_model_name

MAX_TOKENS = 10**15  # a whole provider does not serve that many in one case: a wrong column or unit
_SURELY_SMALL = 15  # digits
MAX_USD = Decimal(10**9)
MAX_ATTEMPTS = 32_767
MAX_MS = 10**11  # three years
MAX_MODEL = 128
_COST_PLACES = Decimal("1E-15")  # the places a stored cost has; floats in JSON carry noise behind them
_SHOWN = 80
_MOST_SAID = 1_000
_BETWEEN_WORDS = re.compile(r"""[\s,:;='"(){}\[\]<>\\/]+""")


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
        said = f"{place}{': ' if place else ''}{named}{self.problem}. {self.remedy}."
        # Names come from the file: one line, and no longer than a person reads.
        line = said if said.isprintable() else "".join(char if char.isprintable() else "?" for char in said)
        return line if len(line) <= _MOST_SAID else f"{line[: _MOST_SAID - 1]}…"


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that was not understood, with the reason; the rest of the file may still be good."""

    error: EvalImportError


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What the person importing knows and the file may not say. The file wins where it says it.

    `run_at` must be aware; it dates results of files without a time (promptfoo JSONL, DeepEval, CSV without `run_at`).
    `model` and `mode` serve files that name none (samples of lm-evaluation-harness, JUnit). `scorer` and `metric`
    choose where a file judges a case in several ways. `columns` says how a table of somebody's own is read.
    `file_name`: as the person calls the file, where `path` is a copy under another name: some tools write the time or
    the task there only.
    """

    run_at: datetime | None = None
    request_class: str = ""
    suite: str = ""
    model: str = ""
    mode: str = ""
    scorer: str = ""
    metric: str = ""
    columns: EvalColumns | None = None
    file_name: str = ""

    def named(self, path: Path) -> str:
        """Name of the file as the person knows it, without `.gz`."""
        return (self.file_name or path.name).removesuffix(".gz")


NO_OPTIONS = ReadOptions()


@dataclass(slots=True)
class About:
    """What a reader learns of the file beside its results. Filled while it reads: complete when it has finished.

    `tool`: what wrote the file, with its version where the file tells it ("promptfoo 0.121.20").
    `warnings`: sentences for the person who imports: choices made for them, and what was left out and why.
    """

    tool: str = ""
    warnings: list[str] = field(default_factory=list)

    def warn_of(self, count: int, one: str, many: str, rest: str) -> None:
        """A sentence about some of the results: `warn_of(2, "test is", "tests are", "left out")`."""
        self.warn(f"{count:,} {one if count == 1 else many} {rest}")

    def warn(self, sentence: str) -> None:
        """Say it once, however many results it concerns."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)


# A prompt is what was sent uncached and what went through the cache: without the second its length is not known.
PROMPTS_UNKNOWN: Final = (
    "input tokens and not all of the cached ones (read, written for 5 minutes, written for an hour): how long the "
    "prompts were is not known, so their tokens are not compared between models. Their costs are, where stated."
)
TELL_ALL_THREE: Final = "Tell all three, 0 where nothing is cached, and import again to have the tokens compared."


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
        """Whether a file beginning with `head` (unpacked, where it is gzipped) is of this format."""
        ...

    def read(
        self, path: Path, options: ReadOptions = NO_OPTIONS, about: About | None = None
    ) -> Iterator[CaseResult | RejectedRow]:
        """Results in the order of the file. Raises EvalImportError for what concerns the whole file.

        `about`, where given, is filled on the way.
        """
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


def present(value: object, field: str, *, most: int = 255, remedy: str = "Every case needs one") -> str:
    """Text that must not be empty."""
    found = text(value, field, most=most)
    if not found:
        raise EvalImportError("is empty", remedy=remedy, field=field)
    return found


def candidate(raw: str, field: str) -> str:
    """The canonical name of a model. Raises EvalImportError for a spelling that is a provider and no model."""
    found = canonical_model_name(raw)
    if not found or len(found) > MAX_MODEL:
        problem = "names no model" if not found else f"is {len(found)} characters long, at most {MAX_MODEL} are kept"
        raise EvalImportError(problem, remedy="Give the model as its provider names it", field=field, value=raw)
    return found


def tokens(value: object, field: str) -> int | None:
    """A token count: a whole number from 0, None where the file says nothing."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and len(value) <= _SURELY_SMALL and value.isdecimal():
        return int(value)  # nearly all of a million rows
    count: object = value
    if isinstance(value, str):
        # Python refuses to convert thousands of digits: such a number is too large in any case.
        count = int(value) if value.isdecimal() and len(value) <= 20 else number(value, field)
    if isinstance(count, float) and count.is_integer():
        count = int(count)
    if isinstance(count, bool) or not isinstance(count, int):
        raise EvalImportError("is not a whole number", remedy="Give the token count", field=field, value=value)
    if count < 0:
        remedy = "A token count is 0 or more; correct the row or leave the field empty"
        raise EvalImportError("is negative", remedy=remedy, field=field, value=value)
    if count > MAX_TOKENS:
        raise EvalImportError("is too large for one case", remedy="Check the column", field=field, value=value)
    return count


_PASSED = {"true": 1.0, "1": 1.0, "yes": 1.0, "pass": 1.0, "passed": 1.0}
_FAILED = {"false": 0.0, "0": 0.0, "no": 0.0, "fail": 0.0, "failed": 0.0}
_VERDICTS = _PASSED | _FAILED


def verdict_of_word(word: str, field: str) -> float:
    """1 for passed, 0 for failed. Raises EvalImportError for another word: a typing error must not fail a case."""
    verdict = _VERDICTS.get(word.strip().lower())
    if verdict is None:
        raise EvalImportError("is neither true nor false", remedy="Use true or false", field=field, value=word)
    return verdict


def score(value: object, field: str) -> float | None:
    """A score from 0 to 1, None where the file says nothing."""
    if value is None or value == "":
        return None
    share = float(number(value, field))
    if not 0 <= share <= 1:
        remedy = "Scale scores to 0 … 1 in the source"
        raise EvalImportError("is outside 0 … 1", remedy=remedy, field=field, value=value)
    return share


def attempts(value: object, field: str) -> int | None:
    """How many calls a case took, 1 or more; None where the file says nothing."""
    calls = tokens(value, field)
    if calls is not None and not 1 <= calls <= MAX_ATTEMPTS:
        remedy = f"Give the calls it took, 1 to {MAX_ATTEMPTS:,}, or leave it empty"
        raise EvalImportError("is no number of attempts", remedy=remedy, field=field, value=value)
    return calls


def cost_usd(value: object, field: str) -> Decimal | None:
    """A cost in usd from 0, to 15 places, None where the file says nothing."""
    if value is None or value == "":
        return None
    amount = number(value, field)
    try:
        cost = Decimal(value.strip() if isinstance(value, str) else repr(amount))
    except InvalidOperation as error:
        raise EvalImportError("is not a number", remedy="Give usd", field=field, value=value) from error
    if amount < 0 or cost > MAX_USD:
        problem = "is negative" if amount < 0 else "is too large for one case"
        raise EvalImportError(problem, remedy="Give usd, 0 or more, or leave it empty", field=field, value=value)
    return cost.quantize(_COST_PLACES).normalize() + 0


def latency_ms(value: object, field: str) -> float | None:
    """A latency in milliseconds from 0, None where the file says nothing."""
    return _duration(value, field, 1, "milliseconds")


def seconds_as_ms(value: object, field: str) -> float | None:
    """Seconds as milliseconds, from 0; None where the file says nothing."""
    return _duration(value, field, 1_000, "seconds")


def _duration(value: object, field: str, milliseconds: int, unit: str) -> float | None:
    if value is None or value == "":
        return None
    found = float(number(value, field)) * milliseconds
    if not 0 <= found <= MAX_MS:
        problem = "is negative" if found < 0 else "is too large for one case"
        raise EvalImportError(problem, remedy=f"Give {unit}, 0 or more", field=field, value=value)
    return found if milliseconds == 1 else round(found, 6)


_SETTINGS: Mapping[str, str] = {
    "thinking": "thinking",
    "effort": "effort",
    "reasoning_effort": "effort",
    "reasoning_tokens": "thinking",
    "temperature": "temperature",
}


def mode_of(settings: object) -> str:
    """The settings that make a model another candidate, written one way for all tools; '' = nothing is stated.

    Only thinking, effort and temperature are read: a settings object may hold keys and addresses too.

    >>> mode_of({"temperature": 0.0, "thinking": {"type": "enabled", "budget_tokens": 1024}, "apiKey": "…"})
    'thinking=1024 temperature=0'
    >>> mode_of({"temperature": "0.70", "effort": "low"})
    'effort=low temperature=0.7'
    >>> mode_of({"thinking": {"type": "disabled"}, "max_tokens": 64})
    ''
    """
    if not isinstance(settings, Mapping):
        return ""
    nested = settings.get("output_config")
    given = {**nested, **settings} if isinstance(nested, Mapping) else settings
    found: dict[str, str] = {}
    for key, name in _SETTINGS.items():
        value = _setting(given.get(key))
        if value:
            found.setdefault(name, f"{name}={value}")
    order = ("thinking", "effort", "temperature")
    return text(" ".join(found[name] for name in order if name in found), "mode", most=64)


def _setting(value: object) -> str:
    if isinstance(value, Mapping):
        kind, budget = value.get("type"), value.get("budget_tokens")
        if kind == "disabled":
            return ""
        value = budget if budget is not None else kind
    if value is True:
        return "on"
    if isinstance(value, str):  # arguments of a command line are text: 0.0 and 0 are one temperature
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return str(value).strip().replace(" ", "_")[:32]


def instant(value: object, field: str) -> datetime:
    """An ISO 8601 time in UTC; a time without a zone is taken as UTC."""
    try:
        found = datetime.fromisoformat(value.strip() if isinstance(value, str) else "")
    except ValueError as error:
        remedy = "Write ISO 8601, for example 2026-11-09T10:00:00Z"
        raise EvalImportError("is not a time", remedy=remedy, field=field, value=value) from error
    try:
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except OverflowError as error:  # the first or last day there is, in another zone
        raise EvalImportError("is no time", remedy="Correct the year", field=field, value=value) from error


def error_kind(message: str) -> str:
    """The kind of an error, never its text, which may repeat the prompt: `overloaded_error`, `http_529`, `timeout`.

    >>> error_kind("API call error: Overloaded, status 529, type overloaded_error")
    'overloaded_error'
    >>> error_kind("RuntimeError('rate_limit_error: 429')"), error_kind("ValueError: no JSON in the answer")
    ('rate_limit_error', 'valueerror')
    """
    words = [word for word in _BETWEEN_WORDS.split(message) if word]
    for ending in ("_error", "error"):  # the provider's name of it says more than the exception that carries it
        for word in words:
            name = word.strip(".").lower().rsplit(".", 1)[-1]
            if name.endswith(ending) and name not in {"error", "errors"} and _is_identifier(name):
                return name[:64]
    lowered = message.lower()
    if "timeout" in lowered or "timed out" in lowered:
        return "timeout"
    for word in words:
        if len(code := word.strip(".")) == 3 and code.isdecimal() and code[0] in "45":
            return f"http_{code}"
    return words[0].lower()[:64] if len(words) == 1 and _is_identifier(words[0]) else "error"


def _is_identifier(word: str) -> bool:
    return len(word) <= 64 and word.isascii() and word.replace("-", "_").isidentifier()


def number(value: object, field: str) -> int | float:
    """A finite number. NaN and infinity are refused: a comparison with them is silently false."""
    found: object = value
    if isinstance(value, str):
        try:
            found = float(value)
        except ValueError:
            found = None
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise EvalImportError("is not a number", remedy="Give a number or nothing", field=field, value=value)
    try:
        is_finite = math.isfinite(found)
    except OverflowError:  # an integer beyond a float
        is_finite = False
    if not is_finite:
        raise EvalImportError("is not finite", remedy="Give a number or nothing", field=field, value=value)
    return found


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"
