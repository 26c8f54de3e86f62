"""Hundreds of made-up models beside the priced ones: every figure is what it was when each name had rows of its own.

The oracle is either the same question with nothing folded, or a slow sum over the raw rows.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from django.core.cache import cache
from django.db import transaction
from django.test import Client

from audit.operations import bump_data_version
from billing.core.price_scenarios import parse_price_scenario
from billing.core.pricebook import Price, PriceKey
from billing.core.pricing import CostLine, Pricer
from billing.core.scenarios import Scenario
from billing.core.usage import COUNTER_OF_KIND, COUNTERS, PRICED_KINDS
from billing.models import Contract, ContractRate, CostReportLine, DailyUsage, ModelRelease, UsageSource
from billing.models import Price as StoredPrice
from billing.operations.price_scenarios import save_price_scenario
from billing.queries import named_models as folding
from billing.queries.books import book_for
from billing.queries.drivers import costs_on, usage_blocks
from billing.queries.named_models import OTHERS, named_models
from billing.queries.price_effect import month_effect
from billing.queries.prices import price_book
from billing.queries.profiles import served_usage
from billing.queries.reconciliation import month_settlement
from billing.queries.series import daily_usage
from billing.queries.usage_sums import NAMED_MODEL, usage_sums
from costgov.jsonout import dumps, plain
from costgov.queries.class_lines import class_lines
from costgov.queries.class_page import ClassPage, class_page
from costgov.queries.forecast_inputs import current_unit_costs, read_inputs
from costgov.queries.overview import Overview, overview
from costgov.queries.recommendation import draft_view, recommendation_view
from costgov.queries.savings import savings
from costgov.queries.spend import UnknownDimension, spend
from costgov.queries.spend_change import month_before
from costgov.queries.spend_page import spend_page
from tests.billing import month_world
from tests.costgov import small_world as world
from tests.costgov.page_checks import problems

pytestmark = pytest.mark.django_db

MADE_UP = 240
SHOWN = 12  # how many of them are told one by one here
START, END = world.TODAY - timedelta(days=28), world.TODAY
CLASSES = ("triage", "drafting", "")


def name(n: int) -> str:
    return f"made-up-{n:03}"


@pytest.fixture(autouse=True)
def _frozen(settings: Any) -> None:
    settings.COSTGOV_AS_OF = world.AS_OF
    cache.clear()  # a rolled back test leaves figures of a data version that the next one reaches again


@pytest.fixture
def few_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "UNKNOWN_SHOWN", SHOWN)


@pytest.fixture
def estate(few_named: None) -> dict[str, Any]:
    """The small organisation, and MADE_UP models of which number n has more tokens than number n - 1.

    They use every kind of token on days of both windows, in both classes and outside of any; some do not tell their
    requests. The class `quiet` has made-up models only.
    """
    people = world.people()
    for fill in (world.organisation, world.models, world.prices, world.classes, world.usage):
        fill()
    for slug, model, passed in (
        ("triage", world.OPUS, 198),
        ("triage", world.HAIKU, 196),
        ("drafting", world.SONNET, 194),
    ):
        world.evals(slug, model, passed, 200, world.AS_OF - timedelta(days=50))
    world.RequestClass.objects.create(slug="quiet", title="Quiet")
    source = UsageSource.objects.get(name="by hand")
    rows = []
    for n in range(MADE_UP):
        for part in range(2):
            rows.append(
                DailyUsage(
                    date=END - timedelta(days=1 + (n * 7 + part * 23) % 56),
                    source=source, origin="log", channel="anthropic", model=name(n),
                    service_tier="batch" if n % 5 == 0 else "standard", prompt_length_band="0-200k", geo="global",
                    speed="standard", request_class="quiet" if n % 4 == 3 else CLASSES[n % 4],
                    requests=None if n % 11 == 0 and part else 3 + n,
                    uncached_input_tok=1000 * (n + 1) + part, cache_read_tok=n * 17, cache_write_5m_tok=n % 3,
                    cache_write_1h_tok=n % 2, output_tok=10 * n + 1, web_searches=n % 6 == 0,
                )
            )  # fmt: skip
    DailyUsage.objects.bulk_create(rows)
    bump_data_version()
    return people


@contextmanager
def unfolded() -> Iterator[None]:
    """Every model is told one by one, as before anything was folded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folding, "UNKNOWN_SHOWN", 10**6)
        cache.clear()
        yield
    cache.clear()


