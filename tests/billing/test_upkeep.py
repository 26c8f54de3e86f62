"""Deleting an import is as if it had never come; retention keeps what counted per day."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.models import AuditEntry
from billing.importers.base import ImportRefused
from billing.models import BillingPeriod, DailyUsage, Import, Organisation, UsageRollup
from billing.operations.imports import ImportOptions, import_file
from billing.operations.upkeep import DeletionRefused, apply_retention, delete_import
from billing.queries.imports import stored_imports
from billing.store import StoredImport
from tests.billing.conftest import AS_OF
from tests.billing.worlds import daily_rows, rollup_rows, state, throw_away_installation
from tests.importers.usage.envelopes import envelope, payload, report, result, write_json, write_lines

DAY = ("2026-11-09T00:00:00Z", "2026-11-10T00:00:00Z")
HOUR = ("2026-11-09T09:00:00Z", "2026-11-09T10:00:00Z")
FILES: dict[str, Callable[[Path], Path]] = {
    "log": lambda folder: write_lines(folder / "log.jsonl", [envelope(n) for n in range(3)]),
    "other requests": lambda folder: write_lines(folder / "b.jsonl", [envelope(n) for n in range(7, 9)]),
    "gateway": lambda folder: write_lines(folder / "litellm.jsonl", [payload(n) for n in range(20, 23)]),
    "day report": lambda folder: write_json(
        folder / "d.json", report((*DAY, [result(output_tokens=100, uncached_input_tokens=900)]))
    ),
    "hour report": lambda folder: write_json(
        folder / "h.json", report((*HOUR, [result(output_tokens=70, uncached_input_tokens=800, api_key_id="apikey_a")]))
    ),
}


def bring(path: Path, **options: Any) -> int:
    return import_file(actor=None, path=path, as_of=AS_OF, options=ImportOptions(**options)).import_id


def remove(import_id: int) -> Any:
    return delete_import(actor=None, import_id=import_id, as_of=AS_OF, class_of_key=lambda *_: "")


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.permutations(sorted(FILES)).map(lambda names: names[:4]), gone=st.integers(0, 3))
@pytest.mark.django_db
def test_deleting_an_import_is_as_if_it_had_never_come(names: Sequence[str], gone: int) -> None:
    found = []
    for wanted in (names, [name for i, name in enumerate(names) if i != gone]):
        with throw_away_installation() as folder:
            ids = {name: bring(FILES[name](folder), source=name) for name in wanted}
            if names[gone] in ids:
                remove(ids[names[gone]])
            found.append(state())
    assert found[0] == found[1]


def test_its_files_go_and_the_same_bytes_may_come_again(
    db: None, var: Path, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    path = FILES["log"](tmp_path)
    first = bring(path)
    before = state()
    with django_capture_on_commit_callbacks(execute=True):
        gone = remove(first)
    assert (gone.rows, gone.hours, gone.days) == (3, 1, 1)
    assert state() == ([], [])
    assert list((var / "requests").rglob("*.parquet")) == []
    assert Import.objects.get(pk=first).state == "deleted"
    entry = AuditEntry.objects.get(action="usage.import_deleted")
    assert entry.before is not None and entry.after is not None
    assert (entry.object_label, entry.before["accepted"], entry.after["rows"]) == ("log.jsonl", 3, 3)
    again = bring(path)
    assert again != first
    assert state() == before
    with pytest.raises(DeletionRefused, match="is deleted; only a finished usage import"):
        remove(first)


def test_a_closed_month_keeps_its_imports(db: None, var: Path, tmp_path: Path) -> None:
    import_id = bring(FILES["log"](tmp_path))
    BillingPeriod.objects.create(month=date(2026, 11, 1), state="closed", closed_at=AS_OF, prices_known_at=AS_OF)
    before = state()
    with pytest.raises(DeletionRefused, match="has usage of 2026-11, which is closed"):
        remove(import_id)
    assert state() == before
    assert Import.objects.get(pk=import_id).state == "done"


def test_an_overlapping_report_keeps_the_hours_it_restated(db: None, var: Path, tmp_path: Path) -> None:
    first = bring(FILES["day report"](tmp_path), source="report")
    restated = write_json(tmp_path / "d2.json", report((*DAY, [result(output_tokens=120)])))
    bring(restated, source="report")
    before = state()
    assert remove(first).rows == 0
    assert state() == before


# --- retention ------------------------------------------------------------------------------------------------------


@pytest.fixture
def year(db: None, var: Path, tmp_path: Path) -> dict[str, int]:
    """A request a month and a report a month, August to November 2026."""
    found = {}
    for month in (8, 9, 10, 11):
        at = datetime(2026, month, 5, 12, tzinfo=UTC)
        found[f"log {month}"] = bring(write_lines(tmp_path / f"l{month}.jsonl", [envelope(month, at.isoformat())]))
        begin = at.replace(hour=0)
        first, last = (f"{when:%Y-%m-%dT%H:%M:%SZ}" for when in (begin, begin + timedelta(days=1)))
        found[f"report {month}"] = bring(
            write_json(tmp_path / f"r{month}.json", report((first, last, [result(output_tokens=100)]))), source="report"
        )
    return found


def forget(requests: int | None, hours: int | None = None, *, dry_run: bool = False) -> Any:
    return apply_retention(
        actor=None, as_of=AS_OF, keep_request_months=requests, keep_hour_months=hours, dry_run=dry_run
    )


def test_old_details_go_and_what_counted_stays(
    year: dict[str, int], var: Path, django_capture_on_commit_callbacks: Any
) -> None:
    days, hours = daily_rows(), rollup_rows()
    told = forget(1, 2, dry_run=True)
    assert (told.requests_from, told.hours_from, told.is_done) == (date(2026, 10, 1), date(2026, 9, 1), False)
    assert [(m.month.month, m.request_files, m.hourly_rows) for m in told.months] == [(8, 1, 2), (9, 1, 0)]
    assert (daily_rows(), rollup_rows()) == (days, hours)
    with django_capture_on_commit_callbacks(execute=True):
        forget(1, 2)
    assert sorted(path.parent.name for path in (var / "requests").rglob("*.parquet")) == [
        "day=2026-10-05", "day=2026-11-05",
    ]  # fmt: skip
    assert daily_rows() == days
    assert sorted({row[1].month for row in rollup_rows()}) == [9, 10, 11]
    assert AuditEntry.objects.filter(action="usage.retention_applied").count() == 1
    assert forget(1, 2, dry_run=True).months == ()
    # Keeping longer later brings nothing back, and does not pretend to.
    assert forget(12, 12, dry_run=True).requests_from == date(2026, 10, 1)


def test_a_late_file_of_forgotten_days_is_refused(year: dict[str, int], tmp_path: Path) -> None:
    forget(1, 2)
    days = daily_rows()
    late = [envelope(77, "2026-09-05T12:00:00Z"), envelope(78, "2026-11-05T12:00:00Z")]
    with pytest.raises(ImportRefused, match="line 1: timestamp = 2026-09-05T12:00:00Z: before 2026-10-01, up to which"):
        bring(write_lines(tmp_path / "late.jsonl", late))
    assert daily_rows() == days
    bring(write_lines(tmp_path / "late2.jsonl", [*late, envelope(79, "2026-11-05T13:00:00Z")]), good_rows=True)
    assert DailyUsage.objects.filter(date=date(2026, 9, 5)).count() == len([r for r in days if r[2].month == 9])
    with pytest.raises(DeletionRefused, match="details before 2026-10-01 were forgotten"):
        remove(year["log 9"])


def test_class_labels_of_forgotten_hours_are_not_counted_anew(year: dict[str, int]) -> None:
    from billing.operations.rollups import recount_days

    forget(1, 2)
    days = daily_rows()
    recount_days(days=[date(2026, month, 5) for month in (8, 9, 10, 11)], class_of_key=lambda *_: "")
    assert daily_rows() == days


@pytest.mark.parametrize(
    ("requests", "hours", "message"),
    [(0, None, "at least 1 month"), (None, 3, "at least as long as the requests"), (6, 3, "at least as long")],
)
def test_a_retention_that_cannot_be(db: None, requests: int | None, hours: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        forget(requests, hours)


def test_commands_only_tell_until_they_are_told(year: dict[str, int], var: Path, capsys: Any) -> None:
    held = state()
    call_command("apply_retention", "--keep-months", "1", "--keep-hour-months", "2")
    call_command("delete_import", str(year["log 11"]))
    call_command("compact_store", "--dry-run")
    shown = capsys.readouterr().out
    for part in (
        "2026-08",
        "Nothing was changed: add --apply",
        "add --yes to delete",
        "0 files of 0 days would become 0",
    ):
        assert part in shown
    assert (state(), Organisation.objects.filter(requests_kept_from__isnull=False).count()) == (held, 0)
    call_command("delete_import", str(year["log 11"]), "--yes", "--json")
    assert '"rows":1' in capsys.readouterr().out.replace(" ", "")
    assert UsageRollup.objects.filter(bucket_start__month=11).count() == 1
    with pytest.raises(SystemExit) as ended:
        call_command("delete_import", "999999", "--yes")
    assert ended.value.code == 2


def test_only_who_may_deletes(year: dict[str, int], django_user_model: Any) -> None:
    from audit.roles import Forbidden

    user = django_user_model.objects.create_user(username="nobody", password="x")
    with pytest.raises(Forbidden):
        delete_import(actor=user, import_id=year["log 11"], as_of=AS_OF, class_of_key=lambda *_: "")
    assert StoredImport(year["log 11"]) in stored_imports()
