"""What people read on the pages about savings and evidence has models by name; ids stay in code, addresses and JSON."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from costgov.models import User
from tests.demo import AS_OF, demo, demo_copy

__all__ = ["demo", "demo_copy"]
pytestmark = pytest.mark.xdist_group("demo")

PAGES = ("savings", "frontier", "constraints", "evals")
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
    assert [shown[max(at.start() - 60, 0) : at.end() + 40] for at in re.finditer("claude-", shown)] == []
