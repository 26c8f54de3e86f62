"""A slow interpreter of policy-spec.md §3–4.8, written from the text alone: shares no code with the engine."""

import hashlib
from typing import Any


def condition_true(condition: dict[str, Any], facts: dict[str, Any]) -> bool:
    field, op = condition["field"], condition["op"]
    value: Any = condition.get("value")
    fact = facts.get(field)
    if field == "tags":
        tags = set(fact or ())
        if op == "has_any":
            return any(tag in tags for tag in value)
        if op == "has_none":
            return not any(tag in tags for tag in value)
        if op == "has_all":
            return all(tag in tags for tag in value)
        if op == "lacks_any":
            return not all(tag in tags for tag in value)
    if op == "in":
        return fact is not None and any(fact == text for text in value)
    if op == "not_in":
        return fact is None or all(fact != text for text in value)
    if op == "starts_with":
        return fact is not None and any(fact[: len(text)] == text for text in value)
    if op == "not_starts_with":
        return fact is None or all(fact[: len(text)] != text for text in value)
    if op == "present":
        return fact is not None
    if op == "absent":
        return fact is None
    if fact is None:
        return False
    if op == "is":
        return fact == value
    if op == "lt":
        return fact < value
    if op == "lte":
        return fact <= value
    if op == "gt":
        return fact > value
    if op == "gte":
        return fact >= value
    if op == "between":
        return value[0] <= fact <= value[1]
    raise AssertionError(op)


def classify(document: dict[str, Any], facts: dict[str, Any]) -> tuple[str | None, str]:
    for rule in document["rules"]:
        if rule.get("enabled", True) and all(condition_true(condition, facts) for condition in rule["when"]):
            return rule["id"], rule["class"]
    return None, document["default_class"]


def guard(document: dict[str, Any], model: str, facts: dict[str, Any], requested: str) -> str | None:
    about = document["models"][model]
    permitted = facts.get("permitted_models")
    if permitted and model not in permitted:
        return "not_permitted"
    if facts.get("input_chars") is not None and facts["input_chars"] > 3 * about["max_input_tokens"]:
        return "capability:context"
    if facts.get("thinking_type") == "adaptive" and not about["adaptive_thinking"]:
        return "capability:adaptive_thinking"
    if facts.get("images") is not None and facts["images"] > 0 and not about["vision"]:
        return "capability:vision"
    if facts.get("prefill") and not about["prefill"]:
        return "capability:prefill"
    if facts.get("thinking_history") and model.split("-")[1] != requested.split("-")[1]:
        return "capability:thinking_history"
    return None


def decide(document: dict[str, Any], facts: dict[str, Any], requested: str, sticky: dict[str, str]) -> dict[str, Any]:
    """The outcome of steps 3–8: rule, class, arm, bucket, target, applied, reason."""
    rule, name = classify(document, facts)
    assignment = document["assignments"][name]
    basis_points = assignment.get("rollout", {}).get("basis_points", 10000)
    bucket = reason = None
    if basis_points == 10000:
        arm = "policy"
    elif basis_points == 0:
        arm, reason = "baseline", "rollout"
    else:
        keys = [sticky[kind].strip(" \t\r\n") for kind in document["sticky_keys"] if sticky.get(kind, "").strip()]
        if not keys:
            arm, reason = "baseline", "no_sticky_key"
        else:
            text = assignment["rollout"]["salt"] + ":" + keys[0]
            hash8 = hashlib.sha256(text.encode("utf-8")).hexdigest()[:8]
            bucket = int(hash8, 16) * 10000 >> 32
            arm = "policy" if hash8 < format(basis_points * 2**32 // 10000, "08x") else "baseline"
            reason = None if arm == "policy" else "rollout"
    candidate = assignment["target"] if arm == "policy" else assignment.get("baseline", {"model": None})
    model = candidate["model"]
    outcome = {"rule": rule, "class": name, "arm": arm, "bucket": bucket, "target": model or requested}
    failed = guard(document, model, facts, requested) if model else None
    if failed:
        return {**outcome, "applied": False, "reason": failed}
    cap = candidate.get("max_tokens_cap")
    caps = cap is not None and (facts.get("max_tokens") is None or facts["max_tokens"] > cap)
    caches = candidate.get("cache", {}).get("mode", "keep") != "keep"
    if (model is None or model == requested) and not caps and not caches:
        return {**outcome, "applied": False, "reason": reason or ("keep_requested" if model is None else "already")}
    if document["mode"] == "observe":
        return {**outcome, "applied": False, "reason": "observe"}
    return {**outcome, "applied": True, "reason": reason}
