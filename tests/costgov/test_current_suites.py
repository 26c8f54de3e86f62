"""Which suites the page of a class calls current: exactly those its epochs hold."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client

from costgov.queries.class_page import class_page
from routing.operations.evals import import_evals
from tests.costgov import small_world as world

pytestmark = pytest.mark.django_db


def suites() -> dict[str, bool]:
    view = class_page(slug="triage", as_of=world.AS_OF, start=world.TODAY - timedelta(days=56), end=world.TODAY)
    return {f"{row.suite}@{row.version}": row.is_current for row in view.suites}


def bring(folder: Path, *names: str) -> None:
    at = (world.AS_OF - timedelta(days=1)).isoformat()
    rows = [f'"{name}",triage,c1,{world.HAIKU},{at},true' for name in names]
    path = folder / "suites.csv"
    path.write_text("\n".join(["suite,request_class,sample_id,model,run_at,passed", *rows]) + "\n")
    import_evals(actor=None, path=path, as_of=world.AS_OF)


def test_version_1_is_not_current_because_version_10_is() -> None:
    world.whole()
    world.evals("triage", world.HAIKU, 60, 60, world.AS_OF - timedelta(days=3), version="10")
    assert suites() == {"suite@10": True, "suite@1": False}


def test_names_that_hold_commas_or_end_like_others(tmp_path: Path) -> None:
    world.whole()
    bring(tmp_path, "old, suite", "my-suite", "suite@2")
    assert suites() == {"my-suite@1": True, "old, suite@1": True, "suite@2": True, "suite@1": False}


def test_a_page_shows_a_hundred_suites_and_says_how_many_there_are(tmp_path: Path, client: Client) -> None:
    people = world.whole()
    bring(tmp_path, *(f"generated-{n}" for n in range(150)))
    client.force_login(people["vic"])
    html = client.get("/classes/triage/").content.decode()
    assert html.count('<span class="mono">generated-') == 100
    assert "The 100 newest of 151 suites." in html
