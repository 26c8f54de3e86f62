"""How a table of eval results of somebody's own is read: which column holds what, and what contradicts itself.

Schema `costgov.eval_columns/1` (docs/guide/evals.md). Columns that are not named are not read. A column that holds JSON
is read inside by a path: `metadata.model` is the key `model` of the column `metadata`. Nothing is assumed: what a
mapping leaves open is a contradiction, with what to do about it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

SCHEMA: Final = "costgov.eval_columns/1"
MAX_COLUMNS: Final = 500
MAX_TEXT: Final = 255
TIME_FORMATS: Final[Mapping[str, str]] = {
    "iso": "ISO 8601, as 2026-11-09T10:00:00Z",
    "epoch_s": "seconds since 1970",
    "epoch_ms": "milliseconds since 1970",
}
DELIMITERS: Final[Mapping[str, str]] = {",": "comma", ";": "semicolon", "\t": "tab"}

# Field → what a person calls it, in the order in which a page offers them.
FIELDS: Final[Mapping[str, str]] = {
    "sample_id": "id of the case",
    "model": "model",
    "suite": "suite",
    "request_class": "class of request",
    "time": "time of the run",
    "passed": "passed or failed",
    "score": "score",
    "error": "error",
    "input_uncached": "input without cached tokens",
    "input_with_cache": "input with cached tokens",
    "cache_read": "cache reads",
    "cache_write_5m": "cache writes, 5 minutes",
    "cache_write_1h": "cache writes, 1 hour",
    "output": "output tokens",
    "cost_usd": "cost, usd",
    "latency_ms": "latency, milliseconds",
    "latency_s": "latency, seconds",
    "mode": "mode (thinking, effort)",
    "attempts": "attempts",
    "repeat": "number of the repeat",
    "prompt_version": "version of the prompt",
}
CONSTANTS: Final = ("suite", "model", "request_class", "mode")
_KEPT_AS_TEXT: Final = ("sample_id", "model", "suite", "request_class", "mode", "repeat", "prompt_version")


class ColumnsError(ValueError):
    """A document that is no mapping of columns: what is wrong, where, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Why a mapping cannot be used. `place`: the column or setting it is about ('' = the whole)."""

    place: str
    message: str
    remedy: str

    def __str__(self) -> str:
        named = f"{self.place}: " if self.place else ""
        return f"{named}{self.message}. {self.remedy}."


@dataclass(frozen=True, slots=True)
class EvalColumns:
    """`columns`: column or column.path → field. `constants`: what holds for every row.

    `score_max`: the best score there is (100 for per cent); scores are divided by it. `pass_at`: a score of at least
    this, after dividing, is a pass; None = the score is the verdict, unless a column says passed or failed.
    """

    columns: Mapping[str, str]
    constants: Mapping[str, str] = field(default_factory=dict)
    score_max: float = 1.0
    pass_at: float | None = None
    time_format: str = "iso"
    delimiter: str = ","

    def column_of(self, wanted: str) -> str:
        """The column that holds a field; '' = none."""
        return next((column for column, name in self.columns.items() if name == wanted), "")

    def as_document(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "columns": dict(self.columns),
            "constants": dict(self.constants),
            "score_max": self.score_max,
            "pass_at": self.pass_at,
            "time_format": self.time_format,
            "delimiter": self.delimiter,
        }


_KINDS: Final[Mapping[str, tuple[tuple[type, ...], str]]] = {
    "schema": ((str,), "text"),
    "columns": ((dict,), "an object from column to field"),
    "constants": ((dict,), "an object"),
    "score_max": ((int, float), "a number"),
    "pass_at": ((int, float, type(None)), "a number or null"),
    "time_format": ((str,), "text"),
    "delimiter": ((str,), "text"),
}


def parse_eval_columns(document: object) -> EvalColumns:
    """A checked mapping. Raises ColumnsError for another shape or unknown words; contradictions are asked for apart."""
    if not isinstance(document, Mapping):
        raise ColumnsError(f"a mapping of columns is one JSON object ({SCHEMA})")
    _check_shape(document)
    columns = {str(column).strip(): value for column, value in document["columns"].items() if value not in ("", None)}
    for column, value in columns.items():
        if not isinstance(value, str) or value not in FIELDS:
            raise ColumnsError(
                f"columns: {column[:60]!r} is {str(value)[:60]!r}; a field is one of {', '.join(FIELDS)}"
            )
        _check_text(column, "columns")
    if not 0 < len(columns) <= MAX_COLUMNS:
        raise ColumnsError(f"columns names {len(columns)} columns; name 1 to {MAX_COLUMNS}")
    constants = {str(key): value for key, value in document.get("constants", {}).items() if value != ""}
    for key, value in constants.items():
        if key not in CONSTANTS:
            raise ColumnsError(f"constants: {key[:60]!r} is not one of {', '.join(CONSTANTS)}")
        if not isinstance(value, str):
            raise ColumnsError(f"constants: {key} must be text")
        _check_text(value, f"constants: {key}")
    found = EvalColumns(
        columns=columns,
        constants=constants,
        score_max=float(document.get("score_max", 1.0)),
        pass_at=None if document.get("pass_at") is None else float(document["pass_at"]),
        time_format=document.get("time_format", "iso"),
        delimiter=document.get("delimiter", ","),
    )
    if found.time_format not in TIME_FORMATS:
        raise ColumnsError(f"time_format is {found.time_format[:60]!r}; use one of {', '.join(TIME_FORMATS)}")
    if found.delimiter not in DELIMITERS:
        raise ColumnsError("delimiter must be a comma, a semicolon or a tab")
    if not 0 < found.score_max <= 1e9:
        raise ColumnsError(f"score_max is {found.score_max}: write the best score there is, e.g. 1, 5 or 100")
    if found.pass_at is not None and not 0 < found.pass_at <= 1:
        raise ColumnsError(f"pass_at is {found.pass_at}: write a share above 0, up to 1, of the best score")
    return found


def _check_shape(document: Mapping[Any, Any]) -> None:
    unknown = sorted(str(key) for key in document if key not in _KINDS)
    if unknown:
        raise ColumnsError(f"unknown key {unknown[0][:60]!r}; known are {', '.join(_KINDS)}")
    for name in ("schema", "columns"):
        if name not in document:
            raise ColumnsError(f"{name} is missing")
    for name, (kinds, words) in _KINDS.items():
        if name in document and (not isinstance(document[name], kinds) or isinstance(document[name], bool)):
            raise ColumnsError(f"{name} must be {words}")
    if document["schema"] != SCHEMA:
        raise ColumnsError(f"schema is {document['schema'][:60]!r}: this version reads {SCHEMA!r}")


def _check_text(value: str, place: str) -> None:
    if not value or len(value) > MAX_TEXT or not value.isprintable():
        raise ColumnsError(f"{place}: write plain text of at most {MAX_TEXT} characters")


# ---- What contradicts itself ------------------------------------------------------------------------------------


def contradictions(columns: EvalColumns, header: Sequence[str]) -> tuple[Contradiction, ...]:
    """Everything that leaves a question open or answers one twice, for a table of this header; () = it can be used."""
    return (*_of_header(columns, header), *_doubled(columns), *_hidden_text(columns), *_open_questions(columns))


def _of_header(columns: EvalColumns, header: Sequence[str]) -> list[Contradiction]:
    names = [name.strip() for name in header]
    found = []
    for column in columns.columns:
        base, _ = split_path(column, names)
        if base not in names:
            shown = ", ".join(names[:20]) + (" …" if len(names) > 20 else "")
            found.append(Contradiction(column, "the table has no such column", f"It has: {shown}"))
        elif names.count(base) > 1:
            found.append(Contradiction(base, "the table has this column twice", "Rename one of them"))
    return found


def _doubled(columns: EvalColumns) -> list[Contradiction]:
    found = []
    for name, words in FIELDS.items():
        sources = [column for column, value in columns.columns.items() if value == name]
        if len(sources) > 1:
            message = f"{' and '.join(sources)} both say {words}"
            found.append(Contradiction(sources[1], message, "Keep the one that counts and ignore the other"))
        if sources and name in columns.constants:
            message = f"the {words} is read from the column and also set to {columns.constants[name]}"
            found.append(Contradiction(sources[0], message, "Keep one of the two"))
    pairs = (("latency_ms", "latency_s", "the latency"), ("input_uncached", "input_with_cache", "the input tokens"))
    for one, other, words in pairs:
        if columns.column_of(one) and (column := columns.column_of(other)):
            found.append(Contradiction(column, f"two columns say {words}", "Keep one and ignore the other"))
    return found


def _hidden_text(columns: EvalColumns) -> list[Contradiction]:
    return [
        Contradiction(
            column,
            f"its name says that it holds what was asked or answered, and would be kept as the {FIELDS[name]}",
            "Texts are not stored: choose a column with an id or a name",
        )
        for column, name in columns.columns.items()
        if name in _KEPT_AS_TEXT and names_text(column)
    ]


def _open_questions(columns: EvalColumns) -> list[Contradiction]:
    found = []
    if not columns.column_of("sample_id"):
        remedy = "Choose the column that names the case the same for every model"
        found.append(Contradiction("", "no column says which case a row is", remedy))
    if not columns.column_of("passed") and not columns.column_of("score"):
        remedy = "Choose the column with the score, or the one that says passed or failed"
        found.append(Contradiction("", "no column says how a case did", remedy))
    if columns.pass_at is not None and not columns.column_of("score"):
        found.append(Contradiction("pass_at", "there is no score to compare", "Choose the column with the score"))
    if columns.pass_at is not None and (column := columns.column_of("passed")):
        message = "the column says passed or failed, and so does the score from pass_at on"
        found.append(Contradiction(column, message, "Keep one of the two"))
    return found


# ---- Columns and what their names say ---------------------------------------------------------------------------


def split_path(column: str, header: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The column and the path inside it. The longest name that is a column wins.

    >>> split_path("metadata.model", ["id", "metadata"]), split_path("a.b", ["a.b", "a"])
    (('metadata', ('model',)), ('a.b', ()))
    """
    parts = column.split(".")
    for length in range(len(parts), 0, -1):
        base = ".".join(parts[:length])
        if base in header:
            return base, tuple(parts[length:])
    return column, ()


