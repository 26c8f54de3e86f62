"""What gateways get: the bundle with its ETag, and decisions that never fail a request."""

import json

import pytest
from django.test import Client

from audit.models import AuditEntry
from billing.models import ModelRelease
from gateway.bundle import etag, parse_bundle
from gateway.engine import compile_policy
from routing.models import Activation, PolicyVersion, RequestClass
from routing.operations.policies import activate, approve, propose
from routing.queries import bundles
from tests.costgov import policy_world
from tests.costgov import small_world as world
from tests.costgov.policy_world import in_force, logged_in, token
from tests.gateway.documents import HAIKU, OPUS, SONNET, spec_policy
from tests.gateway.test_golden import FALSE, GOLDEN

pytestmark = pytest.mark.django_db
BUNDLE = "/api/v1/bundles/prod"


@pytest.fixture(autouse=True)
def _frozen(settings):
    settings.COSTGOV_AS_OF = world.AS_OF


@pytest.fixture
def people():
    return policy_world.estate()


@pytest.fixture
def gateway(people):
    """A gateway's headers: bundle:read and nothing else."""
    return token(people["lena"], "bundle:read")[1]


def test_nothing_active_is_404_in_words(gateway):
    for environment, said in (("prod", "is known"), ("staging", "is not one of prod")):
        answer = Client().get(f"/api/v1/bundles/{environment}", headers=gateway)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "nothing_active"
        assert said in answer.json()["error"]["message"]


def test_bundle_of_the_journey(people, gateway):
    lena, tomas = logged_in(people["lena"]), logged_in(people["tomas"])
    in_force(lena, tomas)
    answer = Client().get(BUNDLE, headers=gateway)
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-cache"
    assert answer["Content-Type"] == "application/json"
    parsed = parse_bundle(answer.content)
    assert (parsed.environment, parsed.sequence, parsed.kill_switch) == ("prod", 1, False)
    assert parsed.approved_by == ("tomas",)
    assert parsed.policy == PolicyVersion.objects.get().document
    assert parsed.policy["assignments"]["triage"]["target"]["model"] == world.HAIKU
    assert answer["ETag"] == etag("prod", 1, answer.content)
    assert compile_policy(parsed.policy).classify({"api_key": "key-triage"}) == ("r2", "triage")


# What is sent as If-None-Match while ETag is in force → status. Source: RFC 9110 §13.1.2 (weak comparison).
MATCHES = [
    ("{etag}", 304),
    ("W/{etag}", 304),
    ('"other", {etag}', 304),
    ("*", 304),
    ('"prod.1.0000000000000000"', 200),
    ("", 200),
    ("not an etag", 200),
]


@pytest.mark.parametrize(("sent", "status"), MATCHES)
def test_if_none_match(people, gateway, sent, status):
    in_force(logged_in(people["lena"]), logged_in(people["tomas"]))
    held = Client().get(BUNDLE, headers=gateway)["ETag"]
    answer = Client().get(BUNDLE, headers={**gateway, "if-none-match": sent.format(etag=held)})
    assert answer.status_code == status
    assert answer["ETag"] == held
    assert (answer.content == b"") is (status == 304)


def test_activation_changes_the_etag_and_a_repeat_does_not(people, gateway):
    lena, tomas = logged_in(people["lena"]), logged_in(people["tomas"])
    in_force(lena, tomas)
    first = Client().get(BUNDLE, headers=gateway)
    assert Client().get(BUNDLE, headers=gateway).content == first.content
    document = PolicyVersion.objects.get().document
    keeps = {**document["assignments"], "triage": {"target": {"model": None}}}
    change = propose(
        actor=people["lena"], document={**document, "assignments": keeps}, title="Keep", evidence={}, as_of=world.AS_OF
    )
    policy_world.approve(tomas, change.pk)
    assert Client().get(BUNDLE, headers={**gateway, "if-none-match": first["ETag"]}).status_code == 304
    tomas.post(f"/policies/changes/{change.pk}/activate/")
    second = Client().get(BUNDLE, headers={**gateway, "if-none-match": first["ETag"]})
    assert second.status_code == 200
    assert second["ETag"] != first["ETag"]
    assert second.json()["sequence"] == 2


@pytest.mark.parametrize(
    ("environments", "status"), [((), 404), (("prod",), 404), (("staging",), 403), (("prod", "staging"), 404)]
)
def test_token_is_bound_to_its_environments(people, environments, status):
    headers = token(people["lena"], "bundle:read", environments=environments)[1]
    assert Client().get(BUNDLE, headers=headers).status_code == status


# -- decide ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def spec_in_force(people):
    """The policy of policy-spec.md §1 in force, through the operations; and a caller that may decide."""
    for slug, entry in spec_policy()["classes"].items():
        RequestClass.objects.create(slug=slug, title=entry["title"])
    for model in (HAIKU, SONNET):
        ModelRelease.objects.update_or_create(
            canonical_id=model, defaults={"display_name": model, "tier": "fast", "is_allowed": True, "retires_on": None}
        )
    change = propose(
        actor=people["lena"], document=spec_policy(), title="Spec", evidence={"why": "test"}, as_of=world.AS_OF
    )
    approve(
        actor=people["tomas"], change_request_id=change.pk, content_hash=change.policy_version.content_hash,
        evidence_hash=change.evidence_hash, as_of=world.AS_OF,
    )  # fmt: skip
    activate(actor=people["tomas"], change_request_id=change.pk, as_of=world.AS_OF)
    return token(people["lena"], "decide")[1]


