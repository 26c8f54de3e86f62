"""Contracts, what-if prices, price files and proposals: pages, API and commands agree and say what to do."""

import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO

import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command

from audit.models import AuditEntry
from billing.models import BillingPeriod, Contract, Price, PriceScenario
from billing.operations.prices import seed_list_prices
from billing.queries.prices import price_book
from costgov.price_row_forms import wrong_fields
from tests.billing.test_contract_operations import DOCUMENT, SCENARIO
from tests.billing.test_price_files import LITELLM
from tests.billing.usage_rows import count_usage
from tests.costgov.test_prices_pages import text_of, visitor

pytestmark = pytest.mark.django_db
D = Decimal
AS_OF = datetime(2026, 11, 24, 12, tzinfo=UTC)
TYPED = {
    "name": "Acme 2026", "channel": "anthropic", "from": "2026-10-01", "source": "order form",
    "checked_on": "2026-09-21",
    "rate-model": ["", "claude-opus-5-5"], "rate-token_kind": ["", "output"], "rate-service_tier": ["", ""],
    "rate-percent_off": ["10 %", ""], "rate-usd_per_unit": ["", "$17"], "rate-from": ["", ""], "rate-to": ["", ""],
    "credit-name": ["Launch"], "credit-amount_usd": ["5,000"], "credit-from": ["2026-10-01"], "credit-to": [""],
}  # fmt: skip


@pytest.fixture(autouse=True)
def frozen(settings):
    settings.COSTGOV_AS_OF = AS_OF
    cache.clear()


@pytest.fixture
def usage(db):
    """October: a million output and a million input tokens of Opus 5.5: 20 + 4 usd at list."""
    seed_list_prices(as_of=AS_OF)
    count_usage("claude-opus-5-5", "2026-10-05", output_tok=1_000_000, uncached_input_tok=1_000_000, request_class="a")
    count_usage("claude-opus-5-5", "2026-11-05", output_tok=1_000_000, request_class="a")


@pytest.fixture
def buyer(usage):
    return visitor("procurement")


@pytest.fixture
def admin(usage):
    return visitor("admin")


def propose(buyer):
    answer = buyer.post("/prices/contracts/new/", TYPED)
    assert answer.status_code == 302
    return Contract.objects.get(name="Acme 2026")


def test_an_empty_installation_invites_to_enter_one(buyer):
    assert "No contract yet" in text_of(buyer.get("/prices/contracts/"))
    viewer = visitor("viewer")
    assert "Procurement or an administrator enters" in text_of(viewer.get("/prices/contracts/"))
    assert viewer.get("/prices/contracts/new/").status_code == 403


def test_a_problem_is_tied_to_its_field(buyer):
    bad = {**TYPED, "source": "", "rate-percent_off": ["10", "140"], "rate-usd_per_unit": ["", ""], "credit-from": [""]}
    page = text_of(buyer.post("/prices/contracts/new/", bad))
    problems = dict(re.findall(r'<li class="f-bad" id="(problem-\d)">.*?<span class="fb">(.*?)</span>', page))
    tied = re.findall(r'name="([\w-]+)" aria-invalid="true" aria-describedby="(problem-\d)"', page)
    said = {name: problems[number] for name, number in tied}
    assert set(said) == {"source", "rate-percent_off", "credit-from"} and len(tied) == len(problems) == 3
    assert said["source"].startswith("Source: missing")
    assert said["rate-percent_off"].startswith("Rate 2, per cent off: 140")
    assert said["credit-from"].startswith("Credit 1, from: missing")


def test_a_what_if_problem_is_tied_to_its_field(buyer):
    page = text_of(buyer.post("/prices/scenarios/new/", {"action": "save", "title": "", "change-percent": ["-140"]}))
    assert 'name="title" aria-invalid="true" aria-describedby="problem-1"' in page and 'Name: "";' in page
    assert 'name="change-percent" aria-invalid="true" aria-describedby="problem-2"' in page


def test_problems_of_rows_that_a_form_does_not_list_are_at_no_field():
    assert wrong_fields(["changes[50].percent: 1", "changes[2].from: 2"], unlisted={"changes": 50}) == {
        "change-0-percent": "problem-1", "change--48-from": "problem-2",
    }  # fmt: skip


