"""Prices: what is in force, what has no price, how prices changed; adding prices, names and tiers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.views.decorators.http import require_POST, require_safe

from audit.roles import Right
from billing.core.pricing import plain_price
from billing.operations.models import ModelRefused, place_model
from billing.operations.price_changes import (
    PriceRefused,
    add_prices,
    approve_prices,
    checked_prices,
    discard_prices,
)
from billing.queries.price_effect import PriceEffect, price_effect
from billing.queries.price_history import ModelPage, model_page
from billing.queries.price_list import PriceList, UnpricedGroup, price_list
from billing.queries.price_timeline import PriceTimeline
from costgov import charts
from costgov.operations.models import add_alias
from costgov.pages import cached, choice, day, now, page, right_required, today
from costgov.price_forms import KIND_LABELS, AliasForm, PlaceForm, PriceForm, prefilled
from costgov.templatetags.costgov_format import UNKNOWN, datefmt, short, tok, usd
from costgov.timespan import only

TIER_CHOICES = [("standard", "Standard"), ("batch", "Batch")]
GEO_CHOICES = [("global", "Global"), ("us", "US inference")]
SPEED_CHOICES = [("standard", "Standard speed"), ("fast", "Fast mode")]
COLUMNS = ("Input", "Cache read", "5-min write", "1-hour write", "Output", "Web search")
_PARAMETERS = ("model", "tier", "geo", "speed", "show", "on")


@dataclass(frozen=True, slots=True)
class Remedy:
    """One step that would price a group: where it is taken."""

    label: str
    href: str
    symbol: str


@dataclass(frozen=True, slots=True)
class UnpricedRow:
    group: UnpricedGroup
    kinds: str
    remedies: tuple[Remedy, ...]


@dataclass(frozen=True, slots=True)
class PricesPage:
    view: PriceList
    unpriced: tuple[UnpricedRow, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelPricesPage:
    view: ModelPage
    unpriced: tuple[UnpricedRow, ...]
    columns: tuple[str, ...]
    place_form: PlaceForm


@require_safe
def prices(request: HttpRequest) -> HttpResponse:
    """The list, or with ?model= one model."""
    only(request, _PARAMETERS)
    if name := request.GET.get("model", ""):
        return _model(request, name)
    tier = choice(request, "tier", [value for value, _ in TIER_CHOICES], "standard")
    geo = choice(request, "geo", [value for value, _ in GEO_CHOICES], "global")
    speed = choice(request, "speed", [value for value, _ in SPEED_CHOICES], "standard")
    show = choice(request, "show", ["offered", "all"], "offered")
    on = day(request, "on", today())
    view = cached(
        "prices",
        lambda: price_list(on=on, service_tier=tier, geo=geo, speed=speed, everything=show == "all"),
        on=on,
        tier=tier,
        geo=geo,
        speed=speed,
        show=show,
    )
    rows = tuple(unpriced_row(group) for group in view.unpriced)
    return page(
        request,
        "billing/prices.html",
        PricesPage(view, rows, COLUMNS),
        nav="prices",
        tier_choices=TIER_CHOICES,
        geo_choices=GEO_CHOICES,
        speed_choices=SPEED_CHOICES,
        show=show,
        is_today=on == today(),
    )


def _model(request: HttpRequest, name: str) -> HttpResponse:
    view = cached("price-model", lambda: model_page(model=name, on=today()) or "", model=name, on=today())
    if not isinstance(view, ModelPage):
        raise Http404(f"No price, release or usage names a model {name}.")
    rows = tuple(unpriced_row(group) for group in view.unpriced)
    form = PlaceForm(initial={"model": view.model, "tier": view.tier})
    columns, table = timeline_table(view.timeline)
    return page(
        request,
        "billing/price_model.html",
        ModelPricesPage(view, rows, COLUMNS, form),
        nav="prices",
        timeline=charts.price_timeline_chart(view.timeline) if view.timeline is not None else None,
        timeline_summary=timeline_words(view),
        timeline_columns=columns,
        timeline_rows=table,
    )


def timeline_words(view: ModelPage) -> str:
    """What the drawing says, in a sentence."""
    if view.timeline is None:
        return ""
    steps = view.timeline.steps
    days = sorted({day for row in steps if not row.is_proposed for day in row.days[1:]})
    before, ahead = [day for day in days if day <= view.on], [day for day in days if day > view.on]
    said = f"No price of {view.name} changed so far"
    if before:
        said = f"Prices of {view.name} changed on {_days(before)}"
    if ahead:
        said += f"; they change on {_days(ahead)}"
    if waiting := sorted({row.days[0] for row in steps if row.is_proposed}):
        said += f"; from {_days(waiting)} on they would, as proposed"
    if view.retires_on is not None:
        verb = "was retired" if view.retires_on <= view.on else "is retired"
        said += f"; it {verb} on {datefmt(view.retires_on)}"
    return f"{said}."


def _days(days: Sequence[date]) -> str:
    return ", ".join(datefmt(day) for day in days)


def timeline_table(view: PriceTimeline | None) -> tuple[list[str], list[list[str]]]:
    """The drawing as a table: a row per kind, a column per day on which something changes."""
    if view is None:
        return [], []
    days = sorted({day for row in view.steps for day in row.days})
    rows = []
    for row in view.steps:
        name = ", ".join(
            word for word in (KIND_LABELS[row.kind], row.length, "proposed" if row.is_proposed else "") if word
        )
        known = dict(zip(row.days, row.usd, strict=True))
        cells, latest = [], None
        for on in days:
            latest = known.get(on, latest)
            cells.append(plain_price(latest) if latest is not None else UNKNOWN)
        rows.append([name, *cells])
    return ["USD per million tokens, from", *(datefmt(on) for on in days)], rows


def unpriced_row(group: UnpricedGroup) -> UnpricedRow:
    """A group with its remedies as links that open the right form, filled in."""
    kinds = ", ".join(KIND_LABELS[kind].lower() for kind in KIND_LABELS if kind in group.kinds)
    entry = {
        "model": group.model,
        "service_tier": group.service_tier,
        "prompt_length_band": group.prompt_length_band,
        "geo": group.geo,
        "speed": group.speed,
        "valid_from": "" if group.cause == "model" else group.first_day.isoformat(),
    }
    query = urlencode({name: value for name, value in entry.items() if value})
    add = Remedy(
        "Add its prices" if group.cause == "model" else "Add this price", f"{_url('price-add')}?{query}", "plus"
    )
    if group.cause == "model":
        name = Remedy("It is another name of …", f"{_url('model-alias')}?{urlencode({'alias': group.model})}", "link")
        return UnpricedRow(group, kinds, (name, add))
    if group.cause == "price":
        return UnpricedRow(group, kinds, (add,))
    if group.cause == "closed":
        return UnpricedRow(group, kinds, ())
    return UnpricedRow(group, kinds, (Remedy("Import finer usage", _url("imports"), "database-import"),))


def _url(name: str) -> str:
    return reverse(name)


# ---- Adding prices -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AddPage:
    form: PriceForm
    effect: PriceEffect | None
    is_checked: bool
    is_past: bool


@right_required(Right.EDIT_PRICES)
def price_add(request: HttpRequest) -> HttpResponse:
    """GET: the form, prefilled from the address. POST: what it would change (step=preview), or add it (step=add)."""
    if request.method != "POST":
        form = PriceForm(initial=prefilled(request.GET.dict(), checked_on=today()))
        return _add_page(request, form)
    form = PriceForm(request.POST)
    if not form.is_valid():
        return _add_page(request, form)
    new = form.new_prices()
    try:
        effect = price_effect(new=checked_prices(new, as_of=now()))
        if request.POST.get("step") != "add":
            return _add_page(request, form, effect=effect, is_checked=True)
        rows = add_prices(actor=request.user, new=new, as_of=now())  # type: ignore[arg-type]
    except PriceRefused as refusal:
        form.add_problems(refusal.problems)
        return _add_page(request, form)
    since = f"from {datefmt(new.valid_from)} on" if new.valid_from else "from its release on"
    number = f"{len(rows)} price{'s' if len(rows) > 1 else ''}"
    messages.success(request, f"Added {number} of {rows[0].model}, {since}. {effect_sentence(effect)}".strip())
    return redirect(f"{reverse('prices')}?{urlencode({'model': rows[0].model})}")


def _add_page(
    request: HttpRequest, form: PriceForm, *, effect: PriceEffect | None = None, is_checked: bool = False
) -> HttpResponse:
    start = form.cleaned_data.get("valid_from") if is_checked else None
    shown = AddPage(form, effect, is_checked, is_checked and (start is None or start < today()))
    status = 400 if form.is_bound and form.errors else 200
    return page(request, "billing/price_add.html", shown, nav="prices", status=status)


def effect_sentence(effect: PriceEffect | None) -> str:
    """What new prices do to the usage held, in words."""
    if effect is None:
        return ""
    said = []
    if effect.newly_priced_tok:
        said.append(f"{tok(effect.newly_priced_tok)} that had no price now have one.")
    if effect.change_usd:
        verb = "rises" if effect.change_usd > 0 else "falls"
        said.append(f"Spend on {effect.model} {verb} by {usd(abs(effect.change_usd))}.")
    if not said:
        said.append("No usage held so far is priced by them.")
    if effect.unpriced_tok_after:
        said.append(f"{short(effect.unpriced_tok_after)} tokens of it stay without a price.")
    return " ".join(said)


# ---- Names, tiers, proposals ---------------------------------------------------------------------------------------


@right_required(Right.EDIT_PRICES)
def model_alias(request: HttpRequest) -> HttpResponse:
    """Say which model a name means. Usage already imported under it is counted again."""
    if request.method != "POST":
        form = AliasForm(initial={"alias": request.GET.get("alias", ""), "model": request.GET.get("model", "")})
        return page(request, "billing/model_alias.html", {"form": form}, nav="prices")
    form = AliasForm(request.POST)
    if form.is_valid():
        values = form.cleaned_data
        try:
            added = add_alias(actor=request.user, alias=values["alias"], model=values["model"], as_of=now())  # type: ignore[arg-type]
        except ModelRefused as refusal:
            form.add_error(refusal.field, str(refusal))
        else:
            days = f"{added.days} day{'' if added.days == 1 else 's'}"
            again = f"{days} of usage are counted again." if added.days else "No usage bears the name so far."
            messages.success(request, f"{added.alias} now means {added.model}. {again}")
            return redirect(f"{reverse('prices')}?{urlencode({'model': added.model})}")
    return page(request, "billing/model_alias.html", {"form": form}, nav="prices", status=400)


@require_POST
@right_required(Right.EDIT_PRICES)
def model_place(request: HttpRequest) -> HttpResponse:
    """Put a model in a tier."""
    form = PlaceForm(request.POST)
    model = request.POST.get("model", "")
    if form.is_valid():
        try:
            release = place_model(actor=request.user, as_of=now(), **form.cleaned_data)  # type: ignore[arg-type]
        except ModelRefused as refusal:
            messages.error(request, str(refusal))
        else:
            model = release.canonical_id
            messages.success(request, f"{release.display_name} is in the {release.tier} tier.")
    else:
        messages.error(request, "Choose one of the tiers of the list.")
    return redirect(f"{reverse('prices')}?{urlencode({'model': model})}")


@require_POST
@right_required(Right.EDIT_PRICES)
def price_proposals(request: HttpRequest) -> HttpResponse:
    """Approve or discard proposed prices."""
    ids = [int(value) for value in request.POST.getlist("price") if value.isascii() and value.isdecimal()]
    decide: Any = discard_prices if request.POST.get("decision") == "discard" else approve_prices
    try:
        number = decide(actor=request.user, price_ids=ids, as_of=now())
    except PriceRefused as refusal:
        messages.error(request, " ".join(refusal.problems.values()))
    else:
        word = "discarded" if decide is discard_prices else "approved: they count from now on"
        messages.success(request, f"{number} price{'' if number == 1 else 's'} {word}.")
    return redirect("prices")


urlpatterns = [
    path("prices/", prices, name="prices"),
    path("prices/add/", price_add, name="price-add"),
    path("prices/name/", model_alias, name="model-alias"),
    path("prices/place/", model_place, name="model-place"),
    path("prices/proposals/", price_proposals, name="price-proposals"),
]
