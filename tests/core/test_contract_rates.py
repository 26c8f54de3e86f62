"""Contracts over the list: which rate holds, what it makes of the price, and where the price says it comes from."""

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.core.closed_books import ClosedMonth, HistoryBook
from billing.core.contracts import ContractTerms, Credit, contracted, credit_use
from billing.core.overlays import Change, Overlay, OverlayBook
from billing.core.pricebook import Price, PriceBook, PriceError, PriceKey, PriceNotFound
from billing.core.pricing import CostLine, Pricer

D = Decimal
START, DAY = date(2026, 7, 1), date(2026, 10, 10)


def price(usd, kind="output", *, model="m", **facts):
    return Price(model, kind, D(usd), "list page", date(2026, 6, 1), **facts)


def off(percent, **scope):
    return Change(percent=-D(percent), **scope)


def fixed(usd, kind="output", **scope):
    return Change(usd_per_unit=D(usd), token_kind=kind, **scope)


def contract(*rates, name="Acme", start=START, end=None, channel="anthropic", known_at=None):
    return ContractTerms(name, channel, start, end, rates, known_at=known_at)


LIST = PriceBook(
    [
        price("5"),
        price("2.5", service_tier="batch"),
        price("1", "uncached_input"),
        price("5.5", geo="us"),
        price("10", speed="fast"),
        price("10", "web_search"),
        price("8", model="n"),
        price("0.5", model="h", prompt_length_band="0-100k"),
        price("2.5", model="h", prompt_length_band="100k-1M"),
    ]
)


def line_of(book, key, kind, units, on):
    """A priced or an unpriced line: the test says which by what it reads."""
    return Pricer(book).line(key, kind, units, on)


def found(book, kind="output", on=DAY, **key):
    return book.lookup(PriceKey(**{"model": "m", "geo": "global", "speed": "standard", **key}), kind, on).price


def usd(book, kind="output", on=DAY, **key):
    return found(book, kind, on, **key).usd_per_unit


def test_ten_percent_off_says_of_what_and_under_which_contract():
    """docs/algorithms/pricing.md, "Contracts": 1,234,567 tokens at 5 less 10 % cost 5.5555515."""
    book = contracted(LIST, [contract(off("10"))])
    line = line_of(book, PriceKey("m", geo="global", speed="standard"), "output", 1_234_567, DAY)
    assert (line.price.usd_per_unit, line.cost_usd) == (D("4.5"), D("5.5555515"))
    assert line.price.terms == "10 % off the list price 5.00 under contract Acme"
    assert (line.price.contract, line.price.list_usd_per_unit, line.price.source) == ("Acme", D(5), "list page")
    assert line.formula == "1,234,567 × 4.50 / 1,000,000 = 5.5555515"


def test_the_most_specific_rate_wins():
    """The table of docs/algorithms/pricing.md, "Contracts"."""
    book = contracted(
        LIST,
        [
            contract(
                off("10"),
                off("12", token_kind="output"),
                off("15", service_tier="batch"),
                off("20", model="m"),
                fixed("4.2", model="m"),
                off("30", token_kind="tokens"),
            )
        ],
    )
    assert usd(book) == D("4.2")  # the model's own fixed price
    assert usd(book, service_tier="batch") == D("4.2")  # model and kind outweigh the tier
    assert usd(book, "uncached_input") == D("0.8")  # the model's percentage
    assert usd(book, model="n") == D("7.04")  # of two for every model the one that names the kind
    assert usd(book, "web_search", model="m") == D("8")
    book = contracted(LIST, [contract(off("10"), off("30", token_kind="tokens"))])
    assert (usd(book), usd(book, "web_search")) == (D("3.5"), D("9"))


def test_a_fixed_price_says_nothing_of_us_inference_and_fast_mode():
    book = contracted(LIST, [contract(off("10"), fixed("4", model="m"))])
    assert usd(book) == D(4) and usd(book, geo="us") == D("4.95") and usd(book, speed="fast") == D(9)
    assert usd(contracted(LIST, [contract(fixed("4", model="m"))]), geo="us") == D("5.5")
    assert usd(book, geo="", speed="") == D(4)  # what the usage does not tell is taken as usual, and said
    assert len(book.lookup(PriceKey("m"), "output", DAY).assumptions) == 2


def test_rates_hold_within_the_days_of_their_contract():
    rate = off("10", valid_from=date(2026, 1, 1), valid_to=date(2026, 12, 1))
    book = contracted(LIST, [contract(rate, end=date(2026, 11, 1))])
    days = [date(2026, 6, 30), START, date(2026, 10, 31), date(2026, 11, 1)]
    assert [usd(book, on=day) for day in days] == [D(5), D("4.5"), D("4.5"), D(5)]
    assert book.change_days() == (START, date(2026, 11, 1))
    assert found(book, on=date(2026, 6, 30)).terms == ""
    gone = contract(off("10", valid_from=date(2027, 1, 1)), end=date(2026, 11, 1))
    assert contracted(LIST, [gone]).change_days() == ()


