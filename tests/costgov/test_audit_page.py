"""The audit page: every entry, filtered by object, action and person; what changed is readable."""

import re

import pytest
from django.db import transaction
from django.test import Client

from audit.models import AuditEntry
from audit.operations import record
from costgov.queries.trail import PER_PAGE, FieldChange, action_words, field_changes, trail_page
from tests.costgov import policy_world
from tests.costgov import small_world as world
from tests.costgov.policy_world import in_force, logged_in

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _frozen(settings):
    settings.COSTGOV_AS_OF = world.AS_OF


@pytest.fixture
def people():
    return policy_world.people()


def words(answer) -> str:
    assert answer.status_code == 200
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def entry(actor, action="class.changed", object_type="request_class", object_id="triage", **changes) -> None:
    with transaction.atomic():
        record(
            actor=actor, action=action, object_type=object_type, object_id=object_id,
            as_of=changes.pop("as_of", world.AS_OF), **changes,
        )  # fmt: skip


def test_empty_state_and_log_in(people):
    assert "Nothing has happened yet" in words(logged_in(people["vic"]).get("/audit/"))
    assert Client().get("/audit/").status_code == 302


# before, after → what a reader sees
CHANGES = [
    (None, None, ()),
    ({"bar": "0.95"}, {"bar": "0.95"}, ()),
    (
        {"bar": "0.95", "note": ""},
        {"bar": "0.90", "note": "as agreed"},
        (("bar", "0.95", "0.90"), ("note", "", "as agreed")),
    ),
    (None, {"policy_version": 2}, (("policy version", "", "2"),)),
    ({"gone": 1}, {}, (("gone", "1", ""),)),
    (None, {"scopes": ["read", "decide"], "on": True, "off": False}, (
        ("scopes", "", "read, decide"), ("on", "", "yes"), ("off", "", "no"))),
    (None, {"reuse": {"prefix_tok": 1200}}, (("reuse", "", '{"prefix_tok": 1200}'),)),
    ("in_review", "approved", (("value", "in_review", "approved"),)),
    (None, {"hash": "x" * 400}, (("hash", "", "x" * 299 + "…"),)),
    (None, {"count": 0}, (("count", "", "0"),)),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "shown"), CHANGES)
def test_field_changes(before, after, shown):
    assert field_changes(before, after) == tuple(FieldChange(*row) for row in shown)


def test_action_words():
    assert action_words("policy.approved") == "Policy approved"
    assert action_words("organisation.set_up") == "Organisation set up"


def test_entries_of_a_change_in_words_with_links(people):
    policy_world.User.objects.all().delete()
    people = policy_world.estate()
    change = in_force(logged_in(people["lena"]), logged_in(people["tomas"]))
    client = logged_in(people["vic"])
    page = client.get(f"/audit/?object=change_request&id={change}")
    shown = words(page)
    assert shown.count("Policy proposed") >= 1
    assert "3 of" in shown
    assert f'href="/policies/changes/{change}/"' in page.content.decode()
    lines = trail_page(object_type="change_request", object_id=str(change)).lines
    assert [(line.who, line.what) for line in lines] == [
        ("tomas", "Policy activated"),
        ("tomas", "Policy approved"),
        ("lena", "Policy proposed"),
    ]
    assert FieldChange("state", "in_review", "approved") in lines[1].changes


# filter → numbers of the entries it finds
FILTERS = [
    ({}, [1, 2, 3, 4]),
    ({"person": "lena"}, [1, 3]),
    ({"person": "system"}, [4]),
    ({"action": "class.changed"}, [1, 2]),
    ({"object_type": "request_class"}, [1, 2, 3]),
    ({"object_type": "request_class", "object_id": "drafting"}, [3]),
    ({"person": "lena", "action": "class.changed"}, [1]),
    ({"person": "nobody"}, []),
]


@pytest.mark.parametrize(("asked", "found"), FILTERS)
def test_filters(people, asked, found):
    entry(people["lena"], note="1")
    entry(people["tomas"], note="2")
    entry(people["lena"], action="class.mapped", object_id="drafting", note="3")
    entry(None, action="prices.seeded", object_type="price", object_id="list", note="4")
    assert sorted(int(line.note) for line in trail_page(**asked).lines) == found


def test_no_match_and_strange_parameters(people):
    entry(people["lena"])
    client = logged_in(people["vic"])
    page = words(client.get("/audit/?person=nobody"))
    assert "0 of 1 entry matches this filter." in page
    assert "No entry matches" in page
    for query in ("?page=first", "?page=-1", "?user=lena"):
        assert client.get(f"/audit/{query}").status_code == 400


def test_pages_of_fifty_keep_the_filter(people):
    for number in range(PER_PAGE + 1):
        entry(people["lena"], note=str(number))
    client = logged_in(people["vic"])
    first, last = client.get("/audit/?person=lena"), client.get("/audit/?person=lena&page=2")
    assert f"1–{PER_PAGE} of {PER_PAGE + 1} entries" in words(first)
    assert 'href="?person=lena&amp;page=2"' in first.content.decode()
    assert f"{PER_PAGE + 1}–{PER_PAGE + 1} of {PER_PAGE + 1} entries" in words(last)
    assert len(trail_page(number=2).lines) == 1
    assert len(trail_page(number=99).lines) == 1  # beyond the end: the last page


def test_demo_entries_are_marked(people):
    entry(people["lena"], is_demo=True)
    entry(people["lena"])
    page = logged_in(people["vic"]).get("/audit/")
    assert "1 entry tells the invented past of the demo organisation" in words(page)
    assert page.content.decode().count('<span class="chip">demo</span>') == 1
    assert [line.is_demo for line in trail_page().lines] == [False, True]


def test_what_people_wrote_is_escaped(people):
    entry(people["lena"], object_label="<script>alert(1)</script>", note="<b>x</b>", after={"<i>": "<u>"})
    page = logged_in(people["vic"]).get("/audit/").content.decode()
    assert "<script>alert(1)" not in page
    assert "<b>x</b>" not in page
    assert "<u>" not in page


def test_reading_leaves_no_entry(people):
    logged_in(people["vic"]).get("/audit/")
    assert not AuditEntry.objects.exists()
