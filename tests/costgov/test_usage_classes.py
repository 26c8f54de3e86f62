"""Class of a row (architecture.md §4): record, tag, policy at the time, mapping, none; and classifying again."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command

from audit.models import AuditEntry
from audit.roles import Forbidden
from billing.models import DailyUsage, UsageRollup
from billing.queries.imports import request_store, stored_imports
from costgov.models import User
from costgov.operations.usage import NoSuchPolicy, import_usage, reclassify
from routing.operations.classes import map_usage, save_class
from routing.operations.policies import activate, approve, propose
from tests.gateway.documents import one_rule_policy
from tests.importers.usage.envelopes import envelope, payload, report, result, write_json, write_lines

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)
AS_OF = NOON + timedelta(days=5)
TAGGED = {"field": "feature", "op": "in", "value": ["triage"]}


@pytest.fixture(autouse=True)
def var(settings: Any, tmp_path: Path) -> None:
    settings.COSTGOV_VAR = tmp_path / "var"
    settings.COSTGOV_VAR.mkdir()


def person(name: str, role: str) -> User:
    user = User.objects.create_user(username=name, password="a long password here")
    user.groups.add(Group.objects.get(name=role))
    return user


@pytest.fixture
def people() -> tuple[User, User]:
    return person("erin", "engineer"), person("emil", "engineer")


def register(*slugs: str) -> None:
    for slug in slugs:
        save_class(actor=None, slug=slug, facts={}, as_of=NOON - timedelta(days=30))


def put_in_force(people: tuple[User, User], document: dict[str, Any], at: datetime) -> int:
    """Propose, approve and activate at one moment; the policy's version."""
    author, other = people
    change = propose(actor=author, document=document, title="t", evidence={}, as_of=at)
    version = change.policy_version
    approve(
        actor=other, change_request_id=change.pk, content_hash=version.content_hash,
        evidence_hash=change.evidence_hash, as_of=at,
    )  # fmt: skip
    activate(actor=author, change_request_id=change.pk, as_of=at)
    return int(version.version)


def policy(value: str, **over: Any) -> dict[str, Any]:
    document = one_rule_policy({**TAGGED, "value": [value]})
    return {**document, **over}


def labels() -> dict[str, tuple[Any, ...]]:
    """request id → (class, where it comes from, rule, policy that evaluated it)."""
    store = request_store()
    with store.engine("labels") as engine:
        listed = ", ".join(f"'{name}'" for name in store.files(stored_imports()))
        rows = engine.query(
            f"SELECT request_id, request_class, class_origin, rule, label_version FROM read_parquet([{listed}])"
        )
    return {row[0]: row[1:] for row in rows}


def spent_by_class() -> dict[str, int]:
    """Class → output tokens of the hourly rows; equal to those of the days."""
    sums: dict[str, int] = {}
    for name, count in UsageRollup.objects.values_list("request_class", "output_tok"):
        sums[name] = sums.get(name, 0) + count
    days: dict[str, int] = {}
    for name, count in DailyUsage.objects.values_list("request_class", "output_tok"):
        days[name] = days.get(name, 0) + count
    assert sums == days
    return sums


def at(moment: datetime) -> str:
    return moment.isoformat()


def test_the_first_that_exists(people: tuple[User, User], tmp_path: Path) -> None:
    register("hit", "miss", "tagged", "decided")
    version = put_in_force(people, policy("triage"), NOON)
    decision = {"class": "decided", "rule": "r9", "version": 4, "arm": "target"}
    rows = [
        envelope(1, at(NOON), decision=decision, tags={"request_class": "tagged", "feature": "triage"}),
        envelope(2, at(NOON), tags={"request_class": "tagged", "feature": "triage"}),
        envelope(3, at(NOON), tags={"request_class": "nobody-registered-it", "feature": "triage"}),
        envelope(4, at(NOON), tags={"feature": "triage"}),
        envelope(5, at(NOON), tags={"feature": "other"}),
        envelope(6, at(NOON - timedelta(seconds=1)), tags={"feature": "triage"}),
        envelope(7, at(NOON), decision={"class": "gone", "version": 2}),
    ]
    import_usage(actor=None, path=write_lines(tmp_path / "log.jsonl", rows), as_of=AS_OF)
    assert labels() == {
        "req_000001": ("decided", "decision", "r9", 0),
        "req_000002": ("tagged", "tag", "", 0),
        "req_000003": ("hit", "policy", "only", version),
        "req_000004": ("hit", "policy", "only", version),
        "req_000005": ("miss", "policy", "", version),
        "req_000006": ("", "none", "", 0),  # no policy was active yet
        "req_000007": ("gone", "decision", "", 0),
    }
    assert spent_by_class() == {"decided": 10, "tagged": 10, "hit": 20, "miss": 10, "": 10, "gone": 10}
    # The policy version and arm of a roll-up are those of a recorded decision only.
    assert set(UsageRollup.objects.values_list("request_class", "policy_version", "arm")) == {
        ("decided", 4, "target"), ("tagged", 0, ""), ("hit", 0, ""), ("miss", 0, ""), ("", 0, ""), ("gone", 2, ""),
    }  # fmt: skip


