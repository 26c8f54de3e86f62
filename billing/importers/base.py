"""What every usage format gives: *is this mine?* and how its rows become counted usage. Saving happens outside.

A request-level format (`RequestFormat`) describes itself twice: as SQL over JSON lines with explicit types, the fast
path, in which prompt text never leaves the reader and bad rows are counted; and as a Python check of one record, the
slow path, run only when something is wrong, which names field, value and remedy and can write the good rows anew with
nothing but the fields needed. A bucketed format (`BucketFormat`) reads provider reports, which are small.
"""

import contextlib
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final, Protocol

import zstandard

from billing.core.periods import EARLIEST as EARLIEST
from billing.core.usage import UsageBucket

MAX_TOKENS: Final = 10**12 - 1  # one request cannot hold more; keeps every sum inside a bigint
MAX_TEXT: Final = 255
HEAD_CHARS: Final = 4_000_000
PROBLEMS_SHOWN: Final = 100
MAX_LINE_BYTES: Final = 16 * 1024**2  # also read_json's maximum_object_size
MAX_WHOLE_BYTES: Final = 64 * 1024**2  # of a file that has to be read as one JSON value, decompressed
# Not OSError itself: a file that is gone or a disk that fails is no fault of who compressed the file.
BROKEN_COMPRESSION: Final = (gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError)
PARQUET_MAGIC: Final = (b"PAR1", b"PARE")  # the second is encrypted
_SHOWN: Final = 60
CLOCK_SKEW: Final = timedelta(days=1)  # so far a logger's clock may run ahead of ours


class RowNumber(int):
    """The number of a row in a file that has no lines."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One bad row or field: where, what, and what to do. Holds no prompt text: values of text bodies are not shown."""

    line: int | None
    field: str
    value: str
    message: str
    remedy: str

    def __str__(self) -> str:
        unit = "row" if isinstance(self.line, RowNumber) else "line"
        place = f"{unit} {self.line}: " if self.line is not None else ""
        named = f"{self.field} = {self.value}: " if self.value else (f"{self.field}: " if self.field else "")
        return f"{place}{named}{self.message}. {self.remedy}."

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | ({"unit": "row"} if isinstance(self.line, RowNumber) else {})


class ImportRefused(ValueError):
    """A file that is not imported. `problems` holds the first of them, `count` how many there are."""

    def __init__(self, file: str, problems: Iterable[Problem], count: int | None = None) -> None:
        self.file = file
        self.problems = tuple(problems)
        self.count = len(self.problems) if count is None else count
        super().__init__(file)

    @classmethod
    def because(
        cls, file: str, message: str, remedy: str, *, field: str = "", value: str = "", line: int | None = None
    ) -> "ImportRefused":
        return cls(file, [Problem(line, field, value, message, remedy)])

    def __str__(self) -> str:
        shown = [f"{self.file}: {problem}" for problem in self.problems[:5]]
        more = self.count - len(shown)
        if more > 0:
            shown.append(f"{self.file}: and {more} more problem{'s' if more > 1 else ''}; nothing was imported.")
        return "\n".join(shown)


def sound(text: str) -> str:
    """Text that files and the database can hold: without NUL; half a character (JSON can spell one) as `?`."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def shown(value: object) -> str:
    """A value as a message shows it: JSON, cut short."""
    try:
        text = value if isinstance(value, str) and not value.strip('"') else json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    text = sound(text)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def implausible_time(at: datetime, *, as_of: datetime) -> str:
    """Why usage cannot be of `at`; '' where it can. One wrong year would stretch every history and forecast.

    >>> from datetime import UTC
    >>> implausible_time(datetime(1970, 1, 1, tzinfo=UTC), as_of=datetime(2026, 11, 10, tzinfo=UTC))
    'before 2020, when there was no Claude to ask'
    """
    if at < EARLIEST:
        return f"before {EARLIEST.year}, when there was no Claude to ask"
    return f"in the future: it is {as_of:%Y-%m-%dT%H:%MZ} now" if at >= as_of + CLOCK_SKEW else ""


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of a file, decompressed: what a format looks at to say whether a file is its own."""

    text: str
    rows: tuple[Mapping[str, Any], ...]
    is_lines: bool
    """Every line looked at is one JSON value: the fast path may read it. So it may a Parquet file."""
    is_parquet: bool = False
    """A request log as Parquet: the only Parquet file that is read."""
    start: bytes = b""
    """The first bytes, decompressed: what they are when no format claims the file."""


@dataclass(frozen=True, slots=True)
class RowCheck:
    """What the slow path finds in one record: problems, and the records to import (one, or more with iterations)."""

    problems: tuple[Problem, ...]
    records: tuple[Mapping[str, Any], ...]


