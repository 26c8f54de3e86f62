"""How a source's files are read: asked for by a refused file, answered in the form, shown and changed on the page."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from audit.models import AuditEntry
from billing.importers.base import ImportRefused
from billing.importers.usage_formats import FORMATS
from billing.models import Import, UsageSource
from billing.queries.import_pages import TITLES
from costgov.models import User
from costgov.operations.usage import run_queued_import
from tests.costgov.policy_world import token
from tests.costgov.test_imports_page import AS_OF, log, text_of, upload, visitor
from tests.importers.usage.test_record_formats import batch_result, helicone

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def var(settings: Any, tmp_path: Path) -> Path:
    settings.COSTGOV_VAR = tmp_path / "var"
    settings.COSTGOV_VAR.mkdir()
    return settings.COSTGOV_VAR


@pytest.fixture
def engineer() -> Client:
    return visitor("engineer")


def asked(engineer: Client, row: dict[str, Any], **options: str) -> Import:
    """An upload that its worker refused."""
    upload(engineer, log([row]), **options)
    found = Import.objects.latest("pk")
    with pytest.raises(ImportRefused):
        run_queued_import(import_id=found.pk, as_of=AS_OF)
    return found


def test_a_question_leads_to_the_form_with_the_answer_filled_in(engineer: Client) -> None:
    cached = helicone(1, prompt_cache_read_tokens=40)
    row = asked(engineer, cached, source="Edge")
    shown = text_of(engineer.get(f"/imports/{row.pk}/"))
    assert "It does not tell how to read it. Answer the question below" in shown
    assert "Does the number of input tokens contain the cached ones? Here input is 100 and cached are 40." in shown
    assert "input_includes_cache=yes#upload" in shown
    assert "Input includes cached tokens: no" in shown
    form = text_of(engineer.get("/imports/?source=Edge&input_includes_cache=yes"))
    assert '<option value="yes" selected>Yes: input contains them</option>' in form
    assert '<details class="data data-in" open>' in form
    assert '<details class="data data-in" open>' not in text_of(engineer.get("/imports/"))

    upload(engineer, log([cached]), source="Edge", input_includes_cache="yes")
    done = run_queued_import(import_id=Import.objects.latest("pk").pk, as_of=AS_OF)
    assert done.state == "done"
    listed = text_of(engineer.get("/imports/"))
    assert "Input includes cached tokens: <strong>yes</strong>" in listed


def test_a_time_is_asked_for_and_checked_in_the_form(engineer: Client) -> None:
    row = asked(engineer, batch_result("a"))
    shown = text_of(engineer.get(f"/imports/{row.pk}/"))
    assert "ask=at#upload" in shown
    assert "Upload it again with the time of the requests" in shown
    assert '<details class="data data-in" open>' in text_of(engineer.get("/imports/?ask=at"))
    refused = upload(engineer, log([batch_result("a")]), at="2026-11-09T10:00:00")
    assert refused.status_code == 400
    assert "is not an instant with a zone" in text_of(refused)
    upload(engineer, log([batch_result("a")]), at="2026-11-09T10:00:00Z")
    assert run_queued_import(import_id=Import.objects.latest("pk").pk, as_of=AS_OF).accepted == 1


def test_an_answer_is_changed_on_the_page_and_on_the_trail(engineer: Client) -> None:
    upload(engineer, log([helicone(1, prompt_cache_read_tokens=40)]), input_includes_cache="yes")
    run_queued_import(import_id=Import.objects.get().pk, as_of=AS_OF)
    source = UsageSource.objects.get()
    address = f"/imports/sources/{source.pk}/setting/"
    answer: Any = engineer.post(address, {"name": "input_includes_cache", "value": "no"})
    assert answer.url == "/imports/#sources"
    shown = text_of(engineer.get("/imports/"))
    assert "Saved for Helicone. Files are read this way from now on; those imported before keep their reading" in shown
    assert "Input includes cached tokens: <strong>no</strong>" in shown
    entry = AuditEntry.objects.get(action="usage.source_setting_changed")
    assert (entry.object_label, entry.before, entry.after) == (
        "Helicone", {"input_includes_cache": "yes"}, {"input_includes_cache": "no"},
    )  # fmt: skip
    engineer.post(address, {"name": "input_includes_cache", "value": "perhaps"})
    assert "Nothing was changed: Input includes cached tokens: &#x27;perhaps&#x27;" in text_of(
        engineer.get("/imports/")
    )
    engineer.post(address, {"name": "input_includes_cache", "value": ""})
    assert "<strong>not said</strong>" in text_of(engineer.get("/imports/"))
    assert engineer.post("/imports/sources/999/setting/", {"name": "input_includes_cache"}).status_code == 404


def test_viewers_see_how_a_source_is_read_and_cannot_change_it(engineer: Client) -> None:
    upload(engineer, log([helicone(1, prompt_cache_read_tokens=40)]), input_includes_cache="yes")
    run_queued_import(import_id=Import.objects.get().pk, as_of=AS_OF)
    viewer, source = visitor("viewer"), UsageSource.objects.get()
    shown = text_of(viewer.get("/imports/"))
    assert "Input includes cached tokens: <strong>yes</strong>" in shown
    assert "/setting/" not in shown
    refused = viewer.post(f"/imports/sources/{source.pk}/setting/", {"name": "input_includes_cache", "value": "no"})
    assert refused.status_code == 403
    source.refresh_from_db()
    assert source.settings == {"input_includes_cache": "yes"}


def test_every_format_has_a_short_title() -> None:
    assert {item.name for item in FORMATS} - set(TITLES) == set()


def test_the_api_takes_the_answers(engineer: Client) -> None:
    headers = token(User.objects.get(username="engineer-1"), "usage:write")[1]

    def send(**told: str) -> Any:
        file = log([helicone(1, prompt_cache_read_tokens=40)])
        return Client().post("/api/v1/imports", {"file": file, **told}, headers=headers)

    bad = send(at="yesterday")
    assert (bad.status_code, "is not an instant with a zone" in bad.content.decode()) == (400, True)
    assert send(input_includes_cache="perhaps").status_code == 400
    assert send(input_includes_cache="no").status_code == 202
    assert Import.objects.get().options["answers"] == {"input_includes_cache": "no"}
