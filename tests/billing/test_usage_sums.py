"""Sums in columns equal rows priced alone, for every grouping and filter; the kept copy is never stale."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.operations import bump_data_version
from billing.core.pricebook import Price, PriceBook, PriceKey
from billing.core.pricing import CostLine, Pricer
from billing.core.showback import Rule, Rules
from billing.core.usage import COUNTER_OF_KIND, COUNTERS, PRICED_KINDS
from billing.models import DailyUsage
from billing.operations.prices import seed_list_prices
from billing.queries import usage_table
from billing.queries.usage_sums import DIMENSIONS, KEY_DIMENSIONS, usage_sums
from tests.billing.usage_rows import count_usage

START, END = date(2026, 3, 2), date(2026, 4, 6)
D = Decimal
OPUS, SONNET, LAB = "claude-opus-4-6", "claude-sonnet-4-6", "lab-model-2"
RULES = (
    Rule("platform", workspace="w1"),
    Rule("coding", workspace="w1", request_class="triage"),
    Rule("research", api_key="k2", valid_from=date(2026, 3, 20)),
    Rule("old", api_key="k2", valid_to=date(2026, 3, 20)),
)
# The list price of opus changes in the middle, sonnet is dearer for long prompts, nobody priced the lab model.
BOOK = PriceBook(
    [
        Price(OPUS, kind, D(usd), "test", date(2026, 1, 1), valid_from=start)
        for kind in PRICED_KINDS
        for usd, start in (("5", None), ("4.1237", date(2026, 3, 18)))
    ]
    + [
        Price(SONNET, kind, D(usd), "test", date(2026, 1, 1), prompt_length_band=band)
        for kind in PRICED_KINDS
        if kind != "web_search"
        for usd, band in (("3", "0-200k"), ("6.25", "200k-1M"))
    ]
)
ROW = st.fixed_dictionaries(
    {
        "model": st.sampled_from([OPUS, SONNET, LAB]),
        "on": st.integers(0, 34).map(lambda n: START + timedelta(days=n)),
        "request_class": st.sampled_from(["triage", "drafting", ""]),
        "workspace": st.sampled_from(["w1", "w2", ""]),
        "api_key": st.sampled_from(["k1", "k2", ""]),
        "prompt_length_band": st.sampled_from(["0-100k", "200k-1M", ""]),
        "requests": st.sampled_from([None, 0, 3]),
        **{name: st.sampled_from([0, 1, 7, 10**9, 3 * 10**12]) for name in COUNTERS},
    }
)
KEY = ("model", "on", "request_class", "workspace", "api_key", "prompt_length_band")
ROWS = st.lists(ROW, min_size=1, max_size=10, unique_by=lambda row: tuple(row[name] for name in KEY))


def value_of(row, name, kind):
    """One dimension of one row and kind, the slow way."""
    if name in KEY_DIMENSIONS:
        field = KEY_DIMENSIONS[name]
        return row.source.name if field == "source" else str(getattr(row, field))
    if name == "week":
        year, week, _ = row.date.isocalendar()
        return f"{year}-W{week:02d}"
    if name in ("cost_centre", "team"):
        named = (row.channel, row.workspace, row.api_key, row.request_class)
        centre = Rules(RULES).cost_centre(named, row.date)
        return centre if name == "cost_centre" else ""
    words = {"day": f"{row.date}", "month": f"{row.date:%Y-%m}", "tier": "other", "token_kind": kind}
    return words[name]


def slowly(by, where):
    """Costs, units, unpriced units and bounds by group, each row and kind priced alone, as fractions."""
    pricer = Pricer(BOOK)
    cost: defaultdict[Any, Fraction] = defaultdict(Fraction)
    units: defaultdict[Any, int] = defaultdict(int)
    unpriced: defaultdict[Any, int] = defaultdict(int)
    low: defaultdict[Any, Fraction] = defaultdict(Fraction)
    high: defaultdict[Any, Fraction] = defaultdict(Fraction)
    for row in DailyUsage.objects.select_related("source").filter(date__gte=START, date__lt=END):
        for kind in PRICED_KINDS:
            number = getattr(row, COUNTER_OF_KIND[kind])
            if not number or any(value_of(row, name, kind) != value for name, value in where.items()):
                continue
            group = tuple(value_of(row, name, kind) for name in by)
            key = PriceKey(row.model, row.service_tier, row.prompt_length_band, row.geo, row.speed)
            line = pricer.line(key, kind, number, row.date)
            units[group] += number
            if isinstance(line, CostLine):
                cost[group] += Fraction(line.cost_usd)
            else:
                unpriced[group] += number
                low[group] += Fraction(line.lowest_usd or 0)
                high[group] += Fraction(line.highest_usd or 0)
    return cost, units, unpriced, low, high


@pytest.mark.django_db
@given(
    rows=ROWS,
    by=st.lists(st.sampled_from(DIMENSIONS), max_size=3, unique=True),
    where=st.sampled_from(
        [{}, {"class": "triage"}, {"class": ""}, {"cost_centre": ""}, {"workspace": "w1", "model": OPUS},
         {"token_kind": "output"}, {"cost_centre": "coding", "token_kind": "cache_read"}, {"workspace": "nowhere"}]
    ),
)  # fmt: skip
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_grouping_with_any_filter_is_the_sum_of_rows_priced_alone(db, rows, by, where):
    with transaction.atomic():
        for row in rows:
            count_usage(**row)
        cost, units, unpriced, low, high = slowly(by, where)
        sums = usage_sums(start=START, end=END, by=by, where=where, book=BOOK, rules=RULES)
        found = {sums.values(n): n for n in range(len(sums))}
        assert list(found) == sorted(found)
        for group, n in found.items():
            assert Fraction(sums.cost_usd(n)) == cost[group]
            assert int(sums.groups.counts[:, n].sum()) == units[group]
            assert int(sums.groups.unpriced[:, n].sum()) == unpriced[group]
            assert Fraction(sums.costs.usd(int(sums.groups.least[n]))) == low[group]
            assert Fraction(sums.costs.usd(int(sums.groups.most[n]))) == high[group]
        assert {group for group in units if units[group]} <= set(found)
        # Whatever the grouping, its groups add up to the whole, to the last digit.
        whole = usage_sums(start=START, end=END, where=where, book=BOOK, rules=RULES)
        assert sum(sums.groups.cost.tolist()) == sum(whole.groups.cost.tolist())
        transaction.set_rollback(True)


@pytest.mark.django_db
def test_what_does_not_fit_in_64_bits_is_summed_all_the_same():
    seed_list_prices(as_of=datetime(2026, 11, 1, tzinfo=UTC))
    for number in range(4):
        count_usage(OPUS, START + timedelta(days=number), output_tok=2**62 + number, requests=2**61)
    sums = usage_sums(start=START, end=END, by=("month", "token_kind"))
    assert int(sums.groups.counts[4].sum()) == 4 * 2**62 + 6
    assert sums.cost_usd(0) == D(4 * 2**62 + 6) * D(25) / 10**6
    plain = usage_sums(start=START, end=END, by=("day",))
    assert [sums.costs.usd(int(cost)) for cost in plain.groups.cost] == [D(2**62 + n) * 25 / 10**6 for n in range(4)]
    assert int(usage_sums(start=START, end=END).groups.requests[0]) == 2**63


@pytest.mark.django_db
def test_unknown_names_are_refused():
    with pytest.raises(KeyError):
        usage_sums(start=START, end=END, by=("colour",))
    with pytest.raises(ValueError, match="no token kind 'input'; use one of uncached_input"):
        usage_sums(start=START, end=END, where={"token_kind": "input"})


@pytest.mark.django_db
def test_requests_are_unknown_where_one_row_does_not_say():
    count_usage(OPUS, START, requests=3, output_tok=1)
    count_usage(OPUS, START, requests=None, output_tok=1, request_class="drafting")
    assert usage_sums(start=START, end=END).groups.requests.tolist() == [-1]
    by_class = usage_sums(start=START, end=END, by=("class",))
    assert by_class.groups.requests.tolist() == [3, -1]


class TestTheCopyInMemory:
    """Outside a transaction usage is read once per data version, and then only the months that changed."""

    pytestmark = pytest.mark.django_db(transaction=True)

    @pytest.fixture(autouse=True)
    def _fresh(self):
        usage_table.forget()
        yield
        usage_table.forget()

    def total(self):
        return int(usage_sums(start=START, end=END).groups.counts.sum())

    def changed(self):
        with transaction.atomic():
            bump_data_version()

    def test_the_second_question_reads_no_usage(self):
        count_usage(OPUS, START, output_tok=5)
        assert self.total() == 5
        with CaptureQueriesContext(connection) as queries:
            assert self.total() == 5
        assert [query["sql"][:40] for query in queries if "usage" in query["sql"]] == []

    def test_every_kind_of_change_is_seen(self):
        first = count_usage(OPUS, START, output_tok=5)
        later = count_usage(OPUS, START + timedelta(days=33), output_tok=70, workspace="w9")
        self.changed()
        assert self.total() == 75
        first.delete()  # a month without usage any more
        self.changed()
        assert self.total() == 70
        later.delete()
        count_usage(SONNET, later.date, output_tok=600)  # replaced, as a recount does
        self.changed()
        assert self.total() == 600
        count_usage(OPUS, date(2026, 12, 31), output_tok=8000)  # another month, another year's end
        count_usage(OPUS, START, output_tok=1)
        self.changed()
        assert self.total() == 601
        models = usage_sums(start=START, end=date(2027, 1, 1), by=("model",))
        assert {models.values(n): int(models.groups.counts[:, n].sum()) for n in range(2)} == {
            (OPUS,): 8001, (SONNET,): 600,
        }  # fmt: skip

    def test_a_change_reads_only_its_month(self):
        for day in (START, START + timedelta(days=33)):
            count_usage(OPUS, day, output_tok=5)
        self.changed()
        self.total()
        count_usage(SONNET, START, output_tok=6)
        self.changed()
        with CaptureQueriesContext(connection) as queries:
            assert self.total() == 16
        copies = [query["sql"] for query in queries if query["sql"].startswith("CREATE TEMPORARY TABLE usage_key")]
        assert len(copies) == 1 and "date >= '2026-03-01' AND date < '2026-04-01'" in copies[0]

    def test_a_price_approved_later_is_used_without_reading_usage_again(self):
        count_usage(OPUS, START, output_tok=1_000_000)
        assert usage_sums(start=START, end=END).cost_usd(0) == 0
        with transaction.atomic():
            seed_list_prices(as_of=datetime(2026, 11, 1, tzinfo=UTC))
            bump_data_version()
        with CaptureQueriesContext(connection) as queries:
            assert usage_sums(start=START, end=END).cost_usd(0) == 25
        assert not [query for query in queries if "usage_key" in query["sql"]]

    def test_a_transaction_sees_its_own_usage_and_leaves_nothing_behind(self):
        count_usage(OPUS, START, output_tok=5)
        assert self.total() == 5
        with transaction.atomic():
            count_usage(SONNET, START, output_tok=6)
            assert self.total() == 11
            transaction.set_rollback(True)
        assert self.total() == 5

    def test_more_than_memory_should_hold_is_read_period_by_period(self, monkeypatch):
        monkeypatch.setattr(usage_table, "MOST_ROWS", 1)
        for number in range(3):
            count_usage(OPUS, START + timedelta(days=number), output_tok=5)
        self.changed()
        assert self.total() == 15
        assert int(usage_sums(start=START, end=START + timedelta(days=2)).groups.counts.sum()) == 10
