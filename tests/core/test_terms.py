"""costgov.terms/1: what is read, what is refused, and how the refusal reads."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core.terms import (
    Band,
    Terms,
    TermsRefused,
    content_hash,
    parse_terms,
    read_terms,
    terms_document,
)

DOCUMENT: dict[str, Any] = {
    "schema": "costgov.terms/1",
    "currency": "USD",
    "start": "2027-01-01",
    "months": 12,
    "true_up": "annual",
    "overage": "list",
    "stated_in": "payable",
    "bands": [
        {"name": "T1", "commitment": "500000", "discount": "0.06"},
        {"name": "T2", "commitment": "1000000.00", "discount": "0.120"},
    ],
}


def changed(**changes: Any) -> dict[str, Any]:
    return {**DOCUMENT, **changes}


def band(**changes: Any) -> dict[str, Any]:
    return changed(bands=[{**DOCUMENT["bands"][0], **changes}])


def without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in DOCUMENT.items() if key not in keys}


def refusals(document: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(TermsRefused) as refused:
        parse_terms(document)
    return [(problem.field, problem.value, problem.remedy) for problem in refused.value.problems]


def test_a_document_becomes_terms():
    terms = parse_terms(DOCUMENT)
    assert terms == Terms(
        date(2027, 1, 1),
        "list",
        "payable",
        (Band("T1", Decimal(500000), Decimal("0.06")), Band("T2", Decimal(1000000), Decimal("0.12"))),
    )
    assert terms.end == date(2028, 1, 1)
    assert terms.title == "$500,000–$1,000,000 from 1 Jan 2027, overage at list prices"
    assert [offer.name for offer in terms.offers] == ["No commitment", "T1", "T2"]


def test_a_band_without_commitment_is_the_offer_without_commitment():
    terms = parse_terms(changed(bands=[{"name": "Pay as you go", "commitment": "0", "discount": "0.02"}]))
    assert terms.offers == (Band("Pay as you go", Decimal(0), Decimal("0.02")),)


def test_a_commitment_stated_at_list_prices_is_payable_after_the_discount():
    assert Band("T1", Decimal(500000), Decimal("0.06")).payable_usd("list") == Decimal(470000)
    assert Band("T1", Decimal(500000), Decimal("0.06")).payable_usd("payable") == Decimal(500000)


def test_the_written_form_does_not_change_the_content_hash():
    again = terms_document(parse_terms(DOCUMENT))
    assert again["bands"][1] == {"name": "T2", "commitment": "1000000", "discount": "0.12"}
    assert content_hash(parse_terms(again)) == content_hash(parse_terms(DOCUMENT))
    assert content_hash(parse_terms(changed(overage="discounted"))) != content_hash(parse_terms(DOCUMENT))


@pytest.mark.parametrize(
    ("document", "field", "value", "remedy"),
    [
        (
            without("overage"),
            "overage",
            "",
            'say whether use beyond the commitment is billed at "list" or "discounted"',
        ),
        (without("stated_in"), "stated_in", "", 'say whether commitments are "payable" amounts'),
        (without("bands"), "bands", "", "give at least one band"),
        (changed(schema="costgov.terms/2"), "schema", '"costgov.terms/2"', 'Only "costgov.terms/1" is supported'),
        (changed(currency="EUR"), "currency", '"EUR"', 'Only "USD"'),
        (changed(months=36), "months", "36", "Only 12"),
        (changed(months=True), "months", "true", "Only 12"),
        (changed(months="12"), "months", '"12"', "Only 12"),
        (changed(true_up="monthly"), "true_up", '"monthly"', 'Only "annual"'),
        (changed(overage="LIST"), "overage", '"LIST"', 'Use "list" or "discounted"'),
        (changed(stated_in=None), "stated_in", "null", 'Use "payable" or "list"'),
        (changed(start="1 Jan 2027"), "start", '"1 Jan 2027"', "Write the first day like 2027-01-01"),
        (changed(start="2027-13-01"), "start", '"2027-13-01"', "Write the first day like"),
        (changed(start=20270101), "start", "20270101", "Write the first day like"),
        (changed(start="9999-01-01"), "start", '"9999-01-01"', "Write the first day like"),
        (changed(rollover="0.5"), "rollover", '"0.5"', "Not supported yet"),
        (changed(prepayment="0.02"), "prepayment", '"0.02"', "Not supported yet"),
        (changed(ramps=[]), "ramps", "[]", "Not supported yet"),
        (changed(rolover="0.5"), "rolover", "unknown key", "Remove it; known are schema, currency"),
        (changed(bands=[]), "bands", "[]", "at least one band"),
        (changed(bands={}), "bands", "{}", "at least one band"),
        (changed(bands=DOCUMENT["bands"] * 11), "bands", "22 bands", "at most 20"),
        (changed(bands=["T1"]), "bands[0]", '"T1"', "Give an object"),
        (band(commitment=500000), "bands[0].commitment", "500000", "Write it as a decimal string"),
        (band(commitment="500,000"), "bands[0].commitment", '"500,000"', "Not a number"),
        (band(commitment="-1"), "bands[0].commitment", '"-1"', "from 0 up to"),
        (band(commitment="1e13"), "bands[0].commitment", '"1e13"', "from 0 up to"),
        (band(commitment="0.001"), "bands[0].commitment", '"0.001"', "at most to the cent"),
        (band(discount="6"), "bands[0].discount", '"6"', "6 per cent is 0.06"),
        (band(discount="-0.01"), "bands[0].discount", '"-0.01"', "Give a share from 0"),
        (band(discount="0.0600001"), "bands[0].discount", '"0.0600001"', "at most 6 places"),
        (band(discount=0.06), "bands[0].discount", "0.06", "Write it as a decimal string"),
        (band(discount=""), "bands[0].discount", '""', "Not a number"),
        (band(discount="NaN"), "bands[0].discount", '"NaN"', "Not a number"),
        (band(name=" "), "bands[0].name", '" "', "1 to 40 letters"),
        (band(name="T1\n"), "bands[0].name", '"T1\\n"', "1 to 40 letters"),
        (band(name="No commitment"), "bands[0].name", '"No commitment"', "a name of its own"),
        (band(rebate="1"), "bands[0].rebate", "unknown key", "known are name, commitment, discount"),
        (
            changed(bands=[*DOCUMENT["bands"], {"name": "t1", "commitment": "2000000", "discount": "0.18"}]),
            "bands[2].name",
            '"t1"',
            "a name of its own",
        ),
        (
            changed(bands=DOCUMENT["bands"][::-1]),
            "bands[1].commitment",
            "500000 after 1000000",
            "List bands by rising commitment",
        ),
        ([DOCUMENT], "document", "a JSON list", "Give a JSON object"),
        (None, "document", "a JSON null", "Give a JSON object"),
    ],
)
def test_a_refusal_names_field_value_and_remedy(document: Any, field: str, value: str, remedy: str):
    found = refusals(document)
    assert any(f == field and v == value and remedy in r for f, v, r in found), found


@pytest.mark.parametrize(
    ("start", "end"),
    [("2027-01-01", date(2028, 1, 1)), ("2027-03-15", date(2028, 3, 15)), ("2028-02-29", date(2029, 2, 28))],
)
def test_the_period_is_a_year_from_any_day(start: str, end: date):
    assert parse_terms(changed(start=start)).end == end


def test_every_problem_is_listed_at_once():
    document = {**without("overage"), "currency": "EUR", "extra": 1, "bands": [{"name": "T1", "commitment": "x"}]}
    assert [field for field, _, _ in refusals(document)] == [
        "overage", "extra", "currency", "bands[0].discount", "bands[0].commitment",
    ]  # fmt: skip


def test_text_that_is_not_json_is_refused_with_its_place():
    with pytest.raises(TermsRefused, match="line 2, column 3: not JSON"):
        read_terms('{"schema": "costgov.terms/1",\n  x}')
    with pytest.raises(TermsRefused, match="document: it is empty"):
        read_terms("  \n")
    with pytest.raises(TermsRefused, match="byte 0 is not UTF-8"):
        read_terms(b"\xff\xfe{}")
    with pytest.raises(TermsRefused, match="overage: given twice in one object"):
        read_terms(json.dumps(DOCUMENT)[:-1] + ', "overage": "discounted"}')
    with pytest.raises(TermsRefused, match="nested too deeply"):
        read_terms("[" * 100_000)
    assert read_terms(b"\xef\xbb\xbf" + json.dumps(DOCUMENT).encode()) == parse_terms(DOCUMENT)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(st.sampled_from(sorted(DOCUMENT)), JSON)
def test_any_value_is_read_or_refused_in_words(key: str, value: Any):
    try:
        terms = parse_terms(changed(**{key: value}))
    except TermsRefused as refused:
        assert refused.problems
        assert all(problem.field and problem.remedy for problem in refused.problems)
    else:
        assert parse_terms(terms_document(terms)) == terms


@given(st.sampled_from(["name", "commitment", "discount"]), JSON | st.text(alphabet="0123456789.eE+-", max_size=6))
def test_any_value_in_a_band_is_read_or_refused_in_words(key: str, value: Any):
    try:
        terms = parse_terms(band(**{key: value}))
    except TermsRefused as refused:
        assert all(problem.field.startswith("bands[0].") and problem.remedy for problem in refused.problems)
    else:
        assert parse_terms(terms_document(terms)) == terms
