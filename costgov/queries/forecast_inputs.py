"""What a forecast rests on: driver series, unit costs of three policies in every month, and who agreed to what.

Baseline and target costs come from the recommendation's own steps (`routing.queries.recommendation.plan_costs`), the
current cost from counted rows re-priced. Everything is read here; `costgov.queries.forecast` only computes.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import numpy as np

from billing.core.forecasting import MAX_WEEKS, DriverSeries, Floats
from billing.core.pricebook import PriceBook
from billing.core.scenarios import Scenario
from billing.core.spending import (
    Periods,
    PriceSegment,
    contract_months,
    mix_sd,
    period_unit_costs,
    rolled_out,
    rollout_share,
)
from billing.queries.books import UnknownPrices, book_for
from billing.queries.drivers import BlockUsage, costs_on, counted_span, covered_days, usage_blocks
from billing.queries.prices import price_book, release_facts
from billing.queries.series import DayOfUsage, daily_usage
from costgov.queries.plan import ClassPlan, class_plans
from costgov.queries.recommendation import recommended_report
from routing.core.traffic import tokenizer_factor
from routing.models import RequestClass
from routing.queries.recommendation import RecommendationReport, plan_costs, reference_models

BLOCK_DAYS: Final = 28
MIN_DAYS: Final = 7
MAX_MONTHS: Final = 60
OUTLOOK_MONTHS: Final = 24
MTOK: Final = 1_000_000.0
UNCLASSIFIED: Final = ""
DAY: Final = timedelta(days=1)
_LAYERS: Final = ("baseline", "current", "target", "approved")
UNIT_POLICIES: Final = ("baseline", "current", "optimised", "approved")  # the first axis of `unit_costs`


class ForecastRefused(ValueError):
    """A forecast that cannot be made from what is there; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class ClassInputs:
    """One class as it enters a forecast. `unit_name` is what the driver counts; costs are usd per such unit.

    `recent_units` is the driver in the recommendation's window, `current_cost_usd` what its priced part cost there.
    `remark` says what the reader must know (no recommendation, part unpriced), '' = nothing.
    """

    name: str
    title: str
    unit_name: str
    series: DriverSeries
    recent_units: float
    current_cost_usd: float
    mix_sd: float
    plan: ClassPlan
    remark: str
    unpriced_tok: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A class that is not forecast, and why."""

    name: str
    title: str
    reason: str


@dataclass(frozen=True, slots=True)
class ForecastInputs:
    """Everything a forecast is computed from.

    `layers` hold unit costs in usd per driver unit at the list prices known today, [class, period] over `all_periods`
    (at least two years, so that what lies behind the horizon can be said too); `months` of them are asked for.
    """

    cutoff: date
    first_day: date
    all_periods: Periods
    months: int
    classes: tuple[ClassInputs, ...]
    left_out: tuple[LeftOut, ...]
    layers: Mapping[str, Floats]
    moves_from: date
    scenario: Scenario
    report: RecommendationReport
    price_changes: tuple[date, ...]

    @property
    def periods(self) -> Periods:
        return self.all_periods[: self.months]

    @property
    def rollout_start(self) -> date:
        """When proven moves begin, with the scenario's delay."""
        delay = self.scenario.rollout_delay_months
        return contract_months(self.moves_from, delay)[-1][1] if delay else self.moves_from

    @property
    def unit_costs(self) -> Floats:
        """[policy, class, period] of UNIT_POLICIES: "approved" is "optimised" without moves nobody has approved."""
        staged = np.array([rollout_share(self.rollout_start, period) for period in self.all_periods])
        current = self.layers["current"]
        optimised = rolled_out(
            current, self.layers["target"], np.array([row.plan.target_share(staged) for row in self.classes])
        )
        approved = rolled_out(
            current, self.layers["approved"], np.array([row.plan.approved_share(staged) for row in self.classes])
        )
        return np.stack([self.layers["baseline"], current, optimised, approved])

    @property
    def scenario_unit_costs(self) -> Floats:
        """`unit_costs` with the scenario's list prices."""
        costs = self.unit_costs
        costs[:, :, self.scenario.price_from_month - 1 :] *= self.scenario.price_factor
        return costs


