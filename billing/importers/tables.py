"""Comma-separated tables of others: read by column name, every row in full or refused with its line."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TextIO

from billing.importers.base import (
    BROKEN_COMPRESSION,
    MAX_LINE_BYTES,
    Head,
    ImportRefused,
    broken_compression,
    open_bytes,
)

MAX_FIELD_CHARS: Final = 1_000_000


def header_of(head: Head, *, delimiter: str = ",") -> tuple[str, ...]:
    """Column names of a comma-separated file, stripped; () where it does not look like one."""
    first = head.text.lstrip("\ufeff").lstrip().split("\n", 1)[0].rstrip("\r")
    if first.startswith(("{", "[")) or delimiter not in first:
        return ()
    try:
        return tuple(name.strip() for name in next(csv.reader([first], strict=True, delimiter=delimiter), []))
    except csv.Error:
        return ()


def table_rows(
    path: Path, file_name: str, *, required: Sequence[str] = (), delimiter: str = ","
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Rows with their line, stripped, by column name; columns nobody asked for are kept. gzip and zstd are opened.

    Raises ImportRefused for a header that lacks a required column or names one twice, and as `checked_rows` does.
    """

    def check(names: Sequence[str]) -> None:
        _check_header(names, file_name, required)

    return checked_rows(path, file_name, check, delimiter=delimiter)


def checked_rows(
    path: Path, file_name: str, check: Callable[[Sequence[str]], None], *, delimiter: str = ","
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The same for a form with its own rules of the header, which `check` refuses.

    Raises ImportRefused for text that is not UTF-8, a row of another width, a broken quote or compression, and a file
    without rows.
    """
    line = 1
    try:
        with io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", newline="") as file:
            csv.field_size_limit(MAX_FIELD_CHARS)
            reader = csv.reader(_bounded_lines(file), strict=True, delimiter=delimiter)
            names = [name.strip() for name in next(reader, [])]
            check(names)
            found = 0
            while True:
                line = reader.line_num + 1
                fields = next(reader, None)
                if fields is None:
                    break
                if not any(field.strip() for field in fields):
                    continue
                if len(fields) != len(names):
                    raise ImportRefused.because(
                        file_name,
                        f"{len(fields)} fields where the header names {len(names)}",
                        "The row may be cut off, or a comma stands outside quotes; correct it",
                        line=line,
                    )
                if any("\0" in field for field in fields):
                    raise nul_found(file_name, line)
                found += 1
                yield line, dict(zip(names, (field.strip() for field in fields), strict=True))
    except UnicodeDecodeError as error:
        raise ImportRefused.because(
            file_name, f"not text in UTF-8 (byte {error.start})", "Save the file as CSV in UTF-8"
        ) from error
    except csv.Error as error:
        raise ImportRefused.because(
            file_name, f"not CSV: {error}", "Look for an unclosed quote, or export the file again", line=line
        ) from error
    except BROKEN_COMPRESSION as error:
        raise broken_compression(file_name) from error
    if not found:
        raise ImportRefused.because(file_name, "the file has a header and no rows", "Check what was exported")


def _bounded_lines(file: TextIO) -> Iterator[str]:
    """Lines, none of which fills the memory: a small compressed file may hold one of many gigabytes."""
    while line := file.readline(MAX_LINE_BYTES):
        if len(line) == MAX_LINE_BYTES and not line.endswith("\n"):
            raise csv.Error(f"a line of more than {MAX_LINE_BYTES:,} characters")
        yield line


def nul_found(file_name: str, line: int) -> ImportRefused:
    return ImportRefused.because(
        file_name, "a NUL character", "The file is damaged; export or copy it again", line=line
    )


def _check_header(names: Sequence[str], file_name: str, required: Sequence[str]) -> None:
    if any("\0" in name for name in names):
        raise nul_found(file_name, 1)
    missing = [name for name in required if name not in names]
    if missing and len(names) == 1 and ";" in names[0]:
        raise ImportRefused.because(
            file_name,
            "the columns are separated by semicolons",
            "Use the file as it was downloaded; a spreadsheet that saved it anew has changed it",
            line=1,
        )
    if missing:
        raise ImportRefused.because(
            file_name,
            f"column{'s' if len(missing) > 1 else ''} missing: {', '.join(missing)}",
            "Keep the header line as it was exported",
            line=1,
        )
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise ImportRefused.because(file_name, "the column stands twice", "Remove one", field=twice, line=1)
