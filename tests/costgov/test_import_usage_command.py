"""manage.py import_usage and usage_formats: files, directories, what became of each, answers, progress."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from billing.importers.usage_formats import format_names
from billing.models import Import, UsageSource
from billing.operations import import_lease, imports
from costgov.management.commands import import_usage as command
from tests.importers.usage.envelopes import envelope, write_json, write_lines
from tests.importers.usage.test_record_formats import batch_result, export, span

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def var(settings: Any, tmp_path: Path) -> Path:
    settings.COSTGOV_VAR = tmp_path / "var"
    settings.COSTGOV_VAR.mkdir()
    return settings.COSTGOV_VAR


def run(*words: Any, **options: Any) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    out, errors, status = io.StringIO(), io.StringIO(), 0
    try:
        call_command("import_usage", *map(str, words), stdout=out, stderr=errors, **options)
    except SystemExit as ended:
        status = int(ended.code or 0)
    return status, out.getvalue(), errors.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three good files in two folders, a bad one, a hidden one, a repeated one."""
    root = tmp_path / "logs"
    (root / "b").mkdir(parents=True)
    write_lines(root / "a.jsonl", [envelope(1), envelope(2)])
    write_lines(root / "b" / "c.jsonl.gz", [envelope(2), envelope(3)])
    write_lines(root / "b" / "bad.jsonl", [envelope(4, usage={"output_tokens": -1})])
    write_lines(root / "z.jsonl", [envelope(1), envelope(2)])
    (root / ".DS_Store").write_bytes(b"\0\1")
    return root


def test_a_directory_is_walked_in_order_each_file_whole_or_not_at_all(folder: Path) -> None:
    status, out, errors = run(folder)
    assert status == 2
    assert "b/bad.jsonl: line 1: response.usage.output_tokens = -1" in errors
    table = [line.split()[:2] for line in out.split("\n\n")[-1].splitlines()[1:-1]]
    assert table == [
        [".DS_Store", "skipped"],
        ["a.jsonl", "imported"],
        ["b/bad.jsonl", "REFUSED"],
        ["b/c.jsonl.gz", "imported"],
        ["z.jsonl", "known"],
    ]
    assert out.rstrip().endswith("3 of 5 files are in; 1 refused, 1 skipped.")
    assert list(Import.objects.filter(state="done").order_by("pk").values_list("file_name", "accepted")) == [
        ("a.jsonl", 2),
        ("b/c.jsonl.gz", 1),
    ]


def test_several_directories_and_files_and_what_is_not_there(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    status, out, errors = run(folder / "a.jsonl", empty, tmp_path / "nowhere.jsonl")
    assert status == 2
    assert "empty: there is no such file" in errors
    assert "nowhere.jsonl: there is no such file. Check the path." in errors
    assert "1 of 3 files are in; 2 refused, 0 skipped." in out


def test_one_file_needs_no_table_and_json_is_one_document(folder: Path) -> None:
    status, out, _ = run(folder / "a.jsonl")
    assert (status, out.count("\n\n")) == (0, 0)
    assert out.startswith("a.jsonl: 2 accepted, 0 duplicates, 0 rejected, 0 failed requests (messages_api_log")
    status, out, errors = run(folder, json=True)
    assert (status, [item["file_name"] for item in json.loads(out)]) == (2, ["a.jsonl", "b/c.jsonl.gz", "z.jsonl"])
    assert "bad.jsonl" in errors


def test_answers_on_the_command_line(tmp_path: Path) -> None:
    cached: dict[str, Any] = {"gen_ai.usage.cache_read.input_tokens": 40}
    path = write_json(tmp_path / "spans.json", export(span(1, **cached)))
    status, _, errors = run(path)
    assert status == 2
    assert "--input-includes-cache yes or no" in errors
    assert run(path, input_includes_cache="yes")[0] == 0
    assert UsageSource.objects.get().settings == {"input_includes_cache": "yes"}
    batch = write_lines(tmp_path / "batch.jsonl", [batch_result("a")])
    assert "--at TIME" in run(batch)[2]
    assert run(batch, at="2026-11-09T10:00:00+02:00")[0] == 0
    done = Import.objects.get(format="messages_batch_results", state="done")
    assert done.period_start is not None
    assert done.period_start.isoformat() == "2026-11-09T08:00:00+00:00"
    status, _, errors = run(batch, at="yesterday")
    assert (status, "'yesterday' is not an instant with a zone" in errors) == (2, True)


def test_what_takes_over_a_second_says_how_far_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_SECONDS_UNTIL_SAID", 3600)
    assert run(folder / "a.jsonl")[2] == ""
    monkeypatch.setattr(command, "_SECONDS_UNTIL_SAID", 0.0)
    _, _, errors = run(folder / "b" / "c.jsonl.gz")
    assert "b/c.jsonl.gz" not in errors  # a file named outright is shown by its own name
    assert "c.jsonl.gz: 88% Summing up hours and days" in errors
    assert import_lease._watchers == []


def test_ctrl_c_says_what_is_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = imports.import_file

    def stop(**options: Any) -> Any:
        if options["path"].name == "bad.jsonl":
            raise KeyboardInterrupt
        return real(**options)

    monkeypatch.setattr(imports, "import_file", stop)
    status, out, errors = run(folder / "a.jsonl", folder / "b")
    assert status == 130 and "a.jsonl: 2 accepted" in out
    assert "Stopped by Ctrl-C with 1 of 3 files imported; none is half in. Run the command again" in errors
    monkeypatch.undo()
    status, out, _ = run(folder / "a.jsonl", folder / "b" / "c.jsonl.gz")
    assert status == 0 and "known before" in out


def test_the_formats_are_listed() -> None:
    out = io.StringIO()
    call_command("usage_formats", stdout=out)
    listed = [line.split()[0] for line in out.getvalue().splitlines() if not line.startswith(" ")]
    assert listed == list(format_names())
    assert "may ask" in out.getvalue()
    as_json = io.StringIO()
    call_command("usage_formats", "--json", stdout=as_json)
    formats = {item["name"]: item for item in json.loads(as_json.getvalue())}
    assert formats["helicone_requests"]["questions"][0].startswith("--input-includes-cache yes|no: ")
    assert formats["litellm_daily"]["is_request_level"] is False
