"""Reading rows of bills leniently: what is not as the specification says is normalised, counted and reported."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from billing.core.money import MoneyError, parse_usd
from billing.core.periods import PeriodError, parse_instant
from billing.importers.base import (
    BROKEN_COMPRESSION,
    MAX_LINE_BYTES,
    Head,
    ImportRefused,
    Problem,
    RowNumber,
    broken_compression,
    open_bytes,
    read_whole,
    shown,
)
from billing.importers.cost_base import MAX_PLACES, AmountError, stored

_US_DATE: Final = re.compile(
    r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{2}|[0-9]{4})(?:[ T]([0-9]{1,2}):([0-9]{2})(?::[0-9]{2})?)?"
)
_PLAIN: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[ T]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.[0-9]+)?)?)?(?: ?UTC)?"
)
_STEP: Final = Decimal(1).scaleb(-MAX_PLACES)
_REMEDY: Final = "Correct the row at its source, or export the bill again"


@dataclass
class Notes:
    """What was normalised while a bill was read, by remark, with the number of fields."""

    counts: Counter[str] = field(default_factory=Counter)

    def __call__(self, remark: str) -> None:
        self.counts[remark] += 1

    def findings(self) -> list[str]:
        return [
            f"{remark} ({count:,} time{'s' if count != 1 else ''})." for remark, count in sorted(self.counts.items())
        ]


@dataclass
class BillRow:
    """One row by column name, with its line, what is wrong with it, and the notes of its file."""

    line: int
    values: Mapping[str, str]
    notes: Notes
    problems: list[Problem] = field(default_factory=list)
    nulls: set[str] = field(default_factory=set)

    def text(self, name: str) -> str:
        """A field without blanks around it; the word NULL is no value."""
        value = self.values.get(name, "")
        if value in ("NULL", "null"):
            if name not in self.nulls:
                self.nulls.add(name)
                self.notes("The text NULL was read as no value")
            return ""
        return value

    def wrong(self, name: str, message: str, remedy: str = _REMEDY) -> None:
        held = self.values.get(name, "")
        self.problems.append(Problem(self.line, name, shown(held) if held else "", message, remedy))

    def amount(self, name: str, *, needed: bool = False) -> Decimal | None:
        """A number as money columns hold it; more than 15 places are rounded, and said."""
        text = self.text(name)
        if not text:
            if needed:
                self.wrong(name, "missing")
            return None
        try:
            number = parse_usd(text)
        except MoneyError:
            self.wrong(name, "not a plain decimal number", "Write digits with a point and no separators, e.g. 1234.56")
            return None
        exponent = number.as_tuple().exponent
        if isinstance(exponent, int) and -exponent > MAX_PLACES:
            kept = number.quantize(_STEP, rounding=ROUND_HALF_EVEN)
            if kept != number:
                self.notes(f"A number of more than {MAX_PLACES} decimal places was rounded to {MAX_PLACES}")
            number = kept
        try:
            return stored(number)
        except AmountError as error:
            self.wrong(name, str(error))
            return None

    def instant(self, name: str, *, needed: bool = True) -> datetime | None:
        """An instant in UTC. Without a zone it is UTC, as the specification demands; 5/1/25 is month/day/year."""
        text = self.text(name)
        if not text:
            if needed:
                self.wrong(name, "missing")
            return None
        at, remark = _read_instant(text)
        if remark:
            self.notes(remark)
        if at is None:
            self.wrong(name, "not a time", "Write times like 2026-11-09T14:00:00Z")
        return at

    def month(self, name: str, otherwise: datetime | None) -> date | None:
        """The first day of the month a bill's period begins in."""
        at = self.instant(name, needed=otherwise is None) or otherwise
        return at.date().replace(day=1) if at is not None else None

    def mapping(self, name: str) -> dict[str, str]:
        """A JSON object of texts, as maps are written in CSV; anything else is no mapping, and said."""
        text = self.text(name)
        if not text or text == "{}":
            return {}
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            self.notes(f"{name} was no JSON object and was left out")
            return {}
        return {str(key)[:255]: str(item)[:1000] for key, item in value.items() if item is not None}


@lru_cache(maxsize=8_192)  # a bill's rows share their hours
def _read_instant(text: str) -> tuple[datetime | None, str]:
    """The instant a text means, with what had to be assumed; None where it means none."""
    try:
        return parse_instant(text), ""
    except PeriodError:
        pass
    try:
        if match := _PLAIN.fullmatch(text):
            year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
            remark = "" if "UTC" in text else "A time without a zone was read as UTC"
            return datetime(year, month, day, hour, minute, second, tzinfo=UTC), remark
        if match := _US_DATE.fullmatch(text):
            month, day, year, hour, minute = (int(part or 0) for part in match.groups())
            at = datetime(year if year > 99 else 2000 + year, month, day, hour, minute, tzinfo=UTC)
            return at, "A date like 5/1/25 was read as month/day/year, in UTC"
    except ValueError:
        pass
    return None, ""


def holds_rows(head: Head) -> bool:
    """JSON lines, or one JSON array of objects."""
    return bool(head.rows) and (head.is_lines or head.text.lstrip().startswith("["))


def json_rows(path: Path, file_name: str) -> Iterator[tuple[int, Mapping[str, Any] | Problem]]:
    """Rows of JSON lines or of one JSON array, with numbers kept as they are written: no amount becomes a float.

    Raises ImportRefused for an array that is broken or would fill the memory.
    """
    try:
        with open_bytes(path) as file:
            if _begins_array(path):
                yield from _array_rows(read_whole(file, file_name), file_name)
                return
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if not (text := line.removeprefix(b"\xef\xbb\xbf").strip()):
                    continue
                try:
                    value = json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
                except (ValueError, RecursionError):
                    value = None
                if isinstance(value, dict):
                    yield number, value
                else:
                    what = "not a JSON object in UTF-8"
                    yield number, Problem(number, "", "", what, "The file may be cut off; export it again")
    except BROKEN_COMPRESSION as error:
        raise broken_compression(file_name) from error


def _begins_array(path: Path) -> bool:
    with open_bytes(path) as file:
        return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _array_rows(data: bytes, file_name: str) -> Iterator[tuple[int, Mapping[str, Any] | Problem]]:
    try:
        value = json.loads(data.removeprefix(b"\xef\xbb\xbf"), parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", "not text in UTF-8, or nested too deeply")
        raise ImportRefused.because(
            file_name,
            f"not valid JSON ({reason})",
            "The file may be cut off; export it again",
            line=getattr(error, "lineno", None),
        ) from error
    for index, item in enumerate(value, start=1):
        number = RowNumber(index)
        if isinstance(item, dict):
            yield number, item
        else:
            yield number, Problem(number, "", "", "not a JSON object", "Write one object per row of the bill")


def refuse_empty(file_name: str, count: int) -> None:
    """Raise ImportRefused for a bill without rows."""
    if not count:
        raise ImportRefused.because(file_name, "the bill has no rows", "Check what was exported")
