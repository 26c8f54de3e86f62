"""Spans inside spans: of a call and the calls inside it, only the innermost is what the provider bills.

An agent or a wrapper often repeats the tokens of the call that it makes. Whoever has a model call below counts nothing.
"""

from typing import Final

MAX_SPANS: Final = 2_000_000  # of one file: their parents are held in memory (some 300 MB)


class Nesting:
    """Spans of a file: which are model calls, and which of those have another one below. Ids are any text."""

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}
        self._calls: list[int] = []
        self._outer: set[int] = set()
        self._ends: set[int] = set()

    def add(self, trace: str, span: str, parent: str, *, is_call: bool) -> None:
        """Raises OverflowError for more spans than fit into memory."""
        own = hash((trace, span))
        if parent:
            self._parents[own] = hash((trace, parent))
        if is_call:
            self._calls.append(own)
        if len(self._parents) + len(self._calls) > MAX_SPANS:
            raise OverflowError

    def seal(self) -> None:
        """All spans are added: find those with a call below."""
        calls = set(self._calls)
        for call in self._calls:
            above, steps = self._parents.get(call), 0
            while above is not None and above not in self._ends and steps < 10_000:
                self._ends.add(above)
                if above in calls:
                    self._outer.add(above)
                above, steps = self._parents.get(above), steps + 1

    def is_outer(self, trace: str, span: str) -> bool:
        """Whether a model call has another one below it."""
        return hash((trace, span)) in self._outer
