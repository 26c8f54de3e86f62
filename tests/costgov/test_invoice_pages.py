"""Invoices pages on a small month: list, month, forms, closing, exports; the same value as command and API."""

import csv
import io
import json
import re
import zipfile
from datetime import date
from html import unescape
from io import StringIO
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.db.models import signals
from django.test import Client
from python_calamine import CalamineWorkbook

from audit.models import AuditEntry
from billing.core.cents import shown_causes
from billing.core.words import usd
from billing.models import BillingPeriod, CostReportLine, Invoice, PeriodComment, TaxRate
from billing.operations.invoices import InvoiceRefused, LineEntry, check_invoice, save_invoice
from billing.operations.reconciliation import close_month, comment_month, explain_difference
from costgov.jsonin import read
from costgov.jsonout import dumps, plain
from costgov.queries.reconciliation import MonthView, month_list, month_view
from costgov.templatetags.costgov_invoices import anchor
from costgov.tokens import create_token
from tests.billing.month_world import (
    AS_OF,
    MONTH,
    OPUS,
    PREVIEW,
    USD,
    invoice,
    person,
    prices,
    records,
    report,
    usage,
    whole_invoice,
    whole_month,
)
from tests.billing.usage_rows import count_usage
from tests.costgov.page_checks import problems

pytestmark = pytest.mark.django_db
FORM = {
    "issuer": "Anthropic", "number": "INV-11", "month": "2026-10", "issued_on": "2026-11-02", "due_on": "",
    "currency": "USD", "channel": "anthropic", "total_amount": "$1,043.50", "note": "",
    "description": ["Claude usage", "Sales tax", ""], "category": ["usage", "tax", "usage"],
    "model": ["", "", ""], "token_kind": ["", "", ""], "amount": ["1,000.00", "43.50", ""],
}  # fmt: skip


@pytest.fixture(autouse=True)
def frozen(settings, tmp_path):
    settings.COSTGOV_AS_OF = AS_OF
    settings.COSTGOV_VAR = tmp_path / "var"
    settings.COSTGOV_VAR.mkdir()
    cache.clear()


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def visitor(name, role):
    client = Client()
    client.force_login(person(name, role))
    return client


@pytest.fixture
def paula(db):
    return visitor("paula", "procurement")


@pytest.fixture
def vic(db):
    return visitor("vic", "viewer")


@pytest.fixture
def october(folder):
    """The worked example: one unexplained difference, one model without a price."""
    prices()
    usage()
    report(folder)
    records()
    save_invoice(actor=None, entry=invoice(), as_of=AS_OF)


@pytest.fixture
def ready(folder):
    whole_month(folder)
    row = save_invoice(actor=None, entry=whole_invoice(), as_of=AS_OF)
    check_invoice(actor=None, invoice_id=row.pk, as_of=AS_OF)


def name_of(user):
    assert user is not None
    return user.username


def text_of(answer):
    text = answer.content.decode().replace("<strong>", "").replace("</strong>", "")
    return " ".join(unescape(text).split())


def view():
    return month_view(month=MONTH, as_of=AS_OF)


