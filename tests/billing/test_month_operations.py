"""Invoices entered and read by two people; differences explained; months closed for good; what came later is booked."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from audit.models import AuditEntry
from audit.roles import Forbidden
from billing.models import BillingPeriod, DailyUsage, Invoice, PeriodAdjustment, Price, ResidualReason
from billing.operations.invoices import InvoiceRefused, LineEntry, check_invoice, save_invoice, withdraw_invoice
from billing.operations.reconciliation import (
    PeriodRefused,
    close_month,
    comment_month,
    document_hash,
    explain_difference,
    record_adjustments,
    set_tolerance,
    settlement_hash,
    withdraw_reason,
)
from billing.queries.adjustments import booked_adjustments, due_adjustments
from billing.queries.reconciliation import month_settlement
from billing.queries.usage import priced_usage
from tests.billing.month_world import (
    AS_OF,
    MONTH,
    OPUS,
    PREVIEW,
    USD,
    WHOLE,
    invoice,
    person,
    price,
    prices,
    report,
    result,
    usage,
    whole_invoice,
    whole_month,
)
from tests.billing.usage_rows import count_usage

pytestmark = pytest.mark.django_db
LATER = AS_OF + timedelta(days=3)
NOVEMBER = date(2026, 11, 1)


@pytest.fixture(autouse=True)
def folder(var: Path) -> Path:
    return var


@pytest.fixture
def paula(db):
    return person("paula", "procurement")


@pytest.fixture
def ada(db):
    return person("ada", "admin")


@pytest.fixture
def vic(db):
    return person("vic", "viewer")


def settle(month: date = MONTH):
    return month_settlement(month=month, as_of=AS_OF)


def open_line():
    return next(line for line in settle().lines if line.state in ("open", "accepted"))


def explain(actor, line, **changes):
    values = {"cause": "late_usage", "reason": "Ticket 4711.", "amount": line.open_usd, **changes}
    return explain_difference(actor=actor, month=MONTH, side="report", line=line.key, as_of=AS_OF, **values)


# ---- Invoices --------------------------------------------------------------------------------------------------------


class TestInvoices:
    def test_one_enters_another_reads(self, paula, ada):
        row = save_invoice(actor=paula, entry=invoice(), as_of=AS_OF)
        assert (row.total_amount, row.lines.count(), row.checked_at) == (USD("46.40"), 4, None)
        with pytest.raises(InvoiceRefused, match="somebody else"):
            check_invoice(actor=paula, invoice_id=row.pk, as_of=AS_OF)
        assert check_invoice(actor=ada, invoice_id=row.pk, as_of=LATER).checked_by == ada
        actions = list(AuditEntry.objects.filter(object_type="invoice").values_list("action", flat=True).order_by("pk"))
        assert actions == ["invoice.entered", "invoice.checked"]

    def test_a_correction_takes_the_reading_away(self, paula, ada):
        row = save_invoice(actor=paula, entry=invoice(), as_of=AS_OF)
        check_invoice(actor=ada, invoice_id=row.pk, as_of=AS_OF)
        row = save_invoice(actor=ada, entry=invoice(number="INV-10b"), as_of=LATER, invoice_id=row.pk)
        assert (row.number, row.checked_at, row.lines.count()) == ("INV-10b", None, 4)
        assert check_invoice(actor=paula, invoice_id=row.pk, as_of=LATER).checked_by == paula

    def test_a_number_once(self, paula):
        save_invoice(actor=paula, entry=invoice(), as_of=AS_OF)
        with pytest.raises(InvoiceRefused, match="entered already"):
            save_invoice(actor=paula, entry=invoice(), as_of=AS_OF)

    def test_withdrawn_is_kept_not_counted_and_its_number_free(self, paula):
        row = save_invoice(actor=paula, entry=invoice(), as_of=AS_OF)
        with pytest.raises(InvoiceRefused, match="why"):
            withdraw_invoice(actor=paula, invoice_id=row.pk, reason=" ", as_of=AS_OF)
        withdraw_invoice(actor=paula, invoice_id=row.pk, reason="twice", as_of=AS_OF)
        assert settle().invoice_usd is None
        save_invoice(actor=paula, entry=invoice(), as_of=AS_OF)
        assert Invoice.objects.count() == 2

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"issuer": " "}, "issuer"),
            ({"number": ""}, "number"),
            ({"month": date(2026, 10, 2)}, "month"),
            ({"issued_on": date(2027, 1, 1)}, "issued_on"),
            ({"due_on": date(2026, 10, 1)}, "due_on"),
            ({"currency": "usd"}, "currency"),
            ({"total_amount": Decimal("1.005")}, "total_amount"),
            ({"total_amount": Decimal("NaN")}, "total_amount"),
            ({"lines": ()}, "lines"),
            ({"lines": (LineEntry("", USD("1")),)}, "line-1-description"),
            ({"lines": (LineEntry("x", USD("1"), "gift"),)}, "line-1-category"),
            ({"lines": (LineEntry("x", USD("1"), "usage", "", "thoughts"),)}, "line-1-kind"),
            ({"lines": (LineEntry("x", USD("0.001")),)}, "line-1-amount"),
        ],
    )
    def test_refused_with_the_field(self, paula, changes, field):
        with pytest.raises(InvoiceRefused) as refused:
            save_invoice(actor=paula, entry=invoice(**changes), as_of=AS_OF)
        assert field in refused.value.problems
        assert Invoice.objects.count() == 0

    def test_rights(self, vic):
        with pytest.raises(Forbidden, match="enter invoices"):
            save_invoice(actor=vic, entry=invoice(), as_of=AS_OF)


# ---- Reasons ---------------------------------------------------------------------------------------------------------


class TestReasons:
    @pytest.fixture(autouse=True)
    def world(self, folder):
        prices()
        usage()
        report(folder)

    def test_it_holds_while_the_amount_is_the_same(self, paula):
        explain(paula, open_line())
        value = settle()
        line = open_line()
        assert (line.state, value.open_lines, value.open_usd) == ("accepted", 0, 0)
        assert sum(cause.amount_usd for cause in value.gaps[0].causes) == value.gaps[0].difference_usd
        accepted = [cause for cause in value.gaps[0].causes if cause.state == "accepted"]
        assert [(cause.cause, cause.amount_usd) for cause in accepted] == [("late_usage", USD("4.12"))]
        DailyUsage.objects.filter(date=date(2026, 10, 1)).update(output_tok=400_001)
        assert settle().open_lines == 1

    def test_another_amount_than_the_one_seen_is_refused(self, paula):
        with pytest.raises(PeriodRefused, match=r"4\.12"):
            explain(paula, open_line(), amount=USD("4.13"))

    def test_accepted_without_a_known_cause(self, paula):
        explain(paula, open_line(), cause="unknown", reason="Not worth a ticket.")
        titles = [cause.title for cause in settle().gaps[0].causes if cause.state == "accepted"]
        assert titles == ["Accepted without a known cause"]

    def test_withdrawn_it_is_open_again(self, paula):
        row = explain(paula, open_line())
        withdraw_reason(actor=paula, reason_id=row.pk, as_of=LATER)
        assert settle().open_lines == 1
        with pytest.raises(PeriodRefused, match="withdrawn"):
            withdraw_reason(actor=paula, reason_id=row.pk, as_of=LATER)

    def test_a_second_explanation_replaces_the_first(self, paula):
        explain(paula, open_line())
        explain(paula, open_line(), cause="credit", reason="Better known now.")
        assert ResidualReason.objects.filter(withdrawn_at__isnull=True).count() == 1
        assert open_line().reason.cause == "credit"

    def test_an_unpriced_model_is_accepted_at_the_report_s_amount(self, paula):
        line = next(line for line in settle().lines if line.about.model == PREVIEW)
        assert line.needs_price
        explain(paula, line, cause="missing_price", reason="Agreed by mail.")
        line = next(line for line in settle().lines if line.about.model == PREVIEW)
        assert (line.state, line.needs_price, line.open_usd) == ("accepted", False, USD("9.60"))

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"reason": "  "}, "Say why"),
            ({"cause": "magic"}, "no cause"),
            ({"cause": "rounding"}, "no cause"),
            ({"reason": "x" * 2001}, "At most"),
        ],
    )
    def test_refusals(self, paula, changes, said):
        with pytest.raises(PeriodRefused, match=said):
            explain(paula, open_line(), **changes)

    def test_a_line_that_is_not_there_or_needs_nothing(self, paula):
        with pytest.raises(PeriodRefused, match="no line"):
            explain_difference(actor=paula, month=MONTH, side="report", line="x", cause="tax", reason="y", as_of=AS_OF)
        code = next(line for line in settle().lines if line.about.kind == "code_execution")
        with pytest.raises(PeriodRefused, match="nothing to explain"):
            explain(paula, code)

    def test_rights(self, vic):
        with pytest.raises(Forbidden, match="explain"):
            explain(vic, open_line())
        with pytest.raises(Forbidden, match="comment"):
            comment_month(actor=vic, month=MONTH, text="x", as_of=AS_OF)

    @pytest.mark.parametrize(
        "changes",
        [{"line_usd": USD("-1")}, {"unclassified_share": USD("1.1")}, {"line_share": USD("2")}, {"x": USD("1")}],
    )
    def test_tolerances_that_make_no_sense(self, paula, changes):
        with pytest.raises(PeriodRefused):
            set_tolerance(actor=paula, month=MONTH, changes=changes, as_of=AS_OF)


# ---- Closing ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def ready(folder, paula, ada):
    """October as it can be closed."""
    whole_month(folder)
    row = save_invoice(actor=paula, entry=whole_invoice(), as_of=AS_OF)
    check_invoice(actor=ada, invoice_id=row.pk, as_of=AS_OF)
    return row


@pytest.fixture
def closed(ready, paula):
    return close_month(actor=paula, month=MONTH, as_of=AS_OF)


class TestClosing:
    def test_refused_with_everything_that_is_open(self, folder, paula):
        prices()
        usage()
        report(folder)
        with pytest.raises(PeriodRefused) as refused:
            close_month(actor=paula, month=MONTH, as_of=AS_OF)
        assert [text.split(":")[0].rstrip(".") for text in refused.value.problems] == [
            "One difference has no cause",
            "One model has no price",
            "25 days are not imported",
            "No invoice is entered",
        ]
        assert not BillingPeriod.objects.filter(state="closed").exists()

    def test_closed(self, closed, paula):
        assert (closed.state, closed.closed_by, closed.prices_known_at) == ("closed", paula, AS_OF)
        assert closed.frozen_hash == document_hash(closed.frozen)
        assert USD(closed.frozen["computed_usd"]) == 20
        assert closed.frozen["invoice_usd"] == "20.35"
        entry = AuditEntry.objects.get(action="month.closed")
        assert entry.object_id == "2026-10"
        assert (entry.after or {})["hash"] == closed.frozen_hash

    def test_what_was_seen_must_be_what_is_closed(self, ready, paula):
        seen = settlement_hash(settle())
        count_usage(OPUS, "2026-10-05", output_tok=1, request_class="triage", workspace="wrkspc_a")
        with pytest.raises(PeriodRefused, match="changed since"):
            close_month(actor=paula, month=MONTH, as_of=AS_OF, seen_hash=seen)
        assert close_month(actor=paula, month=MONTH, as_of=AS_OF, seen_hash=settlement_hash(settle()))

    def test_nothing_changes_it_any_more(self, closed, paula, ready):
        for step in (
            lambda: close_month(actor=paula, month=MONTH, as_of=LATER),
            lambda: set_tolerance(actor=paula, month=MONTH, changes={}, as_of=LATER),
            lambda: explain_difference(
                actor=paula, month=MONTH, side="report", line="x", cause="tax", reason="y", as_of=LATER
            ),
        ):
            with pytest.raises(PeriodRefused, match="was closed"):
                step()
        with pytest.raises(InvoiceRefused, match="was closed with this invoice"):
            save_invoice(actor=paula, entry=whole_invoice(total="1"), as_of=LATER, invoice_id=ready.pk)
        comment_month(actor=paula, month=MONTH, text="Paid.", as_of=LATER)

    def test_engineers_do_not_close(self, ready):
        with pytest.raises(Forbidden, match="close a month"):
            close_month(actor=person("emil", "engineer"), month=MONTH, as_of=AS_OF)


class TestAfterClosing:
    def due(self):
        return {one.cause: one.amount_usd for one in due_adjustments(month=MONTH, as_of=LATER)}

    def test_nothing_is_due_when_nothing_came(self, closed):
        assert self.due() == {}

    def test_a_price_approved_later(self, closed):
        price("output", "30", at=LATER, start=date(2026, 10, 1))
        spent = priced_usage(start=MONTH, end=NOVEMBER).groups[0].cost_usd
        assert spent == USD("20")  # the spend pages keep the closing prices
        assert self.due() == {"price_change": USD("2")}  # 400,000 tokens × 5 more per million

    def test_usage_imported_later_at_closing_prices(self, closed):
        count_usage(OPUS, "2026-10-20", output_tok=100_000)
        price("output", "30", at=LATER, start=date(2026, 10, 1))
        assert self.due() == {"late_usage": USD("2.5"), "price_change": USD("2.5")}

    def test_a_restated_report_and_a_second_invoice(self, closed, folder, paula):
        report(folder, {2: [result("100.0000", "output")]}, at=LATER)
        save_invoice(actor=paula, entry=whole_invoice(number="INV-10-2"), as_of=LATER)
        assert self.due() == {"cost_report": USD("1"), "invoice": USD("20.35")}

    def test_booked_once_in_the_first_open_month(self, closed, paula):
        count_usage(OPUS, "2026-10-20", output_tok=100_000)
        (one,) = record_adjustments(actor=paula, month=MONTH, as_of=LATER)
        assert (one.amount_usd, one.booked_month) == (USD("2.5"), NOVEMBER)
        assert record_adjustments(actor=paula, month=MONTH, as_of=LATER) == ()
        assert self.due() == {}
        count_usage(OPUS, "2026-10-21", output_tok=100_000)
        assert self.due() == {"late_usage": USD("2.5")}
        assert [row.cause for row in booked_adjustments(booked_month=NOVEMBER)] == ["late_usage"]
        assert BillingPeriod.objects.get(month=MONTH).frozen == closed.frozen

    def test_usage_taken_back_is_a_negative_adjustment(self, closed):
        DailyUsage.objects.all().delete()
        assert self.due() == {"late_usage": USD("-20")}

    def test_an_open_month_has_none(self, ready, paula):
        with pytest.raises(PeriodRefused, match="not closed"):
            record_adjustments(actor=paula, month=MONTH, as_of=AS_OF)
        assert PeriodAdjustment.objects.count() == 0

    def test_prices_stay_append_only(self, closed):
        """The closing book is what was approved until then, whatever is approved after."""
        price("output", "30", at=LATER, start=date(2026, 10, 1))
        assert Price.objects.filter(approved_at__lte=closed.prices_known_at).count() == 3
        now = month_settlement(month=MONTH, as_of=LATER, known_at=closed.prices_known_at)
        assert now.computed_usd == USD(closed.frozen["computed_usd"])


def test_the_report_covers_a_whole_october():
    assert sorted(WHOLE) == list(range(1, 32))
    assert datetime(2026, 10, 31, tzinfo=UTC) < AS_OF
