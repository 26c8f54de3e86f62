"""Sums of counted usage by any dimensions, with some of it only: exact money in columns (billing.core.usage_table)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Final

import numpy as np

from billing.core.pricebook import PriceBook
from billing.core.pricing import Pricer
from billing.core.showback import FIELDS, Rule, Rules
from billing.core.usage import PRICED_KINDS
from billing.core.usage_table import (
    KIND_CODES,
    Codes,
    Costs,
    Groups,
    Missing,
    UsageTable,
    codes_in_words,
    codes_of_days,
    codes_of_name,
    codes_of_places,
    grouped,
    grouped_by_kind,
    missing_lines,
)
from billing.models import CostCentre, CostCentreMapping
from billing.queries.named_models import OTHERS, named_models
from billing.queries.prices import release_facts
from billing.queries.usage_table import usage_facts

# Dimensions every key of usage has a value of, and what they are called there.
KEY_DIMENSIONS: Final = {
    "class": "request_class",
    "model": "model",
    "workspace": "workspace",
    "api_key": "api_key",
    "source": "source",
    "origin": "origin",
    "channel": "channel",
    "organisation": "organisation",
    "service_tier": "service_tier",
    "prompt_length_band": "prompt_length_band",
    "geo": "geo",
    "speed": "speed",
    "policy_version": "policy_version",
    "arm": "arm",
}
TIME_DIMENSIONS: Final = ("day", "week", "month")
TIER, COST_CENTRE, TEAM, TOKEN_KIND = "tier", "cost_centre", "team", "token_kind"
DIMENSIONS: Final = (*TIME_DIMENSIONS, *KEY_DIMENSIONS, TIER, COST_CENTRE, TEAM, TOKEN_KIND)
# The model, most of very many unknown ones as one: for pages that need no row of every name.
NAMED_MODEL: Final = "named_model"


@dataclass(frozen=True)
class UsageSums:
    """Groups of days [start, end), ascending by their values. Cost `n` in usd: `costs.usd(groups.cost[n])`."""

    by: tuple[str, ...]
    codes: tuple[Codes, ...]
    groups: Groups
    costs: Costs
    missing: Missing

    def __len__(self) -> int:
        return len(self.groups)

    def values(self, n: int) -> tuple[str, ...]:
        """The values of one group, in the order of `by`."""
        return tuple(codes.labels[held[n]] for codes, held in zip(self.codes, self.groups.values, strict=True))

    def cost_usd(self, n: int) -> Decimal:
        return self.costs.usd(int(self.groups.cost[n]))

    def place(self, name: str) -> int:
        return self.by.index(name)


def usage_sums(
    *,
    start: date,
    end: date,
    by: Sequence[str] = (),
    where: Mapping[str, str] | None = None,
    book: PriceBook | None = None,
    rules: Sequence[Rule] | None = None,
) -> UsageSums:
    """Counted usage of days [start, end) by some of DIMENSIONS, only what has the values of `where`.

    Each kind is priced at its own day's price of `book` (default: the prices in force). Exact: the groups add up to the
    whole. `rules`: who carries which cost, instead of the ones held. Raises KeyError for an unknown dimension,
    ValueError for an unknown token kind.
    """
    for name in (*by, *(where or {})):
        if name not in DIMENSIONS and name != NAMED_MODEL:
            raise KeyError(name)
    facts = usage_facts(start=start, end=end, book=book)
    here = facts.table.between(start, end)
    table, costs = facts.table.part(here), facts.costs.part(here)
    known = _Known(rules, start, end)
    kept = dict(where or {})
    only_kind = kept.pop(TOKEN_KIND, None)
    if only_kind is not None and only_kind not in PRICED_KINDS:
        raise ValueError(f"there is no token kind {only_kind!r}; use one of {', '.join(PRICED_KINDS)}")
    if kept:
        rows = np.ones(len(table), dtype=bool)
        for name, value in kept.items():
            codes = known.codes(table, name)
            rows &= codes.code == codes.labels.index(value) if value in codes.labels else False
        table, costs = table.part(rows), costs.part(rows)
    dims = [known.codes(table, name) for name in by if name != TOKEN_KIND]
    kinds = PRICED_KINDS if only_kind is None else (only_kind,)
    missing = missing_lines(table, costs, Pricer(facts.book), kinds)
    if only_kind is None and TOKEN_KIND not in by:
        return UsageSums(tuple(by), tuple(dims), grouped(table, costs, dims), costs, missing)
    place = by.index(TOKEN_KIND) if TOKEN_KIND in by else len(dims)
    groups = grouped_by_kind(table, costs, dims, place, kinds)
    dims.insert(place, KIND_CODES)
    # Grouped by kind although only filtered by it: the one kind is no dimension of the answer.
    if TOKEN_KIND not in by:
        groups, dims = replace(groups, values=groups.values[:-1]), dims[:-1]
    return UsageSums(tuple(by), tuple(dims), groups, costs, missing)


class _Known:
    """What else is known of usage: tiers of models, who carries what. Read when a dimension needs it."""

    def __init__(self, rules: Sequence[Rule] | None, start: date, end: date) -> None:
        self._rules, self._start, self._end = rules, start, end

    def codes(self, table: UsageTable, name: str) -> Codes:
        if name in KEY_DIMENSIONS:
            return codes_of_name(table, KEY_DIMENSIONS[name])
        if name in TIME_DIMENSIONS:
            return codes_of_days(table, _WORDS[name])
        if name == NAMED_MODEL:
            models = codes_of_name(table, "model")
            told = frozenset(named_models(start=self._start, end=self._end) or models.labels)
            return codes_in_words(models, [model if model in told else OTHERS for model in models.labels])
        if name == TIER:
            tiers = {model: facts.tier for model, facts in release_facts().items()}
            models = codes_of_name(table, "model")
            return codes_in_words(models, [tiers.get(model, "other") for model in models.labels])
        rules = Rules(self._rules if self._rules is not None else cost_rules())
        keys = list(zip(*(table.column(field) for field in FIELDS), strict=True))
        centres = [rules.over_time(values) for values in keys]
        if name == TEAM:
            teams = dict(CostCentre.objects.values_list("code", "team"))
            centres = [[teams.get(code, "") for code in line] for line in centres]
        return codes_of_places(table, rules.change_days, centres)


def cost_rules() -> list[Rule]:
    """Every mapping that is held."""
    rows = CostCentreMapping.objects.values_list("cost_centre__code", *FIELDS, "valid_from", "valid_to")
    return [Rule(*row) for row in rows]


def _week(day: date) -> str:
    """2026-W47: the ISO week, Monday to Sunday."""
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02d}"


_WORDS: Final = {
    "day": date.isoformat,
    "week": _week,
    "month": lambda day: f"{day:%Y-%m}",
}
