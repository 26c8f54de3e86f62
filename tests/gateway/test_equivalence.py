"""The compiled engine against the slow interpreter of `oracle.py`, and properties of operators and rollouts."""

import copy
import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.engine import bucket_of, compile_policy
from gateway.facts import MAX_INTEGER, normalise_facts
from gateway.validation import OPERATORS
from tests.gateway import oracle
from tests.gateway.documents import HAIKU, OPUS, SONNET, one_rule_policy, spec_policy

STRING_FIELDS = ("feature", "team", "meta.app", "model", "script")
INTEGER_FIELDS = ("input_chars", "max_tokens", "tools")
BOOLEAN_FIELDS = ("json_output", "stream", "signal.code")
# Prefixes of one another, quotes, non-ASCII, an emoji, a NUL and a long value: what generated tables get wrong.
TEXTS = (
    "a",
    "ab",
    "abc",
    "abd",
    "b",
    "o'hare",
    'say "x"',
    "größe",
    "gr",
    "日本",
    "日",
    "😀",
    "a\x00b",
    "-- ;",
    "z" * 256,
)
NUMBERS = (0, 1, 2, 3, 255, 256, 257, 8000, 8001, 2**31, 2**53 - 2, MAX_INTEGER)
TAGS = ("legal", "eu", "o'hare", "größe", "m-and-a")


def random_condition(draw: random.Random) -> dict[str, Any]:
    kind = draw.choice(("string", "string", "integer", "boolean", "set"))
    op = draw.choice(list(OPERATORS[kind]))
    expected = OPERATORS[kind][op]
    field = {"string": STRING_FIELDS, "integer": INTEGER_FIELDS, "boolean": BOOLEAN_FIELDS, "set": ("tags",)}[kind]
    condition: dict[str, Any] = {"field": draw.choice(field), "op": op}
    if expected == "strings":
        pool = TAGS if kind == "set" else TEXTS
        condition["value"] = [draw.choice(pool) for _ in range(draw.randint(1, 3))]
    elif expected == "integer":
        condition["value"] = draw.choice(NUMBERS)
    elif expected == "range":
        condition["value"] = sorted((draw.choice(NUMBERS), draw.choice(NUMBERS)))
    elif expected == "boolean":
        condition["value"] = draw.random() < 0.5
    return condition


def random_policy(draw: random.Random) -> dict[str, Any]:
    document = spec_policy()
    names = ["c0", "c1", "c2", "c3"]
    document["classes"] = {name: {} for name in names}
    document["default_class"] = draw.choice(names)
    document["mode"] = draw.choice(("enforce", "enforce", "observe"))
    document["rules"] = [
        {
            "id": f"r{number}",
            "class": draw.choice(names),
            "enabled": draw.random() < 0.9,
            "when": [random_condition(draw) for _ in range(draw.choice((1, 1, 2, 2, 3, 5)))],
        }
        for number in range(draw.randint(0, 12))
    ]
    document["models"][HAIKU]["vision"] = draw.random() < 0.5

    def target() -> dict[str, Any]:
        made: dict[str, Any] = {"model": draw.choice((None, HAIKU, SONNET))}
        if draw.random() < 0.4:
            made["max_tokens_cap"] = draw.choice((1, 256, 8000))
        if draw.random() < 0.2:
            made["cache"] = {"mode": draw.choice(("keep", "auto", "off"))}
        return made

    document["assignments"] = {}
    for name in names:
        assignment: dict[str, Any] = {"target": target()}
        if draw.random() < 0.7:
            assignment["baseline"] = target()
        if draw.random() < 0.7:
            basis_points = draw.choice((0, 1, 2500, 5000, 9999, 10000))
            assignment["rollout"] = {"basis_points": basis_points, "salt": f"{name}.1"}
        document["assignments"][name] = assignment
    return document


