"""What people read on the pages about savings and evidence has models by name; ids stay in code, addresses and JSON."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from costgov.models import User
from routing.models import EvalRun, RequestClass
from tests.demo import AS_OF, demo, demo_copy

__all__ = ["demo", "demo_copy"]
pytestmark = pytest.mark.xdist_group("demo")

PAGES = (
    "savings", "frontier", "constraints", "evals", "evidence-needed", "work-items", "eval-run-list", "policy-draft"
)  # fmt: skip
_UNREAD = re.compile(r"<(script|style|code|pre|option|template)\b.*?</\1>|<!--.*?-->", re.S)


def _read(page: str) -> str:
    """The text of a page as it is read: no code, no attributes, no scripts."""
    return re.sub(r"<[^>]+>", " ", _UNREAD.sub(" ", page))


@pytest.mark.parametrize("name", PAGES)
def test_models_have_names(demo, settings, name):
    settings.COSTGOV_AS_OF = AS_OF
    client = Client()
    client.force_login(User.objects.get(username="emil"))
    shown = _read(client.get(reverse(name)).content.decode())
    assert "Opus 4.5" in shown
    assert ids_in(shown) == []


def test_models_have_names_on_the_pages_of_one_thing(demo, settings):
    """Every class with its cascade, every run, what a model could save, and why a run was set aside or would be."""
    settings.COSTGOV_AS_OF = AS_OF
    client = Client()
    client.force_login(User.objects.get(username="emil"))
    slugs = list(RequestClass.objects.values_list("slug", flat=True))
    runs = list(EvalRun.objects.values_list("pk", flat=True))
    addresses = [reverse("model-outlook", args=["claude-haiku-4-5"])]
    addresses += [reverse(name, args=[slug]) for slug in slugs for name in ("class-detail", "class-cascade")]
    addresses += [reverse("eval-run", args=[run]) for run in runs]
    addresses += [reverse("eval-run-set-aside", args=[run]) for run in runs[-2:]]
    found = {address: ids_in(_read(client.get(address).content.decode())) for address in addresses}
    assert {address: ids for address, ids in found.items() if ids} == {}


def ids_in(shown: str) -> list[str]:
    """Ids of models with their neighbourhood; one that nobody has placed has no other name."""
    found = re.finditer("claude-(opus|sonnet|haiku)-", shown)
    return [shown[max(at.start() - 60, 0) : at.end() + 40] for at in found]
