"""The Prices pages: what is in force, what has no price and what to do, adding, names, tiers, proposals, cost lines."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from html import unescape
from io import StringIO
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from audit.models import AuditEntry
from billing.models import ModelAlias, ModelRelease, Price
from billing.operations.price_changes import import_prices
from billing.operations.prices import seed_list_prices
from costgov.models import User
from tests.billing.usage_rows import count_usage

pytestmark = pytest.mark.django_db
AS_OF = datetime(2026, 11, 24, 12, tzinfo=UTC)
ENTRY = {
    "model": "lab-model-2",
    "service_tier": "standard",
    "prompt_length_band": "all",
    "geo": "global",
    "speed": "standard",
    "uncached_input": "1",
    "output": "5",
    "source": "quote",
    "checked_on": "2026-11-03",
}


@pytest.fixture(autouse=True)
def frozen(settings):
    settings.COSTGOV_AS_OF = AS_OF
    cache.clear()


def visitor(role):
    user = User.objects.create_user(username=f"{role}-1")
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def buyer(db):
    return visitor("procurement")


def text_of(answer):
    text = answer.content.decode().replace("<strong>", "").replace("</strong>", "")
    return " ".join(unescape(text).split())


def hrefs(answer, start):
    parts = unescape(answer.content.decode()).split('href="')[1:]
    return [part.split('"', 1)[0] for part in parts if part.startswith(start)]


def test_whoever_is_not_logged_in_is_sent_to_the_log_in(db):
    User.objects.create_user("somebody")
    for address in ("/prices/", "/prices/add/", "/prices/name/", "/spend/lines/"):
        assert Client().get(address).status_code == 302


def test_an_installation_without_prices_says_what_to_do(buyer):
    shown = text_of(buyer.get("/prices/"))
    assert "No price is held for this choice" in shown and "manage.py seed_prices" in shown


def test_prices_in_force_are_listed_with_source_and_day(buyer):
    seed_list_prices(as_of=AS_OF)
    shown = text_of(buyer.get("/prices/"))
    assert "Claude Opus 4.5" in shown and "18.75" not in shown  # Opus 4.1 is retired
    assert "prompts up to 100k tokens" in shown and "prompts above 100k tokens" in shown
    assert "Prices were last checked against their sources on 23 Nov 2026" in shown
    assert "Next: Claude Opus 4.8 fast mode ends (30 Nov 2026, in 6 days)" in shown
    assert "retires 30 Nov 2026" in shown
    everything = text_of(buyer.get("/prices/?show=all"))
    assert "18.75" in everything and "retired 5 Aug 2026" in everything
    assert "12.50" in text_of(buyer.get("/prices/?tier=batch"))
    assert "27.50" in text_of(buyer.get("/prices/?geo=us"))
    assert "No model has a list price" in text_of(buyer.get("/prices/?tier=batch&speed=fast"))


def test_the_address_is_checked(buyer):
    for address, words in (
        ("/prices/?tier=cheap", "?tier=cheap is not known here"),
        ("/prices/?sorted=1", "?sorted is not a parameter"),
        ("/prices/?on=yesterday", "?on=yesterday is not a date"),
    ):
        answer = buyer.get(address)
        assert answer.status_code == 400 and words in text_of(answer)
    assert buyer.get("/prices/?model=nobody").status_code == 404


def test_prices_of_an_earlier_day(buyer):
    seed_list_prices(as_of=AS_OF)
    shown = text_of(buyer.get("/prices/?on=2026-03-12"))
    assert "prompts above 200k tokens" in shown and "as they were on 12 Mar 2026" in shown and "37.50" in shown


def test_unpriced_usage_is_on_top_with_links_that_open_the_right_form(buyer):
    seed_list_prices(as_of=AS_OF)
    count_usage("lab-model-2", "2026-11-01", output_tok=1_200_000, uncached_input_tok=300_000, service_tier="batch")
    count_usage("claude-opus-4-5", "2026-11-02", output_tok=500, geo="us")
    count_usage("claude-haiku-5-5", "2026-11-02", output_tok=1_000_000, prompt_length_band="")
    answer = buyer.get("/prices/")
    shown = text_of(answer)
    assert "2.5 M tokens of 3 models have no price and are in no cost shown here" in shown
    assert "1,500,000" in shown and "Model lab-model-2 has no prices" in shown
    assert "$0.50 – $2.50" in shown and "which the data does not tell" in shown
    assert "/prices/name/?alias=lab-model-2" in hrefs(answer, "/prices/name/")
    adds = [parse_qs(urlsplit(href).query) for href in hrefs(answer, "/prices/add/?")]
    assert {"model": ["lab-model-2"]} in adds
    assert {
        "model": ["claude-opus-4-5"], "service_tier": ["standard"], "prompt_length_band": ["0-100k"], "geo": ["us"],
        "speed": ["standard"], "valid_from": ["2026-11-02"],
    } in adds  # fmt: skip
    form = text_of(buyer.get("/prices/add/?model=claude-opus-4-5&geo=us&valid_from=2026-11-02"))
    assert 'value="claude-opus-4-5"' in form and 'value="us" selected' in form and 'value="2026-11-02"' in form
    assert 'value="2026-11-24"' in form  # checked on: today


def test_all_priced_is_said(buyer):
    seed_list_prices(as_of=AS_OF)
    count_usage("claude-opus-4-5", "2026-11-02", output_tok=500)
    assert "Every token counted has a price" in text_of(buyer.get("/prices/"))


def test_a_price_is_previewed_then_added(buyer):
    count_usage("lab-model-2", "2026-11-01", output_tok=2_000_000, cache_read_tok=9)
    preview = buyer.post("/prices/add/", {**ENTRY, "step": "preview"})
    shown = text_of(preview)
    assert "2 M tokens that have no price would cost $10.00" in shown
    assert "Nothing is saved yet" in shown and Price.objects.count() == 0
    answer = buyer.post("/prices/add/", {**ENTRY, "step": "add"}, follow=True)
    assert "Added 2 prices of lab-model-2, from its release on. 2 M tokens that had no price now have one." in text_of(
        answer
    )
    assert "Spend on lab-model-2 rises by $10.00. 9 tokens of it stay without a price." in text_of(answer)
    assert answer.redirect_chain == [("/prices/?model=lab-model-2", 302)]
    assert AuditEntry.objects.get().action == "price.added"
    again = buyer.post("/prices/add/", {**ENTRY, "step": "add"})
    assert again.status_code == 400 and "prices are never overwritten" in text_of(again)
    assert Price.objects.count() == 2


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"output": "five"}, "Enter a number"),
        ({"output": "-5"}, "greater than or equal to 0"),
        ({"output": "0.0000000001"}, "no more than 9 decimal places"),
        ({"source": ""}, "This field is required"),
        ({"checked_on": "2026-12-24"}, "lies ahead"),
        ({"uncached_input": "", "output": ""}, "Give the price of at least one kind"),
        ({"valid_from": "2026-11-05", "valid_to": "2026-11-01"}, "starts 2026-11-05, but ends 2026-11-01"),
        ({"speed": "fast", "service_tier": "batch"}, "cannot be combined with batch"),
    ],
)
def test_a_wrong_entry_is_explained_at_its_field_and_saves_nothing(buyer, changed, words):
    answer = buyer.post("/prices/add/", {**ENTRY, **changed, "step": "add"})
    assert answer.status_code == 400 and words in text_of(answer)
    assert Price.objects.count() == 0


@pytest.mark.parametrize("role", ["engineer", "viewer"])
def test_an_engineer_sees_prices_and_may_change_none(db, role):
    seed_list_prices(as_of=AS_OF)
    count_usage("lab-model-2", "2026-11-01", output_tok=700)
    client = visitor(role)
    before = (Price.objects.count(), ModelAlias.objects.count(), AuditEntry.objects.count())
    page = client.get("/prices/")
    assert page.status_code == 200 and not hrefs(page, "/prices/add/") and not hrefs(page, "/prices/name/")
    assert "Procurement or an administrator may" in text_of(page)
    attempts = [
        client.get("/prices/add/"),
        client.get("/prices/name/"),
        client.post("/prices/add/", {**ENTRY, "step": "add"}),
        client.post("/prices/name/", {"alias": "lab-model-2", "model": "claude-opus-4-5"}),
        client.post("/prices/place/", {"model": "lab-model-2", "tier": "fast"}),
        client.post("/prices/proposals/", {"price": "1", "decision": "approve"}),
    ]
    assert [answer.status_code for answer in attempts] == [403] * 6
    assert all("may not edit prices" in text_of(answer) for answer in attempts)
    assert (Price.objects.count(), ModelAlias.objects.count(), AuditEntry.objects.count()) == before


def test_a_model_shows_every_dated_price(buyer):
    seed_list_prices(as_of=AS_OF)
    shown = text_of(buyer.get("/prices/?model=claude-opus-4-6"))
    assert "from 13 Mar 2026" in shown and "until 12 Mar 2026" in shown and "37.50" in shown
    assert shown.index("from 13 Mar 2026") < shown.index("until 12 Mar 2026")
    assert "claude-opus-4-6-20260205" in shown and "1,000,000 tokens" in shown
    assert "costs $5.00 in and $25.00 out" in shown
    haiku = text_of(buyer.get("/prices/?model=claude-haiku-5-5"))
    assert (
        "costs $0.10 in and $0.50 out per million tokens for prompts up to 100k, "
        "$0.50 in and $2.50 out for prompts above 100k." in haiku
    )


def test_a_replaced_price_is_told_from_those_in_force(buyer):
    seed_list_prices(as_of=AS_OF)
    entry = {**ENTRY, "model": "claude-opus-4-5", "uncached_input": "", "output": "24", "valid_from": "2026-11-10"}
    shown = text_of(buyer.post("/prices/add/", {**entry, "step": "add"}, follow=True))
    assert "Claude Opus 4.5 costs $5.00 in and $24.00 out per million tokens." in shown
    assert "in force, but for output" in shown and "entered by procurement-1" in shown


def test_a_name_and_a_tier_are_given(buyer):
    seed_list_prices(as_of=AS_OF)
    count_usage("lab-model-2", "2026-11-01", output_tok=700)
    assert "Nobody has placed this model yet" in text_of(buyer.get("/prices/?model=lab-model-2"))
    placed = buyer.post("/prices/place/", {"model": "lab-model-2", "tier": "fast"}, follow=True)
    assert "lab-model-2 is in the fast tier" in text_of(placed)
    assert ModelRelease.objects.get(canonical_id="lab-model-2").tier == "fast"
    named = buyer.post("/prices/name/", {"alias": "opus-latest", "model": "claude-opus-4-5"}, follow=True)
    assert "opus-latest now means claude-opus-4-5. No usage bears the name so far." in text_of(named)
    wrong = buyer.post("/prices/name/", {"alias": "opus-latest", "model": "claude-opus-5"})
    assert wrong.status_code == 400 and "means claude-opus-4-5 already" in text_of(wrong)


def test_proposals_are_approved_or_discarded(buyer, tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text("model,output,source,checked_on\nlab-model-2,5,quote,2026-11-03\nlab-model-3,6,quote,2026-11-03\n")
    import_prices(actor=None, paths=[path], as_of=AS_OF)
    first, second = Price.objects.order_by("pk")
    assert "Proposed prices" in text_of(buyer.get("/prices/"))
    done = buyer.post("/prices/proposals/", {"price": str(first.pk), "decision": "approve"}, follow=True)
    assert "1 price approved: they count from now on" in text_of(done)
    done = buyer.post("/prices/proposals/", {"price": str(second.pk), "decision": "discard"}, follow=True)
    assert "1 price discarded" in text_of(done)
    gone = buyer.post("/prices/proposals/", {"price": str(second.pk), "decision": "approve"}, follow=True)
    assert "no longer proposed" in text_of(gone)
    assert list(Price.objects.values_list("model", flat=True)) == ["lab-model-2"]


# ---- How a cost is computed ----------------------------------------------------------------------------------------


def test_cost_lines_show_formula_inputs_and_source(buyer):
    seed_list_prices(as_of=AS_OF)
    count_usage("claude-opus-4-5", "2026-11-01", output_tok=1_234_567, request_class="triage", geo="")
    count_usage("lab-model-2", "2026-11-01", output_tok=700, request_class="triage")
    shown = text_of(buyer.get("/spend/lines/?class=triage&from=2026-11-01&to=2026-11-02"))
    assert "Class triage cost $30.86, and 700 tokens more have no price" in shown
    assert "1,234,567 × 25.00 / 1,000,000 = 30.864175" in shown and "Exactly $30.864175" in shown
    assert "inference geo unknown: global list price" in shown
    assert "genai-prices 0.2.3" in shown and "checked 23 Nov 2026" in shown
    assert "Model lab-model-2 has no prices" in shown


def test_cost_lines_without_usage_say_so(buyer):
    assert "There is no usage to cost here" in text_of(buyer.get("/spend/lines/?model=claude-opus-5"))
    assert buyer.get("/spend/lines/?from=soon").status_code == 400


def test_unclassified_usage_has_lines_of_its_own(buyer):
    seed_list_prices(as_of=AS_OF)
    count_usage("claude-opus-4-5", "2026-11-20", output_tok=1_000_000, request_class="triage")
    count_usage("claude-opus-4-5", "2026-11-20", output_tok=2_000_000)
    shown = text_of(buyer.get("/spend/lines/?class=(none)"))
    assert "Unclassified usage cost $50.00" in shown
    assert "All usage cost $75.00" in text_of(buyer.get("/spend/lines/"))


def test_the_command_gives_the_same_lines(db):
    seed_list_prices(as_of=AS_OF)
    count_usage("claude-opus-4-5", "2026-11-01", output_tok=1_234_567, request_class="triage")
    out = StringIO()
    call_command("spend_lines", "--class", "triage", "--json", stdout=out)
    found = json.loads(out.getvalue())
    assert Decimal(found["cost_usd"]) == Decimal("30.864175")
    assert found["lines"][0]["formula"] == "1,234,567 × 25.00 / 1,000,000 = 30.864175"
    assert date.fromisoformat(found["start"]) == date(2026, 11, 1)
    out = StringIO()
    call_command("spend_lines", stdout=out)
    assert "total 30.86 usd (exactly 30.864175" in out.getvalue()
    err = StringIO()
    with pytest.raises(SystemExit) as stopped:
        call_command("spend_lines", "--from", "soon", stderr=err)
    assert stopped.value.code == 2 and "2026-11-09" in err.getvalue()
