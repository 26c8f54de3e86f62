"""What every cost format gives: lines as a provider states them, what of the past they replace, and stated invoices.

A cost format reads a cost report or a bill; saving happens outside (`billing.operations.cost_imports`). Amounts are
exact decimals in the stated currency, unrounded. A report states UTC days (`Covers.days`), a bill whole billing months
of an account (`Covers.months`): importing one replaces what the source said about these, and never adds to it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Protocol

from billing.core.money import MoneyError, parse_cents, parse_usd
from billing.core.periods import Period
from billing.core.usage import PricedKind
from billing.importers.base import Head, ImportRefused, Problem, shown, sound

MAX_WHOLE_DIGITS: Final = 13  # numeric(28, 15): the money columns
MAX_PLACES: Final = 15
OTHER: Final = "other"
KIND_OF_TOKEN_TYPE: Final[Mapping[str, PricedKind]] = {
    "uncached_input_tokens": "uncached_input",
    "cache_read_input_tokens": "cache_read",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write_5m",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write_1h",
    "output_tokens": "output",
    "web_search_requests": "web_search",
}
_TEXTS: Final = (
    "organisation", "workspace", "api_key", "model", "service_tier", "prompt_length_band", "geo", "speed",
    "description", "invoice_number", "issuer", "unit", "commitment", "commitment_status", "cost_type", "token_kind",
)  # fmt: skip
_CURRENCY: Final = re.compile(r"[A-Za-z][A-Za-z0-9 _-]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True)
class CostLine:
    """One line as stated. `position`: item or line of the file, from 1; `part`: 0, or a credit stated in that line.

    `amount` is in `currency` on `basis` (billed, contracted = after discount and before credits, …); the other amounts
    are None where the file does not state them. `token_kind` is a priced kind, '' = not of one kind. An empty `channel`
    is the source's. `quantity` counts `unit`; tokens are counted one by one, whatever the file's unit.
    """

    position: int
    period: Period
    billing_month: date
    amount: Decimal
    currency: str = "USD"
    basis: str = "billed"
    part: int = 0
    category: str = "usage"
    is_correction: bool = False
    cost_type: str = OTHER
    token_kind: str = ""
    channel: str = ""
    organisation: str = ""
    workspace: str = ""
    api_key: str = ""
    model: str = ""
    service_tier: str = ""
    prompt_length_band: str = ""
    geo: str = ""
    speed: str = ""
    description: str = ""
    invoice_number: str = ""
    issuer: str = ""
    list_amount: Decimal | None = None
    contracted_amount: Decimal | None = None
    effective_amount: Decimal | None = None
    quantity: Decimal | None = None
    unit: str = ""
    commitment: str = ""
    commitment_status: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in _TEXTS:
            if not (text := getattr(self, name)).isascii() or "\0" in text:
                object.__setattr__(self, name, sound(text))


@dataclass(frozen=True, slots=True)
class Covers:
    """What a file states in full: UTC days of a report, or billing months (first day) of a bill's accounts."""

    days: tuple[date, ...] = ()
    months: tuple[tuple[date, str], ...] = ()


@dataclass(frozen=True, slots=True)
class CostReport:
    """A read cost file. `group_by`: the dimensions it separates; a report of fewer is a coarser grain of that money.

    `problems` are rejected rows (line, field, value, remedy), `rejected` how many rows; `findings` remarks.
    `skipped` counts rows of a bill that are not about Claude.
    """

    lines: tuple[CostLine, ...]
    covers: Covers
    group_by: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    rejected: int = 0
    skipped: int = 0


class CostFormat(Protocol):
    """A cost report or bill. `read` raises ImportRefused for a file it cannot read as a whole; bad rows are listed.

    `source` is the usual source's name, `channel` that source's channel. `is_bill`: it states billing months, tax and
    credits, and its token rows are usage as well (`docs/decisions/bills-bring-usage.md`). A bill's rows that are not
    about Claude are left out unless `all_rows`; a report has none.
    """

    name: str
    title: str
    source: str
    channel: str
    is_bill: bool

    def claims(self, head: Head) -> bool: ...

    def read(
        self, path: Path, *, file_name: str, canonical: Callable[[str], str], all_rows: bool = False
    ) -> CostReport: ...


class AmountError(ValueError):
    """An amount that cannot be kept exactly; the message says why."""


def stored(amount: Decimal) -> Decimal:
    """The amount, if the money columns hold it exactly. Raises AmountError."""
    number = amount.normalize() if amount else Decimal(0)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or number.adjusted() >= MAX_WHOLE_DIGITS:
        raise AmountError("out of range for an amount of money")
    if -exponent > MAX_PLACES:
        raise AmountError(f"more than {MAX_PLACES} decimal places")
    return amount


def amount_of_cents(text: str) -> Decimal:
    """Dollars of a decimal string in cents. Raises AmountError."""
    try:
        return stored(parse_cents(text))
    except MoneyError as error:
        raise AmountError(_reason(error)) from error


def amount_of(text: str) -> Decimal:
    """An amount written as plain decimal digits. Raises AmountError."""
    try:
        return stored(parse_usd(text))
    except MoneyError as error:
        raise AmountError(_reason(error)) from error


def cents_field(
    holder: Mapping[str, Any], name: str, place: str, problems: list[Problem], *, needed: bool = True
) -> Decimal | None:
    """A field of cents as dollars; None with a problem where it is no text of a number, None alone where not needed."""
    value = holder.get(name)
    if value is None and not needed:
        return None
    if not isinstance(value, str):
        what = "missing" if value is None else 'not text: the API gives cents as text, e.g. "123.45"'
        told = "" if value is None else shown(value)
        problems.append(Problem(None, f"{place}.{name}", told, what, "Save the API's answer unchanged"))
        return None
    try:
        return amount_of_cents(value)
    except AmountError as error:
        problems.append(Problem(None, f"{place}.{name}", shown(value), str(error), "Save the API's answer unchanged"))
        return None


def currency_code(text: str) -> str:
    """A currency as we name it: ISO codes in capitals, a virtual currency as the provider writes it. '' if it is none.

    >>> currency_code("usd"), currency_code("Claude Consumption Units")
    ('USD', 'Claude Consumption Units')
    """
    cleaned = text.strip()
    if not _CURRENCY.fullmatch(cleaned):
        return ""
    return cleaned.upper() if len(cleaned) == 3 else cleaned


def refuse_all_bad(file_name: str, lines: Sequence[CostLine], problems: Sequence[Problem], count: int) -> None:
    """Raise ImportRefused where no row of a file is good."""
    if not lines and problems:
        raise ImportRefused(file_name, problems, count)


def first_of_month(day: date) -> date:
    return day.replace(day=1)


def _reason(error: MoneyError) -> str:
    text = str(error)
    return text.split(" is ", 1)[1] if " is " in text else text
