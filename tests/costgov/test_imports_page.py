"""The Imports pages: upload, progress, what a file brought, remarks about the data, rights."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from billing.importers.base import ImportRefused
from billing.models import Import
from billing.operations.imports import ImportOptions
from billing.queries.import_pages import gaps
from costgov.models import User
from costgov.operations.usage import import_usage, run_queued_import
from costgov.queries.health import data_health
from costgov.queries.import_pages import imports_page
from tests.importers.usage.envelopes import envelope, report, result, write_json, write_lines
from tests.importers.usage.test_parquet import write_parquet

AS_OF = datetime(2026, 11, 23, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def var(settings: Any, tmp_path: Path) -> Path:
    settings.COSTGOV_VAR = tmp_path / "var"
    settings.COSTGOV_VAR.mkdir()
    return settings.COSTGOV_VAR


def visitor(role: str) -> Client:
    user = User.objects.create_user(username=f"{role}-1", password="a long password here")
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def engineer() -> Client:
    return visitor("engineer")


def log(rows: list[Any], name: str = "log.jsonl") -> SimpleUploadedFile:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    return SimpleUploadedFile(name, text.encode())


def upload(client: Client, *files: SimpleUploadedFile, **options: str) -> Any:
    return client.post("/imports/upload/", {"files": list(files), **options})


def text_of(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def test_an_empty_installation_leads_to_the_first_import(engineer: Client) -> None:
    shown = text_of(engineer.get("/imports/"))
    assert "Import the first usage file" in shown
    assert "usage_report/messages" in shown
    assert 'enctype="multipart/form-data"' in shown
    reader = text_of(visitor("viewer").get("/imports/"))
    assert "Nobody has imported usage so far" in reader
    assert 'enctype="multipart/form-data"' not in reader


def test_an_upload_is_queued_run_and_shown(
    engineer: Client, var: Path, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        answer = upload(engineer, log([envelope(1), envelope(2, model="claude-next-9")]), source="Gateway EU")
    assert len(callbacks) == 1
    row = Import.objects.get()
    assert answer.url == f"/imports/{row.pk}/"
    (waiting,) = (var / "incoming").iterdir()
    assert (row.state, row.file_path, waiting.stat().st_mode & 0o777) == ("queued", str(waiting), 0o600)
    shown = text_of(engineer.get(answer.url))
    assert "Waiting for a worker" in shown
    assert f'hx-get="/imports/{row.pk}/progress/"' in shown
    assert f'id="import-{row.pk}" hx-get="/imports/{row.pk}/progress/?as=row"' in text_of(engineer.get("/imports/"))

    outcome = run_queued_import(import_id=row.pk, as_of=AS_OF)
    assert (outcome.state, outcome.accepted) == ("done", 2)
    assert not list((var / "incoming").iterdir())
    shown = text_of(engineer.get(answer.url))
    assert "2 new requests of 9 Nov 2026." in shown
    assert "<dt>Started</dt><dd>23 Nov 2026, 12:00 UTC</dd><dt>Took</dt>" in shown
    assert "Unknown model claude-next-9 (110 tokens): listed as unpriced" in shown
    assert "hx-get" not in shown.split("<main")[1]
    listed = text_of(engineer.get("/imports/"))
    assert "Gateway EU" in listed
    assert "110 tokens of claude-next-9 have no price" in listed


def test_progress_is_asked_for_until_the_import_ends(engineer: Client) -> None:
    row = Import.objects.create(
        file_name="big.jsonl", sha256="a" * 64, state="running", progress_share=0.42, progress_note="Reading the file",
        created_at=AS_OF,
    )  # fmt: skip
    shown = text_of(engineer.get(f"/imports/{row.pk}/progress/"))
    assert "Reading the file" in shown
    assert "42%" in shown
    assert 'hx-trigger="every 1s"' in shown
    assert "hx-trigger" in text_of(engineer.get(f"/imports/{row.pk}/progress/?as=row"))
    Import.objects.filter(pk=row.pk).update(state="done")
    ended = engineer.get(f"/imports/{row.pk}/progress/")
    assert (ended.headers["HX-Refresh"], ended.content) == ("true", b"")
    assert "hx-trigger" not in text_of(engineer.get(f"/imports/{row.pk}/progress/?as=row"))
    assert engineer.get("/imports/999/progress/").status_code == 404
    assert engineer.get("/imports/999/").status_code == 404


def test_the_same_bytes_lead_to_their_import(engineer: Client) -> None:
    upload(engineer, log([envelope(1)]))
    row = Import.objects.get()
    answer = upload(engineer, log([envelope(1)], "copy.jsonl"))
    assert answer.url == f"/imports/{row.pk}/"
    assert "The same bytes are being imported already as log.jsonl" in text_of(engineer.get(answer.url))
    assert Import.objects.count() == 1


def test_several_files_lead_to_the_list(engineer: Client) -> None:
    answer = upload(engineer, log([envelope(1)], "a.jsonl"), log([envelope(2)], "b.jsonl"))
    first, last = Import.objects.order_by("pk").values_list("pk", flat=True)
    assert answer.url == f"/imports/?upload={first}-{last}"
    assert sorted(Import.objects.values_list("file_name", flat=True)) == ["a.jsonl", "b.jsonl"]


def test_an_upload_of_many_files_is_followed_as_one(engineer: Client) -> None:
    bad = log([envelope(9, usage={"output_tokens": -1})], "bad.jsonl")
    answer = upload(engineer, log([envelope(1), envelope(2)], "a.jsonl"), log([envelope(2)], "b.jsonl"), bad)
    waiting = text_of(engineer.get(answer.url))
    assert "0 of 3 files are done" in waiting and "0 imported · 0 known before · 0 refused" in waiting
    address = f"/imports/uploads/{answer.url.partition('=')[2]}/"
    assert f'hx-get="{address}" hx-trigger="every 2s"' in waiting
    for row in Import.objects.order_by("pk"):
        try:
            run_queued_import(import_id=row.pk, as_of=AS_OF)
        except ImportRefused:
            assert row.file_name == "bad.jsonl"
    ended = text_of(engineer.get(address))
    assert "All 3 files are done" in ended and "1 imported · 1 known before · 1 refused" in ended
    assert "2 new rows" in ended and "hx-trigger" not in ended
    assert "response.usage.output_tokens: a count cannot be negative" in ended
    listed = text_of(engineer.get("/imports/"))
    assert '<div class="sub">response.usage.output_tokens: a count cannot be negative</div>' in listed
    assert visitor("procurement").get(address).status_code == 404  # somebody else's
    assert engineer.get("/imports/uploads/900-901/").status_code == 404
    assert engineer.get(f"/imports/uploads/1-{10**30}/").status_code == 404
    for odd in ("x", "1", "1-", "-1", f"1-{10**30}", "9-1", "²-³"):
        assert engineer.get("/imports/", {"upload": odd}).status_code == 200


def test_many_files_that_came_before_are_said_in_one_sentence(engineer: Client) -> None:
    def files() -> list[SimpleUploadedFile]:
        return [log([envelope(n)], f"{n}.jsonl") for n in range(5)]

    upload(engineer, *files())
    answer = upload(engineer, *files())
    assert answer.url == "/imports/"
    assert (
        "5 of the files came before, byte for byte, and change nothing: 0.jsonl, 1.jsonl, 2.jsonl and 2 more."
    ) in text_of(engineer.get(answer.url))


def test_rows_that_are_folded_away_do_not_ask_for_themselves(engineer: Client) -> None:
    """Two hundred files of one upload would ask two hundred times a second."""
    upload(engineer, *(log([envelope(n)], f"{n}.jsonl") for n in range(12)))
    assert text_of(engineer.get("/imports/")).count('hx-trigger="every 1s"') == 8


def test_an_empty_file_and_no_file_are_refused_in_the_form(engineer: Client) -> None:
    empty = upload(engineer, SimpleUploadedFile("empty.jsonl", b""))
    assert empty.status_code == 400
    assert "The file is empty (0 bytes): export it again" in text_of(empty)
    nothing = engineer.post("/imports/upload/", {})
    assert nothing.status_code == 400
    assert "This field is required" in text_of(nothing)
    assert not Import.objects.exists()


@pytest.mark.parametrize(("kind", "word"), [("jsonl", "Line"), ("parquet", "Row")])
def test_problems_are_named_by_line_or_by_row(engineer: Client, tmp_path: Path, kind: str, word: str) -> None:
    write = write_lines if kind == "jsonl" else write_parquet
    path = write(tmp_path / f"log.{kind}", [envelope(1), envelope(2, usage={"output_tokens": -3})])
    upload(engineer, SimpleUploadedFile(path.name, path.read_bytes()))
    row = Import.objects.get()
    with pytest.raises(ImportRefused):
        run_queued_import(import_id=row.pk, as_of=AS_OF)
    shown = text_of(engineer.get(f"/imports/{row.pk}/"))
    assert f'<th scope="col" class="num">{word}</th>' in shown
    assert f'data-l="{word}">2</td>' in shown


def test_alike_problems_are_said_once(engineer: Client) -> None:
    rows = [envelope(n, usage={"output_tokens": -(n % 5) - 1}) for n in range(1, 21)]
    upload(engineer, log([*rows, envelope(21, usage={"output_tokens": "many"})]))
    row = Import.objects.get()
    with pytest.raises(ImportRefused):
        run_queued_import(import_id=row.pk, as_of=AS_OF)
    shown = text_of(engineer.get(f"/imports/{row.pk}/"))
    assert shown.count('data-l="What to do"') == 2
    assert 'data-l="Line">1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 8 more</td>' in shown
    assert "<code>-2</code>, <code>-3</code>, <code>-4</code></span>" in shown and "<code>-5</code>" not in shown
    assert "21 problems, equal ones together" in shown
    assert 'aria-label="In figures"' not in shown  # it was a row of dashes


def test_one_accepted_request_is_one_request(engineer: Client) -> None:
    upload(engineer, log([envelope(1)]))
    row = Import.objects.get()
    run_queued_import(import_id=row.pk, as_of=AS_OF)
    assert "1 new request of 9 Nov 2026" in text_of(engineer.get(f"/imports/{row.pk}/"))


def test_a_refused_file_says_line_field_value_and_remedy(engineer: Client) -> None:
    upload(engineer, log([envelope(1), envelope(2, usage={"output_tokens": -3})]))
    row = Import.objects.get()
    with pytest.raises(ImportRefused):
        run_queued_import(import_id=row.pk, as_of=AS_OF)
    shown = text_of(engineer.get(f"/imports/{row.pk}/"))
    for part in (
        "The file was refused; nothing of it was imported.",
        "<code>response.usage.output_tokens</code>",
        "<code>-3</code>",
        "A count cannot be negative",
        "Correct the row at its source",
    ):
        assert part in shown
    assert "good_rows=1#upload" in shown
    form = text_of(engineer.get("/imports/?good_rows=1&source=EU"))
    assert 'name="good_rows" id="id_good_rows" checked' in form
    assert 'value="EU"' in form


def test_a_conflict_offers_to_let_the_file_win(engineer: Client, tmp_path: Path) -> None:
    import_usage(actor=None, path=write_lines(tmp_path / "a.jsonl", [envelope(1)]), as_of=AS_OF)
    upload(engineer, log([envelope(1, usage={"output_tokens": 99})]))
    row = Import.objects.get(file_name="log.jsonl")
    with pytest.raises(ImportRefused):
        run_queued_import(import_id=row.pk, as_of=AS_OF)
    assert "replace=1#upload" in text_of(engineer.get(f"/imports/{row.pk}/"))


def test_a_waiting_import_can_be_cancelled(engineer: Client, var: Path) -> None:
    upload(engineer, log([envelope(1)]))
    row = Import.objects.get()
    answer: Any = engineer.post(f"/imports/{row.pk}/cancel/")
    row.refresh_from_db()
    assert (row.state, list((var / "incoming").iterdir())) == ("cancelled", [])
    assert "nothing of its file was kept" in text_of(engineer.get(answer.url))
    assert run_queued_import(import_id=row.pk, as_of=AS_OF).state == "cancelled"
    again: Any = engineer.post(f"/imports/{row.pk}/cancel/")
    assert "had ended already" in text_of(engineer.get(again.url))
    assert engineer.post("/imports/999/cancel/").status_code == 404


def test_viewers_may_look_but_not_import(engineer: Client) -> None:
    upload(engineer, log([envelope(1)]))
    row = Import.objects.get()
    reader = visitor("viewer")
    assert reader.get("/imports/").status_code == 200
    assert "cancel" not in text_of(reader.get(f"/imports/{row.pk}/")).split("<main")[1].lower()
    refused = upload(reader, log([envelope(2)]))
    assert refused.status_code == 403
    assert "may not import usage" in text_of(refused)
    assert reader.post(f"/imports/{row.pk}/cancel/").status_code == 403
    assert visitor("procurement").post(f"/imports/{row.pk}/cancel/").status_code == 302
    assert Client().get("/imports/").status_code == 302
    assert Import.objects.count() == 1


def test_remarks_gaps_and_logs_above_the_report(tmp_path: Path) -> None:
    days = [("2026-11-09T00:00:00Z", "2026-11-10T00:00:00Z"), ("2026-11-12T00:00:00Z", "2026-11-13T00:00:00Z")]
    said = [(*day, [result(output_tokens=50, uncached_input_tokens=1_000)]) for day in days]
    import_usage(actor=None, path=write_json(tmp_path / "report.json", report(*said)), as_of=AS_OF)
    rows = [envelope(1, usage={"output_tokens": 51}), envelope(2, "2026-11-10T08:00:00Z")]
    path = write_lines(tmp_path / "log.jsonl", rows)
    outcome = import_usage(actor=None, path=path, as_of=AS_OF, options=ImportOptions())
    assert outcome.findings[-1] == (
        "Logs above the report for claude-haiku-4-5 on 1 day, most on 2026-11-09: 51 logged, 50 reported "
        "(output_tok; workspace any, API key any)."
    )
    shown = imports_page(health=data_health(as_of=AS_OF))
    titles = [remark.title for remark in shown.remarks]
    assert "Logs say more than the provider's report for claude-haiku-4-5 on 1 day" in titles
    assert "Anthropic usage report has nothing on 2 days" in titles
    (gap,) = [remark for remark in shown.remarks if "nothing on" in remark.title]
    assert "10–11 Nov 2026" in gap.text
    (above,) = [remark.text for remark in shown.remarks if remark.title.startswith("Logs say")]
    assert "51 logged, 50 reported" in above
    assert [(source.name, source.is_request_level, source.imports) for source in shown.sources] == [
        ("Anthropic usage report", False, 1),
        ("Request logs", True, 1),
    ]


def test_gaps() -> None:
    days = [date(2026, 11, day) for day in (1, 2, 5, 5, 9)]
    assert gaps(days) == ((date(2026, 11, 3), date(2026, 11, 4)), (date(2026, 11, 6), date(2026, 11, 8)))
    assert gaps([]) == gaps(days[:1]) == ()
