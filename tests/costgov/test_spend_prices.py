"""Spend at list prices, under contracts and at what-if prices; and the interval where the data leaves it open."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client

from billing.models import PriceScenario
from billing.operations.prices import seed_list_prices
from billing.queries.books import UnknownPrices
from costgov.models import User
from costgov.queries.spend import spend
from tests.billing.test_contract_costs import agree
from tests.billing.usage_rows import count_usage

pytestmark = pytest.mark.django_db
D = Decimal
AS_OF = datetime(2026, 11, 24, 12, tzinfo=UTC)
START, END = date(2026, 11, 1), date(2026, 12, 1)


@pytest.fixture
def usage(db):
    seed_list_prices(as_of=AS_OF)
    count_usage("claude-opus-5-5", "2026-11-02", output_tok=1_000_000, request_class="triage")
    agree(percent="10", start=START)
    PriceScenario.objects.create(
        name="Opus a fifth cheaper", created_at=AS_OF,
        document={"schema": "costgov.price_scenario/1", "title": "Opus a fifth cheaper",
                  "changes": [{"model": "claude-opus-5-5", "percent": "-20"}]},
    )  # fmt: skip


def test_spend_at_every_basis(usage):
    found = {
        (basis, scenario): spend(start=START, end=END, basis=basis, scenario=scenario)
        for basis in ("list", "contracted")
        for scenario in ("", "Opus a fifth cheaper")
    }
    assert {key: report.total.cost_usd for key, report in found.items()} == {
        ("list", ""): D(20),
        ("list", "Opus a fifth cheaper"): D(16),
        ("contracted", ""): D(18),
        ("contracted", "Opus a fifth cheaper"): D("14.4"),
    }
    assert found["list", ""].prices == "at list prices"
    assert found["contracted", "Opus a fifth cheaper"].prices == (
        "under the approved contracts, list prices of scenario Opus a fifth cheaper"
    )
    with pytest.raises(UnknownPrices, match="kept are: Opus a fifth cheaper"):
        spend(start=START, end=END, scenario="Other")
    with pytest.raises(UnknownPrices, match="use list or contracted"):
        spend(start=START, end=END, basis="billed")


def output(*words):
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def test_the_command_and_the_api_say_the_same(usage):
    words = ["--from", "2026-11-01", "--to", "2026-12-01"]
    assert "Spend under the approved contracts" in output("spend", *words, "--basis", "contracted")
    assert "18.00 usd" in output("spend", *words, "--basis", "contracted")
    said = json.loads(output("spend", *words, "--prices", "Opus a fifth cheaper", "--json"))
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    answer = client.get("/api/v1/spend?from=2026-11-01&to=2026-12-01&prices=Opus a fifth cheaper")
    assert answer.json() == said and D(said["total"]["cost_usd"]) == 16
    refused = client.get("/api/v1/spend?prices=Other")
    assert refused.status_code == 400 and "there is no price scenario 'Other'" in refused.json()["error"]["message"]
    lines = output("spend_lines", *words, "--basis", "contracted")
    assert "10 % off the list price 20.00 under contract Acme" in lines and "Cost under the approved contracts" in lines


def test_a_band_the_data_does_not_tell_makes_the_spend_an_interval(usage):
    """docs/algorithms/pricing.md, "Without a price": 2 M output tokens of Haiku 5.5 cost 1 to 5 usd."""
    count_usage("claude-haiku-5-5", "2026-11-03", output_tok=2_000_000, prompt_length_band="", request_class="faq")
    report = spend(start=START, end=END, by=("class",))
    rows = {row.group["class"]: row for row in report.rows}
    faq = rows["faq"]
    assert (faq.cost_usd, faq.lowest_usd, faq.highest_usd, faq.is_interval) == (D(0), D(1), D(5), True)
    assert (report.total.lowest_usd, report.total.highest_usd) == (D(21), D(25))
    assert not rows["triage"].is_interval and rows["triage"].highest_usd == D(20)
    said = output("spend", "--from", "2026-11-01")
    assert "between 1.00 and 5.00 usd with 2,000,000 tokens whose price the data does not tell" in said
    assert "between 21.00 and 25.00 usd" in said and "It costs between 1.00 and 5.00 usd" in said


def test_what_may_cost_anything_has_no_upper_bound(usage):
    count_usage("claude-haiku-5-5", "2026-11-03", output_tok=2_000_000, prompt_length_band="")
    count_usage("lab-model-2", "2026-11-03", output_tok=7, web_searches=2)
    total = spend(start=START, end=END).total
    assert (total.cost_usd, total.lowest_usd, total.highest_usd, total.is_interval) == (D(20), D(21), None, False)
    assert "+ 2,000,007 tokens and 2 web searches unpriced" in output("spend")
