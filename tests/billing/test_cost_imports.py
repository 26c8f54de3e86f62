"""Cost reports in the database: replaced, never added; two grains of one report are one amount."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Sum

from audit.models import AuditEntry
from billing.importers.base import ImportRefused
from billing.models import BillingPeriod, CostReportLine, Import, UsageSource
from billing.operations.imports import COSTS, ImportOptions, ImportOutcome, import_file
from tests.billing.conftest import AS_OF, everything

SAMPLES = Path(__file__).parents[1] / "importers" / "costs" / "samples"
GROUPED = SAMPLES / "cost_report_by_workspace_description.json"
UNGROUPED = SAMPLES / "cost_report_ungrouped.json"
ImportCosts = Callable[..., ImportOutcome]


@pytest.fixture
def import_costs(db: None, var: Path) -> ImportCosts:
    def run(path: Path, *, as_of: datetime = AS_OF, **options: Any) -> ImportOutcome:
        return import_file(actor=None, path=path, as_of=as_of, options=ImportOptions(**options), kind=COSTS)

    return run


def total() -> Decimal:
    return CostReportLine.objects.aggregate(total=Sum("amount"))["total"] or Decimal(0)


def by_day() -> dict[date, Decimal]:
    rows = CostReportLine.objects.values_list("period_start", "amount")
    days: dict[date, Decimal] = {}
    for at, amount in rows:
        days[at.astimezone(UTC).date()] = days.get(at.astimezone(UTC).date(), Decimal(0)) + amount
    return days


def changed(tmp_path: Path, source: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    page = json.loads(source.read_text())
    change(page)
    path = tmp_path / f"changed_{len(list(tmp_path.iterdir()))}.json"
    path.write_text(json.dumps(page))
    return path


def test_cost_report_is_kept_in_dollars_unrounded(import_costs: ImportCosts) -> None:
    outcome = import_costs(GROUPED)
    assert (outcome.accepted, outcome.source, outcome.format) == (42, "Anthropic cost report", "anthropic_admin_cost")
    assert by_day() == {date(2026, 11, 9): Decimal("31.633916"), date(2026, 11, 10): Decimal("29.310170")}
    source = UsageSource.objects.get(name="Anthropic cost report")
    assert (source.grain, source.channel) == ("cost", "anthropic")
    line = CostReportLine.objects.get(position=1)
    assert (line.amount, line.currency, line.basis, line.cost_type, line.token_kind, line.model) == (
        Decimal("0.948220"),
        "USD",
        "billed",
        "tokens",
        "uncached_input",
        "claude-haiku-4-5",
    )
    assert line.billing_month == date(2026, 11, 1)
    assert Import.objects.get(kind="costs").options["group_by"] == ["description", "workspace_id"]
    entry = AuditEntry.objects.get(action="costs.imported")
    assert entry.after is not None and entry.after["source"] == "Anthropic cost report"


def test_same_bytes_twice_change_nothing(import_costs: ImportCosts, var: Path) -> None:
    import_costs(GROUPED)
    before = everything(var)
    again = import_costs(GROUPED)
    assert again.is_repeat
    assert everything(var) == before


def test_a_restated_day_replaces_and_the_other_day_stays(import_costs: ImportCosts, tmp_path: Path) -> None:
    import_costs(GROUPED)

    def one_day(page: dict[str, Any]) -> None:
        page["data"] = page["data"][:1]
        page["data"][0]["results"][0]["amount"] = "100.0000"

    outcome = import_costs(changed(tmp_path, GROUPED, one_day))
    assert by_day() == {date(2026, 11, 9): Decimal("31.685696"), date(2026, 11, 10): Decimal("29.310170")}
    assert "20 lines held before for this time: replaced." in outcome.findings


def test_an_empty_day_replaces_too(import_costs: ImportCosts, tmp_path: Path) -> None:
    import_costs(GROUPED)
    import_costs(changed(tmp_path, GROUPED, lambda page: page["data"][0].update(results=[])))
    assert by_day() == {date(2026, 11, 10): Decimal("29.310170")}


@pytest.mark.parametrize("order", [(GROUPED, UNGROUPED), (UNGROUPED, GROUPED)], ids=["fine first", "coarse first"])
def test_two_grains_are_one_amount_in_either_order(import_costs: ImportCosts, order: tuple[Path, Path]) -> None:
    for path in order:
        outcome = import_costs(path)
    assert total() == Decimal("60.944086")
    assert CostReportLine.objects.count() == 42
    if order[0] is GROUPED:
        assert (outcome.accepted, outcome.duplicates) == (0, 2)
        assert any("finer groups with the same total" in text for text in outcome.findings)


def test_a_coarser_report_that_differs_is_refused_with_both_numbers(import_costs: ImportCosts, tmp_path: Path) -> None:
    import_costs(GROUPED)
    other = changed(tmp_path, UNGROUPED, lambda page: page["data"][1]["results"][0].update(amount="3000.0000"))
    with pytest.raises(ImportRefused, match=r"states 30\.000000 USD; the finer one held states 29\.310170"):
        import_costs(other)
    assert total() == Decimal("60.944086")
    import_costs(other, replace=True)
    assert by_day() == {date(2026, 11, 9): Decimal("31.633916"), date(2026, 11, 10): Decimal("30.000000")}
    assert set(CostReportLine.objects.values_list("cost_type", flat=True)) == {"(not grouped)"}


def test_bad_rows_refuse_the_file_or_are_listed(import_costs: ImportCosts, tmp_path: Path, var: Path) -> None:
    def spoil(page: dict[str, Any]) -> None:
        page["data"][0]["results"][0]["amount"] = "NaN"
        page["data"][0]["results"][1]["amount"] = 5.0016
        page["data"][1]["results"][3]["currency"] = "12"

    bad = changed(tmp_path, GROUPED, spoil)
    with pytest.raises(ImportRefused) as refused:
        import_costs(bad)
    assert refused.value.count == 3
    assert not CostReportLine.objects.exists()
    assert not UsageSource.objects.exists()
    outcome = import_costs(bad, good_rows=True)
    assert (outcome.accepted, outcome.rejected, len(outcome.problems)) == (39, 3, 3)
    assert outcome.problems[0]["field"] == "data[0].results[0].amount"


def test_usage_given_as_costs_is_refused_and_costs_given_as_usage_too(import_costs: ImportCosts, var: Path) -> None:
    usage = SAMPLES.parents[1] / "usage" / "samples" / "usage_report_messages_1d.json"
    with pytest.raises(ImportRefused, match="this holds usage, not costs"):
        import_costs(usage)
    with pytest.raises(ImportRefused, match="this holds costs, not usage"):
        import_file(actor=None, path=GROUPED, as_of=AS_OF)


def test_a_source_of_usage_takes_no_costs(import_costs: ImportCosts, var: Path) -> None:
    UsageSource.objects.create(name="mine", grain="bucket")
    with pytest.raises(ImportRefused, match="source 'mine' holds usage, this file holds costs"):
        import_costs(GROUPED, source="mine")


def test_a_replaced_file_wins_again_only_when_asked(import_costs: ImportCosts, tmp_path: Path) -> None:
    import_costs(GROUPED)
    restated = changed(tmp_path, GROUPED, lambda page: page["data"][0]["results"][0].update(amount="100.0000"))
    import_costs(restated)
    assert import_costs(GROUPED).is_repeat
    assert total() == Decimal("60.995866")
    assert not import_costs(GROUPED, replace=True).is_repeat
    assert total() == Decimal("60.944086")
    assert import_costs(GROUPED, replace=True).is_repeat


def test_overlapping_reports_in_any_order_hold_each_day_once(import_costs: ImportCosts, tmp_path: Path) -> None:
    """Files of single days and of both: whichever come, each day is there once."""
    first = changed(tmp_path, GROUPED, lambda page: page.update(data=page["data"][:1]))
    second = changed(tmp_path, GROUPED, lambda page: page.update(data=page["data"][1:]))
    for order in ([first, second, GROUPED], [GROUPED, first, second], [second, GROUPED, first]):
        CostReportLine.objects.all().delete()
        Import.objects.update(superseded_by=None)
        Import.objects.all().delete()
        for path in order:
            import_costs(path)
        assert (CostReportLine.objects.count(), total()) == (42, Decimal("60.944086"))


def test_a_closed_month_is_named(import_costs: ImportCosts) -> None:
    BillingPeriod.objects.create(
        month=date(2026, 11, 1),
        state="closed",
        closed_at=AS_OF,
        prices_known_at=AS_OF,
    )
    outcome = import_costs(GROUPED)
    assert (
        "November 2026 is closed and stays as it was settled; what differs now appears as an adjustment of it."
        in outcome.findings
    )
