"""JUnit XML of a test runner (formats/eval-results.md): each test case is a case; facts of it are its properties.

`record_property("model", …)` and the like put model, class, tokens and cost into the file. A failed assertion is a
failed case. `error` and `skipped` have no verdict, and neither has a `failure` that names another exception: pytest
reports an exception inside a test as a failure, and an outage of the provider says nothing about the model.

The parser reads no DTD and no entity, holds no text of the tests, and bounds what is nested.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from xml.parsers import expat

from routing.core.evidence import CaseResult
from routing.importers.base import (
    NO_OPTIONS,
    PROMPTS_UNKNOWN,
    TELL_ALL_THREE,
    About,
    EvalImportError,
    ReadOptions,
    RejectedRow,
    attempts,
    candidate,
    cost_usd,
    error_kind,
    instant,
    latency_ms,
    mode_of,
    present,
    score,
    seconds_as_ms,
    split_suite,
    text,
    tokens,
)
from routing.importers.files import binary

_AGAIN = "Write it again, for example with pytest --junitxml=results.xml"
_MOST_NESTED = 64
_CHUNK = 1 << 16
_MOST_PROPERTIES = 200
_MOST_TEXT = 2_000
_EXCEPTION = re.compile(r"^([A-Za-z_][\w.$]*(?:Error|Exception|Timeout|Interrupt|Warning|Exit))\b")
_ASSERTION = re.compile(r"assert|comparisonfailure|^failed$|\.failed$|^error$|expectation", re.IGNORECASE)
_CACHED = ("cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
_RERUNS = {"rerunFailure", "rerunError", "flakyFailure", "flakyError", "rerun"}


@dataclass(frozen=True, slots=True)
class JUnit:
    """`pytest --junitxml=results.xml`, or the JUnit XML of another runner."""

    name: str = "junit"
    description: str = "JUnit XML with properties for model, class, tokens and cost"

    def detects(self, head: bytes, filename: str) -> bool:
        start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        if start.startswith((b"\xff\xfe", b"\xfe\xff")):
            start = start.replace(b"\x00", b"")[2:]
        return start.startswith(b"<") and re.search(rb"<testsuites?[\s/>]", start) is not None

    def read(
        self, path: Path, options: ReadOptions = NO_OPTIONS, about: About | None = None
    ) -> Iterator[CaseResult | RejectedRow]:
        about = About() if about is None else about
        models: set[str] = set()
        runner = None
        for case in _cases(path):  # read twice rather than held
            runner = case.runner or case.suite if runner is None else runner
            if len(models) < 2 and case.properties.get("model"):
                models.add(case.properties["model"])
        if runner is None:
            raise EvalImportError("holds no test case", remedy=_AGAIN, file=path.name)
        about.tool = "pytest" if runner in ("pytest", "pytest tests") else "JUnit XML"
        reader = _CaseReader(options, next(iter(models)) if len(models) == 1 else "", about)
        for case in _cases(path):
            try:
                yield reader.read(case)
            except EvalImportError as error:
                yield RejectedRow(error.at(file=path.name, line=case.line, where=f"test {case.name[:80]}"))
        reader.finish()


@dataclass(slots=True)
class _Case:
    line: int
    name: str
    classname: str
    time: str
    suite: str
    timestamp: str
    runner: str
    properties: dict[str, str] = field(default_factory=dict)
    outcome: str = "passed"
    said: str = ""  # type of the exception, else the start of its message; never kept
    reruns: int = 0


class _Handler:
    """State of the parser: which suite and case is open, and the cases that are complete."""

    def __init__(self, parser: expat.XMLParserType) -> None:
        self.parser = parser
        self.suites: list[tuple[str, str, dict[str, str]]] = []
        self.runner = ""
        self.case: _Case | None = None
        self.done: list[_Case] = []
        self.depth = 0
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.StartDoctypeDeclHandler = self.refuse
        parser.EntityDeclHandler = self.refuse
        parser.ExternalEntityRefHandler = self.refuse

    def refuse(self, *_: object) -> int:
        remedy = "No runner writes one: remove it, it can only hide something"
        raise EvalImportError("declares a document type", remedy=remedy, line=self.parser.CurrentLineNumber)

    def start(self, tag: str, found: dict[str, str]) -> None:
        # Longer ones are no id and no number: what is left of them is still too long, and refused.
        attributes = {name: value[:_MOST_TEXT] for name, value in found.items()}
        self.depth += 1
        if self.depth > _MOST_NESTED:
            raise EvalImportError("is nested too deeply", remedy=_AGAIN, line=self.parser.CurrentLineNumber)
        if tag == "testsuites":
            self.runner = attributes.get("name", "")
        elif tag == "testsuite":
            timestamp = attributes.get("timestamp") or (self.suites[-1][1] if self.suites else "")
            inherited = dict(self.suites[-1][2]) if self.suites else {}
            self.suites.append((attributes.get("name", ""), timestamp, inherited))
        elif tag == "testcase":
            name, timestamp, properties = self.suites[-1] if self.suites else ("", "", {})
            self.case = _Case(
                line=self.parser.CurrentLineNumber,
                name=attributes.get("name", ""),
                classname=attributes.get("classname", ""),
                time=attributes.get("time", ""),
                suite=name,
                timestamp=attributes.get("timestamp") or timestamp,
                runner=self.runner,
                properties=dict(properties),
            )
        elif tag == "property":
            properties = self.case.properties if self.case else self.suites[-1][2] if self.suites else {}
            if len(properties) < _MOST_PROPERTIES:
                properties[attributes.get("name", "")] = attributes.get("value", "")
        elif self.case is not None and tag in {"failure", "error", "skipped"}:
            self._outcome(self.case, tag, attributes)
        elif self.case is not None and tag in _RERUNS:
            self.case.reruns += 1

    def _outcome(self, case: _Case, tag: str, attributes: dict[str, str]) -> None:
        rank = ("passed", "failure", "skipped", "error")  # a test may fail and its teardown break: then it broke
        if rank.index(tag) > rank.index(case.outcome):
            case.outcome = tag
            case.said = f"{attributes.get('type', '')} {attributes.get('message', '')}".strip()[:500]

    def end(self, tag: str) -> None:
        self.depth -= 1
        if tag == "testsuite":
            self.suites.pop()
        elif tag == "testcase" and self.case is not None:
            self.done.append(self.case)
            self.case = None


def _cases(path: Path) -> Iterator[_Case]:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    handler = _Handler(parser)
    try:
        with binary(path) as file:
            while chunk := file.read(_CHUNK):
                parser.Parse(chunk, False)
                yield from handler.done
                handler.done.clear()
            parser.Parse(b"", True)
    except expat.ExpatError as error:
        what = expat.ErrorString(error.code)
        ended = "no element found" in what or "unclosed" in what
        problem = f"is not complete XML at column {error.offset} ({'the file is truncated' if ended else what})"
        raise EvalImportError(problem, remedy=_AGAIN, file=path.name, line=error.lineno) from error
    except (LookupError, ValueError) as error:  # an encoding that is unknown, or needs more than one byte a character
        if isinstance(error, EvalImportError):
            raise error.at(file=path.name, line=error.line) from error
        raise EvalImportError("names an encoding that is not read", remedy="Write UTF-8", file=path.name) from error
    yield from handler.done


class _CaseReader:
    def __init__(self, options: ReadOptions, only_model: str, about: About) -> None:
        self.options = options
        self.only_model = only_model
        self.about = about
        self.exceptions: dict[str, int] = {}
        self.assumed = 0
        self.unknown_prompts = 0

    def read(self, case: _Case) -> CaseResult:
        found = case.properties
        raw = self._model(case)
        suite, version = self._suite(case)
        verdict, error = self._verdict(case)
        measured = verdict is not None
        latency = latency_ms(found.get("latency_ms"), "latency_ms")
        graded = score(found.get("score"), "score") if measured else None
        stated = attempts(found.get("attempts"), "attempts")
        cached = [tokens(found.get(name), name) for name in _CACHED]
        if found.get("input_tokens") and None in cached:
            self.unknown_prompts += 1
        return CaseResult(
            suite=suite,
            suite_version=version,
            sample_id=self._sample_id(case),
            candidate=candidate(raw, "model"),
            run_at=self._run_at(case),
            score=verdict,
            prompt_version=text(found.get("prompt_version", ""), "prompt_version", most=128),
            request_class=text(found.get("request_class") or self.options.request_class, "request_class", most=64),
            repeat=text(found.get("repeat", ""), "repeat", most=64),
            candidate_raw=raw,
            error=error,
            uncached_input_tok=tokens(found.get("input_tokens"), "input_tokens"),
            cache_read_tok=cached[0],
            cache_write_5m_tok=cached[1],
            cache_write_1h_tok=cached[2],
            output_tok=tokens(found.get("output_tokens"), "output_tokens"),
            cost_usd=cost_usd(found.get("cost_usd"), "cost_usd"),
            latency_ms=(latency if latency is not None else seconds_as_ms(case.time, "time")) if measured else None,
            mode=text(found.get("mode") or mode_of(found) or self.options.mode, "mode", most=64),
            graded_score=graded,
            attempts=case.reruns + 1 if case.reruns and stated is None else stated,
        )

    def _model(self, case: _Case) -> str:
        found = case.properties.get("model") or self.options.model
        if not found and self.only_model:
            self.assumed += 1
            found = self.only_model
        raw = text(found, "model")
        if not raw:
            remedy = 'Say record_property("model", …) first thing in the test, or name the model (--model)'
            raise EvalImportError("no model", remedy=remedy, field="model")
        return raw

    def _suite(self, case: _Case) -> tuple[str, str]:
        """The property, else the name of the suite. `pytest` is what every suite is called that has no name."""
        stated = case.properties.get("suite") or ("" if case.suite == "pytest" else case.suite)
        name, version = split_suite(text(stated or self.options.suite or case.suite, "testsuite.name"))
        if not name:
            raise EvalImportError("no suite", remedy="Name the suite (--suite)", field="testsuite.name")
        return name, text(version, "testsuite.name", most=64)

    def _sample_id(self, case: _Case) -> str:
        """The property `sample_id`, else class and name: two modules may have tests of one name."""
        found = case.properties.get("sample_id") or "::".join(part for part in (case.classname, case.name) if part)
        if not found:
            raise EvalImportError("no name", remedy="Every test needs one", field="name")
        return present(found, "name", most=512)

    def _run_at(self, case: _Case) -> datetime:
        if case.timestamp:
            return instant(case.timestamp, "timestamp")
        if self.options.run_at is None:
            remedy = "Say when the tests were run (--run-at)"
            raise EvalImportError("no time of the run", remedy=remedy, field="timestamp")
        return self.options.run_at

    def _verdict(self, case: _Case) -> tuple[float | None, str]:
        """Passing only after a rerun is a share of the tries: repeating until it passes must not help."""
        if case.outcome == "passed":
            return 1.0 / (1 + case.reruns), ""
        if case.outcome == "failure":
            exception = _exception(case.said)
            if not exception:
                return 0.0, ""
            self.exceptions[exception] = self.exceptions.get(exception, 0) + 1
            return None, error_kind(case.said)
        return None, error_kind(case.said) if case.outcome == "error" and case.said else case.outcome

    def finish(self) -> None:
        if self.assumed:
            rest = f"for {self.only_model}, the only one that is named."
            self.about.warn_of(self.assumed, "test names no model: it counts", "tests name no model: they count", rest)
        if self.unknown_prompts:
            self.about.warn_of(self.unknown_prompts, "test tells", "tests tell", f"{PROMPTS_UNKNOWN} {TELL_ALL_THREE}")
        if self.exceptions:
            count, names = sum(self.exceptions.values()), ", ".join(sorted(self.exceptions)[:5])
            self.about.warn_of(
                count,
                "test ended",
                "tests ended",
                f"in an exception that is no assertion ({names}): left out, not failed. Assert on the answer where "
                "such a case should count as failed.",
            )


def _exception(said: str) -> str:
    """Name of the exception behind a failure; '' for an assertion, or where nothing names one.

    >>> [_exception(said) for said in ("AssertionError: no", "RuntimeError: overloaded", "assert 1 == 2", "Failed: x")]
    ['', 'RuntimeError', '', '']
    """
    named = _EXCEPTION.match(said)
    if named is None:
        return ""
    name = named[1].rsplit(".", 1)[-1]
    return "" if _ASSERTION.search(name) else name[:64]
