"""Policies as they were in force: what classifies usage by its time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from routing.models import Activation, PolicyVersion


@dataclass(frozen=True, slots=True)
class ActivePolicy:
    """A policy document in force over `[valid_from, valid_to)`; `valid_to` None = still."""

    version: int
    document: Mapping[str, Any]
    valid_from: datetime
    valid_to: datetime | None


def activations_with_documents(*, environment: str = "prod") -> list[ActivePolicy]:
    """Every activation of an environment in order of sequence, each until the next one began."""
    rows = list(
        Activation.objects.filter(environment=environment).select_related("policy_version").order_by("sequence")
    )
    ends = [row.activated_at for row in rows[1:]]
    return [
        ActivePolicy(row.policy_version.version, row.policy_version.document, row.activated_at, end)
        for row, end in zip(rows, [*ends, None], strict=False)
        if end is None or row.activated_at < end
    ]


def policy_document(*, version: int, policy: str = "") -> Mapping[str, Any] | None:
    """The document of a version, of the named policy or of the one that has this version; None when there is none."""
    rows = PolicyVersion.objects.filter(version=version)
    row = (rows.filter(policy=policy) if policy else rows).order_by("-created_at", "-pk").first()
    return row.document if row is not None else None
