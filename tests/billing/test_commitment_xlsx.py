"""The sheet, read back with another library: its figures are the sizing's, its texts stay texts."""

import io
import zipfile
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from python_calamine import CalamineWorkbook

from billing.core.commitments import measure, offers_of
from billing.core.money import round_usd
from billing.core.sizing import OPTIMISED
from billing.core.sizing_record import SizingRecord, answer, routing_sentence, text_of
from billing.core.spending import QUANTILES
from billing.core.terms import Band, Terms
from billing.exports.commitment_xlsx import SIDE_BY_SIDE, commitment_xlsx
from tests.core.sizings import START, TERMS, paths, record

Rows = list[list[Any]]


def read(content: bytes) -> dict[str, Rows]:
    book = CalamineWorkbook.from_filelike(io.BytesIO(content))
    return {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}


@pytest.fixture(scope="module")
def kept() -> SizingRecord:
    return record()


@pytest.fixture(scope="module")
def sheets(kept: SizingRecord) -> dict[str, Rows]:
    return read(commitment_xlsx(kept, organisation="Northwind Group"))


def find(rows: Rows, label: str) -> list[Any]:
    return next(row for row in rows if row and row[0] == label)


def cents(value: Decimal) -> float:
    return float(round_usd(value))


def test_the_sheets_in_reading_order(sheets: dict[str, Rows]):
    assert list(sheets) == ["Summary", "Offers", "Check a year", "Spend", "Curve", "What would change it", "Basis"]


def test_the_summary_says_what_the_page_says(kept: SizingRecord, sheets: dict[str, Rows]):
    rows = sheets["Summary"]
    assert rows[0][0] == "How much to commit: Northwind Group"
    assert rows[3][0] == text_of(answer(kept)).replace("\n", " ")
    assert rows[3][0].startswith("Route first, then commit $500,000 a year (T1). Expected bill $1,0")
    assert rows[4][0] == routing_sentence(kept)
    best = [kept.sizing.policy(name).best for name in SIDE_BY_SIDE]
    assert find(rows, "Recommended offer")[1:4] == [row.name for row in best]
    assert find(rows, "Expected payable a year")[1:4] == [cents(row.expected_payable_usd) for row in best]
    assert find(rows, "Risk of shortfall")[1:4] == [row.shortfall_probability for row in best]
    assert find(rows, "Runner-up")[1] == kept.sizing.policy(OPTIMISED).choice.runner_up
    assert find(rows, "Optimised")[1] == kept.sizing.policy(OPTIMISED).choice.reason


def test_the_worth_of_routing_is_a_formula_over_two_cells(kept: SizingRecord, sheets: dict[str, Rows]):
    rows = sheets["Summary"]
    routing = kept.sizing.routing
    first, then = find(rows, "Sign T2 first, then route")[1], find(rows, "Route, then sign T1")[1]
    assert (first, then) == (cents(routing.signed_first_payable_usd), cents(routing.routed_first_payable_usd))
    worth = find(rows, "Worth of routing first, a year")[1]
    assert worth == pytest.approx(first - then, abs=1e-9)
    assert worth == pytest.approx(float(routing.value_usd), abs=0.011)


def test_every_offer_of_every_policy_with_its_measures(kept: SizingRecord, sheets: dict[str, Rows]):
    head = next(n for n, row in enumerate(sheets["Offers"]) if row[0] == "Policy")
    rows = [row for row in sheets["Offers"][head + 1 :] if isinstance(row[2], float)]
    expected = [
        (policy, offer) for name in SIDE_BY_SIDE for policy in [kept.sizing.policy(name)] for offer in policy.offers
    ]
    assert len(rows) == len(expected) == 12
    for row, (policy, offer) in zip(rows, expected, strict=True):
        assert row[0] == kept.policy_title(policy.policy)
        assert row[1] == offer.name
        assert row[3] == offer.discount
        assert row[4] == pytest.approx(float(offer.commitment_usd) / (1 - offer.discount), abs=0.006)
        assert [row[2], row[5], row[6], *row[9:15]] == [
            cents(value)
            for value in (
                offer.commitment_usd,
                offer.expected_payable_usd,
                offer.expected_payable_se_usd,
                offer.expected_unused_usd,
                offer.cvar95_usd,
                offer.mean_regret_usd,
                offer.max_regret_usd,
                offer.best_amount_usd,
                offer.best_amount_expected_usd,
            )
        ]
        assert row[7] == pytest.approx(row[5] - min(cents(o.expected_payable_usd) for o in policy.offers), abs=1e-6)
        assert row[8] == offer.shortfall_probability
        assert row[15] == cents(offer.closed_form_usd or Decimal(-1))
        assert row[16] == ("recommended" if offer.name == policy.choice.name else "")


