"""How a cost comes about: every dated price, the units it was applied to, and what has no price."""

from dataclasses import dataclass
from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.http import require_GET

from billing.queries.price_list import unpriced_groups
from billing.queries.usage import CostLines, cost_lines
from costgov.pages import cached, now, page
from costgov.timespan import CHOICES, PARAMETERS, only, timespan
from costgov.views.prices import UnpricedRow, unpriced_row

UNCLASSIFIED = "(none)"


@dataclass(frozen=True, slots=True)
class LinesPage:
    """`scope`: what the figures are of, in words."""

    view: CostLines
    unpriced: tuple[UnpricedRow, ...]
    scope: str
    last_day: object


@require_GET
def spend_lines(request: HttpRequest) -> HttpResponse:
    """?class= (a slug, or (none) for unclassified usage), ?model=, and a period; empty means all."""
    only(request, ("class", "model", *PARAMETERS))
    span = timespan(request, today=now().date(), default="28")
    slug, model = request.GET.get("class", ""), request.GET.get("model", "")
    request_class = "" if slug == UNCLASSIFIED else (slug or None)
    view = cached(
        "spend-lines",
        lambda: cost_lines(start=span.start, end=span.end, request_class=request_class, model=model or None),
        start=span.start,
        end=span.end,
        request_class=slug,
        model=model,
    )
    scope = " on ".join(
        part for part in (("unclassified usage" if request_class == "" else slug) or "all usage", model) if part
    )
    rows = tuple(unpriced_row(group) for group in unpriced_groups(view.unpriced))
    return page(
        request,
        "billing/spend_lines.html",
        LinesPage(view, rows, scope, span.end - timedelta(days=1)),
        nav="overview",
        periods=CHOICES,
        chosen=span.chosen,
        slug=slug,
        model_id=model,
    )


urlpatterns = [path("spend/lines/", spend_lines, name="spend-lines")]