def slow_sums(start: date, end: date, request_class: str | None = None) -> tuple[Decimal, int, int]:
    """Cost, tokens without a price and searches without one, row by row."""
    pricer = Pricer(price_book())
    cost, tokens, searches = Decimal(0), 0, 0
    rows = DailyUsage.objects.filter(date__gte=start, date__lt=end)
    for row in rows if request_class is None else rows.filter(request_class=request_class):
        key = price_key(row)
        for kind in PRICED_KINDS:
            if units := getattr(row, COUNTER_OF_KIND[kind]):
                line = pricer.line(key, kind, units, row.date)
                if isinstance(line, CostLine):
                    cost += line.cost_usd
                elif kind == "web_search":
                    searches += units
                else:
                    tokens += units
    return cost, tokens, searches


def price_key(row: DailyUsage) -> PriceKey:
    names = ("model", "service_tier", "prompt_length_band", "geo", "speed", "channel")
    return PriceKey(**{each: getattr(row, each) for each in names})


# -- which models are told -------------------------------------------------------------------------------------------


def test_the_largest_and_all_that_somebody_knows_are_told(estate: dict[str, Any], tmp_path: Any) -> None:
    """One small model each: priced, placed, agreed on in a contract, billed, and asked for by name."""
    StoredPrice.objects.create(
        model=name(0), token_kind="output", usd_per_unit=1, source="by hand", checked_on=END, proposed_at=world.AS_OF
    )
    ModelRelease.objects.create(canonical_id=name(1), display_name="One", tier="other")
    ContractRate.objects.create(contract=contract(), model=name(2), token_kind="output", usd_per_unit=1)
    month_world.report(tmp_path, {1: [month_world.result("1.0", "output", model=name(3))]})
    assert CostReportLine.objects.filter(model=name(3)).exists()
    found = named_models(start=world.TODAY - timedelta(days=56), end=END, keep=[name(4)])
    assert found is not None
    told = {each for each in found if each.startswith("made-up")}
    assert told == {name(n) for n in (0, 1, 2, 3, 4, *range(MADE_UP - SHOWN, MADE_UP))}
    assert {world.OPUS, world.SONNET, world.HAIKU, ""} <= set(found)


def contract() -> Contract:
    return Contract.objects.create(
        name="Frame", valid_from=date(2026, 1, 1), source="order form", checked_on=date(2026, 1, 2),
        proposed_at=world.AS_OF,
    )  # fmt: skip


@pytest.mark.parametrize(("extra", "is_folded"), [(0, False), (1, True)])
def test_as_many_as_are_shown_are_all_told(few_named: None, extra: int, is_folded: bool) -> None:
    world.whole()
    for n in range(SHOWN + extra):
        world.use(END - timedelta(days=1), name(n), "triage", 1, (n + 1, 0))
    found = named_models(start=START, end=END)
    assert (found is not None) == is_folded
    if found is not None:
        assert name(0) not in found
        assert name(1) in found


# -- totals ----------------------------------------------------------------------------------------------------------


def shown() -> Overview:
    return overview(as_of=world.AS_OF, start=END - timedelta(days=56), end=END)


def test_overview_is_the_same_as_without_folding(estate: dict[str, Any]) -> None:
    view = shown()
    cost, tokens, _ = slow_sums(START, END)
    assert (view.spend_usd, view.unpriced_tok) == (cost, tokens)
    assert view.spend_before_usd == slow_sums(START - timedelta(days=28), START)[0]
    rest = view.unpriced_rest.tokens if view.unpriced_rest is not None else 0
    assert sum(row.quantity for row in view.unpriced if row.token_kind != "web_search") + rest == tokens
    with unfolded():
        whole = shown()
    assert _without_quiet(whole) == _without_quiet(view)


