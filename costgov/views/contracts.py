"""Contracts: what was agreed beside the list, proposed by one person and approved by another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.views.decorators.http import require_POST, require_safe

from audit.roles import Right
from billing.core.contract_documents import CHANNELS, SCHEMA, ContractRefused, parse_contract
from billing.core.overlays import KINDS
from billing.models import Contract, ModelRelease
from billing.operations.contracts import (
    approve_contract,
    discard_contract,
    document_of,
    end_contract,
    propose_contract,
)
from billing.operations.price_changes import SERVICE_TIERS
from billing.queries.contract_pages import ContractPage, ContractsPage, contract_page, contracts_page
from billing.queries.contracts import contracted_with
from billing.queries.prices import price_book
from costgov.jsonout import dumps
from costgov.pages import cached, now, page, right_required, today
from costgov.price_forms import KIND_LABELS
from costgov.price_row_forms import CREDIT, RATE, Row, documents, posted_rows, shown_rows, worded, wrong_fields
from costgov.queries.price_effects import PriceEffects, price_effects

KIND_CHOICES = [
    (kind, {"": "everything", "tokens": "all tokens"}.get(kind) or KIND_LABELS[kind])  # type: ignore[index]
    for kind in KINDS
]
TIER_CHOICES = [("", "any"), *((tier, tier) for tier in SERVICE_TIERS)]
_HEAD = ("name", "channel", "from", "to", "source", "checked_on", "note")


@dataclass(frozen=True, slots=True)
class FormPage:
    """The form as typed; `problems` say what is wrong with it, `wrong` which fields they are about."""

    head: Mapping[str, str]
    rates: Sequence[Row]
    credits: Sequence[Row]
    problems: tuple[str, ...] = ()
    wrong: Mapping[str, str] = field(default_factory=dict)
    kinds: Sequence[tuple[str, str]] = field(default_factory=lambda: KIND_CHOICES)
    tiers: Sequence[tuple[str, str]] = field(default_factory=lambda: TIER_CHOICES)
    channels: Sequence[str] = CHANNELS


@dataclass(frozen=True, slots=True)
class DetailPage:
    """A contract; `effects` while it is only proposed."""

    view: ContractPage
    effects: PriceEffects | None
    may_approve: bool
    problems: tuple[str, ...] = ()


@require_safe
def contracts(request: HttpRequest) -> HttpResponse:
    view: ContractsPage = cached("contracts", lambda: contracts_page(as_of=now()), on=today())
    return page(request, "billing/contracts.html", {"view": view}, nav="prices")


@require_safe
def contract(request: HttpRequest, contract_id: int) -> HttpResponse:
    return _detail(request, contract_id)


def _detail(request: HttpRequest, contract_id: int, problems: tuple[str, ...] = ()) -> HttpResponse:
    view = cached("contract", lambda: contract_page(contract_id=contract_id, as_of=now()) or "", id=contract_id)
    if not isinstance(view, ContractPage):
        raise Http404(f"There is no contract {contract_id}.")
    effects = cached("contract-effects", lambda: _effects(contract_id), id=contract_id, on=today())
    mine = view.proposed_by == request.user.get_username() and bool(view.proposed_by)
    shown = DetailPage(view, effects if isinstance(effects, PriceEffects) else None, not mine, problems)
    return page(request, "billing/contract.html", shown, nav="prices", status=400 if problems else 200)


def _effects(contract_id: int) -> PriceEffects | str:
    """What approving it would do; '' once it is approved."""
    row = Contract.objects.filter(pk=contract_id, approved_at=None).first()
    if row is None:
        return ""
    listed = price_book()
    return price_effects(
        as_of=now(),
        on=max(row.valid_from, today()),
        before=contracted_with(listed),
        after=contracted_with(listed, extra=row),
    )


@right_required(Right.EDIT_PRICES)
def contract_new(request: HttpRequest) -> HttpResponse:
    """GET: the empty form. POST: another row, or propose it."""
    if request.method != "POST":
        head = dict.fromkeys(_HEAD, "") | {"channel": CHANNELS[0], "checked_on": today().isoformat()}
        return _form(request, FormPage(head, shown_rows([], RATE, empty=3), shown_rows([], CREDIT, empty=1)))
    head = {name: request.POST.get(name, "").strip() for name in _HEAD}
    rates, credits = posted_rows(request.POST, "rate", RATE), posted_rows(request.POST, "credit", CREDIT)
    typed = FormPage(head, shown_rows(rates, RATE), shown_rows(credits, CREDIT, empty=1))
    if request.POST.get("action") == "add":
        return _form(request, typed)
    document = {"schema": SCHEMA, **head, "rates": documents(rates), "credits": documents(credits)}
    try:
        row = propose_contract(actor=request.user, new=parse_contract(document), as_of=now())  # type: ignore[arg-type]
    except ContractRefused as refused:
        shown = replace(typed, problems=worded(refused.problems), wrong=wrong_fields(refused.problems))
        return _form(request, shown, status=400)
    messages.success(request, f"{row.name} is proposed. It prices nothing until somebody else approves it.")
    return redirect("contract", contract_id=row.pk)


def _form(request: HttpRequest, shown: FormPage, status: int = 200) -> HttpResponse:
    models = ModelRelease.objects.order_by("canonical_id").values_list("canonical_id", flat=True)
    return page(request, "billing/contract_form.html", shown, nav="prices", status=status, models=list(models))


@require_POST
@right_required(Right.EDIT_PRICES)
def contract_step(request: HttpRequest, contract_id: int) -> HttpResponse:
    """Approve, discard or end (?step=)."""
    step = request.POST.get("step", "")
    asked: dict[str, Any] = {"actor": request.user, "contract_id": contract_id, "as_of": now()}
    try:
        if step == "discard":
            name = discard_contract(**asked)
            messages.success(request, f"{name} is discarded.")
            return redirect("contracts")
        if step == "end":
            row = end_contract(**asked, ends_on=_day(request.POST.get("ends_on", "")))
            messages.success(request, f"{row.name} holds no longer from {row.valid_to} on.")
        else:
            row = approve_contract(**asked)
            messages.success(request, f"{row.name} is approved: figures under contract use it from now on.")
    except ContractRefused as refused:
        if not Contract.objects.filter(pk=contract_id).exists():
            messages.error(request, " ".join(refused.problems))
            return redirect("contracts")
        return _detail(request, contract_id, tuple(text.removeprefix("ends_on: ") for text in refused.problems))
    return redirect("contract", contract_id=contract_id)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        said = f"{text!r} is not a day" if text else "No day is given"
        raise ContractRefused([f"{said}: give the first day without the contract."]) from error


@require_safe
def contract_json(request: HttpRequest, contract_id: int) -> HttpResponse:
    """The contract as a document that the command reads."""
    row = Contract.objects.filter(pk=contract_id).first()
    if row is None:
        raise Http404(f"There is no contract {contract_id}.")
    content = dumps(document_of(row), indent=True) + b"\n"
    headers = {"Content-Disposition": f'attachment; filename="contract-{row.pk}.json"'}
    return HttpResponse(content, content_type="application/json", headers=headers)


urlpatterns = [
    path("prices/contracts/", contracts, name="contracts"),
    path("prices/contracts/new/", contract_new, name="contract-new"),
    path("prices/contracts/<int:contract_id>/", contract, name="contract"),
    path("prices/contracts/<int:contract_id>/step/", contract_step, name="contract-step"),
    path("prices/contracts/<int:contract_id>/contract.json", contract_json, name="contract-json"),
]
