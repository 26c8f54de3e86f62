"""The register of classes: bars no sample can show are refused, every change is audited, mappings have days."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from audit.models import AuditEntry
from audit.roles import Forbidden
from routing.models import ClassMapping, RequestClass
from routing.operations.classes import ClassRefused, map_usage, save_class, unmap_usage
from routing.queries.classes import class_mappings

pytestmark = pytest.mark.django_db
AS_OF = datetime(2026, 11, 24, tzinfo=UTC)


def save(slug: str = "triage", actor=None, **facts):
    return save_class(actor=actor, slug=slug, facts={"title": "Triage", **facts}, as_of=AS_OF)


def latest() -> Any:
    return AuditEntry.objects.latest("pk")


def user(role: str):
    found = get_user_model().objects.create_user(f"{role}-1")
    found.groups.add(Group.objects.get(name=role))
    return found


def test_a_class_is_registered_with_the_default_bar():
    row = save()
    assert (row.bar, row.tolerance, row.alpha, row.max_age_days) == (
        Decimal("0.95"), Decimal("0.02"), Decimal("0.05"), 90,
    )  # fmt: skip
    entry = latest()
    assert (entry.action, entry.before, entry.after["bar"]) == ("class.registered", None, "0.950000")


def test_a_changed_bar_is_audited_with_both_values_and_the_same_again_is_not():
    save()
    save(bar=Decimal("0.90"))
    entry = latest()
    assert (entry.action, entry.before["bar"], entry.after["bar"]) == ("class.changed", "0.950000", "0.900000")
    save(bar=Decimal("0.9"), tolerance="0.02")
    assert AuditEntry.objects.count() == 2


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"bar": Decimal(1)}, "the bar is 1: it must be above 0 and below 1; no sample can show a bar of 1"),
        ({"bar": Decimal(0)}, "the bar is 0"),
        ({"tolerance": Decimal("0.95")}, "the tolerance is 0.95: it must be at least 0 and below the bar"),
        ({"tolerance": Decimal("-0.01")}, "the tolerance is -0.01"),
        ({"bar": "high"}, "triage: "),
        ({"alpha": Decimal(0)}, "alpha"),
        ({"batchable_share": Decimal("1.5")}, "batchable"),
        ({"latency": "slow"}, "latency"),
        ({"reuse": []}, "reuse is []"),
        ({"reuse": {"hit_share_5m": 1.5}}, "reuse.hit_share_5m is 1.5: it is a share, from 0 to 1"),
        ({"reuse": {"prefix_tok": -1}}, "reuse.prefix_tok is -1"),
        ({"reuse": {"prefix_share": "much"}}, "reuse.prefix_share is 'much': give a number"),
        ({"reuse": {"prefix_share": "NaN"}}, "give a finite number"),
        ({"colour": "red"}, "unknown facts colour; known are title,"),
        ({"title": ""}, "title"),
    ],
)
def test_impossible_facts_are_refused_and_nothing_is_saved(facts, words):
    with pytest.raises(ClassRefused) as caught:
        save(**facts)
    assert words in str(caught.value)
    assert not RequestClass.objects.exists() and not AuditEntry.objects.exists()


@pytest.mark.parametrize("slug", ["", "Triage", "1st", "a b", "x" * 65])
def test_ids_that_cannot_be_written_everywhere_are_refused(slug):
    with pytest.raises(ClassRefused, match="slug"):
        save(slug)


@pytest.mark.parametrize("role", ["procurement", "viewer"])
def test_procurement_and_viewers_change_no_bar(role):
    save()
    with pytest.raises(Forbidden, match="edit classes"):
        save(actor=user(role), bar=Decimal("0.5"))
    assert RequestClass.objects.get().bar == Decimal("0.95")


@pytest.mark.parametrize("role", ["engineer", "admin"])
def test_engineers_and_admins_do(role):
    save(actor=user(role))
    assert AuditEntry.objects.get().actor_name == f"{role}-1"


# -- mappings ------------------------------------------------------------------------------------------------------


def mapped(slug: str = "triage", **key):
    return map_usage(actor=None, slug=slug, as_of=AS_OF, **key)


def test_a_mapping_holds_on_its_days():
    save()
    mapped(api_key="key-1", valid_from=date(2026, 6, 1), valid_to=date(2026, 7, 1))
    (row,) = class_mappings()
    assert [row.covers("anthropic", "w", "key-1", date(2026, 6, day)) for day in (1, 30)] == [True, True]
    assert not row.covers("anthropic", "w", "key-1", date(2026, 5, 31))
    assert not row.covers("anthropic", "w", "key-1", date(2026, 7, 1))
    assert not row.covers("anthropic", "w", "key-2", date(2026, 6, 1))


def test_remapping_a_key_names_what_it_was():
    save()
    save("drafting")
    mapped(api_key="key-1")
    mapped("drafting", api_key="key-1")
    assert ClassMapping.objects.get().request_class.slug == "drafting"
    entry = latest()
    assert (entry.action, entry.before["class"], entry.after["class"]) == ("class.remapped", "triage", "drafting")
    count = AuditEntry.objects.count()
    mapped("drafting", api_key="key-1")
    assert AuditEntry.objects.count() == count, "the same again is no change"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ({}, "must name a channel, a workspace or an api key"),
        ({"api_key": "k", "valid_from": date(2026, 6, 2), "valid_to": date(2026, 6, 2)}, "ends on 2026-06-02"),
    ],
)
def test_impossible_mappings_are_refused(key, words):
    save()
    with pytest.raises(ClassRefused, match=words):
        mapped(**key)
    assert not ClassMapping.objects.exists()


def test_a_mapping_of_no_class_is_refused():
    with pytest.raises(ClassRefused, match="no such class is registered"):
        mapped("nope", api_key="k")


def test_a_mapping_is_taken_back():
    save()
    row = mapped(workspace="w-1")
    unmap_usage(actor=None, slug="triage", mapping_id=row.pk, as_of=AS_OF)
    assert not ClassMapping.objects.exists()
    entry = latest()
    assert (entry.action, entry.before["workspace"]) == ("class.unmapped", "w-1")
    with pytest.raises(ClassRefused, match="no mapping number"):
        unmap_usage(actor=None, slug="triage", mapping_id=row.pk, as_of=AS_OF)


def test_who_may_not_map():
    save()
    with pytest.raises(Forbidden):
        map_usage(actor=user("procurement"), slug="triage", as_of=AS_OF, api_key="k")
