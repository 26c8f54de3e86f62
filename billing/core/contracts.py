"""Contracts beside the list: dated rates laid over a price book, and credits used up by what is spent.

Rates are percentages off the list price or fixed prices (`Rate`); `contracted` gives the book that prices usage under
them. Credits are amounts of money, not prices: they lower what is paid, never what usage costs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from billing.core.money import ZERO, round_usd
from billing.core.overlays import Change, Overlay, OverlayBook
from billing.core.pricebook import PriceBook, PriceError

MAX_RATES: Final = 500


@dataclass(frozen=True, slots=True)
class Credit:
    """An amount the provider grants, used up by spend on days [valid_from, valid_to)."""

    name: str
    amount_usd: Decimal
    valid_from: date
    valid_to: date | None = None


@dataclass(frozen=True, slots=True)
class ContractTerms:
    """A contract for the usage of one channel ('' = of any) on days [valid_from, valid_to): its rates hold within them.

    `known_at`: when it was approved. Raises PriceError for two rates of the same scope and start.
    """

    name: str
    channel: str
    valid_from: date
    valid_to: date | None
    rates: tuple[Change, ...]
    credits: tuple[Credit, ...] = ()
    known_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.valid_to is not None and self.valid_from >= self.valid_to:
            raise PriceError(f"contract {self.name} starts {self.valid_from}, but ends {self.valid_to}")
        seen: set[tuple[object, ...]] = set()
        for rate in self.rates:
            key = (rate.model, rate.token_kind, rate.service_tier, rate.valid_from)
            if key in seen:
                raise PriceError(f"contract {self.name} has two rates for {rate.scope} from the same day: keep one")
            seen.add(key)

    @property
    def overlay(self) -> Overlay:
        return Overlay(
            words=f"under contract {self.name}",
            changes=self.rates,
            contract=self.name,
            channel=self.channel,
            valid_from=self.valid_from,
            valid_to=self.valid_to,
            known_at=self.known_at,
        )


def contracted(book: PriceBook, contracts: Iterable[ContractTerms]) -> PriceBook:
    """`book` under contracts: the same look-up, whose prices say from which list price and contract they come.

    Without rates it is `book` itself: credits change no price. Of several contracts that hold at once the most specific
    rate wins, of equals the later start, then the contract that begins later, then the name.
    """
    ordered = sorted((one for one in contracts if one.rates), key=lambda one: (one.valid_from, one.name))
    return OverlayBook(book, [one.overlay for one in ordered]) if ordered else book


@dataclass(frozen=True, slots=True)
class CreditUse:
    """How much of a credit a month used, and what was left of it after the month. `month` is its first day."""

    credit: Credit
    month: date
    used_usd: Decimal
    left_usd: Decimal


def credit_use(credits: Sequence[Credit], spend: Mapping[date, Decimal], ends: Mapping[date, date]) -> list[CreditUse]:
    """How credits are used up by spend in usd per month (first day → amount), month by month.

    A month draws on credits valid on some day of it, the one that ends first first, up to its spend rounded to cents;
    a credit never makes a month negative. `ends` gives the first day after each month.
    """
    left = [credit.amount_usd for credit in credits]
    order = sorted(
        range(len(credits)), key=lambda i: (credits[i].valid_to or date.max, credits[i].valid_from, credits[i].name)
    )
    found = []
    for month in sorted(spend):
        open_usd = max(ZERO, round_usd(spend[month]))
        for i in order:
            credit = credits[i]
            if credit.valid_from >= ends[month] or (credit.valid_to is not None and credit.valid_to <= month):
                continue
            used = min(left[i], open_usd)
            if used > 0:
                left[i] -= used
                open_usd -= used
                found.append(CreditUse(credit, month, used, left[i]))
    return found
