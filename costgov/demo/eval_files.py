"""Eval files of the demo in the real formats (promptfoo JSON, plain CSV).

Benchmarks reproduce the published counts exactly: passes, joint passes, cost or tokens. Generated sets are drawn from
stated true rates with a fixed seed, so their counts are the same in every demo.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import orjson

from costgov.demo import tables
from costgov.demo.organisation import HAIKU_45, OPUS_45, OPUS_46, SONNET_46

SEED: Final = 20_262
PROMPTFOO_VERSION: Final = "0.121.20"
Format = Literal["promptfoo", "csv"]


@dataclass(frozen=True, slots=True)
class GeneratedSuite:
    """A suite drawn for the demo: each model passes a case with its true rate, independently."""

    request_class: str
    name: str
    cases: int
    rates: dict[str, float]


GENERATED: Final = (
    GeneratedSuite("chat-assistant", "support-answers", 450, {OPUS_45: 0.985, SONNET_46: 0.98, HAIKU_45: 0.85}),
    GeneratedSuite("long-document-chat", "document-questions", 400, {OPUS_45: 0.98, SONNET_46: 0.975, HAIKU_45: 0.98}),
    GeneratedSuite("summarisation-jobs", "summaries", 450, {SONNET_46: 0.98, HAIKU_45: 0.975}),
    GeneratedSuite("record-extraction", "extraction@1", 450, {OPUS_45: 0.985, HAIKU_45: 0.975}),
    GeneratedSuite("record-extraction", "extraction@2", 450, {OPUS_45: 0.98, SONNET_46: 0.98, HAIKU_45: 0.86}),
)


@dataclass(frozen=True, slots=True)
class GradedSuite:
    """A suite graded by a rubric of twenty points: normal around each model's mean, cut at 0 and 1."""

    request_class: str
    name: str
    cases: int
    means: dict[str, float]
    spread: float
    passes_from: float


GRADED: Final = GradedSuite(
    "catalogue-texts", "catalogue-texts", 320, {SONNET_46: 0.90, HAIKU_45: 0.835}, spread=0.12, passes_from=0.7
)
OLD_RUBRIC_TAKES: Final = 0.06
BENCH_CLASSES: Final = ("agentic-coding", "reasoning-analytics", "coding-subagent")


@dataclass(frozen=True, slots=True)
class Result:
    """One result to write. `passed` None = not run."""

    suite: str
    sample_id: str
    request_class: str
    model: str
    passed: bool
    repeat: str = ""
    cost_usd: Decimal | None = None
    input_tok: int | None = None
    output_tok: int | None = None
    grade: float | None = None


@dataclass(frozen=True, slots=True)
class EvalFile:
    """One run. `models` empty = all of the suite. `broken`: its grader failed, and passes one case in eight.

    `old_rubric`: graded by one that takes six points off every text. `set_aside`: why somebody set it aside, hours
    later; '' = nobody did.
    """

    label: str
    suite: str
    format: Format
    days_before: int
    models: tuple[str, ...] = ()
    broken: bool = False
    old_rubric: bool = False
    set_aside: str = ""

    @property
    def name_part(self) -> str:
        return "json" if self.format == "promptfoo" else "csv"

    def name(self, last: date) -> str:
        return f"{self.label}_{last - timedelta(days=self.days_before)}.{self.name_part}"

    def run_at(self, last: date) -> datetime:
        day = last - timedelta(days=self.days_before)
        return datetime(day.year, day.month, day.day, 10, tzinfo=UTC)

    def ready_at(self, last: date) -> datetime:
        """When the organisation has the file."""
        return self.run_at(last) + timedelta(hours=2)

    def set_aside_at(self, last: date) -> datetime:
        return self.ready_at(last) + timedelta(hours=3)

    def results(self) -> list[Result]:
        rows = [row for row in suite_results(self.suite) if not self.models or row.model in self.models]
        if self.old_rubric:
            return [_graded(row, max((row.grade or 0) - OLD_RUBRIC_TAKES, 0.0)) for row in rows]
        return [replace(row, passed=number % 8 == 0) for number, row in enumerate(rows)] if self.broken else rows

    def write(self, folder: Path, last: date) -> Path:
        path = folder / self.name(last)
        write = _promptfoo if self.format == "promptfoo" else _csv
        path.write_bytes(write(self.results(), self.run_at(last)))
        return path


