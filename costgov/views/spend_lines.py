"""How a cost comes about: every dated price, the units it was applied to, and what has no price."""

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.http import require_safe

from billing.models import Contract
from billing.queries.books import BASES, LIST, UnknownPrices
from billing.queries.usage import CostLines
from costgov.pages import BadQuery, cached, choice, page, today
from costgov.queries.spend_lines import SpendLines, spend_lines
from costgov.timespan import CHOICES, PARAMETERS, Timespan, only, timespan
from costgov.views.prices import UnpricedRow, unpriced_row


@dataclass(frozen=True, slots=True)
class LinesPage:
    view: CostLines
    unpriced: tuple[UnpricedRow, ...]
    scope: str
    prices: SpendLines


@require_safe
def lines(request: HttpRequest) -> HttpResponse:
    """?class= (a slug, or (none) for unclassified usage), ?model=, and a period; empty means all.

    ?basis=contracted: under the contracts; ?prices= names a what-if price book.
    """
    only(request, ("class", "model", "basis", "prices", *PARAMETERS))
    span = timespan(request, today=today(), default="28")
    slug, model = request.GET.get("class", ""), request.GET.get("model", "")
    basis, scenario = choice(request, "basis", list(BASES), LIST), request.GET.get("prices", "")
    found = cached(
        "cost-lines",
        lambda: _lines(span, slug, model, basis, scenario),
        start=span.start,
        end=span.end,
        slug=slug,
        model=model,
        basis=basis,
        scenario=scenario,
    )
    shown = LinesPage(found.lines, tuple(unpriced_row(group) for group in found.unpriced), found.scope, found)
    return page(
        request,
        "billing/spend_lines.html",
        shown,
        nav="spend",
        periods=CHOICES,
        chosen=span.chosen,
        slug=slug,
        model_id=model,
        bases=(("list", "List prices"), ("contracted", "Under contracts")),
        has_contracts=basis != LIST or Contract.objects.filter(approved_at__isnull=False).exists(),
    )


def _lines(span: Timespan, slug: str, model: str, basis: str, scenario: str) -> SpendLines:
    try:
        return spend_lines(start=span.start, end=span.end, slug=slug, model=model, basis=basis, scenario=scenario)
    except UnknownPrices as error:
        raise BadQuery(f"?prices={scenario}: {error}.") from error


urlpatterns = [path("spend/lines/", lines, name="spend-lines")]
