"""The life of a policy change on the pages, with named people; nobody reads other figures than were frozen."""

import re
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from audit.models import AuditEntry
from audit.operations import bump_data_version
from billing.models import DailyUsage
from costgov.celery import app
from costgov.jsonin import Unreadable, read
from costgov.jsonout import plain
from costgov.queries.policies import change_page, draft_page
from costgov.queries.policy_case import lever_steps
from costgov.queries.recommendation import CostSteps, LeverPart, RecommendationView, recommendation_view
from costgov.tasks import reclassify_usage
from routing.models import Activation, Approval, ChangeRequest, PolicyVersion, RequestClass
from routing.operations.policies import propose as propose_document
from tests.costgov import policy_world
from tests.costgov import small_world as world
from tests.costgov.policy_world import approve, hidden, in_force, logged_in, propose

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _frozen(settings):
    settings.COSTGOV_AS_OF = world.AS_OF


@pytest.fixture
def people():
    return policy_world.estate()


@pytest.fixture
def lena(people):
    return logged_in(people["lena"])


@pytest.fixture
def tomas(people):
    return logged_in(people["tomas"])


def words(answer) -> str:
    """The text of a page: tags gone, blanks folded."""
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).replace("&#x27;", "'").split())


def said(client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return words(answer)


# -- before anything ------------------------------------------------------------------------------------------------


def test_nothing_in_force(lena):
    page = said(lena, "/policies/")
    assert "No policy is in force yet; the recommended draft would save" in page
    assert "1 class moves to another model" in page
    assert "Nothing was ever activated" in page


def test_without_a_baseline_the_pages_say_what_to_set():
    client = logged_in(policy_world.estate(baseline="")["vic"])
    assert "No baseline model is set: choose one in Settings" in said(client, "/policies/")
    assert "No baseline model is set: choose one in Settings" in said(client, "/policies/draft/")


def test_draft_says_what_moves_and_what_it_saves(lena):
    page = said(lena, "/policies/draft/")
    # 28 days × 100 requests of 2,000 + 300 tokens at 5 and 25 usd, drafting 50 of 1,000 + 800 at 3 and 15
    now = (Decimal("1.75") + Decimal("0.75")) * 28  # 200k·5 + 30k·25 = 1.75; 50k·3 + 40k·15 = 0.75 usd a day
    month = now * Decimal("30.4375") / 28
    assert f"from ${month:,.0f} to" in page
    assert "Reply drafting" in page
    assert "Evals are made up." in page
    assert "All classes" in page and "no recommendation" not in page


def test_a_draft_says_which_classes_are_in_none_of_its_figures(lena):
    RequestClass.objects.create(slug="odd", title="Odd jobs")
    DailyUsage.objects.filter(request_class="drafting").update(model="claude-lab-1")
    bump_data_version()
    page = said(lena, "/policies/draft/")
    assert "without 2 classes that have no recommendation" in page
    assert "Classes with a recommendation" in page and "All classes" not in page


# -- the whole journey ----------------------------------------------------------------------------------------------


def test_the_whole_journey(people, lena, tomas):
    change = propose(lena, note="Same answers, a fifth of the price")
    row = ChangeRequest.objects.get(pk=change)
    assert (row.state, row.author.username) == ("in_review", "lena")
    assert RequestClass.objects.filter(slug="general").exists()  # the class of what no rule matches came with it

    mine = said(lena, f"/policies/changes/{change}/")
    assert "You proposed this: another engineer or an admin has to approve it." in mine
    assert "Same answers, a fifth of the price" in mine
    assert "Approve this change" not in mine

    answer = lena.post(f"/policies/changes/{change}/approve/", _hashes(row), follow=True)
    assert f"You proposed change #{change}; its approval must come from another engineer or admin." in words(answer)

    for name, code in (("priya", 403), ("vic", 403)):
        client = logged_in(people[name])
        shown = said(client, f"/policies/changes/{change}/")
        assert "Approving quality evidence is up to an engineer or an admin." in shown
        refused = client.post(f"/policies/changes/{change}/approve/", _hashes(row))
        assert refused.status_code == code
        assert f"{name} may not approve a policy's quality evidence" in words(refused)
    assert ChangeRequest.objects.get(pk=change).state == "in_review"

    waiting = said(tomas, "/policies/")
    assert "Waiting for somebody" in waiting
    assert "Yours is the only approval needed" in said(tomas, f"/policies/changes/{change}/")
    early = tomas.post(f"/policies/changes/{change}/activate/", follow=True)
    assert f"Change #{change} is in review; it must be approved first." in words(early)
    approve(tomas, change)
    assert "Approved; gateways get it when somebody activates it." in said(lena, f"/policies/changes/{change}/")
    answer = tomas.post(f"/policies/changes/{change}/activate/", follow=True)
    assert "Active in prod under sequence 1." in words(answer)
    assert "In force since" in words(answer)

    page = said(lena, "/policies/")
    assert "claude-prod version 1 is in force since 23 Nov 2026" in page
    assert "sequence 1, activated 23 Nov 2026, 00:00 UTC by tomas, approved by tomas" in page
    actions = list(
        AuditEntry.objects.filter(object_type="change_request").order_by("id").values_list("action", "actor_name")
    )
    assert actions == [("policy.proposed", "lena"), ("policy.approved", "tomas"), ("policy.activated", "tomas")]


def _hashes(row: ChangeRequest) -> dict[str, str]:
    return {"content_hash": row.policy_version.content_hash, "evidence_hash": row.evidence_hash}


def test_viewer_is_not_offered_to_propose(people):
    client = logged_in(people["vic"])
    assert "An engineer or admin can propose this" in said(client, "/policies/draft/")
    assert client.get("/policies/draft/propose/").status_code == 403
    assert client.post("/policies/draft/propose/", {"title": "x"}).status_code == 403
    assert not ChangeRequest.objects.exists()


def test_what_is_in_force_and_recommended_cannot_be_proposed_again(lena, tomas):
    in_force(lena, tomas)
    page = said(lena, "/policies/draft/")
    assert "What is in force is what is recommended: nothing to change." in page
    shown = lena.get("/policies/draft/propose/")
    assert "there is nothing to propose" in words(shown)


# -- what was shown is what is decided on ---------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["content_hash", "evidence_hash"])
def test_approval_of_something_else_is_refused(lena, tomas, field):
    change = propose(lena)
    fields = hidden(tomas.get(f"/policies/changes/{change}/approve/").content)
    answer = tomas.post(f"/policies/changes/{change}/approve/", {**fields, field: "0" * 64}, follow=True)
    assert f"Change #{change} is not what you were shown (content or evidence differs)." in words(answer)
    assert not Approval.objects.exists()


def test_draft_that_changed_since_it_was_opened_is_not_proposed(lena):
    fields = hidden(lena.get("/policies/draft/propose/").content)
    world.evals("drafting", world.HAIKU, 149, 150, world.AS_OF - timedelta(days=2), version="2")
    answer = lena.post("/policies/draft/propose/", {**fields, "title": "Old"}, follow=True)
    assert "The draft changed since you opened it" in words(answer)
    assert not ChangeRequest.objects.exists()
    assert not RequestClass.objects.filter(slug="general").exists()


@pytest.mark.parametrize(
    ("made_at", "message"),
    [
        ("2026-11-20T00:00:00+00:00", "opened more than a day ago"),
        ("2026-11-24T00:00:00+00:00", "opened more than a day ago"),
        ("yesterday", "The form was incomplete"),
        ("", "The form was incomplete"),
        ("2026-11-23T00:00:00", "The form was incomplete"),
    ],
)
def test_form_that_is_not_ours_is_refused_in_words(lena, made_at, message):
    fields = hidden(lena.get("/policies/draft/propose/").content)
    answer = lena.post("/policies/draft/propose/", {**fields, "made_at": made_at, "title": "x"}, follow=True)
    assert message in words(answer)
    assert not ChangeRequest.objects.exists()


def test_proposal_needs_a_title(lena):
    fields = hidden(lena.get("/policies/draft/propose/").content)
    answer = lena.post("/policies/draft/propose/", {**fields, "title": "  "}, follow=True)
    assert "Give the change a title" in words(answer)


def test_evidence_stays_as_it_was_proposed(people, lena, tomas):
    change = propose(lena)
    before = change_page(change_id=change, reader=people["tomas"], as_of=world.AS_OF)
    world.evals("triage", world.HAIKU, 100, 200, world.AS_OF - timedelta(days=1), version="2")
    later = change_page(change_id=change, reader=people["tomas"], as_of=world.AS_OF)
    assert before.case is not None
    assert before.case == later.case
    fresh = recommendation_view(as_of=world.AS_OF)
    assert fresh != before.case.recommendation
    assert _target(fresh) == world.OPUS
    assert _target(before.case.recommendation) == world.HAIKU
    assert "Moving Ticket triage to Haiku" in said(tomas, f"/policies/changes/{change}/")


def _target(view: RecommendationView) -> str:
    row = view.row("triage")
    assert row is not None
    return row.target


# -- two tabs and double clicks -------------------------------------------------------------------------------------


def test_double_click_on_propose_is_one_change(lena):
    fields = hidden(lena.get("/policies/draft/propose/").content)
    first = lena.post("/policies/draft/propose/", {**fields, "title": "Once"})
    second = lena.post("/policies/draft/propose/", {**fields, "title": "Once"})
    assert first["Location"] == second["Location"]
    assert ChangeRequest.objects.count() == PolicyVersion.objects.count() == 1


def test_double_clicks_on_every_step_are_harmless(lena, tomas):
    change = propose(lena)
    fields = hidden(tomas.get(f"/policies/changes/{change}/approve/").content)
    for _ in range(2):
        assert "Approved." in words(tomas.post(f"/policies/changes/{change}/approve/", fields, follow=True))
    for _ in range(2):
        assert "under sequence 1" in words(tomas.post(f"/policies/changes/{change}/activate/", follow=True))
    assert (Approval.objects.count(), Activation.objects.count()) == (1, 1)
    assert AuditEntry.objects.filter(object_type="change_request").count() == 3


def test_reject_says_why_and_closes(lena, tomas):
    change = propose(lena)
    answer = tomas.post(f"/policies/changes/{change}/reject/", {"note": "  "}, follow=True)
    assert "Say why the change is rejected" in words(answer)
    for _ in range(2):
        answer = tomas.post(f"/policies/changes/{change}/reject/", {"note": "Finnish tickets fail"}, follow=True)
        assert "Rejected. Its author sees your reason here." in words(answer)
    assert "Finnish tickets fail" in said(lena, f"/policies/changes/{change}/")
    assert AuditEntry.objects.filter(action="policy.rejected").count() == 1
    late = tomas.post(f"/policies/changes/{change}/activate/", follow=True)
    assert f"Change #{change} is rejected; it must be approved first." in words(late)


def test_other_tab_learns_that_the_change_was_closed(lena, tomas):
    change = propose(lena)
    fields = hidden(tomas.get(f"/policies/changes/{change}/approve/").content)
    lena.post(f"/policies/changes/{change}/cancel/")
    answer = tomas.post(f"/policies/changes/{change}/approve/", fields, follow=True)
    assert f"Change #{change} is cancelled; only one in review is approved." in words(answer)


def test_rejected_draft_can_be_proposed_again_with_its_new_evidence(lena, tomas):
    first = propose(lena)
    tomas.post(f"/policies/changes/{first}/reject/", {"note": "more cases"})
    world.evals("triage", world.SONNET, 50, 50, world.AS_OF - timedelta(days=3))
    second = propose(lena)
    rows = {row.pk: row for row in ChangeRequest.objects.all()}
    assert rows[first].policy_version_id == rows[second].policy_version_id
    assert rows[first].evidence_hash != rows[second].evidence_hash


def test_unknown_change_and_version_are_404(lena):
    for address in ("/policies/changes/99/", "/policies/changes/99/approve/", "/policies/versions/99/"):
        assert lena.get(address).status_code == 404
    assert lena.post("/policies/changes/99/approve/").status_code == 404
    assert lena.get("/policies/changes/99/burn/").status_code == 404


# -- going back -----------------------------------------------------------------------------------------------------


def test_rollback_is_a_new_sequence_of_an_earlier_version(people, lena, tomas, settings):
    in_force(lena, tomas)
    document = PolicyVersion.objects.get().document
    other = {**document, "assignments": {**document["assignments"], "triage": {"target": {"model": world.SONNET}}}}
    change = propose_document(
        actor=people["lena"], document={**other, "models": {**document["models"], world.SONNET: {}}},
        title="Sonnet", evidence={}, as_of=world.AS_OF,
    )  # fmt: skip
    approve(tomas, change.pk)
    tomas.post(f"/policies/changes/{change.pk}/activate/")
    page = said(tomas, "/policies/versions/1/")
    assert "This was in force before; proposing it again is how you go back." in page
    answer = tomas.post("/policies/versions/1/propose/", {"title": "Back to version 1", "note": "Quality"})
    back = int(answer["Location"].rstrip("/").rpartition("/")[2])
    assert tomas.post("/policies/versions/1/propose/", {"title": "Back to version 1"})["Location"] == answer["Location"]
    approve(lena, back)
    lena.post(f"/policies/changes/{back}/activate/")
    assert list(Activation.objects.order_by("sequence").values_list("sequence", "policy_version__version")) == [
        (1, 1),
        (2, 2),
        (3, 1),
    ]
    assert "(rollback)" in said(lena, "/policies/")
    refused = tomas.post("/policies/versions/1/propose/", {"title": "again"}, follow=True)
    assert "This version is in force already" in words(refused)


def test_version_shows_rules_in_order_and_its_json(lena, tomas):
    in_force(lena, tomas)
    page = said(lena, "/policies/versions/1/")
    assert "api_key is one of key-drafting" in page
    assert "otherwise the request is general" in page
    answer = lena.get("/policies/versions/1/?format=json")
    assert answer["Content-Type"] == "application/json"
    assert answer.json() == PolicyVersion.objects.get().document


def test_change_whose_evidence_is_no_recommendation_still_reads(people, lena, tomas):
    document = {**draft_page(as_of=world.AS_OF).document}
    RequestClass.objects.create(slug="general", title="Everything else")
    change = propose_document(
        actor=people["lena"], document=document, title="By hand", evidence={"ticket": "OPS-1"}, as_of=world.AS_OF
    )
    page = said(tomas, f"/policies/changes/{change.pk}/")
    assert "The evidence of this change is not a recommendation" in page
    assert "Approve this change" in page


# -- the first policy offers to classify what is stored --------------------------------------------------------------


def work(task_id: str) -> None:
    """Take the message of a task out of the broker and carry it out as a worker would, keeping its result."""
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue("celery")
        while True:
            message = queue.get(timeout=5)
            message.ack()
            if message.headers["id"] == task_id:
                break
    assert message.headers["task"] == reclassify_usage.name
    before = reclassify_usage.store_eager_result
    reclassify_usage.store_eager_result = True
    try:
        reclassify_usage.apply(kwargs=message.payload[1], task_id=task_id)
    finally:
        reclassify_usage.store_eager_result = before


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # Celery's own
def test_first_policy_offers_to_classify_stored_requests(people, lena, tomas):
    assert "Classify stored requests" not in said(lena, "/policies/")
    in_force(lena, tomas)
    assert "Classify stored requests" in said(lena, "/policies/")
    assert "Classify stored requests" not in said(logged_in(people["vic"]), "/policies/")
    assert logged_in(people["vic"]).post("/policies/reclassify/").status_code == 403
    answer = lena.post("/policies/reclassify/")
    assert answer["Location"].startswith("/policies/?reclassify=reclassify-")
    task_id = answer["Location"].partition("=")[2]
    assert lena.post("/policies/reclassify/")["Location"] == answer["Location"]  # a double click
    waits = said(lena, answer["Location"])
    assert "Stored requests are being classified again." in waits
    assert "Stored requests are being classified" in said(lena, f"/policies/reclassify/{task_id}/")
    work(task_id)
    assert "0 requests and rows of reports have another class now." in said(lena, answer["Location"])
    assert AuditEntry.objects.get(action="usage.reclassified").actor_name == "lena"
    assert "This is your first policy." not in said(lena, "/policies/")
    assert "not known any more" in said(lena, "/policies/?reclassify=reclassify-unknown")


# -- figures --------------------------------------------------------------------------------------------------------


def test_evidence_reads_back_as_the_value_it_was(people):
    view = recommendation_view(as_of=world.AS_OF)
    assert read(RecommendationView, plain(view)) == view


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"days": "28"}, "/days"),
        ({"days": True}, "/days"),
        ({"start": "the first"}, "/start"),
        ({"classes": {}}, "/classes"),
        ({"current_cost_usd": 12.5}, "/current_cost_usd"),
        ({"baseline_model": None}, "/baseline_model"),
    ],
)
def test_evidence_of_another_form_is_unreadable(people, change, place):
    with pytest.raises(Unreadable, match=place):
        read(RecommendationView, {**plain(recommendation_view(as_of=world.AS_OF)), **change})