def _without_quiet(view: Overview) -> Any:
    """Of a class without any model that is told one by one nobody says which serves it most: that alone differs."""
    quiet = next(line for line in view.classes if line.slug == "quiet")
    nameless = replace(quiet, model_id="", model="")
    return plain(replace(view, classes=tuple(nameless if line is quiet else line for line in view.classes)))


def test_classes_are_the_same_as_without_folding(estate: dict[str, Any]) -> None:
    found = class_lines(as_of=world.AS_OF)
    for line in found.lines:
        cost, tokens, _ = slow_sums(START, END, line.slug)
        assert (line.spend_usd or 0, line.unpriced_tok) == (cost, tokens), line.slug
        models = DailyUsage.objects.filter(date__gte=START, date__lt=END, request_class=line.slug).values("model")
        assert line.other_models == max(models.distinct().count() - 1, 0), line.slug
    with unfolded():
        plainly = class_lines(as_of=world.AS_OF)
    serving = {line.slug: line.model_id for line in found.lines}
    assert serving == {"triage": world.HAIKU, "drafting": world.SONNET, "quiet": OTHERS}
    assert [line for line in plainly.lines if line.slug != "quiet"] == [
        line for line in found.lines if line.slug != "quiet"
    ]
    assert plainly.recommendation == found.recommendation


def page_of(slug: str) -> ClassPage:
    return class_page(slug=slug, as_of=world.AS_OF, start=END - timedelta(days=56), end=END)


@pytest.mark.parametrize("slug", ["triage", "drafting", "quiet"])
def test_class_page_keeps_every_sum(estate: dict[str, Any], slug: str) -> None:
    view = page_of(slug)
    with unfolded():
        whole = page_of(slug)
    cost, tokens, _ = slow_sums(START, END, slug)
    assert sum(row.cost_usd for row in view.models) == cost
    assert sum(row.unpriced_tok for row in view.models) == tokens
    told = {row.model: row for row in view.models}
    each = {row.model: row for row in whole.models}
    assert OTHERS in told
    assert len(told) < len(each)
    assert all(told[model] == each[model] for model in told if model != OTHERS)
    folded = [row for model, row in each.items() if model not in told]
    assert told[OTHERS].input_tok == sum(row.input_tok for row in folded)
    assert told[OTHERS].output_tok == sum(row.output_tok for row in folded)
    assert told[OTHERS].unpriced_tok == sum(row.unpriced_tok for row in folded)
    assert [(day.on, day.requests, day.total_usd) for day in view.days] == [
        (day.on, day.requests, day.total_usd) for day in whole.days
    ]
    if slug == "quiet":
        assert {row.model for row in view.candidates} == {OTHERS}
        return
    assert [week.model for week in view.weeks] == [week.model for week in whole.weeks]
    assert replace(view, models=(), days=()) == replace(whole, models=(), days=())


@pytest.mark.parametrize("address", ["/", "/classes/", "/classes/triage/", "/classes/quiet/", "/invoices/2026-11/"])
def test_pages_open_and_say_how_many_others(client: Client, estate: dict[str, Any], address: str) -> None:
    client.force_login(estate["ada"])
    answer = client.get(address)
    assert answer.status_code == 200
    html = answer.content.decode()
    assert problems(html) == []
    if address == "/classes/triage/":
        assert OTHERS in html
        assert "/prices/" not in [part for part in html.split('"') if OTHERS in part], "nothing of that name is priced"


def test_months_are_settled_the_same(estate: dict[str, Any]) -> None:
    for month, after in ((date(2026, 10, 1), date(2026, 11, 1)), (date(2026, 11, 1), date(2026, 12, 1))):
        found = month_settlement(month=month, as_of=world.AS_OF)
        cost, tokens, searches = slow_sums(month, after)
        assert (found.computed_usd, found.unpriced_units) == (cost, tokens + searches)
        assert sum(one.units for one in found.unpriced) == tokens + searches
        with unfolded():
            whole = month_settlement(month=month, as_of=world.AS_OF)
        told = {one.model: one for one in found.unpriced}
        assert len(told) == SHOWN + 1
        assert all(one == told[one.model] for one in whole.unpriced if one.model in told)
        assert [line for line in found.lines if line.about.model != OTHERS] == [
            line for line in whole.lines if line.about.model in {line.about.model for line in found.lines}
        ]
        assert (found.gaps, found.checks[0], found.unclassified_usd) == (
            whole.gaps, whole.checks[0], whole.unclassified_usd
        )  # fmt: skip


