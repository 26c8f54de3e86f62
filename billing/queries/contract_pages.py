"""Contracts as pages and the API show them: what is agreed, what it took off last month, what is left of credits."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from billing.core.contracts import Credit, CreditUse
from billing.core.money import ZERO, sum_usd
from billing.core.overlays import Change
from billing.models import Contract
from billing.queries.contracts import ContractDiscount, contract_credits, contract_discounts, terms_of
from billing.queries.price_effect import last_month

PROPOSED: Final = "proposed"


@dataclass(frozen=True, slots=True)
class RateRow:
    """One rate: what it is for, what it is, and when it holds within the contract."""

    scope: str
    model: str
    token_kind: str
    service_tier: str
    percent_off: Decimal | None
    usd_per_unit: Decimal | None
    valid_from: date | None
    valid_to: date | None


@dataclass(frozen=True, slots=True)
class CreditRow:
    """A credit with what was used of it by the usage known; `uses` by month."""

    name: str
    amount_usd: Decimal
    valid_from: date
    valid_to: date | None
    used_usd: Decimal
    left_usd: Decimal
    uses: tuple[tuple[date, Decimal], ...]


@dataclass(frozen=True, slots=True)
class ContractPage:
    """One contract. `state`: proposed, ahead, in_force or ended. Discounts are those of the last whole month."""

    id: int
    name: str
    channel: str
    valid_from: date
    valid_to: date | None
    state: str
    source: str
    checked_on: date
    note: str
    proposed_by: str
    proposed_at: datetime
    approved_by: str
    approved_at: datetime | None
    rates: tuple[RateRow, ...]
    credits: tuple[CreditRow, ...]
    month: tuple[date, date] | None
    discounts: tuple[ContractDiscount, ...]
    list_usd: Decimal
    contracted_usd: Decimal

    @property
    def discount_usd(self) -> Decimal:
        return self.list_usd - self.contracted_usd


@dataclass(frozen=True, slots=True)
class ContractsPage:
    """Every contract, newest first, and last month's priced usage at list and under the contracts."""

    contracts: tuple[ContractPage, ...]
    month: tuple[date, date] | None
    list_usd: Decimal
    contracted_usd: Decimal

    @property
    def discount_usd(self) -> Decimal:
        return self.list_usd - self.contracted_usd


def contracts_page(*, as_of: datetime) -> ContractsPage:
    """Every contract; `list_usd` and `contracted_usd` of usage both price."""
    month = last_month(as_of=as_of)
    found = contract_discounts(start=month[0], end=month[1]) if month else ()
    rows = Contract.objects.select_related("proposed_by", "approved_by").prefetch_related("rates", "credits")
    both = [row for row in found if row.list_usd is not None]
    return ContractsPage(
        contracts=tuple(_page(row, as_of, month, found) for row in rows.order_by("-valid_from", "name")),
        month=month,
        list_usd=sum_usd(row.list_usd for row in both if row.list_usd is not None),
        contracted_usd=sum_usd(row.contracted_usd for row in both),
    )


def contract_page(*, contract_id: int, as_of: datetime) -> ContractPage | None:
    """One contract; None where there is none of that id."""
    rows = Contract.objects.select_related("proposed_by", "approved_by").prefetch_related("rates", "credits")
    row = rows.filter(pk=contract_id).first()
    if row is None:
        return None
    month = last_month(as_of=as_of)
    return _page(row, as_of, month, contract_discounts(start=month[0], end=month[1]) if month else ())


def _page(
    row: Contract, as_of: datetime, month: tuple[date, date] | None, discounts: tuple[ContractDiscount, ...]
) -> ContractPage:
    terms = terms_of(row)
    own = tuple(one for one in discounts if one.contract == row.name)
    listed = [one for one in own if one.list_usd is not None]
    uses = contract_credits(contract=terms) if row.approved_at is not None else []
    return ContractPage(
        id=row.pk,
        name=row.name,
        channel=row.channel,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        state=_state(row, as_of.date()),
        source=row.source,
        checked_on=row.checked_on,
        note=row.note,
        proposed_by=row.proposed_by.get_username() if row.proposed_by is not None else "",
        proposed_at=row.proposed_at,
        approved_by=row.approved_by.get_username() if row.approved_by is not None else "",
        approved_at=row.approved_at,
        rates=tuple(_rate(rate) for rate in terms.rates),
        credits=tuple(_credit(credit, uses) for credit in terms.credits),
        month=month,
        discounts=own,
        list_usd=sum_usd(one.list_usd for one in listed if one.list_usd is not None),
        contracted_usd=sum_usd(one.contracted_usd for one in listed),
    )


def _state(row: Contract, today: date) -> str:
    if row.approved_at is None:
        return PROPOSED
    if row.valid_from > today:
        return "ahead"
    return "ended" if row.valid_to is not None and row.valid_to <= today else "in_force"


def _rate(rate: Change) -> RateRow:
    return RateRow(
        scope=rate.scope,
        model=rate.model,
        token_kind=rate.token_kind,
        service_tier=rate.service_tier,
        percent_off=-rate.percent if rate.percent is not None else None,
        usd_per_unit=rate.usd_per_unit,
        valid_from=rate.valid_from,
        valid_to=rate.valid_to,
    )


def _credit(credit: Credit, uses: list[CreditUse]) -> CreditRow:
    own = [use for use in uses if use.credit == credit]
    used = sum_usd(use.used_usd for use in own) if own else ZERO
    return CreditRow(
        name=credit.name,
        amount_usd=credit.amount_usd,
        valid_from=credit.valid_from,
        valid_to=credit.valid_to,
        used_usd=used,
        left_usd=credit.amount_usd - used,
        uses=tuple((use.month, use.used_usd) for use in own),
    )
