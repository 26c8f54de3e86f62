"""Bills in the database: a month is replaced as a whole, its token rows are usage, its invoices are kept."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db.models import Sum

from audit.roles import Forbidden, Role
from billing.importers.base import ImportRefused
from billing.models import CostReportLine, DailyUsage, Import, Invoice, UsageRollup
from billing.operations.cost_deliveries import deliveries
from billing.operations.imports import COSTS, ImportOptions, ImportOutcome, import_file, run_import, start_import
from tests.billing.conftest import AS_OF

SAMPLES = Path(__file__).parents[1] / "importers" / "costs" / "samples"
USAGE = Path(__file__).parents[1] / "importers" / "usage" / "samples"
AWS = SAMPLES / "aws_cur2_bedrock_claude_constructed.csv"
FOCUS = SAMPLES / "focus_1_2_claude_constructed.csv"
GOOGLE = SAMPLES / "gcp_billing_export_vertex_claude_constructed.jsonl"
ImportBill = Callable[..., ImportOutcome]


@pytest.fixture
def import_bill(db: None, var: Path) -> ImportBill:
    def run(path: Path, **options: Any) -> ImportOutcome:
        return import_file(actor=None, path=path, as_of=AS_OF, options=ImportOptions(**options), kind=COSTS)

    return run


def total() -> Decimal:
    return CostReportLine.objects.aggregate(total=Sum("amount"))["total"] or Decimal(0)


def rewritten(path: Path, target: Path, change: Callable[[list[dict[str, str]]], list[dict[str, str]]]) -> Path:
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    kept = change(rows)
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)
    return target


def counted() -> dict[tuple[str, str, str], list[int]]:
    rows = DailyUsage.objects.order_by("pk").values_list(
        "channel", "model", "geo", "uncached_input_tok", "cache_read_tok", "cache_write_5m_tok", "output_tok"
    )
    return {(channel, model, geo): list(counts) for channel, model, geo, *counts in rows}


def test_aws_bill_brings_cost_and_usage(import_bill: ImportBill) -> None:
    outcome = import_bill(AWS)
    assert (outcome.accepted, outcome.source, outcome.format) == (9, "AWS bill", "aws_cur")
    assert total() == Decimal("6.386977")
    assert set(UsageRollup.objects.values_list("bucket_start", "bucket_hours")) == {
        (datetime(2026, 11, 9, 13, tzinfo=UTC), 1)
    }
    assert counted() == {
        ("bedrock", "claude-haiku-4-5", "us-east-1"): [948220, 0, 0, 109410],
        ("bedrock", "claude-sonnet-4-6", "us-east-1"): [0, 1066400, 17888, 0],
        ("bedrock", "claude-sonnet-4-6", "global"): [220160, 0, 0, 0],
        ("bedrock", "claude-opus-5-5", "us-west-2"): [310000, 0, 0, 36000],
        ("bedrock", "claude-opus-5-5", "global"): [310000, 0, 0, 0],
    }
    assert set(DailyUsage.objects.values_list("workspace", "service_tier")) == {("444455556666", "standard")}


def test_a_month_delivered_anew_replaces_lines_and_usage(import_bill: ImportBill, tmp_path: Path) -> None:
    import_bill(AWS)

    def grown(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        rows[0]["line_item_usage_amount"], rows[0]["line_item_unblended_cost"] = "1.948220", "2.143042"
        return rows[:-2]

    import_bill(rewritten(AWS, tmp_path / "later.csv", grown))
    assert total() == Decimal("6.386977") + Decimal("1.1") - Decimal("0.792") - Decimal("0.26")
    assert counted()["bedrock", "claude-haiku-4-5", "us-east-1"] == [1948220, 0, 0, 109410]
    assert counted()["bedrock", "claude-opus-5-5", "us-west-2"] == [310000, 0, 0, 0]


def test_another_part_of_a_bill_is_not_taken_for_a_new_delivery(import_bill: ImportBill, tmp_path: Path) -> None:
    folder = tmp_path / "delivery"
    folder.mkdir()
    first = rewritten(AWS, folder / "part-1.csv", lambda rows: rows[:4])
    second = rewritten(AWS, folder / "part-2.csv", lambda rows: rows[4:])
    import_bill(first)
    with pytest.raises(ImportRefused, match=r"of 4 kinds of line held .* only 0 stand in this file"):
        import_bill(second)
    assert CostReportLine.objects.count() == 4
    outcome = import_bill(folder)
    assert (outcome.accepted, outcome.file_name) == (9, "delivery")
    assert total() == Decimal("6.386977")
    assert import_bill(folder).is_repeat
    second.write_text(second.read_text().replace("0.792", "0.892"))
    import_bill(folder)
    assert (CostReportLine.objects.count(), total()) == (9, Decimal("6.486977"))


def test_last_weeks_file_beside_todays_is_refused(import_bill: ImportBill, tmp_path: Path) -> None:
    folder = tmp_path / "delivery"
    folder.mkdir()
    rewritten(AWS, folder / "bill-1.csv", lambda rows: rows[:7])
    rewritten(AWS, folder / "bill-2.csv", lambda rows: rows)
    with pytest.raises(ImportRefused, match=r"bill-2.csv: 7 of its 9 kinds of line stand in the parts before it"):
        import_bill(folder)


def test_what_is_no_part_of_the_bill_is_named(import_bill: ImportBill, tmp_path: Path, capsys: Any) -> None:
    """A mixed directory: the file that does not belong is blamed, whichever stands first; not the directory."""
    folder = tmp_path / "bill"
    folder.mkdir()
    (folder / "0-README.txt").write_text("This folder holds the bill.\n")
    (folder / "1-log.json").write_bytes((USAGE / "usage_report_messages_1d.json").read_bytes())
    rewritten(AWS, folder / "2-bill.csv", lambda rows: rows[:4])
    (folder / "3-focus.csv").write_bytes(FOCUS.read_bytes())
    rewritten(AWS, folder / "4-bill.csv", lambda rows: rows[4:])
    assert deliveries(folder) == [folder]
    with pytest.raises(ImportRefused) as refused:
        import_bill(folder)
    said = str(refused.value).splitlines()
    assert [line.split(". A directory is one delivery of a bill: take the file out")[0] for line in said] == [
        "bill: 0-README.txt: none of the known formats recognises the file: "
        "it is plain text, neither JSON nor a table, or its beginning is cut off",
        "bill: 1-log.json: this holds usage, not costs: Anthropic Admin API usage report: JSON pages",
        "bill: 3-focus.csv: focus, not aws_cur like others here",
    ]
    assert total() == 0
    for name in ("0-README.txt", "1-log.json", "3-focus.csv"):
        (folder / name).unlink()
    assert import_bill(folder).accepted == 9


@pytest.mark.django_db
def test_reports_beside_what_is_no_cost(var: Path, tmp_path: Path, capsys: Any) -> None:
    """Each file by itself: the good ones are in, the others are named."""
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / "0-usage.json").write_bytes((USAGE / "usage_report_messages_1d.json").read_bytes())
    (folder / "1-cost.json").write_bytes((SAMPLES / "cost_report_ungrouped.json").read_bytes())
    (folder / "2-notes.md").write_text("# Costs\n")
    with pytest.raises(SystemExit) as ended:
        call_command("import_costs", str(folder))
    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert out.startswith("1-cost.json: ") and total() > 0
    assert [line.split(": ")[0] for line in err.splitlines()] == ["0-usage.json", "2-notes.md"]
    assert "this holds usage, not costs" in err and "it is plain text" in err


def test_a_directory_of_reports_is_no_delivery(import_bill: ImportBill, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    for name in ("cost_report_by_workspace_description.json", "cost_report_ungrouped.json"):
        (folder / name).write_text((SAMPLES / name).read_text())
    with pytest.raises(ImportRefused, match="a directory of reports, not of the parts of one bill"):
        import_bill(folder)
    assert [path.name for path in deliveries(folder)] == sorted(path.name for path in folder.iterdir())
    for path in deliveries(folder):
        import_bill(path)
    assert total() == Decimal("60.944086")
    assert deliveries(AWS) == [AWS]


def test_focus_bill_states_invoices_to_the_cent(import_bill: ImportBill) -> None:
    import_bill(FOCUS)
    assert total() == Decimal("1056.29019")
    invoices = {invoice.number: invoice for invoice in Invoice.objects.all()}
    assert {number: (one.issuer, one.total_amount, one.month) for number, one in invoices.items()} == {
        "INV-2026-11-0001": ("Anthropic, PBC", Decimal("1037.99"), date(2026, 11, 1)),
        "AWS-2026-11-777": ("Amazon Web Services, Inc.", Decimal("18.30"), date(2026, 11, 1)),
    }
    lines = invoices["INV-2026-11-0001"].lines.all()
    assert sum(line.amount for line in lines) == Decimal("1037.99")
    assert {line.category: line.amount for line in lines if line.category != "usage"} == {
        "adjustment": Decimal("-3.75"),
        "commitment": Decimal("1000.00"),
        "credit": Decimal("-50.00"),
        "tax": Decimal("88.13"),
    }
    assert set(CostReportLine.objects.values_list("channel", flat=True)) == {"anthropic", "platform_aws"}
    correction = CostReportLine.objects.get(is_correction=True)
    assert (correction.billing_month, correction.period_start.date()) == (date(2026, 11, 1), date(2026, 10, 14))


@pytest.mark.parametrize(
    ("issuer", "number"), [("Anthropic, PBC", "INV-2026-11-0001"), ("ANTHROPIC", "inv-2026-11-0001")]
)
def test_an_invoice_somebody_typed_in_stays(import_bill: ImportBill, issuer: str, number: str) -> None:
    Invoice.objects.create(
        issuer=issuer,
        number=number,
        month=date(2026, 11, 1),
        issued_on=date(2026, 12, 1),
        total_amount=Decimal("1038.00"),
        entered_at=AS_OF,
    )
    outcome = import_bill(FOCUS)
    assert Invoice.objects.get(number__iexact=number).total_amount == Decimal("1038.00")
    assert any("is held as 1038.00 USD" in text and "sum to 1037.99 USD" in text for text in outcome.findings)


def test_an_invoice_renamed_in_a_new_delivery(import_bill: ImportBill, tmp_path: Path) -> None:
    import_bill(FOCUS)

    def renamed(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        return [{**row, "InvoiceId": row["InvoiceId"].replace("INV-2026-11-0001", "INV-2026-11-0002")} for row in rows]

    outcome = import_bill(rewritten(FOCUS, tmp_path / "renamed.csv", renamed))
    assert "Invoice INV-2026-11-0001 stands in this bill no more: withdrawn." in outcome.findings
    standing = Invoice.objects.filter(withdrawn_at__isnull=True).values_list("number", "total_amount")
    assert dict(standing) == {"INV-2026-11-0002": Decimal("1037.99"), "AWS-2026-11-777": Decimal("18.30")}


def test_the_usage_report_counts_before_the_bill(import_bill: ImportBill, var: Path) -> None:
    import_bill(FOCUS)
    assert DailyUsage.objects.filter(channel="anthropic", date=date(2026, 11, 9)).exists()
    import_file(actor=None, path=USAGE / "usage_report_messages_1d.json", as_of=AS_OF)
    sources = set(DailyUsage.objects.filter(channel="anthropic").values_list("source__name", flat=True))
    assert sources == {"Anthropic usage report"}
    read = DailyUsage.objects.filter(date=date(2026, 11, 9), model="claude-sonnet-4-6").aggregate(
        read=Sum("cache_read_tok")
    )
    assert read["read"] == 1066400


def test_the_report_counts_before_the_download_and_that_before_the_bill(import_bill: ImportBill, var: Path) -> None:
    def counting() -> set[str]:
        rows = DailyUsage.objects.filter(date=date(2026, 11, 9), channel="anthropic")
        return set(rows.values_list("source__imports__format", flat=True))

    report = USAGE / "usage_report_messages_1d.json"
    download = SAMPLES / "console_usage_claude_api_tokens_2026_11_09_to_2026_11_10.csv"
    import_file(actor=None, path=report, as_of=AS_OF)
    import_file(actor=None, path=download, as_of=AS_OF)
    import_bill(FOCUS)
    assert counting() == {"anthropic_admin_usage"}
    UsageRollup.objects.filter(source__name="Anthropic usage report").delete()
    import_bill(rewritten(FOCUS, var / "again.csv", lambda rows: [{**rows[0], "Tags": "{}"}, *rows[1:]]))
    assert counting() == {"console_usage_csv"}


def test_google_bill_with_credits(import_bill: ImportBill) -> None:
    import_bill(GOOGLE)
    assert total() == Decimal("3.575")
    assert counted() == {("vertex", "claude-opus-5", "us-east5"): [310000, 1850000, 40000, 36000]}


def test_other_currencies_stay_what_they_are(import_bill: ImportBill, tmp_path: Path) -> None:
    euros = rewritten(FOCUS, tmp_path / "eur.csv", lambda rows: [{**row, "BillingCurrency": "eur"} for row in rows])
    outcome = import_bill(euros)
    assert set(CostReportLine.objects.values_list("currency", flat=True)) == {"EUR"}
    assert "Amounts in EUR are kept in it and never added to US dollars." in outcome.findings
    assert set(Invoice.objects.values_list("currency", flat=True)) == {"EUR"}


def test_a_bill_without_claude_is_refused_unless_asked_for(import_bill: ImportBill, tmp_path: Path) -> None:
    other = {"ServiceName": "Storage", "ProviderName": "Acme", "PublisherName": "Acme", "InvoiceIssuerName": "Acme"}
    texts = {"SkuId": "s-1", "ChargeDescription": "Storage"}
    path = rewritten(FOCUS, tmp_path / "storage.csv", lambda rows: [{**row, **other, **texts} for row in rows])
    with pytest.raises(ImportRefused, match="none of its 12 rows is about Claude"):
        import_bill(path)
    alone = rewritten(path, tmp_path / "one.csv", lambda rows: rows[:1])
    with pytest.raises(ImportRefused, match="its only row is not about Claude"):
        import_bill(alone)
    outcome = import_bill(path, all_rows=True)
    assert outcome.accepted == 12
    assert set(CostReportLine.objects.values_list("channel", flat=True)) == {"other"}
    assert not DailyUsage.objects.exists()


def test_the_rest_of_a_bill_may_be_asked_for_later(import_bill: ImportBill, tmp_path: Path) -> None:
    other = {"SkuId": "s-1", "ChargeDescription": "Storage", "ServiceName": "Storage", "ProviderName": "Acme"}
    other |= {"PublisherName": "Acme", "InvoiceIssuerName": "Acme"}
    path = rewritten(FOCUS, tmp_path / "mixed.csv", lambda rows: [{**rows[0], **other}, *rows[1:]])
    outcome = import_bill(path)
    assert outcome.accepted == 11
    assert any("1 row is not about Claude: left out." in text for text in outcome.findings)
    assert import_bill(path, all_rows=True).accepted == 12
    assert import_bill(path, all_rows=True).is_repeat
    assert (CostReportLine.objects.count(), total()) == (12, Decimal("1056.29019"))


def test_an_upload_finds_out_what_it_is(db: None, var: Path) -> None:
    queued: list[int] = []

    def upload(path: Path, actor: Any = None) -> ImportOutcome:
        with path.open("rb") as file:
            return start_import(actor=actor, upload=file, file_name=path.name, as_of=AS_OF, enqueue=queued.append)

    viewer = get_user_model().objects.create(username="victor")
    viewer.groups.add(Group.objects.get_or_create(name=Role.VIEWER)[0])
    with pytest.raises(Forbidden):
        upload(AWS, viewer)
    assert not list(var.rglob("*"))
    bill, report = upload(AWS), upload(USAGE / "usage_report_messages_1d.json")
    kinds = {row.pk: row.kind for row in Import.objects.all()}
    assert kinds == {bill.import_id: "costs", report.import_id: "usage"}
    for import_id in kinds:
        assert run_import(import_id=import_id, as_of=AS_OF).state == "done"
    assert upload(AWS).is_repeat
    assert not list((var / "incoming").iterdir())
