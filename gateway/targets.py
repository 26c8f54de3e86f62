"""What a class gets: arm, guards and patch (policy-spec.md §4.4–4.8)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.facts import ASCII_BLANKS, model_family, model_id
from gateway.validation import FULL_ROLLOUT

POLICY: Final = "policy"
BASELINE: Final = "baseline"
SAMPLING_PARAMS: Final = ("temperature", "top_k", "top_p")
EFFORT_PATH: Final = "output_config.effort"
_U32: Final = 2**32
_FIRST_U32: Final = struct.Struct(">I").unpack_from


def bucket_of(salt: str, key: str) -> tuple[str, int]:
    """First 8 hex digits of SHA-256 over ``salt:key`` (key trimmed), and the basis point 0…9999. Source: §4.5.

    >>> bucket_of("faq.3", "s-1001")
    ('78712c61', 4704)
    """
    hash8 = hashlib.sha256(f"{salt}:{key.strip(ASCII_BLANKS)}".encode()).hexdigest()[:8]
    return hash8, int(hash8, 16) * FULL_ROLLOUT >> 32


def threshold_of(basis_points: int) -> str:
    """A key is in the policy arm iff its 8 hex digits sort before this text. Source: §4.5.

    >>> threshold_of(5000)
    '80000000'
    """
    return format(basis_points * _U32 // FULL_ROLLOUT, "08x")


class Candidate:
    """One target or baseline, compiled. Every patch and advice is new, so a caller may change what it gets."""

    __slots__ = (
        "_batch", "_cache", "_cap", "_effort", "_fallback", "_models", "_swap", "advises", "guard", "model",
        "model_key",
    )  # fmt: skip

    def __init__(self, target: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]]) -> None:
        self.model: str | None = target.get("model")
        self.model_key = model_id(self.model) if self.model is not None else None
        self.guard = Guard(self.model, models[self.model]) if self.model is not None else None
        self._models = models
        self._cap: int | None = target.get("max_tokens_cap")
        self._effort: str | None = target.get("effort")
        self._swap: dict[str, Any] = (
            _swap(self.model, models[self.model], self._effort) if self.model is not None else {}
        )
        cache: Mapping[str, str] = target.get("cache", {})
        self._cache = dict(cache) if cache.get("mode", "keep") != "keep" else None
        self._batch: str = target.get("batch", "no")
        self._fallback: list[tuple[Guard, list[str], dict[str, Any]]] = [
            (Guard(name, models[name]), list(entry["on"]), _swap(name, models[name], None))
            for entry in target.get("fallback", ())
            for name in (entry["model"],)
        ]
        #: Whether `advice` could hold anything.
        self.advises = self._batch != "no" or bool(self._fallback)

    @property
    def guard_fields(self) -> frozenset[str]:
        """Facts the guards and the patch of this candidate read."""
        fields = set(self.guard.fields) if self.guard is not None else set()
        if self._cap is not None:
            fields.add("max_tokens")
        return frozenset(fields.union(*(guard.fields for guard, _, _ in self._fallback)))

    def changes(self, facts: Mapping[str, Any], requested: str) -> bool:
        """Whether :meth:`patch` would hold anything."""
        if self._cache is not None or (self.model_key is not None and self.model_key != model_id(requested)):
            return True
        if self._effort is not None and self._takes_effort(requested):
            return True
        return self._cap is not None and self._lowers_max_tokens(facts)

    def patch(self, facts: Mapping[str, Any], requested: str) -> dict[str, Any]:
        """Changes on the original request (see :mod:`gateway.patch`); empty when the request already is as wanted.

        What only a change of model makes necessary (dropped parameters) is left out when the model stays.
        """
        patch: dict[str, Any] = {}
        if self.model is not None and self.model_key != model_id(requested):
            patch = _copy(self._swap)
        if self._effort is not None and self._takes_effort(requested):
            patch["effort"] = self._effort
        if self._cache is not None:
            patch["cache"] = dict(self._cache)
        if self._cap is not None and self._lowers_max_tokens(facts):
            patch["max_tokens"] = self._cap
        return patch

    def advice(self, facts: Mapping[str, Any], requested: str) -> dict[str, Any]:
        """``batch`` (absent = no) and ``fallback`` entries whose model passes the guards."""
        advice: dict[str, Any] = {}
        if self._batch != "no":
            advice["batch"] = self._batch
        if self._fallback:
            usable = [
                {"on": list(causes), "patch": _copy(swap)}
                for guard, causes, swap in self._fallback
                if guard.failing(facts, requested) is None
            ]
            if usable:
                advice["fallback"] = usable
        return advice

    def _lowers_max_tokens(self, facts: Mapping[str, Any]) -> bool:
        asked = facts.get("max_tokens")
        return asked is None or bool(asked > self._cap)

    def _takes_effort(self, requested: str) -> bool:
        if self.model is not None:
            return True  # validated against the model's efforts
        kept = self._models.get(model_id(requested), {})
        return self._effort in (kept.get("efforts") or ())


class Guard:
    """The guards of §4.7 for one model. A capability the document does not mention is not known to be lacking: pass."""

    __slots__ = ("_checks", "_family", "_key", "_model", "fields")

    def __init__(self, model: str, capabilities: Mapping[str, Any]) -> None:
        self._model = model
        self._key = model_id(model)
        self._family = model_family(model)
        # (fact, the fact fails when it is above this integer / equal to this value, reason), in the order of the spec
        self._checks: list[tuple[str, Any, str]] = []
        limit = capabilities.get("max_input_tokens")
        if limit is not None:
            self._checks.append(("input_chars", 3 * limit, "capability:context"))
        if capabilities.get("adaptive_thinking") is False:
            self._checks.append(("thinking_type", "adaptive", "capability:adaptive_thinking"))
        if capabilities.get("vision") is False:
            self._checks.append(("images", 0, "capability:vision"))
        if capabilities.get("prefill") is False:
            self._checks.append(("prefill", True, "capability:prefill"))
        self.fields = frozenset(
            {"permitted_models", "thinking_history", *(field for field, _, _ in self._checks)},
        )

    def failing(self, facts: Mapping[str, Any], requested: str) -> str | None:
        get = facts.get
        permitted = get("permitted_models")
        if permitted and self._key not in permitted and self._model not in permitted:
            return "not_permitted"
        for field, bound, reason in self._checks:
            fact = get(field)
            if fact is None:
                continue
            if (fact > bound) if type(bound) is int else (fact == bound):
                return reason
        if get("thinking_history") and model_family(requested) != self._family:
            return "capability:thinking_history"
        return None


class Assignment:
    """Target, baseline and rollout of one class."""

    __slots__ = ("_baseline", "_basis_points", "_salt", "_target", "_u32_limit")

    def __init__(self, assignment: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]]) -> None:
        self._target = Candidate(assignment["target"], models)
        self._baseline = Candidate(assignment.get("baseline", {"model": None}), models)
        rollout: Mapping[str, Any] = assignment.get("rollout", {"basis_points": FULL_ROLLOUT, "salt": ""})
        self._basis_points: int = rollout["basis_points"]
        self._salt: str = rollout["salt"] + ":"
        self._u32_limit = self._basis_points * _U32 // FULL_ROLLOUT

    @property
    def guard_fields(self) -> frozenset[str]:
        return self._target.guard_fields | self._baseline.guard_fields

    def arm(
        self, sticky_keys: Sequence[str], sticky: Mapping[str, str]
    ) -> tuple[str, Candidate, int | None, str | None]:
        """(arm, candidate, bucket, reason): the bucket is None when nothing was hashed. Source: §4.4–4.5."""
        if self._basis_points == FULL_ROLLOUT:
            return POLICY, self._target, None, None
        if self._basis_points == 0:
            return BASELINE, self._baseline, None, "rollout"
        for name in sticky_keys:
            key = sticky.get(name)
            if key:
                key = key.strip(ASCII_BLANKS)
                if key:
                    break
        else:
            return BASELINE, self._baseline, None, "no_sticky_key"
        # Comparing the first 4 bytes as a number orders exactly as comparing their 8 hex digits as text.
        (u32,) = _FIRST_U32(hashlib.sha256((self._salt + key).encode()).digest())
        bucket = u32 * FULL_ROLLOUT >> 32
        if u32 < self._u32_limit:
            return POLICY, self._target, bucket, None
        return BASELINE, self._baseline, bucket, "rollout"


def _copy(swap: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, list) else value for key, value in swap.items()}


def _swap(model: str, capabilities: Mapping[str, Any], effort: str | None) -> dict[str, Any]:
    """The patch entries a change to ``model`` needs whatever the request holds."""
    patch: dict[str, Any] = {"model": model}
    drop = list(SAMPLING_PARAMS) if capabilities.get("sampling_params") is False else []
    efforts = capabilities.get("efforts")
    if efforts is not None:
        if not efforts:
            drop.append(EFFORT_PATH)
        elif effort is None:
            patch["effort_allowed"] = list(efforts)
    if drop:
        patch["drop"] = drop
    return patch
