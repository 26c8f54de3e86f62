"""OpenTelemetry's JSON: spans and log records of an OTLP file, one export per line or one JSON value for all.

Attributes are lists of {key, value: {stringValue | intValue | …}}; whole numbers are written as text.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from billing.importers.base import Head, Problem
from billing.importers.reading import records


@dataclass(frozen=True, slots=True)
class Entry:
    """A span or log record with its attributes and those of its resource, as plain values."""

    line: int | None
    value: Mapping[str, Any]
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]


def holds(head: Head, kind: str) -> bool:
    """Whether a file is an OTLP export of `resourceSpans`, `resourceLogs` or `resourceMetrics`."""
    return any(kind in row for row in head.rows) or (not head.rows and f'"{kind}"' in head.text[:4_000])


def entries(path: Path, file_name: str, kind: str, scope_kind: str, item_kind: str) -> Iterator[Entry | Problem]:
    """All items of a file, in order. An export line of another kind holds none."""
    for line, record in records(path, file_name):
        if isinstance(record, Problem):
            yield record
            continue
        if not isinstance(record, dict) or not isinstance(record.get(kind, []), list):
            yield Problem(line, kind, "", "not a list", "Export it as OTLP JSON, as the collector's file exporter does")
            continue
        for i, resource in enumerate(record.get(kind) or []):
            place = f"{kind}[{i}]"
            if not isinstance(resource, dict):
                yield Problem(line, place, "", "not an object", "Export it as OTLP JSON")
                continue
            about = resource.get("resource")
            shared = plain_attributes(about.get("attributes")) if isinstance(about, dict) else {}
            for j, scope in enumerate(_list(resource.get(scope_kind))):
                for k, item in enumerate(_list(scope.get(item_kind)) if isinstance(scope, dict) else []):
                    if isinstance(item, dict):
                        yield Entry(line, item, plain_attributes(item.get("attributes")), shared)
                    else:
                        at = f"{place}.{scope_kind}[{j}].{item_kind}[{k}]"
                        yield Problem(line, at, "", "not an object", "Export it as OTLP JSON")


def plain_attributes(attributes: Any) -> dict[str, Any]:
    """Attributes as a mapping; values of a kind we do not know are left out."""
    found: dict[str, Any] = {}
    for item in _list(attributes):
        if isinstance(item, dict) and isinstance(item.get("key"), str):
            value = _plain(item.get("value"))
            if value is not None:
                found[item["key"]] = value
    return found


def _plain(value: Any) -> Any:
    if not isinstance(value, dict):
        return None
    for kind in ("stringValue", "intValue", "doubleValue", "boolValue"):
        if kind in value:
            return value[kind]
    array = value.get("arrayValue")
    if isinstance(array, dict):
        return [item for item in map(_plain, _list(array.get("values"))) if item is not None]
    return None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
