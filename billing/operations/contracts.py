"""Contracts: one person proposes, another approves; from then on they price usage. Ended, never changed or erased."""

from datetime import date, datetime
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.core.contract_documents import ContractRefused, NewContract, contract_document
from billing.core.spending import contract_months
from billing.models import BillingPeriod, Contract
from billing.queries.contracts import terms_of


@transaction.atomic
def propose_contract(
    *, actor: AbstractBaseUser | None, new: NewContract, as_of: datetime, is_demo: bool = False
) -> Contract:
    """Keep a contract for somebody else to approve; it prices nothing yet. Raises Forbidden, ContractRefused."""
    require(actor, Right.EDIT_PRICES)
    terms = new.terms
    if new.checked_on > as_of.date():
        raise ContractRefused([f"checked_on: {new.checked_on} lies ahead; give the day somebody looked at the source."])
    if Contract.objects.filter(name=terms.name).exists():
        raise ContractRefused([f"name: there is a contract {terms.name!r} already; give this one another name."])
    row = Contract.objects.create(
        name=terms.name,
        channel=terms.channel,
        valid_from=terms.valid_from,
        valid_to=terms.valid_to,
        source=new.source,
        checked_on=new.checked_on,
        note=new.note,
        proposed_by_id=actor.pk if actor is not None else None,
        proposed_at=as_of,
    )
    for rate in terms.rates:
        row.rates.create(
            model=rate.model,
            token_kind=rate.token_kind,
            service_tier=rate.service_tier,
            percent_off=-rate.percent if rate.percent is not None else None,
            usd_per_unit=rate.usd_per_unit,
            valid_from=rate.valid_from,
            valid_to=rate.valid_to,
        )
    for credit in terms.credits:
        row.credits.create(
            name=credit.name, amount_usd=credit.amount_usd, valid_from=credit.valid_from, valid_to=credit.valid_to
        )
    _record(actor, "contract.proposed", row, as_of, after=contract_document(new), is_demo=is_demo)
    return row


@transaction.atomic
def approve_contract(
    *, actor: AbstractBaseUser | None, contract_id: int, as_of: datetime, is_demo: bool = False
) -> Contract:
    """Let a proposed contract price usage from its first day on; months already closed stay as they were closed.

    Raises Forbidden, ContractRefused: somebody else than who proposed it approves it.
    """
    require(actor, Right.EDIT_PRICES)
    row = _locked(contract_id)
    if row.approved_at is not None:
        raise ContractRefused([f"{row.name} is approved already."])
    if actor is not None and row.proposed_by_id == actor.pk:
        raise ContractRefused(
            [f"You proposed {row.name}: somebody else who may edit prices reads it against its source and approves it."]
        )
    row.approved_by_id = actor.pk if actor is not None else None
    row.approved_at = as_of
    row.save(update_fields=["approved_by", "approved_at"])
    _record(actor, "contract.approved", row, as_of, after=document_of(row), is_demo=is_demo)
    return row


@transaction.atomic
def discard_contract(*, actor: AbstractBaseUser | None, contract_id: int, as_of: datetime) -> str:
    """Drop a proposal nobody wants; an approved contract is ended instead. Returns its name."""
    require(actor, Right.EDIT_PRICES)
    row = _locked(contract_id)
    if row.approved_at is not None:
        raise ContractRefused([f"{row.name} is approved and prices usage: end it instead."])
    _record(actor, "contract.discarded", row, as_of, before=document_of(row))
    row.delete()
    return row.name


@transaction.atomic
def end_contract(*, actor: AbstractBaseUser | None, contract_id: int, ends_on: date, as_of: datetime) -> Contract:
    """Let an approved contract hold no longer from `ends_on` on. Raises Forbidden, ContractRefused.

    A closed month was settled with it, so it must hold to the end of the last one.
    """
    require(actor, Right.EDIT_PRICES)
    row = _locked(contract_id)
    problems = []
    if row.approved_at is None:
        problems.append(f"{row.name} is only proposed: discard it instead.")
    if ends_on <= row.valid_from:
        problems.append(f"ends_on: {ends_on} is not after its first day {row.valid_from}; give a later day.")
    if row.valid_to is not None and ends_on >= row.valid_to:
        problems.append(f"ends_on: it ends on {row.valid_to} anyway; give an earlier day.")
    closed = BillingPeriod.objects.filter(state=BillingPeriod.State.CLOSED, month__gte=ends_on.replace(day=1))
    settled = closed.order_by("-month").first()
    if settled is not None:
        first_open = contract_months(settled.month, 1)[0][1]
        problems.append(f"ends_on: {settled.month:%B %Y} is closed with it; give {first_open} or later.")
    if problems:
        raise ContractRefused(problems)
    before = row.valid_to
    row.valid_to, row.ended_at = ends_on, as_of
    row.save(update_fields=["valid_to", "ended_at"])
    _record(
        actor,
        "contract.ended",
        row,
        as_of,
        before={"valid_to": before.isoformat() if before else None},
        after={"valid_to": ends_on.isoformat()},
    )
    return row


def document_of(row: Contract) -> dict[str, Any]:
    """The document of a stored contract."""
    return contract_document(NewContract(terms_of(row), row.source, row.checked_on, row.note))


def _locked(contract_id: int) -> Contract:
    row = Contract.objects.select_for_update().filter(pk=contract_id).first()
    if row is None:
        raise ContractRefused(["This contract is not there any more: it was discarded. Reload the page."])
    return row


def _record(actor: AbstractBaseUser | None, action: str, row: Contract, as_of: datetime, **facts: Any) -> None:
    audit.record(
        actor=actor,
        action=action,
        object_type="contract",
        object_id=row.pk,
        object_label=row.name,
        as_of=as_of,
        **facts,
    )
