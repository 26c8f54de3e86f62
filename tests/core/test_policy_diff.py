"""What one policy document changes against another, in words."""

from typing import Any

import pytest

from routing.core.drafts import AssignmentChange
from routing.core.policy_diff import RuleChange, SettingChange, policy_diff
from routing.core.policy_text import assignment_texts, condition_text, rule_texts
from tests.gateway.documents import changed, spec_policy, without

# condition → words; negative operators hold on a missing field and say so
CONDITIONS: list[tuple[dict[str, Any], str]] = [
    ({"field": "feature", "op": "in", "value": ["a", "b"]}, "feature is one of a, b"),
    ({"field": "feature", "op": "not_in", "value": ["a"]}, "feature is not any of (or missing) a"),
    ({"field": "feature", "op": "starts_with", "value": ["faq-"]}, "feature starts with faq-"),
    ({"field": "team", "op": "present"}, "team is present"),
    ({"field": "team", "op": "absent"}, "team is absent"),
    ({"field": "max_tokens", "op": "lte", "value": 256}, "max_tokens is at most 256"),
    ({"field": "tools", "op": "between", "value": [0, 3]}, "tools is between 0 and 3"),
    ({"field": "stream", "op": "is", "value": True}, "stream is true"),
    ({"field": "stream", "op": "is", "value": False}, "stream is false"),
    ({"field": "tags", "op": "has_any", "value": ["x", "y"]}, "tags has any of x, y"),
    ({"field": "tags", "op": "lacks_any", "value": ["x"]}, "tags lacks any of (or missing) x"),
]


@pytest.mark.parametrize(("condition", "words"), CONDITIONS)
def test_condition_in_words(condition, words):
    assert str(condition_text(condition)) == words


def test_rules_keep_their_order():
    rules = rule_texts(spec_policy())
    assert [(rule.position, rule.id, rule.request_class) for rule in rules][:2] == [
        (1, "r1", "contract_review"),
        (2, "r2", "ticket_triage"),
    ]
    assert str(rules[1]) == "feature is one of ticket-triage, intent and max_tokens is at most 256 → ticket_triage"


def test_assignments_in_words():
    rows = {row.request_class: row for row in assignment_texts(spec_policy())}
    faq = rows["faq"]
    assert (faq.model, faq.rollout, faq.baseline, faq.caching, faq.batch, faq.is_full) == (
        "claude-haiku-4-5",
        "50% of requests",
        "claude-sonnet-5",
        "5-minute caching",
        "No",
        False,
    )
    assert faq.limits == "at most 1,024 output tokens; falls back to claude-sonnet-5"
    assert rows["contract_review"].model == ""
    assert rows["ticket_triage"].is_full
    assert list(rows)[-1] == "general"  # the default class last


def test_nothing_differs():
    found = policy_diff(spec_policy(), spec_policy(), against="claude-prod@12")
    assert (found.is_empty, found.count, found.against) == (True, 0, "claude-prod@12")


def test_against_nothing_everything_is_added():
    found = policy_diff(None, spec_policy())
    assert {row.before for row in found.assignments} == {"not in the policy"}
    assert [row.kind for row in found.rules] == ["added"] * 5
    assert found.settings == ()


def test_changed_assignment_and_setting():
    document = changed("/assignments/coding/target/model", "claude-haiku-4-5")
    document = changed("/default_class", "coding", document)
    found = policy_diff(spec_policy(), document)
    assert found.assignments == (AssignmentChange("coding", "claude-sonnet-5", "claude-haiku-4-5"),)
    assert found.settings == (SettingChange("Class of requests no rule matches", "general", "coding"),)
    assert found.titles["coding"] == "Code help"
    assert found.count == 2


def test_a_class_that_goes_is_said():
    after = without("/assignments/extraction")
    assert policy_diff(spec_policy(), after).assignments == (
        AssignmentChange("extraction", "in the policy", "not in the policy any more"),
    )


def test_rules_added_removed_changed_and_moved():
    document = spec_policy()
    first, second, *rest = document["rules"]
    new = {"id": "r0", "class": "coding", "when": [{"field": "stream", "op": "is", "value": True}]}
    lower = {**second, "when": [second["when"][0], {**second["when"][1], "value": 128}]}
    r3, r4, _r5 = rest
    found = policy_diff(document, {**document, "rules": [new, first, lower, r4, r3]})
    assert found.rules == (
        RuleChange("r5", "removed", "signal.code is true and input_chars is at least 2000 → coding", ""),
        RuleChange("r0", "added", "", "stream is true → coding"),
        RuleChange(
            "r2",
            "changed",
            "feature is one of ticket-triage, intent and max_tokens is at most 256 → ticket_triage",
            "feature is one of ticket-triage, intent and max_tokens is at most 128 → ticket_triage",
        ),
        RuleChange("r4", "moved", "tried as number 4", "tried as number 4"),
        RuleChange("r3", "moved", "tried as number 3", "tried as number 5"),
    )


def test_a_rule_in_front_moves_nobody():
    document = spec_policy()
    new = {"id": "r0", "class": "coding", "when": []}
    found = policy_diff(document, {**document, "rules": [new, *document["rules"]]})
    assert [(row.rule, row.kind, row.after) for row in found.rules] == [("r0", "added", "always → coding")]


def test_a_disabled_rule_is_a_changed_one():
    found = policy_diff(spec_policy(), changed("/rules/0/enabled", False))
    assert [(row.rule, row.kind) for row in found.rules] == [("r1", "changed")]
    assert found.rules[0].after.endswith("→ contract_review (disabled)")
