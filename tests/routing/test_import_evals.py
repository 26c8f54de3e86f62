"""Eval files into the database: whole or nothing, the same bytes once, audited; and the command."""

import gzip
import hashlib
import json
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection

from audit.models import AuditEntry
from audit.roles import Forbidden
from billing.models import ModelAlias, ModelRelease
from routing.importers import EvalImportError, ReadOptions
from routing.importers.bad_rows import BadRow, EvalRowsRefused, grouped
from routing.models import EvalCase, EvalImport, EvalRun, EvalSuiteRule, RequestClass
from routing.operations.classes import save_class
from routing.operations.evals import import_evals

pytestmark = pytest.mark.django_db
SAMPLES = Path(__file__).parents[1] / "importers" / "evals" / "samples"
AS_OF = datetime(2026, 11, 24, tzinfo=UTC)
HEADER = "suite,request_class,sample_id,model,run_at,passed"
ROW = "triage,classify,{sample},claude-haiku-4-5,2026-11-09T10:00:00Z,{passed}"


def write(folder: Path, rows: list[str], name: str = "evals.csv", header: str = HEADER) -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def rows(count: int, passed: str = "true") -> list[str]:
    return [ROW.format(sample=f"T-{n}", passed=passed) for n in range(count)]


@pytest.fixture
def classes():
    for slug in ("classify", "extract"):
        save_class(actor=None, slug=slug, facts={"title": slug}, as_of=AS_OF)


def user(role: str):
    found = get_user_model().objects.create_user(f"{role}-1")
    found.groups.add(Group.objects.get(name=role))
    return found


def load(path: Path, **options):
    return import_evals(actor=None, path=path, as_of=AS_OF, **options)


def counts() -> tuple[int, int, int, int]:
    return (
        EvalImport.objects.count(),
        EvalRun.objects.count(),
        EvalCase.objects.count(),
        AuditEntry.objects.filter(action="evals.imported").count(),
    )


@pytest.mark.parametrize(("sample", "left_out"), [("pass_fail.csv", 1), ("promptfoo_results.json", 2)])
def test_a_sample_is_saved_whole(classes, sample, left_out):
    outcome = load(SAMPLES / sample)
    assert (outcome.cases, outcome.left_out, outcome.duplicates, outcome.is_repeat) == (8, left_out, 0, False)
    assert outcome.classes == ("classify", "extract")
    assert outcome.models == ("claude-haiku-4-5", "claude-opus-4-8")
    assert counts() == (1, 2, 8, 1)
    assert EvalCase.objects.filter(score__isnull=True, error="overloaded_error").count() == left_out


def test_the_same_bytes_twice_change_nothing(classes, tmp_path):
    first = load(write(tmp_path, rows(3)))
    before = counts()
    again = load(write(tmp_path, rows(3), name="renamed.csv"))
    assert counts() == before
    assert again.is_repeat and again.import_id == first.import_id and again.earlier_at == AS_OF
    assert (again.cases, again.classes, again.models) == (first.cases, first.classes, first.models)


def test_a_grown_export_adds_only_what_is_new(classes, tmp_path):
    load(write(tmp_path, rows(3)))
    grown = load(write(tmp_path, rows(5)))
    assert (grown.cases, grown.duplicates) == (2, 3)
    assert EvalCase.objects.count() == 5
    changed = load(write(tmp_path, [*rows(5), ROW.format(sample="T-0", passed="false")]))
    assert (changed.cases, changed.duplicates) == (1, 5), "another result of the same case is a repeat, and kept"


def test_true_repeats_within_a_file_stay(classes, tmp_path):
    assert load(write(tmp_path, [*rows(2), *rows(2)])).cases == 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [*lines[:2], ROW.format(sample="T-9", passed="perhaps"), *lines[2:]],
        lambda lines: [*lines, "triage,classify"],
    ],
)
def test_a_bad_row_saves_nothing(classes, tmp_path, damage):
    with pytest.raises(EvalImportError, match=r"^evals\.csv, line "):
        load(write(tmp_path, damage(rows(4))))
    assert counts() == (0, 0, 0, 0)


