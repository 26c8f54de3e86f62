"""The sentences about a sizing: what a reader takes away must follow from its figures."""

from dataclasses import replace
from decimal import Decimal

import pytest

from billing.core.sizing_record import (
    SizingRecord,
    answer,
    routing_sentence,
    rules,
    stated,
    text_of,
)
from billing.core.terms import Band, Terms
from billing.core.words import usd
from tests.core.sizings import START, TERMS, record


@pytest.fixture(scope="module")
def kept() -> SizingRecord:
    return record()


def test_route_first_then_commit(kept: SizingRecord):
    best = kept.sizing.policy("optimised").best
    assert text_of(answer(kept)) == (
        f"Route first, then commit $500,000 a year (T1). Expected bill {usd(best.expected_payable_usd)}, and a "
        f"{best.shortfall_probability * 100:.1f}% risk of paying for spend you do not have."
    )
    assert next(span.text for span in answer(kept) if span.is_strong) == "$500,000"


def test_the_worth_of_routing_in_one_sentence(kept: SizingRecord):
    routing = kept.sizing.routing
    assert routing_sentence(kept) == (
        f"Routing before committing is worth {usd(routing.value_usd)} a year (standard error "
        f"{usd(routing.value_se_usd)}): T2 suits the spend with everything on Opus 4.5, but once work is routed T1 is "
        "cheaper."
    )


def test_no_band_is_worth_signing():
    high = record(Terms(START, "list", "payable", (Band("T9", Decimal(9_000_000), Decimal("0.2")),)))
    assert text_of(answer(high)).startswith(
        "Do not commit to these bands. Without a commitment the routed bill is expected"
    )
    assert routing_sentence(high) == (
        "Paying without a commitment suits the spend with everything on Opus 4.5 as well as the routed spend: "
        "whether you route or sign first changes nothing about the commitment."
    )


def test_without_a_commitment_cheaper_is_not_read_as_none_is_cheaper():
    middle = record(Terms(START, "list", "payable", (Band("T2", Decimal(1_500_000), Decimal("0.12")),)))
    assert (middle.sizing.routing.signed_first, middle.sizing.routing.routed_first) == ("T2", "No commitment")
    assert routing_sentence(middle).endswith("but once work is routed paying without a commitment is cheaper.")


def test_the_same_band_either_way():
    low = record(Terms(START, "list", "payable", (Band("T1", Decimal(300_000), Decimal("0.06")),)))
    assert text_of(answer(low)).startswith("Commit $300,000 a year (T1). Expected bill ")
    assert routing_sentence(low).startswith(
        "T1 suits the spend with everything on Opus 4.5 as well as the routed spend"
    )


def test_a_negative_worth_is_not_sold_as_a_gain(kept: SizingRecord):
    routing = replace(kept.sizing.routing, value_usd=Decimal(-1_000), value_se_usd=Decimal(10))
    said = routing_sentence(replace(kept, sizing=replace(kept.sizing, routing=routing)))
    assert "would cost $1,000 a year less on average (standard error $10), but falls short" in said


def test_amounts_in_the_words_of_the_offer(kept: SizingRecord):
    assert stated(kept, "T1") == "$500,000"
    at_list = record(Terms(START, "discounted", "list", TERMS.bands), 100)
    assert stated(at_list, "T1") == "$500,000 at list prices ($470,000 payable)"
    assert dict(rules(at_list.terms))["Use beyond the commitment"] == "is billed at the same discount as covered use"
    assert dict(rules(kept.terms))["Commitments are stated as"] == "what is payable"


@pytest.mark.parametrize(
    ("discount", "words"), [("0.06", "6%"), ("0.060", "6%"), ("0.125", "12.5%"), ("0", "0%"), ("0.2", "20%")]
)
def test_a_discount_exactly_as_offered(discount: str, words: str):
    assert Band("T1", Decimal(1), Decimal(discount)).discount_words == words


@pytest.mark.parametrize(("value", "words"), [("1234.5", "$1,235"), ("-0.4", "$0"), ("-1500", "−$1,500"), ("0", "$0")])
def test_estimates_in_whole_dollars(value: str, words: str):
    assert usd(Decimal(value)) == words
