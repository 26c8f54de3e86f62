"""20,000 generated usages of every shipped model cost what a slow oracle says, to the last femto-dollar.

Drawn at random with a fixed seed per model: days around every change of a price, prompt lengths around every edge, each
service tier, geo and speed the data may state or leave out, counts from 0 to the largest a database row holds.
"""

import decimal
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import pytest

from billing.core.pricebook import PriceBook, PriceKey
from billing.core.pricing import Pricer
from billing.core.usage import BAND_EDGES_TOK, MAX_COUNT, PRICED_KINDS, TokenCounts, prompt_length_band
from billing.core.usage_table import TooLarge, UsageTable, costs_of, widened
from billing.importers.price_csv import PriceCsv
from tests.core import price_oracle as oracle

USAGES = 20_000
TIERS = ("standard", "batch", "priority", "", "(not grouped)")
GEOS = ("global", "us", "not_available", "", "(not grouped)", "(none)")
SPEEDS = ("standard", "fast", "", "(not grouped)")
STATED_BANDS = (*oracle.BANDS, "", "(not grouped)")
KEYS = [(tier, geo, speed) for tier in TIERS for geo in GEOS for speed in SPEEDS]
# What the data of a real organisation states most of the time.
USUAL_KEYS = [("standard", "global", "standard"), ("batch", "global", "standard"), ("standard", "us", "standard"),
              ("batch", "us", "standard"), ("standard", "global", "fast"), ("standard", "", "")]  # fmt: skip
DAYS = tuple(
    sorted(
        {date.fromisoformat(day) + timedelta(days=n) for day in oracle.CHANGE_DAYS for n in (-1, 0, 1)}
        | {date(2024, 2, 29), date(2025, 12, 31), date(2026, 11, 24), date(2027, 6, 1)}
    )
)
EDGE_COUNTS = (0, 0, 0, 1, 2, 999, *(edge + n for edge in BAND_EDGES_TOK for n in (-1, 0, 1)), 10**12 - 1, MAX_COUNT)


@pytest.fixture(scope="module")
def pricer():
    rows = PriceCsv().read(oracle.LIST, file_name=oracle.LIST.name, canonical=lambda name: name, checked_on=date.min)
    return Pricer(PriceBook(rows))


def generated(model, count=USAGES, largest=MAX_COUNT):
    """(key, counts, day, whole prompt or None where only the band is told) of `count` usages."""
    rng = np.random.default_rng([oracle.MODELS.index(model), count])
    sizes = np.exp(rng.uniform(0, np.log(3e5), (count, 6))).astype(np.int64)
    edges = np.array([min(number, largest) for number in EDGE_COUNTS], dtype=np.int64)
    counts = np.where(rng.random((count, 6)) < 0.4, rng.choice(edges, (count, 6)), sizes)
    is_request = rng.random(count) < 0.5
    usual = rng.random(count) < 0.7
    which, usual_which = rng.integers(0, len(KEYS), count), rng.integers(0, len(USUAL_KEYS), count)
    bands, days = rng.integers(0, len(STATED_BANDS), count), rng.integers(0, len(DAYS), count)
    # Half of the requests lie within a token of an edge, whatever their parts.
    at_edge = is_request & (rng.random(count) < 0.5)
    wanted = rng.choice(np.array(BAND_EDGES_TOK), count) + rng.integers(-1, 2, count)
    small = np.minimum(counts[:, :3], 20_000)
    counts[at_edge, :3] = small[at_edge]
    counts[at_edge, 3] = (wanted - small.sum(axis=1))[at_edge]
    for i, parts in enumerate(counts.tolist()):
        tier, geo, speed = USUAL_KEYS[usual_which[i]] if usual[i] else KEYS[which[i]]
        prompt = sum(parts[:4]) if is_request[i] else None
        band = prompt_length_band(prompt) if prompt is not None else STATED_BANDS[bands[i]]
        yield (tier, band, geo, speed), parts, DAYS[days[i]], prompt


@pytest.fixture(autouse=True)
def no_digit_lost():
    """Moving the point of a long number must not round it: Python's usual context has only 28 digits."""
    exact = decimal.Context(prec=60, traps=[decimal.Inexact, decimal.InvalidOperation])
    with decimal.localcontext(exact):
        yield


possible_prices = lru_cache(maxsize=None)(oracle.unit_prices)


def length_class(prompt):
    """A prompt length that every band treats like this one, so that answers can be remembered."""
    return prompt if prompt is None else next(probe for probe in oracle.PROBES if prompt <= probe)


