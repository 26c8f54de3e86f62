"""The list of classes and the page of one, on figures a reader can add up (tests/costgov/small_world.py)."""

import json
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from audit.operations import bump_data_version
from costgov.jsonout import dumps
from costgov.queries.class_lines import ClassLine, class_lines
from costgov.queries.class_page import ClassPage, UnknownClass, class_page
from costgov.queries.recommendation import per_month, recommendation_view
from costgov.templatetags.costgov_class import lever_scale, whisker_axis
from costgov.views.classes import sorted_lines
from routing.models import RequestClass, WorkItem
from routing.operations.bars import set_bar
from routing.operations.verdict_records import record_verdicts
from tests.costgov import small_world as world
from tests.costgov.page_checks import problems

pytestmark = pytest.mark.django_db
START = world.TODAY - timedelta(days=56)


@pytest.fixture(autouse=True)
def _frozen(settings: Any) -> None:
    settings.COSTGOV_AS_OF = world.AS_OF
    cache.clear()  # a rolled back test leaves figures of a data version that the next one reaches again


def shown(slug: str = "triage", start: date = START) -> ClassPage:
    return class_page(slug=slug, as_of=world.AS_OF, start=start, end=world.TODAY)


def text_of(client: Client, address: str, status: int = 200) -> str:
    answer = client.get(address)
    assert answer.status_code == status, answer.content.decode()[:2000]
    html = answer.content.decode()
    assert problems(html) == []
    return html


# -- one class -----------------------------------------------------------------------------------------------------


def test_candidates_with_cost_verdict_and_role() -> None:
    world.whole()
    haiku, opus = shown().candidates
    assert (haiku.model, haiku.role, haiku.unit_cost_usd) == (world.HAIKU, "incumbent", Decimal("0.0035"))
    assert (haiku.measured, haiku.verdict.status, haiku.relative_cost) == ("measured", "clears", None)
    assert (haiku.now_usd, opus.now_usd) == (Decimal("0.0035"), None)
    assert (opus.model, opus.measured, opus.is_admissible) == (world.OPUS, "measured in evals", True)
    # The tokens of the evals are the same on both: 2,000 × 5 + 300 × 25 against 2,000 × 1 + 300 × 5.
    assert opus.unit_cost_usd == Decimal("0.0175")
    assert opus.relative_cost == pytest.approx(4.0)


def test_drafting_is_moved_to_nothing_because_the_cheaper_model_falls_short() -> None:
    world.whole()
    view = shown("drafting")
    assert view.advice is not None
    assert (view.advice.move, view.advice.target) == ("keep", world.SONNET)
    haiku = next(row for row in view.candidates if row.model == world.HAIKU)
    assert (haiku.is_admissible, haiku.verdict.status, haiku.saving_usd) == (False, "falls_short", None)
    assert haiku.saving_if_shown_usd is None


def test_costs_are_those_of_the_recommendation() -> None:
    world.whole()
    view = shown()
    advised = recommendation_view(as_of=world.AS_OF).row("triage")
    assert advised is not None
    assert view.advice == advised
    assert view.cost_usd_per_month == per_month(Decimal("9.80"))  # 9.80 × 30.4375 ÷ 28
    assert view.recommended_usd_per_month == per_month(advised.steps.recommended_cost_usd)


def test_history_by_day_and_week() -> None:
    world.whole()
    view = shown()
    assert len(view.days) == 56
    assert (view.days[0].requests, view.days[0].total_usd) == (100, Decimal("1.75"))
    assert view.days[0].by_model == {world.OPUS: Decimal("1.75"), world.HAIKU: Decimal(0)}
    assert view.days[-1].total_usd == Decimal("0.35")
    assert [week.model for week in view.weeks] == [world.OPUS] * 3 + [world.HAIKU] * 5
    assert view.weeks[0].pass_rate == pytest.approx(0.99)
    assert view.weeks[-1].lower == pytest.approx(0.93925, abs=1e-5)
    assert [(row.mark.on, row.target) for row in view.policies] == [(date(2026, 10, 19), world.HAIKU)]


