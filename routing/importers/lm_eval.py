"""lm-evaluation-harness (formats/eval-results.md): `samples_<task>_<time>.jsonl`, with `results_<time>.json` beside it.

The samples hold the cases; the results file beside them names the model, the time and the version of the task. Without
it the person importing names the model and the time. A results file alone holds only aggregates and is refused.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from routing.core.evidence import CaseResult
from routing.importers.base import (
    NO_OPTIONS,
    About,
    EvalImportError,
    ReadOptions,
    RejectedRow,
    candidate,
    mode_of,
    number,
    present,
    score,
    split_suite,
    text,
)
from routing.importers.files import Json, document_of, lines_of, mapping, objects_of, opened, part, read_head, top_keys

_AGAIN = "Run lm_eval again with --log_samples and --output_path"
_SAMPLES = re.compile(r"samples_(?P<task>.+)_(?P<time>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)\.jsonl$")


@dataclass(frozen=True, slots=True)
class LmEval:
    """`lm_eval --log_samples --output_path out`: the samples file of a task."""

    name: str = "lm-eval"
    description: str = "lm-evaluation-harness samples_*.jsonl, its results_*.json beside it"

    def detects(self, head: bytes, filename: str) -> bool:
        keys = top_keys(head)
        is_sample = "doc_id" in keys and bool(keys & {"filtered_resps", "resps", "doc_hash"})
        return is_sample or _is_results(keys)

    def read(
        self, path: Path, options: ReadOptions = NO_OPTIONS, about: About | None = None
    ) -> Iterator[CaseResult | RejectedRow]:
        about = About() if about is None else about
        about.tool = "lm-evaluation-harness"
        if _is_results(top_keys(read_head(path))):
            remedy = "Import the samples_*.jsonl beside it (lm_eval --log_samples); this file serves them where it lies"
            problem = "is a results file, which holds averages and no cases"
            raise EvalImportError(problem, remedy=remedy, file=path.name)
        with opened(path, again=_AGAIN) as file:
            lines = lines_of(file, path.name)
            try:
                run = _Run.of(path, options, about)
                for line, sample in objects_of(lines, path.name, again=_AGAIN, allow_nan=True):
                    if isinstance(sample, EvalImportError):
                        yield RejectedRow(sample)
                        continue
                    try:
                        result = run.read(sample)
                    except EvalImportError as error:
                        yield RejectedRow(error.at(file=path.name, line=line))
                        continue
                    if result is not None:
                        yield result
            except EvalImportError as error:
                raise error.at(file=path.name, line=error.line) from error
            if not run.read_any and not run.other_filters:
                raise EvalImportError("holds no sample", remedy=_AGAIN, file=path.name)
        run.finish(path.name)


def _is_results(keys: frozenset[str]) -> bool:
    return "results" in keys and bool(keys & {"n-shot", "versions", "configs", "group_subtasks", "higher_is_better"})


class _Run:
    """What holds for all samples of the file."""

    def __init__(self, task: str, results: Json, options: ReadOptions, about: About) -> None:
        self.options = options
        self.about = about
        self.results = results
        self.task = task
        suite, version = split_suite(task or options.suite)
        if not suite:
            remedy = "Keep the name samples_<task>_<time>.jsonl, or name the suite (--suite)"
            raise EvalImportError("no task", remedy=remedy, field="suite")
        stated = part(results, "versions").get(task)
        if isinstance(stated, int | float) and not isinstance(stated, bool):
            version = f"{stated:g}"
        self.suite, self.version = suite, text(version, "versions", most=64)
        self.raw = text(_model(results) or options.model, "model_name")
        if not self.raw:
            remedy = "Lay the results_*.json of the run beside it, or name the model (--model)"
            raise EvalImportError("no model: samples do not name it", remedy=remedy, field="model")
        self.candidate = candidate(self.raw, "model_name")
        self.run_at = _run_at(results, options)
        shots = part(results, "n-shot").get(task)
        self.prompt_version = f"{shots}-shot" if isinstance(shots, int) and not isinstance(shots, bool) else ""
        self.mode = _mode(results, task) or options.mode
        wanted, _, self.filter = options.metric.partition(",")
        self.metric = wanted.strip()
        self.filter = self.filter.strip()
        self.other_filters: set[str] = set()
        self.read_any = False

    @classmethod
    def of(cls, path: Path, options: ReadOptions, about: About) -> "_Run":
        named = _SAMPLES.search(options.named(path))
        results = _beside(path, _SAMPLES.search(path.name.removesuffix(".gz")))
        version = results.get("lm_eval_version")
        if isinstance(version, str) and version:
            about.tool = text(f"lm-evaluation-harness {version}", "lm_eval_version", most=128)
        return cls(named["task"] if named else "", results, options, about)

    def read(self, found: object) -> CaseResult | None:
        """The result of a sample; None for one that repeats the case under another filter."""
        sample = mapping(found, "the sample", again=_AGAIN)
        name = str(sample.get("filter") or "none")
        if not self.filter:
            self.filter = name
        if name != self.filter:
            self.other_filters.add(name[:60])
            return None
        self.read_any = True
        doc = part(sample, "doc")
        if sample.get("doc_id") is None:
            raise EvalImportError("no id of the case", remedy=_AGAIN, field="doc_id")
        verdict = self._verdict(sample)
        return CaseResult(
            suite=self.suite,
            suite_version=self.version,
            sample_id=present(sample["doc_id"], "doc_id", most=512),
            candidate=self.candidate,
            run_at=self.run_at,
            score=verdict,
            prompt_version=self.prompt_version,
            request_class=text(doc.get("request_class") or self.options.request_class, "doc.request_class", most=64),
            candidate_raw=self.raw,
            error="" if verdict is not None else "no verdict",
            mode=self.mode,
        )

    def finish(self, file: str) -> None:
        if self.other_filters and not self.read_any:
            names = ", ".join(sorted(self.other_filters))
            raise EvalImportError(
                "no sample has this filter",
                remedy=f"The file has: {names}",
                file=file,
                field="metric",
                value=self.filter,
            )
        if self.other_filters:
            others = ", ".join(sorted(self.other_filters))
            self.about.warn(
                f"Answers were read by the filter {self.filter}; the file also has {others}. Name another with "
                f"--metric {self.metric},FILTER."
            )

    def _verdict(self, sample: Json) -> float | None:
        listed = sample.get("metrics")
        names = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
        if not self.metric:
            if not names:
                remedy = "Name the metric (--metric); current versions of lm_eval list them in every sample"
                raise EvalImportError("names no metric", remedy=remedy, field="metrics")
            self.metric = names[0]
            if len(names) > 1:
                others = ", ".join(names[1:])
                self.about.warn(f"Cases are judged by {self.metric}; the file also has {others} (--metric).")
        if self.metric not in sample:
            remedy = f"It has: {', '.join(names) or 'no metric'}"
            raise EvalImportError("is no metric of the sample", remedy=remedy, field="metric", value=self.metric)
        if part(self.results, "higher_is_better", self.task).get(self.metric) is False:
            remedy = "A lower value of it is better: name one that grows with quality (--metric)"
            raise EvalImportError("cannot be a score", remedy=remedy, field="metric", value=self.metric)
        value = sample[self.metric]
        if isinstance(value, bool):
            return 1.0 if value else 0.0
        if value is None or value != value:  # NaN: the metric could not be computed
            return None
        return score(value, self.metric)


def _beside(path: Path, named: re.Match[str] | None) -> Json:
    """The results file of the same run in the same folder; empty where there is none."""
    if named is None:
        return {}
    ending = f"results_{named['time']}.json"
    other = next((file for file in sorted(path.parent.iterdir()) if file.name.endswith(ending)), None)
    if other is None:
        return {}
    with opened(other, again=_AGAIN) as file:
        return mapping(document_of(file, other.name, again=_AGAIN, allow_nan=True), "the document", again=_AGAIN)


def _model(results: Json) -> object:
    """`model_name`; else `model=` of the arguments, a text of older versions and an object of newer ones."""
    name = results.get("model_name")
    if isinstance(name, str) and name:
        return name
    return _arguments(part(results, "config").get("model_args")).get("model") or ""


def _mode(results: Json, task: str) -> str:
    generation = part(results, "configs", task, "generation_kwargs")
    given = _arguments(part(results, "config").get("gen_kwargs"))
    arguments = _arguments(part(results, "config").get("model_args"))
    return mode_of({**generation, **arguments, **given})


def _arguments(found: object) -> Json:
    """`model=claude-…,temperature=0` or the object that newer versions write."""
    if isinstance(found, dict):
        return found
    if not isinstance(found, str):
        return {}
    try:
        document = json.loads(found)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        return document
    pairs = (item.partition("=") for item in found.split(","))
    return {key.strip(): value.strip() for key, _, value in pairs if value}


def _run_at(results: Json, options: ReadOptions) -> datetime:
    """`date`, the only wall time: start_time and end_time are clocks of the process."""
    date = results.get("date")
    if date is not None:
        try:
            return datetime.fromtimestamp(number(date, "date"), UTC)
        except (OverflowError, OSError, ValueError) as error:
            if isinstance(error, EvalImportError):
                raise
            remedy = "It is seconds since 1970; correct it, or move the file away and say --run-at"
            raise EvalImportError("is no time", remedy=remedy, field="date", value=date) from error
    if options.run_at is None:
        remedy = "Lay the results_*.json of the run beside it, or say when it was (--run-at)"
        raise EvalImportError("no time of the run: samples do not hold it", remedy=remedy, field="run_at")
    return options.run_at
