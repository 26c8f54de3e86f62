"""A policy document in words: rules as conditions, assignments as what a class gets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FULL_ROLLOUT = 10_000
# Negative operators hold on a missing field (policy-spec.md §3): a reader must see that.
_WORDS = {
    "in": "is one of",
    "not_in": "is not any of (or missing)",
    "starts_with": "starts with",
    "not_starts_with": "does not start with (or missing)",
    "present": "is present",
    "absent": "is absent",
    "lt": "is less than",
    "lte": "is at most",
    "gt": "is more than",
    "gte": "is at least",
    "between": "is between",
    "is": "is",
    "has_any": "has any of",
    "has_none": "has none of (or missing)",
    "has_all": "has all of",
    "lacks_any": "lacks any of (or missing)",
}
_ALL = "All requests"
_CACHE_WORDS = {"5m": "5-minute caching", "1h": "1-hour caching"}
_BATCH_WORDS = {"no": "No", "allowed": "Allowed", "preferred": "Preferred"}


@dataclass(frozen=True, slots=True)
class ConditionText:
    """One condition as field, words and value."""

    field: str
    words: str
    value: str

    def __str__(self) -> str:
        return " ".join(part for part in (self.field, self.words, self.value) if part)


@dataclass(frozen=True, slots=True)
class RuleText:
    """A rule as a reader sees it; `position` counts from 1, the first that holds decides."""

    position: int
    id: str
    request_class: str
    conditions: tuple[ConditionText, ...]
    is_enabled: bool

    def __str__(self) -> str:
        words = " and ".join(map(str, self.conditions)) or "always"
        return f"{words} → {self.request_class}{'' if self.is_enabled else ' (disabled)'}"


@dataclass(frozen=True, slots=True)
class AssignmentText:
    """What a class gets. `model` '' = the requested one is kept."""

    request_class: str
    title: str
    quality_owner: str
    spend_owner: str
    is_default: bool
    rules: tuple[RuleText, ...]
    model: str
    caching: str
    batch: str
    rollout: str
    baseline: str
    limits: str

    @property
    def is_full(self) -> bool:
        """Every request of the class gets the target."""
        return self.rollout == _ALL


def condition_text(condition: Mapping[str, Any]) -> ConditionText:
    """
    >>> str(condition_text({"field": "tools", "op": "between", "value": [0, 3]}))
    'tools is between 0 and 3'
    """
    op, value = condition["op"], condition.get("value")
    if op == "between" and isinstance(value, Sequence):
        said = f"{value[0]} and {value[1]}"
    elif isinstance(value, bool):
        said = "true" if value else "false"
    elif isinstance(value, list):
        said = ", ".join(map(str, value))
    else:
        said = "" if value is None else str(value)
    return ConditionText(condition["field"], _WORDS.get(op, op), said)


def rule_texts(document: Mapping[str, Any]) -> tuple[RuleText, ...]:
    """Every rule, in the order in which they are tried."""
    return tuple(
        RuleText(
            position=position,
            id=rule["id"],
            request_class=rule["class"],
            conditions=tuple(condition_text(condition) for condition in rule["when"]),
            is_enabled=rule.get("enabled", True),
        )
        for position, rule in enumerate(document["rules"], start=1)
    )


def assignment_texts(document: Mapping[str, Any]) -> tuple[AssignmentText, ...]:
    """What every class gets, the default class last."""
    rules = rule_texts(document)
    rows = [_assignment(slug, assignment, document, rules) for slug, assignment in document["assignments"].items()]
    return tuple(sorted(rows, key=lambda row: (row.is_default, row.title.lower(), row.request_class)))


def rollout_text(assignment: Mapping[str, Any]) -> str:
    basis_points = assignment.get("rollout", {}).get("basis_points", FULL_ROLLOUT)
    return _ALL if basis_points == FULL_ROLLOUT else f"{basis_points / 100:g}% of requests"


def _assignment(
    slug: str, assignment: Mapping[str, Any], document: Mapping[str, Any], rules: tuple[RuleText, ...]
) -> AssignmentText:
    entry, target = document["classes"].get(slug, {}), assignment["target"]
    baseline = assignment.get("baseline")
    return AssignmentText(
        request_class=slug,
        title=entry.get("title", slug),
        quality_owner=entry.get("quality_owner", ""),
        spend_owner=entry.get("spend_owner", ""),
        is_default=slug == document["default_class"],
        rules=tuple(rule for rule in rules if rule.request_class == slug),
        model=target["model"] or "",
        caching=_caching(target),
        batch=_BATCH_WORDS[target.get("batch", "no")],
        rollout=rollout_text(assignment),
        baseline=(baseline.get("model") or "") if baseline else "",
        limits=_limits(target),
    )


def _caching(target: Mapping[str, Any]) -> str:
    cache = target.get("cache", {})
    mode = cache.get("mode", "keep")
    if mode == "auto":
        return _CACHE_WORDS.get(cache.get("ttl", "5m"), "Caching")
    return "Off" if mode == "off" else "Client's own"


def _limits(target: Mapping[str, Any]) -> str:
    words = []
    if target.get("max_tokens_cap") is not None:
        words.append(f"at most {target['max_tokens_cap']:,} output tokens")
    if target.get("effort"):
        words.append(f"effort {target['effort']}")
    if target.get("fallback"):
        words.append("falls back to " + ", ".join(entry["model"] for entry in target["fallback"]))
    return "; ".join(words)