class TestPages:
    def test_the_list(self, october, paula):
        answer = paula.get("/invoices/")
        assert problems(answer.content.decode()) == []
        text = text_of(answer)
        assert "0 of 1 month is closed; nobody has explained $4.12 of differences." in text
        assert "$34.29" in text and "$48.36" in text and "$46.40" in text and "+$12.11" in text

    def test_an_empty_site(self, paula, vic):
        assert "No month yet" in text_of(paula.get("/invoices/"))
        assert "Import usage or a cost report" not in text_of(vic.get("/invoices/"))
        assert paula.get("/invoices/2026-10/").status_code == 404

    def test_the_month(self, october, paula):
        answer = paula.get("/invoices/2026-10/")
        assert problems(answer.content.decode()) == []
        text = text_of(answer)
        assert (
            "October’s invoice of $46.40 is $12.11 more than our own figures; $4.12 on one line has no cause yet."
            in text
        )
        assert "700,000 × 25.00 / 1,000,000 = 17.5 usd" in text
        assert "One difference has no cause" in text and "One model has no price" in text
        assert f">{PREVIEW}. " in text  # names stay as they are written
        assert "Explain or accept this difference" in text
        key = next(line.key for line in view().settlement.lines if line.state == "open")
        assert f'id="{anchor(key)}"' in answer.content.decode()

    def test_what_is_shown_adds_up_on_paper(self, october, paula):
        """34.2901185 → 48.360119 → 46.40: subtracting and adding what stands on the page leaves no cent over."""
        page = " ".join(re.sub("<[^>]+>", " ", text_of(paula.get("/invoices/2026-10/"))).split())
        assert "$34.29" in page and "$48.36" in page and "$46.40" in page
        assert "Cost report is higher by +$14.07" in page and "Invoice is lower by −$1.96" in page
        out = StringIO()
        with pytest.raises(SystemExit):
            call_command("reconcile", "2026-10", stdout=out)
        said = out.getvalue()
        shown = [
            line.rsplit("$", 1)
            for line in said.splitlines()
            if line.startswith("  ") and line[2] != " " and "$" in line
        ]
        assert shown, said
        amounts = [
            USD(f"{before[-1].replace('−', '-').replace('+', '').strip()}{after.split()[0].replace(',', '')}")
            for before, after in shown[3:]
            if not before.startswith(("  done", "  open"))
        ]
        assert sum(amounts) == USD("12.11") == USD("46.40") - USD("34.29")

    def test_whoever_may_not_sees_no_steps(self, october, vic):
        text = text_of(vic.get("/invoices/2026-10/"))
        for step in (
            "Explain or accept",
            "What closing needs",
            "Enter an invoice",
            "Add the comment",
            "Set the tolerance",
        ):
            assert step not in text
        assert "Procurement explains or accepts it with a reason." in text

    def test_only_usage(self, folder, paula):
        prices()
        count_usage(OPUS, "2026-10-01", output_tok=1_000_000)
        text = text_of(paula.get("/invoices/2026-10/"))
        assert "October cost $25.00 by our own figures; nothing confirms them yet." in text
        assert "Nothing to compare with" in text and "none yet" in text

    def test_only_an_invoice(self, paula):
        save_invoice(actor=None, entry=invoice(), as_of=AS_OF)
        answer = paula.get("/invoices/2026-10/")
        assert problems(answer.content.decode()) == []
        assert "Computed → invoice" in text_of(answer)

    def test_only_a_report(self, folder, paula):
        report(folder)
        text = text_of(paula.get("/invoices/2026-10/"))
        assert "The cost report of October, $48.36, is $48.36 more than our own figures, and every" in text
        assert "Days whose usage is not imported" in text

    @pytest.mark.parametrize("address", ["/invoices/2026-13/", "/invoices/octember/", "/invoices/0000-01/"])
    def test_no_month(self, october, paula, address):
        assert paula.get(address).status_code == 404

    def test_names_people_typed_are_text(self, october, paula):
        comment_month(actor=None, month=MONTH, text="<script>alert(1)</script>", as_of=AS_OF)
        page = paula.get("/invoices/2026-10/").content.decode()
        assert "<script>alert" not in page and "&lt;script&gt;alert" in page


