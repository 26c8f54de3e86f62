"""Words and links that findings share."""

from collections.abc import Sequence
from datetime import date

from django.urls import NoReverseMatch, reverse

from costgov.templatetags.costgov_format import period_text


def link(name: str, *args: object) -> str:
    """The address of a page; '' where this installation has no such page."""
    try:
        return reverse(name, args=[str(arg) for arg in args])
    except NoReverseMatch:
        return ""


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def day_words(day: date) -> str:
    return period_text(day, day)


def some(names: Sequence[str], *, shown: int = 4) -> str:
    """a, b, c, d and 3 more."""
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")
