"""Links to the files of what a page shows."""

from datetime import date, timedelta
from typing import Any

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from costgov.dimension_words import Words
from costgov.templatetags.costgov_ui import icon, tier_mark

register = template.Library()


@register.simple_tag(takes_context=True)
def downloads(context: dict[str, Any], name: str, label: str = "Download", focus: str = "") -> SafeString:
    """The links, with the parameters of this page; `focus`: the address of its FOCUS file, if it has one."""
    request = context.get("request")
    asked = request.GET.urlencode() if request is not None else ""
    query = f"?{asked}" if asked else ""
    links = format_html(
        '<a href="{}{}" download>CSV</a><a href="{}{}" download>XLSX</a>',
        reverse("download", args=[name, "csv"]), query, reverse("download", args=[name, "xlsx"]), query,
    )  # fmt: skip
    if focus:
        links += format_html('<a href="{}" download>FOCUS</a>', focus)
    return format_html(
        '<span class="dl" role="group" aria-label="{0}">{1}<span>{0}</span>{2}</span>',
        label,
        icon("download", small=True),
        links,
    )


@register.filter
def is_time(dimension: str) -> bool:
    """Days, weeks and months are in order of time, not of cost."""
    return dimension in ("day", "week", "month")


@register.simple_tag
def words_of(words: Words, dimension: str, value: str) -> str:
    """A value of a dimension as people call it."""
    return words.of(dimension, value)


@register.simple_tag
def tier_of(words: Words, model: str) -> SafeString:
    """A model by its name, with the mark of its tier."""
    return tier_mark(words.tier("model", model) or "other", words.of("model", model))


@register.simple_tag
def last_day(end: date) -> str:
    """The last day of a half-open period, as addresses have it."""
    return f"{end - timedelta(days=1)}"
