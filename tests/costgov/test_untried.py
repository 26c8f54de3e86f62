"""A model that may serve but that nobody has tried is told where evidence is asked for, with what it could save."""

from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from audit.operations import bump_data_version
from billing.models import ModelRelease, Price
from costgov.queries.evidence_needed import evidence_needed, model_outlook
from tests.costgov import small_world as world


@pytest.fixture
def viewer(db: Any, settings: Any) -> Client:
    cache.clear()
    settings.COSTGOV_AS_OF = world.AS_OF
    world.organisation()
    world.models()
    world.prices()
    world.classes()
    world.usage()
    client = Client()
    client.force_login(world.people()["vic"])
    return client


NEW = "claude-haiku-5"


def place(*, is_allowed: bool = True) -> None:
    """A model at half of haiku's prices that nobody has used, planned or evaluated."""
    ModelRelease.objects.create(
        canonical_id=NEW, display_name="Claude Haiku 5", tier="fast", tokenizer_generation=1, is_allowed=is_allowed
    )
    for price in Price.objects.filter(model=world.HAIKU):
        price.pk, price.model, price.usd_per_unit = None, NEW, price.usd_per_unit / 2
        price.save()
    bump_data_version()


def test_its_sum_is_that_of_its_outlook_and_is_in_no_other_sum(viewer: Client) -> None:
    before = evidence_needed(as_of=world.AS_OF)
    assert before.untried == ()
    place()
    found = evidence_needed(as_of=world.AS_OF)
    outlook = model_outlook(model=NEW, as_of=world.AS_OF)
    assert (found.rows, found.total_usd) == (before.rows, before.total_usd)
    (row,) = found.untried
    assert (row.model, row.total_usd, row.classes) == (NEW, outlook.total_usd, outlook.to_evaluate)
    # triage on haiku: 2,800 × (2,000 × 1 + 300 × 5) / 1M = 9.80; drafting on sonnet: 1,400 × (1,000 × 3 + 800 × 15)
    # / 1M = 21.00. On the new model 4.90 and 3.50: 4.90 + 17.50 saved in 28 days, 5.33 + 19.02 a month.
    assert (row.total_usd, row.classes) == (Decimal("24.35"), 2)


def test_page_command_and_api_name_it(viewer: Client) -> None:
    place()
    text = viewer.get("/evidence-needed/").content.decode()
    assert f'<a href="/evidence-needed/{NEW}/">Haiku 5</a> (up to $24.35 a month in 2 classes)' in text
    out = StringIO()
    call_command("evidence_needed", stdout=out)
    assert f"{NEW}, up to 24.35 usd a month in 2 classes if it cleared; see --model {NEW}" in out.getvalue()
    (told,) = viewer.get("/api/v1/evidence-needed").json()["untried"]
    assert (told["model"], told["total_usd"]) == (NEW, "24.35")


def test_a_model_that_may_not_serve_is_not_named(viewer: Client) -> None:
    place(is_allowed=False)
    assert evidence_needed(as_of=world.AS_OF).untried == ()
