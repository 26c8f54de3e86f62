"""Changes of policy as pages and the API read them: versions, approvals, activations, and what happened when."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from audit.queries import entries
from gateway.document import canonical_json
from routing.core.policy_diff import PolicyDiff, policy_diff
from routing.models import Activation, ChangeRequest, PolicyVersion


class NoSuchChange(LookupError):
    """There is no change or version of that number."""


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """An immutable version of a policy. `document` is what gateways would get."""

    id: int
    policy: str
    version: int
    content_hash: str
    created_by: str
    created_at: datetime
    document: Mapping[str, Any]

    @property
    def label(self) -> str:
        return f"{self.policy}@{self.version}"


@dataclass(frozen=True, slots=True)
class ApprovalFacts:
    """Who approved which content and evidence. `is_valid`: it binds to what the change holds."""

    approver: str
    function: str
    approved_at: datetime
    comment: str
    is_valid: bool


@dataclass(frozen=True, slots=True)
class InForce:
    """What an environment runs, since when, under which number."""

    environment: str
    sequence: int
    version: VersionFacts
    activated_at: datetime
    activated_by: str
    change_id: int | None
    approved_by: tuple[str, ...]
    kill_switch: bool


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One activation. `until` None = still in force."""

    sequence: int
    policy: str
    version: int
    title: str
    change_id: int | None
    proposed_by: str
    approved_by: tuple[str, ...]
    activated_by: str
    activated_at: datetime
    until: datetime | None
    is_rollback: bool


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """A change in a list."""

    id: int
    title: str
    state: str
    policy: str
    version: int
    environment: str
    author: str
    proposed_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """What somebody did to a change."""

    who: str
    what: str
    at: datetime
    say: str
    is_demo: bool


@dataclass(frozen=True, slots=True)
class ChangeFacts:
    """A change with everything frozen into it, and what it would change in force now.

    `evidence` is as it was at the proposal, never recomputed.
    """

    id: int
    title: str
    note: str
    state: str
    environment: str
    author: str
    author_id: int
    proposed_at: datetime
    closed_at: datetime | None
    version: VersionFacts
    content_hash: str
    evidence_hash: str
    evidence: Mapping[str, Any]
    approvals: tuple[ApprovalFacts, ...]
    diff: PolicyDiff
    in_force: InForce | None
    timeline: tuple[TimelineEntry, ...]

    @property
    def is_open(self) -> bool:
        return self.state in {ChangeRequest.State.IN_REVIEW, ChangeRequest.State.APPROVED}

    @property
    def is_in_force(self) -> bool:
        return self.in_force is not None and self.in_force.change_id == self.id


_DID = {
    "policy.proposed": "proposed this change",
    "policy.approved": "approved the quality evidence",
    "policy.rejected": "rejected it",
    "policy.cancelled": "took it back",
    "policy.activated": "activated it",
}


