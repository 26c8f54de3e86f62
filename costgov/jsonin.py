"""The way back from `costgov.jsonout`: JSON as the dataclass it was written from, so that frozen evidence reads as
the value it was, with the same templates and the same API as a fresh one."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


class Unreadable(ValueError):
    """JSON that is not such a value; the message names the place and what stands there."""


def read(kind: type[T], value: Any) -> T:
    """The value of a (frozen) dataclass from its JSON. Unknown members are ignored, a missing one needs a default.

    Raises Unreadable.
    """
    found: T = _read(kind, value, "")
    return found


def _read(kind: Any, value: Any, at: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, UnionType):
        if value is None and NoneType in args:
            return None
        return _read(next(arg for arg in args if arg is not NoneType), value, at)
    if origin is Literal:
        if value not in args:
            raise _unreadable(f"one of {', '.join(map(str, args))}", value, at)
        return value
    if origin is tuple:
        return _read_tuple(args, value, at)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        _need(isinstance(value, dict), "an object", value, at)
        return {key: _read(args[1], member, f"{at}/{key}") for key, member in value.items()}
    if is_dataclass(kind):
        return _read_dataclass(kind, value, at)
    return _read_scalar(kind, value, at)


def _read_tuple(args: tuple[Any, ...], value: Any, at: str) -> tuple[Any, ...]:
    _need(isinstance(value, list), "a list", value, at)
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_read(args[0], member, f"{at}/{index}") for index, member in enumerate(value))
    _need(len(args) == len(value), f"a list of {len(args)}", value, at)
    return tuple(_read(arg, value[index], f"{at}/{index}") for index, arg in enumerate(args))


def _read_dataclass(kind: Any, value: Any, at: str) -> Any:
    _need(isinstance(value, dict), "an object", value, at)
    hints = get_type_hints(kind)
    members = {}
    for field in fields(kind):
        if field.name in value:
            members[field.name] = _read(hints[field.name], value[field.name], f"{at}/{field.name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise Unreadable(f"{at or '/'}: {field.name} is missing")
    return kind(**members)


def _read_scalar(kind: Any, value: Any, at: str) -> Any:
    try:
        if kind is Decimal and isinstance(value, str):
            return Decimal(value)
        if kind in (datetime, date) and isinstance(value, str):
            return kind.fromisoformat(value)
    except (ValueError, InvalidOperation) as error:
        raise _unreadable(kind.__name__, value, at) from error
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    # `type(...) is`: True is an int in Python, not in JSON
    _need(kind in (str, int, bool) and type(value) is kind, getattr(kind, "__name__", str(kind)), value, at)
    return value


def _need(holds: bool, wanted: str, value: Any, at: str) -> None:
    if not holds:
        raise _unreadable(wanted, value, at)


def _unreadable(wanted: str, value: Any, at: str) -> Unreadable:
    return Unreadable(f"{at or '/'}: {value!r:.80} is not {wanted}")
