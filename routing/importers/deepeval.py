"""DeepEval test runs (formats/eval-results.md): `test_run_YYYYMMDD_HHMMSS.json`, or the latest, in `testRunData`.

The file holds no time: its name does, in the zone of the machine that ran it. What the graders cost
(`evaluationCost`) is not the candidate's. An error of a grader is no failure of the model.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from routing.core.evidence import CaseResult
from routing.importers.base import (
    NO_OPTIONS,
    PROMPTS_UNKNOWN,
    About,
    EvalImportError,
    ReadOptions,
    RejectedRow,
    candidate,
    cost_usd,
    error_kind,
    mode_of,
    present,
    score,
    seconds_as_ms,
    split_suite,
    text,
    tokens,
)
from routing.importers.files import Json, document_of, mapping, opened, part, top_keys

_AGAIN = "Run deepeval test run again, and take the file of DEEPEVAL_RESULTS_FOLDER"
_NAME = re.compile(r"test_run_(\d{8}_\d{6})")
_LISTS = ("testCases", "conversationalTestCases")


@dataclass(frozen=True, slots=True)
class DeepEval:
    """`test_run_YYYYMMDD_HHMMSS.json` of DEEPEVAL_RESULTS_FOLDER, or `.latest_test_run.json`."""

    name: str = "deepeval"
    description: str = "DeepEval test_run JSON"

    def detects(self, head: bytes, filename: str) -> bool:
        keys = top_keys(head)
        return "testRunData" in keys or ("testCases" in keys and "evalId" not in keys)

    def read(
        self, path: Path, options: ReadOptions = NO_OPTIONS, about: About | None = None
    ) -> Iterator[CaseResult | RejectedRow]:
        about = About() if about is None else about
        about.tool = "DeepEval"
        with opened(path, again=_AGAIN) as file:
            root = document_of(file, path.name, again=_AGAIN, allow_nan=True)
        try:
            run = mapping(root, "the document", again=_AGAIN)
            run = mapping(run.get("testRunData", run), "testRunData", again=_AGAIN)
            reader = _CaseReader(run, options, _run_at(path, options, about), about)
            cases = [(f"{name}[{n}]", case) for name in _LISTS for n, case in enumerate(_list(run, name))]
            if not cases:
                raise EvalImportError("holds no test case", remedy=_AGAIN, field="testCases")
        except EvalImportError as error:
            raise error.at(file=path.name) from error
        for where, case in cases:
            try:
                yield reader.read(case)
            except EvalImportError as error:
                yield RejectedRow(error.at(file=path.name, where=where))


def _list(run: Json, name: str) -> list[object]:
    found = run.get(name) or []
    if not isinstance(found, list):
        raise EvalImportError("is not a list", remedy=_AGAIN, field=name)
    return found


def _run_at(path: Path, options: ReadOptions, about: About) -> datetime:
    if options.run_at is not None:
        return options.run_at
    found = _NAME.search(options.named(path))
    if found is None:
        remedy = "Keep the name test_run_YYYYMMDD_HHMMSS.json, or say when the evals were run (--run-at)"
        raise EvalImportError("no time of the run: DeepEval writes it into the name only", remedy=remedy)
    try:
        at = datetime.strptime(found[1], "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        remedy = "Say when the evals were run (--run-at)"
        raise EvalImportError("the name holds no time", remedy=remedy, value=found[1]) from error
    about.warn(
        f"The time of the run, {at:%Y-%m-%d %H:%M:%S}, is read from the file's name and taken as UTC; DeepEval writes "
        "the local time of the machine there."
    )
    return at


class _CaseReader:
    def __init__(self, run: Json, options: ReadOptions, run_at: datetime, about: About) -> None:
        self.parameters = part(run, "hyperparameters")
        self.identifier = run.get("identifier")
        self.options = options
        self.run_at = run_at
        self.about = about
        self.inputs: dict[str, bytes] = {}

    def read(self, found: object) -> CaseResult:
        case = mapping(found, "the test case", again=_AGAIN)
        metadata = part(case, "metadata") or part(case, "additionalMetadata")
        suite, version = split_suite(text(metadata.get("suite") or self.identifier or self.options.suite, "identifier"))
        if not suite:
            remedy = "Run with --identifier, or name the suite (--suite)"
            raise EvalImportError("no suite", remedy=remedy, field="identifier")
        raw = text(metadata.get("model") or self.parameters.get("model") or self.options.model, "hyperparameters.model")
        if not raw:
            remedy = "Log hyperparameters with the model, or name it (--model)"
            raise EvalImportError("no model", remedy=remedy, field="hyperparameters.model")
        verdict, graded, error = self._verdict(case)
        request_class = metadata.get("request_class") or _class_of_tags(case.get("tags")) or self.options.request_class
        has_verdict = verdict is not None
        if case.get("inputTokenCount"):
            self.about.warn(f"DeepEval tells {PROMPTS_UNKNOWN}")
        return CaseResult(
            suite=suite,
            suite_version=text(version, "identifier", most=64),
            sample_id=self._sample_id(case, metadata),
            candidate=candidate(raw, "hyperparameters.model"),
            run_at=self.run_at,
            score=verdict,
            prompt_version=self._prompt_version(metadata),
            request_class=text(request_class, "metadata.request_class", most=64),
            repeat=text(metadata.get("repeat", ""), "metadata.repeat", most=64),
            candidate_raw=raw,
            error=error,
            uncached_input_tok=tokens(case.get("inputTokenCount"), "inputTokenCount"),
            output_tok=tokens(case.get("outputTokenCount"), "outputTokenCount"),
            cost_usd=cost_usd(case.get("tokenCost"), "tokenCost") if has_verdict else None,
            latency_ms=seconds_as_ms(case.get("completionTime"), "completionTime") if has_verdict else None,
            mode=mode_of(metadata) or mode_of(self.parameters) or self.options.mode,
            graded_score=graded,
        )

    def _sample_id(self, case: Json, metadata: Json) -> str:
        """`metadata.sample_id`, else the name. A name with two inputs names no case, so it is refused."""
        given = metadata.get("sample_id")
        if given not in (None, ""):
            return present(given, "metadata.sample_id", most=512)
        name = text(case.get("name") or "", "name", most=512)
        remedy = "Give LLMTestCase(name=…), the same for every model, or metadata.sample_id"
        if not name:
            raise EvalImportError("no name", remedy=remedy, field="name")
        content = hashlib.sha256(json.dumps(case.get("input") or case.get("turns"), sort_keys=True).encode()).digest()
        if self.inputs.setdefault(name, content) != content:
            raise EvalImportError("names two cases with different inputs", remedy=remedy, field="name", value=name)
        return name

    def _prompt_version(self, metadata: Json) -> str:
        found = metadata.get("prompt_version") or self.parameters.get("prompt_version")
        if not found:
            prompt = self.parameters.get("prompt")  # a name, or the text of the prompt, which is never kept
            found = prompt if isinstance(prompt, str) and re.fullmatch(r"[\w.@+-]{1,64}", prompt) else ""
        return text(found, "hyperparameters.prompt_version", most=128)

    def _verdict(self, case: Json) -> tuple[float | None, float | None, str]:
        """Verdict, grade beside it, kind of error. `--metric` names the one metric that decides."""
        found = case.get("metricsData") or []
        if not isinstance(found, list):
            raise EvalImportError("is not a list", remedy=_AGAIN, field="metricsData")
        metrics = [mapping(metric, "metricsData", again=_AGAIN) for metric in found]
        wanted = self.options.metric
        if wanted:
            metrics = [metric for metric in metrics if metric.get("name") == wanted]
            if not metrics and found:
                names = ", ".join(sorted({str(metric.get("name")) for metric in found if isinstance(metric, dict)}))
                raise EvalImportError(
                    "is no metric of the case", remedy=f"It has: {names}", field="metric", value=wanted
                )
        broken = next((metric["error"] for metric in metrics if metric.get("error")), None)
        success = metrics[0].get("success") if wanted and metrics else case.get("success")
        if broken is not None and success is not True:
            return None, None, error_kind(str(broken))
        if not metrics or success is None:
            return None, None, "no verdict"
        if not isinstance(success, bool):
            remedy = "Every test case needs success true or false"
            raise EvalImportError("is neither true nor false", remedy=remedy, field="success", value=success)
        if len(metrics) > 1:
            self.about.warn(
                "Cases are judged by several metrics: a case passes when all of them do, and no grade is kept. Name "
                "one of them (--metric) to be judged by it alone."
            )
        graded = score(metrics[0].get("score"), "metricsData.score") if len(metrics) == 1 else None
        return (1.0 if success else 0.0), graded, ""


def _class_of_tags(tags: object) -> str:
    """A tag written as `class:triage`; other tags say something else."""
    names = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    return next((name.partition(":")[2].strip() for name in names if name.startswith("class:")), "")
