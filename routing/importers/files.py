"""Opening eval files: gzip where a file is packed, and bounds on what a file may unfold to in memory."""

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

from routing.importers.base import EvalImportError

HEAD_BYTES = 1 << 18
MAX_UNPACKED = 4 << 30  # of a gzip file as a whole
MAX_DOCUMENT = 1 << 30  # of a document that is held in memory
MAX_LINE = 64 << 20
_GZIP = b"\x1f\x8b"
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[{}\[\]:,]', re.DOTALL)
_DAMAGED = (gzip.BadGzipFile, EOFError, zlib.error)

Json = Mapping[str, Any]


def read_head(path: Path) -> bytes:
    """The first bytes of a file, unpacked where it is gzipped."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head.startswith(_GZIP):
        return head
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, HEAD_BYTES)
    except zlib.error as error:
        raise _damaged(path) from error


@contextmanager
def opened(path: Path, *, again: str, newline: str | None = None) -> Iterator[TextIO]:
    """The text of a file, unpacked where it is gzipped. `again`: what to do when the file is damaged."""
    with path.open("rb") as file:
        is_packed = file.read(2) == _GZIP
    try:
        if not is_packed:
            with path.open(encoding="utf-8-sig", newline=newline) as plain:
                yield plain
        else:
            with gzip.open(path) as packed:
                bounded = io.BufferedReader(_Bounded(packed, path.name), 1 << 20)
                yield io.TextIOWrapper(bounded, encoding="utf-8-sig", newline=newline)
    except UnicodeDecodeError as error:
        raise EvalImportError(f"is not UTF-8 (byte {error.start})", remedy=again, file=path.name) from error
    except _DAMAGED as error:
        raise _damaged(path) from error


@contextmanager
def binary(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked where it is gzipped."""
    with path.open("rb") as file:
        is_packed = file.read(2) == _GZIP
        file.seek(0)
        if not is_packed:
            yield file
            return
    try:
        with gzip.open(path) as packed:
            yield io.BufferedReader(_Bounded(packed, path.name), 1 << 20)
    except _DAMAGED as error:
        raise _damaged(path) from error


def lines_of(file: TextIO, name: str) -> Iterator[str]:
    """Lines, none longer than the bound: a line without an end must not fill the memory."""
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE:
            problem = f"is longer than {MAX_LINE >> 20} MiB"
            raise EvalImportError(problem, remedy="Look for a missing line end", file=name, line=number)
        yield line


def document_of(file: TextIO, name: str, *, again: str, allow_nan: bool = False) -> Any:
    """The JSON document a file is. Raises EvalImportError with the place where it breaks off."""
    content = file.read(MAX_DOCUMENT)
    if len(content) == MAX_DOCUMENT:
        remedy = "Split the evaluation, or take another form of it where the tool has one (.jsonl, .eval)"
        raise EvalImportError(f"is larger than {MAX_DOCUMENT >> 30} GiB", remedy=remedy, file=name)
    if not content.strip():
        raise EvalImportError("is empty", remedy=again, file=name)
    try:
        return loads(content, again=again, allow_nan=allow_nan)
    except EvalImportError as error:
        raise error.at(file=name) from error
    except json.JSONDecodeError as error:
        ended = "ends early: the file is truncated" if error.pos >= len(content.rstrip()) - 1 else error.msg
        problem = f"is not complete JSON at column {error.colno} ({ended})"
        raise EvalImportError(problem, remedy=again, file=name, line=error.lineno) from error


def objects_of(
    lines: Iterator[str], name: str, *, again: str, allow_nan: bool = False
) -> Iterator[tuple[int, Any | EvalImportError]]:
    """Line number and value of each line of a JSON lines file; the error in place of a value that cannot be read."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield number, loads(line, again=again, allow_nan=allow_nan)
        except EvalImportError as error:
            yield number, error.at(file=name, line=number)
        except json.JSONDecodeError as error:
            problem = f"is not JSON at column {error.colno} ({error.msg}): the line is damaged or the file truncated"
            yield number, EvalImportError(problem, remedy=again, file=name, line=number)


def loads(content: str | bytes, *, again: str, allow_nan: bool = False) -> Any:
    """JSON, with an error for what breaks a reader. Raises json.JSONDecodeError where it is not JSON.

    `allow_nan`: tools in Python write NaN where a figure does not exist; whoever reads such a field must look.
    """
    try:
        return json.loads(content, parse_constant=float if allow_nan else _refuse_constant)
    except RecursionError as error:
        raise EvalImportError("is nested too deeply", remedy=again) from error
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        if isinstance(error, EvalImportError | UnicodeDecodeError):
            raise
        raise EvalImportError("holds a number of thousands of digits", remedy="Correct it in the source") from error


def mapping(value: object, field: str, *, again: str) -> Json:
    """A JSON object, or the error that it is none."""
    if not isinstance(value, dict):
        raise EvalImportError("is not a JSON object", remedy=again, field=field, value=value)
    return value


def part(value: object, *keys: str) -> Json:
    """The object below some keys; an empty one where there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def top_keys(head: bytes) -> frozenset[str]:
    """Keys of the first JSON object as far as `head` reaches: words inside prompts and answers claim nothing.

    >>> sorted(top_keys(b'{"a": {"b": "\\\\"c\\\\": 1"}, "d": [1'))
    ['a', 'd']
    """
    found: set[str] = set()
    depth, latest = 0, ""
    content = head.decode("utf-8-sig", errors="replace").lstrip()
    if not content.startswith("{"):
        return frozenset()
    for match in _TOKEN.finditer(content):
        symbol = match[0]
        if symbol in "{[":
            depth += 1
        elif symbol in "}]":
            depth -= 1
            if depth == 0:
                break
        elif symbol == ":" and depth == 1:
            found.add(latest)
        elif depth == 1:
            latest = symbol.strip('"')
    return frozenset(found)


class _Bounded(io.RawIOBase):
    """Bytes of a packed file, up to the bound on what it may unfold to."""

    def __init__(self, packed: gzip.GzipFile, name: str) -> None:
        self.packed = packed
        self.name = name
        self.left = MAX_UNPACKED

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.packed.read1(len(buffer))
        self.left -= len(data)
        if self.left < 0:
            problem = f"unfolds to more than {MAX_UNPACKED >> 30} GiB"
            raise EvalImportError(problem, remedy="Split it", file=self.name)
        buffer[: len(data)] = data
        return len(data)


def _damaged(path: Path) -> EvalImportError:
    return EvalImportError("is a damaged gzip file", remedy="Pack it again", file=path.name)


def _refuse_constant(constant: str) -> None:
    raise EvalImportError(f"holds {constant}, which is not a number", remedy="Replace it by null or a number")
