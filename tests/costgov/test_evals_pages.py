"""The Evals pages and `manage.py quality` on evidence a reader can count."""

import json
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client

from billing.models import ModelAlias, ModelRelease
from costgov.operations import evals as bringing
from costgov.queries.class_page import UnknownClass
from costgov.queries.eval_imports import eval_import
from costgov.queries.eval_runs import model_runs
from costgov.queries.evals import eval_matrix, quality
from routing.core.evidence import Evidence, results_of_epoch
from routing.core.verdicts import judge
from routing.models import EvalCase, EvalImport, EvalRun, EvalRunPart, RequestClass
from routing.operations.eval_parts import write_parts
from routing.queries.evidence import case_results
from tests.costgov import small_world as world
from tests.costgov.page_checks import problems

pytestmark = pytest.mark.django_db
SAMPLES = Path(__file__).parents[1] / "importers" / "evals" / "samples"


@pytest.fixture(autouse=True)
def _frozen(settings) -> None:
    settings.COSTGOV_AS_OF = world.AS_OF


@pytest.fixture
def people():
    return world.whole()


def get(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, answer.content.decode()[:500]
    return " ".join(answer.content.decode().split())


# -- values --------------------------------------------------------------------------------------------------------


def test_quality_is_the_verdict_of_every_class_and_model(people):
    found = {row.slug: row for row in quality(as_of=world.AS_OF).classes}
    assert {slug: row.incumbent for slug, row in found.items()} == {"triage": world.HAIKU, "drafting": world.SONNET}
    triage = {row.model: row for row in found["triage"].models}
    haiku, opus = triage[world.HAIKU], triage[world.OPUS]
    expected = judge(Evidence.of_counts(196, 200), bar=0.95, tolerance=0.02, candidates=1)
    assert (haiku.status, haiku.cases, haiku.candidates, haiku.serves) == ("clears", 200, 1, True)
    assert (haiku.ln_e_clear, haiku.lower, haiku.upper) == (expected.ln_e_clear, expected.lower, expected.upper)
    assert (opus.serves, opus.candidates, opus.passes) == (False, 1, 198)
    drafting = {row.model: row for row in found["drafting"].models}
    assert drafting[world.HAIKU].status == "falls_short" and drafting[world.HAIKU].line == 0.9


def test_quality_before_a_run_knows_nothing_of_it(people):
    before = quality(as_of=world.AS_OF - timedelta(days=41), slug="triage").classes[0]
    assert {row.model: row.cases for row in before.models} == {world.OPUS: 200}


def test_an_unknown_class_lists_those_there_are(people):
    with pytest.raises(UnknownClass, match="drafting, triage"):
        quality(as_of=world.AS_OF, slug="nope")


def test_matrix_counts_classes_with_a_cheaper_model_that_clears(people):
    world.evals("drafting", world.HAIKU, 150, 150, world.AS_OF - timedelta(days=3), version="2")
    world.evals("drafting", world.SONNET, 150, 150, world.AS_OF - timedelta(days=3), version="2")
    found = eval_matrix(as_of=world.AS_OF)
    assert found.cheaper == ("Reply drafting",), "haiku clears the new suite and costs a third of sonnet"
    assert [(column.model, column.tier) for column in found.models] == [
        (world.OPUS, "frontier"), (world.SONNET, "balanced"), (world.HAIKU, "fast"),
    ]  # fmt: skip
    assert found.results == 200 + 200 + 150 + 150 + 150 + 150 and found.imports == 6
    by_title = {row.title: cells for row, cells in zip(found.rows, found.cells, strict=True)}
    assert [cell is None for cell in by_title["Ticket triage"]] == [False, True, False]


def test_missing_evidence_is_ranked_by_money(people):
    EvalRun.objects.filter(request_class__slug="drafting").delete()
    world.evals("drafting", world.SONNET, 146, 150, world.AS_OF - timedelta(days=30))
    found = eval_matrix(as_of=world.AS_OF)
    gap = found.missing[0]
    assert (gap.slug, gap.model, gap.status, gap.cases) == ("drafting", world.HAIKU, "no_evidence", 0)
    savings = [row.saving_usd_per_month for row in found.missing]
    assert savings == sorted(savings, reverse=True) and savings[0] > 0
    assert found.needing == ("Reply drafting",)


def test_runs_name_epochs_failing_cases_and_means(people):
    old = world.AS_OF - timedelta(days=20)
    world.evals("triage", world.HAIKU, 58, 60, old, version="2")
    run = EvalRun.objects.get(suite_version="2")
    EvalCase.objects.create(run=run, sample_id="case-0", repeat="2", model=world.HAIKU, model_raw=world.HAIKU,
                            run_at=old, score=0.0, cost_usd="0.30", latency_ms=500)  # fmt: skip
    EvalCase.objects.create(run=run, sample_id="broken", model=world.HAIKU, model_raw=world.HAIKU, run_at=old,
                            score=None, error="timeout")  # fmt: skip
    found = model_runs(slug="triage", model=world.HAIKU, as_of=world.AS_OF)
    assert found.judged.cases == 60 and found.judged.left_out == 1
    assert [(case.sample_id, case.score, case.repeats) for case in found.failing] == [
        ("case-58", 0.0, 1), ("case-59", 0.0, 1), ("case-0", 0.5, 2),
    ]  # fmt: skip
    assert [(case.sample_id, case.errors) for case in found.unverdicted] == [("broken", ("timeout",))]
    assert (found.full_passes, found.is_pass_fail) == (57, False)
    assert [(row.suite_version, row.is_current, row.cases, row.results) for row in found.epochs] == [
        ("2", True, 61, 62), ("1", False, 200, 200),
    ]  # fmt: skip
    assert (found.means.costed, found.means.cost_usd, found.means.counted) == (1, Decimal("0.3"), 60)
    assert found.means.input_tok == 1000 and found.means.latency_ms == 500
    assert [(row.results, row.without_verdict) for row in found.runs] == [(62, 1), (200, 0)]


def test_runs_pair_a_model_with_what_serves(people):
    found = model_runs(slug="drafting", model=world.HAIKU, as_of=world.AS_OF)
    assert found.pairing is not None
    assert (found.pairing.other, found.pairing.cases) == (world.SONNET, 150)
    assert (found.pairing.only_this_passed, found.pairing.only_other_passed) == (0, 26)
    assert found.pairing.cost_ratio is None, "no result states a cost"


def test_results_follow_a_name_given_later(people):
    world.evals("triage", "house-haiku", 30, 30, world.AS_OF - timedelta(days=2))
    assert "house-haiku" in {row.model for row in quality(as_of=world.AS_OF, slug="triage").classes[0].models}
    ModelAlias.objects.create(alias="house-haiku", release=ModelRelease.objects.get(canonical_id=world.SONNET))
    models = {row.model: row.cases for row in quality(as_of=world.AS_OF, slug="triage").classes[0].models}
    assert models == {world.HAIKU: 200, world.OPUS: 200, world.SONNET: 30}
    assert [row.results for row in model_runs(slug="triage", model=world.SONNET, as_of=world.AS_OF).runs] == [30]


def test_runs_of_a_model_never_seen(people):
    with pytest.raises(UnknownClass, match="never ran a case of triage"):
        model_runs(slug="triage", model="claude-nobody", as_of=world.AS_OF)


# -- pages ---------------------------------------------------------------------------------------------------------


def test_matrix_page_answers_first(client: Client, people):
    client.force_login(people["vic"])
    html = get(client, "/evals/")
    assert "<strong>0 of 2</strong> classes have a cheaper model that clears the bar" in html
    assert "Below the bar" in html and "Clears the bar" in html and "serves now" in html
    assert "/evals/triage/claude-haiku-4-5/" in html and "/classes/triage/" in html
    assert "Evals are made up." in html
    assert "Import eval results" not in html, "a viewer cannot import"
    client.force_login(people["eva"])
    assert "/evals/import/" in get(client, "/evals/")


def test_matrix_page_marks_stale_evidence(client: Client, people, settings):
    settings.COSTGOV_AS_OF = world.AS_OF + timedelta(days=80)
    client.force_login(people["vic"])
    html = get(client, "/evals/")
    assert "Stale" in html and "no new move may start there" in html


def test_pages_without_classes_or_results_say_what_to_do(client: Client):
    people = world.people()
    client.force_login(people["eva"])
    assert "No class of work is registered" in get(client, "/evals/")
    world.organisation()
    world.models()
    world.classes()
    from audit.operations import bump_data_version

    bump_data_version()
    assert "No eval results yet" in get(client, "/evals/")
    client.force_login(people["vic"])
    assert "An engineer or an administrator can import" in get(client, "/evals/")


def test_runs_page_names_the_method_and_its_inputs(client: Client, people):
    client.force_login(people["vic"])
    html = get(client, "/evals/drafting/claude-haiku-4-5/")
    assert "It falls short: <strong>80.0%</strong> of 150 cases passed" in html
    for words in (
        "ln(K ÷ α)",
        "2.9957",
        "case-149",
        "90% (bar 90%, tolerance 0 points)",
        "drafting-claude-haiku-4-5.csv",
    ):
        assert words in html, words
    assert "never ran a case" in get(client, "/evals/triage/claude-nobody/", 404)
    assert "There is no class" in get(client, "/evals/nope/claude-nobody/", 404)


def test_pages_need_a_login(client: Client, people):
    for path in ("/evals/", "/evals/triage/claude-haiku-4-5/", "/evals/import/", "/evals/imports/1/"):
        assert client.get(path).status_code == 302


# -- importing in the browser --------------------------------------------------------------------------------------


def upload(client: Client, name: str, content: bytes, **fields: str):
    return client.post("/evals/import/", {"file": SimpleUploadedFile(name, content), **fields})


def test_upload_shows_what_a_file_brought(client: Client, people):
    client.force_login(people["eva"])
    content = (SAMPLES / "pass_fail.csv").read_bytes()
    answer = upload(client, "nightly.csv", content, create_classes="on")
    number = EvalImport.objects.get(file_name="nightly.csv").pk
    assert (answer.status_code, answer["Location"]) == (302, f"/evals/imports/{number}/")
    html = get(client, f"/evals/imports/{number}/")
    assert (
        "nightly.csv: 8 results imported." in html and "<strong>8</strong> results for 2 classes and 2 models" in html
    )
    assert RequestClass.objects.filter(slug="classify").exists()
    again = upload(client, "again.csv", content)
    assert again["Location"] == f"/evals/imports/{number}/"
    assert "was imported before on 23 Nov 2026: nothing changed" in get(client, again["Location"])
    assert "nightly.csv" in get(client, "/evals/import/")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.json", b" ", "empty.json: holds only blanks"),
        ("half.json", (SAMPLES / "promptfoo_results.json").read_bytes()[:9000], "half.json, line"),
        ("other.json", b'{"a": 1}', "other.json: is no known format of eval results"),
        ("cols.csv", b"suite,request_class,run_at\na,b,c\n", "missing columns: sample_id, model, passed or score"),
        (
            "bad.csv",
            b"suite,sample_id,model,passed,run_at,request_class\na,1,m,true,2026-11-09,triage\na,2,m,x,2026-11-09,triage\n",
            "bad.csv, line 3: passed = &#x27;x&#x27;: is neither true nor false. Use true or false.",
        ),
        (
            "class.csv",
            b"suite,sample_id,model,passed,run_at,request_class\na,1,m,true,2026-11-09,nope\n",
            "request_class = &#x27;nope&#x27;: no class of this id is registered",
        ),
        (
            "classes.csv",
            b"suite,sample_id,model,passed,run_at,request_class\na,1,m,true,2026-11-09,two\na,1,m,true,2026-11-09,one\n",
            "no classes one, two are registered. Register them on the Classes page, or let the import do so with the "
            "default bar (“Register unknown classes with the default bar”)",
        ),
        ("wide.csv", "suite,sample_id".encode("utf-16"), "wide.csv: is text in UTF-16. Save it as UTF-8"),
        (
            "wide.csv",
            "suite,sample_id,model,passed".encode("utf-16-le"),
            "wide.csv: is text in UTF-16. Save it as UTF-8",
        ),
        (
            "old.csv",
            b"suite,sample_id,model,passed,run_at,request_class\na,1,m,true,0001-01-01,triage\n",
            "is before 2020, when there was no Claude to ask. Correct the time of the run",
        ),
    ],
)
def test_refused_uploads_say_why_and_save_nothing(client: Client, people, name, content, words):
    client.force_login(people["eva"])
    before = (EvalImport.objects.count(), EvalCase.objects.count())
    answer = upload(client, name, content)
    html = " ".join(answer.content.decode().split())
    assert answer.status_code == 400 and words in html and "Nothing was saved." in html
    assert (EvalImport.objects.count(), EvalCase.objects.count()) == before
    assert ("choose “Import the good rows”" in html) == (name in ("bad.csv", "old.csv"))
    assert "(--" not in html and "or --" not in html