def inside(value: str, path: Sequence[str]) -> str:
    """The text at a path inside a JSON value; '' where it holds nothing. Raises ValueError where it is not JSON.

    >>> inside('{"scores": {"exact": 0.5}}', ("scores", "exact"))
    '0.5'
    """
    if not path or not value.strip():
        return value
    found: Any = json.loads(value)
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    if found is None or isinstance(found, Mapping | list):
        return ""
    return found if isinstance(found, str) else json.dumps(found)


_WORDS: Final = re.compile(r"[a-z]+|[0-9]+[a-z]*")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TEXT_WORDS: Final = frozenset(
    {
        "prompt", "prompts", "completion", "answer", "answers", "content", "message", "messages", "text", "body",
        "conversation", "transcript", "query", "question", "questions", "instruction", "instructions", "response",
        "responses", "reply", "input", "inputs", "output", "outputs", "expected", "reference", "ticket",
    }
)  # fmt: skip
_NOT_TEXT: Final = frozenset(
    {
        "id", "ids", "key", "number", "version", "hash", "name", "model", "type", "idx", "index", "label", "class",
        "suite", "mode", "case",
    }
)  # fmt: skip


def names_text(column: str) -> bool:
    """The name says that the column holds what was asked or answered.

    >>> [names_text(name) for name in ("input", "question_id", "promptVersion", "expected output")]
    [True, False, False, True]
    """
    words = set(words_of(column))
    return bool(words & _TEXT_WORDS) and not words & _NOT_TEXT


