"""A table of somebody's own through the pages, the command and the API: asked once, then read by itself."""

import json
import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client

from audit.models import AuditEntry
from billing.core.column_mapping import parse_mapping
from billing.importers.base import ImportRefused
from billing.importers.generic_csv_preview import preview
from billing.models import ColumnMapping, DailyUsage, Import, UsageRollup, UsageSource
from billing.operations.column_mappings import expire_waiting_tables
from billing.operations.imports import ImportOptions, unfinished_imports
from billing.queries import column_mappings
from billing.queries.column_mappings import waiting_table
from costgov.models import User
from costgov.operations.usage import import_usage, run_queued_import
from costgov.tasks import sweep_import_leftovers

AS_OF = datetime(2026, 11, 23, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db
HEAD = "Day,Model,Project,Input tokens,Cached tokens,Output tokens,Calls,Prompt\n"
TABLE = (
    HEAD
    + "2026-11-20,claude-haiku-4-5,search,1000,200,50,4,why is the sky blue\n"
    + "2026-11-21,claude-haiku-4-5,search,3000,0,70,6,who are you\n"
)
REQUESTS = (
    "timestamp,request_id,model,input_tokens,output_tokens\n"
    "2026-11-20T10:00:00Z,a-1,claude-haiku-4-5,1000,50\n"
    "2026-11-20T11:00:00Z,a-2,claude-haiku-4-5,3000,70\n"
)


@pytest.fixture(autouse=True)
def var(settings: Any, tmp_path: Path) -> Path:
    settings.COSTGOV_VAR = tmp_path / "var"
    settings.COSTGOV_VAR.mkdir()
    settings.COSTGOV_AS_OF = AS_OF
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


def upload(client: Client, text: str, name: str = "projects_2026-11.csv", **options: str) -> Any:
    return client.post("/imports/upload/", {"files": [SimpleUploadedFile(name, text.encode())], **options})


def said(**changes: str) -> dict[str, str]:
    """What the form of TABLE holds after its zone and input were answered."""
    told = {
        "name": "Projects", "source": "Projects", "grain": "day", "time_format": "iso", "zone": "UTC",
        "channel": "anthropic", "model": "", "service_tier": "standard", "names_provider_keys": "on",
        "c0": "time", "c1": "model", "c2": "workspace", "c3": "input_with_cache", "c4": "cache_read", "c5": "output",
        "c6": "requests",
    }  # fmt: skip
    return {**told, **changes}


def text_of(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def test_an_unknown_table_is_asked_about_and_then_read_by_itself(
    engineer: Client, var: Path, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        answer = upload(engineer, TABLE)
    row = Import.objects.get()
    assert (answer.url, row.kind, row.state, callbacks) == (f"/imports/{row.pk}/columns/", "to_map", "queued", [])
    assert unfinished_imports() == []  # no worker may take it
    (waiting,) = (var / "incoming").iterdir()
    assert waiting.stat().st_mode & 0o777 == 0o600
    page = text_of(engineer.get(answer.url))
    assert "What are the columns?" in page
    assert "sky blue" not in page and "who are you" not in page
    assert "The times name no time zone" in page and "names no zone" in page

    with django_capture_on_commit_callbacks() as callbacks:
        done: Any = engineer.post(answer.url, {**said(), "keep": "1"})
    assert (done.status_code, done.url, len(callbacks)) == (302, f"/imports/{row.pk}/", 1)
    outcome = run_queued_import(import_id=row.pk, as_of=AS_OF)
    assert (outcome.state, outcome.accepted, outcome.source) == ("done", 2, "Projects")
    assert list((var / "incoming").iterdir()) == []
    days = {
        item.date.day: (item.uncached_input_tok, item.cache_read_tok, item.output_tok, item.requests, item.workspace)
        for item in DailyUsage.objects.all()
    }
    assert days == {20: (800, 200, 50, 4, "search"), 21: (3000, 0, 70, 6, "search")}
    assert "Projects" in text_of(engineer.get(f"/imports/{row.pk}/"))

    later = (
        "Model,Day,Project,Input tokens,Cached tokens,Output tokens,Calls,Prompt\n"
        "claude-haiku-4-5,2026-11-22,search,10,0,1,1,x\n"
    )
    again = upload(engineer, later, "next.csv")
    second = Import.objects.order_by("-pk").first()
    assert second is not None and again.url == f"/imports/{second.pk}/"
    outcome = run_queued_import(import_id=second.pk, as_of=AS_OF)
    assert outcome.findings[0] == "Read with the column mapping “Projects”."
    assert (outcome.source, DailyUsage.objects.count()) == ("Projects", 3)
    assert "prompt" not in json.dumps([item.options for item in Import.objects.all()]).lower().replace(
        '"prompt"]', ""
    ).replace('prompt"', "")  # its name is in the header, its values nowhere


def test_the_preview_follows_what_is_chosen(engineer: Client) -> None:
    url = upload(engineer, TABLE).url
    shown = text_of(engineer.post(f"{url}preview/", said()))
    assert "All 2 rows can be read" in shown and "20 Nov 2026" in shown and "800" in shown
    assert "<html" not in shown
    wrong = text_of(engineer.post(f"{url}preview/", said(c4="")))
    assert "no column says how many" in wrong and "Cached tokens" in wrong
    wrong = text_of(engineer.post(f"{url}preview/", said(zone="Europe/Berlin")))
    assert "a day in Europe/Berlin is not a day in UTC" in wrong
    wrong = text_of(engineer.post(f"{url}preview/", said(c2="model")))
    assert "Model and Project both say model" in wrong
    wrong = text_of(
        engineer.post(f"{url}preview/", said(c3="input_uncached", c5="cache_read", c4="output", zone="own"))
    )
    assert "the time names no zone" in wrong


def test_a_masked_column_cannot_be_mapped(engineer: Client) -> None:
    url = upload(engineer, TABLE).url
    assert 'name="c7"' not in text_of(engineer.get(url))
    engineer.post(url, {**said(c7="class"), "keep": "1"})
    assert ColumnMapping.objects.get().document["columns"].get("Prompt") is None


def test_a_contradiction_keeps_nothing(engineer: Client) -> None:
    url = upload(engineer, TABLE).url
    answer = engineer.post(url, {**said(c0=""), "keep": "1"})
    assert answer.status_code == 400
    assert "no column holds the time" in text_of(answer)
    assert (ColumnMapping.objects.count(), Import.objects.get().kind) == (0, "to_map")


def test_a_table_is_discarded_or_forgotten_after_a_day(engineer: Client, var: Path) -> None:
    url = upload(engineer, TABLE).url
    assert engineer.post(f"{url}discard/").status_code == 302
    assert list((var / "incoming").iterdir()) == []
    assert engineer.get(url).status_code == 302
    second = upload(engineer, TABLE).url
    pk = int(second.split("/")[2])
    (waiting,) = (var / "incoming").iterdir()
    os.utime(waiting, (AS_OF.timestamp(), AS_OF.timestamp()))
    assert expire_waiting_tables(as_of=AS_OF + timedelta(hours=23)) == 0
    assert expire_waiting_tables(as_of=AS_OF + timedelta(hours=25)) == 1
    assert list((var / "incoming").iterdir()) == []
    assert waiting_table(import_id=pk) is None


def test_the_frozen_clock_of_a_demo_forgets_no_table(engineer: Client, settings: Any) -> None:
    settings.COSTGOV_AS_OF = datetime(2025, 3, 1, tzinfo=UTC)
    url = upload(engineer, TABLE).url
    sweep_import_leftovers()
    assert engineer.get(url).status_code == 200


def test_a_table_that_was_described_in_another_tab(engineer: Client) -> None:
    """Back in the browser, or a second tab: nothing is queued twice, and the way to its import is shown."""
    url = upload(engineer, TABLE).url
    engineer.post(url, {**said(), "keep": "1"})
    pk = Import.objects.get().pk
    for answer in (
        engineer.get(url),
        engineer.post(url, {**said(grain="hour"), "keep": "1"}),
        engineer.post(f"{url}discard/"),
    ):
        assert (answer.status_code, getattr(answer, "url", "")) == (302, f"/imports/{pk}/")
    assert engineer.post(f"{url}preview/", said()).headers["HX-Refresh"] == "true"
    assert "were said already" in text_of(engineer.get(f"/imports/{pk}/"))
    assert (Import.objects.get().state, ColumnMapping.objects.get().document["grain"]) == ("queued", "day")


def test_a_file_that_goes_while_it_is_looked_at(engineer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody discards the table between two looks at it: that is said, and is no error of ours."""
    url = upload(engineer, TABLE).url
    other = visitor("procurement")

    def preview_late(*args: Any, **values: Any) -> Any:
        other.post(f"{url}discard/")
        return preview(*args, **values)

    monkeypatch.setattr("billing.queries.column_mappings.preview", preview_late)
    answer: Any = engineer.post(url, {**said(), "keep": "1"})
    assert (answer.status_code, answer.url) == (302, "/imports/")
    assert "does not wait any more" in text_of(engineer.get("/imports/"))
    assert not ColumnMapping.objects.exists()


@pytest.mark.parametrize("where", ["read_table_head", "check_file"])
def test_a_file_that_goes_before_it_is_opened(
    engineer: Client, monkeypatch: pytest.MonkeyPatch, var: Path, where: str
) -> None:
    url = upload(engineer, TABLE).url
    real = getattr(column_mappings, where)

    def late(*args: Any, **values: Any) -> Any:
        if (found := list((var / "incoming").iterdir())) and Import.objects.get().state == "queued":
            found[0].unlink()
            Import.objects.update(state="cancelled")
        return real(*args, **values)

    monkeypatch.setattr(column_mappings, where, late)
    answer: Any = engineer.post(url, {**said(), "keep": "1"})
    assert (answer.status_code, answer.url) == (302, "/imports/")


def test_two_people_describe_the_same_columns_differently(engineer: Client) -> None:
    """The second sees what was kept meanwhile before it is replaced; asked twice, the second wins, on the record."""
    first, second = upload(engineer, TABLE).url, upload(engineer, TABLE.replace("1000", "1001")).url
    other = visitor("procurement")
    assert 'name="seen"' in text_of(other.get(second))
    engineer.post(first, {**said(), "seen": "", "keep": "1"})
    mine = {**said(c3="input_uncached", name="Mine"), "seen": "", "keep": "1"}
    answer = other.post(second, mine)
    assert answer.status_code == 400
    assert "another mapping was kept for these columns, “Projects”" in text_of(answer)
    assert ColumnMapping.objects.get().name == "Projects"
    form = answer.context["form"]
    assert (form["name"].value(), form["c3"].value()) == ("Mine", "input_uncached")  # nothing has to be typed again
    answer = other.post(second, {**mine, "seen": form["seen"].value()})
    assert (answer.status_code, ColumnMapping.objects.get().name) == (302, "Mine")
    third = text_of(other.get(upload(other, TABLE.replace("1000", "1002")).url))
    assert "What are the columns?" not in third  # it is read by itself


def test_a_waiting_table_proposes_what_was_kept_meanwhile(engineer: Client) -> None:
    first, second = upload(engineer, TABLE).url, upload(engineer, TABLE.replace("1000", "1001")).url
    engineer.post(first, {**said(service_tier="batch"), "keep": "1"})
    form = engineer.get(second).context["form"]
    kept = ColumnMapping.objects.get()
    assert form["service_tier"].value() == kept.document["constants"]["service_tier"]
    assert form["c3"].value() == "input_with_cache"
    answer = engineer.post(second, {**said(), "seen": form["seen"].value(), "keep": "1"})
    assert answer.status_code == 302


def test_two_tabs_edit_one_mapping(engineer: Client) -> None:
    engineer.post(upload(engineer, TABLE).url, {**said(), "keep": "1"})
    url = f"/imports/mappings/{ColumnMapping.objects.get().pk}/"
    seen = engineer.get(url).context["form"]["seen"].value()
    assert engineer.post(url, {**said(name="One"), "seen": seen}).status_code == 302
    answer = engineer.post(url, {**said(name="Two"), "seen": seen})
    assert answer.status_code == 400 and "“One”" in text_of(answer)
    again = {**said(name="Two"), "seen": answer.context["form"]["seen"].value()}
    assert engineer.post(url, again).status_code == 302
    assert ColumnMapping.objects.get().name == "Two"


def test_several_unknown_tables_wait_side_by_side(engineer: Client) -> None:
    files = [SimpleUploadedFile(f"t{number}.csv", TABLE.replace("50", f"5{number}").encode()) for number in (1, 2)]
    answer: Any = engineer.post("/imports/upload/", {"files": files})
    assert answer.url == "/imports/"
    shown = text_of(engineer.get("/imports/"))
    assert "2 tables wait for their columns" in shown and "Describe t1.csv" in shown and "Describe t2.csv" in shown
    assert "wait for their columns" not in text_of(visitor("viewer").get("/imports/"))


def test_the_same_bytes_twice_wait_once(engineer: Client, var: Path) -> None:
    assert upload(engineer, TABLE).url == upload(engineer, TABLE).url
    assert len(list((var / "incoming").iterdir())) == 1


def test_a_broken_table_is_refused_as_before(engineer: Client) -> None:
    upload(engineer, HEAD + "2026-11-20,claude\n")
    row = Import.objects.get()
    assert row.kind == "usage"
    with pytest.raises(ImportRefused, match="none of the known formats"):
        run_queued_import(import_id=row.pk, as_of=AS_OF)


def test_viewers_may_look_and_not_describe(engineer: Client) -> None:
    url = upload(engineer, TABLE).url
    engineer.post(url, {**said(), "keep": "1"})
    viewer = visitor("viewer")
    assert viewer.get(url).status_code == 403
    shown = text_of(viewer.get("/imports/mappings/"))
    assert "Projects" in shown and "Delete" not in shown
    pk = ColumnMapping.objects.get().pk
    assert viewer.post(f"/imports/mappings/{pk}/delete/").status_code == 403
    assert ColumnMapping.objects.count() == 1


def test_a_mapping_is_changed_and_deleted_on_the_record(engineer: Client) -> None:
    url = upload(engineer, TABLE).url
    engineer.post(url, {**said(), "keep": "1"})
    row = ColumnMapping.objects.get()
    assert engineer.post(f"/imports/mappings/{row.pk}/", said(c0="")).status_code == 400
    assert engineer.post(f"/imports/mappings/{row.pk}/", said(name="Projects by day")).status_code == 302
    row.refresh_from_db()
    assert (row.name, parse_mapping(row.document).source) == ("Projects by day", "Projects")
    assert engineer.post(f"/imports/mappings/{row.pk}/delete/").status_code == 302
    assert ColumnMapping.objects.count() == 0
    entries = AuditEntry.objects.filter(object_type="column_mapping").order_by("pk")
    assert [entry.action for entry in entries] == [
        "column_mapping.saved", "column_mapping.saved", "column_mapping.deleted",
    ]  # fmt: skip
    assert upload(engineer, TABLE.replace("1000", "1001")).url.endswith("/columns/")  # asks again


def test_the_command_proposes_takes_a_file_and_a_name(tmp_path: Path) -> None:
    path = tmp_path / "requests.csv"
    path.write_text(REQUESTS)
    out = StringIO()
    call_command("column_mapping", str(path), stdout=out)
    document = json.loads(out.getvalue())
    assert document["grain"] == "request" and document["columns"]["request_id"] == "request_id"
    mapping = tmp_path / "mapping.json"
    mapping.write_text(json.dumps({**document, "name": "Our requests", "source": "Our gateway"}))
    out = StringIO()
    call_command("import_usage", str(path), "--mapping", str(mapping), "--json", stdout=out)
    (outcome,) = json.loads(out.getvalue())
    assert (outcome["accepted"], outcome["format"], outcome["source"]) == (2, "generic_csv", "Our gateway")
    more = tmp_path / "more.csv"
    more.write_text(REQUESTS.splitlines(keepends=True)[0] + "2026-11-20T11:00:00Z,a-2,claude-haiku-4-5,3000,70\n")
    out = StringIO()
    call_command("import_usage", str(more), "--mapping", "Our requests", "--json", stdout=out)
    (outcome,) = json.loads(out.getvalue())
    assert (outcome["accepted"], outcome["duplicates"]) == (0, 1)  # the same request in another file
    assert sum(item.uncached_input_tok for item in DailyUsage.objects.all()) == 4000
    assert UsageSource.objects.get().grain == "request"
    for wrong in ("No such mapping", str(tmp_path / "none.json")):
        with pytest.raises(SystemExit):
            call_command("import_usage", str(more), "--mapping", wrong, stderr=StringIO())


def test_a_table_of_days_is_read_again_with_a_corrected_mapping(engineer: Client) -> None:
    """The input was taken for one without cached tokens: correct the mapping, upload the same bytes again."""
    url = upload(engineer, TABLE).url
    engineer.post(url, {**said(c3="input_uncached"), "keep": "1"})
    run_queued_import(import_id=int(url.split("/")[2]), as_of=AS_OF)
    assert sum(item.uncached_input_tok for item in DailyUsage.objects.all()) == 4000
    assert "imported before" in text_of(engineer.get(upload(engineer, TABLE).url))
    kept = ColumnMapping.objects.get()
    engineer.post(f"/imports/mappings/{kept.pk}/", said())
    again = upload(engineer, TABLE)
    newest = Import.objects.order_by("-pk").first()
    assert newest is not None and again.url == f"/imports/{newest.pk}/"
    run_queued_import(import_id=newest.pk, as_of=AS_OF)
    assert sum(item.uncached_input_tok for item in DailyUsage.objects.all()) == 3800
    # In another zone its rows would stand beside those of the first reading: that is not read again.
    engineer.post(f"/imports/mappings/{kept.pk}/", said(grain="hour", zone="Asia/Tokyo"))
    upload(engineer, TABLE)
    assert Import.objects.count() == 2


def test_an_unlisted_table_is_refused_by_the_command_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    with pytest.raises(ImportRefused, match="none of the known formats"):
        import_usage(actor=None, path=path, as_of=AS_OF)


def test_the_api_keeps_and_lists_mappings(engineer: Client) -> None:
    url = upload(engineer, TABLE).url
    engineer.post(url, {**said(), "keep": "1"})
    listed = engineer.get("/api/v1/column-mappings").json()
    assert [item["name"] for item in listed] == ["Projects"]
    document = {**listed[0]["document"], "name": "By the API"}
    answer = engineer.post("/api/v1/column-mappings", {"mapping": document}, content_type="application/json")
    assert (answer.status_code, answer.json()["name"]) == (201, "By the API")
    assert ColumnMapping.objects.count() == 1
    bad = {**document, "columns": {}}
    answer = engineer.post("/api/v1/column-mappings", {"mapping": bad}, content_type="application/json")
    assert answer.status_code == 400
    assert "no column holds the time" in answer.json()["error"]["message"]
    bad = {**document, "grain": "week"}
    answer = engineer.post("/api/v1/column-mappings", {"mapping": bad}, content_type="application/json")
    assert answer.status_code == 400 and "use one of request" in answer.json()["error"]["message"]


def test_an_upload_by_the_api_says_that_it_waits(engineer: Client) -> None:
    answer = engineer.post("/api/v1/imports", {"file": SimpleUploadedFile("t.csv", TABLE.encode())})
    body = answer.json()
    assert (answer.status_code, body["needs_mapping"]) == (202, True)
    assert f"/imports/{body['import_id']}/columns/" in body["message"]


def test_splitting_and_repeating_a_table_changes_nothing(tmp_path: Path) -> None:
    """The whole, its halves in the other order and the whole again under other bytes: one and the same usage."""
    mapping = parse_mapping(
        {
            "schema": "costgov.column_mapping/1", "name": "R", "grain": "request",
            "header": ["timestamp", "request_id", "model", "input_tokens", "output_tokens"],
            "columns": {
                "timestamp": "time", "request_id": "request_id", "model": "model", "input_tokens": "input_uncached",
                "output_tokens": "output",
            },
        }
    )  # fmt: skip
    head, *lines = REQUESTS.splitlines(keepends=True)
    options = ImportOptions(mapping=mapping.as_document())

    def totals() -> list[tuple[Any, ...]]:
        return sorted(UsageRollup.objects.values_list("bucket_start", "model", "uncached_input_tok", "requests"))

    for number, content in enumerate(([lines[1]], [lines[0]], lines, lines[::-1])):
        path = tmp_path / f"{number}.csv"
        path.write_text(head + "".join(content))
        import_usage(actor=None, path=path, as_of=AS_OF, options=options)
    assert [(row[2], row[3]) for row in totals()] == [(1000, 1), (3000, 1)]
    assert sum(Decimal(row[2]) for row in totals()) == 4000