class RequestFormat(Protocol):
    """A request-level format, as SQL in three parts; see billing/importers/sql.py for what each has to give.

    `columns`: read_json's DuckDB types. `rows`: what differs from request to request. `names` and `traits`: what few
    requests differ in (what usage is told apart by; what its class depends on), read once per combination.
    """

    name: str
    title: str
    names_provider_keys: bool
    columns: str
    rows: str
    names: str
    traits: str

    def claims(self, head: Head) -> bool: ...

    def check(self, record: Mapping[str, Any], line: int | None) -> RowCheck: ...

    def started(self, record: Mapping[str, Any]) -> tuple[str, datetime]:
        """Field and instant of the start of a record that `check` finds nothing wrong with."""


@dataclass(frozen=True, slots=True)
class Report:
    """A read report: its buckets, whole hours or UTC days, and remarks about the file.

    `problems`: the first of its bad rows, `rejected` how many; they refuse the file unless good ones are wanted.
    """

    buckets: tuple[UsageBucket, ...]
    bucket_hours: int
    findings: tuple[str, ...]
    problems: tuple[Problem, ...] = ()
    rejected: int = 0


class BucketFormat(Protocol):
    """Sums by hour or day. `read` raises ImportRefused.

    `rank`: which of several reports of a day counts: the provider's usage report (3), then the Console's download (2),
    a bill (1), a gateway's own sums (0).
    """

    name: str
    title: str
    rank: int

    def claims(self, head: Head) -> bool: ...

    def read(self, path: Path, *, file_name: str, canonical: Callable[[str], str]) -> Report: ...


# Facts are one JSON object of fields a policy may name; long values cannot be facts and could be prompt text.
FACT_KEYS: Final = (
    "endpoint", "feature", "environment", "workspace", "team", "tags", "api_key", "agent", "model", "model_family",
    "prompt_id", "input_chars", "body_bytes", "max_tokens", "messages", "tools", "images", "documents", "stream",
    "thinking", "json_output", "cache_marked", "script", "thinking_type", "prefill", "thinking_history",
    "permitted_models",
)  # fmt: skip
FACT_PATTERN: Final = r"(meta[.][a-z0-9][a-z0-9_]{0,63}|signal[.][a-z][a-z0-9_.-]{0,63})"
_FACT_PATTERN: Final = re.compile(FACT_PATTERN, re.ASCII)
MAX_FACT_CHARS: Final = 1_100


def open_bytes(path: Path) -> IO[bytes]:
    """The file's bytes, decompressed where the first bytes say gzip or zstd (the name is not trusted)."""
    match compression_of(path):
        case "gzip":
            return io.BufferedReader(gzip.open(path, "rb"))
        case "zstd":
            return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(path.open("rb"), closefd=True))
        case _:
            return path.open("rb")


def compression_of(path: Path) -> str:
    """DuckDB's name of the compression: gzip, zstd or none; or parquet."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic in PARQUET_MAGIC:
        return "parquet"
    if magic[:2] == b"\x1f\x8b":
        return "gzip"
    return "zstd" if magic == b"\x28\xb5\x2f\xfd" else "none"


def read_head(path: Path, file_name: str) -> Head:
    """Raises ImportRefused for an empty file, a broken compression, or a Parquet file that is no request log."""
    if path.stat().st_size == 0:
        raise ImportRefused.because(file_name, "the file is empty (0 bytes)", "Export it again and upload the result")
    if compression_of(path) == "parquet":
        from billing.importers.parquet import check_columns  # needs this module

        check_columns(path, file_name)
        return Head("PAR1", (), is_lines=True, is_parquet=True)
    try:
        with open_bytes(path) as file:
            data = file.read(HEAD_CHARS)
    except BROKEN_COMPRESSION as error:
        raise broken_compression(file_name) from error
    if data.startswith(PARQUET_MAGIC):
        raise ImportRefused.because(
            file_name, "a Parquet file inside a compressed one", "Unpack it: Parquet is compressed in itself"
        )
    text = data.decode("utf-8", errors="replace").lstrip("\ufeff")
    if not text.strip():
        raise ImportRefused.because(file_name, "the file holds nothing", "Export it again and upload the result")
    lines = [line for line in text.splitlines() if line.strip()]
    cut = len(data) == HEAD_CHARS and len(lines) > 1
    looked_at = lines[:-1][:20] if cut else lines[:20]
    rows: list[Mapping[str, Any]] = []
    is_lines = True
    for line in looked_at:
        value = _loads(line)
        if isinstance(value, dict):
            rows.append(value)
        else:
            is_lines = False
    if not rows:
        rows = _dicts([_loads(text)] if not text.lstrip().startswith("[") else _first_items(text, 20))
    elif lines[0].strip() in ("{", "["):
        is_lines = False  # one value over many lines, some of which happen to be JSON of their own
        rows = _dicts([_loads(text)] if lines[0].strip() == "{" else _first_items(text, 20)) or rows
    elif len(rows) > 1 or not text.lstrip().startswith("["):
        # A bad line among JSON lines is a bad row, not another format. (Of an array only the last line may parse.)
        is_lines = True
    return Head(text, tuple(rows), is_lines and bool(rows), start=data[:2048])


def _dicts(values: Iterable[Any]) -> list[Mapping[str, Any]]:
    return [item for item in values if isinstance(item, dict)]


def broken_compression(file_name: str) -> ImportRefused:
    return ImportRefused.because(
        file_name, "the compressed file ends early or is damaged", "Copy or export the file again"
    )


class DuplicateKey(ValueError):
    """A JSON object that names a key twice: which of the two counts is anybody's guess."""