def test_the_policy_of_the_request_s_own_time(people: tuple[User, User], tmp_path: Path) -> None:
    register("hit", "miss")
    first = put_in_force(people, policy("triage"), NOON)
    second = put_in_force(people, policy("other"), NOON + timedelta(hours=1))
    rows = [
        envelope(1, at(NOON + timedelta(minutes=59)), tags={"feature": "triage"}),
        envelope(2, at(NOON + timedelta(hours=1)), tags={"feature": "triage"}),
        envelope(3, at(NOON + timedelta(hours=1)), tags={"feature": "other"}),
    ]
    import_usage(actor=None, path=write_lines(tmp_path / "log.jsonl", rows), as_of=AS_OF)
    assert labels() == {
        "req_000001": ("hit", "policy", "only", first),
        "req_000002": ("miss", "policy", "", second),
        "req_000003": ("hit", "policy", "only", second),
    }


def test_reports_and_remainders_have_the_class_of_their_key(people: tuple[User, User], tmp_path: Path) -> None:
    register("hit", "miss")
    put_in_force(people, policy("triage"), NOON - timedelta(days=20))
    map_usage(actor=None, slug="miss", api_key="apikey_a", as_of=AS_OF)
    map_usage(actor=None, slug="hit", api_key="apikey_b", as_of=AS_OF, valid_from=date(2026, 11, 10))
    days = [("2026-11-09T00:00:00Z", "2026-11-10T00:00:00Z"), ("2026-11-10T00:00:00Z", "2026-11-11T00:00:00Z")]
    keys = [
        result(api_key_id=key, workspace_id="wrkspc_a", output_tokens=count, uncached_input_tokens=200)
        for key, count in (("apikey_a", 30), ("apikey_b", 7), ("apikey_c", 1))
    ]
    import_usage(actor=None, path=write_json(tmp_path / "r.json", report(*((*day, keys) for day in days))), as_of=AS_OF)
    rows = [envelope(1, at(NOON), tags={"feature": "triage"})]
    import_usage(actor=None, path=write_lines(tmp_path / "log.jsonl", rows), as_of=AS_OF)
    found = {
        (day.day, origin, key, name): count
        for day, origin, key, name, count in DailyUsage.objects.values_list(
            "date", "origin", "api_key", "request_class", "output_tok"
        )
    }
    assert found == {
        (9, "report", "apikey_a", "miss"): 30,
        (9, "report", "apikey_b", ""): 7,
        (9, "report", "apikey_c", ""): 1,
        (10, "log", "apikey_a", "hit"): 10,
        (10, "remainder", "apikey_a", "miss"): 20,
        (10, "report", "apikey_b", "hit"): 7,
        (10, "report", "apikey_c", ""): 1,
    }


def test_a_decision_in_litellm_s_record(tmp_path: Path) -> None:
    register("support")
    one = payload(1, NOON.timestamp())
    one["metadata"] = {
        **one["metadata"],
        "spend_logs_metadata": {"costgov": {"class": "support", "rule": "r2", "version": 12, "arm": "baseline"}},
    }
    import_usage(actor=None, path=write_lines(tmp_path / "l.jsonl", [one]), as_of=AS_OF)
    row = UsageRollup.objects.get()
    assert (row.request_class, row.policy_version, row.arm) == ("support", 12, "baseline")


def test_later_activations_change_no_label_but_reclassify_does(people: tuple[User, User], tmp_path: Path) -> None:
    register("hit", "miss", "tagged", "decided")
    rows = [
        envelope(1, at(NOON), decision={"class": "decided", "version": 4, "rule": "r9"}, tags={"feature": "triage"}),
        envelope(2, at(NOON), tags={"request_class": "tagged", "feature": "triage"}),
        envelope(3, at(NOON), tags={"feature": "triage"}),
        envelope(4, at(NOON + timedelta(days=1)), tags={"feature": "triage"}),
        envelope(5, at(NOON + timedelta(days=1)), tags={"feature": "other"}),
    ]
    import_usage(actor=None, path=write_lines(tmp_path / "log.jsonl", rows), as_of=AS_OF)
    before = labels()
    version = put_in_force(people, policy("triage"), AS_OF)
    assert labels() == before
    assert before["req_000003"] == ("", "none", "", 0)

    changed = reclassify(actor=people[0], as_of=AS_OF, start=date(2026, 11, 11), end=date(2026, 11, 12))
    assert changed.requests == 2
    assert labels() == {
        **before,
        "req_000004": ("hit", "policy", "only", version),
        "req_000005": ("miss", "policy", "", version),
    }
    assert reclassify(actor=people[0], as_of=AS_OF).requests == 1
    assert labels()["req_000003"] == ("hit", "policy", "only", version)
    assert labels()["req_000001"] == before["req_000001"]
    assert labels()["req_000002"] == before["req_000002"]
    assert spent_by_class() == {"decided": 10, "tagged": 10, "hit": 20, "miss": 10}
    assert reclassify(actor=people[0], as_of=AS_OF).requests == 0
    entry = AuditEntry.objects.filter(action="usage.reclassified").order_by("pk").first()
    assert entry is not None
    assert entry.after is not None
    assert (entry.actor_name, entry.after["requests_changed"], entry.after["from"]) == ("erin", 2, "2026-11-11")