def test_good_rows_on_request_list_the_others(classes, tmp_path):
    path = write(tmp_path, [*rows(2), ROW.format(sample="T-9", passed="perhaps"), ROW.format(sample="", passed="1")])
    outcome = load(path, good_rows=True)
    assert (outcome.cases, outcome.rejected) == (2, 2)
    saved = EvalImport.objects.get()
    assert saved.rejected == 2 and tuple(map(BadRow.kept, saved.rejected_rows)) == outcome.rejected_rows
    assert [str(row) for row in outcome.rejected_rows] == [
        "evals.csv, line 4: passed = 'perhaps': is neither true nor false. Use true or false.",
        "evals.csv, line 5: sample_id: is empty. Every row needs one.",
    ]


def test_every_bad_row_of_a_refused_file_is_told(classes, tmp_path):
    bad = [ROW.format(sample="T-9", passed="perhaps"), ROW.format(sample="", passed="1")]
    late = "triage,classify,T-8,claude-haiku-4-5,2027-11-09T10:00:00Z,true"
    lost = "triage,nobody,T-7,claude-haiku-4-5,2026-11-09T10:00:00Z,true"
    path = write(tmp_path, [*rows(2), bad[0], *rows(1), bad[1], late, lost])
    with pytest.raises(EvalRowsRefused) as caught:
        load(path)
    told = caught.value
    assert [(row.line, row.field, row.value) for row in told.rows[:2]] == [
        (4, "passed", "'perhaps'"), (6, "sample_id", ""),
    ]  # fmt: skip
    assert told.rows[2].where == "case T-8 on claude-haiku-4-5" and told.rows[2].field == "run_at"
    assert (told.rows[3].field, told.rows[3].value) == ("request_class", "'nobody'")
    assert told.count == 4 and all(row.file == "evals.csv" and row.remedy for row in told.rows)
    assert counts() == (0, 0, 0, 0)


def test_the_list_of_bad_rows_is_bounded_and_counted(classes, tmp_path):
    path = write(tmp_path, [ROW.format(sample=f"T-{n}", passed="perhaps") for n in range(1_000)])
    with pytest.raises(EvalRowsRefused) as caught:
        load(path)
    assert (len(caught.value.rows), caught.value.count) == (200, 1_000)
    assert str(caught.value).splitlines()[-1] == "evals.csv: 995 more bad rows; nothing was imported."
    (group,) = grouped(caught.value.rows)
    assert (group.places[:2], len(group.places), group.more, group.values) == (
        ("line 2", "line 3"), 12, 188, ("'perhaps'",),
    )  # fmt: skip


def test_a_file_that_breaks_off_after_bad_rows_says_both(classes, tmp_path):
    path = write(tmp_path, [ROW.format(sample="T-9", passed="perhaps"), *rows(20_000)])
    packed = tmp_path / "evals.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes())[:-4_000])
    with pytest.raises(EvalRowsRefused) as caught:
        load(packed)
    assert [row.problem for row in caught.value.rows] == ["is neither true nor false", "is a damaged gzip file"]
    assert counts() == (0, 0, 0, 0)


def test_sentences_kept_by_earlier_versions_are_still_shown():
    assert str(BadRow.kept("evals.csv, line 4: is wrong. Mend it.")) == "evals.csv, line 4: is wrong. Mend it."


def test_no_good_row_at_all_is_refused(classes, tmp_path):
    with pytest.raises(EvalImportError, match="holds no good row"):
        load(write(tmp_path, [ROW.format(sample="T", passed="perhaps")]), good_rows=True)
    assert counts() == (0, 0, 0, 0)


def test_an_upload_is_named_as_the_user_named_it(classes, tmp_path):
    path = write(tmp_path, [ROW.format(sample="T", passed="perhaps")], name="upload-7f.tmp")
    with pytest.raises(EvalImportError, match=r"^nightly\.csv, line 2: passed = 'perhaps'"):
        load(path, file_name="nightly.csv")


