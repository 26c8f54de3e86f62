"""From a recommendation to a draft policy document (policy-spec.md §1): rules stay, assignments follow the evidence."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import count
from typing import Any

from routing.core.levers import Lever, LeverCosts
from routing.core.recommendation import ClassRecommendation, Recommendation

DEFAULT_CLASS = "general"
POLICY_NAME = "claude-prod"
KEEP: dict[str, Any] = {"target": {"model": None}}


@dataclass(frozen=True, slots=True)
class RegisteredClass:
    """What a policy document repeats of the register of classes."""

    slug: str
    title: str
    quality_owner: str
    spend_owner: str


@dataclass(frozen=True, slots=True)
class UsageMapping:
    """Usage of a workspace and api key belongs to a class; '' = any."""

    slug: str
    workspace: str
    api_key: str


@dataclass(frozen=True, slots=True)
class AssignmentChange:
    """What a draft changes for one class, in words a reviewer reads."""

    request_class: str
    before: str
    after: str


def draft_document(
    *,
    active: Mapping[str, Any] | None,
    classes: Sequence[RegisteredClass],
    mappings: Sequence[UsageMapping],
    recommendation: Recommendation,
    max_input_tok: Mapping[str, int | None],
) -> dict[str, Any]:
    """The active document with the recommended assignments; without one, rules are made from the class mappings.

    `version` is 1 or the active one and is replaced at submission. Classes nothing is recommended for keep theirs.
    A class with a recommendation that no rule leads to gets rules for requests that name it: its usage came with its
    name, and without a rule gateways would never give it the model whose saving is shown.
    """
    document = deepcopy(dict(active)) if active is not None else _first_document(mappings)
    reached = {rule["class"] for rule in document["rules"]} | {document["default_class"]}
    unreached = sorted({row.request_class for row in recommendation.classes} - reached)
    document["rules"] = [*_rules_by_name(unreached, {rule["id"] for rule in document["rules"]}), *document["rules"]]
    registered = {row.slug: row for row in classes}
    used = {rule["class"] for rule in document["rules"]} | {document["default_class"]}
    document["classes"] = {slug: _class_entry(registered.get(slug), slug) for slug in sorted(used)}
    recommended = {row.request_class: row for row in recommendation.classes}
    previous: dict[str, Any] = document["assignments"]
    document["assignments"] = {
        slug: recommended_assignment(recommended[slug], recommendation, previous.get(slug))
        if slug in recommended
        else previous.get(slug, KEEP)
        for slug in sorted(used)
    }
    document["models"] = _models(document, max_input_tok)
    return document


def changed_assignments(active: Mapping[str, Any] | None, draft: Mapping[str, Any]) -> tuple[AssignmentChange, ...]:
    """Classes whose assignment differs, in order of their names."""
    before = active["assignments"] if active is not None else {}
    rows = []
    for slug, assignment in sorted(draft["assignments"].items()):
        old = before.get(slug)
        if old != assignment:
            rows.append(AssignmentChange(slug, describe(old) if old else "not in the policy", describe(assignment)))
    return tuple(rows)


def describe(assignment: Mapping[str, Any]) -> str:
    """An assignment in words: model, caching, batch."""
    target = assignment["target"]
    words = [target["model"] or "the requested model"]
    cache = target.get("cache", {})
    if cache.get("mode") == "auto":
        words.append({"5m": "5-minute", "1h": "1-hour"}[cache.get("ttl", "5m")] + " caching")
    if target.get("batch") == "preferred":
        words.append("in batch")
    basis_points = assignment.get("rollout", {}).get("basis_points", 10_000)
    if basis_points < 10_000:
        words.append(f"for {basis_points / 100:g}% of requests")
        rest = assignment.get("baseline", {}).get("model")
        if rest:
            words.append(f"the rest on {rest}")
    return ", ".join(words)


def _first_document(mappings: Sequence[UsageMapping]) -> dict[str, Any]:
    rules = []
    for number, mapping in enumerate(mappings, start=1):
        named = {"workspace": mapping.workspace, "api_key": mapping.api_key}
        when = [{"field": field, "op": "in", "value": [value]} for field, value in named.items() if value]
        if when:
            rules.append({"id": f"r{number}", "class": mapping.slug, "when": when})
    return {
        "schema": "costgov.policy/1",
        "policy": POLICY_NAME,
        "version": 1,
        "mode": "enforce",
        "classes": {},
        "default_class": DEFAULT_CLASS,
        "rules": rules,
        "assignments": {},
        "sticky_keys": ["conversation", "user", "api_key"],
        "allow_bypass": True,
        "models": {},
    }


def _rules_by_name(slugs: Sequence[str], taken: set[str]) -> list[dict[str, Any]]:
    """Rules for requests that say their class: by header (x-costgov-meta-request-class) or as a LiteLLM tag.

    They come first, as a class named in a log comes before the policy's own verdict on it.
    """
    free = (name for number in count(1) if (name := f"named{number}") not in taken)
    rules: list[dict[str, Any]] = []
    for slug in slugs:
        by_header = {"field": "meta.request_class", "op": "in", "value": [slug]}
        by_tag = {"field": "tags", "op": "has_any", "value": [f"request_class:{slug}"]}
        rules += [{"id": next(free), "class": slug, "when": [condition]} for condition in (by_header, by_tag)]
    return rules


def _class_entry(row: RegisteredClass | None, slug: str) -> dict[str, str]:
    if row is None:
        return {"title": "Everything else" if slug == DEFAULT_CLASS else slug}
    entry = {"title": row.title, "quality_owner": row.quality_owner, "spend_owner": row.spend_owner}
    return {name: value for name, value in entry.items() if value}


def recommended_assignment(
    row: ClassRecommendation, recommendation: Recommendation, previous: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Target with the levers that pay. A client that caches by itself keeps its own marks ("keep", the default).

    A class that a limit of the whole estate splits states the other model as its baseline and the share in basis
    points. The salt of the `previous` assignment stays, so that a larger share only ever adds conversations.
    """
    assignment: dict[str, Any] = {"target": _target(row.target, row.target_costs, recommendation.levers)}
    if row.split_with and row.split_costs is not None:
        salt = (previous or {}).get("rollout", {}).get("salt", row.request_class)
        assignment["baseline"] = _target(row.split_with, row.split_costs, recommendation.levers)
        assignment["rollout"] = {"basis_points": int(row.target_share * 10_000), "salt": salt}
    return assignment


def _target(model: str, costs: LeverCosts, levers: Sequence[Lever]) -> dict[str, Any]:
    target: dict[str, Any] = {"model": model}
    if "caching" in levers and costs.caching.ttl in {"5m", "1h"}:
        target["cache"] = {"mode": "auto", "ttl": costs.caching.ttl}
    if "batch" in levers and costs.batch_share > 0:
        target["batch"] = "preferred"
    return target


def _models(document: Mapping[str, Any], max_input_tok: Mapping[str, int | None]) -> dict[str, dict[str, Any]]:
    named: set[str] = set()
    for assignment in document["assignments"].values():
        for patch in (assignment["target"], assignment.get("baseline", {})):
            named.update(model for model in (patch.get("model"),) if model)
            named.update(entry["model"] for entry in patch.get("fallback", []))
    known = document["models"]
    models = {}
    for model in sorted(named):
        entry = dict(known.get(model, {}))
        limit = max_input_tok.get(model)
        if limit is not None:
            entry["max_input_tokens"] = limit
        models[model] = entry
    return models
