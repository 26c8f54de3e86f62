"""Deleting what an import brought: the page's button for administrators, the endpoint, refusals that say why."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from billing.models import BillingPeriod, Import, UsageRollup
from costgov.operations.usage import import_usage
from tests.importers.usage.envelopes import envelope, write_lines

AS_OF = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def brought(db: None, settings: Any, tmp_path: Path) -> int:
    settings.COSTGOV_VAR = tmp_path / "var"
    path = write_lines(tmp_path / "log.jsonl", [envelope(n) for n in range(3)])
    return import_usage(actor=None, path=path, as_of=AS_OF).import_id


def client_of(django_user_model: Any, role: str) -> Client:
    user = django_user_model.objects.create_user(username=role, password="x")
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize(("role", "may"), [("admin", True), ("engineer", False), ("procurement", False)])
def test_only_an_administrator_is_offered_it(brought: int, django_user_model: Any, role: str, may: bool) -> None:
    client = client_of(django_user_model, role)
    assert ("Delete this import" in client.get(reverse("import-detail", args=[brought])).content.decode()) == may
    client.post(reverse("import-delete", args=[brought]))
    assert (Import.objects.get(pk=brought).state == "deleted") == may
    assert UsageRollup.objects.exists() != may


def test_the_page_says_what_happened_and_offers_it_once(brought: int, django_user_model: Any) -> None:
    client = client_of(django_user_model, "admin")
    shown = client.post(reverse("import-delete", args=[brought]), follow=True).content.decode()
    assert "What log.jsonl brought is deleted; 1 day counted anew." in shown
    assert "Deleted; nothing of what it brought is counted any more." in shown
    assert "Delete this import" not in shown


def test_a_closed_month_is_said(brought: int, django_user_model: Any) -> None:
    BillingPeriod.objects.create(month=date(2026, 11, 1), state="closed", closed_at=AS_OF, prices_known_at=AS_OF)
    client = client_of(django_user_model, "admin")
    shown = client.post(reverse("import-delete", args=[brought]), follow=True).content.decode()
    assert "has usage of 2026-11, which is closed" in shown
    answer = client.delete(reverse("api-import", args=[brought]))
    assert (answer.status_code, "which is closed" in answer.content.decode()) == (409, True)
    assert UsageRollup.objects.exists()


def test_the_endpoint(brought: int, django_user_model: Any) -> None:
    assert client_of(django_user_model, "engineer").delete(reverse("api-import", args=[brought])).status_code == 403
    client = client_of(django_user_model, "admin")
    answer = client.delete(reverse("api-import", args=[brought]))
    assert (answer.status_code, answer.json()["rows"], answer.json()["days"]) == (200, 3, 1)
    assert client.delete(reverse("api-import", args=[10_000])).status_code == 404
