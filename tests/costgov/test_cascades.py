"""The cascade of a class, end to end, on figures a reader can add up.

Triage: 2,800 requests in 28 days on opus at 0.0175; haiku needs the same tokens, costs 0.0035 and passes 170 of 200
cases, opus 198 of the same ones. The line is 0.93, so haiku alone falls short.
"""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import orjson
import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from audit.models import AuditEntry
from audit.operations import bump_data_version
from audit.roles import Forbidden
from billing.models import DailyUsage
from billing.queries.series import model_names
from costgov.jsonout import dumps
from costgov.model_words import in_words
from costgov.queries.cascades import CascadeRow
from costgov.queries.class_cascade import class_cascade
from costgov.queries.class_page import class_page
from costgov.queries.recommendation import recommendation_view
from routing.models import RequestClass
from routing.operations.bars import ClassRefused, set_bar
from routing.operations.cascades import set_cascade
from tests.costgov import small_world as world

STATED: dict[str, Any] = {
    "cheap": world.HAIKU, "check_usd": "0.0005", "good_accepted": "0.95", "bad_accepted": "0.1", "source": "a pilot",
}  # fmt: skip
THEN = world.AS_OF - timedelta(days=30)
OWN = "haiku-then-opus"


@pytest.fixture
def people(db: Any, settings: Any) -> dict[str, Any]:
    cache.clear()
    settings.COSTGOV_AS_OF = world.AS_OF
    world.organisation()
    world.models()
    world.prices()
    world.classes()
    for back in range(28, 0, -1):
        world.use(world.TODAY - timedelta(days=back), world.OPUS, "triage", 100, (200_000, 30_000))
    world.evals("triage", world.OPUS, 198, 200, THEN)
    world.evals("triage", world.HAIKU, 170, 200, THEN)
    return world.people()


def state(**changes: Any) -> None:
    document = {name: value for name, value in (STATED | changes).items() if value is not None}
    set_cascade(actor=None, slug="triage", document=document, reason="for this test", as_of=world.AS_OF)


def shown() -> CascadeRow:
    bump_data_version()
    row = recommendation_view(as_of=world.AS_OF).row("triage")
    assert row is not None and row.target == world.OPUS and row.cascade is not None
    return row.cascade


def by_name(reason: str) -> str:
    """As pages say it: models by name."""
    return in_words(reason, model_names())


@pytest.mark.usefixtures("people")
def test_cost_quality_and_break_even_of_a_stated_cascade() -> None:
    state()
    row = shown()
    # accepted 0.85·0.95 + 0.15·0.1; cost 0.0035 + 0.0005 + 0.1775·0.0175; good 0.8075 + 0.0425 + 0.14·0.9
    assert row.accepted_share == pytest.approx(0.8225)
    assert row.break_even_share == pytest.approx(0.004 / 0.0175)
    assert (row.unit_cost_usd, row.strong_cost_usd) == (D("0.00710625"), D("0.0175"))
    assert row.quality == pytest.approx(0.976)
    assert row.strong_quality == pytest.approx(0.99)
    assert row.cases == 200
    assert row.saving_usd_per_month == D("31.64")  # 29.1025 in 28 days
    assert (row.outcome, row.is_recommended, row.is_assumed) == ("worth_an_eval", False, True)
    assert "only evals of the cascade itself can show that" in row.reason


@pytest.mark.usefixtures("people")
def test_it_is_recommended_once_its_own_evals_clear_the_line_and_changes_no_other_figure() -> None:
    world.evals("triage", OWN, 196, 200, THEN)  # 2 more cases than it needs of 200, shared by two candidates
    before = recommendation_view(as_of=world.AS_OF)
    state(evaluated_as=OWN)
    row = shown()
    assert (row.outcome, row.is_recommended, row.evaluated_as) == ("recommended", True, OWN)
    assert "its own evals show that it clears the line of 93.0%" in row.reason
    after = recommendation_view(as_of=world.AS_OF)
    assert (after.saving_usd, after.total) == (before.saving_usd, before.total)


