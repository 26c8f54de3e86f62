"""The tax rates issuers charge: stated and withdrawn on the page of the invoices."""

from datetime import date
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.views.decorators.http import require_POST

from audit.roles import Right
from billing.core.money import MoneyError, parse_usd
from billing.core.periods import PeriodError, parse_day
from billing.operations.tax_rates import TaxRateRefused, state_tax_rate, withdraw_tax_rate
from costgov.pages import now, right_required
from costgov.views.invoices import TaxForm, months_page


@require_POST
@right_required(Right.EXPLAIN_RESIDUALS)
def tax_rate_add(request: HttpRequest) -> HttpResponse:
    """State what an issuer charges from a day on."""
    try:
        row = state_tax_rate(
            actor=request.user,  # type: ignore[arg-type]
            issuer=request.POST.get("issuer", ""),
            **_read(request),
            note=request.POST.get("note", ""),
            as_of=now(),
        )
    except TaxRateRefused as refusal:
        # Drawn at once: what was typed is still there, and each problem stands at its field.
        return months_page(request, tax_form=TaxForm.of(request.POST, refusal.problems))
    else:
        messages.success(
            request, f"Kept: {row}. Tax of its invoices in open months is compared with it; closed months stay."
        )
    return _back()


def _read(request: HttpRequest) -> dict[str, Any]:
    """Both values, or every problem with them. Raises TaxRateRefused."""
    found: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name, parse in (("percent", _percent), ("valid_from", _day)):
        try:
            found[name] = parse(request.POST.get(name, ""))
        except TaxRateRefused as refusal:
            problems |= refusal.problems
    if problems:
        raise TaxRateRefused(problems)
    return found


def _percent(text: str) -> Decimal:
    try:
        return parse_usd(text.strip().removesuffix("%").strip())
    except MoneyError as error:
        raise TaxRateRefused({"percent": f"{text[:20]!r} is no rate: write 19 for 19 %."}) from error


def _day(text: str) -> date:
    if not text.strip():
        raise TaxRateRefused({"valid_from": "Give the first day it holds."})
    try:
        return parse_day(text.strip())
    except PeriodError as error:
        raise TaxRateRefused({"valid_from": f"{error}: give the first day it holds."}) from error


@require_POST
@right_required(Right.EXPLAIN_RESIDUALS)
def tax_rate_withdraw(request: HttpRequest, rate_id: int) -> HttpResponse:
    try:
        row = withdraw_tax_rate(actor=request.user, rate_id=rate_id, as_of=now())  # type: ignore[arg-type]
    except TaxRateRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"Withdrawn: {row}. Without a rate, tax says that nobody checked it.")
    return _back()


def _back() -> HttpResponse:
    return redirect(f"{reverse('invoices')}#tax-rates")


urlpatterns = [
    path("tax-rates/", tax_rate_add, name="tax-rate-add"),
    path("tax-rates/<int:rate_id>/withdraw/", tax_rate_withdraw, name="tax-rate-withdraw"),
]
