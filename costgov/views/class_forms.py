"""Register and edit classes: owners, bar, levers, mappings; with what another bar would do before it is saved."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_POST

from audit.roles import Right
from billing.core.words import channel_values
from billing.queries.prices import routable_models
from billing.queries.series import model_names
from costgov.pages import now, page, right_required
from costgov.queries.class_preview import BarPreview, bar_preview
from costgov.templatetags.costgov_ui import whisker_scale
from routing.models import SLUG, ClassMapping, RequestClass
from routing.operations.classes import ClassRefused, map_usage, save_class, unmap_usage

HUNDRED = Decimal(100)
_REUSE_SHARES = ("prefix_share", "hit_share_5m", "hit_share_1h")


def _share_field(label: str, help_text: str = "", *, required: bool = False, most: str = "100") -> forms.DecimalField:
    """Per cent on the page, a share behind it."""
    return forms.DecimalField(
        label=label, help_text=help_text, required=required, min_value=Decimal(0), max_value=Decimal(most),
        max_digits=7, decimal_places=4,
    )  # fmt: skip


class ClassForm(forms.Form):
    """Facts of a class as people write them."""

    slug = forms.CharField(
        label="Id", max_length=64, validators=[SLUG],
        help_text="Used in policies, logs and eval files. It stays: lower-case letters, digits, '_', '.', '-'.",
    )  # fmt: skip
    title = forms.CharField(
        label="Title", max_length=120, help_text="Shown on every page, e.g. Support reply drafting."
    )
    quality_owner = forms.CharField(label="Quality owner", max_length=120, required=False)
    spend_owner = forms.CharField(label="Spend owner", max_length=120, required=False)
    bar = _share_field(
        "Quality bar, % of cases", "How many of a hundred cases should pass. Below 100: no sample can show that.",
        required=True, most="99.9999",
    )  # fmt: skip
    tolerance = _share_field(
        "Tolerance, points", "Line = bar − tolerance: what a model must be shown to reach.", required=True
    )
    alpha = _share_field(
        "Chance of a wrong verdict, %", "Shared by the models that compete. 5 is usual.", required=True, most="50"
    )
    max_age_days = forms.IntegerField(
        label="Evidence is stale after, days", min_value=1, max_value=3650, help_text="No new move may start on it."
    )
    plan_candidates = forms.MultipleChoiceField(
        label="Models in the evaluation plan", required=False, widget=forms.CheckboxSelectMultiple,
        help_text="None chosen = every model that ever had a case. Fewer models need fewer cases each.",
    )  # fmt: skip
    latency = forms.ChoiceField(label="Latency", choices=RequestClass.Latency.choices)
    batchable_share = _share_field("Share that can wait for batch, %", "Empty = all if it can wait, else none.")
    keeps_own_caching = forms.BooleanField(
        label="The client caches by itself, also when nothing is routed", required=False
    )
    prefix_share = _share_field("Repeated start of the prompt, % of input", "Where caching is not measured yet.")
    prefix_tok = forms.DecimalField(
        label="… or in tokens per request", required=False, min_value=Decimal(0), max_digits=12, decimal_places=2
    )
    hit_share_5m = _share_field("Found again within 5 minutes, %")
    hit_share_1h = _share_field("Found again within 1 hour, %")
    reuse_source = forms.CharField(
        label="Where these reuse figures come from", max_length=200, required=False,
        help_text="They are shown as assumed, with this source.",
    )  # fmt: skip
    note = forms.CharField(
        label="Note", required=False, widget=forms.Textarea(attrs={"rows": 3}), help_text="Shown wherever the class is."
    )

    def __init__(self, *args: Any, on: date, registered: RequestClass | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.registered = registered
        planned = registered.plan_candidates if registered is not None else []
        names = {model: named.name for model, named in model_names().items()}
        known = sorted({*routable_models(on=on), *planned}, key=lambda model: names.get(model, model))
        self.fields["plan_candidates"].choices = [(model, names.get(model, model)) for model in known]  # type: ignore[attr-defined]
        if registered is not None:
            del self.fields["slug"]

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        if slug == "new":
            raise forms.ValidationError("new is the address of this page: choose another id.")
        if RequestClass.objects.filter(slug=slug).exists():
            raise forms.ValidationError(f"{slug} is registered already: edit it, or choose another id.")
        return slug

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        bar, tolerance = values.get("bar"), values.get("tolerance")
        if bar is not None and bar <= 0:
            self.add_error("bar", "A bar of 0 asks nothing: give the share of cases that should pass.")
        elif bar is not None and tolerance is not None and tolerance >= bar:
            self.add_error(
                "tolerance", f"{tolerance.normalize():f} points leave no line above 0: keep it below the bar."
            )
        if values.get("alpha") == 0:
            self.add_error("alpha", "No number of cases can show anything at 0: give a chance above it.")
        if values.get("prefix_share") is not None and values.get("prefix_tok") is not None:
            self.add_error("prefix_tok", "Give the repeated start as a share or in tokens, not both.")
        return values

    def facts(self) -> dict[str, Any]:
        """What save_class takes: shares in 0..1, and the reuse facts merged into those already there."""
        values = dict(self.cleaned_data)
        values.pop("slug", None)
        for name in ("bar", "tolerance", "alpha", "batchable_share"):
            values[name] = None if values[name] is None else values[name] / HUNDRED
        reuse = dict(self.registered.reuse) if self.registered is not None else {}
        given = {name: _plain_share(values.pop(name)) for name in _REUSE_SHARES}
        given |= {"prefix_tok": _plain(values.pop("prefix_tok")), "source": values.pop("reuse_source") or None}
        reuse = {**reuse, **given}
        values["reuse"] = {name: value for name, value in reuse.items() if value is not None}
        return values


def _plain_share(percent: Decimal | None) -> float | None:
    return None if percent is None else float(percent / HUNDRED)


def _plain(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _initial(row: RequestClass) -> dict[str, Any]:
    def percent(share: Any) -> Decimal | None:
        return None if share is None else _trimmed(Decimal(str(share)) * HUNDRED)

    names = ("title", "quality_owner", "spend_owner", "max_age_days", "latency", "keeps_own_caching", "note")
    return {
        **{name: getattr(row, name) for name in names},
        **{name: percent(getattr(row, name)) for name in ("bar", "tolerance", "alpha", "batchable_share")},
        **{name: percent(row.reuse.get(name)) for name in _REUSE_SHARES},
        "prefix_tok": None if row.reuse.get("prefix_tok") is None else _trimmed(Decimal(str(row.reuse["prefix_tok"]))),
        "reuse_source": row.reuse.get("source", ""),
        "plan_candidates": row.plan_candidates,
    }


def _trimmed(value: Decimal) -> Decimal:
    """Without trailing zeros and never as 1E+2: what people would type."""
    return Decimal(f"{value.quantize(Decimal('0.0001')).normalize():f}")


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
    """The form of a class. `slug` is '' for a new one; `problem` is what an operation refused."""

    slug: str
    title: str
    form: ClassForm
    mapping_form: MappingForm | None
    mappings: tuple[ClassMapping, ...]
    preview: BarPreview | None
    axis: tuple[float, float]
    problem: str
    today: date

    @property
    def groups(self) -> list[tuple[str, str, list[forms.BoundField]]]:
        """Fields in the order people think of them."""
        named = [
            ("The class", "", ("slug", "title", "quality_owner", "spend_owner")),
            ("Quality", "What a model must be shown to reach",
             ("bar", "tolerance", "alpha", "max_age_days")),
            ("Evaluation plan", "Which models compete", ("plan_candidates",)),
            ("Caching and batch", "What may be cached, and what can wait",
             ("latency", "batchable_share", "keeps_own_caching", "prefix_share", "prefix_tok",
              "hit_share_5m", "hit_share_1h", "reuse_source")),
            ("Note", "", ("note",)),
        ]  # fmt: skip
        return [
            (head, sub, [self.form[name] for name in names if name in self.form.fields]) for head, sub, names in named
        ]


@right_required(Right.EDIT_CLASSES)
def new(request: HttpRequest) -> HttpResponse:
    form = ClassForm(
        request.POST or None, on=now().date(), initial={"bar": 95, "tolerance": 2, "alpha": 5, "max_age_days": 90}
    )
    if request.method == "POST" and form.is_valid() and request.POST.get("action") != "preview":
        return _save(request, form, form.cleaned_data["slug"], None)
    return _page(request, form, None)


@right_required(Right.EDIT_CLASSES)
def edit(request: HttpRequest, slug: str) -> HttpResponse:
    row = _row(slug)
    form = ClassForm(request.POST or None, on=now().date(), initial=_initial(row), registered=row)
    if request.method == "POST" and form.is_valid() and request.POST.get("action") != "preview":
        return _save(request, form, slug, row)
    return _page(request, form, row)


def _save(request: HttpRequest, form: ClassForm, slug: str, row: RequestClass | None) -> HttpResponse:
    try:
        saved = save_class(actor=request.user, slug=slug, facts=form.facts(), as_of=now())  # type: ignore[arg-type]
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
        return _page(request, ClassForm(on=now().date(), initial=_initial(row), registered=row), row, mapping_form=form)
    try:
        map_usage(actor=request.user, slug=slug, as_of=now(), **form.cleaned_data)  # type: ignore[arg-type]
    except ClassRefused as error:
        form.add_error(None, str(error))
        return _page(request, ClassForm(on=now().date(), initial=_initial(row), registered=row), row, mapping_form=form)
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
    )
    return page(
        request, "routing/class_form.html", value, nav="classes", status=400 if is_bad else 200, groups=value.groups
    )


def _preview(form: ClassForm, row: RequestClass | None) -> BarPreview | None:
    """The verdicts under the values in the form; None while those cannot be read."""
    values = getattr(form, "cleaned_data", None) if form.is_bound else form.initial
    names = ("bar", "tolerance", "alpha", "max_age_days")
    if values is None or any(values.get(name) is None for name in names):
        return None
    try:
        return bar_preview(
            slug=row.slug if row is not None else None,
            bar=Decimal(values["bar"]) / HUNDRED,
            tolerance=Decimal(values["tolerance"]) / HUNDRED,
            alpha=Decimal(values["alpha"]) / HUNDRED,
            max_age_days=values["max_age_days"],
            plan=values.get("plan_candidates") or [],
            as_of=now(),
        )
    except ValueError:  # the form says what is wrong with the bar
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
