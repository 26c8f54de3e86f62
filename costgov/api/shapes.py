"""OpenAPI schemas of the dataclasses we answer with: the same value is HTML, JSON and its own description."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Schema = dict[str, Any]
_SCALARS: dict[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number", "format": "double"},
    Decimal: {"type": "string", "format": "decimal"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
}
_names: dict[type, str] = {}
_components: dict[str, Schema] = {}

ERROR: Schema = {
    "type": "object",
    "description": "Every refusal has this form.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string", "description": "For programs: what kind of refusal."},
                "message": {"type": "string", "description": "For people: what, which, and what to do."},
                "fields": {"type": "object", "description": "Problems of the input by field."},
                "findings": {
                    "type": "array",
                    "description": "Problems of a policy document.",
                    "items": {
                        "type": "object",
                        "properties": {"path": {"type": "string"}, "message": {"type": "string"}},
                    },
                },
            },
        }
    },
}
_components["Error"] = ERROR
ERROR_REF: Schema = {"$ref": "#/components/schemas/Error"}


def shape(kind: Any) -> Schema:
    """The schema of a type as `costgov.jsonout` writes it. Raises TypeError for what it cannot write."""
    if kind is Any:
        return {}
    if kind in _SCALARS:
        return dict(_SCALARS[kind])
    if isinstance(kind, TypeVar):
        return {}
    if is_dataclass(kind) and isinstance(kind, type):
        return {"$ref": f"#/components/schemas/{_component(kind)}"}
    if hasattr(kind, "__value__"):  # type X = …
        return shape(kind.__value__)
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"type": "string", "enum": list(args)}
    if origin in (Union, UnionType):
        return _union(args)
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return {"type": "array", "items": shape(args[0])}
        return {"type": "array", "items": shape(args[0]), "minItems": len(args), "maxItems": len(args)}
    if origin in (list, set, frozenset) or getattr(origin, "__name__", "") == "Sequence":
        return {"type": "array", "items": shape(args[0])}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": shape(args[1])}
    if isinstance(kind, type) and issubclass(kind, str):  # StrEnum
        return {"type": "string", "enum": [member.value for member in kind]}  # type: ignore[attr-defined]
    if kind in (dict, Mapping):
        return {"type": "object", "additionalProperties": {}}
    raise TypeError(f"{kind!r} has no JSON form here")


def add_components(result: Schema, generator: Any, request: Any, public: bool) -> Schema:
    """drf-spectacular hook: the dataclasses named so far become components."""
    result.setdefault("components", {}).setdefault("schemas", {}).update(
        {name: _components[name] for name in sorted(_components)}
    )
    return result


def _union(args: tuple[Any, ...]) -> Schema:
    members = [arg for arg in args if arg is not NoneType]
    found = shape(members[0]) if len(members) == 1 else {"oneOf": [shape(member) for member in members]}
    if NoneType not in args:
        return found
    # OpenAPI 3.0: a $ref cannot carry "nullable" beside it.
    return {"allOf": [found], "nullable": True} if "$ref" in found else {**found, "nullable": True}


def _component(kind: type) -> str:
    if kind in _names:
        return _names[kind]
    name = kind.__name__
    if name in _components:  # two modules, one word: the later one says where it is from
        name = "".join(part.capitalize() for part in kind.__module__.rpartition(".")[2].split("_")) + name
    _names[kind] = name
    _components[name] = {}  # named before its fields: a value may hold another of its kind
    hints = get_type_hints(kind)
    members = {field.name: shape(hints[field.name]) for field in fields(kind)}
    said = (kind.__doc__ or "").strip()
    described = {} if said.startswith(f"{kind.__name__}(") else {"description": " ".join(said.split())}
    _components[name] = {"type": "object", **described, "required": list(members), "properties": members}
    return name
