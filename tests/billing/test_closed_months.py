"""A closed month keeps its prices for ever: what is approved later moves open months only (pricing.md)."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.core.closed_books import ClosedMonth, HistoryBook
from billing.core.pricebook import Price as ListPrice
from billing.core.pricebook import PriceBook, PriceKey, PriceNotFound
from billing.core.pricing import Pricer
from billing.models import BillingPeriod, Price
from billing.queries.price_effect import price_effect
from billing.queries.prices import list_price, price_book
from billing.queries.usage import cost_lines, priced_usage
from costgov.queries.spend import spend
from tests.billing.usage_rows import count_usage

D = Decimal
CLOSED_AT = datetime(2026, 11, 5, 9, tzinfo=UTC)
LATER = CLOSED_AT + timedelta(days=10)
OCTOBER, NOVEMBER, DECEMBER = date(2026, 10, 1), date(2026, 11, 1), date(2026, 12, 1)
KEY = PriceKey("m", "standard", "", "global", "standard")


def approved(usd, *, start=None, at=datetime(2026, 9, 1, tzinfo=UTC), kind="output", model="m"):
    return Price.objects.create(
        model=model, token_kind=kind, usd_per_unit=D(usd), valid_from=start, source="list", checked_on=date(2026, 9, 1),
        proposed_at=at, approved_at=at,
    )  # fmt: skip


def close(month=OCTOBER, at=CLOSED_AT):
    return BillingPeriod.objects.create(month=month, state="closed", prices_known_at=at, closed_at=at)


@pytest.fixture
def two_months(db):
    """A million output tokens on every day of October and November at 5 usd; October is closed on 5 November."""
    approved("5")
    for number in range(61):
        count_usage("m", OCTOBER + timedelta(days=number), output_tok=1_000_000)
    close()


def by_month():
    groups = priced_usage(start=OCTOBER, end=DECEMBER, by=("month",)).groups
    return {group.values[0]: (group.cost_usd, group.unpriced_tok) for group in groups}


def test_a_price_approved_after_closing_moves_open_months_only(two_months):
    """docs/algorithms/pricing.md: 4 from 16 October, approved on 15 November: October stays 155, November is 120."""
    assert by_month() == {"2026-10": (D(155), 0), "2026-11": (D(150), 0)}
    approved("4", start=date(2026, 10, 16), at=LATER)
    assert by_month() == {"2026-10": (D(155), 0), "2026-11": (D(120), 0)}
    assert spend(start=OCTOBER, end=DECEMBER, by=("model",)).total.cost_usd == D(275)
    assert spend(start=OCTOBER, end=DECEMBER, by=("day",)).total.cost_usd == D(275)


def test_the_same_approval_before_closing_counts(two_months):
    approved("4", start=date(2026, 10, 16), at=CLOSED_AT)
    assert by_month() == {"2026-10": (D(139), 0), "2026-11": (D(120), 0)}


def test_the_lines_of_a_closed_month_say_why_they_have_another_price(two_months):
    approved("4", start=date(2026, 10, 16), at=LATER)
    found = cost_lines(start=OCTOBER, end=DECEMBER)
    lines = sorted((line.first_day, line.usd_per_unit, line.cost_usd, line.assumptions) for line in found.lines)
    said = "October 2026 is closed: priced as approved until 2026-11-05 09:00 UTC; 4.00 was approved later"
    assert lines == [
        (OCTOBER, D(5), D(75), ()),
        (date(2026, 10, 16), D(5), D(80), (said,)),
        (NOVEMBER, D(4), D(120), ()),
    ]
    assert found.cost_usd == sum(line.cost_usd for line in found.lines) == D(275)


def test_a_price_that_came_too_late_leaves_its_closed_usage_unpriced_and_says_so(two_months):
    count_usage("new", date(2026, 10, 20), output_tok=500)
    count_usage("new", date(2026, 11, 20), output_tok=500)
    approved("8", model="new", at=LATER)
    usage = priced_usage(start=OCTOBER, end=DECEMBER, by=("month", "model"))
    costs = {group.values: (group.cost_usd, group.unpriced_tok) for group in usage.groups}
    assert costs["2026-10", "new"] == (D(0), 500) and costs["2026-11", "new"] == (D("0.004"), 0)
    (gap,) = usage.unpriced
    assert (gap.cause, gap.quantity, gap.last_day) == ("closed", 500, date(2026, 10, 20))
    assert "when October 2026 was closed; 8.00 was approved later" in gap.reason
    assert "adjustment" in gap.remedy


def test_the_preview_of_a_new_price_leaves_closed_months_alone(two_months):
    new = ListPrice("m", "output", D(4), "quote", date(2026, 11, 20), valid_from=date(2026, 10, 16))
    effect = price_effect(new=[new])
    assert effect is not None and (effect.cost_before_usd, effect.cost_after_usd) == (D(305), D(275))
    again = ListPrice("m", "output", D(3), "quote", date(2026, 11, 20), valid_from=date(2026, 10, 17))
    approved("4", start=date(2026, 10, 16), at=LATER)
    effect = price_effect(new=[again])
    assert effect is not None and (effect.cost_before_usd, effect.cost_after_usd) == (D(275), D(245))


def test_a_book_known_at_an_instant_is_that_of_the_approvals_until_then(two_months):
    late = approved("4", start=date(2026, 10, 16), at=LATER)
    approved_at = late.approved_at
    assert price_book(known_at=approved_at).prices == price_book().prices
    assert [price.usd_per_unit for price in price_book(known_at=approved_at - timedelta(microseconds=1)).prices] == [5]
    assert price_book(known_at=datetime(2026, 8, 1, tzinfo=UTC)).prices == ()
    assert priced_usage(start=OCTOBER, end=NOVEMBER, book=price_book(known_at=LATER)).groups[0].cost_usd == D(139)


def test_months_nothing_later_reaches_into_need_no_book_of_their_own(two_months):
    approved("4", start=NOVEMBER, at=LATER)
    assert [month.book for month in price_book().closed] == [None]
    assert price_book().change_days() == (NOVEMBER,)
    Price.objects.create(
        model="m", token_kind="output", usd_per_unit=D(3), valid_from=date(2026, 10, 2), source="proposed",
        checked_on=date(2026, 9, 1), proposed_at=LATER,
    )  # fmt: skip
    assert [month.book for month in price_book().closed] == [None]  # a proposal counts nowhere
    assert by_month()["2026-10"] == (D(155), 0)


DAYS = st.integers(0, 91).map(lambda n: date(2026, 9, 15) + timedelta(days=n))
ROWS = st.lists(
    st.tuples(st.one_of(st.none(), DAYS), st.integers(1, 9), st.integers(0, 40)),
    max_size=6, unique_by=lambda row: row[0],
)  # fmt: skip


@given(ROWS, st.integers(0, 40), st.integers(0, 40), DAYS)
@settings(max_examples=200, deadline=None)
def test_every_day_has_the_price_of_its_own_book(rows, closed_on, other_on, day):
    """Against the slow way: filter by approval, look up; with the price remembered between two days of change."""
    epoch = datetime(2026, 9, 1, tzinfo=UTC)
    known = {OCTOBER: epoch + timedelta(days=closed_on), NOVEMBER: epoch + timedelta(days=other_on)}

    def prices(until):
        return [
            ListPrice("m", "output", D(usd), "list", date(2026, 9, 1), valid_from=start)
            for start, usd, at in rows
            if until is None or epoch + timedelta(days=at) <= until
        ]

    ends = {OCTOBER: NOVEMBER, NOVEMBER: DECEMBER}
    book = HistoryBook(prices(None), [ClosedMonth(m, ends[m], at, PriceBook(prices(at))) for m, at in known.items()])
    pricer = Pricer(book)
    for on in (day, day + timedelta(days=1)):
        until = known.get(on.replace(day=1))
        begun = [row for row in prices(until) if row.valid_from is None or row.valid_from <= on]
        expected = max(begun, key=lambda row: row.valid_from or date.min).usd_per_unit if begun else None
        line = pricer.line(KEY, "output", 1_000_000, on)
        assert getattr(line, "cost_usd", None) == expected
        try:
            assert Fraction(book.lookup(KEY, "output", on).price.usd_per_unit) == expected
        except PriceNotFound:
            assert expected is None


def test_stored_prices_make_the_values_they_were_made_of(two_months):
    assert list_price(Price.objects.get()).usd_per_unit == D(5)
