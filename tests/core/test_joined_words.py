"""Keys made of several words give the same words back, whatever somebody called them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core.words import joined, parted

WORD = st.text(st.sampled_from(["|", "\\", "a", "\n"]), max_size=6) | st.text(max_size=4)


@given(st.lists(WORD, min_size=1, max_size=6), st.lists(WORD, min_size=1, max_size=6))
def test_words_come_back_and_no_two_lists_share_a_key(first, second):
    assert list(parted(joined(first))) == first
    assert (joined(first) == joined(second)) == (first == second)


@pytest.mark.parametrize(
    ("words", "key"),
    [(("usage", "anthropic", "claude-opus-4-5", "output", ""), "usage|anthropic|claude-opus-4-5|output|"),
     (("",), ""), (("", ""), "|"), (("a|b", "c"), "a\\|b|c"), (("a\\", "b"), "a\\\\|b")],
)  # fmt: skip
def test_ordinary_words_stand_as_they_are(words, key):
    """Reasons people gave are kept by these keys: they may not change."""
    assert joined(words) == key
    assert parted(key) == words
