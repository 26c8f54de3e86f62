"""The Overview on figures a reader can add up (tests/costgov/small_world.py says how)."""

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from audit.operations import bump_data_version
from billing.core.money import sum_usd
from billing.models import Organisation, Price
from costgov.jsonout import dumps
from costgov.queries.overview import Overview, overview
from costgov.queries.recommendation import recommendation_view
from costgov.queries.spend import spend
from routing.models import EvalCase, EvalImport
from tests.costgov import small_world as world
from tests.costgov.page_checks import problems

pytestmark = pytest.mark.django_db
START = world.TODAY - timedelta(days=56)


@pytest.fixture(autouse=True)
def _frozen(settings: Any) -> None:
    settings.COSTGOV_AS_OF = world.AS_OF
    cache.clear()  # a rolled back test leaves figures of a data version that the next one reaches again


def shown(start: date = START) -> Overview:
    return overview(as_of=world.AS_OF, start=start, end=world.TODAY)


def text_of(client: Client, address: str = "/", status: int = 200) -> str:
    answer = client.get(address)
    assert answer.status_code == status, answer.content.decode()[:2000]
    html = answer.content.decode()
    assert problems(html) == []
    return html


def test_spend_is_exact_and_compared_with_the_28_days_before() -> None:
    world.whole()
    view = shown()
    assert (view.window_start, view.window_end) == (date(2026, 10, 26), world.TODAY)
    assert view.spend_usd == Decimal("30.80")  # 28 × (0.35 on haiku + 0.75 on sonnet)
    assert view.spend_before_usd == Decimal("60.20")  # 21 × 1.75 on opus + 7 × 0.35 + 28 × 0.75
    assert view.change == pytest.approx(30.80 / 60.20 - 1)
    assert view.per_request is not None
    assert (view.per_request.requests, view.per_request.spend_share) == (28 * 150, 1.0)
    assert view.per_request.usd == Decimal("30.80") / 4200
    assert view.per_request_change == pytest.approx((30.80 / 4200) / (60.20 / 4200) - 1)
    assert view.spend_usd == spend(start=view.window_start, end=view.window_end).total.cost_usd


def test_a_cost_per_request_of_another_mix_is_not_compared() -> None:
    """Requests are known for a part of the window before only: its cost per request is of other work."""
    world.whole()
    world.use(world.TODAY - timedelta(days=40), world.OPUS, "triage", None, (1_000_000, 0), origin="report")
    view = shown()
    assert view.per_request_before is not None
    assert view.per_request_before.spend_share == pytest.approx(60.20 / 65.20)
    assert view.per_request_change is None


def test_days_by_tier_sum_to_the_spend_and_absent_days_are_not_zero() -> None:
    world.whole()
    view = shown(START - timedelta(days=3))
    assert [day.total_usd for day in view.days[:4]] == [None, None, None, Decimal("2.50")]
    assert view.days[3].by_tier == {"frontier": Decimal("1.75"), "balanced": Decimal("0.75"), "fast": Decimal(0)}
    assert view.days[-1].by_tier == {"frontier": Decimal(0), "balanced": Decimal("0.75"), "fast": Decimal("0.35")}
    assert sum(day.total_usd for day in view.days if day.total_usd is not None) == Decimal("91.00")


def test_classes_stand_with_money_and_verdict_of_what_serves_them() -> None:
    world.whole()
    view = shown()
    drafting, triage = view.classes
    assert (drafting.slug, triage.slug) == ("drafting", "triage")  # largest spend first
    assert (triage.model_id, triage.tier, triage.verdict) == (world.HAIKU, "fast", "clears")
    assert (triage.spend_usd, triage.spend_before_usd) == (Decimal("9.80"), Decimal("39.20"))
    assert triage.change == pytest.approx(-0.75)
    assert (triage.requests, triage.cases, triage.value) == (2800, 200, 0.98)
    assert triage.lower == pytest.approx(0.93925, abs=1e-5)  # 196 of 200 at α = 0.05 (methods.md §3.7)
    assert triage.upper == pytest.approx(0.99849, abs=1e-5)
    assert (triage.line, drafting.line) == (0.93, 0.9)
    assert view.standing.classes == view.standing.holding == 2
    assert sum_usd(line.spend_usd or Decimal(0) for line in view.classes) == view.spend_usd


def test_savings_are_those_of_the_recommendation() -> None:
    world.whole()
    view, advised = shown(), recommendation_view(as_of=world.AS_OF)
    assert view.saving is not None
    assert view.saving.usd_per_month == advised.saving_usd_per_month
    assert {line.slug: line.saving_usd for line in view.classes} == {
        row.request_class: row.saving_usd_per_month for row in advised.classes
    }


