"""Models by name in templates: `{{ row.model|in_words:names }}`, and in sentences that name models."""

from collections.abc import Mapping

from django import template

from billing.queries.series import ModelName, model_names
from costgov import model_words

register = template.Library()


@register.filter
def in_words(text: str, names: Mapping[str, ModelName]) -> str:
    """An id or a sentence with every known model by its name."""
    return model_words.in_words(text, names)


@register.simple_tag(takes_context=True)
def named(context: template.Context, text: str, capital: bool = False) -> str:
    """The same by the names of the page, else read once for it. `capital`: the sentence begins with a capital."""
    if not text:
        return ""
    request = context.get("request")
    names: Mapping[str, ModelName] | None = getattr(context.get("view"), "names", None)
    if names is None:
        names = getattr(request, "_model_names", None)
    if names is None:
        names = model_names()
        if request is not None:
            request._model_names = names  # of this request, so that a list of sentences asks once
    said = model_words.in_words(text, names)
    return said[:1].upper() + said[1:] if capital else said