def words_of(column: str) -> tuple[str, ...]:
    """Lower-case words of a column name.

    >>> words_of("metrics.promptTokens")
    ('metrics', 'prompt', 'tokens')
    """
    return tuple(_WORDS.findall(_CAMEL.sub(" ", column).lower()))


# Field → spellings (words joined), the surest first. An id of a run or a span is not one of the case.
_SPELLINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "sample_id": (
        "sample id", "reference example id", "dataset record id", "example id", "case id", "test id", "test case id",
        "item id", "task id", "question id", "metadata sample id", "metadata case id", "sample", "case", "id",
    ),
    "model": ("model", "model name", "model id", "metadata model", "llm", "metadata model name", "provider"),
    "suite": ("suite", "eval", "eval name", "evaluation", "dataset", "dataset name", "project", "experiment"),
    "request_class": ("request class", "metadata request class", "class of request"),
    "time": ("run at", "created", "created at", "start time", "started at", "timestamp", "time", "date"),
    "passed": ("passed", "pass", "success", "succeeded", "correct", "is correct", "verdict", "result"),
    "score": ("score", "scores score", "feedback score", "mean score", "grade"),
    "error": ("error", "error type", "error message"),
    "input_with_cache": (
        "prompt tokens", "input tokens with cache", "metrics prompt tokens", "total input tokens",
    ),
    "input_uncached": ("input tokens", "uncached input tokens"),
    "cache_read": (
        "cache read tokens", "cached tokens", "prompt cached tokens", "metrics prompt cached tokens",
        "cache read input tokens",
    ),
    "cache_write_5m": (
        "cache write tokens", "cache creation tokens", "cache creation input tokens", "cache write 5m tokens",
        "metrics prompt cache creation tokens",
    ),
    "cache_write_1h": ("cache write 1h tokens",),
    "output": ("output tokens", "completion tokens", "metrics completion tokens"),
    "cost_usd": ("cost usd", "cost", "total cost", "metrics estimated cost", "estimated cost"),
    "latency_ms": ("latency ms", "duration ms", "latency milliseconds"),
    "latency_s": ("latency s", "latency seconds", "latency", "duration", "metrics duration", "duration s"),
    "mode": ("mode", "metadata mode", "effort", "reasoning effort"),
    "attempts": ("attempts", "tries", "calls"),
    "repeat": ("repeat", "trial", "trial index", "epoch", "repetition"),
    "prompt_version": ("prompt version", "metadata prompt version"),
}  # fmt: skip


