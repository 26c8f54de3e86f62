"""What `recommend` says where there is nothing to recommend: which part is missing, and where to add it."""

from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import orjson
import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from audit.operations import bump_data_version
from billing.models import ModelRelease, Price
from tests.costgov import small_world as world

NO_USAGE = "no counted usage from 26 Oct to 22 Nov 2026: import its usage, or map the API keys that are its own"
NO_BASELINE = "No baseline model is set: choose one in Settings (savings are counted against it)."


@pytest.fixture
def viewer(db: Any, settings: Any) -> Client:
    cache.clear()
    settings.COSTGOV_AS_OF = world.AS_OF
    client = Client()
    client.force_login(world.people()["vic"])
    return client


def told(*words: str) -> str:
    bump_data_version()
    out = StringIO()
    call_command("recommend", *words, stdout=out)
    return out.getvalue()


def refused(capsys: Any, *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        call_command("recommend", *words)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    return str(said.err).strip()


def unsolved(client: Client) -> dict[str, str]:
    """The reasons of API and command, which are one document."""
    bump_data_version()
    answer = client.get("/api/v1/recommendation").json()
    assert orjson.loads(told("--json")) == answer
    return {row["request_class"]: row["reason"] for row in answer["unsolved"]}


def test_an_empty_database(viewer: Client, capsys: Any) -> None:
    assert refused(capsys) == NO_BASELINE
    assert refused(capsys, "--baseline", world.OPUS) == (
        f"Baseline model '{world.OPUS}' is not known: choose one listed on the Prices page."
    )
    answer = viewer.get("/api/v1/recommendation")
    assert (answer.status_code, answer.json()["error"]["message"]) == (409, NO_BASELINE)
    assert "No baseline model is set" in viewer.get("/savings/").content.decode()


def test_a_baseline_and_no_class(viewer: Client) -> None:
    world.organisation()
    world.models()
    assert told().splitlines()[1:] == [
        "Nothing is recommended: no class is registered. Register one on the Classes page, or import evals with "
        "--create-classes."
    ]
    assert unsolved(viewer) == {}


def test_classes_without_usage_and_one_with(viewer: Client) -> None:
    world.organisation()
    world.models()
    world.prices()
    world.classes()
    assert told().splitlines()[1:] == [
        "Nothing is recommended:",
        f"not solved: drafting: {NO_USAGE}",
        f"not solved: triage: {NO_USAGE}",
    ]
    world.use(world.TODAY - timedelta(days=29), world.OPUS, "triage", 100, (200_000, 30_000))  # before the window
    assert unsolved(viewer) == {"drafting": NO_USAGE, "triage": NO_USAGE}
    world.use(world.TODAY - timedelta(days=28), world.OPUS, "triage", 100, (200_000, 30_000))  # its first day
    assert unsolved(viewer) == {"drafting": NO_USAGE}
    lines = told().splitlines()
    assert any(line.startswith("triage ") for line in lines) and f"not solved: drafting: {NO_USAGE}" in lines
    page = viewer.get("/classes/drafting/").content.decode()
    assert f"Nothing is recommended for this class: {NO_USAGE}" in page


def test_usage_on_a_model_without_a_price(viewer: Client) -> None:
    world.organisation()
    world.models()
    world.prices()
    world.classes()
    day = world.TODAY - timedelta(days=3)
    world.use(day, world.OPUS, "triage", 100, (200_000, 30_000))
    world.use(day, "acme-large", "triage", 5, (1_000, 10))
    reason = "part of its usage is unpriced: acme-large has no price. Add it on the Prices page"
    assert unsolved(viewer)["triage"] == reason
    assert f"not solved: triage: {reason}" in told().splitlines()
    assert f"Nothing is recommended for this class: {reason}" in viewer.get("/classes/triage/").content.decode()
    world.use(day, "acme-small", "triage", 5, (1_000, 10))
    assert unsolved(viewer)["triage"].startswith("part of its usage is unpriced: acme-large, acme-small have no price.")


def test_usage_with_a_price_for_all_but_its_searches(viewer: Client) -> None:
    world.organisation()
    world.models()
    world.prices()
    world.classes()
    world.use(world.TODAY - timedelta(days=3), world.OPUS, "triage", 100, (200_000, 30_000), web_searches=9)
    assert unsolved(viewer)["triage"] == (
        "part of its usage is unpriced: the Prices page says which, add what is missing there"
    )


def test_a_baseline_model_without_a_price(viewer: Client) -> None:
    """What serves has one; the model everything is counted against has none."""
    world.organisation()
    world.models()
    world.prices()
    world.classes()
    world.use(world.TODAY - timedelta(days=3), world.HAIKU, "triage", 100, (200_000, 30_000))
    Price.objects.filter(model=world.OPUS).delete()
    assert unsolved(viewer)["triage"] == f"{world.OPUS} has no price: add one on the Prices page"


def test_a_candidate_without_a_price_is_named_and_stops_nothing(viewer: Client) -> None:
    world.organisation()
    world.models()
    world.prices()
    world.classes()
    ModelRelease.objects.create(canonical_id="claude-new", display_name="Claude New", tier="fast", is_allowed=True)
    world.use(world.TODAY - timedelta(days=3), world.OPUS, "triage", 100, (200_000, 30_000))
    world.evals("triage", world.OPUS, 200, 200, world.AS_OF - timedelta(days=5))
    world.evals("triage", "claude-new", 200, 200, world.AS_OF - timedelta(days=5))
    assert "triage" not in unsolved(viewer)
    (row,) = viewer.get("/api/v1/recommendation").json()["classes"]
    (option,) = [each for each in row["options"] if each["model"] == "claude-new"]
    assert (option["unit_cost_usd"], option["is_admissible"]) == (None, False)
    assert option["reason"] == option["cost_source"] == "claude-new has no price: add one on the Prices page"
    assert Decimal(row["steps"]["recommended_cost_usd"]) == Decimal("1.75")
    assert "claude-new has no price: add one on the Prices page" in told("--json")


def test_unknown_levers(viewer: Client, capsys: Any) -> None:
    world.organisation()
    world.models()
    assert refused(capsys, "--levers", "routing,magic") == (
        "--levers routing,magic: unknown magic; use some of routing, caching, batch"
    )
    assert refused(capsys, "--levers", ",") == "--levers ,: names no lever; use some of routing, caching, batch"
