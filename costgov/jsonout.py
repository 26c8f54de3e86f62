"""One JSON form for commands, evidence and the API: money as decimal strings, dates as ISO, dataclasses as objects."""

from dataclasses import is_dataclass
from decimal import Decimal
from typing import Any

import orjson


def dumps(value: Any, *, indent: bool = False) -> bytes:
    """JSON bytes. Decimals become plain decimal strings (never exponents), sets sorted lists."""
    options = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z | (orjson.OPT_INDENT_2 if indent else 0)
    return orjson.dumps(value, default=_default, option=options)


def plain(value: Any) -> Any:
    """The value as JSON types only (for JSON columns)."""
    return orjson.loads(dumps(value))


def _default(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, set | frozenset):
        return sorted(value)
    if is_dataclass(value):  # orjson handles instances itself; classes are a mistake
        raise TypeError(f"{value!r} is a class, not a value")
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
