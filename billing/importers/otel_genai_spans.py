"""OpenTelemetry GenAI spans as OTLP JSON, with current and older attribute names (formats/observability-exports.md).

Whether `input_tokens` contains cached tokens depends on the emitter. A call that wraps another counts once, below.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from billing.core.usage import TokenCounts
from billing.importers.base import EARLIEST, Head, ImportRefused, Problem
from billing.importers.nesting import MAX_SPANS, Nesting
from billing.importers.otlp import Entry, entries, holds
from billing.importers.reading import Reader, channel_of, is_claude, nanoseconds, other_vendor
from billing.importers.records import (
    INPUT_INCLUDES_CACHE,
    SAMPLED,
    Item,
    Left,
    RequestRow,
    cache_reading,
    uncached_input,
)

_INPUT: Final = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
_OUTPUT: Final = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
_READ: Final = ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens")
_WRITTEN: Final = ("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens")
_MODEL: Final = ("gen_ai.response.model", "gen_ai.request.model")
_VENDOR: Final = ("gen_ai.provider.name", "gen_ai.system")
_CALLS: Final = frozenset({"chat", "text_completion", "generate_content", "completion", "messages"})
_ERROR: Final = (2, "2", "STATUS_CODE_ERROR")


class OtelGenAiSpans:
    """Spans of model calls; agents, tools and embeddings are left out."""

    name = "otel_genai_spans"
    title = "OpenTelemetry GenAI spans: OTLP JSON, one export or one per line"
    names_provider_keys = False
    switches = (INPUT_INCLUDES_CACHE,)
    caveat = SAMPLED

    def claims(self, head: Head) -> bool:
        return holds(head, "resourceSpans")

    def rows(self, path: Path, *, file_name: str, settings: Mapping[str, str]) -> Iterator[Item]:
        nesting = Nesting()
        try:
            for entry in _spans(path, file_name):
                if isinstance(entry, Entry):
                    trace, span, parent = _ids(entry)
                    nesting.add(trace, span, parent, is_call=_is_call(entry))
        except OverflowError as error:
            raise ImportRefused.because(
                file_name, f"more than {MAX_SPANS:,} spans in one file", "Split it by time and import the parts"
            ) from error
        nesting.seal()
        usages = (_usage(entry) for entry in _spans(path, file_name) if isinstance(entry, Entry) and _is_call(entry))
        reading, learned = cache_reading(usages, settings)
        if learned is not None:
            yield learned
        for entry in _spans(path, file_name):
            yield entry if isinstance(entry, Problem) else _item(entry, nesting, reading)


def _spans(path: Path, file_name: str) -> Iterator[Entry | Problem]:
    return entries(path, file_name, "resourceSpans", "scopeSpans", "spans")


def _ids(entry: Entry) -> tuple[str, str, str]:
    trace, span, parent = (entry.value.get(key) for key in ("traceId", "spanId", "parentSpanId"))
    return str(trace or ""), str(span or ""), str(parent or "")


def _is_call(entry: Entry) -> bool:
    operation = entry.attributes.get("gen_ai.operation.name")
    if operation is None:  # the older conventions had none
        return any(key in entry.attributes for key in (*_INPUT, *_OUTPUT))
    return operation in _CALLS


def _usage(entry: Entry) -> tuple[int | None, int, int]:
    reader = Reader(entry.attributes, entry.line, is_text=True)
    if not is_claude(reader.text(*_MODEL), reader.text(*_VENDOR)):
        return entry.line, 0, 0
    tokens, cached = reader.count(*_INPUT), reader.count(*_READ) + reader.count(*_WRITTEN)
    return (entry.line, 0, 0) if reader.problems else (entry.line, tokens, cached)


def _item(entry: Entry, nesting: Nesting, reading: str) -> RequestRow | Problem | Left:
    if not _is_call(entry):
        return Left("a span that is no model call")
    trace, span, _ = _ids(entry)
    reader = Reader(entry.attributes, entry.line, place="attributes.", is_text=True)
    model, vendor = reader.text(*_MODEL), reader.text(*_VENDOR)
    if not reader.problems and not is_claude(model, vendor):
        return Left(other_vendor(model))
    if nesting.is_outer(trace, span):
        return Left("a call that wraps another one, which is counted")
    started = nanoseconds(entry.value.get("startTimeUnixNano"))
    if started is None:
        told = Reader(entry.value, entry.line, problems=reader.problems)
        told.wrong("startTimeUnixNano", "not a time in nanoseconds since 1970", "Export the spans as OTLP JSON")
    ended = nanoseconds(entry.value.get("endTimeUnixNano"))
    response_id = reader.text("gen_ai.response.id")
    if not (trace and span) and not response_id:
        Reader(entry.value, entry.line, problems=reader.problems).wrong(
            "spanId", "missing, and the trace's or the answer's id too", "Export the spans as OTLP JSON"
        )
    has_usage = reader.told(*_INPUT) is not None or reader.told(*_OUTPUT) is not None
    status = entry.value.get("status")
    is_failed = not has_usage and isinstance(status, dict) and status.get("code") in _ERROR
    if not has_usage and not is_failed and not reader.problems:
        return Left("a model call that tells no tokens")
    tokens, read, written = reader.count(*_INPUT), reader.count(*_READ), reader.count(*_WRITTEN)
    uncached = uncached_input(reader, _INPUT, tokens, read + written, reading)
    output, max_tokens = reader.count(*_OUTPUT), reader.record.get("gen_ai.request.max_tokens")
    if reader.problems:
        return reader.problems[0]
    resource = entry.resource
    return RequestRow(
        occurred_at=started or EARLIEST,
        counts=TokenCounts(
            uncached_input_tok=uncached, cache_read_tok=read, cache_write_5m_tok=written, output_tok=output
        ),
        model=model,
        response_id=response_id,
        own_id=f"otel:{trace}:{span}",
        channel=channel_of(vendor),
        is_failed=is_failed,
        latency_ms=round((ended - started).total_seconds() * 1000) if ended and started and ended >= started else None,
        is_split_assumed=written > 0,
        facts={
            "model": reader.record.get("gen_ai.request.model"),
            "max_tokens": int(str(max_tokens)) if str(max_tokens).isdecimal() and len(str(max_tokens)) < 10 else None,
            "agent": reader.record.get("gen_ai.agent.name"),
            "environment": resource.get("deployment.environment.name") or resource.get("deployment.environment"),
            "meta.service_name": resource.get("service.name"),
        },
        line=entry.line,
    )
