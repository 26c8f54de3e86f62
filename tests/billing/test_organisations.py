"""What people say of a source: whose usage it is, and which workspace is the default one. Days are counted anew."""

from pathlib import Path
from typing import Any

import pytest

from audit.models import AuditEntry
from billing.models import DailyUsage, UsageSource
from billing.operations.imports import ImportOptions, import_file
from billing.operations.source_settings import BadAnswer, set_source_setting
from tests.billing.conftest import AS_OF
from tests.importers.usage.envelopes import envelope, report, result, write_json, write_lines

pytestmark = pytest.mark.django_db
DAY = ("2026-11-09T00:00:00Z", "2026-11-10T00:00:00Z")


@pytest.fixture(autouse=True)
def own_store(settings: Any, tmp_path: Path) -> None:
    settings.COSTGOV_VAR = tmp_path / "var"


def bring(folder: Path, source: str, **result_over: Any) -> None:
    path = write_json(folder / f"{source}.json", report((*DAY, [result(**result_over)])))
    import_file(actor=None, path=path, as_of=AS_OF, options=ImportOptions(source=source))


def say(source: str, name: str, value: str) -> None:
    pk = UsageSource.objects.get(name=source).pk
    set_source_setting(actor=None, source_id=pk, name=name, value=value, as_of=AS_OF)


def counted() -> list[tuple[str, str, str, int]]:
    return sorted(DailyUsage.objects.values_list("organisation", "workspace", "origin", "output_tok"))


def test_reports_of_two_organisations_both_count_once_they_are_said(tmp_path: Path) -> None:
    bring(tmp_path, "first", output_tokens=100)
    bring(tmp_path, "second", output_tokens=30)
    assert [(row[0], row[3]) for row in counted()] == [("", 30)]
    say("first", "organisation", "org-a")
    assert [row[3] for row in counted()] == [30]  # one is named: both may be its
    say("second", "organisation", "org-b")
    assert [(row[0], row[3]) for row in counted()] == [("org-a", 100), ("org-b", 30)]
    say("second", "organisation", "org-a")
    assert [(row[0], row[3]) for row in counted()] == [("org-a", 30)]
    entry = AuditEntry.objects.filter(action="usage.source_setting_changed").latest("pk")
    assert (entry.before, entry.after) == ({"organisation": "org-b"}, {"organisation": "org-a"})


def test_a_log_explains_the_report_of_its_organisation(tmp_path: Path) -> None:
    bring(tmp_path, "first", output_tokens=100, workspace_id="wrkspc_a", api_key_id="apikey_a")
    bring(tmp_path, "second", output_tokens=30, workspace_id="wrkspc_a", api_key_id="apikey_a")
    log = write_lines(tmp_path / "log.jsonl", [envelope(1, "2026-11-09T09:00:00Z")])  # 10 out, of org-1
    import_file(actor=None, path=log, as_of=AS_OF)
    # Last, because the lock of imports is kept until the test's own transaction ends.
    say("first", "organisation", "org-1")
    say("second", "organisation", "org-2")
    assert [(row[0], row[2], row[3]) for row in counted() if row[3]] == [
        ("org-1", "log", 10),
        ("org-1", "remainder", 90),
        ("org-2", "report", 30),
    ]


def test_the_default_workspace_has_one_name_once_its_id_is_said(tmp_path: Path) -> None:
    rows = [result(output_tokens=100, workspace_id=None), result(output_tokens=5, workspace_id="wrkspc_b")]
    admin = write_json(tmp_path / "admin.json", report((*DAY, rows)))
    import_file(actor=None, path=admin, as_of=AS_OF, options=ImportOptions(source="admin"))
    log = write_lines(tmp_path / "log.jsonl", [envelope(1, "2026-11-09T09:00:00Z", workspace_id="wrkspc_default")])
    import_file(actor=None, path=log, as_of=AS_OF)

    def by_workspace() -> list[tuple[str, str, int]]:
        return sorted(DailyUsage.objects.filter(output_tok__gt=0).values_list("workspace", "origin", "output_tok"))

    # Two names: the log seems to speak for a workspace that the report does not know.
    apart = [("(default)", "report", 100), ("wrkspc_b", "report", 5), ("wrkspc_default", "log", 10)]
    assert by_workspace() == apart
    say("admin", "default_workspace", "wrkspc_default")
    assert by_workspace() == [("(default)", "log", 10), ("(default)", "remainder", 90), ("wrkspc_b", "report", 5)]
    say("admin", "default_workspace", "")
    assert by_workspace() == apart


@pytest.mark.parametrize("value", ["(default)", "(not grouped)", "x" * 121])
def test_what_is_no_id_is_refused(tmp_path: Path, value: str) -> None:
    bring(tmp_path, "admin", output_tokens=100)
    with pytest.raises(BadAnswer, match="give the id as the provider writes it"):
        say("admin", "default_workspace", value)