# The first round shows what runs already, before the first policy; the second compares, before today's decision.
FIRST_ROUND: Final = 210
EVAL_FILES: Final = (
    EvalFile("swe-bench_first", "swe-bench", "csv", FIRST_ROUND, (OPUS_45,)),
    EvalFile("swt-bench_first", "swt-bench", "csv", FIRST_ROUND, (OPUS_45,)),
    EvalFile("bashkit_first", "bashkit", "promptfoo", FIRST_ROUND, (OPUS_46,)),
    EvalFile("sveltebench_first", "sveltebench", "promptfoo", FIRST_ROUND, (OPUS_45,)),
    EvalFile("support-answers_first", "support-answers", "promptfoo", FIRST_ROUND, (OPUS_45,)),
    EvalFile("document-questions_first", "document-questions", "csv", FIRST_ROUND, (OPUS_45,)),
    EvalFile("summaries_first", "summaries", "promptfoo", FIRST_ROUND, (SONNET_46,)),
    EvalFile("extraction-1_first", "extraction@1", "csv", FIRST_ROUND, (OPUS_45,)),
    EvalFile("extraction-1_haiku", "extraction@1", "csv", 145, (OPUS_45, HAIKU_45)),
    EvalFile("document-questions_haiku", "document-questions", "csv", 132, (HAIKU_45,)),  # nobody acted; stale today
    EvalFile(
        "catalogue-texts_old-rubric", "catalogue-texts", "csv", 24, (SONNET_46,), old_rubric=True,
        set_aside="Graded with last year's rubric, which marks every text six points down. Run again with this year's.",
    ),
    EvalFile("catalogue-texts", "catalogue-texts", "csv", 22),
    EvalFile("swe-bench", "swe-bench", "csv", 20),
    EvalFile("swt-bench", "swt-bench", "csv", 19),
    EvalFile("bashkit", "bashkit", "promptfoo", 18),
    EvalFile("sveltebench", "sveltebench", "promptfoo", 18),
    EvalFile("support-answers", "support-answers", "promptfoo", 14),
    EvalFile("document-questions", "document-questions", "csv", 13, (OPUS_45, SONNET_46)),
    EvalFile("summaries", "summaries", "promptfoo", 12),
    EvalFile("extraction-2", "extraction@2", "csv", 8),
    EvalFile("support-answers_broken", "support-answers", "promptfoo", 3, (OPUS_45, SONNET_46), broken=True),
)  # fmt: skip


def suite_results(suite: str) -> list[Result]:
    """Every result of a suite, the same in every demo."""
    generated = next((item for item in GENERATED if item.name == suite), None)
    if generated is not None:
        return _drawn(generated)
    if suite == GRADED.name:
        return _drawn_grades()
    if suite == "sveltebench":
        return _repeated()
    return _benchmark(suite)


def _drawn(suite: GeneratedSuite) -> list[Result]:
    number = GENERATED.index(suite)
    found = []
    for position, (model, rate) in enumerate(suite.rates.items()):
        passed = np.random.default_rng([SEED, 1, number, position]).random(suite.cases) < rate
        found += [
            Result(suite.name, f"{suite.name.partition('@')[0]}-{i + 1:04d}", suite.request_class, model, flag)
            for i, flag in enumerate(passed.tolist())
        ]
    return found


def _drawn_grades() -> list[Result]:
    """The same texts on every model: what makes one hard is drawn per model."""
    found = []
    for position, (model, mean) in enumerate(GRADED.means.items()):
        drawn = np.random.default_rng([SEED, 4, position]).normal(mean, GRADED.spread, GRADED.cases)
        for i, grade in enumerate(np.clip(np.round(drawn * 20) / 20, 0, 1).tolist()):
            row = Result(GRADED.name, f"{GRADED.name}-{i + 1:04d}", GRADED.request_class, model, passed=False)
            found.append(_graded(row, grade))
    return found


def _graded(row: Result, grade: float) -> Result:
    return replace(row, grade=round(grade, 2), passed=grade >= GRADED.passes_from)


def _repeated() -> list[Result]:
    """Ten runs of each of nine components: repeats of nine cases."""
    return [
        Result(row["suite"], row["case"], row["class"], row["model"], i < int(row["passes"]), repeat=str(i))
        for row in tables.rows("eval_repeats.csv")
        for i in range(int(row["repeats"]))
    ]


