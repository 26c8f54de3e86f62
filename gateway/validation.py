"""Validation of a policy document that reports every problem, not only the first (policy-spec.md §1, §3)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from gateway.facts import (
    BOOLEAN,
    GUARD_FIELDS,
    INTEGER,
    MAX_INTEGER,
    SET,
    STRING,
    field_type,
    model_id,
    normalise_string,
)
from gateway.findings import Finding

SCHEMA: Final = "costgov.policy/1"
MAX_RULES: Final = 500
MAX_CONDITIONS: Final = 20
MAX_VALUES: Final = 200
FULL_ROLLOUT: Final = 10_000
STICKY_KEYS: Final = ("conversation", "user", "api_key", "request")
FALLBACK_CAUSES: Final = ("overloaded", "rate_limited", "refusal", "context_too_long", "server_error")

#: type → operator → what its value is: a list of strings, one integer, two integers, a boolean, or none.
OPERATORS: Final[Mapping[str, Mapping[str, str]]] = {
    STRING: {"in": "strings", "not_in": "strings", "starts_with": "strings", "not_starts_with": "strings",
             "present": "none", "absent": "none"},
    INTEGER: {"lt": "integer", "lte": "integer", "gt": "integer", "gte": "integer", "between": "range",
              "present": "none", "absent": "none"},
    BOOLEAN: {"is": "boolean"},
    SET: {"has_any": "strings", "has_none": "strings", "has_all": "strings", "lacks_any": "strings"},
}  # fmt: skip

_ID = re.compile(r"[a-z][a-z0-9_.-]{0,63}", re.ASCII)
_ID_REMEDY = "use a lower-case letter, then up to 63 of a-z 0-9 _ . -"
_MODEL_FLAGS = ("adaptive_thinking", "sampling_params", "prefill", "vision")


def check_document(
    document: Mapping[str, Any],
    *,
    allowed_models: Collection[str] | None,
    registered_classes: Collection[str] | None,
) -> list[Finding]:
    """Every problem of the members of a document; see :func:`gateway.document.validate_document`."""
    check = _Check()
    check.keys(
        "", document,
        required=("schema", "policy", "version", "mode", "classes", "default_class", "rules", "assignments",
                  "sticky_keys", "models"),
        optional=("signals", "allow_bypass"),
    )  # fmt: skip
    _check_head(check, document)
    classes = _check_classes(check, document, registered_classes)
    signals = _check_signals(check, document)
    models = _check_models(check, document)
    _check_rules(check, document, classes, signals)
    _check_assignments(check, document, classes, models, allowed_models)
    return check.findings


def pointer(*parts: str | int) -> str:
    """JSON pointer of nested keys and positions.

    >>> pointer("assignments", "a/b", 0)
    '/assignments/a~1b/0'
    """
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


class _Check:
    """Collects findings; each method returns whether the value can be looked into further."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def add(self, path: str, value: Any, message: str) -> None:
        self.findings.append(Finding(path, value, message))

    def keys(
        self, path: str, value: Mapping[str, Any], *, required: tuple[str, ...], optional: tuple[str, ...]
    ) -> None:
        for key in required:
            if key not in value:
                self.add(path + "/" + key, None, f"{key!r} is missing; add it")
        for key in value:
            if key not in required and key not in optional:
                known = ", ".join(required + optional)
                self.add(path + pointer(key), value[key], f"unknown key {key!r}; remove it or use one of: {known}")

    def mapping(self, path: str, value: Any) -> bool:
        if isinstance(value, Mapping):
            return True
        self.add(path, value, "must be a JSON object")
        return False

    def array(self, path: str, value: Any, low: int, high: int, what: str) -> bool:
        if not isinstance(value, (list, tuple)):
            self.add(path, value, f"must be a list of {low} to {high} {what}")
            return False
        if not low <= len(value) <= high:
            self.add(path, len(value), f"has {len(value)} {what}; {low} to {high} are allowed")
        return True

    def identifier(self, path: str, value: Any) -> bool:
        if isinstance(value, str) and _ID.fullmatch(value):
            return True
        self.add(path, value, f"not an id: {_ID_REMEDY}")
        return False

    def integer(self, path: str, value: Any, low: int, high: int = MAX_INTEGER) -> bool:
        if type(value) is int and low <= value <= high:
            return True
        self.add(path, value, f"must be an integer from {low} to {high}")
        return False

    def one_of(self, path: str, value: Any, choices: Collection[str]) -> bool:
        if isinstance(value, str) and value in choices:
            return True
        self.add(path, value, f"must be one of: {', '.join(choices)}")
        return False

    def boolean(self, path: str, value: Any) -> bool:
        if isinstance(value, bool):
            return True
        self.add(path, value, "must be true or false")
        return False


