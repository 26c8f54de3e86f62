"""Our FOCUS file conforms, its totals are the usage's, and reading it back gives the same to the last digit."""

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.core.usage import COUNTERS
from billing.exports.focus_check import check_focus
from billing.importers.focus import Focus
from billing.models import CostCentre, CostCentreMapping, DailyUsage, Import, Organisation
from billing.operations.imports import COSTS, ImportOptions, import_file
from billing.operations.prices import seed_list_prices
from billing.operations.upkeep import delete_import
from billing.queries.usage_sums import usage_sums
from tests.billing.usage_rows import count_usage

AT = datetime(2026, 11, 1, tzinfo=UTC)
START, END = date(2026, 1, 30), date(2026, 3, 3)
D = Decimal
SAMPLE = Path(__file__).parents[1] / "importers" / "costs" / "samples" / "focus_1_2_claude_constructed.csv"


def exported(folder, start=START, end=END):
    path = folder / "focus.csv"
    call_command("export_focus", "--from", f"{start}", "--to", f"{end}", "--out", str(path))
    return path


@pytest.fixture
def estate(db):
    seed_list_prices(as_of=AT)
    Organisation.objects.create(pk=1, name="Acme, Inc.", baseline_model="claude-opus-4-5")
    centre = CostCentre.objects.create(code="4711", name="Research", team="R&D")
    CostCentreMapping.objects.create(cost_centre=centre, workspace="w1", created_at=AT)


def test_the_file_conforms_and_its_rows_are_readable(estate, tmp_path):
    count_usage("claude-opus-4-5", "2026-02-03", output_tok=1_234_567, workspace="w1", api_key="k1",
                request_class="triage", requests=9, web_searches=3)  # fmt: skip
    count_usage("claude-opus-4-6", "2026-02-03", uncached_input_tok=7, cache_write_1h_tok=11, geo="us",
                service_tier="batch", request_class="=1+1", workspace="-w")  # fmt: skip
    count_usage("lab-model-2", "2026-02-03", output_tok=5)
    path = exported(tmp_path)
    found = check_focus(path)
    assert found.conforms, found.findings
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert found.rows == len(rows) == 4
    opus = next(row for row in rows if row["SkuMeter"] == "output_tokens")
    assert (opus["BilledCost"], opus["ListCost"], opus["ListUnitPrice"]) == ("30.864175", "30.864175", "25")
    assert (opus["PricingQuantity"], opus["PricingUnit"]) == ("1.234567", "1000000 Tokens")
    assert (opus["ConsumedQuantity"], opus["ConsumedUnit"]) == ("1234567", "Tokens")
    assert (opus["BillingPeriodStart"], opus["BillingPeriodEnd"]) == ("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z")
    assert opus["Tags"] == '{"class": "triage", "cost_centre": "4711", "team": "R&D"}'
    assert opus["BillingAccountId"] == "Acme, Inc." and opus["SubAccountId"] == "w1"
    batch = next(row for row in rows if row["RegionId"] == "us")
    assert batch["SubAccountId"] == "'-w" and batch["x_RequestClass"] == "'=1+1"  # nothing computes
    searches = next(row for row in rows if row["ConsumedUnit"] == "Requests")
    assert (searches["PricingUnit"], searches["BilledCost"]) == ("1000 Requests", "0.03")


def test_what_has_no_price_is_said_and_in_no_row(estate, tmp_path, capsys):
    count_usage("lab-model-2", "2026-02-03", output_tok=5, web_searches=1)
    path = exported(tmp_path)
    assert path.read_text().count("\n") == 1
    assert "5 tokens and 1 web search of lab-model-2" in capsys.readouterr().err


ROW = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["claude-opus-4-5", "claude-sonnet-4-6", "claude-haiku-4-5"]),
        "on": st.integers(0, 31).map(lambda n: START + timedelta(days=n)),
        "request_class": st.sampled_from(["triage", ""]),
        "workspace": st.sampled_from(["w1", "w2", ""]),
        "service_tier": st.sampled_from(["standard", "batch"]),
        "geo": st.sampled_from(["global", "us", "not_available"]),
        **{name: st.sampled_from([0, 1, 7, 999_999_999_999]) for name in COUNTERS},
    }
)


