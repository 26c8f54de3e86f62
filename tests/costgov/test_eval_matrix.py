"""The eval matrix: which cells an address asks for, and that page, download and query agree."""

import csv
import io
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client

from audit.operations import bump_data_version
from costgov.queries.class_lines import quality_facts
from costgov.queries.evals import eval_matrix
from costgov.queries.matrix_selection import MatrixQuestion, select, shortened, verdict_counts
from costgov.views import evals as views
from costgov.views.evals import CLASSES_A_PAGE
from routing.models import EvalRun, RequestClass
from routing.queries.evidence import case_results
from tests.costgov import small_world as world
from tests.costgov.page_checks import problems
from tests.slow_evidence import class_verdicts

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


def titles(question: MatrixQuestion) -> list[str]:
    return [found.row.title for found in select(eval_matrix(as_of=world.AS_OF), question).rows]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (MatrixQuestion(), ["Reply drafting", "Ticket triage"]),
        (MatrixQuestion(words="TICKET"), ["Ticket triage"]),
        (MatrixQuestion(words="support-eng triage"), ["Ticket triage"]),
        (MatrixQuestion(words="nobody"), []),
        (MatrixQuestion(verdict="falls_short"), ["Reply drafting"]),
        (MatrixQuestion(verdict="falls_short", model="serves"), []),
        (MatrixQuestion(verdict="clears", model="serves"), ["Reply drafting", "Ticket triage"]),
        (MatrixQuestion(verdict="no_evidence", model=world.SONNET), ["Ticket triage"]),
        (MatrixQuestion(verdict="stale"), []),
        (MatrixQuestion(sort="rate"), ["Reply drafting", "Ticket triage"]),
        (MatrixQuestion(sort="cases", model=world.HAIKU), ["Reply drafting", "Ticket triage"]),
        (MatrixQuestion(sort="age"), ["Ticket triage", "Reply drafting"]),
        (MatrixQuestion(sort="verdict", model=world.HAIKU), ["Reply drafting", "Ticket triage"]),
        (MatrixQuestion(sort="verdict", model=world.SONNET), ["Ticket triage", "Reply drafting"]),
    ],
    ids=str,
)
def test_an_address_asks_for_rows(people, question: MatrixQuestion, expected: list[str]) -> None:
    assert titles(question) == expected


def test_one_model_is_one_column_and_what_is_unknown_comes_last(people) -> None:
    found = select(eval_matrix(as_of=world.AS_OF), MatrixQuestion(model=world.SONNET, sort="rate"))
    assert [column.model for column in found.columns] == [world.SONNET]
    assert [[cell and cell.cases for cell in each.cells] for each in found.rows] == [[150], [None]]


def test_counts_are_those_of_all_cells(people) -> None:
    counts = verdict_counts(eval_matrix(as_of=world.AS_OF))
    assert dict(counts) == {"clears": 3, "falls_short": 1, "stale": 0}
    later = verdict_counts(eval_matrix(as_of=world.AS_OF + timedelta(days=80)))
    assert later["stale"] == 4


def test_results_of_a_run_set_aside_do_not_count(people) -> None:
    before = eval_matrix(as_of=world.AS_OF)
    run = EvalRun.objects.get(request_class__slug="drafting", cases__model=world.HAIKU, cases__sample_id="case-0")
    run.set_aside_at, run.set_aside_reason = world.AS_OF - timedelta(days=1), "wrong prompt"
    run.save()
    after = eval_matrix(as_of=world.AS_OF)
    assert (before.results, after.results) == (700, 550)
    drafting = next(row for row in after.rows if row.slug == "drafting")
    cell = drafting.of(world.HAIKU)
    assert cell is None or cell.cases == 0


def test_the_page_says_each_cell_in_words(client: Client, people) -> None:
    client.force_login(people["vic"])
    html = get(client, "/evals/")
    assert problems(html) == []
    assert '<span class="visually-hidden">Haiku 4-5 on Ticket triage: </span>' in html
    assert "98.0%, interval" in html and "must reach 93.0%" in html and "98.0% · n 200" in html
    assert html.count("no case run") == 2, "opus never ran drafting, sonnet never ran triage"
    assert "2 classes." in html


def test_the_page_narrows_and_says_so(client: Client, people) -> None:
    client.force_login(people["vic"])
    html = get(client, "/evals/?verdict=falls_short&model=claude-haiku-4-5")
    assert "1 of 2 classes." in html and "/classes/drafting/" in html and "/classes/triage/" not in html
    assert "No class matches" in get(client, "/evals/?q=nobody-has-this")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("verdict=good", "?verdict=good is not known here; use one of"),
        ("model=claude-nobody", "?model=claude-nobody is not known here"),
        ("sort=-class", "?sort=-class is not known here"),
        ("page=0", "?page=0 is not the number of a page"),
        ("page=%C2%B2", "is not the number of a page"),
        ("pages=1", "?pages is not a parameter of this page"),
    ],
)
def test_odd_questions_are_refused_in_words(client: Client, people, query: str, words: str) -> None:
    client.force_login(people["vic"])
    assert words in get(client, f"/evals/?{query}", 400)