def test_shares_of_models_and_tokens_of_a_request() -> None:
    world.whole()
    (haiku,) = shown().models
    assert (haiku.requests, haiku.input_tok_each, haiku.output_tok_each) == (2800, 2000, 300)
    assert (haiku.cost_usd, haiku.share_of_spend) == (Decimal("9.80"), 1.0)


def test_evidence_mappings_and_what_waits() -> None:
    world.whole()
    world.evals("triage", world.HAIKU, 60, 60, world.AS_OF - timedelta(days=3), version="2")
    view = shown()
    assert [(row.suite, row.version, row.results, row.is_current) for row in view.suites] == [
        ("suite", "2", 60, True),
        ("suite", "1", 400, False),
    ]
    assert [(row.api_key, row.in_force) for row in view.mappings] == [("key-triage", True)]
    assert [change.title for change in view.waiting] == ["Change 2"]
    assert shown("drafting").waiting == ()


def test_levers_say_when_they_lose_money() -> None:
    world.whole()
    RequestClass.objects.filter(slug="triage").update(
        reuse={"prefix_share": 0.9, "hit_share_5m": 0.6, "hit_share_1h": 0.3, "source": "a guess"}, latency="batchable"
    )
    five, hour, batch = shown().levers
    assert (five.outcome, five.share_is, five.measured_share) == ("pays", "assumed", 0.6)
    assert five.break_even_share == pytest.approx(0.25 / 1.15)  # (w − 1)/(w − r) at 1.25 and 0.1
    # prefix 1,800 tokens of 2,000: 1.25 − 1.15 × 0.6 = 0.56 of its price; 0.0035 → 0.002708 a request on haiku
    assert five.saving_usd == per_month(2800 * Decimal("1800") * Decimal("0.44") / 10**6)
    assert (hour.outcome, hour.saving_usd) == ("loses", None)
    assert "loses money" in hour.reason
    assert (batch.outcome, batch.share_is, batch.measured_share) == ("pays", "planned", 1.0)


def test_the_cost_now_is_without_levers_nobody_uses_yet(client: Client) -> None:
    people = world.whole()
    RequestClass.objects.filter(slug="triage").update(latency="batchable")
    haiku, opus = shown().candidates
    # Nothing is sent in batch yet: 9.80 for 2,800 requests. In batch a request costs half, on Opus five times that.
    assert (haiku.now_usd, haiku.unit_cost_usd, haiku.relative_cost) == (Decimal("0.0035"), Decimal("0.00175"), -0.5)
    assert (opus.unit_cost_usd, opus.relative_cost) == (Decimal("0.00875"), 1.5)
    client.force_login(people["vic"])
    html = text_of(client, "/classes/triage/")
    assert "$0.00350" in html and "$0.00175 with levers that pay" in html
    assert "serves the class at $0.00350 each and stays, with caching and batch where they pay at $0.00175." in html


def test_a_class_without_usage_or_evidence() -> None:
    world.whole()
    RequestClass.objects.create(slug="quiet", title="Quiet")
    view = shown("quiet")
    assert (view.candidates, view.days, view.suites, view.advice, view.levers) == ((), (), (), None, ())
    assert view.no_advice == (
        "no counted usage from 26 Oct to 22 Nov 2026: import its usage, or map the API keys that are its own"
    )


def test_without_a_baseline_the_verdicts_are_still_shown(client: Client) -> None:
    people = world.whole()
    world.organisation(baseline="")
    bump_data_version()
    view = shown()
    assert view.advice is None
    assert [(row.model, row.verdict.status, row.unit_cost_usd) for row in view.candidates] == [
        (world.HAIKU, "clears", None),
        (world.OPUS, "clears", None),
    ]
    client.force_login(people["vic"])
    assert "No baseline model is set" in text_of(client, "/classes/triage/")


