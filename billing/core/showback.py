"""Who carries a cost: dated rules from usage to a cost centre. The rule that says most wins; no rule = unallocated."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import product
from typing import Final

UNALLOCATED: Final = ""
FIELDS: Final = ("channel", "workspace", "api_key", "request_class")
# Of rules that name as many things, the one that names the narrower: a key lies in a workspace, a class across them.
_NARROWNESS: Final = {"channel": 1, "workspace": 2, "request_class": 3, "api_key": 4}


@dataclass(frozen=True, slots=True)
class Rule:
    """Usage a cost centre carries on days [valid_from, valid_to); '' matches anything, None is open."""

    cost_centre: str
    channel: str = ""
    workspace: str = ""
    api_key: str = ""
    request_class: str = ""
    valid_from: date | None = None
    valid_to: date | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """What it names, in the order of FIELDS."""
        return tuple(name for name in FIELDS if getattr(self, name))

    @property
    def rank(self) -> tuple[int, int, date, date]:
        """Higher wins: more named, then narrower, then begun later, then ended earlier."""
        names = self.named
        return (
            len(names),
            sum(4 ** _NARROWNESS[name] for name in names),
            self.valid_from or date.min,
            date.fromordinal(date.max.toordinal() - (self.valid_to or date.max).toordinal() + 1),
        )

    def holds_on(self, day: date) -> bool:
        return (self.valid_from is None or self.valid_from <= day) and (self.valid_to is None or day < self.valid_to)

    @property
    def words(self) -> str:
        """workspace wrkspc_a, API key key-1: what it covers."""
        labels = {"request_class": "class", "api_key": "API key"}
        return ", ".join(f"{labels.get(name, name)} {getattr(self, name)}" for name in self.named) or "all other usage"


class Rules:
    """Rules with one look-up, found by what they name: as many look-ups as there are subsets of FIELDS."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._by: dict[tuple[str, ...], list[Rule]] = {}
        for rule in rules:
            self._by.setdefault(tuple(getattr(rule, name) for name in FIELDS), []).append(rule)
        every = [rule for found in self._by.values() for rule in found]
        self.change_days: tuple[date, ...] = tuple(
            sorted({day for rule in every for day in (rule.valid_from, rule.valid_to) if day})
        )

    def of(self, values: Sequence[str]) -> list[Rule]:
        """Every rule that matches values in the order of FIELDS, whatever its days; the winner first."""
        choices = [(value, "") if value else ("",) for value in values]
        found = [rule for key in product(*choices) for rule in self._by.get(key, ())]
        return sorted(found, key=lambda rule: rule.rank, reverse=True)

    def cost_centre(self, values: Sequence[str], day: date) -> str:
        """Who carries usage with these values on a day; '' = nobody (unallocated)."""
        return next((rule.cost_centre for rule in self.of(values) if rule.holds_on(day)), UNALLOCATED)

    def over_time(self, values: Sequence[str]) -> list[str]:
        """The cost centre before the first of `change_days`, and from each of them on."""
        matching = self.of(values)
        days = [date.min, *self.change_days]
        return [next((rule.cost_centre for rule in matching if rule.holds_on(day)), UNALLOCATED) for day in days]


def same_place(rules: Iterable[Rule]) -> list[tuple[Rule, Rule]]:
    """Pairs that cover the same usage on the same days and name different cost centres: nobody could say which."""
    by: dict[tuple[str, ...], list[Rule]] = {}
    for rule in rules:
        by.setdefault(tuple(getattr(rule, name) for name in FIELDS), []).append(rule)
    found = []
    for group in by.values():
        ordered = sorted(group, key=lambda rule: rule.valid_from or date.min)
        for n, rule in enumerate(ordered):
            found += [
                (rule, other)
                for other in ordered[n + 1 :]
                if rule.cost_centre != other.cost_centre and _overlap(rule, other)
            ]
    return found


def _overlap(one: Rule, other: Rule) -> bool:
    return (one.valid_from or date.min) < (other.valid_to or date.max) and (other.valid_from or date.min) < (
        one.valid_to or date.max
    )
