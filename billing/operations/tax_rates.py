"""The tax an issuer charges, as the organisation states it: what tax on its invoices is compared with."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.models import TaxRate

MAX_NOTE: Final = 2_000
_STEP: Final = Decimal("0.000001")


class TaxRateRefused(ValueError):
    """A rate that cannot be kept; `problems` maps each field to what is wrong and what to do."""

    def __init__(self, problems: dict[str, str]) -> None:
        self.problems = problems
        super().__init__(" ".join(problems.values()))


@transaction.atomic
def state_tax_rate(
    *,
    actor: AbstractBaseUser | None,
    issuer: str,
    percent: Decimal,
    valid_from: date,
    as_of: datetime,
    note: str = "",
    is_demo: bool = False,
) -> TaxRate:
    """Keep a rate of invoices issued from a day on, until a later one. 19 = 19 %; 0 = no tax is due.

    Closed months keep what they were closed with. Raises TaxRateRefused with every problem, Forbidden.
    """
    require(actor, Right.EXPLAIN_RESIDUALS)
    problems: dict[str, str] = {}
    if not issuer.strip() or len(issuer.strip()) > 120:
        problems["issuer"] = "Name the issuer as its invoices do, at most 120 characters."
    if not percent.is_finite() or not 0 <= percent <= 100 or percent != percent.quantize(_STEP):
        problems["percent"] = f"{percent} is no rate: give per cent from 0 to 100 with at most six places, 19 for 19 %."
    if len(note) > MAX_NOTE:
        problems["note"] = f"The note has {len(note):,} characters, at most {MAX_NOTE:,} fit."
    if problems:
        raise TaxRateRefused(problems)
    row = TaxRate.objects.create(
        issuer=issuer.strip(),
        percent=percent,
        valid_from=valid_from,
        note=note.strip(),
        stated_by_id=actor.pk if actor is not None else None,
        stated_at=as_of,
    )
    _record(row, actor, "tax_rate.stated", as_of, None, is_demo)
    return row


@transaction.atomic
def withdraw_tax_rate(*, actor: AbstractBaseUser | None, rate_id: int, as_of: datetime) -> TaxRate:
    """The rate checks nothing any more. Raises TaxRateRefused where there is none, Forbidden."""
    require(actor, Right.EXPLAIN_RESIDUALS)
    row = TaxRate.objects.select_for_update().filter(pk=rate_id, withdrawn_at__isnull=True).first()
    if row is None:
        raise TaxRateRefused({"rate": f"There is no tax rate {rate_id}, or it was withdrawn."})
    before = _content(row)
    row.withdrawn_at = as_of
    row.save(update_fields=["withdrawn_at"])
    _record(row, actor, "tax_rate.withdrawn", as_of, before, False)
    return row


def _content(row: TaxRate) -> dict[str, Any]:
    return {
        "issuer": row.issuer,
        "percent": f"{row.percent.normalize():f}",
        "valid_from": row.valid_from.isoformat(),
        "note": row.note,
        "withdrawn": row.withdrawn_at is not None,
    }


def _record(
    row: TaxRate,
    actor: AbstractBaseUser | None,
    action: str,
    as_of: datetime,
    before: dict[str, Any] | None,
    is_demo: bool,
) -> None:
    audit.record(
        actor=actor,
        action=action,
        object_type="tax_rate",
        object_id=row.pk,
        object_label=str(row),
        as_of=as_of,
        before=before,
        after=_content(row),
        is_demo=is_demo,
    )
