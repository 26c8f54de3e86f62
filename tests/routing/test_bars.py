"""The bar of a class: every change a version nobody can alter, refused where it cannot be, judged by as of its time."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, transaction

from audit.models import AuditEntry
from audit.roles import Forbidden
from billing.models import ModelRelease
from routing.core.bars import Bar
from routing.models import QualityBar, RequestClass
from routing.operations.bars import BarOutdated, ClassRefused, set_bar
from routing.operations.classes import save_class
from routing.queries.bars import bar_histories, bar_of, bar_versions

pytestmark = pytest.mark.django_db
MONDAY = datetime(2026, 11, 2, 9, tzinfo=UTC)
FRIDAY = MONDAY + timedelta(days=4)


def user(role: str, name: str = "") -> Any:
    found = get_user_model().objects.create_user(name or f"{role}-1")
    found.groups.add(Group.objects.get(name=role))
    return found


def registered(slug: str = "triage", **facts: Any) -> RequestClass:
    return save_class(actor=None, slug=slug, facts={"title": "Triage", **facts}, as_of=MONDAY)


def change(reason: str = "as agreed", actor: Any = None, version: int | None = None, **facts: Any) -> QualityBar:
    return set_bar(actor=actor, slug="triage", facts=facts, reason=reason, version=version, as_of=FRIDAY)


def test_a_new_class_has_version_1_of_its_bar() -> None:
    row = registered(bar=Decimal("0.9"))
    (version,) = bar_versions(row)
    assert (version.version, version.set_at, version.changes, version.is_in_force) == (1, MONDAY, (), True)
    assert version.asked == bar_of(row) == Bar(bar=Decimal("0.9"))


def test_every_change_is_a_version_with_who_when_why_and_what() -> None:
    registered()
    eva = user("engineer", "eva")
    change(actor=eva, reason=" the pilot failed ", bar="0.97", standard="both", margin="0.03", min_cases=50,
           suites=["triage*"], metric="mean_score", max_age_days=60, alpha="0.01", tolerance="0.01")  # fmt: skip
    newest, oldest = bar_versions(RequestClass.objects.get())
    assert (newest.version, newest.set_at, newest.set_by, newest.reason) == (2, FRIDAY, "eva", "the pilot failed")
    assert [each.text for each in newest.changes] == [
        "Measured by: pass rate → mean score",
        "Bar: 95% → 97%",
        "Tolerance: 2 points → 1 point",
        "Standard: at or above the line → above the line and not worse than the model that serves",
        "May be worse by: none → 3 points",
        "Chance of a wrong verdict: 5% → 1%",
        "Least cases: 30 → 50",
        "Stale after: 90 days → 60 days",
        "Suites that count: all of the class → triage*",
    ]
    assert (newest.is_in_force, oldest.is_in_force) == (True, False)
    entry: Any = AuditEntry.objects.get(action="class.bar_set")
    assert (entry.actor_name, entry.note, entry.object_id) == ("eva", "the pilot failed", "triage")
    assert (entry.before["bar_version"], entry.before["bar"], entry.before["suites"]) == (1, "0.95", [])
    assert (entry.after["bar_version"], entry.after["bar"], entry.after["margin"]) == (2, "0.97", "0.03")
    assert bar_of(RequestClass.objects.get()) == newest.asked, "what is in force is what was kept"


def test_the_same_bar_again_adds_no_version() -> None:
    registered()
    assert change(bar="0.950", tolerance="0.02", reason="").version == 1
    assert QualityBar.objects.count() == 1 and not AuditEntry.objects.filter(action="class.bar_set").exists()


def test_a_class_saved_with_another_bar_gets_a_version_too() -> None:
    registered()
    save_class(actor=None, slug="triage", facts={"bar": Decimal("0.9")}, reason="lower risk", as_of=FRIDAY)
    assert [(row.version, row.reason) for row in bar_versions(RequestClass.objects.get())] == [
        (2, "lower risk"), (1, ""),
    ]  # fmt: skip
    save_class(actor=None, slug="triage", facts={"title": "Other"}, as_of=FRIDAY)
    assert QualityBar.objects.count() == 2, "another title is no other bar"


def test_the_second_of_two_tabs_is_told_who_was_faster() -> None:
    registered()
    change(actor=user("engineer", "eva"), version=1, bar="0.97")
    with pytest.raises(BarOutdated) as told:
        change(version=1, bar="0.90")
    assert "You read version 1 of the bar, and eva set version 2 on 06 Nov 2026, 09:00 UTC" in str(told.value)
    with pytest.raises(BarOutdated):
        save_class(actor=None, slug="triage", facts={"title": "T"}, bar_version=1, as_of=FRIDAY)
    assert RequestClass.objects.get().bar == Decimal("0.97")
    change(version=2, bar="0.90")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"bar": 1}, "no sample can show a bar of 1"),
        ({"bar": "0"}, "the bar is 0"),
        ({"bar": "much"}, "bar is 'much': give a share as a number"),
        ({"bar": "NaN"}, "bar is 'NaN'"),
        ({"bar": True}, "bar is True"),
        ({"bar": "0.9500001"}, "at most 6 places"),
        ({"tolerance": "0.95"}, "the tolerance is 0.95"),
        ({"tolerance": "-0.01"}, "the tolerance is -0.01"),
        ({"alpha": "0"}, "alpha is 0"),
        ({"alpha": 1}, "alpha is 1"),
        ({"standard": "not_worse"}, "needs a margin"),
        ({"standard": "both", "margin": "0"}, "the margin is 0"),
        ({"margin": 1}, "the margin is 1"),
        ({"standard": "better"}, "choose one of absolute, not_worse, both"),
        ({"metric": "f1"}, "choose one of pass_rate, mean_score"),
        ({"min_cases": 29}, "nothing clears before 30"),
        ({"min_cases": 10**7}, "a whole number up to 1,000,000"),
        ({"max_age_days": 0}, "give 1 or more"),
        ({"max_age_days": 10**6}, "a whole number up to 3,650"),
        ({"max_age_days": "9"}, "max_age_days is '9'"),
        ({"suites": "triage"}, "give a list of names"),
        ({"suites": [""]}, "an empty name"),
        ({"plan": ["gpt-9"]}, "the plan names gpt-9: add the model on the Prices page first"),
        ({"colour": "red"}, "unknown facts colour"),
    ],
)
def test_a_bar_that_cannot_be_is_refused_and_nothing_is_saved(facts: dict[str, Any], words: str) -> None:
    registered()
    with pytest.raises(ClassRefused) as caught:
        change(**facts)
    assert words in str(caught.value) and str(caught.value).startswith("triage: ")
    assert QualityBar.objects.count() == 1 and RequestClass.objects.get().bar_version == 1


def test_everything_wrong_is_said_at_once() -> None:
    registered()
    with pytest.raises(ClassRefused) as caught:
        change(bar="1", alpha="2", min_cases=3)
    assert all(words in str(caught.value) for words in ("a bar of 1", "alpha is 2", "before 30"))


def test_a_change_needs_a_reason_and_a_class() -> None:
    registered()
    with pytest.raises(ClassRefused, match="say why the bar changes"):
        change(reason="  ", bar="0.9")
    with pytest.raises(ClassRefused, match="no such class"):
        set_bar(actor=None, slug="nope", facts={"bar": "0.9"}, reason="x", as_of=FRIDAY)


@pytest.mark.parametrize("role", ["procurement", "viewer"])
def test_only_engineering_owns_the_bar(role: str) -> None:
    registered()
    with pytest.raises(Forbidden, match="edit classes and quality bars"):
        change(actor=user(role), bar="0.5")
    assert RequestClass.objects.get().bar == Decimal("0.95")


def test_models_of_a_plan_are_known_and_its_order_is_no_change() -> None:
    for name in ("m-1", "m-2"):
        ModelRelease.objects.create(canonical_id=name, display_name=name)
    registered()
    assert change(plan=["m-2", "m-1"]).plan_candidates == ["m-1", "m-2"]
    assert change(plan=["m-1", "m-2"]).version == 2
    ModelRelease.objects.filter(canonical_id="m-2").delete()
    assert change(bar="0.9").version == 3, "a model planned before may stay"


@pytest.mark.parametrize(
    "damage",
    [
        lambda: QualityBar.objects.update(reason="other"),
        lambda: QualityBar.objects.all()._raw_delete("default"),
        lambda: RequestClass.objects.update(bar=Decimal("0.5")),
        lambda: RequestClass.objects.update(suites=["easy"]),
        lambda: RequestClass.objects.update(bar=Decimal(1), bar_version=9),
        lambda: RequestClass.objects.update(min_cases=5, bar_version=9),
        lambda: QualityBar.objects.create(
            request_class=RequestClass.objects.get(), version=1, metric="pass_rate", standard="absolute", bar="0.9",
            tolerance=0, alpha="0.05", min_cases=30, max_age_days=90, set_at=MONDAY,
        ),
        lambda: QualityBar.objects.create(
            request_class=RequestClass.objects.get(), version=2, metric="pass_rate", standard="both", bar="0.9",
            tolerance=0, alpha="0.05", min_cases=30, max_age_days=90, set_at=MONDAY,
        ),
    ],
)  # fmt: skip
def test_the_database_keeps_versions_as_they_are(damage: Any) -> None:
    registered()
    with pytest.raises(DatabaseError), transaction.atomic():
        damage()


def test_what_was_in_force_at_an_instant() -> None:
    row = registered()
    change(bar="0.9")
    row.refresh_from_db()
    history = bar_histories([row])["triage"]
    day = timedelta(days=1)
    assert [history.at(at).version for at in (MONDAY - day, MONDAY, FRIDAY - day, FRIDAY, FRIDAY + day)] == [
        1, 1, 1, 2, 2,
    ]  # fmt: skip
    assert history.at(FRIDAY - day).line == 0.93


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_one_is_told() -> None:
    for role in ("engineer", "procurement", "viewer", "admin"):
        Group.objects.get_or_create(name=role)
    registered()

    def once(bar: str) -> str:
        try:
            return str(change(version=1, bar=bar).version)
        except BarOutdated:
            return "told"
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(once, ["0.90", "0.97"])) == ["2", "told"]
    assert QualityBar.objects.count() == 2


def test_a_class_from_before_versions_keeps_its_old_bar_with_the_first_change() -> None:
    row = RequestClass.objects.create(slug="triage", title="Triage", bar=Decimal("0.8"))
    assert bar_histories([row])["triage"].at(MONDAY).bar == Decimal("0.8")
    change(bar="0.9")
    row.refresh_from_db()
    assert [(each.version, each.asked.bar, each.reason) for each in bar_versions(row)] == [
        (2, Decimal("0.9"), "as agreed"), (1, Decimal("0.8"), "As it was before versions were kept."),
    ]  # fmt: skip
    assert bar_histories([row])["triage"].at(MONDAY).bar == Decimal("0.8")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"allowed_models": ["gpt-9"]}, "it cannot allow gpt-9"),
        ({"allowed_models": "gpt-9"}, "give a list of models"),
        ({"failure_usd": Decimal("-1")}, "failure"),
    ],
)
def test_what_may_serve_a_class_is_checked(facts: dict[str, Any], words: str) -> None:
    with pytest.raises(ClassRefused) as caught:
        registered(**facts)
    assert words in str(caught.value)
