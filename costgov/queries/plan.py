"""What is planned for each class: the recommended move, and how much of it somebody has already approved."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import numpy as np

from billing.core.forecasting import Floats
from costgov.queries.recommendation import recommended_document
from routing.core.levers import LEVERS, LeverCosts, LeverSet
from routing.models import ChangeRequest
from routing.queries.incumbents import FULL_ROLLOUT_BASIS_POINTS
from routing.queries.policies import activations_with_documents
from routing.queries.recommendation import RecommendationReport

ENVIRONMENT: Final = "prod"
SERVED_SHARE: Final = 0.9  # of the window's input tokens: traffic shows the assignment already

Standing = Literal["stays", "in force", "approved", "proven", "none"]


@dataclass(frozen=True, slots=True)
class Choice:
    """A model with the levers used on it.

    Where a limit of the estate splits the class, it serves `share` of the requests and `rest` the others, and a rollout
    is complete at that share. Two choices of the same model and levers are the same, whatever their shares.
    """

    model: str
    levers: LeverSet
    share: float = field(default=1.0, compare=False)
    rest: str = field(default="", compare=False)

    @property
    def models(self) -> tuple[str, ...]:
        return (self.model, self.rest) if self.rest else (self.model,)

    def unit_cost_usd(self, by_model: Mapping[str, LeverCosts]) -> float | None:
        """Cost of a unit once rolled out, usd; None where one of its models has no price."""
        own, other = by_model.get(self.model), by_model.get(self.rest)
        if own is None or (self.rest and other is None):
            return None
        cost = float(own.unit_cost_usd(self.levers))
        if other is None:
            return cost
        return self.share * cost + (1 - self.share) * float(other.unit_cost_usd(frozenset(LEVERS)))


@dataclass(frozen=True, slots=True)
class ClassPlan:
    """The course of one class under the optimised policy.

    `target` None or standing "stays" / "in force": the current cost stands. `constant_share` is the part of requests
    an active policy sends to `target` from the first day; None = moves by the rollout stages. The same for `approved`.
    """

    request_class: str
    standing: Standing
    target: Choice | None
    constant_share: float | None
    approved: Choice | None
    approved_constant_share: float | None
    move: str
    reason: str

    @classmethod
    def unplanned(cls, request_class: str, reason: str = "") -> "ClassPlan":
        return cls(request_class, "none", None, None, None, None, "", reason)

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(model for choice in (self.target, self.approved) if choice is not None for model in choice.models)

    def target_share(self, staged: Floats) -> Floats:
        return _share(self.target, self.constant_share, staged)

    def approved_share(self, staged: Floats) -> Floats:
        return _share(self.approved, self.approved_constant_share, staged)


def class_plans(report: RecommendationReport, *, as_of: datetime) -> dict[str, ClassPlan]:
    """The plan of every class with a recommendation, and why there is none for the unsolved ones."""
    recommended = recommended_document(report, as_of=as_of)["assignments"]
    in_force = _in_force(as_of)
    approved = _approved_document(as_of)
    served = _served_shares(report)
    found = {
        row.request_class: ClassPlan.unplanned(row.request_class, row.reason) for row in report.recommendation.unsolved
    }
    for row in report.recommendation.classes:
        levers: set[Any] = {"routing"}
        if row.target_costs.caching.ttl in {"5m", "1h"}:
            levers.add("caching")
        if row.target_costs.batch_share > 0:
            levers.add("batch")
        target = Choice(row.target, frozenset(levers), float(row.target_share), row.split_with)
        wanted = recommended.get(row.request_class) or _assignment(target)
        active, since = in_force.get(row.request_class, (None, None))
        agreed = approved["assignments"].get(row.request_class) if approved is not None else None
        served_share = served.get((row.request_class, row.target), 0.0)
        found[row.request_class] = _plan(
            row.request_class, row.move, target, wanted, active, since, agreed, served_share, report
        )
    return found


def _plan(
    slug: str,
    move: str,
    target: Choice,
    wanted: Mapping[str, Any],
    active: Mapping[str, Any] | None,
    since: datetime | None,
    agreed: Mapping[str, Any] | None,
    served_share: float,
    report: RecommendationReport,
) -> ClassPlan:
    is_old = since is not None and since.date() <= report.start
    if active is not None and _same(active, wanted):
        # Of what is planned: a class to be split is all there at its share.
        share = min(_basis_points(active) / 10_000 / target.share, 1.0)
        is_full = share * 10_000 >= FULL_ROLLOUT_BASIS_POINTS
        if is_old and served_share >= SERVED_SHARE * target.share and is_full:
            return ClassPlan(slug, "in force", None, None, None, None, move, "")
        return ClassPlan(slug, "approved", target, share, target, share, move, "")
    is_untouched = active is None or _choice(active) is None
    if move == "keep" and target.levers == frozenset({"routing"}) and is_untouched:
        return ClassPlan(slug, "stays", None, None, None, None, move, "")
    if agreed is not None and _same(agreed, wanted):
        return ClassPlan(slug, "approved", target, None, target, None, move, "")
    earlier = _choice(agreed) if agreed is not None else None
    if earlier is not None:
        return ClassPlan(slug, "proven", target, None, earlier, None, move, "")
    now = _choice(active) if active is not None and not is_old else None
    constant = _basis_points(active) / 10_000 if active is not None and now is not None else None
    return ClassPlan(slug, "proven", target, None, now, constant, move, "")


def _in_force(as_of: datetime) -> dict[str, tuple[Mapping[str, Any], datetime]]:
    """Assignment of every class under the active policy, and since when it has been the same without a break."""
    found: dict[str, tuple[Mapping[str, Any], datetime]] = {}
    for policy in activations_with_documents(environment=ENVIRONMENT):
        if policy.valid_from > as_of:
            continue
        if policy.document["mode"] != "enforce":
            found = {}
            continue
        held, found = found, {}
        for slug, assignment in policy.document["assignments"].items():
            earlier = held.get(slug)
            since = earlier[1] if earlier is not None and earlier[0] == assignment else policy.valid_from
            found[slug] = (assignment, since)
    return found


def _approved_document(as_of: datetime) -> Mapping[str, Any] | None:
    """The newest change that is approved and waits for its activation."""
    row = (
        ChangeRequest.objects.filter(
            environment=ENVIRONMENT, state=ChangeRequest.State.APPROVED, proposed_at__lte=as_of
        )
        .select_related("policy_version")
        .order_by("-proposed_at", "-pk")
        .first()
    )
    return row.policy_version.document if row is not None else None


def _served_shares(report: RecommendationReport) -> dict[tuple[str, str], float]:
    """Part of each class's input tokens in the window that each model served."""
    found = {}
    for slug, rows in report.facts.by_class.items():
        total = sum(row.input_tok for row in rows)
        for row in rows:
            found[slug, row.model] = row.input_tok / total if total else 0.0
    return found


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two assignments send requests to the same place in the same way, whatever their rollout."""
    return _choice(one) == _choice(other)


def _choice(assignment: Mapping[str, Any]) -> Choice | None:
    target = assignment["target"]
    if target.get("model") is None:
        return None
    levers: set[Any] = {"routing"}
    if target.get("cache", {}).get("mode") == "auto":
        levers.add("caching")
    if target.get("batch") == "preferred":
        levers.add("batch")
    return Choice(target["model"], frozenset(levers))


def _assignment(choice: Choice) -> dict[str, Any]:
    target: dict[str, Any] = {"model": choice.model}
    if "caching" in choice.levers:
        target["cache"] = {"mode": "auto"}
    if "batch" in choice.levers:
        target["batch"] = "preferred"
    return {"target": target}


def _basis_points(assignment: Mapping[str, Any]) -> int:
    return int(assignment.get("rollout", {}).get("basis_points", 10_000))


def _share(choice: Choice | None, constant: float | None, staged: Floats) -> Floats:
    if choice is None:
        return np.zeros_like(staged)
    return staged if constant is None else np.full_like(staged, constant)
