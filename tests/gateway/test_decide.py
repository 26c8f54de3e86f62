"""Switches, arms, order of guards, reasons, errors, patch and advice (policy-spec.md §4)."""

import json
from typing import Any

import pytest

from gateway.engine import compile_policy, unchanged
from gateway.facts import normalise_facts
from gateway.patch import apply_patch, has_breakpoint
from tests.gateway.documents import HAIKU, OPUS, SONNET, changed, one_rule_policy, spec_policy

FAQ = {"feature": "faq-billing", "input_chars": 420, "max_tokens": 2000}
CONVERSATION = {"conversation": "s-1001"}


def decide(document: dict[str, Any], facts: dict[str, Any], **options: Any) -> Any:
    options.setdefault("requested", OPUS)
    return compile_policy(document).decide(normalise_facts(facts), **options)


@pytest.mark.parametrize(
    ("allow_bypass", "options", "reason"),
    [
        (True, {"kill_switch": True, "bypass": "incident 7"}, "kill_switch"),
        (True, {"bypass": "incident 7"}, "bypass"),
        (False, {"bypass": "incident 7"}, None),
        (True, {"bypass": "  "}, None),
    ],
)
def test_switches(allow_bypass, options, reason) -> None:
    decision = decide(changed("/allow_bypass", allow_bypass), FAQ, sticky=CONVERSATION, **options)
    assert decision.reason == reason
    assert decision.applied is (reason is None)
    if reason is not None:
        assert (decision.request_class, decision.arm, decision.target, decision.patch) == (None, None, None, {})


def test_bypass_is_off_unless_the_policy_allows_it() -> None:
    document = spec_policy()
    del document["allow_bypass"]
    assert decide(document, FAQ, sticky=CONVERSATION, bypass="incident 7").reason is None


@pytest.mark.parametrize(
    ("sticky", "bucket_key"),
    [
        ({"conversation": "s-1001", "user": "u"}, "s-1001"),
        ({"conversation": "  ", "user": "s-1001"}, "s-1001"),
        ({"request": "req-1", "api_key": " s-1001 "}, "s-1001"),
        ({"request": "req-1"}, None),
    ],
)
def test_first_present_sticky_key_is_hashed(sticky, bucket_key) -> None:
    decision = decide(spec_policy(), FAQ, sticky=sticky)
    assert decision.bucket == (4704 if bucket_key else None)
    assert decision.reason == (None if bucket_key else "no_sticky_key")


FAILING = {
    "permitted_models": [SONNET],
    "input_chars": 3 * 200_000 + 1,
    "thinking_type": "adaptive",
    "images": 1,
    "prefill": True,
    "thinking_history": True,
}
IN_ORDER = ["not_permitted", "capability:context", "capability:adaptive_thinking", "capability:vision",
            "capability:prefill", "capability:thinking_history"]  # fmt: skip


@pytest.mark.parametrize("passed", range(len(IN_ORDER) + 1))
def test_first_failing_guard_gives_the_reason(passed) -> None:
    document = one_rule_policy(model=HAIKU)
    document["models"][HAIKU].update(vision=False, prefill=False)
    facts = dict(list(FAILING.items())[passed:])
    decision = decide(document, facts)
    if passed < len(IN_ORDER):
        assert (decision.reason, decision.applied, decision.patch, decision.target) == (
            IN_ORDER[passed],
            False,
            {},
            HAIKU,
        )
    else:
        assert (decision.reason, decision.applied) == (None, True)


@pytest.mark.parametrize(
    "facts",
    [
        {"permitted_models": ["anthropic/claude-haiku-4-5-20251001"]},
        {"permitted_models": []},
        {"input_chars": 3 * 200_000},
        {"thinking_type": "enabled"},
        {"images": 0},
        {"prefill": False},
        {"thinking_history": False},
    ],
)
def test_guard_passes(facts) -> None:
    document = one_rule_policy(model=HAIKU)
    document["models"][HAIKU].update(vision=False, prefill=False)
    assert decide(document, facts).applied


def test_thinking_history_within_the_family_passes() -> None:
    assert decide(one_rule_policy(model=HAIKU), {"thinking_history": True}, requested="claude-3-5-haiku").applied