def _benchmark(suite: str) -> list[Result]:
    """Cases whose joint outcomes, and whose cost or tokens per model, sum to the published figures exactly."""
    patterns = [row for row in tables.rows("eval_patterns.csv") if row["suite"] == suite]
    request_class, models = patterns[0]["class"], patterns[0]["models"].split()
    outcomes = [row["pattern"] for row in patterns for _ in range(int(row["cases"]))]
    order = np.random.default_rng([SEED, 2, BENCH_CLASSES.index(request_class)]).permutation(len(outcomes))
    found = []
    for position, model in enumerate(models):
        cases = [
            (number, outcomes[i][position] == "1")
            for number, i in enumerate(order.tolist(), start=1)
            if outcomes[i][position] != "-"
        ]
        measured = {
            row["measure"]: _exact_parts(row, len(cases), [SEED, 3, BENCH_CLASSES.index(request_class), position])
            for row in tables.rows("eval_measures.csv")
            if (row["class"], row["model"]) == (request_class, model)
        }
        for i, (number, passed) in enumerate(cases):
            found.append(
                Result(
                    suite,
                    f"{suite}-{number:03d}",
                    request_class,
                    model,
                    passed,
                    cost_usd=measured["cost_usd"][i] if "cost_usd" in measured else None,
                    input_tok=int(measured["input_tokens"][i]) if "input_tokens" in measured else None,
                    output_tok=int(measured["output_tokens"][i]) if "output_tokens" in measured else None,
                )
            )
    return found


def _exact_parts(row: dict[str, str], count: int, seed: Sequence[int]) -> list[Decimal]:
    """Values spread like the row's quantiles that sum to its total exactly; the largest takes what rounding leaves."""
    total = Decimal(row["total"])
    places = Decimal("0.000001") if row["measure"] == "cost_usd" else Decimal(1)
    values = tables.spread(row, count, np.random.default_rng(list(seed)))
    scale = float(total) / float(values.sum())
    parts = [Decimal(repr(float(value * scale))).quantize(places) for value in values]
    largest = parts.index(max(parts))
    parts[largest] += total - sum(parts, Decimal(0))
    return parts


# --- formats ----------------------------------------------------------------------------------------------------------


def _csv(results: Sequence[Result], run_at: datetime) -> bytes:
    out = io.StringIO()
    names = ["suite", "request_class", "sample_id", "model", "run_at", "passed", "cost_usd", "repeat"]
    if any(row.grade is not None for row in results):
        names.append("score")
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    for row in results:
        grade = {} if row.grade is None else {"score": str(row.grade)}
        writer.writerow(
            {
                **grade,
                "suite": row.suite,
                "request_class": row.request_class,
                "sample_id": row.sample_id,
                "model": row.model,
                "run_at": f"{run_at:%Y-%m-%dT%H:%M:%SZ}",
                "passed": "true" if row.passed else "false",
                "cost_usd": "" if row.cost_usd is None else format(row.cost_usd, "f"),
                "repeat": row.repeat,
            }
        )
    return out.getvalue().encode()


def _promptfoo(results: Sequence[Result], run_at: datetime) -> bytes:
    rows = list(_promptfoo_rows(results))
    passed = sum(row.passed for row in results)
    at = f"{run_at:%Y-%m-%dT%H:%M:%S.000Z}"
    return orjson.dumps(
        {
            "evalId": f"eval-demo-{results[0].suite}-{run_at:%Y-%m-%dT%H:%M:%S}",
            "results": {
                "version": 3,
                "timestamp": at,
                "results": rows,
                "stats": {"successes": passed, "failures": len(rows) - passed, "errors": 0},
            },
            "config": {"description": results[0].suite},
            "shareableUrl": None,
            "metadata": {"promptfooVersion": PROMPTFOO_VERSION, "exportedAt": at, "evaluationCreatedAt": at},
        }
    )


def _promptfoo_rows(results: Sequence[Result]) -> Iterator[dict[str, Any]]:
    for index, row in enumerate(results):
        metadata = {"sample_id": row.sample_id, "request_class": row.request_class}
        if row.repeat:
            metadata["repeat"] = row.repeat
        found: dict[str, Any] = {
            "promptIdx": 0,
            "testIdx": index,
            "provider": {"id": f"anthropic:messages:{row.model}", "label": row.model},
            "success": row.passed,
            "score": 1 if row.passed else 0,
            "failureReason": 0 if row.passed else 1,
            "gradingResult": {"pass": row.passed, "score": 1 if row.passed else 0, "reason": ""},
            "testCase": {"metadata": metadata},
            "metadata": metadata,
        }
        if row.input_tok is not None and row.output_tok is not None:
            found["tokenUsage"] = {
                "prompt": row.input_tok,
                "completion": row.output_tok,
                "cached": 0,
                "total": row.input_tok + row.output_tok,
                "numRequests": 1,
            }
        yield found
