"""What is wrong with a document: findings that name the place, the value and the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem of a document.

    ``path``: JSON pointer (RFC 6901); ``value``: what stands there; ``message``: the problem and its remedy.
    """

    path: str
    value: Any
    message: str

    def __str__(self) -> str:
        shown = repr(self.value)
        return f"{self.path or '/'}: {self.message} (found {shown if len(shown) <= 80 else shown[:77] + '...'})"


class PolicyError(ValueError):
    """A document that is refused. ``findings`` lists every problem, not only the first."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings: list[Finding] = list(findings)
        count = len(self.findings)
        super().__init__(
            f"the policy document has {count} problem{'' if count == 1 else 's'}:\n"
            + "\n".join(f"- {finding}" for finding in self.findings)
        )