def test_one_result_is_one(client: Client, people):
    client.force_login(people["eva"])
    line = b"suite,sample_id,model,passed,run_at,request_class\na,1,m,true,2026-11-09,triage\n"
    assert "one.csv: 1 result imported." in get(client, upload(client, "one.csv", line)["Location"])


def test_a_refused_upload_lists_every_bad_row(client: Client, people):
    client.force_login(people["eva"])
    lines = ["suite,sample_id,model,passed,run_at,request_class"]
    lines += [f"a,{n},m,{'x' if n % 2 else 'y'},2026-11-09,triage" for n in range(250)]
    lines += ["a,,m,true,2026-11-09,triage"]
    answer = upload(client, "bad.csv", "\n".join(lines).encode())
    html = " ".join(answer.content.decode().split())
    assert answer.status_code == 400
    assert "bad.csv has 251 bad rows. Nothing of it was saved." in html
    assert "The first 200 of 251, equal ones together" in html and "line 13 and 188 more" in html
    assert "<code>passed</code>" in html and "Use true or false" in html
    answer = upload(client, "few.csv", "\n".join([lines[0], lines[1], lines[-1]]).encode())
    html = " ".join(answer.content.decode().split())
    assert "few.csv has 2 bad rows." in html and ">2 problems;" in html
    assert "<code>sample_id</code>" in html and "Every row needs one" in html


