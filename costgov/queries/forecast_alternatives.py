"""What no history covers, computed beside a forecast on the same inputs: named scenarios, and a price cut next year."""

from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from billing.core.forecasting import Floats
from billing.core.money import estimate_usd
from billing.core.sampling import SampleSettings, sample_volumes
from billing.core.scenarios import LIST_CUT, Scenario, parse_scenario
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
    late = parse_scenario("rollout+3", months=months)
    stops = parse_scenario("growth-stops", months=months)
    base = _optimised(prepared, Scenario())
    rows = [
        _row("All classes stop growing", stops, 1, months, _optimised(prepared, stops), base),
        _row("Proven moves start 3 months later", late, 1, months, _optimised(prepared, late), base),
    ]
    last = max(months, 2 * YEAR)
    cut = Scenario(price_factor=LIST_CUT, price_from_month=YEAR + 1)
    name = f"List prices −33% from month {YEAR + 1}"
    rows.append(_row(name, cut, YEAR + 1, last, _optimised(prepared, cut), base))
    return tuple(rows)


def _optimised(prepared: PreparedForecast, scenario: Scenario) -> Floats:
    """[path, period] of the optimised policy over all periods that were read."""
    inputs = replace(prepared.inputs, scenario=scenario)
    volumes = sample_volumes(
        fit_volumes(inputs.classes, inputs.cutoff, scenario),
        inputs.all_periods,
        SampleSettings(prepared.seed, prepared.paths, half_life_weeks=scenario.half_life_weeks),
    )
    mix = mix_factors(np.array([row.mix_sd for row in inputs.classes]), paths=prepared.paths, seed=prepared.seed)
    return spend_paths(volumes, mix, inputs.scenario_unit_costs[2:3])[0]


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
