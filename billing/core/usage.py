"""Usage as counted facts: disjoint token counters and their keys (architecture.md §4, formats/README.md).

Text dimensions follow the stored rows: `''` means unknown, `(not grouped)` that the source did not separate it,
`(default)` the provider's default workspace, `(none)` that it does not apply. These are four different states.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from billing.core.periods import Period, utc

TokenKind = Literal["uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output"]
PricedKind = Literal["uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "web_search"]
TOKEN_KINDS: Final[tuple[TokenKind, ...]] = (
    "uncached_input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "output",
)
PRICED_KINDS: Final[tuple[PricedKind, ...]] = (*TOKEN_KINDS, "web_search")
COUNTER_OF_KIND: Final[Mapping[PricedKind, str]] = {
    "uncached_input": "uncached_input_tok",
    "cache_read": "cache_read_tok",
    "cache_write_5m": "cache_write_5m_tok",
    "cache_write_1h": "cache_write_1h_tok",
    "output": "output_tok",
    "web_search": "web_searches",
}
COUNTERS: Final = tuple(COUNTER_OF_KIND.values())

UNKNOWN: Final = ""
NOT_GROUPED: Final = "(not grouped)"
DEFAULT_WORKSPACE: Final = "(default)"
NOT_APPLICABLE: Final = "(none)"
UNTOLD: Final = frozenset({UNKNOWN, NOT_GROUPED})

MAX_COUNT: Final = 2**63 - 1  # a PostgreSQL bigint

# Upper ends (inclusive) of the bands a request falls into: every prompt-length threshold any price has had. A request
# band is the finest, so each price band (0-200k, 100k-1M, …) either holds it whole or not at all.
BAND_EDGES_TOK: Final = (100_000, 200_000)
REQUEST_BANDS: Final = ("0-100k", "100k-200k", "200k-1M")


class UsageError(ValueError):
    """Counts or keys that contradict themselves."""


def prompt_length_band(total_input_tok: int) -> str:
    """Band of one request by its whole prompt, cached or not: 100,000 → `0-100k`, 100,001 → `100k-200k`."""
    if total_input_tok < 0:
        raise UsageError(f"total input must be at least 0 tokens, got {total_input_tok}")
    for edge, band in zip(BAND_EDGES_TOK, REQUEST_BANDS, strict=False):
        if total_input_tok <= edge:
            return band
    return REQUEST_BANDS[-1]


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Exclusive counters: no token is in two of them. Non-negative whole numbers that fit a bigint, else UsageError."""

    uncached_input_tok: int = 0
    cache_read_tok: int = 0
    cache_write_5m_tok: int = 0
    cache_write_1h_tok: int = 0
    output_tok: int = 0
    web_searches: int = 0

    def __post_init__(self) -> None:
        for name in COUNTERS:
            count = getattr(self, name)
            if type(count) is not int or not 0 <= count <= MAX_COUNT:
                raise UsageError(f"{name} must be a whole number between 0 and {MAX_COUNT}, got {count!r}")

    @classmethod
    def of(cls, **counts: int) -> "TokenCounts":
        """From kinds instead of counter names: `TokenCounts.of(output=5)`."""
        return cls(**{COUNTER_OF_KIND[_kind(kind)]: count for kind, count in counts.items()})

    @property
    def total_input_tok(self) -> int:
        """Uncached input + cache reads + both cache writes."""
        return self.uncached_input_tok + self.cache_read_tok + self.cache_write_5m_tok + self.cache_write_1h_tok

    @property
    def total_tok(self) -> int:
        return self.total_input_tok + self.output_tok

    @property
    def is_zero(self) -> bool:
        return self.total_tok == 0 and self.web_searches == 0

    def count(self, kind: PricedKind) -> int:
        """Tokens of one kind, or web searches."""
        return int(getattr(self, COUNTER_OF_KIND[kind]))

    def __add__(self, other: "TokenCounts") -> "TokenCounts":
        return TokenCounts(
            self.uncached_input_tok + other.uncached_input_tok,
            self.cache_read_tok + other.cache_read_tok,
            self.cache_write_5m_tok + other.cache_write_5m_tok,
            self.cache_write_1h_tok + other.cache_write_1h_tok,
            self.output_tok + other.output_tok,
            self.web_searches + other.web_searches,
        )

    def shortfall(self, explained: "TokenCounts") -> "TokenCounts":
        """Per counter `max(0, self − explained)`: what the other side does not explain."""
        return TokenCounts(*(max(0, getattr(self, name) - getattr(explained, name)) for name in COUNTERS))


