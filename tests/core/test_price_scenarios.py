"""What-if price books: the document, and what it makes of the list."""

import json
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.core.documents import DocumentRefused
from billing.core.price_scenarios import (
    SCHEMA,
    PriceScenario,
    ScenarioBook,
    ScenarioRefused,
    parse_price_scenario,
    read_price_scenario,
    scenario_document,
)
from billing.core.pricebook import Price, PriceBook, PriceKey, PriceNotFound
from billing.core.pricing import CostLine, Pricer

D = Decimal
DAY, NEW_YEAR = date(2026, 11, 1), date(2027, 1, 1)


def price(model, kind, usd, band):
    return Price(model, kind, D(usd), "list", DAY, prompt_length_band=band)


LIST = PriceBook(
    price(model, kind, usd, band)
    for model, kind, usd, band in [
        ("opus", "output", "20", "all"),
        ("opus", "uncached_input", "4", "all"),
        ("haiku", "output", "0.5", "0-100k"),
        ("haiku", "output", "2.5", "100k-1M"),
    ]
)


def document(**facts):
    return {"schema": SCHEMA, "title": "What if", **facts}


def usd(book, model="opus", kind="output", on=NEW_YEAR, band="0-100k"):
    return book.lookup(PriceKey(model, "standard", band, "global", "standard"), kind, on).price.usd_per_unit


def test_a_change_holds_from_its_day_and_says_so():
    """docs/algorithms/pricing.md, "What if": a fifth off opus from 1 January."""
    scenario = parse_price_scenario(document(changes=[{"model": "opus", "percent": "-20", "from": "2027-01-01"}]))
    book = ScenarioBook(LIST, scenario)
    assert (usd(book, on=date(2026, 12, 31)), usd(book), usd(book, kind="uncached_input")) == (D(20), D(16), D("3.2"))
    found = book.lookup(PriceKey("opus", "standard", "", "global", "standard"), "output", NEW_YEAR).price
    assert found.terms == "20 % off the list price 20.00 in scenario What if"
    assert book.change_days() == (NEW_YEAR,) and scenario.starts == (NEW_YEAR,)
    assert usd(LIST) == D(20)


def test_prices_of_a_model_nobody_sells_yet_and_in_place_of_the_list():
    prices = [
        {"model": "next", "token_kind": "output", "usd_per_unit": "12"},
        {"model": "opus", "token_kind": "output", "usd_per_unit": "18", "from": "2027-01-01"},
    ]
    book = ScenarioBook(LIST, parse_price_scenario(document(changes=[{"percent": "-50"}], prices=prices)))
    assert usd(book, "next") == D(12) and book.models == {"next", "opus", "haiku"}
    # Own prices stand as they are; before their day the changed list holds.
    assert (usd(book), usd(book, on=date(2026, 12, 31)), usd(book, kind="uncached_input")) == (D(18), D(10), D(2))
    line = Pricer(book).line(PriceKey("next", "standard", "", "global", "standard"), "output", 1_000_000, DAY)
    assert isinstance(line, CostLine) and line.price.terms == "assumed in scenario What if"


def test_a_scenario_price_for_one_prompt_length_leaves_the_other_to_the_list():
    row = {"model": "haiku", "token_kind": "output", "usd_per_unit": "0.4", "prompt_length_band": "0-100k"}
    book = ScenarioBook(LIST, parse_price_scenario(document(prices=[row])))
    assert (usd(book, "haiku"), usd(book, "haiku", band="200k-1M")) == (D("0.4"), D("2.5"))
    with pytest.raises(PriceNotFound) as refused:
        usd(book, "haiku", band="")
    assert set(refused.value.prices) == {D("0.4"), D("2.5")} and refused.value.cause == "data"
    flat = parse_price_scenario(document(prices=[{"model": "haiku", "token_kind": "output", "usd_per_unit": "1"}]))
    assert usd(ScenarioBook(LIST, flat), "haiku", band="") == D(1)