def test_unregistered_classes_are_listed_and_nothing_is_saved(tmp_path):
    with pytest.raises(EvalImportError) as caught:
        load(SAMPLES / "pass_fail.csv")
    said = str(caught.value)
    assert "request_class: no classes classify, extract are registered" in said and "--create-classes" in said
    assert counts() == (0, 0, 0, 0)


def test_create_classes_registers_them_with_the_default_bar():
    load(SAMPLES / "pass_fail.csv", create_classes=True)
    found = {
        slug: (str(bar), str(tolerance))
        for slug, bar, tolerance in RequestClass.objects.values_list("slug", "bar", "tolerance")
    }
    assert found == dict.fromkeys(("classify", "extract"), ("0.950000", "0.020000"))
    assert AuditEntry.objects.filter(action="class.registered").count() == 2


def test_an_id_that_cannot_be_a_class_is_said(tmp_path):
    path = write(tmp_path, ["triage,Ticket Triage,T-1,claude-haiku-4-5,2026-11-09T10:00:00Z,true"])
    with pytest.raises(EvalImportError, match=r"request_class = 'Ticket Triage': cannot be registered .* lower-case"):
        load(path, create_classes=True)
    assert not RequestClass.objects.exists() and counts() == (0, 0, 0, 0)


def test_class_of_the_file_then_option_then_map(classes, tmp_path):
    header = "suite,sample_id,model,run_at,passed,request_class"
    lines = [
        "a,1,claude-haiku-4-5,2026-11-09T10:00:00Z,true,classify",
        "a,2,claude-haiku-4-5,2026-11-09T10:00:00Z,true,",
        "b,3,claude-haiku-4-5,2026-11-09T10:00:00Z,true,",
    ]
    path = write(tmp_path, lines, header=header)
    with pytest.raises(EvalImportError, match="no class is named for the cases of suite b"):
        load(path, suite_classes={"a": "extract"})
    outcome = load(path, suite_classes={"a": "extract", "b": "classify"})
    assert outcome.classes == ("classify", "extract")
    assert set(EvalCase.objects.values_list("sample_id", "run__request_class__slug")) == {
        ("1", "classify"), ("2", "extract"), ("3", "classify"),
    }  # fmt: skip
    other = write(tmp_path, [lines[1]], header=header)
    option = load(other, options=ReadOptions(request_class="classify"), suite_classes={"a": "extract"})
    assert option.classes == ("classify",)


def test_results_from_the_future_are_refused(classes, tmp_path):
    path = write(tmp_path, ["triage,classify,T-1,claude-haiku-4-5,2027-11-09T10:00:00Z,true"])
    with pytest.raises(EvalImportError, match=r"evals.csv, case T-1 on .*: run_at = .*: is in the future\. Correct"):
        load(path)


def test_ids_that_count_runs_are_pointed_out_and_never_cut(classes, tmp_path):
    path = write(tmp_path, [ROW.format(sample=f"counter#{n}", passed="1") for n in range(10)])
    outcome = load(path)
    assert outcome.cases == 10 and EvalCase.objects.filter(sample_id="counter#3").exists()
    (warning,) = outcome.warnings
    assert "10 sample ids end in a number after '#' and share 1 beginnings" in warning and "'repeat'" in warning
    assert load(write(tmp_path, rows(4))).warnings == ()


def test_a_model_is_known_by_its_aliases(classes, tmp_path):
    release = ModelRelease.objects.create(canonical_id="claude-opus-4-5", display_name="Opus 4.5", source="test")
    ModelAlias.objects.create(alias="claude-opus-4.5", release=release)
    lines = [
        "triage,classify,1,anthropic/claude-opus-4.5,2026-11-09T10:00:00Z,true",
        "triage,classify,2,lab-model-2,2026-11-09T10:00:00Z,true",
    ]
    assert load(write(tmp_path, lines)).models == ("claude-opus-4-5", "lab-model-2")
    assert EvalCase.objects.get(sample_id="1").model_raw == "anthropic/claude-opus-4.5"


