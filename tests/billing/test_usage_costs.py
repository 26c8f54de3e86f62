"""Set-based pricing of counted usage equals pricing every row alone, and explains itself."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.core.pricebook import Price, PriceBook, PriceKey
from billing.core.pricing import Pricer
from billing.core.usage import COUNTER_OF_KIND, COUNTERS, PRICED_KINDS, TOKEN_KINDS, TokenCounts
from billing.models import DailyUsage
from billing.operations.prices import seed_list_prices
from billing.queries.prices import price_book
from billing.queries.usage import cost_lines, priced_usage
from tests.billing.usage_rows import count_usage

pytestmark = pytest.mark.django_db
AS_OF = datetime(2026, 11, 24, 12, tzinfo=UTC)
START, END = date(2026, 3, 9), date(2026, 3, 19)
D = Decimal

ROWS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5", "lab-model-2"]),
        "on": st.integers(0, 9).map(lambda n: START + timedelta(days=n)),
        "request_class": st.sampled_from(["triage", "drafting", ""]),
        "service_tier": st.sampled_from(["standard", "batch", "", "priority"]),
        "prompt_length_band": st.sampled_from(["0-100k", "200k-1M", "0-200k", "", "(not grouped)"]),
        "geo": st.sampled_from(["global", "us", "not_available", ""]),
        "speed": st.sampled_from(["standard", "fast", ""]),
        **{name: st.integers(0, 10**10) for name in COUNTERS},
    }
)


def row_by_row(rows):
    """Cost of every row alone, as fractions, by class; and the units without a price."""
    pricer = Pricer(price_book())
    costs: dict[str, Fraction] = defaultdict(Fraction)
    unpriced = 0
    for row in rows:
        key = PriceKey(row.model, row.service_tier, row.prompt_length_band, row.geo, row.speed)
        priced = pricer.row(key, TokenCounts(*(getattr(row, name) for name in COUNTERS)), row.date)
        for line in priced.lines:
            price = line.price
            costs[row.request_class] += Fraction(line.units) * Fraction(price.usd_per_unit) / 10**price.unit_exponent
        unpriced += priced.unpriced_tok
    return costs, unpriced


@given(st.lists(ROWS, min_size=1, max_size=12))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_sum_in_sql_is_the_sum_of_rows_priced_alone(db, rows):
    with transaction.atomic():
        seed_list_prices(as_of=AS_OF)
        for row in rows:
            key = {name: value for name, value in row.items() if name not in COUNTERS}
            try:
                with transaction.atomic():
                    count_usage(**row)
            except IntegrityError:  # the same natural key was drawn twice: one row of it is enough
                assert DailyUsage.objects.filter(model=key["model"], date=key["on"]).exists()
        costs, unpriced = row_by_row(DailyUsage.objects.all())
        usage = priced_usage(start=START, end=END, by=("class",))
        assert {group.values[0]: Fraction(group.cost_usd) for group in usage.groups} == {
            group.values[0]: costs[group.values[0]] for group in usage.groups
        }
        assert sum(group.unpriced_tok for group in usage.groups) == unpriced
        by_day = priced_usage(start=START, end=END, by=("day", "class", "model"))
        assert sum(Fraction(group.cost_usd) for group in by_day.groups) == sum(costs.values())
        lines = cost_lines(start=START, end=END)
        assert Fraction(lines.cost_usd) == sum(costs.values()) and lines.unpriced_tok == unpriced
        assert sum(Fraction(line.cost_usd) for line in lines.lines) == sum(costs.values())
        for line in lines.lines:
            exponent = 3 if line.token_kind == "web_search" else 6
            assert Fraction(line.cost_usd) == Fraction(line.units) * Fraction(line.usd_per_unit) / 10**exponent
        transaction.set_rollback(True)


def book(*prices):
    return PriceBook(
        Price(model, kind, D(usd), "test", date(2026, 1, 1), valid_from=start) for model, kind, usd, start in prices
    )


def test_a_change_in_the_middle_of_the_period_prices_each_day_right():
    """docs/algorithms/pricing.md, "A change inside a period": 15 days at 5 and 16 at 4 make 139 usd."""
    prices = book(("m", "output", "5", None), ("m", "output", "4", date(2026, 10, 16)))
    for number in range(1, 32):
        count_usage("m", date(2026, 10, number), output_tok=1_000_000)
    usage = priced_usage(start=date(2026, 10, 1), end=date(2026, 11, 1), book=prices)
    assert [group.cost_usd for group in usage.groups] == [139]
    found = cost_lines(start=date(2026, 10, 1), end=date(2026, 11, 1), book=prices)
    assert [(line.units, line.cost_usd, line.first_day, line.last_day) for line in found.lines] == [
        (15_000_000, D("75"), date(2026, 10, 1), date(2026, 10, 15)),
        (16_000_000, D("64"), date(2026, 10, 16), date(2026, 10, 31)),
    ]
    assert found.lines[0].formula == "15,000,000 × 5.00 / 1,000,000 = 75"


def test_the_number_of_queries_does_not_grow_with_the_days():
    seed_list_prices(as_of=AS_OF)
    for number in range(60):
        count_usage("claude-opus-4-5", date(2026, 6, 1) + timedelta(days=number), output_tok=1_000)
    with CaptureQueriesContext(connection) as queries:
        usage = priced_usage(start=date(2026, 6, 1), end=date(2026, 9, 1), by=("model",), book=price_book())
    assert usage.groups[0].cost_usd == D("1.5")
    assert len(queries) == 7  # prices, closed months; keys made, read and dropped, names of sources, rows


def test_usage_of_an_unknown_model_is_listed_with_its_remedy_and_costs_nothing_known():
    seed_list_prices(as_of=AS_OF)
    count_usage("lab-model-2", "2026-11-01", output_tok=700, web_searches=3, request_class="triage")
    count_usage("claude-opus-4-5", "2026-11-01", output_tok=1_000_000, request_class="triage")
    usage = priced_usage(start=date(2026, 11, 1), end=date(2026, 11, 2), by=("class",))
    (group,) = usage.groups
    assert (group.cost_usd, group.unpriced_tok, group.unpriced_searches) == (D(25), 700, 3)
    assert not group.is_priced
    assert [(line.model, line.token_kind, line.quantity, line.cause) for line in usage.unpriced] == [
        ("lab-model-2", "output", 700, "model"),
        ("lab-model-2", "web_search", 3, "model"),
    ]
    assert usage.unpriced[0].remedy == "Add its prices, or an alias to a priced model"
    assert (usage.unpriced[0].lowest_usd, usage.unpriced[0].first_day) == (None, date(2026, 11, 1))


def test_a_report_without_prompt_lengths_gives_the_interval():
    seed_list_prices(as_of=AS_OF)
    count_usage("claude-haiku-5-5", "2026-11-01", output_tok=2_000_000, prompt_length_band="0-200k")
    count_usage("claude-haiku-5-5", "2026-11-02", output_tok=1_000_000, prompt_length_band="0-200k")
    found = cost_lines(start=date(2026, 11, 1), end=date(2026, 11, 3))
    assert found.lines == () and found.cost_usd == 0 and found.unpriced_tok == 3_000_000
    (gap,) = found.unpriced
    assert (gap.lowest_usd, gap.highest_usd) == (D("1.5"), D("7.5"))
    assert (gap.first_day, gap.last_day) == (date(2026, 11, 1), date(2026, 11, 2))


def test_lines_are_of_the_class_and_model_asked_for():
    seed_list_prices(as_of=AS_OF)
    count_usage("claude-opus-4-5", "2026-11-01", output_tok=1_000_000, request_class="triage")
    count_usage("claude-opus-4-5", "2026-11-01", output_tok=2_000_000)
    count_usage("claude-sonnet-4-5", "2026-11-01", output_tok=4_000_000, request_class="triage")
    lines = partial(cost_lines, start=date(2026, 11, 1), end=date(2026, 11, 2))
    assert lines().cost_usd == 25 + 50 + 60
    assert lines(request_class="triage").cost_usd == 85
    assert lines(request_class="").cost_usd == 50
    assert lines(model="claude-opus-4-5").cost_usd == 75
    assert lines(request_class="triage", model="claude-opus-4-5").cost_usd == 25
    assert lines(request_class="nothing").lines == ()


def test_every_counter_of_the_table_has_a_kind():
    assert [COUNTER_OF_KIND[kind] for kind in PRICED_KINDS] == list(COUNTERS)
    assert set(TOKEN_KINDS) < set(PRICED_KINDS)