def test_figures_agree_with_the_paths_themselves(sheets: dict[str, Rows]):
    """Past the record: the sheet against a fresh computation from the futures."""
    year = paths(2_000).of("optimised").sum(axis=1)
    rows = [row for row in sheets["Offers"] if row[0] == "Optimised"]
    for row, found in zip(rows, measure(year, offers_of(TERMS)), strict=True):
        assert row[5] == pytest.approx(found.expected_payable_usd, abs=0.006)
        assert row[10] == pytest.approx(found.cvar95_usd, abs=0.006)
    spend = next(row for row in sheets["Spend"] if row[:2] == ["Optimised", "Year"])
    assert spend[2] == pytest.approx(year.mean(), abs=0.006)


def test_percentiles_by_month_and_year(kept: SizingRecord, sheets: dict[str, Rows]):
    rows = [row for row in sheets["Spend"] if row[0] == "Optimised"]
    assert [row[1] for row in rows] == ["Year", *(month.label for month in kept.sizing.policies[0].months)]
    policy = kept.sizing.policy(OPTIMISED)
    for row, found in zip(rows, (policy.year, *policy.months), strict=True):
        assert row[4 : 4 + len(QUANTILES)] == [cents(value) for value in found.quantiles_usd]


def test_the_reader_can_check_a_year(kept: SizingRecord, sheets: dict[str, Rows]):
    rows = sheets["Check a year"]
    spend = find(rows, "List spend of the year, S (change this cell)")[1]
    assert spend == cents(kept.sizing.policy(OPTIMISED).year.quantiles_usd[3])
    t1 = find(rows, "T1")
    assert t1[1:4] == [500_000.0, 0.06, 0.0]
    assert t1[4] == pytest.approx(500_000 + max(0, spend - 500_000 / 0.94), abs=0.006)
    t3 = find(rows, "T3")
    assert (t3[4], t3[5]) == (pytest.approx(2_000_000), pytest.approx(2_000_000 - 0.82 * spend, abs=0.006))


def test_versions_and_assumptions(kept: SizingRecord, sheets: dict[str, Rows]):
    rows = {row[0]: row[1] for row in sheets["Basis"] if row[0]}
    assert rows["Price version (SHA-256)"] == "a" * 64
    assert rows["Active policy, content hash (SHA-256)"] == "b" * 64
    assert rows["Terms, content hash (SHA-256)"] == kept.basis.terms_hash
    assert rows["Active policy"] == "demo@4"
    assert rows["Not in the forecast"] == "Old batch jobs: no usage in the last 28 days"
    assert rows["Seed"] == "8675309"
    assert rows["Simulated futures"] == 2_000
    assert str(rows["Last day of usage used"]) == "2026-11-23"
    assert rows["T2"] == "1,000,000.00 usd a year, 12% off"
    assert rows["Use beyond the commitment"] == "is billed at list prices"


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://x.test","y")', "{=1}", "http://x.test"]
)
def test_typed_text_is_never_a_formula_or_a_link(text: str):
    terms = Terms(START, "list", "payable", (Band(text, Decimal(500_000), Decimal("0.06")),))
    made = replace(record(terms, 200, created_by=text), basis=replace(record(terms, 20).basis, baseline_model=text))
    content = commitment_xlsx(made, organisation=text)
    sheets = read(content)
    assert [row[1] for row in sheets["Offers"] if row[0] == "Optimised"] == ["No commitment", text]
    assert {row[0]: row[1] for row in sheets["Basis"]}["Organisation"] == text
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        everything = {name: parts.read(name).decode() for name in parts.namelist() if name.endswith((".xml", ".rels"))}
    formulas = [f for name, xml in everything.items() if "worksheets/" in name for f in xml.split("<f>")[1:]]
    ours = ("B", "C", "F", "MAX(", "1", "(")
    assert formulas
    assert all(f.split("</f>")[0].startswith(ours) and "HYPERLINK" not in f.split("</f>")[0] for f in formulas)
    assert not any("relationships/hyperlink" in xml for xml in everything.values())
    assert 'quotePrefix="1"' in everything["xl/styles.xml"]


def test_an_offer_stated_at_list_prices_says_so():
    terms = Terms(START, "discounted", "list", TERMS.bands)
    sheets = read(commitment_xlsx(record(terms, 500), organisation=""))
    assert sheets["Summary"][0][0] == "How much to commit"
    assert find(sheets["Basis"], "Commitments are stated as")[1] == "list prices, before the discount"
    assert find(sheets["Check a year"], "T1")[1:4] == [470_000.0, 0.06, 0.06]
    assert sheets["Curve"][0][0] == "Committed a year, at list prices"