def test_good_rows_of_a_bad_file_are_listed(client: Client, people):
    client.force_login(people["eva"])
    content = b"suite,sample_id,model,passed\na,1,m,true\na,2,m,x\n"
    answer = upload(client, "bad.csv", content, good_rows="on", request_class="triage", run_at="2026-11-09T10:00")
    html = get(client, answer["Location"])
    assert "1 row refused" in html and '<td data-l="Where">line 3</td>' in html and "&#x27;x&#x27;" in html
    detail = eval_import(import_id=EvalImport.objects.get(file_name="bad.csv").pk)
    assert detail is not None and (detail.row.cases, detail.row.rejected) == (1, 1)


def test_a_bad_time_is_explained_in_the_form(client: Client, people):
    client.force_login(people["eva"])
    answer = upload(client, "a.csv", b"x", run_at="noon")
    assert answer.status_code == 400 and "noon is not a time: write it as" in answer.content.decode()


@pytest.mark.parametrize("who", ["priya", "vic"])
def test_who_may_not_import_sees_who_may(client: Client, people, who):
    client.force_login(people[who])
    assert "may not import eval results" in get(client, "/evals/import/", 403)
    assert upload(client, "a.csv", b"x").status_code == 403


# -- the command ---------------------------------------------------------------------------------------------------


