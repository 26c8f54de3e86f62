"""Facts: what is known about a request before the call (policy-spec.md §2).

Every value is normalised once, here; rules then compare exactly. A fact that cannot be determined is *missing*: its
key is absent. Nothing in this module guesses a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

MAX_INTEGER: Final = 2**53 - 1
MAX_STRING_CHARS: Final = 256
ASCII_BLANKS: Final = " \t\n\r\x0b\x0c"

STRING: Final = "string"
INTEGER: Final = "integer"
BOOLEAN: Final = "boolean"
SET: Final = "set"

#: Fields a rule may name, with their type; ``meta.<name>`` and ``signal.<name>`` come on top (:func:`field_type`).
RULE_FIELDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("endpoint", "feature", "environment", "workspace", "team", "api_key", "agent", "model", "model_family",
         "prompt_id", "script"),
        STRING,
    ),
    **dict.fromkeys(
        ("input_chars", "body_bytes", "max_tokens", "messages", "tools", "images", "documents"),
        INTEGER,
    ),
    **dict.fromkeys(("stream", "thinking", "json_output", "cache_marked"), BOOLEAN),
    "tags": SET,
}  # fmt: skip

#: Fields only the guards of §4.7 read.
GUARD_FIELDS: Final[Mapping[str, str]] = {
    "thinking_type": STRING,
    "prefill": BOOLEAN,
    "thinking_history": BOOLEAN,
    "permitted_models": SET,
}

_META = re.compile(r"meta\.[a-z0-9][a-z0-9_]{0,63}", re.ASCII)
_SIGNAL = re.compile(r"signal\.[a-z][a-z0-9_.-]{0,63}", re.ASCII)
# Lower-casing beyond ASCII changes lengths and differs between languages (İ, ß); gateways elsewhere must agree.
_ASCII_LOWER = {ord(upper): ord(upper) + 32 for upper in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}

_REGION_AND_VENDOR = re.compile(r"(?:[a-z]{2,6}(?:-gov)?\.)?anthropic\.", re.ASCII)
_BEDROCK_REVISION = re.compile(r"-v[0-9]+:[0-9]+\Z", re.ASCII)
_DATE = re.compile(r"[-@][0-9]{8}\Z", re.ASCII)


def field_type(field: str) -> str | None:
    """``string``, ``integer``, ``boolean`` or ``set`` for a field a rule may name; None when no rule may name it."""
    known = RULE_FIELDS.get(field)
    if known is not None:
        return known
    if _META.fullmatch(field):
        return STRING
    if _SIGNAL.fullmatch(field):
        return BOOLEAN
    return None


def normalise_string(raw: str) -> str:
    """Trim ASCII blanks, lower-case ASCII letters only, cut to 256 characters. ``""`` means missing.

    The cut may end in a blank; it is trimmed again so that normalising a logged fact changes nothing.
    """
    text = raw.strip(ASCII_BLANKS)
    text = text.lower() if text.isascii() else text.translate(_ASCII_LOWER)
    if len(text) > MAX_STRING_CHARS:
        text = text[:MAX_STRING_CHARS].rstrip(ASCII_BLANKS)
    return text


def normalise_facts(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Normalised facts: strings, integers 0…2^53−1, booleans, frozensets of strings. Source: policy-spec.md §2.

    A value of the wrong type, an unknown field, an empty string and an empty set are dropped: a rule sees them as
    missing. ``tags`` may be a list or the comma-separated text of the header. ``model`` and ``permitted_models`` are
    reduced with :func:`model_id`; ``model_family`` is derived from ``model`` when it is not given.

    >>> normalise_facts({"feature": "  FAQ-Billing ", "input_chars": 420, "tools": "3"})
    {'feature': 'faq-billing', 'input_chars': 420}
    """
    facts: dict[str, Any] = {}
    for field, value in raw.items():
        if not isinstance(field, str):
            continue
        kind = field_type(field) or GUARD_FIELDS.get(field)
        normal = _normalise_value(field, kind, value)
        if normal is not None:
            facts[field] = normal
    if "model" in facts and "model_family" not in facts:
        family = model_family(facts["model"])
        if family:
            facts["model_family"] = family
    return facts


def _normalise_value(field: str, kind: str | None, value: Any) -> Any:
    if kind == STRING:
        if not isinstance(value, str):
            return None
        return (model_id(value) if field == "model" else normalise_string(value)) or None
    if kind == INTEGER:
        # bool is a subclass of int in Python, but not the same type in a policy.
        return value if type(value) is int and 0 <= value <= MAX_INTEGER else None
    if kind == BOOLEAN:
        return value if isinstance(value, bool) else None
    if kind == SET:
        return _normalise_set(field, value)
    return None


def _normalise_set(field: str, value: Any) -> frozenset[str] | None:
    members: Iterable[Any]
    if isinstance(value, str):
        members = value.split(",")
    elif isinstance(value, (list, tuple, set, frozenset)):
        members = value
    else:
        return None
    reduce = model_id if field == "permitted_models" else normalise_string
    return frozenset(filter(None, (reduce(member) for member in members if isinstance(member, str)))) or None


@lru_cache(maxsize=4096)
def model_id(raw: str) -> str:
    """Model id without provider prefix and version suffix, normalised as a string. Source: policy-spec.md §2, end.

    Cut: everything up to the last ``/``; ``[region.]anthropic.``; ``-v1:0``; ``-YYYYMMDD``; ``@YYYYMMDD``.

    >>> model_id("bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0")
    'claude-haiku-4-5'
    """
    text = normalise_string(raw)
    text = text.rpartition("/")[2]
    vendor = _REGION_AND_VENDOR.match(text)
    if vendor:
        text = text[vendor.end() :]
    text = _BEDROCK_REVISION.sub("", text)
    return _DATE.sub("", text)


@lru_cache(maxsize=4096)
def model_family(raw: str) -> str:
    """Family of a model: ``opus``, ``sonnet``, ``haiku``, …; for other vendors the first word; ``""`` without one.

    >>> model_family("claude-3-5-sonnet-20241022"), model_family("anthropic/claude-opus-4-8"), model_family("gpt-4o")
    ('sonnet', 'opus', 'gpt')
    """
    words = [word for word in model_id(raw).split("-") if word.isascii() and word.isalpha()]
    if not words:
        return ""
    if words[0] == "claude" and len(words) > 1:
        return words[1]
    return words[0]
