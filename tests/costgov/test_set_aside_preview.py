"""Before a run is set aside its page says what that changes: exactly what then happens, and nothing until then."""

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from audit.queries import data_version
from billing.models import Organisation
from costgov.jsonout import plain
from costgov.queries.class_lines import quality_facts
from costgov.queries.recommendation import recommendation_view
from costgov.queries.savings import saving_kinds
from costgov.queries.set_aside_preview import SetAsidePreview, set_aside_preview
from routing.models import ClassEvidence, EvalRun, VerdictRecord
from routing.operations.classes import save_class
from routing.operations.eval_runs import count_again, set_aside
from tests.costgov import small_world as world
from tests.costgov.test_mixed_bars import RAN, REGISTERED, imported, passing

OPUS, HAIKU = world.OPUS, world.HAIKU
AS_OF = world.AS_OF


@pytest.fixture
def people(settings: Any, tmp_path: Path, db: Any) -> dict[str, Any]:
    """Opus serves two classes; haiku clears triage by two runs of 200 cases, drafting by one run of 300."""
    settings.COSTGOV_AS_OF = AS_OF
    found = world.people()
    world.organisation()
    world.models()
    world.prices()
    for slug in ("triage", "drafting"):
        save_class(actor=None, slug=slug, facts={"title": slug.title()}, as_of=REGISTERED)
        for back in range(28, 0, -1):
            world.use(world.TODAY - timedelta(days=back), OPUS, slug, 100, (200_000, 30_000))
        imported(tmp_path, slug, passing("core", OPUS, range(200)), name=f"{slug}-opus")
    imported(tmp_path, "triage", passing("core", HAIKU, range(196)), name="first")
    imported(tmp_path, "triage", passing("edge", HAIKU, range(60), 100), RAN + timedelta(days=1), name="broken")
    imported(tmp_path, "drafting", passing("core", HAIKU, range(296), 300), name="drafting-haiku")
    return found


def run_of(name: str) -> EvalRun:
    return EvalRun.objects.get(eval_import__file_name=f"{name}.csv")


def reality(slug: str) -> tuple[dict[str, tuple[str, bool, int]], dict[str, Decimal], dict[str, str]]:
    """Verdicts of a class, savings of the estate and what is recommended, as they are."""
    verdicts = quality_facts(as_of=AS_OF, slug=slug).verdicts[slug].verdicts
    view = recommendation_view(as_of=AS_OF)
    kinds = saving_kinds(view)
    return (
        {model: (each.status, each.stale, each.cases) for model, each in verdicts.items()},
        {
            "Proven": kinds.proven_usd,
            "Unproven": kinds.unproven_usd,
            "In force": kinds.decided_usd,
            "Cost of quality": kinds.quality_usd,
        },
        {row.request_class: row.target for row in view.classes},
    )


def said(preview: SetAsidePreview | None) -> tuple[dict[str, tuple[str, bool, int]], dict[str, Decimal]]:
    assert preview is not None
    verdicts = {row.model: (row.status_after, row.stale_after, row.cases_after) for row in preview.verdicts}
    return verdicts, {row.kind: row.after_usd for row in preview.savings}


@pytest.mark.parametrize("name", ["first", "broken", "drafting-haiku", "triage-opus"])
def test_the_preview_is_what_then_happens_and_back(people: dict[str, Any], name: str) -> None:
    run = run_of(name)
    slug = run.request_class.slug
    before = reality(slug)
    kept = (data_version(), plain(list(ClassEvidence.objects.values())), VerdictRecord.objects.count())
    preview = set_aside_preview(run_id=run.pk, sets_aside=True, as_of=AS_OF)
    assert (data_version(), plain(list(ClassEvidence.objects.values())), VerdictRecord.objects.count()) == kept
    assert EvalRun.objects.get(pk=run.pk).set_aside_at is None and reality(slug) == before
    set_aside(actor=people["eva"], run_id=run.pk, reason="the grader was down", as_of=AS_OF)
    after = reality(slug)
    verdicts, savings = said(preview)
    assert {model: each for model, each in verdicts.items() if each[2]} == {
        model: each for model, each in after[0].items() if each[2]
    }
    assert savings == after[1]
    assert preview is not None
    assert {row.slug for row in preview.targets} == {
        each for each in before[2] | after[2] if before[2].get(each) != after[2].get(each)
    }
    back = set_aside_preview(run_id=run.pk, sets_aside=False, as_of=AS_OF)
    count_again(actor=people["eva"], run_id=run.pk, as_of=AS_OF)
    assert said(back)[1] == before[1] == reality(slug)[1]
    assert {model: each for model, each in said(back)[0].items() if each[2]} == before[0]


