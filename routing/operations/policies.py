"""Propose → approve → activate: every step checks the actor's role, locks what it changes and is audited."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction
from django.db.models import Max

from audit import operations as audit
from audit.roles import Right, require
from billing.queries.prices import routable_models
from gateway.document import content_hash
from gateway.engine import compile_policy
from routing.models import Activation, Approval, ChangeRequest, PolicyVersion, RequestClass
from routing.queries.changes import evidence_hash

PROD = "prod"
_POLICY_LOCK = 0x636F7374  # one writer of versions and sequences at a time


class PolicyRefused(Exception):
    """A step that cannot be taken; the message says why and what to do instead."""


@transaction.atomic
def propose(
    *,
    actor: AbstractBaseUser,
    document: Mapping[str, Any],
    title: str,
    evidence: Mapping[str, Any],
    as_of: datetime,
    note: str = "",
    environment: str = PROD,
    is_demo: bool = False,
) -> ChangeRequest:
    """Freeze a document as the next version and put it up for review with its evidence.

    Raises Forbidden, gateway.engine.PolicyError (every problem of the document) and PolicyRefused for content that
    an earlier version already has.
    """
    require(actor, Right.PROPOSE_POLICY)
    lock_policies()
    name = str(document.get("policy", ""))
    same = PolicyVersion.objects.filter(policy=name, content_hash=content_hash(document)).first()
    if same is not None:
        raise PolicyRefused(
            f"This is word for word version {same.version} of {name}. Nothing was proposed; change the draft, or open "
            f"version {same.version} and propose to activate it again."
        )
    latest = PolicyVersion.objects.filter(policy=name).aggregate(latest=Max("version"))["latest"] or 0
    numbered = {**document, "version": latest + 1}
    compile_policy(numbered, allowed_models=routable_models(on=as_of.date()))
    _refuse_unknown_classes(numbered)
    version = PolicyVersion.objects.create(
        policy=name,
        version=latest + 1,
        document=numbered,
        content_hash=content_hash(numbered),
        created_by_id=actor.pk,
        created_at=as_of,
    )
    return _open_change_request(
        actor=actor,
        version=version,
        title=title,
        evidence=evidence,
        note=note,
        environment=environment,
        as_of=as_of,
        is_demo=is_demo,
    )


@transaction.atomic
def propose_version(
    *,
    actor: AbstractBaseUser,
    policy_version_id: int,
    title: str,
    evidence: Mapping[str, Any],
    as_of: datetime,
    note: str = "",
    environment: str = PROD,
) -> ChangeRequest:
    """Put an existing version up for review again: how a rollback is proposed."""
    require(actor, Right.PROPOSE_POLICY)
    lock_policies()
    version = PolicyVersion.objects.get(pk=policy_version_id)
    open_request = version.change_requests.filter(
        environment=environment, state__in=[ChangeRequest.State.IN_REVIEW, ChangeRequest.State.APPROVED]
    ).first()
    if open_request is not None:
        raise PolicyRefused(f"{version} is already proposed for {environment}: see change #{open_request.pk}.")
    return _open_change_request(
        actor=actor,
        version=version,
        title=title,
        evidence=evidence,
        note=note,
        environment=environment,
        as_of=as_of,
        is_demo=False,
    )


@transaction.atomic
def approve(
    *,
    actor: AbstractBaseUser,
    change_request_id: int,
    content_hash: str,
    evidence_hash: str,
    as_of: datetime,
    comment: str = "",
    is_demo: bool = False,
) -> Approval:
    """Approve exactly the content and evidence the approver saw. One approval, by somebody other than the author."""
    require(actor, Right.APPROVE_POLICY)
    change = (
        ChangeRequest.objects.select_for_update().select_related("policy_version", "author").get(pk=change_request_id)
    )
    if change.author_id == actor.pk:
        raise PolicyRefused(
            f"You proposed change #{change.pk}; its approval must come from another engineer or admin. "
            "Send them the link to this page."
        )
    earlier = change.approvals.filter(approver_id=actor.pk).first()
    if earlier is not None and change.state in {ChangeRequest.State.APPROVED, ChangeRequest.State.ACTIVE}:
        return earlier  # a double click
    if not change.is_in_review:
        raise PolicyRefused(
            f"Change #{change.pk} is {change.get_state_display().lower()}; only one in review is approved."
        )
    if (content_hash, evidence_hash) != (change.policy_version.content_hash, change.evidence_hash):
        raise PolicyRefused(
            f"Change #{change.pk} is not what you were shown (content or evidence differs). "
            "Reload the page and read it again."
        )
    approval = Approval.objects.create(
        change_request=change,
        approver_id=actor.pk,
        author_id=change.author_id,
        content_hash=content_hash,
        evidence_hash=evidence_hash,
        comment=comment,
        approved_at=as_of,
    )
    _move(
        change,
        ChangeRequest.State.APPROVED,
        actor=actor,
        action="policy.approved",
        as_of=as_of,
        note=comment,
        is_demo=is_demo,
    )
    return approval


@transaction.atomic
def reject(*, actor: AbstractBaseUser, change_request_id: int, as_of: datetime, comment: str) -> ChangeRequest:
    """Refuse an open change, saying why. One that is rejected already stays as it is (a double click)."""
    require(actor, Right.APPROVE_POLICY)
    change = _locked_change(change_request_id)
    if change.state == ChangeRequest.State.REJECTED:
        return change
    _need_open(change, "rejected")
    if not comment.strip():
        raise PolicyRefused("Say why the change is rejected: its author reads this.")
    _move(change, ChangeRequest.State.REJECTED, actor=actor, action="policy.rejected", as_of=as_of, note=comment)
    return change


@transaction.atomic
def cancel(*, actor: AbstractBaseUser, change_request_id: int, as_of: datetime) -> ChangeRequest:
    """Take back a proposal that is not in force. One that is cancelled already stays as it is (a double click)."""
    require(actor, Right.PROPOSE_POLICY)
    change = _locked_change(change_request_id)
    if change.state == ChangeRequest.State.CANCELLED:
        return change
    _need_open(change, "cancelled")
    _move(change, ChangeRequest.State.CANCELLED, actor=actor, action="policy.cancelled", as_of=as_of)
    return change


@transaction.atomic
def activate(*, actor: AbstractBaseUser, change_request_id: int, as_of: datetime, is_demo: bool = False) -> Activation:
    """Put an approved change in force under the next sequence number; what was in force is superseded."""
    require(actor, Right.ACTIVATE_POLICY)
    lock_policies()
    change = ChangeRequest.objects.select_for_update().select_related("policy_version").get(pk=change_request_id)
    if change.state == ChangeRequest.State.ACTIVE:
        return change.activations.order_by("-sequence")[0]  # a double click
    if not change.is_approved:
        raise PolicyRefused(f"Change #{change.pk} is {change.get_state_display().lower()}; it must be approved first.")
    latest = Activation.objects.filter(environment=change.environment).order_by("-sequence").first()
    if latest is not None and as_of < latest.activated_at:
        raise PolicyRefused(
            f"{change.environment} was changed on {latest.activated_at:%d %b %Y %H:%M} UTC, after "
            f"{as_of:%d %b %Y %H:%M}: an activation cannot lie before the one it follows."
        )
    activation = Activation.objects.create(
        environment=change.environment,
        sequence=(latest.sequence if latest else 0) + 1,
        policy_version=change.policy_version,
        change_request=change,
        activated_by_id=actor.pk,
        activated_at=as_of,
    )
    in_force = ChangeRequest.objects.select_for_update().filter(
        environment=change.environment, state=ChangeRequest.State.ACTIVE
    )
    in_force.update(state=ChangeRequest.State.SUPERSEDED, closed_at=as_of)
    change.state = ChangeRequest.State.ACTIVE
    change.save(update_fields=["state"])
    audit.record(
        actor=actor,
        action="policy.activated",
        object_type="change_request",
        object_id=change.pk,
        object_label=f"{change.policy_version} in {change.environment}",
        before={"in_force": str(latest.policy_version) if latest else None},
        after={"in_force": str(change.policy_version), "sequence": activation.sequence},
        as_of=as_of,
        is_demo=is_demo,
    )
    return activation


# -- parts -----------------------------------------------------------------------------------------------------


def lock_policies() -> None:
    """Versions and sequences are max + 1: only one transaction at a time may read and write them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_POLICY_LOCK])


