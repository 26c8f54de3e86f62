"""Requests of a time without a policy go by the mapping of their workspace and key, as reports do.

Else an organisation that has logs without class tags could never draft its first policy from what it measured.
"""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from billing.models import DailyUsage
from costgov.operations.usage import import_usage, reclassify
from routing.operations.classes import map_usage
from tests.costgov.test_usage_classes import (
    AS_OF,
    NOON,
    at,
    labels,
    people,
    policy,
    put_in_force,
    register,
    spent_by_class,
)
from tests.importers.usage.envelopes import envelope, payload, write_lines

pytestmark = pytest.mark.django_db
__all__ = ["people"]
MIDNIGHT = datetime(2026, 11, 10, tzinfo=UTC)


@pytest.fixture(autouse=True)
def var(settings: Any, tmp_path: Path) -> None:
    settings.COSTGOV_VAR = tmp_path / "var"
    settings.COSTGOV_VAR.mkdir()


def log(folder: Path, *rows: dict[str, Any]) -> None:
    import_usage(actor=None, path=write_lines(folder / "log.jsonl", rows), as_of=AS_OF)


def test_a_mapping_reaches_requests_while_no_policy_was_in_force(people: Any, tmp_path: Path) -> None:
    register("hit", "miss", "mapped", "tagged")
    map_usage(actor=None, slug="mapped", api_key="apikey_a", as_of=AS_OF)
    version = put_in_force(people, policy("triage"), NOON)
    log(
        tmp_path,
        envelope(1, at(NOON - timedelta(seconds=1)), tags={"feature": "triage"}),
        envelope(2, at(NOON - timedelta(seconds=1)), tags={"request_class": "tagged"}),
        envelope(3, at(NOON - timedelta(seconds=1)), api_key_id="apikey_b"),
        envelope(4, at(NOON), tags={"feature": "triage"}),
        envelope(5, at(NOON)),
        envelope(6, at(NOON - timedelta(seconds=1)), decision={"class": "gone", "version": 2}),
    )
    assert labels() == {
        "req_000001": ("mapped", "mapping", "", 0),
        "req_000002": ("tagged", "tag", "", 0),
        "req_000003": ("", "none", "", 0),
        "req_000004": ("hit", "policy", "only", version),
        "req_000005": ("miss", "policy", "", version),  # its default class: a policy leaves nothing to mappings
        "req_000006": ("gone", "decision", "", 0),
    }


def test_a_mapping_holds_for_its_days_and_the_most_specific_wins(tmp_path: Path) -> None:
    register("by_key", "by_workspace", "elsewhere")
    map_usage(actor=None, slug="by_workspace", workspace="wrkspc_a", as_of=AS_OF)
    map_usage(
        actor=None,
        slug="by_key",
        api_key="apikey_a",
        valid_from=MIDNIGHT.date(),
        valid_to=date(2026, 11, 11),
        as_of=AS_OF,
    )
    map_usage(actor=None, slug="elsewhere", channel="bedrock", workspace="wrkspc_c", as_of=AS_OF)
    log(
        tmp_path,
        envelope(1, at(MIDNIGHT - timedelta(milliseconds=1))),
        envelope(2, at(MIDNIGHT)),
        envelope(3, at(MIDNIGHT + timedelta(days=1, milliseconds=-1))),
        envelope(4, at(MIDNIGHT + timedelta(days=1))),
        envelope(5, at(MIDNIGHT), workspace_id="wrkspc_c", api_key_id="apikey_c"),  # the facts tell no channel
    )
    assert {name: row[0] for name, row in labels().items()} == {
        "req_000001": "by_workspace",
        "req_000002": "by_key",
        "req_000003": "by_key",
        "req_000004": "by_workspace",
        "req_000005": "",
    }
    days = DailyUsage.objects.order_by("date", "request_class").values_list("date", "request_class", "output_tok")
    assert [(day.day, name, count) for day, name, count in days] == [
        (9, "by_workspace", 10),
        (10, "", 10),
        (10, "by_key", 20),
        (11, "by_workspace", 10),
    ]


def test_usage_imported_before_its_mapping_is_reached_by_classifying_again(tmp_path: Path) -> None:
    log(tmp_path, envelope(1, at(NOON)), envelope(2, at(NOON), api_key_id="apikey_b"))
    register("hit")
    map_usage(actor=None, slug="hit", api_key="apikey_a", as_of=AS_OF)
    assert spent_by_class() == {"": 20}
    assert reclassify(actor=None, as_of=AS_OF) == (1, 0)
    assert spent_by_class() == {"hit": 10, "": 10}
    assert reclassify(actor=None, as_of=AS_OF) == (0, 0)


def test_classifying_again_under_a_policy_leaves_nothing_to_mappings(people: Any, tmp_path: Path) -> None:
    register("hit", "miss", "mapped")
    map_usage(actor=None, slug="mapped", api_key="apikey_a", as_of=AS_OF)
    log(tmp_path, envelope(1, at(NOON - timedelta(hours=1))))
    assert spent_by_class() == {"mapped": 10}
    put_in_force(people, policy("triage"), NOON)
    assert spent_by_class() == {"mapped": 10}  # later activations change no label
    assert reclassify(actor=None, as_of=AS_OF) == (1, 0)
    assert spent_by_class() == {"miss": 10}


def test_a_gateway_s_log_goes_by_the_name_of_its_key(tmp_path: Path) -> None:
    register("hit")
    row = payload(1, NOON.timestamp())
    log(tmp_path, row)
    key = DailyUsage.objects.get().api_key
    assert key
    map_usage(actor=None, slug="hit", api_key=key, as_of=AS_OF)
    assert reclassify(actor=None, as_of=AS_OF) == (1, 0)
    assert set(spent_by_class()) == {"hit"}
