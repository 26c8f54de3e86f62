"""Price, volume and mix: docs/algorithms/spend-change.md, and that they sum for whatever happens."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from billing.core.effects import Effects, Item, effects, total

D = Decimal


def item(name, before, before_usd, after, after_usd, *, unit="token", each=None):
    return Item((name,), unit, before, D(before_usd), after, D(after_usd), None if each is None else D(each))


def told(row: Effects):
    return (row.change_usd, row.volume_usd, row.mix_usd, row.price_usd)


def test_the_worked_example():
    """100 M tokens on opus at 5 and 100 M on haiku at 1; then 90 and 210 M, opus down to 4."""
    opus = item("opus", 100_000_000, 500, 90_000_000, 360)
    haiku = item("haiku", 100_000_000, 100, 210_000_000, 210)
    rows = effects([opus, haiku])
    assert told(rows[0]) == (-140, 250, -300, -90)
    assert told(rows[1]) == (110, 50, 60, 0)
    assert told(total(rows)) == (-30, 300, -240, -90)


def test_a_new_model_is_mix_and_a_vanished_one_too():
    """sonnet replaces opus token by token: no volume, no price, all of it mix."""
    opus = item("opus", 100_000_000, 500, 0, 0)
    sonnet = item("sonnet", 0, 0, 100_000_000, 300, each="0.000003")
    rows = effects([opus, sonnet])
    assert told(rows[0]) == (-500, 0, -500, 0)
    assert told(rows[1]) == (300, 0, 300, 0)


def test_a_new_model_whose_price_fell_since():
    """Its list price was 4 in the period before: 100 of the 300 less are price."""
    sonnet = item("sonnet", 0, 0, 100_000_000, 300, each="0.000004")
    opus = item("opus", 100_000_000, 500, 0, 0)
    assert told(total(effects([opus, sonnet]))) == (-200, 0, -100, -100)


def test_from_nothing_everything_is_volume_and_to_nothing_too():
    assert told(total(effects([item("opus", 0, 0, 10, 7)]))) == (7, 7, 0, 0)
    assert told(total(effects([item("opus", 10, 7, 0, 0)]))) == (-7, -7, 0, 0)
    assert told(total(effects([]))) == (0, 0, 0, 0)


def test_searches_are_no_tokens():
    """Twice the searches are volume of searches; a million tokens beside them do not dilute it."""
    tokens = item("triage", 1_000_000, 5, 1_000_000, 5)
    searches = item("triage", 1_000, 10, 2_000, 20, unit="search")
    assert told(total(effects([tokens, searches]))) == (10, 10, 0, 0)


AMOUNT = st.decimals(0, 10**9, places=9, allow_nan=False)
UNITS = st.integers(0, 10**13)
ITEMS = st.lists(
    st.builds(
        lambda group, unit, q0, c0, q1, c1, each: Item(
            (group,), unit, q0, c0 if q0 else D(0), q1, c1 if q1 else D(0), each
        ),
        st.sampled_from("abcd"), st.sampled_from(["token", "search"]), UNITS, AMOUNT, UNITS, AMOUNT,
        st.none() | st.decimals(0, D("0.001"), places=15, allow_nan=False),
    ),
    max_size=12,
)  # fmt: skip


@given(ITEMS)
def test_the_effects_sum_to_the_change_exactly(items):
    rows = effects(items)
    for row in [*rows, total(rows)]:
        parts = Fraction(row.volume_usd) + Fraction(row.mix_usd) + Fraction(row.price_usd)
        assert parts == Fraction(row.after_usd) - Fraction(row.before_usd)
    whole = total(rows)
    assert Fraction(whole.before_usd) == sum(Fraction(one.before_usd) for one in items)
    assert Fraction(whole.after_usd) == sum(Fraction(one.after_usd) for one in items)


@given(ITEMS)
def test_where_nothing_changed_every_effect_is_zero(items):
    same = [
        Item(one.group, one.unit, one.before_units, one.before_usd, one.before_units, one.before_usd) for one in items
    ]
    assert all(told(row) == (0, 0, 0, 0) for row in effects(same))


@given(ITEMS, st.integers(2, 9))
def test_everything_times_n_is_volume_alone(items, n):
    grown = [
        Item(one.group, one.unit, one.before_units, one.before_usd, n * one.before_units, n * one.before_usd)
        for one in items
    ]
    for row in effects(grown):
        assert row.mix_usd == 0
        assert row.price_usd == 0
        assert row.volume_usd == (n - 1) * row.before_usd


@given(ITEMS)
def test_only_prices_changed_is_price_alone(items):
    dearer = [
        Item(one.group, one.unit, one.before_units, one.before_usd, one.before_units, 3 * one.before_usd)
        for one in items
    ]
    for row in effects(dearer):
        assert row.volume_usd == 0
        assert row.mix_usd == 0
        assert row.price_usd == 2 * row.before_usd
