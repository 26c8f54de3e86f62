"""Request logs kept as Parquet: our envelope with nested columns, or with JSON text in text columns.

The fast path gives the same relation that JSON lines give (messages_api_log.py, `columns`): raw JSON values of the
fields needed, so one SQL reads both. Of a nested column only those fields are read from the file; prompts and answers
are not. The careful path gives the same records row by row.
"""
# ruff: noqa: S608 - statements are put together from constants of this module and quoted paths and names

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from billing.importers.base import ImportRefused, Problem, RowNumber, loads_strict, shown
from billing.importers.sql import literal

_JSON: Final = "JSON"  # any JSON value, where text holds JSON
_ROWS_AT_ONCE: Final = 2_000
_MEMORY: Final = "300MB"
Shape = Mapping[str, Any]

_USAGE: Final[Shape] = {
    "input_tokens": None, "cache_creation_input_tokens": None, "cache_read_input_tokens": None,
    "cache_creation": {"ephemeral_5m_input_tokens": None, "ephemeral_1h_input_tokens": None},
    "output_tokens": None, "server_tool_use": {"web_search_requests": None}, "service_tier": None,
    "inference_geo": None, "speed": None, "iterations": _JSON,
}  # fmt: skip
SHAPE: Final[Shape] = {
    "timestamp": None, "request_id": None, "organization_id": None, "workspace_id": None, "api_key_id": None,
    "path": None, "http_status": None, "latency_ms": None,
    "request": {"model": None, "max_tokens": None, "stream": None}, "tags": _JSON, "facts": _JSON,
    "decision": {"class": None, "rule": None, "version": None, "arm": None},
    "response": {"id": None, "model": None, "usage": _USAGE},
}  # fmt: skip
# A nested response is there when one of these is: asking for the whole would read the answers' text.
_SIGNS_OF_RESPONSE: Final = ("id", "model", "usage", "type", "role")
_NEEDED: Final = (
    "Needed are the columns timestamp (with its zone) and response (nested with id, model and usage, or JSON text), "
    "with request_id beside them or response.id"
)


@dataclass(frozen=True, slots=True)
class _Column:
    """One value of a record on the careful path. `is_text`: JSON text of the file, which may be broken."""

    path: tuple[str, ...]
    sql: str
    is_text: bool = False


def check_columns(path: Path, file_name: str) -> None:
    """Raises ImportRefused for a file that is damaged, or whose columns are not those of a request log."""
    try:
        with _connection() as connection:
            _Reader(connection, path).check(file_name)
    except duckdb.Error as error:
        raise _damaged(file_name) from error


def parquet_rows(connection: duckdb.DuckDBPyConnection, path: Path, rows: str) -> str:
    """`rows` (SQL over {source}, messages_api_log.py) over a Parquet file. Raises duckdb.Error for a damaged one."""
    reader = _Reader(connection, path)
    if reader.has_instants:
        rows = rows.replace("instant(timestamp)", "timestamp")
    return rows.replace("{source}", f"({reader.relation()})")


def each_parquet_record(path: Path, file_name: str) -> Iterator[tuple[int, Any | Problem]]:
    """Records with their row number (from 1), or the Problem of a row with broken JSON text. Raises ImportRefused."""
    try:
        with _connection() as connection:
            reader = _Reader(connection, path)
            columns = reader.columns()
            selected = ", ".join(each.sql for each in columns)
            (count,) = connection.execute(f"SELECT count(*) FROM {reader.source}").fetchall()[0]
            for begin in range(0, count, _ROWS_AT_ONCE):
                found = connection.execute(
                    f"SELECT {selected} FROM {reader.source} "
                    f"WHERE file_row_number >= {begin} AND file_row_number < {begin + _ROWS_AT_ONCE} "
                    "ORDER BY file_row_number"
                ).fetchall()
                for number, values in enumerate(found, start=begin + 1):
                    yield RowNumber(number), _record(RowNumber(number), columns, values)
    except duckdb.Error as error:
        raise _damaged(file_name) from error


