"""What-if price books: kept assumptions about prices, and what they would do to last month and to the forecast."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.views.decorators.http import require_safe

from audit.roles import Right
from billing.core.documents import DocumentRefused
from billing.core.price_scenarios import (
    SCHEMA,
    PriceScenario,
    held_from,
    parse_price_scenario,
    read_price_scenario,
    scenario_document,
)
from billing.importers.base import ImportRefused
from billing.models import ModelRelease
from billing.models import PriceScenario as StoredScenario
from billing.operations.price_files import read_price_file
from billing.operations.price_scenarios import delete_price_scenario, save_price_scenario
from costgov.jsonout import dumps
from costgov.pages import cached, now, page, right_required, today
from costgov.price_forms import BAND_LABELS, KIND_LABELS
from costgov.price_row_forms import CHANGE, MANY, PRICE, Row, documents, posted_rows, shown_rows, worded, wrong_fields
from costgov.queries.price_effects import PriceEffects, scenario_effects
from costgov.views.contracts import KIND_CHOICES, TIER_CHOICES

PRICE_TIERS = ("standard", "batch", "priority")
MAX_FILE_BYTES = 20_000_000


@dataclass(frozen=True, slots=True)
class ScenarioRow:
    id: int
    name: str
    scenario: PriceScenario
    created_by: str


@dataclass(frozen=True, slots=True)
class DetailPage:
    """A kept scenario with its effects."""

    id: int
    name: str
    scenario: PriceScenario
    effects: PriceEffects


@dataclass(frozen=True, slots=True)
class FormPage:
    """The form as typed; `scenario_id` None = a new one. Rows of a file, when they are many, are kept as they are."""

    scenario_id: int | None
    head: Mapping[str, str]
    changes: Sequence[Row]
    prices: Sequence[Row]
    kept_changes: int = 0
    kept_prices: int = 0
    problems: tuple[str, ...] = ()
    wrong: Mapping[str, str] = field(default_factory=dict)
    """Fields that problems are about, with the ids of their texts."""
    kinds: Sequence[tuple[str, str]] = field(default_factory=lambda: KIND_CHOICES)
    tiers: Sequence[tuple[str, str]] = field(default_factory=lambda: TIER_CHOICES)
    price_kinds: Sequence[tuple[str, str]] = field(default_factory=lambda: [("", ""), *KIND_LABELS.items()])
    price_tiers: Sequence[str] = PRICE_TIERS
    bands: Mapping[str, str] = field(default_factory=lambda: dict(BAND_LABELS))


@require_safe
def scenarios(request: HttpRequest) -> HttpResponse:
    rows = [
        ScenarioRow(
            row.pk,
            row.name,
            parse_price_scenario(row.document),
            row.created_by.get_username() if row.created_by is not None else "",
        )
        for row in StoredScenario.objects.select_related("created_by").order_by("name")
    ]
    return page(request, "billing/price_scenarios.html", {"rows": rows}, nav="prices")


@require_safe
def scenario(request: HttpRequest, scenario_id: int) -> HttpResponse:
    row = _row(scenario_id)
    found = parse_price_scenario(row.document)
    effects = cached("price-scenario", lambda: scenario_effects(found, as_of=now()), id=scenario_id, on=today())
    return page(request, "billing/price_scenario.html", DetailPage(row.pk, row.name, found, effects), nav="prices")


@right_required(Right.EDIT_PRICES)
def scenario_new(request: HttpRequest) -> HttpResponse:
    """GET: the empty form. POST: another row, a document or price file read in, or keep it."""
    return _edit(request, None, None)


@right_required(Right.EDIT_PRICES)
def scenario_edit(request: HttpRequest, scenario_id: int) -> HttpResponse:
    row = _row(scenario_id)
    return _edit(request, scenario_id, parse_price_scenario(row.document))


def _edit(request: HttpRequest, scenario_id: int | None, kept: PriceScenario | None) -> HttpResponse:
    if request.method != "POST":
        return _form(request, _form_of(scenario_id, kept))
    head = {name: request.POST.get(name, "").strip() for name in ("title", "note", "file_from")}
    changes, prices = posted_rows(request.POST, "change", CHANGE), posted_rows(request.POST, "price", PRICE)
    of_file = _of_file(kept)
    typed = FormPage(
        scenario_id,
        head,
        shown_rows(changes, CHANGE),
        shown_rows(prices, PRICE, empty=1),
        kept_changes=len(of_file["changes"]),
        kept_prices=len(of_file["prices"]),
    )
    action = request.POST.get("action", "")
    if action == "add":
        return _form(request, typed)
    document = {
        "schema": SCHEMA,
        "title": head["title"],
        "note": head["note"],
        "changes": [*of_file["changes"], *documents(changes)],
        "prices": [*of_file["prices"], *documents(prices)],
    }
    try:
        found = _uploaded(request, head) if action == "read" else parse_price_scenario(document)
        row = save_price_scenario(
            actor=request.user,  # type: ignore[arg-type]
            scenario=found,
            as_of=now(),
            scenario_id=scenario_id,
        )
    except DocumentRefused as refused:
        unlisted = {name: len(rows) for name, rows in of_file.items()}
        wrong = {} if action == "read" else wrong_fields(refused.problems, unlisted=unlisted)
        return _form(request, replace(typed, problems=worded(refused.problems), wrong=wrong), status=400)
    except ImportRefused as refusal:
        return _form(request, replace(typed, problems=(str(refusal),)), status=400)
    messages.success(request, f"{row.name} is kept. It prices nothing real: choose it where a page asks for prices.")
    return redirect("price-scenario", scenario_id=row.pk)


def _uploaded(request: HttpRequest, head: Mapping[str, str]) -> PriceScenario:
    """A scenario document, or a price file from the day given on. Raises DocumentRefused, ImportRefused."""
    upload = request.FILES.get("document")
    if upload is None or upload.size is None:
        raise DocumentRefused(["Choose a file first: a scenario document, or a price file."])
    if upload.size > MAX_FILE_BYTES:
        raise DocumentRefused([f"{upload.size:,} bytes is too large for prices; at most {MAX_FILE_BYTES:,}."])
    content = upload.read()
    if b"costgov.price_scenario" in content[:2000]:
        return read_price_scenario(content)
    with tempfile.TemporaryDirectory() as folder:
        name = Path(upload.name or "prices").name
        place = Path(folder) / name
        place.write_bytes(content)
        file = read_price_file(path=place, file_name=name, as_of=now())
    prices = held_from(file.prices, _day(head["file_from"]))
    title = (head["title"] or f"Prices of {name}").replace(",", " ")
    document = scenario_document(PriceScenario(title, (), prices, head["note"]))
    return parse_price_scenario(document)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise DocumentRefused([f"{text!r} is not a day: give the day from which the file's prices hold."]) from error


def _form_of(scenario_id: int | None, kept: PriceScenario | None) -> FormPage:
    if kept is None:
        head = {"title": "", "note": "", "file_from": ""}
        return FormPage(scenario_id, head, shown_rows([], CHANGE), shown_rows([], PRICE, empty=1))
    document, of_file = scenario_document(kept), _of_file(kept)
    head = {"title": kept.title, "note": kept.note, "file_from": ""}
    return FormPage(
        scenario_id,
        head,
        shown_rows([] if of_file["changes"] else document["changes"], CHANGE, empty=1),
        shown_rows([] if of_file["prices"] else document["prices"], PRICE, empty=1),
        kept_changes=len(of_file["changes"]),
        kept_prices=len(of_file["prices"]),
    )


def _of_file(kept: PriceScenario | None) -> dict[str, list[Row]]:
    """What the form does not list because it is too much: it stays as it is."""
    document = scenario_document(kept) if kept is not None else {"changes": [], "prices": []}
    return {name: document[name] if len(document[name]) > MANY else [] for name in ("changes", "prices")}


def _form(request: HttpRequest, shown: FormPage, status: int = 200) -> HttpResponse:
    models = ModelRelease.objects.order_by("canonical_id").values_list("canonical_id", flat=True)
    return page(request, "billing/price_scenario_form.html", shown, nav="prices", status=status, models=list(models))


@right_required(Right.EDIT_PRICES)
def scenario_delete(request: HttpRequest, scenario_id: int) -> HttpResponse:
    """GET: asks once more. POST: deletes it."""
    row = _row(scenario_id)
    if request.method != "POST":
        shown = {"id": row.pk, "name": row.name}
        return page(request, "billing/price_scenario_delete.html", shown, nav="prices")
    name = delete_price_scenario(actor=request.user, scenario_id=scenario_id, as_of=now())  # type: ignore[arg-type]
    messages.success(request, f"{name} is deleted. Forecasts made with it keep their figures.")
    return redirect("price-scenarios")


@require_safe
def scenario_json(request: HttpRequest, scenario_id: int) -> HttpResponse:
    """The scenario as a document that the form and the API read."""
    row = _row(scenario_id)
    headers = {"Content-Disposition": f'attachment; filename="price-scenario-{row.pk}.json"'}
    return HttpResponse(dumps(row.document, indent=True) + b"\n", content_type="application/json", headers=headers)


def _row(scenario_id: int) -> StoredScenario:
    row = StoredScenario.objects.filter(pk=scenario_id).first()
    if row is None:
        raise Http404(f"There is no price scenario {scenario_id}.")
    return row


urlpatterns = [
    path("prices/scenarios/", scenarios, name="price-scenarios"),
    path("prices/scenarios/new/", scenario_new, name="price-scenario-new"),
    path("prices/scenarios/<int:scenario_id>/", scenario, name="price-scenario"),
    path("prices/scenarios/<int:scenario_id>/edit/", scenario_edit, name="price-scenario-edit"),
    path("prices/scenarios/<int:scenario_id>/delete/", scenario_delete, name="price-scenario-delete"),
    path("prices/scenarios/<int:scenario_id>/scenario.json", scenario_json, name="price-scenario-json"),
]
