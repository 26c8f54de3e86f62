"""Applying a decision's patch to a Messages request body (policy-spec.md §4.8).

A patch is a JSON object; absent keys leave the request alone:

=================  ====================================================================================================
``model``          model to set
``max_tokens``     upper bound: a lower ``max_tokens`` of the request stays, a higher one is lowered, an absent one set
``drop``           parameters to remove: top-level names, and ``output_config.effort``
``effort``         value to set in ``output_config.effort``
``effort_allowed`` the request's own ``output_config.effort`` stays only when it is one of these, else it is removed
``cache``          ``{"mode": "auto", "ttl": "5m"}``: one breakpoint after the last system block (else the last tool)
                   when the request has none; ``{"mode": "off"}``: every breakpoint removed
=================  ====================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.targets import EFFORT_PATH

# `input` of a tool call and `input_schema` of a tool are the customer's JSON: a key cache_control there is data.
_OPAQUE = frozenset({"input", "input_schema"})


def apply_patch(body: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A new request body with the patch applied; ``body`` is not changed. Always apply to the original request."""
    patched = dict(body)
    if "model" in patch:
        patched["model"] = patch["model"]
    if "max_tokens" in patch:
        asked = patched.get("max_tokens")
        patched["max_tokens"] = patch["max_tokens"] if asked is None else min(asked, patch["max_tokens"])
    for name in patch.get("drop", ()):
        if name != EFFORT_PATH:
            patched.pop(name, None)
    _apply_effort(patched, patch)
    mode = patch.get("cache", {}).get("mode", "keep")
    if mode == "auto" and not has_breakpoint(patched):
        _add_breakpoint(patched, patch["cache"].get("ttl"))
    elif mode == "off":
        patched = _without_breakpoints(patched)
    return patched


def has_breakpoint(value: Any) -> bool:
    """Whether any ``cache_control`` is present (the request itself, tools, system, messages, nested content)."""
    if isinstance(value, Mapping):
        if value.get("cache_control") is not None:
            return True
        return any(has_breakpoint(value[key]) for key in value if key not in _OPAQUE)
    if isinstance(value, (list, tuple)):
        return any(has_breakpoint(member) for member in value)
    return False


def _apply_effort(patched: dict[str, Any], patch: Mapping[str, Any]) -> None:
    config = patched.get("output_config")
    current = config.get("effort") if isinstance(config, Mapping) else None
    if "effort" in patch:
        patched["output_config"] = {**(config if isinstance(config, Mapping) else {}), "effort": patch["effort"]}
        return
    unwanted = EFFORT_PATH in patch.get("drop", ()) or (
        "effort_allowed" in patch and current not in patch["effort_allowed"]
    )
    if unwanted and isinstance(config, Mapping) and "effort" in config:
        rest = {key: config[key] for key in config if key != "effort"}
        if rest:
            patched["output_config"] = rest
        else:
            del patched["output_config"]


def _add_breakpoint(patched: dict[str, Any], ttl: str | None) -> None:
    control: dict[str, Any] = {"type": "ephemeral"}
    if ttl is not None:
        control["ttl"] = ttl
    system = patched.get("system")
    if isinstance(system, str) and system:
        patched["system"] = [{"type": "text", "text": system, "cache_control": control}]
    elif isinstance(system, list) and system:
        patched["system"] = [*system[:-1], {**system[-1], "cache_control": control}]
    else:
        tools = patched.get("tools")
        if isinstance(tools, list) and tools:
            patched["tools"] = [*tools[:-1], {**tools[-1], "cache_control": control}]


def _without_breakpoints(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: member if key in _OPAQUE else _without_breakpoints(member)
            for key, member in value.items()
            if key != "cache_control"
        }
    if isinstance(value, (list, tuple)):
        return [_without_breakpoints(member) for member in value]
    return value