def loads_strict(text: str | bytes) -> Any:
    """JSON without NaN, infinities and repeated keys. Raises ValueError."""
    return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)


def each_record(path: Path, file_name: str, *, is_lines: bool) -> Iterator[tuple[int | None, Any | Problem]]:
    """Records with their line, or the Problem of a line that is not JSON. Raises ImportRefused when it breaks off."""
    if compression_of(path) == "parquet":
        from billing.importers.parquet import each_parquet_record  # needs this module

        yield from each_parquet_record(path, file_name)
        return
    try:
        with open_bytes(path) as file:
            if is_lines:
                yield from _each_line(file)
            else:
                value = _parsed(read_whole(file, file_name).removeprefix(b"\xef\xbb\xbf"), None)
                for index, item in enumerate(value if isinstance(value, list) else [value], start=1):
                    yield (index if isinstance(value, list) else None), item
    except BROKEN_COMPRESSION as error:
        raise broken_compression(file_name) from error


def _each_line(file: IO[bytes]) -> Iterator[tuple[int, Any | Problem]]:
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE_BYTES + 1)
            what = f"longer than {MAX_LINE_BYTES // 1024**2} MiB"
            yield number, Problem(number, "", "", what, "Log requests without their prompts, one per line")
            continue
        if stripped := (line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).strip():
            yield number, _parsed(stripped, number)


def read_whole(file: IO[bytes], file_name: str) -> bytes:
    """All of a file that is one JSON value. Raises ImportRefused where that would fill the memory."""
    data = file.read(MAX_WHOLE_BYTES + 1)
    if len(data) > MAX_WHOLE_BYTES:
        raise ImportRefused.because(
            file_name,
            f"more than {MAX_WHOLE_BYTES // 1024**2} MiB of JSON that is not written line by line",
            "Write one request per line (jq -c '.[]'), or split a report into files of some pages each",
        )
    return data


def _parsed(text: bytes, line: int | None) -> Any | Problem:
    try:
        return loads_strict(text)
    except json.JSONDecodeError as error:
        where = f" at character {error.colno}" if line is not None else f" at line {error.lineno}"
        return Problem(
            line, "", "", f"not valid JSON{where} ({error.msg})", "The file may be cut off; export it again, or mend it"
        )
    except RecursionError:
        what = "not valid JSON: nested too deeply to be read"
        return Problem(line, "", "", what, "Take the log as its writer wrote it")
    except (UnicodeDecodeError, ValueError) as error:
        reason = str(error) if isinstance(error, DuplicateKey) else "not valid JSON text in UTF-8"
        return Problem(line, "", "", reason, "Correct the row, or export the file again")


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _first_items(text: str, count: int) -> list[Any]:
    """The first items of a JSON array, which may be cut off."""
    decoder, position = json.JSONDecoder(), text.index("[") + 1
    items: list[Any] = []
    with contextlib.suppress(ValueError, RecursionError):
        while len(items) < count:
            while text[position : position + 1] in (" ", "\t", "\r", "\n", ","):
                position += 1
            item, position = decoder.raw_decode(text, position)
            items.append(item)
    return items


def _no_constant(name: str) -> Any:
    raise DuplicateKey(f"{name} is not a JSON number")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DuplicateKey(f"key {twice[:_SHOWN]!r} occurs twice in one object")
    return found


def check_count(holder: Mapping[str, Any], key: str, path: str, line: int | None, *, needed: bool) -> Problem | None:
    """The problem of a token count, or None. null and absent mean 0 unless the field is needed."""
    value = holder.get(key)
    if value is None:
        if not needed:
            return None
        return Problem(line, path, "", "missing", "Log the usage object of the response unchanged")
    if type(value) is int and 0 <= value <= MAX_TOKENS:
        return None
    if type(value) is int and value < 0:
        return Problem(line, path, shown(value), "a count cannot be negative", "Correct the row at its source")
    if type(value) is int:
        return Problem(line, path, shown(value), f"a count above {MAX_TOKENS:,} for one request", "Correct the row")
    return Problem(line, path, shown(value), "not a whole number", "Write counts as plain whole numbers")


def known_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Fields a policy may name, with values short enough to be facts."""
    return {
        key: value
        for key, value in facts.items()
        if (key in FACT_KEYS or _FACT_PATTERN.fullmatch(key))
        and value is not None
        and len(json.dumps(value)) <= MAX_FACT_CHARS
    }
