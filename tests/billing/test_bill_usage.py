"""Usage that bills state: whole hours and days, nothing that is no count of tokens; and imports that are stopped."""

import csv
import io
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.importers.base import ImportRefused
from billing.models import CostReportLine, DailyUsage, Import, UsageRollup
from billing.operations.imports import (
    COSTS,
    ImportOptions,
    ImportOutcome,
    cancel_import,
    import_file,
    run_import,
    start_import,
    unfinished_imports,
)
from tests.billing.conftest import AS_OF

SAMPLES = Path(__file__).parents[1] / "importers" / "costs" / "samples"
AWS = SAMPLES / "aws_cur2_bedrock_claude_constructed.csv"
START, END = "line_item_usage_start_date", "line_item_usage_end_date"


@pytest.fixture
def import_rows(db: None, var: Path, tmp_path: Path) -> Callable[..., ImportOutcome]:
    """Import the sample bill with fields of some rows changed, by number."""

    def run(changes: dict[int, dict[str, str]], **options: Any) -> ImportOutcome:
        rows = list(csv.DictReader(io.StringIO(AWS.read_text())))
        path = tmp_path / f"bill_{len(list(tmp_path.iterdir()))}.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows({**row, **changes.get(number, {})} for number, row in enumerate(rows))
        return import_file(actor=None, path=path, as_of=AS_OF, options=ImportOptions(**options), kind=COSTS)

    return run


def test_a_day_with_a_daily_row_is_one_daily_bucket(import_rows: Callable[..., ImportOutcome]) -> None:
    import_rows({0: {START: "2026-11-09T00:00:00Z", END: "2026-11-10T00:00:00Z"}})
    assert set(UsageRollup.objects.values_list("bucket_hours", flat=True)) == {24}
    assert sum(DailyUsage.objects.values_list("uncached_input_tok", flat=True)) == 948220 + 220160 + 310000 + 310000
    import_rows({0: {"line_item_unblended_cost": "1.05"}})
    assert set(UsageRollup.objects.values_list("bucket_hours", flat=True)) == {1}
    assert sum(DailyUsage.objects.values_list("uncached_input_tok", flat=True)) == 948220 + 220160 + 310000 + 310000


def test_fractions_and_long_rows_are_cost_only(import_rows: Callable[..., ImportOutcome]) -> None:
    outcome = import_rows(
        {
            0: {"line_item_usage_amount": "0.9482205"},
            1: {START: "2026-11-09T00:00:00Z", END: "2026-11-11T00:00:00Z"},
            2: {"line_item_usage_amount": "-1"},
        }
    )
    assert CostReportLine.objects.count() == 9
    assert not DailyUsage.objects.filter(model="claude-haiku-4-5").exists()
    assert "1 token rows span more than a UTC day: cost only, no usage of a day." in outcome.findings
    assert "2 token rows state no whole number of tokens: cost only, not counted as usage." in outcome.findings


def test_a_row_that_moves_to_another_day_leaves_the_first(import_rows: Callable[..., ImportOutcome]) -> None:
    import_rows({})
    moved = {START: "2026-11-08T13:00:00Z", END: "2026-11-08T14:00:00Z"}
    import_rows(dict.fromkeys(range(4), moved))
    by_day: dict[date, int] = {}
    for day, tokens in DailyUsage.objects.values_list("date", "uncached_input_tok"):
        by_day[day] = by_day.get(day, 0) + tokens
    assert by_day == {date(2026, 11, 8): 948220, date(2026, 11, 9): 220160 + 310000 + 310000}


def test_a_queued_bill_can_be_cancelled_and_an_abandoned_one_is_found(db: None, var: Path) -> None:
    def queued(name: str) -> int:
        data = AWS.read_bytes() + (b"\n" if name == "second.csv" else b"")
        upload = io.BytesIO(data)
        return start_import(actor=None, upload=upload, file_name=name, as_of=AS_OF, enqueue=lambda _: None).import_id

    first, second = queued("first.csv"), queued("second.csv")
    assert unfinished_imports() == [first, second]
    assert cancel_import(actor=None, import_id=first, as_of=AS_OF) is True
    assert Import.objects.get(pk=first).state == "cancelled"
    assert not CostReportLine.objects.exists()
    assert run_import(import_id=second, as_of=AS_OF).accepted == 9
    assert run_import(import_id=second, as_of=AS_OF).message == "Finished before; nothing was done."
    assert CostReportLine.objects.count() == 9


def test_a_bad_row_of_a_download_refuses_it_or_is_left_out(db: None, var: Path, tmp_path: Path) -> None:
    name = "console_usage_claude_api_tokens_2026_11_09_to_2026_11_10.csv"
    path = tmp_path / "download.csv"
    path.write_text((SAMPLES / name).read_text().replace(",28210,", ",-28210,", 1))
    with pytest.raises(ImportRefused, match=r'line 4: usage_input_tokens_no_cache = "-28210": a count cannot be neg'):
        import_file(actor=None, path=path, as_of=AS_OF)
    assert not UsageRollup.objects.exists()
    outcome = import_file(actor=None, path=path, as_of=AS_OF, options=ImportOptions(good_rows=True))
    assert (outcome.accepted, outcome.rejected, len(outcome.problems)) == (7, 1, 1)


@pytest.mark.django_db
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(4)))
def test_deliveries_of_different_months_may_come_in_any_order(
    import_rows: Callable[..., ImportOutcome], order: list[int]
) -> None:
    """Each of four months once, whatever came first: the sum is that of the four bills."""
    Import.objects.update(superseded_by=None)
    CostReportLine.objects.all().delete()
    UsageRollup.objects.all().delete()
    Import.objects.all().delete()
    for number in order:
        month = f"2026-{number + 7:02d}"
        times = {
            START: f"{month}-09T13:00:00Z",
            END: f"{month}-09T14:00:00Z",
            "bill_billing_period_start_date": f"{month}-01T00:00:00Z",
        }
        import_rows({row: {**times, "line_item_line_item_description": f"{month} {row}"} for row in range(9)})
    assert CostReportLine.objects.count() == 36
    assert sum(CostReportLine.objects.values_list("amount", flat=True)) * 1_000_000 == 4 * 6386977
    assert sum(DailyUsage.objects.values_list("output_tok", flat=True)) == 4 * (109410 + 36000)
