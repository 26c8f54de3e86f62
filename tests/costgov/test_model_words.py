"""Sentences for people name models as people do; an id that only begins like a known one is left alone."""

import pytest

from billing.queries.series import ModelName
from costgov.model_words import in_words

NAMES = {
    "claude-opus-4": ModelName("Opus 4", "frontier"),
    "claude-opus-4-5": ModelName("Opus 4.5", "frontier"),
    "claude-haiku-4-5": ModelName("Haiku 4.5", "fast"),
}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("claude-opus-4-5", "Opus 4.5"),
        ("claude-opus-4 stays: no admissible model is cheaper", "Opus 4 stays: no admissible model is cheaper"),
        ("assumed: the same tokens as on claude-opus-4-5", "assumed: the same tokens as on Opus 4.5"),
        ("claude-opus-4→claude-haiku-4-5, 1.25× claude-opus-4-5.", "Opus 4→Haiku 4.5, 1.25× Opus 4.5."),
        ("claude-opus-4: its evals; (claude-opus-4)", "Opus 4: its evals; (Opus 4)"),
        ("claude-opus-4-5-20251101", "claude-opus-4-5-20251101"),
        ("anthropic/claude-opus-4", "anthropic/claude-opus-4"),
        ("anthropic.claude-opus-4-v1:0", "anthropic.claude-opus-4-v1:0"),
        ("claude-opus-4@20260101, my-claude-opus-4", "claude-opus-4@20260101, my-claude-opus-4"),
        ("claude-opus-4.1", "claude-opus-4.1"),
        ("", ""),
    ],
)  # fmt: skip
def test_whole_ids_become_names(text: str, said: str) -> None:
    assert in_words(text, NAMES) == said


def test_without_names_nothing_changes() -> None:
    assert in_words("claude-opus-4", {}) == "claude-opus-4"