def random_facts(draw: random.Random) -> dict[str, Any]:
    raw: dict[str, Any] = {}
    for field in STRING_FIELDS:
        if draw.random() < 0.7:
            raw[field] = draw.choice(TEXTS) + draw.choice(("", "", "c", "d", "'", "x", "🎈"))
    for field in INTEGER_FIELDS:
        if draw.random() < 0.7:
            near = draw.choice(NUMBERS) + draw.choice((-1, 0, 0, 1))
            raw[field] = min(max(near, 0), MAX_INTEGER)
    for field in BOOLEAN_FIELDS:
        if draw.random() < 0.7:
            raw[field] = draw.random() < 0.5
    if draw.random() < 0.7:
        raw["tags"] = [draw.choice((*TAGS, "unlisted")) for _ in range(draw.randint(0, 4))]
    if draw.random() < 0.3:
        raw["thinking_type"] = draw.choice(("enabled", "adaptive", "disabled"))
    if draw.random() < 0.3:
        raw["images"] = draw.choice((0, 1))
    for field in ("prefill", "thinking_history"):
        if draw.random() < 0.3:
            raw[field] = draw.random() < 0.5
    if draw.random() < 0.2:
        raw["permitted_models"] = draw.choice(([HAIKU], [SONNET, OPUS], [HAIKU, SONNET]))
    return normalise_facts(raw)


def test_engine_equals_slow_interpreter_on_generated_policies() -> None:
    draw = random.Random(42)
    rules_hit: set[str | None] = set()
    reasons: set[str | None] = set()
    decisions = 0
    for _ in range(400):
        document = random_policy(draw)
        before = copy.deepcopy(document)
        policy = compile_policy(document)
        matched = set()
        for _ in range(60):
            facts = random_facts(draw)
            requested = draw.choice((OPUS, HAIKU, SONNET))
            sticky = draw.choice(({}, {"conversation": f" s-{draw.randrange(50)}"}, {"user": "größe"}, {"user": "  "}))
            expected = oracle.decide(document, facts, requested, sticky)
            decision = policy.decide(facts, requested=requested, sticky=sticky)
            assert {key: decision.as_record()[key] for key in expected} == expected, (document, facts, sticky)
            assert policy.classify(facts) == (expected["rule"], expected["class"])
            assert bool(decision.patch) is decision.applied
            matched.add(decision.rule)
            reasons.add(decision.reason)
            decisions += 1
        assert not matched.intersection(policy.unreachable_rules)
        rules_hit |= matched
        assert document == before
    assert decisions == 24_000
    # The comparison is worth something only if it reached all of these.
    assert len(rules_hit) == 13
    assert reasons == {
        None, "rollout", "no_sticky_key", "already", "keep_requested", "observe", "not_permitted", "capability:context",
        "capability:adaptive_thinking", "capability:vision", "capability:prefill", "capability:thinking_history",
    }  # fmt: skip


def test_only_used_fields_decide_the_class() -> None:
    draw = random.Random(7)
    for _ in range(100):
        policy = compile_policy(random_policy(draw))
        facts = random_facts(draw)
        used = {field: facts[field] for field in facts if field in policy.used_fields}
        assert policy.classify(used) == policy.classify(facts)


TWINS = [("in", "not_in"), ("starts_with", "not_starts_with"), ("present", "absent"), ("has_any", "has_none"),
         ("has_all", "lacks_any")]  # fmt: skip


def matches(condition: dict[str, Any], facts: dict[str, Any]) -> bool:
    return compile_policy(one_rule_policy(condition)).classify(facts)[1] == "hit"


@given(
    twins=st.sampled_from(TWINS),
    values=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=4),
    fact=st.none() | st.sampled_from(TEXTS) | st.text(min_size=1, max_size=5),
    tags=st.none() | st.sets(st.sampled_from(TEXTS), min_size=1, max_size=3),
)
@example(twins=("in", "not_in"), values=["a"], fact=None, tags=None)
@example(twins=("has_all", "lacks_any"), values=["a", "b"], fact=None, tags=None)
def test_negative_operator_is_the_complement_of_its_twin(twins, values, fact, tags) -> None:
    is_set = twins[0].startswith("has")
    facts = normalise_facts({"tags": list(tags)} if is_set and tags else {"feature": fact} if fact is not None else {})
    condition: dict[str, Any] = {"field": "tags" if is_set else "feature"}
    if twins[0] != "present":
        condition["value"] = values
    positive, negative = (matches({**condition, "op": op}, facts) for op in twins)
    assert positive is not negative
    if not facts:
        assert negative


