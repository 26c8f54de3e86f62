"""Pricing of usage rows: worked numbers, assumptions, unpriced lines, and a slow independent price look-up."""

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core.money import MoneyError, round_usd
from billing.core.pricebook import BANDS_TOK, Price, PriceBook, PriceError, PriceKey, PriceNotFound
from billing.core.pricing import CostLine, Pricer, UnpricedLine, cost_formula, interval, plain_number, plain_price
from billing.core.usage import PRICED_KINDS, TOKEN_KINDS, TokenCounts

D = Decimal
CHECKED = date(2026, 11, 23)
DAY = date(2026, 11, 1)


def price(model, kind, usd, **facts):
    return Price(model, kind, D(usd), facts.pop("source", "test list"), CHECKED, **facts)


OPUS = [
    price("opus", "uncached_input", "5"),
    price("opus", "cache_read", "0.5"),
    price("opus", "cache_write_5m", "6.25"),
    price("opus", "cache_write_1h", "10"),
    price("opus", "output", "25"),
    price("opus", "web_search", "10"),
    price("opus", "output", "12.5", service_tier="batch"),
    price("opus", "output", "27.5", geo="us"),
    price("opus", "output", "50", speed="fast", valid_to=date(2026, 11, 30)),
]
HAIKU = [
    price("haiku", "output", "0.5", prompt_length_band="0-100k"),
    price("haiku", "output", "2.5", prompt_length_band="100k-1M"),
    price("haiku", "cache_read", "0.3", prompt_length_band="0-100k"),
    price("haiku", "cache_read", "0.3", prompt_length_band="100k-1M"),
]
PRICER = Pricer(PriceBook([*OPUS, *HAIKU]))


def cost(key, kind, units, on, pricer=PRICER) -> CostLine:
    line = pricer.line(key, kind, units, on)
    assert isinstance(line, CostLine), line
    return line


def gap(key, kind, units, on, pricer=PRICER) -> UnpricedLine:
    line = pricer.line(key, kind, units, on)
    assert isinstance(line, UnpricedLine), line
    return line


def test_a_row_costs_the_sum_of_its_lines():
    """docs/algorithms/pricing.md, "A row": 8.8 usd exactly."""
    counts = TokenCounts(
        uncached_input_tok=400_000,
        cache_read_tok=3_000_000,
        cache_write_5m_tok=160_000,
        cache_write_1h_tok=50_000,
        output_tok=112_000,
        web_searches=100,
    )
    row = PRICER.row(PriceKey("opus", "standard", "0-100k", "global", "standard"), counts, DAY)
    assert [(line.kind, line.cost_usd) for line in row.lines] == [
        ("uncached_input", D("2")),
        ("cache_read", D("1.5")),
        ("cache_write_5m", D("1")),
        ("cache_write_1h", D("0.5")),
        ("output", D("2.8")),
        ("web_search", D("1")),
    ]
    assert row.cost_usd == D("8.8")
    assert row.unpriced == () and row.unpriced_tok == 0


def test_a_line_explains_itself():
    (line,) = PRICER.row(PriceKey("opus"), TokenCounts(output_tok=1_234_567), DAY).lines
    assert line.formula == "1,234,567 × 25.00 / 1,000,000 = 30.864175"
    assert line.unit == "usd per million tokens"
    assert (line.price.source, line.price.checked_on) == ("test list", CHECKED)
    assert line.assumptions == (
        "inference geo unknown: global list price",
        "speed unknown: taken as standard",
    )


def test_the_golden_lines_in_words():
    assert cost_formula(1_234_567, price("m", "output", "0.30")) == "1,234,567 × 0.30 / 1,000,000 = 0.3703701"
    assert (
        cost_formula(987_654_321, price("m", "output", "18.75")) == "987,654,321 × 18.75 / 1,000,000 = 18,518.51851875"
    )
    assert cost_formula(3, price("m", "web_search", "10")) == "3 × 10.00 / 1,000 = 0.03"
    assert [plain_price(D(text)) for text in ("3", "0.125", "18.750000000", "0.000000001")] == [
        "3.00", "0.125", "18.75", "0.000000001",
    ]  # fmt: skip
    assert plain_number(D("120.500")) == "120.5" and plain_number(D("0.000")) == "0"