class TestSteps:
    def test_explained_and_taken_back(self, october, paula):
        line = next(line for line in view().settlement.lines if line.state == "open")
        values = {
            "side": "report",
            "line": line.key,
            "amount": str(line.open_usd),
            "cause": "unknown",
            "reason": "Small.",
        }
        answer = paula.post("/invoices/2026-10/explain/", values)
        assert answer.url == f"/invoices/2026-10/?line={anchor(line.key)}#{anchor(line.key)}"
        text = text_of(paula.get(answer.url))
        assert "every difference has a cause but $4.12, which was accepted without one" in text
        assert "Accepted: no known cause" in text and "Small." in text
        reason = next(one.reason for one in view().settlement.lines if one.reason)
        paula.post("/invoices/2026-10/withdraw-reason/", {"reason_id": reason.id})
        assert view().settlement.open_lines == 1

    def test_several_accepted_lines_are_said_with_the_cents_of_the_table(self, folder, paula):
        """−4.00 and −10.02 are two lines, and their sum reads as in the table, whatever each rounds to alone."""
        whole_month(folder)
        say = {"request_class": "drafts", "prompt_length_band": "0-200k", "workspace": "wrkspc_a"}
        count_usage(OPUS, "2026-10-01", cache_read_tok=8_001_003, output_tok=400_777, **say)
        for line in view().settlement.lines:
            if line.open_usd:
                explain_difference(
                    actor=None, month=MONTH, side="report", line=line.key, cause="unknown", reason="So.", as_of=AS_OF
                )
        view_now = view()
        lines = [line for line in view_now.settlement.lines if line.reason is not None]
        assert len(lines) > 1
        (gap,) = [gap for gap in view_now.settlement.gaps if gap.side == "report"]
        shown = dict(zip([cause.cause for cause in gap.causes], shown_causes(gap), strict=True))
        assert f"but {len(lines)} lines, accepted without one: {usd(shown['unknown'], 2)} together" in view_now.answer

    @pytest.mark.parametrize("amount", ["1", "x", "4.13"])
    def test_not_explained_at_another_amount(self, october, paula, amount):
        line = next(line for line in view().settlement.lines if line.state == "open")
        values = {"side": "report", "line": line.key, "amount": amount, "cause": "unknown", "reason": "Small."}
        assert paula.post("/invoices/2026-10/explain/", values).status_code == 302
        assert view().settlement.open_lines == 1

    def test_commented(self, october, paula):
        paula.post("/invoices/2026-10/comment/", {"text": "Asked the provider."})
        assert name_of(PeriodComment.objects.get().author) == "paula"
        assert "Asked the provider." in text_of(paula.get("/invoices/2026-10/"))

    def test_tolerance(self, october, paula):
        values = {"line_usd": "5", "line_share": "0.000001", "invoice_line_usd": "0.01", "unclassified_share": "0.05"}
        paula.post("/invoices/2026-10/tolerance/", values)
        assert view().settlement.open_lines == 0
        paula.post("/invoices/2026-10/tolerance/", {**values, "line_usd": "much"})
        assert view().settlement.settings.line_usd == 5

    @pytest.mark.parametrize(
        ("field", "value", "said"),
        [
            ("line_usd", "-1", "The tolerance of a line in dollars (line_usd) cannot be -1: give 0 or more."),
            ("line_share", "5", "(line_share) cannot be 5: give from 0 to 1."),
            ("unclassified_share", "7", "(unclassified_share) cannot be 7: give from 0 to 1."),
        ],
    )
    def test_a_tolerance_that_is_none_is_refused_in_words(self, october, paula, field, value, said):
        values = {"line_usd": "5", "line_share": "0.000001", "invoice_line_usd": "0.01", "unclassified_share": "0.05"}
        answer = paula.post("/invoices/2026-10/tolerance/", {**values, field: value}, follow=True)
        assert said in text_of(answer)
        assert "Decimal" not in text_of(answer)
        assert view().settlement.settings.line_usd == USD("0.01")

    def test_a_post_that_saw_nothing_closes_nothing(self, ready, paula):
        paula.post("/invoices/2026-10/close/", {})
        assert view().state == "open"

    def test_closing_says_what_stands_before_it(self, october, paula):
        text = text_of(paula.get("/invoices/2026-10/close/"))
        assert "October 2026 cannot be closed yet" in text and "25 days are not imported" in text
        paula.post("/invoices/2026-10/close/")
        assert not BillingPeriod.objects.filter(state="closed").exists()

    def test_closed_from_the_page_that_says_what_freezes(self, ready, paula):
        page = paula.get("/invoices/2026-10/close/")
        assert "computed $20.00, cost report $20.35, invoice $20.35" in text_of(page)
        seen = page.context["seen_hash"]
        text = text_of(paula.post("/invoices/2026-10/close/", {"seen": seen}, follow=True))
        assert "October is closed at $20.35; every difference has a cause." in text
        assert name_of(BillingPeriod.objects.get().closed_by) == "paula"

    def test_what_came_later_is_booked_from_the_page(self, ready, paula):
        close_month(actor=None, month=MONTH, as_of=AS_OF)
        count_usage(OPUS, "2026-10-20", output_tok=100_000)
        cache.clear()
        text = text_of(paula.get("/invoices/2026-10/"))
        assert "Since it was closed" in text and "Not booked yet" in text and "$20.35" in text
        assert "One adjustment that came later waits to be booked in November 2026." in text_of(
            paula.get("/invoices/2026-10/")
        )
        text = text_of(paula.post("/invoices/2026-10/adjust/", follow=True))
        assert "waits to be booked" not in text
        assert "Booked in November 2026: 1 adjustment." in text
        assert "Adjustments of earlier months booked here" not in text
        save_invoice(actor=None, entry=invoice(month=date(2026, 11, 1), number="N"), as_of=AS_OF)
        assert "Adjustments of earlier months booked here" in text_of(paula.get("/invoices/2026-11/"))

    def test_refused_without_the_right(self, october, vic):
        for address in ("explain", "comment", "tolerance", "close", "adjust", "withdraw-reason"):
            assert vic.post(f"/invoices/2026-10/{address}/").status_code == 403, address
        assert vic.get("/invoices/new/").status_code == 403


