"""Cost reports and bills on the Imports page, by command and through the API."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client

from audit.roles import Role
from billing.models import CostReportLine, Import
from billing.operations.imports import run_import
from billing.queries.import_pages import import_detail
from costgov.jsonout import dumps
from tests.billing.conftest import AS_OF

SAMPLES = Path(__file__).parents[1] / "importers" / "costs" / "samples"
GROUPED = SAMPLES / "cost_report_by_workspace_description.json"
FOCUS = SAMPLES / "focus_1_2_claude_constructed.csv"


@pytest.fixture
def client(db: None, settings: Any, tmp_path: Path) -> Client:
    """Somebody from procurement, signed in; imports wait in a folder of their own."""
    settings.COSTGOV_VAR = tmp_path
    user = get_user_model().objects.create(username="paula")
    user.groups.add(Group.objects.get_or_create(name=Role.PROCUREMENT)[0])
    client = Client()
    client.force_login(user)
    return client


def uploaded(client: Client, path: Path, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> Import:
    """Upload through the form and let the worker's function carry it out."""
    monkeypatch.setattr("costgov.operations.usage._enqueue", lambda import_id: None)
    file = SimpleUploadedFile(path.name, path.read_bytes())
    answer = client.post("/imports/upload/", {"files": [file], **fields})
    row = Import.objects.latest("pk")
    assert (answer.status_code, answer["Location"]) == (302, f"/imports/{row.pk}/")
    run_import(import_id=row.pk, as_of=AS_OF)
    row.refresh_from_db()
    return row


def test_a_bill_uploaded_in_the_one_box(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    row = uploaded(client, FOCUS, monkeypatch)
    assert (row.kind, row.state, row.format) == ("costs", "done", "focus")
    text = client.get(f"/imports/{row.pk}/").content.decode()
    assert "12 lines: 1,056.29 USD billed in Nov 2026." in text
    assert "Invoice INV-2026-11-0001: 1,037.99 USD" in text
    assert "The usage it states" in text
    for figure in ("1,000.00", "-50.00", "88.13", "-3.75", "1,056.29"):
        assert figure in text or figure.replace("-", "−") in text, figure
    listed = client.get("/imports/").content.decode()
    assert "focus_1_2_claude_constructed.csv" in listed
    assert "FOCUS bill" in listed


def test_what_it_brought_as_json(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    row = uploaded(client, FOCUS, monkeypatch)
    costs = json.loads(dumps(import_detail(import_id=row.pk)))["costs"]
    (month,) = costs["months"]
    assert (month["month"], month["currency"], month["lines"]) == ("2026-11-01", "USD", 12)
    stated = {name: month[name].rstrip("0").rstrip(".") for name in ("usage", "commitments", "credits", "tax", "total")}
    assert stated == {
        "usage": "21.91019",
        "commitments": "1000",
        "credits": "-50",
        "tax": "88.13",
        "total": "1056.29019",
    }


def test_a_refused_cost_file_says_why(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    path = SAMPLES / "claude_code_report_2026-11-09.json"
    monkeypatch.setattr("costgov.operations.usage._enqueue", lambda import_id: None)
    client.post("/imports/upload/", {"files": [SimpleUploadedFile(path.name, path.read_bytes())]})
    row = Import.objects.latest("pk")
    with pytest.raises(Exception, match="this is the Claude Code report"):
        run_import(import_id=row.pk, as_of=AS_OF)
    text = client.get(f"/imports/{row.pk}/").content.decode()
    assert "it explains spend by person and is never added to it" in text


def test_the_command_says_what_it_did_and_a_second_call_changes_nothing(client: Client) -> None:
    out = io.StringIO()
    call_command("import_costs", str(GROUPED), stdout=out)
    assert "42 lines, 0 known in finer groups, 0 rejected (anthropic_admin_cost" in out.getvalue()
    out = io.StringIO()
    call_command("import_costs", str(GROUPED), "--json", stdout=out)
    (outcome,) = json.loads(out.getvalue())
    assert outcome["is_repeat"] is True
    assert CostReportLine.objects.count() == 42


def test_the_command_refuses_with_exit_2(client: Client, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(GROUPED.read_text().replace('"94.8220"', '"much"'))
    errors = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("import_costs", str(bad), stderr=errors)
    assert ended.value.code == 2
    assert 'data[0].results[0].amount = "much": not an amount' in errors.getvalue()
    assert not CostReportLine.objects.exists()
