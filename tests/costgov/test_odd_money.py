"""Odd amounts in every field that takes money or a share: taken exactly as written, or refused with nothing saved.

What a field keeps is compared with what a person reads in the text; where that is open (1.234,56), it has to refuse.
Nothing is ever half-saved: PostgreSQL counts the rows a refused post wrote.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.db import transaction
from django.test import Client
from django.urls import reverse

from billing.core.terms import terms_document
from billing.models import (
    BillingPeriod,
    CommitmentTerms,
    ContractCredit,
    ContractRate,
    Invoice,
    InvoiceLine,
    Price,
    PriceScenario,
    TaxRate,
)
from costgov.typed_amounts import plain_amount
from routing.models import EstateConstraints, RequestClass
from tests.costgov import sizing_world
from tests.costgov.test_who_may_post import (
    CASCADE,
    CONTRACT,
    INVOICE,
    MONTH,
    OFFER,
    PLAN,
    PRICE,
    SCENARIO,
    TOLERANCE,
    World,
    all_of_it,
    form,
    written,
)

__all__ = ["all_of_it"]
pytestmark = pytest.mark.django_db
D = Decimal
EMPTY = object()  # no value is given: refused, or kept as none

# What is typed, and what a person may read in it; nothing = every field has to refuse it.
ODD: dict[str, tuple[Any, ...]] = {
    "": (EMPTY,), "   ": (EMPTY,), "\t": (EMPTY,),
    "nan": (), "NaN": (), "sNaN": (), "-nan": (), "Infinity": (), "-inf": (), "1e400": (), "-1e400": (), "1e999999": (),
    "1e-999999": (), "1.234,56": (), "1,2,3": (), "12 34": (), "0x10": (), "1/2": (), "½": (), "Ⅷ": (), "abc": (),
    "--5": (), "5-": (), "1..2": (), ".": (), "-": (), "e5": (), "=1+1": (), "12\x00": (), "\x00": (), "5 EUR": (),
    "9" * 5000: (), "0." + "1" * 5000: (), "-" + "9" * 5000: (), "1" + "0" * 30: (D(10) ** 30,),
    "1e30": (D(10) ** 30,), "1e-30": (D("1e-30"),), "0.1234567890123456789": (D("0.1234567890123456789"),),
    "-0": (D(0),), "-0.00": (D(0),), "0": (D(0),), "0e0": (D(0),), "00005": (D(5),), "+5": (D(5),), " 5 ": (D(5),),
    "5.": (D(5),), ".5": (D("0.5"),), "-5": (D(-5),), "−5": (D(-5),), "(5)": (D(-5),), "5e0": (D(5),), "1e1": (D(10),),
    "1,234.56": (D("1234.56"),), "1 234.56": (D("1234.56"),), "1'234.56": (D("1234.56"),), "1_000": (D(1000),),
    "１２": (D(12),), "١٢": (D(12),), "۱۲": (D(12),),
    "1\u200b2": (), "$5": (D(5),), "5 %": (D(5),), "12.345": (D("12.345"),),
    "5": (D(5),),
}  # fmt: skip


@dataclass(frozen=True)
class Field:
    """A field of a form or of a document. `share`: it is typed in per cent and kept as a share."""

    at: str
    parts: tuple[Any, ...]
    data: Callable[[World, Any], Any]  # the whole of what is posted, with the odd value in it
    kept: Callable[[], Any]  # what the newest row keeps
    share: bool = False
    is_api: bool = False


def newest(rows: Any, name: str) -> Callable[[], Any]:
    def read() -> Any:
        row = rows.objects.order_by("-pk").first()
        return None if row is None else getattr(row, name)

    return read


def scenario(name: str) -> Callable[[], Any]:
    return lambda: PriceScenario.objects.order_by("-pk")[0].document["changes"][0].get(name)


def band(name: str) -> Callable[[], Any]:
    return lambda: CommitmentTerms.objects.order_by("-pk")[0].document["bands"][0][name]


def terms(**changes: Any) -> dict[str, Any]:
    document = terms_document(sizing_world.TERMS)
    return {"terms": {**document, "bands": [{**document["bands"][0], **changes}]}, "name": "odd"}


def class_form(w: World, value: Any) -> dict[str, Any]:
    if "class" not in w.ids:
        w.ids["class"] = form(w, "/classes/triage/edit/", reason="why")
    return {**w.ids["class"], "failure_usd": value}


def period_tolerance() -> Any:
    row = BillingPeriod.objects.filter(month=f"{MONTH}-01").first()
    return row.tolerance["line_usd"] if row is not None else None


def api_invoice(**changes: Any) -> dict[str, Any]:
    line = {"description": "Claude usage", "amount": changes.pop("amount", "10")}
    return {
        "issuer": "Anthropic", "number": "INV-12", "month": MONTH, "issued_on": "2026-11-02", "total_amount": "10",
        **changes, "lines": [line],
    }  # fmt: skip


FIELDS: dict[str, Field] = {
    "invoice total": Field(
        "invoice-add", (), lambda w, v: {**INVOICE, "total_amount": v}, newest(Invoice, "total_amount")
    ),
    "invoice line": Field("invoice-add", (), lambda w, v: {**INVOICE, "amount": [v]}, newest(InvoiceLine, "amount")),
    "price": Field("price-add", (), lambda w, v: {**PRICE, "output": v}, newest(Price, "usd_per_unit")),
    "contract per cent": Field(
        "contract-new", (), lambda w, v: {**contract(), "rate-percent_off": [v]}, newest(ContractRate, "percent_off")
    ),
    "contract price": Field(
        "contract-new", (), lambda w, v: {
            **contract(), "rate-model": ["claude-x"], "rate-token_kind": ["output"], "rate-usd_per_unit": [v],
        }, newest(ContractRate, "usd_per_unit"),
    ),
    "contract credit": Field(
        "contract-new", (), lambda w, v: {
            **contract(), "rate-percent_off": ["5"], "credit-name": ["Launch"], "credit-amount_usd": [v],
            "credit-from": ["2027-01-01"],
        }, newest(ContractCredit, "amount_usd"),
    ),
    "what-if per cent": Field(
        "price-scenario-new", (), lambda w, v: {
            "action": "save", "title": "Odd", "note": "", "change-model": ["*"], "change-percent": [v],
        }, scenario("percent"),
    ),
    "what-if price": Field(
        "price-scenario-new", (), lambda w, v: {
            "action": "save", "title": "Odd", "note": "", "change-model": ["claude-x"], "change-token_kind": ["output"],
            "change-usd_per_unit": [v],
        }, scenario("usd_per_unit"),
    ),
    "tax rate": Field(
        "tax-rate-add", (), lambda w, v: {"issuer": "Odd", "percent": v, "valid_from": "2026-01-01"},
        newest(TaxRate, "percent"),
    ),
    "commitment": Field("terms-new", (), lambda w, v: {**OFFER, "band_commitment": [v]}, band("commitment")),
    "discount": Field("terms-new", (), lambda w, v: {**OFFER, "band_discount": [v]}, band("discount"), share=True),
    "constraint": Field(
        "constraints", (), lambda w, v: {"quality_floor": v, "move_share": "40", "reason": "why", "step": "set"},
        newest(EstateConstraints, "quality_floor"), share=True,
    ),
    "failure cost": Field(
        "class-edit", ("triage",), class_form, lambda: RequestClass.objects.get(slug="triage").failure_usd
    ),
    "check of a cascade": Field(
        "class-cascade", ("triage",), lambda w, v: {**CASCADE, "check_usd": v, "step": "set"},
        lambda: RequestClass.objects.get(slug="triage").cascade.get("check_usd"),
    ),
    "tolerance": Field("month-tolerance", (MONTH,), lambda w, v: {**TOLERANCE, "line_usd": v}, period_tolerance),
    "API invoice total": Field(
        "api-invoices", (), lambda w, v: api_invoice(total_amount=v), newest(Invoice, "total_amount"), is_api=True
    ),
    "API invoice line": Field(
        "api-invoices", (), lambda w, v: api_invoice(amount=v), newest(InvoiceLine, "amount"), is_api=True
    ),
    "API tax rate": Field(
        "api-tax-rates", (), lambda w, v: {"issuer": "Odd", "percent": v, "valid_from": "2026-01-01"},
        newest(TaxRate, "percent"), is_api=True,
    ),
    "API constraint": Field(
        "api-constraints", (), lambda w, v: {"quality_floor": v, "move_share": "0.4", "reason": "why"},
        newest(EstateConstraints, "quality_floor"), is_api=True,
    ),
    "API contract": Field(
        "api-contracts", (), lambda w, v: {
            "contract": {**CONTRACT, "name": "Odd", "rates": [{"model": "*", "percent_off": v}]}
        }, newest(ContractRate, "percent_off"), is_api=True,
    ),
    "API what-if": Field(
        "api-price-scenarios", (), lambda w, v: {
            "scenario": {**SCENARIO, "title": "Odd", "changes": [{"model": "*", "percent": v}]}
        }, scenario("percent"), is_api=True,
    ),
    "API commitment": Field("api-terms", (), lambda w, v: terms(commitment=v), band("commitment"), is_api=True),
    "API discount": Field("api-terms", (), lambda w, v: terms(discount=v), band("discount"), is_api=True),
    "API cascade": Field(
        "api-class-cascade", ("triage",), lambda w, v: {"cascade": {**PLAN, "check_usd": v}, "reason": "why"},
        lambda: RequestClass.objects.get(slug="triage").cascade.get("check_usd"), is_api=True,
    ),
}  # fmt: skip


def contract() -> dict[str, Any]:
    return {
        "name": "Odd", "channel": "anthropic", "from": "2027-01-01", "source": "form", "checked_on": "2026-11-02",
        "rate-model": ["*"],
    }  # fmt: skip


@dataclass(frozen=True)
class Answer:
    status: int
    rows: int
    kept: Any
    text: str

    @property
    def is_taken(self) -> bool:
        return self.rows > 0


def posted(w: World, field: Field, body: str | dict[str, Any]) -> Answer:
    """What comes of it; everything is taken back."""
    client = Client(raise_request_exception=False)
    headers = w.tokens["ada"] if field.is_api else {}
    if not field.is_api:
        client.force_login(w.people["ada"])
    with transaction.atomic():
        before = written()
        address = reverse(field.at, args=field.parts)
        if field.is_api:
            answer = client.post(address, body, content_type="application/json", headers=headers)
        else:
            answer = client.post(address, body)
        rows = written() - before
        kept = field.kept() if rows else None
        transaction.set_rollback(True)
    cache.clear()
    text = " ".join(re.findall(r'class="(?:fb|problem)[^"]*"[^>]*>(.*?)<', answer.content.decode()))
    return Answer(answer.status_code, rows, kept, text or answer.content.decode()[:300] or answer.get("Location", ""))


def problem(field: Field, text: str, readings: tuple[Any, ...], answer: Answer) -> str:
    """What is wrong with an answer; '' = nothing."""
    if answer.status >= 500:
        return "a server error"
    if not answer.is_taken:
        is_refusal = answer.status in (400, 409, 422) or (answer.status in (200, 302) and not field.is_api)
        return "" if is_refusal else "neither taken nor refused"
    if answer.status >= 400:
        return "refused, but rows were written"
    if EMPTY in readings and answer.kept in (None, ""):
        return ""
    if answer.kept is None:
        return "taken, but nothing is kept of it"
    exact = [reading / 100 if field.share else reading for reading in readings if reading is not EMPTY]
    return "" if Decimal(str(answer.kept)) in exact else f"kept as {answer.kept}"


@pytest.fixture
def estate(all_of_it: World) -> World:
    return all_of_it


@pytest.mark.parametrize("part", range(4))
def test_odd_amounts_are_taken_exactly_or_refused(estate: World, part: int) -> None:
    wrong = []
    for name, field in list(FIELDS.items())[part::4]:
        taken = 0
        for text, readings in ODD.items():
            body: Any = field.data(estate, text)
            answer = posted(estate, field, json.dumps(body) if field.is_api else body)
            taken += answer.is_taken
            if said := problem(field, text, readings, answer):
                wrong.append(f"{name} {text[:30]!r}: {said} ({answer.status}): {answer.text[:200]}")
        if not taken:
            wrong.append(f"{name}: nothing was ever taken")
    assert not wrong, "\n".join(wrong)


RAW = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-0",
    "1e-30",
    "1" + "0" * 30,
    "9" * 5000,
    "0.1",
    "true",
    "null",
    "[]",
    "{}",
)


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.is_api])
def test_odd_numbers_of_json(estate: World, name: str) -> None:
    """Numbers as JSON has them, and what Python calls JSON: each refused in the API's own form, or kept exactly."""
    field, wrong = FIELDS[name], []
    for raw in RAW:
        body = json.dumps(field.data(estate, "@odd@")).replace('"@odd@"', raw)
        answer = posted(estate, field, body)
        readings = {"-0": (D(0),), "1e-30": (D("1e-30"),), "0.1": (D("0.1"),), "null": (EMPTY,)}.get(raw, ())
        if raw.startswith("1000"):
            readings = (D(raw),)
        if said := problem(field, raw, readings, answer):
            wrong.append(f"{raw[:30]}: {said} ({answer.status}): {answer.text[:200]}")
        if not answer.is_taken and '"error"' not in answer.text and "<html" in answer.text:
            wrong.append(f"{raw[:30]}: not in the form of the API")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("typed", "plain"),
    [("$1,234.56", "1234.56"), ("-$50", "-50"), ("$-50", "-50"), ("−$50.00", "-50.00"), ("(50.00)", "-50.00"),
     ("( 1 234.50 )", "-1234.50"), ("1\u00a0234\u202f567.8", "1234567.8"), ("+5", "+5"), ("- 5", "-5"), ("$ 5", "5"),
     ("12 34", "12 34"), ("1,23", "1,23"), ("1,234 567", "1,234 567"), ("1.234,56", "1.234,56"), ("1 23", "1 23"),
     ("$$5", "$5"), ("5$", "5$"), ("", ""), ("()", "-"), ("1,234,56", "1,234,56"), (",234", ",234")],
)  # fmt: skip
def test_amounts_copied_from_documents(typed: str, plain: str) -> None:
    assert plain_amount(typed) == plain
