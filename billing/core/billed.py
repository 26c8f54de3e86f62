"""Values of both sides of an invoice's comparison, and of the comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billing.core.money import ZERO, sum_usd
from billing.core.reconciling import Nature, Part, minus
from billing.core.words import joined


@dataclass(frozen=True, slots=True)
class BaseAmount:
    """What a month should cost, of one model, kind and tier. `kind` of a charge that is not tokens is its cost type.

    `is_open`: some of its usage has no price, so it may cost more. `contract_usd`: the amount under the contract,
    where the base is at list prices; None = the same.
    """

    channel: str
    model: str
    kind: str
    service_tier: str
    amount_usd: Decimal
    nature: Nature = "usage"
    is_open: bool = False
    contract_usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BilledLine:
    """A line of an invoice in usd. `category` as InvoiceLine.Category; empty words = the line does not say.

    `known_usd`: what records of our own explain of an adjustment or a credit (billing.core.expecting); `reference`
    names them, `hint` says what is known of the rest.
    """

    invoice: str
    position: int
    channel: str
    category: str
    description: str
    amount_usd: Decimal
    model: str = ""
    kind: str = ""
    service_tier: str = ""
    issuer: str = ""
    known_usd: Decimal = ZERO
    reference: str = ""
    hint: str = ""

    @property
    def place(self) -> str:
        return f"{self.invoice} line {self.position}"


@dataclass(frozen=True, slots=True)
class BilledInvoice:
    """`total_usd` is what is payable; its lines should add up to it.

    `month`: first day of the month it bills. `tax_percent`: as stated for its issuer, None = nothing is.
    """

    number: str
    channel: str
    total_usd: Decimal
    lines: tuple[BilledLine, ...]
    issuer: str = ""
    month: date = date.min
    issued_on: date = date.min
    tax_percent: Decimal | None = None

    @property
    def net_usd(self) -> Decimal:
        """Everything on it that is not tax: what tax is charged on."""
        return sum_usd(line.amount_usd for line in self.lines if line.category != "tax")


@dataclass(frozen=True, slots=True)
class InvoiceGroup:
    """One comparison. `parts` sum exactly to `billed_usd − base_usd`. `lines`: "INV-1 line 3", …"""

    key: str
    title: str
    base_usd: Decimal
    billed_usd: Decimal
    lines: tuple[str, ...]
    parts: tuple[Part, ...]

    @property
    def difference_usd(self) -> Decimal:
        return minus(self.billed_usd, self.base_usd)


def group_key(*words: str) -> str:
    return joined(words)


def places(lines: Sequence[BilledLine]) -> tuple[str, ...]:
    return tuple(line.place for line in lines)
