"""What one policy document changes against another, in words: assignments, rules and their order, settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from routing.core.drafts import AssignmentChange, changed_assignments
from routing.core.policy_text import rule_texts

ChangeKind = Literal["added", "removed", "changed", "moved"]
_SETTINGS = {
    "mode": "Mode",
    "default_class": "Class of requests no rule matches",
    "sticky_keys": "Keys that keep a caller in one arm",
    "allow_bypass": "Callers may bypass the policy",
    "signals": "Signals",
}


@dataclass(frozen=True, slots=True)
class RuleChange:
    """One rule that differs. `moved`: same rule, other place in the order in which rules are tried."""

    rule: str
    kind: ChangeKind
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class SettingChange:
    setting: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class PolicyDiff:
    """Everything that differs; `against` names what was compared ('' = nothing was in force).

    `titles`: titles of classes by slug.
    """

    against: str
    titles: Mapping[str, str]
    assignments: tuple[AssignmentChange, ...]
    rules: tuple[RuleChange, ...]
    settings: tuple[SettingChange, ...]

    @property
    def is_empty(self) -> bool:
        return not (self.assignments or self.rules or self.settings)

    @property
    def count(self) -> int:
        return len(self.assignments) + len(self.rules) + len(self.settings)


def policy_diff(before: Mapping[str, Any] | None, after: Mapping[str, Any], *, against: str = "") -> PolicyDiff:
    """Differences of two valid documents; without a first one everything is added."""
    return PolicyDiff(
        against=against,
        titles={**_titles(before), **_titles(after)},
        assignments=(*changed_assignments(before, after), *_dropped(before, after)),
        rules=_rules(before, after),
        settings=_settings(before, after),
    )


def _titles(document: Mapping[str, Any] | None) -> dict[str, str]:
    classes = document["classes"] if document is not None else {}
    return {slug: str(entry.get("title") or slug) for slug, entry in classes.items()}


def _dropped(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> tuple[AssignmentChange, ...]:
    gone = sorted(set(before["assignments"]) - set(after["assignments"])) if before is not None else []
    return tuple(AssignmentChange(slug, "in the policy", "not in the policy any more") for slug in gone)


def _rules(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> tuple[RuleChange, ...]:
    old = {rule.id: rule for rule in rule_texts(before)} if before is not None else {}
    new = {rule.id: rule for rule in rule_texts(after)}
    # Only rules that both have tell whether the order changed: one added in front moves nobody.
    old_order = [rule for rule in old if rule in new]
    new_order = [rule for rule in new if rule in old]
    changes = [RuleChange(rule, "removed", str(old[rule]), "") for rule in old if rule not in new]
    for rule, text in new.items():
        if rule not in old:
            changes.append(RuleChange(rule, "added", "", str(text)))
        elif str(old[rule]) != str(text):
            changes.append(RuleChange(rule, "changed", str(old[rule]), str(text)))
        elif old_order.index(rule) != new_order.index(rule):
            changes.append(
                RuleChange(rule, "moved", f"tried as number {old[rule].position}", f"tried as number {text.position}")
            )
    return tuple(changes)


def _settings(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> tuple[SettingChange, ...]:
    if before is None:
        return ()
    return tuple(
        SettingChange(title, _said(before.get(name)), _said(after.get(name)))
        for name, title in _SETTINGS.items()
        if before.get(name) != after.get(name)
    )


def _said(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | dict):
        return ", ".join(map(str, value)) or "none"
    return str(value)
