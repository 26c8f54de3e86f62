"""Sentences with models by the names people write instead of their ids. JSON keeps the ids."""

import re
from collections.abc import Mapping
from functools import lru_cache

from billing.queries.series import ModelName


def in_words(text: str, names: Mapping[str, ModelName]) -> str:
    """A sentence, or an id alone, with every known id as its name; an id that only begins like one stays.

    >>> held = {"claude-opus-4-5": ModelName("Opus 4.5", "frontier")}
    >>> in_words("assumed: the same tokens as on claude-opus-4-5; claude-opus-4-5-x is another", held)
    'assumed: the same tokens as on Opus 4.5; claude-opus-4-5-x is another'
    """
    if not names or not text:
        return text
    return _pattern(tuple(names)).sub(lambda found: names[found[0]].name, text)


@lru_cache(maxsize=8)
def _pattern(models: tuple[str, ...]) -> re.Pattern[str]:
    """Whole ids only; the longest first, as one may begin another."""
    ids = "|".join(re.escape(model) for model in sorted(models, key=len, reverse=True))
    return re.compile(rf"(?<![\w.@/:-])(?:{ids})(?![\w@-]|[.:/][\w-])")
