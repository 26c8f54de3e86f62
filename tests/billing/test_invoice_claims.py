"""Adjustments, credits and tax through several months: booked in one, billed in the next, right and wrong."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from audit.models import AuditEntry
from audit.roles import Forbidden
from billing.models import BillingPeriod, ResidualReason, TaxRate
from billing.operations.invoices import LineEntry, check_invoice, save_invoice, withdraw_invoice
from billing.operations.reconciliation import (
    PeriodRefused,
    close_month,
    document_hash,
    explain_difference,
    record_adjustments,
    withdraw_reason,
)
from billing.operations.tax_rates import TaxRateRefused, state_tax_rate, withdraw_tax_rate
from billing.queries.adjustments import booked_adjustments
from billing.queries.expected import tax_rates
from billing.queries.reconciliation import month_settlement
from tests.billing.month_world import (
    AS_OF,
    MONTH,
    OPUS,
    USD,
    invoice,
    person,
    price,
    prices,
    records,
    report,
    result,
    whole_invoice,
    whole_month,
)
from tests.billing.usage_rows import count_usage

pytestmark = pytest.mark.django_db
NOVEMBER, DECEMBER = date(2026, 11, 1), date(2026, 12, 1)
LATER = datetime(2026, 12, 20, 9, tzinfo=UTC)
JANUARY = datetime(2027, 1, 20, 9, tzinfo=UTC)


@pytest.fixture(autouse=True)
def folder(var: Path) -> Path:
    return var


@pytest.fixture
def paula(db):
    return person("paula", "procurement")


@pytest.fixture
def closed(folder, paula):
    """October, closed with its report and the invoice of Anthropic."""
    whole_month(folder)
    row = save_invoice(actor=paula, entry=whole_invoice(), as_of=AS_OF)
    check_invoice(actor=person("ada", "admin"), invoice_id=row.pk, as_of=AS_OF)
    return close_month(actor=paula, month=MONTH, as_of=AS_OF)


@pytest.fixture
def booked(closed, folder, paula):
    """The provider reports 2 October anew, 2.50 higher; it is booked in November."""
    report(folder, {2: [result("250.0000", "output")]}, at=LATER)
    (one,) = record_adjustments(actor=paula, month=MONTH, as_of=LATER)
    assert (one.cause, one.amount_usd, one.booked_month) == ("cost_report", USD("2.5"), NOVEMBER)
    return one


def bill(*lines: LineEntry, month: date = NOVEMBER, at: datetime = JANUARY, **changes):
    entry = invoice(*lines, month=month, number=f"INV-{month:%m}", **changes)
    return save_invoice(actor=None, entry=entry, as_of=at)


def adjustment(amount: str) -> LineEntry:
    return LineEntry("Adjustment of October", USD(amount), "adjustment")


def causes(month: date = NOVEMBER):
    """Cause → amount and state of what the invoice has beyond its usage; and the sum of every gap is exact."""
    value = month_settlement(month=month, as_of=JANUARY)
    for gap in value.gaps:
        assert sum(cause.amount_usd for cause in gap.causes) == gap.difference_usd
    (gap,) = (gap for gap in value.gaps if gap.side == "invoice")
    return {(cause.cause, cause.state): cause.amount_usd for cause in gap.causes}


def claims(month: date = NOVEMBER):
    lines = month_settlement(month=month, as_of=JANUARY).invoice_lines
    return [line for line in lines if not line.key.startswith("usage|")]


class TestAdjustments:
    def test_the_booked_amount(self, booked):
        bill(adjustment("2.50"))
        assert causes() == {("adjustment", "explained"): USD("2.5")}
        (line,) = claims()
        assert line.parts[0].detail == "October 2026, cost report $2.50, booked on 20 Dec 2026"
        assert [one.billed_on for one in booked_adjustments(booked_month=NOVEMBER)] == ["INV-11 line 1"]

    def test_a_wrong_amount(self, booked):
        bill(adjustment("3.00"))
        assert causes() == {("unknown", "open"): USD("3.00")}
        (line,) = claims()
        assert line.title == "Adjustment nobody expected: Adjustment of October"
        assert line.parts[0].detail.startswith("the nearest that is due is $0.50 less: October 2026, cost report $2.50")
        assert [one.billed_on for one in booked_adjustments(booked_month=NOVEMBER)] == [""]

    def test_twice_on_one_invoice(self, booked):
        bill(adjustment("2.50"), adjustment("2.50"))
        assert causes() == {("adjustment", "explained"): USD("2.5"), ("unknown", "open"): USD("2.50")}

    def test_twice_on_two_invoices(self, booked):
        first = bill(adjustment("2.50"))
        bill(adjustment("2.50"), month=DECEMBER)
        assert causes(DECEMBER) == {("unknown", "open"): USD("2.50")}
        assert "billed before, on INV-11 line 1" in claims(DECEMBER)[0].parts[0].detail
        withdraw_invoice(actor=None, invoice_id=first.pk, reason="Not for us.", as_of=JANUARY)
        assert causes(DECEMBER) == {("adjustment", "explained"): USD("2.5")}

    def test_another_issuer(self, booked):
        bill(adjustment("2.50"), issuer="Amazon Web Services")
        assert causes() == {("unknown", "open"): USD("2.50")}
        assert "not from Amazon Web Services" in claims()[0].parts[0].detail

    def test_without_any_booking(self, closed):
        bill(adjustment("2.50"))
        assert causes() == {("unknown", "open"): USD("2.50")}

    def test_late_usage_of_a_reported_month_is_no_reason_to_pay_more(self, closed, paula):
        """The month was invoiced by its report; usage imported later changes our figure, not what is owed."""
        count_usage(OPUS, "2026-10-20", output_tok=100_000)
        (one,) = record_adjustments(actor=paula, month=MONTH, as_of=LATER)
        assert (one.cause, one.amount_usd) == ("late_usage", USD("2.5"))
        bill(adjustment("2.50"))
        assert causes() == {("unknown", "open"): USD("2.50")}
        assert "the cost report that October 2026 was invoiced by has not changed" in claims()[0].parts[0].detail

    def test_late_usage_of_a_month_invoiced_by_our_own_figures_is_due(self, paula):
        """Without a cost report the invoice of 31.00 was compared with usage: 1.00 a day. What came late is owed."""
        prices()
        say = {"request_class": "triage", "prompt_length_band": "0-200k", "workspace": "wrkspc_a"}
        for day in range(1, 32):
            count_usage(OPUS, f"2026-10-{day:02d}", output_tok=40_000, **say)
        row = save_invoice(actor=paula, entry=invoice(LineEntry("Usage", USD("31.00"))), as_of=AS_OF)
        check_invoice(actor=person("ada", "admin"), invoice_id=row.pk, as_of=AS_OF)
        close_month(actor=paula, month=MONTH, as_of=AS_OF)
        count_usage(OPUS, "2026-10-20", output_tok=100_000, workspace="wrkspc_late")
        price("output", "30", at=LATER, start=date(2026, 10, 31))  # 40,000 tokens of the 31st at 5 more a million: 0.20
        record_adjustments(actor=paula, month=MONTH, as_of=LATER)
        bill(adjustment("2.70"))
        assert causes() == {("adjustment", "explained"): USD("2.70")}
        assert claims()[0].parts[0].detail == (
            "October 2026, late usage $2.50, booked on 20 Dec 2026; "
            "October 2026, price change $0.20, booked on 20 Dec 2026"
        )

    def test_the_closed_month_stays(self, booked, closed):
        bill(adjustment("2.50"))
        period = BillingPeriod.objects.get(month=MONTH)
        assert period.frozen == closed.frozen
        assert period.frozen_hash == document_hash(period.frozen)


class TestAccepting:
    def accept(self, actor, **changes):
        (line,) = (one for one in claims() if one.state in ("open", "unchecked"))
        values = {"cause": "adjustment", "reason": "Agreed by mail.", "amount": line.open_usd, **changes}
        return explain_difference(actor=actor, month=NOVEMBER, side="invoice", line=line.key, as_of=JANUARY, **values)

    def explain_key(self, actor, key: str):
        values: dict[str, Any] = {"cause": "tax", "reason": "x", "as_of": JANUARY}
        return explain_difference(actor=actor, month=NOVEMBER, side="invoice", line=key, **values)

    def test_with_who_when_and_why_and_taken_back(self, booked, paula):
        bill(adjustment("3.00"))
        row = self.accept(paula)
        assert causes() == {("adjustment", "accepted"): USD("3.00")}
        reason = claims()[0].reason
        assert reason is not None
        assert (reason.given_by, reason.given_at, reason.reason) == ("paula", JANUARY, "Agreed by mail.")
        assert [check.is_done for check in month_settlement(month=NOVEMBER, as_of=JANUARY).checks][1]
        withdraw_reason(actor=paula, reason_id=row.pk, as_of=JANUARY)
        assert causes() == {("unknown", "open"): USD("3.00")}
        actions = AuditEntry.objects.filter(object_id="2026-11").order_by("pk").values_list("action", flat=True)
        assert list(actions) == ["difference.explained", "difference.reopened"]

    def test_only_that_amount(self, booked, paula):
        row = bill(adjustment("3.00"))
        self.accept(paula)
        entry = invoice(adjustment("3.10"), month=NOVEMBER, number="INV-11")
        save_invoice(actor=None, entry=entry, as_of=JANUARY, invoice_id=row.pk)
        assert causes() == {("unknown", "open"): USD("3.10")}

    @pytest.mark.parametrize("role", ["viewer", "engineer"])
    def test_rights(self, booked, role):
        bill(adjustment("3.00"))
        with pytest.raises(Forbidden, match="explain differences"):
            self.accept(person("somebody", role))
        assert ResidualReason.objects.count() == 0

    def test_what_is_explained_needs_no_reason(self, booked, paula):
        bill(adjustment("2.50"))
        with pytest.raises(PeriodRefused, match="nothing to explain"):
            explain_difference(
                actor=paula,
                month=NOVEMBER,
                side="invoice",
                line=claims()[0].key,
                cause="tax",
                reason="x",
                as_of=JANUARY,
            )


class TestCredits:
    def test_used_up_over_months(self, paula):
        """20.00 are granted from October on: 15.00 of the first 15.00, then 5.00 of 8.00."""
        records()
        bill(LineEntry("Usage", USD("30.00")), LineEntry("Credit", USD("-15.00"), "credit"), month=MONTH)
        bill(LineEntry("Usage", USD("30.00")), LineEntry("Credit", USD("-8.00"), "credit"))
        assert causes(MONTH)["credit", "explained"] == USD("-15.00")
        assert causes()["credit", "explained"] == USD("-5.00")
        (line,) = claims()
        assert (line.open_usd, line.state) == (USD("-3.00"), "open")
        assert [part.detail for part in line.parts] == [
            "Launch credit of contract Acme 2026: $5.00 of $20.00, $0.00 left", "$3.00 more than is left of it",
        ]  # fmt: skip

    def test_nobody_granted_it(self):
        bill(LineEntry("Usage", USD("30.00")), LineEntry("Credit", USD("-15.00"), "credit"))
        assert [line.title for line in claims()] == ["Credit nobody expected: Credit"]


class TestTax:
    def taxed(self, tax: str, **changes):
        return bill(LineEntry("Usage", USD("100.00")), LineEntry("VAT", USD(tax), "tax"), **changes)

    def rate(self, percent: str, start: date = date(2026, 1, 1), issuer: str = "ANTHROPIC PBC", actor=None):
        return state_tax_rate(actor=actor, issuer=issuer, percent=USD(percent), valid_from=start, as_of=AS_OF)

    def test_no_rate_is_stated(self, paula):
        self.taxed("19.00")
        assert causes()["unchecked_tax", "unchecked"] == USD("19.00")
        (line,) = claims()
        assert (line.state, line.parts[0].detail) == ("unchecked", "no tax rate is stated for Anthropic")
        explain_difference(
            actor=paula, month=NOVEMBER, side="invoice", line=line.key, cause="tax", reason="Read.", as_of=JANUARY
        )
        assert causes()["tax", "accepted"] == USD("19.00")

    @pytest.mark.parametrize(
        ("tax", "found"),
        [
            ("19.00", {("tax", "explained"): "19"}),
            ("19.02", {("tax", "explained"): "19", ("rounding", "explained"): "0.02"}),  # a cent for each of two lines
            ("19.50", {("tax", "explained"): "19", ("unknown", "open"): "0.50"}),
            ("7.00", {("tax", "explained"): "19", ("unknown", "open"): "-12"}),
        ],
    )
    def test_at_the_stated_rate(self, tax, found):
        self.rate("19")
        self.taxed(tax)
        (line,) = claims()
        parts = {part.cause: part.amount_usd for part in line.parts}
        assert parts == {cause: USD(amount) for (cause, _), amount in found.items()}
        assert causes()["tax", "explained"] == 19
        assert line.parts[0].detail == "tax at 19 % of $100.00"

    def test_the_rate_of_the_day_of_issue(self):
        self.rate("16")
        self.rate("19", date(2026, 11, 2))
        self.rate("7", date(2026, 11, 3))
        self.rate("3", date(2026, 11, 2), "Amazon")
        self.taxed("19.00")  # issued on 2 November
        assert claims()[0].parts[0].detail == "tax at 19 % of $100.00"

    def test_a_withdrawn_rate_checks_nothing(self, paula):
        row = self.rate("19", actor=paula)
        self.taxed("19.00")
        assert tax_rates().rates[0].stated_by == "paula"
        withdraw_tax_rate(actor=paula, rate_id=row.pk, as_of=JANUARY)
        assert tax_rates().rates == ()
        assert claims()[0].state == "unchecked"
        with pytest.raises(TaxRateRefused, match="withdrawn"):
            withdraw_tax_rate(actor=paula, rate_id=row.pk, as_of=JANUARY)
        actions = AuditEntry.objects.filter(object_type="tax_rate").order_by("pk").values_list("action", flat=True)
        assert list(actions) == ["tax_rate.stated", "tax_rate.withdrawn"]

    @pytest.mark.parametrize(
        ("percent", "issuer", "field"),
        [("-1", "A", "percent"), ("101", "A", "percent"), ("NaN", "A", "percent"), ("1.0000001", "A", "percent"),
         ("19", " ", "issuer"), ("19", "x" * 121, "issuer")],
    )  # fmt: skip
    def test_rates_that_make_no_sense(self, percent, issuer, field):
        with pytest.raises(TaxRateRefused) as refused:
            self.rate(percent, issuer=issuer)
        assert set(refused.value.problems) == {field}
        assert TaxRate.objects.count() == 0

    @pytest.mark.parametrize("role", ["viewer", "engineer"])
    def test_rights(self, role):
        with pytest.raises(Forbidden):
            self.rate("19", actor=person("somebody", role))
