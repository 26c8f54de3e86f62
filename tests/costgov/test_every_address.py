"""Every address of the site, by asking the resolver: HEAD, odd questions, and posts without a token."""

import re
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from audit.models import AuditEntry
from tests.costgov import small_world as world

pytestmark = pytest.mark.django_db
_PART = re.compile(r"<(?:(?P<kind>\w+):)?\w+>")
_STANDS_FOR = {"int": "999999", "str": "nothing", "slug": "nothing", "path": "nothing", "uuid": "0" * 8}
ODD = (
    "month=0000-00",
    "month=9999-12&month=1900-01",
    "from=2026-13-45&to=x",
    "by=nothing,nothing",
    "q=%3Cscript%3Ealert(1)%3C/script%3E",
    "sort=--x",
    "page=-1",
    "days=99999999999999999999",
    "model=" + "x" * 10_000,
    "%FF=%FE",
)


def addresses(patterns: list[URLPattern | URLResolver], before: str = "/") -> Iterator[str]:
    """Every path under the resolver, its parameters standing for things that are not there."""
    for each in patterns:
        route = str(each.pattern)
        if route.startswith("^"):  # written as an expression: only those of classes, whose slug may hold dots
            route = re.sub(r"\(\?P<\w+>[^)]*\)", "nothing", re.sub(r"\(\?![^)]*\)", "", route)).strip("^$")
        path = before + _PART.sub(lambda part: _STANDS_FOR.get(part["kind"] or "str", "nothing"), route)
        if isinstance(each, URLResolver):
            yield from addresses(each.url_patterns, path)
        else:
            yield path


PAGES = sorted(
    path
    for path in set(addresses(get_resolver(settings.ROOT_URLCONF).url_patterns))
    if not path.startswith(("/api/", "/static/", "/log-out", "/logout"))
)


def test_the_site_has_many_addresses() -> None:
    """Else the tests below would try nothing."""
    assert len(PAGES) > 60
    assert {"/", "/spend/", "/invoices/", "/savings/", "/classes/nothing/"} <= set(PAGES)


@pytest.fixture
def ada(client: Client) -> Client:
    world.organisation()
    client.force_login(world.people()["ada"])
    return client


def test_head_answers_as_get_does(ada: Client) -> None:
    differing = [path for path in PAGES if ada.head(path).status_code != ada.get(path).status_code]
    assert differing == []


def test_no_post_is_taken_without_a_token() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(world.people()["ada"])
    entries = AuditEntry.objects.count()
    taken = {path: status for path in PAGES if (status := client.post(path).status_code) != 403}
    assert taken == {}
    assert AuditEntry.objects.count() == entries


@pytest.mark.parametrize("query", ODD, ids=range(len(ODD)))
def test_odd_questions_are_answered_in_words(ada: Client, query: str) -> None:
    ada.raise_request_exception = False
    answers = {path: ada.get(f"{path}?{query}") for path in PAGES}
    assert {path: answer.status_code for path, answer in answers.items() if answer.status_code >= 500} == {}
    assert [path for path, answer in answers.items() if b"<script>alert(1)" in answer.getvalue()] == []


@pytest.mark.parametrize("who", ["", "xen", "vic"])
def test_who_may_only_look_changes_nothing(client: Client, who: str) -> None:
    """An empty post of a viewer, of a stranger, or of somebody who is not logged in leaves nothing behind."""
    people = world.people()
    if who:
        client.force_login(people[who])
    entries = AuditEntry.objects.count()
    for path in PAGES:
        client.post(path)
    assert AuditEntry.objects.count() == entries