def test_a_contract_is_proposed_seen_and_approved_by_another(buyer, admin):
    row = propose(buyer)
    page = text_of(buyer.get(f"/prices/contracts/{row.pk}/"))
    assert "You proposed it: somebody else who may edit prices approves it" in page
    # October at 10 % off input and 17 for output: 3.60 + 17.00 instead of 24.00
    assert "would have cost $3.40 less" in page and "$20.60 instead of $24.00" in page
    assert "10% off" in page and "$17.00" in page and "claude-opus-5-5, output, every tier" in page
    refused = buyer.post(f"/prices/contracts/{row.pk}/step/", {"step": "approve"})
    assert refused.status_code == 400 and "somebody else who may edit prices" in text_of(refused)
    assert admin.post(f"/prices/contracts/{row.pk}/step/", {"step": "approve"}).status_code == 302
    page = text_of(buyer.get(f"/prices/contracts/{row.pk}/"))
    assert "It took $3.40 off last month's list price of $24.00" in page and "In force" in page
    # credits: 20.60 in October, 17.00 in November so far
    assert "$4,962.40 of $5,000.00 left" in page
    assert "The contracts took $3.40 off last month's list price of $24.00" in text_of(buyer.get("/prices/contracts/"))
    lines = text_of(buyer.get("/spend/lines/?basis=contracted&from=2026-10-01&to=2026-10-31"))
    assert "under contract Acme 2026" in lines and "At list prices $24.00" in lines and "$20.60" in lines
    assert "$24.00" in text_of(buyer.get("/spend/lines/?from=2026-10-01&to=2026-10-31"))


def test_a_form_that_cannot_be_used_keeps_what_was_typed(buyer):
    answer = buyer.post("/prices/contracts/new/", {**TYPED, "rate-percent_off": ["ten", ""], "source": ""})
    page = text_of(answer)
    assert answer.status_code == 400 and "Rate 1, per cent off:" in page and "Source: missing" in page
    assert 'value="ten"' in page and 'value="Acme 2026"' in page
    more = text_of(buyer.post("/prices/contracts/new/", {**TYPED, "action": "add"}))
    assert more.count('name="rate-model"') == 4 and not Contract.objects.exists()


def test_a_contract_is_discarded_or_ended(buyer, admin):
    row = propose(buyer)
    assert buyer.post(f"/prices/contracts/{row.pk}/step/", {"step": "discard"}).url == "/prices/contracts/"
    assert "not there any more" in text_of(
        buyer.post(f"/prices/contracts/{row.pk}/step/", {"step": "approve"}, follow=True)
    )
    row = propose(buyer)
    admin.post(f"/prices/contracts/{row.pk}/step/", {"step": "approve"})
    refused = buyer.post(f"/prices/contracts/{row.pk}/step/", {"step": "end", "ends_on": ""})
    assert refused.status_code == 400 and "No day is given" in text_of(refused)
    buyer.post(f"/prices/contracts/{row.pk}/step/", {"step": "end", "ends_on": "2026-11-01"})
    row.refresh_from_db()
    assert row.valid_to == date(2026, 11, 1)
    document = json.loads(buyer.get(f"/prices/contracts/{row.pk}/contract.json").content)
    assert document["to"] == "2026-11-01" and document["rates"][1]["usd_per_unit"] == "17"


