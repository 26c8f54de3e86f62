"""Registering and editing classes in the browser, and the preview of another bar."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from audit.models import AuditEntry
from costgov.queries.class_preview import bar_preview
from routing.core.bars import Bar
from routing.models import ClassMapping, RequestClass
from tests.costgov import small_world as world

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _frozen(settings) -> None:
    settings.COSTGOV_AS_OF = world.AS_OF


@pytest.fixture
def people():
    return world.whole()


def fields(**changes: object) -> dict[str, object]:
    values: dict[str, object] = {
        "title": "Ticket triage", "quality_owner": "support-eng", "bar": "95", "tolerance": "2", "alpha": "5",
        "max_age_days": "90", "latency": "interactive", "metric": "pass_rate", "standard": "absolute",
        "min_cases": "30", "reason": "as agreed",
    }  # fmt: skip
    return {name: value for name, value in (values | changes).items() if value is not None}


def text(answer) -> str:
    return " ".join(answer.content.decode().split())


def preview(bar: str, tolerance: str = "0", slug: str | None = "triage", **facts: Any):
    asked = Bar(bar=Decimal(bar), tolerance=Decimal(tolerance), **facts)
    return bar_preview(slug=slug, bar=asked, as_of=world.AS_OF)


def test_a_higher_bar_takes_verdicts_away_and_saves_nothing(people):
    found = preview("0.95")
    rows = {row.model: row for row in found.rows}
    assert (found.line_before, found.line) == (0.93, 0.95)
    haiku = rows[world.HAIKU]  # 196 of 200, the first golden row of the methods
    assert (haiku.status_before, haiku.status_after, haiku.needed_after) == ("clears", "not_enough_evidence", 154)
    assert haiku.serves and haiku in found.changed
    assert RequestClass.objects.get(slug="triage").bar == Decimal("0.95") and found.clearing == 1


def test_a_longer_plan_shares_alpha_and_needs_more_cases(people):
    assert preview("0.93", plan=(world.OPUS,)).flawless_cases == 62
    assert preview("0.93", plan=(world.OPUS, world.SONNET)).flawless_cases == 74
    assert preview("0.93", slug=None, plan=("a", "b")).rows == ()


def test_a_bar_no_sample_can_show_has_no_preview(people):
    with pytest.raises(ValueError, match="no sample can show a bar of 1"):
        preview("1")


def test_register_a_class(client: Client, people):
    client.force_login(people["eva"])
    assert "Register a class of work" in text(client.get("/classes/new/"))
    answer = client.post(
        "/classes/new/",
        fields(slug="contracts", title="Contract clauses", bar="98.5", tolerance="1.5", batchable_share="40",
               hit_share_5m="30", prefix_tok="1500", reuse_source="trace of May", plan_candidates=[world.HAIKU]),
    )  # fmt: skip
    assert (answer.status_code, answer["Location"]) == (302, "/classes/contracts/")
    row = RequestClass.objects.get(slug="contracts")
    assert (row.bar, row.tolerance, row.batchable_share) == (Decimal("0.985"), Decimal("0.015"), Decimal("0.4"))
    assert row.reuse == {"hit_share_5m": 0.3, "prefix_tok": 1500.0, "source": "trace of May"}
    assert row.plan_candidates == [world.HAIKU]
    entry = AuditEntry.objects.get(action="class.registered")
    assert (entry.actor_name, entry.object_id) == ("eva", "contracts")


def test_what_may_serve_a_class(client: Client, people):
    client.force_login(people["eva"])
    asked = {"is_protected": "on", "required_geo": "us", "failure_usd": "0.25", "allowed_models": [world.HAIKU]}
    assert client.post("/classes/triage/edit/", fields(**asked)).status_code == 302
    row = RequestClass.objects.get(slug="triage")
    assert (row.is_protected, row.required_geo, row.failure_usd) == (True, "us", Decimal("0.25"))
    assert row.allowed_models == [world.HAIKU] and row.bar_version == 1, "no other bar"
    html = text(client.get("/classes/triage/edit/"))
    assert "What may serve it: protected, in us, 1 model chosen" in html and 'value="0.25"' in html
    entry: Any = AuditEntry.objects.get(action="class.changed")
    assert (entry.before["is_protected"], entry.after["is_protected"]) == (False, True)
    client.post("/classes/triage/edit/", fields())
    row.refresh_from_db()
    assert (row.is_protected, row.required_geo, row.failure_usd, row.allowed_models) == (False, "", None, [])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"slug": "Contracts"}, "Start with a lower-case letter"),
        ({"slug": "triage"}, "triage is registered already"),
        ({"slug": "new"}, "new is the address of this page"),
        ({"bar": "100"}, "less than or equal to 99.9999"),
        ({"bar": "0"}, "A bar of 0 asks nothing"),
        ({"bar": "2", "tolerance": "2"}, "2 points leave no line above 0"),
        ({"alpha": "0"}, "No number of cases can show anything at 0"),
        ({"prefix_share": "20", "prefix_tok": "100"}, "as a share or in tokens, not both"),
        ({"plan_candidates": ["claude-nobody"]}, "claude-nobody is not one of the available choices"),
        ({"title": ""}, "This field is required"),
    ],
)
def test_what_cannot_be_saved_is_explained(client: Client, people, changes, words):
    client.force_login(people["eva"])
    answer = client.post("/classes/new/", fields(**({"slug": "contracts"} | changes)))
    assert answer.status_code == 400 and words in text(answer)
    assert not RequestClass.objects.filter(slug__in=("contracts", "Contracts", "new")).exists()


def test_edit_shows_the_saved_facts_and_saves_the_new_ones(client: Client, people):
    client.force_login(people["eva"])
    RequestClass.objects.filter(slug="triage").update(reuse={"prefix_share": 0.25, "days": 7})
    html = text(client.get("/classes/triage/edit/"))
    assert 'name="bar" value="95"' in html and 'name="prefix_share" value="25"' in html
    assert "key-triage" in html and "What this bar does" in html
    answer = client.post("/classes/triage/edit/", fields(bar="97", prefix_share="30"))
    assert answer["Location"] == "/classes/triage/"
    row = RequestClass.objects.get(slug="triage")
    assert row.bar == Decimal("0.97") and row.reuse == {"prefix_share": 0.3, "days": 7}, "unknown facts stay"
    entry: Any = AuditEntry.objects.get(action="class.changed")
    assert (entry.before["bar"], entry.after["bar"]) == ("0.950000", "0.970000")


def test_the_preview_button_saves_nothing(client: Client, people):
    client.force_login(people["eva"])
    answer = client.post("/classes/triage/edit/", fields(bar="95", tolerance="0", action="preview"))
    html = text(answer)
    assert answer.status_code == 200
    assert "The line moves from 93.0% to <strong>95.0%</strong>. 1 of 2 verdicts would change." in html
    assert "Not enough evidence · 154 more cases" in html
    assert RequestClass.objects.get(slug="triage").tolerance == Decimal("0.02")


def test_the_live_preview_is_a_fragment(client: Client, people):
    client.force_login(people["eva"])
    html = text(client.post("/classes/triage/preview/", fields(bar="90")))
    assert "The line moves from 93.0% to <strong>88.0%</strong>" in html and "<html" not in html
    assert "Give a bar and a tolerance" in text(client.post("/classes/triage/preview/", fields(bar="much")))
    new = text(client.post("/classes/new/preview/", fields(slug="x", bar="95")))
    assert "Without a single failure a model needs 62 cases" in new


def test_mappings_are_added_and_removed(client: Client, people):
    client.force_login(people["eva"])
    answer = client.post(
        "/classes/triage/mappings/", {"workspace": "wrkspc_1", "valid_from": "2026-06-01", "valid_to": "2026-07-01"}
    )
    assert answer["Location"] == "/classes/triage/edit/"
    row = ClassMapping.objects.get(workspace="wrkspc_1")
    html = text(client.get("/classes/triage/edit/"))
    assert "from 1 Jun 2026 until 1 Jul 2026" in html and "classify stored usage again" in html
    assert 'action="/policies/reclassify/"' in html
    client.post(f"/classes/triage/mappings/{row.pk}/remove/")
    assert not ClassMapping.objects.filter(workspace="wrkspc_1").exists()
    again = client.post(f"/classes/triage/mappings/{row.pk}/remove/", follow=True)
    assert "no mapping number" in text(again)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "a mapping of everything is none"),
        ({"api_key": "k", "valid_from": "2026-07-01", "valid_to": "2026-06-01"}, "ends on 2026-06-01"),
        ({"api_key": "k", "valid_from": "soon"}, "Enter a valid date"),
    ],
)
def test_impossible_mappings_are_explained(client: Client, people, given, words):
    client.force_login(people["eva"])
    answer = client.post("/classes/triage/mappings/", given)
    assert answer.status_code == 400 and words in text(answer)
    assert ClassMapping.objects.count() == 1


@pytest.mark.parametrize("who", ["priya", "vic"])
@pytest.mark.parametrize("address", ["/classes/new/", "/classes/triage/edit/"])
def test_procurement_and_viewers_edit_no_class(client: Client, people, who, address):
    client.force_login(people[who])
    assert client.get(address).status_code == 403
    assert client.post(address, fields(bar="50", slug="x")).status_code == 403
    assert client.post("/classes/triage/mappings/", {"api_key": "k"}).status_code == 403
    assert RequestClass.objects.get(slug="triage").bar == Decimal("0.95")


def test_editing_an_unknown_class_is_not_found(client: Client, people):
    client.force_login(people["eva"])
    assert client.get("/classes/nope/edit/").status_code == 404
