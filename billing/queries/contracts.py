"""Approved contracts as values, the price book under them, and what they take off a month's bill."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from billing.core.contracts import ContractTerms, Credit, CreditUse, contracted, credit_use
from billing.core.money import ZERO, line_cost, sum_usd
from billing.core.overlays import DEFAULT_CHANNEL, Change
from billing.core.pricebook import PriceBook, unit_exponent
from billing.core.spending import contract_months
from billing.models import Contract, ContractRate
from billing.queries.prices import price_book
from billing.queries.usage import ExplainedLine, cost_lines, priced_usage, usage_days


def contract_terms(*, known_at: datetime | None = None) -> tuple[ContractTerms, ...]:
    """Every approved contract, in order of its start; those approved until `known_at` only."""
    rows = Contract.objects.filter(approved_at__isnull=False).prefetch_related("rates", "credits")
    if known_at is not None:
        rows = rows.filter(approved_at__lte=known_at)
    return tuple(terms_of(row) for row in rows.order_by("valid_from", "name"))


def terms_of(row: Contract) -> ContractTerms:
    """The value of a stored contract. Raises PriceError for rates that contradict each other."""
    return ContractTerms(
        name=row.name,
        channel=row.channel,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        rates=tuple(rate_of(rate) for rate in row.rates.all()),
        credits=tuple(
            Credit(credit.name, credit.amount_usd, credit.valid_from, credit.valid_to) for credit in row.credits.all()
        ),
        known_at=row.approved_at,
    )


def rate_of(row: ContractRate) -> Change:
    """A rate as a change of the list price: stored as percent off, it is a negative percentage here."""
    return Change(
        percent=-row.percent_off if row.percent_off is not None else None,
        usd_per_unit=row.usd_per_unit,
        model=row.model,
        token_kind=row.token_kind,
        service_tier=row.service_tier,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
    )


def contracted_book(*, book: PriceBook | None = None, known_at: datetime | None = None) -> PriceBook:
    """The book that prices usage under the approved contracts; the list itself where there is none.

    Closed months know only the contracts approved before their closing. `known_at`: prices and contracts as they were
    known at that instant. `book`: another list to lay them over.
    """
    base = book if book is not None else price_book(known_at=known_at)
    return contracted(base, contract_terms(known_at=known_at))


def contracted_with(book: PriceBook, *, extra: Contract | None = None) -> PriceBook:
    """A book under the approved contracts and one that is only proposed: what approving it would make of prices."""
    proposed = (terms_of(extra),) if extra is not None else ()
    return contracted(book, [*contract_terms(), *proposed])


@dataclass(frozen=True, slots=True)
class ContractDiscount:
    """What a contract takes off usage of one month, model, kind and service tier. All usd, exact; priced usage only.

    `contract` '' = usage no contract covers: list_usd = contracted_usd. `list_usd` None where the list has no price of
    its own (a fixed rate), and with it `discount_usd`.
    """

    month: date
    model: str
    token_kind: str
    service_tier: str
    contract: str
    terms: str
    units: int
    list_usd: Decimal | None
    contracted_usd: Decimal

    @property
    def discount_usd(self) -> Decimal | None:
        """List minus contracted: positive = the contract makes it cheaper."""
        return None if self.list_usd is None else self.list_usd - self.contracted_usd


def contract_discounts(*, start: date, end: date, book: PriceBook | None = None) -> tuple[ContractDiscount, ...]:
    """List and contracted cost of counted usage on days [start, end) per month, model, kind, tier, contract and terms.

    The sums equal `priced_usage` at list and under contract, exactly; unpriced usage is in neither. `book`: a
    contracted one (default: today's).
    """
    priced = book if book is not None else contracted_book()
    parts: dict[tuple[date, str, str, str, str, str], list[ExplainedLine]] = defaultdict(list)
    month = start.replace(day=1)
    while month < end:
        after = contract_months(month, 1)[0][1]
        for line in cost_lines(start=max(month, start), end=min(after, end), book=priced).lines:
            terms = line.terms if line.contract else ""
            parts[month, line.model, line.token_kind, line.service_tier, line.contract, terms].append(line)
        month = after
    return tuple(_discount(key, lines) for key, lines in sorted(parts.items()))


def _discount(key: tuple[date, str, str, str, str, str], lines: list[ExplainedLine]) -> ContractDiscount:
    month, model, kind, tier, contract, terms = key
    listed = [_list_cost(line) for line in lines]
    return ContractDiscount(
        month=month,
        model=model,
        token_kind=kind,
        service_tier=tier,
        contract=contract,
        terms=terms,
        units=sum(line.units for line in lines),
        list_usd=None if None in listed else sum_usd(usd for usd in listed if usd is not None),
        contracted_usd=sum_usd(line.cost_usd for line in lines),
    )


def _list_cost(line: ExplainedLine) -> Decimal | None:
    """What the line costs at the list price; None where a contract prices what the list does not."""
    if not line.contract:
        return line.cost_usd
    if line.list_usd_per_unit is None:
        return None
    return line_cost(line.units, line.list_usd_per_unit, unit_exponent=unit_exponent(line.token_kind))


def contract_credits(*, contract: ContractTerms, book: PriceBook | None = None) -> list[CreditUse]:
    """How the credits of a contract were used up, month by month, by what its channel's usage costs under contract.

    Unpriced usage draws nothing. `book`: a contracted one (default: today's).
    """
    days = usage_days()
    if days is None or not contract.credits:
        return []
    first = min(credit.valid_from for credit in contract.credits).replace(day=1)
    end = contract_months(days[1].replace(day=1), 1)[0][1]
    spend: dict[date, Decimal] = defaultdict(lambda: ZERO)
    if first < end:
        priced = book if book is not None else contracted_book()
        for group in priced_usage(start=first, end=end, by=("month", "channel"), book=priced).groups:
            month, channel = group.values
            if contract.channel in ("", channel or DEFAULT_CHANNEL):
                spend[date.fromisoformat(f"{month}-01")] += group.cost_usd
    return credit_use(contract.credits, spend, {month: contract_months(month, 1)[0][1] for month in spend})