def run(*words: str) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    try:
        call_command("quality", *words, stdout=out, stderr=err)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def test_command_prints_a_table_and_json(people):
    code, out, _ = run()
    assert code == 0
    row = next(line for line in out.splitlines() if "claude-haiku-4-5 *" in line)
    assert row.split()[:2] == ["triage", "claude-haiku-4-5"] and "98.0%" in row and row.endswith("Clears the bar")
    code, out, _ = run("--class", "drafting", "--json")
    (found,) = json.loads(out)["classes"]
    assert found["slug"] == "drafting" and found["line"] == 0.9
    haiku = next(row for row in found["models"] if row["model"] == world.HAIKU)
    assert (haiku["status"], haiku["passes"], haiku["cases"], haiku["stale"]) == ("falls_short", 120, 150, False)


def test_command_as_of_a_day(people):
    _, out, _ = run("--as-of", "2026-10-01", "--class", "triage", "--json")
    models = json.loads(out)["classes"][0]["models"]
    assert {row["model"]: row["cases"] for row in models} == {world.OPUS: 200}


def test_command_refuses_an_unknown_class(people):
    code, out, err = run("--class", "nope")
    assert (code, out) == (2, "") and "There is no class 'nope'" in err


# -- what an import says it did ------------------------------------------------------------------------------------