class TestInvoiceForm:
    def test_entered(self, paula):
        assert problems(paula.get("/invoices/new/?month=2026-10").content.decode()) == []
        answer = paula.post("/invoices/new/", {**FORM, "action": "save"})
        assert answer.url == "/invoices/2026-10/"
        row = Invoice.objects.get()
        assert (row.total_amount, row.lines.count(), name_of(row.entered_by)) == (USD("1043.50"), 2, "paula")

    def test_wrong_values_stay_and_say_what(self, paula):
        answer = paula.post("/invoices/new/", {**FORM, "total_amount": "lots", "amount": ["1,000.00", "x", ""]})
        assert answer.status_code == 400
        assert problems(answer.content.decode()) == []
        text = text_of(answer)
        assert "'lots' is not an amount" in text and "Line 2: 'x' is not an amount" in text
        assert 'value="Claude usage"' in answer.content.decode()
        assert Invoice.objects.count() == 0

    @pytest.mark.parametrize(
        ("typed", "kept"),
        [
            ("1,234.56", "1234.56"),
            ("$12,345,678", "12345678"),
            ("−$1,000.50", "-1000.50"),
            ("(50.00)", "-50.00"),  # as accounting writes a credit
        ],
    )
    def test_amounts_as_documents_print_them(self, paula, typed, kept):
        answer = paula.post("/invoices/new/", {**FORM, "amount": [typed, "0", ""], "total_amount": kept})
        assert answer.status_code == 302
        assert Invoice.objects.get().lines.get(position=1).amount == USD(kept)

    @pytest.mark.parametrize("typed", ["1234,56", "1.234,56", "12,34", "1,2345", "(50.00"])
    def test_a_comma_that_separates_no_thousands_is_no_amount(self, paula, typed):
        """1234,56 read as 123456 would be an invoice a hundred times too high."""
        answer = paula.post("/invoices/new/", {**FORM, "amount": [typed, "0", ""]})
        assert answer.status_code == 400
        assert f"Line 1: {typed!r} is not an amount" in text_of(answer)
        assert Invoice.objects.count() == 0

    @pytest.mark.parametrize("category", ["credit", "discount"])
    def test_a_credit_raises_no_invoice(self, paula, category):
        lines = {"description": ["Usage", "Given back", ""], "category": ["usage", category, "usage"]}
        answer = paula.post("/invoices/new/", {**FORM, **lines, "amount": ["100", "50", ""], "total_amount": "150"})
        assert answer.status_code == 400
        assert f"Line 2: a {category} lowers the invoice, write -50" in text_of(answer)
        answer = paula.post("/invoices/new/", {**FORM, **lines, "amount": ["100", "-50", ""], "total_amount": "50"})
        assert answer.status_code == 302

    @pytest.mark.parametrize("month", ["0001-01", "0206-10", "1900-01", "2019-12", "2027-12", "2062-10", "9999-12"])
    def test_a_month_nobody_is_invoiced_for_is_a_typing_error(self, paula, month):
        """One year mistyped would list a thousand months, or none at all: 9999-12 has no month after it."""
        answer = paula.post("/invoices/new/", {**FORM, "month": month})
        assert answer.status_code == 400
        assert f"{month} cannot be right: give the month it bills, from 2020-01 to 2027-11" in text_of(answer)
        answer = paula.post("/invoices/new/", {**FORM, "issued_on": "1900-01-01"})
        assert "1900-01-01 cannot be right: give the date printed on the invoice" in text_of(answer)
        assert not Invoice.objects.exists()

    @pytest.mark.parametrize("month", ["2020-01", "2027-11"])
    def test_months_at_the_edge_are_kept(self, paula, month):
        assert paula.post("/invoices/new/", {**FORM, "month": month}).status_code == 302

    def test_what_is_too_long_is_refused_with_its_place(self, paula):
        answer = paula.post("/invoices/new/", {**FORM, "note": "n" * 2001, "model": ["m" * 256, "", ""]})
        assert answer.status_code == 400
        assert problems(answer.content.decode()) == []
        text = text_of(answer)
        assert "2,001 characters: write at most 2,000." in text
        assert "Line 1: model has 256 characters, at most 255." in text

    def test_a_channel_nobody_knows_is_refused(self, paula):
        """An invoice of it would be compared with no usage."""
        answer = paula.post("/invoices/new/", {**FORM, "channel": "fax"})
        assert answer.status_code == 400
        assert "'fax' is no channel; use one of anthropic, bedrock" in text_of(answer)

    def test_two_people_correct_one_invoice(self, paula):
        """The second would undo what the first corrected, and neither would know."""
        paula.post("/invoices/new/", FORM)
        row = Invoice.objects.get()
        address = f"/invoices/{row.pk}/edit/"
        seen = re.search(r'name="seen" value="([^"]+)"', paula.get(address).content.decode())
        assert seen is not None
        mine = {**FORM, "seen": unescape(seen[1])}
        assert paula.post(address, {**mine, "note": "same tab"}).status_code == 302
        Invoice.objects.update(entered_at=AS_OF.replace(hour=5))  # as if entered at another time than mine
        answer = paula.post(address, {**mine, "total_amount": "1", "amount": ["1", "0", ""]})
        assert answer.status_code == 400
        assert problems(answer.content.decode()) == []
        assert "paula corrected this invoice on" in text_of(answer)
        row.refresh_from_db()
        assert row.total_amount == USD("1043.50")
        assert paula.post(address, {**mine, "seen": "x"}).status_code == 400

    def test_the_same_invoice_twice_in_one_moment(self, paula):
        """A double click: both posts look before either has written. The second waits for the first, and is told."""
        entry = invoice()
        save_invoice(actor=None, entry=entry, as_of=AS_OF)
        Invoice.objects.filter(number=entry.number).update(withdrawn_at=AS_OF)

        def between(*_: Any, **__: Any) -> None:
            """After it has looked, before it writes: the other one is there."""
            signals.pre_save.disconnect(between, sender=Invoice)
            Invoice.objects.filter(number=entry.number).update(withdrawn_at=None)

        signals.pre_save.connect(between, sender=Invoice)
        with pytest.raises(InvoiceRefused, match="is entered already"):
            save_invoice(actor=None, entry=entry, as_of=AS_OF)
        assert Invoice.objects.count() == 1

    def test_the_issuer_in_another_spelling(self, paula):
        """INV-11 of Anthropic again in other words: shown with the one found, kept only when confirmed."""
        paula.post("/invoices/new/", FORM)
        again = {**FORM, "issuer": "ANTHROPIC, P.B.C.", "number": "inv-11", "note": "typed twice?"}
        answer = paula.post("/invoices/new/", again)
        assert answer.status_code == 400
        assert problems(answer.content.decode()) == []
        text = text_of(answer)
        assert "of Anthropic, $1,043.50, is entered already for October 2026" in text and "typed twice?" in text
        assert f'href="/invoices/{Invoice.objects.get().pk}/"' in text
        answer = paula.post("/invoices/new/", {**again, "confirm_similar": "yes"})
        assert answer.status_code == 302
        assert Invoice.objects.count() == 2
        assert paula.post("/invoices/new/", {**FORM, "confirm_similar": "yes"}).status_code == 400  # exactly the same

    def test_of_a_closed_month_it_becomes_an_adjustment(self, ready, paula):
        close_month(actor=None, month=MONTH, as_of=AS_OF)
        text = text_of(paula.post("/invoices/new/", FORM, follow=True))
        assert "Invoice INV-11 is kept. October 2026 is closed and stays as it is" in text
        assert "becomes a dated adjustment, to be booked in the first open month" in text

    def test_more_lines(self, paula):
        page = paula.post("/invoices/new/", {**FORM, "action": "more"}).content.decode()
        assert page.count('name="description"') == 20
        assert 'value="Claude usage"' in page

    def test_read_by_another_corrected_withdrawn(self, paula):
        paula.post("/invoices/new/", FORM)
        row = Invoice.objects.get()
        page = paula.get(f"/invoices/{row.pk}/")
        assert problems(page.content.decode()) == []
        assert "I have read it" not in text_of(page)
        ada = visitor("ada", "admin")
        assert "I have read it" in text_of(ada.get(f"/invoices/{row.pk}/"))
        ada.post(f"/invoices/{row.pk}/check/")
        assert name_of(Invoice.objects.get().checked_by) == "ada"
        assert problems(paula.get(f"/invoices/{row.pk}/edit/").content.decode()) == []
        paula.post(f"/invoices/{row.pk}/edit/", {**FORM, "number": "INV-12"})
        assert (Invoice.objects.get().number, Invoice.objects.get().checked_at) == ("INV-12", None)
        paula.post(f"/invoices/{row.pk}/withdraw/", {"reason": "twice"})
        assert "It was withdrawn" in text_of(paula.get(f"/invoices/{row.pk}/"))
        assert paula.get(f"/invoices/{row.pk}/edit/").status_code == 404
        assert AuditEntry.objects.filter(object_type="invoice").count() == 4

    def test_lines_that_do_not_add_up_are_said(self, paula):
        paula.post("/invoices/new/", {**FORM, "total_amount": "1,044.00"})
        text = text_of(paula.get(f"/invoices/{Invoice.objects.get().pk}/"))
        assert "Payable are $1,044.00; the lines sum to $1,043.50, $0.50 less." in text