def guess(header: Sequence[str], first_row: Sequence[str] = ()) -> EvalColumns:
    """A proposal from the names of the columns, and from the keys inside the first row's JSON columns.

    A person confirms or corrects it: what cannot be told stays unnamed and shows up as a contradiction.
    """
    names = [name.strip() for name in header]
    sources: dict[str, str] = {}
    for column in (*names, *_paths_inside(names, first_row)):
        if column and names.count(split_path(column, names)[0]) == 1:
            sources.setdefault(" ".join(words_of(column)), column)
    columns: dict[str, str] = {}
    for name, spellings in _SPELLINGS.items():
        column = next((sources[spelling] for spelling in spellings if spelling in sources), "")
        if column and column not in columns:
            columns[column] = name
    taken = set(columns.values())
    if "score" not in taken and (scores := [column for column in sources.values() if _is_one_score(column)]):
        columns.update({scores[0]: "score"} if len(scores) == 1 else {})
    for one, other in (("latency_ms", "latency_s"), ("input_with_cache", "input_uncached")):
        if {one, other} <= taken:
            columns = {column: name for column, name in columns.items() if name != other}
    return EvalColumns(columns=columns)


def _is_one_score(column: str) -> bool:
    words = words_of(column)
    return len(words) > 1 and words[0] in {"scores", "score", "feedback"}


def _paths_inside(names: Sequence[str], first_row: Sequence[str]) -> list[str]:
    found = []
    for name, value in zip(names, first_row, strict=False):
        if not value.lstrip().startswith("{"):
            continue
        try:
            keys = json.loads(value)
        except (ValueError, RecursionError):
            continue
        found += [f"{name}.{key}" for key in keys if isinstance(key, str) and not isinstance(keys[key], dict | list)]
    return found