def test_of_equals_the_later_start_wins_and_then_the_later_contract():
    first = contract(off("10"), off("20", valid_from=date(2026, 9, 1)))
    second = contract(off("25"), name="Newer", start=date(2026, 10, 1))
    book = contracted(LIST, [second, first])
    days = [date(2026, 8, 31), date(2026, 9, 1), date(2026, 9, 30), date(2026, 10, 1)]
    assert [usd(book, on=day) for day in days] == [D("4.5"), D(4), D(4), D("3.75")]
    same = contract(off("50"), name="Zeta")
    assert found(contracted(LIST, [same, contract(off("10"))])).contract == "Zeta"


def test_a_contract_is_for_the_usage_of_its_channel():
    book = contracted(LIST, [contract(off("10"), channel="bedrock")])
    assert book.by_channel
    assert usd(book) == usd(book, channel="anthropic") == D(5) and usd(book, channel="bedrock") == D("4.5")
    assert usd(contracted(LIST, [contract(off("10"), channel="")]), channel="vertex") == D("4.5")


def test_a_percentage_scales_the_interval_of_an_unseen_prompt_length():
    book = contracted(LIST, [contract(off("10"))])
    line = line_of(book, PriceKey("h", geo="global", speed="standard"), "output", 2_000_000, DAY)
    assert (line.lowest_usd, line.highest_usd, line.cause) == (D("0.9"), D("4.5"), "data")


def test_a_fixed_price_ends_the_question_of_prompt_length_and_prices_what_the_list_does_not():
    book = contracted(LIST, [contract(fixed("1", model="h"), fixed("3", model="m", service_tier="priority"))])
    assert (usd(book, model="h"), found(book, model="h").terms) == (
        D(1),
        "fixed at 1.00 under contract Acme; the list has no price of its own",
    )
    priority = found(book, service_tier="priority")
    assert (priority.usd_per_unit, priority.service_tier, priority.source) == (D(3), "priority", "contract Acme")
    assert priority.list_usd_per_unit is None
    with pytest.raises(PriceNotFound):
        usd(book, "uncached_input", service_tier="priority")
    with pytest.raises(PriceNotFound, match="cannot be combined"):
        usd(contracted(LIST, [contract(fixed("1", model="m"))]), service_tier="batch", speed="fast")


def test_a_closed_month_knows_only_contracts_approved_before_it_was_closed():
    month = ClosedMonth(date(2026, 10, 1), date(2026, 11, 1), datetime(2026, 11, 5, tzinfo=UTC))
    book = HistoryBook(LIST.prices, [month])
    early = contract(off("10"), known_at=datetime(2026, 11, 5, tzinfo=UTC))
    late = contract(off("20", model="m"), name="Late", known_at=datetime(2026, 11, 6, tzinfo=UTC))
    both = contracted(book, [early, late])
    assert [usd(both, on=day) for day in (date(2026, 9, 30), DAY, date(2026, 11, 1))] == [D(4), D("4.5"), D(4)]
    (said,) = both.lookup(PriceKey("m", geo="global", speed="standard"), "output", DAY).assumptions
    assert said == (
        "October 2026 is closed: priced as approved until 2026-11-05 00:00 UTC; what holds under contract Late was "
        "approved later"
    )
    pricer = Pricer(both)
    key = PriceKey("m", geo="global", speed="standard")
    for day, cost in ((date(2026, 9, 30), 4), (DAY, D("4.5")), (date(2026, 11, 1), 4)):
        line = pricer.line(key, "output", 1_000_000, day)
        assert isinstance(line, CostLine) and line.cost_usd == cost


def test_more_list_prices_under_the_same_contract():
    book = contracted(LIST, [contract(off("10"))]).with_prices([price("4", valid_from=DAY)])
    assert (usd(book, on=date(2026, 10, 9)), usd(book)) == (D("4.5"), D("3.6"))


def test_a_scenario_changes_the_list_and_the_contract_is_laid_over_it():
    whatif = OverlayBook(LIST, [Overlay("in scenario Dearer", (Change(percent=D(20)),))])
    book = contracted(whatif, [contract(off("10"))])
    assert usd(book) == D("5.4")
    assert found(book).terms == (
        "10 % off the list price 6.00 under contract Acme; 20 % on top of the list price 5.00 in scenario Dearer"
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "either a percentage or a fixed price"),
        ({"percent": D(-10), "usd_per_unit": D(1), "token_kind": "output"}, "not both"),
        ({"percent": D("-100.5")}, "not a percentage"),
        ({"percent": D("1.2345678")}, "at most six places"),
        ({"percent": D("nan")}, "not a percentage"),
        ({"usd_per_unit": D(1)}, "name the kind"),
        ({"usd_per_unit": D("-1"), "token_kind": "output"}, "not a price"),
        ({"usd_per_unit": D("0.1234567891"), "token_kind": "output"}, "not a price"),
        ({"percent": D(1), "token_kind": "input"}, "unknown token kind"),
        ({"percent": D(1), "valid_from": DAY, "valid_to": DAY}, "ends"),
    ],
)
def test_a_change_that_cannot_be_is_refused(values, said):
    with pytest.raises(PriceError, match=said):
        Change(**values)