class TestExports:
    def test_csv_is_exact_and_runs_nothing(self, october, paula):
        CostReportLine.objects.filter(cost_type="code_execution").update(description='=HYPERLINK("http://x")')
        answer = paula.get("/invoices/2026-10/reconciliation.csv")
        rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
        lines = [row for row in rows if row["side"] == "report"]
        assert sum(USD(row["reported_usd"]) for row in lines) == USD("48.360119")
        assert [row["line"] for row in lines if row["kind"] == "code execution"] == ['\'=HYPERLINK("http://x")']
        assert {row["computed_usd"] for row in lines if row["model"] == PREVIEW} == {""}

    def test_workbook(self, october, paula):
        CostReportLine.objects.filter(cost_type="code_execution").update(description="=1+1")
        answer = paula.get("/invoices/2026-10/reconciliation.xlsx")
        book = CalamineWorkbook.from_filelike(io.BytesIO(answer.content))
        assert book.sheet_names == ["Month", "Lines", "Days that differ", "Invoice"]
        lines = book.get_sheet_by_name("Lines").to_python()
        assert any(row[0] == "=1+1" for row in lines)
        with zipfile.ZipFile(io.BytesIO(answer.content)) as parts:
            assert b"<f>1+1</f>" not in parts.read("xl/worksheets/sheet2.xml")
        values = [cell for row in book.get_sheet_by_name("Month").to_python() for cell in row]
        assert 34.29 in values and 48.36 in values and 46.4 in values
        rows = book.get_sheet_by_name("Month").to_python()
        sums = [n for n, row in enumerate(rows) if row[0] == "Difference"]
        heads = [n for n, row in enumerate(rows) if row[0] == "Cause"]
        for head, last, difference in zip(heads, sums, (USD("14.07"), USD("-1.96")), strict=True):
            amounts = [USD(repr(row[1])) for row in rows[head + 1 : last]]
            assert sum(amounts) == difference == USD(repr(rows[last][1]))  # what its SUM computes when it is opened


