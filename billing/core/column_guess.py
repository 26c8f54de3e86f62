"""A first mapping for a table nobody has described yet, by its column names and first values. Somebody looks at it."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from billing.core.column_mapping import MAX_NAME, ColumnMapping, names_text, words_of
from billing.core.column_times import TIME_FORMATS, TimeError, has_zone, read_time

_LONG: Final = 200
_SPACES: Final = 11
_NUMBER: Final = re.compile(r"[0-9]+", re.ASCII)
# Joined words of a name → field, the first that fits. Only names that say which kind they are; the rest is asked.
_NAMES: Final[tuple[tuple[str, str], ...]] = (
    (r"(time|timestamp|datetime|date|day|hour|created( at)?|start( ?time| date| at)?|usage date( utc)?|period start|"
     r"occurred at|started at|starting at|bucket start|ts)", "time"),
    (r"(request id|req id|requestid|call id|trace id|generation id|id)", "request_id"),
    (r"(model|model ?name|model id|model version)", "model"),
    (r"(workspace|workspace id|workspace name|project|project id|project name)", "workspace"),
    (r"(api key|api key id|api key name|key|key id|key name|key alias)", "api_key"),
    (r"(class|request class|feature|use case|task|endpoint name)", "class"),
    (r"(.*cache.*(5m|5 min(utes)?).*)", "cache_write_5m"),
    (r"(.*cache.*(1h|1 hour).*)", "cache_write_1h"),
    (r"(.*cache[d]? (creation|write|written).*|.*(creation|write|written) cache.*)", "cache_write"),
    (r"(.*cache[d]? (read|hit).* tok.*|.*cache[d]? read.*|.*cached.*tok.*|.*tok.* cached|cache read)", "cache_read"),
    (r"(.*uncached.*|.*input.* no cache|.*input.*excl.*)", "input_uncached"),
    (r"(prompt tok(en|ens|s)?|.*input.* with cache|.*input.*incl.*|total input tok(ens)?|tokens? prompt)",
     "input_with_cache"),
    (r"(input tok(en|ens|s)?|usage input tokens|tokens? in(put)?|in(put)?)", "input_uncached"),
    (r"(output tok(en|ens|s)?|completion tok(en|ens|s)?|usage output tokens|tokens? out(put)?|tokens? completion|"
     r"out(put)?)", "output"),
    (r"(requests?|request count|num(ber of)? requests|n requests|calls|count)", "requests"),
    (r"(web search(es)?|web search( request)? count|web search requests)", "web_searches"),
    (r"(service tier|tier|usage type)", "service_tier"),
    (r"(geo|inference geo|region)", "geo"),
    (r"(speed|inference speed)", "speed"),
    (r"(latency|duration|elapsed|response time)( ms| milliseconds)", "latency_ms"),
    (r"(latency|duration|elapsed|response time)( s| sec| seconds)", "latency_s"),
    (r"(cost|cost usd|total cost|price|spend|amount|amount usd|usd)", "cost_stated"),
)  # fmt: skip
_GUESSES: Final = tuple((re.compile(pattern), name) for pattern, name in _NAMES)


def looks_like_text(values: Sequence[str]) -> bool:
    """Values long or wordy enough to be what somebody asked or was answered."""
    return any(len(value) > _LONG or value.count(" ") > _SPACES or "\n" in value for value in values)


def masked_columns(header: Sequence[str], rows: Sequence[Mapping[str, str]]) -> frozenset[str]:
    """Columns whose name or values suggest prompt or answer text: not shown, and not to be mapped."""
    return frozenset(
        name for name in header if names_text(name) or looks_like_text([row.get(name, "") for row in rows])
    )


def guess_field(column: str) -> str:
    """The field a column's name says; '' where it does not.

    >>> guess_field("cache_creation_input_tokens"), guess_field("Prompt Tokens"), guess_field("colour")
    ('cache_write', 'input_with_cache', '')
    """
    words = " ".join(words_of(column))
    return next((name for pattern, name in _GUESSES if pattern.fullmatch(words)), "")


def guess_time_format(values: Sequence[str]) -> str:
    """The format that reads all values, the common one first; `iso` where none does or there are none."""
    told = [value for value in values if value]
    for name in TIME_FORMATS if told else ():
        try:
            for value in told:
                read_time(value, time_format=name, zone="UTC")
        except TimeError:
            continue
        return name
    return "iso"


def propose_mapping(
    name: str, header: Sequence[str], rows: Sequence[Mapping[str, str]], *, delimiter: str = ","
) -> ColumnMapping:
    """A mapping to look at and correct. Each field is guessed once; a zone never is where the times name none."""
    masked = masked_columns(header, rows)
    columns: dict[str, str] = {}
    for column in header:
        field = guess_field(column)
        if field and column not in masked and field not in columns.values():
            columns[column] = field
    if "cache_write" in columns.values() and {"cache_write_5m", "cache_write_1h"} & set(columns.values()):
        columns = {column: field for column, field in columns.items() if field != "cache_write"}
    if {"input_uncached", "input_with_cache"} <= set(columns.values()):
        columns = {column: field for column, field in columns.items() if field != "input_with_cache"}
    times = [row.get(column, "") for column, field in columns.items() if field == "time" for row in rows]
    time_format = guess_time_format(times)
    grain = _guess_grain(columns, times, time_format)
    if grain != "request":
        columns = {
            column: field
            for column, field in columns.items()
            if field not in ("request_id", "class", "latency_ms", "latency_s")
        }
    else:
        columns = {column: field for column, field in columns.items() if field != "requests"}
    return ColumnMapping(
        name=name[:MAX_NAME] or "Table",
        header=tuple(header),
        grain=grain,
        columns=columns,
        time_format=time_format,
        zone="",
        delimiter=delimiter,
        source=name[:MAX_NAME] or "Table",
    )


def _guess_grain(columns: Mapping[str, str], times: Sequence[str], time_format: str) -> str:
    fields = set(columns.values())
    if "request_id" in fields and "requests" not in fields:
        return "request"
    if any(words_of(column)[-1:] == ("hour",) for column, field in columns.items() if field == "time"):
        return "hour"
    instants = []
    for value in times:
        try:
            instants.append(read_time(value, time_format=time_format, zone="UTC"))
        except TimeError:
            continue
    if instants and all((at.hour, at.minute, at.second) == (0, 0, 0) for at in instants):
        return "day"
    if instants and all((at.minute, at.second) == (0, 0) for at in instants):
        return "hour"
    return "request"


def names_no_zone(values: Sequence[str], *, time_format: str) -> bool:
    """Some time says no zone: it must be asked for."""
    return any(value and not has_zone(value, time_format=time_format) for value in values)