@pytest.mark.usefixtures("people")
def test_evals_of_the_cascade_that_fall_short_decide_against_it() -> None:
    world.evals("triage", OWN, 170, 200, THEN)
    state(evaluated_as=OWN)
    assert shown().outcome == "below_line"


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("changes", "accepted", "loss"),  # 2,800 requests × what each costs over 0.0175, × 30.4375 / 28
    [({"good_accepted": "0.25", "bad_accepted": "0.1"}, 0.2275, "0.06"), ({"check_usd": "0.0115"}, 0.8225, "1.85")],
    ids=["accepts too little", "costs too much"],
)
def test_one_that_loses_money_says_so_everywhere(
    changes: dict[str, Any], accepted: float, loss: str, people: dict[str, Any], capsys: Any
) -> None:
    state(**changes)
    row = shown()
    assert row.accepted_share is not None and row.break_even_share is not None
    assert row.accepted_share == pytest.approx(accepted)
    assert row.accepted_share <= row.break_even_share
    assert (row.outcome, row.is_recommended, row.saving_usd_per_month) == ("loses", False, None)
    assert row.loss_usd_per_month == D(loss)
    assert row.reason.startswith(f"{world.HAIKU} first loses money: ")
    start = world.TODAY - timedelta(days=28)
    lever = class_page(slug="triage", as_of=world.AS_OF, start=start, end=world.TODAY).levers[-1]
    assert (lever.name, lever.outcome, lever.saving_usd, lever.reason) == ("Cascade", "loses", None, row.reason)
    assert lever.loss_usd == D(loss)
    client = Client()
    client.force_login(people["vic"])
    page = client.get("/classes/triage/").content.decode()
    assert "Loses money</span>" in page and by_name(row.reason) in page
    assert f"${loss} a month, not recommended" in page
    assert (
        f"Loses money, <strong>${loss}</strong> a month: not recommended."
        in client.get("/classes/triage/cascade/").content.decode()
    )
    told = client.get("/api/v1/recommendation").json()["classes"]
    assert next(each["cascade"] for each in told if each["request_class"] == "triage")["outcome"] == "loses"
    call_command("recommend", "--json")
    told = orjson.loads(capsys.readouterr().out)["classes"]
    assert next(each["cascade"] for each in told if each["request_class"] == "triage")["reason"] == row.reason
    call_command("recommend")
    assert f"triage: cascade not recommended: {row.reason}; {loss} usd a month more" in capsys.readouterr().out


@pytest.mark.usefixtures("people")
def test_the_check_is_measured_where_its_suite_was_imported() -> None:
    set_bar(actor=None, slug="triage", facts={"suites": ["suite"]}, reason="the check is none", as_of=THEN)
    world.evals("triage", world.HAIKU, 160, 200, THEN, suite="triage-check")  # accepts 160, all of them good
    state(good_accepted=None, bad_accepted=None, source=None, check_suite="triage-check")
    row = shown()
    assert row.check is not None
    assert row.check.good_accepted == pytest.approx(160 / 170)
    assert row.check.bad_accepted == 0
    assert (row.check.source, row.check.is_assumed) == ("measured on 200 checked answers", False)
    assert not row.is_assumed  # tokens are measured in evals, too
    assert row.accepted_share == pytest.approx(0.8)
    assert row.cases == 200, "what the check says is no evidence of the answers"


@pytest.mark.usefixtures("people")
def test_where_haiku_alone_clears_a_cascade_is_not_needed() -> None:
    set_bar(actor=None, slug="triage", facts={"bar": "0.70"}, reason="less will do", as_of=THEN)
    state()
    bump_data_version()
    row = recommendation_view(as_of=world.AS_OF).row("triage")
    assert row is not None and row.target == world.HAIKU and row.cascade is not None
    assert (row.cascade.outcome, row.cascade.saving_usd_per_month) == ("not_needed", None)


@pytest.mark.usefixtures("people")
def test_usage_without_request_counts_cannot_be_costed_with_a_check() -> None:
    DailyUsage.objects.update(requests=None)
    state()
    row = shown()
    assert (row.outcome, row.unit_cost_usd) == ("unknown", None)


# -- stating it --------------------------------------------------------------------------------------------------------


def test_stating_and_removing_are_audited_and_need_a_reason(people: dict[str, Any]) -> None:
    set_cascade(actor=people["eva"], slug="triage", document=STATED, reason="pilot", as_of=world.AS_OF)
    set_cascade(actor=people["eva"], slug="triage", document=STATED, reason="", as_of=world.AS_OF)  # nothing changes
    with pytest.raises(ClassRefused, match="say why"):
        set_cascade(actor=people["eva"], slug="triage", document={}, reason=" ", as_of=world.AS_OF)
    set_cascade(actor=people["eva"], slug="triage", document={}, reason="the pilot is over", as_of=world.AS_OF)
    assert RequestClass.objects.get(slug="triage").cascade == {}
    first, second = AuditEntry.objects.filter(action__startswith="class.cascade").order_by("id")
    assert (first.action, first.note, first.after) == ("class.cascade_stated", "pilot", STATED)
    assert (second.action, second.note, second.after) == ("class.cascade_removed", "the pilot is over", {})