class TestOneValue:
    def test_page_command_and_api_agree(self, october, paula):
        value = plain(view())
        out = StringIO()
        with pytest.raises(SystemExit) as ended:
            call_command("reconcile", "2026-10", "--json", stdout=out)
        assert ended.value.code == 1  # something stands before closing
        assert json.loads(out.getvalue())["settlement"] == value["settlement"]
        _, headers = token_of("read")
        answer = Client().get("/api/v1/months/2026-10", headers=headers)
        assert answer.json() == json.loads(dumps(view()))
        assert paula.get("/invoices/2026-10/").context["value"] == view().settlement
        listed = Client().get("/api/v1/months", headers=headers).json()
        assert listed == plain(month_list(as_of=AS_OF))

    def test_a_closed_month_reads_as_the_value_it_was(self, ready):
        before = view().settlement
        close_month(actor=None, month=MONTH, as_of=AS_OF)
        after = view()
        assert (after.state, after.settlement) == ("closed", before)
        assert read(MonthView, plain(after)) == after

    def test_command_in_words(self, ready):
        out = StringIO()
        call_command("reconcile", "2026-10", stdout=out)
        assert "Charges that are not tokens" in out.getvalue() and "+$0.35" in out.getvalue()
        call_command("reconcile", "2026-10", "--close", stdout=out)
        assert "October is closed at $20.35" in out.getvalue()

    @pytest.mark.parametrize(
        "words", [("2026-1",), ("2025-01",), ("2026-10", "--tolerance", "x"), ("2026-10", "--adjust")]
    )
    def test_command_refuses_with_status_2(self, october, words):
        err = StringIO()
        with pytest.raises(SystemExit) as ended:
            call_command("reconcile", *words, stdout=StringIO(), stderr=err)
        assert ended.value.code == 2
        assert err.getvalue()

    def test_api_takes_the_steps(self, october):
        _, headers = token_of("read", "months:write")
        line = next(line for line in view().settlement.lines if line.state == "open")
        body = {"side": "report", "line": line.key, "cause": "late_usage", "reason": "Ticket.", "amount": "4.12"}
        post = Client().post
        answer = post("/api/v1/months/2026-10/explain", body, headers=headers, content_type="application/json")
        assert answer.status_code == 201
        assert answer.json()["settlement"]["checks"][1]["is_done"]
        answer = post("/api/v1/months/2026-10/close", {}, headers=headers, content_type="application/json")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "refused")
        assert "One model has no price" in answer.json()["error"]["message"]
        body = {
            "issuer": "Anthropic", "number": "X-1", "month": "2026-11", "issued_on": "2026-11-20",
            "total_amount": "5.00", "lines": [{"description": "Usage", "amount": "5.00"}],
        }  # fmt: skip
        answer = post("/api/v1/invoices", body, headers=headers, content_type="application/json")
        assert (answer.status_code, answer.json()["settlement"]["invoice_usd"]) == (201, "5.00")
        answer = post("/api/v1/invoices", body, headers=headers, content_type="application/json")
        assert "entered already" in answer.json()["error"]["message"]


