"""OpenAI evals (formats/eval-results.md): one JSON object a line; `spec` first, then events, `final_report` last.

A case is judged by its `match` events, or by a `metrics` event where there is none. Sampling of a grader is recorded
under the same case: tokens are taken only from what the candidate sampled.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from routing.core.evidence import CaseResult
from routing.core.models import canonical_model_name
from routing.importers.base import (
    NO_OPTIONS,
    About,
    EvalImportError,
    ReadOptions,
    RejectedRow,
    candidate,
    error_kind,
    instant,
    mode_of,
    present,
    score,
    split_suite,
    text,
    tokens,
)
from routing.importers.files import Json, lines_of, mapping, objects_of, opened, part, top_keys

_AGAIN = "Run oaieval again and take its record file"
_VERSION = re.compile(r"\.v(\d+)$")


@dataclass(frozen=True, slots=True)
class OpenAiEvals:
    """`oaieval … --record_path run.jsonl`."""

    name: str = "openai-evals"
    description: str = "OpenAI evals record file (JSON lines)"

    def detects(self, head: bytes, filename: str) -> bool:
        return "spec" in top_keys(head) and b'"completion_fns"' in head

    def read(
        self, path: Path, options: ReadOptions = NO_OPTIONS, about: About | None = None
    ) -> Iterator[CaseResult | RejectedRow]:
        about = About() if about is None else about
        about.tool = "OpenAI evals"
        run: _Run | None = None
        samples: dict[str, _Sample] = {}
        is_finished = False
        with opened(path, again=_AGAIN) as file:
            for line, found in objects_of(lines_of(file, path.name), path.name, again=_AGAIN):
                try:
                    if isinstance(found, EvalImportError):
                        yield RejectedRow(found)
                        continue
                    event = mapping(found, "the event", again=_AGAIN)
                    if "spec" in event:
                        if run is not None:
                            raise _second_run(path, line)
                        run = _Run.of(mapping(event["spec"], "spec", again=_AGAIN), options, about)
                    elif "final_report" in event:
                        is_finished = True
                    elif event.get("sample_id") is not None:
                        sample_id = present(event["sample_id"], "sample_id", most=512)
                        samples.setdefault(sample_id, _Sample(sample_id, line)).add(event)
                except EvalImportError as error:
                    if run is None or error.file:
                        raise error.at(file=path.name, line=line) from error
                    yield RejectedRow(error.at(file=path.name, line=line))
        if run is None:
            raise EvalImportError("has no spec line", remedy=_AGAIN, file=path.name)
        if not samples:
            raise EvalImportError("holds no case", remedy=_AGAIN, file=path.name)
        if not is_finished:
            about.warn(
                "The file has no final report: the run did not finish, and the cases it did not reach are missing."
            )
        for sample in samples.values():
            try:
                yield from run.results(sample)
            except EvalImportError as error:
                where = f"case {sample.sample_id[:80]}"
                yield RejectedRow(error.at(file=path.name, line=sample.line, where=where))


def _second_run(path: Path, line: int) -> EvalImportError:
    remedy = "Import the record file of each run by itself: a case may be in both"
    return EvalImportError("begins a second run", remedy=remedy, file=path.name, line=line, field="spec")


@dataclass(slots=True)
class _Sample:
    """The events of one case, as far as they are read. No text of them is held."""

    sample_id: str
    line: int
    at: str = ""
    matches: list[object] = field(default_factory=list)
    metrics: list[Json] = field(default_factory=list)
    usages: list[tuple[str, Json]] = field(default_factory=list)
    error: str = ""

    def add(self, event: Json) -> None:
        data = part(event, "data")
        if isinstance(event.get("created_at"), str):
            self.at = event["created_at"]
        kind = event.get("type")
        if kind == "match":
            self.matches.append(data.get("correct"))
        elif kind == "metrics":
            self.metrics.append({key: value for key, value in data.items() if not isinstance(value, list | dict)})
        elif kind == "sampling":
            self.usages.append((str(data.get("model") or "")[:255], part(data, "usage")))
        elif kind == "error":
            self.error = error_kind(str(data.get("type") or data.get("message") or data.get("error") or "error"))


class _Run:
    def __init__(self, spec: Json, options: ReadOptions, about: About) -> None:
        self.options = options
        self.about = about
        functions = spec.get("completion_fns")
        names = [name for name in functions if isinstance(name, str)] if isinstance(functions, list) else []
        self.raw = text(names[0] if names else options.model, "spec.completion_fns")
        if not self.raw:
            remedy = "Name the model (--model)"
            raise EvalImportError("no model", remedy=remedy, field="spec.completion_fns")
        if len(names) > 1:
            about.warn(f"The run names {len(names)} models: {self.raw} is judged, the last one usually grades.")
        self.candidate = candidate(self.raw, "spec.completion_fns")
        full = str(spec.get("eval_name") or "")
        versioned = _VERSION.search(full)
        name, version = split_suite(text(spec.get("base_eval") or full or options.suite, "spec.base_eval"))
        if not name:
            raise EvalImportError("no suite", remedy="Name the suite (--suite)", field="spec.base_eval")
        self.suite, self.version = name, text(versioned[1] if versioned else version, "spec.eval_name", most=64)
        self.created = instant(spec["created_at"], "spec.created_at") if spec.get("created_at") else options.run_at
        self.mode = mode_of(part(spec, "run_config", "completion_args")) or options.mode

    @classmethod
    def of(cls, spec: Json, options: ReadOptions, about: About) -> "_Run":
        return cls(spec, options, about)

    def results(self, sample: _Sample) -> Iterator[CaseResult]:
        """One result, or one for each match where the case was run several times."""
        verdicts: list[float | None] = [self._match(correct) for correct in sample.matches] or [self._metric(sample)]
        at = instant(sample.at, "created_at") if sample.at else self.created
        if at is None:
            raise EvalImportError("no time of the run", remedy="Say when it was (--run-at)", field="created_at")
        usage: dict[str, Any] = self._usage(sample) if len(verdicts) == 1 else {}
        for repeat, verdict in enumerate(verdicts, start=1):
            result = CaseResult(
                suite=self.suite,
                suite_version=self.version,
                sample_id=sample.sample_id,
                candidate=self.candidate,
                run_at=at,
                score=verdict,
                request_class=self.options.request_class,
                repeat=str(repeat) if len(verdicts) > 1 else "",
                candidate_raw=self.raw,
                error="" if verdict is not None else sample.error or "no verdict",
                mode=self.mode,
            )
            yield replace(result, **usage) if usage else result

    def _match(self, correct: object) -> float:
        if not isinstance(correct, bool):
            raise EvalImportError("is neither true nor false", remedy=_AGAIN, field="data.correct", value=correct)
        return 1.0 if correct else 0.0

    def _metric(self, sample: _Sample) -> float | None:
        values = {key: value for found in sample.metrics for key, value in found.items() if value is not None}
        numbers = {key: value for key, value in values.items() if isinstance(value, bool | int | float)}
        name = self.options.metric
        if name and values and name not in values:
            remedy = f"It has: {', '.join(sorted(numbers))}"
            raise EvalImportError("is no metric of the case", remedy=remedy, field="metric", value=name)
        if not name:
            name = "score" if "score" in numbers else next(iter(numbers)) if len(numbers) == 1 else ""
        if not name:
            if not numbers:
                return None
            remedy = f"Name one of them (--metric): {', '.join(sorted(numbers))}"
            raise EvalImportError("several metrics could be the score", remedy=remedy, field="data")
        value = values.get(name)
        return (1.0 if value else 0.0) if isinstance(value, bool) else score(value, f"data.{name}")

    def _usage(self, sample: _Sample) -> dict[str, Any]:
        """Tokens of what the candidate sampled; nothing where it cannot be told from what a grader sampled."""
        own = [usage for model, usage in sample.usages if model and canonical_model_name(model) == self.candidate]
        if not own and len(sample.usages) == 1 and not sample.usages[0][0]:
            own = [sample.usages[0][1]]
        if not own or not all(own):
            return {}
        read = sum(tokens(part(use, "prompt_tokens_details").get("cached_tokens"), "cached_tokens") or 0 for use in own)
        prompts = [tokens(use.get("prompt_tokens"), "usage.prompt_tokens") for use in own]
        outputs = [tokens(use.get("completion_tokens"), "usage.completion_tokens") for use in own]
        whole = None if None in prompts else sum(count or 0 for count in prompts)
        if whole is not None and read > whole:
            remedy = "prompt_tokens include the cached ones; check the record"
            raise EvalImportError("is below the cached tokens", remedy=remedy, field="usage.prompt_tokens", value=whole)
        return {
            "uncached_input_tok": None if whole is None else whole - read,
            "cache_read_tok": None if whole is None else read,
            "cache_write_5m_tok": None if whole is None else 0,
            "cache_write_1h_tok": None if whole is None else 0,
            "output_tok": None if None in outputs else sum(count or 0 for count in outputs),
        }
