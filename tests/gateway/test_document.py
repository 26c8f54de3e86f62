"""Documents that are refused, with the message; canonical form and hash; facts; bundle."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bundle import BundleError, bundle_body, etag, parse_bundle
from gateway.document import (
    MAX_DOCUMENT_BYTES,
    PolicyError,
    canonical_json,
    content_hash,
    parse_document,
    validate_document,
)
from gateway.engine import compile_policy
from gateway.facts import MAX_INTEGER, model_family, model_id, normalise_facts
from tests.gateway.documents import HAIKU, SPEC_POLICY_JSON, changed, spec_policy, without

CONDITION = {"field": "feature", "op": "in", "value": ["a"]}
FAQ = "/assignments/faq"


def test_document_of_the_specification_is_valid() -> None:
    assert validate_document(parse_document(SPEC_POLICY_JSON.encode())) == []


@pytest.mark.parametrize(
    ("path", "value", "finding_path", "words"),
    [
        ("/schema", "costgov.policy/2", "/schema", "must be 'costgov.policy/1'"),
        ("/policy", "Claude", "/policy", "lower-case letter"),
        ("/policy", "a" * 65, "/policy", "lower-case letter"),
        ("/policy", "a\n", "/policy", "lower-case letter"),
        ("/version", 0, "/version", "integer from 1"),
        ("/version", True, "/version", "integer from 1"),
        ("/version", 1.0, "/version", "integer from 1"),
        ("/mode", "shadow", "/mode", "observe, enforce"),
        ("/notes", "x", "/notes", "unknown key 'notes'; remove it"),
        ("/default_class", "nothing", "/default_class", "no such class"),
        ("/classes", {}, "/classes", "has no class"),
        ("/classes", [], "/classes", "must be a JSON object"),
        ("/classes/unassigned", {}, "/assignments/unassigned", "has no assignment; add one"),
        ("/assignments/ghost", {"target": {"model": None}}, "/assignments/ghost", "no such class"),
        ("/sticky_keys", [], "/sticky_keys", "1 to 4 are allowed"),
        ("/sticky_keys/0", "cookie", "/sticky_keys/0", "conversation, user, api_key, request"),
        ("/allow_bypass", "yes", "/allow_bypass", "true or false"),
        ("/signals/code/patterns", [], "/signals/code/patterns", "1 to 32 are allowed"),
        ("/signals/code/window_chars", 16385, "/signals/code/window_chars", "integer from 1 to 16384"),
        ("/rules/1/id", "r1", "/rules/1/id", "already used by /rules/0"),
        ("/rules/0/class", "ghost", "/rules/0/class", "no such class"),
        ("/rules/0/priority", 1, "/rules/0/priority", "unknown key 'priority'"),
        ("/rules/0/when", [], "/rules/0/when", "1 to 20 are allowed"),
        ("/rules/0/when", [CONDITION] * 21, "/rules/0/when", "has 21 conditions; 1 to 20"),
        ("/rules/0/when/0/field", "colour", "/rules/0/when/0/field", "not a known field"),
        ("/rules/0/when/0/field", "thinking_type", "/rules/0/when/0/field", "read by guards only"),
        ("/rules/0/when/0/field", "meta.Big", "/rules/0/when/0/field", "not a known field"),
        ("/rules/4/when/0/field", "signal.other", "/rules/4/when/0/field", "'other' is not declared"),
        ("/rules/0/when/0/op", "in", "/rules/0/when/0/op", "tags is of type set; use one of: has_any"),
        ("/rules/1/when/1/op", "in", "/rules/1/when/1/op", "max_tokens is of type integer"),
        ("/rules/1/when/0/value", "intent", "/rules/1/when/0/value", "list of 1 to 200 strings"),
        ("/rules/1/when/0/value", ["a"] * 201, "/rules/1/when/0/value", "has 201 strings"),
        ("/rules/1/when/0/value", ["a", 7], "/rules/1/when/0/value/1", "write it in quotes"),
        ("/rules/1/when/0/value", [" "], "/rules/1/when/0/value/0", "empty after trimming; use 'absent'"),
        ("/rules/1/when/1/value", "256", "/rules/1/when/1/value", "integer from 0"),
        ("/rules/1/when/1/value", -1, "/rules/1/when/1/value", "integer from 0"),
        ("/rules/1/when/1/value", MAX_INTEGER + 1, "/rules/1/when/1/value", "integer from 0"),
        ("/rules/1/when/1/value", True, "/rules/1/when/1/value", "integer from 0"),
        ("/rules/3/when/0/value", 1, "/rules/3/when/0/value", "true or false"),
        ("/rules/3/when/1/value", [3, 0], "/rules/3/when/1/value", "low is above high; swap them"),
        ("/rules/3/when/1/value", [3], "/rules/3/when/1/value", "two integers"),
        ("/rules/0/when/0", {"field": "feature", "op": "present", "value": []}, "/rules/0/when/0/value", "no value"),
        ("/rules/0/when/0", {"field": "feature", "op": "in"}, "/rules/0/when/0/value", "needs a value"),
        (
            "/rules/0/when/0",
            {"field": "model", "op": "in", "value": ["claude-opus-4-5-20251101"]},
            "/rules/0/when/0/value/0",
            "write 'claude-opus-4-5'",
        ),
        (FAQ + "/target/model", "claude-unknown", FAQ + "/target/model", "not described in 'models'"),
        (FAQ + "/baseline/model", "claude-unknown", FAQ + "/baseline/model", "not described in 'models'"),
        (FAQ + "/target/model", 5, FAQ + "/target/model", "must be a model id, or null"),
        (FAQ + "/target/effort", "low", FAQ + "/target/effort", "does not list this effort"),
        (FAQ + "/target/max_tokens_cap", 0, FAQ + "/target/max_tokens_cap", "integer from 1"),
        (FAQ + "/target/cache/mode", "on", FAQ + "/target/cache/mode", "keep, auto, off"),
        (FAQ + "/target/cache/tll", "5m", FAQ + "/target/cache/tll", "unknown key 'tll'"),
        (FAQ + "/target/batch", "always", FAQ + "/target/batch", "no, allowed, preferred"),
        (FAQ + "/target/fallback/0/model", HAIKU, FAQ + "/target/fallback/0/model", "falls back to the target itself"),
        (FAQ + "/target/fallback/0/on", ["bored"], FAQ + "/target/fallback/0/on/0", "overloaded"),
        (FAQ + "/rollout/basis_points", 10001, FAQ + "/rollout/basis_points", "0 to 10000"),
        (FAQ + "/rollout/salt", "", FAQ + "/rollout/salt", "not an id"),
        (f"/models/{HAIKU}/vision", 1, f"/models/{HAIKU}/vision", "true or false"),
        (f"/models/{HAIKU}/max_input_tokens", "200k", f"/models/{HAIKU}/max_input_tokens", "integer from 1"),
        (f"/models/{HAIKU}/efforts", "low", f"/models/{HAIKU}/efforts", "list of effort names"),
        ("/models/Claude", {}, "/models/Claude", "lower-case"),
    ],
)
def test_refused(path, value, finding_path, words) -> None:
    document = changed(path, value)
    findings = validate_document(document)
    assert any(finding.path == finding_path and words in finding.message for finding in findings), findings
    with pytest.raises(PolicyError) as refused:
        compile_policy(document)
    assert refused.value.findings == findings


@pytest.mark.parametrize(
    "path",
    ["/schema", "/policy", "/version", "/mode", "/classes", "/default_class", "/rules", "/assignments", "/sticky_keys",
     "/models", "/rules/0/when", FAQ + "/target", FAQ + "/target/model", FAQ + "/rollout/salt"],
)  # fmt: skip
def test_missing_member_is_named(path) -> None:
    findings = validate_document(without(path))
    assert (path, "is missing; add it") in [(f.path, f.message.split("' ")[-1]) for f in findings]


def test_all_problems_are_reported_at_once() -> None:
    document = changed("/mode", "x", changed("/rules/0/class", "ghost", changed("/version", 0)))
    with pytest.raises(PolicyError, match="3 problems") as refused:
        compile_policy(document)
    assert [finding.path for finding in refused.value.findings] == ["/version", "/mode", "/rules/0/class"]
    assert "- /rules/0/class: no such class" in str(refused.value)


def test_number_of_rules() -> None:
    document = spec_policy()
    document["rules"] = [{"id": f"r{n}", "class": "faq", "when": [CONDITION]} for n in range(500)]
    assert validate_document(document) == []
    document["rules"].append({"id": "r500", "class": "faq", "when": [CONDITION]})
    assert [f.path for f in validate_document(document)] == ["/rules"]


def test_allowed_models_and_registered_classes() -> None:
    findings = validate_document(
        spec_policy(), allowed_models={HAIKU}, registered_classes=set(spec_policy()["classes"]) - {"coding"}
    )
    assert {finding.path for finding in findings} == {
        "/classes/coding",
        "/assignments/faq/baseline/model",
        "/assignments/faq/target/fallback/0/model",
        "/assignments/coding/target/model",
        "/assignments/general/target/model",
    }


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not valid JSON"),
        (b'{"schema": ', "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"a": 1, "a": 2}', "given twice"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b" " * (MAX_DOCUMENT_BYTES + 1), "over 1048576 bytes"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_body_that_is_not_a_document(body, words) -> None:
    with pytest.raises(PolicyError, match=words):
        parse_document(body)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "must be a JSON object"),
        (changed("/rules/0/note", float("nan")), "value JSON cannot"),
        (changed("/rules/0/note", "\ud800"), "value JSON cannot"),
        (changed("/rules/0/note", "x" * MAX_DOCUMENT_BYTES), "over 1048576 bytes"),
    ],
)
def test_value_that_is_not_a_document(document, words) -> None:
    (finding,) = validate_document(document)
    assert words in finding.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
POINTERS = ("/rules/0/when/0/value", "/rules/0/when/0/op", "/rules/0/when/0", "/rules/0/when", "/rules/0", "/rules",
            "/classes", "/classes/faq", "/assignments/faq/target", "/assignments/faq/rollout", "/assignments/faq",
            "/assignments/faq/target/fallback", "/assignments/faq/target/cache", "/assignments/faq/target/effort",
            "/models", f"/models/{HAIKU}", f"/models/{HAIKU}/efforts", "/signals", "/signals/code", "/sticky_keys",
            "/default_class", "/assignments", "/rules/0/class", "/assignments/faq/target/model")  # fmt: skip


@given(path=st.sampled_from(POINTERS), value=JSON)
def test_any_json_is_compiled_or_refused_with_findings(path, value) -> None:
    try:
        compile_policy(changed(path, value))
    except PolicyError as refused:
        assert refused.findings


def test_hash_excludes_version_and_key_order() -> None:
    reordered = dict(reversed(list(changed("/version", 99).items())))
    assert content_hash(reordered) == content_hash(spec_policy())
    assert content_hash(changed("/mode", "observe")) != content_hash(spec_policy())
    assert len(content_hash(spec_policy())) == 64


def test_canonical_json() -> None:
    assert canonical_json({"b": [1, True, None], "a": "größe"}) == '{"a":"größe","b":[1,true,null]}'.encode()


@pytest.mark.parametrize(
    ("raw", "facts"),
    [
        ({"feature": "  FAQ-Billing\t"}, {"feature": "faq-billing"}),
        ({"feature": "GRÖSSE İ"}, {"feature": "grÖsse İ"}),
        ({"feature": "\u00a0x"}, {"feature": "\u00a0x"}),
        ({"feature": "A" * 300}, {"feature": "a" * 256}),
        ({"feature": "  "}, {}),
        ({"feature": 7, "tools": "3", "stream": 1, "tags": 5}, {}),
        ({"tools": 0, "messages": MAX_INTEGER}, {"tools": 0, "messages": MAX_INTEGER}),
        ({"tools": -1, "messages": MAX_INTEGER + 1, "images": True, "documents": 1.0}, {}),
        ({"stream": False, "signal.code": True}, {"stream": False, "signal.code": True}),
        ({"tags": "Legal, eu,,legal "}, {"tags": frozenset({"legal", "eu"})}),
        ({"tags": ["EU", 7, ""]}, {"tags": frozenset({"eu"})}),
        ({"tags": []}, {}),
        ({"colour": "red", "meta.cost_center": "X1", "meta.BAD": "x"}, {"meta.cost_center": "x1"}),
        (
            {"model": "vertex_ai/claude-opus-4-5@20251101"},
            {"model": "claude-opus-4-5", "model_family": "opus"},
        ),
    ],
)
def test_normalise_facts(raw, facts) -> None:
    assert normalise_facts(raw) == facts


@given(st.dictionaries(st.sampled_from(("feature", "model", "meta.x", "tags", "tools", "stream")), JSON | st.text()))
def test_normalising_twice_changes_nothing(raw: dict[str, Any]) -> None:
    facts = normalise_facts(raw)
    logged = {field: sorted(fact) if isinstance(fact, frozenset) else fact for field, fact in facts.items()}
    assert normalise_facts({**logged, "tags": logged["tags"]} if "tags" in logged else logged) == facts


@pytest.mark.parametrize(
    ("raw", "model", "family"),
    [
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5", "haiku"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5", "sonnet"),
        ("bedrock/eu.anthropic.claude-opus-4-8-v1:0", "claude-opus-4-8", "opus"),
        ("global.anthropic.claude-opus-4-8", "claude-opus-4-8", "opus"),
        ("anthropic.claude-opus-4-8", "claude-opus-4-8", "opus"),
        ("vertex_ai/claude-3-5-sonnet@20241022", "claude-3-5-sonnet", "sonnet"),
        ("openrouter/anthropic/Claude-Sonnet-5", "claude-sonnet-5", "sonnet"),
        ("gpt-4o", "gpt-4o", "gpt"),
        ("claude-2.1", "claude-2.1", "claude"),
        ("4711", "4711", ""),
    ],
)
def test_model_id_and_family(raw, model, family) -> None:
    assert (model_id(raw), model_family(raw)) == (model, family)


BUNDLE: dict[str, Any] = {
    "environment": "prod",
    "sequence": 87,
    "issued_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "stale_after_s": 3600,
    "kill_switch": False,
    "approved_by": ["erin", "max"],
    "policy": spec_policy(),
}


def test_bundle_round_trip_and_etag() -> None:
    body = bundle_body(**BUNDLE)
    assert json.loads(body)["issued_at"] == "2026-01-02T03:04:05Z"
    parsed = parse_bundle(body)
    assert {name: getattr(parsed, name) for name in BUNDLE} == {**BUNDLE, "approved_by": ("erin", "max")}
    same_instant = BUNDLE["issued_at"].astimezone(timezone(timedelta(hours=2)))
    assert bundle_body(**{**BUNDLE, "issued_at": same_instant}) == body
    assert etag("prod", 87, b"") == '"prod.87.e3b0c44298fc1c14"'


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "costgov.bundle/2"}, "update the adapter"),
        ({"sequence": "87"}, "sequence = '87'"),
        ({"sequence": True}, "sequence = True"),
        ({"kill_switch": 0}, "kill_switch = 0"),
        ({"policy": None}, "policy = None"),
        ({"issued_at": "yesterday"}, "not a time"),
        ({"issued_at": "2026-01-02T03:04:05"}, "no time zone"),
    ],
)
def test_bundle_that_cannot_be_used(change, words) -> None:
    body = json.dumps({**json.loads(bundle_body(**BUNDLE)), **change}).encode()
    with pytest.raises(BundleError, match=words):
        parse_bundle(body)


@pytest.mark.parametrize(("body", "words"), [(b"", "not JSON"), (b"[]", "not a JSON object"), (b"{}", "lacks schema")])
def test_body_that_is_no_bundle(body, words) -> None:
    with pytest.raises(BundleError, match=words):
        parse_bundle(body)


def test_naive_issue_time_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        bundle_body(**{**BUNDLE, "issued_at": datetime(2026, 1, 2)})  # noqa: DTZ001
