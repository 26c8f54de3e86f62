"""manage.py policy check|diff."""

import json
from io import StringIO

import pytest
from django.core.management import call_command

from billing.models import ModelRelease
from costgov.models import User
from routing.models import PolicyVersion, RequestClass
from tests.costgov import small_world as world
from tests.gateway.documents import HAIKU, SONNET, changed, spec_policy

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _estate(settings):
    settings.COSTGOV_AS_OF = world.AS_OF
    for slug in spec_policy()["classes"]:
        RequestClass.objects.create(slug=slug, title=slug)
    for model in (HAIKU, SONNET):
        ModelRelease.objects.update_or_create(
            canonical_id=model, defaults={"display_name": model, "tier": "fast", "is_allowed": True, "retires_on": None}
        )


@pytest.fixture
def run(tmp_path):
    """Standard output, standard error and exit code of the command on a document (or on bytes)."""

    def call(step, document, *options):
        path = tmp_path / "policy.json"
        path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
        out, err = StringIO(), StringIO()
        code: object = 0
        try:
            call_command("policy", step, str(path), *options, stdout=out, stderr=err)
        except SystemExit as stopped:
            code = stopped.code
        return out.getvalue(), err.getvalue(), code

    return call


def test_a_good_document(run):
    assert run("check", spec_policy()) == ("Nothing to say: the document is fine.\n", "", 0)
    out, _, code = run("check", spec_policy(), "--json")
    assert (json.loads(out), code) == ({"ok": True, "findings": []}, 0)


# (place, value) in the document → words about it
PROBLEMS = [
    ("/mode", "loud", "/mode"),
    ("/assignments/coding/target/model", "claude-nobody-1", "(found 'claude-nobody-1')"),
    ("/rules/0/when/0/field", "colour", "/rules/0/when/0/field"),
]


@pytest.mark.parametrize(("place", "value", "said"), PROBLEMS)
def test_problems_block_with_exit_2(run, place, value, said):
    out, err, code = run("check", changed(place, value))
    assert code == 2
    assert out.startswith("BLOCKS")
    assert said in out
    assert err == "The document cannot be proposed as it is.\n"


def test_unregistered_class_blocks(run):
    RequestClass.objects.get(slug="faq").delete()
    out, _, code = run("check", spec_policy(), "--json")
    found = json.loads(out)
    assert (code, found["ok"], [item["path"] for item in found["findings"]]) == (2, False, ["/classes/faq"])


def test_rule_that_contradicts_itself_blocks(run):
    both = [{"field": "tools", "op": "lt", "value": 1}, {"field": "tools", "op": "gt", "value": 2}]
    out, _, code = run("check", changed("/rules/3/when", both))
    assert code == 2
    assert "Rule r4 can never match" in out


@pytest.mark.parametrize(
    ("retires_on", "warns"), [("2027-02-21", True), ("2027-02-22", False), ("2026-11-24", True)]
)  # 90 days after 23 November 2026 is 21 February 2027
def test_model_that_retires_within_90_days_warns_without_failing(run, retires_on, warns):
    ModelRelease.objects.filter(canonical_id=SONNET).update(retires_on=retires_on)
    out, _, code = run("check", spec_policy())
    assert code == 0
    assert ("claude-sonnet-5 retires on" in out) is warns


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"a": 1, "a": 2}', b"\xff"])
def test_a_file_that_is_no_document(run, body):
    for step in ("check", "diff"):
        out, err, code = run(step, body)
        assert (out, code) == ("", 2)
        assert "problem" in err


def test_no_such_file(tmp_path):
    err = StringIO()
    with pytest.raises(SystemExit, match="2"):
        call_command("policy", "check", str(tmp_path / "none.json"), stderr=err)
    assert "no such file; check the path" in err.getvalue()


def test_diff_against_nothing_and_against_the_active_policy(run):
    out, _, code = run("diff", spec_policy())
    assert code == 0
    assert out.startswith("Against nothing (no policy is active in prod):")
    user = User.objects.create(username="lena")
    world.policy(user, 1, {}, world.AS_OF, active=True)
    version = PolicyVersion(policy="claude-prod", version=2, document=spec_policy(), content_hash="2" * 64)
    version.created_by, version.created_at = user, world.AS_OF
    version.save()
    _activate(version)
    assert run("diff", spec_policy()) == ("No difference to claude-prod@2.\n", "", 0)
    out, _, _ = run("diff", changed("/assignments/coding/target/model", HAIKU), "--json")
    found = json.loads(out)
    assert found["against"] == "claude-prod@2"
    assert found["assignments"] == [
        {"request_class": "coding", "before": "claude-sonnet-5", "after": "claude-haiku-4-5"}
    ]


def _activate(version: PolicyVersion) -> None:
    version.activations.create(environment="prod", sequence=9, activated_at=world.AS_OF)


def test_diff_of_an_invalid_document_is_refused(run):
    out, err, code = run("diff", changed("/mode", "loud"))
    assert (out, code) == ("", 2)
    assert "/mode" in err
