"""Reuse from block ids: a slow oracle, and the check totals of two public traces."""

import gzip
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.core.levers import ModelRates, Profile, Rates, ReuseFacts, best_caching, caching_options
from routing.core.reuse import NOTHING_REUSED, PromptBlocks, Reuse, measured_reuse

SHARED = Path(os.environ.get("COSTGOV_SHARED", "")) / "data"
needs_data = pytest.mark.skipif(
    not os.environ.get("COSTGOV_SHARED"), reason="set COSTGOV_SHARED to the folder with the public data sets"
)
MINUTES_5, HOUR = 300.0, 3600.0


def slow_reuse(requests: list[tuple[float, list[int]]], ttl_s: float) -> int:
    """Blocks: compare every request with every earlier one."""
    total = 0
    for at, ids in requests:
        longest = 0
        for before, others in requests:
            if before < at and at - before <= ttl_s:
                shared = 0
                while shared < min(len(ids), len(others)) and ids[shared] == others[shared]:
                    shared += 1
                longest = max(longest, shared)
        total += longest
    return total


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 6), st.integers(0, 5)), max_size=25), st.integers(1, 600))
def test_agrees_with_comparing_every_pair(drawn: list[tuple[int, int, int]], ttl_s: int) -> None:
    """Prompts are paths in a tree of prefixes, so that an id stands for one exact prefix."""
    number: dict[tuple[int, ...], int] = {}
    requests = []
    for at, branch, depth in sorted(drawn):
        path = tuple((branch >> step) & 1 for step in range(depth))
        ids = [number.setdefault(path[: step + 1], len(number)) for step in range(depth)]
        requests.append((float(at), ids))
    found = measured_reuse(
        [PromptBlocks(at, 64 * len(ids) + 5, np.array(ids, dtype=np.int64)) for at, ids in requests],
        block_tok=64,
        ttl_s=ttl_s,
    )
    assert found.reused_tok == 64 * slow_reuse(requests, ttl_s)
    assert found.cacheable_tok == 64 * sum(len(ids) for _, ids in requests)


def test_an_unsorted_trace_is_refused() -> None:
    ids = np.array([0])
    with pytest.raises(ValueError, match="sort the trace by time"):
        measured_reuse([PromptBlocks(2, 64, ids), PromptBlocks(1, 64, ids)], block_tok=64, ttl_s=10)


@needs_data
@pytest.mark.parametrize(("ttl_s", "reused_tok"), [(MINUTES_5, 2_710_721_280), (HOUR, 2_837_064_192)])
def test_claude_code_sessions_have_the_published_reuse(ttl_s: float, reused_tok: int) -> None:
    """data/README.md, traces/claude_code_*_a: 350 sessions, 25,226 requests, 2,957,358,181 input tokens."""
    found, sessions = NOTHING_REUSED, 0
    with gzip.open(SHARED / "traces/claude_code_sessions_a.jsonl.gz", "rt") as lines:
        for line in lines:
            session = json.loads(line)
            found += measured_reuse(_prompts(session["requests"]), block_tok=session["block_size"], ttl_s=ttl_s)
            sessions += 1
    assert sessions == 350
    assert (found.requests, found.input_tok, found.reused_tok) == (25_226, 2_957_358_181, reused_tok)


def _prompts(requests: list[dict[str, Any]]) -> list[PromptBlocks]:
    ids = np.array([], dtype=np.int64)
    found = []
    for each in requests:
        added = [np.arange(first, last + 1) for first, last in each["add"]]
        ids = np.concatenate([ids[: each["keep"]], *added]).astype(np.int64)
        found.append(PromptBlocks(float(each["t"]), int(each["in"]), ids))
    return found


@pytest.fixture(scope="module")
def mooncake() -> dict[float, Reuse]:
    """data/README.md, traces/mooncake: 5,719 requests, blocks of 512 tokens shared by all users."""
    number: dict[int, int] = {}
    asked = []
    with gzip.open(SHARED / "traces/mooncake_conversation_min00-30.jsonl.gz", "rt") as lines:
        for row in map(json.loads, lines):
            ids = np.array([number.setdefault(each, len(number)) for each in row["hash_ids"]], dtype=np.int64)
            asked.append(PromptBlocks(row["timestamp"] / 1000, row["input_length"], ids))
    asked.sort(key=lambda each: each.at_s)
    return {ttl_s: measured_reuse(asked, block_tok=512, ttl_s=ttl_s) for ttl_s in (MINUTES_5, HOUR)}


@needs_data
def test_mooncake_has_the_published_reuse(mooncake: dict[float, Reuse]) -> None:
    assert mooncake[MINUTES_5].reused_tok == 20_693_275
    assert mooncake[HOUR].reused_tok == 25_550_618
    assert (mooncake[HOUR].requests, mooncake[HOUR].input_tok) == (5_719, 73_604_194)


@needs_data
def test_mooncake_loses_money_at_one_hour_and_gains_at_five_minutes(mooncake: dict[float, Reuse]) -> None:
    rates = ModelRates("opus", Rates(*map(Decimal, ("5", "0.5", "6.25", "10", "25"))), None)
    share_5m, share_1h = mooncake[MINUTES_5].hit_share, mooncake[HOUR].hit_share
    facts = ReuseFacts(Decimal(10_000), share_5m, share_1h, "Mooncake", is_assumed=True)
    profile = Profile(Decimal(500), Decimal(10_000), Decimal(345))
    five, hour = caching_options(profile, rates, facts)
    assert not hour.pays
    assert "1-hour caching loses money" in hour.reason
    assert five.pays == (share_5m is not None and share_5m > Decimal("0.217392"))
    assert best_caching((hour,)).ttl == "none"