@pytest.mark.parametrize("role", ["procurement", "viewer"])
def test_who_may_not_import(classes, role, tmp_path):
    with pytest.raises(Forbidden, match="import"):
        import_evals(actor=user(role), path=write(tmp_path, rows(1)), as_of=AS_OF)
    assert counts() == (0, 0, 0, 0)


def test_an_engineer_imports_and_the_audit_says_so(classes, tmp_path):
    engineer = user("engineer")
    outcome = import_evals(actor=engineer, path=write(tmp_path, rows(2)), as_of=AS_OF)
    entry: Any = AuditEntry.objects.get(action="evals.imported")
    assert (entry.actor_name, entry.object_id, entry.after["cases"]) == ("engineer-1", str(outcome.import_id), 2)
    assert EvalImport.objects.get().imported_by == engineer


# -- the command -------------------------------------------------------------------------------------------------------


def run(*args: object) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    try:
        call_command("import_evals", *map(str, args), stdout=out, stderr=err)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def test_command_prints_one_json_document(tmp_path):
    code, out, err = run(SAMPLES / "pass_fail.csv", SAMPLES / "promptfoo_results.json", "--create-classes", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)["imports"]
    assert [(item["format"], item["cases"], item["left_out"]) for item in found] == [("csv", 8, 1), ("promptfoo", 8, 2)]


def test_command_refuses_all_files_when_one_is_bad(classes, tmp_path):
    good, bad = write(tmp_path, rows(3)), tmp_path / "bad.json"
    bad.write_text('{"evalId": "x", "results": {"version": 3, "resu')
    code, out, err = run(good, bad)
    assert (code, out) == (2, "")
    assert err.startswith("bad.json, line 1: is not complete JSON at column")
    assert counts() == (0, 0, 0, 0)


def test_command_lists_every_bad_row(classes, tmp_path):
    path = write(tmp_path, [*rows(1), *(ROW.format(sample=f"B-{n}", passed="perhaps") for n in range(250))])
    code, out, err = run(path)
    told = err.splitlines()
    assert (code, out, len(told)) == (2, "", 201)
    assert told[199] == "evals.csv, line 202: passed = 'perhaps': is neither true nor false. Use true or false."
    assert told[200] == (
        "evals.csv: 250 bad rows, of which the first 200 are listed; nothing was imported. "
        "Mend the file, or add --good-rows."
    )
    code, out, err = run(path, "--good-rows")
    assert (code, err) == (0, "") and out.count("  refused: evals.csv, line") == 200
    assert "1 results, 0 left out (no verdict), 250 refused" in out
    code, _, err = run(write(tmp_path, [ROW.format(sample="B", passed="perhaps")]))
    assert err.splitlines()[1:] == [
        "evals.csv: 1 bad row; nothing was imported. Mend the file, or add --good-rows.",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "map.json, line 1: is not JSON"),
        ('["a"]', "does not map suites to classes"),
        ('{"a": 1}', "does not map suites to classes"),
    ],
)
def test_command_explains_a_bad_map(classes, tmp_path, content, words):
    path = tmp_path / "map.json"
    path.write_text(content)
    code, _, err = run(write(tmp_path, rows(1)), "--map", path)
    assert code == 2 and words in err and '{"suite": "class", …}' in err


def test_command_names_missing_files_and_bad_times(classes, tmp_path):
    code, _, err = run(tmp_path / "nowhere.csv")
    assert code == 2 and "nowhere.csv: no such file" in err
    code, _, err = run(write(tmp_path, rows(1)), "--run-at", "noon")
    assert code == 2 and "--run-at = 'noon': is not a time" in err