def test_a_saving_on_assumed_tokens_is_not_called_proven(client: Client) -> None:
    people = world.whole()
    EvalCase.objects.filter(run__request_class__slug="drafting", model=world.HAIKU).delete()
    world.evals("drafting", world.HAIKU, 200, 200, world.AS_OF - timedelta(days=3))
    EvalCase.objects.filter(model=world.HAIKU).update(
        uncached_input_tok=None, cache_read_tok=None, cache_write_5m_tok=None, cache_write_1h_tok=None, output_tok=None
    )
    bump_data_version()
    view = shown()
    drafting = recommendation_view(as_of=world.AS_OF).row("drafting")
    assert drafting is not None and view.saving is not None
    assert (drafting.target, drafting.is_assumed) == (world.HAIKU, True)
    # 21.00 in 28 days on Sonnet at 3/15; a third of it on Haiku at 1/5: 14.00 × 30.4375 ÷ 28
    assert view.saving.unsure_usd == view.saving.usd_per_month == Decimal("15.22")
    assert view.saving.sure_usd == 0
    assert view.saving.share_of_spend == pytest.approx(14 / 30.8)
    client.force_login(people["vic"])
    html = client.get("/").content.decode()
    assert "a month can be saved, <strong>$0</strong> of it proven" in html
    assert "<strong>$15</strong> rests on exceptions or on assumed tokens or reuse" in html
    assert "on proven quality" not in html


def test_activations_and_what_waits() -> None:
    world.whole()
    view = shown()
    assert [(mark.on, mark.version) for mark in view.activations] == [(date(2026, 10, 19), 1)]
    assert [(change.title, change.author) for change in view.waiting] == [("Change 2", "eva")]
    assert view.policy == "claude-prod@1"


def test_a_later_activation_is_not_shown_before_it_happened() -> None:
    world.whole()
    earlier = world.AS_OF - timedelta(days=40)
    assert overview(as_of=earlier, start=START, end=earlier.date()).activations == ()


def test_the_value_is_json() -> None:
    world.whole()
    value = json.loads(dumps(shown()))
    assert Decimal(value["spend_usd"]) == Decimal("30.80")
    assert value["days"][-1]["on"] == "2026-11-22"
    assert Decimal(value["classes"][1]["spend_usd"]) == Decimal("9.80")
    assert value["tiers"][0]["weeks"][-1]["quality"]["covered_share"] == 1.0


def test_the_api_answers_with_the_same_value(client: Client) -> None:
    client.force_login(world.whole()["vic"])
    answer = client.get("/api/v1/overview?days=56")
    assert answer.status_code == 200
    assert answer.json() == json.loads(dumps(shown()))
    assert client.get("/api/v1/overview?days=0").status_code == 400


def test_page_says_the_same(client: Client) -> None:
    client.force_login(world.whole()["vic"])
    html = text_of(client)
    for said in (
        "$30.80",
        "48.8% less than",
        "every class holds its bar",
        "Change 2",
        "Everything has a price",
        "$9.80",
    ):
        assert said in html, said
    assert 'href="/classes/triage/"' in html
    assert html.count("data-figure=") == 2
    assert "Evals are made up." in html
    assert '<span class="badge-n"' in html  # one change waits, beside Policies


def test_notice_of_the_organisation_is_on_the_page(client: Client) -> None:
    people = world.whole()
    Organisation.objects.update(notice="Figures are invented.")
    client.force_login(people["xen"])
    assert "Figures are invented." in text_of(client)


@pytest.mark.parametrize("person", ["eva", "priya", "vic", "ada", "xen"])
def test_everybody_who_is_logged_in_may_read(client: Client, person: str) -> None:
    client.force_login(world.whole()[person])
    text_of(client)


def test_strangers_log_in_first(client: Client) -> None:
    world.people()
    assert client.get("/").headers["Location"] == "/login/?next=/"


def test_an_empty_installation_leads_to_its_first_administrator(client: Client) -> None:
    assert client.get("/", follow=True).redirect_chain[-1] == ("/setup/", 302)


def test_without_usage_the_page_leads_to_the_first_import(client: Client) -> None:
    people = world.people()
    client.force_login(people["eva"])
    html = text_of(client)
    assert "No usage yet" in html
    assert "Import the first usage file" in html
    client.force_login(people["vic"])
    html = text_of(client)
    assert "Ask an engineer" in html
    assert "Import the first usage file" not in html


def test_usage_alone(client: Client) -> None:
    """No class, no eval, no policy, no baseline: spend is shown, everything else is said to be missing."""
    people = world.people()
    world.models()
    world.prices()
    world.usage(days=10)
    client.force_login(people["vic"])
    html = text_of(client)
    for said in (
        "$11.00",
        "No class of work is registered",
        "No policy is active",
        "No baseline model is set",
        "No eval",
    ):
        assert said in html, said
    view = shown()
    assert (view.saving, view.spend_before_usd, view.change) == (None, None, None)
    assert view.unregistered_usd == Decimal("11.00")