def first_of_next_month(day: date) -> date:
    """The first of the next month; a first is its own."""
    return day if day.day == 1 else contract_months(day.replace(day=1), 1)[0][1]


def read_inputs(
    *, as_of: datetime, start: date | None, months: int, scenario: Scenario, rollout_start: date | None = None
) -> ForecastInputs:
    """Read drivers and costs as of an instant. Raises ForecastRefused, NoBaseline.

    `start` is the first day of the first month (default: the first of next month), `rollout_start` when proven moves
    begin (default: likewise; the scenario's delay is added).
    """
    today = as_of.date()
    span = counted_span()
    if span is None or span[0] >= today:
        raise ForecastRefused("There is no usage yet: import usage first.")
    cutoff = min(span[1], today - DAY)
    first = max(span[0], cutoff - timedelta(days=MAX_WEEKS * 7 - 1))
    if (cutoff - first).days + 1 < MIN_DAYS:
        raise ForecastRefused(
            f"A forecast needs at least {MIN_DAYS} whole days of usage; {(cutoff - first).days + 1} are imported. "
            "Import more, or wait."
        )
    begin = start or first_of_next_month(today)
    if not 1 <= months <= MAX_MONTHS:
        raise ForecastRefused(f"{months} months cannot be forecast: use 1 to {MAX_MONTHS}.")
    if begin <= cutoff:
        raise ForecastRefused(
            f"The forecast would start on {begin}, but usage is known to {cutoff}: give a start after that day."
        )
    periods = contract_months(begin, max(months, OUTLOOK_MONTHS))
    report = recommended_report(as_of=as_of)
    rows = daily_usage(start=first, end=cutoff + DAY)
    listed = price_book()
    try:
        book = book_for(scenario=scenario.price_scenario, book=listed).book
    except UnknownPrices as error:
        raise ForecastRefused(f"{error}.") from error
    classes, left_out = _classes(as_of, first, cutoff, report, rows, listed)
    if not classes:
        raise ForecastRefused(
            f"No class has usage in the 28 days before {today}, so no cost per request is known: import newer usage."
        )
    changes = tuple(day for day in book.change_days() if begin < day < periods[-1][1])
    return ForecastInputs(
        cutoff=cutoff,
        first_day=first,
        all_periods=periods,
        months=months,
        classes=classes,
        left_out=left_out,
        layers=_layers(classes, report, book, periods, changes),
        moves_from=rollout_start or first_of_next_month(today),
        scenario=scenario,
        report=report,
        price_changes=changes,
    )


# -- classes ---------------------------------------------------------------------------------------------------