def test_a_halved_list_halves_the_interval():
    book = ScenarioBook(LIST, parse_price_scenario(document(changes=[{"percent": "-50"}])))
    with pytest.raises(PriceNotFound) as refused:
        usd(book, "haiku", band="")
    assert refused.value.prices == (D("0.25"), D("1.25"))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, "nothing is assumed"),
        ({"schema": "costgov.price_scenario/2", "changes": [{"percent": "1"}]}, 'schema: "costgov.price_scenario/2"'),
        ({"title": "a, b", "changes": [{"percent": "1"}]}, "without commas"),
        ({"title": " ", "changes": [{"percent": "1"}]}, "title"),
        ({"extra": 1, "changes": [{"percent": "1"}]}, "extra: unknown key"),
        ({"changes": [{"percent": 20}]}, r"changes\[0\].percent: 20; write it as a decimal string"),
        ({"changes": [{"percent": "twenty"}]}, "is not a number"),
        ({"changes": [{"percent": "1e400"}]}, "is not a number"),
        ({"changes": [{"percent": "-101"}]}, "not a percentage"),
        ({"changes": [{"percent": "1", "usd_per_unit": "2"}]}, "not both"),
        ({"changes": [{"model": "opus", "usd_per_unit": "2"}]}, "name the kind"),
        ({"changes": [{"percent": "1", "when": "now"}]}, r"changes\[0\].when: unknown key"),
        ({"changes": [{"percent": "1", "from": "1.1.2027"}]}, "write the day like"),
        ({"changes": [{"percent": "1"}, {"percent": "2"}]}, "two for every model"),
        ({"changes": "all"}, "give a list"),
        ({"changes": ["all"]}, "give an object"),
        ({"prices": [{"model": "x", "token_kind": "output"}]}, r"prices\[0\].usd_per_unit: missing"),
        ({"prices": [{"model": "x", "token_kind": "input", "usd_per_unit": "1"}]}, "unknown token kind"),
        ({"prices": [{"token_kind": "output", "usd_per_unit": "1"}]}, "needs its model"),
        ({"prices": [{"model": "x", "token_kind": "output", "usd_per_unit": "1"}] * 2}, "keep one"),
    ],
)
def test_what_cannot_be_used_is_refused_naming_its_place(facts, said):
    with pytest.raises(ScenarioRefused, match=said):
        parse_price_scenario(document(**facts))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "empty"),
        (b"[1]", "not a JSON object"),
        (b"{", "line 1, column 2"),
        (b"\xff", "byte 0 is not UTF-8"),
        (b'{"title":"a","title":"b"}', "title: given twice"),
        (b"[" * 100_000, "nested too deeply|not JSON"),
        (b" " * 2_000_001, "2,000,001 bytes"),
    ],
)
def test_text_that_is_no_document_is_refused(text, said):
    with pytest.raises(DocumentRefused, match=said):
        read_price_scenario(text)


def test_every_problem_is_told_at_once():
    with pytest.raises(ScenarioRefused) as refused:
        parse_price_scenario(document(title="", changes=[{"percent": "x"}, {"percent": "1", "to": "y"}]))
    assert len(refused.value.problems) == 3


TEXT = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20)
DAYS = st.one_of(st.just(""), st.dates(date(2026, 1, 1), date(2027, 12, 31)).map(date.isoformat))
CHANGES = st.builds(
    lambda model, kind, tier, percent, start: {
        "model": model, "token_kind": kind, "service_tier": tier, "percent": str(percent), "from": start,
    },
    st.sampled_from(["", "opus", "haiku"]), st.sampled_from(["", "tokens", "output"]),
    st.sampled_from(["", "standard", "batch"]), st.decimals(D(-100), D(1000), places=6), DAYS,
)  # fmt: skip


@given(TEXT, st.lists(CHANGES, min_size=1, max_size=6, unique_by=lambda row: tuple(row.values())[:3]))
@settings(max_examples=100, deadline=None)
def test_the_document_is_what_it_was_read_from(title, changes):
    scenario = parse_price_scenario(document(title=title, changes=changes))
    again = read_price_scenario(json.dumps(scenario_document(scenario)))
    assert again == scenario and scenario_document(again) == scenario_document(scenario)


def test_an_empty_scenario_would_be_the_list():
    book = ScenarioBook(LIST, PriceScenario("Nothing"))
    assert [usd(book, "haiku", band=band) for band in ("0-100k", "200k-1M")] == [D("0.5"), D("2.5")]
    assert book.change_days() == LIST.change_days()
