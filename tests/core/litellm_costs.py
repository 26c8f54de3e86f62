"""LiteLLM's cost calculator, in a process of its own: usages in as JSON, dollars out as JSON. No network, no telemetry.

Its import takes seconds, sets handlers and warns; nothing of that belongs into the process that runs the tests.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

# A usage: model, batch or not, and the usage object as the provider's response has it.
Asked = tuple[str, bool, dict[str, Any]]


def litellm_costs(asked: Sequence[Asked]) -> list[tuple[float, float, float] | None]:
    """Dollars of each usage: prompt, output, everything with web searches. None: LiteLLM has no such model."""
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    return [None if item is None else (item[0], item[1], item[2]) for item in found]


def _no_network(*arguments: object, **named: object) -> None:
    raise OSError("LiteLLM must use the prices it came with")


def _main() -> None:
    socket.socket.connect = _no_network  # type: ignore[method-assign]
    socket.getaddrinfo = _no_network  # type: ignore[assignment]
    import litellm
    from litellm.cost_calculator import batch_cost_calculator, completion_cost, cost_per_token
    from litellm.llms.anthropic.chat.transformation import AnthropicConfig

    litellm.telemetry = False
    known = {name for name, facts in litellm.model_cost.items() if facts.get("litellm_provider") == "anthropic"}
    found: list[tuple[float, float, float] | None] = []
    for model, is_batch, told in json.load(sys.stdin):
        if model not in known:
            found.append(None)
            continue
        usage = AnthropicConfig().calculate_usage(usage_object=told, reasoning_content=None)
        if is_batch:
            prompt, output = batch_cost_calculator(usage=usage, model=model, custom_llm_provider="anthropic")
            found.append((prompt, output, prompt + output))
            continue
        prompt, output = cost_per_token(model=model, custom_llm_provider="anthropic", usage_object=usage)
        response = litellm.ModelResponse(model=model)
        response.usage = usage  # type: ignore[attr-defined]
        everything = completion_cost(response, model=model, custom_llm_provider="anthropic")
        found.append((prompt, output, everything))
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    _main()
