"""What other prices do to the forecast: the same simulated volumes at two price books, under the current policy."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

import numpy as np

from billing.core.money import estimate_usd
from billing.core.pricebook import PriceBook
from billing.core.sampling import SampleSettings, sample_volumes
from billing.core.scenarios import BASE
from costgov.queries.forecast import fit_volumes, prepare_forecast
from costgov.queries.forecast_inputs import ForecastRefused, current_unit_costs
from costgov.queries.recommendation import NoBaseline

PATHS: Final = 500
MONTHS: Final = 12


@dataclass(frozen=True, slots=True)
class ClassEffect:
    """One class over the forecast's months; usd, estimates."""

    request_class: str
    title: str
    before_usd: Decimal
    after_usd: Decimal

    @property
    def change_usd(self) -> Decimal:
        return self.after_usd - self.before_usd


@dataclass(frozen=True, slots=True)
class ForecastEffect:
    """Mean spend of months [start, end) at both prices; `reason` says why there is none. Estimates."""

    start: date | None
    end: date | None
    before_usd: Decimal
    after_usd: Decimal
    classes: tuple[ClassEffect, ...]
    reason: str = ""

    @property
    def change_usd(self) -> Decimal:
        return self.after_usd - self.before_usd


def forecast_effect(*, as_of: datetime, before: PriceBook, after: PriceBook) -> ForecastEffect:
    """The next twelve months under the current policy at two price books, each class that changes, largest first.

    Both see the same volumes, so the difference is that of the prices alone.
    """
    try:
        prepared = prepare_forecast(as_of=as_of, months=MONTHS, paths=PATHS)
    except (ForecastRefused, NoBaseline) as error:
        return ForecastEffect(None, None, Decimal(0), Decimal(0), (), str(error))
    inputs = prepared.inputs
    model = fit_volumes(inputs.classes, inputs.cutoff, BASE)
    volumes = sample_volumes(model, inputs.periods, SampleSettings(prepared.seed, PATHS))
    units = np.stack([volumes[period].mean(axis=1) for period in range(len(volumes))], axis=1)
    costs = [(current_unit_costs(inputs, book) * units).sum(axis=1) for book in (before, after)]
    rows = [
        ClassEffect(row.name, row.title, estimate_usd(costs[0][i]), estimate_usd(costs[1][i]))
        for i, row in enumerate(inputs.classes)
    ]
    return ForecastEffect(
        start=inputs.periods[0][0],
        end=inputs.periods[-1][1],
        before_usd=estimate_usd(costs[0].sum()),
        after_usd=estimate_usd(costs[1].sum()),
        classes=tuple(sorted((row for row in rows if row.change_usd), key=lambda row: -abs(row.change_usd))),
    )