NO_TOKENS: Final = TokenCounts()


def sum_counts(counts: Iterable[TokenCounts]) -> TokenCounts:
    """Sum of counters; zero counts for nothing."""
    totals = [0] * len(COUNTERS)
    for item in counts:
        for i, name in enumerate(COUNTERS):
            totals[i] += getattr(item, name)
    return TokenCounts(*totals)


@dataclass(frozen=True, slots=True)
class UsageKey:
    """What usage is told apart by, besides time: the columns of a usage row (text, never null)."""

    organisation: str = UNKNOWN
    channel: str = "anthropic"
    workspace: str = UNKNOWN
    api_key: str = UNKNOWN
    model: str = UNKNOWN
    service_tier: str = UNKNOWN
    prompt_length_band: str = UNKNOWN
    geo: str = UNKNOWN
    speed: str = UNKNOWN
    request_class: str = UNKNOWN
    policy_version: int = 0
    arm: str = UNKNOWN


FactValue = str | int | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UsageRequest:
    """One request from a log, without prompt or answer text.

    `request_id` is the canonical id (formats/README.md); provider and response ids are both kept, a match on either is
    a match. `request_class` is the log's own class tag, `decision` the policy decision in the record. A failed request
    (`status` other than "ok") has zero counts and no cost.
    """

    occurred_at: datetime
    request_id: str
    counts: TokenCounts
    model_raw: str
    model: str
    provider_request_id: str = UNKNOWN
    response_id: str = UNKNOWN
    organisation: str = UNKNOWN
    channel: str = "anthropic"
    workspace: str = UNKNOWN
    api_key: str = UNKNOWN
    service_tier: str = UNKNOWN
    geo: str = UNKNOWN
    speed: str = UNKNOWN
    facts: Mapping[str, FactValue] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    request_class: str = UNKNOWN
    decision: Mapping[str, object] | None = None
    latency_ms: int | None = None
    status: Literal["ok", "failed"] = "ok"
    line: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "occurred_at", utc(self.occurred_at))
        if not self.request_id:
            raise UsageError("a request needs an id: request_id, response id, or the source's own")
        if self.status == "failed" and not self.counts.is_zero:
            raise UsageError(f"request {self.request_id} failed but states {self.counts.total_tok} tokens")

    @property
    def prompt_length_band(self) -> str:
        """Exact, because the request's own prompt length is known; unknown for a failed request."""
        return prompt_length_band(self.counts.total_input_tok) if self.status == "ok" else UNKNOWN


@dataclass(frozen=True, slots=True)
class UsageBucket:
    """Usage of one key over a bucket of a provider report. `requests` None = the source does not say."""

    period: Period
    key: UsageKey
    counts: TokenCounts
    model_raw: str = UNKNOWN
    requests: int | None = None
    line: int | None = None

    def __post_init__(self) -> None:
        if self.requests is not None and (type(self.requests) is not int or self.requests < 0):
            raise UsageError(f"requests must be a whole number of at least 0, or unknown, got {self.requests!r}")


def _kind(text: str) -> PricedKind:
    for kind in PRICED_KINDS:
        if kind == text:
            return kind
    raise UsageError(f"unknown token kind {text!r}; known are {', '.join(PRICED_KINDS)}")