def test_command_maps_classes_and_takes_options(classes, tmp_path):
    path = write(tmp_path, ["1,claude-haiku-4-5,true"], header="sample_id,model,passed")
    mapping = tmp_path / "map.json"
    mapping.write_text('{"nightly": "extract"}')
    code, out, err = run(path, "--suite", "nightly@2", "--run-at", "2026-11-09T10:00:00+01:00", "--map", mapping)
    assert (code, err) == (0, "")
    assert out == ("evals.csv: 1 results, 0 left out (no verdict) (csv); classes extract; models claude-haiku-4-5\n")
    case = EvalCase.objects.get()
    assert case.run_at == datetime(2026, 11, 9, 9, tzinfo=UTC) and case.run.suite_version == "2"


@pytest.mark.django_db(transaction=True)
def test_a_double_click_imports_once(tmp_path):
    save_class(actor=None, slug="classify", facts={"title": "classify"}, as_of=AS_OF)
    path, ready, outcomes = write(tmp_path, rows(500)), Barrier(3), []

    def click() -> None:
        try:
            ready.wait(10)
            outcomes.append(load(path))
        finally:
            connection.close()

    threads = [Thread(target=click) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcome.is_repeat for outcome in outcomes) == [False, True, True]
    assert len({outcome.import_id for outcome in outcomes}) == 1
    assert counts() == (1, 1, 500, 1)


# -- what tells the class, and what the tool says ---------------------------------------------------------------------


def test_a_suite_finds_its_class_by_the_first_rule_that_matches(tmp_path):
    save_class(actor=None, slug="triage", facts={"title": "Triage"}, as_of=AS_OF)
    save_class(actor=None, slug="drafts", facts={"title": "Drafts"}, as_of=AS_OF)
    rules = (("triage-*", "triage", 1), ("*", "drafts", 2))
    for pattern, slug, position in rules:
        EvalSuiteRule.objects.create(
            pattern=pattern, request_class=RequestClass.objects.get(slug=slug), position=position
        )
    path = tmp_path / "results.csv"
    path.write_text(
        "suite,sample_id,model,run_at,passed\n"
        "triage-nightly,a,claude-haiku-4-5,2026-11-01T00:00:00Z,true\n"
        "other,b,claude-haiku-4-5,2026-11-01T00:00:00Z,true\n"
        "triage[v2],c,claude-haiku-4-5,2026-11-01T00:00:00Z,false\n"
    )
    found = import_evals(actor=None, path=path, as_of=AS_OF)
    assert found.classes == ("drafts", "triage")
    runs = {run.suite: (run.request_class.slug, run.results, run.left_out) for run in EvalRun.objects.all()}
    assert runs == {
        "triage-nightly": ("triage", 1, 0),
        "other": ("drafts", 1, 0),
        "triage[v2]": ("drafts", 1, 0),
    }


def test_a_pattern_knows_no_sets_of_characters(tmp_path):
    save_class(actor=None, slug="triage", facts={"title": "Triage"}, as_of=AS_OF)
    EvalSuiteRule.objects.create(pattern="triage[v?]", request_class=RequestClass.objects.get(slug="triage"))
    path = tmp_path / "results.csv"
    path.write_text("suite,sample_id,model,run_at,passed\ntriage[v2],c,claude-haiku-4-5,2026-11-01T00:00:00Z,true\n")
    assert import_evals(actor=None, path=path, as_of=AS_OF).classes == ("triage",)


def test_a_failed_import_of_the_same_file_is_no_repeat(tmp_path):
    save_class(actor=None, slug="triage", facts={"title": "Triage"}, as_of=AS_OF)
    path = tmp_path / "results.csv"
    path.write_text(
        "suite,request_class,sample_id,model,run_at,passed\n"
        "triage,triage,c,claude-haiku-4-5,2026-11-01T00:00:00Z,true\n"
    )
    EvalImport.objects.create(
        file_name="results.csv",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        format="csv",
        imported_at=AS_OF,
        state="failed",
        problem="the worker was killed",
    )
    assert not import_evals(actor=None, path=path, as_of=AS_OF).is_repeat
    assert import_evals(actor=None, path=path, as_of=AS_OF).is_repeat