def _file(*lines: str) -> bytes:
    head = "suite,sample_id,model,passed,run_at,request_class"
    return "\n".join([head, *lines, ""]).encode()


def _line(sample: str, passed: str, at: str = "2026-11-09T10:00:00Z", suite: str = "suite@1") -> str:
    return f"{suite},{sample},{world.HAIKU},{passed},{at},triage"


def test_an_import_says_what_is_new_and_what_repeats(client: Client, people):
    client.force_login(people["eva"])
    first = upload(client, "one.csv", _file(*(_line(f"new-{n}", "true") for n in range(40))))
    number = int(first["Location"].rstrip("/").rsplit("/", 1)[1])
    detail = eval_import(import_id=number)
    assert detail is not None and (detail.new_cases, detail.repeated_cases) == (40, 0)
    again = _file(
        *(_line(f"new-{n}", "false", "2026-11-10T10:00:00Z") for n in range(3)),
        _line("case-0", "true", "2026-11-10T10:00:00Z"),
        _line("fresh", "true", "2026-11-10T10:00:00Z"),
        _line("broken", "", "2026-11-10T10:00:00Z"),
    )
    answer = upload(client, "two.csv", again)
    html = get(client, answer["Location"])
    assert "1 case is new evidence, 4 repeat cases that already have a score and add nothing." in html
    assert "1 ended without a verdict and counts neither way." in html
    other_version = upload(client, "three.csv", _file(_line("new-0", "true", "2026-11-11T10:00:00Z", "suite@2")))
    assert "1 case is new evidence." in get(client, other_version["Location"])


def test_an_import_names_the_verdicts_it_changed(client: Client, people):
    client.force_login(people["eva"])
    flawless = [_line(f"v-{n}", "true", suite="fresh@1").replace(world.HAIKU, world.SONNET) for n in range(150)]
    html = get(client, upload(client, "fresh.csv", _file(*flawless))["Location"])
    assert "Verdicts it changed" in html
    assert f"/evals/triage/{world.SONNET}/" in html and "150 of 150" in html and "the first" in html


def test_a_refused_file_is_taken_apart(client: Client, people):
    client.force_login(people["eva"])
    answer = upload(client, "bad.csv", _file(_line("a", "true"), _line("b", "maybe")))
    html = " ".join(answer.content.decode().split())
    assert '<td data-l="Where">line 3</td>' in html and ">1 problem;" in html
    assert "<code>passed</code>" in html and "<code>&#x27;maybe&#x27;</code>" in html
    assert '<td data-l="What to do">Use true or false</td>' in html