@pytest.mark.parametrize(
    ("key", "usd"),
    [
        (PriceKey("opus", "batch", "0-100k", "global", "standard"), "12.5"),
        (PriceKey("opus", "standard", "200k-1M", "us", "standard"), "27.5"),
        (PriceKey("opus", "standard", "0-100k", "global", "fast"), "50"),
        (PriceKey("haiku", "standard", "0-100k", "global", "standard"), "0.5"),
        (PriceKey("haiku", "standard", "100k-200k", "global", "standard"), "2.5"),
        (PriceKey("haiku", "standard", "200k-1M", "global", "standard"), "2.5"),
    ],
)
def test_tier_geo_speed_and_band_choose_the_price(key, usd):
    line = cost(key, "output", 1_000_000, DAY)
    assert line.cost_usd == D(usd) and line.assumptions == ()


@pytest.mark.parametrize(
    ("key", "cause", "reason", "remedy"),
    [
        (PriceKey("lab-model-2"), "model", "model lab-model-2 has no prices", "alias"),
        (PriceKey(""), "data", "names no model", "grouped by model"),
        (
            PriceKey("opus", "batch", "0-100k", "us"),
            "price",
            "no price for this tier, geo and speed",
            "Add a dated price",
        ),
        (PriceKey("opus", "priority"), "price", "service tier priority has no list price", "contract"),
        (PriceKey("opus", "batch", "all", "global", "fast"), "contradiction", "cannot be combined", "Check"),
        (PriceKey("opus", "standard", "300k"), "contradiction", "is none of", "Correct the import"),
    ],
)
def test_usage_without_a_price_is_never_zero(key, cause, reason, remedy):
    row = PRICER.row(key, TokenCounts(output_tok=700), DAY)
    assert row.lines == () and row.unpriced_tok == 700
    (line,) = row.unpriced
    assert line.cause == cause and reason in line.reason and remedy in line.remedy
    assert (line.lowest_usd, line.highest_usd) == (None, None)
    assert not hasattr(line, "cost_usd")


def test_an_unknown_prompt_length_gives_the_interval_of_costs():
    for band in ("", "(not grouped)", "0-200k"):
        (line,) = PRICER.row(PriceKey("haiku", "standard", band), TokenCounts(output_tok=2_000_000), DAY).unpriced
        assert (line.lowest_usd, line.highest_usd) == (D("1"), D("5"))
        assert line.cause == "data" and "prompt length" in line.reason
    both = [line, gap(PriceKey("haiku", "standard", ""), "output", 1_000_000, DAY)]
    assert interval(both) == (D("1.5"), D("7.5"))
    assert interval([*both, gap(PriceKey("nobody"), "output", 1, DAY)]) is None


def test_an_unknown_prompt_length_with_one_price_is_priced_and_says_so():
    line = cost(PriceKey("haiku", "standard", "", "global", "standard"), "cache_read", 1_000_000, DAY)
    assert line.cost_usd == D("0.3")
    assert line.assumptions == ("prompt-length band unknown: every price known on that day is the same",)


def test_an_unknown_prompt_length_is_no_guess_where_a_length_has_no_price():
    short = price("m", "output", "15", prompt_length_band="0-200k")
    for day in (date(2026, 4, 29), date(2026, 5, 1)):
        with pytest.raises(PriceNotFound, match="nobody has said a price for prompts above 200,000 tokens") as found:
            PriceBook([short]).lookup(PriceKey("m"), "output", day)
        assert found.value.prices == ()
    long = price("m", "output", "22.5", prompt_length_band="200k-1M", valid_to=date(2026, 4, 30))
    book = PriceBook([short, long])
    with pytest.raises(PriceNotFound, match="depends on the prompt length") as found:
        book.lookup(PriceKey("m"), "output", date(2026, 4, 29))
    assert sorted(found.value.prices) == [D("15"), D("22.5")]
    # Such prompts were sold until then, and are no more: what is left is short.
    assert book.lookup(PriceKey("m"), "output", date(2026, 4, 30)).price == short
    assert PriceBook([short]).lookup(PriceKey("m", prompt_length_band="0-200k"), "output", DAY).price == short


def test_a_price_ends_on_its_day():
    key = PriceKey("opus", "standard", "0-100k", "global", "fast")
    assert cost(key, "output", 1_000_000, date(2026, 11, 29)).cost_usd == 50
    assert gap(key, "output", 1_000_000, date(2026, 11, 30)).reason == "its prices do not hold on that day"


