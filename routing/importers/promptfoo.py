"""promptfoo results: the JSON document and the JSON lines output (formats/eval-results.md, "promptfoo").

A document holds results of version 3, or of version 2 with a table; the file around them may count versions of its own
(3 for evaluations with a table, 4 for those without). `prompt` tokens include cache reads and writes and are made
exclusive here. A result from promptfoo's own response cache keeps its verdict, but has no cost, latency or tokens. A
grader's tokens (`assertions`) are not the candidate's.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from routing.core.evidence import CaseResult
from routing.importers.base import (
    NO_OPTIONS,
    About,
    EvalImportError,
    ReadOptions,
    RejectedRow,
    candidate,
    cost_usd,
    error_kind,
    instant,
    latency_ms,
    mode_of,
    number,
    present,
    split_suite,
    text,
    tokens,
)
from routing.importers.files import Json, document_of, lines_of, mapping, objects_of, opened, part, read_head, top_keys
from routing.importers.promptfoo_table import results_of_table

VERSIONS = (2, 3)
FAILURE_ERROR = 2  # failureReason: 0 none, 1 assertion, 2 error
_AGAIN = "Export it again with promptfoo eval --output results.json"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


@dataclass(frozen=True, slots=True)
class Promptfoo:
    """`promptfoo eval --output results.json` or `results.jsonl`, `promptfoo export eval`."""

    name: str = "promptfoo"
    description: str = "promptfoo results, JSON (version 3, or 2 with its table) or JSON lines"

    def detects(self, head: bytes, filename: str) -> bool:
        keys = top_keys(head)
        is_document = "results" in keys and ("evalId" in keys or {"version", "createdAt"} <= keys)
        return is_document or _is_result(keys)

    def read(
        self, path: Path, options: ReadOptions = NO_OPTIONS, about: About | None = None
    ) -> Iterator[CaseResult | RejectedRow]:
        about = About() if about is None else about
        about.tool = "promptfoo"
        with opened(path, again=_AGAIN) as file:
            is_lines = _is_result(top_keys(read_head(path)))
            yield from (_read_lines if is_lines else _read_document)(file, path.name, options, about)


def is_promptfoo_csv(head: bytes) -> bool:
    """promptfoo's CSV output: its columns repeat for every provider, and it names no model."""
    return b",Status,Score,Named Scores," in head.split(b"\n", 1)[0]


def _is_result(keys: frozenset[str]) -> bool:
    return "results" not in keys and "gradingResult" in keys and bool(keys & {"promptIdx", "testIdx"})


def _read_lines(file: TextIO, name: str, options: ReadOptions, about: About) -> Iterator[CaseResult | RejectedRow]:
    reader = _ResultReader(suite=options.suite, run_at=options.run_at, options=options, about=about)
    for line, result in objects_of(lines_of(file, name), name, again=_AGAIN):
        if isinstance(result, EvalImportError):
            yield RejectedRow(result)
            continue
        try:
            yield reader.read(result)
        except EvalImportError as error:
            yield RejectedRow(error.at(file=name, line=line))
    reader.finish()


def _read_document(file: TextIO, name: str, options: ReadOptions, about: About) -> Iterator[CaseResult | RejectedRow]:
    root = document_of(file, name, again=_AGAIN)
    try:
        results, place, reader = _open_document(root, options, about)
    except EvalImportError as error:
        raise error.at(file=name) from error
    for index, result in enumerate(results):
        try:
            yield reader.read(result)
        except EvalImportError as error:
            yield RejectedRow(error.at(file=name, where=f"{place}[{index}]"))
    reader.finish()


def _open_document(root: object, options: ReadOptions, about: About) -> tuple[list[Any], str, "_ResultReader"]:
    """The list of results, its place, and what the document says about all of them."""
    document = _mapping(root, "the document")
    summary = _mapping(document.get("results"), "results")
    version = summary.get("version")
    if version not in VERSIONS:
        remedy = "Versions 2 and 3 are read: export with a current promptfoo (eval --output results.json)"
        raise EvalImportError("is another version", remedy=remedy, field="results.version", value=version)
    results, place = summary.get("results"), "results.results"
    if version == 2 and summary.get("table") and not _name_their_tests(results):
        results, place = results_of_table(summary), "results.table cell "
    if not isinstance(results, list) or not results:
        problem = "is not a list" if not isinstance(results, list) else "holds no result"
        raise EvalImportError(problem, remedy="Run the evaluation, then export it again", field="results.results")
    tool = part(document, "metadata").get("promptfooVersion")
    about.tool = text(f"promptfoo {tool}" if isinstance(tool, str) else "promptfoo", "promptfooVersion", most=128)
    described = part(document, "config").get("description")
    stamp = summary.get("timestamp") or document.get("createdAt")
    at = instant(stamp, "results.timestamp") if stamp else options.run_at
    suite = text(described, "config.description") if described else options.suite
    modes = _modes(part(document, "config").get("providers"), about)
    return results, place, _ResultReader(suite=suite, run_at=at, options=options, about=about, modes=modes)


