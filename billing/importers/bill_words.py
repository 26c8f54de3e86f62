"""What cloud bills say in their texts: which Claude model, which kind of token, which tier. Else it stays unknown."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from billing.core.usage import PricedKind

_FAMILIES: Final = "opus|sonnet|haiku|fable|mythos|instant"
_NEW: Final = re.compile(rf"claude[ -]?({_FAMILIES})[ -]?([0-9]{{1,2}})(?:[.-]([0-9]{{1,2}})(?![0-9]))?", re.ASCII)
_OLD: Final = re.compile(rf"claude[ -]?([0-9])(?:[.-]([0-9]))?[ -]?({_FAMILIES})", re.ASCII)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])", re.ASCII)
_HOUR: Final = re.compile(r"\b(1 ?h|1 ?hr|1 ?hour)s?\b", re.ASCII)
_MINUTES: Final = re.compile(r"\b(5 ?m|5 ?min|5 ?minute)s?\b", re.ASCII)
_TIERS: Final = ("batch", "priority", "flex")
_UNITS: Final = {
    "": 1, "1": 1, "1K": 1_000, "1000": 1_000, "1M": 1_000_000, "1000000": 1_000_000, "1MM": 1_000_000,
    "K": 1_000, "M": 1_000_000, "MILLION": 1_000_000, "1MILLION": 1_000_000, "THOUSAND": 1_000,
}  # fmt: skip


def is_claude(*texts: str) -> bool:
    """Whether any text of a row speaks of Claude or Anthropic."""
    joined = " ".join(texts).lower()
    return "claude" in joined or "anthropic" in joined


def model_in(*texts: str, canonical: Callable[[str], str]) -> str:
    """The model the first telling text names, '' where none does.

    >>> model_in("Claude Opus 5.5 (Amazon Bedrock Edition)", canonical=str)
    'claude-opus-5-5'
    >>> model_in("USE1-Claude4.6Sonnet-input-tokens", canonical=str)
    'claude-sonnet-4-6'
    >>> model_in("Claude Opus 5 5-minute Cache Write", canonical=str)
    'claude-opus-5'
    """
    name = _named_model(texts)
    return canonical(name) if name else ""


# Bills repeat their few texts in millions of rows.
@lru_cache(maxsize=8_192)
def _named_model(texts: tuple[str, ...]) -> str:
    for text in texts:
        cleaned = " ".join(text.split())
        if (
            re.match(r"(claude-|([a-z]+\.)?anthropic\.claude|anthropic/)", cleaned, re.IGNORECASE)
            and " " not in cleaned
        ):
            return cleaned
        lower = cleaned.lower()
        if match := _NEW.search(lower):
            family, major, minor = match.groups()
            return "-".join(part for part in ("claude", family, major, minor) if part)
        if match := _OLD.search(lower):
            major, minor, family = match.groups()
            version = "-".join(part for part in (major, minor) if part)
            # The version stands first in bills of every generation, in ids only up to the third.
            old = f"claude-{version}-{family}"
            return old if int(major) <= 3 else f"claude-{family}-{version}"
    return ""


def words_of(text: str) -> str:
    """Lower-case words: `CacheReadInputTokenCount` and `cache-read-input` both read as words."""
    return " ".join(re.split(r"[^a-z0-9.]+", _CAMEL.sub(" ", text).lower()))


@lru_cache(maxsize=8_192)
def kind_in(text: str) -> tuple[PricedKind | None, bool]:
    """Which kind of token a text is about, and whether a cache write's lifetime is assumed (5 minutes).

    >>> kind_in("USE1-MP:USE1_CacheWriteInputTokenCount-Units"), kind_in("Claude Opus 5 Output")
    (('cache_write_5m', True), ('output', False))
    """
    words = words_of(text)
    if "web search" in words:
        return "web_search", False
    if "cache read" in words or "cached input" in words:
        return "cache_read", False
    if "cache write" in words or "cache creation" in words:
        if _HOUR.search(words):
            return "cache_write_1h", False
        return "cache_write_5m", not _MINUTES.search(words)
    if "output" in words:
        return "output", False
    return ("uncached_input", False) if "input" in words else (None, False)


@lru_cache(maxsize=8_192)
def tier_in(text: str) -> str:
    """The service tier a text names; what names none is standard."""
    words = words_of(text).split()
    return next((tier for tier in _TIERS if tier in words), "standard")


@lru_cache(maxsize=1_024)
def unit_size(text: str, *, counted: str) -> int | None:
    """How many single `counted` (tokens, requests) one unit is; None for a unit of something else.

    >>> unit_size("1000000 Tokens", counted="token"), unit_size("1K tokens", counted="token")
    (1000000, 1000)
    >>> unit_size("Server Hours", counted="token") is None
    True
    """
    match = re.fullmatch(r"([0-9A-Za-z,]*?)[ ]*([A-Za-z]+?)s?", text.strip())
    if match is None or match[2].lower() != counted:
        return None
    return _UNITS.get(match[1].replace(",", "").upper())
