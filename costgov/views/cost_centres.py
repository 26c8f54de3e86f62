"""Cost centres: who they are, what they carry, and what a change of mapping moves before it is saved."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from audit.roles import Right
from billing.core.showback import FIELDS, Rule
from billing.core.words import CHANNELS
from billing.exports.cells import Cell
from billing.exports.tables import Table
from billing.importers.cost_centre_files import MAX_BYTES, CostCentreFileError, read_cost_centres
from billing.models import CostCentre, CostCentreMapping
from billing.operations.cost_centres import (
    CostCentreRefused,
    import_cost_centres,
    map_costs,
    save_cost_centre,
    unmap_costs,
)
from billing.queries.usage import usage_days
from billing.queries.usage_sums import cost_rules, usage_sums
from costgov.dimension_words import Words, words
from costgov.downloads import download
from costgov.pages import now, page, right_required
from costgov.queries.showback import MappingPreview, mapping_preview, months_with_usage
from costgov.timespan import only

_DATE: Final = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
PREVIEW_DAYS: Final = 30
SUGGESTED: Final = ("workspace", "api_key", "request_class")


class CentreForm(forms.Form):
    code = forms.CharField(max_length=64, label="Code", help_text="As finance has it, e.g. 4711. It stays.")
    name = forms.CharField(max_length=120, label="Name")
    team = forms.CharField(
        max_length=255, label="Team", required=False, help_text="Several cost centres may share one."
    )
    owner = forms.CharField(max_length=255, label="Owner", required=False)

    def __init__(self, *args: Any, is_edit: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("team", "owner"):
            self.fields[name].widget.attrs["list"] = f"held-{name}"
        if is_edit:
            # Another code would be another cost centre.
            self.fields["code"].widget.attrs["readonly"] = True
            self.fields["code"].help_text = "It stays: register another cost centre for another code."


class MappingForm(forms.Form):
    """Which usage goes to which cost centre. What stays empty means any."""

    cost_centre = forms.ChoiceField(label="Cost centre that carries it")
    workspace = forms.CharField(max_length=255, label="Workspace", required=False)
    api_key = forms.CharField(max_length=255, label="API key", required=False)
    request_class = forms.CharField(max_length=255, label="Class", required=False)
    channel = forms.ChoiceField(label="Channel", required=False, choices=[("", "Any channel"), *CHANNELS.items()])
    valid_from = forms.DateField(label="From", required=False, widget=_DATE, help_text="Empty: always.")
    valid_to = forms.DateField(
        label="Until before",
        required=False,
        widget=_DATE,
        help_text="The first day it no longer holds, e.g. 1 Sep for August as its last month. Empty: it goes on.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = CostCentre.objects.values_list("code", "name")
        self.fields["cost_centre"].choices = [(code, f"{code} {name}") for code, name in rows]  # type: ignore[attr-defined]
        for name in SUGGESTED:
            attrs = {"list": f"seen-{name}", "autocomplete": "off", "placeholder": "any"}
            self.fields[name].widget = forms.TextInput(attrs=attrs)

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        start, end = values.get("valid_from"), values.get("valid_to")
        if start is not None and end is not None and start >= end:
            self.add_error("valid_to", f"It ends on {end}, but starts on {start}: end it later.")
        return values

    def rule(self) -> Rule:
        values = self.cleaned_data
        named = {name: values[name].strip() for name in FIELDS}
        return Rule(values["cost_centre"], **named, valid_from=values["valid_from"], valid_to=values["valid_to"])


@dataclass(frozen=True, slots=True)
class Carried:
    """One mapping, in words."""

    id: int
    text: str
    valid_from: date | None
    valid_to: date | None

    @property
    def last_day(self) -> date | None:
        """The last day it holds, in a sentence clearer than the first one on which it does not."""
        return self.valid_to - timedelta(days=1) if self.valid_to is not None else None


@dataclass(frozen=True, slots=True)
class Removal:
    """The mapping whose removal is looked at."""

    id: int
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class CentreRow:
    code: str
    name: str
    team: str
    owner: str
    mappings: tuple[Carried, ...]


@dataclass(frozen=True, slots=True)
class CentresPage:
    centres: tuple[CentreRow, ...]
    seen: dict[str, list[tuple[str, str]]]
    """Values to choose from and what each is called, for the lists beside the fields."""
    has_usage: bool
    words: Words


def seen_values(known: Words) -> dict[str, list[tuple[str, str]]]:
    """What usage names, and every class there is: a class may be mapped before its first request."""
    held = usage_days()
    found: dict[str, list[tuple[str, str]]] = {}
    for name in SUGGESTED:
        dimension = "class" if name == "request_class" else name
        values = set(known.classes) if dimension == "class" else set()
        if held is not None:
            sums = usage_sums(start=held[0], end=held[1] + timedelta(days=1), by=(dimension,))
            values |= {value for n in range(len(sums)) if (value := sums.values(n)[0])}
        found[name] = [(value, known.of(dimension, value)) for value in sorted(values)]
    return found


def centres_page() -> CentresPage:
    rows = CostCentre.objects.prefetch_related("mappings")
    known = words()
    return CentresPage(
        centres=tuple(
            CentreRow(row.code, row.name, row.team, row.owner, tuple(_carried(one) for one in row.mappings.all()))
            for row in rows
        ),
        seen=seen_values(known),
        has_usage=usage_days() is not None,
        words=known,
    )


def _carried(row: CostCentreMapping) -> Carried:
    named = {name: getattr(row, name) for name in FIELDS}
    return Carried(row.pk, _said(Rule("", **named)), row.valid_from, row.valid_to)


def _said(rule: Rule) -> str:
    text = rule.words
    return text[0].upper() + text[1:]


@require_safe
def cost_centres(request: HttpRequest) -> HttpResponse:
    """All of them, with the forms for whoever may edit. ?edit=CODE fills the form of one."""
    only(request, ("edit",))
    return _show(request)


def _show(
    request: HttpRequest,
    *,
    centre: CentreForm | None = None,
    mapping: MappingForm | None = None,
    preview: MappingPreview | None = None,
    removed: Removal | None = None,
    status: int = 200,
) -> HttpResponse:
    edited = CostCentre.objects.filter(code=request.GET.get("edit", "")).first()
    facts = {name: getattr(edited, name) for name in ("code", "name", "team", "owner")} if edited is not None else {}
    view = centres_page()
    return page(
        request,
        "costgov/cost_centres.html",
        view,
        nav="spend",
        status=status,
        centre_form=centre or CentreForm(initial=facts, is_edit=edited is not None),
        mapping_form=mapping or MappingForm(),
        preview=preview,
        removed=removed,
        edited=edited,
        teams=sorted({row.team for row in view.centres if row.team}),
        owners=sorted({row.owner for row in view.centres if row.owner}),
    )


@require_POST
@right_required(Right.EDIT_COST_CENTRES)
def save(request: HttpRequest) -> HttpResponse:
    form = CentreForm(request.POST)
    if not form.is_valid():
        return _show(request, centre=form, status=422)
    try:
        row = save_cost_centre(actor=request.user, as_of=now(), **form.cleaned_data)  # type: ignore[arg-type]
    except CostCentreRefused as error:
        form.add_error(None, str(error))
        return _show(request, centre=form, status=422)
    messages.success(request, f"Cost centre {row.code} is kept.")
    return redirect("cost-centres")


@require_POST
@right_required(Right.EDIT_COST_CENTRES)
def add_mapping(request: HttpRequest) -> HttpResponse:
    """step=preview shows what it moves in the last days of usage; step=save keeps it."""
    form = MappingForm(request.POST)
    if not form.is_valid():
        return _show(request, mapping=form, status=422)
    rule = form.rule()
    if request.POST.get("step") != "save":
        return _show(request, mapping=form, preview=_preview([*_without(rule), rule]))
    try:
        named = {name: getattr(rule, name) for name in FIELDS}
        map_costs(
            actor=request.user,  # type: ignore[arg-type]
            code=rule.cost_centre,
            as_of=now(),
            valid_from=rule.valid_from,
            valid_to=rule.valid_to,
            **named,
        )
    except CostCentreRefused as error:
        form.add_error(None, str(error))
        return _show(request, mapping=form, status=422)
    messages.success(request, f"{rule.cost_centre} carries {rule.words}.")
    return redirect("cost-centres")


def _without(rule: Rule) -> list[Rule]:
    """The rules that stay when this one is saved: one of the same usage from the same day is replaced."""

    def place(one: Rule) -> tuple[object, ...]:
        return (*(getattr(one, name) for name in FIELDS), one.valid_from)

    return [one for one in cost_rules() if place(one) != place(rule)]


def _preview(rules: list[Rule]) -> MappingPreview | None:
    months = months_with_usage()
    held = usage_days()
    if not months or held is None:
        return None
    end = held[1] + timedelta(days=1)
    return mapping_preview(rules=rules, start=max(held[0], end - timedelta(days=PREVIEW_DAYS)), end=end)


@require_http_methods(["GET", "HEAD", "POST"])
@right_required(Right.EDIT_COST_CENTRES)
def remove_mapping(request: HttpRequest, mapping_id: int) -> HttpResponse:
    """GET shows what its removal moves; POST removes it."""
    if request.method == "GET":
        row = CostCentreMapping.objects.select_related("cost_centre").filter(pk=mapping_id).first()
        if row is None:
            messages.error(request, "This mapping is gone already.")
            return redirect("cost-centres")
        named = {name: getattr(row, name) for name in FIELDS}
        rule = Rule(row.cost_centre.code, **named, valid_from=row.valid_from, valid_to=row.valid_to)
        return _show(request, preview=_preview(_without(rule)), removed=Removal(row.pk, rule.cost_centre, _said(rule)))
    try:
        unmap_costs(actor=request.user, mapping_id=mapping_id, as_of=now())  # type: ignore[arg-type]
    except CostCentreRefused as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "The mapping is removed; what it covered is carried by what is left.")
    return redirect("cost-centres")


@require_POST
@right_required(Right.EDIT_COST_CENTRES)
def upload(request: HttpRequest) -> HttpResponse:
    """A CSV, or the Admin API's list of workspaces."""
    given = request.FILES.get("file")
    if given is None:
        messages.error(request, "Choose a file: a CSV, or the list of workspaces as JSON.")
        return redirect("cost-centres")
    try:
        lines = read_cost_centres(given.read(MAX_BYTES + 1), tag=request.POST.get("tag", "").strip())
        found = import_cost_centres(actor=request.user, lines=lines, as_of=now())  # type: ignore[arg-type]
    except CostCentreFileError as error:
        messages.error(request, f"{given.name}: {error}. Nothing was changed.")
    except CostCentreRefused as error:
        messages.error(request, f"{given.name}: {error} Nothing was changed.")
    else:
        messages.success(
            request,
            f"{given.name}: {found.centres_new} cost centres new, {found.centres_changed} changed; "
            f"{found.mappings_new} mappings new, {found.mappings_changed} changed; {found.unchanged} lines unchanged.",
        )
    return redirect("cost-centres")


@download("cost-centres")
def cost_centres_table(request: HttpRequest) -> Table:
    """As the import reads it."""
    only(request, ("edit",))
    rows: list[list[Cell]] = []
    for row in CostCentre.objects.prefetch_related("mappings"):
        facts = [row.code, row.name, row.team, row.owner]
        mappings = list(row.mappings.all())
        if not mappings:
            rows.append([*facts, "", "", "", "", None, None])
        for one in mappings:
            named = [getattr(one, name) for name in FIELDS]
            rows.append([*facts, *(named if any(named) else ["", "*", "", ""]), one.valid_from, one.valid_to])
    columns = ["code", "name", "team", "owner", "channel", "workspace", "api_key", "class", "from", "to"]
    return Table("cost-centres", "Cost centres", columns, rows, [*["text"] * 8, "date", "date"])


urlpatterns = [
    path("spend/cost-centres/", cost_centres, name="cost-centres"),
    path("spend/cost-centres/save/", save, name="cost-centre-save"),
    path("spend/cost-centres/map/", add_mapping, name="cost-centre-map"),
    path("spend/cost-centres/unmap/<int:mapping_id>/", remove_mapping, name="cost-centre-unmap"),
    path("spend/cost-centres/import/", upload, name="cost-centre-import"),
]
