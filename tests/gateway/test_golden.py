"""The golden examples, hash vectors and thresholds of policy-spec.md §5, literally."""

from typing import Any

import pytest

from gateway.engine import Decision, bucket_of, compile_policy, threshold_of
from gateway.facts import normalise_facts
from gateway.patch import apply_patch
from tests.gateway.documents import HAIKU, OPUS, SONNET, spec_policy

FAQ = {"feature": "faq-billing", "input_chars": 420, "max_tokens": 2000}
FALSE = dict.fromkeys(("stream", "thinking", "json_output", "cache_marked", "signal.code"), False)
ALL = None

# name, facts, conversation, rule, class, arm, bucket, model sent, reason
GOLDEN: list[tuple[str, dict[str, Any], str | None, str | None, str, str, int | None, str, str | None]] = [
    ("g1", FAQ, "s-1001", "r3", "faq", "policy", 4704, HAIKU, None),
    ("g2", FAQ, "s-1002", "r3", "faq", "baseline", 0xE9552FE8 * 10000 >> 32, SONNET, "rollout"),
    ("g3", FAQ, None, "r3", "faq", "baseline", None, SONNET, "no_sticky_key"),
    ("g4", {"feature": "faq-billing", "input_chars": 8001}, "s-1001", None, "general", "policy", ALL, SONNET, None),
    ("g5", {"feature": "faq-billing", "environment": "dev", "input_chars": 420}, "s-1001",
     None, "general", "policy", ALL, SONNET, None),
    ("g6", {"feature": "faq-billing", "tags": ["legal-review"], "input_chars": 420}, "s-1001",
     "r1", "contract_review", "policy", ALL, OPUS, "keep_requested"),
    ("g7", {"feature": "intent", "max_tokens": 256}, "s-1001", "r2", "ticket_triage", "policy", ALL, HAIKU, None),
    ("g8", {"feature": "intent", "max_tokens": 257}, "s-1001", None, "general", "policy", ALL, SONNET, None),
    ("g9", {"feature": "intent"}, "s-1001", None, "general", "policy", ALL, SONNET, None),
    ("g10", {"json_output": True, "tools": 0}, "s-1001", "r4", "extraction", "policy", ALL, HAIKU, None),
    ("g11", {"input_chars": 2000, "signal.code": True}, "s-1001", "r5", "coding", "policy", ALL, SONNET, None),
    ("g12", {"input_chars": 1999, "signal.code": True}, "s-1001", None, "general", "policy", ALL, SONNET, None),
    ("g13", {"feature": "  FAQ-Billing ", "input_chars": 420}, "s-1001", "r3", "faq", "policy", 4704, HAIKU, None),
    ("g14", {**FAQ, "thinking": True, "thinking_type": "adaptive"}, "s-1001",
     "r3", "faq", "policy", 4704, OPUS, "capability:adaptive_thinking"),
    ("g15", {}, None, None, "general", "policy", ALL, SONNET, None),
]  # fmt: skip


def decide(facts: dict[str, Any], conversation: str | None) -> Decision:
    sticky = {} if conversation is None else {"conversation": conversation}
    return compile_policy(spec_policy()).decide(
        normalise_facts(facts), requested=OPUS, sticky=sticky, environment="prod", sequence=87, adapter="test/1"
    )


@pytest.mark.parametrize("booleans", [FALSE, {}], ids=["booleans-false", "booleans-missing"])
@pytest.mark.parametrize(
    ("name", "facts", "conversation", "rule", "request_class", "arm", "bucket", "sent", "reason"),
    GOLDEN,
    ids=[row[0] for row in GOLDEN],
)
def test_golden_example(name, facts, conversation, rule, request_class, arm, bucket, sent, reason, booleans) -> None:
    decision = decide({**booleans, **facts}, conversation)
    assert (decision.rule, decision.request_class, decision.arm, decision.bucket, decision.reason) == (
        rule,
        request_class,
        arm,
        bucket,
        reason,
    )
    body = {"model": OPUS, "max_tokens": facts.get("max_tokens", 500)}
    assert apply_patch(body, decision.patch)["model"] == sent
    assert decision.applied is (sent != OPUS)


def test_max_tokens_of_g1_and_g2() -> None:
    body = {"model": OPUS, "max_tokens": 2000}
    assert apply_patch(body, decide(FAQ, "s-1001").patch) == {"model": HAIKU, "max_tokens": 1024}
    assert apply_patch(body, decide(FAQ, "s-1002").patch) == {"model": SONNET, "max_tokens": 2000}


def test_record_and_header_of_g1() -> None:
    decision = decide({**FAQ, "team": "support", "tags": ["b", "a"]}, "s-1001")
    assert decision.as_record() == {
        "policy": "claude-prod",
        "version": 12,
        "environment": "prod",
        "sequence": 87,
        "rule": "r3",
        "class": "faq",
        "arm": "policy",
        "bucket": 4704,
        "requested": OPUS,
        "target": HAIKU,
        "applied": True,
        "reason": None,
        "facts": {"feature": "faq-billing", "input_chars": 420, "max_tokens": 2000, "tags": ["a", "b"]},
        "adapter": "test/1",
    }
    assert decision.header() == "claude-prod@12;seq=87;class=faq;arm=policy;applied=1;reason="
    assert decision.header(stale=True).endswith(";reason=;stale=1")


@pytest.mark.parametrize(
    ("salt", "key", "hash8", "basis_point"),
    [
        ("faq.3", "s-1001", "78712c61", 4704),
        ("faq.3", "größe", "38dc64f5", 2221),
        ("triage.1", "s-1001", "7c92ab89", 4866),
        ("faq.3", " s-1001\t", "78712c61", 4704),
    ],
)
def test_hash_vector(salt, key, hash8, basis_point) -> None:
    assert bucket_of(salt, key) == (hash8, basis_point)


def test_keys_are_not_lower_cased() -> None:
    assert bucket_of("faq.3", "S-1001") != bucket_of("faq.3", "s-1001")


def test_hash_of_g2() -> None:
    assert bucket_of("faq.3", "s-1002")[0] == "e9552fe8"


@pytest.mark.parametrize(
    ("basis_points", "text"),
    [(1, "00068db8"), (100, "028f5c28"), (500, "0ccccccc"), (2500, "40000000"), (5000, "80000000"), (9999, "fff97247")],
)
def test_threshold(basis_points, text) -> None:
    assert threshold_of(basis_points) == text