def _classes(
    as_of: datetime,
    first: date,
    cutoff: date,
    report: RecommendationReport,
    rows: Sequence[DayOfUsage],
    book: PriceBook,
) -> tuple[tuple[ClassInputs, ...], tuple[LeftOut, ...]]:
    """Every class with counted usage in its history, in order of names; unclassified usage is one of them."""
    by_class: dict[str, list[DayOfUsage]] = defaultdict(list)
    for row in rows:
        by_class[row.request_class].append(row)
    titles = dict(RequestClass.objects.values_list("slug", "title"))
    now_costs = costs_on(usage_blocks(start=report.start, end=report.end, block_days=BLOCK_DAYS), book, as_of.date())
    blocks = usage_blocks(start=first, end=cutoff + DAY, block_days=BLOCK_DAYS)
    plans = class_plans(report, as_of=as_of)
    references = reference_models(report)
    generations = {name: facts.tokenizer_generation for name, facts in release_facts().items()}
    covered = covered_days(start=first, end=cutoff + DAY)
    found, left_out = [], []
    for name, usage in sorted(by_class.items()):
        title = titles.get(name, name or "Unclassified usage")
        by_requests = all(row.requests is not None for row in usage)
        reference = references.get(name) or _most_used(usage)
        days = _daily_units(usage, first, cutoff, by_requests, generations, reference, covered[name])
        window = days[-((cutoff - report.start).days + 1) :] if report.start <= cutoff else days[:0]
        units = float(np.nansum(window))
        cost = now_costs.get((name, 0))
        if units <= 0 or cost is None:
            reason = "no usage in the last 28 days, so its cost per request is not known"
            left_out.append(LeftOut(name, title, reason))
            continue
        plan = plans.get(name) or ClassPlan.unplanned(name)
        found.append(
            ClassInputs(
                name=name,
                title=title,
                unit_name="request" if by_requests else "million input tokens",
                series=DriverSeries(name, days),
                recent_units=units,
                current_cost_usd=float(cost.cost_usd),
                mix_sd=_mix_sd(name, days, blocks, book, as_of.date()),
                plan=plan,
                remark=_remark(name, name in titles, plan, cost.unpriced_tok),
                unpriced_tok=cost.unpriced_tok,
            )
        )
    return tuple(found), tuple(left_out)


def _most_used(usage: Sequence[DayOfUsage]) -> str:
    tokens: dict[str, int] = defaultdict(int)
    for row in usage:
        tokens[row.model] += row.input_tok
    return min(tokens, key=lambda model: (-tokens[model], model))


def _daily_units(
    usage: Sequence[DayOfUsage],
    first: date,
    cutoff: date,
    by_requests: bool,
    generations: Mapping[str, int | None],
    reference: str,
    covered: frozenset[date],
) -> Floats:
    """The driver per day (methods.md §5): requests, or millions of input tokens on the reference model's tokenizer.

    Before a class's first usage nothing is known of it; after, a covered day without usage is 0.
    """
    count = (cutoff - first).days + 1
    days = np.full(count, np.nan)
    begin = (min(row.on for row in usage) - first).days
    for day in range(begin, count):
        if first + timedelta(days=day) in covered:
            days[day] = 0.0
    for row in usage:
        units = float(row.requests or 0)
        if not by_requests:
            units = row.input_tok / float(tokenizer_factor(generations, reference, row.model)) / MTOK
        day = (row.on - first).days
        days[day] = np.nan_to_num(days[day]) + units
    return days


def _mix_sd(name: str, days: Floats, blocks: Sequence[BlockUsage], book: PriceBook, on: date) -> float:
    """Spread of the class's cost per unit at today's prices between whole 4-week blocks (methods.md §6)."""
    costs = costs_on([row for row in blocks if row.request_class == name], book, on)
    count = len(days) // BLOCK_DAYS
    per_unit = np.full(count, np.nan)
    for block in range(count):
        units = days[len(days) - (block + 1) * BLOCK_DAYS : len(days) - block * BLOCK_DAYS].sum()
        cost = costs.get((name, block))
        if cost is not None and not cost.unpriced_tok and units > 0:
            per_unit[count - 1 - block] = float(cost.cost_usd) / units
    return mix_sd(per_unit)


def _remark(name: str, is_registered: bool, plan: ClassPlan, unpriced_tok: int) -> str:
    parts = []
    if name == UNCLASSIFIED:
        parts.append("unclassified, so it stays at its current cost under every policy")
    elif not is_registered:
        parts.append("not in the register of classes: stays at its current cost under every policy")
    elif plan.reason:
        parts.append(f"nothing recommended ({plan.reason}): stays at its current cost")
    if unpriced_tok:
        parts.append(f"{unpriced_tok:,} tokens of the last 28 days have no price and are not in the forecast")
    return "; ".join(parts)


# -- unit costs ------------------------------------------------------------------------------------------------