def test_many_classes_come_in_pages(client: Client, people) -> None:
    RequestClass.objects.bulk_create(RequestClass(slug=f"c{n:03}", title=f"Class {n:03}") for n in range(60))
    world.mapping("c000", "key-c000")
    bump_data_version()
    client.force_login(people["vic"])
    first, second = get(client, "/evals/"), get(client, "/evals/?page=2")
    assert f"1–{CLASSES_A_PAGE} of 62 classes" in first and f"{CLASSES_A_PAGE + 1}–62 of 62 classes" in second
    assert "/classes/c000/" in first and "/classes/c059/" not in first and "/classes/c059/" in second
    assert "41–62 of 62" in get(client, "/evals/?page=99"), "a page beyond the last is the last"
    assert "60 need evidence: Class 000, Class 001, Class 002, Class 003, Class 004 and 55 more." in first


def test_a_download_is_what_is_on_screen(client: Client, people) -> None:
    client.force_login(people["vic"])
    answer = client.get("/download/evals.csv?verdict=falls_short")
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    shown = select(eval_matrix(as_of=world.AS_OF), MatrixQuestion(verdict="falls_short"))
    cells = [(each.row.slug, cell) for each in shown.rows for cell in each.cells if cell is not None]
    assert [(row["class"], row["model"], row["verdict"], int(row["cases"])) for row in rows] == [
        (slug, cell.model, cell.status, cell.cases) for slug, cell in cells
    ]
    haiku = next(row for row in rows if row["model"] == world.HAIKU)
    expected = next(cell for _, cell in cells if cell.model == world.HAIKU)
    assert (float(haiku["pass_rate"]), float(haiku["lower"]), float(haiku["upper"])) == (
        0.8, expected.lower, expected.upper,
    )  # fmt: skip
    assert (haiku["serves"], haiku["stale"], haiku["newest_case_at"]) == ("false", "false", "2026-10-24T00:00:00Z")


def test_long_lists_of_titles_are_cut() -> None:
    assert shortened(["a", "b"]) == "a, b"
    assert shortened(list("abcdefg")) == "a, b, c, d, e and 2 more"


def test_verdicts_from_kept_evidence_are_those_of_the_results(people) -> None:
    for as_of in (world.AS_OF, world.AS_OF - timedelta(days=35)):
        results, kept = case_results(as_of=as_of), quality_facts(as_of=as_of).verdicts
        serving = {slug: row.incumbent for slug, row in kept.items() if row.incumbent is not None}
        assert results and kept == class_verdicts(results=results, incumbents=serving, as_of=as_of)


def test_with_very_many_results_the_page_does_not_wait_for_money(
    client: Client, people, monkeypatch: pytest.MonkeyPatch
) -> None:
    bump_data_version()
    client.force_login(people["vic"])
    monkeypatch.setattr(views, "MOST_RESULTS_AT_ONCE", 699)
    html = get(client, "/evals/")
    assert problems(html) == []
    assert 'hx-get="/evals/money/"' in html and "The verdicts above are complete" in html
    assert "0 of 2 classes are served by a model shown to fall short" in html
    assert "98.0% · n 200" in html, "the verdicts are all there"
    drawn = views._HELD["evals-verdicts"][1].drawn
    part = get(client, "/evals/money/")
    assert views._HELD["evals"][1].drawn is drawn, "the same cells are drawn once"
    assert 'id="m-answer" hx-swap-oob="true"' in part and "<strong>0 of 2</strong> classes have a cheaper model" in part
    assert "Evidence worth having" in part and "<html" not in part
    assert 'hx-get="/evals/money/"' not in get(client, "/evals/"), "known now"
    world.evals("drafting", world.OPUS, 90, 100, world.AS_OF - timedelta(days=1))
    get(client, "/evals/money/")
    shown = views._HELD["evals"][1]
    assert shown.drawn != drawn and "90.0% · n 100" in str(shown.drawn), "others are drawn anew"


def test_where_every_run_is_set_aside_the_matrix_says_so(client: Client, people) -> None:
    EvalRun.objects.update(set_aside_at=world.AS_OF, set_aside_reason="all wrong")
    bump_data_version()
    client.force_login(people["vic"])
    html = get(client, "/evals/")
    assert "No eval results yet" not in html and "0 results from 4 files" in html and "No evidence" in html


def test_what_a_process_holds_follows_every_change(client: Client, people) -> None:
    client.force_login(people["vic"])
    assert "700 results" in get(client, "/evals/") and "700 results" in get(client, "/evals/")
    world.evals("drafting", world.OPUS, 90, 100, world.AS_OF - timedelta(days=1))
    assert "800 results" in get(client, "/evals/"), "an import is a change"
    EvalRun.objects.filter(request_class__slug="drafting").delete()
    assert "800 results" in get(client, "/evals/"), "nothing said that anything changed"
    cache.clear()
    assert "400 results" in get(client, "/evals/"), "another process began anew"
