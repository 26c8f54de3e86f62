"""Propose what is recommended: the draft and its evidence exactly as somebody read them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import QuerySet

from audit.roles import Right, require
from costgov.jsonout import plain
from costgov.queries.policies import draft_hashes
from costgov.queries.recommendation import DraftView, NoBaseline, draft_view, recommendation_view
from routing.models import Activation, ChangeRequest, PolicyVersion, RequestClass
from routing.operations.classes import save_class
from routing.operations.policies import PolicyRefused, lock_policies, propose, propose_version

PROD = "prod"
SHOWN_FOR = timedelta(hours=24)


@transaction.atomic
def propose_draft(
    *,
    actor: AbstractBaseUser,
    made_at: datetime,
    content_hash: str,
    evidence_hash: str,
    title: str,
    note: str = "",
    as_of: datetime,
) -> ChangeRequest:
    """Put the draft recommended as of `made_at` up for review, if it still is what was shown (both hashes).

    The same draft by the same author while one is open gives that one: a double click. A draft that an earlier,
    closed change held goes up again with its new evidence. Raises Forbidden, PolicyRefused, NoBaseline, PolicyError.
    """
    require(actor, Right.PROPOSE_POLICY)
    lock_policies()
    twin = _open_changes(actor).filter(policy_version__content_hash=content_hash, evidence_hash=evidence_hash).first()
    if twin is not None:
        return twin  # a double click; looked up first, as the first click may have registered a class
    if not as_of - SHOWN_FOR <= made_at <= as_of:
        raise PolicyRefused("This draft was opened more than a day ago. Open it again and read what changed.")
    draft = draft_view(as_of=made_at)
    if (content_hash, evidence_hash) != draft_hashes(draft):
        raise PolicyRefused(
            "The draft changed since you opened it: usage, evidence, prices or the active policy are different now. "
            "Nothing was proposed; read the new draft and propose that."
        )
    if not title.strip():
        raise PolicyRefused("Give the change a title: approvers find it by that.")
    name = str(draft.document["policy"])
    same = PolicyVersion.objects.filter(policy=name, content_hash=content_hash).first()
    if same is not None:
        return _again(actor, same, draft, title, note, as_of)
    default = str(draft.document["default_class"])
    if not RequestClass.objects.filter(slug=default).exists():
        # The first policy brings the class of what no rule matches; without it the draft could not be proposed.
        save_class(actor=actor, slug=default, facts={"title": "Everything else"}, as_of=as_of)
    return propose(
        actor=actor, document=draft.document, title=title, evidence=plain(draft.recommendation), note=note, as_of=as_of
    )


def propose_document(
    *, actor: AbstractBaseUser, document: Mapping[str, Any], title: str, note: str = "", as_of: datetime
) -> ChangeRequest:
    """Put a document somebody wrote up for review, with the evidence of today.

    Raises Forbidden, PolicyRefused (also for content an earlier version has), PolicyError.
    """
    return propose(actor=actor, document=document, title=title, evidence=_evidence_today(as_of), note=note, as_of=as_of)


@transaction.atomic
def propose_again(
    *, actor: AbstractBaseUser, policy_version_id: int, title: str, note: str = "", as_of: datetime
) -> ChangeRequest:
    """Put an earlier version up for review again, with the evidence of today: how a rollback is proposed.

    Raises Forbidden, PolicyRefused, PolicyVersion.DoesNotExist.
    """
    require(actor, Right.PROPOSE_POLICY)
    if not title.strip():
        raise PolicyRefused("Give the change a title: approvers find it by that.")
    if _in_force_id() == policy_version_id:
        raise PolicyRefused("This version is in force already; there is nothing to go back to.")
    lock_policies()
    twin = _open_changes(actor).filter(policy_version_id=policy_version_id).first()
    if twin is not None:
        return twin  # a double click
    return propose_version(
        actor=actor,
        policy_version_id=policy_version_id,
        title=title,
        evidence=_evidence_today(as_of),
        note=note,
        as_of=as_of,
    )


def _evidence_today(as_of: datetime) -> dict[str, Any]:
    """The recommendation as it is now, or in words why there is none."""
    try:
        found: dict[str, Any] = plain(recommendation_view(as_of=as_of))
    except NoBaseline as reason:
        return {"missing": str(reason)}
    return found


def _again(
    actor: AbstractBaseUser, version: PolicyVersion, draft: DraftView, title: str, note: str, as_of: datetime
) -> ChangeRequest:
    if _in_force_id() == version.pk:
        raise PolicyRefused(f"{version} is in force already and is what is recommended: there is nothing to propose.")
    return propose_version(
        actor=actor,
        policy_version_id=version.pk,
        title=title,
        evidence=plain(draft.recommendation),
        note=note,
        as_of=as_of,
    )


def _open_changes(author: AbstractBaseUser) -> QuerySet[ChangeRequest]:
    return ChangeRequest.objects.filter(
        author_id=author.pk,
        environment=PROD,
        state__in=[ChangeRequest.State.IN_REVIEW, ChangeRequest.State.APPROVED],
    )


def _in_force_id() -> int | None:
    return (
        Activation.objects.filter(environment=PROD)
        .order_by("-sequence")
        .values_list("policy_version_id", flat=True)
        .first()
    )
