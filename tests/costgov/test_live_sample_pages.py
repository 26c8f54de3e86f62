"""Live samples and their alarm as pages, the command and the API show them; the guide's file does what it says."""

import csv
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from costgov.queries.class_lines import class_lines
from costgov.queries.class_live import live_samples
from costgov.queries.evals import eval_matrix
from costgov.tokens import create_token
from routing.models import EvalRun, EvalSuiteRule, WorkItem
from routing.operations.evals import import_evals
from routing.operations.suite_rules import set_suite_rule
from routing.queries.monitors import monitors
from tests.costgov import small_world as world
from tests.costgov.page_checks import problems
from tests.costgov.policy_world import token

pytestmark = pytest.mark.django_db
GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "verdicts-and-runs.md"


@pytest.fixture(autouse=True)
def _frozen(settings) -> None:
    settings.COSTGOV_AS_OF = world.AS_OF
    cache.clear()


@pytest.fixture
def people():
    made = world.whole()
    set_suite_rule(actor=None, pattern="live-*", slug="triage", is_live=True, as_of=world.AS_OF - timedelta(days=34))
    return made


def samples(folder: Path, passes_each: int, model: str = world.HAIKU, name: str = "live"):
    """Sixty of the last two weeks; one in `passes_each` fails."""
    rows = []
    for number in range(60):
        run_at = world.AS_OF - timedelta(days=14) + number * timedelta(hours=5)
        flag = str(number % passes_each != 0).lower()
        rows.append(f"live-triage,{name}-{number},{model},{run_at:%Y-%m-%dT%H:%M:%SZ},{flag}")
    path = folder / f"{name}.csv"
    path.write_text("\n".join(["suite,sample_id,model,run_at,passed", *rows, ""]))
    return import_evals(actor=None, path=path, as_of=world.AS_OF - timedelta(hours=1))