MISSING: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("field", "op", "value", "true_for", "false_for"),
    [
        ("feature", "in", ["a", "b"], ["a", "b"], ["ab", "c", None]),
        ("feature", "not_in", ["a", "b"], ["ab", "c", None], ["a", "b"]),
        ("feature", "starts_with", ["ab", "x"], ["ab", "abc", "x"], ["a", "ba", None]),
        ("feature", "not_starts_with", ["ab", "x"], ["a", "ba", None], ["ab", "abc", "x"]),
        ("feature", "present", None, ["a"], [None]),
        ("feature", "absent", None, [None], ["a"]),
        ("tools", "lt", 3, [0, 2], [3, 4, None]),
        ("tools", "lte", 3, [0, 3], [4, None]),
        ("tools", "gt", 3, [4, MAX_INTEGER], [3, 0, None]),
        ("tools", "gte", 3, [3, MAX_INTEGER], [2, None]),
        ("tools", "between", [1, 3], [1, 2, 3], [0, 4, None]),
        ("tools", "between", [0, 0], [0], [1, None]),
        ("tools", "present", None, [0], [None]),
        ("tools", "absent", None, [None], [0]),
        ("tools", "gte", MAX_INTEGER, [MAX_INTEGER], [MAX_INTEGER - 1, None]),
        ("tools", "gt", MAX_INTEGER, [], [MAX_INTEGER, None]),
        ("tools", "lt", 0, [], [0, None]),
        ("stream", "is", True, [True], [False, None]),
        ("stream", "is", False, [False], [True, None]),
        ("tags", "has_any", ["a", "b"], [["a"], ["b", "c"]], [["c"], None]),
        ("tags", "has_none", ["a", "b"], [["c"], None], [["a"], ["b", "c"]]),
        ("tags", "has_all", ["a", "b"], [["a", "b"], ["a", "b", "c"]], [["a"], None]),
        ("tags", "lacks_any", ["a", "b"], [["a"], None], [["a", "b", "c"]]),
    ],
)
def test_operator(field, op, value, true_for, false_for) -> None:
    condition = {"field": field, "op": op} | ({} if value is None else {"value": value})
    for fact, expected in [(fact, True) for fact in true_for] + [(fact, False) for fact in false_for]:
        facts = MISSING if fact is None else normalise_facts({field: fact})
        assert matches(condition, facts) is expected, fact


def test_rule_values_are_normalised_like_facts() -> None:
    condition = {"field": "feature", "op": "starts_with", "value": ["  FAQ-"]}
    assert matches(condition, {"feature": "faq-billing"})


def test_contradicting_rule_is_named_unreachable() -> None:
    conditions = ({"field": "tools", "op": "gt", "value": 3}, {"field": "tools", "op": "lt", "value": 4})
    assert compile_policy(one_rule_policy(*conditions)).unreachable_rules == ("only",)
    conditions[1]["value"] = 5
    assert compile_policy(one_rule_policy(*conditions)).unreachable_rules == ()


def test_raising_basis_points_only_adds_keys() -> None:
    keys = [f"s-{number}" for number in range(3000)]
    in_policy_before: set[str] = set()
    for basis_points in (0, 1, 100, 2500, 5000, 9800, 9999, 10000):
        document = spec_policy()
        document["assignments"]["faq"]["rollout"]["basis_points"] = basis_points
        policy = compile_policy(document)
        decided = {
            key: policy.decide({"feature": "faq-a", "input_chars": 1}, requested=OPUS, sticky={"user": key})
            for key in keys
        }
        in_policy = {key for key, decision in decided.items() if decision.arm == "policy"}
        assert in_policy >= in_policy_before
        assert abs(len(in_policy) - len(keys) * basis_points / 10000) < 110  # 4 standard deviations of 3,000 draws
        if 0 < basis_points < 10000:
            assert all(decision.bucket == bucket_of("faq.3", key)[1] for key, decision in decided.items())
        else:
            assert all(decision.bucket is None for decision in decided.values())
        in_policy_before = in_policy
