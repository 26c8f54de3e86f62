"""The fast path of a request-level format: SQL over JSON lines in which prompt text never leaves the reader.

`RequestFormat.rows` selects ROW_COLUMNS, `names`, `traits` and is_bad from {source}. `names` and `traits` there are
texts made with `packed` from raw JSON values; `RequestFormat.names` and `.traits` select from {combos}, a relation with
that text, the columns NAME_COLUMNS or TRAIT_COLUMNS and is_bad. A million requests have some hundred combinations, so
that what is dear to read (facts, classes) is read some hundred times.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from billing.importers.base import FACT_KEYS, FACT_PATTERN, MAX_FACT_CHARS

ID_COLUMNS: Final = ("provider_id", "response_id", "own_id")
ROW_COLUMNS: Final = (
    "occurred_at", "provider_id", "response_id", "own_id", "is_failed", "requests", "latency_ms", "uncached_input_tok",
    "cache_read_tok", "cache_write_5m_tok", "cache_write_1h_tok", "output_tok", "web_searches", "is_split_assumed",
    "is_gateway_cache_hit",
)  # fmt: skip
NAME_COLUMNS: Final = (
    "organisation", "channel", "workspace", "api_key", "model_raw", "service_tier", "geo", "speed",
)  # fmt: skip
TRAIT_COLUMNS: Final = ("class_tag", "decided_class", "rule", "policy_version", "arm", "facts")
STAGE_COLUMNS: Final = (
    "occurred_at", "provider_id", "response_id", "own_id", *NAME_COLUMNS, *TRAIT_COLUMNS[:-1], *ROW_COLUMNS[4:],
    "facts",
)  # fmt: skip

_INSTANTS: Final = {
    '"____-__-__T__:__:__.___Z"': '"%Y-%m-%dT%H:%M:%S.%gZ"',
    '"____-__-__T__:__:__Z"': '"%Y-%m-%dT%H:%M:%SZ"',
    '"____-__-__T__:__:__.______Z"': '"%Y-%m-%dT%H:%M:%S.%fZ"',
    '"____-__-__T__:__:__.______+00:00"': '"%Y-%m-%dT%H:%M:%S.%f+00:00"',
}  # what loggers usually write

# A count must be a whole JSON number of at most 12 digits: anything else (a fraction, a minus sign, 1e9, NaN, a number
# in quotes) leaves null, which marks the row bad. `txt` and `instant` read the usual shapes as they are, the others
# with care: that is what makes them cheap.
MACROS: Final = (
    "CREATE OR REPLACE MACRO told(v) AS (v IS NOT NULL AND v <> 'null')",
    "CREATE OR REPLACE MACRO is_text(v) AS (v IS NULL OR v = 'null' OR starts_with(v, '\"'))",
    "CREATE OR REPLACE MACRO txt(v) AS (CASE WHEN NOT told(v) THEN '' "
    "WHEN starts_with(v, '\"') AND strlen(v) <= 257 AND NOT contains(v, chr(92)) AND NOT starts_with(v, '\" ') "
    "AND NOT ends_with(v, ' \"') THEN v ->> '$' "
    "ELSE left(trim(replace(v ->> '$', chr(0), '')), 255) END)",
    "CREATE OR REPLACE MACRO cnt(v) AS (CASE WHEN v IS NULL OR v = 'null' THEN 0::BIGINT "
    "WHEN strlen(v) <= 12 AND NOT contains(v, '.') AND NOT contains(v, 'e') AND NOT contains(v, 'E') "
    "THEN CAST(TRY_CAST(CAST(v AS VARCHAR) AS UBIGINT) AS BIGINT) END)",
    # The same where a row is bad anyway unless all its counts together are free of points and exponents.
    "CREATE OR REPLACE MACRO whole(v) AS (CASE WHEN v IS NULL OR v = 'null' THEN 0::BIGINT "
    "ELSE CAST(TRY_CAST(CAST(v AS VARCHAR) AS UBIGINT) AS BIGINT) END)",
    "CREATE OR REPLACE MACRO int32(v) AS (CASE WHEN regexp_full_match(v, '[0-9]{1,9}') "
    "THEN CAST(CAST(v AS VARCHAR) AS INTEGER) ELSE 0 END)",
    # `try_strptime` takes only digits and is cheaper than a cast; LIKE sees to the length of its fields. A cast reads
    # hour 24 as the next day, and offsets of any size: a file must not count otherwise than row by row.
    "CREATE OR REPLACE MACRO instant(v) AS (CASE "
    + " ".join(
        f"WHEN v LIKE '{shape}' THEN try_strptime(CAST(v AS VARCHAR), '{fields}')"
        for shape, fields in _INSTANTS.items()
    )
    + " WHEN regexp_full_match(txt(v), '[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]([01][0-9]|2[0-3]):[0-9]{2}"
    "(:[0-9]{2}([.][0-9]+)?)?([Zz]|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])') "
    "THEN CAST(TRY_CAST(upper(txt(v)) AS TIMESTAMPTZ) AS TIMESTAMP) END)",
    "CREATE OR REPLACE MACRO ms(v) AS (CASE WHEN regexp_full_match(v, '[0-9]{1,12}') "
    "THEN CAST(CAST(v AS VARCHAR) AS BIGINT) WHEN regexp_full_match(v, '[0-9]{1,12}[.][0-9]+') "
    "THEN CAST(round(CAST(CAST(v AS VARCHAR) AS DOUBLE)) AS BIGINT) END)",
)
FACTS_OF_ENTRIES: Final = (
    "CAST(map_from_entries(list_filter({entries}, lambda e: told(e.value) AND length(e.value) <= "
    + str(MAX_FACT_CHARS)
    + ")) AS JSON)::VARCHAR"
)
IS_FACT_KEY: Final = (
    "(e.key IN (" + ", ".join(f"'{key}'" for key in FACT_KEYS) + f") OR regexp_full_match(e.key, '{FACT_PATTERN}'))"
)


def packed(parts: Mapping[str, str]) -> str:
    """SQL of one text from raw JSON values (name → SQL). They hold no control characters: JSON escapes them."""
    return "concat(" + ", chr(31), ".join(parts.values()) + ")"


def unpacked(column: str, parts: Mapping[str, str]) -> str:
    """SQL of the raw JSON values again, under their names, from the packed `column` of {combos}."""
    names = ", ".join(f"CAST(nullif(p[{i}], '') AS JSON) AS {name}" for i, name in enumerate(parts, start=1))
    return f"(SELECT {column}, {names} FROM (SELECT {column}, string_split({column}, chr(31)) AS p FROM {{combos}}))"  # noqa: S608 - constants


def as_map(value: str) -> str:
    """SQL of a raw JSON object as a map, null where it is none or names a key twice."""
    return f"CASE WHEN starts_with({value}, chr(123)) THEN TRY_CAST(CAST({value} AS JSON) AS MAP(VARCHAR, JSON)) END"


def literal(path: Path | str) -> str:
    """A path as read_json and read_parquet take it for this one file: they read patterns, and `log[1]` is one.

    >>> literal("/logs/log[1].jsonl")
    '/logs/log[[]1].jsonl'
    """
    return re.sub(r"[*?[]", r"[\g<0>]", str(path))
