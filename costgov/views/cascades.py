"""State a cascade for a class: a cheap model first, a check, the strong model where the check refuses."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path

from audit.roles import Right, may, require
from billing.core.words import percent
from costgov.pages import now, page
from costgov.queries.cascades import CascadeRow
from costgov.queries.class_cascade import ClassCascade, class_cascade
from costgov.queries.class_page import UnknownClass
from costgov.timespan import only
from routing.operations.bars import ClassRefused
from routing.operations.cascades import checked_cascade, set_cascade

HUNDRED = Decimal(100)
_SHARES = ("good_accepted", "bad_accepted")


def _share(label: str, help_text: str) -> forms.DecimalField:
    return forms.DecimalField(
        label=label, help_text=help_text, required=False, min_value=0, max_value=100, max_digits=7, decimal_places=4
    )


class CascadeForm(forms.Form):
    """A cascade as people write it: shares in per cent."""

    cheap = forms.ChoiceField(label="Asked first", help_text="A cheaper model with cases of this class.")
    strong = forms.ChoiceField(
        label="Asked where the check refuses",
        required=False,
        help_text="The recommended model unless you name another.",
    )
    check_usd = forms.DecimalField(
        label="Cost of one check, USD", min_value=0, max_digits=18, decimal_places=9,
        help_text="Per request, whether it accepts or refuses. 0 for a rule that costs nothing.",
    )  # fmt: skip
    good_accepted = _share("Good answers it accepts, %", "What it refuses of them is paid twice.")
    bad_accepted = _share("Bad answers it accepts, %", "These reach the user.")
    source = forms.CharField(
        label="Where these shares come from", max_length=200, required=False, help_text="They are shown as assumed."
    )
    check_suite = forms.CharField(
        label="Eval suite of the check", max_length=255, required=False,
        help_text="Results on the first model with the ids of this class's cases, passed = accepted. From 30 on they "
        "replace the shares above.",
    )  # fmt: skip
    evaluated_as = forms.CharField(
        label="Name its own evals have", max_length=128, required=False,
        help_text="The model name under which evals of the whole cascade are imported. Only they show its quality.",
    )  # fmt: skip
    reason = forms.CharField(
        label="Why (optional for a look)", max_length=500, required=False, widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Kept in the audit trail. Needed to state or remove it.",
    )  # fmt: skip

    def __init__(self, *args: Any, models: Mapping[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        named = sorted(models.items(), key=lambda item: item[1])
        self.fields["cheap"].choices = [("", "Choose a model"), *named]  # type: ignore[attr-defined]
        self.fields["strong"].choices = [("", "The recommended model"), *named]  # type: ignore[attr-defined]

    def document(self) -> dict[str, Any]:
        """What `parse_plan` reads: shares in 0..1, nothing that is empty."""
        given = {name: value for name, value in self.cleaned_data.items() if name != "reason"}
        for name in _SHARES:
            if given[name] is not None:
                given[name] = given[name] / HUNDRED
        return {name: value for name, value in given.items() if value not in ("", None)}


@dataclass(frozen=True, slots=True)
class CascadePage:
    """`view` None: nothing can be computed (`problem` says why). `form` None: the reader may not state one."""

    view: ClassCascade
    form: CascadeForm | None


def cascade_page(request: HttpRequest, slug: str) -> HttpResponse:
    """What the stated cascade does, and (engineering) trying, stating and removing one."""
    only(request, ())
    try:
        view = class_cascade(slug=slug, as_of=now())
    except UnknownClass as reason:
        raise Http404(str(reason)) from reason
    if request.method != "POST":
        is_editor = may(request.user, Right.EDIT_CLASSES)  # type: ignore[arg-type]
        form = CascadeForm(models=view.models, initial=_initial(view.document)) if is_editor else None
        return _shown(request, CascadePage(view, form))
    require(request.user, Right.EDIT_CLASSES)  # type: ignore[arg-type]
    step = request.POST.get("step")
    form = CascadeForm(request.POST, models=view.models)
    try:
        if step == "remove":
            why = request.POST.get("reason", "")
            set_cascade(actor=request.user, slug=slug, document={}, reason=why, as_of=now())  # type: ignore[arg-type]
            messages.success(request, f"{view.title} has no cascade any more.")
            return redirect("class-cascade", slug)
        if not form.is_valid():
            return _shown(request, CascadePage(view, form), status=400)
        if step == "set":
            set_cascade(
                actor=request.user, slug=slug, document=form.document(), reason=form.cleaned_data["reason"],  # type: ignore[arg-type]
                as_of=now(),
            )  # fmt: skip
            messages.success(request, f"The cascade of {view.title} is stated.")
            return redirect("class-cascade", slug)
        tried = class_cascade(slug=slug, as_of=now(), tried=checked_cascade(slug=slug, document=form.document()))
    except ClassRefused as refusal:
        form.is_valid()
        form.add_error(None, str(refusal))
        return _shown(request, CascadePage(view, form), status=400)
    return _shown(request, CascadePage(tried, form))


def _shown(request: HttpRequest, value: CascadePage, *, status: int = 200) -> HttpResponse:
    return page(
        request, "costgov/cascade.html", value, nav="classes", status=status, as_of=now(), row=value.view.row,
        is_stated=bool(value.view.document) and not value.view.tried, how_inputs=_how_inputs(value.view.row),
    )  # fmt: skip


def _how_inputs(row: CascadeRow | None) -> list[tuple[str, str]]:
    """The figures behind the accepted share and the cost."""
    if row is None or row.check is None or row.accepted_share is None:
        return []
    return [
        ("Accepted", "good first answers × accepted of them + bad ones × accepted of them"),
        ("Of good answers", percent(row.check.good_accepted)),
        ("Of bad answers", percent(row.check.bad_accepted)),
        ("Together", percent(row.accepted_share)),
    ]


def _initial(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: f"{(Decimal(value) * HUNDRED).normalize():f}" if name in _SHARES else value
        for name, value in document.items()
    }


urlpatterns = [path("classes/<str:slug>/cascade/", cascade_page, name="class-cascade")]
