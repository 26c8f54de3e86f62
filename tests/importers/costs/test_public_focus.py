"""Public FOCUS files, read in place: what the specification's own examples and a real anonymised bill add up to."""

import csv
import gzip
import io
import os
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

from tests.importers.costs.reading import plain, read

# file → rows, and per charge category BilledCost, ListCost, ContractedCost, EffectiveCost
TOTALS: dict[str, tuple[int, dict[str, tuple[str, str, str, str]]]] = {
    "formats/samples/focus/public_focus_1_0_sample_excerpt.csv": (
        27,
        {
            "usage": ("0.11321926285", "0.25589828505", "-0.15189251968", "-0.15187152178"),
            "credit": ("-2.6137", "-2.6137", "-3", "-3"),
            "adjustment": ("0.272", "0", "0", "0"),
        },
    ),
    "formats/samples/focus/public_focus_spec_v1_2_saas_spend_agreements_a1.csv": (
        4,
        {"usage": ("1200", "1257", "1200", "1200")},
    ),
    "formats/samples/focus/public_focus_spec_v1_2_saas_spend_agreements_a2.csv": (
        13,
        {"usage": ("1200", "1257", "1200", "1200")},
    ),
    "formats/samples/focus/public_focus_spec_v1_2_saas_spend_agreements_b1.csv": (
        5,
        {"purchase": ("1200", "1200", "1200", "0"), "usage": ("0", "1257", "1200", "1200")},
    ),
    "formats/samples/focus/public_focus_spec_v1_2_saas_spend_agreements_b2.csv": (
        14,
        {"purchase": ("1200", "1200", "1200", "0"), "usage": ("0", "1257", "1200", "1200")},
    ),
    "formats/samples/focus/public_focus_spec_v1_2_virtual_currency_pricing_model_b1.csv": (
        1,
        {"purchase": ("100000", "200000", "100000", "0")},
    ),
    "formats/samples/focus/public_focus_spec_v1_2_virtual_currency_pricing_model_b2.csv": (
        3,
        {"usage": ("0", "1230", "615", "615")},
    ),
    "data/focus/focus_1_0_sample_odd_rows.csv.gz": (
        500,
        {
            "usage": ("17.19968547521", "17.29588547521", "16.16278225655", "16.16298079268"),
            "credit": ("-2.6137", "-2.6137", "-3", "-3"),
            "adjustment": ("0.08", "0", "0", "0"),
        },
    ),
}
COSTS = ("BilledCost", "ListCost", "ContractedCost", "EffectiveCost")


@pytest.fixture
def shared() -> Path:
    folder = os.environ.get("COSTGOV_SHARED")
    if not folder:
        pytest.skip("COSTGOV_SHARED names no folder with the public files")
    return Path(folder)


@pytest.mark.parametrize("name", sorted(TOTALS))
def test_public_file_sums_to_what_it_did(shared: Path, name: str) -> None:
    report = read(shared / name, all_rows=True)
    rows, totals = TOTALS[name]
    sums: dict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 4)
    for line in report.lines:
        stated = (line.amount, line.list_amount, line.contracted_amount, line.effective_amount)
        sums[line.category] = [a + (b or Decimal(0)) for a, b in zip(sums[line.category], stated, strict=True)]
    assert (len(report.lines), report.problems) == (rows, ())
    assert {category: tuple(plain(one) for one in found) for category, found in sums.items()} == totals


@pytest.mark.parametrize("name", sorted(TOTALS))
def test_totals_are_the_plain_sums_of_the_columns(shared: Path, name: str) -> None:
    data = (shared / name).read_bytes()
    text = (gzip.decompress(data) if name.endswith(".gz") else data).decode("utf-8-sig")
    sums: dict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 4)
    for row in csv.DictReader(io.StringIO(text)):
        found = [Decimal(row[cost].strip()) if row[cost].strip() not in ("", "NULL") else Decimal(0) for cost in COSTS]
        category = row["ChargeCategory"].lower()
        sums[category] = [a + b for a, b in zip(sums[category], found, strict=True)]
    assert {category: tuple(plain(one) for one in found) for category, found in sums.items()} == TOTALS[name][1]


def test_what_departs_from_the_specification_is_said(shared: Path) -> None:
    samples = shared / "formats" / "samples" / "focus"
    assert set(read(samples / "public_focus_1_0_sample_excerpt.csv", all_rows=True).findings) == {
        "A time without a zone was read as UTC (81 times).",
        "Column Id is not of the specification and was left out (1 time).",
        "The text NULL was read as no value (85 times).",
    }
    virtual = read(samples / "public_focus_spec_v1_2_virtual_currency_pricing_model_b2.csv", all_rows=True)
    assert "3 rows are priced in Token; amounts here are in the billing currency." in virtual.findings
    assert {line.token_kind for line in virtual.lines} == {""}  # a token here is a currency, not an LLM token


def test_prepaid_agreements_cost_as_much_as_they_were_bought_for(shared: Path) -> None:
    samples = shared / "formats" / "samples" / "focus"
    for name in ("b1", "b2"):
        lines = read(samples / f"public_focus_spec_v1_2_saas_spend_agreements_{name}.csv", all_rows=True).lines
        bought = sum(line.amount for line in lines if line.category == "purchase")
        assert bought == sum(line.effective_amount or Decimal(0) for line in lines) == 1200
