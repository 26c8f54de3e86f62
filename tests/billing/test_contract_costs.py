"""Counted usage under approved contracts: totals, lines, and what the contract takes off a month."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from billing.models import BillingPeriod, Contract, DailyUsage
from billing.queries.contracts import contract_credits, contract_discounts, contract_terms, contracted_book
from billing.queries.usage import cost_lines, priced_usage
from tests.billing.test_closed_months import approved
from tests.billing.usage_rows import count_usage

pytestmark = pytest.mark.django_db
D = Decimal
AT = datetime(2026, 9, 15, tzinfo=UTC)
OCTOBER, NOVEMBER, DECEMBER = date(2026, 10, 1), date(2026, 11, 1), date(2026, 12, 1)


def agree(name="Acme", *, at=AT, percent="10", channel="anthropic", start=date(2026, 10, 16), **scope):
    row = Contract.objects.create(
        name=name, channel=channel, valid_from=start, source="order form", checked_on=date(2026, 9, 1),
        proposed_at=AT, approved_at=at,
    )  # fmt: skip
    row.rates.create(percent_off=D(percent), **scope)
    return row


@pytest.fixture
def usage(db):
    approved("5")
    approved("1", kind="uncached_input")
    for day in (OCTOBER, date(2026, 10, 16), NOVEMBER):
        count_usage("m", day, output_tok=1_000_000, uncached_input_tok=2_000_000)
    count_usage("m", NOVEMBER, output_tok=1_000_000, workspace="cloud")
    DailyUsage.objects.filter(workspace="cloud").update(channel="bedrock")


def test_the_discount_of_a_month_is_list_minus_contracted(usage):
    agree()
    at_list = priced_usage(start=OCTOBER, end=DECEMBER)
    under = priced_usage(start=OCTOBER, end=DECEMBER, book=contracted_book())
    found = contract_discounts(start=OCTOBER, end=DECEMBER)
    assert at_list.groups[0].cost_usd == sum(row.list_usd or 0 for row in found) == D(26)
    assert under.groups[0].cost_usd == sum(row.contracted_usd for row in found) == D("24.6")
    by = {(row.month.month, row.token_kind, row.contract): (row.list_usd, row.discount_usd) for row in found}
    assert by == {
        (10, "output", ""): (D(5), D(0)),
        (10, "output", "Acme"): (D(5), D("0.5")),
        (10, "uncached_input", ""): (D(2), D(0)),
        (10, "uncached_input", "Acme"): (D(2), D("0.2")),
        (11, "output", ""): (D(5), D(0)),  # another channel's usage
        (11, "output", "Acme"): (D(5), D("0.5")),
        (11, "uncached_input", "Acme"): (D(2), D("0.2")),
    }


def test_lines_name_the_contract_and_the_list_price(usage):
    agree()
    lines = cost_lines(start=NOVEMBER, end=DECEMBER, book=contracted_book()).lines
    said = sorted((line.terms, line.contract, line.list_usd_per_unit, line.cost_usd) for line in lines if line.contract)
    assert said == [
        ("10 % off the list price 1.00 under contract Acme", "Acme", D(1), D("1.8")),
        ("10 % off the list price 5.00 under contract Acme", "Acme", D(5), D("4.5")),
    ]
    assert cost_lines(start=NOVEMBER, end=DECEMBER).cost_usd == D(12)  # the list is the default


def test_only_approved_contracts_count_and_only_known_ones_in_a_closed_month(usage):
    agree(at=None)
    assert contract_terms() == () and contracted_book().by_channel is False
    Contract.objects.update(approved_at=datetime(2026, 11, 20, tzinfo=UTC))
    assert contract_terms(known_at=AT) == ()
    assert priced_usage(start=OCTOBER, end=NOVEMBER, book=contracted_book()).groups[0].cost_usd == D("13.3")
    closed = datetime(2026, 11, 5, tzinfo=UTC)
    BillingPeriod.objects.create(month=OCTOBER, state="closed", prices_known_at=closed, closed_at=closed)
    book = contracted_book()
    assert priced_usage(start=OCTOBER, end=NOVEMBER, book=book).groups[0].cost_usd == D(14)
    assert priced_usage(start=NOVEMBER, end=DECEMBER, book=book).groups[0].cost_usd == D("11.3")


def test_a_fixed_rate_where_the_list_has_no_price_has_no_discount(usage):
    row = agree()
    row.rates.create(model="x", token_kind="output", usd_per_unit=D(3))
    count_usage("x", NOVEMBER, output_tok=1_000_000)
    (found,) = [line for line in contract_discounts(start=NOVEMBER, end=DECEMBER) if line.model == "x"]
    assert (found.list_usd, found.discount_usd, found.contracted_usd) == (None, None, D(3))


def test_credits_are_drawn_by_what_the_contract_costs(usage):
    row = agree()
    row.credits.create(name="Launch", amount_usd=D("20"), valid_from=date(2026, 10, 16))
    (terms,) = contract_terms()
    uses = [(use.month.month, use.used_usd, use.left_usd) for use in contract_credits(contract=terms)]
    assert uses == [(10, D("13.30"), D("6.70")), (11, D("6.30"), D("0.40"))]  # not by usage through Bedrock
