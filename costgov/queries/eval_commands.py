"""How to run a class's evals on a model: its own suites, and the two lines that run one and bring the results in.

The tool of a suite is the one its latest results came from. A line is a start, not a promise: where a suite's files lie
is known to its owners only.
"""

import shlex
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from routing.models import EvalRun

_Line = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class SuiteToRun:
    """One suite of a class, in its newest version, with the tool it came from and its latest run.

    `run_line` runs it on the model (for results of a table: what the file must hold); `import_line` brings `file` in.
    `results`: of the latest run, all models and repeats.
    """

    suite: str
    tool: str
    latest_run_at: datetime
    results: int
    run_line: str
    file: str
    import_line: str


@dataclass(frozen=True, slots=True)
class _Tool:
    file: str
    line: _Line


def _word(text: str) -> str:
    return shlex.quote(text)


_TOOLS: Mapping[str, _Tool] = {
    "promptfoo": _Tool(
        "results.json",
        lambda suite, model: f"npx promptfoo eval --providers anthropic:messages:{_word(model)} --output results.json",
    ),
    "inspect": _Tool(
        "logs/*.eval",
        lambda suite, model: f"inspect eval {_word(suite)}.py --model anthropic/{_word(model)} --log-dir logs",
    ),
    "deepeval": _Tool(
        ".deepeval/.latest_test_run.json",
        lambda suite, model: f"deepeval test run test_{_word(suite)}.py  # with hyperparameter model={_word(model)}",
    ),
    "lm-eval": _Tool(
        "results/*/samples_*.jsonl",
        lambda suite, model: (
            f"lm_eval --model anthropic-chat-completions --model_args model={_word(model)} --tasks {_word(suite)} "
            "--apply_chat_template --log_samples --output_path results"
        ),
    ),
    "openai-evals": _Tool(
        "results.jsonl",
        lambda suite, model: f"oaieval {_word(model)} {_word(suite)} --record_path results.jsonl",
    ),
    "junit": _Tool(
        "results.xml",
        lambda suite, model: (
            f"pytest --junitxml=results.xml -o junit_suite_name={_word(suite)}  # calling {_word(model)}"
        ),
    ),
}
_TABLE = _Tool(
    "results.csv",
    lambda suite, model: f"# write results.csv: suite={suite}, sample_id, model={model}, passed (true or false)",
)


def suites_to_run(slugs: Collection[str], *, model: str, as_of: datetime) -> dict[str, tuple[SuiteToRun, ...]]:
    """The suites of classes with results before `as_of`, each in the version that ran last, the latest first.

    Runs that were set aside do not count. Classes without a suite are left out.
    """
    runs = (
        EvalRun.objects.filter(request_class__slug__in=slugs, run_at__lt=as_of, set_aside_at=None, is_live=False)
        .order_by("-run_at", "-id")
        .values_list(
            "request_class__slug", "suite", "suite_version", "tool", "eval_import__format", "run_at", "results"
        )
    )
    found: dict[str, dict[str, SuiteToRun]] = defaultdict(dict)
    for slug, suite, version, tool, format_name, run_at, results in runs:
        if suite not in found[slug]:
            name = suite if version == "1" else f"{suite}@{version}"
            found[slug][suite] = _suite(slug, suite, name, tool or format_name, format_name, model, run_at, results)
    return {slug: tuple(suites.values()) for slug, suites in found.items()}


def _suite(
    slug: str, suite: str, name: str, tool: str, format_name: str, model: str, run_at: datetime, results: int
) -> SuiteToRun:
    known = _TOOLS.get(format_name, _TABLE)
    return SuiteToRun(
        suite=name,
        tool=tool,
        latest_run_at=run_at,
        results=results,
        run_line=known.line(name if known is _TABLE or format_name == "junit" else suite, model),
        file=known.file,
        import_line=import_line(slug, known.file),
    )


def import_line(slug: str, file: str = "results.json") -> str:
    """Brings a file of results in for a class, from the machine costgov runs on."""
    return f"manage.py import_evals {file} --class {_word(slug)}"
