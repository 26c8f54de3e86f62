"""State the cascade of a class: which model is asked first, what checks its answers, and what is known of the check."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.queries.prices import release_facts
from routing.core.cascade_plan import CascadeError, CascadePlan, parse_plan
from routing.core.evidence import suite_filter
from routing.models import RequestClass
from routing.operations.bars import ClassRefused


def checked_cascade(*, slug: str, document: Mapping[str, Any]) -> CascadePlan | None:
    """The stated cascade if it can be set for the class; None = none is stated. Raises ClassRefused."""
    row = RequestClass.objects.filter(slug=slug).first()
    if row is None:
        raise ClassRefused(f"{slug}: no such class is registered. Register it first.")
    try:
        plan = parse_plan(document)
    except CascadeError as error:
        raise ClassRefused(f"{slug}: {error}.") from error
    if plan is None:
        return None
    known = release_facts()
    wrong = [
        f"{name} {model!r} is not on the Prices page: name a model that is"
        for name, model in (("cheap", plan.cheap), ("strong", plan.strong))
        if model and model not in known
    ]
    if plan.check_suite and _counts(plan.check_suite, row.suites):
        wrong.append(
            f"suite {plan.check_suite} counts as evidence of the class, where it would be taken for answers: name the "
            "suites that count in its quality bar, without this one"
        )
    if wrong:
        raise ClassRefused(f"{slug}: {'; '.join(wrong)}.")
    return plan


@transaction.atomic
def set_cascade(
    *,
    actor: AbstractBaseUser | None,
    slug: str,
    document: Mapping[str, Any],
    reason: str,
    as_of: datetime,
    is_demo: bool = False,
) -> RequestClass:
    """State a cascade, or take it back with an empty document. The same again changes nothing.

    Raises ClassRefused, Forbidden.
    """
    require(actor, Right.EDIT_CLASSES)
    plan = checked_cascade(slug=slug, document=document)
    row = RequestClass.objects.select_for_update(no_key=True).get(slug=slug)
    before, after = row.cascade, {} if plan is None else plan.as_document()
    if before == after:
        return row
    if not reason.strip():
        raise ClassRefused(f"{slug}: say why: whoever reads its levers must know where this comes from.")
    row.cascade = after
    row.save(update_fields=["cascade"])
    audit.record(
        actor=actor,
        action="class.cascade_stated" if after else "class.cascade_removed",
        object_type="request_class",
        object_id=slug,
        object_label=row.title,
        before=before,
        after=after,
        note=reason.strip(),
        as_of=as_of,
        is_demo=is_demo,
    )
    return row


def _counts(suite: str, patterns: list[str]) -> bool:
    name, _, version = suite.partition("@")
    return suite_filter(patterns)(name, version or "1")