def test_the_api_and_the_command_take_the_same_document(buyer, admin, tmp_path):
    answer = buyer.post("/api/v1/contracts", {"contract": DOCUMENT}, content_type="application/json")
    assert answer.status_code == 201 and answer.json()["state"] == "proposed"
    number = answer.json()["id"]
    refused = buyer.post(f"/api/v1/contracts/{number}/approve")
    assert refused.status_code == 400 and "somebody else" in refused.json()["error"]["message"]
    assert admin.post(f"/api/v1/contracts/{number}/approve").json()["state"] == "in_force"
    wrong = {**DOCUMENT, "name": "", "rates": []}
    refused = buyer.post("/api/v1/contracts", {"contract": wrong}, content_type="application/json")
    assert refused.status_code == 400 and "name:" in refused.json()["error"]["message"]
    ended = buyer.post(f"/api/v1/contracts/{number}/end", {"ends_on": "2026-12-01"}, content_type="application/json")
    assert ended.json()["valid_to"] == "2026-12-01"
    assert buyer.get("/api/v1/contracts").json()["list_usd"] == "24.000000000000000"
    path = tmp_path / "contract.json"
    path.write_text(json.dumps({**DOCUMENT, "name": "Second"}))
    assert "proposed" in output("contract", "propose", str(path))
    assert "approved" in output("contract", "approve", "Second")
    listing = output("contract", "list")
    assert "Second (in force, anthropic) from 2026-10-01" in listing and "10 % off: every model" in listing
    assert "October 2026: list 24.00 usd, contracted" in listing
    with pytest.raises(SystemExit):
        output("contract", "end", "Nobody", "--on", "2026-12-01")


def matched(pattern, text):
    """The first group of a pattern that must be there."""
    found = re.search(pattern, text, re.DOTALL)
    assert found, f"no {pattern} in the page"
    return found[1]


def output(*words):
    out = StringIO()
    call_command(*words, stdout=out, stderr=StringIO())
    return out.getvalue()


# ---- What if --------------------------------------------------------------------------------------------------------


def keep_scenario(buyer, **typed):
    form = {"title": "Opus a fifth cheaper", "change-model": ["claude-opus-5-5"], "change-percent": ["−20"], **typed}
    answer = buyer.post("/prices/scenarios/new/", {"action": "save", **form})
    assert answer.status_code == 302, text_of(answer)
    return PriceScenario.objects.get()


def test_what_if_prices_are_kept_shown_changed_and_deleted(buyer):
    assert "Nothing assumed yet" in text_of(buyer.get("/prices/scenarios/"))
    row = keep_scenario(buyer)
    page = text_of(buyer.get(f"/prices/scenarios/{row.pk}/"))
    assert "Last month's usage would cost $4.80 less" in page and "$24.00" in page and "$19.20" in page
    assert "−20%" in text_of(buyer.get("/prices/scenarios/"))
    lines = text_of(buyer.get("/spend/lines/?prices=Opus a fifth cheaper&from=2026-10-01&to=2026-10-31"))
    assert "Nothing here was billed so" in lines and "$19.20" in lines
    assert buyer.get("/spend/lines/?prices=Other").status_code == 400
    edit = f"/prices/scenarios/{row.pk}/edit/"
    assert 'value="-20"' in text_of(buyer.get(edit))
    buyer.post(edit, {"action": "save", "title": "Dearer", "change-percent": ["5"]})
    row.refresh_from_db()
    assert row.name == "Dearer" and row.document["changes"] == [{"percent": "5"}]
    assert "Delete Dearer?" in text_of(buyer.get(f"/prices/scenarios/{row.pk}/delete/"))
    buyer.post(f"/prices/scenarios/{row.pk}/delete/")
    assert not PriceScenario.objects.exists()


def test_the_forecast_page_offers_what_if_prices_and_refuses_unknown_ones(buyer):
    keep_scenario(buyer)
    answer = buyer.get("/forecast/?book=Opus a fifth cheaper")
    assert answer.status_code == 200 and "Opus a fifth cheaper" in text_of(answer)
    refused = buyer.get("/forecast/?book=Other")
    assert refused.status_code == 400 and "no kept what-if price book" in text_of(refused)


def test_a_price_file_as_a_scenario_from_a_day_on(buyer):
    file = SimpleUploadedFile("litellm.json", json.dumps(LITELLM).encode())
    answer = buyer.post(
        "/prices/scenarios/new/", {"action": "read", "document": file, "file_from": "2026-12-01", "title": "LiteLLM"}
    )
    assert answer.status_code == 302, text_of(answer)
    rows = PriceScenario.objects.get().document["prices"]
    assert {row["from"] for row in rows} == {"2026-12-01"} and len(rows) == 4
    page = text_of(buyer.get(answer.url))
    # Output of Opus 5.5 at 25 instead of 20, input the same
    assert "would cost $5.00 more" in page
    bad = SimpleUploadedFile("x.json", b"{}")
    refused = buyer.post("/prices/scenarios/new/", {"action": "read", "document": bad})
    assert refused.status_code == 400 and "none of the known price formats" in text_of(refused)


