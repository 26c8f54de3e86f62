"""The register of classes: bars, owners, reuse facts, and which bucketed usage belongs to which class."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import transaction

from audit import operations as audit
from audit.roles import Right, require
from routing.models import ClassMapping, RequestClass

FACTS = (
    "title",
    "quality_owner",
    "spend_owner",
    "bar",
    "tolerance",
    "alpha",
    "max_age_days",
    "latency",
    "batchable_share",
    "keeps_own_caching",
    "reuse",
    "plan_candidates",
    "note",
)


class ClassRefused(Exception):
    """Facts that cannot be saved; the message names field, value and remedy."""


@transaction.atomic
def save_class(
    *, actor: AbstractBaseUser | None, slug: str, facts: dict[str, Any], as_of: datetime, is_demo: bool = False
) -> RequestClass:
    """Register a class or change its facts; unknown facts and impossible bars are refused, all at once."""
    require(actor, Right.EDIT_CLASSES)
    unknown = sorted(set(facts) - set(FACTS))
    if unknown:
        raise ClassRefused(f"{slug}: unknown facts {', '.join(unknown)}; known are {', '.join(FACTS)}.")
    row = RequestClass.objects.select_for_update().filter(slug=slug).first()
    before = _facts(row) if row is not None else None
    row = row or RequestClass(slug=slug, title=slug)
    for name, value in facts.items():
        setattr(row, name, value)
    try:
        row.full_clean()
    except ValidationError as error:
        raise ClassRefused(f"{slug}: " + "; ".join(_explain(error))) from error
    row.save()
    after = _facts(row)
    if after != before:
        audit.record(
            actor=actor,
            action="class.registered" if before is None else "class.changed",
            object_type="request_class",
            object_id=slug,
            object_label=row.title,
            before=before,
            after=after,
            as_of=as_of,
            is_demo=is_demo,
        )
    return row


@transaction.atomic
def map_usage(
    *,
    actor: AbstractBaseUser | None,
    slug: str,
    as_of: datetime,
    channel: str = "",
    workspace: str = "",
    api_key: str = "",
    valid_from: date | None = None,
    is_demo: bool = False,
) -> ClassMapping:
    """Say which class the bucketed usage of a workspace and api key belongs to; '' = any."""
    require(actor, Right.EDIT_CLASSES)
    request_class = RequestClass.objects.get(slug=slug)
    key = {"channel": channel, "workspace": workspace, "api_key": api_key, "valid_from": valid_from}
    if not (channel or workspace or api_key):
        raise ClassRefused(f"{slug}: a mapping must name a channel, a workspace or an api key.")
    mapping, is_new = ClassMapping.objects.update_or_create(**key, defaults={"request_class": request_class})
    audit.record(
        actor=actor,
        action="class.mapped" if is_new else "class.remapped",
        object_type="request_class",
        object_id=slug,
        object_label=request_class.title,
        after={**key, "valid_from": valid_from.isoformat() if valid_from else None},
        as_of=as_of,
        is_demo=is_demo,
    )
    return mapping


def _facts(row: RequestClass) -> dict[str, Any]:
    return {name: str(value) if isinstance(value := getattr(row, name), Decimal) else value for name in FACTS}


def _explain(error: ValidationError) -> list[str]:
    if hasattr(error, "message_dict"):
        return [f"{field}: {' '.join(messages)}" for field, messages in error.message_dict.items()]
    return list(error.messages)
