"""What the requests a period served would have cost on the baseline model (methods.md §8.1)."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from billing.queries.prices import model_prices
from billing.queries.profiles import ServedUsage, served_usage
from routing.core.escalations import passed_on, passed_usd
from routing.queries.incumbents import incumbents
from routing.queries.recommendation import CurrentCost, RecommendationReport, _costs, _traffic


@dataclass(frozen=True, slots=True)
class ServedBaseline:
    """One class in one period, re-priced at the baseline: no batch, and no caching but what its client brings.

    `low_usd`, `high_usd`: at the ends of an assumed number of tokens, None where they are measured. `cost_usd` is None
    where it cannot be said; `source` says why, else where the tokens on the baseline model come from.
    """

    request_class: str
    title: str
    units: Decimal
    unit_name: str
    cost_usd: Decimal | None
    low_usd: Decimal | None
    high_usd: Decimal | None
    source: str


def served_baselines(
    report: RecommendationReport, *, start: date, end: date, on: date, current: Mapping[str, CurrentCost]
) -> tuple[ServedBaseline, ...]:
    """Every class that served something on days [start, end), at the list prices of the day `on`.

    `current`: what that usage cost at the same prices; web searches and the premium of a geography cost the same on
    every model. Tokens on the baseline model: measured in the period, else as its evals or its tokenizer say.
    """
    facts = report.facts
    estate = replace(facts.estate, prices=model_prices(on=on), known_rates={})
    usage = served_usage(start=start, end=end)
    serving = incumbents(policy=None, usage=usage, slugs=[row.slug for row in facts.classes])
    by_class: dict[str, list[ServedUsage]] = defaultdict(list)
    for served in usage:
        by_class[served.request_class].append(served)
    found = []
    for row in facts.classes:
        rows, incumbent = by_class.get(row.slug), serving.get(row.slug)
        if not rows or incumbent is None:
            continue
        traffic = _traffic(row, rows, incumbent, estate)
        measured = estate.measured(row.slug)
        costs, factors = _costs(report.baseline_model, incumbent, traffic, measured, estate.generations)
        cost = low = high = None
        if costs is not None and traffic.units:
            usd = passed_usd(passed_on(rows, incumbent=incumbent), report.baseline_model, estate.rates)
            costs = current.get(row.slug, CurrentCost(None)).added_to(costs, traffic.units, passed_usd=usd)
            cost = traffic.units * costs.unit_cost_usd(frozenset())
            ends = costs.unit_cost_range_usd(frozenset())
            low, high = (traffic.units * end for end in ends) if ends is not None else (None, None)
        found.append(
            ServedBaseline(row.slug, row.title, traffic.units, traffic.unit_name, cost, low, high, factors.source)
        )
    return tuple(found)
