"""The months of the demo: closed ones, and an open one with an explained residual and one line nobody explained."""

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.cache import cache
from django.test import Client

from audit.models import AuditEntry
from billing.core.money import round_usd
from billing.core.periods import next_month
from billing.models import BillingPeriod, CostReportLine, Import, Invoice
from billing.operations.reconciliation import document_hash
from billing.queries.adjustments import due_adjustments
from billing.queries.usage import priced_usage
from costgov.demo.cost_files import demo_months, report_rows, write_report
from costgov.models import User
from costgov.queries.reconciliation import month_list, month_view
from tests.costgov.page_checks import problems
from tests.demo import AS_OF, LAST, demo, demo_copy  # noqa: F401  # fixtures

pytestmark = pytest.mark.xdist_group("demo")
OCTOBER, SEPTEMBER = date(2026, 10, 1), date(2026, 9, 1)


def test_every_complete_month_but_the_last_is_closed(demo):  # noqa: F811
    rows = {row.month: row for row in month_list(as_of=AS_OF).months}
    assert {month: row.state for month, row in rows.items()} == {
        **{date(2026, number, 1): "closed" for number in range(3, 10)}, OCTOBER: "open", date(2026, 11, 1): "open",
    }  # fmt: skip
    assert rows[OCTOBER].missing == ("One difference has no cause", "One model has no price")
    assert round_usd(rows[OCTOBER].open_usd) == Decimal("4.12")


def test_entered_by_paula_read_by_ada_closed_by_paula(demo):  # noqa: F811
    for row in Invoice.objects.all():
        assert row.entered_by is not None and row.checked_by is not None
        assert (row.entered_by.username, row.checked_by.username) == ("paula", "ada")
        assert row.checked_at is not None and row.entered_at < row.checked_at <= AS_OF
    for period in BillingPeriod.objects.filter(state="closed"):
        assert period.closed_by is not None and period.closed_by.username == "paula"
        assert period.frozen_hash == document_hash(period.frozen)
    assert set(AuditEntry.objects.filter(object_type="month").values_list("is_demo", flat=True)) == {True}


def test_the_causes_of_october_by_hand(demo):  # noqa: F811
    """The report's lines against usage at list prices, added up here without the code that explains them."""
    value = month_view(month=OCTOBER, as_of=AS_OF).settlement
    lines = CostReportLine.objects.filter(billing_month=OCTOBER)
    stated: dict[str, Decimal] = defaultdict(Decimal)
    for line in lines:
        stated[line.model if line.cost_type == "tokens" else line.cost_type] += line.amount
        if line.geo == "us":
            stated["us"] += line.amount
    computed = priced_usage(start=OCTOBER, end=next_month(OCTOBER)).groups[0].cost_usd
    assert value.computed_usd == computed
    assert value.report_usd == sum(line.amount for line in lines)
    found = {cause.cause: cause.amount_usd for cause in value.gaps[0].causes}
    assert sum(found.values()) == value.report_usd - computed
    assert found["non_token"] == stated["code_execution"] == Decimal("0.35") * 31
    assert found["missing_price"] == stated["claude-labs-preview"]
    assert abs(found["regional_price"] - stated["us"] / 11) < Decimal("0.001")  # 1.1 times the global price
    assert abs(found["unknown"] - Decimal("4.12")) < Decimal("0.0001")
    assert found["late_usage"] > 10


def test_what_explains_the_invoice_of_october(demo):  # noqa: F811
    """September's report came anew after its closing; the invoice bills that, taxes it, and grants a credit."""
    view = month_view(month=OCTOBER, as_of=AS_OF)
    (booked,) = view.carried
    assert (booked.month, booked.cause, booked.amount_usd) == (SEPTEMBER, "cost_report", Decimal("117.31"))
    assert booked.billed_on.startswith("DEMO-2026-10 line ")
    found = {cause.cause: cause for cause in view.settlement.gaps[1].causes}
    tax = round_usd((view.settlement.invoice_usd or 0) / Decimal("1.029") * Decimal("0.029"))
    assert {cause: (one.amount_usd, one.state) for cause, one in found.items() if cause != "rounding"} == {
        "adjustment": (Decimal("117.31"), "explained"),
        "credit": (Decimal("-50.00"), "accepted"),
        "tax": (tax, "explained"),
    }
    assert found["adjustment"].detail.startswith("September 2026, cost report $117.31, booked on ")
    assert found["tax"].detail.startswith("tax at 2.9 % of $")
    assert {row.month: row.open_lines for row in month_list(as_of=AS_OF).months if row.state == "closed"} == {
        date(2026, number, 1): 0 for number in range(3, 10)
    }


def test_a_closed_month_equals_what_it_would_be_now(demo):  # noqa: F811
    assert due_adjustments(month=SEPTEMBER, as_of=AS_OF) == ()


def test_the_reports_are_the_generated_ones(demo, tmp_path: Path):  # noqa: F811
    for month in demo_months(LAST)[-2:]:
        path = tmp_path / "report.json"
        write_report(report_rows(month, LAST), path)
        row = Import.objects.get(kind="costs", file_name=f"cost_report_{month.month:%Y-%m}.json")
        assert row.size_bytes == path.stat().st_size


def test_months_of_a_demo_that_ends_on_any_day():
    for back in range(40):
        last = LAST - timedelta(days=back)
        months = demo_months(last)
        assert [month.is_last for month in months] == [*[False] * (len(months) - 1), True]
        assert all(month.report_at.date() < last for month in months)
        assert len(months) >= 6


@pytest.mark.parametrize(
    "address",
    ["/invoices/", "/invoices/2026-10/", "/invoices/2026-09/", "/invoices/2026-11/", "/invoices/2026-10/close/"],
)
def test_its_pages_are_sound(demo, address):  # noqa: F811
    cache.clear()
    client = Client()
    client.force_login(User.objects.get(username="paula"))
    answer = client.get(address)
    assert answer.status_code == 200
    assert problems(answer.content.decode()) == []