@given(
    st.lists(ROW, min_size=1, max_size=6, unique_by=lambda row: tuple(v for k, v in row.items() if k not in COUNTERS))
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_exported_comes_back_to_the_last_digit(estate, tmp_path, rows):
    DailyUsage.objects.all().delete()
    for row in rows:
        count_usage(**row)
    sums = usage_sums(start=START, end=END, by=("model", "token_kind", "workspace"))
    units_of = (sums.groups.counts - sums.groups.unpriced).sum(axis=0).tolist()
    priced = {sums.values(n): (sums.cost_usd(n), units_of[n]) for n in range(len(sums)) if units_of[n]}
    if not priced:
        return
    path = exported(tmp_path)
    assert check_focus(path).conforms
    report = Focus().read(path, file_name="focus.csv", canonical=lambda name: name)
    assert not report.problems and not report.rejected and not report.skipped
    cost: dict[Any, D] = {}
    units: dict[Any, Any] = {}
    for line in report.lines:
        key = (line.model, line.token_kind, line.workspace)
        cost[key] = cost.get(key, D(0)) + line.amount
        units[key] = units.get(key, D(0)) + (line.quantity or 0)
    assert {key: (cost[key], units[key]) for key in cost} == priced
    assert {line.service_tier for line in report.lines} <= {"standard", "batch"}
    assert sum(line.amount for line in report.lines) == check_focus(path).billed


LOG = "".join(
    json.dumps(
        {
            "timestamp": f"2026-02-03T{number:02}:00:07Z", "request_id": f"req_{number}",
            "organization_id": "0d3e6f5a-8c1b-4f6e-9a7d-2b5c8e1f4a60", "workspace_id": f"wrkspc_{number % 2}",
            "api_key_id": f"apikey_{number % 3}", "request": {"model": "claude-opus-4-5"},
            "response": {
                "id": f"msg_{number}", "type": "message", "role": "assistant", "model": "claude-opus-4-5-20251101",
                "usage": {"input_tokens": 1000 + number, "output_tokens": 10, "service_tier": "standard",
                          "inference_geo": geo},
            },
        }
    ) + "\n"
    for number, geo in enumerate(["global", "not_available", "global", "global"])
)  # fmt: skip


@pytest.mark.parametrize("dropped", [(), ("x_ApiKeyId",), ("x_ApiKeyId", "SubAccountId")])
@pytest.mark.parametrize("bill_first", [False, True])
def test_a_bill_beside_the_logs_of_its_usage_adds_nothing(estate, var, tmp_path, dropped, bill_first):
    """Our own export, or a provider's bill that names workspaces and no keys: the same tokens counted twice would
    double the spend of every organisation that imports both."""
    logs = tmp_path / "requests.jsonl"
    logs.write_text(LOG)
    import_file(actor=None, path=logs, as_of=AT, options=ImportOptions())
    before = usage_sums(start=START, end=END, by=("model",))
    rows = list(csv.DictReader(io.StringIO(exported(tmp_path).read_text())))
    bill = tmp_path / "bill.csv"
    with bill.open("w", newline="") as file:
        writer = csv.DictWriter(file, [name for name in rows[0] if name not in dropped], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    if bill_first:
        delete_import(actor=None, import_id=Import.objects.get().pk, as_of=AT, class_of_key=lambda *_: "")
    outcome = import_file(actor=None, path=bill, as_of=AT, options=ImportOptions(), kind=COSTS)
    assert not [text for text in outcome.findings if "above" in text]
    if bill_first:
        import_file(actor=None, path=logs, as_of=AT, options=ImportOptions())
    after = usage_sums(start=START, end=END, by=("model",))
    assert [after.cost_usd(n) for n in range(len(after))] == [before.cost_usd(n) for n in range(len(before))]
    assert set(DailyUsage.objects.values_list("origin", flat=True)) == {"log"}


GOOD = {
    "BilledCost": "1.5", "BillingAccountId": "a", "BillingAccountName": "", "BillingCurrency": "USD",
    "BillingPeriodStart": "2026-02-01T00:00:00Z", "BillingPeriodEnd": "2026-03-01T00:00:00Z",
    "ChargeCategory": "Usage", "ChargeClass": "", "ChargeDescription": "", "ChargePeriodStart": "2026-02-03T00:00:00Z",
    "ChargePeriodEnd": "2026-02-04T00:00:00Z", "ContractedCost": "1.5", "EffectiveCost": "1.5",
    "InvoiceIssuerName": "Anthropic", "ListCost": "1.5", "ListUnitPrice": "3", "PricingQuantity": "0.5",
    "PricingUnit": "1000000 Tokens", "ProviderName": "Anthropic", "PublisherName": "Anthropic",
    "ServiceCategory": "AI and Machine Learning", "ServiceName": "Claude API", "Tags": "",
}  # fmt: skip


def checked(folder, row, *, drop=()):
    path = folder / "bill.csv"
    names = [name for name in row if name not in drop]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerow(row)
    return {(one.column, one.rule) for one in check_focus(path).findings}


def test_a_good_row_conforms(tmp_path):
    assert checked(tmp_path, GOOD) == set()


@pytest.mark.parametrize(
    ("changes", "column", "rule"),
    [
        ({"BilledCost": ""}, "BilledCost", "must not be null"),
        ({"BilledCost": "1,500.00"}, "BilledCost", "digits, a point"),
        ({"BilledCost": "NULL"}, "BilledCost", "written as nothing"),
        ({"ChargeCategory": "usage"}, "ChargeCategory", "one of Usage, Purchase"),
        ({"ServiceCategory": "Database"}, "ServiceCategory", "one of AI and"),
        ({"ChargePeriodStart": "2/3/26"}, "ChargePeriodStart", "2026-11-22T00:00:00Z"),
        ({"ChargePeriodStart": "2026-02-30T00:00:00Z"}, "ChargePeriodStart", "2026-11-22T00:00:00Z"),
        ({"ChargePeriodEnd": "2026-02-03T00:00:00Z"}, "ChargePeriodEnd", "exclusive"),
        ({"BillingCurrency": "dollars"}, "BillingCurrency", "ISO 4217"),
        ({"ListCost": "1.51"}, "ListCost", "PricingQuantity times ListUnitPrice"),
        ({"Tags": "team=a"}, "Tags", "JSON object"),
        ({"Tags": "[1]"}, "Tags", "JSON object"),
        ({"Id": "7"}, "Id", "begins with x_"),
        ({"ChargeCategory": "Tax"}, "PricingQuantity", "Tax has no quantity"),
        ({"ConsumedQuantity": "5", "ConsumedUnit": "T", "ChargeCategory": "Credit"}, "ConsumedQuantity", "Only used"),
        ({"CommitmentDiscountId": "c1"}, "CommitmentDiscountStatus", "says whether it was used"),
        ({"PricingUnit": ""}, "PricingUnit", "together or not at all"),
        ({"ChargeFrequency": "Usage-based"}, "ChargeFrequency", "Usage-Based"),
        ({"ServiceName": " Claude API"}, "ServiceName", "space"),
    ],
)  # fmt: skip
def test_every_rule_finds_its_breach(tmp_path, changes, column, rule):
    found = checked(tmp_path, {**GOOD, **changes})
    assert [said for name, said in found if name == column and rule in said], found


@pytest.mark.parametrize("name", sorted(set(GOOD) - {"ListUnitPrice", "Tags"}))
def test_every_mandatory_column_is_missed(tmp_path, name):
    assert (name, "The column is mandatory and missing.") in checked(tmp_path, GOOD, drop=(name,))


def test_a_correction_need_not_multiply(tmp_path):
    assert checked(tmp_path, {**GOOD, "ChargeClass": "Correction", "ListCost": "-9"}) == set()


def test_the_constructed_claude_bill_is_judged():
    found = check_focus(SAMPLE)
    assert found.rows > 0 and found.billed > 0


def test_a_broken_file_is_said(tmp_path):
    path = tmp_path / "bill.csv"
    path.write_bytes(b"\xef\xbb\xbfBilledCost\n1,2\n")
    found = {one.rule for one in check_focus(path).findings}
    assert "The file begins with a byte order mark." in found
    assert "A row must have 1 fields, like the header." in found
    assert "The file has no rows." in found
