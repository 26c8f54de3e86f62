"""What other prices would do, for the page that decides on them: last month re-priced, and the next twelve months."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from billing.core.money import ZERO
from billing.core.price_scenarios import PriceScenario, ScenarioBook
from billing.core.pricebook import PriceBook, PriceError
from billing.models import Price
from billing.queries.price_effect import EffectRow, MonthEffect, last_month, month_effect
from billing.queries.prices import list_price, price_book
from billing.queries.series import model_names
from costgov.queries.price_forecast import ForecastEffect, forecast_effect
from routing.models import RequestClass


@dataclass(frozen=True, slots=True)
class EffectLine:
    """Usage of last month under one name at both prices; usd, exact."""

    key: str
    name: str
    before_usd: Decimal
    after_usd: Decimal

    @property
    def change_usd(self) -> Decimal:
        return self.after_usd - self.before_usd

    @property
    def change(self) -> float | None:
        """New / old − 1."""
        return float(self.after_usd / self.before_usd) - 1 if self.before_usd else None


@dataclass(frozen=True, slots=True)
class PriceEffects:
    """`month` None = no whole month of usage yet. Lines that do not change are left out."""

    month: MonthEffect | None
    by_class: tuple[EffectLine, ...]
    by_model: tuple[EffectLine, ...]
    forecast: ForecastEffect


def price_effects(*, as_of: datetime, on: date, before: PriceBook, after: PriceBook) -> PriceEffects:
    """Last month's usage at the prices of the day `on` in both books, and the forecast at both."""
    span = last_month(as_of=as_of)
    forecast = forecast_effect(as_of=as_of, before=before, after=after)
    if span is None:
        return PriceEffects(None, (), (), forecast)
    month = month_effect(start=span[0], end=span[1], on=on, before=before, after=after)
    titles = dict(RequestClass.objects.values_list("slug", "title")) | {"": "Unclassified usage"}
    names = {model: found.name for model, found in model_names().items()}
    return PriceEffects(
        month=month,
        by_class=_lines([(row.request_class, row) for row in month.changed], titles),
        by_model=_lines([(row.model, row) for row in month.changed], names),
        forecast=forecast,
    )


def _lines(rows: Iterable[tuple[str, EffectRow]], names: Mapping[str, str]) -> tuple[EffectLine, ...]:
    sums: dict[str, list[Decimal]] = defaultdict(lambda: [ZERO, ZERO])
    for key, row in rows:
        sums[key][0] += row.before_usd
        sums[key][1] += row.after_usd
    found = [EffectLine(key, names.get(key, key), before, after) for key, (before, after) in sums.items()]
    return tuple(sorted(found, key=lambda line: (-abs(line.change_usd), line.name)))


def scenario_effects(scenario: PriceScenario, *, as_of: datetime) -> PriceEffects:
    """Last month at the prices of the day on which all of the scenario has begun, and the forecast."""
    listed = price_book()
    on = max([as_of.date(), *scenario.starts])
    return price_effects(as_of=as_of, on=on, before=listed, after=ScenarioBook(listed, scenario))


def proposal_effects(*, as_of: datetime, ids: Sequence[int] | None = None) -> PriceEffects | None:
    """What approving proposed prices would do, all that wait or some; None without any, or where they contradict.

    Last month is priced as on the day on which the last of them begins.
    """
    rows = Price.objects.filter(approved_at=None).order_by("pk")
    prices = [list_price(row) for row in (rows if ids is None else rows.filter(pk__in=ids))]
    listed = price_book()
    try:
        after = listed.with_prices(prices)
    except PriceError:
        return None
    on = max([as_of.date(), *(price.valid_from for price in prices if price.valid_from is not None)])
    return price_effects(as_of=as_of, on=on, before=listed, after=after) if prices else None