def decide(headers, facts, *, sticky=None, requested=OPUS, environment="prod", **changes):
    body = {"environment": environment, "facts": facts, "requested": requested, **changes}
    if sticky is not None:
        body["sticky"] = sticky
    return Client().post("/api/v1/decide", json.dumps(body), content_type="application/json", headers=headers)


def test_golden_examples(spec_in_force):
    """All of policy-spec.md §5, over HTTP: one test, as putting the policy in force is what takes time."""
    for name, facts, conversation, rule, request_class, arm, bucket, sent, reason in GOLDEN:
        for booleans in (FALSE, {}):
            sticky = {} if conversation is None else {"conversation": conversation}
            answer = decide(spec_in_force, {**booleans, **facts}, sticky=sticky)
            assert answer.status_code == 200, name
            record = answer.json()
            got = tuple(record[key] for key in ("rule", "class", "arm", "bucket", "reason"))
            assert got == (rule, request_class, arm, bucket, reason), name
            assert record["patch"].get("model", OPUS) == sent, name
            assert record["applied"] is (sent != OPUS), name


def test_record_of_g1(spec_in_force):
    facts = {"feature": "  FAQ-billing ", "input_chars": 420, "max_tokens": 2000, "tags": ["b", "a"], "secret": "no"}
    record = decide(spec_in_force, facts, sticky={"conversation": "s-1001"}).json()
    assert record == {
        "policy": "claude-prod",
        "version": 1,
        "environment": "prod",
        "sequence": 1,
        "rule": "r3",
        "class": "faq",
        "arm": "policy",
        "bucket": 4704,
        "requested": OPUS,
        "target": HAIKU,
        "applied": True,
        "reason": None,
        "facts": {"feature": "faq-billing", "input_chars": 420, "max_tokens": 2000, "tags": ["a", "b"]},
        "adapter": "costgov-decide/1",
        "patch": {"model": HAIKU, "max_tokens": 1024, "drop": ["output_config.effort"], "cache": _CACHE},
        "advice": record["advice"],
    }
    assert [entry["on"] for entry in record["advice"]["fallback"]] == [["overloaded", "rate_limited"]]


_CACHE = {"mode": "auto", "ttl": "5m"}


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        ({"max_tokens": "256", "feature": "intent"}, None),  # a text is no integer: dropped, so r2 does not hold
        ({"tools": True, "json_output": True}, None),  # a boolean is no integer either
        ({"feature": ["intent"], "max_tokens": 1}, None),
        ({"feature": None}, None),
        ({"": 1, "feature": {"a": 1}, "tags": 7}, None),
        ({"input_chars": -1, "signal.code": True}, None),
        ({"input_chars": 2**60, "signal.code": True}, None),
    ],
)
def test_facts_of_the_wrong_type_are_dropped(spec_in_force, facts, rule):
    answer = decide(spec_in_force, facts)
    assert (answer.status_code, answer.json()["rule"], answer.json()["class"]) == (200, rule, "general")


def test_bypass_and_kill_switch_leave_the_request_alone(people, spec_in_force):
    record = decide(spec_in_force, {}, bypass="incident 7").json()
    assert (record["applied"], record["reason"], record["patch"]) == (False, "bypass", {})
    latest = Activation.objects.get()
    Activation.objects.create(
        environment="prod", sequence=2, policy_version=latest.policy_version, change_request=latest.change_request,
        activated_at=world.AS_OF, kill_switch=True,
    )  # fmt: skip
    record = decide(spec_in_force, {}).json()
    assert (record["applied"], record["reason"], record["sequence"]) == (False, "kill_switch", 2)


def test_without_a_policy_the_request_stays_as_it_is(people):
    record = decide(token(people["lena"], "decide")[1], {"feature": "faq-a"}).json()
    assert (record["applied"], record["reason"], record["patch"], record["requested"]) == (False, "no_bundle", {}, OPUS)


def test_a_fault_leaves_the_request_as_it_is(people, spec_in_force, monkeypatch):
    def broken(*_):
        raise RuntimeError("the database is gone")

    monkeypatch.setattr(bundles, "_in_force", broken)
    answer = decide(spec_in_force, {"feature": "faq-a"})
    assert answer.status_code == 200
    assert (answer.json()["applied"], answer.json()["reason"]) == (False, "error:RuntimeError")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"facts": {}, "requested": OPUS}, "environment"),
        ({"environment": "prod", "facts": {}}, "requested"),
        ({"environment": "prod", "facts": [], "requested": OPUS}, "facts"),
        ({"environment": "prod", "facts": {}, "requested": OPUS, "sticky": {"user": ["a"]}}, "sticky"),
        ([], "input"),
        ("decide", "input"),
    ],
)
def test_input_that_is_none_is_400(people, body, field):
    headers = token(people["lena"], "decide")[1]
    answer = Client().post("/api/v1/decide", json.dumps(body), content_type="application/json", headers=headers)
    assert answer.status_code == 400
    assert field in answer.json()["error"]["fields"] or field == "input"


def test_decide_needs_the_environment_of_its_token(people):
    headers = token(people["lena"], "decide", environments=("staging",))[1]
    answer = decide(headers, {})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")


def test_reading_a_bundle_leaves_no_trace(people, gateway):
    before = AuditEntry.objects.count()
    Client().get(BUNDLE, headers=gateway)
    assert AuditEntry.objects.count() == before
