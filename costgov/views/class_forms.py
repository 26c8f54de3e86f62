"""Register and edit classes: owners, bar, levers, mappings; with what another bar would do before it is saved."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_POST

from audit.roles import Right
from billing.core.words import channel_values
from costgov.class_form import ClassForm, initial_of
from costgov.pages import now, page, right_required
from costgov.queries.class_preview import BarPreview, bar_preview
from costgov.templatetags.costgov_ui import whisker_scale
from routing.models import ClassMapping, RequestClass
from routing.operations.bars import ClassRefused
from routing.operations.classes import map_usage, save_class, unmap_usage
from routing.queries.bars import BarVersion, bar_of, bar_versions


class MappingForm(forms.Form):
    """Which bucketed usage belongs to the class."""

    workspace = forms.CharField(label="Workspace", max_length=255, required=False, help_text="Empty = any.")
    api_key = forms.CharField(
        label="API key", max_length=255, required=False, help_text="Its id, never the key itself."
    )
    channel = forms.CharField(
        label="Channel", max_length=32, required=False, help_text=f"{channel_values()}; empty = any."
    )
    valid_from = forms.DateField(
        label="From (UTC day)", required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    valid_to = forms.DateField(
        label="Until (first day without it)", required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if not any(values.get(name) for name in ("workspace", "api_key", "channel")):
            raise forms.ValidationError("Name a workspace, an API key or a channel: a mapping of everything is none.")
        return values


@dataclass(frozen=True, slots=True)
class ClassFormPage:
    """The form of a class. `slug` is '' for a new one; `problem` is what an operation refused.

    `versions`: of its bar, the newest first.
    """

    slug: str
    title: str
    form: ClassForm
    mapping_form: MappingForm | None
    mappings: tuple[ClassMapping, ...]
    preview: BarPreview | None
    axis: tuple[float, float]
    problem: str
    today: date
    versions: tuple[BarVersion, ...]


@right_required(Right.EDIT_CLASSES)
def new(request: HttpRequest) -> HttpResponse:
    form = ClassForm(request.POST or None, on=now().date(), initial=initial_of(None))
    if request.method == "POST" and form.is_valid() and request.POST.get("action") != "preview":
        return _save(request, form, form.cleaned_data["slug"], None)
    return _page(request, form, None)


@right_required(Right.EDIT_CLASSES)
def edit(request: HttpRequest, slug: str) -> HttpResponse:
    row = _row(slug)
    form = ClassForm(request.POST or None, on=now().date(), initial=initial_of(row), registered=row)
    if request.method == "POST" and form.is_valid() and request.POST.get("action") != "preview":
        return _save(request, form, slug, row)
    return _page(request, form, row)


def _save(request: HttpRequest, form: ClassForm, slug: str, row: RequestClass | None) -> HttpResponse:
    try:
        saved = save_class(
            actor=request.user,  # type: ignore[arg-type]
            slug=slug,
            facts=form.facts(),
            reason=form.cleaned_data.get("reason", ""),
            bar_version=form.cleaned_data.get("bar_version"),
            as_of=now(),
        )
    except ClassRefused as error:
        return _page(request, form, row, problem=str(error))
    word = "is registered" if row is None else "is saved"
    messages.success(request, f"{saved.title} {word}. Verdicts and recommendations follow its bar from now on.")
    return redirect("class-detail", slug)


@right_required(Right.EDIT_CLASSES)
@require_POST
def preview(request: HttpRequest, slug: str = "") -> HttpResponse:
    """The verdicts under the bar in the form: a fragment that follows its fields."""
    row = _row(slug) if slug else None
    form = ClassForm(request.POST, on=now().date(), registered=row)
    form.is_valid()
    found = _preview(form, row)
    return render(request, "routing/_class_preview.html", {"preview": found, "axis": _axis(found), "slug": slug})


@right_required(Right.EDIT_CLASSES)
@require_POST
def mapping_add(request: HttpRequest, slug: str) -> HttpResponse:
    row = _row(slug)
    form = MappingForm(request.POST)
    if not form.is_valid():
        return _page(
            request, ClassForm(on=now().date(), initial=initial_of(row), registered=row), row, mapping_form=form
        )
    try:
        map_usage(actor=request.user, slug=slug, as_of=now(), **form.cleaned_data)  # type: ignore[arg-type]
    except ClassRefused as error:
        form.add_error(None, str(error))
        return _page(
            request, ClassForm(on=now().date(), initial=initial_of(row), registered=row), row, mapping_form=form
        )
    messages.success(
        request,
        "The mapping is saved. It holds for usage imported from now on; below you can classify stored usage again.",
    )
    return redirect("class-edit", slug)


@right_required(Right.EDIT_CLASSES)
@require_POST
def mapping_remove(request: HttpRequest, slug: str, mapping_id: int) -> HttpResponse:
    try:
        unmap_usage(actor=request.user, slug=slug, mapping_id=mapping_id, as_of=now())  # type: ignore[arg-type]
    except ClassRefused as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "The mapping is removed. Labels already given stay until usage is reclassified.")
    return redirect("class-edit", slug)


def _shown(row: RequestClass) -> ClassForm:
    """The form of a class as it is saved."""
    return ClassForm(on=now().date(), initial=initial_of(row), registered=row)


def _row(slug: str) -> RequestClass:
    found = RequestClass.objects.filter(slug=slug).first()
    if found is None:
        raise Http404(f"There is no class {slug!r}.")
    return found


def _page(
    request: HttpRequest,
    form: ClassForm,
    row: RequestClass | None,
    *,
    problem: str = "",
    mapping_form: MappingForm | None = None,
) -> HttpResponse:
    found = _preview(form, row)
    is_bad = bool(problem or form.errors or (mapping_form is not None and mapping_form.errors))
    value = ClassFormPage(
        slug=row.slug if row is not None else "",
        title=row.title if row is not None else "",
        form=form,
        mapping_form=(mapping_form or MappingForm()) if row is not None else None,
        mappings=tuple(row.mappings.order_by("workspace", "api_key", "valid_from")) if row is not None else (),
        preview=found,
        axis=_axis(found),
        problem=problem,
        today=now().date(),
        versions=bar_versions(row) if row is not None else (),
    )
    return page(
        request, "routing/class_form.html", value, nav="classes", status=400 if is_bad else 200, groups=form.groups
    )


def _preview(form: ClassForm, row: RequestClass | None) -> BarPreview | None:
    """The verdicts under the values in the form; None while those cannot be read."""
    if form.is_bound and not hasattr(form, "cleaned_data"):
        form.is_valid()
    try:
        bar = form.asked_bar(bar_of(row) if row is not None else None)
        return bar_preview(slug=row.slug if row is not None else None, bar=bar, as_of=now())
    except (ClassRefused, ValueError):  # the form says what is wrong with the bar
        return None


def _axis(found: BarPreview | None) -> tuple[float, float]:
    rows = found.rows if found is not None else ()
    lines = [found.line, found.line_before] if found is not None else []
    return whisker_scale([*lines, *(bound for row in rows if row.cases for bound in (row.lower, row.pass_rate))])


urlpatterns = [
    path("classes/new/", new, name="class-new"),
    path("classes/new/preview/", preview, name="class-new-preview"),
    path("classes/<str:slug>/edit/", edit, name="class-edit"),
    path("classes/<str:slug>/preview/", preview, name="class-preview"),
    path("classes/<str:slug>/mappings/", mapping_add, name="class-mapping-add"),
    path("classes/<str:slug>/mappings/<int:mapping_id>/remove/", mapping_remove, name="class-mapping-remove"),
]