def test_a_later_price_replaces_the_earlier_even_after_it_ended():
    book = PriceBook([
        price("m", "output", "15"),
        price("m", "output", "12", valid_from=date(2026, 3, 1), valid_to=date(2026, 4, 1)),
    ])  # fmt: skip
    days = {date(2026, 2, 28): D("15"), date(2026, 3, 1): D("12"), date(2026, 3, 31): D("12")}
    for day, usd in days.items():
        assert book.lookup(PriceKey("m"), "output", day).price.usd_per_unit == usd
    with pytest.raises(PriceNotFound, match="do not hold on that day"):
        book.lookup(PriceKey("m"), "output", date(2026, 4, 1))


def test_names_are_never_matched_by_their_beginning():
    with pytest.raises(PriceNotFound, match="has no prices"):
        PriceBook(OPUS).lookup(PriceKey("opus-5"), "output", DAY)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"usd_per_unit": D("-1")}, "not a price"),
        ({"usd_per_unit": D("0.0000000001")}, "places"),
        ({"usd_per_unit": D("1e9")}, "below"),
        ({"token_kind": "input"}, "unknown token kind"),
        ({"prompt_length_band": "0-50k"}, "unknown band"),
        ({"source": ""}, "needs its source"),
        ({"valid_from": DAY, "valid_to": DAY}, "starts 2026-11-01, but ends 2026-11-01"),
    ],
)
def test_a_row_that_is_no_price_is_refused(facts, words):
    values = {"model": "m", "token_kind": "output", "usd_per_unit": D("1"), "source": "x", "checked_on": CHECKED}
    with pytest.raises(PriceError, match=words):
        Price(**{**values, **facts})


def test_two_prices_of_one_start_are_refused_with_both_numbers():
    with pytest.raises(PriceError, match=r"two prices .* 15 .* 12 .*keep one"):
        PriceBook([price("m", "output", "15"), price("m", "output", "12", source="b")])


@pytest.mark.parametrize("units", [-1, 1.5])
def test_a_count_that_is_none_is_refused(units):
    with pytest.raises(MoneyError):
        PRICER.line(PriceKey("opus"), "output", units, DAY)


def test_a_change_in_the_middle_of_a_period_prices_each_day_right():
    pricer = Pricer(PriceBook([price("m", "output", "5"), price("m", "output", "4", valid_from=date(2026, 10, 16))]))
    costs = [cost(PriceKey("m"), "output", 1_000_000, date(2026, 10, day), pricer).cost_usd for day in range(1, 32)]
    assert costs == [5] * 15 + [4] * 16
    assert sum(costs) == 139


def test_rounding_happens_once_at_the_end():
    pricer = Pricer(PriceBook([price("m", "output", "0.125"), price("n", "output", "0.135")]))
    assert round_usd(cost(PriceKey("m"), "output", 1_000_000, DAY, pricer).cost_usd) == D("0.13")
    assert round_usd(cost(PriceKey("n"), "output", 1_000_000, DAY, pricer).cost_usd) == D("0.14")


# ---- The slow oracle: tries every prompt length, knows no slots, segments or memory --------------------------------

LENGTHS_OF_BAND = {
    "0-100k": (1, 100_000),
    "100k-200k": (100_001, 200_000),
    "200k-1M": (200_001, 10**6),
    "0-200k": (1, 100_000, 100_001, 200_000),
    "100k-1M": (100_001, 200_000, 200_001, 10**6),
    "": (1, 100_000, 100_001, 200_000, 200_001, 10**6),
    "(not grouped)": (1, 100_000, 100_001, 200_000, 200_001, 10**6),
}
EDGES = {"all": (0, 10**9), "0-100k": (0, 100_000), "100k-200k": (100_000, 200_000), "0-200k": (0, 200_000),
         "100k-1M": (100_000, 10**9), "200k-1M": (200_000, 10**9)}  # fmt: skip
UNTOLD_TEXTS = {"", "(not grouped)"}


def slow_price_of_length(rows, wanted, length, on):
    """The price of one prompt: among begun rows that hold the length the latest, then the narrowest; unless ended.

    "never" where none has begun.
    """
    fitting = []
    for row in rows:
        low, high = EDGES[row.prompt_length_band]
        if (row.model, row.token_kind, row.service_tier, row.geo, row.speed) != wanted or not low < length <= high:
            continue
        if row.valid_from is None or row.valid_from <= on:
            fitting.append(((row.valid_from or date.min).toordinal(), low - high, row))
    if not fitting:
        return "never"
    row = max(fitting, key=lambda item: item[:2])[2]
    return row.usd_per_unit if row.valid_to is None or on < row.valid_to else None


