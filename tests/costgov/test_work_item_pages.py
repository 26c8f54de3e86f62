"""Work items: the list, its filters and badge, closing one with a note, and who may."""

import csv
import io
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client

from audit.models import AuditEntry
from audit.operations import bump_data_version
from routing.models import RequestClass, WorkItem
from routing.queries.work_items import work_item, work_items
from tests.costgov import small_world as world
from tests.costgov.page_checks import problems

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _frozen(settings) -> None:
    settings.COSTGOV_AS_OF = world.AS_OF
    cache.clear()  # a rolled back test leaves figures of a data version that the next one reaches again


@pytest.fixture
def people():
    return world.whole()


def get(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, answer.content.decode()[:500]
    return " ".join(answer.content.decode().split())


def item(slug: str = "triage", kind: str = "went_stale", model: str = world.HAIKU, **facts: object) -> WorkItem:
    values: dict[str, object] = {"text": "The evidence <went> stale.", "remedy": "Run its cases again.",
                                 "opened_at": world.AS_OF - timedelta(days=1)}  # fmt: skip
    made = WorkItem.objects.create(
        request_class=RequestClass.objects.get(slug=slug), kind=kind, model=model, **{**values, **facts}
    )
    bump_data_version()
    return made


def test_items_say_what_happened_and_where_to_look(client: Client, people) -> None:
    item(details={"runs": [7, 8], "eval_import": 3}, concerns="support-eng")
    item("drafting", "below_bar", closed_at=world.AS_OF, closing_note="moved to Sonnet", closed_by=people["eva"])
    client.force_login(people["vic"])
    html = get(client, "/evals/work/")
    assert problems(html) == []
    assert "<strong>1</strong> item is open." in html and "1 is closed." in html
    assert "The evidence &lt;went&gt; stale." in html and "Run its cases again." in html and "support-eng" in html
    for address in ("/evals/triage/claude-haiku-4-5/", "/evals/runs/7/", "/evals/imports/3/", "/classes/triage/"):
        assert f'href="{address}"' in html
    assert "moved to Sonnet" not in html and "Close it" not in html, "closed ones are asked for, a viewer closes none"
    both = get(client, "/evals/work/?state=all")
    assert "Closed by eva" in both and "moved to Sonnet" in both


def test_filters_and_download(client: Client, people) -> None:
    item()
    item("drafting", "below_bar")
    client.force_login(people["vic"])
    assert "Reply drafting</a>" in get(client, "/evals/work/?class=drafting")
    assert "1</strong> item is open under this filter" in get(client, "/evals/work/?kind=below_bar")
    assert "Nothing under this filter" in get(client, "/evals/work/?kind=run_looks_broken")
    assert "use one of" in get(client, "/evals/work/?kind=broken", 400)
    assert "is not a parameter of this page" in get(client, "/evals/work/?model=x", 400)
    rows = list(csv.DictReader(io.StringIO(client.get("/download/work-items.csv?class=drafting").getvalue().decode())))
    assert [(row["slug"], row["kind"], row["closed_at"]) for row in rows] == [("drafting", "below_bar", "")]


def test_the_page_says_what_it_does_not_list_and_the_download_holds_it(client: Client, people) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO routing_workitem (request_class_id, model, kind, text, remedy, concerns, details, opened_at, "
            "closing_note, resolved_itself) SELECT c.id, 'm-' || n, 'went_stale', 'Item ' || n, '', '', '{}', "
            "%s::timestamptz - n * interval '1 second', '', false "
            "FROM generate_series(1, 100001) n, routing_requestclass c WHERE c.slug = 'triage'",
            [world.AS_OF],
        )
    bump_data_version()
    client.force_login(people["vic"])
    assert "99,501 older items are not listed here; the download holds them too." in get(client, "/evals/work/")
    answer = client.get("/download/work-items.csv")
    lines = b"".join(answer.streaming_content).decode().splitlines()  # type: ignore[attr-defined]
    texts = [row["text"] for row in csv.DictReader(lines)]
    assert texts == [f"Item {n}" for n in range(1, 100_002)], "all of them, newest first"


def test_nothing_waits(client: Client, people) -> None:
    client.force_login(people["vic"])
    html = get(client, "/evals/work/")
    assert "Nothing waits" in html and "open work items" not in html


def test_the_menu_counts_open_items(client: Client, people) -> None:
    item()
    item("drafting", "below_bar")
    client.force_login(people["vic"])
    assert '2<span class="visually-hidden"> open work items</span>' in get(client, "/classes/")
    client.logout()
    assert "open work items" not in client.get("/login/").content.decode()


def test_an_item_is_closed_with_a_note(client: Client, people) -> None:
    made = item()
    client.force_login(people["eva"])
    assert "Close it" in get(client, "/evals/work/")
    path = f"/evals/work/{made.pk}/close/"
    assert "What came of it" in get(client, f"{path}?back=/classes/triage/")
    refused = client.post(path, {"note": " "})
    assert refused.status_code == 400 and "Say what came of it" in refused.content.decode()
    done = client.post(path, {"note": "ran it again", "back": "/classes/triage/"})
    assert (done.status_code, done["Location"]) == (302, "/classes/triage/")
    found = work_item(item_id=made.pk)
    assert found is not None and (found.closed_by, found.closing_note, found.is_open) == ("eva", "ran it again", False)
    assert (work_items().open_count, work_items().closed_count) == (0, 1)
    assert AuditEntry.objects.filter(action="work_item.closed", object_id=str(made.pk)).exists()
    assert "It is closed already: ran it again" in get(client, path)
    assert client.post(path, {"note": "again"}).status_code == 400


@pytest.mark.parametrize("back", ["https://elsewhere.example/", "//elsewhere.example/", "javascript:alert(1)", ""])
def test_closing_leads_nowhere_else(client: Client, people, back: str) -> None:
    made = item()
    client.force_login(people["eva"])
    assert client.post(f"/evals/work/{made.pk}/close/", {"note": "done", "back": back})["Location"] == "/evals/work/"


@pytest.mark.parametrize("who", ["priya", "vic", "xen"])
def test_who_may_not_close_is_refused(client: Client, people, who: str) -> None:
    made = item()
    client.force_login(people[who])
    assert client.get(f"/evals/work/{made.pk}/close/").status_code == 403
    assert client.post(f"/evals/work/{made.pk}/close/", {"note": "x"}).status_code == 403
    made.refresh_from_db()
    assert made.closed_at is None


def test_an_item_nobody_opened(client: Client, people) -> None:
    client.force_login(people["eva"])
    assert "There is no work item number 999999" in get(client, "/evals/work/999999/close/", 404)
    assert client.get("/evals/work/999999/close/").status_code == 404