def test_evidence_with_a_missing_member_is_unreadable(people):
    evidence = plain(recommendation_view(as_of=world.AS_OF))
    del evidence["classes"][0]["incumbent"]
    with pytest.raises(Unreadable, match="/classes/0: incumbent is missing"):
        read(RecommendationView, evidence)


USD = st.decimals(min_value=0, max_value=10**6, places=6)


@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(uniform=USD, parts=st.lists(st.decimals(-(10**5), 10**5, places=6), min_size=3, max_size=3), after=USD)
def test_steps_of_the_waterfall_sum_to_the_cent(uniform, parts, after):
    levers = ("routing", "caching", "batch")
    total = CostSteps(
        costs={},
        uniform_cost_usd=uniform,
        recommended_cost_usd=uniform - sum(parts),
        parts=tuple(LeverPart(lever, part, part) for lever, part in zip(levers, parts, strict=True)),
    )
    shown_after = after.quantize(Decimal("0.01"))
    steps = lever_steps(replace(_view(), total=total, levers=levers), after_usd=shown_after)
    whole = steps[0].cost_usd - shown_after
    savings = [step.saving_usd or Decimal(0) for step in steps[1:]]
    assert sum(savings) == whole
    for (earlier, later), saving in zip(pairwise(steps), savings, strict=True):
        assert later.cost_usd == earlier.cost_usd - saving
    if sum(parts):
        assert sum(step.shapley_usd or Decimal(0) for step in steps[1:]) == whole


def _view() -> RecommendationView:
    """A view whose costs are replaced: what else it holds does not matter to the steps."""
    nothing = CostSteps({}, Decimal(0), Decimal(0), ())
    return RecommendationView(
        baseline_model="m", start=date(2026, 10, 26), end=date(2026, 11, 23), days=28, levers=(), price_version="",
        policy="", policy_sequence=None, classes=(), total=nothing, current_cost_usd=Decimal(0),
        saving_usd=Decimal(0), saving_usd_per_month=Decimal(0), unsolved=(), missing_evidence=(),
    )  # fmt: skip