def _refuse_unknown_classes(document: Mapping[str, Any]) -> None:
    registered = set(RequestClass.objects.values_list("slug", flat=True))
    unknown = sorted(set(document["classes"]) - registered)
    if unknown:
        raise PolicyRefused(
            f"The policy uses classes nobody registered: {', '.join(unknown)}. Register them on the Classes page first."
        )


def _open_change_request(
    *,
    actor: AbstractBaseUser,
    version: PolicyVersion,
    title: str,
    evidence: Mapping[str, Any],
    note: str,
    environment: str,
    as_of: datetime,
    is_demo: bool,
) -> ChangeRequest:
    change = ChangeRequest.objects.create(
        policy_version=version,
        environment=environment,
        title=title,
        note=note,
        evidence=dict(evidence),
        evidence_hash=evidence_hash(evidence),
        author_id=actor.pk,
        proposed_at=as_of,
    )
    audit.record(
        actor=actor,
        action="policy.proposed",
        object_type="change_request",
        object_id=change.pk,
        object_label=f"{version}: {title}",
        after={"content_hash": version.content_hash, "evidence_hash": change.evidence_hash, "environment": environment},
        as_of=as_of,
        note=note,
        is_demo=is_demo,
    )
    return change


def _locked_change(change_request_id: int) -> ChangeRequest:
    return ChangeRequest.objects.select_for_update().select_related("policy_version").get(pk=change_request_id)


def _need_open(change: ChangeRequest, verb: str) -> None:
    if not change.is_open:
        raise PolicyRefused(f"Change #{change.pk} is {change.get_state_display().lower()} and cannot be {verb}.")


def _move(
    change: ChangeRequest,
    state: str,
    *,
    actor: AbstractBaseUser,
    action: str,
    as_of: datetime,
    note: str = "",
    is_demo: bool = False,
) -> None:
    before = change.state
    change.state = state
    fields = ["state"]
    if state in {ChangeRequest.State.REJECTED, ChangeRequest.State.CANCELLED}:
        change.closed_at = as_of
        fields.append("closed_at")
    change.save(update_fields=fields)
    audit.record(
        actor=actor,
        action=action,
        object_type="change_request",
        object_id=change.pk,
        object_label=f"{change.policy_version}: {change.title}",
        before={"state": before},
        after={
            "state": state,
            "content_hash": change.policy_version.content_hash,
            "evidence_hash": change.evidence_hash,
        },
        as_of=as_of,
        note=note,
        is_demo=is_demo,
    )
