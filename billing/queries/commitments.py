"""Kept terms and sizings as values."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import F, QuerySet
from django.db.models.fields.json import KT

from billing.core.records import decode
from billing.core.sizing import Sizing
from billing.core.sizing_record import Basis, SizingRecord
from billing.core.terms import Terms, parse_terms
from billing.models import CommitmentSizing, CommitmentTerms

SYSTEM = "the system"


class NoSuchSizing(LookupError):
    """No sizing, or no terms, of this number."""


@dataclass(frozen=True, slots=True)
class KeptTerms:
    """An offer as kept; `sizing_id` is its newest sizing, None before the first."""

    id: int
    name: str
    terms: Terms
    content_hash: str
    created_at: datetime
    created_by: str
    sizing_id: int | None


@dataclass(frozen=True, slots=True)
class SizingSummary:
    """A sizing in a list. Estimates, usd a year."""

    id: int
    terms_id: int
    terms_name: str
    created_at: datetime
    created_by: str
    forecast_id: int
    recommended: str
    recommended_unrouted: str
    commitment_usd: Decimal
    expected_payable_usd: Decimal
    routing_value_usd: Decimal
    shortfall_probability: float


def sizing_record(*, sizing_id: int) -> SizingRecord:
    """One sizing with everything it rests on. Raises NoSuchSizing."""
    row = CommitmentSizing.objects.select_related("terms", "created_by").filter(pk=sizing_id).first()
    if row is None:
        raise NoSuchSizing(f"There is no sizing {sizing_id}: the Commitments page lists those that exist.")
    return SizingRecord(
        id=row.pk,
        created_at=row.created_at,
        created_by=_name(row.created_by),
        terms_id=row.terms_id,
        terms_name=row.terms.name,
        terms=parse_terms(row.terms.document),
        basis=decode(Basis, row.result["basis"]),
        sizing=decode(Sizing, row.result["sizing"]),
    )


def sizing_summaries() -> tuple[SizingSummary, ...]:
    """Every sizing, newest first, without its curves and distributions."""
    fields = ("recommended", "recommended_unrouted", "commitment_usd", "expected_payable_usd", "routing_value_usd")
    rows = CommitmentSizing.objects.annotate(
        **{name: KT(f"result__summary__{name}") for name in (*fields, "shortfall_probability")},
        terms_name=F("terms__name"),
        username=F("created_by__username"),
    ).values("pk", "terms_id", "terms_name", "created_at", "username", "forecast_id", *fields, "shortfall_probability")
    return tuple(
        SizingSummary(
            id=row["pk"],
            terms_id=row["terms_id"],
            terms_name=row["terms_name"],
            created_at=row["created_at"],
            created_by=row["username"] or SYSTEM,
            forecast_id=row["forecast_id"],
            recommended=row["recommended"],
            recommended_unrouted=row["recommended_unrouted"],
            commitment_usd=Decimal(row["commitment_usd"]),
            expected_payable_usd=Decimal(row["expected_payable_usd"]),
            routing_value_usd=Decimal(row["routing_value_usd"]),
            shortfall_probability=float(row["shortfall_probability"]),
        )
        for row in rows
    )


def all_terms() -> tuple[KeptTerms, ...]:
    """Every offer kept, newest first."""
    return tuple(_kept(row) for row in _terms_rows())


def kept_terms(*, terms_id: int) -> KeptTerms:
    """One offer. Raises NoSuchSizing."""
    row = _terms_rows().filter(pk=terms_id).first()
    if row is None:
        raise NoSuchSizing(f"There are no terms {terms_id}: the Commitments page lists those that exist.")
    return _kept(row)


def _terms_rows() -> QuerySet[CommitmentTerms]:
    return CommitmentTerms.objects.select_related("created_by").prefetch_related("sizings")


def _kept(row: CommitmentTerms) -> KeptTerms:
    sizings = [sizing.pk for sizing in row.sizings.all()]
    return KeptTerms(
        id=row.pk,
        name=row.name,
        terms=parse_terms(row.document),
        content_hash=row.content_hash,
        created_at=row.created_at,
        created_by=_name(row.created_by),
        sizing_id=max(sizings, default=None),
    )


def _name(user: object) -> str:
    return str(getattr(user, "username", "")) or SYSTEM
