"""What serves each class now (methods.md, "Incumbent")."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from billing.queries.named_models import OTHERS
from billing.queries.profiles import ServedUsage
from routing.models import Activation

FULL_ROLLOUT_BASIS_POINTS = 9_800  # 2 % may stay behind as a holdback for measuring


@dataclass(frozen=True, slots=True)
class ActivePolicy:
    """The policy in force in an environment."""

    environment: str
    sequence: int
    name: str
    version: int
    content_hash: str
    document: dict[str, Any]
    activated_at: datetime
    kill_switch: bool

    def settled_target(self, request_class: str) -> str | None:
        """Model the policy sends (nearly) all requests of the class to; None while it observes or rolls out."""
        assignment = self.document["assignments"].get(request_class)
        if assignment is None or self.document["mode"] != "enforce" or self.kill_switch:
            return None
        basis_points = assignment.get("rollout", {}).get("basis_points", 10_000)
        target: str | None = assignment["target"]["model"]
        return target if basis_points >= FULL_ROLLOUT_BASIS_POINTS else None


def active_policy(*, environment: str, as_of: datetime) -> ActivePolicy | None:
    """The latest activation at or before `as_of`; None where nothing is active yet."""
    row = _activations(environment, as_of).order_by("-sequence").first()
    return _active(row) if row is not None else None


def active_policies(*, environment: str, as_of: datetime) -> tuple[ActivePolicy, ...]:
    """Every activation at or before `as_of`, the first first: each was in force until the next."""
    return tuple(_active(row) for row in _activations(environment, as_of).order_by("sequence"))


def _activations(environment: str, as_of: datetime) -> QuerySet[Activation]:
    rows = Activation.objects.filter(environment=environment, activated_at__lte=as_of)
    return rows.select_related("policy_version")


def _active(row: Activation) -> ActivePolicy:
    version = row.policy_version
    return ActivePolicy(
        environment=row.environment,
        sequence=row.sequence,
        name=version.policy,
        version=version.version,
        content_hash=version.content_hash,
        document=version.document,
        activated_at=row.activated_at,
        kill_switch=row.kill_switch,
    )


def incumbents(*, policy: ActivePolicy | None, usage: Iterable[ServedUsage], slugs: Iterable[str]) -> dict[str, str]:
    """Incumbent of every class that has one: the settled target, else the model with most requests in the window
    (most input-equivalent tokens where requests are unknown; ties to the lexicographically first)."""
    by_class: dict[str, list[ServedUsage]] = defaultdict(list)
    for row in usage:
        by_class[row.request_class].append(row)
    found = {}
    for slug in slugs:
        target = policy.settled_target(slug) if policy is not None else None
        rows = by_class.get(slug, [])
        if target is not None:
            found[slug] = target
        elif rows:
            known = all(row.requests is not None for row in rows)
            rows = [row for row in rows if row.model != OTHERS] or rows  # many small models are not the one that serves
            weight = {row.model: (row.requests or 0) if known else row.input_tok for row in rows}
            found[slug] = min(weight, key=lambda model: (-weight[model], model))
    return found
