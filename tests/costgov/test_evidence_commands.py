"""Runs, work items and suite rules by command and by API: the same values, refusals in words."""

import json
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.test import Client

from costgov.models import User
from costgov.tasks import record_changed_verdicts
from costgov.tokens import create_token
from routing.models import EvalRun, WorkItem
from routing.operations.classes import save_class
from routing.operations.evals import import_evals

pytestmark = pytest.mark.django_db
AS_OF = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture(autouse=True)
def drifted(settings, tmp_path) -> None:
    settings.COSTGOV_AS_OF = AS_OF
    save_class(actor=None, slug="classify", facts={"title": "Classify"}, as_of=AS_OF)
    for day, passed in ((9, 200), (10, 100)):
        rows = [
            f"triage,classify,{day}-{n},claude-haiku-4-5,2026-11-{day:02}T10:00:00Z,{'true' if n < passed else 'false'}"
            for n in range(200)
        ]
        path = tmp_path / f"{day}.csv"
        path.write_text("\n".join(["suite,request_class,sample_id,model,run_at,passed", *rows]) + "\n")
        import_evals(actor=None, path=path, as_of=AS_OF)


def told(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


@pytest.fixture
def bearer() -> dict[str, Any]:
    engineer = User.objects.create_user("erin")
    engineer.groups.add(Group.objects.get(name="engineer"))
    _, secret = create_token(actor=engineer, name="ci", scopes=["read", "evals:write"], as_of=AS_OF)
    return {"headers": {"authorization": f"Bearer {secret}"}}


def test_a_run_is_set_aside_and_counted_again_by_command():
    run = EvalRun.objects.order_by("-pk")[0]
    assert "looks broken" in told("eval_runs", "--flagged") and "scored 50.0% on 200 cases" in told("eval_runs")
    assert json.loads(told("eval_runs", "--json"))[0]["id"] == run.pk
    assert "set aside" in told("eval_runs", "--set-aside", str(run.pk), "--reason", "Grader down")
    assert "0 open, 2 closed" in told("work_items", "--closed")
    assert "Grader down" not in told("eval_runs", "--count-again", str(run.pk))
    assert told("eval_runs", "--aside").strip() == "No such run."


@pytest.mark.parametrize(
    "words",
    [
        ["eval_runs", "--set-aside", "1000000", "--reason", "x"],
        ["eval_runs", "--user", "nobody"],
        ["work_items", "--close", "1000000", "--note", "x"],
        ["suite_rules", "--set", "a@2", "classify"],
        ["suite_rules", "--remove", "1000000"],
    ],
)
def test_what_cannot_be_done_ends_with_two(words, capsys):
    with pytest.raises(SystemExit) as ended:
        call_command(*words)
    assert ended.value.code == 2


def test_rules_and_items_by_command():
    assert "triage-* → classify" in told("suite_rules", "--set", "triage-*", "classify")
    assert json.loads(told("suite_rules", "--json"))[0]["pattern"] == "triage-*"
    item = WorkItem.objects.get(kind="verdict_changed")
    assert "became Below the bar" in told("work_items", "--judge")
    assert "closed 24 Nov 2026 by the system: Prompt fixed" in told(
        "work_items", "--close", str(item.pk), "--note", "Prompt fixed", "--closed"
    )


def test_the_daily_task_changes_nothing_twice():
    assert record_changed_verdicts() == {"verdicts": 0, "opened": 0, "resolved": 0}


def test_the_api_says_and_does_the_same(client: Client, bearer):
    runs = client.get("/api/v1/eval-runs?flagged=true", **bearer).json()
    assert [row["findings"][0]["kind"] for row in runs] == ["rate"]
    aside = f"/api/v1/eval-runs/{runs[0]['id']}"
    assert client.post(f"{aside}/count-again", **bearer).status_code == 409
    body = client.post(f"{aside}/set-aside", {"reason": "Grader down"}, content_type="application/json", **bearer)
    assert body.status_code == 200 and body.json()[0]["set_aside_reason"] == "Grader down"
    assert client.get("/api/v1/work-items", **bearer).json()["open_count"] == 0
    assert client.post(f"{aside}/count-again", **bearer).status_code == 200
    (item,) = client.get("/api/v1/work-items?class=classify", **bearer).json()["items"]
    close = f"/api/v1/work-items/{item['id']}/close"
    assert client.post(close, {"note": "seen"}, content_type="application/json", **bearer).status_code == 200
    assert client.post(close, {"note": "seen"}, content_type="application/json", **bearer).status_code == 409
    history = client.get("/api/v1/classes/classify/verdicts", **bearer).json()
    assert [row["status"] for row in history] == ["falls_short", "clears", "falls_short", "clears"]
    rule = client.post(
        "/api/v1/suite-rules", {"pattern": "x*", "class": "classify"}, content_type="application/json", **bearer
    )
    assert rule.status_code == 201
    assert client.post(f"/api/v1/suite-rules/{rule.json()[0]['id']}/remove", **bearer).json() == []


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        call_command(*words, stdout=StringIO())
    assert ended.value.code == 2
    return capsys.readouterr().err.strip()


@pytest.mark.parametrize(
    ("day", "said"),
    [
        ("2026-11-25", "2026-11-25 00:00 UTC is in the future: ask for a moment up to now."),
        ("9999-12-31", "9999-12-31 00:00 UTC is in the future: ask for a moment up to now."),
        ("0001-01-01", "0001-01-01T00:00:00+00:00 is before 2020: nothing is held of that time."),
    ],
)
def test_verdicts_of_a_time_to_come_or_before_all_is_held_are_refused(bearer, client: Client, capsys, day, said):
    assert refused(capsys, "quality", "--as-of", day) == said
    answer = client.get(f"/api/v1/quality?as_of={day}T00:00:00Z", **bearer)
    assert answer.status_code == 400 and said in answer.json()["error"]["message"]
    today = client.get("/api/v1/quality?as_of=2026-11-24T00:00:00Z", **bearer)
    assert today.status_code == 200 and "classify" in told("quality", "--as-of", "2026-11-24")
