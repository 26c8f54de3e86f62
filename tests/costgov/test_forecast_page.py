"""The Forecast page: what each reader sees, the scenario in the address, keeping a forecast once."""

import pytest
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.test import Client

from audit.models import AuditEntry
from billing.models import Forecast
from costgov.models import User
from costgov.views.forecast import Asked, build_page, read_query
from tests.costgov import small_world as world
from tests.costgov.test_forecast import set_up

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _frozen(settings) -> None:
    settings.COSTGOV_AS_OF = world.AS_OF
    cache.clear()


def someone(role: str, client: Client) -> User:
    user = User.objects.create(username=f"the-{role}")
    user.groups.add(Group.objects.get(name=role))
    client.force_login(user)
    return user


def text(client: Client, path: str = "/forecast/", status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status
    return answer.content.decode()


def test_the_page_answers_first_and_says_it_is_an_estimate(client: Client) -> None:
    set_up(triage=world.OPUS)
    someone("viewer", client)
    page = text(client)
    assert "The next 12 months cost about" in page and "if everything ran on Opus 4-5" in page
    assert "8 futures of 10 land between" in page and "Estimate at list prices from usage to 22 Nov 2026" in page
    assert 'data-figure="figure-fan"' in page and "Show the medians and bands by month" in page
    assert "What this does not cover" in page and "Proven, not approved" in page
    assert "Keep this forecast" not in page  # a viewer may not
    assert " style=" not in page and "<script>" not in page


def test_the_scenario_is_in_the_address(client: Client) -> None:
    set_up()
    someone("viewer", client)
    page = text(client, "/forecast/?growth=stops&prices=cut&rollout=3&off=triage&months=24")
    assert (
        "all classes stop growing; list prices −33% from month 13; moves start 3 months later; without triage" in page
    )
    assert "Year 2" in page and "24 months" in page
    assert "<option selected>triage</option>" in page


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("months=7", "?months=7 is not known here; use one of 12, 24, 36"),
        ("off=nobody", "?off=nobody is no registered class"),
        ("grwoth=stops", "?grwoth is not a parameter of this page"),
    ],
)
def test_what_the_address_may_not_say(client: Client, query: str, says: str) -> None:
    set_up()
    someone("viewer", client)
    assert says in text(client, f"/forecast/?{query}", status=400)


def test_keeping_a_forecast_twice_keeps_one(client: Client) -> None:
    set_up()
    user = someone("procurement", client)
    assert "Keep this forecast" in text(client)
    for _ in range(2):
        answer = client.post("/forecast/?growth=stops", follow=True)
        assert answer.redirect_chain == [("/forecast/?growth=stops", 302)]
        assert "is kept with its sample paths, from usage to 22 Nov 2026" in answer.content.decode()
    made = Forecast.objects.get()
    assert made.scenario["name"] == "growth-stops" and made.created_by_id == user.pk
    assert AuditEntry.objects.filter(action="forecast.made").count() == 1
    assert f"Kept as forecast {made.pk}" in text(client, "/forecast/?growth=stops")
    assert "Keep this forecast" in text(client)  # the base scenario is another forecast


def test_a_viewer_may_not_keep_one(client: Client) -> None:
    set_up()
    someone("viewer", client)
    assert client.post("/forecast/").status_code == 403
    assert not Forecast.objects.exists()


def test_without_usage_the_page_says_what_to_do(client: Client) -> None:
    world.organisation()
    someone("engineer", client)
    page = text(client)
    assert "There is no usage yet: import usage first." in page and "Import usage" in page
    assert "Size a commitment" not in page


def test_without_a_baseline_the_page_leads_to_the_settings(client: Client) -> None:
    set_up()
    world.organisation(baseline="")
    someone("engineer", client)
    page = text(client)
    assert "No baseline model is set" in page
    assert "A forecast needs a baseline model" in page and "Open the settings" in page and "Import usage" not in page


def test_a_short_history_says_how_much_is_missing(client: Client) -> None:
    set_up(evals=False, days=5)
    someone("engineer", client)
    assert "A forecast needs at least 7 whole days of usage; 5 are imported." in text(client)


def test_keeping_what_cannot_be_made_says_why(client: Client) -> None:
    world.organisation()
    someone("engineer", client)
    answer = client.post("/forecast/", follow=True)
    assert "Not done" in answer.content.decode() and not Forecast.objects.exists()


def test_drawings_hold_the_figures_of_the_view(rf) -> None:
    set_up(triage=world.OPUS, days=150)
    asked: Asked = read_query(rf.get("/forecast/"))
    page = build_page(asked, world.AS_OF)
    assert page.view is not None and page.fan is not None and page.hindsight is not None
    medians = [trace["y"] for trace in page.fan["data"] if trace.get("name") == "Median"]
    assert medians == [[float(v) for v in policy.quantiles_usd["0.5"]] for policy in page.view.policies]
    assert len([trace for trace in page.fan["data"] if "fill" in trace]) == 3 * 2  # 80 % and 95 %
    assert len([shape for shape in page.fan["layout"]["shapes"] if shape["x0"] == "2026-11-22"]) == 3
    assert len(page.hindsight_rows) == len(page.view.hindsight) == 2
    assert [row[-1] for row in page.fan_rows].count("estimate") == 12
    assert "52 weeks ahead could not be tried yet" in page.few_tries
    assert page.years[-1].optimised == page.view.optimised.total
    assert len(page.alternatives) == 3