def test_changing_a_scenario_loses_nothing_the_form_does_not_show(buyer):
    price = {"token_kind": "output", "usd_per_unit": "9", "geo": "us", "source": "page"}
    few = {**SCENARIO, "prices": [{**price, "model": "x"}]}
    many = {**SCENARIO, "title": "Many", "prices": [{**price, "model": f"m{n}"} for n in range(60)]}
    for document in (few, many):
        file = SimpleUploadedFile("scenario.json", json.dumps(document).encode())
        address = buyer.post("/prices/scenarios/new/", {"action": "read", "document": file}).url
        row = PriceScenario.objects.get(name=document["title"])
        text = buyer.get(f"{address}edit/").content.decode()
        typed: dict[str, list[str]] = {}
        for tag in re.findall(r"<input [^>]*>", text):
            if name := re.search(r' name="((?:change|price)-[^"]+)"', tag):
                typed.setdefault(name[1], []).append(matched(r' value="([^"]*)"', tag))
        for name, options in re.findall(
            r'<select [^>]*name="((?:change|price)-[^"]+)"[^>]*>(.*?)</select>', text, re.S
        ):
            chosen = re.search(r'<option value="([^"]*)" selected', options)
            typed.setdefault(name, []).append(chosen[1] if chosen else "")
        before = row.document
        buyer.post(f"{address}edit/", {"action": "save", "title": row.name, **typed})
        row.refresh_from_db()
        assert row.document == before and len(row.document["prices"]) == len(document["prices"])


def test_a_scenario_document_comes_back_as_it_went(buyer):
    row = keep_scenario(buyer)
    document = buyer.get(f"/prices/scenarios/{row.pk}/scenario.json").content
    buyer.post(f"/prices/scenarios/{row.pk}/delete/")
    file = SimpleUploadedFile("scenario.json", document)
    assert buyer.post("/prices/scenarios/new/", {"action": "read", "document": file}).status_code == 302
    assert PriceScenario.objects.get().document == row.document


def test_the_api_keeps_and_weighs_what_if_prices(buyer):
    answer = buyer.post("/api/v1/price-scenarios", {"scenario": SCENARIO}, content_type="application/json")
    assert answer.status_code == 201
    number = answer.json()["id"]
    effects = buyer.get(f"/api/v1/price-scenarios/{number}").json()
    changes = [(row["before_usd"], row["after_usd"]) for row in effects["by_class"]]
    assert [(D(before), D(after)) for before, after in changes] == [(D(24), D("26.4"))]
    changed = {**SCENARIO, "title": "Other"}
    answer = buyer.put(f"/api/v1/price-scenarios/{number}", {"scenario": changed}, content_type="application/json")
    assert answer.json()["name"] == "Other" and buyer.get("/api/v1/price-scenarios").json()[0]["name"] == "Other"
    assert buyer.delete(f"/api/v1/price-scenarios/{number}").status_code == 204
    assert buyer.get(f"/api/v1/price-scenarios/{number}").status_code == 404
    refused = buyer.post("/api/v1/price-scenarios", {"scenario": {}}, content_type="application/json")
    assert refused.status_code == 400 and "schema" in refused.json()["error"]["message"]
    viewer = visitor("viewer")
    refused = viewer.post("/api/v1/price-scenarios", {"scenario": SCENARIO}, content_type="application/json")
    assert refused.status_code == 403


# ---- Price files and proposals --------------------------------------------------------------------------------------


def upload(buyer):
    file = SimpleUploadedFile("litellm.json", json.dumps(LITELLM).encode())
    answer = buyer.post("/prices/file/", {"file": file})
    text = answer.content.decode()
    token = matched(r'name="token" value="(\w+)"', text)
    return answer, token


