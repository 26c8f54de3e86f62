"""How the files of a source are read: answers to what they do not tell, changed by people."""

from dataclasses import dataclass
from typing import Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.views.decorators.http import require_POST, require_safe

from audit.roles import Right
from billing.importers.cost_format_guide import COST_GUIDE, CostFormatGuide
from billing.importers.format_guide import GUIDE, FormatGuide
from billing.importers.records import INPUT_INCLUDES_CACHE
from billing.models import UsageSource
from billing.operations.source_settings import BadAnswer
from billing.queries.counting import COUNTED_WITH
from costgov.operations.usage import set_source_setting
from costgov.pages import now, page, right_required

HOLDS_AT_ONCE: Final = "Every day was counted anew with it."
HOLDS_FROM_NOW_ON: Final = (
    "Files are read this way from now on; those imported before keep their reading unless they are imported again."
)


@dataclass(frozen=True)
class FormatsView:
    """The formats of usage and of costs, and how to answer what some of them cannot tell."""

    formats: tuple[FormatGuide, ...]
    how_to_answer: str
    costs: tuple[CostFormatGuide, ...]


@require_safe
def formats(request: HttpRequest) -> HttpResponse:
    view = FormatsView(GUIDE, INPUT_INCLUDES_CACHE.how, COST_GUIDE)
    return page(request, "billing/usage_formats.html", view, nav="imports")


@require_POST
@right_required(Right.IMPORT_USAGE)
def change_setting(request: HttpRequest, source_id: int) -> HttpResponse:
    """Change one answer; '' forgets it."""
    name = request.POST.get("name", "")
    try:
        source = set_source_setting(
            actor=request.user,  # type: ignore[arg-type]
            source_id=source_id,
            name=name,
            value=request.POST.get("value", ""),
            as_of=now(),
        )
    except UsageSource.DoesNotExist as error:
        raise Http404(f"There is no source {source_id}.") from error
    except BadAnswer as error:
        messages.error(request, f"Nothing was changed: {error}.")
    else:
        holds = HOLDS_AT_ONCE if any(name == each.name for each in COUNTED_WITH) else HOLDS_FROM_NOW_ON
        messages.success(request, f"Saved for {source.name}. {holds}")
    return redirect(reverse("imports") + "#sources")


urlpatterns = [
    path("imports/formats/", formats, name="usage-formats"),
    path("imports/sources/<int:source_id>/setting/", change_setting, name="source-setting"),
]