def _layers(
    classes: Sequence[ClassInputs],
    report: RecommendationReport,
    book: PriceBook,
    periods: Periods,
    changes: Sequence[date],
) -> dict[str, Floats]:
    """Unit costs [class, period] before any rollout: each month's days at the list prices in force on them."""
    begin, end = periods[0][0], periods[-1][1]
    # A what-if may price a model that the list does not: it is not folded with others without a price.
    window = usage_blocks(start=report.start, end=report.end, block_days=BLOCK_DAYS, keep=book.models)
    layers: dict[str, list[PriceSegment]] = {layer: [] for layer in _LAYERS}
    for first, last in zip([begin, *changes], [*changes, end], strict=True):
        for layer, costs in _costs_of_day(classes, report, window, book, first).items():
            layers[layer].append(PriceSegment(first, last, costs))
    return {layer: period_unit_costs(segments, periods) for layer, segments in layers.items()}


def current_unit_costs(inputs: ForecastInputs, book: PriceBook) -> Floats:
    """Unit costs [class, period] of the current policy at other prices: what a price change does to the forecast."""
    window = usage_blocks(start=inputs.report.start, end=inputs.report.end, block_days=BLOCK_DAYS, keep=book.models)
    begin, end = inputs.periods[0][0], inputs.periods[-1][1]
    changes = [day for day in book.change_days() if begin < day < end]
    segments = []
    for first, last in zip([begin, *changes], [*changes, end], strict=True):
        costs = costs_on(window, book, first)
        units = [float(costs[row.name, 0].cost_usd) / row.recent_units for row in inputs.classes]
        segments.append(PriceSegment(first, last, np.array(units)))
    return period_unit_costs(segments, inputs.periods)


def _costs_of_day(
    classes: Sequence[ClassInputs],
    report: RecommendationReport,
    window: Sequence[BlockUsage],
    book: PriceBook,
    on: date,
) -> dict[str, Floats]:
    """Unit cost of every class in usd per driver unit at one day's list prices."""
    current_costs = costs_on(window, book, on)
    plans = plan_costs(report, models={row.name: row.plan.models for row in classes}, on=on, book=book)
    found = {policy: np.zeros(len(classes)) for policy in _LAYERS}
    for i, row in enumerate(classes):
        current = float(current_costs[row.name, 0].cost_usd) / row.recent_units
        costs = plans.get(row.name)
        found["baseline"][i] = found["current"][i] = found["target"][i] = found["approved"][i] = current
        if costs is None:
            continue
        # A recommendation counts its own units in the window; the driver may count others there (tokens, requests).
        scale = float(costs.units) / row.recent_units
        if costs.baseline is not None and not row.unpriced_tok:
            found["baseline"][i] = float(costs.baseline) * scale
        for policy, choice in (("target", row.plan.target), ("approved", row.plan.approved)):
            unit_cost = choice.unit_cost_usd(costs.by_model) if choice is not None else None
            if unit_cost is not None:
                found[policy][i] = unit_cost * scale
    return found


def describe_inputs(inputs: ForecastInputs) -> dict[str, Any]:
    """The versions a forecast names: data to, prices, policy, units; also what its hash is taken over."""
    policy = inputs.report.policy
    return {
        "cutoff": inputs.cutoff.isoformat(),
        "history_from": inputs.first_day.isoformat(),
        "periods": [inputs.periods[0][0].isoformat(), inputs.periods[-1][1].isoformat(), len(inputs.periods)],
        "baseline_model": inputs.report.baseline_model,
        "price_version": inputs.report.price_version,
        "policy": f"{policy.name}@{policy.version}" if policy is not None else "",
        "policy_hash": policy.content_hash if policy is not None else "",
        "rollout_start": inputs.rollout_start.isoformat(),
        "scenario": inputs.scenario.name,
        "units": {row.name: row.unit_name for row in inputs.classes},
    }
