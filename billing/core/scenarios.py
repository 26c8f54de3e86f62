"""Named scenarios: what no history covers, said in a word and kept in the address (methods.md §5.6, §6)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from billing.core.sampling import KnownEvent

GROWTH_STOPS_HALF_LIFE_WEEKS: Final = 13.0
LIST_CUT: Final = 0.67  # −33 %: what model prices have fallen by at a time
LIST_RISE: Final = 1.10
MAX_DELAY_MONTHS: Final = 24
MAX_GROWTH: Final = 9.0
_PRICES: Final = re.compile(r"list(?P<sign>[+-])(?P<percent>\d{1,3})(?:@(?P<month>\d{1,2}))?", re.ASCII)


class UnknownScenario(ValueError):
    """A scenario nobody defined; the message lists what there is."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is assumed instead of the measured course.

    `planned_growth` (0.2 = +20 % a year) None = as measured · `growth_stops` · `price_factor` on every list price from
    month `price_from_month` (1 = the first) · `price_scenario` names kept what-if prices ('' = the list) ·
    `rollout_delay_months` · `switched_off` classes without volume.
    """

    planned_growth: float | None = None
    growth_stops: bool = False
    price_factor: float = 1.0
    price_from_month: int = 13
    rollout_delay_months: int = 0
    switched_off: tuple[str, ...] = ()
    price_scenario: str = ""

    @property
    def is_base(self) -> bool:
        return self == Scenario(price_from_month=self.price_from_month)

    @property
    def half_life_weeks(self) -> float | None:
        return GROWTH_STOPS_HALF_LIFE_WEEKS if self.growth_stops else None

    @property
    def name(self) -> str:
        """The canonical spelling `parse_scenario` reads; "base" when nothing is changed."""
        parts = []
        if self.growth_stops:
            parts.append("growth-stops")
        elif self.planned_growth is not None:
            parts.append(f"growth:{self.planned_growth:g}")
        if self.price_factor != 1:
            parts.append(f"list{(self.price_factor - 1) * 100:+.0f}@{self.price_from_month}")
        if self.price_scenario:
            parts.append(f"prices:{self.price_scenario}")
        if self.rollout_delay_months:
            parts.append(f"rollout+{self.rollout_delay_months}")
        parts += [f"off:{name}" for name in self.switched_off]
        return ",".join(parts) or "base"

    @property
    def text(self) -> str:
        """The scenario in words."""
        parts = []
        if self.growth_stops:
            parts.append("all classes stop growing")
        elif self.planned_growth is not None:
            parts.append(f"planned growth of {self.planned_growth:+.0%} a year")
        if self.price_factor != 1:
            parts.append(
                f"list prices {self.price_factor - 1:+.0%} from month {self.price_from_month}".replace("-", "−")
            )
        if self.price_scenario:
            parts.append(f"prices of scenario {self.price_scenario}")
        if self.rollout_delay_months:
            unit = "month" if self.rollout_delay_months == 1 else "months"
            parts.append(f"moves start {self.rollout_delay_months} {unit} later")
        if self.switched_off:
            parts.append(f"without {', '.join(self.switched_off)}")
        return "; ".join(parts) or "as measured, list prices unchanged"

    def events(self, from_date: date) -> tuple[KnownEvent, ...]:
        """Classes switched off are volume × 0 from the first forecast day on."""
        return tuple(KnownEvent(name, from_date, 0.0) for name in self.switched_off)


BASE: Final = Scenario()


def parse_scenario(text: str, *, months: int = 12, classes: Sequence[str] | None = None) -> Scenario:
    """A scenario from its name: `base`, or parts with commas between them.

    `growth-stops` · `growth:0.2` · `list-33` or `list+10`, from month 13 or, where the horizon ends before, from its
    middle; `list-33@7` names the month · `prices:NAME` kept what-if prices · `rollout+3` · `off:CLASS`. Raises
    UnknownScenario, also for a class not in `classes`.

    >>> parse_scenario("list-33,off:triage").name
    'list-33@7,off:triage'
    """
    chosen: dict[str, object] = {}
    switched_off: list[str] = []
    for part in filter(None, (word.strip() for word in text.split(","))):
        kind, _, value = part.partition(":")
        prices = _PRICES.fullmatch(part)
        if part == "base":
            continue
        if part == "growth-stops":
            chosen["growth_stops"] = True
        elif kind == "growth" and value:
            chosen["planned_growth"] = _growth(value)
        elif prices:
            sign = -1 if prices["sign"] == "-" else 1
            chosen["price_factor"] = _factor(1 + sign * int(prices["percent"]) / 100)
            chosen["price_from_month"] = _month(prices["month"], months)
        elif kind == "prices" and value.strip():
            chosen["price_scenario"] = value.strip()
        elif part.startswith("rollout+") and part[8:].isdecimal() and int(part[8:]) <= MAX_DELAY_MONTHS:
            chosen["rollout_delay_months"] = int(part[8:])
        elif kind == "off" and value:
            if classes is not None and value not in classes:
                raise UnknownScenario(f"off:{value}: no such class; there are {', '.join(classes) or 'none'}")
            switched_off.append(value)
        else:
            raise UnknownScenario(
                f"unknown scenario {part!r}: use base, growth-stops, growth:0.2, list-33, list+10@7, prices:NAME, "
                "rollout+3 or off:CLASS, several with commas"
            )
    return Scenario(switched_off=tuple(sorted(set(switched_off))), **chosen)  # type: ignore[arg-type]


def _growth(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise UnknownScenario(f"growth:{text} is not a number; +20% a year is growth:0.2") from error
    if not -0.99 <= value <= MAX_GROWTH:
        raise UnknownScenario(f"growth:{text} is out of range; use −0.99 to {MAX_GROWTH:g}, +20% a year is growth:0.2")
    return value


def _factor(value: float) -> float:
    if not 0 <= value <= 10:
        raise UnknownScenario("a list price cannot fall by more than 100%; write −33% as list-33")
    return round(value, 4)


def _month(text: str | None, months: int) -> int:
    if text is None:
        return 13 if months > 12 else months // 2 + 1
    month = int(text)
    if not 1 <= month <= months:
        raise UnknownScenario(f"month {month} is outside the {months} months of this forecast")
    return month
