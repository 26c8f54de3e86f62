"""Savings where part or all of the spend has no class, and where quality costs money: said, never 0 or negative."""

from collections.abc import Iterator
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
from costgov.queries.savings import savings
from tests.costgov import small_world as world

REMEDY = "Map workspaces or API keys to classes on the Classes page, then classify again."
UNKNOWN = (
    "What can be saved is not known: no registered class has usage with a figure in these 28 days, "
    f"and of $49.00 spent $49.00 is unclassified. {REMEDY}"
)


@pytest.fixture(autouse=True)
def organisation(db: Any, settings: Any) -> Iterator[None]:
    cache.clear()
    settings.COSTGOV_AS_OF = world.AS_OF
    world.organisation()
    world.models()
    world.prices()
    world.classes()
    yield
    cache.clear()


@pytest.fixture
def viewer() -> Client:
    client = Client()
    client.force_login(world.people()["vic"])
    return client


def use(model: str, request_class: str) -> None:
    """28 days of 100 requests: 49.00 usd on opus, 9.80 on haiku."""
    for back in range(28, 0, -1):
        world.use(world.TODAY - timedelta(days=back), model, request_class, 100, (200_000, 30_000))
    bump_data_version()


def told(*words: str) -> str:
    out = StringIO()
    call_command("savings", *words, stdout=out)
    return out.getvalue()


def answered(client: Client) -> Any:
    answer = client.get("/api/v1/savings").json()
    assert orjson.loads(told("--json")) == answer
    return answer


def test_spend_without_a_class_makes_savings_unknown_on_the_page(viewer: Client) -> None:
    use(world.OPUS, "")
    said = viewer.get("/savings/").content.decode()
    assert UNKNOWN in said
    assert "Nothing more can be saved" not in said and "$0" not in said


def test_spend_without_a_class_makes_savings_unknown_for_the_command() -> None:
    use(world.OPUS, "")
    said = told()
    assert UNKNOWN in said.splitlines()
    assert "28d: not known" in said.splitlines() and "0.00 usd" not in said


def test_spend_without_a_class_makes_savings_null_in_the_api(viewer: Client) -> None:
    use(world.OPUS, "")
    found = answered(viewer)
    assert (found["kinds"], found["waterfall"]) == (None, None)
    scope = found["scope"]
    assert (scope["is_known"], scope["note"]) == (False, UNKNOWN)
    assert Decimal(scope["unclassified_usd"]) == Decimal(scope["spend_usd"]) == Decimal("49.00")


def test_spend_without_a_class_makes_the_bill_of_a_draft_unknown(viewer: Client) -> None:
    use(world.OPUS, "")
    draft = viewer.get("/policies/draft/").content.decode()
    assert UNKNOWN in draft and "Today's bill is" not in draft and "$0" not in draft
    policies = viewer.get("/policies/").content.decode()
    assert UNKNOWN in policies and "Today's bill is" not in policies and "$0" not in policies


def test_labels_that_are_no_class_and_no_spend_at_all() -> None:
    assert savings(as_of=world.AS_OF).scope.note == (
        "What can be saved is not known: no registered class has usage with a figure in these 28 days. "
        "Register classes on the Classes page and import their usage."
    )
    use(world.OPUS, "other")
    assert savings(as_of=world.AS_OF).scope.note.endswith(
        "and of $49.00 spent $49.00 carries labels that are no registered class. "
        "Register the labels as classes on the Classes page."
    )


def test_part_of_the_spend_without_a_class_is_said_everywhere(viewer: Client) -> None:
    use(world.OPUS, "triage")
    use(world.HAIKU, "")
    note = f"The savings are of $49.00, 83.3% of the $58.80 spent in these 28 days: $9.80 is unclassified. {REMEDY}"
    assert note in viewer.get("/savings/").content.decode()
    assert note in viewer.get("/policies/draft/").content.decode()
    assert note in told().splitlines()
    found = answered(viewer)
    assert found["scope"]["note"] == note and found["kinds"] is not None


def test_restored_quality_is_a_row_of_its_own_and_no_negative_saving(viewer: Client) -> None:
    """Haiku serves 2,800 requests below the bar for 9.80; opus, the only one that clears, costs 49.00 in 28 days."""
    use(world.HAIKU, "triage")
    world.evals("triage", world.HAIKU, 100, 200, world.AS_OF - timedelta(days=5))
    world.evals("triage", world.OPUS, 199, 200, world.AS_OF - timedelta(days=5))
    kinds = savings(as_of=world.AS_OF).kinds
    assert kinds is not None
    (row,) = kinds.quality
    assert (row.request_class, row.move, row.incumbent, row.model) == (
        "triage", "restore_quality", world.HAIKU, world.OPUS
    )  # fmt: skip
    assert kinds.quality_usd == row.cost_usd_per_month > 0
    assert kinds.proven_usd == kinds.unproven_usd == 0 and not kinds.unproven
    assert kinds.proven_usd + kinds.unproven_usd + kinds.decided_usd - kinds.quality_usd == kinds.total_usd
    said = viewer.get("/savings/").content.decode()
    assert "What quality costs" in said and f"${kinds.quality_usd}" in said and "restores quality" in said
    line = next(line for line in told().splitlines() if line.startswith("  for quality: "))
    assert line.startswith(f"  for quality: triage to {world.OPUS}: costs {kinds.quality_usd} usd; ")
    found = answered(viewer)["kinds"]
    assert found["quality"][0]["move"] == "restore_quality" and Decimal(found["unproven_usd"]) == 0


def test_an_unpriced_model_is_named_where_the_saving_is_not_known() -> None:
    use(world.OPUS, "triage")
    world.use(world.TODAY - timedelta(days=3), "acme-large", "triage", 5, (1_000, 10))
    bump_data_version()
    (row,) = savings(as_of=world.AS_OF).shown.unknown
    assert row.reason == "part of its usage on acme-large is unpriced: see the Prices page"