def _check_head(check: _Check, document: Mapping[str, Any]) -> None:
    if "schema" in document and document["schema"] != SCHEMA:
        check.add("/schema", document["schema"], f"must be {SCHEMA!r}")
    if "policy" in document:
        check.identifier("/policy", document["policy"])
    if "version" in document:
        check.integer("/version", document["version"], 1)
    if "mode" in document:
        check.one_of("/mode", document["mode"], ("observe", "enforce"))
    if "allow_bypass" in document:
        check.boolean("/allow_bypass", document["allow_bypass"])
    if "sticky_keys" in document and check.array("/sticky_keys", document["sticky_keys"], 1, 4, "keys"):
        for index, key in enumerate(document["sticky_keys"]):
            check.one_of(f"/sticky_keys/{index}", key, STICKY_KEYS)


def _check_classes(
    check: _Check, document: Mapping[str, Any], registered_classes: Collection[str] | None
) -> Mapping[str, Any]:
    classes: Mapping[str, Any] = document.get("classes", {})
    if not check.mapping("/classes", classes):
        return {}
    if "classes" in document and not classes:
        check.add("/classes", classes, "has no class; add at least the default class")
    for name, value in classes.items():
        path = pointer("classes", name)
        check.identifier(path, name)
        check.mapping(path, value)
        if registered_classes is not None and name not in registered_classes:
            check.add(path, name, "is not a registered request class; register it first, or use a registered one")
    if "default_class" in document:
        _check_class_exists(check, "/default_class", document["default_class"], classes)
    return classes


def _check_class_exists(check: _Check, path: str, name: Any, classes: Mapping[str, Any]) -> None:
    if check.identifier(path, name) and name not in classes:
        check.add(path, name, "no such class; add it to 'classes' or name one of: " + ", ".join(sorted(classes)))


def _check_signals(check: _Check, document: Mapping[str, Any]) -> Mapping[str, Any]:
    signals: Mapping[str, Any] = document.get("signals", {})
    if not check.mapping("/signals", signals):
        return {}
    for name, signal in signals.items():
        path = pointer("signals", name)
        check.identifier(path, name)
        if not check.mapping(path, signal):
            continue
        check.keys(path, signal, required=("patterns", "window_chars"), optional=("ignore_case",))
        if "patterns" in signal and check.array(path + "/patterns", signal["patterns"], 1, 32, "patterns"):
            for index, pattern in enumerate(signal["patterns"]):
                if not isinstance(pattern, str) or not 1 <= len(pattern) <= 256:
                    check.add(f"{path}/patterns/{index}", pattern, "must be a string of 1 to 256 characters")
        if "window_chars" in signal:
            check.integer(path + "/window_chars", signal["window_chars"], 1, 16384)
        if "ignore_case" in signal:
            check.boolean(path + "/ignore_case", signal["ignore_case"])
    return signals


def _check_models(check: _Check, document: Mapping[str, Any]) -> Mapping[str, Any]:
    models: Mapping[str, Any] = document.get("models", {})
    if not check.mapping("/models", models):
        return {}
    for name, model in models.items():
        path = pointer("models", name)
        if not isinstance(name, str) or not name or name != normalise_string(name):
            check.add(path, name, "a model id is 1 to 256 characters, lower-case, without blanks around it")
        if not check.mapping(path, model):
            continue
        if "max_input_tokens" in model:
            check.integer(path + "/max_input_tokens", model["max_input_tokens"], 1)
        for flag in _MODEL_FLAGS:
            if flag in model:
                check.boolean(f"{path}/{flag}", model[flag])
        efforts = model.get("efforts", [])
        if not isinstance(efforts, (list, tuple)) or not all(isinstance(effort, str) and effort for effort in efforts):
            check.add(path + "/efforts", efforts, "must be a list of effort names; empty = the model has none")
    return models


