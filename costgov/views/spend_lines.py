"""How a cost comes about: every dated price, the units it was applied to, and what has no price."""

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.http import require_GET

from billing.queries.usage import CostLines
from costgov.pages import cached, page, today
from costgov.queries.spend_lines import spend_lines
from costgov.timespan import CHOICES, PARAMETERS, only, timespan
from costgov.views.prices import UnpricedRow, unpriced_row


@dataclass(frozen=True, slots=True)
class LinesPage:
    view: CostLines
    unpriced: tuple[UnpricedRow, ...]
    scope: str


@require_GET
def lines(request: HttpRequest) -> HttpResponse:
    """?class= (a slug, or (none) for unclassified usage), ?model=, and a period; empty means all."""
    only(request, ("class", "model", *PARAMETERS))
    span = timespan(request, today=today(), default="28")
    slug, model = request.GET.get("class", ""), request.GET.get("model", "")
    found = cached(
        "cost-lines",
        lambda: spend_lines(start=span.start, end=span.end, slug=slug, model=model),
        start=span.start,
        end=span.end,
        slug=slug,
        model=model,
    )
    shown = LinesPage(found.lines, tuple(unpriced_row(group) for group in found.unpriced), found.scope)
    return page(
        request,
        "billing/spend_lines.html",
        shown,
        nav="overview",
        periods=CHOICES,
        chosen=span.chosen,
        slug=slug,
        model_id=model,
    )


urlpatterns = [path("spend/lines/", lines, name="spend-lines")]