def _name_their_tests(results: object) -> bool:
    return (
        bool(results)
        and isinstance(results, list)
        and all(isinstance(row, dict) and row.get("testIdx") is not None for row in results)
    )


def _modes(providers: object, about: About) -> dict[str, str]:
    """Settings of each provider of the config, by its label, or by its id where it has none: results repeat both."""
    found: dict[str, str] = {}
    doubtful: set[str] = set()
    for entry in providers if isinstance(providers, list) else []:
        if not isinstance(entry, dict):
            continue
        if "id" not in entry and len(entry) == 1:  # the short form {id: {config: …}}
            entry = {"id": next(iter(entry)), **part(entry, next(iter(entry)))}
        key, mode = str(entry.get("label") or entry.get("id") or ""), mode_of(part(entry, "config"))
        if found.setdefault(key, mode) != mode:
            doubtful.add(key)
    if doubtful:
        about.warn(
            f"Several providers are called {', '.join(sorted(doubtful))[:200]} and have different settings: their "
            "results cannot be told apart and count as one candidate without a mode. Give each a label."
        )
    return {key: mode for key, mode in found.items() if key not in doubtful}


class _ResultReader:
    """Turns one result into a value; `suite`, `run_at` and `request_class` serve where the result says nothing."""

    def __init__(
        self,
        *,
        suite: str,
        run_at: datetime | None,
        options: ReadOptions,
        about: About,
        modes: dict[str, str] | None = None,
    ) -> None:
        self.suite = suite
        self.run_at = run_at
        self.options = options
        self.about = about
        self.modes = modes or {}
        self.off_scale = 0
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
        request_class = metadata.get("request_class") or metadata.get("class") or self.options.request_class
        return CaseResult(
            suite=suite,
            suite_version=suite_version,
            sample_id=self._sample_id(row, test, metadata),
            candidate=candidate(raw, "provider.id"),
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
            mode=self._mode(row, metadata),
            graded_score=self._grade(row) if score is not None else None,
        )

    def _mode(self, row: Json, metadata: Json) -> str:
        """What the test says, else the settings of the provider and the prompt, else what the person importing says."""
        if metadata.get("mode"):
            return text(metadata["mode"], "metadata.mode", most=64)
        provider = part(row, "provider")
        of_provider = self.modes.get(str(provider.get("label") or provider.get("id")), "")
        return mode_of(part(row, "prompt", "config")) or of_provider or self.options.mode

    def _grade(self, row: Json) -> float | None:
        """The weighted share of assertions, or the named score that is asked for (--metric); None outside 0 … 1."""
        value: object = row.get("score")
        if self.options.metric:
            value = part(row, "namedScores").get(self.options.metric)
        if value is None:
            return None
        grade = float(number(value, "score"))
        if not 0 <= grade <= 1:
            self.off_scale += 1
            return None
        return grade

    def finish(self) -> None:
        if self.off_scale:
            rest = "a score outside 0 … 1: pass or fail counts, the grade is not kept."
            self.about.warn_of(self.off_scale, "result has", "results have", rest)

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
        raw = raw or self.options.model
        if not raw:
            raise EvalImportError("no model", remedy=_AGAIN, field="provider.id")
        return raw

    def _sample_id(self, row: Json, test: Json, metadata: Json) -> str:
        """`metadata.sample_id`, else `testIdx`. `--repeat` gives each repeat a new testIdx: the same test (vars,
        assert, description) keeps the first one, because repeating a case is no new evidence."""
        if metadata.get("sample_id") not in (None, ""):
            return present(metadata["sample_id"], "metadata.sample_id", most=512)
        if row.get("testIdx") is None:
            remedy = "Give every test metadata.sample_id"
            raise EvalImportError("no sample id", remedy=remedy, field="testIdx")
        index = present(row["testIdx"], "testIdx", most=512)
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
    # Older versions give no reason; what was not graded and did not succeed was never answered.
    is_ungraded = reason is None and row.get("gradingResult") is None and (message or success is False)
    if reason == FAILURE_ERROR or is_ungraded:
        if success is True:
            problem = f"contradicts failureReason = {reason}, an error"
            raise EvalImportError(problem, remedy=_AGAIN, field="success", value=success)
        return None, error_kind(message) if isinstance(message, str) and message else "error"
    if not isinstance(success, bool):
        remedy = "Every result needs success true or false, or failureReason 2 for an error"
        raise EvalImportError("is neither true nor false", remedy=remedy, field="success", value=success)
    return (1.0 if success else 0.0), ""


def _mapping(value: object, field: str) -> Json:
    return mapping(value, field, again=_AGAIN)