def _check_rules(
    check: _Check, document: Mapping[str, Any], classes: Mapping[str, Any], signals: Mapping[str, Any]
) -> None:
    rules = document.get("rules", [])
    if not check.array("/rules", rules, 0, MAX_RULES, "rules"):
        return
    first_position: dict[str, int] = {}
    for index, rule in enumerate(rules):
        path = f"/rules/{index}"
        if not check.mapping(path, rule):
            continue
        check.keys(path, rule, required=("id", "class", "when"), optional=("enabled", "note"))
        if "id" in rule and check.identifier(path + "/id", rule["id"]):
            earlier = first_position.setdefault(rule["id"], index)
            if earlier != index:
                check.add(
                    path + "/id", rule["id"], f"the id is already used by /rules/{earlier}; give each rule its own"
                )
        if "class" in rule:
            _check_class_exists(check, path + "/class", rule["class"], classes)
        if "enabled" in rule:
            check.boolean(path + "/enabled", rule["enabled"])
        if "note" in rule and not isinstance(rule["note"], str):
            check.add(path + "/note", rule["note"], "must be a string")
        if "when" in rule and check.array(path + "/when", rule["when"], 1, MAX_CONDITIONS, "conditions"):
            for position, condition in enumerate(rule["when"]):
                _check_condition(check, f"{path}/when/{position}", condition, signals)


def _check_condition(check: _Check, path: str, condition: Any, signals: Mapping[str, Any]) -> None:
    if not check.mapping(path, condition):
        return
    check.keys(path, condition, required=("field", "op"), optional=("value",))
    if "field" not in condition or "op" not in condition:
        return
    field, op = condition["field"], condition["op"]
    kind = field_type(field) if isinstance(field, str) else None
    if kind is None:
        reason = "is read by guards only, rules cannot name it" if _is_guard(field) else "is not a known field"
        check.add(path + "/field", field, f"{field!r} {reason}; use a field of the list in policy-spec.md §2")
        return
    if field.startswith("signal.") and field[7:] not in signals:
        check.add(path + "/field", field, f"signal {field[7:]!r} is not declared; add it to 'signals'")
    operators = OPERATORS[kind]
    expected = operators.get(op) if isinstance(op, str) else None
    if expected is None:
        check.add(path + "/op", op, f"{field} is of type {kind}; use one of: {', '.join(operators)}")
        return
    if expected == "none":
        if "value" in condition:
            check.add(path + "/value", condition["value"], f"{op!r} takes no value; remove it")
    elif "value" not in condition:
        check.add(path + "/value", None, f"{op!r} needs a value: {_VALUE_WORDS[expected]}")
    else:
        _check_value(check, path + "/value", field, op, expected, condition["value"])


_VALUE_WORDS: Final = {
    "strings": f"a list of 1 to {MAX_VALUES} strings",
    "integer": f"one integer from 0 to {MAX_INTEGER}",
    "range": "a list of two integers, [low, high]",
    "boolean": "true or false",
}


def _is_guard(field: Any) -> bool:
    return isinstance(field, str) and field in GUARD_FIELDS


def _check_value(check: _Check, path: str, field: str, op: str, expected: str, value: Any) -> None:
    if expected == "strings":
        if not check.array(path, value, 1, MAX_VALUES, "strings"):
            return
        for index, member in enumerate(value):
            if not isinstance(member, str):
                check.add(
                    f"{path}/{index}", member, f"{field} is compared with strings; write it in quotes or remove it"
                )
            elif not normalise_string(member):
                check.add(f"{path}/{index}", member, "is empty after trimming; use 'absent' to match a missing value")
            elif field == "model" and op in ("in", "not_in") and model_id(member) != normalise_string(member):
                check.add(f"{path}/{index}", member, f"the fact has no prefix and no date; write {model_id(member)!r}")
    elif expected == "integer":
        check.integer(path, value, 0)
    elif expected == "boolean":
        check.boolean(path, value)
    elif not isinstance(value, (list, tuple)) or len(value) != 2:
        check.add(path, value, f"{op!r} needs {_VALUE_WORDS['range']}")
    elif check.integer(path + "/0", value[0], 0) and check.integer(path + "/1", value[1], 0) and value[0] > value[1]:
        check.add(path, list(value), "low is above high; swap them")