def test_usage_with_classes_but_no_evals() -> None:
    world.people()
    for build in (world.organisation, world.models, world.prices, world.classes, world.usage):
        build()
    view = shown()
    assert (view.standing.no_evidence, view.standing.holding) == (2, 0)
    assert {(line.verdict, line.lower, line.value) for line in view.classes} == {("no_evidence", None, None)}
    assert all(week.quality.value is None for series in view.tiers for week in series.weeks)


def test_what_has_no_price_is_said_and_never_zero(client: Client) -> None:
    people = world.whole()
    world.use(world.TODAY - timedelta(days=1), "claude-lab-1", "triage", 5, (600_000, 400_000))
    bump_data_version()
    view = shown()
    assert (view.unpriced_tok, view.unpriced_models) == (1_000_000, ("claude-lab-1",))
    assert view.spend_usd == Decimal("30.80")
    triage = next(line for line in view.classes if line.slug == "triage")
    assert (triage.unpriced_tok, triage.change) == (1_000_000, None)
    assert view.days[-1].by_tier["other"] is None
    client.force_login(people["vic"])
    html = text_of(client)
    assert "1 M tokens are unpriced (1 model)" in html
    assert "model claude-lab-1 has no prices" in html.lower()


def test_unclassified_usage_is_part_of_the_spend_and_named(client: Client) -> None:
    people = world.whole()
    world.use(world.TODAY - timedelta(days=1), world.HAIKU, "", 5, (1_000_000, 0))
    bump_data_version()
    view = shown()
    assert view.spend_usd == Decimal("31.80")
    assert (view.unclassified.tokens, view.unclassified.cost_usd) == (1_000_000, Decimal("1.00"))
    client.force_login(people["vic"])
    assert "Unclassified" in text_of(client)


def test_no_price_at_all_is_not_a_spend_of_nothing(client: Client) -> None:
    people = world.whole()
    Price.objects.all().delete()
    bump_data_version()
    client.force_login(people["vic"])
    html = text_of(client)
    assert "No usage in this period has a price." in html
    assert shown().unpriced_tok == 28 * (230_000 + 90_000)


def test_days_that_no_usage_reaches_are_said(client: Client, settings: Any) -> None:
    people = world.whole()
    settings.COSTGOV_AS_OF = world.AS_OF + timedelta(days=5)
    client.force_login(people["vic"])
    html = text_of(client)
    assert "No usage is imported after 22 Nov 2026: 5 of the last 28 days are empty" in html


def test_weeks_are_counted_back_from_the_last_day_with_usage() -> None:
    world.whole()
    later = world.AS_OF + timedelta(days=5)
    view = overview(as_of=later, start=START, end=later.date())
    assert {series.weeks[-1].end for series in view.tiers} == {world.TODAY}
    assert (view.missing_days, view.days[-1].total_usd) == (5, None)


def test_the_address_holds_the_period(client: Client) -> None:
    client.force_login(world.whole()["vic"])
    html = text_of(client, "/?days=28")
    assert 'href="?days=28" aria-current="true"' in html
    html = text_of(client, "/?from=2026-11-01&to=2026-11-14")
    assert "1–14 Nov 2026" in html
    assert 'aria-current="true"' not in html


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("days=27", "?days=27 is not known here"),
        ("days=", "?days= is not known here"),
        ("from=yesterday", "?from=yesterday is not a date"),
        ("from=2026-11-20&to=2026-11-01", "swap them"),
        ("to=2026-11-23", "is not over yet"),
        ("from=2020-01-01", "choose a shorter period"),
        ("dayz=28", "?dayz is not a parameter of this page"),
    ],
)
def test_an_address_that_cannot_be_read_is_refused_in_words(client: Client, query: str, said: str) -> None:
    client.force_login(world.whole()["vic"])
    assert said in text_of(client, f"/?{query}", status=400)


def test_a_warm_page_asks_the_database_little(client: Client, django_assert_max_num_queries: Any) -> None:
    client.force_login(world.whole()["vic"])
    text_of(client)
    # user, organisation, roles, changes in review, open work items; the data version for the page and for the badge of
    # data health, which also asks for the newest import
    with django_assert_max_num_queries(8):
        text_of(client)


def test_a_change_of_data_shows_at_once(client: Client) -> None:
    client.force_login(world.whole()["vic"])
    assert "every class holds its bar" in text_of(client)
    world.evals("triage", world.HAIKU, 100, 200, world.AS_OF - timedelta(days=1), version="2")
    assert EvalImport.objects.count() == 5
    html = text_of(client)
    assert "1 of 2 classes is shown to hold its bar" in html
    assert "Ticket triage is below its bar" in html
