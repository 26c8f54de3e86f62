"""Models by name in templates: `{{ row.model|in_words:names }}`, and in sentences that name models."""

from collections.abc import Mapping

from django import template

from billing.queries.series import ModelName
from costgov import model_words

register = template.Library()


@register.filter
def in_words(text: str, names: Mapping[str, ModelName]) -> str:
    """An id or a sentence with every known model by its name."""
    return model_words.in_words(text, names)
