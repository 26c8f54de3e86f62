"""Policies: what is in force, the recommended draft, a change from proposal to activation, every version."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.views.decorators.http import require_POST, require_safe

from audit.roles import Right
from costgov import charts
from costgov.jsonout import dumps
from costgov.operations.policies import propose_again, propose_draft
from costgov.pages import now, page, right_required
from costgov.queries.policies import (
    ChangePage,
    PoliciesPage,
    VersionPage,
    change_page,
    policies_page,
    version_page,
)
from costgov.queries.policy_case import Case
from costgov.queries.recommendation import NoBaseline
from costgov.reclassification import reclassification, start_reclassification
from costgov.shown import draft_shown
from costgov.templatetags.costgov_format import usd
from costgov.templatetags.costgov_ui import whisker_scale
from gateway.engine import PolicyError
from routing.operations import policies as operations
from routing.operations.policies import PolicyRefused
from routing.queries.changes import NoSuchChange


@dataclass(frozen=True)
class StepPage:
    """One step of a change, asked for once more; also what works without JavaScript."""

    step: str
    title: str
    text: str
    button: str
    tone: str
    note_label: str
    note_required: bool
    shown: ChangePage


@require_safe
def policies(request: HttpRequest) -> HttpResponse:
    shown = _policies()
    task = request.GET.get("reclassify", "")
    return page(
        request,
        "costgov/policies.html",
        shown,
        nav="policies",
        progress=reclassification(task_id=task) if task else None,
    )


def _policies() -> PoliciesPage:
    try:
        return policies_page(as_of=now(), draft=draft_shown())
    except NoBaseline as reason:
        return policies_page(as_of=now(), draft=None, no_draft=str(reason))


@require_safe
def policy_draft(request: HttpRequest) -> HttpResponse:
    try:
        shown = draft_shown()
    except NoBaseline as reason:
        return page(request, "costgov/policy_draft_missing.html", {"reason": str(reason)}, nav="policies")
    return page(request, "costgov/policy_draft.html", shown, nav="policies", **_case_extras(shown.case))


@right_required(Right.PROPOSE_POLICY)
def propose(request: HttpRequest) -> HttpResponse:
    """GET: what will be frozen, asked for once more. POST: propose exactly that."""
    if request.method != "POST":
        try:
            shown = draft_shown()
        except NoBaseline:
            return redirect("policy-draft")
        return page(request, "costgov/policy_propose.html", shown, nav="policies")
    try:
        change = propose_draft(
            actor=request.user,  # type: ignore[arg-type]
            made_at=_moment(request.POST.get("made_at", "")),
            content_hash=request.POST.get("content_hash", ""),
            evidence_hash=request.POST.get("evidence_hash", ""),
            title=request.POST.get("title", ""),
            note=request.POST.get("note", ""),
            as_of=now(),
        )
    except (PolicyRefused, NoBaseline, PolicyError) as error:
        messages.error(request, str(error))
        return redirect("policy-draft")
    except ValueError:  # made_at is not a moment: a form that is not ours
        messages.error(request, "The form was incomplete. Open the draft again and propose it from there.")
        return redirect("policy-draft")
    messages.success(request, f"Change #{change.pk} is proposed and waits for approval by somebody else.")
    return redirect("change-detail", change_id=change.pk)


@require_safe
def change_detail(request: HttpRequest, change_id: int) -> HttpResponse:
    shown = _change(request, change_id)
    extras = _case_extras(shown.case) if shown.case is not None else {}
    return page(request, "costgov/change.html", shown, nav="policies", **extras, dialogs=_dialogs(shown))


def change_step(request: HttpRequest, change_id: int, step: str) -> HttpResponse:
    """GET: the step, asked for once more. POST: take it. Expected refusals come back in words on the change."""
    if request.method != "POST":
        asked = _asked(step, _change(request, change_id))
        return page(request, "costgov/change_step.html", asked, nav="policies")
    try:
        said = _take(request, change_id, step)
    except PolicyRefused as error:
        messages.error(request, str(error))
    except operations.ChangeRequest.DoesNotExist as error:
        raise Http404(f"There is no change #{change_id}.") from error
    else:
        messages.success(request, said)
    return redirect("change-detail", change_id=change_id)


def _take(request: HttpRequest, change_id: int, step: str) -> str:
    actor: Any = request.user
    comment = request.POST.get("note", "").strip()
    if step == "approve":
        operations.approve(
            actor=actor,
            change_request_id=change_id,
            content_hash=request.POST.get("content_hash", ""),
            evidence_hash=request.POST.get("evidence_hash", ""),
            comment=comment,
            as_of=now(),
        )
        return "Approved. The change can be activated now."
    if step == "reject":
        operations.reject(actor=actor, change_request_id=change_id, comment=comment, as_of=now())
        return "Rejected. Its author sees your reason here."
    if step == "cancel":
        operations.cancel(actor=actor, change_request_id=change_id, as_of=now())
        return "Taken back. Nothing was put in force."
    activation = operations.activate(actor=actor, change_request_id=change_id, as_of=now())
    return (
        f"Active in {activation.environment} under sequence {activation.sequence}. Gateways take it at their next poll."
    )


@require_safe
def version_detail(request: HttpRequest, version: int) -> HttpResponse:
    try:
        shown = version_page(version=version, policy=request.GET.get("policy", ""), as_of=now())
    except NoSuchChange as error:
        raise Http404(str(error)) from error
    if request.GET.get("format") == "json":
        return HttpResponse(dumps(shown.version.document, indent=True), content_type="application/json")
    document = dumps(shown.version.document, indent=True).decode()
    return page(request, "costgov/policy_version.html", shown, nav="policies", document_text=document)


@require_POST
@right_required(Right.PROPOSE_POLICY)
def version_propose(request: HttpRequest, version: int) -> HttpResponse:
    """Propose to go (back) to a version."""
    shown = _version(request, version)
    try:
        change = propose_again(
            actor=request.user,  # type: ignore[arg-type]
            policy_version_id=shown.version.id,
            title=request.POST.get("title", ""),
            note=request.POST.get("note", ""),
            as_of=now(),
        )
    except PolicyRefused as error:
        messages.error(request, str(error))
        return redirect(f"{reverse('policy-version', args=[version])}?policy={shown.version.policy}")
    messages.success(request, f"Change #{change.pk} is proposed and waits for approval by somebody else.")
    return redirect("change-detail", change_id=change.pk)


@require_POST
@right_required(Right.IMPORT_USAGE)
def reclassify(request: HttpRequest) -> HttpResponse:
    """Classify the stored requests again in the background; the page tells how it went."""
    task_id = start_reclassification(actor=request.user)  # type: ignore[arg-type]
    return redirect(f"{reverse('policies')}?reclassify={task_id}")


@require_safe
def reclassify_progress(request: HttpRequest, task_id: str) -> HttpResponse:
    return page(request, "costgov/_reclassify.html", {"progress": reclassification(task_id=task_id)}, nav="policies")


# -- parts -----------------------------------------------------------------------------------------------------


def _moment(text: str) -> datetime:
    """A moment with its zone. Raises ValueError."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return found