def evidence_hash(evidence: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of the evidence: what an approval binds to besides the document."""
    return hashlib.sha256(canonical_json(evidence)).hexdigest()


def policy_in_force_now(*, environment: str = "prod") -> InForce | None:
    """The latest activation of an environment, None when nothing is active."""
    row = (
        Activation.objects.filter(environment=environment)
        .select_related("policy_version__created_by", "activated_by")
        .prefetch_related("change_request__approvals__approver")
        .order_by("-sequence")
        .first()
    )
    if row is None:
        return None
    return InForce(
        environment=environment,
        sequence=row.sequence,
        version=_version(row.policy_version),
        activated_at=row.activated_at,
        activated_by=_name(row.activated_by),
        change_id=row.change_request_id,
        approved_by=_approvers(row.change_request),
        kill_switch=row.kill_switch,
    )


def history(*, environment: str = "prod") -> tuple[HistoryRow, ...]:
    """Every activation, newest first."""
    rows = list(
        Activation.objects.filter(environment=environment)
        .select_related("policy_version", "activated_by", "change_request__author")
        .prefetch_related("change_request__approvals__approver")
        .order_by("sequence")
    )
    ends = [row.activated_at for row in rows[1:]]
    found, latest = [], 0
    for row, until in zip(rows, [*ends, None], strict=False):
        change = row.change_request
        found.append(
            HistoryRow(
                sequence=row.sequence,
                policy=row.policy_version.policy,
                version=row.policy_version.version,
                title=change.title if change is not None else "",
                change_id=row.change_request_id,
                proposed_by=_name(change.author) if change is not None else "",
                approved_by=_approvers(change),
                activated_by=_name(row.activated_by),
                activated_at=row.activated_at,
                until=until,
                is_rollback=row.policy_version.version < latest,
            )
        )
        latest = max(latest, row.policy_version.version)
    return tuple(reversed(found))


def changes(*, environment: str = "prod", only_open: bool = False) -> tuple[ChangeRow, ...]:
    """Change requests, newest first."""
    rows = ChangeRequest.objects.filter(environment=environment).select_related("policy_version", "author")
    if only_open:
        rows = rows.filter(state__in=[ChangeRequest.State.IN_REVIEW, ChangeRequest.State.APPROVED])
    return tuple(
        ChangeRow(
            id=row.pk,
            title=row.title,
            state=row.state,
            policy=row.policy_version.policy,
            version=row.policy_version.version,
            environment=row.environment,
            author=_name(row.author),
            proposed_at=row.proposed_at,
            closed_at=row.closed_at,
        )
        for row in rows
    )


def waiting_for_approval() -> int:
    """Number of changes in review."""
    return ChangeRequest.objects.filter(state=ChangeRequest.State.IN_REVIEW).count()


def change_facts(*, change_id: int) -> ChangeFacts:
    """One change. Raises NoSuchChange."""
    row = (
        ChangeRequest.objects.filter(pk=change_id)
        .select_related("policy_version__created_by", "author")
        .prefetch_related("approvals__approver")
        .first()
    )
    if row is None:
        raise NoSuchChange(f"There is no change #{change_id}: see the Policies page for those that exist.")
    version, active = _version(row.policy_version), policy_in_force_now(environment=row.environment)
    bound = (row.policy_version.content_hash, row.evidence_hash)
    return ChangeFacts(
        id=row.pk,
        title=row.title,
        note=row.note,
        state=row.state,
        environment=row.environment,
        author=_name(row.author),
        author_id=row.author_id,
        proposed_at=row.proposed_at,
        closed_at=row.closed_at,
        version=version,
        content_hash=version.content_hash,
        evidence_hash=row.evidence_hash,
        evidence=row.evidence,
        approvals=tuple(
            ApprovalFacts(
                approver=_name(approval.approver),
                function=approval.function,
                approved_at=approval.approved_at,
                comment=approval.comment,
                is_valid=(approval.content_hash, approval.evidence_hash) == bound,
            )
            for approval in row.approvals.all()
        ),
        diff=_against(active, version.document),
        in_force=active,
        timeline=_timeline(row.pk),
    )


def environment_of_change(*, change_id: int) -> str:
    """Where a change is to be put in force. Raises NoSuchChange."""
    found = ChangeRequest.objects.filter(pk=change_id).values_list("environment", flat=True).first()
    if found is None:
        raise NoSuchChange(f"There is no change #{change_id}.")
    return found


def version_facts(*, version: int, policy: str = "") -> VersionFacts:
    """A version by its number, of the named policy or of the latest one that has it. Raises NoSuchChange."""
    rows = PolicyVersion.objects.filter(version=version).select_related("created_by")
    row = (rows.filter(policy=policy) if policy else rows).order_by("-created_at", "-pk").first()
    if row is None:
        raise NoSuchChange(f"There is no policy version {version}: see the Policies page for those that exist.")
    return _version(row)


def changes_of_version(*, version_id: int) -> tuple[int, ...]:
    """Numbers of the changes that proposed a version, newest first."""
    return tuple(ChangeRequest.objects.filter(policy_version_id=version_id).values_list("pk", flat=True))


def diff_to_in_force(*, document: Mapping[str, Any], environment: str = "prod") -> PolicyDiff:
    """What a document would change in force now."""
    return _against(policy_in_force_now(environment=environment), document)


def _against(active: InForce | None, document: Mapping[str, Any]) -> PolicyDiff:
    before = active.version.document if active is not None else None
    return policy_diff(before, document, against=active.version.label if active is not None else "")


def _timeline(change_id: int) -> tuple[TimelineEntry, ...]:
    rows = entries(object_type="change_request", object_id=str(change_id))
    return tuple(
        TimelineEntry(row.actor_name, _DID.get(row.action, row.action), row.at, row.note, row.is_demo) for row in rows
    )


def _version(row: PolicyVersion) -> VersionFacts:
    return VersionFacts(
        id=row.pk,
        policy=row.policy,
        version=row.version,
        content_hash=row.content_hash,
        created_by=_name(row.created_by),
        created_at=row.created_at,
        document=row.document,
    )


def _approvers(change: ChangeRequest | None) -> tuple[str, ...]:
    return tuple(_name(row.approver) for row in change.approvals.all()) if change is not None else ()


def _name(user: Any) -> str:
    return user.get_username() if user is not None else "system"
