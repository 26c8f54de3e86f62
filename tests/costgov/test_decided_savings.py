"""A saving that the policy in force brings already is not claimed a second time."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client

from audit.operations import bump_data_version
from billing.models import DailyUsage
from costgov.queries.overview import overview
from costgov.queries.recommendation import recommendation_view
from tests.costgov import small_world as world

TODAY = world.AS_OF.date()
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def frozen(settings) -> None:
    settings.COSTGOV_AS_OF = world.AS_OF


@pytest.fixture
def people():
    """Triage ran on Opus for all of the window; Haiku clears and is recommended."""
    made = world.people()
    world.organisation()
    world.models()
    world.prices()
    world.classes()
    world.usage()
    DailyUsage.objects.filter(request_class="triage").update(model=world.OPUS)
    world.evals("triage", world.HAIKU, 196, 200, world.AS_OF - timedelta(days=40))
    bump_data_version()
    return made


def put_in_force(people, *, mode: str = "enforce") -> None:
    targets = {
        slug: {"target": {"model": model}} for slug, model in (("triage", world.HAIKU), ("drafting", world.SONNET))
    }
    world.policy(people["eva"], 1, targets, world.AS_OF - timedelta(hours=1), active=True, mode=mode)


def test_before_the_activation_it_is_available(people) -> None:
    saving = overview(as_of=world.AS_OF, start=TODAY - timedelta(days=90), end=TODAY).saving
    assert saving is not None and saving.moves == 1 and saving.decided_usd == 0
    row = recommendation_view(as_of=world.AS_OF).row("triage")
    assert row is not None and not row.is_in_force
    assert saving.usd_per_month == row.saving_usd_per_month == Decimal("42.61")  # 39.20 x 30.4375 / 28


def test_right_after_it_nothing_is_left_and_the_pages_say_why(client: Client, people) -> None:
    put_in_force(people)
    saving = overview(as_of=world.AS_OF, start=TODAY - timedelta(days=90), end=TODAY).saving
    assert saving is not None
    assert (saving.usd_per_month, saving.moves, saving.decided_usd) == (Decimal(0), 0, Decimal("42.61"))
    client.force_login(people["vic"])
    page = client.get("/").content.decode()
    assert "can be saved" not in page
    assert "<strong>$43</strong> more is decided: the policy in force saves it" in page
    page = client.get("/classes/triage/").content.decode()
    assert "is in force, and stays" in page
    assert "the same requests cost about <strong>$11</strong>" in page


def test_a_policy_that_only_observes_decides_nothing(people) -> None:
    put_in_force(people, mode="observe")
    saving = overview(as_of=world.AS_OF, start=TODAY - timedelta(days=90), end=TODAY).saving
    assert saving is not None and (saving.usd_per_month, saving.decided_usd) == (Decimal("42.61"), Decimal(0))
