"""The constraints of the estate: the version in force, and how it came to be."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from routing.core.coupling import Limits
from routing.models import EstateConstraints


@dataclass(frozen=True, slots=True)
class ConstraintsVersion:
    """One version. Shares in 0 … 1; None or empty = no such constraint. `set_by` '' = the system."""

    version: int
    quality_floor: Decimal | None
    move_share: Decimal | None
    model_caps: Mapping[str, Decimal]
    reason: str
    set_by: str
    set_at: datetime

    @property
    def limits(self) -> Limits:
        return Limits(self.quality_floor, self.move_share, self.model_caps)


def constraints_versions(*, as_of: datetime) -> tuple[ConstraintsVersion, ...]:
    """Every version set until `as_of`, newest first."""
    rows = EstateConstraints.objects.filter(set_at__lte=as_of).select_related("set_by").order_by("-version")
    return tuple(_version(row) for row in rows)


def constraints_in_force(*, as_of: datetime) -> ConstraintsVersion | None:
    """The newest version; None where none was ever set."""
    row = EstateConstraints.objects.filter(set_at__lte=as_of).select_related("set_by").order_by("-version").first()
    return None if row is None else _version(row)


def limits_in_force(*, as_of: datetime) -> Limits:
    """What a recommendation has to keep for the estate as a whole; nothing where nothing was set."""
    found = constraints_in_force(as_of=as_of)
    return Limits() if found is None else found.limits


def _version(row: EstateConstraints) -> ConstraintsVersion:
    return ConstraintsVersion(
        version=row.version,
        quality_floor=row.quality_floor,
        move_share=row.move_share,
        model_caps={model: Decimal(share) for model, share in sorted(row.model_caps.items())},
        reason=row.reason,
        set_by=row.set_by.get_username() if row.set_by is not None else "",
        set_at=row.set_at,
    )
