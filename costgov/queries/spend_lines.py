"""The lines behind a cost, with the class in words: billing prices usage, routing knows what a class is called."""

from dataclasses import dataclass
from datetime import date
from typing import Final

from billing.queries.price_list import UnpricedGroup, unpriced_groups
from billing.queries.usage import CostLines, cost_lines
from routing.models import RequestClass

UNCLASSIFIED: Final = "(none)"


@dataclass(frozen=True, slots=True)
class SpendLines:
    """`scope`: what the figures are of, in words that begin a sentence."""

    lines: CostLines
    unpriced: tuple[UnpricedGroup, ...]
    scope: str


def spend_lines(*, start: date, end: date, slug: str = "", model: str = "") -> SpendLines:
    """Lines of days [start, end). `slug` '' = every class, `(none)` = unclassified usage; `model` '' = every model."""
    request_class = "" if slug == UNCLASSIFIED else (slug or None)
    found = cost_lines(start=start, end=end, request_class=request_class, model=model or None)
    return SpendLines(found, unpriced_groups(found.unpriced), _scope(slug, model))


def _scope(slug: str, model: str) -> str:
    if slug == UNCLASSIFIED:
        who = "Unclassified usage"
    elif slug:
        who = RequestClass.objects.filter(slug=slug).values_list("title", flat=True).first() or f"Class {slug}"
    else:
        who = "All usage"
    return f"{who} on {model}" if model else who