def test_a_saving_comes_and_another_goes(people: dict[str, Any]) -> None:
    """Haiku falls short on triage only by the broken run; without it, it clears: 2,800 × 0.0140 usd in 28 days."""
    preview = set_aside_preview(run_id=run_of("broken").pk, sets_aside=True, as_of=AS_OF)
    assert preview is not None
    (row,) = preview.changed
    assert (row.model, row.status_before, row.status_after) == (HAIKU, "falls_short", "clears")
    assert ((row.cases_before, row.cases_after), row.rate_after) == ((300, 200), 0.98)
    month = Decimal("30.4375") / 28
    gained = {row.kind: row.change_usd for row in preview.savings}
    assert sum(gained.values()) == (Decimal("39.20") * month).quantize(Decimal("0.01"))
    assert [(each.title, each.before, each.after) for each in preview.targets] == [("Triage", "Opus 4-5", "Haiku 4-5")]
    lost = set_aside_preview(run_id=run_of("drafting-haiku").pk, sets_aside=True, as_of=AS_OF)
    assert lost is not None and sum(row.change_usd for row in lost.savings) == -sum(gained.values())


def test_nothing_to_ask(people: dict[str, Any]) -> None:
    run = run_of("first")
    assert set_aside_preview(run_id=run.pk, sets_aside=False, as_of=AS_OF) is None  # it counts already
    assert set_aside_preview(run_id=9_999_999, sets_aside=True, as_of=AS_OF) is None
    EvalRun.objects.filter(pk=run.pk).update(is_live=True)
    assert set_aside_preview(run_id=run.pk, sets_aside=True, as_of=AS_OF) is None


def test_without_a_baseline_verdicts_are_said_and_savings_are_not(people: dict[str, Any]) -> None:
    Organisation.objects.update(baseline_model="")
    preview = set_aside_preview(run_id=run_of("broken").pk, sets_aside=True, as_of=AS_OF)
    assert preview is not None and len(preview.changed) == 1
    assert preview.savings == () and preview.no_money.startswith("No baseline model is set")


def read(client: Client, address: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", client.get(address).content.decode()).split())


def test_the_form_shows_it_before_anything_is_done(people: dict[str, Any]) -> None:
    client = Client()
    client.force_login(people["eva"])
    run = run_of("broken")
    shown = read(client, reverse("eval-run-set-aside", args=[run.pk]))
    assert "1 of 2 verdicts would change." in shown
    assert "Triage: Haiku 4-5 would be recommended instead of Opus 4-5." in shown
    assert "85.3% of 300 cases 98.0% of 200 cases" in shown  # an arrow between them
    assert "100.0% of 200 cases passed, as now" in shown
    assert "a month (+$42.61)." in shown and "Nothing of this is done yet." in shown
    assert EvalRun.objects.get(pk=run.pk).set_aside_at is None
    client.post(reverse("eval-run-set-aside", args=[run.pk]), {"reason": "grader"})
    again = read(client, reverse("eval-run-count-again", args=[run.pk]))
    assert "98.0% of 200 cases 85.3% of 300 cases" in again and "(−$42.61)" in again


def test_the_command_and_the_api_say_the_same(people: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of("broken")
    call_command("eval_runs", "--set-aside", str(run.pk), "--try", "--json")
    tried = orjson.loads(capsys.readouterr().out)
    client = Client()
    client.force_login(people["vic"])
    address = f"/api/v1/eval-runs/{run.pk}/set-aside"
    assert client.get(address).json() == tried == plain(set_aside_preview(run_id=run.pk, as_of=AS_OF))
    call_command("eval_runs", "--set-aside", str(run.pk), "--try")
    said_so = capsys.readouterr().out
    assert "1 of 2 verdicts would change; nothing is done." in said_so
    assert f"{HAIKU:<24} falls_short → clears (300 → 200 cases)" in said_so
    assert EvalRun.objects.get(pk=run.pk).set_aside_at is None
    assert client.get("/api/v1/eval-runs/9999999/set-aside").status_code == 404
    for words in (["--try"], ["--count-again", str(run.pk), "--try"]):
        with pytest.raises(SystemExit):
            call_command("eval_runs", *words)