def test_the_results_behind_a_verdict_are_those_of_its_epoch(people):
    """Held against the slow way: every result of the class, and the rule of the epoch on it."""
    at = world.AS_OF - timedelta(days=10)
    world.evals("triage", world.HAIKU, 50, 60, at, version="2")
    world.evals("triage", world.OPUS, 58, 60, at + timedelta(days=1), version="2")
    world.evals("triage", world.HAIKU, 20, 40, at + timedelta(days=2), version="2", suite="second")
    EvalCase.objects.filter(run__suite="second", sample_id__in=["case-1", "case-2"]).update(mode="thinking")
    EvalCase.objects.filter(run__suite="second", sample_id="case-3").update(prompt_version="p2")
    EvalRunPart.objects.filter(run__suite="second").delete()
    write_parts([EvalRun.objects.get(suite="second").pk])
    slow = results_of_epoch(case_results(slugs=["triage"], as_of=world.AS_OF)["triage"])
    for model in (world.HAIKU, world.OPUS):
        found = model_runs(slug="triage", model=model, as_of=world.AS_OF)
        cases = {(row.suite, row.sample_id) for row in slow[model]}
        assert sum(epoch.results for epoch in found.epochs if epoch.is_current) == len(slow[model])
        shown = {(case.suite, case.sample_id) for case in found.failing}
        failed = {row.case for row in slow[model] if row.score is not None and row.score < 1}
        assert shown == failed and found.full_passes == len(cases) - len(failed)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("queued", "This file is being imported."),
        ("running", "40%"),
        ("failed", "line 3: passed is neither"),
        ("cancelled", "This import was cancelled"),
    ],
)
def test_an_import_that_is_not_done_says_where_it_is(client: Client, people, state: str, words: str):
    row = EvalImport.objects.create(
        file_name="big.csv", sha256="c" * 64, format="csv", imported_at=world.AS_OF, state=state, progress_share=0.4,
        progress_note="400,000 results read", problem="big.csv, line 3: passed is neither true nor false.",
    )  # fmt: skip
    client.force_login(people["vic"])
    html = get(client, f"/evals/imports/{row.pk}/")
    assert problems(html) == [] and words in html
    part = client.get(f"/evals/imports/{row.pk}/progress/")
    if state in ("queued", "running"):
        assert "400,000 results read" in html and part.status_code == 200
        assert "What it brought" not in html
        EvalImport.objects.filter(pk=row.pk).update(state="done")
        part = client.get(f"/evals/imports/{row.pk}/progress/")
    assert (part.status_code, part["HX-Refresh"]) == (200, "true")
    assert client.get("/evals/imports/999999/progress/").status_code == 404


def test_a_large_upload_waits_and_can_be_cancelled(client: Client, people, monkeypatch, settings, tmp_path):
    settings.COSTGOV_VAR = tmp_path
    sent: list[int] = []
    monkeypatch.setattr(bringing, "IMMEDIATE_BYTES", 10)
    monkeypatch.setattr(bringing, "_enqueue", sent.append)
    client.force_login(people["eva"])
    answer = upload(client, "big.csv", _file(_line("a", "true")))
    row = EvalImport.objects.get(file_name="big.csv")
    assert answer["Location"] == f"/evals/imports/{row.pk}/" and row.state == "queued"
    html = get(client, answer["Location"])
    assert "This file is being imported." in html and f'hx-get="/evals/imports/{row.pk}/progress/"' in html
    client.force_login(people["vic"])
    assert "Cancel the import" not in get(client, answer["Location"])
    assert client.post(f"/evals/imports/{row.pk}/cancel/").status_code == 403
    client.force_login(people["eva"])
    assert client.post(f"/evals/imports/{row.pk}/cancel/").status_code == 302
    row.refresh_from_db()
    assert row.state == "cancelled" and not row.runs.exists()
    assert "nothing of the file was saved" in get(client, answer["Location"])
    assert client.post("/evals/imports/999999/cancel/").status_code == 404
