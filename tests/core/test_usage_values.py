"""Usage values and names of models: disjoint counters, bands at their edges, names matched whole."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core.models import (
    ModelNameError,
    ModelRelease,
    alias_table,
    canonical_model,
    model_family,
    model_tier,
    name_forms,
    tier_of_family,
)
from billing.core.periods import Period
from billing.core.usage import (
    MAX_COUNT,
    TokenCounts,
    UsageBucket,
    UsageError,
    UsageKey,
    UsageRequest,
    prompt_length_band,
    sum_counts,
)

COUNTS = st.builds(TokenCounts, *[st.integers(0, 10**12)] * 6)


@pytest.mark.parametrize(
    ("tokens", "band"),
    [
        (0, "0-100k"),
        (100_000, "0-100k"),
        (100_001, "100k-200k"),
        (200_000, "100k-200k"),
        (200_001, "200k-1M"),
        (5_000_000, "200k-1M"),
    ],
)
def test_a_request_falls_into_one_band(tokens, band):
    assert prompt_length_band(tokens) == band


def test_a_negative_prompt_is_refused():
    with pytest.raises(UsageError, match="at least 0"):
        prompt_length_band(-1)


def test_the_band_counts_the_whole_prompt_cached_or_not():
    counts = TokenCounts(uncached_input_tok=1, cache_read_tok=90_000, cache_write_5m_tok=9_999, cache_write_1h_tok=1)
    request = UsageRequest(datetime(2026, 11, 9, tzinfo=UTC), "req_1", counts, "m", "m")
    assert (counts.total_input_tok, request.prompt_length_band) == (100_001, "100k-200k")
    assert TokenCounts(output_tok=10**9).total_input_tok == 0


@pytest.mark.parametrize("count", [-1, 1.0, True, MAX_COUNT + 1, "3", None])
def test_a_count_is_a_whole_number_that_fits(count):
    with pytest.raises(UsageError, match="output_tok"):
        TokenCounts(output_tok=count)


@given(st.lists(COUNTS, max_size=10))
def test_sums_go_counter_by_counter(items):
    total = sum_counts(items)
    assert total.total_tok == sum(item.total_tok for item in items)
    assert total.web_searches == sum(item.web_searches for item in items)


@given(COUNTS, COUNTS)
def test_a_shortfall_and_what_is_explained_make_at_least_the_whole(said, explained):
    left = said.shortfall(explained)
    for name in ("uncached_input_tok", "cache_read_tok", "output_tok", "web_searches"):
        assert getattr(left, name) == max(0, getattr(said, name) - getattr(explained, name))
    assert said.shortfall(said).is_zero


def test_rows_that_contradict_themselves_are_refused():
    at = datetime(2026, 11, 9, tzinfo=UTC)
    with pytest.raises(UsageError, match="needs an id"):
        UsageRequest(at, "", TokenCounts(), "m", "m")
    with pytest.raises(UsageError, match="failed but states 5"):
        UsageRequest(at, "r", TokenCounts(output_tok=5), "m", "m", status="failed")
    with pytest.raises(UsageError, match="requests"):
        UsageBucket(Period.day(date(2026, 11, 9)), UsageKey(), TokenCounts(), requests=-1)


# ---- Names ---------------------------------------------------------------------------------------------------------

ALIASES = {
    "claude-opus-5": "claude-opus-5",
    "claude-opus-5-5": "claude-opus-5-5",
    "claude-sonnet-4": "claude-sonnet-4",
    "claude-sonnet-4-5": "claude-sonnet-4-5",
    "claude-sonnet-4-0": "claude-sonnet-4",
    "claude-haiku-4-5-20251001": "pinned-haiku",
    "claude-haiku-4-5": "claude-haiku-4-5",
}


@pytest.mark.parametrize(
    ("raw", "model", "known"),
    [
        ("claude-opus-5", "claude-opus-5", True),
        ("claude-opus-5-5", "claude-opus-5-5", True),
        ("claude-opus-5-5-20261001", "claude-opus-5-5", True),
        ("CLAUDE-OPUS-5 ", "claude-opus-5", True),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5", True),
        ("vertex_ai/claude-sonnet-4@20250514", "claude-sonnet-4", True),
        ("anthropic:messages:claude-sonnet-4-0", "claude-sonnet-4", True),
        ("claude-haiku-4-5-20251001", "pinned-haiku", True),
        ("claude-haiku-4-5-20251002", "claude-haiku-4-5", True),
        ("claude-opus-5-6", "claude-opus-5-6", False),
        ("claude-opus", "claude-opus", False),
        ("lab/Model-2-20260101", "model-2", False),
        ("", "", False),
        ("  ", "", False),
    ],
)
def test_names_are_matched_whole_longest_form_first(raw, model, known):
    found = canonical_model(raw, ALIASES)
    assert (found.model, found.is_known) == (model, known)


@given(st.text(max_size=60))
def test_the_normal_form_of_a_name_is_its_own(raw):
    forms = name_forms(raw)
    if forms:
        assert canonical_model(raw, {}).model == forms[-1]
        assert len(forms) == len(set(forms)) and all(forms)


def release(name, *aliases):
    return ModelRelease(name, name, "", aliases, "other", None, None, None, None, None, "test", date(2026, 11, 23))


def test_two_releases_may_not_claim_one_name():
    table = alias_table([release("a", "A-1"), release("b")])
    assert table == {"a": "a", "a-1": "a", "b": "b"}
    with pytest.raises(ModelNameError, match="'a-1' is claimed by both a and b"):
        alias_table([release("a", "a-1"), release("b", "a-1")])


def test_families_have_tiers_and_models_only_registered_ones():
    assert [tier_of_family(name) for name in ("Opus", "fable", "mythos", "sonnet", "haiku", "nova")] == [
        "frontier", "frontier", "frontier", "balanced", "fast", "other",
    ]  # fmt: skip
    assert model_tier("claude-opus-9", {}) == "other"
    assert model_family("claude-3-7-sonnet") == "sonnet" and model_family("gpt-opus") == ""