def test_unpriced_usage_of_a_class(client: Client) -> None:
    people = world.whole()
    world.use(world.TODAY - timedelta(days=1), "claude-lab-1", "triage", 5, (600_000, 400_000))
    bump_data_version()
    view = shown()
    assert (view.line.unpriced_tok, view.advice) == (1_000_000, None)
    assert view.days[-1].by_model["claude-lab-1"] is None
    client.force_login(people["vic"])
    assert "1 M tokens of this class have no price" in text_of(client, "/classes/triage/")


def test_stale_evidence_is_said(client: Client, settings: Any) -> None:
    people = world.whole()
    settings.COSTGOV_AS_OF = world.AS_OF + timedelta(days=60)
    client.force_login(people["vic"])
    assert "is stale: its newest case ran on" in text_of(client, "/classes/triage/")


def test_page(client: Client) -> None:
    client.force_login(world.whole()["vic"])
    html = text_of(client, "/classes/triage/")
    for said in (
        "Haiku 4-5 stays",
        "Change waiting",
        "Evals are made up.",
        "196 of 200",
        "key-triage",
        "$0.00350",
        "+400%, ",
        "must be <strong>shown</strong> to reach 93.0%",
        'href="/evals/triage/claude-haiku-4-5/"',
    ):
        assert said in html, said
    assert "Edit this class" not in html


def test_json_and_unknown_class(client: Client) -> None:
    people = world.whole()
    assert Decimal(json.loads(dumps(shown()))["candidates"][0]["unit_cost_usd"]) == Decimal("0.0035")
    with pytest.raises(UnknownClass, match="no class 'trage'"):
        shown("trage")
    client.force_login(people["vic"])
    assert "There is no class" in text_of(client, "/classes/trage/", status=404)


def test_title_and_note_are_escaped(client: Client) -> None:
    people = world.whole()
    RequestClass.objects.filter(slug="triage").update(title="<b>Triage", note="a <script>alert(1)</script>")
    bump_data_version()
    client.force_login(people["vic"])
    for address in ("/", "/classes/", "/classes/triage/"):
        html = text_of(client, address)
        assert "<b>Triage" not in html
        assert "<script>alert" not in html


@pytest.mark.parametrize("address", ["/classes/", "/classes/triage/"])
def test_reading_needs_a_log_in_and_no_role(client: Client, address: str) -> None:
    people = world.whole()
    assert client.get(address).headers["Location"] == f"/login/?next={address}"
    client.force_login(people["xen"])
    text_of(client, address)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/classes/?sort=price", "?sort=price is not a column"),
        ("/classes/?page=2", "?page is not a parameter of this page"),
        ("/classes/triage/?days=1", "?days=1 is not known here"),
        ("/classes/triage/?sort=title", "?sort is not a parameter"),
    ],
)
def test_an_address_that_cannot_be_read_is_refused_in_words(client: Client, address: str, said: str) -> None:
    client.force_login(world.whole()["vic"])
    assert said in text_of(client, address, status=400)


def test_warm_pages_ask_the_database_little(client: Client, django_assert_max_num_queries: Any) -> None:
    client.force_login(world.whole()["vic"])
    for address in ("/classes/", "/classes/triage/"):
        text_of(client, address)
        # user, organisation, roles, changes in review, open work items; the data version for the page and for the badge
        # of data health, which also asks for the newest import
        with django_assert_max_num_queries(8):
            text_of(client, address)


# -- the list ------------------------------------------------------------------------------------------------------


def test_list_searches_and_sorts_by_its_address(client: Client) -> None:
    client.force_login(world.whole()["vic"])
    html = text_of(client, "/classes/")
    assert html.index("Reply drafting") < html.index("Ticket triage")  # largest spend first
    html = text_of(client, "/classes/?sort=-title")
    assert html.index("Ticket triage") < html.index("Reply drafting")
    assert 'aria-sort="descending"' in html
    html = text_of(client, "/classes/?q=support+haiku")
    assert "1 of 2 classes" in html
    assert "Reply drafting" not in html
    assert "No class matches" in text_of(client, "/classes/?q=%3Cb%3E")


