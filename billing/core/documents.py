"""Reading our own JSON documents (scenarios, contracts): strict, every problem with its place and what to do."""

import json
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final

from billing.core.money import AmountOutOfRange, MoneyError, parse_usd
from billing.core.periods import PeriodError, parse_day

MAX_DOCUMENT_BYTES: Final = 2_000_000
MAX_ROWS: Final = 5000
MAX_TEXT: Final = 300
DECIMALS: Final = frozenset({"percent", "percent_off", "usd_per_unit", "amount_usd"})
DAYS: Final = frozenset({"from", "to", "checked_on"})


class DocumentRefused(ValueError):
    """A document that cannot be used; `problems` lists everything wrong with it, each with its field and a remedy."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def decoded(text: str | bytes, *, schema: str) -> Any:
    """The value of JSON text. Raises DocumentRefused, naming line and column where it is not JSON."""
    if len(text) > MAX_DOCUMENT_BYTES:
        raise DocumentRefused([f"document: {len(text):,} bytes; give at most {MAX_DOCUMENT_BYTES:,}."])
    try:
        plain_text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        if not plain_text.strip():
            raise DocumentRefused([f"document: it is empty; give a JSON object of {schema}."])
        return json.loads(plain_text, object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        raise DocumentRefused([f"document: byte {error.start} is not UTF-8; save it as UTF-8 JSON."]) from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise DocumentRefused([f"{where}: not JSON ({error.msg}); correct it there."]) from error
    except RecursionError as error:
        raise DocumentRefused(["document: nested too deeply; give one flat JSON object."]) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a key given twice is refused, because readers disagree on which one holds."""
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DocumentRefused([f"{name}: given twice in one object; keep one of them." for name in twice])
    return dict(pairs)


def rows_of(document: Mapping[str, Any], key: str, problems: list[str]) -> list[Any]:
    rows = document.get(key, [])
    if not isinstance(rows, list):
        problems.append(f"{key}: {shown(rows)}; give a list.")
        return []
    if len(rows) > MAX_ROWS:
        problems.append(f"{key}: {len(rows):,} entries; give at most {MAX_ROWS:,}.")
        return []
    return rows


def values_of(row: Any, where: str, known: tuple[str, ...], problems: list[str]) -> dict[str, Any] | None:
    """Checked values of one entry by key; None when it has problems."""
    if not isinstance(row, Mapping):
        problems.append(f"{where}: {shown(row)}; give an object with {', '.join(known)}.")
        return None
    before = len(problems)
    problems += [f"{where}.{key}: unknown key; known are {', '.join(known)}." for key in row if key not in known]
    values: dict[str, Any] = {}
    for key in known:
        value = row.get(key)
        if key in DECIMALS:
            values[key] = _decimal(value, f"{where}.{key}", problems)
        elif key in DAYS:
            values[key] = _day(value, f"{where}.{key}", problems)
        elif value is None or (
            isinstance(value, str) and len(value) <= MAX_TEXT and (not value or value.isprintable())
        ):
            values[key] = (value or "").strip()
        else:
            problems.append(f"{where}.{key}: {shown(value)}; give text.")
    return values if len(problems) == before else None


def _decimal(value: Any, where: str, problems: list[str]) -> Decimal | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):  # a JSON number has been through somebody's binary float already
        problems.append(f'{where}: {shown(value)}; write it as a decimal string, e.g. "-20".')
        return None
    try:
        return parse_usd(value.replace("−", "-"))
    except MoneyError as error:
        is_number = isinstance(error, AmountOutOfRange)
        said = "is too large or has too many places" if is_number else "is not a number"
        problems.append(f'{where}: {shown(value)} {said}; write it like "-20" or "12.50".')
        return None


def _day(value: Any, where: str, problems: list[str]) -> date | None:
    if value is None or value == "":
        return None
    try:
        if not isinstance(value, str):
            raise PeriodError("not text")
        return parse_day(value)
    except PeriodError:
        problems.append(f"{where}: {shown(value)}; write the day like 2027-01-01.")
        return None


def plain(number: Decimal | None) -> str:
    if number is None:
        return ""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def shown(value: Any) -> str:
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