def test_every_field_that_needs_another_look_is_marked(paula):
    bad = {**FORM, "issuer": "", "number": "", "issued_on": "", "total_amount": "12,x", "amount": ["abc", "70.00", ""]}
    answer = paula.post("/invoices/new/", bad)
    text = text_of(answer)
    assert answer.status_code == 400 and problems(answer.content.decode()) == []
    for name in ("issuer", "number", "issued_on", "total_amount"):
        assert f'aria-describedby="{name}-d" aria-invalid="true"' in text, name
    # The problem of a line is tied to what the line says and to its amount.
    assert text.count('aria-invalid="true" aria-describedby="line-1-e"') == 2 and 'id="line-1-e"' in text


class TestTaxRates:
    RATE = {"issuer": "Anthropic PBC", "percent": "7 %", "valid_from": "2026-01-01", "note": "Order form."}

    def test_stated_used_and_withdrawn(self, paula, vic):
        paula.post("/invoices/new/", {**FORM, "amount": ["1,000.00", "70.00", ""], "total_amount": "1070"})
        page = paula.get("/invoices/2026-10/")
        assert problems(page.content.decode()) == []
        text = text_of(page)
        assert "Tax, not checked" in text and "No tax rate is stated for Anthropic" in text
        text = text_of(paula.post("/tax-rates/", self.RATE, follow=True))
        assert "Kept: Anthropic PBC 7 %." in text and "Order form." in text
        assert problems(paula.get("/invoices/").content.decode()) == []
        text = text_of(paula.get("/invoices/2026-10/"))
        assert "Tax at 7 % of $1,000.00" in text and "not checked" not in text
        assert "State a rate" not in text_of(vic.get("/invoices/")) and "Order form." in text_of(vic.get("/invoices/"))
        row = TaxRate.objects.get()
        assert vic.post(f"/tax-rates/{row.pk}/withdraw/").status_code == 403
        assert "Withdrawn: Anthropic PBC 7 %." in text_of(paula.post(f"/tax-rates/{row.pk}/withdraw/", follow=True))
        assert "Tax, not checked" in text_of(paula.get("/invoices/2026-10/"))

    @pytest.mark.parametrize(
        ("changes", "said"),
        [({"percent": "much"}, "write 19 for 19 %"), ({"percent": "190"}, "0 to 100"),
         ({"valid_from": "x"}, "first day"), ({"issuer": ""}, "Name the issuer")],
    )  # fmt: skip
    def test_refused(self, paula, changes, said):
        answer = paula.post("/tax-rates/", {**self.RATE, **changes})
        text = text_of(answer)
        assert answer.status_code == 400 and said in text and problems(answer.content.decode()) == []
        assert TaxRate.objects.count() == 0
        # What was typed is still there, open, and the problem stands at its field.
        assert '<details class="data" open>' in text and 'value="Order form."' in text
        (name,) = changes
        assert f'id="tax-{name}-e"' in text and text.count('aria-invalid="true"') == 1

    def test_every_problem_of_a_rate_is_said_at_once(self, paula):
        text = text_of(paula.post("/tax-rates/", {**self.RATE, "percent": "x", "valid_from": ""}))
        assert text.count('aria-invalid="true"') == 2

    def test_through_the_api_with_explaining_and_taking_back(self, paula):
        paula.post("/invoices/new/", {**FORM, "amount": ["1,000.00", "71.00", ""], "total_amount": "1071"})
        _, headers = token_of("read", "months:write")

        def post(address, body):
            return Client().post(f"/api/v1/{address}", body, headers=headers, content_type="application/json")

        answer = post("tax-rates", {"issuer": "Anthropic", "percent": "7", "valid_from": "2026-01-01"})
        assert (answer.status_code, answer.json()["issuer"]) == (201, "Anthropic")
        assert post("tax-rates", {"issuer": "A", "percent": "700", "valid_from": "2026-01-01"}).status_code == 400
        assert len(Client().get("/api/v1/tax-rates", headers=headers).json()["rates"]) == 1
        month = Client().get("/api/v1/months/2026-10", headers=headers).json()
        (line,) = (one for one in month["settlement"]["invoice_lines"] if one["title"] == "Tax")
        assert [(part["cause"], USD(part["amount_usd"])) for part in line["parts"]] == [
            ("tax", USD(70)),
            ("unknown", USD(1)),
        ]
        body = {"side": "invoice", "line": line["key"], "cause": "tax", "reason": "Rounded up.", "amount": "1.00"}
        answer = post("months/2026-10/explain", body)
        (line,) = (one for one in answer.json()["settlement"]["invoice_lines"] if one["title"] == "Tax")
        assert (line["state"], line["reason"]["given_by"]) == ("accepted", "api-owner")
        assert post("months/2026-11/withdraw", {"reason_id": line["reason"]["id"]}).status_code in (404, 409)
        answer = post("months/2026-10/withdraw", {"reason_id": line["reason"]["id"]})
        (line,) = (one for one in answer.json()["settlement"]["invoice_lines"] if one["title"] == "Tax")
        assert (answer.status_code, line["state"]) == (200, "open")

    def test_the_command_names_the_evidence(self, october):
        out = StringIO()
        with pytest.raises(SystemExit):
            call_command("reconcile", "2026-10", stdout=out)
        assert "tax at 7 % of $43.36" in out.getvalue()
        assert "Launch credit of contract Acme 2026: $5.00 of $20.00, $15.00 left" in out.getvalue()
        (line,) = (one for one in view().settlement.lines if one.state == "open")
        values: dict[str, Any] = {"side": "report", "line": line.key, "cause": "unknown", "reason": "Small."}
        explain_difference(actor=person("pia", "procurement"), month=MONTH, as_of=AS_OF, **values)
        with pytest.raises(SystemExit):
            call_command("reconcile", "2026-10", stdout=out)
        assert "Accepted by pia on 23 Nov 2026: +$4.12, Small." in out.getvalue()


def token_of(*scopes):
    owner = person("api-owner", "procurement")
    token, secret = create_token(actor=owner, name="t", scopes=scopes, as_of=AS_OF)
    return token, {"Authorization": f"Bearer {secret}"}


def test_reason_given_by_somebody_is_in_the_frozen_record(ready):
    count_usage("model-x", "2026-10-05", output_tok=7, request_class="triage", workspace="wrkspc_a")
    line = next(line for line in view().settlement.lines if line.needs_price)
    explain_difference(
        actor=None,
        month=MONTH,
        side="report",
        line=line.key,
        cause="missing_price",
        reason="Free preview.",
        as_of=AS_OF,
    )
    closed = close_month(actor=None, month=MONTH, as_of=AS_OF)
    assert [one["reason"]["reason"] for one in closed.frozen["lines"] if one["reason"]] == ["Free preview."]


def test_invoice_line_words():
    assert LineEntry("x", USD("1")).category == "usage"