def test_empty_list(client: Client) -> None:
    client.force_login(world.people()["vic"])
    assert "No class yet" in text_of(client, "/classes/")


def test_unknown_values_sort_last_either_way() -> None:
    world.whole()
    drafting, triage = class_lines(as_of=world.AS_OF).lines
    quiet: ClassLine = replace(triage, slug="quiet", title="Quiet", spend_usd=None, value=None, model="")
    rows = [quiet, triage, drafting]
    assert [row.slug for row in sorted_lines(rows, "spend")] == ["triage", "drafting", "quiet"]
    assert [row.slug for row in sorted_lines(rows, "-spend")] == ["drafting", "triage", "quiet"]
    assert [row.slug for row in sorted_lines(rows, "rate")] == ["drafting", "triage", "quiet"]
    assert [row.slug for row in sorted_lines(rows, "title")] == ["quiet", "drafting", "triage"]


# -- drawings ------------------------------------------------------------------------------------------------------


def test_a_lever_says_its_share_and_where_it_pays() -> None:
    drawn = lever_scale("Caching", 0.29, 0.217, "assumed")
    assert 'aria-label="Caching: assumed 29.0%, pays above 22%"' in drawn
    assert "never pays" in lever_scale("Caching", 0.9, 1.2)
    assert lever_scale("Batch", None, None) == '<span class="mute">Not used</span>'


def test_ticks_of_the_whisker_axis_lie_on_round_figures() -> None:
    drawn = whisker_axis(0.8, 1.0, 210)
    assert [f"{n}%" in drawn for n in (80, 85, 90, 95, 100)] == [True] * 5
    assert whisker_axis(0.9, 1.0, 210).count("<text") == 3


# -- what the evidence asks for, and what it was -------------------------------------------------------------------


def test_the_page_shows_items_verdicts_bars_and_what_is_missing(client: Client) -> None:
    made = world.whole()
    record_verdicts(as_of=world.AS_OF)
    drafting = RequestClass.objects.get(slug="drafting")
    set_bar(actor=made["eva"], slug="drafting", facts={"bar": "0.92"}, reason="Customers complained", as_of=world.AS_OF)
    WorkItem.objects.create(request_class=drafting, model=world.HAIKU, kind="verdict_changed",
                            text="Haiku fell.", remedy="Look.", opened_at=world.AS_OF)  # fmt: skip
    view = class_page(slug="drafting", as_of=world.AS_OF, start=world.TODAY - timedelta(days=28), end=world.TODAY)
    assert [item.text for item in view.items] == ["Haiku fell."]
    assert {(change.model, change.status, change.cases) for change in view.verdicts} >= {
        (world.SONNET, "clears", 150), (world.HAIKU, "falls_short", 150),
    }  # fmt: skip
    assert view.bars[0].reason == "Customers complained" and view.bars[0].is_in_force
    client.force_login(made["eva"])
    html = text_of(client, "/classes/drafting/")
    assert problems(html) == []
    for words in ("1 open work item", "Haiku fell.", "Close it", "Verdicts over time", "Bars over time",
                  "Customers complained", "What is missing", "Cases that failed"):  # fmt: skip
        assert words in html, words
    order = [html.index(words) for words in ("1 open work item", "Models against the bar", "What is missing",
                                             "Requests, spend and quality", "Verdicts over time")]  # fmt: skip
    assert order == sorted(order)
    assert "Close it" not in text_of(_as(client, made["vic"]), "/classes/drafting/")


def test_the_page_before_a_verdict_was_written_down_knows_nothing_of_it(client: Client) -> None:
    world.whole()
    record_verdicts(as_of=world.AS_OF)
    earlier = world.AS_OF - timedelta(days=1)
    view = class_page(slug="drafting", as_of=earlier, start=world.TODAY - timedelta(days=28), end=world.TODAY)
    assert view.verdicts == ()


def _as(client: Client, user: Any) -> Client:
    client.force_login(user)
    return client
