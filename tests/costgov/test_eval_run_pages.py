"""Runs of evals: the list and its filters, one run, its cases, one case on every model, setting a run aside."""

import csv
import io
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
from django.core.cache import cache
from django.test import Client

from audit.models import AuditEntry
from billing.models import ModelAlias, ModelRelease
from costgov.queries import eval_cases
from costgov.queries.eval_cases import CaseQuestion, UnknownCase, case_page, one_case
from costgov.queries.eval_run_pages import RunQuestion, UnknownRun, run_list, run_page
from routing.models import EvalCase, EvalRun, VerdictRecord
from tests.costgov import small_world as world
from tests.costgov.page_checks import problems

pytestmark = pytest.mark.django_db
ODD_ID = 'ist="1"&x=<b>/%41 ü'


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


def run_of(slug: str, model: str) -> EvalRun:
    return EvalRun.objects.filter(request_class__slug=slug, cases__model=model).distinct().get()


def add_case(run: EvalRun, sample_id: str, **facts: object) -> EvalCase:
    values: dict[str, object] = {"model": world.HAIKU, "model_raw": world.HAIKU, "run_at": run.run_at, "score": 0.0}
    return EvalCase.objects.create(run=run, sample_id=sample_id, **{**values, **facts})


# -- the list ------------------------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first_with_what_they_hold(people) -> None:
    found = run_list(question=RunQuestion())
    assert [(row.run.slug, [(part.model, part.passed, part.results) for part in row.models]) for row in found.rows] == [
        ("drafting", [(world.HAIKU, 120, 150)]),
        ("drafting", [(world.SONNET, 146, 150)]),
        ("triage", [(world.HAIKU, 196, 200)]),
        ("triage", [(world.OPUS, 198, 200)]),
    ]
    assert found.rows[0].models[0].mean_score == pytest.approx(0.8)
    assert (found.found, found.in_all, found.flagged, found.set_aside, found.people) == (4, 4, 0, 0, ())


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (RunQuestion(slug="triage"), {"triage"}),
        (RunQuestion(model=world.SONNET), {"drafting"}),
        (RunQuestion(model="claude-nobody"), set()),
        (RunQuestion(words="triage-claude"), {"triage"}),
        (RunQuestion(words="suite TRIAGE"), {"triage"}),
        (RunQuestion(words="promptfoo"), {"drafting"}),
        (RunQuestion(who="eva"), {"triage"}),
        (RunQuestion(state="flagged"), {"drafting"}),
        (RunQuestion(state="set-aside"), {"triage"}),
        (RunQuestion(state="counts"), {"triage", "drafting"}),
    ],
)
def test_filters_of_the_list(people, question: RunQuestion, expected: set[str]) -> None:
    drafting, triage = run_of("drafting", world.SONNET), run_of("triage", world.OPUS)
    drafting.tool, drafting.findings = "promptfoo 0.121", [{"kind": "errors", "text": "9 of 10 ended in an error"}]
    drafting.save()
    triage.set_aside_at, triage.set_aside_reason = world.AS_OF, "grader was down"
    triage.save()
    triage.eval_import.imported_by = people["eva"]
    triage.eval_import.save()
    assert {row.run.slug for row in run_list(question=question).rows} == expected


def test_a_name_given_later_is_found_by_it(people) -> None:
    world.evals("triage", "house-haiku", 30, 30, world.AS_OF - timedelta(days=2))
    ModelAlias.objects.create(alias="house-haiku", release=ModelRelease.objects.get(canonical_id=world.SONNET))
    found = run_list(question=RunQuestion(model=world.SONNET, slug="triage"))
    assert [part.model for row in found.rows for part in row.models] == [world.SONNET]
    lines = case_page(
        question=CaseQuestion(slug="triage", model=world.SONNET, outcome="all"), number=1, as_of=world.AS_OF
    )
    assert lines.count == 30


def test_the_list_page_and_its_download(client: Client, people) -> None:
    run = run_of("drafting", world.HAIKU)
    run.findings = [{"kind": "rate", "model": world.HAIKU, "text": "Passed 80% where 97% was usual", "remedy": "Look."}]
    run.save()
    client.force_login(people["vic"])
    html = get(client, "/evals/runs/")
    assert problems(html) == []
    assert "<strong>1</strong> of 4 runs looks broken" in html and "Passed 80% where 97% was usual" in html
    assert "120 of 150" in html and f"/evals/runs/{run.pk}/" in html
    assert "Import eval results" not in html, "a viewer cannot import"
    assert "1 of 4 runs" in get(client, "/evals/runs/?state=flagged&class=drafting")
    assert "No run matches" in get(client, "/evals/runs/?q=nobody")
    rows = list(csv.DictReader(io.StringIO(client.get("/download/eval-runs.csv?class=triage").getvalue().decode())))
    assert [(row["model"], row["results"], row["passed"], row["findings"]) for row in rows] == [
        (world.HAIKU, "200", "196", "0"), (world.OPUS, "200", "198", "0"),
    ]  # fmt: skip