@pytest.mark.parametrize("who", ["priya", "vic", "xen"])
def test_only_engineering_states_one(people: dict[str, Any], who: str) -> None:
    with pytest.raises(Forbidden):
        set_cascade(actor=people[who], slug="triage", document=STATED, reason="x", as_of=world.AS_OF)
    client = Client()
    client.force_login(people[who])
    assert client.post("/classes/triage/cascade/", {"step": "remove", "reason": "x"}).status_code == 403
    assert client.post(
        "/api/v1/classes/triage/cascade", {"cascade": STATED, "reason": "x"}, content_type="application/json"
    ).status_code == 403  # fmt: skip
    assert "Why" not in client.get("/classes/triage/cascade/").content.decode()


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cheap": "gpt-9"}, "cheap 'gpt-9' is not on the Prices page: name a model that is"),
        ({"strong": "gpt-9"}, "strong 'gpt-9' is not on the Prices page"),
        ({"good_accepted": "95"}, "good_accepted is 95: it is a share, from 0 to 1"),
        ({"check_suite": "suite"}, "suite suite counts as evidence of the class"),
    ],
)
def test_what_cannot_be_stated_says_why(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ClassRefused, match=message):
        state(**changes)
    with pytest.raises(ClassRefused, match="no such class is registered"):
        set_cascade(actor=None, slug="nope", document=STATED, reason="x", as_of=world.AS_OF)


def test_the_page_tries_before_it_states(people: dict[str, Any]) -> None:
    client = Client()
    client.force_login(people["eva"])
    assert "No cascade is stated for this class." in client.get("/classes/triage/cascade/").content.decode()
    given = {"cheap": world.HAIKU, "check_usd": "0.0005", "good_accepted": "95", "bad_accepted": "10",
             "source": "a pilot", "reason": "two weeks of pilot"}  # fmt: skip
    tried = client.post("/classes/triage/cascade/", {**given, "step": "try"}).content.decode()
    assert "Tried, not stated: Worth an eval: it could save <strong>$32</strong> a month" in tried
    assert RequestClass.objects.get(slug="triage").cascade == {}
    assert client.post("/classes/triage/cascade/", {**given, "step": "set"}).status_code == 302
    assert RequestClass.objects.get(slug="triage").cascade == STATED
    page = client.get("/classes/triage/cascade/").content.decode()
    assert "82.3%" in page and "pays above 22.9%" in page and "a pilot (assumed)" in page
    assert "Worth an eval" in client.get("/classes/triage/").content.decode()
    refused = client.post("/classes/triage/cascade/", {**given, "check_suite": "suite", "step": "try"})
    assert refused.status_code == 400 and "counts as evidence of the class" in refused.content.decode()
    assert client.post("/classes/triage/cascade/", {**given, "check_usd": "x", "step": "try"}).status_code == 400
    assert client.post("/classes/triage/cascade/", {"step": "remove"}).status_code == 400
    assert client.post("/classes/triage/cascade/", {"step": "remove", "reason": "over"}).status_code == 302
    assert RequestClass.objects.get(slug="triage").cascade == {}
    assert client.get("/classes/nope/cascade/").status_code == 404


def test_the_api_tries_states_and_tells_the_same(people: dict[str, Any]) -> None:
    client = Client()
    client.force_login(people["eva"])
    address = "/api/v1/classes/triage/cascade"
    tried = client.post(f"{address}/try", {"cascade": STATED}, content_type="application/json")
    assert tried.status_code == 200 and tried.json()["row"]["outcome"] == "worth_an_eval" and tried.json()["tried"]
    assert client.get(address).json()["row"] is None
    made = client.post(address, {"cascade": STATED, "reason": "pilot"}, content_type="application/json")
    assert made.status_code == 201
    expected = orjson.loads(dumps(class_cascade(slug="triage", as_of=world.AS_OF)))
    assert client.get(address).json() == made.json() == expected
    assert expected["row"] == orjson.loads(dumps(shown()))
    bad = client.post(address, {"cascade": {"cheap": "x"}, "reason": "pilot"}, content_type="application/json")
    assert bad.status_code == 400 and "check_usd is missing" in bad.json()["error"]["message"]
    assert client.get("/api/v1/classes/nope/cascade").status_code == 404