def test_two_rates_of_one_scope_and_start_are_refused():
    with pytest.raises(PriceError, match="two rates for m, output, every tier"):
        contract(off("10", model="m", token_kind="output"), off("20", model="m", token_kind="output"))


PERCENTS = st.decimals(D(0), D(100), places=6)
PRICES = st.decimals(D(0), D(1000), places=9)


@given(PRICES, PERCENTS, st.integers(0, 10**13))
@settings(max_examples=300, deadline=None)
def test_a_percentage_is_exact_to_the_last_digit(usd_per_unit, percent, units):
    book = contracted(PriceBook([price(usd_per_unit)]), [contract(off(percent))])
    line = line_of(book, PriceKey("m", geo="global", speed="standard"), "output", units, DAY)
    expected = Fraction(usd_per_unit) * (100 - Fraction(percent)) / 100
    assert Fraction(line.price.usd_per_unit) == expected
    assert Fraction(line.cost_usd) == units * expected / 10**6


RATES = st.builds(
    Change,
    percent=st.integers(-90, -1).map(Decimal),
    model=st.sampled_from(["", "m", "n"]),
    token_kind=st.sampled_from(["", "tokens", "output", "uncached_input"]),
    service_tier=st.sampled_from(["", "standard", "batch"]),
    valid_from=st.sampled_from([None, date(2026, 8, 1), date(2026, 10, 1)]),
    valid_to=st.sampled_from([None, date(2026, 11, 1)]),
)


@given(st.lists(RATES, max_size=8, unique_by=lambda r: (r.model, r.token_kind, r.service_tier, r.valid_from)),
       st.sampled_from(["m", "n"]), st.sampled_from(["output", "uncached_input", "web_search"]),
       st.sampled_from(["standard", "batch"]), st.dates(date(2026, 6, 1), date(2026, 12, 1)))  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_the_rate_is_that_of_the_plain_rule(rates, model, kind, tier, on):
    """Oracle: go through model, tier, kind from the most to the least specific; take the latest start that holds."""
    book = contracted(
        PriceBook([price(100, k, model=m, service_tier=t) for m in "mn" for k in ("output", "uncached_input")
                   for t in ("standard", "batch")] + [price(100, "web_search", model=m) for m in "mn"]),
        [contract(*rates, start=date(2026, 7, 1))],
    )  # fmt: skip
    expected = D(100)
    asked_tier = "standard" if kind == "web_search" else tier
    kinds = [kind, "tokens", ""] if kind != "web_search" else ["web_search", ""]
    order = [(m, t, k) for m in (model, "") for t in (asked_tier, "") for k in kinds]
    for m, t, k in order:
        holding = [
            r for r in rates
            if (r.model, r.service_tier, r.token_kind) == (m, t, k) and on >= date(2026, 7, 1)
            and (r.valid_from is None or r.valid_from <= on) and (r.valid_to is None or on < r.valid_to)
        ]  # fmt: skip
        if holding:
            expected += max(holding, key=lambda r: r.valid_from or date.min).percent
            break
    assert usd(book, kind, on=on, model=model, service_tier=tier) == expected
    assert line_of(book, PriceKey(model, tier), kind, 7, on).price.usd_per_unit == expected


def test_credits_are_used_up_the_one_that_ends_first_first():
    """docs/algorithms/pricing.md, "Credits": 1,000 usd and 500 usd against 600, 300 and 900."""
    months = [date(2026, 10, 1), date(2026, 11, 1), date(2026, 12, 1)]
    ends = dict(zip(months, [*months[1:], date(2027, 1, 1)], strict=True))
    credits = [Credit("Launch", D(1000), date(2026, 10, 1)), Credit("Q4", D(500), date(2026, 11, 1), date(2026, 12, 1))]
    spend = dict(zip(months, [D("600.004"), D(300), D(900)], strict=True))
    uses = [(use.credit.name, use.month.month, use.used_usd, use.left_usd) for use in credit_use(credits, spend, ends)]
    assert uses == [
        ("Launch", 10, D("600.00"), D("400.00")),
        ("Q4", 11, D("300"), D("200")),
        ("Launch", 12, D("400.00"), D("0.00")),
    ]
    assert credit_use(credits, {months[0]: D(-5)}, ends) == []