def test_recommendation_and_savings_are_the_same(estate: dict[str, Any]) -> None:
    view, saved = recommendation_view(as_of=world.AS_OF), savings(as_of=world.AS_OF)
    assert {row.request_class for row in view.unsolved} == {"triage", "drafting", "quiet"}
    assert OTHERS.encode() not in dumps(draft_view(as_of=world.AS_OF).document)
    with unfolded():
        assert recommendation_view(as_of=world.AS_OF) == view
        assert plain(savings(as_of=world.AS_OF)) == plain(saved)


def test_series_sum_to_the_raw_rows(estate: dict[str, Any]) -> None:
    found = daily_usage(start=START, end=END)
    days: dict[tuple[date, str], list[Any]] = {}
    for row in found:
        held = days.setdefault((row.on, row.request_class), [0, 0, 0])
        held[0] = None if held[0] is None or row.requests is None else held[0] + row.requests
        held[1] += row.input_tok
        held[2] += row.output_tok
    raw: dict[tuple[date, str], list[Any]] = {}
    for used in DailyUsage.objects.filter(date__gte=START, date__lt=END):
        held = raw.setdefault((used.date, used.request_class), [0, 0, 0])
        held[0] = None if held[0] is None or used.requests is None else held[0] + used.requests
        held[1] += used.uncached_input_tok + used.cache_read_tok + used.cache_write_5m_tok + used.cache_write_1h_tok
        held[2] += used.output_tok
    assert days == raw
    assert len({row.model for row in found}) <= SHOWN + 4
    served = served_usage(start=START, end=END)
    assert sum(row.input_tok + row.output_tok for row in served) == sum(
        sum(held[1:]) for (_, label), held in raw.items() if label
    )


def test_blocks_cost_the_same_and_lose_nothing(estate: dict[str, Any]) -> None:
    found = usage_blocks(start=START, end=END, block_days=28)
    with unfolded():
        whole = usage_blocks(start=START, end=END, block_days=28)
    assert len(found) < len(whole)
    assert {counter: sum(row.counts[counter] for row in found) for counter in COUNTERS} == {
        counter: sum(row.counts[counter] for row in whole) for counter in COUNTERS
    }
    book = price_book()
    assert costs_on(found, book, END) == costs_on(whole, book, END)


# -- somebody prices a model that was folded -------------------------------------------------------------------------


def test_the_effect_of_a_price_is_of_the_model_itself(estate: dict[str, Any]) -> None:
    """The smallest of all is folded, until a price is proposed for it."""
    before = price_book()
    after = before.with_prices(
        [Price(model=name(4), token_kind="output", usd_per_unit=Decimal(8), source="by hand", checked_on=END)]
    )
    month = {"start": date(2026, 10, 1), "end": date(2026, 11, 1), "on": END}
    found = month_effect(before=before, after=after, **month)
    rows = DailyUsage.objects.filter(model=name(4), date__gte=month["start"], date__lt=month["end"])
    assert found.newly_tok == sum(row.output_tok for row in rows) > 0
    assert found.newly_usd == sum(row.output_tok * Decimal(8) / 10**6 for row in rows)
    with unfolded():
        assert month_effect(before=before, after=after, **month) == found


