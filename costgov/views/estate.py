"""The estate as a whole: the frontier of cost and quality, and the constraints every policy has to keep."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.views.decorators.http import require_safe

from audit.roles import Right, may, require
from billing.core.words import percent
from billing.queries.series import ModelName, model_names
from costgov import charts
from costgov.charts.frontier import FrontierMark, frontier
from costgov.model_words import in_words
from costgov.pages import now, page
from costgov.queries.estate import ConstraintsView, Corner, FrontierView, ServedModel, constraints_view
from costgov.queries.recommendation import NoBaseline
from costgov.shown import constraints_shown, frontier_shown
from costgov.templatetags.costgov_format import usd0
from costgov.timespan import only
from routing.core.coupling import Limits
from routing.operations.constraints import ConstraintsRefused, checked_limits, set_constraints

HUNDRED = Decimal(100)
_POLICY = {"baseline": "uniform", "current": "current", "recommended": "optimised"}
_PREFIX = "cap:"


class ConstraintsForm(forms.Form):
    """Shares as per cent; an empty field is no constraint."""

    quality_floor = forms.DecimalField(
        label="Mean quality at least, %", required=False, min_value=0, max_value=100, max_digits=7, decimal_places=4,
        help_text="Volume-weighted pass rate over the classes with known rates, on top of each class's own bar.",
    )  # fmt: skip
    move_share = forms.DecimalField(
        label="May move at once, % of all requests", required=False, min_value=0, max_value=100, max_digits=7,
        decimal_places=4, help_text="The moves that save most per request come first; the last class is split.",
    )  # fmt: skip
    reason = forms.CharField(
        label="Why", max_length=500, widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Kept with this version and in the audit trail.",
    )  # fmt: skip

    def __init__(self, *args: Any, models: tuple[ServedModel, ...], **options: Any) -> None:
        super().__init__(*args, **options)
        for row in models:
            self.fields[_PREFIX + row.model] = forms.DecimalField(
                label=f"{row.name} at most, %", required=False, min_value=0, max_value=100, max_digits=7,
                decimal_places=4, help_text=f"Serves {percent(row.share)} now." if row.share else "Serves nothing now.",
            )  # fmt: skip

    @property
    def caps(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name.startswith(_PREFIX)]

    def limits(self) -> Limits:
        given = {name: None if value is None else value / HUNDRED
                 for name, value in self.cleaned_data.items() if name != "reason"}  # fmt: skip
        caps = {name.removeprefix(_PREFIX): share for name, share in given.items()
                if name.startswith(_PREFIX) and share is not None}  # fmt: skip
        return Limits(given["quality_floor"], given["move_share"], caps)


@dataclass(frozen=True, slots=True)
class ConstraintsPage:
    """The page; `tried`: what limits that are not set yet would do."""

    view: ConstraintsView
    form: ConstraintsForm | None
    tried: ConstraintsView | None = None
    tried_limits: Limits | None = None


def constraints_page(request: HttpRequest) -> HttpResponse:
    """What every policy of the estate has to keep, what that costs, and (engineering) setting it."""
    only(request, ())
    view = constraints_shown()
    is_editor = may(request.user, Right.SET_CONSTRAINTS)  # type: ignore[arg-type]
    if request.method != "POST":
        form = ConstraintsForm(models=_capped(view), initial=_initial(view)) if is_editor else None
        return _constraints(request, ConstraintsPage(view, form))
    require(request.user, Right.SET_CONSTRAINTS)  # type: ignore[arg-type]
    form = ConstraintsForm(request.POST, models=_capped(view))
    if not form.is_valid():
        return _constraints(request, ConstraintsPage(view, form), status=400)
    limits = form.limits()
    try:
        if request.POST.get("step") == "set":
            row = set_constraints(
                actor=request.user, limits=limits, reason=form.cleaned_data["reason"], as_of=now()  # type: ignore[arg-type]
            )  # fmt: skip
            messages.success(request, f"Version {row.version} of the constraints is in force.")
            return redirect("constraints")
        tried = constraints_view(as_of=now(), tried=checked_limits(limits))
    except ConstraintsRefused as refusal:
        form.add_error(None, str(refusal))
        return _constraints(request, ConstraintsPage(view, form), status=400)
    return _constraints(request, ConstraintsPage(view, form, tried, limits))


def _constraints(request: HttpRequest, value: ConstraintsPage, *, status: int = 200) -> HttpResponse:
    return page(
        request,
        "costgov/constraints.html",
        value,
        nav="savings",
        status=status,
        as_of=now(),
        names={row.model: row.name for row in value.view.models},
        in_force=value.view.versions[0] if value.view.versions else None,
        shown=value.tried or value.view,
    )


def _capped(view: ConstraintsView) -> tuple[ServedModel, ...]:
    """Models to cap: those that serve or could, and those capped already."""
    named = {row.model for row in view.models}
    caps = view.versions[0].model_caps if view.versions else {}
    return (*view.models, *(ServedModel(model, model, Decimal(0)) for model in sorted(caps) if model not in named))


def _initial(view: ConstraintsView) -> dict[str, Decimal]:
    if not view.versions:
        return {}
    held = view.versions[0]
    shares = {"quality_floor": held.quality_floor, "move_share": held.move_share}
    shares |= {_PREFIX + model: cap for model, cap in held.model_caps.items()}
    return {name: _plain(share * HUNDRED) for name, share in shares.items() if share is not None}


def _plain(value: Decimal) -> Decimal:
    return Decimal(f"{value.normalize():f}")


@require_safe
def frontier_page(request: HttpRequest) -> HttpResponse:
    only(request, ())
    try:
        view = frontier_shown()
    except NoBaseline as reason:
        return page(request, "costgov/savings_missing.html", {"reason": str(reason)}, nav="savings")
    names = model_names()
    return page(
        request,
        "costgov/frontier.html",
        view,
        nav="savings",
        as_of=now(),
        view=view,
        names=names,
        figure=_figure(view, names),
        summary=_summary(view),
        recommended=view.point("recommended"),
        current=view.point("current"),
    )


def _figure(view: FrontierView, names: Mapping[str, ModelName]) -> charts.Figure | None:
    if not view.corners:
        return None
    marks = [
        FrontierMark(in_words(point.name, names), point.cost_usd_per_month, point.quality, _POLICY[point.kind])
        for point in view.points
    ]
    return frontier(_marks(view.corners, names), marks, _marks(view.if_cleared, names))


def _marks(corners: tuple[Corner, ...], names: Mapping[str, ModelName]) -> list[FrontierMark]:
    return [
        FrontierMark(
            in_words(f"{corner.title}: {corner.before} → {corner.after}", names)
            if corner.request_class
            else "Cheapest",
            corner.cost_usd_per_month,
            corner.quality,
        )
        for corner in corners
    ]


def _summary(view: FrontierView) -> str:
    if not view.corners:
        return ""
    first, last = view.corners[0], view.corners[-1]
    said = f"The cheapest policy costs {usd0(first.cost_usd_per_month)} a month at {percent(first.quality, 2)}"
    if last is not first:
        moves = len(view.corners) - 1
        said += f"; the best costs {usd0(last.cost_usd_per_month)} at {percent(last.quality, 2)}, {moves} moves further"
    return said + "."


urlpatterns = [
    path("frontier/", frontier_page, name="frontier"),
    path("constraints/", constraints_page, name="constraints"),
]