def test_classify_again_under_a_named_policy(people: tuple[User, User], tmp_path: Path) -> None:
    register("hit", "miss")
    first = put_in_force(people, policy("triage"), NOON - timedelta(days=1))
    second = put_in_force(people, policy("other"), AS_OF)
    rows = [envelope(1, at(NOON), tags={"feature": "triage"})]
    import_usage(actor=None, path=write_lines(tmp_path / "log.jsonl", rows), as_of=AS_OF)
    assert labels()["req_000001"] == ("hit", "policy", "only", first)
    assert reclassify(actor=None, as_of=AS_OF, policy_version=second).requests == 1
    assert labels()["req_000001"] == ("miss", "policy", "", second)
    with pytest.raises(NoSuchPolicy, match="There is no policy version 99"):
        reclassify(actor=None, as_of=AS_OF, policy_version=99)


def test_reclassify_needs_the_right(tmp_path: Path) -> None:
    with pytest.raises(Forbidden):
        reclassify(actor=person("victor", "viewer"), as_of=AS_OF)
    with pytest.raises(Forbidden):
        import_usage(actor=person("vera", "viewer"), path=tmp_path / "any.jsonl", as_of=AS_OF)


def test_before_any_policy_tags_and_mappings_reach_usage_imported_before_its_class(tmp_path: Path) -> None:
    tagged = [envelope(1, at(NOON), tags={"request_class": "hit"}), envelope(2, at(NOON))]
    import_usage(actor=None, path=write_lines(tmp_path / "log.jsonl", tagged), as_of=AS_OF)
    day = ("2026-11-08T00:00:00Z", "2026-11-09T00:00:00Z", [result(api_key_id="k", output_tokens=5)])
    import_usage(actor=None, path=write_json(tmp_path / "r.json", report(day)), as_of=AS_OF)
    assert set(spent_by_class()) == {""}
    register("hit")
    map_usage(actor=None, slug="hit", api_key="k", as_of=AS_OF)
    assert set(spent_by_class()) == {""}  # registering changes no label by itself
    assert reclassify(actor=None, as_of=AS_OF) == (1, 1)
    assert labels()["req_000001"] == ("hit", "tag", "", 0)
    assert labels()["req_000002"] == ("", "none", "", 0)
    assert spent_by_class()["hit"] > 5
    assert reclassify(actor=None, as_of=AS_OF) == (0, 0)
    entry = AuditEntry.objects.filter(action="usage.reclassified").order_by("pk").first()
    assert entry is not None
    assert entry.after is not None
    assert entry.after["policy_version"] is None


def test_a_mapping_made_later_reaches_reports_by_reclassify(people: tuple[User, User], tmp_path: Path) -> None:
    register("hit", "miss")
    put_in_force(people, policy("triage"), NOON)
    day = ("2026-11-09T00:00:00Z", "2026-11-10T00:00:00Z", [result(api_key_id="k", output_tokens=5)])
    import_usage(actor=None, path=write_json(tmp_path / "r.json", report(day)), as_of=AS_OF)
    assert spent_by_class() == {"": 5}
    map_usage(actor=None, slug="hit", api_key="k", as_of=AS_OF)
    reclassify(actor=None, as_of=AS_OF)
    assert spent_by_class() == {"hit": 5}


def test_an_unknown_model_imports_and_is_unpriced_with_its_remedy(tmp_path: Path) -> None:
    rows = [envelope(1, at(NOON), model="acme-large-9")]
    outcome = import_usage(actor=None, path=write_lines(tmp_path / "log.jsonl", rows), as_of=AS_OF)
    assert outcome.accepted == 1
    assert "Unknown model acme-large-9 (110 tokens): listed as unpriced" in outcome.findings[0]
    shown = StringIO()
    call_command("spend", "--json", stdout=shown)
    found = json.loads(shown.getvalue())
    assert found["total"]["unpriced_tok"] == 110
    assert Decimal(found["total"]["cost_usd"]) == 0
    assert {(line["model"], line["quantity"]) for line in found["unpriced"]} == {
        ("acme-large-9", 100),
        ("acme-large-9", 10),
    }
    assert all("prices" in line["remedy"] for line in found["unpriced"])