class _Reader:
    """How each field is read from the types that one file has."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        name = "'" + literal(path).replace("'", "''") + "'"
        self.source = (
            f"read_parquet({name}, file_row_number = true, binary_as_string = true, hive_partitioning = false)"
        )
        found = connection.sql(f"SELECT * FROM {self.source} LIMIT 0")
        self.types = dict(zip(found.columns, found.types, strict=True))
        self.types.pop("file_row_number", None)
        physical = connection.execute(f"SELECT name, type FROM parquet_schema({name})").fetchall()
        self.is_int96 = ("timestamp", "INT96") in physical  # Spark's and Impala's own, which is always UTC
        self.sound: list[str] = []

    @property
    def has_instants(self) -> bool:
        return str(self.types["timestamp"]).startswith("TIMESTAMP")

    def check(self, file_name: str) -> None:
        types = self.types
        missing = [name for name in ("timestamp", "response") if name not in types]
        response = types.get("response")
        if not missing and "request_id" not in types and _is_struct(response) and "id" not in _fields(response):
            missing = ["request_id"]
        if missing:
            held = ", ".join(types)
            raise ImportRefused.because(
                file_name,
                f"this Parquet file is no request log: no column {' or '.join(missing)}; its columns are {shown(held)}",
                _NEEDED,
            )
        kind = str(types["timestamp"])
        if kind.startswith("TIMESTAMP") and "TIME ZONE" not in kind and not self.is_int96:
            raise ImportRefused.because(
                file_name,
                "the times name no zone, so nobody can tell which day they are of",
                "Write the column as an instant in UTC (isAdjustedToUTC; TIMESTAMPTZ in DuckDB, timestamp('us', 'UTC') "
                "in pyarrow), or as text like 2026-11-09T14:00:00Z",
                field="timestamp",
                value=kind,
            )
        if not (kind.startswith("TIMESTAMP") or _is_text(types["timestamp"])):
            raise ImportRefused.because(
                file_name, "not an instant", "Write it as a timestamp in UTC, or as text", field="timestamp", value=kind
            )
        for name in ("request", "decision", "response", "tags", "facts"):
            if name in types and not (_is_text(types[name]) or _is_nested(types[name]) or _is_null(types[name])):
                raise ImportRefused.because(
                    file_name,
                    "not an object",
                    "Write the column nested, or as JSON text",
                    field=name,
                    value=str(types[name]),
                )

    # --- fast ---

    def relation(self) -> str:
        """SQL of the columns of JSON lines, each leaf a raw JSON value."""
        self.sound = []
        parts = {name: self._value(name, part) for name, part in SHAPE.items()}
        is_sound = " AND ".join([self._is_there(), *self.sound])
        parts["response"] = f"CASE WHEN {is_sound} THEN {parts['response']} END"
        columns = ", ".join(f"{sql} AS {name}" for name, sql in parts.items())
        return f"SELECT {columns}, NULL::VARCHAR AS costgov_part FROM {self.source}"

    def _value(self, name: str, part: Any) -> str:
        if name not in self.types:
            return _nothing(part)
        if name == "timestamp" and self.has_instants:
            return f"CAST({_quoted(name)} AS TIMESTAMP)"
        return self._node(_quoted(name), self.types[name], part)

    def _node(self, sql: str, kind: Any, part: Any) -> str:
        if _is_null(kind):
            return _nothing(part)
        if not isinstance(part, Mapping):
            return _leaf(sql, kind, is_json=part == _JSON)
        if not _is_struct(kind):
            # JSON text (or a map, written as such): objects where objects belong, and no key twice.
            text = _json_text(sql, kind)
            paths = _paths(part)
            self.sound.append(
                f"coalesce(len(list_filter(json_type({text}, {paths}), lambda t: t NOT IN ('OBJECT', 'NULL'))) = 0 "
                f"AND len(list_filter(json_keys({text}, {paths}), lambda k: len(k) <> len(list_distinct(k)))) = 0, "
                f"{text} IS NULL)"
            )
            return f"json_transform({text}, '{json.dumps(_json_shape(part))}')"
        fields = _fields(kind)
        inner = ", ".join(
            f'"{name}" := ' + (self._node(_field(sql, name), fields[name], each) if name in fields else _nothing(each))
            for name, each in part.items()
        )
        packed = f"struct_pack({inner})"
        return f"CASE WHEN {sql} IS NOT NULL THEN {packed} END" if part is _USAGE else packed

    def _is_there(self) -> str:
        """SQL: the row has a response."""
        kind = self.types["response"]
        if _is_null(kind):
            return "false"
        if not _is_struct(kind):
            return f"coalesce(json_type({_json_text('response', kind)}) = 'OBJECT', false)"
        signs = [f"{_field('response', name)} IS NOT NULL" for name in _SIGNS_OF_RESPONSE if name in _fields(kind)]
        return f"({' OR '.join(signs) or 'false'})"

    # --- careful ---

    def columns(self) -> list[_Column]:
        found: list[_Column] = []
        for name, part in SHAPE.items():
            if name not in self.types or _is_null(self.types[name]):
                continue
            if name == "timestamp" and self.has_instants:
                at = f"CAST(CAST({_quoted(name)} AS TIMESTAMP) AS VARCHAR)"
                found.append(_Column((name,), f"CAST(to_json(replace({at}, ' ', 'T') || 'Z') AS VARCHAR)"))
                continue
            found += self._columns((name,), _quoted(name), self.types[name], part)
        return found

    def _columns(self, path: tuple[str, ...], sql: str, kind: Any, part: Any) -> Iterator[_Column]:
        if not isinstance(part, Mapping):
            yield (
                _Column(path, _leaf(sql, kind, is_json=False), _is_json(kind))
                if part is None
                else _Column(path, _json_text(sql, kind), True)
            )
        elif not _is_struct(kind):
            yield _Column(path, _json_text(sql, kind), True)
        else:
            is_there = self._is_there() if path == ("response",) else f"{sql} IS NOT NULL"
            if path[0] != "response" or len(path) > 2:
                is_there = "true"  # whether it is null or empty makes no difference
            yield _Column(path, f"CASE WHEN {is_there} THEN '{{}}' END")
            for name, each in part.items():
                if name in _fields(kind) and not _is_null(_fields(kind)[name]):
                    yield from self._columns((*path, name), _field(sql, name), _fields(kind)[name], each)


def _record(row: RowNumber, columns: list[_Column], values: tuple[Any, ...]) -> Any | Problem:
    record: dict[str, Any] = {}
    for column, value in zip(columns, values, strict=True):
        holder: Any = record
        for name in column.path[:-1]:
            holder = holder.get(name) if isinstance(holder, dict) else None
        if not isinstance(holder, dict):
            continue  # a part of what is not there
        try:
            holder[column.path[-1]] = None if value is None else loads_strict(value)
        except (ValueError, RecursionError) as error:
            reason = "not valid JSON text" if isinstance(error, json.JSONDecodeError | RecursionError) else str(error)
            return Problem(row, ".".join(column.path), "", reason, "Write the column nested, or as valid JSON text")
    return record


def _leaf(sql: str, kind: Any, *, is_json: bool) -> str:
    """SQL of a raw JSON value. Whole numbers in columns of fractions are whole: some writers know no others."""
    if _is_json(kind):
        return f"CAST(json({sql}) AS VARCHAR)"
    match str(kind).partition("(")[0]:
        case "VARCHAR" | "ENUM" if is_json:
            return f"CAST(json({sql}) AS VARCHAR)"
        case "TINYINT" | "SMALLINT" | "INTEGER" | "BIGINT" | "UTINYINT" | "USMALLINT" | "UINTEGER" | "UBIGINT":
            return f"CAST({sql} AS VARCHAR)"
        case "BOOLEAN" | "HUGEINT" | "UHUGEINT":
            return f"CAST({sql} AS VARCHAR)"
        case "DOUBLE" | "FLOAT" | "DECIMAL":
            number = f"CAST({sql} AS DOUBLE)"
            return (
                f"CASE WHEN isnan({number}) THEN NULL WHEN isinf({number}) THEN '\"infinite\"' "
                f"WHEN {number} = trunc({number}) AND abs({number}) < 1e15 THEN CAST(CAST({sql} AS BIGINT) AS VARCHAR) "
                f"ELSE CAST(to_json({number}) AS VARCHAR) END"
            )
        case _:
            return f"CAST(to_json({sql}) AS VARCHAR)"


def _json_text(sql: str, kind: Any) -> str:
    return sql if _is_text(kind) else f"CAST(to_json({sql}) AS VARCHAR)"


def _nothing(part: Any) -> str:
    """SQL of a value that the file does not have."""
    if not isinstance(part, Mapping):
        return "NULL::VARCHAR"
    return "NULL::" + _struct_type(part)


def _struct_type(part: Shape) -> str:
    inner = (
        f'"{name}" {_struct_type(each) if isinstance(each, Mapping) else "VARCHAR"}' for name, each in part.items()
    )
    return f"STRUCT({', '.join(inner)})"


def _json_shape(part: Shape) -> dict[str, Any]:
    return {name: _json_shape(each) if isinstance(each, Mapping) else "JSON" for name, each in part.items()}


def _paths(part: Shape, at: str = "$") -> list[str]:
    found = [at]
    for name, each in part.items():
        if isinstance(each, Mapping):
            found += _paths(each, f"{at}.{name}")
    return found


def _quoted(name: str) -> str:
    return f'"{name}"'


def _field(sql: str, name: str) -> str:
    return f"{sql}.{_quoted(name)}"


def _is_json(kind: Any) -> bool:
    return str(kind) == "JSON"


def _is_text(kind: Any) -> bool:
    return str(kind) in ("VARCHAR", "JSON") or str(kind).startswith("ENUM")


def _is_struct(kind: Any) -> bool:
    return str(kind).startswith("STRUCT(") and not str(kind).endswith("]")


def _is_nested(kind: Any) -> bool:
    return _is_struct(kind) or str(kind).startswith("MAP(")


def _is_null(kind: Any) -> bool:
    return str(kind).strip('"') == "NULL"


def _fields(kind: Any) -> dict[str, Any]:
    return dict(kind.children)


@contextmanager
def _connection() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect(
        config={
            "threads": 1,
            "memory_limit": _MEMORY,
            "temp_directory": "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


def _damaged(file_name: str) -> ImportRefused:
    return ImportRefused.because(
        file_name,
        "the Parquet file cannot be read: it ends early, is damaged or encrypted",
        "Copy or write the file again, unencrypted",
    )
