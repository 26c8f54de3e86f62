"""The policy of policy-spec.md §1, as written there, and small helpers to vary it."""

import copy
import json
from typing import Any

SPEC_POLICY_JSON = r"""
{"schema": "costgov.policy/1", "policy": "claude-prod", "version": 12, "mode": "enforce",
 "classes": {"faq": {"title": "FAQ answers", "quality_owner": "support-eng", "spend_owner": "procurement"},
             "ticket_triage": {"title": "Ticket triage"}, "contract_review": {"title": "Contract review"},
             "extraction": {"title": "Structured extraction"}, "coding": {"title": "Code help"}, "general": {"title": "Everything else"}},
 "default_class": "general",
 "signals": {"code": {"patterns": ["`{3}", "\\b(?:def|class|import)\\b"], "window_chars": 4096}},
 "rules": [
  {"id": "r1", "class": "contract_review", "when": [{"field": "tags", "op": "has_any", "value": ["legal-review", "m-and-a"]}]},
  {"id": "r2", "class": "ticket_triage", "when": [{"field": "feature", "op": "in", "value": ["ticket-triage", "intent"]},
                                                   {"field": "max_tokens", "op": "lte", "value": 256}]},
  {"id": "r3", "class": "faq", "when": [{"field": "feature", "op": "starts_with", "value": ["faq-"]},
    {"field": "input_chars", "op": "lte", "value": 8000}, {"field": "environment", "op": "not_in", "value": ["dev"]}]},
  {"id": "r4", "class": "extraction", "when": [{"field": "json_output", "op": "is", "value": true}, {"field": "tools", "op": "between", "value": [0, 3]}]},
  {"id": "r5", "class": "coding", "when": [{"field": "signal.code", "op": "is", "value": true}, {"field": "input_chars", "op": "gte", "value": 2000}]}],
 "assignments": {
  "faq": {"target": {"model": "claude-haiku-4-5", "max_tokens_cap": 1024, "cache": {"mode": "auto", "ttl": "5m"}, "batch": "no",
                     "fallback": [{"model": "claude-sonnet-5", "on": ["overloaded", "rate_limited"]}]},
          "baseline": {"model": "claude-sonnet-5"}, "rollout": {"basis_points": 5000, "salt": "faq.3"}},
  "ticket_triage": {"target": {"model": "claude-haiku-4-5", "effort": null}, "rollout": {"basis_points": 10000, "salt": "triage.1"}},
  "contract_review": {"target": {"model": null}}, "extraction": {"target": {"model": "claude-haiku-4-5"}},
  "coding": {"target": {"model": "claude-sonnet-5"}}, "general": {"target": {"model": "claude-sonnet-5"}}},
 "sticky_keys": ["conversation", "user", "api_key"], "allow_bypass": true,
 "models": {"claude-haiku-4-5": {"max_input_tokens": 200000, "adaptive_thinking": false, "sampling_params": true, "prefill": true, "vision": true, "efforts": []},
            "claude-sonnet-5": {"max_input_tokens": 1000000, "adaptive_thinking": true, "sampling_params": false, "prefill": false, "vision": true, "efforts": ["low", "medium", "high"]}}}
"""  # noqa: E501

HAIKU = "claude-haiku-4-5"
SONNET = "claude-sonnet-5"
OPUS = "claude-opus-4-8"


def spec_policy() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(SPEC_POLICY_JSON)
    return document


def changed(path: str, value: Any, document: dict[str, Any] | None = None) -> dict[str, Any]:
    """A copy with the value at a JSON pointer set (a list position may be one past the end)."""
    copied = copy.deepcopy(document or spec_policy())
    *parents, last = path.strip("/").split("/")
    place: Any = copied
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    if isinstance(place, list) and int(last) == len(place):
        place.append(value)
    elif isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return copied


def without(path: str) -> dict[str, Any]:
    """A copy of the spec's policy without the member at a JSON pointer."""
    copied = spec_policy()
    *parents, last = path.strip("/").split("/")
    place: Any = copied
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    del place[last]
    return copied


def one_rule_policy(*conditions: dict[str, Any], **target: Any) -> dict[str, Any]:
    """One rule to class `hit`, everything else `miss`; the target of `hit` as given (default: keep the model)."""
    document = spec_policy()
    document.update(
        classes={"hit": {}, "miss": {}},
        default_class="miss",
        rules=[{"id": "only", "class": "hit", "when": list(conditions)}] if conditions else [],
        assignments={"hit": {"target": {"model": None}}, "miss": {"target": {"model": None, **target}}},
        signals={},
    )
    return document
