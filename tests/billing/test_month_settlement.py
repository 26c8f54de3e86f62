"""A month from the database: which report counts, the causes of the worked example, checks, days, samples."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from billing.core.settlement import MonthSettlement
from billing.models import Contract, ContractRate, CostReportLine, DailyUsage, Invoice
from billing.operations.imports import COSTS, ImportOptions, import_file
from billing.operations.invoices import LineEntry, check_invoice, save_invoice
from billing.operations.prices import seed_list_prices
from billing.operations.reconciliation import set_tolerance
from billing.queries.reconciliation import month_settlement, months_known
from billing.store import NO_PLAN
from tests.billing.month_world import (
    AS_OF,
    MONTH,
    OPUS,
    PREVIEW,
    USD,
    invoice,
    prices,
    records,
    report,
    result,
    usage,
    whole_invoice,
    whole_month,
)
from tests.billing.usage_rows import count_usage

pytestmark = pytest.mark.django_db
SAMPLES = Path(__file__).parents[1] / "importers"


@pytest.fixture(autouse=True)
def folder(var: Path) -> Path:
    return var


def settle(month: date = MONTH) -> MonthSettlement:
    return month_settlement(month=month, as_of=AS_OF)


def by_cause(value: MonthSettlement, side: str) -> dict[str, Decimal]:
    gap = next(gap for gap in value.gaps if gap.side == side)
    assert sum(cause.amount_usd for cause in gap.causes) == gap.difference_usd
    return {cause.cause: cause.amount_usd for cause in gap.causes}


def test_the_worked_example_of_the_document(folder: Path) -> None:
    prices()
    usage()
    report(folder)
    records()
    save_invoice(actor=None, entry=invoice(), as_of=AS_OF)
    value = settle()
    assert (value.computed_usd, value.report_usd, value.invoice_usd) == (
        USD("34.2901185"), USD("48.360119"), USD("46.40"),
    )  # fmt: skip
    assert by_cause(value, "report") == {
        "missing_price": USD("9.60"),
        "day_not_imported": USD("7.50"),
        "day_not_in_report": USD("-7.50"),
        "unknown": USD("4.12"),
        "non_token": USD("0.35"),
        "rounding": USD("0.0000005"),
    }
    assert by_cause(value, "invoice") == {"credit": USD("-5.00"), "tax": USD("3.04"), "rounding": USD("-0.000119")}
    assert value.residual_usd == USD("12.1098815")
    assert value.open_usd == USD("4.12")
    text = (Path(__file__).parents[2] / "docs/algorithms/reconciliation.md").read_text()
    for figure in ("34.2901185", "48.360119", "46.40", "9.60", "7.50", "4.12", "0.35", "0.0000005", "0.000119", "3.04"):
        assert figure in text, figure


def test_a_line_explains_itself(folder: Path) -> None:
    prices()
    usage()
    report(folder)
    line = next(line for line in settle().lines if line.state == "open")
    assert (line.about.model, line.kind, line.units) == (OPUS, "output", 700_000)
    assert [price.formula for price in line.prices] == ["700,000 × 25.00 / 1,000,000 = 17.5"]
    assert line.open_usd == USD("4.12")
    known = {one.day: one.known for one in line.days}
    assert known[date(2026, 10, 1)] == "The report has $4.12 more: about 164,800 tokens at our price"
    assert known[date(2026, 10, 8)].startswith("Days the cost report does not cover")


def test_what_is_unpriced_is_said_with_the_amount_of_the_report(folder: Path) -> None:
    prices()
    usage()
    report(folder)
    value = settle()
    assert [(one.model, one.units, one.reported_usd) for one in value.unpriced] == [(PREVIEW, 480_000, USD("9.60"))]
    line = next(line for line in value.lines if line.about.model == PREVIEW)
    assert (line.computed_usd, line.reported_usd, line.needs_price) == (None, USD("9.60"), True)


def test_the_detail_of_a_missing_price_joins_no_days(folder: Path) -> None:
    """Each day has its own units; a sum of days with the numbers of some of them would tell nothing."""
    prices()
    for day in (1, 2, 3, 4):
        count_usage(PREVIEW, f"2026-10-{day:02d}", output_tok=100_000 + day, workspace="wrkspc_a")
    report(folder, {day: [result("100.0000", "output", model=PREVIEW)] for day in (1, 2, 3, 4)})
    (gap,) = settle().gaps
    assert [(one.cause, one.amount_usd, one.detail) for one in gap.causes] == [
        ("missing_price", USD("4"), "without a price here, at the cost report's amount")
    ]


class TestWhichReportCounts:
    def test_a_finer_report_before_a_coarser_one_of_another_source(self, folder: Path) -> None:
        whole_month(folder)
        rows = list(CostReportLine.objects.all())
        coarse = rows[0]
        coarse.pk, coarse.position, coarse.amount = None, 900, USD("99")
        source = coarse.source
        source.pk, source.name = None, "Console cost CSV"
        source.save()
        coarse.source = source
        coarse.model = coarse.token_kind = coarse.workspace = "(not grouped)"
        coarse.save()
        value = settle()
        assert value.report_usd == USD("20.35")
        assert [one.source for one in value.reports] == ["Anthropic cost report"]

    def test_another_currency_is_left_out_and_said(self, folder: Path) -> None:
        whole_month(folder)
        CostReportLine.objects.filter(cost_type="code_execution").update(currency="EUR")
        value = settle()
        assert value.report_usd == USD("20.00")
        assert value.left_out == ("0.35 EUR of Anthropic cost report are not compared: only US dollars are",)

    def test_a_day_later_corrected_is_replaced(self, folder: Path) -> None:
        whole_month(folder)
        report(folder, {1: [result("1000.0000", "uncached_input"), result("1100.0000", "output")]}, at=AS_OF)
        value = settle()
        assert value.report_usd == USD("21.00")
        assert by_cause(value, "report") == {"unknown": USD("1.00")}


def contract(percent: str) -> None:
    """An approved contract over the whole year, so many per cent off every token."""
    row = Contract.objects.create(
        name="Acme 2026", valid_from=date(2026, 1, 1), valid_to=date(2027, 1, 1), source="order form",
        checked_on=date(2026, 1, 2), proposed_at=AS_OF, approved_at=AS_OF,
    )  # fmt: skip
    ContractRate.objects.create(contract=row, percent_off=USD(percent))


def test_a_contract_explains_what_the_report_bills_less(folder: Path) -> None:
    prices()
    count_usage(OPUS, "2026-10-01", uncached_input_tok=2_000_000, output_tok=400_000, workspace="wrkspc_a")
    contract("10")
    report(folder, {1: [result("900.0000", "uncached_input"), result("900.0000", "output")]})
    value = settle()
    assert by_cause(value, "report") == {"contract_discount": USD("-2.00")}
    assert value.contracted_usd == USD("18")


def test_a_contract_explains_what_the_invoice_bills_less_than_our_own_list_figures(folder: Path) -> None:
    prices()
    count_usage(OPUS, "2026-10-01", output_tok=400_000)
    contract("10")
    save_invoice(actor=None, entry=invoice(LineEntry("Claude usage", USD("9.00"))), as_of=AS_OF)
    assert by_cause(settle(), "invoice") == {"contract_discount": USD("-1.00")}


def test_a_report_at_list_prices_is_not_explained_by_a_contract(folder: Path) -> None:
    prices()
    count_usage(OPUS, "2026-10-01", output_tok=400_000, workspace="wrkspc_a")
    contract("10")
    report(folder, {1: [result("1000.0000", "output")]})
    assert by_cause(settle(), "report") == {}


@pytest.mark.parametrize("path", sorted((SAMPLES / "costs/samples").glob("*focus*.csv")), ids=lambda path: path.name)
def test_a_bill_reconciles_with_the_usage_and_the_invoice_it_brings(folder: Path, path: Path) -> None:
    """A bill brings report, usage and invoice at once: the sums hold for every month of it."""
    seed_list_prices(as_of=datetime(2026, 11, 1, tzinfo=UTC))
    import_file(actor=None, path=path, as_of=AS_OF, options=ImportOptions(), plan=NO_PLAN, kind=COSTS)
    months = sorted(set(CostReportLine.objects.values_list("billing_month", flat=True)))
    assert months == [date(2026, 11, 1)]
    assert by_cause(settle(months[0]), "report") == {
        "commitment": USD("100"),  # 1,000 bought, 900 drawn on it
        "tax": USD("88.13"),
        "credit": USD("-50"),
        "non_token": USD("18.30"),  # consumption units of another channel
        "adjustment": USD("-3.75"),
        "missing_price": USD("0.40"),  # web searches of no model
        "contract_discount": USD("-100.155"),  # 10 % of the usage drawn, and of one line billed
    }
    assert settle(months[0]).open_lines == 0
    for month in months:
        value = settle(month)
        for gap in value.gaps:
            assert by_cause(value, gap.side)
            assert sum(cause.amount_usd for cause in gap.causes) == gap.difference_usd == gap.to_usd - gap.from_usd


def test_without_a_report_the_invoice_is_compared_with_our_own_figures(folder: Path) -> None:
    prices()
    usage()
    save_invoice(actor=None, entry=invoice(), as_of=AS_OF)
    value = settle()
    assert value.report_usd is None
    assert by_cause(value, "invoice") == {
        # the usage line beyond what has a price (how much of it is the preview model?), less a credit nobody granted
        "unknown": USD("13.7198815") - USD("5.00"),
        "unchecked_tax": USD("3.04"),
        "other_charge": USD("0.35"),
    }
    details = [cause.detail for gap in value.gaps for cause in gap.causes if cause.cause == "unknown"]
    assert details == [
        f"{PREVIEW} has no price here and may be part of it; "
        "a credit nobody expected: no approved contract grants one that lasts"
    ]
    assert value.open_usd == USD("18.7198815")


def test_days(folder: Path) -> None:
    prices()
    usage()
    report(folder)
    value = settle()
    # 3 October is in the report and not imported; 4 to 6 are reported with nothing; of 7 and 9 to 31 nothing is known
    assert (value.days, value.days_imported) == (31, 6)
    assert value.missing_days[:3] == (date(2026, 10, 3), date(2026, 10, 7), date(2026, 10, 9))


def test_checks_of_a_month_that_is_ready(folder: Path) -> None:
    whole_month(folder)
    row = save_invoice(actor=None, entry=whole_invoice(), as_of=AS_OF)
    check_invoice(actor=None, invoice_id=row.pk, as_of=AS_OF)
    value = settle()
    assert [check.key for check in value.checks] == [
        "over", "differences", "prices", "days", "classified", "invoice", "adds_up", "read",
    ]  # fmt: skip
    assert value.open_checks == ()


@pytest.mark.parametrize(
    ("change", "opened"),
    [
        (lambda: Invoice.objects.update(checked_at=None), "read"),
        (lambda: Invoice.objects.update(total_amount=USD("21.00")), "adds_up"),
        (lambda: DailyUsage.objects.update(request_class=""), "classified"),
        (lambda: Invoice.objects.update(withdrawn_at=AS_OF), "invoice"),
        (lambda: count_usage("model-x", "2026-10-01", output_tok=5, request_class="triage"), "prices"),
    ],
    ids=["read", "adds_up", "classified", "invoice", "prices"],
)
def test_each_check_opens(folder: Path, change, opened: str) -> None:
    whole_month(folder)
    row = save_invoice(actor=None, entry=whole_invoice(), as_of=AS_OF)
    check_invoice(actor=None, invoice_id=row.pk, as_of=AS_OF)
    change()
    assert opened in {check.key for check in settle().open_checks}


def test_a_tolerance_of_the_month(folder: Path) -> None:
    prices()
    usage()
    report(folder)
    assert "unknown" in by_cause(settle(), "report")
    set_tolerance(actor=None, month=MONTH, changes={"line_usd": USD("5")}, as_of=AS_OF)
    value = settle()
    assert "unknown" not in by_cause(value, "report")
    assert value.settings.line_usd == 5


def test_months_have_no_holes(folder: Path) -> None:
    prices()
    count_usage(OPUS, "2026-08-30", output_tok=1)
    save_invoice(actor=None, entry=invoice(month=date(2026, 11, 1)), as_of=AS_OF)
    assert months_known(as_of=AS_OF) == [date(2026, month, 1) for month in (11, 10, 9, 8)]


def test_a_wrong_year_hides_no_months(folder: Path) -> None:
    """Held from before years were checked, or imported so: the real months stay a short list, and nothing fails."""
    prices()
    count_usage(OPUS, "2026-08-30", output_tok=1)
    row = save_invoice(actor=None, entry=invoice(month=date(2026, 9, 1)), as_of=AS_OF)
    for year in (1, 1900, 2100, 9999):
        Invoice.objects.filter(pk=row.pk).update(month=date(year, 12, 1))
        assert set(months_known(as_of=AS_OF)) == {date(2026, 8, 1), date(year, 12, 1)}


def test_an_invoice_by_model_and_kind_is_compared_word_by_word(folder: Path) -> None:
    whole_month(folder)
    lines = (
        LineEntry("Opus input", USD("10.00"), "usage", OPUS, "uncached_input"),
        LineEntry("Opus output", USD("11.00"), "usage", OPUS, "output"),
        LineEntry("Code execution", USD("0.35"), "other", "", "code_execution"),
    )
    save_invoice(actor=None, entry=invoice(*lines), as_of=AS_OF)
    value = settle()
    assert [(one.title, one.difference_usd, one.state) for one in value.invoice_lines] == [
        (f"{OPUS}, output", USD("1.00"), "open"),
        (f"{OPUS}, input", USD("0.00"), "matches"),
        ("Code execution, other charges", USD("0.00"), "matches"),
    ]


@pytest.mark.parametrize("hourly", [True, False], ids=["hourly pages and days", "days alone"])
def test_the_samples_of_one_account_reconcile_with_each_other(folder: Path, hourly: bool) -> None:
    """Usage by hour and by day, and the cost report of the same two days: equal on every line, to the cent's fraction.

    The hourly pages hold 9 November, the daily ones both days; the report has charges beside tokens.
    """
    seed_list_prices(as_of=datetime(2026, 11, 1, tzinfo=UTC))
    names = ["usage_report_messages_1d.json"]
    names += ["usage_report_messages_1h_page1.json", "usage_report_messages_1h_page2.json"] if hourly else []
    for name in names:
        import_file(
            actor=None, path=SAMPLES / "usage/samples" / name, as_of=AS_OF, options=ImportOptions(), plan=NO_PLAN
        )
    costs = SAMPLES / "costs" / "samples" / "cost_report_by_workspace_description.json"
    import_file(actor=None, path=costs, as_of=AS_OF, options=ImportOptions(), plan=NO_PLAN, kind=COSTS)
    value = settle(date(2026, 11, 1))
    assert value.report_usd == USD("60.944086")
    causes = by_cause(value, "report")
    assert set(causes) <= {"non_token", "rounding"}, causes
    assert value.computed_usd == USD("60.944086") - causes["non_token"] - causes.get("rounding", 0)