@pytest.mark.parametrize("model", oracle.MODELS)
def test_every_line_costs_what_the_oracle_says(model, pricer):
    """Row by row with its explanation, and all rows in columns as the pages sum them: the same prices twice."""
    priced = intervals = gaps = 0
    table = Columns(model)
    for (tier, band, geo, speed), parts, day, prompt in generated(model):
        row = pricer.row(PriceKey(model, tier, band, geo, speed), TokenCounts(*parts), day)
        ours = {line.kind: line.cost_usd for line in row.lines}
        unpriced = {line.kind: line for line in row.unpriced}
        total, iso, length = 0, day.isoformat(), length_class(prompt)
        answers = []
        for kind, units in zip(PRICED_KINDS, parts, strict=True):
            if units == 0:
                assert kind not in ours and kind not in unpriced
                answers.append(())
                continue
            prices = possible_prices(model, kind, tier, band, geo, speed, iso, length)
            answers.append(prices)
            where = (kind, units, tier, band, geo, speed, iso, prompt)
            if len(prices) == 1:
                assert ours[kind].scaleb(15) == units * prices[0], where
                total += units * prices[0]
                priced += 1
                continue
            line = unpriced[kind]
            assert line.units == units and kind not in ours, where
            if prices:
                assert line.lowest_usd is not None and line.highest_usd is not None, where
                assert line.lowest_usd.scaleb(15) == units * prices[0], where
                assert line.highest_usd.scaleb(15) == units * prices[-1], where
                intervals += 1
            else:
                assert line.lowest_usd is None and line.highest_usd is None, where
                gaps += 1
        assert row.cost_usd.scaleb(15) == total
        table.add((tier, band, geo, speed), parts, day, answers)
    table.check(pricer)
    # Each model met what it has: prices, gaps (priority), intervals where a price depends on the length.
    assert priced > USAGES / 2 and gaps > 0
    rows = [row for kind in oracle.KINDS for row in oracle.ROWS.get((model, kind), [])]
    depends = any((row.shortest, row.longest) != oracle.BANDS["all"] for row in rows)
    has_two = depends and len({(row.shortest, row.longest) for row in rows}) > 2
    assert (intervals > 0) == has_two, (intervals, has_two)


class Columns:
    """The same usages as one table, and the oracle's answers: lowest and highest femto-dollars each, −1 = none."""

    def __init__(self, model):
        self.model, self.keys = model, {}
        self.days, self.key, self.counts, self.low, self.high = [], [], [], [], []

    def add(self, key, parts, day, answers):
        self.days.append(day.toordinal())
        self.key.append(self.keys.setdefault((self.model, *key), len(self.keys)))
        self.counts.append(parts)
        self.low.append([prices[0] if prices else -1 for prices in answers])
        self.high.append([prices[-1] if prices else -1 for prices in answers])

    def check(self, pricer):
        names = ("model", "service_tier", "prompt_length_band", "geo", "speed")
        low, high = np.array(self.low, dtype=object).T, np.array(self.high, dtype=object).T
        full = np.array(self.counts, dtype=np.int64).T
        # As it is usually done, in 64 bits; and in whole numbers of any size, for sums that would not fit.
        fits = np.array([[10**6]] * 5 + [[100]])  # tokens, searches
        for is_wide in (False, True):
            counts = full if is_wide else np.minimum(full, fits)
            table = UsageTable(
                names, tuple(self.keys), np.array(self.days, np.int32), np.array(self.key, np.int32), counts,
                np.ones(len(self.days), np.int64),
            )  # fmt: skip
            if is_wide:
                with pytest.raises(TooLarge):
                    costs_of(table, pricer)
                table = widened(table)
            costs = costs_of(table, pricer)
            assert costs.bounds is not None
            used, femto = counts > 0, 10 ** (15 - costs.places)
            has_price, is_open = used & (low == high) & (low >= 0), used & (low < 0)
            between = used & (low != high)
            exact = counts.astype(object)
            assert (costs.cost.astype(object) * femto == np.where(has_price, exact * low, 0)).all()
            assert (costs.unpriced == (is_open | between)).all()
            assert (costs.bounds.open == is_open).all()
            assert (costs.bounds.least.astype(object) * femto == np.where(between, exact * low, 0)).all()
            assert (costs.bounds.most.astype(object) * femto == np.where(between, exact * high, 0)).all()


def test_the_oracle_answers_known_questions():
    """Prices read off the provider's page by a person, so that the oracle itself is held to something."""
    micro = 10**9  # femto-dollars in a millionth of a dollar: the price per million tokens of one token
    asked: list[tuple[tuple[str, ...], list[float]]] = [
        (("claude-opus-4-6", "output", "standard", "200k-1M", "global", "standard", "2026-03-12"), [37.5]),
        (("claude-opus-4-6", "output", "standard", "200k-1M", "global", "standard", "2026-03-13"), [25]),
        (("claude-haiku-5-5", "output", "standard", "", "global", "standard", "2026-11-01"), [0.5, 2.5]),
        (("claude-haiku-5-5", "output", "batch", "", "us", "standard", "2026-11-01"), [0.275, 1.375]),
        (("claude-opus-5-5", "cache_read", "standard", "all", "global", "fast", "2026-11-01"), [0.4]),
        (("claude-opus-4-8", "cache_read", "standard", "all", "global", "fast", "2026-11-30"), []),
        (("claude-sonnet-5-5", "cache_write_1h", "standard", "all", "", "", "2026-11-01"), [4]),
        (("claude-sonnet-5-5", "output", "priority", "all", "", "", "2026-11-01"), []),
    ]
    for question, usd_per_mtok in asked:
        assert oracle.unit_prices(*question) == tuple(round(usd * micro) for usd in usd_per_mtok), question
    at = ("claude-haiku-5-5", "uncached_input", "standard", "", "global", "standard", "2026-11-01")
    assert [oracle.unit_prices(*at, length)[0] for length in (100_000, 100_001)] == [micro // 10, micro // 2]