@pytest.mark.parametrize(
    ("target", "facts", "requested", "reason", "patch"),
    [
        ({"model": HAIKU}, {}, HAIKU, "already", {}),
        ({"model": HAIKU}, {}, "anthropic/claude-haiku-4-5-20251001", "already", {}),
        ({"model": HAIKU, "max_tokens_cap": 100}, {"max_tokens": 100}, HAIKU, "already", {}),
        ({"model": HAIKU, "max_tokens_cap": 100}, {"max_tokens": 101}, HAIKU, None, {"max_tokens": 100}),
        ({"model": HAIKU, "max_tokens_cap": 100}, {}, HAIKU, None, {"max_tokens": 100}),
        ({"model": HAIKU, "cache": {"mode": "keep"}}, {}, HAIKU, "already", {}),
        ({"model": HAIKU, "cache": {"mode": "off"}}, {}, HAIKU, None, {"cache": {"mode": "off"}}),
        ({"model": None}, {}, OPUS, "keep_requested", {}),
        ({"model": None, "max_tokens_cap": 9}, {}, OPUS, None, {"max_tokens": 9}),
        ({"model": None, "effort": "low"}, {}, SONNET, None, {"effort": "low"}),
        ({"model": None, "effort": "low"}, {}, HAIKU, "keep_requested", {}),
        ({"model": HAIKU}, {}, OPUS, None, {"model": HAIKU, "drop": ["output_config.effort"]}),
        (
            {"model": SONNET, "effort": "low"},
            {},
            OPUS,
            None,
            {"model": SONNET, "effort": "low", "drop": ["temperature", "top_k", "top_p"]},
        ),
        (
            {"model": SONNET},
            {},
            OPUS,
            None,
            {
                "model": SONNET,
                "effort_allowed": ["low", "medium", "high"],
                "drop": ["temperature", "top_k", "top_p"],
            },
        ),
    ],
)
def test_patch_and_reason(target, facts, requested, reason, patch) -> None:
    decision = decide(one_rule_policy(**target), facts, requested=requested)
    assert (decision.reason, decision.patch, decision.applied) == (reason, patch, bool(patch))
    assert decision.target == (target["model"] or requested)


def test_observe_records_and_changes_nothing() -> None:
    decision = decide(changed("/mode", "observe"), FAQ, sticky=CONVERSATION)
    assert (decision.reason, decision.applied, decision.patch, decision.advice) == ("observe", False, {}, {})
    assert (decision.request_class, decision.arm, decision.bucket, decision.target) == ("faq", "policy", 4704, HAIKU)


def test_absent_baseline_keeps_the_request() -> None:
    document = spec_policy()
    del document["assignments"]["faq"]["baseline"]
    decision = decide(document, FAQ, sticky={"conversation": "s-1002"})
    assert (decision.arm, decision.reason, decision.applied, decision.target) == ("baseline", "rollout", False, OPUS)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"feature": "intent", "max_tokens": "many"}, "error:TypeError"),
        ({"json_output": "yes", "tools": 0}, "error:TypeError"),
        ({"tags": 7}, "error:TypeError"),
        (None, "error:TypeError"),
    ],
)
def test_exception_leaves_the_request_unchanged(facts, reason) -> None:
    decision = compile_policy(spec_policy()).decide(facts, requested=OPUS, environment="prod", sequence=3)
    assert (decision.reason, decision.applied, decision.patch, decision.request_class) == (reason, False, {}, None)
    assert decision.header() == f"claude-prod@12;seq=3;class=;arm=;applied=0;reason={reason}"


def test_key_that_is_no_string_or_no_utf8_leaves_the_request_unchanged() -> None:
    policy = compile_policy(spec_policy())
    wrong: Any = {"user": 7}
    assert policy.decide(FAQ, requested=OPUS, sticky=wrong).reason == "error:AttributeError"
    assert policy.decide(FAQ, requested=OPUS, sticky={"user": "\ud800"}).reason == "error:UnicodeEncodeError"


def test_no_bundle() -> None:
    decision = unchanged("no_bundle", requested=OPUS, environment="prod")
    assert decision.header() == "none;seq=0;class=;arm=;applied=0;reason=no_bundle"
    assert list(decision.as_record()) == list(decide(spec_policy(), FAQ).as_record())


