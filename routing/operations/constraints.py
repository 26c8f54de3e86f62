"""Set what the estate as a whole has to keep: a floor under quality, a share that may move, caps on models."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.queries.prices import release_facts
from routing.core.coupling import Limits
from routing.models import EstateConstraints

PLACES = 6


class ConstraintsRefused(Exception):
    """Constraints that cannot be set; the message names field, value and remedy."""


def checked_limits(limits: Limits) -> Limits:
    """The same limits if they can be set. Raises ConstraintsRefused with everything that is wrong."""
    shares = [limits.quality_floor, limits.move_share, *limits.model_caps.values()]
    if unclear := [share for share in shares if share is not None and not share.is_finite()]:
        raise ConstraintsRefused(f"{unclear[0]} is no share: give a number from 0 to 1, e.g. 0.3.")
    wrong = []
    if limits.quality_floor is not None and not 0 < limits.quality_floor < 1:
        wrong.append(f"the floor is {limits.quality_floor}: a mean pass rate lies between 0 and 1, e.g. 0.95")
    if limits.move_share is not None and not 0 <= limits.move_share <= 1:
        wrong.append(f"the share that may move is {limits.move_share}: give 0 to 1, e.g. 0.3")
    known = release_facts()
    for model, cap in limits.model_caps.items():
        if model not in known:
            wrong.append(f"{model!r} is not on the Prices page: cap a model that is")
        if not 0 <= cap <= 1:
            wrong.append(f"the cap of {model} is {cap}: give 0 to 1, e.g. 0.5")
    wrong += [
        f"{share} has more than {PLACES} places" for share in shares if share is not None and _places(share) > PLACES
    ]
    if wrong:
        raise ConstraintsRefused("; ".join(wrong) + ".")
    return limits


@transaction.atomic
def set_constraints(
    *, actor: AbstractBaseUser | None, limits: Limits, reason: str, as_of: datetime, is_demo: bool = False
) -> EstateConstraints:
    """Add a version with these limits; empty ones lift what was set. The same again adds none.

    Raises ConstraintsRefused, Forbidden.
    """
    require(actor, Right.SET_CONSTRAINTS)
    checked_limits(limits)
    if not reason.strip():
        raise ConstraintsRefused("Say why: whoever reads the recommendation must know what binds it.")
    latest = EstateConstraints.objects.select_for_update().order_by("-version").first()
    before = None if latest is None else _facts(latest.quality_floor, latest.move_share, latest.model_caps)
    after = _facts(limits.quality_floor, limits.move_share, limits.model_caps)
    if latest is not None and before == after:
        return latest
    if latest is None and limits.is_empty:
        raise ConstraintsRefused("No constraint is set, so there is none to lift: give a floor, a share or a cap.")
    row = EstateConstraints.objects.create(
        version=1 if latest is None else latest.version + 1,
        quality_floor=limits.quality_floor,
        move_share=limits.move_share,
        model_caps=after["model_caps"],
        reason=reason.strip(),
        set_by=actor,  # type: ignore[misc]  # the one user model
        set_at=as_of,
    )
    audit.record(
        actor=actor,
        action="constraints.set",
        object_type="estate_constraints",
        object_id=row.version,
        object_label=f"Constraints {row.version}",
        before=before,
        after=after,
        note=row.reason,
        as_of=as_of,
        is_demo=is_demo,
    )
    return row


def _facts(floor: Decimal | None, move_share: Decimal | None, caps: Mapping[str, Decimal | str]) -> dict[str, Any]:
    """What is set, as text without trailing zeros: 0.95 as given is 0.950000 as stored."""
    return {
        "quality_floor": _text(floor),
        "move_share": _text(move_share),
        "model_caps": {model: _text(Decimal(cap)) or "0" for model, cap in sorted(caps.items())},
    }


def _text(share: Decimal | None) -> str | None:
    return None if share is None else f"{share.normalize():f}"


def _places(share: Decimal) -> int:
    exponent = share.normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0
