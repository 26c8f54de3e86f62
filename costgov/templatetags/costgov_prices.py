"""Filters of the pages about prices."""

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.core.pricing import plain_number, plain_price
from billing.queries.price_list import slot_words
from costgov.price_forms import KIND_LABELS
from costgov.templatetags.costgov_format import UNKNOWN, datefmt, period_text, usd

register = template.Library()


@register.filter
def price(value: Any) -> str:
    """3.00, 0.125: a list price with every place it has; – where there is none."""
    return plain_price(value) if isinstance(value, Decimal) else UNKNOWN


@register.filter
def exact(value: Any) -> str:
    """$0.3703701: an unrounded cost."""
    return f"${plain_number(value)}" if isinstance(value, Decimal) else UNKNOWN


@register.filter
def kind_label(kind: str) -> str:
    """Cache write, 5 minutes."""
    return next((label for name, label in KIND_LABELS.items() if name == kind), kind)


@register.filter
def slot(line: Any) -> str:
    """standard · up to 100k: what a price is for."""
    return slot_words(line.service_tier, line.prompt_length_band, line.geo, line.speed)


@register.filter
def day_range(first: date, last: date) -> str:
    """Both days included: 1–22 Nov 2026."""
    return period_text(first, last)


@register.filter
def last_day(end: date | None) -> str:
    """The last day of something that no longer holds on `end`."""
    return UNKNOWN if end is None else datefmt(end - timedelta(days=1))


@register.filter
def rate_words(rate: Any) -> str:
    """10% off, or $17.00: what a contract's rate or a scenario's change is."""
    if getattr(rate, "percent_off", None) is not None:
        return f"{plain_number(rate.percent_off)}% off"
    percent = getattr(rate, "percent", None)
    if percent is not None:
        return f"{'−' if percent < 0 else '+'}{plain_number(abs(percent))}%"
    return f"${plain_price(rate.usd_per_unit)}"


@register.filter
def more_or_less(value: Any, places: int = 2) -> str:
    """$273.07 less, $5,308 more: a change of a cost in words."""
    if not isinstance(value, Decimal):
        return UNKNOWN
    return f"{usd(abs(value), places)} {'less' if value < 0 else 'more'}"


@register.simple_tag
def invalid(wrong: Mapping[str, str], name: str, row: int | None = None, field: str = "") -> SafeString | str:
    """Ties a control to its problem: {% invalid wrong "source" %}, {% invalid wrong "rate" 0 "to" %}"""
    ids = wrong.get(name if row is None else f"{name}-{row}-{field}")
    return format_html(' aria-invalid="true" aria-describedby="{}"', ids) if ids else ""