def _check_assignments(
    check: _Check,
    document: Mapping[str, Any],
    classes: Mapping[str, Any],
    models: Mapping[str, Any],
    allowed_models: Collection[str] | None,
) -> None:
    assignments = document.get("assignments", {})
    if not check.mapping("/assignments", assignments):
        return
    if "assignments" in document:
        for name in classes:
            if name not in assignments:
                check.add(pointer("assignments", name), None, f"class {name!r} has no assignment; add one")
    target_check = _TargetCheck(check, models, allowed_models)
    for name, assignment in assignments.items():
        path = pointer("assignments", name)
        if name not in classes:
            check.add(path, name, "no such class; add it to 'classes' or remove the assignment")
        if not check.mapping(path, assignment):
            continue
        check.keys(path, assignment, required=("target",), optional=("baseline", "rollout"))
        for arm in ("target", "baseline"):
            if arm in assignment:
                target_check.target(f"{path}/{arm}", assignment[arm])
        rollout = assignment.get("rollout", {})
        if "rollout" in assignment and check.mapping(path + "/rollout", rollout):
            check.keys(path + "/rollout", rollout, required=("basis_points", "salt"), optional=())
            if "basis_points" in rollout:
                check.integer(path + "/rollout/basis_points", rollout["basis_points"], 0, FULL_ROLLOUT)
            if "salt" in rollout:
                check.identifier(path + "/rollout/salt", rollout["salt"])


class _TargetCheck:
    """Checks targets against the document's models and the organisation's allowed list."""

    def __init__(self, check: _Check, models: Mapping[str, Any], allowed_models: Collection[str] | None) -> None:
        self.check = check
        self.models = models
        self.allowed_models = allowed_models

    def target(self, path: str, target: Any) -> None:
        check = self.check
        if not check.mapping(path, target):
            return
        optional = ("max_tokens_cap", "effort", "cache", "batch", "fallback")
        check.keys(path, target, required=("model",), optional=optional)
        model = target.get("model")
        if model is not None:
            self.model(path + "/model", model)
        if "max_tokens_cap" in target:
            check.integer(path + "/max_tokens_cap", target["max_tokens_cap"], 1)
        if target.get("effort") is not None:
            self.effort(path + "/effort", target["effort"], model)
        if "batch" in target:
            check.one_of(path + "/batch", target["batch"], ("no", "allowed", "preferred"))
        cache = target.get("cache", {})
        if check.mapping(path + "/cache", cache):
            check.keys(path + "/cache", cache, required=(), optional=("mode", "ttl"))
            if "mode" in cache:
                check.one_of(path + "/cache/mode", cache["mode"], ("keep", "auto", "off"))
            if "ttl" in cache:
                check.one_of(path + "/cache/ttl", cache["ttl"], ("5m", "1h"))
        if "fallback" in target and check.array(path + "/fallback", target["fallback"], 0, 3, "entries"):
            for index, entry in enumerate(target["fallback"]):
                self.fallback(f"{path}/fallback/{index}", entry, model)

    def model(self, path: str, model: Any) -> None:
        if not isinstance(model, str):
            self.check.add(path, model, "must be a model id, or null to keep the requested model")
        elif model not in self.models:
            self.check.add(path, model, "is not described in 'models'; add it there")
        elif (
            self.allowed_models is not None
            and model not in self.allowed_models
            and model_id(model) not in self.allowed_models
        ):
            allowed = ", ".join(sorted(self.allowed_models)) or "none"
            self.check.add(path, model, f"is not on the organisation's list of allowed models; allowed: {allowed}")

    def effort(self, path: str, effort: Any, model: Any) -> None:
        if not isinstance(effort, str) or not effort:
            self.check.add(path, effort, "must be an effort name or null")
            return
        described = self.models.get(model) if isinstance(model, str) else None
        if isinstance(described, Mapping) and effort not in (described.get("efforts") or ()):
            self.check.add(path, effort, f"{model} does not list this effort; use one of its 'efforts' or null")

    def fallback(self, path: str, entry: Any, model: Any) -> None:
        check = self.check
        if not check.mapping(path, entry):
            return
        check.keys(path, entry, required=("model", "on"), optional=())
        if "model" in entry and entry["model"] is None:
            check.add(path + "/model", None, "a fallback must name a model")
        elif "model" in entry:
            self.model(path + "/model", entry["model"])
            if entry["model"] == model:
                check.add(path + "/model", model, "falls back to the target itself; name another model")
        if "on" in entry and check.array(path + "/on", entry["on"], 1, len(FALLBACK_CAUSES), "causes"):
            for index, cause in enumerate(entry["on"]):
                check.one_of(f"{path}/on/{index}", cause, FALLBACK_CAUSES)
