"""promptfoo results: the JSON document (version 3) and the JSON lines output (formats/eval-results.md, "promptfoo").

`prompt` tokens include cache reads and writes and are made exclusive here. A result from promptfoo's own response cache
keeps its verdict, but has no cost, latency or tokens. A grader's tokens (`assertions`) are not the candidate's.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from routing.core.evidence import CaseResult
from routing.core.models import canonical_model_name
from routing.importers.base import (
    NO_OPTIONS,
    EvalImportError,
    ReadOptions,
    RejectedRow,
    cost_usd,
    error_kind,
    instant,
    latency_ms,
    split_suite,
    text,
    tokens,
)

VERSION = 3
FAILURE_ERROR = 2  # failureReason: 0 none, 1 assertion, 2 error
_AGAIN = "Export it again with promptfoo eval --output results.json"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Promptfoo:
    """`promptfoo eval --output results.json` or `results.jsonl`."""

    name: str = "promptfoo"
    description: str = "promptfoo results, JSON (version 3) or JSON lines"

    def detects(self, head: bytes, filename: str) -> bool:
        start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        if not start.startswith(b"{"):
            return False
        is_document = b'"evalId"' in head and b'"results"' in head
        is_result = (b'"promptIdx"' in head or b'"testIdx"' in head) and b'"gradingResult"' in head
        return is_document or is_result

    def read(self, path: Path, options: ReadOptions = NO_OPTIONS) -> Iterator[CaseResult | RejectedRow]:
        try:
            with path.open(encoding="utf-8-sig") as file:
                first = file.readline()
                if _is_result_line(first):
                    file.seek(0)
                    yield from _read_lines(file, path.name, options)
                else:
                    yield from _read_document(first + file.read(), path.name, options)
        except UnicodeDecodeError as error:
            raise EvalImportError(f"is not UTF-8 (byte {error.start})", remedy=_AGAIN, file=path.name) from error


def _is_result_line(line: str) -> bool:
    try:
        found = _loads(line)
    except ValueError:
        return False
    return isinstance(found, dict) and "results" not in found


def _read_lines(lines: Iterator[str], file: str, options: ReadOptions) -> Iterator[CaseResult | RejectedRow]:
    reader = _ResultReader(suite=options.suite, run_at=options.run_at, request_class=options.request_class)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            result = _loads(line)
        except EvalImportError as error:
            yield RejectedRow(error.at(file=file, line=number))
            continue
        except json.JSONDecodeError as error:
            problem = f"is not JSON at column {error.colno} ({error.msg}): the line is damaged or the file truncated"
            yield RejectedRow(EvalImportError(problem, remedy=_AGAIN, file=file, line=number))
            continue
        try:
            yield reader.read(result)
        except EvalImportError as error:
            yield RejectedRow(error.at(file=file, line=number))


def _read_document(content: str, file: str, options: ReadOptions) -> Iterator[CaseResult | RejectedRow]:
    if not content.strip():
        raise EvalImportError("is empty", remedy=_AGAIN, file=file)
    try:
        root = _loads(content)
    except EvalImportError as error:
        raise error.at(file=file) from error
    except json.JSONDecodeError as error:
        ended = "ends early: the file is truncated" if error.pos >= len(content.rstrip()) - 1 else error.msg
        problem = f"is not complete JSON at column {error.colno} ({ended})"
        raise EvalImportError(problem, remedy=_AGAIN, file=file, line=error.lineno) from error
    try:
        results, reader = _open_document(root, options)
    except EvalImportError as error:
        raise error.at(file=file) from error
    for index, result in enumerate(results):
        try:
            yield reader.read(result)
        except EvalImportError as error:
            yield RejectedRow(error.at(file=file, where=f"results.results[{index}]"))


def _open_document(root: object, options: ReadOptions) -> tuple[list[Any], "_ResultReader"]:
    """The list of results and what the document says about all of them."""
    summary = _mapping(_mapping(root, "the document").get("results"), "results")
    version = summary.get("version")
    if version != VERSION:
        remedy = f"Only version {VERSION} is read: export with a current promptfoo"
        raise EvalImportError("is another version", remedy=remedy, field="results.version", value=version)
    results = summary.get("results")
    if not isinstance(results, list) or not results:
        problem = "is not a list" if not isinstance(results, list) else "holds no result"
        raise EvalImportError(problem, remedy="Run the evaluation, then export it again", field="results.results")
    config = root.get("config") if isinstance(root, dict) else None
    described = config.get("description") if isinstance(config, dict) else None
    at = instant(summary["timestamp"], "results.timestamp") if summary.get("timestamp") else options.run_at
    suite = text(described, "config.description") if described else options.suite
    return results, _ResultReader(suite=suite, run_at=at, request_class=options.request_class)


class _ResultReader:
    """Turns one result into a value; `suite`, `run_at` and `request_class` serve where the result says nothing."""

    def __init__(self, *, suite: str, run_at: datetime | None, request_class: str) -> None:
        self.suite = suite
        self.run_at = run_at
        self.request_class = request_class
        self.test_ids: dict[bytes, str] = {}

    def read(self, result: object) -> CaseResult:
        row = _mapping(result, "the result")
        test = row.get("testCase") if isinstance(row.get("testCase"), dict) else {}
        assert isinstance(test, dict)
        merged = row.get("metadata") if isinstance(row.get("metadata"), dict) else test.get("metadata")
        metadata: Json = merged if isinstance(merged, dict) else {}
        suite, suite_version = self._suite(metadata)
        raw = self._model(row)
        score, error = _verdict(row)
        usage = _Usage.of(row, has_verdict=score is not None)
        if self.run_at is None:
            remedy = "JSON lines carry no time: import the JSON output, or say when the evals were run"
            raise EvalImportError("no time of the run", remedy=remedy, field="results.timestamp")
        request_class = metadata.get("request_class") or metadata.get("class") or self.request_class
        return CaseResult(
            suite=suite,
            suite_version=suite_version,
            sample_id=self._sample_id(row, test, metadata),
            candidate=canonical_model_name(raw),
            run_at=self.run_at,
            score=score,
            prompt_version=_prompt_version(row, metadata),
            request_class=text(request_class, "metadata.request_class", most=64),
            repeat=text(metadata.get("repeat", ""), "metadata.repeat", most=64),
            candidate_raw=raw,
            error=error,
            uncached_input_tok=usage.uncached_input_tok,
            cache_read_tok=usage.cache_read_tok,
            cache_write_5m_tok=usage.cache_write_5m_tok,
            cache_write_1h_tok=None if usage.uncached_input_tok is None else 0,
            output_tok=usage.output_tok,
            cost_usd=cost_usd(row.get("cost"), "cost") if usage.is_measured else None,
            latency_ms=latency_ms(row.get("latencyMs"), "latencyMs") if usage.is_measured else None,
        )

    def _suite(self, metadata: Json) -> tuple[str, str]:
        """The suite a test names for itself, else the description of the whole evaluation; the version follows `@`."""
        name, version = split_suite(text(metadata.get("suite") or self.suite, "metadata.suite"))
        if not name:
            remedy = "Set description in the promptfoo config, metadata.suite in its defaultTest, or name the suite"
            raise EvalImportError("no suite", remedy=remedy, field="config.description")
        return name, text(version, "metadata.suite", most=64)

    def _model(self, row: Json) -> str:
        provider = row.get("provider")
        raw = text((provider.get("id") if isinstance(provider, dict) else provider) or "", "provider.id", most=255)
        if not raw:
            raise EvalImportError("no model", remedy=_AGAIN, field="provider.id")
        return raw

    def _sample_id(self, row: Json, test: Json, metadata: Json) -> str:
        """`metadata.sample_id`, else `testIdx`. `--repeat` gives each repeat a new testIdx: the same test (vars,
        assert, description) keeps the first one, because repeating a case is no new evidence."""
        if metadata.get("sample_id") not in (None, ""):
            return text(metadata["sample_id"], "metadata.sample_id", most=512)
        if row.get("testIdx") is None:
            remedy = "Give every test metadata.sample_id"
            raise EvalImportError("no sample id", remedy=remedy, field="testIdx")
        index = text(row["testIdx"], "testIdx", most=512)
        parts = (test.get("vars") or row.get("vars"), test.get("assert"), test.get("description"))
        if not any(parts):
            return index
        content = json.dumps(parts, sort_keys=True)
        return self.test_ids.setdefault(hashlib.sha256(content.encode()).digest(), index)


def _prompt_version(row: Json, metadata: Json) -> str:
    """`metadata.prompt_version`, else the prompt's label if it is a name, else the start of the prompt's hash.

    Without a label promptfoo repeats the prompt's text there: only a word without blanks is a name.
    """
    if metadata.get("prompt_version") not in (None, ""):
        return text(metadata["prompt_version"], "metadata.prompt_version", most=128)
    prompt = row.get("prompt")
    label = prompt.get("label") if isinstance(prompt, dict) else None
    if isinstance(label, str) and isinstance(prompt, dict) and label != prompt.get("raw") and _NAME.fullmatch(label):
        return label
    prompt_id = row.get("promptId")
    return prompt_id[:12] if isinstance(prompt_id, str) and prompt_id.isalnum() else ""


@dataclass(frozen=True, slots=True)
class _Usage:
    """Exclusive token counts; all None where the candidate was not called for this result."""

    is_measured: bool
    uncached_input_tok: int | None = None
    cache_read_tok: int | None = None
    cache_write_5m_tok: int | None = None
    output_tok: int | None = None

    @classmethod
    def of(cls, row: Json, *, has_verdict: bool) -> "_Usage":
        response = row.get("response")
        from_cache = isinstance(response, dict) and response.get("cached") is True
        usage = row.get("tokenUsage") or (response.get("tokenUsage") if isinstance(response, dict) else None)
        if usage is None:
            return cls(is_measured=has_verdict and not from_cache)
        counts = _mapping(usage, "tokenUsage")
        prompt = tokens(counts.get("prompt"), "tokenUsage.prompt")
        output = tokens(counts.get("completion"), "tokenUsage.completion")
        details = _mapping(counts.get("completionDetails") or {}, "tokenUsage.completionDetails")
        read = tokens(details.get("cacheReadInputTokens"), "completionDetails.cacheReadInputTokens") or 0
        written = tokens(details.get("cacheCreationInputTokens"), "completionDetails.cacheCreationInputTokens") or 0
        served_from_cache = not prompt and not output and bool(tokens(counts.get("cached"), "tokenUsage.cached"))
        if from_cache or served_from_cache:
            return cls(is_measured=False)
        if not prompt and not output and not read and not written:
            # An error before any answer, or a provider that reports nothing: unknown, not free.
            return cls(is_measured=has_verdict)
        if prompt is None:
            return cls(is_measured=has_verdict, output_tok=output)
        if read + written > prompt:
            problem = f"is below the cached tokens it includes: {read} read + {written} written = {read + written}"
            remedy = "promptfoo counts cached tokens inside prompt; check the provider's usage and export again"
            raise EvalImportError(problem, remedy=remedy, field="tokenUsage.prompt", value=prompt)
        # promptfoo does not tell the lifetime of a cache write; 5 minutes is the provider's default.
        return cls(has_verdict, prompt - read - written, read, written, output)


def _verdict(row: Json) -> tuple[float | None, str]:
    """1 or 0 from `success`; an error is left out, not failed."""
    success, reason = row.get("success"), row.get("failureReason")
    message = row.get("error")
    if reason == FAILURE_ERROR or (reason is None and message and row.get("gradingResult") is None):
        if success is True:
            problem = f"contradicts failureReason = {reason}, an error"
            raise EvalImportError(problem, remedy=_AGAIN, field="success", value=success)
        return None, error_kind(message) if isinstance(message, str) and message else "error"
    if not isinstance(success, bool):
        remedy = "Every result needs success true or false, or failureReason 2 for an error"
        raise EvalImportError("is neither true nor false", remedy=remedy, field="success", value=success)
    return (1.0 if success else 0.0), ""


def _mapping(value: object, field: str) -> Json:
    if not isinstance(value, dict):
        raise EvalImportError("is not a JSON object", remedy=_AGAIN, field=field, value=value)
    return value


def _loads(content: str) -> Any:
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise EvalImportError("is nested too deeply", remedy=_AGAIN) from error
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        if isinstance(error, EvalImportError):
            raise
        raise EvalImportError("holds a number of thousands of digits", remedy="Correct it in the source") from error


def _refuse_constant(constant: str) -> None:
    raise EvalImportError(f"holds {constant}, which is not a number", remedy="Replace it by null or a number")
