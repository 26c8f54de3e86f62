"""Inspect logs, `.json` and `.eval` (formats/eval-results.md, "Inspect AI").

`input_tokens` leave cached tokens out already. What a grader used of the same model is taken off: it stands in the same
sum, but under a scorer in the events. Epochs repeat a case. A sample with an error has no verdict.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

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
    mode_of,
    present,
    seconds_as_ms,
    split_suite,
    text,
    tokens,
)
from routing.importers.files import Json, document_of, loads, mapping, opened, part, top_keys
from routing.importers.inspect_scores import Judge
from routing.importers.inspect_zip import Archive, open_archive

VERSION = 2
_AGAIN = "Take the log of a finished run again; inspect log list shows where it is"
_ZIP = b"PK\x03\x04"
_NO_MODEL = {"", "none", "none/none"}


@dataclass(frozen=True, slots=True)
class InspectLog:
    """`inspect eval` logs: `.eval`, or `.json` with `--log-format json`."""

    name: str = "inspect"
    description: str = "Inspect AI log, .eval or .json"

    def detects(self, head: bytes, filename: str) -> bool:
        if head.startswith(_ZIP):
            return filename.endswith(".eval") or b"_journal/start.json" in head or b"header.json" in head
        keys = top_keys(head)
        return {"version", "eval"} <= keys and bool(keys & {"status", "plan", "samples"})

    def read(
        self, path: Path, options: ReadOptions = NO_OPTIONS, about: About | None = None
    ) -> Iterator[CaseResult | RejectedRow]:
        about = About() if about is None else about
        with path.open("rb") as file:
            is_zip = file.read(4) == _ZIP
        yield from (_read_eval if is_zip else _read_json)(path, options, about)


def _read_json(path: Path, options: ReadOptions, about: About) -> Iterator[CaseResult | RejectedRow]:
    with opened(path, again=_AGAIN) as file:
        root = document_of(file, path.name, again=_AGAIN, allow_nan=True)
    try:
        log = mapping(root, "the document", again=_AGAIN)
        samples = log.get("samples") or []
        if not isinstance(samples, list):
            raise EvalImportError("is not a list", remedy=_AGAIN, field="samples")
        run = _Run(log, options, about)
    except EvalImportError as error:
        raise error.at(file=path.name) from error
    yield from _results(
        run, ((f"samples[{n}]", lambda sample=sample: sample) for n, sample in enumerate(samples)), path
    )


def _read_eval(path: Path, options: ReadOptions, about: About) -> Iterator[CaseResult | RejectedRow]:
    with open_archive(path) as archive:
        try:
            run = _Run(_header(archive), options, about)
        except EvalImportError as error:
            raise error.at(file=path.name, where=error.where) from error
        yield from _results(run, ((name, lambda name=name: _member(archive, name)) for name in archive.samples), path)


def _results(run: "_Run", samples: Iterable[tuple[str, Any]], path: Path) -> Iterator[CaseResult | RejectedRow]:
    for where, sample in samples:
        try:
            yield run.read(sample())
        except EvalImportError as error:
            yield RejectedRow(error.at(file=path.name, where=where))
    try:
        run.finish()
    except EvalImportError as error:
        raise error.at(file=path.name) from error


def _header(archive: Archive) -> Json:
    """The log without its samples. A run that crashed has none: what it was is in the journal."""
    for name in ("header.json", "_journal/start.json"):
        if name in archive.members:
            log = mapping(_member(archive, name), name, again=_AGAIN)
            return log if "status" in log else {**log, "status": "started"}
    raise EvalImportError("is no Inspect log: it has no header.json", remedy=_AGAIN)


def _member(archive: Archive, name: str) -> Any:
    content = archive.read(name)
    try:
        return loads(content, again=_AGAIN, allow_nan=True)
    except json.JSONDecodeError as error:
        raise EvalImportError(f"is not JSON ({error.msg})", remedy=_AGAIN, field=name) from error
    except UnicodeDecodeError as error:
        raise EvalImportError(f"is not UTF-8 (byte {error.start})", remedy=_AGAIN, field=name) from error


class _Run:
    """What the header says of all samples."""

    def __init__(self, log: Json, options: ReadOptions, about: About) -> None:
        if log.get("version") != VERSION:
            remedy = f"Only version {VERSION} is read: inspect log convert writes it"
            raise EvalImportError("is another version", remedy=remedy, field="version", value=log.get("version"))
        self.options = options
        self.about = about
        self.spec = mapping(log.get("eval"), "eval", again=_AGAIN)
        self.metadata = {**part(log, "metadata"), **part(self.spec, "metadata")}
        self.status = str(log.get("status") or "started")[:20]
        self.model = str(self.spec.get("model") or "")
        self.raw = text("" if self.model in _NO_MODEL else self.model, "eval.model") or options.model
        if not self.raw:
            remedy = "The run used roles only: name the model that is judged (--model)"
            raise EvalImportError("no model", remedy=remedy, field="eval.model")
        self.candidate = candidate(self.raw, "eval.model")
        self.suite, self.version = self._suite()
        settings = {**part(self.spec, "model_generate_config"), **_stated(part(log, "plan", "config"))}
        self.mode = mode_of(settings) or options.mode
        stats = part(log, "stats")
        self.run_at = stats.get("completed_at") or stats.get("started_at") or self.spec.get("created")
        self.judge = Judge(options, about, _scorers(log, self.spec))
        version = part(self.spec, "packages").get("inspect_ai")
        about.tool = text(f"Inspect AI {version}" if isinstance(version, str) else "Inspect AI", "packages", most=128)
        epochs = part(self.spec, "config").get("epochs")
        self.repeats = isinstance(epochs, int) and not isinstance(epochs, bool) and epochs > 1
        ids = part(self.spec, "dataset").get("sample_ids")
        self.expected = (
            len(ids) * (epochs if self.repeats and isinstance(epochs, int) else 1) if isinstance(ids, list) else 0
        )
        self.read_samples = self.left_out = self.invalid = self.unsplit = 0

    def _suite(self) -> tuple[str, str]:
        stated = self.metadata.get("suite") or self.spec.get("task") or self.options.suite
        name, version = split_suite(text(stated, "eval.task"))
        if not name:
            raise EvalImportError("no suite", remedy="Name the suite (--suite)", field="eval.task")
        task_version = self.spec.get("task_version")
        if "@" not in str(stated) and task_version not in (None, 0, ""):
            version = text(task_version, "eval.task_version", most=64)
        return name, text(version, "eval.task", most=64)

    def read(self, found: object) -> CaseResult:
        sample = mapping(found, "the sample", again=_AGAIN)
        self.read_samples += 1
        if sample.get("id") is None:
            raise EvalImportError("no id", remedy=_AGAIN, field="id")
        metadata = part(sample, "metadata")
        verdict, error = self._verdict(sample)
        self.left_out += verdict is None
        usage = self._usage(sample)
        request_class = (
            metadata.get("request_class") or self.metadata.get("request_class") or self.options.request_class
        )
        retries = sample.get("error_retries")
        return CaseResult(
            suite=self.suite,
            suite_version=self.version,
            sample_id=present(sample["id"], "id", most=512),
            candidate=self.candidate,
            run_at=self._run_at(sample),
            score=verdict,
            prompt_version=text(
                metadata.get("prompt_version") or self.metadata.get("prompt_version") or "",
                "metadata.prompt_version",
                most=128,
            ),
            request_class=text(request_class, "metadata.request_class", most=64),
            repeat=text(sample.get("epoch", 1), "epoch", most=64) if self.repeats else "",
            candidate_raw=self.raw,
            error=error,
            uncached_input_tok=usage.input,
            cache_read_tok=usage.cache_read,
            cache_write_5m_tok=usage.cache_write,
            # Inspect does not tell the lifetime of a cache write; 5 minutes is the provider's default.
            cache_write_1h_tok=None if usage.cache_write is None else 0,
            output_tok=usage.output,
            cost_usd=usage.cost if verdict is not None else None,
            latency_ms=self._latency(sample) if verdict is not None else None,
            mode=self.mode,
            attempts=len(retries) + 1 if isinstance(retries, list) else None,
        )

    def _verdict(self, sample: Json) -> tuple[float | None, str]:
        error = sample.get("error")
        if error:
            message = error.get("message") if isinstance(error, dict) else error
            return None, error_kind(message) if isinstance(message, str) and message else "error"
        if sample.get("invalidation"):
            self.invalid += 1
            return None, "invalidated"
        verdict = self.judge.verdict(sample)
        return verdict, "" if verdict is not None else "no verdict"

    def _run_at(self, sample: Json) -> datetime:
        at = sample.get("completed_at") or sample.get("started_at") or self.run_at
        if at:
            return instant(at, "completed_at")
        if self.options.run_at is None:
            raise EvalImportError("no time of the run", remedy="Say when it was (--run-at)", field="completed_at")
        return self.options.run_at

    def _latency(self, sample: Json) -> float | None:
        working = seconds_as_ms(sample.get("working_time"), "working_time")
        return working if working is not None else seconds_as_ms(sample.get("total_time"), "total_time")

    def _usage(self, sample: Json) -> "_Usage":
        usage = _Usage.of(part(sample, "model_usage", self.model))
        events = sample.get("events")
        graders = _grader_usage(events if isinstance(events, list) else [], self.model)
        if not events and self.judge.is_graded_by_model and usage.output:
            self.unsplit += 1
            return _NOTHING
        return usage.without(graders) if graders else usage

    def finish(self) -> None:
        if not self.read_samples:
            remedy = "Run with samples logged (log_samples); an average alone is no evidence"
            raise EvalImportError(f"holds no sample (status {self.status})", remedy=remedy)
        if self.status != "success":
            of = f" of {self.expected:,}" if self.expected else ""
            self.about.warn(
                f"The run ended as {self.status}: {self.read_samples:,}{of} samples are in the log, {self.left_out:,} "
                "of them without a verdict. Those are left out; samples that never ran count neither way."
            )
        if self.invalid:
            self.about.warn_of(self.invalid, "sample was", "samples were", "invalidated in the log and left out.")
        if self.unsplit:
            self.about.warn_of(
                self.unsplit,
                "sample has",
                "samples have",
                "no tokens here: a model graded, and without events the log does not tell its tokens from those of the "
                "model that is judged.",
            )


def _stated(settings: Json) -> Json:
    return {key: value for key, value in settings.items() if value is not None}


def _scorers(log: Json, spec: Json) -> list[str]:
    """Names of the scorers in the order the log lists them."""
    names: list[str] = []
    for entries, key in ((part(log, "results").get("scores"), "scorer"), (spec.get("scorers"), "name")):
        for entry in entries if isinstance(entries, list) else []:
            name = entry.get(key) if isinstance(entry, dict) else None
            if isinstance(name, str) and name not in names:
                names.append(name)
    return names


@dataclass(frozen=True, slots=True)
class _Usage:
    """Tokens of exclusive kinds; None = unknown."""

    input: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    output: int | None = None
    cost: Decimal | None = None

    @classmethod
    def of(cls, found: Json) -> "_Usage":
        if not found:
            return _NOTHING
        plain = tokens(found.get("input_tokens"), "input_tokens")
        output = tokens(found.get("output_tokens"), "output_tokens")
        total = tokens(found.get("total_tokens"), "total_tokens")
        read = tokens(found.get("input_tokens_cache_read"), "input_tokens_cache_read")
        written = tokens(found.get("input_tokens_cache_write"), "input_tokens_cache_write")
        if total is not None and total == sum(count or 0 for count in (plain, output, read, written)):
            read, written = read or 0, written or 0  # nothing else is in the total
        return cls(plain, read, written, output, cost_usd(found.get("total_cost"), "total_cost"))

    def without(self, others: "list[_Usage]") -> "_Usage":
        """What is left when the graders' part is taken off; unknown where it does not fit into it."""

        def left(own: int | None, theirs: list[int | None]) -> int | None:
            rest = -1 if own is None or None in theirs else own - sum(count or 0 for count in theirs)
            return rest if rest >= 0 else None

        return _Usage(
            left(self.input, [other.input for other in others]),
            left(self.cache_read, [other.cache_read for other in others]),
            left(self.cache_write, [other.cache_write for other in others]),
            left(self.output, [other.output for other in others]),
        )


_NOTHING = _Usage()


def _grader_usage(events: list[Any], model: str) -> list[_Usage]:
    """What the scorers used of the model that is judged: calls inside a span (or, in old logs, a step) of a scorer."""
    scorers: set[str] = set()
    steps = 0
    found = []
    for event in events:
        if not isinstance(event, dict):
            continue
        kind = event.get("event")
        is_scorer = event.get("type") in ("scorer", "scorers")
        if kind == "span_begin" and (is_scorer or str(event.get("parent_id")) in scorers):
            scorers.add(str(event.get("id")))
        elif kind == "step" and is_scorer:
            steps = max(0, steps + (1 if event.get("action") == "begin" else -1))
        elif kind == "model" and event.get("model") == model and (steps or str(event.get("span_id")) in scorers):
            found.append(_Usage.of(part(event, "output", "usage")))
    return found