def slow_costs(rows, key, kind, units, on):
    """Every possible cost of the units as a fraction, and whether some possible prompt has no price."""
    tier = "standard" if key.service_tier in UNTOLD_TEXTS else key.service_tier
    geo = "global" if key.geo in UNTOLD_TEXTS | {"not_available", "(none)"} else key.geo
    speed = "standard" if key.speed in UNTOLD_TEXTS else key.speed
    prices = [
        slow_price_of_length(rows, (key.model, kind, tier, geo, speed), length, on)
        for length in LENGTHS_OF_BAND[key.prompt_length_band]
    ]
    known = {Fraction(price) for price in prices if price not in (None, "never")}
    if key.prompt_length_band in UNTOLD_TEXTS and "never" in prices:
        known = set()  # some possible price is nobody's guess
    return {Fraction(units) * price / 10**6 for price in known}, None in prices or "never" in prices


DAYS = st.integers(0, 9).map(lambda n: date(2026, 3, 1) + timedelta(days=n))


@st.composite
def price_rows(draw):
    rows: dict[tuple[object, ...], Price] = {}
    for _ in range(draw(st.integers(1, 14))):
        start = draw(st.none() | DAYS)
        length = draw(st.none() | st.integers(1, 5))
        row = Price(
            draw(st.sampled_from(["a", "b"])),
            draw(st.sampled_from(["output", "cache_read"])),
            draw(st.decimals(0, 100, places=3)),
            "drawn",
            CHECKED,
            service_tier=draw(st.sampled_from(["standard", "standard", "batch"])),
            prompt_length_band=draw(st.sampled_from(sorted(BANDS_TOK))),
            geo=draw(st.sampled_from(["global", "global", "us"])),
            speed=draw(st.sampled_from(["standard", "standard", "fast"])),
            valid_from=start,
            valid_to=None if length is None else (start or date(2026, 3, 1)) + timedelta(days=length),
        )
        key = (row.model, row.token_kind, row.service_tier, row.prompt_length_band, row.geo, row.speed, row.valid_from)
        rows.setdefault(key, row)
    return list(rows.values())


KEYS = st.builds(
    PriceKey,
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["standard", "standard", "batch", "", "(not grouped)"]),
    st.sampled_from(sorted(LENGTHS_OF_BAND)),
    st.sampled_from(["global", "us", "", "not_available"]),
    st.sampled_from(["standard", "fast", ""]),
)


@given(price_rows(), st.lists(st.tuples(KEYS, st.integers(1, 10**9), DAYS), min_size=1, max_size=8))
def test_every_row_costs_what_the_slow_look_up_says(rows, usage):
    pricer = Pricer(PriceBook(rows))
    for key, units, on in usage:
        for kind in ("output", "cache_read"):
            costs, has_gap = slow_costs(rows, key, kind, units, on)
            told = key.prompt_length_band not in UNTOLD_TEXTS
            if len(costs) == 1 and not (told and has_gap):
                assert Fraction(cost(key, kind, units, on, pricer).cost_usd) == costs.pop()
                continue
            line = gap(key, kind, units, on, pricer)
            assert line.units == units and line.reason and line.remedy
            if len(costs) > 1 and not (told and has_gap):
                assert line.lowest_usd is not None and line.highest_usd is not None
                assert (Fraction(line.lowest_usd), Fraction(line.highest_usd)) == (min(costs), max(costs))
            else:
                assert (line.lowest_usd, line.highest_usd) == (None, None)


@given(price_rows(), KEYS, st.lists(DAYS, min_size=2, max_size=2))
def test_between_two_days_of_change_nothing_changes(rows, key, days):
    book = PriceBook(rows)
    first, last = sorted(days)
    if any(first < day <= last for day in book.change_days()):
        return

    def answer(on):
        try:
            found = book.lookup(key, "output", on)
        except PriceNotFound as error:
            return error.reason, error.prices
        return found

    assert answer(first) == answer(last)


def test_every_kind_has_a_counter():
    assert set(TOKEN_KINDS) < set(PRICED_KINDS)
    counts = TokenCounts.of(**{kind: i for i, kind in enumerate(PRICED_KINDS, 1)})
    assert [counts.count(kind) for kind in PRICED_KINDS] == [1, 2, 3, 4, 5, 6]
