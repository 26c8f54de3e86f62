"""Savings: what is proven, what is not yet, what has happened; and the evals worth running."""

from collections.abc import Mapping
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.http import require_safe

from billing.queries.prices import price_book
from billing.queries.series import ModelName, model_names
from costgov import charts
from costgov.model_words import in_words
from costgov.pages import page
from costgov.queries.evidence_needed import UnknownModel
from costgov.queries.recommendation import NoBaseline
from costgov.queries.savings import NoSuchPeriod, Realised, Waterfall, class_steps
from costgov.shown import evidence_needed_shown, model_outlook_shown, savings_shown
from costgov.templatetags.costgov_format import month, usd

LEVER_WORDS = {"routing": "Routed", "caching": "Cached", "batch": "Batched"}


@require_safe
def savings_page(request: HttpRequest) -> HttpResponse:
    period = request.GET.get("period", "28d")
    try:
        view = savings_shown(period=period)
    except NoBaseline as reason:
        return _missing(request, str(reason))
    except NoSuchPeriod as reason:
        raise Http404(str(reason)) from reason
    names = model_names()
    return page(
        request,
        "costgov/savings.html",
        view,
        nav="savings",
        names=names,
        period_choices=[(each.key, _period_name(each)) for each in view.periods],
        steps=class_steps(view.recommendation),
        **(_waterfall(view.waterfall, names) if view.waterfall is not None else {}),
    )


@require_safe
def evidence_needed_page(request: HttpRequest) -> HttpResponse:
    try:
        view = evidence_needed_shown()
    except NoBaseline as reason:
        return _missing(request, str(reason))
    return page(request, "costgov/evidence_needed.html", view, nav="savings", names=model_names())


@require_safe
def model_outlook_page(request: HttpRequest, model: str) -> HttpResponse:
    try:
        view = model_outlook_shown(model=model)
    except NoBaseline as reason:
        return _missing(request, str(reason))
    except UnknownModel as reason:
        unknown = {"model": model, "reason": str(reason), "has_price": _has_price(model)}
        return page(request, "costgov/model_unplaced.html", unknown, nav="savings", status=404)
    return page(request, "costgov/model_outlook.html", view, nav="savings", names=model_names())


def _has_price(model: str) -> bool:
    return any(price.model == model for price in price_book().prices)


def _missing(request: HttpRequest, reason: str) -> HttpResponse:
    return page(request, "costgov/savings_missing.html", {"reason": reason}, nav="savings")


def _period_name(period: Realised) -> str:
    return month(period.start) if period.is_closed else "Last 28 days"


def _waterfall(found: Waterfall, names: Mapping[str, ModelName]) -> dict[str, Any]:
    """The 28 days in the order routed → cached → batched, with the split that has no order beside each step."""
    running = found.baseline_usd
    saved = found.baseline_usd - found.recommended_usd
    parts = [charts.Part("Baseline", running, total=True)]
    rows = [[f"All on {in_words(found.baseline_model, names)}", usd(running), "", ""]]
    for lever, saved_usd, order_free in zip(found.levers, found.saved_usd, found.order_free_usd, strict=True):
        running -= saved_usd
        parts.append(charts.Part(LEVER_WORDS[lever], -saved_usd))
        rows.append([LEVER_WORDS[lever], usd(running), usd(saved_usd), usd(order_free)])
    parts.append(charts.Part("Recommended", found.recommended_usd, total=True))
    rows.append(["Together", usd(found.recommended_usd), usd(saved), usd(saved)])
    steps = zip(found.levers, found.saved_usd, strict=True)
    return {
        "waterfall": charts.waterfall(parts, unit="USD in 28 days"),
        "waterfall_summary": f"From {usd(found.baseline_usd)} to {usd(found.recommended_usd)} in 28 days: "
        + ", ".join(f"{LEVER_WORDS[lever].lower()} {usd(saved_usd)}" for lever, saved_usd in steps),
        "waterfall_columns": ["Step", "Cost after it", "Saves in this order", "Saves, whatever the order"],
        "waterfall_rows": rows,
        "waterfall_saved": saved,
    }


urlpatterns = [
    path("savings/", savings_page, name="savings"),
    path("evidence-needed/", evidence_needed_page, name="evidence-needed"),
    path("evidence-needed/<str:model>/", model_outlook_page, name="model-outlook"),
]
