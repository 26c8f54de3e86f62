"""Values back from the JSON they were kept as: the inverse of writing a dataclass with money as decimal strings."""

from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


class RecordError(ValueError):
    """Kept JSON that is not the value asked for: written by another version, or damaged. Names the field."""


def decode(kind: type[T], data: Any) -> T:
    """`kind` from JSON types: dataclasses from objects, tuples from lists, Decimal from strings, dates from ISO text.

    Fields missing in the data take their default. Raises RecordError for anything else missing, unknown or of a
    different type.
    """
    value: T = _decode(kind, data, kind.__name__)
    return value


def _decode(kind: Any, data: Any, where: str) -> Any:
    if get_origin(kind) is UnionType:
        return _optional(kind, data, where)
    if get_origin(kind) is tuple:
        return _tuple(get_args(kind)[0], data, where)
    if is_dataclass(kind):
        return _dataclass(kind, data, where)
    if kind is Decimal and isinstance(data, str):
        return Decimal(data)
    if kind in (date, datetime) and isinstance(data, str):
        return kind.fromisoformat(data)
    if kind is float and type(data) in (int, float):
        return float(data)
    if kind in (int, str, bool) and type(data) is kind:
        return data
    raise RecordError(f"{where}: expected {getattr(kind, '__name__', kind)}, found {type(data).__name__}")


def _optional(kind: Any, data: Any, where: str) -> Any:
    if data is None and NoneType in get_args(kind):
        return None
    (known,) = (part for part in get_args(kind) if part is not NoneType)
    return _decode(known, data, where)


def _tuple(kind: Any, data: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise RecordError(f"{where}: expected a list, found {type(data).__name__}")
    return tuple(_decode(kind, item, f"{where}[{n}]") for n, item in enumerate(data))


def _dataclass(kind: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise RecordError(f"{where}: expected an object, found {type(data).__name__}")
    hints = get_type_hints(kind)
    known = {field.name for field in fields(kind)}
    if unknown := sorted(set(data) - known):
        raise RecordError(f"{where}: unknown {', '.join(unknown)}")
    values = {name: _decode(hints[name], data[name], f"{where}.{name}") for name in known if name in data}
    try:
        return kind(**values)
    except TypeError as error:
        raise RecordError(f"{where}: {error}") from error
