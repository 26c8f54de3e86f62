"""Moving runs and deleting eval imports: pages that say what follows, the commands, the API, and who may."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from costgov.tokens import create_token
from routing.models import EvalImport, EvalRun, EvalSuiteRule, RequestClass, VerdictRecord
from routing.operations.evidence_changed import judge_again
from tests.costgov import small_world as world
from tests.costgov.page_checks import problems

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _frozen(settings) -> None:
    settings.COSTGOV_AS_OF = world.AS_OF
    cache.clear()  # a rolled back test leaves figures of a data version that the next one reaches again


@pytest.fixture
def people():
    found = world.whole()
    judge_again(as_of=world.AS_OF)
    return found


def get(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path, follow=True)
    assert answer.status_code == status, answer.content.decode()[:500]
    return " ".join(answer.content.decode().split())


def run_of(slug: str, model: str) -> EvalRun:
    return EvalRun.objects.filter(request_class__slug=slug, cases__model=model).distinct().get()


def post(client: Client, path: str, **said: str) -> str:
    answer = client.post(path, said, follow=True)
    return " ".join(answer.content.decode().split())


# -- moving --------------------------------------------------------------------------------------------------------


def test_a_run_is_moved_and_back_on_the_page(client: Client, people):
    run = run_of("triage", world.HAIKU)
    EvalSuiteRule.objects.create(pattern="suite*", request_class=RequestClass.objects.get(slug="triage"))
    client.force_login(people["eva"])
    assert f'href="/evals/runs/{run.pk}/move/"' in get(client, f"/evals/runs/{run.pk}/")
    html = get(client, f"/evals/runs/{run.pk}/move/")
    assert problems(html) == []
    assert "Its <strong>200</strong> results" in html and "stop being evidence for Ticket triage" in html
    assert '<option value="drafting">Reply drafting' in html and 'value="triage">Ticket triage<' not in html
    assert ("rule <code>suite*</code>" in html) == run.suite.startswith("suite")
    html = post(client, f"/evals/runs/{run.pk}/move/", to="drafting", reason="Rule too wide", seen="triage")
    assert "is filed under Reply drafting now." in html
    assert "Ticket triage, Haiku 4-5: No evidence, before Clears the bar." in html
    assert "eva moved it here from Ticket triage on" in html and "Rule too wide" in html
    assert f'href="/evals/runs/{run.pk}/move/?to=triage"' in html and "Move it back or on" in html
    listed = get(client, "/evals/runs/?class=drafting")
    assert "moved from Ticket triage" in listed
    html = get(client, f"/evals/runs/{run.pk}/move/?to=triage")
    assert '<option value="triage" selected>Ticket triage (where its file put it)' in html
    html = post(client, f"/evals/runs/{run.pk}/move/", to="triage", reason="No, it was right", seen="drafting")
    assert "Ticket triage, Haiku 4-5: Clears the bar, before No evidence." in html
    assert "moved it here" not in html and "Move to another class" in html


def test_a_second_tab_is_told(client: Client, people):
    run = run_of("triage", world.HAIKU)
    client.force_login(people["eva"])
    post(client, f"/evals/runs/{run.pk}/move/", to="drafting", reason="wrong", seen="triage")
    answer = client.post(f"/evals/runs/{run.pk}/move/", {"to": "drafting", "reason": "typed", "seen": "triage"})
    html = " ".join(answer.content.decode().split())
    assert answer.status_code == 400 and "is filed under Reply drafting by now" in html
    assert ">typed</textarea>" in html and 'name="seen" value="drafting"' in html
    for said, words in (
        ({"to": "", "reason": "x"}, "There is no class"),
        ({"to": "triage"}, "Say why this run is moved"),
    ):
        answer = client.post(f"/evals/runs/{run.pk}/move/", said)
        assert answer.status_code == 400 and words in answer.content.decode()
    assert "There is no eval run number 999999" in get(client, "/evals/runs/999999/move/", 404)


def test_a_viewer_neither_moves_nor_deletes(client: Client, people):
    run = run_of("triage", world.HAIKU)
    client.force_login(people["vic"])
    html = get(client, f"/evals/runs/{run.pk}/")
    assert "Move to another class" not in html
    assert "may not set eval runs aside, move them" in get(client, f"/evals/runs/{run.pk}/move/", 403)
    assert "Delete what it brought" not in get(client, f"/evals/imports/{run.eval_import_id}/")
    client.force_login(people["eva"])
    assert "Delete what it brought" not in get(client, f"/evals/imports/{run.eval_import_id}/")
    assert "may not delete imported data" in get(client, f"/evals/imports/{run.eval_import_id}/delete/", 403)
    assert client.post(f"/evals/imports/{run.eval_import_id}/delete/", {"reason": "x"}).status_code == 403
    assert EvalRun.objects.filter(pk=run.pk).exists()


# -- deleting ------------------------------------------------------------------------------------------------------


def test_what_goes_is_said_and_then_gone(client: Client, people):
    run = run_of("triage", world.HAIKU)
    number, name = run.eval_import_id, run.eval_import.file_name
    EvalImport.objects.create(
        file_name="later.csv", sha256="d" * 64, format="csv", imported_at=world.AS_OF, duplicates=12
    )
    client.force_login(people["ada"])
    assert f'href="/evals/imports/{number}/delete/"' in get(client, f"/evals/imports/{number}/")
    html = get(client, f"/evals/imports/{number}/delete/")
    assert problems(html) == []
    assert "200 results in 1 run of 1 class" in html and "none: Haiku 4-5 has no other run here" in html
    assert "The verdicts of Ticket triage are judged again at once" in html
    assert "1 later file left out results as already there" in html and "later.csv</a> (12)" in html
    answer = client.post(f"/evals/imports/{number}/delete/", {"reason": " "})
    assert answer.status_code == 400 and "Say why this import is deleted" in answer.content.decode()
    records = VerdictRecord.objects.count()
    html = post(client, f"/evals/imports/{number}/delete/", reason="A test system wrote it")
    assert f"200 results of {name} are deleted." in html and "What this file brought is deleted." in html
    assert "ada deleted it on" in html and "A test system wrote it" in html
    assert "What it brought, now deleted" in html and "Delete what it brought" not in html
    assert VerdictRecord.objects.count() == records + 1
    answer = client.post(f"/evals/imports/{number}/delete/", {"reason": "again"})
    assert answer.status_code == 400 and "was deleted on" in answer.content.decode()
    assert "What it brought is deleted already." in get(client, f"/evals/imports/{number}/delete/")
    assert "Deleted" in get(client, "/evals/import/")
    assert "There is no eval run number" in get(client, f"/evals/runs/{run.pk}/", 404)
    get(client, "/evals/imports/999999/delete/", 404)


def test_an_import_that_is_running_is_not_deleted(client: Client, people):
    row = EvalImport.objects.create(
        file_name="w.csv", sha256="e" * 64, state="running", format="csv", imported_at=world.AS_OF
    )
    client.force_login(people["ada"])
    assert "This file is still being imported: cancel that" in get(client, f"/evals/imports/{row.pk}/delete/")
    answer = client.post(f"/evals/imports/{row.pk}/delete/", {"reason": "x"})
    assert answer.status_code == 400 and "is still being imported" in answer.content.decode()


# -- commands and the API ------------------------------------------------------------------------------------------


def command(*words: str) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    try:
        call_command(*words, stdout=out, stderr=err)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def test_commands_say_first_and_do_then(people):
    run = run_of("triage", world.HAIKU)
    number = str(run.eval_import_id)
    code, out, _ = command("eval_runs", "--move", str(run.pk), "--to", "drafting", "--reason", "wrong", "--user", "eva")
    assert code == 0 and "eva moved it here from triage, " in out
    for words in (
        ["eval_runs", "--move", str(run.pk), "--to", "drafting", "--reason", "x"],
        ["eval_runs", "--move", str(run.pk), "--reason", "x"],
        ["eval_runs", "--to", "triage"],
        ["eval_runs", "--move", str(run.pk), "--to", "triage", "--reason", "x", "--user", "vic"],
        ["delete_eval_import", number, "--yes"],
        ["delete_eval_import", number, "--yes", "--reason", "x", "--user", "eva"],
        ["delete_eval_import", "999999"],
    ):
        code, out, err = command(*words)
        assert (code, out) == (2, "") and err.strip(), words
    code, out, _ = command("delete_eval_import", number)
    assert "drafting, " in out and ": 196 of 200 passed" in out and "Nothing was changed: add --yes" in out
    assert EvalRun.objects.filter(pk=run.pk).exists()
    assert json.loads(command("delete_eval_import", number, "--json")[1])["results"] == 200
    code, out, _ = command("delete_eval_import", number, "--yes", "--reason", "a test")
    assert code == 0 and "1 runs with 200 results went; the verdicts of drafting were judged again." in out
    assert not EvalRun.objects.filter(pk=run.pk).exists()


def test_the_api_moves_and_deletes(client: Client, people):
    run = run_of("triage", world.HAIKU)

    def bearer(name: str) -> dict[str, Any]:
        _, secret = create_token(actor=people[name], name=name, scopes=["read", "evals:write"], as_of=world.AS_OF)
        return {"headers": {"authorization": f"Bearer {secret}"}, "content_type": "application/json"}

    move, delete = f"/api/v1/eval-runs/{run.pk}/move", f"/api/v1/evals/{run.eval_import_id}/delete"
    said = {"class": "drafting", "reason": "wrong rule", "seen": "triage"}
    (row,) = client.post(move, said, **bearer("eva")).json()
    assert (row["slug"], row["filed_under"], row["moved_by"], row["move_reason"]) == (
        "drafting", "triage", "eva", "wrong rule",
    )  # fmt: skip
    again = client.post(move, said, **bearer("eva"))
    assert again.status_code == 409 and "by now" in again.json()["error"]["message"]
    assert client.post(move, {"class": "triage"}, **bearer("eva")).status_code == 400
    assert client.post(delete, {"reason": "x"}, **bearer("eva")).status_code == 403
    assert client.post(delete, {}, **bearer("ada")).status_code == 400
    gone = client.post(delete, {"reason": "a test"}, **bearer("ada")).json()
    assert (gone["runs"], gone["results"], gone["classes"]) == (1, 200, ["drafting"])
    assert client.post(delete, {"reason": "a test"}, **bearer("ada")).status_code == 409
    assert client.post("/api/v1/evals/999999/delete", {"reason": "x"}, **bearer("ada")).status_code == 404
    told = client.get(f"/api/v1/evals/{run.eval_import_id}", headers=bearer("eva")["headers"]).json()
    assert (told["row"]["state"], told["deletion"]["who"], told["deletion"]["lines"][0]["results"]) == (
        "deleted", "ada", 200,
    )  # fmt: skip