def test_advice_carries_batch_and_usable_fallbacks() -> None:
    document = changed("/assignments/faq/target/batch", "allowed")
    fallback = {"model": SONNET, "effort_allowed": ["low", "medium", "high"], "drop": ["temperature", "top_k", "top_p"]}
    decision = decide(document, FAQ, sticky=CONVERSATION)
    assert decision.advice == {
        "batch": "allowed",
        "fallback": [{"on": ["overloaded", "rate_limited"], "patch": fallback}],
    }
    assert decide(document, {**FAQ, "prefill": True}, sticky=CONVERSATION).advice == {"batch": "allowed"}
    assert decide(document, {**FAQ, "permitted_models": [HAIKU]}, sticky=CONVERSATION).advice == {"batch": "allowed"}


def test_what_a_caller_does_to_a_decision_does_not_reach_the_policy() -> None:
    policy = compile_policy(spec_policy())
    first = policy.decide({}, requested=OPUS)
    expected = json.dumps(first.patch)
    first.patch["drop"].clear()
    first.as_record()["class"] = "other"
    assert json.dumps(policy.decide({}, requested=OPUS).patch) == expected == json.dumps(first.patch)
    assert first.request_class == "general"


def test_disabled_rules_are_not_used() -> None:
    document = spec_policy()
    for rule in document["rules"]:
        rule["enabled"] = rule["id"] == "r2"
    policy = compile_policy(document)
    assert policy.used_fields == {"feature", "max_tokens"}
    assert policy.classify({"feature": "faq-x", "input_chars": 1}) == (None, "general")


TEXT = {"type": "text", "text": "hello"}
MARK = {"type": "ephemeral"}


@pytest.mark.parametrize(
    ("body", "patch", "expected"),
    [
        ({"max_tokens": 50}, {"max_tokens": 100}, {"max_tokens": 50}),
        ({"max_tokens": 200}, {"max_tokens": 100}, {"max_tokens": 100}),
        ({}, {"max_tokens": 100}, {"max_tokens": 100}),
        ({"temperature": 1, "top_p": 0.9, "stop": 1}, {"drop": ["temperature", "top_k", "top_p"]}, {"stop": 1}),
        ({"output_config": {"effort": "high"}}, {"drop": ["output_config.effort"]}, {}),
        ({"output_config": {"effort": "high", "format": 1}}, {"drop": ["output_config.effort"]},
         {"output_config": {"format": 1}}),
        ({"output_config": {"format": 1}}, {"effort": "low"}, {"output_config": {"format": 1, "effort": "low"}}),
        ({"output_config": {"effort": "max"}}, {"effort_allowed": ["low"]}, {}),
        ({"output_config": {"effort": "low"}}, {"effort_allowed": ["low"]}, {"output_config": {"effort": "low"}}),
        ({"system": "s"}, {"cache": {"mode": "auto", "ttl": "1h"}},
         {"system": [{"type": "text", "text": "s", "cache_control": {**MARK, "ttl": "1h"}}]}),
        ({"system": [TEXT, TEXT]}, {"cache": {"mode": "auto"}}, {"system": [TEXT, {**TEXT, "cache_control": MARK}]}),
        ({"tools": [{"name": "t"}]}, {"cache": {"mode": "auto"}}, {"tools": [{"name": "t", "cache_control": MARK}]}),
        ({"messages": []}, {"cache": {"mode": "auto"}}, {"messages": []}),
        ({"system": "s", "messages": [{"content": [{**TEXT, "cache_control": MARK}]}]}, {"cache": {"mode": "auto"}},
         {"system": "s", "messages": [{"content": [{**TEXT, "cache_control": MARK}]}]}),
        ({"system": [{**TEXT, "cache_control": MARK}], "messages": [{"content": [{**TEXT, "cache_control": MARK}]}]},
         {"cache": {"mode": "off"}}, {"system": [TEXT], "messages": [{"content": [TEXT]}]}),
        ({"system": [{**TEXT, "cache_control": MARK}]}, {"cache": {"mode": "keep"}},
         {"system": [{**TEXT, "cache_control": MARK}]}),
    ],
)  # fmt: skip
def test_apply_patch(body, patch, expected) -> None:
    before = json.dumps(body)
    assert apply_patch(body, patch) == expected
    assert json.dumps(body) == before


def test_customer_data_named_cache_control_is_not_a_breakpoint() -> None:
    body = {"messages": [{"content": [{"type": "tool_use", "input": {"cache_control": "no-store"}}]}]}
    assert not has_breakpoint(body)
    assert apply_patch(body, {"cache": {"mode": "off"}}) == body
