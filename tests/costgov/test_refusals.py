"""Requests no page can answer are refused in words, never a server error."""

import pytest
from django.test import Client

from billing.models import Invoice
from tests.costgov import small_world as world

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "path", ["/classes/%00/", "/prices/?model=%00", "/policies/versions/1/?policy=a%00", "/?%00=1", "/evals/%00/x/"]
)
def test_a_nul_in_an_address_is_refused(client: Client, path: str) -> None:
    client.force_login(world.people()["vic"])
    answer = client.get(path)
    assert answer.status_code == 400
    assert "It holds a NUL character" in answer.content.decode()


def test_a_nul_in_an_address_of_the_api_is_json(client: Client) -> None:
    client.force_login(world.people()["vic"])
    answer = client.get("/api/v1/classes/%00")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_address")


def test_a_form_from_before_the_log_in_says_what_to_do() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(world.people()["eva"])
    answer = client.post("/policies/draft/propose/", {"csrfmiddlewaretoken": "old"})
    assert answer.status_code == 403
    assert "reload the page and send the form again" in answer.content.decode()
    assert "nothing was done" in answer.content.decode()


@pytest.mark.parametrize(
    ("address", "field"),
    [
        ("/invoices/new/", "number"),
        ("/invoices/2026-10/comment/", "text"),
        ("/tax-rates/", "note"),
        ("/prices/contracts/new/", "name"),
        ("/prices/add/", "source"),
        ("/prices/scenarios/new/", "name"),
        ("/spend/cost-centres/", "name"),
        ("/no-such-page/", "x"),
    ],
)
def test_a_nul_in_a_form_is_refused(client: Client, address: str, field: str) -> None:
    """PostgreSQL stores none: it was a server error in every form with a field of free text."""
    client.force_login(world.people()["ada"])
    for content in ({field: "a\0b"}, {f"{field}\0": "a"}):
        answer = client.post(address, content)
        if answer.status_code != 404 or address != "/no-such-page/":
            assert (answer.status_code, "holds a NUL character" in answer.content.decode()) == (400, True), content
    assert not Invoice.objects.exists()


def test_a_nul_in_a_form_is_told_only_to_whoever_may_see_the_page() -> None:
    client = Client(enforce_csrf_checks=True)
    assert client.post("/invoices/new/", {"number": "a\0b"}).status_code == 403
    client = Client()
    assert client.post("/invoices/new/", {"number": "a\0b"})["Location"] == "/login/?next=/invoices/new/"
