"""Who the demo organisation is: its classes of requests, where each comes from, and its policies."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, Literal

OPUS_45: Final = "claude-opus-4-5"
OPUS_46: Final = "claude-opus-4-6"
SONNET_45: Final = "claude-sonnet-4-5"
SONNET_46: Final = "claude-sonnet-4-6"
HAIKU_45: Final = "claude-haiku-4-5"
UNKNOWN_MODEL: Final = "claude-labs-preview"  # no such model exists: nobody has placed or priced it
# As the provider's responses and reports spell them.
RAW_NAME: Final = {OPUS_45: "claude-opus-4-5-20251101", HAIKU_45: "claude-haiku-4-5-20251001"}

NAME: Final = "Northwind Robotics (demo)"
OFFER_NAME: Final = "Invented offer (demo)"
ORGANISATION_ID: Final = "0d3e6f5a-8c1b-4f6e-9a7d-2b5c8e1f4a60"
BASELINE: Final = OPUS_45
NOTICE: Final = (
    "Demo organisation. Its requests are drawn from the shapes of public traces and its dates are made up; "
    "class pages say which evaluation results are generated for the demo. Prices are list prices."
)
DRAWN: Final = "Requests are drawn for the demo from the token sizes of {trace}."
BENCHMARK: Final = "{bench} stands for the organisation's own evals: counts{measure} are those published."
GENERATED: Final = "Eval results are generated for the demo."
STATED_CASCADE: Final = "What a check of its answers accepts and costs is invented."
EQUAL_TOKENS: Final = "Models without measured tokens are assumed to take the same number."

Via = Literal["log", "litellm"]


@dataclass(frozen=True, slots=True)
class DemoClass:
    """A class of requests. `requests`: in the last 28 days. `growth`: exponent on the common level of a day.

    `sizes`, `days`, `hours` name rows of the parameter tables.
    """

    slug: str
    title: str
    quality_owner: str
    bar: str
    latency: str
    model: str
    requests: int
    growth: float
    via: Via
    workspace: str
    feature: str
    max_tokens: int
    days: str
    hours: str
    note: str
    sizes: str = ""
    agent_kind: str = ""
    keeps_own_caching: bool = False
    standard: Literal["absolute", "not_worse", "both"] = "absolute"
    margin: str = ""

    @property
    def api_key(self) -> str:
        """Id of the provider's key in reports and request logs; the alias of the gateway's key in LiteLLM payloads."""
        return f"apikey_{self.slug.replace('-', '_')}" if self.via == "log" else f"{self.slug}-prod"

    @property
    def report_api_key(self) -> str:
        return f"apikey_{self.slug.replace('-', '_')}"

    @property
    def size_set(self) -> str:
        return self.sizes or self.slug

    @property
    def tolerance(self) -> str:
        return "0.02"


def _note(trace: str, *sentences: str) -> str:
    return " ".join([*sentences, DRAWN.format(trace=trace)])


CLASSES: Final = (
    DemoClass(
        "agentic-coding", "Agentic coding", "Developer platform", "0.72", "interactive", OPUS_45, 160_000, 1.15, "log",
        "wrkspc_engineering", "code-agent", 32_000, "m-mid/40", "claude-code",
        _note(
            "real Claude Code main agents (prompts up to 200,000 tokens)",
            BENCHMARK.format(bench="SWE-bench as run by the OpenHands index", measure=" and cost per task"),
        ),
        agent_kind="main", keeps_own_caching=True,
    ),
    DemoClass(
        "coding-subagent", "Coding sub-agents", "Developer platform", "0.80", "interactive", OPUS_46, 30_000, 1.15,
        "log", "wrkspc_engineering", "code-agent", 16_000, "m-mid/40", "claude-code",
        _note(
            "real Claude Code sub-agents",
            BENCHMARK.format(bench="The bashkit run of 28 Feb 2026, all task classes pooled,", measure=" and tokens"),
        ),
        agent_kind="sub", keeps_own_caching=True,
    ),
    DemoClass(
        "ide-completion", "IDE completion", "Developer platform", "0.80", "interactive", OPUS_45, 80_000, 0.8, "log",
        "wrkspc_engineering", "ide-completion", 2_048, "m-mid/15", "claude-code",
        _note(
            "Azure's code-completion trace of 2023",
            BENCHMARK.format(bench="SvelteBench (nine distinct cases, each run ten times)", measure=""),
            EQUAL_TOKENS,
        ),
    ),
    DemoClass(
        "chat-assistant", "Customer chat", "Customer care", "0.95", "interactive", OPUS_45, 90_000, 1.0, "litellm",
        "wrkspc_care", "support-chat", 1_024, "m-small/5", "m-small",
        _note("Azure's conversation trace of 2023", GENERATED, STATED_CASCADE, EQUAL_TOKENS),
        standard="both", margin="0.05",
    ),
    DemoClass(
        "long-document-chat", "Chat with long documents", "Knowledge tools", "0.95", "interactive", OPUS_45, 70_000,
        1.3, "litellm", "wrkspc_knowledge", "document-chat", 2_048, "m-small/12", "m-small",
        _note(
            "the Mooncake conversation trace, whose prefix reuse is taken as this class's",
            GENERATED, STATED_CASCADE, EQUAL_TOKENS,
        ),
    ),
    DemoClass(
        "summarisation-jobs", "Nightly summaries", "Knowledge tools", "0.95", "batchable", SONNET_46, 60_000, 0.6,
        "log", "wrkspc_knowledge", "summary-job", 4_096, "m-mid/101", "m-mid",
        _note("an arXiv summarisation data set", GENERATED, EQUAL_TOKENS),
        standard="not_worse", margin="0.05",
    ),
    DemoClass(
        "record-extraction", "Record extraction", "Data operations", "0.95", "batchable", OPUS_45, 90_000, 0.9, "log",
        "wrkspc_data", "record-extraction", 8_192, "m-mid/all", "m-mid",
        _note("ServeGen's m-mid clients", GENERATED, EQUAL_TOKENS),
    ),
    DemoClass(
        "ticket-classification", "Ticket classification", "Customer care", "0.95", "batchable", OPUS_45, 100_000, 0.7,
        "litellm", "wrkspc_care", "ticket-routing", 8_192, "m-small/all", "m-small",
        _note("ServeGen's m-small clients", "Nobody has run evals for it.", EQUAL_TOKENS),
    ),
    DemoClass(
        "reasoning-analytics", "Reasoning for analytics", "Data operations", "0.72", "interactive", OPUS_45, 40_000,
        1.0, "log", "wrkspc_data", "analytics-reasoning", 32_000, "m-mid/66", "deepseek-r1",
        _note(
            "ServeGen's deepseek-r1 clients",
            BENCHMARK.format(bench="SWT-bench as run by the OpenHands index", measure=" and cost per task"),
        ),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PlannedClass:
    """Work that does not run yet: it is evaluated before anybody sends a request. Judged by its mean score."""

    slug: str
    title: str
    quality_owner: str
    bar: str
    tolerance: str
    note: str


PLANNED: Final = PlannedClass(
    "catalogue-texts",
    "Catalogue texts",
    "Knowledge tools",
    "0.85",
    "0.02",
    f"Nothing of it runs yet. A rubric grades each text from 0 to 1; the mean is what is asked for. {GENERATED}",
)
# A key nobody mapped: unclassified in reports, caught by no rule (the default class) in logs. Part of it is a model
# nobody has priced.
SANDBOX: Final = DemoClass(
    "sandbox", "Sandbox", "", "0.95", "interactive", SONNET_46, 15_000, 0.5, "log", "wrkspc_sandbox", "", 4_096,
    "m-small/8", "m-small", "", sizes="chat-assistant",
)  # fmt: skip
SANDBOX_UNKNOWN_SHARE: Final = 0.2
DEFAULT_CLASS: Final = "general"
DEFAULT_TITLE: Final = "Everything else"
DEFAULT_NOTE: Final = "What no rule of the policy catches: here the requests of a sandbox key, drawn for the demo."
# Its usage does not tell where it ran; a third of it runs in the US, which only the cost report says.
REGION_UNTOLD: Final = "summarisation-jobs"
# Ask Haiku 4.5 first, check its answer, and escalate what the check refuses: once with a check that costs little, once
# with one that reads the whole document again.
CASCADES: Final[dict[str, dict[str, str]]] = {
    "chat-assistant": {
        "cheap": HAIKU_45, "check_usd": "0.0005", "good_accepted": "0.95", "bad_accepted": "0.10",
        "source": "invented for the demo: a short check of tone and policy",
    },
    "long-document-chat": {
        "cheap": HAIKU_45, "check_usd": "0.035", "good_accepted": "0.95", "bad_accepted": "0.10",
        "source": "invented for the demo: a check that reads the document again",
    },
}  # fmt: skip
MOVED: Final = "record-extraction"  # from Opus 4.5 to Haiku 4.5 when the second policy was activated
POLICY: Final = "claude-prod"

_MAX_INPUT: Final = {OPUS_45: 200_000, OPUS_46: 1_000_000, SONNET_46: 1_000_000, HAIKU_45: 200_000}


def offer_document(last: date) -> dict[str, Any]:
    """The invented offer (costgov.terms/1): a year that begins with the month after the next one."""
    month = last.replace(day=1)
    for _ in range(2):
        month = (month + timedelta(days=31)).replace(day=1)
    return {
        "schema": "costgov.terms/1",
        "currency": "USD",
        "start": month.isoformat(),
        "months": 12,
        "true_up": "annual",
        "overage": "list",
        "stated_in": "payable",
        "bands": [
            {"name": "T1", "commitment": "100000", "discount": "0.06"},
            {"name": "T2", "commitment": "250000", "discount": "0.12"},
            {"name": "T3", "commitment": "500000", "discount": "0.18"},
        ],
    }


def policy_document(*, version: int) -> dict[str, Any]:
    """The first policy writes down what runs; the second moves record extraction to Haiku 4.5."""
    targets = {row.slug: row.model for row in CLASSES}
    if version > 1:
        targets[MOVED] = HAIKU_45
    assignments: dict[str, Any] = {slug: {"target": {"model": model}} for slug, model in targets.items()}
    if version > 1:
        assignments[MOVED]["baseline"] = {"model": OPUS_45}
    assignments[DEFAULT_CLASS] = {"target": {"model": None}}
    named = sorted({*targets.values(), OPUS_45})
    return {
        "schema": "costgov.policy/1",
        "policy": POLICY,
        "version": version,
        "mode": "enforce",
        "classes": {
            **{
                row.slug: {"title": row.title, "quality_owner": row.quality_owner, "spend_owner": "Procurement"}
                for row in CLASSES
            },
            DEFAULT_CLASS: {"title": DEFAULT_TITLE},
        },
        "default_class": DEFAULT_CLASS,
        "rules": [{"id": rule_of(row), "class": row.slug, "when": _conditions(row)} for row in CLASSES],
        "assignments": assignments,
        "sticky_keys": ["conversation", "user", "api_key"],
        "allow_bypass": True,
        "models": {model: {"max_input_tokens": _MAX_INPUT[model], "vision": True} for model in named},
    }


def rule_of(row: DemoClass) -> str:
    return f"r{CLASSES.index(row) + 1}"


def _conditions(row: DemoClass) -> list[dict[str, Any]]:
    conditions: list[dict[str, Any]] = [{"field": "feature", "op": "in", "value": [row.feature]}]
    if row.agent_kind:
        conditions.append({"field": "meta.agent_kind", "op": "in", "value": [row.agent_kind]})
    if row.via == "log" and not row.agent_kind:
        conditions.append({"field": "api_key", "op": "in", "value": [row.api_key]})
    return conditions
