"""The bundle a gateway polls: the approved policy of an environment with its sequence (policy-spec.md §8)."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from gateway.bundle import bundle_body, etag
from gateway.engine import CompiledPolicy, compile_policy
from routing.models import Activation, PolicyVersion

STALE_AFTER_S = 3_600
ENVIRONMENTS = ("prod",)


class NothingActive(LookupError):
    """Unknown environment, or no policy is active there yet."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Exact body bytes and their ETag."""

    body: bytes
    etag: str
    sequence: int


def bundle(*, environment: str, as_of: datetime) -> Bundle:
    """The bundle in force. Its `issued_at` is the activation's time, so equal policies give equal bytes and ETags."""
    activation = _in_force(environment, as_of)
    change = activation.change_request
    approvers = sorted(row.approver.get_username() for row in change.approvals.all()) if change is not None else []
    body = bundle_body(
        environment=environment,
        sequence=activation.sequence,
        issued_at=activation.activated_at,
        stale_after_s=STALE_AFTER_S,
        kill_switch=activation.kill_switch,
        approved_by=approvers,
        policy=activation.policy_version.document,
    )
    return Bundle(body, etag(environment, activation.sequence, body), activation.sequence)


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """A compiled policy with what its decisions are recorded under."""

    policy: CompiledPolicy
    sequence: int
    kill_switch: bool


def policy_in_force(*, environment: str, as_of: datetime) -> PolicyInForce:
    """The active policy, ready to decide. Raises NothingActive."""
    activation = _in_force(environment, as_of)
    version = activation.policy_version
    return PolicyInForce(_compiled(version.content_hash, version.pk), activation.sequence, activation.kill_switch)


def _in_force(environment: str, as_of: datetime) -> Activation:
    row = (
        Activation.objects.filter(environment=environment, activated_at__lte=as_of)
        .select_related("policy_version", "change_request")
        .prefetch_related("change_request__approvals__approver")
        .order_by("-sequence")
        .first()
    )
    if row is None:
        known = "is known" if environment in ENVIRONMENTS else f"is not one of {', '.join(ENVIRONMENTS)}"
        raise NothingActive(f"No policy is active in {environment!r} (the environment {known}). Activate one first.")
    return row


@lru_cache(maxsize=32)
def _compiled(content_hash: str, version_id: int) -> CompiledPolicy:
    """Versions are immutable, so the compiled form may be kept for good."""
    document: dict[str, Any] = PolicyVersion.objects.values_list("document", flat=True).get(pk=version_id)
    return compile_policy(document)
