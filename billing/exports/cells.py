"""Cells of exported tables: numbers stay numbers, and no text becomes a formula when a spreadsheet opens it.

A spreadsheet takes a cell that begins with = + - @, a tab or a line break for a formula, also where it splits a text at
a separator of another country's CSV. Such text gets an apostrophe in front of that character: it is shown as it was and
computes nothing (OWASP, *CSV Injection*). Every export goes through here; workbooks write text as text instead.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

Cell = str | int | float | Decimal | date | datetime | bool | None
_TRIGGERS: Final = "=+\\-@＝＋－＠﹢﹣"
# At the start, behind spaces and quotes; and wherever a spreadsheet may split: tab, line break, ; | and comma.
_FORMULA: Final = re.compile(f"(^[\\s'\"]*|[;,|\\t\\r\\n][ \\t'\"]*)(?=[{_TRIGGERS}])")
_START: Final = re.compile("^[\\t\\r\\n]")
_BATCH: Final = 1 << 16


def safe_text(text: str) -> str:
    """Text no spreadsheet computes: `=1+1` becomes `'=1+1`. NUL is left out: no format can hold it.

    >>> safe_text("=cmd|'/c calc'!A1"), safe_text("a;=1+1"), safe_text("gpt-4 - fast")
    ("'=cmd|'/c calc'!A1", "a;'=1+1", 'gpt-4 - fast')
    """
    cleaned = text.replace("\x00", "")
    if _START.match(cleaned):
        cleaned = f"'{cleaned}"
    return _FORMULA.sub(lambda found: f"{found[1]}'", cleaned)


def original_text(text: str) -> str:
    """What `safe_text` made safe, for reading our own files back: the apostrophes it added are taken away."""
    found = re.sub(f"(^[\\s'\"]*|[;,|\\t\\r\\n][ \\t'\"]*)'(?=[{_TRIGGERS}])", lambda match: match[1], text)
    return found[1:] if re.match("^'[\\t\\r\\n]", found) else found


def csv_cell(value: Cell) -> str:
    """One cell as CSV has it: numbers bare and plain, text quoted and safe, nothing as nothing, times as UTC."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Decimal):
        return plain_decimal(value)
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, date):
        return value.isoformat()
    quoted = safe_text(value).replace('"', '""')
    return f'"{quoted}"'


def plain_decimal(value: Decimal) -> str:
    """Every digit that counts, no exponent, no trailing zeros: 1.50 → 1.5, 1E+3 → 1000, −0 → 0."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def csv_bytes(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[bytes]:
    """A CSV file in pieces of some 64 kB, header first, lines ended as RFC 4180 says. Memory stays the same."""
    lines = [",".join(csv_cell(name) for name in columns) + "\r\n"]
    size = len(lines[0])
    for row in rows:
        line = ",".join([csv_cell(value) for value in row]) + "\r\n"
        lines.append(line)
        size += len(line)
        if size >= _BATCH:
            yield "".join(lines).encode()
            lines, size = [], 0
    if lines:
        yield "".join(lines).encode()