def test_no_run_says_what_to_do(client: Client) -> None:
    people = world.people()
    client.force_login(people["vic"])
    assert "An engineer or an administrator can import" in get(client, "/evals/runs/")
    client.force_login(people["eva"])
    assert "Import what your eval tool wrote" in get(client, "/evals/runs/")


# -- one run -------------------------------------------------------------------------------------------------------


def test_a_run_adds_up_per_model_and_mode(people) -> None:
    run = run_of("triage", world.HAIKU)
    add_case(run, "case-0", repeat="2", score=0.5, cost_usd=Decimal("0.30"), latency_ms=500.0)
    add_case(run, "broken", score=None, error="timeout")
    add_case(run, "broken-too", score=None, error="timeout", mode="thinking")
    view = run_page(run_id=run.pk)
    assert view.cases == 202
    plain, thinking = view.parts
    assert (plain.cases, plain.results, plain.without_verdict, plain.passed) == (201, 202, 1, 196)
    assert plain.mean_score == pytest.approx(196.5 / 201) and plain.errors == (("timeout", 1),)
    assert (plain.cost_usd, plain.costed, plain.latency_ms) == (Decimal("0.30"), 1, 500.0)
    assert plain.input_tok == pytest.approx(1000.0), "the added result tells no tokens"
    assert (thinking.mode, thinking.results, thinking.mean_score) == ("thinking", 1, None)


def test_the_page_of_a_run(client: Client, people) -> None:
    run = run_of("triage", world.HAIKU)
    client.force_login(people["vic"])
    html = get(client, f"/evals/runs/{run.pk}/")
    assert problems(html) == []
    assert "This run counts as evidence for Ticket triage. It holds <strong>200</strong> cases in 200 results." in html
    assert "Set this run aside" not in html, "a viewer cannot"
    assert f"/evals/cases/?run={run.pk}&amp;class=triage" in html
    client.force_login(people["eva"])
    assert "Set this run aside" in get(client, f"/evals/runs/{run.pk}/")
    assert "There is no eval run number 999999" in get(client, "/evals/runs/999999/", 404)
    with pytest.raises(UnknownRun):
        run_page(run_id=999_999)


# -- cases ---------------------------------------------------------------------------------------------------------


def ids(**asked: Any) -> list[str]:
    found = case_page(question=CaseQuestion(**asked), number=1, as_of=world.AS_OF)
    return [line.sample_id for line in found.lines]


def test_cases_by_outcome_model_words_and_order(people) -> None:
    run = run_of("triage", world.HAIKU)
    add_case(run, "half", score=0.5, cost_usd=Decimal("0.2"), latency_ms=900.0)
    add_case(run, "broken", score=None, error="timeout", cost_usd=Decimal("0.9"))
    assert ids(slug="triage", model=world.HAIKU) == ["case-196", "case-197", "case-198", "case-199", "half"]
    assert ids(slug="triage") == ["case-196", "case-197", "case-198", "case-198", "case-199", "case-199", "half"]
    assert ids(run_id=run.pk, outcome="no-verdict") == ["broken"]
    assert ids(run_id=run.pk, outcome="all", sort="cost")[:2] == ["broken", "half"]
    assert ids(run_id=run.pk, outcome="all", sort="latency")[0] == "half"
    assert ids(slug="triage", outcome="all", words="HAL") == ["half"]
    assert ids(slug="triage", suite="another") == []
    assert len(ids(slug="triage", outcome="passed")) == 50, "a page"