def test_a_what_if_may_price_a_folded_model(estate: dict[str, Any]) -> None:
    document = {
        "schema": "costgov.price_scenario/1", "title": "Named after all",
        "prices": [{"model": name(8), "token_kind": "output", "usd_per_unit": "9000"}],
    }  # fmt: skip
    scenario = parse_price_scenario(document)
    save_price_scenario(actor=estate["priya"], scenario=scenario, as_of=world.AS_OF)
    asked: dict[str, Any] = {"as_of": world.AS_OF, "start": None, "months": 3}
    inputs = read_inputs(**asked, scenario=Scenario(price_scenario=scenario.title))
    listed = read_inputs(**asked, scenario=Scenario())
    of_class = [row.name for row in inputs.classes].index("triage")  # number 8 serves triage
    assert inputs.layers["current"][of_class].min() > listed.layers["current"][of_class].max()
    with unfolded():
        whole = read_inputs(**asked, scenario=Scenario(price_scenario=scenario.title))
    assert [row.current_cost_usd for row in whole.classes] == [row.current_cost_usd for row in inputs.classes]
    for layer, costs in whole.layers.items():
        assert np.allclose(costs, inputs.layers[layer], rtol=1e-12, atol=0), layer  # floats: sums in another order
    book = book_for(scenario=scenario.title).book
    assert np.allclose(current_unit_costs(inputs, book), current_unit_costs(whole, book), rtol=1e-12, atol=0)


# -- the explorer ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [("model",), ("model", "class"), ("day", "model"), ("class",)])
def test_the_explorer_names_every_model_and_compares_it(estate: dict[str, Any], by: tuple[str, ...]) -> None:
    view = spend_page(start=START, end=END, by=by, where={}, basis="list")
    cost, tokens, _ = slow_sums(START, END)
    assert (view.report.total.cost_usd, view.report.total.unpriced_tok) == (cost, tokens)
    assert sum(sum(series.usd) for series in view.series) == cost
    before = slow_sums(*_before())
    assert (view.before.cost_usd, view.before.unpriced_tok) == before[:2]
    rows = spend(start=_before()[0], end=_before()[1], by=by).rows
    if "day" not in by:
        known = {tuple(row.group.values()): row.cost_usd for row in rows}
        assert dict(view.before_rows) == {
            key: known.get(key, Decimal(0)) for key in (tuple(row.group.values()) for row in view.report.rows)
        }
    if by == ("model",):
        assert view.report.row_count == DailyUsage.objects.filter(
            date__gte=START, date__lt=END
        ).values("model").distinct().count()  # fmt: skip
        only = spend(start=START, end=END, by=by, where={"model": name(0)})
        assert only.total.unpriced_tok == slow_tokens(name(0))


def _before() -> tuple[date, date]:
    return month_before(START, END)


def slow_tokens(model: str) -> int:
    rows = DailyUsage.objects.filter(model=model, date__gte=START, date__lt=END)
    return sum(getattr(row, counter) for row in rows for counter in COUNTERS[:-1])


def test_folded_spend_is_the_same_whole(estate: dict[str, Any]) -> None:
    folded = spend(start=START, end=END, by=("class", "model"), is_folded=True)
    whole = spend(start=START, end=END, by=("class", "model"))
    assert (folded.total, folded.unpriced, folded.unpriced_rest) == (whole.total, whole.unpriced, whole.unpriced_rest)
    assert {row.group["model"] for row in folded.rows} <= {row.group["model"] for row in whole.rows} | {OTHERS}
    assert len(folded.rows) < len(whole.rows)
    with pytest.raises(UnknownDimension, match="unknown grouping named_model"):
        spend(start=START, end=END, by=(NAMED_MODEL,))
    sums = usage_sums(start=START, end=END, by=(NAMED_MODEL,))
    assert int(sums.groups.unpriced[:-1].sum()) == whole.total.unpriced_tok


@pytest.mark.django_db(transaction=True)
def test_the_answer_is_kept_until_an_audited_change(few_named: None, django_assert_num_queries: Any) -> None:
    """As every page asks for it several times; a transaction never keeps what may not be committed."""
    for n in range(SHOWN + 1):
        world.use(END - timedelta(days=1), name(n), "triage", 1, (n + 1, 0))
    with transaction.atomic():
        bump_data_version()
    first = named_models(start=START, end=END)
    with django_assert_num_queries(1):  # the data version
        assert named_models(start=START, end=END) == first
    assert first is not None and name(0) not in first
    with transaction.atomic():
        world.use(END - timedelta(days=2), name(0), "triage", 1, (1000, 0))
        inside = named_models(start=START, end=END)
        bump_data_version()
    after = named_models(start=START, end=END)
    assert after == inside
    assert after is not None and name(0) in after and name(1) not in after