def _change(request: HttpRequest, change_id: int) -> ChangePage:
    try:
        return change_page(change_id=change_id, reader=request.user, as_of=now())  # type: ignore[arg-type]
    except NoSuchChange as error:
        raise Http404(str(error)) from error


def _version(request: HttpRequest, version: int) -> VersionPage:
    policy = request.POST.get("policy", "")
    try:
        return version_page(version=version, policy=policy, as_of=now())
    except NoSuchChange as error:
        raise Http404(str(error)) from error


_STEPS = {
    "approve": (
        "Approve this change?",
        "You approve the document and the evidence exactly as shown here. It becomes active only when somebody "
        "activates it.",
        "Approve this change",
        "",
        "Note, kept with the decision (optional)",
    ),
    "reject": (
        "Reject this change?",
        "The change is closed. Its author sees your reason and can propose again.",
        "Reject this change",
        "bad",
        "Why? Its author reads this",
    ),
    "cancel": ("Take this change back?", "It is closed without being put in force.", "Take it back", "bad", ""),
    "activate": (
        "Activate this change?",
        "Gateways take the new policy at their next poll, within seconds. Going back is a new change: open the earlier "
        "version and propose it again.",
        "Activate this change",
        "",
        "",
    ),
}


def _asked(step: str, shown: ChangePage) -> StepPage:
    title, text, button, tone, note_label = _STEPS[step]
    return StepPage(step, title, text, button, tone, note_label, step == "reject", shown)


def _dialogs(shown: ChangePage) -> list[StepPage]:
    return [_asked(step, shown) for step in _STEPS if getattr(shown.steps, step)]


def _case_extras(case: Case) -> dict[str, Any]:
    """Drawings of a case: the waterfall with its table, and the axis all its whiskers share."""
    rates = [value for row in case.evidence for value in (row.verdict.lower, row.verdict.line)]
    baseline = f"All on {case.baseline}"
    parts = [charts.Part(baseline, case.steps[0].cost_usd, total=True)]
    parts += [charts.Part(step.label, -step.saving_usd) for step in case.steps[1:] if step.saving_usd is not None]
    parts.append(charts.Part("Recommended", case.steps[-1].cost_usd, total=True))
    total = case.steps[0].cost_usd - case.steps[-1].cost_usd
    said = ", ".join(f"{step.label.lower()} {usd(step.saving_usd)}" for step in case.steps[1:])
    return {
        "axis": whisker_scale(rates),
        "waterfall": charts.waterfall(parts),
        "waterfall_summary": f"From {usd(parts[0].usd)} with every class on {case.baseline} to {usd(parts[-1].usd)} "
        f"a month. Saved by {said}; together {usd(total)}.",
        "waterfall_columns": ["Step", "Bill a month", "Saves", "Saves, whatever the order"],
        "waterfall_rows": [*(_step_cells(step, baseline) for step in case.steps), _sum_cells(case, total)],
        "waterfall_total": total,
    }


def _step_cells(step: Any, baseline: str) -> list[str]:
    name = baseline if step.label == "uniform" else f"+ {step.label.lower()}"
    return [name, usd(step.cost_usd), usd(step.saving_usd), usd(step.shapley_usd)]


def _sum_cells(case: Case, total: Decimal) -> list[str]:
    return ["Together", usd(case.steps[-1].cost_usd), usd(total), usd(total)]


urlpatterns = [
    path("policies/", policies, name="policies"),
    path("policies/draft/", policy_draft, name="policy-draft"),
    path("policies/draft/propose/", propose, name="policy-propose"),
    path("policies/changes/<int:change_id>/", change_detail, name="change-detail"),
    *(
        path(f"policies/changes/<int:change_id>/{step}/", change_step, {"step": step}, name=f"change-{step}")
        for step in _STEPS
    ),
    path("policies/versions/<int:version>/", version_detail, name="policy-version"),
    path("policies/versions/<int:version>/propose/", version_propose, name="policy-version-propose"),
    path("policies/reclassify/", reclassify, name="policy-reclassify"),
    path("policies/reclassify/<str:task_id>/", reclassify_progress, name="policy-reclassify-progress"),
]