def test_pages_of_cases_and_the_count_that_is_cut(people, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = CaseQuestion(slug="triage", outcome="all", sort="case")
    pages = [case_page(question=everything, number=n, as_of=world.AS_OF) for n in range(1, 9)]
    assert [(found.first, found.last, found.count, found.has_next) for found in pages[:2]] == [
        (1, 50, 400, True), (51, 100, 400, True),
    ]  # fmt: skip
    assert (pages[7].first, pages[7].last, pages[7].has_next) == (351, 400, False)
    seen = [line.id for found in pages for line in found.lines]
    assert len(set(seen)) == 400, "every result once"
    assert case_page(question=everything, number=99, as_of=world.AS_OF).number == 8
    monkeypatch.setattr(eval_cases, "MOST_COUNTED", 125)
    cut = case_page(question=everything, number=3, as_of=world.AS_OF)
    assert (cut.count, cut.is_more, cut.has_next, cut.first, len(cut.lines)) == (125, True, False, 101, 50)


def test_one_case_on_every_model(people) -> None:
    run = run_of("triage", world.HAIKU)
    add_case(run, "case-198", repeat="2", score=1.0, attempts=3, output_tok=7)
    found = one_case(slug="triage", suite="suite", sample_id="case-198", as_of=world.AS_OF)
    assert [(line.model, line.repeat, line.score, line.attempts) for line in found.lines] == [
        (world.HAIKU, "2", 1.0, 3), (world.HAIKU, "", 0.0, None), (world.OPUS, "", 0.0, None),
    ]  # fmt: skip
    with pytest.raises(UnknownCase, match="No result of case 'nope'"):
        one_case(slug="triage", suite="suite", sample_id="nope", as_of=world.AS_OF)


def test_case_pages_say_ids_and_figures(client: Client, people) -> None:
    run = run_of("drafting", world.HAIKU)
    add_case(
        run,
        ODD_ID,
        score=0.25,
        graded_score=0.5,
        attempts=2,
        uncached_input_tok=900,
        cache_read_tok=100,
        cache_write_5m_tok=0,
        cache_write_1h_tok=0,
        output_tok=12,
        cost_usd=Decimal("0.00123"),
        latency_ms=1234.0,
    )
    client.force_login(people["vic"])
    html = get(client, f"/evals/cases/?class=drafting&model={world.HAIKU}")
    assert problems(html) == []
    assert "31 results" in html and "1,000, 12" in html and "$0.00123" in html and "1,234 ms" in html
    assert "graded 0.50" in html and "Partly" in html and "Failed" in html
    address = f"/evals/case/?class=drafting&amp;suite=suite&amp;id={quote(ODD_ID, safe='')}"
    assert address in html
    case = get(client, address.replace("&amp;", "&"))
    assert problems(case) == []
    assert "No model passes this case; Haiku 4-5 does not." in case
    beside = get(client, "/evals/case/?class=drafting&suite=suite&id=case-130")
    assert "Sonnet 4-5 passes this case; Haiku 4-5 does not." in beside


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/evals/cases/", 400, "Say whose cases"),
        ("/evals/cases/?class=nope", 404, "There is no class &#x27;nope&#x27;"),
        ("/evals/cases/?run=x", 400, "?run=x is not the number of a run"),
        ("/evals/cases/?run=999999", 200, "No result matches"),
        ("/evals/cases/?class=triage&outcome=good", 400, "use one of failed, no-verdict, passed, all"),
        ("/evals/cases/?class=triage&model=nobody", 200, "No result matches"),
        ("/evals/case/?class=triage&suite=suite&id=nope", 404, "No result of case"),
        ("/evals/case/", 404, "There is no class"),
        ("/evals/runs/?state=good", 400, "use one of"),
        ("/evals/runs/?page=x", 400, "is not the number of a page"),
        ("/evals/runs/?q=%00", 400, "cannot be read"),
    ],
)  # fmt: skip
def test_odd_questions_are_answered_in_words(client: Client, people, path: str, status: int, words: str) -> None:
    client.force_login(people["vic"])
    assert words in get(client, path, status)


def test_the_download_of_cases_holds_all_pages(client: Client, people) -> None:
    client.force_login(people["vic"])
    text = client.get("/download/eval-cases.csv?class=triage&outcome=all&sort=case").getvalue().decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 400 and sum(row["score"] == "0.0" for row in rows) == 6
    assert client.get("/download/eval-cases.csv?class=nope").status_code == 400
    assert client.get("/download/eval-cases.csv").status_code == 400


# -- set aside -----------------------------------------------------------------------------------------------------


def test_a_run_is_set_aside_with_a_reason_and_counted_again(client: Client, people) -> None:
    run = run_of("triage", world.HAIKU)
    client.force_login(people["eva"])
    assert "From now on its <strong>200</strong> results" in get(client, f"/evals/runs/{run.pk}/set-aside/")
    refused = client.post(f"/evals/runs/{run.pk}/set-aside/", {"reason": "  "})
    assert refused.status_code == 400 and "Say why this run is set aside" in refused.content.decode()
    done = client.post(f"/evals/runs/{run.pk}/set-aside/", {"reason": "grader was down"})
    assert (done.status_code, done["Location"]) == (302, f"/evals/runs/{run.pk}/")
    html = get(client, f"/evals/runs/{run.pk}/")
    assert "is set aside: it is no evidence" in html and "grader was down" in html and "Count it again" in html
    assert "No evidence" in get(client, "/evals/?q=triage&model=serves")
    assert "set aside already" in get(client, f"/evals/runs/{run.pk}/set-aside/")
    again = client.post(f"/evals/runs/{run.pk}/count-again/")
    assert again.status_code == 302
    assert "Clears the bar" in get(client, "/evals/?q=triage&model=serves&verdict=clears")
    assert client.post(f"/evals/runs/{run.pk}/count-again/").status_code == 400
    assert {"evals.run_set_aside", "evals.run_counted_again"} <= set(
        AuditEntry.objects.values_list("action", flat=True)
    )
    assert VerdictRecord.objects.filter(request_class__slug="triage", model=world.HAIKU).exists()


@pytest.mark.parametrize("who", ["priya", "vic", "xen"])
@pytest.mark.parametrize("step", ["set-aside", "count-again"])
def test_who_may_not_judge_evidence_is_refused(client: Client, people, who: str, step: str) -> None:
    run = run_of("triage", world.HAIKU)
    client.force_login(people[who])
    path = f"/evals/runs/{run.pk}/{step}/"
    assert client.get(path).status_code == 403
    assert client.post(path, {"reason": "because"}).status_code == 403
    run.refresh_from_db()
    assert run.set_aside_at is None


def test_pages_need_a_login(client: Client, people) -> None:
    for path in ("/evals/runs/", "/evals/runs/1/", "/evals/cases/?class=triage", "/evals/case/?class=triage"):
        assert client.get(path).status_code == 302