def test_a_price_file_is_compared_and_what_is_ticked_is_proposed(buyer):
    answer, token = upload(buyer)
    page = text_of(answer)
    assert "2 prices new here, 0 changed from a later day, 1 contradicts what is held" in page
    assert "Models nobody placed yet: claude-next-1" in page and "+25.0%" in page
    assert not Price.objects.filter(approved_at=None).exists()
    rows = re.findall(r'name="row" value="(\d+)"( aria-label="[^"]+")( checked)?', answer.content.decode())
    ticked = [number for number, _, checked in rows if checked]
    open_one = [number for number, _, checked in rows if not checked]
    assert len(ticked) == 2 and len(open_one) == 1
    refused = buyer.post("/prices/file/", {"token": token, "row": [*ticked, *open_one]})
    assert refused.status_code == 400 and "give the day from which 25.00 holds" in text_of(refused)
    answer = buyer.post("/prices/file/", {"token": token, "row": [*ticked, *open_one], "day": "2026-12-01"})
    assert answer.status_code == 302 and Price.objects.filter(approved_at=None).count() == 3
    page = text_of(buyer.get(answer.url))
    assert "Last month's usage would cost $5.00 more" in page and "dash-dotted: as proposed" in page
    assert AuditEntry.objects.filter(action="prices.proposed").exists()
    assert "proposed already" in text_of(upload(buyer)[0])


def test_a_file_that_waited_too_long_is_asked_for_again(buyer):
    _, token = upload(buyer)
    cache.clear()
    answer = buyer.post("/prices/file/", {"token": token, "row": ["0"]})
    assert answer.status_code == 400 and "choose it again" in text_of(answer)
    assert buyer.post("/prices/file/").status_code == 400
    other = visitor("admin")
    _, token = upload(buyer)
    assert "choose it again" in text_of(other.post("/prices/file/", {"token": token, "row": ["0"]}))


def test_a_proposed_price_shows_its_effect_before_it_is_approved(buyer):
    _, token = upload(buyer)
    buyer.post("/prices/file/", {"token": token, "row": ["0"], "day": "2026-12-01"})
    (row,) = Price.objects.filter(approved_at=None)
    listed = buyer.get("/prices/")
    assert f"/prices/proposed/?price={row.pk}" in listed.content.decode()
    page = text_of(buyer.get(f"/prices/proposed/?price={row.pk}"))
    assert "$24.00" in page and "$29.00" in page and "+$5.00" in page
    assert "Prices of Claude Opus 5.5 over time" in page and "Output, proposed" in page  # the drawing and its table
    model = text_of(buyer.get("/prices/?model=claude-opus-5-5"))
    assert "See what the proposal changes" in model and "Output, proposed" in model
    api = buyer.get("/api/v1/prices/proposed").json()
    assert D(api["effects"]["by_model"][0]["after_usd"]) == 29
    assert buyer.get("/prices/proposed/?price=999999").status_code == 404
    assert buyer.get("/prices/proposed/?price=x").status_code == 400
    buyer.post("/prices/proposals/", {"price": [row.pk], "decision": "approve"})
    assert len(price_book().prices) and "No price waits for a decision" in text_of(buyer.get("/prices/proposed/"))


def test_the_timeline_marks_today_retirement_and_closed_months(buyer):
    BillingPeriod.objects.create(month=date(2026, 10, 1), state="closed", prices_known_at=AS_OF, closed_at=AS_OF)
    answer = buyer.get("/prices/?model=claude-sonnet-4-5")
    figure = json.loads(
        matched(r'<script id="figure-timeline" type="application/json">(.*?)</script>', answer.content.decode())
    )
    texts = [note["text"] for note in figure["layout"]["annotations"]]
    assert texts == ["today", "retires"]  # the shade is named above the drawing: no word runs into a line
    assert "shaded: closed months" in text_of(answer)
    shade = next(shape for shape in figure["layout"]["shapes"] if shape["type"] == "rect")
    assert (shade["x0"], shade["x1"]) == ("2026-10-01", "2026-11-01")
    output_line = next(line for line in figure["data"] if line["name"] == "Output, up to 200k")
    assert output_line["line"]["shape"] == "hv" and 15 in output_line["y"]
    assert "retired on 30 Nov 2026" in text_of(answer)
