"""What other prices do to the demo organisation: last month exactly, the forecast on the same volumes."""

from decimal import Decimal

import pytest
from django.core.management import call_command

from billing.core.overlays import Change, Overlay, OverlayBook
from billing.core.price_scenarios import parse_price_scenario
from billing.core.scenarios import parse_scenario
from billing.models import Price
from billing.operations.price_scenarios import save_price_scenario
from billing.queries.prices import price_book
from costgov.demo.prices import SOURCE
from costgov.queries.forecast import prepare_forecast, run_forecast
from costgov.queries.price_effects import price_effects, proposal_effects
from costgov.queries.spend import spend
from tests.demo import AS_OF, LAST, demo, demo_copy

pytestmark = [pytest.mark.xdist_group("demo")]
__all__ = ["demo", "demo_copy"]
D = Decimal


def test_a_fifth_off_everything_takes_a_fifth_off_everything(demo):
    book = price_book()
    cheaper = OverlayBook(book, [Overlay("what if", (Change(percent=D(-20)),))])
    effects = price_effects(as_of=AS_OF, on=LAST, before=book, after=cheaper)
    month = effects.month
    assert month is not None and (month.start.isoformat(), month.end.isoformat()) == ("2026-10-01", "2026-11-01")
    assert month.after_usd == month.before_usd * 8 / 10 and month.before_usd > 1000
    assert month.before_usd == spend(start=month.start, end=month.end).total.cost_usd  # no price changed since
    assert sum(line.change_usd for line in effects.by_class) == month.change_usd
    assert sum(line.change_usd for line in effects.by_model) == month.change_usd
    forecast = effects.forecast
    assert forecast.start is not None and forecast.before_usd > 10_000
    pairs = [(forecast.before_usd, forecast.after_usd), *((row.before_usd, row.after_usd) for row in forecast.classes)]
    for before_usd, after_usd in pairs:
        assert float(after_usd) == pytest.approx(float(before_usd) * 0.8, rel=1e-6)


def test_the_forecast_at_both_prices_is_near_the_forecast_page(demo):
    """Another number of paths, the same volumes in the mean: within the error of both."""
    book = price_book()
    effects = price_effects(as_of=AS_OF, on=LAST, before=book, after=book)
    assert effects.by_class == () and effects.forecast.classes == ()
    view, _ = run_forecast(prepare_forecast(as_of=AS_OF, months=12, paths=500))
    current = next(policy for policy in view.policies if policy.policy == "current")
    error = 5 * float(current.total.standard_error_usd)
    assert float(effects.forecast.before_usd) == pytest.approx(float(current.total.mean_usd), abs=error)


def test_the_demo_has_a_proposed_price_with_an_effect(demo):
    rows = Price.objects.filter(source=SOURCE)
    assert {row.approved_at for row in rows} == {None} and len(rows) == 10
    effects = proposal_effects(as_of=AS_OF)
    assert effects is not None and effects.month is not None
    (line,) = effects.by_model
    assert line.key == "claude-sonnet-4-6" and line.after_usd < line.before_usd
    assert effects.forecast.change_usd < 0


def test_a_forecast_at_what_if_prices_is_that_of_its_unit_costs(demo):
    document = {"schema": "costgov.price_scenario/1", "title": "Half", "changes": [{"percent": "-50"}]}
    save_price_scenario(actor=None, scenario=parse_price_scenario(document), as_of=AS_OF)
    base = prepare_forecast(as_of=AS_OF, months=3, paths=10).inputs.unit_costs
    half = prepare_forecast(as_of=AS_OF, months=3, paths=10, scenario=parse_scenario("prices:Half")).inputs.unit_costs
    assert half[1:] == pytest.approx(base[1:] * 0.5, rel=1e-9)  # current, optimised and approved


def test_the_command_names_unknown_what_if_prices(demo):
    with pytest.raises(SystemExit):
        call_command("forecast", "--scenario", "prices:Nothing", "--as-of", AS_OF.date().isoformat())