def get(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, answer.content.decode()[:500]
    text = answer.content.decode()
    assert problems(text) == []
    return " ".join(text.split())


def told(*words: str, capsys) -> str:
    call_command(*words)
    return capsys.readouterr().out


def test_good_samples_are_shown_and_change_nothing(client: Client, people, tmp_path, capsys) -> None:
    samples(tmp_path, 30)
    client.force_login(people["vic"])
    shown = get(client, "/classes/triage/")
    assert 'id="live"' in shown and "No alarm" in shown and "96.7%" in shown
    assert "the work item below says" not in shown
    assert not WorkItem.objects.filter(kind="monitor_alarm").exists()
    assert "live 2026-11 claude-haiku-4-5: 58 of 60 passed (96.7%), line 93%; no alarm" in told(
        "quality", "--class", "triage", capsys=capsys
    )
    client.force_login(people["vic"])
    assert 'id="live"' not in get(client, "/classes/drafting/"), "nothing is said where there is nothing"


def test_an_alarm_reads_below_the_bar_everywhere(client: Client, people, tmp_path, capsys) -> None:
    line = class_lines(as_of=world.AS_OF).of("triage")
    assert line is not None and line.verdict == "clears"
    samples(tmp_path, 3)
    (item,) = WorkItem.objects.filter(kind="monitor_alarm")
    line = class_lines(as_of=world.AS_OF).of("triage")
    assert line is not None
    assert (line.verdict, line.verdict_text, line.live_alarm) == (
        "falls_short", "Below the bar (live samples)", item.text
    )  # fmt: skip
    assert line.value == 0.98, "the rate shown stays that of the evals"
    client.force_login(people["eva"])
    page = get(client, "/classes/triage/")
    assert "are below the line; the work item below says what to do" in page
    assert "by live samples" in page and "Alarm" in page
    assert "after 10 samples" in page
    matrix = get(client, "/evals/")
    assert "by live samples; evals stay as shown" in matrix
    assert "is below the bar on what serves it now" in matrix
    assert "by live samples; evals stay as shown" in get(client, "/evals/?verdict=falls_short&model=serves")
    rows = list(csv.DictReader(io.StringIO(client.get("/download/evals.csv?verdict=falls_short").getvalue().decode())))
    found = {(row["class"], row["model"]): (row["verdict"], row["live_alarm_month"]) for row in rows}
    assert found["triage", world.HAIKU] == ("clears", "2026-11") and found["triage", world.OPUS] == ("clears", "")
    assert "Below the bar by live samples:" in get(client, reverse("eval-runs", args=["triage", world.HAIKU]))
    items = get(client, "/evals/work/?kind=monitor_alarm")
    assert item.text.replace("'", "&#x27;") in items and "/classes/triage/#live" in items
    said = told("quality", "--class", "triage", capsys=capsys)
    assert f"below the bar by its live samples: {item.text}" in said and "; alarm on" in said
    assert "Live samples below the line" in told("work_items", capsys=capsys)
    # Closed with a note, pages say again what the evals say.
    client.post(reverse("work-item-close", args=[item.pk]), {"note": "The grader was wrong"})
    cache.clear()
    assert "by live samples; evals stay as shown" not in get(client, "/evals/")
    assert eval_matrix(as_of=world.AS_OF, with_money=False).below == ()


def test_the_api_tells_the_same(client: Client, people, tmp_path) -> None:
    samples(tmp_path, 3)
    _, secret = create_token(actor=people["eva"], name="t", scopes=["read", "evals:write"], as_of=world.AS_OF)
    bearer: dict[str, Any] = {"HTTP_AUTHORIZATION": f"Bearer {secret}"}
    row = client.get("/api/v1/quality?class=triage", **bearer).json()["classes"][0]
    haiku = next(each for each in row["models"] if each["model"] == world.HAIKU)
    assert (haiku["status"], haiku["alarm"]["month"]) == ("clears", "2026-11")
    (month,) = row["monitor"]["months"]
    (stretch,) = month["stretches"]
    assert (stretch["samples"], stretch["passes"], stretch["alarm"]["samples"]) == (60, 40.0, 10)
    assert stretch["needed"] == pytest.approx(2.995732, abs=1e-6) and stretch["highest"] > stretch["needed"]
    made = client.post(
        "/api/v1/suite-rules", {"pattern": "graded-*", "class": "triage", "is_live": True},
        content_type="application/json", **bearer,
    )  # fmt: skip
    assert {each["pattern"]: each["is_live"] for each in made.json()} == {"live-*": True, "graded-*": True}
    (run,) = [each for each in client.get("/api/v1/eval-runs?class=triage", **bearer).json() if each["is_live"]]
    assert run["suite"] == "live-triage"


def test_runs_say_that_they_are_live_samples(client: Client, people, tmp_path) -> None:
    samples(tmp_path, 30)
    client.force_login(people["vic"])
    run = EvalRun.objects.get(is_live=True)
    page = get(client, reverse("eval-run", args=[run.pk]))
    assert "they feed its monitor and no verdict" in page
    listed = get(client, "/evals/runs/?state=live")
    assert "live-triage@1" in listed and "suite@1" not in listed
    assert "live-triage@1" not in get(client, "/evals/runs/?state=counts")


def test_a_rule_is_declared_on_the_page_and_by_command(client: Client, people, capsys) -> None:
    client.force_login(people["eva"])
    answer = client.post("/evals/rules/", {"pattern": "sampled", "class": "triage", "live": "1"}, follow=True)
    assert "Suites that match sampled hold live samples of triage" in answer.content.decode()
    assert EvalSuiteRule.objects.get(pattern="sampled").is_live
    answer = client.post("/evals/rules/", {"pattern": "sampled", "class": "triage"}, follow=True)
    assert "belong to triage" in answer.content.decode()
    assert not EvalSuiteRule.objects.get(pattern="sampled").is_live
    typed = client.post("/evals/rules/", {"pattern": "sa", "class": "triage", "live": "1", "preview": "1"})
    assert 'name="live" value="1" checked' in typed.content.decode()
    said = told("suite_rules", "--set", "graded", "triage", "--live", capsys=capsys)
    assert "graded → triage, live samples" in said
    assert json.loads(told("suite_rules", "--json", capsys=capsys))[0].keys() >= {"pattern", "is_live"}


def test_a_rule_stays_one_of_live_samples_where_nobody_says_otherwise(client: Client, people, capsys) -> None:
    """Else whoever moves a rule to another class would turn live samples into evidence."""

    def is_live() -> bool:
        return EvalSuiteRule.objects.get(pattern="graded").is_live

    told("suite_rules", "--set", "graded", "triage", "--live", capsys=capsys)
    told("suite_rules", "--set", "graded", "drafting", capsys=capsys)
    assert is_live()
    _, headers = token(people["eva"], "evals:write")
    client.post("/api/v1/suite-rules", {"pattern": "graded", "class": "triage"}, "application/json", headers=headers)
    assert EvalSuiteRule.objects.get(pattern="graded").request_class.slug == "triage"
    assert is_live()
    said = {"pattern": "graded", "class": "triage", "is_live": False}
    client.post("/api/v1/suite-rules", said, "application/json", headers=headers)
    assert not is_live()
    told("suite_rules", "--set", "graded", "triage", "--no-live", capsys=capsys)
    assert not is_live()


def test_a_model_that_does_not_serve_is_counted_beside(people, tmp_path) -> None:
    samples(tmp_path, 3, model=world.OPUS)
    found = live_samples(slug="triage", names={}, as_of=world.AS_OF)
    assert found is not None
    assert (found.stretches, found.samples, found.open_alarm) == ((), 0, None)
    assert [(each.others, each.left_out) for each in found.uncounted] == [(60, 0)]
    assert live_samples(slug="drafting", names={}, as_of=world.AS_OF) is None


def test_the_file_of_the_guide_is_read_as_it_says(people, tmp_path) -> None:
    text = GUIDE.read_text(encoding="utf-8")
    block = text.split("```csv\n")[1].split("```")[0]
    path = tmp_path / "live-triage.csv"
    path.write_text("\n".join(line.strip() for line in block.splitlines()) + "\n")
    outcome = import_evals(actor=None, path=path, as_of=world.AS_OF + timedelta(days=2))
    assert (outcome.cases, outcome.left_out) == (3, 1)
    (month,) = monitors(as_of=world.AS_OF + timedelta(days=2))["triage"].months
    assert ([each.samples for each in month.stretches], month.left_out) == ([2], 1)
    assert month.stretches[0].passes == 1
