"""What no history covers, computed beside a forecast on the same inputs: named scenarios, and a price cut next year."""

from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from billing.core.forecasting import Floats
from billing.core.money import estimate_usd
from billing.core.sampling import SampleSettings, Volumes, sample_volumes
from billing.core.scenarios import BASE, LIST_CUT, Scenario, parse_scenario
from billing.core.spending import mix_factors, spend_paths, spread
from costgov.queries.forecast import PreparedForecast, fit_volumes

YEAR = 12


@dataclass(frozen=True, slots=True)
class Alternative:
    """The optimised policy under one other assumption: sum of months `first` to `last`, usd, an estimate.

    `change_usd` is against the same months as measured. `scenario` is the name that selects it.
    """

    text: str
    scenario: str
    first: int
    last: int
    mean_usd: Decimal
    p10_usd: Decimal
    p90_usd: Decimal
    change_usd: Decimal


def alternatives(prepared: PreparedForecast) -> tuple[Alternative, ...]:
    """Growth stops, moves three months late, and list prices a third lower from month 13 (always shown)."""
    months = prepared.inputs.months
    late, stops = parse_scenario("rollout+3", months=months), parse_scenario("growth-stops", months=months)
    cut = Scenario(price_factor=LIST_CUT, price_from_month=YEAR + 1)
    measured = _volumes(prepared, BASE)  # moves and prices change no volume
    base = _optimised(prepared, BASE, measured)
    return (
        _row(
            "All classes stop growing", stops, 1, months, _optimised(prepared, stops, _volumes(prepared, stops)), base
        ),
        _row("Proven moves start 3 months later", late, 1, months, _optimised(prepared, late, measured), base),
        _row(
            f"List prices −33% from month {YEAR + 1}",
            cut,
            YEAR + 1,
            max(months, 2 * YEAR),
            _optimised(prepared, cut, measured),
            base,
        ),
    )


def _volumes(prepared: PreparedForecast, scenario: Scenario) -> Volumes:
    """[period, class, path] over all periods that were read."""
    inputs = prepared.inputs
    settings = SampleSettings(prepared.seed, prepared.paths, half_life_weeks=scenario.half_life_weeks)
    return sample_volumes(fit_volumes(inputs.classes, inputs.cutoff, scenario), inputs.all_periods, settings)


def _optimised(prepared: PreparedForecast, scenario: Scenario, volumes: Volumes) -> Floats:
    """Spend of the optimised policy, [path, period]."""
    inputs = replace(prepared.inputs, scenario=scenario)
    mix = mix_factors(np.array([row.mix_sd for row in inputs.classes]), paths=prepared.paths, seed=prepared.seed)
    return np.asarray(spend_paths(volumes, mix, inputs.scenario_unit_costs[2:3])[0], dtype=np.float64)


def _row(text: str, scenario: Scenario, first: int, last: int, spend: Floats, base: Floats) -> Alternative:
    months = slice(first - 1, last)
    found, usual = spread(spend[:, months].sum(axis=1)), base[:, months].sum(axis=1).mean()
    return Alternative(
        text=text,
        scenario=scenario.name,
        first=first,
        last=last,
        mean_usd=estimate_usd(found.mean),
        p10_usd=estimate_usd(found.p10),
        p90_usd=estimate_usd(found.p90),
        change_usd=estimate_usd(found.mean - float(usual)),
    )
