"""How much of the prompts repeats, from a trace that names their blocks (methods.md §2, "reuse facts").

A trace gives for each request the ids of its prompt's whole blocks; equal ids mean an equal prompt up to there. What a
provider's cache would have found is the longest such prefix that an earlier request used within the time to live; every
use restarts it. Usage reports cannot tell this for a class that does not cache yet.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PromptBlocks:
    """One request: seconds since any start, its prompt in tokens, ids of its whole blocks (small numbers from 0)."""

    at_s: float
    input_tok: int
    block_ids: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Reuse:
    """Tokens of a trace: all input, what a cache could hold (whole blocks), and what it would have read."""

    requests: int
    input_tok: int
    cacheable_tok: int
    reused_tok: int

    @property
    def hit_share(self) -> Decimal | None:
        """cache_read / (cache_read + cache_write); None where nothing can be cached."""
        return Decimal(self.reused_tok) / self.cacheable_tok if self.cacheable_tok else None

    @property
    def prefix_share(self) -> Decimal | None:
        """Share of all input that can be cached."""
        return Decimal(self.cacheable_tok) / self.input_tok if self.input_tok else None

    def __add__(self, other: "Reuse") -> "Reuse":
        return Reuse(
            self.requests + other.requests,
            self.input_tok + other.input_tok,
            self.cacheable_tok + other.cacheable_tok,
            self.reused_tok + other.reused_tok,
        )


NOTHING_REUSED = Reuse(0, 0, 0, 0)


def measured_reuse(requests: Iterable[PromptBlocks], *, block_tok: int, ttl_s: float) -> Reuse:
    """Reuse among the requests of one scope (a session, an organisation), in order of time.

    Requests of the same instant do not serve each other. Never more than a request's input is reused. Raises ValueError
    for requests out of order or a negative block id.

    >>> ask = [PromptBlocks(t, 250, np.array(ids)) for t, ids in ((0, [0, 1, 2]), (100, [0, 1, 3]), (500, [0]))]
    >>> measured_reuse(ask, block_tok=64, ttl_s=300)
    Reuse(requests=3, input_tok=750, cacheable_tok=448, reused_tok=128)
    """
    latest_use = np.full(1024, -np.inf)
    found = NOTHING_REUSED
    waiting: list[NDArray[np.int64]] = []
    now = -np.inf
    for request in requests:
        if request.at_s < now:
            raise ValueError(f"a request at {request.at_s} s follows one at {now} s: sort the trace by time")
        if request.at_s > now:
            for ids in waiting:
                latest_use[ids] = now
            waiting, now = [], request.at_s
        ids = request.block_ids
        if ids.size:
            if ids.min() < 0:
                raise ValueError(f"block id {ids.min()} is negative")
            latest_use = _grown(latest_use, int(ids.max()) + 1)
        # A use of a prefix is a use of each shorter one, so the blocks still held are the first ones.
        held = int(np.count_nonzero(latest_use[ids] >= request.at_s - ttl_s)) if ids.size else 0
        reused = min(held * block_tok, request.input_tok)
        whole = max(min(ids.size * block_tok, request.input_tok), reused)
        found += Reuse(1, request.input_tok, whole, reused)
        waiting.append(ids)
    return found


def _grown(times: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    if size <= times.size:
        return times
    more = np.full(max(size, 2 * times.size), -np.inf)
    more[: times.size] = times
    return more
